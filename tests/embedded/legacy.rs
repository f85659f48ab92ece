//! The emulator's legacy formats: what is taken, what is refused for which token, how each answers.

use http::Method;
use lightkeeper::otlp::Signal;
use serde_json::{Value, json};
use testkit::emulator::{Export, Level};
use testkit::thrift::{Kind, Message, Thrift, all};
use testkit::{Answer, Carrier, Coding, Emulator, Fault, Format, LegacySample, SampleCaller};

fn of(project: &str) -> String {
    Emulator::access_token(project)
}

async fn report(emulator: &Emulator, sample: &LegacySample) -> Answer {
    SampleCaller::new(&emulator.url())
        .report(sample)
        .await
        .unwrap()
}

/// Whether the answer says yes: gRPC has its own number.
fn said(answer: &Answer) -> u32 {
    answer.grpc_status().unwrap_or(u32::from(answer.status))
}

fn pairs(export: &Export, level: Level) -> Vec<(&str, &str)> {
    let all = export
        .attributes()
        .into_iter()
        .filter(|(at, _, _)| *at == level);
    all.map(|(_, name, value)| (name, value)).collect()
}

/// Scenario: each format as its usual clients send it, compressed in each way, over each protocol that it has, in
/// pieces. Guarantees: it is taken once, decoded, and counted for the token's project; the answer is the format's.
#[tokio::test]
async fn every_format_is_taken() {
    let emulator = Emulator::start().await.unwrap();
    let calls = [
        SampleCaller::new(&emulator.url()),
        SampleCaller::new(&emulator.url()).chunked(),
        SampleCaller::new(&emulator.url())
            .http2()
            .compressing(Coding::Gzip),
        SampleCaller::new(&emulator.url()).compressing(Coding::Deflate),
        SampleCaller::new(&emulator.url()).compressing(Coding::Zstd),
    ];
    for (format, signal, good) in [
        (Format::Reports, Signal::Traces, 200),
        (Format::ReportsJson, Signal::Traces, 200),
        (Format::ReportsGrpc, Signal::Traces, 0),
        (Format::ThriftJson, Signal::Traces, 200),
        (Format::ThriftBinary, Signal::Traces, 200),
        (Format::Metrics, Signal::Metrics, 200),
        (Format::Zipkin, Signal::Traces, 202),
        (Format::Bulk, Signal::Logs, 200),
        (Format::Firehose, Signal::Metrics, 200),
    ] {
        for (caller, coding) in calls.iter().zip([
            Coding::Identity,
            Coding::Identity,
            Coding::Gzip,
            Coding::Deflate,
            Coding::Zstd,
        ]) {
            emulator.clear();
            let sample = LegacySample::of(format, "checkout", 3)
                .token(&of("checkout-prod"))
                .unknown_fields();
            let sample = sample.tag("owner", "team").span_tag("cart", "7");
            let answer = caller.report(&sample).await.unwrap();
            assert_eq!(
                said(&answer),
                good,
                "{format:?} {coding:?}: {}",
                answer.text()
            );
            assert_eq!(
                answer.header("content-type").as_deref(),
                Some(format.content_type())
            );
            let [export] = &emulator.exports()[..] else {
                panic!("{format:?}: not one export")
            };
            assert_eq!(
                (export.project.as_str(), export.signal, export.items()),
                ("checkout-prod", signal, 3)
            );
            assert!(
                export
                    .services()
                    .iter()
                    .all(|service| *service == "checkout")
                    && !export.services().is_empty()
            );
            assert_eq!(
                (export.coding, export.grpc),
                (coding, format == Format::ReportsGrpc)
            );
            let legacy = export.legacy.as_ref().unwrap();
            assert_eq!(
                (legacy.format, &legacy.carriers[..]),
                (format, format.usual_carriers())
            );
            assert_eq!(export.span_ids(), sample.span_ids());
            assert_eq!(emulator.span_ids().len(), sample.span_ids().len());
            // These have no reporter of their own.
            let bare = matches!(format, Format::Zipkin | Format::Bulk | Format::Firehose);
            assert_eq!(
                pairs(export, Level::Resource).contains(&("owner", "team")),
                !bare,
                "{format:?}"
            );
            let captured = &emulator.captured()[0];
            assert_eq!(captured.project.as_deref(), Some("checkout-prod"));
            // A password is in base64.
            assert_eq!(
                captured.contains(of("checkout-prod").as_bytes()),
                format != Format::Bulk,
                "{format:?}"
            );
            assert_eq!(captured.plain().unwrap(), sample.body());
        }
    }
}

