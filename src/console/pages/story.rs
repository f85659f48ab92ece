//! The story of a made-up call, as its maker may read it.
//!
//! What it does: turns what was judged into stages, names and values, and leaves out what is not the maker's. What it refuses
//! to know: how anything was decided. Invariants: for what lies outside the maker's view the story has the same words as for
//! what does not exist; a binding is named only if it speaks of the maker and reaches an app where the maker may do something.

use super::Viewer;
use crate::accept::{Call, RequestKind};
use crate::apps::AppPath;
use crate::authorize::{Assignment, By, Effect, Verdict};
use crate::explain;
use crate::explain::Judged;
use crate::profiles::OperationId;
use crate::reason::Reason;
use crate::route;
use crate::view::{Stage, Story};

/// How many apps are offered.
const OFFERED: usize = 20;

type Details = Vec<(String, String)>;

/// A reason as who called may know it. `seen`: the caller may do something at the app that it is about.
pub(crate) fn public_reason(reason: Reason, seen: bool) -> Reason {
    match reason {
        Reason::AppUnknown | Reason::ProjectUnknown | Reason::OrganizationUnknown => {
            Reason::NotPermitted
        }
        Reason::DeniedByBinding
        | Reason::OutsideTimeWindow
        | Reason::SensitiveNotNamed
        | Reason::AppWithoutProject
            if !seen =>
        {
            Reason::NotPermitted
        }
        Reason::ServiceForeign if !seen => Reason::ServiceUnknown,
        reason => reason,
    }
}

/// A call whose head is refused.
pub(crate) fn unread(reason: Reason) -> Story {
    told(false, vec![stage("accept", reason, Vec::new())], reason)
}

/// A call that was read and judged.
pub(crate) fn story(sight: &Viewer<'_>, call: &Call, judged: &Judged) -> Story {
    let facts = sight.facts;
    let operation = match &call.kind {
        RequestKind::Ingest(ask) => Some(ask.operation),
        RequestKind::Legacy(ask) => Some(ask.operation),
        RequestKind::Query(ask) => Some(ask.operation),
        _ => None,
    };
    let mut accepted = vec![
        pair("method", call.method.as_str()),
        pair("path", &call.path),
    ];
    accepted.extend(operation.map(|id| {
        pair(
            "operation",
            &sight.snapshot.profile.operation(id).permission,
        )
    }));
    let mut identified = vec![
        pair("issuer", &facts.issuer),
        pair("subject", &facts.subject),
    ];
    identified.extend(
        facts
            .subject_claim
            .iter()
            .map(|claim| pair("subject claim", claim)),
    );
    identified.push(pair("method", facts.method.name()));
    identified.extend(facts.groups.iter().map(|group| pair("group", group)));
    let mut stages = vec![
        stage("accept", Reason::Ok, accepted),
        stage("identify", Reason::Ok, identified),
    ];
    let last = match judged {
        Judged::OwnPage => {
            stages.push(stage(
                "authorize",
                Reason::Ok,
                vec![pair("page", "the gateway's own")],
            ));
            Reason::OwnPage
        }
        Judged::Nothing(reason) => {
            let reason = public_reason(*reason, false);
            stages.push(stage("authorize", reason, Vec::new()));
            reason
        }
        Judged::Inlet => {
            let evidence = vec![pair("evidence", explain::INLET_EVIDENCE)];
            stages.push(stage("authorize", explain::INLET_REASON, evidence));
            explain::INLET_REASON
        }
        Judged::Parts(parts) => asked(sight, &mut stages, parts),
        Judged::Decided { operation, verdict } => {
            let last = decided(sight, &mut stages, verdict);
            routed(sight, &mut stages, verdict, *operation);
            last
        }
        Judged::Assigned {
            operation,
            head,
            assignment,
        } => {
            let last = decided(sight, &mut stages, head);
            if assignment.reached {
                let last = assigned(sight, &mut stages, assignment);
                routed(sight, &mut stages, &assignment.verdict, *operation);
                last
            } else {
                last
            }
        }
    };
    let snapshot = sight.snapshot;
    let untaken = judged.backend().and_then(|backend| {
        let profiles = (&*snapshot.profile, snapshot.profile_of(backend));
        route::untaken(&call.kind, profiles)
    });
    if let Some(fault) = untaken {
        stages.push(stage("route", fault.reason(), Vec::new()));
        return told(false, stages, fault.reason());
    }
    told(judged.allowed(), stages, last)
}

fn told(allowed: bool, stages: Vec<Stage>, last: Reason) -> Story {
    // What reasons mean is said of calls that were made.
    let advice = match last {
        Reason::Ok => "Nothing: the call would be passed on to the backend.".to_owned(),
        reason => reason.explanation(),
    };
    Story {
        allowed,
        stages,
        advice: Some(advice),
    }
}

