//! The backend over TLS: which certificates the gateway believes, what it shows of itself, which HTTP it speaks. What it refuses
//! to know: what is asked of the backend.

use lightkeeper::clock::Clock;
use lightkeeper::otlp::Encoding;
use testkit::certificates::San;
use testkit::server::ServerTls;
use testkit::world::webhook_secret;
use testkit::{
    DevelopmentCertificates, EmulatorOptions, Endpoints, Fault, Format, Leaf, LeafPlan,
    LegacySample, Sample, World,
};

use super::stage;
use crate::folder::Folder;

/// A world whose backend speaks TLS with this leaf, and how the gateway is told of it.
async fn world(
    folder: &Folder,
    certificates: &DevelopmentCertificates,
    server: &Leaf,
    mutual: bool,
    trust: &str,
) -> World {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("ca.pem", &certificates.authority.certificate());
    write(
        "other-ca.pem",
        &certificates.untrusted_authority.certificate(),
    );
    write("gateway.pem", &certificates.collector.certificate);
    write("gateway.key", &certificates.collector.key);
    let trust = trust.replace("{folder}", &folder.path().display().to_string());
    let mut plan = stage::plan(&[
        (
            r#"url: "{ingest}""#,
            &format!(r#"url: "{{ingest}}", {trust}"#),
        ),
        (
            r#"url: "{query}""#,
            &format!(r#"url: "{{query}}", {trust}"#),
        ),
    ]);
    let tls = ServerTls {
        certificates: server.certificate.clone(),
        key: server.key.clone(),
        client_ca: mutual.then(|| certificates.authority.certificate()),
    };
    plan.emulator = EmulatorOptions {
        tls: Some(tls),
        ..EmulatorOptions::default()
    };
    stage::start(plan).await
}

const TRUST: &str = "ca: {folder}/ca.pem";
const MUTUAL: &str =
    "ca: {folder}/ca.pem, client: { certificate: {folder}/gateway.pem, key: {folder}/gateway.key }";

/// Status of an export over HTTP, gRPC status of one over gRPC, status of a query.
async fn three(world: &World) -> (u16, Option<u32>, u16) {
    let collector = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let sample = Sample::traces("checkout", 1);
    let ann = world.plain_caller().bearer(&world.issuer.token("ann"));
    (
        collector
            .export(&sample, Encoding::Protobuf)
            .await
            .unwrap()
            .status,
        collector.export_grpc(&sample).await.unwrap().grpc_status(),
        ann.get("/public/v0.2/acme/projects").await.unwrap().status,
    )
}

const SERVED: (u16, Option<u32>, u16) = (200, Some(0), 200);
const UNREACHED: (u16, Option<u32>, u16) = (502, Some(14), 502);

/// Scenario: a backend with an own authority that asks for a certificate of ours.
/// Guarantees: both sides are verified; gRPC is HTTP/2, which ALPN offers, everything else HTTP/1.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_authority_and_client_certificate() {
    let folder = Folder::new();
    let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
    let world = world(&folder, &certificates, &certificates.server, true, MUTUAL).await;
    assert_eq!(three(&world).await, SERVED);
    let shown = testkit::server::certificates(&certificates.collector.certificate).unwrap();
    let captured = world.emulator.captured();
    let expected = [
        (Endpoints::IngestHttp, http::Version::HTTP_11),
        (Endpoints::IngestGrpc, http::Version::HTTP_2),
        (Endpoints::Query, http::Version::HTTP_11),
    ];
    assert_eq!(captured.len(), expected.len());
    for (captured, expected) in captured.iter().zip(expected) {
        assert_eq!((captured.endpoints, captured.version), expected);
        assert_eq!(
            captured.client_certificate.as_deref(),
            Some(shown[0].as_ref()),
            "{expected:?}"
        );
    }
}

/// Scenario: backends that cannot be believed, and one that does not believe us.
/// Guarantees: 502 / UNAVAILABLE; no head, and so no credential, was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_believed_is_told_nothing() {
    let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
    let named = |plan: LeafPlan| certificates.authority.issue(&plan).unwrap();
    let other_name = named(LeafPlan {
        names: vec![San::Dns("elsewhere.example".to_owned())],
        ..LeafPlan::server()
    });
    let expired = named(LeafPlan {
        from_days: -9,
        until_days: -1,
        ..LeafPlan::server()
    });
    let own = certificates.server.clone();
    for (what, server, mutual, trust) in [
        (
            "another authority",
            &own,
            false,
            "ca: {folder}/other-ca.pem",
        ),
        ("another name", &other_name, false, TRUST),
        ("expired", &expired, false, TRUST),
        ("a certificate of ours is missing", &own, true, TRUST),
    ] {
        let folder = Folder::new();
        let world = world(&folder, &certificates, server, mutual, trust).await;
        assert_eq!(three(&world).await, UNREACHED, "{what}");
        assert_eq!(world.emulator.heads(), 0, "{what}");
    }
}

