//! What an export says and becomes, by parsing all of it and editing the document.
//!
//! It shares nothing with the walk but the names of the fields. It refuses to know the text.

use serde_json::{Map, Value, json};

use crate::otlp::{Found, RESERVED, Signal};

pub(super) fn original(name: &str) -> String {
    let mut original = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            original.push('_');
        }
        original.push(character.to_ascii_lowercase());
    }
    original
}

pub(super) fn member<'v>(object: &'v mut Value, name: &str) -> Option<&'v mut Value> {
    let object = object.as_object_mut()?;
    let name = if object.contains_key(name) {
        name.to_owned()
    } else {
        original(name)
    };
    object.get_mut(&name).filter(|value| !value.is_null())
}

/// Calls `with` for what lies at the end of the path, through all arrays on the way.
fn at_path(value: &mut Value, path: &[&str], with: &mut dyn FnMut(&mut Value)) {
    match (value, path) {
        (value, []) => with(value),
        (Value::Array(elements), path) => elements
            .iter_mut()
            .for_each(|element| at_path(element, path, with)),
        (value, [name, rest @ ..]) => {
            if let Some(inner) = member(value, name) {
                at_path(inner, rest, with);
            }
        }
    }
}

pub(super) fn paths(
    signal: Signal,
) -> (
    &'static str,
    &'static [&'static [&'static str]],
    &'static [&'static [&'static str]],
) {
    match signal {
        Signal::Traces => (
            "resourceSpans",
            &[&["scopeSpans", "spans"]],
            &[
                &["scopeSpans", "scope", "attributes"],
                &["scopeSpans", "spans", "attributes"],
                &["scopeSpans", "spans", "events", "attributes"],
                &["scopeSpans", "spans", "links", "attributes"],
            ],
        ),
        Signal::Logs => (
            "resourceLogs",
            &[&["scopeLogs", "logRecords"]],
            &[
                &["scopeLogs", "scope", "attributes"],
                &["scopeLogs", "logRecords", "attributes"],
            ],
        ),
        Signal::Metrics => (
            "resourceMetrics",
            &[
                &["scopeMetrics", "metrics", "gauge", "dataPoints"],
                &["scopeMetrics", "metrics", "sum", "dataPoints"],
                &["scopeMetrics", "metrics", "histogram", "dataPoints"],
                &[
                    "scopeMetrics",
                    "metrics",
                    "exponentialHistogram",
                    "dataPoints",
                ],
                &["scopeMetrics", "metrics", "summary", "dataPoints"],
            ],
            &[
                &["scopeMetrics", "scope", "attributes"],
                &["scopeMetrics", "metrics", "metadata"],
                &[
                    "scopeMetrics",
                    "metrics",
                    "gauge",
                    "dataPoints",
                    "attributes",
                ],
                &["scopeMetrics", "metrics", "sum", "dataPoints", "attributes"],
                &[
                    "scopeMetrics",
                    "metrics",
                    "histogram",
                    "dataPoints",
                    "attributes",
                ],
                &[
                    "scopeMetrics",
                    "metrics",
                    "exponentialHistogram",
                    "dataPoints",
                    "attributes",
                ],
                &[
                    "scopeMetrics",
                    "metrics",
                    "summary",
                    "dataPoints",
                    "attributes",
                ],
                &[
                    "scopeMetrics",
                    "metrics",
                    "gauge",
                    "dataPoints",
                    "exemplars",
                    "filteredAttributes",
                ],
                &[
                    "scopeMetrics",
                    "metrics",
                    "sum",
                    "dataPoints",
                    "exemplars",
                    "filteredAttributes",
                ],
                &[
                    "scopeMetrics",
                    "metrics",
                    "histogram",
                    "dataPoints",
                    "exemplars",
                    "filteredAttributes",
                ],
                &[
                    "scopeMetrics",
                    "metrics",
                    "exponentialHistogram",
                    "dataPoints",
                    "exemplars",
                    "filteredAttributes",
                ],
            ],
        ),
    }
}

fn key(attribute: &Value) -> &str {
    attribute
        .get("key")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Takes the attributes for which `gone` holds out of an array, and says how many there were.
fn strip(attributes: &mut Value, gone: &dyn Fn(&str) -> bool) -> u64 {
    let Value::Array(elements) = attributes else {
        return 0;
    };
    let before = elements.len();
    elements.retain(|element| !gone(key(element)));
    (before - elements.len()) as u64
}

/// The groups, with the reserved attributes taken out and counted, and the items counted.
pub(super) fn groups(signal: Signal, document: &mut Value) -> Vec<(Value, u64, u64)> {
    let (name, items, attributes) = paths(signal);
    let reserved = |key: &str| key.starts_with(RESERVED);
    let Some(Value::Array(groups)) = member(document, name) else {
        return Vec::new();
    };
    let read = |group: &Value| {
        let (mut group, mut count, mut forged) = (group.clone(), 0, 0);
        for path in items {
            at_path(&mut group, path, &mut |items| {
                count += items.as_array().map_or(0, Vec::len) as u64
            });
        }
        for path in attributes
            .iter()
            .chain([&["resource", "attributes"].as_slice()])
        {
            at_path(&mut group, path, &mut |attributes| {
                forged += strip(attributes, &reserved)
            });
        }
        (group, count, forged)
    };
    groups.iter().map(read).collect()
}

pub(super) fn stamped(mut group: Value, stamp: &[(&str, &str)]) -> Value {
    if stamp.is_empty() {
        return group;
    }
    let object = group.as_object_mut().unwrap();
    let resource = object.entry("resource").or_insert(Value::Null);
    if resource.is_null() {
        *resource = Value::Object(Map::new());
    }
    let attributes = resource
        .as_object_mut()
        .unwrap()
        .entry("attributes")
        .or_insert(Value::Null);
    if attributes.is_null() {
        *attributes = Value::Array(Vec::new());
    }
    strip(attributes, &|key| {
        stamp.iter().any(|(name, _)| *name == key)
    });
    let new = stamp
        .iter()
        .map(|(name, value)| json!({ "key": name, "value": { "stringValue": value } }));
    attributes.as_array_mut().unwrap().extend(new);
    group
}

pub(super) fn expected_attribute(group: &mut Value, name: &str) -> Found<'static> {
    let mut found = Found::Absent;
    at_path(group, &["resource", "attributes"], &mut |attributes| {
        for attribute in attributes
            .as_array()
            .unwrap()
            .iter()
            .filter(|attribute| key(attribute) == name)
        {
            let value = attribute.get("value").unwrap_or(&Value::Null);
            let mut members: Vec<_> = value
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(_, v)| !v.is_null())
                .collect();
            let said = match (value, members.pop(), members.len()) {
                (Value::Null, _, _) | (Value::Object(_), None, _) => Found::Other,
                (Value::Object(_), Some((kind, text)), 0) if original(kind) == "string_value" => {
                    match text.as_str() {
                        Some(text) => Found::Text(text.to_owned().into()),
                        None => Found::Ambiguous,
                    }
                }
                (Value::Object(_), Some(_), 0) => Found::Other,
                _ => Found::Ambiguous,
            };
            found = match (std::mem::replace(&mut found, Found::Absent), said) {
                (Found::Absent, said) => said,
                (Found::Text(one), Found::Text(other)) if one == other => Found::Text(one),
                _ => Found::Ambiguous,
            };
        }
    });
    found
}
