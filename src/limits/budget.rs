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

use std::collections::HashMap;
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
    owners: HashMap<u64, Weak<Holding>>,
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
            AccountKind::Gateway => Arc::default(),
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
            AccountKind::Gateway => {}
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
            AccountKind::Gateway => {}
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
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Takes as much as it can in steps of one byte.
    fn fill(account: &Account) -> Reservation {
        let mut held = account.open();
        while held.grow(1).is_ok() {}
        held
    }

    #[test]
    fn the_total_is_never_exceeded_and_always_given_back() {
        let budget = Budget::new(10);
        let gateway = budget.gateway();
        let mut first = gateway.open();
        let mut second = gateway.open();
        assert_eq!(first.grow(6), Ok(()));
        assert_eq!(second.grow(5), Err(Spent::Total));
        assert_eq!(second.grow(4), Ok(()));
        assert_eq!(first.grow(u64::MAX), Err(Spent::Total));
        let stranger = budget.unproven(address("192.0.2.1"));
        let caller = stranger.proven("a");
        assert_eq!(
            (stranger.open().grow(1), caller.open().grow(1)),
            (Err(Spent::Total), Err(Spent::Total))
        );
        // More than it could ever have is the caller's own fault.
        assert_eq!(
            (stranger.open().grow(2), caller.open().grow(6)),
            (Err(Spent::Share), Err(Spent::Share))
        );
        drop(first);
        assert_eq!(budget.used_bytes(), 4);
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    /// Scenario: callers take all that they are given, one after the other. Guarantees: the shares of the invariants;
    /// and a caller who comes after them finds room, whatever they hold.
    #[test]
    fn greedy_callers_leave_room_for_the_next() {
        // Who takes (identity, address), and what each is left with; of 840 bytes.
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u64]);
        let cases: &[Case<'_>] = &[
            ("one caller gets a half", &[("a", "192.0.2.1")], &[420]),
            (
                "a second one elsewhere",
                &[("a", "192.0.2.1"), ("b", "192.0.2.2")],
                &[420, 210],
            ),
            (
                "a second one at the same address",
                &[("a", "192.0.2.1"), ("b", "192.0.2.1")],
                &[420, 105],
            ),
            (
                "one identity at two addresses",
                &[("a", "192.0.2.1"), ("a", "192.0.2.2")],
                &[420, 105],
            ),
            (
                "two addresses of one /64",
                &[("a", "2001:db8::1"), ("b", "2001:db8::ffff:1")],
                &[420, 105],
            ),
            (
                "two /64 of one network",
                &[("a", "2001:db8:0:1::1"), ("b", "2001:db8:0:2::1")],
                &[420, 210],
            ),
            (
                "IPv4 in two forms",
                &[("a", "192.0.2.1"), ("b", "::ffff:192.0.2.1")],
                &[420, 105],
            ),
        ];
        for (what, takers, expected) in cases {
            let budget = Budget::new(840);
            let mut held = Vec::new();
            for (identity, from) in *takers {
                held.push(fill(&budget.unproven(address(from)).proven(*identity)));
            }
            let taken: Vec<u64> = held.iter().map(|held| held.bytes).collect();
            assert_eq!(taken, *expected, "{what}");
            // The same callers get no more, and are told that it is their share.
            for (identity, from) in *takers {
                let again = budget
                    .unproven(address(from))
                    .proven(*identity)
                    .open()
                    .grow(200);
                assert_eq!(again, Err(Spent::Share), "{what}");
            }
            let newcomer = budget.unproven(address("198.51.100.1")).proven("newcomer");
            let free = 840 - budget.used_bytes();
            assert_eq!(newcomer.open().would_fit(free / 2), Ok(()), "{what}");
            drop(held);
            assert_eq!(budget.used_bytes(), 0, "{what}");
        }
    }

    /// Scenario: a thousand identities behind one address, and one at a thousand neighbouring IPv6 addresses. Guarantees:
    /// two thirds at most, so that a third is there for everybody else.
    #[test]
    fn many_of_one_network_are_one() {
        let budget = Budget::new(9_000);
        let many: Vec<_> = (0..1000)
            .map(|each| fill(&budget.unproven(address("192.0.2.1")).proven(each)))
            .collect();
        assert!(
            (4_500..=6_000).contains(&budget.used_bytes()),
            "{}",
            budget.used_bytes()
        );
        drop(many);
        let neighbour = |each: u128| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + each));
        let many: Vec<_> = (0..1000)
            .map(|each| fill(&budget.unproven(neighbour(each)).proven(each)))
            .collect();
        assert!(
            (4_500..=6_000).contains(&budget.used_bytes()),
            "{}",
            budget.used_bytes()
        );
        let mut other = budget.unproven(address("192.0.2.1")).proven("other").open();
        assert_eq!(other.grow(1_400), Ok(()));
        drop(many);
    }

    /// Scenario: strangers at one address, at many of one /64, and elsewhere take all they can; then one of them is
    /// proven. Guarantees: the quarter, and a half of it for one network; the rest of the budget is there for callers who
    /// are known; what is handed over leaves the quarter.
    #[test]
    fn strangers_have_a_small_part_of_their_own() {
        let budget = Budget::new(800);
        let first = fill(&budget.unproven(address("2001:db8::1")));
        assert_eq!(first.bytes, alone_unproven_bytes(800));
        let neighbours: Vec<_> = (2_u16..200)
            .map(|each| fill(&budget.unproven(address(&format!("2001:db8::{each:x}")))))
            .collect();
        assert_eq!(neighbours.iter().map(|held| held.bytes).sum::<u64>(), 0);
        assert_eq!(
            budget.unproven(address("2001:db8::7")).open().grow(1),
            Err(Spent::Share)
        );
        let elsewhere = fill(&budget.unproven(address("2001:db8:0:1::1")));
        assert_eq!(elsewhere.bytes, 50);
        let strangers: Vec<_> = (0_u16..2000)
            .map(|each| {
                fill(&budget.unproven(address(&format!("10.0.{}.{}", each >> 8, each & 255))))
            })
            .collect();
        assert!(budget.used_bytes() <= 200, "{}", budget.used_bytes());
        // The shares of those who are known are of what is left.
        let known = budget.unproven(address("2001:db8::1")).proven("a");
        assert!(fill(&known).bytes >= 300);
        drop((strangers, neighbours, elsewhere));
        let mut proven = first;
        assert_eq!(
            (proven.hand_over(&known), budget.used_bytes()),
            (Ok(()), 100)
        );
        assert_eq!(fill(&budget.unproven(address("2001:db8::1"))).bytes, 100);
        assert_eq!(fill(&known).bytes, 300);
        drop(proven);
        assert_eq!(budget.used_bytes(), 0);
    }

    /// Scenario: what was read before its sender was known is over the sender's share. Guarantees: it is not handed over,
    /// and is given back to where it came from.
    #[test]
    fn who_is_over_the_share_is_handed_nothing() {
        let budget = Budget::new(800);
        let stranger = budget.unproven(address("192.0.2.1"));
        let mut read = stranger.open();
        read.grow(80).unwrap();
        let known = stranger.proven("a");
        let full = fill(&known);
        assert_eq!(read.hand_over(&known), Err(Spent::Share));
        drop(read);
        assert_eq!(budget.used_bytes(), full.bytes);
        assert_eq!(fill(&stranger).bytes, 100);
    }

    #[test]
    fn what_is_joined_and_beside_belongs_to_the_same_owner() {
        let budget = Budget::new(100);
        let account = budget.unproven(address("192.0.2.1")).proven("a");
        let mut held = account.open();
        let mut beside = held.beside();
        held.grow(20).unwrap();
        beside.grow(30).unwrap();
        assert_eq!(held.grow(1), Err(Spent::Share));
        held.join(beside);
        assert_eq!((held.bytes, budget.used_bytes()), (50, 50));
        drop(held);
        assert_eq!(fill(&account).bytes, 50);
    }

    /// Scenario: a hundred thousand owners come and go. Guarantees: what is remembered of them does not add up.
    #[test]
    fn owners_that_hold_nothing_are_forgotten() {
        let budget = Budget::new(1 << 20);
        let lasting: Vec<_> = (0..100)
            .map(|each| budget.gateway().proven(("lasting", each)))
            .collect();
        for each in 0..100_000 {
            budget.gateway().proven(each).open().grow(1).unwrap();
        }
        let entries: usize = budget
            .shards
            .iter()
            .map(|shard| shard.lock().owners.len())
            .sum();
        assert!(
            entries <= SHARDS * SWEEP_FROM_ENTRIES * 2 + 2 * lasting.len(),
            "{entries}"
        );
        let mut held = lasting[7].open();
        held.grow(1 << 18).unwrap();
        // Alone it could have had more than this.
        assert_eq!(
            budget.gateway().proven(("lasting", 7)).open().grow(350_000),
            Err(Spent::Share)
        );
        assert_eq!(
            budget.gateway().proven(("lasting", 8)).open().grow(350_000),
            Ok(())
        );
    }
}
