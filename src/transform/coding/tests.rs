//! Codings, attacked: cut, followed, flipped, out of all proportion.
//!
//! What it does: takes bodies of every coding through both ways. What it refuses to know: the library's own tests. Invariant:
//! every row says the exact answer, and the most that was reserved for it.

use std::io::{self, Write as _};

use bytes::Bytes;

use super::decompress::{FIRST_BYTES, STEP_BYTES, UNGUARDED_BYTES};
use super::*;
use crate::limits::Budget;

const CODED: [Coding; 3] = [Coding::Gzip, Coding::Deflate, Coding::Zstd];
const LIMIT: u64 = 64 << 20;

/// What became of a body, and the most that was reserved for it: reservations only grow.
fn undone(
    coding: Coding,
    body: &[u8],
    limit: u64,
    budget_bytes: u64,
) -> (Result<Bytes, CodingFault>, u64) {
    let budget = Budget::new(budget_bytes);
    let mut reservation = budget.gateway().open();
    let result = decompress(
        coding,
        &Bytes::copy_from_slice(body),
        limit,
        &mut reservation,
    );
    (result, budget.used_bytes())
}

fn plain(coding: Coding, body: &[u8]) -> Result<Bytes, CodingFault> {
    undone(coding, body, LIMIT, 4 * LIMIT).0
}

fn coded(coding: Coding, body: &[u8]) -> Vec<u8> {
    compress(coding, &[Bytes::copy_from_slice(body)])
        .unwrap()
        .to_vec()
}

/// As small as the format can say it.
fn tightest(coding: Coding, body: &[u8]) -> Vec<u8> {
    let best = flate2::Compression::best();
    match coding {
        Coding::Identity => return body.to_vec(),
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), best);
            encoder.write_all(body).and_then(|()| encoder.finish())
        }
        Coding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), best);
            encoder.write_all(body).and_then(|()| encoder.finish())
        }
        Coding::Snappy => snap::raw::Encoder::new()
            .compress_vec(body)
            .map_err(io::Error::other),
        Coding::Zstd => zstd::stream::encode_all(body, 1),
    }
    .unwrap()
}

#[test]
fn codings_are_known_by_their_names() {
    for (name, coding) in [
        ("identity", Some(Coding::Identity)),
        ("gzip", Some(Coding::Gzip)),
        ("x-gzip", Some(Coding::Gzip)),
        ("GZip", Some(Coding::Gzip)),
        ("deflate", Some(Coding::Deflate)),
        ("zstd", Some(Coding::Zstd)),
        ("", None),
        ("br", None),
        ("snappy", None),
        ("gzip, gzip", None),
        (" gzip", None),
        ("x-zstd", None),
    ] {
        assert_eq!(Coding::named(name.as_bytes()), coding, "{name:?}");
    }
    let names = Coding::ALL.map(Coding::name);
    assert_eq!(names, ["identity", "gzip", "deflate", "zstd"]);
}

#[test]
fn a_body_is_taken_whole_or_not_at_all() {
    let text =
        b"resource spans, scope spans, spans, and again: resource spans, scope spans".repeat(3);
    for coding in CODED {
        let body = coded(coding, &text);
        assert_eq!(plain(coding, &body).unwrap(), text, "{coding:?}");
        for end in 0..body.len() {
            assert_eq!(
                plain(coding, &body[..end]),
                Err(CodingFault::Undecodable),
                "{coding:?} cut at {end}"
            );
        }
        for garbage in [b"\0".as_slice(), b"\0\0\0\0\0\0\0\0", b"garbage"] {
            let followed = [&body, garbage].concat();
            assert_eq!(
                plain(coding, &followed),
                Err(CodingFault::Undecodable),
                "{coding:?} {garbage:?}"
            );
        }
        for other in CODED.into_iter().filter(|other| *other != coding) {
            assert_eq!(
                plain(other, &body),
                Err(CodingFault::Undecodable),
                "{coding:?} as {other:?}"
            );
        }
        // Neither format says that there must be one of it; zlib's has no way to say where one ends.
        let twice = plain(coding, &[body.clone(), body.clone()].concat());
        let expected = if coding == Coding::Deflate {
            Err(CodingFault::Undecodable)
        } else {
            Ok(text.repeat(2).into())
        };
        assert_eq!(twice, expected, "{coding:?}");
    }
    // DEFLATE without the zlib format, as some clients sent once; a gzip head without an end.
    let raw = [0x4b, 0x4c, 0x4a, 0x06, 0x00];
    assert_eq!(plain(Coding::Deflate, &raw), Err(CodingFault::Undecodable));
    assert_eq!(
        plain(Coding::Gzip, &[0x1f, 0x8b, 8, 0x08, 0, 0, 0, 0, 0, 3, b'n']),
        Err(CodingFault::Undecodable)
    );
}

#[test]
fn an_empty_message_is_not_an_empty_body() {
    for coding in CODED {
        assert_eq!(
            plain(coding, &coded(coding, b"")).unwrap(),
            "",
            "{coding:?}"
        );
        assert_eq!(
            plain(coding, b""),
            Err(CodingFault::Undecodable),
            "{coding:?}"
        );
    }
    assert_eq!(plain(Coding::Identity, b"").unwrap(), "");
}

