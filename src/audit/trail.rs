//! The bounded queue to the sink.
//!
//! What it does: gives out slots before a call is forwarded, and takes records. What it refuses to know: what a record
//! means, and how it is written. Invariants: a call that holds a slot will be
//! recorded; the queue never grows past its bounds, in records and in bytes, and calls from one network hold no more of
//! it than they leave (`limits::Budget`).

use std::fs::OpenOptions;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::oneshot;

use super::kept::FoundLines;
use super::record::SMALL_BYTES;
use super::rotate::Rotator;
use super::seal::{NewestCheckpoint, SealFault, Sealer, signers};
use super::sequence::{Gap, Sequence, SequenceFault};
use super::sink::{Lines, Sink as _, TrailOutput};
use super::sinks::{self, SinkBoard, Sinks, UnopenedSink};
use super::writer::{Health, QueueEntry, RecordWriter, Room};
use super::{AuditSettings, Durability, OnFailure, Record, SinkSettings};
use crate::clock::Clock;
use crate::limits::{Account, Budget, Spent, address_block};
use crate::lock::Mutex;

/// How long a start waits for the process before, which may drain and write on: longer than `limits.drain_timeout` is by default.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(60);
/// The front of the trail; shared by all calls.
pub struct Trail {
    /// Where records go, if that is a file.
    file: Option<PathBuf>,
    queue: mpsc::Sender<QueueEntry>,
    /// What records in the queue, and those to come for which a slot is held, may take.
    memory: Arc<Budget>,
    /// The same, counted in records, of calls alone.
    places: Arc<Budget>,
    /// Of what no call is answerable for.
    account: Account,
    limit_bytes: u64,
    health: Arc<Health>,
    on_failure: OnFailure,
    durability: Durability,
    gap: Option<Gap>,
    cut_bytes: u64,
    newest: NewestCheckpoint,
    writer: Mutex<Option<JoinHandle<()>>>,
    sinks: Sinks,
}

/// A place in the queue, kept for one call's record, with as much memory as a record takes at least.
pub(crate) struct Slot(OwnedPermit<QueueEntry>, Room);

/// The call cannot be recorded now, and the trail is configured to refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritable {
    /// The sink fails, or the queue is full.
    Queue,
    /// Calls from the same network hold their share of the queue.
    Share,
    /// A sink that must have every record is too far behind.
    Sink,
}

