//! Sessions as the room judges them: over time, over reloads, after logout, in the wrong hands.
//!
//! What it does: logs a person in and shows the cookie again under changed circumstances. What it refuses to know: the
//! cookie's inside. Invariant: only the gateway's clock moves.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use zeroize::Zeroizing;

use super::super::forge::{RSA, caller};
use super::super::{ClaimPath, LoginSettings, Method, PolicyClaims};
use super::desk::{Desk, ORIGIN, value, visitor};
use crate::accept::{ClientChain, SessionCookie};

#[tokio::test]
async fn a_session_says_who_logged_in_and_nothing_of_tokens() {
    let desk = Desk::open().await;
    let session = desk.login(json!({})).await.unwrap();
    let identity = desk.show(&session).await.unwrap();
    let facts = identity.facts();
    assert_eq!(
        (facts.method, &*facts.issuer, &*facts.subject),
        (Method::Session, "idp", "ada")
    );
    assert_eq!(facts.groups, ["sre", "dev"]);
    assert_eq!(
        json!(facts.claims),
        json!({"name": "Ada Lovelace", "email": "ada@acme.example"})
    );
    let session = identity.session().unwrap();
    assert_eq!(
        (session.name.as_str(), session.ends),
        ("Ada Lovelace", facts.expires_unix_seconds)
    );
    assert_eq!(session.ends, desk.now().seconds() + 8 * 3600);
    assert!(session.renewed.is_none(), "it is fresh");
    for (given, holds) in [
        (session.csrf.as_str(), true),
        ("", false),
        (session.csrf.get(1..).unwrap(), false),
        (&session.id, false),
    ] {
        assert_eq!(session.is_csrf(given), holds);
    }
    let shown = format!("{identity:?}");
    assert!(
        !shown.contains(&session.csrf) && !shown.contains("canary"),
        "{shown}"
    );
    let again = desk.login(json!({})).await.unwrap();
    assert_ne!(
        desk.show(&again).await.unwrap().session().unwrap().id,
        session.id,
        "a login makes a new session"
    );
}

#[tokio::test]
async fn a_session_keeps_the_claims_that_the_policy_looks_at() {
    let desk = Desk::open_with(|settings, _| {
        settings.policy_claims.claims = vec![ClaimPath::name("email"), ClaimPath::name("team")]
    })
    .await;
    let long = "e".repeat(500);
    for (claims, expected) in [
        (json!({"team": ["a", "b"]}), Some(json!(["a", "b"]))),
        (json!({"team": long}), Some(json!(long))),
        (json!({"team": null, "email": long}), None),
    ] {
        let session = desk.login(claims.clone()).await.unwrap();
        let identity = desk.show(&session).await.unwrap();
        let kept = &identity.facts().claims;
        assert_eq!(
            kept.get("team").filter(|team| !team.is_null()),
            expected.as_ref()
        );
        assert_eq!(
            kept["email"],
            claims
                .get("email")
                .cloned()
                .unwrap_or(json!("ada@acme.example"))
        );
        assert!(!kept.contains_key("secret_thing"));
    }
}

#[tokio::test]
async fn a_session_ends_by_its_idle_and_absolute_times() {
    let desk = Desk::open().await;
    let session = desk.login(json!({})).await.unwrap();
    for (second, expected) in [
        (1799, Ok("ada")),
        (1800, Err("session_idle")),
        (8 * 3600, Err("session_expired")),
    ] {
        desk.later(second);
        assert_eq!(
            desk.verdict(&session).await,
            expected.map(str::to_owned),
            "{second}"
        );
    }
    desk.later(-61);
    assert_eq!(
        desk.verdict(&session).await,
        Err("session_invalid"),
        "from the future"
    );
    // Used every 20 minutes, it lives until its absolute end and no longer.
    let (mut second, mut session) = (0, session);
    let id = {
        desk.later(0);
        desk.show(&session)
            .await
            .unwrap()
            .session()
            .unwrap()
            .id
            .clone()
    };
    while second + 1200 < 8 * 3600 {
        second += 1200;
        desk.later(second);
        let identity = desk.show(&session).await.unwrap();
        let opened = identity.session().unwrap();
        assert_eq!(opened.id, id);
        let cookie = opened.renewed.as_ref().unwrap();
        let left = (8 * 3600 - second).min(1800);
        assert!(
            cookie.0.ends_with(&format!(
                "; Path=/; Max-Age={left}; Secure; HttpOnly; SameSite=Lax"
            )),
            "{second}"
        );
        session = value(cookie);
    }
    desk.later(8 * 3600 - 1);
    assert_eq!(desk.verdict(&session).await, Ok("ada".to_owned()));
    desk.later(8 * 3600);
    assert_eq!(desk.verdict(&session).await, Err("session_expired"));
}

