//! Scenario: too much, too slow, too many, or nothing at all. Guarantees: every bound of the configuration ends
//! it, the client can read why where it is owed an answer, nothing half-sent counts as an export, and others are
//! served meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lightkeeper::otlp::Encoding;
use testkit::{CallFault, Endpoints, Fault, Sample};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::frames::{self, End, Line};
use super::ground::{self, Ground, eventually};
use super::wire;

const QUICK: &str = "body: 64KiB, header_timeout: 400ms, idle_timeout: 500ms, body_timeout: 800ms, \
                     handshake_timeout: 400ms";

/// Far above every bound of `QUICK`, far below the defaults.
const SOON: Duration = Duration::from_secs(10);

/// Bodies over `limits.body`: the refusal can be read even by a client that sends all before it reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_are_refused_readably() {
    let mut ground = Ground::with_limits("body: 64KiB").await;
    let mut faults = Vec::new();
    let large = vec![b'x'; 3 << 20];
    let mut chunked = Vec::new();
    for chunk in large.chunks(10_000) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let create = "POST /public/v0.2/acme/projects/checkout-prod/streams HTTP/1.1\r\n{H}Content-Type: application/json\r\n";
    for (head, framing, body) in [
        (
            "{EXPORT}",
            format!("Content-Length: {}\r\n\r\n", large.len()),
            &large,
        ),
        (
            "{EXPORT}",
            format!("Content-Length: {}\r\n\r\n", 65_537),
            &large[..65_537].to_vec(),
        ),
        (
            "{EXPORT}",
            "Content-Length: 999999999999999999\r\n\r\n".to_owned(),
            &large,
        ),
        (
            "{EXPORT}",
            "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
            &chunked,
        ),
        (
            "{EXPORT}",
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n".to_owned(),
            &large,
        ),
        (
            create,
            format!("Content-Length: {}\r\n\r\n", large.len()),
            &large,
        ),
        (
            create,
            "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
            &chunked,
        ),
    ] {
        let mut stream = TcpStream::connect(ground.plain()).await.unwrap();
        let sent = [ground.fill(&format!("{head}{framing}")).as_bytes(), body].concat();
        let mut read = Vec::new();
        let exchange = async {
            stream.write_all(&sent).await?;
            stream.read_to_end(&mut read).await
        };
        let ended = tokio::time::timeout(Duration::from_secs(8), exchange).await;
        let replies = wire::replies(&read, &[]).unwrap_or_default();
        if !matches!(&ended, Ok(Ok(_))) || replies.len() != 1 || replies[0].status != 413 {
            faults.push(format!("{head}{framing:?}: {ended:?} {replies:?}"));
        }
        let records = ground.calls(1).await;
        if records[0]["reason"] != "body_too_large" {
            faults.push(format!("{head}{framing:?}: {records:?}"));
        }
    }
    for caller in [
        ground.world.plain_caller(),
        ground.world.plain_caller().http2(),
        ground.world.caller(),
        ground.world.caller().http2(),
    ] {
        let caller = caller.bearer(&ground.exporter);
        let kind = [("content-type", "application/x-protobuf")];
        let answer = caller
            .send(http::Method::POST, "/v1/traces", &kind, large.clone())
            .await;
        if !matches!(&answer, Ok(answer) if answer.status == 413) {
            faults.push(format!("{answer:?}"));
        }
        let answer = caller
            .grpc(
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                &large,
            )
            .await;
        if !matches!(&answer, Ok(answer) if answer.grpc_status() == Some(8)) {
            faults.push(format!("gRPC: {answer:?}"));
        }
    }
    for captured in ground.world.emulator.captured() {
        if captured.complete {
            faults.push(format!(
                "upstream took {} bytes of {}",
                captured.body.len(),
                captured.path
            ));
        }
    }
    ground.calls(8).await;
    ground.alive().await;
    ground::none(&faults);
}

