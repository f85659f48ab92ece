//! The straight line: accept, identify, authorize, route, vault; then one of the lanes.
//!
//! What it does: takes a head through the rooms in their order; the types force the order. What it refuses
//! to know: any room's rules. Invariants: nothing goes upstream before a permit; nothing is read of a body
//! before a permit or, where it must be read to be permitted, a reach, but for reports whose sender is named
//! nowhere else; a slot in the trail is kept before anything is read or forwarded.

use crate::accept::{self, Call, Caller, Dialect, Fault, Framed, RequestKind, TreeRequest};
use crate::alerts::inlet;
use crate::apps::Mark;
use crate::audit::{Slot, Unwritable};
use crate::authorize::{Denial, Permit, Reach};
use crate::call::answer;
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::call::outcome::Outcome;
use crate::call::record::RecordBuilder;
use crate::call::throttle::Throttle;
use crate::console::{api, csrf, site};
use crate::export::report::{self, Opened, Way};
use crate::export::rewritten::{self, Read};
use crate::export::streamed;
use crate::identify::{Identity, Login};
use crate::limits::{Spent, Turn};
use crate::query::{fan_out, single, subtree};
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::route::{Lane, Route};
use crate::state::work::Work;

/// Takes one request through the rooms and writes its answer. A refusal is still to be answered.
pub(crate) async fn admit(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    record: &mut RecordBuilder,
) -> Result<(), Refusal> {
    let (snapshot, arrival) = (context.snapshot(), context.arrival());
    let connection = &arrival.connection;
    if let Some(broken) = exchange.take_broken_head() {
        record.broken(broken.method, broken.path);
        exchange.state.dialect = broken.dialect;
        return Err(broken.fault.into());
    }
    let (mut caller, call) = read(exchange, context).map_err(|unread| {
        record.broken(unread.method, unread.path);
        unread.refusal
    })?;
    caller.address = arrival.client.ip;
    record.call(&call);
    exchange.state.dialect = call.dialect;
    exchange.state.by_proof = caller.proof.is_some();
    if call.dialect == Dialect::Page {
        exchange.state.origin = Some(connection.origin(&call.authority));
    }
    record.slot(slot(context)?);

    if let RequestKind::Site(ask) = &call.kind {
        return site::visit(exchange, context, record, caller, &call, ask).await;
    }
    if let RequestKind::Alert(ask) = &call.kind {
        // Another kind of evidence, judged before anything else can mistake it for its own.
        record.operation(inlet::OPERATION);
        let (identity, node) = inlet::identify(snapshot, caller, ask)?;
        record.identity(&identity);
        record.alert(
            &ask.app,
            snapshot
                .policy
                .tree()
                .project_of(node)
                .map(|project| &**project),
        );
        let context = context.proven(identity.facts());
        let outcome = inlet::receive(exchange, &context, ask, (&identity, node)).await;
        return record.outcome(outcome);
    }
    let (caller, opened, turn) = with_body(exchange, context, caller, &call).await?;
    // A digest, which only a body that may hold a token is compared with.
    let shown = matches!(call.kind, RequestKind::Legacy(_)).then(|| caller.shown());
    let identity = snapshot
        .identifier
        .identify(caller)
        .await
        .map_err(|rejection| Refusal::from(&rejection))?;
    drop(turn);
    record.identity(&identity);
    exchange.state.proven(&identity);
    let context = &context.proven(identity.facts());
    csrf::is_asked_by_us(exchange, context, &call, &identity)?;
    match &call.kind {
        RequestKind::Tree(ask) => subtree(exchange, context, record, &call, ask, &identity).await,
        RequestKind::Site(_) | RequestKind::Alert(_) | RequestKind::Unknown => {
            Err(Refusal::new(Reason::PathUnknown))
        }
        RequestKind::Unacceptable(fault) => Err((*fault).into()),
        RequestKind::Own(ask) => {
            let page = api::page(snapshot, &identity, ask, context.now());
            let page = page.ok_or_else(|| Refusal::new(Reason::AppUnknown))?;
            record.operation("own");
            record.own();
            answer::own(exchange, page)
                .await
                .map_err(|_| Refusal::new(Reason::ClientClosed))
        }
        RequestKind::Ingest(ask) if snapshot.ingest_settings.stamp => {
            let reach =
                reach(context, &identity, &call).map_err(|denial| record.denied(&denial))?;
            let throttle = Throttle::admit(context, identity.facts())?;
            let asked = rewritten::Asked {
                call: &call,
                ask,
                identity: &identity,
                reach: &reach,
            };
            let answered = export(exchange, context, record, &asked).await;
            throttle.settle(context, &answered);
            if let Some(permit) = meant(context, record, &reach, &answered) {
                record.permit(&permit);
                record.count_failure();
            }
            answered
        }
        RequestKind::Legacy(ask) => {
            let shown = shown.ok_or_else(|| Refusal::new(Reason::InternalDefect))?;
            let reach =
                reach(context, &identity, &call).map_err(|denial| record.denied(&denial))?;
            let throttle = Throttle::admit(context, identity.facts())?;
            let asked = report::Asked {
                call: &call,
                ask,
                identity: &identity,
                reach: &reach,
            };
            let answered = match report::read(exchange, context, &asked, opened, shown).await {
                Ok(opened) => legacy(exchange, context, record, &asked, opened).await,
                Err(refusal) => Err(refusal),
            };
            throttle.settle(context, &answered);
            if let Some(permit) = meant(context, record, &reach, &answered) {
                record.permit(&permit);
            }
            if answered.is_err() && record.accepted_items() == 0 {
                record.count_failure();
            }
            answered
        }
        RequestKind::Ingest(_) | RequestKind::Query(_) => {
            let permit = snapshot.policy.authorize(&identity, &call, context.now());
            let permit = permit.map_err(|denial| record.denied(&denial))?;
            record.permit(&permit);
            let route = route(context, &call, &permit)?;
            record.upstream(route.upstream());
            let outcome = as_it_comes(exchange, context, &call, &identity, (&permit, route)).await;
            record.outcome(outcome)
        }
    }
}

