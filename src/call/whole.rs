//! A body that is put together in memory.
//!
//! What it does: keeps the pieces of a body as they come, each asked of the budget before, and joins them once. What it
//! refuses to know: where pieces come from, how large a body may be. Invariants: what is reserved is what is kept, and at
//! most twice what has come and a block, whatever was announced, and what has come once more while it is joined; a byte is copied twice at most, that of a long piece once,
//! and a body of one piece is not copied.

use bytes::Bytes;

use crate::limits::{Reservation, Spent};

/// A shorter piece is copied into a block: its place in a list, and what is left unused of the buffer that it lies in,
/// could be more than itself.
const SHORT_BYTES: usize = 4 << 10;
/// The largest block. One is no larger than what has come before it, or a short piece.
const BLOCK_BYTES: usize = 64 << 10;

/// A body as far as it has come.
#[derive(Debug)]
pub(crate) struct WholeBody {
    pieces: Vec<Bytes>,
    /// Pieces that came after the last of `pieces`; it never grows beyond its capacity.
    block: Vec<u8>,
    came_bytes: usize,
    /// What is reserved for the pieces.
    taken_bytes: usize,
    expected_bytes: usize,
}

impl WholeBody {
    /// `expected_bytes`: as long as it becomes or may become. Nothing is taken for it yet.
    pub(crate) fn new(expected_bytes: u64) -> Self {
        let expected_bytes = usize::try_from(expected_bytes).unwrap_or(usize::MAX);
        WholeBody {
            pieces: Vec::new(),
            block: Vec::new(),
            came_bytes: 0,
            taken_bytes: 0,
            expected_bytes,
        }
    }

    pub(crate) fn add(
        &mut self,
        mut piece: Bytes,
        reservation: &mut Reservation,
    ) -> Result<(), Spent> {
        // A block is filled before another one is begun or a piece is kept behind it, so that none of it is wasted.
        let filled = (self.block.capacity() - self.block.len()).min(piece.len());
        let (length, came_bytes) = (piece.len() - filled, self.came_bytes.saturating_add(filled));
        // The first is nearly always the only one.
        let is_kept = length >= SHORT_BYTES || came_bytes == 0;
        let still = self.expected_bytes.saturating_sub(came_bytes);
        let room = came_bytes
            .clamp(SHORT_BYTES, BLOCK_BYTES)
            .min(still)
            .max(length);
        let taken = match length {
            0 => 0,
            _ if is_kept => length,
            _ => room,
        };
        reservation.grow(taken as u64)?;
        self.taken_bytes = self.taken_bytes.saturating_add(taken);
        self.block.extend_from_slice(&piece.split_to(filled));
        self.came_bytes = came_bytes.saturating_add(length);
        if length == 0 {
            return Ok(());
        }
        if !self.block.is_empty() {
            self.pieces.push(std::mem::take(&mut self.block).into());
        }
        if is_kept {
            self.pieces.push(piece);
        } else {
            self.block.reserve_exact(room);
            self.block.extend_from_slice(&piece);
        }
        Ok(())
    }

