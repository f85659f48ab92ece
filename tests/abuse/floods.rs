//! Scenario: HTTP/2 frames in numbers or forms that cost more to take than to send. Guarantees: each flood is
//! answered, bounded or ended, few requests of it reach the backend, and the gateway serves on.

use std::time::Duration;

use super::frames::{self, Line, frame};
use super::ground::{self, Ground};

const SOON: Duration = Duration::from_secs(20);

fn export(ground: &Ground, kind: &str, path: &str) -> Vec<u8> {
    let bearer = format!("Bearer {}", ground.exporter);
    frames::block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gw"),
        (":path", path),
        ("content-type", kind),
        ("authorization", bearer.as_str()),
    ])
}

const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Frames that break the connection's rules: it ends, for a reason, and the reason is recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_end_the_connection() {
    let mut ground = Ground::new().await;
    let head = export(&ground, "application/x-protobuf", "/v1/traces");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("DATA on stream 0", frame(frames::DATA, 0, 0, b"x")),
        ("HEADERS on stream 0", frame(frames::HEADERS, 5, 0, &head)),
        (
            "HEADERS on an even stream",
            frame(frames::HEADERS, 5, 2, &head),
        ),
        ("DATA on an idle stream", frame(frames::DATA, 0, 7, b"x")),
        (
            "RST_STREAM on an idle stream",
            frame(frames::RST_STREAM, 0, 7, &[0; 4]),
        ),
        (
            "RST_STREAM on stream 0",
            frame(frames::RST_STREAM, 0, 0, &[0; 4]),
        ),
        (
            "RST_STREAM too short",
            frame(frames::RST_STREAM, 0, 1, &[0; 3]),
        ),
        (
            "WINDOW_UPDATE of nothing",
            frame(frames::WINDOW_UPDATE, 0, 0, &[0; 4]),
        ),
        (
            "WINDOW_UPDATE too large",
            frame(frames::WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]),
        ),
        (
            "WINDOW_UPDATE too short",
            frame(frames::WINDOW_UPDATE, 0, 0, &[0; 3]),
        ),
        ("SETTINGS on a stream", frame(frames::SETTINGS, 0, 1, &[])),
        (
            "SETTINGS of odd length",
            frame(frames::SETTINGS, 0, 0, &[0; 5]),
        ),
        (
            "SETTINGS window too large",
            frame(frames::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
        ),
        (
            "SETTINGS frame size too small",
            frame(frames::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        ),
        (
            "SETTINGS push of 2",
            frame(frames::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
        ),
        (
            "SETTINGS acknowledged with a payload",
            frame(frames::SETTINGS, 1, 0, &[0; 6]),
        ),
        ("PING on a stream", frame(frames::PING, 0, 1, &[0; 8])),
        ("PING too short", frame(frames::PING, 0, 0, &[0; 7])),
        (
            "PUSH_PROMISE from a client",
            frame(frames::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2]),
        ),
        (
            "CONTINUATION from nowhere",
            frame(frames::CONTINUATION, 4, 1, &head),
        ),
        (
            "CONTINUATION of another stream",
            [
                frame(frames::HEADERS, 1, 1, &head),
                frame(frames::CONTINUATION, 4, 3, &[]),
            ]
            .concat(),
        ),
        (
            "DATA inside a header block",
            [
                frame(frames::HEADERS, 0, 1, &head),
                frame(frames::DATA, 1, 1, b"x"),
            ]
            .concat(),
        ),
        (
            "PING inside a header block",
            [
                frame(frames::HEADERS, 0, 1, &head),
                frame(frames::PING, 0, 0, &[0; 8]),
            ]
            .concat(),
        ),
        (
            "HEADERS with too much padding",
            frame(frames::HEADERS, 0xd, 1, &[255, 0x82]),
        ),
        (
            "a header block that is none",
            frame(frames::HEADERS, 5, 1, &[0xff; 20]),
        ),
        (
            "a table size above the limit",
            frame(frames::HEADERS, 5, 1, &[0x3f, 0xff, 0xff, 0xff, 0x7f]),
        ),
        (
            "an index beyond the table",
            frame(frames::HEADERS, 5, 1, &[0xfe]),
        ),
        (
            "a Huffman code that is none",
            frame(
                frames::HEADERS,
                5,
                1,
                &[0, 0x84, 255, 255, 255, 255, 0x81, 255],
            ),
        ),
        (
            "a frame above the size limit",
            frame(frames::DATA, 0, 1, &vec![0; 70_000]),
        ),
        (
            "HTTP/1.1 in between",
            b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n".to_vec(),
        ),
        ("zeros", vec![0; 1000]),
        ("ones", vec![255; 1000]),
    ];
    let mut faults = Vec::new();
    for (what, bytes) in cases {
        let mut line = Line::open(ground.plain()).await;
        line.send(&bytes).await;
        let ended = line.drain(SOON).await;
        if !ended || line.goaway.is_none_or(|code| code == 0) && line.resets.is_empty() {
            faults.push(format!(
                "{what}: ended {ended}, goaway {:?}, resets {:?}",
                line.goaway, line.resets
            ));
        }
        if ground.records(1, "stream_refused").await.is_empty() {
            faults.push(format!("{what}: not recorded"));
        }
    }
    ground.nothing_upstream("broken frames");
    ground.alive().await;
    ground::none(&faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_bounded() {
    let mut ground =
        Ground::with_limits("streams: 20, header: 32KiB, idle_timeout: 2s, body_timeout: 2s").await;
    let mut faults = Vec::new();
    let head = export(&ground, "application/grpc", GRPC);
    let mut check = |what: &str, line: &Line, ended: bool| {
        if !ended || line.goaway.is_none_or(|code| code == 0) {
            faults.push(format!(
                "{what}: ended {ended}, goaway {:?}, {} resets",
                line.goaway,
                line.resets.len()
            ));
        }
    };
    // Rapid reset (CVE-2023-44487).
    let mut line = Line::open(ground.plain()).await;
    for id in (1..4001).step_by(2) {
        let pair = [
            frame(frames::HEADERS, 4, id, &head),
            frame(frames::RST_STREAM, 0, id, &[0, 0, 0, 8]),
        ]
        .concat();
        if !line.send(&pair).await {
            break;
        }
    }
    let ended = line.drain(SOON).await;
    check("rapid reset", &line, ended);
    // A header block that never ends (CVE-2024-27316).
    let mut line = Line::open(ground.plain()).await;
    line.send(&frame(frames::HEADERS, 1, 1, &head)).await;
    for _ in 0..4000 {
        if !line.send(&frame(frames::CONTINUATION, 0, 1, &[])).await {
            break;
        }
    }
    let ended = line.drain(SOON).await;
    check("empty CONTINUATION", &line, ended);
    let mut line = Line::open(ground.plain()).await;
    line.send(&frame(frames::HEADERS, 1, 1, &head)).await;
    let field = frames::block(&[("x", "y".repeat(4000))]);
    for _ in 0..4000 {
        if !line.send(&frame(frames::CONTINUATION, 0, 1, &field)).await {
            break;
        }
    }
    let ended = line.drain(SOON).await;
    check("large CONTINUATION", &line, ended);
    // Frames that carry nothing.
    let mut line = Line::open(ground.plain()).await;
    line.send(&frame(frames::HEADERS, 4, 1, &head)).await;
    for _ in 0..200_000 / 100 {
        if !line.send(&frame(frames::DATA, 0, 1, &[]).repeat(100)).await {
            break;
        }
    }
    let ended = line.drain(SOON).await;
    check("empty DATA", &line, ended);
    // Resets that the server is made to send (CVE-2025-8671).
    let mut line = Line::open(ground.plain()).await;
    for id in (1..8001).step_by(2) {
        let pair = [
            frame(frames::HEADERS, 4, id, &head),
            frame(frames::WINDOW_UPDATE, 0, id, &[0; 4]),
        ]
        .concat();
        if !line.send(&pair).await {
            break;
        }
    }
    let ended = line.drain(SOON).await;
    check("made resets", &line, ended);
    // Malformed requests, again and again.
    let mut line = Line::open(ground.plain()).await;
    let malformed = frames::block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "gw"),
        (":path", "http://x/"),
    ]);
    for id in (1..8001).step_by(2) {
        if !line.send(&frame(frames::HEADERS, 5, id, &malformed)).await {
            break;
        }
    }
    let ended = line.drain(SOON).await;
    check("malformed requests", &line, ended);
    ground::none(&faults);
    let started = ground.world.emulator.heads();
    assert!(started < 200, "{started} requests of floods went upstream");
    assert!(
        ground
            .world
            .emulator
            .captured()
            .iter()
            .all(|captured| !captured.complete)
    );
    ground.records(10_000, "call").await;
    ground.alive().await;
}

