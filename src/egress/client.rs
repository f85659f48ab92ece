//! The one HTTP client of our own calls.
//!
//! What it does: sends a request and reads the answer, over TLS or in plain text on loopback, straight or through a proxy.
//! What it refuses to know: what is asked, and what an answer says. Invariants: only an `https` URL or one on loopback is
//! asked, without user or password in it; no redirect is followed, it is an answer like any other; an answer's head is at
//! most `HEAD_LIMIT_BYTES`, a whole body at most the bound of who asks, and a whole call ends within its deadline; a
//! certificate counts by the roots that the client was made with; no fault holds a query, a header or a body.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::connector::{Connector, ProxyError};
use super::host::is_permitted;
use super::proxy::UnopenedProxy;
use super::{Egress, TunnelFault};
use crate::causes::{causes, chain};
use crate::pem::{self, PemFault};

/// An answer's status line and headers.
const HEAD_LIMIT_BYTES: usize = 64 << 10;

/// What a caller of ours is called.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("lightkeeper/", env!("CARGO_PKG_VERSION")));

/// A body that is sent: whole, or passed on while it is read.
pub(crate) type SendBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// What one kind of call may take. All of them stand here, so that they can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutboundBounds {
    /// For a connection, with a proxy's tunnel; shorter than the whole, so that the fault says what was silent.
    pub connect: Duration,
    /// From the first connect to the last byte.
    pub whole: Duration,
    /// The largest body that is read whole.
    pub body_bytes: usize,
    /// Connections to one host that are kept between calls.
    pub(crate) resting: usize,
}

impl OutboundBounds {
    /// An issuer's documents, keys and tokens. Hundreds of keys with certificate chains fit. Readings are an hour apart:
    /// no connection is kept.
    pub(crate) const ISSUER: Self = OutboundBounds {
        connect: Duration::from_secs(4),
        whole: Duration::from_secs(5),
        body_bytes: 512 << 10,
        resting: 0,
    };
    /// A question about one proof to a party that judges it: a caller waits, and many may ask at once.
    pub(crate) const JUDGE: Self = OutboundBounds {
        connect: Duration::from_secs(3),
        whole: Duration::from_secs(5),
        body_bytes: 64 << 10,
        resting: 16,
    };
    /// A question to a store of secrets: no caller waits for it, and a secret is small. Looks are a minute apart, several at a
    /// time.
    pub(crate) const STORE: Self = OutboundBounds {
        connect: Duration::from_secs(4),
        whole: Duration::from_secs(8),
        body_bytes: 256 << 10,
        resting: 1,
    };
    /// A command's questions to a gateway. The backend behind it takes up to a minute.
    pub(crate) const COMMAND: Self = OutboundBounds {
        connect: Duration::from_secs(10),
        whole: Duration::from_secs(90),
        body_bytes: 32 << 20,
        resting: 256,
    };
    /// Records for a receiver of OTLP logs: no caller waits for it. Its answer says how many it rejected.
    pub(crate) const SINK: Self = OutboundBounds {
        connect: Duration::from_secs(5),
        whole: Duration::from_secs(20),
        body_bytes: 256 << 10,
        resting: 1,
    };
    /// A checkpoint for a witness, which answers with a line.
    pub(crate) const WITNESS: Self = OutboundBounds {
        connect: Duration::from_secs(5),
        whole: Duration::from_secs(10),
        body_bytes: 16 << 10,
        resting: 0,
    };
    /// A message to a destination of alerts, a second try included; its answer is not looked at. `forward/webhook.rs` sends
    /// it; its connections rest in the pool there.
    pub(crate) const DESTINATION: Self = OutboundBounds {
        connect: Duration::from_secs(3),
        whole: Duration::from_secs(10),
        body_bytes: 64 << 10,
        resting: 0,
    };
}

