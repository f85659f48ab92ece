//! The tree over the trail, and its signed checkpoints.
//!
//! What it does: adds each line that was written as a leaf, and states the tree's head from time to time in a file of signed
//! notes. What it refuses to know: how lines are written. Invariants: a leaf is exactly a line that stands in a file; a
//! number without a line is an empty leaf; no checkpoint states less than one before it, or another root for the same size.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};

use super::kept::{self, FoundLines};
use super::record::{Record, timestamp};
use super::sink::FilePlace;
use super::{SealSettings, kept::tree_beside};
use crate::clock::Clock;
use crate::identify::session_key_bytes;
use crate::lock::Mutex;
use crate::reason::Reason;
use crate::secret::UnreadableSecret;
use crate::telemetry::EventName;
use crate::transparency::{
    Checkpoint, CheckpointFault, NoteFault, NoteSigner, NoteVerifier, SignedNote, TreeEdge,
    TreeHash, sealed_texts,
};

/// What is looked at for the last checkpoint.
const TAIL_BYTES: u64 = 64 << 10;
/// Leaves of which a checkpoint's record repeats two bytes each; as many find room in its detail.
pub(crate) const SHORT_LIMIT: usize = 1400;

/// The newest checkpoint, for who asks.
pub(in crate::audit) type NewestCheckpoint = Arc<Mutex<Option<Arc<str>>>>;

/// Why a trail cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealFault {
    #[error("audit key {number}")]
    Unreadable {
        number: usize,
        #[source]
        cause: SealKeyCause,
    },
    #[error("`{}` cannot be used", .path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("checkpoints need an `audit.file` that stays: no pipe, no device, not standard output")]
    NoFile,
    #[error("the last checkpoint in `{}` is none of this log: {why}", .path.display())]
    Foreign { path: PathBuf, why: ForeignCause },
}

/// What is wrong with a key.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SealKeyCause(KeyCause);

#[derive(Debug, thiserror::Error)]
enum KeyCause {
    #[error(transparent)]
    Secret(#[from] UnreadableSecret),
    #[error(transparent)]
    Key(#[from] NoteFault),
}

/// Why the checkpoints that are there do not belong to the trail that is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignCause {
    #[error("it cannot be read")]
    Malformed,
    #[error("it is of `{0}`: set `audit.name` and `audit.instance` to that, or begin new files")]
    Origin(String),
    #[error(
        "it states {stated} records, and there are {there}: put `audit.file` and what stands beside it back, or begin new files"
    )]
    Smaller { stated: u64, there: u64 },
    #[error("the first {0} records are others than it states")]
    Forked(u64),
}

/// Reads the keys that sign.
pub(super) fn signers(settings: &SealSettings) -> Result<Vec<NoteSigner>, SealFault> {
    let read = |reference: &crate::secret::SecretRef| -> Result<NoteSigner, KeyCause> {
        let secret = reference.open()?;
        let seed = session_key_bytes(&secret).ok_or(NoteFault::Seed)?;
        Ok(NoteSigner::new(&settings.origin, &seed)?)
    };
    (1..)
        .zip(&settings.keys)
        .map(|(number, reference)| {
            read(reference).map_err(|cause| SealFault::Unreadable {
                number,
                cause: SealKeyCause(cause),
            })
        })
        .collect()
}

/// The keys that verify what these settings sign, the one that signs first.
pub(crate) fn verifiers(settings: &SealSettings) -> Result<Vec<NoteVerifier>, SealFault> {
    let signers = signers(settings)?;
    Ok(signers.iter().map(|key| key.verifier().clone()).collect())
}

/// Seals one trail. The writer's own.
pub(super) struct Sealer {
    keys: Vec<NoteSigner>,
    origin: String,
    clock: Clock,
    checkpoints: CheckpointFile,
    tree: PathBuf,
    edge: TreeEdge,
    /// Leaves that the last checkpoint states.
    sealed: u64,
    /// Lines that no file has yet, with their numbers.
    pending: VecDeque<(u64, TreeHash)>,
    /// Of leaves since `begin`.
    short: Vec<u8>,
    written: usize,
    begin: u64,
    records: usize,
    interval: Duration,
    due: Option<Instant>,
    /// Whether the second key signs as well, because the first never did.
    is_new_key: bool,
    newest: NewestCheckpoint,
}

