//! Who callers are, end to end: issuers that come, go and rotate their keys, certificates, and evidence that is
//! withdrawn while a connection stays open. What it refuses to know: what a good token looks like inside; the
//! room's own tests know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::Method;
use lightkeeper::clock::Clock;
use lightkeeper::otlp::Encoding;
use serde_json::json;
use testkit::calls::Line;
use testkit::certificates::San;
use testkit::{
    Algorithm, Answer, CallFault, DevelopmentCertificates, Issuer, IssuerOptions, Leaf, LeafPlan,
    Sample, SampleCaller, World, WorldPlan,
};

use super::stage::{self, eventually};

const COLLECTOR: &str = "checkout-collector";

/// One export on a connection of its own.
async fn export(caller: &SampleCaller) -> Answer {
    caller
        .export(&Sample::traces("some-service", 1), Encoding::Protobuf)
        .await
        .unwrap()
}

/// One export on an open connection.
async fn again(line: &mut Line) -> Answer {
    let body = Sample::traces("some-service", 1).protobuf();
    line.send(
        Method::POST,
        "/v1/traces",
        &[("content-type", "application/x-protobuf")],
        body,
    )
    .await
    .unwrap()
}

/// Status and recorded reason.
async fn outcome(world: &World, answer: &Answer) -> (u16, String) {
    let record = stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await;
    (answer.status, record["reason"].as_str().unwrap().to_owned())
}

fn told(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// The demonstration's world with a second issuer, `ci`.
fn with_issuer(url: &str) -> WorldPlan {
    let issuers =
        format!("issuers:\n  - {{ name: ci, issuer: \"{url}\", audiences: [lightkeeper] }}");
    let plan = stage::plan(&[("issuers:", &issuers)]);
    stage::bind(
        plan,
        r#"{ name: ci, subjects: [{ issuer: ci, subject: "ci:*" }], role: reporter, apps: [platform] }"#,
    )
}

fn ci_token(ci: &Issuer) -> String {
    ci.mint(ci.claims("ci:build"), Algorithm::Rs256)
}

/// Scenario: two issuers, each with subjects and groups of the same names.
/// Guarantees: a caller is who its own issuer says; one issuer's groups and subjects are not the other's; a token
/// signed by the one in the other's name identifies no caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuers_are_kept_apart() {
    let ci = Issuer::start().await.unwrap();
    let world = stage::start(with_issuer(ci.url())).await;
    let cases = [
        (world.issuer.token(COLLECTOR), told(200, "ok")),
        (ci_token(&ci), told(200, "ok")),
        (
            world
                .issuer
                .mint(world.issuer.claims("ci:build"), Algorithm::Rs256),
            told(403, "no_writable_app"),
        ),
        (ci.token(COLLECTOR), told(403, "no_writable_app")),
        (
            ci.mint(
                ci.claims_of(COLLECTOR).issuer(world.issuer.url()),
                Algorithm::Rs256,
            ),
            told(401, "token_signature"),
        ),
    ];
    for (token, expected) in cases {
        let answer = export(&world.plain_caller().bearer(&token)).await;
        assert_eq!(outcome(&world, &answer).await, expected);
    }
    let query = world.plain_caller().bearer(&ci.token("sam"));
    assert_eq!(
        query
            .get("/public/v0.2/acme/projects")
            .await
            .unwrap()
            .status,
        403
    );
    let names: Vec<_> = world
        .emulator
        .exports()
        .iter()
        .map(|export| export.project.clone())
        .collect();
    assert_eq!(names, ["checkout-prod", "platform-prod"]);
}

