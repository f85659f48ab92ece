//! Scenario: load balancers and orchestrators ask for health where they send calls. Guarantees: where a listener says so,
//! and only there, they are told what `/readyz` would tell, in one bit, without a credential and without a record; whatever
//! else is asked is a call like any other.

use bytes::Bytes;
use http::{Method, Request};
use std::sync::atomic::Ordering;
use testkit::{SampleCaller, World};

use super::stage::{self, eventually};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
const NOT_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 2];
const SERVICE_UNKNOWN: &[u8] = &[0, 0, 0, 0, 2, 8, 3];

async fn world(health: &str) -> World {
    let line = format!("    address: {{plain}}\n    health: {health}");
    let tls = format!("    address: {{tls}}\n    health: {health}");
    stage::start(stage::plan(&[
        ("    address: {plain}", &line),
        ("    address: {tls}", &tls),
    ]))
    .await
}

/// A request for the health of a service, with its frame.
fn request(service: &str) -> Vec<u8> {
    let length = u8::try_from(service.len()).unwrap();
    [&[0x0a, length], service.as_bytes()].concat()
}

fn counter(kind: &str, answer: &str) -> String {
    format!(
        "lightkeeper_health_checks_total{{answer=\"{answer}\",kind=\"{kind}\",listener=\"plain\"}}"
    )
}

fn calls(world: &World) -> Vec<serde_json::Value> {
    world
        .records()
        .into_iter()
        .filter(|record| record["event"] == "call")
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_needs_no_identity_and_leaves_no_record() {
    let world = world("{ path: /healthz, grpc: on }").await;
    let callers = [
        ("HTTP/1.1", world.plain_caller()),
        ("h2c", world.plain_caller().http2()),
        ("TLS", world.caller()),
        ("TLS, HTTP/2", world.caller().http2()),
        (
            "with a token that holds for nothing",
            world.plain_caller().bearer("x"),
        ),
    ];
    let traces = "opentelemetry.proto.collector.trace.v1.TraceService";
    for (status, text, message, probe) in [
        (200, "ready\n", SERVING, 12),
        (503, "not ready\n", NOT_SERVING, 14),
    ] {
        for (what, caller) in &callers {
            let answer = caller.get("/healthz").await.unwrap();
            assert_eq!((answer.status, &*answer.text()), (status, text), "{what}");
            let answer = caller
                .send(Method::HEAD, "/healthz", &[], Vec::new())
                .await
                .unwrap();
            assert_eq!((answer.status, &*answer.text()), (status, ""), "{what}");
            let admin = stage::admin(&world, "/readyz").await;
            assert_eq!(admin.0, status, "{what}: as `/readyz`");
            for (service, expected) in [("", Some(0)), (traces, Some(0)), ("acme.Unknown", Some(5))]
            {
                let answer = caller.grpc(CHECK, &request(service)).await.unwrap();
                assert_eq!(answer.grpc_status(), expected, "{what} {service}");
                let body: &[u8] = if expected == Some(0) { message } else { b"" };
                assert_eq!(answer.body, body, "{what} {service}");
            }
            assert_eq!(
                caller.grpc(CHECK, b"").await.unwrap().body,
                message,
                "{what}: an empty request"
            );
            let answer = caller.grpc("/AWS.ALB/healthcheck", b"").await.unwrap();
            assert_eq!(
                answer.grpc_status(),
                Some(probe),
                "{what}: the probe of a load balancer"
            );
        }
        world
            .gateway
            .shared()
            .draining
            .store(true, Ordering::Relaxed);
    }
    assert_eq!(calls(&world), Vec::<serde_json::Value>::new());
    assert_eq!(world.emulator.heads(), 0);
    for (kind, answer, expected) in [
        ("http", "ready", 6.0),
        ("http", "not_ready", 6.0),
        ("grpc_check", "ready", 9.0),
        ("grpc_check", "unknown", 6.0),
        ("grpc_probe", "not_ready", 3.0),
    ] {
        stage::counts(&world, &counter(kind, answer), expected).await;
    }
}

/// Scenario: hostile or wrong checks. Guarantees: those of a health service are refused with their gRPC code and leave no
/// record; what only looks like a check is a call without an identity, with its record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_checks_are_checks() {
    let world = world("{ path: /healthz, grpc: on }").await;
    let long = [&[0, 0, 0, 8, 3, 0x0a, 0x80, 0x10][..], &[b'a'; 2048]].concat();
    let refused: &[(&str, &[u8], Option<u32>)] = &[
        ("no message", b"", Some(3)),
        ("a cut frame", b"\0\0\0\0\x09\x0a", Some(3)),
        ("two messages", b"\0\0\0\0\0\0\0\0\0\0", Some(3)),
        ("a compressed message", b"\x01\0\0\0\x01\x0a", Some(12)),
        ("a flag that is none", b"\x02\0\0\0\0", Some(3)),
        ("a cut field", b"\0\0\0\0\x02\x0a\x05", Some(3)),
        ("no UTF-8", b"\0\0\0\0\x03\x0a\x01\xff", Some(3)),
        ("another wire type", b"\0\0\0\0\x02\x08\x01", Some(3)),
        ("field 0", b"\0\0\0\0\x02\x02\x00", Some(3)),
        ("a name without end", &long, Some(8)),
        (
            "an unknown field besides",
            b"\0\0\0\0\x04\x0a\0\x10\x01",
            Some(0),
        ),
        (
            "the last name counts",
            b"\0\0\0\0\x05\x0a\x01x\x0a\0",
            Some(0),
        ),
    ];
    let kind = [("content-type", "application/grpc"), ("te", "trailers")];
    let caller = world.plain_caller().http2();
    for path in [CHECK, WATCH] {
        for (what, body, code) in refused {
            if path == WATCH && *code == Some(0) {
                continue;
            }
            let answer = caller
                .send(Method::POST, path, &kind, body.to_vec())
                .await
                .unwrap();
            assert_eq!(
                (answer.status, answer.grpc_status()),
                (200, *code),
                "{path} {what}"
            );
        }
    }
    assert_eq!(calls(&world).len(), 0);
    let (plain, http2) = (world.plain_caller(), world.plain_caller().http2());
    let others: &[(&SampleCaller, Method, &str, &str)] = &[
        (&plain, Method::POST, "/healthz", "text/plain"),
        (&plain, Method::PUT, "/healthz", "text/plain"),
        (&plain, Method::GET, "/healthz?verbose=1", "text/plain"),
        (&plain, Method::GET, "/healthz/", "text/plain"),
        (&plain, Method::GET, "/HEALTHZ", "text/plain"),
        (&plain, Method::GET, "//healthz", "text/plain"),
        (&plain, Method::GET, "/%68ealthz", "text/plain"),
        (&plain, Method::GET, "/healthz/.", "text/plain"),
        (&plain, Method::POST, CHECK, "application/grpc"),
        (&http2, Method::GET, CHECK, "application/grpc"),
        (&http2, Method::POST, CHECK, "application/json"),
        (
            &http2,
            Method::POST,
            "/grpc.health.v1.Health/List",
            "application/grpc",
        ),
        (
            &http2,
            Method::POST,
            "/grpc.health.v1.Health/Check?x",
            "application/grpc",
        ),
        (
            &http2,
            Method::POST,
            "/apps/shop/-/grpc.health.v1.Health/Check",
            "application/grpc",
        ),
    ];
    for (number, (caller, method, path, kind)) in others.iter().enumerate() {
        let answer = caller
            .send(method.clone(), path, &[("content-type", kind)], Vec::new())
            .await
            .unwrap();
        let is_refused = answer.status != 200 || answer.grpc_status().is_some_and(|code| code != 0);
        assert!(is_refused, "{method} {path}: {}", answer.status);
        eventually("its record", || async {
            (calls(&world).len() == number + 1).then_some(())
        })
        .await;
    }
}

