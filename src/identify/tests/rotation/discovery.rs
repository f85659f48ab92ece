//! Where keys are found, and who is told what on the way. What it refuses to know: timers.

use super::*;

#[tokio::test]
async fn discovery_must_speak_for_the_configured_issuer() {
    let loopback = Loopback::start(json!([RSA.jwk_with(json!({"kid": "rs"}))])).await;
    let (ours, keys) = (loopback.url(""), loopback.url("/keys"));
    for (what, document, fault) in [
        ("good", json!({"issuer": ours, "jwks_uri": keys}), None),
        (
            "slash",
            json!({"issuer": format!("{ours}/"), "jwks_uri": keys}),
            Some("issuer_mismatch"),
        ),
        (
            "another",
            json!({"issuer": "https://evil.example", "jwks_uri": keys}),
            Some("issuer_mismatch"),
        ),
        (
            "list",
            json!({"issuer": [ours], "jwks_uri": keys}),
            Some("issuer_mismatch"),
        ),
        ("none", json!({"jwks_uri": keys}), Some("issuer_mismatch")),
        ("no keys", json!({"issuer": ours}), Some("discovery")),
        (
            "null for keys",
            json!({"issuer": ours, "jwks_uri": null}),
            Some("discovery"),
        ),
        (
            "null members",
            json!({"issuer": ours, "jwks_uri": keys, "userinfo_endpoint": null}),
            None,
        ),
        (
            "keys at a query",
            json!({"issuer": ours, "jwks_uri": format!("{keys}?p=b2c")}),
            None,
        ),
        (
            "keys in the clear",
            json!({"issuer": ours, "jwks_uri": "http://idp.example/keys"}),
            Some("insecure_url"),
        ),
        (
            "keys in a file",
            json!({"issuer": ours, "jwks_uri": "file:///etc/passwd"}),
            Some("insecure_url"),
        ),
    ] {
        *loopback.discovery.lock().unwrap() = Answer::json(document);
        let world = World::new();
        let settings = IssuerSettings {
            issuer: ours.clone(),
            ..issuer(KeySource::Discovery)
        };
        let identifier = world.identifier(&[settings], None);
        identifier.settled(PATIENCE).await;
        assert_eq!(
            identifier.readiness()[0].last_fault.map(FetchFault::code),
            fault,
            "{what}"
        );
        let expected = if fault.is_none() {
            Ok("ada".to_owned())
        } else {
            Err("keys_unavailable")
        };
        assert_eq!(
            verdict(&identifier, &RSA.token("RS256", "rs", json!({"iss": ours}))).await,
            expected,
            "{what}"
        );
    }
}

/// Scenario: keys that are only given to those who show a token, which is replaced while the gateway runs; and documents that
/// lead elsewhere. Guarantees: the file's token of that moment goes to the configured origin with every request, and to no
/// other; without a readable file nothing is asked; no message holds the token.
#[tokio::test]
async fn a_token_for_the_keys_goes_to_their_origin_alone() {
    let keys = || json!([RSA.jwk_with(json!({"kid": "rs"}))]);
    let (loopback, elsewhere) = (Loopback::start(keys()).await, Loopback::start(keys()).await);
    let folder = Folder::new();
    let token = folder.write("token", "canary-1\n");
    let access = KeyAccess {
        token: Some(SecretRef::File(token.clone())),
        ca: None,
    };
    let asked = |loopback: &Loopback| std::mem::take(&mut *loopback.shown.lock().unwrap());
    let shown = |path: &str, token: Option<&str>| {
        (
            path.to_owned(),
            token.map(|token| format!("Bearer {token}")),
        )
    };

    let world = World::new();
    let settings = IssuerSettings {
        key_access: access.clone(),
        ..issuer(KeySource::Url(loopback.url("/keys?a=b")))
    };
    let identifier = world.identifier(&[settings], None);
    identifier.settled(PATIENCE).await;
    assert_eq!(
        verdict(&identifier, &RSA.token("RS256", "rs", json!({}))).await,
        Ok("ada".to_owned())
    );
    assert_eq!(asked(&loopback), [shown("/keys", Some("canary-1"))]);
    folder.write("token", "canary-2");
    loopback.answer_with(Answer::keys(json!([P256.jwk_with(json!({"kid": "new"}))])));
    assert_eq!(
        verdict(&identifier, &P256.token("ES256", "new", json!({}))).await,
        Ok("ada".to_owned())
    );
    assert_eq!(
        asked(&loopback),
        [shown("/keys", Some("canary-2"))],
        "read anew for each request"
    );

    // Discovery: the document's host may see the token, and another that it names may not.
    loopback.answer_with(Answer::keys(keys()));
    let found = |uri: String| Answer::json(json!({"issuer": loopback.url(""), "jwks_uri": uri}));
    for (what, uri, ours, theirs) in [
        (
            "same origin",
            loopback.url("/keys"),
            vec![shown("/keys", Some("canary-2"))],
            vec![],
        ),
        (
            "another",
            elsewhere.url("/keys"),
            vec![],
            vec![shown("/keys", None)],
        ),
    ] {
        *loopback.discovery.lock().unwrap() = found(uri);
        let settings = IssuerSettings {
            issuer: loopback.url(""),
            key_access: access.clone(),
            ..issuer(KeySource::Discovery)
        };
        let world = World::new();
        let identifier = world.identifier(&[settings], None);
        identifier.settled(PATIENCE).await;
        assert!(identifier.readiness()[0].has_keys, "{what}");
        let first = shown("/.well-known/openid-configuration", Some("canary-2"));
        assert_eq!(asked(&loopback), [vec![first], ours].concat(), "{what}");
        assert_eq!(asked(&elsewhere), theirs, "{what}");
    }

    // A redirect is not followed, and what cannot be read is not sent.
    let away = Answer {
        status: 302,
        headers: vec![("location", elsewhere.url("/keys"))],
        body: String::new(),
    };
    for (what, content, answer, fault, requests) in [
        ("redirect", Some("canary-3"), Some(away), "status", 1),
        (
            "two lines",
            Some("canary\ncanary"),
            None,
            "token_unreadable",
            0,
        ),
        ("empty", Some(""), None, "token_unreadable", 0),
        (
            "large",
            Some(&*"c".repeat(17 << 10)),
            None,
            "token_unreadable",
            0,
        ),
        ("missing", None, None, "token_unreadable", 0),
    ] {
        match content {
            Some(content) => drop(folder.write("token", content)),
            None => std::fs::remove_file(&token).unwrap(),
        }
        loopback.answer_with(answer.unwrap_or_else(|| Answer::keys(keys())));
        let world = World::new();
        let source = KeySource::Url(loopback.url("/keys"));
        let identifier = world.identifier(
            &[IssuerSettings {
                key_access: access.clone(),
                ..issuer(source)
            }],
            None,
        );
        identifier.settled(PATIENCE).await;
        assert_eq!(
            identifier.readiness()[0].last_fault.map(FetchFault::code),
            Some(fault),
            "{what}"
        );
        assert_eq!(
            (asked(&loopback).len(), asked(&elsewhere).len()),
            (requests, 0),
            "{what}"
        );
        let told = format!("{:?}", world.events.lock().unwrap());
        assert!(
            told.contains("KeysRefreshFailed") && !told.contains("canary"),
            "{what}: {told}"
        );
    }
}
