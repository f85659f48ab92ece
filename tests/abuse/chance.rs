//! Scenario: bytes by chance, and good requests bent by chance. Guarantees: the gateway lives, nothing of them
//! reaches the backend, and reading a head never panics.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request};
use lightkeeper::accept::{self, Connection, ListenerSettings, Serves};
use lightkeeper::limits::Limits;
use lightkeeper::profiles::Profile;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::ground::{self, Ground};
use super::wire;

/// Bends a good request: a byte changed, doubled or left out at some places.
fn bent(good: &[u8], bends: &[(usize, u8, u8)]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for (at, how, byte) in bends {
        let at = at % bytes.len();
        match how % 3 {
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            _ => _ = bytes.remove(at),
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chance_opens_nothing() {
    let mut ground = Ground::with_limits(
        "header_timeout: 100ms, idle_timeout: 100ms, body_timeout: 100ms, handshake_timeout: 100ms",
    )
    .await;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let noise = vec(any::<u8>(), 0..600);
    let words = vec(
        prop::sample::select(vec![
            "GET ",
            "POST ",
            "/",
            "/v1/traces",
            " HTTP/1.1",
            "\r\n",
            "\n",
            "\r",
            "Host: gw",
            "Host:",
            "Content-Length: 5",
            "Content-Length:",
            "Transfer-Encoding: chunked",
            "0\r\n\r\n",
            "5\r\nhello\r\n",
            "Connection: close",
            "Expect: 100-continue",
            " ",
            ":",
            "\0",
            "%2f",
            "..",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\0\0\0\x04\0\0\0\0\0",
        ]),
        0..40,
    );
    // Without a credential, so that nothing may go upstream however it is bent.
    let good = b"POST /v1/traces HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    let bends = vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..4);
    let mut inputs: Vec<Vec<u8>> = Vec::new();
    let sample = |runner: &mut TestRunner| {
        let noise = noise.new_tree(runner).unwrap().current();
        let words: Vec<&str> = words.new_tree(runner).unwrap().current();
        let bends = bends.new_tree(runner).unwrap().current();
        [noise, words.concat().into_bytes(), bent(good, &bends)]
    };
    for _ in 0..150 {
        inputs.extend(sample(&mut runner));
    }
    let (plain, tls) = (ground.plain(), ground.world.address("gateway").unwrap());
    let mut running = tokio::task::JoinSet::new();
    for (at, input) in inputs.into_iter().enumerate() {
        let address = if at % 7 == 0 { tls } else { plain };
        running.spawn(async move { (wire::talk(address, &input).await, input) });
        if running.len() >= 16 {
            check(running.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(done) = running.join_next().await {
        check(done.unwrap());
    }
    ground.nothing_upstream("chance");
    ground.records(10_000, "call").await;
    ground.alive().await;
}

fn check((talk, input): (wire::Talk, Vec<u8>)) {
    let shown = String::from_utf8_lossy(&input).into_owned();
    let mut faults = Vec::new();
    if !talk.closed {
        faults.push(format!("{shown:?}: still open"));
    }
    if talk.bytes.starts_with(b"HTTP/1.1 2") {
        faults.push(format!(
            "{shown:?}: {}",
            String::from_utf8_lossy(&talk.bytes)
        ));
    }
    ground::none(&faults);
}

proptest! {
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    /// Any head that the framework could hand over is read or refused.
    #[test]
    fn reading_a_head_never_panics(
        method in prop::sample::select(vec!["GET", "POST", "PUT", "HEAD", "CONNECT", "X"]),
        path in "/?[ -~\u{80}-\u{ff}]{0,60}",
        names in vec("[!-~]{1,20}", 0..6),
        values in vec(vec(any::<u8>(), 0..40), 6),
        tail in prop::sample::select(vec!["", "/-/v1/traces", "/v1/logs", "/public/v0.2/acme/projects/a/streams", "?a=b&a"]),
        http2 in any::<bool>(),
    ) {
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        if let Ok(uri) = format!("{path}{tail}").parse() {
            *request.uri_mut() = uri;
        }
        *request.version_mut() = if http2 { http::Version::HTTP_2 } else { http::Version::HTTP_11 };
        let known = ["host", "authorization", "content-type", "connection", "te", "lightkeeper-app"];
        for (at, value) in values.iter().enumerate() {
            let name = names.get(at).map_or(known[at % known.len()], String::as_str);
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
                request.headers_mut().append(name, value);
            }
        }
        let (parts, ()) = request.into_parts();
        let listener = ListenerSettings {
            name: "x".to_owned(),
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            serves: Serves::ALL,
            tls: None,
            public_url: None,
            front: Default::default(),
        };
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let connection = Connection::new(Arc::new(listener), peer, http2, None);
        if let Ok((_, call)) = accept::read(&parts, &connection, &Profile::lightstep(), &[], &Limits::default()) {
            prop_assert!(call.path.starts_with('/') && call.path.is_ascii() && !call.path.contains("//"));
        }
    }
}
