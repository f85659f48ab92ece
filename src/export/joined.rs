//! Several results that become one.
//!
//! What it does: says which of two results counts, and puts their words together. What it refuses to know: what a result is of. Invariants: what may be
//! tried again decides before what is final, and a success is that of all; words are bounded.

use http::HeaderMap;

use super::dropped;
use super::part::{PartOutcome, PartResult};
use super::success::add_words;
use crate::otlp::PartialSuccess;
use crate::reason::Class;
use crate::respond::Refusal;

/// Which of several reasons to try again is told: one that says when, before one that does not.
pub(crate) fn weight(refusal: &Refusal) -> u64 {
    match refusal.class {
        Class::Throttled(seconds) => 1 + seconds,
        _ => 0,
    }
}

/// What came of a part that two backends must take. What may be tried again decides; else what is refused.
pub(crate) fn joined(primary: PartOutcome, other: PartOutcome) -> PartOutcome {
    use PartResult::{Again, Refused, Remembered, Taken};
    let mut dropped = primary.dropped();
    dropped::wider(&mut dropped, &other.dropped());
    let mut keys = primary.keys;
    keys.extend(other.keys);
    let (fate, delivered) = match (primary.fate, other.fate) {
        (Again(one), Again(two)) if weight(&two) > weight(&one) => (Again(two), None),
        (Again(refusal), _) | (_, Again(refusal)) => (Again(refusal), None),
        (Refused(refusal), _) => (Refused(refusal), primary.delivered),
        (_, Refused(refusal)) => (Refused(refusal), other.delivered),
        (Remembered(one), Remembered(two)) => (Remembered(both(one, two)), None),
        (Taken(one) | Remembered(one), Taken(two) | Remembered(two)) => {
            (Taken(both(one, two)), None)
        }
    };
    let is_kept = delivered.is_some();
    PartOutcome {
        fate,
        upstream_status: primary.upstream_status.or(other.upstream_status),
        delivered,
        keys,
        pieces: primary.pieces + other.pieces,
        is_too_large: false,
        unknown: primary.unknown + other.unknown,
        dropped: if is_kept { HeaderMap::new() } else { dropped },
    }
}

/// The larger number of rejected items, and the words of both.
fn both(one: Option<PartialSuccess>, two: Option<PartialSuccess>) -> Option<PartialSuccess> {
    match (one, two) {
        (Some(mut one), Some(two)) => {
            one.rejected = one.rejected.max(two.rejected);
            if !one.message.contains(&two.message) {
                add_words(&mut one.message, &two.message);
            }
            Some(one)
        }
        (one, two) => one.or(two),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn outcome(fate: PartResult) -> PartOutcome {
        PartOutcome::new(fate, None, None)
    }

    fn said(rejected: u64, message: &str) -> Option<PartialSuccess> {
        let message = message.to_owned();
        Some(PartialSuccess { rejected, message })
    }

    fn word(outcome: &PartOutcome) -> String {
        match &outcome.fate {
            PartResult::Taken(None) => "taken".to_owned(),
            PartResult::Taken(Some(said)) => format!("taken, {} {}", said.rejected, said.message),
            PartResult::Remembered(_) => "remembered".to_owned(),
            PartResult::Refused(None) => "refused".to_owned(),
            PartResult::Refused(Some(refusal)) | PartResult::Again(refusal) => {
                refusal.reason.code().to_owned()
            }
        }
    }

    /// Scenario: every pair of results of two backends. Guarantees: a success is both's; what may come again beats what is final, whichever
    /// says it, and the longer wait beats the shorter; rejected items are the larger number, the words are both's, each once.
    #[test]
    fn a_part_is_taken_if_both_took_it() {
        use PartResult::{Again, Refused, Remembered, Taken};
        let again = || Again(Refusal::new(Reason::UpstreamUnavailable));
        let throttled = || Again(Refusal::wait(Reason::UpstreamThrottled, 9));
        let large = || Refused(Some(Refusal::new(Reason::BodyTooLarge)));
        let cases = [
            (Taken(None), Taken(None), "taken"),
            (Remembered(None), Taken(None), "taken"),
            (Taken(None), Remembered(None), "taken"),
            (Remembered(None), Remembered(None), "remembered"),
            (
                Taken(said(2, "old")),
                Taken(said(3, "new")),
                "taken, 3 old; new",
            ),
            (Taken(said(4, "old")), Taken(said(3, "old")), "taken, 4 old"),
            (Taken(None), Taken(said(1, "new")), "taken, 1 new"),
            (Taken(None), again(), "upstream_unavailable"),
            (again(), Taken(None), "upstream_unavailable"),
            (again(), Refused(None), "upstream_unavailable"),
            (large(), again(), "upstream_unavailable"),
            (again(), throttled(), "upstream_throttled"),
            (throttled(), again(), "upstream_throttled"),
            (Taken(None), Refused(None), "refused"),
            (Refused(None), Remembered(None), "refused"),
            (large(), Refused(None), "body_too_large"),
        ];
        for (primary, other, expected) in cases {
            assert_eq!(word(&joined(outcome(primary), outcome(other))), expected);
        }
    }
}