/// Scenario: a listener that says nothing, or only half. Guarantees: what it does not say is not served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_off_unless_it_is_asked_for() {
    for (settings, http, grpc) in [
        (None, 401, Some(16)),
        (Some("{ path: /healthz }"), 200, Some(16)),
        (Some("{ grpc: on }"), 401, Some(0)),
        (Some("{ path: /healthz, grpc: off }"), 200, Some(16)),
        (Some("{ path: /, grpc: true }"), 401, Some(0)),
    ] {
        let world = match settings {
            Some(settings) => world(settings).await,
            None => stage::start(stage::plan(&[])).await,
        };
        let answer = world.plain_caller().get("/healthz").await.unwrap();
        assert_eq!(answer.status, http, "{settings:?}");
        let answer = world.plain_caller().grpc(CHECK, b"").await.unwrap();
        assert_eq!(answer.grpc_status(), grpc, "{settings:?}");
        let root = world.plain_caller().get("/").await.unwrap();
        assert_eq!(
            root.status == 200,
            settings.is_some_and(|settings| settings.contains("/,")),
            "{settings:?}"
        );
    }
}

/// A watch that is open, or how it ended.
struct Watching {
    status: Option<u16>,
    body: h2::RecvStream,
    _keep: h2::client::SendRequest<Bytes>,
}

