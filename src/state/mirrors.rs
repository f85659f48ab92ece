//! Copies of telemetry on their way to other backends, which no caller waits for.
//!
//! What it does: holds a bounded queue for each backend, sends what is in it with patience, and tells what became of each
//! copy. What it refuses to know: how a copy is made and sent; that is its `Errand`'s. Invariants: a queue holds no more bytes
//! than its bound, and all queues together no more than leaves half of the memory budget to calls; a copy that has waited for
//! longer than the patience is dropped, whatever is before it; each copy that was taken in ends once, and its end is told; no
//! task runs where nothing waits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::limits::{Account, Reservation};
use crate::lock::Mutex;
use crate::otlp::Signal;
use crate::reason::Reason;
use crate::transform::MirrorSettings;

/// Queues that are remembered; idle ones make room.
const QUEUES: usize = 256;
/// Copies in one queue, each of which costs some hundred bytes besides its own.
const COPIES: usize = 65_536;
/// The first pause before another try, and the longest; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long the end of a drain waits for tasks that have been told to end.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// What a copy is a copy of, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leg {
    pub backend: Arc<str>,
    /// The backend that has it already.
    pub against: Arc<str>,
    pub project: Arc<str>,
    pub signal: Signal,
    pub items: u64,
}

/// What one try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The backend has it, but for so many items.
    Taken { rejected: u64 },
    /// For good.
    Refused(Reason),
    /// It is not to be sent.
    Unwanted(Reason),
    /// It may be tried again, after this time if the backend said so.
    Again(Reason, Option<Duration>),
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MirrorEnd {
    Taken {
        rejected: u64,
    },
    Refused(Reason),
    /// Why; and what its last try came to, if there was one.
    Dropped(Reason, Option<Reason>),
}

pub(crate) type Trying<'a> = Pin<Box<dyn Future<Output = Attempt> + Send + 'a>>;

/// How a copy is sent.
pub(crate) trait Errand: Send {
    fn attempt(&mut self) -> Trying<'_>;
}

/// Is told what becomes of copies.
pub(crate) trait MirrorWitness: Send + Sync {
    fn ended(&self, leg: &Leg, end: MirrorEnd);
}

/// All queues.
pub(crate) struct Mirrors {
    queues: Mutex<BTreeMap<Arc<str>, Queue>>,
    /// Copies that were dropped and have not been told of, by backend and reason: how many, and their items.
    untold: Mutex<HashMap<(Arc<str>, Reason), Dropped>>,
    idle: Notify,
    closed: watch::Sender<bool>,
}

/// Dropped copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub copies: u64,
    pub items: u64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<QueuedCopy>,
    /// Of all that are held, with those that are being sent.
    bytes: u64,
    /// Since when each of them has been held, by its number.
    since: BTreeMap<u64, Instant>,
    next: u64,
    workers: usize,
}

/// One copy in a queue.
struct QueuedCopy {
    leg: Leg,
    errand: Box<dyn Errand>,
    deadline: Instant,
    place: CopyRoom,
}

/// A copy's room in a queue, given back when it is dropped.
struct CopyRoom {
    mirrors: Arc<Mirrors>,
    backend: Arc<str>,
    number: u64,
    bytes: u64,
    _held: Reservation,
}

/// A worker's place among those of its queue.
struct Worker {
    mirrors: Arc<Mirrors>,
    backend: Arc<str>,
    is_counted: bool,
}

/// What an operator sees of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MirrorState {
    pub backend: Arc<str>,
    pub bytes: u64,
    pub oldest: Duration,
}

impl Default for Mirrors {
    fn default() -> Self {
        Mirrors {
            queues: Mutex::default(),
            untold: Mutex::default(),
            idle: Notify::new(),
            closed: watch::Sender::new(false),
        }
    }
}

impl Mirrors {
    /// Takes a copy of `bytes` bytes in, if there is room; `make` is asked only then. The reason says why there is none. Must run
    /// within the runtime.
    pub(crate) fn offer(
        self: &Arc<Self>,
        witness: &Arc<dyn MirrorWitness>,
        settings: &MirrorSettings,
        account: &Account,
        (leg, bytes): (Leg, u64),
        make: impl FnOnce() -> Box<dyn Errand>,
    ) -> Result<(), Reason> {
        let backend = leg.backend.clone();
        let place = self.place(settings, account, &backend, bytes)?;
        let waiting = QueuedCopy {
            leg,
            errand: make(),
            deadline: Instant::now() + settings.patience,
            place,
        };
        let is_new = {
            let mut queues = self.queues.lock();
            let queue = queues.entry(backend.clone()).or_default();
            queue.waiting.push_back(waiting);
            let is_new = queue.workers < settings.parallel.max(1);
            queue.workers += usize::from(is_new);
            is_new
        };
        if is_new {
            let worker = Worker {
                mirrors: self.clone(),
                backend,
                is_counted: true,
            };
            tokio::spawn(worker.work(witness.clone()));
        }
        Ok(())
    }

