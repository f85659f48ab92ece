//! Exports that are larger than their backend takes. What it refuses to know: how a message is cut (the unit tests of `otlp::cut`
//! do).

use std::collections::BTreeMap;

use lightkeeper::otlp::{Encoding, Signal};
use testkit::vendors::{VendorEmulator, VendorFault, item_names};
use testkit::{Answer, Coding, Emulator, Endpoints, Fault, Sample, SampleCaller, World};

use super::stage;

const POLICY: &str = r#"
version: 1
apps:
  shop:
    project: shop-prod
    apps:
      checkout: { project: checkout-prod, services: [checkout] }
bindings:
  - name: checkout-pods
    subjects: [{ issuer: acme, subject: "system:serviceaccount:checkout:*" }]
    permissions: [ingest.*]
    apps: [shop/checkout]
"#;

/// A backend that takes every form, and so much at once: `max_unpacked: 20000`.
fn profile(bounds: &str) -> String {
    let mut text = "name: bounded\naddresses: { ingest: https://bounded.example }\ningest:\n  headers: { signoz-ingestion-key: \"{token}\" }\n  signals:\n".to_owned();
    for signal in Signal::ALL {
        text.push_str(&format!("    {}: {{ {bounds} }}\n", signal.name()));
    }
    text.push_str("  http:\n");
    for signal in Signal::ALL {
        let name = signal.name();
        text.push_str(&format!("    - {{ path: /v1/{name}, signal: {name} }}\n"));
    }
    text.push_str("  grpc:\n");
    for signal in Signal::ALL {
        let (path, name) = (signal.grpc_path(), signal.name());
        text.push_str(&format!("    - {{ path: {path}, signal: {name} }}\n"));
    }
    text.push_str("query: off\n");
    text
}

/// A world before a backend of this profile that takes `below` unpacked bytes.
async fn stage(bounds: &str, below: Option<usize>) -> (World, VendorEmulator) {
    let token = Emulator::access_token("checkout-prod");
    let vendor = VendorEmulator::start("signoz", &token).await.unwrap();
    vendor.bound_below(below);
    let url = vendor.url();
    let ingest = format!("ingest: {{ profile: otlp, url: \"{url}\" }}");
    let mut plan = stage::plan(&[
        (
            "ingest: { profile: lightstep, url: \"{ingest}\" }",
            ingest.as_str(),
        ),
        ("  query: { profile: lightstep, url: \"{query}\" }\n", ""),
    ]);
    plan.policy = POLICY.to_owned();
    plan.more.push_str("query: {}\n");
    let world = stage::start(plan).await;
    stage::replace(&world.folder().join("bounded.yaml"), profile(bounds));
    let path = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("profile: otlp", "profile: bounded");
    stage::replace(&path, format!("profiles: [bounded.yaml]\n{text}"));
    world.gateway.reload().await.unwrap();
    (world, vendor)
}

/// A world before the Lightstep emulator as a plain backend of this profile, which takes these forms.
async fn before_an_emulator(bounds: &str, accepts: &str) -> World {
    let mut plan = stage::plan(&[
        (
            "ingest: { profile: lightstep, url",
            "ingest: { profile: otlp, url",
        ),
        ("  query: { profile: lightstep, url: \"{query}\" }\n", ""),
    ]);
    plan.policy = POLICY.to_owned();
    plan.more.push_str("query: {}\n");
    plan.emulator.plain_otlp = true;
    let world = stage::start(plan).await;
    let headers = "  headers: { signoz-ingestion-key: \"{token}\" }\n";
    let own = format!(
        "  headers: {{ authorization: \"Bearer {{token}}\" }}\n  accepts: {{ {accepts} }}\n"
    );
    let text = profile(bounds);
    assert!(text.contains(headers));
    stage::replace(
        &world.folder().join("bounded.yaml"),
        text.replace(headers, &own),
    );
    let path = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("profile: otlp", "profile: bounded");
    stage::replace(&path, format!("profiles: [bounded.yaml]\n{text}"));
    world.gateway.reload().await.unwrap();
    world
}

fn caller(world: &World) -> SampleCaller {
    let token = world.issuer.token("checkout-collector");
    world.plain_caller().bearer(&token)
}

/// The ways of a caller.
#[derive(Clone, Copy, Debug)]
enum Form {
    Grpc,
    Protobuf,
    Json,
    Gzip,
}

const FORMS: [Form; 4] = [Form::Grpc, Form::Protobuf, Form::Json, Form::Gzip];

async fn send(world: &World, sample: &Sample, form: Form) -> Answer {
    let caller = caller(world);
    let sent = match form {
        Form::Grpc => caller.export_grpc(sample).await,
        Form::Protobuf => caller.export(sample, Encoding::Protobuf).await,
        Form::Json => caller.export(sample, Encoding::Json).await,
        Form::Gzip => {
            caller
                .compressing(Coding::Gzip)
                .export(sample, Encoding::Protobuf)
                .await
        }
    };
    sent.unwrap()
}

