//! The task that keeps an issuer's keys, under a clock that the test moves.
//!
//! What it does: plays an issuer that answers, fails or hangs, and notes when it is asked. What it
//! refuses to know: sockets. Invariant: time is paused; each wait ends at the very instant it must.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::super::Event;
use super::super::algorithm::Algorithm;
use super::super::fetch::{Fetch, FetchError, FetchFault, Fetched};
use super::super::forge::{ED, NOW, World};
use super::super::jwks::{FORCED_INTERVAL, FORCED_WAIT, LiveKeys, RefreshOutcome, Upkeep};
use super::super::keys::KeySet;
use crate::clock::UnixMillis;

#[derive(Clone, Copy)]
enum Play {
    /// Keys, from this host, to be kept so long.
    Keys(&'static str, Option<u64>),
    Fail,
    Hang,
}

/// Plays what it is told, the last part for ever, and notes the seconds at which it was asked.
struct Stage {
    plays: Mutex<VecDeque<Play>>,
    asked_at: Arc<Mutex<Vec<u64>>>,
    since: Instant,
}

#[async_trait]
impl Fetch for Stage {
    async fn fetch(&self) -> Result<Fetched, FetchError> {
        self.asked_at
            .lock()
            .unwrap()
            .push(self.since.elapsed().as_secs());
        let play = {
            let mut plays = self.plays.lock().unwrap();
            if plays.len() > 1 {
                plays.pop_front()
            } else {
                plays.front().copied()
            }
        };
        match play.unwrap() {
            Play::Keys(host, max_age) => Ok(Fetched {
                document: Bytes::from(
                    json!({"keys": [ED.jwk_with(json!({"kid": "a"}))]}).to_string(),
                ),
                max_age: max_age.map(Duration::from_secs),
                host: host.to_owned(),
            }),
            Play::Fail => Err(FetchFault::TimedOut.into()),
            Play::Hang => std::future::pending().await,
        }
    }
}

fn start(world: &World, plays: &[Play]) -> (LiveKeys, Arc<Mutex<Vec<u64>>>) {
    let asked_at = Arc::new(Mutex::new(Vec::new()));
    let stage = Stage {
        plays: Mutex::new(plays.iter().copied().collect()),
        asked_at: asked_at.clone(),
        since: Instant::now(),
    };
    let upkeep = Upkeep {
        issuer: Arc::from("idp"),
        read: Box::new(|document| KeySet::parse(document, &[Algorithm::Ed25519])),
        refresh: Duration::from_secs(3600),
        stale: Duration::from_secs(24 * 3600),
        clock: world.surroundings.clock.clone(),
        events: world.surroundings.events.clone(),
    };
    (
        LiveKeys::start(upkeep, Box::new(stage), None, &world.surroundings.runtime),
        asked_at,
    )
}

fn present() -> UnixMillis {
    UnixMillis(NOW * 1000)
}

/// Lets `seconds` pass, second by second, so that every timer in between has its turn.
async fn pass(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_ever_more_slowly_until_keys_come() {
    let world = World::new();
    let mut plays = vec![Play::Fail; 8];
    plays.push(Play::Keys("idp", None));
    let (live, asked_at) = start(&world, &plays);
    assert!(!live.status(present()).tried);
    live.settled().await;
    assert!(live.current(present()).is_none() && live.status(present()).tried);
    pass(185).await;
    assert_eq!(
        *asked_at.lock().unwrap(),
        [0, 1, 3, 7, 15, 31, 63, 123, 183]
    );
    assert!(live.current(present()).is_some());
    assert!(!live.failing());
    assert_eq!(
        world.count(|event| matches!(event, Event::KeysRefreshFailed { .. })),
        8
    );
}

#[tokio::test(start_paused = true)]
async fn readings_keep_to_the_smaller_of_two_wishes_and_a_floor() {
    for (max_age, pause) in [
        (None, 3600),
        (Some(600), 600),
        (Some(86_400), 3600),
        (Some(0), 60),
    ] {
        let world = World::new();
        let (live, asked_at) = start(&world, &[Play::Keys("idp", max_age)]);
        live.settled().await;
        pass(pause - 1).await;
        assert_eq!(asked_at.lock().unwrap().len(), 1, "{max_age:?}");
        pass(1).await;
        assert_eq!(*asked_at.lock().unwrap(), [0, pause], "{max_age:?}");
        assert_eq!(
            world.count(|event| matches!(event, Event::KeysRefreshed { changed: true, .. })),
            1
        );
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_cause_one_reading_in_an_interval() {
    let world = World::new();
    let (live, asked_at) = start(&world, &[Play::Keys("idp", None)]);
    live.settled().await;
    let soon = || Instant::now() + FORCED_WAIT;
    assert_eq!(live.ask(Some("x"), soon()).await, RefreshOutcome::Read);
    for _ in 0..100 {
        assert_eq!(live.ask(Some("x"), soon()).await, RefreshOutcome::NotNow);
    }
    pass(FORCED_INTERVAL.as_secs() - 1).await;
    assert_eq!(live.ask(Some("x"), soon()).await, RefreshOutcome::NotNow);
    pass(1).await;
    assert_eq!(live.ask(Some("x"), soon()).await, RefreshOutcome::Read);
    assert_eq!(*asked_at.lock().unwrap(), [0, 0, 30]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_allowed() {
    let world = World::new();
    let (live, _) = start(&world, &[Play::Keys("idp", None), Play::Hang]);
    live.settled().await;
    let began = Instant::now();
    let (first, second) = tokio::join!(
        live.ask(Some("x"), began + FORCED_WAIT),
        live.ask(Some("y"), began + FORCED_WAIT)
    );
    assert_eq!(
        (first, second),
        (RefreshOutcome::TimedOut, RefreshOutcome::TimedOut)
    );
    assert_eq!(began.elapsed(), FORCED_WAIT);
    assert!(
        live.current(present()).is_some(),
        "the keys from before are still good"
    );
    assert_eq!(
        world.count(|event| matches!(event, Event::KeyWanted { .. })),
        1,
        "the second joins the first"
    );
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_its_keys() {
    let world = World::new();
    let (live, asked_at) = start(&world, &[Play::Keys("idp", None)]);
    live.settled().await;
    drop(live);
    pass(7200).await;
    assert_eq!(*asked_at.lock().unwrap(), [0]);
    assert_eq!(
        Arc::strong_count(&asked_at),
        1,
        "the source went with the task"
    );
}

#[tokio::test(start_paused = true)]
async fn keys_from_another_host_are_told() {
    let world = World::new();
    let (live, _) = start(&world, &[Play::Keys("idp", None), Play::Keys("cdn", None)]);
    live.settled().await;
    assert_eq!(
        live.ask(None, Instant::now() + FORCED_WAIT).await,
        RefreshOutcome::Read
    );
    let moved = |event: &Event| matches!(event, Event::KeysMoved { from, to, .. } if from == "idp" && to == "cdn");
    assert_eq!(world.count(moved), 1);
}

#[tokio::test]
async fn fixed_keys_never_age_and_are_never_asked_for() {
    let world = World::new();
    let (template, _) = start(&world, &[Play::Keys("idp", None)]);
    template.settled().await;
    let set = json!({"keys": [ED.jwk_with(json!({"kid": "a"}))]}).to_string();
    let keys = KeySet::parse(set.as_bytes(), &[Algorithm::Ed25519]).unwrap();
    let upkeep = Upkeep {
        issuer: Arc::from("file"),
        read: Box::new(|document| KeySet::parse(document, &[Algorithm::Ed25519])),
        refresh: Duration::ZERO,
        stale: Duration::ZERO,
        clock: world.surroundings.clock.clone(),
        events: world.surroundings.events.clone(),
    };
    let live = LiveKeys::fixed(upkeep, keys);
    live.settled().await;
    assert!(live.current(UnixMillis(i64::MAX)).is_some());
    assert_eq!(
        live.ask(Some("x"), Instant::now() + FORCED_WAIT).await,
        RefreshOutcome::NotNow
    );
    assert_eq!(live.status(present()).age_seconds, None);
}
