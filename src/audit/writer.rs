//! The thread that empties the queue.
//!
//! What it does: numbers records and appends them as JSON lines. What it refuses to know: what a record means, and what
//! the lines go to. Invariants: a record that a broken sink cannot take is kept and tried again (`refuse`) or counted and
//! told of later (`continue`); what is counted as lost is in no file, and what is counted as written is in one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use super::line;
use super::rotate::Rotator;
use super::seal::Sealer;
use super::sequence::Sequence;
use super::sink::{Batch, Lines, Sink};
use super::sinks::SinkTap;
use super::{Durability, OnFailure, Record};
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
    /// The same; told once it is on the disk.
    Attested(Box<Record>, Room, oneshot::Sender<()>),
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
    /// `None`: the trail has no checkpoints.
    sealer: Option<Sealer>,
    /// What tells the sinks besides.
    tap: Option<SinkTap>,
    durability: Durability,
    /// `None`: the file is rotated from outside.
    rotator: Option<Rotator>,
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
            sealer: None,
            tap: None,
            durability: Durability::Interval,
            rotator: None,
            retry: RETRY,
        }
    }

    /// Has checkpoints made.
    pub(super) fn sealed_by(mut self, sealer: Option<Sealer>) -> Self {
        self.sealer = sealer;
        self
    }

    /// Has sinks told of what is written.
    pub(super) fn heard_by(mut self, tap: Option<SinkTap>) -> Self {
        self.tap = tap;
        self
    }

    /// Has new files begun.
    pub(super) fn rotated_by(mut self, rotator: Option<Rotator>) -> Self {
        self.rotator = rotator;
        self
    }

    /// Has records brought to the disk.
    pub(super) fn durable(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    pub(super) fn run(mut self, mut entries: mpsc::Receiver<QueueEntry>) {
        let mut queued = Vec::with_capacity(BATCH_RECORDS);
        let mut batch = Batch::default();
        // What the lines take; given back once they are written.
        let mut held = Vec::with_capacity(BATCH_RECORDS);
        let mut told = Vec::new();
        let waiting = RecordWait::new(self.sealer.is_some());
        while waiting.next_entries(&mut entries, &mut queued, self.due()) {
            let mut stop = false;
            let mut numbered = true;
            let is_busy = queued.len() >= MANY_RECORDS;
            for entry in queued.drain(..) {
                let (mut record, room) = match entry {
                    QueueEntry::Record(record, room) => (record, room),
                    QueueEntry::Attested(record, room, waits) => {
                        told.push(waits);
                        (record, room)
                    }
                    QueueEntry::Reopen => {
                        self.reopen(&mut batch);
                        continue;
                    }
                    QueueEntry::Stop => {
                        stop = true;
                        continue;
                    }
                };
                held.push(room);
                // One try for each batch, because it waits.
                let seq = if numbered { self.number() } else { None };
                numbered = seq.is_some();
                let Some(seq) = seq else {
                    self.health.lose(1);
                    continue;
                };
                record.seq = seq;
                self.add(&record, &mut batch);
            }
            self.write(&mut batch);
            held.clear();
            let is_written = !self.health.is_failing();
            for waits in told.drain(..).filter(|_| is_written) {
                // The answer that waited may have been given up.
                let _ = waits.send(());
            }
            if stop {
                break;
            }
            self.seal(&mut batch, false);
            self.rotate(&mut batch);
            // Where calls wait for the disk, the disk is what gathers them.
            if self.durability == Durability::Interval {
                std::thread::sleep(if is_busy { LULL } else { LONG_LULL });
            }
        }
        self.close();
    }

    fn add(&mut self, record: &Record, batch: &mut Batch) {
        let line = batch.add(|bytes| line::write(record, bytes));
        if let Some(sealer) = &mut self.sealer {
            sealer.queue(record.seq, line);
        }
        if let Some(tap) = &mut self.tap {
            tap.queue(record.seq, line);
        }
    }

    /// When something is to be done though no record comes.
    fn due(&self) -> Option<Instant> {
        self.sealer.as_ref().and_then(Sealer::due)
    }

    /// Makes a checkpoint, if one is due: behind a record of its own, and once all is on the disk. `at_once`: of whatever there is.
    fn seal(&mut self, batch: &mut Batch, at_once: bool) {
        let is_due = |sealer: &Sealer| sealer.is_due(at_once);
        if !self.sealer.as_ref().is_some_and(is_due) || self.lines.is_torn() {
            return;
        }
        let Some(seq) = self.number() else { return };
        let Some(sealer) = &self.sealer else { return };
        let announced = Record {
            seq,
            ..sealer.announcement()
        };
        self.add(&announced, batch);
        self.write(batch);
        let synced = self.lines.sync();
        let Some(sealer) = &mut self.sealer else {
            return;
        };
        let sealed = synced.and_then(|()| match self.lines.place() {
            Some(place) => sealer.seal(place),
            None => Err(io::ErrorKind::Unsupported.into()),
        });
        match (sealed, &mut self.tap) {
            (Ok((size, note)), Some(tap)) => tap.sealed(size, &note),
            (Ok(_), None) => {}
            (Err(error), _) => {
                tracing::error!(%error, "no checkpoint of the audit trail: it is tried again");
            }
        }
    }

    fn close(&mut self) {
        self.seal(&mut Batch::default(), true);
        self.health.lose(self.lines.close());
        self.sequence.close();
    }

    /// Records that came before the rotation go to the file that was rotated away.
    fn reopen(&mut self, batch: &mut Batch) {
        self.write(batch);
        self.seal(batch, true);
        if let Err(error) = self.lines.reopen() {
            tracing::error!(%error, "audit file cannot be reopened: the old one is kept");
        }
    }

    /// Begins a new file, if the present one has had its time.
    fn rotate(&mut self, batch: &mut Batch) {
        let place = self.lines.place();
        let is_due = |rotator: &mut Rotator| place.is_some_and(|place| rotator.is_due(place));
        if !self.rotator.as_mut().is_some_and(is_due) {
            return;
        }
        self.seal(batch, true);
        let Some(rotator) = &mut self.rotator else {
            return;
        };
        let rotated = rotator.move_away().and_then(|moved| {
            self.lines
                .reopen()
                .or_else(|error| rotator.put_back(&moved).and(Err(error)))
        });
        if let Err(error) = rotated {
            rotator.wait();
            tracing::error!(%error, "audit file cannot be rotated: it grows");
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
            if let Some(sealer) = &mut self.sealer {
                sealer.written(whole);
            }
            if let Some(tap) = &mut self.tap {
                tap.written(whole);
            }
            let Err(error) = appended.and_then(|()| self.bring_to_disk()) else {
                break;
            };
            self.stumble(&error);
            if self.on_failure == OnFailure::Continue {
                let lost = batch.clear();
                self.health.lose(lost);
                if let Some(sealer) = &mut self.sealer {
                    sealer.lost(lost);
                }
                if let Some(tap) = &mut self.tap {
                    tap.lost(lost);
                }
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

    fn bring_to_disk(&mut self) -> io::Result<()> {
        match self.durability {
            Durability::EveryRecord => self.lines.sync(),
            Durability::Interval => Ok(()),
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

/// How records are waited for.
struct RecordWait(Option<Runtime>);

impl RecordWait {
    /// `is_timed`: something may be due while none comes.
    fn new(is_timed: bool) -> Self {
        let runtime = || Builder::new_current_thread().enable_time().build();
        RecordWait(is_timed.then(runtime).and_then(|built| {
            built
                .inspect_err(
                    |error| tracing::error!(%error, "checkpoints are made with the next record"),
                )
                .ok()
        }))
    }

    /// Waits for records, or until `due`; false when there will be none. Callers pay for waking this thread: it has slept before
    /// it comes here, and waits to be woken only where none came meanwhile.
    fn next_entries(
        &self,
        entries: &mut mpsc::Receiver<QueueEntry>,
        queued: &mut Vec<QueueEntry>,
        due: Option<Instant>,
    ) -> bool {
        let (Some(runtime), Some(due)) = (&self.0, due) else {
            return entries.blocking_recv_many(queued, BATCH_RECORDS) > 0;
        };
        let received = runtime.block_on(async {
            let some = entries.recv_many(queued, BATCH_RECORDS);
            tokio::time::timeout_at(due.into(), some).await
        });
        received.is_err() || received.is_ok_and(|records| records > 0)
    }
}

#[cfg(test)]
mod tests;
