//! Credentials of ours that a backend shows: in answers of every kind, in every coding. What it refuses to know: how they are
//! found; it asks, and searches what comes out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use lightkeeper::otlp::Encoding;
use serde_json::json;
use testkit::emulator::Role;
use testkit::{Answer, Emulator, Endpoints, Fault, Sample, World, WorldPlan, webhook_secret};

use super::stage::{self, eventually};
use crate::folder::Folder;

const STREAMS: &str = "/public/v0.2/acme/projects/shop-prod/streams";
const OLDER: &str = "older-token-of-shop-prod-91c4";

/// A world in which `shop-prod` has two tokens, as during a rotation.
fn plan() -> (WorldPlan, Folder) {
    let folder = Folder::new();
    std::fs::write(folder.at("older"), OLDER).unwrap();
    let two = format!(
        "shop-prod: {{ access_token: [{{ file: secrets/shop-prod }}, {{ file: {} }}] }}",
        folder.at("older")
    );
    (
        stage::plan(&[(
            "shop-prod: { access_token: [{ file: secrets/shop-prod }] }",
            &two,
        )]),
        folder,
    )
}

/// Every credential that the gateway of such a world holds, none of which was asked for.
fn held() -> Vec<String> {
    let mut held = stage::backend_credentials();
    held.push(OLDER.to_owned());
    held
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn escaped(text: &str) -> String {
    text.chars()
        .map(|each| format!("\\u{:04x}", u32::from(each)))
        .collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

/// The ways in which a backend may write it, as text within a JSON string.
fn codings(secret: &str) -> Vec<String> {
    let base64 = |text: &str| [STANDARD.encode(text), URL_SAFE.encode(text)];
    let mut all = vec![
        secret.to_owned(),
        secret.to_uppercase(),
        percent(secret),
        escaped(secret),
        escaped(&percent(secret)),
        hex(secret),
        secret.replace('-', "\\u002d"),
        secret.replace('-', "%2D"),
    ];
    all.extend(
        ["", ":", "Bearer "]
            .iter()
            .flat_map(|before| base64(&format!("{before}{secret}"))),
    );
    all
}

/// Whether an answer, head and trailers and body, shows it in any of these ways.
fn shows(answer: &Answer, secret: &str) -> bool {
    let pairs = answer.headers.iter().chain(&answer.trailers);
    let mut all = pairs
        .flat_map(|(_, value)| value.as_bytes().to_vec())
        .collect::<Vec<u8>>();
    all.extend_from_slice(&answer.body);
    let all = all.to_ascii_lowercase();
    let inner = STANDARD.encode(secret);
    let ways = codings(secret)
        .into_iter()
        .chain([inner.split_at(inner.len() - 4).0.to_owned()]);
    ways.map(|way| way.to_ascii_lowercase())
        .any(|way| memchr::memmem::find(&all, way.as_bytes()).is_some())
}

async fn get(world: &World, who: &str, path: &str) -> Answer {
    world
        .plain_caller()
        .bearer(&world.issuer.token(who))
        .get(path)
        .await
        .unwrap()
}

async fn echoes(world: &World, project: &str) -> f64 {
    stage::metric(
        world,
        &format!("lightkeeper_credential_echoes_total{{project=\"{project}\"}}"),
    )
    .await
}

/// Scenario: the backend's answers hold each credential of the vault in each coding: as a tag of a stored trace, as a
/// member's name, in an error, in head values. Guarantees: the answer comes without it, as JSON of the same shape; it is
/// counted, and told once, by its digest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_of_a_query_holds_a_credential() {
    let (plan, _folder) = plan();
    let world = stage::start(plan).await;
    let path = "/public/v0.2/acme/projects/shop-prod/stored-traces?span-id=1";
    for secret in held() {
        for written in codings(&secret) {
            let tags = format!(
                r#"{{"lightstep.access_token":"{written}","{written}":"x keep {written}"}}"#
            );
            let body = format!(
                r#"{{"data":[{{"id":"1","attributes":{{"spans":[{{"tags":{tags}}}]}}}}]}}"#
            );
            let headers = vec![("etag", format!("\"{}\"", written.replace('\\', "")))];
            world.emulator.fail(
                Endpoints::Query,
                Fault::SayWith {
                    status: 200,
                    headers,
                    body,
                },
            );
            let answer = get(&world, "ann", path).await;
            assert_eq!(answer.status, 200, "{written}: {}", answer.text());
            assert!(!shows(&answer, &secret), "{written}: {}", answer.text());
            assert!(
                answer.json().unwrap()["data"][0]["attributes"]["spans"].is_array(),
                "{}",
                answer.text()
            );
            assert!(answer.text().contains("x keep "), "{}", answer.text());

            let body = format!(r#"{{"errors":["not with {written}"]}}"#);
            world.emulator.fail(
                Endpoints::Query,
                Fault::SayWith {
                    status: 400,
                    headers: Vec::new(),
                    body,
                },
            );
            let answer = get(&world, "ann", STREAMS).await;
            assert_eq!(answer.status, 400);
            assert!(
                !shows(&answer, &secret) && answer.text().contains("not with "),
                "{}",
                answer.text()
            );
        }
    }
    for project in [
        "shop-prod",
        "checkout-prod",
        "payments-prod",
        "platform-prod",
        "none",
    ] {
        assert!(echoes(&world, project).await >= 28.0, "{project}");
    }
    let told = eventually("a record of each credential", || async {
        let mut told = world.records();
        told.retain(|record| record["event"] == "credential_echoed");
        (told.len() >= held().len()).then_some(told)
    })
    .await;
    assert!(told.len() < 4 * held().len(), "{}", told.len());
    assert!(
        told.iter()
            .all(|record| record["reason"] == "upstream_echoed_credential")
    );
    let trail = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    assert!(held().iter().all(|secret| !trail.contains(secret)));
}

/// Scenario: a tag with another project's token is in what a part of the tree answers, in an answer that is kept and in one
/// that is shared. Guarantees: in none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merged_kept_and_shared_answers_hold_none() {
    let (mut plan, _folder) = plan();
    plan.more = "query: { cache: 60s, rates: { general: 10000/s } }".to_owned();
    let world = stage::start(plan).await;
    let secret = Emulator::access_token("platform-prod");
    let body = format!(r#"{{"data":[{{"id":"1","attributes":{{"name":"{secret}"}}}}]}}"#);
    world.emulator.fail(
        Endpoints::Query,
        Fault::Say {
            status: 200,
            content_type: "application/json",
            body,
        },
    );
    let first = get(&world, "ann", STREAMS).await;
    let kept = get(&world, "ann", STREAMS).await;
    assert_eq!(kept.header("age").as_deref(), Some("0"));
    let merged = get(&world, "ann", "/apps/shop/-/streams").await;
    assert_eq!(
        merged.json().unwrap()["items"].as_array().map(Vec::len),
        Some(3),
        "{}",
        merged.text()
    );
    for answer in [first, kept, merged] {
        assert_eq!(answer.status, 200);
        assert!(
            !shows(&answer, &secret) && answer.text().contains("***"),
            "{}",
            answer.text()
        );
    }
}

/// Scenario: who may read a project's tokens reads them, and the backend adds others to its answer. Guarantees: the
/// project's own are shown, and nothing else of the vault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_in_full_is_one_projects() {
    let (plan, _folder) = plan();
    let world = stage::start(plan).await;
    let entries: Vec<_> = held()
        .iter()
        .map(|secret| json!({ "id": secret, "type": "token" }))
        .collect();
    let body = json!({ "data": entries }).to_string();
    world.emulator.fail(
        Endpoints::Query,
        Fault::Say {
            status: 200,
            content_type: "application/json",
            body,
        },
    );
    let answer = get(
        &world,
        "lea",
        "/public/v0.2/acme/projects/shop-prod/access_tokens",
    )
    .await;
    assert_eq!(answer.status, 200);
    for secret in held() {
        let own = secret == OLDER || secret == Emulator::access_token("shop-prod");
        assert_eq!(shows(&answer, &secret), own, "{secret}: {}", answer.text());
    }
}

/// Scenario: a project's token is replaced while a question is on its way, whose answer holds the new one.
/// Guarantees: the answer does not hold it, nor does any after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_token_is_known_at_once() {
    let world = std::sync::Arc::new(stage::start(stage::plan(&[])).await);
    let fresh = "fresh-token-of-platform-prod-2b7d";
    let ann = world.plain_caller().bearer(&world.issuer.token("ann"));
    let stream = json!({ "data": { "type": "stream", "attributes": { "name": fresh, "query": "service IN (\"x\")" } } });
    assert_eq!(ann.post(STREAMS, &stream).await.unwrap().status, 200);
    let before = get(&world, "ann", STREAMS).await;
    assert!(shows(&before, fresh), "not ours yet: {}", before.text());
    world.emulator.hold(Endpoints::Query);
    let heads = world.emulator.heads();
    let asked = tokio::spawn({
        let world = world.clone();
        async move { get(&world, "ann", STREAMS).await }
    });
    eventually("the question upstream", || async {
        (world.emulator.heads() > heads).then_some(())
    })
    .await;
    stage::replace(&world.folder().join("secrets/platform-prod"), fresh);
    world.gateway.reload().await.unwrap();
    world.emulator.release();
    for answer in [asked.await.unwrap(), get(&world, "ann", STREAMS).await] {
        assert_eq!(answer.status, 200);
        assert!(!shows(&answer, fresh), "{}", answer.text());
    }
}

