//! One export becomes one part for each project and backend that it belongs to, and each set of other backends that get the same.
//!
//! What it does: asks policy for the app of every resource, gathers those of one project, and stamps them with who
//! sent them. What it refuses to know: how apps are found, how parts are sent. Invariants: a resource is in exactly
//! one part or among the rejected; no part exists without the permit of every app in it.

use std::borrow::Cow;

use bytes::Bytes;

use crate::apps::{AlsoMode, AppPath, BackendId, Mark, NodeId};
use crate::authorize::{Denial, Permit, Policy, Reach};
use crate::identify::Facts;
use crate::otlp::{Encoding, Export, Found, Stamp};
use crate::reason::Reason;

/// Services that a message names.
const NAMED_SERVICES: usize = 10;
/// What of a service's name is repeated in a message, in characters.
const NAME_CHARACTERS: usize = 64;

/// What goes to one project at one backend.
#[derive(Debug)]
pub(crate) struct Part {
    /// One for each app, in the order in which they came up.
    permits: Vec<(NodeId, Permit)>,
    groups: Vec<(usize, NodeId)>,
    items: u64,
    /// The other backends that get the same; those of all its apps.
    also: Vec<PartLeg>,
}

/// Another backend that gets a part too.
#[derive(Debug)]
pub(crate) struct PartLeg {
    pub mode: AlsoMode,
    /// For that backend, and one of the part's apps.
    pub permit: Permit,
}

impl PartLeg {
    fn all(policy: &Policy, reach: &Reach, node: NodeId) -> Result<Vec<PartLeg>, Denial> {
        let permits = policy.permits_also(reach, node)?.into_iter();
        let legs = permits.map(|(mode, permit)| PartLeg { mode, permit });
        Ok(legs.collect())
    }

    fn is_like(&self, other: &PartLeg) -> bool {
        (self.mode, self.permit.backend()) == (other.mode, other.permit.backend())
    }
}

/// What goes nowhere.
#[derive(Debug, Default)]
pub(crate) struct Rejected {
    pub items: u64,
    pub groups: usize,
    /// The first reason; there is one if there is a group.
    pub(crate) denial: Option<Denial>,
    /// Names of services that may not be written as, each once, in order, as told to the caller.
    services: Vec<String>,
    /// Whether some resource could not be told to any app.
    homeless: bool,
}

/// An export, taken apart.
#[derive(Debug)]
pub(crate) struct Split {
    pub parts: Vec<Part>,
    pub rejected: Rejected,
}

/// Finds the app of every resource of this sender's.
pub(crate) fn split(export: &Export, policy: &Policy, reach: &Reach, sender: &Facts) -> Split {
    let mut split = Split {
        parts: Vec::new(),
        rejected: Rejected::default(),
    };
    let mut places: ahash::HashMap<NodeId, usize> = ahash::HashMap::default();
    if export.groups().is_empty() {
        // Nothing to tell its app by: the app that is named, or the only one.
        let marks = |name: &str| proven_mark(sender, name).unwrap_or(Mark::Absent);
        match policy.assign(reach, &marks).and_then(|node| {
            let permit = policy.permit(reach, node)?;
            Ok((node, permit, PartLeg::all(policy, reach, node)?))
        }) {
            Ok((node, permit, also)) => {
                split.place(permit, also, node);
            }
            Err(denial) => split.rejected.denial = Some(denial),
        }
        return split;
    }
    for (index, group) in export.groups().iter().enumerate() {
        let said = |name: &str| match export.attribute(index, name) {
            Found::Absent => Mark::Absent,
            Found::Text(text) => Mark::Text(text),
            // A value that is no text names no service; policy must not take it for a missing one.
            Found::Other | Found::Ambiguous => Mark::Ambiguous,
        };
        let marks = |name: &str| proven_mark(sender, name).unwrap_or_else(|| said(name));
        let placed = policy
            .assign(reach, &marks)
            .and_then(|node| match places.get(&node) {
                Some(place) => Ok((node, *place)),
                None => {
                    let permit = policy.permit(reach, node)?;
                    let place = split.place(permit, PartLeg::all(policy, reach, node)?, node);
                    places.insert(node, place);
                    Ok((node, place))
                }
            });
        match placed {
            Ok((node, place)) => {
                if let Some(part) = split.parts.get_mut(place) {
                    part.groups.push((index, node));
                    part.items += group.items;
                }
            }
            Err(denial) => {
                split
                    .rejected
                    .add(denial, group.items, export.attribute(index, "service.name"))
            }
        }
    }
    split
}

