//! What was had of a store last.
//!
//! What it does: keeps each secret's current version, the one before, and a newer one that waits to be tried. What it refuses
//! to know: how they are had and tried. Invariants: it has as many entries as secrets are referred to; a version that waits
//! becomes current only by `promote`, but where there is none yet; what the store does not confirm is withdrawn when it is
//! stale, and comes back once it does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{SecretVersion, StoreFault, StoredRef, Versions};
use crate::clock::UnixMillis;
use crate::lock::Mutex;

/// Between two looks for a secret that the store never gave.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// Between two tries of a version that was not taken: backends take minutes until they know a new one.
const TRY_PAUSE: Duration = Duration::from_secs(5);

/// Versions of secrets, kept while the process lives.
#[derive(Default)]
pub(crate) struct Shelf {
    entries: Mutex<BTreeMap<StoredRef, ShelfEntry>>,
    /// Changes with what is to serve.
    generation: AtomicU64,
}

/// One secret's versions. Holds the secrets; what is shown of it is `ShelfState`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShelfEntry {
    pub(crate) current: Option<SecretVersion>,
    pub(crate) previous: Option<SecretVersion>,
    /// Newer than the current one, and not tried yet, or refused.
    pub(crate) pending: Option<SecretVersion>,
    /// Why the one that waits was not taken when it was tried.
    pub(crate) pending_refused: Option<&'static str>,
    /// When the store gave or confirmed a version.
    pub(crate) confirmed_at: Option<UnixMillis>,
    /// When the current one became current here.
    pub(crate) promoted_at: Option<UnixMillis>,
    /// Why the last look failed.
    pub(crate) fault: Option<String>,
    pub(crate) fault_code: Option<&'static str>,
    next_look: Option<UnixMillis>,
    /// When the one that waits is tried again.
    next_try: Option<UnixMillis>,
    is_withdrawn: bool,
}

/// Where a secret is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShelfState {
    /// The store never gave it.
    Absent,
    /// The store gave it or confirmed it when it was looked at last.
    Current,
    /// A newer version waits to be tried.
    Pending,
    /// A newer version was tried, and the backend refuses it.
    Refused,
    /// The store is away, or has it no longer; what was had last serves.
    Unconfirmed,
    /// It was not confirmed for too long, and does not serve any more.
    Stale,
}

impl ShelfState {
    pub(crate) const ALL: [ShelfState; 6] = [
        ShelfState::Absent,
        ShelfState::Current,
        ShelfState::Pending,
        ShelfState::Refused,
        ShelfState::Unconfirmed,
        ShelfState::Stale,
    ];

    pub(crate) fn code(self) -> &'static str {
        match self {
            ShelfState::Absent => "absent",
            ShelfState::Current => "current",
            ShelfState::Pending => "pending",
            ShelfState::Refused => "refused",
            ShelfState::Unconfirmed => "unconfirmed",
            ShelfState::Stale => "stale",
        }
    }
}

impl ShelfEntry {
    pub(crate) fn state(&self) -> ShelfState {
        match (&self.current, &self.pending) {
            (None, _) => ShelfState::Absent,
            _ if self.is_withdrawn => ShelfState::Stale,
            _ if self.fault.is_some() => ShelfState::Unconfirmed,
            (_, Some(_)) if self.pending_refused.is_some() => ShelfState::Refused,
            (_, Some(_)) => ShelfState::Pending,
            _ => ShelfState::Current,
        }
    }

    /// The newest that the store gave.
    fn known(&self) -> Option<u64> {
        let newest = self.pending.as_ref().or(self.current.as_ref());
        newest.map(|version| version.number)
    }
}

impl Shelf {
    /// Forgets what nothing refers to any more.
    pub(crate) fn retain(&self, wanted: &[StoredRef]) {
        let mut entries = self.entries.lock();
        entries.retain(|reference, _| wanted.contains(reference));
        for reference in wanted {
            entries.entry(reference.clone()).or_default();
        }
    }

    /// Changes whenever something else is to serve.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The secrets that the store is to be asked for now, with the newest version that is known.
    pub(crate) fn due(&self, now: UnixMillis) -> Vec<(StoredRef, Option<u64>)> {
        let entries = self.entries.lock();
        let due = entries
            .iter()
            .filter(|(_, entry)| entry.next_look.is_none_or(|at| at <= now));
        due.map(|(reference, entry)| (reference.clone(), entry.known()))
            .collect()
    }

    /// What serves of a secret: the current version, and the one before.
    pub(crate) fn serving(&self, reference: &StoredRef) -> Vec<SecretVersion> {
        let entries = self.entries.lock();
        let entry = entries.get(reference).filter(|entry| !entry.is_withdrawn);
        let versions = entry.map(|entry| [&entry.current, &entry.previous]);
        let versions = versions.into_iter().flatten().flatten();
        versions.cloned().collect()
    }

