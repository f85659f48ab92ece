//! JWT-SVIDs beside an OIDC issuer's tokens.
//!
//! What it does: presents tokens of both kinds, hostile ones among them, and changes what they are judged by. What it
//! refuses to know: policies. Invariant: a token is judged by the keys of one issuer, and never by those of another.

mod bundles;

use serde_json::{Value, json};

use super::super::forge::{
    Answer, ED, Folder, ISSUER, NOW, OTHER_RSA, P256, P384, RSA, TestKey, World, base64url, caller,
    claims, issuer,
};
use super::super::{
    IssuerSettings, JWT_SVID_ALGORITHMS, JWT_SVID_TYPES, KeySource, Method, TokensTaken,
};
use crate::accept::BundlePlace;

const ID: &str = "spiffe://prod.acme.example/ns/checkout/sa/otel";
const PARTNER: &str = "spiffe://partner.example/a";

/// An issuer of JWT-SVIDs, as the configuration makes it, with this bundle.
fn trust_domain(name: &str, domain: &str, folder: &Folder, keys: Value) -> IssuerSettings {
    let bundle = json!({"keys": keys, "spiffe_sequence": 7, "spiffe_refresh_hint": 300});
    let file = folder.write(&format!("{name}.json"), bundle.to_string());
    IssuerSettings {
        name: name.to_owned(),
        issuer: format!("spiffe://{domain}"),
        algorithms: JWT_SVID_ALGORITHMS.map(str::to_owned).to_vec(),
        types: JWT_SVID_TYPES.map(str::to_owned).to_vec(),
        tokens: TokensTaken::Any,
        ..issuer(KeySource::Bundle {
            bundle: BundlePlace::File(file),
            trust_domain: domain.to_owned(),
        })
    }
}

/// The claims of a JWT-SVID with these changes.
fn svid(changes: Value) -> Value {
    let mut all = json!({"iss": null, "sub": ID, "groups": null});
    all.as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    all
}

/// A JWT-SVID under a header of these members.
fn under(key: &TestKey, header: Value) -> String {
    let algorithm = header["alg"].as_str().unwrap().to_owned();
    key.token_of_texts(
        &algorithm,
        &header.to_string(),
        &claims(svid(json!({}))).to_string(),
    )
}

type Said<'a> = Result<(Method, &'a str, &'a str), &'static str>;

const MESH: Said<'_> = Ok((Method::JwtSvid, "mesh", ID));
const UNKNOWN: Said<'_> = Err("token_issuer_unknown");
const NO_KEY: Said<'_> = Err("token_key_unknown");

/// A token of the trust domain `prod.acme.example`, whose claims have these changes.
fn of(changes: Value) -> String {
    P256.token("ES256", "svid", svid(changes))
}

