//! Scenario: callers who take nothing of their answers, with and without an identity, over both protocols. Guarantees:
//! what is held of an answer is held once and counted; one address has a bounded number of calls at once, health checks
//! included, and is refused alone; a small answer waits for seconds only, and then its stream is reset, never ended.

use std::sync::atomic::Ordering;
use std::time::Duration;

use testkit::WorldPlan;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::frames::{self, Line, frame};
use super::ground::{Ground, eventually};

/// Above the seconds of a small answer, below the timeout of a body.
const SOON: Duration = Duration::from_secs(20);
const HEADER_TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;
const CANCEL: u32 = 8;
const MIB: usize = 1 << 20;

/// A backend that answers all with this body, once it may.
async fn backend(body: String, may: watch::Receiver<bool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer: std::sync::Arc<[u8]> = [head.as_bytes(), body.as_bytes()].concat().into();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, mut may) = (answer.clone(), may.clone());
            tokio::spawn(async move {
                let mut read = Vec::new();
                while memchr::memmem::find(&read, b"\r\n\r\n").is_none() {
                    if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let _ = may.wait_for(|may| *may).await;
                let _gone = stream.write_all(&answer).await;
            });
        }
    });
    url
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Scenario: 64 callers over HTTP/1.1 share one large answer, and none reads it. Guarantees: no caller has a copy of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_is_held_once() {
    const READERS: usize = 64;
    let (answer, may) = watch::channel(false);
    let body = format!(r#"{{"data":[{{"id":"{}"}}]}}"#, "0".repeat(8 * MIB));
    let url = backend(body, may).await;
    let config = testkit::world::CONFIG.replace("\"{query}\"", &url);
    let ground = Ground::plan(WorldPlan {
        config,
        ..WorldPlan::default()
    })
    .await;
    let core = ground.world.gateway.shared().clone();
    let steward = ground.world.issuer.token("sam");
    let head = format!(
        "GET /public/v0.2/acme/projects/shop-prod/streams HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {steward}\r\n\r\n"
    );
    let before = resident();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut reader = socket.connect(ground.plain()).await.unwrap();
        reader.write_all(head.as_bytes()).await.unwrap();
        readers.push(reader);
    }
    eventually("all have asked", SOON, || {
        core.in_flight.load(Ordering::Relaxed) == READERS as u64
    })
    .await;
    answer.send_replace(true);
    for reader in &readers {
        let began = tokio::time::timeout(SOON, reader.peek(&mut [0])).await;
        assert_eq!(began.expect("an answer begins").unwrap(), 1);
    }
    let more = resident().saturating_sub(before);
    // Half of what copies would take; the rest is room for what other tests of this process hold meanwhile.
    assert!(
        more < (READERS * 4 * MIB) as u64,
        "{} MiB for {READERS} readers of 8 MiB",
        more >> 20
    );
    drop(readers);
    eventually("calls ended", SOON, || {
        core.in_flight.load(Ordering::Relaxed) == 0
    })
    .await;
}

const HEALTH: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "gw"),
    (":path", "/healthz"),
];
const STRANGER: [(&str, &str); 5] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "gw"),
    (":path", "/v1/traces"),
    ("content-type", "application/json"),
];

async fn status_at(ground: &Ground, address: &str, path: &str) -> String {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    let mut stream: TcpStream = socket.connect(ground.plain()).await.unwrap();
    let head = ground.fill(&format!(
        "GET {path} HTTP/1.1\r\n{{H}}Connection: close\r\n\r\n"
    ));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    String::from_utf8_lossy(&answer).chars().take(12).collect()
}

