//! The memory that bodies and answers may take, and the shares of it.
//!
//! What it does: counts what calls hold, in total (`limits.buffered_total`), for each identity and for each network, and
//! refuses what would leave too little to others. What it refuses to know: what is held, how an identity was proven.
//! Invariants: the total is never exceeded; what a caller holds, counted once for its identity and once for its network,
//! stays within twice what is left free, so that one identity ends at a half, one network at two thirds, and a caller who
//! holds nothing always finds room; what is held before an identity is proven is at most a quarter of the total, and of
//! that quarter a network holds no more than it leaves; all is given back when the reservation is dropped.
//!
//! Bounding a queue by what is free (dynamic thresholds; Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998) needs no list of
//! those who wait: the more callers hold, the smaller is each share, and a caller who is alone is not held back by
//! shares of others who are not there.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use super::fair_queue::address_block;
use crate::lock::Mutex;
use crate::reason::Reason;

/// What is read before an identity is known may take the total divided by this.
const UNPROVEN_DIVISOR: u64 = 4;
/// Owners are found by their key in one of so many maps, each with a lock of its own.
const SHARDS: usize = 16;
/// A map is swept of owners that hold nothing when it has twice as many entries as the sweep before left, and at
/// least so many.
const SWEEP_FROM_ENTRIES: usize = 64;

/// What one caller can hold at most while no other call holds anything.
pub(crate) fn alone_bytes(limit_bytes: u64) -> u64 {
    limit_bytes / 2
}

/// The same for a caller whose identity is proven by what is read.
pub(crate) fn alone_unproven_bytes(limit_bytes: u64) -> u64 {
    limit_bytes / UNPROVEN_DIVISOR / 2
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// All callers together hold all that there is.
    Total,
    /// The caller, or its network, holds its share.
    Share,
}

impl Spent {
    pub const ALL: [Spent; 2] = [Spent::Total, Spent::Share];

    /// The stable code of logs, metrics and records.
    pub fn reason(self) -> Reason {
        match self {
            Spent::Total => Reason::MemoryBudgetSpent,
            Spent::Share => Reason::MemoryShareSpent,
        }
    }
}

/// All that is held in memory at once.
#[derive(Debug)]
pub struct Budget {
    used_bytes: AtomicU64,
    limit_bytes: u64,
    /// The part of `used_bytes` whose callers are not known.
    unproven_bytes: AtomicU64,
    hasher: ahash::RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// The owners that hold something, and some that did.
#[derive(Debug, Default)]
struct Shard {
    owners: ahash::HashMap<u64, Weak<Holding>>,
    sweep_at: usize,
}

/// What one identity or one network holds.
#[derive(Debug, Default)]
struct Holding {
    bytes: AtomicU64,
    unproven_bytes: AtomicU64,
}

/// The caller that memory is taken for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Account(Arc<AccountOwner>);

#[derive(Debug)]
struct AccountOwner {
    budget: Arc<Budget>,
    kind: AccountKind,
}

#[derive(Debug)]
enum AccountKind {
    /// The gateway itself: bounded elsewhere, counted here.
    Gateway,
    /// The gateway's own, as long as half of the total stays free for others.
    Spare,
    Unproven {
        network: Arc<Holding>,
    },
    Proven {
        identity: Arc<Holding>,
        network: Arc<Holding>,
    },
}

/// Tells owners apart for as long as they hold something or ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OwnerKey(usize);

/// A part of the budget; dropping it gives the bytes back.
#[derive(Debug)]
pub struct Reservation {
    account: Account,
    bytes: u64,
}

impl Budget {
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Budget {
            used_bytes: AtomicU64::new(0),
            limit_bytes,
            unproven_bytes: AtomicU64::new(0),
            hasher: ahash::RandomState::new(),
            shards: Default::default(),
        })
    }

    /// Bytes held now.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }

    /// The gateway's own: it has no share, and callers see what it takes as not free.
    pub fn gateway(self: &Arc<Self>) -> Account {
        Account(Arc::new(AccountOwner {
            budget: self.clone(),
            kind: AccountKind::Gateway,
        }))
    }

    /// The gateway's own for what can be done without: it finds room only while half of the total stays free after it.
    pub(crate) fn spare(self: &Arc<Self>) -> Account {
        Account(Arc::new(AccountOwner {
            budget: self.clone(),
            kind: AccountKind::Spare,
        }))
    }

    /// Of a caller whose identity is not known: its address stands for it. One short lock.
    pub(crate) fn unproven(self: &Arc<Self>, address: IpAddr) -> Account {
        let network = self.holding(("network", address_block(address)));
        Account(Arc::new(AccountOwner {
            budget: self.clone(),
            kind: AccountKind::Unproven { network },
        }))
    }

    fn holding(&self, key: impl Hash) -> Arc<Holding> {
        let key = self.hasher.hash_one(key);
        let place = usize::try_from(key % SHARDS as u64).unwrap_or(0);
        let Some(shard) = self.shards.get(place) else {
            return Arc::default();
        };
        // A map is sound after every statement, so a panic elsewhere in a holder's thread spoils nothing.
        let mut shard = shard.lock();
        if let Some(known) = shard.owners.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        if shard.owners.len() >= shard.sweep_at.max(SWEEP_FROM_ENTRIES) {
            shard.owners.retain(|_, owner| owner.strong_count() > 0);
            shard.sweep_at = shard.owners.len() * 2;
        }
        let fresh = Arc::default();
        shard.owners.insert(key, Arc::downgrade(&fresh));
        fresh
    }
}

