//! Any export in protobuf, made along the tables: what encoders write, and what they may. What it refuses to know: what becomes of it.

use super::super::schema::{self, Field, FieldKind, Label, Message};
use crate::otlp::{Signal, push_varint};

/// What may be made.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    /// Fields in any order, messages in several parts, several members of a oneof, numbers packed and not.
    pub disorder: bool,
    /// Fields that no table has.
    pub unknown: bool,
    /// Doubles that are no numbers, and what serde's structures cannot do without.
    pub odd: bool,
}

/// xorshift64.
pub(super) struct Chance(pub u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound.max(1)
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// An export, and how many unknown fields are in it where nothing is replaced.
pub(super) fn export(signal: Signal, wish: Wish, chance: &mut Chance) -> (Vec<u8>, u64) {
    let mut maker = Maker {
        wish,
        chance,
        left: 400,
        unknown: 0,
    };
    let export = maker.message(schema::request(signal), 0);
    (export, maker.unknown)
}

struct Maker<'c> {
    wish: Wish,
    chance: &'c mut Chance,
    /// Fields that may still be made.
    left: u32,
    unknown: u64,
}

const TEXTS: [&str; 8] = [
    "a",
    "service.name",
    "\"quoted\" \\ \u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}",
    "ключ",
    "\u{1f600}\u{2028}\u{fffd}",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "/",
    "",
];

impl Maker<'_> {
    fn message(&mut self, message: &'static Message, depth: u32) -> Vec<u8> {
        // Serde's structures want these to be there.
        let all = !self.wish.odd
            && matches!(
                message.fields,
                [
                    Field {
                        name: "key" | "values",
                        ..
                    },
                    ..
                ] | [_, Field { name: "type", .. }, ..]
            );
        let mut occurrences = Vec::new();
        let mut has_chosen = false;
        let first = self.chance.below(message.fields.len() as u64) as usize;
        let (before, behind) = message.fields.split_at(first);
        for field in behind.iter().chain(before) {
            self.left = self.left.saturating_sub(1);
            let is_wanted = match self.left {
                0 => false,
                _ if depth < 4 => !self.chance.one_in(4),
                _ => self.chance.one_in(u64::from(depth)),
            };
            let is_made = is_wanted || all && field.label != Label::OneOf;
            if !is_made {
                continue;
            }
            if field.label == Label::OneOf && has_chosen && !self.wish.disorder {
                continue;
            }
            has_chosen |= field.label == Label::OneOf;
            let times = match field.label {
                Label::Repeated if all => 1,
                Label::Repeated => self.chance.below(4),
                _ if self.wish.disorder && self.chance.one_in(6) => 2,
                _ => 1,
            };
            self.occurrences(field, times, depth, all, &mut occurrences);
        }
        if self.wish.unknown && self.chance.one_in(8) {
            self.unknown += 1;
            let unknown: [&[u8]; 4] = [
                b"\x98\x06\x07",
                b"\x9a\x06\x02ab",
                b"\x9b\x06\x08\x01\x9c\x06",
                b"\x99\x0612345678",
            ];
            occurrences.push(self.chance.of(&unknown).to_vec());
        }
        if self.wish.disorder && self.chance.one_in(3) {
            for place in 1..occurrences.len() {
                let other = self.chance.below(place as u64 + 1) as usize;
                occurrences.swap(place, other);
            }
        } else {
            occurrences.sort_by_key(|occurrence| tag(occurrence));
        }
        occurrences.concat()
    }

    fn occurrences(
        &mut self,
        field: &'static Field,
        times: u64,
        depth: u32,
        all: bool,
        into: &mut Vec<Vec<u8>>,
    ) {
        let is_packed = !self.wish.disorder || self.chance.one_in(2);
        if field.label == Label::Repeated && field.kind.is_packable() && is_packed {
            let mut content = Vec::new();
            for _ in 0..times {
                self.scalar(field.kind, &mut content);
            }
            if times > 0 || self.wish.odd {
                into.push(delimited(field.number, &content));
            }
            return;
        }
        for _ in 0..times {
            let occurrence = match field.kind {
                FieldKind::Message(message) => {
                    let content = self.message(message, depth + 1);
                    delimited(field.number, &content)
                }
                FieldKind::Text => {
                    let text = self.chance.of(&TEXTS);
                    delimited(
                        field.number,
                        if all && text.is_empty() {
                            b"k"
                        } else {
                            text.as_bytes()
                        },
                    )
                }
                FieldKind::Bytes | FieldKind::Id => {
                    let bytes = self.chance.below(u64::MAX).to_be_bytes();
                    let length = self.chance.of(&[0, 1, 2, 3, 8]);
                    delimited(field.number, &bytes[..length])
                }
                kind => {
                    let mut occurrence = Vec::new();
                    push_varint(
                        &mut occurrence,
                        u64::from(field.number << 3 | kind.wire_type()),
                    );
                    self.scalar(kind, &mut occurrence);
                    occurrence
                }
            };
            into.push(occurrence);
        }
    }

    fn scalar(&mut self, kind: FieldKind, into: &mut Vec<u8>) {
        let bits = self.chance.below(u64::MAX) << 32 | self.chance.below(u64::MAX);
        let shift = self.chance.below(64);
        let number = self.chance.of(&[0, 1, 200, bits >> shift, u64::MAX]);
        match kind {
            FieldKind::Bool => into.push((number & 1) as u8),
            FieldKind::Double => {
                let any = f64::from_bits(bits);
                // Serde reads only some texts to the last bit.
                let plain = [0.0, 1.0, -2.5, 0.125, 65_536.75, 1e15];
                let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, any];
                let value = if self.wish.odd {
                    self.chance.of(&odd)
                } else {
                    self.chance.of(&plain)
                };
                into.extend(value.to_le_bytes());
            }
            FieldKind::Fixed64 | FieldKind::SFixed64 => into.extend(number.to_le_bytes()),
            FieldKind::Fixed32 => into.extend((number as u32).to_le_bytes()),
            FieldKind::Enum(_) => {
                push_varint(into, i64::from(number as i32).cast_unsigned());
            }
            FieldKind::UInt32 | FieldKind::SInt32 => push_varint(into, u64::from(number as u32)),
            _ => push_varint(into, number),
        }
    }
}

fn delimited(number: u32, content: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    push_varint(&mut field, u64::from(number << 3 | 2));
    push_varint(&mut field, content.len() as u64);
    field.extend_from_slice(content);
    field
}

fn tag(field: &[u8]) -> u64 {
    field.iter().take_while(|byte| **byte >= 0x80).count() as u64 * 1000 + u64::from(field[0])
}
