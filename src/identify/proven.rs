//! Attributes of resources whose values a token proves.
//!
//! What it does: takes the configured attributes out of a claim set. What it refuses to know: who writes them on a resource,
//! and what a sender says under the same names. Invariants: an attribute of the issuer's list is always there, with a value
//! or without one, so that what a sender says can be told from what was proven; names and values are bounded, and fit for
//! a log line.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::claim_path::{ClaimPath, FoundClaim};

/// Attributes that one issuer's tokens may prove.
pub(crate) const PROVEN_ATTRIBUTES: usize = 16;

/// The longest value. One that is longer is not cut: it would be another's.
const VALUE_LIMIT_BYTES: usize = 1024;

/// An attribute, and the claim that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeSource {
    pub name: Arc<str>,
    pub claim: ClaimPath,
}

/// What one token says of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenAttribute {
    pub name: Arc<str>,
    /// `None`: the token has none, and no other word counts.
    pub value: Option<Box<str>>,
}

/// The attributes of the list, in its order.
pub(super) fn attributes(
    sources: &[AttributeSource],
    claims: &Map<String, Value>,
) -> Vec<ProvenAttribute> {
    let proven = |source: &AttributeSource| ProvenAttribute {
        name: source.name.clone(),
        value: value(&source.claim, claims),
    };
    sources.iter().map(proven).collect()
}

/// A text, a number or a truth value; nothing else has one spelling.
fn value(claim: &ClaimPath, claims: &Map<String, Value>) -> Option<Box<str>> {
    let text = match claim.find(claims) {
        FoundClaim::Value(Value::String(text)) => text.clone(),
        FoundClaim::Value(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        FoundClaim::Value(Value::Null | Value::Array(_) | Value::Object(_))
        | FoundClaim::Nothing
        | FoundClaim::WrongType => return None,
    };
    let is_fit =
        (1..=VALUE_LIMIT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    is_fit.then(|| text.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Scenario: a cluster's token, and one whose claims are of every other type. Guarantees: what has one spelling is
    /// taken whole, everything else proves nothing, and no attribute of the list is left out.
    #[test]
    fn each_attribute_has_the_tokens_word_or_none() {
        let longest = "x".repeat(VALUE_LIMIT_BYTES);
        let claims = json!({
            "kubernetes.io": {"namespace": "shop", "pod": {"name": "web-1", "uid": "u-1"}, "node": null},
            "number": 7, "yes": true, "list": ["a"], "empty": "", "lines": "a\nb",
            "longest": longest, "longer": format!("{longest}x"),
        });
        let rows = [
            ("/kubernetes.io/namespace", Some("shop")),
            ("/kubernetes.io/pod/name", Some("web-1")),
            ("/kubernetes.io/pod/uid", Some("u-1")),
            ("/kubernetes.io/node", None),
            ("/kubernetes.io/node/name", None),
            ("/kubernetes.io/pod", None),
            ("/kubernetes.io/namespace/x", None),
            ("number", Some("7")),
            ("yes", Some("true")),
            ("list", None),
            ("/list/0", Some("a")),
            ("empty", None),
            ("lines", None),
            ("longest", Some(longest.as_str())),
            ("longer", None),
            ("absent", None),
        ];
        let source = |(path, _): &(&str, _)| AttributeSource {
            name: format!("of.{path}").into(),
            claim: ClaimPath::parse(path).unwrap(),
        };
        let sources: Vec<AttributeSource> = rows.iter().map(source).collect();
        let found = attributes(&sources, claims.as_object().unwrap());
        assert_eq!(found.len(), rows.len());
        for ((path, expected), found) in rows.iter().zip(found) {
            assert_eq!(*found.name, *format!("of.{path}"));
            assert_eq!(found.value.as_deref(), *expected, "{path}");
        }
    }
}
