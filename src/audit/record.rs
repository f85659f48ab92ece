//! One entry of the audit trail.
//!
//! What it does: holds the fields of a record in the order in which they are written.
//! What it refuses to know: where records go. Invariants: no field can hold a token, a cookie, a query
//! value or a body; text of the caller's is bounded and escaped by JSON.

use serde::Serialize;

/// Everything about one call or event. `seq` and `time` are set when it is written and when it happened.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Record {
    pub seq: u64,
    /// RFC 3339, milliseconds, UTC.
    pub time: String,
    pub request_id: String,
    /// `call`, or what else happened: `start`, `stop`, `reload`, `reload_failed`, `credential_refused`, …
    pub event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Who>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_method: Option<String>,
    /// Canonical, without query values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<&'static str>,
    pub reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    pub bindings: Vec<String>,
    pub policy_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Counted items of an export; `null` for what was not read.
    pub items: Option<Items>,
    /// Where an export's parts went, if it was more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartRecord>,
    pub duration_us: u64,
}

/// Whom a record is about.
#[derive(Clone, Debug, Serialize)]
pub struct Who {
    pub method: &'static str,
    pub issuer: String,
    pub subject: String,
}

/// One part of an export that was split, or one destination of an alert.
#[derive(Clone, Debug, Serialize)]
pub struct PartRecord {
    pub apps: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Of an alert: the destination's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    pub items: Items,
    /// `ok`, `remembered` (taken at an earlier try), or a reason code.
    pub reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
}

/// What became of an export's items.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Items {
    pub accepted: u64,
    pub rejected: u64,
}

/// RFC 3339 in UTC with milliseconds.
pub fn timestamp(unix_millis: i64) -> String {
    const FORMAT: &[time::format_description::FormatItem<'_>] =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_millis) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(FORMAT).ok())
        .unwrap_or_default()
}