/// Numbers that are only counted, not ended: the connection answers or keeps still, and memory stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_frames_do_not_add_up() {
    let mut ground = Ground::with_limits("streams: 20").await;
    for (what, bytes) in [
        ("PING", frame(frames::PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(frames::SETTINGS, 0, 0, &[])),
        ("PRIORITY", frame(frames::PRIORITY, 0, 1, &[0, 0, 0, 3, 0])),
        ("an unknown frame", frame(0xee, 0, 0, &[0; 50])),
    ] {
        let mut line = Line::open(ground.plain()).await;
        let flood = bytes.repeat(500);
        for _ in 0..40 {
            if !line.send(&flood).await {
                break;
            }
            // Answers are taken in, as a client that floods for long has to.
            line.until(Duration::from_millis(1), |_| false).await;
        }
        println!("{what}: {} pongs, goaway {:?}", line.pongs, line.goaway);
    }
    // More streams at once than there may be: the rest is refused, those within are served.
    let mut line = Line::open(ground.plain()).await;
    let told = line.until(SOON, |line| !line.settings.is_empty()).await;
    assert!(
        told && line.settings.contains(&(3, 20)),
        "{:?}",
        line.settings
    );
    let head = export(&ground, "application/x-protobuf", "/v1/traces");
    for id in (1..101).step_by(2) {
        line.send(&frame(frames::HEADERS, 4, id, &head)).await;
    }
    let refused = line.until(SOON, |line| line.resets.len() >= 30).await;
    assert!(
        refused && line.resets.iter().all(|(_, code)| *code == 7),
        "{:?} {:?}",
        line.resets,
        line.goaway
    );
    for id in (1..41).step_by(2) {
        line.send(&frame(frames::DATA, 1, id, b"\n\x04\x12\x02\x12\0"))
            .await;
    }
    let served = line.until(SOON, |line| line.statuses.len() >= 20).await;
    assert!(served, "{:?} {:?}", line.statuses, line.goaway);
    ground.calls(20).await;
    ground.alive().await;
}

