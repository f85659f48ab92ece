//! Scenario: callers who announce much and send nothing, or hold as much as they are given. Guarantees: what is announced
//! holds no memory; one identity or one stranger's address holds its share and no more; all others are answered
//! meanwhile, and the one who holds is told why it is not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lightkeeper::otlp::Encoding;
use testkit::{
    Carrier, Coding, Endpoints, Fault, Format, LegacySample, Sample, SampleCaller, WorldPlan,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::exports::{SOON, Via, held_bytes, patient};
use super::frames::{self, Line, frame};
use super::ground::{Ground, eventually};
use super::wire;

/// A body that is silent lives long enough to be looked at.
const DEFAULT: &str = "body_grace: 1m";
/// 16 MiB, and a fifteenth of it for the queue of records.
const SMALL: &str =
    "body_grace: 1m, body: 4MiB, decompressed_body: 4MiB, response: 4MiB, buffered_total: 17895697";
const MIB: usize = 1 << 20;
const STREAMS: u32 = 64;
const QUERY: &str = "/public/v0.2/acme/projects/shop-prod/telemetry/attributes";

fn caller(ground: &Ground, who: &str) -> SampleCaller {
    ground
        .world
        .plain_caller()
        .bearer(&ground.world.issuer.token(who))
        .deadline(SOON)
}

/// Exports over both protocols, a query and a legacy report of callers who hold nothing are answered.
async fn others_are_served(ground: &Ground, what: &str) {
    for via in [Via::Http, Via::Json, Via::Grpc] {
        let encoding = if via == Via::Json {
            Encoding::Json
        } else {
            Encoding::Protobuf
        };
        let message = Sample::traces("payments", 20).encode(encoding);
        let answer = via
            .send(
                &caller(ground, "payments-collector"),
                &message,
                Coding::Gzip,
            )
            .await;
        assert_eq!(
            via.status(&answer),
            via.of((200, 0)),
            "{what}: {via:?}: {answer:?}"
        );
    }
    let answer = caller(ground, "sam")
        .get("/public/v0.2/acme/projects/shop-prod/streams")
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{what}: a query: {answer:?}");
    let report = LegacySample::of(Format::Reports, "payments", 3);
    let report = report.carrying(
        Carrier::Header,
        &ground.world.issuer.token("payments-collector"),
    );
    let answer = ground
        .world
        .plain_caller()
        .deadline(SOON)
        .report(&report)
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{what}: a report: {answer:?}");
}

/// Scenario: one connection, 64 streams, heads only, which announce four times the small budget together; of a stranger whose token
/// could stand in the body, of one who may only read, of one who exports; with the default budget and with a small one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_announced_holds_nothing() {
    for (limits, length) in [(DEFAULT, 16 * MIB), (SMALL, MIB)] {
        for (path, kind, who) in [
            ("/api/v2/reports", "application/octet-stream", None),
            (QUERY, "application/json", Some("ann")),
            (
                "/v1/traces",
                "application/x-protobuf",
                Some("checkout-collector"),
            ),
        ] {
            let what = format!("{path} with {limits:?}");
            let ground = patient(limits).await;
            let core = ground.world.gateway.shared().clone();
            let (length, bearer) = (
                length.to_string(),
                who.map(|who| format!("Bearer {}", ground.world.issuer.token(who))),
            );
            let mut fields = vec![
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "gw"),
                (":path", path),
                ("content-type", kind),
                ("content-length", &length),
            ];
            fields.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
            let head = frames::block(&fields);
            let mut line = Line::open(ground.plain()).await;
            for stream in 0..STREAMS {
                line.send(&frame(
                    frames::HEADERS,
                    frames::END_HEADERS,
                    2 * stream + 1,
                    &head,
                ))
                .await;
            }
            let under_way = || core.in_flight.load(Ordering::Relaxed) == u64::from(STREAMS);
            eventually(&format!("{what}: all heads"), SOON, under_way).await;
            assert_eq!(held_bytes(&ground), 0, "{what}");
            others_are_served(&ground, &what).await;
            eventually(
                &format!("{what}: only the heads are left, and open"),
                SOON,
                under_way,
            )
            .await;
            drop(line);
            eventually("calls ended", SOON, || {
                core.in_flight.load(Ordering::Relaxed) == 0
            })
            .await;
        }
    }
}

