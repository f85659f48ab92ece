//! Reports in the formats from before OpenTelemetry, end to end: whose they are, where they go, what arrives. What it
//! refuses to know: how a report is read (the unit tests of `lightstep` do), and how a bad one is answered
//! (`report_answers`); here the emulator's own readers judge what arrived.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use lightkeeper::identify::NewClientToken;
use serde_json::{Value, json};
use testkit::emulator::{Captured, Export, Level};
use testkit::{
    Answer, Carrier, Coding, Emulator, Fault, Format, LegacySample, SampleCaller, World, WorldPlan,
};

use super::stage;
use crate::folder::Folder;

/// The demonstration's world, with a client token that may write to `shop/checkout`.
pub fn plan() -> (WorldPlan, String) {
    let token = NewClientToken::make().unwrap();
    let line = format!(
        "  - {{ name: billing-php, hash: \"{}\", binding: checkout-pods }}\n",
        token.hash
    );
    let plan = stage::plan(&[(
        "policy: policy.yaml\n",
        &format!("client_tokens:\n{line}policy: policy.yaml\n"),
    )]);
    (plan, token.expose().to_owned())
}

/// Sends a report as its format's clients do, but to this path.
pub async fn send(caller: &SampleCaller, path: &str, sample: &LegacySample) -> Answer {
    let headers = sample.headers();
    if sample.format() == Format::ReportsGrpc {
        let tokens = headers.iter().filter(|(name, _)| *name != "content-type");
        let caller = tokens.fold(caller.clone(), |caller, (name, value)| {
            caller.header(name, value)
        });
        return caller.grpc(path, &sample.body()).await.unwrap();
    }
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    caller
        .send(Method::POST, path, &headers, sample.body())
        .await
        .unwrap()
}

/// The status in the words of the format's protocol: HTTP's, or gRPC's code.
pub fn code(answer: &Answer) -> u32 {
    answer.grpc_status().unwrap_or(u32::from(answer.status))
}

/// Of a pair of statuses, HTTP's and gRPC's, the one of this format.
pub fn of(format: Format, (http, grpc): (u32, u32)) -> u32 {
    if format == Format::ReportsGrpc {
        grpc
    } else {
        http
    }
}

/// How the backend says yes in this format.
pub fn good(format: Format) -> u32 {
    of(
        format,
        (if format == Format::Zipkin { 202 } else { 200 }, 0),
    )
}

pub async fn record_of(world: &World, answer: &Answer) -> Value {
    stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await
}

/// Every place where this format's clients can put a token that proves who they are.
pub fn places(format: Format) -> Vec<Carrier> {
    let all = format.carriers().iter().copied();
    // In labels of points, no client has it.
    let places = all.filter(|carrier| (format, *carrier) != (Format::Metrics, Carrier::Tag));
    places
        .chain((format == Format::ThriftJson).then_some(Carrier::Body))
        .collect()
}

/// Where the backend finds the project's token, wherever the report's own stood: where it needs it, and nowhere else.
fn rewritten(format: Format) -> Vec<Carrier> {
    match format {
        Format::Reports | Format::ReportsJson | Format::ReportsGrpc | Format::ThriftBinary => {
            vec![Carrier::Header, Carrier::Body]
        }
        Format::ThriftJson | Format::Metrics => vec![Carrier::Header],
        Format::Zipkin => vec![Carrier::Header, Carrier::Tag],
        Format::Bulk => vec![Carrier::Header, Carrier::Basic],
        Format::Firehose => vec![Carrier::Header, Carrier::FirehoseKey],
    }
}

/// Nothing of the token is in what the backend got, in any form that a carrier may give it.
fn is_clean(captured: &Captured, token: &str) -> bool {
    let parts = token
        .split('.')
        .filter(|part| part.len() > 20)
        .chain([token]);
    let mut forms: Vec<String> = parts.map(str::to_owned).collect();
    forms.extend([STANDARD.encode(token), STANDARD.encode(format!(":{token}"))]);
    forms.iter().all(|form| !captured.contains(form.as_bytes()))
}

