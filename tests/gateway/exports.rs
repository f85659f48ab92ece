//! Exports that are read: stamped with their verified sender, split over projects, owned names, quotas, retries. What
//! it refuses to know: how a body is walked (the unit tests of `otlp` do); here other decoders judge what arrived.

use std::collections::BTreeMap;

use lightkeeper::otlp::{Encoding, Signal};
use serde_json::Value;
use testkit::emulator::{Export, Level};
use testkit::{Answer, Coding, Endpoints, Fault, Sample, SampleCaller, World};

use super::stage;

/// Every way in which an export can come.
#[derive(Clone, Copy, Debug)]
enum Via {
    Protobuf,
    Json,
    Grpc,
}

const WAYS: [Via; 3] = [Via::Protobuf, Via::Json, Via::Grpc];

impl Via {
    async fn send(self, caller: &SampleCaller, sample: &Sample) -> Answer {
        match self {
            Via::Protobuf => caller.export(sample, Encoding::Protobuf).await.unwrap(),
            Via::Json => caller.export(sample, Encoding::Json).await.unwrap(),
            Via::Grpc => caller.export_grpc(sample).await.unwrap(),
        }
    }

    /// The answer's status in the words of both protocols: HTTP's, or gRPC's code.
    fn status(self, answer: &Answer) -> u32 {
        match self {
            Via::Protobuf | Via::Json => u32::from(answer.status),
            Via::Grpc => answer.grpc_status().unwrap(),
        }
    }

    /// Of a pair of statuses, the one of this protocol.
    fn of(self, (http, grpc): (u32, u32)) -> u32 {
        match self {
            Via::Protobuf | Via::Json => http,
            Via::Grpc => grpc,
        }
    }
}

/// May write to all of `shop`: shop-prod, checkout-prod and payments-prod.
pub fn frontend(world: &World) -> SampleCaller {
    world
        .plain_caller()
        .bearer(&world.issuer.token("shop-frontend"))
}

/// May write to `shop/checkout` alone.
pub fn checkout(world: &World) -> SampleCaller {
    world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"))
}

pub async fn record_of(world: &World, answer: &Answer) -> Value {
    stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await
}

pub fn by_project(exports: &[Export]) -> BTreeMap<String, Vec<(String, u64)>> {
    let mut projects: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for export in exports {
        let services = export
            .resources
            .iter()
            .map(|resource| (resource.service.clone().unwrap_or_default(), resource.items));
        projects
            .entry(export.project.clone())
            .or_default()
            .extend(services);
    }
    projects
}

fn refused(partial: &Answer) -> Option<(i64, String)> {
    partial
        .partial_success()
        .unwrap()
        .map(|partial| (partial.rejected, partial.message))
}

/// Scenario: one export of a collector holds three services of two projects, in each encoding and signal.
/// Guarantees: each project gets its own, stamped with the app and the sender; one record tells of both parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_export_is_split_over_its_projects() {
    let world = stage::start(stage::plan(&[])).await;
    for via in WAYS {
        for signal in Signal::ALL {
            world.emulator.clear();
            let sample = Sample::of(signal, "checkout", 3)
                .and("payments", 2)
                .and("checkout-web", 1)
                .rich();
            let items = u64::try_from(sample.items()).unwrap();
            let answer = via.send(&frontend(&world), &sample).await;
            assert_eq!(via.status(&answer), via.of((200, 0)), "{via:?} {signal:?}");
            assert_eq!(refused(&answer), None, "{via:?} {signal:?}");
            let exports = world.emulator.exports();
            let projects = by_project(&exports);
            assert_eq!(
                projects.keys().collect::<Vec<_>>(),
                ["checkout-prod", "payments-prod"],
                "{via:?}"
            );
            let services = |project: &str| {
                projects[project]
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                services("checkout-prod"),
                ["checkout", "checkout-web"],
                "{via:?} {signal:?}"
            );
            assert_eq!(
                services("payments-prod"),
                ["payments"],
                "{via:?} {signal:?}"
            );
            assert_eq!(
                exports.iter().map(Export::items).sum::<u64>(),
                items,
                "{via:?} {signal:?}"
            );
            for resource in exports.iter().flat_map(|export| &export.resources) {
                let app = if resource.service.as_deref() == Some("payments") {
                    "shop/payments"
                } else {
                    "shop/checkout"
                };
                assert_eq!(resource.values("lightkeeper.app"), [app]);
                assert_eq!(
                    resource.values("lightkeeper.identity"),
                    ["system:serviceaccount:shop:frontend"]
                );
                assert_eq!(resource.values("lightkeeper.identity.issuer"), ["acme"]);
                assert_eq!(resource.values("lightkeeper.identity.method"), ["oidc"]);
            }
            let record = record_of(&world, &answer).await;
            assert_eq!(
                (&record["app"], record.get("project")),
                (&"shop".into(), None),
                "{record}"
            );
            assert_eq!(record["items"]["accepted"], items, "{record}");
            assert_eq!(record["parts"].as_array().unwrap().len(), 2, "{record}");
            assert_eq!(
                record["parts"][0]["apps"],
                serde_json::json!(["shop/checkout"]),
                "{record}"
            );
            assert_eq!(record["parts"][1]["project"], "payments-prod", "{record}");
        }
    }
}

