//! The decision.
//!
//! What it does: from facts, an operation, a target and a time to a verdict, and, when asked, to the trace of every
//! binding that speaks of the caller. What it refuses to know: requests, and where the facts come from.
//! Invariants: pure; nothing is allowed without an allow in force at the node or above it and no deny in force there.

use std::sync::Arc;

use super::Policy;
use super::binding::{Binding, Effect};
use super::permit::DenialReason;
use crate::apps::{AppPath, NodeId};
use crate::clock::UnixMillis;
use crate::identify::Facts;
use crate::profiles::{Operation, OperationId, PermissionId, Scope};

/// What the operation is asked of.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// An export to this app; `None`: to the only app that the caller may write to.
    App(Option<&'a AppPath>),
    /// A query on this project.
    Project(&'a str),
    /// Something that concerns the whole organization.
    Organization,
    /// The list of projects.
    Projects,
}

/// The outcome of a decision.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub allowed: bool,
    /// `Some` unless allowed.
    pub reason: Option<DenialReason>,
    /// Where it was decided: the app, the project's home, or the root.
    pub app: Option<AppPath>,
    /// The project concerned; none for what is the organization's.
    pub project: Option<Arc<str>>,
    /// The bindings that decided, in the policy's order: those that allow, or those that deny.
    pub bindings: Vec<Arc<str>>,
    /// For the list of projects: those that the caller may see, in the tree's order.
    pub visible_projects: Vec<Arc<str>>,
    /// Whether an allowing binding names the permission letter by letter.
    pub named_in_full: bool,
    /// Every binding that speaks of the caller; filled by `evaluate` only.
    pub trace: Vec<Considered>,
}

/// One binding that speaks of the caller, and what it lacked, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    pub binding: Arc<str>,
    pub effect: Effect,
    /// Which of its subjects matched first, counted from 1.
    pub subject: usize,
    /// Whether it holds the permission.
    pub permission: bool,
    /// Whether it would hold it, were the permission not sensitive.
    pub withheld: bool,
    /// Whether it reaches the node decided on (any node, where none is).
    pub place: bool,
    /// Whether now lies in its time.
    pub in_force: bool,
}

impl Verdict {
    fn denied(reason: DenialReason) -> Self {
        Verdict {
            allowed: false,
            reason: Some(reason),
            app: None,
            project: None,
            bindings: Vec::new(),
            visible_projects: Vec::new(),
            named_in_full: false,
            trace: Vec::new(),
        }
    }

    fn at(mut self, app: Option<AppPath>, project: Option<Arc<str>>) -> Self {
        (self.app, self.project) = (app, project);
        self
    }
}

/// The bindings in force that speak of a caller and hold a permission, as places in the policy.
#[derive(Default)]
struct Matched {
    allows: Vec<u32>,
    denies: Vec<u32>,
    /// An allow would hold, but not now.
    untimely: bool,
    /// An allow's wildcard would hold, were the permission not sensitive.
    withheld: bool,
}

impl Matched {
    /// Why nothing allows.
    fn reason(&self) -> DenialReason {
        if !self.denies.is_empty() {
            DenialReason::DeniedByBinding
        } else if self.withheld {
            DenialReason::SensitiveNotNamed
        } else if self.untimely {
            DenialReason::OutsideTimeWindow
        } else {
            DenialReason::NotPermitted
        }
    }
}

impl Policy {
    /// Decides, and tells every binding that speaks of the caller. For `explain` and tests.
    pub fn evaluate(&self, facts: &Facts, operation: OperationId, target: Target<'_>, now: UnixMillis) -> Verdict {
        let mut verdict = self.decide(facts, operation, target, now);
        let permission = self.profile.operation(operation).permission_id;
        let node = verdict.app.as_ref().and_then(|app| self.tree.find(app));
        for binding in &self.bindings {
            let Some(subject) = binding.subjects.iter().position(|subject| subject.matches(facts)) else { continue };
            verdict.trace.push(Considered {
                binding: binding.name.clone(),
                effect: binding.effect,
                subject: subject + 1,
                permission: binding.permissions.contains(permission),
                withheld: binding.withheld.contains(permission),
                place: node.is_none_or(|node| binding.places.contains(node)),
                in_force: binding.window.contains(now),
            });
        }
        verdict
    }

    /// Decides. The trace stays empty.
    pub fn decide(&self, facts: &Facts, operation: OperationId, target: Target<'_>, now: UnixMillis) -> Verdict {
        let Some(row) = self.profile.operations().get(usize::from(operation.0)) else {
            return Verdict::denied(DenialReason::OperationUnknown);
        };
        match (row.scope, target) {
            (Scope::App, Target::App(Some(path))) => match self.tree.find(path) {
                Some(node) => self.decide_export(facts, row, node, now),
                None => Verdict::denied(DenialReason::AppUnknown),
            },
            (Scope::App, Target::App(None)) => self.decide_only_app(facts, row.permission_id, now),
            (Scope::Project, Target::Project(project)) => match self.tree.home(project) {
                Some(home) => {
                    let project = self.tree.project_of(home).cloned();
                    self.decide_at(facts, row.permission_id, home, now).at(self.path(home), project)
                }
                None => Verdict::denied(DenialReason::ProjectUnknown),
            },
            (Scope::Organization, Target::Organization) => {
                self.decide_at(facts, row.permission_id, NodeId::ROOT, now).at(Some(AppPath::root()), None)
            }
            (Scope::Projects, Target::Projects) => {
                self.decide_projects(facts, row.permission_id, now).at(Some(AppPath::root()), None)
            }
            _ => Verdict::denied(DenialReason::EvaluationError),
        }
    }

