//! The accept loop: from a socket to a connection that is served.
//!
//! What it does: binds (port 0 included), counts connections in total and per address (IPv6: its /64), takes off what a
//! trusted proxy says of its client (PROXY protocol), bounds the handshake, recognises cleartext HTTP/2, ends connections by age and at the drain, and tells of every
//! refusal that happens before a request exists. What it refuses to know: requests.
//! Invariants: an accept error never ends the loop; a slot is given back whatever way a connection ends.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rustls::ServerConfig;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::connection::Connection;
use super::connection_limiter::{ConnectionLimiter, ConnectionPlace};
use super::guarded_connection::GuardedConnection;
use super::handshake::{ShownCertificate, listened};
use super::head::HeadLimits;
use super::http1::{self, Http1App, Http1Connection, Pace};
use super::proxy_protocol;
use super::refused::Times;
use super::stream::{Guarded, ServerApp};
use super::transport::Transport;
use super::{ClientChain, ListenerSettings};
use crate::limits::Limits;
use crate::lock::Mutex;
use crate::reason::Reason;

/// One read while the protocol is looked for.
const HEAD_READ_BYTES: usize = 8 * 1024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the loop needs of the present configuration; swapped whole on reload.
pub(crate) struct Terms {
    pub listener: Arc<ListenerSettings>,
    pub tls: Option<Arc<ServerConfig>>,
    pub limits: Arc<Limits>,
}

/// What happened before any request existed.
#[derive(Debug)]
pub(crate) enum EdgeEvent {
    /// A connection was closed because of `connections_total` or `connections_per_address`, or because its first
    /// bytes did not come (`preface_timeout`), or broke off where they could still have become HTTP/2 (`preface_closed`).
    ConnectionRefused { reason: Reason },
    /// A connection ended before a byte came, by its client or by us: a load balancer's probe, or one that was opened ahead
    /// of need. Silence before TLS is a handshake that took too long.
    ClosedUnused,
    /// A TLS handshake did not succeed; the reason is a stable code, the detail is for the log.
    HandshakeFailed {
        reason: Reason,
        detail: String,
        certificate: Option<ShownCertificate>,
    },
    /// The framework refused an HTTP/2 request, or the whole connection, by itself.
    StreamRefused { reason: Reason, times: Times },
    /// `accept` itself failed, for instance for lack of file descriptors.
    AcceptFailed { detail: String },
}

/// Told of events on a listener. Must not block.
pub(crate) type Witness = Arc<dyn Fn(&str, Option<SocketAddr>, EdgeEvent) + Send + Sync>;

/// The stages of a stop: accept on, then finish what is in flight, then cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving,
    Draining,
    Stopped,
}

/// Waits until the stage is at least `at`; a gateway that is gone has stopped.
pub(crate) async fn reached(stage: &mut watch::Receiver<Stage>, at: Stage) {
    // The error means that no further stage can come.
    let _ = stage.wait_for(|stage| *stage >= at).await;
}

/// One listener's loop.
pub(crate) struct Edge<A, B> {
    pub socket: TcpListener,
    pub terms: Arc<ArcSwap<Terms>>,
    pub http1: Arc<A>,
    pub http2: Arc<B>,
    pub connection_limiter: Arc<ConnectionLimiter>,
    pub witness: Witness,
    pub stage: watch::Receiver<Stage>,
}

impl<A: Http1App, B: ServerApp + Send + Sync + 'static> Edge<A, B> {
    /// Accepts until the drain begins, then waits for the connections that are left, or cuts them when
    /// the stage becomes `Stopped`.
    pub(crate) async fn run(mut self) {
        let mut connections = JoinSet::new();
        let mut stage = self.stage.clone();
        loop {
            tokio::select! {
                biased;
                () = reached(&mut stage, Stage::Draining) => break,
                _ = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.socket.accept() => self.admit(accepted, &mut connections).await,
            }
        }
        // Listening ends here: new clients are refused by the kernel and look elsewhere.
        drop(self.socket);
        tokio::select! {
            () = reached(&mut self.stage, Stage::Stopped) => {}
            () = async { while connections.join_next().await.is_some() {} } => {}
        }
        // Waits until what was cut is gone, so that every call has left its record.
        connections.shutdown().await;
    }

    async fn admit(
        &self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        connections: &mut JoinSet<()>,
    ) {
        let terms = self.terms.load_full();
        let name = &terms.listener.name;
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                (self.witness)(
                    name,
                    None,
                    EdgeEvent::AcceptFailed {
                        detail: error.kind().to_string(),
                    },
                );
                // Without a pause, a lack of descriptors would spin this loop.
                tokio::time::sleep(Duration::from_millis(50)).await;
                return;
            }
        };
        // IPv4-mapped addresses count as the IPv4 address that they are.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let is_proxy = terms.listener.front.proxy_protocol.contains(peer.ip());
        let place = match self
            .connection_limiter
            .enter(peer.ip(), !is_proxy, &terms.limits)
        {
            Ok(place) => place,
            Err(reason) => {
                (self.witness)(name, Some(peer), EdgeEvent::ConnectionRefused { reason });
                return;
            }
        };
        connections.spawn(serve(
            tcp,
            peer,
            terms,
            (self.http1.clone(), self.http2.clone()),
            self.witness.clone(),
            self.stage.clone(),
            place,
        ));
    }
}

