//! Tokens under the settings of their issuer, and settings that change.
//!
//! What it does: shows good tokens under one setting after another. What it refuses to know: forgeries. Invariant: a token that
//! is remembered is judged by the settings of now.

use serde_json::json;

use super::super::forge::{
    Answer, Folder, NOW, OTHER_RSA, P256, RSA, World, caller, claims, issuer, verdict,
};
use super::super::{ClaimPath, Identifier, IssuerSettings, KeySource, TokensTaken};
use super::tokens::{key_set, room};
use crate::causes::chain;

#[tokio::test]
async fn configured_claims_are_the_ones_that_count() {
    let world = World::new();
    let (identifier, _folder) = room(&world, |settings| {
        settings.subject_claims = vec![ClaimPath::name("email")];
        settings.groups_claim = ClaimPath::name("https://acme.example/roles");
        settings.types = vec!["at+jwt".to_owned()];
    });
    let body =
        claims(json!({"email": "ada@acme.example", "email_verified": true, "https://acme.example/roles": ["ops"]}))
            .to_string();
    let strict = RSA.token_of_texts(
        "RS256",
        r#"{"alg":"RS256","kid":"rs","typ":"at+jwt"}"#,
        &body,
    );
    let identity = identifier
        .identify(caller(Some(&strict), None))
        .await
        .unwrap();
    assert_eq!(&*identity.facts().subject, "ada@acme.example");
    assert_eq!(&*identity.facts().issuer, "idp");
    assert_eq!(identity.facts().groups, ["ops"]);
    assert_eq!(identity.facts().expires_unix_seconds, NOW + 300);
    assert_eq!(identity.facts().claims["sub"], "ada");
    for header in [
        r#"{"alg":"RS256","kid":"rs","typ":"JWT"}"#,
        r#"{"alg":"RS256","kid":"rs"}"#,
    ] {
        let token = RSA.token_of_texts("RS256", header, &body);
        assert_eq!(
            verdict(&identifier, &token).await,
            Err("token_type"),
            "{header}"
        );
    }
}

/// Scenario: an access token and an ID token, signed alike and for the same audience, under each setting, and a reload that
/// changes it. Guarantees: the setting decides, also about tokens that were remembered.
#[tokio::test]
async fn an_issuer_says_which_of_its_tokens_are_taken() {
    let world = World::new();
    let (_, folder) = room(&world, |_| ());
    let header = |typ: &str| json!({"alg": "RS256", "kid": "rs", "typ": typ}).to_string();
    let access = RSA.token_of_texts(
        "RS256",
        &header("at+jwt"),
        &claims(json!({"client_id": "web"})).to_string(),
    );
    let id = RSA.token_of_texts(
        "RS256",
        &header("JWT"),
        &claims(json!({"nonce": "n", "azp": "web"})).to_string(),
    );
    let plain = RSA.token("RS256", "rs", json!({}));
    let mut before: Option<Identifier> = None;
    for (tokens, [of_access, of_id]) in [
        (TokensTaken::Any, [true, true]),
        (TokensTaken::Access, [true, false]),
        (TokensTaken::Id, [false, true]),
        (TokensTaken::Any, [true, true]),
    ] {
        let settings = IssuerSettings {
            tokens,
            ..issuer(KeySource::File(folder.join("jwks.json")))
        };
        let identifier = world.identifier(&[settings], before.as_ref());
        for (what, token, taken) in [
            ("access", &access, of_access),
            ("id", &id, of_id),
            ("plain", &plain, true),
        ] {
            let expected = if taken {
                Ok("ada".to_owned())
            } else {
                Err("token_type")
            };
            assert_eq!(
                verdict(&identifier, token).await,
                expected,
                "{what} under {tokens:?}"
            );
        }
        before = Some(identifier);
    }
}

/// Scenario: tokens around an issuer's own bound. Guarantees: the setting counts, and a token that was remembered under a
/// larger one is judged anew.
#[tokio::test]
async fn a_token_lives_no_longer_than_its_issuer_says() {
    let world = World::new();
    let hour = |settings: &mut IssuerSettings| {
        settings.max_lifetime = std::time::Duration::from_secs(3600)
    };
    let (strict, folder) = room(&world, hour);
    for (exp, expected) in [
        (NOW - 10 + 3900, Ok("ada".to_owned())),
        (NOW - 10 + 3901, Err("token_lifetime")),
    ] {
        assert_eq!(
            verdict(&strict, &P256.token("ES256", "p256", json!({"exp": exp}))).await,
            expected,
            "{exp}"
        );
    }
    let year = IssuerSettings {
        max_lifetime: std::time::Duration::from_secs(9000 * 3600),
        ..issuer(KeySource::File(folder.join("jwks.json")))
    };
    let patient = world.identifier(std::slice::from_ref(&year), Some(&strict));
    let long = P256.token("ES256", "p256", json!({"exp": NOW + 365 * 86_400}));
    assert_eq!(verdict(&patient, &long).await, Ok("ada".to_owned()));
    let mut settings = year;
    hour(&mut settings);
    assert_eq!(
        verdict(&world.identifier(&[settings], Some(&patient)), &long).await,
        Err("token_lifetime")
    );
}

