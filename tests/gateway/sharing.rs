//! Reads that several callers ask alike, while the backend hangs and while the configuration changes: who is asked anew.
//! What it refuses to know: how rates are divided (`rates` does), what an answer may say.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lightkeeper::clock::Clock;
use testkit::emulator::Role;
use testkit::{Answer, Emulator, Endpoints, Fault, SampleCaller, World, WorldPlan};

use super::stage::{self, eventually};

const STREAMS: &str = "/public/v0.2/acme/projects/shop-prod/streams";
const COALESCED: &str = r#"lightkeeper_query_shared_total{how="coalesced"}"#;

fn plan(query: &str) -> WorldPlan {
    let mut plan = stage::plan(&[]);
    plan.more = format!("query: {query}");
    plan
}

fn ann(world: &World) -> SampleCaller {
    world
        .plain_caller()
        .deadline(stage::PATIENCE)
        .bearer(&world.issuer.token("ann"))
}

async fn get(caller: SampleCaller, path: &'static str) -> Answer {
    caller.get(path).await.unwrap()
}

async fn heads(world: &World, count: u64) {
    eventually("requests upstream", || async {
        (world.emulator.heads() >= count).then_some(())
    })
    .await;
}

/// The backend hangs with the next query, and answers those after it.
fn hang_once(world: &World) {
    world.emulator.hold(Endpoints::Query);
    world.emulator.fail_times(Endpoints::Query, Fault::Hold, 1);
}

/// Scenario: the backend hangs with a read; another caller joins it, and a third comes when it has hung for long.
/// Guarantees: the third is asked anew and answered; both who wait are answered once the backend is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_hangs_is_joined_for_a_while_only() {
    let (clock, time) = Clock::manual(Clock::system().now());
    let world = Arc::new(
        stage::start(WorldPlan {
            clock,
            ..plan("{ rates: { general: 10000/s } }")
        })
        .await,
    );
    hang_once(&world);
    let first = tokio::spawn(get(ann(&world), STREAMS));
    heads(&world, 1).await;
    time.fetch_add(4_999, Ordering::Relaxed);
    let second = tokio::spawn(get(ann(&world), STREAMS));
    eventually("a caller who joins", || async {
        (stage::metric(&world, COALESCED).await == 1.0).then_some(())
    })
    .await;
    time.fetch_add(1, Ordering::Relaxed);
    assert_eq!(get(ann(&world), STREAMS).await.status, 200);
    assert_eq!(world.emulator.heads(), 2);
    world.emulator.release();
    for waiting in [first, second] {
        assert_eq!(waiting.await.unwrap().status, 200);
    }
    assert_eq!(world.emulator.heads(), 2);
}

/// Scenario: the backend hangs with a read, and the caller goes away and asks again. Guarantees: asked anew; the record of
/// the first names no status, because none was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gave_up_is_asked_anew() {
    let (clock, _time) = Clock::manual(Clock::system().now());
    let world = stage::start(WorldPlan {
        clock,
        ..plan("{ rates: { general: 10000/s } }")
    })
    .await;
    hang_once(&world);
    let first = tokio::spawn(get(ann(&world).http2(), STREAMS));
    heads(&world, 1).await;
    first.abort();
    let record = eventually("the record of the caller who left", || async {
        world
            .records()
            .into_iter()
            .find(|record| record["reason"] == "client_closed")
    })
    .await;
    assert_eq!(record["status"], serde_json::Value::Null, "{record}");
    assert_eq!(get(ann(&world).http2(), STREAMS).await.status, 200);
    assert_eq!(world.emulator.heads(), 2);
}

/// Scenario: the backend hangs with a project's read until the deadline of a question to the tree, which is then asked
/// again. Guarantees: the second question is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passed_holds_up_no_later_question() {
    let (clock, _time) = Clock::manual(Clock::system().now());
    let query = "{ deadline: 500ms, rates: { general: 10000/s } }";
    let world = stage::start(WorldPlan {
        clock,
        ..plan(query)
    })
    .await;
    let path = "/apps/shop/checkout/-/streams";
    hang_once(&world);
    let late = get(ann(&world), path).await;
    assert_eq!(late.status, 504, "{}", late.text());
    // The second question needs its time on a busy machine, and has one question to ask: the deadline is its only bound.
    let answer = eventually("an answer", || async {
        Some(get(ann(&world), path).await).filter(|it| it.status == 200)
    });
    let answer = answer.await.json().unwrap();
    assert!(
        answer["items"]
            .as_array()
            .is_some_and(|items| !items.is_empty()),
        "{answer}"
    );
    assert!(world.emulator.heads() >= 2);
    // The hung read is no longer on its way to the backend: nothing of ours waits for it.
    world.emulator.release();
}

/// Scenario: the read key is replaced and the files are read again, while an answer is kept and while a read is under
/// way; nothing else that shapes the answer changes. Guarantees: both questions are asked anew, with the new key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_configuration_answered_serves_no_later_one() {
    let (clock, _time) = Clock::manual(Clock::system().now());
    let kept = WorldPlan {
        clock,
        ..plan("{ cache: 60s, rates: { general: 10000/s } }")
    };
    let world = stage::start(kept).await;
    let other = "/public/v0.2/acme/projects/shop-prod/conditions";
    assert_eq!(get(ann(&world), STREAMS).await.status, 200);
    assert_eq!(
        get(ann(&world), STREAMS).await.header("age").as_deref(),
        Some("0")
    );
    assert_eq!(world.emulator.heads(), 1);
    hang_once(&world);
    let held = tokio::spawn(get(ann(&world), other));
    heads(&world, 2).await;

    stage::replace(
        &world.folder().join("secrets/api-key-read"),
        Emulator::api_key(Role::Editor),
    );
    world.gateway.reload().await.unwrap();
    for (path, asked) in [(STREAMS, 3), (other, 4)] {
        let answer = get(ann(&world), path).await;
        assert_eq!((answer.status, answer.header("age")), (200, None), "{path}");
        assert_eq!(world.emulator.heads(), asked, "{path}");
        let captured = world.emulator.captured();
        let key = captured.last().unwrap().header("authorization");
        assert_eq!(
            key,
            [format!("bearer {}", Emulator::api_key(Role::Editor))],
            "{path}"
        );
    }
    world.emulator.release();
    assert_eq!(held.await.unwrap().status, 200);
}
