//! The operator's file: what its lines revoke, and what is said of those that are wrong.
//!
//! What it does: reads texts. What it refuses to know: how a file is watched. Invariant: every mistake is expected in its place.

use std::path::Path;

use super::*;
use crate::identify::revocation::list::{RevocationList, RevocationSurroundings};

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
    assert_eq!(load("version: 1\nrevocations: []\n").1, [""; 0]);
    assert!(load("").0.is_none());
}

/// Scenario: a file that says how many entries it has, whole and cut at the end of each of its lines. Guarantees: the whole one
/// alone is a list; what is wrong says so.
#[test]
fn a_file_that_was_cut_is_no_list() {
    let line =
        |number| format!("  - {{ issuer: okta, jti: t-{number}, until: 2027-06-01T00:00:00Z }}\n");
    let entries: String = (0..3).map(line).collect();
    let whole = format!("version: 1\nentries: 3\nrevocations:\n{entries}");
    assert_eq!(load(&whole).0.unwrap().len(at(NOW)), 3);
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    for kept in 0..lines.len() {
        let (list, said) = load(&lines[..kept].concat());
        assert!(list.is_none() && !said.is_empty(), "{kept} lines");
    }
    let more = format!("version: 1\nrevocations:\n{entries}entries: 4\n");
    let (list, said) = load(&more);
    assert!(list.is_none());
    assert!(
        said[0].contains("6:10: error: `entries` says 4, and there are 3"),
        "{said:?}"
    );
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
