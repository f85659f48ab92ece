//! The backend's credentials in a store: looked for, tried, and taken over.
//!
//! What it does: asks the store for what is due, tries new access tokens at the backend, and lets the vault take over what
//! passed; tells of all of it. What it refuses to know: how a store is asked, and who borrows. Invariants: no call waits for
//! it; a new version of an access token serves only once the backend took it, unless `probe` is off or there is none; what
//! serves is not taken away by a store that is away, but when it is stale.

mod probe;
mod validate;

pub(crate) use validate::{Validated, validate};

use std::time::Duration;

use probe::{TokenVerdict, probe};

use super::{Shared, Snapshot};
use crate::reason::Reason;
use crate::stores::{SecretStore as _, StoreFault, StoredRef};
use crate::telemetry::EventName;

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_millis(500);

/// Follows the store; never ends by itself.
pub(crate) async fn follow(shared: &Shared) {
    loop {
        step(shared).await;
        tokio::time::sleep(LOOK).await;
    }
}

async fn step(shared: &Shared) {
    let snapshot = shared.snapshot.load_full();
    if snapshot.vault.store().is_none() {
        return;
    }
    look(shared, &snapshot).await;
    snapshot.with_surroundings(|around| snapshot.vault.refresh(around));
    try_waiting(shared, &snapshot).await;
    snapshot.with_surroundings(|around| snapshot.vault.refresh(around));
}

/// Asks the store for what is due. What the whole store cannot do is not asked again for each secret.
async fn look(shared: &Shared, snapshot: &Snapshot) {
    let (Some(store), shelf) = (snapshot.vault.store(), snapshot.vault.shelf()) else {
        return;
    };
    let (every, stale) = (store.settings().every, store.settings().stale);
    let mut due = shelf.due(shared.clock.now()).into_iter();
    let mut whole: Option<StoreFault> = None;
    for (reference, known) in due.by_ref() {
        let told = store.fetch(&reference, known, shared.clock.now()).await;
        let now = shared.clock.now();
        match told {
            Ok(versions) => {
                shared.metrics.store_look("ok");
                if shelf.offer(&reference, versions, now, every) {
                    came(shared, snapshot, &reference);
                }
            }
            Err(fault) => {
                failed(shared, &reference, &fault);
                let ends = shelf.failed(&reference, &fault, now, (every, stale));
                withdrawn(shared, &reference, ends);
                if fault.is_of_the_store() {
                    whole = Some(fault);
                    break;
                }
            }
        }
    }
    let Some(fault) = whole else { return };
    for (reference, _) in due {
        let ends = shelf.failed(&reference, &fault, shared.clock.now(), (every, stale));
        withdrawn(shared, &reference, ends);
    }
}

/// Tries the versions that wait, and lets those serve that the backend takes.
async fn try_waiting(shared: &Shared, snapshot: &Snapshot) {
    let shelf = snapshot.vault.shelf();
    let probes = snapshot
        .vault
        .store()
        .is_none_or(|store| store.settings().probe);
    for (reference, version) in shelf.to_try(shared.clock.now()) {
        let trial = snapshot
            .with_surroundings(|around| snapshot.vault.trial(&reference, &version.secret, around));
        let verdict = match trial.filter(|_| probes) {
            Some(trial) => {
                let mut held = shared.budget.gateway().open();
                let verdict = probe(snapshot, &trial, &mut held).await;
                shared.metrics.credential_probe(verdict.code());
                verdict
            }
            // API keys: there is no question that every backend takes and that changes nothing.
            None => TokenVerdict::Taken,
        };
        let (number, now) = (version.number, shared.clock.now());
        match verdict.why() {
            None => {
                if shelf.promote(&reference, number, now) {
                    came(shared, snapshot, &reference);
                }
            }
            Some(why) => {
                if shelf.refuse(&reference, number, (why, now)) {
                    let digest = version.secret.fingerprint();
                    let detail =
                        format!("{reference}, version {number} with digest {digest}: {why}");
                    tracing::error!(detail, "a new credential does not serve yet");
                    let reason = Reason::CredentialNotTaken;
                    shared.event(EventName::CredentialWaits, reason, Some(detail));
                }
            }
        }
    }
}

/// A version serves from now on: it is lent before that is told.
fn came(shared: &Shared, snapshot: &Snapshot, reference: &StoredRef) {
    snapshot.with_surroundings(|around| snapshot.vault.refresh(around));
    let entries = snapshot.vault.shelf().entries();
    let current = entries
        .get(reference)
        .and_then(|entry| entry.current.as_ref());
    let Some(version) = current else { return };
    let (number, digest) = (version.number, version.secret.fingerprint());
    let detail = format!("{reference}, version {number} with digest {digest}");
    tracing::info!(detail, "a credential of the store is in use");
    let reason = Reason::CredentialTakenOver;
    shared.event(EventName::CredentialRotated, reason, Some(detail));
}

/// The store gave nothing: told once a minute for each cause.
fn failed(shared: &Shared, reference: &StoredRef, fault: &StoreFault) {
    shared.metrics.store_look(fault.code());
    let (reason, cause) = match fault {
        StoreFault::Unwrap => (Reason::StoreUnwrapFailed, fault.code().to_owned()),
        fault if fault.is_of_the_store() => (Reason::StoreUnavailable, fault.code().to_owned()),
        fault => (
            Reason::StoreUnavailable,
            format!("{reference}: {}", fault.code()),
        ),
    };
    let detail = format!("{reference}: {fault}");
    let words = "the store of secrets gives none";
    if let Some(detail) = shared.seldom(words, &cause, detail) {
        shared.event(EventName::StoreFailed, reason, Some(detail));
    }
}

fn withdrawn(shared: &Shared, reference: &StoredRef, ends: bool) {
    if ends {
        let detail = reference.to_string();
        tracing::error!(detail, "a credential is stale, and does not serve any more");
        let reason = Reason::CredentialUnconfirmed;
        shared.event(EventName::CredentialStale, reason, Some(detail));
    }
}
