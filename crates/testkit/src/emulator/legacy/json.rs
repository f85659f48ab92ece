//! Legacy reports in JSON: proto3's, Thrift's structs, Zipkin's, bulk lines and Firehose's envelope.
//!
//! What it does: turns a report into what it held and the tokens that stood in it. What it refuses to know:
//! whether the tokens are good. Invariant: an undecodable report yields `None`, never part of one.

use base64::Engine as _;
use serde_json::{Map, Value};

use super::super::otlp_protobuf;
use super::{ExportedRecord, Reading};
use crate::formats::{COMPONENT_NAME, Carrier, TOKEN_TAGS};
use lightkeeper::otlp::Signal;

type Object = Map<String, Value>;
type Pairs = Vec<(String, String)>;

/// `lightstep.collector.ReportRequest` as proto3 JSON: names in lower camel case, or as declared.
pub(super) fn report(body: &[u8]) -> Option<Reading> {
    let request = document(body)?;
    let mut reading = Reading::default();
    for auth in either(&request, "auth", "auth") {
        for token in either(auth.as_object()?, "accessToken", "access_token") {
            reading
                .tokens
                .push((Carrier::Body, token.as_str()?.to_owned()));
        }
    }
    let mut records = Vec::new();
    for span in objects(&request, "spans")? {
        let context = either(span, "spanContext", "span_context")
            .next()
            .and_then(Value::as_object);
        let id = context.and_then(|context| either(context, "spanId", "span_id").next());
        let id = id.map_or(Some(0), number)?;
        let name = either(span, "operationName", "operation_name")
            .next()
            .map_or(Some(""), Value::as_str)?;
        let attributes = proto_pairs(span, "tags")?;
        let mut nested = Vec::new();
        for log in objects(span, "logs")? {
            nested.extend(proto_pairs(log, "fields")?);
        }
        let (attributes, nested) = (reading.tags(attributes), reading.tags(nested));
        records.push(ExportedRecord {
            name: name.to_owned(),
            span_id: Some(id),
            attributes,
            nested,
        });
    }
    let reporter = request.get("reporter").and_then(Value::as_object);
    let attributes = reporter.map_or(Some(Vec::new()), |reporter| proto_pairs(reporter, "tags"))?;
    let attributes = reading.tags(attributes);
    reading.add(value_of(&attributes, COMPONENT_NAME), attributes, records);
    Some(reading)
}

/// Thrift's structs as plain JSON, by their fields' names.
pub(super) fn thrift(body: &[u8]) -> Option<Reading> {
    let request = document(body)?;
    let mut reading = Reading::default();
    if let Some(auth) = request.get("auth").and_then(Value::as_object) {
        let tokens = either(auth, "access_token", "accessToken").map(Value::as_str);
        for token in tokens.collect::<Option<Vec<_>>>()? {
            reading.tokens.push((Carrier::Body, token.to_owned()));
        }
    }
    let mut records = Vec::new();
    for span in objects(&request, "span_records")? {
        let id = u64::from_str_radix(span.get("span_guid").map_or(Some("0"), Value::as_str)?, 16)
            .ok()?;
        let name = span
            .get("span_name")
            .map_or(Some(""), Value::as_str)?
            .to_owned();
        let attributes = thrift_pairs(span, "attributes")?;
        let mut nested = Vec::new();
        for log in objects(span, "log_records")? {
            nested.extend(thrift_pairs(log, "fields")?);
        }
        let (attributes, nested) = (reading.tags(attributes), reading.tags(nested));
        records.push(ExportedRecord {
            name,
            span_id: Some(id),
            attributes,
            nested,
        });
    }
    let runtime = request.get("runtime").and_then(Value::as_object);
    let attributes = runtime.map_or(Some(Vec::new()), |runtime| thrift_pairs(runtime, "attrs"))?;
    let attributes = reading.tags(attributes);
    let group = runtime
        .and_then(|runtime| runtime.get("group_name")?.as_str())
        .map(str::to_owned);
    reading.add(
        group.or_else(|| value_of(&attributes, COMPONENT_NAME)),
        attributes,
        records,
    );
    Some(reading)
}

