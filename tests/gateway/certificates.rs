//! Client certificates over real handshakes: chains with an authority in between, and sessions that are not resumed.
//! What it refuses to know: which link of a chain may be wrong in which way; the room's own tests know.

use std::sync::Arc;

use http::Method;
use lightkeeper::clock::Clock;
use lightkeeper::otlp::Encoding;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls::HandshakeKind;
use serde_json::{Value, json};
use testkit::certificates::San;
use testkit::{DevelopmentCertificates, Leaf, LeafPlan, Sample, World};
use time::{Duration, OffsetDateTime};

use super::stage::{self, eventually};

type Signer = CertifiedIssuer<'static, KeyPair>;

/// The number of the authority in between.
const BETWEEN: u64 = 20;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(Clock::system().now().seconds()).unwrap()
}

fn params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    (params.not_before, params.not_after) = (now() - Duration::days(1), now() + Duration::days(1));
    params
}

fn authority(name: &str, serial: u64) -> CertificateParams {
    let mut params = params(name, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn list(signer: &Signer, revoked: &[u64]) -> String {
    let entry = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: now() - Duration::hours(1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: now() - Duration::hours(1),
        next_update: now() + Duration::hours(1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(signer).unwrap().pem().unwrap()
}

/// A root that the gateway trusts, an authority beneath it, and a workload's leaf of that.
struct Chain {
    root: Signer,
    between: Signer,
    leaf: String,
    key: String,
}

impl Chain {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let root = CertifiedIssuer::self_signed(authority("root", 1), KeyPair::generate().unwrap())
            .unwrap();
        let mut beneath = authority("between", BETWEEN);
        change(&mut beneath);
        let between =
            CertifiedIssuer::signed_by(beneath, KeyPair::generate().unwrap(), &root).unwrap();
        let mut leaf = params("collector", 30);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        leaf.subject_alt_names = vec![SanType::URI(
            "spiffe://prod.acme.example/ns/checkout/sa/collector"
                .try_into()
                .unwrap(),
        )];
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &between).unwrap().pem();
        Chain {
            root,
            between,
            leaf,
            key: key.serialize_pem(),
        }
    }

    /// Makes the world trust the root; `revoked`: by the root.
    async fn trusted_by(&self, world: &World, revoked: &[u64]) {
        let folder = world.folder();
        stage::replace(&folder.join("certs/root.pem"), self.root.pem());
        stage::replace(
            &folder.join("certs/clients.crl"),
            list(&self.root, revoked) + &list(&self.between, &[]),
        );
        let config = std::fs::read_to_string(folder.join("lightkeeper.yaml")).unwrap();
        stage::replace(
            &folder.join("lightkeeper.yaml"),
            config.replace("certs/ca.pem", "certs/root.pem"),
        );
        world.gateway.reload().await.unwrap();
    }

    /// The leaf with these certificates after it.
    fn shown(&self, world: &World, above: &[&Signer]) -> Leaf {
        let certs = world.folder().join("certs");
        let pem: String = above.iter().map(|signer| signer.pem()).collect();
        stage::replace(&certs.join("chain.pem"), self.leaf.clone() + &pem);
        stage::replace(&certs.join("chain.key"), &self.key);
        Leaf::read(&certs, "chain").unwrap()
    }
}

/// Scenario: a workload whose certificate comes from an authority beneath the trusted one exports, with that authority's
/// certificate beside its own and without.
/// Guarantees: the intermediates of a handshake arrive where the chain is judged, in the handshake and for the request;
/// one that is revoked, expired or may not sign vouches for no leaf, and neither does one that was not sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intermediates_are_judged_with_the_leaf() {
    let world = stage::start(stage::plan(&[])).await;
    let (sound, other) = (Chain::new(|_| ()), Chain::new(|_| ()));
    let expired = Chain::new(|between| between.not_after = now() - Duration::hours(1));
    let lists_alone = Chain::new(|between| between.key_usages = vec![KeyUsagePurpose::CrlSign]);
    for (what, chain, sent, revoked, expected) in [
        ("sound", &sound, vec![&sound.between], vec![], Ok(200)),
        (
            "with the root",
            &sound,
            vec![&sound.between, &sound.root],
            vec![],
            Ok(200),
        ),
        (
            "not sent",
            &sound,
            vec![],
            vec![],
            Err("certificate_untrusted"),
        ),
        (
            "another's",
            &sound,
            vec![&other.between],
            vec![],
            Err("certificate_untrusted"),
        ),
        (
            "revoked",
            &sound,
            vec![&sound.between],
            vec![BETWEEN],
            Err("certificate_revoked"),
        ),
        (
            "expired",
            &expired,
            vec![&expired.between],
            vec![],
            Err("certificate_expired"),
        ),
        (
            "may not sign",
            &lists_alone,
            vec![&lists_alone.between],
            vec![],
            Err("certificate_untrusted"),
        ),
    ] {
        chain.trusted_by(&world, &revoked).await;
        let before = refused(&world).len();
        let caller = world.caller().certificate(&chain.shown(&world, &sent));
        let answer = caller
            .export(&Sample::traces("some-service", 1), Encoding::Protobuf)
            .await;
        match expected {
            Ok(status) => assert_eq!(answer.unwrap().status, status, "{what}"),
            Err(reason) => {
                assert!(answer.is_err(), "{what}: {answer:?}");
                let record = next_refused(&world, before).await;
                assert_eq!(record["reason"], reason, "{what}");
            }
        }
    }
}

/// Scenario: a client shows a revoked certificate. Guarantees: what is recorded once is counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_certificate_is_counted_once() {
    let world = stage::start(stage::plan(&[])).await;
    let revoked = Leaf::read(&world.folder().join("certs"), "revoked").unwrap();
    let sample = Sample::traces("checkout", 1);
    for count in 1..=2 {
        let answer = world
            .caller()
            .certificate(&revoked)
            .export(&sample, Encoding::Protobuf)
            .await;
        assert!(answer.is_err(), "{answer:?}");
        next_refused(&world, count - 1).await;
        let page = stage::admin(&world, "/metrics").await.1;
        let counted: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("lightkeeper_edge_refusals_total{"))
            .collect();
        assert_eq!(counted.len(), 1, "{counted:?}");
        assert!(
            counted[0].contains("certificate_revoked")
                && counted[0].ends_with(&format!(" {count}")),
            "{counted:?}"
        );
    }
}

