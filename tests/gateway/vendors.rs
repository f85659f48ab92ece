//! Each shipped profile before an emulator of its backend, which has a table of its own: what callers send in any form arrives as
//! the backend wants it. What it refuses to know: what a profile says, and what a backend wants.
//!
//! The configuration is the recipe of the backend's page in `docs/backends`, with the emulator's address.

use std::collections::BTreeMap;

use lightkeeper::otlp::{Encoding, Signal};
use lightkeeper::profiles::Profile;
use testkit::vendors::{Intake, Row, VendorEmulator, VendorFault, item_names};
use testkit::{Answer, Emulator, Sample, SampleCaller, World};

use super::stage::{self, WorldPlan};

const PROJECT: &str = "checkout-prod";

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

/// How a client speaks.
#[derive(Clone, Copy, Debug)]
enum Form {
    Protobuf,
    Json,
    Grpc,
}

impl Form {
    const ALL: [Form; 3] = [Form::Protobuf, Form::Json, Form::Grpc];

    async fn export(self, caller: &SampleCaller, sample: &Sample) -> Answer {
        let answer = match self {
            Form::Protobuf => caller.export(sample, Encoding::Protobuf).await,
            Form::Json => caller.export(sample, Encoding::Json).await,
            Form::Grpc => caller.export_grpc(sample).await,
        };
        answer.unwrap()
    }
}

/// The HTTP status, and gRPC's code where there is one.
fn told(answer: &Answer) -> (u16, Option<u32>) {
    (answer.status, answer.grpc_status())
}

fn success(form: Form) -> (u16, Option<u32>) {
    (200, matches!(form, Form::Grpc).then_some(0))
}

/// What the page of a backend says to write.
fn recipe(backend: &str) -> String {
    let path = testkit::top().join(format!("docs/backends/{backend}.md"));
    let page = std::fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (recipe, _) = rest.split_once("```").unwrap();
    recipe.to_owned()
}

/// A world before a backend, by its recipe.
fn plan(backend: &str, emulator: &VendorEmulator, names_grpc: bool) -> WorldPlan {
    let profile = Profile::named(backend).unwrap();
    let address = profile.addresses.ingest.split_once("://").unwrap().1;
    let path = address.split_once('/').map(|(_, path)| format!("/{path}"));
    let path = path.unwrap_or_default();
    let recipe = recipe(backend);
    let (named, rest) = recipe
        .split_once("profile: ")
        .unwrap_or_else(|| panic!("{backend}: {recipe}"));
    let first = rest.lines().next().unwrap();
    let with = first
        .split_once("with: ")
        .and_then(|(_, with)| with.split_once('}'));
    let with = with.map_or_else(String::new, |(with, _)| format!(", with: {with}}}"));
    let url = format!("{}{path}", emulator.url());
    let grpc = match names_grpc {
        true => format!(", grpc: {{ url: \"{}\" }}", emulator.url()),
        false => String::new(),
    };
    let backends =
        format!("{named}profile: {backend}{with}, ingest: {{ url: \"{url}\" }}{grpc} }}\n");
    let mut plan = stage::plan(&[(
        "upstreams:\n  ingest: { profile: lightstep, url: \"{ingest}\" }\n  query: { profile: lightstep, url: \"{query}\" }\n",
        backends.as_str(),
    )]);
    plan.policy = POLICY.to_owned();
    plan.more.push_str("query: {}\n");
    plan
}

struct Stage {
    emulator: VendorEmulator,
    world: World,
}

impl Stage {
    async fn before(backend: &str) -> Self {
        Stage::reached(backend, false).await
    }

    /// `names_grpc`: the configuration says where the backend takes gRPC.
    async fn reached(backend: &str, names_grpc: bool) -> Self {
        let key = Emulator::access_token(PROJECT);
        let emulator = VendorEmulator::start(backend, &key).await.unwrap();
        let world = stage::start(plan(backend, &emulator, names_grpc)).await;
        Stage { emulator, world }
    }

    fn caller(&self) -> SampleCaller {
        let token = self.world.issuer.token("checkout-collector");
        self.world.plain_caller().bearer(&token)
    }
}

/// Each item of a sample, once.
fn once(sample: &Sample) -> BTreeMap<String, u64> {
    let message = sample.protobuf();
    let names = item_names(sample.signal(), Encoding::Protobuf, &message).unwrap();
    names.into_iter().map(|name| (name, 1)).collect()
}

fn signals(rows: &[&Row]) -> Vec<&'static str> {
    rows.iter().map(|row| row.signal.name()).collect()
}

/// Scenario: a caller exports each signal that a backend takes, in protobuf, JSON and over gRPC. Guarantees: the backend takes it
/// as its row says, each item once; every header that it wants is there, and nothing of the caller's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_arrives_as_the_backend_wants_it() {
    for backend in Row::backends() {
        let stage = Stage::before(backend).await;
        let token = stage.world.issuer.token("checkout-collector");
        let rows = Row::of(backend);
        for row in &rows {
            let sample = Sample::of(row.signal, "checkout", 5);
            for form in Form::ALL {
                stage.emulator.clear();
                let caller = stage.caller().header("x-api-key", "theirs-5d1c");
                let answer = form.export(&caller, &sample).await;
                let intakes = stage.emulator.intakes();
                let named = format!("{backend} {} {form:?}: {intakes:#?}", row.signal.name());
                assert_eq!(told(&answer), success(form), "{}, {named}", answer.text());
                assert!(intakes.iter().all(|one| one.is_taken()), "{named}");
                assert_eq!(stage.emulator.items(row.signal), once(&sample), "{named}");
                for value in intakes[0].headers.values() {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    assert!(
                        !value.contains(&token) && !value.contains("theirs"),
                        "{named}"
                    );
                }
            }
        }
        let missing = Signal::ALL.into_iter();
        for signal in missing.filter(|signal| !signals(&rows).contains(&signal.name())) {
            let sample = Sample::of(signal, "checkout", 1);
            let answer = Form::Protobuf.export(&stage.caller(), &sample).await;
            assert_eq!(answer.status, 404, "{backend} {}", signal.name());
        }
    }
}

