//! What is remembered of parts, for how long, and of whose. What it refuses to know: how a part is sent.

use super::*;

fn key(name: &str) -> PartKey {
    PartKey::new(Sender::default(), &["caller", name], &[])
}

fn scope() -> PartScope<'static> {
    PartScope {
        method: "oidc",
        issuer: "acme",
        subject: "pod",
        upstream: "https://ingest.example:443",
        backend: "",
        project: "shop-prod",
        signal: Signal::Traces,
        export: ExportDigest::of(b"whole"),
        likeness: Likeness(7),
        sender: Sender(8),
    }
}

#[test]
fn a_key_tells_scopes_and_bytes_apart_but_not_pieces() {
    let part = |scope: &[&str], pieces: &[&'static [u8]]| {
        PartKey::new(
            Sender::default(),
            scope,
            &pieces
                .iter()
                .map(|piece| Bytes::from_static(piece))
                .collect::<Vec<_>>(),
        )
    };
    assert!(part(&["a", "b"], &[b"xy"]) == part(&["a", "b"], &[b"x", b"y"]));
    let different: &[(&[&str], &[&'static [u8]])] = &[
        (&["ab"], &[b"xy"]),
        (&["a", "c"], &[b"xy"]),
        (&["a", "b"], &[b"xz"]),
        (&["a"], &[b"bxy"]),
    ];
    for (scope, pieces) in different {
        assert!(
            part(&["a", "b"], &[b"xy"]) != part(scope, pieces),
            "{scope:?} {pieces:?}"
        );
    }
}

/// Scenario: parts that differ in one thing only: who sent them and how that was proven, at which upstream and in which project they go, their signal,
/// the export that they are a part of, their own bytes. Guarantees: each has a key of its own.
#[test]
fn a_part_is_known_by_all_that_it_is() {
    let other = |change: fn(&mut PartScope<'static>)| {
        let mut other = scope();
        change(&mut other);
        PartKey::of_part(&other, &[Bytes::from_static(b"part")])
    };
    let scope = scope();
    let part = PartKey::of_part(&scope, &[Bytes::from_static(b"part")]);
    assert!(other(|_| ()) == part);
    assert!(
        PartKey::of_part(
            &scope,
            &[Bytes::from_static(b"pa"), Bytes::from_static(b"rt")]
        ) == part
    );
    let different = [
        ("method", other(|scope| scope.method = "mtls")),
        ("issuer", other(|scope| scope.issuer = "other")),
        ("subject", other(|scope| scope.subject = "pod2")),
        (
            "issuer and subject",
            other(|scope| (scope.issuer, scope.subject) = ("acmep", "od")),
        ),
        (
            "upstream",
            other(|scope| scope.upstream = "https://other.example:443"),
        ),
        ("project", other(|scope| scope.project = "checkout-prod")),
        ("metrics", other(|scope| scope.signal = Signal::Metrics)),
        ("logs", other(|scope| scope.signal = Signal::Logs)),
        (
            "export",
            other(|scope| scope.export = ExportDigest::of(b"another whole")),
        ),
        (
            "bytes",
            PartKey::of_part(&scope, &[Bytes::from_static(b"parts")]),
        ),
    ];
    for (what, key) in different {
        assert!(key != part, "{what}");
    }
}

#[test]
fn what_was_taken_is_known_until_its_time_or_the_success() {
    let memory = Remembered::default();
    let is_empty = || {
        let parts = memory.lock();
        let rest = (
            parts.by_likeness.len(),
            parts.by_age.len(),
            parts.by_sender.len(),
            parts.ranks.len(),
        );
        memory.is_empty() && rest == (0, 0, 0, 0)
    };
    assert!(is_empty());
    let said = PartialSuccess {
        rejected: 2,
        message: "é".repeat(MESSAGE_BYTES),
    };
    memory.remember(key("one"), Some(said), UnixMillis(100), UnixMillis(0));
    memory.remember(key("two"), None, UnixMillis(200), UnixMillis(0));
    let kept = memory.find(&key("one"), UnixMillis(99)).unwrap().unwrap();
    assert_eq!(
        (kept.rejected, kept.message),
        (2, "é".repeat(MESSAGE_BYTES / 2))
    );
    assert!(memory.find(&key("one"), UnixMillis(100)).is_none());
    assert!(memory.find(&key("two"), UnixMillis(100)).unwrap().is_none());
    assert!(memory.find(&key("three"), UnixMillis(0)).is_none());
    memory.forget(&key("two"));
    assert!(memory.find(&key("two"), UnixMillis(0)).is_none());
    assert!(!is_empty());
    memory.remember(key("four"), None, UnixMillis(300), UnixMillis(150));
    assert_eq!(
        memory.lock().by_key.len(),
        1,
        "what is over goes when something comes"
    );
    memory.forget(&key("four"));
    assert!(is_empty());
}

/// Scenario: parts of one sender's export are remembered, and forgotten one after the other. Guarantees: until the last
/// of them is, and no longer, an export like it may be known; another sender's, another signal's and one of another
/// length is not, so that no digest is made for what others failed to send.
#[test]
fn only_an_export_like_one_that_is_remembered_may_be_known() {
    let memory = Remembered::default();
    let sender = ("oidc", "acme", "pod");
    let likeness = memory.likeness(sender, Signal::Traces, 100);
    let part = |name: &str| PartKey {
        likeness,
        ..key(name)
    };
    assert!(!memory.may_know(likeness));
    for name in ["one", "two", "two"] {
        memory.remember(part(name), None, UnixMillis(200), UnixMillis(0));
    }
    assert!(memory.may_know(memory.likeness(sender, Signal::Traces, 100)));
    for (other, signal, length) in [
        (("oidc", "acme", "pod"), Signal::Traces, 101),
        (("oidc", "acme", "pod"), Signal::Logs, 100),
        (("oidc", "acme", "pod2"), Signal::Traces, 100),
        (("oidc", "acmep", "od"), Signal::Traces, 100),
        (("mtls", "acme", "pod"), Signal::Traces, 100),
    ] {
        assert!(
            !memory.may_know(memory.likeness(other, signal, length)),
            "{other:?} {signal:?} {length}"
        );
    }
    for (name, is_known) in [
        ("three", true),
        ("two", true),
        ("two", true),
        ("one", false),
    ] {
        memory.forget(&part(name));
        assert_eq!(memory.may_know(likeness), is_known, "{name}");
    }
}

fn part(sender: u64, number: usize) -> PartKey {
    PartKey::new(Sender(sender), &["caller", &number.to_string()], &[])
}

#[test]
fn the_memory_is_bounded() {
    let memory = Remembered::default();
    for number in 0..REMEMBERED_PARTS + 10 {
        memory.remember(part(1, number), None, UnixMillis(i64::MAX), UnixMillis(0));
    }
    let parts = memory.lock();
    assert_eq!(
        (parts.by_key.len(), parts.by_age.len()),
        (REMEMBERED_PARTS, REMEMBERED_PARTS)
    );
    assert_eq!(
        parts.by_likeness.get(&Likeness::default()),
        Some(&REMEMBERED_PARTS)
    );
    assert!(!parts.by_key.contains_key(&part(1, 9)) && parts.by_key.contains_key(&part(1, 10)));
}

/// Scenario: one sender has far more remembered than there is room for, before and after others of which little is; then
/// many senders of one part each. Guarantees: what goes is the oldest of the sender that has the most; where all have as
/// much, the oldest of all.
#[test]
fn no_sender_pushes_out_what_is_remembered_of_another() {
    let memory = Remembered::default();
    let remember = |key| memory.remember(key, None, UnixMillis(i64::MAX), UnixMillis(0));
    let is_known = |key| memory.find(&key, UnixMillis(0)).is_some();
    remember(part(1, 0));
    (0..REMEMBERED_PARTS * 2).for_each(|number| remember(part(2, number)));
    (0..10).for_each(|number| remember(part(3, number)));
    (0..100).for_each(|number| remember(part(2, REMEMBERED_PARTS * 2 + number)));
    assert!(is_known(part(1, 0)), "the first sender's was pushed out");
    assert!(
        (0..10).all(|number| is_known(part(3, number))),
        "the third sender's was pushed out"
    );
    let parts = memory.lock();
    let counts = [1, 2, 3].map(|sender| parts.by_sender[&Sender(sender)].len());
    assert_eq!(counts, [1, REMEMBERED_PARTS - 11, 10]);
    assert_eq!(parts.ranks.len(), 3);
    drop(parts);
    let memory = Remembered::default();
    for sender in 0..REMEMBERED_PARTS + 5 {
        memory.remember(
            part(sender as u64, 0),
            None,
            UnixMillis(i64::MAX),
            UnixMillis(0),
        );
    }
    let held = |sender| memory.find(&part(sender, 0), UnixMillis(0)).is_some();
    assert!(
        (0..5).all(|sender| !held(sender))
            && (5..10).all(held)
            && held(REMEMBERED_PARTS as u64 + 4)
    );
}

/// Scenario: an export is remembered and forgotten, again and again, while a part of another sender stays.
/// Guarantees: what was forgotten takes no place, so that what stays is not pushed out by it.
#[test]
fn what_is_forgotten_takes_no_place() {
    let memory = Remembered::default();
    memory.remember(part(1, 0), None, UnixMillis(i64::MAX), UnixMillis(0));
    for number in 0..REMEMBERED_PARTS + 10 {
        memory.remember(part(2, number), None, UnixMillis(i64::MAX), UnixMillis(0));
        memory.forget(&part(2, number));
    }
    assert!(memory.find(&part(1, 0), UnixMillis(0)).is_some());
    let parts = memory.lock();
    assert_eq!((parts.by_age.len(), parts.ranks.len()), (1, 1));
}