impl Sealer {
    /// Takes up the tree of the trail in `audit`, of which this process holds the lock.
    pub(super) fn open(
        settings: &SealSettings,
        audit: &Path,
        clock: Clock,
        newest: NewestCheckpoint,
    ) -> Result<(Self, FoundLines), SealFault> {
        let keys = signers(settings)?;
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |cause| SealFault::File { path, cause }
        };
        let tree = tree_beside(audit);
        let (checkpoints, last) =
            CheckpointFile::open(&settings.checkpoints).map_err(fault(&settings.checkpoints))?;
        let foreign = |why| SealFault::Foreign {
            path: settings.checkpoints.clone(),
            why,
        };
        let verifiers: Vec<NoteVerifier> = keys.iter().map(|key| key.verifier().clone()).collect();
        let stated = last
            .as_deref()
            .map(|note| stated(note, settings, &verifiers))
            .transpose()
            .map_err(foreign)?;
        let kept = kept::read(&tree).map_err(fault(&tree))?;
        let mut sealer = Sealer {
            keys,
            origin: settings.origin.clone(),
            clock,
            checkpoints,
            tree,
            begin: kept.edge.size(),
            edge: kept.edge.clone(),
            sealed: 0,
            pending: VecDeque::new(),
            short: Vec::new(),
            written: 0,
            records: settings.records.max(1),
            interval: settings.interval,
            due: None,
            is_new_key: stated.as_ref().is_some_and(|(_, is_known)| !is_known),
            newest,
        };
        let mut agrees = stated.as_ref().is_none_or(|(head, _)| {
            head.size < sealer.edge.size()
                || head.size == 0
                || (head.size == sealer.edge.size() && head.root == sealer.edge.root())
        });
        let found = kept::add_lines(&kept, audit, |seq, leaf| {
            sealer.add(seq, leaf);
            if let Some((head, _)) = &stated
                && head.size == sealer.edge.size()
            {
                agrees = head.root == sealer.edge.root();
            }
        })
        .map_err(fault(audit))?;
        if let Some((head, _)) = stated {
            let there = sealer.edge.size();
            if head.size > there {
                let stated = head.size;
                return Err(foreign(ForeignCause::Smaller { stated, there }));
            }
            if !agrees {
                return Err(foreign(ForeignCause::Forked(head.size)));
            }
            sealer.sealed = head.size;
            *sealer.newest.lock() = last.map(Into::into);
        }
        Ok((sealer, found))
    }

    /// The tree over the lines so far.
    pub(super) fn edge(&self) -> &TreeEdge {
        &self.edge
    }

    /// Leaves that the last checkpoint states.
    pub(super) fn sealed(&self) -> u64 {
        self.sealed
    }

    /// A line that is about to be written.
    pub(super) fn queue(&mut self, seq: u64, line: &[u8]) {
        self.pending.push_back((seq, TreeHash::of_leaf(line)));
    }

    /// So many of the queued lines stand in a file now.
    pub(super) fn written(&mut self, lines: u64) {
        for _ in 0..lines {
            let Some((seq, leaf)) = self.pending.pop_front() else {
                return;
            };
            self.add(seq, leaf);
        }
    }

    /// So many of the queued lines, the last ones, never will.
    pub(super) fn lost(&mut self, lines: u64) {
        let lost = usize::try_from(lines).unwrap_or(usize::MAX);
        self.pending
            .truncate(self.pending.len().saturating_sub(lost));
    }

    fn add(&mut self, seq: u64, leaf: TreeHash) {
        self.edge.fill_to(seq);
        self.edge.push(leaf);
        if self.short.len() < 2 * SHORT_LIMIT {
            self.short.extend(leaf.short().to_be_bytes());
        }
        self.written += 1;
        if self.due.is_none() {
            self.due = Some(Instant::now() + self.interval);
        }
    }

    /// When the next checkpoint is due, if nothing more comes; `None`: nothing is to be stated.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether a checkpoint is due. `at_once`: for whatever there is to state.
    pub(super) fn is_due(&self, at_once: bool) -> bool {
        let has_come = |due: Instant| at_once || due <= Instant::now();
        self.due
            .is_some_and(|due| self.written >= self.records || has_come(due))
    }

    /// The record that stands before a checkpoint: when it was, of which log, and from which number on two bytes of each
    /// leaf's hash.
    pub(super) fn announcement(&self) -> Record {
        let short = BASE64_STANDARD_NO_PAD.encode(&self.short);
        Record {
            time: timestamp(self.clock.now().0),
            request_id: format!("checkpoint-{}", self.edge.size()),
            event: EventName::CheckpointStarted,
            reason: Reason::CheckpointDue,
            detail: Some(format!("{} from {}: {short}", self.origin, self.begin).into()),
            ..Record::default()
        }
    }

    /// States the tree. `file`: where the next line will stand; all before it is on the disk.
    /// Gives how much it states, and the note.
    pub(super) fn seal(&mut self, file: FilePlace) -> io::Result<(u64, Arc<str>)> {
        // A broken disk is not asked again with every batch.
        self.due = Some(Instant::now() + self.interval);
        self.written = 0;
        kept::keep(&self.tree, &self.edge, file)?;
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: self.edge.size(),
            root: self.edge.root(),
        };
        let signs = if self.is_new_key { 2 } else { 1 };
        let note = checkpoint.sign(self.keys.iter().take(signs));
        self.checkpoints.append(&note)?;
        self.sealed = checkpoint.size;
        self.is_new_key = false;
        self.short.clear();
        self.begin = checkpoint.size;
        self.due = None;
        let note: Arc<str> = note.into();
        *self.newest.lock() = Some(note.clone());
        Ok((self.sealed, note))
    }
}

