//! What an operator can see: metrics and log lines.
//!
//! What it does: owns the registry and its closed set of metrics; logging is started in `telemetry/logging.rs`.
//! What it refuses to know: any room's type; labels come as words. Invariants: every label has a bounded
//! set of values, and none of them is a subject, an address or a path of the caller's.

mod events;
mod legs;
mod logging;
mod registry;
mod revocations;
mod sinks;
mod stores;
pub(crate) mod text;

pub use events::EventName;
pub(crate) use legs::LegLabels;
pub use logging::{LogFormat, start_logging};
pub(crate) use sinks::SinkFigures;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use legs::LegMetrics;
use prometheus::{
    Encoder as _, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Registry, TextEncoder,
};
use registry::Making;
use revocations::RevocationMetrics;
use sinks::SinkMetrics;
use stores::StoreMetrics;

use crate::reason::Reason;

/// Panics since the last look; the hook that counts them knows no registry.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Called by the process's panic hook.
pub(crate) fn note_panic() {
    PANICS.fetch_add(1, Ordering::Relaxed);
}

/// Every metric of the gateway.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    bytes: IntCounterVec,
    upstream: IntCounterVec,
    backends: BackendMetrics,
    edge: EdgeMetrics,
    reloads: IntCounterVec,
    keys: IntCounterVec,
    credentials: IntCounterVec,
    pages: IntCounterVec,
    events: IntCounterVec,
    items: IntCounterVec,
    forged: IntCounter,
    not_carried: IntCounter,
    cuts: CutMetrics,
    logins: IntCounterVec,
    alerts: IntCounterVec,
    queries: QueryMetrics,
    legs: LegMetrics,
    callers: CallerMetrics,
    revocations: RevocationMetrics,
    stores: StoreMetrics,
    sinks: SinkMetrics,
    pub(crate) key_age_seconds: IntGaugeVec,
    pub(crate) own_svid_seconds: IntGaugeVec,
    pub connections: IntGauge,
    pub in_flight: IntGauge,
    pub(crate) buffered_bytes: IntGauge,
    pub(crate) audit_written: IntGauge,
    pub(crate) audit_lost: IntGauge,
    pub(crate) audit_failing: IntGauge,
    pub(crate) audit_queued_bytes: IntGauge,
    pub(crate) last_reload: Gauge,
    pub(crate) last_reload_ok: IntGauge,
    panics: IntCounter,
}

/// What one counter's help says.
const LOST_FIELDS: &str = "Members and fields of exports that are not known, and that the backend's encoding cannot carry.";

/// One finished call, in words.
pub struct Finished<'a> {
    pub operation: &'a str,
    pub app: &'a str,
    pub decision: &'a str,
    pub reason: Reason,
    pub duration: Duration,
    pub bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Items of an export: accepted by the backend, rejected by us or by it.
    pub items: (u64, u64),
}

/// What each of several backends says. Empty where there is one.
struct BackendMetrics {
    responses: IntCounterVec,
    items: IntCounterVec,
}

impl BackendMetrics {
    fn new(make: &Making) -> Result<Self, prometheus::Error> {
        let responses = make.counter(
            "backend_responses_total",
            "Where there are several backends: answers of each by endpoint and status.",
            &["backend", "upstream", "status"],
        )?;
        let items = make.counter(
            "backend_items_total",
            "Where there are several backends: spans, data points and log records of exports by backend and result (accepted or rejected).",
            &["backend", "result"],
        )?;
        Ok(BackendMetrics { responses, items })
    }
}

/// Who calls, as far as labels may say it.
struct CallerMetrics {
    identifications: IntCounterVec,
    token_uses: IntCounterVec,
    token_last_used: IntGaugeVec,
}

impl CallerMetrics {
    fn new(make: &Making) -> Result<Self, prometheus::Error> {
        let identifications = make.counter(
            "identifications_total",
            "Callers by how they are identified (`none`: they showed nothing) and what became of it (accepted, refused or unavailable).",
            &["method", "outcome"],
        )?;
        let token_uses = make.counter(
            "client_token_uses_total",
            "Times that a client token was accepted.",
            &["name"],
        )?;
        let token_last_used = make.labelled_gauge(
            "client_token_last_used_seconds",
            "Unix time of a client token's last use.",
            "name",
        )?;
        Ok(CallerMetrics {
            identifications,
            token_uses,
            token_last_used,
        })
    }
}

