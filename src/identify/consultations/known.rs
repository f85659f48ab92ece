//! Callers whose proofs were accepted, for those who wait to be asked about.
//!
//! What it does: remembers credentials, each at its address, with the identity that each proved, and addresses at which the
//! last proof held. What it refuses to know: what a caller may ask, and facts. Invariants: two numbers for each; who is not
//! heard of for `KNOWN_LIMIT` to twice of it is known no more; bounded, and who is pushed out is a stranger again.

use std::time::Duration;

use crate::clock::UnixMillis;
use crate::limits::{CallerKey, Generations};

/// Callers that are known.
const KNOWN_LIMIT_ENTRIES: usize = 65_536;
/// Sessions of AWS's roles live half a day.
const KNOWN_LIMIT: Duration = Duration::from_secs(43_200);

pub(super) struct KnownCallers {
    /// To an identity; of an address, to the address.
    callers: Generations<CallerKey, CallerKey>,
    turned_at: UnixMillis,
}

impl KnownCallers {
    pub(super) fn new(now: UnixMillis) -> Self {
        KnownCallers {
            callers: Generations::within(KNOWN_LIMIT_ENTRIES),
            turned_at: now,
        }
    }

    pub(super) fn find(&mut self, caller: CallerKey, now: UnixMillis) -> Option<CallerKey> {
        self.turn(now);
        self.callers.find(caller).copied()
    }

    pub(super) fn add(&mut self, caller: CallerKey, identity: CallerKey, now: UnixMillis) {
        self.turn(now);
        self.callers.insert(caller, identity);
    }

    pub(super) fn forget(&mut self, caller: CallerKey) {
        self.callers.remove(caller);
    }

    fn turn(&mut self, now: UnixMillis) {
        let limit = i64::try_from(KNOWN_LIMIT.as_millis()).unwrap_or(i64::MAX);
        let passed = now.0.saturating_sub(self.turned_at.0);
        if !(0..limit).contains(&passed) {
            // A clock that was set back forgets nothing by itself.
            if passed > 0 {
                self.callers.turn();
            }
            self.turned_at = now;
        }
    }
}
