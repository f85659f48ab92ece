//! Work on large bodies, beside the threads that serve.
//!
//! What it does: reads, splits, writes and compresses what is large on threads of its own, as many at a time as there are
//! processors, each caller in turn; what is small is done where it is. What it refuses to know: what the work is.
//! Invariants: a small body never waits for a place, whatever others send; no thread that serves is held for longer than
//! the work on `SMALL_BYTES` takes; a place is not kept while a backend or a caller is waited for.

use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

use std::net::IpAddr;

use super::Shared;
use crate::identify::Facts;
use crate::limits::{CallerKey, FairQueue, FairQueueBounds, Turn, address_block};
use crate::reason::Reason;
use crate::respond::Refusal;

/// What is this long at most is worked on where it is: in an optimised build, for few milliseconds. To change the thread
/// costs more than such a body's work does (`benches/compare`, 512 KiB).
pub(crate) const SMALL_BYTES: usize = 1 << 20;
/// The same for an export of so many resources, each of which costs a decision and a stamp.
pub(crate) const SMALL_GROUPS: usize = 1024;

/// How many wait at once; the memory budget leaves room for fewer of the larger ones.
const WAITING: usize = 8192;
/// The longest wait: about as long as a body may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The places for work on large bodies.
pub struct LargeBodies {
    pub queue: FairQueue<CallerKey>,
}

impl Default for LargeBodies {
    fn default() -> Self {
        let places = std::thread::available_parallelism().map_or(2, usize::from);
        LargeBodies {
            queue: FairQueue::new(FairQueueBounds {
                places,
                places_per_address: places,
                waiting: WAITING,
                waiting_per_address: WAITING / 2,
                patience: PATIENCE,
                held_at_least: Duration::ZERO,
            }),
        }
    }
}

/// One call's work on its bodies.
pub(crate) struct Work {
    queue: FairQueue<CallerKey>,
    key: CallerKey,
    turn: Option<Turn<CallerKey>>,
}

impl Work {
    /// A verified caller's.
    pub(crate) fn of(shared: &Shared, facts: &Facts) -> Self {
        Work::new(
            &shared.large,
            shared
                .penalties
                .key(("large", &facts.issuer, &facts.subject)),
        )
    }

    /// That of a caller of which only the address is known yet.
    pub(crate) fn of_address(shared: &Shared, address: IpAddr) -> Self {
        Work::new(
            &shared.large,
            shared
                .penalties
                .key(("large", Some(address_block(address)))),
        )
    }

    fn new(large: &LargeBodies, key: CallerKey) -> Self {
        Work {
            queue: large.queue.clone(),
            key,
            turn: None,
        }
    }

    /// Does the work: if it `is_large`, in its turn and beside the threads that serve. Fails if too many wait.
    pub(crate) async fn run<T>(
        &mut self,
        is_large: bool,
        work: impl FnOnce() -> T,
    ) -> Result<T, Refusal> {
        if !is_large {
            return Ok(work());
        }
        if self.turn.is_none() {
            let turn = self.queue.take_as(self.key).await;
            self.turn = Some(turn.ok_or_else(|| Refusal::new(Reason::ReadingBusy))?);
        }
        Ok(beside(true, work))
    }

    /// Gives the place back, before something else is waited for.
    pub(crate) fn pause(&mut self) {
        self.turn = None;
    }
}

/// Does the work: if it `is_large`, beside the threads that serve. For what cannot wait for a turn, and is seldom.
pub(crate) fn beside<T>(is_large: bool, work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        // The thread's other tasks move to another one.
        Ok(RuntimeFlavor::MultiThread) if is_large => tokio::task::block_in_place(work),
        _ => work(),
    }
}
