//! Logins, attacked: swapped, replayed, forged, late, and at providers that do not do their part.
//!
//! What it does: changes one thing of a good login at a time. What it refuses to know: the transaction's inside.
//! Invariant: every row names the change and the exact answer.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::LoginSettings;
use super::super::forge::{Answer, NOW, OTHER_RSA, P256, RSA};
use super::super::login::inside::{Memory, ProviderDocument};
use super::desk::{ACCESS_TOKEN, Desk, ORIGIN, metadata, pairs};
use crate::accept::ReturnPath;
use crate::reason::Reason;
use crate::secret::SecretRef;

#[tokio::test]
async fn the_browser_is_sent_with_everything_that_protects_the_login() {
    let desk = Desk::open().await;
    let (visit, other) = (desk.begin().await.unwrap(), desk.begin().await.unwrap());
    assert!(
        visit
            .location
            .starts_with(&desk.provider.url("/authorize?tenant=a&")),
        "{}",
        visit.location
    );
    for (name, expected) in [
        ("response_type", "code"),
        ("client_id", "web"),
        ("scope", "openid profile"),
        ("code_challenge_method", "S256"),
        (
            "redirect_uri",
            "https://gateway.example/.lightkeeper/callback",
        ),
    ] {
        assert_eq!(visit.asked[name], expected, "{name}");
    }
    for name in ["state", "nonce", "code_challenge"] {
        assert_eq!(visit.asked[name].len(), 43, "{name}: 256 bits");
        assert_ne!(
            visit.asked[name], other.asked[name],
            "{name} is of one login"
        );
        assert!(!visit.transaction.contains(&visit.asked[name]));
    }
    desk.grant(&visit, json!({}));
    let finished = desk.identifier.login().unwrap();
    let (answer, clock) = (desk.answer(&visit), &desk.world.surroundings.clock);
    let address = Ipv4Addr::LOCALHOST.into();
    let finished = finished
        .finish(&answer, Some(&visit.transaction), ORIGIN, address, clock)
        .await
        .unwrap();
    assert_eq!(finished.return_to.as_str(), "/.lightkeeper/apps/shop?x=1");
    assert_eq!(
        (finished.issuer.as_str(), finished.subject.as_str()),
        ("idp", "ada")
    );
    let attributes = "; Path=/; Max-Age=1800; Secure; HttpOnly; SameSite=Lax";
    let cookie = &finished.session.0;
    assert!(
        cookie.starts_with("__Host-lightkeeper-session=") && cookie.ends_with(attributes),
        "{}",
        &**cookie
    );
    assert_eq!(
        desk.provider.discoveries.load(Ordering::SeqCst),
        1,
        "the document is kept"
    );
}

