//! Scenario: load balancers and ingress controllers stand before the gateway and tell whose connection or request it is.
//! Guarantees: records and bounds count the client where a listener trusts the proxy for it, and the proxy everywhere else;
//! nothing of what a proxy told goes upstream.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use testkit::{Sample, World};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::stage::{self, PATIENCE, WorldPlan, eventually};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 4318\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\xdc\x04\x10\xde";
const V2_SIX: &[u8] = b"\r\n\r\n\0\r\nQUIT\n!\x21\0\x27\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\
\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xdc\x04\x10\xde\x04\0\0";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn plan(settings: &str) -> WorldPlan {
    let plain = format!("    address: {{plain}}\n    {settings}");
    let tls = format!("    address: {{tls}}\n    {settings}");
    stage::plan(&[
        ("    address: {plain}", &plain),
        ("    address: {tls}", &tls),
    ])
}

/// One export, with further header lines.
fn export(world: &World, more: &str) -> Vec<u8> {
    let body = Sample::traces("checkout", 1).protobuf();
    let token = world.issuer.token("checkout-collector");
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n{more}Connection: close\r\n\
         Content-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// Sends, and reads the answer's first line and all the rest.
async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    let mut read = Vec::new();
    let talking = async {
        stream.write_all(bytes).await.unwrap();
        // A refusal may end in a reset.
        let _ = stream.read_to_end(&mut read).await;
    };
    tokio::time::timeout(PATIENCE, talking).await.unwrap();
    String::from_utf8_lossy(&read).into_owned()
}

async fn connect(world: &World, listener: &str, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(world.address(listener).unwrap())
        .await
        .unwrap();
    stream.write_all(header).await.unwrap();
    stream
}

/// The address in the record of this answer.
async fn recorded(world: &World, answer: &str) -> String {
    let id = answer.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("lightkeeper-request-id: ")
            .map(str::to_owned)
    });
    let record = stage::record(world, &id.unwrap_or_else(|| panic!("no id in {answer:?}"))).await;
    record["client_address"].as_str().unwrap().to_owned()
}

/// Scenario: every form of a header of the PROXY protocol, before plaintext and before TLS, over HTTP/1.1 and HTTP/2.
/// Guarantees: the call is served, and its record names the client; the proxy's own connections keep its address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxys_header_names_the_client() {
    let world = stage::start(plan("proxy_protocol: { from: [127.0.0.0/8] }")).await;
    let mut roots = rustls::RootCertStore::empty();
    let authority =
        rustls_pki_types::CertificateDer::from_pem_file(world.folder().join("certs/ca.pem"))
            .unwrap();
    roots.add(authority).unwrap();
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(tls));
    for (header, expected) in [
        (V1, "192.0.2.7:56324"),
        (
            &b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n"[..],
            "[2001:db8::7]:1",
        ),
        (
            &b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"[..],
            "192.0.2.7:1",
        ),
        (&b"PROXY UNKNOWN\r\n"[..], "127.0.0.1:"),
        (V2, "192.0.2.7:56324"),
        (V2_SIX, "[2001:db8::7]:56324"),
        (V2_LOCAL, "127.0.0.1:"),
    ] {
        let what = String::from_utf8_lossy(header);
        let answer = talk(connect(&world, "plain", header).await, &export(&world, "")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{what:?}: {answer}");
        let address = recorded(&world, &answer).await;
        assert!(address.starts_with(expected), "{what:?}: {address}");
        let stream = connect(&world, "gateway", header).await;
        let stream = tls
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap();
        let answer = talk(stream, &export(&world, "X-Forwarded-For: 198.51.100.1\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{what:?}: {answer}");
        let address = recorded(&world, &answer).await;
        assert!(
            address.starts_with(expected),
            "{what:?} over TLS: {address}"
        );
    }
    let (mut send, connection) = h2::client::handshake(connect(&world, "plain", V2).await)
        .await
        .unwrap();
    tokio::spawn(connection);
    let head = http::Request::get("http://gw/.lightkeeper/whoami")
        .body(())
        .unwrap();
    let answer = send.send_request(head, true).unwrap().0.await.unwrap();
    let id = answer.headers()["lightkeeper-request-id"].to_str().unwrap();
    assert_eq!(
        stage::record(&world, id).await["client_address"],
        "192.0.2.7:56324"
    );
}

/// Scenario: clients behind a proxy hold as many connections as they may. Guarantees: each has its own places, and the proxy's
/// address has none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_count_for_the_client_that_a_proxy_names() {
    let mut plan = plan("proxy_protocol: { from: [127.0.0.0/8] }");
    plan.more
        .push_str("\nlimits: { connections_per_address: 2 }\n");
    let world = stage::start(plan).await;
    let header = |host: u8| format!("PROXY TCP4 192.0.2.{host} 10.0.0.1 1 2\r\n").into_bytes();
    let mut held = Vec::new();
    for host in [1, 1, 2, 2, 3] {
        held.push(connect(&world, "plain", &header(host)).await);
    }
    let core = world.gateway.shared();
    eventually("five connections", || async {
        (core.connection_limiter.total() == 5).then_some(())
    })
    .await;
    let served = |header: Vec<u8>| {
        let world = &world;
        async move {
            let answer = talk(connect(world, "plain", &header).await, &export(world, "")).await;
            answer.starts_with("HTTP/1.1 200")
        }
    };
    // Those that are held have named themselves once the third of one client is refused.
    eventually("the third of a client is refused", || async {
        (!served(header(1)).await).then_some(())
    })
    .await;
    let refused = stage::event(&world, "connection_refused").await;
    assert_eq!(
        (&refused["reason"], &refused["client_address"]),
        (&"connections_per_address".into(), &"192.0.2.1:1".into())
    );
    assert!(served(header(3)).await, "another client has its own");
    assert!(
        served(b"PROXY UNKNOWN\r\n".to_vec()).await,
        "the proxy's own address has none of them"
    );
    held.clear();
    eventually("its places come back", || async {
        served(header(1)).await.then_some(())
    })
    .await;
}