/// Why no answer came, or not all of it. Displays as the end of the sentence "… cannot be reached: …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundFault {
    /// The URL without its query.
    #[error("`{0}` must be an `https` URL (`http` only on loopback)")]
    Address(String),
    /// The certificate holds for no authority that is trusted.
    #[error("its certificate is not trusted: {certificate}")]
    Untrusted {
        certificate: String,
        /// The chain of causes.
        detail: String,
    },
    /// The proxy gave no tunnel.
    #[error("{detail}")]
    Proxy { fault: TunnelFault, detail: String },
    /// No connection, or it broke, or what came is no HTTP; the chain of causes.
    #[error("{0}")]
    Unreachable(String),
    #[error("the answer is larger than {} bytes", .0.body_bytes)]
    TooLarge(OutboundBounds),
    #[error("no answer within {} seconds", .0.whole.as_secs())]
    TimedOut(OutboundBounds),
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientFault {
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    #[error(transparent)]
    Proxy(#[from] UnopenedProxy),
    #[error(transparent)]
    Certificate(#[from] PemFault),
}

/// A client with its trust, its way out and its bounds. Clones share connections.
#[derive(Clone)]
pub(crate) struct OutboundClient {
    client: Client<HttpsConnector<Connector>, SendBody>,
    bounds: OutboundBounds,
}

impl OutboundClient {
    /// Trusts `roots` alone.
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        egress: &Egress,
        bounds: OutboundBounds,
    ) -> Result<Self, ClientFault> {
        let connector = Connector::new(egress, bounds.connect)?;
        Self::with_connector(roots, connector, bounds)
    }

    /// The same, which connects to this host and port, whatever host a URL names; certificates count by the URL's.
    pub(crate) fn at_place(
        roots: Arc<RootCertStore>,
        egress: &Egress,
        bounds: OutboundBounds,
        (host, port): (&str, u16),
    ) -> Result<Self, ClientFault> {
        let connector = Connector::new(egress, bounds.connect)?.at_place(host, port);
        Self::with_connector(roots, connector, bounds)
    }

    fn with_connector(
        roots: Arc<RootCertStore>,
        connector: Connector,
        bounds: OutboundBounds,
    ) -> Result<Self, ClientFault> {
        let tls = pem::client_tls(roots)
            .map_err(ClientFault::Tls)?
            .with_no_client_auth();
        Ok(Self::over(tls, connector, bounds))
    }

    /// The same, which shows a certificate: the files of its chain and its key.
    pub(crate) fn with_certificate(
        roots: Arc<RootCertStore>,
        (certificate, key): (&Path, &Path),
        egress: &Egress,
        bounds: OutboundBounds,
    ) -> Result<Self, ClientFault> {
        let (chain, key) = (pem::chain(certificate)?, pem::private_key_of(key)?);
        let tls = pem::client_tls(roots)
            .and_then(|tls| tls.with_client_auth_cert(chain, key))
            .map_err(ClientFault::Tls)?;
        let connector = Connector::new(egress, bounds.connect)?;
        Ok(Self::over(tls, connector, bounds))
    }

    fn over(tls: ClientConfig, connector: Connector, bounds: OutboundBounds) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(bounds.resting)
            .http1_max_buf_size(HEAD_LIMIT_BYTES)
            .build(connector);
        OutboundClient { client, bounds }
    }

    pub(crate) fn bounds(&self) -> OutboundBounds {
        self.bounds
    }

    /// The same with another deadline.
    #[cfg(test)]
    pub(crate) fn within(mut self, whole: Duration) -> Self {
        self.bounds.whole = whole;
        self
    }

    /// Asks and reads the whole answer, whatever its status.
    pub(crate) async fn ask(
        &self,
        mut request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, OutboundFault> {
        let agent = request.headers_mut().entry(header::USER_AGENT);
        agent.or_insert(AGENT);
        let call = async {
            let request = request.map(|body| {
                Full::new(Bytes::from(body))
                    .map_err(|never| match never {})
                    .boxed_unsync()
            });
            let (head, body) = self.pass(request).await?.into_parts();
            // A length that is announced need not be read to be too large.
            let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
            if announced > self.bounds.body_bytes {
                return Err(OutboundFault::TooLarge(self.bounds));
            }
            match Limited::new(body, self.bounds.body_bytes).collect().await {
                Ok(body) => Ok(Response::from_parts(head, body.to_bytes().into())),
                Err(error) if error.is::<LengthLimitError>() => {
                    Err(OutboundFault::TooLarge(self.bounds))
                }
                Err(error) => Err(of_connection(error.as_ref())),
            }
        };
        tokio::time::timeout(self.bounds.whole, call)
            .await
            .unwrap_or(Err(OutboundFault::TimedOut(self.bounds)))
    }

    /// Asks and hands the answer's body on as it comes. The caller sets the deadline.
    pub(crate) async fn pass(
        &self,
        request: Request<SendBody>,
    ) -> Result<Response<Incoming>, OutboundFault> {
        if !is_permitted(request.uri()) {
            let url = request.uri().to_string();
            let shown = url.split('?').next().unwrap_or_default();
            return Err(OutboundFault::Address(shown.to_owned()));
        }
        self.client
            .request(request)
            .await
            .map_err(|error| of_connection(&error))
    }
}

/// What a connection's end is to be called, by the causes beneath it.
fn of_connection(error: &(dyn Error + 'static)) -> OutboundFault {
    let detail = chain(error);
    let mut proxy = None;
    let mut certificate = None;
    for deeper in causes(error).skip(1) {
        if let Some(error) = deeper.downcast_ref::<ProxyError>() {
            proxy = Some(error.fault);
        }
        if let Some(error) = deeper.downcast_ref().and_then(tls_error)
            && let rustls::Error::InvalidCertificate(_) = error
        {
            certificate = Some(error.to_string());
        }
    }
    match (proxy, certificate) {
        (Some(fault), _) => OutboundFault::Proxy { fault, detail },
        (None, Some(certificate)) => OutboundFault::Untrusted {
            certificate,
            detail,
        },
        (None, None) => OutboundFault::Unreachable(detail),
    }
}

/// What rustls said, inside however many errors of input and output.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    match inner.downcast_ref() {
        Some(error) => Some(error),
        None => inner.downcast_ref().and_then(tls_error),
    }
}
