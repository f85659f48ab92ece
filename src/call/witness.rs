//! What happens at the listeners before a request exists.
//!
//! What it does: counts and records it. What it refuses to know: how a listener sees it. Invariant: one client that causes
//! thousands in a second leaves few records.

use std::sync::Arc;

use super::log;
use crate::accept::{EdgeEvent, Times, Witness};
use crate::audit::{Record, timestamp};
use crate::reason::Reason;
use crate::state::Shared;
use crate::telemetry::EventName;

/// Counts and records what happens before a request exists.
pub(crate) fn witness(shared: &Arc<Shared>) -> Witness {
    let shared = Arc::downgrade(shared);
    Arc::new(move |listener, peer, event| {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        // What it sums up has been counted.
        let is_sum = matches!(
            event,
            EdgeEvent::StreamRefused {
                times: Times::All(_),
                ..
            }
        );
        let (name, reason, detail, certificate) = match event {
            EdgeEvent::ConnectionRefused { reason } => {
                (EventName::ConnectionRefused, reason, None, None)
            }
            EdgeEvent::HandshakeFailed {
                reason,
                detail,
                certificate,
            } => (
                EventName::HandshakeFailed,
                reason,
                Some(detail),
                certificate,
            ),
            // One client can cause thousands in a second: one record when they begin, one when their number is known.
            EdgeEvent::StreamRefused {
                reason,
                times: Times::Further,
            } => {
                return shared.metrics.edge_refused(listener, reason);
            }
            EdgeEvent::StreamRefused {
                reason,
                times: Times::First,
            } => (EventName::StreamRefused, reason, None, None),
            EdgeEvent::StreamRefused {
                reason,
                times: Times::All(times),
            } => (
                EventName::StreamRefused,
                reason,
                Some(format!("{times} on this connection")),
                None,
            ),
            // No audit record and no line: load balancers do it every few seconds.
            EdgeEvent::ClosedUnused => return shared.metrics.connection_unused(listener),
            EdgeEvent::AcceptFailed { detail } => (
                EventName::AcceptFailed,
                Reason::AcceptFailed,
                Some(detail),
                None,
            ),
        };
        if !is_sum {
            shared.metrics.edge_refused(listener, reason);
        }
        let record = Record {
            time: timestamp(shared.clock.now().0),
            request_id: shared.request_id(),
            event: name,
            listener: Some(listener.to_owned()),
            client_address: peer.map(|peer| peer.to_string()),
            decision: Some("deny"),
            reason,
            detail: detail.filter(|detail| !detail.is_empty()).map(Into::into),
            certificate,
            policy_version: shared.snapshot.load().policy.version().to_owned(),
            ..Record::default()
        };
        log::log_event(&record);
        match peer {
            Some(peer) => shared.trail.note_refusal(peer.ip(), record),
            None => shared.trail.note(record),
        }
    })
}
