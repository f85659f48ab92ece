//! A request body's bounds as it flows by.
//!
//! What it does: counts a body's bytes, holds them against size, time and rate, and checks the frame of a
//! unary gRPC message. What it refuses to know: the body's content. Invariant: every chunk passes here
//! before it goes anywhere.

use std::time::{Duration, Instant};

use crate::accept::{Fault, Protocol};
use crate::limits::Limits;

/// After this long, the average rate counts.
const RATE_GRACE: Duration = Duration::from_secs(5);

/// The bounds of one body.
#[derive(Debug)]
pub struct BodyPace {
    began: Instant,
    seen_bytes: u64,
    limit_bytes: u64,
    timeout: Duration,
    rate_bytes_per_second: u64,
    frame: Option<GrpcFrame>,
}

/// RFC-like "gRPC over HTTP/2": 1 byte compressed flag, 4 bytes length, the message; unary: once.
#[derive(Debug, Default)]
struct GrpcFrame {
    prefix: [u8; 5],
    filled: usize,
}

impl BodyPace {
    pub fn new(limits: &Limits, protocol: Protocol) -> Self {
        BodyPace {
            began: Instant::now(),
            seen_bytes: 0,
            limit_bytes: limits.body_bytes,
            timeout: limits.body_timeout,
            rate_bytes_per_second: limits.body_rate_bytes_per_second,
            frame: (protocol == Protocol::Grpc).then(GrpcFrame::default),
        }
    }

    pub fn seen_bytes(&self) -> u64 {
        self.seen_bytes
    }

    /// When waiting for the next chunk is over.
    pub fn deadline(&self) -> Instant {
        self.began + self.timeout
    }

    /// Takes the next chunk into account.
    pub fn chunk(&mut self, chunk: &[u8], end: bool) -> Result<(), Fault> {
        self.seen_bytes += chunk.len() as u64;
        if self.seen_bytes > self.limit_bytes {
            return Err(Fault::BodyTooLarge);
        }
        if let Some(frame) = &mut self.frame {
            let message = frame.take(chunk);
            if let Some(message) = message {
                if message? > self.limit_bytes {
                    return Err(Fault::BodyTooLarge);
                }
                let whole = message? + 5;
                if self.seen_bytes > whole || (end && self.seen_bytes < whole) {
                    return Err(Fault::GrpcFrame);
                }
            } else if end {
                return Err(Fault::GrpcFrame);
            }
        }
        if end {
            return Ok(());
        }
        self.in_time()
    }

    fn in_time(&self) -> Result<(), Fault> {
        let elapsed = self.began.elapsed();
        if elapsed > self.timeout {
            return Err(Fault::BodyTimeout);
        }
        if elapsed > RATE_GRACE {
            let expected = self.rate_bytes_per_second.saturating_mul((elapsed - RATE_GRACE).as_secs());
            if self.seen_bytes < expected {
                return Err(Fault::BodyTimeout);
            }
        }
        Ok(())
    }
}

impl GrpcFrame {
    /// The announced length, once the prefix is whole.
    fn take(&mut self, chunk: &[u8]) -> Option<Result<u64, Fault>> {
        let missing = self.prefix.len() - self.filled;
        let count = missing.min(chunk.len());
        if let (Some(to), Some(from)) = (self.prefix.get_mut(self.filled..self.filled + count), chunk.get(..count)) {
            to.copy_from_slice(from);
        }
        self.filled += count;
        if self.filled < self.prefix.len() {
            return None;
        }
        let [flag, length @ ..] = self.prefix;
        Some(if flag > 1 { Err(Fault::GrpcFrame) } else { Ok(u64::from(u32::from_be_bytes(length))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(protocol: Protocol, limit: u64, chunks: &[&[u8]]) -> Result<(), Fault> {
        let limits = Limits { body_bytes: limit, ..Limits::default() };
        let mut pace = BodyPace::new(&limits, protocol);
        for (index, chunk) in chunks.iter().enumerate() {
            pace.chunk(chunk, index + 1 == chunks.len())?;
        }
        Ok(())
    }

    #[test]
    fn bodies_are_held_to_their_size_and_frame() {
        use Protocol::{Grpc, Http};
        type Case<'a> = (Protocol, &'a [&'a [u8]], Result<(), Fault>);
        let cases: &[Case<'_>] = &[
            (Http, &[b""], Ok(())),
            (Http, &[b"12345", b"67890"], Ok(())),
            (Http, &[b"12345", b"678901"], Err(Fault::BodyTooLarge)),
            (Grpc, &[b"\0\0\0\0\0"], Ok(())),
            (Grpc, &[b"\0\0", b"\0\0\x02a", b"b"], Ok(())),
            (Grpc, &[b"\x01\0\0\0\x01a", b""], Ok(())),
            (Grpc, &[b"\x02\0\0\0\x01a"], Err(Fault::GrpcFrame)),
            (Grpc, &[b""], Err(Fault::GrpcFrame)),
            (Grpc, &[b"\0\0\0"], Err(Fault::GrpcFrame)),
            (Grpc, &[b"\0\0\0\0\x02a"], Err(Fault::GrpcFrame)),
            (Grpc, &[b"\0\0\0\0\x01ab"], Err(Fault::GrpcFrame)),
            (Grpc, &[b"\0\xff\xff\xff\xff", b""], Err(Fault::BodyTooLarge)),
        ];
        for (protocol, chunks, expected) in cases {
            assert_eq!(&run(*protocol, 10, chunks), expected, "{protocol:?} {chunks:?}");
        }
    }
}
