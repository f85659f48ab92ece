//! Several backends behind one front: which part goes where, with which credential, and what a move changes. What it refuses to
//! know: how a policy is read (`tests/policy` does), and how a part is written (`exports` does).

use std::sync::atomic::Ordering;

use lightkeeper::clock::Clock;
use lightkeeper::otlp::Encoding;
use serde_json::Value;
use testkit::emulator::EmulatorOptions;
use testkit::{
    Answer, Emulator, Endpoints, Fault, Format, LegacySample, Sample, SampleCaller, World,
};

use super::console;
use super::exports::{by_project, frontend, record_of};
use super::stage::{self, WorldPlan};

/// Projects whose tokens are those of ours at the second backend.
pub(super) const THERE: [&str; 2] = ["there-checkout", "there-shop"];

pub(super) const MOVED: &str = "checkout: { project: checkout-prod, backend: honey, services";
pub(super) const AS_IT_WAS: &str = "checkout: { project: checkout-prod, services";

/// A plain OTLP backend, which knows our tokens of its own.
pub(super) async fn honey() -> Emulator {
    Emulator::start_with(EmulatorOptions {
        plain_otlp: true,
        projects: THERE.map(str::to_owned).to_vec(),
        ..EmulatorOptions::default()
    })
    .await
    .unwrap()
}

/// The demonstration's world before two backends, of which `honey` is used as the policy's edits say.
pub(super) fn plan(honey: &Emulator, edits: &[(&str, &str)]) -> WorldPlan {
    let token = "{ access_token: [{ file: secrets/checkout-prod }] }";
    let both = "{ access_token: [{ file: secrets/checkout-prod }], backends: { honey: { access_token: [{ file: \
                secrets/there-checkout }] } } }";
    let shop = "shop-prod: { access_token: [{ file: secrets/shop-prod }] }";
    let shop_there = "shop-prod: { access_token: [{ file: secrets/shop-prod }], backends: { honey: { access_token: [{ \
                      file: secrets/there-shop }] } } }";
    let there = format!(
        "  honey: {{ profile: otlp, ingest: {{ url: \"{}\" }} }}\n",
        honey.url()
    );
    let backends = format!(
        "backends:\n  main:\n    profile: lightstep\n    ingest: {{ url: \"{{ingest}}\" }}\n    query: {{ url: \"{{query}}\" \
         }}\n{there}default_backend: main\n"
    );
    let mut plan = stage::plan(&[
        (
            "upstreams:\n  ingest: { profile: lightstep, url: \"{ingest}\" }\n  query: { profile: lightstep, url: \"{query}\" }\n",
            &backends,
        ),
        (token, both),
        (shop, shop_there),
    ]);
    plan.emulator.projects = THERE.map(str::to_owned).to_vec();
    for (old, new) in edits {
        assert!(plan.policy.contains(old), "the policy has no `{old}`");
        plan.policy = plan.policy.replace(old, new);
    }
    plan
}

