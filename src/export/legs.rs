//! The other backends that get the parts of an export too.
//!
//! What it does: makes the parts for them beside those of the apps' own backends, counts both side by side, joins what is required
//! into one result, and hands over what is mirrored. What it refuses to know: how a part is sent, how the caller is answered. Invariants: a
//! part is taken if its own backend and each required one took it; each of them is remembered by itself, so that a retry sends only what is
//! missing; what is mirrored is handed over once, when the own backend has taken its part, and changes no result.

use std::sync::Arc;

use bytes::Bytes;

use super::joined::joined;
use super::mirror::{self, Copied};
use super::part::{OutgoingPart, PartOutcome, PartResult};
use super::part_keys::PartKeys;
use super::target::{Outset, PartTarget};
use crate::accept::Call;
use crate::apps::{AlsoMode, AppPath};
use crate::audit::Items;
use crate::authorize::Permit;
use crate::call::outcome::PartEnd;
use crate::forward::Backend;
use crate::limits::Reservation;
use crate::otlp::PartialSuccess;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::Shared;
use crate::state::mirrors::Leg;
use crate::telemetry::LegLabels;
use crate::transform::{Part, PartLeg, Split};

/// Those of one export.
pub(crate) struct Legs {
    /// How many parts there are for the apps' own backends.
    parts: usize,
    /// How many legs have been told of in the record.
    told: usize,
    required: Vec<Required>,
    parcels: Vec<Result<OutgoingPart, Refusal>>,
    /// Fields that the encoding of a required leg cannot say.
    unknown: u64,
    mirrored: Vec<Mirrored>,
}

/// One leg of a part.
struct LegPlace {
    /// Of the part.
    part: usize,
    /// In the record.
    record: usize,
    leg: Leg,
}

/// A leg without which the part is not taken.
struct Required(LegPlace);

/// A leg that is handed over.
struct Mirrored {
    place: LegPlace,
    permit: Permit,
    apps: Vec<AppPath>,
    target: Result<PartTarget, Refusal>,
    message: Vec<Bytes>,
}

/// What came of the legs.
#[derive(Default)]
pub(crate) struct LegEnds {
    /// Of legs, and of the parts that have some.
    pub ends: Vec<PartEnd>,
    /// What each backend took of parts with required legs, by the place of its name.
    pub taken: Vec<(usize, Option<PartialSuccess>)>,
}

impl Legs {
    pub(crate) fn of(split: &Split) -> Self {
        Legs {
            parts: split.parts.len(),
            told: split.parts.len(),
            required: Vec::new(),
            parcels: Vec::new(),
            unknown: 0,
            mirrored: Vec::new(),
        }
    }

    /// How many parts an export becomes that must be taken.
    pub(crate) fn count(split: &Split) -> usize {
        let required = |leg: &&PartLeg| leg.mode == AlsoMode::Require;
        let each = split.parts.iter();
        each.map(|part| 1 + part.also().iter().filter(required).count())
            .sum()
    }

    /// Makes the legs of a part; `message`: as its own backend gets it, or none if it cannot be sent.
    #[allow(
        clippy::too_many_arguments,
        reason = "everything that a leg takes with it"
    )]
    pub(crate) fn add(
        &mut self,
        outset: Outset<'_>,
        call: &Call,
        (place, part): (usize, &Part),
        also: Vec<PartLeg>,
        message: Option<&[Bytes]>,
        keys: &mut PartKeys<'_>,
        held: &mut Reservation,
    ) {
        for PartLeg { mode, permit } in also {
            let record = self.told;
            self.told += 1;
            let Some(message) = message else {
                continue;
            };
            let place = LegPlace {
                part: place,
                record,
                leg: leg(outset, part, &permit),
            };
            let target = PartTarget::of(outset, &permit, call);
            match mode {
                AlsoMode::Require => {
                    let index = self.parts + self.required.len();
                    let parcel = target.and_then(|target| {
                        let told = target.told(outset.snapshot);
                        let project = part.project().unwrap_or_default();
                        keys.keep(index, &target.backend, told.clone(), project, message);
                        let called = told.as_deref().unwrap_or_default();
                        let names = |backend: &Backend| keys.of_pieces(backend, called, project);
                        let message = (message.to_vec(), part.items());
                        let (parcel, unknown) =
                            target.part(outset, &permit, message, names, held)?;
                        self.unknown += unknown;
                        Ok(parcel)
                    });
                    self.parcels.push(parcel);
                    self.required.push(Required(place));
                }
                AlsoMode::Mirror => self.mirrored.push(Mirrored {
                    place,
                    apps: part.permits().map(|permit| permit.app().clone()).collect(),
                    permit,
                    target,
                    message: message.to_vec(),
                }),
            }
        }
    }

    /// The parts of required legs, which go beside the others, after them.
    pub(crate) fn parcels(&mut self) -> Vec<Result<OutgoingPart, Refusal>> {
        std::mem::take(&mut self.parcels)
    }

    /// What came of all: of each part for its app's own backend, then of each required leg. What is left are the parts, each as all
    /// that it requires have it.
    pub(crate) fn settle(
        self,
        shared: &Arc<Shared>,
        outset: Outset<'_>,
        outcomes: &mut Vec<PartOutcome>,
    ) -> LegEnds {
        let mut legs = LegEnds::default();
        if self.told == self.parts {
            return legs;
        }
        shared.metrics.not_carried(self.unknown);
        let others = outcomes.split_off(self.parts.min(outcomes.len()));
        let pairs = self.required.iter().map(|Required(place)| place);
        for place in pairs.chain(self.mirrored.iter().map(|one| &one.place)) {
            if let Some(primary) = outcomes.get(place.part) {
                count(shared, &place.leg, "primary", &primary.fate);
                legs.end(place.part, place.leg.items, primary);
            }
        }
        for mirrored in self.mirrored {
            let Mirrored {
                place,
                permit,
                apps,
                target,
                message,
            } = mirrored;
            let reason = match outcomes.get(place.part).map(|primary| &primary.fate) {
                Some(PartResult::Taken(_)) => {
                    let copied = Copied {
                        permit,
                        apps,
                        message,
                    };
                    mirror::hand_over(shared, outset, place.leg, copied, target)
                }
                // It went when the part was taken.
                Some(PartResult::Remembered(_)) => Reason::Remembered,
                _ => Reason::NotSent,
            };
            legs.ends.push(PartEnd {
                place: place.record,
                items: Items::default(),
                reason,
                upstream_status: None,
            });
        }
        for ((index, Required(place)), other) in (self.parts..).zip(self.required).zip(others) {
            count(shared, &place.leg, "require", &other.fate);
            legs.end(place.record, place.leg.items, &other);
            legs.take(index, &other);
            if let Some(slot) = outcomes.get_mut(place.part) {
                legs.take(place.part, slot);
                let primary = std::mem::replace(slot, PartOutcome::unsent(lost()));
                *slot = joined(primary, other);
            }
        }
        legs
    }
}

