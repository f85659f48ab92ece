//! Protobuf to JSON.
//!
//! What it does: writes the fields of a message in their order, as long as each stands once and the repeated ones stand together,
//! as encoders have them. Where that fails, the whole is written once more, with care: each message is looked over first, and one
//! that is not in order is gathered field by field. What it refuses to know: what a field means beyond its kind.
//!
//! Invariants:
//! - Of several values the last counts, several parts of a message are one message, and of a oneof the last member counts
//!   (protobuf.dev, "Last One Wins"). What is replaced so is not looked into.
//! - A known field of another wire type, and a text that is not UTF-8, are refused: readers differ on them.
//! - What an absent field says is left out, unless presence says something: of a oneof's member, an optional field, a message.
//! - A message comes in at most `PARTS` parts where it should be one; brackets lie in each other no deeper than our own reader
//!   of JSON goes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::attribute::{self, ShortAttribute};
use super::number::{
    DOUBLE_BYTES, WHOLE_BYTES, put_double, put_hexadecimal, put_signed, put_unsigned,
};
use super::output::BoundedOutput;
use super::schema::{Field, FieldKind, Label, Message};
use super::text::put_text;
use super::{Fault, TranscodeFault, Transcoded};
use crate::otlp::json::MAX_DEPTH;
use crate::otlp::wire::{self, Wire};

/// In how many parts one message may come; encoders write one.
const PARTS: usize = 64;

pub(super) fn write(
    request: &'static Message,
    message: &[u8],
    output: BoundedOutput<'_>,
) -> Result<Transcoded, TranscodeFault> {
    let mut writer = Writer {
        output,
        unknown: 0,
        depth: 0,
        at: "",
        is_careful: false,
    };
    let parts = Parts {
        first: message,
        more: &[],
    };
    let begin = writer.output.mark();
    let mut written = writer.message(request, parts);
    if written.is_err() {
        // What is wrong may be replaced further on, and then does not count.
        writer.output.back_to(begin);
        (writer.unknown, writer.depth, writer.at) = (0, 0, "");
        writer.is_careful = true;
        written = writer.message(request, parts);
    }
    let Writer {
        output,
        unknown,
        at,
        ..
    } = writer;
    let message = written
        .and_then(|()| output.finish())
        .map_err(|fault| fault.of(at))?;
    Ok(Transcoded { message, unknown })
}

struct Writer<'h> {
    output: BoundedOutput<'h>,
    unknown: u64,
    /// Open brackets.
    depth: u32,
    /// The field that was begun last.
    at: &'static str,
    /// Whether a message is looked over before it is written.
    is_careful: bool,
}

/// The parts of one message.
#[derive(Clone, Copy)]
struct Parts<'s, 'a> {
    first: &'a [u8],
    more: &'s [&'a [u8]],
}

/// Their fields that are still to come.
struct PartFields<'s, 'a> {
    cursor: wire::Cursor<'a>,
    more: &'s [&'a [u8]],
}

impl<'s, 'a> Parts<'s, 'a> {
    fn fields(self) -> PartFields<'s, 'a> {
        PartFields {
            cursor: wire::Cursor::new(self.first),
            more: self.more,
        }
    }
}

impl<'a> PartFields<'_, 'a> {
    // Frames of an unoptimised build would be too large for the depth that is allowed.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next(&mut self) -> Result<Option<wire::Field<'a>>, Fault> {
        loop {
            if let Some(field) = self.cursor.short_number() {
                return Ok(Some(field));
            }
            if let Some(field) = self.cursor.field()? {
                return Ok(Some(field));
            }
            let Some((next, more)) = self.more.split_first() else {
                return Ok(None);
            };
            self.cursor = wire::Cursor::new(next);
            self.more = more;
        }
    }
}

/// What a message's fields are, before anything of it is written.
struct Survey {
    /// Which of the table have been seen.
    seen: u32,
    /// Whether they can be written as they come.
    is_orderly: bool,
    /// The last member of a oneof.
    chosen: usize,
}