    fn place(
        self: &Arc<Self>,
        settings: &MirrorSettings,
        account: &Account,
        backend: &Arc<str>,
        bytes: u64,
    ) -> Result<CopyRoom, Reason> {
        if *self.closed.borrow() {
            return Err(Reason::MirrorLate);
        }
        let mut held = account.open();
        let mut queues = self.queues.lock();
        if queues.len() >= QUEUES && !queues.contains_key(backend) {
            queues.retain(|_, queue| !queue.is_idle());
            if queues.len() >= QUEUES {
                return Err(Reason::MirrorFull);
            }
        }
        let queue = queues.entry(backend.clone()).or_default();
        let sum = queue.bytes.saturating_add(bytes);
        if sum > settings.buffer_bytes || queue.since.len() >= COPIES {
            return Err(Reason::MirrorFull);
        }
        held.grow(bytes).map_err(|_| Reason::MirrorFull)?;
        queue.bytes = sum;
        let number = queue.next;
        queue.next += 1;
        queue.since.insert(number, Instant::now());
        Ok(CopyRoom {
            mirrors: self.clone(),
            backend: backend.clone(),
            number,
            bytes,
            _held: held,
        })
    }

    /// What is in each queue.
    pub(crate) fn states(&self) -> Vec<MirrorState> {
        let now = Instant::now();
        let queues = self.queues.lock();
        let state = |(backend, queue): (&Arc<str>, &Queue)| MirrorState {
            backend: backend.clone(),
            bytes: queue.bytes,
            oldest: queue.since.values().next().map_or(Duration::ZERO, |since| {
                now.saturating_duration_since(*since)
            }),
        };
        queues.iter().map(state).collect()
    }

    /// Counts a dropped copy among those that are to be told of.
    pub(crate) fn dropped(&self, backend: &Arc<str>, why: Reason, items: u64) {
        let mut untold = self.untold.lock();
        // Names of backends are the configuration's; what is over the bound is in the metrics alone.
        if untold.len() >= QUEUES && !untold.contains_key(&(backend.clone(), why)) {
            return;
        }
        let counted = untold.entry((backend.clone(), why)).or_default();
        counted.copies += 1;
        counted.items = counted.items.saturating_add(items);
    }

    /// What was dropped since this was asked last.
    pub(crate) fn untold(&self, backend: &Arc<str>, why: Reason) -> Dropped {
        let mut untold = self.untold.lock();
        untold.remove(&(backend.clone(), why)).unwrap_or_default()
    }

    /// The same for all backends and reasons.
    pub(crate) fn all_untold(&self) -> Vec<(Arc<str>, Reason, Dropped)> {
        let untold = std::mem::take(&mut *self.untold.lock());
        let each = untold.into_iter();
        each.map(|((backend, why), dropped)| (backend, why, dropped))
            .collect()
    }

    /// Waits until all queues are empty or `until` has come, and drops what is left. Nothing is taken in from then on.
    pub(crate) async fn drain(&self, until: Instant) {
        self.emptied(until).await;
        self.closed.send_replace(true);
        self.emptied(Instant::now() + END_PATIENCE).await;
    }

    async fn emptied(&self, until: Instant) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            // Before the look: what ends between the two must not be missed.
            idle.as_mut().enable();
            if self.queues.lock().values().all(Queue::is_idle) {
                return;
            }
            if timeout_at(until, idle).await.is_err() {
                return;
            }
        }
    }
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.since.is_empty() && self.workers == 0
    }
}

impl Drop for CopyRoom {
    fn drop(&mut self) {
        let mut queues = self.mirrors.queues.lock();
        if let Some(queue) = queues.get_mut(&self.backend) {
            queue.bytes = queue.bytes.saturating_sub(self.bytes);
            queue.since.remove(&self.number);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It panicked.
        if self.is_counted
            && let Some(queue) = self.mirrors.queues.lock().get_mut(&self.backend)
        {
            queue.workers = queue.workers.saturating_sub(1);
        }
        self.mirrors.idle.notify_waiters();
    }
}

impl Worker {
    /// Sends what waits, until nothing does.
    async fn work(mut self, witness: Arc<dyn MirrorWitness>) {
        let mut closed = self.mirrors.closed.subscribe();
        while let Some(mut one) = self.next() {
            let end = tokio::select! {
                biased;
                _ = closed.wait_for(|is_closed| *is_closed) => MirrorEnd::Dropped(Reason::MirrorLate, None),
                end = carried(one.errand.as_mut(), one.deadline) => end,
            };
            let QueuedCopy { leg, place, .. } = one;
            witness.ended(&leg, end);
            drop(place);
        }
    }

    /// The next one. If there is none, the worker is counted no more: under one lock, so that what comes then finds it gone.
    fn next(&mut self) -> Option<QueuedCopy> {
        let mut queues = self.mirrors.queues.lock();
        let queue = queues.get_mut(&self.backend)?;
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.workers = queue.workers.saturating_sub(1);
            self.is_counted = false;
        }
        next
    }
}

/// Tries until it is known what becomes of a copy.
async fn carried(errand: &mut dyn Errand, deadline: Instant) -> MirrorEnd {
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    loop {
        if Instant::now() >= deadline {
            return MirrorEnd::Dropped(Reason::MirrorLate, last);
        }
        let (why, told) = match timeout_at(deadline, errand.attempt()).await {
            Ok(Attempt::Taken { rejected }) => return MirrorEnd::Taken { rejected },
            Ok(Attempt::Refused(why)) => return MirrorEnd::Refused(why),
            Ok(Attempt::Unwanted(why)) => return MirrorEnd::Dropped(why, last),
            Ok(Attempt::Again(why, told)) => (why, told),
            Err(_) => return MirrorEnd::Dropped(Reason::MirrorLate, last),
        };
        last = Some(why);
        let wait = told.unwrap_or(pause).max(FIRST_PAUSE);
        if deadline.saturating_duration_since(Instant::now()) <= wait {
            return MirrorEnd::Dropped(Reason::MirrorLate, last);
        }
        sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests;
