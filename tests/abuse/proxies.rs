//! Scenario: what stands before the gateway: load balancers that probe, proxies that speak for clients, and those who pretend
//! to be one. Guarantees: each test tells its own.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::ground::{self, Ground, eventually};
use super::wire;
use testkit::WorldPlan;

const SOON: Duration = Duration::from_secs(20);

/// Load balancers open connections and close them, well or by a reset, to see whether the port is open. They are counted,
/// and leave no record; one that said a byte leaves what it left before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_byte_are_counted_alone() {
    let mut ground = Ground::new().await;
    let core = ground.world.gateway.shared().clone();
    for listener in ["gateway", "plain"] {
        let address = ground.world.address(listener).unwrap();
        for number in 0..20 {
            let probe = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                probe.set_zero_linger().unwrap();
            }
        }
        let line = format!("lightkeeper_connections_unused_total{{listener=\"{listener}\"}} 20\n");
        let is_counted = || {
            String::from_utf8(core.metrics_page())
                .unwrap()
                .contains(&line)
        };
        eventually("every probe counted", SOON, is_counted).await;
    }
    let mut spoke = TcpStream::connect(ground.world.address("gateway").unwrap())
        .await
        .unwrap();
    spoke.write_all(b"\x16").await.unwrap();
    drop(spoke);
    let records = ground.records_of_all(1).await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["reason"], "handshake_closed");
    ground.alive().await;
}

async fn ground(from: &str) -> Ground {
    let mut plan = WorldPlan {
        more: "limits: { header_timeout: 400ms }".to_owned(),
        ..WorldPlan::default()
    };
    for address in ["    address: {plain}", "    address: {tls}"] {
        plan.config = plan.config.replace(
            address,
            &format!("{address}\n    proxy_protocol: {{ from: [{from}] }}"),
        );
    }
    Ground::plan(plan).await
}

/// Connections of a trusted network whose header is missing, cut, slow or wrong, plaintext or TLS. Each is closed without an
/// answer, with one event that names the proxy; one without a byte is only counted; the gateway serves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_is_required_of_a_trusted_proxy() {
    let mut ground = ground("127.0.0.0/8").await;
    let mut faults = Vec::new();
    let good = ground.good();
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 400]].concat();
    let large = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 4000]].concat();
    let cases: &[(&str, &[u8], &str)] = &[
        ("no header", good.as_bytes(), "proxy_header_malformed"),
        (
            "a preface",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "proxy_header_malformed",
        ),
        (
            "a hello",
            b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03",
            "proxy_header_malformed",
        ),
        ("garbage", &[0xff; 400], "proxy_header_malformed"),
        ("too long", &long, "proxy_header_malformed"),
        (
            "another version",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
            "proxy_header_malformed",
        ),
        (
            "a bare line feed",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n",
            "proxy_header_malformed",
        ),
        ("a byte", b"P", "proxy_header_timeout"),
        (
            "half a line",
            b"PROXY TCP4 192.0.2.7",
            "proxy_header_timeout",
        ),
        ("half a signature", b"\r\n\r\n\0", "proxy_header_timeout"),
        ("less than announced", &large, "proxy_header_timeout"),
        ("silence", b"", ""),
    ];
    for listener in ["plain", "gateway"] {
        let address = ground.world.address(listener).unwrap();
        for (what, bytes, reason) in cases {
            let stream = TcpStream::connect(address).await.unwrap();
            let mine = stream.local_addr().unwrap().to_string();
            let talk = wire::converse(stream, &[bytes], SOON).await;
            if !talk.closed || !talk.bytes.is_empty() {
                faults.push(format!("{listener} {what}: {talk:?}"));
            }
            if reason.is_empty() {
                continue;
            }
            let records = ground.records_of_all(1).await;
            let found: Vec<_> = records
                .iter()
                .map(|record| (&record["reason"], &record["client_address"]))
                .collect();
            if found != [(&(*reason).into(), &mine.into())] {
                faults.push(format!("{listener} {what}: {records:?}"));
            }
        }
        drop(TcpStream::connect(address).await.unwrap());
        let core = ground.world.gateway.shared().clone();
        let line = format!("lightkeeper_connections_unused_total{{listener=\"{listener}\"}} 2\n");
        eventually("a probe and the silent one", SOON, || {
            String::from_utf8(core.metrics_page())
                .unwrap()
                .contains(&line)
        })
        .await;
    }
    let served = [b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", good.as_bytes()].concat();
    let talk = wire::talk(ground.plain(), &served).await;
    assert!(talk.bytes.starts_with(b"HTTP/1.1 200"), "{talk:?}");
    let records = ground.records_of_all(1).await;
    assert_eq!(
        (records.len(), &records[0]["reason"]),
        (1, &"ok".into()),
        "silence left nothing: {records:?}"
    );
    let core = ground.world.gateway.shared().clone();
    eventually("all places given back", SOON, || {
        core.connection_limiter.total() == 0
    })
    .await;
    ground.nothing_upstream("headers of proxies");
    ground::none(&faults);
}

