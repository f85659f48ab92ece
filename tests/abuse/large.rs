//! Scenario: bodies that take long to read, of one caller, beside small ones of others. Guarantees: no small one waits for
//! a large one, in whatever format and coding both come; large ones go on as soon as there is a place, each caller in
//! turn. What it does not show: how long anything takes; it is told by what is answered while the large ones wait.

use std::sync::atomic::Ordering;

use http::Method;
use lightkeeper::otlp::{Encoding, Signal};
use testkit::{Coding, Format, LegacySample, Sample};

use super::exports::{SOON, Via, caller, field, patient};
use super::frames::{self, End, Line, frame};
use super::ground::eventually;

/// So many spans in one group, more than is read on a thread that serves.
const SPANS: usize = 40_000;

fn large_protobuf() -> Vec<u8> {
    let span = field(2, &[field(1, &[7; 16]), field(2, &[7; 8])].concat());
    field(1, &field(2, &span.repeat(SPANS)))
}

fn large_json() -> Vec<u8> {
    let span = r#"{"traceId":"07070707070707070707070707070707","spanId":"0707070707070707"}"#;
    let spans = vec![span; SPANS].join(",");
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#).into_bytes()
}

/// Of few bytes, and of more resources than are decided on a thread that serves.
fn many_groups() -> Vec<u8> {
    field(1, &field(2, &field(2, b""))).repeat(2_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_export_overtakes_large_ones() {
    let ground = patient("").await;
    let core = ground.world.gateway.shared().clone();
    let turns = core.large.queue.clone();
    let mut held = Vec::new();
    for _ in 0..turns.places() {
        held.push(turns.take_as(core.penalties.key("the test")).await.unwrap());
    }
    // Some are small on the wire, and large only once they are decompressed, or by the number of their resources.
    let large: [(Via, Vec<u8>, Coding); 6] = [
        (Via::Http, large_protobuf(), Coding::Identity),
        (Via::Http, large_protobuf(), Coding::Gzip),
        (Via::Grpc, large_protobuf(), Coding::Zstd),
        (Via::Json, large_json(), Coding::Identity),
        (Via::Json, large_json(), Coding::Zstd),
        (Via::Http, many_groups(), Coding::Identity),
    ];
    let mut waiting = tokio::task::JoinSet::new();
    let count = large.len() + 1;
    for (via, body, coding) in large {
        let caller = caller(&ground);
        waiting.spawn(async move {
            let answer = via.send(&caller, &body, coding).await;
            (
                format!("{via:?} {coding:?}"),
                via.status(&answer) == via.of((200, 0)),
            )
        });
    }
    let report = caller(&ground);
    waiting.spawn(async move {
        let sample = LegacySample::of(Format::ReportsJson, "checkout", 4_000);
        (
            "a report".to_owned(),
            report.report(&sample).await.unwrap().status == 200,
        )
    });
    eventually("the large ones wait", SOON, || turns.waiting() == count).await;
    assert_eq!(ground.world.emulator.heads(), 0);
    // Another's, and the same caller's own, in each encoding; a query, too.
    let other = ground
        .world
        .plain_caller()
        .bearer(&ground.world.issuer.token("payments-collector"))
        .deadline(SOON);
    for (small, service) in [(other, "payments"), (caller(&ground), "checkout")] {
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            let sample = Sample::of(Signal::Logs, service, 3);
            assert_eq!(
                small.export(&sample, encoding).await.unwrap().status,
                200,
                "{service}"
            );
        }
        for coding in Coding::ALL {
            let answer = small
                .clone()
                .compressing(coding)
                .export_grpc(&Sample::traces(service, 3))
                .await
                .unwrap();
            assert_eq!(answer.grpc_status(), Some(0), "{service} {coding:?}");
        }
        let report = LegacySample::of(Format::Reports, service, 3);
        assert_eq!(
            small.report(&report).await.unwrap().status,
            200,
            "{service}"
        );
    }
    let reader = ground
        .world
        .plain_caller()
        .bearer(&ground.reader)
        .deadline(SOON);
    let answer = reader
        .send(
            Method::GET,
            "/public/v0.2/acme/projects/checkout-prod/streams",
            &[],
            Vec::new(),
        )
        .await;
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(
        (turns.waiting(), waiting.try_join_next().is_none()),
        (count, true),
        "a large one went on"
    );
    drop(held);
    while let Some(done) = waiting.join_next().await {
        let (what, is_taken) = done.unwrap();
        assert!(is_taken, "{what}");
    }
    eventually("all places given back", SOON, || turns.waiting() == 0).await;
}

/// Scenario: large exports that carry nothing, of a caller who takes no byte of the answers. Guarantees: they hold no place
/// while they are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_answer_holds_no_place() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let ground = patient("body_grace: 1m").await;
    let core = ground.world.gateway.shared().clone();
    let turns = core.large.queue.clone();
    let bearer = format!("Bearer {}", ground.exporter);
    let head = frames::block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gw"),
        (":path", "/v1/traces"),
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
        ("authorization", &bearer),
    ]);
    let body = format!(r#"{{"resourceSpans":[{}]}}"#, " ".repeat(1200 << 10));
    let packed = Coding::Gzip.compress(body.as_bytes()).unwrap();
    let mut lines = Vec::new();
    for _ in 0..turns.places() {
        let mut line = Line::open_with(ground.plain(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
        line.send(&frame(frames::HEADERS, frames::END_HEADERS, 1, &head))
            .await;
        line.send(&frame(frames::DATA, frames::END_STREAM, 1, &packed))
            .await;
        assert_eq!(line.end_of(1, SOON).await, End::Status(200));
        lines.push(line);
    }
    assert_eq!(
        core.in_flight.load(Ordering::Relaxed),
        turns.places() as u64,
        "their answers are under way"
    );
    let mut held = Vec::new();
    for _ in 0..turns.places() {
        let place = tokio::time::timeout(SOON, turns.take_as(core.penalties.key("the test"))).await;
        held.push(place.expect("a place is free").unwrap());
    }
}

/// A question with so many blanks behind it.
fn question(blanks: usize) -> Vec<u8> {
    let time = r#""oldest-time":"2026-01-01T00:00:00Z","youngest-time":"2026-01-01T01:00:00Z","output-period":60"#;
    let asked = r#""input-language":"uql","query":"metric m | rate | group_by [], sum""#;
    format!(
        r#"{{"data":{{"attributes":{{{asked},{time}}}}}}}{}"#,
        " ".repeat(blanks)
    )
    .into_bytes()
}

const ASKED: &str = "/public/v0.2/acme/projects/checkout-prod/telemetry/query_timeseries";

/// Scenario: long questions to one project and to a part of the tree, beside short ones, while all places are taken.
/// Guarantees: the long ones wait, and nothing of them reaches the backend; the short ones do not; all are answered once
/// there is a place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_question_overtakes_long_ones() {
    let ground = patient("").await;
    let core = ground.world.gateway.shared().clone();
    let turns = core.large.queue.clone();
    let mut held = Vec::new();
    for _ in 0..turns.places() {
        held.push(turns.take_as(core.penalties.key("the test")).await.unwrap());
    }
    let ask = |path: &'static str, bytes: usize| {
        let reader = ground
            .world
            .plain_caller()
            .bearer(&ground.reader)
            .deadline(SOON);
        async move {
            let json = [("content-type", "application/json")];
            reader
                .send(Method::POST, path, &json, question(bytes))
                .await
                .unwrap()
        }
    };
    let mut waiting = tokio::task::JoinSet::new();
    for path in [ASKED, "/apps/shop/-/query_timeseries"] {
        waiting.spawn(ask(path, 1200 << 10));
    }
    eventually("the long ones wait", SOON, || turns.waiting() == 2).await;
    assert_eq!(ground.world.emulator.heads(), 0);
    for path in [ASKED, "/apps/shop/-/query_timeseries"] {
        let answer = ask(path, 10).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    assert_eq!(
        (turns.waiting(), waiting.try_join_next().is_none()),
        (2, true),
        "a long one went on"
    );
    drop(held);
    while let Some(answer) = waiting.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    eventually("all places given back", SOON, || turns.waiting() == 0).await;
}

/// Scenario: as many large bodies of one caller wait as may. Guarantees: a further one is told to come again, in the words of
/// its protocol, with the reason in its record and in the metric; the caller's small ones pass, another's large one waits its turn; with
/// room in the line it passes, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_too_many_comes_again() {
    const LINE: usize = 4096;
    let mut ground = patient("").await;
    let core = ground.world.gateway.shared().clone();
    let turns = core.large.queue.clone();
    let mut held = Vec::new();
    for _ in 0..turns.places() {
        held.push(turns.take_as(core.penalties.key("the test")).await.unwrap());
    }
    let mut waiting = tokio::task::JoinSet::new();
    let exporter =
        core.penalties
            .key(("large", "acme", "system:serviceaccount:checkout:collector"));
    for _ in 0..LINE {
        let turns = turns.clone();
        waiting.spawn(async move { turns.take_as(exporter).await });
    }
    eventually("the line is full", SOON, || turns.waiting() == LINE).await;
    let answer = Via::Http
        .send(&caller(&ground), &large_protobuf(), Coding::Identity)
        .await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    let answer = Via::Grpc
        .send(&caller(&ground), &large_protobuf(), Coding::Identity)
        .await;
    assert_eq!(answer.grpc_status(), Some(14));
    assert_eq!(ground.world.emulator.heads(), 0);
    let records = ground.records(2, "call").await;
    assert!(
        records.len() == 2
            && records
                .iter()
                .all(|record| record["reason"] == "reading_busy"),
        "{records:?}"
    );
    let page = String::from_utf8(core.metrics_page()).unwrap();
    let busy = page.lines().filter(|line| {
        line.starts_with("lightkeeper_requests_total{") && line.contains("reason=\"reading_busy\"")
    });
    let counted: u64 = busy
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(counted, 2, "{page}");
    let small = caller(&ground)
        .export(&Sample::traces("checkout", 3), Encoding::Protobuf)
        .await
        .unwrap();
    assert_eq!(small.status, 200);
    let other = ground
        .world
        .plain_caller()
        .bearer(&ground.world.issuer.token("payments-collector"))
        .deadline(SOON);
    let other = tokio::spawn(async move {
        Via::Http
            .send(&other, &large_protobuf(), Coding::Identity)
            .await
    });
    eventually("another's waits", SOON, || turns.waiting() == LINE + 1).await;
    waiting.abort_all();
    while waiting.join_next().await.is_some() {}
    drop(held);
    assert_eq!(other.await.unwrap().status, 200);
    let answer = Via::Http
        .send(&caller(&ground), &large_protobuf(), Coding::Identity)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