/// Shows each token to a room with two trust domains and an OIDC issuer.
async fn each(rows: Vec<(&str, String, Said<'_>)>) {
    let world = World::new();
    let folder = Folder::new();
    let bundle = json!([
        P256.jwk_with(json!({"kid": "svid", "use": "jwt-svid"})),
        P384.jwk_with(json!({"kid": "svid", "use": "x509-svid", "x5c": ["AA"]})),
        P384.jwk_with(json!({"kid": "plain", "use": "sig"})),
        P384.jwk_with(json!({"kid": "unused"})),
        P384.jwk_with(json!({"kid": "capitals", "use": "JWT-SVID"})),
        P384.jwk_with(json!({"kid": "x509", "use": "x509-svid", "x5c": ["AA"]})),
        P384.jwk_with(json!({"use": "jwt-svid"})),
        ED.jwk_with(json!({"kid": "ed", "use": "jwt-svid"})),
    ]);
    let keys = json!([
        RSA.jwk_with(json!({"kid": "rs"})),
        P384.jwk_with(json!({"kid": "svid", "use": "jwt-svid"}))
    ]);
    let oidc = issuer(KeySource::File(
        folder.write("jwks.json", Answer::keys(keys).body),
    ));
    let mesh = trust_domain("mesh", "prod.acme.example", &folder, bundle);
    let partner_keys = json!([OTHER_RSA.jwk_with(json!({"kid": "svid", "use": "jwt-svid"}))]);
    let partner = trust_domain("partner", "partner.example", &folder, partner_keys);
    let identifier = world.identifier(&[oidc, mesh, partner], None);
    for (what, token, expected) in rows {
        let said = identifier.identify(caller(Some(&token), None)).await;
        let said = said.as_ref().map(|identity| {
            let facts = identity.facts();
            assert!(
                facts.method == Method::Oidc || facts.groups.is_empty(),
                "{what}"
            );
            (facts.method, &*facts.issuer, &*facts.subject)
        });
        assert_eq!(
            said.map_err(|rejection| rejection.reason.code()),
            expected,
            "{what}"
        );
    }
}

/// Scenario: JWT-SVIDs and an OIDC issuer's tokens, with types and with `iss` of each kind. Guarantees: a JWT-SVID needs no
/// `iss` and no type; `iss` of a configured issuer leads there alone, and a SPIFFE ID as an OIDC subject is a text.
#[tokio::test]
async fn a_jwt_svid_goes_by_its_trust_domain() {
    each(vec![
        ("without `iss`", of(json!({})), MESH),
        (
            "of type JOSE",
            under(&P256, json!({"alg": "ES256", "kid": "svid", "typ": "JOSE"})),
            MESH,
        ),
        (
            "without a type",
            under(&P256, json!({"alg": "ES256", "kid": "svid"})),
            MESH,
        ),
        (
            "of type at+jwt",
            under(
                &P256,
                json!({"alg": "ES256", "kid": "svid", "typ": "at+jwt"}),
            ),
            Err("token_type"),
        ),
        (
            "of another type",
            under(
                &P256,
                json!({"alg": "ES256", "kid": "svid", "typ": "dpop+jwt"}),
            ),
            Err("token_type"),
        ),
        (
            "without `kid`, for the only key",
            under(&P256, json!({"alg": "ES256"})),
            MESH,
        ),
        (
            "with the `iss` of its server",
            of(json!({"iss": "https://spire.example"})),
            MESH,
        ),
        (
            "with the trust domain as `iss`",
            of(json!({"iss": "spiffe://prod.acme.example"})),
            MESH,
        ),
        (
            "with another trust domain as `iss`",
            of(json!({"iss": "spiffe://partner.example"})),
            MESH,
        ),
        (
            "with the `iss` of an OIDC issuer",
            of(json!({"iss": ISSUER})),
            NO_KEY,
        ),
        (
            "with an `iss` that is no text",
            of(json!({"iss": [ISSUER]})),
            UNKNOWN,
        ),
        ("with an empty `iss`", of(json!({"iss": ""})), MESH),
        (
            "an OIDC token",
            RSA.token("RS256", "rs", json!({})),
            Ok((Method::Oidc, "idp", "ada")),
        ),
        (
            "an OIDC token about a SPIFFE ID",
            RSA.token("RS256", "rs", json!({"sub": ID})),
            Ok((Method::Oidc, "idp", ID)),
        ),
        (
            "an OIDC token without `iss`",
            RSA.token("RS256", "rs", json!({"iss": null})),
            UNKNOWN,
        ),
    ])
    .await;
}

/// Scenario: JWT-SVIDs whose subjects, audiences and times are not as they must be. Guarantees: only the ID of a workload of
/// a configured trust domain is one, and `aud` and `exp` are demanded.
#[tokio::test]
async fn a_jwt_svid_says_who_it_is_and_for_whom() {
    each(vec![
        (
            "of a trust domain without issuer",
            of(json!({"sub": "spiffe://other.example/a"})),
            UNKNOWN,
        ),
        (
            "of another trust domain",
            of(json!({"sub": PARTNER})),
            Err("token_algorithm"),
        ),
        (
            "of another by its key",
            OTHER_RSA.token("RS256", "svid", svid(json!({}))),
            Err("token_algorithm"),
        ),
        (
            "the other's own",
            OTHER_RSA.token("RS256", "svid", svid(json!({"sub": PARTNER}))),
            Ok((Method::JwtSvid, "partner", PARTNER)),
        ),
        (
            "of a longer trust domain",
            of(json!({"sub": "spiffe://prod.acme.example.evil/a"})),
            UNKNOWN,
        ),
        (
            "of a shorter trust domain",
            of(json!({"sub": "spiffe://acme.example/a"})),
            UNKNOWN,
        ),
        (
            "with a user",
            of(json!({"sub": "spiffe://a@prod.acme.example/a"})),
            UNKNOWN,
        ),
        (
            "with a port",
            of(json!({"sub": "spiffe://prod.acme.example:443/a"})),
            UNKNOWN,
        ),
        (
            "in capitals",
            of(json!({"sub": "spiffe://PROD.acme.example/a"})),
            UNKNOWN,
        ),
        (
            "with the scheme in capitals",
            of(json!({"sub": "SPIFFE://prod.acme.example/a"})),
            UNKNOWN,
        ),
        (
            "of no workload",
            of(json!({"sub": "spiffe://prod.acme.example"})),
            Err("token_claims"),
        ),
        (
            "of the root",
            of(json!({"sub": "spiffe://prod.acme.example/"})),
            Err("token_claims"),
        ),
        (
            "with an empty segment",
            of(json!({"sub": "spiffe://prod.acme.example//a"})),
            Err("token_claims"),
        ),
        (
            "with dots",
            of(json!({"sub": "spiffe://prod.acme.example/a/../b"})),
            Err("token_claims"),
        ),
        (
            "with a dot",
            of(json!({"sub": "spiffe://prod.acme.example/./a"})),
            Err("token_claims"),
        ),
        (
            "with an escape",
            of(json!({"sub": "spiffe://prod.acme.example/a%2fb"})),
            Err("token_claims"),
        ),
        (
            "with a query",
            of(json!({"sub": "spiffe://prod.acme.example/a?b"})),
            Err("token_claims"),
        ),
        (
            "too long",
            of(json!({"sub": format!("spiffe://prod.acme.example/{}", "a".repeat(2048))})),
            Err("token_claims"),
        ),
        ("no SPIFFE ID", of(json!({"sub": "ada"})), UNKNOWN),
        ("without `sub`", of(json!({"sub": null})), UNKNOWN),
        ("with a list as `sub`", of(json!({"sub": [ID]})), UNKNOWN),
        (
            "without `aud`",
            of(json!({"aud": null})),
            Err("token_audience"),
        ),
        (
            "with an empty `aud`",
            of(json!({"aud": []})),
            Err("token_audience"),
        ),
        (
            "for another audience",
            of(json!({"aud": ["other"]})),
            Err("token_audience"),
        ),
        (
            "for several audiences",
            of(json!({"aud": ["other", "lightkeeper"]})),
            MESH,
        ),
        (
            "without `exp`",
            of(json!({"exp": null})),
            Err("token_claims"),
        ),
        (
            "with a text as `exp`",
            of(json!({"exp": (NOW + 300).to_string()})),
            Err("token_claims"),
        ),
        (
            "expired",
            of(json!({"exp": NOW - 60})),
            Err("token_expired"),
        ),
        (
            "for days",
            of(json!({"exp": NOW + 3 * 24 * 3600})),
            Err("token_lifetime"),
        ),
        (
            "with claims elsewhere",
            of(json!({"_claim_names": {"groups": "a"}})),
            Err("token_claims_elsewhere"),
        ),
        (
            "a logout token",
            of(json!({"events": {}})),
            Err("token_type"),
        ),
        ("with groups", of(json!({"groups": ["sre"]})), MESH),
    ])
    .await;
}