/// Scenario: a caller forges our attributes at every level, beside much that is its own.
/// Guarantees: only the gateway's own remain, the rest arrives as it was, and what was removed is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_attributes_are_removed_at_every_level() {
    let world = stage::start(stage::plan(&[])).await;
    let forged = || stage::metric(&world, "lightkeeper_forged_attributes_total");
    for via in WAYS {
        for signal in Signal::ALL {
            world.emulator.clear();
            let before = forged().await;
            let honest = Sample::of(signal, "checkout", 2)
                .rich()
                .attribute("team", "a");
            let answer = via.send(&checkout(&world), &honest.clone().forged()).await;
            assert_eq!(via.status(&answer), via.of((200, 0)));
            assert!(forged().await > before, "{via:?} {signal:?}");
            let export = &world.emulator.exports()[0];
            let ours: Vec<_> = export.named("lightkeeper.").into_iter().collect();
            assert!(
                ours.iter().all(|(level, _)| *level == Level::Resource),
                "{ours:?}"
            );
            assert_eq!(
                export.resources[0].values("lightkeeper.identity"),
                ["system:serviceaccount:checkout:collector"]
            );
            world.emulator.clear();
            via.send(&checkout(&world), &honest).await;
            assert_eq!(
                world.emulator.exports()[0].attributes(),
                export.attributes(),
                "{via:?} {signal:?}"
            );
        }
    }
}

/// Scenario: a caller writes as services of its own and as one of an app that it may not write to.
/// Guarantees: the own part is delivered, the foreign one is reported with its exact count and name, and not retried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_service_is_rejected_and_the_rest_delivered() {
    let world = stage::start(stage::plan(&[])).await;
    for via in WAYS {
        world.emulator.clear();
        let sample = Sample::traces("checkout", 3)
            .and("payments", 2)
            .and("ledger-eu", 5);
        let answer = via.send(&checkout(&world), &sample).await;
        assert_eq!(via.status(&answer), via.of((200, 0)));
        let (count, message) = refused(&answer).unwrap();
        assert_eq!(count, 7, "{via:?}");
        assert!(
            message.contains("`payments`") && message.contains("`ledger-eu`"),
            "{message}"
        );
        assert!(!message.contains("checkout"), "{message}");
        assert_eq!(
            by_project(&world.emulator.exports()),
            [("checkout-prod".to_owned(), vec![("checkout".to_owned(), 3)])].into()
        );
        let record = record_of(&world, &answer).await;
        assert_eq!(
            record["items"],
            serde_json::json!({ "accepted": 3, "rejected": 7 }),
            "{record}"
        );
    }
}

/// Scenario: resources that the caller may not write as, or of which no app can be told, and nothing else.
/// Guarantees: the whole is refused with the status of its reason, and nothing goes upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_which_nothing_is_permitted_is_refused() {
    let world = stage::start(stage::plan(&[])).await;
    type Case = (
        &'static str,
        fn(&World) -> SampleCaller,
        Sample,
        (u32, u32),
        &'static str,
    );
    let twice = Sample::traces("checkout", 1).attribute("service.name", "payments");
    let cases: [Case; 4] = [
        (
            "foreign",
            checkout,
            Sample::traces("payments", 1),
            (403, 7),
            "service_foreign",
        ),
        (
            "unknown, several apps",
            frontend,
            Sample::traces("nobody", 1),
            (400, 3),
            "app_ambiguous",
        ),
        (
            "nameless, several apps",
            frontend,
            Sample::empty(Signal::Traces).anonymous(1),
            (400, 3),
            "app_ambiguous",
        ),
        ("two names", frontend, twice, (400, 3), "service_ambiguous"),
    ];
    for (name, caller, sample, status, reason) in cases {
        for via in WAYS {
            let answer = via.send(&caller(&world), &sample).await;
            assert_eq!(via.status(&answer), via.of(status), "{name} {via:?}");
            let record = record_of(&world, &answer).await;
            assert_eq!(
                (&record["reason"], &record["decision"]),
                (&reason.into(), &"deny".into()),
                "{name} {record}"
            );
        }
    }
    assert_eq!(world.emulator.heads(), 0);
}

