//! Which parts of partly failed exports the backend has taken already.
//!
//! What it does: remembers for minutes what was accepted while the export as a whole was answered with "try again",
//! so that the exporter's retry sends only what is missing. What it refuses to know: what a part holds, and for
//! whom it is; keys are digests. Invariants: an export that was answered with success is not remembered, so that
//! what is swallowed came again; a bounded number of parts, the oldest forgotten first; a part is known by
//! its digest alone, while a likeness only tells that no digest is needed.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use bytes::Bytes;

use crate::clock::UnixMillis;
use crate::otlp::{PartialSuccess, Signal};

/// Parts that are remembered at once; some 10 MiB when none has a message.
const REMEMBERED_PARTS: usize = 65_536;
/// What of a backend's message is kept, in bytes.
const MESSAGE_BYTES: usize = 1024;

/// Names a part: whose it is, where it went, what it is a part of, and every byte of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartKey {
    digest: [u8; 32],
    likeness: Likeness,
}

/// What is the same for an export and its retry and costs nothing to tell: the sender, the signal and the length. Exports
/// of which it differs differ; others may.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Likeness(u64);

/// Names a whole export by its bytes, decompressed and before anything is changed. A retry has the same, in whatever
/// content coding it comes; a different export of the same sender, of which a part may be the same, has not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExportDigest([u8; 32]);

impl ExportDigest {
    pub fn of(message: &[u8]) -> Self {
        ExportDigest(bytes_of(&digest::digest(&digest::SHA256, message)))
    }
}

/// Whose a part of an export is, where it goes, and what it is a part of.
#[derive(Clone, Copy)]
pub struct PartScope<'a> {
    /// The sender: how it was identified, by which issuer, and its name there.
    pub method: &'a str,
    pub issuer: &'a str,
    pub subject: &'a str,
    pub project: &'a str,
    pub signal: Signal,
    pub export: ExportDigest,
    pub likeness: Likeness,
}

impl PartKey {
    /// `scope`: the caller and the destination, in words.
    pub fn new(scope: &[&str], pieces: &[Bytes]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for word in scope {
            context.update(&(word.len() as u64).to_be_bytes());
            context.update(word.as_bytes());
        }
        for piece in pieces {
            context.update(piece);
        }
        PartKey { digest: bytes_of(&context.finish()), likeness: Likeness::default() }
    }

    /// The key of a part of an export.
    pub fn of_part(scope: &PartScope<'_>, pieces: &[Bytes]) -> Self {
        let PartScope { method, issuer, subject, project, signal, export, likeness } = *scope;
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&export.0);
        for piece in pieces {
            context.update(piece);
        }
        let content = Bytes::copy_from_slice(context.finish().as_ref());
        let key = PartKey::new(&["export", method, issuer, subject, project, signal.name()], &[content]);
        PartKey { likeness, ..key }
    }
}

fn bytes_of(digest: &digest::Digest) -> [u8; 32] {
    digest.as_ref().first_chunk::<32>().copied().unwrap_or_default()
}

#[derive(Default)]
struct Parts {
    by_key: HashMap<PartKey, (u64, UnixMillis, Option<PartialSuccess>)>,
    /// How many of them have this likeness; none is zero.
    by_likeness: HashMap<Likeness, usize>,
    /// In the order in which they were remembered; those forgotten since are passed over.
    by_age: VecDeque<(u64, PartKey)>,
    next: u64,
}

/// The memory.
#[derive(Default)]
pub struct Remembered {
    parts: Mutex<Parts>,
    /// How many there are, to be read without the lock: nearly always none.
    count: AtomicUsize,
    hasher: ahash::RandomState,
}

impl Parts {
    fn insert(&mut self, key: PartKey, value: (u64, UnixMillis, Option<PartialSuccess>)) {
        if self.by_key.insert(key, value).is_none() {
            *self.by_likeness.entry(key.likeness).or_default() += 1;
        }
    }

    fn remove(&mut self, key: &PartKey) {
        if self.by_key.remove(key).is_none() {
            return;
        }
        match self.by_likeness.get_mut(&key.likeness) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.by_likeness.remove(&key.likeness)),
        }
    }
}

impl Remembered {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// The likeness of an export: `sender` is all that tells its sender from others.
    pub fn likeness(&self, sender: impl Hash, signal: Signal, length: usize) -> Likeness {
        Likeness(self.hasher.hash_one((sender, signal.name(), length)))
    }

    /// Whether a part of an export like this may be known. If not, none of its keys is needed. Nearly always no lock.
    pub fn may_know(&self, likeness: Likeness) -> bool {
        !self.is_empty() && self.lock().by_likeness.contains_key(&likeness)
    }

    /// What the backend said when it took this part.
    pub fn find(&self, key: &PartKey, now: UnixMillis) -> Option<Option<PartialSuccess>> {
        let parts = self.lock();
        let (_, until, said) = parts.by_key.get(key)?;
        (now < *until).then(|| said.clone())
    }

    /// Keeps in mind that the backend took this part.
    pub fn remember(&self, key: PartKey, mut said: Option<PartialSuccess>, until: UnixMillis, now: UnixMillis) {
        if let Some(said) = &mut said {
            let end = (0..=MESSAGE_BYTES).rev().find(|end| said.message.is_char_boundary(*end)).unwrap_or(0);
            said.message.truncate(end);
        }
        let mut parts = self.lock();
        let number = parts.next;
        parts.next += 1;
        parts.insert(key, (number, until, said));
        parts.by_age.push_back((number, key));
        while let Some((number, oldest)) = parts.by_age.front().copied() {
            let held = parts.by_key.get(&oldest).filter(|(held, ..)| *held == number);
            let over = held.is_none_or(|(_, until, _)| *until <= now) || parts.by_age.len() > REMEMBERED_PARTS;
            if !over {
                break;
            }
            if held.is_some() {
                parts.remove(&oldest);
            }
            parts.by_age.pop_front();
        }
        self.count.store(parts.by_key.len(), Ordering::Release);
    }

