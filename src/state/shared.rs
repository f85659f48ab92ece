//! What outlives every snapshot: the queue of records, the counters, the budget.
//!
//! What it does: holds the present snapshot and everything that a reload must not reset.
//! What it refuses to know: sockets, phases. Invariant: swapping the snapshot is the only change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::mirrors::{Dropped, Leg, MirrorEnd, MirrorWitness, Mirrors};
use super::work::LargeBodies;
use super::{Snapshot, lacking};
use crate::accept::{Calls, ConnectionLimiter};
use crate::audit::{Record, SinkRow, Trail, timestamp};
use crate::clock::{Clock, UnixMillis};
use crate::identify::IssuerStatus;
use crate::limits::{Budget, FairQueue, FairQueueBounds, LocalMeter, Meter, Penalties, Rates};
use crate::lock::Mutex;
use crate::memory::Remembered;
use crate::memory::alert_states::AlertStates;
use crate::memory::coalesce::Sharing;
use crate::memory::event_rate::{EventRate, with_held_back};
use crate::memory::learned_bounds::LearnedBounds;
use crate::memory::live::LiveStats;
use crate::memory::passing::Passing;
use crate::memory::recent::Recent;
use crate::memory::searches::TrailSearches;
use crate::memory::watches::Watches;
use crate::reason::Reason;
use crate::telemetry::{EventName, LegLabels, Metrics, SinkFigures};
use crate::vault::CredentialRow;
use crate::workload_api;

/// Bodies that are read at once before their sender is known. Callers wait for each other here, and are not refused
/// for each other's failures.
const UNPROVEN_READS: FairQueueBounds = FairQueueBounds {
    places: 256,
    places_per_address: 64,
    waiting: 2048,
    waiting_per_address: 512,
    patience: Duration::from_secs(15),
    held_at_least: Duration::ZERO,
};

/// The gateway's lasting parts.
pub struct Shared {
    pub snapshot: ArcSwap<Snapshot>,
    pub clock: Clock,
    pub trail: Trail,
    pub metrics: Arc<Metrics>,
    pub connection_limiter: Arc<ConnectionLimiter>,
    pub calls: Arc<Calls>,
    pub budget: Arc<Budget>,
    /// Places for work on large bodies.
    pub large: LargeBodies,
    /// What waits for backends that apps are mirrored to.
    pub(crate) mirrors: Arc<Mirrors>,
    /// Parts of exports that are to come again.
    pub remembered: Remembered,
    /// Backends that take less at once than their profiles promise.
    pub(crate) learned_bounds: LearnedBounds,
    /// What the backend last told of alerts.
    pub alert_states: AlertStates,
    /// Messages about alerts, and which destinations took them.
    pub(crate) passed_on: Remembered,
    pub(crate) passing: Arc<Passing>,
    pub(crate) meter: Arc<dyn Meter>,
    pub penalties: Penalties,
    /// Bodies that are read before their sender is known.
    pub(crate) unproven: FairQueue,
    /// What came in lately, and how calls ended, for people who look.
    pub(crate) live: LiveStats,
    pub(crate) recent: Recent,
    /// Searches of the audit trail that run now.
    pub(crate) searches: Arc<TrailSearches>,
    /// The backend's rate limits, divided among callers.
    pub rates: Rates,
    /// Reads under way, and answers of a moment ago.
    pub(crate) sharing: Arc<Sharing>,
    /// Credentials of ours that came back lately.
    pub(crate) event_rate: EventRate,
    /// Health checks that wait for changes.
    pub(crate) watches: Arc<Watches>,
    pub in_flight: AtomicU64,
    pub draining: AtomicBool,
    /// Whether every issuer's keys have once been asked for.
    issuers_tried: AtomicBool,
    /// Whether every secret of the store has once been there.
    credentials_had: AtomicBool,
    /// True once calls that are left are cut.
    pub cut: watch::Sender<bool>,
    pub(crate) reload: Mutex<ReloadState>,
    ids: Ids,
}

