//! `ingest:` of a profile as its text is written.
//!
//! What it does: mirrors the YAML key by key. What it refuses to know: whether values go together (`load` and `exports` do).
//! Invariant: an unknown key or word is an error.

use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::RawAnswers;
use super::raw::{RawLegacy, RawSignal};
use crate::document::quantity::RawBound;
use crate::document::{Entries, Spanned};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IngestFile")]
pub(super) struct IngestFile {
    /// What stands before each path of OTLP over HTTP: `/insert/{project}`.
    pub base: Option<Spanned<String>>,
    /// Headers of every export, by name: templates with `{token}`, `{project}`, `{app}`, `{signal}`, `{b64:…}` and parameters.
    #[serde(default)]
    pub headers: Entries<Spanned<String>>,
    /// What of OTLP the backend takes; default: all.
    #[serde(default)]
    pub accepts: RawAccepts,
    /// `none`: the backend wants no credential, and no header holds one; default: each project's access token.
    pub credential: Option<Spanned<RawNoCredential>>,
    /// What the backend's answers mean; default: as the OTLP specification has it.
    #[serde(default)]
    pub answers: RawAnswers,
    /// What differs from one signal to another.
    #[serde(default)]
    pub signals: RawSignals,
    /// OTLP over HTTP, all POST, as clients ask for it; `{minor}` at the end of a path stands for one or two digits.
    #[serde(default)]
    pub http: Vec<RawExport>,
    /// OTLP over gRPC.
    #[serde(default)]
    pub grpc: Vec<RawExport>,
    /// What is older than OpenTelemetry, all POST: one row for each form of a path.
    #[serde(default)]
    pub legacy: Vec<RawLegacy>,
    #[serde(default)]
    pub(crate) legacy_grpc: Vec<RawLegacy>,
    /// Paths whose clients put their token into the URL; known, so that the refusal can say why.
    #[serde(default)]
    pub token_in_url: Vec<Spanned<String>>,
}

/// What of OTLP the backend takes; each list by default: all.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Accepts")]
pub(super) struct RawAccepts {
    pub protocols: Option<Vec<RawProtocol>>,
    pub encodings: Option<Vec<RawEncoding>>,
    pub compressions: Option<Vec<RawAcceptedCompression>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Protocol")]
pub(super) enum RawProtocol {
    Http,
    Grpc,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Encoding")]
pub(super) enum RawEncoding {
    Protobuf,
    Json,
}

/// One that a list must hold: `identity` or `gzip`, which the gateway falls back on.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Compression")]
pub(super) enum RawAcceptedCompression {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Signals")]
pub(super) struct RawSignals {
    pub traces: Option<RawOneSignal>,
    pub metrics: Option<RawOneSignal>,
    pub logs: Option<RawOneSignal>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OneSignal")]
pub(super) struct RawOneSignal {
    /// The path that the backend is asked over HTTP, after `base`, whatever the client asked.
    pub path: Option<Spanned<String>>,
    /// Headers besides `ingest.headers`, and instead of those of the same name.
    #[serde(default)]
    pub headers: Entries<Spanned<String>>,
    /// Instead of `ingest.accepts`.
    pub accepts: Option<RawAccepts>,
    /// The most bytes of one request's body as it is sent, compressed.
    pub max_bytes: Option<Spanned<RawBound>>,
    /// The most bytes of one request before it is compressed.
    pub max_unpacked: Option<Spanned<RawBound>>,
    /// The most spans, data points or log records of one request.
    pub max_items: Option<Spanned<u64>>,
}

/// That there is none.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "NoCredential")]
pub(super) enum RawNoCredential {
    None,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Export")]
pub(super) struct RawExport {
    /// Beginning with `/`.
    pub path: Spanned<String>,
    pub signal: RawSignal,
    /// As of a signal, for requests over this protocol; of several rows of one signal the least counts.
    pub max_bytes: Option<Spanned<RawBound>>,
    /// As of a signal.
    pub max_unpacked: Option<Spanned<RawBound>>,
    /// As of a signal.
    pub max_items: Option<Spanned<u64>>,
}