/// Scenario: for each format and each place where a token may stand: the place alone, the place with a stranger's
/// token beside good ones, the place with another project's. Guarantees: whichever place was forgotten, the
/// report is refused, and nothing of it is kept.
#[tokio::test]
async fn a_token_in_any_place_counts() {
    let emulator = Emulator::start().await.unwrap();
    for format in Format::ALL {
        for carrier in format.carriers() {
            emulator.clear();
            let blank = LegacySample::of(format, "checkout", 2);
            let replaced = |token: &str| {
                let others = format.carriers().iter().filter(|other| *other != carrier);
                others.fold(blank.clone().carrying(*carrier, token), |sample, other| {
                    sample.carrying(*other, &of("checkout-prod"))
                })
            };
            let refused = |status: u16| match (format, status) {
                (Format::ReportsGrpc, 400) => 3,
                (Format::ReportsGrpc, _) => 16,
                (Format::ThriftBinary, _) => 400,
                _ => u32::from(status),
            };
            for (what, sample, status) in [
                ("none", blank.clone(), refused(401)),
                ("a stranger's", replaced("callers-own-token"), refused(401)),
                ("an empty one", replaced(""), refused(401)),
                (
                    "another project's",
                    replaced(&of("payments-prod")),
                    refused(400),
                ),
            ] {
                let answer = report(&emulator, &sample).await;
                assert_eq!(
                    said(&answer),
                    status,
                    "{format:?} {carrier:?} {what}: {}",
                    answer.text()
                );
            }
            assert!(emulator.exports().is_empty(), "{format:?} {carrier:?}");
            // The place alone, and beside the usual ones.
            for sample in [
                blank.clone().carrying(*carrier, &of("checkout-prod")),
                replaced(&of("checkout-prod")),
            ] {
                emulator.clear();
                assert!(
                    [0, 200, 202].contains(&said(&report(&emulator, &sample).await)),
                    "{format:?} {carrier:?}"
                );
                let legacy = emulator.exports()[0].legacy.clone().unwrap();
                assert!(
                    legacy.carriers.contains(carrier),
                    "{format:?} {carrier:?}: {legacy:?}"
                );
                let kept = format!("{:?}", emulator.exports());
                assert!(
                    !kept.contains(&of("checkout-prod")),
                    "{format:?}: a token is kept"
                );
            }
        }
    }
}

/// Scenario: a second token of a kind, a stranger's, where a format has room for two. Guarantees: neither the
/// first nor the last wins: the report is refused.
#[tokio::test]
async fn a_second_token_of_a_kind_counts() {
    let emulator = Emulator::start().await.unwrap();
    for (format, carrier) in [
        (Format::Reports, Carrier::Header),
        (Format::Reports, Carrier::Body),
        (Format::ReportsGrpc, Carrier::Header),
        (Format::ReportsGrpc, Carrier::Body),
        (Format::ThriftJson, Carrier::Header),
        (Format::ThriftBinary, Carrier::Body),
        (Format::Zipkin, Carrier::Tag),
        (Format::Reports, Carrier::Tag),
        (Format::Bulk, Carrier::Basic),
        (Format::Firehose, Carrier::FirehoseKey),
    ] {
        for tokens in [
            [of("shop-prod").as_str(), "callers-own-token"],
            ["callers-own-token", of("shop-prod").as_str()],
        ] {
            let sample = tokens
                .iter()
                .fold(LegacySample::of(format, "checkout", 2), |sample, token| {
                    sample.carrying(carrier, token)
                });
            let status = said(&report(&emulator, &sample).await);
            assert!(
                matches!(status, 400 | 401 | 16),
                "{format:?} {carrier:?}: {status}"
            );
        }
    }
    assert!(emulator.exports().is_empty());
}

