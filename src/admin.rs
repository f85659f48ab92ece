//! The operator's listener: metrics and probes.
//!
//! What it does: serves `/metrics /startupz /livez /readyz /credentials /audit/checkpoint` on a listener, a thread and a runtime of its
//! own, so that neither a flood of calls nor a scrape disturbs the other. What it refuses to know: calls,
//! secrets, and how to change anything. Invariants: read-only; nothing secret is ever shown; a new connection always
//! finds a place, so that connections that ask nothing cannot keep a probe out; what tells of credentials or the trail leaves a
//! record, so that there are few such answers a second, and no flood of records.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::audit::{Record, timestamp};
use crate::clock::UnixMillis;
use crate::lock::Mutex;
use crate::media_type;
use crate::profiles::AUDIT_READ;
use crate::reason::Reason;
use crate::state::{Shared, Unbound};
use crate::telemetry::EventName;

/// Scrapers and probes at once; beyond it, the connection whose last request is longest ago is closed.
const CONNECTIONS_LIMIT: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers in a second that leave a record each.
const READS_PER_SECOND: u32 = 10;

/// Why the operator's listener does not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminFault {
    #[error(transparent)]
    Unbound(#[from] Unbound),
    #[error("admin cannot start")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    Thread(std::io::Error),
}

/// Binds, and serves on a thread of its own until the process ends. Gives the bound address.
pub fn serve(address: SocketAddr, shared: Arc<Shared>) -> Result<SocketAddr, AdminFault> {
    let unbound = |cause| Unbound {
        what: "admin".to_owned(),
        address,
        cause,
    };
    let socket = std::net::TcpListener::bind(address).map_err(unbound)?;
    socket.set_nonblocking(true).map_err(unbound)?;
    let bound = socket.local_addr().map_err(unbound)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AdminFault::Runtime)?;
    let run = move || {
        runtime.block_on(async move {
            match TcpListener::from_std(socket) {
                Ok(socket) => accept(socket, shared).await,
                Err(error) => tracing::error!(%error, "admin cannot accept"),
            }
        });
    };
    std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(run)
        .map_err(AdminFault::Thread)?;
    tracing::info!(address = %bound, "admin listening");
    Ok(bound)
}

/// One open connection.
struct Seat {
    abort: AbortHandle,
    /// The turn of its last request, or of its beginning.
    used: Arc<AtomicU64>,
}

/// The open connections, at most `CONNECTIONS_LIMIT`.
#[derive(Default)]
struct Seats {
    taken: Vec<Seat>,
    turns: Arc<AtomicU64>,
}

impl Seats {
    /// Makes room for one more: connections that have ended go first, then the one that has been idle for longest.
    fn make_room(&mut self) {
        self.taken.retain(|seat| !seat.abort.is_finished());
        if self.taken.len() < CONNECTIONS_LIMIT {
            return;
        }
        let idlest = self
            .taken
            .iter()
            .enumerate()
            .min_by_key(|(_, seat)| seat.used.load(Ordering::Relaxed));
        if let Some((place, _)) = idlest {
            self.taken.swap_remove(place).abort.abort();
        }
    }

    fn turn(turns: &AtomicU64) -> u64 {
        turns.fetch_add(1, Ordering::Relaxed)
    }
}

/// How many answers that leave a record there were in the present second.
#[derive(Debug)]
struct ReadRate {
    /// Unix time.
    second: i64,
    answered: u32,
    /// Refused since the last that was answered.
    refused: u64,
}

impl ReadRate {
    fn new() -> Self {
        ReadRate {
            second: i64::MIN,
            answered: 0,
            refused: 0,
        }
    }

    /// How many were refused before this one; `None`: it is refused as well.
    fn admit(&mut self, now: UnixMillis) -> Option<u64> {
        if self.second != now.seconds() {
            self.second = now.seconds();
            self.answered = 0;
        }
        if self.answered >= READS_PER_SECOND {
            self.refused += 1;
            return None;
        }
        self.answered += 1;
        Some(std::mem::take(&mut self.refused))
    }
}

