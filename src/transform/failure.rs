//! What passes of the backend's answer to a question that failed.
//!
//! What it does: reduces it to `{"errors":[…]}` with bounded strings. What it refuses to know: the status. Invariant: a
//! page, a trace or a document in the place of an error goes no further.

use bytes::Bytes;
use serde_json::{Value, json};

/// Errors that are passed on; the backend gives one.
const ERRORS_LIMIT_ENTRIES: usize = 16;
/// Of each; longer ones are cut.
const ERROR_LIMIT_CHARACTERS: usize = 2048;

/// The errors of a failed answer; the very bytes, if there is nothing else in it.
pub(crate) fn errors(body: &Bytes) -> Bytes {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let told = document
        .as_ref()
        .and_then(|document| document.get("errors")?.as_array());
    let kept: Vec<String> = told
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .take(ERRORS_LIMIT_ENTRIES)
        .map(|text| text.chars().take(ERROR_LIMIT_CHARACTERS).collect())
        .collect();
    let reduced = json!({ "errors": kept });
    // A member that stands twice would be lost in the comparison.
    let mentions = memchr::memmem::find_iter(body, b"\"errors\"").count();
    if document.is_some_and(|document| document == reduced)
        && mentions == 1
        && !body.contains(&b'\\')
    {
        return body.clone();
    }
    reduced.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_pass() {
        let long = "x".repeat(5000);
        let cut = format!(r#"{{"errors":["{}"]}}"#, "x".repeat(2048));
        for (body, expected) in [
            (
                r#"{"errors": ["no such object"]}"#,
                r#"{"errors": ["no such object"]}"#,
            ),
            (r#"{"errors":[]}"#, r#"{"errors":[]}"#),
            (
                r#"{"errors":["a",{"detail":"b"},7],"trace":"/srv/x"}"#,
                r#"{"errors":["a"]}"#,
            ),
            (r#"{"errors":["a"],"errors":["b"]}"#, r#"{"errors":["b"]}"#),
            (r#"{"errors":"a"}"#, r#"{"errors":[]}"#),
            (r#"{"data":[{"id":"t0k"}]}"#, r#"{"errors":[]}"#),
            ("<html>", r#"{"errors":[]}"#),
            ("", r#"{"errors":[]}"#),
            (&format!(r#"{{"errors":["{long}"]}}"#), &cut),
        ] {
            assert_eq!(
                errors(&Bytes::copy_from_slice(body.as_bytes())),
                expected,
                "{body}"
            );
        }
        let many = json!({ "errors": vec!["e"; 100] }).to_string();
        assert_eq!(
            errors(&many.into()),
            json!({ "errors": vec!["e"; 16] }).to_string()
        );
    }
}