/// The records of refused handshakes.
fn refused(world: &World) -> Vec<Value> {
    world
        .records()
        .into_iter()
        .filter(|record| record["event"] == "handshake_failed")
        .collect()
}

/// The one after the first `before`.
async fn next_refused(world: &World, before: usize) -> Value {
    eventually("the refused handshake's record", || async {
        refused(world).get(before).cloned()
    })
    .await
}

/// Scenario: a client that would resume its TLS session comes back, in TLS 1.2 and 1.3, to a listener that asks for
/// certificates and to the same listener when it does not.
/// Guarantees: where certificates are asked for, each connection is a whole handshake, so that each is judged; the
/// client does resume where it may, so that this is the listener's doing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_with_client_certificates_are_not_resumed() {
    let world = stage::start(stage::plan(&[])).await;
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert_eq!(handshakes(&world).await, [HandshakeKind::Full; 4]);
    let asked: Vec<&str> = text
        .lines()
        .filter(|line| !mentions_clients(line))
        .collect();
    assert!(asked.len() < text.lines().count());
    stage::replace(&config, asked.join("\n"));
    world.gateway.reload().await.unwrap();
    let (full, resumed) = (HandshakeKind::Full, HandshakeKind::Resumed);
    assert_eq!(handshakes(&world).await, [full, resumed, full, resumed]);
    stage::replace(&config, text);
    world.gateway.reload().await.unwrap();
    assert_eq!(handshakes(&world).await, [HandshakeKind::Full; 4]);
}