/// Scenario: four connections of one address, ten streams each that give no window, where an address may have twenty calls
/// at once: health checks, and exports without a credential. Guarantees: twenty are held; the others are refused at once,
/// with 429 and the code of a share; callers at another address are served; small answers do not wait for
/// `limits.body_timeout`, and their streams are reset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_a_bounded_number_of_calls() {
    let limits = "limits: { connections: 40, connections_per_address: 20, streams: 10, body_timeout: 1h, penalty: off }";
    let mut plan = WorldPlan {
        more: limits.to_owned(),
        ..WorldPlan::default()
    };
    let health = "    address: {plain}\n    health: { path: /healthz }";
    assert!(plan.config.contains("    address: {plain}"));
    plan.config = plan.config.replace("    address: {plain}", health);
    let mut ground = Ground::plan(plan).await;
    let core = ground.world.gateway.shared().clone();
    for fields in [&HEALTH[..], &STRANGER] {
        let is_call = fields.len() == STRANGER.len();
        let mut lines = Vec::new();
        for place in 0..4_u32 {
            // Without a table, each status stands in its own block.
            let settings = [(HEADER_TABLE_SIZE, 0), (INITIAL_WINDOW_SIZE, 0)];
            let mut line = Line::open_with(ground.plain(), &settings).await;
            for stream in 0..10 {
                line.request(2 * stream + 1, fields, None).await;
            }
            let is_within = place < 2;
            let all = line.until(SOON, |line| match is_within {
                true => line.statuses.len() == 10,
                // Where nothing of the refusal can be taken, the reset may come alone.
                false => line.resets.len() == 10,
            });
            assert!(
                all.await,
                "{fields:?}: {:?} {:?}",
                line.statuses,
                line.resets
            );
            let refused = |(_, status): &(u32, Option<u16>)| *status == Some(429);
            let right = line
                .statuses
                .iter()
                .all(|status| refused(status) != is_within);
            assert!(
                right && line.resets.is_empty() == is_within,
                "{fields:?}: {place}: {:?}",
                line.statuses
            );
            lines.push(line);
        }
        eventually("those that are refused end", SOON, || {
            core.in_flight.load(Ordering::Relaxed) <= 20
        })
        .await;
        for path in ["/healthz", "/.lightkeeper/whoami"] {
            assert_eq!(
                status_at(&ground, "127.0.0.2:0", path).await,
                "HTTP/1.1 200",
                "{path} beside {fields:?}"
            );
        }
        for mut line in lines {
            let reset = line.until(SOON, |line| line.resets.len() == 10).await;
            assert!(
                reset && line.resets.iter().all(|(_, code)| *code == CANCEL),
                "{:?}",
                line.resets
            );
            assert_eq!((line.data_bytes, line.goaway), (0, None), "{fields:?}");
        }
        eventually("calls ended", SOON, || {
            core.in_flight.load(Ordering::Relaxed) == 0
        })
        .await;
        let records = ground.calls(if is_call { 41 } else { 1 }).await;
        let spent = records
            .iter()
            .filter(|record| record["reason"] == "memory_share_spent")
            .count();
        assert_eq!(spent, if is_call { 20 } else { 0 }, "{records:?}");
        ground.alive().await;
    }
}

/// Scenario: an export over gRPC is answered, and its caller gives no window. Guarantees: the stream is reset; it never ends
/// as if it had been answered, without a status. The record says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_taken_is_never_ended() {
    let mut ground = Ground::with_limits("body_timeout: 500ms").await;
    let bearer = format!("Bearer {}", ground.exporter);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gw"),
        (
            ":path",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        ),
        ("content-type", "application/grpc"),
        ("authorization", bearer.as_str()),
    ];
    let mut line = Line::open_with(ground.plain(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
    line.request(1, &fields, Some(b"\0\0\0\0\x06\n\x04\x12\x02\x12\0"))
        .await;
    assert!(
        line.until(SOON, |line| !line.resets.is_empty() || line.data_frames > 0)
            .await
    );
    assert_eq!((&*line.resets, line.data_frames), (&[(1, CANCEL)][..], 0));
    let record = ground.calls(1).await.remove(0);
    assert_eq!(
        (&record["reason"], &record["upstream_status"]),
        (&"client_closed".into(), &200.into()),
        "{record}"
    );
    // The connection goes on.
    line.send(&frame(frames::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]))
        .await;
    line.request(3, &fields, Some(b"\0\0\0\0\x06\n\x04\x12\x02\x12\0"))
        .await;
    assert!(
        line.until(SOON, |line| line.data_bytes > 0).await,
        "{:?}",
        line.resets
    );
    ground.alive().await;
}

