//! What most attributes are: a key, and a text or a whole number.
//!
//! What it does: reads an attribute of that shape in one go, and writes it in one go, in either encoding. What it refuses to
//! know: attributes of any other shape, of which it takes nothing: the walks along the tables read them, and tell what is wrong
//! with them. Invariant: what is taken is written as the walks would write it, byte for byte; hence the key is not empty, and
//! nothing in it or in the text needs an escape.

use super::Fault;
use super::number::{WHOLE_BYTES, WholeNumber, put_signed};
use super::output::{BoundedOutput, width};
use super::text::is_plain;
use crate::otlp::json::ordinary;
use crate::otlp::wire;

/// How deep its own brackets lie in each other in JSON.
pub(super) const DEPTH: u32 = 2;

const KEY: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;
const STRING_VALUE: u8 = 1 << 3 | 2;
const INT_VALUE: u8 = 3 << 3;

pub(super) struct ShortAttribute<'a> {
    key: &'a [u8],
    value: ShortValue<'a>,
}

enum ShortValue<'a> {
    Text(&'a [u8]),
    Whole(i64),
}

impl<'a> ShortAttribute<'a> {
    /// Its value's field, by its name in JSON.
    pub(crate) fn field(&self) -> &'static str {
        match self.value {
            ShortValue::Text(_) => "stringValue",
            ShortValue::Whole(_) => "intValue",
        }
    }

    /// What stands at the start of a JSON text that is UTF-8, written without blanks; and what is behind it.
    #[inline]
    pub(crate) fn from_json(text: &'a [u8]) -> Option<(ShortAttribute<'a>, &'a [u8])> {
        let (key, rest) = unescaped(behind(text, b"{\"key\":\"")?)?;
        let rest = behind(rest, b"\",\"value\":{\"")?;
        if key.is_empty() {
            return None;
        }
        if let Some(rest) = behind(rest, b"stringValue\":\"") {
            let (text, rest) = unescaped(rest)?;
            let value = ShortValue::Text(text);
            return Some((ShortAttribute { key, value }, behind(rest, b"\"}}")?));
        }
        let rest = behind(rest, b"intValue\":")?;
        let (digits, rest) = match behind(rest, b"\"") {
            Some(quoted) => {
                let (digits, rest) = unescaped(quoted)?;
                (digits, behind(rest, b"\"}}")?)
            }
            None => {
                let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (digits, rest) = rest.split_at_checked(count)?;
                (digits, behind(rest, b"}}")?)
            }
        };
        // The grammar has no number with zeros before it, though a text may say one.
        if matches!(digits, [b'0', _, ..]) {
            return None;
        }
        let value = ShortValue::Whole(WholeNumber::read(digits)?.signed(i64::MAX)?);
        Some((ShortAttribute { key, value }, rest))
    }

    /// What a message is, if its fields are in order and nothing else is in it.
    #[inline]
    pub(crate) fn from_protobuf(message: &'a [u8]) -> Option<ShortAttribute<'a>> {
        let mut fields = wire::Cursor::new(message);
        let key = fields.short_content(KEY)?;
        let value = fields.short_content(VALUE)?;
        if key.is_empty() || !is_plain(key) || !fields.is_at_end() {
            return None;
        }
        let (value, rest) = match value {
            [INT_VALUE, number @ ..] => {
                let mut rest = wire::Cursor::new(number);
                let value = rest.packed_varint().ok()??;
                (ShortValue::Whole(value.cast_signed()), rest)
            }
            _ => {
                let mut rest = wire::Cursor::new(value);
                let text = rest.short_content(STRING_VALUE)?;
                if !is_plain(text) {
                    return None;
                }
                (ShortValue::Text(text), rest)
            }
        };
        rest.is_at_end().then_some(ShortAttribute { key, value })
    }

    /// As an element of the repeated field with this number, which is below 16.
    #[inline]
    pub(crate) fn put_protobuf(
        &self,
        number: u32,
        output: &mut BoundedOutput<'_>,
    ) -> Result<(), Fault> {
        let tag = (number << 3) as u8 | 2;
        let ShortAttribute { key, value } = self;
        match *value {
            // Each length fits one byte.
            ShortValue::Text(text) if key.len() + text.len() + 6 < 0x80 => {
                let length = key.len() + text.len() + 6;
                let (key_length, text_length) = (key.len() as u8, text.len() as u8);
                output.append(length + 2, |bytes| {
                    bytes.extend_from_slice(&[tag, length as u8, KEY, key_length]);
                    bytes.extend_from_slice(key);
                    let head = [VALUE, text_length + 2, STRING_VALUE, text_length];
                    bytes.extend_from_slice(&head);
                    bytes.extend_from_slice(text);
                })
            }
            ShortValue::Text(text) => {
                let value_length = delimited_bytes(text.len());
                Self::put_head(tag, key, value_length, output)?;
                output.put_byte(STRING_VALUE)?;
                output.put_varint(text.len() as u64)?;
                output.put(text)
            }
            ShortValue::Whole(number) => {
                let number = number.cast_unsigned();
                Self::put_head(tag, key, 1 + width(number), output)?;
                output.put_byte(INT_VALUE)?;
                output.put_varint(number)
            }
        }
    }

    /// All before the value's own field.
    fn put_head(
        tag: u8,
        key: &[u8],
        value_length: usize,
        output: &mut BoundedOutput<'_>,
    ) -> Result<(), Fault> {
        let length = delimited_bytes(key.len()) + delimited_bytes(value_length);
        output.put_byte(tag)?;
        output.put_varint(length as u64)?;
        output.put_byte(KEY)?;
        output.put_varint(key.len() as u64)?;
        output.put(key)?;
        output.put_byte(VALUE)?;
        output.put_varint(value_length as u64)
    }

    /// As an element of an array.
    #[inline]
    pub(crate) fn put_json(&self, output: &mut BoundedOutput<'_>) -> Result<(), Fault> {
        const BEFORE_KEY: &[u8] = b"{\"key\":\"";
        const BEFORE_TEXT: &[u8] = b"\",\"value\":{\"stringValue\":\"";
        const BEFORE_WHOLE: &[u8] = b"\",\"value\":{\"intValue\":\"";
        const END: &[u8] = b"\"}}";
        const AROUND: usize = BEFORE_KEY.len() + BEFORE_TEXT.len() + END.len();
        let ShortAttribute { key, value } = self;
        match *value {
            ShortValue::Text(text) => output.append(AROUND + key.len() + text.len(), |bytes| {
                bytes.extend_from_slice(BEFORE_KEY);
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(BEFORE_TEXT);
                bytes.extend_from_slice(text);
                bytes.extend_from_slice(END);
            }),
            ShortValue::Whole(number) => output.append(AROUND + key.len() + WHOLE_BYTES, |bytes| {
                bytes.extend_from_slice(BEFORE_KEY);
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(BEFORE_WHOLE);
                put_signed(bytes, number);
                bytes.extend_from_slice(END);
            }),
        }
    }
}

/// How long a field with one byte of tag is, of so many bytes of content.
fn delimited_bytes(content: usize) -> usize {
    1 + width(content as u64) + content
}

/// What is behind these bytes.
#[inline(always)]
fn behind<'a, const N: usize>(text: &'a [u8], expected: &[u8; N]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_first_chunk::<N>()?;
    (start == expected).then_some(rest)
}

/// What stands before the first byte that ends a string or is no plain part of one; and the rest.
#[inline(always)]
fn unescaped(text: &[u8]) -> Option<(&[u8], &[u8])> {
    text.split_at_checked(ordinary(text))
}
