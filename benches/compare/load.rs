//! A bounded closed loop of requests over a few connections, or an even pace, on one thread.
//!
//! It counts statuses and errors and keeps every latency; it refuses to know what is behind the address.
//! Invariants: never more than `requests` requests, never longer than `seconds`; only loopback addresses.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

#[derive(clap::Args, Clone)]
pub struct Plan {
    target: SocketAddr,
    #[arg(long, value_enum)]
    kind: Kind,
    #[arg(long)]
    path: String,
    /// Bytes of OTLP protobuf in each request.
    #[arg(long, default_value_t = 0)]
    size: usize,
    /// Services of the export, each with a resource of its own: 1, or 2 that belong to two projects.
    #[arg(long, default_value_t = 1)]
    services: usize,
    /// A file with the bearer token.
    #[arg(long)]
    token: Option<PathBuf>,
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Concurrent requests of one HTTP/2 connection.
    #[arg(long, default_value_t = 1)]
    streams: usize,
    #[arg(long)]
    requests: u64,
    /// Requests per second, evenly spaced; 0: as fast as the answers come.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// The whole run ends by then.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq)]
enum Kind {
    Http,
    Get,
    Grpc,
}

/// What all loops share; they run on one thread.
struct Shared {
    plan: Plan,
    token: Option<String>,
    body: Bytes,
    started: Instant,
    next: Cell<u64>,
    statuses: RefCell<BTreeMap<String, u64>>,
    latencies: RefCell<Vec<u64>>,
}

pub async fn run(plan: Plan) {
    assert!(plan.target.ip().is_loopback(), "only loopback is loaded");
    let token = plan.token.as_ref().map(|file| {
        std::fs::read_to_string(file)
            .expect("a token")
            .trim()
            .to_owned()
    });
    let body = match plan.kind {
        Kind::Get => Bytes::new(),
        Kind::Http => export(plan.size, plan.services),
        Kind::Grpc => {
            let message = export(plan.size, plan.services);
            let mut framed = BytesMut::with_capacity(message.len() + 5);
            framed.put_u8(0);
            framed.put_u32(u32::try_from(message.len()).expect("below 4 GiB"));
            framed.put(message);
            framed.freeze()
        }
    };
    let shared = Rc::new(Shared {
        token,
        body,
        started: Instant::now(),
        next: Cell::new(0),
        statuses: RefCell::default(),
        latencies: RefCell::default(),
        plan,
    });
    let all = tokio::task::LocalSet::new();
    for _ in 0..shared.plan.connections {
        all.spawn_local(connection(shared.clone()));
    }
    let _ = timeout(Duration::from_secs(shared.plan.seconds), all).await;
    report(&shared);
}

async fn connection(shared: Rc<Shared>) {
    let Ok(stream) = TcpStream::connect(shared.plan.target).await else {
        *shared
            .statuses
            .borrow_mut()
            .entry("no connection".to_owned())
            .or_default() += 1;
        return;
    };
    let _ = stream.set_nodelay(true);
    if shared.plan.kind == Kind::Grpc {
        let (sender, driver) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .expect("an HTTP/2 preface is written");
        tokio::spawn(driver);
        let streams = tokio::task::LocalSet::new();
        for _ in 0..shared.plan.streams {
            let (shared, sender) = (shared.clone(), sender.clone());
            streams.spawn_local(async move {
                while let Some(due) = turn(&shared).await {
                    let mut sender = sender.clone();
                    let response = async {
                        sender.ready().await?;
                        sender.send_request(request(&shared)).await
                    };
                    if !count(&shared, due, response.await).await {
                        return;
                    }
                }
            });
        }
        streams.await;
    } else {
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
                .await
                .expect("no bytes needed");
        tokio::spawn(driver);
        while let Some(due) = turn(&shared).await {
            let response = async {
                sender.ready().await?;
                sender.send_request(request(&shared)).await
            };
            if !count(&shared, due, response.await).await {
                return;
            }
        }
    }
}

/// The moment from which the next request's latency counts; `None` when enough were sent. With a pace, a
/// start that is later than the timer's own coarseness counts as latency.
async fn turn(shared: &Shared) -> Option<Instant> {
    let number = shared.next.get();
    if number >= shared.plan.requests {
        return None;
    }
    shared.next.set(number + 1);
    if shared.plan.rate == 0 {
        return Some(Instant::now());
    }
    let due = shared.started + Duration::from_nanos(number * 1_000_000_000 / shared.plan.rate);
    sleep_until(due).await;
    let now = Instant::now();
    Some(if now.duration_since(due) > Duration::from_millis(2) {
        due
    } else {
        now
    })
}

fn request(shared: &Shared) -> Request<Full<Bytes>> {
    let kind = shared.plan.kind;
    let mut builder = Request::builder().method(if kind == Kind::Get { "GET" } else { "POST" });
    builder = match kind {
        Kind::Grpc => builder
            .version(Version::HTTP_2)
            .uri(format!("http://{}{}", shared.plan.target, shared.plan.path))
            .header("te", "trailers")
            .header("content-type", "application/grpc"),
        Kind::Http => builder
            .uri(&shared.plan.path)
            .header("host", shared.plan.target.to_string())
            .header("content-type", "application/x-protobuf"),
        Kind::Get => builder
            .uri(&shared.plan.path)
            .header("host", shared.plan.target.to_string()),
    };
    builder = builder.header("user-agent", "lightkeeper-compare/1");
    if let Some(token) = &shared.token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    builder
        .body(Full::new(shared.body.clone()))
        .expect("a valid request")
}

/// Reads the answer to its end and counts it; false when the connection is no longer usable.
async fn count(
    shared: &Shared,
    due: Instant,
    response: Result<Response<Incoming>, hyper::Error>,
) -> bool {
    let mut usable = true;
    let status = match response {
        Err(_) => {
            usable = false;
            "connection lost".to_owned()
        }
        Ok(response) => {
            let (head, body) = response.into_parts();
            let grpc = shared.plan.kind == Kind::Grpc && head.status == 200;
            match body.collect().await {
                Err(_) => "body lost".to_owned(),
                Ok(body) if grpc => {
                    let status = body
                        .trailers()
                        .and_then(|t| t.get("grpc-status"))
                        .or(head.headers.get("grpc-status"));
                    format!(
                        "grpc {}",
                        status.and_then(|s| s.to_str().ok()).unwrap_or("absent")
                    )
                }
                Ok(_) => head.status.as_u16().to_string(),
            }
        }
    };
    *shared.statuses.borrow_mut().entry(status).or_default() += 1;
    let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
    shared.latencies.borrow_mut().push(micros);
    usable
}

fn report(shared: &Shared) {
    let mut latencies = shared.latencies.borrow_mut();
    latencies.sort_unstable();
    let at = |share: f64| {
        let last = latencies.len().saturating_sub(1);
        latencies
            .get((last as f64 * share).round() as usize)
            .copied()
            .unwrap_or(0)
    };
    let statuses = shared.statuses.borrow();
    let good: u64 = statuses
        .iter()
        .filter(|(s, _)| matches!(s.as_str(), "200" | "grpc 0"))
        .map(|(_, n)| n)
        .sum();
    println!(
        "{}",
        serde_json::json!({
            "requests": latencies.len(),
            "errors": shared.plan.requests - good.min(shared.plan.requests),
            "statuses": *statuses,
            "seconds": shared.started.elapsed().as_secs_f64(),
            "p50_us": at(0.50),
            "p90_us": at(0.90),
            "p99_us": at(0.99),
            "max_us": at(1.0),
        })
    );
}

/// Opens connections, one small request on each, and holds them.
pub async fn idle(target: SocketAddr, connections: usize) {
    assert!(target.ip().is_loopback(), "only loopback is loaded");
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(target).await.expect("a connection");
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
                .await
                .expect("no bytes needed");
        tokio::spawn(driver);
        let request = Request::builder()
            .uri("/")
            .header("host", target.to_string())
            .body(Full::default());
        if let Ok(response) = sender.send_request(request.expect("a valid request")).await {
            let _ = response.into_body().collect().await;
        }
        held.push(sender);
    }
    println!(
        "{}",
        held.iter().filter(|sender| !sender.is_closed()).count()
    );
    std::future::pending().await
}

