//! What is sent again when a connection at rest is dead, and what an answer that comes early says. What it refuses to
//! know: the gateway around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::forward::{Pieces, UpstreamSettings};
use crate::limits::{Budget, OwnerKey, Turn};

/// One that listens at this port.
pub(in crate::forward) fn backend(port: u16, connect_timeout: Duration) -> Arc<Backend> {
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

/// A body of which a first piece is there, and the rest only once the backend has answered that.
pub(in crate::forward) struct Halting {
    pub framed: Framed,
    pub first: Option<Bytes>,
    pub rest: Option<Bytes>,
    pub answered: Arc<AtomicBool>,
}

impl Supply for Halting {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        // Given up when the answer comes.
        while !self.answered.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(self.rest.take())
    }

    fn framed(&self) -> Framed {
        self.framed
    }
}

/// Scenario: answers that begin when the first bytes of a body have come, while more of it waits to be sent, is still to
/// come, or when all has come but its end. Guarantees: a success counts only if the backend was sent everything; a refusal
/// counts always, and nothing more is waited for.
#[tokio::test]
async fn a_success_before_the_end_of_the_body_is_none() {
    const LARGE: usize = 32 << 20;
    let (ok, cut) = (Ok(200), Err(SendFault::Undecodable));
    // How the body is framed, how much of it is there, how much comes later, the answer's status, what is made of it.
    type Case = (Framed, usize, usize, u16, Result<u16, SendFault>);
    let cases: [Case; 12] = [
        (Framed::Length(9), 9, 0, 200, ok),
        (Framed::Chunks, 9, 0, 200, ok),
        (Framed::Length(10), 9, 1, 200, cut),
        (Framed::Length(10), 9, 1, 204, cut),
        (Framed::Chunks, 9, 1, 200, cut),
        (Framed::Chunks, 9, 1, 299, cut),
        (Framed::Length(LARGE as u64), LARGE, 0, 200, cut),
        (Framed::Chunks, LARGE, 0, 200, cut),
        (Framed::Length(10), 9, 1, 429, Ok(429)),
        (Framed::Chunks, 9, 1, 500, Ok(500)),
        (Framed::Length(LARGE as u64), LARGE, 0, 413, Ok(413)),
        (Framed::Chunks, LARGE, 0, 302, Ok(302)),
    ];
    for (framed, first, rest, status, expected) in cases {
        let what = format!("{framed:?} {first} {rest} {status}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = backend(
            listener.local_addr().unwrap().port(),
            Duration::from_secs(1),
        );
        let answered = Arc::new(AtomicBool::new(false));
        let said = answered.clone();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while memchr::memmem::find(&read, b"xxxxxxxxx").is_none() {
                stream.read_buf(&mut read).await.unwrap();
            }
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            said.store(true, Ordering::SeqCst);
            stream
        });
        let piece = |length: usize| (length > 0).then(|| Bytes::from(vec![b'x'; length]));
        let mut body = Replayable::new(Halting {
            framed,
            first: piece(first),
            rest: piece(rest),
            answered,
        });
        let budget = Budget::new(1 << 20);
        let mut held = budget.gateway().open();
        let mut intake = Intake {
            limit_bytes: 1024,
            status_suffices: true,
            reservation: &mut held,
        };
        let head = b"POST / HTTP/1.1\r\nhost: x\r\n";
        let answer = exchange(&backend, head, Repeat::Unsent, &mut body, &mut intake).await;
        let found = answer.map(|answer| answer.status.as_u16());
        assert_eq!(found, expected.map_err(ExchangeFault::Backend), "{what}");
        assert!(
            backend.pool.take().is_none(),
            "{what}: a connection was kept on which the body has not ended"
        );
        drop(serving.await.unwrap());
    }
}

