//! Habits of real exporters: what they put into values, how they compress, and what they are told. What it refuses to
//! know: how a body is walked (the unit tests of `otlp` do).

use std::io::Write as _;

use http::Method;
use testkit::{Coding, Endpoints, Fault, Sample};

use super::exports::{checkout, frontend, record_of};
use super::stage;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn export(value: &str) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"checkout"}}}},{{"key":"r","value":{value}}}]}},"scopeSpans":[{{"spans":[{{"name":"op","attributes":[{{"key":"a","value":{value}}}]}}]}}]}}]}}"#
    )
}

/// Scenario: JSON exports whose values hold half of a cut emoji, or lie 64 levels deep, of one project, of two, and
/// untouched. Guarantees: the values arrive byte for byte; what is nested deeper than any reader needs is refused, soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_arrive_as_they_are() {
    let deep = |depth: usize| {
        let open = r#"{"kvlistValue":{"values":[{"key":"k","value":"#.repeat(depth);
        format!(r#"{open}{{"stringValue":"x"}}{}"#, "}]}}".repeat(depth))
    };
    let torn = r#"{"stringValue":"thanks! \ud83d"}"#.to_owned();
    for plan in [stage::plan(&[]), stage::streamed(stage::plan(&[]))] {
        let world = stage::start(plan).await;
        // What the backend makes of it, is not the question.
        let taken = Fault::Say {
            status: 200,
            content_type: "application/json",
            body: "{}".to_owned(),
        };
        world.emulator.fail(Endpoints::All, taken);
        for value in [&torn, &deep(64), &deep(100)] {
            world.emulator.clear();
            let body = export(value).into_bytes();
            let answer = checkout(&world)
                .send(Method::POST, "/v1/traces", &JSON, body)
                .await
                .unwrap();
            let record = record_of(&world, &answer).await;
            assert_eq!(answer.status, 200, "{record}");
            let captured = world.emulator.captured();
            let arrived = String::from_utf8(captured[0].body.clone()).unwrap();
            assert_eq!(
                arrived
                    .matches(&format!(r#"{{"key":"a","value":{value}}}"#))
                    .count(),
                1,
                "{arrived}"
            );
            assert_eq!(
                arrived
                    .matches(&format!(r#"{{"key":"r","value":{value}}}"#))
                    .count(),
                1,
                "{arrived}"
            );
        }
    }
    let world = stage::start(stage::plan(&[])).await;
    for value in [deep(200), deep(100_000), "[".repeat(1 << 20)] {
        let body = export(&value).into_bytes();
        let answer = checkout(&world)
            .send(Method::POST, "/v1/traces", &JSON, body)
            .await
            .unwrap();
        let record = record_of(&world, &answer).await;
        assert_eq!(
            (answer.status, &record["reason"]),
            (400, &"body_malformed".into()),
            "{record}"
        );
        assert!(
            record["detail"]
                .as_str()
                .unwrap()
                .contains("nested too deep"),
            "{record}"
        );
    }
    assert_eq!(world.emulator.heads(), 0);
}

/// Scenario: half of a surrogate pair in an old JSON format. Guarantees: the report arrives with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_formats_carry_torn_text_too() {
    let world = stage::start(stage::plan(&[])).await;
    let taken = Fault::Say {
        status: 202,
        content_type: "text/plain",
        body: String::new(),
    };
    world.emulator.fail(Endpoints::All, taken);
    let torn = r#""tags":{"message":"thanks! \ud83d"}"#;
    let body = format!(
        r#"[{{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"a2fb4a1d1a96d312","localEndpoint":{{"serviceName":"checkout"}},{torn}}}]"#
    );
    let answer = checkout(&world)
        .send(Method::POST, "/api/v2/spans", &JSON, body.into_bytes())
        .await
        .unwrap();
    let record = record_of(&world, &answer).await;
    assert_eq!(answer.status, 202, "{record}");
    assert!(
        String::from_utf8_lossy(&world.emulator.captured()[0].body).contains(r"thanks! \ud83d")
    );
}

/// Scenario: every compression that OpenTelemetry's Collector has over HTTP (`configcompression`), each also as a bomb.
/// Guarantees: what arrives is what was sent, in a coding that the backend knows; a bomb is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collectors_compressions_are_undone() {
    let block = |plain: &[u8]| snap::raw::Encoder::new().compress_vec(plain).unwrap();
    let framed = |plain: &[u8]| {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.into_inner().unwrap()
    };
    let zlib = |plain: &[u8]| Coding::Deflate.compress(plain).unwrap();
    type Way<'a> = (&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>, Coding);
    let ways: [Way<'_>; 5] = [
        ("zlib", &zlib, Coding::Deflate),
        ("deflate", &zlib, Coding::Deflate),
        ("snappy", &block, Coding::Gzip),
        ("snappy", &framed, Coding::Gzip),
        ("x-snappy-framed", &framed, Coding::Gzip),
    ];
    let mut plan = stage::plan(&[]);
    plan.more = "limits: { decompressed_body: 1MiB, body: 1MiB }\n".to_owned();
    let world = stage::start(plan).await;
    let sample = Sample::traces("checkout", 20).and("payments", 3);
    for (name, pack, leaves) in ways {
        world.emulator.clear();
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", name),
        ];
        let send = async |body| {
            frontend(&world)
                .send(Method::POST, "/v1/traces", &headers, body)
                .await
                .unwrap()
        };
        let answer = send(pack(&sample.protobuf())).await;
        let record = record_of(&world, &answer).await;
        assert_eq!(
            (answer.status, &record["items"]["accepted"]),
            (200, &23.into()),
            "{name}: {record}"
        );
        let exports = world.emulator.exports();
        assert_eq!(
            exports
                .iter()
                .map(testkit::emulator::Export::items)
                .sum::<u64>(),
            23,
            "{name}"
        );
        assert!(
            exports.iter().all(|export| export.coding == leaves),
            "{name}"
        );
        let answer = send(pack(&vec![0x0a; 4 << 20])).await;
        assert_eq!(
            answer.status,
            413,
            "{name}: {}",
            record_of(&world, &answer).await
        );
        let answer = send(b"neither".to_vec()).await;
        let record = record_of(&world, &answer).await;
        assert_eq!(
            (answer.status, &record["reason"]),
            (400, &"body_undecodable".into()),
            "{name}: {record}"
        );
    }
    for name in ["lz4", "br", "snappy, gzip"] {
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", name),
        ];
        let answer = frontend(&world)
            .send(Method::POST, "/v1/traces", &headers, sample.protobuf())
            .await
            .unwrap();
        assert_eq!(answer.status, 415, "{name}");
    }
}

