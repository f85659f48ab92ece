//! Secrets that the backend's objects hold: webhook headers, integration keys, ingest tokens.
//!
//! What it does: blanks them in a document. What it refuses to know: who may see them. Invariants: a member is judged by
//! its name, whatever its case and dashes, and all below it goes with it; templates of notifications stay.

use serde_json::{Map, Value};

use super::REDACTED;

/// Members whose every leaf is blanked, in lower case and without dashes.
const SECRET_MEMBERS: [&str; 18] = [
    "accesstoken",
    "apikey",
    "auth",
    "authorization",
    "clientsecret",
    "customheaders",
    "headers",
    "integrationkey",
    "key",
    "password",
    "routingkey",
    "secret",
    "servicekey",
    "signingsecret",
    "token",
    "url",
    "username",
    "webhookurl",
];

/// Blanks the secrets of a destination, or of all that a document of destinations holds; says how many.
pub(crate) fn in_destinations(value: &mut Value) -> u64 {
    blank(value, false)
}

/// Blanks the secrets of those objects in any other document that are destinations or tokens; says how many.
pub(crate) fn in_embedded(value: &mut Value) -> u64 {
    match value {
        Value::Array(entries) => entries.iter_mut().map(in_embedded).sum(),
        Value::Object(members) => {
            let kind = members
                .get("type")
                .and_then(Value::as_str)
                .map(plain)
                .unwrap_or_default();
            let has = |name: &str| {
                members
                    .get("attributes")
                    .is_some_and(|attributes| attributes.get(name).is_some())
            };
            if kind.contains("accesstoken") {
                let shown = token(value);
                let count = u64::from(shown != *value && value.get("attributes").is_some());
                if count > 0 {
                    *value = shown;
                }
                return count;
            }
            if kind.ends_with("destination")
                || has("destination_type")
                || members.contains_key("destination_type")
            {
                return blank(value, false);
            }
            members.values_mut().map(in_embedded).sum()
        }
        _ => 0,
    }
}

/// Of a token only what is known not to be it: that there is one, `type` and `attributes.name`.
pub(crate) fn token(entry: &Value) -> Value {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), Value::from(REDACTED));
    if let Some(kind) = entry.get("type").filter(|kind| kind.is_string()) {
        shown.insert("type".to_owned(), kind.clone());
    }
    if let Some(name) = entry
        .pointer("/attributes/name")
        .filter(|name| name.is_string())
    {
        shown.insert("attributes".to_owned(), serde_json::json!({ "name": name }));
    }
    Value::Object(shown)
}

fn plain(name: &str) -> String {
    name.chars()
        .filter(|each| !matches!(each, '-' | '_' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

// Bounded by the parser's own depth.
fn blank(value: &mut Value, secret: bool) -> u64 {
    match value {
        Value::Object(members) => members
            .iter_mut()
            .map(|(name, member)| {
                blank(
                    member,
                    secret || SECRET_MEMBERS.contains(&plain(name).as_str()),
                )
            })
            .sum(),
        Value::Array(entries) => entries.iter_mut().map(|entry| blank(entry, secret)).sum(),
        Value::Null => 0,
        Value::String(text) if text.is_empty() || text == REDACTED => 0,
        leaf if secret => {
            *leaf = Value::from(REDACTED);
            1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blanked_wherever_they_stand() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (text, count) in [
            (
                r#"{"data":{"attributes":{"Custom-Headers":{"X":["s","t"]},"template":"{\"token\":\"kept\"}"}}}"#,
                2,
            ),
            (
                r#"{"data":[{"attributes":{"INTEGRATION_KEY":"s"}}],"included":[{"auth":{"password":"s"}}]}"#,
                2,
            ),
            (
                r#"{"data":{"attributes":{"url":"https://hooks/s","name":"n","auth":null,"token":""}}}"#,
                1,
            ),
            (r#"{"data":{"attributes":{"token":17,"secret":true}}}"#, 2),
            (
                r#"{"data":{"links":{"self":"/x"},"attributes":{"channel":"c","template":"t"}}}"#,
                0,
            ),
        ] {
            let mut value = read(text);
            assert_eq!(in_destinations(&mut value), count, "{text}");
            assert_eq!(
                value.to_string().matches(REDACTED).count() as u64,
                count,
                "{value}"
            );
            assert_eq!(value.to_string().contains("kept"), text.contains("kept"));
        }
        for (text, count) in [
            (
                r#"{"included":[{"type":"destination","attributes":{"url":"s"}}]}"#,
                1,
            ),
            (
                r#"{"included":[{"type":"webhook_destination","attributes":{"custom_headers":{"a":"s"}}}]}"#,
                1,
            ),
            (
                r#"{"a":[[{"attributes":{"destination_type":"webhook","url":"s"}}]]}"#,
                1,
            ),
            (
                r#"{"included":[{"type":"access-token","id":"s","attributes":{"name":"n","token":"s"}}]}"#,
                1,
            ),
            (r#"{"data":{"type":"destination","id":"d"}}"#, 0),
            (
                r#"{"data":{"type":"workflow_link","attributes":{"url":"https://wiki"}}}"#,
                0,
            ),
        ] {
            let mut value = read(text);
            assert_eq!(in_embedded(&mut value), count, "{text}");
            assert!(!value.to_string().contains("\"s\""), "{value}");
        }
    }
}
