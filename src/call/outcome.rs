//! What came of a request.
//!
//! What it does: carries back what a kind of request came to, for its record, its log line and its counts. What it refuses
//! to know: who keeps it. Invariants: a refusal does not take away what was known before it; what is known while an answer
//! is written lies with the answer's state (`call::exchange`), so that a request that is cut off has it in its record.

use crate::audit::{Items, PartRecord};
use crate::memory::coalesce::Unanswered;
use crate::reason::Reason;
use crate::respond::Refusal;

/// What a request came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether its caller has the answer; a refusal is still to be answered.
    pub answered: Result<(), Refusal>,
    /// The last status that the backend said, also if it came to nothing.
    pub upstream_status: Option<u16>,
    /// What the backend has and what was refused, as far as that is known.
    pub items: Option<Items>,
    pub parts: Vec<PartEnd>,
    /// Parts of which nothing was told before: what was asked depended on what the others were answered.
    pub more: Vec<PartRecord>,
    /// Where an alert's message went; the parts are theirs.
    pub destinations: Vec<String>,
    /// What the record should say besides the reason.
    pub detail: Option<String>,
}

/// What became of one part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartEnd {
    /// Its place among the parts that were told before.
    pub place: usize,
    pub items: Items,
    pub reason: Reason,
    pub upstream_status: Option<u16>,
}

impl Outcome {
    /// Nothing but whether it was answered.
    pub(crate) fn of(answered: Result<(), Refusal>) -> Self {
        Outcome {
            answered,
            upstream_status: None,
            items: None,
            parts: Vec::new(),
            more: Vec::new(),
            destinations: Vec::new(),
            detail: None,
        }
    }

    /// The backend's last status.
    pub(crate) fn with_status(self, upstream_status: Option<u16>) -> Self {
        Outcome {
            upstream_status,
            ..self
        }
    }
}

impl From<Unanswered> for Outcome {
    fn from(failed: Unanswered) -> Self {
        Outcome::of(Err(failed.refusal)).with_status(failed.upstream_status)
    }
}

impl<E: Into<Refusal>> From<E> for Outcome {
    fn from(refusal: E) -> Self {
        Outcome::of(Err(refusal.into()))
    }
}
