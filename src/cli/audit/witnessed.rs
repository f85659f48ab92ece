//! What witnesses signed of a trail.
//!
//! What it does: finds the last checkpoint that each witness countersigned, and holds what they signed against the trail's own
//! checkpoints. What it refuses to know: the trail's lines, which are held against those. Invariant: a signature counts only with a
//! signature of the log itself, and for a tree that the log's own file states.

use std::path::{Path, PathBuf};

use super::fault::AuditFault;
use super::sealed::{Seals, text};
use crate::audit::cosigned_beside;
use crate::transparency::{
    Checkpoint, Cosignature, NoteFault, NoteVerifier, WitnessKey, sealed_texts,
};

/// A year of checkpoints of some witnesses takes less.
const COSIGNED_LIMIT_BYTES: u64 = 2 << 30;

/// How far one witness saw the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WitnessedHead {
    pub witness: String,
    pub size: u64,
    /// Unix seconds.
    pub time: u64,
}

/// What witnesses say against a trail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongWitness {
    #[error("`{}`: `{witness}` countersigned no checkpoint", .path.display())]
    Absent { path: PathBuf, witness: String },
    #[error("`{}`: `{witness}` countersigned {size} records, which the trail's checkpoints do not state: the log was set back, or has two faces", .path.display())]
    Foreign {
        path: PathBuf,
        witness: String,
        size: u64,
    },
    #[error("`{}`: a signature of `{witness}` is wrong", .path.display())]
    Signature { path: PathBuf, witness: String },
}

/// What is looked for.
pub(super) struct WantedWitnesses<'a> {
    /// Keys, `name+id+key`.
    pub witnesses: &'a [String],
    /// `None`: beside the checkpoints.
    pub cosigned: Option<&'a Path>,
    /// The log's own keys.
    pub log: &'a [NoteVerifier],
}

/// What witnesses signed. The inner error is a finding.
pub(super) fn witnessed(
    wanted: &WantedWitnesses<'_>,
    seals: &Seals,
) -> Result<Result<Vec<WitnessedHead>, WrongWitness>, AuditFault> {
    if wanted.witnesses.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let path = match wanted.cosigned {
        Some(path) => path.to_owned(),
        None => cosigned_beside(&seals.path),
    };
    let text = text(&path, COSIGNED_LIMIT_BYTES)?;
    let mut found = Vec::new();
    for given in wanted.witnesses {
        let key = WitnessKey::parse(given).map_err(|cause| AuditFault::Key {
            given: given.clone(),
            cause,
        })?;
        let mut last = None;
        for (_, note) in sealed_texts(&text) {
            match one(&key, note, wanted.log, seals, &path) {
                Ok(Some(head)) => last = Some(head),
                Ok(None) => {}
                Err(wrong) => return Ok(Err(wrong)),
            }
        }
        match last {
            Some(head) => found.push(head),
            None => {
                let witness = key.name().to_owned();
                return Ok(Err(WrongWitness::Absent { path, witness }));
            }
        }
    }
    Ok(Ok(found))
}

fn one(
    key: &WitnessKey,
    note: &str,
    log: &[NoteVerifier],
    seals: &Seals,
    path: &Path,
) -> Result<Option<WitnessedHead>, WrongWitness> {
    let witness = || key.name().to_owned();
    let time = match key.open(note) {
        Ok(Some(Cosignature { time })) => time,
        // A note in part, where a process was killed, is none.
        Ok(None) => return Ok(None),
        Err(NoteFault::Malformed) => return Ok(None),
        Err(_) => {
            return Err(WrongWitness::Signature {
                path: path.to_owned(),
                witness: witness(),
            });
        }
    };
    // What the log did not sign is no statement of the log's.
    let Ok((head, _)) = Checkpoint::open(note, log) else {
        return Ok(None);
    };
    let mut heads = seals.heads.iter();
    if !heads.any(|known| (known.size, known.root) == (head.size, head.root)) {
        return Err(WrongWitness::Foreign {
            path: path.to_owned(),
            witness: witness(),
            size: head.size,
        });
    }
    Ok(Some(WitnessedHead {
        witness: witness(),
        size: head.size,
        time,
    }))
}
