//! Which records are looked for.
//!
//! What it does: holds lines of the trail against conditions, and finds the records of a request. What it refuses to know: where
//! lines come from, and who may see them. Invariants: a line is read as JSON only if its bytes can hold all that is wanted, as our
//! own writer writes it; a line that is no record matches nothing.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use memchr::memmem::Finder;
use serde_json::Value;

use super::record::moment;
use crate::clock::UnixMillis;

/// Conditions on records; all that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordConditions {
    pub request_id: Option<String>,
    pub event: Option<String>,
    pub subject: Option<String>,
    pub issuer: Option<String>,
    /// This app, and all beneath it.
    pub app: Option<String>,
    pub project: Option<String>,
    pub operation: Option<String>,
    pub decision: Option<String>,
    pub reason: Option<String>,
    pub client_address: Option<String>,
    pub status: Option<u64>,
    /// Not before this time.
    pub since: Option<String>,
    /// Before this time.
    pub until: Option<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time: write it as in `2026-11-30T08:00:00Z`, or `2026-11-30`")]
pub(crate) struct NoMoment(String);

/// The conditions, made ready.
pub(crate) struct RecordFilter {
    texts: Vec<WantedText>,
    app: Option<String>,
    address: Option<WantedAddress>,
    status: Option<u64>,
    since: Option<UnixMillis>,
    until: Option<UnixMillis>,
}

/// A client's address: with its port, as the record has it, or without.
struct WantedAddress {
    text: String,
    finder: Finder<'static>,
}

impl WantedAddress {
    fn is(&self, found: &str) -> bool {
        let without_port = || {
            let found = found.parse::<SocketAddr>().ok()?;
            Some(self.text.parse::<IpAddr>().ok()? == found.ip())
        };
        found == self.text || without_port() == Some(true)
    }
}

/// A text that a record must have in one place.
struct WantedText {
    pointer: &'static str,
    text: String,
    /// The same as it stands in a line.
    finder: Finder<'static>,
}

impl RecordFilter {
    pub(crate) fn new(given: &RecordConditions) -> Result<Self, NoMoment> {
        let texts = [
            (&given.request_id, "/request_id"),
            (&given.event, "/event"),
            (&given.subject, "/identity/subject"),
            (&given.issuer, "/identity/issuer"),
            (&given.project, "/project"),
            (&given.operation, "/operation"),
            (&given.decision, "/decision"),
            (&given.reason, "/reason"),
        ];
        let texts = texts.into_iter().filter_map(|(text, pointer)| {
            let text = text.clone()?;
            Some(WantedText {
                pointer,
                finder: Finder::new(Value::from(text.as_str()).to_string().as_bytes()).into_owned(),
                text,
            })
        });
        let read = |text: &Option<String>| text.as_deref().map(given_moment).transpose();
        Ok(RecordFilter {
            texts: texts.collect(),
            app: given
                .app
                .as_deref()
                .map(|app| app.trim_matches('/').to_owned()),
            address: given.client_address.as_deref().map(|text| WantedAddress {
                text: text.to_owned(),
                finder: Finder::new(text).into_owned(),
            }),
            status: given.status,
            since: read(&given.since)?,
            until: read(&given.until)?,
        })
    }

    /// The record of a line, if all conditions hold of it.
    pub(crate) fn find(&self, line: &[u8]) -> Option<Value> {
        let has = |wanted: &WantedText| wanted.finder.find(line).is_some();
        let address = self.address.as_ref();
        if !self.texts.iter().all(has)
            || address.is_some_and(|wanted| wanted.finder.find(line).is_none())
        {
            return None;
        }
        let record = serde_json::from_slice(line).ok()?;
        self.holds(&record).then_some(record)
    }

    fn holds(&self, record: &Value) -> bool {
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
        let is_status = || {
            let found = record.get("status").and_then(Value::as_u64);
            self.status.is_none_or(|wanted| found == Some(wanted))
        };
        let is_app = || {
            let is = |wanted: &String| apps(record).any(|app| is_within(app, wanted));
            self.app.as_ref().is_none_or(is)
        };
        record.is_object()
            && self
                .texts
                .iter()
                .all(|wanted| text(wanted.pointer) == Some(&wanted.text))
            && self
                .address
                .as_ref()
                .is_none_or(|wanted| text("/client_address").is_some_and(|found| wanted.is(found)))
            && is_status()
            && is_app()
            && self.is_then(text("/time"))
    }

    fn is_then(&self, time: Option<&str>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        time.and_then(moment).is_some_and(|time| {
            self.since.is_none_or(|since| time >= since)
                && self.until.is_none_or(|until| time < until)
        })
    }

    /// From when on records are looked for.
    pub(crate) fn since(&self) -> Option<UnixMillis> {
        self.since
    }
}

/// The app of a record, and those of its parts.
fn apps(record: &Value) -> impl Iterator<Item = &str> {
    let own = record.get("app").and_then(Value::as_str);
    let parts = list(record, "parts").flat_map(|part| list(part, "apps"));
    own.into_iter().chain(parts.filter_map(Value::as_str))
}

fn list<'r>(object: &'r Value, key: &str) -> impl Iterator<Item = &'r Value> + use<'r> {
    let found = object.get(key).and_then(Value::as_array);
    found.into_iter().flatten()
}

