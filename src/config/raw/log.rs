//! `log:`, as it is written.
//!
//! What it does: mirrors form and level. What it refuses to know: where the log goes. Invariant: what is not written
//! stays `None`.

use schemars::JsonSchema;
use serde::Deserialize;

/// The gateway's own log, on standard error.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Log")]
pub(crate) struct RawLog {
    /// Default `json`.
    pub format: Option<RawLogFormat>,
    /// Default `info`.
    pub level: Option<RawLogLevel>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogFormat")]
pub(crate) enum RawLogFormat {
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogLevel")]
pub(crate) enum RawLogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
