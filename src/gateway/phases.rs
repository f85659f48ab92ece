//! The framework's phases, each a few lines that call a room.
//!
//! What it does: hooks the walk into the framework, which itself streams gRPC. What it refuses to know: how
//! anything is decided. Invariants: a request leaves only with a route and a lease, which exist only
//! after an identity and a permit; the outgoing head replaces the incoming one whole; an answer's head is
//! built from a list too.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use pingora_core::protocols::http::ServerSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use super::admit::{self, Onward};
use super::walk::Walk;
use super::{Core, answer};
use crate::accept::{Arrival, Fault};
use crate::forward;
use crate::respond::{Class, REQUEST_ID, Refusal};

/// What of an ingest answer's head is passed on.
const ANSWER_TAKES: [&str; 11] = [
    "content-type",
    "content-length",
    "transfer-encoding",
    "retry-after",
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "date",
];

/// The framework's view of the gateway.
pub struct Phases {
    pub core: Arc<Core>,
}

type Outcome<T> = Result<T, Box<Error>>;

/// Carried through the framework; the true refusal waits in the walk.
fn refused(walk: &mut Walk, refusal: Refusal) -> Box<Error> {
    let error = Error::explain(ErrorType::InternalError, refusal.reason);
    walk.refusal = Some(refusal);
    error
}

#[async_trait]
impl ProxyHttp for Phases {
    type CTX = Walk;

