//! How much a backend takes where it takes less than its profile promises.
//!
//! What it does: keeps the least size of a message that a backend refused as too large, so that the next one is cut before it is
//! sent. What it refuses to know: what a message holds, and how it is cut. Invariants: nothing grows with what backends answer: of
//! more endpoints than [`ENDPOINTS`] the oldest is forgotten; what was learned is forgotten after an hour, so that a backend that
//! takes more again is asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::clock::UnixMillis;
use crate::lock::Mutex;
use crate::otlp::Signal;

/// Endpoints and signals that are remembered at once.
const ENDPOINTS: usize = 256;
const REMEMBERED_MS: i64 = 60 * 60 * 1000;

/// Where a message goes: the endpoint's address, the signal, and whether over gRPC.
pub(crate) type Destination = (String, Signal, bool);

/// What was learned.
#[derive(Default)]
pub(crate) struct LearnedBounds {
    known: Mutex<HashMap<Destination, Learned>>,
    /// How many there are, to be read without the lock: nearly always none.
    count: AtomicUsize,
}

struct Learned {
    refused_bytes: usize,
    until: UnixMillis,
}

impl LearnedBounds {
    /// Whether a message of so many bytes was refused here.
    pub(crate) fn is_too_large(&self, to: &Destination, bytes: usize, now: UnixMillis) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let known = self.known.lock();
        let learned = known.get(to).filter(|learned| now < learned.until);
        learned.is_some_and(|learned| bytes >= learned.refused_bytes)
    }

    /// Keeps in mind that a message of so many bytes was refused here. Whether that is news.
    pub(crate) fn refused(&self, to: &Destination, bytes: usize, now: UnixMillis) -> bool {
        let mut known = self.known.lock();
        known.retain(|_, learned| now < learned.until);
        let is_news = known
            .get(to)
            .is_none_or(|learned| bytes < learned.refused_bytes);
        if is_news {
            if known.len() >= ENDPOINTS && !known.contains_key(to) {
                let oldest = known.iter().min_by_key(|(_, learned)| learned.until.0);
                if let Some(oldest) = oldest.map(|(oldest, _)| oldest.clone()) {
                    known.remove(&oldest);
                }
            }
            let until = UnixMillis(now.0.saturating_add(REMEMBERED_MS));
            let learned = Learned {
                refused_bytes: bytes,
                until,
            };
            known.insert(to.clone(), learned);
        }
        self.count.store(known.len(), Ordering::Release);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a backend refuses smaller and smaller messages; an hour goes by; very many endpoints refuse. Guarantees: the
    /// least counts, for its endpoint, signal and protocol alone; it is forgotten in time; the memory is bounded.
    #[test]
    fn the_least_refused_size_is_known_for_an_hour() {
        let memory = LearnedBounds::default();
        let to = |host: &str, grpc| (host.to_owned(), Signal::Traces, grpc);
        let (start, later) = (UnixMillis(0), UnixMillis(REMEMBERED_MS));
        assert!(!memory.is_too_large(&to("a", false), usize::MAX, start));
        assert!(memory.refused(&to("a", false), 1000, start));
        assert!(!memory.refused(&to("a", false), 1000, start));
        assert!(!memory.refused(&to("a", false), 2000, start));
        assert!(memory.refused(&to("a", false), 500, start));
        for (host, grpc, bytes, now, expected) in [
            ("a", false, 500, start, true),
            ("a", false, 499, start, false),
            ("a", true, 500, start, false),
            ("b", false, 500, start, false),
            ("a", false, 500, later, false),
        ] {
            let found = memory.is_too_large(&to(host, grpc), bytes, now);
            assert_eq!(found, expected, "{host} {grpc} {bytes}");
        }
        for host in 0..2 * ENDPOINTS {
            memory.refused(&to(&host.to_string(), false), 1, UnixMillis(host as i64));
        }
        assert_eq!(memory.known.lock().len(), ENDPOINTS);
        assert!(memory.is_too_large(&to("511", false), 1, UnixMillis(600)));
        assert!(!memory.is_too_large(&to("0", false), 1, UnixMillis(600)));
    }
}