/// What the gateway said of the sender, wherever the format has a place for it: at the process that reports, in Zipkin
/// on each span, in bulk lines on each of them, in Firehose on each resource.
fn stamps(export: &Export) -> Vec<Vec<(&str, &str)>> {
    let on_spans = export.legacy.as_ref().unwrap().format == Format::Zipkin;
    let sets: Vec<&Vec<(String, String)>> = if on_spans {
        export
            .resources
            .iter()
            .flat_map(|resource| resource.records())
            .map(|record| &record.attributes)
            .collect()
    } else {
        export
            .resources
            .iter()
            .map(|resource| &resource.attributes)
            .collect()
    };
    let ours = |set: &'_ &Vec<(String, String)>| {
        set.iter().any(|(name, _)| name.starts_with("lightkeeper."))
    };
    let marked = sets.into_iter().filter(ours).map(|set| {
        let ours = set
            .iter()
            .filter(|(name, _)| name.starts_with("lightkeeper."));
        ours.map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    });
    marked.collect()
}

/// Scenario: a client token and a JWT, in every place of every format, alone and in all of them at once.
/// Guarantees: it arrives whole, in the project of its app, with the project's token in every carrier and the caller's
/// in none, stamped with the sender; the record says whose it was and how much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_counts_wherever_a_client_can_put_it() {
    let (plan, fixed) = plan();
    let world = stage::start(plan).await;
    let tokens = [
        (fixed, ["billing-php", "client_tokens", "client_token"]),
        (
            world.issuer.token("checkout-collector"),
            ["system:serviceaccount:checkout:collector", "acme", "oidc"],
        ),
    ];
    let ours = Emulator::access_token("checkout-prod");
    for format in Format::ALL {
        let all = places(format);
        let sets = all
            .iter()
            .map(|place| vec![*place])
            .chain([all.clone(), Vec::new()]);
        for (set, (token, who)) in
            sets.flat_map(|set| tokens.iter().map(move |token| (set.clone(), token)))
        {
            let what = format!("{format:?} {set:?} {}", who[2]);
            world.emulator.clear();
            let blank = LegacySample::of(format, "checkout", 3)
                .tag("owner", "team")
                .span_tag("cart", "7");
            let sample = set
                .iter()
                .fold(blank, |sample, place| sample.carrying(*place, token));
            // Nowhere else: where any client of ours has it.
            let caller = world.plain_caller();
            let caller = if set.is_empty() {
                caller.bearer(token)
            } else {
                caller
            };
            let answer = caller.report(&sample).await.unwrap();
            assert_eq!(code(&answer), good(format), "{what}: {}", answer.text());
            let [export] = &world.emulator.exports()[..] else {
                panic!("{what}: not one report")
            };
            assert_eq!(
                (export.project.as_str(), export.items()),
                ("checkout-prod", 3),
                "{what}"
            );
            assert_eq!(export.services().first(), Some(&"checkout"), "{what}");
            let legacy = export.legacy.as_ref().unwrap();
            assert_eq!(
                (legacy.format, &legacy.carriers),
                (format, &rewritten(format)),
                "{what}"
            );
            assert_eq!(export.span_ids(), sample.span_ids(), "{what}");
            let [captured] = &world.emulator.captured()[..] else {
                panic!("{what}: not one request")
            };
            assert!(
                is_clean(captured, token),
                "{what}: the caller's token went upstream"
            );
            assert_eq!(captured.path, format.path(), "{what}");
            let basic = format!("Basic {}", STANDARD.encode(format!(":{ours}")));
            let expected = if format == Format::Bulk {
                vec![basic]
            } else {
                Vec::new()
            };
            assert_eq!(captured.header("authorization"), expected, "{what}");
            let stamp = vec![
                ("lightkeeper.app", "shop/checkout"),
                ("lightkeeper.identity", who[0]),
                ("lightkeeper.identity.issuer", who[1]),
                ("lightkeeper.identity.method", who[2]),
            ];
            let times = if matches!(format, Format::Zipkin | Format::Bulk) {
                3
            } else {
                1
            };
            let mut found = stamps(export);
            found.iter_mut().for_each(|stamp| stamp.sort_unstable());
            assert_eq!(found, vec![stamp; times], "{what}");
            let record = record_of(&world, &answer).await;
            let told = json!({ "subject": who[0], "issuer": who[1], "method": who[2] });
            assert_eq!(record["identity"], told, "{what}");
            assert_eq!(
                (&record["app"], &record["project"]),
                (&"shop/checkout".into(), &"checkout-prod".into())
            );
            assert_eq!(
                (&record["reason"], &record["decision"]),
                (&"ok".into(), &"allow".into()),
                "{what}"
            );
            assert_eq!(
                record["operation"],
                format!("ingest.{}", export.signal.name()),
                "{what}"
            );
            assert_eq!(
                record["items"],
                json!({ "accepted": 3, "rejected": 0 }),
                "{what}"
            );
            assert!(!record.to_string().contains(token.as_str()), "{what}");
        }
    }
    let written = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    assert!(tokens.iter().all(|(token, _)| !written.contains(token)) && !written.contains(&ours));
}

