//! Reads an OTLP/JSON export without building a document of it.
//!
//! What it does: one walk over the text finds the resource groups, counts their items, remembers the
//! attributes of their resources, and where reserved attributes stand below them (`write.rs` writes it
//! anew). What it refuses to know: protobuf; values of members that it is not asked for.
//!
//! Invariants:
//! - The whole text is held to the grammar (`text.rs`), whatever of it is looked at. Scopes and items are
//!   looked into where the reserved prefix may stand in them; elsewhere the backend judges them.
//! - A known member given twice, or by a name that only some readers take for its own (`names.rs`), is malformed: some
//!   take the one, some the other. Names are compared unescaped, and an original name means the same field.
//! - A name or key that is compared and holds half of a surrogate pair is malformed, for the same reason; in values that
//!   are not compared it is the backend's to judge.
//! - An attribute is never `JsonText` in a form that two readers may read differently.
//! - What is remembered is bounded: 40 bytes for a group, of which there are at most `MAX_GROUPS`; 20 for an
//!   attribute of a resource, of which there are at most `MAX_ATTRIBUTES`, and its key where that has escapes; 16 for a
//!   wanted one, once per group and name, and its text where that has escapes; 8 for a reserved attribute elsewhere (22 or
//!   more bytes of the text).

mod hits;
mod shapes;
mod text;
mod write;

use std::sync::Arc;

use bytes::Bytes;

use self::hits::Hits;
pub(super) use self::shapes::ObjectShape;
pub(super) use self::shapes::{ANSWER, partial_success};
use self::shapes::{ANY_VALUE, Field, Holds, PAIR, WITH_ATTRIBUTES, request};
pub(super) use self::text::{Cursor, JsonText, MAX_DEPTH, ordinary, special};
use self::write::Removal;
use super::Signal;
use super::group::{Found, Group, MAX_GROUPS, Malformed, RESERVED, Reading};
use super::names::alike;
use super::span::Span;
use super::wanted::{AttributeSaid, Values, Wanted};

/// As in protobuf, where messages are less than 2 GiB long: offsets fit 31 bits.
const MAX_TEXT_BYTES: usize = i32::MAX as usize;

/// The most resource attributes that one export may hold: eight for each of the most groups.
const MAX_ATTRIBUTES: usize = 1 << 20;

/// Where the groups of an export lie, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Plan {
    places: Vec<GroupPlace>,
    /// Attributes of all resources, in order: each group's end where its place says.
    attributes: Vec<Attribute>,
    /// What to leave out below the resources, in order, likewise.
    cuts: Vec<Span>,
    /// What the resources say under the wanted names, likewise.
    values: Values,
}

/// One group.
#[derive(Debug)]
struct GroupPlace {
    /// From its `{` to behind its `}`.
    whole: Span,
    resource: Resource,
    attributes_end: u32,
    cuts_end: u32,
    values_end: u32,
}

/// Where the attributes of a group's resource are, or can be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    /// No member of this name: behind the `{` of the group; `alone` if it has no members at all.
    Absent {
        behind: u32,
        alone: bool,
    },
    Null(Span),
    /// It has no `attributes`: behind its `{`.
    Without {
        behind: u32,
        alone: bool,
    },
    WithNull(Span),
    /// The array, brackets included.
    With(Span),
}

/// One attribute of a resource.
#[derive(Debug)]
struct Attribute {
    whole: Span,
    /// The key between its quotes; empty at the end if there is none. One with escapes: among the kept texts.
    key: Span,
    escaped: bool,
    reserved: bool,
}

impl Attribute {
    /// The key, unescaped.
    fn key<'a>(&self, text: &'a [u8], values: &'a Values) -> &'a [u8] {
        if self.escaped {
            values.kept(self.key)
        } else {
            text.get(self.key.range()).unwrap_or_default()
        }
    }
}

/// Reads an export request: see [`super::Export::read`].
pub(super) fn read(
    signal: Signal,
    body: &Bytes,
    wanted: &Arc<Wanted>,
) -> Result<Reading<Plan>, Malformed> {
    if body.len() > MAX_TEXT_BYTES {
        return Err(Malformed {
            offset: MAX_TEXT_BYTES,
            what: "the text is 2 GiB or longer",
        });
    }
    let mut reader = Reader {
        text: body,
        cursor: Cursor::new(body)?,
        hits: Hits::new(body),
        deep: false,
        reading: Reading::begun(Plan {
            values: Values::new(wanted),
            ..Plan::default()
        }),
        items: 0,
    };
    reader.object(request(signal))?;
    reader.cursor.end()?;
    Ok(reader.reading)
}