/// What the last checkpoint states, and whether the first key signed it.
fn stated(
    note: &str,
    settings: &SealSettings,
    keys: &[NoteVerifier],
) -> Result<(Checkpoint, bool), ForeignCause> {
    let parsed = SignedNote::parse(note).map_err(|_| ForeignCause::Malformed)?;
    let head = Checkpoint::parse(parsed.unproven_text()).map_err(|_| ForeignCause::Malformed)?;
    if head.origin != settings.origin {
        return Err(ForeignCause::Origin(head.origin));
    }
    match Checkpoint::open(note, keys) {
        // Of a key that is no longer here: its root is compared all the same.
        Ok(_) | Err(CheckpointFault::Note(NoteFault::Unsigned)) => {}
        Err(_) => return Err(ForeignCause::Malformed),
    }
    let is_known = keys.first().is_some_and(|first| parsed.names(first));
    Ok((head, is_known))
}

/// The file that signed checkpoints are appended to.
struct CheckpointFile {
    file: File,
    /// Behind the last whole note.
    length: u64,
}

impl CheckpointFile {
    /// Opens it, cuts off a note in part, and gives the last whole one.
    fn open(path: &Path) -> io::Result<(Self, Option<String>)> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o640).custom_flags(libc::O_NOFOLLOW);
        }
        let mut file = options.open(path)?;
        let whole = file.metadata()?.len();
        let begin = whole.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(begin))?;
        let mut tail = Vec::new();
        (&mut file).take(TAIL_BYTES).read_to_end(&mut tail)?;
        // A tail may begin within a sign of several bytes, and within a note.
        let text = String::from_utf8_lossy(&tail);
        let is_whole = |note: &str| note.ends_with('\n') && SignedNote::parse(note).is_ok();
        let notes: Vec<(usize, &str)> = sealed_texts(&text).collect();
        let torn = notes
            .last()
            .filter(|(_, note)| !is_whole(note))
            .map_or(0, |(_, note)| note.len() as u64);
        let last = notes.iter().rev().find(|(_, note)| is_whole(note));
        let last = last.map(|(_, note)| (*note).to_owned());
        let length = whole.saturating_sub(torn);
        if torn > 0 && std::str::from_utf8(&tail).is_ok_and(|_| last.is_some() || begin == 0) {
            file.set_len(length)?;
        } else if torn > 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((CheckpointFile { file, length }, last))
    }

    fn append(&mut self, note: &str) -> io::Result<()> {
        let appended = self
            .file
            .write_all(note.as_bytes())
            .and_then(|()| self.file.sync_data());
        match appended {
            Ok(()) => self.length += note.len() as u64,
            // No note stands in part before the next one.
            Err(_) => self.file.set_len(self.length)?,
        }
        appended
    }
}

#[cfg(test)]
pub(crate) mod tests;