#[tokio::test]
async fn a_login_works_once_in_the_browser_that_began_it() {
    let desk = Desk::open().await;
    let visit = desk.begin().await.unwrap();
    desk.grant(&visit, json!({}));
    let answer = desk.answer(&visit);
    let session = desk
        .finish(&answer, Some(&visit.transaction))
        .await
        .unwrap();
    assert_eq!(
        desk.finish(&answer, Some(&visit.transaction)).await,
        Err("login_transaction_spent"),
        "replayed"
    );

    // Another's answer in my browser, and mine in theirs; neither ends the login under way.
    let (mine, theirs) = (desk.begin().await.unwrap(), desk.begin().await.unwrap());
    for (own, others) in [(&mine, &theirs), (&theirs, &mine)] {
        desk.grant(own, json!({}));
        assert_eq!(
            desk.finish(&desk.answer(others), Some(&own.transaction))
                .await,
            Err("login_state_mismatch")
        );
        assert!(
            desk.finish(&desk.answer(own), Some(&own.transaction))
                .await
                .is_ok()
        );
        assert_eq!(
            desk.finish(&desk.answer(own), Some(&own.transaction)).await,
            Err("login_transaction_spent")
        );
    }
    // A code of another login: its ID token has another nonce.
    let (mine, theirs) = (desk.begin().await.unwrap(), desk.begin().await.unwrap());
    desk.grant(&theirs, json!({}));
    assert_eq!(
        desk.finish(&desk.answer(&mine), Some(&mine.transaction))
            .await,
        Err("login_id_token_nonce")
    );

    let fresh = desk.begin().await.unwrap();
    let answer = desk.answer(&fresh);
    for (what, transaction, expected) in [
        ("none", None, "login_transaction_missing"),
        (
            "a session's",
            Some(session.as_str()),
            "login_transaction_invalid",
        ),
        ("garbage", Some("AAAA"), "login_transaction_invalid"),
        (
            "cut",
            fresh.transaction.get(1..),
            "login_transaction_invalid",
        ),
    ] {
        assert_eq!(
            desk.finish(&answer, transaction).await,
            Err(expected),
            "{what}"
        );
    }
    let login = desk.identifier.login().unwrap();
    for (origin, expected) in [
        ("https://evil.example", Reason::LoginTransactionInvalid),
        ("http://gateway.example", Reason::LoginTransactionInvalid),
        ("javascript:alert(1)", Reason::LoginOrigin),
        ("https://", Reason::LoginOrigin),
        ("https://a/b?c", Reason::LoginOrigin),
        ("https://user@gateway.example", Reason::LoginOrigin),
    ] {
        let clock = &desk.world.surroundings.clock;
        let address = Ipv4Addr::LOCALHOST.into();
        let finished = login
            .finish(&answer, Some(&fresh.transaction), origin, address, clock)
            .await;
        assert_eq!(
            finished.err().map(|unfinished| unfinished.fault),
            Some(expected),
            "{origin}"
        );
        let begun = login
            .begin(&ReturnPath::home(), origin, desk.now())
            .await
            .err();
        assert_eq!(
            begun,
            Some(expected).filter(|fault| *fault == Reason::LoginOrigin),
            "{origin}"
        );
    }
    assert_eq!(
        desk.verdict(&fresh.transaction).await,
        Err("session_invalid"),
        "a transaction is no session"
    );
    desk.grant(&fresh, json!({"exp": NOW + 9000}));
    desk.later(600);
    assert_eq!(
        desk.finish(&answer, Some(&fresh.transaction)).await,
        Err("login_transaction_expired")
    );
    desk.later(599);
    assert!(
        desk.finish(&answer, Some(&fresh.transaction)).await.is_ok(),
        "none of these spent it"
    );
}

#[tokio::test]
async fn a_login_ends_with_the_settings_that_it_began_under() {
    let mut desk = Desk::open().await;
    let (first, second) = (desk.begin().await.unwrap(), desk.begin().await.unwrap());
    let settings = desk.settings.clone();
    desk.reload(Some(LoginSettings {
        client_id: "other".into(),
        ..settings.clone()
    }));
    let answer = desk.answer(&first);
    assert_eq!(
        desk.finish(&answer, Some(&first.transaction)).await,
        Err("login_transaction_invalid")
    );
    desk.reload(Some(settings.clone()));
    desk.grant(&first, json!({}));
    assert!(desk.finish(&answer, Some(&first.transaction)).await.is_ok());
    desk.reload(Some(settings));
    assert_eq!(
        desk.finish(&answer, Some(&first.transaction)).await,
        Err("login_transaction_spent")
    );
    desk.grant(&second, json!({}));
    assert!(
        desk.finish(&desk.answer(&second), Some(&second.transaction))
            .await
            .is_ok()
    );
    assert_eq!(
        desk.provider.discoveries.load(Ordering::SeqCst),
        1,
        "a reload forgets nothing"
    );
}

