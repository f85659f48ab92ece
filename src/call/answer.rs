//! Writing answers of ours to the framework's session.
//!
//! What it does: turns rendered refusals, own pages and terminated answers into what HTTP/1.1, HTTP/2 and
//! gRPC expect. What it refuses to know: why. Invariants: a gRPC refusal is trailers-only in one frame; a
//! connection whose body was not read is not used again; every answer carries the request's id, and `no-store` unless it is
//! a file of the site's that says otherwise (`head`); an answer that is not taken in time is broken off, never ended (`put`).

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora_core::protocols::http::HttpTask;
use pingora_core::{Error, ErrorType, OrErr as _};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::context::Walk;
use super::echoes::EchoGuard;
use super::{cors, page};
use crate::accept::{Arrival, Connection, Dialect};
use crate::lightstep::Particulars;
use crate::media_type::{self, MediaType};
use crate::otlp;
use crate::respond::{self, REQUEST_ID, Refusal};

/// An answer up to this size is small: over HTTP/1.1 it leaves in one write, and over HTTP/2 it fits into any usual window.
const SMALL_ANSWER_BYTES: usize = 16 << 10;
/// How long a small answer may wait to be taken. Its call is held meanwhile, whether its caller has proven anything or not.
const SMALL_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub type Outcome = Result<(), Box<Error>>;

/// Answers with a refusal.
pub async fn refuse(session: &mut Session, walk: &mut Walk, refusal: Refusal) -> Outcome {
    let particulars =
        Particulars { now: Some(walk.shared().clock.now()), firehose_request: walk.firehose_request.as_deref() };
    let mut rendered = respond::render(&refusal, walk.dialect, &walk.request_id, &particulars);
    if walk.dialect == Dialect::Page {
        page::dress(walk, &refusal, &mut rendered);
    }
    walk.status = Some(refusal.class.status().as_u16());
    walk.grpc_status = (walk.dialect == Dialect::Grpc).then(|| u16::from(refusal.class.grpc_code()));
    walk.refusal = Some(refusal);
    write(session, walk, rendered.status, rendered.headers, rendered.body.into()).await
}

/// Answers with a page of the gateway's own.
pub async fn own(session: &mut Session, walk: &mut Walk, page: serde_json::Value) -> Outcome {
    document(session, walk, StatusCode::OK, page.to_string().into()).await
}

/// Answers with a JSON document.
pub async fn document(session: &mut Session, walk: &mut Walk, status: StatusCode, document: Bytes) -> Outcome {
    walk.status = Some(status.as_u16());
    let document = looked_through(walk, document);
    let headers = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    ];
    write(session, walk, status, headers, document).await
}

/// Answers a browser: a page, a file, or where to go next.
pub async fn page(
    session: &mut Session,
    walk: &mut Walk,
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
) -> Outcome {
    walk.status = Some(status.as_u16());
    // Files of the site hold nothing that came from elsewhere.
    let is_page = headers
        .iter()
        .any(|(name, value)| name == header::CONTENT_TYPE && MediaType::glimpse(value.as_bytes()).is(media_type::HTML));
    let body = if is_page { looked_through(walk, body) } else { body };
    write(session, walk, status, headers, body).await
}

/// A document of ours without any credential of the backend's. It tells of services, alerts and callers, whose names come
/// from elsewhere.
fn looked_through(walk: &Walk, document: Bytes) -> Bytes {
    EchoGuard::new(walk.shared(), &walk.snapshot, "own").body(document)
}

/// Lets the body come, if the client waits for our word.
pub fn allow_body(session: &Session, connection: &Connection) {
    if !connection.http2 && session.req_header().headers.contains_key(header::EXPECT) {
        connection.allow_continue();
    }
}

/// Answers with a gRPC status alone: trailers-only.
pub async fn grpc_status(session: &mut Session, walk: &mut Walk, code: u8) -> Outcome {
    let status = (HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(code)));
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static(media_type::GRPC));
    trailers_only(session, walk, StatusCode::OK, [content_type, status]).await
}

/// A gRPC answer that is a head alone.
pub async fn trailers_only(
    session: &mut Session,
    walk: &Walk,
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Outcome {
    let head = head(session, walk, status, headers)?;
    put(session, SMALL_ANSWER_TIMEOUT, vec![HttpTask::Header(Box::new(head), true)]).await
}

/// A gRPC answer whose messages are all here, framed.
pub async fn grpc(
    session: &mut Session,
    walk: &mut Walk,
    (status, content_type): (StatusCode, Option<HeaderValue>),
    body: Bytes,
    trailers: HeaderMap,
) -> Outcome {
    let head = head(session, walk, status, content_type.map(|value| (header::CONTENT_TYPE, value)))?;
    walk.bytes_out += body.len() as u64;
    let within = patience(walk, body.len());
    let mut tasks = vec![HttpTask::Header(Box::new(head), false)];
    if !body.is_empty() {
        tasks.push(HttpTask::Body(Some(body), false));
    }
    tasks.push(HttpTask::Trailer(Some(Box::new(trailers))));
    put(session, within, tasks).await
}

/// Begins a gRPC answer of ours, messages of which follow.
pub async fn grpc_begin(session: &mut Session, walk: &mut Walk) -> Outcome {
    let head =
        head(session, walk, StatusCode::OK, [(header::CONTENT_TYPE, HeaderValue::from_static(media_type::GRPC))])?;
    put(session, SMALL_ANSWER_TIMEOUT, vec![HttpTask::Header(Box::new(head), false)]).await
}

pub async fn grpc_message(session: &mut Session, message: Vec<u8>) -> Outcome {
    let framed: Bytes = otlp::frame(false, vec![message.into()]).concat().into();
    put(session, SMALL_ANSWER_TIMEOUT, vec![HttpTask::Body(Some(framed), false)]).await
}

/// Ends a gRPC answer that was begun.
pub async fn grpc_end(session: &mut Session, code: u8) -> Outcome {
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(code)))]);
    put(session, SMALL_ANSWER_TIMEOUT, vec![HttpTask::Trailer(Some(Box::new(trailers)))]).await
}

