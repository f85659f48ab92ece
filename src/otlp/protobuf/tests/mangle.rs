//! Does to encoded exports what protobuf allows and prost does not write: fields in any order, fields given
//! again, unknown fields of every wire type, lengths longer than they need be.
//!
//! What it refuses to know: the code under test; it reads fields with prost. Invariant: what comes out is
//! decoded by prost if what went in was.

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use crate::otlp::Signal;

/// Messages whose fields are mangled too, when they lie in a field of another.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Level {
    Request,
    Group,
    Resource,
    Scoped,
    Scope,
    Record,
    Part,
    Pair,
}

/// A source of choices.
pub(crate) struct Dice(pub u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What has been mangled, and what was strewn in.
pub(crate) struct Mangler {
    pub dice: Dice,
    pub signal: Signal,
    /// The unknown fields that must survive any rewriting.
    pub(crate) strewn: Vec<Vec<u8>>,
}

impl Mangler {
    pub(crate) fn mangle(&mut self, level: Level, message: &[u8]) -> Vec<u8> {
        let mut fields: Vec<Vec<u8>> = split(message)
            .into_iter()
            .map(|field| self.field(level, field))
            .collect();
        if level != Level::Pair && self.dice.roll(4) == 0 && !fields.is_empty() {
            let again = fields[self.dice.roll(fields.len() as u64) as usize].clone();
            fields.push(again);
        }
        if self.dice.roll(4) == 0 {
            let unknown = self.unknown();
            // A pair may be removed with what is in it.
            if level != Level::Pair {
                self.strewn.push(unknown.clone());
            }
            fields.push(unknown);
        }
        if self.dice.roll(2) == 0 {
            for place in (1..fields.len()).rev() {
                fields.swap(place, self.dice.roll(place as u64 + 1) as usize);
            }
        }
        fields.concat()
    }

    fn field(&mut self, level: Level, (number, wire_type, content, whole): Raw) -> Vec<u8> {
        if wire_type != WireType::LengthDelimited {
            return whole;
        }
        let content = match self.within(level, number) {
            Some(inner) => self.mangle(inner, &content),
            None => content,
        };
        let mut field = Vec::new();
        encode_key(number, wire_type, &mut field);
        self.lengthen(&mut field);
        encode_varint(content.len() as u64, &mut field);
        self.lengthen(&mut field);
        field.extend(content);
        field
    }

    /// Sometimes gives the varint at the end one byte more than it needs.
    fn lengthen(&mut self, field: &mut Vec<u8>) {
        if self.dice.roll(8) == 0 {
            *field.last_mut().unwrap() |= 0x80;
            field.push(0);
        }
    }

    /// Which message lies in this field, as far as it is worth mangling.
    fn within(&self, level: Level, number: u32) -> Option<Level> {
        Some(match (level, number) {
            (Level::Request, 1) => Level::Group,
            (Level::Group, 1) => Level::Resource,
            (Level::Group, 2) => Level::Scoped,
            (Level::Resource, 1) | (Level::Scope, 3) => Level::Pair,
            (Level::Scoped, 1) => Level::Scope,
            (Level::Scoped, 2) => Level::Record,
            (Level::Record, number) => match (self.signal, number) {
                (Signal::Traces, 9) | (Signal::Logs, 6) | (Signal::Metrics, 12) => Level::Pair,
                (Signal::Traces, 11 | 13) | (Signal::Metrics, 5 | 7 | 9 | 10 | 11) => Level::Part,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn unknown(&mut self) -> Vec<u8> {
        let mark = format!("strewn{:010}", self.strewn.len());
        let mut field = Vec::new();
        let number = [1001, 2047, 1 << 28][self.dice.roll(3) as usize];
        match self.dice.roll(3) {
            0 => {
                encode_key(number, WireType::LengthDelimited, &mut field);
                encode_varint(mark.len() as u64, &mut field);
                field.extend(mark.into_bytes());
            }
            1 => {
                encode_key(number, WireType::StartGroup, &mut field);
                encode_key(1, WireType::LengthDelimited, &mut field);
                encode_varint(mark.len() as u64, &mut field);
                field.extend(mark.into_bytes());
                encode_key(number, WireType::EndGroup, &mut field);
            }
            _ => {
                for (bytes, wire_type) in [(4, WireType::ThirtyTwoBit), (8, WireType::SixtyFourBit)]
                {
                    encode_key(number + 1, wire_type, &mut field);
                    field.extend(vec![0xee; bytes]);
                }
                encode_key(number, WireType::Varint, &mut field);
                encode_varint(u64::MAX - self.strewn.len() as u64, &mut field);
            }
        }
        field
    }
}

type Raw = (u32, WireType, Vec<u8>, Vec<u8>);

/// Number, wire type, content and whole bytes of each field of what prost has encoded.
fn split(mut message: &[u8]) -> Vec<Raw> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let whole = message;
        let (number, wire_type) = decode_key(&mut message).unwrap();
        let length = match wire_type {
            WireType::LengthDelimited => decode_varint(&mut message).unwrap() as usize,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::Varint => decode_varint(&mut message).map(|_| 0).unwrap(),
            WireType::StartGroup | WireType::EndGroup => unreachable!("prost writes no groups"),
        };
        let (content, rest) = message.split_at(length);
        message = rest;
        fields.push((
            number,
            wire_type,
            content.to_vec(),
            whole[..whole.len() - rest.len()].to_vec(),
        ));
    }
    fields
}
