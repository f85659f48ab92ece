//! Copies of parts for backends to which apps are mirrored.
//!
//! What it does: hands a part that its own backend has taken to the queue of the other one, and sends it from there. What it refuses to know: how
//! long a queue keeps it, and which caller sent it. Invariants: a caller's answer does not wait for a copy; what a copy holds in memory is
//! its own message and nothing else of the export; a copy that the policy in force does not want is not sent.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::watch;

use super::cut::PieceNames;
use super::format::WireFormat;
use super::part::{OutgoingPart, PartOutcome, PartResult, send};
use super::target::{Outset, PartTarget};
use crate::apps::AppPath;
use crate::authorize::Permit;
use crate::clock::UnixMillis;
use crate::forward::Backend;
use crate::limits::Reservation;
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::state::mirrors::{Attempt, Errand, Leg, MirrorEnd, MirrorWitness, Trying};
use crate::state::work::{SMALL_BYTES, beside};
use crate::state::{Shared, Snapshot};
use crate::telemetry::LegLabels;
use crate::transform::Coding;

/// What a copy takes in memory besides its message.
const OWN_BYTES: u64 = 1 << 10;

/// What is copied, and under which permit.
pub(crate) struct Copied {
    pub permit: Permit,
    /// All apps in it.
    pub apps: Vec<AppPath>,
    pub message: Vec<Bytes>,
}

/// A copy in its queue.
struct WaitingCopy {
    snapshot: Arc<Snapshot>,
    shared: Arc<Shared>,
    permit: Permit,
    apps: Vec<AppPath>,
    target: PartTarget,
    backend: Arc<str>,
    manner: WireFormat,
    came: Coding,
    headers: HeaderMap,
    message: Bytes,
    items: u64,
    /// Tells its pieces from those of another copy of the same bytes.
    number: String,
}

/// Hands a copy to its backend's queue; what became of that.
pub(crate) fn hand_over(
    shared: &Arc<Shared>,
    outset: Outset<'_>,
    leg: Leg,
    copied: Copied,
    target: Result<PartTarget, Refusal>,
) -> Reason {
    let labels = LegLabels {
        backend: &leg.backend,
        against: &leg.against,
        leg: "mirror",
        project: &leg.project,
        signal: leg.signal.name(),
    };
    shared.metrics.leg(&labels, &[("sent", leg.items)]);
    let target = match target {
        Ok(target) => target,
        Err(refusal) => {
            shared.ended(&leg, MirrorEnd::Refused(refusal.reason));
            return refusal.reason;
        }
    };
    let Copied {
        permit,
        apps,
        message,
    } = copied;
    let length: usize = message.iter().map(Bytes::len).sum();
    let (backend, items) = (leg.backend.clone(), leg.items);
    let make = || -> Box<dyn Errand> {
        // A slice would keep the whole export.
        let message = beside(length > SMALL_BYTES, || Bytes::from(message.concat()));
        Box::new(WaitingCopy {
            snapshot: outset.snapshot.clone(),
            shared: shared.clone(),
            permit,
            apps,
            target,
            backend,
            manner: WireFormat {
                // The caller's patience is not a copy's.
                deadline: None,
                ..outset.manner
            },
            came: outset.came,
            headers: outset.headers.clone(),
            message,
            items,
            number: shared.request_id(),
        })
    };
    let settings = &outset.snapshot.ingest_settings.mirror;
    let account = shared.budget.spare();
    let witness: Arc<dyn MirrorWitness> = shared.clone();
    let bytes = length as u64 + OWN_BYTES;
    let offered = (leg.clone(), bytes);
    let offered = shared
        .mirrors
        .offer(&witness, settings, &account, offered, make);
    match offered {
        Ok(()) => Reason::Mirrored,
        Err(why) => {
            shared.ended(&leg, MirrorEnd::Dropped(why, None));
            why
        }
    }
}

impl Errand for WaitingCopy {
    fn attempt(&mut self) -> Trying<'_> {
        Box::pin(self.sent())
    }
}

