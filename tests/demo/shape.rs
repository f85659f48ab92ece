//! A small reader of JSON schemas: enough to hold a document to its shape.
//!
//! It knows references, objects, lists, choices and kinds; of the rest (ranges, patterns) it knows nothing,
//! and keywords that it does not know say nothing to it.

use serde_json::Value;

/// Where and how a document differs from a schema; empty if it does not.
pub fn differences(document: &Value, schema: &Value, root: &Value, place: &str) -> Vec<String> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = root
            .pointer(reference.trim_start_matches('#'))
            .expect("a reference leads into the schema");
        return differences(document, target, root, place);
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(word).and_then(Value::as_array) {
            let found: Vec<_> = choices
                .iter()
                .map(|choice| differences(document, choice, root, place))
                .collect();
            return match found.iter().any(Vec::is_empty) {
                true => Vec::new(),
                false => vec![format!("{place}: none of the choices: {found:?}")],
            };
        }
    }
    if let Some(wanted) = schema.get("const") {
        return if document == wanted {
            Vec::new()
        } else {
            vec![format!("{place}: not {wanted}")]
        };
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return if words.contains(document) {
            Vec::new()
        } else {
            vec![format!("{place}: {document}")]
        };
    }
    if let Some(kind) = schema.get("type").filter(|kind| !is_kind(document, kind)) {
        return vec![format!("{place}: {document} is no {kind}")];
    }
    match document {
        Value::Object(members) => {
            let known = schema.get("properties");
            let other = schema.get("additionalProperties");
            let mut found = Vec::new();
            for name in schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                if !members.contains_key(name.as_str().unwrap_or_default()) {
                    found.push(format!("{place}: {name} is missing"));
                }
            }
            for (name, value) in members {
                let place = format!("{place}/{name}");
                match (known.and_then(|known| known.get(name)), other) {
                    (Some(schema), _) => found.extend(differences(value, schema, root, &place)),
                    (None, Some(Value::Bool(false))) => found.push(format!("{place}: unknown")),
                    (None, Some(schema)) => found.extend(differences(value, schema, root, &place)),
                    (None, None) => {}
                }
            }
            found
        }
        Value::Array(entries) => match schema.get("items") {
            Some(schema) => entries
                .iter()
                .flat_map(|entry| differences(entry, schema, root, place))
                .collect(),
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn is_kind(document: &Value, kind: &Value) -> bool {
    let is = |kind: &str| match kind {
        "object" => document.is_object(),
        "array" => document.is_array(),
        "string" => document.is_string(),
        "integer" => document.is_u64() || document.is_i64(),
        "number" => document.is_number(),
        "boolean" => document.is_boolean(),
        "null" => document.is_null(),
        _ => false,
    };
    match kind {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(is),
        kind => kind.as_str().is_some_and(is),
    }
}
