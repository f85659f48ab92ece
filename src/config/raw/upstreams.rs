//! `upstreams:` and `backends:`, as they are written.
//!
//! What it does: mirrors backends, their endpoints and how long to wait for them. What it refuses to know: which endpoint
//! is needed, and which profiles there are.

use schemars::JsonSchema;
use serde::Deserialize;

use super::egress::RawProxy;
use crate::document::quantity::RawDuration;
use crate::document::{Entries, Spanned};

/// One of several backends.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Backend")]
pub(crate) struct RawBackend {
    /// What kind of backend it is, by the name of a built-in profile or of one of `profiles`.
    pub profile: Spanned<String>,
    /// Values of the parameters that the profile asks for.
    #[serde(default)]
    pub with: Entries<Spanned<String>>,
    /// Where exports go; default: the profile's own address, if it has one.
    pub ingest: Option<Spanned<RawUpstream>>,
    /// Where OTLP over gRPC goes; default: the profile's own address for it, if `ingest` has no `url`, else as `ingest`.
    pub grpc: Option<Spanned<RawUpstream>>,
    /// Where queries go, if its profile has a query API; without it the backend is not asked.
    pub query: Option<Spanned<RawUpstream>>,
    /// Where legacy tracers' reports go; default: as `ingest`.
    pub collector: Option<Spanned<RawUpstream>>,
    /// Where the legacy log ingest (`_bulk`) goes; default: as `ingest`.
    pub logs: Option<Spanned<RawUpstream>>,
}

/// The backend's endpoints.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstreams")]
pub(crate) struct RawUpstreams {
    /// Values of the parameters that the profile asks for.
    #[serde(default)]
    pub with: Entries<Spanned<String>>,
    /// Where exports go; needed if a listener serves `ingest`, or `legacy` without `collector` and `logs`.
    pub ingest: Option<Spanned<RawUpstream>>,
    /// Where OTLP over gRPC goes; default: the profile's own address for it, if `ingest` has no `url`, else as `ingest`.
    pub grpc: Option<Spanned<RawUpstream>>,
    /// Where queries go; needed if a listener serves `query`.
    pub query: Option<Spanned<RawUpstream>>,
    /// Where legacy tracers' reports go; default: as `ingest`.
    pub collector: Option<Spanned<RawUpstream>>,
    /// Where the legacy log ingest (`_bulk`) goes; default: as `ingest`.
    pub logs: Option<Spanned<RawUpstream>>,
}

/// One endpoint of the backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub(crate) struct RawUpstream {
    /// Which backend it is, by the name of a built-in profile or of one of `profiles`, the same at all upstreams; default: as
    /// at the others, or `lightstep`; of one of `backends`: as there.
    pub profile: Option<Spanned<String>>,
    /// `https://host`, with a port and a path prefix if need be; default: of `ingest` and `grpc` where the profile says.
    pub url: Option<Spanned<String>>,
    /// PEM file: the roots to trust; default: the system's.
    pub ca: Option<Spanned<String>>,
    /// Our certificate, for a backend that asks for one.
    pub client: Option<Spanned<RawClient>>,
    /// The proxy to this upstream alone; default: as `egress` has it.
    pub proxy: Option<Spanned<RawProxy>>,
    /// How long to wait for it.
    #[serde(default)]
    pub timeouts: RawTimeouts,
    /// Only at `query`: where the backend's own pages are, for links into them, or `off`; default: as the
    /// profile has it.
    pub ui: Option<Spanned<String>>,
}

/// A client certificate of ours.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpstreamCertificate")]
pub(crate) struct RawClient {
    /// PEM file. With `key`, or else `workload_api`.
    pub certificate: Option<Spanned<String>>,
    /// PEM file.
    pub key: Option<Spanned<String>>,
    /// Instead of both: the socket of the SPIFFE Workload API, `unix:///run/spire/agent.sock`.
    pub workload_api: Option<Spanned<String>>,
}

/// Waiting times towards an upstream.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Timeouts")]
pub(crate) struct RawTimeouts {
    /// From dial to the end of the TLS handshake, a proxy's answer included; default `5s`.
    pub connect: Option<Spanned<RawDuration>>,
    /// Its silence while we wait; default `30s`, for queries `60s`.
    pub read: Option<Spanned<RawDuration>>,
    /// One write; default `30s`.
    pub write: Option<Spanned<RawDuration>>,
    /// How long a pooled connection may rest; default `60s`.
    pub idle: Option<Spanned<RawDuration>>,
}
