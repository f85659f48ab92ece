//! `audit query`: the records that match.
//!
//! What it does: prints lines, as they stand, that all given conditions hold of. What it refuses to know: seals. Invariant: one line
//! is held at a time.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::TrailArguments;
use super::fault::AuditFault;
use super::walk::{in_order, walk};

#[derive(Debug, Args)]
pub struct TrailQueryArguments {
    #[command(flatten)]
    pub(crate) matching: MatchArguments,
    /// Print so many at most.
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) trail: TrailArguments,
}

/// Conditions on records; all that are given must hold.
#[derive(Debug, Default, Args)]
pub(crate) struct MatchArguments {
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// `call`, or another event.
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// Of the identity.
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Of the identity.
    #[arg(long)]
    pub(crate) issuer: Option<String>,
    /// This app, and all beneath it.
    #[arg(long)]
    pub(crate) app: Option<String>,
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// `ingest.traces`, …
    #[arg(long)]
    pub(crate) operation: Option<String>,
    /// `allow` or `deny`.
    #[arg(long)]
    pub(crate) decision: Option<String>,
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[arg(long)]
    pub(crate) status: Option<u64>,
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) client_address: Option<String>,
    /// Not before this time, RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before this time, RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// The same, with times read.
pub(super) struct Matching<'a> {
    given: &'a MatchArguments,
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
}

pub(super) fn moment(text: &str) -> Result<OffsetDateTime, AuditFault> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| AuditFault::Time(text.to_owned()))
}

impl<'a> Matching<'a> {
    pub(super) fn new(given: &'a MatchArguments) -> Result<Self, AuditFault> {
        let read = |text: &Option<String>| text.as_deref().map(moment).transpose();
        Ok(Matching {
            given,
            since: read(&given.since)?,
            until: read(&given.until)?,
        })
    }

    pub(super) fn holds(&self, record: &Value) -> bool {
        let given = self.given;
        let is = |wanted: &Option<String>, pointer: &str| {
            let found = || record.pointer(pointer).and_then(Value::as_str);
            wanted.as_ref().is_none_or(|wanted| found() == Some(wanted))
        };
        let texts = [
            (&given.request_id, "/request_id"),
            (&given.event, "/event"),
            (&given.subject, "/identity/subject"),
            (&given.issuer, "/identity/issuer"),
            (&given.project, "/project"),
            (&given.operation, "/operation"),
            (&given.decision, "/decision"),
            (&given.reason, "/reason"),
            (&given.client_address, "/client_address"),
        ];
        let is_status = || {
            let found = record.get("status").and_then(Value::as_u64);
            given.status.is_none_or(|wanted| found == Some(wanted))
        };
        let is_app = || {
            let found = || record.get("app").and_then(Value::as_str);
            given
                .app
                .as_ref()
                .is_none_or(|wanted| found().is_some_and(|found| is_within(found, wanted)))
        };
        texts.iter().all(|(wanted, pointer)| is(wanted, pointer))
            && is_status()
            && is_app()
            && self.is_then(record)
    }

    fn is_then(&self, record: &Value) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let text = record.get("time").and_then(Value::as_str);
        let time = text.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        time.is_some_and(|time| {
            self.since.is_none_or(|since| time >= since)
                && self.until.is_none_or(|until| time < until)
        })
    }
}

/// Whether an app is another, or beneath it.
fn is_within(app: &str, above: &str) -> bool {
    let above = above.trim_matches('/');
    above.is_empty()
        || app
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) fn query(arguments: &TrailQueryArguments) -> Result<ExitCode, AuditFault> {
    let matching = Matching::new(&arguments.matching)?;
    let files = in_order(&arguments.trail)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let limit = arguments.limit.unwrap_or(u64::MAX);
    let mut found = 0u64;
    walk(&files, arguments.trail.quiet, |_, line| {
        if found >= limit {
            return Ok(ControlFlow::Break(()));
        }
        if serde_json::from_slice(line.text).is_ok_and(|record| matching.holds(&record)) {
            found += 1;
            out.write_all(line.text)
                .and_then(|()| out.write_all(b"\n"))
                .map_err(AuditFault::Output)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    out.flush().map_err(AuditFault::Output)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_conditions_must_hold() {
        let record = json!({
            "time": "2026-11-30T08:00:00.000Z", "request_id": "01", "event": "call", "app": "shop/checkout",
            "identity": { "issuer": "okta", "subject": "ann" }, "decision": "deny", "status": 403,
        });
        let some = |text: &str| Some(text.to_owned());
        for (given, expected) in [
            (MatchArguments::default(), true),
            (
                MatchArguments {
                    subject: some("ann"),
                    issuer: some("okta"),
                    ..Default::default()
                },
                true,
            ),
            (
                MatchArguments {
                    subject: some("ann"),
                    issuer: some("other"),
                    ..Default::default()
                },
                false,
            ),
            (
                MatchArguments {
                    app: some("shop"),
                    ..Default::default()
                },
                true,
            ),
            (
                MatchArguments {
                    app: some("/"),
                    ..Default::default()
                },
                true,
            ),
            (
                MatchArguments {
                    app: some("sho"),
                    ..Default::default()
                },
                false,
            ),
            (
                MatchArguments {
                    project: some("x"),
                    ..Default::default()
                },
                false,
            ),
            (
                MatchArguments {
                    status: Some(403),
                    ..Default::default()
                },
                true,
            ),
            (
                MatchArguments {
                    status: Some(200),
                    ..Default::default()
                },
                false,
            ),
            (
                MatchArguments {
                    since: some("2026-11-30T09:00:00+01:00"),
                    ..Default::default()
                },
                true,
            ),
            (
                MatchArguments {
                    until: some("2026-11-30T08:00:00Z"),
                    ..Default::default()
                },
                false,
            ),
        ] {
            assert_eq!(
                Matching::new(&given).unwrap().holds(&record),
                expected,
                "{given:?}"
            );
        }
        let given = MatchArguments {
            since: some("yesterday"),
            ..Default::default()
        };
        assert!(Matching::new(&given).is_err());
    }
}
