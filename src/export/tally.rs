//! What a split export brings to which app, for the live numbers.
//!
//! What it does: counts an export's items by app and service before it is sent, and tells the live figures once it is known what
//! became of each part. What it refuses to know: encodings, answers. Invariants: nothing counts as accepted that the
//! backend has not taken now; of an export of very many resources only the first are looked at for their services.

use super::part::{PartOutcome, PartResult};
use crate::apps::{NodeId, SERVICE_NAME};
use crate::identify::Facts;
use crate::memory::live::StatsUpdate;
use crate::otlp::{Export, Found};
use crate::state::Shared;
use crate::transform::{Part, Split};

/// How many resources of a part are looked at for their service.
const RESOURCES: usize = 256;
/// How many services of one app are told of one export.
const SERVICES: usize = 16;

/// One export's, in the order of its parts.
pub(crate) struct Tally(Vec<Vec<OfApp>>);

struct OfApp {
    node: NodeId,
    items: u64,
    bytes: u64,
    services: Vec<(Box<str>, u64)>,
}

impl Tally {
    /// Counts. `bytes`: of the whole export; each app's share is by items.
    pub(crate) fn of(export: &Export, split: &Split, bytes: u64) -> Self {
        let total: u64 = split.parts.iter().map(Part::items).sum();
        let share = |items: u64| {
            let share = u128::from(bytes) * u128::from(items) / u128::from(total.max(1));
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        let of_part = |part: &Part| {
            let counts = part.items_by_node(export).into_iter();
            let mut apps: Vec<OfApp> = counts
                .map(|(node, items)| OfApp {
                    node,
                    items,
                    bytes: share(items),
                    services: Vec::new(),
                })
                .collect();
            for (index, node) in part.groups().iter().take(RESOURCES) {
                let items = export.groups().get(*index).map_or(0, |group| group.items);
                let app = apps.iter_mut().find(|app| app.node == *node);
                if let (Some(app), Found::Text(name)) =
                    (app, export.attribute(*index, SERVICE_NAME))
                {
                    app.add(&name, items);
                }
            }
            apps
        };
        Tally(split.parts.iter().map(of_part).collect())
    }

    /// All of it was refused before it was sent.
    pub(crate) fn failed(&self, shared: &Shared, split: &Split) {
        split.parts.iter().for_each(|part| failed(shared, part));
    }

    /// Tells what became of the parts.
    pub(crate) fn settle(
        &self,
        shared: &Shared,
        split: &Split,
        outcomes: &[PartOutcome],
        sender: &Facts,
    ) {
        let now = shared.clock.now();
        for ((apps, part), outcome) in self.0.iter().zip(&split.parts).zip(outcomes) {
            let rejected = match &outcome.fate {
                PartResult::Taken(said) => said.as_ref().map_or(0, |said| said.rejected),
                // It was counted when it was taken.
                PartResult::Remembered(_) => continue,
                PartResult::Refused(_) | PartResult::Again(_) => u64::MAX,
            };
            if part.items() > 0 && rejected >= part.items() || rejected == u64::MAX {
                failed(shared, part);
                continue;
            }
            for (app, permit) in apps.iter().zip(part.permits()) {
                let beat = StatsUpdate {
                    services: &app.services,
                    items: app.items,
                    bytes: app.bytes,
                };
                shared.live.accepted(permit.app(), sender, &beat, now);
            }
        }
    }
}

impl OfApp {
    fn add(&mut self, name: &str, items: u64) {
        if let Some((_, count)) = self.services.iter_mut().find(|(known, _)| **known == *name) {
            *count += items;
        } else if self.services.len() < SERVICES {
            self.services.push((name.into(), items));
        }
    }
}

fn failed(shared: &Shared, part: &Part) {
    part.permits()
        .for_each(|permit| shared.live.failed(permit.app(), shared.clock.now()));
}
