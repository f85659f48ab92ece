//! Other projects that a question names.
//!
//! What it does: holds what a question's body and query name against what the caller may do there. What it refuses to
//! know: how names are found. Invariants: a question is asked with a key of the whole organization, so that nothing but
//! this keeps it from another project; a project that the caller may not name and one that does not exist are refused
//! alike.

use std::collections::BTreeSet;

use http::Method;

use super::proxy::{Asker, Question};
use crate::accept::RequestKind;
use crate::clock::UnixMillis;
use crate::profiles::OperationId;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::Snapshot;
use crate::transform::{self, NamedFault, Naming, Reference};

/// What of a name is repeated in a record, in characters.
const NAME_CHARACTERS: usize = 64;

/// Refuses a question that names what its caller may not name.
///
/// A path in a text needs the permission to read what it leads to. A relation, and a member that the profile lists, ties
/// what is asked to the other project: it needs the question's own permission there, too.
pub(crate) fn check(question: &Question<'_>, now: UnixMillis) -> Result<(), Refusal> {
    let Question {
        asker,
        call,
        permit,
        body,
        named,
        ..
    } = question;
    let snapshot = asker.snapshot;
    let operation = snapshot.profile.operation(permit.operation());
    let mut named = match named {
        Some(named) => (*named).clone(),
        None => read(snapshot, operation.id, body)?,
    };
    if let RequestKind::Query(ask) = &call.kind {
        let listed = ask
            .query
            .iter()
            .filter(|(name, value)| operation.names_projects.contains(name) && !value.is_empty());
        named.extend(listed.map(|(_, value)| Reference::Project(value.clone())));
    }
    match named
        .iter()
        .find(|reference| !may_name(question, reference, now))
    {
        None => Ok(()),
        Some(Reference::Unclear) => Err(refused("a path that is not one of ours, or not clearly")),
        Some(Reference::Project(project)) => Err(refused(project)),
        Some(Reference::Path { segments, .. }) => Err(refused(&segments.join("/"))),
    }
}

/// What a body of this operation names.
pub(crate) fn read(
    snapshot: &Snapshot,
    operation: OperationId,
    body: &[u8],
) -> Result<BTreeSet<Reference>, Refusal> {
    let naming = Naming {
        prefix: &snapshot.profile.query_prefix,
        organization: &snapshot.organization,
        members: &snapshot.profile.operation(operation).names_projects,
    };
    transform::named(body, naming).map_err(|fault| match fault {
        NamedFault::Malformed => Refusal::new(Reason::BodyMalformed),
        NamedFault::TooMany => refused("more projects than are looked at"),
    })
}

fn may_name(question: &Question<'_>, reference: &Reference, now: UnixMillis) -> bool {
    let Question { asker, permit, .. } = question;
    let Asker { snapshot, who, .. } = asker;
    let holds = |operation, project: &str| snapshot.policy.holds_at(who, operation, project, now);
    let is_own = |project: &str| permit.project() == Some(project);
    match reference {
        Reference::Unclear => false,
        Reference::Project(project) => is_own(project) || holds(permit.operation(), project),
        Reference::Path {
            segments,
            is_relation,
        } => {
            let project = segments.get(1).map_or("", String::as_str);
            let own = || holds(permit.operation(), project);
            is_own(project)
                || match reading(snapshot, segments) {
                    Some(reading) => holds(reading, project) && (!is_relation || own()),
                    // Nothing that can be read stands there.
                    None => own(),
                }
        }
    }
}

/// The operation that reads what a path leads to.
fn reading(snapshot: &Snapshot, segments: &[String]) -> Option<OperationId> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    snapshot
        .profile
        .match_query(&Method::GET, &segments)
        .map(|found| found.operation)
}

fn refused(named: &str) -> Refusal {
    let named: String = named.chars().take(NAME_CHARACTERS).collect();
    Refusal::new(Reason::ForeignProjectNamed).because(format!("names {named}"))
}
