//! Apps that could claim the same resource, neither being more specific.
//!
//! What it does: finds pairs of rules that leave the owner of some resource undecided. What it refuses to know: where
//! they are written. Invariants: a pair is found only if a resource exists that both fit; apps of which one lies beneath
//! the other are no rivals, because the one beneath wins.

use std::sync::Arc;

use super::ownership::{Rank, Rule, rules};
use super::{Glob, NodeId, Tree};

/// One side of a pair: an app, and by which of its services (from 0; none: by its `match` alone).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claimant {
    pub node: NodeId,
    pub service: Option<usize>,
}

/// All rules that have a rival, each with the first of them that stands before it.
pub(crate) fn rivals(tree: &Tree) -> Vec<(Claimant, Claimant)> {
    let rules = rules(tree);
    // Rules of one rank have equally long prefixes, so those with different ones never meet.
    let mut alike: ahash::HashMap<(Rank, Arc<str>), Vec<&Rule>> = ahash::HashMap::default();
    let mut pairs = Vec::new();
    for rule in &rules {
        let prefix: Arc<str> = rule.service.as_ref().map_or("", Glob::prefix).into();
        let before = alike.entry((rule.rank, prefix)).or_default();
        let related = |other: &Rule| {
            tree.contains(other.node, rule.node) || tree.contains(rule.node, other.node)
        };
        if let Some(rival) = before
            .iter()
            .find(|other| !related(other) && meet(rule, other))
        {
            pairs.push((claimant(rival), claimant(rule)));
        }
        before.push(rule);
    }
    pairs
}

fn claimant(rule: &Rule) -> Claimant {
    Claimant {
        node: rule.node,
        service: rule.place,
    }
}

/// Whether some resource fits both.
fn meet(one: &Rule, other: &Rule) -> bool {
    let services = match (&one.service, &other.service) {
        (Some(one), Some(other)) => one.meets(other),
        (Some(_), None) | (None, Some(_)) | (None, None) => true,
    };
    services
        && one.marks.iter().all(|(name, pattern)| {
            let same = other.marks.iter().find(|(wanted, _)| wanted == name);
            same.is_none_or(|(_, wanted)| pattern.meets(wanted))
        })
}