/// Sends a head that announces `announced` bytes, and so many of them; then waits until that much more is held.
async fn hold(ground: &Ground, head: &str, announced: usize, sent: usize) -> TcpStream {
    let before = held_bytes(ground);
    let mut stream = TcpStream::connect(ground.plain()).await.unwrap();
    let head = ground.fill(&format!("{head}Content-Length: {announced}\r\n\r\n"));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![0; sent]).await.unwrap();
    eventually("what was sent is held", SOON, || {
        held_bytes(ground) >= before + sent as u64
    })
    .await;
    stream
}

const REPORT: &str =
    "POST /api/v2/reports HTTP/1.1\r\nHost: gw\r\nContent-Type: application/octet-stream\r\n";

/// Scenario: an exporter sends bodies but for their last bytes until it holds half of a small budget; then a stranger sends
/// reports in the same way. Guarantees: their next call is refused with 429 and a code of its own; all others, at the same
/// address, are answered; all is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_its_share_is_refused_alone() {
    let mut ground = patient(SMALL).await;
    let core = ground.world.gateway.shared().clone();
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(hold(&ground, "{EXPORT}", 4 * MIB, 4 * MIB - 100).await);
    }
    let own = caller(&ground, "checkout-collector");
    for via in [Via::Http, Via::Grpc] {
        let message = Sample::traces("checkout", 20).encode(Encoding::Protobuf);
        let answer = via.send(&own, &message, Coding::Identity).await;
        assert_eq!(via.status(&answer), via.of((429, 8)), "{via:?}: {answer:?}");
        if via == Via::Http {
            assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
        }
        let record = ground.calls(1).await.remove(0);
        assert_eq!(
            (&record["reason"], &record["bytes_in"].as_u64()),
            (&"memory_share_spent".into(), &Some(0)),
            "{record}"
        );
    }
    others_are_served(&ground, "an exporter holds its share").await;
    ground.calls(5).await;

    let stranger = hold(&ground, REPORT, 3 * MIB / 2, MIB).await;
    let head = format!("{REPORT}Connection: close\r\nContent-Length: {MIB}\r\n\r\n");
    let talk = wire::talk(ground.plain(), &[head.as_bytes(), &vec![0; MIB]].concat()).await;
    assert!(
        talk.bytes.starts_with(b"HTTP/1.1 429 "),
        "{:?}",
        String::from_utf8_lossy(&talk.bytes)
    );
    assert_eq!(
        ground.calls(1).await.remove(0)["reason"],
        "memory_share_spent"
    );
    others_are_served(&ground, "a stranger holds its share, too").await;
    // Nothing has been held of the exporter's for the stranger's sake, nor the other way round.
    let report = LegacySample::of(Format::ReportsJson, "payments", 3);
    let report = report.carrying(
        Carrier::Body,
        &ground.world.issuer.token("payments-collector"),
    );
    let answer = ground
        .world
        .plain_caller()
        .deadline(SOON)
        .report(&report)
        .await
        .unwrap();
    assert_eq!(
        answer.status, 200,
        "a small report that names its sender in its body: {answer:?}"
    );

    drop((held, stranger));
    eventually("all memory given back", SOON, || held_bytes(&ground) == 0).await;
    eventually("calls ended", SOON, || {
        core.in_flight.load(Ordering::Relaxed) == 0
    })
    .await;
    let large = Sample::traces("checkout", 2000);
    assert_eq!(
        own.export(&large, Encoding::Json).await.unwrap().status,
        200
    );
}