/// How the last reload went, for `/readyz`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReloadState {
    /// Unix milliseconds of the configuration in force.
    pub(crate) loaded_at: i64,
    /// Why a later one was not taken over.
    pub failed: Option<(i64, Vec<String>)>,
}

/// Where there are several.
fn at_backend(backend: Option<&str>) -> String {
    backend.map_or_else(String::new, |backend| format!(" at backend {backend}"))
}

/// Each backend, where there are several.
fn backends(snapshot: &Snapshot) -> Vec<BackendReadiness> {
    let names = snapshot.policy.backends();
    let each = names.iter().filter(|_| names.are_several());
    each.map(|(id, name)| BackendReadiness {
        backend: name.to_string(),
        profile: snapshot.profile_of(id).name.clone(),
        is_default: id == names.default,
        has_query: snapshot.is_asked(id),
    })
    .collect()
}

/// What an operator is told about readiness.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Readiness {
    pub(crate) ready: bool,
    pub(crate) draining: bool,
    pub(crate) policy_version: String,
    pub(crate) configuration_loaded: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reload_failed: Option<ReloadFailure>,
    pub(crate) audit: &'static str,
    /// Where records go besides the trail's file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) audit_sinks: Vec<SinkReadiness>,
    /// What keeps it from being ready, or from knowing some callers; for people.
    pub(crate) missing: Vec<String>,
    pub issuers: Vec<IssuerReadiness>,
    /// Where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendReadiness>,
    /// Whose security events can be judged, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) transmitters: Vec<IssuerReadiness>,
}

/// One of several backends. Whether it answers keeps no gateway from being ready: callers are told to come again.
#[derive(Clone, Debug, serde::Serialize)]
pub struct BackendReadiness {
    pub backend: String,
    pub profile: String,
    pub is_default: bool,
    /// Whether it can be asked.
    pub has_query: bool,
}

#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct ReloadFailure {
    pub time: String,
    pub errors: Vec<String>,
}

/// Where records go besides. One that fails keeps no gateway from being ready, unless calls are refused for it.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct SinkReadiness {
    pub sink: String,
    pub kind: &'static str,
    /// `ok`, `failing` or `full`.
    pub state: &'static str,
    pub lag_records: u64,
    pub lag_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<&'static str>,
}

impl From<SinkRow> for SinkReadiness {
    fn from(row: SinkRow) -> Self {
        SinkReadiness {
            sink: row.name,
            kind: row.kind,
            state: match (row.refuses, row.fault) {
                (true, _) => "full",
                (false, Some(_)) => "failing",
                (false, None) => "ok",
            },
            lag_records: row.lag_records,
            lag_seconds: row.lag_seconds,
            last_error: row.fault,
        }
    }
}

