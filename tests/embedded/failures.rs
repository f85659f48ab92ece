//! The emulator's failure switches, each over HTTP, gRPC and the query API.

use std::time::{Duration, Instant};

use http::Method;
use lightkeeper::otlp::Encoding;
use testkit::emulator::Role;
use testkit::{
    Answer, CallFault, Carrier, Emulator, Endpoints, Fault, Format, LegacySample, Partial, Sample,
    SampleCaller,
};

use super::emulator::{reader, sender};

const PROJECTS: &str = "/public/v0.2/acme/projects";

async fn http(emulator: &Emulator) -> Result<Answer, CallFault> {
    sender(emulator, "shop-prod")
        .export(&Sample::traces("frontend", 1), Encoding::Protobuf)
        .await
}

async fn grpc(emulator: &Emulator) -> Result<Answer, CallFault> {
    sender(emulator, "shop-prod")
        .export_grpc(&Sample::traces("frontend", 1))
        .await
}

async fn query(emulator: &Emulator) -> Result<Answer, CallFault> {
    reader(emulator, Role::Viewer).get(PROJECTS).await
}

/// Scenario: each status on each class of endpoints. Guarantees: every dialect says it in its own way.
#[tokio::test]
async fn statuses_are_said_in_the_endpoints_dialect() {
    let emulator = Emulator::start().await.unwrap();
    for (status, retry, code) in [
        (400, None, 3),
        (401, None, 16),
        (403, None, 7),
        (404, None, 12),
        (413, None, 8),
        (429, None, 14),
        (429, Some(7), 8),
        (500, None, 13),
        (503, Some(1), 14),
        (504, None, 4),
    ] {
        emulator.fail(
            Endpoints::All,
            Fault::Status {
                status,
                retry_after_seconds: retry,
            },
        );
        let retry = retry.map(|seconds| seconds.to_string());
        let answer = http(&emulator).await.unwrap();
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (status, retry.clone())
        );
        assert_eq!(
            answer.header("content-type").unwrap(),
            "application/x-protobuf"
        );
        let answer = query(&emulator).await.unwrap();
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (status, retry.clone())
        );
        assert!(answer.json().unwrap()["errors"][0].is_string());
        let answer = grpc(&emulator).await.unwrap();
        assert_eq!((answer.status, answer.grpc_status()), (200, Some(code)));
        assert_eq!(
            answer.header("grpc-status-details-bin").is_some(),
            retry.is_some()
        );
    }
    emulator.fail(Endpoints::All, Fault::PlainStatus { status: 502 });
    for answer in [
        http(&emulator).await,
        grpc(&emulator).await,
        query(&emulator).await,
    ] {
        let answer = answer.unwrap();
        assert_eq!(
            (answer.status, answer.header("content-type").as_deref()),
            (502, Some("text/html"))
        );
    }
}

/// Scenario: one class fails, two times. Guarantees: the others are well, and the third call is.
#[tokio::test]
async fn a_fault_strikes_its_class_and_its_number() {
    let emulator = Emulator::start().await.unwrap();
    emulator.fail_times(Endpoints::IngestHttp, Fault::status(401), 2);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(http(&emulator).await.unwrap().status);
        assert_eq!(query(&emulator).await.unwrap().status, 200);
        assert_eq!(grpc(&emulator).await.unwrap().grpc_status(), Some(0));
    }
    assert_eq!(statuses, [401, 401, 200]);
    emulator.fail(Endpoints::Query, Fault::status(503));
    emulator.heal();
    assert_eq!(query(&emulator).await.unwrap().status, 200);
    assert_eq!(emulator.captured().len(), 10);
}

