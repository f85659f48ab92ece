//! The SPIFFE Workload API: what an agent on this machine gives to this process, as it changes.
//!
//! What it does: keeps one stream to a socket for each kind of answer, and the last that came. What it refuses to know: who
//! uses it, and for what. Invariants: however many use a socket, it is asked once; an answer that cannot be read changes
//! nothing; an SVID counts until its end, also while the socket is away; what comes is bounded in size and pace; a
//! private key is in no message.

mod messages;
mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub(crate) use messages::{JwtBundles, X509Context, certificates};

use crate::clock::{Clock, UnixMillis};
use crate::lock::Mutex;
use stream::Stream;

/// After a failure; doubles up to the limit.
const RETRY_FLOOR: Duration = Duration::from_millis(200);
const RETRY_LIMIT: Duration = Duration::from_secs(15);

/// Between two answers on one stream: one that says something new all the time is heard this often.
const PACE: Duration = Duration::from_millis(50);

/// Why nothing new comes from a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkloadFault {
    /// Nothing answers there, or it broke off.
    Unreachable,
    TimedOut,
    /// The agent knows no identity of this process: there is no registration for it.
    NoIdentity,
    /// Any other status than success.
    Refused,
    TooLarge,
    Malformed,
    /// The answer has no bundle of the trust domain.
    NoBundle,
}

impl WorkloadFault {
    /// A stable code for logs and metrics.
    pub(crate) fn code(self) -> &'static str {
        match self {
            WorkloadFault::Unreachable => "workload_api_unreachable",
            WorkloadFault::TimedOut => "workload_api_timed_out",
            WorkloadFault::NoIdentity => "workload_api_no_identity",
            WorkloadFault::Refused => "workload_api_refused",
            WorkloadFault::TooLarge => "workload_api_too_large",
            WorkloadFault::Malformed => "workload_api_malformed",
            WorkloadFault::NoBundle => "workload_api_no_bundle",
        }
    }
}

/// A kind of answer.
pub(crate) trait WorkloadAnswer: Sized + Send + Sync + 'static {
    /// Of the service `SpiffeWorkloadAPI`.
    const METHOD: &'static str;

    fn read(message: &[u8]) -> Result<Self, WorkloadFault>;

    /// The feeds of this kind that are in use.
    fn feeds() -> &'static Feeds<Self>;
}

/// By socket.
pub(crate) type Feeds<T> = Mutex<BTreeMap<PathBuf, Weak<WorkloadFeed<T>>>>;

static X509_FEEDS: LazyLock<Feeds<X509Context>> = LazyLock::new(Mutex::default);
static JWT_FEEDS: LazyLock<Feeds<JwtBundles>> = LazyLock::new(Mutex::default);

impl WorkloadAnswer for X509Context {
    const METHOD: &'static str = "FetchX509SVID";

    fn read(message: &[u8]) -> Result<Self, WorkloadFault> {
        messages::x509_context(message)
    }

    fn feeds() -> &'static Feeds<Self> {
        &X509_FEEDS
    }
}

impl WorkloadAnswer for JwtBundles {
    const METHOD: &'static str = "FetchJWTBundles";

    fn read(message: &[u8]) -> Result<Self, WorkloadFault> {
        messages::jwt_bundles(message)
    }

    fn feeds() -> &'static Feeds<Self> {
        &JWT_FEEDS
    }
}

/// What a socket gives, as it comes; the stream ends with the last that uses it.
pub(crate) struct WorkloadFeed<T> {
    heard: Arc<Heard<T>>,
    task: AbortHandle,
}

struct Heard<T> {
    socket: PathBuf,
    last: ArcSwapOption<T>,
    fault: Mutex<Option<WorkloadFault>>,
    /// Counts answers and faults.
    turns: watch::Sender<u64>,
}

impl<T: WorkloadAnswer> WorkloadFeed<T> {
    /// The feed of a socket, begun if there is none. Must run within the runtime.
    pub(crate) fn open(socket: &Path) -> Arc<Self> {
        let mut feeds = T::feeds().lock();
        feeds.retain(|_, feed| feed.strong_count() > 0);
        if let Some(known) = feeds.get(socket).and_then(Weak::upgrade) {
            return known;
        }
        let heard = Arc::new(Heard {
            socket: socket.to_owned(),
            last: ArcSwapOption::empty(),
            fault: Mutex::default(),
            turns: watch::Sender::new(0),
        });
        let task = tokio::spawn(listen(heard.clone())).abort_handle();
        let feed = Arc::new(WorkloadFeed { heard, task });
        feeds.insert(socket.to_owned(), Arc::downgrade(&feed));
        feed
    }

