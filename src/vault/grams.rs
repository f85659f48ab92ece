//! Telling quickly which stretches of a text can hold one of many needles at all.
//!
//! What it does: keeps, as two bits of a table each, the groups of `GRAM` bytes with which the needles begin, and looks at
//! one group of a text in `STEP`. What it refuses to know: what the needles are, and where exactly one stands. Invariants:
//! no occurrence of a needle, in any ASCII case, lies outside of the stretches that it tells; the stretches are in order
//! and do not touch; the table holds no byte of a needle.

use std::ops::Range;

/// Bytes from one look at a text to the next.
const STEP: usize = 8;
/// Bytes of a group: of a needle of `SHORTEST` bytes, one whole group stands at a multiple of `STEP`.
const GRAM: usize = 5;
/// No needle is shorter.
pub(super) const SHORTEST: usize = STEP + GRAM - 1;
/// Bits of the table for each group, so that about one look in 250 at a text without any needle is a false alarm.
const BITS_PER_GRAM: usize = 16;
/// The largest table: 2 MiB.
const MOST_BITS: usize = 1 << 24;
const WORD: usize = u64::BITS as usize;

pub(super) struct Grams {
    /// A power of two of bits.
    table: Vec<u64>,
    /// Of the longest needle.
    longest: usize,
}

impl Grams {
    /// None if a needle is too short to be seen at every place.
    pub(super) fn new<'n>(needles: impl Iterator<Item = &'n [u8]> + Clone) -> Option<Grams> {
        if needles.clone().any(|needle| needle.len() < SHORTEST) {
            return None;
        }
        let grams = needles.clone().count() * STEP;
        let bits = (grams * BITS_PER_GRAM)
            .next_power_of_two()
            .clamp(WORD, MOST_BITS);
        let longest = needles.clone().map(<[u8]>::len).max().unwrap_or_default();
        let mut grams = Grams {
            table: vec![0; bits / WORD],
            longest,
        };
        for needle in needles {
            for start in 0..STEP {
                for bit in grams.bits(gram(needle, start)) {
                    if let Some(word) = grams.table.get_mut(bit / WORD) {
                        *word |= 1 << (bit % WORD);
                    }
                }
            }
        }
        Some(grams)
    }

    /// The stretches of a text outside of which no needle stands.
    pub(super) fn stretches(&self, text: &[u8]) -> impl Iterator<Item = Range<usize>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let first = self.next_look(text, at)?;
            let start = first.saturating_sub(STEP - 1);
            let mut end = first + self.longest;
            at = first + STEP;
            // The next stretch would begin within this one.
            while let Some(next) = self.next_look(text.get(..end + SHORTEST).unwrap_or(text), at) {
                end = next + self.longest;
                at = next + STEP;
            }
            Some(start..end.min(text.len()))
        })
    }

    /// The next place from `at` on, in steps, whose group a needle may have.
    fn next_look(&self, text: &[u8], at: usize) -> Option<usize> {
        (at..text.len().checked_sub(GRAM - 1)?)
            .step_by(STEP)
            .find(|at| self.may_have(gram(text, *at)))
    }

    fn may_have(&self, gram: u64) -> bool {
        self.bits(gram).iter().all(|bit| {
            self.table
                .get(bit / WORD)
                .is_some_and(|word| word >> (bit % WORD) & 1 == 1)
        })
    }

    /// Two places of the table: of one product (Fibonacci hashing), its highest bits and those below.
    fn bits(&self, gram: u64) -> [usize; 2] {
        let hash = gram.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mask = self.table.len() * WORD - 1;
        [(hash >> 40) as usize & mask, (hash >> 16) as usize & mask]
    }
}

/// The group of a text at a place, without regard to case: bit 5 tells the cases of ASCII letters apart.
fn gram(text: &[u8], at: usize) -> u64 {
    const FOLD: u64 = 0x20_2020_2020;
    let whole = match text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes
                .iter_mut()
                .zip(text.get(at..).unwrap_or_default())
                .for_each(|(into, from)| *into = *from);
            u64::from_le_bytes(bytes)
        }
    };
    (whole & 0xFF_FFFF_FFFF) | FOLD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_covered(grams: &Grams, text: &[u8], place: &Range<usize>) -> bool {
        grams
            .stretches(text)
            .any(|stretch| stretch.start <= place.start && place.end <= stretch.end)
    }

    /// Guarantees: a needle of any allowed length is within a stretch at every place of a text, in either case, also as
    /// its last bytes; stretches do not touch.
    #[test]
    fn no_needle_is_outside() {
        let needles = ["ends-of-16-bytes", "twelve-bytes", "THIRTEENbytes"].map(str::as_bytes);
        let grams = Grams::new(needles.into_iter()).unwrap();
        for needle in needles {
            for before in 0..40 {
                for after in [0, 1, 7, 8, 30] {
                    for written in [needle.to_ascii_uppercase(), needle.to_ascii_lowercase()] {
                        let text = [vec![b'.'; before], written, vec![b'.'; after]].concat();
                        assert!(
                            is_covered(&grams, &text, &(before..before + needle.len())),
                            "{before} {after}"
                        );
                    }
                }
            }
        }
        let text = [
            b"twelve-bytes".repeat(3),
            b".".repeat(100),
            b"twelve-bytes".repeat(2),
        ]
        .concat();
        let stretches: Vec<_> = grams.stretches(&text).collect();
        assert!(
            stretches.windows(2).all(|pair| pair[0].end < pair[1].start),
            "{stretches:?}"
        );
        assert!(stretches.iter().map(ExactSizeIterator::len).sum::<usize>() < text.len());
    }

    /// Guarantees: a needle that could stand between two looks is not taken; without needles nothing is told.
    #[test]
    fn short_needles_are_not_taken() {
        assert!(Grams::new([&b"eleven-byte"[..]].into_iter()).is_none());
        let none = Grams::new(std::iter::empty()).unwrap();
        assert_eq!(none.stretches(&[b'x'; 1000]).count(), 0);
        let one = Grams::new([&b"twelve-bytes"[..]].into_iter()).unwrap();
        for text in ["", "twel", "twelve-byte"] {
            assert!(
                one.stretches(text.as_bytes())
                    .all(|stretch| stretch.end <= text.len()),
                "{text}"
            );
        }
    }
}
