//! `audit:`, as it is written.
//!
//! What it does: mirrors where the trail goes and what happens when it cannot. What it refuses to know: records.
//! Invariant: what is not written stays `None`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::sinks::{RawSink, RawWitness};
use crate::document::Spanned;
use crate::document::quantity::{RawDuration, RawSize};

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
    /// What the trail's log is called, in checkpoints, without the instance; default: `organization`.
    pub(crate) name: Option<Spanned<String>>,
    /// Which of several gateways this is; default: the host's name.
    pub(crate) instance: Option<Spanned<String>>,
    /// Signed checkpoints are appended here, with `vault.audit_keys`; default: `audit.file` and `.checkpoints`.
    pub(crate) checkpoints: Option<Spanned<String>>,
    /// How often there is a checkpoint.
    pub(crate) every: Option<Spanned<RawEvery>>,
    /// When a record is on the disk; default `interval`.
    pub(crate) durability: Option<RawDurability>,
    /// When a new file is begun; default: never, but a file that was moved away is let go by SIGHUP.
    pub(crate) rotate: Option<Spanned<RawRotate>>,
    /// Where records and checkpoints go besides.
    #[serde(default)]
    pub(crate) sinks: Vec<Spanned<RawSink>>,
    /// Witnesses that countersign checkpoints (C2SP `tlog-witness`).
    #[serde(default)]
    pub(crate) witnesses: Vec<Spanned<RawWitness>>,
}

/// What comes first.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CheckpointEvery")]
pub(crate) struct RawEvery {
    /// Records between two checkpoints, about; default 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub records: Option<u32>,
    /// Time between a record and its checkpoint, about; default `10s`.
    pub time: Option<Spanned<RawDuration>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Durability")]
pub(crate) enum RawDurability {
    /// With the next checkpoint, rotation or stop, or when the system sees fit.
    Interval,
    /// Each batch of records before the next.
    EveryRecord,
}

/// What comes first.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rotate")]
pub(crate) struct RawRotate {
    /// A file's size, about.
    pub size: Option<Spanned<RawSize>>,
    /// The age of a file's first record.
    pub time: Option<Spanned<RawDuration>>,
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