impl Writer<'_> {
    fn message(&mut self, message: &'static Message, parts: Parts<'_, '_>) -> Result<(), Fault> {
        self.deeper()?;
        self.output.put_byte(b'{')?;
        let survey = match self.is_careful {
            true => Some(self.survey(message, parts)?),
            false => None,
        };
        match survey {
            Some(survey) if !survey.is_orderly => self.gathered(message, parts, &survey)?,
            _ => self.as_it_comes(message, parts)?,
        }
        self.depth -= 1;
        self.output.put_byte(b'}')
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            Err(Fault::What("nested too deep"))
        } else {
            Ok(())
        }
    }

    fn survey(&mut self, message: &'static Message, parts: Parts<'_, '_>) -> Result<Survey, Fault> {
        const NONE: usize = usize::MAX;
        let mut survey = Survey {
            seen: 0,
            is_orderly: true,
            chosen: NONE,
        };
        let mut last = NONE;
        let mut fields = parts.fields();
        while let Some(given) = fields.next()? {
            let Some((index, field)) = find(message, given.number) else {
                self.unknown += 1;
                continue;
            };
            let bit = 1_u32.wrapping_shl(index as u32);
            let goes_on = last == index && field.label == Label::Repeated;
            survey.is_orderly &= survey.seen & bit == 0 || goes_on;
            if field.label == Label::OneOf {
                survey.is_orderly &= survey.chosen == NONE;
                survey.chosen = index;
            }
            survey.seen |= bit;
            last = index;
        }
        Ok(survey)
    }

    /// Each field once, the values of a repeated one together.
    fn as_it_comes(
        &mut self,
        message: &'static Message,
        parts: Parts<'_, '_>,
    ) -> Result<(), Fault> {
        const DISORDER: Fault = Fault::What("only a survey tells what this says");
        let (mut first, mut array, mut last, mut seen) = (true, Array::default(), usize::MAX, 0);
        let mut fields = parts.fields();
        while let Some(given) = fields.next()? {
            let Some((index, field)) = find(message, given.number) else {
                // A survey has counted it.
                self.unknown += u64::from(!self.is_careful);
                continue;
            };
            if last != index || field.label != Label::Repeated {
                self.end(&mut array)?;
                last = index;
                let excluded = match field.label {
                    Label::OneOf => message.members,
                    _ => 1_u32.wrapping_shl(index as u32),
                };
                if seen & excluded != 0 {
                    return Err(DISORDER);
                }
                seen |= 1_u32.wrapping_shl(index as u32);
            }
            self.at = field.name;
            if field.label == Label::Repeated {
                self.elements(field, &given, &mut first, &mut array)?;
            } else {
                let parts = Parts {
                    first: given.content,
                    more: &[],
                };
                self.single(field, &given, parts, &mut first)?;
            }
        }
        self.end(&mut array)
    }

    /// PartFields in any order.
    #[cold]
    #[inline(never)]
    fn gathered(
        &mut self,
        message: &'static Message,
        parts: Parts<'_, '_>,
        survey: &Survey,
    ) -> Result<(), Fault> {
        let mut first = true;
        for (index, field) in message.fields.iter().enumerate() {
            let is_chosen = field.label != Label::OneOf || survey.chosen == index;
            if survey.seen & 1_u32.wrapping_shl(index as u32) == 0 || !is_chosen {
                continue;
            }
            self.at = field.name;
            let (mut fields, mut array) = (parts.fields(), Array::default());
            let (mut last, mut contents) = (None, Vec::new());
            while let Some(given) = fields.next()? {
                if given.number != field.number {
                    let other = find(message, given.number);
                    if field.label == Label::OneOf
                        && other.is_some_and(|(_, other)| other.label == Label::OneOf)
                    {
                        contents.clear();
                    }
                } else if field.label == Label::Repeated {
                    self.elements(field, &given, &mut first, &mut array)?;
                } else {
                    last = Some(given);
                    if matches!(field.kind, FieldKind::Message(_)) {
                        contents.push(given.bytes()?);
                    }
                    if contents.len() > PARTS {
                        return Err(Fault::What("a message in very many parts"));
                    }
                }
            }
            self.end(&mut array)?;
            if let Some(given) = last {
                let parts = match contents.as_slice() {
                    [first, more @ ..] => Parts { first, more },
                    [] => Parts {
                        first: given.content,
                        more: &[],
                    },
                };
                self.single(field, &given, parts, &mut first)?;
            }
        }
        Ok(())
    }

    /// One field's values of a repeated field, of which there may be several.
    #[inline]
    fn elements(
        &mut self,
        field: &'static Field,
        given: &wire::Field<'_>,
        first: &mut bool,
        array: &mut Array,
    ) -> Result<(), Fault> {
        let is_packed = field.kind.is_packable() && given.wire == Wire::Bytes;
        if is_packed && given.content.is_empty() {
            return Ok(());
        }
        if array.is_open {
            self.output.put_byte(b',')?;
        } else {
            self.name(field, first)?;
            self.output.put_byte(b'[')?;
            self.deeper()?;
            array.is_open = true;
        }
        if is_packed {
            return self.packed(field.kind, given.content);
        }
        if field.kind.is_attribute() && self.attribute(given)? {
            return Ok(());
        }
        let parts = Parts {
            first: given.content,
            more: &[],
        };
        match field.kind {
            kind if kind.is_packable() => self.scalar(kind, raw(kind, given)?),
            kind => self.delimited(kind, given, parts),
        }
    }

    /// What most attributes are; false: it is something else, and nothing is written.
    fn attribute(&mut self, given: &wire::Field<'_>) -> Result<bool, Fault> {
        if self.depth + attribute::DEPTH > MAX_DEPTH {
            return Ok(false);
        }
        let Some(attribute) = ShortAttribute::from_protobuf(given.bytes()?) else {
            return Ok(false);
        };
        self.at = attribute.field();
        attribute.put_json(&mut self.output)?;
        Ok(true)
    }

    fn end(&mut self, array: &mut Array) -> Result<(), Fault> {
        if array.is_open {
            array.is_open = false;
            self.depth -= 1;
            self.output.put_byte(b']')?;
        }
        Ok(())
    }

    fn packed(&mut self, kind: FieldKind, content: &[u8]) -> Result<(), Fault> {
        const CUT: Fault = Fault::What("packed numbers that are cut short");
        let mut is_first = true;
        let mut element = |writer: &mut Self, raw| {
            if !std::mem::take(&mut is_first) {
                writer.output.put_byte(b',')?;
            }
            writer.scalar(kind, raw)
        };
        match kind.wire_type() {
            1 => {
                let (numbers, rest) = content.as_chunks::<8>();
                for number in numbers {
                    element(self, u64::from_le_bytes(*number))?;
                }
                rest.is_empty().then_some(()).ok_or(CUT)
            }
            5 => {
                let (numbers, rest) = content.as_chunks::<4>();
                for number in numbers {
                    element(self, u64::from(u32::from_le_bytes(*number)))?;
                }
                rest.is_empty().then_some(()).ok_or(CUT)
            }
            _ => {
                let mut cursor = wire::Cursor::new(content);
                while let Some(number) = cursor.packed_varint()? {
                    element(self, number)?;
                }
                Ok(())
            }
        }
    }

    /// A field that is not repeated; `parts` are those of a message.
    #[inline]
    fn single(
        &mut self,
        field: &'static Field,
        given: &wire::Field<'_>,
        parts: Parts<'_, '_>,
        first: &mut bool,
    ) -> Result<(), Fault> {
        let is_plain = field.label == Label::Plain;
        if field.kind.is_packable() {
            let raw = raw(field.kind, given)?;
            if is_plain && is_default(field.kind, raw) {
                return Ok(());
            }
            self.name(field, first)?;
            return self.scalar(field.kind, raw);
        }
        let is_message = matches!(field.kind, FieldKind::Message(_));
        if is_plain && !is_message && given.bytes()?.is_empty() {
            return Ok(());
        }
        self.name(field, first)?;
        self.delimited(field.kind, given, parts)
    }

    #[inline]
    fn name(&mut self, field: &Field, first: &mut bool) -> Result<(), Fault> {
        let comma = usize::from(std::mem::take(first));
        let written = field.written.as_bytes().get(comma..);
        self.output.put(written.unwrap_or_default())
    }

    fn delimited(
        &mut self,
        kind: FieldKind,
        given: &wire::Field<'_>,
        parts: Parts<'_, '_>,
    ) -> Result<(), Fault> {
        let content = given.bytes()?;
        match kind {
            FieldKind::Message(message) => return self.message(message, parts),
            FieldKind::Text => return put_text(&mut self.output, content),
            _ => {}
        }
        self.output.put_byte(b'"')?;
        if matches!(kind, FieldKind::Id) {
            let write = |bytes: &mut Vec<u8>| put_hexadecimal(bytes, content);
            self.output.append(content.len().saturating_mul(2), write)?;
        } else {
            let most = base64::encoded_len(content.len(), true).ok_or(Fault::TooLarge)?;
            self.output
                .append(most, |bytes| {
                    let start = bytes.len();
                    bytes.resize(start + most, 0);
                    let room = bytes.get_mut(start..).unwrap_or_default();
                    STANDARD.encode_slice(content, room)
                })?
                .map_err(|_| Fault::TooLarge)?;
        }
        self.output.put_byte(b'"')
    }

    #[inline]
    fn scalar(&mut self, kind: FieldKind, raw: u64) -> Result<(), Fault> {
        const MOST_BYTES: usize = if DOUBLE_BYTES > WHOLE_BYTES {
            DOUBLE_BYTES
        } else {
            WHOLE_BYTES
        };
        self.output.append(MOST_BYTES + 2, |bytes| match kind {
            FieldKind::Bool => bytes.extend_from_slice(if raw == 0 { b"false" } else { b"true" }),
            FieldKind::Double => put_double(bytes, f64::from_bits(raw)),
            FieldKind::Enum(_) => put_signed(bytes, i64::from(raw as i32)),
            FieldKind::UInt32 | FieldKind::Fixed32 => put_unsigned(bytes, u64::from(raw as u32)),
            FieldKind::SInt32 => {
                let halved = (raw as u32 >> 1).cast_signed();
                put_signed(bytes, i64::from(halved ^ -((raw & 1) as i32)));
            }
            FieldKind::UInt64 | FieldKind::Fixed64 => {
                bytes.push(b'"');
                put_unsigned(bytes, raw);
                bytes.push(b'"');
            }
            _ => {
                bytes.push(b'"');
                put_signed(bytes, raw.cast_signed());
                bytes.push(b'"');
            }
        })
    }
}

