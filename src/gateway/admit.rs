//! The straight line: accept, identify, authorize, route, vault; then one of the lanes.
//!
//! What it does: takes a head through the rooms in their order; the types force the order. What it refuses
//! to know: any room's rules. Invariants: nothing goes upstream before a permit; nothing is read of a body
//! before a permit or, where it must be read to be permitted, a reach, but for reports whose sender is named
//! nowhere else; a slot in the trail is kept before anything is read or forwarded.

use pingora_proxy::Session;

use crate::accept::{self, Arrival, Call, Caller, Dialect, Fault, Framed, RequestKind};
use crate::alerts::inlet;
use crate::apps::Mark;
use crate::audit::Unwritable;
use crate::authorize::Reach;
use crate::call::context::Walk;
use crate::call::throttle::Throttle;
use crate::call::{answer, body};
use crate::console::csrf;
use crate::console::{api, site};
use crate::export::report;
use crate::export::report::Opened;
use crate::export::rewritten;
use crate::export::streamed;
use crate::identify::{Identity, Login, Method};
use crate::limits::{Spent, Turn};
use crate::memory::coalesce::Source;
use crate::memory::live::StatsUpdate;
use crate::query::proxy::Question;
use crate::query::subtree;
use crate::query::{proxy, reply};
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::route::{self, Lane};
use crate::state::work::Work;

/// Takes one call through the rooms and writes its answer.
pub async fn admit(session: &mut Session, walk: &mut Walk, arrival: &Arrival) -> Result<(), Refusal> {
    let connection = &arrival.connection;
    if let Some(broken) = connection.take_broken_head() {
        walk.note_broken(broken.method, broken.path, broken.dialect);
        return Err(broken.fault.into());
    }
    walk.firehose_request = accept::firehose_request(&session.req_header().headers);
    let snapshot = walk.snapshot.clone();
    let assertions = snapshot.identifier.assertion_headers();
    let (mut caller, call) =
        accept::read(session.req_header(), connection, &snapshot.profile, assertions, &snapshot.limits).map_err(
            |head| {
                let path = session.req_header().uri.path().to_owned();
                // Over HTTP/2 a method may be as long as the whole head.
                let method = session.req_header().method.as_str().chars().take(16).collect();
                walk.note_broken(method, path, head.dialect);
                if head.fault == Fault::CookieConflict {
                    // The answer removes the cookie that shuts its owner out.
                    walk.set_cookies.extend(Login::cleared());
                }
                Refusal::from(head.fault)
            },
        )?;
    caller.address = arrival.client.ip;
    walk.note_call(&call);
    if call.dialect == Dialect::Page {
        walk.origin = Some(connection.origin(&call.authority));
    }
    if let Err(spent) = arrival.place {
        return Err(Refusal::from(spent).because("of the calls at once"));
    }
    let slot = walk.shared().trail.reserve(arrival.client.ip).map_err(|unwritable| match unwritable {
        Unwritable::Queue => Refusal::new(Reason::AuditUnwritable),
        Unwritable::Share => Refusal::from(Spent::Share).because("of the places in the queue of records"),
    })?;
    walk.keep_slot(slot);

    if let RequestKind::Site(ask) = &call.kind {
        return site::visit(session, walk, arrival, caller, &call, ask).await;
    }
    if let RequestKind::Alert(ask) = &call.kind {
        // Another kind of evidence, judged before anything else can mistake it for its own.
        return inlet::receive(session, walk, arrival, caller, ask).await;
    }
    let (caller, opened, turn) = with_body(session, walk, arrival, caller, &call).await?;
    // A digest, which only a body that may hold a token is compared with.
    let shown = matches!(call.kind, RequestKind::Legacy(_)).then(|| caller.shown());
    let identity = snapshot.identifier.identify(caller).await.map_err(|rejection| Refusal::from(&rejection))?;
    drop(turn);
    walk.note_identity(identity.facts());
    if let Some(proven) = identity.session() {
        walk.note_visitor(&identity);
        csrf::check(&session.req_header().headers, &call.method, &connection.origin(&call.authority), proven)?;
    } else if identity.facts().method == Method::Assertion {
        let origin = connection.origin(&call.authority);
        csrf::check_assertion(&session.req_header().headers, &call.method, &origin)?;
    }
    match &call.kind {
        RequestKind::Tree(ask) => subtree::answer(session, walk, arrival, &call, ask, &identity).await,
        RequestKind::Site(_) | RequestKind::Alert(_) | RequestKind::Unknown => Err(Refusal::new(Reason::PathUnknown)),
        RequestKind::Unacceptable(fault) => Err((*fault).into()),
        RequestKind::Own(ask) => {
            let page = api::page(&snapshot, &identity, ask, walk.now());
            let page = page.ok_or_else(|| Refusal::new(Reason::AppUnknown))?;
            walk.note_operation("own");
            walk.note_own();
            answer::own(session, walk, page).await.map_err(|_| Refusal::new(Reason::ClientClosed))
        }
        RequestKind::Ingest(ask) if snapshot.ingest_settings.stamp => {
            let reach = reach(walk, &identity, &call)?;
            let culprit = Throttle::identity(walk, identity.facts());
            culprit.check(walk)?;
            let asked = rewritten::Asked { call: &call, ask, identity: &identity, reach: &reach };
            let outcome = rewritten::export(session, walk, arrival, &asked).await;
            culprit.settle(walk, &outcome);
            if note_meant(walk, &reach, &outcome) {
                walk.count_failure();
            }
            outcome
        }
        RequestKind::Legacy(ask) => {
            let shown = shown.ok_or_else(|| Refusal::new(Reason::InternalDefect))?;
            let reach = reach(walk, &identity, &call)?;
            let culprit = Throttle::identity(walk, identity.facts());
            culprit.check(walk)?;
            let asked = report::Asked { call: &call, ask, identity: &identity, reach: &reach };
            let outcome = report::report(session, walk, arrival, &asked, opened, shown).await;
            culprit.settle(walk, &outcome);
            note_meant(walk, &reach, &outcome);
            if outcome.is_err() && walk.accepted_items() == 0 {
                walk.count_failure();
            }
            outcome
        }
        RequestKind::Ingest(_) | RequestKind::Query(_) => as_it_comes(session, walk, arrival, &call, &identity).await,
    }
}

