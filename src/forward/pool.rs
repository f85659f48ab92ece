//! Connections to one backend that rest between calls.
//!
//! What it does: dials (TLS included), keeps finished connections for a while, and gives out only those
//! that are still alive. Where a proxy stands before the backend, it dials the proxy and goes on in its tunnel. What it refuses to know: messages. Invariants: a pool belongs to one backend's
//! verification settings and one way there, and goes with them; it never holds more than its bound; a connection is given
//! out once at a time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::egress::{Proxy, TunnelFault};
use crate::lock::Mutex;

/// Resting connections to one backend.
const RESTING_LIMIT: usize = 512;

/// A connection to a backend.
pub(crate) enum BackendStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialFault {
    Unreachable,
    /// The proxy gave no tunnel.
    Proxy(TunnelFault),
    TimedOut,
    /// The backend's certificate does not hold, or it does not accept ours.
    NotVerified,
}

/// Resting connections, the last used on top.
pub(crate) struct Pool {
    tls: Option<(TlsConnector, ServerName<'static>)>,
    through: Option<Through>,
    resting: Mutex<Vec<(BackendStream, Instant)>>,
    idle_timeout: Duration,
    connect_timeout: Duration,
}

/// The way through a proxy to a host and port behind it.
#[derive(Clone)]
pub(crate) struct Through {
    pub proxy: Arc<Proxy>,
    pub host: String,
    pub port: u16,
}

impl Pool {
    pub(crate) fn new(
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
        through: Option<Through>,
        idle_timeout: Duration,
        connect_timeout: Duration,
    ) -> Self {
        Pool {
            tls: tls.map(|(config, name)| (TlsConnector::from(config), name)),
            through,
            resting: Mutex::new(Vec::new()),
            idle_timeout,
            connect_timeout,
        }
    }

    /// A connection that rested here and is alive.
    pub(crate) fn take(&self) -> Option<BackendStream> {
        let mut resting = self.resting.lock();
        while let Some((mut wire, since)) = resting.pop() {
            if since.elapsed() > self.idle_timeout {
                // All below rested even longer.
                resting.clear();
                return None;
            }
            if wire.is_quiet() {
                return Some(wire);
            }
        }
        None
    }

    /// Lets a connection rest whose last answer was read to its end.
    pub(crate) fn give(&self, wire: BackendStream) {
        let now = Instant::now();
        let mut resting = self.resting.lock();
        if resting.len() < RESTING_LIMIT {
            resting.push((wire, now));
        }
        // The longest at rest stand at the bottom; a few at a time, so that no call pays for all.
        let expired = resting
            .iter()
            .take(4)
            .take_while(|(_, since)| now.saturating_duration_since(*since) > self.idle_timeout)
            .count();
        resting.drain(..expired);
    }

    /// Dials, through the proxy if there is one, and proves who answers. `address`: the proxy's, or the backend's.
    pub(crate) async fn dial(&self, address: SocketAddr) -> Result<BackendStream, DialFault> {
        let deadline = tokio::time::Instant::now() + self.connect_timeout;
        let tcp = match &self.through {
            None => {
                let connected = timeout_at(deadline, connect(address))
                    .await
                    .map_err(|_| DialFault::TimedOut)?;
                connected.map_err(|_| DialFault::Unreachable)?
            }
            Some(through) => {
                let tunnelling = async {
                    let mut tcp = connect(address)
                        .await
                        .map_err(|_| TunnelFault::Unreachable)?;
                    through
                        .proxy
                        .tunnel(&mut tcp, &through.host, through.port)
                        .await?;
                    Ok(tcp)
                };
                let late = |_| DialFault::Proxy(TunnelFault::TimedOut);
                timeout_at(deadline, tunnelling)
                    .await
                    .map_err(late)?
                    .map_err(DialFault::Proxy)?
            }
        };
        let Some((connector, name)) = &self.tls else {
            return Ok(BackendStream::Plain(tcp));
        };
        match timeout_at(deadline, connector.connect(name.clone(), tcp)).await {
            Err(_) => Err(DialFault::TimedOut),
            Ok(Ok(tls)) => Ok(BackendStream::Tls(Box::new(tls))),
            Ok(Err(error))
                if error
                    .get_ref()
                    .is_some_and(|inner| inner.is::<rustls::Error>()) =>
            {
                Err(DialFault::NotVerified)
            }
            Ok(Err(_)) => Err(DialFault::Unreachable),
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    // Small requests must not wait for acknowledgements; without it they are late, not wrong.
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

impl BackendStream {
    /// Whether nothing has come since: neither an end nor bytes that were not asked for.
    fn is_quiet(&mut self) -> bool {
        let mut space = [0_u8; 1];
        let mut buffer = ReadBuf::new(&mut space);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut cx, &mut buffer).is_pending()
    }
}

impl AsyncRead for BackendStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BackendStream::Plain(tcp) => Pin::new(tcp).poll_read(cx, out),
            BackendStream::Tls(tls) => Pin::new(tls).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for BackendStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            BackendStream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            BackendStream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            BackendStream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            BackendStream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BackendStream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            BackendStream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BackendStream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            BackendStream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
