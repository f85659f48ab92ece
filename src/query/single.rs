//! A question to one project.
//!
//! What it does: reads what is asked, has it asked of the backend, and answers. What it refuses to know: how the backend is
//! asked, and how its answer is rewritten. Invariant: what may have changed something is heard to its end, also if its
//! caller goes away.

use super::proxy::{self, Asker, Question};
use super::reply;
use crate::accept::Call;
use crate::authorize::Permit;
use crate::call::body;
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::call::outcome::Outcome;
use crate::identify::Identity;
use crate::memory::coalesce::Source;
use crate::respond::Refusal;
use crate::route::Route;
use crate::state::work::Work;
use crate::vault::Lease;

/// Answers a permitted question.
pub(crate) async fn answer(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    (call, identity): (&Call, &Identity),
    way: (&Permit, Route, Lease),
) -> Outcome {
    match answered(exchange, context, call, identity, way).await {
        Ok(outcome) => outcome,
        Err(refusal) => Outcome::from(refusal),
    }
}

async fn answered(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    call: &Call,
    identity: &Identity,
    (permit, route, lease): (&Permit, Route, Lease),
) -> Result<Outcome, Refusal> {
    let shared = context.shared();
    let ours = context.arrival().connection.origin(&call.authority);
    let mut reserved = context.account().open();
    let work = Work::of(shared, identity.facts());
    let body = body::read_query(exchange, work, &mut reserved).await?;
    let headers = exchange.headers().clone();
    let asker = Asker {
        shared,
        snapshot: context.snapshot(),
        account: context.account(),
        who: identity.facts(),
        ours: &ours,
        headers: &headers,
    };
    let question = Question {
        asker,
        call,
        permit,
        route,
        lease,
        body,
        named: None,
    };
    let asked = match exchange.gone() {
        // What may have changed something is heard to its end.
        Some(closed) if call.method.is_safe() => tokio::select! {
            asked = proxy::ask(question) => asked,
            _ = closed => return Err(body::client_closed()),
        },
        _ => proxy::ask(question).await,
    };
    let reply = match asked {
        Ok(reply) => reply,
        Err(failed) => {
            return Ok(Outcome::from(failed));
        }
    };
    let upstream_status = reply.upstream_status();
    let detail = match reply.source {
        Source::Asked => None,
        Source::Coalesced => Some("answered with another call of the same".to_owned()),
        Source::Cached => Some("answered from the cache".to_owned()),
    };
    exchange.state.known = Some(Outcome {
        detail,
        ..Outcome::of(Ok(())).with_status(upstream_status)
    });
    let answered = reply::query(exchange, reply)
        .await
        .map_err(|_| body::client_closed());
    Ok(exchange.state.settled(answered))
}
