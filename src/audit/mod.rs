//! The last room: everything about one call becomes one record.
//!
//! What it does: writes the audit trail through a bounded queue by its own task.
//! What it refuses to know: how a decision was made, and any secret.
//! Invariant: one record for each call that reaches us; a record that cannot be written is counted.

mod files;
mod kept;
mod line;
pub(crate) mod lines;
mod newest;
mod policies;
mod record;
mod rotate;
mod search;
pub(crate) mod seal;
mod sequence;
mod settings;
mod sink;
mod sinks;
mod trail;
mod writer;

pub(crate) use files::{TrailFile, put_in_order, trail_files};
pub(crate) use newest::{NewestRecords, SearchBounds, newest};
pub(crate) use policies::{KeptPolicyFault, kept_policy, told_kept};
pub use record::timestamp;
pub(crate) use record::{
    AwsPrincipal, ClaimFact, Items, PartRecord, Record, Who, WhoFacts, moment,
};
pub use seal::SealFault;
pub(crate) use seal::{SHORT_LIMIT, verifiers};
pub(crate) use search::{
    NoMoment, RecordConditions, RecordFilter, RequestRecord, RequestSearch, given_moment,
};
pub use settings::{AuditSettings, Durability, OnFailure, RotationSettings, SealSettings};
pub use sinks::{
    OtlpSinkSettings, SinkFailurePolicy, SinkKind, SinkSettings, SyslogSinkSettings, SyslogTls,
    UnopenedSink, WitnessSettings,
};
pub(crate) use sinks::{SinkGap, SinkRow, cosigned_beside};
pub(crate) use trail::{Slot, Trail, TrailFault, Unwritable};