/// Scenario: answers whose heads cannot be followed. Guarantees: where the status suffices, a first line that is a success
/// is one, with what is said of the media type, and the connection is not kept; everything else is no answer.
#[tokio::test]
async fn a_success_is_one_whatever_its_head_looks_like() {
    let large = |status: &str| {
        format!(
            "HTTP/1.1 {status}\r\nX: {}\r\n\r\n",
            "x".repeat(HEAD_LIMIT_BYTES)
        )
    };
    let lines = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(count));
    let (enough, many, long, failed) =
        (lines(100), lines(101), large("202 Fine"), large("503 Busy"));
    let undecodable = Some(SendFault::Undecodable);
    // The answer; status and media types; the fault where a status alone does not suffice.
    type Case<'a> = (&'a str, Option<(u16, &'a [&'a str])>, Option<SendFault>);
    let cases: &[Case<'_>] = &[
        (&enough, Some((200, &[])), None),
        (&many, Some((200, &[])), undecodable),
        (&long, Some((202, &[])), Some(SendFault::TooLarge)),
        (&failed, None, Some(SendFault::TooLarge)),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}",
            Some((200, &[])),
            undecodable,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
            Some((200, &[])),
            undecodable,
        ),
        ("HTTP/2 204\r\n\r\n", Some((204, &[])), undecodable),
        (
            "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Type: a/b\r\n\r\n",
            Some((200, &["a/b"])),
            undecodable,
        ),
        (
            "HTTP/1.1 200 OK\nno colon\ncontent-type:a/b\nCONTENT-TYPE: c/d \n\n",
            Some((200, &["a/b", "c/d"])),
            undecodable,
        ),
        (
            "HTTP/1.1 200 OK\r\nnonsense\r\n\r\nContent-Type: a/b\r\n\r\n",
            Some((200, &[])),
            undecodable,
        ),
        (
            "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Type: a/b\r\n",
            Some((200, &["a/b"])),
            undecodable,
        ),
        (
            "HTTP/1.1 100 X\r\n\r\nHTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
            Some((200, &[])),
            undecodable,
        ),
        // No success, or none that has been said to its end.
        ("HTTP/1.1 500 OK\r\nnonsense\r\n\r\n", None, undecodable),
        ("HTTP/1.1 302 OK\r\nnonsense\r\n\r\n", None, undecodable),
        (
            "HTTP/1.1 100 OK\r\nnonsense\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            None,
            undecodable,
        ),
        ("HTTP/1.1 2000 OK\r\n\r\n", None, undecodable),
        ("HTTP/1.1 20 OK\r\n\r\n", None, undecodable),
        ("HTTP/1.1  200 OK\r\n\r\n", None, undecodable),
        ("HTTP/x 200 OK\r\n\r\n", None, undecodable),
        ("HTTP/ 200 OK\r\n\r\n", None, undecodable),
        ("HTTPS/1.1 200 OK\r\n\r\n", None, undecodable),
        ("\u{1}HTTP/1.1 200 OK\r\n\r\n", None, undecodable),
        ("HTTP/2 200", None, undecodable),
        ("200 OK\r\n\r\n", None, undecodable),
        ("HTTP/1.1 200 O", None, Some(SendFault::Unreachable)),
        (
            "HTTP/1.1 200 OK\r\nContent-Ty",
            None,
            Some(SendFault::Unreachable),
        ),
        ("", None, Some(SendFault::Unreachable)),
    ];
    for (said, expected, fault) in cases {
        for status_suffices in [true, false] {
            let what = format!(
                "{:?} {status_suffices}",
                said.chars().take(100).collect::<String>()
            );
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let backend = backend(
                listener.local_addr().unwrap().port(),
                Duration::from_secs(1),
            );
            let said = said.to_string();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut read = Vec::new();
                while !read.ends_with(b"body") {
                    stream.read_buf(&mut read).await.unwrap();
                }
                // The half before the end comes by itself.
                let (first, second) = said.as_bytes().split_at(said.len() / 2);
                for piece in [first, second] {
                    let _gone = stream.write_all(piece).await;
                    tokio::task::yield_now().await;
                }
                let _gone = stream.shutdown().await;
                // Held until the gateway has closed it.
                let _closed = stream.read_buf(&mut read).await;
            });
            let budget = Budget::new(1 << 20);
            let mut held = budget.gateway().open();
            let mut intake = Intake {
                limit_bytes: 1024,
                status_suffices,
                reservation: &mut held,
            };
            let mut body = Replayable::new(Pieces::new(vec![Bytes::from_static(b"body")]));
            let head = b"POST / HTTP/1.1\r\nhost: x\r\n";
            let found = exchange(&backend, head, Repeat::Unsent, &mut body, &mut intake).await;
            assert!(backend.pool.take().is_none(), "{what}");
            match (found, fault) {
                (Ok(answer), fault) if status_suffices || fault.is_none() => {
                    let types = answer
                        .headers
                        .get_all(http::header::CONTENT_TYPE)
                        .iter()
                        .map(|kind| kind.to_str().unwrap());
                    let types = types.collect::<Vec<_>>();
                    assert_eq!(
                        Some((answer.status.as_u16(), &types[..])),
                        *expected,
                        "{what}"
                    );
                    assert!(answer.body.is_empty(), "{what}");
                }
                (Err(found), Some(fault)) if !status_suffices || expected.is_none() => {
                    assert_eq!(found, ExchangeFault::Backend(*fault), "{what}");
                }
                (found, _) => panic!("{what}: {found:?}"),
            }
        }
    }
}

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
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            open.push(stream);
        }
    });
    let backend = backend(port, Duration::from_secs(1));
    let budget = Budget::new(1 << 20);
    for expected in 1..=3 {
        let mut held = budget.gateway().open();
        let mut intake = Intake {
            limit_bytes: 1024,
            status_suffices: false,
            reservation: &mut held,
        };
        let mut body = Replayable::new(Pieces::new(vec![Bytes::from_static(b"body")]));
        let head = b"POST / HTTP/1.1\r\nhost: x\r\n";
        let answer = exchange(&backend, head, Repeat::Unsent, &mut body, &mut intake)
            .await
            .unwrap();
        assert_eq!(
            (answer.status, asked.load(Ordering::SeqCst)),
            (StatusCode::OK, expected)
        );
        let mut wire = backend.pool.take().unwrap();
        wire.shutdown().await.unwrap();
        backend.pool.give(wire);
    }
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
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
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
        let mut intake = Intake {
            limit_bytes: 1024,
            status_suffices: false,
            reservation: &mut reservation,
        };
        let answer = exchange(
            backend,
            head,
            Repeat::Unsent,
            &mut Replayable::new(body),
            &mut intake,
        )
        .await;
        answer.map(|answer| answer.status)
    };
    assert_eq!(
        ask(&quick, pieces()).await,
        Err(ExchangeFault::Backend(SendFault::Busy))
    );
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
