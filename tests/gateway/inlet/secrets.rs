//! An inlet's secrets: whose counts where, and how they are rotated. What it refuses to know: what becomes of a message.

use super::*;

/// Scenario: secrets are rotated. Guarantees: old and new count side by side, and what is withdrawn counts no more from
/// the reload on, on open connections too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_rotated_without_a_gap() {
    let world = stage::start(plan(&[])).await;
    let (old, new) = (
        webhook_secret("shop"),
        "the-next-secret-of-shop-c0ffee".to_owned(),
    );
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(world.folder().join("secrets/webhook-next"), &new).unwrap();
    let mut open = world.plain_caller().connect().await.unwrap();
    for (secrets, counting) in [
        ("[{ file: secrets/webhook-shop }]", [true, false]),
        (
            "[{ file: secrets/webhook-next }, { file: secrets/webhook-shop }]",
            [true, true],
        ),
        ("[{ file: secrets/webhook-next }]", [false, true]),
    ] {
        stage::replace(
            &config,
            text.replace("[{ file: secrets/webhook-shop }]", secrets),
        );
        world.gateway.reload().await.unwrap();
        for (secret, counts) in [&old, &new].into_iter().zip(counting) {
            let bearer = format!("Bearer {secret}");
            let headers = [("authorization", bearer.as_str()), JSON[0]];
            let answer = open
                .send(Method::POST, SHOP, &headers, b"{}".to_vec())
                .await
                .unwrap();
            assert_eq!(answer.status, if counts { 200 } else { 401 }, "{secrets}");
            if !counts {
                // An unread body ends the connection.
                open = world.plain_caller().connect().await.unwrap();
            }
        }
    }
}

/// Scenario: an app without a secret, an app that does not exist, a wrong secret, and every other kind of evidence.
/// Guarantees: all are refused, and none of the answers tells which it was; nothing is read or passed on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_apps_own_secret_counts_and_refusals_look_alike() {
    let world = stage::start(plan(&[])).await;
    let (plain, secret) = (world.plain_caller(), webhook_secret("shop"));
    let token = world.issuer.token("ann");
    let cases: Vec<(&str, SampleCaller, &str, &str)> = vec![
        (
            "wrong secret",
            plain.clone().bearer("not-the-secret-of-shop"),
            SHOP,
            "webhook_unknown",
        ),
        (
            "no secret",
            plain.clone().bearer(&secret),
            "/apps/platform/-/alerts",
            "webhook_unknown",
        ),
        (
            "no app",
            plain.clone().bearer(&secret),
            "/apps/nowhere/-/alerts",
            "webhook_unknown",
        ),
        (
            "the parent's",
            plain.clone().bearer(&secret),
            CHECKOUT,
            "webhook_unknown",
        ),
        (
            "the child's",
            plain.clone().bearer(&webhook_secret("shop/checkout")),
            SHOP,
            "webhook_unknown",
        ),
        (
            "the root",
            plain.clone().bearer(&secret),
            "/apps/-/alerts",
            "webhook_unknown",
        ),
        (
            "longer",
            plain.clone().bearer(&format!("{secret}x")),
            SHOP,
            "webhook_unknown",
        ),
        (
            "a developer's token",
            plain.clone().bearer(&token),
            SHOP,
            "webhook_unknown",
        ),
        (
            "another scheme",
            plain
                .clone()
                .header("authorization", &format!("Basic {secret}")),
            SHOP,
            "webhook_unknown",
        ),
        (
            "another header",
            plain.clone().access_token(&secret),
            SHOP,
            "webhook_evidence",
        ),
        (
            "a token in it",
            plain.clone().access_token(&token),
            SHOP,
            "webhook_evidence",
        ),
    ];
    let mut looks = Vec::new();
    for (what, caller, path, expected) in cases {
        let answer = post(&caller, path, br#"{"name":"a"}"#).await;
        assert_eq!(
            reason(&world, &answer).await,
            (401, expected.to_owned()),
            "{what}"
        );
        let id = answer.header("lightkeeper-request-id").unwrap();
        let mut headers: Vec<String> = answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        headers.retain(|line| !line.starts_with("date:"));
        looks.push((
            what,
            format!("{headers:?} {}", answer.text()).replace(&id, "ID"),
        ));
    }
    for (what, look) in &looks {
        assert_eq!(look, &looks[0].1, "{what}");
    }
    let cookie = plain.header("cookie", "__Host-lightkeeper-session=abc");
    let none = post(&cookie, SHOP, b"{}").await;
    assert_eq!(
        reason(&world, &none).await,
        (401, "no_credential".to_owned())
    );
    assert_eq!(told(&world.receiver), [""; 0]);
    assert!(
        world
            .gateway
            .shared()
            .alert_states
            .of(&AppPath::root())
            .is_empty()
    );
}

