//! The emulator's failure switches.
//!
//! What it does: keeps which class of endpoints, or whose exports, fail how, and for how many more requests,
//! and builds the failing answers that look alike for all endpoints. What it refuses to know: why a test wants
//! it. Invariant: at most one fault applies to a request: its project's before its class's before that of all.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Endpoints;
use crate::server::{Payload, fed, lock};

/// How requests fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This HTTP status in the endpoint's own dialect (gRPC: the code that 3.4's table pairs with it).
    Status {
        status: u16,
        retry_after_seconds: Option<u64>,
    },
    /// The same without waiting for the request's body.
    EarlyStatus { status: u16 },
    /// This HTTP status with an HTML page, also on gRPC, as a load balancer answers.
    PlainStatus { status: u16 },
    /// The good answer after this long; a caller that has gone away by then has exported nothing.
    Slow(Duration),
    /// The good answer once the fault is healed or replaced, not before.
    Held,
    /// Reads the request, then drops the connection without an answer, and with it every other request on it.
    CloseBeforeHead,
    /// Reads the request, then ends it without an answer: over HTTP/2 this stream alone (`RST_STREAM` with
    /// `INTERNAL_ERROR`), over HTTP/1.1 the connection.
    Reset,
    /// Accepts, then drops the connection without an answer: whether it was accepted, the caller cannot know.
    AcceptThenClose,
    /// Accepts, then ends the request as `Reset` does.
    AcceptThenReset,
    /// Sends the head and one byte of the good answer, then drops the connection.
    CloseAfterHead,
    /// 200, but some items were rejected. Queries and legacy reports are answered as usual.
    PartialSuccess { rejected: i64, message: String },
    /// Accepts, with these trailers besides the status. What is no gRPC export is answered as usual.
    Trailers(Vec<(&'static str, &'static str)>),
    /// Accepts, and tells a legacy tracer to switch itself off for good; what has no such command is answered
    /// as usual.
    DisableCommand,
    /// 200 with every received header in headers (under its own name and under `echo-{name}`), body and
    /// trailers.
    Echo,
    /// 200 and bytes that are no document of the endpoint's kind; gRPC: and no status.
    Garbage,
    /// The good answer once `Emulator::release` is called.
    Hold,
    /// This very answer, whatever was asked.
    Say {
        status: u16,
        content_type: &'static str,
        body: String,
    },
    /// A JSON answer with these headers, whatever was asked.
    SayWith {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// 200 and this many bytes.
    Huge(u64),
    /// 200 and this many bytes, one per interval.
    Drip { bytes: u64, interval: Duration },
}

impl Fault {
    /// A status without `Retry-After`.
    pub fn status(status: u16) -> Self {
        Fault::Status {
            status,
            retry_after_seconds: None,
        }
    }
}

#[derive(Default)]
pub(super) struct Switches(Mutex<Vec<Switch>>, Notify);

struct Switch {
    target: Target,
    fault: Fault,
    /// Requests that it still strikes; `None`: until healed.
    left: Option<u64>,
}

/// Who is struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Endpoints(Endpoints),
    /// Exports and reports that come with an access token of this project.
    Project(String),
    /// Queries on this project.
    Queries(String),
}

impl Switches {
    pub(super) fn set(&self, target: Target, fault: Fault, times: Option<u64>) {
        let mut switches = lock(&self.0);
        // Replaced, so that the list is never longer than there are classes and projects.
        switches.retain(|switch| switch.target != target);
        if times != Some(0) {
            switches.push(Switch {
                target,
                fault,
                left: times,
            });
        }
        self.1.notify_waiters();
    }

    pub(super) fn heal(&self, target: Option<&Target>) {
        lock(&self.0).retain(|switch| target.is_some_and(|target| switch.target != *target));
        self.1.notify_waiters();
    }

    /// Waits until this request would no longer be held.
    pub(super) async fn released(&self, endpoints: Endpoints, project: Option<&str>) {
        loop {
            let changed = self.1.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.strike(endpoints, project, false) != Some(Fault::Held) {
                return;
            }
            changed.await;
        }
    }