impl Account {
    /// The same caller once its identity is proven: `identity` is all that tells it from others. One short lock.
    pub(crate) fn proven(&self, identity: impl Hash) -> Account {
        let budget = &self.0.budget;
        let network = match &self.0.kind {
            AccountKind::Gateway | AccountKind::Spare => Arc::default(),
            AccountKind::Unproven { network } | AccountKind::Proven { network, .. } => {
                network.clone()
            }
        };
        let identity = budget.holding(("identity", identity));
        Account(Arc::new(AccountOwner {
            budget: budget.clone(),
            kind: AccountKind::Proven { identity, network },
        }))
    }

    /// Begins a reservation of nothing.
    pub fn open(&self) -> Reservation {
        Reservation {
            account: self.clone(),
            bytes: 0,
        }
    }

    /// Whether `more` bytes fit, where `fresh` of them are not counted in the total yet and `used_bytes` are.
    fn fits(&self, used_bytes: u64, fresh: u64, more: u64) -> Result<u64, Spent> {
        let budget = &self.0.budget;
        let sum = used_bytes
            .checked_add(fresh)
            .filter(|sum| *sum <= budget.limit_bytes);
        let (fits, fits_alone) = match &self.0.kind {
            AccountKind::Gateway => (true, true),
            AccountKind::Spare => {
                let half = budget.limit_bytes / 2;
                (sum.is_some_and(|sum| sum <= half), more <= half)
            }
            AccountKind::Unproven { network } => {
                let limit = budget.limit_bytes / UNPROVEN_DIVISOR;
                let unproven = budget.unproven_bytes.load(Relaxed).saturating_add(more);
                let here = network.unproven_bytes.load(Relaxed).saturating_add(more);
                (
                    here <= limit.saturating_sub(unproven),
                    here <= alone_unproven_bytes(budget.limit_bytes),
                )
            }
            AccountKind::Proven { identity, network } => {
                let free = sum.map_or(0, |sum| budget.limit_bytes.saturating_sub(sum));
                let held = identity
                    .bytes
                    .load(Relaxed)
                    .saturating_add(network.bytes.load(Relaxed));
                let held = held.saturating_add(more.saturating_mul(2));
                (
                    held <= free.saturating_mul(2),
                    held / 2 <= alone_bytes(budget.limit_bytes),
                )
            }
        };
        match sum {
            Some(sum) if fits => Ok(sum),
            // What a caller could not have if it were alone is not the doing of others.
            None if fits_alone => Err(Spent::Total),
            _ => Err(Spent::Share),
        }
    }