/// What a slow or silent client sends, the statuses that are right (0: closed without one), and the reason.
const SLOW: &[(&str, &[u16], &str)] = &[
    ("", &[0], ""),
    ("G", &[408], "head_timeout"),
    ("P", &[0, 408], "head_timeout|preface_timeout"),
    (
        "PRI * HTTP/2.0\r\n",
        &[0, 408],
        "head_timeout|preface_timeout",
    ),
    ("GET / HTTP/1.1\r\n", &[408], "head_timeout"),
    ("{GET}", &[408], "head_timeout"),
    ("{GET}X: y\r\n\r", &[408], "head_timeout"),
    ("{EXPORT}Content-Length: 5\r\n", &[408], "head_timeout"),
    ("{EXPORT}Content-Length: 5\r\n\r\n", &[408], "body_timeout"),
    (
        "{EXPORT}Content-Length: 5\r\n\r\nhell",
        &[408],
        "body_timeout",
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n",
        &[408],
        "body_timeout",
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        &[408],
        "body_timeout",
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        &[408],
        "body_timeout",
    ),
    (
        "{EXPORT}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        &[408],
        "body_timeout",
    ),
    (
        "POST /public/v0.2/acme/projects/checkout-prod/streams HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\n",
        &[408],
        "body_timeout",
    ),
    ("{GET}\r\n", &[200], "ok"),
    ("{GET}\r\nG", &[200, 408], "ok"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_and_drips_end() {
    let mut ground = Ground::with_limits(QUICK).await;
    let mut faults = Vec::new();
    for (text, statuses, reason) in SLOW {
        let sent = ground.fill(text);
        let stream = TcpStream::connect(ground.plain()).await.unwrap();
        let began = Instant::now();
        let talk = wire::converse(stream, &[sent.as_bytes()], SOON).await;
        let replies = wire::replies(&talk.bytes, &[]).unwrap_or_default();
        let found: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        let fits = found == *statuses
            || found.is_empty() && statuses.contains(&0)
            || statuses.contains(&0) && statuses.ends_with(&found);
        if !talk.closed || !fits {
            faults.push(format!(
                "{text:?}: {found:?}, closed {} after {:?}",
                talk.closed,
                began.elapsed()
            ));
        }
        if !reason.is_empty() {
            let records = ground.records_of_all(statuses.len()).await;
            let found = records
                .first()
                .and_then(|record| record["reason"].as_str())
                .unwrap_or_default();
            if !reason.split('|').any(|reason| reason == found) {
                faults.push(format!(
                    "{text:?}: recorded as {found:?} ({} records)",
                    records.len()
                ));
            }
        }
    }
    // Drips: a byte at a time never extends a deadline.
    for (text, drip, reason) in [
        ("GET /", "aaaaaaaaaa", "head_timeout"),
        ("{GET}X: ", "aaaaaaaaaa", "head_timeout"),
        (
            "{EXPORT}Content-Length: 60000\r\n\r\n",
            "aaaaaaaaaa",
            "body_timeout",
        ),
        (
            "{EXPORT}Transfer-Encoding: chunked\r\n\r\n",
            "1\r\na\r\n",
            "body_timeout",
        ),
        (
            "POST /public/v0.2/acme/projects/checkout-prod/streams HTTP/1.1\r\n{H}Content-Length: 60000\r\n\r\n",
            "aaaaaaa",
            "body_timeout",
        ),
    ] {
        let ended = drip_at(
            ground.plain(),
            ground.fill(text).as_bytes(),
            drip.as_bytes(),
        )
        .await;
        if ended > SOON {
            faults.push(format!("{text:?} dripped for {ended:?}"));
        }
        let records = ground.calls(1).await;
        if records
            .first()
            .is_none_or(|record| record["reason"] != reason)
        {
            faults.push(format!("{text:?} dripping: {records:?}"));
        }
    }
    if ground
        .world
        .emulator
        .captured()
        .iter()
        .any(|captured| captured.complete)
    {
        faults.push("something whole went upstream".to_owned());
    }
    ground.alive().await;
    ground::none(&faults);
}

/// Sends a byte every 20 ms until the connection ends; says after how long.
async fn drip_at(address: SocketAddr, head: &[u8], drip: &[u8]) -> Duration {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let began = Instant::now();
    let dripping = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        to.write_all(head).await?;
        for byte in drip.iter().cycle() {
            pace.tick().await;
            to.write_all(&[*byte]).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let mut read = Vec::new();
    let reading = from.read_to_end(&mut read);
    let either = async {
        tokio::select! {
            _ = dripping => {}
            _ = reading => {}
        }
    };
    let _late = tokio::time::timeout(SOON * 2, either).await;
    began.elapsed()
}

/// The same over HTTP/2: connections without requests, unfinished header blocks, bodies that stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_silence_ends() {
    let mut ground = Ground::with_limits(QUICK).await;
    let mut faults = Vec::new();
    let bearer = format!("Bearer {}", ground.exporter);
    let fields = |kind: &'static str, path: &'static str| {
        vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "gw"),
            (":path", path),
            ("content-type", kind),
            ("authorization", bearer.as_str()),
        ]
    };
    let export = frames::block(&fields("application/x-protobuf", "/v1/traces"));
    let grpc = frames::block(&fields(
        "application/grpc",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    ));
    let cases: [(&str, Vec<u8>, bool); 7] = [
        ("nothing after the preface", Vec::new(), false),
        (
            "an unfinished header block",
            frames::frame(frames::HEADERS, 0, 1, &export),
            false,
        ),
        (
            "half a frame",
            frames::frame(frames::HEADERS, 4, 1, &export)[..20].to_vec(),
            false,
        ),
        (
            "a body that never comes",
            frames::frame(frames::HEADERS, 4, 1, &export),
            true,
        ),
        (
            "a body that stops",
            [
                frames::frame(frames::HEADERS, 4, 1, &export),
                frames::frame(frames::DATA, 0, 1, b"hello"),
            ]
            .concat(),
            true,
        ),
        (
            "a gRPC body that never comes",
            frames::frame(frames::HEADERS, 4, 1, &grpc),
            true,
        ),
        (
            "a gRPC message that stops",
            [
                frames::frame(frames::HEADERS, 4, 1, &grpc),
                frames::frame(frames::DATA, 0, 1, b"\0\0\0\0\x05he"),
            ]
            .concat(),
            true,
        ),
    ];
    for (what, bytes, answered) in cases {
        let mut line = Line::open(ground.plain()).await;
        line.send(&bytes).await;
        let began = Instant::now();
        if answered {
            let end = line.end_of(1, SOON).await;
            if !matches!(end, End::Status(408 | 200) | End::Reset(_)) {
                faults.push(format!("{what}: {end} after {:?}", began.elapsed()));
            }
            let records = ground.calls(1).await;
            if records
                .first()
                .is_none_or(|record| record["reason"] != "body_timeout")
            {
                faults.push(format!("{what}: {records:?}"));
            }
        }
        if !line.drain(SOON).await {
            faults.push(format!("{what}: still open after {:?}", began.elapsed()));
        }
    }
    if ground
        .world
        .emulator
        .captured()
        .iter()
        .any(|captured| captured.complete)
    {
        faults.push("something whole went upstream".to_owned());
    }
    ground.alive().await;
    ground::none(&faults);
}

