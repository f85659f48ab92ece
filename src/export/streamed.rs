//! Bodies of callers: exports as they come, and whole ones for those who must have them whole.
//!
//! What it does: joins a caller's body, one exchange with a backend, and the answer. What it refuses to know: how any
//! of the three works, and what a body says. Invariants: the body of an export that passes untouched is never held
//! whole; what is read whole counts in the budget as it comes; a body that is silent is ended by a timer.

use http::header;
use pingora_proxy::Session;

use super::part::WireFormat;
use super::send::{Delivered, Said, UpstreamRequest, deadline, deliver, is_of_the_way};
use super::{reply, success};
use crate::accept::{Arrival, IngestRequest};
use crate::call::body::{Flowing, client_closed};
use crate::call::context::Walk;
use crate::call::pace::BodyPace;
use crate::forward::{self, Backend, GrpcAnswer, Replayable, grpc_code, is_usable};
use crate::media_type::MediaType;
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::route::Route;
use crate::vault::Lease;

/// Sends an export on as it comes.
pub async fn export(
    session: &mut Session,
    walk: &mut Walk,
    arrival: &Arrival,
    ask: &IngestRequest,
    route: &Route,
    lease: Lease,
    backend: &Backend,
) -> Result<(), Refusal> {
    let snapshot = walk.snapshot.clone();
    let shared = walk.shared().clone();
    let protocol = ask.protocol;
    let headers = forward::taken(protocol, ask.media_type(), &session.req_header().headers);
    let (headers, deadline) = (&headers, deadline(ask.patience));
    let account = walk.account().clone();
    let errand = UpstreamRequest {
        snapshot: &snapshot,
        shared: &shared,
        account: &account,
        route,
        backend,
        protocol,
        headers,
        is_sealed: false,
        deadline,
    };
    let pace = BodyPace::new(&snapshot.limits, protocol);
    let mut body = Replayable::new(Flowing::new(session, arrival, pace, &mut walk.bytes_in));
    let delivered = deliver(&errand, lease, &mut body, &mut walk.upstream_status).await;
    drop(body);
    let mut delivered = delivered?;
    let manner = WireFormat { signal: ask.signal, encoding: ask.encoding, protocol, deadline };
    if let Some(Some(said)) = success::settle(manner, &mut delivered.said)
        && said.rejected > 0
    {
        // How many were sent, is not known in this lane.
        walk.note_items(0, said.rejected);
    }
    pass_on(session, walk, delivered).await
}

/// Gives the caller the backend's answer to an export.
pub async fn pass_on(session: &mut Session, walk: &mut Walk, delivered: Delivered) -> Result<(), Refusal> {
    let Delivered { said, held } = delivered;
    let outcome = match said {
        Said::Http(answer) => {
            let status = answer.status.as_u16();
            if !is_usable(status) || is_of_the_way(status) || answer.headers.contains_key(header::CONTENT_ENCODING) {
                return Err(Refusal::new(Reason::UpstreamAnswerUnusable));
            }
            reply::export(session, walk, &answer).await
        }
        Said::Grpc(answer) => {
            if let Some(class) = unusable_grpc(&answer) {
                return Err(Refusal::classed(Reason::UpstreamAnswerUnusable, class));
            }
            walk.grpc_status = grpc_code(&answer);
            reply::grpc(session, walk, answer).await
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
