//! Whether every credential can be had and is taken, without a gateway.
//!
//! What it does: furnishes a snapshot, asks the store once for everything, and tries each access token. What it refuses to
//! know: where it is told. Invariant: nothing is served or kept.

use super::probe::probe;
use crate::clock::Clock;
use crate::identify::Events;
use crate::limits::Budget;
use crate::state::{Settings, Snapshot, StartFault};
use crate::stores::SecretStore as _;
use crate::vault::CredentialRow;

/// Room for the answers.
const BUDGET_BYTES: u64 = 4 << 20;

/// What was found of one credential.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Validated {
    /// As it is listed.
    #[serde(flatten)]
    pub(crate) row: CredentialRow,
    /// `taken`, `refused`, `unknown`; `untried`: it cannot be tried without effect.
    pub(crate) verdict: &'static str,
}

impl Validated {
    /// Whether it serves as far as can be known.
    pub(crate) fn is_good(&self) -> bool {
        // The one before may have been ended.
        self.row.state == "previous"
            || (!matches!(self.row.state, "absent" | "stale")
                && matches!(self.verdict, "taken" | "untried"))
    }
}

/// Tries all. Must run within a runtime.
pub(crate) async fn validate(
    settings: &Settings,
    clock: &Clock,
) -> Result<Vec<Validated>, Vec<StartFault>> {
    let snapshot = Snapshot::build(settings, clock, &Events::ignored(), None);
    let snapshot = snapshot.map_err(StartFault::all)?;
    let vault = &snapshot.vault;
    if let Some(store) = vault.store() {
        let (every, stale) = (store.settings().every, store.settings().stale);
        for (reference, known) in vault.shelf().due(clock.now()) {
            let now = clock.now();
            match store.fetch(&reference, known, now).await {
                Ok(versions) => drop(vault.shelf().offer(&reference, versions, now, every)),
                Err(fault) => {
                    vault
                        .shelf()
                        .failed(&reference, &fault, now, (every, stale));
                }
            }
        }
    }
    snapshot.with_surroundings(|around| vault.refresh(around));
    let budget = Budget::new(BUDGET_BYTES);
    let mut found: Vec<Validated> = vault
        .rows(snapshot.policy.backends(), clock.now())
        .into_iter()
        .map(|row| Validated {
            row,
            verdict: "untried",
        })
        .collect();
    for (_, digest, trial) in snapshot.with_surroundings(|around| vault.trials(around)) {
        let Some(trial) = trial else { continue };
        let mut held = budget.gateway().open();
        let verdict = probe(&snapshot, &trial, &mut held).await.code();
        let is_of = |one: &&mut Validated| {
            one.row.uses.is_some() && one.row.fingerprint.as_ref() == Some(&digest)
        };
        for one in found.iter_mut().filter(is_of) {
            one.verdict = verdict;
        }
    }
    Ok(found)
}