fn lost() -> Refusal {
    Refusal::new(Reason::InternalError)
}

impl LegEnds {
    /// Keeps what the record says of one; the first word counts.
    fn end(&mut self, place: usize, items: u64, outcome: &PartOutcome) {
        if self.ends.iter().any(|end| end.place == place) {
            return;
        }
        let (items, reason) = match &outcome.fate {
            PartResult::Taken(said) => (taken(items, said), Reason::Ok),
            PartResult::Remembered(said) => (taken(items, said), Reason::Remembered),
            PartResult::Refused(None) => (refused(items), Reason::UpstreamRefused),
            PartResult::Refused(Some(refusal)) => (refused(items), refusal.reason),
            PartResult::Again(refusal) => (Items::default(), refusal.reason),
        };
        self.ends.push(PartEnd {
            place,
            items,
            reason,
            upstream_status: outcome.upstream_status,
        });
    }

    fn take(&mut self, place: usize, outcome: &PartOutcome) {
        if let PartResult::Taken(said) | PartResult::Remembered(said) = &outcome.fate
            && self.taken.iter().all(|(known, _)| *known != place)
        {
            self.taken.push((place, said.clone()));
        }
    }
}

fn taken(items: u64, said: &Option<PartialSuccess>) -> Items {
    let rejected = said.as_ref().map_or(0, |said| said.rejected.min(items));
    Items {
        accepted: items - rejected,
        rejected,
    }
}

fn refused(items: u64) -> Items {
    Items {
        accepted: 0,
        rejected: items,
    }
}

/// A leg in names.
fn leg(outset: Outset<'_>, part: &Part, permit: &Permit) -> Leg {
    let names = outset.snapshot.policy.backends();
    let own = part.backend().unwrap_or(names.default);
    Leg {
        backend: names.name(permit.backend()).into(),
        against: names.name(own).into(),
        project: part.project().unwrap_or_default().into(),
        signal: outset.manner.signal,
        items: part.items(),
    }
}

/// Counts what came of a leg that was sent, or of its part (`primary`).
fn count(shared: &Shared, leg: &Leg, which: &'static str, fate: &PartResult) {
    let (backend, against) = match which {
        "primary" => (&leg.against, &leg.backend),
        _ => (&leg.backend, &leg.against),
    };
    let labels = LegLabels {
        backend,
        against,
        leg: which,
        project: &leg.project,
        signal: leg.signal.name(),
    };
    let sent = ("sent", leg.items);
    match fate {
        PartResult::Taken(said) => {
            let Items { accepted, rejected } = taken(leg.items, said);
            let results = [sent, ("accepted", accepted), ("rejected", rejected)];
            shared.metrics.leg(&labels, &results);
        }
        PartResult::Refused(_) => shared.metrics.leg(&labels, &[sent, ("refused", leg.items)]),
        PartResult::Again(_) => shared.metrics.leg(&labels, &[sent]),
        // It was counted when it was taken.
        PartResult::Remembered(_) => {}
    }
}
