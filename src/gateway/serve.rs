//! Starting, reloading and stopping.
//!
//! What it does: binds the listeners, swaps houses when files change, and drains before it ends.
//! What it refuses to know: how a plan is read from files; a loader is handed in. Invariants: a reload
//! that fails changes nothing and is seen (log, metric, record, readiness); listeners stay bound; calls
//! in flight finish in their snapshot.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_core::apps::HttpServerOptions;
use pingora_core::protocols::http::v2::server::default_h2_options;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::phases::Phases;
use crate::accept::{Edge, FRAME_LIMIT_BYTES, Stage, Terms, reached};
use crate::audit::{AuditSettings, Record, Trail, timestamp, told_kept};
use crate::call::witness::witness;
use crate::causes::{chain, lines};
use crate::clock::Clock;
use crate::identify::Events;
use crate::limits::Limits;
use crate::lock::Mutex;
use crate::reason::Reason;
use crate::state::{IdentifyEvents, Settings, Shared, Snapshot, StartFault, Unbound, WatchedFiles};
use crate::state::{changes, credentials, watch_sources};
use crate::telemetry::{EventName, Metrics};

/// Reads the files again. Errors are lines for the operator.
pub type Loader = Arc<dyn Fn() -> Result<Settings, Vec<String>> + Send + Sync>;

/// How long a stop waits for the records of calls that were cut.
const CUT_PAUSE: Duration = Duration::from_millis(10);
const CUT_LOOKS: u32 = 100;

/// HTTP/2 windows towards clients, in bytes: what one stream and one connection may have in flight.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

/// A running gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    addresses: Vec<(String, SocketAddr)>,
    terms: Vec<Arc<ArcSwap<Terms>>>,
    audit: AuditSettings,
    stage: watch::Sender<Stage>,
    edges: Mutex<Vec<JoinHandle<()>>>,
    loader: Loader,
    events: Events,
    files: Arc<WatchedFiles>,
    reloading: tokio::sync::Mutex<()>,
}

