//! An issuer's keys, or an authority's, while the gateway runs.
//!
//! What it does: keeps the last good set, reads it anew from time to time, and ahead of time when a
//! token names a key that is not there. What it refuses to know: tokens, and how a set is read.
//! Invariants: one task an issuer does all readings, so there is never more than one at a time; strangers
//! can cause at most one reading in `FORCED_INTERVAL`, wait for it at most `FORCED_WAIT` and make nothing
//! grow; a removed key is gone with the reading that misses it; a reading that fails changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::clock::{Clock, UnixMillis};
use crate::lock::{Mutex, MutexGuard};

use super::event::{Event, Events, shown};
use super::fetch::{Fetch, FetchError, FetchFault, Fetched};
use super::keys::{KeySet, KeySetFault};

/// Between two readings that tokens caused.
pub(super) const FORCED_INTERVAL: Duration = Duration::from_secs(30);

/// How long a caller waits for keys that are being read.
pub(super) const FORCED_WAIT: Duration = Duration::from_secs(3);

/// Between regular readings at least, whatever the configuration or the issuer say.
const REFRESH_FLOOR: Duration = Duration::from_secs(60);

/// After a failure; doubles up to the limit.
const RETRY_FLOOR: Duration = Duration::from_secs(1);
const RETRY_LIMIT: Duration = Duration::from_secs(60);

/// What is kept: read out of a document, and told from what was read before.
pub(super) trait ReadSet: Send + Sync + Sized + 'static {
    /// Differs between any two sets of different content in this process.
    fn stamp(&self) -> u64;

    fn len(&self) -> usize;

    /// This set, under the other's stamp if it holds the same.
    fn continuing(self, previous: Option<&Self>) -> Self;
}

impl ReadSet for KeySet {
    fn stamp(&self) -> u64 {
        self.stamp
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn continuing(self, previous: Option<&Self>) -> Self {
        self.continuing(previous)
    }
}

/// How a document is read.
pub(super) type ReadDocument<K> = Box<dyn Fn(&[u8]) -> Result<K, KeySetFault> + Send + Sync>;

/// What the keys of one issuer are kept by.
pub(super) struct Upkeep<K = KeySet> {
    pub issuer: Arc<str>,
    pub read: ReadDocument<K>,
    pub refresh: Duration,
    pub stale: Duration,
    pub clock: Clock,
    pub events: Events,
}

/// The keys and the task that keeps them; the task ends with it.
pub(super) struct LiveKeys<K: ReadSet = KeySet> {
    shared: Arc<KeyRefresh<K>>,
    task: Option<AbortHandle>,
}

/// What came of asking for newer keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefreshOutcome {
    /// A reading has ended since: look again.
    Read,
    /// Not now: one was made a moment ago.
    NotNow,
    /// The reading takes longer than a caller may wait.
    TimedOut,
}

/// The state of one issuer's keys, for readiness and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerStatus {
    pub issuer: Arc<str>,
    /// Whether the first reading has ended, well or not (`OutboundBounds::ISSUER` at most); true for keys out of a file.
    pub tried: bool,
    /// Whether tokens of this issuer can be judged now.
    pub has_keys: bool,
    pub keys: usize,
    /// Since the last good reading; `None` if there was none or the keys come from a file.
    pub(crate) age_seconds: Option<i64>,
    /// Why the last reading failed; `None` if it did not.
    pub(crate) last_fault: Option<FetchFault>,
}

struct KeyRefresh<K> {
    upkeep: Upkeep<K>,
    keys: ArcSwapOption<K>,
    /// When the keys were last read, Unix milliseconds; `i64::MAX` for those that never age.
    read_at: AtomicI64,
    flight: Mutex<Flight>,
    wanted: Notify,
    /// Counts readings that have ended, well or not.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct Flight {
    under_way: bool,
    forced_at: Option<Instant>,
    last_fault: Option<FetchFault>,
    host: Option<String>,
}

impl<K: ReadSet> LiveKeys<K> {
    /// Keys out of a file: they never age and are never read anew.
    pub(super) fn fixed(upkeep: Upkeep<K>, keys: K) -> Self {
        let shared = KeyRefresh::new(upkeep);
        shared.read_at.store(i64::MAX, Ordering::Relaxed);
        shared.keys.store(Some(Arc::new(keys)));
        LiveKeys {
            shared: Arc::new(shared),
            task: None,
        }
    }

    /// Begins reading at once. `previous`: the keys of the same place under an earlier configuration,
    /// used until the first reading ends.
    pub(super) fn start(
        upkeep: Upkeep<K>,
        source: Box<dyn Fetch>,
        previous: Option<&Self>,
        runtime: &Handle,
    ) -> Self {
        let shared = KeyRefresh::new(upkeep);
        if let Some(previous) = previous {
            shared.read_at.store(
                previous.shared.read_at.load(Ordering::Relaxed),
                Ordering::Relaxed,
            );
            shared.keys.store(previous.shared.keys.load_full());
        }
        shared.flight().under_way = true;
        let shared = Arc::new(shared);
        let task = runtime.spawn(keep(shared.clone(), source)).abort_handle();
        LiveKeys {
            shared,
            task: Some(task),
        }
    }

    /// The keys, unless they are missing or too old at `now`.
    pub(super) fn current(&self, now: UnixMillis) -> Option<Guard<Option<Arc<K>>>> {
        let read_at = self.shared.read_at.load(Ordering::Relaxed);
        let stale = i64::try_from(self.shared.upkeep.stale.as_millis()).unwrap_or(i64::MAX);
        if now.0.saturating_sub(read_at) > stale {
            return None;
        }
        let keys = self.shared.keys.load();
        keys.is_some().then_some(keys)
    }

