//! An emulator of other vendors' backends, as far as they take OTLP: over HTTP/1.1 and gRPC, plaintext, on one port.
//!
//! What it does: is one backend of the table, and enforces its rows: path, credential, headers, media type, compression, sizes,
//! statuses. What it refuses to know: the gateway and its profiles; it has its own table, so that it can be an oracle for them.
//! Invariants: every export is noted with what it was answered; items are kept of those alone that were taken; all it keeps is
//! bounded.

mod items;
mod judge;
mod table;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::server::{Connection, Payload, Reply, Server, Service, lock};
use crate::coding::Coding;
use lightkeeper::otlp::{Encoding, Signal};

pub use items::item_names;
pub use table::{Row, Wanted};

/// Larger than any bound of the table.
const BODY_LIMIT_BYTES: usize = 128 << 20;
/// Exports that are kept, the last ones.
const INTAKES: usize = 4096;
/// Items that are counted; beyond it, new ones are not.
const ITEMS: usize = 1 << 20;

/// One export as it came, and what became of it.
#[derive(Clone, Debug)]
pub struct Intake {
    pub path: String,
    pub grpc: bool,
    pub headers: http::HeaderMap,
    pub coding: Coding,
    /// Absent: the media type is none of OTLP's.
    pub encoding: Option<Encoding>,
    /// Bytes of the body, or of gRPC's message, as sent.
    pub packed: usize,
    /// The status, or the HTTP status that stands for gRPC's code.
    pub status: u16,
    /// What kept it from being taken, for the reader of a failed test.
    pub words: &'static str,
    /// The names of its items, if it was taken.
    pub items: Vec<String>,
}

impl Intake {
    /// All values of one header, as text.
    pub fn header(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }

    /// Whether it was taken, whole or in part.
    pub fn is_taken(&self) -> bool {
        self.words.is_empty()
    }
}

/// What a backend does to the next exports that it would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VendorFault {
    /// 429, with this `Retry-After`, seconds or a date; over gRPC RESOURCE_EXHAUSTED with `RetryInfo` of a second.
    Throttled(&'static str),
    /// This status.
    Status(u16),
    /// It takes all but so many items, and says so.
    Partial {
        rejected: i64,
        message: &'static str,
    },
    /// Success with a body that is no answer.
    Garbage,
    /// It takes the export, and closes the connection instead of an answer.
    TakenUnsaid,
}

/// A running backend. Dropping it stops it.
pub struct VendorEmulator {
    server: Server,
    state: Arc<State>,
}

struct State {
    rows: Vec<&'static Row>,
    key: Mutex<String>,
    /// A bound below the promised one, of unpacked bytes.
    below: Mutex<Option<usize>>,
    faults: Mutex<VecDeque<VendorFault>>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    intakes: VecDeque<Intake>,
    items: BTreeMap<(&'static str, String), u64>,
}

impl VendorEmulator {
    /// Starts the backend of this name on a free loopback port; it opens to this key.
    pub async fn start(backend: &str, key: &str) -> Result<Self, String> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), backend, key).await
    }

    pub async fn start_on(address: SocketAddr, backend: &str, key: &str) -> Result<Self, String> {
        let rows = Row::of(backend);
        if rows.is_empty() {
            return Err(format!("no backend is called `{backend}`"));
        }
        let failed = |error| format!("the backend cannot listen on `{address}`: {error}");
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let state = Arc::new(State {
            rows,
            key: Mutex::new(key.to_owned()),
            below: Mutex::default(),
            faults: Mutex::default(),
            kept: Mutex::default(),
        });
        let server = Server::start(listener, None, state.clone())
            .await
            .map_err(failed)?;
        Ok(VendorEmulator { server, state })
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// From now on it opens to this key alone.
    pub fn set_key(&self, key: &str) {
        key.clone_into(&mut lock(&self.state.key));
    }

    /// A bound of unpacked bytes below the one that is promised.
    pub fn bound_below(&self, bytes: Option<usize>) {
        *lock(&self.state.below) = bytes;
    }

    /// What becomes of the next exports that it would take, one after the other.
    pub fn fail(&self, faults: impl IntoIterator<Item = VendorFault>) {
        lock(&self.state.faults).extend(faults);
    }

    /// What came since the start or the last `clear`, oldest first.
    pub fn intakes(&self) -> Vec<Intake> {
        lock(&self.state.kept).intakes.iter().cloned().collect()
    }

    /// Every item of a signal that was taken, and how often: each once, when nothing was lost and nothing doubled.
    pub fn items(&self, signal: Signal) -> BTreeMap<String, u64> {
        let kept = lock(&self.state.kept);
        let of_signal = kept
            .items
            .iter()
            .filter(|((of, _), _)| *of == signal.name());
        of_signal
            .map(|((_, name), times)| (name.clone(), *times))
            .collect()
    }

    pub fn clear(&self) {
        *lock(&self.state.kept) = Kept::default();
    }

    /// Connecting is refused from now on.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again on the same port.
    pub async fn restart(&self) -> Result<(), String> {
        let restarted = self.server.restart().await;
        restarted.map_err(|error| format!("the backend cannot listen again: {error}"))
    }
}