impl Watching {
    async fn open(world: &World, service: &str) -> Self {
        let stream = tokio::net::TcpStream::connect(world.address("plain").unwrap())
            .await
            .unwrap();
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let head =
            Request::post(format!("http://gw{WATCH}")).header("content-type", "application/grpc");
        let (answer, mut body) = send.send_request(head.body(()).unwrap(), false).unwrap();
        let message = request(service);
        let frame = [
            &[0, 0, 0, 0, u8::try_from(message.len()).unwrap()],
            &message[..],
        ]
        .concat();
        body.send_data(frame.into(), true).unwrap();
        let answer = answer.await.unwrap();
        let status = answer
            .headers()
            .get("grpc-status")
            .map(|code| code.to_str().unwrap().parse().unwrap());
        Watching {
            status,
            body: answer.into_body(),
            _keep: send,
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        tokio::time::timeout(stage::PATIENCE, self.body.data())
            .await
            .unwrap()
            .map(Result::unwrap)
    }

    /// The gRPC status at the end.
    async fn end(mut self) -> String {
        assert_eq!(self.next().await, None);
        let trailers = self.body.trailers().await.unwrap().unwrap();
        trailers["grpc-status"].to_str().unwrap().to_owned()
    }
}

/// Scenario: clients that watch while the gateway turns not ready and stops. Guarantees: each is told at once, then of the
/// change, and is sent elsewhere when the listener closes; a stop waits for none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_are_told_of_changes_and_end_with_the_listener() {
    let world = world("{ grpc: on }").await;
    let mut known = Watching::open(&world, "").await;
    let mut unknown = Watching::open(&world, "acme.Unknown").await;
    assert_eq!(known.next().await.unwrap(), SERVING);
    assert_eq!(unknown.next().await.unwrap(), SERVICE_UNKNOWN);
    world
        .gateway
        .shared()
        .draining
        .store(true, Ordering::Relaxed);
    assert_eq!(known.next().await.unwrap(), NOT_SERVING);
    let stopping = world.gateway.clone();
    let stopping = tokio::spawn(async move { stopping.stop().await });
    assert_eq!(
        (known.end().await, unknown.end().await),
        ("14".to_owned(), "14".to_owned())
    );
    tokio::time::timeout(stage::PATIENCE, stopping)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(calls(&world).len(), 0);
}

/// Scenario: one address opens watches without end. Guarantees: it gets so many, and one more is told to do without (a health
/// checking client would take another code for an unhealthy server); calls are served beside them,
/// and each that ends makes room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_are_bounded_for_each_address() {
    let world = world("{ path: /healthz, grpc: on }").await;
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut watching = Watching::open(&world, "").await;
        assert_eq!(watching.next().await.unwrap(), SERVING);
        open.push(watching);
    }
    assert_eq!(Watching::open(&world, "").await.status, Some(12));
    assert_eq!(
        world.plain_caller().get("/healthz").await.unwrap().status,
        200
    );
    let token = world.issuer.token("ann");
    assert_eq!(
        world
            .plain_caller()
            .bearer(&token)
            .get("/.lightkeeper/whoami")
            .await
            .unwrap()
            .status,
        200
    );
    open.clear();
    eventually("room", || async {
        let mut watching = Watching::open(&world, "").await;
        (watching.status.is_none() && watching.next().await? == SERVING).then_some(())
    })
    .await;
}

/// Scenario: HAProxy's check as `option httpchk` sends it, with and without a path, and as the documentation has it set.
/// Guarantees: over HTTP/1.0 it is refused at every path alike, with the words to write, and leaves a record; with a version and
/// a host it is answered, and leaves none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxys_check_is_answered_as_documented() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = world("{ path: /healthz }").await;
    let talk = async |request: &str| {
        let mut stream = tokio::net::TcpStream::connect(world.address("plain").unwrap())
            .await
            .unwrap();
        let mut answer = Vec::new();
        let talking = async {
            stream.write_all(request.as_bytes()).await.unwrap();
            // A refusal may end in a reset.
            let _ = stream.read_to_end(&mut answer).await;
        };
        tokio::time::timeout(stage::PATIENCE, talking)
            .await
            .unwrap();
        String::from_utf8(answer).unwrap()
    };
    let set = "http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host gateway";
    let documented = include_str!("../../docs/behind.md");
    assert!(documented.contains(set));
    let answer = talk("GET /healthz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ready\n"),
        "{answer}"
    );
    assert_eq!(calls(&world), Vec::<serde_json::Value>::new());
    for request in [
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET /healthz HTTP/1.0\r\nHost: gateway\r\n\r\n",
    ] {
        let answer = talk(request).await;
        assert!(answer.starts_with("HTTP/1.1 505 "), "{request:?}: {answer}");
        assert!(
            answer.contains("http-check send ver HTTP/1.1 hdr Host gateway"),
            "{request:?}: {answer}"
        );
    }
    let refused = eventually("three records", || async {
        Some(calls(&world)).filter(|calls| calls.len() == 3)
    })
    .await;
    assert!(
        refused
            .iter()
            .all(|call| call["reason"] == "http_version_unsupported"),
        "{refused:?}"
    );
}
