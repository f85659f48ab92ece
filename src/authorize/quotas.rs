//! Which quotas an export is held to.
//!
//! What it does: lists the quotas of an app, of those above it, and of the bindings that allowed, each with its key.
//! What it refuses to know: how much was used; a `limits::Meter` keeps that. Invariant: a key is `app:` or `binding:` and
//! a name of the policy, so that there are no more keys than the policy has names.

use std::sync::Arc;

use super::Policy;
use super::binding::Binding;
use super::reach::Reach;
use crate::apps::{NodeId, Tree};
use crate::limits::Quota;

/// The quotas of a policy, each with its key.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    apps: ahash::HashMap<NodeId, (Arc<str>, Quota)>,
    bindings: ahash::HashMap<Arc<str>, (Arc<str>, Quota)>,
}

impl Quotas {
    pub(crate) fn of(tree: &Tree, bindings: &[Binding]) -> Self {
        let app = |(id, node): (NodeId, &crate::apps::Node)| {
            Some((id, (format!("app:{}", node.path).into(), node.quota?)))
        };
        let binding = |binding: &Binding| {
            Some((
                binding.name.clone(),
                (format!("binding:{}", binding.name).into(), binding.quota?),
            ))
        };
        Quotas {
            apps: tree.nodes().filter_map(app).collect(),
            bindings: bindings.iter().filter_map(binding).collect(),
        }
    }
}

impl Policy {
    /// The quotas that an export to this app, allowed by these bindings, is held to, with their keys: the app's own, those
    /// of all apps above it (each is one for its whole subtree), and the bindings' (each is one for all their callers).
    pub fn quotas(&self, node: NodeId, bindings: &[Arc<str>]) -> Vec<(Arc<str>, Quota)> {
        let mut quotas = Vec::new();
        let mut above = (!self.quotas.apps.is_empty()).then_some(node);
        while let Some(node) = above {
            quotas.extend(self.quotas.apps.get(&node).cloned());
            above = self.tree.node(node).and_then(|node| node.parent);
        }
        if !self.quotas.bindings.is_empty() {
            quotas.extend(
                bindings
                    .iter()
                    .filter_map(|name| self.quotas.bindings.get(name))
                    .cloned(),
            );
        }
        quotas
    }

    /// The quotas that every part of an export within this reach is held to, whichever app it belongs to. If one of them
    /// is used up, the export can be refused before its body is read.
    pub(crate) fn quotas_in_any_case(&self, reach: &Reach) -> Vec<(Arc<str>, Quota)> {
        if let Some(node) = reach.named() {
            return self.quotas(node, &self.names(&self.allowing(reach, node)));
        }
        let intervals = || {
            self.each(reach.allows())
                .flat_map(|binding| binding.places.intervals())
        };
        let mut common = intervals()
            .next()
            .and_then(|interval| self.tree.at(interval.start));
        while let Some(node) = common {
            let whole = self.tree.interval(node);
            if intervals()
                .all(|interval| whole.start <= interval.start && interval.end <= whole.end)
            {
                break;
            }
            common = self.tree.node(node).and_then(|node| node.parent);
        }
        let Some(common) = common else {
            return Vec::new();
        };
        let everywhere = self.each(reach.allows()).filter(|binding| {
            let within = |interval: &std::ops::Range<u32>| {
                binding
                    .places
                    .intervals()
                    .iter()
                    .any(|own| own.start <= interval.start && interval.end <= own.end)
            };
            intervals().all(within)
        });
        self.quotas(
            common,
            &everywhere
                .map(|binding| binding.name.clone())
                .collect::<Vec<_>>(),
        )
    }
}
