//! Reads that several callers ask alike.
//!
//! What it does: lets those who ask the same at the same time wait for one answer, and keeps good answers for a few
//! seconds where that is configured. What it refuses to know: how the backend is asked, and who asks. Invariants: two
//! questions are the same only if all that shapes the answer is equal, compared by value and never by a digest; a failure
//! is told to those who wait at that moment only; what was asked before a write ended answers no caller who asks after it;
//! a read that one caller gave up, or that is older than `JOIN_LIMIT`, is joined by no further caller; everything is
//! bounded.

use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use moka::sync::Cache;
use tokio::sync::watch;

use crate::apps::{AppPath, BackendId};
use crate::clock::UnixMillis;
use crate::limits::Reservation;
use crate::lock::{Mutex, MutexGuard};
use crate::profiles::OperationId;
use crate::reason::Reason;
use crate::respond::Refusal;

/// Reads under way that others may join; more are asked each for itself.
const FLIGHTS_LIMIT_ENTRIES: usize = 4096;
/// How old a read under way may be for another caller to join it. A backend that hangs would otherwise hold up every
/// caller who asks the same, until its own timeout.
const JOIN_LIMIT: Duration = Duration::from_secs(5);
/// Answers that are kept, with their keys.
const KEPT_LIMIT_BYTES: u64 = 64 << 20;
/// One answer that is kept at most.
const ANSWER_LIMIT_BYTES: usize = 4 << 20;
/// The longest time that an answer is kept; the configuration allows no more.
const KEPT_LIMIT: Duration = Duration::from_secs(60);
/// Projects whose writes are counted apart.
const PROJECTS_LIMIT_ENTRIES: usize = 65_536;

/// All that shapes the answer to a read.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// One snapshot has one policy, one set of credentials and one backend: what another one answers is not the same,
    /// even if it looks alike.
    pub snapshot: u64,
    pub operation: OperationId,
    pub backend: BackendId,
    pub project: Option<String>,
    pub path_and_query: String,
    pub app: AppPath,
    pub bindings: Vec<Arc<str>>,
    pub visible_projects: Vec<Arc<str>>,
    pub(crate) named_in_full: bool,
    /// What links become.
    pub ours: String,
    /// What of the caller's head goes on, by name.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Writes that had ended when it was asked: of the organization, and of the project.
    pub writes: (u64, u64),
}

impl Key {
    fn bytes(&self) -> usize {
        let names = self
            .bindings
            .iter()
            .chain(&self.visible_projects)
            .map(|name| name.len() + 16)
            .sum::<usize>();
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>();
        256 + self.path_and_query.len() + self.ours.len() + names + headers
    }
}

/// Headers by name, for a key.
pub(crate) fn listed(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut listed: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    listed.sort();
    listed
}

type ReadOutcome = Result<Reply, Unanswered>;

/// What is under way and what is kept.
pub(crate) struct Sharing {
    // Held for a lookup and the arithmetic of the budget, never across an await.
    flights: Mutex<HashMap<Arc<Key>, Flight>>,
    kept: Cache<Arc<Key>, Arc<Kept>>,
    writes: Mutex<Writes>,
}

/// A read under way that may be joined.
struct Flight {
    outcome: watch::Receiver<Option<ReadOutcome>>,
    began: UnixMillis,
}

impl Flight {
    /// Whether it is young enough. A clock that was set back makes it too old rather than joinable for long.
    fn may_be_joined(&self, now: UnixMillis) -> bool {
        let age = now.0.saturating_sub(self.began.0);
        u64::try_from(age).is_ok_and(|age| u128::from(age) < JOIN_LIMIT.as_millis())
    }
}

struct Kept {
    reply: KeptReply,
    at: UnixMillis,
}

struct KeptReply {
    status: http::StatusCode,
    headers: HeaderMap,
    body: bytes::Bytes,
}

#[derive(Default)]
struct Writes {
    all: u64,
    projects: HashMap<String, u64>,
}

