//! Logins, attacked: swapped, replayed, forged and late.
//!
//! What it does: changes one thing of a good login at a time. What it refuses to know: the transaction's inside.
//! Invariant: every row names the change and the exact answer.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::super::LoginSettings;
use super::super::forge::NOW;
use super::super::login::inside::Memory;
use super::desk::{Desk, ORIGIN, pairs};
use crate::accept::ReturnPath;
use crate::causes::lines;
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
    let told = lines(&room().with_login(Some(&broken), None).err().unwrap());
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
        lines(&room().with_login(Some(&nobody), None).err().unwrap()),
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
