//! A small HTTP server for the embedded parts: HTTP/1.1 and HTTP/2 on one port, plaintext (h2c by prior
//! knowledge) or TLS (ALPN).
//!
//! What it does: accepts, hands each request to one service, can drop a connection on request, can stop
//! (so that connecting is refused) and start again on the same port, and notes the bytes that HTTP/1.1
//! clients sent. What it refuses to know: what is served.
//! Invariants: stopping closes the listener and every connection before `stop` returns, and dropping a server
//! does so soon after; the number of
//! open connections and the noted bytes are bounded.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// Connections that are served at once; more wait in the listen queue.
const CONNECTIONS: usize = 4096;
/// Bytes kept of what all clients sent (the first ones); beyond it nothing more is noted.
const WIRE_LIMIT_BYTES: usize = 4 << 20;
/// From accept to the end of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A response body: whole, with trailers, or fed while it is read.
pub type Payload = UnsyncBoxBody<Bytes, io::Error>;
/// What a service returns.
pub type Reply = Pin<Box<dyn Future<Output = Response<Payload>> + Send>>;

/// Answers requests.
pub trait Service: Send + Sync + 'static {
    fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Connection) -> Reply;
}

/// The connection on which a request came.
#[derive(Clone)]
pub struct Connection {
    /// Counted from 1 since the server's first start.
    pub number: u64,
    pub peer: SocketAddr,
    /// The client's certificates as it sent them, leaf first; empty without mTLS.
    pub client_certificates: Arc<Vec<CertificateDer<'static>>>,
    severed: Arc<Notify>,
}

impl Connection {
    /// Drops the whole connection without another byte. Never returns.
    pub async fn sever(&self) -> ! {
        self.severed.notify_one();
        loop {
            std::future::pending::<()>().await;
        }
    }

    /// Drops the whole connection as soon as its task runs.
    pub fn sever_now(&self) {
        self.severed.notify_one();
    }
}

/// The server's side of TLS, in PEM.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The leaf and its intermediates.
    pub certificates: String,
    pub key: String,
    /// Present: clients must show a certificate of this authority.
    pub client_ca: Option<String>,
}

impl ServerTls {
    /// The rustls configuration: TLS 1.2 and 1.3, ALPN `h2` then `http/1.1`.
    pub fn server_config(&self) -> io::Result<Arc<rustls::ServerConfig>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let roots = Arc::new(roots(pem)?);
                let verifier =
                    rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider)
                        .build()
                        .map_err(io::Error::other)?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(certificates(&self.certificates)?, private_key(&self.key)?)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The certificates of a PEM text, in its order.
pub fn certificates(pem: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)
}

/// The first private key of a PEM text.
pub fn private_key(pem: &str) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(io::Error::other)
}

/// A trust store of a PEM text's certificates.
pub fn roots(pem: &str) -> io::Result<rustls::RootCertStore> {
    let mut store = rustls::RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(io::Error::other)?;
    }
    Ok(store)
}

/// A running (or stopped) server.
pub struct Server {
    address: SocketAddr,
    plan: Plan,
    running: Mutex<Option<Running>>,
}

