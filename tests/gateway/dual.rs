//! Apps whose data goes to two backends: what each has in the end, what the caller is told, and what is counted. What it refuses to know: how
//! long a queue keeps a copy (the unit tests of `state` do), and how apps are moved (`backends`).

use std::time::Duration;

use lightkeeper::otlp::{Encoding, Signal};
use lightkeeper::view::LegItems;
use serde_json::Value;
use testkit::emulator::EmulatorOptions;
use testkit::vendors::{VendorEmulator, VendorFault, item_names};
use testkit::{Emulator, Endpoints, Fault, Sample, World};

use crate::demo::program::run;

use super::backends::{
    AS_IT_WAS, THERE, arrived, both, each_way, honey, is_success, of, plan, rewrite,
};
use super::console;
use super::exports::{frontend, record_of};
use super::stage;

const MIRRORED: &str =
    "checkout: { project: checkout-prod, also: [{ backend: honey, mode: mirror }], services";
const REQUIRED: &str =
    "checkout: { project: checkout-prod, also: [{ backend: honey, mode: require }], services";

fn down() -> Fault {
    Fault::PlainStatus { status: 503 }
}

/// One figure of the comparison, between `main` and `honey`.
fn leg(backend: &str, leg: &str, result: &str) -> String {
    let against = if backend == "main" { "honey" } else { "main" };
    format!(
        "lightkeeper_leg_items_total{{against=\"{against}\",backend=\"{backend}\",leg=\"{leg}\",project=\"checkout-prod\",result=\"{result}\",signal=\"traces\"}}"
    )
}

async fn arrives(emulator: &Emulator, expected: &[(String, u64)]) {
    stage::eventually(&format!("{expected:?}"), || async {
        (arrived(emulator) == expected).then_some(())
    })
    .await;
}

/// The parts of a record: backend, leg, accepted items and reason of each.
fn parts(record: &Value) -> Vec<(String, String, u64, String)> {
    let parts = record["parts"].as_array().into_iter().flatten();
    let text = |part: &Value, key: &str| part[key].as_str().unwrap_or("-").to_owned();
    parts
        .map(|part| {
            let accepted = part["items"]["accepted"].as_u64().unwrap();
            (
                text(part, "backend"),
                text(part, "leg"),
                accepted,
                text(part, "reason"),
            )
        })
        .collect()
}

fn told(rows: &[(&str, &str, u64, &str)]) -> Vec<(String, String, u64, String)> {
    let rows = rows.iter();
    rows.map(|(backend, leg, accepted, reason)| {
        let word = |text: &str| text.to_owned();
        (word(backend), word(leg), *accepted, word(reason))
    })
    .collect()
}

/// The event of this name and reason.
async fn event(world: &World, name: &str, reason: &str) -> Value {
    stage::eventually(&format!("{name} for {reason}"), || async {
        let mut records = world.records().into_iter();
        records.find(|record| record["event"] == name && record["reason"] == reason)
    })
    .await
}

/// The last line of what the command prints of this world, which ends with this status.
fn report(world: &World, status: i32) -> String {
    let metrics = format!("http://{}/metrics", world.admin);
    let arguments = ["migrate", "report", "--metrics", &metrics];
    let told = run(&arguments);
    assert_eq!(told.status, status, "{}{}", told.out, told.err);
    let json = run(&[&arguments[..], &["--output", "json"]].concat());
    assert_eq!(json.status, status);
    assert_eq!(json.json()["even"], status == 0);
    told.out.lines().last().unwrap_or_default().to_owned()
}