/// Replaces a line of the policy and has it read.
pub(super) async fn rewrite(world: &World, old: &str, new: &str) {
    let path = world.folder().join("policy.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "the policy has no `{old}`");
    stage::replace(&path, text.replace(old, new));
    world.gateway.reload().await.unwrap();
}

/// How many items of which project have arrived.
pub(super) fn arrived(emulator: &Emulator) -> Vec<(String, u64)> {
    let projects = by_project(&emulator.exports()).into_iter();
    projects
        .map(|(project, services)| (project, services.iter().map(|(_, items)| items).sum()))
        .collect()
}

pub(super) fn of(project: &str, items: u64) -> (String, u64) {
    (project.to_owned(), items)
}

/// Nothing of one backend's credentials has come to the other, nor anything of the caller's.
fn no_credential_strayed(world: &World, honey: &Emulator, caller: &str) {
    let own = |projects: &[&str]| -> Vec<String> {
        projects
            .iter()
            .map(|project| Emulator::access_token(project))
            .collect()
    };
    let main = own(&[
        "checkout-prod",
        "shop-prod",
        "payments-prod",
        "platform-prod",
    ]);
    for (seen, foreign) in [(world.emulator.wire(), own(&THERE)), (honey.wire(), main)] {
        let holds = |needle: &str| {
            seen.windows(needle.len())
                .any(|window| window == needle.as_bytes())
        };
        for secret in foreign.iter().map(String::as_str).chain([caller]) {
            assert!(!holds(secret), "a credential went to the wrong backend");
        }
    }
    for one in honey.captured() {
        assert!(
            one.header("lightstep-access-token").is_empty(),
            "{}",
            one.path
        );
    }
}

pub(super) fn both() -> Sample {
    Sample::traces("checkout", 3).and("payments", 2)
}

pub(super) async fn each_way(caller: &SampleCaller, sample: &Sample) -> Vec<Answer> {
    vec![
        caller.export(sample, Encoding::Protobuf).await.unwrap(),
        caller.export(sample, Encoding::Json).await.unwrap(),
        caller.export_grpc(sample).await.unwrap(),
    ]
}

pub(super) fn is_success(answer: &Answer) -> bool {
    answer.status == 200 && answer.grpc_status().is_none_or(|code| code == 0)
}

/// Scenario: an export has parts for two backends, in each form, and over a path that one of them does not have.
/// Guarantees: each part arrives once, at its own backend's path, with the project's credential there and no other; the record
/// and the metrics say what went where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_split_over_backends() {
    let honey = honey().await;
    let world = stage::start(plan(&honey, &[(AS_IT_WAS, MOVED)])).await;
    let caller = frontend(&world);
    let mut answers = each_way(&caller, &both()).await;
    let old_path = "/traces/otlp/v0.9";
    answers.push(
        caller
            .export_to(old_path, &both(), Encoding::Protobuf)
            .await
            .unwrap(),
    );
    for answer in &answers {
        assert!(is_success(answer), "{}", answer.text());
        let record = record_of(&world, answer).await;
        let parts = record["parts"].as_array().unwrap();
        let parts: Vec<(&str, &str, u64)> = parts
            .iter()
            .map(|part| {
                let text = |key: &str| part[key].as_str().unwrap();
                let accepted = part["items"]["accepted"].as_u64().unwrap();
                (text("project"), text("backend"), accepted)
            })
            .collect();
        let expected = [("checkout-prod", "honey", 3), ("payments-prod", "main", 2)];
        assert_eq!(parts, expected, "{record:#}");
    }
    assert_eq!(arrived(&honey), [of("there-checkout", 12)]);
    assert_eq!(arrived(&world.emulator), [of("payments-prod", 8)]);
    let service = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let paths = |emulator: &Emulator| -> Vec<String> {
        let seen = emulator.captured().into_iter();
        seen.map(|one| one.path).collect()
    };
    let http = "/v1/traces";
    assert_eq!(paths(&honey), [http, http, service, http]);
    assert_eq!(paths(&world.emulator), [http, http, service, old_path]);
    let token = world.issuer.token("shop-frontend");
    no_credential_strayed(&world, &honey, &token);
    for (name, count) in [
        (
            "lightkeeper_backend_items_total{backend=\"honey\",result=\"accepted\"}",
            12.0,
        ),
        (
            "lightkeeper_backend_items_total{backend=\"main\",result=\"accepted\"}",
            8.0,
        ),
        (
            "lightkeeper_backend_responses_total{backend=\"honey\",status=\"200\",upstream=\"ingest\"}",
            4.0,
        ),
    ] {
        stage::counts(&world, name, count).await;
    }
}

/// Scenario: exports pass as they come. Guarantees: each goes whole to the backend of its app, with the credential there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_untouched_goes_to_its_apps_backend() {
    let honey = honey().await;
    let world = stage::start(stage::streamed(plan(&honey, &[(AS_IT_WAS, MOVED)]))).await;
    let token = world.issuer.token("shop-frontend");
    for (app, emulator, project) in [
        ("shop/checkout", &honey, "there-checkout"),
        ("shop/payments", &world.emulator, "payments-prod"),
    ] {
        let caller = frontend(&world).header("lightkeeper-app", app);
        for answer in each_way(&caller, &Sample::traces("any", 2)).await {
            assert!(is_success(&answer), "{app}: {}", answer.text());
            let record = record_of(&world, &answer).await;
            let expected = if app == "shop/checkout" {
                "honey"
            } else {
                "main"
            };
            assert_eq!(record["backend"], expected, "{record:#}");
        }
        assert_eq!(arrived(emulator), [of(project, 6)], "{app}");
    }
    no_credential_strayed(&world, &honey, &token);
}

