//! What is told of proofs that were ended: records, counts, lines of the log.
//!
//! What it does: leaves a record and a count for each revocation, whichever way it came. What it refuses to know: how one is
//! judged, and what it ends. Invariants: a revocation is in force before it is told; a file with many new lines leaves
//! `TOLD_LIMIT` records and one for the rest, so that it pushes no call's record out.

use super::Shared;
use super::snapshot::Snapshot;
use crate::audit::timestamp;
use crate::identify::Revocation;
use crate::reason::Reason;
use crate::telemetry::EventName;

/// Records of one reading of the file.
const TOLD_LIMIT: usize = 256;

/// By which way revocations come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevocationWay<'a> {
    File,
    /// The identity provider's logout, in the call with this request id.
    Logout(&'a str),
    /// An event of this transmitter, in the call with this request id.
    Event(&'a str, &'a str),
}

impl RevocationWay<'_> {
    fn source(self) -> &'static str {
        match self {
            RevocationWay::File => "file",
            RevocationWay::Logout(_) => "backchannel_logout",
            RevocationWay::Event(..) => "ssf",
        }
    }

    fn reason(self) -> Reason {
        match self {
            RevocationWay::File => Reason::RevokedByFile,
            RevocationWay::Logout(_) => Reason::RevokedByLogout,
            RevocationWay::Event(..) => Reason::RevokedByEvent,
        }
    }
}

impl Shared {
    /// Tells of what the file lists in the snapshot in force and did not list before.
    pub(crate) fn revoked_by_file(&self, before: Option<&Snapshot>) {
        let snapshot = self.snapshot.load();
        let before = before.map(|before| &before.identifier);
        let revoked = snapshot.identifier.revoked_since(before);
        self.revoked(RevocationWay::File, &revoked);
    }

    /// Tells of revocations that are in force now.
    pub(crate) fn revoked(&self, way: RevocationWay<'_>, revoked: &[Revocation]) {
        for one in revoked {
            self.metrics.revoked(way.source(), one.kind.name());
        }
        for one in revoked.iter().take(TOLD_LIMIT) {
            let detail = told(way, one);
            tracing::info!(detail, "proofs are ended");
            self.event(EventName::ProofEnded, way.reason(), Some(detail));
        }
        let more = revoked.len().saturating_sub(TOLD_LIMIT);
        if more > 0 {
            let detail = format!("{more} more: see the file");
            self.event(EventName::ProofEnded, way.reason(), Some(detail));
        }
    }
}

/// `subject ann@acme.example of okta, issued before 2026-…, until 2026-…`
fn told(way: RevocationWay<'_>, one: &Revocation) -> String {
    let time = |seconds: i64| timestamp(seconds.saturating_mul(1000));
    let mut told = format!("{} {}", one.kind.name(), one.value);
    if !one.issuer.is_empty() {
        told.push_str(&format!(" of {}", one.issuer));
    }
    if let Some(before) = one.issued_before {
        told.push_str(&format!(", issued before {}", time(before)));
    }
    told.push_str(&format!(", until {}", time(one.until)));
    match way {
        RevocationWay::File => {}
        RevocationWay::Logout(call) => told.push_str(&format!(", by call {call}")),
        RevocationWay::Event(transmitter, call) => {
            told.push_str(&format!(", by {transmitter} in call {call}"));
        }
    }
    told
}
