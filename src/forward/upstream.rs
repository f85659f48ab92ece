//! One backend: its addresses, its verification, its connections.
//!
//! What it does: resolves the name, and keeps the connections to it: a pool for HTTP/1.1, lines for gRPC.
//! What it refuses to know: requests, credentials. Invariants: connections belong to one backend's
//! verification settings and way there (straight, or one proxy with one user's credentials), and are never shared beyond
//! them (the framework's own pool would share them across CA settings); behind a proxy, the backend's name is the proxy's to
//! look up; every timeout is set; connections are bounded in number, and one caller never has all of them; a TLS upstream has a name; a name is looked up again at once, though not more often
//! than once a second, when none of its known addresses answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::time::Instant;

use super::grpc::GrpcConnections;
use super::pool::{BackendStream, DialFault, Pool, Through};
use super::{ClientIdentity, UpstreamSettings};
use crate::egress::{TunnelFault, UnopenedProxy};
use crate::limits::{FairQueue, FairQueueBounds, OwnerKey};
use crate::pem::{self, PemFault};
use crate::workload_api::OwnSvid;

const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long the addresses of a look-up count when none of them answers: a backend that is down must not have every call
/// ask the name server.
const RESOLVED_FOR: Duration = Duration::from_secs(1);

/// Addresses of one name that are kept.
const ADDRESSES_LIMIT_ENTRIES: usize = 64;

/// Addresses tried for one call, each within the connect timeout.
const DIALS: usize = 3;

/// Calls at once over HTTP/1.1, each on a connection of its own; what rests are such that calls have left.
const CALLS_LIMIT: usize = 512;
/// Of them for one caller: a backend that hangs for one must have connections for others.
const CALLS_PER_CALLER_LIMIT: usize = 384;
/// Calls that wait for a connection.
const WAITING_LIMIT: usize = 8192;
const WAITING_PER_CALLER_LIMIT: usize = 4096;

/// One backend, ready to be called.
pub(crate) struct Backend {
    pub settings: UpstreamSettings,
    /// `host[:port]`, as the Host header has it.
    pub authority: String,
    pub(super) pool: Pool,
    /// Places for calls over HTTP/1.1.
    pub(super) calls: FairQueue<OwnerKey>,
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// What is dialled: the backend, or the proxy before it.
    dialled: (String, u16),
    names: Resolver,
    /// When the name was last looked up because no address answered; held while it is.
    looked_up: tokio::sync::Mutex<Option<Instant>>,
    turn: AtomicUsize,
    pub(super) lines: GrpcConnections,
    http2: Pool,
    trust_digest: u64,
    _resolver: Option<AbortOnDrop>,
}

