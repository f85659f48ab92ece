//! Forged tokens and what is said to them.
//!
//! What it does: one table of tokens that hold, and tables of those that must not. What it refuses to
//! know: the network. Invariant: every refusal is for the expected reason, not for some other mistake.

use serde_json::{Value, json};

use super::super::forge::{
    Answer, ED, Folder, ISSUER, NOW, OTHER_RSA, P256, P384, P521, RSA, TestKey, World, base64url,
    caller, claims, issuer, verdict,
};
use super::super::{Identifier, IssuerSettings, KeySource, RejectionKind};
use crate::accept::{Carrier, Presented};

pub(super) fn key_set() -> Value {
    json!([
        RSA.jwk_with(json!({"kid": "rs", "use": "sig"})),
        RSA.jwk_with(json!({"kid": "rs384", "alg": "RS384"})),
        RSA.jwk_with(json!({"kid": "rs512", "alg": "RS512"})),
        RSA.jwk_with(json!({"kid": "ps256", "alg": "PS256"})),
        RSA.jwk_with(json!({"kid": "ps384", "alg": "PS384"})),
        RSA.jwk_with(json!({"kid": "ps512", "alg": "PS512"})),
        P256.jwk_with(json!({"kid": "p256", "key_ops": ["verify"]})),
        P384.jwk_with(json!({"kid": "p384"})),
        P521.jwk_with(json!({"kid": "p521"})),
        ED.jwk_with(json!({"kid": "ed"})),
        OTHER_RSA.jwk_with(json!({"kid": "twin"})),
        RSA.jwk_with(json!({"kid": "twin", "alg": "RS256"})),
        RSA.jwk_with(json!({"kid": "several", "alg": "RS256"})),
        RSA.jwk_with(json!({"kid": "several", "alg": "PS256"})),
        OTHER_RSA.jwk_with(json!({"kid": "encryption", "use": "enc"})),
        OTHER_RSA.jwk_with(json!({"kid": "signing-side", "key_ops": ["sign"]})),
        OTHER_RSA.jwk_with(json!({"kid": "leaked", "d": "AQAB"})),
        {"kty": "OKP", "crv": "Ed25519", "kid": "identity", "x": base64url(identity_point())},
        {"kty": "oct", "kid": "secret", "k": base64url("a secret of 32 bytes length ....")},
    ])
}

/// The neutral element of Ed25519, which as a key verifies the signature of itself and zero under every message.
fn identity_point() -> [u8; 32] {
    let mut point = [0; 32];
    point[0] = 1;
    point
}

/// A room with one issuer whose keys come from a file.
pub(super) fn room(
    world: &World,
    change: impl FnOnce(&mut IssuerSettings),
) -> (Identifier, Folder) {
    let folder = Folder::new();
    let path = folder.write("jwks.json", Answer::keys(key_set()).body);
    let mut settings = issuer(KeySource::File(path));
    change(&mut settings);
    (world.identifier(&[settings], None), folder)
}

#[tokio::test]
async fn every_algorithm_is_verified() {
    let world = World::new();
    let (identifier, _folder) = room(&world, |_| ());
    let rows: [(&TestKey, &str, &str); 13] = [
        (&RSA, "RS256", "rs"),
        (&RSA, "RS384", "rs384"),
        (&RSA, "RS512", "rs512"),
        (&RSA, "PS256", "ps256"),
        (&RSA, "PS384", "ps384"),
        (&RSA, "PS512", "ps512"),
        (&P256, "ES256", "p256"),
        (&P384, "ES384", "p384"),
        (&P521, "ES512", "p521"),
        (&ED, "EdDSA", "ed"),
        (&ED, "Ed25519", "ed"),
        (&RSA, "RS256", "several"),
        (&RSA, "PS256", "several"),
    ];
    for (key, algorithm, id) in rows {
        let token = key.token(algorithm, id, json!({}));
        assert_eq!(
            verdict(&identifier, &token).await,
            Ok("ada".to_owned()),
            "{algorithm}"
        );
        // One bit of the payload changed: the signature must notice, whatever the algorithm.
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let forged = format!(
            "{header}.{}.{signature}",
            base64url(claims(json!({"sub": "eve"})).to_string())
        );
        assert_eq!(
            verdict(&identifier, &forged).await,
            Err("token_signature"),
            "{algorithm}"
        );
    }
}