/// Why there is no trail.
#[derive(Debug, thiserror::Error)]
pub enum TrailFault {
    #[error("the audit file cannot be opened")]
    Unopened(#[source] io::Error),
    #[error(transparent)]
    Sequence(#[from] SequenceFault),
    #[error(transparent)]
    Seal(#[from] SealFault),
    #[error(transparent)]
    Sink(#[from] UnopenedSink),
    #[error("the audit thread cannot be started")]
    Thread(#[source] io::Error),
}

impl Trail {
    /// Opens the sink and starts its thread.
    pub fn open(settings: &AuditSettings, clock: Clock) -> Result<Self, TrailFault> {
        let file = settings.file.as_deref();
        let mut output = TrailOutput::open(file).map_err(TrailFault::Unopened)?;
        let (mut sequence, gap) = Sequence::open(file, PREDECESSOR_PATIENCE)?;
        let rotator = file
            .zip(settings.rotation)
            .map(|(path, rotation)| Rotator::new(path, rotation, clock.clone()));
        sinks::probe(&settings.sinks, &clock)?;
        let (time, newest) = (clock.clone(), NewestCheckpoint::default());
        let mut sealed = 0;
        let mut cut_bytes = 0;
        let sealer = match (&settings.seal, file) {
            (None, _) => None,
            (Some(_), None) => return Err(SealFault::NoFile.into()),
            (Some(seal), Some(path)) => {
                // The process before may have rotated it while it was waited for.
                if let Some(next) = output.successor().map_err(TrailFault::Unopened)? {
                    output = next;
                }
                output.place().ok_or(SealFault::NoFile)?;
                let (sealer, found) = Sealer::open(seal, path, clock, newest.clone())?;
                sequence.begin_at(sealer.edge().size());
                sealed = sealer.sealed();
                tell(path, &found);
                cut_bytes = found.cut_bytes;
                Some(sealer)
            }
        };
        let staying = file.filter(|_| output.place().is_some());
        let checkpoints = settings
            .seal
            .as_ref()
            .map(|seal| seal.checkpoints.as_path());
        let sinks = Sinks::new(
            staying,
            checkpoints,
            (sequence.next(), sealed),
            newest.clone(),
            time,
        );
        let tap = sinks.tap();
        let records = settings.queue_records.max(1);
        // A call that waits for the disk holds a second place while it has one for its record.
        let (queue, entries) = mpsc::channel(match settings.durability {
            Durability::Interval => records,
            Durability::EveryRecord => records.saturating_mul(2),
        });
        let health = Arc::new(Health::default());
        let (shared, on_failure) = (health.clone(), settings.on_failure);
        let durability = settings.durability;
        let writer = std::thread::Builder::new()
            .name("audit".to_owned())
            // The process before, which may have drained until now, writes no more.
            .spawn(move || {
                RecordWriter::new(Lines::new(output), shared, on_failure, sequence)
                    .sealed_by(sealer)
                    .heard_by(Some(tap))
                    .durable(durability)
                    .rotated_by(rotator)
                    .run(entries)
            })
            .map_err(TrailFault::Thread)?;
        let memory = Budget::new(settings.queue_bytes);
        let account = memory.gateway();
        let limit_bytes = settings.queue_bytes;
        // One more, so that a queue of one record can be used.
        let places = Budget::new((settings.queue_records.max(1) as u64).saturating_add(1));
        let writer = Mutex::new(Some(writer));
        sinks.set(&settings.sinks);
        Ok(Trail {
            file: settings.file.clone(),
            queue,
            memory,
            places,
            account,
            limit_bytes,
            health,
            on_failure,
            durability,
            gap,
            cut_bytes,
            newest,
            writer,
            sinks,
        })
    }

    /// Whether `open` would go well now: nothing is created, and nothing is held open.
    pub fn probe(settings: &AuditSettings) -> Result<(), TrailFault> {
        if let Some(seal) = &settings.seal {
            signers(seal)?;
        }
        sinks::probe(&settings.sinks, &Clock::system())?;
        let Some(path) = settings.file.as_deref() else {
            return match settings.seal {
                Some(_) => Err(SealFault::NoFile.into()),
                None => Ok(()),
            };
        };
        match std::fs::metadata(path) {
            // Opening a pipe would wait for its reader.
            Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
            Ok(_) => OpenOptions::new()
                .append(true)
                .open(path)
                .map(drop)
                .map_err(TrailFault::Unopened),
            Err(_) => creatable(path).map_err(TrailFault::Unopened),
        }?;
        Ok(Sequence::probe(path)?)
    }

    /// Opens the file anew, after it was rotated away, and has these sinks from now on. Those that stay read their keys again.
    pub(crate) fn renew(&self, settings: &[SinkSettings]) {
        self.reopen();
        self.sinks.set(settings);
    }

    /// Whether these sinks could be set up now.
    pub(crate) fn probe_sinks(settings: &[SinkSettings], clock: &Clock) -> Result<(), TrailFault> {
        Ok(sinks::probe(settings, clock)?)
    }

    /// How the sinks are.
    pub(crate) fn sinks(&self) -> &SinkBoard {
        self.sinks.board()
    }

    /// The numbers that the process before took and, perhaps, did not use: it did not end cleanly.
    pub(crate) fn gap(&self) -> Option<Gap> {
        self.gap
    }

    /// What the process before left of a line, and was cut off.
    pub(crate) fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// The file that records are appended to.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.file.clone()
    }

    /// The newest signed checkpoint, as a note.
    pub(crate) fn checkpoint(&self) -> Option<Arc<str>> {
        self.newest.lock().clone()
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Whether a call that comes now would be let through by the trail.
    pub(crate) fn can_record(&self) -> bool {
        let has_room =
            || self.queue.capacity() > 0 && self.account.open().grow(SMALL_BYTES).is_ok();
        if self.sinks().is_full() {
            return false;
        }
        self.on_failure == OnFailure::Continue || (!self.health.is_failing() && has_room())
    }

    /// What the queue may take at most.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// What the queue takes now, with the places that are kept.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.memory.used_bytes()
    }

    /// What records of calls from this address take their place and their memory of. They tell the address's share, and
    /// hold as long as they are kept.
    pub(crate) fn accounts(&self, address: IpAddr) -> [Account; 2] {
        self.accounts_of(address, "call")
    }

    /// One network's records of one kind leave some of its share to those of another.
    fn accounts_of(&self, address: IpAddr, kind: &'static str) -> [Account; 2] {
        [&self.places, &self.memory].map(|budget| {
            budget
                .unproven(address)
                .proven((kind, address_block(address)))
        })
    }

    /// Keeps a place for the record of a call, before anything is forwarded. `accounts`: of its address.
    /// None: the call passes although there is none.
    pub(crate) fn reserve(&self, accounts: &[Account; 2]) -> Result<Option<Slot>, Unwritable> {
        if self.sinks().is_full() {
            return Err(Unwritable::Sink);
        }
        let refuse = self.on_failure == OnFailure::Refuse;
        if refuse && self.health.is_failing() {
            return Err(Unwritable::Queue);
        }
        match self.place(accounts) {
            Ok(slot) => Ok(Some(slot)),
            Err(unwritable) if refuse => Err(unwritable),
            Err(_) => Ok(None),
        }
    }

    fn place(&self, accounts: &[Account; 2]) -> Result<Slot, Unwritable> {
        let room = room(accounts, SMALL_BYTES)?;
        let permit = self
            .queue
            .clone()
            .try_reserve_owned()
            .map_err(|_| Unwritable::Queue)?;
        Ok(Slot(permit, room))
    }

    /// Records an event of the gateway's own. A full queue loses it, counted.
    pub fn note(&self, record: Record) {
        let mut bytes = self.account.open();
        let taken = bytes.grow(record.bytes()).is_ok();
        self.send(
            taken.then_some(Room {
                bytes,
                _place: None,
            }),
            record,
        );
    }

    /// Records a refusal for which no slot was taken. A full queue, and a spent share of it, lose it, counted.
    pub(crate) fn note_refusal(&self, address: IpAddr, record: Record) {
        let accounts = self.accounts_of(address, "refusal");
        self.send(room(&accounts, record.bytes()).ok(), record);
    }

    /// Whether a call is answered only once a record tells of it on the disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.durability == Durability::EveryRecord
    }

    /// Records that a call is about to be answered, and waits until that is on the disk. Whether the call may be answered.
    pub(crate) async fn attest(&self, record: Record) -> bool {
        let may_pass = self.on_failure == OnFailure::Continue;
        let mut bytes = self.account.open();
        if bytes.grow(record.bytes()).is_err() {
            return may_pass;
        }
        let room = Room {
            bytes,
            _place: None,
        };
        let (waits, written) = oneshot::channel();
        let entry = QueueEntry::Attested(Box::new(record), room, waits);
        let sent = self.queue.try_send(entry).is_ok();
        (sent && written.await.is_ok()) || may_pass
    }

    fn send(&self, room: Option<Room>, record: Record) {
        let sent = room.map(|room| {
            self.queue
                .try_send(QueueEntry::Record(Box::new(record), room))
        });
        if !matches!(sent, Some(Ok(()))) {
            self.health.lose(1);
        }
    }

    /// Fills a slot. A record that takes more than the slot has, and more than there is, is shrunk.
    pub(crate) fn fill(&self, slot: Slot, mut record: Record) {
        let Slot(permit, mut room) = slot;
        let mut exact = room.bytes.beside();
        if exact.grow(record.bytes()).is_ok() {
            room.bytes = exact;
        } else if record.bytes() > SMALL_BYTES {
            record.shrink();
        }
        permit.send(QueueEntry::Record(Box::new(record), room));
    }

    /// Opens the file anew, after it was rotated away.
    fn reopen(&self) {
        // A full queue means that the sink is behind; the next reload asks again.
        let _ = self.queue.try_send(QueueEntry::Reopen);
    }

    /// Writes what is queued and ends the thread, then sends what sinks wait for; waits at most about `patience` for each.
    pub fn close(&self, patience: Duration) {
        self.close_writer(patience);
        self.sinks.close(patience);
    }

    fn close_writer(&self, patience: Duration) {
        let Some(writer) = self.writer.lock().take() else {
            return;
        };
        let until = std::time::Instant::now() + patience;
        while self.queue.try_send(QueueEntry::Stop).is_err() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        while !writer.is_finished() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if writer.is_finished() {
            let _ = writer.join();
        }
    }
}

/// Room for one record, within the share of where its cause is: what a call proves is not known yet.
fn room([places, memory]: &[Account; 2], bytes: u64) -> Result<Room, Unwritable> {
    let of = |account: &Account, more: u64| {
        let mut held = account.open();
        match held.grow(more) {
            Ok(()) => Ok(held),
            Err(Spent::Share) => Err(Unwritable::Share),
            Err(Spent::Total) => Err(Unwritable::Queue),
        }
    };
    Ok(Room {
        _place: Some(of(places, 1)?),
        bytes: of(memory, bytes)?,
    })
}

/// Warns of what a start found that no checkpoint can speak for.
fn tell(path: &Path, found: &FoundLines) {
    let file = path.display();
    if found.odd > 0 {
        tracing::warn!(%file, lines = found.odd, "lines that are no records, or stand twice, are left out of the tree");
    }
    if found.is_moved_away {
        tracing::warn!(%file, "the file that was written last is not in the folder: its last records are left out of the tree");
    }
}

/// Whether a file could be created there: another one is, and is taken away at once.
fn creatable(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.probe", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&name)?;
    std::fs::remove_file(&name)
}
