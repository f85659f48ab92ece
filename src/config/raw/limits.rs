//! `limits:`, as they are written.
//!
//! What it does: mirrors sizes, counts and durations. What it refuses to know: how one relates to another. Invariant:
//! counts are bounded by their form.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::RawSwitch;
use crate::document::Spanned;
use crate::document::quantity::{RawDuration, RawSize};

/// Bounds on what clients may use up. Sizes are `64KiB`, `16MiB`, `1GiB` or bytes; durations `250ms`,
/// `30s`, `5m`, `1h`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub(crate) struct RawLimits {
    /// A body as it arrives; default `16MiB`.
    pub body: Option<Spanned<RawSize>>,
    /// A body after decompression; default `64MiB`.
    pub decompressed_body: Option<Spanned<RawSize>>,
    /// A whole request head; default `64KiB`.
    pub header: Option<Spanned<RawSize>>,
    /// Header lines in one head; default 100.
    #[schemars(range(min = 1, max = 10_000))]
    pub headers: Option<u32>,
    /// One presented bearer token; default `16KiB`.
    pub token: Option<Spanned<RawSize>>,
    /// All bodies and answers that are held in memory at once; one caller alone may hold half of it. Default `1GiB`.
    pub buffered_total: Option<Spanned<RawSize>>,
    /// Attributes of one resource in an export; default 20000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attributes: Option<u32>,
    /// A query answer that must be read whole; default `32MiB`.
    pub response: Option<Spanned<RawSize>>,
    /// Open connections over all listeners; default 10000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: Option<u32>,
    /// Open connections from one client address (IPv6: one /64); default 1000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections_per_address: Option<Spanned<u32>>,
    /// Concurrent HTTP/2 streams of one connection; default 100.
    #[schemars(range(min = 1, max = 10_000))]
    pub streams: Option<u32>,
    /// From accept to the end of the TLS handshake; default `10s`.
    pub handshake_timeout: Option<Spanned<RawDuration>>,
    /// From a head's first byte to its last; default `10s`.
    pub header_timeout: Option<Spanned<RawDuration>>,
    /// A connection without a request; default `75s`.
    pub idle_timeout: Option<Spanned<RawDuration>>,
    /// A whole request body; default `60s`.
    pub body_timeout: Option<Spanned<RawDuration>>,
    /// What a body must keep up for each second after `body_grace`; default `1KiB`.
    pub body_rate: Option<Spanned<RawSize>>,
    /// How long a body may be silent or slower than `body_rate` at its beginning; default `5s`.
    pub body_grace: Option<Spanned<RawDuration>>,
    /// After it, a connection is asked to close; default `1h`.
    pub connection_age: Option<Spanned<RawDuration>>,
    /// How long a stopping gateway waits for requests in flight; default `30s`.
    pub drain_timeout: Option<Spanned<RawDuration>>,
    /// How long a stopping gateway says "not ready" before it stops accepting; default `0s`.
    pub drain_delay: Option<Spanned<RawDuration>>,
    /// What an export over HTTP is told whose quota is used up: 429 or 503; default 429.
    pub quota_status: Option<Spanned<u32>>,
    /// Whether callers that keep failing are answered from their head alone; default `on`.
    pub penalty: Option<RawSwitch>,
}
