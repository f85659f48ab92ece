//! One request's connection, and what its answer needs besides its body.
//!
//! What it does: gives one face to what is asked of a request over HTTP/1.1 and of the framework's session over HTTP/2, and
//! counts what passes. What it refuses to know: what is answered, and why. Invariants: beside the listener's phases nothing
//! else names the session; the state outlives the exchange, so that a call that is cut off has its figures.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request};
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::v2::server::Idle;
use pingora_core::{Error, ErrorType};
use pingora_http::ResponseHeader;

use super::context::RequestContext;
use super::outcome::Outcome;
use super::visitor::visitor;
use crate::accept::{Arrival, BrokenHead, Dialect, Fault, Framed, Http1Call, ReturnPath};
use crate::audit::{Record, timestamp};
use crate::clock::{self, UnixMillis};
use crate::identify::{Identity, Nonce, SetCookie};
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::{Shared, Snapshot};
use crate::telemetry::EventName;
use crate::view::Visitor;

const NOT_TAKEN: &str = "an answer was not taken";

/// Why an answer did not go out.
pub(crate) type BrokenOff = Box<Error>;

/// An answer that cannot be written, by a fault of ours.
pub(crate) fn defect(what: &'static str) -> BrokenOff {
    Error::explain(ErrorType::InternalError, what)
}

/// An answer that did not go out to its end.
pub(crate) fn broken(what: &'static str) -> BrokenOff {
    Error::explain(ErrorType::WriteError, what)
}

/// What a call's answer needs besides its body, and what passed.
pub(crate) struct AnswerState {
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
    /// Whether the caller came with a proof of possession, or by the scheme for one.
    pub by_proof: bool,
    /// What the caller's next proof needs.
    pub nonce: Option<HeaderValue>,
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
    /// An answer is on its way to the caller, and not yet out.
    pub is_being_written: bool,
    /// The answer waits until a record on the disk tells that it begins.
    pub attests: bool,
}

impl AnswerState {
    pub(crate) fn new(request_id: String) -> Self {
        AnswerState {
            request_id,
            dialect: Dialect::Own,
            status: None,
            grpc_status: None,
            bytes_in: 0,
            bytes_out: 0,
            firehose_request: None,
            origin: None,
            by_proof: false,
            nonce: None,
            visitor: None,
            advice: None,
            return_to: None,
            by_session: false,
            set_cookies: Vec::new(),
            known: None,
            is_being_written: false,
            attests: false,
        }
    }

    /// The outcome that is known, now that it is told whether the caller was answered.
    pub(crate) fn settled(&mut self, answered: Result<(), Refusal>) -> Outcome {
        Outcome {
            answered,
            ..self.known.take().unwrap_or_else(|| Outcome::of(Ok(())))
        }
    }

    /// What is known of the caller now, for the answer's head.
    pub(crate) fn proven(&mut self, identity: &Identity) {
        self.nonce = identity.nonce().and_then(Nonce::header);
    }

    /// Who looks at pages, and what goes with the answer to a session: it is kept from idling out.
    pub(crate) fn looks(&mut self, identity: &Identity) {
        self.proven(identity);
        self.visitor = Some(visitor(identity));
        if let Some(session) = identity.session() {
            self.by_session = true;
            self.set_cookies.extend(session.renewed.clone());
        }
    }
}

/// The head of an answer.
pub(crate) struct ReplyHead {
    pub status: StatusCode,
    pub fields: Vec<(HeaderName, HeaderValue)>,
}

impl ReplyHead {
    pub(crate) fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.push((name, value));
    }

    /// Adds a field that stands once, in place of any that others put there.
    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.retain(|(other, _)| *other != name);
        self.add(name, value);
    }

    fn framed(self) -> Result<Box<ResponseHeader>, BrokenOff> {
        let mut head = ResponseHeader::build(self.status, Some(self.fields.len()))?;
        for (name, value) in self.fields {
            head.append_header(name, value)?;
        }
        Ok(Box::new(head))
    }
}