/// Scenario: reports of services of three apps, of none, and addressed to an app by URL and by header.
/// Guarantees: each lands in the project of its app; a service of no app needs an app named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_decides_unless_the_app_is_named() {
    let world = stage::start(stage::plan(&[])).await;
    let token = world.issuer.token("shop-frontend");
    let caller = world.plain_caller().bearer(&token);
    for format in Format::ALL {
        for (service, app, project) in [
            ("checkout", "shop/checkout", "checkout-prod"),
            ("checkout-web", "shop/checkout", "checkout-prod"),
            ("ledger-eu", "shop/payments", "payments-prod"),
            ("cart", "shop", "shop-prod"),
            ("search", "shop/search", "shop-prod"),
        ] {
            world.emulator.clear();
            let sample = LegacySample::of(format, service, 2);
            let answer = caller.report(&sample).await.unwrap();
            assert_eq!(
                code(&answer),
                good(format),
                "{format:?} {service}: {}",
                answer.text()
            );
            let record = record_of(&world, &answer).await;
            assert_eq!(
                (&record["app"], &record["project"]),
                (&app.into(), &project.into()),
                "{format:?} {service}"
            );
            assert_eq!(
                world.emulator.exports()[0].project,
                project,
                "{format:?} {service}"
            );
        }
        world.emulator.clear();
        let nobody = LegacySample::of(format, "nobody", 2);
        let answer = caller.report(&nobody).await.unwrap();
        assert_eq!(code(&answer), of(format, (400, 3)), "{format:?}");
        assert_eq!(
            record_of(&world, &answer).await["reason"],
            "app_ambiguous",
            "{format:?}"
        );
        assert_eq!(world.emulator.heads(), 0, "{format:?}");
        let named = caller.clone().header("lightkeeper-app", "shop/search");
        assert_eq!(
            code(&named.report(&nobody).await.unwrap()),
            good(format),
            "{format:?}"
        );
        let path = format!("/apps/shop/checkout/-{}", format.path());
        // A caller at `/apps` has its evidence where its format has it, too.
        for sample in [nobody.clone(), nobody.clone().token(&token)] {
            let caller = if sample.headers().len() == nobody.headers().len() {
                &caller
            } else {
                &world.plain_caller()
            };
            let answer = send(caller, &path, &sample).await;
            assert_eq!(code(&answer), good(format), "{format:?}: {}", answer.text());
        }
        let exports = world.emulator.exports();
        let projects: Vec<_> = exports
            .iter()
            .map(|export| export.project.as_str())
            .collect();
        assert_eq!(
            projects,
            ["shop-prod", "checkout-prod", "checkout-prod"],
            "{format:?}"
        );
        assert!(
            world
                .emulator
                .captured()
                .iter()
                .all(|captured| captured.path == format.path()),
            "{format:?}"
        );
    }
}

