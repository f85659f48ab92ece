//! What `check` and `explain` say of client certificates and their authorities. What it refuses to know: handshakes.

use testkit::World;

use super::program::{Ended, run};

/// Scenario: the shipped world's list of authorities, then the short form for the same authority, then an authority that
/// speaks for another trust domain.
/// Guarantees: `explain` judges a certificate by the configured authorities and says for what they speak; of the short form
/// `check` warns and `explain` says that it was inferred; a stranger's certificate and one out of scope are denied with
/// their reasons, and without `client_ca` there is nothing to explain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_are_checked_and_explained() {
    let world = World::start().await.unwrap();
    let at = |name: &str| world.folder().join(name).display().to_string();
    let (config, leaf, stranger) = (
        at("lightkeeper.yaml"),
        at("certs/collector.pem"),
        at("certs/untrusted-client.pem"),
    );
    let text = std::fs::read_to_string(&config).unwrap();
    let list = text
        .split_once("client_ca:\n")
        .unwrap()
        .1
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let form = |client_ca: &str| {
        let changed = text.replace(&format!("client_ca:\n{list}\n"), &format!("{client_ca}\n"));
        std::fs::write(&config, changed).unwrap();
    };
    let explain = |certificate: &str| -> Ended {
        run(&[
            "explain",
            "--config",
            &config,
            "--certificate",
            certificate,
            "--output",
            "json",
            "POST",
            "/v1/traces",
        ])
    };
    let checked = run(&["check", "--config", &config]);
    assert!(
        checked.status == 0 && !checked.err.contains("client_ca"),
        "{}",
        checked.err
    );
    let told = explain(&leaf).json()["stages"]["identify"].clone();
    assert_eq!(
        (&told["issuer"], &told["certificate"]["ca"]),
        (&"workloads".into(), &"workloads".into())
    );
    assert_eq!(told["certificate"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(
        told["speaks_for"]["trust_domains"],
        serde_json::json!(["prod.acme.example"])
    );
    assert_eq!(told["speaks_for"]["inferred"], false);
    let denied = explain(&stranger);
    assert_eq!(
        (
            denied.status,
            &denied.json()["stages"]["identify"]["reason"]
        ),
        (3, &"certificate_untrusted".into())
    );

    form("client_ca: certs/ca.pem");
    let checked = run(&["check", "--config", &config]);
    let words = "speaks for the trust domains that the policy names: `prod.acme.example`; and for every DNS name";
    assert!(
        checked.status == 0 && checked.err.contains(words),
        "{}",
        checked.err
    );
    let told = explain(&leaf).json()["stages"]["identify"].clone();
    assert_eq!(
        (&told["issuer"], &told["speaks_for"]["inferred"]),
        (&"mtls".into(), &true.into())
    );
    assert_eq!(
        told["speaks_for"]["trust_domains"],
        serde_json::json!(["prod.acme.example"])
    );

    form("client_ca: [{ name: partner, file: certs/ca.pem, trust_domains: [partner.example] }]");
    let checked = run(&["check", "--config", &config]);
    let words = "no `client_ca` speaks for the trust domain `prod.acme.example`";
    assert!(
        checked.status == 0 && checked.err.contains(words),
        "{}",
        checked.err
    );
    let denied = explain(&leaf);
    assert_eq!(
        (
            denied.status,
            &denied.json()["stages"]["identify"]["reason"]
        ),
        (3, &"certificate_out_of_scope".into())
    );

    form("minimum: \"1.3\"");
    std::fs::write(
        &config,
        std::fs::read_to_string(&config)
            .unwrap()
            .replace("      client_certificate: optional\n", ""),
    )
    .unwrap();
    let nothing = explain(&leaf);
    assert!(
        nothing.status == 2
            && nothing
                .err
                .contains("no listener asks for client certificates"),
        "{}",
        nothing.err
    );
}