    fn new_ctx(&self) -> Walk {
        Walk::new(&self.core)
    }

    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, walk: &mut Walk) -> Outcome<bool> {
        let Some(arrival) = arrival_of(session) else {
            // Every connection comes through our own accept loop; one that did not is nobody's.
            return Err(Error::explain(ErrorType::InternalError, "connection without its facts"));
        };
        walk.begin(arrival.clone());
        if arrival.connection.is_closing() {
            session.set_keepalive(None);
        }
        session.set_write_timeout(Some(walk.house.limits.body_timeout));
        session.set_read_timeout(Some(walk.house.limits.body_timeout));
        match admit::admit(session, walk, &arrival).await {
            Ok(Onward::Stream) => Ok(false),
            Ok(Onward::Answered) => Ok(true),
            Err(refusal) => {
                answer::refuse(session, walk, refusal).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, walk: &mut Walk) -> Outcome<Box<HttpPeer>> {
        // The framework does not time the reading of an HTTP/2 body: the backend's silence is what ends it.
        let body_timeout = walk.house.limits.body_timeout;
        let untimed = session.downstream_session.is_http2() && !session.as_mut().is_body_done();
        let Some(streaming) = &mut walk.streaming else {
            return Err(refused(walk, Refusal::new(Class::Unavailable, "internal_defect")));
        };
        streaming.pace.restart();
        match streaming.backend.peer().await {
            Some(mut peer) => {
                if untimed {
                    peer.options.read_timeout = peer.options.read_timeout.map(|wait| wait.min(body_timeout));
                }
                Ok(peer)
            }
            None => Err(refused(walk, Refusal::new(Class::UpstreamBroken, "upstream_unresolved"))),
        }
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        outgoing: &mut RequestHeader,
        walk: &mut Walk,
    ) -> Outcome<()> {
        let house = walk.house.clone();
        let head = walk.streaming.as_ref().and_then(|streaming| {
            let lease = streaming.lease.as_ref()?;
            let Streaming { route, backend, .. } = streaming;
            forward::grpc(route, lease, backend, &house.profile, &session.req_header().headers).ok()
        });
        match head {
            Some(head) => {
                *outgoing = head;
                Ok(())
            }
            None => Err(refused(walk, Refusal::new(Class::Unavailable, "internal_defect"))),
        }
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        walk: &mut Walk,
    ) -> Outcome<()> {
        let Some(streaming) = &mut walk.streaming else { return Ok(()) };
        let judged = streaming.pace.chunk(body.as_deref().unwrap_or_default(), end);
        walk.bytes_in = streaming.pace.seen_bytes();
        // The client's fault by name: towards HTTP/2 the framework swallows every other error of this phase,
        // and the call would hang until the backend's timeout.
        judged.map_err(|fault| refused(walk, fault.into()).into_down())
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        head: &mut ResponseHeader,
        walk: &mut Walk,
    ) -> Outcome<()> {
        walk.upstream_status = Some(head.status.as_u16());
        let grpc_status = head.headers.get("grpc-status").map(HeaderValue::as_bytes);
        let refuses_us = matches!(head.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || matches!(grpc_status, Some(b"16" | b"7"));
        if refuses_us {
            return Err(credential_refused(walk));
        }
        if let Some(class) = unusable(head) {
            return Err(refused(walk, Refusal::new(class, "upstream_answer_unusable")));
        }
        Ok(())
    }

    async fn response_filter(&self, _: &mut Session, head: &mut ResponseHeader, walk: &mut Walk) -> Outcome<()> {
        let mut answer = ResponseHeader::build(head.status, Some(ANSWER_TAKES.len() + 2))?;
        answer.set_version(head.version);
        for name in ANSWER_TAKES {
            for value in head.headers.get_all(name) {
                if let Some(value) = clean(walk, value) {
                    answer.append_header(HeaderName::from_static(name), value)?;
                }
            }
        }
        answer.insert_header(REQUEST_ID, walk.request_id.as_str())?;
        walk.status = Some(head.status.as_u16());
        walk.grpc_status = grpc_code(&head.headers);
        *head = answer;
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        walk: &mut Walk,
    ) -> Outcome<Option<std::time::Duration>> {
        if let Some(streaming) = &mut walk.streaming {
            *body = streaming.canary.pass(body.take(), end);
            walk.bytes_out += body.as_ref().map_or(0, |body| body.len() as u64);
        }
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        walk: &mut Walk,
    ) -> Outcome<Option<Bytes>> {
        let mut kept = HeaderMap::with_capacity(3);
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
            if let Some(value) = trailers.get(name).and_then(|value| clean(walk, value)) {
                kept.insert(HeaderName::from_static(name), value);
            }
        }
        // Too late to try again, but our credential's fault must not make the client drop its data.
        if matches!(grpc_code(&kept), Some(16 | 7)) {
            note_credential_refused(walk);
            walk.refusal = Some(Refusal::new(Class::UpstreamRefusesUs, "credential_refused_by_upstream"));
            kept = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("14"))]);
        }
        walk.grpc_status = grpc_code(&kept);
        *trailers = kept;
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        walk: &mut Walk,
        reused: bool,
    ) -> Box<Error> {
        let replayable = !session.as_ref().retry_buffer_truncated() && session.response_written().is_none();
        if let Some(streaming) = walk.streaming.as_mut().filter(|streaming| streaming.again) {
            streaming.again = false;
            error.set_retry(replayable);
            if replayable {
                walk.refusal = None;
            }
            return error;
        }
        // A pooled connection that the backend had just closed took nothing: nothing is doubled by trying
        // again. Once bytes of an answer came, or a fresh connection failed, the exporter's own retry decides.
        let untouched = reused
            && walk.refusal.is_none()
            && walk.upstream_status.is_none()
            && *error.esource() == ErrorSource::Upstream
            && matches!(error.etype(), ErrorType::ConnectionClosed | ErrorType::WriteError | ErrorType::ReadError);
        error.set_retry(untouched && replayable);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, walk: &mut Walk) -> FailToProxy {
        let refusal = refusal_of(session, error, walk);
        let code = refusal.class.status().as_u16();
        if *error.esource() == ErrorSource::Downstream && walk.refusal.is_none() && refusal.reason == "client_closed" {
            walk.refusal = Some(refusal);
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let started = session.response_written().is_some();
        if started {
            // Headers are out: only gRPC can still say what happened; HTTP must not look complete.
            walk.refusal = Some(refusal);
            if let ServerSession::H2(_) = &*session.downstream_session {
                answer::late_grpc_trailers(session, walk).await;
            }
        } else if answer::refuse(session, walk, refusal).await.is_ok() {
            // Lets the client read the answer before the connection ends.
            if !session.downstream_session.is_http2() {
                session.downstream_session.shutdown().await;
            }
        }
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, walk: &mut Walk) {
        walk.bytes_in = walk.bytes_in.max(session.body_bytes_read() as u64);
        walk.end();
        if let Some(arrival) = walk.arrival.as_ref().filter(|arrival| !arrival.connection.http2) {
            arrival.connection.arm();
        }
    }

    fn suppress_error_log(&self, _: &Session, _: &Walk, _: &Error) -> bool {
        // The call's own line says it all, without anything of the head.
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Walk, _: &Error, _: pingora_proxy::ProxyWarnLogContext) -> bool {
        true
    }
}

