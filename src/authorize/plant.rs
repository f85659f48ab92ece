//! From the written tree of apps to the tree, and who owns what in it.
//!
//! What it does: plants app by app, checks what each says of itself, and finds apps that could claim the same resource.
//! What it refuses to know: bindings. Invariants: every finding has a place; a node whose description is faulty is in the
//! tree nevertheless, so that nothing said of it elsewhere is a second mistake.

use std::time::Duration;

use super::check::Checker;
use super::raw::{RawAlso, RawAlsoMode, RawApp, RawAppAlerts, RawAppBackend, RawQuota};
use crate::apps::{
    AlsoMode, AlsoTerm, BackendId, BackendTerm, Claimant, Description, Glob, NodeId, Planting,
    SERVICE_NAME, Tree, TreeFault, rivals,
};
use crate::clock::Window;
use crate::document::quantity::{DURATION_FORM, SIZE_FORM, duration, show_duration, size};
use crate::document::{Entries, Spanned, name, names, nearest};
use crate::limits::Quota;

/// The namespace of what the gateway itself writes on resources.
const RESERVED: &str = "lightkeeper.";

/// How much a quota lets be saved up unless it says so: some exports of a collector that comes every few seconds.
const BURST: Duration = Duration::from_secs(10);
const BURST_LEAST: Duration = Duration::from_secs(1);
const BURST_MOST: Duration = Duration::from_secs(3600);

/// The longest name and value of an attribute that is written on resources.
const ATTRIBUTE_NAME_LIMIT_BYTES: usize = 255;
const ATTRIBUTE_VALUE_LIMIT_BYTES: usize = 1024;

/// The most other backends of one app's data: all of them are sent to at once.
const ALSO_LIMIT: usize = 4;

/// The most destinations of one app's alerts: all of them are asked at once.
const DESTINATIONS_LIMIT: usize = 8;

/// What was planted, and where it is written.
#[derive(Default)]
pub(super) struct Planted {
    planting: Planting,
    /// The name of each node.
    pub places: Vec<Spanned<NodeId>>,
    pub projects: Vec<Spanned<String>>,
    /// Where apps name backends.
    pub backend_places: Vec<(NodeId, Spanned<BackendId>)>,
    /// Each node's services, as far as they are patterns.
    services: Vec<(NodeId, Vec<Spanned<String>>)>,
}

impl Planted {
    /// The tree, once; the places stay.
    pub(crate) fn tree(&mut self) -> Tree {
        std::mem::take(&mut self.planting).finish()
    }
}

