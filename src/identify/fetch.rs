//! Reading an issuer's key set over the network.
//!
//! What it does: finds the key set by discovery (OpenID Connect Discovery section 4) or at a given URL
//! and reads it. What it refuses to know: when, how often, and which keys count.
//! Invariants: only configured addresses, or those that the issuer's own document names, are asked;
//! `https` always, but on loopback; one request is held to
//! `OutboundBounds::ISSUER`, and both together to its deadline; our own token goes to the configured origin
//! alone, and is in no message.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use openidconnect::IssuerUrl;
use rustls::RootCertStore;
use zeroize::Zeroizing;

use super::event::shown;
use super::json;
use super::keys::KeySetFault;
use crate::egress::{
    ClientFault, Egress, OutboundBounds, OutboundClient, OutboundFault, TunnelFault, is_permitted,
};
use crate::media_type::{self, MediaType};
use crate::secret::SecretRef;
use crate::telemetry::text::line;
use crate::workload_api::WorkloadFault;

/// What a log line repeats of a failed connection.
const DETAIL_LIMIT_BYTES: usize = 512;

/// How often a bundle is read that does not say how often (SPIFFE Federation section 4.3.1: in minutes).
const BUNDLE_REFRESH: Duration = Duration::from_secs(300);

/// Why a key set could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchFault {
    /// Name, connection or TLS.
    Unreachable,
    /// The proxy before the issuer gave no tunnel to it.
    Proxy(TunnelFault),
    TimedOut,
    /// Any status but 200, redirects included.
    Status,
    TooLarge,
    /// A page for people, whatever its `content-type`.
    ContentType,
    /// The discovery document is not strict JSON or lacks `jwks_uri`.
    Discovery,
    /// The discovery document's `issuer` is not the configured one, byte for byte (section 4.3).
    IssuerMismatch,
    /// `jwks_uri` is neither `https` nor `http` on loopback.
    InsecureUrl,
    /// The token that the address wants of us cannot be read.
    Token,
    Keys(KeySetFault),
    WorkloadApi(WorkloadFault),
}

impl FetchFault {
    /// A stable code for metrics.
    pub(crate) fn code(self) -> &'static str {
        match self {
            FetchFault::Unreachable => "unreachable",
            FetchFault::Proxy(fault) => fault.code(),
            FetchFault::TimedOut => "timed_out",
            FetchFault::Status => "status",
            FetchFault::TooLarge => "too_large",
            FetchFault::ContentType => "content_type",
            FetchFault::Discovery => "discovery",
            FetchFault::IssuerMismatch => "issuer_mismatch",
            FetchFault::InsecureUrl => "insecure_url",
            FetchFault::Token => "token_unreadable",
            FetchFault::WorkloadApi(fault) => fault.code(),
            FetchFault::Keys(KeySetFault::Malformed) => "keys_malformed",
            FetchFault::Keys(KeySetFault::TooMany) => "keys_too_many",
            FetchFault::Keys(KeySetFault::NoUsableKey) => "keys_none_usable",
        }
    }
}

/// A fault and what to tell the operator beside it.
#[derive(Debug)]
pub(super) struct FetchError {
    pub fault: FetchFault,
    pub detail: String,
}

impl From<FetchFault> for FetchError {
    fn from(fault: FetchFault) -> Self {
        FetchError {
            fault,
            detail: String::new(),
        }
    }
}

/// A document that was read.
#[derive(Debug)]
pub(super) struct Fetched {
    pub document: Bytes,
    /// `Cache-Control: max-age`, if given.
    pub max_age: Option<Duration>,
    /// The host that served it.
    pub host: String,
}

/// A URL that may not be asked, as a message shows it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressFault {
    #[error("`{0}` is not a URL")]
    NotUrl(String),
    #[error("`{0}` must be an `https` URL (`http` only on loopback)")]
    Insecure(String),
}

