//! `audit.sinks`, as it is written.
//!
//! What it does: mirrors where records go besides the trail's file. What it refuses to know: records.
//! Invariant: what is not written stays `None`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::alerts::RawDestinationHeader;
use super::egress::RawProxy;
use crate::document::Spanned;
use crate::document::quantity::RawSize;

/// One place to which records go besides: exactly one of `stdout`, `otlp` and `syslog`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Sink", extend("x-hint" = "write `- stdout: {}`, `- otlp: { url: https://… }` or `- syslog: { address: \"logs.example:6514\" }`"))]
pub(crate) struct RawSink {
    /// What metrics and events call it, and the file beside the trail that keeps where it is; default: its kind.
    pub(crate) name: Option<Spanned<String>>,
    /// Standard output, a line each.
    pub(crate) stdout: Option<RawStdoutSink>,
    /// A receiver of OTLP logs, over HTTP in protobuf.
    pub(crate) otlp: Option<RawOtlpSink>,
    /// A receiver of syslog (RFC 5424), over TLS (RFC 5425) or TCP with octet counting (RFC 6587).
    pub(crate) syslog: Option<RawSyslogSink>,
    /// What happens to calls while it takes nothing; default `drop`.
    pub(crate) on_failure: Option<RawSinkFailure>,
    /// What may wait for it.
    pub(crate) queue: Option<RawSinkQueue>,
    /// What waits for it; default `file`.
    pub(crate) resume: Option<RawResume>,
}

/// Standard output has no settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StdoutSink")]
pub(crate) struct RawStdoutSink {}

/// A receiver of OTLP logs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OtlpSink")]
pub(crate) struct RawOtlpSink {
    /// `https://collector.example:4318`, to which `/v1/logs` is added, or a URL with a path, which is taken as it is; `http` only on
    /// loopback.
    pub(crate) url: Spanned<String>,
    /// Headers by which the receiver knows us.
    #[serde(default)]
    pub(crate) headers: Vec<RawDestinationHeader>,
    /// PEM file: the roots to trust; default: the system's.
    pub(crate) ca: Option<Spanned<String>>,
    /// The certificate that we show.
    pub(crate) client: Option<Spanned<RawSinkClient>>,
    /// The proxy to this receiver alone; default: as `egress` has it.
    pub(crate) proxy: Option<Spanned<RawProxy>>,
}

/// A receiver of syslog.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SyslogSink")]
pub(crate) struct RawSyslogSink {
    /// `logs.example:6514`.
    pub(crate) address: Spanned<String>,
    /// How it is reached; default `tls`.
    pub(crate) transport: Option<RawTransport>,
    /// What its certificate must be for; default: the host of `address`.
    pub(crate) server_name: Option<Spanned<String>>,
    /// PEM file: the roots to trust; default: the system's.
    pub(crate) ca: Option<Spanned<String>>,
    /// The certificate that we show.
    pub(crate) client: Option<Spanned<RawSinkClient>>,
    /// Default `audit`.
    pub(crate) facility: Option<RawFacility>,
    /// APP-NAME; default `lightkeeper`.
    pub(crate) app_name: Option<Spanned<String>>,
    /// The proxy to this receiver alone; default: as `egress` has it.
    pub(crate) proxy: Option<Spanned<RawProxy>>,
}

/// A certificate and its key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SinkClient")]
pub(crate) struct RawSinkClient {
    /// PEM file with the chain.
    pub(crate) certificate: Spanned<String>,
    /// PEM file with the key.
    pub(crate) key: Spanned<String>,
}

/// What may wait for a sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SinkQueue")]
pub(crate) struct RawSinkQueue {
    /// Records, in memory or, with `on_failure: refuse`, in the trail's file; default 4096.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(crate) records: Option<u32>,
    /// What they may take in memory, from `64KiB` to `1GiB`; default `16MiB`.
    pub(crate) bytes: Option<Spanned<RawSize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SinkFailure")]
pub(crate) enum RawSinkFailure {
    /// Calls pass; what has no room is not sent, counted and told of.
    Drop,
    /// 503 / UNAVAILABLE once its queue is full.
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Resume")]
pub(crate) enum RawResume {
    /// The trail's file, also over restarts; without a file that stays, memory.
    File,
    /// Memory alone.
    Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SyslogTransport")]
pub(crate) enum RawTransport {
    Tls,
    /// In plaintext: for a receiver on this machine.
    Tcp,
}

/// RFC 5424 section 6.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Facility")]
pub(crate) enum RawFacility {
    User,
    Daemon,
    Auth,
    Authpriv,
    Audit,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

/// A witness of the trail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Witness")]
pub(crate) struct RawWitness {
    /// What metrics and events call it; default `witness`.
    pub(crate) name: Option<Spanned<String>>,
    /// `https://witness.example/prefix`, to which `/add-checkpoint` is added; `http` only on loopback.
    pub(crate) url: Spanned<String>,
    /// Its public key for cosignatures, `name+id+key`.
    pub(crate) key: Spanned<String>,
    /// PEM file: the roots to trust; default: the system's.
    pub(crate) ca: Option<Spanned<String>>,
    /// The proxy to this witness alone; default: as `egress` has it.
    pub(crate) proxy: Option<Spanned<RawProxy>>,
}
