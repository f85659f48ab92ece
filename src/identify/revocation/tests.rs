//! Revocations, as a proof meets them, and the file that lists some.
//!
//! What it does: tries each kind against proofs that it names and against their neighbours. What it refuses to know: how a
//! proof was verified. Invariant: every row names a proof and the exact answer.

use std::path::Path;
use std::sync::Arc;

use super::super::facts::CertificateFacts;
use super::heard::{HeardRevocations, NoRoom};
use super::list::{RevocationList, RevocationSurroundings};
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
        revocations.heard.add(&[fact], at(NOW)).unwrap();
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
        revocations.heard.add(&[fact], at(NOW)).unwrap();
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
    let heard = HeardRevocations::within(3);
    let sid = |value: &str, until| Revocation {
        until,
        ..revocation(RevocationKind::Session, "okta", value, None)
    };
    let covers = |value: &str, now| {
        heard.covers("okta", &[(RevocationKind::Session, Some(value))], None, now)
    };
    assert!(heard.is_empty());
    heard
        .add(&[sid("a", NOW + 10), sid("b", NOW + 20)], at(NOW))
        .unwrap();
    assert_eq!(
        heard.add(&[sid("c", NOW + 30), sid("d", NOW + 30)], at(NOW)),
        Err(NoRoom)
    );
    assert!(!covers("c", NOW) && !covers("d", NOW));
    heard.add(&[sid("c", NOW + 30)], at(NOW)).unwrap();
    assert_eq!(heard.add(&[sid("d", NOW + 30)], at(NOW)), Err(NoRoom));
    // What is known is known for longer, and never for a shorter time.
    heard.add(&[sid("b", NOW + 40)], at(NOW)).unwrap();
    heard.add(&[sid("b", NOW + 5)], at(NOW)).unwrap();
    assert!(["a", "b", "c"].iter().all(|value| covers(value, NOW + 9)));
    assert_eq!(heard.len(at(NOW + 10)), 2);
    heard.add(&[sid("d", NOW + 30)], at(NOW + 10)).unwrap();
    assert!(!covers("a", NOW + 10) && covers("b", NOW + 39) && covers("d", NOW + 29));
    assert_eq!(heard.len(at(NOW + 40)), 0);
    assert!(heard.is_empty());
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
        revocations.heard.add(&[fact(before)], at(NOW)).unwrap();
        let ended = [NOW - 60, NOW - 30].map(|second| {
            let judged = revocations.judge(Some(&issued(second)), None, at(NOW));
            judged.is_err()
        });
        assert_eq!(ended, expected, "{before}");
    }
}

fn load(text: &str) -> (Option<RevocationList>, Vec<String>) {
    let issuers = ["okta".to_owned(), "cluster".to_owned()];
    let around = RevocationSurroundings {
        issuers: &issuers,
        authorities: &["prod".to_owned()],
        others: &["cloud".to_owned()],
        now: at(NOW),
    };
    let (list, found) = RevocationList::load(Path::new("revocations.yaml"), text, &around);
    (list, found.iter().map(ToString::to_string).collect())
}

