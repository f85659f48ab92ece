//! Client certificates over real handshakes: chains with an authority in between, and sessions that are not resumed.
//! What it refuses to know: which link of a chain may be wrong in which way; the room's own tests know.

use std::sync::Arc;

use lightkeeper::clock::Clock;
use lightkeeper::demo::{Leaf, Sample, World};
use lightkeeper::otlp::Encoding;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::HandshakeKind;
use time::{Duration, OffsetDateTime};

use crate::stage;

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
        let root = CertifiedIssuer::self_signed(authority("root", 1), KeyPair::generate().unwrap()).unwrap();
        let mut beneath = authority("between", BETWEEN);
        change(&mut beneath);
        let between = CertifiedIssuer::signed_by(beneath, KeyPair::generate().unwrap(), &root).unwrap();
        let mut leaf = params("collector", 30);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        leaf.subject_alt_names =
            vec![SanType::URI("spiffe://prod.acme.example/ns/checkout/sa/collector".try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &between).unwrap().pem();
        Chain { root, between, leaf, key: key.serialize_pem() }
    }

    /// Makes the world trust the root; `revoked`: by the root.
    async fn trusted_by(&self, world: &World, revoked: &[u64]) {
        let folder = world.folder();
        stage::replace(&folder.join("certs/root.pem"), self.root.pem());
        stage::replace(&folder.join("certs/clients.crl"), list(&self.root, revoked) + &list(&self.between, &[]));
        let config = std::fs::read_to_string(folder.join("lightkeeper.yaml")).unwrap();
        stage::replace(&folder.join("lightkeeper.yaml"), config.replace("certs/ca.pem", "certs/root.pem"));
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
/// one that is revoked, expired or may not sign vouches for nobody, and neither does one that was not sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intermediates_are_judged_with_the_leaf() {
    let world = stage::start(stage::plan(&[])).await;
    let sound = Chain::new(|_| ());
    let expired = Chain::new(|between| between.not_after = now() - Duration::hours(1));
    let handshakes_alone = Chain::new(|between| between.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    for (what, chain, sent, revoked, expected) in [
        ("sound", &sound, vec![&sound.between], vec![], Ok(200)),
        ("with the root", &sound, vec![&sound.between, &sound.root], vec![], Ok(200)),
        ("not sent", &sound, vec![], vec![], Err("certificate_untrusted")),
        ("another's", &sound, vec![&expired.between], vec![], Err("certificate_untrusted")),
        ("revoked", &sound, vec![&sound.between], vec![BETWEEN], Err("certificate_revoked")),
        ("expired", &expired, vec![&expired.between], vec![], Err("certificate_expired")),
        ("may not sign", &handshakes_alone, vec![&handshakes_alone.between], vec![], Err("certificate_untrusted")),
    ] {
        chain.trusted_by(&world, &revoked).await;
        let before = world.records().len();
        let caller = world.caller().certificate(&chain.shown(&world, &sent));
        let answer = caller.export(&Sample::traces("some-service", 1), Encoding::Protobuf).await;
        match expected {
            Ok(status) => assert_eq!(answer.unwrap().status, status, "{what}"),
            Err(reason) => {
                assert!(answer.is_err(), "{what}: {answer:?}");
                let records = stage::records(&world, before + 1).await;
                let told: Vec<_> =
                    records[before..].iter().map(|record| (&record["event"], &record["reason"])).collect();
                assert_eq!(told, [(&"handshake_failed".into(), &reason.into())], "{what}");
            }
        }
    }
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
    let asked: Vec<&str> = text.lines().filter(|line| !mentions_clients(line)).collect();
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
    ["client_ca:", "client_certificate:", "client_crl:", "certs/ca.pem", "certs/clients.crl"]
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
            .with_root_certificates(lightkeeper::demo::server::roots(&server_ca).unwrap())
            .with_client_auth_cert(
                lightkeeper::demo::server::certificates(&leaf.certificate).unwrap(),
                lightkeeper::demo::server::private_key(&leaf.key).unwrap(),
            )
            .unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        for _ in 0..2 {
            let tcp = tokio::net::TcpStream::connect(world.address("gateway").unwrap()).await.unwrap();
            let mut tls = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
            tls.write_all(b"GET /.lightkeeper/whoami HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = Vec::new();
            // Tickets come before the answer, so that they have been read when it has.
            tls.read_to_end(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
            kinds.push(tls.get_ref().1.handshake_kind().unwrap());
        }
    }
    kinds
}
