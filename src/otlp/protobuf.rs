//! Reads an OTLP export in protobuf without decoding it.
//!
//! What it does: one walk finds the resource groups, counts their items, notes the wanted resource
//! attributes, and where reserved ones must go (`write.rs` carries that out). The walk looks at the request,
//! the groups, their resources with their attributes' keys, the scopes, and for metrics at the metrics and
//! their data; below that it goes only where the reserved prefix occurs in the bytes. What it refuses to
//! know: the rest. A field deeper than that is stepped over by its length, and the backend judges it.
//!
//! Invariants:
//! - A known field that is looked at has the wire type of its declaration, or the body is malformed.
//! - An attribute given in a way that two readers could read differently is never `Text`.
//! - What is remembered is bounded: 32 bytes for a group, of which there are at most `MAX_GROUPS`; 16 for a
//!   wanted attribute, once per group and name; 8 for a run of unknown top-level fields; 8 for a reserved
//!   attribute below the resource (16 or more bytes of the body), and for each message round it, once (2 or
//!   more). Attributes of resources are found again when they are written, not remembered.

pub(super) mod levels;
mod pair;
#[cfg(test)]
mod tests;
mod write;

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use memchr::memmem::{FindIter, Finder};

use self::levels::{
    DATA_POINT, FieldStep, GROUP, LIBRARY_SCOPED, Level, METRIC_DATA, RECORD, RESOURCE,
    RESOURCE_ATTRIBUTE, SCHEMA_URL, SCOPE_OF_RECORDS, SCOPED,
};
use self::pair::Pair;
use self::write::Edit;
use super::Signal;
use super::group::{Found, Group, MAX_GROUPS, Malformed, RESERVED, Reading};
use super::span::Span;
use super::stamp::varint_width;
use super::wanted::{AttributeSaid, Values, Wanted};
use super::wire::{Cursor, Field, MAX_MESSAGE_BYTES, varint_width_at};

static RESERVED_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(RESERVED));

/// Where the groups of an export lie, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Plan {
    places: Vec<GroupPlace>,
    /// Of all groups, in order: each group's lie between the ends that it and the one before it say.
    values: Values,
    edits: Vec<Edit>,
    /// Top-level fields that are no groups, joined where they touch.
    loose: Vec<Span>,
}

/// One group.
#[derive(Debug)]
struct GroupPlace {
    /// Its whole field.
    whole: Span,
    resources: Resources,
    values_end: u32,
    edits_end: u32,
}

/// The resource fields of a group, by the offset of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resources {
    None,
    One(u32),
    Several(u32),
}

/// Reads an export request: see [`super::Export::read`].
pub(super) fn read(
    signal: Signal,
    body: &Bytes,
    wanted: &Arc<Wanted>,
) -> Result<Reading<Plan>, Malformed> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(Malformed {
            offset: MAX_MESSAGE_BYTES,
            what: "the message is 2 GiB or longer",
        });
    }
    let mut reader = Reader {
        body,
        signal,
        scoped: levels::scoped(signal),
        hits: Hits::new(body),
        reading: Reading::begun(Plan {
            values: Values::new(wanted),
            ..Plan::default()
        }),
        attributes: 0,
    };
    let mut request = Cursor::new(body);
    while let Some(field) = request.field()? {
        match field.number {
            GROUP => reader.group(&field)?,
            _ => {
                reader.reading.carries = true;
                reader.loose(field.whole());
            }
        }
    }
    Ok(reader.reading)
}

impl Plan {
    /// See [`super::Export::working_bytes`].
    pub(crate) fn working_bytes(&self) -> usize {
        self.places.capacity() * size_of::<GroupPlace>()
            + self.values.working_bytes()
            + self.edits.capacity() * size_of::<Edit>()
            + self.loose.capacity() * size_of::<Span>()
    }

    /// See [`super::Export::attribute`].
    pub(crate) fn attribute<'a>(&'a self, body: &'a Bytes, group: usize, name: &str) -> Found<'a> {
        let Some(place) = self.places.get(group) else {
            return Found::Absent;
        };
        self.values.found(
            body,
            self.values_start(group)..place.values_end as usize,
            name,
        )
    }

    fn values_start(&self, group: usize) -> usize {
        let before = group
            .checked_sub(1)
            .and_then(|before| self.places.get(before));
        before.map_or(0, |place| place.values_end as usize)
    }

    fn edits_start(&self, group: usize) -> usize {
        let before = group
            .checked_sub(1)
            .and_then(|before| self.places.get(before));
        before.map_or(0, |place| place.edits_end as usize)
    }
}

/// The walk.
struct Reader<'a> {
    body: &'a Bytes,
    signal: Signal,
    scoped: &'static Level,
    hits: Hits<'a>,
    reading: Reading<Plan>,
    /// Of the group that is being read.
    attributes: usize,
}

impl<'a> Reader<'a> {
    fn loose(&mut self, range: Range<usize>) {
        match self.reading.plan.loose.last_mut() {
            Some(last) if last.end as usize == range.start => last.end = range.end as u32,
            _ => self.reading.plan.loose.push(range.into()),
        }
    }

