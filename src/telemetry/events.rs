//! What the gateway records, counts and logs by name.
//!
//! What it does: has one value for each name that `event` of a record, and the label of the same name, can have. What it
//! refuses to know: what is recorded of one; why it happened is a `Reason`. Invariants: the type is closed, and a code that
//! was published never changes, because operators' alerts and searches name it.

use serde::{Serialize, Serializer};

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident $code:literal;)+) => {
        /// A stable name of a call, or of something that happened and is no call.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum EventName { $($(#[$doc])* $name,)+ }

        impl EventName {
            /// All of them.
            pub const ALL: &'static [EventName] = &[$(EventName::$name,)+];

            /// The event of this name; `None` for what is none, or is one of a later version.
            pub(crate) fn find(name: &str) -> Option<Self> {
                let mut all = Self::ALL.iter().copied();
                all.find(|known| name.eq(known.code()))
            }

            /// The name as it is written.
            pub fn code(self) -> &'static str {
                match self {
                    $(EventName::$name => $code,)+
                }
            }
        }
    };
}

events! {
    /// A call ended; the one name that is no event's.
    #[default]
    Call "call";
    // Of the process.
    Start "start";
    Stop "stop";
    /// The process before did not end cleanly.
    SeqGap "seq_gap";
    /// The process before left a line in part, which was cut off the trail.
    LineCut "line_cut";
    /// A call is about to be answered; only where each record is brought to the disk.
    AnswerBegun "answer_begun";
    /// What a checkpoint of the trail will state follows to here.
    CheckpointStarted "checkpoint_started";
    Reload "reload";
    ReloadFailed "reload_failed";
    /// The operator's listener showed credentials or the trail's head.
    AdminRead "admin_read";
    // Of the backend, at most one a minute and cause.
    CredentialRefused "credential_refused";
    CredentialEchoed "credential_echoed";
    UpstreamPage "upstream_page";
    // Of our credentials in a store.
    CredentialRotated "credential_rotated";
    CredentialWaits "credential_waits";
    CredentialStale "credential_stale";
    StoreFailed "store_failed";
    MirrorDropped "mirror_dropped";
    // Of listeners, before there is a call.
    AcceptFailed "accept_failed";
    ConnectionRefused "connection_refused";
    HandshakeFailed "handshake_failed";
    StreamRefused "stream_refused";
    // Of what keys and certificates come from, a loss once a minute for each at most.
    SourceLost "source_lost";
    SourceReturned "source_returned";
    // Of sinks of the trail, a loss once a minute for each at most.
    AuditSinkLost "audit_sink_lost";
    AuditSinkReturned "audit_sink_returned";
    /// Records that a sink never gets.
    AuditSinkGap "audit_sink_gap";
    // Of proofs.
    ProofEnded "proof_ended";
    // Of issuers: counted and logged, and not recorded.
    KeyWanted "key_wanted";
    KeysMoved "keys_moved";
    ConsultationFailed "consultation_failed";
    ReviewSkipped "review_skipped";
    RevocationsRefused "revocations_refused";
}

impl std::fmt::Display for EventName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for EventName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: an event is added, or a row is edited. Guarantees: names are unique, fit a metric's label, say what the
    /// variant says, and are written the same in records and in words.
    #[test]
    fn names_are_unique_and_written_in_one_way() {
        let mut seen = std::collections::BTreeSet::new();
        for event in EventName::ALL {
            let code = event.code();
            assert!(seen.insert(code), "{code} stands twice");
            assert_eq!(format!("{event:?}").to_lowercase(), code.replace('_', ""));
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert_eq!(serde_json::to_value(event).unwrap(), code);
            assert_eq!(event.to_string(), code);
        }
    }
}