/// Why an issuer cannot even be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteFault {
    #[error(transparent)]
    Address(#[from] AddressFault),
    #[error(transparent)]
    Client(#[from] ClientFault),
}

/// Where an issuer has its discovery document (OpenID Connect Discovery section 4).
pub(super) fn discovery_document(issuer: &str) -> Result<Uri, AddressFault> {
    let refused = |_| AddressFault::NotUrl(issuer.to_owned());
    let url = IssuerUrl::new(issuer.to_owned()).map_err(refused)?;
    let document = url
        .join(".well-known/openid-configuration")
        .map_err(refused)?;
    permitted(document.as_str())
}

/// Somewhere that key sets come from.
#[async_trait]
pub(super) trait Fetch: Send + Sync + 'static {
    async fn fetch(&self) -> Result<Fetched, FetchError>;

    /// Ends when there is something newer to fetch, or the source fails; of one that does not tell, never.
    async fn changed(&self) {
        std::future::pending().await
    }
}

/// The network as a source.
pub(super) struct Remote {
    client: OutboundClient,
    place: KeyLocation,
    /// What we show at the place's own origin.
    token: Option<SecretRef>,
}

enum KeyLocation {
    KeySet(Uri),
    Discovery {
        issuer: String,
        document: Uri,
    },
    /// A SPIFFE bundle endpoint (SPIFFE Federation section 5.2.1): the bundle says when to come again.
    Bundle(Uri),
}

impl Remote {
    /// Keys at a fixed URL.
    pub(super) fn key_set(
        url: &str,
        roots: Arc<RootCertStore>,
        egress: &Egress,
        token: Option<SecretRef>,
    ) -> Result<Self, RemoteFault> {
        Ok(Remote {
            client: OutboundClient::new(roots, egress, OutboundBounds::ISSUER)?,
            place: KeyLocation::KeySet(permitted(url)?),
            token,
        })
    }

    /// The bundle of a SPIFFE trust domain at its endpoint, whose server has a certificate of the Web's (`https_web`).
    pub(super) fn bundle(
        url: &str,
        roots: Arc<RootCertStore>,
        egress: &Egress,
    ) -> Result<Self, RemoteFault> {
        Ok(Remote {
            client: OutboundClient::new(roots, egress, OutboundBounds::ISSUER)?,
            place: KeyLocation::Bundle(permitted(url)?),
            token: None,
        })
    }

    /// Keys found through `{issuer}/.well-known/openid-configuration`.
    pub(super) fn discovery(
        issuer: &str,
        roots: Arc<RootCertStore>,
        egress: &Egress,
        token: Option<SecretRef>,
    ) -> Result<Self, RemoteFault> {
        let place = KeyLocation::Discovery {
            issuer: issuer.to_owned(),
            document: discovery_document(issuer)?,
        };
        Ok(Remote {
            client: OutboundClient::new(roots, egress, OutboundBounds::ISSUER)?,
            place,
            token,
        })
    }

    async fn read(&self) -> Result<Fetched, FetchError> {
        match &self.place {
            KeyLocation::KeySet(url) => self.get(url).await,
            KeyLocation::Bundle(url) => {
                let fetched = self.get(url).await?;
                Ok(Fetched {
                    max_age: Some(refresh_hint(&fetched.document)),
                    ..fetched
                })
            }
            KeyLocation::Discovery { issuer, document } => {
                let fetched = self.get(document).await?;
                let mut document = json::object(&fetched.document).ok_or(FetchFault::Discovery)?;
                json::drop_nulls(&mut document);
                let named = document.remove("issuer");
                if named.as_ref().and_then(serde_json::Value::as_str) != Some(issuer.as_str()) {
                    let named = shown(
                        named
                            .as_ref()
                            .and_then(serde_json::Value::as_str)
                            .unwrap_or_default(),
                    );
                    let detail = format!("the document is for `{named}`");
                    return Err(FetchError {
                        fault: FetchFault::IssuerMismatch,
                        detail,
                    });
                }
                let url = document
                    .get("jwks_uri")
                    .and_then(serde_json::Value::as_str)
                    .ok_or(FetchFault::Discovery)?;
                let insecure = |fault: AddressFault| FetchError {
                    fault: FetchFault::InsecureUrl,
                    detail: fault.to_string(),
                };
                self.get(&permitted(url).map_err(insecure)?).await
            }
        }
    }