fn stage(room: &str, outcome: Reason, details: Details) -> Stage {
    Stage {
        room: room.to_owned(),
        outcome,
        details,
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn code(verdict: &Verdict, seen: bool) -> Reason {
    verdict
        .reason
        .map_or(Reason::Ok, |reason| public_reason(reason, seen))
}

/// Where it was decided, if that is a place of the maker's.
fn seen<'v>(sight: &Viewer<'_>, verdict: &'v Verdict) -> Option<&'v AppPath> {
    verdict.app.as_ref().filter(|app| sight.holds_at(app))
}

fn decided(sight: &Viewer<'_>, stages: &mut Vec<Stage>, verdict: &Verdict) -> Reason {
    let place = seen(sight, verdict);
    let reason = code(verdict, place.is_some());
    let mut details = Details::new();
    if let Some(app) = place {
        details.push(pair("app", app.as_str()));
        details.extend(verdict.bindings.iter().map(|name| pair("binding", name)));
        for considered in verdict.trace.iter().filter(|considered| considered.place) {
            let effect = match considered.effect {
                Effect::Allow => "allows",
                Effect::Deny => "denies",
            };
            let lacks = match (
                considered.in_force,
                considered.permission,
                considered.withheld,
            ) {
                (false, _, _) => "it is not in force now",
                (true, true, _) => "it counts",
                (true, false, true) => "a wildcard does not give this permission",
                (true, false, false) => "it does not hold this permission",
            };
            details.push(pair(
                "considered",
                &format!("{} {effect}: {lacks}", considered.binding),
            ));
        }
    } else if verdict.allowed && verdict.app.is_some() {
        // The list of projects is decided at the root and narrowed to those that are the maker's.
        details.extend(verdict.bindings.iter().map(|name| pair("binding", name)));
    }
    details.extend(
        verdict
            .visible_projects
            .iter()
            .map(|project| pair("project", project)),
    );
    if verdict.reason == Some(Reason::AppAmbiguous) {
        details.extend(writable(sight));
    }
    stages.push(stage("authorize", reason, details));
    reason
}

/// The projects of a part of the tree that would be asked. What is not the maker's is not told of, as in the answer.
fn asked(sight: &Viewer<'_>, stages: &mut Vec<Stage>, parts: &[(OperationId, Verdict)]) -> Reason {
    let permission = |operation: OperationId| {
        sight
            .snapshot
            .profile
            .operation(operation)
            .permission
            .as_str()
    };
    let permitted: Vec<_> = parts
        .iter()
        .filter(|(_, verdict)| verdict.allowed)
        .collect();
    if permitted.is_empty() {
        let refused = parts
            .iter()
            .find(|(_, verdict)| seen(sight, verdict).is_some())
            .or(parts.first());
        let Some((operation, verdict)) = refused else {
            return Reason::NotPermitted;
        };
        let last = decided(sight, stages, verdict);
        let place = seen(sight, verdict);
        if let Some(stage) = stages.last_mut().filter(|_| place.is_some()) {
            stage
                .details
                .insert(0, pair("permission", permission(*operation)));
        }
        return last;
    }
    let mut details = Details::new();
    for (operation, verdict) in &permitted {
        let binding = |name| pair("binding", name);
        let fresh = [pair("permission", permission(*operation))]
            .into_iter()
            .chain(verdict.bindings.iter().map(|name| binding(name)));
        fresh.for_each(|line| {
            if !details.contains(&line) {
                details.push(line)
            }
        });
    }
    stages.push(stage("authorize", Reason::Ok, details));
    let mut projects: Vec<&str> = permitted
        .iter()
        .filter_map(|(_, verdict)| verdict.project.as_deref())
        .collect();
    projects.dedup();
    let more = projects.len().saturating_sub(OFFERED);
    let mut details: Details = projects
        .into_iter()
        .take(OFFERED)
        .map(|project| pair("project", project))
        .collect();
    if more > 0 {
        details.push(pair("and more", &more.to_string()));
    }
    stages.push(stage("federate", Reason::Ok, details));
    Reason::Ok
}

fn assigned(sight: &Viewer<'_>, stages: &mut Vec<Stage>, assignment: &Assignment) -> Reason {
    let Assignment {
        verdict,
        owner,
        service,
        marks,
        by,
        ..
    } = assignment;
    let owner = owner.as_ref().filter(|owner| sight.holds_at(owner));
    let reason = code(verdict, owner.is_some());
    let mut details = Details::new();
    if let Some(owner) = owner {
        details.push(pair("owner", owner.as_str()));
        details.extend(
            service
                .iter()
                .map(|service| pair("owner's service", service)),
        );
        details.extend(
            marks
                .iter()
                .map(|(name, value)| pair("owner's mark", &format!("{name}={value}"))),
        );
    }
    if verdict.allowed {
        details.extend(seen(sight, verdict).map(|app| pair("app", app.as_str())));
        details.extend(by.iter().map(|by| pair("by", by.name())));
        if let Some(By::DefaultApp(binding)) = by {
            details.push(pair("default of", binding));
        }
        details.extend(verdict.bindings.iter().map(|name| pair("binding", name)));
    } else if owner.is_some() && reason == Reason::ServiceForeign {
        details.extend(verdict.bindings.iter().map(|name| pair("binding", name)));
    } else if reason == Reason::AppAmbiguous {
        details.extend(writable(sight));
    }
    stages.push(stage("assign", reason, details));
    reason
}

/// The apps that an export could name.
fn writable(sight: &Viewer<'_>) -> impl Iterator<Item = (String, String)> {
    let rows = sight
        .rows
        .iter()
        .filter(|row| row.project.is_some() && row.holds("ingest.*"));
    rows.take(OFFERED)
        .map(|row| pair("you may write to", row.app.as_str()))
}

fn routed(sight: &Viewer<'_>, stages: &mut Vec<Stage>, verdict: &Verdict, operation: OperationId) {
    if !verdict.allowed {
        return;
    }
    let credential = sight.snapshot.profile.operation(operation).credential;
    let mut details: Details = verdict
        .project
        .iter()
        .map(|project| pair("project", project))
        .collect();
    let names = sight.snapshot.policy.backends();
    let backend = names.told(verdict.backend);
    details.extend(backend.iter().map(|backend| pair("backend", backend)));
    details.push(pair(
        "credential",
        &format!("{credential:?}").to_lowercase(),
    ));
    stages.push(stage("route", Reason::Ok, details));
}
