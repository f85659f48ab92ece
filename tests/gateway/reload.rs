//! Reloads and the stop: what changes, what stays, and what becomes of calls in flight. What it refuses to know:
//! how files are watched; `vault` tries that.

use lightkeeper::otlp::Encoding;
use serde_json::Value;
use testkit::{Endpoints, Fault, Sample, World};

use super::stage::{self, Upload, eventually};

async fn export(world: &World) -> u16 {
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    caller
        .export(&Sample::traces("checkout", 1), Encoding::Protobuf)
        .await
        .unwrap()
        .status
}

async fn readiness(world: &World) -> (u16, Value) {
    let (status, page) = stage::admin(world, "/readyz").await;
    (status, serde_json::from_str(&page).unwrap())
}

/// Scenario: each file that a reload reads is broken in turn, and mended.
/// Guarantees: calls are decided and served as before; `/readyz` stays 200 and says what is wrong and where; a metric
/// and a record say so too; no secret is repeated; the mended file is taken over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_fails_changes_nothing() {
    let world = stage::start(stage::plan(&[])).await;
    let (_, before) = readiness(&world).await;
    let pasted =
        "vault:\n  projects:\n    shop-prod: { access_token: [pasted-token-66d2] }\nunknown: 1\n";
    let broken = [
        ("lightkeeper.yaml", "organization: [", "lightkeeper.yaml:"),
        ("lightkeeper.yaml", pasted, "unknown"),
        (
            "policy.yaml",
            "version: 1\nbindings: [{ name: x, role: nobody }]\n",
            "policy.yaml:",
        ),
        ("secrets/checkout-prod", "", "checkout-prod"),
        ("certs/clients.crl", "no list", "lightkeeper.yaml:"),
        ("certs/server.pem", "no certificate", "lightkeeper.yaml:"),
    ];
    for (round, (name, content, said)) in broken.into_iter().enumerate() {
        let path = world.folder().join(name);
        let good = std::fs::read(&path).unwrap();
        stage::replace(&path, content);
        let errors = world.gateway.reload().await.unwrap_err().join("\n");
        assert!(errors.contains(said), "{name}: {errors}");
        assert!(!errors.contains("pasted-token"), "{errors}");
        assert_eq!(export(&world).await, 200, "{name}");
        let (status, ready) = readiness(&world).await;
        assert_eq!(
            (status, &ready["ready"]),
            (200, &Value::Bool(true)),
            "{name}"
        );
        assert_eq!(ready["policy_version"], before["policy_version"]);
        assert!(
            ready["reload_failed"]["errors"].to_string().contains(said),
            "{ready:#}"
        );
        stage::counts(&world, "lightkeeper_last_reload_successful", 0.0).await;
        stage::counts(
            &world,
            r#"lightkeeper_reloads_total{result="failed"}"#,
            (round + 1) as f64,
        )
        .await;
        let records = eventually("the failure's record", || async {
            let failures: Vec<_> = world
                .records()
                .into_iter()
                .filter(|record| record["event"] == "reload_failed")
                .collect();
            (failures.len() == round + 1).then_some(failures)
        })
        .await;
        let detail = records[round]["detail"].as_str().unwrap();
        assert!(
            detail.contains(said) && !detail.contains("pasted-token"),
            "{detail}"
        );

        stage::replace(&path, good);
        world.gateway.reload().await.unwrap();
        assert_eq!(
            readiness(&world).await.1.get("reload_failed"),
            None,
            "{name}"
        );
        stage::counts(&world, "lightkeeper_last_reload_successful", 1.0).await;
    }
}