/// A head that nothing but its method and path is known of.
struct Unread {
    method: String,
    path: String,
    refusal: Refusal,
}

/// The head, read.
fn read(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
) -> Result<(Caller, Call), Box<Unread>> {
    exchange.state.firehose_request = accept::firehose_request(exchange.headers());
    let snapshot = context.snapshot();
    let assertions = snapshot.identifier.assertion_headers();
    let connection = &context.arrival().connection;
    accept::read(
        exchange.head(),
        connection,
        &snapshot.profile,
        assertions,
        &snapshot.limits,
    )
    .map_err(|head| {
        let path = exchange.head().uri.path().to_owned();
        // Over HTTP/2 a method may be as long as the whole head.
        let method = exchange.head().method.as_str().chars().take(16).collect();
        exchange.state.dialect = head.dialect;
        if head.fault == Fault::CookieConflict {
            // No browser's user should have to look for the cookie that shuts them out.
            exchange.state.set_cookies.extend(Login::cleared());
        }
        Box::new(Unread {
            method,
            path,
            refusal: Refusal::from(head.fault),
        })
    })
}

/// A place among the calls at once, and one for the record.
fn slot(context: &RequestContext) -> Result<Option<Slot>, Refusal> {
    let arrival = context.arrival();
    if let Err(spent) = arrival.place {
        return Err(Refusal::from(spent).because("of the calls at once"));
    }
    let trail = &context.shared().trail;
    let accounts = arrival.record_accounts(|address| trail.accounts(address));
    trail
        .reserve(&accounts)
        .map_err(|unwritable| match unwritable {
            Unwritable::Queue => Refusal::new(Reason::AuditUnwritable),
            Unwritable::Sink => Refusal::new(Reason::AuditSinkFull),
            Unwritable::Share => {
                Refusal::from(Spent::Share).because("of the places in the queue of records")
            }
        })
}

/// The caller of a report whose token can stand nowhere but in its body, which is read for it: in the turn of its
/// address, because it may prove nothing. The turn ends when its sender is identified.
async fn with_body(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    caller: Caller,
    call: &Call,
) -> Result<(Caller, Option<Opened>, Option<Turn>), Refusal> {
    let ask = match &call.kind {
        RequestKind::Legacy(ask) if ask.body_first => ask,
        _ => return Ok((caller, None, None)),
    };
    let turn = context.shared().unproven.take(caller.address).await;
    let turn = turn.ok_or_else(|| Refusal::new(Reason::UnprovenReadsBusy))?;
    let work = Work::of_address(context.shared(), context.arrival().client.ip);
    let opened = report::open(exchange, context, ask, work).await?;
    Ok((opened.identifies(caller)?, Some(opened), Some(turn)))
}

