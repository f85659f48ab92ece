//! Where a caller may write, decided before the body is read.
//!
//! What it does: judges an export's head, and holds what was found for the judgement of its parts. What it refuses to know:
//! the body. Invariants: a `Reach` is made in one place, from a caller's facts at one time, is not `Clone`, and counts
//! only for the policy that made it; without one no part of an export gets a permit.

use std::sync::{Arc, OnceLock};

use super::Policy;
use super::decide::{Fallback, Matched};
use super::permit::{Denial, Permit};
use super::verdict::{Target, Verdict};
use crate::accept::{Call, RequestKind};
use crate::apps::{AlsoMode, AppPath, NodeId};
use crate::clock::UnixMillis;
use crate::identify::{Facts, Identity};
use crate::profiles::{OperationId, PermissionId, Scope};
use crate::reason::Reason;

/// A power: this caller may write this signal to some apps of this policy.
#[derive(Debug)]
pub(crate) struct Reach {
    /// Which policy it is of.
    policy: Arc<str>,
    operation: OperationId,
    permission: PermissionId,
    /// When it was decided; which backend an app's data goes to is decided by it.
    at: UnixMillis,
    named: Option<NodeId>,
    /// The bindings in force that allow and deny, as places in the policy.
    allows: Vec<u32>,
    denies: Vec<u32>,
    /// Where parts go whose service no app owns, once it was asked.
    fallback: OnceLock<Result<Fallback, Reason>>,
}

impl Reach {
    #[cfg(test)]
    pub(crate) fn operation(&self) -> OperationId {
        self.operation
    }

    /// The app that the call named.
    pub(crate) fn named(&self) -> Option<NodeId> {
        self.named
    }

    pub(super) fn allows(&self) -> &[u32] {
        &self.allows
    }

    pub(super) fn denies(&self) -> &[u32] {
        &self.denies
    }
}

impl Policy {
    /// Decides on an export's head: where the caller may write this signal now. A call that names an app is denied here if
    /// it may not be written to, any other if nothing may.
    pub(crate) fn reach(
        &self,
        identity: &Identity,
        call: &Call,
        now: UnixMillis,
    ) -> Result<Reach, Denial> {
        match &call.kind {
            RequestKind::Ingest(ask) => {
                self.reached(identity.facts(), ask.operation, ask.app.as_ref(), now)
            }
            RequestKind::Legacy(ask) => {
                self.reached(identity.facts(), ask.operation, ask.app.as_ref(), now)
            }
            RequestKind::Query(_)
            | RequestKind::Own(_)
            | RequestKind::Site(_)
            | RequestKind::Tree(_)
            | RequestKind::Alert(_)
            | RequestKind::Unknown
            | RequestKind::Unacceptable(_) => Err(Denial {
                reason: Reason::OperationUnknown,
                bindings: Vec::new(),
            }),
        }
    }

    /// The one place where a `Reach` is made.
    pub(super) fn reached(
        &self,
        facts: &Facts,
        operation: OperationId,
        app: Option<&AppPath>,
        now: UnixMillis,
    ) -> Result<Reach, Denial> {
        let deny = |reason, bindings| Err(Denial { reason, bindings });
        let row = match self.profile.operations().get(usize::from(operation.0)) {
            Some(row) if row.scope == Scope::App => row,
            Some(_) => return deny(Reason::EvaluationError, Vec::new()),
            None => return deny(Reason::OperationUnknown, Vec::new()),
        };
        if app.is_some() {
            let verdict = self.decide(facts, operation, Target::App(app), now);
            if let Some(reason) = verdict.reason {
                return deny(reason, verdict.bindings);
            }
        }
        let matched = self.matched(facts, row.permission_id, None, now);
        let reach = Reach {
            policy: self.sha256.clone(),
            operation,
            permission: row.permission_id,
            at: now,
            named: app.and_then(|app| self.tree.find(app)),
            allows: matched.allows,
            denies: matched.denies,
            fallback: OnceLock::new(),
        };
        let writable =
            |node| self.tree.project_of(node).is_some() && !self.covers(&reach.denies, node);
        if reach.named.is_none() && !self.covered(&reach.allows).any(writable) {
            return deny(Reason::NoWritableApp, self.names(&reach.denies));
        }
        Ok(reach)
    }

    /// The permit for the parts of an export that were assigned to this app.
    pub(crate) fn permit(&self, reach: &Reach, node: NodeId) -> Result<Permit, Denial> {
        Permit::mint(reach.operation, self.verdict_at(reach, node)?)
    }

    /// The permits to send the same to each other backend that gets the app's data too, as the policy has them.
    pub(crate) fn permits_also(
        &self,
        reach: &Reach,
        node: NodeId,
    ) -> Result<Vec<(AlsoMode, Permit)>, Denial> {
        let also = self.also_of(node, reach.at);
        also.map(|term| {
            let verdict = self.verdict_at(reach, node)?.on(term.backend);
            Ok((term.mode, Permit::mint(reach.operation, verdict)?))
        })
        .collect()
    }

    fn verdict_at(&self, reach: &Reach, node: NodeId) -> Result<Verdict, Denial> {
        if !self.made(reach) {
            return Err(Denial {
                reason: Reason::EvaluationError,
                bindings: Vec::new(),
            });
        }
        let at = |places| self.covering(places, node);
        let matched = Matched::of(at(&reach.allows), at(&reach.denies));
        let verdict = self.settled_at(&matched, reach.permission);
        Ok(self.export_to(node, verdict, reach.at))
    }

    /// Whether this policy made it: another one numbers its apps and bindings differently.
    pub(super) fn made(&self, reach: &Reach) -> bool {
        Arc::ptr_eq(&self.sha256, &reach.policy)
    }

    /// Whether the caller may write there, project or not.
    pub(super) fn writable(&self, reach: &Reach, node: NodeId) -> bool {
        self.covers(&reach.allows, node) && !self.covers(&reach.denies, node)
    }

    /// The bindings that allow it there.
    pub(super) fn allowing(&self, reach: &Reach, node: NodeId) -> Vec<u32> {
        self.covering(&reach.allows, node)
    }

    /// Where parts go whose service no app owns, if the call names no app.
    pub(super) fn fallback(&self, reach: &Reach) -> Result<Fallback, Reason> {
        *reach
            .fallback
            .get_or_init(|| self.only_app(&reach.allows, &reach.denies, true))
    }
}
