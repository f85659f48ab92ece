//! Callers that another party judges, and those of JWT-SVIDs and client tokens: seen for the first time, and remembered.
//!
//! What it does: sets up the party on loopback, and the room that asks it. What it refuses to know: how time is taken (`cold` and
//! `cached` of the bench). Invariant: a party's answer is the same for each token, so that only the way to it is timed.

use criterion::Criterion;
use http::HeaderValue;
use lightkeeper::accept::BundlePlace;
use lightkeeper::identify::{
    ClientProofSettings, ClientTokenHash, ClientTokenSettings, ClusterSettings, Identifier,
    IntrospectionSettings, IssuerSettings, KeySource, TokenReviewing, TokensTaken,
};
use lightkeeper::secret::SecretRef;
use serde_json::json;
use tempfile::TempDir;
use testkit::{TokenJudge, TokenWord};
use tokio::runtime::Runtime;

use super::{BATCH, ISSUER, NOW, cached, cold, issuer, opened, signed, signer, token};

/// A runtime with a thread for the party.
pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Opaque tokens, about which an introspection endpoint is asked over plain HTTP on a connection that stands.
pub(super) fn introspection(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let active = json!({
        "active": true, "iss": ISSUER, "sub": "ada.lovelace@acme.example", "aud": "lightkeeper", "client_id": "cli",
        "token_type": "Bearer", "iat": NOW - 60, "exp": NOW + 3600,
    });
    let judge = TokenJudge::start(None, TokenWord::json(&active));
    let judge = runtime.block_on(judge).unwrap();
    let (_, jwk) = signer("RS256");
    let settings = IssuerSettings {
        introspection: Some(IntrospectionSettings {
            url: format!("{}/introspect", judge.url()),
            client_id: "gateway".to_owned(),
            proof: ClientProofSettings::Secret(SecretRef::File(file("secret", "s3cret\n"))),
            always: false,
            prefix: None,
            signed: false,
            cache: std::time::Duration::from_secs(60),
            calls_per_second: 10_000,
        }),
        // An issuer has keys, whether or not one of its tokens is verified with them.
        ..issuer(KeySource::File(file(
            "keys.json",
            &json!({ "keys": [jwk] }).to_string(),
        )))
    };
    let tokens: Vec<HeaderValue> = (0..BATCH)
        .map(|number| format!("Bearer opaque-{number:040}").parse().unwrap())
        .collect();
    let open = || opened(settings.clone(), &runtime);
    cold(criterion, "introspection", &runtime, open, &tokens);
    cached(criterion, "introspection", &runtime, &open(), &tokens);
}

/// Tokens of a cluster, each verified and reviewed by an API server over plain HTTP on a connection that stands.
pub(super) fn review(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let (sign, jwk) = signer("RS256");
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, json!({ "keys": [jwk] }).to_string()).unwrap();
    let tokens: Vec<HeaderValue> = (0..BATCH)
        .map(|number| token(&sign, "RS256", number))
        .collect();
    let own = tokens.first().unwrap().to_str().unwrap();
    std::fs::write(
        folder.path().join("token"),
        own.trim_start_matches("Bearer "),
    )
    .unwrap();
    let reviewed = json!({
        "authenticated": true, "audiences": ["lightkeeper"], "user": { "username": "ada.lovelace@acme.example", "uid": "u-1" },
    });
    let judge = TokenJudge::start(None, TokenWord::review(reviewed));
    let judge = runtime.block_on(judge).unwrap();
    let settings = IssuerSettings {
        issuer: "kubernetes://kubernetes.default.svc:443".to_owned(),
        cluster: Some(ClusterSettings {
            api: judge.url(),
            folder: folder.path().to_owned(),
            review: TokenReviewing::On,
            calls_per_second: 10_000,
        }),
        ..issuer(KeySource::File(keys))
    };
    let open = || opened(settings.clone(), &runtime);
    cold(criterion, "kubernetes review", &runtime, open, &tokens);
    cached(criterion, "kubernetes review", &runtime, &open(), &tokens);
}

/// JWT-SVIDs of a trust domain's bundle.
pub(super) fn svid(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let (sign, mut jwk) = signer("ES256");
    let members = jwk.as_object_mut().unwrap();
    members.insert("use".to_owned(), "jwt-svid".into());
    let tokens: Vec<HeaderValue> = (0..BATCH)
        .map(|number| {
            let claims = json!({
                "sub": format!("spiffe://prod.acme.example/ns/checkout/sa/otel-{number}"), "aud": ["lightkeeper"],
                "iat": NOW - 60, "exp": NOW + 300,
            });
            signed(&sign, "ES256", &claims)
        })
        .collect();
    let settings = trust_domain(&folder, &jwk);
    let open = || opened(settings.clone(), &runtime);
    cold(criterion, "jwt-svid", &runtime, open, &tokens);
    cached(criterion, "jwt-svid", &runtime, &open(), &tokens);
}

fn trust_domain(folder: &TempDir, jwk: &serde_json::Value) -> IssuerSettings {
    let file = folder.path().join("bundle.json");
    std::fs::write(
        &file,
        json!({ "keys": [jwk], "spiffe_sequence": 1 }).to_string(),
    )
    .unwrap();
    IssuerSettings {
        issuer: "spiffe://prod.acme.example".to_owned(),
        types: vec!["jwt".to_owned(), "jose".to_owned()],
        tokens: TokensTaken::Any,
        ..issuer(KeySource::Bundle {
            bundle: BundlePlace::File(file),
            trust_domain: "prod.acme.example".to_owned(),
        })
    }
}

/// Client tokens: a digest, and nothing to remember.
pub(super) fn client_token(criterion: &mut Criterion) {
    let runtime = runtime();
    let settings: Vec<ClientTokenSettings> = (0..BATCH)
        .map(|number| ClientTokenSettings {
            name: format!("client-{number}"),
            hash: ClientTokenHash::of(client(number).as_bytes()),
            binding: "clients".to_owned(),
            until_unix_seconds: None,
        })
        .collect();
    let tokens: Vec<HeaderValue> = (0..BATCH)
        .map(|number| format!("Bearer {}", client(number)).parse().unwrap())
        .collect();
    let room: Identifier = super::empty(&runtime).with_client_tokens(&settings);
    cached(criterion, "client token", &runtime, &room, &tokens);
}

fn client(number: u64) -> String {
    format!("lk_{number:043}")
}
