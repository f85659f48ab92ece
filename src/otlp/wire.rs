//! Walks the fields of a protobuf message without copying anything (protobuf.dev, "Encoding").
//!
//! What it does: a cursor over one message gives its fields one after another, each with its number, its
//! wire type and where its bytes lie, in offsets of the outermost message. What it refuses to know: which
//! message it is, and what is inside a field that is not opened. Invariants: no input panics; every step
//! takes at least one byte, so a walk ends; deprecated groups (wire types 3 and 4) are stepped over as one
//! field, without recursion, to a depth of [`MAX_GROUP_DEPTH`].

use std::ops::Range;

use super::group::Malformed;

/// Protobuf messages are less than 2 GiB long (protobuf.dev, "Proto Limits"), so offsets fit 31 bits.
pub(super) const MAX_MESSAGE_BYTES: usize = i32::MAX as usize;

/// How deep deprecated groups may lie in each other.
pub(super) const MAX_GROUP_DEPTH: usize = 64;

const CUT_SHORT: &str = "a field ends beyond its message";
const VARINT_CUT_SHORT: &str = "a varint ends beyond its message";
const VARINT_TOO_LARGE: &str = "a varint is larger than 64 bits";
const TAG_TOO_LARGE: &str = "a field tag is larger than 32 bits";
const NUMBER_ZERO: &str = "a field has the number 0";
const UNKNOWN_WIRE_TYPE: &str = "a field has an unknown wire type";
const GROUPS_TOO_DEEP: &str = "groups are nested too deep";
const GROUP_NOT_OPEN: &str = "a group ends that is not open";
const OTHER_WIRE_TYPE: &str = "a known field has another wire type";

/// The text of a field of a small message; the last one counts, and none is `None` (protobuf.dev, "Last One Wins").
pub(crate) fn text_field(message: &[u8], number: u32) -> Result<Option<&str>, Malformed> {
    let mut cursor = Cursor::new(message);
    let mut found = None;
    while let Some(field) = cursor.field()? {
        if field.number == number {
            let text = str::from_utf8(field.bytes()?);
            found = Some(text.map_err(|_| Malformed {
                offset: field.start,
                what: "a text is not UTF-8",
            })?);
        }
    }
    Ok(found)
}

/// How the value of a field is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Varint,
    Fixed64,
    /// Length-delimited: a string, bytes, a message or packed numbers.
    Bytes,
    /// A deprecated group, from its start to its end.
    Group,
    Fixed32,
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub number: u32,
    pub wire: Wire,
    /// Offset of the tag.
    pub start: usize,
    /// Offset behind the tag: of the length, where the value has one.
    pub value: usize,
    /// The value without its length; of a group, all that follows its first tag.
    pub content: &'a [u8],
    /// Offset behind the field.
    pub end: usize,
}

impl<'a> Field<'a> {
    /// Tag, length and content.
    pub(crate) fn whole(&self) -> Range<usize> {
        self.start..self.end
    }

    pub(crate) fn content_range(&self) -> Range<usize> {
        self.end - self.content.len()..self.end
    }

    /// The content of a field that is known to be length-delimited. Readers differ on what a known field
    /// of another wire type is (an unknown field, or an error), so it is malformed.
    #[inline]
    pub(crate) fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.wire {
            Wire::Bytes => Ok(self.content),
            _ => Err(Malformed {
                offset: self.start,
                what: OTHER_WIRE_TYPE,
            }),
        }
    }

    /// The value of a field that is known to be a varint.
    pub(crate) fn varint(&self) -> Result<u64, Malformed> {
        match self.wire {
            Wire::Varint => Cursor {
                rest: self.content,
                end: self.end,
            }
            .varint(),
            _ => Err(Malformed {
                offset: self.start,
                what: OTHER_WIRE_TYPE,
            }),
        }
    }

    /// The fields of a field that is known to be a message.
    #[inline]
    pub(crate) fn message(&self) -> Result<Cursor<'a>, Malformed> {
        Ok(Cursor {
            rest: self.bytes()?,
            end: self.end,
        })
    }
}

