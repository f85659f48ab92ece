//! The strict walk over a chunked body's framing (RFC 9112 section 7.1).
//!
//! What it does: follows chunk sizes, gives the data between them, finds the body's true end, and refuses extensions
//! and line ends that parsers disagree about. What it refuses to know: the body's content.
//! Invariants: data is handed on without a copy; each framing byte is looked at once; after an error it
//! stays in error; trailers are dropped.

use bytes::{Buf as _, Bytes, BytesMut};

use super::Fault;

/// Where in the framing the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a chunk-size, having read this many digits.
    Size(u8),
    /// The LF after a size.
    SizeEnd,
    /// Inside chunk data, with the CRLF after it.
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the final CRLF.
    Trailer,
    TrailerName,
    TrailerText,
    TrailerLf,
    /// The LF of the final CRLF.
    EndLf,
    Done,
    Broken,
}

/// The most bytes that trailer lines may have; they are dropped in any case.
const TRAILER_LIMIT_BYTES: u32 = 8 * 1024;

/// Follows one chunked body.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    at: At,
    remaining: u64,
    trailer_bytes: u32,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunks {
    pub(crate) fn new() -> Self {
        Chunks {
            at: At::Size(0),
            remaining: 0,
            trailer_bytes: 0,
        }
    }

    /// Whether the final CRLF has passed.
    pub(crate) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Takes framing off the front of `bytes` and gives the next piece of data; `None` when more bytes are
    /// needed or the body is done. Bytes behind the body's end are left.
    pub(crate) fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
        loop {
            match (self.at, bytes.first()) {
                (At::Done, _) | (_, None) => return Ok(None),
                (At::Data, Some(_)) => {
                    let length = usize::try_from(self.remaining)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    self.remaining -= length as u64;
                    if self.remaining == 0 {
                        self.at = At::DataCr;
                    }
                    return Ok(Some(bytes.split_to(length).freeze()));
                }
                (_, Some(byte)) => {
                    self.at = self.step(*byte);
                    if self.at == At::Broken {
                        return Err(Fault::Chunk);
                    }
                    bytes.advance(1);
                }
            }
        }
    }

    fn step(&mut self, byte: u8) -> At {
        match (self.at, byte) {
            (At::Size(digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 15 => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.remaining = self.remaining * 16 + u64::from(digit);
                At::Size(digits + 1)
            }
            (At::Size(digits), b'\r') if digits > 0 => At::SizeEnd,
            (At::SizeEnd, b'\n') if self.remaining > 0 => At::Data,
            (At::SizeEnd, b'\n') => At::Trailer,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size(0),
            (At::Trailer, b'\r') => At::EndLf,
            (At::EndLf, b'\n') => At::Done,
            (At::Trailer | At::TrailerName | At::TrailerText, byte) => {
                self.trailer_bytes += 1;
                match (self.at, byte) {
                    _ if self.trailer_bytes > TRAILER_LIMIT_BYTES => At::Broken,
                    (At::TrailerText, b'\r') => At::TrailerLf,
                    (At::TrailerText, byte) if super::is_header_value_byte(byte) => At::TrailerText,
                    (At::TrailerName, b':') => At::TrailerText,
                    (At::Trailer | At::TrailerName, byte) if super::is_header_name_byte(byte) => {
                        At::TrailerName
                    }
                    _ => At::Broken,
                }
            }
            (At::TrailerLf, b'\n') => At::Trailer,
            _ => At::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: chunked bodies, good and bad, with bytes of a next request behind.
    /// Guarantees: the end is found to the byte, however reads break; anything odd is refused.
    #[test]
    fn chunk_framing_is_judged_strictly() {
        let cases: &[(&str, Result<Option<usize>, Fault>)] = &[
            ("0\r\n\r\n", Ok(Some(0))),
            ("5\r\nhello\r\n0\r\n\r\nGET /", Ok(Some(5))),
            ("A\r\n0123456789\r\n00\r\n\r\n", Ok(Some(10))),
            ("5\r\nhel", Ok(None)),
            ("0\r\nTrailer: x\r\n\r\n", Ok(Some(0))),
            ("5;\n", Err(Fault::Chunk)),
            ("5;ext=1\r\nhello\r\n", Err(Fault::Chunk)),
            ("5\nhello\r\n", Err(Fault::Chunk)),
            ("+5\r\n", Err(Fault::Chunk)),
            ("0x5\r\n", Err(Fault::Chunk)),
            (" 5\r\n", Err(Fault::Chunk)),
            ("5 \r\n", Err(Fault::Chunk)),
            ("\r\n", Err(Fault::Chunk)),
            ("5\r\nhelloX\r\n", Err(Fault::Chunk)),
            ("5\r\nhello\n0\r\n", Err(Fault::Chunk)),
            ("1_0\r\n", Err(Fault::Chunk)),
            ("ffffffffffffffff\r\n", Err(Fault::Chunk)),
            ("0\r\nX: bad\0\r\n\r\n", Err(Fault::Chunk)),
            ("0\r\nno colon\r\n\r\n", Err(Fault::Chunk)),
            ("0\r\nX: y\r\n folded\r\n\r\n", Err(Fault::Chunk)),
            ("0\r\nX : y\r\n\r\n", Err(Fault::Chunk)),
            ("0\r\na_b: y\r\n\r\n", Err(Fault::Chunk)),
            ("0\r\na\n\r\n", Err(Fault::Chunk)),
        ];
        for (body, expected) in cases {
            for piece in [1, 2, 3, 64] {
                assert_eq!(
                    &walk(body, piece),
                    expected,
                    "{body:?} in pieces of {piece}"
                );
            }
        }
    }

    /// The length of the data, once the body is done, however it is cut.
    fn walk(body: &str, piece: usize) -> Result<Option<usize>, Fault> {
        let (mut chunks, mut bytes, mut length) = (Chunks::new(), BytesMut::new(), 0);
        for part in body.as_bytes().chunks(piece) {
            bytes.extend_from_slice(part);
            while let Some(data) = chunks.take(&mut bytes)? {
                length += data.len();
            }
        }
        Ok(chunks.is_done().then_some(length))
    }

    #[test]
    fn trailers_are_bounded() {
        let mut chunks = Chunks::new();
        assert_eq!(chunks.take(&mut BytesMut::from("0\r\nx:")), Ok(None));
        let refused = (0..9).any(|_| chunks.take(&mut BytesMut::from(&[b'x'; 1024][..])).is_err());
        assert!(refused);
    }
}