/// How names become addresses.
type Resolver = Arc<dyn Fn(String, u16) -> Resolving + Send + Sync>;
type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The system's resolver.
fn system() -> Resolver {
    Arc::new(|host, port| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await?;
            Ok(found.take(ADDRESSES_LIMIT_ENTRIES).collect())
        })
    })
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a backend cannot be connected to as its settings say.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackendFault {
    #[error(transparent)]
    File(#[from] PemFault),
    #[error("`{}` holds no usable certificate", .0.display())]
    NoRoot(PathBuf),
    #[error("the system has no usable root certificates: name a file with `ca:`")]
    NoSystemRoot,
    #[error(transparent)]
    Proxy(#[from] UnopenedProxy),
    #[error("no usable TLS version")]
    Versions(#[source] rustls::Error),
    #[error("the client certificate and its key do not fit")]
    Unfit(#[source] rustls::Error),
    #[error("`{0}` is no name that a certificate can prove")]
    Name(String),
}

impl Backend {
    /// Reads trust anchors and certificates, and starts resolving.
    /// Must be called within the runtime.
    pub(crate) fn open(settings: &UpstreamSettings) -> Result<Arc<Self>, BackendFault> {
        Self::open_by(settings, system())
    }

    fn open_by(settings: &UpstreamSettings, names: Resolver) -> Result<Arc<Self>, BackendFault> {
        let roots = if settings.tls {
            roots(settings.ca.as_deref())?
        } else {
            Vec::new()
        };
        let identity = match &settings.client {
            Some(ClientIdentity::Files { certificate, key }) => {
                Some((pem::chain(certificate)?, pem::private_key_of(key)?))
            }
            // Its settings name the socket, and each handshake has what is current.
            Some(ClientIdentity::WorkloadApi(_)) | None => None,
        };
        let through = match &settings.proxy {
            Some(proxy) => {
                let (host, port) = (settings.host.clone(), settings.port);
                Some(Through {
                    proxy: Arc::new(proxy.open()?),
                    host,
                    port,
                })
            }
            None => None,
        };
        let trust_digest = trust_digest(settings, &roots, identity.as_ref(), through.as_ref());
        let tls = |protocol: &'static [u8]| {
            settings
                .tls
                .then(|| client_tls(settings, &roots, identity.as_ref(), protocol))
                .transpose()
        };
        let pool = |tls| {
            Pool::new(
                tls,
                through.clone(),
                settings.idle_timeout,
                settings.connect_timeout,
            )
        };
        let (http1, http2) = (pool(tls(b"http/1.1")?), pool(tls(b"h2")?));
        let default_port = if settings.tls { 443 } else { 80 };
        let host = if settings.host.contains(':') {
            format!("[{}]", settings.host)
        } else {
            settings.host.clone()
        };
        let authority = if settings.port == default_port {
            host
        } else {
            format!("{host}:{}", settings.port)
        };
        let dialled = match &through {
            Some(through) => (through.proxy.host.clone(), through.proxy.port),
            None => (settings.host.clone(), settings.port),
        };
        let literal = dialled.0.parse::<IpAddr>().ok();
        let backend = Backend {
            authority,
            pool: http1,
            calls: FairQueue::new(FairQueueBounds {
                places: CALLS_LIMIT,
                places_per_address: CALLS_PER_CALLER_LIMIT,
                waiting: WAITING_LIMIT,
                waiting_per_address: WAITING_PER_CALLER_LIMIT,
                // A connection that cannot be had within this time cannot be had, for whatever cause.
                patience: settings.connect_timeout,
                held_at_least: Duration::ZERO,
            }),
            http2,
            addresses: ArcSwap::from_pointee(
                literal
                    .iter()
                    .map(|address| SocketAddr::new(*address, dialled.1))
                    .collect(),
            ),
            dialled: dialled.clone(),
            names: names.clone(),
            looked_up: tokio::sync::Mutex::default(),
            turn: AtomicUsize::new(0),
            lines: GrpcConnections::default(),
            trust_digest,
            settings: settings.clone(),
            _resolver: None,
        };
        if literal.is_some() {
            return Ok(Arc::new(backend));
        }
        // The task must not keep the backend alive: it holds a weak reference and ends with it.
        Ok(Arc::new_cyclic(|weak: &std::sync::Weak<Backend>| {
            let weak = weak.clone();
            let name = dialled;
            let task = tokio::spawn(async move {
                loop {
                    let found = names(name.0.clone(), name.1).await;
                    // Not there yet, or not any more: then this task is ended from outside.
                    let pause = match (&found, weak.upgrade()) {
                        (Err(_), _) | (_, None) => Duration::from_secs(1),
                        (Ok(_), Some(_)) => RESOLVE_INTERVAL,
                    };
                    if let (Ok(found), Some(backend)) = (found, weak.upgrade()) {
                        backend.keep(found);
                    }
                    tokio::time::sleep(pause).await;
                }
            });
            Backend {
                _resolver: Some(AbortOnDrop(task)),
                ..backend
            }
        }))
    }

    /// Whether both would verify and connect alike, so that the older one's connections can go on.
    pub(crate) fn is_same_as(&self, other: &Backend) -> bool {
        self.trust_digest == other.trust_digest && self.settings == other.settings
    }

    /// A fresh HTTP/1.1 connection.
    pub(super) async fn dial(&self) -> Result<BackendStream, DialFault> {
        self.dial_by(&self.pool).await
    }

    /// A fresh connection for HTTP/2: by ALPN over TLS, by prior knowledge without.
    pub(super) async fn dial_http2(&self) -> Result<BackendStream, DialFault> {
        self.dial_by(&self.http2).await
    }

    async fn dial_by(&self, pool: &Pool) -> Result<BackendStream, DialFault> {
        let mut tried = Vec::new();
        let fault = match self.dial_known(pool, &mut tried).await {
            Ok(wire) => return Ok(wire),
            Err(fault) => fault,
        };
        // The proxy itself has answered: another of its addresses would say the same.
        if let DialFault::Proxy(TunnelFault::Refused(_)) = fault {
            return Err(fault);
        }
        // What answers without being verified may be another host, at an address that was the backend's.
        if self.look_up_again().await
            && self
                .addresses
                .load()
                .iter()
                .any(|address| !tried.contains(address))
        {
            return self.dial_known(pool, &mut tried).await;
        }
        Err(fault)
    }

    /// Dials known addresses in turn, but for those that were tried.
    async fn dial_known(
        &self,
        pool: &Pool,
        tried: &mut Vec<SocketAddr>,
    ) -> Result<BackendStream, DialFault> {
        let mut last = match self.settings.proxy {
            Some(_) => DialFault::Proxy(TunnelFault::Unreachable),
            None => DialFault::Unreachable,
        };
        let attempts = self
            .addresses
            .load()
            .len()
            .clamp(1, ADDRESSES_LIMIT_ENTRIES);
        let mut dials = 0;
        for _ in 0..attempts {
            let Some(address) = self
                .address()
                .await
                .filter(|address| !tried.contains(address))
            else {
                continue;
            };
            tried.push(address);
            dials += 1;
            match pool.dial(address).await {
                Ok(wire) => return Ok(wire),
                Err(fault @ DialFault::Proxy(TunnelFault::Refused(_))) => return Err(fault),
                Err(fault) => last = fault,
            }
            if dials == DIALS {
                break;
            }
        }
        Err(last)
    }

    /// Looks the name up, unless that was done a moment ago; false where there is no name.
    async fn look_up_again(&self) -> bool {
        if self._resolver.is_none() {
            return false;
        }
        let mut looked_up = self.looked_up.lock().await;
        // Another call may have looked while this one waited: what it found counts for both.
        if looked_up.is_none_or(|last| last.elapsed() >= RESOLVED_FOR) {
            let lookup = (self.names)(self.dialled.0.clone(), self.dialled.1);
            if let Ok(Ok(found)) = tokio::time::timeout(self.settings.connect_timeout, lookup).await
            {
                self.keep(found);
            }
            *looked_up = Some(Instant::now());
        }
        true
    }

    /// An empty answer keeps the last good addresses.
    fn keep(&self, found: Vec<SocketAddr>) {
        if !found.is_empty() {
            self.addresses.store(Arc::new(found));
        }
    }

    async fn address(&self) -> Option<SocketAddr> {
        if let Some(address) = self.next_address() {
            return Some(address);
        }
        // Only before the first resolution has come: ask once, within the connect timeout.
        let lookup = (self.names)(self.dialled.0.clone(), self.dialled.1);
        self.keep(
            tokio::time::timeout(self.settings.connect_timeout, lookup)
                .await
                .ok()?
                .ok()?,
        );
        self.next_address()
    }

    fn next_address(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        addresses.get(turn.checked_rem(addresses.len())?).copied()
    }
}

/// Trust anchors: the given file's, or the system's. Unreadable system roots are skipped, not fatal.
fn roots(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, BackendFault> {
    let found = match ca {
        Some(path) => pem::chain(path)?,
        None => pem::system_roots(),
    };
    let usable: Vec<_> = found
        .into_iter()
        .filter(|root| {
            x509_parser::parse_x509_certificate(root).is_ok_and(|(rest, _)| rest.is_empty())
        })
        .collect();
    if usable.is_empty() {
        return Err(match ca {
            Some(path) => BackendFault::NoRoot(path.to_owned()),
            None => BackendFault::NoSystemRoot,
        });
    }
    Ok(usable)
}

/// Everything that decides whether a connection is the right one. A reload that leaves it equal keeps the connections.
fn trust_digest(
    settings: &UpstreamSettings,
    roots: &[CertificateDer<'static>],
    identity: Option<&(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    through: Option<&Through>,
) -> u64 {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut feed = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    feed(settings.host.as_bytes());
    feed(&settings.port.to_be_bytes());
    feed(&[u8::from(settings.tls)]);
    if let Some(Through { proxy, .. }) = through {
        feed(proxy.authority().as_bytes());
        feed(proxy.opened_by());
    }
    for root in roots {
        feed(root);
    }
    if let Some((chain, key)) = identity {
        for certificate in chain {
            feed(certificate);
        }
        feed(key.secret_der());
    }
    let digest = context.finish();
    let first = digest
        .as_ref()
        .first_chunk::<8>()
        .copied()
        .unwrap_or_default();
    u64::from_be_bytes(first)
}

/// The TLS of our own connections: made once, so that sessions can be resumed.
fn client_tls(
    settings: &UpstreamSettings,
    roots: &[CertificateDer<'static>],
    identity: Option<&(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    protocol: &[u8],
) -> Result<(Arc<rustls::ClientConfig>, ServerName<'static>), BackendFault> {
    let mut store = rustls::RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let builder = pem::client_tls(Arc::new(store)).map_err(BackendFault::Versions)?;
    let mut config = match (identity, &settings.client) {
        (None, Some(ClientIdentity::WorkloadApi(socket))) => {
            builder.with_client_cert_resolver(Arc::new(OwnSvid::of(socket)))
        }
        (Some((chain, key)), _) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(BackendFault::Unfit)?,
        (None, _) => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from(settings.host.clone())
        .map_err(|_| BackendFault::Name(settings.host.clone()))?;
    Ok((Arc::new(config), name))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::net::TcpListener;

    use super::*;

    /// Scenario: the backend's name leads to an address where nothing listens any more, and then to another one.
    /// Guarantees: the first call after the move reaches it; while it is down, calls look the name up seldom.
    #[tokio::test]
    async fn a_backend_that_moved_is_found_at_once() {
        let gone = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let lookups = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new(vec![gone]));
        let (counted, told) = (lookups.clone(), answer.clone());
        let names: Resolver = Arc::new(move |_, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            let told = told.lock().unwrap().clone();
            Box::pin(async move { Ok(told) })
        });
        let long = Duration::from_secs(60);
        let settings = UpstreamSettings {
            tls: false,
            host: "backend.test".to_owned(),
            port: 4318,
            base_path: String::new(),
            ca: None,
            client: None,
            proxy: None,
            connect_timeout: long,
            read_timeout: long,
            write_timeout: long,
            idle_timeout: long,
        };
        let backend = Backend::open_by(&settings, names).unwrap();
        // The backend's own task looks now, and again in half a minute.
        while lookups.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(backend.dial().await, Err(DialFault::Unreachable)));
        // As if the last look-up for want of an answer had just been.
        let looked_up = lookups.load(Ordering::SeqCst);
        *backend.looked_up.lock().await = Some(Instant::now() + long);
        for _ in 0..5 {
            assert!(matches!(backend.dial().await, Err(DialFault::Unreachable)));
        }
        assert_eq!(lookups.load(Ordering::SeqCst), looked_up);

        let here = TcpListener::bind("127.0.0.1:0").await.unwrap();
        *answer.lock().unwrap() = vec![here.local_addr().unwrap()];
        *backend.looked_up.lock().await = None;
        assert!(backend.dial().await.is_ok());
        assert_eq!(**backend.addresses.load(), [here.local_addr().unwrap()]);
        assert_eq!(lookups.load(Ordering::SeqCst), looked_up + 1);
    }
}
