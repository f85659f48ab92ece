//! A witness that countersigns checkpoints (C2SP `tlog-witness`).
//!
//! What it does: makes of the trail's files the proof that a checkpoint goes on from the last one that a witness saw, asks for its
//! signature, verifies it, and keeps it beside. What it refuses to know: which witness a reader trusts. Invariants: at most 64 hashes and one
//! batch of leaves are held, however far behind the witness is; what is kept was verified; a witness that has seen more than
//! there is stands for a trail that was cut, and is told so.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use http::{Method, Request, StatusCode};

use super::board::TrailProgress;
use super::entry::SinkEntry;
use super::fault::OutletFault;
use super::follow::{FollowerPlace, TrailFollower};
use super::queue::QueueBounds;
use super::settings::WitnessSettings;
use crate::audit::kept;
use crate::audit::seal::NewestCheckpoint;
use crate::audit::sequence::named_beside;
use crate::egress::{OutboundBounds, OutboundClient, OutboundFault};
use crate::pem;
use crate::transparency::{
    Checkpoint, CheckpointFault, LeafRange, NoteFault, SignedNote, TreeEdge, TreeHash,
    consistency_ranges,
};

/// Leaves that are read at once.
const LEAVES: QueueBounds = QueueBounds {
    records: 4096,
    bytes: 4 << 20,
};

/// What is kept of checkpoints with a witness's signature.
pub(crate) fn cosigned_beside(checkpoints: &Path) -> PathBuf {
    named_beside(checkpoints, ".cosigned")
}