/// What a sink lacks now.
fn lacks_sink(row: &SinkRow) -> Option<String> {
    let SinkRow {
        name, lag_records, ..
    } = row;
    if row.refuses {
        return Some(format!(
            "audit sink `{name}`: {lag_records} records wait, so that calls are refused"
        ));
    }
    let fault = row.fault?;
    Some(format!(
        "audit sink `{name}`: it takes nothing ({fault}); {lag_records} records wait"
    ))
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct IssuerReadiness {
    pub issuer: String,
    /// Whether its keys have been asked for once, with whatever outcome.
    pub(crate) tried: bool,
    pub has_keys: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys_age_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Shared {
    pub fn new(snapshot: Snapshot, clock: Clock, trail: Trail, metrics: Arc<Metrics>) -> Arc<Self> {
        // Records that wait are memory, too: what they may take is not there for bodies.
        let budget = Budget::new(
            snapshot
                .limits
                .buffered_total_bytes
                .saturating_sub(trail.limit_bytes()),
        );
        let loaded_at = clock.now().0;
        let calls = Arc::new(Calls::new(snapshot.limits.streams));
        Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            ids: Ids::new(),
            clock,
            trail,
            metrics,
            connection_limiter: Arc::default(),
            calls,
            budget,
            large: LargeBodies::default(),
            mirrors: Arc::default(),
            remembered: Remembered::default(),
            learned_bounds: LearnedBounds::default(),
            alert_states: AlertStates::default(),
            passed_on: Remembered::default(),
            passing: Arc::default(),
            meter: Arc::new(LocalMeter::new()),
            penalties: Penalties::new(),
            unproven: FairQueue::new(UNPROVEN_READS),
            live: LiveStats::default(),
            recent: Recent::default(),
            searches: Arc::default(),
            rates: Rates::default(),
            sharing: Arc::default(),
            event_rate: EventRate::default(),
            watches: Arc::default(),
            in_flight: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            issuers_tried: AtomicBool::new(false),
            credentials_had: AtomicBool::new(false),
            cut: watch::Sender::new(false),
            reload: Mutex::new(ReloadState {
                loaded_at,
                failed: None,
            }),
        })
    }

    /// A fresh request id: 32 hexadecimal digits, ordered by time, unique over restarts.
    pub fn request_id(&self) -> String {
        self.request_id_at(self.clock.now())
    }

    /// The same, of a request that came now.
    pub(crate) fn request_id_at(&self, now: UnixMillis) -> String {
        self.ids.next(now.0)
    }

    /// Records what a process left that did not end cleanly.
    pub(crate) fn tell_of_the_process_before(&self) {
        if let Some(gap) = self.trail.gap() {
            let gap = format!(
                "numbers {} to {}: not given, or their records were lost",
                gap.first, gap.last
            );
            tracing::warn!(gap, "the process before did not end cleanly");
            self.event(EventName::SeqGap, Reason::UncleanStop, Some(gap));
        }
        let cut_bytes = self.trail.cut_bytes();
        if cut_bytes > 0 {
            let cut =
                format!("{cut_bytes} bytes of a line without an end: they stand in a file beside");
            tracing::warn!(cut, "the process before left a line in part");
            self.event(EventName::LineCut, Reason::UncleanStop, Some(cut));
        }
    }

    /// Records something that is not a call.
    pub fn event(&self, event: EventName, reason: Reason, detail: Option<String>) {
        self.metrics.event(event);
        self.trail.note(Record {
            time: timestamp(self.clock.now().0),
            request_id: self.request_id(),
            event,
            reason,
            detail: detail.map(Into::into),
            policy_version: self.snapshot.load().policy.version().to_owned(),
            ..Record::default()
        });
    }

    /// Of what comes with every call while it lasts: says it in the log, and gives what the event is to say, once a minute for
    /// each cause.
    pub(super) fn seldom(
        &self,
        words: &'static str,
        cause: &str,
        detail: String,
    ) -> Option<String> {
        let held_back = self
            .event_rate
            .admit(&format!("{words}: {cause}"), self.clock.now())?;
        let detail = with_held_back(detail, held_back);
        tracing::error!(detail, "{words}");
        Some(detail)
    }

    /// Metric, log line and audit event: an operator must rotate.
    pub fn credential_refused(&self, backend: Option<&str>, project: &str, fingerprint: &str) {
        self.metrics.credential_refused(project);
        let there = at_backend(backend);
        let detail = format!("project {project}{there}, credential with digest {fingerprint}");
        if let Some(detail) = self.seldom(
            "the backend refuses one of our credentials",
            fingerprint,
            detail,
        ) {
            self.event(
                EventName::CredentialRefused,
                Reason::CredentialRefusedByUpstream,
                Some(detail),
            );
        }
    }

    /// Metric, log line and audit event: something else answers in the backend's place, and exports do not arrive.
    pub(crate) fn page_answered(
        &self,
        backend: Option<&str>,
        upstream: &'static str,
        project: &str,
    ) {
        self.metrics.page_answered(upstream);
        let there = at_backend(backend);
        let detail = format!("upstream {upstream}{there}, project {project}");
        let words = "a page came instead of the backend's answer: look at what is between";
        if let Some(detail) = self.seldom(words, &detail.clone(), detail) {
            self.event(EventName::UpstreamPage, Reason::UpstreamPage, Some(detail));
        }
    }

    /// Metric and log line: a backend takes less at once than its profile promises.
    pub(crate) fn bound_learned(&self, upstream: &str, signal: &'static str, bytes: usize) {
        self.metrics.bound_learned(signal);
        tracing::warn!(
            upstream,
            signal,
            bytes,
            "the backend takes less at once than its profile promises: exports are cut smaller for an hour"
        );
    }

    /// Metric, log line and audit event: a credential of ours came back, and was blanked. Where it was kept, the backend
    /// shows it to others as well: an operator must rotate.
    pub fn credential_echoed(&self, project: &str, fingerprint: &str, operation: &str) {
        self.metrics.credential_echoed(project);
        let detail =
            format!("project {project}, credential with digest {fingerprint}, asked: {operation}");
        if let Some(detail) =
            self.seldom("an answer held one of our credentials", fingerprint, detail)
        {
            self.event(
                EventName::CredentialEchoed,
                Reason::UpstreamEchoedCredential,
                Some(detail),
            );
        }
    }

    /// Counts a copy that was dropped, and tells of it once a minute for each backend and reason. `last`: what its last try came
    /// to.
    pub(crate) fn mirror_dropped(&self, leg: &Leg, why: Reason, last: Option<Reason>) {
        let words = "copies for another backend are dropped";
        let cause = format!("{words}: {}: {}", leg.backend, why.code());
        self.mirrors.dropped(&leg.backend, why, leg.items);
        if self.event_rate.admit(&cause, self.clock.now()).is_none() {
            return;
        }
        let dropped = self.mirrors.untold(&leg.backend, why);
        let last = last.map(|last| format!("; the last try: {}", last.code()));
        self.mirrors_told(&leg.backend, why, dropped, &last.unwrap_or_default());
    }

    fn mirrors_told(&self, backend: &str, why: Reason, dropped: Dropped, last: &str) {
        let Dropped { copies, items } = dropped;
        let detail = format!("backend {backend}: {items} items in {copies} copies{last}");
        tracing::error!(
            detail,
            reason = why.code(),
            "copies for another backend are dropped"
        );
        self.event(EventName::MirrorDropped, why, Some(detail));
    }

    /// Sends what waits for other backends until then, and tells what was dropped and not told yet.
    pub(crate) async fn drain_mirrors(&self, until: tokio::time::Instant) {
        self.mirrors.drain(until).await;
        for (backend, why, dropped) in self.mirrors.all_untold() {
            self.mirrors_told(&backend, why, dropped, "");
        }
    }

    /// The truth about readiness: a gateway that cannot identify anybody, cannot record or is about to
    /// stop is not ready; nor is one that has just started and still waits for the first answer of an issuer, which takes some
    /// seconds at most. One that kept its last good configuration is; one that has been ready does not cease to be for an
    /// issuer that a reload brings, because all replicas read it at the same time.
    pub fn readiness(&self) -> Readiness {
        let snapshot = self.snapshot.load();
        let issuers = snapshot.identifier.readiness();
        let mutual = snapshot.identifier.takes_certificates();
        let can_identify =
            mutual || issuers.is_empty() || issuers.iter().any(|issuer| issuer.has_keys);
        if issuers.iter().all(|issuer| issuer.tried) {
            self.issuers_tried.store(true, Ordering::Relaxed);
        }
        let tried = self.issuers_tried.load(Ordering::Relaxed);
        let draining = self.draining.load(Ordering::Relaxed);
        let audit_ok = self.trail.can_record();
        let reload = self.reload.lock().clone();
        let transmitters = snapshot.identifier.transmitters();
        let mut missing: Vec<String> = issuers.iter().filter_map(lacks).collect();
        missing.extend(transmitters.iter().filter_map(lacks_events));
        let mut has_certificates = true;
        for (socket, is_listeners) in snapshot.own_svids() {
            let left = workload_api::own_seconds(&socket, self.clock.now());
            if let Err(why) = left {
                has_certificates &= !is_listeners;
                let socket = socket.display();
                missing.push(format!("no certificate of ours from `{socket}` ({why})"));
            }
        }
        let lacking = lacking::lacking(&snapshot);
        let all_there = lacking.iter().all(|one| !one.is_absent);
        if all_there && !snapshot.vault.is_behind() {
            self.credentials_had.store(true, Ordering::Relaxed);
        }
        let had = self.credentials_had.load(Ordering::Relaxed);
        missing.extend(lacking.into_iter().map(|one| one.words));
        let sinks = self.trail.sinks().rows(self.clock.now());
        let is_written = !self.trail.sinks().is_full();
        missing.extend(
            (!audit_ok && is_written).then(|| "audit records cannot be written".to_owned()),
        );
        missing.extend(sinks.iter().filter_map(lacks_sink));
        missing.extend(draining.then(|| "it is stopping".to_owned()));
        Readiness {
            ready: can_identify && tried && had && has_certificates && audit_ok && !draining,
            draining,
            policy_version: snapshot.policy.version().to_owned(),
            configuration_loaded: timestamp(reload.loaded_at),
            reload_failed: reload.failed.map(|(at, errors)| ReloadFailure {
                time: timestamp(at),
                errors,
            }),
            audit: if audit_ok { "ok" } else { "failing" },
            audit_sinks: sinks.into_iter().map(SinkReadiness::from).collect(),
            missing,
            issuers: issuers.into_iter().map(IssuerReadiness::from).collect(),
            backends: backends(&snapshot),
            transmitters: transmitters
                .into_iter()
                .map(IssuerReadiness::from)
                .collect(),
        }
    }

    /// Which credentials there are, without them. What is told to serve is lent by then, so that the one before can be ended.
    pub(crate) fn credentials(&self) -> Vec<CredentialRow> {
        let snapshot = self.snapshot.load();
        let names = snapshot.policy.backends();
        let rows = snapshot.vault.rows(names, self.clock.now());
        snapshot.with_surroundings(|around| snapshot.vault.refresh(around));
        rows
    }

    /// The metrics page, gauges brought up to date.
    pub fn metrics_page(&self) -> Vec<u8> {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let metrics = &self.metrics;
        metrics
            .connections
            .set(i64::from(self.connection_limiter.total()));
        metrics
            .in_flight
            .set(gauge(self.in_flight.load(Ordering::Relaxed)));
        metrics.buffered_bytes.set(gauge(self.budget.used_bytes()));
        let health = self.trail.health();
        metrics.audit_written.set(gauge(health.written_records()));
        metrics.audit_lost.set(gauge(health.lost_records()));
        metrics
            .audit_queued_bytes
            .set(gauge(self.trail.queued_bytes()));
        metrics.audit_failing.set(i64::from(health.is_failing()));
        let sinks = self.trail.sinks().rows(self.clock.now());
        metrics.sinks(&sinks.iter().map(figures).collect::<Vec<_>>());
        let snapshot = self.snapshot.load();
        let identifier = &snapshot.identifier;
        let (listed, heard) = identifier.revoked();
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.revocation_entries(gauge(listed), gauge(heard));
        lacking::count(metrics, &snapshot, self.clock.now());
        let issuers = identifier.readiness().into_iter();
        for issuer in issuers.chain(identifier.transmitters()) {
            let age = if issuer.has_keys {
                issuer.age_seconds.unwrap_or(0)
            } else {
                -1
            };
            metrics
                .key_age_seconds
                .with_label_values(&[&*issuer.issuer])
                .set(age);
        }
        for (socket, _) in self.snapshot.load().own_svids() {
            let left = workload_api::own_seconds(&socket, self.clock.now());
            metrics
                .own_svid_seconds
                .with_label_values(&[&*socket.to_string_lossy()])
                .set(left.unwrap_or(-1));
        }
        let queues = self.mirrors.states();
        let told = queues.iter();
        metrics.mirrors(told.map(|queue| (&*queue.backend, queue.bytes, queue.oldest)));
        metrics.render()
    }
}