/// Scenario: one report of a collector of spans, of lines, holds several services. Guarantees: those of one app arrive
/// together; a foreign one takes all with it; those of two apps are for no one project.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_one_report_belong_to_one_app() {
    let world = stage::start(stage::plan(&[])).await;
    let tokens = ["checkout-collector", "shop-frontend"].map(|name| world.issuer.token(name));
    for format in [Format::Zipkin, Format::Bulk] {
        for (services, collector, frontend) in [
            (["checkout", "checkout-web"], (200, "ok"), (200, "ok")),
            (["checkout", "nobody"], (200, "ok"), (400, "app_ambiguous")),
            (
                ["checkout", "payments"],
                (403, "service_foreign"),
                (400, "service_ambiguous"),
            ),
            (
                ["frontend", "dns"],
                (403, "service_foreign"),
                (403, "service_foreign"),
            ),
        ] {
            for (token, (status, reason)) in tokens.iter().zip([collector, frontend]) {
                world.emulator.clear();
                let bodies = services.map(|service| LegacySample::of(format, service, 2).body());
                let body = match format {
                    Format::Bulk => bodies.concat(),
                    _ => {
                        let [one, other] =
                            bodies.map(|body| serde_json::from_slice::<Vec<Value>>(&body).unwrap());
                        Value::from([one, other].concat()).to_string().into_bytes()
                    }
                };
                let kind = [("content-type", format.content_type())];
                let caller = world.plain_caller().bearer(token);
                let answer = caller
                    .send(Method::POST, format.path(), &kind, body)
                    .await
                    .unwrap();
                let what = format!("{format:?} {services:?} {reason}");
                let expected = if status == 200 { good(format) } else { status };
                assert_eq!(code(&answer), expected, "{what}: {}", answer.text());
                assert_eq!(record_of(&world, &answer).await["reason"], reason, "{what}");
                let arrived = world
                    .emulator
                    .exports()
                    .iter()
                    .map(Export::items)
                    .sum::<u64>();
                assert_eq!(arrived, if status == 200 { 4 } else { 0 }, "{what}");
            }
        }
    }
}

