//! Bodies of callers: exports as they come, and whole ones for those who must have them whole.
//!
//! What it does: joins a caller's body, one exchange with a backend, and the answer. What it refuses to know: how any
//! of the three works, and what a body says. Invariants: the body of an export that passes untouched is never held
//! whole; what is read whole counts in the budget as it comes; a body that is silent is ended by a timer; what the backend does not take as it comes is read whole and put into a form that it takes.

use bytes::Bytes;
use http::{HeaderMap, header};

use super::format::{PartFormat, WireFormat};
use super::outgoing::{self, Outgoing};
use super::part::{JudgedAnswer, PartResult, judged};
use super::reply;
use super::send::{
    Delivered, Said, UpstreamRequest, deadline, deliver, is_code_of_the_way, is_of_the_way,
};
use crate::accept::IngestRequest;
use crate::audit::Items;
use crate::authorize::Permit;
use crate::call::body::{self, Flowing, client_closed, coding, message};
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::call::outcome::Outcome;
use crate::call::pace::BodyPace;
use crate::forward::{self, Backend, GrpcAnswer, Pieces, Replayable, grpc_code, is_usable};
use crate::identify::Identity;
use crate::limits::Reservation;
use crate::media_type::MediaType;
use crate::memory::live::StatsUpdate;
use crate::otlp::Encoding;
use crate::profiles::Accepts;
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::route::Route;
use crate::state::work::{SMALL_BYTES, Work};
use crate::transform::{Coding, Compression};
use crate::vault::Lease;

/// Sends an export on as it comes, and counts what became of it. What is in it, nothing here has read.
pub(crate) async fn export(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    (ask, identity): (&IngestRequest, &Identity),
    (permit, route, lease): (&Permit, Route, Lease),
) -> Outcome {
    let (snapshot, shared) = (context.snapshot(), context.shared());
    let Some(backend) = snapshot.endpoint(&route).cloned() else {
        return Outcome::from(Refusal::new(Reason::UpstreamNotConfigured));
    };
    let outcome = send(exchange, context, (ask, identity), route, lease, &backend).await;
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
    (ask, identity): (&IngestRequest, &Identity),
    route: Route,
    lease: Lease,
    backend: &Backend,
) -> Outcome {
    let (snapshot, shared) = (context.snapshot(), context.shared());
    let format = WireFormat {
        signal: ask.signal,
        encoding: ask.encoding,
        protocol: ask.protocol,
        deadline: deadline(ask.patience),
    };
    let profile = snapshot.profile_of(route.backend());
    let accepts = profile.exports(ask.signal).accepts;
    let coding = coding(exchange.headers(), ask.protocol);
    let came = coding.as_ref().map_or(Coding::Identity, |coding| *coding);
    let leaving = PartFormat::chosen(format, came, profile, Compression::Same);
    let Some(leaving) = leaving else {
        return Outcome::from(Refusal::new(Reason::FormNotTaken));
    };
    // Where every compression is taken, it is the backend's to know them.
    let is_packed_right = accepts == Accepts::default()
        || coding.as_ref().is_ok_and(|coding| coding.is_taken(accepts));
    let route = match outgoing::way(route, format, leaving, profile) {
        Ok(route) => route,
        Err(refusal) => return Outcome::from(refusal),
    };
    let mut errand = UpstreamRequest {
        snapshot,
        shared,
        account: context.account(),
        route: &route,
        backend,
        protocol: leaving.protocol,
        headers: &HeaderMap::new(),
        is_sealed: false,
        deadline: format.deadline,
    };
    let mut unknown = 0;
    let delivered = if leaving.is_of(format) && is_packed_right {
        let headers = forward::taken(ask.protocol, ask.media_type(), exchange.headers());
        errand.headers = &headers;
        let pace = BodyPace::new(&snapshot.limits, ask.protocol);
        let mut body = Replayable::new(Flowing::new(exchange, pace));
        deliver(&errand, lease, &mut body).await
    } else {
        let mut held = context.account().open();
        let work = Work::of(shared, identity.facts());
        let made = match converted(exchange, ask, format, leaving, work, &mut held).await {
            Ok(made) => made,
            Err(refusal) => return Outcome::from(refusal),
        };
        unknown = made.unknown;
        shared.metrics.not_carried(unknown);
        errand.headers = &made.headers;
        let mut body = Replayable::new(Pieces::new(made.body));
        let delivered = deliver(&errand, lease, &mut body).await;
        drop(held);
        delivered
    };
    let mut delivered = match delivered {
        Ok(delivered) => delivered,
        Err(failed) => return Outcome::from(failed),
    };
    let upstream_status = Some(delivered.said.status().as_u16());
    let JudgedAnswer { fate, is_ours, .. } =
        judged(format, leaving, &mut delivered.said, &profile.answers);
    // How many were sent, is not known in this lane.
    let rejected = match fate {
        PartResult::Again(refusal) if is_ours => {
            return Outcome::from(refusal).with_status(upstream_status);
        }
        PartResult::Taken(Some(said)) => said.rejected,
        _ => 0,
    };
    let items = (rejected > 0).then_some(Items {
        accepted: 0,
        rejected,
    });
    exchange.state.known = Some(Outcome {
        items,
        detail: outgoing::not_carried(unknown),
        ..Outcome::of(Ok(())).with_status(upstream_status)
    });
    let answered = pass_on(exchange, delivered).await;
    exchange.state.settled(answered)
}

/// Reads an export that cannot pass as it comes, and makes of it what the backend takes. Nothing is stamped.
async fn converted(
    exchange: &mut Exchange<'_>,
    ask: &IngestRequest,
    format: WireFormat,
    leaving: PartFormat,
    mut work: Work,
    held: &mut Reservation,
) -> Result<Outgoing, Refusal> {
    let coding = coding(exchange.headers(), ask.protocol)?;
    let limits = exchange.snapshot().limits.clone();
    let body = body::read_whole(exchange, ask.protocol, held).await?;
    let most = limits.decompressed_body_bytes;
    let message = message(body, ask.protocol, coding, most, &mut work, held).await?;
    // An empty body says as much as an empty object does.
    let message = if message.is_empty() && format.encoding == Encoding::Json {
        Bytes::from_static(b"{}")
    } else {
        message
    };
    let headers = forward::taken(ask.protocol, ask.media_type(), exchange.headers());
    let is_large = message.len() > SMALL_BYTES;
    let limit_bytes = outgoing::limit_bytes(&limits);
    let make = || outgoing::make(format, leaving, &headers, vec![message], limit_bytes, held);
    let made = work.run(is_large, make).await?;
    work.pause();
    made
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

/// An answer that no gRPC client understands, or that speaks of the way.
fn unusable_grpc(answer: &GrpcAnswer) -> Option<Class> {
    let content_type = answer.headers.get(header::CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|value| MediaType::glimpse(value.as_bytes()).is_grpc());
    match answer.status.as_u16() {
        // No coding was offered, and what is compressed cannot be looked through.
        200 if is_grpc
            && grpc_code(answer).is_some_and(|code| code <= 16 && !is_code_of_the_way(code))
            && answer.body.first().is_none_or(|flag| *flag == 0) =>
        {
            None
        }
        429 => Some(Class::Throttled(5)),
        504 => Some(Class::UpstreamTimeout),
        _ => Some(Class::UpstreamBroken),
    }
}
