//! One request's connection, and what its answer needs besides its body.
//!
//! What it does: wraps the few things that are asked of the framework's session, and counts what passes. What it refuses
//! to know: what is answered, and why. Invariants: beside the listener's phases nothing else names the session; the state
//! outlives the exchange, so that a call that is cut off has its figures.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, header, request};
pub use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::v2::server::Idle;
use pingora_core::{Error, ErrorType};
pub use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::context::RequestContext;
use super::outcome::Outcome;
use super::visitor::visitor;
use crate::accept::{Arrival, Dialect, Fault, Framed, ReturnPath};
use crate::clock::UnixMillis;
use crate::identify::{Identity, SetCookie};
use crate::respond::Refusal;
use crate::state::{Shared, Snapshot};
use crate::view::Visitor;

/// Why an answer did not go out.
pub type BrokenOff = Box<Error>;

/// An answer that cannot be written, by a fault of ours.
pub fn defect(what: &'static str) -> BrokenOff {
    Error::explain(ErrorType::InternalError, what)
}

/// What a call's answer needs besides its body, and what passed.
pub struct AnswerState {
    pub request_id: String,
    pub dialect: Dialect,
    pub status: Option<u16>,
    pub grpc_status: Option<u16>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// What answers to Firehose repeat.
    pub firehose_request: Option<String>,
    /// Scheme and authority by which the caller knows us, once the head is understood.
    pub origin: Option<String>,
    /// Who looks at a page.
    pub visitor: Option<Visitor>,
    /// What a person can do about a refusal, where the class alone does not say it.
    pub advice: Option<&'static str>,
    /// Where a login leads back to.
    pub return_to: Option<ReturnPath>,
    /// Whether a session's cookie decided who the caller is.
    pub by_session: bool,
    /// Cookies that go with the answer, whatever it is.
    pub set_cookies: Vec<SetCookie>,
    /// What is known of the outcome while others are waited for.
    pub known: Option<Outcome>,
}

impl AnswerState {
    pub fn new(request_id: String) -> Self {
        AnswerState {
            request_id,
            dialect: Dialect::Own,
            status: None,
            grpc_status: None,
            bytes_in: 0,
            bytes_out: 0,
            firehose_request: None,
            origin: None,
            visitor: None,
            advice: None,
            return_to: None,
            by_session: false,
            set_cookies: Vec::new(),
            known: None,
        }
    }

    /// The outcome that is known, now that it is told whether the caller was answered.
    pub fn settled(&mut self, answered: Result<(), Refusal>) -> Outcome {
        Outcome {
            answered,
            ..self.known.take().unwrap_or_else(|| Outcome::of(Ok(())))
        }
    }

    /// Who looks at pages, and what goes with the answer to a session: it is kept from idling out.
    pub fn looks(&mut self, identity: &Identity) {
        self.visitor = Some(visitor(identity));
        if let Some(session) = identity.session() {
            self.by_session = true;
            self.set_cookies.extend(session.renewed.clone());
        }
    }
}

/// A request's head, its body as it comes, and the way back to its caller.
pub struct Exchange<'a> {
    session: &'a mut Session,
    pub state: &'a mut AnswerState,
    context: &'a RequestContext,
}

impl<'a> Exchange<'a> {
    /// `context`: as it is before the caller is known; answers need no more of it.
    pub fn new(
        session: &'a mut Session,
        state: &'a mut AnswerState,
        context: &'a RequestContext,
    ) -> Self {
        Exchange {
            session,
            state,
            context,
        }
    }

    pub fn shared(&self) -> &'a Shared {
        self.context.shared()
    }

    pub fn snapshot(&self) -> &'a Snapshot {
        self.context.snapshot()
    }

    pub fn arrival(&self) -> &'a Arrival {
        self.context.arrival()
    }

    /// When the request's head had come.
    pub fn now(&self) -> UnixMillis {
        self.context.now()
    }

    /// The request's head.
    pub fn head(&self) -> &request::Parts {
        self.session.req_header()
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.session.req_header().headers
    }

    pub fn is_http2(&self) -> bool {
        self.session.downstream_session.is_http2()
    }

    pub fn is_head(&self) -> bool {
        self.session.req_header().method == Method::HEAD
    }

    /// Whether some of the request's body was not read.
    pub fn is_unread(&self) -> bool {
        self.arrival().body().is_some_and(|body| !body.is_whole())
    }

    /// Whether an answer has begun.
    pub fn has_begun(&self) -> bool {
        self.session.response_written().is_some()
    }

    /// The connection takes no further request.
    pub fn close_after(&mut self) {
        self.session.set_keepalive(None);
    }

    /// Lets the body come, if the client waits for our word (RFC 9110 section 10.1.1).
    pub fn allow_body(&self) {
        let connection = &self.arrival().connection;
        if !connection.http2 && self.headers().contains_key(header::EXPECT) {
            connection.allow_continue();
        }
    }

    /// How the body was announced.
    pub fn framed(&self) -> Framed {
        match self.arrival().body() {
            Some(body) => body.framed(),
            None => {
                let length = self.headers().get(header::CONTENT_LENGTH);
                length
                    .and_then(|length| length.to_str().ok()?.parse().ok())
                    .map_or(Framed::Chunks, Framed::Length)
            }
        }
    }

    /// The next piece of the body, as the framework has it.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        self.session
            .as_mut()
            .read_request_body()
            .await
            .map_err(|_| Fault::BodyTruncated)
    }

    /// Ends when the caller has gone: a reset and a broken connection say the same. `None`: over HTTP/1.1 that is not
    /// seen, because a caller may have ended its side and wait for the answer.
    pub fn gone(&mut self) -> Option<Idle<'_>> {
        self.session.downstream_session.watch_h2_stream_close()
    }

    /// Writes to the caller. What is not taken in time is broken off: over HTTP/2 the stream is reset, because an end would
    /// make half an answer a whole one (RFC 9113 section 8.1); over HTTP/1.1 the framework closes a connection whose call
    /// failed.
    pub async fn put(&mut self, within: Duration, tasks: Vec<HttpTask>) -> Result<(), BrokenOff> {
        let fault =
            match tokio::time::timeout(within, self.session.write_response_tasks(tasks)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(fault)) => fault,
                Err(_) => Error::explain(ErrorType::WriteTimedout, "an answer was not taken"),
            };
        self.session
            .downstream_session
            .shutdown_with_reason(h2::Reason::CANCEL);
        Err(fault)
    }
}