/// A list of Zipkin's version 2 spans, by service. Each span carries a token, or the head does.
pub(super) fn zipkin(body: &[u8]) -> Option<Reading> {
    let spans: Vec<Value> = serde_json::from_slice(body).ok()?;
    let mut reading = Reading::default();
    let mut services: Vec<(Option<String>, Vec<ExportedRecord>)> = Vec::new();
    for span in &spans {
        let span = span.as_object()?;
        let mut tags = Pairs::new();
        for (name, value) in span
            .get("tags")
            .map_or(Some(&Object::new()), Value::as_object)?
        {
            tags.push((name.clone(), value.as_str()?.to_owned()));
        }
        reading.bare |= !tags
            .iter()
            .any(|(name, _)| TOKEN_TAGS.contains(&name.as_str()));
        let endpoint = span
            .get("localEndpoint")
            .and_then(|endpoint| endpoint.get("serviceName")?.as_str());
        let service = value_of(&tags, COMPONENT_NAME).or_else(|| endpoint.map(str::to_owned));
        let record = ExportedRecord {
            name: span
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            span_id: Some(u64::from_str_radix(span.get("id")?.as_str()?, 16).ok()?),
            attributes: reading.tags(tags),
            nested: Vec::new(),
        };
        match services.iter_mut().find(|(known, _)| *known == service) {
            Some((_, records)) => records.push(record),
            None => services.push((service, vec![record])),
        }
    }
    for (service, records) in services {
        let attributes = service
            .iter()
            .map(|service| ("service.name".to_owned(), service.clone()))
            .collect();
        reading.add(service, attributes, records);
    }
    Some(reading)
}

/// Elasticsearch's bulk lines: an action, and the document that it takes; one resource for each document.
pub(super) fn bulk(body: &[u8]) -> Option<Reading> {
    let text = std::str::from_utf8(body).ok()?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut reading = Reading::default();
    while let Some(action) = lines.next() {
        let action = document(action.as_bytes())?;
        if !action
            .keys()
            .all(|verb| verb == "index" || verb == "create")
            || action.len() != 1
        {
            return None;
        }
        let line = document(lines.next()?.as_bytes())?;
        let attributes: Pairs = line
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        let names = ["service.name", "service", COMPONENT_NAME];
        let service = names.iter().find_map(|name| value_of(&attributes, name));
        let attributes = reading.tags(attributes);
        reading.add(service, attributes, vec![ExportedRecord::default()]);
    }
    Some(reading)
}

/// Firehose's envelope; each record's data is base64 of `ExportMetricsServiceRequest`s, each after its length.
pub(super) fn firehose(body: &[u8]) -> Option<Reading> {
    let envelope = document(body)?;
    let request_id = envelope.get("requestId")?.as_str()?.to_owned();
    let mut reading = Reading {
        request_id,
        ..Reading::default()
    };
    for record in objects(&envelope, "records")? {
        let data = base64::engine::general_purpose::STANDARD
            .decode(record.get("data")?.as_str()?)
            .ok()?;
        let mut rest = &data[..];
        while !rest.is_empty() {
            let length = prost::decode_length_delimiter(&mut rest).ok()?;
            let (message, after) = rest.split_at_checked(length)?;
            reading
                .resources
                .extend(otlp_protobuf::decode(Signal::Metrics, message)?);
            rest = after;
        }
    }
    Some(reading)
}

fn document(text: &[u8]) -> Option<Object> {
    serde_json::from_slice(text).ok()
}

/// Members under either spelling, both if both are there.
fn either<'o>(
    object: &'o Object,
    camel: &'o str,
    declared: &'o str,
) -> impl Iterator<Item = &'o Value> {
    let second = if camel == declared {
        None
    } else {
        object.get(declared)
    };
    object
        .get(camel)
        .into_iter()
        .chain(second)
        .filter(|value| !value.is_null())
}

/// An absent list is empty.
fn objects<'o>(object: &'o Object, name: &str) -> Option<Vec<&'o Object>> {
    match object.get(name) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(value) => value.as_array()?.iter().map(Value::as_object).collect(),
    }
}

/// A 64-bit number, as text or not.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn value_of(pairs: &[(String, String)], name: &str) -> Option<String> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.clone())
}

/// `key`, and one of `stringValue`, `intValue` and so on.
fn proto_pairs(object: &Object, name: &str) -> Option<Pairs> {
    let pair = |pair: &Object| {
        let value = pair
            .iter()
            .find(|(member, _)| *member != "key")
            .map(|(_, value)| value);
        let value = value.map_or_else(String::new, |value| {
            value.as_str().map_or(value.to_string(), str::to_owned)
        });
        Some((pair.get("key")?.as_str()?.to_owned(), value))
    };
    objects(object, name)?.into_iter().map(pair).collect()
}

/// `Key` and `Value`.
fn thrift_pairs(object: &Object, name: &str) -> Option<Pairs> {
    let text = |pair: &Object, name: &str| Some(pair.get(name)?.as_str()?.to_owned());
    objects(object, name)?
        .into_iter()
        .map(|pair| Some((text(pair, "Key")?, text(pair, "Value")?)))
        .collect()
}
