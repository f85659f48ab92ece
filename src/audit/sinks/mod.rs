//! Where the trail goes besides its file.
//!
//! What it does: keeps a thread for each sink, and changes them with the configuration. What it refuses to know: records, and what a
//! call is told. Invariants: no sink waits for another, and the trail waits for none; where the trail is a file that stays, the
//! file is what waits for a sink, so that nothing is lost by a restart; elsewhere a queue in memory does, which is bounded.

mod board;
mod entry;
mod fault;
mod follow;
mod kept;
mod otlp;
mod outlet;
mod queue;
mod run;
mod settings;
mod syslog;
mod tap;
mod witness;
mod witnessing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use board::{SinkBoard, SinkGap, SinkRow};
use board::{SinkState, TrailProgress};
use fault::OutletFault;
use follow::{FollowerPlace, TrailFollower};
use kept::KeptSinkPlace;
use outlet::SinkOutlet;
use queue::{QueueBounds, SinkQueue};
use run::{FileFeed, SinkFeed, SinkOrder, SinkRunner};
pub use settings::{
    OtlpSinkSettings, SinkFailurePolicy, SinkKind, SinkSettings, SyslogSinkSettings, SyslogTls,
    WitnessSettings,
};
use tap::SinkQueues;
pub(super) use tap::SinkTap;
use witness::WitnessOutlet;
pub(crate) use witness::cosigned_beside;
use witnessing::WitnessRunner;

use super::seal::NewestCheckpoint;
use crate::clock::Clock;
use crate::lock::Mutex;

/// Why a record in memory is left out when a sink goes.
const SINK_ENDED: &str = "ended";

/// A sink that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("audit sink `{name}`")]
pub struct UnopenedSink {
    name: String,
    #[source]
    cause: UnopenedCause,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct UnopenedCause(OutletFault);

/// The sinks of one trail.
pub(super) struct Sinks {
    board: Arc<SinkBoard>,
    queues: SinkQueues,
    /// The trail's file, where it stays, and that of its checkpoints.
    audit: Option<PathBuf>,
    checkpoints: Option<PathBuf>,
    newest: NewestCheckpoint,
    clock: Clock,
    running: Mutex<Vec<RunningSink>>,
    /// By name: what was counted outlives a change of settings.
    states: Mutex<BTreeMap<String, Arc<SinkState>>>,
    /// How often settings were looked at.
    turn: AtomicU64,
}

struct RunningSink {
    settings: SinkSettings,
    queue: Option<Arc<SinkQueue>>,
    orders: watch::Sender<SinkOrder>,
    thread: Option<JoinHandle<()>>,
}

/// Whether each of them could be set up now. Nothing is connected to.
pub(super) fn probe(settings: &[SinkSettings], clock: &Clock) -> Result<(), UnopenedSink> {
    settings.iter().try_for_each(|one| {
        let opened = match &one.kind {
            SinkKind::Witness(witness) => WitnessOutlet::open(witness).map(drop),
            _ => SinkOutlet::open(one, clock).map(drop),
        };
        opened.map_err(|cause| UnopenedSink {
            name: one.name.clone(),
            cause: UnopenedCause(cause),
        })
    })
}

impl Sinks {
    /// `audit`: the trail's file, if it stays; `next` and `sealed`: how far a start found it.
    pub(super) fn new(
        audit: Option<&Path>,
        checkpoints: Option<&Path>,
        (next, sealed): (u64, u64),
        newest: NewestCheckpoint,
        clock: Clock,
    ) -> Self {
        Sinks {
            board: SinkBoard::new(TrailProgress { next, sealed }),
            queues: SinkQueues::default(),
            audit: audit.map(Path::to_owned),
            checkpoints: checkpoints.map(Path::to_owned),
            newest,
            clock,
            running: Mutex::default(),
            states: Mutex::default(),
            turn: AtomicU64::new(0),
        }
    }

    pub(super) fn board(&self) -> &Arc<SinkBoard> {
        &self.board
    }

    /// What the writer tells them by.
    pub(super) fn tap(&self) -> SinkTap {
        SinkTap::new(self.board.clone(), self.queues.clone())
    }

