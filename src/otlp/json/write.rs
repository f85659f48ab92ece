//! Writes chosen groups of an OTLP/JSON export anew.
//!
//! What it does: leaves out what the walk has marked, appends a stamp to the resource's attributes, and
//! sets commas where elements went or came. What it refuses to know: what an attribute means.
//! Invariants: bytes outside of edits are kept as they are, blanks included; all groups in their order, with
//! nothing to stamp or to leave out, are the text that was read.

use bytes::Bytes;

use super::{Plan, Resource, Span};
use crate::otlp::pieces::Pieces;
use crate::otlp::stamp::Stamp;

impl Plan {
    /// See [`crate::otlp::Export::write`].
    pub(crate) fn write(&self, body: &Bytes, chosen: &[(usize, &Stamp)]) -> Vec<Bytes> {
        let mut pieces = Pieces::new(body);
        let (Some(first), Some(last)) = (self.places.first(), self.places.last()) else {
            pieces.keep(0..body.len());
            return pieces.finish();
        };
        pieces.keep(0..first.whole.range().start);
        let mut previous: Option<usize> = None;
        for (index, stamp) in chosen {
            let Some(place) = self.places.get(*index) else {
                continue;
            };
            match previous.map(|previous| (previous.checked_add(1), self.places.get(previous))) {
                None => {}
                Some((next, Some(before))) if next == Some(*index) => {
                    pieces.keep(before.whole.range().end..place.whole.range().start);
                }
                Some(_) => pieces.put(b","),
            }
            self.write_group(&mut pieces, body, *index, stamp);
            previous = Some(*index);
        }
        pieces.keep(last.whole.range().end..body.len());
        pieces.finish()
    }

    fn write_group(&self, pieces: &mut Pieces<'_>, body: &Bytes, index: usize, stamp: &Stamp) {
        let Some(place) = self.places.get(index) else {
            return;
        };
        let cuts = self.before(index).map_or(0, |before| before.cuts_end) as usize
            ..place.cuts_end as usize;
        let cuts = self.cuts.get(cuts).unwrap_or_default();
        let edit = self.resource_edit(body, index, stamp);
        let mut at = place.whole.start;
        let split = edit
            .as_ref()
            .map_or(0, |edit| cuts.partition_point(|cut| cut.start < edit.at));
        let (before, behind) = cuts.split_at_checked(split).unwrap_or((cuts, &[]));
        let leave_out = |pieces: &mut Pieces<'_>, at: &mut u32, cuts: &[Span]| {
            for cut in cuts {
                pieces.keep(*at as usize..cut.start as usize);
                *at = cut.end;
            }
        };
        leave_out(pieces, &mut at, before);
        if let Some(edit) = edit {
            leave_out(pieces, &mut at, &edit.cuts);
            pieces.keep(at as usize..edit.at as usize);
            at = edit.behind;
            pieces.put(edit.opening.as_bytes());
            pieces.put(stamp.json().as_bytes());
            pieces.put(edit.closing.as_bytes());
        }
        leave_out(pieces, &mut at, behind);
        pieces.keep(at as usize..place.whole.end as usize);
    }

    /// What to do to the resource of this group; nothing if it stays as it is.
    fn resource_edit(&self, body: &Bytes, index: usize, stamp: &Stamp) -> Option<ResourceEdit> {
        let edit = |at, behind, opening, closing| ResourceEdit {
            cuts: Vec::new(),
            at,
            behind,
            opening,
            closing,
        };
        let place = self.places.get(index)?;
        let array = match place.resource {
            Resource::With(array) => array,
            _ if stamp.is_empty() => return None,
            Resource::Absent {
                behind,
                alone: true,
            } => {
                return Some(edit(behind, behind, r#""resource":{"attributes":["#, "]}"));
            }
            Resource::Absent {
                behind,
                alone: false,
            } => {
                return Some(edit(behind, behind, r#""resource":{"attributes":["#, "]},"));
            }
            Resource::Null(null) => {
                return Some(edit(null.start, null.end, r#"{"attributes":["#, "]}"));
            }
            Resource::Without {
                behind,
                alone: true,
            } => return Some(edit(behind, behind, r#""attributes":["#, "]")),
            Resource::Without {
                behind,
                alone: false,
            } => return Some(edit(behind, behind, r#""attributes":["#, "],")),
            Resource::WithNull(null) => return Some(edit(null.start, null.end, "[", "]")),
        };
        let (mut cuts, mut removal, mut end) = (Vec::new(), Removal::default(), array.start + 1);
        for attribute in self.attributes(index) {
            let gone = attribute.reserved || stamp.replaces(attribute.key(body, &self.values));
            removal.element(attribute.whole, gone, &mut cuts);
            end = attribute.whole.end;
        }
        let kept = removal.kept;
        removal.end(&mut cuts);
        if stamp.is_empty() && cuts.is_empty() {
            return None;
        }
        // Elements go up to `end`, so that is where the stamp comes, whether the last of them stays or not.
        Some(ResourceEdit {
            cuts,
            ..edit(
                end,
                end,
                if kept && !stamp.is_empty() { "," } else { "" },
                "",
            )
        })
    }
}

/// `cuts` are left out first; then, at `at`, the stamp comes between `opening` and `closing`, and what
/// goes on is `behind`.
#[derive(Debug)]
struct ResourceEdit {
    cuts: Vec<Span>,
    at: u32,
    behind: u32,
    opening: &'static str,
    closing: &'static str,
}

/// Takes elements out of an array, each with one of the commas beside it: the one before it, or, if
/// nothing before it stays, the one behind it.
#[derive(Debug, Default)]
pub(super) struct Removal {
    /// Whether any element stays.
    kept: bool,
    /// Of the element before.
    end: u32,
    /// The start of the first element, if all so far are to go.
    leading: Option<u32>,
}

impl Removal {
    /// The next element.
    pub(crate) fn element(&mut self, element: Span, gone: bool, cuts: &mut Vec<Span>) {
        match (gone, self.kept) {
            (true, true) => match cuts.last_mut() {
                Some(last) if last.end == self.end => last.end = element.end,
                _ => cuts.push(Span {
                    start: self.end,
                    end: element.end,
                }),
            },
            (true, false) => self.leading = self.leading.or(Some(element.start)),
            (false, _) => {
                cuts.extend(self.leading.take().map(|start| Span {
                    start,
                    end: element.start,
                }));
                self.kept = true;
            }
        }
        self.end = element.end;
    }

    /// The end of the array.
    pub(crate) fn end(self, cuts: &mut Vec<Span>) {
        cuts.extend(self.leading.map(|start| Span {
            start,
            end: self.end,
        }));
    }
}
