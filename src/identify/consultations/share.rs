//! How calls to one party are shared out among those who cause them.
//!
//! What it does: counts calls per second and under way, in all and by each payer, and says whether one more may be made. What it
//! refuses to know: what a payer is, and what is asked. Invariants: never more calls per second are allowed than there are; the
//! last quarter of them, and of those under way, is for known payers within their own share, the quarter before it for strangers as
//! well, and only the first half for payers beyond their own share: one that asks without end finds the others served, strangers
//! however many find the known ones served, and one that is alone is served nearly as well as before; what is remembered of
//! payers is bounded, and who is forgotten begins with a whole share.

use super::ConsultationBounds;
use crate::clock::UnixMillis;
use crate::limits::{CallerKey, Generations};

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

/// What is known of a payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayerStanding {
    /// Something that it showed was accepted.
    Known,
    Stranger,
}

/// For how long an answer to one payer says that the party answers others.
const ANSWERING_MILLIS: i64 = 10_000;

/// The calls of one party.
pub(super) struct CallShares {
    bounds: ConsultationBounds,
    whole: CallBucket,
    /// For all payers together that must wait because of what they showed: others live at their address.
    restrained: CallBucket,
    payers: Generations<CallerKey, CallBucket>,
    /// Of payers with calls under way.
    under_way: ahash::HashMap<CallerKey, u32>,
    /// The two payers whose calls were answered last, and when.
    answered: [Option<(CallerKey, UnixMillis)>; 2],
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
            payers: Generations::within(PAYERS_LIMIT_ENTRIES),
            under_way: ahash::HashMap::default(),
            answered: [None; 2],
        }
    }

    /// Takes a call of the share of those that are restrained.
    pub(super) fn take_restrained(&mut self, now: UnixMillis) -> bool {
        let rate = self.bounds.share_per_second();
        self.restrained.take(rate, 0, now)
    }

    /// Takes a call for a payer; `end` gives its place back. `false`: there is none for it now.
    pub(super) fn begin(
        &mut self,
        payer: CallerKey,
        standing: PayerStanding,
        now: UnixMillis,
    ) -> bool {
        let kept_quarters = |is_within: bool| match (is_within, standing) {
            (true, PayerStanding::Known) => 0,
            (true, PayerStanding::Stranger) => 1,
            (false, _) => 2,
        };
        let all: u32 = self.under_way.values().sum();
        let own = self.under_way.get(&payer).copied().unwrap_or(0);
        let places = self.bounds.concurrent_calls;
        let kept = places / 4 * kept_quarters(own < (places / 8).max(1));
        if all.saturating_add(kept) >= places {
            return false;
        }
        let rate = self.bounds.calls_per_second;
        let kept = rate / 4 * kept_quarters(self.is_within(payer, now));
        if !self.whole.take(rate, u64::from(kept) * 1000, now) {
            return false;
        }
        *self.under_way.entry(payer).or_default() += 1;
        true
    }

    /// A call of this payer was answered, whatever the answer said.
    pub(super) fn answered(&mut self, payer: CallerKey, now: UnixMillis) {
        let [last, before] = self.answered;
        self.answered = match last {
            Some((known, _)) if known == payer => [Some((payer, now)), before],
            _ => [Some((payer, now)), last],
        };
    }

    /// Whether the party answers others than this payer.
    pub(super) fn answers_others(&self, payer: CallerKey, now: UnixMillis) -> bool {
        let is_others = |(other, at): (CallerKey, UnixMillis)| {
            other != payer && (0..ANSWERING_MILLIS).contains(&now.0.saturating_sub(at.0))
        };
        self.answered.into_iter().flatten().any(is_others)
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
        if let Some(bucket) = self.payers.find(payer) {
            return bucket.take(rate, 0, now);
        }
        let mut bucket = CallBucket::full(rate, now);
        let is_within = bucket.take(rate, 0, now);
        self.payers.insert(payer, bucket);
        is_within
    }
}
