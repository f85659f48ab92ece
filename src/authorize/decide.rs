//! The decision.
//!
//! What it does: from facts, an operation, a target and a time to a verdict, and, when asked, to the trace of every
//! binding that speaks of the caller. What it refuses to know: requests, and where the facts come from.
//! Invariants: pure; nothing is allowed without an allow in force at the node or above it and no deny in force there.

use std::sync::Arc;

use super::Policy;
use super::binding::{Binding, Effect, UnknownServices};
use super::verdict::{Considered, Target, Verdict};
use crate::apps::{AppPath, NodeId};
use crate::clock::UnixMillis;
use crate::identify::{Facts, Method};
use crate::profiles::{Operation, OperationId, PermissionId, Scope};
use crate::reason::Reason;

/// Where an export goes that names no app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fallback {
    pub node: NodeId,
    /// The binding whose `default_app` it is, as a place in the policy; none: it is the only one.
    pub default_of: Option<u32>,
}

/// The bindings in force that speak of a caller and hold a permission, as places in the policy.
#[derive(Default)]
pub(super) struct Matched {
    pub allows: Vec<u32>,
    pub denies: Vec<u32>,
    /// An allow would hold, but not now.
    untimely: bool,
    /// An allow's wildcard would hold, were the permission not sensitive.
    withheld: bool,
}

impl Matched {
    /// Bindings that hold the permission and are in force, whatever others lack.
    pub(super) fn of(allows: Vec<u32>, denies: Vec<u32>) -> Self {
        Matched {
            allows,
            denies,
            ..Matched::default()
        }
    }

    /// Why nothing allows.
    fn reason(&self) -> Reason {
        if !self.denies.is_empty() {
            Reason::DeniedByBinding
        } else if self.withheld {
            Reason::SensitiveNotNamed
        } else if self.untimely {
            Reason::OutsideTimeWindow
        } else {
            Reason::NotPermitted
        }
    }
}

impl Policy {
    /// Decides, and tells every binding that speaks of the caller. For `explain` and tests.
    pub fn evaluate(
        &self,
        facts: &Facts,
        operation: OperationId,
        target: Target<'_>,
        now: UnixMillis,
    ) -> Verdict {
        let mut verdict = self.decide(facts, operation, target, now);
        let permission = self.profile.operation(operation).permission_id;
        let node = verdict.app.as_ref().and_then(|app| self.tree.find(app));
        let issued_for = self.of_client_token(facts);
        for (binding, place) in self.bindings.iter().zip(0..) {
            let subject = binding
                .subjects
                .iter()
                .position(|subject| binding.reaches(subject, facts))
                .map(|at| at + 1);
            let Some(subject) = subject.or((issued_for == Some(place)).then_some(0)) else {
                continue;
            };
            verdict.trace.push(Considered {
                binding: binding.name.clone(),
                effect: binding.effect,
                subject,
                permission: binding.permissions.contains(permission),
                withheld: binding.withheld.contains(permission),
                place: node.is_none_or(|node| binding.places.contains(node)),
                in_force: binding.window.contains(now),
            });
        }
        verdict
    }

    /// Decides. The trace stays empty.
    pub fn decide(
        &self,
        facts: &Facts,
        operation: OperationId,
        target: Target<'_>,
        now: UnixMillis,
    ) -> Verdict {
        let Some(row) = self.profile.operations().get(usize::from(operation.0)) else {
            return Verdict::denied(Reason::OperationUnknown);
        };
        match (row.scope, target) {
            (Scope::App, Target::App(Some(path))) => match self.tree.find(path) {
                Some(node) => self.decide_export(facts, row, node, now),
                None => Verdict::denied(Reason::AppUnknown),
            },
            (Scope::App, Target::App(None)) => self.decide_only_app(facts, row.permission_id, now),
            (Scope::Project, Target::Project(project)) => match self.tree.home(project) {
                Some(home) => {
                    let project = self.tree.project_of(home).cloned();
                    self.decide_at(facts, row.permission_id, home, now)
                        .at(self.path(home), project)
                        .on(self.backend_of(home, now))
                }
                None => Verdict::denied(Reason::ProjectUnknown),
            },
            (Scope::Organization, Target::Organization) => self
                .decide_at(facts, row.permission_id, NodeId::ROOT, now)
                .at(Some(AppPath::root()), None)
                .on(self.backends.queried),
            (Scope::Projects, Target::Projects) => self
                .decide_projects(facts, row.permission_id, now)
                .at(Some(AppPath::root()), None)
                .on(self.backends.queried),
            _ => Verdict::denied(Reason::EvaluationError),
        }
    }

