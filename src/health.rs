//! Health checks on the serving port, for load balancers that can ask no other.
//!
//! What it does: answers `health.path` of a listener and `grpc.health.v1.Health` with what `/readyz` of `admin` says, in
//! one bit. What it refuses to know: who asks, and why the gateway is not ready.
//! Invariants: no identity, no record, no detail; what is read is bounded in bytes and time; checks are counted among the calls
//! at once; watches are bounded in number, in total and for each address, and end when their connection is asked to close.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};

use crate::accept::{Arrival, Connection};
use crate::call::answer;
use crate::call::exchange::{BrokenOff, Exchange};
use crate::limits::Spent;
use crate::media_type::MediaType;
use crate::otlp;
use crate::state::{Shared, Snapshot};

/// Between two looks at the state for a watch.
const WATCH_LOOK: Duration = Duration::from_millis(250);
/// A `HealthCheckRequest` with its frame: the full name of a service, and room.
const REQUEST_LIMIT_BYTES: usize = 1024;

/// gRPC status codes (google.rpc.Code).
const OK: u8 = 0;
const INVALID_ARGUMENT: u8 = 3;
const DEADLINE_EXCEEDED: u8 = 4;
const NOT_FOUND: u8 = 5;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const UNAVAILABLE: u8 = 14;

/// The kind of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// `GET` or `HEAD` of the listener's `health.path`.
    Http,
    /// `grpc.health.v1.Health/Check`.
    Grpc,
    /// `grpc.health.v1.Health/Watch`.
    Watch,
    /// What an AWS Application Load Balancer asks of gRPC targets unless told otherwise. It expects UNIMPLEMENTED.
    Probe,
}

impl Check {
    fn word(self) -> &'static str {
        match self {
            Check::Http => "http",
            Check::Grpc => "grpc_check",
            Check::Watch => "grpc_watch",
            Check::Probe => "grpc_probe",
        }
    }
}

/// `grpc.health.v1.HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServingStatus {
    Ready = 1,
    NotReady = 2,
    Unknown = 3,
}

impl ServingStatus {
    fn word(self) -> &'static str {
        match self {
            ServingStatus::Ready => "ready",
            ServingStatus::NotReady => "not_ready",
            ServingStatus::Unknown => "unknown",
        }
    }

    fn message(self) -> Vec<u8> {
        vec![0x08, self as u8]
    }
}

/// Whether a head asks for health on a listener that tells it. Nothing in it but method, path and content type counts.
pub(crate) fn asked(head: &Parts, connection: &Connection) -> Option<Check> {
    let listener = connection.listener();
    let settings = &listener.front.health;
    let path = head.uri.path();
    if settings.path.as_deref() == Some(path) && matches!(head.method, Method::GET | Method::HEAD) {
        return head.uri.query().is_none().then_some(Check::Http);
    }
    if !settings.grpc
        || !connection.http2
        || head.method != Method::POST
        || head.uri.query().is_some()
    {
        return None;
    }
    let kind = head
        .headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    if !MediaType::glimpse(kind.unwrap_or_default()).is_grpc_of_any_kind() {
        return None;
    }
    match path {
        "/grpc.health.v1.Health/Check" => Some(Check::Grpc),
        "/grpc.health.v1.Health/Watch" => Some(Check::Watch),
        "/AWS.ALB/healthcheck" => Some(Check::Probe),
        _ => None,
    }
}

/// Answers a check, and counts it.
pub(crate) async fn answer(exchange: &mut Exchange<'_>, check: Check) -> Result<(), BrokenOff> {
    let (shared, arrival) = (exchange.shared(), exchange.arrival());
    let listener = arrival.connection.listener();
    let count = |word: &'static str| {
        shared
            .metrics
            .health_checked(&listener.name, check.word(), word)
    };
    if let Err(spent) = arrival.place {
        count("busy");
        return busy(exchange, check, spent).await;
    }
    let state = state_of(shared);
    match check {
        Check::Http => {
            count(state.word());
            let (status, text) = match state {
                ServingStatus::Ready => (StatusCode::OK, "ready\n"),
                ServingStatus::NotReady | ServingStatus::Unknown => {
                    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
                }
            };
            let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            return answer::page(
                exchange,
                status,
                vec![kind],
                Bytes::from_static(text.as_bytes()),
            )
            .await;
        }
        Check::Probe => {
            count(state.word());
            let code = if state == ServingStatus::Ready {
                UNIMPLEMENTED
            } else {
                UNAVAILABLE
            };
            return answer::grpc_status(exchange, code).await;
        }
        Check::Grpc | Check::Watch => {}
    }
    let is_known = match service(exchange).await {
        Ok(service) => is_known(exchange.snapshot(), arrival, &service),
        Err(code) => {
            count("refused");
            return answer::grpc_status(exchange, code).await;
        }
    };
    let state = if is_known {
        state
    } else {
        ServingStatus::Unknown
    };
    if check == Check::Watch {
        let Some(_place) = shared.watches.take(arrival.client.ip) else {
            count("busy");
            // A client that is told so goes on without health checks (gRFC A17); another code would keep it from exporting.
            return answer::grpc_status(exchange, UNIMPLEMENTED).await;
        };
        count(state.word());
        return watch(exchange, is_known).await;
    }
    count(state.word());
    if !is_known {
        return answer::grpc_status(exchange, NOT_FOUND).await;
    }
    answer::grpc_begin(exchange).await?;
    answer::grpc_message(exchange, state.message()).await?;
    answer::grpc_end(exchange, OK).await
}