/// Scenario: an unknown service where one app may be written to; the same with the app named; the same in a binding
/// that rejects the unknown. Guarantees: it goes to that app, or is rejected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_service_goes_where_its_binding_says() {
    let world = stage::start(stage::plan(&[])).await;
    let answer = checkout(&world)
        .export(&Sample::traces("nobody", 1), Encoding::Protobuf)
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    let named = frontend(&world).header("lightkeeper-app", "shop/search");
    let answer = named
        .export(&Sample::traces("nobody", 2), Encoding::Protobuf)
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    let exports = world.emulator.exports();
    let apps: Vec<_> = exports
        .iter()
        .map(|export| {
            (
                export.project.as_str(),
                export.resources[0].values("lightkeeper.app"),
            )
        })
        .collect();
    assert_eq!(
        apps,
        [
            ("checkout-prod", vec!["shop/checkout"]),
            ("shop-prod", vec!["shop/search"])
        ]
    );
    let mut strict = stage::plan(&[]);
    let (binding, rest) = strict
        .policy
        .split_once("role: reporter\n    apps: [shop/checkout]")
        .unwrap();
    strict.policy = format!(
        "{binding}role: reporter\n    unknown_services: reject\n    apps: [shop/checkout]{rest}"
    );
    let world = stage::start(strict).await;
    let sample = Sample::traces("nobody", 1).and("checkout", 1);
    let answer = checkout(&world)
        .export(&sample, Encoding::Json)
        .await
        .unwrap();
    assert_eq!(
        (answer.status, refused(&answer).map(|(count, _)| count)),
        (200, Some(1))
    );
    let answer = checkout(&world)
        .export(&Sample::traces("nobody", 1), Encoding::Json)
        .await
        .unwrap();
    assert_eq!(
        (
            answer.status,
            record_of(&world, &answer).await["reason"].clone()
        ),
        (403, "service_unknown".into())
    );
}

/// Scenario: one of two projects does not take its part for now; the exporter comes again; then sends once more.
/// Guarantees: the whole is to be retried, the retry sends only what is missing, every span arrives once, and an
/// export that was answered with success is not swallowed when it comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_sends_only_what_is_missing() {
    let world = stage::start(stage::plan(&[])).await;
    let page = Fault::Say {
        status: 200,
        content_type: "text/html",
        body: "<p>log in</p>".to_owned(),
    };
    type Case = (Fault, (u32, u32), &'static str);
    let cases: [Case; 5] = [
        (
            Fault::PlainStatus { status: 503 },
            (503, 14),
            "upstream_unavailable",
        ),
        (
            Fault::PlainStatus { status: 429 },
            (429, 8),
            "upstream_throttled",
        ),
        (
            Fault::PlainStatus { status: 504 },
            (504, 4),
            "upstream_timeout",
        ),
        (Fault::Reset, (502, 14), "upstream_unreachable"),
        (page, (502, 14), "upstream_page"),
    ];
    for via in WAYS {
        for (seed, (fault, status, reason)) in cases.iter().enumerate() {
            world.emulator.clear();
            let sample = Sample::traces("checkout", 3)
                .and("payments", 2)
                .seed(seed as u64 + 1);
            // A call on a connection that breaks may be tried on another once: both fail.
            world.emulator.fail_project("payments-prod", fault.clone());
            for _ in 0..2 {
                let answer = via.send(&frontend(&world), &sample).await;
                assert_eq!(via.status(&answer), via.of(*status), "{via:?} {fault:?}");
                if matches!(via, Via::Protobuf | Via::Json) {
                    assert!(answer.header("retry-after").is_some(), "{fault:?}");
                }
                let record = record_of(&world, &answer).await;
                assert_eq!(record["reason"], *reason, "{record}");
            }
            assert_eq!(
                by_project(&world.emulator.exports())
                    .keys()
                    .collect::<Vec<_>>(),
                ["checkout-prod"]
            );
            world.emulator.heal();
            let answer = via.send(&frontend(&world), &sample).await;
            assert_eq!(
                (via.status(&answer), refused(&answer)),
                (via.of((200, 0)), None),
                "{via:?} {fault:?}"
            );
            let record = record_of(&world, &answer).await;
            assert_eq!(record["items"]["accepted"], 5, "{record}");
            assert_eq!(record["parts"][0]["reason"], "remembered", "{record}");
            let spans = world.emulator.span_ids();
            assert_eq!(
                (spans.len(), spans.values().max()),
                (5, Some(&1)),
                "{via:?} {fault:?} {spans:?}"
            );
            let answer = via.send(&frontend(&world), &sample).await;
            assert_eq!(via.status(&answer), via.of((200, 0)));
            assert!(
                world.emulator.span_ids().values().all(|times| *times == 2),
                "{via:?} {fault:?}"
            );
        }
    }
}

