//! One entry of the audit trail.
//!
//! What it does: holds the fields of a record in the order in which they are written.
//! What it refuses to know: where records go. Invariants: no field can hold a token, a cookie, a query
//! value or a body; text that a caller, an issuer or a backend may have chosen is a `Text`, which is escaped and bounded
//! when it is made, so that a log line made of a record is so, too.

use std::fmt;
use std::ops::Deref;

use serde::Serialize;

use crate::accept::ShownCertificate;
use crate::clock::UnixMillis;
use crate::reason::Reason;
use crate::telemetry::{EventName, text};

/// What of the caller's text a record repeats: one printable line of at most `LIMIT` bytes (`telemetry::text::line`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text<const LIMIT: usize>(Box<str>);

/// A path: operations and apps have shorter ones.
pub(crate) type PathText = Text<1024>;
/// A subject: a SPIFFE ID has at most 2,048 bytes (SPIFFE-ID section 2.3).
pub(crate) type SubjectText = Text<2048>;
/// What else there is to say.
pub(crate) type DetailText = Text<4096>;
/// A name of the configuration, the policy or the backend.
pub(crate) type NameText = Text<512>;

impl<const LIMIT: usize> Text<LIMIT> {
    fn shorten(&mut self, limit: usize) {
        if self.len() > limit {
            self.0 = text::cut(&self.0, limit).into();
        }
    }
}

impl<const LIMIT: usize> From<&str> for Text<LIMIT> {
    fn from(text: &str) -> Self {
        Text(text::line(text, LIMIT).into())
    }
}

impl<const LIMIT: usize> From<String> for Text<LIMIT> {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl<const LIMIT: usize> Deref for Text<LIMIT> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const LIMIT: usize> fmt::Display for Text<LIMIT> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

/// Everything about one call or event. `seq` and `time` are set when it is written and when it happened.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Record {
    pub seq: u64,
    /// RFC 3339, milliseconds, UTC.
    pub time: String,
    pub request_id: String,
    pub event: EventName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Who>,
    /// The client certificate of a call or handshake whose caller was not identified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ShownCertificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_method: Option<NameText>,
    /// Canonical, without query values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<NameText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<NameText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<NameText>,
    /// Where it went, if there are several backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<NameText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<&'static str>,
    pub reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<DetailText>,
    pub bindings: Vec<NameText>,
    pub policy_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    pub bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Counted items of an export; `null` for what was not read.
    pub items: Option<Items>,
    /// Where an export's parts went, if it was more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartRecord>,
    pub duration_us: u64,
}

impl Record {
    /// About what the record takes in memory.
    pub fn bytes(&self) -> u64 {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let certificate = |shown: &Option<ShownCertificate>| {
            shown
                .as_ref()
                .map_or(0, |shown| shown.sha256.len() + text(&shown.ca))
        };
        let name = |name: &Option<NameText>| name.as_ref().map_or(0, |name| name.len());
        let texts = self.time.len()
            + self.request_id.len()
            + self.policy_version.len()
            + text(&self.listener)
            + text(&self.client_address)
            + self
                .identity
                .as_ref()
                .map_or(0, |who| who.issuer.len() + who.subject.len())
            + self
                .identity
                .as_ref()
                .map_or(0, |who| name(&who.subject_claim))
            + certificate(&self.certificate)
            + self
                .identity
                .as_ref()
                .map_or(0, |who| certificate(&who.certificate))
            + self.identity.as_ref().map_or(0, |who| {
                who.aws.as_ref().map_or(0, |aws| aws.bytes())
                    + who.facts.as_ref().map_or(0, |facts| facts.bytes())
            })
            + name(&self.http_method)
            + self.path.as_ref().map_or(0, |path| path.len())
            + name(&self.operation)
            + name(&self.app)
            + name(&self.project)
            + name(&self.backend)
            + self.detail.as_ref().map_or(0, |detail| detail.len());
        let listed = |names: &[NameText]| {
            names
                .iter()
                .map(|name| size_of::<NameText>() + name.len())
                .sum::<usize>()
        };
        let parts = self.parts.iter().map(|part| {
            size_of::<PartRecord>()
                + listed(&part.apps)
                + name(&part.project)
                + name(&part.backend)
                + name(&part.destination)
        });
        (size_of::<Record>() + texts + listed(&self.bindings) + parts.sum::<usize>()) as u64
    }

