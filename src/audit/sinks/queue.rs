//! What waits for a sink in memory.
//!
//! What it does: takes entries within its bounds, and keeps them until they are sent. What it refuses to know: where they go.
//! Invariants: it never holds more than its bounds; what it has no room for is counted, with its number.

use std::collections::VecDeque;
use std::sync::Arc;

use super::board::SinkState;
use super::entry::SinkEntry;
use crate::lock::Mutex;

/// The reason why a record found no room.
pub(super) const QUEUE_FULL: &str = "queue_full";

/// The bounds of a queue, or of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueBounds {
    pub records: usize,
    pub bytes: usize,
}

/// One sink's queue.
pub(super) struct SinkQueue {
    state: Arc<SinkState>,
    inner: Mutex<WaitingEntries>,
}

struct WaitingEntries {
    bounds: QueueBounds,
    entries: VecDeque<SinkEntry>,
    bytes: usize,
}

impl SinkQueue {
    pub(super) fn new(state: Arc<SinkState>, bounds: QueueBounds) -> Self {
        SinkQueue {
            state,
            inner: Mutex::new(WaitingEntries {
                bounds,
                entries: VecDeque::new(),
                bytes: 0,
            }),
        }
    }

    /// Other bounds from now on; what is there stays.
    pub(super) fn set_bounds(&self, bounds: QueueBounds) {
        self.inner.lock().bounds = bounds;
    }

    /// Takes it, or counts it. Never waits.
    pub(super) fn push(&self, entry: SinkEntry) {
        let mut waiting = self.inner.lock();
        let bytes = waiting.bytes.saturating_add(entry.length());
        let has_room =
            waiting.entries.len() < waiting.bounds.records && bytes <= waiting.bounds.bytes;
        if has_room {
            waiting.bytes = bytes;
            self.state.set_waiting_bytes(bytes);
            waiting.entries.push_back(entry);
        } else if let Some(seq) = entry.seq() {
            self.state.dropped(seq, seq, 1, QUEUE_FULL);
            // Nothing before it waits for it.
            if waiting.entries.is_empty() {
                self.state.move_to(seq.saturating_add(1));
            }
        }
    }

    /// The first entries, which stay until they are done.
    pub(super) fn first(&self, most: QueueBounds) -> Vec<SinkEntry> {
        let waiting = self.inner.lock();
        let mut bytes = 0_usize;
        let fits = waiting.entries.iter().take(most.records).take_while(|one| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(one.length().max(1));
            is_first || bytes <= most.bytes
        });
        fits.cloned().collect()
    }

    /// So many of the first entries need not be kept any more. Whether nothing waits now.
    pub(super) fn done(&self, count: usize) -> bool {
        let mut waiting = self.inner.lock();
        let count = count.min(waiting.entries.len());
        let freed: usize = waiting.entries.drain(..count).map(|one| one.length()).sum();
        waiting.bytes = waiting.bytes.saturating_sub(freed);
        self.state.set_waiting_bytes(waiting.bytes);
        waiting.entries.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inner.lock().entries.is_empty()
    }

    /// Gives everything up, and counts it.
    pub(super) fn give_up(&self, why: &'static str) {
        let mut waiting = self.inner.lock();
        waiting.bytes = 0;
        self.state.set_waiting_bytes(0);
        for seq in waiting.entries.drain(..).filter_map(|one| one.seq()) {
            self.state.dropped(seq, seq, 1, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::audit::sinks::board::{SinkBoard, TrailProgress};
    use crate::audit::sinks::settings::SinkFailurePolicy;
    use crate::clock::UnixMillis;

    fn entry(seq: u64, length: usize) -> SinkEntry {
        SinkEntry::Record {
            seq,
            line: Bytes::from(vec![b'x'; length]),
        }
    }

    fn seqs(entries: &[SinkEntry]) -> Vec<u64> {
        entries.iter().filter_map(SinkEntry::seq).collect()
    }

    /// Scenario: entries come to a queue of 4 records and 100 bytes, are looked at within the bounds of a batch, and are done. Guarantees: no
    /// more is held than the bounds allow; what finds no room is counted by its number, and nothing else; a batch has one entry at
    /// least, whatever its size.
    #[test]
    fn a_queue_holds_what_it_may() {
        let state = Arc::new(SinkState::new("one", "otlp", 0));
        let bounds = |records, bytes| QueueBounds { records, bytes };
        let queue = SinkQueue::new(state.clone(), bounds(4, 100));
        for (seq, length) in [(0, 40), (1, 40), (2, 30), (3, 10), (4, 10), (5, 0)] {
            queue.push(entry(seq, length));
        }
        // 2 was too long, and 5 one too many.
        let all = queue.first(bounds(9, 1000));
        assert_eq!(seqs(&all), [0, 1, 3, 4]);
        for (records, bytes, expected) in [
            (2, 1000, vec![0, 1]),
            (9, 79, vec![0]),
            (9, 80, vec![0, 1]),
            (9, 1, vec![0]),
        ] {
            assert_eq!(seqs(&queue.first(bounds(records, bytes))), expected);
        }
        let board = SinkBoard::new(TrailProgress { next: 6, sealed: 0 });
        board.set_states(vec![state.clone()]);
        let [row] = &board.rows(UnixMillis(0))[..] else {
            panic!("one sink");
        };
        assert_eq!(row.dropped.get(QUEUE_FULL), Some(&2));
        let [(_, gap)] = &board.take_gaps(|_| true)[..] else {
            panic!("one gap");
        };
        assert_eq!((gap.first, gap.last, gap.records), (2, 5, 2));
        assert!(!queue.done(3) && queue.done(9));
        assert!(board.take_gaps(|_| true).is_empty());
    }

    /// Scenario: a sink that must have every record falls behind, by records and by bytes, and catches up; one that need not does as
    /// well. Guarantees: calls are refused exactly while the first one has no room.
    #[test]
    fn calls_are_refused_while_there_is_no_room() {
        let rows = [
            (SinkFailurePolicy::Refuse, 9, 0, false),
            (SinkFailurePolicy::Refuse, 10, 0, true),
            (SinkFailurePolicy::Refuse, 0, 99, false),
            (SinkFailurePolicy::Refuse, 0, 100, true),
            (SinkFailurePolicy::Drop, 1000, 1000, false),
        ];
        for (policy, records, bytes, expected) in rows {
            let board = SinkBoard::new(TrailProgress { next: 0, sealed: 0 });
            let state = Arc::new(SinkState::new("one", "otlp", 0));
            state.set_policy(policy, 10, 100);
            board.set_states(vec![state.clone()]);
            assert!(!board.is_full());
            state.set_waiting_bytes(bytes);
            board.advance(|progress| progress.next = records);
            assert_eq!(board.is_full(), expected, "{policy:?} {records} {bytes}");
            state.set_waiting_bytes(0);
            state.move_to(records);
            board.look();
            assert!(!board.is_full());
        }
    }
}
