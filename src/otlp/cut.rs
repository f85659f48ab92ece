//! Cuts an export in protobuf into messages that are small enough.
//!
//! What it does: one walk fills message after message with spans, data points or log records, in their order, and repeats round
//! them what they stand in: the resource, the scope, of a data point its metric, with schema URLs and all that is not known. What
//! it refuses to know: who wants the messages so small, and what becomes of them.
//!
//! Invariants:
//! - Each item is in exactly one message, or among those that are too large alone; order is kept.
//! - The same export and bounds give the same messages, byte for byte.
//! - Long ranges are slices of the body. What is remembered is a small multiple of it, and the messages together are not more
//!   than [`GROWTH`] times as long, however much must be repeated.

#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;

use super::group::Malformed;
use super::pieces::Pieces;
use super::protobuf::levels::{DATA_POINT, GROUP, LIBRARY_SCOPED, METRIC_DATA, RECORD, SCOPED};
use super::span::Span;
use super::stamp::varint_width;
use super::wire::{Cursor, Field, MAX_MESSAGE_BYTES};
use super::{Signal, wire};

/// How much longer than the export all messages together may be.
const GROWTH: usize = 8;
/// What may be added to that: envelopes of small exports.
const GROWTH_BYTES: usize = 1 << 20;
/// For so many bytes of the export one step is remembered, besides a few.
const STEP_BYTES: usize = 8;
const FEW_STEPS: usize = 1 << 16;
/// The most messages of one export.
const MAX_PIECES: usize = 4096;
/// What of an item's name is told.
const NAME_CHARS: usize = 64;

/// `Span.name`, and `Metric.name`.
const SPAN_NAME: u32 = 5;
const METRIC_NAME: u32 = 1;

/// The most that one message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceBounds {
    pub bytes: usize,
    pub items: u64,
}

/// An export that was cut.
#[derive(Debug)]
pub struct Cut {
    body: Bytes,
    steps: Vec<Step>,
    pieces: Vec<CutPiece>,
    oversized: Oversized,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CutPiece {
    steps: Range<usize>,
    bytes: usize,
    items: u64,
    /// Of what is not repeated.
    own_bytes: usize,
}

/// Items that are too large alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oversized {
    pub items: u64,
    /// The first of them, in words: what it is, its name and how long a message with it alone would be.
    pub first: Option<String>,
}

/// Why an export cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutFault {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// What must be repeated is so long that hardly an item fits beside it.
    #[error("the messages would be far longer than the export")]
    TooMany,
}

/// How a message is put together.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The tag and length of a message that holds what follows.
    Open {
        number: u32,
        bytes: u32,
    },
    Keep(Span),
}

impl Cut {
    /// Cuts an export request of `signal`, decompressed, so that each message is within `bounds`.
    pub fn of(signal: Signal, body: &Bytes, bounds: PieceBounds) -> Result<Cut, CutFault> {
        Cutter::new(signal, body, bounds, None).cut()
    }

    /// Cuts it in two of which neither is much longer; one, where there is but one item. `None`: it holds nothing.
    pub fn in_half(signal: Signal, body: &Bytes) -> Result<Cut, CutFault> {
        let bounds = PieceBounds {
            bytes: MAX_MESSAGE_BYTES,
            items: u64::MAX,
        };
        let whole = Cutter::new(signal, body, bounds, None).cut()?;
        let own_bytes = whole.pieces.first().map_or(0, |piece| piece.own_bytes);
        Cutter::new(signal, body, bounds, Some(own_bytes.div_ceil(2))).cut()
    }

