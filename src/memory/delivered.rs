//! Which parts of partly failed exports the backend has taken already.
//!
//! What it does: remembers for minutes what was accepted while the export as a whole was answered with "try again",
//! so that the exporter's retry sends only what is missing. What it refuses to know: what a part holds, and
//! which app it is of; keys are digests. Invariants: an export that was answered with success is not remembered, so that
//! what is swallowed came again; a part is known at the upstream that took it, and at no other; a bounded number of parts:
//! beyond it, the sender of which most are remembered loses its oldest, so that no sender pushes out another's; a part is
//! known by its digest alone, while a likeness only tells that no digest is needed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest;
use bytes::Bytes;

use crate::clock::UnixMillis;
use crate::lock::{Mutex, MutexGuard};
use crate::otlp::{PartialSuccess, Signal};

/// Parts that are remembered at once; some 20 MiB when none has a message.
const REMEMBERED_PARTS: usize = 65_536;
/// What of a backend's message is kept, in bytes.
const MESSAGE_BYTES: usize = 1024;

/// Names a part: whose it is, where it went, what it is a part of, and every byte of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PartKey {
    digest: [u8; 32],
    likeness: Likeness,
    sender: Sender,
}

/// Among whose parts a part counts when the memory is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sender(u64);

/// What is the same for an export and its retry and costs nothing to tell: the sender, the signal and the length. Exports
/// of which it differs differ; others may.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Likeness(u64);

/// Names a whole export by its bytes, decompressed and before anything is changed. A retry has the same, in whatever
/// content coding it comes; a different export of the same sender, of which a part may be the same, has not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ExportDigest([u8; 32]);

impl ExportDigest {
    pub(crate) fn of(message: &[u8]) -> Self {
        ExportDigest(bytes_of(&digest::digest(&digest::SHA256, message)))
    }
}

/// Whose a part of an export is, where it goes, and what it is a part of.
#[derive(Clone, Copy)]
pub(crate) struct PartScope<'a> {
    /// The sender: how it was identified, by which issuer, and its name there.
    pub method: &'a str,
    pub issuer: &'a str,
    pub subject: &'a str,
    /// Where the upstream is, as it is configured: what one has taken, another has not.
    pub upstream: &'a str,
    /// What the backend is called, where there are several: what one customer has sent there, another has not.
    pub backend: &'a str,
    pub project: &'a str,
    pub signal: Signal,
    pub export: ExportDigest,
    pub(crate) likeness: Likeness,
    /// The sender once more, as the memory counts it.
    pub sender: Sender,
}

impl PartKey {
    /// `scope`: the caller and the destination, in words.
    pub(crate) fn new(sender: Sender, scope: &[&str], pieces: &[Bytes]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for word in scope {
            context.update(&(word.len() as u64).to_be_bytes());
            context.update(word.as_bytes());
        }
        for piece in pieces {
            context.update(piece);
        }
        PartKey {
            digest: bytes_of(&context.finish()),
            likeness: Likeness::default(),
            sender,
        }
    }

    /// The key of a part of an export.
    pub(crate) fn of_part(scope: &PartScope<'_>, pieces: &[Bytes]) -> Self {
        let PartScope {
            method,
            issuer,
            subject,
            upstream,
            backend,
            project,
            signal,
            export,
            likeness,
            sender,
        } = *scope;
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&export.0);
        for piece in pieces {
            context.update(piece);
        }
        let content = Bytes::copy_from_slice(context.finish().as_ref());
        let words = [
            "export",
            method,
            issuer,
            subject,
            upstream,
            backend,
            project,
            signal.name(),
        ];
        let key = PartKey::new(sender, &words, &[content]);
        PartKey { likeness, ..key }
    }
}

fn bytes_of(digest: &digest::Digest) -> [u8; 32] {
    digest
        .as_ref()
        .first_chunk::<32>()
        .copied()
        .unwrap_or_default()
}

/// What is kept of one part.
struct DeliveredPart {
    /// Counts up, so that the lowest is the oldest.
    number: u64,
    until: UnixMillis,
    said: Option<PartialSuccess>,
}

/// How many parts a sender has, and its oldest. The greatest is the first to lose one: that with the most, and among
/// equals that with the oldest.
type SenderRank = (usize, Reverse<u64>, Sender);

