//! Posting a message to a destination that the operator has named.
//!
//! What it does: keeps the connections to one destination, and posts JSON to it with the operator's own header. What it
//! refuses to know: what a message says, and who gets it. Invariants: only a configured address is asked, over `https`
//! but on loopback; no redirect is followed; nothing of the message gets into the head; one post takes at most
//! what `OutboundBounds::DESTINATION` says; the URL and the secret are in no message of ours, because either opens the destination.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Uri};
use zeroize::Zeroizing;

use super::exchange::{Repeat, exchange};
use super::send::ExchangeFault;
use super::send::Intake;
use super::supply::{Pieces, Replayable};
use super::upstream::BackendFault;
use super::{Backend, SendFault, UpstreamSettings};
use crate::egress::{
    Egress, OutboundBounds, TunnelFault, UnusableProxy, host_and_port, is_this_machine,
};
use crate::limits::Reservation;
use crate::secret::{SecretFault, SecretRef};

/// The longest URL, in bytes.
const URL_LIMIT_BYTES: usize = 2048;

/// Headers that are ours to write.
const OWN_HEADERS: [&str; 12] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "accept",
    "user-agent",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// One entry of `alerts.destinations`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationSettings {
    /// What policies and records call it.
    pub name: String,
    pub url: DestinationUrl,
    /// PEM roots; `None`: the system's.
    pub ca: Option<PathBuf>,
    pub header: Option<DestinationHeader>,
    /// Which way leads there.
    pub egress: Egress,
}

/// Where a destination is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationUrl {
    Written(String),
    /// A URL that is itself a secret, as chat services hand them out.
    From(SecretRef),
}

/// The header by which a destination knows us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationHeader {
    pub name: HeaderName,
    /// What stands before the secret and a space, `Bearer`.
    pub scheme: Option<String>,
    pub secret: SecretRef,
}

/// A URL's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostAddress {
    pub tls: bool,
    /// Lower case; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// Path and query, as written; begins with `/`.
    pub target: String,
}

/// A destination, ready to be posted to.
pub struct Webhook {
    pub(crate) name: String,
    backend: Arc<Backend>,
    /// The URL in one spelling; a secret like the one that it was read from.
    place: Zeroizing<String>,
    /// Request line and headers, without framing: the same for every message.
    head: Zeroizing<Vec<u8>>,
    bounds: OutboundBounds,
}

impl PostAddress {
    /// Takes a URL apart; the fault is the end of the sentence "`url` …" and repeats nothing of it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > URL_LIMIT_BYTES {
            return Err("is too long");
        }
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>'))
        {
            return Err("must be printable ASCII without spaces, quotes or `\\`");
        }
        if text.contains('#') {
            return Err("must not have a fragment (`#…`)");
        }
        let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("must begin with `https://`"),
        };
        let authority = uri.authority().ok_or("needs a host")?;
        if authority.as_str().contains('@') {
            return Err("must not hold a user or password");
        }
        let fault = || match host_and_port(authority.host()) {
            Some(_) => "has no port that can be",
            None => "needs a host",
        };
        let (host, port) = host_and_port(authority.as_str()).ok_or_else(fault)?;
        if !(tls || is_this_machine(&host)) {
            return Err("must be an `https` URL (`http` only on loopback)");
        }
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        Ok(PostAddress {
            tls,
            host,
            port,
            target,
        })
    }
}

impl DestinationHeader {
    /// Whether a header of this name may be the operator's to set.
    pub(crate) fn may_be(name: &HeaderName) -> bool {
        !OWN_HEADERS.contains(&name.as_str())
    }
}

/// Why messages cannot be sent to a destination. Holds nothing of its URL or secret.
#[derive(Debug, thiserror::Error)]
#[error("destination `{name}`")]
pub(crate) struct DestinationFault {
    name: String,
    #[source]
    cause: DestinationCause,
}