/// The caller of a report whose token can stand nowhere but in its body, which is read for it: in the turn of its
/// address, because it may prove nothing. The turn ends when its sender is identified.
async fn with_body(
    session: &mut Session,
    walk: &mut Walk,
    arrival: &Arrival,
    caller: Caller,
    call: &Call,
) -> Result<(Caller, Option<Opened>, Option<Turn>), Refusal> {
    let ask = match &call.kind {
        RequestKind::Legacy(ask) if ask.body_first => ask,
        _ => return Ok((caller, None, None)),
    };
    let turn = walk.shared().unproven.take(caller.address).await;
    let turn = turn.ok_or_else(|| Refusal::new(Reason::UnprovenReadsBusy))?;
    let work = Work::of_address(walk.shared(), arrival.client.ip);
    let opened = report::open(session, walk, arrival, ask, work).await?;
    Ok((opened.identifies(caller)?, Some(opened), Some(turn)))
}

/// Where the caller may write, decided on the head.
fn reach(walk: &mut Walk, identity: &Identity, call: &Call) -> Result<Reach, Refusal> {
    let reach = walk.snapshot.policy.reach(identity, call, walk.now());
    reach.map_err(|denial| {
        walk.note_denial(&denial);
        Refusal::from(&denial)
    })
}

/// The record of an export whose body was never understood tells at least the app that its head stands for. Tells
/// whether there is such a one.
fn note_meant(walk: &mut Walk, reach: &Reach, outcome: &Result<(), Refusal>) -> bool {
    let unread = outcome.as_ref().is_err_and(|refusal| refusal.class != Class::Denied)
        && !walk.is_permitted()
        && !walk.is_read();
    let policy = &walk.snapshot.policy;
    if unread
        && let Ok(node) = policy.assign(reach, &|_| Mark::Absent)
        && let Ok(permit) = policy.permit(reach, node)
    {
        walk.note_permit(&permit);
        return true;
    }
    false
}