impl WaitingCopy {
    async fn sent(&self) -> Attempt {
        let now = self.shared.snapshot.load_full();
        if !Arc::ptr_eq(&now, &self.snapshot)
            && !is_wanted(&now, &self.apps, &self.backend, &self.shared)
        {
            return Attempt::Unwanted(Reason::MirrorWithdrawn);
        }
        drop(now);
        let mut held = self.shared.budget.spare().open();
        let (part, unknown) = match self.part(&mut held) {
            Ok(made) => made,
            Err(refusal) if refusal.class.is_callers() => {
                return Attempt::Refused(refusal.reason);
            }
            Err(refusal) => return Attempt::Again(refusal.reason, None),
        };
        let account = self.shared.budget.gateway();
        // No caller that could leave: what has begun is sent to its end.
        let (_stays, gone) = watch::channel(false);
        let outcome = send(
            &self.snapshot,
            &self.shared,
            &account,
            self.manner,
            part,
            gone,
        )
        .await;
        drop(held);
        self.remember(&outcome);
        match outcome.fate {
            PartResult::Taken(said) | PartResult::Remembered(said) => {
                self.shared.metrics.not_carried(unknown);
                Attempt::Taken {
                    rejected: said.map_or(0, |said| said.rejected),
                }
            }
            PartResult::Refused(refusal) => {
                let reason = refusal.map_or(Reason::UpstreamRefused, |refusal| refusal.reason);
                Attempt::Refused(reason)
            }
            PartResult::Again(refusal) => {
                let told = match refusal.class {
                    Class::Throttled(seconds) => Some(Duration::from_secs(seconds)),
                    _ => None,
                };
                Attempt::Again(refusal.reason, told)
            }
        }
    }

    /// Of a copy that was cut, what another try need not send again.
    fn remember(&self, outcome: &PartOutcome) {
        let memory = &self.shared.remembered;
        let now = self.shared.clock.now();
        let patience = self.snapshot.ingest_settings.mirror.patience.as_millis();
        let kept = i64::try_from(patience).unwrap_or(i64::MAX);
        let until = UnixMillis(now.0.saturating_add(kept));
        let is_again = matches!(outcome.fate, PartResult::Again(_));
        for (key, said) in &outcome.keys {
            match is_again {
                true => memory.remember(*key, said.clone(), until, now),
                false => memory.forget(key),
            }
        }
    }

    /// What the names of its pieces are made of; no caller's part has a name of this kind.
    fn names(&self, backend: &Backend) -> PieceNames {
        const METHOD: &str = "mirror";
        let memory = &self.shared.remembered;
        let sender = (METHOD, &self.number);
        let (signal, length) = (self.manner.signal, self.message.len());
        PieceNames {
            method: METHOD,
            issuer: String::new(),
            subject: self.number.clone(),
            upstream: backend.settings.address(),
            backend: self.backend.to_string(),
            project: self.permit.project().unwrap_or_default().to_owned(),
            signal,
            likeness: memory.likeness(sender, signal, length),
            sender: memory.sender(METHOD),
            export: self.message.clone(),
            digest: OnceLock::new(),
        }
    }

    fn part(&self, held: &mut Reservation) -> Result<(OutgoingPart, u64), Refusal> {
        let outset = Outset {
            snapshot: &self.snapshot,
            manner: self.manner,
            came: self.came,
            headers: &self.headers,
        };
        let message = (vec![self.message.clone()], self.items);
        let target = self.target.clone();
        let names = |backend: &Backend| self.names(backend);
        let make = || target.part(outset, &self.permit, message, names, held);
        beside(self.message.len() > SMALL_BYTES, make)
    }
}

/// Whether a mirror is still wanted: the policy in force sends data of all these apps to this backend.
fn is_wanted(snapshot: &Snapshot, apps: &[AppPath], backend: &str, shared: &Shared) -> bool {
    let (policy, now) = (&snapshot.policy, shared.clock.now());
    let Some(backend) = policy.backends().find(backend) else {
        return false;
    };
    apps.iter().all(|app| {
        policy.tree().find(app).is_some_and(|node| {
            policy.backend_of(node, now) == backend
                || policy.also_of(node, now).any(|leg| leg.backend == backend)
        })
    })
}
