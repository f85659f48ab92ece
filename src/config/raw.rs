//! `lightkeeper.yaml` as it is written.
//!
//! What it does: mirrors the file key by key; the doc comments become the descriptions of its JSON schema.
//! What it refuses to know: whether the values make sense together (`checked` does).
//! Invariants: every mapping refuses unknown keys; counts are
//! bounded here, in the schema, which the reader holds to; nothing outside `config` sees these types.

use schemars::JsonSchema;
use serde::Deserialize;

pub use super::alerts::RawAlerts;
use super::backend::RawProfile;
pub use super::client_ca::RawClientCa;
pub use super::egress::{RawEgress, RawProxy};
pub use super::forms::RawSwitch;
use super::front::{RawCors, RawForwarded, RawHealth, RawProxyProtocol};
use super::issuers::RawIssuer;
use super::query::RawQuery;
use super::web::RawWeb;
use crate::document::quantity::{RawDuration, RawSize};
use crate::document::{Entries, Spanned};

/// Lightkeeper's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Configuration", title = "lightkeeper.yaml")]
pub struct RawConfig {
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
    /// Tokens for clients that can hold nothing but a fixed string; `lightkeeper token issue` makes them.
    // Empty once the last line was deleted: that must revoke its token, not leave the file refused.
    pub client_tokens: Option<Vec<RawClientToken>>,
    /// The backend.
    #[serde(default)]
    pub upstreams: RawUpstreams,
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

/// One address where clients connect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub struct RawListener {
    /// Its name in records and metrics.
    pub name: Spanned<String>,
    /// IP address and port, `127.0.0.1:8443`; port 0: any free one.
    pub address: Spanned<String>,
    /// What it offers; default: everything.
    #[schemars(length(min = 1))]
    pub serves: Option<Vec<Spanned<RawService>>>,
    /// Absent: plaintext HTTP/1.1 and h2c on the same port.
    pub tls: Option<RawTls>,
    /// What clients call us, `https://telemetry.acme.example`, for links in answers; default: the
    /// request's own scheme and authority.
    pub public_url: Option<Spanned<String>>,
    /// Health checks on this port; default: none.
    pub health: Option<Spanned<RawHealth>>,
    /// Proxies that say whose connection it is by the PROXY protocol; default: none.
    pub proxy_protocol: Option<RawProxyProtocol>,
    /// Proxies that say whose request it is by a header; default: none.
    pub forwarded: Option<RawForwarded>,
    /// Pages of other origins that may ask; default: none.
    pub cors: Option<RawCors>,
}

/// A part of what the gateway offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Service")]
pub enum RawService {
    /// OTLP exports.
    Ingest,
    /// The backend's query API, questions to a part of the tree, the alert inlet.
    Query,
    /// The gateway's own pages and paths: the console, logins, `whoami`, `/apps`.
    Web,
    /// Reports and logs in the formats from before OpenTelemetry. Some carry their token in the body alone, which is then
    /// read before the caller is known.
    Legacy,
}

/// A listener's certificate and its demands on clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tls")]
pub struct RawTls {
    /// PEM file: the server's certificate, then its intermediates.
    pub certificate: Spanned<String>,
    /// PEM file: the certificate's private key.
    pub key: Spanned<String>,
    /// The oldest TLS version that is spoken; default `1.2`.
    pub minimum: Option<RawTlsVersion>,
    /// The authorities whose client certificates count, each with what it may speak for. Where there is only one, the
    /// path of its PEM file will do.
    pub client_ca: Option<Spanned<RawClientCa>>,
    /// Whether a client must show a certificate; default: it may. Needs `client_ca`.
    pub client_certificate: Option<Spanned<RawDemand>>,
    /// PEM file: revocation lists, where `client_ca` is one path.
    pub client_crl: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "TlsVersion")]
pub enum RawTlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ClientCertificate")]
pub enum RawDemand {
    /// One that is shown is verified; without one, a token identifies the caller.
    Optional,
    /// The handshake fails without one.
    Required,
}

/// `/metrics`, `/startupz`, `/livez` and `/readyz`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Admin")]
pub struct RawAdmin {
    /// IP address and port; default `127.0.0.1:9464`.
    pub address: Option<Spanned<String>>,
}

/// One client token. The token itself is nowhere: only its holder has it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientToken", extend("x-hint" = "paste the line that `lightkeeper token issue` prints"))]
pub struct RawClientToken {
    /// Who holds it, in records and metrics; policy subjects may name it under `issuer: client_tokens`.
    pub name: Spanned<String>,
    /// `sha256:` and 64 hexadecimal digits: the digest of the whole token.
    pub hash: Spanned<String>,
    /// The policy's binding that speaks of its holder, whatever the binding's subjects say.
    pub binding: Spanned<String>,
    /// RFC 3339; it counts until just before then. Default: until this line is removed.
    pub until: Option<Spanned<String>>,
}

/// The backend's endpoints.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstreams")]
pub struct RawUpstreams {
    /// Where exports go; needed if a listener serves `ingest`, or `legacy` without `collector` and `logs`.
    pub ingest: Option<RawUpstream>,
    /// Where queries go; needed if a listener serves `query`.
    pub query: Option<RawUpstream>,
    /// Where legacy tracers' reports go; default: as `ingest`.
    pub collector: Option<RawUpstream>,
    /// Where the legacy log ingest (`_bulk`) goes; default: as `ingest`.
    pub logs: Option<RawUpstream>,
}