    /// How much memory the steps take, besides the body.
    pub fn working_bytes(&self) -> u64 {
        let steps = self.steps.capacity() * size_of::<Step>();
        (steps + self.pieces.capacity() * size_of::<CutPiece>()) as u64
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether no item fits into any message, or there is none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// What is in none of them.
    pub fn oversized(&self) -> &Oversized {
        &self.oversized
    }

    /// How many items the message at this place has.
    pub fn items(&self, place: usize) -> u64 {
        self.pieces.get(place).map_or(0, |piece| piece.items)
    }

    /// How long it is.
    pub fn bytes(&self, place: usize) -> usize {
        self.pieces.get(place).map_or(0, |piece| piece.bytes)
    }

    /// The message at this place, in pieces of which the large ones are slices of the body.
    pub fn write(&self, place: usize) -> Vec<Bytes> {
        let mut written = Pieces::new(&self.body);
        let steps = self.pieces.get(place).map(|piece| piece.steps.clone());
        for step in steps
            .and_then(|steps| self.steps.get(steps))
            .unwrap_or_default()
        {
            match *step {
                Step::Open { number, bytes } => {
                    written.put_varint((number as usize) << 3 | 2);
                    written.put_varint(bytes as usize);
                }
                Step::Keep(span) => written.keep(span.range()),
            }
        }
        written.finish()
    }
}

/// A message that items stand in.
struct Envelope {
    number: u32,
    /// What is repeated, joined where it touches.
    repeated: Vec<Span>,
    repeated_bytes: usize,
    /// Where it begins in the message that is being filled, if it does; and how long what it holds is, without what is open in it.
    open: Option<(usize, usize)>,
}

/// The walk.
struct Cutter<'a> {
    body: &'a Bytes,
    signal: Signal,
    bounds: PieceBounds,
    /// How many bytes of its own the first message may have.
    first_own_bytes: Option<usize>,
    /// From the request inwards.
    open: Vec<Envelope>,
    /// Where the message that is being filled begins, and what it holds.
    filling: CutPiece,
    total_bytes: usize,
    done: Cut,
}

impl<'a> Cutter<'a> {
    fn new(
        signal: Signal,
        body: &'a Bytes,
        bounds: PieceBounds,
        first_own_bytes: Option<usize>,
    ) -> Self {
        Cutter {
            body,
            signal,
            bounds,
            first_own_bytes,
            open: Vec::with_capacity(5),
            filling: CutPiece {
                steps: 0..0,
                bytes: 0,
                items: 0,
                own_bytes: 0,
            },
            total_bytes: 0,
            done: Cut {
                body: body.clone(),
                steps: Vec::new(),
                pieces: Vec::new(),
                oversized: Oversized::default(),
            },
        }
    }

    fn cut(mut self) -> Result<Cut, CutFault> {
        if self.body.len() > MAX_MESSAGE_BYTES {
            let what = "the message is 2 GiB or longer";
            return Err(Malformed {
                offset: MAX_MESSAGE_BYTES,
                what,
            }
            .into());
        }
        let request = Cursor::new(self.body);
        self.enter(0, request, &[GROUP])?;
        let mut fields = request;
        while let Some(group) = fields.field()? {
            if group.number == GROUP {
                self.group(&group)?;
            }
        }
        self.flush()?;
        Ok(self.done)
    }

    fn group(&mut self, group: &Field<'a>) -> Result<(), CutFault> {
        let inner = [SCOPED, LIBRARY_SCOPED];
        if !self.enter(group.number, group.message()?, &inner)? {
            return self.leaf(group, 0, "a resource", None);
        }
        let mut fields = group.message()?;
        while let Some(scoped) = fields.field()? {
            if inner.contains(&scoped.number) {
                self.scoped(&scoped)?;
            }
        }
        self.leave();
        Ok(())
    }

    fn scoped(&mut self, scoped: &Field<'a>) -> Result<(), CutFault> {
        if !self.enter(scoped.number, scoped.message()?, &[RECORD])? {
            return self.leaf(scoped, 0, "a scope", None);
        }
        let mut fields = scoped.message()?;
        while let Some(record) = fields.field()? {
            if record.number != RECORD {
                continue;
            }
            match self.signal {
                Signal::Traces => self.leaf(&record, 1, "span", Some(SPAN_NAME))?,
                Signal::Logs => self.leaf(&record, 1, "log record", None)?,
                Signal::Metrics => self.metric(&record)?,
            }
        }
        self.leave();
        Ok(())
    }