/// What a request came by.
pub(crate) enum Downstream<'a> {
    Http1(&'a mut Http1Call),
    Http2(&'a mut pingora_proxy::Session),
}

impl Downstream<'_> {
    /// Whether an answer has begun.
    pub(crate) fn has_begun(&self) -> bool {
        match self {
            Downstream::Http1(call) => call.has_begun(),
            Downstream::Http2(session) => session.response_written().is_some(),
        }
    }

    /// The request's head.
    pub(crate) fn head(&self) -> &request::Parts {
        match self {
            Downstream::Http1(call) => call.head(),
            Downstream::Http2(session) => session.req_header(),
        }
    }

    /// The refused head that the request stands for, once.
    fn take_broken_head(&mut self) -> Option<BrokenHead> {
        match self {
            Downstream::Http1(call) => call.take_broken_head(),
            Downstream::Http2(_) => None,
        }
    }

    /// The connection takes no further request.
    pub(crate) fn close_after(&mut self) {
        match self {
            Downstream::Http1(call) => call.close_after(),
            Downstream::Http2(session) => session.set_keepalive(None),
        }
    }
}

/// A request's head, its body as it comes, and the way back to its caller.
pub(crate) struct Exchange<'a> {
    session: Downstream<'a>,
    pub state: &'a mut AnswerState,
    context: &'a RequestContext,
}

impl<'a> Exchange<'a> {
    /// `context`: as it is before the caller is known; answers need no more of it.
    pub(crate) fn new(
        session: Downstream<'a>,
        state: &'a mut AnswerState,
        context: &'a RequestContext,
    ) -> Self {
        Exchange {
            session,
            state,
            context,
        }
    }