/// A client that asks for much and reads nothing gives its place back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_end() {
    let mut ground = Ground::with_limits(QUICK).await;
    let body = format!(r#"{{"data":[{{"id":"{}"}}]}}"#, "0".repeat(20 << 20));
    ground.world.emulator.fail(
        Endpoints::All,
        Fault::Say {
            status: 200,
            content_type: "application/json",
            body,
        },
    );
    let mut faults = Vec::new();
    let ask = "GET /public/v0.2/acme/projects/shop-prod/streams HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {S}\r\n\r\n";
    let steward = ground.world.issuer.token("sam");
    let mut quiet = TcpStream::connect(ground.plain()).await.unwrap();
    quiet
        .write_all(ask.replace("{S}", &steward).as_bytes())
        .await
        .unwrap();
    let mut export = TcpStream::connect(ground.plain()).await.unwrap();
    export
        .write_all(
            ground
                .fill("{EXPORT}Content-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0")
                .as_bytes(),
        )
        .await
        .unwrap();
    // A window of nothing.
    let mut line = Line::open_with(ground.plain(), &[(4, 0)]).await;
    let bearer = format!("Bearer {steward}");
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "gw"),
        // Not the same question: it would be asked once for both.
        (":path", "/public/v0.2/acme/projects/shop-prod/conditions"),
        ("authorization", bearer.as_str()),
    ];
    line.request(1, &fields, None).await;
    let core = ground.world.gateway.shared().clone();
    eventually("three calls", SOON, || ground.world.emulator.heads() >= 3).await;
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(20));
    while core.in_flight.load(std::sync::atomic::Ordering::Relaxed) > 0
        && began.elapsed() < SOON * 2
    {
        look.tick().await;
    }
    let left = core.in_flight.load(std::sync::atomic::Ordering::Relaxed);
    if left > 0 {
        faults.push(format!(
            "{left} calls wait for their readers after {:?}",
            began.elapsed()
        ));
    }
    let records = ground.calls(3).await;
    if records.len() != 3 {
        faults.push(format!("{records:?}"));
    }
    drop((quiet, export, line));
    ground.world.emulator.heal();
    ground.alive().await;
    ground::none(&faults);
}

