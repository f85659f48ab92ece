//! Content codings of bodies: undone within bounds, and put on again.
//!
//! What it does: knows `identity`, `gzip`, `deflate` and `zstd` by their names in HTTP (RFC 9110 section
//! 8.4.1) and gRPC (`grpc-encoding`), and what OpenTelemetry's Collector sends over HTTP besides; decompresses a whole
//! body and compresses pieces into one.
//! What it refuses to know: what a body means, the status that answers a fault (`respond` has the table).
//! Invariants: output is asked of the budget before it is made, and never exceeds its limit; a body is
//! taken only whole: cut short, or followed by anything, it is refused.

mod snappy;

use std::io::{self, Read as _, Write as _};

use bytes::Bytes;

use crate::limits::{Reservation, Spent};
use crate::reason::Reason;

/// How much room the output gets at once. Inflating this much takes about 100 µs, so that a fault is
/// noticed soon, and the cost of asking the budget cannot be measured.
const STEP_BYTES: u64 = 64 << 10;

/// The first room for a small body: most exports of a single SDK fit.
const FIRST_BYTES: u64 = 4 << 10;

/// Output up to here is free of the ratio guard. The largest batches that Collectors and SDKs send by
/// default (8,192 spans) stay below, so that a test with identical spans, which compress 100 to 300 times
/// with gzip and thousands of times with zstd, is not mistaken for a bomb.
const UNGUARDED_BYTES: u64 = 8 << 20;

/// Output beyond `UNGUARDED_BYTES` may be this many times what was consumed to make it. Telemetry
/// compresses 5 to 30 times; DEFLATE can reach 1,032, and zstd 30,000. Filling 64 MiB of the budget then
/// costs a sender 330 KB on the wire instead of 2.
const HIGHEST_RATIO: u64 = 200;

/// The largest zstd window, as a power of two: 8 MiB, what RFC 9659 section 3 lets a sender use in a
/// content coding. Without it a frame may ask for 128 MiB before its first byte is decoded. A
/// decompressor lives within one call that does not wait, so there are as many windows as threads.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Fast levels: the gateway's own CPU is worth more than the last tenth of a body.
const ZSTD_LEVEL: i32 = 1;

/// How the bytes of a body are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Identity,
    /// RFC 1952, any number of members.
    Gzip,
    /// DEFLATE in the zlib format of RFC 1950, as RFC 9110 section 8.4.1.2 has it.
    Deflate,
    /// RFC 8878, any number of frames, no dictionary.
    Zstd,
    /// One block, or the framing format around blocks: the Collector has called either `snappy`. It is undone and never
    /// made: a backend could not tell which of the two it gets.
    Snappy,
}

/// Why a body could not be decompressed, or compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodingFault {
    /// More output than the limit.
    TooLarge,
    /// Output out of all proportion to the input.
    Bomb,
    /// Not one whole body of its coding.
    Undecodable,
    /// There is no room for it.
    Memory(Spent),
}

impl CodingFault {
    pub const ALL: [CodingFault; 5] = [
        CodingFault::TooLarge,
        CodingFault::Bomb,
        CodingFault::Undecodable,
        CodingFault::Memory(Spent::Total),
        CodingFault::Memory(Spent::Share),
    ];

    pub fn reason(self) -> Reason {
        match self {
            CodingFault::TooLarge => Reason::BodyTooLarge,
            CodingFault::Bomb => Reason::BodyBomb,
            CodingFault::Undecodable => Reason::BodyUndecodable,
            CodingFault::Memory(spent) => spent.reason(),
        }
    }
}

/// Names in `Content-Encoding` and `grpc-encoding`. RFC 9110 section 8.4.1.3: `x-gzip` is the same as `gzip`.
const NAMES: [(Coding, &str); 5] = [
    (Coding::Identity, "identity"),
    (Coding::Gzip, "gzip"),
    (Coding::Deflate, "deflate"),
    (Coding::Zstd, "zstd"),
    (Coding::Gzip, "x-gzip"),
];

