//! Whose call it is, where a proxy that is trusted for it says so.
//!
//! What it does: reads `X-Forwarded-For` or `Forwarded` (RFC 7239) from its end. What it refuses to know: what an address may
//! do. Invariants: a header counts only if the peer itself is of the trusted networks; the address is one that a trusted
//! machine wrote, because the first that is not of them ends the search; what cannot be read ends it, too, at the nearest hop
//! that is known.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use super::front::{ForwardedHeader, ForwardedSettings};

/// Hops that are looked at. Real chains have two or three.
const HOPS_LIMIT: usize = 32;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// The address of a client, with its port where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress {
    pub ip: IpAddr,
    pub port: Option<u16>,
}

impl std::fmt::Display for ClientAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(formatter),
            None => self.ip.fmt(formatter),
        }
    }
}

impl From<SocketAddr> for ClientAddress {
    fn from(address: SocketAddr) -> Self {
        ClientAddress {
            ip: address.ip().to_canonical(),
            port: Some(address.port()),
        }
    }
}

/// Whose call this is.
pub(crate) fn client_address(
    headers: &HeaderMap,
    peer: SocketAddr,
    settings: Option<&ForwardedSettings>,
) -> ClientAddress {
    let mut nearest = ClientAddress::from(peer);
    let Some(settings) = settings.filter(|settings| settings.from.contains(nearest.ip)) else {
        return nearest;
    };
    let name = match settings.header {
        ForwardedHeader::XForwardedFor => &X_FORWARDED_FOR,
        ForwardedHeader::Forwarded => &FORWARDED,
    };
    let lines = headers.get_all(name).iter().rev();
    let hops = lines.flat_map(|line| Elements {
        rest: Some(line.as_bytes()),
        separator: b',',
    });
    for element in hops
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .take(HOPS_LIMIT)
    {
        let hop = match settings.header {
            ForwardedHeader::XForwardedFor => node(element),
            ForwardedHeader::Forwarded => forwarded_for(element),
        };
        let Some(hop) = hop else { return nearest };
        nearest = hop;
        if !settings.from.contains(hop.ip) {
            return nearest;
        }
    }
    nearest
}

/// The parts of a list from its end, where a quoted part may hold the separator. What stands before a quote without
/// a beginning is one part: a client cannot hide by it what a proxy added behind.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let mut quoted = false;
        for (at, byte) in rest.iter().enumerate().rev() {
            let before = rest.get(..at).unwrap_or_default();
            // A quote behind an odd number of backslashes is a quoted one (RFC 9110 section 5.6.4).
            let escapes = || {
                before
                    .iter()
                    .rev()
                    .take_while(|byte| **byte == b'\\')
                    .count()
            };
            if *byte == b'"' && !(quoted && escapes() % 2 == 1) {
                quoted = !quoted;
            } else if *byte == self.separator && !quoted {
                self.rest = Some(before);
                return rest.get(at + 1..);
            }
        }
        self.rest = None;
        Some(rest)
    }
}

/// The node of `for` in one element (RFC 7239 section 4); two of them are none.
fn forwarded_for(element: &[u8]) -> Option<ClientAddress> {
    let pairs = Elements {
        rest: Some(element),
        separator: b';',
    };
    let mut found = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        name.eq_ignore_ascii_case(b"for")
            .then(|| value.get(1..).unwrap_or_default())
    });
    let value = found.next().filter(|_| found.next().is_none())?;
    match value.strip_prefix(b"\"") {
        // No node has anything in it that needs a backslash.
        Some(inner) => node(inner.strip_suffix(b"\"")?),
        None => node(value),
    }
}

/// An address with or without port and brackets (RFC 7239 section 6); `unknown` and obfuscated names are none.
fn node(text: &[u8]) -> Option<ClientAddress> {
    let text = str::from_utf8(text).ok()?;
    let (address, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']')?;
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            let port = if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':')?)
            };
            (IpAddr::V6(address), port)
        }
        None => match text.parse() {
            Ok(address) => (address, None),
            Err(_) => {
                let (address, port) = text.split_once(':')?;
                (IpAddr::V4(address.parse().ok()?), Some(port))
            }
        },
    };
    let port = match port {
        None => None,
        // An obfuscated port.
        Some(port) if port.starts_with('_') => None,
        Some(port) => Some(decimal_port(port)?),
    };
    Some(ClientAddress {
        ip: address.to_canonical(),
        port,
    })
}

