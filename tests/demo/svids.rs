//! What `check` and `explain` say of issuers of JWT-SVIDs. What it refuses to know: how their keys are read.

use serde_json::json;
use testkit::World;

use super::program::{Ended, run};

/// Scenario: the shipped world, whose policy names IDs of a trust domain, with an authority for another trust domain; first
/// alone, then beside an issuer of JWT-SVIDs for the first. Then claims of both kinds of tokens.
/// Guarantees: `check` warns of IDs for which nothing speaks, and not of those that an issuer does; `explain` shows claims as
/// of the issuer that would judge their token, and denies where there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuers_of_jwt_svids_are_checked_and_explained() {
    let world = World::start().await.unwrap();
    let at = |name: &str| world.folder().join(name).display().to_string();
    let config = at("lightkeeper.yaml");
    let mut bundle = world.issuer.jwks();
    bundle["keys"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(|key| key["use"] = "jwt-svid".into());
    std::fs::write(at("bundle.json"), bundle.to_string()).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace(
        "trust_domains: [prod.acme.example]",
        "trust_domains: [partner.example]",
    );
    std::fs::write(&config, &text).unwrap();
    let warning = "no `client_ca` speaks for the trust domain `prod.acme.example`";
    let checked = run(&["check", "--config", &config]);
    assert!(
        checked.status == 0 && checked.err.contains(warning),
        "{}",
        checked.err
    );

    let mesh = "issuers:\n  - { name: mesh, spiffe: { trust_domain: prod.acme.example, bundle: { file: bundle.json } }, \
                audiences: [lightkeeper] }";
    std::fs::write(&config, text.replace("issuers:", mesh)).unwrap();
    let checked = run(&["check", "--config", &config]);
    assert!(
        checked.status == 0 && !checked.err.contains("trust domain"),
        "{}",
        checked.err
    );

    let explain = |claims: serde_json::Value| -> Ended {
        let claims = claims.to_string();
        run(&[
            "explain",
            "--config",
            &config,
            "--claims",
            &claims,
            "--output",
            "json",
            "POST",
            "/v1/traces",
        ])
    };
    let id = "spiffe://prod.acme.example/ns/checkout/sa/collector";
    for claims in [
        json!({ "sub": id }),
        json!({ "sub": id, "iss": "https://spire.example" }),
    ] {
        let told = explain(claims);
        let identified = told.json()["stages"]["identify"].clone();
        assert_eq!(told.status, 0, "{identified:#}");
        assert_eq!(
            (&identified["method"], &identified["issuer"]),
            (&"jwt_svid".into(), &"mesh".into())
        );
        assert_eq!(
            (&identified["subject"], &identified["spiffe"]),
            (&id.into(), &id.into())
        );
    }
    let told = explain(json!({ "sub": id, "iss": world.issuer.url() }));
    let identified = told.json()["stages"]["identify"].clone();
    assert_eq!(
        (told.status, &identified["issuer"], &identified["spiffe"]),
        (3, &"acme".into(), &json!(null))
    );
    let told = explain(json!({ "sub": "spiffe://prod.acme.example/ns/../sa/collector" }));
    assert_eq!(
        (told.status, &told.json()["stages"]["identify"]["reason"]),
        (3, &"token_claims".into())
    );
    let told = explain(json!({ "sub": "spiffe://other.example/a" }));
    assert!(
        told.status == 2 && told.err.contains("the trust domain of their `sub`"),
        "{}",
        told.err
    );
}