/// Asks for all streams of a project, whose answer the backend decides.
fn asking(ground: &Ground, more: &str) -> String {
    let steward = ground.world.issuer.token("sam");
    format!(
        "GET /public/v0.2/acme/projects/shop-prod/streams HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {steward}\r\n{more}\r\n"
    )
}

/// A connection that takes little at once.
async fn narrow(ground: &Ground) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(ground.plain()).await.unwrap()
}

/// A backend's world whose answers have this size.
async fn answering(bytes: usize, limits: &str) -> Ground {
    let body = format!(r#"{{"data":[{{"id":"{}"}}]}}"#, "0".repeat(bytes));
    let url = backend(body, watch::channel(true).1).await;
    Ground::plan(WorldPlan {
        config: testkit::world::CONFIG.replace("\"{query}\"", &url),
        more: format!("limits: {{ {limits} }}"),
        ..WorldPlan::default()
    })
    .await
}

/// Scenario: a client that asks for the connection's end sends more behind its request, and reads its answer of 3 MiB
/// slowly. Guarantees: the whole answer arrives: bytes that no request takes do not reset the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_behind_the_last_request_destroys_no_answer() {
    let mut ground = answering(3 * MIB, "connections: 40").await;
    for behind in ["x", "\r\n", "GET / HTTP/1.1\r\nHost: gw\r\n\r\n"] {
        let mut client = narrow(&ground).await;
        let request = asking(&ground, "Connection: close\r\n") + behind;
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut read, mut space) = (0, vec![0; 16 << 10]);
        let reading = async {
            loop {
                match client.read(&mut space).await {
                    Ok(0) => return Ok(()),
                    Ok(count) => read += count,
                    Err(error) => return Err(error),
                }
            }
        };
        let ended = tokio::time::timeout(SOON, reading).await.expect("an end");
        assert!(ended.is_ok(), "{behind:?}: {ended:?} after {read} bytes");
        assert!(read > 3 * MIB, "{behind:?}: {read} bytes");
        let record = ground.calls(1).await.remove(0);
        assert_eq!(record["reason"], "ok", "{behind:?}: {record}");
    }
    ground.alive().await;
}

/// Scenario: the gateway stops while a client takes nothing of an answer that has begun, over HTTP/1.1 and over HTTP/2.
/// Guarantees: the drain ends in its time, and no record says that the call went well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_cut_off_in_its_answer_is_no_success() {
    let limits = "drain_delay: 0s, drain_timeout: 300ms, body_timeout: 1h";
    let mut ground = answering(8 * MIB, limits).await;
    let mut client = narrow(&ground).await;
    let request = asking(&ground, "");
    client.write_all(request.as_bytes()).await.unwrap();
    let steward = format!("Bearer {}", ground.world.issuer.token("sam"));
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "gw"),
        (":path", "/public/v0.2/acme/projects/shop-prod/streams"),
        ("authorization", steward.as_str()),
    ];
    let mut line = Line::open_with(ground.plain(), &[(INITIAL_WINDOW_SIZE, 1000)]).await;
    line.request(1, &fields, None).await;
    assert!(line.until(SOON, |line| line.data_bytes > 0).await);
    let began = tokio::time::timeout(SOON, client.peek(&mut [0])).await;
    assert_eq!(began.expect("an answer begins").unwrap(), 1);
    let gateway = ground.world.gateway.clone();
    tokio::time::timeout(SOON, gateway.stop())
        .await
        .expect("the stop ends");
    for record in ground.calls(2).await {
        // Over HTTP/2 the end of the connection may be seen before the end of the call.
        let is_told = ["cut_off", "client_closed"].contains(&record["reason"].as_str().unwrap());
        assert!(is_told && record["decision"] == "allow", "{record}");
    }
}