/// One endpoint of the backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub struct RawUpstream {
    /// Which backend it is, the same at all upstreams; default: as at the others, or `lightstep`.
    pub profile: Option<Spanned<RawProfile>>,
    /// `https://host`, with a port and a path prefix if need be.
    pub url: Spanned<String>,
    /// PEM file: the roots to trust; default: the system's.
    pub ca: Option<Spanned<String>>,
    /// Our certificate, for a backend that asks for one.
    pub client: Option<RawClient>,
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
pub struct RawClient {
    /// PEM file.
    pub certificate: Spanned<String>,
    /// PEM file.
    pub key: Spanned<String>,
}

/// Waiting times towards an upstream.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Timeouts")]
pub struct RawTimeouts {
    /// From dial to the end of the TLS handshake, a proxy's answer included; default `5s`.
    pub connect: Option<Spanned<RawDuration>>,
    /// Its silence while we wait; default `30s`, for queries `60s`.
    pub read: Option<Spanned<RawDuration>>,
    /// One write; default `30s`.
    pub write: Option<Spanned<RawDuration>>,
    /// How long a pooled connection may rest; default `60s`.
    pub idle: Option<Spanned<RawDuration>>,
}

/// What is done to exports on their way.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Ingest")]
pub struct RawIngest {
    /// Whether exports are read, split by app and stamped with the verified sender; `off`: they pass
    /// untouched, undecoded. Default `on`.
    pub stamp: Option<RawSwitch>,
    /// How a rewritten export leaves; default `same`.
    pub compression: Option<RawCompression>,
    /// What becomes of `commands` (disable) in the backend's answers to legacy reports; default `drop`.
    pub commands: Option<RawCommands>,
    /// Parts of one export that are sent at once; default 8.
    #[schemars(range(min = 1, max = 64))]
    pub parallel: Option<u8>,
    /// How long the accepted parts of a partly failed export are remembered, so that a retry sends only what
    /// is missing; at most `1h`, default `5m`.
    pub remember: Option<Spanned<RawDuration>>,
}

/// How a rewritten export is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Compression")]
pub enum RawCompression {
    /// As it came.
    Same,
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Commands")]
pub enum RawCommands {
    /// A backend cannot switch tracers off.
    Drop,
    /// It can.
    Pass,
}

/// References to the backend's credentials; never the credentials.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Vault")]
pub struct RawVault {
    /// By the project's name at the backend.
    #[serde(default)]
    pub projects: Entries<RawProject>,
    /// The organization's API keys, by what an operation does.
    #[serde(default)]
    pub api_keys: RawApiKeys,
    /// What seals the sessions of `web.login`: 32 bytes each, in base64 or hexadecimal; the first seals, all open.
    #[serde(default)]
    #[schemars(extend("x-hint" = "write a list of references: `[{ file: path }]` or `[{ env: NAME }]`; a literal secret is refused"))]
    pub session_keys: Vec<Spanned<RawSecret>>,
    /// By the app's path: the secrets that the backend's webhooks present at that app's alert inlet.
    #[serde(default)]
    pub webhooks: Entries<Vec<Spanned<RawSecret>>>,
}

/// One project's credentials.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Project")]
pub struct RawProject {
    /// Ingest tokens: the first is current, the rest overlap during a rotation.
    #[serde(default)]
    #[schemars(extend("x-hint" = "write a list of references: `[{ file: path }]` or `[{ env: NAME }]`; a literal secret is refused"))]
    pub access_token: Vec<Spanned<RawSecret>>,
    /// API keys for calls on this project, instead of the organization's.
    #[serde(default)]
    pub api_key: RawApiKeys,
}

/// API keys by what an operation does.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApiKeys")]
pub struct RawApiKeys {
    /// For operations that only read.
    pub read: Option<Spanned<RawSecret>>,
    /// For operations that change something.
    pub write: Option<Spanned<RawSecret>>,
    /// For sensitive operations; without it they are refused.
    pub admin: Option<Spanned<RawSecret>>,
}

/// Where a secret is kept.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "Secret", extend("x-hint" = "write where the secret is kept: `{ file: path }` or `{ env: NAME }`; a literal secret is refused"))]
pub enum RawSecret {
    /// A file that holds nothing else; one trailing line end is dropped.
    File(String),
    /// An environment variable.
    Env(String),
}

/// The secret itself may have been pasted where its name belongs.
impl std::fmt::Debug for RawSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RawSecret(…)")
    }
}

/// The audit trail.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Audit")]
pub struct RawAudit {
    /// JSON lines are appended here; default: standard output.
    pub file: Option<Spanned<String>>,
    /// What happens to calls while records cannot be written; default `refuse`.
    pub on_failure: Option<RawOnFailure>,
    /// Records that may wait for the disk; default 4096.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub queue: Option<u32>,
    /// What they may take in memory, of `limits.buffered_total`; default `16MiB`, at most a sixteenth of that.
    pub queue_bytes: Option<Spanned<RawSize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OnFailure")]
pub enum RawOnFailure {
    /// 503 / UNAVAILABLE: nothing passes unrecorded.
    Refuse,
    /// Calls pass, and the gap is recorded afterwards.
    Continue,
}

/// Bounds on what clients may use up. Sizes are `64KiB`, `16MiB`, `1GiB` or bytes; durations `250ms`,
/// `30s`, `5m`, `1h`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub struct RawLimits {
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

/// The gateway's own log, on standard error.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Log")]
pub struct RawLog {
    /// Default `json`.
    pub format: Option<RawLogFormat>,
    /// Default `info`.
    pub level: Option<RawLogLevel>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogFormat")]
pub enum RawLogFormat {
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogLevel")]
pub enum RawLogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
