//! What a trail is held against: its signed checkpoints, and what is left of files that are gone.
//!
//! What it does: reads both, and refuses checkpoints that no honest log makes. What it refuses to know: the trail's lines.
//! Invariants: a checkpoint counts only with a signature of a given key; sizes never fall, and one size has one root.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fault::AuditFault;
use super::{SealedArguments, configured, shown};
use crate::audit::lines::open_plain;
use crate::audit::verifiers;
use crate::transparency::{
    Checkpoint, CheckpointFault, NoteVerifier, TreeEdge, TreeHash, sealed_texts,
};

/// A year of checkpoints each ten seconds takes less.
const CHECKPOINTS_LIMIT_BYTES: u64 = 2 << 30;
const SMALL_LIMIT_BYTES: u64 = 64 << 10;

/// A tree's head that a key of the log signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealedHead {
    pub size: u64,
    pub root: TreeHash,
    /// The first line of its note.
    pub line: u64,
    /// Where its note stands in the file.
    pub note: (usize, usize),
}

/// Which checkpoint is none, and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` line {line}: {why}", shown(.path))]
pub(super) struct WrongCheckpoint {
    pub path: PathBuf,
    pub line: u64,
    pub why: WrongHead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongHead {
    #[error(transparent)]
    Fault(#[from] CheckpointFault),
    #[error(
        "this checkpoint states {size} records, and the one before {before}: the log was set back"
    )]
    Smaller { size: u64, before: u64 },
    #[error("two checkpoints state {0} records, with different roots: the log has two faces")]
    Forked(u64),
}

/// All that seals a trail.
pub(super) struct Seals {
    pub path: PathBuf,
    pub text: String,
    pub heads: Vec<SealedHead>,
    /// Of the files that are gone.
    pub begin: TreeEdge,
}

impl Seals {
    pub(super) fn note(&self, head: &SealedHead) -> &str {
        self.text.get(head.note.0..head.note.1).unwrap_or_default()
    }
}

/// Reads what the arguments name.
pub(super) fn read(arguments: &SealedArguments) -> Result<Seals, AuditFault> {
    let keys = keys(arguments)?;
    let none = "no file of checkpoints is beside the trail: give `--checkpoints`";
    let path = match (&arguments.checkpoints, &arguments.trail.config) {
        (Some(path), _) => path.clone(),
        (None, Some(config)) if arguments.trail.files.is_empty() => {
            let seal = configured(config)?.seal.ok_or(AuditFault::Unsigned)?;
            seal.checkpoints
        }
        (None, _) => default_path(&arguments.trail.files).ok_or(AuditFault::Wrong(none))?,
    };
    let text = text(&path, CHECKPOINTS_LIMIT_BYTES)?;
    let heads = heads(&text, &keys).map_err(|(line, why)| {
        AuditFault::Checkpoints(WrongCheckpoint {
            path: path.clone(),
            line,
            why,
        })
    })?;
    let begin = match &arguments.pruned {
        Some(given) => read_pruned(given)?,
        None => {
            let beside = pruned_beside(&path);
            match beside.exists() {
                true => read_pruned(&beside)?,
                false => TreeEdge::default(),
            }
        }
    };
    Ok(Seals {
        path,
        text,
        heads,
        begin,
    })
}

/// The trail's own file has the shortest name; its checkpoints stand beside it.
fn default_path(files: &[PathBuf]) -> Option<PathBuf> {
    let shortest = files.iter().min_by_key(|file| file.as_os_str().len())?;
    let mut candidates = vec![shortest.clone()];
    candidates.extend(
        shortest
            .ancestors()
            .next()
            .map(|file| file.with_extension("")),
    );
    candidates.into_iter().find_map(|file| {
        let mut name = file.into_os_string();
        name.push(".checkpoints");
        Some(PathBuf::from(name)).filter(|path| path.exists())
    })
}