    /// What `url` wants to see of us: our token, if it is of the configured origin. The file is read each time, because
    /// such tokens are replaced within the hour.
    fn authorization(&self, url: &Uri) -> Result<Option<HeaderValue>, FetchError> {
        let (KeyLocation::KeySet(ours)
        | KeyLocation::Discovery { document: ours, .. }
        | KeyLocation::Bundle(ours)) = &self.place;
        let Some(reference) = self.token.as_ref().filter(|_| has_same_origin(ours, url)) else {
            return Ok(None);
        };
        let unreadable = |detail: String| FetchError {
            fault: FetchFault::Token,
            detail,
        };
        let secret = reference
            .open()
            .map_err(|fault| unreadable(fault.to_string()))?;
        let bearer = Zeroizing::new([b"Bearer ", secret.expose()].concat());
        let mut value = HeaderValue::from_bytes(&bearer)
            .map_err(|_| unreadable(format!("{reference} fits no header")))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn get(&self, url: &Uri) -> Result<Fetched, FetchError> {
        let mut request = Request::get(url.clone())
            .header(header::ACCEPT, "application/json, application/jwk-set+json")
            .body(Vec::new())
            .map_err(|_| FetchFault::Unreachable)?;
        if let Some(value) = self.authorization(url)? {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let answer = self.client.ask(request).await.map_err(unread)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError {
                fault: FetchFault::Status,
                detail: format!("status {}", answer.status().as_u16()),
            });
        }
        // Buckets and git hosts serve these documents under any type or none: the strict reading decides what they are.
        let says_page = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(names_page);
        let max_age = max_age(answer.headers());
        let document = Bytes::from(answer.into_body());
        if is_page(&document) {
            let named = if says_page { " (`text/html`)" } else { "" };
            let detail = format!(
                "the answer is a page for people{named} and not JSON: is this the address of the keys?"
            );
            return Err(FetchError {
                fault: FetchFault::ContentType,
                detail,
            });
        }
        Ok(Fetched {
            document,
            max_age,
            host: url.host().unwrap_or_default().to_owned(),
        })
    }
}

#[async_trait]
impl Fetch for Remote {
    async fn fetch(&self) -> Result<Fetched, FetchError> {
        tokio::time::timeout(self.client.bounds().whole, self.read())
            .await
            .unwrap_or(Err(FetchFault::TimedOut.into()))
    }
}

/// A URL that may be asked: `https`, or `http` where no network is in between. A message leaves the query out, which some
/// providers use for keys of their own.
pub(super) fn permitted(url: &str) -> Result<Uri, AddressFault> {
    let place = shown(url.split(['?', '#']).next().unwrap_or_default());
    match url.parse() {
        Ok(uri) if is_permitted(&uri) => Ok(uri),
        Ok(_) => Err(AddressFault::Insecure(place)),
        Err(_) => Err(AddressFault::NotUrl(place)),
    }
}

/// RFC 6454 section 5: scheme, host and port.
fn has_same_origin(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| {
        uri.port_u16()
            .or_else(|| (uri.scheme_str() == Some("https")).then_some(443))
            .unwrap_or(80)
    };
    let has_same_host = match (one.host(), other.host()) {
        (Some(host), Some(other)) => host.eq_ignore_ascii_case(other),
        _ => false,
    };
    one.scheme() == other.scheme() && has_same_host && port(one) == port(other)
}

/// What a fault of the client is to an operator.
fn unread(fault: OutboundFault) -> FetchError {
    let (fault, detail) = match fault {
        OutboundFault::Unreachable(detail) | OutboundFault::Untrusted { detail, .. } => {
            (FetchFault::Unreachable, detail)
        }
        OutboundFault::Proxy { fault, detail } => (FetchFault::Proxy(fault), detail),
        OutboundFault::Address(_) => (FetchFault::InsecureUrl, fault.to_string()),
        OutboundFault::TooLarge(_) => return FetchFault::TooLarge.into(),
        OutboundFault::TimedOut(_) => return FetchFault::TimedOut.into(),
    };
    FetchError {
        fault,
        detail: line(&detail, DETAIL_LIMIT_BYTES).into_owned(),
    }
}