/// Answers a preflight: with these headers, and with nothing that lets a page read more.
pub async fn preflight(session: &mut Session, walk: &mut Walk, headers: Vec<(HeaderName, HeaderValue)>) -> Outcome {
    let mut head = ResponseHeader::build(StatusCode::NO_CONTENT, Some(8))?;
    for (name, value) in headers {
        head.append_header(name, value)?;
    }
    head.insert_header(REQUEST_ID, walk.request_id.as_str())?;
    let unread = walk.arrival.as_ref().and_then(Arrival::body).is_some_and(|body| !body.is_whole());
    if unread {
        session.set_keepalive(None);
    }
    put(session, SMALL_ANSWER_TIMEOUT, vec![HttpTask::Header(Box::new(head), true)]).await
}

/// The head of every answer, passed on or ours: with the request's id, and to be kept by no cache on the way or in the
/// client (RFC 9111 section 5.2.2.5), because what is answered depends on who asks and what is permitted now.
fn head(
    session: &Session,
    walk: &Walk,
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Result<ResponseHeader, Box<Error>> {
    let mut head = ResponseHeader::build(status, Some(12))?;
    for (name, value) in headers {
        head.append_header(name, value)?;
    }
    if !head.headers.contains_key(header::CACHE_CONTROL) {
        head.append_header(header::CACHE_CONTROL, "no-store")?;
    }
    head.insert_header(REQUEST_ID, walk.request_id.as_str())?;
    if let Some(arrival) = &walk.arrival {
        for (name, value) in cors::headers(session.req_header(), &arrival.connection) {
            head.append_header(name, value)?;
        }
    }
    Ok(head)
}

/// Answers with this head and body.
pub async fn write(
    session: &mut Session,
    walk: &mut Walk,
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
) -> Outcome {
    let mut head = head(session, walk, status, headers)?;
    if walk.by_session {
        head.append_header(header::VARY, "cookie")?;
    }
    for cookie in walk.set_cookies.drain(..) {
        let mut value = HeaderValue::from_str(&cookie.0).or_err(ErrorType::InternalError, "a cookie of ours")?;
        value.set_sensitive(true);
        head.append_header(header::SET_COOKIE, value)?;
    }
    let http2 = session.downstream_session.is_http2();
    let unread = walk.arrival.as_ref().and_then(Arrival::body).is_some_and(|body| !body.is_whole());
    if !http2 && unread {
        session.set_keepalive(None);
    }
    if walk.dialect == Dialect::Grpc && http2 {
        // The framework's usual call drops the end-of-stream flag, which breaks trailers-only answers.
        return put(session, SMALL_ANSWER_TIMEOUT, vec![HttpTask::Header(Box::new(head), true)]).await;
    }
    let bodiless = status == StatusCode::NO_CONTENT;
    if !bodiless {
        head.insert_header(header::CONTENT_LENGTH, body.len().to_string())?;
    }
    if bodiless || session.req_header().method == Method::HEAD || (http2 && body.is_empty()) {
        return put(session, SMALL_ANSWER_TIMEOUT, vec![HttpTask::Header(Box::new(head), true)]).await;
    }
    walk.bytes_out += body.len() as u64;
    let within = patience(walk, body.len());
    let head = HttpTask::Header(Box::new(head), false);
    if body.len() <= SMALL_ANSWER_BYTES {
        return put(session, within, vec![head, HttpTask::Body(Some(body), true)]).await;
    }
    // Given both at once over HTTP/1.1, the framework copies the body, which may be held for many callers.
    put(session, within, vec![head]).await?;
    put(session, within, vec![HttpTask::Body(Some(body), true)]).await
}

/// How long a caller has to take an answer of this size. One that has more calls under way than it may gets what its
/// connection takes at once: otherwise refusals would add up as the calls would.
fn patience(walk: &Walk, bytes: usize) -> Duration {
    let limit = walk.snapshot.limits.body_timeout;
    match &walk.arrival {
        Some(arrival) if arrival.place.is_err() => Duration::ZERO,
        _ if bytes <= SMALL_ANSWER_BYTES => limit.min(SMALL_ANSWER_TIMEOUT),
        _ => limit,
    }
}

/// Writes to the caller. What is not taken in time is broken off: over HTTP/2 the stream is reset, because an end would make
/// half an answer a whole one (RFC 9113 section 8.1); over HTTP/1.1 the framework closes a connection whose call failed.
async fn put(session: &mut Session, within: Duration, tasks: Vec<HttpTask>) -> Outcome {
    let fault = match tokio::time::timeout(within, session.write_response_tasks(tasks)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(fault)) => fault,
        Err(_) => Error::explain(ErrorType::WriteTimedout, "an answer was not taken"),
    };
    session.downstream_session.shutdown_with_reason(Reason::CANCEL);
    Err(fault)
}
