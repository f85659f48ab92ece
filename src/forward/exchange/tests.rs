//! What is sent again when a connection at rest is dead. What it refuses to know: the gateway around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::forward::{Pieces, UpstreamSettings};
use crate::limits::Budget;

/// Scenario: our side of a connection at rest is shut, so that nothing can leave on it, and the backend has not ended
/// it. Guarantees: what may not be repeated is sent on a new connection, because no byte of it had been sent.
#[tokio::test]
async fn what_was_never_sent_may_be_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\nbody") {
                stream.read_buf(&mut read).await.unwrap();
            }
            counted.fetch_add(1, Ordering::SeqCst);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            open.push(stream);
        }
    });
    let second = Duration::from_secs(1);
    let settings = UpstreamSettings {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port,
        base_path: String::new(),
        ca: None,
        client: None,
        proxy: None,
        connect_timeout: second,
        read_timeout: 20 * second,
        write_timeout: 20 * second,
        idle_timeout: 60 * second,
    };
    let backend = Backend::open(&settings).unwrap();
    let budget = Budget::new(1 << 20);
    for expected in 1..=3 {
        let mut held = budget.gateway().open();
        let mut intake = Intake { limit_bytes: 1024, status_suffices: false, reservation: &mut held };
        let mut body = Replayable::new(Pieces::new(vec![Bytes::from_static(b"body")]));
        let head = b"POST / HTTP/1.1\r\nhost: x\r\n";
        let answer = exchange(&backend, head, Repeat::Unsent, &mut body, &mut intake).await.unwrap();
        assert_eq!((answer.status, asked.load(Ordering::SeqCst)), (StatusCode::OK, expected));
        let mut wire = backend.pool.take().unwrap();
        wire.shutdown().await.unwrap();
        backend.pool.give(wire);
    }
}