/// Scenario: connections to the backend are pooled when a reload takes the trust in it away, and gives it back.
/// Guarantees: no pooled connection outlives the trust that it was verified under, in either lane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooled_connections_do_not_outlive_their_trust() {
    let folder = Folder::new();
    let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
    let world = world(&folder, &certificates, &certificates.server, false, TRUST).await;
    assert_eq!(three(&world).await, SERVED);
    assert_eq!(three(&world).await, SERVED);
    let config = world.folder().join("lightkeeper.yaml");
    let good = std::fs::read_to_string(&config).unwrap();
    let (ours, theirs) = (folder.at("ca.pem"), folder.at("other-ca.pem"));
    for (text, expected) in [
        (good.replace(&ours, &theirs), UNREACHED),
        (good.clone(), SERVED),
    ] {
        stage::replace(&config, text);
        world.gateway.reload().await.unwrap();
        let before = world.emulator.heads();
        assert_eq!(three(&world).await, expected);
        assert_eq!(
            world.emulator.heads() - before,
            if expected == SERVED { 3 } else { 0 }
        );
    }
}

/// Scenario: the backend stops and comes back, while a connection to it is pooled.
/// Guarantees: 502 while it is away; the dead pooled connection is not held against the first call afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_comes_back() {
    let world = stage::start(stage::plan(&[])).await;
    assert_eq!(three(&world).await, SERVED);
    world.emulator.stop().await;
    assert_eq!(three(&world).await, UNREACHED);
    world.emulator.restart().await.unwrap();
    assert_eq!(three(&world).await, SERVED);
    // Restarted between two calls: the pooled connection is dead, which has not been noticed yet.
    world.emulator.stop().await;
    world.emulator.restart().await.unwrap();
    assert_eq!(three(&world).await, SERVED);
}

/// Scenario: a pooled connection ends under a call, before and in the middle of its answer.
/// Guarantees: what may be done twice is asked again, once, if nothing came back; a write and an export never are: the
/// exporter is told to come again; and nothing is once an answer has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_repeated_is_not() {
    let world = stage::start(stage::plan(&[])).await;
    let ann = world.plain_caller().bearer(&world.issuer.token("ann"));
    let collector = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let streams = "/public/v0.2/acme/projects/shop-prod/streams";
    let body = serde_json::json!({ "data": { "attributes": { "name": "n", "query": "q" } } });
    for (what, fault, sent, status) in [
        ("read", Fault::CloseBeforeHead, 2, 200),
        ("read", Fault::CloseAfterHead, 1, 502),
        ("write", Fault::CloseBeforeHead, 1, 502),
        ("write", Fault::CloseAfterHead, 1, 502),
        ("export", Fault::CloseBeforeHead, 1, 502),
        // The status has come: the backend has it.
        ("export", Fault::CloseAfterHead, 1, 200),
        ("report", Fault::CloseBeforeHead, 1, 502),
        ("report", Fault::AcceptThenClose, 1, 502),
        ("grpc", Fault::CloseBeforeHead, 1, 14),
        ("grpc", Fault::AcceptThenClose, 1, 14),
        ("grpc", Fault::AcceptThenReset, 1, 14),
    ] {
        // Lets a connection rest in the pool.
        assert_eq!(three(&world).await, SERVED);
        let (before, connections) = (world.emulator.heads(), world.emulator.connections());
        world.emulator.fail_times(Endpoints::All, fault.clone(), 1);
        let answer = match what {
            "read" => ann.get(streams).await,
            "write" => ann.post(streams, &body).await,
            "report" => {
                collector
                    .report(&LegacySample::of(Format::Zipkin, "checkout", 1))
                    .await
            }
            "grpc" => collector.export_grpc(&Sample::traces("checkout", 1)).await,
            _ => {
                collector
                    .export(&Sample::traces("checkout", 1), Encoding::Protobuf)
                    .await
            }
        };
        let answer = answer.unwrap();
        let found = answer
            .grpc_status()
            .map_or(answer.status, |code| u16::try_from(code).unwrap());
        assert_eq!(found, status, "{what} {fault:?}");
        assert_eq!(world.emulator.heads() - before, sent, "{what} {fault:?}");
        assert_eq!(
            world.emulator.connections() - connections,
            sent - 1,
            "{what} {fault:?}"
        );
    }
}

/// Scenario: a destination answers the first message and keeps the connection, then ends it under every further one
/// without an answer. Guarantees: each further message is put to it at most twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_is_asked_at_most_once_more() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/pager", listener.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut read = Vec::new();
                while stream
                    .read_buf(&mut read)
                    .await
                    .is_ok_and(|count| count > 0)
                {
                    // A message ends with its last brace.
                    if !read.ends_with(b"}") {
                        continue;
                    }
                    read.clear();
                    if counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 {
                        return;
                    }
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .await
                        .unwrap();
                }
            });
        }
    });
    let mut plan = stage::plan(&[(
        "alerts:\n  destinations:\n",
        &format!("alerts:\n  destinations:\n    pager: {{ url: \"{url}\" }}\n"),
    )]);
    plan.policy = plan
        .policy
        .replacen("destinations: [oncall]", "destinations: [pager]", 1);
    let world = stage::start(plan).await;
    let caller = world.plain_caller().bearer(&webhook_secret("shop"));
    let post = async |name: &str| {
        caller
            .post("/apps/shop/-/alerts", &serde_json::json!({ "name": name }))
            .await
            .unwrap()
    };
    assert_eq!(post("first").await.status, 200);
    assert_eq!(asked.swap(1, std::sync::atomic::Ordering::SeqCst), 1);
    for name in ["second", "third"] {
        let answer = post(name).await;
        let record = stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
        assert_eq!(
            (answer.status, &record["reason"]),
            (502, &"destination_failed".into()),
            "{name}"
        );
        assert_eq!(
            asked.swap(1, std::sync::atomic::Ordering::SeqCst) - 1,
            2,
            "{name}"
        );
    }
}