/// Scenario: one app of an export is mirrored, in each form; then the mirror is down for a moment. Guarantees: the answer is that of the
/// app's own backend; the mirror gets each item of the app once, and nothing of others; both are counted side by side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_gets_what_was_taken_and_decides_nothing() {
    let honey = honey().await;
    let world = stage::start(plan(&honey, &[(AS_IT_WAS, MIRRORED)])).await;
    let caller = frontend(&world);
    for answer in each_way(&caller, &both()).await {
        assert!(is_success(&answer), "{}", answer.text());
        let record = record_of(&world, &answer).await;
        let expected = told(&[
            ("main", "-", 3, "ok"),
            ("main", "-", 2, "ok"),
            ("honey", "mirror", 0, "mirrored"),
        ]);
        assert_eq!(parts(&record), expected, "{record:#}");
        assert_eq!(record["items"]["accepted"], 5, "{record:#}");
    }
    let main = [of("checkout-prod", 9), of("payments-prod", 6)];
    assert_eq!(arrived(&world.emulator), main);
    arrives(&honey, &[of("there-checkout", 9)]).await;

    honey.fail(Endpoints::All, down());
    for answer in each_way(&caller, &Sample::traces("checkout", 3)).await {
        assert!(is_success(&answer), "{}", answer.text());
    }
    honey.heal();
    arrives(&honey, &[of("there-checkout", 18)]).await;
    for (backend, which) in [("main", "primary"), ("honey", "mirror")] {
        for result in ["sent", "accepted"] {
            stage::counts(&world, &leg(backend, which, result), 18.0).await;
        }
    }
    let queued = "lightkeeper_mirror_queued_bytes{backend=\"honey\"}";
    stage::counts(&world, queued, 0.0).await;
    let view = console::app(&world, "ann", "shop/checkout").await.unwrap();
    let [shown] = view.legs.as_slice() else {
        panic!("{:?}", view.legs)
    };
    assert_eq!((shown.backend.as_str(), shown.mode), ("honey", "mirror"));
    let expected = LegItems {
        sent: 18,
        accepted: 18,
        accepted_by_own: 18,
        ..LegItems::default()
    };
    assert_eq!(shown.items, Some(expected));
    let other = console::app(&world, "ann", "shop/payments").await.unwrap();
    assert!(other.legs.is_empty(), "{:?}", other.legs);
    assert_eq!(
        report(&world, 0),
        "checkout-prod  traces  main     18    honey  mirror  18    +0.00 %     even"
    );

    honey.fail(Endpoints::All, Fault::status(400));
    let sample = Sample::traces("checkout", 2);
    let answer = caller.export(&sample, Encoding::Protobuf).await.unwrap();
    assert!(is_success(&answer), "{}", answer.text());
    stage::counts(&world, &leg("honey", "mirror", "refused"), 2.0).await;
    assert_eq!(
        report(&world, 3),
        "checkout-prod  traces  main     20    honey  mirror  18    -10.00 %    behind by 2 (2 refused)"
    );
}

/// Scenario: the mirror is down for longer than its queue lasts, while callers go on. Guarantees: no caller notices; the queue is bounded by
/// bytes and by age; what is dropped is counted, and told in events of which each says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_is_down_is_dropped_loudly() {
    let honey = honey().await;
    let mut plan = plan(&honey, &[(AS_IT_WAS, MIRRORED)]);
    plan.more
        .push_str("\ningest: { mirror: { buffer: 1MiB, parallel: 2, patience: 2s } }\n");
    let world = stage::start(plan).await;
    honey.fail(Endpoints::All, down());
    let caller = frontend(&world);
    let sample = Sample::traces("checkout", 2000);
    let times = 12;
    assert!(sample.protobuf().len() * times > 1 << 20);
    for _ in 0..times {
        let answer = caller.export(&sample, Encoding::Protobuf).await.unwrap();
        assert!(is_success(&answer), "{}", answer.text());
        let queued = "lightkeeper_mirror_queued_bytes{backend=\"honey\"}";
        assert!(stage::metric(&world, queued).await <= f64::from(1 << 20));
    }
    let all = (2000 * times) as u64;
    assert_eq!(arrived(&world.emulator), [of("checkout-prod", all)]);
    stage::counts(&world, &leg("honey", "mirror", "sent"), all as f64).await;
    stage::counts(&world, &leg("honey", "mirror", "dropped"), all as f64).await;
    for reason in ["mirror_full", "mirror_late"] {
        let event = event(&world, "mirror_dropped", reason).await;
        let detail = event["detail"].as_str().unwrap();
        assert!(detail.contains("backend honey: 2000 items"), "{detail}");
    }
    honey.heal();
    assert_eq!(arrived(&honey), []);
    assert!(is_success(
        &caller.export(&sample, Encoding::Protobuf).await.unwrap()
    ));
    arrives(&honey, &[of("there-checkout", 2000)]).await;
}

