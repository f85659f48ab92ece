//! OTLP in protobuf, decoded by `opentelemetry-proto` and prost.
//!
//! What it does: turns a message into what it held at each level. What it refuses to know: the gateway's own
//! reader. Invariant: an undecodable message yields `None`, never part of one.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, metric};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::exports::{Attributes, ExportedRecord, ExportedResource, ExportedScope};
use lightkeeper::otlp::Signal;

pub(super) fn decode(signal: Signal, message: &[u8]) -> Option<Vec<ExportedResource>> {
    Some(match signal {
        Signal::Traces => {
            let groups = ExportTraceServiceRequest::decode(message)
                .ok()?
                .resource_spans
                .into_iter();
            let groups = groups.map(|group| {
                let scopes = group.scope_spans.into_iter();
                let scopes = scopes.map(|part| {
                    scope(
                        part.scope,
                        part.schema_url,
                        part.spans.into_iter().map(span),
                    )
                });
                resource(group.resource, group.schema_url, scopes.collect())
            });
            groups.collect()
        }
        Signal::Metrics => {
            let groups = ExportMetricsServiceRequest::decode(message)
                .ok()?
                .resource_metrics
                .into_iter();
            let groups = groups.map(|group| {
                let scopes = group.scope_metrics.into_iter();
                let scopes = scopes.map(|part| {
                    scope(
                        part.scope,
                        part.schema_url,
                        part.metrics.into_iter().flat_map(points),
                    )
                });
                resource(group.resource, group.schema_url, scopes.collect())
            });
            groups.collect()
        }
        Signal::Logs => {
            let groups = ExportLogsServiceRequest::decode(message)
                .ok()?
                .resource_logs
                .into_iter();
            let groups = groups.map(|group| {
                let scopes = group.scope_logs.into_iter();
                let scopes = scopes.map(|part| {
                    scope(
                        part.scope,
                        part.schema_url,
                        part.log_records.into_iter().map(log),
                    )
                });
                resource(group.resource, group.schema_url, scopes.collect())
            });
            groups.collect()
        }
    })
}

fn resource(
    resource: Option<Resource>,
    schema_url: String,
    scopes: Vec<ExportedScope>,
) -> ExportedResource {
    let attributes = attributes(resource.unwrap_or_default().attributes);
    let mut exported = ExportedResource {
        attributes,
        schema_url,
        scopes,
        ..ExportedResource::default()
    };
    exported.service = exported.attribute("service.name").map(str::to_owned);
    exported.items = exported.records().count() as u64;
    exported
}

fn scope(
    scope: Option<InstrumentationScope>,
    schema_url: String,
    records: impl Iterator<Item = ExportedRecord>,
) -> ExportedScope {
    let scope = scope.unwrap_or_default();
    ExportedScope {
        name: scope.name,
        attributes: attributes(scope.attributes),
        schema_url,
        records: records.collect(),
    }
}

fn span(span: Span) -> ExportedRecord {
    let events = span.events.into_iter().flat_map(|event| event.attributes);
    let links = span.links.into_iter().flat_map(|link| link.attributes);
    ExportedRecord {
        name: span.name,
        span_id: Some(span.span_id.try_into().map_or(0, u64::from_be_bytes)),
        attributes: attributes(span.attributes),
        nested: attributes(events.chain(links)),
    }
}

fn log(record: LogRecord) -> ExportedRecord {
    ExportedRecord {
        attributes: attributes(record.attributes),
        ..ExportedRecord::default()
    }
}

/// A metric's data points, each of the five kinds.
fn points(metric: Metric) -> Vec<ExportedRecord> {
    let Metric {
        name,
        metadata,
        data,
        ..
    } = metric;
    let metadata = attributes(metadata);
    let point = |own: Vec<KeyValue>, exemplars: Vec<Exemplar>| {
        let inside = exemplars
            .into_iter()
            .flat_map(|exemplar| exemplar.filtered_attributes);
        let nested = metadata.iter().cloned().chain(attributes(inside)).collect();
        ExportedRecord {
            name: name.clone(),
            span_id: None,
            attributes: attributes(own),
            nested,
        }
    };
    match data {
        Some(metric::Data::Gauge(data)) => data
            .data_points
            .into_iter()
            .map(|it| point(it.attributes, it.exemplars))
            .collect(),
        Some(metric::Data::Sum(data)) => data
            .data_points
            .into_iter()
            .map(|it| point(it.attributes, it.exemplars))
            .collect(),
        Some(metric::Data::Histogram(data)) => data
            .data_points
            .into_iter()
            .map(|it| point(it.attributes, it.exemplars))
            .collect(),
        Some(metric::Data::ExponentialHistogram(data)) => data
            .data_points
            .into_iter()
            .map(|it| point(it.attributes, it.exemplars))
            .collect(),
        Some(metric::Data::Summary(data)) => data
            .data_points
            .into_iter()
            .map(|it| point(it.attributes, Vec::new()))
            .collect(),
        None => Vec::new(),
    }
}

fn attributes(pairs: impl IntoIterator<Item = KeyValue>) -> Attributes {
    pairs
        .into_iter()
        .map(|pair| (pair.key, text(pair.value)))
        .collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::BoolValue(value)) => value.to_string(),
        Some(any_value::Value::IntValue(value)) => value.to_string(),
        Some(any_value::Value::DoubleValue(value)) => value.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