/// Scenario: a span, a document or a process names its service in two places where a reader may look, or names none in
/// one of them. Guarantees: no name passes that another reader takes for a foreign one; equal names pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_stands_in_two_places_is_one() {
    let world = stage::start(stage::plan(&[])).await;
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let zipkin = |tag: &str, endpoint: &str| {
        let tags = format!(r#""tags":{{"lightstep.component_name":{tag}}}"#);
        format!(
            r#"[{{"traceId":"1","id":"1",{tags},"localEndpoint":{{"serviceName":{endpoint}}}}}]"#
        )
    };
    let bulk = |members: &str| format!("{{\"create\":{{}}}}\n{{{members}}}\n");
    let thrift = |name: &str, tag: &str| {
        let attributes = format!(r#"[{{"Key":"lightstep.component_name","Value":{tag}}}]"#);
        format!(
            r#"{{"runtime":{{"group_name":{name},"attrs":{attributes}}},"span_records":[{{"span_guid":"1"}}]}}"#
        )
    };
    let (ambiguous, foreign, ok) = (
        (400, "service_ambiguous"),
        (403, "service_foreign"),
        (200, "ok"),
    );
    let (own, theirs, none) = (r#""checkout""#, r#""payments""#, r#""""#);
    for (format, body, (status, reason)) in [
        (Format::Zipkin, zipkin(none, theirs), ambiguous),
        (Format::Zipkin, zipkin(own, theirs), foreign),
        (Format::Zipkin, zipkin(theirs, own), foreign),
        (Format::Zipkin, zipkin(own, own), ok),
        (Format::Zipkin, zipkin(own, none), ambiguous),
        (
            Format::Bulk,
            bulk(r#""service.name":"","service":"payments""#),
            ambiguous,
        ),
        (
            Format::Bulk,
            bulk(r#""service.name":"checkout","service":"payments""#),
            ambiguous,
        ),
        (
            Format::Bulk,
            bulk(r#""service.name":"checkout","Service.Name":"payments""#),
            ambiguous,
        ),
        (
            Format::Bulk,
            bulk(r#""service":"checkout","lightstep.component_name":"payments""#),
            ambiguous,
        ),
        (
            Format::Bulk,
            bulk(r#""service.name":"checkout","lightstep":{"component_name":"payments"}"#),
            ambiguous,
        ),
        (
            Format::Bulk,
            bulk(r#""\u017fervice":{"name":"payments"}"#),
            foreign,
        ),
        (
            Format::Bulk,
            bulk(r#""service.name":"checkout","service":{"name":"checkout"}"#),
            ok,
        ),
        (Format::ThriftJson, thrift(none, theirs), ambiguous),
        (Format::ThriftJson, thrift(own, theirs), ambiguous),
        (Format::ThriftJson, thrift(own, own), ok),
    ] {
        world.emulator.clear();
        let kind = [("content-type", format.content_type())];
        let what = format!("{format:?} {body}");
        let answer = caller
            .send(Method::POST, format.path(), &kind, body.into_bytes())
            .await
            .unwrap();
        assert_eq!(
            record_of(&world, &answer).await["reason"],
            reason,
            "{what}: {}",
            answer.text()
        );
        assert_eq!(
            code(&answer),
            if status == 200 { good(format) } else { status },
            "{what}"
        );
        assert_eq!(world.emulator.heads(), u64::from(status == 200), "{what}");
    }
}

/// Scenario: forged stamps as tags of the process, of spans, points and lines, beside much that is the caller's own.
/// Guarantees: none of them arrives, they are counted, everything else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tags_are_removed() {
    let world = stage::start(stage::plan(&[])).await;
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let forged = || stage::metric(&world, "lightkeeper_forged_attributes_total");
    for format in Format::ALL
        .into_iter()
        .filter(|format| *format != Format::Firehose)
    {
        world.emulator.clear();
        let honest = LegacySample::of(format, "checkout", 2)
            .tag("owner", "team")
            .span_tag("cart", "7");
        let honest = honest.unknown_fields();
        assert_eq!(
            code(&caller.report(&honest).await.unwrap()),
            good(format),
            "{format:?}"
        );
        let before = forged().await;
        let names = [
            "lightkeeper.identity",
            "lightkeeper.app",
            "lightkeeper.",
            "lightkeeper.made.up",
        ];
        let sample = names.iter().fold(honest, |sample, name| {
            sample.tag(name, "forged").span_tag(name, "forged")
        });
        assert_eq!(
            code(&caller.report(&sample).await.unwrap()),
            good(format),
            "{format:?}"
        );
        assert!(forged().await >= before + 8.0, "{format:?}");
        let exports = world.emulator.exports();
        assert_eq!(
            exports[0].attributes(),
            exports[1].attributes(),
            "{format:?}"
        );
        assert!(
            exports[1]
                .attributes()
                .iter()
                .all(|(_, _, value)| *value != "forged"),
            "{format:?}"
        );
        let level = if format == Format::Zipkin {
            Level::Record
        } else {
            Level::Resource
        };
        assert!(
            exports[1]
                .named("lightkeeper.")
                .iter()
                .all(|(at, _)| *at == level),
            "{format:?}"
        );
    }
}

/// Scenario: each format in pieces of unknown length, over HTTP/2, in every coding. Guarantees: it is read, and leaves
/// in the coding in which it came, or in the configured one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_come_in_every_framing_and_coding() {
    for (configured, expected) in [
        ("same", None),
        ("identity", Some(Coding::Identity)),
        ("zstd", Some(Coding::Zstd)),
    ] {
        let (mut plan, token) = plan();
        plan.more = format!("ingest: {{ compression: {configured} }}");
        let world = stage::start(plan).await;
        for format in Format::ALL {
            for coding in Coding::ALL {
                for caller in [
                    world.plain_caller(),
                    world.plain_caller().chunked(),
                    world.caller().http2(),
                ] {
                    world.emulator.clear();
                    let sample = LegacySample::of(format, "checkout", 40).token(&token);
                    let answer = caller.compressing(coding).report(&sample).await.unwrap();
                    assert_eq!(
                        code(&answer),
                        good(format),
                        "{configured} {format:?} {coding:?}: {}",
                        answer.text()
                    );
                    let export = &world.emulator.exports()[0];
                    assert_eq!(
                        (export.items(), export.coding),
                        (40, expected.unwrap_or(coding)),
                        "{format:?}"
                    );
                    assert!(
                        is_clean(&world.emulator.captured()[0], &token),
                        "{configured} {format:?} {coding:?}"
                    );
                }
            }
        }
    }
}

/// Scenario: legacy reports and logs have hosts of their own. Guarantees: each format goes to the one that takes it,
/// with the base path of that upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_and_logs_go_to_their_own_hosts() {
    let (collector, logs) = (
        Emulator::start().await.unwrap(),
        Emulator::start().await.unwrap(),
    );
    let (mut plan, token) = plan();
    let upstreams = format!(
        "  collector: {{ profile: lightstep, url: \"{}\" }}\n  logs: {{ profile: lightstep, url: \"{}\" }}\n",
        collector.url(),
        logs.url()
    );
    let (before, after) = plan.config.split_once("upstreams:\n").unwrap();
    plan.config = format!("{before}upstreams:\n{upstreams}{after}");
    let world = stage::start(plan).await;
    for format in Format::ALL {
        let answer = world
            .plain_caller()
            .report(&LegacySample::of(format, "checkout", 1).token(&token))
            .await
            .unwrap();
        assert_eq!(code(&answer), good(format), "{format:?}: {}", answer.text());
    }
    let formats = |emulator: &Emulator| -> Vec<Format> {
        emulator
            .exports()
            .into_iter()
            .filter_map(|export| export.legacy)
            .map(|legacy| legacy.format)
            .collect()
    };
    assert_eq!(
        formats(&world.emulator),
        [Format::Metrics, Format::Firehose]
    );
    assert_eq!(formats(&logs), [Format::Bulk]);
    let rest = [
        Format::Reports,
        Format::ReportsJson,
        Format::ReportsGrpc,
        Format::ThriftJson,
        Format::ThriftBinary,
        Format::Zipkin,
    ];
    assert_eq!(formats(&collector), rest);
}

/// Scenario: a project has two tokens, and the backend refuses the first. Guarantees: the client is asked to come
/// again, because its body holds the refused one, and is then served with the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_comes_with_the_projects_next_token() {
    let (mut plan, token) = plan();
    let one = "checkout-prod: { access_token: [{ file: secrets/checkout-prod }] }";
    let two = "checkout-prod: { access_token: [{ file: secrets/older }, { file: secrets/checkout-prod }] }";
    assert!(plan.config.contains(one));
    plan.config = plan
        .config
        .replace(one, two)
        .replace("secrets/older", "policy-token");
    for format in Format::ALL {
        let folder = Folder::new();
        std::fs::write(folder.at("older"), "retired-token-of-checkout-prod").unwrap();
        let mut plan = plan.clone();
        plan.config = plan.config.replace("policy-token", &folder.at("older"));
        let world = stage::start(plan).await;
        let sample = LegacySample::of(format, "checkout", 1).token(&token);
        let answer = world.plain_caller().report(&sample).await.unwrap();
        assert_eq!(
            code(&answer),
            of(format, (503, 14)),
            "{format:?}: {}",
            answer.text()
        );
        assert_eq!(
            record_of(&world, &answer).await["reason"],
            "credential_refused_by_upstream",
            "{format:?}"
        );
        let answer = world.plain_caller().report(&sample).await.unwrap();
        assert_eq!(code(&answer), good(format), "{format:?}: {}", answer.text());
        assert_eq!(world.emulator.exports().len(), 1, "{format:?}");
        assert!(
            world
                .emulator
                .captured()
                .iter()
                .all(|captured| is_clean(captured, &token)),
            "{format:?}"
        );
    }
}

/// Scenario: the backend, or a host that answers in its place, tells tracers to stop. Guarantees: they do not hear it,
/// unless the operator wants them to; all else of the answer arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_to_stop_are_dropped_unless_wanted() {
    use testkit::thrift::{Message, all};
    for (more, heard) in [("", false), ("ingest: { commands: pass }", true)] {
        let (mut plan, token) = plan();
        plan.more = more.to_owned();
        let world = stage::start(plan).await;
        world
            .emulator
            .fail_project("checkout-prod", Fault::DisableCommand);
        for format in [
            Format::Reports,
            Format::ReportsGrpc,
            Format::ReportsJson,
            Format::ThriftJson,
            Format::ThriftBinary,
        ] {
            let sample = LegacySample::of(format, "checkout", 1).token(&token);
            let answer = world.plain_caller().report(&sample).await.unwrap();
            assert_eq!(code(&answer), good(format), "{format:?}");
            let (told, has_times) = match format {
                Format::Reports | Format::ReportsGrpc => {
                    let response = answer.report_response().unwrap();
                    (
                        !response.commands.is_empty(),
                        response.receive_timestamp.is_some(),
                    )
                }
                Format::ThriftBinary => {
                    let reply = Message::read(&answer.body).unwrap();
                    let result = all(&reply.fields, 0).next().unwrap().as_fields().unwrap();
                    (
                        all(result, 1).next().is_some(),
                        all(result, 2).next().is_some(),
                    )
                }
                _ => {
                    let answer = answer.json().unwrap();
                    let commands = answer["commands"]
                        .as_array()
                        .is_some_and(|commands| !commands.is_empty());
                    (
                        commands,
                        answer["receiveTimestamp"].is_string() || answer["timing"].is_object(),
                    )
                }
            };
            assert_eq!(
                (told, has_times),
                (heard, true),
                "{format:?}: {}",
                answer.text()
            );
        }
    }
}