/// What is known of a resource by its sender's proof, whatever it says itself; `None`: the proof is not asked under this
/// name.
pub(crate) fn proven_mark<'f>(sender: &'f Facts, name: &str) -> Option<Mark<'f>> {
    let mut proven = sender.attributes.iter();
    let attribute = proven.find(|attribute| *attribute.name == *name)?;
    Some(match &attribute.value {
        Some(value) => Mark::Text(Cow::Borrowed(value)),
        None => Mark::Absent,
    })
}

impl Split {
    /// The part of the permit's project and backends, begun if it is the first of it.
    fn place(&mut self, permit: Permit, also: Vec<PartLeg>, node: NodeId) -> usize {
        let (project, backend) = (permit.project(), Some(permit.backend()));
        let same = |part: &Part| {
            part.project() == project
                && part.backend() == backend
                && part.also.len() == also.len()
                && part
                    .also
                    .iter()
                    .zip(&also)
                    .all(|(one, two)| one.is_like(two))
        };
        let known = self.parts.iter().position(same);
        match known.and_then(|place| Some((place, self.parts.get_mut(place)?))) {
            Some((place, part)) => {
                part.permits.push((node, permit));
                place
            }
            None => {
                self.parts.push(Part {
                    permits: vec![(node, permit)],
                    groups: Vec::new(),
                    items: 0,
                    also,
                });
                self.parts.len() - 1
            }
        }
    }
}

impl Part {
    /// The permits of all its apps; never empty.
    pub(crate) fn permits(&self) -> impl Iterator<Item = &Permit> {
        self.permits.iter().map(|(_, permit)| permit)
    }

    /// The apps in it.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.permits.iter().map(|(node, _)| *node)
    }

    pub(crate) fn project(&self) -> Option<&str> {
        self.permits().next().and_then(Permit::project)
    }

    /// Where it goes.
    pub(crate) fn backend(&self) -> Option<BackendId> {
        self.permits().next().map(Permit::backend)
    }

    /// Where else it goes.
    pub(crate) fn also(&self) -> &[PartLeg] {
        &self.also
    }

    /// The same, for who sends it there.
    pub(crate) fn take_also(&mut self) -> Vec<PartLeg> {
        std::mem::take(&mut self.also)
    }

    /// Spans, data points or log records.
    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// Items by app.
    pub(crate) fn items_by_node(&self, export: &Export) -> Vec<(NodeId, u64)> {
        let mut counts: Vec<(NodeId, u64)> = self.nodes().map(|node| (node, 0)).collect();
        for (index, node) in &self.groups {
            let items = export.groups().get(*index).map_or(0, |group| group.items);
            if let Some((_, count)) = counts.iter_mut().find(|(counted, _)| counted == node) {
                *count += items;
            }
        }
        counts
    }

    /// The resources in it, as places in the export, each with its app.
    pub(crate) fn groups(&self) -> &[(usize, NodeId)] {
        &self.groups
    }

    /// What is put on the resources of each app in it.
    pub(crate) fn stamps(&self, policy: &Policy, sender: &Facts) -> Stamps {
        let stamps = self
            .permits
            .iter()
            .map(|(node, permit)| (*node, stamp(policy, *node, permit.app(), sender)));
        Stamps(stamps.collect())
    }

    /// How many bytes the stamps add at most: a body of very many small resources grows manifold.
    pub(crate) fn growth_bytes(&self, stamps: &Stamps, encoding: Encoding) -> u64 {
        self.groups
            .iter()
            .filter_map(|(_, node)| stamps.of(*node))
            .map(|stamp| stamp.growth_bytes(encoding))
            .sum()
    }

    /// How much memory `write` takes at most.
    pub(crate) fn written_bytes_at_most(
        &self,
        export: &Export,
        stamps: &Stamps,
        encoding: Encoding,
    ) -> u64 {
        let largest = stamps
            .0
            .iter()
            .map(|(_, stamp)| stamp.growth_bytes(encoding))
            .max()
            .unwrap_or_default();
        export.written_bytes_at_most(
            self.groups.len(),
            usize::try_from(largest).unwrap_or(usize::MAX),
        )
    }

    /// The part as an export of its own, stamped.
    pub(crate) fn write(&self, export: &Export, stamps: &Stamps) -> Vec<Bytes> {
        let chosen = self
            .groups
            .iter()
            .filter_map(|(index, node)| Some((*index, stamps.of(*node)?)));
        export.write(&chosen.collect::<Vec<_>>())
    }
}

