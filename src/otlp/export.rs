//! An export that has been read without decoding it: where its resource groups lie, how many items each
//! holds, what the wanted resource attributes say, and how to write chosen groups anew with stamps.
//!
//! Each encoding has its own half (`protobuf.rs`, `json.rs`) with the same three functions: `read`, and of
//! the plan that it gives, `attribute` and `write`. What this file refuses to know: apps, policies,
//! identities; it is told which names are wanted and which attributes to put. Invariants: an export that
//! cannot be read gives nothing to write; what is written holds no attribute of the reserved namespace but
//! those of the stamp; bytes that need no change are slices of the body, never copies of large ranges.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::pieces::SLICE_FROM_BYTES;
use super::stamp::Stamp;
use super::{Encoding, Signal, json, protobuf};

/// The prefix of the attribute names that only the gateway may write.
pub const RESERVED: &str = "lightkeeper.";

/// The most resource groups that one export may hold. One may be as small as two bytes on the wire, and
/// costs a few dozen bytes here, a decision, and a stamp of some hundred bytes in what is written.
pub const MAX_GROUPS: usize = 1 << 17;

/// Ranges of a group that stay: before its resource's attributes, between them and the stamp, and behind it.
const RANGES_OF_A_GROUP: usize = 3;

/// Lengths, tags and brackets round a stamp, and the piece that a long range becomes.
const GROUP_OVERHEAD_BYTES: usize = 96;

/// The body is not the message that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Byte offset into the decompressed message.
    pub offset: usize,
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

impl std::error::Error for Malformed {}

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
    /// What the half needs to answer `attribute` and `write`.
    pub plan: P,
}

#[derive(Debug)]
enum Half {
    Protobuf(protobuf::Plan),
    Json(json::Plan),
}

/// An `Export{Trace,Metrics,Logs}ServiceRequest` that has been read.
#[derive(Debug)]
pub struct Export {
    body: Bytes,
    groups: Vec<Group>,
    items: u64,
    forged: u64,
    half: Half,
}

impl Export {
    /// Reads an export request of `signal` (OTLP specification, `opentelemetry.proto.collector.*.v1`).
    /// `body` is the decompressed message; `wanted` are the resource attribute names whose values may be
    /// asked later. Fails when the body is not such a message at a level that is looked at.
    pub fn read(signal: Signal, encoding: Encoding, body: Bytes, wanted: &[Box<str>]) -> Result<Export, Malformed> {
        match encoding {
            Encoding::Protobuf => {
                protobuf::read(signal, &body, wanted).map(|reading| Export::new(body, reading, Half::Protobuf))
            }
            Encoding::Json => json::read(signal, &body, wanted).map(|reading| Export::new(body, reading, Half::Json)),
        }
    }

    fn new<P>(body: Bytes, reading: Reading<P>, half: fn(P) -> Half) -> Export {
        let items = reading.groups.iter().map(|group| group.items).sum();
        Export { body, groups: reading.groups, items, forged: reading.forged, half: half(reading.plan) }
    }

    /// The resource groups, in the order of the body.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Spans, data points or log records in all groups.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// The length of the message that was read.
    pub fn bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// How many attributes with the prefix [`RESERVED`] there are, at resource, scope and record level.
    /// None of them is ever written.
    pub fn forged(&self) -> u64 {
        self.forged
    }

    /// What the resource of the group with this index says under `name`, which must be one of the wanted:
    /// any other name, and a group that does not exist, is `Absent`.
    pub fn attribute(&self, group: usize, name: &str) -> Found<'_> {
        match &self.half {
            Half::Protobuf(plan) => plan.attribute(&self.body, group, name),
            Half::Json(plan) => plan.attribute(&self.body, group, name),
        }
    }

    /// How much memory the places take that were remembered, besides the body.
    pub fn working_bytes(&self) -> u64 {
        let plan = match &self.half {
            Half::Protobuf(plan) => plan.working_bytes(),
            Half::Json(plan) => plan.working_bytes(),
        };
        (plan + self.groups.capacity() * size_of::<Group>()) as u64
    }

    /// How much memory `write` takes at most for so many groups, if no stamp is larger than `stamp_bytes`: new bytes,
    /// and copies of the short ranges between them. The long ones are slices of the body.
    pub fn written_bytes_at_most(&self, groups: usize, stamp_bytes: usize) -> u64 {
        let ranges = groups.saturating_mul(RANGES_OF_A_GROUP).saturating_add(2 * self.forged as usize);
        let copied = ranges.saturating_mul(SLICE_FROM_BYTES).min(self.body.len());
        let new = groups.saturating_mul(stamp_bytes.saturating_add(GROUP_OVERHEAD_BYTES));
        // What grows by doubling may be half empty.
        copied.saturating_add(new).saturating_mul(2) as u64
    }

    /// The message with the chosen groups only (index, and what to put on its resource), in the order given,
    /// without reserved attributes, and with all that is not a group kept. All groups with empty stamps and
    /// nothing forged give the bytes that were read, where no group has several resources. Indexes of no group are passed over.
    ///
    /// The message is the pieces in order: large ranges that do not change are slices of the body.
    pub fn write(&self, chosen: &[(usize, &Stamp)]) -> Vec<Bytes> {
        match &self.half {
            Half::Protobuf(plan) => plan.write(&self.body, chosen),
            Half::Json(plan) => plan.write(&self.body, chosen),
        }
    }
}