/// Scenario: the upstreams name a profile of a file, which is broken and mended without a word to the gateway.
/// Guarantees: the file is watched; with a mistake in it the last good one serves on, and the mistake is told with its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_a_profile_is_watched_like_the_policy() {
    let world = stage::start(stage::plan(&[])).await;
    let shipped = testkit::top().join("src/profiles/lightstep.yaml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let own = shipped.replacen("name: lightstep", "name: own", 1);
    let file = world.folder().join("own.yaml");
    stage::replace(&file, &own);
    let path = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("profile: lightstep", "profile: own");
    stage::replace(&path, format!("{text}profiles: [own.yaml]\n"));
    world.gateway.reload().await.unwrap();
    let name = || {
        let snapshot = world.gateway.shared().snapshot.load();
        snapshot.profile.name.clone()
    };
    assert_eq!((name(), export(&world).await), ("own".to_owned(), 200));

    let watching = tokio::spawn(world.gateway.clone().watch());
    stage::replace(&file, own.replacen("prefix: /public", "prefix: public", 1));
    let told = eventually("the mistake is told", || async {
        readiness(&world).await.1.get("reload_failed").cloned()
    })
    .await;
    let line = own
        .lines()
        .position(|line| line.contains("prefix: "))
        .unwrap()
        + 1;
    let expected = format!("own.yaml:{line}:11: error: `public/v0.2` does not begin with a slash");
    assert!(told.to_string().contains(&expected), "{told:#}");
    assert_eq!((name(), export(&world).await), ("own".to_owned(), 200));

    stage::replace(&file, &own);
    eventually("the mended file is taken over", || async {
        let failed = readiness(&world).await.1.get("reload_failed").cloned();
        failed.is_none().then_some(())
    })
    .await;
    watching.abort();
}

/// Scenario: reloads that change nothing, the policy, a token, a limit. Guarantees: each record says what changed, from which
/// version and fingerprint to which, and in which files; it names nothing else, and holds no secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_says_what_changed() {
    let world = stage::start(stage::plan(&[])).await;
    let version = || {
        world
            .gateway
            .shared()
            .snapshot
            .load()
            .policy
            .version()
            .to_owned()
    };
    let first = version();
    let edit = |name: &str, old: &str, new: &str| {
        let path = world.folder().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{name} has no {old}");
        stage::replace(&path, text.replace(old, new));
    };
    let mut told = Vec::new();
    for round in 1..=4 {
        match round {
            1 => {}
            2 => edit("policy.yaml", "ci:terraform", "ci:pulumi"),
            3 => stage::replace(
                &world.folder().join("secrets/checkout-prod"),
                "another-token-91c4",
            ),
            _ => edit(
                "lightkeeper.yaml",
                "audit: {",
                "limits: { streams: 50 }\naudit: {",
            ),
        }
        world.gateway.reload().await.unwrap();
        let reloads = eventually("the reload's record", || async {
            let reloads: Vec<_> = world
                .records()
                .into_iter()
                .filter(|record| record["event"] == "reload")
                .collect();
            (reloads.len() == round).then_some(reloads)
        })
        .await;
        told.push(reloads[round - 1]["detail"].as_str().unwrap().to_owned());
    }
    let second = version();
    let file = |name: &str| world.folder().join(name).display().to_string();
    assert_eq!(told[0], format!("policy {first} -> {first}"));
    let start = format!(
        "policy {first} -> {second}; files: {}; policy sha256:{second}",
        file("policy.yaml")
    );
    assert!(told[1].starts_with(&start), "{}", told[1]);
    // The digest is whole.
    assert_eq!(told[1].len(), start.len() + 48, "{}", told[1]);
    let start = format!("policy {second} -> {second}; credentials: checkout-prod/access_token/0 ");
    let end = format!("; files: {}", file("secrets/checkout-prod"));
    assert!(
        told[2].starts_with(&start) && told[2].contains(" -> ") && told[2].ends_with(&end),
        "{}",
        told[2]
    );
    assert!(!told.concat().contains("another-token"));
    let expected = format!(
        "policy {second} -> {second}; settings: limits; files: {}",
        file("lightkeeper.yaml")
    );
    assert_eq!(told[3], expected);
}