    /// Joins the pieces. Until that is done they are there as well as what they are joined to, and both are counted: in one
    /// allocation the memory of the one is not that of the other, whatever is given back meanwhile.
    pub(crate) fn finish(mut self, reservation: &mut Reservation) -> Result<Bytes, Spent> {
        if self.pieces.len() == 1 && self.block.is_empty() {
            return Ok(self.pieces.pop().unwrap_or_default());
        }
        reservation.grow(self.came_bytes as u64)?;
        let mut joined = Vec::with_capacity(self.came_bytes);
        self.pieces
            .into_iter()
            .for_each(|piece| joined.extend_from_slice(&piece));
        joined.extend_from_slice(&self.block);
        drop(self.block);
        reservation.shrink(self.taken_bytes as u64);
        Ok(joined.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Budget;

    const KIB: usize = 1 << 10;

    /// Scenario: bodies of which much is announced, in pieces. Guarantees: what is reserved follows what came, not what was
    /// announced; and that is no more than a block beside it.
    #[test]
    fn memory_is_taken_as_a_body_comes() {
        // Announced; pieces; what is reserved after each of them.
        type Case<'a> = (&'a str, usize, &'a [usize], &'a [usize]);
        let cases: &[Case<'_>] = &[
            ("nothing", 16 << 20, &[], &[]),
            ("one piece", 5, &[5], &[5]),
            ("one byte of many", 16 << 20, &[1], &[1]),
            (
                "a trickle",
                16 << 20,
                &[1, 1, 1],
                &[1, 1 + 4 * KIB, 1 + 4 * KIB],
            ),
            (
                "a trickle that grows",
                16 << 20,
                &[3 * KIB; 7],
                &[3, 7, 14, 14, 28, 28, 28].map(|kib| kib * KIB),
            ),
            ("small, in two pieces", 7, &[5, 2], &[5, 7]),
            (
                "growing",
                400 * KIB,
                &[60 * KIB; 5],
                &[60, 120, 180, 240, 300].map(|kib| kib * KIB),
            ),
            (
                "a large piece",
                400 * KIB,
                &[KIB, 300 * KIB],
                &[KIB, 301 * KIB],
            ),
            (
                "an end",
                41 * KIB,
                &[20 * KIB, 20 * KIB, KIB],
                &[20, 40, 41].map(|kib| kib * KIB),
            ),
            // A long piece goes where there is room for it.
            (
                "long and short",
                1 << 20,
                &[KIB, 20 * KIB, KIB, 19 * KIB, KIB, 30 * KIB, KIB],
                &[1, 21, 42, 42, 42, 72, 136].map(|kib| kib * KIB),
            ),
            ("more than announced", 10, &[10, 10], &[10, 20]),
        ];
        for (what, announced, pieces, expected) in cases {
            let budget = Budget::new(u64::MAX);
            let mut held = budget.gateway().open();
            let mut whole = WholeBody::new(*announced as u64);
            let mut sent = Vec::new();
            assert_eq!(budget.used_bytes(), 0, "{what}");
            for (place, (length, expected)) in pieces.iter().zip(*expected).enumerate() {
                let piece = vec![place as u8; *length];
                sent.extend_from_slice(&piece);
                whole.add(piece.into(), &mut held).unwrap();
                assert_eq!(
                    budget.used_bytes(),
                    *expected as u64,
                    "{what}, piece {place}"
                );
                let held =
                    whole.pieces.iter().map(Bytes::len).sum::<usize>() + whole.block.capacity();
                assert!(held <= *expected, "{what}, piece {place}");
                assert!(
                    whole.pieces.len() <= 2 + sent.len() / SHORT_BYTES * 2,
                    "{what}, piece {place}"
                );
            }
            let is_joined = pieces.len() != 1;
            let joined = whole.finish(&mut held).unwrap();
            assert!(joined == sent, "{what}");
            let left = if is_joined { sent.len() } else { expected[0] };
            assert_eq!(
                budget.used_bytes(),
                left as u64,
                "{what}: after the joining"
            );
        }
    }

    #[test]
    fn a_step_that_is_refused_takes_nothing() {
        let budget = Budget::new(100 * KIB as u64);
        let mut held = budget.gateway().open();
        let mut whole = WholeBody::new(1 << 20);
        for length in [50 * KIB, 40 * KIB] {
            whole.add(vec![0; length].into(), &mut held).unwrap();
        }
        assert_eq!(
            whole.add(vec![0; 20 * KIB].into(), &mut held),
            Err(Spent::Total)
        );
        drop(held);
        assert_eq!(budget.used_bytes(), 0);
    }

    /// Scenario: pieces that fit, with room for what they are joined to, with too little of it, and one piece alone, which is
    /// joined to nothing. Guarantees: both are counted while both are there; without room for both the body is refused, and
    /// all is given back.
    #[test]
    fn pieces_and_what_they_are_joined_to_are_counted() {
        for (total, lengths, expected) in [
            (120 * KIB, &[30 * KIB, 30 * KIB][..], Ok(60 * KIB)),
            (120 * KIB - 1, &[30 * KIB, 30 * KIB], Err(Spent::Total)),
            (60 * KIB, &[60 * KIB], Ok(60 * KIB)),
        ] {
            let budget = Budget::new(total as u64);
            let mut held = budget.gateway().open();
            let mut whole = WholeBody::new(60 * KIB as u64);
            lengths
                .iter()
                .for_each(|length| whole.add(vec![0; *length].into(), &mut held).unwrap());
            assert_eq!(
                whole.finish(&mut held).map(|body| body.len()),
                expected,
                "{total} {lengths:?}"
            );
            let left = if expected.is_err() {
                lengths.iter().sum()
            } else {
                60 * KIB
            };
            assert_eq!(budget.used_bytes(), left as u64, "{total} {lengths:?}");
            drop(held);
            assert_eq!(budget.used_bytes(), 0, "{total} {lengths:?}");
        }
    }
}