/// Scenario: the mirror takes a part in pieces alone, and fails in the middle of them, in each form. Guarantees: the caller's answer
/// is a success; the copy is tried again, and each item arrives there once: what was taken of it is not sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_in_pieces_comes_again_where_it_stopped() {
    let honey = honey().await;
    let token = Emulator::access_token(THERE[0]);
    let vendor = VendorEmulator::start("otlp", &token).await.unwrap();
    let mut plan = plan(&honey, &[(AS_IT_WAS, MIRRORED)]);
    assert!(plan.config.contains(&honey.url()));
    plan.config = plan.config.replace(&honey.url(), &vendor.url());
    let world = stage::start(plan).await;
    let profile = "name: bounded\naddresses: { ingest: https://bounded.example }\ningest:\n  headers: { authorization: \"Bearer {token}\" }\n  signals: { traces: { max_items: 100 } }\n  http: [{ path: /v1/traces, signal: traces }]\nquery: off\n";
    stage::replace(&world.folder().join("bounded.yaml"), profile);
    let path = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("profile: otlp"));
    let text = text.replace("profile: otlp", "profile: bounded");
    stage::replace(&path, format!("profiles: [bounded.yaml]\n{text}"));
    world.gateway.reload().await.unwrap();
    let caller = frontend(&world);
    for (seed, encoding) in [(1, Encoding::Protobuf), (2, Encoding::Json)] {
        vendor.clear();
        let quiet = VendorFault::Partial {
            rejected: 0,
            message: "",
        };
        vendor.fail(vec![quiet.clone(), quiet, VendorFault::Status(503)]);
        let sample = Sample::traces("checkout", 600).seed(seed);
        let answer = caller.export(&sample, encoding).await.unwrap();
        assert!(is_success(&answer), "{}", answer.text());
        let names = item_names(Signal::Traces, Encoding::Protobuf, &sample.protobuf()).unwrap();
        let once = names.into_iter().map(|name| (name, 1)).collect();
        stage::eventually("all items at the mirror", || async {
            (vendor.items(Signal::Traces) == once).then_some(())
        })
        .await;
        let accepted = leg("honey", "mirror", "accepted");
        stage::counts(&world, &accepted, 600.0 * seed as f64).await;
        assert_eq!(vendor.items(Signal::Traces), once, "{encoding:?}");
        // Six pieces, one of them twice.
        assert_eq!(vendor.intakes().len(), 7, "{encoding:?}");
    }
    assert_eq!(arrived(&world.emulator), [of("checkout-prod", 1200)]);
}

/// Scenario: the mirror refuses, answers garbage, or refuses our credential. Guarantees: the caller's answer is a success; the first is told at
/// once, the others are tried again; a refused credential is an alarm of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_answers_badly_harms_no_caller() {
    let honey = honey().await;
    let world = stage::start(plan(&honey, &[(AS_IT_WAS, MIRRORED)])).await;
    let caller = frontend(&world);
    let sample = Sample::traces("checkout", 3);
    let export = async || caller.export(&sample, Encoding::Protobuf).await.unwrap();
    honey.fail(Endpoints::All, Fault::status(400));
    assert!(is_success(&export().await));
    event(&world, "mirror_dropped", "upstream_refused").await;
    stage::counts(&world, &leg("honey", "mirror", "refused"), 3.0).await;
    let token = Emulator::access_token(THERE[0]);
    honey.heal();
    honey.set_access_token_active(&token, false);
    assert!(is_success(&export().await));
    let alarm = stage::event(&world, "credential_refused").await;
    assert!(
        alarm["detail"].as_str().unwrap().contains("honey"),
        "{alarm:#}"
    );
    honey.set_access_token_active(&token, true);
    arrives(&honey, &[of("there-checkout", 3)]).await;
    honey.fail_times(
        Endpoints::All,
        Fault::Say {
            status: 302,
            content_type: "text/plain",
            body: String::new(),
        },
        1,
    );
    assert!(is_success(&export().await));
    arrives(&honey, &[of("there-checkout", 6)]).await;
    assert_eq!(arrived(&world.emulator), [of("checkout-prod", 9)]);
}

