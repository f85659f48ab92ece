//! What the command line asks gateways and identity providers with.
//!
//! What it does: makes the client with the trust of a command and of the system, and tells of its faults. What it refuses to
//! know: what is asked. A proxy that the environment names is used as curl would use it. Invariants: whole answers are held
//! to `OutboundBounds::COMMAND`; no credential goes to an address that is neither `https` nor loopback.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use openidconnect::url::Url;

use super::failure::Failure;
use crate::causes::chain;
use crate::cli::argument::ArgumentFault;
use crate::egress::{
    Egress, OutboundBounds, OutboundClient, OutboundFault, SendBody, is_permitted,
};
use crate::pem;

/// What `Web::asker` gives back for each request.
pub(crate) type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, OutboundFault>> + Send>>;

/// A client with its trust. Clones share connections.
#[derive(Clone)]
pub(crate) struct Web {
    client: OutboundClient,
}

impl Web {
    /// Trusts the system's roots and, beside them, the authorities of a PEM file.
    pub(crate) fn new(ca: Option<&Path>) -> Result<Self, Failure> {
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
        Self::trusting(roots, &Egress::of_process())
    }

    fn trusting(roots: rustls::RootCertStore, egress: &Egress) -> Result<Self, Failure> {
        let client = OutboundClient::new(Arc::new(roots), egress, OutboundBounds::COMMAND);
        Ok(Web {
            client: client.map_err(|fault| Failure::new(chain(&fault)))?,
        })
    }

    /// Asks and reads the whole answer.
    pub(crate) async fn ask(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, OutboundFault> {
        self.client.ask(request).await
    }

    /// `ask` as a function of its own, as `openidconnect` wants its clients.
    pub(crate) fn asker(
        &self,
    ) -> impl Fn(Request<Vec<u8>>) -> ResponseFuture + Send + Sync + use<> {
        let client = self.client.clone();
        move |request| {
            let client = client.clone();
            Box::pin(async move { client.ask(request).await })
        }
    }

    /// Asks and hands the answer's body on as it comes. The caller sets the deadline.
    pub(crate) async fn pass(
        &self,
        request: Request<SendBody>,
    ) -> Result<Response<Incoming>, OutboundFault> {
        self.client.pass(request).await
    }
}

/// What to tell when `what` was asked and did not answer.
pub(crate) fn unanswered(fault: &OutboundFault, what: &str) -> Failure {
    let failure = Failure::new(format!("{what} cannot be reached: {fault}"));
    match fault {
        OutboundFault::Untrusted { .. } => {
            failure.advise("if its certificate is of a CA of your own: --ca FILE")
        }
        OutboundFault::Address(_)
        | OutboundFault::Proxy { .. }
        | OutboundFault::Unreachable(_)
        | OutboundFault::TooLarge(_)
        | OutboundFault::TimedOut(_) => failure,
    }
}

/// `https`, or `http` where no network is in between; no user name or password within.
pub(crate) fn is_permitted_url(url: &Url) -> bool {
    url.as_str().parse().is_ok_and(|uri| is_permitted(&uri))
}

/// A gateway's origin, `https://gateway.example`: lower case, default port left out, no path.
pub(crate) fn origin(text: &str) -> Result<String, ArgumentFault> {
    let form = || ArgumentFault::Gateway(text.to_owned());
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
    use crate::egress::hostile::{self, Breach};

    /// Scenario: each kind of peer that keeps to no bound stands for a gateway or an issuer. Guarantees: it is asked once, and
    /// what it does ends in the fault that says so; a redirect comes back as the answer.
    #[tokio::test]
    async fn hostile_peers_meet_the_bounds() {
        for peer in hostile::peers(OutboundBounds::COMMAND) {
            let served = peer.serve().await;
            let web = Web::trusting(rustls::RootCertStore::empty(), &Egress::Direct);
            let mut web = web.unwrap();
            web.client = web.client.within(peer.patience);
            let request = Request::get(served.url("/")).body(Vec::new()).unwrap();
            let told = web.asker()(request).await;
            let met = match (peer.breach, &told) {
                (Breach::Redirect, Ok(answer)) => answer.status().is_redirection(),
                (Breach::Large, Err(OutboundFault::TooLarge(_)))
                | (Breach::NoHttp, Err(OutboundFault::Unreachable(_)))
                | (Breach::Silence, Err(OutboundFault::TimedOut(_))) => true,
                _ => false,
            };
            assert!(met, "{}: {told:?}", peer.what);
            assert_eq!(served.requests(), 1, "{}", peer.what);
        }
    }

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
