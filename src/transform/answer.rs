//! What a caller gets of a query's answer.
//!
//! What it does: applies an operation's response rule to a whole, decompressed answer.
//! What it refuses to know: how the answer was fetched, and credentials of ours, which are blanked before. Invariants: an
//! answer that should be JSON and is not, or has another shape than the rule expects, is refused.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::boundary::Boundary;
use super::links::may_hide_text;
use super::{Links, failure, secrets, shape};
use crate::profiles::ResponseRule;
use crate::reason::Reason;

/// Why an answer is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerFault {
    /// Not the JSON document that the rule expects.
    Shape,
}

impl AnswerFault {
    pub(crate) fn reason(self) -> Reason {
        match self {
            AnswerFault::Shape => Reason::UpstreamAnswerUnknownShape,
        }
    }
}

/// How to rewrite one answer.
pub(crate) struct Rewriting<'a> {
    pub rule: ResponseRule,
    pub links: &'a Links,
    pub boundary: Boundary<'a>,
    /// For what is the organization's: the projects that may be shown.
    pub visible_projects: &'a [Arc<str>],
    /// Whether the permit names the operation that shows secrets in full.
    pub(crate) may_see_secrets: bool,
    /// Whether the backend declared JSON.
    pub(crate) is_json: bool,
    pub status: u16,
}

/// What the caller gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub body: Bytes,
    /// Links and names of other projects that were blanked.
    pub foreign: u64,
}

/// Rewrites a whole answer.
pub(crate) fn rewrite(body: Bytes, rewriting: &Rewriting<'_>) -> Result<Rewritten, AnswerFault> {
    let kept = |body| Ok(Rewritten { body, foreign: 0 });
    if !(200..300).contains(&rewriting.status) {
        return document(failure::errors(&body), rewriting, false);
    }
    match rewriting.rule {
        _ if body.is_empty() => kept(body),
        // That it is gone is said by the status.
        ResponseRule::Empty => kept(Bytes::new()),
        ResponseRule::Text if matches!(body.trim_ascii(), b"OK!" | b"\"OK!\"") => kept(body),
        ResponseRule::Text => Err(AnswerFault::Shape),
        _ if !rewriting.is_json => Err(AnswerFault::Shape),
        _ => match document(body, rewriting, true) {
            // "Not ready yet" has no shape of its own.
            Err(AnswerFault::Shape) if rewriting.status == 202 => kept(Bytes::new()),
            outcome => outcome,
        },
    }
}

fn document(
    body: Bytes,
    rewriting: &Rewriting<'_>,
    is_good: bool,
) -> Result<Rewritten, AnswerFault> {
    let text = std::str::from_utf8(&body).map_err(|_| AnswerFault::Shape)?;
    let mut foreign = 0;
    let mut text = Cow::Borrowed(text);
    if is_good {
        // Proves that the text is one JSON document, which the walks below rely on.
        let (rule, see) = (rewriting.rule, rewriting.may_see_secrets);
        if let Some(narrowed) = shape::narrow(&text, rule, rewriting.visible_projects, see)? {
            text = Cow::Owned(narrowed);
        }
        if let Some((edited, blanked)) = edited(&text, rewriting)? {
            foreign += blanked;
            text = Cow::Owned(edited);
        }
    }
    let (bounded, blanked) = rewriting.boundary.in_json(&text);
    foreign += blanked;
    let rewritten = rewriting.links.in_json(&bounded);
    let is_changed = [&text, &bounded, &rewritten]
        .iter()
        .any(|text| matches!(text, Cow::Owned(_)));
    let changed = is_changed.then(|| rewritten.into_owned());
    Ok(Rewritten {
        body: changed.map_or_else(|| body.clone(), Bytes::from),
        foreign,
    })
}

