//! Puts a report together from kept ranges of its body, new bytes and our token.
//!
//! What it does: joins ranges that touch, copies short ones and new bytes into one buffer, hands long ones
//! on as slices. What it refuses to know: what the bytes mean. Invariants: the pieces in order are what was
//! kept and put, in that order; a piece with the token holds nothing else and is wiped when dropped.

use std::ops::Range;

use bytes::Bytes;
use zeroize::Zeroizing;

/// A range at least this long is sliced, a shorter one copied: a piece of its own would cost more.
const SLICE_FROM_BYTES: usize = 4 << 10;

pub(super) struct Pieces<'a> {
    body: &'a Bytes,
    kept: Range<usize>,
    copied: Vec<u8>,
    done: Vec<Bytes>,
}

impl<'a> Pieces<'a> {
    pub fn new(body: &'a Bytes) -> Pieces<'a> {
        Pieces { body, kept: 0..0, copied: Vec::new(), done: Vec::new() }
    }

    /// Goes on with this range of the body.
    pub fn keep(&mut self, range: Range<usize>) {
        if range.start == self.kept.end {
            self.kept.end = range.end.max(range.start);
        } else if range.start < range.end {
            self.settle();
            self.kept = range;
        }
    }

    /// Goes on with new bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.settle();
        self.copied.extend_from_slice(bytes);
    }

    /// Goes on with bytes that hold the token, in a piece of their own.
    pub fn put_secret(&mut self, bytes: Zeroizing<Vec<u8>>) {
        self.settle();
        self.flush();
        self.done.push(Bytes::from_owner(bytes));
    }

    pub fn finish(mut self) -> Vec<Bytes> {
        self.settle();
        self.flush();
        self.done
    }

    fn settle(&mut self) {
        let kept = std::mem::replace(&mut self.kept, 0..0);
        let Some(bytes) = self.body.get(kept.clone()).filter(|bytes| !bytes.is_empty()) else { return };
        if bytes.len() < SLICE_FROM_BYTES {
            self.copied.extend_from_slice(bytes);
        } else {
            self.flush();
            self.done.push(self.body.slice(kept));
        }
    }

    fn flush(&mut self) {
        if !self.copied.is_empty() {
            self.done.push(std::mem::take(&mut self.copied).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ranges_are_slices_and_short_ones_copies() {
        let body = Bytes::from(vec![7; 3 * SLICE_FROM_BYTES]);
        let mut pieces = Pieces::new(&body);
        pieces.keep(0..10);
        pieces.keep(10..2 * SLICE_FROM_BYTES);
        pieces.put(b"new");
        pieces.keep(5..9);
        pieces.put_secret(Zeroizing::new(b"secret".to_vec()));
        pieces.keep(0..0);
        pieces.put(b"end");
        let done = pieces.finish();
        let lengths: Vec<usize> = done.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [2 * SLICE_FROM_BYTES, 7, 6, 3]);
        assert_eq!(done[0].as_ptr(), body.as_ptr(), "the long range is not copied");
        assert_eq!(&done[1][..], b"new\x07\x07\x07\x07");
    }
}