/// Whether an app is another, or beneath it.
fn is_within(app: &str, above: &str) -> bool {
    above.is_empty()
        || app
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A time as people give it: RFC 3339, or a day or a minute in UTC.
pub(crate) fn given_moment(text: &str) -> Result<UnixMillis, NoMoment> {
    let whole = match text.len() {
        10 => Cow::Owned(format!("{text}T00:00:00Z")),
        16 => Cow::Owned(format!("{text}:00Z")),
        _ => Cow::Borrowed(text),
    };
    moment(&whole).ok_or_else(|| NoMoment(text.to_owned()))
}

/// Looks for the records of one request.
pub(crate) struct RequestSearch {
    id: String,
    finder: Finder<'static>,
}

/// What a record of a request is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestRecord {
    /// The call itself.
    Call,
    /// An event that bears its id: that its answer was about to begin.
    Event,
}

impl RequestSearch {
    pub(crate) fn new(id: &str) -> Self {
        let member = format!("\"request_id\":{}", Value::from(id));
        RequestSearch {
            id: id.to_owned(),
            finder: Finder::new(member.as_bytes()).into_owned(),
        }
    }

    /// What the line is of, if it is a record of the request.
    pub(crate) fn find(&self, line: &[u8]) -> Option<RequestRecord> {
        #[derive(serde::Deserialize)]
        struct NamedRecord {
            request_id: String,
            event: String,
        }
        self.finder.find(line)?;
        let named: NamedRecord = serde_json::from_slice(line).ok()?;
        (named.request_id == self.id).then_some(match named.event.as_str() {
            "call" => RequestRecord::Call,
            _ => RequestRecord::Event,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Scenario: one record against each condition, alone and together. Guarantees: all must hold; an app is found beneath
    /// another and in a part, and never by a part of its name; a time is taken in every form and zone.
    #[test]
    fn all_conditions_must_hold() {
        let record = json!({
            "time": "2026-11-30T08:00:00.000Z", "request_id": "01", "event": "call", "app": "shop",
            "identity": { "issuer": "okta", "subject": "an\"n" }, "decision": "deny", "status": 403,
            "client_address": "192.0.2.7:4711",
            "parts": [{ "apps": ["shop/checkout"] }, { "apps": ["shop/payments"] }],
        });
        type Change = fn(&mut RecordConditions, Option<String>);
        let subject: Change = |given, text| given.subject = text;
        let issuer: Change = |given, text| given.issuer = text;
        let app: Change = |given, text| given.app = text;
        let project: Change = |given, text| given.project = text;
        let since: Change = |given, text| given.since = text;
        let until: Change = |given, text| given.until = text;
        let status: Change = |given, text| given.status = text.and_then(|text| text.parse().ok());
        let address: Change = |given, text| given.client_address = text;
        let rows: [(&[(Change, &str)], bool); 23] = [
            (&[(address, "192.0.2.7")], true),
            (&[(address, "192.0.2.7:4711")], true),
            (&[(address, "192.0.2.7:471")], false),
            (&[(address, "192.0.2.77")], false),
            (&[], true),
            (&[(subject, "an\"n")], true),
            (&[(subject, "an\"n"), (issuer, "okta")], true),
            (&[(subject, "an\"n"), (issuer, "other")], false),
            (&[(subject, "okta")], false),
            (&[(app, "shop")], true),
            (&[(app, "/")], true),
            (&[(app, "/shop/")], true),
            (&[(app, "shop/payments")], true),
            (&[(app, "shop/pay")], false),
            (&[(app, "sho")], false),
            (&[(project, "x")], false),
            (&[(status, "403")], true),
            (&[(status, "200")], false),
            (&[(since, "2026-11-30T09:00:00+01:00")], true),
            (&[(since, "2026-11-30"), (until, "2026-11-30T08:01")], true),
            (&[(since, "2026-11-30T08:00")], true),
            (&[(until, "2026-11-30T08:00:00Z")], false),
            (&[(since, "2026-12-01")], false),
        ];
        let line = record.to_string();
        for (changes, expected) in rows {
            let mut given = RecordConditions::default();
            for (change, text) in changes {
                change(&mut given, Some((*text).to_owned()));
            }
            let filter = RecordFilter::new(&given).unwrap();
            assert_eq!(
                filter.find(line.as_bytes()).is_some(),
                expected,
                "{given:?}"
            );
        }
        for wrong in ["yesterday", "2026-13-30", "2026-11-30T08", ""] {
            let given = RecordConditions {
                since: Some(wrong.to_owned()),
                ..Default::default()
            };
            assert_eq!(
                RecordFilter::new(&given).err(),
                Some(NoMoment(wrong.to_owned()))
            );
        }
        for none in ["", "{", "[]", "\"okta\"", "null"] {
            let all = RecordFilter::new(&RecordConditions::default()).unwrap();
            assert_eq!(all.find(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_request_is_found_by_its_own_id_alone() {
        let search = RequestSearch::new("0a");
        for (line, expected) in [
            (
                r#"{"seq":1,"request_id":"0a","event":"call"}"#,
                Some(RequestRecord::Call),
            ),
            (
                r#"{"seq":1,"request_id":"0a","event":"answer_begun"}"#,
                Some(RequestRecord::Event),
            ),
            (r#"{"seq":1,"request_id":"0a1","event":"call"}"#, None),
            (
                r#"{"seq":1,"request_id":"1","event":"call","detail":"\"request_id\":\"0a\""}"#,
                None,
            ),
            (
                r#"{"seq":1,"request_id":"1","event":"call","x":{"request_id":"0a"}}"#,
                None,
            ),
            (r#"{"seq":1,"request_id":"0a","#, None),
            ("", None),
        ] {
            assert_eq!(search.find(line.as_bytes()), expected, "{line}");
        }
    }
}
