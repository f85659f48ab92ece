//! A range of a body, in 8 bytes.
//!
//! What it does: remembers where something lies in half of what two addresses take. What it refuses to know: what lies
//! there. Invariant: no body that is read is as long as 2^32 bytes (`wire::MAX_MESSAGE_BYTES`), so no offset is cut.

use std::ops::Range;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Span {
        Span {
            start: range.start as u32,
            end: range.end as u32,
        }
    }
}
