//! Proofs of possession that were used, by the identity that showed each.
//!
//! What it does: remembers identifiers until the time when they would no longer hold anyway, and answers whether one is new.
//! What it refuses to know: proofs, keys, how callers are identified. Invariants: bounded; when one identity has filled its part,
//! what it showed to expire first goes first, and when all is full, what any showed; whatever of the same identity, or of any,
//! expires no later counts as used from then on, so that no flood makes anything usable again, and that of one identity, however
//! many keys it has, costs no other one.

use std::collections::{BTreeSet, HashMap};

use super::memory::{IdDigest, mark};
use crate::lock::Mutex;

/// What of one identity is remembered. One that shows a thousand proofs a second is remembered for two of them.
const HOLDER_LIMIT_ENTRIES: usize = 2048;

/// A bounded set of identifiers, each of a holder, with the time at which it may be forgotten.
pub(crate) struct UsedIds {
    limit_entries: usize,
    holder_limit_entries: usize,
    entries: Mutex<KeptUses>,
}

/// A holder's place in the set: the first bytes of its digest.
type HolderPlace = u64;

#[derive(Default)]
struct KeptUses {
    places: HashMap<IdDigest, HolderPlace>,
    /// By time, and by holder and time.
    order: BTreeSet<(i64, IdDigest)>,
    by_holder: BTreeSet<(HolderPlace, i64, IdDigest)>,
    holders: HashMap<HolderPlace, HolderUse>,
    /// What expires by then may have been pushed out, in Unix seconds.
    pushed_out: Option<i64>,
}

/// What is remembered of one holder.
#[derive(Default)]
struct HolderUse {
    count: usize,
    /// The same for this holder alone.
    pushed_out: Option<i64>,
}

impl UsedIds {
    pub(crate) fn new(limit_entries: usize) -> Self {
        UsedIds::within(limit_entries, HOLDER_LIMIT_ENTRIES)
    }

    fn within(limit_entries: usize, holder_limit_entries: usize) -> Self {
        UsedIds {
            limit_entries,
            holder_limit_entries,
            entries: Mutex::default(),
        }
    }

    /// Adds `id`, shown by `holder`, until the second `until`. Whether it is certain not to have been there before: the one question and
    /// answer, so that of two at once only one hears yes.
    pub(crate) fn add(&self, holder: &[u8; 32], id: &str, until: i64, now_seconds: i64) -> bool {
        let first = holder.first_chunk().copied();
        let place = first.map_or(0, HolderPlace::from_be_bytes);
        let mark = mark(id);
        let mut entries = self.entries.lock();
        entries.forget(now_seconds);
        if entries.has(&mark, place, until) {
            return false;
        }
        let count = entries.holders.get(&place).map_or(0, |holder| holder.count);
        if count >= self.holder_limit_entries
            && let Some(oldest) = entries.oldest_of(place)
        {
            entries.remove(oldest);
            let holder = entries.holders.entry(place).or_default();
            holder.pushed_out = holder.pushed_out.max(Some(oldest.0));
        }
        while entries.places.len() >= self.limit_entries {
            let Some(oldest) = entries.order.first().copied() else {
                break;
            };
            entries.remove(oldest);
            entries.pushed_out = entries.pushed_out.max(Some(oldest.0));
        }
        entries.places.insert(mark, place);
        entries.order.insert((until, mark));
        entries.by_holder.insert((place, until, mark));
        entries.holders.entry(place).or_default().count += 1;
        true
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let entries = self.entries.lock();
        let counted: usize = entries.holders.values().map(|holder| holder.count).sum();
        assert_eq!(entries.places.len(), counted);
        assert_eq!(entries.order.len(), counted);
        assert_eq!(entries.by_holder.len(), counted);
        counted
    }
}

impl KeptUses {
    fn has(&self, mark: &IdDigest, place: HolderPlace, until: i64) -> bool {
        let is_past = |pushed_out: Option<i64>| pushed_out.is_some_and(|limit| until <= limit);
        let of_holder = self
            .holders
            .get(&place)
            .and_then(|holder| holder.pushed_out);
        self.places.contains_key(mark) || is_past(self.pushed_out) || is_past(of_holder)
    }

    fn oldest_of(&self, place: HolderPlace) -> Option<(i64, IdDigest)> {
        let mut of_holder = self.by_holder.range((place, i64::MIN, [0; 16])..);
        let (found, until, mark) = of_holder.next().copied()?;
        (found == place).then_some((until, mark))
    }

    /// A holder without entries is forgotten: what was pushed out of it expires no later than the last of them, which has
    /// expired or was pushed out of all.
    fn remove(&mut self, (until, mark): (i64, IdDigest)) {
        self.order.remove(&(until, mark));
        let Some(place) = self.places.remove(&mark) else {
            return;
        };
        self.by_holder.remove(&(place, until, mark));
        if let Some(holder) = self.holders.get_mut(&place) {
            holder.count = holder.count.saturating_sub(1);
            if holder.count == 0 {
                self.holders.remove(&place);
            }
        }
    }

    fn forget(&mut self, now_seconds: i64) {
        while let Some(oldest) = self.order.first().copied()
            && oldest.0 <= now_seconds
        {
            self.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: [u8; 32] = [1; 32];
    const BOB: [u8; 32] = [2; 32];
    const EVE: [u8; 32] = [3; 32];

    /// Scenario: one identity shows more proofs than it has room for, then several together do. Guarantees: what one pushed out
    /// is used for it alone; what all pushed out is used for all; nothing that was used is new again.
    #[test]
    fn a_flood_of_one_identity_costs_no_other() {
        let used = UsedIds::within(6, 3);
        for (key, id, until, expected, what) in [
            (&ADA, "a1", 100, true, "new"),
            (&ADA, "a1", 100, false, "twice"),
            (&EVE, "e1", 190, true, "ahead of the others"),
            (&EVE, "e2", 191, true, "more"),
            (&EVE, "e3", 192, true, "as many as there may be"),
            (&EVE, "e4", 193, true, "the first one had to go"),
            (&EVE, "e1", 190, false, "and is not usable again"),
            (&EVE, "e0", 150, false, "nor is what ends before it"),
            (&BOB, "b1", 100, true, "another's is"),
            (&ADA, "a1", 100, false, "still used"),
            (&ADA, "a2", 110, true, "all is full"),
            (&BOB, "b2", 120, true, "what ends first of all had to go"),
            (&ADA, "a1", 100, false, "for each of them"),
            (&BOB, "b0", 100, false, "for each other"),
            (&BOB, "b3", 121, true, "what is newer goes on"),
        ] {
            assert_eq!(used.add(key, id, until, 10), expected, "{id}: {what}");
            assert!(used.len() <= 6, "{id}: {what}");
        }
        assert!(used.add(&EVE, "e1", 290, 200), "forgotten at its time");
        assert_eq!(used.len(), 1);
    }
}