/// Scenario: a reader holds its share with bodies of queries, and then leads a question that another asks alike.
/// Guarantees: its own question is refused, because the answer would be held for it; the other asks anew and is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_over_its_share_takes_no_other_with_it() {
    let mut ground = patient(SMALL).await;
    let emulator = &ground.world.emulator;
    let head = format!(
        "POST {QUERY} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {{A}}\r\nContent-Type: application/json\r\n"
    );
    let held = [
        hold(&ground, &head, 4 * MIB, 4 * MIB - 9).await,
        hold(&ground, &head, 4 * MIB, 4 * MIB - 9).await,
    ];
    emulator.fail(Endpoints::All, Fault::Slow(Duration::from_secs(1)));
    let path = "/public/v0.2/acme/projects/shop-prod/streams";
    // Both hold the very same permit, so that one exchange with the backend may answer both.
    let (own, other) = (caller(&ground, "ann"), caller(&ground, "lea"));
    let first = tokio::spawn(async move { own.get(path).await.unwrap().status });
    eventually("the first question", SOON, || emulator.heads() == 1).await;
    let second = tokio::spawn(async move { other.get(path).await.unwrap().status });
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (429, 200));
    assert_eq!(emulator.heads(), 2);
    let mut reasons: Vec<_> = ground
        .calls(2)
        .await
        .into_iter()
        .map(|record| record["reason"].clone())
        .collect();
    reasons.sort_by_key(ToString::to_string);
    assert_eq!(reasons, ["memory_share_spent", "ok"]);
    ground.world.emulator.heal();
    others_are_served(&ground, "a reader holds its share").await;
    drop(held);
    eventually("all memory given back", SOON, || held_bytes(&ground) == 0).await;
}

/// Scenario: one address has half as many calls under way as records may wait, in one connection whose streams say nothing
/// after their heads. Guarantees: its next call is refused with 429 and the code of a share, and not passed; another
/// address is answered and recorded meanwhile; when the calls end, so does that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_never_holds_the_whole_trail() {
    let audit = "audit: { file: audit.jsonl }";
    let mut plan = WorldPlan {
        more: format!("limits: {{ penalty: off, {DEFAULT} }}"),
        ..WorldPlan::default()
    };
    assert!(plan.config.contains(audit));
    plan.config = plan
        .config
        .replace(audit, "audit: { file: audit.jsonl, queue: 32 }");
    let mut ground = Ground::plan(plan).await;
    let core = ground.world.gateway.shared().clone();
    let bearer = format!("Bearer {}", ground.exporter);
    let head = frames::block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gw"),
        (":path", "/v1/traces"),
        ("content-type", "application/x-protobuf"),
        ("authorization", &bearer),
    ]);
    let mut line = Line::open(ground.plain()).await;
    for stream in 0..16 {
        line.send(&frame(
            frames::HEADERS,
            frames::END_HEADERS,
            2 * stream + 1,
            &head,
        ))
        .await;
    }
    let under_way = || core.in_flight.load(Ordering::Relaxed) == 16;
    eventually("half as many as records may wait", SOON, under_way).await;
    for stream in 16..40 {
        line.send(&frame(
            frames::HEADERS,
            frames::END_HEADERS,
            2 * stream + 1,
            &head,
        ))
        .await;
        assert_eq!(
            ground.calls(1).await.remove(0)["reason"],
            "memory_share_spent"
        );
    }
    for _ in 0..8 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(ground.plain()).await.unwrap();
        let request = ground.fill("{GET}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let record = ground.calls(1).await.remove(0);
        assert!(
            record["client_address"]
                .as_str()
                .unwrap()
                .starts_with("127.0.0.2:"),
            "{record}"
        );
    }
    assert!(under_way());
    drop(line);
    eventually("calls ended", SOON, || {
        core.in_flight.load(Ordering::Relaxed) == 0
    })
    .await;
    ground.calls(16).await;
    ground.alive().await;
}

