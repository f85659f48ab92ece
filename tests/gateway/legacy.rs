//! Reports in the formats from before OpenTelemetry, through the whole gateway: whose token goes in, whose arrives, and
//! what each client is told. What it refuses to know: how a body is walked (the unit tests of `lightstep` do); here the
//! emulator's own readers judge what arrived.

use std::collections::BTreeSet;

use http::Method;
use lightkeeper::otlp::Encoding;
use testkit::{
    Answer, Carrier, Coding, Endpoints, Fault, Format, LegacySample, Sample, SampleCaller, World,
};

use super::stage;

/// Where our token must stand when a report arrives.
fn places(format: Format) -> &'static [Carrier] {
    match format {
        Format::Reports | Format::ReportsJson | Format::ReportsGrpc | Format::ThriftBinary => {
            &[Carrier::Header, Carrier::Body]
        }
        Format::ThriftJson | Format::Metrics => &[Carrier::Header],
        Format::Zipkin => &[Carrier::Header, Carrier::Tag],
        Format::Bulk => &[Carrier::Header, Carrier::Basic],
        Format::Firehose => &[Carrier::Header, Carrier::FirehoseKey],
    }
}

/// The answer's status in one word: HTTP's, or of gRPC the one that the table pairs with its code.
fn status(format: Format, answer: &Answer) -> u16 {
    if format != Format::ReportsGrpc {
        return answer.status;
    }
    match answer.grpc_status().unwrap() {
        0 => 200,
        3 => 400,
        7 => 403,
        12 => 404,
        14 => 503,
        16 => 401,
        code => panic!("{code}: {:?}", answer.grpc_message()),
    }
}

fn is_accepted(format: Format, answer: &Answer) -> bool {
    matches!(status(format, answer), 200..=299)
}

/// A report of the service, with forged tags where the format has a place for them.
fn report(format: Format, service: &str) -> LegacySample {
    let sample = LegacySample::of(format, service, 3).unknown_fields();
    sample
        .tag("lightkeeper.app", "forged")
        .span_tag("lightkeeper.identity", "forged")
}

async fn send(caller: &SampleCaller, sample: &LegacySample) -> Answer {
    caller.report(sample).await.unwrap()
}

async fn reason(world: &World, answer: &Answer) -> String {
    let record = stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await;
    record["reason"].as_str().unwrap().to_owned()
}

/// Scenario: each format's client shows its token in each place that it knows, with a placeholder in the header, plain
/// and compressed. Guarantees: the report arrives in its app's project with our token in every place and the caller's in
/// none, stamped, and nothing of the caller's claims to be a stamp.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_carrier_is_read_and_replaced() {
    let world = stage::start(stage::plan(&[])).await;
    let token = world.issuer.token("checkout-collector");
    for format in Format::ALL {
        for carrier in format.carriers() {
            // Evidence never stands in a point's labels.
            if (format, *carrier) == (Format::Metrics, Carrier::Tag) {
                continue;
            }
            for coding in [Coding::Identity, Coding::Gzip] {
                world.emulator.clear();
                let told = format!("{format:?} {carrier:?} {coding:?}");
                let mut sample = report(format, "checkout").carrying(*carrier, &token);
                if *carrier != Carrier::Header {
                    sample = sample.carrying(Carrier::Header, "developer");
                }
                let answer = send(&world.plain_caller().compressing(coding), &sample).await;
                assert!(is_accepted(format, &answer), "{told}: {answer:?}");
                let exports = world.emulator.exports();
                let [export] = exports.as_slice() else {
                    panic!("{told}: {exports:?}")
                };
                assert_eq!(
                    (export.project.as_str(), export.coding),
                    ("checkout-prod", coding),
                    "{told}"
                );
                assert_eq!(export.span_ids(), sample.span_ids(), "{told}");
                let expected: BTreeSet<_> = places(format).iter().copied().collect();
                let found: BTreeSet<_> = export
                    .legacy
                    .as_ref()
                    .unwrap()
                    .carriers
                    .iter()
                    .copied()
                    .collect();
                assert_eq!(found, expected, "{told}");
                let captured = world.emulator.captured();
                assert!(
                    captured
                        .iter()
                        .all(|captured| !captured.contains(token.as_bytes())),
                    "{told}"
                );
                assert!(
                    captured
                        .iter()
                        .all(|captured| !captured.contains(b"developer")),
                    "{told}"
                );

                let attributes = export.attributes();
                let values = |name: &str| {
                    let found = attributes.iter().filter(|(_, known, _)| *known == name);
                    found.map(|(_, _, value)| *value).collect::<BTreeSet<_>>()
                };
                // What is in Firehose's records the emulator does not open; the cupboard's own tests do.
                assert_eq!(
                    values("lightkeeper.app"),
                    ["shop/checkout"].into(),
                    "{told}"
                );
                let expected = ["system:serviceaccount:checkout:collector"].into();
                assert_eq!(values("lightkeeper.identity"), expected, "{told}");
                let record =
                    stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
                let items = export.items();
                assert_eq!(record["items"]["accepted"], items, "{told}: {record}");
                assert_eq!(
                    (&record["app"], &record["reason"]),
                    (&"shop/checkout".into(), &"ok".into()),
                    "{told}"
                );
            }
        }
    }
}