#[tokio::test]
async fn only_the_issuers_own_answer_is_taken() {
    let desk = Desk::open().await;
    let ours = desk.issuer.issuer.clone();
    let long = "c".repeat(8193);
    let row = |code: &'static str, rows: &[(&str, &str)]| (code, pairs(rows));
    for (expected, answer) in [
        row("ok", &[("code", "c"), ("state", "$"), ("iss", &ours)]),
        row(
            "ok",
            &[
                ("code", "c"),
                ("state", "$"),
                ("iss", &ours),
                ("session_state", "x"),
                ("hd", "acme"),
            ],
        ),
        row("login_issuer_mismatch", &[("code", "c"), ("state", "$")]),
        row(
            "login_issuer_mismatch",
            &[
                ("code", "c"),
                ("state", "$"),
                ("iss", "https://evil.example"),
            ],
        ),
        row(
            "login_issuer_mismatch",
            &[("code", "c"), ("state", "$"), ("iss", &format!("{ours}/"))],
        ),
        row(
            "login_issuer_mismatch",
            &[
                ("error", "access_denied"),
                ("state", "$"),
                ("iss", "https://evil.example"),
            ],
        ),
        row("login_state_mismatch", &[("code", "c"), ("iss", &ours)]),
        row(
            "login_state_mismatch",
            &[("code", "c"), ("state", "x"), ("iss", &ours)],
        ),
        row(
            "login_state_mismatch",
            &[("error", "access_denied"), ("iss", &ours)],
        ),
        row(
            "login_callback_malformed",
            &[("code", "c"), ("code", "d"), ("state", "$"), ("iss", &ours)],
        ),
        row(
            "login_callback_malformed",
            &[
                ("code", "c"),
                ("state", "$"),
                ("state", "$"),
                ("iss", &ours),
            ],
        ),
        row(
            "login_callback_malformed",
            &[
                ("code", "c"),
                ("state", "$"),
                ("iss", &ours),
                ("iss", &ours),
            ],
        ),
        row(
            "login_callback_malformed",
            &[
                ("code", "c"),
                ("state", "$"),
                ("iss", &ours),
                ("x", "1"),
                ("x", "1"),
            ],
        ),
        row(
            "login_callback_malformed",
            &[
                ("code", "c"),
                ("error", "x"),
                ("state", "$"),
                ("iss", &ours),
            ],
        ),
        row(
            "login_callback_malformed",
            &[("code", ""), ("state", "$"), ("iss", &ours)],
        ),
        row(
            "login_callback_malformed",
            &[("code", &long), ("state", "$"), ("iss", &ours)],
        ),
        row(
            "login_callback_malformed",
            &[
                ("code", "c"),
                ("id_token", "x"),
                ("state", "$"),
                ("iss", &ours),
            ],
        ),
        row(
            "login_callback_malformed",
            &[("state", "$"), ("iss", &ours)],
        ),
        row("login_callback_malformed", &[]),
        row(
            "login_access_denied",
            &[("error", "access_denied"), ("state", "$"), ("iss", &ours)],
        ),
        row(
            "login_provider_refused",
            &[("error", "<script>"), ("state", "$"), ("iss", &ours)],
        ),
    ] {
        let visit = desk.begin().await.unwrap();
        desk.grant(&visit, json!({}));
        let fill = |value: String| {
            if value == "$" {
                visit.asked["state"].clone()
            } else {
                value
            }
        };
        let answer: Vec<_> = answer
            .into_iter()
            .map(|(name, value)| (name, fill(value)))
            .collect();
        let said = desk
            .finish(&answer, Some(&visit.transaction))
            .await
            .err()
            .unwrap_or("ok");
        assert_eq!(said, expected, "{answer:?}");
        let again = desk
            .finish(&desk.answer(&visit), Some(&visit.transaction))
            .await
            .err()
            .unwrap_or("ok");
        let spent = if expected == "ok" {
            "login_transaction_spent"
        } else {
            "ok"
        };
        assert_eq!(again, spent, "only an exchange spends a login: {answer:?}");
    }
    let many: Vec<_> = (0..33)
        .map(|number| (number.to_string(), "x".to_owned()))
        .collect();
    let visit = desk.begin().await.unwrap();
    assert_eq!(
        desk.finish(&many, Some(&visit.transaction)).await,
        Err("login_callback_malformed")
    );

    let silent = Desk::open_with(|_, document| {
        document["authorization_response_iss_parameter_supported"] = json!(false);
    });
    let silent = silent.await;
    for (issuer, expected) in [
        (None, "ok"),
        (Some("https://evil.example"), "login_issuer_mismatch"),
    ] {
        let visit = silent.begin().await.unwrap();
        silent.grant(&visit, json!({}));
        let mut answer = pairs(&[("code", "c"), ("state", &visit.asked["state"])]);
        answer.extend(issuer.map(|issuer| ("iss".to_owned(), issuer.to_owned())));
        let said = silent
            .finish(&answer, Some(&visit.transaction))
            .await
            .err()
            .unwrap_or("ok");
        assert_eq!(said, expected, "{issuer:?}");
    }
}