/// A client that is no proxy, and says it were. Its bytes are a malformed request, under its own address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_trusted_networks_may_name_a_client() {
    let mut ground = ground("10.0.0.0/8, \"::1\"").await;
    let v1 = &b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n"[..];
    let v2 = b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\xdc\x04\x10\xde";
    let good = ground.good();
    let mut faults = Vec::new();
    for (what, header) in [("version 1", v1), ("version 2", v2)] {
        for (listener, answered) in [("plain", true), ("gateway", false)] {
            let address = ground.world.address(listener).unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            let mine = stream.local_addr().unwrap().to_string();
            let talk = wire::converse(stream, &[&[header, good.as_bytes()].concat()], SOON).await;
            if !talk.closed || talk.bytes.starts_with(b"HTTP/1.1 400") != answered {
                faults.push(format!("{listener} {what}: {talk:?}"));
            }
            let records = ground.records_of_all(1).await;
            if records.len() != 1
                || records[0]["client_address"] != *mine
                || records[0]["decision"] != "deny"
            {
                faults.push(format!("{listener} {what}: {records:?}"));
            }
        }
    }
    ground.alive().await;
    ground.nothing_upstream("headers of others");
    ground::none(&faults);
}

/// Connections to a plaintext listener that break off, or stop, where what came could still become HTTP/2, and some that never
/// say a byte. The first leave one event each with their address; the others are counted; all places are given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_within_a_preface_leaves_a_trace() {
    let plan = WorldPlan {
        more: "limits: { header_timeout: 400ms }".to_owned(),
        ..WorldPlan::default()
    };
    let mut ground = Ground::plan(plan).await;
    let mut faults = Vec::new();
    for bytes in ["P", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        for reason in ["preface_closed", "preface_timeout"] {
            let mut stream = TcpStream::connect(ground.plain()).await.unwrap();
            let mine = stream.local_addr().unwrap().to_string();
            stream.write_all(bytes.as_bytes()).await.unwrap();
            if reason == "preface_closed" {
                stream.shutdown().await.unwrap();
            }
            let records = ground.records_of_all(1).await;
            let found: Vec<_> = records
                .iter()
                .map(|record| (&record["reason"], &record["client_address"]))
                .collect();
            if found != [(&reason.into(), &mine.into())] {
                faults.push(format!("{bytes:?} {reason}: {records:?}"));
            }
            drop(stream);
        }
    }
    for _ in 0..3 {
        let silent = TcpStream::connect(ground.plain()).await.unwrap();
        let talk = wire::converse(silent, &[], SOON).await;
        assert!(talk.closed && talk.bytes.is_empty(), "{talk:?}");
    }
    let core = ground.world.gateway.shared().clone();
    let counted = "lightkeeper_connections_unused_total{listener=\"plain\"} 3\n";
    eventually("the silent ones", SOON, || {
        String::from_utf8(core.metrics_page())
            .unwrap()
            .contains(counted)
    })
    .await;
    eventually("all places given back", SOON, || {
        core.connection_limiter.total() == 0
    })
    .await;
    ground.alive().await;
    ground.nothing_upstream("cut prefaces");
    ground::none(&faults);
}