/// Scenario: the connection is dropped before and after the head, on HTTP/1.1 and h2.
/// Guarantees: the request was received; no whole answer comes.
#[tokio::test]
async fn connections_are_dropped() {
    let emulator = Emulator::start().await.unwrap();
    emulator.fail(Endpoints::All, Fault::CloseBeforeHead);
    for answer in [
        http(&emulator).await,
        grpc(&emulator).await,
        query(&emulator).await,
    ] {
        assert!(matches!(answer, Err(CallFault::NoAnswer(_))), "{answer:?}");
    }
    emulator.fail(Endpoints::All, Fault::CloseAfterHead);
    for answer in [
        http(&emulator).await,
        grpc(&emulator).await,
        query(&emulator).await,
    ] {
        assert!(
            matches!(&answer, Err(CallFault::Broken { status: 200, read, .. }) if read == b"{"),
            "{answer:?}"
        );
    }
    assert_eq!(emulator.captured().len(), 6);
}

/// Scenario: slow answers and slow drips. Guarantees: a patient caller gets all, an impatient one nothing.
/// The durations are lower bounds that the emulator promises, no measurements.
#[tokio::test]
async fn answers_are_slow() {
    let emulator = Emulator::start().await.unwrap();
    let delay = Duration::from_millis(200);
    for fault in [
        Fault::Slow(delay),
        Fault::Drip {
            bytes: 4,
            interval: delay / 4,
        },
    ] {
        emulator.fail(Endpoints::All, fault);
        let start = Instant::now();
        assert_eq!(http(&emulator).await.unwrap().status, 200);
        assert!(start.elapsed() >= delay);
        assert_eq!(grpc(&emulator).await.unwrap().status, 200);
    }
    emulator.fail(Endpoints::All, Fault::Slow(Duration::from_secs(60)));
    let hasty = SampleCaller::new(&emulator.url()).deadline(Duration::from_millis(100));
    assert!(matches!(
        hasty.get("/v1/traces").await,
        Err(CallFault::Late)
    ));
}

/// Scenario: an echo. Guarantees: a credential that was received comes back in headers and body, on every
/// class, so that a test of leaks has something to find.
#[tokio::test]
async fn echoes_give_the_credential_away() {
    let emulator = Emulator::start().await.unwrap();
    emulator.fail(Endpoints::All, Fault::Echo);
    let token = Emulator::access_token("shop-prod");
    let ingest = ("lightstep-access-token", token.as_str());
    let key = format!("Bearer {}", Emulator::api_key(Role::Viewer));
    let answers = [
        (http(&emulator).await.unwrap(), ingest),
        (grpc(&emulator).await.unwrap(), ingest),
        (
            query(&emulator).await.unwrap(),
            ("authorization", key.as_str()),
        ),
    ];
    for (answer, (name, value)) in answers {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header(name).as_deref(), Some(value));
        assert_eq!(
            answer.header(&format!("echo-{name}")).as_deref(),
            Some(value)
        );
        assert!(answer.text().contains(value));
    }
    let answer = grpc(&emulator).await.unwrap();
    assert!(answer.grpc_message().unwrap().contains(&token));
    assert_eq!(
        answer.trailers.get("lightstep-access-token").unwrap(),
        token.as_str()
    );
}

/// Scenario: garbage, huge answers, partial success. Guarantees: each is what it says.
#[tokio::test]
async fn odd_answers() {
    let emulator = Emulator::start().await.unwrap();
    emulator.fail(Endpoints::All, Fault::Garbage);
    assert!(query(&emulator).await.unwrap().json().is_none());
    assert_eq!(grpc(&emulator).await.unwrap().grpc_status(), None);
    assert_eq!(http(&emulator).await.unwrap().status, 200);
    emulator.fail(Endpoints::All, Fault::Huge(3 << 20));
    for answer in [
        http(&emulator).await,
        grpc(&emulator).await,
        query(&emulator).await,
    ] {
        assert_eq!(answer.unwrap().body.len(), 3 << 20);
    }
    emulator.fail(
        Endpoints::All,
        Fault::PartialSuccess {
            rejected: 2,
            message: "quota".to_owned(),
        },
    );
    // Field 1 { field 1: 2, field 2: "quota" }.
    let message = b"\x0a\x09\x08\x02\x12\x05quota";
    assert_eq!(http(&emulator).await.unwrap().body, message);
    assert_eq!(grpc(&emulator).await.unwrap().grpc_body().unwrap(), message);
    let caller = sender(&emulator, "shop-prod");
    let answer = caller
        .export(&Sample::traces("frontend", 1), Encoding::Json)
        .await
        .unwrap();
    assert_eq!(
        answer.text(),
        "{\"partialSuccess\":{\"errorMessage\":\"quota\",\"rejectedSpans\":\"2\"}}"
    );
    assert_eq!(query(&emulator).await.unwrap().status, 200);
}

