//! The guarded stream of HTTP/2, as the framework sees it.
//!
//! What it does: gives the framework its transport traits over a `GuardedConnection`. What it refuses to know: messages.
//! Invariant: the lock is never held across a wait.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
/// What takes a guarded stream.
pub(super) use pingora_core::apps::ServerApp;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::arrival::Arrival;
use super::connection::Connection;
use super::guarded_connection::GuardedConnection;
use crate::lock::{Mutex, MutexGuard};

/// The stream that the framework reads and writes.
pub(super) struct Guarded {
    line: Arc<Mutex<GuardedConnection>>,
    connection: Arc<Connection>,
    /// Made once: the framework asks for it with every request.
    digest: Option<Arc<ProxyDigest>>,
    fd: UniqueIDType,
}

fn lock(line: &Mutex<GuardedConnection>) -> MutexGuard<'_, GuardedConnection> {
    line.lock()
}

impl Guarded {
    pub(super) fn new(line: GuardedConnection) -> Self {
        let (connection, fd) = (line.connection().clone(), line.fd());
        let line = Arc::new(Mutex::new(line));
        // The only way for our own facts to reach a request: the framework copies this into its digest.
        let arrival = Arrival::new(connection.clone(), None);
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
        true
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
        // Nothing else is given to the framework.
        Some(ALPN::H2)
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
