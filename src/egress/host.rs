//! Hosts and ports as URLs have them.
//!
//! What it does: takes `host:port` apart, strictly, puts it together, and says which URL may be asked at all. What it refuses
//! to know: what is asked. Invariants: no reader takes for an address what is taken for a name here; a port is from 1 to
//! 65535; plain text goes to this machine alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

/// The longest name (RFC 1035 section 2.3.4), and its longest label.
const NAME_LIMIT_BYTES: usize = 253;
const LABEL_LIMIT_BYTES: usize = 63;

/// The host in lower case, an IPv6 address without its brackets, and the port if there is one.
pub(crate) fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (
                host,
                if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':')?)
                },
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if !authority.starts_with('[') && !is_host_name(host) {
        return None;
    }
    let port = match port {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
        None => None,
    };
    Some((host.to_ascii_lowercase(), port))
}

/// RFC 1123 section 2.1: labels of letters, digits and inner hyphens. Underscores too: the DNS takes them (RFC 2181 section
/// 11), and containers are named so (`otel_collector`). What ends in a number is an IPv4 address or nothing, so that no two
/// readers of the URL can differ.
fn is_host_name(host: &str) -> bool {
    let labels = || host.split('.');
    let numeric = labels()
        .next_back()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    host.len() <= NAME_LIMIT_BYTES
        && labels().all(|label| {
            (1..=LABEL_LIMIT_BYTES).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Whether a host can only be this machine, by its spelling: lower case, an IPv6 address without its brackets.
pub(crate) fn is_this_machine(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Whether we ask a URL: `https`, or `http` where no network is in between; no user or password in it.
pub(crate) fn is_permitted(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let bare = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") => bare,
        Some("http") => bare && is_this_machine(host),
        _ => false,
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_loopback_may_be_asked() {
        for (url, allowed) in [
            ("https://idp.example/keys", true),
            ("https://idp.example:8443/keys?x=1", true),
            ("http://127.0.0.1:8080/keys", true),
            ("http://[::1]:8080/keys", true),
            ("http://localhost/keys", true),
            ("http://idp.example/keys", false),
            ("http://127.0.0.1.evil.example/keys", false),
            ("http://localhost.evil.example/keys", false),
            ("http://0.0.0.0/", false),
            ("http://[::]/", false),
            ("http://0x7f.1/", false),
            ("http://2130706433/", false),
            ("http://169.254.169.254/latest", false),
            ("https://user:password@idp.example/keys", false),
            ("http://127.0.0.1@evil.example/keys", false),
            ("file:///etc/passwd", false),
            ("ftp://idp.example/keys", false),
            ("/keys", false),
            ("", false),
        ] {
            let permitted = url.parse().is_ok_and(|uri| is_permitted(&uri));
            assert_eq!(permitted, allowed, "{url}");
        }
    }

    #[test]
    fn hosts_and_ports_are_taken_apart_or_refused() {
        let long = format!("{}.example", "a".repeat(LABEL_LIMIT_BYTES + 1));
        let endless = "a.".repeat(NAME_LIMIT_BYTES) + "a";
        for (text, expected) in [
            ("Proxy.Example", Some(("proxy.example", None))),
            ("proxy.example:3128", Some(("proxy.example", Some(3128)))),
            ("otel_collector:4318", Some(("otel_collector", Some(4318)))),
            ("_proxy", Some(("_proxy", None))),
            ("127.0.0.1:1", Some(("127.0.0.1", Some(1)))),
            ("[::1]", Some(("::1", None))),
            ("[2001:DB8::1]:65535", Some(("2001:db8::1", Some(65535)))),
            ("", None),
            (":3128", None),
            ("a:", None),
            ("a:0", None),
            ("a:65536", None),
            ("a:+1", None),
            ("a:1:2", None),
            ("a..b", None),
            (".a", None),
            ("a.", None),
            ("-a", None),
            ("a-.b", None),
            ("a b", None),
            ("a/b", None),
            ("u@a", None),
            ("1.2.3", None),
            ("0x7f.1", None),
            ("127.0.0.01", None),
            ("[127.0.0.1]", None),
            ("[::1", None),
            ("[::1]x", None),
            ("::1", None),
            (&long, None),
            (&endless, None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host_and_port(text), expected, "{text}");
        }
    }
}