/// Header lists above the limit over HTTP/2 are answered, recorded, and end nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_lists_have_a_size() {
    let mut ground = Ground::with_limits("header: 32KiB, headers: 50").await;
    let mut faults = Vec::new();
    let bearer = format!("Bearer {}", ground.reader);
    for (what, more) in [
        (
            "one large field",
            vec![("x".to_owned(), "y".repeat(33_000))],
        ),
        (
            "many fields",
            (0..60)
                .map(|at| (format!("x{at}"), "y".to_owned()))
                .collect(),
        ),
        ("one huge field", vec![("x".to_owned(), "y".repeat(60_000))]),
        (
            "a large path",
            vec![(":path".to_owned(), format!("/{}", "a".repeat(33_000)))],
        ),
        (
            "a large method",
            vec![(":method".to_owned(), "A".repeat(33_000))],
        ),
    ] {
        let mut fields: Vec<(String, String)> = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "gw"),
            (":path", "/.lightkeeper/whoami"),
            ("authorization", bearer.as_str()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (name, value) in more {
            match fields.iter_mut().find(|(known, _)| *known == name) {
                Some(field) => field.1 = value,
                None => fields.push((name, value)),
            }
        }
        let mut line = Line::open(ground.plain()).await;
        let block = frames::block(&fields);
        let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let last = if at + 1 == pieces.len() { 4 } else { 0 };
            let bytes = if at == 0 {
                frame(frames::HEADERS, 1 | last, 1, piece)
            } else {
                frame(frames::CONTINUATION, last, 1, piece)
            };
            line.send(&bytes).await;
        }
        let end = line.end_of(1, SOON).await;
        if !matches!(
            end,
            frames::End::Status(431 | 400) | frames::End::Reset(_) | frames::End::GoAway(_)
        ) {
            faults.push(format!("{what}: {end}"));
        }
        let records = ground.records_of_all(1).await;
        if records.is_empty() || records[0].to_string().len() > 2000 {
            faults.push(format!("{what}: {} records", records.len()));
        }
    }
    ground.nothing_upstream("header lists");
    ground.alive().await;
    ground::none(&faults);
}

