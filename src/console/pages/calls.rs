//! Pages about calls: why was I refused, and what was decided lately.
//!
//! What it does: finds recent calls that the visitor may know of, and has made-up ones explained. What it refuses to know:
//! the audit trail; these are one process's last calls. Invariants: a call is shown to who made it and to who may audit where
//! it went; to its maker it tells nothing about what is not the maker's.

use std::borrow::Cow;

use super::{Viewer, story};
use crate::accept::{APP_HEADER, ExplainRequest};
use crate::apps::{AppPath, Mark, SERVICE_NAME};
use crate::audit::timestamp;
use crate::explain;
use crate::explain::{DescribedHeadFault, Marks};
use crate::memory::recent::Ended;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::view::{DecisionRow, DecisionsView, ExplainView};

/// How many decisions are shown.
const ROWS: usize = 200;

/// What is said of a call that does not exist, or is another person's.
const NOT_FOUND: &str = "there is no such call of yours among the last ones of this gateway process; an operator finds older ones in the audit trail";

/// Recent decisions of a subtree, the newest first.
pub(crate) fn decisions(sight: &Viewer<'_>, app: &AppPath) -> Result<DecisionsView, Refusal> {
    sight.must_see(app)?;
    if !sight.may_audit(app) {
        return Err(Refusal::new(Reason::NotPermitted));
    }
    let calls = sight
        .shared
        .recent
        .beneath(app, ROWS, |app| sight.may_audit(app));
    Ok(DecisionsView {
        app: app.to_string(),
        trail: sight.trail(app),
        rows: calls.iter().map(|call| whole(call)).collect(),
        remembered_since: sight.shared.recent.since().map(timestamp),
        search: None,
    })
}

/// An earlier call, or one that is made up.
pub(crate) fn explain(sight: &Viewer<'_>, ask: &ExplainRequest) -> ExplainView {
    let given = |field: &Option<String>| field.as_deref().unwrap_or_default().trim().to_owned();
    let mut view = ExplainView {
        request_id: given(&ask.request_id),
        method: given(&ask.method),
        path: given(&ask.path),
        app: given(&ask.app),
        service: given(&ask.service),
        remembered_since: sight.shared.recent.since().map(timestamp),
        ..ExplainView::default()
    };
    if !view.request_id.is_empty() {
        view.found = found(sight, &view.request_id);
        let visitor = &*sight.facts.subject;
        let is_anothers = |row: &DecisionRow| row.subject != visitor;
        view.is_anothers = view.found.as_ref().is_some_and(is_anothers);
        if view.found.is_none() {
            view.mistake = Some(NOT_FOUND.to_owned());
        }
    } else if !view.path.is_empty() {
        match made_up(sight, &view) {
            Ok(story) => view.story = Some(story),
            Err(mistake) => view.mistake = Some(mistake.to_string()),
        }
    }
    view
}

fn found(sight: &Viewer<'_>, request_id: &str) -> Option<DecisionRow> {
    let call = sight.shared.recent.find(request_id)?;
    let root = AppPath::root();
    if sight.may_audit(call.app.as_ref().unwrap_or(&root)) {
        return Some(whole(&call));
    }
    let is_own = call.who.as_ref().is_some_and(|who| who.is(sight.facts));
    is_own.then(|| own(sight, &call))
}

/// A call as who may audit sees it.
fn whole(call: &Ended) -> DecisionRow {
    DecisionRow {
        time: timestamp(call.at),
        request_id: call.request_id.to_string(),
        subject: call
            .who
            .as_ref()
            .map(|who| who.subject.to_string())
            .unwrap_or_default(),
        issuer: call
            .who
            .as_ref()
            .map(|who| who.issuer.to_string())
            .unwrap_or_default(),
        http_method: call.http_method.to_string(),
        path: call.path.to_string(),
        operation: call.operation.as_deref().unwrap_or_default().to_owned(),
        app: call
            .app
            .as_ref()
            .map(AppPath::to_string)
            .unwrap_or_default(),
        decision: call.decision.to_owned(),
        reason: call.reason,
        bindings: call.bindings.iter().map(ToString::to_string).collect(),
        status: call.status,
    }
}

/// A call as its maker sees it.
fn own(sight: &Viewer<'_>, call: &Ended) -> DecisionRow {
    let seen = call.app.as_ref().is_some_and(|app| sight.holds_at(app));
    let row = whole(call);
    if call.permitted {
        return row;
    }
    // The owner of a refused resource was not kept: the visitor may not see that app.
    let foreign = call.reason == Reason::ServiceForeign;
    let reason = story::public_reason(call.reason, seen && !foreign);
    let tells_bindings = seen && reason == call.reason && reason != Reason::ServiceUnknown;
    DecisionRow {
        app: if seen { row.app } else { String::new() },
        reason,
        bindings: if tells_bindings {
            row.bindings
        } else {
            Vec::new()
        },
        ..row
    }
}

/// Tells a made-up call's story; the fault is for the person who filled in the form.
fn made_up(
    sight: &Viewer<'_>,
    view: &ExplainView,
) -> Result<crate::view::Story, DescribedHeadFault> {
    let snapshot = sight.snapshot;
    let path = local(&view.path);
    let method = match view.method.as_str() {
        "" if is_export(sight, &path) => "POST".to_owned(),
        "" => "GET".to_owned(),
        method => method.to_ascii_uppercase(),
    };
    let headers = match view.app.as_str() {
        "" => Vec::new(),
        app => vec![format!("{APP_HEADER}: {app}")],
    };
    let parts = explain::head(&method, &path, &headers, &snapshot.profile)?;
    let call = match explain::read(&parts, &snapshot.profile, &[], &snapshot.limits) {
        Ok((_, call)) => call,
        Err(reason) => return Ok(story::unread(reason)),
    };
    let mark = |name: &str| match name {
        SERVICE_NAME => Mark::Text(Cow::Borrowed(view.service.as_str())),
        _ => Mark::Absent,
    };
    let marks: Option<Marks<'_>> = if view.service.is_empty() {
        None
    } else {
        Some(&mark)
    };
    let (policy, profile) = (&snapshot.policy, &snapshot.profile);
    let judged = explain::judge(
        policy,
        profile,
        &snapshot.organization,
        sight.facts,
        &call,
        marks,
        sight.now,
    );
    Ok(story::story(sight, &call, &judged))
}

/// Of a whole URL, what is asked of us.
fn local(path: &str) -> String {
    let rest = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| path.strip_prefix(scheme));
    match rest {
        Some(rest) => rest
            .find('/')
            .and_then(|at| rest.get(at..))
            .unwrap_or("/")
            .to_owned(),
        None => path.to_owned(),
    }
}

fn is_export(sight: &Viewer<'_>, path: &str) -> bool {
    let profile = &sight.snapshot.profile;
    let inner = explain::addressed(path);
    profile.match_ingest(inner).is_some()
        || profile.legacy(inner).next().is_some()
        || profile.is_grpc_method(inner)
}