fn names_page(value: &HeaderValue) -> bool {
    MediaType::glimpse(value.as_bytes()).is(media_type::HTML)
}

/// Whether a body begins as HTML or XML do, and JSON never does.
fn is_page(body: &[u8]) -> bool {
    body.strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(body)
        .trim_ascii_start()
        .starts_with(b"<")
}

/// When a bundle wants to be read again: `spiffe_refresh_hint`, in seconds (SPIFFE Trust Domain and Bundle section 4.1.3).
fn refresh_hint(document: &[u8]) -> Duration {
    let hint = json::object(document)
        .and_then(|bundle| bundle.get("spiffe_refresh_hint")?.as_u64())
        .filter(|seconds| *seconds > 0);
    hint.map_or(BUNDLE_REFRESH, Duration::from_secs)
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let seconds = value
        .split(',')
        .find_map(|directive| directive.trim().strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::hostile::{self, Breach};

    /// Scenario: each kind of peer that keeps to no bound serves keys, or a discovery document. Guarantees: it is asked
    /// once, and what it does ends in the fault that says so; a redirect is a status.
    #[tokio::test]
    async fn hostile_peers_meet_the_bounds() {
        let roots = Arc::new(RootCertStore::empty());
        for peer in hostile::peers(OutboundBounds::ISSUER) {
            let served = peer.serve().await;
            let url = served.url("");
            let by_url = Remote::key_set(&url, roots.clone(), &Egress::Direct, None);
            let by_issuer = Remote::discovery(&url, roots.clone(), &Egress::Direct, None);
            for mut remote in [by_url.unwrap(), by_issuer.unwrap()] {
                remote.client = remote.client.within(peer.patience);
                let before = served.requests();
                let fault = remote.fetch().await.unwrap_err().fault;
                let expected = match peer.breach {
                    Breach::Redirect => FetchFault::Status,
                    Breach::Large => FetchFault::TooLarge,
                    Breach::NoHttp => FetchFault::Unreachable,
                    Breach::Silence => FetchFault::TimedOut,
                };
                assert_eq!(fault, expected, "{}", peer.what);
                assert_eq!(served.requests() - before, 1, "{}", peer.what);
            }
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (one, other, same) in [
            ("https://a/x", "https://a/y?z", true),
            ("https://a/x", "https://A:443/y", true),
            ("http://127.0.0.1/x", "http://127.0.0.1:80/y", true),
            ("https://a/x", "https://a:8443/x", false),
            ("https://a/x", "http://a:443/x", false),
            ("https://a/x", "https://a.b/x", false),
            ("https://a/x", "https://b/x", false),
            ("http://127.0.0.1:1/x", "http://127.0.0.1:2/x", false),
        ] {
            let origin = |url: &str| url.parse::<Uri>().unwrap();
            assert_eq!(
                has_same_origin(&origin(one), &origin(other)),
                same,
                "{one} {other}"
            );
        }
    }

    #[test]
    fn a_fault_names_no_query_and_no_fragment() {
        for url in [
            "http://idp.example/keys?code=secret",
            "https://u@idp.example/keys?secret",
            "https://[/#secret",
        ] {
            let message = permitted(url).unwrap_err().to_string();
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn a_page_is_told_by_its_beginning() {
        for (body, page) in [
            ("<html>", true),
            ("\n <!doctype html>", true),
            ("\u{feff}<?xml", true),
            ("{\"a\":\"<\"}", false),
            ("", false),
        ] {
            assert_eq!(is_page(body.as_bytes()), page, "{body}");
        }
    }

    #[test]
    fn headers_of_an_answer_are_read() {
        let mut headers = HeaderMap::new();
        for (value, seconds) in [
            ("max-age=60", Some(60)),
            ("public, max-age=3600, must-revalidate", Some(3600)),
            ("no-store", None),
        ] {
            headers.insert(header::CACHE_CONTROL, value.parse().unwrap());
            assert_eq!(
                max_age(&headers),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
