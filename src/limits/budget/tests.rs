//! The budget's shares, and what is given back. What it refuses to know: what the memory is for.

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

/// Scenario: what can be done without beside callers. Guarantees: it finds room only while half of the total is free after it.
#[test]
fn what_can_be_done_without_leaves_half_to_others() {
    let budget = Budget::new(10);
    let mut spare = budget.spare().open();
    assert_eq!(spare.grow(6), Err(Spent::Share));
    assert_eq!(spare.grow(3), Ok(()));
    let mut callers = budget.gateway().open();
    assert_eq!(callers.grow(2), Ok(()));
    assert_eq!(
        (spare.grow(1), callers.grow(5)),
        (Err(Spent::Share), Ok(()))
    );
    assert_eq!(spare.grow(1), Err(Spent::Total));
    drop((spare, callers));
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
        .map(|each| fill(&budget.unproven(address(&format!("10.0.{}.{}", each >> 8, each & 255)))))
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
