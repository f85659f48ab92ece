//! What outlives a reload: logins that ended, sessions that were ended, proofs that were used, messages that were taken,
//! exchanges under way.
//!
//! What it does: remembers identifiers until the time when they would no longer hold anyway. What it refuses to know:
//! what they stand for. Invariants: bounded; when full, what would expire first goes first, and whatever expires no later
//! counts as ended from then on, so that no flood makes anything usable again; in this process only, over reloads.
//! The queue of exchanges keeps `spent` from ever becoming full.

use std::collections::{BTreeSet, HashMap};

use aws_lc_rs::digest;

use super::EXCHANGES;
use super::used::UsedIds;
use crate::limits::FairQueue;
use crate::lock::{Mutex, MutexGuard};

/// Logins that ended within the last ten minutes.
pub(crate) const SPENT_LIMIT_ENTRIES: usize = 50_000;

/// Sessions that were ended before their time. Some ten megabytes.
const REVOKED_LIMIT_ENTRIES: usize = 100_000;

/// Keys are spread over so many sets, so that one that is used without end shortens the time of few others.
pub(crate) const PROOF_SHARES: usize = 16;

/// Proofs in one of them. All together some 45 megabytes.
const PROOF_LIMIT_ENTRIES: usize = 16_384;

/// Messages of the last day by which providers ended proofs. Some ten megabytes. One that is taken again changes nothing.
const TOLD_LIMIT_ENTRIES: usize = 100_000;

/// Shared by successive configurations.
pub(crate) struct Memory {
    pub exchanges: FairQueue,
    pub spent: EndedIds,
    pub revoked: EndedIds,
    /// Proofs of possession that were used, spread by the keys that made them.
    pub proofs: [UsedIds; PROOF_SHARES],
    /// Messages of providers that were taken.
    pub told: EndedIds,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            exchanges: FairQueue::new(EXCHANGES),
            spent: EndedIds::new(SPENT_LIMIT_ENTRIES),
            revoked: EndedIds::new(REVOKED_LIMIT_ENTRIES),
            proofs: std::array::from_fn(|_| UsedIds::new(PROOF_LIMIT_ENTRIES)),
            told: EndedIds::new(TOLD_LIMIT_ENTRIES),
        }
    }
}

/// The first bytes of an identifier's SHA-256.
pub(super) type IdDigest = [u8; 16];

/// A bounded set of identifiers with the time at which each may be forgotten.
pub(crate) struct EndedIds {
    limit_entries: usize,
    entries: Mutex<KeptIds>,
}

#[derive(Default)]
struct KeptIds {
    until: HashMap<IdDigest, i64>,
    order: BTreeSet<(i64, IdDigest)>,
    /// What expires by then may have been pushed out, in Unix seconds.
    pushed_out: Option<i64>,
}

impl EndedIds {
    pub(crate) fn new(limit_entries: usize) -> Self {
        EndedIds {
            limit_entries,
            entries: Mutex::default(),
        }
    }

    /// Adds `id` until the second `until`. Whether it is certain not to have been there before: the one question and
    /// answer, so that of two at once only one hears yes.
    pub(crate) fn add(&self, id: &str, until: i64, now_seconds: i64) -> bool {
        let mut entries = self.locked();
        entries.forget(now_seconds);
        let mark = mark(id);
        if entries.has(&mark, until) {
            return false;
        }
        while entries.until.len() >= self.limit_entries {
            let Some((until, oldest)) = entries.order.pop_first() else {
                break;
            };
            entries.until.remove(&oldest);
            entries.pushed_out = entries.pushed_out.max(Some(until));
        }
        entries.until.insert(mark, until);
        entries.order.insert((until, mark));
        true
    }

    /// Whether `id` is certain to be there.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.locked().until.contains_key(&mark(id))
    }

    /// Whether `id`, added until `until` if ever, has ended or may have.
    pub(crate) fn contains(&self, id: &str, until: i64) -> bool {
        self.locked().has(&mark(id), until)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let entries = self.locked();
        assert_eq!(entries.until.len(), entries.order.len());
        entries.until.len()
    }

    /// A panic between two statements could at worst forget an entry early.
    fn locked(&self) -> MutexGuard<'_, KeptIds> {
        self.entries.lock()
    }
}

impl KeptIds {
    fn has(&self, mark: &IdDigest, until: i64) -> bool {
        self.until.contains_key(mark) || self.pushed_out.is_some_and(|limit| until <= limit)
    }

    fn forget(&mut self, now_seconds: i64) {
        while let Some((until, mark)) = self
            .order
            .first()
            .copied()
            .filter(|(until, _)| *until <= now_seconds)
        {
            self.order.remove(&(until, mark));
            self.until.remove(&mark);
        }
    }
}

pub(super) fn mark(id: &str) -> IdDigest {
    let mut mark = [0; 16];
    mark.copy_from_slice(
        digest::digest(&digest::SHA256, id.as_bytes())
            .as_ref()
            .get(..16)
            .unwrap_or_default(),
    );
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_known_until_its_time_and_within_bounds() {
        let ended = EndedIds::new(3);
        assert!(ended.add("a", 100, 0));
        assert!(!ended.add("a", 100, 99), "twice");
        assert!(ended.add("a", 200, 100), "forgotten at its time");
        for (id, until) in [("b", 150), ("c", 300)] {
            assert!(ended.add(id, until, 100));
        }
        assert!(ended.add("d", 400, 100));
        assert_eq!(ended.len(), 3);
        // "b" had to go, and nothing that ends with it or before is certain any more.
        let rows = [
            ("a", 200, true),
            ("b", 150, true),
            ("c", 300, true),
            ("d", 400, true),
            ("e", 150, true),
        ];
        for (id, until, known) in rows
            .into_iter()
            .chain([("f", 149, true), ("g", 151, false)])
        {
            assert_eq!(ended.contains(id, until), known, "{id}");
        }
        assert!(
            ended.knows("a") && !ended.knows("b"),
            "of which it is certain"
        );
        assert!(
            !ended.add("b", 150, 100),
            "a flood makes nothing usable again"
        );
        assert!(ended.add("g", 151, 100), "what is newer goes on");
    }
}