    /// The fault that strikes this request, counted down; `early`: only if it does not wait for the body.
    pub(super) fn strike(
        &self,
        endpoints: Endpoints,
        project: Option<&str>,
        early: bool,
    ) -> Option<Fault> {
        let mut switches = lock(&self.0);
        let (own, above): (fn(String) -> Target, _) = match endpoints {
            Endpoints::Query => (Target::Queries, None),
            Endpoints::States => (Target::Queries, Some(Endpoints::Query)),
            _ => (Target::Project, None),
        };
        let target = [
            project.map(|project| own(project.to_owned())),
            Some(Target::Endpoints(endpoints)),
            above.map(Target::Endpoints),
            Some(Target::Endpoints(Endpoints::All)),
        ];
        let mut at = target
            .iter()
            .flatten()
            .filter_map(|target| switches.iter().position(|switch| switch.target == *target));
        let at = at.next()?;
        let switch = switches.get_mut(at)?;
        if early && !matches!(switch.fault, Fault::EarlyStatus { .. }) {
            return None;
        }
        let fault = switch.fault.clone();
        if let Some(left) = &mut switch.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                switches.remove(at);
            }
        }
        Some(fault)
    }
}

/// Headers that concern one connection or the request's own body, and would break the answer's.
const NOT_ECHOED: [&str; 11] = [
    "connection",
    "transfer-encoding",
    "content-length",
    "content-type",
    "content-encoding",
    "host",
    "te",
    "upgrade",
    "keep-alive",
    "trailer",
    "expect",
];

/// Adds every received header under its own name and under `echo-{name}`.
pub(super) fn echo_into(answer: &mut HeaderMap, received: &HeaderMap) {
    for (name, value) in received
        .iter()
        .filter(|(name, _)| !NOT_ECHOED.contains(&name.as_str()))
    {
        answer.append(name.clone(), value.clone());
        if let Ok(name) = HeaderName::try_from(format!("echo-{name}")) {
            answer.append(name, value.clone());
        }
    }
}

/// Every received header as a document.
pub(super) fn echo_document(received: &HeaderMap) -> Value {
    let pairs = received
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]));
    json!({ "data": { "type": "echo", "id": "echo", "attributes": { "headers": pairs.collect::<Vec<_>>() } } })
}

/// An HTML page as a load balancer in front of the backend writes it.
pub(super) fn plain(status: u16) -> Response<Payload> {
    let mut response = Response::new(crate::server::whole(format!(
        "<html><h1>{status}</h1></html>"
    )));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// An answer as a test wrote it.
pub(super) fn said(status: u16, content_type: &'static str, body: String) -> Response<Payload> {
    let mut response = typed(crate::server::whole(body), content_type);
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    response
}

/// The same as JSON with further headers; one that cannot be written is left out.
pub(super) fn said_with(
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
) -> Response<Payload> {
    let mut response = said(status, "application/json", body);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// One byte, a moment for it to leave, then the end of the connection.
pub(super) fn cut(content_type: &'static str) -> Response<Payload> {
    let (sender, body) = fed();
    tokio::spawn(async move {
        let _ = sender.send(Ok(Frame::data(Bytes::from_static(b"{")))).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _ = sender
            .send(Err(std::io::ErrorKind::ConnectionAborted.into()))
            .await;
    });
    typed(body, content_type)
}

/// `bytes` spaces, one per interval.
pub(super) fn drip(
    bytes: u64,
    interval: Duration,
    content_type: &'static str,
) -> Response<Payload> {
    let (sender, body) = fed();
    tokio::spawn(async move {
        for _ in 0..bytes {
            if sender
                .send(Ok(Frame::data(Bytes::from_static(b" "))))
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(interval).await;
        }
    });
    typed(body, content_type)
}

pub(super) fn typed(body: Payload, content_type: &'static str) -> Response<Payload> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
