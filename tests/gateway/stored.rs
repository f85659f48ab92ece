//! Credentials of a store: how they come into use, rotate and outlive the store, while exports go on. What it refuses to know:
//! how the store is asked; `stores/tests.rs` tries that.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lightkeeper::otlp::Encoding;
use serde_json::Value;
use testkit::secret_store::{ROLE_ID, SECRET_ID};
use testkit::{Emulator, Mood, Sample, SecretStoreServer, World};

use super::stage::{self, eventually};

const PATH: &str = "lightkeeper/checkout-prod";
const SECOND: &str = "second-token-of-checkout-prod";

/// A world in which the token of `checkout-prod` is in the store.
fn plan(store: &SecretStoreServer) -> stage::WorldPlan {
    let held = "checkout-prod: { access_token: [{ file: secrets/checkout-prod }] }";
    let stored = format!(
        "checkout-prod: {{ access_token: [{{ vault: {{ path: {PATH}, field: token }} }}] }}"
    );
    let at = format!(
        "vault:\n  store:\n    url: \"{}\"\n    every: 5s\n    login: {{ approle: {{ role_id: {{ file: role-id }}, secret_id: {{ file: secret-id }} }} }}\n",
        store.url()
    );
    let mut plan = stage::plan(&[(held, &stored), ("vault:\n", &at)]);
    plan.files = vec![
        ("role-id".to_owned(), ROLE_ID.to_owned()),
        ("secret-id".to_owned(), SECRET_ID.to_owned()),
    ];
    plan
}

async fn export(world: &World) -> u16 {
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let sample = Sample::traces("checkout", 1);
    let answer = caller.export(&sample, Encoding::Protobuf).await;
    answer.unwrap().status
}

async fn readiness(world: &World) -> (u16, String) {
    stage::admin(world, "/readyz").await
}

async fn is_ready(world: &World) {
    eventually("readiness", || async {
        (readiness(world).await.0 == 200).then_some(())
    })
    .await;
}

/// The rows of the token of `checkout-prod`: state, version, digest.
async fn rows(world: &World) -> Vec<(String, u64, String)> {
    // There are ten such answers a second.
    let page = eventually("the credentials", || async {
        let (status, page) = stage::admin(world, "/credentials").await;
        assert!([200, 429].contains(&status), "{status}");
        (status == 200).then_some(page)
    })
    .await;
    for secret in [
        Emulator::access_token("checkout-prod").as_str(),
        SECOND,
        SECRET_ID,
    ] {
        assert!(!page.contains(secret), "{page}");
    }
    let page: Value = serde_json::from_str(&page).unwrap();
    let rows = page.as_array().unwrap().iter();
    let own = rows.filter(|row| row["name"] == "checkout-prod/access_token/0");
    own.map(|row| {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        (
            text("state"),
            row["version"].as_u64().unwrap_or_default(),
            text("fingerprint"),
        )
    })
    .collect()
}

async fn comes_to(world: &World, expected: &[(&str, u64)]) {
    eventually("these versions", || async {
        let rows = rows(world).await;
        let found: Vec<(&str, u64)> = rows
            .iter()
            .map(|(state, version, _)| (state.as_str(), *version))
            .collect();
        (found == expected).then_some(())
    })
    .await;
}