    fn decide_export(
        &self,
        facts: &Facts,
        row: &Operation,
        node: NodeId,
        now: UnixMillis,
    ) -> Verdict {
        let verdict = self.decide_at(facts, row.permission_id, node, now);
        self.export_to(node, verdict, now)
    }

    /// A verdict on an export at a node, which needs a project to write to.
    pub(super) fn export_to(&self, node: NodeId, verdict: Verdict, now: UnixMillis) -> Verdict {
        match self.tree.project_of(node) {
            None if verdict.allowed => {
                Verdict::denied(Reason::AppWithoutProject).at(self.path(node), None)
            }
            project => verdict
                .at(self.path(node), project.cloned())
                .on(self.backend_of(node, now)),
        }
    }

    fn decide_at(
        &self,
        facts: &Facts,
        permission: PermissionId,
        node: NodeId,
        now: UnixMillis,
    ) -> Verdict {
        self.settled_at(
            &self.matched(facts, permission, Some(node), now),
            permission,
        )
    }

    /// What the bindings that reach one node come to.
    pub(super) fn settled_at(&self, matched: &Matched, permission: PermissionId) -> Verdict {
        if !matched.denies.is_empty() || matched.allows.is_empty() {
            return Verdict {
                bindings: self.names(&matched.denies),
                ..Verdict::denied(matched.reason())
            };
        }
        self.allowed(&matched.allows, permission)
    }

    /// The only node with a project where an export is allowed, or the one that a binding makes the default.
    fn decide_only_app(&self, facts: &Facts, permission: PermissionId, now: UnixMillis) -> Verdict {
        let matched = self.matched(facts, permission, None, now);
        // What is not read has no service that could be unknown.
        match self.only_app(&matched.allows, &matched.denies, false) {
            Ok(Fallback { node, .. }) => {
                let allowed = self.allowed(&self.covering(&matched.allows, node), permission);
                allowed
                    .at(self.path(node), self.tree.project_of(node).cloned())
                    .on(self.backend_of(node, now))
            }
            Err(Reason::NoWritableApp) => Verdict {
                bindings: self.names(&matched.denies),
                ..Verdict::denied(Reason::NoWritableApp)
            },
            Err(reason) => Verdict::denied(reason),
        }
    }

    /// Where an export goes that names no app. With `unknown_service`, bindings that reject those do not count.
    pub(super) fn only_app(
        &self,
        allows: &[u32],
        denies: &[u32],
        unknown_service: bool,
    ) -> Result<Fallback, Reason> {
        let writable =
            |node: NodeId| self.tree.project_of(node).is_some() && !self.covers(denies, node);
        let mut only: Option<Fallback> = None;
        let mut rejected = false;
        for place in allows {
            let alone = std::slice::from_ref(place);
            let unknown = self.binding(*place).map(|binding| binding.unknown_services);
            let found = match unknown {
                Some(UnknownServices::App(node)) => {
                    &mut Some(node).into_iter().filter(|node| writable(*node))
                        as &mut dyn Iterator<Item = NodeId>
                }
                Some(UnknownServices::Reject) if unknown_service => {
                    rejected |= self.covered(alone).any(writable);
                    continue;
                }
                _ => &mut self.covered(alone).filter(|node| writable(*node)),
            };
            let default_of = matches!(unknown, Some(UnknownServices::App(_))).then_some(*place);
            for node in found {
                match only {
                    Some(one) if one.node != node => return Err(Reason::AppAmbiguous),
                    Some(_) => {}
                    None => only = Some(Fallback { node, default_of }),
                }
            }
        }
        only.ok_or(if rejected {
            Reason::ServiceUnknown
        } else {
            Reason::NoWritableApp
        })
    }

    /// The projects at whose homes the caller holds an operation's permission, in the tree's order: what an answer to
    /// an organization-wide operation may speak of.
    pub(crate) fn projects_held(
        &self,
        facts: &Facts,
        operation: OperationId,
        now: UnixMillis,
    ) -> Vec<Arc<str>> {
        self.decide_projects(facts, self.profile.operation(operation).permission_id, now)
            .visible_projects
    }

    /// Whether a caller holds an operation's permission at a project's home, wherever the operation itself is decided.
    pub(crate) fn holds_at(
        &self,
        facts: &Facts,
        operation: OperationId,
        project: &str,
        now: UnixMillis,
    ) -> bool {
        let permission = self.profile.operation(operation).permission_id;
        self.tree
            .home(project)
            .is_some_and(|home| self.decide_at(facts, permission, home, now).allowed)
    }

