//! The checked settings of the audit trail. `config` builds them; nothing here opens a file.

use std::path::PathBuf;
use std::time::Duration;

use super::SinkSettings;
use crate::secret::SecretRef;

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
    /// `None`: the trail has no checkpoints.
    pub seal: Option<SealSettings>,
    pub durability: Durability,
    /// `None`: it is rotated from outside, or not at all.
    pub rotation: Option<RotationSettings>,
    /// Where records go besides.
    pub sinks: Vec<SinkSettings>,
}

impl AuditSettings {
    /// Whether both are of the same trail: sinks can change while it is written.
    pub(crate) fn is_same_trail(&self, other: &Self) -> bool {
        let with = AuditSettings {
            sinks: other.sinks.clone(),
            ..self.clone()
        };
        with == *other
    }
}

/// How others can verify the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealSettings {
    /// The log's name, and that of its keys: `audit.name`, `/`, `audit.instance`.
    pub origin: String,
    /// Keys of 32 bytes (base64 or hexadecimal); the first signs, the second signs as well the first time that the first does.
    pub keys: Vec<SecretRef>,
    /// Signed checkpoints are appended here.
    pub checkpoints: PathBuf,
    /// Records between two checkpoints at most, about. 1,000.
    pub records: usize,
    /// Time between a record and its checkpoint at most, about. 10 s.
    pub interval: Duration,
}

/// When a record is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// With the next checkpoint, rotation or stop, or when the system sees fit.
    Interval,
    /// Before the next batch of records is written.
    EveryRecord,
}

/// When a new file is begun. The old one gets the number of its first record to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationSettings {
    pub bytes: Option<u64>,
    pub interval: Option<Duration>,
}

/// What happens to calls while records cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// 503 / UNAVAILABLE: nothing passes unrecorded.
    Refuse,
    /// Calls pass, lost records are counted and the gap is recorded when the sink recovers.
    Continue,
}
