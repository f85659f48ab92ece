//! Scenario: callers who take nothing of their answers. Guarantees: what is held of an answer is held once and counted.

use std::sync::atomic::Ordering;
use std::time::Duration;

use testkit::WorldPlan;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::ground::{Ground, eventually};

/// Above the seconds of a small answer, below the timeout of a body.
const SOON: Duration = Duration::from_secs(20);
const MIB: usize = 1 << 20;

/// A backend that answers all with this body, once it may.
async fn backend(body: String, may: watch::Receiver<bool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer: std::sync::Arc<[u8]> = [head.as_bytes(), body.as_bytes()].concat().into();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, mut may) = (answer.clone(), may.clone());
            tokio::spawn(async move {
                let mut read = Vec::new();
                while memchr::memmem::find(&read, b"\r\n\r\n").is_none() {
                    if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let _ = may.wait_for(|may| *may).await;
                let _gone = stream.write_all(&answer).await;
            });
        }
    });
    url
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Scenario: 64 callers over HTTP/1.1 share one large answer, and none reads it. Guarantees: no caller has a copy of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_is_held_once() {
    const READERS: usize = 64;
    let (answer, may) = watch::channel(false);
    let body = format!(r#"{{"data":[{{"id":"{}"}}]}}"#, "0".repeat(8 * MIB));
    let url = backend(body, may).await;
    let config = testkit::world::CONFIG.replace("\"{query}\"", &url);
    let ground = Ground::plan(WorldPlan { config, ..WorldPlan::default() }).await;
    let core = ground.world.gateway.core().clone();
    let steward = ground.world.issuer.token("sam");
    let head = format!(
        "GET /public/v0.2/acme/projects/shop-prod/streams HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {steward}\r\n\r\n"
    );
    let before = resident();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut reader = socket.connect(ground.plain()).await.unwrap();
        reader.write_all(head.as_bytes()).await.unwrap();
        readers.push(reader);
    }
    eventually("all have asked", SOON, || core.in_flight.load(Ordering::Relaxed) == READERS as u64).await;
    answer.send_replace(true);
    for reader in &readers {
        let began = tokio::time::timeout(SOON, reader.peek(&mut [0])).await;
        assert_eq!(began.expect("an answer begins").unwrap(), 1);
    }
    let more = resident().saturating_sub(before);
    // Half of what copies would take; the rest is room for what other tests of this process hold meanwhile.
    assert!(more < (READERS * 4 * MIB) as u64, "{} MiB for {READERS} readers of 8 MiB", more >> 20);
    drop(readers);
    eventually("calls ended", SOON, || core.in_flight.load(Ordering::Relaxed) == 0).await;
}
