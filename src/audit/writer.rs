//! The thread that empties the queue.
//!
//! What it does: numbers records and appends them as JSON lines. What it refuses to know: what a record means, and what
//! the lines go to. Invariants: a record that a broken sink cannot take is kept and tried again (`refuse`) or counted and
//! told of later (`continue`); what is counted as lost is in no file, and what is counted as written is in one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::line;
use super::sequence::Sequence;
use super::sink::{Batch, Lines, Sink};
use super::{OnFailure, Record};
use crate::limits::Reservation;

/// Records written with one system call.
const BATCH_RECORDS: usize = 256;
/// Where many records come, the writer looks again after this long instead of being woken for each.
const LULL: Duration = Duration::from_millis(2);
/// Where few do: nothing waits for them, and a wakening costs more than a record.
const LONG_LULL: Duration = Duration::from_millis(10);
/// So many in one lull are many.
const MANY_RECORDS: usize = 16;
/// Between two tries on a broken sink.
const RETRY: Duration = Duration::from_millis(250);

pub(super) enum QueueEntry {
    Record(Box<Record>, Room),
    Reopen,
    Stop,
}

/// What a record, or one to come, takes of the queue.
pub(super) struct Room {
    pub bytes: Reservation,
    pub _place: Option<Reservation>,
}

/// What an operator can know of the sink.
#[derive(Debug, Default)]
pub struct Health {
    failing: AtomicBool,
    written: AtomicU64,
    lost: AtomicU64,
}

impl Health {
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub(crate) fn written_records(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn lost_records(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn lose(&self, records: u64) {
        self.lost.fetch_add(records, Ordering::Relaxed);
    }
}

/// The sink's own thread: disks block, and must not hold up calls.
pub(super) struct RecordWriter<S> {
    lines: Lines<S>,
    health: Arc<Health>,
    on_failure: OnFailure,
    sequence: Sequence,
    retry: Duration,
}

impl<S: Sink> RecordWriter<S> {
    pub(super) fn new(
        lines: Lines<S>,
        health: Arc<Health>,
        on_failure: OnFailure,
        sequence: Sequence,
    ) -> Self {
        RecordWriter {
            lines,
            health,
            on_failure,
            sequence,
            retry: RETRY,
        }
    }

    pub(super) fn run(mut self, mut entries: mpsc::Receiver<QueueEntry>) {
        let mut queued = Vec::with_capacity(BATCH_RECORDS);
        let mut batch = Batch::default();
        // What the lines take; given back once they are written.
        let mut held = Vec::with_capacity(BATCH_RECORDS);
        while next_entries(&mut entries, &mut queued) {
            let mut stop = false;
            let mut numbered = true;
            let is_busy = queued.len() >= MANY_RECORDS;
            for entry in queued.drain(..) {
                match entry {
                    QueueEntry::Record(mut record, room) => {
                        held.push(room);
                        // One try for each batch, because it waits.
                        let seq = if numbered { self.number() } else { None };
                        numbered = seq.is_some();
                        let Some(seq) = seq else {
                            self.health.lose(1);
                            continue;
                        };
                        record.seq = seq;
                        batch.add(|bytes| line::write(&record, bytes));
                    }
                    QueueEntry::Reopen => self.reopen(&mut batch),
                    QueueEntry::Stop => stop = true,
                }
            }
            self.write(&mut batch);
            held.clear();
            if stop {
                break;
            }
            std::thread::sleep(if is_busy { LULL } else { LONG_LULL });
        }
        self.close();
    }

    fn close(&mut self) {
        self.health.lose(self.lines.close());
        self.sequence.close();
    }

    /// Records that came before the rotation go to the file that was rotated away.
    fn reopen(&mut self, batch: &mut Batch) {
        self.write(batch);
        if let Err(error) = self.lines.reopen() {
            tracing::error!(%error, "audit file cannot be reopened: the old one is kept");
        }
    }

    /// The next record's number. While none can be kept none is given, because the next process could give it again: a full
    /// disk stops numbers as it stops records.
    fn number(&mut self) -> Option<u64> {
        loop {
            match self.sequence.take() {
                Ok(number) => return Some(number),
                Err(error) => self.stumble(&error),
            }
            if self.on_failure == OnFailure::Continue {
                return None;
            }
        }
    }

    /// Writes all of it, or waits until it can be written, or loses what the sink has no part of.
    fn write(&mut self, batch: &mut Batch) {
        if batch.is_empty() && !self.lines.is_torn() {
            return;
        }
        loop {
            let (whole, appended) = self.lines.append(batch);
            self.health.written.fetch_add(whole, Ordering::Relaxed);
            let Err(error) = appended else { break };
            self.stumble(&error);
            if self.on_failure == OnFailure::Continue {
                self.health.lose(batch.clear());
                return;
            }
        }
        if self.health.failing.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                lost = self.health.lost_records(),
                "audit records are written again"
            );
        }
    }

    fn stumble(&mut self, error: &io::Error) {
        if !self.health.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "audit records cannot be written");
        }
        std::thread::sleep(self.retry);
        // The file may have been replaced by one that can be written.
        let _ = self.lines.reopen();
    }
}

/// Waits for records; false when there will be none. Callers pay for waking this thread: it has slept before it comes here,
/// and waits to be woken only where none came meanwhile.
fn next_entries(entries: &mut mpsc::Receiver<QueueEntry>, queued: &mut Vec<QueueEntry>) -> bool {
    entries.blocking_recv_many(queued, BATCH_RECORDS) > 0
}

#[cfg(test)]
mod tests;
