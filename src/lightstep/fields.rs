//! The fields of a protobuf message, one after the other, where they lie.
//!
//! What it does: steps over a message of the protobuf wire format (protobuf.dev, "Encoding") and says where
//! each field and its value are. What it refuses to know: what a field means. Invariants: every step moves
//! forward, nothing is allocated, unknown fields and groups are stepped over whole; what another reader
//! could take differently (field number 0, a length past the end, a group's end alone) is malformed.

use std::ops::Range;

use crate::otlp::Malformed;

/// How deep unknown groups may nest.
const GROUP_DEPTH_LIMIT: usize = 64;

/// The largest field number.
const NUMBER_LIMIT: u64 = (1 << 29) - 1;

/// One field: its number, all its bytes, and what it holds. Ranges are of the whole body.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub number: u64,
    pub whole: Range<usize>,
    pub value: FieldValue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FieldValue {
    /// A string, bytes or message.
    Bytes(Range<usize>),
    /// A number or a group.
    Other,
}

impl Field {
    /// Where the string or message is; fails for a field that holds anything else.
    pub(crate) fn bytes(self) -> Result<Range<usize>, Malformed> {
        match self.value {
            FieldValue::Bytes(range) => Ok(range),
            FieldValue::Other => Err(Malformed {
                offset: self.whole.start,
                what: "a field has another wire type",
            }),
        }
    }
}

/// Steps over the fields of the message that lies in a range of the body.
pub(super) struct Fields<'a> {
    body: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(body: &'a [u8], message: Range<usize>) -> Fields<'a> {
        Fields {
            body,
            at: message.start,
            end: message.end.min(body.len()),
        }
    }

    /// The next field, or `None` at the message's end.
    pub(crate) fn next(&mut self) -> Result<Option<Field>, Malformed> {
        if self.at >= self.end {
            return Ok(None);
        }
        let start = self.at;
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            2 => {
                let length = self.varint()?;
                FieldValue::Bytes(self.take(length)?)
            }
            3 => {
                self.step_over_group(number, start)?;
                FieldValue::Other
            }
            other => {
                self.step_over(other, start)?;
                FieldValue::Other
            }
        };
        Ok(Some(Field {
            number,
            whole: start..self.at,
            value,
        }))
    }

    fn tag(&mut self) -> Result<(u64, u8), Malformed> {
        let start = self.at;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > NUMBER_LIMIT {
            return Err(Malformed {
                offset: start,
                what: "a field number is out of range",
            });
        }
        Ok((number, (tag & 7) as u8))
    }

    /// Everything up to the group's end, which must carry its number.
    fn step_over_group(&mut self, number: u64, start: usize) -> Result<(), Malformed> {
        let malformed = |what| Malformed {
            offset: start,
            what,
        };
        let mut open = Vec::with_capacity(4);
        open.push(number);
        while let Some(innermost) = open.last().copied() {
            if self.at >= self.end {
                return Err(malformed("a group does not end"));
            }
            match self.tag()? {
                (_, 3) if open.len() == GROUP_DEPTH_LIMIT => {
                    return Err(malformed("groups nest too deep"));
                }
                (number, 3) => open.push(number),
                (number, 4) if number == innermost => drop(open.pop()),
                (_, 4) => return Err(malformed("a group ends with another number")),
                (_, 2) => {
                    let length = self.varint()?;
                    self.take(length)?;
                }
                (_, wire_type) => self.step_over(wire_type, start)?,
            }
        }
        Ok(())
    }

    fn step_over(&mut self, wire_type: u8, start: usize) -> Result<(), Malformed> {
        match wire_type {
            0 => self.varint().map(drop),
            1 => self.take(8).map(drop),
            5 => self.take(4).map(drop),
            4 => Err(Malformed {
                offset: start,
                what: "a group ends that did not begin",
            }),
            _ => Err(Malformed {
                offset: start,
                what: "a wire type is unknown",
            }),
        }
    }

    fn take(&mut self, length: u64) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        let left = self.end.saturating_sub(start);
        match usize::try_from(length) {
            Ok(length) if length <= left => {
                self.at = start + length;
                Ok(start..self.at)
            }
            _ => Err(Malformed {
                offset: start,
                what: "a length goes past the end",
            }),
        }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let bytes = self.body.get(start..self.end).unwrap_or_default();
        let mut value = 0;
        for (index, byte) in bytes.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.at = start + index + 1;
                return Ok(value);
            }
        }
        Err(Malformed {
            offset: start,
            what: "a varint does not end",
        })
    }
}

/// Appends a field with a string or message.
pub(super) fn push_field(into: &mut Vec<u8>, number: u64, parts: &[&[u8]]) {
    push_varint(into, number << 3 | 2);
    push_varint(into, parts.iter().map(|part| part.len() as u64).sum());
    for part in parts {
        into.extend_from_slice(part);
    }
}

pub(super) fn push_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(body: &[u8]) -> Result<Vec<(u64, Range<usize>)>, Malformed> {
        let mut fields = Fields::of(body, 0..body.len());
        let mut found = Vec::new();
        while let Some(field) = fields.next()? {
            found.push((field.number, field.whole));
        }
        Ok(found)
    }

    #[test]
    fn every_kind_of_field_is_stepped_over_whole() {
        for (body, expected) in [
            (&b""[..], vec![]),
            (
                &[0x08, 0x96, 0x01, 0x12, 0x02, 1, 2],
                vec![(1, 0..3), (2, 3..7)],
            ),
            (
                &[0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x15, 1, 2, 3, 4],
                vec![(1, 0..9), (2, 9..14)],
            ),
            // An overlong varint is one that every reader takes.
            (&[0x08, 0x80, 0x80, 0x00], vec![(1, 0..4)]),
            // A group with a field, a string and a group in it.
            (
                &[0x0b, 0x08, 1, 0x12, 1, 9, 0x13, 0x14, 0x0c, 0x10, 1],
                vec![(1, 0..9), (2, 9..11)],
            ),
        ] {
            assert_eq!(walk(body).unwrap(), expected, "{body:?}");
        }
    }

    #[test]
    fn what_has_no_one_reading_is_malformed() {
        let deep = [0x0b_u8; 65];
        for (body, what) in [
            (&[0x00][..], "number"),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f, 0], "number"),
            (&[0x0f], "wire type is unknown"),
            (&[0x0e], "wire type is unknown"),
            (&[0x0c], "did not begin"),
            (&[0x0b], "does not end"),
            (&[0x0b, 0x14], "another number"),
            (&[0x0b, 0x0b, 0x0c], "does not end"),
            (&deep, "too deep"),
            (&[0x0a, 0x02, 0x00], "past the end"),
            (
                &[
                    0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
                ],
                "past the end",
            ),
            (&[0x09, 0, 0], "past the end"),
            (&[0x08], "varint"),
            (&[0x80], "varint"),
            (
                &[
                    0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
                ],
                "varint",
            ),
            (
                &[
                    0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00,
                ],
                "varint",
            ),
        ] {
            let malformed = walk(body).unwrap_err();
            assert!(malformed.what.contains(what), "{body:?}: {malformed}");
        }
    }
}