    /// Whole where it fits, otherwise by its data points.
    fn metric(&mut self, metric: &Field<'a>) -> Result<(), CutFault> {
        let (mut data, mut is_plain) = (None, true);
        let mut points = 0;
        let mut fields = metric.message()?;
        while let Some(field) = fields.field()? {
            if METRIC_DATA.contains(&field.number) {
                // Readers take the last of several, or join them.
                is_plain &= data.replace(field).is_none();
                let mut inner = field.message()?;
                while let Some(point) = inner.field()? {
                    points += u64::from(point.number == DATA_POINT);
                }
            }
        }
        let fits = self.fits(metric.whole().len(), points);
        let Some(data) = data.filter(|_| is_plain && points > 0 && !fits) else {
            return self.leaf(metric, points, "metric", Some(METRIC_NAME));
        };
        self.enter(metric.number, metric.message()?, &[data.number])?;
        self.enter(data.number, data.message()?, &[DATA_POINT])?;
        let name = name(metric, METRIC_NAME);
        let mut fields = data.message()?;
        while let Some(point) = fields.field()? {
            if point.number == DATA_POINT {
                point.bytes()?;
                self.put(&point, 1, || format!("data point of metric {name}"))?;
            }
        }
        self.leave();
        self.leave();
        Ok(())
    }

    /// Goes into a message whose fields `inner` are not repeated. Whether there are any; if not, it is not gone into.
    fn enter(
        &mut self,
        number: u32,
        mut fields: Cursor<'a>,
        inner: &[u32],
    ) -> Result<bool, Malformed> {
        let mut envelope = Envelope {
            number,
            repeated: Vec::new(),
            repeated_bytes: 0,
            open: None,
        };
        let mut has_inner = false;
        while let Some(field) = fields.field()? {
            if inner.contains(&field.number) {
                field.bytes()?;
                has_inner = true;
                continue;
            }
            envelope.repeated_bytes += field.whole().len();
            match envelope.repeated.last_mut() {
                Some(last) if last.end as usize == field.start => last.end = field.end as u32,
                _ => envelope.repeated.push(field.whole().into()),
            }
        }
        // The request is gone into in any case: all of it may be what is not known.
        if has_inner || self.open.is_empty() {
            self.open.push(envelope);
        }
        Ok(has_inner)
    }

    fn leave(&mut self) {
        self.close(self.open.len() - 1);
        self.open.pop();
    }

    /// Ends the message at this depth where it is, in the one round it.
    fn close(&mut self, depth: usize) {
        let Some((outer, rest)) = self.open.split_at_mut_checked(depth) else {
            return;
        };
        let (Some(outer), Some(inner)) = (outer.last_mut(), rest.first_mut()) else {
            return;
        };
        let Some((step, content)) = inner.open.take() else {
            return;
        };
        if let Some(Step::Open { bytes, .. }) = self.done.steps.get_mut(step) {
            *bytes = content as u32;
        }
        if let Some((_, around)) = &mut outer.open {
            *around += field_bytes(inner.number, content);
        }
    }

    fn leaf(
        &mut self,
        field: &Field<'a>,
        items: u64,
        kind: &str,
        name_field: Option<u32>,
    ) -> Result<(), CutFault> {
        field.bytes()?;
        self.put(field, items, || match name_field {
            Some(number) => format!("{kind} {}", name(field, number)),
            None => kind.to_owned(),
        })
    }

    /// Whether a field may be put into the message that is being filled.
    fn fits(&self, bytes: usize, items: u64) -> bool {
        let is_within = self.filled(bytes) <= self.bounds.bytes
            && self.filling.items.saturating_add(items) <= self.bounds.items;
        is_within
            && self
                .first_own_bytes
                .is_none_or(|most| self.filling.own_bytes + bytes <= most)
    }

