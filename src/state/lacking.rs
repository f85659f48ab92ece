//! Which credentials of the store do not serve as they should.
//!
//! What it does: tells of each in words, and brings the gauges up to date. What it refuses to know: how the store is followed.
//! Invariant: no word is of a secret.

use super::Snapshot;
use crate::clock::UnixMillis;
use crate::stores::ShelfState;
use crate::telemetry::Metrics;

/// What of the store does not serve as it should.
pub(super) struct LackingCredential {
    /// Whether it never came.
    pub(super) is_absent: bool,
    pub(super) words: String,
}

/// What of the store does not serve, or is served without its word.
pub(super) fn lacking(snapshot: &Snapshot) -> Vec<LackingCredential> {
    let entries = snapshot.vault.shelf().entries().into_iter();
    let lacking = entries.filter_map(|(reference, entry)| {
        let state = entry.state();
        let said = match state {
            ShelfState::Current | ShelfState::Pending => return None,
            ShelfState::Absent => "is not there yet",
            ShelfState::Refused => "has a new version that the backend does not take",
            ShelfState::Unconfirmed => "serves without the store's word",
            ShelfState::Stale => "is stale, and does not serve",
        };
        let code = entry.fault_code.or(entry.pending_refused);
        let why = code.map_or_else(String::new, |code| format!(" ({code})"));
        Some(LackingCredential {
            is_absent: state == ShelfState::Absent,
            words: format!("the credential {reference} {said}{why}"),
        })
    });
    lacking.collect()
}

/// Brings the gauges up to date.
pub(super) fn count(metrics: &Metrics, snapshot: &Snapshot, now: UnixMillis) {
    if snapshot.vault.store().is_none() {
        return;
    }
    let entries = snapshot.vault.shelf().entries();
    let states = ShelfState::ALL.map(|state| {
        let count = entries
            .values()
            .filter(|entry| entry.state() == state)
            .count();
        (state.code(), i64::try_from(count).unwrap_or(i64::MAX))
    });
    let oldest = entries
        .values()
        .filter_map(|entry| entry.confirmed_at)
        .min();
    let seconds = oldest.map_or(0, |at| now.seconds().saturating_sub(at.seconds()));
    metrics.stored_credentials(&states, seconds);
}
