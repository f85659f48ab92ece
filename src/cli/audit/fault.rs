//! Why a tool gives up.
//!
//! What it does: has one value for each reason, with its source. What it refuses to know: what is wrong with a trail, which is a finding.

use std::io;
use std::path::{Path, PathBuf};

use super::shown;
use crate::audit::NoMoment;
use crate::document;
use crate::transparency::NoteFault;

/// What is wrong with what was given; what is wrong with a trail is a finding, and no fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuditFault {
    #[error("`{}` cannot be read", shown(.path))]
    Unread {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("`{}` cannot be written", shown(.path))]
    Unwritten {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("standard output cannot be written")]
    Output(#[source] io::Error),
    #[error("key {}", document::path(Path::new(.given)))]
    Key {
        given: String,
        #[source]
        cause: NoteFault,
    },
    #[error("`{}` is not what `audit prune` writes", shown(.0))]
    Pruned(PathBuf),
    #[error("`{}` and `{}` begin with the same record: give each file once", shown(.0), shown(.1))]
    Twice(PathBuf, PathBuf),
    #[error("{0}")]
    Checkpoints(super::sealed::WrongCheckpoint),
    #[error("{0}")]
    Wrong(&'static str),
    #[error("no record has the request id {}", document::path(Path::new(.0)))]
    NoRecord(String),
    #[error("the record is not sealed yet: the next checkpoint will")]
    Unsealed,
    #[error(
        "the trail is not what its checkpoint states: `audit verify` names the first wrong line"
    )]
    Mismatch,
    #[error(transparent)]
    Time(#[from] NoMoment),
    #[error("the configuration is refused: `lightkeeper check` says why")]
    Refused,
    #[error("the configuration has no `vault.audit_keys`")]
    Unsigned,
    #[error("`audit.file` of the configuration is no file, or there is none yet: name the files")]
    NoTrail,
    #[error("the keys cannot be read")]
    Signers(#[source] crate::audit::SealFault),
}

impl AuditFault {
    pub(super) fn unread(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| AuditFault::Unread { path, cause }
    }

    pub(super) fn unwritten(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| AuditFault::Unwritten { path, cause }
    }

    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, AuditFault::Output(cause) if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}
