//! What bounds exports that are read: sizes, memory, quotas, penalties. What it refuses to know: what a good export
//! becomes (`exports` does).

use lightkeeper::otlp::Encoding;
use testkit::{Coding, Leaf, Sample};

use super::exports::{checkout, frontend, record_of};
use super::stage::{self, eventually};

/// Scenario: bodies that cannot be read, or grow beyond their limits.
/// Guarantees: the caller's fault, told without the offset, which is in the record; nothing upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_goes_nowhere() {
    let mut plan = stage::plan(&[]);
    plan.more = "limits: { decompressed_body: 1MiB, penalty: off }".to_owned();
    let world = stage::start(plan).await;
    let gzip = |bytes: &[u8]| Coding::Gzip.compress(bytes).unwrap();
    let zstd = |bytes: &[u8]| Coding::Zstd.compress(bytes).unwrap();
    let good = Sample::traces("checkout", 3).protobuf();
    let cut = &good[..good.len() - 1];
    type Case<'a> = (&'a str, &'a str, &'a str, Vec<u8>, u16, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (
            "cut",
            "application/x-protobuf",
            "",
            cut.to_vec(),
            400,
            "body_malformed",
        ),
        (
            "text",
            "application/x-protobuf",
            "",
            b"hello".to_vec(),
            400,
            "body_malformed",
        ),
        (
            "not JSON",
            "application/json",
            "",
            good.clone(),
            400,
            "body_malformed",
        ),
        (
            "half JSON",
            "application/json",
            "",
            b"{\"resourceSpans\":[{".to_vec(),
            400,
            "body_malformed",
        ),
        (
            "deep JSON",
            "application/json",
            "",
            b"[".repeat(100_000),
            400,
            "body_malformed",
        ),
        (
            "twice",
            "application/json",
            "",
            b"{\"resourceSpans\":[],\"resource_spans\":[]}".to_vec(),
            400,
            "body_malformed",
        ),
        (
            "not gzip",
            "application/x-protobuf",
            "gzip",
            good.clone(),
            400,
            "body_undecodable",
        ),
        (
            "cut gzip",
            "application/x-protobuf",
            "gzip",
            gzip(&good)[..40].to_vec(),
            400,
            "body_undecodable",
        ),
        (
            "gzip of nonsense",
            "application/x-protobuf",
            "gzip",
            gzip(b"hello"),
            400,
            "body_malformed",
        ),
        (
            "gzip bomb",
            "application/x-protobuf",
            "gzip",
            gzip(&vec![0; 64 << 20]),
            413,
            "",
        ),
        (
            "zstd bomb",
            "application/x-protobuf",
            "zstd",
            zstd(&vec![0; 64 << 20]),
            413,
            "",
        ),
        (
            "unknown coding",
            "application/x-protobuf",
            "br",
            good.clone(),
            415,
            "",
        ),
    ];
    for (name, kind, coding, body, status, reason) in cases {
        let mut caller = checkout(&world).header("content-type", kind);
        if !coding.is_empty() {
            caller = caller.header("content-encoding", coding);
        }
        let answer = caller
            .send(http::Method::POST, "/v1/traces", &[], body)
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        let record = record_of(&world, &answer).await;
        if !reason.is_empty() {
            assert_eq!(record["reason"], reason, "{name}");
        }
        if reason == "body_malformed" {
            assert!(
                record["detail"].as_str().unwrap().contains("at byte"),
                "{name}: {record}"
            );
        }
        assert!(!answer.text().contains("at byte"), "{name}");
    }
    assert_eq!(world.emulator.heads(), 0);
    eventually("the budget is given back", || async {
        (stage::metric(&world, "lightkeeper_buffered_bytes").await < 1.0).then_some(())
    })
    .await;
}

