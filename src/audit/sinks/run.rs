//! One sink at work, on a thread of its own.
//!
//! What it does: takes what is next, sends it, tries again with pauses that grow, and keeps where it is. What it refuses to know: how
//! one kind is sent. Invariants: entries are sent in their order; what is left out is counted, with its number and reason; what a
//! receiver refuses for its content is tried alone before it is left out, and holds nothing up; a stop waits no longer than it was
//! told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::board::{SinkBoard, SinkState, TrailProgress};
use super::entry::{LineFacts, SinkEntry};
use super::fault::{SinkFault, TakenBatch};
use super::follow::{FollowerPlace, TrailFollower};
use super::kept::KeptSinkPlace;
use super::outlet::SinkOutlet;
use super::queue::{QueueBounds, SinkQueue};
use super::settings::SinkSettings;
use crate::causes::chain;
use crate::clock::Clock;

/// What is sent at once.
const BATCH: QueueBounds = QueueBounds {
    records: 512,
    bytes: 1 << 20,
};
/// Records that come together are sent together.
const GATHER: Duration = Duration::from_millis(50);
/// Between two looks at files where there is no word of the trail.
const LOOK: Duration = Duration::from_millis(250);
/// Between two writes of where a sink is.
const KEEP: Duration = Duration::from_secs(1);
/// The first pause behind a failure, and the longest.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why records of a sink are left out, besides a full queue.
const NOT_TAKEN: &str = "rejected";
const FILE_GONE: &str = "file_gone";

/// What a sink is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SinkOrder {
    /// Send. Another number than before: read keys and certificates again.
    Send(u64),
    /// Send what is there, until then at most, and end.
    End(Instant),
}

/// Where a sink's entries come from.
pub(super) enum SinkFeed {
    File(Box<FileFeed>),
    Memory(Arc<SinkQueue>),
}

/// The trail's own files.
pub(super) struct FileFeed {
    follower: TrailFollower,
    kept: KeptSinkPlace,
    /// What was sent, and when; what is older than the outlet's doubt has arrived.
    sent: VecDeque<(Instant, FollowerPlace)>,
    kept_at: Instant,
    is_told: bool,
}

impl SinkFeed {
    /// The number of the next record, where it is known.
    pub(super) fn next(&self) -> Option<u64> {
        match self {
            SinkFeed::File(feed) => Some(feed.follower.place().next),
            SinkFeed::Memory(_) => None,
        }
    }
}

impl FileFeed {
    pub(super) fn new(follower: TrailFollower, kept: KeptSinkPlace) -> Self {
        FileFeed {
            follower,
            kept,
            sent: VecDeque::new(),
            kept_at: Instant::now(),
            is_told: false,
        }
    }

    /// What was read last was sent.
    fn done(&mut self, doubt: Duration) {
        self.sent.push_back((Instant::now(), self.follower.place()));
        if self.kept_at.elapsed() >= KEEP {
            self.keep(doubt);
        }
    }

    /// Keeps what has surely arrived.
    fn keep(&mut self, doubt: Duration) {
        self.kept_at = Instant::now();
        let mut last = None;
        while let Some((at, place)) = self.sent.front()
            && at.elapsed() >= doubt
        {
            last = Some(*place);
            self.sent.pop_front();
        }
        if let Some(place) = last
            && let Err(error) = self.kept.keep(place)
            && !std::mem::replace(&mut self.is_told, true)
        {
            tracing::error!(%error, "where a sink of the audit trail is cannot be kept: a start sends again");
        }
    }
}

/// One sink.
pub(super) struct SinkRunner {
    pub settings: SinkSettings,
    pub state: Arc<SinkState>,
    pub board: Arc<SinkBoard>,
    pub feed: SinkFeed,
    pub clock: Clock,
    pub orders: watch::Receiver<SinkOrder>,
}

