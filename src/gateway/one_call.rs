//! One request from its head to its record.
//!
//! What it does: gives it a place, answers what needs no caller, leads the rest through `admit`, and leaves its record.
//! What it refuses to know: how it came, how anything is decided. Invariants: every call has a counted place, or is refused;
//! behind an answer that has begun no other is written.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::admit;
use crate::accept::{Arrival, client_address};
use crate::call::context::RequestContext;
use crate::call::exchange::{BrokenOff, Downstream, Exchange, broken};
use crate::call::record::InFlight;
use crate::call::{answer, cors};
use crate::health;
use crate::limits::Spent;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::Shared;

/// Answers a request. An error says that no answer went out, or not to its end.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    mut session: Downstream<'_>,
    request: &mut InFlight,
    mut arrival: Arrival,
) -> Result<(), BrokenOff> {
    let InFlight {
        answer: state,
        record,
    } = request;
    let snapshot = record.snapshot().clone();
    let connection = &arrival.connection;
    snapshot.at_listener(connection);
    let listener = connection.listener();
    let forwarded = listener.front.forwarded.as_ref();
    arrival.client = client_address(&session.head().headers, connection.peer, forwarded);
    drop(listener);
    // A stop that is told of lets clients go elsewhere before they are refused.
    if arrival.connection.is_retiring() || shared.draining.load(Ordering::Relaxed) {
        session.close_after();
    }
    arrival.place = shared
        .calls
        .enter(&arrival.connection, arrival.client.ip, &snapshot.limits);
    let context = RequestContext::new(shared, &snapshot, arrival, record.now());
    record.arrived(context.arrival().clone());
    let connection = &context.arrival().connection;
    let cut = cut_off(&session, shared);
    if cors::is_preflight(session.head(), connection) {
        // No record is begun: a browser asks by itself, before the call that has one.
        let (headers, is_allowed) = cors::preflight(session.head(), &snapshot, connection);
        let word = if is_allowed { "allowed" } else { "refused" };
        shared.metrics.preflight(&connection.listener().name, word);
        return answer::preflight(&mut Exchange::new(session, state, &context), headers).await;
    }
    let check = health::asked(session.head(), connection);
    let mut exchange = Exchange::new(session, state, &context);
    if let Some(check) = check {
        // No record is begun: a check has no caller.
        return tokio::select! {
            biased;
            answered = health::answer(&mut exchange, check) => answered,
            () = cut => Ok(()),
        };
    }
    record.begin();
    exchange.state.attests = shared.trail.is_durable();
    let admitted = {
        // Pinned where it is made: it is large, and each move of it would be a copy and room for one more.
        let admitting = pin!(admit::admit(&mut exchange, &context, record));
        tokio::select! {
            biased;
            admitted = admitting => admitted,
            // The record says so.
            () = cut => return Ok(()),
        }
    };
    let Err(refusal) = admitted else {
        return Ok(());
    };
    record.refused(refusal.clone());
    if exchange.has_begun() {
        return Err(broken("an answer was broken off"));
    }
    answer::refuse(&mut exchange, &refusal).await
}

/// Ends when the gateway stops and calls are cut off. An HTTP/2 call is a task of its own and does not end with its
/// connection; one over HTTP/1.1 does, and waits for nothing here.
fn cut_off(session: &Downstream<'_>, shared: &Shared) -> impl Future<Output = ()> + use<> {
    let cut = match session {
        Downstream::Http1(_) => None,
        Downstream::Http2(_) => Some(shared.cut.subscribe()),
    };
    async {
        match cut {
            // The error means that the gateway is gone.
            Some(mut cut) => drop(cut.wait_for(|cut| *cut).await),
            None => std::future::pending().await,
        }
    }
}

/// Answers a request whose answer did not go out, if it can still be. Its status; 0 without an answer.
pub(super) async fn broken_off(
    shared: &Arc<Shared>,
    mut session: Downstream<'_>,
    why: &str,
    request: &mut InFlight,
    arrival: Option<Arrival>,
) -> u16 {
    let InFlight {
        answer: state,
        record,
    } = request;
    if session.has_begun() || state.status.is_some() {
        // The client went while it was answered.
        record.refused_unless_known(Refusal::new(Reason::ClientClosed));
        return 0;
    }
    let refusal = Refusal::new(Reason::InternalError).because(why);
    let status = refusal.class.status().as_u16();
    record.refused(refusal.clone());
    session.close_after();
    if let Some(arrival) = record.arrival().cloned().or(arrival) {
        let context = RequestContext::new(shared, record.snapshot(), arrival, record.now());
        // If this cannot be written either, no client is left to be told.
        let _ = answer::refuse(&mut Exchange::new(session, state, &context), &refusal).await;
    }
    status
}

/// Leaves the request's record, and gives its place back before the next head of its connection may ask for one.
pub(super) fn over(request: &mut InFlight) {
    request.end();
    if let Some(arrival) = request.record.arrival_mut() {
        arrival.place = Err(Spent::Total);
    }
}