/// Scenario: one line of the policy moves an app under its callers. Guarantees: they notice nothing, what comes from then on
/// is at the new backend, the reload says so; its queries are told in words that there is no query API, those of others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_moves_a_subtree() {
    let honey = honey().await;
    let idle = "      search: { services: [search] }";
    let search = "      search: { services: [search], backend: honey }";
    let world = stage::start(plan(&honey, &[(idle, search)])).await;
    let caller = frontend(&world);
    let streams = "/public/v0.2/acme/projects/checkout-prod/streams";
    let ann = || world.plain_caller().bearer(&world.issuer.token("ann"));
    assert_eq!(ann().get(streams).await.unwrap().status, 200);
    for answer in each_way(&caller, &both()).await {
        assert!(is_success(&answer));
    }
    assert_eq!(arrived(&honey), []);
    assert_eq!(
        arrived(&world.emulator),
        [of("checkout-prod", 9), of("payments-prod", 6)]
    );
    world.emulator.clear();

    rewrite(&world, AS_IT_WAS, MOVED).await;
    for answer in each_way(&caller, &both()).await {
        assert!(is_success(&answer), "{}", answer.text());
    }
    assert_eq!(arrived(&honey), [of("there-checkout", 9)]);
    assert_eq!(arrived(&world.emulator), [of("payments-prod", 6)]);
    let event = stage::event(&world, "reload").await;
    let detail = event["detail"].as_str().unwrap();
    assert!(
        detail.contains("backend of /shop/checkout is now honey"),
        "{detail}"
    );
    let asked = ann().get(streams).await.unwrap();
    assert_eq!(asked.status, 404);
    assert!(asked.text().contains("no query API"), "{}", asked.text());
    let record = record_of(&world, &asked).await;
    assert_eq!(record["reason"], "no_query_api");
    assert_eq!(record["backend"], "honey", "{record:#}");
    let others = "/public/v0.2/acme/projects/shop-prod/streams";
    assert_eq!(ann().get(others).await.unwrap().status, 200);
    let tree = ann().get("/apps/shop/-/streams").await.unwrap();
    assert_eq!(tree.status, 200, "{}", tree.text());
    let tree: Value = serde_json::from_slice(&tree.body).unwrap();
    assert!(tree.to_string().contains("no query API"), "{tree:#}");
    for (app, backend) in [("shop/checkout", "honey"), ("shop/payments", "main")] {
        let view = console::app(&world, "ann", app).await.unwrap();
        assert_eq!(view.backend.as_deref(), Some(backend), "{app}");
        assert_eq!(view.links.is_empty(), backend == "honey", "{app}");
    }
    let (_, ready) = stage::admin(&world, "/readyz").await;
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(ready["backends"][1]["backend"], "honey", "{ready:#}");
    no_credential_strayed(&world, &honey, &world.issuer.token("shop-frontend"));
}

/// Scenario: two backends of one profile are asked, each with its own projects. Guarantees: what is asked of one takes nothing from the
/// other's rate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_backend_has_rates_of_its_own() {
    let second = Emulator::start_with(EmulatorOptions::default())
        .await
        .unwrap();
    let mut plan = plan(&second, &[(AS_IT_WAS, MOVED)]);
    let url = second.url();
    for (old, new) in [
        (
            format!("honey: {{ profile: otlp, ingest: {{ url: \"{url}\" }} }}"),
            format!("honey: {{ profile: lightstep, ingest: {{ url: \"{url}\" }}, query: {{ url: \"{url}\" }} }}"),
        ),
        (
            "honey: { access_token: [{ file: secrets/there-checkout }] }".to_owned(),
            "honey: { access_token: [{ file: secrets/checkout-prod }], api_key: { read: { file: secrets/api-key-read } } }".to_owned(),
        ),
    ] {
        assert!(plan.config.contains(&old), "{}", plan.config);
        plan.config = plan.config.replace(&old, &new);
    }
    plan.more.push_str("\nquery: { rates: { general: 1/h } }\n");
    let world = stage::start(plan).await;
    let asked = async |project: &str, what: &str| {
        let caller = world.plain_caller().bearer(&world.issuer.token("ann"));
        let path = format!("/public/v0.2/acme/projects/{project}/{what}");
        caller.get(&path).await.unwrap().status
    };
    let spent = async |project: &str| {
        let mut found = Vec::new();
        for what in ["streams", "dashboards", "metric_alerts", "destinations"] {
            found.push(asked(project, what).await);
        }
        found
    };
    let (first, other) = (spent("shop-prod").await, spent("checkout-prod").await);
    assert!(first[0] == 200 && first.contains(&429), "{first:?}");
    assert_eq!(first, other);
    assert!(world.emulator.heads() > 0 && second.heads() > 0);
}

