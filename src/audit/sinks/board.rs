//! What the writer of the trail, the sinks and calls know of each other.
//!
//! What it does: says how far the trail is written and sealed, holds each sink's state, and whether calls are refused for one. What
//! it refuses to know: how records are sent. Invariants: a call asks one flag, whatever sinks there are; the flag says what the
//! states said last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio::sync::watch;

use super::settings::SinkFailurePolicy;
use crate::clock::UnixMillis;
use crate::lock::Mutex;

/// How far the trail is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TrailProgress {
    /// The number behind the last line that is written.
    pub next: u64,
    /// What the last checkpoint states.
    pub sealed: u64,
}

/// Shared by the writer, the sinks and calls.
pub(crate) struct SinkBoard {
    progress: watch::Sender<TrailProgress>,
    /// Of the sinks that there are.
    states: Mutex<Vec<Arc<SinkState>>>,
    /// Whether a sink with `refuse` has no room.
    is_full: AtomicBool,
}

/// What is known of one sink; kept over reloads, by its name.
#[derive(Debug)]
pub(super) struct SinkState {
    pub name: String,
    pub kind: &'static str,
    /// Calls are refused once so many records wait.
    refuses_at: AtomicU64,
    /// And once they take so many bytes in memory.
    refuses_at_bytes: AtomicU64,
    waiting_bytes: AtomicU64,
    /// The number behind the last record that was sent, or left out.
    next: AtomicU64,
    /// When what waits for longest happened, in Unix milliseconds; 0: nothing is known to wait.
    oldest: AtomicI64,
    counts: Mutex<SinkCounts>,
}

#[derive(Debug, Default)]
struct SinkCounts {
    sent: u64,
    dropped: BTreeMap<&'static str, u64>,
    failures: BTreeMap<&'static str, u64>,
    /// Why the last try failed; `None`: it did not.
    fault: Option<&'static str>,
    /// What was left out since it was told last.
    gap: Option<SinkGap>,
}

/// Records that a sink never gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SinkGap {
    pub first: u64,
    pub last: u64,
    pub records: u64,
    pub why: &'static str,
}

/// What an operator is told of one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SinkRow {
    pub name: String,
    pub kind: &'static str,
    pub lag_records: u64,
    pub lag_seconds: u64,
    pub sent: u64,
    pub dropped: BTreeMap<&'static str, u64>,
    pub failures: BTreeMap<&'static str, u64>,
    pub fault: Option<&'static str>,
    /// Whether calls are refused for it.
    pub refuses: bool,
}

impl SinkState {
    pub(super) fn new(name: &str, kind: &'static str, next: u64) -> Self {
        SinkState {
            name: name.to_owned(),
            kind,
            refuses_at: AtomicU64::new(u64::MAX),
            refuses_at_bytes: AtomicU64::new(u64::MAX),
            waiting_bytes: AtomicU64::new(0),
            next: AtomicU64::new(next),
            oldest: AtomicI64::new(0),
            counts: Mutex::default(),
        }
    }

    /// `records` and `bytes`: what may wait.
    pub(super) fn set_policy(&self, policy: SinkFailurePolicy, records: u64, bytes: u64) {
        let bound = |most: u64| match policy {
            SinkFailurePolicy::Drop => u64::MAX,
            SinkFailurePolicy::Refuse => most.max(1),
        };
        self.refuses_at.store(bound(records), Ordering::Relaxed);
        self.refuses_at_bytes.store(bound(bytes), Ordering::Relaxed);
    }

