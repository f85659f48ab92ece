//! How our own calls leave: straight, or through an HTTP proxy's CONNECT tunnel.
//!
//! What it does: decides for each host whether a proxy is asked, reads the environment's variables as curl does, opens
//! tunnels, and has the one HTTP client of our own calls, and connections of our own for what speaks no HTTP. What it refuses to know: what is sent through a tunnel or asked
//! with the client, and TLS to the backend, which runs inside of a tunnel. Invariants: a proxy learns host and port, never a byte of a
//! request; its credentials are in no message; its answer is bounded in bytes, and every caller bounds it in time; a
//! loopback address never goes to a proxy that the environment names.

mod client;
mod connector;
mod environment;
mod host;
mod no_proxy;
mod proxy;
mod stream;
#[cfg(test)]
mod tests;
mod tunnel;

use std::sync::Arc;

pub(crate) use client::{ClientFault, OutboundBounds, OutboundClient, OutboundFault, SendBody};
pub use environment::Environment;
pub(crate) use environment::UnusableProxy;
pub(crate) use host::{host_and_port, is_permitted, is_this_machine};
pub use no_proxy::NoProxy;
pub(crate) use proxy::{Proxy, ProxyUrl, UnopenedProxy};
pub use proxy::{ProxyCredentials, ProxySettings};
pub(crate) use stream::{OutboundStream, StreamConnector, StreamFault, StreamPlaceFault};
#[cfg(test)]
pub(crate) use tests::hostile;
pub(crate) use tunnel::TunnelFault;

/// Which proxy a call takes, if any; checked settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// No proxy.
    #[default]
    Direct,
    /// One proxy, but for what `no_proxy` names.
    Through {
        proxy: Arc<ProxySettings>,
        no_proxy: NoProxy,
    },
    /// What the environment names, but for loopback addresses and what its or our own list names.
    Environment {
        environment: Environment,
        no_proxy: NoProxy,
    },
}

impl Egress {
    /// The environment's proxies alone, as command lines use them.
    pub(crate) fn of_process() -> Self {
        Egress::Environment {
            environment: Environment::process(),
            no_proxy: NoProxy::default(),
        }
    }

    /// The proxy for a host (an IPv6 address without brackets), or the variable that names none that can be used.
    pub(crate) fn route(
        &self,
        tls: bool,
        host: &str,
        port: u16,
    ) -> Result<Option<&Arc<ProxySettings>>, UnusableProxy> {
        match self {
            Egress::Direct => Ok(None),
            Egress::Through { proxy, no_proxy } => {
                Ok(Some(proxy).filter(|_| !no_proxy.holds(host, port)))
            }
            Egress::Environment {
                environment,
                no_proxy,
            } => {
                if is_loopback(host) || no_proxy.holds(host, port) {
                    return Ok(None);
                }
                environment.proxy(tls, host, port)
            }
        }
    }

    /// All proxies that a call may be led to.
    pub fn proxies(&self) -> Vec<&Arc<ProxySettings>> {
        match self {
            Egress::Direct => Vec::new(),
            Egress::Through { proxy, .. } => vec![proxy],
            Egress::Environment { environment, .. } => environment.proxies(),
        }
    }
}

/// Whether a host can only be this machine (RFC 6761 section 6.3 for `localhost`).
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}