#[test]
fn bombs_stop_within_fixed_memory() {
    let zeros = vec![0_u8; 64 << 20];
    for coding in CODED {
        let bomb = tightest(coding, &zeros);
        let (result, reserved) = undone(coding, &bomb, LIMIT, u64::MAX);
        assert_eq!(
            result.map(|got| got.len()),
            Err(CodingFault::Bomb),
            "{coding:?} {}",
            bomb.len()
        );
        assert!(
            reserved <= UNGUARDED_BYTES * 3 / 2 + STEP_BYTES,
            "{coding:?} reserved {reserved}"
        );
        // Below the guard, the limit holds by itself, to the byte.
        for limit in [0, 1, FIRST_BYTES, STEP_BYTES - 1, STEP_BYTES, 1 << 20] {
            let (result, reserved) = undone(coding, &bomb, limit, u64::MAX);
            assert_eq!(
                result,
                Err(CodingFault::TooLarge),
                "{coding:?} limit {limit}"
            );
            assert!(
                reserved <= limit + 1,
                "{coding:?} limit {limit} reserved {reserved}"
            );
        }
        let (result, reserved) = undone(coding, &bomb, LIMIT, 100_000);
        assert_eq!(result, Err(CodingFault::Memory(Spent::Total)), "{coding:?}");
        assert!(reserved <= 100_000);
        assert_eq!(
            plain(coding, &tightest(coding, &zeros[..1 << 20]))
                .unwrap()
                .len(),
            1 << 20,
            "{coding:?}"
        );
    }
    assert_eq!(
        undone(Coding::Identity, b"abc", 2, 0).0,
        Err(CodingFault::TooLarge)
    );
    assert_eq!(undone(Coding::Identity, b"abc", 3, 0).0.unwrap(), "abc");
}

#[test]
fn what_fits_the_limit_exactly_passes() {
    for length in [
        1,
        FIRST_BYTES,
        STEP_BYTES - 1,
        STEP_BYTES,
        STEP_BYTES + 1,
        1 << 20,
    ] {
        let text = vec![7; length as usize];
        for coding in CODED {
            let body = coded(coding, &text);
            assert_eq!(
                undone(coding, &body, length, u64::MAX).0.unwrap(),
                text,
                "{coding:?} {length}"
            );
            let less = undone(coding, &body, length - 1, u64::MAX).0;
            assert_eq!(less, Err(CodingFault::TooLarge), "{coding:?} {length}");
        }
    }
}

/// Bodies of a load test: one span again and again, thousands of times. They are not bombs.
#[test]
fn the_largest_usual_batch_of_identical_spans_passes() {
    let span: Vec<u8> = (0..400_u32)
        .map(|index| (index * index % 251) as u8)
        .collect();
    let batch = span.repeat(8_192);
    for coding in CODED {
        assert!(
            plain(coding, &tightest(coding, &batch)).unwrap() == batch,
            "{coding:?}"
        );
    }
}

#[test]
fn a_zstd_window_beyond_the_standard_is_refused() {
    let text: Vec<u8> = (0..40_000_u32)
        .flat_map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    for (window_log, passes) in [(20, true), (23, true), (24, false), (27, false)] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(&text).unwrap();
        let result = plain(Coding::Zstd, &encoder.finish().unwrap());
        let expected = if passes {
            Ok(text.clone().into())
        } else {
            Err(CodingFault::Undecodable)
        };
        assert_eq!(result, expected, "{window_log}");
    }
}

fn content() -> impl proptest::strategy::Strategy<Value = Vec<Vec<u8>>> {
    use proptest::prelude::*;
    let random = proptest::collection::vec(any::<u8>(), 0..300);
    let repetitive = (proptest::collection::vec(any::<u8>(), 1..9), 1_usize..9_000)
        .prop_map(|(w, n)| w.repeat(n));
    proptest::collection::vec(prop_oneof![random, repetitive], 0..5)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Scenario: any pieces, in every coding. Guarantees: the same bytes come out as one body.
    #[test]
    fn pieces_come_back_as_one_body(pieces in content()) {
        let whole = pieces.concat();
        let pieces: Vec<Bytes> = pieces.into_iter().map(Bytes::from).collect();
        for coding in Coding::ALL {
            assert_eq!(plain(coding, &compress(coding, &pieces).unwrap()).unwrap(), whole);
        }
    }

    /// Scenario: one bit of a coded body flips. Guarantees: nothing beyond the limit comes out; and where
    /// the format has a checksum (its head has none), nothing else than what went in.
    #[test]
    fn a_flipped_bit_is_noticed_or_harmless(pieces in content(), place: proptest::sample::Index, bit in 0..8_u8) {
        let whole = pieces.concat();
        for coding in CODED {
            let mut body = coded(coding, &whole);
            let at = place.index(body.len());
            body[at] ^= 1_u8 << bit;
            if let Ok(got) = undone(coding, &body, 100_000, u64::MAX).0 {
                assert!(got.len() <= 100_000);
                assert!(coding == Coding::Zstd || got == whole, "{coding:?} at {at}");
            }
        }
    }
}
#[test]
fn the_collectors_names_are_known_over_http_alone() {
    for (name, coding) in [
        ("zlib", Some(Coding::Deflate)),
        ("deflate", Some(Coding::Deflate)),
        ("Snappy", Some(Coding::Snappy)),
        ("x-snappy-framed", Some(Coding::Snappy)),
        ("x-gzip", Some(Coding::Gzip)),
        ("lz4", None),
        ("snappy, gzip", None),
        ("", None),
    ] {
        assert_eq!(Coding::of_content(name.as_bytes()), coding, "{name}");
    }
    assert_eq!(
        (Coding::named(b"snappy"), Coding::named(b"zlib")),
        (None, None)
    );
}