    /// So much waits in memory.
    pub(super) fn set_waiting_bytes(&self, bytes: usize) {
        self.waiting_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Where it is.
    pub(super) fn move_to(&self, next: u64) {
        self.next.store(next, Ordering::Relaxed);
    }

    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// What waits for longest happened then; 0: nothing waits.
    pub(super) fn waits_since(&self, unix_millis: i64) {
        self.oldest.store(unix_millis, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, records: u64) {
        let mut counts = self.counts.lock();
        counts.sent = counts.sent.saturating_add(records);
        counts.fault = None;
    }

    /// A try failed. Whether it is the first one of several.
    pub(super) fn failed(&self, fault: &'static str) -> bool {
        let mut counts = self.counts.lock();
        *counts.failures.entry(fault).or_default() += 1;
        counts.fault.replace(fault).is_none()
    }

    /// Whether the last try failed.
    pub(super) fn is_failing(&self) -> bool {
        self.counts.lock().fault.is_some()
    }

    /// These records are not sent.
    pub(super) fn dropped(&self, first: u64, last: u64, records: u64, why: &'static str) {
        let mut counts = self.counts.lock();
        *counts.dropped.entry(why).or_default() += records;
        let gap = counts.gap.get_or_insert(SinkGap {
            first,
            last,
            records: 0,
            why,
        });
        gap.first = gap.first.min(first);
        gap.last = gap.last.max(last);
        gap.records = gap.records.saturating_add(records);
    }

    fn lag(&self, progress: TrailProgress) -> u64 {
        progress.next.saturating_sub(self.next())
    }

    fn refuses(&self, progress: TrailProgress) -> bool {
        self.lag(progress) >= self.refuses_at.load(Ordering::Relaxed)
            || self.waiting_bytes.load(Ordering::Relaxed)
                >= self.refuses_at_bytes.load(Ordering::Relaxed)
    }

    fn row(&self, progress: TrailProgress, now: UnixMillis) -> SinkRow {
        let lag_records = self.lag(progress);
        let oldest = self.oldest.load(Ordering::Relaxed);
        let age = (now.0.saturating_sub(oldest) / 1000).max(0).cast_unsigned();
        let counts = self.counts.lock();
        SinkRow {
            name: self.name.clone(),
            kind: self.kind,
            lag_records,
            lag_seconds: if lag_records == 0 || oldest == 0 {
                0
            } else {
                age
            },
            sent: counts.sent,
            dropped: counts.dropped.clone(),
            failures: counts.failures.clone(),
            fault: counts.fault,
            refuses: self.refuses(progress),
        }
    }

    /// What was left out and not told yet; while it fails it may still grow.
    fn take_gap(&self) -> Option<SinkGap> {
        let mut counts = self.counts.lock();
        match counts.fault {
            Some(_) => None,
            None => counts.gap.take(),
        }
    }
}

impl SinkBoard {
    /// `progress`: what a start found.
    pub(super) fn new(progress: TrailProgress) -> Arc<Self> {
        Arc::new(SinkBoard {
            progress: watch::Sender::new(progress),
            states: Mutex::default(),
            is_full: AtomicBool::new(false),
        })
    }

    pub(super) fn progress(&self) -> TrailProgress {
        *self.progress.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<TrailProgress> {
        self.progress.subscribe()
    }

    /// The trail is so far.
    pub(super) fn advance(&self, change: impl FnOnce(&mut TrailProgress)) {
        self.progress.send_modify(change);
        self.look();
    }

    pub(super) fn set_states(&self, states: Vec<Arc<SinkState>>) {
        *self.states.lock() = states;
        self.look();
    }

    /// Brings the flag up to date: after whatever made a sink's room more or less.
    pub(super) fn look(&self) {
        // The lock keeps the flag from being what an earlier look found.
        let states = self.states.lock();
        let progress = self.progress();
        let is_full = states.iter().any(|state| state.refuses(progress));
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Whether a sink that must have every record has no room.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    pub(crate) fn rows(&self, now: UnixMillis) -> Vec<SinkRow> {
        let progress = self.progress();
        let states = self.states.lock();
        states
            .iter()
            .map(|state| state.row(progress, now))
            .collect()
    }

    /// What sinks left out and now can be told, each once, with the sink's name. `is_asked`: of which sinks, by name.
    pub(crate) fn take_gaps(&self, is_asked: impl Fn(&str) -> bool) -> Vec<(String, SinkGap)> {
        let states = self.states.lock();
        let gaps = states.iter().filter(|state| is_asked(&state.name));
        gaps.filter_map(|state| Some((state.name.clone(), state.take_gap()?)))
            .collect()
    }
}
