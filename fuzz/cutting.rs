//! What must hold for an export that is cut into messages of any size.
//!
//! What it does: reads bounds from the first three bytes and takes the rest for an export, in protobuf and in JSON. A walk of its
//! own, which shares nothing with the library, tells the items and what each stands in, before and after. What it refuses to
//! know: how the library cuts. Invariant: the items of the messages, in order, are those of the export, but for the ones that
//! no message can hold; so nothing is lost and nothing doubled.

use bytes::Bytes;
use lightkeeper::limits::Budget;
use lightkeeper::otlp::{Cut, Encoding, Export, PieceBounds, Signal, Wanted, transcode};

/// The request's groups; what holds items in them, today and before OTLP 0.15; the items; a metric's data and its points.
const GROUP: u32 = 1;
const HOLDERS: [u32; 2] = [2, 1000];
const ITEM: u32 = 2;
const DATA: [u32; 5] = [5, 7, 9, 10, 11];
const POINT: u32 = 1;

/// Exports that are cut.
pub fn cutting(data: &[u8]) {
    let Some((&[low, high, items], export)) = data.split_first_chunk() else {
        return;
    };
    let bounds = PieceBounds {
        bytes: usize::from(u16::from_le_bytes([low, high]) % 2048),
        items: match items {
            0 => u64::MAX,
            items => u64::from(items),
        },
    };
    for signal in Signal::ALL {
        let budget = Budget::new(u64::MAX);
        let mut held = budget.gateway().open();
        let body = Bytes::copy_from_slice(export);
        let pieces = check(signal, &body, bounds);
        // The first message fits just so, and just not.
        for bytes in pieces
            .first()
            .map_or(0..0, |first| first.len() - 1..first.len() + 1)
        {
            check(signal, &body, PieceBounds { bytes, ..bounds });
        }
        // JSON is cut as what it is in protobuf, and may have to leave in JSON after all.
        let mut cross =
            |encoding, message: &[u8]| transcode(signal, encoding, message, 1 << 20, &mut held);
        if let Ok(crossed) = cross(Encoding::Json, export) {
            for piece in check(signal, &crossed.message, bounds) {
                cross(Encoding::Protobuf, &piece).expect("a piece can leave as the export came");
            }
        }
    }
}

/// Cuts an export, and gives the messages.
fn check(signal: Signal, export: &Bytes, bounds: PieceBounds) -> Vec<Bytes> {
    // Whether a point is one is looked at where its metric is taken apart.
    let Ok(cut) = Cut::of(signal, export, bounds) else {
        return Vec::new();
    };
    let before = items(signal, export);
    let (fitting, oversized): (Vec<Item>, Vec<Item>) = before
        .iter()
        .cloned()
        .partition(|item| item.alone_bytes() <= bounds.bytes && item.count <= bounds.items);
    let pieces = written(&cut);
    for (place, piece) in pieces.iter().enumerate() {
        assert!(piece.len() <= bounds.bytes, "piece {place} is too large");
        assert_eq!(piece.len(), cut.bytes(place));
        assert!(
            cut.items(place) <= bounds.items,
            "piece {place} is too many"
        );
        let counts: u64 = items(signal, piece).iter().map(|item| item.count).sum();
        assert_eq!(cut.items(place), counts);
    }
    assert_eq!(cut.is_empty(), fitting.is_empty());
    assert_eq!(all_items(signal, &pieces), fitting);
    let counts: u64 = oversized.iter().map(|item| item.count).sum();
    assert_eq!(cut.oversized().items, counts);
    assert_eq!(cut.oversized().first.is_some(), !oversized.is_empty());

    if let Ok(halves) = Cut::in_half(signal, export) {
        assert!(halves.len() <= 2, "{} halves", halves.len());
        assert!(halves.oversized().first.is_none());
        assert_eq!(all_items(signal, &written(&halves)), before);
    }
    let wanted = Wanted::new([]);
    if let Ok(read) = Export::read(signal, Encoding::Protobuf, export.clone(), &wanted) {
        let counts: u64 = before.iter().map(|item| item.count).sum();
        // A metric with data of two kinds counts as the last of them there, and as both here.
        assert!(read.items() <= counts, "{} of {counts}", read.items());
    }
    pieces
}

fn written(cut: &Cut) -> Vec<Bytes> {
    (0..cut.len())
        .map(|place| cut.write(place).concat().into())
        .collect()
}

fn all_items(signal: Signal, pieces: &[Bytes]) -> Vec<Item> {
    pieces
        .iter()
        .flat_map(|piece| items(signal, piece))
        .collect()
}

/// What goes into one message as a whole, and what it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    /// From the request inwards: the number, and what is repeated.
    around: Vec<(u32, Vec<u8>)>,
    /// With tag and length.
    whole: Vec<u8>,
    /// As how many it counts.
    count: u64,
}

