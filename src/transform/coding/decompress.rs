//! Coded bodies, undone within bounds.
//!
//! What it does: decompresses a whole body. What it refuses to know: what it means, and which codings have which names.
//! Invariants: output is asked of the budget before it is made, and never exceeds its limit; a body is
//! taken only whole: cut short, or followed by anything, it is refused.

use std::io::{self, Read as _};

use bytes::Bytes;

use super::{Coding, CodingFault, snappy};
use crate::limits::Reservation;

/// How much room the output gets at once. Inflating this much takes about 100 µs, so that a fault is
/// noticed soon, and the cost of asking the budget cannot be measured.
pub(super) const STEP_BYTES: u64 = 64 << 10;

/// The first room for a small body: most exports of a single SDK fit.
pub(super) const FIRST_BYTES: u64 = 4 << 10;

/// Output up to here is free of the ratio guard. The largest batches that Collectors and SDKs send by
/// default (8,192 spans) stay below, so that a test with identical spans, which compress 100 to 300 times
/// with gzip and thousands of times with zstd, is not mistaken for a bomb.
pub(super) const UNGUARDED_BYTES: u64 = 8 << 20;

/// Output beyond `UNGUARDED_BYTES` may be this many times what was consumed to make it. Telemetry
/// compresses 5 to 30 times; DEFLATE can reach 1,032, and zstd 30,000. Filling 64 MiB of the budget then
/// costs a sender 330 KB on the wire instead of 2.
const HIGHEST_RATIO: u64 = 200;

/// The largest zstd window, as a power of two: 8 MiB, what RFC 9659 section 3 lets a sender use in a
/// content coding. Without it a frame may ask for 128 MiB before its first byte is decoded. A
/// decompressor lives within one call that does not wait, so there are as many windows as threads.
const ZSTD_WINDOW_LOG: u32 = 23;

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