/// A call that is decided on its head alone: a query, or an export that passes untouched.
async fn as_it_comes(
    session: &mut Session,
    walk: &mut Walk,
    arrival: &Arrival,
    call: &Call,
    identity: &Identity,
) -> Result<(), Refusal> {
    let snapshot = walk.snapshot.clone();
    let permit = snapshot.policy.authorize(identity, call, walk.now()).map_err(|denial| {
        walk.note_denial(&denial);
        Refusal::from(&denial)
    })?;
    walk.note_permit(&permit);
    let route = route::route(&permit, call, &snapshot.profile, &snapshot.organization)
        .ok_or_else(|| Refusal::new(Reason::InternalDefect))?;
    walk.note_route(&route);
    let lease = snapshot.vault.lend(&permit, &route)?;
    if let Framed::Length(length) = body::framed(session, arrival)
        && length > snapshot.limits.body_bytes
    {
        return Err(Fault::BodyTooLarge.into());
    }
    answer::allow_body(session, &arrival.connection);
    match route.lane() {
        Lane::Streamed(_) => {
            let RequestKind::Ingest(ask) = &call.kind else {
                return Err(Refusal::new(Reason::InternalDefect));
            };
            let backend = snapshot.backend(route.upstream()).cloned();
            let backend = backend.ok_or_else(|| Refusal::new(Reason::UpstreamNotConfigured))?;
            let outcome = streamed::export(session, walk, arrival, ask, &route, lease, &backend).await;
            let shared = walk.shared();
            // Its content was not read, so that there are no items to count.
            let is_taken = outcome.is_ok() && walk.is_taken();
            if is_taken {
                let beat = StatsUpdate { bytes: walk.bytes_in, ..StatsUpdate::default() };
                shared.live.accepted(permit.app(), identity.facts(), &beat, shared.clock.now());
            } else {
                shared.live.failed(permit.app(), shared.clock.now());
            }
            outcome
        }
        Lane::Terminated(_) => {
            let shared = walk.shared().clone();
            let ours = arrival.connection.origin(&call.authority);
            let account = walk.account().clone();
            let mut reserved = account.open();
            let work = Work::of(&shared, identity.facts());
            let body = body::read_query(session, walk, arrival, work, &mut reserved).await?;
            let headers = session.req_header().headers.clone();
            let question = Question {
                shared: &shared,
                snapshot: &snapshot,
                account: &account,
                call,
                who: identity.facts(),
                permit: &permit,
                route,
                lease,
                ours: &ours,
                headers: &headers,
                body,
                named: None,
            };
            let asked = match session.downstream_session.watch_h2_stream_close() {
                // What may have changed something is heard to its end.
                Some(closed) if call.method.is_safe() => tokio::select! {
                    asked = proxy::ask(question) => asked,
                    _ = closed => return Err(body::client_closed()),
                },
                _ => proxy::ask(question).await,
            };
            let reply = asked.map_err(|unanswered| {
                walk.upstream_status = unanswered.upstream_status;
                unanswered.refusal
            })?;
            match reply.source {
                Source::Asked => walk.upstream_status = Some(reply.status.as_u16()),
                Source::Coalesced => walk.note_detail(Some("answered with another call of the same".to_owned())),
                Source::Cached => walk.note_detail(Some("answered from the cache".to_owned())),
            }
            reply::query(session, walk, reply).await.map_err(|_| body::client_closed())
        }
    }
}