/// A port in digits and nothing else.
pub(super) fn decimal_port(text: &str) -> Option<u16> {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::networks::{Network, Networks};
    use super::*;

    fn found(header: ForwardedHeader, peer: &str, lines: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| Network::parse(text).unwrap());
        let settings = ForwardedSettings {
            from: Networks::new(networks.to_vec()),
            header,
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        client_address(&headers, peer.parse().unwrap(), Some(&settings)).to_string()
    }

    /// Scenario: honest chains, and what clients and broken proxies may send. Guarantees: the address is the last that a
    /// trusted machine saw, or the nearest hop that is known; nothing that a client wrote moves it.
    #[test]
    fn the_last_address_that_is_not_a_proxys_counts() {
        let many = format!("X-Forwarded-For: 192.0.2.9{}", ", 10.0.0.2".repeat(200));
        for (peer, lines, expected) in [
            // The peer itself decides whether it is believed.
            (
                "192.0.2.1:80",
                &["X-Forwarded-For: 192.0.2.7"][..],
                "192.0.2.1:80",
            ),
            ("10.0.0.1:80", &[], "10.0.0.1:80"),
            ("10.0.0.1:80", &["X-Forwarded-For: "], "10.0.0.1:80"),
            ("10.0.0.1:80", &["X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
            (
                "[::ffff:10.0.0.1]:80",
                &["X-Forwarded-For: 192.0.2.7"],
                "192.0.2.7",
            ),
            (
                "[2001:db8:1::1]:80",
                &["X-Forwarded-For: 192.0.2.7"],
                "192.0.2.7",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 192.0.2.7:4711"],
                "192.0.2.7:4711",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 2001:db8::7"],
                "2001:db8::7",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: [2001:db8::7]"],
                "2001:db8::7",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: [2001:db8::7]:4711"],
                "[2001:db8::7]:4711",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: ::ffff:192.0.2.7"],
                "192.0.2.7",
            ),
            // What the client wrote stands before.
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 198.51.100.1, 192.0.2.7, 10.0.0.2"],
                "192.0.2.7",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 198.51.100.1,192.0.2.7 ,, 10.0.0.2,"],
                "192.0.2.7",
            ),
            (
                "10.0.0.1:80",
                &[
                    "X-Forwarded-For: 198.51.100.1",
                    "X-Forwarded-For: 192.0.2.7",
                ],
                "192.0.2.7",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: \"198.51.100.1, 192.0.2.7"],
                "192.0.2.7",
            ),
            // All of them are proxies: the farthest.
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 10.0.0.3, 10.0.0.2"],
                "10.0.0.3",
            ),
            // What cannot be read ends the search at the nearest that is known.
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 192.0.2.7, unknown"],
                "10.0.0.1:80",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 192.0.2.7, _hidden, 10.0.0.2"],
                "10.0.0.2",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 192.0.2.7, localhost"],
                "10.0.0.1:80",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 192.0.2.7, 192.0.2.256"],
                "10.0.0.1:80",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 192.0.2.7:65536"],
                "10.0.0.1:80",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: 192.0.2.7:+80"],
                "10.0.0.1:80",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: [192.0.2.7]"],
                "10.0.0.1:80",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: [2001:db8::7"],
                "10.0.0.1:80",
            ),
            (
                "10.0.0.1:80",
                &["X-Forwarded-For: fe80::1%eth0"],
                "10.0.0.1:80",
            ),
            ("10.0.0.1:80", &["X-Forwarded-For: \u{ff}"], "10.0.0.1:80"),
            ("10.0.0.1:80", &[&many], "10.0.0.2"),
            // The other header is nothing here.
            ("10.0.0.1:80", &["Forwarded: for=192.0.2.7"], "10.0.0.1:80"),
        ] {
            assert_eq!(
                found(ForwardedHeader::XForwardedFor, peer, lines),
                expected,
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        for (lines, expected) in [
            (&["Forwarded: for=192.0.2.7"][..], "192.0.2.7"),
            (
                &["Forwarded: For=192.0.2.7;proto=https;by=203.0.113.43"],
                "192.0.2.7",
            ),
            (
                &["Forwarded: proto=https ; for=\"192.0.2.7:4711\""],
                "192.0.2.7:4711",
            ),
            (
                &["Forwarded: for=\"[2001:db8::1]:4711\""],
                "[2001:db8::1]:4711",
            ),
            (&["Forwarded: for=\"[2001:db8::1]\""], "2001:db8::1"),
            (&["Forwarded: for=\"192.0.2.7:_http\""], "192.0.2.7"),
            (
                &["Forwarded: for=198.51.100.1, for=192.0.2.7, for=10.0.0.2"],
                "192.0.2.7",
            ),
            (
                &["Forwarded: for=198.51.100.1", "Forwarded: for=192.0.2.7"],
                "192.0.2.7",
            ),
            (
                &["Forwarded: for=198.51.100.1;host=\"a,b;for=203.0.113.1\", for=192.0.2.7"],
                "192.0.2.7",
            ),
            (
                &["Forwarded: host=\"a\\\", for=203.0.113.1\";for=192.0.2.7"],
                "192.0.2.7",
            ),
            // A quote that the client left open hides nothing that stands behind it.
            (
                &["Forwarded: for=\"198.51.100.1, for=192.0.2.7"],
                "192.0.2.7",
            ),
            (
                &["Forwarded: for=198.51.100.1\\\", for=192.0.2.7;host=\"x\""],
                "192.0.2.7",
            ),
            (&["Forwarded: for=unknown"], "10.0.0.1:80"),
            (&["Forwarded: for=192.0.2.7, for=_gazonk"], "10.0.0.1:80"),
            (
                &["Forwarded: for=192.0.2.7, for=\"_gazonk\", for=10.0.0.2"],
                "10.0.0.2",
            ),
            (&["Forwarded: for=192.0.2.7, by=10.0.0.2"], "10.0.0.1:80"),
            (&["Forwarded: for=192.0.2.7;for=192.0.2.8"], "10.0.0.1:80"),
            (&["Forwarded: for = 192.0.2.7"], "10.0.0.1:80"),
            (&["Forwarded: for=\"192.0.2.7"], "10.0.0.1:80"),
            (&["Forwarded: for="], "10.0.0.1:80"),
            (&["Forwarded: for=\""], "10.0.0.1:80"),
            (&["X-Forwarded-For: 192.0.2.7"], "10.0.0.1:80"),
        ] {
            assert_eq!(
                found(ForwardedHeader::Forwarded, "10.0.0.1:80", lines),
                expected,
                "{lines:?}"
            );
        }
    }
}