impl MirrorWitness for Shared {
    fn ended(&self, leg: &Leg, end: MirrorEnd) {
        let Leg {
            backend,
            against,
            project,
            signal,
            items,
        } = leg;
        let labels = LegLabels {
            backend,
            against,
            leg: "mirror",
            project,
            signal: signal.name(),
        };
        match end {
            MirrorEnd::Taken { rejected } => {
                let rejected = rejected.min(*items);
                let results = [("accepted", items - rejected), ("rejected", rejected)];
                self.metrics.leg(&labels, &results);
            }
            MirrorEnd::Refused(why) => {
                self.metrics.leg(&labels, &[("refused", *items)]);
                self.mirror_dropped(leg, why, None);
            }
            MirrorEnd::Dropped(why, last) => {
                self.metrics.leg(&labels, &[("dropped", *items)]);
                self.mirror_dropped(leg, why, last);
            }
        }
    }
}

fn figures(row: &SinkRow) -> SinkFigures<'_> {
    let counted = |counts: &BTreeMap<&'static str, u64>| -> Vec<(&'static str, u64)> {
        let each = counts.iter();
        each.map(|(word, count)| (*word, *count)).collect()
    };
    SinkFigures {
        sink: &row.name,
        lag_records: row.lag_records,
        lag_seconds: row.lag_seconds,
        sent: row.sent,
        dropped: counted(&row.dropped),
        failures: counted(&row.failures),
    }
}