    pub(crate) fn shared(&self) -> &'a Shared {
        self.context.shared()
    }

    pub(crate) fn snapshot(&self) -> &'a Snapshot {
        self.context.snapshot()
    }

    pub(crate) fn arrival(&self) -> &'a Arrival {
        self.context.arrival()
    }

    /// When the request's head had come.
    pub(crate) fn now(&self) -> UnixMillis {
        self.context.now()
    }

    /// The request's head.
    pub(crate) fn head(&self) -> &request::Parts {
        self.session.head()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.session.head().headers
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.session, Downstream::Http2(_))
    }

    pub(crate) fn is_head(&self) -> bool {
        self.session.head().method == Method::HEAD
    }

    /// Whether some of the request's body was not read.
    pub(crate) fn is_unread(&self) -> bool {
        self.arrival().body().is_some_and(|body| !body.is_whole())
    }

    /// Whether an answer has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.session.has_begun()
    }

    /// The connection takes no further request.
    pub(crate) fn close_after(&mut self) {
        self.session.close_after();
    }

    /// Lets the body come, if the client waits for our word (RFC 9110 section 10.1.1).
    pub(crate) fn allow_body(&self) {
        let connection = &self.arrival().connection;
        if !connection.http2 && self.headers().contains_key(header::EXPECT) {
            connection.allow_continue();
        }
    }

    /// The refused head that the request stands for, once.
    pub(crate) fn take_broken_head(&mut self) -> Option<BrokenHead> {
        self.session.take_broken_head()
    }

    /// How the body was announced.
    pub(crate) fn framed(&self) -> Framed {
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
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        let Downstream::Http2(session) = &mut self.session else {
            return Err(Fault::BodyTruncated);
        };
        let read = session.as_mut().read_request_body().await;
        read.map_err(|_| Fault::BodyTruncated)
    }

    /// Ends when the caller has gone: a reset and a broken connection say the same. `None`: over HTTP/1.1 that is not
    /// seen, because a caller may have ended its side and wait for the answer.
    pub(crate) fn gone(&mut self) -> Option<Idle<'_>> {
        match &mut self.session {
            Downstream::Http1(_) => None,
            Downstream::Http2(session) => session.downstream_session.watch_h2_stream_close(),
        }
    }

    /// Has the trail tell on the disk that this answer begins, where each record is brought there. What cannot be told of is not
    /// answered, but for the word that the trail fails.
    async fn attest(&mut self, within: Duration, status: StatusCode) -> Result<(), BrokenOff> {
        if !std::mem::take(&mut self.state.attests) {
            return Ok(());
        }
        let arrival = self.arrival();
        let record = Record {
            time: timestamp(self.shared().clock.now().0),
            request_id: self.state.request_id.clone(),
            event: EventName::AnswerBegun,
            reason: Reason::AnswerDue,
            listener: Some(arrival.connection.listener().name.clone()),
            client_address: Some(arrival.client_text()),
            http_method: Some(self.head().method.as_str().into()),
            status: Some(status.as_u16()),
            ..Record::default()
        };
        let attesting = self.shared().trail.attest(record);
        let told = clock::within(within, pin!(attesting)).await;
        if matches!(told, Ok(true)) || status == StatusCode::SERVICE_UNAVAILABLE {
            return Ok(());
        }
        Err(broken("an answer is not told of on the disk"))
    }

    /// Writes a whole answer. `body`: `None` where none comes, whatever the head says of it.
    pub(crate) async fn put(
        &mut self,
        within: Duration,
        head: ReplyHead,
        body: Option<Bytes>,
    ) -> Result<(), BrokenOff> {
        self.attest(within, head.status).await?;
        match &mut self.session {
            Downstream::Http1(call) => {
                let now = self.context.shared().clock.now();
                let answering =
                    call.answer(head.status, &head.fields, body.unwrap_or_default(), now);
                // What the socket takes at once goes out, even where no time is given.
                let answering = tokio::task::coop::unconstrained(answering);
                self.state.is_being_written = true;
                let answered = clock::within(within, pin!(answering)).await;
                self.state.is_being_written = false;
                match answered {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(Error::new(ErrorType::WriteError)),
                    Err(_) => Err(Error::explain(ErrorType::WriteTimedout, NOT_TAKEN)),
                }
            }
            Downstream::Http2(_) => {
                let framed = HttpTask::Header(head.framed()?, body.is_none());
                let body = body.map(|body| HttpTask::Body(Some(body), true));
                self.put_frames(within, [Some(framed), body].into_iter().flatten().collect())
                    .await
            }
        }
    }

    /// Writes a whole answer over HTTP/2 that ends with trailers.
    pub(crate) async fn put_with_trailers(
        &mut self,
        within: Duration,
        head: ReplyHead,
        body: Bytes,
        trailers: HeaderMap,
    ) -> Result<(), BrokenOff> {
        self.attest(within, head.status).await?;
        let framed = HttpTask::Header(head.framed()?, false);
        let body = (!body.is_empty()).then_some(HttpTask::Body(Some(body), false));
        let trailers = HttpTask::Trailer(Some(Box::new(trailers)));
        let tasks = [Some(framed), body, Some(trailers)];
        self.put_frames(within, tasks.into_iter().flatten().collect())
            .await
    }

    /// Begins an answer over HTTP/2, more of which follows.
    pub(crate) async fn begin(
        &mut self,
        within: Duration,
        head: ReplyHead,
    ) -> Result<(), BrokenOff> {
        self.attest(within, head.status).await?;
        let framed = HttpTask::Header(head.framed()?, false);
        self.put_frames(within, vec![framed]).await
    }

    /// Goes on with an answer over HTTP/2.
    pub(crate) async fn go_on(&mut self, within: Duration, body: Bytes) -> Result<(), BrokenOff> {
        self.put_frames(within, vec![HttpTask::Body(Some(body), false)])
            .await
    }

    /// Ends an answer over HTTP/2.
    pub(crate) async fn end(
        &mut self,
        within: Duration,
        trailers: HeaderMap,
    ) -> Result<(), BrokenOff> {
        self.put_frames(within, vec![HttpTask::Trailer(Some(Box::new(trailers)))])
            .await
    }

    /// Writes to the caller. What is not taken in time is broken off: the stream is reset, because an end would
    /// make half an answer a whole one (RFC 9113 section 8.1).
    async fn put_frames(
        &mut self,
        within: Duration,
        tasks: Vec<HttpTask>,
    ) -> Result<(), BrokenOff> {
        let Downstream::Http2(session) = &mut self.session else {
            return Err(defect("frames are written over HTTP/2 alone"));
        };
        let writing = session.write_response_tasks(tasks);
        self.state.is_being_written = true;
        let written = clock::within(within, pin!(writing)).await;
        self.state.is_being_written = false;
        let fault = match written {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(fault)) => fault,
            Err(_) => Error::explain(ErrorType::WriteTimedout, NOT_TAKEN),
        };
        session
            .downstream_session
            .shutdown_with_reason(h2::Reason::CANCEL);
        Err(fault)
    }
}