impl SinkRunner {
    /// Sends until it is told to end.
    pub(super) async fn run(mut self) {
        let mut progress = self.board.watch();
        let mut outlet: Option<SinkOutlet> = None;
        let mut turn = 0;
        // Who gives orders may be gone, as a trail that is dropped.
        while self.orders.has_changed().is_ok() {
            let order = *self.orders.borrow_and_update();
            match order {
                SinkOrder::End(until) if Instant::now() >= until => break,
                // What waits in the file waits for the next start.
                SinkOrder::End(_) if self.state.is_failing() && self.feed.next().is_some() => break,
                SinkOrder::Send(next) if next != turn => {
                    turn = next;
                    // Connections end with the keys that they were made with.
                    if let Some(before) = outlet.take() {
                        outlet = before.renewed(&self.settings).await;
                    }
                }
                _ => {}
            }
            let seen = *progress.borrow_and_update();
            let batch = self.take(seen);
            if batch.is_empty() {
                self.idle(seen);
                match order {
                    SinkOrder::End(_) if self.is_behind(seen) => sleep(LOOK).await,
                    SinkOrder::End(_) => break,
                    SinkOrder::Send(_) => self.wait(&mut progress, seen).await,
                }
                continue;
            }
            if !self.deliver(batch, &mut outlet).await {
                break;
            }
        }
        let is_certain = match outlet {
            Some(outlet) => outlet.finish().await,
            None => true,
        };
        if let SinkFeed::File(feed) = &mut self.feed {
            let doubt = if is_certain {
                Duration::ZERO
            } else {
                Duration::MAX
            };
            feed.keep(doubt);
        }
    }

    fn take(&mut self, progress: TrailProgress) -> Vec<SinkEntry> {
        let feed = match &mut self.feed {
            SinkFeed::Memory(queue) => return queue.first(BATCH),
            SinkFeed::File(feed) => feed,
        };
        let read = feed.follower.read(progress, BATCH);
        if let Some(gap) = feed.follower.take_gap() {
            let records = gap.last.saturating_sub(gap.first).saturating_add(1);
            self.state.dropped(gap.first, gap.last, records, FILE_GONE);
        }
        read.unwrap_or_else(|error| {
            self.failed("unreadable", &error);
            Vec::new()
        })
    }

