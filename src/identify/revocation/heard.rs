//! Revocations that providers told over the network.
//!
//! What it does: takes facts in, each until its time is over, and gives them to every call. What it refuses to know: who told
//! one, and by which message; those were judged before. Invariants: bounded in number and bytes, in all and of each sender, so
//! that none takes another's room; what is kept is never pushed out by what comes later: without room a fact is not taken, and
//! its sender is told to come again; in this process only, over reloads. `add` is the one way in, so that what another replica
//! heard can come by it, too.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::table::{MarkedProof, RevocationTable};
use super::{Revocation, RevocationKind};
use crate::clock::UnixMillis;
use crate::lock::RwLock;

/// Facts that are kept. A day's logouts of a large organization.
const LIMIT_ENTRIES: usize = 100_000;
/// Their issuers and values together.
const LIMIT_BYTES: usize = 16 << 20;

/// Who tells facts, and among how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RevocationSender<'a> {
    /// Its name in our configuration.
    pub name: &'a Arc<str>,
    /// How many senders the configuration has, this one included. Each has an equal share of the room, and one share is left
    /// for those that a reload brings.
    pub senders: usize,
}

/// No more facts can be kept, of this sender or at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// What was heard; shared by successive configurations.
pub(crate) struct HeardRevocations {
    limit_entries: usize,
    /// How many are kept, so that a call of an organization that has none takes no lock.
    count: AtomicUsize,
    kept: RwLock<KeptRevocations>,
}

type KeptKey = (i64, RevocationKind, Arc<str>, Arc<str>);

#[derive(Default)]
struct KeptRevocations {
    table: RevocationTable,
    /// By the second at which each may be forgotten, with the sender that told it first.
    order: BTreeMap<KeptKey, Arc<str>>,
    bytes: usize,
    senders: HashMap<Arc<str>, SenderUse, ahash::RandomState>,
}

/// What is kept of one sender.
#[derive(Default)]
struct SenderUse {
    entries: usize,
    bytes: usize,
}

impl Default for HeardRevocations {
    fn default() -> Self {
        HeardRevocations::within(LIMIT_ENTRIES)
    }
}

impl HeardRevocations {
    pub(super) fn within(limit_entries: usize) -> Self {
        HeardRevocations {
            limit_entries,
            count: AtomicUsize::new(0),
            kept: RwLock::default(),
        }
    }

    /// Takes these facts in, all of them or none. They count for every call that comes from now on.
    pub(crate) fn add(
        &self,
        sender: RevocationSender<'_>,
        facts: &[Revocation],
        now: UnixMillis,
    ) -> Result<(), NoRoom> {
        let mut kept = self.kept.write();
        kept.forget(now.seconds());
        let fresh: Vec<&Revocation> = facts
            .iter()
            .filter(|fact| kept.table.until(fact).is_none())
            .collect();
        let bytes: usize = fresh.iter().copied().map(weight).sum();
        let (own_entries, own_bytes) = kept
            .senders
            .get(sender.name)
            .map_or((0, 0), |own| (own.entries, own.bytes));
        let shares = sender.senders.saturating_add(1);
        let is_beyond = |used: usize, more: usize, limit: usize| {
            // What is known already takes no room.
            more > 0 && used + more > limit
        };
        if is_beyond(kept.table.len(), fresh.len(), self.limit_entries)
            || is_beyond(own_entries, fresh.len(), self.limit_entries / shares)
            || is_beyond(kept.bytes, bytes, LIMIT_BYTES)
            || is_beyond(own_bytes, bytes, LIMIT_BYTES / shares)
        {
            return Err(NoRoom);
        }
        for fact in facts {
            kept.put(fact, sender.name);
        }
        self.count.store(kept.table.len(), Ordering::Release);
        Ok(())
    }

    /// How many are kept whose time is not over.
    pub(crate) fn len(&self, now: UnixMillis) -> usize {
        let mut kept = self.kept.write();
        kept.forget(now.seconds());
        self.count.store(kept.table.len(), Ordering::Release);
        kept.table.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    pub(super) fn covers(&self, proof: &MarkedProof<'_>, now: i64) -> bool {
        !self.is_empty() && self.kept.read().table.covers(proof, now)
    }
}

impl KeptRevocations {
    fn put(&mut self, fact: &Revocation, sender: &Arc<str>) {
        let key = |until| (until, fact.kind, fact.issuer.clone(), fact.value.clone());
        let before = self.table.until(fact);
        self.table.put(fact);
        let until = self.table.until(fact);
        if before == until {
            return;
        }
        let known = before.and_then(|before| self.order.remove(&key(before)));
        let teller = known.unwrap_or_else(|| {
            self.bytes += weight(fact);
            let own = self.senders.entry(sender.clone()).or_default();
            own.entries += 1;
            own.bytes += weight(fact);
            sender.clone()
        });
        self.order.extend(until.map(|until| (key(until), teller)));
    }

    fn forget(&mut self, now_seconds: i64) {
        while self
            .order
            .first_key_value()
            .is_some_and(|((until, ..), _)| *until <= now_seconds)
        {
            let Some(((_, kind, issuer, value), teller)) = self.order.pop_first() else {
                return;
            };
            self.table.remove(&issuer, kind, &value);
            let bytes = issuer.len() + value.len();
            self.bytes = self.bytes.saturating_sub(bytes);
            if let Some(own) = self.senders.get_mut(&teller) {
                own.entries = own.entries.saturating_sub(1);
                own.bytes = own.bytes.saturating_sub(bytes);
                if own.entries == 0 {
                    self.senders.remove(&teller);
                }
            }
        }
    }
}

fn weight(fact: &Revocation) -> usize {
    fact.issuer.len() + fact.value.len()
}