impl Checker<'_> {
    /// Plants apps and all beneath them.
    pub(crate) fn apps(&mut self, apps: &Entries<RawApp>, planted: &mut Planted) {
        for (segment, app) in apps {
            let node = match planted.planting.enter(&segment.value) {
                Ok(node) => node,
                Err(fault) => {
                    let finding = self.error(segment, format!("{}: {fault}", name(&segment.value)));
                    if fault == TreeFault::Segment {
                        finding.hint(
                            "use 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit",
                        );
                    }
                    continue;
                }
            };
            planted.places.push(segment.as_ref().map(|_| node));
            if let Some(project) = &app.project {
                self.project(project, planted);
            }
            if let Some(delegate) = &app.delegate {
                self.error(delegate, "`delegate` is not supported yet")
                    .hint("write the subtree's bindings in this file");
            }
            for owner in app
                .owners
                .iter()
                .filter(|owner| owner.value.trim().is_empty())
            {
                self.error(owner, "an owner is empty");
            }
            let (written, services) = self.services(&app.services).into_iter().unzip();
            planted.services.push((node, written));
            let description = Description {
                owners: app.owners.iter().map(|owner| owner.value.clone()).collect(),
                services,
                marks: self.marks(&app.marks),
                attributes: self.attributes(&app.attributes),
                quota: app.quota.as_ref().and_then(|quota| self.quota(quota)),
                destinations: app.alerts.as_ref().map(|alerts| self.destinations(alerts)),
                backend: app
                    .backend
                    .as_ref()
                    .and_then(|given| self.backend(given, node, planted)),
                also: app.also.as_ref().map(|legs| self.also(legs, node, planted)),
            };
            if let Err(fault) = planted.planting.describe(description) {
                self.error(segment, format!("{}: {fault}", name(&segment.value)));
            }
            self.own_again(app, planted);
            self.apps(&app.apps, planted);
            planted.planting.leave();
        }
    }

    /// The backend that an app names. `None`: reported.
    fn backend(
        &mut self,
        given: &Spanned<RawAppBackend>,
        node: NodeId,
        planted: &mut Planted,
    ) -> Option<BackendTerm> {
        let (written, window) = match &given.value {
            RawAppBackend::Name(text) => (given.as_ref().map(|_| text.clone()), Window::default()),
            RawAppBackend::Timed(timed) => {
                let times = (timed.from.as_ref(), timed.until.as_ref());
                let what = format!("the time of backend {}", name(&timed.name.value));
                let window = self.between(times, "this backend never counts", &what);
                (timed.name.clone(), window)
            }
        };
        let backend = self.known_backend(&written)?;
        let place = written.map(|_| backend);
        planted.backend_places.push((node, place));
        Some(BackendTerm { backend, window })
    }

    /// The other backends of an app, each once.
    fn also(
        &mut self,
        legs: &[Spanned<RawAlso>],
        node: NodeId,
        planted: &mut Planted,
    ) -> Vec<AlsoTerm> {
        let mut checked: Vec<AlsoTerm> = Vec::new();
        for leg in legs {
            let written = &leg.value.backend;
            let Some(backend) = self.known_backend(written) else {
                continue;
            };
            if checked.iter().any(|known| known.backend == backend) {
                self.error(
                    written,
                    format!("backend {} is named twice", name(&written.value)),
                )
                .hint("leave one out");
                continue;
            }
            let place = written.as_ref().map(|_| backend);
            planted.backend_places.push((node, place));
            checked.push(AlsoTerm {
                backend,
                mode: match leg.value.mode {
                    RawAlsoMode::Mirror => AlsoMode::Mirror,
                    RawAlsoMode::Require => AlsoMode::Require,
                },
            });
        }
        if let Some(surplus) = legs.get(ALSO_LIMIT) {
            self.error(
                surplus,
                format!("an app's data goes to at most {ALSO_LIMIT} other backends"),
            );
        }
        checked
    }

    /// An app, just described, whose data would go to one backend twice.
    fn own_again(&mut self, app: &RawApp, planted: &Planted) {
        let Some(node) = planted.planting.open() else {
            return;
        };
        let default = self.around.backends.default;
        let mut own: Vec<BackendId> = node.backends.all(default).collect();
        own.dedup();
        // Where it changes with the time, what is the app's own for a while is left out for that while.
        let [own] = own.as_slice() else {
            return;
        };
        if node.also.iter().all(|leg| leg.backend != *own) {
            return;
        }
        let called = self.around.backends.name(*own).to_owned();
        let again = format!("backend {} is the app's own already", name(&called));
        let legs = app.also.as_deref().unwrap_or_default();
        let leg = legs
            .iter()
            .find(|leg| leg.value.backend.value == called)
            .map(|leg| &leg.value.backend);
        if let Some(leg) = leg {
            self.error(leg, again)
                .hint("leave it out: its data goes there anyway");
        } else if let Some(backend) = &app.backend {
            self.error(
                backend,
                format!("{again}: an app above names it under `also`"),
            )
            .hint("write `also: []` here, or the other backends that are meant");
        }
    }

    fn known_backend(&mut self, written: &Spanned<String>) -> Option<BackendId> {
        let known = self.around.backends;
        let found = known.find(&written.value);
        if found.is_none() {
            let all = || known.iter().map(|(_, known)| &**known);
            let hint = match nearest(&written.value, all()) {
                Some(word) => format!("did you mean {}?", name(word)),
                None if known.are_several() => format!("the configuration has {}", names(all())),
                None => {
                    "the configuration has one backend: name others under its `backends`".to_owned()
                }
            };
            self.error(
                written,
                format!("there is no backend {}", name(&written.value)),
            )
            .hint(hint);
        }
        found
    }

    /// Where an app's alerts go: names that the operator has given.
    fn destinations(&mut self, alerts: &RawAppAlerts) -> Vec<String> {
        let known = self.around.destinations;
        let mut checked: Vec<String> = Vec::new();
        for given in &alerts.destinations {
            if !known.contains(&given.value) {
                let hint = match nearest(&given.value, known.iter().map(String::as_str)) {
                    Some(word) => format!("did you mean {}?", name(word)),
                    None if known.is_empty() => {
                        "the configuration has no `alerts.destinations`".to_owned()
                    }
                    None => format!(
                        "the configuration has {}",
                        names(known.iter().map(String::as_str))
                    ),
                };
                self.error(
                    given,
                    format!("there is no destination {}", name(&given.value)),
                )
                .hint(hint);
            } else if checked.contains(&given.value) {
                self.error(
                    given,
                    format!("destination {} is named twice", name(&given.value)),
                )
                .hint("leave one out");
            } else {
                checked.push(given.value.clone());
            }
        }
        if let Some(surplus) = alerts.destinations.get(DESTINATIONS_LIMIT) {
            self.error(
                surplus,
                format!("an app's alerts go to at most {DESTINATIONS_LIMIT} destinations"),
            );
        }
        checked
    }

    fn project(&mut self, project: &Spanned<String>, planted: &mut Planted) {
        match planted.planting.declare(&project.value) {
            Ok(()) => planted.projects.push(project.clone()),
            Err(fault) => {
                let finding = self.error(project, format!("{}: {fault}", name(&project.value)));
                if matches!(fault, TreeFault::TwoHomes(_)) {
                    finding.hint("apps beneath a project's home share it without naming it");
                }
            }
        }
    }

    fn services(&mut self, services: &[Spanned<String>]) -> Vec<(Spanned<String>, Glob)> {
        services
            .iter()
            .filter_map(|service| Some((service.clone(), self.glob(service, '/')?)))
            .collect()
    }

    /// `match:`, the attributes that mark an app.
    fn marks(&mut self, marks: &Entries<Spanned<String>>) -> Vec<(String, Glob)> {
        let mut checked = Vec::new();
        for (attribute, pattern) in marks {
            if attribute.value == SERVICE_NAME {
                self.error(attribute, "`service.name` is no `match`")
                    .hint("write it under `services:`");
            } else if attribute.value.starts_with(RESERVED) {
                self.error(
                    attribute,
                    format!("callers' attributes that begin with `{RESERVED}` are taken away"),
                )
                .hint("name an attribute that the caller's resources keep");
            }
            checked.extend(
                self.glob(pattern, '/')
                    .map(|glob| (attribute.value.clone(), glob)),
            );
        }
        checked
    }

    /// `attributes:`, those that are written on an app's resources.
    fn attributes(&mut self, attributes: &Entries<Spanned<String>>) -> Vec<(String, String)> {
        for (attribute, value) in attributes {
            let (key, text) = (attribute.value.as_str(), value.value.as_str());
            if key.len() > ATTRIBUTE_NAME_LIMIT_BYTES || key.chars().any(char::is_control) {
                let most = ATTRIBUTE_NAME_LIMIT_BYTES;
                self.error(
                    attribute,
                    format!("an attribute's name has at most {most} bytes, no control characters"),
                );
            } else if key == SERVICE_NAME {
                self.error(attribute, "`service.name` is the caller's to say")
                    .hint("leave it out");
            } else if key.starts_with(RESERVED) {
                self.error(
                    attribute,
                    format!("names that begin with `{RESERVED}` are the gateway's own"),
                )
                .hint("choose another name");
            }
            if text.is_empty() || text.len() > ATTRIBUTE_VALUE_LIMIT_BYTES {
                let most = ATTRIBUTE_VALUE_LIMIT_BYTES;
                self.error(
                    value,
                    format!("an attribute's value has from 1 to {most} bytes"),
                );
            }
        }
        attributes
            .0
            .iter()
            .map(|(attribute, value)| (attribute.value.clone(), value.value.clone()))
            .collect()
    }

    /// A quota of an app or of a binding. `None`: it was reported.
    pub(crate) fn quota(&mut self, raw: &Spanned<RawQuota>) -> Option<Quota> {
        let before = self.errors();
        let RawQuota {
            items_per_second,
            bytes_per_second,
            burst,
        } = &raw.value;
        if items_per_second.is_none() && bytes_per_second.is_none() {
            self.error(
                raw,
                "a quota names `items_per_second`, `bytes_per_second` or both",
            );
        }
        let bytes = bytes_per_second.as_ref().and_then(|given| {
            let bytes = size(&given.value.0);
            match bytes {
                Some(0) => {
                    self.error(given, "a quota of nothing is no quota")
                        .hint("write a binding with `effect: deny`");
                }
                None => self
                    .error(given, "`bytes_per_second` is not a size")
                    .hint(SIZE_FORM),
                Some(_) => {}
            }
            bytes
        });
        let burst = match burst
            .as_ref()
            .map(|given| (given, duration(&given.value.0)))
        {
            None => BURST,
            Some((_, Some(burst))) if (BURST_LEAST..=BURST_MOST).contains(&burst) => burst,
            Some((given, Some(_))) => {
                let (least, most) = (show_duration(BURST_LEAST), show_duration(BURST_MOST));
                self.error(given, format!("`burst` must be from {least} to {most}"));
                BURST
            }
            Some((given, None)) => {
                self.error(given, "`burst` is not a duration")
                    .hint(DURATION_FORM);
                BURST
            }
        };
        let quota = Quota {
            items_per_second: *items_per_second,
            bytes_per_second: bytes,
            burst,
        };
        (self.errors() == before).then_some(quota)
    }

    /// Reports apps that could claim the same resource, neither being more specific.
    pub(crate) fn rivals(&mut self, tree: &Tree, planted: &Planted) {
        for (before, after) in rivals(tree) {
            let (Some(one), Some(other)) = (planted.place(before), planted.place(after)) else {
                continue;
            };
            let path = |claimant: Claimant| {
                tree.node(claimant.node)
                    .map_or("", |node| node.path.as_str())
                    .to_owned()
            };
            let message = format!(
                "apps {} and {} could claim the same resource: {} and {}",
                name(&path(before)),
                name(&path(after)),
                told(&one, before),
                told(&other, after)
            );
            self.error(&other, message).hint(format!(
                "the other is on line {}; give one of them a longer name, fewer wildcards or more `match`",
                one.line()
            ));
        }
    }
}

impl Planted {
    /// Where a claim is written: the service, or the app's name.
    fn place(&self, claimant: Claimant) -> Option<Spanned<String>> {
        match claimant.service {
            Some(service) => {
                let (_, services) = self
                    .services
                    .iter()
                    .find(|(node, _)| *node == claimant.node)?;
                services.get(service).cloned()
            }
            None => {
                let place = self
                    .places
                    .iter()
                    .find(|place| place.value == claimant.node)?;
                Some(place.as_ref().map(|_| String::new()))
            }
        }
    }
}

fn told(place: &Spanned<String>, claimant: Claimant) -> String {
    if claimant.service.is_some() {
        name(&place.value)
    } else {
        "`match`".to_owned()
    }
}