/// The fields of one message that are still to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// Offset behind the message.
    end: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Cursor<'a> {
        Cursor {
            rest: message,
            end: message.len(),
        }
    }

    /// The part of `message` in `range`, with offsets of `message`. A range outside it is empty.
    pub(crate) fn over(message: &'a [u8], range: Range<usize>) -> Cursor<'a> {
        Cursor {
            end: range.end,
            rest: message.get(range).unwrap_or_default(),
        }
    }

    fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// The next field, or none at the end of the message.
    #[inline(always)]
    pub(crate) fn field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        match self.short_field() {
            Some(field) => Ok(Some(field)),
            None if self.rest.is_empty() => Ok(None),
            None => self.any_field().map(Some),
        }
    }

    /// The next field if it is what most are: length-delimited, with one byte of tag and up to two of length.
    #[inline(always)]
    fn short_field(&mut self) -> Option<Field<'a>> {
        let (&tag, after_tag) = self.rest.split_first()?;
        if tag & 0x87 != 2 || tag < 8 {
            return None;
        }
        let (content, rest) = after_short_length(after_tag)?;
        let start = self.offset();
        self.rest = rest;
        let number = u32::from(tag >> 3);
        Some(Field {
            number,
            wire: Wire::Bytes,
            start,
            value: start + 1,
            content,
            end: self.offset(),
        })
    }

    /// The content of the next field, if it has this tag, which is of a length-delimited field, and up to two bytes of length.
    #[inline(always)]
    pub(crate) fn short_content(&mut self, tag: u8) -> Option<&'a [u8]> {
        let after_tag = match *self.rest {
            [first, ref after_tag @ ..] if first == tag => after_tag,
            _ => return None,
        };
        let (content, rest) = after_short_length(after_tag)?;
        self.rest = rest;
        Some(content)
    }

    /// The next field if it is a number as most are: one byte of tag, and eight bytes or a varint of one.
    #[inline(always)]
    pub(crate) fn short_number(&mut self) -> Option<Field<'a>> {
        let (&tag, after_tag) = self.rest.split_first()?;
        let (wire, width) = match tag & 0x87 {
            1 => (Wire::Fixed64, 8),
            0 if *after_tag.first()? < 0x80 => (Wire::Varint, 1),
            _ => return None,
        };
        if tag < 8 {
            return None;
        }
        let (content, rest) = after_tag.split_at_checked(width)?;
        let start = self.offset();
        self.rest = rest;
        Some(Field {
            number: u32::from(tag >> 3),
            wire,
            start,
            value: start + 1,
            content,
            end: self.offset(),
        })
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline(never)]
    fn any_field(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.offset();
        let (number, wire_type) = self.tag()?;
        let value = self.offset();
        let (wire, content) = match wire_type {
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                (Wire::Bytes, self.take(length, start)?)
            }
            0 => {
                let before = self.rest;
                self.varint()?;
                (
                    Wire::Varint,
                    before
                        .get(..before.len() - self.rest.len())
                        .unwrap_or_default(),
                )
            }
            1 => (Wire::Fixed64, self.take(8, start)?),
            5 => (Wire::Fixed32, self.take(4, start)?),
            3 => (Wire::Group, self.group(number)?),
            4 => {
                return Err(Malformed {
                    offset: start,
                    what: GROUP_NOT_OPEN,
                });
            }
            _ => {
                return Err(Malformed {
                    offset: start,
                    what: UNKNOWN_WIRE_TYPE,
                });
            }
        };
        Ok(Field {
            number,
            wire,
            start,
            value,
            content,
            end: self.offset(),
        })
    }

    /// The next field of a message that has been read to its end before.
    pub(crate) fn known_field(&mut self) -> Option<Field<'a>> {
        self.field().ok().flatten()
    }

    /// The next of numbers that stand behind each other without tags.
    pub(crate) fn packed_varint(&mut self) -> Result<Option<u64>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.varint().map(Some)
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let offset = self.offset();
        let tag = self.varint()?;
        let tag = u32::try_from(tag).map_err(|_| Malformed {
            offset,
            what: TAG_TOO_LARGE,
        })?;
        match tag >> 3 {
            0 => Err(Malformed {
                offset,
                what: NUMBER_ZERO,
            }),
            number => Ok((number, (tag & 7) as u8)),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first))
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let offset = self.offset();
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let Some((&byte, rest)) = self.rest.split_first() else {
                return Err(Malformed {
                    offset,
                    what: VARINT_CUT_SHORT,
                });
            };
            self.rest = rest;
            // The tenth byte holds only the 64th bit.
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed {
            offset,
            what: VARINT_TOO_LARGE,
        })
    }

    #[inline]
    fn take(&mut self, length: usize, field: usize) -> Result<&'a [u8], Malformed> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(Malformed {
                offset: field,
                what: CUT_SHORT,
            }),
        }
    }

    /// Steps over what is left of a group whose first tag has been read.
    fn group(&mut self, number: u32) -> Result<&'a [u8], Malformed> {
        let before = self.rest;
        let mut open = Vec::from([number]);
        while let Some(innermost) = open.last().copied() {
            let start = self.offset();
            if self.rest.is_empty() {
                return Err(Malformed {
                    offset: start,
                    what: CUT_SHORT,
                });
            }
            let (number, wire_type) = self.tag()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.take(8, start)?),
                2 => {
                    let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                    self.take(length, start)?;
                }
                3 if open.len() < MAX_GROUP_DEPTH => open.push(number),
                3 => {
                    return Err(Malformed {
                        offset: start,
                        what: GROUPS_TOO_DEEP,
                    });
                }
                4 if number == innermost => drop(open.pop()),
                4 => {
                    return Err(Malformed {
                        offset: start,
                        what: GROUP_NOT_OPEN,
                    });
                }
                5 => drop(self.take(4, start)?),
                _ => {
                    return Err(Malformed {
                        offset: start,
                        what: UNKNOWN_WIRE_TYPE,
                    });
                }
            }
        }
        Ok(before
            .get(..before.len() - self.rest.len())
            .unwrap_or_default())
    }
}

/// What has the length that stands here in up to two bytes, and what is behind it.
#[inline(always)]
fn after_short_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, behind) = match *bytes {
        [first, ref behind @ ..] if first < 0x80 => (usize::from(first), behind),
        [first, second, ref behind @ ..] if second < 0x80 => {
            (usize::from(first & 0x7f) | usize::from(second) << 7, behind)
        }
        _ => return None,
    };
    behind.split_at_checked(length)
}

/// How many bytes the varint at this offset takes: those of a message that has been read before.
pub(super) fn varint_width_at(message: &[u8], offset: usize) -> usize {
    let bytes = message.get(offset..).unwrap_or_default();
    bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1
}
