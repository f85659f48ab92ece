//! JWT-SVIDs and the bundles that verify them, also when those change.
//!
//! What it does: goes on with the parent's trust domains. What it refuses to know: what a JWT-SVID says. Invariant: every row
//! names the exact answer.

use super::*;
use crate::causes::chain;
use crate::identify::forge::verdict;

/// Scenario: tokens that are signed with keys of other issuers and for other purposes, in other algorithms, with shared
/// secrets and not at all. Guarantees: only a key of `use: jwt-svid` with an id, out of the bundle of the trust domain that
/// `sub` names, verifies a JWT-SVID, and no such key any other token.
#[tokio::test]
async fn a_jwt_svid_is_verified_by_its_trust_domains_bundle() {
    let symmetric = |secret: &[u8]| {
        let header = json!({"alg": "HS256", "kid": "svid", "typ": "JWT"}).to_string();
        let signed = format!(
            "{}.{}",
            base64url(header),
            base64url(claims(svid(json!({}))).to_string())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", base64url(tag.as_ref()))
    };
    let unsigned = format!(
        "{}.{}.",
        base64url(r#"{"alg":"none"}"#),
        base64url(claims(svid(json!({}))).to_string())
    );
    let (good, other) = (
        of(json!({})),
        of(json!({"sub": "spiffe://prod.acme.example/admin"})),
    );
    let swapped = format!(
        "{}.{}",
        other.rsplit_once('.').unwrap().0,
        good.rsplit_once('.').unwrap().1
    );
    each(vec![
        ("with another's signature", swapped, Err("token_signature")),
        (
            "by the OIDC issuer's key",
            RSA.token("RS256", "rs", svid(json!({}))),
            NO_KEY,
        ),
        (
            "by a key for signatures",
            P384.token("ES384", "plain", svid(json!({}))),
            NO_KEY,
        ),
        (
            "by a key for nothing",
            P384.token("ES384", "unused", svid(json!({}))),
            NO_KEY,
        ),
        (
            "by a key for JWT-SVID",
            P384.token("ES384", "capitals", svid(json!({}))),
            NO_KEY,
        ),
        (
            "by a certificate's key",
            P384.token("ES384", "x509", svid(json!({}))),
            NO_KEY,
        ),
        (
            "by a certificate's key of its `kid`",
            P384.token("ES384", "svid", svid(json!({}))),
            Err("token_algorithm"),
        ),
        (
            "by a key without an id",
            under(&P384, json!({"alg": "ES384"})),
            NO_KEY,
        ),
        (
            "by EdDSA",
            ED.token("EdDSA", "ed", svid(json!({}))),
            Err("token_algorithm"),
        ),
        (
            "said to be RSA",
            P256.token("RS256", "svid", svid(json!({}))),
            Err("token_algorithm"),
        ),
        (
            "said to be by another key",
            P256.token("ES256", "ed", svid(json!({}))),
            NO_KEY,
        ),
        (
            "with the public key as a secret",
            symmetric(P256.jwk().to_string().as_bytes()),
            Err("token_algorithm"),
        ),
        (
            "with an empty secret",
            symmetric(b""),
            Err("token_algorithm"),
        ),
        ("unsigned", unsigned, Err("token_algorithm")),
        (
            "an OIDC token by a JWT-SVID key",
            P384.token("ES384", "svid", json!({})),
            NO_KEY,
        ),
        (
            "an OIDC token by the bundle's key",
            P256.token("ES256", "svid", json!({"sub": ID})),
            NO_KEY,
        ),
    ])
    .await;
}

/// Scenario: claims as `explain` is given them. Guarantees: they are shown as of the issuer that would judge a token of them.
#[tokio::test]
async fn claims_are_explained_as_of_the_issuer_that_judges() {
    let world = World::new();
    let folder = Folder::new();
    let key = || json!([P256.jwk_with(json!({"kid": "svid", "use": "jwt-svid"}))]);
    let keys = json!([RSA.jwk_with(json!({"kid": "rs"}))]);
    let oidc = issuer(KeySource::File(
        folder.write("jwks.json", Answer::keys(keys).body),
    ));
    let mesh = trust_domain("mesh", "prod.acme.example", &folder, key());
    let identifier = world.identifier(&[oidc, mesh], None);
    for (claims, expected) in [
        (json!({"sub": ID}), Some("mesh")),
        (
            json!({"sub": ID, "iss": "https://spire.example"}),
            Some("mesh"),
        ),
        (json!({"sub": ID, "iss": ISSUER}), Some("idp")),
        (json!({"sub": ID, "iss": null}), None),
        (json!({"sub": PARTNER}), None),
        (json!({"sub": "ada"}), None),
        (json!({}), None),
    ] {
        assert_eq!(
            identifier.issuer_for_explain(claims.as_object().unwrap()),
            expected,
            "{claims}"
        );
    }
}

/// Scenario: a trust domain's bundle changes, and an OIDC issuer comes whose `iss` its tokens have.
/// Guarantees: what was verified under the configuration before is judged anew where its keys or its issuer are others.
#[tokio::test]
async fn verified_tokens_follow_bundle_and_issuers() {
    let world = World::new();
    let folder = Folder::new();
    let (one, two) = (
        json!([P256.jwk_with(json!({"kid": "svid", "use": "jwt-svid"}))]),
        json!([P384.jwk_with(json!({"kid": "next", "use": "jwt-svid"}))]),
    );
    let settings = |keys: &Value| trust_domain("mesh", "prod.acme.example", &folder, keys.clone());
    let token = P256.token(
        "ES256",
        "svid",
        svid(json!({"iss": "https://spire.example"})),
    );
    let next = P384.token("ES384", "next", svid(json!({})));
    let known = Ok(ID.to_owned());

    let first = world.identifier(&[settings(&one)], None);
    assert_eq!(verdict(&first, &token).await, known);
    let same = world.identifier(&[settings(&one)], Some(&first));
    assert_eq!(same.issuers(), first.issuers());
    assert_eq!(verdict(&same, &token).await, known);

    let rotated = world.identifier(&[settings(&two)], Some(&same));
    assert_eq!(verdict(&rotated, &token).await, Err("token_key_unknown"));
    assert_eq!(verdict(&rotated, &next).await, known);

    let back = world.identifier(&[settings(&one)], Some(&rotated));
    assert_eq!(verdict(&back, &token).await, known);
    let keys = folder.write(
        "jwks.json",
        Answer::keys(json!([RSA.jwk_with(json!({"kid": "rs"}))])).body,
    );
    let server = IssuerSettings {
        issuer: "https://spire.example".to_owned(),
        ..issuer(KeySource::File(keys))
    };
    let beside = world.identifier(&[settings(&one), server], Some(&back));
    assert_eq!(
        beside.issuers()["mesh"],
        back.issuers()["mesh"],
        "its keys are the same"
    );
    assert_eq!(verdict(&beside, &token).await, Err("token_key_unknown"));
}

/// Scenario: bundles that hold nothing for JWT-SVIDs, a trust domain twice, and one that an OIDC issuer has as its `iss`.
/// Guarantees: each is a fault.
#[tokio::test]
async fn what_cannot_be_an_issuer_of_jwt_svids_is_a_fault() {
    let world = World::new();
    let folder = Folder::new();
    let key = || json!([P256.jwk_with(json!({"kid": "svid", "use": "jwt-svid"}))]);
    let fault = |settings: &[IssuerSettings]| {
        let faults = crate::identify::Identifier::new(
            settings,
            Vec::new(),
            world.surroundings.clone(),
            None,
        )
        .err()
        .unwrap();
        faults
            .iter()
            .map(|fault| chain(&fault.cause))
            .collect::<Vec<_>>()
            .join("; ")
    };
    for (what, keys) in [
        ("none", json!([])),
        (
            "certificates' alone",
            json!([P256.jwk_with(json!({"kid": "a", "use": "x509-svid"}))]),
        ),
        ("no id", json!([P256.jwk_with(json!({"use": "jwt-svid"}))])),
        (
            "a number as id",
            json!([P256.jwk_with(json!({"kid": 1, "use": "jwt-svid"}))]),
        ),
        (
            "another algorithm",
            json!([ED.jwk_with(json!({"kid": "a", "use": "jwt-svid"}))]),
        ),
        (
            "a private key",
            json!([P256.jwk_with(json!({"kid": "a", "use": "jwt-svid", "d": "AA"}))]),
        ),
    ] {
        let said = fault(&[trust_domain("bad", "prod.acme.example", &folder, keys)]);
        assert!(
            said.contains("bad.json` is no usable key set"),
            "{what}: {said}"
        );
    }
    let mesh = trust_domain("mesh", "prod.acme.example", &folder, key());
    let again = trust_domain("again", "prod.acme.example", &folder, key());
    let keys = folder.write(
        "jwks.json",
        Answer::keys(json!([RSA.jwk_with(json!({"kid": "rs"}))])).body,
    );
    let named = IssuerSettings {
        issuer: mesh.issuer.clone(),
        ..issuer(KeySource::File(keys))
    };
    for other in [again, named] {
        assert!(fault(&[mesh.clone(), other]).contains("of `mesh`"));
    }
}
