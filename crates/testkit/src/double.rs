//! What the doubles of other parties' services share: they start on loopback, fail on request, and keep what came.
//!
//! What it does: holds a service's mood and its calls, and makes its answers. What it refuses to know: what a service judges.
//! Invariant: what is kept of calls is bounded.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::server::{Connection, Payload, lock, whole};

/// Calls that are kept, the first ones.
const CALLS_LIMIT: usize = 65_536;

/// How a service fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// This status and body, whatever came.
    Answer { status: u16, body: String },
    /// The right answer, after this long.
    Slow(Duration),
    /// The connection breaks.
    Severed,
}

impl Mood {
    /// A status with a body of JSON that says nothing.
    pub fn status(status: u16) -> Self {
        let body = r#"{"errors":[]}"#.to_owned();
        Mood::Answer { status, body }
    }

    /// As a sealed Vault answers.
    pub fn sealed() -> Self {
        let body = r#"{"errors":["Vault is sealed"]}"#.to_owned();
        Mood::Answer { status: 503, body }
    }
}

/// A service's mood, and the calls that came. `C`: what is kept of one.
pub(crate) struct Double<C> {
    mood: Mutex<Option<Mood>>,
    calls: Mutex<Vec<C>>,
}

impl<C> Default for Double<C> {
    fn default() -> Self {
        Double {
            mood: Mutex::default(),
            calls: Mutex::default(),
        }
    }
}

impl<C: Clone> Double<C> {
    /// Fails from now on, or no longer.
    pub(crate) fn fail(&self, mood: Option<Mood>) {
        *lock(&self.mood) = mood;
    }

    /// Status and body: what `judge` says, unless the mood says something else.
    pub(crate) async fn answer(
        &self,
        connection: &Connection,
        judge: impl FnOnce() -> (u16, String),
    ) -> (u16, String) {
        let mood = lock(&self.mood).clone();
        match mood {
            Some(Mood::Severed) => connection.sever().await,
            Some(Mood::Answer { status, body }) => (status, body),
            Some(Mood::Slow(long)) => {
                tokio::time::sleep(long).await;
                judge()
            }
            None => judge(),
        }
    }

    pub(crate) fn keep(&self, call: C) {
        let mut calls = lock(&self.calls);
        if calls.len() < CALLS_LIMIT {
            calls.push(call);
        }
    }

    /// What came, oldest first.
    pub(crate) fn calls(&self) -> Vec<C> {
        lock(&self.calls).clone()
    }

    /// Keeps nothing of what came.
    pub(crate) fn forget(&self) {
        *lock(&self.calls) = Vec::new();
    }
}

/// A loopback port.
pub(crate) async fn listener() -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await
}

/// A request's whole body; nothing of one that breaks.
pub(crate) async fn body_of(request: Request<Incoming>) -> (http::request::Parts, Vec<u8>) {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes());
    (head, body.unwrap_or_default().into())
}

/// Path and query.
pub(crate) fn path_of(uri: &http::Uri) -> String {
    let path = uri.path_and_query();
    path.map_or(String::new(), |path| path.as_str().to_owned())
}

/// The headers as text, with names in lower case.
pub(crate) fn headers_of(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = headers.iter();
    headers
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}

/// An answer of JSON.
pub(crate) fn json_answer(status: u16, body: String) -> Response<Payload> {
    let built = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(whole(body));
    built.unwrap_or_else(|_| Response::new(whole("")))
}
