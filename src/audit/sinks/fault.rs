//! Why a batch of records was not taken, or there is nothing to send to.
//!
//! What it does: has one value for each, with a stable code and what it asks for. What it refuses to know: what is sent.
//! Invariant: no fault holds a secret, or what a receiver said.

use std::io;
use std::time::Duration;

use crate::egress::{ClientFault, OutboundFault, StreamFault, StreamPlaceFault};
use crate::pem::PemFault;
use crate::secret::UnreadableSecret;

/// What a receiver said of a batch that it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TakenBatch {
    /// Records of it that it will never take.
    pub rejected: u64,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum SinkFault {
    #[error("standard output")]
    Stdout(#[source] io::Error),
    #[error(transparent)]
    Unopened(#[from] OutletFault),
    #[error(transparent)]
    Outbound(#[from] OutboundFault),
    #[error(transparent)]
    Stream(#[from] StreamFault),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the receiver takes nothing")]
    Stuck,
    /// Another try is of use, after so long if it said so.
    #[error("it answered with status {status}")]
    Status {
        status: u16,
        after: Option<Duration>,
    },
    /// Something between us and the receiver answered in its place.
    #[error("a page came instead of its answer")]
    Page,
    /// It will never take this batch as it is.
    #[error("it refuses the records with status {0}")]
    Refused(u16),
}

impl SinkFault {
    /// A stable code.
    pub(super) fn code(&self) -> &'static str {
        match self {
            SinkFault::Stdout(_) => "unwritable",
            SinkFault::Unopened(_) => "settings",
            SinkFault::Outbound(OutboundFault::Untrusted { .. }) => "untrusted",
            SinkFault::Outbound(OutboundFault::TimedOut(_)) => "timed_out",
            SinkFault::Outbound(OutboundFault::TooLarge(_)) => "answer_too_large",
            SinkFault::Outbound(_) => "unreachable",
            SinkFault::Stream(StreamFault::Tls(_)) => "untrusted",
            SinkFault::Stream(StreamFault::TimedOut(_)) => "timed_out",
            SinkFault::Stream(StreamFault::Unreachable(_)) => "unreachable",
            SinkFault::Broken(_) => "broken",
            SinkFault::Stuck => "stuck",
            SinkFault::Status {
                status: 401 | 403, ..
            } => "denied",
            SinkFault::Status {
                status: 429 | 503, ..
            } => "busy",
            SinkFault::Status { .. } => "status",
            SinkFault::Page => "page",
            SinkFault::Refused(_) => "refused",
        }
    }

    /// When another try is of use, where the receiver said so.
    pub(super) fn after(&self) -> Option<Duration> {
        match self {
            SinkFault::Status { after, .. } => *after,
            _ => None,
        }
    }
}

/// Why there is nothing to send to.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutletFault {
    #[error(transparent)]
    Client(#[from] ClientFault),
    #[error(transparent)]
    Certificate(#[from] PemFault),
    #[error(transparent)]
    Place(#[from] StreamPlaceFault),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("a header's secret cannot be read")]
    Secret(#[from] UnreadableSecret),
    #[error("a name or header cannot be written")]
    Form,
}
