//! Peers that keep to no bound, for the tests of everything that makes calls of its own.
//!
//! What it does: gives the list of them, each a server on loopback, with what a bounded client is to find. What it refuses to
//! know: who asks. Invariants: a peer counts the requests that it got; one that sends without end gives up far behind the
//! bound, so that a client that reads on fails its test and does not hang it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::OutboundBounds;

/// Long enough for whatever a peer does that is not silence.
const AMPLE: Duration = Duration::from_secs(60);

/// What a client waits for a peer that is silent.
const SHORT: Duration = Duration::from_millis(200);

/// What the sockets between may hold beyond a bound.
const SLACK_BYTES: usize = 48 << 20;

/// Which bound a peer breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// It leads elsewhere: no further request may come.
    Redirect,
    /// Its body is larger than is read.
    Large,
    /// What it sends is no answer, or no whole one.
    NoHttp,
    /// It does not end.
    Silence,
}

/// A peer, before it is asked.
pub(crate) struct HostilePeer {
    pub what: &'static str,
    pub(crate) breach: Breach,
    /// The deadline to give to the client.
    pub patience: Duration,
    /// What it sends first.
    begins: Vec<u8>,
    /// What it sends again and again, and how many bytes of that at most.
    repeats: (Vec<u8>, usize),
    /// Whether it hangs up at last.
    closes: bool,
}

/// A peer that listens.
pub(crate) struct ServedPeer {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl ServedPeer {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// All of them, for a client of these bounds.
pub(crate) fn peers(bounds: OutboundBounds) -> Vec<HostilePeer> {
    let limit = bounds.body_bytes;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let over = format!("{head}content-length: {}\r\n\r\n", limit + 1);
    let endless = limit + SLACK_BYTES;
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let row = |what, breach, begins: &str, repeats: &str, at_most: usize, closes| HostilePeer {
        what,
        breach,
        patience: if breach == Breach::Silence {
            SHORT
        } else {
            AMPLE
        },
        begins: begins.as_bytes().to_vec(),
        repeats: (repeats.as_bytes().to_vec(), at_most),
        closes,
    };
    let redirect = |what, status: u16, location: &str| {
        let begins =
            format!("HTTP/1.1 {status} X\r\nlocation: {location}\r\ncontent-length: 2\r\n\r\n{{}}");
        row(what, Breach::Redirect, &begins, "", 0, false)
    };
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    let unframed = format!("{head}connection: close\r\n\r\n");
    vec![
        redirect("moved", 301, "/elsewhere"),
        redirect("found", 302, "/"),
        redirect("see other", 303, "//127.0.0.1/"),
        redirect("temporary", 307, "http://169.254.169.254/latest"),
        redirect("permanent", 308, "file:///etc/passwd"),
        row(
            "announces one byte too much",
            Breach::Large,
            &over,
            "",
            0,
            false,
        ),
        row(
            "sends one byte too much",
            Breach::Large,
            &over,
            " ",
            limit + 1,
            true,
        ),
        row(
            "chunks without end",
            Breach::Large,
            &chunked,
            &chunk,
            endless,
            true,
        ),
        row(
            "a body without end",
            Breach::Large,
            &unframed,
            &chunk,
            endless,
            true,
        ),
        row(
            "a line without end",
            Breach::NoHttp,
            "HTTP/1.1 200 ",
            &"k".repeat(4096),
            endless,
            true,
        ),
        row(
            "a head without end",
            Breach::NoHttp,
            head,
            "x: y\r\n",
            endless,
            true,
        ),
        row(
            "a field without end",
            Breach::NoHttp,
            &format!("{head}x: "),
            &"y".repeat(4096),
            endless,
            true,
        ),
        row(
            "no HTTP",
            Breach::NoHttp,
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "",
            0,
            true,
        ),
        row(
            "TLS",
            Breach::NoHttp,
            "\x15\x03\x03\0\x02\x02\x28",
            "",
            0,
            true,
        ),
        row(
            "two lengths",
            Breach::NoHttp,
            &format!("{head}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"),
            "",
            0,
            true,
        ),
        row("hangs up", Breach::NoHttp, "", "", 0, true),
        row(
            "hangs up within the head",
            Breach::NoHttp,
            head,
            "",
            0,
            true,
        ),
        row(
            "hangs up within the body",
            Breach::NoHttp,
            &format!("{head}content-length: 3\r\n\r\n{{}}"),
            "",
            0,
            true,
        ),
        row(
            "hangs up within a chunk",
            Breach::NoHttp,
            &format!("{chunked}9\r\n{{}}"),
            "",
            0,
            true,
        ),
        row(
            "a chunk of no size",
            Breach::NoHttp,
            &format!("{chunked}-1\r\n{{}}\r\n0\r\n\r\n"),
            "",
            0,
            true,
        ),
        row("silent", Breach::Silence, "", "", 0, false),
        row(
            "silent within the head",
            Breach::Silence,
            head,
            "",
            0,
            false,
        ),
        row(
            "silent before the body",
            Breach::Silence,
            &format!("{head}content-length: 2\r\n\r\n"),
            "",
            0,
            false,
        ),
        row(
            "silent within a chunk",
            Breach::Silence,
            &format!("{chunked}9\r\n{{}}"),
            "",
            0,
            false,
        ),
        row(
            "silent before the end",
            Breach::Silence,
            &format!("{unframed}{{}}"),
            "",
            0,
            false,
        ),
        row(
            "interim answers only",
            Breach::Silence,
            "HTTP/1.1 103 Early\r\n\r\n",
            "HTTP/1.1 103 Early\r\n\r\n",
            4096,
            false,
        ),
    ]
}

impl HostilePeer {
    /// Listens, and treats each request alike.
    pub(crate) async fn serve(&self) -> ServedPeer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = ServedPeer {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
        };
        let requests = served.requests.clone();
        let (begins, repeats, closes) = (self.begins.clone(), self.repeats.clone(), self.closes);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (requests, begins, repeats) =
                    (requests.clone(), begins.clone(), repeats.clone());
                tokio::spawn(async move {
                    while read_request(&mut stream).await {
                        requests.fetch_add(1, Ordering::SeqCst);
                        // The client may have hung up by now: that is what is wanted of it.
                        let _ = send(&mut stream, &begins, &repeats).await;
                        if closes {
                            return;
                        }
                    }
                });
            }
        });
        served
    }
}

async fn send(
    stream: &mut TcpStream,
    begins: &[u8],
    (piece, at_most): &(Vec<u8>, usize),
) -> std::io::Result<()> {
    stream.write_all(begins).await?;
    if *at_most == 0 {
        return Ok(());
    }
    let block = piece.repeat((64 << 10) / piece.len());
    let mut left = *at_most;
    while left > 0 {
        let next = left.min(block.len());
        stream.write_all(&block[..next]).await?;
        left -= next;
    }
    Ok(())
}

/// Whether a request came; its body, if any, is short and comes with it or is never answered for.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    while memchr::memmem::find(&read, b"\r\n\r\n").is_none() {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    let end = memchr::memmem::find(&read, b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.map_or(0, |rest| {
        rest.split("\r\n").next().unwrap().parse().unwrap()
    });
    while read.len() < end + length {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}
