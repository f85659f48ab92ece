//! Tokens in the header of a proxy's assertions: whose they are, and where they count.
//!
//! What it does: presents tokens as assertions and as clients' own. What it refuses to know: heads. Invariant: every row says
//! what stands where, and the exact answer.

use std::sync::Arc;

use http::HeaderValue;
use serde_json::json;

use super::super::forge::{Answer, Folder, ISSUER, OTHER_RSA, RSA, World, caller, issuer};
use super::super::{
    ClientTokenHash, ClientTokenSettings, ClientVerifier, Identifier, IssuerSettings, KeySource,
    Method, WebhookSettings,
};
use super::authority::Authority;
use crate::accept::{AssertionHeader, Caller, Carrier, ClientChain, Presented};
use crate::apps::AppPath;
use crate::secret::SecretRef;

const IAP: &str = "x-goog-iap-jwt-assertion";
const ACCESS: &str = "cf-access-jwt-assertion";
const SECRET: &str = "secret-of-shop-0123";

/// What a caller shows in `Authorization` (`""`) or in an assertion's header.
fn shows(place: &str, token: &str, certificate: Option<Arc<ClientChain>>) -> Caller {
    if place.is_empty() {
        return caller(Some(token), certificate);
    }
    let carrier = Carrier::Assertion(AssertionHeader::parse(place).unwrap());
    let token = Presented::new(HeaderValue::from_str(token).unwrap(), 0, carrier);
    Caller {
        token: Some(token),
        ..caller(None, certificate)
    }
}

/// Three issuers with the same keys: two name a header, one does not.
fn settings(folder: &Folder) -> [IssuerSettings; 3] {
    let keys = Answer::keys(json!([RSA.jwk_with(json!({"kid": "k"}))])).body;
    let base = issuer(KeySource::File(folder.write("jwks.json", keys)));
    let other = |name: &str, header: Option<&str>| IssuerSettings {
        name: name.to_owned(),
        issuer: format!("https://{name}.example"),
        header: header.map(|header| AssertionHeader::parse(header).unwrap()),
        ..base.clone()
    };
    [
        IssuerSettings {
            header: AssertionHeader::parse(IAP).ok(),
            ..base.clone()
        },
        other("access", Some(ACCESS)),
        other("bare", None),
    ]
}

async fn said(identifier: &Identifier, caller: Caller) -> Result<(String, Method), &'static str> {
    let identity = identifier.identify(caller).await;
    let facts = identity
        .as_ref()
        .map(|identity| identity.facts())
        .map_err(|rejection| rejection.reason.code())?;
    Ok((facts.issuer.to_string(), facts.method))
}

/// Scenario: tokens of issuers that name a header, that name another and that name none, and evidence of every other kind, in each
/// header and in `Authorization`; twice, so that the second round may be answered from memory. Guarantees: an assertion counts for
/// the issuers alone that name its header, by their rules; a client token, webhook's secret or session is nothing there.
#[tokio::test]
async fn an_assertion_counts_for_the_issuers_that_name_its_header() {
    let (world, folder) = (World::new(), Folder::new());
    let php = ClientTokenSettings {
        name: "php".to_owned(),
        hash: ClientTokenHash::of(b"lk_fixed"),
        binding: "pods".to_owned(),
        until_unix_seconds: None,
    };
    let identifier = world
        .identifier(&settings(&folder), None)
        .with_client_tokens(&[php]);
    let of = |iss: &str| RSA.token("RS256", "k", json!({ "iss": iss }));
    let (iap, access, bare) = (
        of(ISSUER),
        of("https://access.example"),
        of("https://bare.example"),
    );
    let with = |changes| RSA.token("RS256", "k", changes);
    let scheme = format!("Bearer {iap}");
    let large = "x".repeat((16 << 10) + 1);
    let id_token = with(json!({"at_hash": "h"}));
    let forged = OTHER_RSA.token("RS256", "k", json!({}));
    let (elsewhere, expired, stranger) = (
        with(json!({"aud": "other"})),
        with(json!({"exp": 1})),
        of("https://stranger.example"),
    );
    let list = format!("{iap}, {iap}");
    let ok = |issuer: &str, method| Ok((issuer.to_owned(), method));
    for round in 0..2 {
        for (place, token, expected) in [
            (IAP, &*iap, ok("idp", Method::Assertion)),
            (ACCESS, &access, ok("access", Method::Assertion)),
            ("", &iap, ok("idp", Method::Oidc)),
            ("", &access, ok("access", Method::Oidc)),
            ("", &bare, ok("bare", Method::Oidc)),
            (ACCESS, &iap, Err("token_place")),
            (IAP, &access, Err("token_place")),
            (IAP, &bare, Err("token_place")),
            (ACCESS, &bare, Err("token_place")),
            ("x-of-no-issuer", &iap, Err("token_place")),
            (IAP, &stranger, Err("token_issuer_unknown")),
            (IAP, &elsewhere, Err("token_audience")),
            (IAP, &expired, Err("token_expired")),
            (IAP, &forged, Err("token_signature")),
            (IAP, &id_token, Err("token_type")),
            (IAP, &scheme, Err("token_malformed")),
            (IAP, &list, Err("token_malformed")),
            (IAP, "", Err("token_malformed")),
            (IAP, "opaque", Err("token_malformed")),
            (IAP, "lk_fixed", Err("token_malformed")),
            (IAP, "lk_other", Err("token_malformed")),
            (IAP, SECRET, Err("token_malformed")),
            (
                IAP,
                "v1.sealed.session.of-a-browser",
                Err("token_malformed"),
            ),
            (IAP, &large, Err("token_too_large")),
        ] {
            let token_shown = token.get(..60).unwrap_or(token);
            assert_eq!(
                said(&identifier, shows(place, token, None)).await,
                expected,
                "{place}: {token_shown}, {round}"
            );
        }
    }
    let fixed = said(&identifier, shows("", "lk_fixed", None)).await;
    assert_eq!(fixed, ok("client_tokens", Method::ClientToken));
    let facts = identifier
        .identify(shows(IAP, &iap, None))
        .await
        .unwrap()
        .facts()
        .clone();
    assert_eq!(
        (facts.method.name(), &*facts.subject, facts.groups.len()),
        ("assertion", "ada", 2)
    );
}