/// Scenario: four callers export without pause while their issuer takes new keys beside the old ones.
/// Guarantees: no caller is refused, with old tokens or new, and the keys are read once more, not once per caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_under_load() {
    let world = Arc::new(stage::start(stage::plan(&[])).await);
    let fetches = world.issuer.jwks_fetches();
    let (stop, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (world, stop, served) = (world.clone(), stop.clone(), served.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    // A fresh token each time: nothing comes out of the cache.
                    let mut line = world
                        .plain_caller()
                        .bearer(&world.issuer.token(COLLECTOR))
                        .connect()
                        .await
                        .unwrap();
                    assert_eq!(again(&mut line).await.status, 200);
                    assert_eq!(again(&mut line).await.status, 200);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let reach = async |count| {
        eventually("calls", || async {
            (served.load(Ordering::SeqCst) >= count).then_some(())
        })
        .await;
    };
    reach(8).await;
    let old = world.issuer.token(COLLECTOR);
    world.issuer.rotate(true).unwrap();
    reach(served.load(Ordering::SeqCst) + 20).await;
    assert_eq!(export(&world.plain_caller().bearer(&old)).await.status, 200);
    stop.store(true, Ordering::SeqCst);
    for caller in load {
        caller.await.unwrap();
    }
    assert_eq!(world.issuer.jwks_fetches() - fetches, 1);
}

/// Scenario: an issuer throws its old keys away.
/// Guarantees: with the reading that a new token causes, old tokens are dead, those in the cache too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withdrawn_keys_take_their_tokens_with_them() {
    let world = stage::start(stage::plan(&[])).await;
    let old = world.plain_caller().bearer(&world.issuer.token(COLLECTOR));
    let mut open = old.connect().await.unwrap();
    assert_eq!(again(&mut open).await.status, 200);
    world.issuer.rotate(false).unwrap();
    assert_eq!(
        export(&world.plain_caller().bearer(&world.issuer.token(COLLECTOR)))
            .await
            .status,
        200
    );
    let answer = again(&mut open).await;
    assert_eq!(
        outcome(&world, &answer).await,
        told(401, "token_key_unknown")
    );
}

/// Scenario: two hundred tokens at once, each naming another key that does not exist.
/// Guarantees: all are refused, the issuer is asked once, and who holds a good token is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_unknown_keys_reaches_no_issuer() {
    let world = Arc::new(stage::start(stage::plan(&[])).await);
    let fetches = world.issuer.jwks_fetches();
    let mut storm = tokio::task::JoinSet::new();
    for number in 0..200 {
        let world = world.clone();
        storm.spawn(async move {
            let header = json!({ "kid": format!("rs256-{number}00") });
            let token =
                world
                    .issuer
                    .mint_with(header, world.issuer.claims_of(COLLECTOR), Algorithm::Rs256);
            export(&world.plain_caller().bearer(&token)).await.status
        });
    }
    assert_eq!(
        export(&world.plain_caller().bearer(&world.issuer.token(COLLECTOR)))
            .await
            .status,
        200
    );
    let statuses = storm.join_all().await;
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    assert!(
        world.issuer.jwks_fetches() - fetches <= 1,
        "{} fetches",
        world.issuer.jwks_fetches() - fetches
    );
}

/// Scenario: one of two issuers goes down after its keys were read.
/// Guarantees: its callers are served by the keys that are there; a key that is not there is our ignorance (503), not
/// their fault; the other issuer's callers notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_down_costs_only_what_it_must() {
    let ci = Issuer::start().await.unwrap();
    let world = stage::start(with_issuer(ci.url())).await;
    ci.stop().await;
    assert_eq!(
        export(&world.plain_caller().bearer(&ci_token(&ci)))
            .await
            .status,
        200
    );
    ci.rotate(false).unwrap();
    let answer = export(&world.plain_caller().bearer(&ci_token(&ci))).await;
    assert_eq!(
        outcome(&world, &answer).await,
        told(503, "keys_unavailable")
    );
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(
        export(&world.plain_caller().bearer(&world.issuer.token(COLLECTOR)))
            .await
            .status,
        200
    );
    let (status, page) = stage::admin(&world, "/readyz").await;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(
        (status, &page["issuers"][0]["last_error"]),
        (200, &json!("unreachable")),
        "{page:#}"
    );
}

/// Scenario: the gateway starts while an issuer cannot be reached; later it can.
/// Guarantees: the start does not wait for it; its callers get 503 until its keys are there, then they are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_an_issuer() {
    let ci = Issuer::start().await.unwrap();
    ci.stop().await;
    let world = stage::start(with_issuer(ci.url())).await;
    let caller = world.plain_caller().bearer(&ci_token(&ci));
    let answer = export(&caller).await;
    assert_eq!(
        outcome(&world, &answer).await,
        told(503, "keys_unavailable")
    );
    assert_eq!(
        export(&world.plain_caller().bearer(&world.issuer.token(COLLECTOR)))
            .await
            .status,
        200
    );
    ci.restart().await.unwrap();
    eventually("the issuer's keys", || async {
        (export(&caller).await.status == 200).then_some(())
    })
    .await;
}

