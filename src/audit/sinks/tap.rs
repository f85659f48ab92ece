//! What the writer of the trail tells the sinks.
//!
//! What it does: follows lines from their number to the file, and hands those that stand there to queues in memory, if there are
//! any. What it refuses to know: files and sinks. Invariants: a sink gets no line that the trail does not have; a line is
//! copied once, whatever number of queues there is, and not at all where there is none.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::board::SinkBoard;
use super::entry::SinkEntry;
use super::queue::SinkQueue;

/// Queues in memory that want every line.
pub(super) type SinkQueues = Arc<ArcSwap<Vec<Arc<SinkQueue>>>>;

/// The writer's own.
pub(in crate::audit) struct SinkTap {
    board: Arc<SinkBoard>,
    queues: SinkQueues,
    /// Lines that no file has yet, by number; their bytes where a queue wants them.
    pending: VecDeque<(u64, Option<Bytes>)>,
}

impl SinkTap {
    pub(super) fn new(board: Arc<SinkBoard>, queues: SinkQueues) -> Self {
        SinkTap {
            board,
            queues,
            pending: VecDeque::new(),
        }
    }

    /// A line that is about to be written.
    pub(in crate::audit) fn queue(&mut self, seq: u64, line: &[u8]) {
        let is_wanted = !self.queues.load().is_empty();
        let line = is_wanted.then(|| Bytes::copy_from_slice(line));
        self.pending.push_back((seq, line));
    }

    /// So many of the queued lines stand in a file now.
    pub(in crate::audit) fn written(&mut self, lines: u64) {
        let count = usize::try_from(lines).unwrap_or(usize::MAX);
        let count = count.min(self.pending.len());
        let mut next = None;
        let queues = self.queues.load();
        for (seq, line) in self.pending.drain(..count) {
            next = Some(seq.saturating_add(1));
            if let Some(line) = line {
                for queue in queues.iter() {
                    let line = line.clone();
                    queue.push(SinkEntry::Record { seq, line });
                }
            }
        }
        if let Some(next) = next {
            self.board.advance(|progress| progress.next = next);
        }
    }

    /// So many of the queued lines, the last ones, never will.
    pub(in crate::audit) fn lost(&mut self, lines: u64) {
        let lost = usize::try_from(lines).unwrap_or(usize::MAX);
        self.pending
            .truncate(self.pending.len().saturating_sub(lost));
    }

    /// A checkpoint of so many records was made.
    pub(in crate::audit) fn sealed(&mut self, size: u64, note: &str) {
        let queues = self.queues.load();
        if !queues.is_empty() {
            let note = Bytes::copy_from_slice(note.as_bytes());
            for queue in queues.iter() {
                let note = note.clone();
                queue.push(SinkEntry::Checkpoint { size, note });
            }
        }
        self.board.advance(|progress| progress.sealed = size);
    }
}