#[derive(Default)]
struct Parts {
    by_key: HashMap<PartKey, DeliveredPart>,
    /// How many of them have this likeness; none is zero.
    by_likeness: HashMap<Likeness, usize>,
    /// Each of them, in the order in which they were remembered.
    by_age: BTreeMap<u64, PartKey>,
    /// The numbers of each sender's; none is empty.
    by_sender: HashMap<Sender, BTreeSet<u64>>,
    ranks: BTreeSet<SenderRank>,
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
    fn insert(&mut self, key: PartKey, until: UnixMillis, said: Option<PartialSuccess>) {
        self.remove(&key);
        let number = self.next;
        self.next += 1;
        self.by_key.insert(
            key,
            DeliveredPart {
                number,
                until,
                said,
            },
        );
        *self.by_likeness.entry(key.likeness).or_default() += 1;
        self.by_age.insert(number, key);
        self.change(key.sender, |numbers| numbers.insert(number));
    }

    fn remove(&mut self, key: &PartKey) {
        let Some(part) = self.by_key.remove(key) else {
            return;
        };
        match self.by_likeness.get_mut(&key.likeness) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.by_likeness.remove(&key.likeness)),
        }
        self.by_age.remove(&part.number);
        self.change(key.sender, |numbers| numbers.remove(&part.number));
    }

    /// Changes the numbers of a sender, and its rank with them.
    fn change(&mut self, sender: Sender, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let rank =
            |numbers: &BTreeSet<u64>| Some((numbers.len(), Reverse(*numbers.first()?), sender));
        let numbers = self.by_sender.entry(sender).or_default();
        if let Some(before) = rank(numbers) {
            self.ranks.remove(&before);
        }
        change(numbers);
        match rank(numbers) {
            Some(after) => drop(self.ranks.insert(after)),
            None => drop(self.by_sender.remove(&sender)),
        }
    }

    /// Forgets what is over, from the oldest on, and what is beyond the bound.
    fn tidy(&mut self, now: UnixMillis) {
        while let Some(oldest) = self.by_age.first_key_value().map(|(_, key)| *key)
            && self
                .by_key
                .get(&oldest)
                .is_none_or(|part| part.until <= now)
        {
            self.remove(&oldest);
        }
        while self.by_key.len() > REMEMBERED_PARTS
            && let Some((_, Reverse(number), _)) = self.ranks.last()
            && let Some(key) = self.by_age.get(number).copied()
        {
            self.remove(&key);
        }
    }
}

impl Remembered {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// The likeness of an export: `sender` is all that tells its sender from others.
    pub(crate) fn likeness(&self, sender: impl Hash, signal: Signal, length: usize) -> Likeness {
        Likeness(self.hasher.hash_one((sender, signal.name(), length)))
    }

    /// `sender` is all that tells a sender from others.
    pub(crate) fn sender(&self, sender: impl Hash) -> Sender {
        Sender(self.hasher.hash_one(sender))
    }

    /// Whether a part of an export like this may be known. If not, none of its keys is needed. Nearly always no lock.
    pub(crate) fn may_know(&self, likeness: Likeness) -> bool {
        !self.is_empty() && self.lock().by_likeness.contains_key(&likeness)
    }

    /// What the backend said when it took this part.
    pub(crate) fn find(&self, key: &PartKey, now: UnixMillis) -> Option<Option<PartialSuccess>> {
        let parts = self.lock();
        let part = parts.by_key.get(key)?;
        (now < part.until).then(|| part.said.clone())
    }

    /// Keeps in mind that the backend took this part.
    pub(crate) fn remember(
        &self,
        key: PartKey,
        mut said: Option<PartialSuccess>,
        until: UnixMillis,
        now: UnixMillis,
    ) {
        if let Some(said) = &mut said {
            let end = (0..=MESSAGE_BYTES)
                .rev()
                .find(|end| said.message.is_char_boundary(*end))
                .unwrap_or(0);
            said.message.truncate(end);
        }
        let mut parts = self.lock();
        parts.insert(key, until, said);
        parts.tidy(now);
        self.count.store(parts.by_key.len(), Ordering::Release);
    }

    /// The export that it belongs to has been answered with success.
    pub(crate) fn forget(&self, key: &PartKey) {
        let mut parts = self.lock();
        parts.remove(key);
        self.count.store(parts.by_key.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock()
    }
}

#[cfg(test)]
mod tests;
