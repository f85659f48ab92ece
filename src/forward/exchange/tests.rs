//! What is sent again when a connection at rest is dead. What it refuses to know: the gateway around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::forward::{Pieces, UpstreamSettings};
use crate::limits::{Budget, OwnerKey, Turn};

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

fn backend(port: u16, connect_timeout: Duration) -> Arc<Backend> {
    let long = Duration::from_secs(60);
    let settings = UpstreamSettings {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port,
        base_path: String::new(),
        ca: None,
        client: None,
        proxy: None,
        connect_timeout,
        read_timeout: long,
        write_timeout: long,
        idle_timeout: long,
    };
    Backend::open(&settings).unwrap()
}

/// As many places as one caller gets.
async fn all_of(backend: &Backend, caller: OwnerKey) -> Vec<Turn<OwnerKey>> {
    let mut held = Vec::new();
    while let Some(place) = backend.calls.take_as(caller).await {
        held.push(place);
    }
    held
}

/// Scenario: a backend hangs, and two callers have as many calls there as they may; one goes away. Guarantees: one caller never
/// has all places; who finds none is told so, and nothing is dialled; who goes away while it waits is given up, and nothing is
/// dialled for it either; a place that is given back is a place.
#[tokio::test]
async fn calls_to_a_backend_are_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dialled = Arc::new(AtomicUsize::new(0));
    let counted = dialled.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    let quick = backend(port, Duration::from_millis(20));
    let budget = Budget::new(1 << 20);
    let unproven = |last: u8| budget.unproven([192, 0, 2, last].into());
    let (first, second, third) = (unproven(1), unproven(2), unproven(3));
    let mut held = all_of(&quick, first.open().owner()).await;
    assert_eq!(held.len(), 384);
    held.extend(all_of(&quick, second.open().owner()).await);
    assert_eq!(held.len(), 512);
    let head = b"POST / HTTP/1.1\r\nhost: x\r\n";
    let pieces = || Pieces::new(vec![Bytes::from_static(b"body")]);
    let ask = async |backend: &Backend, body: Pieces| {
        let mut reservation = third.open();
        let mut intake = Intake { limit_bytes: 1024, status_suffices: false, reservation: &mut reservation };
        let answer = exchange(backend, head, Repeat::Unsent, &mut Replayable::new(body), &mut intake).await;
        answer.map(|answer| answer.status)
    };
    assert_eq!(ask(&quick, pieces()).await, Err(ExchangeFault::Backend(SendFault::Busy)));
    let patient = backend(port, Duration::from_secs(60));
    let mut elsewhere = Vec::new();
    for place in 0..512 {
        let caller = if place % 2 == 0 { &first } else { &second };
        elsewhere.push(patient.calls.take_as(caller.open().owner()).await.unwrap());
    }
    let (tell, gone) = watch::channel(false);
    let (asked, ()) = tokio::join!(ask(&patient, pieces().unless(gone)), async {
        tell.send_replace(true);
    });
    assert_eq!(asked, Err(ExchangeFault::CallerGone));
    assert_eq!(dialled.load(Ordering::SeqCst), 0);
    held.pop();
    assert_eq!(ask(&quick, pieces()).await, Ok(StatusCode::OK));
    assert_eq!(dialled.load(Ordering::SeqCst), 1);
}