/// What becomes of exports that are larger than their backend takes.
struct CutMetrics {
    pieces: IntCounterVec,
    oversized: IntCounterVec,
    learned: IntCounterVec,
}

impl CutMetrics {
    fn new(make: &Making) -> Result<Self, prometheus::Error> {
        let pieces = make.counter(
            "export_pieces_total",
            "Pieces of exports that were cut because they were larger than their backend takes.",
            &["signal"],
        )?;
        let oversized = make.counter(
            "items_too_large_total",
            "Spans, data points and log records that were rejected because each alone is larger than the backend takes.",
            &["signal"],
        )?;
        let learned = make.counter(
            "backend_bounds_learned_total",
            "Times that a backend took less at once than its profile promises, and less than was known.",
            &["signal"],
        )?;
        Ok(CutMetrics {
            pieces,
            oversized,
            learned,
        })
    }
}

/// What becomes of queries, and of what the backend answers.
struct QueryMetrics {
    shared: IntCounterVec,
    throttled: IntCounterVec,
    foreign: IntCounter,
    echoes: IntCounterVec,
}

impl QueryMetrics {
    fn new(make: &Making) -> Result<Self, prometheus::Error> {
        let shared = make.counter(
            "query_shared_total",
            "Queries that were answered without asking the backend once more (coalesced or cached).",
            &["how"],
        )?;
        let throttled = make.counter(
            "query_throttled_total",
            "Queries over a rate, by class and by the side that refused them (gateway or backend).",
            &["class", "by"],
        )?;
        let foreign = make.plain_counter(
            "foreign_references_total",
            "Links and names of other projects that were blanked in answers.",
        )?;
        let echoes = make.counter(
            "credential_echoes_total",
            "Answers of a backend that held one of our own credentials, by the credential's project; it was blanked.",
            &["project"],
        )?;
        Ok(QueryMetrics {
            shared,
            throttled,
            foreign,
            echoes,
        })
    }
}

/// What comes to a listener and is no call.
struct EdgeMetrics {
    refused: IntCounterVec,
    unused: IntCounterVec,
    health: IntCounterVec,
    preflights: IntCounterVec,
}

impl EdgeMetrics {
    fn new(make: &Making) -> Result<Self, prometheus::Error> {
        let refused = make.counter(
            "edge_refusals_total",
            "Connections and handshakes refused before a request existed.",
            &["listener", "reason"],
        )?;
        let unused = make.counter(
            "connections_unused_total",
            "Connections that ended before a byte came, by listener.",
            &["listener"],
        )?;
        let health = make.counter(
            "health_checks_total",
            "Health checks on the serving port by listener, kind (http, grpc_check, grpc_watch or grpc_probe) and answer.",
            &["listener", "kind", "answer"],
        )?;
        let preflights = make.counter(
            "preflights_total",
            "Questions of browsers whether a page of another origin may ask, by listener and answer (allowed or refused).",
            &["listener", "answer"],
        )?;
        Ok(EdgeMetrics {
            refused,
            unused,
            health,
            preflights,
        })
    }
}