/// Scenario: an exporter holds memory with a body that is still coming, and announces one that its share has no room for,
/// as a client that waits to be told to send it. Guarantees: 429 with a hint when to come again, before any of the body is
/// read; another is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_share_is_told_before_the_body_is_read() {
    let mut plan = stage::plan(&[]);
    plan.more =
        "limits: { body: 1MiB, decompressed_body: 1MiB, response: 1MiB, buffered_total: 3MiB }"
            .to_owned();
    let world = stage::start(plan).await;
    let token = world.issuer.token("checkout-collector");
    let head = |length: usize| {
        format!(
            "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n\
             Content-Type: application/x-protobuf\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut first = tokio::net::TcpStream::connect(world.address("plain").unwrap())
        .await
        .unwrap();
    first.write_all(head(1 << 20).as_bytes()).await.unwrap();
    let mut word = [0; 12];
    first.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"HTTP/1.1 100");
    first.write_all(&vec![0; 900 << 10]).await.unwrap();
    eventually("a body that is held", || async {
        (stage::metric(&world, "lightkeeper_buffered_bytes").await >= f64::from(900 << 10))
            .then_some(())
    })
    .await;
    let answer = world
        .plain_caller()
        .raw(head(900 << 10).as_bytes())
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 429 ") && answer.to_ascii_lowercase().contains("retry-after:"),
        "{answer}"
    );
    let other = world
        .plain_caller()
        .bearer(&world.issuer.token("payments-collector"));
    assert_eq!(
        other
            .export(&Sample::traces("payments", 1), Encoding::Protobuf)
            .await
            .unwrap()
            .status,
        200
    );
    drop(first);
    eventually("room again", || async {
        (stage::metric(&world, "lightkeeper_buffered_bytes").await < 1.0).then_some(())
    })
    .await;
    assert_eq!(
        checkout(&world)
            .export(&Sample::traces("checkout", 1), Encoding::Protobuf)
            .await
            .unwrap()
            .status,
        200
    );
}

/// Scenario: quotas on an app above and on a binding. Guarantees: over it, 429 or RESOURCE_EXHAUSTED with when to come
/// again, in the record with its reason; others are not concerned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_hold_for_subtrees_and_bindings() {
    for (old, new) in [
        (
            "    project: shop-prod\n",
            "    project: shop-prod\n    quota: { items_per_second: 10, burst: 1s }\n",
        ),
        (
            "role: reporter\n    apps: [shop/checkout]",
            "role: reporter\n    quota: { items_per_second: 10, burst: 1s }\n    apps: [shop/checkout]",
        ),
    ] {
        let mut plan = stage::plan(&[]);
        assert!(plan.policy.contains(old));
        plan.policy = plan.policy.replacen(old, new, 1);
        let batch = "{ name: batch, subjects: [{ dns: batch.acme.example }], role: reporter, apps: [platform] }";
        let plan = stage::bind(plan, batch);
        let world = stage::start(plan).await;
        let export = || async {
            checkout(&world)
                .export(&Sample::traces("checkout", 100), Encoding::Protobuf)
                .await
                .unwrap()
        };
        assert_eq!(export().await.status, 200);
        let answer = export().await;
        assert_eq!(answer.status, 429);
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((5..=10).contains(&wait), "{wait}");
        assert_eq!(record_of(&world, &answer).await["reason"], "over_quota");
        let answer = checkout(&world)
            .export_grpc(&Sample::traces("checkout", 1))
            .await
            .unwrap();
        assert_eq!(
            (answer.grpc_status(), answer.trailers.is_empty()),
            (Some(8), true)
        );
        assert!(answer.header("grpc-status-details-bin").is_some());
        let platform = world
            .caller()
            .certificate(&Leaf::read(&world.folder().join("certs"), "client").unwrap());
        let others = Sample::traces("node-agent", 1);
        let answer = platform.export(&others, Encoding::Protobuf).await.unwrap();
        assert_eq!(answer.status, 200, "{}", record_of(&world, &answer).await);
        assert_eq!(world.emulator.exports().len(), 2);
    }
}

