//! How questions share the backend: its rates among callers, one answer among those who ask alike. What it refuses to
//! know: what an answer may say (`responses` does).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::Method;
use lightkeeper::clock::Clock;
use serde_json::json;
use testkit::emulator::Role;
use testkit::{Algorithm, Answer, Emulator, Endpoints, Fault, SampleCaller, World, WorldPlan};

use super::stage::{self, eventually};

const STREAMS: &str = "/public/v0.2/acme/projects/shop-prod/streams";
const COALESCED: &str = r#"lightkeeper_query_shared_total{how="coalesced"}"#;
const CACHED: &str = r#"lightkeeper_query_shared_total{how="cached"}"#;

fn plan(query: &str) -> WorldPlan {
    let mut plan = stage::plan(&[]);
    plan.more = format!("query: {query}");
    plan
}

async fn get(world: &World, who: &str, path: &str) -> Answer {
    world
        .plain_caller()
        .bearer(&world.issuer.token(who))
        .get(path)
        .await
        .unwrap()
}

/// Begins to ask, and goes on by itself.
fn asking(
    world: &Arc<World>,
    who: &'static str,
    path: &'static str,
) -> tokio::task::JoinHandle<Answer> {
    let world = world.clone();
    tokio::spawn(async move { get(&world, who, path).await })
}

async fn heads(world: &World, count: u64) {
    eventually("requests upstream", || async {
        (world.emulator.heads() >= count).then_some(())
    })
    .await;
}

async fn coalesced(world: &World, count: i64) {
    let look = || async { (stage::metric(world, COALESCED).await as i64 == count).then_some(()) };
    eventually("calls that wait for another's answer", look).await;
}

/// Scenario: a hundred callers ask the same while the backend takes its time; one of them, who asked first, goes away.
/// Guarantees: the backend is asked once, and all others get the answer; a caller that asks later asks anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_alike_is_asked_once() {
    // Time stands still: a read is joined for some seconds only.
    let (clock, _time) = Clock::manual(Clock::system().now());
    let world = Arc::new(
        stage::start(WorldPlan {
            clock,
            ..plan("{ rates: { general: 10000/s } }")
        })
        .await,
    );
    world.emulator.hold(Endpoints::Query);
    let leader = asking(&world, "ann", STREAMS);
    heads(&world, 1).await;
    let others: Vec<_> = (0..99).map(|_| asking(&world, "ann", STREAMS)).collect();
    coalesced(&world, 99).await;
    leader.abort();
    world.emulator.release();
    for other in others {
        let answer = other.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            answer.json().unwrap()["data"]
                .as_array()
                .is_some_and(|streams| !streams.is_empty())
        );
    }
    assert_eq!(world.emulator.heads(), 1);
    assert_eq!(get(&world, "ann", STREAMS).await.status, 200);
    assert_eq!(world.emulator.heads(), 2);
}

/// Scenario: sixty callers come at once for the first time, with a rate of forty a second. Guarantees: each gets an answer; who
/// goes on asking beyond the share is told when to come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomers_wait_for_their_turn() {
    let world = Arc::new(stage::start(plan("{ coalesce: off, rates: { general: 40/s } }")).await);
    let asked: Vec<_> = (0..60)
        .map(|number| {
            let claims = world
                .issuer
                .claims_of("ann")
                .set("sub", format!("newcomer-{number}"));
            let caller = world
                .plain_caller()
                .bearer(&world.issuer.mint(claims, Algorithm::Rs256));
            tokio::spawn(async move { caller.get(STREAMS).await.unwrap().status })
        })
        .collect();
    let mut statuses = Vec::new();
    for one in asked {
        statuses.push(one.await.unwrap());
    }
    assert_eq!(statuses, [200; 60]);
    let greedy: Vec<_> = (0..60).map(|_| asking(&world, "ann", STREAMS)).collect();
    let mut refused = 0;
    for one in greedy {
        refused += usize::from(one.await.unwrap().status == 429);
    }
    assert!(refused > 0);
}