impl Gateway {
    /// Furnishes the first snapshot, binds and begins to accept. Must run within the runtime that serves.
    pub async fn start(
        plan: Settings,
        loader: Loader,
        clock: Clock,
    ) -> Result<Arc<Self>, Vec<StartFault>> {
        let metrics = Metrics::new().map_err(|error| vec![StartFault::of(error)])?;
        let metrics = Arc::new(metrics);
        let heard = IdentifyEvents::new(metrics.clone());
        let events = Events::to(move |event| heard.tell(&event));
        let snapshot = Snapshot::build(&plan, &clock, &events, None).map_err(StartFault::all)?;
        let trail =
            Trail::open(&plan.audit, clock.clone()).map_err(|fault| vec![StartFault::of(fault)])?;
        let mut sockets = Vec::with_capacity(plan.listeners.len());
        let mut faults = Vec::new();
        for listener in &plan.listeners {
            match TcpListener::bind(listener.address).await {
                Ok(socket) => sockets.push(socket),
                Err(cause) => faults.push(StartFault::of(Unbound {
                    what: format!("listener `{}`", listener.name),
                    address: listener.address,
                    cause,
                })),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let limits = snapshot.limits.clone();
        let terms: Vec<_> = terms(&snapshot)
            .map(|terms| Arc::new(ArcSwap::from_pointee(terms)))
            .collect();
        let shared = Shared::new(snapshot, clock, trail, metrics);
        let http1 = Arc::new(Phases {
            shared: shared.clone(),
        });
        let http2 = Arc::new(proxy(&shared, &limits));
        let (stage, stages) = watch::channel(Stage::Serving);
        let witness = witness(&shared);
        let mut addresses = Vec::new();
        let mut edges = Vec::new();
        for ((socket, terms), listener) in sockets.into_iter().zip(&terms).zip(&plan.listeners) {
            let address = socket
                .local_addr()
                .map_err(|error| vec![StartFault::of(error)])?;
            addresses.push((listener.name.clone(), address));
            let edge = Edge {
                socket,
                terms: terms.clone(),
                http1: http1.clone(),
                http2: http2.clone(),
                connection_limiter: shared.connection_limiter.clone(),
                witness: witness.clone(),
                stage: stages.clone(),
            };
            edges.push(tokio::spawn(edge.run()));
            tracing::info!(listener = listener.name, %address, tls = listener.tls.is_some(), "listening");
        }
        let files = Arc::new(WatchedFiles::new(plan.files, plan.read_at));
        shared
            .metrics
            .reloaded(true, shared.clock.now().0 as f64 / 1000.0);
        shared.tell_of_the_process_before();
        let version = concat!("lightkeeper ", env!("CARGO_PKG_VERSION"));
        let told = version.to_owned() + &told_kept(&plan.audit, &plan.policy, true);
        shared.event(EventName::Start, Reason::Started, Some(told));
        shared.revoked_by_file(None);
        tokio::spawn(watch_sources(Arc::downgrade(&shared)));
        Ok(Arc::new(Gateway {
            shared,
            addresses,
            terms,
            audit: plan.audit,
            stage,
            edges: Mutex::new(edges),
            loader,
            events,
            files,
            reloading: tokio::sync::Mutex::new(()),
        }))
    }

    /// Listener names and the addresses they are bound to.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads the files again and swaps the snapshot, or keeps the present one and says why.
    pub async fn reload(&self) -> Result<(), Vec<String>> {
        let _one_at_a_time = self.reloading.lock().await;
        let (loader, files) = (self.loader.clone(), self.files.clone());
        let read = tokio::task::spawn_blocking(move || (files.read(), loader())).await;
        let (before, plan) = read.unwrap_or_else(|_| {
            let failed = vec!["reading the configuration failed".to_owned()];
            (Default::default(), Err(failed))
        });
        let result = plan.and_then(|plan| self.take_over(plan, &before));
        if result.is_err() {
            self.files.refused(before);
        }
        let now = self.shared.clock.now().0;
        self.shared
            .metrics
            .reloaded(result.is_ok(), now as f64 / 1000.0);
        let mut state = self.shared.reload.lock();
        match &result {
            Ok(()) => {
                state.loaded_at = now;
                state.failed = None;
            }
            Err(errors) => {
                tracing::error!(
                    errors = errors.join("; "),
                    "reload failed: the last good configuration stays"
                );
                self.shared.event(
                    EventName::ReloadFailed,
                    Reason::ConfigurationRefused,
                    Some(errors.join("; ")),
                );
                state.failed = Some((now, errors.clone()));
            }
        }
        result
    }

    /// `before_read`: what the files held before they were read.
    fn take_over(&self, plan: Settings, before_read: &changes::Digests) -> Result<(), Vec<String>> {
        let before = self.shared.snapshot.load_full();
        let same_doors = plan.listeners.len() == before.listeners.len()
            && plan
                .listeners
                .iter()
                .zip(&before.listeners)
                .all(|(new, old)| {
                    new.name == old.listener.name && new.address == old.listener.address
                });
        if !same_doors {
            return Err(vec![
                "listeners' names and addresses can only change by a restart".to_owned(),
            ]);
        }
        if !plan.audit.is_same_trail(&self.audit) {
            let why = "`audit` can only change by a restart, but for its sinks";
            return Err(vec![why.to_owned()]);
        }
        Trail::probe_sinks(&plan.audit.sinks, &self.shared.clock)
            .map_err(|fault| vec![chain(&StartFault::of(fault))])?;
        let built = Snapshot::build(&plan, &self.shared.clock, &self.events, Some(&before));
        let mut snapshot = built.map_err(|faults| lines(&faults))?;
        let read = changes::digests(&plan.files);
        let now = self.shared.clock.now();
        let changed = changes::changes(&before, &snapshot, (&self.files.known(), &read), now);
        // Before the swap: no connection may be judged by old trust in the new snapshot.
        snapshot.settle();
        for (present, next) in self.terms.iter().zip(terms(&snapshot)) {
            present.store(Arc::new(next));
        }
        let version = snapshot.policy.version().to_owned();
        self.shared.snapshot.store(Arc::new(snapshot));
        self.files.taken_over(before_read, read, plan.read_at);
        self.shared.trail.renew(&plan.audit.sinks);
        // Behind the swap: a disk that hangs does not keep the old policy in force.
        let is_new = before.policy.version() != version;
        let changed = changed + &told_kept(&self.audit, &plan.policy, is_new);
        tracing::info!(
            policy_version = version,
            changed,
            "configuration taken over"
        );
        self.shared.trail.note(Record {
            time: timestamp(self.shared.clock.now().0),
            request_id: self.shared.request_id(),
            event: EventName::Reload,
            reason: Reason::ConfigurationTakenOver,
            detail: Some(changed.into()),
            policy_version: version,
            ..Record::default()
        });
        self.shared.revoked_by_file(Some(&before));
        Ok(())
    }

    /// Reloads whenever a watched file changes, and follows the store of secrets, until the gateway stops.
    pub async fn watch(self: Arc<Self>) {
        let mut stage = self.stage.subscribe();
        // A failure is told by `reload` itself.
        let watching = self.files.watch(|| async { drop(self.reload().await) });
        tokio::select! {
            () = reached(&mut stage, Stage::Draining) => {}
            () = watching => {}
            () = credentials::follow(&self.shared) => {}
        }
    }

    /// Says "not ready", waits, stops accepting, lets calls finish, cuts what is left, writes the last
    /// records.
    pub async fn stop(&self) {
        let limits = self.shared.snapshot.load().limits.clone();
        self.shared.draining.store(true, Ordering::Relaxed);
        tracing::info!("draining");
        tokio::time::sleep(limits.drain_delay).await;
        let _ = self.stage.send(Stage::Draining);
        let until = tokio::time::Instant::now() + limits.drain_timeout;
        let edges = std::mem::take(&mut *self.edges.lock());
        let aborts: Vec<_> = edges.iter().map(JoinHandle::abort_handle).collect();
        let finish = async {
            for edge in edges {
                // An edge that panicked has ended too.
                let _ = edge.await;
            }
        };
        tokio::pin!(finish);
        if tokio::time::timeout(limits.drain_timeout, &mut finish)
            .await
            .is_err()
        {
            tracing::warn!(
                connections = self.shared.connection_limiter.total(),
                "drain timeout: connections are cut"
            );
            // The calls first: cut with their connection, they would say that the client went.
            self.shared.cut.send_replace(true);
            let _ = self.stage.send(Stage::Stopped);
            if tokio::time::timeout(Duration::from_secs(1), &mut finish)
                .await
                .is_err()
            {
                aborts.iter().for_each(tokio::task::AbortHandle::abort);
            }
        }
        // HTTP/2 calls are tasks of their own, which end a moment after their connection.
        let mut looks = 0;
        while self.shared.in_flight.load(Ordering::Acquire) > 0 && looks < CUT_LOOKS {
            looks += 1;
            tokio::time::sleep(CUT_PAUSE).await;
        }
        // Calls were to be mirrored until their end.
        self.shared.drain_mirrors(until).await;
        self.shared.event(EventName::Stop, Reason::Stopped, None);
        let shared = self.shared.clone();
        let _ =
            tokio::task::spawn_blocking(move || shared.trail.close(Duration::from_secs(5))).await;
        tracing::info!("stopped");
    }
}

/// What each listener's accept loop needs of a snapshot.
fn terms(snapshot: &Snapshot) -> impl Iterator<Item = Terms> {
    snapshot.listeners.iter().map(|listener| Terms {
        listener: listener.listener.clone(),
        tls: listener.tls.clone(),
        limits: snapshot.limits.clone(),
    })
}

/// The framework's proxy with our phases and bounds.
fn proxy(shared: &Arc<Shared>, limits: &Limits) -> HttpProxy<Phases> {
    let conf = ServerConf {
        // Trust anchors are given with each peer; an unreadable system root must not end the start.
        ca_file: Some("/dev/null".to_owned()),
        max_retries: 3,
        upstream_keepalive_pool_size: 512,
        threads: tokio::runtime::Handle::current().metrics().num_workers(),
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(
        &Arc::new(conf),
        Phases {
            shared: shared.clone(),
        },
    );
    let mut options = HttpServerOptions::default();
    // CONNECT is refused by us, where it leaves a record.
    options.allow_connect_method_proxying = true;
    options.h2_idle_timeout = Some(limits.idle_timeout);
    proxy.server_options = Some(options);
    let mut h2 = default_h2_options();
    h2.max_concurrent_streams(limits.streams)
        // Counted with 32 bytes for each line (RFC 9113 section 6.5.2): our own count, which leaves a record,
        // comes first.
        .max_header_list_size(
            limits
                .header_bytes
                .saturating_add(limits.header_count.saturating_mul(64)),
        )
        .max_pending_accept_reset_streams(10)
        .max_concurrent_reset_streams(20)
        .max_send_buffer_size(256 << 10)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_LIMIT_BYTES);
    proxy.h2_options = Some(h2);
    proxy
}
