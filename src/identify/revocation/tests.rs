//! Revocations, as a proof meets them, and the file that lists some.
//!
//! What it does: tries each kind against proofs that it names and against their neighbours. What it refuses to know: how a
//! proof was verified. Invariant: every row names a proof and the exact answer.

mod lists;

use std::sync::Arc;

use super::super::facts::CertificateFacts;
use super::heard::{HeardRevocations, NoRoom, RevocationSender};
use super::table::MarkedProof;
use super::{ProofMarks, Revocation, RevocationKind, Revocations};
use crate::clock::UnixMillis;
use crate::reason::Reason;

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> UnixMillis {
    UnixMillis(second * 1000)
}

fn revocation(
    kind: RevocationKind,
    issuer: &str,
    value: &str,
    issued_before: Option<i64>,
) -> Revocation {
    Revocation {
        kind,
        issuer: Arc::from(issuer),
        value: Arc::from(value),
        issued_before,
        until: NOW + 100,
    }
}

/// Ann's token, as her issuer writes it.
fn ann<'a>() -> ProofMarks<'a> {
    ProofMarks {
        issuer: "okta",
        subject: "ann@acme.example",
        token: Some("t-1"),
        account: Some("00u1"),
        email: Some("Ann@acme.example"),
        session: Some("s-1"),
        issued: Some(NOW - 10),
    }
}

fn certificate() -> CertificateFacts {
    CertificateFacts {
        ca: Arc::from("prod"),
        spiffe: None,
        dns: vec!["batch.acme.example".to_owned()],
        subject: "CN=batch".to_owned(),
        fingerprint: "f0".to_owned(),
        serial: "a1b2".to_owned(),
        key: "5e".repeat(32),
        not_before: NOW - 1000,
        not_after: NOW + 1000,
    }
}

/// Scenario: one revocation, told over the network, against ann's token and certificates. Guarantees: what it names is
/// refused; another issuer's, another value, another kind of the same text, and what was issued later are not; what cannot be
/// told of a proof counts against it.
#[test]
fn a_revocation_ends_what_it_names_and_no_neighbour() {
    use RevocationKind::*;
    let before = Some(NOW);
    let late = ProofMarks {
        issued: Some(NOW),
        ..ann()
    };
    let undated = ProofMarks {
        issued: None,
        ..ann()
    };
    let without_session = ProofMarks {
        session: None,
        ..ann()
    };
    let bare = ProofMarks {
        token: None,
        account: None,
        email: None,
        session: None,
        ..ann()
    };
    for (what, kind, issuer, value, issued_before, proof, ended) in [
        ("jti", Token, "okta", "t-1", None, ann(), true),
        ("another jti", Token, "okta", "t-2", None, ann(), false),
        ("another issuer's", Token, "ci", "t-1", None, ann(), false),
        ("no jti", Token, "okta", "t-1", None, bare, false),
        ("sid", Session, "okta", "s-1", None, ann(), true),
        ("a jti as sid", Session, "okta", "t-1", None, ann(), false),
        ("sid, later", Session, "okta", "s-1", None, late, true),
        (
            "subject",
            Subject,
            "okta",
            "ann@acme.example",
            before,
            ann(),
            true,
        ),
        (
            "subject, later",
            Subject,
            "okta",
            "ann@acme.example",
            before,
            late,
            false,
        ),
        (
            "subject, undated",
            Subject,
            "okta",
            "ann@acme.example",
            before,
            undated,
            true,
        ),
        (
            "another subject",
            Subject,
            "okta",
            "ann@acme.exampl",
            before,
            ann(),
            false,
        ),
        (
            "subject in another case",
            Subject,
            "okta",
            "Ann@acme.example",
            before,
            ann(),
            false,
        ),
        ("sub", Account, "okta", "00u1", before, ann(), true),
        ("sub, later", Account, "okta", "00u1", before, late, false),
        (
            "a subject is no sub",
            Account,
            "okta",
            "ann@acme.example",
            before,
            ann(),
            false,
        ),
        (
            "sub of what names a session",
            AccountWithoutSession,
            "okta",
            "00u1",
            before,
            ann(),
            false,
        ),
        (
            "sub of what names none",
            AccountWithoutSession,
            "okta",
            "00u1",
            before,
            without_session,
            true,
        ),
        (
            "email",
            Email,
            "okta",
            "ann@acme.example",
            before,
            ann(),
            true,
        ),
        (
            "no email",
            Email,
            "okta",
            "ann@acme.example",
            before,
            bare,
            false,
        ),
    ] {
        let revocations = Revocations::default();
        let fact = revocation(kind, issuer, value, issued_before);
        add(&revocations.heard, &[fact], NOW).unwrap();
        let judged = revocations.judge(Some(&proof), None, at(NOW + 1));
        let expected = if ended {
            Err(Reason::ProofRevoked)
        } else {
            Ok(())
        };
        assert_eq!(judged, expected, "{what}");
        // Its time is over.
        let judged = revocations.judge(Some(&proof), None, at(NOW + 100));
        assert_eq!(judged, Ok(()), "{what}, over");
    }
}