/// The array that is being written.
#[derive(Default)]
struct Array {
    is_open: bool,
}

/// The field of this number. Most tables leave no number out, or one.
#[inline]
fn find(message: &'static Message, number: u32) -> Option<(usize, &'static Field)> {
    let likely = (number as usize).wrapping_sub(1);
    for index in [likely, likely.wrapping_sub(1)] {
        if let Some(field) = message.fields.get(index)
            && field.number == number
        {
            return Some((index, field));
        }
    }
    let mut fields = message.fields.iter().enumerate();
    fields.find(|(_, field)| field.number == number)
}

/// The bits of a number.
#[inline]
fn raw(kind: FieldKind, given: &wire::Field<'_>) -> Result<u64, Fault> {
    const OTHER: Fault = Fault::What("a known field has another wire type");
    match kind.wire_type() {
        0 => match (given.wire, given.content) {
            (Wire::Varint, [byte]) => Ok(u64::from(*byte)),
            _ => Ok(given.varint()?),
        },
        1 if given.wire == Wire::Fixed64 => {
            let bytes = given.content.first_chunk().ok_or(OTHER)?;
            Ok(u64::from_le_bytes(*bytes))
        }
        5 if given.wire == Wire::Fixed32 => {
            let bytes = given.content.first_chunk().ok_or(OTHER)?;
            Ok(u64::from(u32::from_le_bytes(*bytes)))
        }
        _ => Err(OTHER),
    }
}

fn is_default(kind: FieldKind, raw: u64) -> bool {
    match kind {
        FieldKind::Enum(_) | FieldKind::UInt32 | FieldKind::SInt32 => raw as u32 == 0,
        _ => raw == 0,
    }
}
