//! What the emulator received, kept for tests to look at.
//!
//! What it does: notes each request's head, body and trailers as they came, in order, and lets a test
//! wait for them. What it refuses to know: what a request means.
//! Invariants: a request is noted exactly once, also when its client goes away in the middle; the number
//! of entries and the bytes of their bodies are bounded, the oldest go first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, request};
use tokio::sync::Notify;

use super::Endpoints;
use crate::coding::Coding;
use crate::server::{Connection, lock};

/// The largest body that is decompressed to be searched.
const PLAIN_BYTES: usize = 64 << 20;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Captured {
    pub endpoints: Endpoints,
    pub method: String,
    /// The path and query as they stood in the request line or `:path`.
    pub path: String,
    /// `:authority`, or the `host` header.
    pub authority: Option<String>,
    pub version: http::Version,
    /// In the order of the names' first appearance, values of one name together; names in lower case
    /// (`Emulator::wire` has HTTP/1.1's own bytes).
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, Vec<u8>)>,
    /// Whether the body came to its end within the limits.
    pub complete: bool,
    /// The project that the presented access token opens, or that the query path names.
    pub project: Option<String>,
    /// Which connection, counted from 1.
    pub connection: u64,
    /// The client certificate (DER) that the connection was made with.
    pub client_certificate: Option<Vec<u8>>,
}

impl Captured {
    /// All values of one header, as text.
    pub fn header(&self, name: &str) -> Vec<String> {
        let values = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The body, or gRPC's message in it, decompressed as the head says; `None` when that cannot be done.
    pub fn plain(&self) -> Option<Vec<u8>> {
        let named = |name| {
            self.headers
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_slice())
        };
        let coding = |name| named(name).map_or(Some(Coding::Identity), Coding::named);
        if !named("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc")) {
            return coding("content-encoding")?
                .decompress(&self.body, PLAIN_BYTES)
                .ok();
        }
        let (frame, message) = self.body.split_first_chunk::<5>()?;
        let coding = if frame.starts_with(&[0]) {
            Coding::Identity
        } else {
            coding("grpc-encoding")?
        };
        coding.decompress(message, PLAIN_BYTES).ok()
    }

    /// Whether these bytes stand anywhere in the request: path, header or trailer names and values, the body as
    /// it came and decompressed.
    pub fn contains(&self, needle: &[u8]) -> bool {
        let found = |hay: &[u8]| memchr::memmem::find(hay, needle).is_some();
        let pairs = self.headers.iter().chain(&self.trailers);
        found(self.path.as_bytes())
            || found(&self.body)
            || self.plain().is_some_and(|plain| found(&plain))
            || self
                .authority
                .as_deref()
                .is_some_and(|authority| found(authority.as_bytes()))
            || pairs
                .into_iter()
                .any(|(name, value)| found(name.as_bytes()) || found(value))
    }
}

/// Told of every request once it stands, before it is answered. Must not block for long.
pub type Witness = Arc<dyn Fn(&Captured) + Send + Sync>;

pub(super) struct Captures {
    kept: Mutex<Kept>,
    heads: AtomicU64,
    arrived: Notify,
    entries: usize,
    bytes: usize,
    witness: Option<Witness>,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<Captured>,
    bytes: usize,
}

impl Captures {
    pub(super) fn new(entries: usize, bytes: usize, witness: Option<Witness>) -> Self {
        Captures {
            kept: Mutex::default(),
            heads: AtomicU64::new(0),
            arrived: Notify::new(),
            entries,
            bytes,
            witness,
        }
    }

    /// Request heads seen so far, also of requests whose body is still on its way.
    pub(super) fn heads(&self) -> u64 {
        self.heads.load(Ordering::SeqCst)
    }

    pub(super) fn all(&self) -> Vec<Captured> {
        lock(&self.kept).entries.iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        let mut kept = lock(&self.kept);
        *kept = Kept::default();
        self.heads.store(0, Ordering::SeqCst);
    }

    /// Returns once there are `count` entries, or what there is when the time is over.
    pub(super) async fn wait_for(&self, count: usize, deadline: Duration) -> Vec<Captured> {
        let enough = async {
            loop {
                let arrival = self.arrived.notified();
                tokio::pin!(arrival);
                // Enabled before looking, so that an arrival between the look and the wait is not missed.
                arrival.as_mut().enable();
                if lock(&self.kept).entries.len() >= count {
                    return;
                }
                arrival.await;
            }
        };
        let _late = tokio::time::timeout(deadline, enough).await;
        self.all()
    }

    fn keep(&self, captured: Captured) {
        if let Some(witness) = &self.witness {
            witness(&captured);
        }
        let mut kept = lock(&self.kept);
        kept.bytes += captured.body.len();
        kept.entries.push_back(captured);
        while kept.entries.len() > self.entries || kept.bytes > self.bytes {
            let Some(oldest) = kept.entries.pop_front() else {
                break;
            };
            kept.bytes -= oldest.body.len();
        }
        drop(kept);
        self.arrived.notify_waiters();
    }
}

/// A request on its way in; noted when it is dropped, with as much as came.
pub(super) struct Capturing {
    captured: Option<Captured>,
    captures: Arc<Captures>,
}

impl Capturing {
    pub(super) fn begin(
        captures: &Arc<Captures>,
        head: &request::Parts,
        endpoints: Endpoints,
        project: Option<String>,
        connection: &Connection,
    ) -> Self {
        captures.heads.fetch_add(1, Ordering::SeqCst);
        let host = || {
            head.headers
                .get(http::header::HOST)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let captured = Captured {
            endpoints,
            method: head.method.to_string(),
            path: head
                .uri
                .path_and_query()
                .map_or_else(String::new, |path| path.as_str().to_owned()),
            authority: head.uri.authority().map(ToString::to_string).or_else(host),
            version: head.version,
            headers: pairs(&head.headers),
            body: Vec::new(),
            trailers: Vec::new(),
            complete: false,
            project,
            connection: connection.number,
            client_certificate: connection
                .client_certificates
                .first()
                .map(|leaf| leaf.to_vec()),
        };
        Capturing {
            captured: Some(captured),
            captures: captures.clone(),
        }
    }

    pub(super) fn data(&mut self, bytes: &[u8]) {
        if let Some(captured) = &mut self.captured {
            captured.body.extend_from_slice(bytes);
        }
    }

    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(captured) = &mut self.captured {
            captured.trailers = pairs(trailers);
        }
    }

    /// The body came whole; returns it.
    pub(super) fn complete(&mut self) -> Vec<u8> {
        let Some(captured) = &mut self.captured else {
            return Vec::new();
        };
        captured.complete = true;
        captured.body.clone()
    }

    /// The project that the body's access tokens open.
    pub(super) fn of_project(&mut self, project: &str) {
        if let Some(captured) = &mut self.captured {
            captured.project = Some(project.to_owned());
        }
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        if let Some(captured) = self.captured.take() {
            self.captures.keep(captured);
        }
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}