impl Coding {
    /// Those that are made as well, and that gRPC's messages come in.
    pub const ALL: [Coding; 4] = [
        Coding::Identity,
        Coding::Gzip,
        Coding::Deflate,
        Coding::Zstd,
    ];

    /// The coding of this name, in either case (RFC 9110 section 8.4.1); one name, not a list.
    pub fn named(name: &[u8]) -> Option<Coding> {
        NAMES
            .iter()
            .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(coding, _)| *coding)
    }

    /// The same of `Content-Encoding`, with the Collector's own names: `zlib` is what it sends as `deflate` (RFC 1950).
    pub fn of_content(name: &[u8]) -> Option<Coding> {
        const COLLECTORS: [(Coding, &str); 3] = [
            (Coding::Deflate, "zlib"),
            (Coding::Snappy, "snappy"),
            (Coding::Snappy, "x-snappy-framed"),
        ];
        let own = COLLECTORS
            .iter()
            .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
        Coding::named(name).or(own.map(|(coding, _)| *coding))
    }

    /// The name to send.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(coding, _)| *coding == self)
            .map_or("identity", |(_, name)| name)
    }
}

/// The body behind its coding, at most `limit_bytes` long. The reservation grows by the room for the
/// output; the body itself is the caller's to account for, so `Identity` takes nothing.
pub fn decompress(
    coding: Coding,
    body: &Bytes,
    limit_bytes: u64,
    reservation: &mut Reservation,
) -> Result<Bytes, CodingFault> {
    let mut decoder = match coding {
        Coding::Identity if body.len() as u64 > limit_bytes => return Err(CodingFault::TooLarge),
        Coding::Identity => return Ok(body.clone()),
        Coding::Gzip => Decoder::Gzip(flate2::bufread::MultiGzDecoder::new(body)),
        Coding::Deflate => Decoder::Deflate(flate2::bufread::ZlibDecoder::new(body)),
        Coding::Zstd => Decoder::zstd(body).map_err(|_| CodingFault::Undecodable)?,
        Coding::Snappy if body.starts_with(snappy::FRAMES) => {
            Decoder::Snappy(Box::new(snap::read::FrameDecoder::new(body.as_ref())))
        }
        Coding::Snappy => return snappy::block(body, limit_bytes, reservation),
    };
    if body.is_empty() {
        return Err(CodingFault::Undecodable);
    }
    let mut output = Decompressed {
        bytes: Vec::new(),
        filled: 0,
        limit_bytes,
    };
    loop {
        let room = output.room(body.len() as u64, reservation)?;
        let count = decoder.read(room).map_err(|_| CodingFault::Undecodable)?;
        if count == 0 {
            break;
        }
        output.filled += count;
        let (made, consumed) = (
            output.filled as u64,
            body.len().saturating_sub(decoder.rest()) as u64,
        );
        if made > limit_bytes {
            return Err(CodingFault::TooLarge);
        }
        if made > UNGUARDED_BYTES && made / HIGHEST_RATIO > consumed {
            return Err(CodingFault::Bomb);
        }
    }
    if decoder.rest() > 0 {
        return Err(CodingFault::Undecodable);
    }
    output.bytes.truncate(output.filled);
    Ok(output.bytes.into())
}

/// What has been decompressed, and zeros up to what has been asked of the budget.
struct Decompressed {
    bytes: Vec<u8>,
    filled: usize,
    limit_bytes: u64,
}

impl Decompressed {
    /// A place for the next bytes, never empty; grows as far as the budget allows. One byte more than
    /// the limit, to see whether the body goes on.
    fn room(
        &mut self,
        body_bytes: u64,
        reservation: &mut Reservation,
    ) -> Result<&mut [u8], CodingFault> {
        let held = self.bytes.len() as u64;
        if self.filled as u64 == held {
            // Growing by half keeps the copying linear, and what is reserved in vain below a third.
            let first = (body_bytes.saturating_mul(4)).clamp(FIRST_BYTES, STEP_BYTES);
            let wanted = if held == 0 {
                first
            } else {
                STEP_BYTES.max(held / 2)
            };
            let more = wanted
                .min(self.limit_bytes.saturating_add(1).saturating_sub(held))
                .max(1);
            reservation.grow(more).map_err(CodingFault::Memory)?;
            let more = usize::try_from(more).map_err(|_| CodingFault::TooLarge)?;
            self.bytes.reserve_exact(more);
            self.bytes.resize(self.bytes.len() + more, 0);
        }
        let end = self
            .bytes
            .len()
            .min(self.filled.saturating_add(STEP_BYTES as usize));
        self.bytes
            .get_mut(self.filled..end)
            .ok_or(CodingFault::Undecodable)
    }
}

