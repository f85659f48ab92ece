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
//! - What is remembered is bounded: 32 bytes for a group, of which there are at most `MAX_GROUPS`; 20 for a
//!   wanted attribute, once per group and name; 8 for a run of unknown top-level fields; 8 for a reserved
//!   attribute below the resource (16 or more bytes of the body), and for each message round it, once (2 or
//!   more). Attributes of resources are found again when they are written, not remembered.

mod levels;
mod pair;
#[cfg(test)]
mod tests;
mod write;

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::{FindIter, Finder};

use self::levels::{
    DATA_POINT, GROUP, LIBRARY_SCOPED, Level, METRIC_DATA, RECORD, RESOURCE, RESOURCE_ATTRIBUTE, SCOPED, Step,
};
use self::pair::{Pair, Said};
use self::write::Edit;
use super::Signal;
use super::export::{Found, Group, MAX_GROUPS, Malformed, RESERVED, Reading};
use super::stamp::{length_bit, varint_width};
use super::wire::{Cursor, Field, MAX_MESSAGE_BYTES, varint_width_at};

static RESERVED_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(RESERVED));

/// Where the groups of an export lie, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Plan {
    places: Vec<Place>,
    /// Of all groups, in order: each group's lie between the ends that it and the one before it say.
    values: Vec<Value>,
    edits: Vec<Edit>,
    /// Top-level fields that are no groups, joined where they touch.
    loose: Vec<Span>,
}

/// A range of the body, in 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// No offset is above [`MAX_MESSAGE_BYTES`], so none is cut.
impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Span {
        Span { start: range.start as u32, end: range.end as u32 }
    }
}

/// One group.
#[derive(Debug)]
struct Place {
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

/// A wanted attribute that was found.
#[derive(Debug)]
struct Value {
    name: Span,
    said: SaidShort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SaidShort {
    Text(Span),
    Other,
    Ambiguous,
}

/// Reads an export request: see [`super::Export::read`].
pub(super) fn read(signal: Signal, body: &Bytes, wanted: &[Box<str>]) -> Result<Reading<Plan>, Malformed> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(Malformed { offset: MAX_MESSAGE_BYTES, what: "the message is 2 GiB or longer" });
    }
    let mut reader = Reader {
        body,
        signal,
        scoped: levels::scoped(signal),
        wanted,
        wanted_lengths: wanted.iter().fold(0, |bits, name| bits | length_bit(name.as_bytes())),
        hits: Hits::new(body),
        plan: Plan::default(),
        groups: Vec::new(),
        forged: 0,
    };
    let mut request = Cursor::new(body);
    while let Some(field) = request.field()? {
        match field.number {
            GROUP => reader.group(&field)?,
            _ => reader.loose(field.whole()),
        }
    }
    Ok(Reading { groups: reader.groups, forged: reader.forged, plan: reader.plan })
}

impl Plan {
    /// See [`super::Export::working_bytes`].
    pub fn working_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
            + self.values.capacity() * size_of::<Value>()
            + self.edits.capacity() * size_of::<Edit>()
            + self.loose.capacity() * size_of::<Span>()
    }

    /// See [`super::Export::attribute`].
    pub fn attribute<'a>(&self, body: &'a Bytes, group: usize, name: &str) -> Found<'a> {
        let Some(place) = self.places.get(group) else { return Found::Absent };
        let values = self.values.get(self.values_start(group)..place.values_end as usize).unwrap_or_default();
        let named = |value: &&Value| body.get(value.name.range()) == Some(name.as_bytes());
        match values.iter().find(named).map(|value| value.said) {
            None => Found::Absent,
            Some(SaidShort::Other) => Found::Other,
            Some(SaidShort::Ambiguous) => Found::Ambiguous,
            Some(SaidShort::Text(span)) => match std::str::from_utf8(body.get(span.range()).unwrap_or_default()) {
                Ok(text) => Found::Text(text.into()),
                Err(_) => Found::Ambiguous,
            },
        }
    }

    fn values_start(&self, group: usize) -> usize {
        let before = group.checked_sub(1).and_then(|before| self.places.get(before));
        before.map_or(0, |place| place.values_end as usize)
    }

    fn edits_start(&self, group: usize) -> usize {
        let before = group.checked_sub(1).and_then(|before| self.places.get(before));
        before.map_or(0, |place| place.edits_end as usize)
    }
}

/// The walk.
struct Reader<'a> {
    body: &'a Bytes,
    signal: Signal,
    scoped: &'static Level,
    wanted: &'a [Box<str>],
    wanted_lengths: u64,
    hits: Hits<'a>,
    plan: Plan,
    groups: Vec<Group>,
    forged: u64,
}

impl<'a> Reader<'a> {
    fn loose(&mut self, range: Range<usize>) {
        match self.plan.loose.last_mut() {
            Some(last) if last.end as usize == range.start => last.end = range.end as u32,
            _ => self.plan.loose.push(range.into()),
        }
    }

