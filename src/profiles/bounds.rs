//! How much of a signal a backend takes at once.
//!
//! What it does: reads `max_bytes`, `max_unpacked` and `max_items` of signals and paths. What it refuses to know: what is done
//! with an export that is larger. Invariants: what is not bounded is as large as can be; a bound of nothing is a mistake.

use super::fault::{PlacedFault, ProfileFault};
use super::raw_ingest::{RawExport, RawOneSignal};
use crate::document::Spanned;
use crate::document::quantity::{RawBound, bound};

/// The most of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// As it is sent: compressed.
    pub packed_bytes: u64,
    pub unpacked_bytes: u64,
    /// Spans, data points or log records.
    pub items: u64,
}

impl Bounds {
    /// Nothing is bounded.
    pub const NONE: Bounds = Bounds {
        packed_bytes: u64::MAX,
        unpacked_bytes: u64::MAX,
        items: u64::MAX,
    };

    /// Both.
    fn and(self, other: Bounds) -> Bounds {
        Bounds {
            packed_bytes: self.packed_bytes.min(other.packed_bytes),
            unpacked_bytes: self.unpacked_bytes.min(other.unpacked_bytes),
            items: self.items.min(other.items),
        }
    }

    /// Of a signal, over both protocols.
    pub(super) fn of_signal(raw: &RawOneSignal, found: &mut Vec<PlacedFault>) -> Bounds {
        let sizes = (raw.max_bytes.as_ref(), raw.max_unpacked.as_ref());
        Bounds::read(sizes, raw.max_items.as_ref(), found)
    }

    /// Of a path's row, and of what is known of its signal.
    pub(super) fn and_row(self, raw: &RawExport, found: &mut Vec<PlacedFault>) -> Bounds {
        let sizes = (raw.max_bytes.as_ref(), raw.max_unpacked.as_ref());
        self.and(Bounds::read(sizes, raw.max_items.as_ref(), found))
    }

    fn read(
        (packed, unpacked): (Option<&Spanned<RawBound>>, Option<&Spanned<RawBound>>),
        items: Option<&Spanned<u64>>,
        found: &mut Vec<PlacedFault>,
    ) -> Bounds {
        let mut size = |given: Option<&Spanned<RawBound>>| {
            let Some(at) = given else { return u64::MAX };
            match bound(&at.value.0).filter(|bytes| *bytes > 0) {
                Some(bytes) => bytes,
                None => {
                    found.push(ProfileFault::Bound.at(at));
                    u64::MAX
                }
            }
        };
        let (packed_bytes, unpacked_bytes) = (size(packed), size(unpacked));
        let items = match items {
            Some(at) if at.value == 0 => {
                found.push(ProfileFault::Bound.at(at));
                u64::MAX
            }
            given => given.map_or(u64::MAX, |at| at.value),
        };
        Bounds {
            packed_bytes,
            unpacked_bytes,
            items,
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds::NONE
    }
}
