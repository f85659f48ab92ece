//! What `check` and `explain` say of tokens about which others are asked. What it refuses to know: which answers count.

use serde_json::{Value, json};
use testkit::{IssuerFault, TokenJudge, TokenWord, World};

use super::program::{Ended, run};

/// Scenario: the shipped world, whose issuer has an introspection endpoint; a file holds an opaque token that is active, one that
/// is not, then the endpoint is away. Guarantees: `check` accepts it and `serve`'s way out names it; `explain --token-file` asks
/// as a call would, says what was found or why nothing was, and prints neither token nor secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opaque_token_is_explained() {
    let inactive = TokenWord::json(&json!({ "active": false }));
    let judge = TokenJudge::start(None, inactive).await.unwrap();
    let world = World::start().await.unwrap();
    let at = |name: &str| world.folder().join(name).display().to_string();
    let config = at("lightkeeper.yaml");
    std::fs::write(at("introspection"), "canary-s3cret").unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let asked = format!(
        "audiences: [lightkeeper]\n    attributes_from: {{ team: team }}\n    introspection: {{ url: \"{}/i\", client_id: gateway, \
         client_secret: {{ file: introspection }} }}",
        judge.url()
    );
    std::fs::write(
        &config,
        text.replacen("audiences: [lightkeeper]", &asked, 1),
    )
    .unwrap();
    let checked = run(&["check", "--config", &config]);
    assert_eq!(checked.status, 0, "{}", checked.err);
    let explain = |token: &str| -> Ended {
        std::fs::write(at("token"), format!("{token}\n")).unwrap();
        let told = run(&[
            "explain",
            "--config",
            &config,
            "--token-file",
            &at("token"),
            "--output",
            "json",
            "POST",
            "/v1/traces",
        ]);
        for secret in [token, "canary-s3cret"] {
            assert!(
                !told.out.contains(secret) && !told.err.contains(secret),
                "{}",
                told.out
            );
        }
        told
    };
    let claims = world
        .issuer
        .claims("system:serviceaccount:checkout:collector");
    judge.say(
        "canary-opaque",
        TokenWord::json(&Value::from(claims.set("active", true).set("team", "blue"))),
    );
    let told = explain("canary-opaque");
    let identified = told.json()["stages"]["identify"].clone();
    assert_eq!(told.status, 0, "{identified:#}");
    assert_eq!(
        (
            &identified["method"],
            &identified["issuer"],
            &identified["subject"]
        ),
        (
            &json!("introspection"),
            &json!("acme"),
            &json!("system:serviceaccount:checkout:collector")
        )
    );
    assert_eq!(
        identified["attributes"],
        json!([{ "name": "team", "value": "blue" }])
    );
    for (token, fault, reason) in [
        ("canary-revoked", None, "token_inactive"),
        (
            "canary-opaque",
            Some(IssuerFault::Unavailable),
            "introspection_unavailable",
        ),
        (
            "canary-opaque",
            Some(IssuerFault::Garbage),
            "introspection_answer",
        ),
    ] {
        judge.fail(fault);
        let told = explain(token);
        let found = &told.json()["stages"]["identify"]["reason"];
        assert_eq!((told.status, found), (3, &json!(reason)));
    }
}