/// Scenario: at the start one issuer has keys, and another one takes the connection and says nothing, then ends it.
/// Guarantees: the gateway is ready only once both have been asked, and tells who keeps it waiting; after that it is ready,
/// and tells whose callers it cannot know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_after_every_issuers_first_try() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = stage::start(with_issuer(&format!(
        "http://{}",
        silent.local_addr().unwrap()
    )))
    .await;
    let look = || async {
        let (status, page) = stage::admin(&world, "/readyz").await;
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        let tried = page["issuers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|issuer| issuer["tried"] == true);
        let missing = page["missing"].to_string();
        assert_eq!(status, if tried { 200 } else { 503 }, "{page:#}");
        assert!(
            missing.contains("issuer `ci`") && !missing.contains("`acme`"),
            "{page:#}"
        );
        (tried, missing)
    };
    let (tried, missing) = look().await;
    assert!(tried || missing.contains("for the first time"), "{missing}");
    drop(silent);
    eventually("the end of the first try", || async {
        look().await.0.then_some(())
    })
    .await;
    assert!(look().await.1.contains("no keys"));
}

/// What a TLS client that is turned away sees: the handshake's failure, or a connection that ends. Once, on a
/// machine under heavy load, one without a certificate heard nothing until its own deadline; why is not known.
/// It was not served, and that the server did refuse is what the record must say.
fn turned_away(outcome: &Result<Answer, CallFault>) -> bool {
    matches!(
        outcome,
        Err(CallFault::Connect(_) | CallFault::NoAnswer(_) | CallFault::Late)
    )
}

/// Scenario: callers with each kind of certificate, where one may and where one must be shown.
/// Guarantees: who it is and what becomes of it; a bad certificate ends the handshake even beside a good token, and
/// leaves a record with its reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_certificates() {
    let optional = stage::plan(&[]);
    let required = stage::plan(&[(
        "client_certificate: optional",
        "client_certificate: required",
    )]);
    for (demand, plan) in [("optional", optional), ("required", required)] {
        let batch = r#"{ name: batch, subjects: [{ dns: batch.acme.example }], role: reporter, apps: [platform] }"#;
        let world = stage::start(stage::bind(plan, batch)).await;
        let leaf = |name: &str| Leaf::read(&world.folder().join("certs"), name).unwrap();
        let token = world.issuer.token(COLLECTOR);
        let none = if demand == "optional" {
            Some(told(401, "no_credential"))
        } else {
            None
        };
        let token_alone = if demand == "optional" {
            Some(told(200, "ok"))
        } else {
            None
        };
        let missing = if demand == "optional" {
            ""
        } else {
            "certificate_missing"
        };
        let table = [
            (Some("collector"), false, Some(told(200, "ok")), ""),
            (Some("client"), false, Some(told(200, "ok")), ""),
            (Some("collector"), true, Some(told(200, "ok")), ""),
            (Some("revoked"), false, None, "certificate_revoked"),
            (Some("revoked"), true, None, "certificate_revoked"),
            (
                Some("untrusted-client"),
                true,
                None,
                "certificate_untrusted",
            ),
            (None, false, none, missing),
            (None, true, token_alone, missing),
        ];
        for (certificate, with_token, expected, event) in table {
            for http2 in [false, true] {
                let before = world.records().len();
                let mut caller = world.caller();
                if let Some(name) = certificate {
                    caller = caller.certificate(&leaf(name));
                }
                if with_token {
                    caller = caller.bearer(&token);
                }
                if http2 {
                    caller = caller.http2();
                }
                let place = format!("{demand} {certificate:?} token {with_token} http2 {http2}");
                let got = caller
                    .export(&Sample::traces("some-service", 1), Encoding::Protobuf)
                    .await;
                match expected.clone() {
                    Some(expected) => {
                        assert_eq!(outcome(&world, &got.unwrap()).await, expected, "{place}")
                    }
                    None => {
                        assert!(turned_away(&got), "{place}: {got:?}");
                        let records = stage::records(&world, before + 1).await;
                        let record = &records[before];
                        assert_eq!(
                            (&record["event"], &record["reason"]),
                            (&json!("handshake_failed"), &json!(event)),
                            "{place}"
                        );
                    }
                }
            }
        }
        let projects: Vec<_> = world
            .emulator
            .exports()
            .iter()
            .map(|export| export.project.clone())
            .collect();
        let expected = [
            "checkout-prod",
            "checkout-prod",
            "platform-prod",
            "platform-prod",
            "checkout-prod",
            "checkout-prod",
        ];
        assert_eq!(projects[..6], expected, "{demand}");
    }
}

/// A world whose listener trusts an authority of the test's own; the files are in the world's folder.
async fn with_authority() -> (World, DevelopmentCertificates) {
    let world = stage::start(stage::plan(&[])).await;
    let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
    let folder = world.folder().join("certs");
    stage::replace(&folder.join("clients.crl"), &certificates.revocation_list);
    stage::replace(
        &folder.join("client-ca.pem"),
        certificates.authority.certificate(),
    );
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    stage::replace(&config, text.replace("certs/ca.pem", "certs/client-ca.pem"));
    world.gateway.reload().await.unwrap();
    (world, certificates)
}

