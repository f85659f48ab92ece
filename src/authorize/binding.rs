//! What a binding gives or takes, where and when.
//!
//! What it does: holds a checked binding in the form in which it is asked. What it refuses to know: how a subject is compared.
//! Invariant: places are disjoint intervals in rising order, so that one binary search answers.

use std::ops::Range;
use std::sync::Arc;

use super::permissions::PermissionSet;
use super::subject::Subject;
use crate::apps::NodeId;
use crate::clock::Window;
use crate::identify::{Facts, Method};
use crate::limits::Quota;

/// Whether a binding gives or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// One entry of `bindings:`.
#[derive(Debug)]
pub(crate) struct Binding {
    pub name: Arc<str>,
    pub effect: Effect,
    /// As in the file, for the trace; decisions find them through the index.
    pub subjects: Vec<Subject>,
    /// Given, or taken away.
    pub permissions: PermissionSet,
    /// Of them, those named letter by letter.
    pub full: PermissionSet,
    /// Sensitive ones that an allow's wildcard matches and does not give.
    pub(crate) withheld: PermissionSet,
    pub places: Places,
    pub window: Window,
    pub unknown_services: UnknownServices,
    /// What all its callers may export together.
    pub quota: Option<Quota>,
}

impl Binding {
    /// Whether one of this binding's subjects speaks of the caller. `any: true` gives nothing to a client token, which is
    /// worth what the binding says that it was issued for, and nothing that is left open gives anything to the root user of an
    /// AWS account or to who named itself there; what it takes away, it takes from them as well.
    pub(crate) fn reaches(&self, subject: &Subject, facts: &Facts) -> bool {
        let wants_name = facts
            .aws
            .as_ref()
            .is_some_and(|aws| aws.kind.is_named_in_full());
        let beyond_its_own = self.effect == Effect::Allow
            && ((subject.any && facts.method == Method::ClientToken)
                || (wants_name && !subject.names_in_full()));
        !beyond_its_own && subject.matches(facts)
    }
}

/// Where an export goes that names no app and whose service no app owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownServices {
    /// To the only app that the caller may write to.
    OnlyApp,
    /// To this one.
    App(NodeId),
    /// Nowhere.
    Reject,
}

/// The nodes that a binding reaches: those named and all beneath.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places(Vec<Range<u32>>);

impl Places {
    /// Joins subtrees, which nest or are disjoint.
    pub(crate) fn new(mut intervals: Vec<Range<u32>>) -> Self {
        intervals.sort_by_key(|interval| (interval.start, std::cmp::Reverse(interval.end)));
        let mut joined: Vec<Range<u32>> = Vec::with_capacity(intervals.len());
        for interval in intervals {
            if joined.last().is_none_or(|last| interval.start >= last.end) {
                joined.push(interval);
            }
        }
        Places(joined)
    }

    pub(crate) fn contains(&self, node: NodeId) -> bool {
        let after = self
            .0
            .partition_point(|interval| interval.start <= node.number());
        after
            .checked_sub(1)
            .and_then(|place| self.0.get(place))
            .is_some_and(|found| found.contains(&node.number()))
    }

    pub(crate) fn intervals(&self) -> &[Range<u32>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_places_are_one() {
        let places = Places::new(vec![4..6, 1..10, 2..3, 12..13, 12..13]);
        assert_eq!(places.intervals(), [1..10, 12..13]);
    }
}
