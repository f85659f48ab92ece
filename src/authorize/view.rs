//! What of the tree a caller sees.
//!
//! What it does: tells the permissions that a caller holds at a node, and which children lead somewhere.
//! What it refuses to know: how it is shown. Invariant: a node at and beneath which the caller holds nothing looks like
//! one that does not exist.

use std::sync::Arc;

use super::Policy;
use super::binding::{Binding, Effect};
use super::permissions::PermissionSet;
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

impl Policy {
    /// The caller's view of a node; `None` if there is none or nothing for this caller. The root is seen by everybody.
    pub fn view(&self, facts: &Facts, app: &AppPath, now: UnixMillis) -> Option<View> {
        let mut bindings: Vec<(u32, &Binding)> = Vec::new();
        self.speaking(facts, |binding| binding.window.contains(now), |place, binding| bindings.push((place, binding)));
        bindings.sort_unstable_by_key(|(place, _)| *place);
        bindings.dedup_by_key(|(place, _)| *place);
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
            project: self.tree.project_of(node).filter(|_| !held.is_empty()).cloned(),
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
                .fold(PermissionSet::default(), |set, (_, binding)| set.union(binding.permissions))
        };
        of(Effect::Allow).without(of(Effect::Deny)).intersection(self.scopes.at(&self.tree, node))
    }
}