/// The walk.
struct Reader<'a> {
    text: &'a [u8],
    cursor: Cursor<'a>,
    hits: Hits<'a>,
    /// Inside of something that may hold reserved attributes.
    deep: bool,
    reading: Reading<Plan>,
    /// Of the group that is being read.
    items: u64,
}

impl Reader<'_> {
    /// An object whose known members are walked on.
    fn object(&mut self, shape: ObjectShape) -> Result<(), Malformed> {
        let mut members = Members::open(&mut self.cursor)?;
        let mut chosen = false;
        while let Some(field) = members.next(&mut self.cursor, shape)? {
            match &field.holds {
                Holds::Resource => self.resource()?,
                _ if self.cursor.null()? => {}
                Holds::Groups(shape) => self.groups(shape)?,
                Holds::Items(shape) => self.items(shape)?,
                Holds::Objects(shape) => self.objects(shape)?,
                Holds::Holders(shape) => {
                    self.cursor.open(b'[', NOT_AN_ARRAY)?;
                    let mut first = true;
                    while self.cursor.next(&mut first, b']')? {
                        self.reading.carries = true;
                        self.object(shape)?;
                    }
                }
                Holds::OneOf(_) if chosen => {
                    return Err(self.cursor.fault("two members of a oneof"));
                }
                Holds::OneOf(shape) => {
                    chosen = true;
                    self.object(shape)?;
                }
                Holds::Scope => self.where_hit(|reader| reader.object(WITH_ATTRIBUTES))?,
                Holds::Attributes => self.where_hit(Reader::clean)?,
                Holds::Value => self.cursor.skip()?,
            }
        }
        // What is looked into for reserved names alone is a part of what carries something, or is a scope.
        self.reading.carries |= members.unknown && !self.deep;
        Ok(())
    }

    /// Steps over a value, and walks it if it may hold reserved attributes. So what is written is looked at
    /// no closer when it is read again than it was before: a stamp makes no difference to it.
    fn where_hit(
        &mut self,
        walk: impl Fn(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if self.deep {
            return walk(self);
        }
        let start = self.cursor.at();
        self.cursor.skip()?;
        if self.hits.any_in(start..self.cursor.at()) {
            self.cursor = self.cursor.from(start);
            self.deep = true;
            walk(self)?;
            self.deep = false;
        }
        Ok(())
    }

    fn objects(&mut self, shape: ObjectShape) -> Result<(), Malformed> {
        self.cursor.open(b'[', NOT_AN_ARRAY)?;
        let mut first = true;
        while self.cursor.next(&mut first, b']')? {
            self.object(shape)?;
        }
        Ok(())
    }

    fn items(&mut self, shape: ObjectShape) -> Result<(), Malformed> {
        self.cursor.open(b'[', NOT_AN_ARRAY)?;
        let mut first = true;
        while self.cursor.next(&mut first, b']')? {
            if self.cursor.peek() != Some(b'{') {
                return Err(self.cursor.fault(NOT_AN_OBJECT));
            }
            self.items += 1;
            self.reading.carries = true;
            self.where_hit(|reader| reader.object(shape))?;
        }
        Ok(())
    }

    fn groups(&mut self, shape: ObjectShape) -> Result<(), Malformed> {
        self.cursor.open(b'[', NOT_AN_ARRAY)?;
        let mut first = true;
        while self.cursor.next(&mut first, b']')? {
            if self.reading.groups.len() >= MAX_GROUPS {
                return Err(self
                    .cursor
                    .fault("there are more resource groups than are read"));
            }
            let start = self.cursor.at();
            let (behind, alone) = inside(&self.cursor);
            self.reading.plan.places.push(GroupPlace {
                whole: (start..start).into(),
                resource: Resource::Absent { behind, alone },
                attributes_end: 0,
                cuts_end: 0,
                values_end: 0,
            });
            let attributes = self.reading.plan.attributes.len();
            self.items = 0;
            self.object(shape)?;
            self.reading.groups.push(Group { items: self.items });
            let attributes = self.reading.plan.attributes.len() - attributes;
            self.reading.most_attributes = self.reading.most_attributes.max(attributes);
            self.reading.carries |= attributes > 0;
            let (attributes_end, cuts_end) = (
                self.reading.plan.attributes.len() as u32,
                self.reading.plan.cuts.len() as u32,
            );
            let values_end = self.reading.plan.values.end_group();
            if let Some(place) = self.reading.plan.places.last_mut() {
                place.whole = (start..self.cursor.at()).into();
                (place.attributes_end, place.cuts_end, place.values_end) =
                    (attributes_end, cuts_end, values_end);
            }
        }
        Ok(())
    }

    /// The resource of the group that is being read: it is the last of the places.
    fn resource(&mut self) -> Result<(), Malformed> {
        let start = self.cursor.at();
        let resource = if self.cursor.null()? {
            Resource::Null((start..self.cursor.at()).into())
        } else {
            let (behind, alone) = inside(&self.cursor);
            let mut resource = Resource::Without { behind, alone };
            let mut members = Members::open(&mut self.cursor)?;
            while members.next(&mut self.cursor, WITH_ATTRIBUTES)?.is_some() {
                let start = self.cursor.at();
                if self.cursor.null()? {
                    resource = Resource::WithNull((start..self.cursor.at()).into());
                } else {
                    self.remember()?;
                    resource = Resource::With((start..self.cursor.at()).into());
                }
            }
            resource
        };
        if let Some(place) = self.reading.plan.places.last_mut() {
            place.resource = resource;
        }
        Ok(())
    }

    /// The attributes of a resource. Each key is unescaped once, here.
    fn remember(&mut self) -> Result<(), Malformed> {
        let text = self.text;
        self.cursor.open(b'[', NOT_AN_ARRAY)?;
        let mut first = true;
        while self.cursor.next(&mut first, b']')? {
            let start = self.cursor.at();
            if self.reading.plan.attributes.len() >= MAX_ATTRIBUTES {
                return Err(self
                    .cursor
                    .fault("there are more resource attributes than are read"));
            }
            let key = self.key()?;
            let said = key.said(text);
            let reserved = said.starts_with(RESERVED);
            self.reading.forged += u64::from(reserved);
            if !reserved && let Some(name) = self.reading.plan.values.place(said.as_bytes()) {
                let said = value(text, start, &mut self.reading.plan.values)
                    .unwrap_or(AttributeSaid::Ambiguous);
                self.reading.plan.values.note(text, name, said);
            }
            let span = if key.escaped {
                self.reading.plan.values.keep(&said)
            } else {
                key.range.into()
            };
            let whole = (start..self.cursor.at()).into();
            self.reading.plan.attributes.push(Attribute {
                whole,
                key: span,
                escaped: key.escaped,
                reserved,
            });
        }
        Ok(())
    }

    /// Attributes elsewhere: the reserved ones are noted to be left out.
    fn clean(&mut self) -> Result<(), Malformed> {
        self.cursor.open(b'[', NOT_AN_ARRAY)?;
        let (mut first, mut removal) = (true, Removal::default());
        while self.cursor.next(&mut first, b']')? {
            let start = self.cursor.at();
            let key = self.key()?;
            let reserved = self.is_reserved(&key);
            self.reading.forged += u64::from(reserved);
            removal.element(
                (start..self.cursor.at()).into(),
                reserved,
                &mut self.reading.plan.cuts,
            );
        }
        removal.end(&mut self.reading.plan.cuts);
        Ok(())
    }

    /// One `KeyValue`; gives its key.
    fn key(&mut self) -> Result<JsonText, Malformed> {
        let mut key = None;
        let mut members = Members::open(&mut self.cursor)?;
        while let Some(field) = members.next(&mut self.cursor, PAIR)? {
            if field.name == "key" && !self.cursor.null()? {
                let offset = self.cursor.at();
                let text = self.cursor.string("a key that is not a string")?;
                if text.torn {
                    return Err(Malformed { offset, what: TORN });
                }
                key = Some(text);
            } else if field.name != "key" {
                self.cursor.skip()?;
            }
        }
        let end = self.cursor.at();
        Ok(key.unwrap_or(JsonText {
            range: end..end,
            ..JsonText::default()
        }))
    }

    fn is_reserved(&self, key: &JsonText) -> bool {
        if key.escaped {
            return key.said(self.text).starts_with(RESERVED);
        }
        self.text
            .get(key.range.clone())
            .is_some_and(|key| key.starts_with(RESERVED.as_bytes()))
    }
}

