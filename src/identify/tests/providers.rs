//! Logins at providers that do not do their part: forged ID tokens, wrong answers, bad metadata, none at all.
//!
//! What it does: changes one thing that a good provider says at a time. What it refuses to know: the browser's side. Invariant:
//! every row names the change and the exact answer.

use std::sync::atomic::Ordering;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::forge::{Answer, NOW, OTHER_RSA, P256, RSA};
use super::super::login::inside::ProviderDocument;
use super::desk::{ACCESS_TOKEN, Desk, metadata};
use crate::reason::Reason;

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
        let good = by(&RSA, "RS256", "rs", "JWT")(nonce);
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
