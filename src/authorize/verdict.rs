//! What a decision is on, and what it comes to.
//!
//! What it does: targets, verdicts, and the trace of bindings in one. What it refuses to know: how a decision is made, and what
//! a verdict becomes. Invariant: a verdict permits nothing; the mint of permits takes one that allows.

use std::sync::Arc;

use super::binding::Effect;
use crate::apps::{AppPath, BackendId};
use crate::reason::Reason;

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
    pub reason: Option<Reason>,
    /// Where it was decided: the app, the project's home, or the root.
    pub app: Option<AppPath>,
    /// The project concerned; none for what is the organization's.
    pub project: Option<Arc<str>>,
    /// The backend of the app's data at that time; of what is the organization's, the one that is asked about it.
    pub backend: BackendId,
    /// The bindings that decided, in the policy's order: those that allow, or those that deny.
    pub bindings: Vec<Arc<str>>,
    /// For the list of projects: those that the caller may see, in the tree's order.
    pub visible_projects: Vec<Arc<str>>,
    /// Whether an allowing binding names the permission letter by letter.
    pub(crate) named_in_full: bool,
    /// Every binding that speaks of the caller; filled by `evaluate` only.
    pub trace: Vec<Considered>,
}

/// One binding that speaks of the caller, and what it lacked, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    pub binding: Arc<str>,
    pub effect: Effect,
    /// Which of its subjects matched first, counted from 1; 0: none, but the caller's client token was issued for it.
    pub subject: usize,
    /// Whether it holds the permission.
    pub permission: bool,
    /// Whether it would hold it, were the permission not sensitive.
    pub(crate) withheld: bool,
    /// Whether it reaches the node decided on (any node, where none is).
    pub place: bool,
    /// Whether now lies in its time.
    pub in_force: bool,
}

impl Verdict {
    pub(super) fn denied(reason: Reason) -> Self {
        Verdict {
            allowed: false,
            reason: Some(reason),
            app: None,
            project: None,
            backend: BackendId::default(),
            bindings: Vec::new(),
            visible_projects: Vec::new(),
            named_in_full: false,
            trace: Vec::new(),
        }
    }

    pub(super) fn at(mut self, app: Option<AppPath>, project: Option<Arc<str>>) -> Self {
        (self.app, self.project) = (app, project);
        self
    }

    pub(super) fn on(mut self, backend: BackendId) -> Self {
        self.backend = backend;
        self
    }
}
