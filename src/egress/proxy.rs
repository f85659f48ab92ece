//! One proxy: where it is, and what opens it.
//!
//! What it does: takes a proxy's URL apart, reads its credentials, and writes the header that carries them. What it
//! refuses to know: who is reached through it. Invariant: credentials are in no message and no `Debug`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::host::{authority, host_and_port};
use crate::percent;
use crate::secret::{SecretRef, UnreadableSecret};

/// A proxy, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySettings {
    /// Lower case; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    pub credentials: Option<ProxyCredentials>,
}

/// `user:password`.
#[derive(Clone, PartialEq, Eq)]
pub enum ProxyCredentials {
    Reference(SecretRef),
    /// Out of the environment's URL.
    Given(Zeroizing<Vec<u8>>),
}

impl std::fmt::Debug for ProxyCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ProxyCredentials(…)")
    }
}

/// A proxy's URL, taken apart.
pub(crate) struct ProxyUrl {
    pub host: String,
    pub port: Option<u16>,
    /// Percent-decoded; of a URL with user information.
    pub credentials: Option<Zeroizing<Vec<u8>>>,
}

impl ProxyUrl {
    /// Takes a URL apart, whose scheme may be left out; the fault is the end of the sentence "`proxy` …", and repeats
    /// nothing of it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => {
                return Err("must begin with `http://`: other kinds of proxies cannot be used");
            }
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let credentials =
            user.map(|user| decoded(user).ok_or("holds a user or password that cannot be read"));
        let (host, port) =
            host_and_port(place).ok_or("needs a host, and a port from 1 to 65535")?;
        Ok(ProxyUrl {
            host,
            port,
            credentials: credentials.transpose()?,
        })
    }
}

/// No control characters: RFC 7617 section 2 allows none.
fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    out.extend(percent::decode(text)?);
    (!out.iter().any(u8::is_ascii_control)).then_some(out)
}

/// A proxy whose credentials cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the credentials of proxy {proxy}")]
pub struct UnopenedProxy {
    pub(crate) proxy: String,
    #[source]
    pub(crate) cause: UnreadableSecret,
}

impl ProxySettings {
    /// `host:port`, for people and for the proxy's own address.
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// Reads the credentials now.
    pub fn open(&self) -> Result<Proxy, UnopenedProxy> {
        let read = match &self.credentials {
            None => None,
            Some(ProxyCredentials::Given(given)) => Some(given.clone()),
            Some(ProxyCredentials::Reference(reference)) => {
                let secret = reference.open().map_err(|cause| UnopenedProxy {
                    proxy: self.authority(),
                    cause,
                })?;
                Some(Zeroizing::new(secret.expose().to_vec()))
            }
        };
        // RFC 7617 section 2.
        let authorization = read.map(|credentials| Zeroizing::new(STANDARD.encode(&*credentials)));
        Ok(Proxy {
            host: self.host.clone(),
            port: self.port,
            authorization,
        })
    }
}

/// A proxy that can be asked.
pub struct Proxy {
    pub host: String,
    pub port: u16,
    /// What stands behind `Basic `.
    pub(super) authorization: Option<Zeroizing<String>>,
}

impl Proxy {
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// What tells it from one of the same place with other credentials. As secret as they are.
    pub(crate) fn opened_by(&self) -> &[u8] {
        self.authorization
            .as_ref()
            .map_or(b"", |authorization| authorization.as_bytes())
    }
}
