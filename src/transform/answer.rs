//! What a caller gets of a query's answer.
//!
//! What it does: applies an operation's response rule to a whole, decompressed answer.
//! What it refuses to know: how the answer was fetched. Invariants: an answer that should be JSON and is
//! not, or has another shape than the rule expects, is refused; an answer that holds our own key is refused.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::links::may_hide_text;
use super::{Links, holds};
use crate::profiles::ResponseRule;
use crate::secret::Secret;

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// Why an answer is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFault {
    /// Not the JSON document that the rule expects.
    Shape,
    /// It holds the API key that we lent.
    EchoedCredential,
}

impl AnswerFault {
    pub fn reason(self) -> &'static str {
        match self {
            AnswerFault::Shape => "upstream_answer_unknown_shape",
            AnswerFault::EchoedCredential => "upstream_echoed_credential",
        }
    }
}

/// How to rewrite one answer.
pub struct Rewriting<'a> {
    pub rule: ResponseRule,
    pub links: &'a Links,
    /// For `Projects`: the names that may be shown.
    pub visible_projects: &'a [Arc<str>],
    /// Whether the permit names the operation that shows secrets in full.
    pub may_see_secrets: bool,
    pub lent: &'a Secret,
    /// Whether the backend declared JSON.
    pub is_json: bool,
    pub is_success: bool,
}

/// Rewrites a whole answer.
pub fn rewrite(body: Bytes, rewriting: &Rewriting<'_>) -> Result<Bytes, AnswerFault> {
    if holds(&body, rewriting.lent) {
        return Err(AnswerFault::EchoedCredential);
    }
    if body.is_empty() || (rewriting.rule == ResponseRule::None && !rewriting.is_json) {
        return Ok(body);
    }
    if !rewriting.is_json {
        return Err(AnswerFault::Shape);
    }
    let text = std::str::from_utf8(&body).map_err(|_| AnswerFault::Shape)?;
    // Proves that the text is one JSON document, which the link walk relies on.
    let document: &RawValue = serde_json::from_str(text).map_err(|_| AnswerFault::Shape)?;
    let narrowed = match rewriting.rule {
        ResponseRule::None | ResponseRule::Links => None,
        _ if !rewriting.is_success => None,
        ResponseRule::Projects => Some(narrow(document, rewriting.visible_projects)?),
        ResponseRule::AccessTokens | ResponseRule::Destinations if rewriting.may_see_secrets => None,
        ResponseRule::AccessTokens => Some(redact_tokens(document)?),
        ResponseRule::Destinations => Some(redact_destinations(document)?),
    };
    let text = narrowed.as_deref().unwrap_or(text);
    let rewritten = rewriting.links.in_json(text);
    // Escapes could have hidden the key from the first look.
    let quotable = rewriting.lent.expose().iter().any(|byte| matches!(byte, b'"' | b'\\'));
    if (may_hide_text(text) || (quotable && text.contains('\\'))) && unescaped_holds(&rewritten, rewriting.lent) {
        return Err(AnswerFault::EchoedCredential);
    }
    match (rewritten, narrowed.is_none()) {
        (std::borrow::Cow::Borrowed(_), true) => Ok(body),
        (rewritten, _) => Ok(Bytes::from(rewritten.into_owned().into_bytes())),
    }
}

/// Keeps the visible projects of `{"data":[{"id":…},…]}`, each as the backend wrote it.
fn narrow(document: &RawValue, visible: &[Arc<str>]) -> Result<String, AnswerFault> {
    #[derive(serde::Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        data: Vec<&'a RawValue>,
    }
    #[derive(serde::Deserialize)]
    struct Project {
        id: String,
    }
    let list: List<'_> = serde_json::from_str(document.get()).map_err(|_| AnswerFault::Shape)?;
    let mut kept = Vec::new();
    for entry in list.data {
        let project: Project = serde_json::from_str(entry.get()).map_err(|_| AnswerFault::Shape)?;
        if visible.iter().any(|name| **name == *project.id) {
            kept.push(entry.get());
        }
    }
    Ok(format!(r#"{{"data":[{}]}}"#, kept.join(",")))
}

/// Only what is known not to be the token: `type`, `attributes.name`, and that there is one.
fn redact_tokens(document: &RawValue) -> Result<String, AnswerFault> {
    let project = |entry: &Value| {
        let mut shown = Map::new();
        shown.insert("id".to_owned(), Value::from(REDACTED));
        if let Some(kind) = entry.get("type") {
            shown.insert("type".to_owned(), kind.clone());
        }
        if let Some(name) = entry.pointer("/attributes/name").filter(|name| name.is_string()) {
            shown.insert("attributes".to_owned(), serde_json::json!({ "name": name }));
        }
        Value::Object(shown)
    };
    let document: Value = serde_json::from_str(document.get()).map_err(|_| AnswerFault::Shape)?;
    let data = match document.get("data") {
        Some(Value::Array(entries)) => Value::Array(entries.iter().map(project).collect()),
        Some(entry @ Value::Object(_)) => project(entry),
        _ => return Err(AnswerFault::Shape),
    };
    Ok(serde_json::json!({ "data": data }).to_string())
}

fn redact_destinations(document: &RawValue) -> Result<String, AnswerFault> {
    let mut document: Value = serde_json::from_str(document.get()).map_err(|_| AnswerFault::Shape)?;
    if !document.get("data").is_some_and(|data| data.is_object() || data.is_array()) {
        return Err(AnswerFault::Shape);
    }
    redact_members(&mut document, false);
    Ok(document.to_string())
}

/// Blanks every leaf below a member that is known to hold secrets. Bounded by the parser's own depth.
fn redact_members(value: &mut Value, secret: bool) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('-', "_").to_ascii_lowercase();
                let holds_secret = ["custom_headers", "auth", "integration_key", "password", "token", "secret", "url"]
                    .contains(&name.as_str());
                redact_members(member, secret || holds_secret);
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(|entry| redact_members(entry, secret)),
        leaf if secret && !leaf.is_null() => *leaf = Value::from(REDACTED),
        _ => {}
    }
}

