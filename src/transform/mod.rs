//! The sixth room: what is done to a payload before it is handed on.
//!
//! What it does: takes exports apart by project and stamps them with their sender; points an answer's links at the
//! gateway, narrows lists to what the permit shows, redacts secrets; undoes and makes content codings. What it refuses to
//! know: how a sender was verified, sockets, credentials of ours.
//! Invariants: an answer whose shape is unknown is refused, not passed; bytes that do not change are kept
//! as they are.

mod answer;
mod boundary;
mod coding;
mod failure;
mod links;
mod named;
mod references;
mod secrets;
mod settings;
mod shape;
mod split;

pub(crate) use answer::{AnswerFault, Rewriting, rewrite};
pub(crate) use boundary::{Boundary, Inside};
pub(crate) use coding::CodingFault;
pub use coding::{Coding, compress, decompress};
pub(crate) use links::Links;
pub(crate) use named::{NamedFault, Naming, Reference, named};
pub(crate) use references::{link, location};
pub use settings::{Compression, IngestSettings, MirrorSettings};
pub(crate) use split::{Part, PartLeg, Split, proven_mark, split, stamped_attributes};

/// What stands in the place of what the caller may not see.
const REDACTED: &str = "[redacted]";
