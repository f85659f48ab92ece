//! The Thrift binary protocol, as far as stepping through a message needs it.
//!
//! What it does: steps over fields and values of a strict binary message (Apache Thrift, "Thrift Binary
//! protocol encoding"). What it refuses to know: what a field means. Invariants: every element takes at
//! least one byte, so that a list's announced length can be checked against what is left before anything
//! is stepped over; nesting is bounded; nothing is allocated.

use std::ops::Range;

use crate::otlp::Malformed;

/// How deep values may nest. The report's own structs need seven.
const DEPTH_LIMIT: usize = 64;

/// The wire's type codes.
pub(super) mod code {
    pub(crate) const STOP: u8 = 0;
    pub(crate) const BOOL: u8 = 2;
    pub(crate) const BYTE: u8 = 3;
    pub(crate) const DOUBLE: u8 = 4;
    pub(crate) const I16: u8 = 6;
    pub(crate) const I32: u8 = 8;
    pub(crate) const I64: u8 = 10;
    pub(crate) const STRING: u8 = 11;
    pub(crate) const STRUCT: u8 = 12;
    pub(crate) const MAP: u8 = 13;
    pub(crate) const SET: u8 = 14;
    pub(crate) const LIST: u8 = 15;
}

/// A message's kind (its version word's last byte).
pub(super) mod kind {
    pub(crate) const CALL: u8 = 1;
    pub(crate) const REPLY: u8 = 2;
    pub(crate) const EXCEPTION: u8 = 3;
}

/// A field's head: what it holds and where its bytes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub id: i16,
    pub code: u8,
    /// Where the field itself begins.
    pub start: usize,
}

/// A place in a message.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    body: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Cursor<'a> {
        Cursor { body, at: 0 }
    }

    pub(crate) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed {
            offset: self.at,
            what,
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.body.len()
    }

    /// The head of a strict message named `Report`: its kind and sequence number.
    pub(crate) fn message(&mut self) -> Result<(u8, i32), Malformed> {
        let version = self.number::<4>()?;
        let [0x80, 0x01, _, kind] = version else {
            return Err(Malformed {
                offset: 0,
                what: "this is not a strict Thrift message",
            });
        };
        if self.string()? != b"Report" {
            return Err(self.malformed("the call is not `Report`"));
        }
        Ok((kind, i32::from_be_bytes(self.number()?)))
    }

    /// The next field's head; `None` at the struct's end.
    pub(crate) fn field(&mut self) -> Result<Option<Field>, Malformed> {
        let start = self.at;
        let [code] = self.number()?;
        if code == code::STOP {
            return Ok(None);
        }
        Ok(Some(Field {
            code,
            id: i16::from_be_bytes(self.number()?),
            start,
        }))
    }

    /// Fails unless the field holds what is expected of it.
    pub(crate) fn expect(&self, field: Field, code: u8) -> Result<(), Malformed> {
        if field.code == code {
            return Ok(());
        }
        Err(Malformed {
            offset: field.start,
            what: "a field has another type",
        })
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length(1)?;
        let range = self.take(length)?;
        Ok(self.body.get(range).unwrap_or_default())
    }

    /// The head of a list of structs: how many. An empty list may name any type of elements.
    pub(crate) fn structs(&mut self) -> Result<usize, Malformed> {
        let start = self.at;
        let [code] = self.number()?;
        let count = self.length(1)?;
        if code != code::STRUCT && count > 0 {
            return Err(Malformed {
                offset: start,
                what: "a list holds no structs",
            });
        }
        Ok(count)
    }

    /// Steps over a value.
    pub(crate) fn step_over(&mut self, code: u8) -> Result<(), Malformed> {
        self.step(code, DEPTH_LIMIT)
    }

    fn step(&mut self, code: u8, depth: usize) -> Result<(), Malformed> {
        if let Some(bytes) = fixed_bytes(code) {
            return self.take(bytes).map(drop);
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.malformed("values nest too deep"));
        };
        match code {
            code::STRING => self.string().map(drop),
            code::STRUCT => {
                while let Some(field) = self.field()? {
                    self.step(field.code, depth)?;
                }
                Ok(())
            }
            code::LIST | code::SET => {
                let [element] = self.number()?;
                self.steps(&[element], depth)
            }
            code::MAP => {
                let elements: [u8; 2] = self.number()?;
                self.steps(&elements, depth)
            }
            _ => Err(self.malformed("a type is unknown")),
        }
    }

    /// A count, and as many elements of these types.
    fn steps(&mut self, codes: &[u8], depth: usize) -> Result<(), Malformed> {
        let count = self.length(codes.len())?;
        // Of an empty container some writers say no type.
        if count == 0 {
            return Ok(());
        }
        let fixed: Option<usize> = codes.iter().map(|code| fixed_bytes(*code)).sum();
        if let Some(bytes) = fixed {
            return self.take(count.saturating_mul(bytes)).map(drop);
        }
        for _ in 0..count {
            for code in codes {
                self.step(*code, depth)?;
            }
        }
        Ok(())
    }

    /// An announced length whose elements take `least` bytes each, which must still be there.
    fn length(&mut self, least: usize) -> Result<usize, Malformed> {
        let start = self.at;
        let length = usize::try_from(i32::from_be_bytes(self.number()?));
        let left = self.body.len().saturating_sub(self.at);
        match length {
            Ok(length) if length.saturating_mul(least) <= left => Ok(length),
            _ => Err(Malformed {
                offset: start,
                what: "a length goes past the end",
            }),
        }
    }

    fn number<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Malformed> {
        let range = self.take(BYTES)?;
        let bytes = self
            .body
            .get(range)
            .and_then(|bytes| <[u8; BYTES]>::try_from(bytes).ok());
        bytes.ok_or_else(|| self.malformed("the message ends early"))
    }

    fn take(&mut self, length: usize) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        if length > self.body.len().saturating_sub(start) {
            return Err(self.malformed("the message ends early"));
        }
        self.at = start + length;
        Ok(start..self.at)
    }
}