/// Scenario: a certificate is revoked while its holder has connections open, HTTP/1.1 and HTTP/2.
/// Guarantees: from the reload of the list on, the next request on them is refused; other holders go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_reaches_open_connections() {
    let (world, certificates) = with_authority().await;
    let leaf = certificates
        .authority
        .spiffe("spiffe://prod.acme.example/ns/checkout/sa/leaver")
        .unwrap();
    let mut lines = Vec::new();
    for (leaf, revoked) in [(&leaf, true), (&certificates.collector, false)] {
        for caller in [world.caller(), world.caller().http2()] {
            let mut line = caller.certificate(leaf).connect().await.unwrap();
            assert_eq!(again(&mut line).await.status, 200);
            lines.push((line, revoked));
        }
    }
    let list = certificates
        .authority
        .revocation_list(&[&leaf, &certificates.revoked])
        .unwrap();
    stage::replace(&world.folder().join("certs/clients.crl"), list);
    world.gateway.reload().await.unwrap();
    for (mut line, revoked) in lines {
        let answer = again(&mut line).await;
        let expected = if revoked {
            told(401, "certificate_revoked")
        } else {
            told(200, "ok")
        };
        assert_eq!(outcome(&world, &answer).await, expected);
    }
}

/// Scenario: a client keeps its TLS session and comes back with it after its certificate was revoked.
/// Guarantees: a resumed session counts no more than the certificate that it was made with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_reaches_resumed_sessions() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (world, certificates) = with_authority().await;
    let leaf = certificates
        .authority
        .spiffe("spiffe://prod.acme.example/ns/checkout/sa/leaver")
        .unwrap();
    let server_ca = std::fs::read_to_string(world.folder().join("certs/ca.pem")).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(testkit::server::roots(&server_ca).unwrap())
        .with_client_auth_cert(
            testkit::server::certificates(&leaf.certificate).unwrap(),
            testkit::server::private_key(&leaf.key).unwrap(),
        )
        .unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let ask = async || {
        let tcp = tokio::net::TcpStream::connect(world.address("gateway").unwrap())
            .await
            .unwrap();
        let mut tls = connector
            .connect("localhost".try_into().unwrap(), tcp)
            .await?;
        tls.write_all(
            b"GET /.lightkeeper/whoami HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )
        .await?;
        let mut answer = Vec::new();
        tls.read_to_end(&mut answer).await?;
        let resumed = tls.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        Ok::<_, std::io::Error>((String::from_utf8_lossy(&answer).into_owned(), resumed))
    };
    for _ in 0..2 {
        let (answer, _) = ask().await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let list = certificates.authority.revocation_list(&[&leaf]).unwrap();
    stage::replace(&world.folder().join("certs/clients.crl"), list);
    world.gateway.reload().await.unwrap();
    // Refused in the handshake, or, if the session was resumed, for the request.
    match ask().await {
        Ok((answer, resumed)) => assert!(
            answer.starts_with("HTTP/1.1 401"),
            "resumed {resumed}: {answer}"
        ),
        Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::ConnectionRefused),
    }
}

/// Scenario: a binding is taken out of the policy while its holder has connections open and its token is cached.
/// Guarantees: from the reload on, the next request is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_binding_reaches_open_connections() {
    let world = stage::start(stage::plan(&[])).await;
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("payments-collector"));
    let mut lines = [
        caller.connect().await.unwrap(),
        caller.http2().connect().await.unwrap(),
    ];
    for line in &mut lines {
        assert_eq!(again(line).await.status, 200);
    }
    let policy = world.folder().join("policy.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    let binding = "system:serviceaccount:payments:*";
    assert!(text.contains(binding));
    stage::replace(
        &policy,
        text.replace(binding, "system:serviceaccount:payments:successor"),
    );
    world.gateway.reload().await.unwrap();
    for line in &mut lines {
        let answer = again(line).await;
        assert_eq!(outcome(&world, &answer).await, told(403, "no_writable_app"));
    }
}

