//! What a body is called: which media types are taken in each lane, what the backend is told of the body that reaches
//! it, and how long a gRPC caller waits. What it refuses to know: how bodies are read.

use http::Method;
use lightkeeper::otlp::{Encoding, Signal};
use testkit::world::webhook_secret;
use testkit::{
    Answer, Coding, Endpoints, Fault, Format, LegacySample, Sample, SampleCaller, World,
};

use super::stage;

const STREAMS: &str = "/public/v0.2/acme/projects/shop-prod/streams";
const GRPC: &str = "application/grpc";

/// The status in HTTP's numbers, whatever was spoken.
fn status(answer: &Answer) -> u16 {
    match answer.grpc_status() {
        None if (200..300).contains(&answer.status) => 200,
        None => answer.status,
        Some(0) => 200,
        Some(3) => 400,
        Some(4) => 504,
        Some(12) => 415,
        Some(code) => panic!("{code}: {:?}", answer.grpc_message()),
    }
}

async fn reason(world: &World, answer: &Answer) -> String {
    let record = stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await;
    record["reason"].as_str().unwrap().to_owned()
}

/// The answer is this refusal.
async fn refused(world: &World, answer: &Answer, status: u16, code: &str, what: &str) {
    let found = (self::status(answer), reason(world, answer).await);
    assert_eq!(found, (status, code.to_owned()), "{what}");
}

async fn post(caller: &SampleCaller, path: &str, kind: &str, body: &[u8]) -> Answer {
    let headers = [("content-type", kind)];
    let answer = caller.send(Method::POST, path, &headers, body.to_vec());
    answer.await.unwrap()
}

/// A message over gRPC, with another header.
async fn call(caller: &SampleCaller, path: &str, more: (&str, &str), message: &[u8]) -> Answer {
    let headers = [("content-type", GRPC), ("te", "trailers"), more];
    let answer = caller.send(Method::POST, path, &headers, framed(message));
    answer.await.unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [
        &[0],
        &u32::try_from(message.len()).unwrap().to_be_bytes()[..],
        message,
    ]
    .concat()
}

/// Path, media type that the caller writes, what the backend is told; empty: 415, and the backend is told nothing.
type Row = (&'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    // OTLP over HTTP
    ("/v1/traces", "application/json", "application/json"),
    (
        "/v1/traces",
        "Application/JSON; Charset=\"UTF-8\"; x=y",
        "application/json",
    ),
    ("/v1/traces", "application/x-json", "application/json"),
    ("/v1/traces", "application/json; charset=utf-16", ""),
    ("/v1/traces", "application/json; charset=utf-16le", ""),
    (
        "/v1/traces",
        "application/json; charset=utf-8; charset=utf-16",
        "",
    ),
    ("/v1/traces", "application/json;charset=iso-8859-1", ""),
    ("/v1/traces", "application/json, application/x-protobuf", ""),
    (
        "/v1/traces",
        "application/x-protobuf",
        "application/x-protobuf",
    ),
    (
        "/v1/traces",
        "application/protobuf; messageType=x.Y",
        "application/x-protobuf",
    ),
    ("/v1/traces", "application/x-protobuf; charset=utf-16", ""),
    ("/v1/traces", "text/plain", ""),
    (
        "/apps/shop/checkout/-/v1/traces",
        "application/json; charset=utf-16",
        "",
    ),
    // gRPC
    ("{grpc}", "application/grpc", GRPC),
    ("{grpc}", "application/grpc+proto", GRPC),
    ("{grpc}", "Application/gRPC+Proto; x=y", GRPC),
    ("{grpc}", "application/grpc+json", ""),
    ("{grpc}", "application/grpc+json; charset=utf-8", ""),
    ("{grpc}", "application/grpc+thrift", ""),
    ("{grpc}", "application/grpc+", ""),
    ("{grpc}", "application/grpc; charset=utf-16", ""),
    ("{grpc}", "application/grpc-web", ""),
    // legacy reports
    (
        "/api/v2/spans",
        "application/json;charset=utf-8",
        "application/json",
    ),
    ("/api/v2/spans", "application/json; charset=utf-16", ""),
    ("/api/v2/spans", "application/x-json", ""),
    (
        "/lightstep.collector.CollectorService/Report",
        "application/grpc+proto",
        GRPC,
    ),
    (
        "/lightstep.collector.CollectorService/Report",
        "application/grpc+json",
        "",
    ),
];