#[tokio::test]
async fn a_remembered_token_does_not_outlive_its_evidence() {
    let world = World::new();
    let (identifier, folder) = room(&world, |_| ());
    let token = RSA.token("RS256", "rs", json!({}));
    assert_eq!(verdict(&identifier, &token).await, Ok("ada".to_owned()));
    assert_eq!(identifier.tokens.len(), 1);
    let first = identifier
        .identify(caller(Some(&token), None))
        .await
        .unwrap();
    let second = identifier
        .identify(caller(Some(&token), None))
        .await
        .unwrap();
    assert!(
        std::sync::Arc::ptr_eq(&first.facts, &second.facts),
        "the second answer comes from memory"
    );

    // A rejected token leaves nothing behind.
    assert_eq!(
        verdict(&identifier, &OTHER_RSA.token("RS256", "rs", json!({}))).await,
        Err("token_signature")
    );
    assert_eq!(identifier.tokens.len(), 1);

    // The leeway's last second, and the one after.
    world.move_to(NOW + 329);
    assert_eq!(verdict(&identifier, &token).await, Ok("ada".to_owned()));
    world.move_to(NOW + 330);
    assert_eq!(verdict(&identifier, &token).await, Err("token_expired"));
    assert_eq!(identifier.tokens.len(), 0);

    // The same settings again keep what was verified; other audiences or keys do not.
    world.move_to(NOW);
    assert_eq!(verdict(&identifier, &token).await, Ok("ada".to_owned()));
    let settings = issuer(KeySource::File(folder.join("jwks.json")));
    let again = world.identifier(std::slice::from_ref(&settings), Some(&identifier));
    let third = again.identify(caller(Some(&token), None)).await.unwrap();
    let kept = identifier
        .identify(caller(Some(&token), None))
        .await
        .unwrap();
    assert!(std::sync::Arc::ptr_eq(&third.facts, &kept.facts));
    let elsewhere = IssuerSettings {
        audiences: vec!["elsewhere".to_owned()],
        ..settings.clone()
    };
    assert_eq!(
        verdict(&world.identifier(&[elsewhere], Some(&again)), &token).await,
        Err("token_audience")
    );
    folder.write(
        "jwks.json",
        Answer::keys(json!([OTHER_RSA.jwk_with(json!({"kid": "new"}))])).body,
    );
    assert_eq!(
        verdict(&world.identifier(&[settings], Some(&again)), &token).await,
        Err("token_key_unknown")
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_told_all_at_once() {
    let world = World::new();
    let folder = Folder::new();
    let good = folder.write("jwks.json", Answer::keys(key_set()).body);
    let empty = folder.write("empty.json", r#"{"keys":[]}"#);
    let url = |url: &str| KeySource::Url(url.to_owned());
    let base = issuer(KeySource::File(good));
    let named = |name: &str, keys: KeySource| IssuerSettings {
        name: name.to_owned(),
        issuer: format!("https://{name}.example"),
        keys,
        ..base.clone()
    };
    let settings = [
        base.clone(),
        named("missing", KeySource::File(folder.join("nowhere.json"))),
        named("empty", KeySource::File(empty.clone())),
        named("plain", url("http://idp.example/keys")),
        IssuerSettings {
            issuer: "http://idp.example".to_owned(),
            ..named("discovery", KeySource::Discovery)
        },
        IssuerSettings {
            algorithms: vec!["HS256".to_owned()],
            ..named("symmetric", base.keys.clone())
        },
        IssuerSettings {
            audiences: Vec::new(),
            ..named("anybody", base.keys.clone())
        },
        IssuerSettings {
            ca: Some(empty),
            ..named("authority", url("https://idp.example/keys"))
        },
        IssuerSettings {
            issuer: base.issuer.clone(),
            ..named("twin", base.keys.clone())
        },
    ];
    let faults = Identifier::new(&settings, Vec::new(), world.surroundings.clone(), None)
        .err()
        .unwrap();
    let told: Vec<_> = faults
        .iter()
        .map(|fault| (fault.issuer.as_str(), chain(&fault.cause)))
        .collect();
    for (issuer, part) in [
        ("missing", "cannot be read"),
        ("empty", "keys_none_usable"),
        ("plain", "must be an `https` URL"),
        ("discovery", "must be an `https` URL"),
        ("symmetric", "`HS256` is no asymmetric signature algorithm"),
        ("anybody", "at least one audience"),
        ("authority", "`ca` holds no certificate"),
        ("twin", "`issuer` of `idp`"),
    ] {
        assert!(
            told.iter()
                .any(|(name, message)| *name == issuer && message.contains(part)),
            "{issuer}: {told:?}"
        );
    }
    assert_eq!(faults.len(), 8);
}

#[tokio::test]
async fn explained_claims_give_facts_and_no_identity() {
    let world = World::new();
    let (identifier, _folder) = room(&world, |_| ());
    let given = json!({"sub": "ada", "groups": ["sre"]})
        .as_object()
        .unwrap()
        .clone();
    let facts = identifier
        .identify_claims_for_explain("idp", given.clone())
        .unwrap();
    assert_eq!(
        (&*facts.issuer, &*facts.subject, facts.groups.len()),
        ("idp", "ada", 1)
    );
    assert_eq!(
        identifier
            .identify_claims_for_explain("nobody", given)
            .unwrap_err()
            .reason
            .code(),
        "token_issuer_unknown"
    );
    let nameless = json!({"groups": []}).as_object().unwrap().clone();
    assert_eq!(
        identifier
            .identify_claims_for_explain("idp", nameless)
            .unwrap_err()
            .reason
            .code(),
        "token_claims"
    );
}
