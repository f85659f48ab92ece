//! Logout tokens, good and forged, and what they end.
//!
//! What it does: lets a provider end sessions and tokens behind the browser's back. What it refuses to know: how a logout
//! token came. Invariant: every row names one change to a token that holds, and the exact answer.

use serde_json::{Map, Value, json};

use super::super::forge::{Answer, NOW, OTHER_RSA, RSA, TestKey, verdict};
use super::desk::Desk;
use crate::reason::Reason;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A logout token with changes to its header and claims (`null` takes a member away).
fn logout_token(desk: &Desk, key: &TestKey, header: Value, changes: Value) -> String {
    let whole = [
        json!({"alg": "RS256", "kid": "rs", "typ": "logout+jwt"}),
        json!({"iss": desk.issuer.issuer, "aud": "web", "iat": NOW - 1, "exp": NOW + 120, "jti": "l-1",
               "events": {EVENT: {}}, "sid": "s-1"}),
    ];
    key.token_of_changed("RS256", whole, [header, changes])
}

async fn told(desk: &Desk, token: &str) -> Result<usize, &'static str> {
    let told = desk.identifier.logged_out(token.as_bytes()).await;
    told.map(|told| told.revocations.len())
        .map_err(Reason::code)
}

/// Scenario: logout tokens, each wrong in one way. Guarantees: each check of Back-Channel Logout section 2.6 has its line; an ID
/// token, an access token and a security event are none.
#[tokio::test]
async fn each_check_of_a_logout_token() {
    let desk = Desk::open().await;
    let none = json!({});
    let claims = [
        (json!({}), Ok(1)),
        (json!({"sid": null, "sub": "ada"}), Ok(1)),
        (json!({"sub": "ada"}), Ok(2)),
        (json!({"aud": ["web"]}), Ok(1)),
        (json!({"unknown": 1, "toe": 1}), Ok(1)),
        (
            json!({"iss": "https://other.example/"}),
            Err("token_issuer_unknown"),
        ),
        (json!({"iss": null}), Err("token_issuer_unknown")),
        (json!({"aud": "lightkeeper"}), Err("token_audience")),
        (json!({"aud": ["web", "other"]}), Err("token_audience")),
        (json!({"aud": []}), Err("token_audience")),
        (json!({"aud": null}), Err("token_claims")),
        (json!({"aud": 1}), Err("token_claims")),
        (json!({"iat": null}), Err("token_claims")),
        (json!({"iat": "now"}), Err("token_claims")),
        (json!({"iat": NOW + 31}), Err("token_not_yet_valid")),
        (json!({"exp": null}), Err("token_claims")),
        (json!({"exp": NOW - 30}), Err("token_expired")),
        (json!({"jti": null}), Err("token_claims")),
        (json!({"jti": ""}), Err("token_claims")),
        (json!({"jti": 7}), Err("token_claims")),
        (json!({"nonce": "n"}), Err("token_type")),
        (json!({"nonce": null, "events": null}), Err("token_type")),
        (json!({"events": {}}), Err("token_type")),
        (json!({"events": [EVENT]}), Err("token_type")),
        (json!({"events": {EVENT: null}}), Err("token_type")),
        (json!({"events": {EVENT: {"a": 1}}}), Err("token_type")),
        (
            json!({"events": {EVENT: {}, "https://other.example/": {}}}),
            Err("token_type"),
        ),
        (json!({"sid": null}), Err("token_claims")),
        (json!({"sid": 1}), Err("token_claims")),
        (json!({"sid": "a\nb"}), Err("token_claims")),
        (json!({"sub": ["ada"]}), Err("token_claims")),
        (json!({"sid": "s".repeat(1025)}), Err("token_claims")),
    ];
    for (number, (changes, expected)) in claims.into_iter().enumerate() {
        let mut changes = changes;
        // Each has an id of its own, unless that is what is wrong with it.
        if changes.get("jti").is_none() {
            changes["jti"] = json!(format!("c-{number}"));
        }
        let token = logout_token(&desk, &RSA, none.clone(), changes.clone());
        assert_eq!(told(&desk, &token).await, expected, "{changes}");
    }
    for (number, (header, expected)) in [
        (json!({"typ": "JWT"}), Ok(1)),
        (json!({"typ": null}), Ok(1)),
        (json!({"typ": "application/logout+jwt"}), Ok(1)),
        (json!({"typ": "at+jwt"}), Err("token_type")),
        (json!({"typ": "secevent+jwt"}), Err("token_type")),
        (json!({"alg": "none"}), Err("token_algorithm")),
        (json!({"alg": "HS256"}), Err("token_algorithm")),
        (json!({"kid": "rs-none"}), Err("token_key_unknown")),
        (json!({"crit": ["exp"]}), Err("token_critical")),
    ]
    .into_iter()
    .enumerate()
    {
        let changes = json!({"jti": format!("h-{number}")});
        let token = logout_token(&desk, &RSA, header.clone(), changes);
        assert_eq!(told(&desk, &token).await, expected, "{header}");
    }
    let forged = logout_token(&desk, &OTHER_RSA, none.clone(), json!({"jti": "f"}));
    assert_eq!(told(&desk, &forged).await, Err("token_signature"));
    let id_token = RSA.token(
        "RS256",
        "rs",
        json!({"iss": desk.issuer.issuer, "aud": "web", "jti": "i"}),
    );
    assert_eq!(told(&desk, &id_token).await, Err("token_type"));
    for token in ["", "a.b.c", "..", &"a".repeat(17 << 10)] {
        assert!(told(&desk, token).await.is_err());
    }
    let mut twice = Map::new();
    twice.insert("jti".to_owned(), json!("again"));
    let token = logout_token(&desk, &RSA, none, twice.into());
    assert_eq!(told(&desk, &token).await, Ok(1));
    assert_eq!(told(&desk, &token).await, Err("revocation_repeated"));
}

