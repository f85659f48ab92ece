//! Writing answers.
//!
//! What it does: turns rendered refusals, own pages and terminated answers into what HTTP/1.1, HTTP/2 and
//! gRPC expect. What it refuses to know: why. Invariants: a gRPC refusal is trailers-only in one frame; a
//! connection whose body was not read is not used again; every answer carries the request's id, and `no-store` unless it is
//! a file of the site's that says otherwise (`head`); an answer that is not taken in time is broken off, never ended (`put`).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::echoes::EchoGuard;
use super::exchange::{BrokenOff, Exchange, ReplyHead, defect};
use super::{cors, page};
use crate::accept::Dialect;
use crate::lightstep::Particulars;
use crate::media_type::{self, MediaType};
use crate::otlp;
use crate::reason::Reason;
use crate::respond::{self, ChallengeTerms, REQUEST_ID, Refusal};

/// What the caller's next proof of possession needs (RFC 9449 section 8).
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// An answer up to this size is small: it fits into any usual window and socket's buffer.
const SMALL_ANSWER_BYTES: usize = 16 << 10;
/// How long a small answer may wait to be taken. Its call is held meanwhile, whether its caller has proven anything or not.
const SMALL_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers with a refusal.
pub(crate) async fn refuse(
    exchange: &mut Exchange<'_>,
    refusal: &Refusal,
) -> Result<(), BrokenOff> {
    if refusal.reason == Reason::ClientClosed && exchange.is_http2() && !exchange.has_begun() {
        // The stream is gone (over HTTP/1.1 that is not known before a write): the record names no status that was sent.
        (exchange.state.status, exchange.state.grpc_status) = (None, None);
        return Ok(());
    }
    let now = Some(exchange.shared().clock.now());
    let listener = exchange.arrival().connection.listener();
    let state = &mut *exchange.state;
    let particulars = Particulars {
        now,
        firehose_request: state.firehose_request.as_deref(),
    };
    let terms = ChallengeTerms {
        public_url: listener.public_url.as_deref(),
        by_proof: state.by_proof,
    };
    let mut rendered = respond::render(
        refusal,
        state.dialect,
        &state.request_id,
        &particulars,
        terms,
    );
    if let Some(nonce) = &refusal.nonce {
        state.nonce = Some(HeaderValue::clone(nonce));
    }
    state.status = Some(refusal.class.status().as_u16());
    state.grpc_status =
        (state.dialect == Dialect::Grpc).then(|| u16::from(refusal.class.grpc_code()));
    if state.dialect == Dialect::Page {
        page::dress(exchange, refusal, &mut rendered);
    }
    write(
        exchange,
        rendered.status,
        rendered.headers,
        rendered.body.into(),
    )
    .await
}

/// Answers with a page of the gateway's own.
pub(crate) async fn own(
    exchange: &mut Exchange<'_>,
    page: serde_json::Value,
) -> Result<(), BrokenOff> {
    document(exchange, StatusCode::OK, page.to_string().into()).await
}

/// Answers with a JSON document.
pub(crate) async fn document(
    exchange: &mut Exchange<'_>,
    status: StatusCode,
    document: Bytes,
) -> Result<(), BrokenOff> {
    document_or_wait(exchange, status, document, None).await
}

/// The same, with how long the caller is to wait.
pub(crate) async fn document_or_wait(
    exchange: &mut Exchange<'_>,
    status: StatusCode,
    document: Bytes,
    wait_seconds: Option<u64>,
) -> Result<(), BrokenOff> {
    exchange.state.status = Some(status.as_u16());
    let document = looked_through(exchange, document);
    let mut headers = vec![
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ),
    ];
    headers.extend(wait_seconds.map(|seconds| (header::RETRY_AFTER, seconds.into())));
    write(exchange, status, headers, document).await
}

/// Answers a browser: a page, a file, or where to go next.
pub(crate) async fn page(
    exchange: &mut Exchange<'_>,
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
) -> Result<(), BrokenOff> {
    exchange.state.status = Some(status.as_u16());
    // Files of the site hold nothing that came from elsewhere.
    let is_page = headers.iter().any(|(name, value)| {
        name == header::CONTENT_TYPE && MediaType::glimpse(value.as_bytes()).is(media_type::HTML)
    });
    let body = if is_page {
        looked_through(exchange, body)
    } else {
        body
    };
    write(exchange, status, headers, body).await
}

/// A document of ours without any credential of the backend's. It tells of services, alerts and callers, whose names come
/// from elsewhere.
fn looked_through(exchange: &Exchange<'_>, document: Bytes) -> Bytes {
    EchoGuard::new(exchange.shared(), exchange.snapshot(), "own").body(document)
}

/// Answers with a gRPC status alone: trailers-only.
pub(crate) async fn grpc_status(exchange: &mut Exchange<'_>, code: u8) -> Result<(), BrokenOff> {
    let status = (
        HeaderName::from_static("grpc-status"),
        HeaderValue::from(u16::from(code)),
    );
    let content_type = (
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type::GRPC),
    );
    trailers_only(exchange, StatusCode::OK, [content_type, status]).await
}

