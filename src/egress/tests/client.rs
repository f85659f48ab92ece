//! What the one client holds to by itself. What it refuses to know: who uses it; they have tests of their own.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, header};
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::super::{Egress, OutboundBounds, OutboundClient, OutboundFault};

fn client(bounds: OutboundBounds) -> OutboundClient {
    OutboundClient::new(Arc::new(RootCertStore::empty()), &Egress::Direct, bounds).unwrap()
}

fn get(url: &str) -> Request<Vec<u8>> {
    Request::get(url).body(Vec::new()).unwrap()
}

/// Answers one request with these bytes. Gives where, and the head that came.
async fn serve(answer: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut read).await.unwrap();
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(read).unwrap()
    });
    (url, serving)
}

/// Scenario: URLs that must not be asked, by each of both ways. Guarantees: each is refused before anything is dialled, and
/// the fault names no query.
#[tokio::test]
async fn other_addresses_are_not_asked() {
    let client = client(OutboundBounds::ISSUER);
    for url in [
        "http://idp.example/keys?secret",
        "http://169.254.169.254/latest?secret",
        "http://127.0.0.1.evil.example/?secret",
        "https://user:word@idp.example/?secret",
        "ftp://127.0.0.1/?secret",
        "/keys?secret",
    ] {
        let fault = client.ask(get(url)).await.unwrap_err();
        assert!(matches!(fault, OutboundFault::Address(_)), "{url}: {fault}");
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

/// Scenario: bodies about the bound, with a length and in chunks. Guarantees: what fits comes whole, whatever the status; one
/// byte more does not.
#[tokio::test]
async fn a_body_is_read_to_its_bound() {
    let bounds = OutboundBounds {
        body_bytes: 1000,
        ..OutboundBounds::ISSUER
    };
    for (size, fits) in [(0, true), (999, true), (1000, true), (1001, false)] {
        for status in [200, 404, 503] {
            for chunked in [false, true] {
                let body = "x".repeat(size);
                let answer = match chunked {
                    true if size > 0 => {
                        format!("transfer-encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n")
                    }
                    true => "transfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
                    false => format!("content-length: {size}\r\n\r\n{body}"),
                };
                let (url, serving) = serve(format!("HTTP/1.1 {status} X\r\n{answer}")).await;
                let what = format!("{status} {size} {chunked}");
                match client(bounds).ask(get(&url)).await {
                    Ok(answer) => {
                        assert!(fits, "{what}");
                        assert_eq!(answer.status(), StatusCode::from_u16(status).unwrap());
                        assert_eq!(answer.body().len(), size, "{what}");
                    }
                    Err(fault) => {
                        assert!(
                            matches!(fault, OutboundFault::TooLarge(_)),
                            "{what}: {fault}"
                        );
                        assert!(!fits, "{what}");
                    }
                }
                let told = serving.await.unwrap().to_ascii_lowercase();
                let agent = concat!(
                    "user-agent: lightkeeper/",
                    env!("CARGO_PKG_VERSION"),
                    "\r\n"
                );
                assert!(told.contains(agent), "{told}");
            }
        }
    }
}

/// Scenario: what each kind of call may take. Guarantees: no bound grows unseen; a connection has
/// less time than the whole, so that the fault tells a silent proxy.
#[test]
fn the_bounds_are_these() {
    for (bounds, connect, whole, body_bytes) in [
        (OutboundBounds::ISSUER, 4, 5, 512 << 10),
        (OutboundBounds::COMMAND, 10, 90, 32 << 20),
        (OutboundBounds::DESTINATION, 3, 10, 64 << 10),
    ] {
        assert_eq!(bounds.connect, Duration::from_secs(connect));
        assert_eq!(bounds.whole, Duration::from_secs(whole));
        assert_eq!(bounds.body_bytes, body_bytes);
        assert!(bounds.connect < bounds.whole);
    }
}

/// Scenario: a request that names its sender. Guarantees: the name stays.
#[tokio::test]
async fn a_senders_own_name_stays() {
    let (url, serving) = serve("HTTP/1.1 204 X\r\n\r\n".to_owned()).await;
    let mut request = get(&url);
    let own = http::HeaderValue::from_static("own/1");
    request.headers_mut().insert(header::USER_AGENT, own);
    client(OutboundBounds::COMMAND).ask(request).await.unwrap();
    assert_eq!(serving.await.unwrap().matches("own/1").count(), 1);
}
