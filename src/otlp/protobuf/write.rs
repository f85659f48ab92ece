//! Writes chosen groups of an export anew: a splice of kept ranges, new lengths and stamps.
//!
//! What it does: carries out the edits that the reading noted, merges several resources of a group into one
//! at the first one's place, takes out of it what is reserved or replaced, and appends the stamp. What it
//! refuses to know: why. Invariants: every length is that of what follows it; fields keep their order; a
//! group in which nothing changes is kept byte for byte.

use std::iter::Peekable;
use std::ops::Range;
use std::slice::Iter;

use bytes::Bytes;

use super::levels::{RESOURCE, RESOURCE_ATTRIBUTE};
use super::pair::Pair;
use super::{GroupPlace, Plan, Resources};
use crate::otlp::pieces::Pieces;
use crate::otlp::stamp::{Stamp, varint_width};
use crate::otlp::wire::{Cursor, Field, varint_width_at};

/// The tag of a `resource` field.
const RESOURCE_TAG: u8 = 0x0a;

/// A change to the body below a group's resource: which one, is in the highest bit of `length`, which no
/// length reaches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edit {
    at: u32,
    length: u32,
}

const RESIZE: u32 = 1 << 31;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EditKind {
    /// This many bytes go.
    Remove(usize),
    /// The length that stands here becomes this one.
    Resize(usize),
}

impl Edit {
    pub(crate) fn remove(range: Range<usize>) -> Edit {
        Edit {
            at: range.start as u32,
            length: range.len() as u32,
        }
    }

    pub(crate) fn resize(at: usize, length: usize) -> Edit {
        Edit {
            at: at as u32,
            length: length as u32 | RESIZE,
        }
    }

    fn at(self) -> usize {
        self.at as usize
    }

    fn change(self) -> EditKind {
        let length = (self.length & !RESIZE) as usize;
        if self.length & RESIZE == 0 {
            EditKind::Remove(length)
        } else {
            EditKind::Resize(length)
        }
    }

    /// Old bytes and new bytes.
    fn widths(self, body: &[u8]) -> (usize, usize) {
        match self.change() {
            EditKind::Remove(length) => (length, 0),
            EditKind::Resize(length) => (varint_width_at(body, self.at()), varint_width(length)),
        }
    }
}

impl Plan {
    /// See [`crate::otlp::Export::write`].
    pub(crate) fn write(&self, body: &Bytes, chosen: &[(usize, &Stamp)]) -> Vec<Bytes> {
        let mut writer = Writer {
            body,
            pieces: Pieces::new(body),
            resources: Vec::new(),
            removed: Vec::new(),
        };
        let mut loose = self.loose.iter().peekable();
        for (group, stamp) in chosen {
            let Some(place) = self.places.get(*group) else {
                continue;
            };
            while let Some(span) = loose.next_if(|span| span.start < place.whole.start) {
                writer.pieces.keep(span.range());
            }
            let edits = self
                .edits
                .get(self.edits_start(*group)..place.edits_end as usize);
            writer.group(place, edits.unwrap_or_default(), stamp);
        }
        for span in loose {
            writer.pieces.keep(span.range());
        }
        writer.pieces.finish()
    }
}

struct Writer<'a> {
    body: &'a Bytes,
    pieces: Pieces<'a>,
    /// Of the group at hand: the resource fields, and what goes from them.
    resources: Vec<Field<'a>>,
    removed: Vec<Range<usize>>,
}

