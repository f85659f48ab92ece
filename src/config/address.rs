//! Addresses and URLs as the configuration may hold them.
//!
//! What it does: takes an `http(s)` URL apart, strictly, and tells loopback hosts from others.
//! What it refuses to know: whether anybody answers there. Invariant: no fault repeats the URL, because
//! one with user information in it holds a secret.

use crate::egress::{host_and_port, is_this_machine};

/// A URL's parts. The host is lower case, an IPv6 address without its brackets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    pub tls: bool,
    pub host: String,
    /// The given port, or the scheme's own.
    pub port: u16,
    /// Begins with `/` unless empty; as written.
    pub path: String,
}

impl HttpUrl {
    /// Takes `text` apart; the fault is the end of the sentence "`url` …".
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Self::parse_with_query(text)?;
        if text.contains('?') {
            Err("must not have a query (`?…`)")
        } else {
            Ok(url)
        }
    }

    /// The same of a URL that may have a query, which is no part of what is returned.
    pub(crate) fn parse_with_query(text: &str) -> Result<Self, &'static str> {
        if !text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
            return Err("must be printable ASCII without spaces");
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("must begin with `https://` or `http://`")?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err("must begin with `https://` or `http://`"),
        };
        if rest.contains('#') {
            return Err("must not have a fragment (`#…`)");
        }
        let rest = rest.split('?').next().unwrap_or_default();
        let split = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(split).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err("must not hold a user or password");
        }
        let (host, port) = host_and_port(authority)
            .ok_or("needs a host, and if need be a port from 1 to 65535")?;
        Ok(HttpUrl {
            tls,
            host,
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            path: path.to_owned(),
        })
    }

    /// Whether the host can only be this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_this_machine(&self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_or_refused() {
        let parts = |tls, host: &str, port, path: &str| {
            Ok(HttpUrl {
                tls,
                host: host.into(),
                port,
                path: path.into(),
            })
        };
        let host = || Err("needs a host, and if need be a port from 1 to 65535");
        let scheme = || Err("must begin with `https://` or `http://`");
        for (text, expected) in [
            (
                "https://Api.Lightstep.com",
                parts(true, "api.lightstep.com", 443, ""),
            ),
            (
                "http://127.0.0.1:4318/",
                parts(false, "127.0.0.1", 4318, "/"),
            ),
            ("https://[::1]:8443/a/b", parts(true, "::1", 8443, "/a/b")),
            ("https://[::1]", parts(true, "::1", 443, "")),
            ("ftp://a", scheme()),
            ("a.example", scheme()),
            ("HTTPS://a", scheme()),
            ("https://", host()),
            ("https:///path", host()),
            ("https://a:0", host()),
            ("https://a:65536", host()),
            ("https://a:", host()),
            ("https://a:1:2", host()),
            ("https://a..b", host()),
            ("https://-a", host()),
            ("https://1.2.3", host()),
            ("https://0x7f.1", host()),
            ("https://[::1", host()),
            ("https://[::1]x", host()),
            ("https://a_b", parts(true, "a_b", 443, "")),
            ("https://a?b", Err("must not have a query (`?…`)")),
            ("https://a/#b", Err("must not have a fragment (`#…`)")),
            ("https://u:p@a", Err("must not hold a user or password")),
            (
                "https://a/ b",
                Err("must be printable ASCII without spaces"),
            ),
            ("https://é", Err("must be printable ASCII without spaces")),
        ] {
            assert_eq!(HttpUrl::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_query_is_left_out_where_it_is_allowed() {
        let parts = |path: &str| {
            Ok(HttpUrl {
                tls: true,
                host: "a".into(),
                port: 443,
                path: path.into(),
            })
        };
        for (text, expected) in [
            ("https://a/keys?p=b2c", parts("/keys")),
            ("https://a?x=/y@z", parts("")),
            ("https://a/keys", parts("/keys")),
            ("https://a/?x#y", Err("must not have a fragment (`#…`)")),
            ("https://u@a/?x", Err("must not hold a user or password")),
            (
                "https://?x",
                Err("needs a host, and if need be a port from 1 to 65535"),
            ),
        ] {
            assert_eq!(HttpUrl::parse_with_query(text), expected, "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (text, expected) in [
            ("http://localhost", true),
            ("http://127.8.9.1:1", true),
            ("http://[::1]", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
            ("http://0.0.0.0", false),
            ("http://[::]", false),
        ] {
            assert_eq!(
                HttpUrl::parse(text).unwrap().is_loopback(),
                expected,
                "{text}"
            );
        }
    }
}