/// Scenario: an export of two projects, and a question to three, of which the backend refuses one. Guarantees: each of
/// its answers is counted, not one for each call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_the_backend_is_counted() {
    let world = stage::start(stage::plan(&[])).await;
    world
        .emulator
        .fail_project("payments-prod", Fault::PlainStatus { status: 503 });
    world
        .emulator
        .fail_queries("checkout-prod", Fault::status(429));
    let sample = Sample::traces("checkout", 1).and("payments", 1);
    let answer = Via::Protobuf.send(&frontend(&world), &sample).await;
    assert_eq!(answer.status, 503);
    let lea = world.plain_caller().bearer(&world.issuer.token("lea"));
    let answer = lea.get("/apps/shop/-/streams").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    for (upstream, status, count) in [
        ("ingest", "200", 1.0),
        ("ingest", "503", 1.0),
        ("query", "200", 2.0),
        ("query", "429", 1.0),
    ] {
        let name = format!(
            r#"lightkeeper_upstream_responses_total{{status="{status}",upstream="{upstream}"}}"#
        );
        stage::counts(&world, &name, count).await;
    }
}

/// Scenario: exports in which nothing is, in every encoding and spelling, by a caller who may write to many apps and by one
/// who may write nowhere. Guarantees: success without an app, as the protocol wants it; nothing goes upstream; there is a
/// record; who may write nowhere is refused as ever, and an unidentified caller, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_export_needs_no_app() {
    let world = stage::start(stage::plan(&[])).await;
    let may = frontend(&world);
    let may_not = world.plain_caller().bearer(&world.issuer.token("sam"));
    let (protobuf, json) = ("application/x-protobuf", "application/json");
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        (protobuf, Vec::new()),
        (protobuf, b"\x0a\x00".to_vec()),
        (protobuf, b"\x0a\x00\x0a\x04\x0a\x00\x12\x00".to_vec()),
        (json, Vec::new()),
        (json, b" {} ".to_vec()),
    ];
    let in_json = |signal: Signal| {
        let (groups, scopes, items) = match signal {
            Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
            Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
            Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
        };
        [
            format!(r#"{{"{groups}":null}}"#),
            format!(r#"{{"{groups}":[]}}"#),
            format!(r#"{{"{groups}":[{{}}]}}"#),
            format!(r#"{{"{groups}":[{{"resource":{{"attributes":[]}},"{scopes}":[{{"{items}":[]}}]}}]}}"#),
        ]
        .map(|text| (json, text.into_bytes()))
    };
    for signal in Signal::ALL {
        let path = format!("/v1/{}", signal.name());
        let spelled = in_json(signal);
        for (kind, body) in bodies.iter().chain(&spelled) {
            let what = format!("{path} {kind} {:?}", String::from_utf8_lossy(body));
            let headers = [("content-type", *kind)];
            let answer = may
                .send(http::Method::POST, &path, &headers, body.clone())
                .await
                .unwrap();
            assert_eq!(
                (answer.status, answer.header("content-type").as_deref()),
                (200, Some(*kind)),
                "{what}"
            );
            assert_eq!(
                answer.body,
                if *kind == json {
                    b"{}".to_vec()
                } else {
                    Vec::new()
                },
                "{what}"
            );
            let record = record_of(&world, &answer).await;
            assert_eq!(
                (&record["decision"], &record["reason"]),
                (&"allow".into(), &"ok".into()),
                "{record}"
            );
            assert_eq!(
                record["identity"]["subject"], "system:serviceaccount:shop:frontend",
                "{record}"
            );
            assert_eq!(
                record["items"],
                serde_json::json!({ "accepted": 0, "rejected": 0 }),
                "{record}"
            );
            assert_eq!(
                (record.get("app"), record.get("project")),
                (None, None),
                "{record}"
            );
        }
        for body in [Vec::new(), b"\x0a\x00".to_vec()] {
            let answer = may.grpc(signal.grpc_path(), &body).await.unwrap();
            assert_eq!(
                (answer.grpc_status(), refused(&answer)),
                (Some(0), None),
                "{signal:?}"
            );
            assert_eq!(record_of(&world, &answer).await["reason"], "ok");
        }
        let headers = [("content-type", json)];
        let empty = || b"{}".to_vec();
        let answer = may_not
            .send(http::Method::POST, &path, &headers, empty())
            .await
            .unwrap();
        assert_eq!(answer.status, 403, "{signal:?}");
        let answer = world
            .plain_caller()
            .send(http::Method::POST, &path, &headers, empty())
            .await
            .unwrap();
        assert_eq!(answer.status, 401, "{signal:?}");
        let nowhere = may
            .send(
                http::Method::POST,
                &format!("/apps/platform/-{path}"),
                &headers,
                empty(),
            )
            .await
            .unwrap();
        assert_eq!(nowhere.status, 403, "{signal:?}");
    }
    assert_eq!(world.emulator.heads(), 0);
}

/// Scenario: backends reject some items of their parts, or a whole part for good.
/// Guarantees: counts are added up with ours, messages passed on, nothing is retried; all refused is a refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_items_are_added_up() {
    let world = stage::start(stage::plan(&[])).await;
    let sample = Sample::traces("checkout", 3)
        .and("payments", 4)
        .and("nobody", 5);
    for via in WAYS {
        world.emulator.heal();
        let some = |rejected, message: &str| Fault::PartialSuccess {
            rejected,
            message: message.to_owned(),
        };
        world
            .emulator
            .fail_project("checkout-prod", some(1, "too old"));
        world
            .emulator
            .fail_project("payments-prod", some(2, "too new"));
        let answer = via.send(&frontend(&world), &sample).await;
        assert_eq!(via.status(&answer), via.of((200, 0)));
        let (count, message) = refused(&answer).unwrap();
        assert_eq!(count, 8, "{message}");
        assert!(
            message.contains("too old") && message.contains("too new"),
            "{message}"
        );
        assert_eq!(
            record_of(&world, &answer).await["items"],
            serde_json::json!({ "accepted": 4, "rejected": 8 })
        );
        world
            .emulator
            .fail_project("payments-prod", Fault::status(400));
        let answer = via.send(&frontend(&world), &sample).await;
        let expected = matches!(via, Via::Protobuf | Via::Json);
        if expected {
            assert_eq!(
                (answer.status, refused(&answer).map(|(count, _)| count)),
                (200, Some(10))
            );
            world
                .emulator
                .fail_project("checkout-prod", Fault::status(400));
            assert_eq!(via.send(&frontend(&world), &sample).await.status, 400);
        }
    }
}

/// Scenario: a backend puts our own token into the words of a partial success, alone and merged with others.
/// Guarantees: the counts arrive, the token does not, at once or when the words are remembered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_token_does_not_come_back_in_a_partial_success() {
    let world = stage::start(stage::plan(&[])).await;
    let token = testkit::Emulator::access_token("checkout-prod");
    let fault = Fault::PartialSuccess {
        rejected: 1,
        message: format!("not with {token}"),
    };
    world.emulator.fail_project("checkout-prod", fault);
    let samples = [
        Sample::traces("checkout", 3),
        Sample::traces("checkout", 3).and("nobody", 2),
        Sample::traces("checkout", 3).and("payments", 2),
    ];
    for via in WAYS {
        for (sample, expected) in samples.iter().zip([1, 3, 1]) {
            let answer = via.send(&frontend(&world), sample).await;
            assert!(
                !answer.contains(token.as_bytes()),
                "{via:?}: {}",
                answer.text()
            );
            assert_eq!(
                refused(&answer).map(|(count, _)| count),
                Some(expected),
                "{via:?}"
            );
        }
        let mixed = &samples[2];
        world
            .emulator
            .fail_project("payments-prod", Fault::PlainStatus { status: 503 });
        assert_eq!(
            via.status(&via.send(&frontend(&world), mixed).await),
            via.of((503, 14))
        );
        world.emulator.heal_project("payments-prod");
        let answer = via.send(&frontend(&world), mixed).await;
        assert!(
            !answer.contains(token.as_bytes()),
            "{via:?}: {}",
            answer.text()
        );
        assert_eq!(refused(&answer).map(|(count, _)| count), Some(1), "{via:?}");
    }
}

/// Scenario: every content coding in, every configured one out.
/// Guarantees: what arrives is decoded alike, in the coding that was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codings_are_undone_and_made() {
    for (configured, expected) in [
        ("same", None),
        ("identity", Some(Coding::Identity)),
        ("gzip", Some(Coding::Gzip)),
        ("zstd", Some(Coding::Zstd)),
    ] {
        let mut plan = stage::plan(&[]);
        plan.more = format!("ingest: {{ compression: {configured} }}");
        let world = stage::start(plan).await;
        for coding in Coding::ALL {
            for via in WAYS {
                world.emulator.clear();
                let sample = Sample::traces("checkout", 20).and("payments", 1);
                let answer = via
                    .send(&frontend(&world).compressing(coding), &sample)
                    .await;
                assert_eq!(
                    via.status(&answer),
                    via.of((200, 0)),
                    "{configured} {coding:?} {via:?}"
                );
                let exports = world.emulator.exports();
                assert_eq!(exports.iter().map(Export::items).sum::<u64>(), 21);
                assert!(
                    exports
                        .iter()
                        .all(|export| export.coding == expected.unwrap_or(coding)),
                    "{configured} {coding:?} {via:?}"
                );
            }
        }
    }
}