/// Keys as they are given, each a key or a file with one a line, or those of the configuration.
pub(super) fn keys(arguments: &SealedArguments) -> Result<Vec<NoteVerifier>, AuditFault> {
    let mut keys = Vec::new();
    if let (Some(config), []) = (&arguments.trail.config, arguments.keys.as_slice()) {
        let seal = configured(config)?.seal.ok_or(AuditFault::Unsigned)?;
        return verifiers(&seal).map_err(AuditFault::Signers);
    }
    for given in &arguments.keys {
        let parsed = NoteVerifier::parse(given);
        let path = Path::new(given);
        if parsed.is_err() && path.exists() {
            for line in text(path, SMALL_LIMIT_BYTES)?
                .lines()
                .filter(|line| !line.is_empty())
            {
                keys.push(NoteVerifier::parse(line).map_err(|cause| AuditFault::Key {
                    given: given.clone(),
                    cause,
                })?);
            }
            continue;
        }
        keys.push(parsed.map_err(|cause| AuditFault::Key {
            given: given.clone(),
            cause,
        })?);
    }
    Ok(keys)
}

/// The text of a file, as far as `limit` bytes go.
pub(super) fn text(path: &Path, limit: u64) -> Result<String, AuditFault> {
    let mut text = String::new();
    open_plain(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .map_err(AuditFault::unread(path))?;
    Ok(text)
}

/// The heads of all checkpoints, or the line and fault of the first that is none.
pub(super) fn heads(
    text: &str,
    keys: &[NoteVerifier],
) -> Result<Vec<SealedHead>, (u64, WrongHead)> {
    let mut heads: Vec<SealedHead> = Vec::new();
    let mut line = 1;
    for (begin, note) in sealed_texts(text) {
        let (head, _) = Checkpoint::open(note, keys).map_err(|fault| (line, fault.into()))?;
        if let Some(before) = heads.last() {
            if head.size < before.size {
                let (size, before) = (head.size, before.size);
                return Err((line, WrongHead::Smaller { size, before }));
            }
            if head.size == before.size && head.root != before.root {
                return Err((line, WrongHead::Forked(head.size)));
            }
        }
        heads.push(SealedHead {
            size: head.size,
            root: head.root,
            line,
            note: (begin, begin + note.len()),
        });
        line += note.matches('\n').count() as u64;
    }
    Ok(heads)
}

/// What is left of files that are gone: the edge of the tree over them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PrunedTree {
    /// The number of the first record that is there.
    minimum_index: u64,
    /// Roots of the perfect subtrees before it, largest first.
    subtrees: Vec<String>,
}

pub(super) fn pruned_beside(checkpoints: &Path) -> PathBuf {
    let mut name = checkpoints.as_os_str().to_owned();
    name.push(".pruned");
    PathBuf::from(name)
}

fn read_pruned(path: &Path) -> Result<TreeEdge, AuditFault> {
    let wrong = || AuditFault::Pruned(path.to_owned());
    let kept: PrunedTree =
        serde_json::from_str(&text(path, SMALL_LIMIT_BYTES)?).map_err(|_| wrong())?;
    let subtrees = kept.subtrees.iter().map(|root| TreeHash::from_base64(root));
    subtrees
        .collect::<Option<Vec<_>>>()
        .and_then(|roots| TreeEdge::of(kept.minimum_index, roots))
        .ok_or_else(wrong)
}

/// Writes what is left of files that are about to go, in the place of what was left before.
pub(super) fn write_pruned(path: &Path, edge: &TreeEdge) -> Result<(), AuditFault> {
    let kept = PrunedTree {
        minimum_index: edge.size(),
        subtrees: edge.roots().iter().map(ToString::to_string).collect(),
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    let next = PathBuf::from(name);
    let write = || -> std::io::Result<()> {
        use std::io::Write as _;
        let mut file = std::fs::File::create(&next)?;
        file.write_all(serde_json::to_string_pretty(&kept)?.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&next, path)
    };
    write().map_err(AuditFault::unwritten(path))
}
