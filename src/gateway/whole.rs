//! A body that is put together in memory.
//!
//! What it does: joins the pieces of a body in steps, each of which is asked of the budget before. What it refuses to
//! know: where pieces come from, how large a body may be. Invariants: what is reserved is what is allocated, at most twice
//! what has come or a step, whatever was announced; a body of one piece is not copied.

use bytes::Bytes;

use crate::limits::{Reservation, Spent};

/// The least that a growing body takes at once.
const STEP_BYTES: usize = 64 << 10;

/// A body as far as it has come.
#[derive(Debug)]
pub struct WholeBody {
    first: Option<Bytes>,
    joined: Vec<u8>,
    expected_bytes: usize,
}

impl WholeBody {
    /// `expected_bytes`: as long as it becomes or may become. Nothing is taken for it yet.
    pub fn new(expected_bytes: u64) -> Self {
        let expected_bytes = usize::try_from(expected_bytes).unwrap_or(usize::MAX);
        WholeBody { first: None, joined: Vec::new(), expected_bytes }
    }

    pub fn add(&mut self, piece: Bytes, reservation: &mut Reservation) -> Result<(), Spent> {
        // Most bodies come in one piece, which is handed on without a copy.
        if self.first.is_none() && self.joined.is_empty() {
            reservation.grow(piece.len() as u64)?;
            self.first = Some(piece);
            return Ok(());
        }
        if let Some(first) = &self.first {
            // What the first piece took pays for its copy.
            let (held, needed) = (first.len(), first.len().saturating_add(piece.len()));
            let room = self.room(held, needed);
            reservation.grow(room.saturating_sub(held) as u64)?;
            self.joined.reserve_exact(room);
            self.joined.extend_from_slice(first);
            self.first = None;
        } else {
            let (held, needed) = (self.joined.capacity(), self.joined.len().saturating_add(piece.len()));
            if needed > held {
                let room = self.room(held, needed);
                reservation.grow(room.saturating_sub(held) as u64)?;
                self.joined.reserve_exact(room - self.joined.len());
            }
        }
        self.joined.extend_from_slice(&piece);
        Ok(())
    }

    /// How much to have, where `held` is not enough and `needed` is: doubling keeps the copying linear.
    fn room(&self, held: usize, needed: usize) -> usize {
        held.saturating_mul(2).max(STEP_BYTES).min(self.expected_bytes).max(needed)
    }

    pub fn finish(self) -> Bytes {
        self.first.unwrap_or_else(|| self.joined.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Budget;

    const KIB: usize = 1 << 10;

    /// Scenario: bodies of which much is announced, in pieces. Guarantees: what is reserved follows what came, not what was
    /// announced; and ends at what was announced.
    #[test]
    fn memory_is_taken_as_a_body_comes() {
        // Announced; pieces; what is reserved after each of them.
        type Case<'a> = (&'a str, usize, &'a [usize], &'a [usize]);
        let cases: &[Case<'_>] = &[
            ("nothing", 16 << 20, &[], &[]),
            ("one piece", 5, &[5], &[5]),
            ("one byte of many", 16 << 20, &[1], &[1]),
            ("a trickle", 16 << 20, &[1, 1, 1], &[1, 64 * KIB, 64 * KIB]),
            ("small, in two pieces", 7, &[5, 2], &[5, 7]),
            ("growing", 400 * KIB, &[60 * KIB; 5], &[60 * KIB, 120 * KIB, 240 * KIB, 240 * KIB, 400 * KIB]),
            ("a large piece", 400 * KIB, &[KIB, 300 * KIB], &[KIB, 301 * KIB]),
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
                assert_eq!(budget.used_bytes(), *expected as u64, "{what}, piece {place}");
                assert!(whole.joined.capacity() <= *expected, "{what}, piece {place}");
            }
            assert!(whole.finish() == sent, "{what}");
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
        assert_eq!(whole.add(vec![0; 20 * KIB].into(), &mut held), Err(Spent::Total));
        drop(held);
        assert_eq!(budget.used_bytes(), 0);
    }
}