#[tokio::test]
async fn an_id_token_must_be_for_this_login() {
    let desk = Desk::open().await;
    let half = |token: &str| {
        URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, token.as_bytes()).as_ref()[..16])
    };
    for (changes, expected) in [
        (json!({}), "ok"),
        (
            json!({"iss": "https://evil.example"}),
            "login_id_token_issuer",
        ),
        (json!({"iss": null}), "login_id_token_issuer"),
        (json!({"aud": "lightkeeper"}), "login_id_token_audience"),
        (json!({"aud": ["web"]}), "ok"),
        (json!({"aud": []}), "login_id_token_audience"),
        (json!({"aud": null}), "login_id_token_audience"),
        (json!({"aud": ["web", 1]}), "login_id_token_audience"),
        (
            json!({"aud": ["web", "stranger"], "azp": "web"}),
            "login_id_token_audience",
        ),
        (
            json!({"aud": ["web", "lightkeeper"]}),
            "login_id_token_audience",
        ),
        (json!({"aud": ["web", "lightkeeper"], "azp": "web"}), "ok"),
        (
            json!({"aud": ["web", "lightkeeper"], "azp": "lightkeeper"}),
            "login_id_token_audience",
        ),
        (json!({"azp": "other"}), "login_id_token_audience"),
        (json!({"azp": 1}), "login_id_token_audience"),
        (json!({"exp": NOW - 30}), "login_id_token_time"),
        (json!({"exp": NOW - 29}), "ok"),
        (json!({"exp": null}), "login_id_token_claims"),
        (json!({"exp": "soon"}), "login_id_token_claims"),
        (json!({"iat": null}), "login_id_token_claims"),
        (json!({"iat": NOW + 31}), "login_id_token_time"),
        (json!({"nbf": NOW + 31}), "login_id_token_time"),
        (json!({"nonce": null}), "login_id_token_nonce"),
        (json!({"nonce": "x"}), "login_id_token_nonce"),
        (json!({"nonce": ["x"]}), "login_id_token_nonce"),
        (json!({"at_hash": half(ACCESS_TOKEN)}), "ok"),
        (json!({"at_hash": half("another")}), "login_id_token_hash"),
        (json!({"at_hash": 1}), "login_id_token_hash"),
        (json!({"at_hash": ""}), "login_id_token_hash"),
        (json!({"sub": null}), "login_id_token_claims"),
        (json!({"sub": 7}), "login_id_token_claims"),
        (json!({"sub": "a\nb"}), "login_id_token_claims"),
        (json!({"groups": "sre"}), "ok"),
        (json!({"groups": [1]}), "login_id_token_claims"),
        (json!({"events": {}}), "login_id_token_claims"),
        (
            json!({"email_verified": "true", "address": "Main Street 1", "updated_at": "today"}),
            "ok",
        ),
    ] {
        assert_eq!(
            desk.login(changes.clone()).await.err().unwrap_or("ok"),
            expected,
            "{changes}"
        );
    }
}

