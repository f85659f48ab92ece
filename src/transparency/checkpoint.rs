//! Checkpoints of a tree (C2SP `tlog-checkpoint` 1.0), and proofs with one (C2SP `tlog-proof@v1`).
//!
//! What it does: writes and reads both, and takes a file of checkpoints apart. What it refuses to know: which keys are to be
//! trusted. Invariant: a text is read only as it would be written: no leading zeros, no extension lines.

use super::note::{NoteFault, NoteSigner, NoteVerifier, SignedNote, sign};
use super::tree::TreeHash;

/// A tree's head, as its log states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The log's name, which is that of its keys.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    pub root: TreeHash,
}

/// Why a checkpoint is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckpointFault {
    #[error(transparent)]
    Note(#[from] NoteFault),
    #[error("the checkpoint is not `origin`, size and root, a line each")]
    Text,
    #[error("the checkpoint is of another log than its key")]
    Origin,
}

impl Checkpoint {
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// As a signed note.
    pub(crate) fn sign<'k>(&self, keys: impl IntoIterator<Item = &'k NoteSigner>) -> String {
        sign(&self.text(), keys)
    }

    /// The text of a note, signed or not.
    pub(crate) fn parse(text: &str) -> Result<Self, CheckpointFault> {
        let parts = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let made = Checkpoint {
                origin: lines.next()?.to_owned(),
                size: lines.next()?.parse().ok()?,
                root: TreeHash::from_base64(lines.next()?)?,
            };
            (made.text() == text).then_some(made)
        };
        parts().ok_or(CheckpointFault::Text)
    }

    /// A note that one of these keys signed, each of which is of one log; with the keys that did.
    pub(crate) fn open<'k>(
        note: &str,
        keys: &'k [NoteVerifier],
    ) -> Result<(Self, Vec<&'k NoteVerifier>), CheckpointFault> {
        let note = SignedNote::parse(note)?;
        let (text, by) = note.open(keys)?;
        let made = Self::parse(text)?;
        if by.iter().any(|key| key.name() != made.origin) {
            return Err(CheckpointFault::Origin);
        }
        Ok((made, by))
    }
}

/// The notes of a file of checkpoints, one behind the other, with the place where each begins. What is no note is given
/// as it stands, up to the next empty line and the signatures behind it, or to the end.
pub(crate) fn sealed_texts(file: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = file.get(at..).filter(|rest| !rest.is_empty())?;
        let mut length = 0;
        let mut is_signed = false;
        for line in rest.split_inclusive('\n') {
            let is_signature = line.starts_with('\u{2014}');
            if is_signed && !is_signature {
                break;
            }
            is_signed |= is_signature;
            length += line.len();
        }
        let begin = at;
        at += length;
        Some((begin, rest.get(..length)?))
    })
}

/// A leaf's place in a tree, with what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlogProof {
    pub index: u64,
    pub hashes: Vec<TreeHash>,
    /// A signed checkpoint, as it was written.
    pub note: String,
}

/// The first line of a proof.
const PROOF_HEAD: &str = "c2sp.org/tlog-proof@v1\n";

impl std::fmt::Display for TlogProof {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "{PROOF_HEAD}index {}", self.index)?;
        self.hashes
            .iter()
            .try_for_each(|hash| writeln!(formatter, "{hash}"))?;
        write!(formatter, "\n{}", self.note)
    }
}

impl TlogProof {
    /// Reads a proof without `extra` data, of which ours have none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (head, note) = text.strip_prefix(PROOF_HEAD)?.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let index = lines.next()?.strip_prefix("index ")?;
        let made = TlogProof {
            index: index.parse().ok()?,
            // A tree has no more than 64 levels.
            hashes: lines
                .take(65)
                .map(TreeHash::from_base64)
                .collect::<Option<_>>()?,
            note: note.to_owned(),
        };
        (made.to_string() == text).then_some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(name: &str) -> NoteSigner {
        NoteSigner::new(name, &[1; 32]).unwrap()
    }

    fn checkpoint(origin: &str) -> Checkpoint {
        Checkpoint {
            origin: origin.to_owned(),
            size: 7,
            root: TreeHash::of_nothing(),
        }
    }

    #[test]
    fn a_checkpoint_is_its_three_lines() {
        let root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let text = format!("acme/gw-1\n7\n{root}\n");
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint("acme/gw-1")));
        for wrong in [
            String::new(),
            format!("acme/gw-1\n07\n{root}\n"),
            format!("acme/gw-1\n+7\n{root}\n"),
            format!("acme/gw-1\n7\n{root}"),
            format!("acme/gw-1\n7\n{root}\nmore\n"),
            format!("acme/gw-1\n-1\n{root}\n"),
            format!("acme/gw-1\n7\n{}\n", root.replace('=', "")),
        ] {
            assert_eq!(
                Checkpoint::parse(&wrong),
                Err(CheckpointFault::Text),
                "{wrong}"
            );
        }
    }

    /// Scenario: a checkpoint of one log, signed by another's key. Guarantees: the key speaks for its own log alone.
    #[test]
    fn a_key_speaks_for_its_own_log() {
        let (own, other) = (signer("acme/gw-1"), signer("acme/gw-2"));
        let note = checkpoint("acme/gw-1").sign([&own]);
        let opened = Checkpoint::open(&note, &[own.verifier().clone()]).map(|(made, _)| made);
        assert_eq!(opened, Ok(checkpoint("acme/gw-1")));
        let note = checkpoint("acme/gw-1").sign([&other]);
        let opened = Checkpoint::open(&note, &[other.verifier().clone()]).err();
        assert_eq!(opened, Some(CheckpointFault::Origin));
    }

    #[test]
    fn a_file_of_checkpoints_comes_apart() {
        let (one, two) = (signer("acme/gw-1"), signer("acme/gw-2"));
        let notes = [
            checkpoint("acme/gw-1").sign([&one]),
            checkpoint("acme/gw-1").sign([&one, &two]),
            checkpoint("acme/gw-2").sign([&two]),
        ];
        let file = notes.concat();
        let apart: Vec<_> = sealed_texts(&file).collect();
        assert_eq!(
            apart.iter().map(|(_, note)| *note).collect::<Vec<_>>(),
            notes
        );
        assert_eq!(apart[1].0, notes[0].len());
        let torn = file.split_at(file.len() - 30).0;
        assert_eq!(
            sealed_texts(torn)
                .map(|(_, note)| note.len())
                .sum::<usize>(),
            torn.len()
        );
    }

    #[test]
    fn a_proof_is_read_as_it_is_written() {
        let note = checkpoint("acme/gw-1").sign([&signer("acme/gw-1")]);
        for hashes in [vec![], vec![TreeHash::of_nothing(); 3]] {
            let proof = TlogProof {
                index: 3,
                hashes,
                note: note.clone(),
            };
            assert_eq!(TlogProof::parse(&proof.to_string()), Some(proof.clone()));
            let wrong = proof.to_string().replace("index 3", "index 03");
            assert_eq!(TlogProof::parse(&wrong), None);
        }
        assert_eq!(TlogProof::parse(""), None);
    }
}
