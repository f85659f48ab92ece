//! The backend over TLS: whom the gateway believes, what it shows of itself, which HTTP it speaks. What it refuses
//! to know: what is asked of the backend.

use lightkeeper::clock::Clock;
use lightkeeper::demo::certificates::San;
use lightkeeper::demo::server::ServerTls;
use lightkeeper::demo::{DevelopmentCertificates, EmulatorOptions, Endpoints, Leaf, LeafPlan, Sample, World};
use lightkeeper::otlp::Encoding;

use crate::stage::{self, Folder};

/// A world whose backend speaks TLS with this leaf, and how the gateway is told of it.
async fn world(
    folder: &Folder,
    certificates: &DevelopmentCertificates,
    server: &Leaf,
    mutual: bool,
    trust: &str,
) -> World {
    let write = |name: &str, text: &str| std::fs::write(folder.0.join(name), text).unwrap();
    write("ca.pem", &certificates.authority.certificate());
    write("other-ca.pem", &certificates.untrusted_authority.certificate());
    write("gateway.pem", &certificates.collector.certificate);
    write("gateway.key", &certificates.collector.key);
    let trust = trust.replace("{folder}", &folder.0.display().to_string());
    let mut plan = stage::plan(&[
        (r#"url: "{ingest}""#, &format!(r#"url: "{{ingest}}", {trust}"#)),
        (r#"url: "{query}""#, &format!(r#"url: "{{query}}", {trust}"#)),
    ]);
    let tls = ServerTls {
        certificates: server.certificate.clone(),
        key: server.key.clone(),
        client_ca: mutual.then(|| certificates.authority.certificate()),
    };
    plan.emulator = EmulatorOptions { tls: Some(tls), ..EmulatorOptions::default() };
    stage::start(plan).await
}

const TRUST: &str = "ca: {folder}/ca.pem";
const MUTUAL: &str = "ca: {folder}/ca.pem, client: { certificate: {folder}/gateway.pem, key: {folder}/gateway.key }";

/// Status of an export over HTTP, gRPC status of one over gRPC, status of a query.
async fn three(world: &World) -> (u16, Option<u32>, u16) {
    let collector = world.plain_caller().bearer(&world.issuer.token("checkout-collector"));
    let sample = Sample::traces("checkout", 1);
    let ann = world.plain_caller().bearer(&world.issuer.token("ann"));
    (
        collector.export(&sample, Encoding::Protobuf).await.unwrap().status,
        collector.export_grpc(&sample).await.unwrap().grpc_status(),
        ann.get("/public/v0.2/acme/projects").await.unwrap().status,
    )
}

const SERVED: (u16, Option<u32>, u16) = (200, Some(0), 200);
const UNREACHED: (u16, Option<u32>, u16) = (502, Some(14), 502);

/// Scenario: a backend with an own authority that asks for a certificate of ours.
/// Guarantees: both sides are verified, HTTP/2 is spoken because ALPN offers it, for exports over HTTP too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_authority_and_client_certificate() {
    let folder = Folder::new("upstream-mutual");
    let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
    let world = world(&folder, &certificates, &certificates.server, true, MUTUAL).await;
    assert_eq!(three(&world).await, SERVED);
    let shown = lightkeeper::demo::server::certificates(&certificates.collector.certificate).unwrap();
    for (captured, endpoints) in
        world.emulator.captured().iter().zip([Endpoints::IngestHttp, Endpoints::IngestGrpc, Endpoints::Query])
    {
        assert_eq!((captured.endpoints, captured.version), (endpoints, http::Version::HTTP_2));
        assert_eq!(captured.client_certificate.as_deref(), Some(shown[0].as_ref()), "{endpoints:?}");
    }
}

/// Scenario: backends that cannot be believed, and one that does not believe us.
/// Guarantees: 502 / UNAVAILABLE; no head, and so no credential, was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_believed_is_told_nothing() {
    let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
    let named = |plan: LeafPlan| certificates.authority.issue(&plan).unwrap();
    let other_name = named(LeafPlan { names: vec![San::Dns("elsewhere.example".to_owned())], ..LeafPlan::server() });
    let expired = named(LeafPlan { from_days: -9, until_days: -1, ..LeafPlan::server() });
    let own = certificates.server.clone();
    for (what, server, mutual, trust) in [
        ("another authority", &own, false, "ca: {folder}/other-ca.pem"),
        ("another name", &other_name, false, TRUST),
        ("expired", &expired, false, TRUST),
        ("a certificate of ours is missing", &own, true, TRUST),
    ] {
        let folder = Folder::new(&format!("upstream-{}", what.replace(' ', "-")));
        let world = world(&folder, &certificates, server, mutual, trust).await;
        assert_eq!(three(&world).await, UNREACHED, "{what}");
        assert_eq!(world.emulator.heads(), 0, "{what}");
    }
}

/// Scenario: connections to the backend are pooled when a reload takes the trust in it away, and gives it back.
/// Guarantees: no pooled connection outlives the trust that it was verified under, in either lane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooled_connections_do_not_outlive_their_trust() {
    let folder = Folder::new("upstream-pool");
    let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
    let world = world(&folder, &certificates, &certificates.server, false, TRUST).await;
    assert_eq!(three(&world).await, SERVED);
    assert_eq!(three(&world).await, SERVED);
    let config = world.folder().join("lightkeeper.yaml");
    let good = std::fs::read_to_string(&config).unwrap();
    let (ours, theirs) = (folder.at("ca.pem"), folder.at("other-ca.pem"));
    for (text, expected) in [(good.replace(&ours, &theirs), UNREACHED), (good.clone(), SERVED)] {
        stage::replace(&config, text);
        world.gateway.reload().await.unwrap();
        let before = world.emulator.heads();
        assert_eq!(three(&world).await, expected);
        assert_eq!(world.emulator.heads() - before, if expected == SERVED { 3 } else { 0 });
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
    // Restarted between two calls: the pooled connection is dead, and nobody has noticed yet.
    world.emulator.stop().await;
    world.emulator.restart().await.unwrap();
    assert_eq!(three(&world).await, SERVED);
}