/// Scenario: callers who may see different projects ask for the list of projects at the same time, and the same caller
/// asks it by another name of ours and in another form.
/// Guarantees: none of them is answered with another's answer; a failure is told to those who wait, and not kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_permits_never_share() {
    let world = Arc::new(stage::start(plan("{ cache: 60s, rates: { general: 10000/s } }")).await);
    world.emulator.hold(Endpoints::Query);
    let path = "/public/v0.2/acme/projects";
    let people = [("ann", 3), ("sam", 4), ("pat", 1), ("terraform", 1)];
    let asked: Vec<_> = people
        .iter()
        .map(|(who, _)| asking(&world, who, path))
        .collect();
    heads(&world, 4).await;
    let caller = world.plain_caller().bearer(&world.issuer.token("ann"));
    let accept = [("accept", "application/vnd.api+json")];
    let other = tokio::spawn(async move {
        caller
            .send(Method::GET, path, &accept, Vec::new())
            .await
            .unwrap()
    });
    heads(&world, 5).await;
    let caller = world.caller().bearer(&world.issuer.token("ann"));
    let elsewhere = tokio::spawn(async move { caller.get(path).await.unwrap() });
    heads(&world, 6).await;
    world.emulator.release();
    for (answer, (who, count)) in asked.into_iter().zip(people) {
        let answer = answer.await.unwrap().json().unwrap();
        assert_eq!(
            answer["data"].as_array().map(Vec::len),
            Some(count),
            "{who}: {answer}"
        );
    }
    assert_eq!(
        other.await.unwrap().header("content-type").as_deref(),
        Some("application/vnd.api+json")
    );
    assert!(elsewhere.await.unwrap().text().contains(&world.url()));
    assert_eq!(world.emulator.heads(), 6);

    world
        .emulator
        .fail_times(Endpoints::Query, Fault::status(500), 1);
    assert_eq!(get(&world, "ann", STREAMS).await.status, 500);
    assert_eq!(get(&world, "ann", STREAMS).await.status, 200);
}

/// Scenario: answers are kept for 5 s, and time passes; a caller writes; something sensitive is read.
/// Guarantees: within its time an answer serves again and tells its age; a write ends that for its project; nothing
/// sensitive is kept; without the setting nothing is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_serve_again_for_their_time() {
    let (clock, time) = Clock::manual(Clock::system().now());
    let kept = WorldPlan {
        clock,
        ..plan("{ cache: 5s, rates: { general: 10000/s } }")
    };
    let world = stage::start(kept).await;
    let pass = |millis: i64| time.fetch_add(millis, Ordering::Relaxed);
    // What passes before, who asks what, how often the backend was asked by then, the age that is told.
    let platform = "/public/v0.2/acme/projects/checkout-prod/streams";
    let secret = "/public/v0.2/acme/projects/shop-prod/access_tokens";
    for (before, who, path, asked, age) in [
        (0, "ann", STREAMS, 1, None),
        (0, "ann", STREAMS, 1, Some("0")),
        (4999, "ann", STREAMS, 1, Some("4")),
        (0, "sam", STREAMS, 2, None),
        (1, "ann", STREAMS, 3, None),
        (0, "ann", platform, 4, None),
        (0, "lea", secret, 5, None),
        (0, "lea", secret, 6, None),
    ] {
        pass(before);
        let answer = get(&world, who, path).await;
        assert_eq!(
            (answer.status, answer.header("age").as_deref()),
            (200, age),
            "{who} {path}"
        );
        assert_eq!(world.emulator.heads(), asked, "{who} {path}");
        assert_eq!(
            answer.headers.contains_key("x-ratelimit-remaining"),
            age.is_none()
        );
    }
    let ann = world.plain_caller().bearer(&world.issuer.token("ann"));
    let stream = json!({ "data": { "type": "stream", "attributes": { "name": "new", "query": "service IN (\"x\")" } } });
    assert_eq!(ann.post(STREAMS, &stream).await.unwrap().status, 200);
    let after = get(&world, "ann", STREAMS).await;
    assert!(
        after.header("age").is_none() && after.text().contains("\"new\""),
        "{}",
        after.text()
    );
    assert!(get(&world, "ann", platform).await.header("age").is_some());
    assert_eq!(world.emulator.heads(), 8);
    stage::counts(&world, CACHED, 3.0).await;

    let world = stage::start(plan("{ coalesce: off }")).await;
    for asked in 1..4 {
        assert!(get(&world, "ann", STREAMS).await.header("age").is_none());
        assert_eq!(world.emulator.heads(), asked);
    }
}

