//! Bodies of callers: exports as they come, and whole ones for those who must have them whole.
//!
//! What it does: joins a caller's body, one exchange with a backend, and the answer. What it refuses to know: how any
//! of the three works, and what a body says. Invariants: the body of an export that passes untouched is never held
//! whole; what is read whole counts in the budget as it comes; a body that is silent is ended by a timer.

use http::header;

use super::part::WireFormat;
use super::send::{Delivered, Said, UpstreamRequest, deadline, deliver, is_of_the_way};
use super::{reply, success};
use crate::accept::IngestRequest;
use crate::audit::Items;
use crate::authorize::Permit;
use crate::call::body::{Flowing, client_closed, coding};
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::call::outcome::Outcome;
use crate::call::pace::BodyPace;
use crate::forward::{self, Backend, GrpcAnswer, Replayable, grpc_code, is_usable};
use crate::identify::Identity;
use crate::media_type::MediaType;
use crate::memory::live::StatsUpdate;
use crate::profiles::Accepts;
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::route::Route;
use crate::vault::Lease;

/// Sends an export on as it comes, and counts what became of it. What is in it, nothing here has read.
pub(crate) async fn export(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    (ask, identity): (&IngestRequest, &Identity),
    (permit, route, lease): (&Permit, &Route, Lease),
) -> Outcome {
    let (snapshot, shared) = (context.snapshot(), context.shared());
    let Some(backend) = snapshot.endpoint(route).cloned() else {
        return Outcome::from(Refusal::new(Reason::UpstreamNotConfigured));
    };
    let outcome = send(exchange, context, ask, route, lease, &backend).await;
    if is_taken(exchange, &outcome) {
        let update = StatsUpdate {
            bytes: exchange.state.bytes_in,
            ..StatsUpdate::default()
        };
        shared
            .live
            .accepted(permit.app(), identity.facts(), &update, shared.clock.now());
    } else {
        shared.live.failed(permit.app(), shared.clock.now());
    }
    outcome
}

/// Whether the backend answered an export with a success, and the caller has it.
fn is_taken(exchange: &Exchange<'_>, outcome: &Outcome) -> bool {
    let status = outcome.upstream_status.or(exchange.state.status);
    outcome.answered.is_ok()
        && status.is_some_and(|status| (200..300).contains(&status))
        && exchange.state.grpc_status.is_none_or(|code| code == 0)
}

async fn send(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    ask: &IngestRequest,
    route: &Route,
    lease: Lease,
    backend: &Backend,
) -> Outcome {
    let snapshot = context.snapshot();
    let protocol = ask.protocol;
    let profile = snapshot.profile_of(route.backend());
    let accepts = profile.exports(ask.signal).accepts;
    if accepts != Accepts::default()
        && !coding(exchange.headers(), protocol).is_ok_and(|coding| coding.is_taken(accepts))
    {
        // What is not read cannot be put into another coding.
        return Outcome::from(Refusal::new(Reason::FormNotTaken));
    }
    let headers = forward::taken(protocol, ask.media_type(), exchange.headers());
    let (headers, deadline) = (&headers, deadline(ask.patience));
    let errand = UpstreamRequest {
        snapshot,
        shared: context.shared(),
        account: context.account(),
        route,
        backend,
        protocol,
        headers,
        is_sealed: false,
        deadline,
    };
    let pace = BodyPace::new(&snapshot.limits, protocol);
    let mut body = Replayable::new(Flowing::new(exchange, pace));
    let delivered = deliver(&errand, lease, &mut body).await;
    drop(body);
    let mut delivered = match delivered {
        Ok(delivered) => delivered,
        Err(failed) => return Outcome::from(failed),
    };
    let upstream_status = Some(delivered.said.status().as_u16());
    let manner = WireFormat {
        signal: ask.signal,
        encoding: ask.encoding,
        protocol,
        deadline,
    };
    // How many were sent, is not known in this lane.
    let rejected = success::settle(manner, &mut delivered.said, &profile.answers)
        .flatten()
        .map_or(0, |said| said.rejected);
    let items = (rejected > 0).then_some(Items {
        accepted: 0,
        rejected,
    });
    exchange.state.known = Some(Outcome {
        items,
        ..Outcome::of(Ok(())).with_status(upstream_status)
    });
    let answered = pass_on(exchange, delivered).await;
    exchange.state.settled(answered)
}

/// Gives the caller the backend's answer to an export.
pub(crate) async fn pass_on(
    exchange: &mut Exchange<'_>,
    delivered: Delivered,
) -> Result<(), Refusal> {
    let Delivered { said, held } = delivered;
    let outcome = match said {
        Said::Http(answer) => {
            let status = answer.status.as_u16();
            if !is_usable(status)
                || is_of_the_way(status)
                || answer.headers.contains_key(header::CONTENT_ENCODING)
            {
                return Err(Refusal::new(Reason::UpstreamAnswerUnusable));
            }
            reply::export(exchange, &answer).await
        }
        Said::Grpc(answer) => {
            if let Some(class) = unusable_grpc(&answer) {
                return Err(Refusal::classed(Reason::UpstreamAnswerUnusable, class));
            }
            exchange.state.grpc_status = grpc_code(&answer);
            reply::grpc(exchange, answer).await
        }
    };
    drop(held);
    outcome.map_err(|_| client_closed())
}

/// An answer that no gRPC client understands.
fn unusable_grpc(answer: &GrpcAnswer) -> Option<Class> {
    let content_type = answer.headers.get(header::CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|value| MediaType::glimpse(value.as_bytes()).is_grpc());
    match answer.status.as_u16() {
        // No coding was offered, and what is compressed cannot be looked through.
        200 if is_grpc
            && grpc_code(answer).is_some_and(|code| code <= 16)
            && answer.body.first().is_none_or(|flag| *flag == 0) =>
        {
            None
        }
        429 => Some(Class::Throttled(5)),
        504 => Some(Class::UpstreamTimeout),
        _ => Some(Class::UpstreamBroken),
    }
}
