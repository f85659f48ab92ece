//! JSON to protobuf.
//!
//! What it does: walks a text once along the tables and writes each value where it stands. What it refuses to know: what a
//! member means beyond its kind.
//!
//! Invariants:
//! - The text is held to the grammar by `json::Cursor`, which bounds its depth; the walk goes no deeper.
//! - Names are judged as the reader of exports judges them (`json.rs`): a field has its JSON name or its original one; the
//!   same field twice, or a name that only some readers take for a field's, is refused.
//! - A value that its kind cannot hold is refused; so are two members of a oneof. `null` is an absent field.
//! - Half of a surrogate pair, which UTF-8 cannot say, becomes U+FFFD, as Go's and Java's readers have it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::attribute::{self, ShortAttribute};
use super::number::{WholeNumber, double, double_of_number, hexadecimal};
use super::output::BoundedOutput;
use super::schema::{Field, FieldKind, Label, Message};
use super::{Fault, TranscodeFault, Transcoded};
use crate::otlp::json::{Cursor, JsonText};
use crate::otlp::names::alike;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// Readers of the JSON mapping take either alphabet, with or without padding (protobuf.dev, "ProtoJSON").
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

pub(super) fn write(
    request: &'static Message,
    text: &[u8],
    output: BoundedOutput<'_>,
) -> Result<Transcoded, TranscodeFault> {
    let mut writer = Writer {
        text,
        cursor: Cursor::new(text).map_err(|malformed| Fault::from(malformed).of(""))?,
        output,
        unknown: 0,
        at: "",
    };
    let written = writer
        .message(request)
        .and_then(|()| Ok(writer.cursor.end()?));
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

struct Writer<'t, 'h> {
    text: &'t [u8],
    cursor: Cursor<'t>,
    output: BoundedOutput<'h>,
    unknown: u64,
    /// The field that was begun last.
    at: &'static str,
}

impl Writer<'_, '_> {
    fn message(&mut self, message: &'static Message) -> Result<(), Fault> {
        self.cursor.open(b'{', "not an object")?;
        let (mut first, mut seen, mut has_chosen, mut next) = (true, 0_u32, false, 0);
        loop {
            let (index, field) = if let Some(field) = self.likely(message, next, first) {
                first = false;
                (next, field)
            } else if !self.cursor.next(&mut first, b'}')? {
                return Ok(());
            } else if let Some(found) = self.field(message, next)? {
                found
            } else {
                self.unknown += 1;
                self.cursor.skip()?;
                continue;
            };
            self.at = field.name;
            let bit = 1_u32.wrapping_shl(index as u32);
            if seen & bit != 0 {
                return Err(Fault::What("a field is given twice"));
            }
            seen |= bit;
            next = index + 1;
            if self.cursor.null()? {
                continue;
            }
            match field.label {
                Label::Repeated => self.repeated(field)?,
                Label::OneOf if has_chosen => {
                    return Err(Fault::What("two members of a oneof"));
                }
                label => {
                    has_chosen |= label == Label::OneOf;
                    self.single(field)?;
                }
            }
        }
    }

    /// The field at `next`, if its name comes without blanks; with it the comma before and the colon are taken. Members mostly
    /// stand in the order of their fields.
    #[inline]
    fn likely(
        &mut self,
        message: &'static Message,
        next: usize,
        is_first: bool,
    ) -> Option<&'static Field> {
        let field = message.fields.get(next)?;
        let comma = usize::from(is_first);
        let there = self
            .cursor
            .take_exactly(field.written.as_bytes().get(comma..)?);
        there.then_some(field)
    }

    /// The field of the name that comes, and the colon. The search begins at `next`.
    #[inline]
    fn field(
        &mut self,
        message: &'static Message,
        next: usize,
    ) -> Result<Option<(usize, &'static Field)>, Fault> {
        let Some(name) = self.cursor.plain_string() else {
            let name = self.cursor.name()?;
            if name.torn {
                return Err(Fault::What("half of a surrogate pair in a name"));
            }
            return otherwise(message, &name.said(self.text));
        };
        self.cursor.colon()?;
        let (before, behind) = message.fields.split_at_checked(next).unwrap_or_default();
        let from = [(next, behind), (0, before)];
        for (first, fields) in from {
            for (index, field) in fields.iter().enumerate() {
                if field.name.as_bytes() == name {
                    return Ok(Some((first + index, field)));
                }
            }
        }
        otherwise(message, std::str::from_utf8(name).unwrap_or_default())
    }

    fn repeated(&mut self, field: &'static Field) -> Result<(), Fault> {
        self.cursor
            .open(b'[', "a repeated field that is not an array")?;
        let mut first = true;
        if !field.kind.is_packable() {
            let is_attribute = field.kind.is_attribute();
            while self.cursor.next(&mut first, b']')? {
                if is_attribute && self.attribute(field)? {
                    continue;
                }
                self.tag(field, 2)?;
                self.delimited(field.kind)?;
            }
            return Ok(());
        }
        let begin = self.output.mark();
        self.tag(field, 2)?;
        let length = self.output.open()?;
        let empty = self.output.mark();
        while self.cursor.next(&mut first, b']')? {
            self.scalar(field.kind)?;
        }
        let is_empty = self.output.is_at(empty);
        self.output.close(length);
        if is_empty {
            self.output.back_to(begin);
        }
        Ok(())
    }

    /// An element that is what most attributes are; false: it is not, and nothing is taken.
    fn attribute(&mut self, field: &Field) -> Result<bool, Fault> {
        let read = self
            .cursor
            .take_shape(attribute::DEPTH, ShortAttribute::from_json);
        let Some(attribute) = read else {
            return Ok(false);
        };
        self.at = attribute.field();
        attribute.put_protobuf(field.number, &mut self.output)?;
        Ok(true)
    }

    fn single(&mut self, field: &'static Field) -> Result<(), Fault> {
        let begin = self.output.mark();
        self.tag(field, field.kind.wire_type())?;
        let is_absent = if field.kind.is_packable() {
            self.scalar(field.kind)?
        } else {
            self.delimited(field.kind)?
        };
        if is_absent && field.label == Label::Plain {
            self.output.back_to(begin);
        }
        Ok(())
    }

    #[inline]
    fn tag(&mut self, field: &Field, wire_type: u32) -> Result<(), Fault> {
        self.output
            .put_varint(u64::from(field.number << 3 | wire_type))
    }

    /// A length and what has it; true: it says what an absent field does.
    fn delimited(&mut self, kind: FieldKind) -> Result<bool, Fault> {
        if let FieldKind::Message(message) = kind {
            return self.nested(message);
        }
        self.string(kind)
    }

    fn nested(&mut self, message: &'static Message) -> Result<bool, Fault> {
        let length = self.output.open()?;
        self.message(message)?;
        self.output.close(length);
        Ok(false)
    }

    fn string(&mut self, kind: FieldKind) -> Result<bool, Fault> {
        if let Some(plain) = self.cursor.plain_string() {
            return self.plain(kind, plain);
        }
        let text = self.cursor.string("not a string")?;
        if matches!(kind, FieldKind::Text) {
            let plain = self.text.get(text.range).unwrap_or_default();
            let length = self.output.open()?;
            self.unescaped(plain)?;
            self.output.close(length);
            return Ok(false);
        }
        // Escapes in what is no text mean the same as without, and are hardly ever seen.
        self.plain(kind, text.said(self.text).as_bytes())
    }

    /// What a string says.
    #[inline]
    fn plain(&mut self, kind: FieldKind, plain: &[u8]) -> Result<bool, Fault> {
        match kind {
            FieldKind::Text => {
                self.output.put_varint(plain.len() as u64)?;
                self.output.put(plain)?;
            }
            FieldKind::Id => self.id(plain)?,
            _ => self.base64(plain)?,
        }
        Ok(plain.is_empty())
    }

    fn id(&mut self, text: &[u8]) -> Result<(), Fault> {
        let (pairs, rest) = text.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Fault::What(NOT_HEXADECIMAL));
        }
        self.output.put_varint(pairs.len() as u64)?;
        let wrong = self.output.append(pairs.len(), |bytes| {
            let mut wrong = 0;
            bytes.extend(pairs.iter().map(|[high, low]| {
                let (high, low) = (hexadecimal(*high), hexadecimal(*low));
                wrong |= high | low;
                high << 4 | low & 15
            }));
            wrong
        })?;
        if wrong > 15 {
            return Err(Fault::What(NOT_HEXADECIMAL));
        }
        Ok(())
    }

    fn base64(&mut self, text: &[u8]) -> Result<(), Fault> {
        let is_url_safe = memchr::memchr2(b'-', b'_', text).is_some();
        let engine = if is_url_safe { &URL_SAFE } else { &STANDARD };
        let length = self.output.open()?;
        // The decoder makes room by groups of three bytes.
        let most = base64::decoded_len_estimate(text.len());
        let decoded = self
            .output
            .append(most, |bytes| engine.decode_vec(text, bytes))?;
        decoded.map_err(|_| Fault::What("not base64"))?;
        self.output.close(length);
        Ok(())
    }

    /// A text between its quotes, which the cursor has judged.
    fn unescaped(&mut self, text: &[u8]) -> Result<(), Fault> {
        let mut rest = text;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            let (plain, escape) = rest.split_at(at);
            self.output.put(plain)?;
            let (letter, behind) = match escape {
                [_, letter, behind @ ..] => (*letter, behind),
                _ => return Ok(()),
            };
            rest = behind;
            let byte = match letter {
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => {
                    rest = self.code_point(behind)?;
                    continue;
                }
                itself => itself,
            };
            self.output.put_byte(byte)?;
        }
        self.output.put(rest)
    }

    /// What stands behind `\u`; gives what is behind it.
    fn code_point<'a>(&mut self, digits: &'a [u8]) -> Result<&'a [u8], Fault> {
        let Some((high, rest)) = unit(digits) else {
            return Ok(&[]);
        };
        let low = rest.strip_prefix(b"\\u").and_then(unit);
        let (code_point, rest) = match (high, low) {
            (0xd800..=0xdbff, Some((low @ 0xdc00..=0xdfff, behind))) => {
                (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), behind)
            }
            _ => (high, rest),
        };
        match char::from_u32(code_point) {
            Some(letter) => self
                .output
                .put(letter.encode_utf8(&mut [0; 4]).as_bytes())?,
            None => self.output.put(REPLACEMENT)?,
        }
        Ok(rest)
    }

    /// One value of a kind without a length; true: it says what an absent field does.
    #[inline]
    fn scalar(&mut self, kind: FieldKind) -> Result<bool, Fault> {
        match kind {
            FieldKind::Bool => {
                let value = self.cursor.boolean()?;
                self.output.put_byte(u8::from(value))?;
                Ok(!value)
            }
            FieldKind::Double => {
                let bits = self.double()?.to_bits();
                self.output.put(&bits.to_le_bytes())?;
                Ok(bits == 0)
            }
            _ => {
                let value = self.whole(kind)?;
                match kind {
                    FieldKind::Fixed64 | FieldKind::SFixed64 => {
                        self.output.put(&value.to_le_bytes())?
                    }
                    FieldKind::Fixed32 => self.output.put(&(value as u32).to_le_bytes())?,
                    _ => self.output.put_varint(value)?,
                }
                Ok(value == 0)
            }
        }
    }

    /// A whole number that the kind holds, in the 64 bits that stand for it on the wire.
    fn whole(&mut self, kind: FieldKind) -> Result<u64, Fault> {
        if !matches!(kind, FieldKind::SInt32)
            && let Some(digit) = self.cursor.digit()
        {
            return Ok(digit.into());
        }
        let named = |text: &[u8]| match kind {
            FieldKind::Enum(names) => WholeNumber::named(names, text),
            _ => None,
        };
        let read = match self.token()? {
            NumberToken::Number(text) => WholeNumber::read(text),
            NumberToken::Text(text) => WholeNumber::read(text).or_else(|| named(text)),
            NumberToken::Escaped(text) => WholeNumber::read(text.said(self.text).as_bytes()),
        };
        let whole = read.ok_or(Fault::What("not a whole number of 64 bits"))?;
        let value = match kind {
            FieldKind::UInt32 | FieldKind::Fixed32 => whole.unsigned(u64::from(u32::MAX)),
            FieldKind::UInt64 | FieldKind::Fixed64 => whole.unsigned(u64::MAX),
            FieldKind::Enum(_) => whole.signed(i64::from(i32::MAX)).map(i64::cast_unsigned),
            FieldKind::SInt32 => {
                let value = whole.signed(i64::from(i32::MAX));
                value.map(|value| (value << 1 ^ value >> 63).cast_unsigned())
            }
            _ => whole.signed(i64::MAX).map(i64::cast_unsigned),
        };
        value.ok_or(Fault::What("a number that the field does not hold"))
    }

    fn double(&mut self) -> Result<f64, Fault> {
        let value = match self.token()? {
            NumberToken::Number(text) => double_of_number(text),
            NumberToken::Text(text) => special(text).or_else(|| double(text)),
            NumberToken::Escaped(text) => {
                let said = text.said(self.text);
                special(said.as_bytes()).or_else(|| double(said.as_bytes()))
            }
        };
        value.ok_or(Fault::What("not a number that a double holds"))
    }

    /// A number, or a string that should hold one.
    #[inline]
    fn token(&mut self) -> Result<NumberToken<'_>, Fault> {
        const NOT_A_NUMBER: &str = "not a number";
        if self.cursor.peek() != Some(b'"') {
            let range = self.cursor.number_text(NOT_A_NUMBER)?;
            return Ok(NumberToken::Number(
                self.text.get(range).unwrap_or_default(),
            ));
        }
        if let Some(plain) = self.cursor.plain_string() {
            return Ok(NumberToken::Text(plain));
        }
        Ok(NumberToken::Escaped(self.cursor.string(NOT_A_NUMBER)?))
    }
}

enum NumberToken<'t> {
    Number(&'t [u8]),
    /// Between the quotes of a string.
    Text(&'t [u8]),
    /// A string with escapes.
    Escaped(JsonText),
}

/// The field that is named in another way than by its name in JSON.
#[cold]
fn otherwise(
    message: &'static Message,
    name: &str,
) -> Result<Option<(usize, &'static Field)>, Fault> {
    let is_own = |field: &Field| field.name == name || field.original == name;
    let mut fields = message.fields.iter().enumerate();
    let found = fields.find(|(_, field)| is_own(field));
    if found.is_none() && message.fields.iter().any(|field| alike(field.name, name)) {
        return Err(Fault::What("a field name in another spelling"));
    }
    Ok(found)
}

const NOT_HEXADECIMAL: &str = "not pairs of hexadecimal digits";

/// What is no number.
fn special(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"Infinity" => Some(f64::INFINITY),
        b"-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Four hexadecimal digits, and what is behind them.
fn unit(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    let value = digits.iter().fold(0, |value, digit| {
        value << 4 | u32::from(hexadecimal(*digit) & 15)
    });
    Some((value, rest))
}