#[derive(Debug, thiserror::Error)]
enum DestinationCause {
    #[error("`url_from` {0}")]
    UrlFrom(SecretFault),
    #[error("`url` is not a URL")]
    NotUrl,
    #[error("`url` {0}")]
    Url(&'static str),
    #[error(transparent)]
    Environment(#[from] UnusableProxy),
    #[error(transparent)]
    Backend(#[from] BackendFault),
    #[error("`header.secret` {0}")]
    HeaderSecret(SecretFault),
}

impl Webhook {
    /// Reads what the settings name. `previous`: the same destination before, whose
    /// connections go on if they are to the same place. Must be called within the runtime.
    pub(crate) fn open(
        settings: &DestinationSettings,
        previous: Option<&Webhook>,
    ) -> Result<Webhook, DestinationFault> {
        Self::open_within(settings, previous, OutboundBounds::DESTINATION).map_err(|cause| {
            DestinationFault {
                name: settings.name.clone(),
                cause,
            }
        })
    }

    fn open_within(
        settings: &DestinationSettings,
        previous: Option<&Webhook>,
        bounds: OutboundBounds,
    ) -> Result<Webhook, DestinationCause> {
        let url = match &settings.url {
            DestinationUrl::Written(url) => Zeroizing::new(url.clone().into_bytes()),
            DestinationUrl::From(reference) => {
                let secret = reference.read().map_err(DestinationCause::UrlFrom)?;
                Zeroizing::new(secret.expose().to_vec())
            }
        };
        let url = std::str::from_utf8(&url).map_err(|_| DestinationCause::NotUrl)?;
        let address = PostAddress::parse(url).map_err(DestinationCause::Url)?;
        let proxy = settings
            .egress
            .route(address.tls, &address.host, address.port)?
            .cloned();
        let upstream = UpstreamSettings {
            tls: address.tls,
            host: address.host,
            port: address.port,
            base_path: String::new(),
            ca: settings.ca.clone().filter(|_| address.tls),
            client: None,
            proxy,
            connect_timeout: bounds.connect,
            read_timeout: bounds.whole,
            write_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
        };
        let fresh = Backend::open(&upstream)?;
        let kept = previous
            .map(|previous| &previous.backend)
            .filter(|kept| kept.is_same_as(&fresh));
        let backend = kept.cloned().unwrap_or(fresh);
        let place = Zeroizing::new(format!("{}{}", upstream.address(), address.target));
        let mut head = Zeroizing::new(Vec::with_capacity(1024));
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| head.extend_from_slice(part));
            head.extend_from_slice(b"\r\n");
        };
        line(&[b"POST ", address.target.as_bytes(), b" HTTP/1.1"]);
        line(&[b"host: ", backend.authority.as_bytes()]);
        line(&[b"content-type: application/json"]);
        line(&[b"accept: */*"]);
        line(&[
            b"user-agent: lightkeeper/",
            env!("CARGO_PKG_VERSION").as_bytes(),
        ]);
        if let Some(header) = &settings.header {
            let secret = header
                .secret
                .read()
                .map_err(DestinationCause::HeaderSecret)?;
            let scheme = header.scheme.as_deref().unwrap_or_default();
            let blank: &[u8] = if scheme.is_empty() { b"" } else { b" " };
            line(&[
                header.name.as_str().as_bytes(),
                b": ",
                scheme.as_bytes(),
                blank,
                secret.expose(),
            ]);
        }
        Ok(Webhook {
            name: settings.name.clone(),
            backend,
            place,
            head,
            bounds,
        })
    }

    /// Where it is, to tell it from another of the same name. Not to be shown.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Posts a message and gives the status of the answer. Where none came, the destination is asked once more and no
    /// further: an alert twice is better than none, and three times is none the better.
    pub(crate) async fn post(
        &self,
        message: &Bytes,
        reservation: &mut Reservation,
    ) -> Result<u16, SendFault> {
        let posting = async {
            match self.once(message, reservation).await {
                Err(
                    SendFault::Unreachable
                    | SendFault::Proxy(TunnelFault::Unreachable | TunnelFault::Broken),
                ) => self.once(message, reservation).await,
                outcome => outcome,
            }
        };
        tokio::time::timeout(self.bounds.whole, posting)
            .await
            .unwrap_or(Err(SendFault::TimedOut))
    }

    async fn once(&self, message: &Bytes, reservation: &mut Reservation) -> Result<u16, SendFault> {
        let mut body = Replayable::new(Pieces::new(vec![message.clone()]));
        let mut intake = Intake {
            limit_bytes: self.bounds.body_bytes as u64,
            status_suffices: false,
            reservation,
        };
        match exchange(
            &self.backend,
            &self.head,
            Repeat::Unsent,
            &mut body,
            &mut intake,
        )
        .await
        {
            Ok(answer) => Ok(answer.status.as_u16()),
            // It has been taken or refused: how much more is said does not matter.
            Err(ExchangeFault::Backend(fault)) => Err(fault),
            Err(ExchangeFault::Caller(_) | ExchangeFault::CallerGone) => Err(SendFault::Defect),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::hostile::{self, Breach};
    use crate::limits::Budget;

    /// Scenario: each kind of peer that keeps to no bound is a destination. Guarantees: what it does ends in the fault that
    /// says so; a redirect is a status, and is not followed; where no answer came it is asked once more, and no further.
    #[tokio::test]
    async fn hostile_peers_meet_the_bounds() {
        for peer in hostile::peers(OutboundBounds::DESTINATION) {
            let served = peer.serve().await;
            let settings = DestinationSettings {
                name: "chat".to_owned(),
                url: DestinationUrl::Written(served.url("/hook")),
                ca: None,
                header: None,
                egress: Egress::Direct,
            };
            let bounds = OutboundBounds {
                whole: peer.patience,
                ..OutboundBounds::DESTINATION
            };
            let webhook = Webhook::open_within(&settings, None, bounds).unwrap();
            let budget = Budget::new(1 << 20);
            let mut held = budget.gateway().open();
            let told = webhook.post(&Bytes::from_static(b"{}"), &mut held).await;
            let met = match peer.breach {
                Breach::Redirect => matches!(told, Ok(301..=308)),
                Breach::Large => told == Err(SendFault::TooLarge),
                Breach::NoHttp => matches!(
                    told,
                    Err(SendFault::Undecodable | SendFault::Unreachable | SendFault::TooLarge)
                ),
                Breach::Silence => told == Err(SendFault::TimedOut),
            };
            assert!(met, "{}: {told:?}", peer.what);
            let asked = if told == Err(SendFault::Unreachable) {
                2
            } else {
                1
            };
            assert_eq!(served.requests(), asked, "{}", peer.what);
        }
    }

    #[test]
    fn only_https_or_loopback_is_posted_to() {
        let address = |tls, host: &str, port, target: &str| {
            Some(PostAddress {
                tls,
                host: host.to_owned(),
                port,
                target: target.to_owned(),
            })
        };
        for (url, expected) in [
            (
                "https://hooks.example/a/b?c=d",
                address(true, "hooks.example", 443, "/a/b?c=d"),
            ),
            (
                "https://Hooks.Example",
                address(true, "hooks.example", 443, "/"),
            ),
            (
                "https://hooks.example:8443/x",
                address(true, "hooks.example", 8443, "/x"),
            ),
            (
                "https://hooks.example?x=1",
                address(true, "hooks.example", 443, "/?x=1"),
            ),
            ("http://127.0.0.1:9/x", address(false, "127.0.0.1", 9, "/x")),
            ("http://[::1]:9/x", address(false, "::1", 9, "/x")),
            ("http://localhost/x", address(false, "localhost", 80, "/x")),
            ("http://hooks.example/x", None),
            ("http://169.254.169.254/latest", None),
            ("http://127.0.0.1.evil.example/", None),
            ("http://127.0.0.1@evil.example/", None),
            ("https://user:password@hooks.example/", None),
            ("https://hooks.example/#x", None),
            ("https://hooks.example/a b", None),
            ("https://hooks.example/a\r\nx: y", None),
            ("https://hooks.example:0/", None),
            ("https://hooks.example:/", None),
            ("https://[::1]x/", None),
            ("https://0x7f.1/", None),
            ("https://-hooks.example/", None),
            ("https://hooks.example:99999/", None),
            ("https:///x", None),
            ("ftp://hooks.example/", None),
            ("//hooks.example/", None),
            ("/x", None),
            ("", None),
        ] {
            assert_eq!(PostAddress::parse(url).ok(), expected, "{url}");
        }
        assert_eq!(
            PostAddress::parse(&format!("https://a/{}", "b".repeat(URL_LIMIT_BYTES))).ok(),
            None
        );
    }
}