#[tokio::test]
async fn an_id_token_must_be_the_issuers() {
    let desk = Desk::open().await;
    let claims = |nonce: &str| {
        super::super::forge::claims(
            json!({"iss": desk.issuer.issuer, "aud": "web", "nonce": nonce}),
        )
    };
    let header =
        |alg: &str, kid: &str, typ: &str| json!({"alg": alg, "kid": kid, "typ": typ}).to_string();
    type Make<'a> = Box<dyn Fn(&str) -> String + 'a>;
    let by = |key: &'static super::super::forge::TestKey,
              alg: &'static str,
              kid: &'static str,
              typ: &'static str| {
        Box::new(move |nonce: &str| {
            key.token_of_texts(alg, &header(alg, kid, typ), &claims(nonce).to_string())
        }) as Make<'_>
    };
    let altered = |nonce: &str| {
        let good = RSA.token_of_texts(
            "RS256",
            &header("RS256", "rs", "JWT"),
            &claims(nonce).to_string(),
        );
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let payload = URL_SAFE_NO_PAD.encode(claims(nonce).to_string().replace("ada", "eve"));
        format!(
            "{}.{payload}.{signature}",
            signed.split_once('.').unwrap().0
        )
    };
    for (what, make, expected) in [
        ("good", by(&RSA, "RS256", "rs", "JWT"), "ok"),
        (
            "another's key",
            by(&OTHER_RSA, "RS256", "rs", "JWT"),
            "login_id_token_signature",
        ),
        (
            "another algorithm",
            by(&P256, "ES256", "rs", "JWT"),
            "login_id_token_algorithm",
        ),
        (
            "an access token",
            by(&RSA, "RS256", "rs", "at+jwt"),
            "login_id_token_algorithm",
        ),
        (
            "a logout token",
            by(&RSA, "RS256", "rs", "logout+jwt"),
            "login_id_token_algorithm",
        ),
        ("altered", Box::new(altered), "login_id_token_signature"),
    ] {
        let visit = desk.begin().await.unwrap();
        desk.grant_token(&make(&visit.asked["nonce"]));
        let said = desk
            .finish(&desk.answer(&visit), Some(&visit.transaction))
            .await;
        assert_eq!(said.err().unwrap_or("ok"), expected, "{what}");
    }
}

#[tokio::test]
async fn what_the_token_endpoint_says_is_judged_and_never_shown() {
    let desk = Desk::open().await;
    let said = |status: u16, body: Value| Answer {
        status,
        ..Answer::json(body)
    };
    let page = Answer {
        status: 200,
        headers: vec![("content-type", "text/html".into())],
        body: "<html>".into(),
    };
    let away = Answer {
        status: 302,
        headers: vec![("location", "/elsewhere".into())],
        body: String::new(),
    };
    let tokens = json!({"access_token": "a", "token_type": "Bearer"});
    let huge = json!({"access_token": "a".repeat(600_000), "token_type": "Bearer"});
    for (what, answer, expected) in [
        (
            "no such code",
            said(400, json!({"error": "invalid_grant"})),
            "login_code_refused",
        ),
        (
            "no such client",
            said(401, json!({"error": "invalid_client"})),
            "login_client_refused",
        ),
        (
            "not this client",
            said(400, json!({"error": "unauthorized_client"})),
            "login_client_refused",
        ),
        ("down", said(503, json!({})), "login_provider_unreachable"),
        ("a page", page, "login_provider_answer"),
        ("elsewhere", away, "login_provider_answer"),
        ("no id token", said(200, tokens), "login_id_token_malformed"),
        (
            "duplicate",
            Answer {
                body: r#"{"access_token":"a","token_type":"Bearer","id_token":"a","id_token":"b"}"#
                    .into(),
                ..Answer::json("")
            },
            "login_provider_answer",
        ),
        (
            "another type",
            said(
                200,
                json!({"access_token": "a", "token_type": "DPoP", "id_token": "a.b.c"}),
            ),
            "login_provider_answer",
        ),
        (
            "no access token",
            said(200, json!({"id_token": "a.b.c"})),
            "login_provider_answer",
        ),
        ("huge", said(200, huge), "login_provider_unreachable"),
    ] {
        let visit = desk.begin().await.unwrap();
        desk.provider.page("/token", answer);
        let fault = desk
            .finish(&desk.answer(&visit), Some(&visit.transaction))
            .await;
        assert_eq!(fault.unwrap_err(), expected, "{what}");
    }
    assert_eq!(
        desk.provider.elsewhere.load(Ordering::SeqCst),
        0,
        "a redirect is never followed"
    );
}