#[tokio::test]
async fn keys_and_algorithms_are_not_to_be_mixed() {
    let world = World::new();
    let (identifier, _folder) = room(&world, |_| ());
    let texts = |key: &TestKey, algorithm: &str, header: Value| {
        key.token_of_texts(
            algorithm,
            &header.to_string(),
            &claims(json!({})).to_string(),
        )
    };
    let unsigned = |header: Value| {
        format!(
            "{}.{}.AAAA",
            base64url(header.to_string()),
            base64url(claims(json!({})).to_string())
        )
    };
    let hmac_with_public_key = {
        let signed = format!(
            "{}.{}",
            base64url(json!({"alg": "HS256", "kid": "rs"}).to_string()),
            base64url(claims(json!({})).to_string())
        );
        let public = RSA.jwk()["n"].as_str().unwrap().to_owned();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", base64url(tag))
    };
    let signed_by_nobody = {
        let signed = unsigned(json!({"alg": "EdDSA", "kid": "identity"}))
            .trim_end_matches("AAAA")
            .to_owned();
        format!(
            "{signed}{}",
            base64url([identity_point(), [0; 32]].concat())
        )
    };
    let own_key = OTHER_RSA.jwk_with(json!({"kid": "rs"}));
    for (what, token, expected) in [
        (
            "wrong key",
            OTHER_RSA.token("RS256", "rs", json!({})),
            "token_signature",
        ),
        ("none", unsigned(json!({"alg": "none"})), "token_algorithm"),
        (
            "none in capitals",
            unsigned(json!({"alg": "NONE", "kid": "rs"})),
            "token_algorithm",
        ),
        (
            "public key as secret",
            hmac_with_public_key,
            "token_algorithm",
        ),
        (
            "another key's id",
            P256.token("ES256", "rs", json!({})),
            "token_algorithm",
        ),
        (
            "another algorithm of the same key",
            RSA.token("PS256", "rs", json!({})),
            "token_algorithm",
        ),
        (
            "weaker hash than the key's",
            RSA.token("RS256", "rs512", json!({})),
            "token_algorithm",
        ),
        (
            "curve of another key",
            P384.token("ES384", "p256", json!({})),
            "token_algorithm",
        ),
        ("key of small order", signed_by_nobody, "token_key_unknown"),
        (
            "one id, an algorithm that it is not for",
            RSA.token("RS384", "several", json!({})),
            "token_algorithm",
        ),
        (
            "unknown id",
            RSA.token("RS256", "nobody", json!({})),
            "token_key_unknown",
        ),
        (
            "doubled id",
            OTHER_RSA.token("RS256", "twin", json!({})),
            "token_key_unknown",
        ),
        (
            "encryption key",
            OTHER_RSA.token("RS256", "encryption", json!({})),
            "token_key_unknown",
        ),
        (
            "key for signing only",
            OTHER_RSA.token("RS256", "signing-side", json!({})),
            "token_key_unknown",
        ),
        (
            "published private key",
            OTHER_RSA.token("RS256", "leaked", json!({})),
            "token_key_unknown",
        ),
        (
            "shared secret",
            RSA.token("RS256", "secret", json!({})),
            "token_key_unknown",
        ),
        (
            "own key in the header",
            texts(
                &OTHER_RSA,
                "RS256",
                json!({"alg": "RS256", "kid": "rs", "jwk": own_key}),
            ),
            "token_signature",
        ),
        (
            "own key behind a URL",
            texts(
                &OTHER_RSA,
                "RS256",
                json!({"alg": "RS256", "kid": "evil", "jku": "http://127.0.0.1:9/jwks"}),
            ),
            "token_key_unknown",
        ),
        (
            "path as id",
            texts(
                &RSA,
                "RS256",
                json!({"alg": "RS256", "kid": "../../dev/null"}),
            ),
            "token_key_unknown",
        ),
    ] {
        assert_eq!(verdict(&identifier, &token).await, Err(expected), "{what}");
    }
    // Without an id only the sole key for the algorithm is meant: there is one for ES256, two for PS256.
    let nameless =
        |key: &TestKey, algorithm: &str| texts(key, algorithm, json!({"alg": algorithm}));
    assert_eq!(
        verdict(&identifier, &nameless(&P256, "ES256")).await,
        Ok("ada".to_owned())
    );
    let (several, _folder) = {
        let folder = Folder::new();
        let keys = json!([
            RSA.jwk_with(json!({"kid": "a"})),
            OTHER_RSA.jwk_with(json!({"kid": "b"}))
        ]);
        let path = folder.write("jwks.json", Answer::keys(keys).body);
        (
            world.identifier(&[issuer(KeySource::File(path))], None),
            folder,
        )
    };
    assert_eq!(
        verdict(&several, &nameless(&RSA, "RS256")).await,
        Err("token_key_unknown")
    );
}

