//! One witness at work, on a thread of its own.
//!
//! What it does: has each new checkpoint countersigned, and tries again with pauses that grow. What it refuses to know: proofs.
//! Invariants: a witness that is away holds up nothing; one that says what must not be is told of at once, and asked again seldom.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::board::{SinkBoard, SinkState};
use super::run::{FIRST_PAUSE, LONGEST_PAUSE, SinkOrder, jittered};
use super::settings::WitnessSettings;
use super::witness::{WitnessFault, WitnessOutlet, WitnessedTree, cosigned_beside};
use crate::audit::seal::NewestCheckpoint;
use crate::causes::chain;

/// Checkpoints that come together are one for a witness.
const GATHER: Duration = Duration::from_millis(200);

/// One witness.
pub(super) struct WitnessRunner {
    pub name: String,
    pub settings: WitnessSettings,
    pub audit: PathBuf,
    pub checkpoints: PathBuf,
    pub newest: NewestCheckpoint,
    pub state: Arc<SinkState>,
    pub board: Arc<SinkBoard>,
    pub orders: watch::Receiver<SinkOrder>,
}

impl WitnessRunner {
    /// Asks until it is told to end.
    pub(super) async fn run(mut self) {
        let mut tree = match WitnessedTree::open(&self.audit, &self.name) {
            Ok(tree) => tree,
            Err(error) => return self.failed(&WitnessFault::File(error)),
        };
        self.state.move_to(tree.size());
        let cosigned = cosigned_beside(&self.checkpoints);
        let mut progress = self.board.watch();
        let mut pause = FIRST_PAUSE;
        let mut outlet = None;
        let mut turn = 0;
        // Who gives orders may be gone, as a trail that is dropped.
        while self.orders.has_changed().is_ok() {
            let sealed = progress.borrow_and_update().sealed;
            let order = *self.orders.borrow_and_update();
            match order {
                SinkOrder::End(until) if Instant::now() >= until => return,
                SinkOrder::End(_) if sealed <= tree.size() => return,
                SinkOrder::Send(next) if next != turn => {
                    turn = next;
                    outlet = None;
                }
                _ => {}
            }
            if sealed <= tree.size() {
                tokio::select! {
                    _ = progress.changed() => sleep(GATHER).await,
                    _ = self.orders.changed() => {}
                }
                continue;
            }
            let before = tree.size();
            match self.once(&mut outlet, &mut tree, &cosigned).await {
                Ok(size) => {
                    pause = FIRST_PAUSE;
                    self.state.sent(size.saturating_sub(before));
                    self.state.move_to(size);
                    self.board.look();
                    if size <= before {
                        // The note is about to be shown.
                        sleep(GATHER).await;
                    }
                }
                Err(fault) => {
                    self.failed(&fault);
                    let wait = jittered(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    if matches!(order, SinkOrder::End(_)) {
                        return;
                    }
                    tokio::select! {
                        () = sleep(wait) => {}
                        _ = self.orders.changed() => {}
                    }
                }
            }
        }
    }

    async fn once(
        &mut self,
        outlet: &mut Option<WitnessOutlet>,
        tree: &mut WitnessedTree,
        cosigned: &std::path::Path,
    ) -> Result<u64, WitnessFault> {
        let open = match outlet.take() {
            Some(open) => open,
            None => WitnessOutlet::open(&self.settings)?,
        };
        outlet
            .insert(open)
            .witness(tree, &self.newest, cosigned)
            .await
    }

    fn failed(&self, fault: &WitnessFault) {
        if self.state.failed(fault.code()) {
            let why = chain(fault);
            tracing::error!(
                witness = self.name,
                why,
                "a witness of the audit trail does not sign"
            );
        }
    }
}
