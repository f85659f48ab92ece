//! What a decision becomes: a `Permit`, or a `Denial` with its reason.
//!
//! What it does: mints permits. What it refuses to know: how a decision is made, and what a reason means.
//! Invariant: a `Permit` has private fields, no `Clone`, and one mint, which takes a verdict that allows.

use std::sync::Arc;

use super::verdict::Verdict;
use crate::apps::{AppPath, BackendId};
use crate::profiles::OperationId;
use crate::reason::Reason;

/// Proof that the caller may do one thing. What lends a credential takes it.
#[derive(Debug)]
pub struct Permit {
    app: AppPath,
    project: Option<Arc<str>>,
    backend: BackendId,
    operation: OperationId,
    bindings: Vec<Arc<str>>,
    visible_projects: Vec<Arc<str>>,
    named_in_full: bool,
}

impl Permit {
    /// The one mint of permits.
    pub(super) fn mint(operation: OperationId, verdict: Verdict) -> Result<Permit, Denial> {
        match (verdict.reason, verdict.app) {
            (None, Some(app)) => Ok(Permit {
                app,
                project: verdict.project,
                backend: verdict.backend,
                operation,
                bindings: verdict.bindings,
                visible_projects: verdict.visible_projects,
                named_in_full: verdict.named_in_full,
            }),
            (reason, _) => Err(Denial {
                reason: reason.unwrap_or(Reason::EvaluationError),
                bindings: verdict.bindings,
            }),
        }
    }

    /// Where the permission was found: the app written to, the project's home, or the root.
    pub fn app(&self) -> &AppPath {
        &self.app
    }

    /// The project whose credential may be lent; none for what is the organization's.
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// The backend that it holds for: that of the app's data at the time of the decision.
    pub fn backend(&self) -> BackendId {
        self.backend
    }

    pub fn operation(&self) -> OperationId {
        self.operation
    }

    /// The names of the bindings that allowed it, in the policy's order.
    pub fn bindings(&self) -> &[Arc<str>] {
        &self.bindings
    }

    /// For the list of projects: those that the caller may see, in the tree's order. Otherwise empty.
    pub fn visible_projects(&self) -> &[Arc<str>] {
        &self.visible_projects
    }

    /// Whether one of the bindings names the permission letter by letter.
    pub(crate) fn named_in_full(&self) -> bool {
        self.named_in_full
    }
}

/// A refusal by policy.
#[derive(Debug, PartialEq, Eq)]
pub struct Denial {
    pub reason: Reason,
    /// The bindings that denied, if any did; of an unknown service, those that reject it.
    pub bindings: Vec<Arc<str>>,
}