#[tokio::test]
async fn groups_from_userinfo_are_about_the_same_subject() {
    let desk = Desk::open_with(|settings, _| settings.groups_from_userinfo = true).await;
    let said = |status: u16, body: Value| Answer {
        status,
        ..Answer::json(body)
    };
    let page = Answer {
        headers: vec![("content-type", "application/jwt".into())],
        ..Answer::json("a.b.c")
    };
    for (what, answer, expected) in [
        (
            "same",
            said(
                200,
                json!({"sub": "ada", "groups": ["ops"], "email": "x@y"}),
            ),
            Ok(vec!["ops"]),
        ),
        ("no groups", said(200, json!({"sub": "ada"})), Ok(vec![])),
        (
            "another",
            said(200, json!({"sub": "eve", "groups": ["admins"]})),
            Err("login_userinfo_subject"),
        ),
        (
            "nobody",
            said(200, json!({"groups": ["admins"]})),
            Err("login_userinfo_subject"),
        ),
        (
            "twice",
            Answer {
                body: r#"{"sub":"eve","sub":"ada"}"#.into(),
                ..Answer::json("")
            },
            Err("login_provider_answer"),
        ),
        ("signed", page, Err("login_provider_answer")),
        (
            "refused",
            said(401, json!({})),
            Err("login_provider_answer"),
        ),
        (
            "down",
            said(500, json!({})),
            Err("login_provider_unreachable"),
        ),
        (
            "wrong groups",
            said(200, json!({"sub": "ada", "groups": {"a": 1}})),
            Err("login_id_token_claims"),
        ),
    ] {
        desk.provider.page("/userinfo", answer);
        let groups = match desk.login(json!({})).await {
            Ok(session) => {
                let identity = desk.show(&session).await.unwrap();
                assert_eq!(
                    identity.facts().claims["email"],
                    "ada@acme.example",
                    "what is signed stays"
                );
                Ok(identity.facts().groups.clone())
            }
            Err(code) => Err(code),
        };
        assert_eq!(
            groups,
            expected.map(|groups| groups.into_iter().map(str::to_owned).collect()),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_provider_must_do_pkce_and_speak_for_itself() {
    let desk = Desk::open().await;
    let issuer = desk.issuer.issuer.as_str();
    for (changes, usable) in [
        (json!({}), true),
        (json!({"code_challenge_methods_supported": null}), true),
        (
            json!({"code_challenge_methods_supported": ["plain"]}),
            false,
        ),
        (json!({"code_challenge_methods_supported": []}), false),
        (json!({"code_challenge_methods_supported": ["s256"]}), false),
        (json!({"issuer": format!("{issuer}/")}), false),
        (json!({"issuer": null}), false),
        (json!({"token_endpoint": null}), false),
        (json!({"token_endpoint": "http://idp.example/token"}), false),
        (
            json!({"authorization_endpoint": "http://idp.example/authorize"}),
            false,
        ),
        (
            json!({"authorization_endpoint": "https://idp.example/authorize#x"}),
            false,
        ),
        (
            json!({"authorization_endpoint": "javascript:alert(1)"}),
            false,
        ),
        (json!({"authorization_endpoint": null}), false),
        (
            json!({"end_session_endpoint": "http://evil.example/"}),
            true,
        ),
    ] {
        let mut document = metadata(&desk.provider);
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
            if value.is_null() {
                document.as_object_mut().unwrap().remove(name);
            }
        }
        let known = ProviderDocument::parse(issuer, document.to_string().as_bytes(), desk.now());
        assert_eq!(known.is_ok(), usable, "{changes}");
        if let Ok(known) = known {
            assert!(
                known
                    .end_session
                    .is_none_or(|place| !place.contains("evil"))
            );
        }
    }
    assert!(ProviderDocument::parse(issuer, b"[]", desk.now()).is_err());
}

#[tokio::test]
async fn a_dead_provider_stops_new_logins_only() {
    let desk = Desk::open().await;
    let session = desk.login(json!({})).await.unwrap();
    let good = desk.provider.discovery.lock().unwrap().clone();
    let down = Answer {
        status: 503,
        headers: Vec::new(),
        body: String::new(),
    };
    *desk.provider.discovery.lock().unwrap() = down.clone();
    desk.later(3600);
    assert_eq!(desk.verdict(&session).await, Err("session_idle"));
    assert!(desk.begin().await.is_ok(), "the last good document serves");
    assert!(desk.begin().await.is_ok());
    assert_eq!(
        desk.provider.discoveries.load(Ordering::SeqCst),
        2,
        "one try within a few seconds"
    );

    let cold = Desk::open_with(|_, document| *document = json!("down")).await;
    *cold.provider.discovery.lock().unwrap() = down;
    let all = (0..20).map(|_| cold.begin());
    let faults: Vec<_> = futures_of(all).await;
    assert!(
        faults
            .iter()
            .all(|fault| *fault == Some(Reason::LoginProviderUnreachable)),
        "{faults:?}"
    );
    assert_eq!(
        cold.provider.discoveries.load(Ordering::SeqCst),
        1,
        "one try for all of them"
    );
    *cold.provider.discovery.lock().unwrap() = good;
    cold.later(5);
    assert_eq!(
        cold.begin().await.err(),
        Some(Reason::LoginProviderMetadata),
        "another issuer's document"
    );
    *cold.provider.discovery.lock().unwrap() = Answer::json(metadata(&cold.provider));
    assert_eq!(
        cold.begin().await.err(),
        Some(Reason::LoginProviderMetadata),
        "not asked again yet"
    );
    cold.later(10);
    assert!(cold.begin().await.is_ok());
}

/// Drives all of them side by side.
async fn futures_of<F: Future<Output = Result<super::desk::Visit, Reason>>>(
    all: impl Iterator<Item = F>,
) -> Vec<Option<Reason>> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<Option<Reason>>> = vec![None; all.len()];
    std::future::poll_fn(|context| {
        for (one, done) in all
            .iter_mut()
            .zip(&mut done)
            .filter(|(_, done)| done.is_none())
        {
            if let std::task::Poll::Ready(result) = one.as_mut().poll(context) {
                *done = Some(result.err());
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn settings_that_cannot_work_are_told_together() {
    let desk = Desk::open().await;
    let broken = LoginSettings {
        keys: vec![
            SecretRef::File(desk.folder.write("bad", "canary-short")),
            SecretRef::Env("LIGHTKEEPER_NO_SUCH".into()),
        ],
        client_secret: Some(SecretRef::File(desk.folder.join("nowhere"))),
        ..desk.settings.clone()
    };
    let room = || {
        desk.world
            .identifier(std::slice::from_ref(&desk.issuer), None)
    };
    let told = room().with_login(Some(&broken), None).err().unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told.iter()
            .all(|fault| fault.starts_with("login: ") && !fault.contains("canary")),
        "{told:?}"
    );
    let nobody = LoginSettings {
        issuer: "nobody".into(),
        ..desk.settings.clone()
    };
    assert_eq!(
        room().with_login(Some(&nobody), None).err().unwrap(),
        ["login: there is no issuer `nobody`"]
    );
    assert!(room().login().is_none());
    let cleared = super::super::Login::cleared().map(|cookie| cookie.0.to_string());
    for (cookie, name) in cleared
        .iter()
        .zip(["__Host-lightkeeper-session", "__Host-lightkeeper-login"])
    {
        assert_eq!(
            *cookie,
            format!("{name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
        );
    }
    let memory = Memory::default();
    assert!(
        memory.spent.add("a", NOW, 0) && memory.revoked.add("a", NOW, 0),
        "two memories"
    );
}
