//! Which parts of partly failed exports the backend has taken already.
//!
//! What it does: remembers for minutes what was accepted while the export as a whole was answered with "try again",
//! so that the exporter's retry sends only what is missing. What it refuses to know: what a part holds, and for
//! whom it is; keys are digests. Invariants: an export that was answered with success is not remembered, so that
//! nothing is swallowed that nobody repeats; a bounded number of parts, the oldest forgotten first.

use std::collections::{HashMap, VecDeque};
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
pub struct PartKey([u8; 32]);

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
        PartKey(bytes_of(&context.finish()))
    }

    /// The key of a part of an export.
    pub fn of_part(scope: &PartScope<'_>, pieces: &[Bytes]) -> Self {
        let PartScope { method, issuer, subject, project, signal, export } = *scope;
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&export.0);
        for piece in pieces {
            context.update(piece);
        }
        let content = Bytes::copy_from_slice(context.finish().as_ref());
        PartKey::new(&["export", method, issuer, subject, project, signal.name()], &[content])
    }
}

fn bytes_of(digest: &digest::Digest) -> [u8; 32] {
    digest.as_ref().first_chunk::<32>().copied().unwrap_or_default()
}

#[derive(Default)]
struct Parts {
    by_key: HashMap<PartKey, (u64, UnixMillis, Option<PartialSuccess>)>,
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
}

impl Remembered {
    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
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
        parts.by_key.insert(key, (number, until, said));
        parts.by_age.push_back((number, key));
        while let Some((number, oldest)) = parts.by_age.front().copied() {
            let held = parts.by_key.get(&oldest).filter(|(held, ..)| *held == number);
            let over = held.is_none_or(|(_, until, _)| *until <= now) || parts.by_age.len() > REMEMBERED_PARTS;
            if !over {
                break;
            }
            if held.is_some() {
                parts.by_key.remove(&oldest);
            }
            parts.by_age.pop_front();
        }
        self.count.store(parts.by_key.len(), Ordering::Release);
    }

    /// The export that it belongs to has been answered with success.
    pub fn forget(&self, key: &PartKey) {
        let mut parts = self.lock();
        parts.by_key.remove(key);
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
        };
        let other = |change: fn(&mut PartScope<'static>)| {
            let mut other = PartScope {
                method: "oidc",
                issuer: "acme",
                subject: "pod",
                project: "shop-prod",
                signal: Signal::Traces,
                export: ExportDigest::of(b"whole"),
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
        assert!(memory.is_empty());
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
        assert!(!memory.is_empty());
        memory.remember(key("four"), None, UnixMillis(300), UnixMillis(150));
        assert_eq!(memory.lock().by_key.len(), 1, "what is over goes when something comes");
        memory.forget(&key("four"));
        assert!(memory.is_empty());
    }

    #[test]
    fn the_memory_is_bounded() {
        let memory = Remembered::default();
        for number in 0..REMEMBERED_PARTS + 10 {
            memory.remember(key(&number.to_string()), None, UnixMillis(i64::MAX), UnixMillis(0));
        }
        let parts = memory.lock();
        assert_eq!((parts.by_key.len(), parts.by_age.len()), (REMEMBERED_PARTS, REMEMBERED_PARTS));
        assert!(!parts.by_key.contains_key(&key("9")) && parts.by_key.contains_key(&key("10")));
    }
}
