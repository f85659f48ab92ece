//! What is counted of proofs that were ended.
//!
//! What it does: counts revocations by the way that they came, and security events by what became of them, and shows how many
//! are in force. What it refuses to know: whose proofs they are. Invariant: labels are words of ours and names of the
//! configuration; an event that is not known counts as such, whatever it calls itself.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::registry::Making;

/// The metrics of what ends proofs.
pub(super) struct RevocationMetrics {
    revoked: IntCounterVec,
    entries: IntGaugeVec,
    events: IntCounterVec,
}

impl RevocationMetrics {
    pub(super) fn new(make: &Making) -> Result<Self, prometheus::Error> {
        let revoked = make.counter(
            "revocations_total",
            "Proofs that were ended, by source (file, backchannel_logout or ssf) and by what the revocation names (jti, subject, sub, sub_without_sid, email, sid, sub_in_sid, email_in_sid, serial or spki).",
            &["source", "kind"],
        )?;
        let entries = make.labelled_gauge(
            "revocation_entries",
            "Revocations in force, by source: file, or network.",
            "source",
        )?;
        let events = make.counter(
            "security_events_total",
            "Security events by transmitter, event and outcome (taken or repeated).",
            &["transmitter", "event", "outcome"],
        )?;
        Ok(RevocationMetrics {
            revoked,
            entries,
            events,
        })
    }

    pub(super) fn revoked(&self, source: &str, kind: &str) {
        self.revoked.with_label_values(&[source, kind]).inc();
    }

    pub(super) fn event(&self, transmitter: &str, event: &str, outcome: &str) {
        self.events
            .with_label_values(&[transmitter, event, outcome])
            .inc();
    }

    /// How many are in force.
    pub(super) fn entries(&self, listed: i64, heard: i64) {
        self.entries.with_label_values(&["file"]).set(listed);
        self.entries.with_label_values(&["network"]).set(heard);
    }
}