/// Some readers replace it, others drop it: the rest may be another name.
const TORN: &str = "half of a surrogate pair in a name or key";
const NOT_AN_OBJECT: &str = "a message that is not an object";
const NOT_AN_ARRAY: &str = "a repeated field that is not an array";

/// The offset behind the bracket that the cursor stands before, and whether nothing is in it.
fn inside(cursor: &Cursor<'_>) -> (u32, bool) {
    let behind = cursor.at() + 1;
    (behind as u32, cursor.from(behind).peek() == Some(b'}'))
}

/// The members of an object, one after another.
pub(super) struct Members {
    first: bool,
    /// Which of the known have been given.
    seen: u32,
    /// Whether one was given that is not known.
    unknown: bool,
}

impl Members {
    pub(crate) fn open(cursor: &mut Cursor<'_>) -> Result<Members, Malformed> {
        cursor.open(b'{', NOT_AN_OBJECT)?;
        Ok(Members {
            first: true,
            seen: 0,
            unknown: false,
        })
    }

    /// The next known member; the cursor stands before its value. All others are stepped over.
    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        shape: ObjectShape,
    ) -> Result<Option<&'static Field>, Malformed> {
        while cursor.next(&mut self.first, b'}')? {
            let offset = cursor.at();
            let name = cursor.name()?;
            let Some((index, field)) = known(shape, &name, cursor.text(), offset)? else {
                self.unknown = true;
                cursor.skip()?;
                continue;
            };
            let bit = 1_u32.wrapping_shl(index as u32);
            if self.seen & bit != 0 {
                return Err(Malformed {
                    offset,
                    what: "a field is given twice",
                });
            }
            self.seen |= bit;
            return Ok(Some(field));
        }
        Ok(None)
    }
}

