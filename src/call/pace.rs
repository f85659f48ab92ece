//! A request body's bounds as it flows by.
//!
//! What it does: counts a body's bytes, holds them against size, time and rate, and checks the frame of a
//! unary gRPC message. What it refuses to know: the body's content. Invariants: every chunk passes here
//! before it goes anywhere; a body that sends nothing, or too little, is late at a time that is known beforehand, so that
//! a timer can end it; only the time in which its sender was waited for counts, not that in which a backend was.

use std::time::{Duration, Instant};

use crate::accept::{Fault, Protocol};
use crate::limits::Limits;

/// The bounds of one body.
#[derive(Debug)]
pub(crate) struct BodyPace {
    /// For how long its sender was waited for, but for the wait that lasts.
    waited: Duration,
    seen_bytes: u64,
    limit_bytes: u64,
    tempo: Tempo,
    frame: Option<GrpcFrame>,
}

/// How slow a body may be.
#[derive(Clone, Copy, Debug)]
struct Tempo {
    /// The average rate counts after this long.
    grace: Duration,
    rate_bytes_per_second: u64,
    timeout: Duration,
}

/// RFC-like "gRPC over HTTP/2": 1 byte compressed flag, 4 bytes length, the message; unary: once.
#[derive(Debug, Default)]
struct GrpcFrame {
    prefix: [u8; 5],
    filled: usize,
}

impl BodyPace {
    pub(crate) fn new(limits: &Limits, protocol: Protocol) -> Self {
        BodyPace {
            waited: Duration::ZERO,
            seen_bytes: 0,
            limit_bytes: limits.body_bytes,
            tempo: Tempo {
                grace: limits.body_grace,
                rate_bytes_per_second: limits.body_rate_bytes_per_second,
                timeout: limits.body_timeout,
            },
            frame: (protocol == Protocol::Grpc).then(GrpcFrame::default),
        }
    }

    pub(crate) fn seen_bytes(&self) -> u64 {
        self.seen_bytes
    }

    /// Begins to wait for the next chunk.
    pub(crate) fn wait(&mut self) -> Waiting<'_> {
        Waiting {
            pace: self,
            since: Instant::now(),
        }
    }

    /// Takes the next chunk into account.
    pub(crate) fn chunk(&mut self, chunk: &[u8], end: bool) -> Result<(), Fault> {
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
        Ok(())
    }
}

/// A wait for the sender of a body. Dropped, it counts for as long as it was.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    pace: &'a mut BodyPace,
    since: Instant,
}

impl Waiting<'_> {
    /// When it is over.
    pub(crate) fn deadline(&self) -> Instant {
        self.since
            + self
                .pace
                .tempo
                .late_after(self.pace.seen_bytes)
                .saturating_sub(self.pace.waited)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pace.waited = self.pace.waited.saturating_add(self.since.elapsed());
    }
}

impl Tempo {
    /// How long after its beginning a body of which so much has come is too slow, if no more comes.
    fn late_after(self, seen_bytes: u64) -> Duration {
        let nanos =
            u128::from(seen_bytes) * 1_000_000_000 / u128::from(self.rate_bytes_per_second.max(1));
        let earned = u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos);
        self.grace.saturating_add(earned).min(self.timeout)
    }
}

impl GrpcFrame {
    /// The announced length, once the prefix is whole.
    fn take(&mut self, chunk: &[u8]) -> Option<Result<u64, Fault>> {
        let missing = self.prefix.len() - self.filled;
        let count = missing.min(chunk.len());
        if let (Some(to), Some(from)) = (
            self.prefix.get_mut(self.filled..self.filled + count),
            chunk.get(..count),
        ) {
            to.copy_from_slice(from);
        }
        self.filled += count;
        if self.filled < self.prefix.len() {
            return None;
        }
        let [flag, length @ ..] = self.prefix;
        Some(if flag > 1 {
            Err(Fault::GrpcFrame)
        } else {
            Ok(u64::from(u32::from_be_bytes(length)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(protocol: Protocol, limit: u64, chunks: &[&[u8]]) -> Result<(), Fault> {
        let limits = Limits {
            body_bytes: limit,
            ..Limits::default()
        };
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
            (
                Grpc,
                &[b"\0\xff\xff\xff\xff", b""],
                Err(Fault::BodyTooLarge),
            ),
        ];
        for (protocol, chunks, expected) in cases {
            assert_eq!(
                &run(*protocol, 10, chunks),
                expected,
                "{protocol:?} {chunks:?}"
            );
        }
    }

    /// Scenario: bodies that stop after so many bytes. Guarantees: a silent one is late when the grace is over, one that
    /// sent something as much later as it sent at the rate, none later than the timeout.
    #[test]
    fn silence_is_late_at_a_known_time() {
        let tempo = |rate_bytes_per_second| Tempo {
            grace: Duration::from_secs(5),
            rate_bytes_per_second,
            timeout: Duration::from_secs(60),
        };
        for (rate, seen, late_millis) in [
            (1024, 0, 5_000),
            (1024, 1, 5_000),
            (1024, 512, 5_500),
            (1024, 1024, 6_000),
            (1024, 10 * 1024, 15_000),
            (1024, 55 * 1024, 60_000),
            (1024, 16 << 20, 60_000),
            (1024, u64::MAX, 60_000),
            (1, 0, 5_000),
            (1, 5, 10_000),
            (0, 1, 6_000),
            (1 << 30, 16 << 20, 5_015),
        ] {
            let late = tempo(rate).late_after(seen).as_millis();
            assert_eq!(late, late_millis, "{seen} bytes at {rate} a second");
        }
        let hasty = Tempo {
            timeout: Duration::from_secs(2),
            ..tempo(1024)
        };
        assert_eq!(hasty.late_after(0), Duration::from_secs(2));
    }

    /// Scenario: a body sends a byte now and then. Guarantees: each byte puts its end off by what it earned, and no more.
    #[test]
    fn a_trickle_puts_the_end_off_by_what_it_sent() {
        let limits = Limits {
            body_rate_bytes_per_second: 1000,
            ..Limits::default()
        };
        let mut pace = BodyPace::new(&limits, Protocol::Http);
        for count in 1..=50_u32 {
            pace.chunk(b"x", false).unwrap();
            let before = pace.waited;
            let waiting = pace.wait();
            let left = waiting.deadline().saturating_duration_since(waiting.since);
            assert_eq!(
                before + left,
                limits.body_grace + Duration::from_millis(1) * count
            );
        }
    }

    /// Lets the clock go on.
    fn spend(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::thread::yield_now();
        }
    }

    /// Scenario: before the next chunk is asked for, a backend is waited for, which takes longer than the grace; and then the
    /// sender is. Guarantees: the sender has all the time that it had, and each of its waits takes of it, ended or not.
    #[test]
    fn a_slow_backend_is_not_a_slow_sender() {
        let limits = Limits {
            body_grace: Duration::from_millis(1),
            ..Limits::default()
        };
        let mut pace = BodyPace::new(&limits, Protocol::Http);
        spend(2 * limits.body_grace);
        assert_eq!(pace.waited, Duration::ZERO);
        assert_eq!(pace.chunk(b"x", false), Ok(()));
        let waiting = pace.wait();
        assert!(
            waiting.deadline() > waiting.since,
            "not late before it was waited for"
        );
        spend(2 * limits.body_grace);
        drop(waiting);
        let waiting = pace.wait();
        assert_eq!(waiting.deadline(), waiting.since, "late at once");
    }
}