/// Scenario: a certificate, alone and beside a token. Guarantees: its serial number counts for its own authority, its key for
/// all, its holder up to a time; beside a token it must hold as well.
#[test]
fn certificates_are_known_by_serial_key_and_holder() {
    use RevocationKind::*;
    let key = "5e".repeat(32);
    for (kind, issuer, value, before, ended) in [
        (Serial, "prod", "a1b2", None, true),
        (Serial, "partner", "a1b2", None, false),
        (Serial, "prod", "a1b3", None, false),
        (Key, "", key.as_str(), None, true),
        (Key, "prod", key.as_str(), None, false),
        (Subject, "prod", "batch.acme.example", Some(NOW - 999), true),
        (
            Subject,
            "prod",
            "batch.acme.example",
            Some(NOW - 1000),
            false,
        ),
        (Subject, "prod", "CN=batch", Some(NOW), false),
    ] {
        let revocations = Revocations::default();
        let fact = revocation(kind, issuer, value, before);
        add(&revocations.heard, &[fact], NOW).unwrap();
        for proof in [None, Some(ann())] {
            let judged = revocations.judge(proof.as_ref(), Some(&certificate()), at(NOW));
            assert_eq!(judged.is_err(), ended, "{kind:?} {issuer} {value}");
        }
        assert_eq!(revocations.judge(Some(&ann()), None, at(NOW)), Ok(()));
    }
}

/// Scenario: facts come until there is no room, some of them again, and time passes. Guarantees: the memory is bounded;
/// nothing that is kept is pushed out; a fact that is there already needs no room; several are taken together or not at all;
/// what is over makes room.
#[test]
fn what_is_kept_is_never_pushed_out() {
    let heard = HeardRevocations::within(6);
    let covers = |value: &str, now| {
        let proof = MarkedProof {
            issuer: "okta",
            marks: &[(RevocationKind::Session, Some(value))],
            issued: None,
        };
        heard.covers(&proof, now)
    };
    assert!(heard.is_empty());
    add(&heard, &[sid("a", NOW + 10), sid("b", NOW + 20)], NOW).unwrap();
    assert_eq!(
        add(&heard, &[sid("c", NOW + 30), sid("d", NOW + 30)], NOW),
        Err(NoRoom)
    );
    assert!(!covers("c", NOW) && !covers("d", NOW));
    add(&heard, &[sid("c", NOW + 30)], NOW).unwrap();
    assert_eq!(add(&heard, &[sid("d", NOW + 30)], NOW), Err(NoRoom));
    // What is known is known for longer, and never for a shorter time.
    add(&heard, &[sid("b", NOW + 40)], NOW).unwrap();
    add(&heard, &[sid("b", NOW + 5)], NOW).unwrap();
    assert!(["a", "b", "c"].iter().all(|value| covers(value, NOW + 9)));
    assert_eq!(heard.len(at(NOW + 10)), 2);
    add(&heard, &[sid("d", NOW + 30)], NOW + 10).unwrap();
    assert!(!covers("a", NOW + 10) && covers("b", NOW + 39) && covers("d", NOW + 29));
    assert_eq!(heard.len(at(NOW + 40)), 0);
    assert!(heard.is_empty());
}

fn sid(value: &str, until: i64) -> Revocation {
    Revocation {
        until,
        ..revocation(RevocationKind::Session, "okta", value, None)
    }
}

/// As the only sender there is: half of the room is its.
fn add(heard: &HeardRevocations, facts: &[Revocation], now: i64) -> Result<(), NoRoom> {
    add_of(heard, ("alone", 1), facts, now)
}

fn add_of(
    heard: &HeardRevocations,
    (name, senders): (&str, usize),
    facts: &[Revocation],
    now: i64,
) -> Result<(), NoRoom> {
    let name = &Arc::from(name);
    heard.add(RevocationSender { name, senders }, facts, at(now))
}

/// Scenario: of three senders one tells more than anything, before and after the others tell something; then a reload brings a
/// fourth; time passes. Guarantees: each has its equal share, and one share is left for the fourth; what another sender told
/// takes nothing of the share; what is over gives its room back to the one that told it.
#[test]
fn a_sender_takes_no_room_of_another() {
    let heard = HeardRevocations::within(40);
    let told = |name: &str, senders, until| {
        let one = |number: &i32| {
            let fact = sid(&format!("{name} {number}"), until);
            add_of(&heard, (name, senders), &[fact], NOW).is_ok()
        };
        (0..100).filter(one).count()
    };
    assert_eq!(told("mad", 3, NOW + 10), 10);
    assert_eq!(told("calm", 3, NOW + 20), 10);
    assert_eq!(told("login", 3, NOW + 20), 10);
    assert_eq!(told("mad", 3, NOW + 10), 10, "again, and no more");
    assert_eq!(told("new", 4, NOW + 20), 8);
    let known = sid("mad 3", NOW + 30);
    assert_eq!(add_of(&heard, ("calm", 3), &[known], NOW), Ok(()));
    let later = |name| add_of(&heard, (name, 3), &[sid("later", NOW + 30)], NOW + 10);
    assert_eq!(later("calm"), Err(NoRoom));
    assert_eq!(later("mad"), Ok(()));
    assert_eq!(heard.len(at(NOW + 10)), 10 + 10 + 8 + 2);
    assert_eq!(heard.len(at(NOW + 30)), 0);
}

/// Scenario: a later event about the same subject. Guarantees: what was ended stays ended, and more is.
#[test]
fn a_later_revocation_adds_to_an_earlier_one() {
    let revocations = Revocations::default();
    let issued = |second| ProofMarks {
        issued: Some(second),
        ..ann()
    };
    let fact = |before| revocation(RevocationKind::Account, "okta", "00u1", Some(before));
    for (before, expected) in [
        (NOW - 50, [true, false]),
        (NOW - 20, [true, true]),
        (NOW - 80, [true, true]),
    ] {
        add(&revocations.heard, &[fact(before)], NOW).unwrap();
        let ended = [NOW - 60, NOW - 30].map(|second| {
            let judged = revocations.judge(Some(&issued(second)), None, at(NOW));
            judged.is_err()
        });
        assert_eq!(ended, expected, "{before}");
    }
}