impl Default for Sharing {
    fn default() -> Self {
        let weigh = |key: &Arc<Key>, kept: &Arc<Kept>| {
            u32::try_from(key.bytes() + kept.reply.body.len() + 1024).unwrap_or(u32::MAX)
        };
        let kept = Cache::builder()
            .weigher(weigh)
            .max_capacity(KEPT_LIMIT_BYTES)
            .time_to_live(KEPT_LIMIT)
            .build();
        Sharing {
            flights: Mutex::default(),
            kept,
            writes: Mutex::default(),
        }
    }
}

/// How a read goes on.
pub(crate) enum Joined {
    /// Another caller asks it already.
    Follow(PendingRead),
    /// It is to be asked, for all who come until it has landed.
    Lead(Leading, PendingRead),
    /// It is to be asked, for oneself.
    Alone,
}

/// Waits for an answer. Dropped before it came, the caller has given up, and no further caller joins this read: who
/// comes again asks anew.
pub(crate) struct PendingRead {
    sharing: Arc<Sharing>,
    key: Arc<Key>,
    outcome: watch::Receiver<Option<ReadOutcome>>,
}

/// The duty to bring an answer. Dropped without one, those who wait are told of a defect.
pub(crate) struct Leading {
    sharing: Arc<Sharing>,
    key: Arc<Key>,
    sender: watch::Sender<Option<ReadOutcome>>,
}

impl PendingRead {
    /// The answer, as the leader's task got it.
    pub(crate) async fn outcome(mut self) -> ReadOutcome {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(defect())),
            Err(_) => Err(defect()),
        }
    }
}

impl Drop for PendingRead {
    fn drop(&mut self) {
        // Once the answer is there, `land` has taken the read out already.
        if self.outcome.borrow().is_none() {
            self.sharing.close(&self.key, &self.outcome);
        }
    }
}

fn defect() -> Unanswered {
    Refusal::new(Reason::InternalDefect).into()
}

impl Leading {
    /// Gives all who wait the answer. Who comes from now on asks anew.
    pub(crate) fn land(self, outcome: ReadOutcome) {
        self.sharing.close(&self.key, &self.sender.subscribe());
        self.sender.send_replace(Some(outcome));
    }

    /// Returns once every caller who waited has given up.
    pub(crate) async fn abandoned(&self) {
        // A read that may still be joined is held by the map of reads as well.
        self.sender.closed().await;
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.sharing.close(&self.key, &self.sender.subscribe());
    }
}