/// Scenario: a script asks as fast as it can, a developer twice a second; the backend takes 10 a second of both.
/// Guarantees: the developer is always answered, the script is told when to come again, and the backend hears no more
/// than its rate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_starves_nobody() {
    let (clock, time) = Clock::manual(Clock::system().now());
    let world = stage::start(WorldPlan {
        clock,
        ..plan("{ rates: { general: 10/s } }")
    })
    .await;
    let mut refused = None;
    let mut answered = 0;
    for tenth in 0..40 {
        for _ in 0..6 {
            let answer = get(&world, "sam", STREAMS).await;
            match answer.status {
                200 => answered += 1,
                _ => refused = Some(answer),
            }
        }
        if tenth % 5 == 2 {
            let answer = get(&world, "ann", STREAMS).await;
            assert_eq!(
                answer.status,
                200,
                "after {tenth} tenths of a second: {}",
                answer.text()
            );
            answered += 1;
        }
        time.fetch_add(100, Ordering::Relaxed);
    }
    assert_eq!(world.emulator.heads(), answered);
    assert!((36..=52).contains(&answered), "{answered}");
    let refused = refused.unwrap();
    let told = |name: &str| refused.header(name);
    assert_eq!(refused.status, 429);
    assert_eq!(
        refused.json().unwrap(),
        json!({ "errors": ["over the permitted rate: try again later"] })
    );
    assert_eq!(told("retry-after").as_deref(), Some("1"));
    assert_eq!(told("x-ratelimit-limit").as_deref(), Some("5"));
    assert_eq!(told("x-ratelimit-remaining").as_deref(), Some("0"));
    assert_eq!(told("x-ratelimit-reset").as_deref(), Some("1"));
    let record = stage::record(&world, &told("lightkeeper-request-id").unwrap()).await;
    assert_eq!(
        (&record["reason"], &record["decision"]),
        (&json!("query_rate_exceeded"), &json!("deny"))
    );
    assert_eq!(record["detail"], "rate class general");
}

/// Scenario: the backend allows less than is configured, and says so in its headers; later it refuses.
/// Guarantees: what it would refuse is not asked; its own refusal passes as it is, and nothing follows
/// until its time, if it says that the limit is used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_knows_better() {
    let (clock, time) = Clock::manual(Clock::system().now());
    let mut plan = WorldPlan {
        clock: clock.clone(),
        ..plan("{ rates: { general: 1000/s } }")
    };
    plan.emulator.rates = [("general", (5, 10))].into();
    plan.emulator.clock = clock;
    let world = stage::start(plan).await;
    for asked in 1..8_u64 {
        let answer = get(&world, "ann", STREAMS).await;
        assert_eq!(answer.status, if asked <= 5 { 200 } else { 429 }, "{asked}");
        assert_eq!(world.emulator.heads(), asked.min(5));
    }
    time.fetch_add(10_000, Ordering::Relaxed);
    // Another tool of the organization's, which does not come through us.
    let other = SampleCaller::new(&world.emulator.url()).bearer(Emulator::api_key(Role::Viewer));
    for _ in 0..5 {
        assert_eq!(other.get(STREAMS).await.unwrap().status, 200);
    }
    let theirs = get(&world, "ann", STREAMS).await;
    assert_eq!(
        (
            theirs.status,
            theirs.header("x-ratelimit-remaining").as_deref()
        ),
        (429, Some("0"))
    );
    let ours = get(&world, "sam", STREAMS).await;
    assert_eq!(
        (ours.status, ours.header("retry-after").as_deref()),
        (429, Some("10"))
    );
    assert_eq!(world.emulator.heads(), 11);
    time.fetch_add(10_000, Ordering::Relaxed);
    assert_eq!(get(&world, "ann", STREAMS).await.status, 200);
    // A refusal that names no limit that is used up silences no caller.
    world.emulator.fail_times(
        Endpoints::Query,
        Fault::Status {
            status: 429,
            retry_after_seconds: Some(7),
        },
        1,
    );
    let theirs = get(&world, "ann", STREAMS).await;
    assert_eq!(
        (theirs.status, theirs.header("retry-after").as_deref()),
        (429, Some("7"))
    );
    assert_eq!(get(&world, "sam", STREAMS).await.status, 200);
}
