//! The way out of our HTTP clients.
//!
//! What it does: connects to a URL's host, straight or through a tunnel, as a connector beneath hyper's clients. What it
//! refuses to know: TLS and HTTP, which run above it. Invariants: a client has one connector for its life, so that its
//! pool never mixes ways; a connection is there within its timeout or not at all.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::Egress;
use super::host::authority;
use super::proxy::{Proxy, ProxySettings, UnopenedProxy};
use super::tunnel::TunnelFault;
use crate::causes::causes;

/// Connects beneath a client. Clones share what they know.
#[derive(Clone)]
pub(crate) struct Connector {
    egress: Arc<Egress>,
    /// Every proxy that may be asked, with its credentials.
    proxies: Arc<Vec<(Arc<ProxySettings>, Arc<Proxy>)>>,
    straight: HttpConnector,
    timeout: Duration,
    /// Where all connections go, whatever host a URL names. TLS above goes by the URL.
    place: Option<Arc<(String, u16)>>,
}

/// Which proxy gave no tunnel, and why.
#[derive(Debug, thiserror::Error)]
#[error("proxy {proxy}")]
pub(crate) struct ProxyError {
    pub proxy: String,
    #[source]
    pub fault: TunnelFault,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Connector {
    /// `timeout`: for a connection, with its tunnel.
    pub(crate) fn new(egress: &Egress, timeout: Duration) -> Result<Self, UnopenedProxy> {
        let proxies = egress.proxies().into_iter();
        let proxies = proxies.map(|settings| Ok((settings.clone(), Arc::new(settings.open()?))));
        let proxies = proxies.collect::<Result<_, UnopenedProxy>>()?;
        let mut straight = HttpConnector::new();
        // TLS is the business of what stands above.
        straight.enforce_http(false);
        straight.set_nodelay(true);
        straight.set_connect_timeout(Some(timeout));
        Ok(Connector {
            egress: Arc::new(egress.clone()),
            proxies: Arc::new(proxies),
            straight,
            timeout,
            place: None,
        })
    }

    /// The same, which connects to this host and port alone: a private endpoint of what URLs name.
    pub(crate) fn at_place(self, host: &str, port: u16) -> Self {
        Connector {
            place: Some(Arc::new((host.to_owned(), port))),
            ..self
        }
    }

    /// The proxy to a URL, if any.
    fn proxy(&self, host: &str, port: u16, tls: bool) -> Result<Option<Arc<Proxy>>, BoxError> {
        let Some(settings) = self.egress.route(tls, host, port)? else {
            return Ok(None);
        };
        let opened = self.proxies.iter().find(|(known, _)| known == settings);
        opened
            .map(|(_, proxy)| Some(proxy.clone()))
            .ok_or_else(|| "the proxy was not opened".into())
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.straight.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let tls = url.scheme_str() == Some("https");
        let (host, port) = match &self.place {
            Some(place) => (place.0.clone(), place.1),
            None => {
                let host = url.host().unwrap_or_default();
                let host = host
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned();
                let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
                (host, port)
            }
        };
        let is_elsewhere = self.place.is_some();
        let proxy = self.proxy(&host, port, tls);
        let mut straight = self.straight.clone();
        let deadline = Instant::now() + self.timeout;
        Box::pin(async move {
            let Some(proxy) = proxy? else {
                let url = match is_elsewhere {
                    true => format!("http://{}", authority(&host, port)).parse()?,
                    false => url,
                };
                return Ok(straight.call(url).await?);
            };
            let failed = |fault| ProxyError {
                proxy: proxy.authority(),
                fault,
            };
            let place: Uri = format!("http://{}", proxy.authority()).parse()?;
            let tunnelling = async {
                let connected = straight.call(place).await;
                // A timeout of the connector's own is about the proxy just as ours is.
                let mut tcp = connected
                    .map_err(|error| failed(of_connect(&error)))?
                    .into_inner();
                proxy.tunnel(&mut tcp, &host, port).await.map_err(failed)?;
                Ok(TokioIo::new(tcp))
            };
            timeout_at(deadline, tunnelling)
                .await
                .unwrap_or_else(|_| Err(failed(TunnelFault::TimedOut).into()))
        })
    }
}

fn of_connect(error: &(dyn Error + 'static)) -> TunnelFault {
    let timed_out = |cause: &(dyn Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    };
    if causes(error).any(timed_out) {
        TunnelFault::TimedOut
    } else {
        TunnelFault::Unreachable
    }
}