/// Scenario: what cannot change without a restart is changed. Guarantees: refused as a whole, with the reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_restart_is_refused() {
    let world = stage::start(stage::plan(&[])).await;
    let config = world.folder().join("lightkeeper.yaml");
    let good = std::fs::read_to_string(&config).unwrap();
    for (old, new, said) in [
        ("name: plain", "name: other", "listeners"),
        (
            "audit: { file: audit.jsonl }",
            "audit: { file: other.jsonl }",
            "audit",
        ),
    ] {
        assert!(good.contains(old));
        stage::replace(&config, good.replace(old, new));
        let errors = world.gateway.reload().await.unwrap_err().join("\n");
        assert!(
            errors.contains(said) && errors.contains("restart"),
            "{errors}"
        );
        assert_eq!(export(&world).await, 200);
    }
}

/// Scenario: an upload is half done when the policy takes its sender's permission away.
/// Guarantees: the call ends with the snapshot with which it began, the next one in the new; both records say in which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_in_the_house_in_which_it_began() {
    let world = stage::start(stage::streamed(stage::plan(&[]))).await;
    let old = world
        .gateway
        .shared()
        .snapshot
        .load()
        .policy
        .version()
        .to_owned();
    let upload = Upload::begin(&world, &world.issuer.token("checkout-collector")).await;
    let policy = world.folder().join("policy.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    stage::replace(
        &policy,
        text.replace(
            "system:serviceaccount:checkout:*",
            "system:serviceaccount:checkout:successor",
        ),
    );
    world.gateway.reload().await.unwrap();
    assert_eq!(export(&world).await, 403);
    let answer = upload.finish().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let calls = eventually("both calls' records", || async {
        let calls: Vec<_> = world
            .records()
            .into_iter()
            .filter(|record| record["event"] == "call")
            .collect();
        (calls.len() == 2).then_some(calls)
    })
    .await;
    // Their order is not told: a record is written after its answer.
    let version = |status: u16| {
        let call = calls.iter().find(|call| call["status"] == status);
        call.unwrap_or_else(|| panic!("no call with {status}: {calls:?}"))["policy_version"].clone()
    };
    assert_eq!(version(200), old.as_str());
    assert_ne!(version(403), old.as_str());
}

/// Scenario: the gateway is told to stop while an upload and a gRPC call are in flight, and connections rest idle.
/// Guarantees: it says that it is not ready and refuses new connections at once; both calls end well; idle
/// connections do not hold it up; the last record is the stop's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_calls_end() {
    let world = std::sync::Arc::new(stage::start(stage::streamed(stage::plan(&[]))).await);
    let token = world.issuer.token("checkout-collector");
    let _idle = [
        world.plain_caller().connect().await.unwrap(),
        world.caller().connect().await.unwrap(),
        world.caller().http2().connect().await.unwrap(),
    ];
    let upload = Upload::begin(&world, &token).await;
    world.emulator.fail(
        Endpoints::IngestGrpc,
        Fault::Slow(std::time::Duration::from_millis(500)),
    );
    let grpc = world.plain_caller().bearer(&token);
    let grpc = tokio::spawn(async move { grpc.export_grpc(&Sample::traces("checkout", 1)).await });
    eventually("the gRPC call upstream", || async {
        (world.emulator.heads() == 2).then_some(())
    })
    .await;

    let stopping = tokio::spawn({
        let world = world.clone();
        async move { world.gateway.stop().await }
    });
    eventually("not ready", || async {
        let (status, ready) = readiness(&world).await;
        (status == 503 && ready["draining"] == true).then_some(())
    })
    .await;
    for listener in ["plain", "gateway"] {
        let address = world.address(listener).unwrap();
        eventually("refused connections", || async {
            tokio::net::TcpStream::connect(address).await.err()
        })
        .await;
    }
    assert_eq!(stage::admin(&world, "/livez").await.0, 200);
    assert_eq!(grpc.await.unwrap().unwrap().grpc_status(), Some(0));
    assert!(!stopping.is_finished());
    let answer = upload.finish().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    tokio::time::timeout(stage::PATIENCE, stopping)
        .await
        .unwrap()
        .unwrap();
    let records = world.records();
    assert_eq!(records.last().unwrap()["event"], "stop");
    assert_eq!(
        records
            .iter()
            .filter(|record| record["event"] == "call" && record["reason"] == "ok")
            .count(),
        2
    );
}

