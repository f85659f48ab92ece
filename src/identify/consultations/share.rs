//! How calls to one party are shared out among those who cause them.
//!
//! What it does: counts calls per second and under way, in all and by each payer, and says whether one more may be made. What it
//! refuses to know: what a payer is, and what is asked. Invariants: never more calls per second are allowed than there are; a quarter
//! of them, and of those under way, is left alone by payers that are beyond their own share, so that one that asks without end
//! finds the others served, and one that is alone is served nearly as well as before; what is remembered of payers is bounded, and
//! who is forgotten begins with a whole share.

use super::ConsultationBounds;
use crate::clock::UnixMillis;
use crate::limits::CallerKey;

/// How many payers are remembered; the least recent go first.
const PAYERS_LIMIT_ENTRIES: usize = 65_536;

/// Calls that may be made now: a bucket that holds one second's worth.
struct CallBucket {
    thousandths: u64,
    at: UnixMillis,
}

impl CallBucket {
    fn full(calls_per_second: u32, now: UnixMillis) -> Self {
        CallBucket {
            thousandths: u64::from(calls_per_second) * 1000,
            at: now,
        }
    }

    /// Takes one call if `kept_thousandths` are left then.
    fn take(&mut self, calls_per_second: u32, kept_thousandths: u64, now: UnixMillis) -> bool {
        // A clock that was set back gives nothing, and takes nothing.
        let passed = u64::try_from(now.0.saturating_sub(self.at.0)).unwrap_or(0);
        let full = u64::from(calls_per_second) * 1000;
        let fresh = passed.saturating_mul(u64::from(calls_per_second));
        self.at = now;
        self.thousandths = self.thousandths.saturating_add(fresh).min(full);
        let left = self.thousandths.checked_sub(1000);
        match left.filter(|left| *left >= kept_thousandths) {
            Some(left) => {
                self.thousandths = left;
                true
            }
            None => false,
        }
    }
}

/// The calls of one party.
pub(super) struct CallShares {
    bounds: ConsultationBounds,
    whole: CallBucket,
    /// For all payers together that must wait because of what they showed: others live at their address.
    restrained: CallBucket,
    /// Two generations: who asks moves to the younger one, and when that is full it becomes the older one.
    young: ahash::HashMap<CallerKey, CallBucket>,
    old: ahash::HashMap<CallerKey, CallBucket>,
    /// Of payers with calls under way.
    under_way: ahash::HashMap<CallerKey, u32>,
}

impl ConsultationBounds {
    /// What one payer may always ask, and all restrained ones together.
    fn share_per_second(&self) -> u32 {
        (self.calls_per_second / 10).max(1)
    }
}

impl CallShares {
    pub(super) fn new(bounds: ConsultationBounds, now: UnixMillis) -> Self {
        CallShares {
            bounds,
            whole: CallBucket::full(bounds.calls_per_second, now),
            restrained: CallBucket::full(bounds.share_per_second(), now),
            young: ahash::HashMap::default(),
            old: ahash::HashMap::default(),
            under_way: ahash::HashMap::default(),
        }
    }

    /// Takes a call of the share of those that are restrained.
    pub(super) fn take_restrained(&mut self, now: UnixMillis) -> bool {
        let rate = self.bounds.share_per_second();
        self.restrained.take(rate, 0, now)
    }

    /// Takes a call for a payer; `end` gives its place back. `false`: there is none for it now.
    pub(super) fn begin(&mut self, payer: CallerKey, now: UnixMillis) -> bool {
        let all: u32 = self.under_way.values().sum();
        let own = self.under_way.get(&payer).copied().unwrap_or(0);
        let places = self.bounds.concurrent_calls;
        let is_within = own < (places / 8).max(1);
        let kept = if is_within { 0 } else { places / 4 };
        if all.saturating_add(kept) >= places {
            return false;
        }
        let rate = self.bounds.calls_per_second;
        let kept = match self.is_within(payer, now) {
            true => 0,
            false => u64::from(rate / 4) * 1000,
        };
        if !self.whole.take(rate, kept, now) {
            return false;
        }
        *self.under_way.entry(payer).or_default() += 1;
        true
    }

    /// A call of this payer has ended.
    pub(super) fn end(&mut self, payer: CallerKey) {
        if let Some(own) = self.under_way.get_mut(&payer) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.under_way.remove(&payer);
            }
        }
    }

    /// Takes a call of the payer's own share.
    fn is_within(&mut self, payer: CallerKey, now: UnixMillis) -> bool {
        let rate = self.bounds.share_per_second();
        if self.young.len() >= PAYERS_LIMIT_ENTRIES / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        if let Some(known) = self.old.remove(&payer) {
            self.young.insert(payer, known);
        }
        let bucket = self.young.entry(payer);
        let bucket = bucket.or_insert_with(|| CallBucket::full(rate, now));
        bucket.take(rate, 0, now)
    }
}
