//! Hosts that are reached without a proxy.
//!
//! What it does: reads a list's entries and matches hosts against them as curl does (its `NO_PROXY`). What it refuses to
//! know: names' addresses; a name is compared as text. Invariant: an entry covers a name and what is beneath it, at a
//! dot, never a mere ending.

use std::net::IpAddr;

/// A list of exceptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<ProxyException>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum ProxyException {
    /// `*`.
    Everything,
    /// Lower case, without dots at its ends.
    Name {
        name: String,
        port: Option<u16>,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    Network {
        address: IpAddr,
        prefix: u8,
    },
}

impl NoProxy {
    /// The environment's form: entries between commas or blanks. What is no entry matches nothing, as in curl.
    pub fn parse(list: &str) -> Self {
        let entries = list.split(|letter: char| letter == ',' || letter.is_ascii_whitespace());
        NoProxy(entries.filter_map(ProxyException::parse).collect())
    }

    /// Adds an entry; false if it is none.
    pub fn add(&mut self, entry: &str) -> bool {
        let parsed = ProxyException::parse(entry);
        let is_entry = parsed.is_some();
        self.0.extend(parsed);
        is_entry
    }

    /// Whether a host (brackets around an IPv6 address or not) is reached without a proxy.
    pub fn holds(&self, host: &str, port: u16) -> bool {
        let host = bare(host).to_ascii_lowercase();
        let address = host
            .parse::<IpAddr>()
            .ok()
            .map(|address| address.to_canonical());
        let host = host.trim_end_matches('.');
        let fits = |given: &Option<u16>| given.is_none_or(|given| given == port);
        self.0.iter().any(|entry| match (entry, address) {
            (ProxyException::Everything, _) => true,
            (ProxyException::Name { name, port }, None) => {
                let rest = host.strip_suffix(name.as_str());
                fits(port) && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (ProxyException::Address { address, port }, Some(host)) => {
                fits(port) && *address == host
            }
            (ProxyException::Network { address, prefix }, Some(host)) => {
                shares_prefix(*address, host, *prefix)
            }
            _ => false,
        })
    }
}

impl ProxyException {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(ProxyException::Everything);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address = bare(address).parse::<IpAddr>().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix = prefix
                .parse()
                .ok()
                .filter(|prefix| digits && *prefix <= most)?;
            return Some(ProxyException::Network { address, prefix });
        }
        if let Ok(address) = bare(text).parse::<IpAddr>() {
            return Some(ProxyException::Address {
                address: address.to_canonical(),
                port: None,
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (
                host,
                Some(port.parse::<u16>().ok().filter(|port| *port != 0)?),
            ),
            None => (text, None),
        };
        if let Ok(address) = bare(host).parse::<IpAddr>() {
            return Some(ProxyException::Address {
                address: address.to_canonical(),
                port,
            });
        }
        let name = host.trim_matches('.').to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (!name.is_empty() && name.bytes().all(is_name))
            .then_some(ProxyException::Name { name, port })
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host)
}

fn shares_prefix(network: IpAddr, host: IpAddr, prefix: u8) -> bool {
    let differing = match (network, host) {
        (IpAddr::V4(network), IpAddr::V4(host)) => {
            (network.to_bits() ^ host.to_bits()).leading_zeros()
        }
        (IpAddr::V6(network), IpAddr::V6(host)) => {
            (network.to_bits() ^ host.to_bits()).leading_zeros()
        }
        _ => return false,
    };
    differing >= u32::from(prefix)
}