/// Scenario: exports that are wrong in their head, in their body, and in their app. Guarantees: the words tell which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_400_tells_what_to_mend() {
    let world = stage::start(stage::plan(&[])).await;
    let one = export(r#"{"stringValue":"x"}"#);
    let unnamed = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"op"}]}]}]}"#.to_owned();
    let another = world.issuer.token("ann");
    let torn = export(r#"{"stringValue":"x"}"#).replace(r#""checkout""#, r#""check\ud83dout""#);
    for (body, header, expected) in [
        (format!("{one}\n{one}"), ("x", "y"), "the body"),
        ("neither".to_owned(), ("x", "y"), "the body"),
        (one.clone(), ("content-encoding", "gzip"), "the body"),
        (one.clone(), ("lightkeeper-app", "sh op"), "the head"),
        (
            one.clone(),
            ("lightstep-access-token", another.as_str()),
            "the head",
        ),
        (unnamed, ("x", "y"), "several apps"),
        (torn, ("x", "y"), "several apps"),
    ] {
        let headers = [JSON[0], header];
        let answer = frontend(&world)
            .send(Method::POST, "/v1/traces", &headers, body.into_bytes())
            .await
            .unwrap();
        let text = answer.text();
        assert_eq!(answer.status, 400, "{expected}: {text}");
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(
            text.contains("names its app"),
            expected == "several apps",
            "{text}"
        );
    }
}