/// Lines of the configuration that ask for client certificates.
fn mentions_clients(line: &str) -> bool {
    [
        "client_ca:",
        "client_certificate:",
        "client_crl:",
        "certs/ca.pem",
        "certs/clients.crl",
    ]
    .iter()
    .any(|key| line.contains(key))
}

/// The kinds of two handshakes in TLS 1.3 and two in TLS 1.2, by clients with a certificate and a memory.
async fn handshakes(world: &World) -> Vec<HandshakeKind> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let certs = world.folder().join("certs");
    let leaf = Leaf::read(&certs, "collector").unwrap();
    let server_ca = std::fs::read_to_string(certs.join("ca.pem")).unwrap();
    let mut kinds = Vec::new();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = rustls::ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(testkit::server::roots(&server_ca).unwrap())
            .with_client_auth_cert(
                testkit::server::certificates(&leaf.certificate).unwrap(),
                testkit::server::private_key(&leaf.key).unwrap(),
            )
            .unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        for _ in 0..2 {
            let tcp = tokio::net::TcpStream::connect(world.address("gateway").unwrap())
                .await
                .unwrap();
            let mut tls = connector
                .connect("localhost".try_into().unwrap(), tcp)
                .await
                .unwrap();
            tls.write_all(b"GET /.lightkeeper/whoami HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = Vec::new();
            // Tickets come before the answer, so that they have been read when it has.
            tls.read_to_end(&mut answer).await.unwrap();
            assert!(
                answer.starts_with(b"HTTP/1.1 "),
                "{}",
                String::from_utf8_lossy(&answer)
            );
            kinds.push(tls.get_ref().1.handshake_kind().unwrap());
        }
    }
    kinds
}

/// A configuration that trusts a second authority, `partner`, for its own names.
const PARTNER: &str = "        - { name: partner, file: certs/partner.pem, trust_domains: [partner.example], dns: [\"*.partner.example\"] }\n";

/// Scenario: the listener trusts a partner's authority besides; the partner issues certificates for its own workload, for
/// one of ours, and for one of its hosts.
/// Guarantees: ours is still served and theirs is who it is, each with its authority as issuer, in `whoami`, for the policy
/// and in the record, with the leaf's digest; ours by them is not identified, and the record tells which authority may not say it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_speaks_for_its_own_trust_domain_alone() {
    let mut plan = stage::plan(&[(
        "      client_certificate: optional\n",
        &format!("{PARTNER}      client_certificate: optional\n"),
    )]);
    // The file must be there when the gateway starts; what is in it changes before the first call.
    plan.config = plan
        .config
        .replace("certs/partner.pem", "certs/untrusted-ca.pem");
    let theirs = r#"{ name: theirs, subjects: [{ issuer: partner, dns: "*.partner.example" }], role: reporter, apps: [platform] }"#;
    let world = stage::start(stage::bind(plan, theirs)).await;
    let partner = DevelopmentCertificates::new(&Clock::system())
        .unwrap()
        .authority;
    stage::replace(
        &world.folder().join("certs/untrusted-ca.pem"),
        partner.certificate(),
    );
    world.gateway.reload().await.unwrap();

    let collector = "spiffe://prod.acme.example/ns/checkout/sa/collector";
    let own = Leaf::read(&world.folder().join("certs"), "collector").unwrap();
    let forged = partner.spiffe(collector).unwrap();
    let guest = partner.spiffe("spiffe://partner.example/etl").unwrap();
    let host = |name: &str| {
        partner
            .issue(&LeafPlan::client("etl", vec![San::Dns(name.to_owned())]))
            .unwrap()
    };
    let (etl, our_host) = (host("etl.partner.example"), host("batch.acme.example"));
    for http2 in [false, true] {
        for (what, leaf, expected, ca, subject) in [
            ("ours", &own, (200, "ok"), "workloads", Some(collector)),
            (
                "ours by them",
                &forged,
                (401, "certificate_out_of_scope"),
                "partner",
                None,
            ),
            (
                "theirs",
                &guest,
                (403, "no_writable_app"),
                "partner",
                Some("spiffe://partner.example/etl"),
            ),
            (
                "a host of theirs",
                &etl,
                (200, "ok"),
                "partner",
                Some("etl.partner.example"),
            ),
            (
                "a host of ours by them",
                &our_host,
                (403, "no_writable_app"),
                "partner",
                Some("CN=etl,O=acme"),
            ),
        ] {
            let caller = world.caller().certificate(leaf);
            let caller = if http2 { caller.http2() } else { caller };
            let answer = caller
                .export(&Sample::traces("some-service", 1), Encoding::Protobuf)
                .await
                .unwrap();
            let record =
                stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
            assert_eq!(
                (answer.status, record["reason"].as_str().unwrap()),
                expected,
                "{what}"
            );
            let shown = json!({ "ca": ca, "sha256": sha256(&leaf.certificate) });
            match subject {
                Some(subject) => {
                    let identity = json!({ "method": "mtls", "issuer": ca, "subject": subject, "certificate": shown });
                    assert_eq!(record["identity"], identity, "{what}");
                    let page = caller
                        .get("/.lightkeeper/whoami")
                        .await
                        .unwrap()
                        .json()
                        .unwrap();
                    assert_eq!(
                        (&page["issuer"], &page["subject"]),
                        (&json!(ca), &json!(subject)),
                        "{what}"
                    );
                    assert_eq!(
                        (&page["certificate"]["ca"], &page["certificate"]["sha256"]),
                        (&shown["ca"], &shown["sha256"])
                    );
                }
                None => assert_eq!(
                    (&record["identity"], &record["certificate"]),
                    (&json!(null), &shown),
                    "{what}"
                ),
            }
        }
    }
    let projects: Vec<_> = world
        .emulator
        .exports()
        .iter()
        .map(|export| export.project.clone())
        .collect();
    assert_eq!(
        projects,
        [
            "checkout-prod",
            "platform-prod",
            "checkout-prod",
            "platform-prod"
        ]
    );
}