/// What stands before everything, and in the head, where a proxy names this client.
fn named(settings: &str, client: u8) -> (String, String) {
    match settings.starts_with("proxy_protocol") {
        true => (
            format!("PROXY TCP4 192.0.2.{client} 10.0.0.1 1 2\r\n"),
            String::new(),
        ),
        false => (
            String::new(),
            format!("X-Forwarded-For: 192.0.2.{client}\r\n"),
        ),
    }
}

/// Scenario: one of two clients behind one proxy, which names them by the PROXY header or in each request, holds the share of
/// an unknown sender, and then half of the places for records. Guarantees: it is refused, with its own address in the record; the other
/// client of the same proxy is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_are_those_of_the_client_that_a_proxy_names() {
    for settings in [
        "proxy_protocol: { from: [127.0.0.0/8] }",
        "forwarded: { from: [127.0.0.0/8] }",
    ] {
        let mut plan = WorldPlan {
            more: format!("limits: {{ penalty: off, {SMALL} }}"),
            ..WorldPlan::default()
        };
        for (old, new) in [
            (
                "audit: { file: audit.jsonl }",
                "audit: { file: audit.jsonl, queue: 32 }".to_owned(),
            ),
            (
                "    address: {plain}",
                format!("    address: {{plain}}\n    {settings}"),
            ),
        ] {
            assert!(plan.config.contains(old));
            plan.config = plan.config.replace(old, &new);
        }
        let mut ground = Ground::plan(plan).await;
        let core = ground.world.gateway.shared().clone();
        let address = ground.plain();
        let (export, get) = (ground.fill("{EXPORT}"), ground.fill("{GET}"));
        let head = |client: u8, head: &str, length: usize| {
            let (before, line) = named(settings, client);
            format!("{before}{head}{line}Content-Length: {length}\r\n\r\n").into_bytes()
        };
        let open = async |bytes: Vec<u8>| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            stream
        };
        let is_of = |record: &serde_json::Value, client: u8| {
            let address = record["client_address"].as_str().unwrap_or_default();
            assert!(
                address.starts_with(&format!("192.0.2.{client}")),
                "{settings}: {record}"
            );
        };

        let held = open([head(1, REPORT, 7 * MIB / 4), vec![0; 5 * MIB / 3]].concat()).await;
        eventually("what was sent is held", SOON, || {
            held_bytes(&ground) >= 5 * MIB as u64 / 3
        })
        .await;
        for (client, is_spent) in [(1, true), (2, false)] {
            let report = head(client, &format!("{REPORT}Connection: close\r\n"), MIB / 2);
            let talk = wire::talk(address, &[report, vec![0; MIB / 2]].concat()).await;
            let record = ground.calls(1).await.remove(0);
            assert_eq!(
                record["reason"] == "memory_share_spent",
                is_spent,
                "{settings} {client}: {record} {talk:?}"
            );
            is_of(&record, client);
        }
        drop(held);
        is_of(&ground.calls(1).await.remove(0), 1);

        let mut calls = Vec::new();
        for _ in 0..16 {
            calls.push(open(head(1, &export, 100)).await);
        }
        let under_way = || core.in_flight.load(Ordering::Relaxed) == 16;
        eventually("half as many as records may wait", SOON, under_way).await;
        for (client, status, reason) in [
            (1, "HTTP/1.1 429 ", "memory_share_spent"),
            (2, "HTTP/1.1 200 ", "ok"),
        ] {
            let (before, line) = named(settings, client);
            let request = format!("{before}{get}{line}Connection: close\r\n\r\n");
            let talk = wire::talk(address, request.as_bytes()).await;
            assert!(
                talk.bytes.starts_with(status.as_bytes()),
                "{settings} {client}: {talk:?}"
            );
            let record = ground.calls(1).await.remove(0);
            assert_eq!(record["reason"], reason, "{settings} {client}: {record}");
            is_of(&record, client);
        }
        drop(calls);
        eventually("calls ended", SOON, || {
            core.in_flight.load(Ordering::Relaxed) == 0
        })
        .await;
    }
}