/// Handshakes that stall, garble or speak something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_end_and_are_recorded() {
    let mut ground = Ground::with_limits(QUICK).await;
    let address = ground.world.address("gateway").unwrap();
    let mut faults = Vec::new();
    let hello = [
        &b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"[..],
        &[7; 32],
    ]
    .concat();
    for (what, bytes, reason) in [
        ("silence", &b""[..], "handshake_timeout"),
        ("half a hello", &hello, "handshake_timeout"),
        ("a byte", b"\x16", "handshake_timeout"),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n", "handshake_failed"),
        ("a preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "handshake_failed"),
        ("garbage", &[0xff; 400], "handshake_failed"),
        ("zeros", &[0; 400], "handshake_failed"),
        (
            "SSLv2",
            b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x03\x00\x80\x04\x00\x80\x05",
            "handshake_failed",
        ),
        ("a large record", b"\x16\x03\x01\xff\xff\x01\x00\xff\xff", "handshake_failed"),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x28", "handshake_failed"),
        ("data first", b"\x17\x03\x03\x00\x05hello", "handshake_failed"),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let talk = wire::converse(stream, &[bytes], SOON).await;
        if !talk.closed || talk.bytes.starts_with(b"HTTP") {
            faults.push(format!("{what}: {talk:?}"));
        }
        let records = ground.records(1, "handshake_failed").await;
        if records.first().is_none_or(|record| record["reason"] != reason) {
            faults.push(format!("{what}: {records:?}"));
        }
    }
    ground.alive().await;
    ground::none(&faults);
}

/// More connections than there are places, in total and from one address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_counted() {
    for (limits, reason) in [
        (
            "connections: 8, connections_per_address: 8",
            "connections_total",
        ),
        (
            "connections: 100, connections_per_address: 8",
            "connections_per_address",
        ),
    ] {
        let mut ground = Ground::with_limits(limits).await;
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(TcpStream::connect(ground.plain()).await.unwrap());
        }
        let core = ground.world.gateway.shared().clone();
        eventually("eight places taken", SOON, || {
            core.connection_limiter.total() == 8
        })
        .await;
        for _ in 0..20 {
            let talk = wire::talk(ground.plain(), ground.good().as_bytes()).await;
            assert!(talk.closed && talk.bytes.is_empty(), "{talk:?}");
        }
        let records = ground.records(20, "connection_refused").await;
        assert_eq!(records.len(), 20);
        assert!(
            records.iter().all(|record| record["reason"] == reason),
            "{records:?}"
        );
        // Those inside are served, and a place given back is a place.
        held[0].write_all(ground.good().as_bytes()).await.unwrap();
        let mut read = Vec::new();
        held[0].read_to_end(&mut read).await.unwrap();
        assert!(read.starts_with(b"HTTP/1.1 200"));
        held.clear();
        eventually("all places given back", SOON, || {
            core.connection_limiter.total() == 0
        })
        .await;
        ground.alive().await;
    }
}

