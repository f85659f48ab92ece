//! The guarded stream, as the framework sees it, and the request body, as the rooms see it.
//!
//! What it does: gives the framework its transport traits over a `GuardedConnection`, and the rooms the body bytes of
//! the request in flight. What it refuses to know: messages (`line` does). Invariants: the framework never
//! reads an HTTP/1 body; the lock is never held across a wait.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
/// What takes a guarded stream.
pub(super) use pingora_core::apps::ServerApp;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::calls::CallPlace;
use super::client_address::ClientAddress;
use super::connection::Connection;
use super::guarded_connection::GuardedConnection;
use super::{Fault, Framed};
use crate::limits::{Account, Budget, Spent};
use crate::lock::{Mutex, MutexGuard};

/// The stream that the framework reads and writes.
pub struct Guarded {
    line: Arc<Mutex<GuardedConnection>>,
    connection: Arc<Connection>,
    /// Made once: the framework asks for it with every request.
    digest: Option<Arc<ProxyDigest>>,
    raw: bool,
    fd: UniqueIDType,
}

/// What our accept loop tells the requests of a connection; the framework carries it along.
#[derive(Clone)]
pub struct Arrival {
    pub connection: Arc<Connection>,
    /// Whose request it is: the connection's, or as a trusted proxy's header says.
    pub client: ClientAddress,
    /// Its place among the calls at once, or why it has none.
    pub place: Result<Arc<CallPlace>, Spent>,
    line: Arc<Mutex<GuardedConnection>>,
}

/// The body of the HTTP/1 request in flight.
#[derive(Clone)]
pub struct Body {
    line: Arc<Mutex<GuardedConnection>>,
}

impl Arrival {
    /// The account of this request until its identity is proven.
    pub fn account(&self, budget: &Arc<Budget>) -> Account {
        if self.client.ip == self.connection.peer.ip() {
            self.connection.account(budget).clone()
        } else {
            budget.unproven(self.client.ip)
        }
    }

    /// The body of the request in flight; `None` on HTTP/2, where the framework reads it.
    pub fn body(&self) -> Option<Body> {
        (!self.connection.http2).then(|| Body {
            line: self.line.clone(),
        })
    }
}

impl Body {
    /// The next piece; `None` at the end. Waits without a deadline: the caller brings one.
    pub async fn chunk(&self) -> Result<Option<Bytes>, Fault> {
        poll_fn(|cx| lock(&self.line).poll_body(cx)).await
    }

    /// How the body was announced.
    pub fn framed(&self) -> Framed {
        match lock(&self.line).declared_bytes() {
            Some(length) => Framed::Length(length),
            None => Framed::Chunks,
        }
    }

    /// Whether it has been read to its end.
    pub fn is_whole(&self) -> bool {
        lock(&self.line).is_body_whole()
    }
}

fn lock(line: &Mutex<GuardedConnection>) -> MutexGuard<'_, GuardedConnection> {
    line.lock()
}

impl Guarded {
    pub fn new(mut line: GuardedConnection) -> Self {
        let (connection, raw, fd) = (line.connection().clone(), line.is_raw(), line.io().fd());
        let line = Arc::new(Mutex::new(line));
        // The only way for our own facts to reach a request: the framework copies this into its digest.
        let client = connection.peer.into();
        // Each request asks for a place of its own.
        let place = Err(Spent::Total);
        let arrival = Arrival {
            connection: connection.clone(),
            client,
            place,
            line: line.clone(),
        };
        let digest = pingora_http::ResponseHeader::build(200, Some(0))
            .ok()
            .map(|response| {
                Arc::new(ProxyDigest::new(
                    Box::new(response),
                    Some(Box::new(arrival)),
                ))
            });
        Guarded {
            line,
            connection,
            digest,
            raw,
            fd,
        }
    }
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the bytes: they hold credentials, and the framework prints streams when it is puzzled.
        write!(formatter, "Guarded({})", self.connection.peer)
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        lock(&self.line).poll_read(cx, out)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.line).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.line).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.raw
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.line).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.line).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        // A connection that cannot be closed well is closed by being dropped.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.fd
    }
}

impl Ssl for Guarded {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        // Cleartext HTTP/2 is recognised by its preface before the framework sees the stream.
        Some(if self.connection.http2 {
            ALPN::H2
        } else {
            ALPN::H1
        })
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.digest.clone()
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[async_trait]
impl Peek for Guarded {}
