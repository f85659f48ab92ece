//! How often one cause raises an event.
//!
//! What it does: lets an event through, or holds it back because the same cause raised one a moment ago. What it refuses to
//! know: what an event says. Invariants: one cause raises one event a minute at most, so that what goes wrong with every call
//! fills no trail; how many were held back is told with the next one; a bounded number of causes is remembered.

use std::collections::HashMap;

use crate::clock::UnixMillis;
use crate::lock::Mutex;

/// How long a cause that raised an event raises no other.
const QUIET_MILLIS: i64 = 60_000;
/// Causes whose last event is remembered.
const KNOWN_LIMIT_ENTRIES: usize = 4096;

/// When each cause last raised an event.
#[derive(Default)]
pub(crate) struct EventRate(Mutex<HashMap<String, Raised>>);

struct Raised {
    at: UnixMillis,
    held_back: u64,
}

impl EventRate {
    /// Whether this cause is to raise an event now: with the number of those that were held back since its last one.
    pub(crate) fn admit(&self, cause: &str, now: UnixMillis) -> Option<u64> {
        let mut known = self.0.lock();
        if let Some(raised) = known.get_mut(cause) {
            // A clock that was set back starts anew.
            if (0..QUIET_MILLIS).contains(&now.0.saturating_sub(raised.at.0)) {
                raised.held_back = raised.held_back.saturating_add(1);
                return None;
            }
            raised.at = now;
            return Some(std::mem::take(&mut raised.held_back));
        }
        if known.len() >= KNOWN_LIMIT_ENTRIES {
            known.clear();
        }
        known.insert(
            cause.to_owned(),
            Raised {
                at: now,
                held_back: 0,
            },
        );
        Some(0)
    }
}

/// What an event says, with how many like it were held back.
pub(crate) fn with_held_back(detail: String, held_back: u64) -> String {
    if held_back == 0 {
        detail
    } else {
        format!("{detail}; {held_back} more since the last event")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: two causes over time, and a clock that is set back. Guarantees: each has one event a minute, which tells how
    /// many were held back; neither silences the other.
    #[test]
    fn a_cause_raises_one_event_a_minute() {
        let rate = EventRate::default();
        for (cause, at, expected) in [
            ("one", 1_000, Some(0)),
            ("one", 1_000, None),
            ("two", 1_001, Some(0)),
            ("one", 60_999, None),
            ("one", 61_000, Some(2)),
            ("one", 61_001, None),
            ("two", 200_000, Some(0)),
            ("one", 200_000, Some(1)),
            ("one", 500, Some(0)),
        ] {
            assert_eq!(
                rate.admit(cause, UnixMillis(at)),
                expected,
                "{cause} at {at}"
            );
        }
        assert_eq!(with_held_back("what".to_owned(), 0), "what");
        assert_eq!(
            with_held_back("what".to_owned(), 7),
            "what; 7 more since the last event"
        );
    }

    #[test]
    fn the_memory_is_bounded() {
        let rate = EventRate::default();
        for number in 0..KNOWN_LIMIT_ENTRIES * 2 {
            assert_eq!(rate.admit(&number.to_string(), UnixMillis(0)), Some(0));
            assert!(rate.0.lock().len() <= KNOWN_LIMIT_ENTRIES);
        }
    }
}
