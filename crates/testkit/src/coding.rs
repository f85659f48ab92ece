//! Content codings as the embedded parts need them: gzip, deflate and zstd, packed and unpacked.
//!
//! What it does: names a coding on the wire, compresses what a sample caller sends, decompresses what the
//! emulator received. What it refuses to know: the gateway's own codecs; an oracle must not share the code
//! that it checks. Invariant: what is unpacked never exceeds its limit by more than a byte.

use std::io::{self, Read, Write as _};

/// A content coding (RFC 9110 section 8.4.1; zstd: RFC 8878), also of one gRPC message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Identity,
    Gzip,
    /// zlib's format, as HTTP means it.
    Deflate,
    Zstd,
}

/// Why something was not unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// It is larger than the limit.
    TooLarge,
    /// It is not what its coding's name says.
    Broken,
}

impl Coding {
    pub const ALL: [Coding; 4] = [
        Coding::Identity,
        Coding::Gzip,
        Coding::Deflate,
        Coding::Zstd,
    ];

    /// The name in `content-encoding` and `grpc-encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Zstd => "zstd",
        }
    }

    /// The coding of a header's value; a list of several is none.
    pub fn named(value: &[u8]) -> Option<Coding> {
        Coding::ALL
            .into_iter()
            .find(|coding| value.eq_ignore_ascii_case(coding.name().as_bytes()))
    }

    pub fn compress(self, plain: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Coding::Identity => Ok(plain.to_vec()),
            Coding::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Coding::Deflate => {
                let mut encoder =
                    flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Coding::Zstd => zstd::stream::encode_all(plain, 1),
        }
    }

    /// At most `limit` bytes.
    pub fn decompress(self, packed: &[u8], limit: usize) -> Result<Vec<u8>, Packed> {
        let read = |source: &mut dyn Read| {
            let mut plain = Vec::new();
            match source.take(limit as u64 + 1).read_to_end(&mut plain) {
                Ok(length) if length > limit => Err(Packed::TooLarge),
                Ok(_) => Ok(plain),
                Err(_) => Err(Packed::Broken),
            }
        };
        match self {
            Coding::Identity => read(&mut &*packed),
            Coding::Gzip => read(&mut flate2::read::MultiGzDecoder::new(packed)),
            Coding::Deflate => read(&mut flate2::read::ZlibDecoder::new(packed)),
            Coding::Zstd => {
                read(&mut zstd::stream::read::Decoder::new(packed).map_err(|_| Packed::Broken)?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_within_its_limit() {
        let plain: Vec<u8> = (0..100_000_u32).map(|number| (number / 7) as u8).collect();
        for coding in Coding::ALL {
            assert_eq!(
                Coding::named(coding.name().to_uppercase().as_bytes()),
                Some(coding)
            );
            let packed = coding.compress(&plain).unwrap();
            assert_eq!(
                packed.len() < plain.len(),
                coding != Coding::Identity,
                "{coding:?}"
            );
            assert_eq!(
                coding.decompress(&packed, plain.len()).unwrap(),
                plain,
                "{coding:?}"
            );
            assert_eq!(
                coding.decompress(&packed, plain.len() - 1),
                Err(Packed::TooLarge),
                "{coding:?}"
            );
            let half = packed.get(..packed.len() / 2).unwrap();
            assert_eq!(
                coding.decompress(half, plain.len()).is_err(),
                coding != Coding::Identity,
                "{coding:?}"
            );
        }
        for name in ["", "br", "gzip, gzip", "x-gzip"] {
            assert_eq!(Coding::named(name.as_bytes()), None, "{name}");
        }
    }
}