    /// How long the message that is being filled is with a field of so many bytes.
    fn filled(&self, bytes: usize) -> usize {
        let mut size = bytes;
        for (depth, envelope) in self.open.iter().enumerate().rev() {
            let held = envelope
                .open
                .map_or(envelope.repeated_bytes, |(_, content)| content);
            size = match depth {
                0 => held + size,
                _ => field_bytes(envelope.number, held + size),
            };
        }
        size
    }

    fn put(
        &mut self,
        field: &Field<'a>,
        items: u64,
        told: impl FnOnce() -> String,
    ) -> Result<(), CutFault> {
        let bytes = field.whole().len();
        if !self.fits(bytes, items) {
            self.flush()?;
            // Alone it goes where only half of the rest is wanted, too.
            let size = self.filled(bytes);
            if size > self.bounds.bytes || items > self.bounds.items {
                let oversized = &mut self.done.oversized;
                oversized.items += items;
                if oversized.first.is_none() {
                    let told = told();
                    oversized.first = Some(format!("{told} is too large: {size} bytes alone"));
                }
                return Ok(());
            }
        }
        for depth in 0..self.open.len() {
            let Some(envelope) = self.open.get_mut(depth).filter(|one| one.open.is_none()) else {
                continue;
            };
            envelope.open = Some((self.done.steps.len(), envelope.repeated_bytes));
            if depth > 0 {
                let (number, bytes) = (envelope.number, 0);
                self.done.steps.push(Step::Open { number, bytes });
            }
            let kept = envelope.repeated.iter().copied().map(Step::Keep);
            self.done.steps.extend(kept);
        }
        if let Some((_, content)) = self.open.last_mut().and_then(|inner| inner.open.as_mut()) {
            *content += bytes;
        }
        let is_first = self.done.steps.len() == self.filling.steps.start;
        match self.done.steps.last_mut() {
            Some(Step::Keep(last)) if !is_first && last.end as usize == field.start => {
                last.end = field.end as u32;
            }
            _ => self.done.steps.push(Step::Keep(field.whole().into())),
        }
        self.filling.items += items;
        self.filling.own_bytes += bytes;
        Ok(())
    }

    /// Ends the message that is being filled, if anything is in it.
    fn flush(&mut self) -> Result<(), CutFault> {
        // From the innermost outwards, each into the one round it.
        (1..self.open.len())
            .rev()
            .for_each(|depth| self.close(depth));
        let request = self
            .open
            .first_mut()
            .and_then(|request| request.open.take());
        let Some((_, bytes)) = request else {
            return Ok(());
        };
        let end = self.done.steps.len();
        let next = CutPiece {
            steps: end..end,
            bytes: 0,
            items: 0,
            own_bytes: 0,
        };
        let mut piece = std::mem::replace(&mut self.filling, next);
        (piece.steps.end, piece.bytes) = (end, bytes);
        self.total_bytes += bytes;
        self.first_own_bytes = None;
        self.done.pieces.push(piece);
        let most_bytes = self
            .body
            .len()
            .saturating_mul(GROWTH)
            .saturating_add(GROWTH_BYTES);
        let most_steps = self.body.len() / STEP_BYTES + FEW_STEPS;
        if self.total_bytes > most_bytes
            || self.done.steps.len() > most_steps
            || self.done.pieces.len() > MAX_PIECES
        {
            return Err(CutFault::TooMany);
        }
        Ok(())
    }
}

/// Tag, length and content of a field that holds so many bytes.
fn field_bytes(number: u32, content: usize) -> usize {
    varint_width((number as usize) << 3) + varint_width(content) + content
}

/// An item's name in quotes, for people; of what has none that can be read, nothing in quotes.
fn name(item: &Field<'_>, number: u32) -> String {
    let name = wire::text_field(item.content, number).ok().flatten();
    let plain = |each: char| if each.is_control() { ' ' } else { each };
    let name: String = name
        .unwrap_or_default()
        .chars()
        .take(NAME_CHARS)
        .map(plain)
        .collect();
    format!("`{name}`")
}