/// Scenario: the store has a new token, which the backend learns of later, and the old one is ended; then the store is sealed;
/// exports are sent all the while.
/// Guarantees: no export fails; the new token serves only once the backend takes it; each step is a record; `/readyz` and
/// `/credentials` say where it is, and show no secret; a sealed store changes nothing for callers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_rotates_while_exports_go_on() {
    let store = SecretStoreServer::start(|| 0).await.unwrap();
    let first = Emulator::access_token("checkout-prod");
    store.put(PATH, &[("token", &first)]);
    let world = Arc::new(stage::start(plan(&store)).await);
    tokio::spawn(world.gateway.clone().watch());
    is_ready(&world).await;
    comes_to(&world, &[("current", 1)]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (world, stop) = (world.clone(), stop.clone());
        tokio::spawn(async move {
            let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
            while !stop.load(Ordering::Relaxed) {
                *statuses.entry(export(&world).await).or_default() += 1;
            }
            statuses
        })
    };
    store.put(PATH, &[("token", SECOND)]);
    comes_to(&world, &[("current", 1), ("refused", 2)]).await;
    let waits = stage::event(&world, "credential_waits").await;
    assert_eq!(waits["reason"], "credential_not_taken");
    world.emulator.add_access_token("checkout-prod", SECOND);
    comes_to(&world, &[("current", 2), ("previous", 1)]).await;
    world.emulator.set_access_token_active(&first, false);
    eventually("exports with the new token", || async {
        world.emulator.clear();
        let captured = world.emulator.wait_for(6, stage::PATIENCE).await;
        let tokens = captured
            .iter()
            .flat_map(|one| one.header("lightstep-access-token"));
        let tokens: Vec<String> = tokens.collect();
        (tokens.len() > 5 && tokens.iter().all(|token| token == SECOND)).then_some(())
    })
    .await;
    store.fail(Some(Mood::sealed()));
    comes_to(&world, &[("unconfirmed", 2), ("previous", 1)]).await;
    let (status, page) = readiness(&world).await;
    assert_eq!(status, 200);
    assert!(page.contains("(sealed)"), "{page}");
    stage::event(&world, "store_failed").await;
    store.fail(None);
    comes_to(&world, &[("current", 2), ("previous", 1)]).await;
    stop.store(true, Ordering::Relaxed);
    let statuses = load.await.unwrap();
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
    let records = world.records();
    let rotated = records
        .iter()
        .filter(|one| one["event"] == "credential_rotated");
    assert_eq!(rotated.count(), 2, "the first and the second");
    let text = format!("{records:?}");
    assert!(!text.contains(SECOND) && !text.contains(&first));
    stage::counts(
        &world,
        r#"lightkeeper_stored_credentials{state="current"}"#,
        1.0,
    )
    .await;
}

/// Scenario: the store is away when the gateway starts, and comes. Guarantees: the gateway lives and is not ready, exports of
/// that project are told to come again; once the store gave the token, it is ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_at_the_start_is_waited_for() {
    let store = SecretStoreServer::start(|| 0).await.unwrap();
    store.put(PATH, &[("token", &Emulator::access_token("checkout-prod"))]);
    store.stop().await;
    let world = stage::start(plan(&store)).await;
    tokio::spawn(world.gateway.clone().watch());
    eventually("the reason", || async {
        let (status, page) = readiness(&world).await;
        (status == 503 && page.contains("is not there yet (unreachable)")).then_some(())
    })
    .await;
    assert_eq!(stage::admin(&world, "/livez").await.0, 200);
    assert_eq!(export(&world).await, 503);
    store.restart().await.unwrap();
    is_ready(&world).await;
    assert_eq!(export(&world).await, 200);
}

/// Scenario: all credentials are tried from the files, before and after the backend ended one. Guarantees: the exit status
/// and the row say so; no secret is printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_validated() {
    let store = SecretStoreServer::start(|| 0).await.unwrap();
    let token = Emulator::access_token("checkout-prod");
    store.put(PATH, &[("token", &token)]);
    let world = stage::start(plan(&store)).await;
    for (active, code, verdict) in [(true, 0, "taken"), (false, 1, "refused")] {
        world.emulator.set_access_token_active(&token, active);
        let config = world.folder().join("lightkeeper.yaml");
        let run = move || {
            Command::new(env!("CARGO_BIN_EXE_lightkeeper"))
                .args(["credentials", "validate", "--output", "json", "--config"])
                .arg(config)
                .output()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text} {told}");
        assert!(!text.contains(&token) && !told.contains(&token));
        let rows: Value = serde_json::from_str(&text).unwrap();
        let mut rows = rows.as_array().unwrap().iter();
        let own = rows.find(|row| row["name"] == "checkout-prod/access_token/0");
        assert_eq!(own.unwrap()["verdict"], verdict);
    }
}