    /// Leaves out what a call's record can do without, so that it takes at most `SMALL_BYTES`; its detail says so.
    pub fn shrink(&mut self) {
        let (parts, bindings) = (self.parts.len(), self.bindings.len());
        self.parts = Vec::new();
        self.bindings = Vec::new();
        let left_out = format!(
            "no room in the queue: {parts} parts, {bindings} bindings, the facts and the detail are left out"
        );
        self.detail = Some(left_out.into());
        for name in [
            &mut self.http_method,
            &mut self.operation,
            &mut self.app,
            &mut self.project,
            &mut self.backend,
        ]
        .into_iter()
        .flatten()
        {
            name.shorten(256);
        }
        if let Some(path) = &mut self.path {
            path.shorten(256);
        }
        if let Some(who) = &mut self.identity {
            who.issuer.shorten(256);
            who.subject.shorten(1024);
            if let Some(claim) = &mut who.subject_claim {
                claim.shorten(256);
            }
            if let Some(aws) = &mut who.aws {
                aws.account.shorten(128);
                aws.unique_id.shorten(128);
                if let Some(session) = &mut aws.session {
                    session.shorten(128);
                }
            }
            who.facts = None;
        }
    }
}

/// What a record takes that was shrunk, in bytes.
pub(crate) const SMALL_BYTES: u64 = 4 << 10;

/// The caller that a record is about.
#[derive(Clone, Debug, Serialize)]
pub struct Who {
    pub method: &'static str,
    pub issuer: NameText,
    pub subject: SubjectText,
    /// The claim that named the subject, where the issuer's configuration names several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_claim: Option<NameText>,
    /// The verified client certificate, whether it or something beside it said who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ShownCertificate>,
    /// What AWS says besides the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws: Option<Box<AwsPrincipal>>,
    /// By what the policy's bindings speak of the caller, besides issuer and subject: of those that allowed or denied, or, where none did,
    /// of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Box<WhoFacts>>,
}

/// A role or user of AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AwsPrincipal {
    pub account: NameText,
    pub unique_id: NameText,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<NameText>,
}

/// The facts that decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WhoFacts {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<NameText>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimFact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe: Option<SubjectText>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<NameText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509_subject: Option<NameText>,
    /// Whether there are more than are told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// A claim by its path in the policy, and the text that was looked for in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimFact {
    pub claim: NameText,
    pub value: NameText,
}

impl AwsPrincipal {
    fn bytes(&self) -> usize {
        let session = self.session.as_ref().map_or(0, |session| session.len());
        size_of::<AwsPrincipal>() + self.account.len() + self.unique_id.len() + session
    }
}

impl WhoFacts {
    fn bytes(&self) -> usize {
        let names = |names: &[NameText]| {
            let each = names.iter().map(|name| size_of::<NameText>() + name.len());
            each.sum::<usize>()
        };
        let claims = self
            .claims
            .iter()
            .map(|fact| size_of::<ClaimFact>() + fact.claim.len() + fact.value.len());
        size_of::<WhoFacts>()
            + names(&self.groups)
            + names(&self.dns)
            + claims.sum::<usize>()
            + self.spiffe.as_ref().map_or(0, |spiffe| spiffe.len())
            + self.x509_subject.as_ref().map_or(0, |name| name.len())
    }
}

/// One part of an export that was split, or one destination of an alert.
#[derive(Clone, Debug, Serialize)]
pub struct PartRecord {
    pub apps: Vec<NameText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<NameText>,
    /// Where it went, if there are several backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<NameText>,
    /// Of a copy for another backend than the app's: `require` or `mirror`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leg: Option<&'static str>,
    /// Of an alert: the destination's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<NameText>,
    pub items: Items,
    /// `ok`, `remembered` (taken at an earlier try), or a reason code.
    pub reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
}

impl PartRecord {
    /// Of a part for these apps that has not left yet.
    pub(crate) fn unsent(apps: Vec<NameText>) -> Self {
        PartRecord {
            apps,
            project: None,
            backend: None,
            leg: None,
            destination: None,
            items: Items::default(),
            reason: Reason::NotSent,
            upstream_status: None,
        }
    }
}

/// What became of an export's items.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Items {
    pub accepted: u64,
    pub rejected: u64,
}

