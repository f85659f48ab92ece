//! Which app a part of an export goes to.
//!
//! What it does: joins what a resource says with where its sender may write. What it refuses to know: encodings, and what
//! becomes of the part. Invariants: nothing is assigned to an app that the caller may not write to; a resource that
//! belongs to an app which the caller may not write to is refused, whatever the call names.

use std::sync::Arc;

use super::Policy;
use super::binding::UnknownServices;
use super::decide::Fallback;
use super::permit::Denial;
use super::reach::Reach;
use super::verdict::{Target, Verdict};
use crate::apps::{AppPath, Mark, NodeId, Owner};
use crate::clock::UnixMillis;
use crate::identify::Facts;
use crate::otlp::Wanted;
use crate::profiles::OperationId;
use crate::reason::Reason;

/// Why a part goes to an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The call names it.
    Named,
    /// It owns the service.
    Owner,
    /// No app owns the service, and this binding says where it goes.
    DefaultApp(String),
    /// No app owns the service, and the caller may write nowhere else.
    OnlyApp,
}

impl By {
    /// For people: `named`, `owner`, `default_app`, `only_app`.
    pub fn name(&self) -> &'static str {
        match self {
            By::Named => "named",
            By::Owner => "owner",
            By::DefaultApp(_) => "default_app",
            By::OnlyApp => "only_app",
        }
    }
}

/// What would become of a resource, for `explain` and tests. It permits nothing.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// On the head alone, then on the part.
    pub verdict: Verdict,
    /// Whether the head was permitted and the part was looked at.
    pub reached: bool,
    /// The app that owns the resource.
    pub owner: Option<AppPath>,
    /// Of its services, the pattern that fits.
    pub service: Option<String>,
    /// Its `match`, which fits: name and pattern.
    pub marks: Vec<(String, String)>,
    /// Why it goes where it goes; none: nowhere.
    pub by: Option<By>,
}

impl Policy {
    /// The names of the resource attributes that `assign` asks for: `service.name` first, each once.
    pub fn watched(&self) -> &[Box<str>] {
        self.ownership.watched()
    }

    /// The same, for reading exports.
    pub fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// What is written on the resources of this app, by name, sorted; inherited ones included.
    pub fn stamp_attributes(&self, node: NodeId) -> &[(String, String)] {
        self.tree
            .node(node)
            .map(|node| node.attributes.as_slice())
            .unwrap_or_default()
    }

    /// The app that a resource goes to. `marks` tells what the resource says under each of `watched`.
    pub(crate) fn assign<'m>(
        &self,
        reach: &Reach,
        marks: &dyn Fn(&str) -> Mark<'m>,
    ) -> Result<NodeId, Denial> {
        if !self.made(reach) {
            return Err(Denial {
                reason: Reason::EvaluationError,
                bindings: Vec::new(),
            });
        }
        let owner = self.owner(marks)?;
        self.settle(reach, owner.as_ref()).map(|(node, _)| node)
    }

    /// What would become of a resource. For `explain` and tests.
    pub fn explain_assignment<'m>(
        &self,
        facts: &Facts,
        operation: OperationId,
        app: Option<&AppPath>,
        marks: &dyn Fn(&str) -> Mark<'m>,
        now: UnixMillis,
    ) -> Assignment {
        let refused = |denial: Denial, reached: bool| Assignment {
            verdict: Verdict {
                bindings: denial.bindings,
                ..Verdict::denied(denial.reason)
            },
            reached,
            owner: None,
            service: None,
            marks: Vec::new(),
            by: None,
        };
        let reach = match self.reached(facts, operation, app, now) {
            Ok(reach) => reach,
            Err(denial) => return refused(denial, false),
        };
        let owner = match self.owner(marks) {
            Ok(owner) => owner,
            Err(denial) => return refused(denial, true),
        };
        let settled = self.settle(&reach, owner.as_ref());
        let mut assignment = match settled {
            Err(denial) => refused(denial, true),
            Ok((node, by)) => {
                let verdict =
                    self.evaluate(facts, operation, Target::App(self.path(node).as_ref()), now);
                let by = verdict.allowed.then_some(by);
                Assignment {
                    verdict,
                    reached: true,
                    owner: None,
                    service: None,
                    marks: Vec::new(),
                    by,
                }
            }
        };
        if let Some(owner) = owner {
            assignment.owner = self.path(owner.node);
            assignment.service = owner.service.map(str::to_owned);
            assignment.marks = owner
                .marks
                .iter()
                .map(|(name, glob)| (name.clone(), glob.as_str().to_owned()))
                .collect();
        }
        assignment
    }

    fn owner<'m>(&self, marks: &dyn Fn(&str) -> Mark<'m>) -> Result<Option<Owner<'_>>, Denial> {
        let unclear = |_| Denial {
            reason: Reason::ServiceAmbiguous,
            bindings: Vec::new(),
        };
        self.ownership.owner(marks).map_err(unclear)
    }

    fn settle(&self, reach: &Reach, owner: Option<&Owner<'_>>) -> Result<(NodeId, By), Denial> {
        if let Some(owner) = owner.filter(|owner| !self.writable(reach, owner.node)) {
            let bindings = self.names(&self.covering(reach.denies(), owner.node));
            return Err(Denial {
                reason: Reason::ServiceForeign,
                bindings,
            });
        }
        match (reach.named(), owner) {
            (Some(named), Some(_)) => Ok((named, By::Named)),
            (Some(named), None) => {
                let allows = self.allowing(reach, named);
                if self
                    .each(&allows)
                    .all(|binding| binding.unknown_services == UnknownServices::Reject)
                {
                    return Err(Denial {
                        reason: Reason::ServiceUnknown,
                        bindings: self.names(&allows),
                    });
                }
                Ok((named, By::Named))
            }
            (None, Some(owner)) => Ok((owner.node, By::Owner)),
            (None, None) => match self.fallback(reach) {
                Ok(Fallback {
                    node,
                    default_of: None,
                }) => Ok((node, By::OnlyApp)),
                Ok(Fallback {
                    node,
                    default_of: Some(place),
                }) => {
                    let name = self
                        .each(&[place])
                        .map(|binding| binding.name.to_string())
                        .next();
                    Ok((node, By::DefaultApp(name.unwrap_or_default())))
                }
                Err(reason) => Err(Denial {
                    reason,
                    bindings: self.refusing(reach, reason),
                }),
            },
        }
    }

    /// The bindings that are why there is no app for an unknown service.
    fn refusing(&self, reach: &Reach, reason: Reason) -> Vec<std::sync::Arc<str>> {
        match reason {
            Reason::ServiceUnknown => self
                .each(reach.allows())
                .filter(|binding| binding.unknown_services == UnknownServices::Reject)
                .map(|binding| binding.name.clone())
                .collect(),
            Reason::NoWritableApp => self.names(reach.denies()),
            _ => Vec::new(),
        }
    }
}