fn is_success(answer: &Answer) -> bool {
    answer.status == 200 && answer.grpc_status().is_none_or(|code| code == 0)
}

/// Each item of the sample, once.
fn once(sample: &Sample) -> BTreeMap<String, u64> {
    let names = item_names(sample.signal(), Encoding::Protobuf, &sample.protobuf()).unwrap();
    names.into_iter().map(|name| (name, 1)).collect()
}

/// Scenario: exports of each signal in each form, a dozen times as large as the backend takes. Guarantees: it gets each item once,
/// in pieces of which none is refused; the caller is told of success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_export_arrives_in_pieces() {
    let (world, vendor) = stage("max_unpacked: 20KB", Some(20_000)).await;
    for (seed, signal) in (1..).zip(Signal::ALL) {
        for form in FORMS {
            vendor.clear();
            let sample = Sample::of(signal, "checkout", 600).seed(seed).rich();
            let answer = send(&world, &sample, form).await;
            let what = format!("{signal:?} {form:?}");
            assert!(
                is_success(&answer),
                "{what}: {} {}",
                answer.status,
                answer.text()
            );
            assert_eq!(answer.partial_success().unwrap(), None, "{what}");
            assert_eq!(vendor.items(signal), once(&sample), "{what}");
            let intakes = vendor.intakes();
            assert!(intakes.len() > 5, "{what}: {}", intakes.len());
            assert!(intakes.iter().all(|one| one.is_taken()), "{what}");
            let id = answer.header("lightkeeper-request-id").unwrap();
            let record = stage::record(&world, &id).await;
            assert_eq!(
                (&record["reason"], &record["items"]["accepted"]),
                (&"ok".into(), &600.into()),
                "{what}"
            );
        }
    }
    vendor.clear();
    let small = Sample::traces("checkout", 3);
    assert!(is_success(&send(&world, &small, Form::Grpc).await));
    assert_eq!(vendor.intakes().len(), 1);
}

/// Scenario: the bounds are of items, or of compressed bytes. Guarantees: no piece is over them, and each item arrives once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_are_of_items_and_of_packed_bytes_too() {
    for (bounds, packed, pieces) in [
        ("max_items: 100", usize::MAX, 6..7),
        ("max_bytes: 4KB", 4_000, 2..600),
        (
            "max_bytes: 4KB, max_unpacked: 100KB, max_items: 599",
            4_000,
            2..600,
        ),
    ] {
        let (world, vendor) = stage(bounds, None).await;
        for form in FORMS {
            vendor.clear();
            let sample = Sample::of(Signal::Logs, "checkout", 600).rich();
            assert!(
                is_success(&send(&world, &sample, form).await),
                "{bounds} {form:?}"
            );
            assert_eq!(
                vendor.items(Signal::Logs),
                once(&sample),
                "{bounds} {form:?}"
            );
            let intakes = vendor.intakes();
            assert!(
                pieces.contains(&intakes.len()),
                "{bounds} {form:?}: {}",
                intakes.len()
            );
            assert!(
                intakes.iter().all(|one| one.packed <= packed),
                "{bounds} {form:?}"
            );
        }
    }
}

/// Scenario: the backend is busy at one piece, each in turn, and the caller comes again. Guarantees: it is told to; what was taken is
/// not sent again, what is missing is, and then all is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_sends_what_is_missing() {
    let (world, vendor) = stage("max_unpacked: 60KB", Some(60_000)).await;
    let quiet = || VendorFault::Partial {
        rejected: 0,
        message: "",
    };
    for (seed, form) in (1..).zip(FORMS) {
        for busy in 0..3 {
            vendor.clear();
            let sample = Sample::traces("checkout", 600)
                .seed(seed * 10 + busy as u64)
                .rich();
            let mut faults = vec![quiet(); busy];
            faults.push(VendorFault::Status(503));
            vendor.fail(faults);
            let what = format!("{form:?} {busy}");
            let first = send(&world, &sample, form).await;
            assert!(!is_success(&first), "{what}");
            assert!(
                first.status == 503 || first.grpc_status() == Some(14),
                "{what}"
            );
            assert_eq!(vendor.intakes().len(), busy + 1, "{what}");
            assert!(vendor.items(Signal::Traces).len() < 600, "{what}");
            let second = send(&world, &sample, form).await;
            assert!(is_success(&second), "{what}: {}", second.text());
            assert_eq!(vendor.items(Signal::Traces), once(&sample), "{what}");
            // What is sent a third time is a new export.
            assert!(is_success(&send(&world, &sample, form).await), "{what}");
            assert!(
                vendor
                    .items(Signal::Traces)
                    .values()
                    .all(|times| *times == 2),
                "{what}"
            );
        }
    }
}

