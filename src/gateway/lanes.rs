//! Bodies of callers: exports as they come, and whole ones for those who must have them whole.
//!
//! What it does: joins a caller's body, one exchange with a backend, and the answer. What it refuses to know: how any
//! of the three works, and what a body says. Invariants: the body of an export that passes untouched is never held
//! whole; what is read whole counts in the budget as it comes; a body that is silent is ended by a timer.

use bytes::Bytes;
use http::header;
use pingora_proxy::Session;
use tokio::sync::watch;

use super::deliver::{Delivered, Errand, Said, deadline, deliver, is_of_the_way};
use super::large::Work;
use super::pace::BodyPace;
use super::parcel::Manner;
use super::reading::{coding, message};
use super::walk::Walk;
use super::whole::WholeBody;
use super::{answer, success};
use crate::accept::{self, Arrival, Body, Fault, Framed, IngestAsk, Protocol};
use crate::forward::{self, Backend, GrpcAnswer, Replayable, Supply, grpc_code};
use crate::limits::{Limits, Reservation};
use crate::media_type::MediaType;
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::route::Route;
use crate::vault::Lease;

/// A caller's body, held to its bounds as it comes.
struct Flowing<'a> {
    session: &'a mut Session,
    body: Option<Body>,
    framed: Framed,
    pace: BodyPace,
    bytes_in: &'a mut u64,
    ended: bool,
}

impl<'a> Flowing<'a> {
    fn new(session: &'a mut Session, arrival: &Arrival, pace: BodyPace, bytes_in: &'a mut u64) -> Self {
        let framed = framed(session, arrival);
        Flowing { session, body: arrival.body(), framed, pace, bytes_in, ended: false }
    }
}

/// How the body of the request in flight was announced.
pub fn framed(session: &Session, arrival: &Arrival) -> Framed {
    match arrival.body() {
        Some(body) => body.framed(),
        None => {
            let length = session.req_header().headers.get(header::CONTENT_LENGTH);
            length.and_then(|length| length.to_str().ok()?.parse().ok()).map_or(Framed::Chunks, Framed::Length)
        }
    }
}

impl Supply for Flowing<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        while !self.ended {
            let waiting = self.pace.wait();
            let reading = async {
                match &self.body {
                    Some(body) => body.chunk().await,
                    None => self.session.as_mut().read_request_body().await.map_err(|_| Fault::BodyTruncated),
                }
            };
            let reading = tokio::time::timeout_at(waiting.deadline().into(), reading);
            let piece = reading.await.map_err(|_| Fault::BodyTimeout)??;
            drop(waiting);
            self.ended = piece.is_none();
            self.pace.chunk(piece.as_deref().unwrap_or_default(), self.ended)?;
            *self.bytes_in = self.pace.seen_bytes();
            if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    fn framed(&self) -> Framed {
        self.framed
    }

    async fn gone(&mut self) {
        match self.session.downstream_session.watch_h2_stream_close() {
            // A reset and a broken connection say the same.
            Some(closed) => drop(closed.await),
            None => std::future::pending().await,
        }
    }
}

/// Waits for what is done for a caller, and tells once if the caller goes meanwhile. Over HTTP/1.1 that is not seen: a caller
/// may have ended its side and wait for the answer.
pub async fn telling<T>(session: &mut Session, doing: impl Future<Output = T>, gone: &watch::Sender<bool>) -> T {
    let Some(closed) = session.downstream_session.watch_h2_stream_close() else { return doing.await };
    tokio::pin!(doing);
    tokio::select! {
        biased;
        done = &mut doing => return done,
        _ = closed => drop(gone.send_replace(true)),
    }
    doing.await
}

/// Sends an export on as it comes.
pub async fn export(
    session: &mut Session,
    walk: &mut Walk,
    arrival: &Arrival,
    ask: &IngestAsk,
    route: &Route,
    lease: Lease,
    backend: &Backend,
) -> Result<(), Refusal> {
    let house = walk.house.clone();
    let core = walk.core().clone();
    let protocol = ask.protocol;
    let headers = forward::taken(protocol, ask.media_type(), &session.req_header().headers);
    let (headers, deadline) = (&headers, deadline(ask.patience));
    let account = walk.account().clone();
    let errand = Errand {
        house: &house,
        core: &core,
        account: &account,
        route,
        backend,
        protocol,
        headers,
        is_sealed: false,
        deadline,
    };
    let pace = BodyPace::new(&house.limits, protocol);
    let mut body = Replayable::new(Flowing::new(session, arrival, pace, &mut walk.bytes_in));
    let delivered = deliver(&errand, lease, &mut body, &mut walk.upstream_status).await;
    drop(body);
    let mut delivered = delivered?;
    let manner = Manner { signal: ask.signal, encoding: ask.encoding, protocol, deadline };
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
            answer::export(session, walk, &answer).await
        }
        Said::Grpc(answer) => {
            if let Some(class) = unusable_grpc(&answer) {
                return Err(Refusal::classed(Reason::UpstreamAnswerUnusable, class));
            }
            walk.grpc_status = grpc_code(&answer);
            answer::grpc(session, walk, answer).await
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

/// Reads a whole body within size, time, rate and budget. Memory is taken as it comes, whatever is announced; what is
/// announced and would not fit now is refused before a client that waits for our word sends it.
pub async fn read_whole(
    session: &mut Session,
    walk: &mut Walk,
    arrival: &Arrival,
    protocol: Protocol,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let limits = walk.house.limits.clone();
    read_within(session, walk, arrival, protocol, reservation, &limits).await
}

/// The same within other limits.
pub async fn read_within(
    session: &mut Session,
    walk: &mut Walk,
    arrival: &Arrival,
    protocol: Protocol,
    reservation: &mut Reservation,
    limits: &Limits,
) -> Result<Bytes, Refusal> {
    let announced = match framed(session, arrival) {
        Framed::Length(length) if length > limits.body_bytes => return Err(Fault::BodyTooLarge.into()),
        Framed::Length(length) => Some(length),
        Framed::Chunks => None,
    };
    reservation.would_fit(announced.unwrap_or_default())?;
    answer::allow_body(session, &arrival.connection);
    let pace = BodyPace::new(limits, protocol);
    let mut flowing = Flowing::new(session, arrival, pace, &mut walk.bytes_in);
    let mut whole = WholeBody::new(announced.unwrap_or(limits.body_bytes));
    while let Some(piece) = flowing.next().await? {
        whole.add(piece, reservation)?;
    }
    Ok(whole.finish(reservation)?)
}

/// Reads the body of a query whole: JSON without its coding, or nothing. Another media type or a coding that is not
/// undone here would be read by the backend as something else than was judged.
pub async fn read_query(
    session: &mut Session,
    walk: &mut Walk,
    arrival: &Arrival,
    mut work: Work,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let body = read_whole(session, walk, arrival, Protocol::Http, reservation).await?;
    if body.is_empty() {
        return Ok(body);
    }
    let headers = &session.req_header().headers;
    if !accept::is_json(headers) {
        return Err(Fault::MediaType.into());
    }
    let coding = coding(headers, Protocol::Http)?;
    let limit_bytes = walk.house.limits.decompressed_body_bytes;
    message(body, Protocol::Http, coding, limit_bytes, &mut work, reservation).await
}

/// Redirects would lead past us, and beyond 599 nobody knows what a status says (RFC 9110 section 15).
pub fn is_usable(status: u16) -> bool {
    matches!(status, 200..=299 | 400..=599)
}

pub fn client_closed() -> Refusal {
    Refusal::new(Reason::ClientClosed)
}