#[tokio::test]
async fn a_session_counts_under_the_settings_that_it_began_under() {
    let mut desk = Desk::open().await;
    let session = desk.login(json!({})).await.unwrap();
    let plain = desk.settings.clone();
    let (b, a) = (desk.key("b", 0xbb), plain.keys[0].clone());
    let looks_at_team = PolicyClaims {
        groups: false,
        claims: vec![ClaimPath::name("team")],
        denied: Vec::new(),
    };
    for (what, settings, expected) in [
        (
            "rotated",
            LoginSettings {
                keys: vec![b.clone(), a.clone()],
                ..plain.clone()
            },
            Ok("ada"),
        ),
        (
            "key withdrawn",
            LoginSettings {
                keys: vec![b],
                ..plain.clone()
            },
            Err("session_invalid"),
        ),
        (
            "another client",
            LoginSettings {
                client_id: "other".into(),
                ..plain.clone()
            },
            Err("session_invalid"),
        ),
        (
            "groups from elsewhere",
            LoginSettings {
                groups_from_userinfo: true,
                ..plain.clone()
            },
            Err("session_invalid"),
        ),
        (
            "the policy looks further",
            LoginSettings {
                policy_claims: looks_at_team,
                ..plain.clone()
            },
            Err("session_invalid"),
        ),
        (
            "shorter",
            LoginSettings {
                lifetime: Duration::from_secs(60),
                ..plain.clone()
            },
            Err("session_expired"),
        ),
        (
            "less patient",
            LoginSettings {
                idle: Duration::from_secs(60),
                ..plain.clone()
            },
            Err("session_idle"),
        ),
        (
            "longer",
            LoginSettings {
                lifetime: Duration::from_secs(90_000),
                ..plain.clone()
            },
            Ok("ada"),
        ),
        ("as before", plain.clone(), Ok("ada")),
    ] {
        desk.later(100);
        desk.reload(Some(settings));
        assert_eq!(
            desk.verdict(&session).await,
            expected.map(str::to_owned),
            "{what}"
        );
    }
    desk.reload(None);
    assert_eq!(
        desk.verdict(&session).await,
        Err("session_invalid"),
        "no login any more"
    );
    desk.issuer.subject_claims = vec![ClaimPath::name("email")];
    desk.reload(Some(plain));
    assert_eq!(
        desk.verdict(&session).await,
        Err("session_invalid"),
        "the issuer calls people otherwise"
    );
}

#[tokio::test]
async fn a_session_that_was_ended_stays_ended_over_reloads() {
    let mut desk = Desk::open().await;
    let (session, other) = (
        desk.login(json!({})).await.unwrap(),
        desk.login(json!({})).await.unwrap(),
    );
    desk.later(61);
    let renewed = value(
        desk.show(&session)
            .await
            .unwrap()
            .session()
            .unwrap()
            .renewed
            .as_ref()
            .unwrap(),
    );
    let cookie = |value: &str, origin: &str| SessionCookie {
        value: Zeroizing::new(value.into()),
        origin: origin.into(),
    };
    let login = desk.identifier.login().unwrap();
    assert_eq!(
        login
            .end(&cookie(&session, "https://evil.example"), desk.now())
            .await,
        None,
        "not theirs to end"
    );
    assert_eq!(desk.verdict(&session).await, Ok("ada".to_owned()));
    let place = login
        .end(&cookie(&session, ORIGIN), desk.now())
        .await
        .unwrap();
    let back = "https%3A%2F%2Fgateway.example%2F.lightkeeper%2Fsigned-out";
    let expected = format!("/logout?client_id=web&post_logout_redirect_uri={back}");
    assert_eq!(place, desk.provider.url(&expected));
    let settings = desk.settings.clone();
    for reloads in 0..3 {
        assert_eq!(
            desk.verdict(&session).await,
            Err("session_revoked"),
            "{reloads}"
        );
        assert_eq!(
            desk.verdict(&renewed).await,
            Err("session_revoked"),
            "its copies too"
        );
        assert_eq!(
            desk.verdict(&other).await,
            Ok("ada".to_owned()),
            "the other browser"
        );
        desk.reload((reloads != 0).then(|| settings.clone()));
        desk.reload(Some(settings.clone()));
    }
}

#[tokio::test]
async fn a_session_beside_other_evidence_is_no_choice() {
    let desk = Desk::open().await;
    let session = desk.login(json!({})).await.unwrap();
    // No listener asks for certificates here, so that none can hold.
    let chain = Arc::new(ClientChain {
        certificates: Vec::new(),
        listener: "nobody".into(),
    });
    let both = desk
        .identifier
        .identify(visitor(&session, ORIGIN, Some(chain)))
        .await;
    assert_eq!(
        both.unwrap_err().reason.code(),
        "certificate_untrusted",
        "both must hold"
    );
    let token = RSA.token("RS256", "rs", json!({"iss": desk.issuer.issuer}));
    let mut both = caller(Some(&token), None);
    both.session = visitor(&session, ORIGIN, None).session;
    assert_eq!(
        desk.identifier
            .identify(both)
            .await
            .unwrap_err()
            .reason
            .code(),
        "session_invalid"
    );
    let mut broken = caller(None, None);
    broken.session = visitor("AAAA", ORIGIN, None).session;
    assert_eq!(
        desk.identifier
            .identify(broken)
            .await
            .unwrap_err()
            .reason
            .code(),
        "session_invalid"
    );
    let elsewhere = desk
        .identifier
        .identify(visitor(&session, "https://other.example", None))
        .await;
    assert_eq!(
        elsewhere.unwrap_err().reason.code(),
        "session_invalid",
        "another origin"
    );
}

#[tokio::test]
async fn a_session_that_no_browser_keeps_is_refused_at_login() {
    let desk = Desk::open().await;
    let groups = |count: usize| {
        (0..count)
            .map(|number| format!("group-{number:04}"))
            .collect::<Vec<_>>()
    };
    for (count, expected) in [
        (0, None),
        (150, None),
        (250, Some("login_session_too_large")),
    ] {
        let session = desk.login(json!({"groups": groups(count)})).await;
        assert_eq!(session.as_ref().err().copied(), expected, "{count}");
        if let Ok(session) = session {
            assert_eq!(
                desk.show(&session).await.unwrap().facts().groups,
                groups(count)
            );
        }
    }
    let wordy = desk
        .login(json!({"name": "n".repeat(5000), "email": "", "preferred_username": ["a"]}))
        .await
        .unwrap();
    let identity = desk.show(&wordy).await.unwrap();
    assert_eq!(
        identity.session().unwrap().name,
        "ada",
        "for show only, so it is dropped"
    );
}