/// The accept loop and the way to end it: dropping the sender does.
struct Running {
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

#[derive(Clone)]
struct Plan {
    tls: Option<Arc<rustls::ServerConfig>>,
    service: Arc<dyn FnService>,
    accepted: Arc<AtomicU64>,
    wire: Arc<Wire>,
}

trait FnService: Send + Sync {
    fn call(&self, request: Request<Incoming>, connection: Connection) -> Reply;
}

struct Shared<S>(Arc<S>);

impl<S: Service> FnService for Shared<S> {
    fn call(&self, request: Request<Incoming>, connection: Connection) -> Reply {
        self.0.clone().answer(request, connection)
    }
}

impl Server {
    /// Binds and serves. Port 0 takes a free one, see `address`.
    pub async fn start<S: Service>(
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        service: Arc<S>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let plan = Plan {
            tls,
            service: Arc::new(Shared(service)),
            accepted: Arc::new(AtomicU64::new(0)),
            wire: Arc::new(Wire::default()),
        };
        let running = Mutex::new(Some(Running::start(listener, &plan)));
        Ok(Server {
            address,
            plan,
            running,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn is_tls(&self) -> bool {
        self.plan.tls.is_some()
    }

    /// Connections accepted since the first start.
    pub fn accepted(&self) -> u64 {
        self.plan.accepted.load(Ordering::SeqCst)
    }

    /// All bytes that clients sent, after TLS, connection by connection as they arrived; bounded.
    pub fn wire(&self) -> Vec<u8> {
        lock(&self.plan.wire.bytes).clone()
    }

    pub fn clear_wire(&self) {
        lock(&self.plan.wire.bytes).clear();
    }

    /// Closes the listener and all connections; connecting is refused from then on.
    pub async fn stop(&self) {
        let running = lock(&self.running).take();
        if let Some(Running { stop, accepting }) = running {
            drop(stop);
            // Waiting for the end of the loop is what makes "refused" certain.
            let _ended = accepting.await;
        }
    }

    /// Listens again on the same port after `stop`.
    pub async fn restart(&self) -> io::Result<()> {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await?;
        *lock(&self.running) = Some(Running::start(listener, &self.plan));
        Ok(())
    }
}

impl Running {
    fn start(listener: TcpListener, plan: &Plan) -> Self {
        let (stop, stopped) = oneshot::channel();
        Running {
            stop,
            accepting: tokio::spawn(accept(listener, plan.clone(), stopped)),
        }
    }
}

/// A lock whose holder's panic does not spread: every value behind it is whole between statements.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, plan: Plan, mut stopped: oneshot::Receiver<()>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            _ = &mut stopped => break,
            (permit, accepted) = accepted => {
                let Ok((stream, peer)) = accepted else {
                    // Out of descriptors, most likely: some are given back in a moment.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let plan = plan.clone();
                connections.spawn(async move {
                    serve(stream, peer, plan).await;
                    drop(permit);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, peer: SocketAddr, plan: Plan) {
    let _ = stream.set_nodelay(true);
    let number = plan.accepted.fetch_add(1, Ordering::SeqCst) + 1;
    let connection = |certificates: Vec<CertificateDer<'static>>| Connection {
        number,
        peer,
        client_certificates: Arc::new(certificates),
        severed: Arc::new(Notify::new()),
    };
    match &plan.tls {
        None => converse(stream, connection(Vec::new()), &plan).await,
        Some(config) => {
            let acceptor = tokio_rustls::TlsAcceptor::from(config.clone());
            let Ok(Ok(stream)) =
                tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await
            else {
                return;
            };
            let certificates = stream
                .get_ref()
                .1
                .peer_certificates()
                .unwrap_or_default()
                .to_vec();
            let owned = certificates
                .into_iter()
                .map(CertificateDer::into_owned)
                .collect();
            converse(stream, connection(owned), &plan).await;
        }
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    connection: Connection,
    plan: &Plan,
) {
    let severed = connection.severed.clone();
    let service = plan.service.clone();
    let answer = hyper::service::service_fn(move |request| {
        let reply = service.call(request, connection.clone());
        async move {
            let response = reply.await;
            match response.extensions().get::<Reset>() {
                // hyper ends the stream (HTTP/2) or the connection (HTTP/1.1) on a service's error.
                Some(Reset) => Err(io::Error::other("reset on request")),
                None => Ok(response),
            }
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .max_buf_size(512 << 10)
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(512 << 10)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(1000);
    let stream = TokioIo::new(Tapped {
        stream,
        wire: plan.wire.clone(),
    });
    let conversation = builder.serve_connection(stream, answer);
    tokio::select! {
        // How a client's connection ended is the client's affair.
        _ended = conversation => {}
        () = severed.notified() => {}
    }
}

/// Marks a response that is not sent.
#[derive(Clone, Copy)]
struct Reset;

/// No answer: HTTP/2 resets this stream alone, HTTP/1.1 closes the connection.
pub fn reset() -> Response<Payload> {
    let mut response = Response::new(whole(""));
    response.extensions_mut().insert(Reset);
    response
}

/// A whole body.
pub fn whole(bytes: impl Into<Bytes>) -> Payload {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A whole body followed by trailers.
pub fn with_trailers(bytes: impl Into<Bytes>, trailers: HeaderMap) -> Payload {
    Full::new(bytes.into())
        .with_trailers(std::future::ready(Some(Ok(trailers))))
        .map_err(|never: std::convert::Infallible| match never {})
        .boxed_unsync()
}

/// A body that is fed through the returned sender, at most a few frames ahead of its reader.
pub fn fed() -> (mpsc::Sender<io::Result<Frame<Bytes>>>, Payload) {
    let (sender, receiver) = mpsc::channel(4);
    (sender, Fed(receiver).boxed_unsync())
}

/// A body of `length` equal bytes, made while it is read.
pub fn repeated(byte: u8, length: u64) -> Payload {
    let (sender, body) = fed();
    tokio::spawn(async move {
        let chunk = Bytes::from(vec![byte; 16 << 10]);
        let mut left = length;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            if sender
                .send(Ok(Frame::data(chunk.slice(..part))))
                .await
                .is_err()
            {
                return;
            }
            left -= part as u64;
        }
    });
    body
}

struct Fed(mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context)
    }
}

#[derive(Default)]
struct Wire {
    bytes: Mutex<Vec<u8>>,
}

/// A stream whose received bytes are noted.
struct Tapped<S> {
    stream: S,
    wire: Arc<Wire>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = &result {
            let mut noted = lock(&self.wire.bytes);
            let room = WIRE_LIMIT_BYTES.saturating_sub(noted.len());
            let fresh = buffer.filled().get(before..).unwrap_or_default();
            noted.extend_from_slice(fresh.get(..room).unwrap_or(fresh));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