/// Scenario: the backend's answers to exports hold a credential that was not lent: in the words of a partial success, of a
/// refusal, and over gRPC; with exports read and streamed. Guarantees: none comes back, and it is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_to_an_export_holds_a_credential() {
    for plan in [stage::plan(&[]), stage::streamed(stage::plan(&[]))] {
        let world = stage::start(plan).await;
        let caller = world
            .plain_caller()
            .bearer(&world.issuer.token("checkout-collector"));
        let sample = Sample::traces("checkout", 2);
        for secret in [
            Emulator::access_token("platform-prod"),
            Emulator::api_key(Role::Admin).to_owned(),
        ] {
            for written in [
                secret.clone(),
                percent(&secret),
                STANDARD.encode(format!("x{secret}")),
                hex(&secret),
            ] {
                let message = format!("not with {written}");
                world.emulator.fail(
                    Endpoints::All,
                    Fault::PartialSuccess {
                        rejected: 1,
                        message: message.clone(),
                    },
                );
                for answer in [
                    caller.export(&sample, Encoding::Protobuf).await.unwrap(),
                    caller.export(&sample, Encoding::Json).await.unwrap(),
                    caller.export_grpc(&sample).await.unwrap(),
                ] {
                    assert_eq!(answer.status, 200);
                    assert!(
                        !shows(&answer, &secret),
                        "{written}: {:?}",
                        answer.body.escape_ascii().to_string()
                    );
                    assert!(memchr::memmem::find(&answer.body, b"not with").is_some());
                }
            }
        }
        assert!(echoes(&world, "platform-prod").await >= 12.0);
        assert!(echoes(&world, "none").await >= 12.0);
    }
}

