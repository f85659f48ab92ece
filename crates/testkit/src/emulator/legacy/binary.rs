//! Legacy reports in binary: protobuf by prost, Thrift by the demo's own reader.
//!
//! What it does: turns a report into what it held and the tokens that stood in it. What it refuses to know:
//! whether the tokens are good. Invariant: an undecodable report yields `None`, never part of one.

use prost::Message as _;

use super::{ExportedRecord, Reading};
use crate::formats::{COMPONENT_NAME, Carrier};
use crate::messages::{IngestRequest, KeyValue, ReportRequest, Reporter, Span};
use crate::thrift::{Fields, Kind, Message, Thrift, all};

/// `lightstep.collector.ReportRequest`.
pub(super) fn report(message: &[u8]) -> Option<Reading> {
    let request = ReportRequest::decode(message).ok()?;
    let mut reading = Reading::default();
    let tokens = request.auth.into_iter().flat_map(|auth| auth.access_token);
    reading
        .tokens
        .extend(tokens.map(|token| (Carrier::Body, token)));
    let records = request
        .spans
        .into_iter()
        .map(|span| record(&mut reading, span))
        .collect();
    let (service, attributes) = reporter(&mut reading, request.reporter);
    reading.add(service, attributes, records);
    Some(reading)
}

/// `lightstep.metrics.IngestRequest`.
pub(super) fn metrics(message: &[u8]) -> Option<Reading> {
    let request = IngestRequest::decode(message).ok()?;
    let mut reading = Reading::default();
    let points = request.points.into_iter().map(|point| {
        let attributes = reading.tags(shown(point.labels));
        ExportedRecord {
            name: point.metric_name,
            attributes,
            ..ExportedRecord::default()
        }
    });
    let records = points.collect();
    let (service, attributes) = reporter(&mut reading, request.reporter);
    reading.add(service, attributes, records);
    Some(reading)
}

fn reporter(
    reading: &mut Reading,
    reporter: Option<Reporter>,
) -> (Option<String>, Vec<(String, String)>) {
    let attributes = reading.tags(shown(reporter.unwrap_or_default().tags));
    (named(&attributes), attributes)
}

fn named(attributes: &[(String, String)]) -> Option<String> {
    attributes
        .iter()
        .find(|(name, _)| name == COMPONENT_NAME)
        .map(|(_, value)| value.clone())
}

fn record(reading: &mut Reading, span: Span) -> ExportedRecord {
    let context = span.span_context.unwrap_or_default();
    let attributes = reading.tags(shown(span.tags));
    let fields = span.logs.into_iter().flat_map(|log| shown(log.fields));
    let nested = reading.tags(context.baggage.into_iter().chain(fields));
    ExportedRecord {
        name: span.operation_name,
        span_id: Some(context.span_id),
        attributes,
        nested,
    }
}

fn shown(pairs: Vec<KeyValue>) -> impl Iterator<Item = (String, String)> {
    pairs
        .into_iter()
        .map(|pair| (pair.key.clone(), pair.shown()))
}

/// A strict binary call of `Report(1: auth, 2: request)`.
pub(super) fn thrift(bytes: &[u8]) -> Option<Reading> {
    let call = Message::read(bytes)?;
    if call.kind != Kind::Call || call.name != "Report" {
        return None;
    }
    let mut reading = Reading {
        sequence: call.sequence,
        ..Reading::default()
    };
    for auth in all(&call.fields, 1) {
        for token in all(auth.as_fields()?, 1) {
            reading
                .tokens
                .push((Carrier::Body, token.as_text()?.to_owned()));
        }
    }
    let mut requests = all(&call.fields, 2);
    let request = requests.next()?.as_fields()?;
    if requests.next().is_some() {
        return None;
    }
    let mut records = Vec::new();
    for span in structs(request, 3)? {
        records.push(thrift_span(&mut reading, span)?);
    }
    let runtimes = all(request, 1)
        .map(Thrift::as_fields)
        .collect::<Option<Vec<_>>>()?;
    let runtime: Fields = runtimes.into_iter().flatten().cloned().collect();
    let pairs = pairs(&runtime, 4)?;
    let attributes = reading.tags(pairs);
    let group = first_text(&runtime, 3)?;
    reading.add(group.or_else(|| named(&attributes)), attributes, records);
    Some(reading)
}

/// `SpanRecord`: 1 `span_guid`, 3 `span_name`, 8 `attributes`, 10 `log_records` with 13 `fields`.
fn thrift_span(reading: &mut Reading, span: &[(i16, Thrift)]) -> Option<ExportedRecord> {
    let id = first_text(span, 1)?.map(|id| u64::from_str_radix(&id, 16));
    let attributes = reading.tags(pairs(span, 8)?);
    let mut nested = Vec::new();
    for log in structs(span, 10)? {
        nested.extend(reading.tags(pairs(log, 13)?));
    }
    let name = first_text(span, 3)?.unwrap_or_default();
    Some(ExportedRecord {
        name,
        span_id: id.transpose().ok()?,
        attributes,
        nested,
    })
}

/// The outer `None`: it is there and is no text.
fn first_text(fields: &[(i16, Thrift)], number: i16) -> Option<Option<String>> {
    match all(fields, number).next() {
        None => Some(None),
        Some(value) => value.as_text().map(|text| Some(text.to_owned())),
    }
}

fn structs(fields: &[(i16, Thrift)], number: i16) -> Option<Vec<&[(i16, Thrift)]>> {
    let mut found = Vec::new();
    for list in all(fields, number) {
        for element in list.as_list()? {
            found.push(element.as_fields()?);
        }
    }
    Some(found)
}

/// `KeyValue`: 1 key, 2 value.
fn pairs(fields: &[(i16, Thrift)], number: i16) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    for pair in structs(fields, number)? {
        found.push((
            first_text(pair, 1)?.unwrap_or_default(),
            first_text(pair, 2)?.unwrap_or_default(),
        ));
    }
    Some(found)
}