/// Scenario: pieces are taken in part, with words; one is refused for good; all are. Guarantees: the caller is told one sum, and
/// each item that was not taken is in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_merged_into_one() {
    let (world, vendor) = stage("max_items: 100", None).await;
    let partial = |rejected, message| VendorFault::Partial { rejected, message };
    for (faults, rejected, words) in [
        (
            vec![partial(2, "two"), partial(0, ""), partial(1, "one")],
            3,
            "two; one",
        ),
        (
            vec![partial(2, "two"), VendorFault::Status(400)],
            102,
            "two; the backend refused a part of the export",
        ),
        (vec![partial(0, "a warning")], 0, "a warning"),
    ] {
        for form in FORMS {
            vendor.clear();
            vendor.fail(faults.clone());
            let sample = Sample::of(Signal::Metrics, "checkout", 300);
            let answer = send(&world, &sample, form).await;
            assert!(is_success(&answer), "{form:?}: {}", answer.text());
            let found = answer.partial_success().unwrap().unwrap();
            assert_eq!(
                (found.rejected, found.message.as_str()),
                (rejected, words),
                "{form:?}"
            );
            let id = answer.header("lightkeeper-request-id").unwrap();
            let items = &stage::record(&world, &id).await["items"];
            assert_eq!(
                (&items["accepted"], &items["rejected"]),
                (&(300 - rejected).into(), &rejected.into())
            );
        }
    }
    vendor.fail(vec![VendorFault::Status(400); 3]);
    let sample = Sample::of(Signal::Metrics, "checkout", 300);
    assert_eq!(send(&world, &sample, Form::Protobuf).await.status, 400);
}

/// Scenario: one span is larger than the backend takes, among others that are not; and one alone. Guarantees: it is rejected by
/// kind, name and size, and the others arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_is_too_large_alone_is_named() {
    let (world, vendor) = stage("max_unpacked: 20KB", Some(20_000)).await;
    let giant = "x".repeat(30_000);
    for form in FORMS {
        vendor.clear();
        let sample = Sample::traces("checkout", 100)
            .and("checkout", 1)
            .item_attribute("giant", &giant);
        let answer = send(&world, &sample, form).await;
        assert!(is_success(&answer), "{form:?}: {}", answer.text());
        let found = answer.partial_success().unwrap().unwrap();
        assert_eq!(found.rejected, 1, "{form:?}");
        let words = found.message.as_str();
        assert!(
            words.starts_with("span `") && words.contains("is too large: 30"),
            "{form:?}: {words}"
        );
        let mut expected = once(&sample);
        expected.retain(|name, _| vendor.items(Signal::Traces).contains_key(name));
        assert_eq!(
            (vendor.items(Signal::Traces), expected.len()),
            (expected.clone(), 100),
            "{form:?}"
        );
        vendor.clear();
        let alone = Sample::traces("checkout", 1).item_attribute("giant", &giant);
        let answer = send(&world, &alone, form).await;
        assert!(is_success(&answer), "{form:?}");
        assert_eq!(
            answer.partial_success().unwrap().unwrap().rejected,
            1,
            "{form:?}"
        );
        assert!(vendor.intakes().is_empty(), "{form:?}");
    }
}

/// Scenario: the backend takes a quarter of what it promises; then it is busy in the middle of such an export, too. Guarantees: what
/// it refuses is halved until it is taken, each item arrives once; the next export is halved before it is sent; a retry doubles
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_takes_less_than_it_promises_gets_less() {
    let (world, vendor) = stage("max_unpacked: 80KB", Some(20_000)).await;
    for (seed, form) in (1..).zip(FORMS) {
        for (again, expected) in [(false, true), (true, false)] {
            vendor.clear();
            let sample = Sample::traces("checkout", 300)
                .seed(seed * 2 + u64::from(again))
                .rich();
            let answer = send(&world, &sample, form).await;
            assert!(is_success(&answer), "{form:?}: {}", answer.text());
            assert_eq!(vendor.items(Signal::Traces), once(&sample), "{form:?}");
            let is_refused = vendor.intakes().iter().any(|one| one.status == 413);
            // Gzip and protobuf ask the same endpoint.
            let is_new = matches!(form, Form::Grpc | Form::Protobuf);
            assert_eq!(is_refused, expected && is_new, "{form:?}");
        }
    }
    assert!(
        stage::metric(
            &world,
            "lightkeeper_backend_bounds_learned_total{signal=\"traces\"}"
        )
        .await
            >= 2.0
    );
    let (world, vendor) = stage("max_unpacked: 80KB", Some(20_000)).await;
    let quiet = || VendorFault::Partial {
        rejected: 0,
        message: "",
    };
    for busy in 0..6 {
        vendor.clear();
        let sample = Sample::of(Signal::Logs, "checkout", 900)
            .seed(100 + busy as u64)
            .rich();
        let mut faults = vec![quiet(); busy];
        faults.push(VendorFault::Status(503));
        vendor.fail(faults);
        assert_eq!(
            send(&world, &sample, Form::Protobuf).await.status,
            503,
            "{busy}"
        );
        let answer = send(&world, &sample, Form::Protobuf).await;
        assert!(is_success(&answer), "{busy}: {}", answer.text());
        assert_eq!(vendor.items(Signal::Logs), once(&sample), "{busy}");
    }
}