/// The stamps of a part's apps.
pub(crate) struct Stamps(Vec<(NodeId, Stamp)>);

impl Stamps {
    fn of(&self, node: NodeId) -> Option<&Stamp> {
        self.0
            .iter()
            .find(|(stamped, _)| *stamped == node)
            .map(|(_, stamp)| stamp)
    }
}

/// Who sent it, as which app, and what the app's policy says of all its telemetry.
fn stamp(policy: &Policy, node: NodeId, app: &AppPath, sender: &Facts) -> Stamp {
    let attributes = stamped_attributes(policy, node, app, sender);
    let unproven = sender.attributes.iter().filter(|one| one.value.is_none());
    Stamp::new(&attributes).dropping(unproven.map(|one| &*one.name))
}

/// The verified origin, what the sender's token proves, and what the policy says of the app, as attributes or tags; each
/// name once. What the token proves counts more than what is said of the whole app.
pub(crate) fn stamped_attributes<'a>(
    policy: &'a Policy,
    node: NodeId,
    app: &'a AppPath,
    sender: &'a Facts,
) -> Vec<(&'a str, &'a str)> {
    let fixed = policy.stamp_attributes(node);
    let mut attributes = Vec::with_capacity(4 + sender.attributes.len() + fixed.len());
    attributes.extend([
        ("lightkeeper.app", app.as_str()),
        ("lightkeeper.identity", &*sender.subject),
        ("lightkeeper.identity.issuer", &*sender.issuer),
        ("lightkeeper.identity.method", sender.method.name()),
    ]);
    let proven = sender.attributes.iter();
    attributes.extend(proven.filter_map(|one| Some((&*one.name, one.value.as_deref()?))));
    for (name, value) in fixed {
        if !attributes.iter().any(|(stamped, _)| stamped == name) {
            attributes.push((name, value));
        }
    }
    attributes
}

impl Rejected {
    fn add(&mut self, denial: Denial, items: u64, service: Found<'_>) {
        self.items += items;
        self.groups += 1;
        match (denial.reason, service) {
            (Reason::AppAmbiguous | Reason::NoWritableApp, _) | (_, Found::Absent) => {
                self.homeless = true
            }
            (_, Found::Text(name)) => self.name(&name),
            (_, Found::Other | Found::Ambiguous) => self.name("(ambiguous)"),
        }
        self.denial.get_or_insert(denial);
    }

    fn name(&mut self, name: &str) {
        let shown: String = name
            .chars()
            .take(NAME_CHARACTERS)
            .map(|each| if each.is_control() { '?' } else { each })
            .collect();
        // One more than are told, to know that there are more.
        if self.services.len() <= NAMED_SERVICES && !self.services.contains(&shown) {
            self.services.push(shown);
        }
    }

    /// What the caller is told. The names are the caller's own words; whether such an app exists is not disclosed.
    pub(crate) fn message(&self) -> Option<String> {
        let mut told = Vec::new();
        if !self.services.is_empty() {
            let names: Vec<Cow<'_, str>> = self
                .services
                .iter()
                .take(NAMED_SERVICES)
                .map(|name| Cow::from(format!("`{name}`")))
                .collect();
            let more = if self.services.len() > NAMED_SERVICES {
                " and others"
            } else {
                ""
            };
            told.push(format!(
                "not permitted to write as service {}{more}",
                names.join(", ")
            ));
        }
        if self.homeless {
            told.push(
                "a resource without a known service needs an app: name it by `/apps/{app}/-/` in the URL or by the `lightkeeper-app` header"
                    .to_owned(),
            );
        }
        (!told.is_empty()).then(|| told.join("; "))
    }
}
