//! `audit:`, as it is written.
//!
//! What it does: mirrors where the trail goes and what happens when it cannot. What it refuses to know: records.
//! Invariant: what is not written stays `None`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::Spanned;
use crate::document::quantity::RawSize;

/// The audit trail.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Audit")]
pub(crate) struct RawAudit {
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
pub(crate) enum RawOnFailure {
    /// 503 / UNAVAILABLE: nothing passes unrecorded.
    Refuse,
    /// Calls pass, and the gap is recorded afterwards.
    Continue,
}