/// Scenario: bodies under every name that a client may give them, read, streamed and legacy. Guarantees: what is none of
/// the names that are read, or is not in UTF-8, is refused (415, UNIMPLEMENTED); what leaves has our own name for what
/// was read, without the caller's parameters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_says_what_was_read() {
    let streamed = stage::start(stage::streamed(stage::plan(&[]))).await;
    let read = stage::start(stage::plan(&[])).await;
    let mut faults = Vec::new();
    for (world, is_read) in [(&read, true), (&streamed, false)] {
        let caller = world
            .plain_caller()
            .bearer(&world.issuer.token("checkout-collector"));
        let traces = Sample::traces("checkout", 2);
        for (path, sent, expected) in ROWS {
            world.emulator.clear();
            let (path, is_grpc) = match *path {
                "{grpc}" => (Signal::Traces.grpc_path(), true),
                path => (path, path.starts_with("/lightstep.")),
            };
            let legacy = |format| LegacySample::of(format, "checkout", 2).body();
            let body = match path {
                "/api/v2/spans" => legacy(Format::Zipkin),
                path if path.starts_with("/lightstep.") => framed(&legacy(Format::ReportsGrpc)),
                _ if is_grpc => framed(&traces.protobuf()),
                _ if sent.to_ascii_lowercase().contains("json") => traces.encode(Encoding::Json),
                _ => traces.protobuf(),
            };
            let caller = if is_grpc {
                caller.clone().http2()
            } else {
                caller.clone()
            };
            let answer = caller
                .send(
                    Method::POST,
                    path,
                    &[("content-type", sent), ("te", "trailers")],
                    body,
                )
                .await;
            let answer = answer.unwrap();
            let told = format!("{path} {sent}, read: {is_read}");
            let captured = world.emulator.captured();
            let upstream: Vec<_> = captured
                .iter()
                .flat_map(|captured| captured.header("content-type"))
                .collect();
            if expected.is_empty() {
                let found = (status(&answer), reason(world, &answer).await);
                if found != (415, "media_type_unsupported".to_owned()) || !captured.is_empty() {
                    faults.push(format!("{told}: {found:?}, upstream {upstream:?}"));
                }
            } else if status(&answer) != 200 || upstream != [*expected] {
                faults.push(format!(
                    "{told}: {}, upstream {upstream:?}",
                    status(&answer)
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Scenario: bodies of queries under other names than JSON's, without one, and compressed. Guarantees: 415, and the
/// backend is not asked; what is compressed is decompressed within bounds or refused, never sent on under another label.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_asked_in_json() {
    let mut plan = stage::plan(&[]);
    plan.more = "limits: { decompressed_body: 1MiB, body: 1MiB }\n".to_owned();
    let world = stage::start(plan).await;
    let ann = world.plain_caller().bearer(&world.issuer.token("ann"));
    let plain = br#"{"data":{"attributes":{"name":"n","query":"q"}}}"#.to_vec();
    let packed = |coding: Coding| coding.compress(&plain).unwrap();
    let bomb = Coding::Gzip
        .compress(&[b" ".repeat(2 << 20), plain.clone()].concat())
        .unwrap();
    let mut rows = Vec::new();
    for (sent, expected) in [
        ("application/json", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("application/vnd.api+json", "application/vnd.api+json"),
        ("application/json; charset=utf-16", ""),
        ("application/xml", ""),
        ("text/plain", ""),
        ("text/json", ""),
        ("application/x-www-form-urlencoded", ""),
        ("multipart/form-data; boundary=x", ""),
        ("application/json, application/xml", ""),
        ("", ""),
    ] {
        rows.push((
            sent,
            "",
            plain.clone(),
            if expected.is_empty() { 415 } else { 200 },
            expected,
        ));
    }
    for coding in [
        Coding::Gzip,
        Coding::Zstd,
        Coding::Deflate,
        Coding::Identity,
    ] {
        rows.push((
            "application/json",
            coding.name(),
            packed(coding),
            200,
            "application/json",
        ));
    }
    rows.push(("application/json", "br", plain.clone(), 415, ""));
    rows.push((
        "application/json",
        "gzip, gzip",
        packed(Coding::Gzip),
        415,
        "",
    ));
    rows.push(("application/json", "gzip", plain.clone(), 400, ""));
    rows.push(("application/json", "gzip", bomb, 413, ""));
    for (sent, coding, body, expected, upstream) in rows {
        world.emulator.clear();
        let mut headers = Vec::new();
        headers.extend((!sent.is_empty()).then_some(("content-type", sent)));
        headers.extend((!coding.is_empty()).then_some(("content-encoding", coding)));
        let answer = ann
            .send(Method::POST, STREAMS, &headers, body)
            .await
            .unwrap();
        let told = format!("{sent} {coding}");
        assert_eq!(answer.status / 100, expected / 100, "{told}: {answer:?}");
        let captured = world.emulator.captured();
        if expected == 200 {
            let [captured] = captured.as_slice() else {
                panic!("{told}: {captured:?}")
            };
            assert_eq!(captured.header("content-type"), [upstream], "{told}");
            assert!(captured.header("content-encoding").is_empty(), "{told}");
            assert_eq!(captured.body, plain, "{told}");
        } else {
            assert_eq!(answer.status, expected, "{told}");
            assert!(captured.is_empty(), "{told}");
        }
    }
    // A question to a part of the tree has a body too.
    world.emulator.clear();
    let tree = "/apps/shop/-/query_timeseries";
    let answer = post(&ann, tree, "text/plain", b"{}").await;
    refused(&world, &answer, 415, "media_type_unsupported", tree).await;
    assert!(world.emulator.captured().is_empty());
    // What has no body has no name.
    let answer = ann
        .send(
            Method::GET,
            STREAMS,
            &[("content-type", "text/plain")],
            Vec::new(),
        )
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    assert!(
        world
            .emulator
            .captured()
            .iter()
            .all(|captured| captured.header("content-type").is_empty())
    );
}

/// Scenario: gRPC exports and reports with deadlines that are none, and with sound ones, before a backend that answers
/// and one that does not. Guarantees: what is no duration is refused; the backend is told of no more than ours; a caller
/// whose time is up is told so, and nothing is sent once it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_deadline_is_a_duration_and_holds() {
    let read = stage::start(stage::plan(&[])).await;
    let streamed = stage::start(stage::streamed(stage::plan(&[]))).await;
    for world in [&read, &streamed] {
        let caller = world
            .plain_caller()
            .bearer(&world.issuer.token("checkout-collector"))
            .http2();
        let report = LegacySample::of(Format::ReportsGrpc, "checkout", 2).body();
        for (path, message) in [
            (
                Signal::Traces.grpc_path(),
                Sample::traces("checkout", 2).protobuf(),
            ),
            ("/lightstep.collector.CollectorService/Report", report),
        ] {
            let send = async |timeout: &str| {
                call(&caller, path, ("grpc-timeout", timeout), &message).await
            };
            for broken in [
                "1",
                "S",
                "1x",
                "1s",
                "-1S",
                "+1S",
                "1.5S",
                "1 S",
                "123456789S",
                "",
                "1S, 1S",
                "soon",
                "1SS",
            ] {
                world.emulator.clear();
                let answer = send(broken).await;
                let told = format!("{path} {broken}");
                refused(world, &answer, 400, "malformed_grpc_timeout", &told).await;
                assert!(world.emulator.captured().is_empty(), "{broken}");
            }
            for (sound, most) in [
                ("10S", 10_000),
                ("9999m", 9_999),
                ("9000000u", 9_000),
                ("99999999H", 30_000),
                ("00000001M", 30_000),
                ("99999999n", 99),
            ] {
                world.emulator.clear();
                let answer = send(sound).await;
                // A machine under load may need longer than the shortest.
                if most > 1000 {
                    assert_eq!(status(&answer), 200, "{path} {sound}");
                }
                for captured in world.emulator.captured() {
                    let told = captured.header("grpc-timeout").concat();
                    let millis: u64 = told.strip_suffix('m').unwrap().parse().unwrap();
                    assert!((1..=most).contains(&millis), "{path} {sound}: {told}");
                }
            }
            for over in ["0n", "0S", "00000000H", "1n"] {
                world.emulator.clear();
                let answer = send(over).await;
                let told = format!("{path} {over}");
                refused(world, &answer, 504, "deadline_exceeded", &told).await;
                assert!(world.emulator.captured().is_empty(), "{path} {over}");
            }
            world.emulator.fail(Endpoints::All, Fault::Held);
            let answer = send("200m").await;
            refused(world, &answer, 504, "deadline_exceeded", path).await;
            world.emulator.heal();
        }
    }
}

/// Scenario: metadata with `_`, which gRPC allows, beside a good export; and an encoding that is not known here.
/// Guarantees: the one name is left out, not the export; the refusal names what may be chosen instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_clients_keep_their_habits() {
    let world = stage::start(stage::plan(&[])).await;
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"))
        .http2();
    let message = Sample::traces("checkout", 2).protobuf();
    let send = async |more| call(&caller, Signal::Traces.grpc_path(), more, &message).await;
    assert_eq!(status(&send(("x_tenant_id", "5")).await), 200);
    let captured = world.emulator.captured();
    assert!(
        captured
            .iter()
            .all(|captured| captured.header("x_tenant_id").is_empty())
            && captured.len() == 1
    );
    for name in ["lightstep_access_token", "content_type", "grpc_timeout"] {
        let answer = send((name, "5")).await;
        refused(&world, &answer, 400, "malformed_header", name).await;
    }
    let answer = send(("grpc-encoding", "snappy")).await;
    refused(
        &world,
        &answer,
        415,
        "content_encoding_unsupported",
        "snappy",
    )
    .await;
    assert_eq!(
        answer.header("grpc-accept-encoding").as_deref(),
        Some("identity,gzip,deflate,zstd")
    );
}

/// Scenario: a webhook's message under other names than JSON's. Guarantees: 415, and no destination is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_told_in_json() {
    let world = stage::start(stage::plan(&[])).await;
    let caller = world.plain_caller().bearer(&webhook_secret("shop"));
    for (kind, expected) in [
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=utf-8; charset=utf-16", 415),
        ("text/plain", 415),
        ("application/json; charset=utf-8", 200),
    ] {
        let answer = post(
            &caller,
            "/apps/shop/-/alerts",
            kind,
            br#"{"name":"errors"}"#,
        )
        .await;
        assert_eq!(answer.status, expected, "{kind}");
        assert_eq!(
            world.receiver.received().len(),
            usize::from(expected == 200),
            "{kind}"
        );
    }
}