/// A gRPC answer that is a head alone.
pub(crate) async fn trailers_only(
    exchange: &mut Exchange<'_>,
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Result<(), BrokenOff> {
    let head = head(exchange, status, headers)?;
    exchange.put(SMALL_ANSWER_TIMEOUT, head, None).await
}

/// A gRPC answer whose messages are all here, framed.
pub(crate) async fn grpc(
    exchange: &mut Exchange<'_>,
    (status, content_type): (StatusCode, Option<HeaderValue>),
    body: Bytes,
    trailers: HeaderMap,
) -> Result<(), BrokenOff> {
    let head = head(
        exchange,
        status,
        content_type.map(|value| (header::CONTENT_TYPE, value)),
    )?;
    exchange.state.bytes_out += body.len() as u64;
    let within = patience(exchange, body.len());
    exchange
        .put_with_trailers(within, head, body, trailers)
        .await
}

/// Begins a gRPC answer of ours, messages of which follow.
pub(crate) async fn grpc_begin(exchange: &mut Exchange<'_>) -> Result<(), BrokenOff> {
    let head = head(
        exchange,
        StatusCode::OK,
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static(media_type::GRPC),
        )],
    )?;
    exchange.begin(SMALL_ANSWER_TIMEOUT, head).await
}

pub(crate) async fn grpc_message(
    exchange: &mut Exchange<'_>,
    message: Vec<u8>,
) -> Result<(), BrokenOff> {
    let framed: Bytes = otlp::frame(false, vec![message.into()]).concat().into();
    exchange.go_on(SMALL_ANSWER_TIMEOUT, framed).await
}

/// Ends a gRPC answer that was begun.
pub(crate) async fn grpc_end(exchange: &mut Exchange<'_>, code: u8) -> Result<(), BrokenOff> {
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from(u16::from(code)),
    )]);
    exchange.end(SMALL_ANSWER_TIMEOUT, trailers).await
}

/// Answers a preflight: with these headers, and with nothing that lets a page read more.
pub(crate) async fn preflight(
    exchange: &mut Exchange<'_>,
    headers: Vec<(HeaderName, HeaderValue)>,
) -> Result<(), BrokenOff> {
    let mut head = ReplyHead {
        status: StatusCode::NO_CONTENT,
        fields: headers,
    };
    head.set(REQUEST_ID, request_id(exchange)?);
    if exchange.is_unread() {
        exchange.close_after();
    }
    exchange.put(SMALL_ANSWER_TIMEOUT, head, None).await
}

fn request_id(exchange: &Exchange<'_>) -> Result<HeaderValue, BrokenOff> {
    HeaderValue::from_str(&exchange.state.request_id).map_err(|_| defect("a request's id"))
}

/// The head of every answer, passed on or ours: with the request's id, and to be kept by no cache on the way or in the
/// client (RFC 9111 section 5.2.2.5), because what is answered depends on who asks and what is permitted now.
fn head(
    exchange: &Exchange<'_>,
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Result<ReplyHead, BrokenOff> {
    let mut fields = Vec::with_capacity(12);
    fields.extend(headers);
    let mut head = ReplyHead { status, fields };
    if !head
        .fields
        .iter()
        .any(|(name, _)| name == header::CACHE_CONTROL)
    {
        head.add(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    head.set(REQUEST_ID, request_id(exchange)?);
    if let Some(nonce) = &exchange.state.nonce {
        head.set(DPOP_NONCE, nonce.clone());
    }
    for (name, value) in cors::headers(exchange.head(), &exchange.arrival().connection) {
        head.add(name, value);
    }
    Ok(head)
}

/// Answers with this head and body.
pub(crate) async fn write(
    exchange: &mut Exchange<'_>,
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
) -> Result<(), BrokenOff> {
    let mut head = head(exchange, status, headers)?;
    if exchange.state.by_session {
        head.add(header::VARY, HeaderValue::from_static("cookie"));
    }
    for cookie in exchange.state.set_cookies.drain(..) {
        let mut value = HeaderValue::from_str(&cookie.0).map_err(|_| defect("a cookie of ours"))?;
        value.set_sensitive(true);
        head.add(header::SET_COOKIE, value);
    }
    let http2 = exchange.is_http2();
    if !http2 && exchange.is_unread() {
        exchange.close_after();
    }
    if exchange.state.dialect == Dialect::Grpc && http2 {
        // The framework's usual call drops the end-of-stream flag, which breaks trailers-only answers.
        return exchange.put(SMALL_ANSWER_TIMEOUT, head, None).await;
    }
    // RFC 9110 section 8.6: no length where no content is; of a 304 it would be the length of what the client has.
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodiless {
        head.set(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    if bodiless || exchange.is_head() || (http2 && body.is_empty()) {
        return exchange.put(SMALL_ANSWER_TIMEOUT, head, None).await;
    }
    exchange.state.bytes_out += body.len() as u64;
    let within = patience(exchange, body.len());
    exchange.put(within, head, Some(body)).await
}

/// How long a caller has to take an answer of this size. One that has more calls under way than it may gets what its
/// connection takes at once: otherwise refusals would add up as the calls would.
fn patience(exchange: &Exchange<'_>, bytes: usize) -> Duration {
    let limit = exchange.snapshot().limits.body_timeout;
    match exchange.arrival().place {
        Err(_) => Duration::ZERO,
        Ok(_) if bytes <= SMALL_ANSWER_BYTES => limit.min(SMALL_ANSWER_TIMEOUT),
        Ok(_) => limit,
    }
}