impl Service for State {
    fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Connection) -> Reply {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = Limited::new(body, BODY_LIMIT_BYTES).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            let (answer, severed) = self.take(&head, &body);
            if severed {
                connection.sever().await
            }
            answer
        })
    }
}

impl State {
    /// Judges and notes an export; whether the connection is closed instead of the answer.
    fn take(&self, head: &http::request::Parts, body: &[u8]) -> (Response<Payload>, bool) {
        let grpc = head.version == Version::HTTP_2 && judge::is_grpc(&head.headers);
        let key = lock(&self.key).clone();
        let below = *lock(&self.below);
        let judged = judge::judge(&self.rows, &key, below, head, body);
        let fault = judged
            .is_ok()
            .then(|| lock(&self.faults).pop_front())
            .flatten();
        let mut intake = Intake {
            path: head.uri.path().to_owned(),
            grpc,
            headers: head.headers.clone(),
            coding: judge::coding(grpc, &head.headers).unwrap_or(Coding::Identity),
            encoding: judge::encoding(&head.headers),
            packed: body.len().saturating_sub(if grpc { 5 } else { 0 }),
            status: 0,
            words: "",
            items: Vec::new(),
        };
        let mut severed = false;
        let answer = match (judged, fault) {
            (Err((status, words)), _) => {
                (intake.status, intake.words) = (status, words);
                judge::refusal(head, status, words, None)
            }
            (Ok(_), Some(VendorFault::Throttled(after))) => {
                (intake.status, intake.words) = (429, "throttled");
                judge::refusal(head, 429, "throttled", Some(after))
            }
            (Ok(_), Some(VendorFault::Status(status))) => {
                (intake.status, intake.words) = (status, "told to fail");
                judge::refusal(head, status, "told to fail", None)
            }
            (Ok(taken), fault) => {
                intake.status = taken.row.taken;
                intake.items.clone_from(&taken.items);
                self.count(taken.row.signal, &taken.items);
                severed = fault == Some(VendorFault::TakenUnsaid);
                judge::success(head, taken.row, fault.as_ref())
            }
        };
        let mut kept = lock(&self.kept);
        if kept.intakes.len() == INTAKES {
            kept.intakes.pop_front();
        }
        kept.intakes.push_back(intake);
        (answer, severed)
    }

    fn count(&self, signal: Signal, items: &[String]) {
        let mut kept = lock(&self.kept);
        for name in items {
            let place = (signal.name(), name.clone());
            if kept.items.len() < ITEMS || kept.items.contains_key(&place) {
                *kept.items.entry(place).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