/// Why a checkpoint was not countersigned.
#[derive(Debug, thiserror::Error)]
pub(super) enum WitnessFault {
    #[error(transparent)]
    Unopened(#[from] OutletFault),
    #[error(transparent)]
    Outbound(#[from] OutboundFault),
    #[error("the trail or what is kept beside cannot be read or written")]
    File(#[from] io::Error),
    #[error("the checkpoint is none")]
    Checkpoint(#[from] CheckpointFault),
    #[error("the files are not what the checkpoint states: {0} records")]
    Tree(u64),
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error("it has seen {seen} records, and there are {there}: the trail was cut")]
    Ahead { seen: u64, there: u64 },
    #[error("its answer is no signature of its own")]
    Answer,
    #[error("its signature is wrong")]
    Signature(#[from] NoteFault),
}

impl WitnessFault {
    /// A stable code.
    pub(super) fn code(&self) -> &'static str {
        match self {
            WitnessFault::Unopened(_) => "settings",
            WitnessFault::Outbound(OutboundFault::Untrusted { .. }) => "untrusted",
            WitnessFault::Outbound(OutboundFault::TimedOut(_)) => "timed_out",
            WitnessFault::Outbound(_) => "unreachable",
            WitnessFault::File(_) => "unreadable",
            WitnessFault::Checkpoint(_) | WitnessFault::Tree(_) => "tree",
            WitnessFault::Status(StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) => "denied",
            WitnessFault::Status(_) => "status",
            WitnessFault::Ahead { .. } => "ahead",
            WitnessFault::Answer | WitnessFault::Signature(_) => "signature",
        }
    }
}

/// One witness, and how far it is.
pub(super) struct WitnessOutlet {
    client: OutboundClient,
    settings: WitnessSettings,
}

/// What of the tree one witness has seen.
pub(super) struct WitnessedTree {
    audit: PathBuf,
    path: PathBuf,
    edge: TreeEdge,
}

/// The tree of a checkpoint, and the proof that it goes on from what was seen.
struct WitnessProof {
    edge: TreeEdge,
    hashes: Vec<TreeHash>,
}

impl WitnessOutlet {
    pub(super) fn open(settings: &WitnessSettings) -> Result<Self, OutletFault> {
        let roots = pem::roots(settings.ca.as_deref())?;
        Ok(WitnessOutlet {
            client: OutboundClient::new(roots, &settings.egress, OutboundBounds::WITNESS)?,
            settings: settings.clone(),
        })
    }

    /// Has the newest checkpoint countersigned. The number of records that the witness has seen then.
    pub(super) async fn witness(
        &self,
        tree: &mut WitnessedTree,
        newest: &NewestCheckpoint,
        cosigned: &Path,
    ) -> Result<u64, WitnessFault> {
        let Some(note) = newest.lock().clone() else {
            return Ok(tree.edge.size());
        };
        let note = own_note(&note);
        let text = SignedNote::parse(&note)?.unproven_text().to_owned();
        let checkpoint = Checkpoint::parse(&text)?;
        if checkpoint.size <= tree.edge.size() {
            return Ok(tree.edge.size());
        }
        // A witness may know another size than was kept: it says so once, and the answer to that is the last word.
        for is_last in [false, true] {
            let proof = tree.proof(checkpoint.size)?;
            if proof.edge.root() != checkpoint.root {
                return Err(WitnessFault::Tree(checkpoint.size));
            }
            let answer = self.ask(tree.edge.size(), &proof.hashes, &note).await?;
            match answer.status() {
                StatusCode::OK => {
                    let lines = String::from_utf8(answer.into_body());
                    let lines = lines.map_err(|_| WitnessFault::Answer)?;
                    self.keep(&note, &lines, newest, cosigned)?;
                    tree.edge = proof.edge;
                    tree.keep()?;
                    return Ok(checkpoint.size);
                }
                StatusCode::CONFLICT if !is_last => {
                    let seen = size_of(answer.body()).ok_or(WitnessFault::Answer)?;
                    if seen > checkpoint.size {
                        return Err(WitnessFault::Ahead {
                            seen,
                            there: checkpoint.size,
                        });
                    }
                    tree.go_to(seen)?;
                }
                status => return Err(WitnessFault::Status(status)),
            }
        }
        Err(WitnessFault::Answer)
    }

    async fn ask(
        &self,
        from: u64,
        hashes: &[TreeHash],
        note: &str,
    ) -> Result<http::Response<Vec<u8>>, WitnessFault> {
        let mut body = format!("old {from}\n");
        for hash in hashes {
            body.push_str(&format!("{hash}\n"));
        }
        body.push('\n');
        body.push_str(note);
        let mut request = Request::new(body.into_bytes());
        *request.method_mut() = Method::POST;
        let url = format!("{}/add-checkpoint", self.settings.url);
        *request.uri_mut() = url.parse().map_err(|_| OutletFault::Form)?;
        Ok(self.client.ask(request).await?)
    }

    /// Verifies the witness's line, and keeps the checkpoint with it.
    fn keep(
        &self,
        note: &str,
        lines: &str,
        newest: &NewestCheckpoint,
        cosigned: &Path,
    ) -> Result<(), WitnessFault> {
        let own = |line: &&str| {
            let one = format!("{note}{line}");
            matches!(self.settings.key.open(&one), Ok(Some(_)))
        };
        let mut all = lines.split_inclusive('\n');
        // An answer may hold lines of the same witness's other keys.
        let line = all.find(own).ok_or(WitnessFault::Answer)?;
        let whole = format!("{note}{line}");
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o640).custom_flags(libc::O_NOFOLLOW);
        }
        let mut file = options.open(cosigned)?;
        // Several witnesses append to it: each note in one piece.
        file.write_all(whole.as_bytes())?;
        file.sync_data()?;
        let mut newest = newest.lock();
        if let Some(shown) = newest.clone()
            && own_note(&shown) == note
        {
            *newest = Some(format!("{shown}{line}").into());
        }
        Ok(())
    }
}

/// A note without the lines of witnesses: those of the log's own keys, which have the log's name.
fn own_note(note: &str) -> String {
    let origin = note.lines().next().unwrap_or_default();
    let own = format!("\u{2014} {origin} ");
    let lines = note.split_inclusive('\n');
    let is_kept = |line: &&str| !line.starts_with('\u{2014}') || line.starts_with(&own);
    lines.filter(is_kept).collect()
}

/// A decimal number and a line feed (C2SP `tlog-witness`, `text/x.tlog.size`).
fn size_of(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

impl WitnessedTree {
    /// Goes on from what was kept beside the trail.
    pub(super) fn open(audit: &Path, name: &str) -> io::Result<Self> {
        let path = named_beside(audit, &format!(".{name}.witness"));
        let edge = kept::read(&path)?.edge;
        Ok(WitnessedTree {
            audit: audit.to_owned(),
            path,
            edge,
        })
    }

    /// The number of records that the witness has seen.
    pub(super) fn size(&self) -> u64 {
        self.edge.size()
    }

    fn keep(&self) -> io::Result<()> {
        kept::keep_edge(&self.path, &self.edge)
    }

    /// Has another size as the one that was seen.
    fn go_to(&mut self, size: u64) -> io::Result<()> {
        let from = match size >= self.edge.size() {
            true => self.edge.clone(),
            false => TreeEdge::default(),
        };
        self.edge = grown(&self.audit, from, size, |_, _| {})?;
        Ok(())
    }

    /// The proof that the tree of `size` leaves goes on from the one that was seen.
    fn proof(&self, size: u64) -> io::Result<WitnessProof> {
        let mut ranges = consistency_ranges(self.edge.size(), size);
        // What lies left of a split is perfect (RFC 6962 section 2.1.2): the edge that was seen has its roots.
        if !ranges.iter_mut().all(|range| range.begin_with(&self.edge)) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let edge = grown(&self.audit, self.edge.clone(), size, |seq, leaf| {
            ranges.iter_mut().for_each(|range| range.see(seq, leaf));
        })?;
        let hashes = ranges.into_iter().map(LeafRange::root).collect();
        Ok(WitnessProof { edge, hashes })
    }
}

/// A tree with the leaves of the trail's files up to `size`; a number without a record is an empty leaf.
fn grown(
    audit: &Path,
    mut edge: TreeEdge,
    size: u64,
    mut see: impl FnMut(u64, TreeHash),
) -> io::Result<TreeEdge> {
    let place = FollowerPlace {
        next: edge.size(),
        ..FollowerPlace::default()
    };
    let mut follower = TrailFollower::new(audit, None, place);
    let progress = TrailProgress {
        next: size,
        sealed: 0,
    };
    loop {
        let read = follower.read(progress, LEAVES)?;
        let leaves: Vec<(u64, TreeHash)> = read
            .iter()
            .filter_map(|entry| match entry {
                SinkEntry::Record { seq, line } => Some((*seq, TreeHash::of_leaf(line))),
                SinkEntry::Checkpoint { .. } => None,
            })
            .collect();
        if leaves.is_empty() {
            break;
        }
        for (seq, leaf) in leaves {
            see(seq, leaf);
            edge.fill_to(seq);
            edge.push(leaf);
        }
    }
    edge.fill_to(size);
    Ok(edge)
}

#[cfg(test)]
mod tests;