/// The services of exports: apps of two projects that the caller may write to.
const SERVICES: [&str; 2] = ["app-0500", "app-0100"];

/// An export of traces of `size` bytes: real spans, shared out over the services, and one padded attribute.
fn export(size: usize, services: usize) -> Bytes {
    let text = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value)),
        }),
        ..KeyValue::default()
    };
    let span = |number: u64| Span {
        trace_id: u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .to_be_bytes()
            .to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        name: format!("GET /cart/{number}"),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + number,
        end_time_unix_nano: 1_700_000_000_000_900_000 + number,
        attributes: vec![
            text("http.request.method", "GET".into()),
            text("server.address", format!("shop-{number}.test")),
        ],
        ..Span::default()
    };
    let of_service = |at: usize, name: &str, spans: u64, padding: usize| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![
                text("service.name", name.to_owned()),
                text("padding", "x".repeat(padding)),
            ],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "compare".into(),
                ..InstrumentationScope::default()
            }),
            spans: (at as u64..spans).step_by(services).map(span).collect(),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    let build = |spans: u64, padding: usize| ExportTraceServiceRequest {
        resource_spans: SERVICES
            .iter()
            .take(services)
            .enumerate()
            .map(|(at, name)| of_service(at, name, spans, if at == 0 { padding } else { 0 }))
            .collect(),
    };
    let one = build(1, 0).encoded_len() as u64;
    let spans = (size as u64 / one).saturating_sub(1);
    let padding = size
        .saturating_sub(build(spans, 0).encoded_len())
        .saturating_sub(4);
    build(spans, padding).encode_to_vec().into()
}