/// A client that ends its side after asking still gets its answer; one that vanishes costs nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_are_served_and_given_back() {
    let mut ground = Ground::with_limits(QUICK).await;
    for text in [
        "{GET}\r\n",
        "{EXPORT}Content-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0",
    ] {
        let stream = TcpStream::connect(ground.plain()).await.unwrap();
        let talk = wire::hang_up_after(stream, ground.fill(text).as_bytes()).await;
        let replies = wire::replies(&talk.bytes, &[]).unwrap();
        assert_eq!(
            replies.iter().map(|reply| reply.status).collect::<Vec<_>>(),
            [200],
            "{text}"
        );
    }
    ground.calls(2).await;
    ground
        .world
        .emulator
        .fail(Endpoints::All, Fault::Slow(Duration::from_secs(1)));
    for _ in 0..20 {
        let mut stream = TcpStream::connect(ground.plain()).await.unwrap();
        stream
            .write_all(
                ground
                    .fill("{EXPORT}Content-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0")
                    .as_bytes(),
            )
            .await
            .unwrap();
        stream.set_zero_linger().unwrap();
    }
    let core = ground.world.gateway.shared().clone();
    eventually("places given back", SOON, || {
        core.connection_limiter.total() == 0
    })
    .await;
    assert_eq!(ground.calls(20).await.len(), 20);
    ground.world.emulator.heal();
    ground.alive().await;
}

/// What one hostile head costs is given back: many of them do not add up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_heads_do_not_add_up() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let mut ground = Ground::with_limits("header_timeout: 10s").await;
    let half = format!("{}X: {}", ground.fill("{GET}"), "y".repeat(40_000));
    let before = resident();
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(ground.plain()).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let during = resident().saturating_sub(before);
    // 300 heads of 64 KiB at most, twice over for growth, and what other tests of this process hold meanwhile.
    assert!(
        during < 200 << 20,
        "{} MiB for 300 half heads",
        during >> 20
    );
    drop(held);
    let core = ground.world.gateway.shared().clone();
    eventually("places given back", SOON * 2, || {
        core.connection_limiter.total() == 0
    })
    .await;
    ground.alive().await;
}

/// Header blocks over HTTP/2 that begin and do not end: in one frame, in several, dripping. Guarantees: the connection ends
/// by `header_timeout`, like one of HTTP/1 with half a head; one whose block came whole in time goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_header_blocks_are_late() {
    let mut ground = Ground::with_limits("header_timeout: 300ms, idle_timeout: 1h").await;
    let block = frames::block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "gw"),
        (":path", "/x"),
    ]);
    let (first, rest) = block.split_at(5);
    let half = frames::frame(
        frames::HEADERS,
        frames::END_STREAM | frames::END_HEADERS,
        1,
        &block,
    );
    let mut faults = Vec::new();
    for (what, begin, drip) in [
        ("half a frame", half[..12].to_vec(), None),
        (
            "no end of the block",
            frames::frame(frames::HEADERS, frames::END_STREAM, 1, first),
            None,
        ),
        (
            "an empty beginning",
            frames::frame(frames::HEADERS, frames::END_STREAM, 1, &[]),
            None,
        ),
        (
            "a slow frame",
            frames::frame(frames::HEADERS, 5, 1, &[0x40; 5000])[..12].to_vec(),
            Some(0x40),
        ),
    ] {
        let mut line = Line::open(ground.plain()).await;
        line.send(&begin).await;
        let until = Instant::now() + SOON;
        let mut is_over = false;
        while !is_over && Instant::now() < until {
            if let Some(drip) = drip {
                line.send(&[drip]).await;
            }
            is_over = line.drain(Duration::from_millis(20)).await;
        }
        if !is_over {
            faults.push(format!("{what}: goes on"));
        }
    }
    ground::none(&faults);
    let mut line = Line::open(ground.plain()).await;
    for stream in [1, 3] {
        line.send(&frames::frame(
            frames::HEADERS,
            frames::END_STREAM,
            stream,
            first,
        ))
        .await;
        line.send(&frames::frame(
            frames::CONTINUATION,
            frames::END_HEADERS,
            stream,
            rest,
        ))
        .await;
        assert!(
            matches!(line.end_of(stream, SOON).await, End::Status(_)),
            "stream {stream}"
        );
        // No block is begun: the connection may be at rest for longer.
        assert!(!line.drain(Duration::from_millis(600)).await);
    }
    ground.alive().await;
}