/// Scenario: a caller sends nothing but bodies that cannot be read, more often than is forgiven.
/// Guarantees: it is told to stay away before its body is read, for longer each time; others are not concerned; with
/// `penalty: off` it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_failing_is_answered_from_the_head() {
    for (limits, expected) in [("penalty: on", 429), ("penalty: off", 400)] {
        let mut plan = stage::plan(&[]);
        plan.more = format!("limits: {{ {limits} }}");
        let world = stage::start(plan).await;
        let bad = checkout(&world).header("content-type", "application/x-protobuf");
        let fail = || async {
            bad.send(http::Method::POST, "/v1/traces", &[], b"hello".to_vec())
                .await
                .unwrap()
        };
        let mut last = fail().await;
        for _ in 0..100 {
            if last.status != 400 {
                break;
            }
            last = fail().await;
        }
        assert_eq!(last.status, expected, "{limits}");
        if expected == 429 {
            assert!(last.header("retry-after").is_some());
            assert_eq!(record_of(&world, &last).await["reason"], "penalty");
        }
        assert_eq!(
            frontend(&world)
                .export(&Sample::traces("checkout", 1), Encoding::Protobuf)
                .await
                .unwrap()
                .status,
            200
        );
    }
}

/// Scenario: a client goes away in the middle of its body, of its gRPC message, of its chunked body.
/// Guarantees: nothing upstream, nothing remembered, the memory given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_body_goes_nowhere() {
    let world = stage::start(stage::plan(&[])).await;
    let token = world.issuer.token("shop-frontend");
    let body = Sample::traces("checkout", 3).and("payments", 3).protobuf();
    for framing in [
        format!("Content-Length: {}", body.len()),
        "Transfer-Encoding: chunked".to_owned(),
    ] {
        use tokio::io::AsyncWriteExt as _;
        let chunked = framing.starts_with('T');
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/x-protobuf\r\n{framing}\r\n\r\n"
        );
        let mut stream = tokio::net::TcpStream::connect(world.address("plain").unwrap())
            .await
            .unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        if chunked {
            stream
                .write_all(format!("{:x}\r\n", body.len()).as_bytes())
                .await
                .unwrap();
        }
        stream.write_all(&body[..body.len() / 2]).await.unwrap();
        let before = world.records().len();
        drop(stream);
        eventually("its record", || async {
            (world.records().len() > before).then_some(())
        })
        .await;
        let records = world.records();
        assert_ne!(records.last().unwrap()["reason"], "ok");
    }
    assert_eq!(world.emulator.heads(), 0);
    assert!(world.gateway.shared().remembered.is_empty());
    stage::counts(&world, "lightkeeper_buffered_bytes", 0.0).await;
}

/// Scenario: the operator has exporters that drop what is answered with 429. Guarantees: with `quota_status: 503` a quota
/// says so over HTTP, in every encoding, with when to come again and with the same reason; gRPC is told as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_says_503_where_that_is_wanted() {
    for (limits, status) in [("", 429), ("limits: { quota_status: 503 }\n", 503)] {
        let mut plan = stage::plan(&[]);
        plan.more = limits.to_owned();
        let old = "role: reporter\n    apps: [shop/checkout]";
        assert!(plan.policy.contains(old));
        let new = "role: reporter\n    quota: { items_per_second: 10, burst: 1s }\n    apps: [shop/checkout]";
        plan.policy = plan.policy.replacen(old, new, 1);
        let world = stage::start(plan).await;
        let first = checkout(&world)
            .export(&Sample::traces("checkout", 100), Encoding::Json)
            .await
            .unwrap();
        assert_eq!(first.status, 200);
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let answer = checkout(&world)
                .export(&Sample::traces("checkout", 100), encoding)
                .await
                .unwrap();
            assert_eq!(
                (answer.status, answer.header("content-type").as_deref()),
                (status, Some(encoding.media_type()))
            );
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=20).contains(&wait), "{wait}");
            let record = record_of(&world, &answer).await;
            assert_eq!(
                (&record["reason"], &record["decision"]),
                (&"over_quota".into(), &"deny".into()),
                "{record}"
            );
        }
        let answer = checkout(&world)
            .export_grpc(&Sample::traces("checkout", 1))
            .await
            .unwrap();
        assert_eq!(answer.grpc_status(), Some(8));
        assert!(answer.header("grpc-status-details-bin").is_some());
    }
}
