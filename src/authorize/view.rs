//! What of the tree a caller sees.
//!
//! What it does: tells the permissions that a caller holds at a node, which children lead somewhere, and all of it at
//! once. What it refuses to know: how it is shown. Invariant: a node at and beneath which the caller holds nothing looks
//! like one that does not exist.

use std::sync::Arc;

use super::Policy;
use super::binding::{Binding, Effect};
use super::permissions::{PermissionSet, fits};
use crate::apps::{AppPath, NodeId};
use crate::clock::UnixMillis;
use crate::identify::Facts;
use crate::profiles::PermissionId;

/// One node as a caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub app: AppPath,
    /// The project that exports to this app go to; only for who may export or query here.
    pub project: Option<Arc<str>>,
    /// What the caller may do here, sorted: exports, queries where the project has its home, and the organization's
    /// own at the root.
    pub permissions: Vec<String>,
    /// The children at or beneath which the caller may do something.
    pub apps: Vec<AppPath>,
}

/// One node of a caller's whole view.
#[derive(Clone, Debug)]
pub struct NodeView {
    pub app: AppPath,
    /// 0: the root.
    pub depth: usize,
    /// As in `View`.
    pub project: Option<Arc<str>>,
    /// Whether the project has its home here.
    pub(crate) is_home: bool,
    /// The people to ask; only where the caller may do something.
    pub owners: Vec<String>,
    /// What the caller may do here, sorted; empty where the node only leads to others.
    pub grants: Arc<[Grant]>,
}

/// One permission that a caller holds, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub(crate) permission: String,
    /// The allowing bindings, in the policy's order.
    pub(crate) bindings: Vec<Arc<str>>,
}

impl NodeView {
    /// Whether the caller holds a permission of this form here: `ingest.*`, `query.streams.read`; a word is literal or `*`.
    pub(crate) fn holds(&self, pattern: &str) -> bool {
        self.grants
            .iter()
            .any(|grant| fits(pattern, &grant.permission))
    }
}

impl Policy {
    /// Whether a caller holds a permission at an app now. No caller holds unknown permissions, or any at unknown apps.
    pub fn may(&self, facts: &Facts, permission: &str, app: &AppPath, now: UnixMillis) -> bool {
        let (Some(permission), Some(node)) =
            (self.profile.permission(permission), self.tree.find(app))
        else {
            return false;
        };
        self.held(&self.in_force(facts, now), node)
            .contains(permission)
    }

    /// The caller's whole view: the nodes for which `view` has an answer, depth first, the root first.
    pub fn overview(&self, facts: &Facts, now: UnixMillis) -> Vec<NodeView> {
        let bindings = self.in_force(facts, now);
        let held: Vec<PermissionSet> = self
            .tree
            .nodes()
            .map(|(node, _)| self.held(&bindings, node))
            .collect();
        // From the last node to the first: children come after their parents.
        let mut visible: Vec<bool> = held.iter().map(|held| !held.is_empty()).collect();
        for (node, about) in self.tree.nodes().collect::<Vec<_>>().into_iter().rev() {
            let is_visible = visible
                .get(node.number() as usize)
                .copied()
                .unwrap_or_default();
            if let (true, Some(parent)) = (is_visible, about.parent)
                && let Some(above) = visible.get_mut(parent.number() as usize)
            {
                *above = true;
            }
        }
        // Whole subtrees have the same grants: they are told once.
        let mut told: ahash::HashMap<(Vec<u32>, PermissionSet), Arc<[Grant]>> =
            ahash::HashMap::default();
        let mut nodes = Vec::new();
        for ((node, about), (held, is_visible)) in self.tree.nodes().zip(held.iter().zip(visible)) {
            if !is_visible && node != NodeId::ROOT {
                continue;
            }
            let allows: Vec<u32> = bindings
                .iter()
                .filter(|(_, binding)| {
                    binding.effect == Effect::Allow && binding.places.contains(node)
                })
                .map(|(place, _)| *place)
                .collect();
            let grants = told
                .entry((allows, *held))
                .or_insert_with_key(|(allows, held)| self.grants(allows, *held));
            let holds = !grants.is_empty();
            nodes.push(NodeView {
                app: about.path.clone(),
                depth: about.path.depth(),
                project: self.tree.project_of(node).filter(|_| holds).cloned(),
                is_home: holds && about.declared_project().is_some(),
                owners: if holds {
                    about.owners.clone()
                } else {
                    Vec::new()
                },
                grants: grants.clone(),
            });
        }
        nodes
    }

    /// The permissions of a set, each with those of the bindings that give it.
    fn grants(&self, allows: &[u32], held: PermissionSet) -> Arc<[Grant]> {
        let names = self
            .profile
            .permissions()
            .iter()
            .zip(0..)
            .map(|(name, id)| (name, PermissionId(id)));
        let grant = |(name, id): (&String, PermissionId)| Grant {
            permission: name.clone(),
            bindings: self
                .each(allows)
                .filter(|binding| binding.permissions.contains(id))
                .map(|binding| binding.name.clone())
                .collect(),
        };
        names
            .filter(|(_, id)| held.contains(*id))
            .map(grant)
            .collect()
    }

    /// The bindings in force that speak of a caller, in the policy's order, each once.
    fn in_force(&self, facts: &Facts, now: UnixMillis) -> Vec<(u32, &Binding)> {
        let mut bindings: Vec<(u32, &Binding)> = Vec::new();
        self.speaking(
            facts,
            |binding| binding.window.contains(now),
            |place, binding| bindings.push((place, binding)),
        );
        bindings.sort_unstable_by_key(|(place, _)| *place);
        bindings.dedup_by_key(|(place, _)| *place);
        bindings
    }

    /// The caller's view of a node; `None` if there is none or nothing for this caller. The root is seen by everybody.
    pub fn view(&self, facts: &Facts, app: &AppPath, now: UnixMillis) -> Option<View> {
        let bindings = self.in_force(facts, now);
        let node = self.tree.find(app)?;
        let held = self.held(&bindings, node);
        let apps: Vec<AppPath> = self
            .tree
            .children(node)
            .filter(|child| {
                self.tree
                    .interval(*child)
                    .filter_map(|number| self.tree.at(number))
                    .any(|below| !self.held(&bindings, below).is_empty())
            })
            .filter_map(|child| Some(self.tree.node(child)?.path.clone()))
            .collect();
        if held.is_empty() && apps.is_empty() && node != NodeId::ROOT {
            return None;
        }
        let names = self.profile.permissions().iter().zip(0..);
        Some(View {
            app: app.clone(),
            project: self
                .tree
                .project_of(node)
                .filter(|_| !held.is_empty())
                .cloned(),
            permissions: names
                .filter(|(_, id)| held.contains(PermissionId(*id)))
                .map(|(name, _)| name.clone())
                .collect(),
            apps,
        })
    }

    fn held(&self, bindings: &[(u32, &Binding)], node: NodeId) -> PermissionSet {
        let of = |effect: Effect| {
            bindings
                .iter()
                .filter(|(_, binding)| binding.effect == effect && binding.places.contains(node))
                .fold(PermissionSet::default(), |set, (_, binding)| {
                    set.union(binding.permissions)
                })
        };
        of(Effect::Allow)
            .without(of(Effect::Deny))
            .intersection(self.scopes.at(&self.tree, node))
    }
}
