//! The checked settings of the audit trail. `config` builds them; nothing here opens a file.

use std::path::PathBuf;

/// `audit:` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// JSON lines are appended here; `None`: standard output.
    pub file: Option<PathBuf>,
    pub on_failure: OnFailure,
    /// Records that may wait for the disk. 4,096.
    pub queue_records: usize,
    /// What they may take in memory; it is a part of `limits.buffered_total`. 16 MiB, but at most a sixteenth of that.
    pub queue_bytes: u64,
}

/// What happens to calls while records cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// 503 / UNAVAILABLE: nothing passes unrecorded.
    Refuse,
    /// Calls pass, lost records are counted and the gap is recorded when the sink recovers.
    Continue,
}