fn unescaped_holds(json: &str, secret: &Secret) -> bool {
    fn walk(value: &Value, secret: &Secret) -> bool {
        match value {
            Value::String(text) => holds(text.as_bytes(), secret),
            Value::Array(entries) => entries.iter().any(|entry| walk(entry, secret)),
            Value::Object(members) => {
                members.iter().any(|(name, member)| holds(name.as_bytes(), secret) || walk(member, secret))
            }
            _ => false,
        }
    }
    serde_json::from_str::<Value>(json).is_ok_and(|value| walk(&value, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: ResponseRule, body: &str, is_json: bool, may_see_secrets: bool) -> Result<String, AnswerFault> {
        let links = Links::new(["api.lightstep.com".to_owned()], "https://gw".to_owned());
        let lent = Secret::new(b"canary-key".to_vec()).unwrap();
        let rewriting = Rewriting {
            rule,
            links: &links,
            visible_projects: &["shop".into()],
            may_see_secrets,
            lent: &lent,
            is_json,
            is_success: true,
        };
        rewrite(Bytes::copy_from_slice(body.as_bytes()), &rewriting)
            .map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn answers_are_rewritten_by_their_rule() {
        use ResponseRule::{AccessTokens, Destinations, Links, None, Projects};
        let shape = Err(AnswerFault::Shape);
        let echoed = Err(AnswerFault::EchoedCredential);
        type Case<'a> = (ResponseRule, &'a str, bool, bool, Result<&'a str, AnswerFault>);
        let cases: &[Case<'_>] = &[
            (None, "OK!", false, false, Ok("OK!")),
            (Links, "", false, false, Ok("")),
            (Links, "<html>", false, false, shape),
            (Links, "{\"a\":", true, false, shape),
            (Links, r#"{"a":"https://api.lightstep.com/x"}"#, true, false, Ok(r#"{"a":"https://gw/x"}"#)),
            (Links, r#"{"a": 1.50}"#, true, false, Ok(r#"{"a": 1.50}"#)),
            (Links, r#"{"a":"x canary-key"}"#, true, false, echoed),
            (Links, r#"{"a":"x canary\u002dkey"}"#, true, false, echoed),
            (
                Projects,
                r#"{"data":[{"id":"shop","n":1.0},{"id":"pay"}],"meta":{"total":2}}"#,
                true,
                false,
                Ok(r#"{"data":[{"id":"shop","n":1.0}]}"#),
            ),
            (Projects, r#"{"data":[{"id":"pay"}]}"#, true, false, Ok(r#"{"data":[]}"#)),
            (Projects, r#"{"data":[{"id":"shop","id":"pay"}]}"#, true, false, shape),
            (Projects, r#"{"projects":["pay"]}"#, true, false, shape),
            (Projects, r#"["pay"]"#, true, false, shape),
            (
                AccessTokens,
                r#"{"data":[{"id":"t0k","type":"token","attributes":{"name":"ci","token":"t0k"},"links":{"self":"/t0k"}}]}"#,
                true,
                false,
                Ok(r#"{"data":[{"attributes":{"name":"ci"},"id":"[redacted]","type":"token"}]}"#),
            ),
            (AccessTokens, r#"{"data":[{"id":"t0k"}]}"#, true, true, Ok(r#"{"data":[{"id":"t0k"}]}"#)),
            (AccessTokens, r#"{"tokens":["t0k"]}"#, true, false, shape),
            (
                Destinations,
                r#"{"data":{"attributes":{"custom_headers":{"X":"s"},"name":"n","integration_key":"k"}}}"#,
                true,
                false,
                Ok(
                    r#"{"data":{"attributes":{"custom_headers":{"X":"[redacted]"},"integration_key":"[redacted]","name":"n"}}}"#,
                ),
            ),
        ];
        for (rule, body, is_json, may_see, expected) in cases {
            let expected = expected.map(str::to_owned);
            assert_eq!(check(*rule, body, *is_json, *may_see), expected, "{rule:?} {body}");
        }
    }
}