/// Scenario: an assertion at an alert inlet, also one that is a secret of the app. Guarantees: none opens it.
#[tokio::test]
async fn an_assertion_opens_no_inlet() {
    let (world, folder) = (World::new(), Folder::new());
    let app = AppPath::parse("shop").unwrap();
    let secrets = vec![SecretRef::File(folder.write("secret", SECRET))];
    let known = [WebhookSettings {
        app: app.clone(),
        secrets,
    }];
    let identifier = world
        .identifier(&settings(&folder), None)
        .with_webhooks(&known)
        .unwrap();
    for token in [SECRET, &RSA.token("RS256", "k", json!({}))] {
        let refused = identifier
            .identify_webhook(shows(IAP, token, None), &app)
            .unwrap_err();
        assert_eq!(refused.reason.code(), "webhook_evidence");
    }
    assert!(
        identifier
            .identify_webhook(shows("", SECRET, None), &app)
            .is_ok()
    );
}

/// Scenario: a proxy shows its own certificate and adds an assertion. Guarantees: both must hold, the assertion says who it
/// is, and a bad one is not made good by the certificate.
#[tokio::test]
async fn a_proxys_certificate_vouches_for_no_assertion() {
    let (world, folder) = (World::new(), Folder::new());
    let authority = Authority::new("acme", |_| ());
    let verifier = ClientVerifier::new(
        "gateway",
        authority.trust(None),
        world.surroundings.events.clone(),
    );
    let identifier = Identifier::new(
        &settings(&folder),
        vec![verifier],
        world.surroundings.clone(),
        None,
    )
    .unwrap();
    let proxy = authority.workload(1);
    let foreign = Authority::new("evil", |_| ()).workload(3);
    let (good, bare) = (
        RSA.token("RS256", "k", json!({})),
        json!({"iss": "https://bare.example"}),
    );
    let (expired, bare) = (
        RSA.token("RS256", "k", json!({"exp": 1})),
        RSA.token("RS256", "k", bare),
    );
    for (token, certificate, expected) in [
        (&good, &proxy, Ok(("idp".to_owned(), Method::Assertion))),
        (&expired, &proxy, Err("token_expired")),
        (&bare, &proxy, Err("token_place")),
        (&good, &foreign, Err("certificate_untrusted")),
    ] {
        assert_eq!(
            said(&identifier, shows(IAP, token, Some(certificate.clone()))).await,
            expected
        );
    }
    let facts = identifier
        .identify(shows(IAP, &good, Some(proxy)))
        .await
        .unwrap()
        .facts()
        .clone();
    assert_eq!(
        (&*facts.subject, facts.certificate.is_some()),
        ("ada", true)
    );
}

/// Scenario: the configuration names another header, then none, and the token is remembered. Guarantees: where it stood it
/// counts no more, from the first call on.
#[tokio::test]
async fn a_header_that_is_withdrawn_counts_no_more() {
    let (world, folder) = (World::new(), Folder::new());
    let token = RSA.token("RS256", "k", json!({}));
    let [usual, ..] = settings(&folder);
    let first = world.identifier(std::slice::from_ref(&usual), None);
    assert!(said(&first, shows(IAP, &token, None)).await.is_ok());
    let moved = IssuerSettings {
        header: AssertionHeader::parse(ACCESS).ok(),
        ..usual.clone()
    };
    let second = world.identifier(&[moved], Some(&first));
    assert_eq!(
        said(&second, shows(IAP, &token, None)).await,
        Err("token_place")
    );
    assert!(said(&second, shows(ACCESS, &token, None)).await.is_ok());
    let third = world.identifier(
        &[IssuerSettings {
            header: None,
            ..usual
        }],
        Some(&second),
    );
    assert!(third.assertion_headers().is_empty());
    for place in [IAP, ACCESS] {
        assert_eq!(
            said(&third, shows(place, &token, None)).await,
            Err("token_place")
        );
    }
    assert_eq!(
        said(&third, shows("", &token, None)).await,
        Ok(("idp".to_owned(), Method::Oidc))
    );
}