/// Scenario: a refusal that does not wait for the body. Guarantees: it comes before the body ends.
#[tokio::test]
async fn an_early_refusal_does_not_wait_for_the_body() {
    let emulator = Emulator::start().await.unwrap();
    emulator.fail(Endpoints::IngestHttp, Fault::EarlyStatus { status: 413 });
    let head = b"POST /v1/traces HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
    let caller = SampleCaller::new(&emulator.url()).deadline(Duration::from_secs(1));
    let answer = caller.raw(head).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 413"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert!(!emulator.captured()[0].complete);
}

/// Scenario: the emulator stops and comes back on the same port.
#[tokio::test]
async fn a_stopped_emulator_refuses_connections() {
    let emulator = Emulator::start().await.unwrap();
    emulator.stop().await;
    assert!(matches!(http(&emulator).await, Err(CallFault::Connect(_))));
    emulator.restart().await.unwrap();
    assert_eq!(http(&emulator).await.unwrap().status, 200);
}

/// Scenario: one project fails in each way, others and both protocols beside it; the next two alone; in every
/// format. Guarantees: the others work throughout, and the third call works again.
#[tokio::test]
async fn a_fault_strikes_its_project() {
    let emulator = Emulator::start().await.unwrap();
    let sick = async |sample: &Sample| {
        sender(&emulator, "payments-prod")
            .export(sample, Encoding::Protobuf)
            .await
    };
    let sample = Sample::traces("payments", 1);
    for (fault, status) in [
        (Fault::status(503), Some(503)),
        (
            Fault::Status {
                status: 429,
                retry_after_seconds: Some(3),
            },
            Some(429),
        ),
        (Fault::status(400), Some(400)),
        (Fault::EarlyStatus { status: 413 }, Some(413)),
        (Fault::PlainStatus { status: 502 }, Some(502)),
        (Fault::Garbage, Some(200)),
        (Fault::CloseBeforeHead, None),
        (Fault::Reset, None),
        (Fault::AcceptThenClose, None),
        (Fault::AcceptThenReset, None),
    ] {
        emulator.clear();
        let accepts = matches!(fault, Fault::AcceptThenClose | Fault::AcceptThenReset);
        emulator.fail_project_times("payments-prod", fault.clone(), 2);
        for _ in 0..2 {
            assert_eq!(
                sick(&sample).await.ok().map(|answer| answer.status),
                status,
                "{fault:?}"
            );
            assert_eq!(http(&emulator).await.unwrap().status, 200);
            assert_eq!(grpc(&emulator).await.unwrap().grpc_status(), Some(0));
            assert_eq!(query(&emulator).await.unwrap().status, 200);
        }
        assert_eq!(sick(&sample).await.unwrap().status, 200, "{fault:?}");
        let arrived = emulator
            .exports()
            .iter()
            .filter(|export| export.project == "payments-prod")
            .count();
        assert_eq!(arrived, if accepts { 3 } else { 1 }, "{fault:?}");
        assert_eq!(emulator.captured().len(), 9);
    }
    emulator.fail_project(
        "payments-prod",
        Fault::PartialSuccess {
            rejected: 1,
            message: "full".to_owned(),
        },
    );
    let partial = Some(Partial {
        rejected: 1,
        message: "full".to_owned(),
    });
    assert_eq!(sick(&sample).await.unwrap().partial_success(), Ok(partial));
    assert_eq!(http(&emulator).await.unwrap().partial_success(), Ok(None));
    // Its own fault goes before its class's, and healing one leaves the other.
    emulator.fail_project("payments-prod", Fault::status(503));
    emulator.fail(Endpoints::IngestHttp, Fault::status(400));
    assert_eq!(sick(&sample).await.unwrap().status, 503);
    assert_eq!(http(&emulator).await.unwrap().status, 400);
    emulator.heal_project("payments-prod");
    assert_eq!(sick(&sample).await.unwrap().status, 400);
    emulator.heal();
    // A project that only the body names.
    emulator.fail_project("payments-prod", Fault::status(503));
    for (project, status) in [("payments-prod", 503), ("shop-prod", 200)] {
        let report = LegacySample::of(Format::Reports, "s", 1)
            .carrying(Carrier::Body, &Emulator::access_token(project));
        assert_eq!(
            SampleCaller::new(&emulator.url())
                .report(&report)
                .await
                .unwrap()
                .status,
            status
        );
    }
}