    fn decide_export(&self, facts: &Facts, row: &Operation, node: NodeId, now: UnixMillis) -> Verdict {
        let verdict = self.decide_at(facts, row.permission_id, node, now);
        match self.tree.project_of(node) {
            None if verdict.allowed => Verdict::denied(DenialReason::AppWithoutProject).at(self.path(node), None),
            project => verdict.at(self.path(node), project.cloned()),
        }
    }

    fn decide_at(&self, facts: &Facts, permission: PermissionId, node: NodeId, now: UnixMillis) -> Verdict {
        let matched = self.matched(facts, permission, Some(node), now);
        if !matched.denies.is_empty() || matched.allows.is_empty() {
            return Verdict { bindings: self.names(&matched.denies), ..Verdict::denied(matched.reason()) };
        }
        self.allowed(&matched.allows, permission)
    }

    /// The only node with a project where an export is allowed.
    fn decide_only_app(&self, facts: &Facts, permission: PermissionId, now: UnixMillis) -> Verdict {
        let matched = self.matched(facts, permission, None, now);
        let mut only = None;
        for node in self.covered(&matched.allows) {
            let writable = self.tree.project_of(node).is_some() && !self.covers(&matched.denies, node);
            if !writable || only == Some(node) {
                continue;
            }
            if only.is_some() {
                return Verdict::denied(DenialReason::AppAmbiguous);
            }
            only = Some(node);
        }
        let Some(node) = only else {
            return Verdict { bindings: self.names(&matched.denies), ..Verdict::denied(DenialReason::NoWritableApp) };
        };
        let allows: Vec<u32> =
            matched.allows.into_iter().filter(|place| self.covers(std::slice::from_ref(place), node)).collect();
        self.allowed(&allows, permission).at(self.path(node), self.tree.project_of(node).cloned())
    }

    /// The list of projects: allowed for whoever may see one, and narrowed to those.
    fn decide_projects(&self, facts: &Facts, permission: PermissionId, now: UnixMillis) -> Verdict {
        let matched = self.matched(facts, permission, None, now);
        let mut allows = Vec::new();
        let mut visible = Vec::new();
        for (home, project) in self.tree.homes() {
            let mut here = matched.allows.iter().filter(|place| self.covers(std::slice::from_ref(place), home));
            if self.covers(&matched.denies, home) {
                continue;
            }
            if let Some(first) = here.next() {
                visible.push(project.clone());
                allows.extend(std::iter::once(first).chain(here).copied());
            }
        }
        if visible.is_empty() {
            return Verdict { bindings: self.names(&matched.denies), ..Verdict::denied(matched.reason()) };
        }
        allows.sort_unstable();
        allows.dedup();
        Verdict { visible_projects: visible, ..self.allowed(&allows, permission) }
    }

    /// Collects what speaks of the caller, holds the permission, is in force, and reaches the node (`None`: any).
    fn matched(&self, facts: &Facts, permission: PermissionId, node: Option<NodeId>, now: UnixMillis) -> Matched {
        let mut matched = Matched::default();
        self.index.candidates(facts, |entry| {
            let Some(binding) = self.binding(entry.binding) else { return };
            let held = binding.permissions.contains(permission);
            if !(held || binding.withheld.contains(permission))
                || node.is_some_and(|node| !binding.places.contains(node))
                || !entry.subject.matches(facts)
            {
                return;
            }
            let allows = binding.effect == Effect::Allow;
            match (binding.window.contains(now), held) {
                (false, _) => matched.untimely |= allows,
                (true, false) => matched.withheld |= allows,
                (true, true) if allows => matched.allows.push(entry.binding),
                (true, true) => matched.denies.push(entry.binding),
            }
        });
        for places in [&mut matched.allows, &mut matched.denies] {
            places.sort_unstable();
            places.dedup();
        }
        matched
    }

    fn allowed(&self, allows: &[u32], permission: PermissionId) -> Verdict {
        Verdict {
            allowed: true,
            reason: None,
            app: None,
            project: None,
            bindings: self.names(allows),
            visible_projects: Vec::new(),
            named_in_full: self.each(allows).any(|binding| binding.full.contains(permission)),
            trace: Vec::new(),
        }
    }

    fn covers(&self, bindings: &[u32], node: NodeId) -> bool {
        self.each(bindings).any(|binding| binding.places.contains(node))
    }

    /// The nodes that the bindings reach; one that several reach comes several times.
    fn covered(&self, bindings: &[u32]) -> impl Iterator<Item = NodeId> {
        self.each(bindings)
            .flat_map(|binding| binding.places.intervals())
            .flat_map(|interval| interval.clone().filter_map(|number| self.tree.at(number)))
    }

    fn binding(&self, place: u32) -> Option<&Binding> {
        self.bindings.get(place as usize)
    }

    fn each(&self, places: &[u32]) -> impl Iterator<Item = &Binding> {
        places.iter().filter_map(|place| self.binding(*place))
    }

    fn names(&self, places: &[u32]) -> Vec<Arc<str>> {
        self.each(places).map(|binding| binding.name.clone()).collect()
    }

    fn path(&self, node: NodeId) -> Option<AppPath> {
        Some(self.tree.node(node)?.path.clone())
    }
}