/// Scenario: a token that says that its groups are elsewhere, on an open connection, while the policy begins to name a
/// group of its issuer and ceases again. Guarantees: with the reload it is refused, and later taken again; a token of the
/// same subject with its groups is taken all along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_are_elsewhere_hide_from_no_deny() {
    let ci = Issuer::start().await.unwrap();
    let world = stage::start(with_issuer(ci.url())).await;
    eventually("the issuer's keys", || async {
        world
            .gateway
            .shared()
            .readiness()
            .issuers
            .iter()
            .all(|issuer| issuer.has_keys)
            .then_some(())
    })
    .await;
    let over = ci
        .claims("ci:build")
        .set("_claim_names", json!({ "groups": "src1" }));
    let over = world
        .plain_caller()
        .bearer(&ci.mint(over, Algorithm::Rs256));
    let plain = world.plain_caller().bearer(&ci_token(&ci));
    let policy = world.folder().join("policy.yaml");
    let before = std::fs::read_to_string(&policy).unwrap();
    let leavers = "  - { name: leavers, effect: deny, subjects: [{ issuer: ci, group: leavers }], role: reporter, apps: [/] }\n";
    for (text, expected) in [
        (before.clone(), told(200, "ok")),
        (
            format!("{before}{leavers}"),
            told(401, "token_claims_elsewhere"),
        ),
        (before.clone(), told(200, "ok")),
    ] {
        stage::replace(&policy, text);
        world.gateway.reload().await.unwrap();
        let answer = export(&over).await;
        assert_eq!(outcome(&world, &answer).await, expected);
        let answer = export(&plain).await;
        assert_eq!(outcome(&world, &answer).await, told(200, "ok"));
    }
}

/// Scenario: time passes, by the test's hand, over the end of a token and of a binding.
/// Guarantees: a cached token ends when it expires (and its leeway), a binding at its `until`, on open connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_ends_tokens_and_bindings() {
    let start = Clock::system().now();
    let (clock, hand) = Clock::manual(start);
    let until = lightkeeper::audit::timestamp(start.0 + 600_000);
    let mut plan = stage::plan(&[]);
    plan.issuer = IssuerOptions {
        clock: clock.clone(),
        ..IssuerOptions::default()
    };
    plan.clock = clock;
    let binding = format!(
        r#"{{ name: guests, subjects: [{{ issuer: acme, subject: guest }}], role: reporter, apps: [platform], until: "{until}" }}"#
    );
    let world = stage::start(stage::bind(plan, &binding)).await;
    let token = |seconds| {
        world.issuer.mint(
            world.issuer.claims("guest").expires_in(seconds),
            Algorithm::Rs256,
        )
    };
    let callers = [300, 3600].map(|seconds| world.plain_caller().bearer(&token(seconds)));
    let mut lines = [
        callers[0].connect().await.unwrap(),
        callers[1].connect().await.unwrap(),
    ];
    // Seconds after the start; who is asked; what comes of it. The leeway is 30 s.
    for (second, expect_short, expect_long) in [
        (0, told(200, "ok"), told(200, "ok")),
        (329, told(200, "ok"), told(200, "ok")),
        (331, told(401, "token_expired"), told(200, "ok")),
        (599, told(401, "token_expired"), told(200, "ok")),
        (
            600,
            told(401, "token_expired"),
            told(403, "no_writable_app"),
        ),
    ] {
        hand.store(start.0 + second * 1000, Ordering::SeqCst);
        for (place, expected) in [expect_short, expect_long].into_iter().enumerate() {
            let answer = again(&mut lines[place]).await;
            assert_eq!(outcome(&world, &answer).await, expected, "second {second}");
            if answer.status != 200 {
                // The refused body is not read: the connection ends and the caller comes again.
                lines[place] = callers[place].connect().await.unwrap();
            }
        }
    }
}

/// Scenario: a leaf that says two SPIFFE IDs, and one that is an authority itself.
/// Guarantees: what breaks the rules for X.509-SVIDs names no workload, although its authority is ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_that_break_the_rules_name_nobody() {
    let (world, certificates) = with_authority().await;
    let id = "spiffe://prod.acme.example/ns/checkout/sa/collector";
    let mut two = LeafPlan::spiffe(id);
    two.names.push(San::Uri(
        "spiffe://prod.acme.example/ns/payments/sa/collector".to_owned(),
    ));
    let authority = LeafPlan {
        authority: true,
        ..LeafPlan::spiffe(id)
    };
    let expired = LeafPlan {
        from_days: -9,
        until_days: -1,
        ..LeafPlan::spiffe(id)
    };
    for (what, plan) in [
        ("two ids", two),
        ("authority", authority),
        ("expired", expired),
    ] {
        let leaf = certificates.authority.issue(&plan).unwrap();
        let caller = world.caller().certificate(&leaf);
        match caller
            .export(&Sample::traces("some-service", 1), Encoding::Protobuf)
            .await
        {
            Ok(answer) => assert_eq!(
                outcome(&world, &answer).await,
                told(401, "certificate_name"),
                "{what}"
            ),
            Err(fault) => assert!(turned_away(&Err(fault)), "{what}"),
        }
    }
    assert_eq!(world.emulator.heads(), 0);
}