/// Scenario: a list in YAML and the same in JSON. Guarantees: each entry revokes what it names; serial numbers are read with
/// colons, capitals and leading zeros.
#[test]
fn a_list_revokes_what_it_names() {
    let key = "5E".repeat(32);
    let yaml = format!(
        "version: 1
revocations:
  - {{ issuer: okta, jti: t-1, until: 2027-06-01T00:00:00Z }}
  - {{ issuer: okta, subject: ann@acme.example, issued_before: 2027-01-15T08:00:00Z, until: 2027-06-01T00:00:00Z }}
  - {{ issuer: okta, sid: s-9, until: 2027-06-01T00:00:00Z }}
  - {{ issuer: prod, serial: \"00:A1:B2\", until: 2027-06-01T00:00:00Z }}
  - {{ spki: \"sha256:{key}\", until: 2027-06-01T00:00:00Z }}
"
    );
    let json = format!(
        r#"{{"version": 1, "revocations": [
            {{"issuer": "okta", "jti": "t-1", "until": "2027-06-01T00:00:00Z"}},
            {{"issuer": "okta", "subject": "ann@acme.example", "issued_before": "2027-01-15T08:00:00Z", "until": "2027-06-01T00:00:00Z"}},
            {{"issuer": "okta", "sid": "s-9", "until": "2027-06-01T00:00:00Z"}},
            {{"issuer": "prod", "serial": "a1b2", "until": "2027-06-01T00:00:00Z"}},
            {{"spki": "sha256:{key}", "until": "2027-06-01T00:00:00Z"}}]}}"#
    );
    for text in [yaml, json] {
        let (list, said) = load(&text);
        assert_eq!(said, [""; 0]);
        let list = Arc::new(list.unwrap());
        assert_eq!(list.len(at(NOW)), 5);
        assert_eq!(list.len(at(NOW + 400 * 24 * 3600)), 0);
        let revocations = Revocations::default().listing(list.clone());
        let judged =
            |proof: ProofMarks<'_>| revocations.judge(Some(&proof), None, at(NOW)).is_err();
        let bare = ProofMarks {
            token: None,
            session: None,
            ..ann()
        };
        assert!(judged(ann()));
        // 2027-01-15T08:00:00Z is NOW.
        assert!(judged(bare));
        assert!(!judged(ProofMarks {
            issued: Some(NOW),
            ..bare
        }));
        assert!(judged(ProofMarks {
            session: Some("s-9"),
            issued: Some(NOW),
            ..bare
        }));
        let others = CertificateFacts {
            serial: "1".to_owned(),
            ..certificate()
        };
        let of_certificate = |certificate: &CertificateFacts| {
            revocations.judge(None, Some(certificate), at(NOW)).is_err()
        };
        assert!(of_certificate(&certificate()) && of_certificate(&others));
        assert!(!of_certificate(&CertificateFacts {
            key: "00".repeat(32),
            ..others
        }));
        // What is new in a list is told; what was there before is not.
        assert_eq!(list.beyond(&RevocationList::default()).count(), 5);
        assert_eq!(list.beyond(&list).count(), 0);
    }
}

/// Scenario: lists with mistakes. Guarantees: each is told in its place with a hint, all at once, and there is no list; an
/// entry whose time is over is a warning and revokes nothing.
#[test]
fn mistakes_of_a_list_are_told_in_their_place() {
    let until = "until: 2027-06-01T00:00:00Z";
    for (line, expected) in [
        (format!("{{ issuer: okta, jti: a, {until} }}"), ""),
        ("{ issuer: okta, jti: a }".to_owned(), "3:5: error: "),
        (
            format!("{{ issuer: okta, {until} }}"),
            "3:5: error: `revocations[0]` must name one kind of proof",
        ),
        (
            format!("{{ issuer: okta, jti: a, sid: b, {until} }}"),
            "3:5: error: `revocations[0]` must name one kind of proof",
        ),
        (
            format!("{{ jti: a, {until} }}"),
            "3:5: error: `revocations[0]` needs `issuer`",
        ),
        (
            format!("{{ issuer: oktaa, jti: a, {until} }}"),
            "3:15: error: there is no issuer `oktaa`\n  hint: did you mean `okta`?",
        ),
        (
            format!(
                "{{ issuer: cloud, subject: a, issued_before: 2027-01-01T00:00:00Z, {until} }}"
            ),
            "",
        ),
        (
            format!("{{ issuer: cloud, jti: a, {until} }}"),
            "3:15: error: there is no issuer `cloud`",
        ),
        (
            format!("{{ issuer: prod, jti: a, {until} }}"),
            "3:15: error: there is no issuer `prod`",
        ),
        (
            format!("{{ issuer: okta, serial: \"a1\", {until} }}"),
            "3:15: error: there is no authority of client certificates `okta`\n  hint: one of `prod`",
        ),
        (
            format!("{{ issuer: client_tokens, jti: a, {until} }}"),
            "3:15: error: there is no issuer `client_tokens`\n  hint: a client token is revoked by deleting its line",
        ),
        (
            format!("{{ issuer: okta, subject: ann, {until} }}"),
            "3:5: error: `revocations[0]` needs `issued_before` beside `subject`",
        ),
        (
            format!("{{ issuer: okta, jti: a, issued_before: 2027-01-01T00:00:00Z, {until} }}"),
            "error: `revocations[0].issued_before` has no use beside `jti`",
        ),
        (
            format!("{{ issuer: okta, subject: ann, issued_before: yesterday, {until} }}"),
            "error: `revocations[0].issued_before` is no RFC 3339 time",
        ),
        (
            "{ issuer: okta, jti: a, until: 2027-06-01 }".to_owned(),
            "error: `revocations[0].until` is no RFC 3339 time",
        ),
        (
            "{ issuer: okta, jti: a, until: 2026-06-01T00:00:00Z }".to_owned(),
            "3:5: warning: `revocations[0]` is over",
        ),
        (
            format!("{{ issuer: okta, jti: \"\", {until} }}"),
            "error: `revocations[0].jti` must be 1 to 1024 bytes",
        ),
        (
            format!("{{ issuer: okta, jti: \"{}\", {until} }}", "a".repeat(1025)),
            "error: `revocations[0].jti` must be 1 to 1024 bytes",
        ),
        (
            format!("{{ issuer: prod, serial: \"xy\", {until} }}"),
            "error: `revocations[0].serial` is no serial number in hexadecimal",
        ),
        (
            format!(
                "{{ issuer: prod, serial: \"{}\", {until} }}",
                "ab".repeat(22)
            ),
            "error: `revocations[0].serial` is no serial number in hexadecimal",
        ),
        (
            format!("{{ spki: \"{}\", {until} }}", "5e".repeat(32)),
            "error: `revocations[0].spki` is not a digest",
        ),
        (
            format!(
                "{{ issuer: prod, spki: \"sha256:{}\", {until} }}",
                "5e".repeat(32)
            ),
            "error: `revocations[0].issuer` has no use beside `spki`",
        ),
        (
            format!("{{ issuer: okta, jti: a, note: b, {until} }}"),
            "unknown key",
        ),
        (
            format!("{{ issuer: okta, jti: a, jti: b, {until} }}"),
            "error: ",
        ),
    ] {
        let (list, said) = load(&format!("version: 1\nrevocations:\n  - {line}\n"));
        let is_good = expected.is_empty() || expected.contains("warning");
        assert_eq!(list.is_some(), is_good, "{line}: {said:?}");
        if expected.is_empty() {
            assert!(said.is_empty(), "{line}: {said:?}");
        } else {
            assert!(
                said.iter().any(|one| one.contains(expected)),
                "{line}: {said:?}"
            );
        }
        if let Some(list) = list.filter(|_| !expected.is_empty()) {
            assert!(list.is_empty());
        }
    }
    let twice = format!(
        "version: 2\nrevocations:\n  - {{ issuer: okta, jti: a, {until} }}\n  - {{ issuer: okta, jti: a, {until} }}\n"
    );
    let (list, said) = load(&twice);
    assert!(list.is_none());
    assert!(
        said[0].contains("1:10: error: `version` is not 1"),
        "{said:?}"
    );
    assert!(
        said[1].contains("4:5: error: `revocations[1]` names what another line names"),
        "{said:?}"
    );
    assert_eq!(load("version: 1\n").1, [""; 0]);
    assert!(load("").0.is_none());
}

/// Scenario: a file with more entries than a list may have. Guarantees: it is refused, whatever it holds.
#[test]
fn a_list_is_bounded() {
    let line =
        |number| format!("  - {{ issuer: okta, jti: t-{number}, until: 2027-06-01T00:00:00Z }}\n");
    let text = |count: usize| {
        format!(
            "version: 1\nrevocations:\n{}",
            (0..count).map(line).collect::<String>()
        )
    };
    let (list, said) = load(&text(20_000));
    assert_eq!(list.unwrap().len(at(NOW)), 20_000, "{said:?}");
    let (list, said) = load(&text(20_001));
    assert!(list.is_none());
    assert!(
        said[0].contains("20003:5: error: more than 20000 revocations"),
        "{said:?}"
    );
}