/// Scenario: backends that take gRPC at another address than the rest; the configuration names it, or not. Guarantees: what comes over
/// gRPC goes on so where it is named, and over HTTP where it is not; the rest is not touched by that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_goes_where_it_is_taken() {
    let mut tried = 0;
    for profile in Profile::built_in().filter(|profile| !profile.addresses.grpc.is_empty()) {
        for names_grpc in [false, true] {
            let stage = Stage::reached(&profile.name, names_grpc).await;
            for row in Row::of(&profile.name) {
                let sample = Sample::of(row.signal, "checkout", 5);
                for form in Form::ALL {
                    stage.emulator.clear();
                    let answer = form.export(&stage.caller(), &sample).await;
                    let intakes = stage.emulator.intakes();
                    let named = format!("{} {names_grpc} {form:?}: {intakes:#?}", profile.name);
                    assert_eq!(told(&answer), success(form), "{}, {named}", answer.text());
                    let is_grpc = names_grpc && matches!(form, Form::Grpc);
                    let is_as_told = |one: &Intake| one.is_taken() && one.grpc == is_grpc;
                    assert!(intakes.iter().all(is_as_told), "{named}");
                    assert_eq!(stage.emulator.items(row.signal), once(&sample), "{named}");
                }
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 8);
}

/// Scenario: a backend does not take our key. Guarantees: it is our fault in every form, whatever status the backend says it
/// with: the caller is told to come again, and the alarm is raised; with the key restored the export passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_is_our_fault() {
    let asks = |backend: &&str| Row::of(backend)[0].refused.is_some();
    for backend in Row::backends().into_iter().filter(asks) {
        let stage = Stage::before(backend).await;
        for row in Row::of(backend) {
            let sample = Sample::of(row.signal, "checkout", 2);
            stage.emulator.set_key("another-key");
            for form in Form::ALL {
                let answer = form.export(&stage.caller(), &sample).await;
                let expected = match form {
                    Form::Grpc => (200, Some(14)),
                    _ => (503, None),
                };
                let named = format!("{backend} {} {form:?}", row.signal.name());
                assert_eq!(told(&answer), expected, "{named}");
            }
            stage.emulator.set_key(&Emulator::access_token(PROJECT));
            let answer = Form::Protobuf.export(&stage.caller(), &sample).await;
            assert_eq!(answer.status, 200, "{backend}");
        }
        let event = stage::event(&stage.world, "credential_refused").await;
        assert_eq!(
            event["reason"], "credential_refused_by_upstream",
            "{backend}"
        );
    }
}

/// Scenario: exports that are larger than a backend takes at once. Guarantees: all of it arrives in pieces that it takes, each
/// item once, in every form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_cut() {
    // The gateway's own bounds, of bodies and what is in them, are larger.
    let tried = 9_000_000;
    for backend in Row::backends() {
        let rows = Row::of(backend).into_iter();
        let bound = |row: &Row| row.packed.into_iter().chain(row.unpacked).min();
        let rows: Vec<_> = rows
            .filter_map(|row| Some((row, bound(row).filter(|bound| *bound < tried)?)))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let stage = Stage::before(backend).await;
        for (row, bound) in rows {
            let padding: String = (0..2000).map(|_| 'x').collect();
            let sample = Sample::of(row.signal, "checkout", bound / 2000 + bound / 4000)
                .item_attribute("padding", &padding);
            for form in Form::ALL {
                stage.emulator.clear();
                let answer = form.export(&stage.caller(), &sample).await;
                let intakes = stage.emulator.intakes();
                let sizes: Vec<_> = intakes.iter().map(|one| (one.packed, one.words)).collect();
                let named = format!("{backend} {} {form:?}: {sizes:?}", row.signal.name());
                assert_eq!(told(&answer), success(form), "{}, {named}", answer.text());
                assert!(intakes.iter().all(|one| one.is_taken()), "{named}");
                assert_eq!(stage.emulator.items(row.signal), once(&sample), "{named}");
            }
        }
    }
}

/// Scenario: backends are busy, or take a part of an export. Guarantees: callers are told so in their own form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_backend_says_is_told_in_the_callers_form() {
    for backend in ["datadog", "honeycomb", "axiom"] {
        let stage = Stage::before(backend).await;
        for row in Row::of(backend) {
            let sample = Sample::of(row.signal, "checkout", 3);
            for form in Form::ALL {
                let named = format!("{backend} {} {form:?}", row.signal.name());
                stage.emulator.fail([VendorFault::Throttled("7")]);
                let answer = form.export(&stage.caller(), &sample).await;
                let again = match form {
                    Form::Grpc => {
                        answer.grpc_status() == Some(8) || answer.grpc_status() == Some(14)
                    }
                    _ => matches!(answer.status, 429 | 503),
                };
                assert!(again, "{named}: {:?}", told(&answer));
                stage.emulator.fail([VendorFault::Partial {
                    rejected: 2,
                    message: "too old",
                }]);
                let answer = form.export(&stage.caller(), &sample).await;
                assert_eq!(told(&answer), success(form), "{named}");
                let partial = answer.partial_success().unwrap().unwrap();
                assert_eq!(partial.rejected, 2, "{named}");
                assert!(partial.message.contains("too old"), "{named}");
            }
        }
    }
}