/// What the room says to an access token with these claims.
async fn token_verdict(desk: &Desk, changes: Value) -> Result<String, &'static str> {
    let mut claims = changes;
    claims["iss"] = json!(desk.issuer.issuer);
    let token = RSA.token("RS256", "rs", claims);
    verdict(&desk.identifier, &token).await
}

/// Scenario: two sessions and several tokens of ada, and one of eve; then logout tokens by session, by subject, and by both.
/// Guarantees: what a logout token names ends at once, also what is in the cache and after a reload; other sessions, other
/// people, and what was issued later go on.
#[tokio::test]
async fn a_logout_ends_what_it_names() {
    let ok = || Ok("ada".to_owned());
    for (names, ends) in [
        (json!({"sid": "s-1"}), [true, false, true, false, false]),
        (
            json!({"sid": null, "sub": "ada"}),
            [true, true, true, true, false],
        ),
        (
            json!({"sid": "s-1", "sub": "ada"}),
            [true, false, true, true, false],
        ),
        (json!({"sid": "s-9"}), [false; 5]),
        (
            json!({"sid": null, "sub": "eve"}),
            [false, false, false, false, true],
        ),
    ] {
        let mut desk = Desk::open().await;
        let sessions = [
            desk.login(json!({"sid": "s-1"})).await.unwrap(),
            desk.login(json!({"sid": "s-2"})).await.unwrap(),
        ];
        let tokens = [json!({"sid": "s-1"}), json!({}), json!({"sub": "eve"})];
        for (place, token) in tokens.iter().enumerate() {
            let expected = if place == 2 { "eve" } else { "ada" };
            assert_eq!(
                token_verdict(&desk, token.clone()).await,
                Ok(expected.to_owned())
            );
        }
        let token = logout_token(&desk, &RSA, json!({}), names.clone());
        assert!(told(&desk, &token).await.is_ok(), "{names}");
        for reloaded in [false, true] {
            if reloaded {
                desk.reload(Some(desk.settings.clone()));
            }
            let mut ended = Vec::new();
            for session in &sessions {
                ended.push(desk.verdict(session).await);
            }
            for token in &tokens {
                ended.push(token_verdict(&desk, token.clone()).await);
            }
            let expected: Vec<_> = ends
                .iter()
                .enumerate()
                .map(|(place, ends)| match (ends, place) {
                    (true, _) => Err("proof_revoked"),
                    (false, 4) => Ok("eve".to_owned()),
                    (false, _) => ok(),
                })
                .collect();
            assert_eq!(ended, expected, "{names}, reloaded: {reloaded}");
        }
        // The provider has logged her in anew, and writes so by its own clock.
        desk.later(5);
        let fresh = json!({"sid": "s-3", "iat": NOW + 5});
        let session = desk.login(fresh.clone()).await.unwrap();
        assert_eq!(desk.verdict(&session).await, ok(), "{names}");
        assert_eq!(token_verdict(&desk, fresh).await, ok(), "{names}");
    }
}

/// Scenario: the provider ends a subject's sessions while a login of it is under way, whose ID token is older. Guarantees: no
/// session begins, so that no browser is sent to and fro.
#[tokio::test]
async fn a_login_whose_proof_was_ended_begins_no_session() {
    let desk = Desk::open().await;
    let token = logout_token(&desk, &RSA, json!({}), json!({"sid": null, "sub": "ada"}));
    assert_eq!(told(&desk, &token).await, Ok(1));
    assert_eq!(desk.login(json!({})).await, Err("proof_revoked"));
    assert!(desk.login(json!({"iat": NOW})).await.is_ok());
    assert_eq!(
        desk.login(json!({"sid": 1})).await,
        Err("login_id_token_claims")
    );
}

/// Scenario: the issuer names people by their address, and the provider ends a session by `sub`. Guarantees: the session knows
/// both.
#[tokio::test]
async fn a_session_knows_the_providers_own_name() {
    use super::super::ClaimPath;
    let mut desk = Desk::open().await;
    desk.issuer.subject_claims = vec![ClaimPath::name("email"), ClaimPath::name("sub")];
    desk.reload(Some(desk.settings.clone()));
    desk.identifier
        .settled(std::time::Duration::from_secs(20))
        .await;
    let session = desk.login(json!({})).await.unwrap();
    assert_eq!(
        desk.verdict(&session).await,
        Ok("ada@acme.example".to_owned())
    );
    let by_address = json!({"sid": null, "sub": "ada@acme.example", "jti": "a"});
    let token = logout_token(&desk, &RSA, json!({}), by_address);
    assert_eq!(told(&desk, &token).await, Ok(1));
    assert!(desk.verdict(&session).await.is_ok());
    let token = logout_token(
        &desk,
        &RSA,
        json!({}),
        json!({"sid": null, "sub": "ada", "jti": "b"}),
    );
    assert_eq!(told(&desk, &token).await, Ok(1));
    assert_eq!(desk.verdict(&session).await, Err("proof_revoked"));
}

/// Scenario: the provider's keys cannot be had. Guarantees: a logout token is not refused for it, so that it comes again.
#[tokio::test]
async fn without_keys_a_logout_token_comes_again() {
    let desk = Desk::open().await;
    desk.provider.answer_with(Answer {
        status: 503,
        headers: Vec::new(),
        body: String::new(),
    });
    let header = json!({"kid": "rs-none"});
    let token = logout_token(&desk, &RSA, header, json!({}));
    assert_eq!(told(&desk, &token).await, Err("keys_unavailable"));
}