    /// The list of projects: allowed for a caller who may see one, and narrowed to those.
    fn decide_projects(&self, facts: &Facts, permission: PermissionId, now: UnixMillis) -> Verdict {
        let matched = self.matched(facts, permission, None, now);
        let mut allows = Vec::new();
        let mut visible = Vec::new();
        for (home, project) in self.tree.homes() {
            let mut here = matched
                .allows
                .iter()
                .filter(|place| self.covers(std::slice::from_ref(place), home));
            if self.covers(&matched.denies, home) {
                continue;
            }
            if let Some(first) = here.next() {
                visible.push(project.clone());
                allows.extend(std::iter::once(first).chain(here).copied());
            }
        }
        if visible.is_empty() {
            return Verdict {
                bindings: self.names(&matched.denies),
                ..Verdict::denied(matched.reason())
            };
        }
        allows.sort_unstable();
        allows.dedup();
        Verdict {
            visible_projects: visible,
            ..self.allowed(&allows, permission)
        }
    }

    /// Collects what speaks of the caller, holds the permission, is in force, and reaches the node (`None`: any).
    pub(super) fn matched(
        &self,
        facts: &Facts,
        permission: PermissionId,
        node: Option<NodeId>,
        now: UnixMillis,
    ) -> Matched {
        let mut matched = Matched::default();
        let concerns = |binding: &Binding| {
            (binding.permissions.contains(permission) || binding.withheld.contains(permission))
                && node.is_none_or(|node| binding.places.contains(node))
        };
        self.speaking(facts, concerns, |place, binding| {
            let allows = binding.effect == Effect::Allow;
            match (
                binding.window.contains(now),
                binding.permissions.contains(permission),
            ) {
                (false, _) => matched.untimely |= allows,
                (true, false) => matched.withheld |= allows,
                (true, true) if allows => matched.allows.push(place),
                (true, true) => matched.denies.push(place),
            }
        });
        for places in [&mut matched.allows, &mut matched.denies] {
            places.sort_unstable();
            places.dedup();
        }
        matched
    }

    /// Hands those bindings that `concerns` holds of and that speak of the caller to `visit`, each at least once: by one
    /// of their subjects, or because the caller's client token was issued for them.
    pub(super) fn speaking<'a>(
        &'a self,
        facts: &Facts,
        concerns: impl Fn(&Binding) -> bool,
        mut visit: impl FnMut(u32, &'a Binding),
    ) {
        if let Some(place) = self.of_client_token(facts)
            && let Some(binding) = self.binding(place).filter(|binding| concerns(binding))
        {
            visit(place, binding);
        }
        self.index.candidates(facts, |entry| {
            let binding = self
                .binding(entry.binding)
                .filter(|binding| concerns(binding));
            if let Some(binding) = binding.filter(|binding| binding.reaches(&entry.subject, facts))
            {
                visit(entry.binding, binding);
            }
        });
    }

    /// The binding that the caller's client token was issued for.
    fn of_client_token(&self, facts: &Facts) -> Option<u32> {
        let name = facts
            .client_binding
            .as_ref()
            .filter(|_| facts.method == Method::ClientToken)?;
        self.places.get(name).copied()
    }

    fn allowed(&self, allows: &[u32], permission: PermissionId) -> Verdict {
        Verdict {
            allowed: true,
            reason: None,
            app: None,
            project: None,
            backend: self.backends.default,
            bindings: self.names(allows),
            visible_projects: Vec::new(),
            named_in_full: self
                .each(allows)
                .any(|binding| binding.full.contains(permission)),
            trace: Vec::new(),
        }
    }

    pub(super) fn covers(&self, bindings: &[u32], node: NodeId) -> bool {
        self.each(bindings)
            .any(|binding| binding.places.contains(node))
    }

    /// Of the bindings, those that reach the node.
    pub(super) fn covering(&self, bindings: &[u32], node: NodeId) -> Vec<u32> {
        bindings
            .iter()
            .copied()
            .filter(|place| self.covers(std::slice::from_ref(place), node))
            .collect()
    }

    /// The nodes that the bindings reach; one that several reach comes several times.
    pub(super) fn covered(&self, bindings: &[u32]) -> impl Iterator<Item = NodeId> {
        self.each(bindings)
            .flat_map(|binding| binding.places.intervals())
            .flat_map(|interval| interval.clone().filter_map(|number| self.tree.at(number)))
    }

    fn binding(&self, place: u32) -> Option<&Binding> {
        self.bindings.get(place as usize)
    }

    pub(super) fn each(&self, places: &[u32]) -> impl Iterator<Item = &Binding> {
        places.iter().filter_map(|place| self.binding(*place))
    }

    pub(super) fn names(&self, places: &[u32]) -> Vec<Arc<str>> {
        self.each(places)
            .map(|binding| binding.name.clone())
            .collect()
    }

    pub(super) fn path(&self, node: NodeId) -> Option<AppPath> {
        Some(self.tree.node(node)?.path.clone())
    }
}