/// A backend that answers before it has read the body, or never, over each protocol.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_answers_take_nothing_with_them() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    for status in [429, 500, 503] {
        ground
            .world
            .emulator
            .fail(Endpoints::All, Fault::EarlyStatus { status });
        let large = Sample::traces("checkout", 2000);
        for caller in [
            ground.world.plain_caller(),
            ground.world.plain_caller().http2(),
        ] {
            let answer = caller
                .bearer(&ground.exporter)
                .export(&large, Encoding::Protobuf)
                .await;
            match answer {
                Ok(answer) if answer.status == status || answer.status == 502 => {}
                Err(CallFault::NoAnswer(cause)) => {
                    faults.push(format!("{status}: no answer: {cause}"))
                }
                other => faults.push(format!("{status}: {other:?}")),
            }
        }
    }
    ground.world.emulator.heal();
    ground.calls(6).await;
    ground.alive().await;
    ground::none(&faults);
}

/// Scenario: an export's body is still coming when its connection has reached its age. Guarantees: the call has the time that
/// bodies have; it is served, and its answer ends the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_upload_outlives_its_connections_age() {
    let limits = "connection_age: 200ms, drain_timeout: 100ms, body_timeout: 1m";
    let mut ground = Ground::with_limits(limits).await;
    let body = Sample::traces("checkout", 1).protobuf();
    let head = ground.fill(&format!("{{EXPORT}}Content-Length: {}\r\n\r\n", body.len()));
    let mut client = TcpStream::connect(ground.plain()).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / body.len() as u32);
    for byte in &body {
        pace.tick().await;
        client.write_all(&[*byte]).await.unwrap();
    }
    // The pace is what makes this case: a body that came sooner proves nothing.
    assert!(began.elapsed() > Duration::from_millis(400));
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, client.read_to_end(&mut answer))
        .await
        .expect("an end")
        .unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("Connection: close"),
        "{answer}"
    );
    let record = ground.calls(1).await.remove(0);
    assert_eq!(record["reason"], "ok", "{record}");
}

/// Scenario: a client rests longer than its connection may live, then asks. Guarantees: it is answered, and told that this was
/// the last answer: a request that meets the end of its connection would be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_behind_its_connections_age_is_answered() {
    let mut ground = Ground::with_limits("connection_age: 100ms").await;
    let request = ground.fill("{GET}\r\n");
    let mut client = TcpStream::connect(ground.plain()).await.unwrap();
    // The pace is what makes this case: each request but the first comes after the connection's age.
    let mut pace = tokio::time::interval(Duration::from_millis(500));
    let mut answers = Vec::new();
    for last in [false, true] {
        pace.tick().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let reading = async {
            while !answer.ends_with(b"}") {
                assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "no answer");
            }
        };
        tokio::time::timeout(SOON, reading).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(answer.contains("Connection: close"), last, "{answer}");
        answers.push(answer);
    }
    let mut rest = Vec::new();
    let end = tokio::time::timeout(SOON, client.read_to_end(&mut rest));
    assert_eq!(end.await.unwrap().unwrap(), 0);
    assert_eq!(ground.calls(2).await.len(), 2);
    ground.alive().await;
}

/// Scenario: connections that end within a head. Guarantees: each leaves a record; a client that still reads is told; what
/// ends between two requests leaves none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_breaks_off_is_told() {
    let mut ground = Ground::with_limits("connections: 40").await;
    for (before, begun) in [
        ("", "POST /v1/traces HT"),
        ("", "GET / HTTP/1.1\r\nHost: a\r\n"),
        ("{GET}\r\n", "GET /a HTTP/1.1\r\nHost"),
        ("{GET}\r\n", "\r\n"),
    ] {
        let mut client = TcpStream::connect(ground.plain()).await.unwrap();
        let bytes = ground.fill(before) + begun;
        client.write_all(bytes.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        let reading = client.read_to_string(&mut answer);
        tokio::time::timeout(SOON, reading).await.unwrap().unwrap();
        let is_head = begun != "\r\n";
        assert_eq!(
            answer.contains("HTTP/1.1 400"),
            is_head,
            "{begun:?}: {answer}"
        );
        let whole = usize::from(!before.is_empty());
        let records = ground.records_of_all(whole + usize::from(is_head)).await;
        assert_eq!(records.len(), whole + usize::from(is_head), "{records:?}");
        let is_told = records
            .iter()
            .any(|record| record["reason"] == "head_truncated");
        assert_eq!(is_told, is_head, "{records:?}");
    }
    ground.alive().await;
}
