//! What either encoding finds in an export.
//!
//! What it does: holds resources, what was found of them, and why a body is no export. What it refuses to know: the
//! encodings. Invariant: what is found borrows from the body and copies nothing of it.

use std::borrow::Cow;

/// The prefix of the attribute names that only the gateway may write.
pub const RESERVED: &str = "lightkeeper.";

/// The most resource groups that one export may hold. One may be as small as two bytes on the wire, and
/// costs a few dozen bytes here, a decision, and a stamp of some hundred bytes in what is written.
pub(crate) const MAX_GROUPS: usize = 1 << 17;

/// The body is not the message that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct Malformed {
    /// Byte offset into the decompressed message.
    pub offset: usize,
    pub what: &'static str,
}

/// What a resource says under one attribute name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Absent,
    Text(Cow<'a, str>),
    /// Present, and not a string.
    Other,
    /// Given more than once with different values, or by an encoding that two readers may read differently.
    Ambiguous,
}

/// One `ResourceSpans`, `ResourceMetrics` or `ResourceLogs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Spans, data points or log records.
    pub items: u64,
}

/// What a half's `read` gives.
#[derive(Debug)]
pub(super) struct Reading<P> {
    /// In the order of the body.
    pub groups: Vec<Group>,
    /// Reserved attributes at any level.
    pub forged: u64,
    /// The most attributes that the resource of one group has.
    pub(crate) most_attributes: usize,
    /// Whether there is an item, or what may hold one, or a resource that says anything.
    pub carries: bool,
    /// What the half needs to answer `attribute` and `write`.
    pub plan: P,
}

impl<P> Reading<P> {
    /// Of a body of which nothing has been read yet.
    pub(crate) fn begun(plan: P) -> Self {
        Reading {
            groups: Vec::new(),
            forged: 0,
            most_attributes: 0,
            carries: false,
            plan,
        }
    }
}