/// Scenario: the backend's message about an alert holds a credential. Guarantees: destinations get it without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_alert_carries_a_credential_on() {
    let world = stage::start(stage::plan(&[])).await;
    let secret = Emulator::access_token("shop-prod");
    let caller = world.plain_caller().bearer(&webhook_secret("shop"));
    let message = json!({ "alert": { "id": 7, "name": "latency", "state": "critical" }, "tags": [secret, percent(&secret)] });
    let answer = caller.post("/apps/shop/-/alerts", &message).await.unwrap();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, r#"{"status":"delivered"}"#)
    );
    let received = world.receiver.received();
    let [passed_on] = received.as_slice() else {
        panic!("{received:?}")
    };
    let text = String::from_utf8(passed_on.body.to_vec()).unwrap();
    assert!(text.contains("latency") && text.contains("***"), "{text}");
    assert!(
        !text.contains(&secret) && !text.contains(&percent(&secret)),
        "{text}"
    );
}

/// Scenario: a sender names a service after a credential. Guarantees: pages that list services do not show it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_shows_a_credential() {
    let world = stage::start(stage::plan(&[])).await;
    let secret = Emulator::access_token("platform-prod");
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let answer = caller
        .export(
            &Sample::traces(&format!("checkout-{secret}"), 2),
            Encoding::Protobuf,
        )
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    let page = get(&world, "lea", "/.lightkeeper/apps/shop/checkout").await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(
        page.text().contains("checkout-***") && !shows(&page, &secret),
        "{}",
        page.text()
    );
}