    /// Whether the last reading failed, so that a key which we do not know may exist all the same.
    pub(super) fn failing(&self) -> bool {
        self.shared.flight().last_fault.is_some()
    }

    /// Asks for newer keys because a token names `key_id`, and waits until `deadline` at most.
    pub(super) async fn ask(&self, key_id: Option<&str>, deadline: Instant) -> RefreshOutcome {
        if self.task.is_none() {
            return RefreshOutcome::NotNow;
        }
        let (mut ended, forced) = {
            let mut flight = self.shared.flight();
            let forced = !flight.under_way;
            if forced {
                let now = Instant::now();
                if flight
                    .forced_at
                    .is_some_and(|at| now.duration_since(at) < FORCED_INTERVAL)
                {
                    return RefreshOutcome::NotNow;
                }
                flight.forced_at = Some(now);
                flight.under_way = true;
                self.shared.wanted.notify_one();
            }
            // Subscribed under the lock: the reading that is waited for cannot have ended before.
            (self.shared.ended.subscribe(), forced)
        };
        if forced {
            let Upkeep { issuer, events, .. } = &self.shared.upkeep;
            events.report(Event::KeyWanted {
                issuer: issuer.clone(),
                key_id: shown(key_id.unwrap_or_default()),
            });
        }
        match tokio::time::timeout_at(deadline, ended.changed()).await {
            Ok(_) => RefreshOutcome::Read,
            Err(_) => RefreshOutcome::TimedOut,
        }
    }

    /// Waits until the first reading has ended, well or not.
    pub(super) async fn settled(&self) {
        if self.task.is_some() {
            // The sender lives as long as `self`, so waiting cannot fail.
            let _ = self
                .shared
                .ended
                .subscribe()
                .wait_for(|count| *count > 0)
                .await;
        }
    }

    pub(super) fn status(&self, now: UnixMillis) -> IssuerStatus {
        let keys = self.current(now);
        let read_at = self.shared.read_at.load(Ordering::Relaxed);
        let read = read_at != i64::MIN && read_at != i64::MAX;
        IssuerStatus {
            issuer: self.shared.upkeep.issuer.clone(),
            tried: keys.is_some() || self.task.is_none() || *self.shared.ended.borrow() > 0,
            has_keys: keys.is_some(),
            keys: keys
                .and_then(|keys| keys.as_ref().map(|keys| keys.len()))
                .unwrap_or(0),
            age_seconds: read.then(|| now.0.saturating_sub(read_at).max(0) / 1000),
            last_fault: self.shared.flight().last_fault,
        }
    }
}

impl<K: ReadSet> Drop for LiveKeys<K> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl<K: ReadSet> KeyRefresh<K> {
    fn new(upkeep: Upkeep<K>) -> Self {
        KeyRefresh {
            upkeep,
            keys: ArcSwapOption::empty(),
            read_at: AtomicI64::new(i64::MIN),
            flight: Mutex::default(),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
        }
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock()
    }

    /// Takes a fetched document in. Returns how long the issuer wants it kept.
    fn take(&self, fetched: Fetched) -> Result<Option<Duration>, FetchError> {
        let keys = (self.upkeep.read)(&fetched.document)
            .map_err(|fault| FetchError::from(FetchFault::Keys(fault)))?;
        let previous = self.keys.load_full();
        let keys = keys.continuing(previous.as_deref());
        let changed = previous.is_none_or(|previous| previous.stamp() != keys.stamp());
        let count = keys.len();
        // INVARIANT: the keys first, then their time: a reader between the two sees new keys as old ones,
        // never old keys as new.
        self.keys.store(Some(Arc::new(keys)));
        self.read_at
            .store(self.upkeep.clock.now().0, Ordering::Relaxed);
        let moved_from = self
            .flight()
            .host
            .replace(fetched.host.clone())
            .filter(|host| *host != fetched.host);
        let issuer = self.upkeep.issuer.clone();
        if let Some(from) = moved_from {
            self.upkeep.events.report(Event::KeysMoved {
                issuer: issuer.clone(),
                from,
                to: fetched.host,
            });
        }
        self.upkeep.events.report(Event::KeysRefreshed {
            issuer,
            keys: count,
            changed,
        });
        Ok(fetched.max_age)
    }
}

/// The task of one issuer. Ends when it is aborted.
async fn keep<K: ReadSet>(shared: Arc<KeyRefresh<K>>, source: Box<dyn Fetch>) {
    let mut retry = RETRY_FLOOR;
    loop {
        let outcome = source
            .fetch()
            .await
            .and_then(|fetched| shared.take(fetched));
        let pause = match &outcome {
            Ok(max_age) => {
                retry = RETRY_FLOOR;
                max_age
                    .unwrap_or(shared.upkeep.refresh)
                    .min(shared.upkeep.refresh)
                    .max(REFRESH_FLOOR)
            }
            Err(_) => {
                let pause = retry;
                retry = (retry * 2).min(RETRY_LIMIT);
                pause
            }
        };
        let last_fault = outcome.as_ref().err().map(|error| error.fault);
        if let Err(FetchError { fault, detail }) = outcome {
            let issuer = shared.upkeep.issuer.clone();
            shared.upkeep.events.report(Event::KeysRefreshFailed {
                issuer,
                fault,
                detail,
            });
        }
        {
            let mut flight = shared.flight();
            flight.under_way = false;
            flight.last_fault = last_fault;
            shared.ended.send_modify(|count| *count += 1);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.wanted.notified() => {}
            () = source.changed() => {}
        }
        shared.flight().under_way = true;
        // A caller may have asked just as the pause ended: this reading is its answer, too.
        tokio::select! {
            biased;
            () = shared.wanted.notified() => {}
            () = std::future::ready(()) => {}
        }
    }
}
