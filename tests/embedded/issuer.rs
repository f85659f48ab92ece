//! The embedded issuer, seen through other people's software: the `openidconnect` client for the flows and
//! `jsonwebtoken` for the signatures. What it refuses to know: the gateway.

use std::collections::HashMap;

use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use lightkeeper::clock::{Clock, UnixMillis};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse, IssuerUrl,
    Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, RedirectUrl, Scope, TokenResponse as _,
};
use serde_json::{Value, json};
use testkit::issuer::IssuerFault;
use testkit::{Algorithm, CallFault, DevelopmentCertificates, Issuer, IssuerOptions, SampleCaller};

/// What `openidconnect` wants for its requests.
async fn carry(request: HttpRequest) -> Result<HttpResponse, hyper_util::client::legacy::Error> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let (head, body) = client
        .request(request.map(|body| Full::new(body.into())))
        .await?
        .into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Ok(HttpResponse::from_parts(head, body))
}

/// Verifies a token as an honest verifier would: the key by `kid` from the published set.
fn verify(issuer: &Issuer, token: &str) -> Result<Value, String> {
    let header = decode_header(token).map_err(|error| error.to_string())?;
    let keys: jsonwebtoken::jwk::JwkSet =
        serde_json::from_value(issuer.jwks()).map_err(|error| error.to_string())?;
    let key = keys
        .find(header.kid.as_deref().unwrap_or_default())
        .ok_or("unknown kid")?;
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&["lightkeeper"]);
    validation.set_issuer(&[issuer.url()]);
    let key = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
    decode::<Value>(token, &key, &validation)
        .map(|token| token.claims)
        .map_err(|error| format!("{:?}", error.kind()))
}

async fn every_algorithm() -> Issuer {
    // All that jsonwebtoken knows; ES512 it does not.
    let algorithms = Algorithm::HONEST
        .into_iter()
        .filter(|algorithm| *algorithm != Algorithm::Es512)
        .collect();
    Issuer::start_with(IssuerOptions {
        algorithms,
        ..IssuerOptions::default()
    })
    .await
    .unwrap()
}

/// Scenario: a token of each algorithm, checked against the published key.
/// Guarantees: keys and signatures belong together, and `kid`s can be foretold.
#[tokio::test]
async fn tokens_of_every_algorithm_verify() {
    let issuer = every_algorithm().await;
    for algorithm in Algorithm::HONEST
        .into_iter()
        .filter(|algorithm| *algorithm != Algorithm::Es512)
    {
        let token = issuer.mint(issuer.claims_of("ann"), algorithm);
        let claims =
            verify(&issuer, &token).unwrap_or_else(|error| panic!("{}: {error}", algorithm.name()));
        assert_eq!(
            (&claims["sub"], &claims["groups"]),
            (&json!("ann@acme.example"), &json!(["shop-developers"]))
        );
        let kid = format!("{}-1", algorithm.name().to_lowercase());
        assert_eq!(decode_header(&token).unwrap().kid, Some(kid));
    }
}

/// Scenario: forged tokens in a table. Guarantees: what claims to be broken is broken, for the reason named.
#[tokio::test]
async fn forged_tokens_fail_for_the_reason_intended() {
    let issuer = Issuer::start().await.unwrap();
    let other = Issuer::start().await.unwrap();
    let claims = || issuer.claims("x");
    let rs256 = Algorithm::Rs256;
    let claims_text = Value::from(claims()).to_string();
    for (token, reason) in [
        (
            issuer.mint(claims().audience("somebody-else"), rs256),
            "InvalidAudience",
        ),
        (
            issuer.mint(claims().expires_in(-3600), rs256),
            "ExpiredSignature",
        ),
        (
            issuer.mint(claims().without("exp"), rs256),
            "MissingRequiredClaim(\"exp\")",
        ),
        (
            issuer.mint(claims().issuer("https://evil.example"), rs256),
            "InvalidIssuer",
        ),
        (
            issuer.mint_with(json!({ "kid": "rs256-9" }), claims(), rs256),
            "unknown kid",
        ),
        (
            issuer.mint_with(json!({ "kid": null }), claims(), rs256),
            "unknown kid",
        ),
        (other.mint(claims(), rs256), "InvalidSignature"),
        (
            issuer.mint_with(
                json!({ "kid": issuer.kid(rs256) }),
                claims(),
                Algorithm::Hs256,
            ),
            "InvalidKeyFormat",
        ),
        (
            issuer.mint_raw(
                "{\"alg\":\"RS256\",\"kid\":\"rs256-1\"}",
                &claims_text,
                Algorithm::Es256,
            ),
            "InvalidSignature",
        ),
    ] {
        let answer = verify(&issuer, &token).unwrap_err();
        assert!(answer.contains(reason), "{answer} instead of {reason}");
    }
    let unsigned = issuer.mint(claims(), Algorithm::Unsigned);
    assert!(
        unsigned.ends_with('.') && unsigned.split('.').count() == 3,
        "{unsigned}"
    );
}