/// Scenario: on one connection, more streams than it may have, again and again. Guarantees: every one counts in the metric; the
/// trail has one record when it begins and one with their number at the connection's end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_streams_leave_one_record_and_a_sum() {
    const REFUSED: usize = 200;
    let mut ground = Ground::with_limits("streams: 5, body_grace: 1m").await;
    let head = export(&ground, "application/x-protobuf", "/v1/traces");
    let mut line = Line::open(ground.plain()).await;
    for stream in 0..5 + u32::try_from(REFUSED).unwrap() {
        line.send(&frame(frames::HEADERS, 4, 2 * stream + 1, &head))
            .await;
    }
    let refused = line.until(SOON, |line| line.resets.len() >= REFUSED).await;
    assert!(
        refused && line.resets.iter().all(|(_, code)| *code == 7),
        "{:?} {:?}",
        line.resets,
        line.goaway
    );
    let counted = format!(
        "lightkeeper_edge_refusals_total{{listener=\"plain\",reason=\"http2_stream_refused\"}} {REFUSED}\n"
    );
    let core = ground.world.gateway.shared();
    ground::eventually("each counted", SOON, || {
        String::from_utf8(core.metrics_page())
            .unwrap()
            .contains(&counted)
    })
    .await;
    drop(line);
    let records = ground.records(2, "stream_refused").await;
    ground.calls(5).await;
    // What came later would stand before these.
    ground.alive().await;
    let later = ground.records(0, "stream_refused").await;
    let found: Vec<_> = records
        .iter()
        .chain(&later)
        .map(|record| (&record["reason"], &record["detail"]))
        .collect();
    let reason = serde_json::Value::from("http2_stream_refused");
    let sum = serde_json::Value::from(format!("{REFUSED} on this connection"));
    assert_eq!(
        found,
        [(&reason, &serde_json::Value::Null), (&reason, &sum)]
    );
}

/// Scenario: a header block far above all limits, on a connection with a call under way. Guarantees: what it leaves of the header
/// table is unknown, so that the connection takes no further call: it is ended by GOAWAY, and the call under way is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_header_table_is_lost_ends() {
    let mut ground = Ground::with_limits("body_grace: 1m, idle_timeout: 1h").await;
    let head = export(&ground, "application/x-protobuf", "/v1/traces");
    let mut line = Line::open(ground.plain()).await;
    line.send(&frame(frames::HEADERS, 4, 1, &head)).await;
    let block = [
        head.clone(),
        frames::block(&[("x", "y".repeat(4000))]).repeat(60),
    ]
    .concat();
    // In few frames: many would be a flood.
    let pieces: Vec<&[u8]> = block.chunks(65_000).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let kind = if at == 0 {
            frames::HEADERS
        } else {
            frames::CONTINUATION
        };
        let end = if at + 1 == pieces.len() {
            frames::END_HEADERS
        } else {
            0
        };
        let last = if at == 0 { frames::END_STREAM } else { 0 };
        line.send(&frame(kind, end | last, 3, piece)).await;
    }
    assert!(
        line.until(SOON, |line| line.goaway.is_some()).await,
        "{:?} {:?}",
        line.statuses,
        line.resets
    );
    line.send(&frame(
        frames::DATA,
        frames::END_STREAM,
        1,
        b"\n\x04\x12\x02\x12\0",
    ))
    .await;
    assert_eq!(
        line.end_of(1, SOON).await,
        frames::End::Status(200),
        "{:?}",
        line.resets
    );
    assert!(line.drain(SOON).await, "the connection ends");
    assert_eq!(ground.world.emulator.heads(), 1);
    ground.calls(1).await;
    ground.alive().await;
}