/// Scenario: exports pass untouched when the operator says so.
/// Guarantees: byte for byte what was sent, whatever it holds, to the app of the head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_stamps_exports_pass_untouched() {
    let world = stage::start(stage::streamed(stage::plan(&[]))).await;
    let sample = Sample::traces("payments", 2).forged().unknown_fields();
    assert_eq!(
        checkout(&world)
            .export(&sample, Encoding::Protobuf)
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(world.emulator.captured()[0].body, sample.protobuf());
    world.emulator.clear();
    world.emulator.fail(Endpoints::All, Fault::status(400));
    let nonsense = checkout(&world).header("content-type", "application/x-protobuf");
    let answer = nonsense
        .send(http::Method::POST, "/v1/traces", &[], b"hello".to_vec())
        .await
        .unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(world.emulator.captured()[0].body, b"hello");
}

/// Scenario: backends say in gRPC trailers what they dropped, of one project's part and of two. Guarantees: the caller
/// hears it, added up, and the record counts it as rejected; over HTTP, which has no trailers, nothing changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_backend_dropped_is_told() {
    let world = stage::start(stage::plan(&[])).await;
    let invalid = "otlp-invalid-names";
    let dropping =
        |points, names| Fault::Trailers(vec![("otlp-points-dropped", points), (invalid, names)]);
    world
        .emulator
        .fail_project("checkout-prod", dropping("2", "bad-metric"));
    world
        .emulator
        .fail_project("payments-prod", dropping("1", "worse-metric"));
    let one = Sample::of(Signal::Metrics, "checkout", 3);
    let two = Sample::of(Signal::Metrics, "checkout", 3).and("payments", 4);
    for (sample, points, names, accepted) in [
        (one, "2", "bad-metric", 1),
        (two, "3", "bad-metric, worse-metric", 4),
    ] {
        let answer = Via::Grpc.send(&frontend(&world), &sample).await;
        assert_eq!(answer.grpc_status(), Some(0));
        let told = |name: &str| {
            answer
                .trailers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        assert_eq!(
            (told("otlp-points-dropped"), told(invalid)),
            (Some(points), Some(names))
        );
        let rejected: u64 = points.parse().unwrap();
        let items = &record_of(&world, &answer).await["items"];
        assert_eq!(
            *items,
            serde_json::json!({ "accepted": accepted, "rejected": rejected })
        );
        let answer = Via::Protobuf.send(&frontend(&world), &sample).await;
        assert_eq!((answer.status, refused(&answer)), (200, None));
    }
    // Untouched: what was sent is not counted, what was dropped is.
    let world = stage::start(stage::streamed(stage::plan(&[]))).await;
    world
        .emulator
        .fail_project("checkout-prod", dropping("2", "bad-metric"));
    let answer = Via::Grpc
        .send(
            &checkout(&world),
            &Sample::of(Signal::Metrics, "checkout", 3),
        )
        .await;
    let told = answer
        .trailers
        .get("otlp-points-dropped")
        .and_then(|value| value.to_str().ok());
    assert_eq!((answer.grpc_status(), told), (Some(0), Some("2")));
    let items = &record_of(&world, &answer).await["items"];
    assert_eq!(*items, serde_json::json!({ "accepted": 0, "rejected": 2 }));
}