async fn accept(socket: TcpListener, shared: Arc<Shared>) {
    let mut seats = Seats::default();
    let reads = Arc::new(Mutex::new(ReadRate::new()));
    loop {
        let Ok((stream, peer)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        seats.make_room();
        let (shared, turns) = (shared.clone(), seats.turns.clone());
        let used = Arc::new(AtomicU64::new(Seats::turn(&turns)));
        let asked = used.clone();
        let reads = reads.clone();
        let serving = tokio::spawn(async move {
            let service = service_fn(|request| {
                asked.store(Seats::turn(&turns), Ordering::Relaxed);
                let answer = answer(&request, &shared, (peer, &*reads));
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            // What becomes of a connection that breaks off does not matter.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
        });
        seats.taken.push(Seat {
            abort: serving.abort_handle(),
            used,
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    shared: &Shared,
    reader: (SocketAddr, &Mutex<ReadRate>),
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            media_type::TEXT,
            "only GET is served here\n".into(),
        );
    }
    match request.uri().path() {
        "/metrics" => text(
            StatusCode::OK,
            "text/plain; version=0.0.4",
            shared.metrics_page().into(),
        ),
        // This listener starts after the gateway's: being here means that both have started.
        "/startupz" => text(StatusCode::OK, media_type::TEXT, "started\n".into()),
        "/livez" => text(StatusCode::OK, media_type::TEXT, "alive\n".into()),
        "/readyz" => {
            let readiness = shared.readiness();
            let status = if readiness.ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            text(
                status,
                media_type::JSON,
                serde_json::to_vec(&readiness).unwrap_or_default().into(),
            )
        }
        path @ ("/credentials" | "/audit/checkpoint") => recorded(request, path, shared, reader),
        _ => text(
            StatusCode::NOT_FOUND,
            media_type::TEXT,
            "/metrics /startupz /livez /readyz /credentials /audit/checkpoint\n".into(),
        ),
    }
}

/// An answer that tells of credentials or of the trail: within their rate, and with a record of each.
fn recorded(
    request: &Request<Incoming>,
    path: &str,
    shared: &Shared,
    (address, reads): (SocketAddr, &Mutex<ReadRate>),
) -> Response<Full<Bytes>> {
    let now = shared.clock.now();
    let Some(refused) = reads.lock().admit(now) else {
        let told = "each of these answers leaves a record: come again in a second\n";
        let mut busy = text(StatusCode::TOO_MANY_REQUESTS, media_type::TEXT, told.into());
        let second = HeaderValue::from_static("1");
        busy.headers_mut().insert(header::RETRY_AFTER, second);
        return busy;
    };
    let (operation, response) = match path {
        "/credentials" => ("gateway.credentials.read", credentials(shared)),
        _ => (AUDIT_READ, checkpoint(shared)),
    };
    shared.metrics.event(EventName::AdminRead);
    shared.trail.note(Record {
        time: timestamp(now.0),
        request_id: shared.request_id(),
        event: EventName::AdminRead,
        listener: Some("admin".to_owned()),
        client_address: Some(address.to_string()),
        http_method: Some(request.method().as_str().into()),
        path: Some(path.into()),
        operation: Some(operation.into()),
        decision: Some("allow"),
        reason: Reason::AdminShown,
        detail: (refused > 0).then(|| format!("{refused} more were refused before").into()),
        policy_version: shared.snapshot.load().policy.version().to_owned(),
        status: Some(response.status().as_u16()),
        ..Record::default()
    });
    response
}

fn credentials(shared: &Shared) -> Response<Full<Bytes>> {
    let rows = serde_json::to_vec(&shared.credentials()).unwrap_or_default();
    text(StatusCode::OK, media_type::JSON, rows.into())
}

fn checkpoint(shared: &Shared) -> Response<Full<Bytes>> {
    match shared.trail.checkpoint() {
        Some(note) => text(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            note.to_string().into(),
        ),
        None => text(
            StatusCode::NOT_FOUND,
            media_type::TEXT,
            "there is no checkpoint: `vault.audit_keys` makes them\n".into(),
        ),
    }
}

fn text(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_a_record_are_few() {
        let mut rate = ReadRate::new();
        for (millis, answered, refused) in [(0, 10, 5), (999, 0, 3), (1000, 10, 0), (500, 10, 1)] {
            let now = UnixMillis(millis);
            let before = rate.refused;
            for number in 0..answered {
                let told = if number == 0 { before } else { 0 };
                assert_eq!(rate.admit(now), Some(told), "{millis}");
            }
            for _ in 0..refused {
                assert_eq!(rate.admit(now), None, "{millis}");
            }
        }
        assert_eq!(rate.admit(UnixMillis(9000)), Some(1));
    }
}
