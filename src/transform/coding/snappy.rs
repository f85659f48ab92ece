//! Snappy's one-block format, and what tells it from the framing format.
//!
//! What it does: undoes one block. What it refuses to know: frames, which the library reads as a stream; names of codings.
//! Invariant: the length that a block claims is held to the limits, and to what a block can become, before there is room
//! for it.

use bytes::Bytes;

use super::CodingFault;
use crate::limits::Reservation;

/// How a body in Snappy's framing format begins (the format's section 4.1). No block does: it would hold a copy from
/// before its own beginning.
pub(crate) const FRAMES: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// No block of Snappy becomes this many times what it is.
const HIGHEST_RATIO: usize = 32;

/// One block of Snappy. It says its length first, which is held to the limits before there is room for it.
pub(crate) fn block(
    body: &[u8],
    limit_bytes: u64,
    reservation: &mut Reservation,
) -> Result<Bytes, CodingFault> {
    let length = snap::raw::decompress_len(body).map_err(|_| CodingFault::Undecodable)?;
    if length as u64 > limit_bytes {
        return Err(CodingFault::TooLarge);
    }
    // The longest copy makes 64 bytes of 3, so that more is a lie, not a bomb.
    if length / HIGHEST_RATIO > body.len() {
        return Err(CodingFault::Undecodable);
    }
    reservation
        .grow(length as u64)
        .map_err(CodingFault::Memory)?;
    let mut plain = vec![0; length];
    let made = snap::raw::Decoder::new()
        .decompress(body, &mut plain)
        .map_err(|_| CodingFault::Undecodable)?;
    if made == length && length > 0 {
        Ok(plain.into())
    } else {
        Err(CodingFault::Undecodable)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::limits::Budget;
    use crate::transform::{Coding, decompress};

    const LIMIT: u64 = 64 << 20;

    /// What became of a body, and what was reserved for it.
    fn undone(
        coding: Coding,
        body: &[u8],
        limit: u64,
        budget_bytes: u64,
    ) -> (Result<Bytes, CodingFault>, u64) {
        let budget = Budget::new(budget_bytes);
        let mut reservation = budget.gateway().open();
        let outcome = decompress(
            coding,
            &Bytes::copy_from_slice(body),
            limit,
            &mut reservation,
        );
        (outcome, budget.used_bytes())
    }

    /// Scenario: what the Collector sends as `snappy`, in both of its formats, whole, broken, and as bombs. Guarantees:
    /// either is undone; everything else is refused, and no more is taken of the budget than the limit.
    #[test]
    fn snappy_is_undone_in_both_formats() {
        let block = |plain: &[u8]| snap::raw::Encoder::new().compress_vec(plain).unwrap();
        let framed = |plain: &[u8]| {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).unwrap();
            encoder.into_inner().unwrap()
        };
        let plain = b"a resource, a scope, a span; ".repeat(5000);
        let limit = plain.len() as u64;
        for whole in [
            block(&plain),
            framed(&plain),
            [framed(&plain[..7]), framed(&plain[7..])].concat(),
        ] {
            assert_eq!(
                undone(Coding::Snappy, &whole, limit, LIMIT).0.unwrap(),
                plain
            );
            let (short, taken) = undone(Coding::Snappy, &whole, limit - 1, LIMIT);
            assert_eq!(short, Err(CodingFault::TooLarge));
            assert!(taken <= limit, "{taken}");
            assert!(matches!(
                undone(Coding::Snappy, &whole, limit, 1 << 10).0,
                Err(CodingFault::Memory(_))
            ));
            for end in [1, 5, 9, whole.len() / 2, whole.len() - 1] {
                assert!(
                    undone(Coding::Snappy, &whole[..end], limit, LIMIT)
                        .0
                        .is_err(),
                    "{end}"
                );
            }
            let more = [&whole[..], b"x"].concat();
            assert_eq!(
                undone(Coding::Snappy, &more, limit, LIMIT).0,
                Err(CodingFault::Undecodable)
            );
        }
        for lie in [
            &b"\xff\xff\xff\xff\x0f\0a"[..],
            b"\xff\xff\xff\x0f\0a",
            b"\x00",
            b"",
            b"\xff",
            b"plain text",
        ] {
            let (refused, taken) = undone(Coding::Snappy, lie, LIMIT, LIMIT);
            assert!(
                refused.is_err() && taken <= 320,
                "{}: {taken}",
                lie.escape_ascii()
            );
        }
        // The most that each format can become: the one stays within its own ratio, the other is guarded as all are.
        let zeros = vec![0; 60 << 20];
        assert_eq!(
            undone(Coding::Snappy, &block(&zeros), LIMIT, LIMIT)
                .0
                .map(|plain| plain.len()),
            Ok(60 << 20)
        );
        assert_eq!(
            undone(Coding::Snappy, &framed(&zeros), LIMIT, 4 * LIMIT)
                .0
                .map(|plain| plain.len()),
            Ok(60 << 20)
        );
        assert_eq!(
            undone(Coding::Snappy, &framed(&zeros), 1 << 20, LIMIT).0,
            Err(CodingFault::TooLarge)
        );
    }
}