/// One connection's life.
async fn serve<A: Http1App, B: ServerApp + Send + Sync + 'static>(
    tcp: TcpStream,
    peer: SocketAddr,
    terms: Arc<Terms>,
    (http1, http2): (Arc<A>, Arc<B>),
    witness: Witness,
    mut stage: watch::Receiver<Stage>,
    mut place: ConnectionPlace,
) {
    // Small answers must not wait for the acknowledgement of earlier ones.
    let _ = tcp.set_nodelay(true);
    let limits = terms.limits.clone();
    let established = tokio::select! {
        biased;
        established = arrive(tcp, peer, &terms, &witness, &mut place) => established,
        // Who has not said anything yet looks elsewhere, and holds no stop up.
        () = reached(&mut stage, Stage::Draining) => return,
    };
    let Some((connection, established)) = established else {
        return;
    };
    let (closing, closing_watch) = watch::channel(false);
    let serving = async {
        match established {
            Established::Http1(line) => http1::serve(line, &*http1).await,
            Established::Http2(stream) => drop(http2.process_new(stream, &closing_watch).await),
        }
    };
    tokio::pin!(serving);
    // A set of one: it is looked at when it was woken, not whenever the connection is.
    let mut draining = stage.clone();
    let ending = FuturesUnordered::new();
    ending.push(async {
        tokio::select! {
            () = retired(&connection, &closing, &limits) => {}
            // Calls under way end well; no other can be understood.
            () = connection.spoilt() => {}
            () = reached(&mut draining, Stage::Draining) => {}
        }
    });
    tokio::pin!(ending);
    tokio::select! {
        biased;
        // First: a client whose next request is always there would keep its connection from ending.
        _ = ending.next() => {}
        () = &mut serving => return,
    }
    // HTTP/2 sends GOAWAY on this signal; HTTP/1.1 closes when idle or after its answer.
    connection.close();
    let _ = closing.send(true);
    // Where no stop presses, a call under way may take as long as its body and its answer may.
    let calls = limits.drain_timeout.saturating_add(limits.body_timeout * 2);
    let mut draining = stage.clone();
    tokio::select! {
        _ = &mut serving => {}
        () = tokio::time::sleep(calls) => {}
        () = async {
            reached(&mut draining, Stage::Draining).await;
            tokio::time::sleep(limits.drain_timeout).await;
        } => {}
        () = reached(&mut stage, Stage::Stopped) => {}
    }
}

/// Ends when a connection has come of age and rests. From its age on its next answer is its last; one that rests is closed
/// later, since a request may be on its way and would be lost.
async fn retired(connection: &Connection, closing: &watch::Sender<bool>, limits: &Limits) {
    tokio::time::sleep(limits.connection_age).await;
    connection.retire();
    // HTTP/2's GOAWAY says itself which requests are still served.
    let _ = closing.send(true);
    tokio::time::sleep(limits.idle_timeout.min(limits.drain_timeout)).await;
}

/// A connection whose protocol is known.
enum Established {
    Http1(Arc<Mutex<Http1Connection>>),
    Http2(Box<Guarded>),
}

/// Whether a first byte comes.
enum First {
    Came,
    Closed,
    Silent,
}

async fn first_byte(tcp: &TcpStream, until: Instant) -> First {
    match timeout_at(until, tcp.peek(&mut [0])).await {
        Ok(Ok(1..)) => First::Came,
        Ok(Ok(0) | Err(_)) => First::Closed,
        Err(_) => First::Silent,
    }
}

/// Learns from a trusted proxy whose connection this is, and establishes it as the client's.
async fn arrive(
    mut tcp: TcpStream,
    peer: SocketAddr,
    terms: &Terms,
    witness: &Witness,
    place: &mut ConnectionPlace,
) -> Option<(Arc<Connection>, Established)> {
    let listener = &terms.listener;
    if !listener.front.proxy_protocol.contains(peer.ip()) {
        return establish(tcp, peer, terms, witness).await;
    }
    let refused = |peer, reason| {
        witness(
            &listener.name,
            Some(peer),
            EdgeEvent::ConnectionRefused { reason },
        )
    };
    let until = Instant::now() + terms.limits.header_timeout;
    match first_byte(&tcp, until).await {
        First::Came => {}
        First::Closed | First::Silent => {
            witness(&listener.name, Some(peer), EdgeEvent::ClosedUnused);
            return None;
        }
    }
    let client = match timeout_at(until, proxy_protocol::read_header(&mut tcp)).await {
        Ok(Ok(client)) => client.unwrap_or(peer),
        Ok(Err(_)) => {
            refused(peer, Reason::ProxyHeaderMalformed);
            return None;
        }
        Err(_) => {
            refused(peer, Reason::ProxyHeaderTimeout);
            return None;
        }
    };
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    if let Err(reason) = place.name(client.ip(), &terms.limits) {
        refused(client, reason);
        return None;
    }
    establish(tcp, client, terms, witness).await
}