    /// Has these sinks from now on. Those that stay as they were read their keys and certificates again.
    pub(super) fn set(&self, settings: &[SinkSettings]) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) + 1;
        let mut running = self.running.lock();
        let mut before = std::mem::take(&mut *running);
        let mut ended = Vec::new();
        for one in settings {
            let place = before
                .iter()
                .position(|known| known.settings.name == one.name);
            let known = place.map(|place| before.swap_remove(place));
            match known {
                Some(known) if known.settings == *one => {
                    known.orders.send_replace(SinkOrder::Send(turn));
                    running.push(known);
                }
                known => {
                    let (queue, thread) = match known {
                        Some(mut known) => {
                            known.orders.send_replace(SinkOrder::End(Instant::now()));
                            (known.queue, known.thread.take())
                        }
                        None => (None, None),
                    };
                    running.push(self.start(one, queue, thread));
                }
            }
        }
        ended.append(&mut before);
        for gone in ended {
            gone.orders.send_replace(SinkOrder::End(Instant::now()));
            if let Some(queue) = gone.queue {
                queue.give_up(SINK_ENDED);
            }
        }
        let queues = running.iter().filter_map(|one| one.queue.clone()).collect();
        self.queues.store(Arc::new(queues));
        let states = self.states.lock();
        let states = running
            .iter()
            .filter_map(|one| states.get(&one.settings.name).cloned());
        self.board.set_states(states.collect());
    }

    /// `before`: the thread of the sink of this name, which is ending.
    fn start(
        &self,
        settings: &SinkSettings,
        queue: Option<Arc<SinkQueue>>,
        before: Option<JoinHandle<()>>,
    ) -> RunningSink {
        // Before the progress: what is appended between is stated by it.
        let notes = self.checkpoints.as_deref().map_or(0, length);
        let progress = self.board.progress();
        let state = self.state(settings, progress.next);
        state.set_policy(
            settings.on_failure,
            settings.queue_records,
            settings.queue_bytes,
        );
        if let SinkKind::Witness(witness) = &settings.kind {
            return self.start_witness(settings, witness.clone(), state, before);
        }
        let file = self.audit.as_deref().filter(|_| settings.resumes);
        let queue = match file {
            Some(_) => {
                if let Some(queue) = queue {
                    queue.give_up(SINK_ENDED);
                }
                None
            }
            None => Some(self.queue(settings, &state, queue)),
        };
        let (orders, taken) = watch::channel(SinkOrder::Send(0));
        let (audit, checkpoints) = (file.map(Path::to_owned), self.checkpoints.clone());
        let present = FollowerPlace {
            next: progress.next,
            sealed: progress.sealed,
            notes,
        };
        let waiting = queue.clone();
        let (board, clock, own) = (self.board.clone(), self.clock.clone(), settings.clone());
        let shown = state.clone();
        let run = move || {
            // One at a time keeps where this sink is.
            if let Some(before) = before {
                let _ = before.join();
            }
            let feed = match (&audit, waiting) {
                (Some(audit), _) => file_feed(audit, checkpoints.as_deref(), &own.name, present),
                (None, Some(queue)) => SinkFeed::Memory(queue),
                (None, None) => return,
            };
            if let Some(next) = feed.next() {
                shown.move_to(next);
                board.look();
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => {
                    let runner = SinkRunner {
                        settings: own,
                        state: shown,
                        board,
                        feed,
                        clock,
                        orders: taken,
                    };
                    runtime.block_on(runner.run());
                }
                Err(error) => tracing::error!(%error, "a sink of the audit trail cannot run"),
            }
        };
        let thread = std::thread::Builder::new()
            .name("audit-sink".to_owned())
            .spawn(run)
            .inspect_err(|error| {
                tracing::error!(%error, sink = settings.name, "a sink of the audit trail cannot run");
                state.failed("no_thread");
            });
        RunningSink {
            settings: settings.clone(),
            queue,
            orders,
            thread: thread.ok(),
        }
    }

    fn start_witness(
        &self,
        settings: &SinkSettings,
        witness: WitnessSettings,
        state: Arc<SinkState>,
        before: Option<JoinHandle<()>>,
    ) -> RunningSink {
        let (orders, taken) = watch::channel(SinkOrder::Send(0));
        let runner = self.audit.clone().zip(self.checkpoints.clone());
        let runner = runner.map(|(audit, checkpoints)| WitnessRunner {
            name: settings.name.clone(),
            settings: witness,
            audit,
            checkpoints,
            newest: self.newest.clone(),
            state: state.clone(),
            board: self.board.clone(),
            orders: taken,
        });
        let run = move || {
            if let Some(before) = before {
                let _ = before.join();
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match (runtime, runner) {
                (Ok(runtime), Some(runner)) => runtime.block_on(runner.run()),
                (Err(error), _) => {
                    tracing::error!(%error, "a witness of the audit trail cannot be asked")
                }
                // A trail that does not stay has no checkpoints.
                (Ok(_), None) => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("audit-witness".to_owned())
            .spawn(run)
            .inspect_err(|error| {
                tracing::error!(%error, witness = settings.name, "a witness of the audit trail cannot be asked");
                state.failed("no_thread");
            });
        RunningSink {
            settings: settings.clone(),
            queue: None,
            orders,
            thread: thread.ok(),
        }
    }

    fn state(&self, settings: &SinkSettings, next: u64) -> Arc<SinkState> {
        let mut states = self.states.lock();
        let kind = settings.kind.word();
        let known = states.get(&settings.name).filter(|one| one.kind == kind);
        let state = match known {
            Some(known) => known.clone(),
            None => Arc::new(SinkState::new(&settings.name, kind, next)),
        };
        states.insert(settings.name.clone(), state.clone());
        state
    }

    fn queue(
        &self,
        settings: &SinkSettings,
        state: &Arc<SinkState>,
        before: Option<Arc<SinkQueue>>,
    ) -> Arc<SinkQueue> {
        // Calls that were let in find room behind the bound at which others are refused.
        let factor = match settings.on_failure {
            SinkFailurePolicy::Drop => 1,
            SinkFailurePolicy::Refuse => 2,
        };
        let size = |bound: u64| usize::try_from(bound.saturating_mul(factor)).unwrap_or(usize::MAX);
        let bounds = QueueBounds {
            records: size(settings.queue_records),
            bytes: size(settings.queue_bytes),
        };
        match before {
            Some(queue) => {
                queue.set_bounds(bounds);
                queue
            }
            None => Arc::new(SinkQueue::new(state.clone(), bounds)),
        }
    }

    /// Ends them: what is there is sent within `patience`; what waits in a file waits for the next start.
    pub(super) fn close(&self, patience: Duration) {
        let mut running = std::mem::take(&mut *self.running.lock());
        let until = Instant::now() + patience;
        for one in &running {
            one.orders.send_replace(SinkOrder::End(until));
        }
        // A thread whose receiver takes nothing ends by itself; one that standard output holds, with the process.
        let late = until + CLOSING;
        let is_left = |one: &RunningSink| one.thread.as_ref().is_some_and(|it| !it.is_finished());
        while running.iter().any(is_left) && Instant::now() < late {
            std::thread::sleep(Duration::from_millis(5));
        }
        for one in &mut running {
            if let Some(thread) = one.thread.take_if(|thread| thread.is_finished()) {
                let _ = thread.join();
            }
            if let Some(queue) = &one.queue {
                queue.give_up(SINK_ENDED);
            }
        }
    }
}

/// For a connection to end in order.
const CLOSING: Duration = Duration::from_secs(3);

/// In bytes; 0 where there is nothing.
fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// Where a sink goes on: where it was, or, if it is new, with what comes.
fn file_feed(
    audit: &Path,
    checkpoints: Option<&Path>,
    name: &str,
    present: FollowerPlace,
) -> SinkFeed {
    let mut kept = KeptSinkPlace::beside(audit, name);
    let follower = |place| TrailFollower::new(audit, checkpoints, place);
    let follower = match kept.read() {
        Ok(Some(place)) if place.next <= present.next => follower(place),
        Ok(Some(_)) => {
            tracing::warn!(
                sink = name,
                "where the sink was is beyond the trail: it goes on with what comes"
            );
            follower(present)
        }
        Ok(None) => {
            // Before the first record: a process that is killed now has lost none.
            if let Err(error) = kept.keep(present) {
                tracing::error!(%error, sink = name, "where a sink of the audit trail is cannot be kept");
            }
            follower(present)
        }
        Err(error) => {
            tracing::error!(%error, sink = name, "where the sink was cannot be read: it sends all that there is");
            follower(FollowerPlace::default()).starting_at_the_oldest()
        }
    };
    SinkFeed::File(Box::new(FileFeed::new(follower, kept)))
}