#[tokio::test]
async fn headers_that_change_the_meaning_are_refused() {
    let world = World::new();
    let (identifier, _folder) = room(&world, |settings| {
        settings.algorithms.retain(|name| name != "RS512")
    });
    let usual = claims(json!({})).to_string();
    for (header, expected) in [
        (r#"{"alg":"RS256","kid":"rs"}"#, Ok("ada".to_owned())),
        (
            r#"{"alg":"RS256","kid":"rs","typ":"at+jwt"}"#,
            Ok("ada".to_owned()),
        ),
        (
            r#"{"alg":"RS256","kid":"rs","typ":"application/AT+JWT"}"#,
            Ok("ada".to_owned()),
        ),
        (
            r#"{"alg":"RS256","kid":"rs","typ":"dpop+jwt"}"#,
            Err("token_type"),
        ),
        (
            r#"{"alg":"RS256","kid":"rs","typ":"logout+jwt"}"#,
            Err("token_type"),
        ),
        (
            r#"{"alg":"RS256","kid":"rs","typ":"id_token"}"#,
            Err("token_type"),
        ),
        (
            r#"{"alg":"RS256","kid":"rs","crit":["exp"]}"#,
            Err("token_critical"),
        ),
        (
            r#"{"alg":"RS256","kid":"rs","crit":["b64"],"b64":false}"#,
            Err("token_critical"),
        ),
        (
            r#"{"alg":"RS256","kid":"rs","kid":"rs"}"#,
            Err("token_malformed"),
        ),
        (r#"{"alg":"RS256","kid":["rs"]}"#, Err("token_malformed")),
        (r#"{"alg":"RS512","kid":"rs512"}"#, Err("token_algorithm")),
    ] {
        let algorithm = if header.contains("RS512") {
            "RS512"
        } else {
            "RS256"
        };
        let token = RSA.token_of_texts(algorithm, header, &usual);
        assert_eq!(verdict(&identifier, &token).await, expected, "{header}");
    }
}

#[tokio::test]
async fn claims_are_checked_one_by_one() {
    let world = World::new();
    let (identifier, _folder) = room(&world, |_| ());
    let ok = || Ok("ada".to_owned());
    let many = |count: usize| {
        (0..count)
            .map(|number| format!("group-{number}"))
            .collect::<Vec<_>>()
    };
    for (changes, expected) in [
        (json!({}), ok()),
        (json!({"aud": ["other", "gateway"]}), ok()),
        (json!({"aud": null}), Err("token_audience")),
        (json!({"aud": []}), Err("token_audience")),
        (json!({"aud": "other"}), Err("token_audience")),
        (json!({"aud": "lightkeeper2"}), Err("token_audience")),
        (json!({"aud": "Lightkeeper"}), Err("token_audience")),
        (json!({"aud": ["lightkeeper", 1]}), Err("token_claims")),
        (json!({"aud": {"lightkeeper": true}}), Err("token_claims")),
        (json!({"iss": null}), Err("token_issuer_unknown")),
        (json!({"iss": [ISSUER]}), Err("token_issuer_unknown")),
        (
            json!({"iss": "https://idp.example"}),
            Err("token_issuer_unknown"),
        ),
        (
            json!({"iss": "https://IDP.example/"}),
            Err("token_issuer_unknown"),
        ),
        (
            json!({"iss": "https://evil.example/"}),
            Err("token_issuer_unknown"),
        ),
        (json!({"exp": null}), Err("token_claims")),
        (json!({"exp": (NOW + 300).to_string()}), Err("token_claims")),
        (json!({"exp": 1e300}), Err("token_claims")),
        (json!({"exp": -1}), Err("token_claims")),
        (json!({"exp": NOW - 29}), ok()),
        (json!({"exp": NOW - 30}), Err("token_expired")),
        (json!({"exp": 0}), Err("token_expired")),
        (json!({"exp": 1_800_000_300.5}), ok()),
        (json!({"nbf": NOW + 30}), ok()),
        (json!({"nbf": NOW + 31}), Err("token_not_yet_valid")),
        (json!({"nbf": "now"}), Err("token_claims")),
        (json!({"nbf": true}), Err("token_claims")),
        (json!({"iat": null}), ok()),
        (json!({"iat": NOW + 31}), Err("token_not_yet_valid")),
        (json!({"iat": []}), Err("token_claims")),
        (json!({"exp": NOW - 10 + 86_700}), ok()),
        (json!({"exp": NOW - 10 + 86_701}), Err("token_lifetime")),
        (json!({"exp": NOW + 300, "iat": NOW + 300 - 86_700}), ok()),
        (
            json!({"exp": NOW + 300, "iat": NOW + 300 - 86_701}),
            Err("token_lifetime"),
        ),
        (json!({"exp": NOW + 300, "iat": 0}), Err("token_lifetime")),
        (json!({"exp": 253_402_300_799_u64}), Err("token_lifetime")),
        (
            json!({"exp": 253_402_300_799_u64, "iat": null}),
            Err("token_lifetime"),
        ),
        (json!({"exp": NOW + 86_400, "iat": null}), ok()),
        (
            json!({"exp": NOW + 86_401, "iat": null}),
            Err("token_lifetime"),
        ),
        // What is over is over, however long it lived.
        (json!({"exp": NOW - 30, "iat": 0}), Err("token_expired")),
        (json!({"sub": null}), Err("token_claims")),
        (json!({"sub": ""}), Err("token_claims")),
        (json!({"sub": 7}), Err("token_claims")),
        (json!({"sub": "a\nb"}), Err("token_claims")),
        (json!({"sub": "x".repeat(1025)}), Err("token_claims")),
        (json!({"groups": null}), ok()),
        (json!({"groups": "sre"}), ok()),
        (json!({"groups": ""}), Err("token_claims")),
        (json!({"groups": "sre\nops"}), Err("token_claims")),
        (json!({"groups": many(1000)}), ok()),
        (json!({"groups": many(1001)}), Err("token_claims")),
        (json!({"groups": ["sre", 1]}), Err("token_claims")),
        (json!({"groups": {"sre": true}}), Err("token_claims")),
        (json!({"nonce": "n"}), Err("token_type")),
        (json!({"nonce": "n", "typ": "Bearer"}), ok()),
        (json!({"at_hash": "x"}), Err("token_type")),
        (json!({"c_hash": "x"}), Err("token_type")),
        (
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
            Err("token_type"),
        ),
        (json!({"token_use": "id"}), Err("token_type")),
        (json!({"token_use": "access"}), ok()),
        (json!({"typ": "ID"}), Err("token_type")),
        (json!({"typ": "Bearer"}), ok()),
        (json!({"cnf": {"jkt": "x"}}), Err("token_bound")),
        (
            json!({"cnf": {"x5t#S256": base64url([7; 32])}}),
            Err("token_bound"),
        ),
        (json!({"cnf": {"kid": "x"}}), Err("token_bound")),
        (json!({"cnf": {}}), Err("token_bound")),
        (json!({"cnf": "x"}), Err("token_claims")),
    ] {
        let token = P256.token("ES256", "p256", changes.clone());
        assert_eq!(verdict(&identifier, &token).await, expected, "{changes}");
    }
    let doubled = claims(json!({}))
        .to_string()
        .replacen('{', r#"{"sub":"eve","#, 1);
    let token = RSA.token_of_texts("RS256", r#"{"alg":"RS256","kid":"rs"}"#, &doubled);
    assert_eq!(verdict(&identifier, &token).await, Err("token_malformed"));
}

#[tokio::test]
async fn no_single_character_can_be_changed() {
    let world = World::new();
    let (identifier, _folder) = room(&world, |_| ());
    let token = P256.token("ES256", "p256", json!({}));
    assert_eq!(verdict(&identifier, &token).await, Ok("ada".to_owned()));
    for place in 0..token.len() {
        for other in ['A', 'B', '_', '.', '='] {
            let mut changed = token.clone().into_bytes();
            changed[place] = other as u8;
            let changed = String::from_utf8(changed).unwrap();
            if changed != token {
                assert!(
                    verdict(&identifier, &changed).await.is_err(),
                    "{other} at {place}"
                );
            }
        }
    }
    assert_eq!(identifier.tokens.len(), 1);
}

#[tokio::test]
async fn sizes_are_bounded_before_anything_is_read() {
    let world = World::new();
    let (identifier, _folder) = room(&world, |_| ());
    let padded = |filler: usize| RSA.token("RS256", "rs", json!({"x": "y".repeat(filler)}));
    let base = padded(0).len();
    let largest = (0..20_000_usize)
        .rev()
        .find(|filler| base + filler.div_ceil(3) * 4 < (16 << 10))
        .unwrap();
    assert_eq!(
        verdict(&identifier, &padded(largest)).await,
        Ok("ada".to_owned())
    );
    assert_eq!(
        verdict(&identifier, &padded(largest + 12)).await,
        Err("token_too_large")
    );
    assert_eq!(
        verdict(&identifier, &"a".repeat(60_000)).await,
        Err("token_too_large")
    );
}

#[tokio::test]
async fn nothing_shown_is_told_apart_from_something_refused() {
    let world = World::new();
    let (identifier, _folder) = room(&world, |_| ());
    let nothing = identifier.identify(caller(None, None)).await.unwrap_err();
    assert_eq!(
        (nothing.kind, nothing.reason.code()),
        (RejectionKind::NotPresented, "no_credential")
    );
    let garbage = identifier
        .identify(caller(Some("garbage"), None))
        .await
        .unwrap_err();
    assert_eq!(
        (garbage.kind, garbage.reason.code()),
        (RejectionKind::Rejected, "token_malformed")
    );
    // In Lightstep's own header an opaque token is no credential of ours; a signed one is.
    let good = RSA.token("RS256", "rs", json!({}));
    for (token, expected) in [
        ("0123456789abcdef", Err("no_credential")),
        ("a.b.c", Err("token_malformed")),
        (good.as_str(), Ok("ada".to_owned())),
    ] {
        let mut who = caller(None, None);
        who.token = Some(Presented::new(
            token.parse().unwrap(),
            0,
            Carrier::AccessToken,
        ));
        let answer = identifier.identify(who).await;
        let answer = answer
            .map(|identity| identity.facts().subject.to_string())
            .map_err(|rejection| rejection.reason.code());
        assert_eq!(answer, expected);
    }
}
