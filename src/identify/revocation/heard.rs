//! Revocations that providers told over the network.
//!
//! What it does: takes facts in, each until its time is over, and gives them to every call. What it refuses to know: who told
//! one, and by which message; those were judged before. Invariants: bounded in number and bytes; what is kept is never
//! pushed out by what comes later: without room a fact is not taken, and its sender is told to come again; in this process
//! only, over reloads. `add` is the one way in, so that what another replica heard can come by it, too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::table::RevocationTable;
use super::{Revocation, RevocationKind};
use crate::clock::UnixMillis;
use crate::lock::RwLock;

/// Facts that are kept. A day's logouts of a large organization.
const LIMIT_ENTRIES: usize = 100_000;
/// Their issuers and values together.
const LIMIT_BYTES: usize = 16 << 20;

/// No more facts can be kept.
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
    /// By the second at which each may be forgotten.
    order: BTreeSet<KeptKey>,
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
    pub(crate) fn add(&self, facts: &[Revocation], now: UnixMillis) -> Result<(), NoRoom> {
        let mut kept = self.kept.write();
        kept.forget(now.seconds());
        let fresh: Vec<&Revocation> = facts
            .iter()
            .filter(|fact| kept.table.until(fact).is_none())
            .collect();
        let bytes: usize = fresh.iter().copied().map(weight).sum();
        if kept.table.len() + fresh.len() > self.limit_entries || kept.bytes + bytes > LIMIT_BYTES {
            return Err(NoRoom);
        }
        for fact in facts {
            kept.put(fact);
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

    pub(super) fn covers(
        &self,
        issuer: &str,
        marks: &[(RevocationKind, Option<&str>)],
        issued: Option<i64>,
        now: i64,
    ) -> bool {
        !self.is_empty() && self.kept.read().table.covers(issuer, marks, issued, now)
    }
}

impl KeptRevocations {
    fn put(&mut self, fact: &Revocation) {
        let key = |until| (until, fact.kind, fact.issuer.clone(), fact.value.clone());
        let before = self.table.until(fact);
        self.table.put(fact);
        let until = self.table.until(fact);
        if before == until {
            return;
        }
        match before {
            Some(before) => drop(self.order.remove(&key(before))),
            None => self.bytes += weight(fact),
        }
        self.order.extend(until.map(key));
    }

    fn forget(&mut self, now_seconds: i64) {
        while self
            .order
            .first()
            .is_some_and(|(until, ..)| *until <= now_seconds)
        {
            let Some((_, kind, issuer, value)) = self.order.pop_first() else {
                return;
            };
            self.table.remove(&issuer, kind, &value);
            self.bytes = self.bytes.saturating_sub(issuer.len() + value.len());
        }
    }
}

fn weight(fact: &Revocation) -> usize {
    fact.issuer.len() + fact.value.len()
}
