//! Scenario: bodies that say nothing, stop, or trickle, on every lane and over both protocols. Guarantees: each is ended
//! by its own timer once it is below `limits.body_rate`, with 408 and its reason, whether or not another byte comes; the
//! timeout of a whole body has nothing to do with it, because here it is an hour.

use std::time::Duration;

use testkit::WorldPlan;
use testkit::world::webhook_secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::frames::{self, End, Line, frame};
use super::ground::{self, Ground};

const LIMITS: &str =
    "limits: { body_timeout: 1h, body_rate: 1KiB, body_grace: 300ms, penalty: off }";
/// Far below the timeout, and above the grace.
const SOON: Duration = Duration::from_secs(20);
/// Between two bytes of a trickle.
const DRIP: Duration = Duration::from_millis(20);

/// What comes of a body before it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Nothing,
    Little,
    Trickle,
}

/// The first bytes, of a gRPC message, too.
const LITTLE: &[u8] = &[0, 0, 0, 0x40, 0, 1];

async fn over_http1(ground: &Ground, head: &str, flow: Flow) -> String {
    let mut stream = TcpStream::connect(ground.plain()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .write_all(format!("{head}Content-Length: 16384\r\n\r\n").as_bytes())
        .await
        .unwrap();
    if flow != Flow::Nothing {
        stream.write_all(LITTLE).await.unwrap();
    }
    let (mut from, mut to) = stream.into_split();
    let trickling = tokio::spawn(async move {
        let mut drips = tokio::time::interval(DRIP);
        while flow == Flow::Trickle && to.write_all(b"\0").await.is_ok() {
            drips.tick().await;
        }
        to
    });
    let mut status = [0; 12];
    let read = tokio::time::timeout(SOON, from.read_exact(&mut status)).await;
    trickling.abort();
    match read {
        Ok(Ok(_)) => String::from_utf8_lossy(&status).into_owned(),
        other => format!("{other:?}"),
    }
}

async fn over_http2(ground: &Ground, fields: &[(&str, &str)], flow: Flow) -> End {
    let mut line = Line::open(ground.plain()).await;
    line.send(&frame(
        frames::HEADERS,
        frames::END_HEADERS,
        1,
        &frames::block(fields),
    ))
    .await;
    if flow != Flow::Nothing {
        line.send(&frame(frames::DATA, 0, 1, LITTLE)).await;
    }
    for _ in 0..SOON.as_millis() / DRIP.as_millis() {
        if flow == Flow::Trickle {
            line.send(&frame(frames::DATA, 0, 1, b"\0")).await;
        }
        match line.end_of(1, DRIP).await {
            End::Silence => {}
            end => return end,
        }
    }
    End::Silence
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_too_slow_on_every_lane() {
    let (protobuf, json) = ("application/x-protobuf", "application/json");
    let grpc = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for (lanes, more) in [("rewritten", ""), ("streamed", "\ningest: { stamp: off }")] {
        let plan = WorldPlan {
            more: format!("{LIMITS}{more}"),
            ..WorldPlan::default()
        };
        let mut ground = Ground::plan(plan).await;
        let (exporter, reader) = (ground.exporter.clone(), ground.reader.clone());
        let mut cases = vec![
            ("/v1/traces", protobuf, Some(exporter.clone())),
            (grpc, "application/grpc", Some(exporter.clone())),
        ];
        if lanes == "rewritten" {
            cases.extend([
                ("/v1/traces", json, Some(exporter.clone())),
                (
                    "/api/v2/reports",
                    "application/octet-stream",
                    Some(exporter.clone()),
                ),
                ("/api/v2/reports", "application/octet-stream", None),
                (
                    "/public/v0.2/acme/projects/shop-prod/telemetry/attributes",
                    json,
                    Some(reader.clone()),
                ),
                ("/apps/shop/-/query_timeseries", json, Some(reader)),
                ("/apps/shop/-/alerts", json, Some(webhook_secret("shop"))),
            ]);
        }
        let mut faults = Vec::new();
        for (path, kind, token) in &cases {
            for flow in [Flow::Nothing, Flow::Little, Flow::Trickle] {
                let bearer = token.as_ref().map(|token| format!("Bearer {token}"));
                let mut check = |what: String, right: bool, records: Vec<serde_json::Value>| {
                    let reason = records.first().map(|record| record["reason"].clone());
                    if !right || reason != Some("body_timeout".into()) {
                        faults.push(format!(
                            "{lanes} {path} {kind} {flow:?} {what}: {records:?}"
                        ));
                    }
                };
                if *kind != "application/grpc" {
                    let authorization = bearer
                        .as_ref()
                        .map(|bearer| format!("Authorization: {bearer}\r\n"));
                    let authorization = authorization.unwrap_or_default();
                    let head = format!(
                        "POST {path} HTTP/1.1\r\nHost: gw\r\nContent-Type: {kind}\r\n{authorization}"
                    );
                    let end = over_http1(&ground, &head, flow).await;
                    check(
                        format!("HTTP/1.1: {end}"),
                        end == "HTTP/1.1 408",
                        ground.calls(1).await,
                    );
                }
                let mut fields = vec![
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":authority", "gw"),
                    (":path", *path),
                    ("content-type", *kind),
                ];
                fields.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
                let end = over_http2(&ground, &fields, flow).await;
                let expected = End::Status(if *kind == "application/grpc" {
                    200
                } else {
                    408
                });
                check(
                    format!("HTTP/2: {end}"),
                    end == expected,
                    ground.calls(1).await,
                );
            }
        }
        ground::none(&faults);
        if lanes == "rewritten" {
            ground.nothing_upstream("bodies that stop");
        }
        assert!(
            ground
                .world
                .emulator
                .captured()
                .iter()
                .all(|captured| !captured.complete),
            "{lanes}: a whole export"
        );
        ground.alive().await;
    }
}
