//! `lightkeeper explain`, as a person runs it. What it refuses to know: how a call is judged.

use super::*;

/// Scenario: a stranger's call, with each kind of evidence. Guarantees: exit status 0 for allow and 3 for
/// deny, with the stage that decided and its reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_tells_why() {
    let world = World::start().await.unwrap();
    let folder = world.folder().display().to_string();
    let config = format!("{folder}/lightkeeper.yaml");
    let token = format!("{folder}/token");
    std::fs::write(&token, world.issuer.token("checkout-collector")).unwrap();
    let expired = format!("{folder}/expired");
    let claims = world
        .issuer
        .claims_of("checkout-collector")
        .issued_in(-7200)
        .expires_in(-3600);
    std::fs::write(&expired, world.issuer.mint(claims, Algorithm::Rs256)).unwrap();
    let certificate = format!("{folder}/certs/collector.pem");
    let pat = r#"{"sub":"pat@acme.example","groups":["payments-developers"]}"#;
    let streams = |project: &str| format!("/public/v0.2/acme/projects/{project}/streams");
    /// Evidence, method, path; exit status, the stage that tells, its reason.
    type Case<'a> = (&'a [&'a str], &'a str, &'a str, i32, &'a str, &'a str);
    let cases: [Case<'_>; 12] = [
        (
            &["--token-file", &token],
            "POST",
            "/v1/traces",
            0,
            "authorize",
            "ok",
        ),
        (
            &["--token-file", &expired],
            "POST",
            "/v1/traces",
            3,
            "identify",
            "token_expired",
        ),
        (
            &["--certificate", &certificate],
            "POST",
            "/v1/traces",
            0,
            "authorize",
            "ok",
        ),
        (
            &[
                "--certificate",
                &certificate,
                "--header",
                "lightkeeper-app: shop/payments",
            ],
            "POST",
            "/v1/traces",
            3,
            "authorize",
            "not_permitted",
        ),
        (
            &["--claims", pat],
            "GET",
            &streams("payments-prod"),
            0,
            "authorize",
            "ok",
        ),
        (
            &["--claims", pat],
            "GET",
            &streams("checkout-prod"),
            3,
            "authorize",
            "not_permitted",
        ),
        (
            &["--claims", pat],
            "GET",
            "/public/v0.2/acme/secrets",
            3,
            "authorize",
            "path_unknown",
        ),
        (
            &["--claims", pat],
            "GET",
            "/public/v0.2/acme/projects/a%2fb/streams",
            3,
            "accept",
            "ambiguous_path",
        ),
        (&[], "POST", "/v1/traces", 3, "identify", "no_credential"),
        // What becomes of one resource of an export.
        (
            &[
                "--token-file",
                &token,
                "--attribute",
                "service.name=checkout-web",
            ],
            "POST",
            "/v1/traces",
            0,
            "assign",
            "ok",
        ),
        (
            &[
                "--token-file",
                &token,
                "--attribute",
                "service.name=payments",
            ],
            "POST",
            "/v1/traces",
            3,
            "assign",
            "service_foreign",
        ),
        (
            &[
                "--token-file",
                &token,
                "--attribute",
                "service.name=a",
                "--attribute",
                "service.name=b",
            ],
            "POST",
            "/v1/traces",
            3,
            "assign",
            "service_ambiguous",
        ),
    ];
    for (evidence, method, path, status, stage, reason) in cases {
        let arguments = [
            &["explain", "--config", &config][..],
            evidence,
            &[method, path],
        ]
        .concat();
        let text = run(&arguments);
        assert_eq!(
            text.status, status,
            "{arguments:?}: {}{}",
            text.out, text.err
        );
        assert!(
            text.out.contains(&format!("reason: {reason}")),
            "{arguments:?}: {}",
            text.out
        );
        assert!(
            text.out
                .ends_with(if status == 0 { "allow\n" } else { "deny\n" }),
            "{}",
            text.out
        );
        let json = run(&[&arguments[..], &["--output", "json"]].concat());
        assert_eq!(json.status, status);
        assert_eq!(
            json.json()["stages"][stage]["reason"],
            reason,
            "{arguments:?}: {}",
            json.out
        );
        assert_eq!(
            json.json()["decision"],
            if status == 0 { "allow" } else { "deny" }
        );
    }
    let wrong = run(&[
        "explain", "--config", &config, "--claims", "no json", "GET", "/",
    ]);
    assert_eq!(wrong.status, 2, "{}", wrong.err);
}