/// Scenario: the RSA key's PEM text as an HMAC secret. Guarantees: a verifier that takes `alg` from the token
/// would be fooled by our `Hs256`, so that it is a test of one.
#[tokio::test]
async fn the_key_confusion_forgery_is_a_real_one() {
    let issuer = Issuer::start().await.unwrap();
    let token = issuer.mint(issuer.claims("x"), Algorithm::Hs256);
    let key = jsonwebtoken::DecodingKey::from_secret(issuer.rsa_public_pem().as_bytes());
    let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.set_audience(&["lightkeeper"]);
    assert_eq!(
        decode::<Value>(&token, &key, &validation).unwrap().claims["sub"],
        "x"
    );
}

/// Scenario: keys are rotated with and without the old ones. Guarantees: the published set follows.
#[tokio::test]
async fn rotation_replaces_or_adds_keys() {
    let issuer = Issuer::start().await.unwrap();
    let kids = || -> Vec<String> {
        let jwks = issuer.jwks();
        jwks["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    };
    let old = issuer.token("ann");
    assert_eq!(kids(), ["rs256-1", "es256-1"]);
    issuer.rotate(true).unwrap();
    assert_eq!(kids(), ["rs256-2", "es256-2", "rs256-1", "es256-1"]);
    assert!(verify(&issuer, &old).is_ok() && verify(&issuer, &issuer.token("ann")).is_ok());
    issuer.rotate(false).unwrap();
    assert_eq!(kids(), ["rs256-3", "es256-3"]);
    assert_eq!(verify(&issuer, &old).unwrap_err(), "unknown kid");
}

async fn web_client(issuer: &Issuer) -> (CoreProviderMetadata, ClientId, RedirectUrl) {
    let url = IssuerUrl::new(issuer.url().to_owned()).unwrap();
    let metadata = CoreProviderMetadata::discover_async(url, &carry)
        .await
        .unwrap();
    (
        metadata,
        ClientId::new("lightkeeper-web".into()),
        RedirectUrl::new("http://127.0.0.1:9/callback".into()).unwrap(),
    )
}

/// Follows the redirect's query.
fn answered(location: &str) -> HashMap<String, String> {
    let pairs = location
        .split_once('?')
        .unwrap()
        .1
        .split('&')
        .map(|pair| pair.split_once('=').unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Scenario: a browser login as `openidconnect` does it: discovery, code with PKCE, ID token, userinfo's
/// subject, refresh; then the code again. Guarantees: the flow is whole, and a code works once.
#[tokio::test]
async fn a_person_logs_in_with_code_and_pkce() {
    let issuer = Issuer::start().await.unwrap();
    let (metadata, id, redirect) = web_client(&issuer).await;
    let client = CoreClient::from_provider_metadata(metadata, id, None).set_redirect_uri(redirect);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        )
        .add_scope(Scope::new("offline_access".into()))
        .add_extra_param("login_hint", "ann")
        .set_pkce_challenge(challenge)
        .url();
    let browser = SampleCaller::new(issuer.url());
    let path = format!("{}?{}", url.path(), url.query().unwrap());
    let page = browser.get(&path).await.unwrap();
    assert_eq!(page.status, 303);
    let location = page.header("location").unwrap();
    assert!(
        location.starts_with("http://127.0.0.1:9/callback?"),
        "{location}"
    );
    let pairs = answered(&location);
    assert_eq!(&pairs["state"], state.secret());

    let secret = verifier.secret().to_owned();
    let code = || AuthorizationCode::new(pairs["code"].clone());
    let exchange = client
        .exchange_code(code())
        .unwrap()
        .set_pkce_verifier(verifier);
    let tokens = exchange.request_async(&carry).await.unwrap();
    let claims = tokens
        .id_token()
        .unwrap()
        .claims(&client.id_token_verifier(), &nonce)
        .unwrap();
    assert_eq!(claims.subject().as_str(), "ann@acme.example");
    assert_eq!(
        verify(&issuer, tokens.access_token().secret()).unwrap()["groups"],
        json!(["shop-developers"])
    );
    assert_eq!(
        decode_header(tokens.access_token().secret())
            .unwrap()
            .typ
            .unwrap(),
        "at+jwt"
    );

    let person = browser
        .clone()
        .bearer(tokens.access_token().secret())
        .get("/userinfo")
        .await
        .unwrap();
    assert_eq!(person.json().unwrap()["email"], "ann@acme.example");
    let refreshed = client
        .exchange_refresh_token(tokens.refresh_token().unwrap())
        .unwrap();
    let refreshed = refreshed.request_async(&carry).await.unwrap();
    assert!(verify(&issuer, refreshed.access_token().secret()).is_ok());

    let again = client.exchange_code(code()).unwrap();
    let again = again
        .set_pkce_verifier(openidconnect::PkceCodeVerifier::new(secret))
        .request_async(&carry)
        .await;
    assert!(again.unwrap_err().to_string().contains("error response"));
}

/// Scenario: authorization requests and code exchanges that must fail, in a table.
/// Guarantees: PKCE S256 is required, no foreign redirect, no stranger gets in.
#[tokio::test]
async fn bad_logins_are_refused() {
    let issuer = Issuer::start().await.unwrap();
    let browser = SampleCaller::new(issuer.url());
    let good = "response_type=code&client_id=lightkeeper-web&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fc&state=s\
                &code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&login_hint=ann";
    for (from, to, status, error) in [
        ("S256", "plain", 303, "invalid_request"),
        ("&code_challenge=", "&x=", 303, "invalid_request"),
        ("=code", "=token", 303, "unsupported_response_type"),
        ("=ann", "=nobody", 303, "access_denied"),
        ("=ann", "=terraform", 303, "access_denied"),
        ("&login_hint=ann", "&prompt=none", 303, "login_required"),
        ("127.0.0.1", "evil.example", 400, ""),
        ("=lightkeeper", "=other", 400, ""),
    ] {
        let page = browser
            .get(&format!("/authorize?{}", good.replacen(from, to, 1)))
            .await
            .unwrap();
        assert_eq!(page.status, status, "{to}");
        match page.header("location") {
            Some(location) => assert_eq!(answered(&location)["error"], error, "{to}"),
            None => assert_eq!(error, "", "{to}"),
        }
    }
    let page = browser
        .get(&format!(
            "/authorize?{}",
            good.replace("&login_hint=ann", "")
        ))
        .await
        .unwrap();
    assert!(page.status == 200 && page.text().contains("<button name=user value=\"ann\">"));

    // RFC 7636 appendix B's pair: the challenge above belongs to this verifier.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let redirect = "http%3A%2F%2F127.0.0.1%3A9%2Fc";
    for (verifier, redirect, client, status) in [
        (verifier, redirect, "lightkeeper-web", 200),
        (
            &verifier.replace('d', "e"),
            redirect,
            "lightkeeper-web",
            400,
        ),
        ("", redirect, "lightkeeper-web", 400),
        (
            verifier,
            "http%3A%2F%2F127.0.0.1%3A9%2Fd",
            "lightkeeper-web",
            400,
        ),
        (verifier, redirect, "terraform", 401),
    ] {
        let page = browser.get(&format!("/authorize?{good}")).await.unwrap();
        let code = answered(&page.header("location").unwrap())["code"].clone();
        let form = format!(
            "grant_type=authorization_code&client_id={client}&code={code}&redirect_uri={redirect}&code_verifier={verifier}"
        );
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let answer = browser
            .send(http::Method::POST, "/token", &kind, form.into_bytes())
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{verifier} {redirect} {client}");
    }
}

/// Scenario: a workload fetches a token with its secret, and with a wrong one.
#[tokio::test]
async fn a_workload_fetches_a_token() {
    let issuer = Issuer::start().await.unwrap();
    let (metadata, _, _) = web_client(&issuer).await;
    for (secret, good) in [("checkout-collector-secret", true), ("wrong", false)] {
        let id = ClientId::new("checkout-collector".into());
        let client = CoreClient::from_provider_metadata(
            metadata.clone(),
            id,
            Some(ClientSecret::new(secret.into())),
        );
        let answer = client
            .exchange_client_credentials()
            .unwrap()
            .request_async(&carry)
            .await;
        assert_eq!(answer.is_ok(), good, "{secret}");
        if let Ok(tokens) = answer {
            let claims = verify(&issuer, tokens.access_token().secret()).unwrap();
            assert_eq!(claims["sub"], "system:serviceaccount:checkout:collector");
        }
    }
}

/// Scenario: the issuer fails in each of its ways, stops and comes back.
/// Guarantees: fetches are counted whatever is answered; a stopped issuer refuses connections.
#[tokio::test]
async fn the_issuer_fails_on_request() {
    let issuer = Issuer::start().await.unwrap();
    let caller = SampleCaller::new(issuer.url());
    issuer.set_down(true);
    assert_eq!(caller.get("/jwks").await.unwrap().status, 503);
    issuer.fail(Some(IssuerFault::Garbage));
    assert!(caller.get("/jwks").await.unwrap().json().is_none());
    issuer.fail(Some(IssuerFault::Huge(100_000)));
    assert_eq!(caller.get("/jwks").await.unwrap().body.len(), 100_000);
    issuer.fail(Some(IssuerFault::Close));
    assert!(matches!(
        caller.get("/jwks").await.unwrap_err(),
        CallFault::NoAnswer(_)
    ));
    issuer.fail(None);
    assert_eq!(
        caller.get("/jwks").await.unwrap().json().unwrap(),
        issuer.jwks()
    );
    assert_eq!((issuer.jwks_fetches(), issuer.discovery_fetches()), (5, 0));
    issuer.stop().await;
    assert!(matches!(
        caller.get("/jwks").await.unwrap_err(),
        CallFault::Connect(_)
    ));
    issuer.restart().await.unwrap();
    assert_eq!(caller.get("/jwks").await.unwrap().status, 200);
    issuer.set_jwks(Some(json!({ "keys": [] })));
    assert_eq!(
        caller.get("/jwks").await.unwrap().json().unwrap(),
        json!({ "keys": [] })
    );
}

/// Scenario: TLS with our own authority and a clock that is set. Guarantees: times come from the clock.
#[tokio::test]
async fn the_issuer_speaks_tls_and_takes_its_time_from_the_clock() {
    let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
    let (clock, _) = Clock::manual(UnixMillis(1_700_000_000_000));
    let tls = Some(certificates.server_tls(false));
    let issuer = Issuer::start_with(IssuerOptions {
        tls,
        clock,
        ..IssuerOptions::default()
    })
    .await
    .unwrap();
    let caller = SampleCaller::new(issuer.url());
    assert!(matches!(
        caller.get("/jwks").await.unwrap_err(),
        CallFault::Connect(_)
    ));
    let answer = caller
        .trusting(&certificates.authority.certificate())
        .get("/jwks")
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    let claims: Value = issuer.claims("x").into();
    assert_eq!(
        (&claims["iat"], &claims["exp"]),
        (&json!(1_700_000_000), &json!(1_700_003_600))
    );
}