/// A decompressor over a whole body in memory, which knows how much of it is left.
enum Decoder<'a> {
    Gzip(flate2::bufread::MultiGzDecoder<&'a [u8]>),
    Deflate(flate2::bufread::ZlibDecoder<&'a [u8]>),
    Zstd(zstd::stream::read::Decoder<'static, &'a [u8]>),
    Snappy(Box<snap::read::FrameDecoder<&'a [u8]>>),
}

impl<'a> Decoder<'a> {
    fn zstd(body: &'a [u8]) -> io::Result<Self> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
        Ok(Decoder::Zstd(decoder))
    }

    /// The next bytes; none only at the end of a whole stream.
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Gzip(decoder) => decoder.read(room),
            Decoder::Deflate(decoder) => decoder.read(room),
            Decoder::Zstd(decoder) => decoder.read(room),
            Decoder::Snappy(decoder) => decoder.read(room),
        }
    }

    /// How many bytes of the body have not been consumed.
    fn rest(&self) -> usize {
        match self {
            Decoder::Gzip(decoder) => decoder.get_ref().len(),
            Decoder::Deflate(decoder) => decoder.get_ref().len(),
            Decoder::Zstd(decoder) => decoder.get_ref().len(),
            Decoder::Snappy(decoder) => decoder.get_ref().len(),
        }
    }
}

/// The pieces as one body in the coding. A fault is a defect of the library: any bytes can be coded.
pub fn compress(coding: Coding, pieces: &[Bytes]) -> Result<Bytes, CodingFault> {
    let total: usize = pieces.iter().map(Bytes::len).sum();
    // Telemetry at a fast level shrinks to a quarter or less; the rest grows.
    let output = Vec::with_capacity(total / 4 + 64);
    let written = match coding {
        Coding::Identity => return Ok(joined(pieces, total)),
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(output, flate2::Compression::fast());
            pieces
                .iter()
                .try_for_each(|piece| encoder.write_all(piece))
                .and_then(|()| encoder.finish())
        }
        Coding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(output, flate2::Compression::fast());
            pieces
                .iter()
                .try_for_each(|piece| encoder.write_all(piece))
                .and_then(|()| encoder.finish())
        }
        // See `Coding::Snappy`; nothing asks for it.
        Coding::Snappy => return Err(CodingFault::Undecodable),
        Coding::Zstd => zstd_encoder(output, total as u64).and_then(|mut encoder| {
            pieces
                .iter()
                .try_for_each(|piece| encoder.write_all(piece))?;
            encoder.finish()
        }),
    };
    written
        .map(Bytes::from)
        .map_err(|_| CodingFault::Undecodable)
}

fn joined(pieces: &[Bytes], total: usize) -> Bytes {
    match pieces {
        [piece] => piece.clone(),
        pieces => {
            let mut whole = Vec::with_capacity(total);
            pieces
                .iter()
                .for_each(|piece| whole.extend_from_slice(piece));
            whole.into()
        }
    }
}

/// Says the length in the frame's head, so that the receiver need not hold a window larger than it.
fn zstd_encoder(
    output: Vec<u8>,
    total_bytes: u64,
) -> io::Result<zstd::stream::write::Encoder<'static, Vec<u8>>> {
    let mut encoder = zstd::stream::write::Encoder::new(output, ZSTD_LEVEL)?;
    encoder.set_pledged_src_size(Some(total_bytes))?;
    Ok(encoder)
}

#[cfg(test)]
mod tests {
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
}
