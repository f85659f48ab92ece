//! OTLP in JSON, decoded by serde_json.
//!
//! What it does: turns a document into what it held at each level (OTLP specification, "JSON Protobuf
//! Encoding"). What it refuses to know: the gateway's own reader. Invariant: a document in which something
//! that is read has another type yields `None`, never part of an export.

use serde_json::Value;

use super::exports::{Attributes, ExportedRecord, ExportedResource, ExportedScope};
use lightkeeper::otlp::Signal;

/// The five kinds of data that a metric may have.
const KINDS: [&str; 5] = [
    "gauge",
    "sum",
    "histogram",
    "exponentialHistogram",
    "summary",
];

pub(super) fn decode(signal: Signal, body: &[u8]) -> Option<Vec<ExportedResource>> {
    let document: Value = serde_json::from_slice(&lenient(body)).ok()?;
    let (groups, scopes, items) = match signal {
        Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
        Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
        Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
    };
    let mut resources = Vec::new();
    for group in list(&document, groups)? {
        let mut exported = ExportedResource {
            attributes: member_attributes(group, "resource")?,
            schema_url: text(group, "schemaUrl")?,
            ..ExportedResource::default()
        };
        for part in list(group, scopes)? {
            let mut records = Vec::new();
            for item in list(part, items)? {
                match signal {
                    Signal::Metrics => records.extend(points(item)?),
                    Signal::Traces => records.push(span(item)?),
                    Signal::Logs => {
                        let attributes = attributes(item, "attributes")?;
                        records.push(ExportedRecord {
                            attributes,
                            ..ExportedRecord::default()
                        });
                    }
                }
            }
            let name = text(member(part, "scope")?, "name")?;
            let attributes = member_attributes(part, "scope")?;
            exported.scopes.push(ExportedScope {
                name,
                attributes,
                schema_url: text(part, "schemaUrl")?,
                records,
            });
        }
        exported.service = exported.attribute("service.name").map(str::to_owned);
        exported.items = exported.records().count() as u64;
        resources.push(exported);
    }
    Some(resources)
}

/// The text as serde_json takes it where the Collector's reader is more lenient: each half of a surrogate pair becomes
/// U+FFFD, and what lies in very many brackets becomes `null`.
fn lenient(body: &[u8]) -> Vec<u8> {
    /// serde_json reads 127.
    const DEPTH: usize = 100;
    let unit = |at: usize| {
        let digits = body.get(at..)?.strip_prefix(b"\\u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut text = Vec::with_capacity(body.len());
    let (mut at, mut depth, mut is_string) = (0, 0_usize, false);
    while let Some(byte) = body.get(at) {
        let mut length = 1;
        let mut put: Option<&[u8]> = None;
        match byte {
            b'\\' => match unit(at) {
                Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => {
                    length = 12
                }
                Some(0xd800..=0xdfff) => (length, put) = (6, Some(&b"\\ufffd"[..])),
                _ => length = 2,
            },
            b'"' => is_string = !is_string,
            b'{' | b'[' if !is_string => {
                depth += 1;
                put = (depth == DEPTH + 1).then_some(&b"null"[..]);
            }
            b'}' | b']' if !is_string => {
                depth = depth.saturating_sub(1);
                put = (depth == DEPTH).then_some(&b""[..]);
            }
            _ => {}
        }
        if depth <= DEPTH || put.is_some() {
            text.extend_from_slice(put.or(body.get(at..at + length)).unwrap_or_default());
        }
        at += length;
    }
    text
}

fn span(item: &Value) -> Option<ExportedRecord> {
    let mut nested = Vec::new();
    for inside in list(item, "events")?.iter().chain(list(item, "links")?) {
        nested.extend(attributes(inside, "attributes")?);
    }
    let id = text(item, "spanId")?;
    let id = if id.len() == 16 {
        u64::from_str_radix(&id, 16).ok()?
    } else {
        0
    };
    Some(ExportedRecord {
        name: text(item, "name")?,
        span_id: Some(id),
        attributes: attributes(item, "attributes")?,
        nested,
    })
}

fn points(metric: &Value) -> Option<Vec<ExportedRecord>> {
    let (name, metadata) = (text(metric, "name")?, attributes(metric, "metadata")?);
    let mut points = Vec::new();
    for data in KINDS.iter().filter_map(|kind| metric.get(kind)) {
        for point in list(data, "dataPoints")? {
            let mut nested = metadata.clone();
            for exemplar in list(point, "exemplars")? {
                nested.extend(attributes(exemplar, "filteredAttributes")?);
            }
            let attributes = attributes(point, "attributes")?;
            points.push(ExportedRecord {
                name: name.clone(),
                span_id: None,
                attributes,
                nested,
            });
        }
    }
    Some(points)
}

/// What stands for a message: an object, or `null`, which the Collector's reader takes for an empty one (ProtoJSON, "JSON
/// format": a parser accepts `null` as the default of any field).
fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Null => Some(&Value::Null),
        Value::Object(members) => Some(members.get(name).unwrap_or(&Value::Null)),
        _ => None,
    }
}

/// An absent list is empty.
fn list<'v>(value: &'v Value, name: &str) -> Option<&'v [Value]> {
    match member(value, name)? {
        Value::Null => Some(&[]),
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// An absent text is empty.
fn text(value: &Value, name: &str) -> Option<String> {
    match member(value, name)? {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn member_attributes(value: &Value, name: &str) -> Option<Attributes> {
    attributes(member(value, name)?, "attributes")
}

fn attributes(value: &Value, name: &str) -> Option<Attributes> {
    let mut pairs = Attributes::new();
    for pair in list(value, name)? {
        let value = pair
            .get("value")
            .and_then(Value::as_object)
            .and_then(|value| value.values().next());
        let value = match value {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        pairs.push((text(pair, "key")?, value));
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_is_as_lenient_as_the_collectors() {
        let same = r#"{"a":["\ud83d\ude00","\\ud83d","[{\"",1]}"#;
        assert_eq!(lenient(same.as_bytes()), same.as_bytes());
        assert_eq!(
            lenient(br#"["\ud83d","\ude00x"]"#),
            br#"["\ufffd","\ufffdx"]"#
        );
        let deep = format!("{}1{}", r#"{"a":["#.repeat(200), "]}".repeat(200));
        let flat = format!("{}null{}", r#"{"a":["#.repeat(50), "]}".repeat(50));
        assert_eq!(String::from_utf8(lenient(deep.as_bytes())).unwrap(), flat);
        assert!(serde_json::from_str::<Value>(&flat).is_ok());
    }
}
