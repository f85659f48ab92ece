//! A tunnel through a proxy (RFC 9110 section 9.3.6).
//!
//! What it does: asks for the tunnel and reads the proxy's answer, exactly to its end, because what follows it comes from the
//! host behind. What it refuses to know: how the proxy was reached, and how long that may take; the caller bounds the time.
//! Invariants: no more than `ANSWER_LIMIT_BYTES` of an answer are read; nothing that the proxy says gets into a message but
//! its status.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::host::authority;
use super::proxy::Proxy;

/// All heads of an answer together, interim ones included.
const ANSWER_LIMIT_BYTES: usize = 16 * 1024;

/// The most lines of one head.
const HEAD_LINES: usize = 100;

/// Why there is no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TunnelFault {
    #[error("the proxy cannot be reached")]
    Unreachable,
    #[error("the proxy answered {0}{wants}", wants = wants(*.0))]
    Refused(u16),
    /// It hung up, or its answer is no HTTP or has no end.
    #[error("the proxy gave no HTTP answer")]
    Broken,
    #[error("the proxy did not answer in time")]
    TimedOut,
}

/// What a proxy's status asks for.
fn wants(status: u16) -> &'static str {
    match status {
        407 => ": it wants other credentials",
        _ => "",
    }
}

impl TunnelFault {
    /// A stable code.
    pub(crate) fn code(self) -> &'static str {
        match self {
            TunnelFault::Unreachable => "proxy_unreachable",
            TunnelFault::Refused(_) => "proxy_refused",
            TunnelFault::Broken => "proxy_broken",
            TunnelFault::TimedOut => "proxy_timed_out",
        }
    }
}

impl Proxy {
    /// Turns a connection to this proxy into one to a host behind it.
    pub(crate) async fn tunnel(
        &self,
        tcp: &mut TcpStream,
        host: &str,
        port: u16,
    ) -> Result<(), TunnelFault> {
        let place = authority(host, port);
        let mut head = Zeroizing::new(Vec::with_capacity(512));
        head.extend_from_slice(format!("CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n").as_bytes());
        head.extend_from_slice(
            concat!(
                "user-agent: lightkeeper/",
                env!("CARGO_PKG_VERSION"),
                "\r\n"
            )
            .as_bytes(),
        );
        if let Some(authorization) = &self.authorization {
            head.extend_from_slice(b"proxy-authorization: Basic ");
            head.extend_from_slice(authorization.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        tcp.write_all(&head)
            .await
            .map_err(|_| TunnelFault::Broken)?;
        let mut left = ANSWER_LIMIT_BYTES;
        loop {
            match answer(tcp, &mut left).await? {
                // A success has no body here, whatever its head says (section 9.3.6).
                200..=299 => return Ok(()),
                // Interim answers say nothing to us (section 15.2); another protocol was not asked for.
                100 | 102..=199 => {}
                101 => return Err(TunnelFault::Broken),
                status => return Err(TunnelFault::Refused(status)),
            }
        }
    }
}

/// Reads one head and not a byte more, and gives its status.
async fn answer(tcp: &mut TcpStream, left: &mut usize) -> Result<u16, TunnelFault> {
    let broken = |_| TunnelFault::Broken;
    let mut head = Vec::with_capacity(512);
    let mut space = [0; 1024];
    loop {
        let count = tcp.peek(&mut space).await.map_err(broken)?;
        let seen = space
            .get(..count)
            .filter(|seen| !seen.is_empty())
            .ok_or(TunnelFault::Broken)?;
        let before = head.len();
        head.extend_from_slice(seen);
        let end = end_of_head(&head, before);
        head.truncate(end.unwrap_or(head.len()));
        let taken = head.len().saturating_sub(before);
        *left = left.checked_sub(taken).ok_or(TunnelFault::Broken)?;
        let taken = space.get_mut(..taken).ok_or(TunnelFault::Broken)?;
        tcp.read_exact(taken).await.map_err(broken)?;
        if end.is_some() {
            let mut lines = [httparse::EMPTY_HEADER; HEAD_LINES];
            let mut parsed = httparse::Response::new(&mut lines);
            return match parsed.parse(&head) {
                Ok(httparse::Status::Complete(_)) => parsed.code.ok_or(TunnelFault::Broken),
                _ => Err(TunnelFault::Broken),
            };
        }
    }
}

/// Where the empty line behind a head ends; only what came from `before` on is new.
fn end_of_head(head: &[u8], before: usize) -> Option<usize> {
    let from = before.saturating_sub(2);
    let new = head.get(from..)?;
    // A lone line feed ends a line, too (RFC 9112 section 2.2).
    let found = memchr::memmem::find(new, b"\n\r\n").map(|at| at + 3);
    let bare = memchr::memmem::find(new, b"\n\n").map(|at| at + 2);
    found.into_iter().chain(bare).min().map(|end| from + end)
}