/// RFC 3339 in UTC with milliseconds.
pub fn timestamp(unix_millis: i64) -> String {
    let seconds = unix_millis.div_euclid(1000);
    let moment = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    let Some(moment) = moment.filter(|moment| (0..10_000).contains(&moment.year())) else {
        return distant_timestamp(unix_millis);
    };
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let year = moment.year().unsigned_abs();
    let millis = u32::try_from(unix_millis.rem_euclid(1000)).unwrap_or_default();
    for (end, digits, value) in [
        (4, 4, year),
        (7, 2, u32::from(u8::from(moment.month()))),
        (10, 2, u32::from(moment.day())),
        (13, 2, u32::from(moment.hour())),
        (16, 2, u32::from(moment.minute())),
        (19, 2, u32::from(moment.second())),
        (23, 3, millis),
    ] {
        let mut rest = value;
        for digit in text.iter_mut().take(end).rev().take(digits) {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A time as records and people write it, RFC 3339; `None` for what is none.
pub(crate) fn moment(text: &str) -> Option<UnixMillis> {
    let format = &time::format_description::well_known::Rfc3339;
    let moment = time::OffsetDateTime::parse(text, format).ok()?;
    let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
    i64::try_from(millis).ok().map(UnixMillis)
}

/// The same of years that have other than four digits.
fn distant_timestamp(unix_millis: i64) -> String {
    const FORMAT: &[time::format_description::FormatItem<'_>] = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_millis) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(FORMAT).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: moments of every shape that a field can have. Guarantees: what is written by hand is what the library writes.
    #[test]
    fn moments_are_written_alike() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_826_089_007, "2000-02-29T12:08:09.007Z"),
            (1_795_980_047_120, "2026-11-29T19:20:47.120Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(millis), expected);
            assert_eq!(distant_timestamp(millis), expected);
            assert_eq!(moment(expected), Some(UnixMillis(millis)), "{expected}");
        }
        for millis in [253_402_300_800_000, -62_167_219_200_001, i64::MAX, i64::MIN] {
            assert_eq!(timestamp(millis), distant_timestamp(millis), "{millis}");
        }
        for step in 0..20_000_i64 {
            let millis = step * 4_000_000_007;
            assert_eq!(timestamp(millis), distant_timestamp(millis), "{millis}");
        }
    }

    /// Scenario: every field that others may fill is filled with the worst. Guarantees: the record is bounded, in memory and as
    /// a line; what is hidden is escaped, what is cut is marked; the smallest record holds who did what.
    #[test]
    fn what_others_wrote_is_bounded_and_escaped() {
        let hostile = || "\u{202e}\u{200b}\n".repeat(10_000);
        let name = || Some(NameText::from(hostile()));
        let mut record = Record {
            time: timestamp(0),
            request_id: "0".repeat(32),
            policy_version: "sha256:0123456789ab".to_owned(),
            listener: Some("l".repeat(63)),
            client_address: Some("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".to_owned()),
            identity: Some(Who {
                method: "mtls",
                issuer: hostile().into(),
                subject: hostile().into(),
                subject_claim: name(),
                certificate: Some(ShownCertificate {
                    ca: Some("c".repeat(63)),
                    sha256: "0".repeat(64),
                }),
                aws: Some(Box::new(AwsPrincipal {
                    account: hostile().into(),
                    unique_id: hostile().into(),
                    session: name(),
                })),
                facts: Some(Box::new(WhoFacts {
                    groups: vec![hostile().into(); 16],
                    ..WhoFacts::default()
                })),
            }),
            http_method: name(),
            path: Some(hostile().into()),
            operation: name(),
            app: name(),
            project: name(),
            detail: Some(hostile().into()),
            bindings: vec![NameText::from("a-binding"); 1000],
            ..Record::default()
        };
        let whole = serde_json::to_string(&record).unwrap();
        assert!(whole.chars().all(|each| !text::is_hidden(each)), "{whole}");
        assert_eq!(whole.matches("…[+").count(), 28, "{whole}");
        let listed = 1000 * (size_of::<NameText>() as u64 + 9);
        assert!(record.bytes() < (23 << 10) + listed, "{}", record.bytes());
        record.shrink();
        assert!(record.bytes() <= SMALL_BYTES, "{}", record.bytes());
        let small = serde_json::to_value(&record).unwrap();
        assert!(
            small["detail"].as_str().unwrap().contains("1000 bindings"),
            "{small:#}"
        );
        assert!(
            small["identity"]["subject"].as_str().unwrap().len() > 1000,
            "{small:#}"
        );
    }
}