    /// What came last.
    pub(crate) fn last(&self) -> Option<Arc<T>> {
        self.heard.last.load_full()
    }

    /// Why nothing new comes now.
    pub(crate) fn fault(&self) -> Option<WorkloadFault> {
        *self.heard.fault.lock()
    }

    /// How many answers and faults there were.
    pub(crate) fn turns(&self) -> u64 {
        *self.heard.turns.borrow()
    }

    /// Waits for a turn after this many.
    pub(crate) async fn after(&self, turns: u64) {
        let mut told = self.heard.turns.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = told.wait_for(|now| *now > turns).await;
    }
}

impl WorkloadFeed<X509Context> {
    /// The certificate and key of this process, unless none came or it is out of date.
    pub(crate) fn own(&self) -> Option<Arc<CertifiedKey>> {
        let last = self.last()?;
        let own = last.own.as_ref()?;
        (Clock::system().now().seconds() <= own.not_after).then(|| own.key.clone())
    }
}

impl<T> Drop for WorkloadFeed<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T> Heard<T> {
    fn failed(&self, fault: WorkloadFault) {
        let before = self.fault.lock().replace(fault);
        if before != Some(fault) {
            let socket = self.socket.display();
            tracing::error!(%socket, fault = fault.code(), "the Workload API gives nothing new: the last counts until its end");
        }
        self.turns.send_modify(|turns| *turns += 1);
    }

    fn came(&self, answer: T) {
        self.last.store(Some(Arc::new(answer)));
        if self.fault.lock().take().is_some() {
            let socket = self.socket.display();
            tracing::info!(%socket, "the Workload API answers again");
        }
        self.turns.send_modify(|turns| *turns += 1);
    }
}

/// The task of a feed. Ends when it is aborted.
async fn listen<T: WorkloadAnswer>(heard: Arc<Heard<T>>) {
    let mut retry = RETRY_FLOOR;
    loop {
        let fault = match Stream::open(&heard.socket, T::METHOD).await {
            Err(fault) => fault,
            Ok(mut stream) => loop {
                let answer = stream.message().await;
                match answer.and_then(|message: Bytes| T::read(&message)) {
                    Ok(answer) => {
                        retry = RETRY_FLOOR;
                        heard.came(answer);
                        tokio::time::sleep(PACE).await;
                    }
                    Err(fault) => break fault,
                }
            },
        };
        heard.failed(fault);
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_LIMIT);
    }
}

/// Gives this process's own certificate to handshakes, as it is when they happen: as a server's, or as a client's.
pub(crate) struct OwnSvid(Arc<WorkloadFeed<X509Context>>);

impl OwnSvid {
    /// Must run within the runtime.
    pub(crate) fn of(socket: &Path) -> Self {
        OwnSvid(WorkloadFeed::open(socket))
    }
}

impl rustls::server::ResolvesServerCert for OwnSvid {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.own()
    }
}

impl rustls::client::ResolvesClientCert for OwnSvid {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.own()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for OwnSvid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OwnSvid").finish_non_exhaustive()
    }
}

/// For how long our certificate from a socket is good, in seconds, or what keeps us from having one.
pub(crate) fn own_seconds(socket: &Path, now: UnixMillis) -> Result<i64, &'static str> {
    let feed = WorkloadFeed::<X509Context>::open(socket);
    let last = feed.last();
    let own = last.as_ref().and_then(|last| last.own.as_ref());
    match own.map(|own| own.not_after.saturating_sub(now.seconds())) {
        Some(left) if left >= 0 => Ok(left),
        Some(_) => Err("it is out of date"),
        None => Err(feed.fault().map_or("none came yet", WorkloadFault::code)),
    }
}

/// What keeps a socket from giving us a new certificate, or has let the last one go out of date. `None` while the first answer is
/// waited for.
pub(crate) fn own_fault(socket: &Path, now: UnixMillis) -> Option<&'static str> {
    let feed = WorkloadFeed::<X509Context>::open(socket);
    if let Some(fault) = feed.fault() {
        return Some(fault.code());
    }
    feed.last()?;
    own_seconds(socket, now).err()
}

#[cfg(test)]
mod tests;