/// Scenario: a move is set for a time. Guarantees: the time of each call decides, to the millisecond, without a reload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_is_exact_for_each_call() {
    let honey = honey().await;
    let start = Clock::system().now();
    let (clock, hand) = Clock::manual(start);
    let time = |after: i64| lightkeeper::audit::timestamp(start.0 + after);
    let (from, until) = (time(1), time(1001));
    let moved = format!(
        "checkout: {{ project: checkout-prod, backend: {{ name: honey, from: {from}, until: {until} }}, services"
    );
    let mut plan = plan(&honey, &[(AS_IT_WAS, moved.as_str())]);
    plan.clock = clock.clone();
    plan.issuer.clock = clock;
    let world = stage::start(plan).await;
    let caller = frontend(&world);
    for (passed, there, here) in [(0, 0, 3), (1, 3, 3), (999, 6, 3), (1, 6, 6)] {
        hand.fetch_add(passed, Ordering::Relaxed);
        let sample = Sample::traces("checkout", 3);
        let answer = caller.export(&sample, Encoding::Protobuf).await.unwrap();
        assert!(is_success(&answer), "{}", answer.text());
        let sum =
            |emulator: &Emulator| -> u64 { arrived(emulator).iter().map(|(_, items)| items).sum() };
        assert_eq!(
            (sum(&honey), sum(&world.emulator)),
            (there, here),
            "{passed}"
        );
    }
}

/// Scenario: one of two backends fails, then the other, and the caller comes again. Guarantees: what one has taken is not sent
/// to it again, in each form; at the end each has everything once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_failed_export_doubles_nothing() {
    let honey = honey().await;
    let world = stage::start(plan(&honey, &[(AS_IT_WAS, MOVED)])).await;
    let caller = frontend(&world);
    let fault = || Fault::PlainStatus { status: 503 };
    for round in 0..2 {
        let broken = [&honey, &world.emulator][round];
        broken.fail(Endpoints::All, fault());
        for answer in each_way(&caller, &both()).await {
            assert!(!is_success(&answer));
        }
        broken.heal();
        for answer in each_way(&caller, &both()).await {
            assert!(is_success(&answer), "{}", answer.text());
        }
        let times = 3 * (round as u64 + 1);
        assert_eq!(arrived(&honey), [of("there-checkout", 3 * times)]);
        assert_eq!(arrived(&world.emulator), [of("payments-prod", 2 * times)]);
    }
}

/// Scenario: a client of a legacy format writes to an app whose backend does not take it. Guarantees: it is refused in words, and
/// goes nowhere; to an app that has not moved it goes as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_goes_to_a_backend_that_takes_it_or_nowhere() {
    let honey = honey().await;
    let world = stage::start(plan(&honey, &[(AS_IT_WAS, MOVED)])).await;
    let token = world.issuer.token("shop-frontend");
    for (service, reason) in [("payments", "ok"), ("checkout", "form_not_taken")] {
        let sample = LegacySample::of(Format::ReportsJson, service, 3);
        let caller = world.plain_caller().access_token(&token);
        let answer = caller.report(&sample).await.unwrap();
        let record = record_of(&world, &answer).await;
        assert_eq!(record["reason"], reason, "{record:#}");
    }
    assert!(honey.captured().is_empty());
    assert_eq!(world.emulator.captured().len(), 1);
}