/// Scenario: Zipkin spans of which one has no token. Guarantees: they are refused, unless the head has one.
#[tokio::test]
async fn every_zipkin_span_needs_its_token() {
    let emulator = Emulator::start().await.unwrap();
    let token = of("checkout-prod");
    let tagged = json!({ "id": "1", "tags": { "lightstep.access_token": token } });
    let bare = json!({ "id": "2", "localEndpoint": { "serviceName": "cart" } });
    let body = json!([tagged, bare]).to_string().into_bytes();
    let kind = [("content-type", "application/json")];
    for (caller, status) in [
        (SampleCaller::new(&emulator.url()), 401),
        (SampleCaller::new(&emulator.url()).access_token(&token), 202),
        (
            SampleCaller::new(&emulator.url()).access_token(&of("shop-prod")),
            400,
        ),
    ] {
        let answer = caller
            .send(Method::POST, "/api/v2/spans", &kind, body.clone())
            .await
            .unwrap();
        assert_eq!(answer.status, status);
    }
    assert_eq!(emulator.exports()[0].services(), ["cart"]);
    assert_eq!(
        (emulator.exports().len(), emulator.exports()[0].span_ids()),
        (1, vec![1, 2])
    );
}

/// Scenario: bodies that are no report, and odd heads, in a table. Guarantees: 400 and the like, never a report.
#[tokio::test]
async fn bad_reports_are_refused() {
    let emulator = Emulator::start().await.unwrap();
    let caller = SampleCaller::new(&emulator.url()).access_token(&of("shop-prod"));
    for (format, body) in [
        (Format::Reports, &b"\xff\xff"[..]),
        (Format::ReportsJson, b"{"),
        (Format::ReportsJson, b"{\"spans\":{}}"),
        (Format::ThriftJson, b"[]"),
        (
            Format::ThriftJson,
            b"{\"span_records\":[{\"span_guid\":\"not hex\"}]}",
        ),
        (
            Format::ThriftBinary,
            b"\x80\x01\x00\x01\x00\x00\x00\x06Report",
        ),
        (
            Format::ThriftBinary,
            b"\x80\x01\x00\x01\x00\x00\x00\x05Other\x00\x00\x00\x01\x00",
        ),
        (Format::Metrics, b"\x0a"),
        (Format::Zipkin, b"{}"),
        (Format::Zipkin, b"[{\"id\":\"1\",\"tags\":{\"a\":1}}]"),
        (Format::Bulk, b"{\"create\":{}}\n"),
        (Format::Bulk, b"{\"delete\":{}}\n{}\n"),
        (Format::Firehose, b"{\"records\":[]}"),
        (
            Format::Firehose,
            b"{\"requestId\":\"r\",\"records\":[{\"data\":\"CQ==\"}]}",
        ),
    ] {
        let kind = [("content-type", format.content_type())];
        let answer = caller
            .send(Method::POST, format.path(), &kind, body.to_vec())
            .await
            .unwrap();
        assert_eq!(
            answer.status,
            400,
            "{format:?} {}",
            String::from_utf8_lossy(body)
        );
        let get = caller
            .send(Method::GET, format.path(), &kind, Vec::new())
            .await
            .unwrap();
        assert_eq!(get.status, 405, "{format:?}");
        let odd = caller.clone().header("content-encoding", "br");
        let odd = odd
            .send(Method::POST, format.path(), &kind, body.to_vec())
            .await
            .unwrap();
        assert_eq!(odd.status, 415, "{format:?}");
    }
    let answer = caller
        .grpc(Format::ReportsGrpc.path(), b"\xff")
        .await
        .unwrap();
    assert_eq!((answer.status, answer.grpc_status()), (200, Some(3)));
    assert!(emulator.exports().is_empty());
}

/// The result of a Thrift call, field 0 or the exception's text.
fn thrift(answer: &Answer) -> Message {
    Message::read(&answer.body).expect("a Thrift message")
}