impl<'a> Writer<'a> {
    fn group(&mut self, place: &GroupPlace, edits: &[Edit], stamp: &Stamp) {
        let Some(group) = Cursor::over(self.body, place.whole.range()).known_field() else {
            return;
        };
        self.find_resources(place, &group);
        self.find_removed(stamp);
        let merged = self.resources.len() > 1;
        if stamp.is_empty() && self.removed.is_empty() && edits.is_empty() && !merged {
            self.pieces.keep(place.whole.range());
            return;
        }
        let resource_length = self.resource_length(stamp);
        self.pieces.keep(group.start..group.value);
        self.pieces
            .put_varint(self.group_length(&group, edits, stamp, resource_length));
        let mut at = group.content_range().start;
        if self.resources.is_empty() && !stamp.is_empty() {
            self.pieces.put(&[RESOURCE_TAG]);
            self.resource(stamp, resource_length);
        }
        let mut edits = edits.iter().peekable();
        for number in 0..self.resources.len() {
            let Some(resource) = self.resources.get(number).copied() else {
                break;
            };
            self.edited(at..resource.start, &mut edits);
            if number == 0 {
                self.pieces.keep(resource.start..resource.value);
                self.resource(stamp, resource_length);
            }
            at = resource.end;
        }
        self.edited(at..group.end, &mut edits);
    }

    fn find_resources(&mut self, place: &GroupPlace, group: &Field<'a>) {
        self.resources.clear();
        let (first, most) = match place.resources {
            Resources::None => return,
            Resources::One(first) => (first, 1),
            Resources::Several(first) => (first, usize::MAX),
        };
        let mut fields = Cursor::over(self.body, first as usize..group.end);
        while self.resources.len() < most
            && let Some(field) = fields.known_field()
        {
            if field.number == RESOURCE {
                self.resources.push(field);
            }
        }
    }

    fn find_removed(&mut self, stamp: &Stamp) {
        self.removed.clear();
        for resource in &self.resources {
            let mut fields = Cursor::over(self.body, resource.content_range());
            while let Some(field) = fields.known_field() {
                if field.number == RESOURCE_ATTRIBUTE
                    && let Ok(pair) = Pair::read(&field)
                    && (pair.reserved || pair.any_key(|key| stamp.replaces(key)))
                {
                    self.removed.push(field.whole());
                }
            }
        }
    }

    fn resource_length(&self, stamp: &Stamp) -> usize {
        let old: usize = self
            .resources
            .iter()
            .map(|resource| resource.content.len())
            .sum();
        let removed: usize = self.removed.iter().map(Range::len).sum();
        old - removed + stamp.protobuf().len()
    }

    fn group_length(
        &self,
        group: &Field<'_>,
        edits: &[Edit],
        stamp: &Stamp,
        resource_length: usize,
    ) -> usize {
        let gone: usize = self
            .resources
            .iter()
            .map(|resource| resource.whole().len())
            .sum();
        let tag = match self.resources.first() {
            Some(first) => first.value - first.start,
            None if stamp.is_empty() => return self.edited_length(group.content.len(), edits),
            None => 1,
        };
        let resource = tag + varint_width(resource_length) + resource_length;
        self.edited_length(group.content.len() - gone + resource, edits)
    }

    fn edited_length(&self, length: usize, edits: &[Edit]) -> usize {
        edits
            .iter()
            .map(|edit| edit.widths(self.body))
            .fold(length, |length, (old, new)| length + new - old)
    }

    /// The length and the content of the group's resource.
    fn resource(&mut self, stamp: &Stamp, length: usize) {
        self.pieces.put_varint(length);
        let mut removed = self.removed.iter().peekable();
        for resource in &self.resources {
            let content = resource.content_range();
            let mut at = content.start;
            while let Some(gone) = removed.next_if(|gone| gone.start < content.end) {
                self.pieces.keep(at..gone.start);
                at = gone.end;
            }
            self.pieces.keep(at..content.end);
        }
        self.pieces.put(stamp.protobuf());
    }

    /// A range of the body below the resource, with the edits in it carried out.
    fn edited(&mut self, range: Range<usize>, edits: &mut Peekable<Iter<'_, Edit>>) {
        let mut at = range.start;
        while let Some(edit) = edits.next_if(|edit| edit.at() < range.end) {
            self.pieces.keep(at..edit.at());
            if let EditKind::Resize(length) = edit.change() {
                self.pieces.put_varint(length);
            }
            at = edit.at() + edit.widths(self.body).0;
        }
        self.pieces.keep(at..range.end);
    }
}
