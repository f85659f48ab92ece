//! `lightkeeper.yaml` as it is written.
//!
//! What it does: mirrors the file key by key, a file of this folder for each section; the doc comments become the
//! descriptions of its JSON schema. What it refuses to know: whether the values make sense together, which the file of the
//! section's name beside this folder checks; nothing in here names one. Invariants: every mapping refuses unknown keys;
//! counts are bounded here, in the schema, which the reader holds to; nothing outside `config` sees these types.

mod alerts;
mod asking;
mod audit;
mod aws;
mod claims;
mod client_ca;
mod client_tokens;
mod dpop;
mod egress;
mod forms;
mod front;
mod ingest;
mod issuers;
mod limits;
mod listeners;
mod log;
mod query;
mod revocations;
mod sinks;
mod upstreams;
mod vault;
mod web;

pub(crate) use alerts::{RawAlerts, RawDestination, RawDestinationHeader};
pub(crate) use asking::{RawAssertionKey, RawIntrospection, RawReview};
pub(crate) use audit::{RawAudit, RawDurability, RawOnFailure};
pub(crate) use aws::RawAws;
pub(crate) use claims::RawNames;
pub(crate) use client_ca::{RawClientAuthority, RawClientCa};
pub(crate) use client_tokens::RawClientToken;
pub(crate) use dpop::{RawDpop, RawNonce, RawReplay};
pub(crate) use egress::{PROXY_HINT, RawEgress, RawProxy};
pub(crate) use forms::{RawSecret, RawSwitch};
pub(crate) use front::{RawCors, RawForwardedHeader, RawHealth};
pub(crate) use ingest::{RawCommands, RawCompression, RawIngest, RawMirror};
pub(crate) use issuers::{
    RawBundle, RawEmailUnverified, RawIssuer, RawKeys, RawProof, RawSpiffe, RawTokens,
};
pub(crate) use limits::RawLimits;
pub(crate) use listeners::{RawAdmin, RawDemand, RawListener, RawService, RawTls, RawTlsVersion};
pub(crate) use log::{RawLog, RawLogFormat, RawLogLevel};
pub(crate) use query::RawQuery;
pub(crate) use revocations::{RawRevocationFile, RawTransmitter};
pub(crate) use sinks::{
    RawFacility, RawOtlpSink, RawResume, RawSink, RawSinkClient, RawSinkFailure, RawSyslogSink,
    RawTransport, RawWitness,
};
pub(crate) use upstreams::{RawBackend, RawClient, RawUpstream, RawUpstreams};
pub(crate) use vault::{RawApiKeys, RawAwsKeys, RawAwsLogin, RawStore, RawStoreLogin, RawVault};
pub(crate) use web::{RawCli, RawGroups, RawLogin, RawSession, RawWeb};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::{Entries, Spanned};

/// Lightkeeper's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Configuration", title = "lightkeeper.yaml")]
pub(crate) struct RawConfig {
    /// The organization's name at the backend, as it stands in the query API's paths.
    pub organization: Spanned<String>,
    /// Where clients connect.
    #[schemars(length(min = 1))]
    pub listeners: Vec<RawListener>,
    /// Metrics and probes, on a listener of their own.
    #[serde(default)]
    pub admin: RawAdmin,
    /// OIDC issuers whose tokens are accepted.
    #[serde(default)]
    pub issuers: Vec<RawIssuer>,
    /// How callers prove that they hold the key of a token that is bound to one (DPoP, RFC 9449).
    pub dpop: Option<Spanned<RawDpop>>,
    /// AWS accounts whose roles and users are accepted, by calls to AWS that they sign.
    #[serde(default)]
    pub aws: Vec<RawAws>,
    /// Tokens for clients that can hold nothing but a fixed string; `lightkeeper token issue` makes them.
    // Empty once the last line was deleted: that must revoke its token, not leave the file refused.
    pub client_tokens: Option<Vec<RawClientToken>>,
    /// Files of profiles beside the built-in ones: what is known of other backends.
    #[serde(default)]
    pub profiles: Vec<Spanned<String>>,
    /// The backend, if there is one alone; policies know it as `default`.
    pub upstreams: Option<RawUpstreams>,
    /// Several backends, by name; instead of `upstreams`.
    pub backends: Option<Spanned<Entries<RawBackend>>>,
    /// Which of `backends` takes the data of apps that name none; needed if there are several.
    pub default_backend: Option<Spanned<String>>,
    /// Through which proxy the gateway's own calls leave: to the backend, to issuers, to destinations of alerts.
    #[serde(default)]
    pub egress: RawEgress,
    /// What is done to exports on their way.
    #[serde(default)]
    pub ingest: RawIngest,
    /// How queries are asked of the backend.
    #[serde(default)]
    pub query: RawQuery,
    /// Where the backend's credentials are kept.
    #[serde(default)]
    pub vault: RawVault,
    /// The gateway's own pages.
    #[serde(default)]
    pub web: RawWeb,
    /// What becomes of the backend's alerts.
    #[serde(default)]
    pub alerts: RawAlerts,
    /// Proofs that no longer count.
    pub revocations: Option<RawRevocationFile>,
    /// Transmitters of security events, whose pushes end proofs.
    #[serde(default)]
    pub ssf: Vec<RawTransmitter>,
    /// The policy file.
    pub policy: Spanned<String>,
    /// The audit trail.
    #[serde(default)]
    pub audit: RawAudit,
    /// Bounds on what clients may use up.
    #[serde(default)]
    pub limits: RawLimits,
    /// The gateway's own log.
    #[serde(default)]
    pub log: RawLog,
    /// Worker threads; default: one for each core.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
}