/// Scenario: an upload and a gRPC call do not come to their end within the drain's patience.
/// Guarantees: the stop does not wait for them longer, and they leave their records all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_ever() {
    let mut plan = stage::plan(&[]);
    plan.more = "limits: { drain_timeout: 200ms }".to_owned();
    let world = stage::start(stage::streamed(plan)).await;
    let token = world.issuer.token("checkout-collector");
    let _upload = Upload::begin(&world, &token).await;
    world
        .emulator
        .fail(Endpoints::IngestGrpc, Fault::Slow(stage::PATIENCE));
    let grpc = world.plain_caller().bearer(&token);
    let grpc = tokio::spawn(async move { grpc.export_grpc(&Sample::traces("checkout", 1)).await });
    eventually("the gRPC call upstream", || async {
        (world.emulator.heads() == 2).then_some(())
    })
    .await;
    tokio::time::timeout(stage::PATIENCE / 2, world.gateway.stop())
        .await
        .unwrap();
    assert!(grpc.await.unwrap().is_err());
    let records = world.records();
    let calls: Vec<_> = records
        .iter()
        .filter(|record| record["event"] == "call")
        .collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(
        calls
            .iter()
            .all(|call| call["decision"] == "allow" && call["reason"] != "ok"),
        "{calls:?}"
    );
    assert_eq!(records.last().unwrap()["event"], "stop");
}

/// Scenario: a file changes after a reload has read it and before the reload is over.
/// Guarantees: the change is taken over all the same, without another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_during_a_reload_is_not_lost() {
    let change = |folder: &std::path::Path, name: &str| {
        let policy = folder.join("policy.yaml");
        let text = std::fs::read_to_string(&policy).unwrap();
        stage::replace(&policy, format!("{text}\n# {name}\n"));
    };
    let readings = std::sync::atomic::AtomicU64::new(0);
    let mut plan = stage::plan(&[]);
    plan.after_reading = Some(std::sync::Arc::new(move |folder| {
        // The first is the start.
        if readings.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1 {
            change(folder, "while it is read");
        }
    }));
    let world = stage::start(plan).await;
    tokio::spawn(world.gateway.clone().watch());
    change(world.folder(), "before");
    let version = |text: &str| {
        let records = world.records();
        let reloads = records.iter().filter(|record| record["event"] == text);
        reloads
            .map(|record| record["policy_version"].clone())
            .collect::<Vec<_>>()
    };
    eventually("the change during the reload", || async {
        (version("reload").len() >= 2).then_some(())
    })
    .await;
    let versions = version("reload");
    assert_ne!(
        versions.first(),
        versions.last(),
        "the policy's digest is its version"
    );
}

/// Scenario: a listener ceases to serve exports, while connections to it are open over both protocols. Guarantees: their next
/// calls are judged by what the listener serves now, as those of new connections are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listeners_settings_reach_open_connections() {
    let world = stage::start(stage::plan(&[])).await;
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let mut open = [
        caller.connect().await.unwrap(),
        caller.clone().http2().connect().await.unwrap(),
    ];
    let headers = [("content-type", "application/x-protobuf")];
    let body = Sample::traces("checkout", 1).protobuf();
    for line in &mut open {
        let answer = line
            .send(http::Method::POST, "/v1/traces", &headers, body.clone())
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
    }
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let plain = "  - name: plain\n";
    assert!(text.contains(plain));
    stage::replace(
        &config,
        text.replace(plain, &format!("{plain}    serves: [query]\n")),
    );
    world.gateway.reload().await.unwrap();
    for line in &mut open {
        let answer = line
            .send(http::Method::POST, "/v1/traces", &headers, body.clone())
            .await
            .unwrap();
        assert_eq!(answer.status, 404);
    }
    assert_eq!(export(&world).await, 404);
}
