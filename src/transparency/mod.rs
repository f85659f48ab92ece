//! What lets others verify a list that only grows: the tree over it, and signed statements of its head.
//!
//! What it does: RFC 6962 hashes and proofs, C2SP signed notes and checkpoints. What it refuses to know: what the list holds,
//! where it is kept, and what time it is. Invariant: values in, values out; nothing is read or written here.

mod checkpoint;
mod cosignature;
mod note;
mod proof;
mod tree;

pub(crate) use checkpoint::{Checkpoint, CheckpointFault, TlogProof, sealed_texts};
pub(crate) use cosignature::{Cosignature, WitnessKey};
pub(crate) use note::{NoteFault, NoteSigner, NoteVerifier, SignedNote};
pub(crate) use proof::{LeafRange, consistency_ranges, inclusion_ranges};
pub(crate) use proof::{verify_consistency, verify_inclusion};
pub(crate) use tree::{TreeEdge, TreeHash};
