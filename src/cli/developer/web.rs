//! The command line's own HTTP client.
//!
//! What it does: asks gateways and identity providers over TLS, or in plain text on loopback. What it refuses to know: what is
//! asked. A proxy that the environment names is used as curl would use it. Invariants: no redirect is followed; whole answers are never larger than `BODY_LIMIT_BYTES`; a whole call ends within
//! its deadline; no credential goes to an address that is neither `https` nor loopback.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use openidconnect::url::{Host, Url};

use super::failure::Failure;
use crate::egress::{Connector, Egress};
use crate::pem;

/// The largest answer that is read whole.
pub const BODY_LIMIT_BYTES: usize = 32 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first connect to the last byte of a whole answer. The backend itself takes up to a minute.
const CALL_TIMEOUT: Duration = Duration::from_secs(90);

/// A body that is sent: whole, or passed on while it is read.
pub type SendBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// What `Web::asker` gives back for each request.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, WebFault>> + Send>>;

/// A client with its trust. Clones share connections.
#[derive(Clone)]
pub struct Web {
    client: Client<HttpsConnector<Connector>, SendBody>,
}

/// Why no whole answer came.
#[derive(Debug)]
pub enum WebFault {
    /// Neither `https` nor loopback, or no URL.
    Insecure(String),
    /// The certificate is of no authority that is trusted.
    Untrusted(String),
    Unreachable(String),
    TooLarge,
    Late,
}

impl std::fmt::Display for WebFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WebFault::Insecure(url) => write!(
                formatter,
                "`{url}` must be an `https` URL (`http` only on loopback)"
            ),
            WebFault::Untrusted(cause) => {
                write!(formatter, "its certificate is not trusted: {cause}")
            }
            WebFault::Unreachable(cause) => formatter.write_str(cause),
            WebFault::TooLarge => write!(
                formatter,
                "the answer is larger than {BODY_LIMIT_BYTES} bytes"
            ),
            WebFault::Late => write!(
                formatter,
                "no answer within {} seconds",
                CALL_TIMEOUT.as_secs()
            ),
        }
    }
}

impl std::error::Error for WebFault {}

impl WebFault {
    /// What to tell when `what` was asked.
    pub fn failure(&self, what: &str) -> Failure {
        let failure = Failure::new(format!("{what} cannot be reached: {self}"));
        match self {
            WebFault::Untrusted(_) => {
                failure.advise("if its certificate is of a CA of your own: --ca FILE")
            }
            WebFault::Insecure(_)
            | WebFault::Unreachable(_)
            | WebFault::TooLarge
            | WebFault::Late => failure,
        }
    }
}

impl Web {
    /// Trusts the system's roots and, beside them, the authorities of a PEM file.
    pub fn new(ca: Option<&Path>) -> Result<Self, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(pem::system_roots());
        if let Some(path) = ca {
            let unusable = |error: &dyn std::fmt::Display| {
                Failure::new(format!("`{}`: {error}", path.display()))
            };
            let certificates = pem::certificates_of(path).map_err(|error| unusable(&error))?;
            let before = roots.len();
            for certificate in certificates {
                roots.add(certificate).map_err(|error| unusable(&error))?;
            }
            if roots.len() == before {
                return Err(unusable(&"holds no certificate"));
            }
        }
        let tls = pem::client_tls(Arc::new(roots));
        let tls = tls
            .map_err(|error| Failure::new(format!("cannot set up TLS: {error}")))?
            .with_no_client_auth();
        let connector =
            Connector::new(&Egress::of_process(), CONNECT_TIMEOUT).map_err(Failure::new)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Web { client })
    }

    /// Asks and reads the whole answer.
    pub async fn ask(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, WebFault> {
        let call = async {
            let request = request.map(|body| {
                Full::new(Bytes::from(body))
                    .map_err(|never| match never {})
                    .boxed_unsync()
            });
            let (head, body) = self.pass(request).await?.into_parts();
            match Limited::new(body, BODY_LIMIT_BYTES).collect().await {
                Ok(body) => Ok(Response::from_parts(head, body.to_bytes().to_vec())),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    Err(WebFault::TooLarge)
                }
                Err(error) => Err(unreachable(error.as_ref())),
            }
        };
        tokio::time::timeout(CALL_TIMEOUT, call)
            .await
            .unwrap_or(Err(WebFault::Late))
    }

    /// `ask` as a function of its own, as `openidconnect` wants its clients.
    pub fn asker(&self) -> impl Fn(Request<Vec<u8>>) -> ResponseFuture + Send + Sync + use<> {
        let web = self.clone();
        move |request| {
            let web = web.clone();
            Box::pin(async move { web.ask(request).await })
        }
    }

    /// Asks and hands the answer's body on as it comes. The caller sets the deadline.
    pub async fn pass(&self, request: Request<SendBody>) -> Result<Response<Incoming>, WebFault> {
        if !is_permitted(request.uri()) {
            return Err(WebFault::Insecure(request.uri().to_string()));
        }
        self.client
            .request(request)
            .await
            .map_err(|error| unreachable(&error))
    }
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> WebFault {
    let mut detail = error.to_string();
    let mut cause = error.source();
    let mut untrusted = None;
    while let Some(deeper) = cause {
        let text = deeper.to_string();
        if text.contains("invalid peer certificate") {
            untrusted = Some(text.clone());
        }
        detail.push_str(": ");
        detail.push_str(&text);
        cause = deeper.source();
    }
    untrusted.map_or(WebFault::Unreachable(detail), WebFault::Untrusted)
}

fn is_permitted(uri: &Uri) -> bool {
    Url::parse(&uri.to_string()).is_ok_and(|url| is_permitted_url(&url))
}

/// `https`, or `http` where no network is in between; no user name or password within.
pub fn is_permitted_url(url: &Url) -> bool {
    let bare = url.username().is_empty() && url.password().is_none();
    match url.scheme() {
        "https" => bare,
        "http" => bare && is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A gateway's origin, `https://gateway.example`: lower case, default port left out, no path.
pub fn origin(text: &str) -> Result<String, String> {
    let form = || {
        format!(
            "`{text}` is not a gateway: write it as `https://gateway.example` (`http` only on loopback)"
        )
    };
    let url = Url::parse(text).map_err(|_| form())?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !bare || !is_permitted_url(&url) {
        return Err(form());
    }
    Ok(url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_origins_over_tls_or_on_loopback() {
        for (text, expected) in [
            ("https://Gateway.example", Some("https://gateway.example")),
            (
                "https://gateway.example:443/",
                Some("https://gateway.example"),
            ),
            (
                "https://gateway.example:8443",
                Some("https://gateway.example:8443"),
            ),
            ("http://127.0.0.1:4318", Some("http://127.0.0.1:4318")),
            ("http://[::1]:4318", Some("http://[::1]:4318")),
            ("http://localhost:4318", Some("http://localhost:4318")),
            ("http://gateway.example", None),
            ("http://127.0.0.1.evil.example", None),
            ("http://localhost@evil.example", None),
            ("https://user:word@gateway.example", None),
            ("https://gateway.example/apps", None),
            ("https://gateway.example?x=1", None),
            ("gateway.example", None),
            ("file:///etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(origin(text).ok().as_deref(), expected, "{text}");
        }
    }
}