/// Blanks secrets and names of other projects; `None` if there are none, so that the bytes stay.
fn edited(text: &str, rewriting: &Rewriting<'_>) -> Result<Option<(String, u64)>, AnswerFault> {
    let is_destinations = rewriting.rule == ResponseRule::Destinations;
    // Parsing everything for nothing is what these words save.
    let has = |word: &str| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    let suspicious = ["estination", "ccess_token", "ccess-token", "relationships"];
    if !is_destinations && !may_hide_text(text) && !suspicious.iter().any(|word| has(word)) {
        return Ok(None);
    }
    let mut value: Value = serde_json::from_str(text).map_err(|_| AnswerFault::Shape)?;
    let secrets = match (
        is_destinations || rewriting.rule == ResponseRule::AccessTokens,
        rewriting.may_see_secrets,
    ) {
        (true, true) => 0,
        (true, false) if is_destinations => secrets::in_destinations(&mut value),
        _ => secrets::in_embedded(&mut value),
    };
    let foreign = rewriting.boundary.in_relationships(&mut value);
    Ok((secrets + foreign > 0).then(|| (value.to_string(), foreign)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::boundary::Inside;

    fn check(
        rule: ResponseRule,
        status: u16,
        body: &str,
        may_see_secrets: bool,
    ) -> Result<String, AnswerFault> {
        let links = Links::new(["api.lightstep.com".to_owned()], "https://gw".to_owned());
        let boundary = Boundary {
            prefix: "/public/v0.2",
            organization: "acme",
            inside: Inside::Project("shop"),
        };
        let rewriting = Rewriting {
            rule,
            links: &links,
            boundary,
            visible_projects: &["shop".into()],
            may_see_secrets,
            is_json: !body.starts_with(['<', 'O']),
            status,
        };
        rewrite(Bytes::copy_from_slice(body.as_bytes()), &rewriting)
            .map(|rewritten| String::from_utf8(rewritten.body.to_vec()).unwrap())
    }

    #[test]
    fn answers_are_rewritten_by_their_rule() {
        use ResponseRule::{AccessTokens, Destinations, Empty, Item, List, Text};
        let shape = Err(AnswerFault::Shape);
        let deep = format!(
            r#"{{"data":{{"a\u0061":{}{}}}}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        type Case<'a> = (
            ResponseRule,
            u16,
            &'a str,
            bool,
            Result<&'a str, AnswerFault>,
        );
        let cases: &[Case<'_>] = &[
            (Text, 200, "OK!", false, Ok("OK!")),
            (Text, 200, "OK! and more", false, shape),
            (Item, 200, "", false, Ok("")),
            (Item, 200, "<html>", false, shape),
            (Item, 200, "{\"data\":", false, shape),
            (Item, 202, "{\"later\":1}", false, Ok("")),
            (Item, 200, "{\"later\":1}", false, shape),
            (Item, 200, "{}", false, Ok("{}")),
            (Empty, 200, r#"{"data":{"id":"gone"}}"#, false, Ok("")),
            (
                Item,
                200,
                r#"{"data":{"a":"https://api.lightstep.com/x"}}"#,
                false,
                Ok(r#"{"data":{"a":"https://gw/x"}}"#),
            ),
            (
                Item,
                200,
                r#"{"data": {"a": 1.50, "b":18446744073709551616}}"#,
                false,
                Ok(r#"{"data": {"a": 1.50, "b":18446744073709551616}}"#),
            ),
            (Item, 200, &deep, false, shape),
            (
                Item,
                404,
                r#"{"errors":["see https://api.lightstep.com/x"],"x":1}"#,
                false,
                Ok(r#"{"errors":["see https://gw/x"]}"#),
            ),
            (Item, 502, "<html>", false, Ok(r#"{"errors":[]}"#)),
            (
                List,
                200,
                r#"{"data":[{"n":1.0,"l":"https://api.lightstep.com/public/v0.2/acme/projects/pay"}]}"#,
                false,
                Ok(r#"{"data":[{"n":1.0,"l":"[redacted]"}]}"#),
            ),
            (
                AccessTokens,
                200,
                r#"{"data":[{"id":"t0k","type":"token","attributes":{"name":"ci","token":"t0k"},"links":{"self":"/t0k"}}]}"#,
                false,
                Ok(r#"{"data":[{"attributes":{"name":"ci"},"id":"[redacted]","type":"token"}]}"#),
            ),
            (
                AccessTokens,
                200,
                r#"{"data":[{"id":"t0k"}]}"#,
                true,
                Ok(r#"{"data":[{"id":"t0k"}]}"#),
            ),
            (AccessTokens, 200, r#"{"tokens":["t0k"]}"#, false, shape),
            (
                Destinations,
                200,
                r#"{"data":{"attributes":{"custom_headers":{"X":"s"},"name":"n","integration_key":"k"}}}"#,
                false,
                Ok(
                    r#"{"data":{"attributes":{"custom_headers":{"X":"[redacted]"},"integration_key":"[redacted]","name":"n"}}}"#,
                ),
            ),
            (
                Destinations,
                200,
                r#"{"data":[{"attributes":{"custom_headers":{"X":"s"}}}]}"#,
                true,
                Ok(r#"{"data":[{"attributes":{"custom_headers":{"X":"s"}}}]}"#),
            ),
        ];
        for (rule, status, body, may_see, expected) in cases {
            let expected = expected.map(str::to_owned);
            assert_eq!(
                check(*rule, *status, body, *may_see),
                expected,
                "{rule:?} {body}"
            );
        }
    }
}