use super::walk::Streaming;

/// What our accept loop attached to the stream.
fn arrival_of(session: &Session) -> Option<Arrival> {
    let facts = session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?;
    facts.downcast_ref::<Arrival>().cloned()
}

/// Moves on to the next token, if there is one; otherwise the refusal stands.
fn credential_refused(walk: &mut Walk) -> Box<Error> {
    note_credential_refused(walk);
    let now = walk.core().clock.now();
    if let Some(streaming) = &mut walk.streaming {
        let next = streaming.lease.take().and_then(|lease| lease.refused(now));
        if let Some(next) = next.filter(|_| !streaming.tried_again) {
            streaming.canary = crate::transform::Canary::new(next.canary());
            streaming.lease = Some(next);
            streaming.again = true;
            streaming.tried_again = true;
        }
    }
    refused(walk, Refusal::new(Class::UpstreamRefusesUs, "credential_refused_by_upstream"))
}

/// Metric, log line and audit event: an operator must rotate.
fn note_credential_refused(walk: &Walk) {
    let fingerprint =
        walk.streaming.as_ref().and_then(|streaming| Some(streaming.lease.as_ref()?.fingerprint())).unwrap_or_default();
    walk.core().credential_refused(walk.project().unwrap_or("none"), &fingerprint);
}

/// An answer that no gRPC client understands.
fn unusable(head: &ResponseHeader) -> Option<Class> {
    let is_grpc =
        head.headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    match head.status.as_u16() {
        200 if is_grpc => None,
        429 => Some(Class::Throttled(5)),
        504 => Some(Class::UpstreamTimeout),
        _ => Some(Class::UpstreamBroken),
    }
}

/// A header value that does not hold our credential.
fn clean(walk: &Walk, value: &HeaderValue) -> Option<HeaderValue> {
    let lease = walk.streaming.as_ref()?.lease.as_ref()?;
    (!crate::transform::holds(value.as_bytes(), &lease.canary())).then(|| value.clone())
}

fn grpc_code(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Whose fault it was, and what it was.
fn refusal_of(session: &Session, error: &Error, walk: &Walk) -> Refusal {
    if let Some(refusal) = &walk.refusal {
        return refusal.clone();
    }
    let body_ended = walk.streaming.as_ref().is_none_or(|streaming| streaming.pace.is_ended());
    let detail = error.etype().as_str().to_owned();
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => Fault::BodyTimeout.into(),
        (ErrorSource::Downstream, _) => {
            let malformed = session.req_header().version != Version::HTTP_2 && walk.status.is_none();
            match (malformed, error.etype()) {
                (
                    _,
                    ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed | ErrorType::H2Error,
                ) => Refusal::new(Class::Malformed, "client_closed"),
                _ => Refusal::new(Class::Malformed, "malformed_body").because(detail),
            }
        }
        // The backend's silence is the client's, if the client has not sent its body.
        (_, ErrorType::ReadTimedout) if !body_ended => Fault::BodyTimeout.into(),
        (_, ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
            Refusal::new(Class::UpstreamTimeout, "upstream_timeout").because(detail)
        }
        (_, ErrorType::TLSHandshakeTimedout) => {
            Refusal::new(Class::UpstreamTimeout, "upstream_timeout").because(detail)
        }
        (_, ErrorType::InvalidCert | ErrorType::TLSHandshakeFailure | ErrorType::HandshakeError) => {
            Refusal::new(Class::UpstreamBroken, "upstream_not_verified").because(detail)
        }
        (ErrorSource::Upstream, _) => Refusal::new(Class::UpstreamBroken, "upstream_unreachable").because(detail),
        (ErrorSource::Internal | ErrorSource::Unset, _) => {
            Refusal::new(Class::Unavailable, "internal_error").because(detail)
        }
    }
}