/// Scenario: reports that must not go on: of a foreign service, without evidence, with two tokens, broken. Guarantees:
/// nothing arrives, and each client is told in its own language that this is final.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_arrives_nowhere() {
    let world = stage::start(stage::plan(&[])).await;
    let token = world.issuer.token("checkout-collector");
    let other = world.issuer.token("payments-collector");
    for format in Format::ALL {
        let usual = format.usual_carriers();
        let caller = world.plain_caller();
        let foreign = report(format, "payments").token(&token);
        let strange = report(format, "checkout");
        let placeholder = report(format, "checkout").token("developer");
        let torn = report(format, "checkout").carrying(usual[0], &token);
        let first = if usual[0] == Carrier::Header {
            usual.last().unwrap()
        } else {
            &usual[0]
        };
        let two = report(format, "checkout")
            .carrying(Carrier::Header, &token)
            .carrying(*first, &other);
        let mut cases = vec![
            (strange, 401, "no_credential"),
            (placeholder, 401, "no_credential"),
        ];
        // Firehose names no service; where the token has one place, there is no second token.
        if format != Format::Firehose {
            cases.push((foreign, 403, "service_foreign"));
        }
        if *first != Carrier::Header {
            cases.push((two, 400, "conflicting_credentials"));
        }
        for (sample, expected, code) in cases {
            let answer = send(&caller, &sample).await;
            assert_eq!(
                status(format, &answer),
                expected,
                "{format:?} {code}: {answer:?}"
            );
            assert_eq!(reason(&world, &answer).await, code, "{format:?}");
            if format == Format::Reports {
                assert_eq!(
                    answer.report_response().unwrap().errors.len(),
                    1,
                    "{answer:?}"
                );
            }
            assert!(
                format == Format::ReportsGrpc || !answer.body.is_empty(),
                "{format:?} {code}"
            );
        }
        if format != Format::ReportsGrpc {
            let headers = torn.headers();
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let mut body = torn.body();
            body.truncate(body.len() - 2);
            let answer = caller
                .send(Method::POST, format.path(), &headers, body)
                .await
                .unwrap();
            assert_eq!(answer.status, 400, "{format:?}: {answer:?}");
            assert_eq!(
                reason(&world, &answer).await,
                "body_malformed",
                "{format:?}"
            );
        }
        assert_eq!(world.emulator.exports().len(), 0, "{format:?}");
        assert_eq!(
            world.emulator.heads(),
            0,
            "{format:?}: nothing of it goes up"
        );
    }
}

