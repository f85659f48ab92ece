//! Connections to one backend that rest between calls.
//!
//! What it does: dials (TLS included), keeps finished connections for a while, and gives out only those
//! that are still alive. What it refuses to know: messages. Invariants: a pool belongs to one backend's
//! verification settings and goes with them; it never holds more than its bound; a connection is given
//! out once at a time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Resting connections to one backend.
const RESTING_LIMIT: usize = 512;

/// A connection to a backend.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFault {
    Unreachable,
    TimedOut,
    /// The backend's certificate does not hold, or it does not accept ours.
    NotVerified,
}

/// Resting connections, the last used on top.
pub struct Pool {
    tls: Option<(TlsConnector, ServerName<'static>)>,
    resting: Mutex<Vec<(Wire, Instant)>>,
    idle_timeout: Duration,
    connect_timeout: Duration,
}

impl Pool {
    pub fn new(
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
        idle_timeout: Duration,
        connect_timeout: Duration,
    ) -> Self {
        Pool {
            tls: tls.map(|(config, name)| (TlsConnector::from(config), name)),
            resting: Mutex::new(Vec::new()),
            idle_timeout,
            connect_timeout,
        }
    }

    /// A connection that rested here and is alive.
    pub fn take(&self) -> Option<Wire> {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
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
    pub fn give(&self, wire: Wire) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() < RESTING_LIMIT {
            resting.push((wire, Instant::now()));
        }
        // The longest at rest stand at the bottom; a few at a time, so that no call pays for all.
        let expired = resting.iter().take(4).take_while(|(_, since)| since.elapsed() > self.idle_timeout).count();
        resting.drain(..expired);
    }

    /// Dials, and proves whom it reached.
    pub async fn dial(&self, address: SocketAddr) -> Result<Wire, DialFault> {
        let dialling = async {
            let tcp = TcpStream::connect(address).await.map_err(|_| DialFault::Unreachable)?;
            // Small requests must not wait for acknowledgements; without it they are late, not wrong.
            let _ = tcp.set_nodelay(true);
            match &self.tls {
                None => Ok(Wire::Plain(tcp)),
                Some((connector, name)) => match connector.connect(name.clone(), tcp).await {
                    Ok(tls) => Ok(Wire::Tls(Box::new(tls))),
                    Err(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                        Err(DialFault::NotVerified)
                    }
                    Err(_) => Err(DialFault::Unreachable),
                },
            }
        };
        tokio::time::timeout(self.connect_timeout, dialling).await.unwrap_or(Err(DialFault::TimedOut))
    }
}

impl Wire {
    /// Whether nothing has come since: neither an end nor bytes that nobody asked for.
    fn is_quiet(&mut self) -> bool {
        let mut space = [0_u8; 1];
        let mut buffer = ReadBuf::new(&mut space);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut cx, &mut buffer).is_pending()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_read(cx, out),
            Wire::Tls(tls) => Pin::new(tls).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Wire::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Wire::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Wire::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Wire::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