/// Scenario: good and bad tokens, a full backend, and a backend that switches its tracers off.
/// Guarantees: every format's clients are told in a body that they read, with both times.
#[tokio::test]
async fn answers_are_what_the_clients_read() {
    let emulator = Emulator::start().await.unwrap();
    let good = |format| LegacySample::of(format, "checkout", 2).token(&of("shop-prod"));
    for disable in [false, true] {
        emulator.heal();
        if disable {
            emulator.fail_project("shop-prod", Fault::DisableCommand);
        }
        for format in [Format::Reports, Format::ReportsGrpc] {
            let response = report(&emulator, &good(format))
                .await
                .report_response()
                .unwrap();
            assert_eq!(
                response.commands.iter().any(|command| command.disable),
                disable,
                "{format:?}"
            );
            assert!(response.errors.is_empty());
            assert!(
                response.receive_timestamp.unwrap().seconds > 0
                    && response.transmit_timestamp.is_some()
            );
        }
        let answer = report(&emulator, &good(Format::ReportsJson))
            .await
            .json()
            .unwrap();
        assert_eq!(
            answer["commands"],
            if disable {
                json!([{ "disable": true }])
            } else {
                json!([])
            }
        );
        assert!(answer["receiveTimestamp"].as_str().unwrap().ends_with('Z'));
        let answer = report(&emulator, &good(Format::ThriftJson))
            .await
            .json()
            .unwrap();
        assert_eq!(
            answer["commands"],
            if disable {
                json!([{ "disable": true }])
            } else {
                Value::Null
            }
        );
        assert!(
            answer["timing"]["receive_micros"].as_i64().unwrap() > 0 && answer["errors"].is_null()
        );
        let reply = thrift(&report(&emulator, &good(Format::ThriftBinary)).await);
        assert_eq!(
            (reply.kind, reply.name.as_str(), reply.sequence),
            (Kind::Reply, "Report", 3)
        );
        let result = all(&reply.fields, 0).next().unwrap().as_fields().unwrap();
        assert_eq!(all(result, 1).count(), usize::from(disable));
        assert_eq!(all(result, 2).next().unwrap().as_fields().unwrap().len(), 2);
    }
    assert_eq!(emulator.exports().len(), 10);
    emulator.heal();
    let bulk = report(&emulator, &good(Format::Bulk)).await.json().unwrap();
    assert_eq!(
        (
            bulk["errors"].clone(),
            bulk["items"].as_array().unwrap().len()
        ),
        (json!(false), 2)
    );
    let stream = report(&emulator, &good(Format::Firehose)).await;
    let id = emulator
        .captured()
        .last()
        .unwrap()
        .header("x-amz-firehose-request-id")
        .remove(0);
    assert_eq!(stream.json().unwrap()["requestId"], json!(id));
    assert!(stream.json().unwrap()["timestamp"].as_i64().unwrap() > 1_700_000_000_000);

    emulator.fail_project(
        "shop-prod",
        Fault::Status {
            status: 503,
            retry_after_seconds: Some(7),
        },
    );
    for format in Format::ALL {
        let answer = report(&emulator, &good(format)).await;
        if format == Format::ReportsGrpc {
            assert_eq!(answer.grpc_status(), Some(14));
            continue;
        }
        assert_eq!(
            (answer.status, answer.header("retry-after").as_deref()),
            (503, Some("7")),
            "{format:?}"
        );
        let told = match format {
            Format::Reports => !answer.report_response().unwrap().errors.is_empty(),
            Format::ReportsJson | Format::ThriftJson => {
                answer.json().unwrap()["errors"][0].is_string()
            }
            Format::ThriftBinary => {
                let exception = thrift(&answer);
                exception.kind == Kind::Exception
                    && matches!(exception.fields[0], (1, Thrift::Binary(_)))
            }
            Format::Bulk => answer.json().unwrap()["error"]["reason"].is_string(),
            Format::Firehose => answer.json().unwrap()["errorMessage"].is_string(),
            _ => true,
        };
        assert!(told, "{format:?}: {}", answer.text());
    }
}