/// gRPC frames that lie about their message, whole in one DATA frame or byte by byte, with smuggled trailers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_frames_do_not_lie() {
    let mut ground = Ground::with_limits("body: 64KiB").await;
    let mut faults = Vec::new();
    let caller = ground.world.plain_caller().http2().bearer(&ground.exporter);
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    for (what, body, expected) in [
        ("nothing", &b""[..], 3),
        ("half a prefix", b"\0\0\0", 3),
        ("a length beyond the end", b"\0\0\0\0\x05ab", 3),
        ("a length before the end", b"\0\0\0\0\x01ab", 3),
        ("two messages", b"\0\0\0\0\x02\n\0\0\0\0\0\x02\n\0", 3),
        ("two empty messages", b"\0\0\0\0\0\0\0\0\0\0", 3),
        ("flag 2", b"\x02\0\0\0\x02\n\0", 3),
        ("flag 255", b"\xff\0\0\0\x02\n\0", 3),
        ("length of 4 GiB", b"\0\xff\xff\xff\xff\n\0", 8),
        ("length above the limit", b"\0\0\x02\0\0\n\0", 8),
    ] {
        let answer = caller
            .send(http::Method::POST, GRPC, &headers, body.to_vec())
            .await;
        match &answer {
            Ok(answer) if answer.grpc_status() == Some(expected) => {}
            other => faults.push(format!("{what}: {other:?}")),
        }
        ground.calls(1).await;
    }
    for kind in [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/json",
        "application/grpcx",
        "text/plain",
        "",
    ] {
        let answer = caller
            .send(
                http::Method::POST,
                GRPC,
                &[("content-type", kind)],
                b"\0\0\0\0\x06\n\x04\x12\x02\x12\0".to_vec(),
            )
            .await;
        if !matches!(&answer, Ok(answer) if answer.status == 415) {
            faults.push(format!("{kind}: {answer:?}"));
        }
        ground.calls(1).await;
    }
    // Trailers of a request: none of their names reach the backend.
    let head = export(&ground, "application/grpc", GRPC);
    let trailers = frames::block(&[
        ("lightstep-access-token", "smuggled"),
        ("grpc-status", "0"),
        ("x", "smuggled"),
    ]);
    let mut line = Line::open(ground.plain()).await;
    let sent = [
        frame(frames::HEADERS, 4, 1, &head),
        frame(frames::DATA, 0, 1, b"\0\0\0\0\x06\n\x04\x12\x02\x12\0"),
        frame(frames::HEADERS, 5, 1, &trailers),
    ]
    .concat();
    line.send(&sent).await;
    let end = line.end_of(1, SOON).await;
    println!("trailers: {end}");
    ground.calls(1).await;
    for captured in ground.world.emulator.captured() {
        let length = captured
            .body
            .get(1..5)
            .map(|length| u32::from_be_bytes(length.try_into().unwrap()) as usize);
        let framed = captured.body.first() == Some(&0)
            && length.is_some_and(|length| length + 5 == captured.body.len());
        if captured.contains(b"smuggled") || captured.complete && !framed {
            faults.push(format!("upstream saw {captured:?}"));
        }
    }
    ground.alive().await;
    ground::none(&faults);
}
