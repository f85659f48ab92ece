//! A sample receiver of webhooks, which is told of alerts.
//!
//! What it does: records every POST, and fails on request: slow, or with a status. What it refuses to know: what a
//! message says, and who sends it. Invariant: what it keeps is bounded.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::net::TcpListener;

use super::server::{Connection, Reply, Server, Service, lock, whole};

/// Messages that are kept, the last ones.
const RECEIVED_LIMIT: usize = 1024;
const BODY_LIMIT_BYTES: usize = 1 << 20;

/// One message as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What it was answered with.
    pub status: u16,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// How a receiver fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiverFault {
    /// This status; a redirect leads to `location`.
    Status {
        status: u16,
        location: Option<String>,
    },
    /// 200 after this long.
    Slow(Duration),
}

/// A running receiver. Dropping it stops it.
pub struct Receiver {
    server: Server,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    /// For paths that begin with the text.
    faults: Mutex<Vec<(String, ReceiverFault)>>,
}

impl Receiver {
    /// Starts on a loopback port, plaintext; port 0 takes a free one.
    pub async fn start(address: SocketAddr) -> Result<Self, String> {
        let failed = |error| format!("the receiver cannot listen on `{address}`: {error}");
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let state = Arc::new(State::default());
        let server = Server::start(listener, None, state.clone())
            .await
            .map_err(failed)?;
        Ok(Receiver { server, state })
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// What came, oldest first.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state.received).clone()
    }

    /// What came to a path.
    pub fn received_at(&self, path: &str) -> Vec<Received> {
        self.received()
            .into_iter()
            .filter(|one| one.path == path)
            .collect()
    }

    /// Lets every further message to paths that begin with `path` fail.
    pub fn fail(&self, path: &str, fault: ReceiverFault) {
        let mut faults = lock(&self.state.faults);
        faults.retain(|(known, _)| known != path);
        faults.push((path.to_owned(), fault));
    }

    /// Ends all failures.
    pub fn heal(&self) {
        lock(&self.state.faults).clear();
    }

    pub fn clear(&self) {
        lock(&self.state.received).clear();
    }

    /// Connecting is refused from now on.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again on the same port.
    pub async fn restart(&self) -> Result<(), String> {
        self.server
            .restart()
            .await
            .map_err(|error| format!("the receiver cannot listen again: {error}"))
    }
}

impl Service for State {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Connection) -> Reply {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = Limited::new(body, BODY_LIMIT_BYTES).collect().await;
            let path = parts
                .uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned();
            let fault = lock(&self.faults)
                .iter()
                .find(|(known, _)| path.starts_with(known))
                .map(|(_, one)| one.clone());
            let status = match (&body, &fault) {
                (Err(_), _) => 413,
                (Ok(_), Some(ReceiverFault::Status { status, .. })) => *status,
                (Ok(_), _) => 200,
            };
            {
                let mut received = lock(&self.received);
                if received.len() == RECEIVED_LIMIT {
                    received.remove(0);
                }
                let text = |value: &http::HeaderValue| {
                    String::from_utf8_lossy(value.as_bytes()).into_owned()
                };
                received.push(Received {
                    method: parts.method.to_string(),
                    path,
                    headers: parts
                        .headers
                        .iter()
                        .map(|(name, value)| (name.to_string(), text(value)))
                        .collect(),
                    body: body
                        .map(|body| body.to_bytes().to_vec())
                        .unwrap_or_default(),
                    status,
                });
            }
            if let Some(ReceiverFault::Slow(pause)) = fault {
                tokio::time::sleep(pause).await;
            }
            let mut response = Response::new(whole("{}"));
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
            if let Some(ReceiverFault::Status {
                location: Some(location),
                ..
            }) = &fault
                && let Ok(value) = location.parse()
            {
                response.headers_mut().insert(header::LOCATION, value);
            }
            response
        })
    }
}
