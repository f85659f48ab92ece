//! The checked settings of sinks. `config` builds them; nothing here opens anything.

use std::path::PathBuf;
use std::time::Duration;

use crate::egress::Egress;
use crate::forward::DestinationHeader;
use crate::transparency::WitnessKey;

/// Syslog confirms nothing: what was sent within this time before a connection broke may be lost.
pub(super) const SYSLOG_DOUBT: Duration = Duration::from_secs(60);

/// One entry of `audit.sinks`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// What metrics, events and the file beside the trail call it. Each name once.
    pub name: String,
    pub kind: SinkKind,
    pub on_failure: SinkFailurePolicy,
    /// Records that may wait: in memory, or, with `refuse`, in the trail's file. 4,096.
    pub queue_records: u64,
    /// What they may take in memory. 16 MiB.
    pub queue_bytes: u64,
    /// Whether what waits is read from the trail's file, where there is one that stays.
    pub resumes: bool,
    /// `audit.name` and `audit.instance`: of which gateway the records are.
    pub log: String,
    pub instance: String,
}

/// Where a sink's records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    Stdout,
    Otlp(OtlpSinkSettings),
    Syslog(SyslogSinkSettings),
    /// It gets checkpoints alone, and signs them.
    Witness(WitnessSettings),
}

impl SinkKind {
    /// The key of the configuration.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            SinkKind::Stdout => "stdout",
            SinkKind::Otlp(_) => "otlp",
            SinkKind::Syslog(_) => "syslog",
            SinkKind::Witness(_) => "witness",
        }
    }

    /// For how long what was sent may still be lost on its way; zero: its receipt is confirmed.
    pub(super) fn doubt(&self) -> Duration {
        match self {
            SinkKind::Stdout | SinkKind::Otlp(_) | SinkKind::Witness(_) => Duration::ZERO,
            SinkKind::Syslog(_) => SYSLOG_DOUBT,
        }
    }
}

/// What happens to calls while records wait for a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkFailurePolicy {
    /// Calls pass. What the queue has no room for is not sent, counted and told of.
    Drop,
    /// 503 / UNAVAILABLE once the queue is full.
    Refuse,
}

/// A receiver of OTLP logs over HTTP, in protobuf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSinkSettings {
    /// Whole: with `/v1/logs` where the configuration's URL has no path.
    pub url: String,
    pub headers: Vec<DestinationHeader>,
    /// PEM roots; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Files of the certificate that we show, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    pub egress: Egress,
}

/// A receiver of syslog messages over TLS (RFC 5425) or TCP (RFC 6587).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogSinkSettings {
    /// An IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    /// `None`: plaintext.
    pub tls: Option<SyslogTls>,
    /// 0 to 23 (RFC 5424 section 6.2.1).
    pub facility: u8,
    /// 1 to 48 printable ASCII signs.
    pub app_name: String,
    pub egress: Egress,
}

/// How a receiver of syslog is known, and knows us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogTls {
    /// What its certificate must be for; the host unless the configuration says otherwise.
    pub server_name: String,
    pub ca: Option<PathBuf>,
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// One entry of `audit.witnesses`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessSettings {
    /// To which `/add-checkpoint` is added.
    pub url: String,
    pub key: WitnessKey,
    pub ca: Option<PathBuf>,
    pub egress: Egress,
}