/// Scenario: headers that tell of clients, from a peer that is trusted for one of them, for none, or for another. Guarantees:
/// only the header that the listener names counts, and only from its networks; none of them goes upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxys_header_names_the_client_of_a_request() {
    let (xff, forwarded) = (
        "X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n",
        "Forwarded: for=\"[2001:db8::7]:4711\"\r\n",
    );
    let mine = "127.0.0.1:";
    for (settings, lines, expected) in [
        (
            "forwarded: { from: [127.0.0.0/8], header: x-forwarded-for }",
            [xff, forwarded].concat(),
            "192.0.2.7",
        ),
        (
            "forwarded: { from: [127.0.0.1] }",
            [xff, "X-Forwarded-For: 127.0.0.9\r\n"].concat(),
            "127.0.0.9",
        ),
        (
            "forwarded: { from: [127.0.0.0/8], header: forwarded }",
            [xff, forwarded].concat(),
            "[2001:db8::7]:4711",
        ),
        (
            "forwarded: { from: [127.0.0.0/8] }",
            forwarded.to_owned(),
            mine,
        ),
        (
            "forwarded: { from: [127.0.0.0/8] }",
            "X-Forwarded-For: unknown\r\n".to_owned(),
            mine,
        ),
        ("forwarded: { from: [10.0.0.0/8] }", xff.to_owned(), mine),
        (
            "serves: [ingest, query, web, legacy]",
            [xff, forwarded].concat(),
            mine,
        ),
    ] {
        let world = stage::start(plan(settings)).await;
        let answer = talk(connect(&world, "plain", b"").await, &export(&world, &lines)).await;
        assert!(
            answer.starts_with("HTTP/1.1 200"),
            "{settings} {lines:?}: {answer}"
        );
        let address = recorded(&world, &answer).await;
        let is_right = if expected == mine {
            address.starts_with(mine)
        } else {
            address == expected
        };
        assert!(is_right, "{settings} {lines:?}: {address}");
        for captured in world.emulator.captured() {
            let told = captured
                .headers
                .iter()
                .any(|(name, _)| name.contains("forwarded"));
            assert!(!told, "{settings}: {:?}", captured.headers);
        }
    }
}

/// Scenario: both, as behind a network load balancer before an ingress controller. Guarantees: the PROXY header tells which
/// machine connects, and only if that is trusted does the request's header count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways_fit_together() {
    let settings = "proxy_protocol: { from: [127.0.0.0/8] }\n    forwarded: { from: [10.0.0.0/8] }";
    let world = stage::start(plan(settings)).await;
    let header = |source: &str| format!("PROXY TCP4 {source} 10.0.0.1 1 2\r\n").into_bytes();
    for (source, expected) in [("10.0.0.5", "198.51.100.1"), ("192.0.2.7", "192.0.2.7:1")] {
        let stream = connect(&world, "plain", &header(source)).await;
        let answer = talk(stream, &export(&world, "X-Forwarded-For: 198.51.100.1\r\n")).await;
        assert_eq!(recorded(&world, &answer).await, expected, "{source}");
    }
}
