//! What a sink is given.
//!
//! What it does: holds a record's line or a checkpoint's note, and reads of a line what a receiver wants to search by. What it
//! refuses to know: how either is sent. Invariant: a line is, byte for byte, the one in the trail.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

/// A record's line without its end, or a checkpoint's note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SinkEntry {
    Record {
        seq: u64,
        line: Bytes,
    },
    Checkpoint {
        /// The number of records that it states.
        size: u64,
        note: Bytes,
    },
}

impl SinkEntry {
    /// In bytes.
    pub(super) fn length(&self) -> usize {
        match self {
            SinkEntry::Record { line, .. } => line.len(),
            SinkEntry::Checkpoint { note, .. } => note.len(),
        }
    }

    pub(super) fn seq(&self) -> Option<u64> {
        match self {
            SinkEntry::Record { seq, .. } => Some(*seq),
            SinkEntry::Checkpoint { .. } => None,
        }
    }

    /// The checkpoint as one line of JSON, for what takes lines; a record's line as it is.
    pub(super) fn line(&self) -> Cow<'_, [u8]> {
        match self {
            SinkEntry::Record { line, .. } => Cow::Borrowed(line),
            SinkEntry::Checkpoint { size, note } => {
                let note = String::from_utf8_lossy(note);
                let line = serde_json::json!({ "event": CHECKPOINT, "size": size, "note": note });
                Cow::Owned(line.to_string().into_bytes())
            }
        }
    }
}

/// The event's name of what is no record.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// What of a record's line a receiver may search by.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LineFacts<'a> {
    #[serde(borrow, default)]
    pub time: Cow<'a, str>,
    #[serde(borrow, default)]
    pub request_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub event: Cow<'a, str>,
    #[serde(borrow, default)]
    pub decision: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub reason: Cow<'a, str>,
    #[serde(borrow, default)]
    pub app: Option<Cow<'a, str>>,
    #[serde(default)]
    pub status: Option<u16>,
}

impl<'a> LineFacts<'a> {
    /// Of a line that is no record, nothing.
    pub(super) fn of(line: &'a [u8]) -> Self {
        serde_json::from_slice(line).unwrap_or_default()
    }

    /// When it happened, in Unix nanoseconds; `None`: it does not say.
    pub(super) fn unix_nanos(&self) -> Option<u64> {
        let format = &time::format_description::well_known::Rfc3339;
        let time = time::OffsetDateTime::parse(&self.time, format).ok()?;
        u64::try_from(time.unix_timestamp_nanos()).ok()
    }

    pub(super) fn is_denial(&self) -> bool {
        self.decision.as_deref() == Some("deny")
    }
}