/// Refuses a check from an address that has as many calls under way as it may have, or when all together do.
async fn busy(exchange: &mut Exchange<'_>, check: Check, spent: Spent) -> Result<(), BrokenOff> {
    let (status, code) = match spent {
        Spent::Share => (StatusCode::TOO_MANY_REQUESTS, RESOURCE_EXHAUSTED),
        Spent::Total => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
    };
    match check {
        Check::Http => {
            let headers = vec![
                (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
                (header::RETRY_AFTER, HeaderValue::from_static("1")),
            ];
            answer::page(
                exchange,
                status,
                headers,
                Bytes::from_static(b"too many calls at once\n"),
            )
            .await
        }
        Check::Grpc | Check::Watch | Check::Probe => answer::grpc_status(exchange, code).await,
    }
}

fn state_of(shared: &Shared) -> ServingStatus {
    if shared.readiness().ready {
        ServingStatus::Ready
    } else {
        ServingStatus::NotReady
    }
}

/// Tells the state at once and whenever it changes, until the client or the connection ends.
async fn watch(exchange: &mut Exchange<'_>, is_known: bool) -> Result<(), BrokenOff> {
    let (shared, arrival) = (exchange.shared(), exchange.arrival());
    let mut told = None;
    let mut looks = tokio::time::interval(WATCH_LOOK);
    answer::grpc_begin(exchange).await?;
    loop {
        let state = if is_known {
            state_of(shared)
        } else {
            ServingStatus::Unknown
        };
        if told != Some(state) {
            // A client that takes nothing holds its place no longer than for a small answer.
            answer::grpc_message(exchange, state.message()).await?;
            told = Some(state);
        }
        if arrival.connection.is_closing() {
            // The client asks again over a connection to a gateway that stays.
            return answer::grpc_end(exchange, UNAVAILABLE).await;
        }
        match exchange.gone() {
            Some(closed) => tokio::select! {
                _ = closed => return Ok(()),
                _ = looks.tick() => {}
            },
            None => return Ok(()),
        }
    }
}

/// The service that a check names, or the gRPC code that refuses it.
async fn service(exchange: &mut Exchange<'_>) -> Result<String, u8> {
    let mut body = BytesMut::new();
    let within = exchange.snapshot().limits.header_timeout;
    let reading = async {
        while let Some(piece) = exchange.chunk().await.map_err(|_| INVALID_ARGUMENT)? {
            if body.len() + piece.len() > REQUEST_LIMIT_BYTES {
                return Err(RESOURCE_EXHAUSTED);
            }
            body.extend_from_slice(&piece);
        }
        Ok(())
    };
    tokio::time::timeout(within, reading)
        .await
        .map_err(|_| DEADLINE_EXCEEDED)??;
    let (compressed, message) = otlp::unframe(&body.freeze()).map_err(|_| INVALID_ARGUMENT)?;
    if compressed {
        return Err(UNIMPLEMENTED);
    }
    let service = otlp::text_field(&message, 1).map_err(|_| INVALID_ARGUMENT)?;
    Ok(service.unwrap_or_default().to_owned())
}

/// The whole of it has no name; besides, the services that exports go to are known where exports are served.
fn is_known(snapshot: &Snapshot, arrival: &Arrival, service: &str) -> bool {
    let serves = arrival.connection.listener().serves;
    service.is_empty()
        || serves.ingest
            && snapshot
                .profile
                .match_grpc(&format!("/{service}/Export"))
                .is_some()
}
