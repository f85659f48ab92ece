//! An issuer over sockets: rotation, storms, outages and answers that are none.
//!
//! What it does: runs the room against a loopback issuer and counts what it is asked. What it refuses to
//! know: timers (see `upkeep`). Invariant: no test waits for time to pass.

mod discovery;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::super::fetch::FetchFault;
use super::super::forge::{
    Answer, Folder, ISSUER, Loopback, NOW, OTHER_RSA, P256, RSA, World, caller, issuer, verdict,
};
use super::super::keys::KeySetFault;
use super::super::{
    ClaimPath, Event, Identifier, IssuerSettings, KeyAccess, KeySource, RejectionKind,
};
use crate::secret::SecretRef;

const PATIENCE: Duration = Duration::from_secs(20);

/// A room whose only issuer serves `keys` on loopback, after its first reading.
async fn room(world: &World, keys: serde_json::Value) -> (Identifier, Loopback) {
    let loopback = Loopback::start(keys).await;
    // Tokens that outlive the keys.
    let max_lifetime = Duration::from_secs(30 * 24 * 3600);
    let settings = IssuerSettings {
        max_lifetime,
        ..issuer(KeySource::Url(loopback.url("/keys")))
    };
    let identifier = world.identifier(&[settings], None);
    identifier.settled(PATIENCE).await;
    (identifier, loopback)
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_a_removed_one_is_gone_at_once() {
    let world = World::new();
    let (identifier, loopback) = room(&world, json!([RSA.jwk_with(json!({"kid": "old"}))])).await;
    let old = RSA.token("RS256", "old", json!({}));
    assert_eq!(verdict(&identifier, &old).await, Ok("ada".to_owned()));
    assert_eq!(loopback.fetched(), 1);

    loopback.answer_with(Answer::keys(json!([P256.jwk_with(json!({"kid": "new"}))])));
    assert_eq!(
        verdict(&identifier, &P256.token("ES256", "new", json!({}))).await,
        Ok("ada".to_owned())
    );
    assert_eq!(loopback.fetched(), 2);
    assert_eq!(
        verdict(&identifier, &old).await,
        Err("token_key_unknown"),
        "remembered, but its key was withdrawn"
    );
    assert_eq!(loopback.fetched(), 2);
    assert_eq!(
        world.count(|event| matches!(event, Event::KeysRefreshed { changed: true, .. })),
        2
    );
    assert_eq!(
        world.count(|event| matches!(event, Event::KeyWanted { key_id, .. } if key_id == "new")),
        1
    );
}

#[tokio::test]
async fn a_key_without_an_id_is_replaced_all_the_same() {
    let world = World::new();
    let (identifier, loopback) = room(&world, json!([RSA.jwk()])).await;
    let nameless = |key: &super::super::forge::TestKey| {
        key.token_of_texts(
            "RS256",
            r#"{"alg":"RS256"}"#,
            &super::super::forge::claims(json!({})).to_string(),
        )
    };
    assert_eq!(
        verdict(&identifier, &nameless(&RSA)).await,
        Ok("ada".to_owned())
    );
    loopback.answer_with(Answer::keys(json!([OTHER_RSA.jwk()])));
    assert_eq!(
        verdict(&identifier, &nameless(&OTHER_RSA)).await,
        Ok("ada".to_owned())
    );
    assert_eq!(
        verdict(&identifier, &nameless(&RSA)).await,
        Err("token_signature")
    );
    assert_eq!(loopback.fetched(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_unknown_keys_cost_one_fetch() {
    let world = World::new();
    let (identifier, loopback) = room(&world, json!([RSA.jwk_with(json!({"kid": "rs"}))])).await;
    let identifier = Arc::new(identifier);
    let attempts: Vec<_> = (0..1000)
        .map(|number| {
            let identifier = identifier.clone();
            // A signature is never looked at: there is no key for it.
            let good = P256.token("ES256", &format!("attack-{number}"), json!({}));
            tokio::spawn(async move { verdict(&identifier, &good).await })
        })
        .collect();
    for attempt in attempts {
        assert_eq!(attempt.await.unwrap(), Err("token_key_unknown"));
    }
    assert_eq!(
        loopback.fetched(),
        2,
        "the first reading, and one for all of them"
    );
    assert_eq!(
        world.count(|event| matches!(event, Event::KeyWanted { .. })),
        1
    );
    assert_eq!(identifier.tokens.len(), 0);
    assert_eq!(
        verdict(&identifier, &RSA.token("RS256", "rs", json!({}))).await,
        Ok("ada".to_owned())
    );
}

#[tokio::test]
async fn an_outage_keeps_the_last_good_keys_until_they_are_stale() {
    let world = World::new();
    let (identifier, loopback) = room(&world, json!([RSA.jwk_with(json!({"kid": "rs"}))])).await;
    let remembered = RSA.token("RS256", "rs", json!({"exp": NOW + 10 * 24 * 3600}));
    assert_eq!(
        verdict(&identifier, &remembered).await,
        Ok("ada".to_owned())
    );
    // A good status without a usable key is an outage like any other.
    loopback.answer_with(Answer::keys(json!([])));
    let unknown = identifier
        .identify(caller(Some(&P256.token("ES256", "new", json!({}))), None))
        .await
        .unwrap_err();
    assert_eq!(
        (unknown.kind, unknown.reason.code()),
        (RejectionKind::Unavailable, "keys_unavailable")
    );
    assert_eq!(
        verdict(
            &identifier,
            &RSA.token("RS256", "rs", json!({"sub": "bob"}))
        )
        .await,
        Ok("bob".to_owned())
    );
    let status = &identifier.readiness()[0];
    assert!(status.has_keys);
    assert_eq!(
        status.last_fault,
        Some(FetchFault::Keys(KeySetFault::NoUsableKey))
    );

    // Nothing but our clock moves: no reading succeeds for a day.
    world.move_to(NOW + 24 * 3600);
    assert_eq!(identifier.readiness()[0].age_seconds, Some(24 * 3600));
    assert_eq!(
        verdict(&identifier, &remembered).await,
        Ok("ada".to_owned())
    );
    world.move_to(NOW + 24 * 3600 + 1);
    let stale = identifier
        .identify(caller(Some(&remembered), None))
        .await
        .unwrap_err();
    assert_eq!(
        (stale.kind, stale.reason.code()),
        (RejectionKind::Unavailable, "keys_unavailable")
    );
    assert!(!identifier.readiness()[0].has_keys);
}

#[tokio::test]
async fn answers_that_are_no_key_set_are_faults() {
    let good = json!({"keys": [RSA.jwk_with(json!({"kid": "rs"}))]}).to_string();
    let with = |status: u16, headers: &[(&'static str, &str)], body: String| Answer {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
        body,
    };
    let json_type = ("content-type", "application/json");
    for (what, answer, fault) in [
        ("good", with(200, &[json_type], good.clone()), None),
        (
            "error",
            with(500, &[json_type], good.clone()),
            Some("status"),
        ),
        (
            "redirect",
            with(302, &[json_type, ("location", "/elsewhere")], good.clone()),
            Some("status"),
        ),
        (
            "named a page",
            with(200, &[("content-type", "text/html")], good.clone()),
            None,
        ),
        (
            "of a bucket",
            with(
                200,
                &[("content-type", "application/octet-stream")],
                good.clone(),
            ),
            None,
        ),
        (
            "of a git host",
            with(
                200,
                &[("content-type", "text/plain; charset=utf-8")],
                good.clone(),
            ),
            None,
        ),
        (
            "of no media type",
            with(200, &[("content-type", ";;")], good.clone()),
            None,
        ),
        ("untyped", with(200, &[], good.clone()), None),
        (
            "page",
            with(200, &[("content-type", "text/html")], "<html>".to_owned()),
            Some("content_type"),
        ),
        (
            "page named JSON",
            with(200, &[json_type], "\n<!doctype html>".to_owned()),
            Some("content_type"),
        ),
        (
            "text",
            with(
                200,
                &[("content-type", "text/html")],
                "not found".to_owned(),
            ),
            Some("keys_malformed"),
        ),
        (
            "large",
            with(
                200,
                &[json_type],
                format!("{}{good}", " ".repeat(512 * 1024)),
            ),
            Some("too_large"),
        ),
        (
            "cut off",
            with(
                200,
                &[json_type],
                good.strip_suffix('}').unwrap().to_owned(),
            ),
            Some("keys_malformed"),
        ),
        (
            "empty",
            with(200, &[json_type], "{\"keys\":[]}".to_owned()),
            Some("keys_none_usable"),
        ),
    ] {
        let world = World::new();
        let loopback = Loopback::start(json!([])).await;
        loopback.answer_with(answer);
        let identifier = world.identifier(&[issuer(KeySource::Url(loopback.url("/keys")))], None);
        identifier.settled(PATIENCE).await;
        let status = &identifier.readiness()[0];
        assert_eq!(status.last_fault.map(FetchFault::code), fault, "{what}");
        assert_eq!(status.has_keys, fault.is_none(), "{what}");
        assert_eq!(
            loopback.elsewhere.load(Ordering::SeqCst),
            0,
            "{what}: a redirect is never followed"
        );
        let expected = if fault.is_none() {
            Ok("ada".to_owned())
        } else {
            Err("keys_unavailable")
        };
        assert_eq!(
            verdict(&identifier, &RSA.token("RS256", "rs", json!({}))).await,
            expected,
            "{what}"
        );
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_closes_nobody_elses_door() {
    let world = World::new();
    let up = Loopback::start(json!([RSA.jwk_with(json!({"kid": "rs"}))])).await;
    // A port that was just given back: nothing listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let down = IssuerSettings {
        name: "down".to_owned(),
        issuer: "https://down.example".to_owned(),
        ..issuer(KeySource::Url(format!("http://{closed}/keys")))
    };
    let identifier = world.identifier(&[issuer(KeySource::Url(up.url("/keys"))), down], None);
    identifier.settled(PATIENCE).await;
    assert_eq!(
        verdict(&identifier, &RSA.token("RS256", "rs", json!({}))).await,
        Ok("ada".to_owned())
    );
    let theirs = RSA.token("RS256", "rs", json!({"iss": "https://down.example"}));
    let waiting = identifier
        .identify(caller(Some(&theirs), None))
        .await
        .unwrap_err();
    assert_eq!(
        (waiting.kind, waiting.reason.code()),
        (RejectionKind::Unavailable, "keys_unavailable")
    );
    let strangers = RSA.token("RS256", "rs", json!({"iss": "https://stranger.example"}));
    let rejected = identifier
        .identify(caller(Some(&strangers), None))
        .await
        .unwrap_err();
    assert_eq!(
        (rejected.kind, rejected.reason.code()),
        (RejectionKind::Rejected, "token_issuer_unknown")
    );
    let told = |event: &Event| {
        matches!(event, Event::KeysRefreshFailed { issuer, fault: FetchFault::Unreachable, detail }
        if &**issuer == "down" && !detail.is_empty())
    };
    assert!(world.count(told) >= 1);
}

#[tokio::test]
async fn a_reload_keeps_what_did_not_change() {
    let world = World::new();
    let (identifier, loopback) = room(&world, json!([RSA.jwk_with(json!({"kid": "rs"}))])).await;
    let settings = issuer(KeySource::Url(loopback.url("/keys")));
    let token = RSA.token("RS256", "rs", json!({}));

    // The issuer goes away; neither an equal nor a changed configuration may lose its keys.
    loopback.answer_with(Answer {
        status: 503,
        headers: Vec::new(),
        body: String::new(),
    });
    let equal = world.identifier(std::slice::from_ref(&settings), Some(&identifier));
    assert_eq!(loopback.fetched(), 1, "nothing is read anew");
    assert_eq!(verdict(&equal, &token).await, Ok("ada".to_owned()));
    let other_groups = IssuerSettings {
        groups_claim: ClaimPath::name("roles"),
        ..settings.clone()
    };
    let changed = world.identifier(&[other_groups], Some(&equal));
    let identity = changed.identify(caller(Some(&token), None)).await.unwrap();
    assert!(
        identity.facts().groups.is_empty(),
        "judged by the new settings, not from memory"
    );
    changed.settled(PATIENCE).await;
    assert_eq!(
        verdict(&changed, &RSA.token("RS256", "rs", json!({"sub": "bob"}))).await,
        Ok("bob".to_owned())
    );

    // Another place, or another issuer in the same place, gets none of them.
    let moved = IssuerSettings {
        keys: KeySource::Url(loopback.url("/elsewhere")),
        ..settings.clone()
    };
    assert_eq!(
        verdict(&world.identifier(&[moved], Some(&equal)), &token).await,
        Err("keys_unavailable")
    );
    let renamed = IssuerSettings {
        issuer: format!("{ISSUER}2"),
        ..settings
    };
    let other = RSA.token("RS256", "rs", json!({"iss": format!("{ISSUER}2")}));
    assert_eq!(
        verdict(&world.identifier(&[renamed], Some(&equal)), &other).await,
        Err("keys_unavailable")
    );
    assert_eq!(
        verdict(&world.identifier(&[], Some(&equal)), &token).await,
        Err("token_issuer_unknown")
    );
}