/// Scenario: the backend tells tracers to switch themselves off, is replaced by a page, is away, or refuses us. Guarantees: no
/// command arrives; a page is 502 and the others 503, in a body for which Python's tracer keeps its spans.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_cannot_disable_or_lose_spans() {
    let world = stage::start(stage::plan(&[])).await;
    let token = world.issuer.token("checkout-collector");
    for format in [
        Format::Reports,
        Format::ReportsJson,
        Format::ReportsGrpc,
        Format::ThriftJson,
        Format::ThriftBinary,
    ] {
        let sample = report(format, "checkout").token(&token);
        world.emulator.fail(Endpoints::All, Fault::DisableCommand);
        let answer = send(&world.plain_caller(), &sample).await;
        assert!(is_accepted(format, &answer), "{format:?}: {answer:?}");
        assert!(!answer.text().contains("disable"), "{format:?}");
        if matches!(format, Format::Reports | Format::ReportsGrpc) {
            let response = answer.report_response().unwrap();
            assert_eq!(response.commands.len(), 0, "{format:?}");
        }
        for (fault, expected) in [
            (
                Fault::Say {
                    status: 200,
                    content_type: "text/html",
                    body: "<p>log in</p>".to_owned(),
                },
                [502, 503],
            ),
            (Fault::status(503), [503, 503]),
            // Thrift's answer to a token that it does not know is 400, as to a report that it cannot read.
            (
                Fault::status(401),
                if format == Format::ThriftBinary {
                    [400, 400]
                } else {
                    [503, 503]
                },
            ),
            (Fault::CloseBeforeHead, [502, 503]),
        ] {
            world.emulator.fail(Endpoints::All, fault.clone());
            let answer = send(&world.plain_caller(), &sample).await;
            let got = status(format, &answer);
            assert!(expected.contains(&got), "{format:?} {fault:?}: {answer:?}");
            if format == Format::Reports {
                assert!(
                    answer.report_response().is_none() && !answer.body.is_empty(),
                    "{fault:?}: {answer:?}"
                );
            }
        }
        world.emulator.heal();
    }
}

/// Scenario: listeners that name what they serve. Guarantees: old formats are served where `legacy` is named, and
/// nothing of `ingest` with them; elsewhere their paths are unknown, and a body that might name its sender is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legacy_formats_are_served_where_they_are_named() {
    let listeners = [
        ("modern", "ingest, query, web"),
        ("old", "legacy"),
        ("both", "legacy, ingest"),
    ];
    let named: String = listeners
        .iter()
        .map(|(name, serves)| {
            format!("\n  - {{ name: {name}, address: \"127.0.0.1:0\", serves: [{serves}] }}")
        })
        .collect();
    let plan = stage::plan(&[(
        "    address: {plain}",
        &format!("    address: {{plain}}{named}"),
    )]);
    let world = stage::start(plan).await;
    let token = world.issuer.token("checkout-collector");
    for (name, serves) in listeners {
        let caller = SampleCaller::new(&format!("http://{}", world.address(name).unwrap()));
        let export = caller
            .clone()
            .bearer(&token)
            .export(&Sample::traces("checkout", 2), Encoding::Protobuf)
            .await;
        assert_eq!(
            export.unwrap().status,
            if serves.contains("ingest") { 200 } else { 404 },
            "{name}"
        );
        let is_served = serves.contains("legacy");
        for format in Format::ALL {
            for carrier in format.usual_carriers() {
                let told = format!("{name} {format:?} {carrier:?}");
                let answer = send(
                    &caller,
                    &report(format, "checkout").carrying(*carrier, &token),
                )
                .await;
                if is_served {
                    assert!(is_accepted(format, &answer), "{told}: {answer:?}");
                    continue;
                }
                let record =
                    stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
                let found = (status(format, &answer), record["reason"].as_str().unwrap());
                // Without evidence where all callers have it, nothing is said about the path.
                assert!(
                    found == (404, "path_unknown") || found.0 == 401,
                    "{told}: {found:?}"
                );
                assert_eq!(record["bytes_in"], 0, "{told}");
            }
        }
        let in_url = caller
            .bearer(&token)
            .send(
                Method::POST,
                "/_rpc/v1/reports/uri_encoded",
                &[],
                Vec::new(),
            )
            .await;
        assert_eq!(
            in_url.unwrap().status,
            if is_served { 400 } else { 404 },
            "{name}"
        );
    }
}