impl Metrics {
    /// Registers everything in a registry of its own.
    pub fn new() -> Result<Self, prometheus::Error> {
        let make = Making::new()?;
        let requests = make.counter(
            "requests_total",
            "Calls by operation, app, decision (allow or deny) and stable reason code.",
            &["operation", "app", "decision", "reason"],
        )?;
        let bytes = make.counter(
            "bytes_total",
            "Body bytes by operation and direction.",
            &["operation", "direction"],
        )?;
        let upstream = make.counter(
            "upstream_responses_total",
            "Answers of the backends by status.",
            &["upstream", "status"],
        )?;
        let backends = BackendMetrics::new(&make)?;
        let reloads = make.counter(
            "reloads_total",
            "Reloads by result (ok or failed).",
            &["result"],
        )?;
        let keys = make.counter(
            "key_refreshes_total",
            "Key set refreshes by issuer and result.",
            &["issuer", "result"],
        )?;
        let credentials = make.counter(
            "credential_refusals_total",
            "Times that a backend refused one of our own credentials.",
            &["project"],
        )?;
        let events = make.counter("events_total", "Other events worth an alert.", &["event"])?;
        let items = make.counter(
            "items_total",
            "Spans, data points and log records of exports that were read, by operation, app and result (accepted or rejected).",
            &["operation", "app", "result"],
        )?;
        let pages = make.counter(
            "upstream_pages_total",
            "Pages that came with a success instead of a backend's answer to an export, by upstream.",
            &["upstream"],
        )?;
        let forged = make.plain_counter(
            "forged_attributes_total",
            "Attributes in our own namespace that callers sent and that were removed.",
        )?;
        let logins = make.counter(
            "logins_total",
            "Logins with a browser by how they ended.",
            &["outcome"],
        )?;
        let alerts = make.counter(
            "alerts_total",
            "Messages about alerts by app and outcome (delivered, kept, repeated, failed or refused).",
            &["app", "outcome"],
        )?;
        let callers = CallerMetrics::new(&make)?;
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "lightkeeper_request_duration_seconds",
                "From the head's arrival to the answer's end.",
            )
            .buckets(vec![
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ]),
            &["operation"],
        )?;
        make.0.register(Box::new(duration.clone()))?;
        let own_svid_seconds = make.labelled_gauge(
            "own_svid_seconds",
            "Seconds until the end of our own certificate out of the Workload API, by its socket; -1: there is none.",
            "socket",
        )?;
        let key_age_seconds = make.labelled_gauge(
            "issuer_keys_age_seconds",
            "Age of an issuer's key set; -1 without one.",
            "issuer",
        )?;
        let last_reload = Gauge::new(
            "lightkeeper_last_reload_timestamp_seconds",
            "Unix time of the last configuration that was taken over.",
        )?;
        make.0.register(Box::new(last_reload.clone()))?;
        let panics = make.plain_counter("panics_total", "Panics caught; each is a defect.")?;
        let connections = make.gauge("connections", "Open client connections.")?;
        let in_flight = make.gauge("requests_in_flight", "Calls that have begun and not ended.")?;
        let buffered_bytes = make.gauge(
            "buffered_bytes",
            "Bodies held in memory (limits.buffered_total).",
        )?;
        let audit_written = make.gauge(
            "audit_records_written",
            "Audit records written since the start.",
        )?;
        let audit_lost = make.gauge(
            "audit_records_lost",
            "Audit records that could not be queued or written.",
        )?;
        let audit_failing =
            make.gauge("audit_failing", "1 while audit records cannot be written.")?;
        let audit_queued_bytes = make.gauge(
            "audit_queued_bytes",
            "Bytes of records that wait, and of places kept (audit.queue_bytes).",
        )?;
        let last_reload_ok = make.gauge(
            "last_reload_successful",
            "1 if the last reload was taken over.",
        )?;
        Ok(Metrics {
            edge: EdgeMetrics::new(&make)?,
            queries: QueryMetrics::new(&make)?,
            legs: LegMetrics::new(&make)?,
            revocations: RevocationMetrics::new(&make)?,
            stores: StoreMetrics::new(&make)?,
            sinks: SinkMetrics::new(&make)?,
            not_carried: make.plain_counter("unknown_fields_dropped_total", LOST_FIELDS)?,
            cuts: CutMetrics::new(&make)?,
            registry: make.0,
            requests,
            duration,
            bytes,
            upstream,
            backends,
            reloads,
            keys,
            credentials,
            pages,
            events,
            items,
            forged,
            logins,
            alerts,
            callers,
            key_age_seconds,
            own_svid_seconds,
            connections,
            in_flight,
            buffered_bytes,
            audit_written,
            audit_lost,
            audit_failing,
            audit_queued_bytes,
            last_reload,
            last_reload_ok,
            panics,
        })
    }

    /// Counts a finished call.
    pub fn finished(&self, call: &Finished<'_>) {
        self.requests
            .with_label_values(&[call.operation, call.app, call.decision, call.reason.code()])
            .inc();
        self.duration
            .with_label_values(&[call.operation])
            .observe(call.duration.as_secs_f64());
        self.bytes
            .with_label_values(&[call.operation, "in"])
            .inc_by(call.bytes_in);
        self.bytes
            .with_label_values(&[call.operation, "out"])
            .inc_by(call.bytes_out);
        for (count, result) in [(call.items.0, "accepted"), (call.items.1, "rejected")] {
            if count > 0 {
                self.items
                    .with_label_values(&[call.operation, call.app, result])
                    .inc_by(count);
            }
        }
    }

    /// Counts an answer of the backend's. `upstream`: `ingest`, `collector`, `logs` or `query`.
    pub(crate) fn answered(&self, upstream: &str, status: u16) {
        self.upstream
            .with_label_values(&[upstream, status_word(status)])
            .inc();
    }

    /// Counts what one of several backends answered, and what became of an export's items there (accepted, rejected).
    pub(crate) fn answered_by(
        &self,
        (backend, upstream): (&str, &str),
        status: Option<u16>,
        items: (u64, u64),
    ) {
        if let Some(status) = status {
            let labels = [backend, upstream, status_word(status)];
            self.backends.responses.with_label_values(&labels).inc();
        }
        for (result, count) in [("accepted", items.0), ("rejected", items.1)] {
            if count > 0 {
                let counter = self.backends.items.with_label_values(&[backend, result]);
                counter.inc_by(count);
            }
        }
    }

    /// `outcome`: `ok`, or why a login failed.
    pub fn login(&self, outcome: Reason) {
        self.logins.with_label_values(&[outcome.code()]).inc();
    }

    /// `app` is one of the policy's.
    pub fn alert(&self, app: &str, outcome: &str) {
        self.alerts.with_label_values(&[app, outcome]).inc();
    }

    /// The count of evidence of a method that was judged so, for who keeps it: a look-up costs more than the counting.
    pub(crate) fn identifications(&self, method: &str, outcome: &str) -> IntCounter {
        let counts = &self.callers.identifications;
        counts.with_label_values(&[method, outcome])
    }

    /// `name` is one of the configuration's, never what a caller sent.
    pub(crate) fn client_token_used(&self, name: &str, unix_seconds: i64) {
        self.callers.token_uses.with_label_values(&[name]).inc();
        self.callers
            .token_last_used
            .with_label_values(&[name])
            .set(unix_seconds);
    }

    /// Counts a refusal before any request.
    pub(crate) fn edge_refused(&self, listener: &str, reason: Reason) {
        self.edge
            .refused
            .with_label_values(&[listener, reason.code()])
            .inc();
    }

    /// Counts a connection that ended before a byte came.
    pub(crate) fn connection_unused(&self, listener: &str) {
        self.edge.unused.with_label_values(&[listener]).inc();
    }

    /// Counts a health check on the serving port.
    pub(crate) fn health_checked(&self, listener: &str, kind: &'static str, answer: &'static str) {
        self.edge
            .health
            .with_label_values(&[listener, kind, answer])
            .inc();
    }

    /// Counts a preflight.
    pub fn preflight(&self, listener: &str, answer: &'static str) {
        self.edge
            .preflights
            .with_label_values(&[listener, answer])
            .inc();
    }

    pub fn reloaded(&self, ok: bool, unix_seconds: f64) {
        self.reloads
            .with_label_values(&[if ok { "ok" } else { "failed" }])
            .inc();
        self.last_reload_ok.set(i64::from(ok));
        if ok {
            self.last_reload.set(unix_seconds);
        }
    }

    pub(crate) fn keys_refreshed(&self, issuer: &str, ok: bool) {
        self.keys
            .with_label_values(&[issuer, if ok { "ok" } else { "failed" }])
            .inc();
    }

    pub fn credential_refused(&self, project: &str) {
        self.credentials.with_label_values(&[project]).inc();
    }

    pub(crate) fn page_answered(&self, upstream: &str) {
        self.pages.with_label_values(&[upstream]).inc();
    }

    pub fn credential_echoed(&self, project: &str) {
        self.queries.echoes.with_label_values(&[project]).inc();
    }

    /// Counts what became of one leg's items; each result is one of `sent`, `accepted`, `rejected`, `refused` and `dropped`.
    pub(crate) fn leg(&self, leg: &LegLabels<'_>, results: &[(&'static str, u64)]) {
        self.legs.count(leg, results);
    }

    /// How many items had this result on one leg so far; its signal does not count.
    pub(crate) fn leg_items(&self, leg: &LegLabels<'_>, result: &str) -> u64 {
        self.legs.of(leg, result)
    }

    /// What became of the records of each sink.
    pub(crate) fn sinks(&self, all: &[SinkFigures<'_>]) {
        self.sinks.show(all);
    }

    /// What waits for each backend that is mirrored to.
    pub(crate) fn mirrors<'a>(&self, queues: impl Iterator<Item = (&'a str, u64, Duration)>) {
        self.legs.waits(queues);
    }

    /// Counts attributes of our own namespace that a caller sent.
    pub fn forged(&self, count: u64) {
        self.forged.inc_by(count);
    }

    /// Counts what an export says beyond what we know, and lost on its way into another encoding.
    pub(crate) fn not_carried(&self, count: u64) {
        self.not_carried.inc_by(count);
    }

    /// Counts the pieces of an export, and its items that are too large alone.
    pub(crate) fn cut(&self, signal: &'static str, pieces: u64, oversized: u64) {
        self.cuts.pieces.with_label_values(&[signal]).inc_by(pieces);
        self.cuts
            .oversized
            .with_label_values(&[signal])
            .inc_by(oversized);
    }

    /// Counts that a backend takes less than it promises.
    pub(crate) fn bound_learned(&self, signal: &'static str) {
        self.cuts.learned.with_label_values(&[signal]).inc();
    }

    /// `how`: `coalesced` or `cached`.
    pub(crate) fn query_shared(&self, how: &'static str) {
        self.queries.shared.with_label_values(&[how]).inc();
    }

    /// `class` is one of the profile's; `by`: `gateway` or `backend`.
    pub(crate) fn query_throttled(&self, class: &str, by: &'static str) {
        self.queries.throttled.with_label_values(&[class, by]).inc();
    }

    /// Counts what of other projects was blanked in an answer.
    pub(crate) fn foreign_references(&self, count: u64) {
        self.queries.foreign.inc_by(count);
    }

    /// Counts a proof that was ended; both are words of ours.
    pub(crate) fn revoked(&self, source: &'static str, kind: &'static str) {
        self.revocations.revoked(source, kind);
    }

    /// Counts a security event. `transmitter` is one of the configuration's.
    pub(crate) fn security_event(
        &self,
        transmitter: &str,
        event: &'static str,
        outcome: &'static str,
    ) {
        self.revocations.event(transmitter, event, outcome);
    }

    /// A look at a secret in the store: `ok`, or the fault's code.
    pub(crate) fn store_look(&self, outcome: &str) {
        self.stores.look(outcome);
    }

    /// A new access token was tried.
    pub(crate) fn credential_probe(&self, outcome: &str) {
        self.stores.probe(outcome);
    }

    /// Secrets of the store by their states.
    pub(crate) fn stored_credentials(&self, states: &[(&'static str, i64)], unconfirmed: i64) {
        self.stores.credentials(states, unconfirmed);
    }

    /// How many revocations are in force: of the file, and of what providers told.
    pub(crate) fn revocation_entries(&self, listed: i64, heard: i64) {
        self.revocations.entries(listed, heard);
    }

    pub fn event(&self, event: EventName) {
        self.events.with_label_values(&[event.code()]).inc();
    }

    /// The text exposition format, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        self.panics.inc_by(PANICS.swap(0, Ordering::Relaxed));
        let mut text = Vec::new();
        // Writing into memory does not fail; a failure would show as an empty page.
        if TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .is_err()
        {
            text.clear();
        }
        text
    }
}

/// A bounded word for a status that a backend chose.
fn status_word(status: u16) -> &'static str {
    match status {
        200 => "200",
        202 => "202",
        201 | 203..=299 => "2xx",
        401 => "401",
        403 => "403",
        404 => "404",
        413 => "413",
        429 => "429",
        503 => "503",
        504 => "504",
        0..=199 => "1xx",
        300..=399 => "3xx",
        400 | 402 | 405..=412 | 414..=428 | 430..=499 => "4xx",
        500..=502 | 505.. => "5xx",
    }
}