/// Where the caller may write, decided on the head.
fn reach(context: &RequestContext, identity: &Identity, call: &Call) -> Result<Reach, Denial> {
    context
        .snapshot()
        .policy
        .reach(identity, call, context.now())
}

fn route(context: &RequestContext, call: &Call, permit: &Permit) -> Result<Route, Refusal> {
    context.snapshot().route(permit, call)
}

/// The app that the head of an export stands for, where its body was never understood: its record tells at least that.
fn meant(
    context: &RequestContext,
    record: &RecordBuilder,
    reach: &Reach,
    answered: &Result<(), Refusal>,
) -> Option<Permit> {
    let is_unread = answered
        .as_ref()
        .is_err_and(|refusal| refusal.class != Class::Denied)
        && !record.is_permitted()
        && !record.is_read();
    let policy = &context.snapshot().policy;
    let node = is_unread.then(|| policy.assign(reach, &|_| Mark::Absent).ok())??;
    policy.permit(reach, node).ok()
}

/// An export that is read and stamped. What it goes to is written down before anything leaves.
async fn export(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    record: &mut RecordBuilder,
    asked: &rewritten::Asked<'_>,
) -> Result<(), Refusal> {
    let outcome = match rewritten::read(exchange, context, asked).await? {
        Read::Empty(format) => {
            record.own();
            rewritten::empty(exchange, format).await
        }
        Read::TakenApart(export) => {
            record.split(&export.split);
            if let Some(denial) = export.denial() {
                return Err(record.denied(denial));
            }
            export.send(exchange, context, asked).await
        }
    };
    record.outcome(outcome)
}

/// A legacy report whose body has been read.
async fn legacy(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    record: &mut RecordBuilder,
    asked: &report::Asked<'_>,
    opened: Opened,
) -> Result<(), Refusal> {
    let (node, permit) = opened
        .permit(&context.snapshot().policy, asked)
        .map_err(|denial| {
            record.items(0, opened.report.items());
            record.denied(&denial)
        })?;
    record.permit(&permit);
    let route = route(context, asked.call, &permit)?;
    record.upstream(route.upstream());
    let way = Way {
        node,
        permit: &permit,
        route: &route,
    };
    let outcome = report::send(exchange, context, asked, opened, way).await;
    record.outcome(outcome)
}

/// A question to a part of the tree.
async fn subtree(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    record: &mut RecordBuilder,
    call: &Call,
    ask: &TreeRequest,
    identity: &Identity,
) -> Result<(), Refusal> {
    let snapshot = context.snapshot();
    let resource = snapshot.profile.tree_resource(&call.method, &ask.resource);
    let resource = resource.ok_or_else(|| Refusal::new(Reason::PathUnknown))?;
    let targets = fan_out::targets(snapshot, identity, ask, resource, context.now());
    let targets = targets.map_err(|denial| record.denied(&denial))?;
    record.tree(&ask.app, targets.iter().map(|target| &target.permit));
    let question = subtree::Question {
        ask,
        resource,
        identity,
    };
    let outcome = subtree::answer(exchange, context, call, &question, targets).await;
    record.outcome(outcome)
}

/// What is decided on its head alone: a query, or an export that passes untouched.
async fn as_it_comes(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    call: &Call,
    identity: &Identity,
    (permit, route): (&Permit, Route),
) -> Outcome {
    let snapshot = context.snapshot();
    let lease = match snapshot.vault.lend(permit, &route) {
        Ok(lease) => lease,
        Err(fault) => return Outcome::from(Refusal::from(fault)),
    };
    if let Framed::Length(length) = exchange.framed()
        && length > snapshot.limits.body_bytes
    {
        return Outcome::from(Fault::BodyTooLarge);
    }
    exchange.allow_body();
    match route.lane() {
        Lane::Streamed(_) => {
            let RequestKind::Ingest(ask) = &call.kind else {
                return Outcome::from(Refusal::new(Reason::InternalDefect));
            };
            streamed::export(exchange, context, (ask, identity), (permit, route, lease)).await
        }
        Lane::Terminated(_) => {
            single::answer(exchange, context, (call, identity), (permit, route, lease)).await
        }
    }
}
