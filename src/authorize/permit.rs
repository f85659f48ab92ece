//! What a decision becomes: a `Permit`, or a `Denial` with its reason.
//!
//! What it does: names the reasons, and mints permits. What it refuses to know: how a decision is made.
//! Invariants: a `Permit` has private fields, no `Clone`, and one mint, which takes a verdict that allows; a reason's
//! code is stable, for records and metrics, and is never told to the caller.

use std::sync::Arc;

use super::Verdict;
use crate::apps::AppPath;
use crate::profiles::OperationId;

/// Proof that the caller may do one thing. What lends a credential takes it.
#[derive(Debug)]
pub struct Permit {
    app: AppPath,
    project: Option<Arc<str>>,
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
                operation,
                bindings: verdict.bindings,
                visible_projects: verdict.visible_projects,
                named_in_full: verdict.named_in_full,
            }),
            (reason, _) => {
                Err(Denial { reason: reason.unwrap_or(DenialReason::EvaluationError), bindings: verdict.bindings })
            }
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
    pub fn named_in_full(&self) -> bool {
        self.named_in_full
    }
}

/// A refusal by policy.
#[derive(Debug, PartialEq, Eq)]
pub struct Denial {
    pub reason: DenialReason,
    /// The bindings that denied, if any did; of an unknown service, those that reject it.
    pub bindings: Vec<Arc<str>>,
}

/// Why a call is denied. From outside all look alike, but for `AppAmbiguous`, which asks to name an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialReason {
    /// No binding allows it.
    NotPermitted,
    /// A deny beats every allow.
    DeniedByBinding,
    /// Only bindings outside their `from`/`until` would allow it.
    OutsideTimeWindow,
    /// Only a wildcard would allow it, and the permission must be named in full.
    SensitiveNotNamed,
    /// No node has this path.
    AppUnknown,
    /// Neither the app nor any above it has a project to write to.
    AppWithoutProject,
    /// No app was named, and the caller may write to several.
    AppAmbiguous,
    /// No app was named, and the caller may write to none.
    NoWritableApp,
    /// The service belongs to an app that the caller may not write to.
    ServiceForeign,
    /// No app owns the service, and the caller's bindings reject those.
    ServiceUnknown,
    /// An attribute that decides which app it is can be read in two ways.
    ServiceAmbiguous,
    /// No node declares this project.
    ProjectUnknown,
    /// The path names another organization.
    OrganizationUnknown,
    /// It is no operation of a backend.
    OperationUnknown,
    /// The ask does not have the form that its operation needs.
    EvaluationError,
}

impl DenialReason {
    pub const ALL: [DenialReason; 15] = [
        DenialReason::NotPermitted,
        DenialReason::DeniedByBinding,
        DenialReason::OutsideTimeWindow,
        DenialReason::SensitiveNotNamed,
        DenialReason::AppUnknown,
        DenialReason::AppWithoutProject,
        DenialReason::AppAmbiguous,
        DenialReason::NoWritableApp,
        DenialReason::ServiceForeign,
        DenialReason::ServiceUnknown,
        DenialReason::ServiceAmbiguous,
        DenialReason::ProjectUnknown,
        DenialReason::OrganizationUnknown,
        DenialReason::OperationUnknown,
        DenialReason::EvaluationError,
    ];

    /// The stable code in records and metrics.
    pub fn code(self) -> &'static str {
        match self {
            DenialReason::NotPermitted => "not_permitted",
            DenialReason::DeniedByBinding => "denied_by_binding",
            DenialReason::OutsideTimeWindow => "outside_time_window",
            DenialReason::SensitiveNotNamed => "sensitive_not_named",
            DenialReason::AppUnknown => "app_unknown",
            DenialReason::AppWithoutProject => "app_without_project",
            DenialReason::AppAmbiguous => "app_ambiguous",
            DenialReason::NoWritableApp => "no_writable_app",
            DenialReason::ServiceForeign => "service_foreign",
            DenialReason::ServiceUnknown => "service_unknown",
            DenialReason::ServiceAmbiguous => "service_ambiguous",
            DenialReason::ProjectUnknown => "project_unknown",
            DenialReason::OrganizationUnknown => "organization_unknown",
            DenialReason::OperationUnknown => "operation_unknown",
            DenialReason::EvaluationError => "evaluation_error",
        }
    }
}
