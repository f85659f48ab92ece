//! The emulator as a judge of exports: what it tells of one at each level, and how it was compressed; samples and
//! callers that give it something to tell.

use std::io::Read as _;

use http::Method;
use lightkeeper::otlp::{Encoding, Signal};
use testkit::emulator::{Export, Level};
use testkit::samples::FORGED;
use testkit::{Coding, Emulator, EmulatorOptions, Endpoints, Fault, Partial, Sample};

use super::emulator::sender;

/// Everything that either encoding can say of an export, without how it came.
fn told(export: &Export) -> String {
    format!("{:?} {:?}", export.signal, export.resources)
}

/// Scenario: a full export of each signal, forged at every level, with unknown fields, in each encoding,
/// each coding, over HTTP and gRPC. Guarantees: the same is told of all of them, nothing is left out, and the
/// message is there byte for byte.
#[tokio::test]
async fn every_level_is_told_alike() {
    let emulator = Emulator::start().await.unwrap();
    for signal in Signal::ALL {
        let sample = Sample::of(signal, "checkout", 6)
            .attribute("k8s.namespace.name", "shop")
            .forged();
        let sample = sample
            .and("cart", 2)
            .anonymous(1)
            .rich()
            .unknown_fields()
            .seed(7);
        let mut seen = Vec::new();
        for coding in Coding::ALL {
            let caller = sender(&emulator, "shop-prod").compressing(coding);
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                emulator.clear();
                assert_eq!(
                    caller.export(&sample, encoding).await.unwrap().status,
                    200,
                    "{signal:?} {coding:?}"
                );
                let export = emulator.exports().remove(0);
                assert_eq!(
                    (export.coding, export.grpc, &export.message),
                    (coding, false, &sample.encode(encoding))
                );
                assert_eq!(emulator.captured()[0].plain().unwrap(), export.message);
                seen.push(export);
            }
            emulator.clear();
            assert_eq!(
                caller.export_grpc(&sample).await.unwrap().grpc_status(),
                Some(0),
                "{signal:?} {coding:?}"
            );
            let export = emulator.exports().remove(0);
            assert_eq!(
                (export.coding, export.grpc, &export.message),
                (coding, true, &sample.protobuf())
            );
            assert_eq!(emulator.captured()[0].plain().unwrap(), export.message);
            seen.push(export);
        }
        let export = &seen[0];
        assert_eq!(
            (export.items(), export.services()),
            (9, vec!["checkout", "cart"])
        );
        assert_eq!(export.span_ids(), sample.span_ids());
        assert_eq!(
            export.resources[0].attribute("k8s.namespace.name"),
            Some("shop")
        );
        assert_eq!(export.resources[0].values("lightkeeper.app"), ["platform"]);
        assert!(export.resources[2].service.is_none() && export.resources[2].attributes.is_empty());
        assert!(
            export
                .resources
                .iter()
                .all(|resource| resource.schema_url.starts_with("https://"))
        );
        assert!(
            export
                .resources
                .iter()
                .all(|resource| resource.scopes[0].schema_url.starts_with("https://"))
        );
        let levels = |level| {
            export
                .named("lightkeeper.")
                .into_iter()
                .filter(move |(at, _)| *at == level)
                .count()
        };
        // Of 6 points in turn to five kinds, the fifth is a summary's, which has no exemplars.
        let nested = match signal {
            Signal::Traces => 6 * 2,
            Signal::Metrics => 5,
            Signal::Logs => 0,
        };
        for (level, places) in [
            (Level::Resource, 1),
            (Level::Scope, 1),
            (Level::Record, 6),
            (Level::Nested, nested),
        ] {
            assert_eq!(levels(level), places * FORGED.len(), "{signal:?} {level:?}");
        }
        // Values of other types are shown in protobuf's own way or in JSON's; names and texts are alike.
        let names = |export: &Export| {
            let all = export.attributes().into_iter();
            all.map(|(level, name, _)| (level, name.to_owned()))
                .collect::<Vec<_>>()
        };
        for other in &seen {
            assert_eq!(names(other), names(export));
            let records = |export: &Export| {
                let records = export
                    .resources
                    .iter()
                    .flat_map(|resource| resource.records().cloned());
                records
                    .map(|record| (record.name, record.span_id))
                    .collect::<Vec<_>>()
            };
            let resources = |export: &Export| {
                export
                    .resources
                    .iter()
                    .map(|it| (it.attributes.clone(), it.service.clone(), it.items))
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                (records(other), resources(other)),
                (records(export), resources(export))
            );
        }
    }
}