/// Scenario: one of two required backends fails, then the other, and the caller comes again, in each form. Guarantees: a success is both's; what
/// one has taken is not sent to it again; what is refused for good is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_required_is_taken_by_both_or_comes_again() {
    let honey = honey().await;
    let world = stage::start(plan(&honey, &[(AS_IT_WAS, REQUIRED)])).await;
    let caller = frontend(&world);
    let sample = Sample::traces("checkout", 3);
    for (round, broken) in [&honey, &world.emulator].into_iter().enumerate() {
        broken.fail(Endpoints::All, down());
        // Over gRPC come the bytes of the first once more.
        let words = ["ok", "ok", "remembered"];
        for (answer, word) in each_way(&caller, &sample).await.iter().zip(words) {
            assert!(!is_success(answer));
            let record = record_of(&world, answer).await;
            let (good, bad) = ((word, 3), ("upstream_unavailable", 0));
            let [first, second] = if round == 0 { [good, bad] } else { [bad, good] };
            let expected = told(&[
                ("main", "-", first.1, first.0),
                ("honey", "require", second.1, second.0),
            ]);
            assert_eq!(parts(&record), expected, "{record:#}");
        }
        broken.heal();
        for answer in each_way(&caller, &sample).await {
            assert!(is_success(&answer), "{}", answer.text());
        }
        let items = 9 * (round as u64 + 1);
        assert_eq!(arrived(&world.emulator), [of("checkout-prod", items)]);
        assert_eq!(arrived(&honey), [of("there-checkout", items)]);
    }
    for (backend, which) in [("main", "primary"), ("honey", "require")] {
        stage::counts(&world, &leg(backend, which, "accepted"), 18.0).await;
    }
    honey.fail(Endpoints::All, Fault::status(400));
    let answer = caller.export(&sample, Encoding::Protobuf).await.unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    stage::counts(&world, &leg("honey", "require", "refused"), 3.0).await;
}

/// Scenario: one app requires a second backend and is mirrored to a third; the second fails first. Guarantees: the third gets each item once,
/// when the app's own backend took it, whatever the caller was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_mirrored_once() {
    let honey = honey().await;
    let third = Emulator::start_with(EmulatorOptions {
        plain_otlp: true,
        projects: THERE.map(str::to_owned).to_vec(),
        ..EmulatorOptions::default()
    })
    .await
    .unwrap();
    let also = "checkout: { project: checkout-prod, also: [{ backend: honey, mode: require }, { backend: third, mode: mirror }], services";
    let mut plan = plan(&honey, &[(AS_IT_WAS, also)]);
    let there = "honey: { access_token: [{ file: secrets/there-checkout }] }";
    for (old, new) in [
        (
            "default_backend: main",
            format!(
                "  third: {{ profile: otlp, ingest: {{ url: \"{}\" }} }}\ndefault_backend: main",
                third.url()
            ),
        ),
        (
            there,
            format!("{there}, {}", there.replace("honey", "third")),
        ),
    ] {
        assert!(plan.config.contains(old), "{}", plan.config);
        plan.config = plan.config.replace(old, &new);
    }
    let world = stage::start(plan).await;
    let caller = frontend(&world);
    let sample = Sample::traces("checkout", 3);
    honey.fail(Endpoints::All, down());
    let answer = caller.export(&sample, Encoding::Protobuf).await.unwrap();
    assert_eq!(answer.status, 503);
    arrives(&third, &[of("there-checkout", 3)]).await;
    honey.heal();
    let answer = caller.export(&sample, Encoding::Protobuf).await.unwrap();
    assert!(is_success(&answer), "{}", answer.text());
    let record = record_of(&world, &answer).await;
    let expected = told(&[
        ("main", "-", 3, "remembered"),
        ("honey", "require", 3, "ok"),
        ("third", "mirror", 0, "remembered"),
    ]);
    assert_eq!(parts(&record), expected, "{record:#}");
    for emulator in [&world.emulator, &honey, &third] {
        assert!(emulator.span_ids().values().all(|times| *times == 1));
        assert_eq!(emulator.span_ids().len(), 3);
    }
}

