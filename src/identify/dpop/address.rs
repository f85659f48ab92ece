//! Whether `htu` means the address that was asked (RFC 9449 section 4.3, point 9).
//!
//! What it does: compares two `http` URLs after the syntax- and scheme-based normalisation of RFC 3986 sections 6.2.2 and
//! 6.2.3, without their queries and fragments. What it refuses to know: which address is ours. Invariants: what is no such
//! URL is like nothing; an encoded `/` stays one, and no two paths that the gateway tells apart become one.

use std::fmt::Write as _;

/// The longest address that is looked at, in bytes. A path cannot be longer than the whole head.
const ADDRESS_LIMIT_BYTES: usize = 8 << 10;

/// Whether both mean the same.
pub(super) fn is_same(claimed: &str, asked: &str) -> bool {
    match (normal(claimed), normal(asked)) {
        (Some(claimed), Some(asked)) => claimed == asked,
        _ => false,
    }
}

/// The one spelling of an address.
fn normal(text: &str) -> Option<String> {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_visible || text.len() > ADDRESS_LIMIT_BYTES {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => "443",
        "http" => "80",
        _ => return None,
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(at)?;
    let (host, port) = host_and_port(authority)?;
    let mut whole = format!("{scheme}://{}", host.to_ascii_lowercase());
    if !port.is_empty() && port != default_port {
        write!(whole, ":{port}").ok()?;
    }
    whole.push_str(&without_dots(&unescaped(path)?));
    Some(whole)
}

/// The host, an IPv6 address with its brackets, and the digits behind it.
fn host_and_port(authority: &str) -> Option<(&str, &str)> {
    let split = match authority.strip_prefix('[') {
        Some(_) => authority.find(']').map(|at| at + 1)?,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(split)?;
    let port = match port.strip_prefix(':') {
        Some(port) => port,
        None if port.is_empty() => "",
        None => return None,
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:".contains(&byte);
    let is_good = !host.is_empty()
        && host.bytes().all(is_host)
        && port.len() <= 5
        && port.bytes().all(|byte| byte.is_ascii_digit());
    is_good.then_some((host, port.trim_start_matches('0')))
}

/// Unreserved characters as they are, all others that were escaped with capital digits (RFC 3986 sections 6.2.2.1 and
/// 6.2.2.2).
fn unescaped(path: &str) -> Option<String> {
    let mut plain = String::with_capacity(path.len());
    let mut parts = path.split('%');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            plain.push(char::from(byte));
        } else {
            write!(plain, "%{byte:02X}").ok()?;
        }
        plain.push_str(rest);
    }
    Some(plain)
}

/// A path without `.` and `..` (RFC 3986 sections 5.2.4 and 6.2.2.3); an empty one is `/` (section 6.2.3).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "https://gateway.example/apps/shop/-/v1/traces";

    /// Scenario: the pairs of `addresses.txt`. Guarantees: each is the same or not, as it says, in both directions; the one
    /// spelling of an address is its own.
    #[test]
    fn the_pairs_of_the_table_are_the_same_or_not() {
        let rows = include_str!("addresses.txt").lines();
        let rows = rows.filter(|row| !row.is_empty() && !row.starts_with('#'));
        let mut count = 0;
        for row in rows {
            let words: Vec<&str> = row.split(' ').collect();
            let [expected, one, other] = words[..] else {
                panic!("three words are wanted: {row}");
            };
            assert!(matches!(expected, "=" | "!"), "{row}");
            assert_eq!(is_same(one, other), expected == "=", "{row}");
            assert_eq!(is_same(other, one), expected == "=", "{row}");
            for plain in [one, other].into_iter().filter_map(normal) {
                assert_eq!(normal(&plain).as_ref(), Some(&plain), "{row}");
            }
            count += 1;
        }
        assert!(count > 60);
    }

    /// Scenario: addresses that proofs claim for a call. Guarantees: spellings that RFC 3986 calls equivalent are one address;
    /// every other difference counts, and what is no address is like nothing.
    #[test]
    fn equivalent_spellings_are_one_address() {
        let rows = [
            (ASKED, ASKED, true),
            ("HTTPS://gateway.example/apps/shop/-/v1/traces", ASKED, true),
            ("https://GATEWAY.Example/apps/shop/-/v1/traces", ASKED, true),
            (
                "https://gateway.example:443/apps/shop/-/v1/traces",
                ASKED,
                true,
            ),
            (
                "https://gateway.example:/apps/shop/-/v1/traces",
                ASKED,
                true,
            ),
            (
                "https://gateway.example:0443/apps/shop/-/v1/traces",
                ASKED,
                true,
            ),
            (
                "https://gateway.example/apps/shop/-/v1/traces?a=b",
                ASKED,
                true,
            ),
            (
                "https://gateway.example/apps/shop/-/v1/traces#part",
                ASKED,
                true,
            ),
            (
                "https://gateway.example/apps/./shop/-/v1/traces",
                ASKED,
                true,
            ),
            (
                "https://gateway.example/apps/other/../shop/-/v1/traces",
                ASKED,
                true,
            ),
            (
                "https://gateway.example/../apps/shop/-/v1/traces",
                ASKED,
                true,
            ),
            (
                "https://gateway.example/%61pps/shop/%2D/v1/traces",
                ASKED,
                true,
            ),
            (
                "https://gateway.example/apps/shop/-/v1/traces/",
                ASKED,
                false,
            ),
            (
                "https://gateway.example/apps/shop/-/v1//traces",
                ASKED,
                false,
            ),
            (
                "https://gateway.example/apps/shop/-/v1/Traces",
                ASKED,
                false,
            ),
            (
                "https://gateway.example/apps/shop/-/v1/traces/..",
                ASKED,
                false,
            ),
            (
                "https://gateway.example/apps/shop/-/v1%2Ftraces",
                ASKED,
                false,
            ),
            (
                "https://gateway.example/apps/shop/-/v1/metrics",
                ASKED,
                false,
            ),
            (
                "https://gateway.example.evil/apps/shop/-/v1/traces",
                ASKED,
                false,
            ),
            ("https://other.example/apps/shop/-/v1/traces", ASKED, false),
            (
                "https://gateway.example:8443/apps/shop/-/v1/traces",
                ASKED,
                false,
            ),
            (
                "https://gateway.example:80/apps/shop/-/v1/traces",
                ASKED,
                false,
            ),
            ("http://gateway.example/apps/shop/-/v1/traces", ASKED, false),
            (
                "https://user@gateway.example/apps/shop/-/v1/traces",
                ASKED,
                false,
            ),
            (
                "https://gateway.example\\@evil/apps/shop/-/v1/traces",
                ASKED,
                false,
            ),
            ("https:/gateway.example/apps/shop/-/v1/traces", ASKED, false),
            ("//gateway.example/apps/shop/-/v1/traces", ASKED, false),
            ("/apps/shop/-/v1/traces", ASKED, false),
            ("ftp://gateway.example/apps/shop/-/v1/traces", ASKED, false),
            (
                "https://gateway.example/apps/shop/-/v1/traces ",
                ASKED,
                false,
            ),
            (
                "https://gateway.example/apps/shop/-/v1/traces%",
                ASKED,
                false,
            ),
            (
                "https://gateway.example/apps/shop/-/v1/traces%2",
                ASKED,
                false,
            ),
            (
                "https://gateway.example/apps/shop/-/v1/traces%+1",
                ASKED,
                false,
            ),
            ("https:///apps/shop/-/v1/traces", ASKED, false),
            ("", "", false),
            ("https://gateway.example", "https://gateway.example/", true),
            (
                "https://gateway.example?a",
                "https://gateway.example/",
                true,
            ),
            (
                "https://gateway.example/a/.",
                "https://gateway.example/a/",
                true,
            ),
            (
                "https://gateway.example/a/b/..",
                "https://gateway.example/a/",
                true,
            ),
            (
                "http://gateway.example:80/",
                "http://gateway.example/",
                true,
            ),
            (
                "http://gateway.example:443/",
                "http://gateway.example/",
                false,
            ),
            (
                "https://[2001:DB8::1]:443/a",
                "https://[2001:db8::1]/a",
                true,
            ),
            ("https://[2001:db8::2]/a", "https://[2001:db8::1]/a", false),
            ("https://[2001:db8::1/a", "https://[2001:db8::1]/a", false),
            (
                "https://[2001:db8::1]443/a",
                "https://[2001:db8::1]/a",
                false,
            ),
            (
                "https://gateway.example:99999999/a",
                "https://gateway.example:99999999/a",
                false,
            ),
            (
                "https://g\u{e4}teway.example/a",
                "https://g\u{e4}teway.example/a",
                false,
            ),
            (
                "https://gateway.example/a%2fb",
                "https://gateway.example/a%2Fb",
                true,
            ),
            (
                "https://gateway.example/a%2fb",
                "https://gateway.example/a/b",
                false,
            ),
            (
                "https://gateway.example/%7Euser",
                "https://gateway.example/~user",
                true,
            ),
            (
                "https://gateway.example/a%20b",
                "https://gateway.example/a+b",
                false,
            ),
            (
                "https://gateway.example/%C3%A9",
                "https://gateway.example/%c3%a9",
                true,
            ),
            (
                "https://gateway.example/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                "https://gateway.example/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                true,
            ),
        ];
        for (claimed, asked, expected) in rows {
            assert_eq!(is_same(claimed, asked), expected, "{claimed} {asked}");
            assert_eq!(is_same(asked, claimed), expected, "{asked} {claimed}");
        }
    }
}