/// Scenario: small exports without odd types. Guarantees: both encodings are told in the very same words.
#[tokio::test]
async fn encodings_say_the_same() {
    let emulator = Emulator::start().await.unwrap();
    let caller = sender(&emulator, "shop-prod");
    for signal in Signal::ALL {
        for sample in [
            Sample::empty(signal),
            Sample::of(signal, "a", 3).forged().and("b", 0),
        ] {
            emulator.clear();
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                assert_eq!(caller.export(&sample, encoding).await.unwrap().status, 200);
            }
            let exports = emulator.exports();
            assert_eq!(told(&exports[0]), told(&exports[1]));
            assert_eq!(exports[0].items(), sample.items() as u64);
        }
    }
}

/// Scenario: `null` for what is left out, at every level, and media types in capitals; and what no reader takes. Guarantees:
/// the emulator takes what a Collector's receiver takes, and counts it alike (OTLP specification, "JSON Protobuf Encoding";
/// RFC 9110 section 8.3.1).
#[tokio::test]
async fn nulls_and_capitals_are_taken_as_a_collector_takes_them() {
    let emulator = Emulator::start().await.unwrap();
    let caller = sender(&emulator, "shop-prod");
    let scope = |inside: &str| {
        format!(r#"{{"resourceSpans":[{{"resource":null,"scopeSpans":[{inside}]}}]}}"#)
    };
    let span = |inside: &str| {
        scope(&format!(
            r#"{{"scope":null,"schemaUrl":null,"spans":[{{{inside}}}]}}"#
        ))
    };
    let metric = |inside: &str| {
        format!(
            r#"{{"resourceMetrics":[{{"schemaUrl":null,"scopeMetrics":[{{"metrics":[{{{inside}}}]}}]}}]}}"#
        )
    };
    let (traces, metrics) = ("/v1/traces", "/v1/metrics");
    for (path, kind, body, expected) in [
        (
            traces,
            "application/json",
            r#"{"resourceSpans":null}"#.to_owned(),
            Some(0),
        ),
        (
            traces,
            "application/json",
            scope(r#"{"spans":null}"#),
            Some(0),
        ),
        (
            traces,
            "application/json",
            span(r#""name":null,"spanId":null,"attributes":null,"events":null"#),
            Some(1),
        ),
        (
            traces,
            "application/json",
            span(
                r#""attributes":[{"key":null,"value":null},{"key":"a","value":{"stringValue":null}}]"#,
            ),
            Some(1),
        ),
        (
            metrics,
            "application/json",
            metric(r#""name":null,"sum":null,"gauge":{"dataPoints":null}"#),
            Some(0),
        ),
        (
            metrics,
            "application/json",
            metric(r#""gauge":{"dataPoints":[{"attributes":null,"exemplars":null}]}"#),
            Some(1),
        ),
        (traces, "Application/JSON", span(""), Some(1)),
        (traces, "APPLICATION/JSON; charset=UTF-8", span(""), Some(1)),
        (traces, "Application/X-Protobuf", String::new(), Some(0)),
        (traces, "application/json", span(r#""name":1"#), None),
        (traces, "application/json", scope(r#"{"spans":{}}"#), None),
        (traces, "application/json", "[]".to_owned(), None),
    ] {
        emulator.clear();
        let answer = caller
            .send(
                Method::POST,
                path,
                &[("content-type", kind)],
                body.clone().into_bytes(),
            )
            .await
            .unwrap();
        assert_eq!(
            answer.status,
            if expected.is_some() { 200 } else { 400 },
            "{kind} {body}"
        );
        let answered = answer.header("content-type").unwrap();
        assert_eq!(
            answered.ends_with("json"),
            kind.to_lowercase().contains("json"),
            "{kind}"
        );
        assert_eq!(
            emulator.exports().first().map(Export::items),
            expected,
            "{kind} {body}"
        );
    }
}

/// Scenario: compressed exports that are too large, or not what their head says. Guarantees: 413 and 400 in both
/// protocols, nothing accepted; a client's token is found inside a compressed body.
#[tokio::test]
async fn compression_is_bounded_and_searched() {
    let options = EmulatorOptions {
        decompressed_limit_bytes: 100_000,
        ..EmulatorOptions::default()
    };
    let emulator = Emulator::start_with(options).await.unwrap();
    let large = Sample::traces("frontend", 5000);
    assert!(large.protobuf().len() > 100_000);
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
        let caller = sender(&emulator, "shop-prod").compressing(coding);
        assert_eq!(
            caller
                .export(&large, Encoding::Protobuf)
                .await
                .unwrap()
                .status,
            413,
            "{coding:?}"
        );
        assert_eq!(
            caller.export_grpc(&large).await.unwrap().grpc_status(),
            Some(8),
            "{coding:?}"
        );
        let wrong = sender(&emulator, "shop-prod").header("content-encoding", coding.name());
        let answer = wrong
            .export(&Sample::traces("frontend", 1), Encoding::Protobuf)
            .await
            .unwrap();
        assert_eq!(answer.status, 400, "{coding:?}");
        assert!(emulator.exports().is_empty());
        emulator.clear();
        let told = Sample::traces("frontend", 40).item_attribute("note", "needle");
        assert_eq!(
            caller.export(&told, Encoding::Json).await.unwrap().status,
            200
        );
        assert_eq!(
            caller.export_grpc(&told).await.unwrap().grpc_status(),
            Some(0)
        );
        for captured in emulator.captured() {
            assert!(captured.contains(b"needle") && !captured.contains(b"haystack"));
        }
        emulator.clear();
    }
}

/// Scenario: more bytes of exports than are kept. Guarantees: the newest stay, and what is gone stays counted.
#[tokio::test]
async fn exports_are_bounded_in_bytes() {
    let one = Sample::traces("frontend", 100);
    let options = EmulatorOptions {
        captured_bytes: one.protobuf().len() * 5,
        ..EmulatorOptions::default()
    };
    let emulator = Emulator::start_with(options).await.unwrap();
    let caller = sender(&emulator, "shop-prod");
    for seed in 0..10 {
        assert_eq!(
            caller
                .export(&one.clone().seed(seed), Encoding::Protobuf)
                .await
                .unwrap()
                .status,
            200
        );
    }
    let kept = emulator.exports();
    assert!(
        (1..5).contains(&kept.len()),
        "{} exports are kept",
        kept.len()
    );
    assert_eq!(kept.last().unwrap().span_ids(), one.seed(9).span_ids());
    assert_eq!(emulator.span_ids().len(), 1000);
}

/// Scenario: partial success in every encoding, and answers that are none. Guarantees: callers read it.
#[tokio::test]
async fn callers_read_partial_success() {
    let emulator = Emulator::start().await.unwrap();
    let caller = sender(&emulator, "shop-prod");
    for (fault, expected) in [
        (None, Some(None)),
        (Some((3, "quota")), Some(Some((3, "quota")))),
        (Some((0, "slow down")), Some(Some((0, "slow down")))),
    ] {
        emulator.heal();
        if let Some((rejected, message)) = fault {
            emulator.fail(
                Endpoints::All,
                Fault::PartialSuccess {
                    rejected,
                    message: message.to_owned(),
                },
            );
        }
        for signal in Signal::ALL {
            let sample = Sample::of(signal, "frontend", 4);
            let answers = [
                caller.export(&sample, Encoding::Protobuf).await.unwrap(),
                caller.export(&sample, Encoding::Json).await.unwrap(),
                caller.export_grpc(&sample).await.unwrap(),
            ];
            for answer in answers {
                let partial = expected
                    .unwrap()
                    .map(|(rejected, message): (i64, &str)| Partial {
                        rejected,
                        message: message.to_owned(),
                    });
                assert_eq!(
                    answer.partial_success(),
                    Ok(partial),
                    "{signal:?} {answer:?}"
                );
            }
        }
    }
    emulator.fail(Endpoints::All, Fault::Garbage);
    let sample = Sample::traces("frontend", 1);
    assert!(
        caller
            .export(&sample, Encoding::Protobuf)
            .await
            .unwrap()
            .partial_success()
            .is_err()
    );
    assert!(
        caller
            .export(&sample, Encoding::Json)
            .await
            .unwrap()
            .partial_success()
            .is_err()
    );
    assert!(
        caller
            .export_grpc(&sample)
            .await
            .unwrap()
            .partial_success()
            .is_err()
    );
}

/// Scenario: an export in pieces over HTTP/1.1 and h2. Guarantees: its length is not said, and it arrives whole.
#[tokio::test]
async fn bodies_come_in_pieces() {
    let emulator = Emulator::start().await.unwrap();
    let sample = Sample::traces("frontend", 500);
    let caller = sender(&emulator, "shop-prod").chunked();
    for caller in [caller.clone(), caller.clone().gzip(), caller.http2()] {
        emulator.clear();
        assert_eq!(
            caller
                .export(&sample, Encoding::Protobuf)
                .await
                .unwrap()
                .status,
            200
        );
        let captured = emulator.captured().remove(0);
        assert!(captured.header("content-length").is_empty());
        assert_eq!(captured.plain().unwrap(), sample.protobuf());
    }
    // gzip is what any other reader takes for it.
    let packed = Coding::Gzip.compress(b"plain").unwrap();
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_string(&mut plain)
        .unwrap();
    assert_eq!(plain, "plain");
}
