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

/// Scenario: the first bytes of a next head come in the same read as the end of a large body. Guarantees: the body's buffer is
/// not held while the rest of the head is awaited.
#[tokio::test]
async fn what_is_left_of_a_large_read_keeps_little() {
    let (mut client, mut served) = connected().await;
    let body = vec![b'x'; 60_000];
    let begun = b"GET /b HTTP/1.1\r\n";
    let mut bytes = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    bytes.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(b"\r\n0\r\n\r\n");
    bytes.extend_from_slice(begun);
    client.write_all(&bytes).await.unwrap();
    arrived(&served, bytes.len()).await;
    assert!(head(&mut served).await.is_some());
    let mut read = 0;
    loop {
        let piece = poll_fn(|cx| served.poll_body(cx));
        match tokio::time::timeout(SOON, piece).await.unwrap().unwrap() {
            Some(piece) => read += piece.len(),
            None => break,
        }
    }
    assert_eq!(read, body.len());
    assert!(served.next());
    assert_eq!(&served.ahead[..], begun);
    let capacity = served.ahead.capacity();
    assert!(capacity <= HEAD_READ_BYTES, "{capacity}");
    client.write_all(b"Host: a\r\n\r\n").await.unwrap();
    assert_eq!(head(&mut served).await.unwrap().uri, "/b");
}
