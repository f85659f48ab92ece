//! One connection's bytes, over a socket: what is read, what is kept, and what is said of a refused head.
//!
//! What it does: plays the client. What it refuses to know: what answers.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::accept::{Dialect, ListenerSettings, Serves};
use crate::limits::Limits;
use crate::otlp::Encoding;

/// Far above what a socket of this machine takes.
const SOON: Duration = Duration::from_secs(10);

/// A client's socket, and the connection that serves it.
async fn connected() -> (TcpStream, Http1Connection) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(socket.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, socket.accept());
    let listener = ListenerSettings {
        name: "test".to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        serves: Serves::ALL,
        tls: None,
        public_url: None,
        front: Default::default(),
    };
    let (tcp, peer) = accepted.unwrap();
    let connection = Arc::new(Connection::new(Arc::new(listener), peer, false, None));
    let limits = Limits::default();
    let pace = Pace {
        head: HeadLimits {
            bytes: limits.header_bytes as usize,
            lines: limits.header_count as usize,
        },
        header_timeout: SOON,
        idle_timeout: SOON,
    };
    let served = Http1Connection::new(Transport::Plain(tcp), connection, pace, BytesMut::new());
    (client.unwrap(), served)
}

async fn head(served: &mut Http1Connection) -> Option<request::Parts> {
    let head = poll_fn(|cx| served.poll_head(cx));
    tokio::time::timeout(SOON, head).await.unwrap().unwrap()
}

/// Waits until so many bytes are there to be read.
async fn arrived(served: &Http1Connection, count: usize) {
    let Transport::Plain(tcp) = &served.io else {
        panic!("a plain connection");
    };
    let mut space = vec![0; count];
    let all = async { while tcp.peek(&mut space).await.unwrap() < count {} };
    tokio::time::timeout(SOON, all).await.unwrap();
}

/// Scenario: a connection is asked to close while a whole request waits in its socket. Guarantees: the request is given; the
/// connection is over behind it.
#[tokio::test]
async fn a_request_that_came_before_the_end_is_read() {
    let (mut client, mut served) = connected().await;
    let request = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(request).await.unwrap();
    arrived(&served, request.len()).await;
    served.connection.close();
    assert_eq!(head(&mut served).await.unwrap().uri, "/a");
    assert!(served.next());
    assert!(head(&mut served).await.is_none());
}

/// Scenario: a head that is refused, with other bytes behind it in the same read. Guarantees: the dialect, the method and the
/// path are its own, and nothing more is read of the connection.
#[tokio::test]
async fn a_refused_head_is_told_by_its_own_bytes() {
    let (mut client, mut served) = connected().await;
    let refused = "PUT /v1/traces HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n";
    let behind = "POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\r\n";
    let bytes = [refused, behind].concat();
    client.write_all(bytes.as_bytes()).await.unwrap();
    arrived(&served, bytes.len()).await;
    let replacement = head(&mut served).await.unwrap();
    assert_eq!(replacement.uri, "/.lightkeeper/broken");
    let broken = served.take_broken_head().unwrap();
    assert_eq!(
        (&*broken.method, &*broken.path, broken.fault),
        ("PUT", "/v1/traces", Fault::HeaderLine)
    );
    assert_eq!(broken.dialect, Dialect::Otlp(Encoding::Protobuf));
    assert!(served.take_broken_head().is_none());
    assert!(!served.next());
    assert!(head(&mut served).await.is_none());
}

/// Scenario: a large body ends its read, with nothing behind it or with the first bytes of a next head. Guarantees: the body's
/// buffer is not held while the rest of the head is awaited, however little room was left in it.
#[tokio::test]
async fn what_is_left_of_a_large_read_keeps_little() {
    let body = vec![b'x'; 60_000];
    let chunked = format!("{:x}\r\n", body.len()).into_bytes();
    let chunked = [&chunked[..], &body, b"\r\n0\r\n\r\n"].concat();
    let framings = [
        ("Transfer-Encoding: chunked".to_owned(), &chunked),
        (format!("Content-Length: {}", body.len()), &body),
    ];
    let ends = [&b""[..], b"GET /b HTTP/1.1\r\n"];
    for ((framing, sent), begun) in framings.iter().flat_map(|one| ends.map(|end| (one, end))) {
        let (mut client, mut served) = connected().await;
        let head_bytes = format!("POST /a HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        let bytes = [head_bytes.as_bytes(), sent, begun].concat();
        client.write_all(&bytes).await.unwrap();
        arrived(&served, bytes.len()).await;
        assert!(head(&mut served).await.is_some());
        let mut pieces = Vec::new();
        loop {
            let piece = poll_fn(|cx| served.poll_body(cx));
            match tokio::time::timeout(SOON, piece).await.unwrap().unwrap() {
                Some(piece) => pieces.push(piece),
                None => break,
            }
        }
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), body.len());
        assert!(served.next());
        // Of a body with a length no more is read than is its.
        let is_read = framing.starts_with("Transfer");
        assert_eq!(&served.ahead[..], if is_read { begun } else { b"" });
        // The pieces are there still, and what is left does not stand where they end.
        let end = pieces.last().unwrap().as_ptr_range().end as usize;
        let left = served.ahead.as_ptr() as usize;
        assert!(!(end..end + 16).contains(&left), "{framing}: {begun:?}");
        assert_eq!(served.ahead.capacity(), served.ahead.len());
        if !begun.is_empty() {
            client.write_all(b"Host: a\r\n\r\n").await.unwrap();
            assert_eq!(head(&mut served).await.unwrap().uri, "/b");
        }
    }
}