    /// The versions that are to be tried now.
    pub(crate) fn to_try(&self, now: UnixMillis) -> Vec<(StoredRef, SecretVersion)> {
        let entries = self.entries.lock();
        let due = entries
            .iter()
            .filter(|(_, entry)| entry.next_try.is_none_or(|at| at <= now));
        due.filter_map(|(reference, entry)| Some((reference.clone(), entry.pending.clone()?)))
            .collect()
    }

    /// The versions that wait.
    pub(crate) fn waiting(&self) -> Vec<(StoredRef, SecretVersion)> {
        let entries = self.entries.lock();
        let waiting = entries
            .iter()
            .filter_map(|(reference, entry)| Some((reference.clone(), entry.pending.clone()?)));
        waiting.collect()
    }

    /// All of them.
    pub(crate) fn entries(&self) -> BTreeMap<StoredRef, ShelfEntry> {
        self.entries.lock().clone()
    }

    /// The store answered: with versions, or that nothing is newer. Tells whether a version became current at once, because
    /// there was none.
    pub(crate) fn offer(
        &self,
        reference: &StoredRef,
        told: Option<Versions>,
        now: UnixMillis,
        every: Duration,
    ) -> bool {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(reference) else {
            return false;
        };
        let was_withdrawn = std::mem::take(&mut entry.is_withdrawn);
        entry.confirmed_at = Some(now);
        entry.fault = None;
        entry.fault_code = None;
        entry.next_look = Some(after(now, every));
        let mut is_first = false;
        let waited = entry.pending.as_ref().map(|version| version.number);
        if let Some(Versions { current, previous }) = told {
            let is_current = |known: &SecretVersion| known.number == current.number;
            if entry.current.as_ref().is_some_and(is_current) {
                // The store went back to it.
                entry.pending = None;
                entry.pending_refused = None;
            } else if entry.current.is_none() {
                entry.current = Some(current);
                entry.previous = previous;
                entry.promoted_at = Some(now);
                is_first = true;
            } else {
                entry.pending = Some(current);
                entry.pending_refused = None;
                entry.next_try = None;
            }
        }
        // One that waits serves nothing, and is looked for in answers.
        let waits = entry.pending.as_ref().map(|version| version.number);
        if is_first || was_withdrawn || waits != waited {
            self.generation.fetch_add(1, Ordering::Release);
        }
        is_first
    }

    /// The store gave none. Tells whether the secret ceases to serve with this.
    pub(crate) fn failed(
        &self,
        reference: &StoredRef,
        fault: &StoreFault,
        now: UnixMillis,
        (every, stale): (Duration, Duration),
    ) -> bool {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(reference) else {
            return false;
        };
        entry.fault = Some(fault.to_string());
        entry.fault_code = Some(fault.code());
        // What never came is looked for more often: callers wait for it.
        let pause = if entry.current.is_some() {
            every
        } else {
            every.min(FIRST_PAUSE)
        };
        entry.next_look = Some(after(now, pause));
        let ends = entry.confirmed_at.map(|at| after(at, stale));
        let ends_now = !entry.is_withdrawn && ends.is_some_and(|ends| ends <= now);
        if ends_now {
            entry.is_withdrawn = true;
            self.generation.fetch_add(1, Ordering::Release);
        }
        ends_now
    }

    /// A version that waited serves from now on, and the one that was current becomes the one before. False: another one
    /// waits by now.
    pub(crate) fn promote(&self, reference: &StoredRef, number: u64, now: UnixMillis) -> bool {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(reference) else {
            return false;
        };
        let Some(version) = entry.pending.take_if(|waiting| waiting.number == number) else {
            return false;
        };
        entry.pending_refused = None;
        entry.previous = entry.current.replace(version);
        entry.promoted_at = Some(now);
        self.generation.fetch_add(1, Ordering::Release);
        true
    }

    /// A version that waits was not taken. Tells whether that is news.
    pub(crate) fn refuse(
        &self,
        reference: &StoredRef,
        number: u64,
        (why, now): (&'static str, UnixMillis),
    ) -> bool {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(reference).filter(|entry| {
            let waiting = entry.pending.as_ref();
            waiting.is_some_and(|waiting| waiting.number == number)
        });
        entry.is_some_and(|entry| {
            entry.next_try = Some(after(now, TRY_PAUSE));
            entry.pending_refused.replace(why) != Some(why)
        })
    }
}

fn after(at: UnixMillis, pause: Duration) -> UnixMillis {
    let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
    UnixMillis(at.0.saturating_add(pause))
}
