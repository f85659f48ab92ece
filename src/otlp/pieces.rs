//! Puts a message together from kept ranges of a body and new bytes, copying as little as it can.
//!
//! What it does: joins ranges that touch, copies short ones and new bytes into one buffer, and hands long
//! ones on as slices. What it refuses to know: what the bytes mean. Invariant: the pieces in order are
//! exactly what was kept and put, in that order, and none of them is empty; a secret piece holds nothing else and is
//! wiped when dropped.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use zeroize::Zeroizing;

/// A range of the body at least this long is sliced, a shorter one copied: below it, a piece of its own
/// costs more further on (a frame, a vectored write) than its copy.
pub(super) const SLICE_FROM_BYTES: usize = 4 << 10;

#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    body: &'a Bytes,
    /// Kept, and not yet sliced or copied: what is kept next may go on where it ends.
    kept: Range<usize>,
    copied: BytesMut,
    done: Vec<Bytes>,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(body: &'a Bytes) -> Pieces<'a> {
        Pieces {
            body,
            kept: 0..0,
            copied: BytesMut::new(),
            done: Vec::new(),
        }
    }

    /// Goes on with this range of the body. A range outside the body counts as empty.
    pub(crate) fn keep(&mut self, range: Range<usize>) {
        if range.start == self.kept.end {
            self.kept.end = range.end.max(range.start);
        } else if range.start < range.end {
            self.settle();
            self.kept = range;
        }
    }

    /// Goes on with new bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.settle();
            self.copied.extend_from_slice(bytes);
        }
    }

    /// Goes on with a number as protobuf writes lengths.
    pub(crate) fn put_varint(&mut self, mut value: usize) {
        self.settle();
        while value >= 0x80 {
            self.copied.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.copied.put_u8(value as u8);
    }

    /// Goes on with bytes that hold a secret, in a piece of their own.
    pub(crate) fn put_secret(&mut self, bytes: Zeroizing<Vec<u8>>) {
        self.settle();
        self.flush();
        if !bytes.is_empty() {
            self.done.push(Bytes::from_owner(bytes));
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.settle();
        self.flush();
        self.done
    }

    fn flush(&mut self) {
        if !self.copied.is_empty() {
            self.done.push(self.copied.split().freeze());
        }
    }

    fn settle(&mut self) {
        let kept = std::mem::replace(&mut self.kept, 0..0);
        let Some(bytes) = self.body.get(kept.clone()) else {
            return;
        };
        if bytes.len() < SLICE_FROM_BYTES {
            self.copied.extend_from_slice(bytes);
        } else {
            self.flush();
            self.done.push(self.body.slice(kept));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: usize = SLICE_FROM_BYTES - 1;
    const LARGE: usize = SLICE_FROM_BYTES;

    #[test]
    fn a_secret_is_a_piece_of_its_own() {
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
        assert_eq!(
            done[0].as_ptr(),
            body.as_ptr(),
            "the long range is not copied"
        );
        assert_eq!(&done[1][..], b"new\x07\x07\x07\x07");
    }

    /// Scenario: ranges of the body are kept, and `new` is put between them. `want` is the length of each
    /// piece, and whether it is a slice of the body.
    #[test]
    fn short_ranges_are_copied_and_long_ones_sliced() {
        let body = Bytes::from_iter((0..100_000u32).map(|byte| (byte % 251) as u8));
        let new = b"new".as_slice();
        type Part<'a> = Result<Range<usize>, &'a [u8]>;
        for (parts, want) in [
            (vec![], vec![]),
            (vec![Ok(0..0), Err(b"".as_slice()), Ok(9..9)], vec![]),
            (vec![Ok(0..100_000)], vec![(100_000, true)]),
            (vec![Ok(0..SMALL)], vec![(SMALL, false)]),
            (vec![Ok(0..LARGE)], vec![(LARGE, true)]),
            (
                vec![Ok(5..SMALL), Ok(SMALL..LARGE + 5)],
                vec![(LARGE, true)],
            ),
            (
                vec![Ok(5..9), Ok(12..12), Ok(9..SMALL)],
                vec![(SMALL - 5, false)],
            ),
            (
                vec![Err(new), Ok(0..LARGE), Err(new), Ok(LARGE..LARGE + 9)],
                vec![(3, false), (LARGE, true), (12, false)],
            ),
            (
                vec![Ok(0..LARGE), Ok(LARGE + 1..2 * LARGE + 1)],
                vec![(LARGE, true), (LARGE, true)],
            ),
            (
                vec![Ok(50_000..60_000), Ok(0..10_000)],
                vec![(10_000, true), (10_000, true)],
            ),
            (vec![Ok(99_999..100_001), Err(new)], vec![(3, false)]),
        ] as [(Vec<Part>, Vec<(usize, bool)>); 11]
        {
            let mut pieces = Pieces::new(&body);
            let mut expected = Vec::new();
            for part in parts.clone() {
                match part {
                    Ok(range) => {
                        expected.extend_from_slice(body.get(range.clone()).unwrap_or_default());
                        pieces.keep(range);
                    }
                    Err(new) => {
                        expected.extend_from_slice(new);
                        pieces.put(new);
                    }
                }
            }
            let pieces = pieces.finish();
            let inside = |piece: &Bytes| body.as_ptr_range().contains(&piece.as_ptr());
            let got: Vec<_> = pieces
                .iter()
                .map(|piece| (piece.len(), inside(piece)))
                .collect();
            assert_eq!((got, pieces.concat()), (want, expected), "{parts:?}");
        }
    }

    #[test]
    fn numbers_are_written_as_varints() {
        for (number, bytes) in [
            (0, vec![0]),
            (127, vec![0x7f]),
            (128, vec![0x80, 1]),
            (300, vec![0xac, 2]),
        ] {
            let body = Bytes::new();
            let mut pieces = Pieces::new(&body);
            pieces.put_varint(number);
            assert_eq!(pieces.finish().concat(), bytes);
        }
    }
}