/// The field of this name, if the shape has one. A name that is not the field's own, but that some reader takes for it,
/// is malformed: the others would read something else.
fn known(
    shape: ObjectShape,
    name: &JsonText,
    text: &[u8],
    offset: usize,
) -> Result<Option<(usize, &'static Field)>, Malformed> {
    if name.torn {
        return Err(Malformed { offset, what: TORN });
    }
    let name = name.said(text);
    let own = |field: &Field| field.name == name || field.original == name;
    if let Some(field) = shape.iter().enumerate().find(|(_, field)| own(field)) {
        return Ok(Some(field));
    }
    if shape.iter().any(|field| alike(field.name, &name)) {
        return Err(Malformed {
            offset,
            what: "a field name in another spelling",
        });
    }
    Ok(None)
}

impl Plan {
    /// See [`super::Export::working_bytes`].
    pub(crate) fn working_bytes(&self) -> usize {
        self.places.capacity() * size_of::<GroupPlace>()
            + self.attributes.capacity() * size_of::<Attribute>()
            + self.cuts.capacity() * size_of::<Span>()
            + self.values.working_bytes()
    }

    /// See [`super::Export::attribute`].
    pub(crate) fn attribute<'a>(&'a self, body: &'a Bytes, group: usize, name: &str) -> Found<'a> {
        let Some(place) = self.places.get(group) else {
            return Found::Absent;
        };
        let start = self.before(group).map_or(0, |before| before.values_end);
        self.values
            .found(body, start as usize..place.values_end as usize, name)
    }

    fn attributes(&self, group: usize) -> &[Attribute] {
        let start = self.before(group).map_or(0, |place| place.attributes_end);
        let end = self
            .places
            .get(group)
            .map_or(start, |place| place.attributes_end);
        self.attributes
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }

    fn before(&self, group: usize) -> Option<&GroupPlace> {
        group
            .checked_sub(1)
            .and_then(|before| self.places.get(before))
    }
}

/// What the value of the pair says that begins here. A fault is one that a reader could pass over: the value is
/// ambiguous.
fn value(body: &[u8], start: usize, values: &mut Values) -> Result<AttributeSaid, Malformed> {
    let mut cursor = Cursor::again(body, start);
    let mut members = Members::open(&mut cursor)?;
    let mut said = AttributeSaid::Other;
    while let Some(field) = members.next(&mut cursor, PAIR)? {
        match field.name {
            _ if cursor.null()? => {}
            "value" => said = any_value(body, &mut cursor, values)?,
            "key" => cursor.skip()?,
            _ => return Ok(AttributeSaid::Ambiguous),
        }
    }
    Ok(said)
}

/// An `AnyValue`: text, if its only member is that.
fn any_value(
    body: &[u8],
    cursor: &mut Cursor<'_>,
    values: &mut Values,
) -> Result<AttributeSaid, Malformed> {
    cursor.open(b'{', "a value that is not an object")?;
    let (mut first, mut found, mut text) = (true, 0, None);
    while cursor.next(&mut first, b'}')? {
        let offset = cursor.at();
        let name = cursor.name()?;
        let is_text = known(ANY_VALUE, &name, body, offset)?.is_some();
        if cursor.null()? {
            continue;
        }
        found += 1;
        if is_text {
            text = Some(cursor.string("not a string")?);
        } else {
            cursor.skip()?;
        }
    }
    Ok(match text {
        _ if found > 1 => AttributeSaid::Ambiguous,
        None => AttributeSaid::Other,
        Some(text) if text.torn => AttributeSaid::Ambiguous,
        Some(text) if text.escaped => AttributeSaid::Kept(values.keep(&text.said(body))),
        Some(text) => AttributeSaid::Text(text.range.into()),
    })
}

#[cfg(test)]
mod tests;