fn fixed_bytes(code: u8) -> Option<usize> {
    match code {
        code::BOOL | code::BYTE => Some(1),
        code::I16 => Some(2),
        code::I32 => Some(4),
        code::DOUBLE | code::I64 => Some(8),
        _ => None,
    }
}

/// Appends a field's head.
pub(super) fn push_field(into: &mut Vec<u8>, code: u8, id: i16) {
    into.push(code);
    into.extend_from_slice(&id.to_be_bytes());
}

/// Appends a field that holds a string.
pub(super) fn push_string(into: &mut Vec<u8>, id: i16, text: &[u8]) {
    push_field(into, code::STRING, id);
    push_length(into, text.len());
    into.extend_from_slice(text);
}

/// Appends a length. Ours are short, and what was read was within the same bound.
pub(super) fn push_length(into: &mut Vec<u8>, length: usize) {
    into.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
}

/// Appends the head of a strict `Report` message.
pub(super) fn push_message(into: &mut Vec<u8>, kind: u8, sequence: i32) {
    into.extend_from_slice(&[0x80, 0x01, 0, kind]);
    push_length(into, b"Report".len());
    into.extend_from_slice(b"Report");
    into.extend_from_slice(&sequence.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(code: u8, body: &[u8]) -> Result<usize, &'static str> {
        let mut cursor = Cursor::new(body);
        cursor
            .step_over(code)
            .map(|()| cursor.at)
            .map_err(|malformed| malformed.what)
    }

    #[test]
    fn values_are_stepped_over_whole() {
        let list = |element: u8, count: i32, rest: &[u8]| {
            [&[element][..], &count.to_be_bytes(), rest].concat()
        };
        let nested = |depth: usize| {
            [
                &[code::LIST, 0, 0, 0, 1].repeat(depth)[..],
                &[0, 0, 0, 0, 0],
            ]
            .concat()
        };
        let most = i32::MAX;
        for (code, body, expected) in [
            (code::BOOL, vec![1], Ok(1)),
            (code::I64, vec![0; 8], Ok(8)),
            (code::I64, vec![0; 7], Err("the message ends early")),
            (
                code::STRING,
                [&3_i32.to_be_bytes()[..], b"abc"].concat(),
                Ok(7),
            ),
            (
                code::STRING,
                [&4_i32.to_be_bytes()[..], b"abc"].concat(),
                Err("a length goes past the end"),
            ),
            (
                code::STRING,
                (-1_i32).to_be_bytes().to_vec(),
                Err("a length goes past the end"),
            ),
            (code::STRUCT, vec![code::BOOL, 0, 1, 1, code::STOP], Ok(5)),
            (
                code::STRUCT,
                vec![code::BOOL, 0, 1, 1],
                Err("the message ends early"),
            ),
            (code::LIST, list(code::I16, 2, &[0; 4]), Ok(9)),
            (
                code::LIST,
                list(code::I16, 2, &[0; 3]),
                Err("the message ends early"),
            ),
            (code::LIST, list(code::STOP, 0, &[]), Ok(5)),
            (
                code::LIST,
                list(code::STOP, 2, &[0; 4]),
                Err("a type is unknown"),
            ),
            (
                code::LIST,
                list(1, most, &[]),
                Err("a length goes past the end"),
            ),
            (
                code::SET,
                list(code::STOP, most, &[0; 64]),
                Err("a length goes past the end"),
            ),
            (code::LIST, list(code::STRUCT, 3, &[0; 3]), Ok(8)),
            (
                code::MAP,
                [
                    &[code::BYTE, code::STRING][..],
                    &[0, 0, 0, 1],
                    &[7, 0, 0, 0, 1, 9],
                ]
                .concat(),
                Ok(12),
            ),
            (code::MAP, vec![0, 0, 0, 0, 0, 0], Ok(6)),
            (
                code::MAP,
                [&[code::BYTE, code::BYTE][..], &most.to_be_bytes()].concat(),
                Err("a length goes past the end"),
            ),
            (code::LIST, nested(63), Ok(64 * 5)),
            (code::LIST, nested(64), Err("values nest too deep")),
            (code::LIST, nested(100_000), Err("values nest too deep")),
            (1, vec![0; 8], Err("a type is unknown")),
            (16, vec![0; 8], Err("a type is unknown")),
        ] {
            assert_eq!(
                step(code, &body),
                expected,
                "{code} {:?}",
                body.get(..body.len().min(12))
            );
        }
    }
}