impl Item {
    /// How long a message with it alone is.
    fn alone_bytes(&self) -> usize {
        let mut size = self.whole.len();
        for (depth, (number, repeated)) in self.around.iter().enumerate().rev() {
            size += repeated.len();
            if depth > 0 {
                size += width(u64::from(*number) << 3) + width(size as u64);
            }
        }
        size
    }
}

/// The items of an export, in order.
fn items(signal: Signal, export: &[u8]) -> Vec<Item> {
    let mut walk = Walk {
        around: Vec::new(),
        found: Vec::new(),
    };
    walk.level(0, export, &[GROUP], &mut |walk, group| {
        let has_holders = walk.level(
            group.number,
            group.content,
            &HOLDERS,
            &mut |walk, holder| {
                let has_items =
                    walk.level(holder.number, holder.content, &[ITEM], &mut |walk, item| {
                        match signal {
                            Signal::Metrics => walk.metric(item),
                            _ => walk.item(item, 1),
                        }
                    });
                if !has_items {
                    walk.item(holder, 0);
                }
            },
        );
        if !has_holders {
            walk.item(group, 0);
        }
    });
    walk.found
}

struct Walk {
    around: Vec<(u32, Vec<u8>)>,
    found: Vec<Item>,
}

impl Walk {
    /// Goes into a message: all that is not `inner` is repeated. False: there is none of these.
    fn level(
        &mut self,
        number: u32,
        message: &[u8],
        inner: &[u32],
        each: &mut dyn FnMut(&mut Walk, &Field<'_>),
    ) -> bool {
        let (within, repeated): (Vec<_>, Vec<_>) = fields(message)
            .into_iter()
            .partition(|field| inner.contains(&field.number));
        let repeated = repeated.iter().flat_map(|field| field.whole).copied();
        self.around.push((number, repeated.collect()));
        within.iter().for_each(|field| each(self, field));
        self.around.pop();
        !within.is_empty()
    }

    fn item(&mut self, field: &Field<'_>, count: u64) {
        self.found.push(Item {
            around: self.around.clone(),
            whole: field.whole.to_vec(),
            count,
        });
    }

    /// Its points, unless it has none, or several of what has points: that is not taken apart.
    fn metric(&mut self, metric: &Field<'_>) {
        let data: Vec<_> = fields(metric.content)
            .into_iter()
            .filter(|field| DATA.contains(&field.number))
            .collect();
        let points = |data: &Field<'_>| {
            let points = fields(data.content);
            points.iter().filter(|field| field.number == POINT).count() as u64
        };
        let count = data.iter().map(points).sum();
        match data.as_slice() {
            [data] if count > 0 => {
                self.level(
                    metric.number,
                    metric.content,
                    &[data.number],
                    &mut |walk, data| {
                        walk.level(data.number, data.content, &[POINT], &mut |walk, point| {
                            walk.item(point, 1);
                        });
                    },
                );
            }
            _ => self.item(metric, count),
        }
    }
}

struct Field<'a> {
    number: u32,
    whole: &'a [u8],
    /// Of what has a length.
    content: &'a [u8],
}

/// The fields of a message that was found to be well formed.
fn fields(message: &[u8]) -> Vec<Field<'_>> {
    let (mut rest, mut found) = (message, Vec::new());
    while !rest.is_empty() {
        let (number, content, behind) = field(rest);
        let whole = &rest[..rest.len() - behind.len()];
        found.push(Field {
            number,
            whole,
            content,
        });
        rest = behind;
    }
    found
}

/// The number and content of the first field, and what is behind it.
fn field(message: &[u8]) -> (u32, &[u8], &[u8]) {
    let (tag, value) = varint(message);
    let number = u32::try_from(tag >> 3).expect("a tag of 32 bits");
    let (length, value) = match tag & 7 {
        0 => return (number, &[], varint(value).1),
        1 => (8, value),
        2 => varint(value),
        3 => return (number, &[], behind_group(value)),
        5 => (4, value),
        other => panic!("wire type {other}"),
    };
    let (content, behind) = value.split_at(length as usize);
    (number, content, behind)
}

/// What is behind a group that has been opened.
fn behind_group(mut rest: &[u8]) -> &[u8] {
    loop {
        let (tag, behind) = varint(rest);
        if tag & 7 == 4 {
            return behind;
        }
        rest = field(rest).2;
    }
}

fn varint(bytes: &[u8]) -> (u64, &[u8]) {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0);
    let (own, behind) = bytes.split_at(end.expect("a varint that ends") + 1);
    let value = own
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    (value, behind)
}

/// How many bytes a varint takes.
fn width(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}
