//! Bodies put into a coding.
//!
//! What it does: compresses pieces into one body. What it refuses to know: what they mean. Invariant: what comes out is one
//! whole body, which `decompress` takes.

use std::io::{self, Write as _};

use bytes::Bytes;

use super::{Coding, CodingFault};

/// Fast levels: the gateway's own CPU is worth more than the last tenth of a body.
const ZSTD_LEVEL: i32 = 1;

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
