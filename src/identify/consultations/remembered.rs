//! What a party said of proofs, found again by the digest of all evidence.
//!
//! What it does: keeps a judgement for its time, in shards so that callers seldom wait for each other. What it refuses to know:
//! what a judgement says. Invariants: bounded in bytes, by an estimate; nothing counts from its end on, nor more than
//! `CLOCK_SLACK` before it was made, as it would when the clock was set back; what no one asks for is dropped after its time.

use std::time::Duration;

use super::later;
use crate::clock::UnixMillis;
use crate::identify::cache::Evidence;
use crate::limits::Generations;
use crate::lock::Mutex;

/// A power of two: the first byte of a digest says which one.
const SHARDS: usize = 16;
/// What an entry takes besides what it holds: key, times, and the table's room for growth.
const ENTRY_BYTES: usize = 128;
/// A caller may have looked at the clock some time before the judgement was made.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// What is remembered has a weight.
pub(super) trait Weighed: Clone {
    /// Bytes that it holds on the heap.
    fn heap_bytes(&self) -> usize;
}

pub(super) struct RememberedProofs<T> {
    /// The longest that anything counts.
    limit: Duration,
    shards: [Mutex<ProofShard<T>>; SHARDS],
}

struct ProofShard<T> {
    proofs: Generations<Evidence, RememberedProof<T>>,
    turned_at: UnixMillis,
}

struct RememberedProof<T> {
    judged_at: UnixMillis,
    asked_again_from: UnixMillis,
    said: T,
}

impl<T: Weighed> RememberedProofs<T> {
    pub(super) fn new(limit_bytes: u64, limit: Duration, now: UnixMillis) -> Self {
        let bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX) / SHARDS;
        let weigh = |proof: &RememberedProof<T>| proof.said.heap_bytes() + ENTRY_BYTES;
        let shard = |_| {
            Mutex::new(ProofShard {
                proofs: Generations::weighing(bytes, weigh),
                turned_at: now,
            })
        };
        RememberedProofs {
            limit,
            shards: std::array::from_fn(shard),
        }
    }

    pub(super) fn find(&self, evidence: &Evidence, now: UnixMillis) -> Option<T> {
        let mut shard = self.shard(evidence)?.lock();
        let proof = shard.proofs.find(*evidence)?;
        let earliest = proof.judged_at.0.saturating_sub(millis(CLOCK_SLACK));
        if (earliest..proof.asked_again_from.0).contains(&now.0) {
            return Some(proof.said.clone());
        }
        shard.proofs.remove(*evidence);
        None
    }

    /// Remembers a judgement until `end`, and for `limit` at most.
    pub(super) fn add(&self, evidence: Evidence, said: T, end: UnixMillis, now: UnixMillis) {
        let Some(shard) = self.shard(&evidence) else {
            return;
        };
        let proof = RememberedProof {
            judged_at: now,
            asked_again_from: end.min(later(now, self.limit)),
            said,
        };
        let mut shard = shard.lock();
        let passed = now.0.saturating_sub(shard.turned_at.0);
        if !(0..millis(self.limit)).contains(&passed) {
            shard.proofs.turn();
            shard.turned_at = now;
        }
        shard.proofs.insert(evidence, proof);
    }

    fn shard(&self, evidence: &Evidence) -> Option<&Mutex<ProofShard<T>>> {
        self.shards.get(usize::from(evidence.first_byte()) % SHARDS)
    }

    /// How many are held, and how many bytes they are taken for.
    #[cfg(test)]
    pub(super) fn held(&self) -> (u64, u64) {
        let each = self.shards.iter().map(|shard| {
            let shard = shard.lock();
            (shard.proofs.len() as u64, shard.proofs.weight() as u64)
        });
        each.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
