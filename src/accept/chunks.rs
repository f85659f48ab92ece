//! The strict walk over a chunked body's framing (RFC 9112 section 7.1).
//!
//! What it does: follows chunk sizes as bytes pass by, finds the body's true end, and refuses extensions
//! and line ends that parsers disagree about. What it refuses to know: the body's content.
//! Invariants: it holds no bytes; each byte is looked at once; after an error it stays in error.

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
pub struct Chunks {
    at: At,
    remaining: u64,
    trailer_bytes: u32,
}

impl Chunks {
    pub fn new() -> Self {
        Chunks { at: At::Size(0), remaining: 0, trailer_bytes: 0 }
    }

    /// Whether the final CRLF has passed.
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Walks over `bytes`; says how many of them belong to this body.
    pub fn walk(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut used = 0_usize;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            if self.at == At::Done {
                break;
            }
            if self.at == At::Data {
                let step = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(self.remaining);
                self.remaining -= step;
                used += usize::try_from(step).unwrap_or(rest.len());
                if self.remaining == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            self.at = match rest.first() {
                Some(byte) => self.step(*byte),
                None => break,
            };
            if self.at == At::Broken {
                return Err(Fault::Chunk);
            }
            used += 1;
        }
        Ok(used)
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
                    (At::Trailer | At::TrailerName, byte) if super::is_header_name_byte(byte) => At::TrailerName,
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
            ("0\r\n\r\n", Ok(Some(5))),
            ("5\r\nhello\r\n0\r\n\r\nGET /", Ok(Some(15))),
            ("A\r\n0123456789\r\n00\r\n\r\n", Ok(Some(21))),
            ("5\r\nhel", Ok(None)),
            ("0\r\nTrailer: x\r\n\r\n", Ok(Some(17))),
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
                let mut chunks = Chunks::new();
                let mut used = 0;
                let mut result = Ok(());
                for part in body.as_bytes().chunks(piece) {
                    match chunks.walk(part) {
                        Ok(count) => used += count,
                        Err(fault) => {
                            result = Err(fault);
                            break;
                        }
                    }
                }
                let seen = result.map(|()| chunks.is_done().then_some(used));
                assert_eq!(&seen, expected, "{body:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn trailers_are_bounded() {
        let mut chunks = Chunks::new();
        assert!(chunks.walk(b"0\r\nx:").is_ok());
        let line = [b'x'; 1024];
        let refused = (0..9).any(|_| chunks.walk(&line).is_err());
        assert!(refused);
    }
}