async fn establish(
    mut tcp: TcpStream,
    peer: SocketAddr,
    terms: &Terms,
    witness: &Witness,
) -> Option<(Arc<Connection>, Established)> {
    let limits = &terms.limits;
    let pace = Pace {
        head: HeadLimits {
            bytes: limits.header_bytes as usize,
            lines: limits.header_count as usize,
        },
        header_timeout: limits.header_timeout,
        idle_timeout: limits.idle_timeout,
    };
    let listener = terms.listener.clone();
    let (io, connection, ahead) = match &terms.tls {
        None => {
            let mut ahead = BytesMut::new();
            let refused = |peer, reason| {
                witness(
                    &listener.name,
                    Some(peer),
                    EdgeEvent::ConnectionRefused { reason },
                )
            };
            let http2 =
                match timeout(limits.header_timeout, read_preface(&mut tcp, &mut ahead)).await {
                    Ok(Ok(preface)) => preface,
                    _ if ahead.is_empty() => {
                        witness(&listener.name, Some(peer), EdgeEvent::ClosedUnused);
                        return None;
                    }
                    Ok(Err(_)) => {
                        refused(peer, Reason::PrefaceClosed);
                        return None;
                    }
                    Err(_) => {
                        refused(peer, Reason::PrefaceTimeout);
                        return None;
                    }
                };
            (
                Transport::Plain(tcp),
                Connection::new(listener.clone(), peer, http2, None),
                ahead,
            )
        }
        Some(config) => {
            let failed = |reason, detail, certificate| {
                witness(
                    &listener.name,
                    Some(peer),
                    EdgeEvent::HandshakeFailed {
                        reason,
                        detail,
                        certificate,
                    },
                );
            };
            // One deadline for the whole handshake, which begins with the connection or behind a proxy's header.
            let until = Instant::now() + limits.handshake_timeout;
            // A client that stays silent is told of as a handshake that took too long.
            if let First::Closed = first_byte(&tcp, until).await {
                witness(&listener.name, Some(peer), EdgeEvent::ClosedUnused);
                return None;
            }
            let accepting = TlsAcceptor::from(config.clone()).accept(tcp);
            let tls = match listened(timeout_at(until, accepting)).await {
                (Ok(Ok(tls)), _) => tls,
                (Ok(Err(error)), Some((reason, certificate))) => {
                    failed(reason, error.to_string(), Some(certificate));
                    return None;
                }
                (Ok(Err(error)), None) => {
                    failed(handshake_reason(&error), error.to_string(), None);
                    return None;
                }
                (Err(_), _) => {
                    failed(Reason::HandshakeTimeout, String::new(), None);
                    return None;
                }
            };
            let session = tls.get_ref().1;
            let http2 = session.alpn_protocol() == Some(b"h2");
            let chain = session
                .peer_certificates()
                .filter(|chain| !chain.is_empty())
                .map(|chain| {
                    let certificates = chain
                        .iter()
                        .map(|certificate| certificate.clone().into_owned())
                        .collect();
                    Arc::new(ClientChain {
                        certificates,
                        listener: listener.name.as_str().into(),
                    })
                });
            let connection = Connection::new(listener.clone(), peer, http2, chain);
            (Transport::Tls(Box::new(tls)), connection, BytesMut::new())
        }
    };
    let connection = Arc::new(connection);
    if !connection.http2 {
        let line = Http1Connection::new(io, connection.clone(), pace, ahead);
        let line = Arc::new(Mutex::new(line));
        return Some((connection, Established::Http1(line)));
    }
    let (witness, told) = (witness.clone(), listener.clone());
    let tell = move |reason, times| {
        witness(
            &told.name,
            Some(peer),
            EdgeEvent::StreamRefused { reason, times },
        )
    };
    let line = GuardedConnection::new(io, connection.clone(), pace, ahead, Arc::new(tell));
    let stream = Box::new(Guarded::new(line));
    Some((connection, Established::Http2(stream)))
}

/// Reads until the bytes are the HTTP/2 preface (true) or cannot become it (false).
async fn read_preface(tcp: &mut TcpStream, ahead: &mut BytesMut) -> io::Result<bool> {
    loop {
        // On the stack of the poll, so that a connection does not keep the room for it.
        let reading = poll_fn(|cx| {
            let mut space = [MaybeUninit::uninit(); HEAD_READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *tcp).poll_read(cx, &mut buffer))?;
            ahead.extend_from_slice(buffer.filled());
            Poll::Ready(io::Result::Ok(buffer.filled().len()))
        });
        if reading.await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = ahead.len().min(PREFACE.len());
        if ahead.get(..length) != PREFACE.get(..length) {
            return Ok(false);
        }
        if length == PREFACE.len() {
            return Ok(true);
        }
    }
}

fn handshake_reason(error: &io::Error) -> Reason {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => Reason::CertificateUntrusted,
        Some(rustls::Error::NoCertificatesPresented) => Reason::CertificateMissing,
        Some(_) => Reason::HandshakeFailed,
        None => Reason::HandshakeClosed,
    }
}