/// Scenario: everything is refused as too large, as by a proxy that is set up wrongly or a backend that throttles in such words;
/// then all is well again. Guarantees: it is asked a few times; its answer is the caller's; nothing is learned of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_takes_nothing_is_asked_seldom() {
    let (world, vendor) = stage("max_unpacked: 80KB", None).await;
    for (form, status, seed) in [(Form::Protobuf, 413, 1), (Form::Json, 413, 2)] {
        let sample = Sample::traces("checkout", 400).seed(seed);
        vendor.clear();
        vendor.bound_below(Some(1));
        let answer = send(&world, &sample, form).await;
        assert_eq!(answer.status, status, "{form:?}: {}", answer.text());
        assert!(vendor.intakes().len() < 30, "{}", vendor.intakes().len());
        assert!(vendor.items(Signal::Traces).is_empty());
        vendor.clear();
        vendor.bound_below(None);
        let answer = send(&world, &sample, form).await;
        assert!(is_success(&answer), "{form:?}: {}", answer.text());
        assert_eq!(vendor.items(Signal::Traces), once(&sample), "{form:?}");
    }
}

/// Scenario: the backend takes JSON alone, and so much at once. Guarantees: it gets each item once, in pieces of JSON of which none is
/// larger than it takes; the record says what JSON's members of a caller could not be carried through the cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_for_a_backend_of_json_are_json() {
    let world = before_an_emulator(
        "max_unpacked: 20KB",
        "protocols: [http], encodings: [json], compressions: [identity]",
    )
    .await;
    for (seed, form) in (1..).zip(FORMS) {
        world.emulator.clear();
        let sample = Sample::traces("checkout", 300)
            .seed(seed)
            .rich()
            .unknown_fields();
        let answer = send(&world, &sample, form).await;
        assert!(is_success(&answer), "{form:?}: {}", answer.text());
        assert_eq!(answer.partial_success().unwrap(), None, "{form:?}");
        let pieces = world.emulator.captured();
        assert!(pieces.len() > 5, "{form:?}: {}", pieces.len());
        for piece in &pieces {
            assert_eq!(
                piece.header("content-type"),
                ["application/json"],
                "{form:?}"
            );
            assert!(piece.body.len() <= 20_000, "{form:?}: {}", piece.body.len());
        }
        let arrived = world.emulator.span_ids();
        assert!(
            arrived.len() == 300 && arrived.values().all(|times| *times == 1),
            "{form:?}"
        );
        let id = answer.header("lightkeeper-request-id").unwrap();
        let record = stage::record(&world, &id).await;
        let detail = record["detail"].as_str().unwrap_or_default();
        let is_told = detail.contains("unknown fields were left out");
        assert!(
            is_told && detail.contains("pieces were sent"),
            "{form:?}: {detail}"
        );
    }
}

/// Scenario: the backend drops some points of each piece, and says so in trailers. Guarantees: the caller is told their sum, in the
/// same trailers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_of_pieces_is_summed() {
    let world =
        before_an_emulator("max_items: 100", "protocols: [grpc], encodings: [protobuf]").await;
    let told = vec![("otlp-points-dropped", "2"), ("otlp-invalid-names", "a.b")];
    world.emulator.fail(Endpoints::All, Fault::Trailers(told));
    for items in [300, 80] {
        let sample = Sample::of(Signal::Metrics, "checkout", items);
        let answer = send(&world, &sample, Form::Grpc).await;
        assert!(is_success(&answer), "{}", answer.text());
        let pieces = items.div_ceil(100);
        let found = |name: &str| {
            let value = answer.trailers.get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let dropped = (2 * pieces).to_string();
        assert_eq!(found("otlp-points-dropped"), Some(dropped), "{items}");
        assert_eq!(
            found("otlp-invalid-names").as_deref(),
            Some("a.b"),
            "{items}"
        );
        let id = answer.header("lightkeeper-request-id").unwrap();
        let record = stage::record(&world, &id).await;
        assert_eq!(record["items"]["rejected"], 2 * pieces, "{record}");
    }
}