impl Sharing {
    /// Joins the read of this key, or begins it once `charge` was paid.
    pub(crate) fn join(
        self: &Arc<Self>,
        now: UnixMillis,
        key: &Arc<Key>,
        charge: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<Joined, Refusal> {
        let mut flights = self.flights();
        let waiting = |outcome| PendingRead {
            sharing: self.clone(),
            key: key.clone(),
            outcome,
        };
        if let Some(flight) = flights.get(key).filter(|flight| flight.may_be_joined(now)) {
            return Ok(Joined::Follow(waiting(flight.outcome.clone())));
        }
        charge()?;
        if flights.len() >= FLIGHTS_LIMIT_ENTRIES {
            return Ok(Joined::Alone);
        }
        let (sender, outcome) = watch::channel(None);
        // One that is too old keeps those who wait for it, and makes place for this one.
        flights.insert(
            key.clone(),
            Flight {
                outcome: outcome.clone(),
                began: now,
            },
        );
        Ok(Joined::Lead(
            Leading {
                sharing: self.clone(),
                key: key.clone(),
                sender,
            },
            waiting(outcome),
        ))
    }

    /// Takes this very read out of those that may be joined; another may have begun under the same key.
    fn close(&self, key: &Arc<Key>, outcome: &watch::Receiver<Option<ReadOutcome>>) {
        let mut flights = self.flights();
        if flights
            .get(key)
            .is_some_and(|flight| flight.outcome.same_channel(outcome))
        {
            flights.remove(key);
        }
    }

    /// A kept answer that is not older than `most`.
    pub(crate) fn kept(
        &self,
        key: &Arc<Key>,
        most: Duration,
        now: UnixMillis,
        held: Reservation,
    ) -> Option<Reply> {
        let kept = self.kept.get(key)?;
        let age = u64::try_from(now.0.saturating_sub(kept.at.0)).unwrap_or(0);
        if u128::from(age) >= most.as_millis() {
            return None;
        }
        let mut headers = kept.reply.headers.clone();
        headers.insert(http::header::AGE, http::HeaderValue::from(age / 1000));
        let (status, body) = (kept.reply.status, kept.reply.body.clone());
        Some(Reply {
            status,
            headers,
            body,
            held: Arc::new(held),
            source: Source::Cached,
        })
    }

    /// Keeps a good answer.
    pub(crate) fn keep(&self, key: &Arc<Key>, reply: &Reply, now: UnixMillis) {
        if reply.status != http::StatusCode::OK || reply.body.len() > ANSWER_LIMIT_BYTES {
            return;
        }
        let mut headers = reply.headers.clone();
        // They were true for one question.
        for name in [
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ] {
            headers.remove(name);
        }
        // A copy: a slice would keep the whole answer it was cut from, uncounted.
        let body = bytes::Bytes::copy_from_slice(&reply.body);
        let reply = KeptReply {
            status: reply.status,
            headers,
            body,
        };
        self.kept
            .insert(key.clone(), Arc::new(Kept { reply, at: now }));
    }

    /// Writes that have ended: of the organization, and of a project.
    pub(crate) fn writes(&self, project: Option<&str>) -> (u64, u64) {
        let writes = self.writes.lock();
        (
            writes.all,
            project
                .and_then(|project| writes.projects.get(project))
                .copied()
                .unwrap_or(0),
        )
    }

    /// A write to a project, or to the organization, has ended or was given up: who asks from now on asks anew.
    fn written(&self, project: Option<&str>) {
        let mut writes = self.writes.lock();
        match project {
            Some(project) if writes.projects.len() < PROJECTS_LIMIT_ENTRIES => {
                *writes.projects.entry(project.to_owned()).or_default() += 1;
            }
            _ => {
                writes.projects.clear();
                writes.all += 1;
            }
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Arc<Key>, Flight>> {
        // The map is sound after every statement, so a panic elsewhere in a holder's thread spoils nothing.
        self.flights.lock()
    }
}

/// A write under way; however it ends, what was read before it serves no caller after it.
pub(crate) struct Writing {
    sharing: Arc<Sharing>,
    project: Option<String>,
}

impl Writing {
    pub(crate) fn begin(sharing: &Arc<Sharing>, project: Option<&str>) -> Self {
        Writing {
            sharing: sharing.clone(),
            project: project.map(str::to_owned),
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.sharing.written(self.project.as_deref());
    }
}

/// An answer that may be shown to the caller.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub status: StatusCode,
    /// What of the answer's head is passed on.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Holds the answer's place in the memory budget.
    pub held: Arc<Reservation>,
    pub source: Source,
}

impl Reply {
    /// What the backend said to this caller's own question, if it was asked for it.
    pub(crate) fn upstream_status(&self) -> Option<u16> {
        (self.source == Source::Asked).then(|| self.status.as_u16())
    }
}

/// How an answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The backend was asked for it.
    Asked,
    /// The backend was asked for it by another caller with the same permit at the same time.
    Coalesced,
    /// The backend was asked for it a moment ago.
    Cached,
}

/// Why there is none.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered {
    pub refusal: Refusal,
    /// What the backend said, if it said anything.
    pub upstream_status: Option<u16>,
}

impl<E: Into<Refusal>> From<E> for Unanswered {
    fn from(refusal: E) -> Self {
        Unanswered {
            refusal: refusal.into(),
            upstream_status: None,
        }
    }
}