/// What an issuer's callers cannot have now.
fn lacks(status: &IssuerStatus) -> Option<String> {
    let issuer = &status.issuer;
    match (status.has_keys, status.tried, status.last_fault) {
        (true, ..) => None,
        (false, false, _) => Some(format!(
            "issuer `{issuer}`: its keys are being read for the first time"
        )),
        (false, true, Some(fault)) => Some(format!(
            "issuer `{issuer}`: no keys ({}); its callers get 503",
            fault.code()
        )),
        (false, true, None) => Some(format!(
            "issuer `{issuer}`: its keys are too old; its callers get 503"
        )),
    }
}

/// What of a transmitter cannot be heard now.
fn lacks_events(status: &IssuerStatus) -> Option<String> {
    let name = &status.issuer;
    let lacks = format!("transmitter `{name}`: no keys; its security events get 503");
    (!status.has_keys).then_some(lacks)
}

impl From<IssuerStatus> for IssuerReadiness {
    fn from(status: IssuerStatus) -> Self {
        IssuerReadiness {
            issuer: status.issuer.to_string(),
            tried: status.tried,
            has_keys: status.has_keys,
            keys_age_seconds: status.age_seconds,
            last_error: status.last_fault.map(|fault| fault.code().to_owned()),
        }
    }
}

/// A number below 16 as lower case has it.
fn hex_digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

/// Request ids: time, this start's random number, a counter.
struct Ids {
    start: u32,
    next: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        let mut random = [0_u8; 4];
        // Without randomness, ids are still unique within this start.
        let _ = aws_lc_rs::rand::fill(&mut random);
        Ids {
            start: u32::from_be_bytes(random),
            next: AtomicU64::new(0),
        }
    }

    fn next(&self, unix_millis: i64) -> String {
        let count = self.next.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff_ffff;
        let time = unix_millis.max(0).cast_unsigned();
        let number = (u128::from(time) << 80) | (u128::from(self.start) << 48) | u128::from(count);
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            if let [high, low] = pair {
                (*high, *low) = (hex_digit(byte >> 4), hex_digit(byte & 0xf));
            }
        }
        String::from_utf8_lossy(&digits).into_owned()
    }
}