    fn group(&mut self, group: &Field<'a>) -> Result<(), Malformed> {
        if self.reading.groups.len() >= MAX_GROUPS {
            return Err(Malformed {
                offset: group.start,
                what: "there are more resource groups than are read",
            });
        }
        let mut fields = group.message()?;
        let forged_somewhere = self.hits.any_in(group.content_range());
        self.attributes = 0;
        let (mut items, mut resources) = (0, Resources::None);
        while let Some(field) = fields.field()? {
            match field.number {
                RESOURCE => {
                    resources = match resources {
                        Resources::None => Resources::One(field.start as u32),
                        Resources::One(first) | Resources::Several(first) => {
                            Resources::Several(first)
                        }
                    };
                    self.resource(&field)?;
                }
                SCOPED | LIBRARY_SCOPED => {
                    items += self.items(&field)?;
                    if forged_somewhere && self.hits.any_in(field.content_range()) {
                        self.clean(self.scoped, &field)?;
                    }
                }
                SCHEMA_URL => {}
                _ => self.reading.carries = true,
            }
        }
        self.reading.most_attributes = self.reading.most_attributes.max(self.attributes);
        self.reading.carries |= self.attributes > 0;
        self.reading.groups.push(Group { items });
        self.reading.plan.places.push(GroupPlace {
            whole: group.whole().into(),
            resources,
            values_end: self.reading.plan.values.end_group(),
            edits_end: self.reading.plan.edits.len() as u32,
        });
        Ok(())
    }

    fn resource(&mut self, resource: &Field<'a>) -> Result<(), Malformed> {
        let mut fields = resource.message()?;
        while let Some(field) = fields.field()? {
            if field.number != RESOURCE_ATTRIBUTE {
                continue;
            }
            self.attributes += 1;
            let pair = Pair::read(&field)?;
            if pair.reserved {
                self.reading.forged += 1;
                continue;
            }
            match pair.only_key() {
                Some(key) => {
                    if let Some(name) = self.reading.plan.values.place(key) {
                        let said = pair.said()?;
                        self.reading.plan.values.note(self.body, name, said);
                    }
                }
                // A reader may take any of them.
                None => {
                    for key in pair.keys() {
                        if let Some(name) = self.reading.plan.values.place(key.content) {
                            self.reading.plan.values.note(
                                self.body,
                                name,
                                AttributeSaid::Ambiguous,
                            );
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The spans, data points or log records of a `Scope*` message.
    fn items(&mut self, scoped: &Field<'a>) -> Result<u64, Malformed> {
        let mut fields = scoped.message()?;
        let (mut items, mut carries) = (0, false);
        while let Some(field) = fields.field()? {
            if field.number == RECORD {
                items += match self.signal {
                    Signal::Metrics => data_points(&field)?,
                    Signal::Traces | Signal::Logs => field.bytes().map(|_| 1)?,
                };
            }
            carries |= !matches!(field.number, SCOPE_OF_RECORDS | SCHEMA_URL);
        }
        self.reading.carries |= carries;
        Ok(items)
    }

    /// Notes the edits that take the reserved attributes out of a message at this level, in the order of the
    /// body, and gives the bytes by which the field gets shorter.
    fn clean(&mut self, level: &Level, field: &Field<'a>) -> Result<usize, Malformed> {
        let mut fields = field.message()?;
        let own_edit = self.reading.plan.edits.len();
        self.reading
            .plan
            .edits
            .push(Edit::resize(field.value, field.content.len()));
        let mut removed = 0;
        while let Some(inner) = fields.field()? {
            let Some(step) = level.step(inner.number) else {
                continue;
            };
            if !self.hits.any_in(inner.content_range()) {
                continue;
            }
            match step {
                FieldStep::Into(level) => removed += self.clean(level, &inner)?,
                FieldStep::Attribute if Pair::read(&inner)?.reserved => {
                    self.reading.plan.edits.push(Edit::remove(inner.whole()));
                    self.reading.forged += 1;
                    removed += inner.whole().len();
                }
                FieldStep::Attribute => {}
            }
        }
        if removed == 0 {
            self.reading.plan.edits.truncate(own_edit);
            return Ok(0);
        }
        let length = field.content.len() - removed;
        if let Some(edit) = self.reading.plan.edits.get_mut(own_edit) {
            *edit = Edit::resize(field.value, length);
        }
        Ok(removed + varint_width_at(self.body, field.value) - varint_width(length))
    }
}

/// The data points that a decoder finds in a `Metric`: the last kind of data given wins, and data of the same
/// kind given in a row is merged (protobuf.dev, "Oneof").
fn data_points(metric: &Field<'_>) -> Result<u64, Malformed> {
    let mut fields = metric.message()?;
    let (mut kind, mut points) = (0, 0);
    while let Some(field) = fields.field()? {
        if METRIC_DATA.contains(&field.number) {
            let mut data = field.message()?;
            if kind != field.number {
                (kind, points) = (field.number, 0);
            }
            while let Some(point) = data.field()? {
                if point.number == DATA_POINT {
                    point.bytes()?;
                    points += 1;
                }
            }
        }
    }
    Ok(points)
}

/// Where the reserved prefix occurs in the body.
struct Hits<'a> {
    rest: FindIter<'a, 'static>,
    next: usize,
}

impl<'a> Hits<'a> {
    fn new(body: &'a [u8]) -> Hits<'a> {
        let mut rest = RESERVED_FINDER.find_iter(body);
        Hits {
            next: rest.next().unwrap_or(usize::MAX),
            rest,
        }
    }

    /// Whether it occurs in this range. Ranges must be asked in the order of their starts.
    fn any_in(&mut self, range: Range<usize>) -> bool {
        while self.next < range.start {
            self.next = self.rest.next().unwrap_or(usize::MAX);
        }
        self.next < range.end
    }
}