/// Scenario: an app moves as the recipe says: mirrored, moved with the old backend as mirror, let go; callers send all the while. Guarantees: at
/// the end both backends have exactly what was to be theirs, each item once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_by_way_of_a_mirror_loses_nothing() {
    let honey = honey().await;
    let world = stage::start(plan(&honey, &[(AS_IT_WAS, MIRRORED)])).await;
    let caller = frontend(&world);
    let back = "checkout: { project: checkout-prod, backend: honey, also: [{ backend: main, mode: mirror }], services";
    let gone = "checkout: { project: checkout-prod, backend: honey, services";
    let mut seed = 0;
    let mut send = async |times: u64| {
        for _ in 0..times {
            seed += 1;
            let sample = Sample::traces("checkout", 3).seed(seed);
            let answer = caller.export(&sample, Encoding::Protobuf).await.unwrap();
            assert!(is_success(&answer), "{}", answer.text());
        }
    };
    send(4).await;
    rewrite(&world, MIRRORED, back).await;
    send(4).await;
    arrives(&world.emulator, &[of("checkout-prod", 24)]).await;
    rewrite(&world, back, gone).await;
    send(4).await;
    arrives(&honey, &[of("there-checkout", 36)]).await;
    assert_eq!(arrived(&world.emulator), [of("checkout-prod", 24)]);
    for (emulator, spans) in [(&world.emulator, 24), (&honey, 36)] {
        let ids = emulator.span_ids();
        assert!(ids.len() == spans && ids.values().all(|times| *times == 1));
    }
}

/// Scenario: an app wants two backends where exports pass unread. Guarantees: that is refused, in words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_unread_goes_to_one_backend() {
    let honey = honey().await;
    for (also, is_refused) in [(MIRRORED, true), (REQUIRED, true), (AS_IT_WAS, false)] {
        let idle = "      search: { services: [search] }";
        let search = "      search: { services: [search], backend: honey }";
        let plan = plan(&honey, &[(idle, search), (AS_IT_WAS, also)]);
        let told = World::start_with(stage::streamed(plan)).await.err();
        let told = told.unwrap_or_default();
        assert_eq!(told.contains("`also` cannot be kept"), is_refused, "{told}");
    }
}

/// Scenario: the policy lets go of a mirror while copies wait for it. Guarantees: they are not sent, and told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_policy_lets_go_of_is_not_sent() {
    let honey = honey().await;
    let idle = "      search: { services: [search] }";
    let search = "      search: { services: [search], backend: honey }";
    let world = stage::start(plan(&honey, &[(idle, search), (AS_IT_WAS, MIRRORED)])).await;
    honey.fail(Endpoints::All, down());
    let sample = Sample::traces("checkout", 3);
    let answer = frontend(&world).export(&sample, Encoding::Protobuf).await;
    assert!(is_success(&answer.unwrap()));
    honey.wait_for(1, stage::PATIENCE).await;
    rewrite(&world, MIRRORED, AS_IT_WAS).await;
    honey.heal();
    event(&world, "mirror_dropped", "mirror_withdrawn").await;
    assert_eq!(arrived(&honey), []);
}

/// Scenario: the gateway stops while copies wait. Guarantees: it sends what it can until the drain's end, and tells what it dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_copies_within_its_drain() {
    for is_healed in [true, false] {
        let honey = honey().await;
        let mut plan = plan(&honey, &[(AS_IT_WAS, MIRRORED)]);
        if !is_healed {
            plan.more.push_str("\nlimits: { drain_timeout: 1s }\n");
        }
        let world = stage::start(plan).await;
        honey.fail(Endpoints::All, down());
        let sample = Sample::traces("checkout", 3);
        let answer = frontend(&world).export(&sample, Encoding::Protobuf).await;
        assert!(is_success(&answer.unwrap()));
        honey.wait_for(1, stage::PATIENCE).await;
        if is_healed {
            honey.heal();
        }
        let stopping = tokio::time::timeout(Duration::from_secs(20), world.gateway.stop());
        stopping.await.unwrap();
        if is_healed {
            assert_eq!(arrived(&honey), [of("there-checkout", 3)]);
        } else {
            let event = event(&world, "mirror_dropped", "mirror_late").await;
            let detail = event["detail"].as_str().unwrap();
            assert!(detail.contains("3 items in 1 copies"), "{detail}");
            assert_eq!(arrived(&honey), []);
        }
    }
}
