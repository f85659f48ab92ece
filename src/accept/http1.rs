//! HTTP/1.1: one connection's requests, one after the other, without the framework.
//!
//! What it does: gives each request with the way back to its caller, and writes an answer with its head in one system call.
//! What it refuses to know: paths, identities, decisions. Invariants: a refused head takes the same way as every request, with
//! what was refused beside it; one request has one answer; the lock is never held across a wait.

mod connection;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, header, request};

use super::arrival::Arrival;
use crate::clock::UnixMillis;
use crate::lock::Mutex;

pub(crate) use connection::Body;
pub use connection::BrokenHead;
pub(super) use connection::{Http1Connection, Pace};

/// A body up to this size is copied behind its head: a second slice costs the kernel more.
const COPIED_BODY_BYTES: usize = 1024;
/// What an answer's head takes, usually.
const HEAD_BYTES: usize = 512;

/// What answers the requests of HTTP/1.1 connections.
pub(crate) trait Http1App: Send + Sync + 'static {
    /// Answers one request; what it leaves unanswered, or half, ends the connection.
    fn answer(&self, call: &mut Http1Call, arrival: Arrival) -> impl Future<Output = ()> + Send;
}

/// Serves one connection to its end.
pub(super) async fn serve(connection: Arc<Mutex<Http1Connection>>, app: &impl Http1App) {
    let shared = connection.lock().connection.clone();
    let arrival = Arrival::new(shared, Some(Body(connection.clone())));
    loop {
        let head = poll_fn(|cx| connection.lock().poll_head(cx)).await;
        let head = match head {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(_) => return,
        };
        let broken = connection.lock().take_broken_head();
        let mut call = Http1Call {
            keep_alive: broken.is_none() && !asks_to_close(&head),
            head,
            broken,
            connection: connection.clone(),
            stage: AnswerStage::Awaited,
        };
        // Boxed, so that a connection that waits for its next request does not hold the room for one.
        Box::pin(app.answer(&mut call, arrival.clone())).await;
        if call.stage != AnswerStage::Whole {
            return;
        }
        if !call.keep_alive || !connection.lock().next() {
            break;
        }
    }
    // A connection that cannot be ended well is ended by being dropped.
    let _ = poll_fn(|cx| connection.lock().poll_shutdown(cx)).await;
}

/// Whether the client will send nothing more (RFC 9112 section 9.6).
fn asks_to_close(head: &request::Parts) -> bool {
    let mut lines = head.headers.get_all(header::CONNECTION).into_iter();
    lines.any(|line| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

/// How far a request's answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerStage {
    Awaited,
    Begun,
    Whole,
}

/// One request, and the way back to its caller.
pub(crate) struct Http1Call {
    head: request::Parts,
    broken: Option<BrokenHead>,
    connection: Arc<Mutex<Http1Connection>>,
    keep_alive: bool,
    stage: AnswerStage,
}

impl Http1Call {
    pub(crate) fn head(&self) -> &request::Parts {
        &self.head
    }

    /// The refused head that this request stands for, once.
    pub(crate) fn take_broken_head(&mut self) -> Option<BrokenHead> {
        self.broken.take()
    }

    /// Whether an answer has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.stage != AnswerStage::Awaited
    }

    /// The connection takes no further request.
    pub(crate) fn close_after(&mut self) {
        self.keep_alive = false;
    }

    /// Writes the one answer. `fields` say how long `body` is; they may say so of a body that does not come (`HEAD`). Waits
    /// without a deadline: the caller brings one, and ends the connection by giving up.
    pub(crate) async fn answer(
        &mut self,
        status: StatusCode,
        fields: &[(HeaderName, HeaderValue)],
        mut body: Bytes,
        now: UnixMillis,
    ) -> io::Result<()> {
        if self.has_begun() {
            return Err(io::Error::other("a second answer"));
        }
        self.stage = AnswerStage::Begun;
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + body.len().min(COPIED_BODY_BYTES));
        {
            let mut connection = self.connection.lock();
            self.keep_alive &= !connection.connection.is_retiring();
            write_head(
                &mut bytes,
                status,
                fields,
                connection.date(now),
                self.keep_alive,
            );
        }
        if body.len() <= COPIED_BODY_BYTES {
            bytes.extend_from_slice(&std::mem::take(&mut body));
        }
        poll_fn(|cx| self.connection.lock().poll_send(cx, &mut bytes, &mut body)).await?;
        self.stage = AnswerStage::Whole;
        Ok(())
    }
}

/// Writes an answer's head (RFC 9112 section 4).
fn write_head(
    out: &mut BytesMut,
    status: StatusCode,
    fields: &[(HeaderName, HeaderValue)],
    date: &str,
    keep_alive: bool,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in fields {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(usual_spelling(name).as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(b"\r\nDate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(if keep_alive {
        b"\r\nConnection: keep-alive\r\n\r\n"
    } else {
        b"\r\nConnection: close\r\n\r\n"
    });
}

/// A name as old clients look for it, who compare letters by their case.
fn usual_spelling(name: &HeaderName) -> &str {
    match *name {
        header::CONTENT_TYPE => "Content-Type",
        header::CONTENT_LENGTH => "Content-Length",
        header::CONTENT_ENCODING => "Content-Encoding",
        header::CACHE_CONTROL => "Cache-Control",
        header::RETRY_AFTER => "Retry-After",
        header::WWW_AUTHENTICATE => "WWW-Authenticate",
        header::SET_COOKIE => "Set-Cookie",
        header::LOCATION => "Location",
        header::VARY => "Vary",
        header::ETAG => "ETag",
        header::ALLOW => "Allow",
        header::X_CONTENT_TYPE_OPTIONS => "X-Content-Type-Options",
        _ => name.as_str(),
    }
}