/// Scenario: an authority's trust domain is taken out of the configuration while a workload has connections open, and
/// given back.
/// Guarantees: the workload is unidentified from the reload on and itself again after the next; a certificate that no authority
/// vouches for leaves its digest in the record of its handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_trust_domain_reaches_open_connections() {
    let world = stage::start(stage::plan(&[])).await;
    let certs = world.folder().join("certs");
    let caller = world
        .caller()
        .certificate(&Leaf::read(&certs, "collector").unwrap());
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let mut lines = [
        caller.clone().http2().connect().await.unwrap(),
        caller.connect().await.unwrap(),
    ];
    let domains = "trust_domains: [prod.acme.example]";
    assert!(text.contains(domains));
    for (now, status) in [(domains, 200), ("trust_domains: [stage.acme.example]", 401)] {
        stage::replace(&config, text.replace(domains, now));
        world.gateway.reload().await.unwrap();
        for line in &mut lines {
            let answer = line
                .send(Method::GET, "/.lightkeeper/whoami", &[], Vec::new())
                .await
                .unwrap();
            assert_eq!(answer.status, status, "{now}");
        }
    }
    stage::replace(&config, &text);
    world.gateway.reload().await.unwrap();
    assert_eq!(
        caller.get("/.lightkeeper/whoami").await.unwrap().status,
        200
    );
    let before = refused(&world).len();
    let stranger = Leaf::read(&certs, "untrusted-client").unwrap();
    assert!(
        world
            .caller()
            .certificate(&stranger)
            .get("/.lightkeeper/whoami")
            .await
            .is_err()
    );
    let record = next_refused(&world, before).await;
    assert_eq!(
        (&record["reason"], &record["identity"]),
        (&json!("certificate_untrusted"), &json!(null))
    );
    assert_eq!(
        record["certificate"],
        json!({ "sha256": sha256(&stranger.certificate) })
    );
}

fn sha256(pem: &str) -> String {
    let leaf = &testkit::server::certificates(pem).unwrap()[0];
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
    sum.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