    /// Counts for the owner what the total has been asked for.
    fn add(&self, bytes: u64) {
        match &self.0.kind {
            AccountKind::Gateway | AccountKind::Spare => {}
            AccountKind::Unproven { network } => {
                self.0.budget.unproven_bytes.fetch_add(bytes, Relaxed);
                network.unproven_bytes.fetch_add(bytes, Relaxed);
            }
            AccountKind::Proven { identity, network } => {
                identity.bytes.fetch_add(bytes, Relaxed);
                network.bytes.fetch_add(bytes, Relaxed);
            }
        }
    }

    fn subtract(&self, bytes: u64) {
        match &self.0.kind {
            AccountKind::Gateway | AccountKind::Spare => {}
            AccountKind::Unproven { network } => {
                self.0.budget.unproven_bytes.fetch_sub(bytes, Relaxed);
                network.unproven_bytes.fetch_sub(bytes, Relaxed);
            }
            AccountKind::Proven { identity, network } => {
                identity.bytes.fetch_sub(bytes, Relaxed);
                network.bytes.fetch_sub(bytes, Relaxed);
            }
        }
    }
}

impl Reservation {
    /// Takes `more` bytes of the budget, or leaves it as it is. No lock.
    pub(crate) fn grow(&mut self, more: u64) -> Result<(), Spent> {
        let budget = &self.account.0.budget;
        let mut used_bytes = budget.used_bytes.load(Relaxed);
        loop {
            // Two calls of one owner may pass here at once and exceed its share by a step, never the total.
            let sum = self.account.fits(used_bytes, more, more)?;
            match budget
                .used_bytes
                .compare_exchange_weak(used_bytes, sum, Relaxed, Relaxed)
            {
                Ok(_) => break,
                Err(now) => used_bytes = now,
            }
        }
        self.account.add(more);
        self.bytes += more;
        Ok(())
    }

    /// Gives back so many of the bytes that are held, or all.
    pub(crate) fn shrink(&mut self, less: u64) {
        let less = less.min(self.bytes);
        self.account.subtract(less);
        self.account.0.budget.used_bytes.fetch_sub(less, Relaxed);
        self.bytes -= less;
    }

    /// Whether so many bytes would fit now; takes none.
    pub(crate) fn would_fit(&self, more: u64) -> Result<(), Spent> {
        self.account
            .fits(self.account.0.budget.used_bytes(), more, more)
            .map(drop)
    }

    /// What was read to learn who sent it becomes its sender's, or stays what it is if that is over the sender's share.
    pub(crate) fn hand_over(&mut self, to: &Account) -> Result<(), Spent> {
        to.fits(to.0.budget.used_bytes(), 0, self.bytes)?;
        self.account.subtract(self.bytes);
        to.add(self.bytes);
        self.account = to.clone();
        Ok(())
    }

    /// The identity that it is for, or the network where none is proven.
    pub(crate) fn owner(&self) -> OwnerKey {
        match &self.account.0.kind {
            AccountKind::Gateway => OwnerKey(0),
            AccountKind::Spare => OwnerKey(1),
            AccountKind::Unproven { network } => OwnerKey(Arc::as_ptr(network).addr()),
            AccountKind::Proven { identity, .. } => OwnerKey(Arc::as_ptr(identity).addr()),
        }
    }

    /// Another one of the same owner, of nothing yet.
    pub(crate) fn beside(&self) -> Reservation {
        self.account.open()
    }

    /// Takes over what another of the same owner holds.
    pub(crate) fn join(&mut self, mut other: Reservation) {
        let bytes = std::mem::take(&mut other.bytes);
        other.account.subtract(bytes);
        self.account.add(bytes);
        self.bytes += bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.account.subtract(self.bytes);
            self.account
                .0
                .budget
                .used_bytes
                .fetch_sub(self.bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