    fn failed(&self, code: &'static str, error: &(dyn std::error::Error + 'static)) {
        if self.state.failed(code) {
            let why = chain(error);
            tracing::error!(
                sink = self.settings.name,
                why,
                "a sink of the audit trail fails"
            );
        }
    }

    /// Nothing is there to be sent.
    fn idle(&mut self, seen: TrailProgress) {
        match &mut self.feed {
            // Whatever was written before now was sent, or counted.
            SinkFeed::Memory(queue) => {
                if queue.is_empty() {
                    self.state.move_to(seen.next.max(self.state.next()));
                }
            }
            SinkFeed::File(feed) => {
                self.state.move_to(feed.follower.place().next);
                let doubt = self.settings.kind.doubt();
                if feed.kept_at.elapsed() >= KEEP {
                    feed.keep(doubt);
                }
            }
        }
        self.state.waits_since(0);
        self.board.look();
    }

    fn is_behind(&self, seen: TrailProgress) -> bool {
        match &self.feed {
            SinkFeed::Memory(_) => false,
            SinkFeed::File(feed) => {
                let place = feed.follower.place();
                place.next < seen.next
            }
        }
    }

    /// Until there may be more.
    async fn wait(&mut self, progress: &mut watch::Receiver<TrailProgress>, seen: TrailProgress) {
        let look = match &self.feed {
            SinkFeed::File(_) if self.is_behind(seen) => LOOK,
            // What was sent is kept a moment later.
            SinkFeed::File(feed) if !feed.sent.is_empty() => KEEP,
            _ => Duration::from_secs(3600),
        };
        tokio::select! {
            _ = progress.changed() => sleep(GATHER).await,
            _ = self.orders.changed() => {}
            () = sleep(look) => {}
        }
    }

    /// Sends a batch, however long it takes; false: it was told to end before.
    async fn deliver(&mut self, batch: Vec<SinkEntry>, outlet: &mut Option<SinkOutlet>) -> bool {
        let turn = *self.orders.borrow();
        let first = batch.iter().find_map(|entry| match entry {
            SinkEntry::Record { line, .. } => LineFacts::of(line).unix_nanos(),
            SinkEntry::Checkpoint { .. } => None,
        });
        let oldest = first.and_then(|nanos| i64::try_from(nanos / 1_000_000).ok());
        self.state
            .waits_since(oldest.unwrap_or_else(|| self.clock.now().0));
        // Parts of the batch that are to be sent, the first one last.
        let mut parts = vec![batch];
        let mut pause = FIRST_PAUSE;
        while let Some(mut part) = parts.pop() {
            let Err(fault) = self.try_once(&part, outlet).await else {
                pause = FIRST_PAUSE;
                continue;
            };
            let Some(fault) = fault else { return false };
            if let SinkFault::Refused(_) = fault {
                self.failed(fault.code(), &fault);
                if part.len() > 1 {
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                } else {
                    self.leave_out(&part, part.len() as u64);
                    self.settle(&part);
                }
                continue;
            }
            self.failed(fault.code(), &fault);
            let wait = fault.after().unwrap_or(jittered(pause));
            pause = (pause * 2).min(LONGEST_PAUSE);
            parts.push(part);
            if !self.pause(wait).await {
                return false;
            }
            // Keys and certificates may be others now.
            let is_other = *self.orders.borrow() != turn;
            if is_other && let Some(before) = outlet.take() {
                *outlet = before.renewed(&self.settings).await;
            }
        }
        if let SinkFeed::File(feed) = &mut self.feed {
            feed.done(self.settings.kind.doubt());
            self.state.move_to(feed.follower.place().next);
        }
        self.board.look();
        true
    }

    /// One try. `Err(None)`: told to end meanwhile.
    async fn try_once(
        &mut self,
        part: &[SinkEntry],
        outlet: &mut Option<SinkOutlet>,
    ) -> Result<(), Option<SinkFault>> {
        if outlet.is_none() {
            let opened = SinkOutlet::open(&self.settings, &self.clock);
            *outlet = Some(opened.map_err(|fault| Some(SinkFault::from(fault)))?);
        }
        let Some(open) = outlet else {
            return Err(None);
        };
        let sent = tokio::select! {
            sent = open.send(part) => sent,
            () = ended(&mut self.orders) => return Err(None),
        };
        let TakenBatch { rejected } = sent.map_err(Some)?;
        let records = part.iter().filter(|entry| entry.seq().is_some()).count() as u64;
        if rejected > 0 {
            self.leave_out(part, rejected.min(records));
        }
        self.state.sent(records.saturating_sub(rejected));
        self.settle(part);
        Ok(())
    }

    /// These entries need not be sent any more.
    fn settle(&self, part: &[SinkEntry]) {
        if let Some(last) = part.iter().rev().find_map(SinkEntry::seq) {
            self.state.move_to(last.saturating_add(1));
        }
        if let SinkFeed::Memory(queue) = &self.feed {
            // What was written before was sent or counted, if nothing waits now.
            let seen = self.board.progress().next;
            if queue.done(part.len()) {
                self.state.move_to(seen.max(self.state.next()));
            }
        }
        self.board.look();
    }

    /// So many records of a batch are not taken; which, a receiver does not say.
    fn leave_out(&self, part: &[SinkEntry], records: u64) {
        let seqs = || part.iter().filter_map(SinkEntry::seq);
        if let (Some(first), Some(last)) = (seqs().next(), seqs().next_back()) {
            self.state.dropped(first, last, records, NOT_TAKEN);
        }
    }

    /// Waits; false: told to end. A receiver that does not answer is not waited for at the end.
    async fn pause(&mut self, wait: Duration) -> bool {
        let is_ending =
            |orders: &watch::Receiver<SinkOrder>| matches!(*orders.borrow(), SinkOrder::End(_));
        if is_ending(&self.orders) {
            return false;
        }
        tokio::select! {
            () = sleep(wait) => true,
            // Other keys: at once.
            changed = self.orders.changed() => changed.is_ok() && !is_ending(&self.orders),
        }
    }
}

/// Until the time at which it is to end.
async fn ended(orders: &mut watch::Receiver<SinkOrder>) {
    loop {
        let order = *orders.borrow_and_update();
        match order {
            SinkOrder::End(until) => return sleep_until(until).await,
            SinkOrder::Send(_) => {
                if orders.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// From half of it to all: sinks of many gateways do not come together.
pub(super) fn jittered(pause: Duration) -> Duration {
    let mut random = [0];
    // Without randomness it is the whole.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let [random] = random;
    pause - pause / 2 * u32::from(random) / 255
}