    fn group(&mut self, group: &Field<'a>) -> Result<(), Malformed> {
        if self.groups.len() >= MAX_GROUPS {
            return Err(Malformed { offset: group.start, what: "there are more resource groups than are read" });
        }
        let mut fields = group.message()?;
        let forged_somewhere = self.hits.any_in(group.content_range());
        let first_value = self.plan.values.len();
        let (mut items, mut resources) = (0, Resources::None);
        while let Some(field) = fields.field()? {
            match field.number {
                RESOURCE => {
                    resources = match resources {
                        Resources::None => Resources::One(field.start as u32),
                        Resources::One(first) | Resources::Several(first) => Resources::Several(first),
                    };
                    self.resource(&field, first_value)?;
                }
                SCOPED | LIBRARY_SCOPED => {
                    items += self.items(&field)?;
                    if forged_somewhere && self.hits.any_in(field.content_range()) {
                        self.clean(self.scoped, &field)?;
                    }
                }
                _ => {}
            }
        }
        self.groups.push(Group { items });
        self.plan.places.push(Place {
            whole: group.whole().into(),
            resources,
            values_end: self.plan.values.len() as u32,
            edits_end: self.plan.edits.len() as u32,
        });
        Ok(())
    }

    fn resource(&mut self, resource: &Field<'a>, first_value: usize) -> Result<(), Malformed> {
        let mut fields = resource.message()?;
        while let Some(field) = fields.field()? {
            if field.number != RESOURCE_ATTRIBUTE {
                continue;
            }
            let pair = Pair::read(&field)?;
            if pair.reserved {
                self.forged += 1;
                continue;
            }
            if pair.only_key().is_some_and(|key| self.wanted_lengths & length_bit(key) == 0) {
                continue;
            }
            for name in self.wanted {
                if let Some(range) = pair.named(name.as_bytes()) {
                    let said = match pair.said()? {
                        Said::Text(text) => SaidShort::Text(text.into()),
                        Said::Other => SaidShort::Other,
                        Said::Ambiguous => SaidShort::Ambiguous,
                    };
                    self.note(first_value, Value { name: range.into(), said });
                }
            }
        }
        Ok(())
    }

    /// Notes a wanted attribute of the group whose values begin at `first`. A second one of the same name
    /// says the same text, or makes the name ambiguous.
    fn note(&mut self, first: usize, value: Value) {
        let of = |span: Span| self.body.get(span.range());
        let earlier = self.plan.values.get_mut(first..).unwrap_or_default();
        let Some(earlier) = earlier.iter_mut().find(|earlier| of(earlier.name) == of(value.name)) else {
            self.plan.values.push(value);
            return;
        };
        match (earlier.said, value.said) {
            (SaidShort::Text(one), SaidShort::Text(other)) if of(one) == of(other) => {}
            _ => earlier.said = SaidShort::Ambiguous,
        }
    }

    /// The spans, data points or log records of a `Scope*` message.
    fn items(&self, scoped: &Field<'a>) -> Result<u64, Malformed> {
        let mut fields = scoped.message()?;
        let mut items = 0;
        while let Some(field) = fields.field()? {
            if field.number == RECORD {
                items += match self.signal {
                    Signal::Metrics => data_points(&field)?,
                    Signal::Traces | Signal::Logs => field.bytes().map(|_| 1)?,
                };
            }
        }
        Ok(items)
    }

    /// Notes the edits that take the reserved attributes out of a message at this level, in the order of the
    /// body, and gives the bytes by which the field gets shorter.
    fn clean(&mut self, level: &Level, field: &Field<'a>) -> Result<usize, Malformed> {
        let mut fields = field.message()?;
        let own_edit = self.plan.edits.len();
        self.plan.edits.push(Edit::resize(field.value, field.content.len()));
        let mut removed = 0;
        while let Some(inner) = fields.field()? {
            let Some(step) = level.step(inner.number) else { continue };
            if !self.hits.any_in(inner.content_range()) {
                continue;
            }
            match step {
                Step::Into(level) => removed += self.clean(level, &inner)?,
                Step::Attribute if Pair::read(&inner)?.reserved => {
                    self.plan.edits.push(Edit::remove(inner.whole()));
                    self.forged += 1;
                    removed += inner.whole().len();
                }
                Step::Attribute => {}
            }
        }
        if removed == 0 {
            self.plan.edits.truncate(own_edit);
            return Ok(0);
        }
        let length = field.content.len() - removed;
        if let Some(edit) = self.plan.edits.get_mut(own_edit) {
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
        Hits { next: rest.next().unwrap_or(usize::MAX), rest }
    }

    /// Whether it occurs in this range. Ranges must be asked in the order of their starts.
    fn any_in(&mut self, range: Range<usize>) -> bool {
        while self.next < range.start {
            self.next = self.rest.next().unwrap_or(usize::MAX);
        }
        self.next < range.end
    }
}
