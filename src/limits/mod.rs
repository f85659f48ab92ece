//! Every bound of the gateway, each with its unit in its name.
//!
//! What it does: holds the limits of one configuration and argues their defaults; keeps the budget of memory and its
//! shares, the quotas, the penalties and the places for work that strangers cause.
//! What it refuses to know: which callers a bound is for. Invariant: no limit is optional; "unlimited" is
//! not a value.

mod budget;
mod fair_queue;
mod generations;
mod penalty;
mod quota;
mod rates;

pub use budget::Budget;
pub(crate) use budget::{Account, OwnerKey, Reservation, Spent, alone_bytes, alone_unproven_bytes};
pub(crate) use fair_queue::{FairQueue, FairQueueBounds, Turn, address_block};
pub(crate) use generations::Generations;
pub(crate) use penalty::{CallerKey, Penalties};
pub(crate) use quota::{Charge, LocalMeter, Meter, Over, Quota};
pub use rates::Rate;
pub(crate) use rates::{Rates, Share, TURN_LIMIT, Told};

use std::time::Duration;

/// The status by which an exporter over HTTP is told that a quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaStatus {
    /// 429.
    TooManyRequests,
    /// 503, for exporters that drop what was answered with 429.
    ServiceUnavailable,
}

/// The bounds that `lightkeeper.yaml` may change under `limits:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `body`: an exported or posted body as it arrives. 16 MiB: what satellites accept of a report.
    pub body_bytes: u64,
    /// `decompressed_body`: the same after decompression. 64 MiB: the OTLP specification's default.
    pub decompressed_body_bytes: u64,
    /// `header`: a whole request head, and an HTTP/2 header list. 64 KiB: room for large tokens.
    pub header_bytes: u32,
    /// `headers`: header lines in one head. 100: Envoy's edge default.
    pub header_count: u32,
    /// `token`: one presented bearer token. 16 KiB: tokens with hundreds of groups still fit.
    pub token_bytes: u32,
    /// `buffered_total`: all bodies that are held in memory at once. 1 GiB.
    pub buffered_total_bytes: u64,
    /// `attributes`: of one resource in an export. 20,000: honest ones have dozens.
    pub attributes_per_resource: u32,
    /// `response`: a query answer that must be read whole (links, redaction). 32 MiB.
    pub response_bytes: u64,
    /// `connections`: open at once over all listeners. 10,000: about 300 MiB when idle.
    pub connections: u32,
    /// `connections_per_address`: of them from one client address. 1,000: a NAT or a node agent fits.
    pub connections_per_address: u32,
    /// `streams`: concurrent HTTP/2 streams of one connection. 100: RFC 9113 section 6.5.2's advice.
    pub streams: u32,
    /// `handshake_timeout`: from accept to the end of the TLS handshake. 10 s.
    pub handshake_timeout: Duration,
    /// `header_timeout`: from a head's first byte to its last (drip-feeding does not extend it). 10 s.
    pub header_timeout: Duration,
    /// `idle_timeout`: a connection without a request. 75 s: longer than exporters' usual intervals.
    pub idle_timeout: Duration,
    /// `body_timeout`: a whole request body. 60 s.
    pub body_timeout: Duration,
    /// `body_rate`: bytes per second that a body must keep up after `body_grace`. 1 KiB/s.
    pub body_rate_bytes_per_second: u64,
    /// `body_grace`: how long a body may be silent or slower than that at its beginning. 5 s.
    pub body_grace: Duration,
    /// `connection_age`: after it, HTTP/2 connections get GOAWAY and HTTP/1.1 ones close after their
    /// answer, so that load spreads over replicas and certificates are presented anew. 1 h.
    pub connection_age: Duration,
    /// `drain_timeout`: how long a stopping gateway waits for requests in flight. 30 s.
    pub drain_timeout: Duration,
    /// `drain_delay`: how long a stopping gateway says "not ready" before it stops accepting, so that
    /// load balancers look elsewhere first. 0 s.
    pub drain_delay: Duration,
    /// `quota_status`: what an export over HTTP is told whose quota is used up. 429, as the OTLP specification has it.
    pub quota_status: QuotaStatus,
    /// `penalty`: answer callers that keep failing from their head alone.
    pub penalty: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes: 16 << 20,
            decompressed_body_bytes: 64 << 20,
            header_bytes: 64 << 10,
            header_count: 100,
            token_bytes: 16 << 10,
            buffered_total_bytes: 1 << 30,
            attributes_per_resource: 20_000,
            response_bytes: 32 << 20,
            connections: 10_000,
            connections_per_address: 1_000,
            streams: 100,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            body_rate_bytes_per_second: 1 << 10,
            body_grace: Duration::from_secs(5),
            connection_age: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            quota_status: QuotaStatus::TooManyRequests,
            penalty: true,
        }
    }
}