/// Scenario: two projects' exports at once on one HTTP/2 connection, one of them reset.
/// Guarantees: the other is answered, on the same connection.
#[tokio::test]
async fn a_reset_ends_one_stream() {
    let emulator = Emulator::start().await.unwrap();
    let body = Sample::traces("frontend", 1).protobuf();
    let kind = "application/x-protobuf";
    for fault in [Fault::Reset, Fault::AcceptThenReset] {
        emulator.clear();
        emulator.fail_project("payments-prod", fault);
        let mut line = SampleCaller::new(&emulator.url())
            .http2()
            .connect()
            .await
            .unwrap();
        for (project, answered) in [
            ("shop-prod", true),
            ("payments-prod", false),
            ("shop-prod", true),
        ] {
            let token = Emulator::access_token(project);
            let headers = [
                ("content-type", kind),
                ("lightstep-access-token", token.as_str()),
            ];
            let answer = line
                .send(Method::POST, "/v1/traces", &headers, body.clone())
                .await;
            assert_eq!(answer.is_ok(), answered, "{answer:?}");
        }
        let connections: Vec<u64> = emulator
            .captured()
            .iter()
            .map(|request| request.connection)
            .collect();
        assert!(
            connections.iter().all(|number| *number == connections[0]),
            "{connections:?}"
        );
    }
}

/// Scenario: exports over many calls, some of which are accepted but never answered, so that their sender repeats
/// them. Guarantees: each span is counted as often as it was accepted, in all formats together.
#[tokio::test]
async fn spans_are_counted() {
    let emulator = Emulator::start().await.unwrap();
    let shop = sender(&emulator, "shop-prod");
    let mut expected = std::collections::BTreeMap::new();
    for seed in 0..20 {
        let sample = Sample::traces("frontend", 3).and("cart", 2).seed(seed);
        let doubled = seed % 5 == 0;
        if doubled {
            emulator.fail_project_times("shop-prod", Fault::AcceptThenClose, 1);
            assert!(shop.export(&sample, Encoding::Json).await.is_err());
        }
        let again = if seed % 2 == 0 {
            shop.export(&sample, Encoding::Json)
        } else {
            shop.export(&sample, Encoding::Protobuf)
        };
        assert_eq!(again.await.unwrap().status, 200);
        expected.extend(
            sample
                .span_ids()
                .into_iter()
                .map(|id| (id, 1 + u64::from(doubled))),
        );
    }
    let report = LegacySample::of(Format::ThriftBinary, "old", 4)
        .seed(99)
        .token(&Emulator::access_token("shop-prod"));
    assert_eq!(
        SampleCaller::new(&emulator.url())
            .report(&report)
            .await
            .unwrap()
            .status,
        200
    );
    expected.extend(report.span_ids().into_iter().map(|id| (id, 1)));
    assert_eq!(expected.len(), 104);
    assert_eq!(emulator.span_ids(), expected);
    emulator.clear();
    assert!(emulator.span_ids().is_empty());
}
