//! What is written, within its limit and the memory budget.
//!
//! What it does: takes bytes, and makes room for them by growing in steps. For protobuf, it keeps places for lengths that are
//! known only later: one byte each, and where that is not enough the bytes behind are moved once, at the end. What it
//! refuses to know: what the bytes mean. Invariants: memory is asked of the budget before it is taken; no byte is moved
//! more than once however deep lengths lie in each other; only lengths of 128 and more are remembered to the end.

use std::mem::size_of;

use bytes::Bytes;

use super::Fault;
use crate::limits::Reservation;

/// Less room is not worth asking for.
const LEAST_BYTES: usize = 512;

pub(super) struct BoundedOutput<'h> {
    bytes: Vec<u8>,
    limit_bytes: usize,
    /// The first room.
    first_bytes: usize,
    held: &'h mut Reservation,
    /// Open ones, and closed ones that need more than one byte, in the order of their places.
    lengths: Vec<Length>,
    /// How many bytes the lengths so far will take beyond their places.
    extra: usize,
}

/// A place for a length.
#[derive(Clone, Copy)]
struct Length {
    at: u32,
    length: u32,
}

/// A length that is to be told.
#[derive(Clone, Copy)]
pub(super) struct OpenLength {
    index: usize,
    extra_before: usize,
}

/// Where something begins that may be taken back.
#[derive(Clone, Copy)]
pub(super) struct OutputMark(usize);

impl<'h> BoundedOutput<'h> {
    /// `likely_bytes`: about how long it will be.
    pub(crate) fn new(limit_bytes: u64, likely_bytes: usize, held: &'h mut Reservation) -> Self {
        // Offsets fit 31 bits, as those of any protobuf message do.
        let most = i32::MAX as u64;
        BoundedOutput {
            bytes: Vec::new(),
            limit_bytes: limit_bytes.min(most) as usize,
            first_bytes: likely_bytes.max(LEAST_BYTES),
            held,
            lengths: Vec::new(),
            extra: 0,
        }
    }

    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.bytes.capacity() - self.bytes.len() < bytes.len() {
            self.grow(bytes.len())?;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    pub(crate) fn put_byte(&mut self, byte: u8) -> Result<(), Fault> {
        if self.bytes.capacity() == self.bytes.len() {
            self.grow(1)?;
        }
        self.bytes.push(byte);
        Ok(())
    }

    /// A number as protobuf writes varints.
    #[inline]
    pub(crate) fn put_varint(&mut self, mut value: u64) -> Result<(), Fault> {
        while value >= 0x80 {
            self.put_byte((value & 0x7f) as u8 | 0x80)?;
            value >>= 7;
        }
        self.put_byte(value as u8)
    }

    /// Room for so many bytes, which `write` appends at most.
    #[inline]
    pub(crate) fn append<T>(
        &mut self,
        most: usize,
        write: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> Result<T, Fault> {
        if self.bytes.capacity() - self.bytes.len() < most {
            self.grow(most)?;
        }
        Ok(write(&mut self.bytes))
    }

    pub(crate) fn mark(&self) -> OutputMark {
        OutputMark(self.bytes.len())
    }

    /// Takes back all since the mark, in which no length may be open.
    pub(crate) fn back_to(&mut self, mark: OutputMark) {
        self.bytes.truncate(mark.0);
    }

    pub(crate) fn is_at(&self, mark: OutputMark) -> bool {
        self.bytes.len() == mark.0
    }

    /// A place for the length of what comes now.
    #[inline]
    pub(crate) fn open(&mut self) -> Result<OpenLength, Fault> {
        let open = OpenLength {
            index: self.lengths.len(),
            extra_before: self.extra,
        };
        if self.lengths.len() == self.lengths.capacity() {
            let more = self.lengths.len().max(64);
            self.take((more * size_of::<Length>()) as u64)?;
            self.lengths.reserve_exact(more);
        }
        self.lengths.push(Length {
            at: self.bytes.len() as u32,
            length: 0,
        });
        self.put_byte(0)?;
        Ok(open)
    }

    /// The length is that of all since it was opened. Lengths are closed in the opposite order.
    #[inline]
    pub(crate) fn close(&mut self, open: OpenLength) {
        let written = self.bytes.len();
        let Some(place) = self.lengths.get_mut(open.index) else {
            return;
        };
        let at = place.at as usize;
        let length = written - at - 1 + (self.extra - open.extra_before);
        if length < 0x80 {
            // What is in it is shorter still, and has been forgotten.
            self.lengths.truncate(open.index);
            if let Some(byte) = self.bytes.get_mut(at) {
                *byte = length as u8;
            }
        } else {
            place.length = length as u32;
            self.extra += width(length as u64) - 1;
        }
    }

    /// All that was written, lengths put in.
    pub(crate) fn finish(mut self) -> Result<Bytes, Fault> {
        let mut end = self.bytes.len();
        let mut to = end + self.extra;
        if self.extra > 0 {
            self.append(self.extra, |_| ())?;
            self.bytes.resize(to, 0);
        }
        for place in self.lengths.iter().rev() {
            let behind = place.at as usize + 1;
            let moved = end - behind;
            self.bytes.copy_within(behind..end, to - moved);
            to -= moved + width(place.length.into());
            end = place.at as usize;
            let mut rest = place.length;
            for byte in self
                .bytes
                .iter_mut()
                .skip(to)
                .take(width(place.length.into()))
            {
                *byte = (rest & 0x7f) as u8 | 0x80;
                rest >>= 7;
            }
            if let Some(last) = self.bytes.get_mut(to + width(place.length.into()) - 1) {
                *last &= 0x7f;
            }
        }
        if self.bytes.len() > self.limit_bytes {
            return Err(Fault::TooLarge);
        }
        Ok(self.bytes.into())
    }

    #[cold]
    fn grow(&mut self, least: usize) -> Result<(), Fault> {
        let held = self.bytes.capacity();
        let needed = self.bytes.len() + least;
        if needed > self.limit_bytes {
            return Err(Fault::TooLarge);
        }
        let wanted = needed
            .max(held + held / 2)
            .max(self.first_bytes)
            .min(self.limit_bytes);
        self.take((wanted - held) as u64)?;
        self.bytes.reserve_exact(wanted - self.bytes.len());
        Ok(())
    }

    fn take(&mut self, more: u64) -> Result<(), Fault> {
        self.held.grow(more).map_err(Fault::Memory)
    }
}

/// How many bytes a varint takes.
pub(super) fn width(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}