    /// The export that it belongs to has been answered with success.
    pub fn forget(&self, key: &PartKey) {
        let mut parts = self.lock();
        parts.remove(key);
        if parts.by_key.is_empty() {
            parts.by_age.clear();
        }
        self.count.store(parts.by_key.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> PartKey {
        PartKey::new(&["caller", name], &[])
    }

    #[test]
    fn a_key_tells_scopes_and_bytes_apart_but_not_pieces() {
        let part = |scope: &[&str], pieces: &[&'static [u8]]| {
            PartKey::new(scope, &pieces.iter().map(|piece| Bytes::from_static(piece)).collect::<Vec<_>>())
        };
        assert!(part(&["a", "b"], &[b"xy"]) == part(&["a", "b"], &[b"x", b"y"]));
        let different: &[(&[&str], &[&'static [u8]])] =
            &[(&["ab"], &[b"xy"]), (&["a", "c"], &[b"xy"]), (&["a", "b"], &[b"xz"]), (&["a"], &[b"bxy"])];
        for (scope, pieces) in different {
            assert!(part(&["a", "b"], &[b"xy"]) != part(scope, pieces), "{scope:?} {pieces:?}");
        }
    }

    /// Scenario: parts that differ in one thing only: who sent them and how that was proven, where they go, their signal,
    /// the export that they are a part of, their own bytes. Guarantees: each has a key of its own.
    #[test]
    fn a_part_is_known_by_all_that_it_is() {
        let whole = ExportDigest::of(b"whole");
        let scope = PartScope {
            method: "oidc",
            issuer: "acme",
            subject: "pod",
            project: "shop-prod",
            signal: Signal::Traces,
            export: whole,
            likeness: Likeness(7),
        };
        let other = |change: fn(&mut PartScope<'static>)| {
            let mut other = PartScope {
                method: "oidc",
                issuer: "acme",
                subject: "pod",
                project: "shop-prod",
                signal: Signal::Traces,
                export: ExportDigest::of(b"whole"),
                likeness: Likeness(7),
            };
            change(&mut other);
            PartKey::of_part(&other, &[Bytes::from_static(b"part")])
        };
        let part = PartKey::of_part(&scope, &[Bytes::from_static(b"part")]);
        assert!(other(|_| ()) == part);
        assert!(PartKey::of_part(&scope, &[Bytes::from_static(b"pa"), Bytes::from_static(b"rt")]) == part);
        let different = [
            ("method", other(|scope| scope.method = "mtls")),
            ("issuer", other(|scope| scope.issuer = "other")),
            ("subject", other(|scope| scope.subject = "pod2")),
            ("issuer and subject", other(|scope| (scope.issuer, scope.subject) = ("acmep", "od"))),
            ("project", other(|scope| scope.project = "checkout-prod")),
            ("metrics", other(|scope| scope.signal = Signal::Metrics)),
            ("logs", other(|scope| scope.signal = Signal::Logs)),
            ("export", other(|scope| scope.export = ExportDigest::of(b"another whole"))),
            ("bytes", PartKey::of_part(&scope, &[Bytes::from_static(b"parts")])),
        ];
        for (what, key) in different {
            assert!(key != part, "{what}");
        }
    }

    #[test]
    fn what_was_taken_is_known_until_its_time_or_the_success() {
        let memory = Remembered::default();
        let is_empty = || memory.is_empty() && memory.lock().by_likeness.is_empty();
        assert!(is_empty());
        let said = PartialSuccess { rejected: 2, message: "é".repeat(MESSAGE_BYTES) };
        memory.remember(key("one"), Some(said), UnixMillis(100), UnixMillis(0));
        memory.remember(key("two"), None, UnixMillis(200), UnixMillis(0));
        let kept = memory.find(&key("one"), UnixMillis(99)).unwrap().unwrap();
        assert_eq!((kept.rejected, kept.message), (2, "é".repeat(MESSAGE_BYTES / 2)));
        assert!(memory.find(&key("one"), UnixMillis(100)).is_none());
        assert!(memory.find(&key("two"), UnixMillis(100)).unwrap().is_none());
        assert!(memory.find(&key("three"), UnixMillis(0)).is_none());
        memory.forget(&key("two"));
        assert!(memory.find(&key("two"), UnixMillis(0)).is_none());
        assert!(!is_empty());
        memory.remember(key("four"), None, UnixMillis(300), UnixMillis(150));
        assert_eq!(memory.lock().by_key.len(), 1, "what is over goes when something comes");
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
        let part = |name: &str| PartKey { likeness, ..key(name) };
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
            assert!(!memory.may_know(memory.likeness(other, signal, length)), "{other:?} {signal:?} {length}");
        }
        for (name, is_known) in [("three", true), ("two", true), ("two", true), ("one", false)] {
            memory.forget(&part(name));
            assert_eq!(memory.may_know(likeness), is_known, "{name}");
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let memory = Remembered::default();
        for number in 0..REMEMBERED_PARTS + 10 {
            memory.remember(key(&number.to_string()), None, UnixMillis(i64::MAX), UnixMillis(0));
        }
        let parts = memory.lock();
        assert_eq!((parts.by_key.len(), parts.by_age.len()), (REMEMBERED_PARTS, REMEMBERED_PARTS));
        assert_eq!(parts.by_likeness.get(&Likeness::default()), Some(&REMEMBERED_PARTS));
        assert!(!parts.by_key.contains_key(&key("9")) && parts.by_key.contains_key(&key("10")));
    }
}
