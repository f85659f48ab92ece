//! A connection of our own for what speaks no HTTP.
//!
//! What it does: connects to a host, straight or through a proxy's tunnel, and speaks TLS over it where that is wanted. What it
//! refuses to know: what is sent. Invariants: the connection is there within its timeout or not at all; a certificate counts for
//! the name that was given and by the roots that were given.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service as _;

use super::connector::Connector;
use super::host::authority;
use super::{Egress, UnopenedProxy};
use crate::causes::chain;

/// Connects to one place.
pub(crate) struct StreamConnector {
    connector: Connector,
    place: Uri,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    timeout: Duration,
}

/// A connection to it.
pub(crate) enum OutboundStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamFault {
    #[error("{0}")]
    Unreachable(String),
    #[error("TLS")]
    Tls(#[source] io::Error),
    #[error("no connection within {} seconds", .0.as_secs())]
    TimedOut(Duration),
}

/// Why none can be looked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamPlaceFault {
    #[error(transparent)]
    Proxy(#[from] UnopenedProxy),
    #[error("the host is no host")]
    Host(#[from] http::uri::InvalidUri),
}

impl StreamConnector {
    /// `tls`: what is trusted, and the name that is expected. `timeout`: for a connection, with its tunnel and its handshake.
    pub(crate) fn new(
        (host, port): (&str, u16),
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
        egress: &Egress,
        timeout: Duration,
    ) -> Result<Self, StreamPlaceFault> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(StreamConnector {
            connector: Connector::new(egress, timeout)?,
            place: format!("{scheme}://{}", authority(host, port)).parse()?,
            tls,
            timeout,
        })
    }

    pub(crate) async fn connect(&mut self) -> Result<OutboundStream, StreamFault> {
        let connecting = async {
            let tcp = self.connector.call(self.place.clone()).await;
            let tcp = tcp
                .map_err(|error| StreamFault::Unreachable(chain(error.as_ref())))?
                .into_inner();
            match &self.tls {
                None => Ok(OutboundStream::Plain(tcp)),
                Some((config, name)) => TlsConnector::from(config.clone())
                    .connect(name.clone(), tcp)
                    .await
                    .map(|stream| OutboundStream::Tls(Box::new(stream)))
                    .map_err(StreamFault::Tls),
            }
        };
        timeout(self.timeout, connecting)
            .await
            .unwrap_or(Err(StreamFault::TimedOut(self.timeout)))
    }
}

impl AsyncRead for OutboundStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            OutboundStream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            OutboundStream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for OutboundStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            OutboundStream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            OutboundStream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            OutboundStream::Plain(stream) => Pin::new(stream).poll_flush(context),
            OutboundStream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            OutboundStream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            OutboundStream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