/// Scenario: a client certificate, alone and beside the secret. Guarantees: it is no evidence at the inlet, and two kinds
/// together are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_tells_of_no_alert() {
    let world = stage::start(plan(&[])).await;
    let leaf = Leaf::read(&world.folder().join("certs"), "client").unwrap();
    let caller = world.caller().certificate(&leaf);
    for caller in [caller.clone(), caller.bearer(&webhook_secret("shop"))] {
        let answer = post(&caller, SHOP, b"{}").await;
        assert_eq!(
            reason(&world, &answer).await,
            (401, "webhook_evidence".to_owned())
        );
    }
    assert_eq!(
        post(&world.caller().bearer(&webhook_secret("shop")), SHOP, b"{}")
            .await
            .status,
        200
    );
    assert_eq!(told(&world.receiver), ["/oncall"]);
}

/// Scenario: a webhook's secret is tried everywhere else, and afterwards everything that was written is searched.
/// Guarantees: it opens nothing but its inlet, and neither it nor the destination's is anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_worth_nothing_elsewhere_and_is_written_nowhere() {
    let world = stage::start(plan(&[("shop", "oncall, pager")])).await;
    let secret = webhook_secret("shop");
    let caller = webhook(&world, "shop");
    for (method, path) in [
        (Method::GET, "/.lightkeeper/whoami"),
        (Method::GET, "/apps"),
        (Method::GET, "/apps/shop"),
        (Method::GET, SHOP),
        (Method::PUT, SHOP),
        (Method::DELETE, SHOP),
        (Method::POST, "/apps/shop/-/alert"),
        (Method::POST, "/apps/shop/-/alerts/x"),
        (Method::POST, "/apps/shop/-/v1/traces"),
        (Method::POST, "/v1/traces"),
        (Method::GET, "/public/v0.2/acme/projects"),
        (
            Method::POST,
            "/public/v0.2/acme/projects/shop-prod/destinations",
        ),
    ] {
        for caller in [caller.clone(), world.plain_caller().access_token(&secret)] {
            let answer = caller
                .send(method.clone(), path, &JSON, b"{}".to_vec())
                .await
                .unwrap();
            assert_eq!(answer.status, 401, "{method} {path}");
        }
    }
    assert_eq!(world.emulator.heads(), 0);
    world.receiver.fail(
        "/pager",
        ReceiverFault::Status {
            status: 500,
            location: None,
        },
    );
    let said = post(&caller, SHOP, br#"{"name":"a"}"#).await;
    assert_eq!(said.status, 502);
    let record = record(&world, &said).await;
    assert!(record["detail"].as_str().unwrap().contains("pager"));
    let (_, metrics) = stage::admin(&world, "/metrics").await;
    let trail = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    let bodies: String = world
        .receiver
        .received()
        .iter()
        .map(|one| String::from_utf8_lossy(&one.body).into_owned())
        .collect();
    for secret in [secret.as_str(), ONCALL_SECRET] {
        for (place, text) in [
            ("metrics", &metrics),
            ("trail", &trail),
            ("messages", &bodies),
            ("answer", &said.text()),
        ] {
            assert!(!text.contains(secret), "{place}");
        }
    }
    let pager = &world.receiver.received_at("/pager")[0];
    assert!(
        pager
            .headers
            .iter()
            .all(|(_, value)| !value.contains(ONCALL_SECRET) && !value.contains(&secret))
    );
}
