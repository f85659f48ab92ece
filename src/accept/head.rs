//! The strict look at a raw HTTP/1 head, and its parts.
//!
//! What it does: finds the head's end, refuses everything that RFC 9112 leaves to interpretation, and
//! says how the body is framed. What it refuses to know: what the request is for.
//! Invariants: bytes that pass here are parsed the same way by every HTTP/1 parser; nothing is repaired.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri, request};

use super::Fault;

/// How the bytes after the head are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// Exactly this many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Limits of one head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    pub bytes: usize,
    pub lines: usize,
}

/// The longest path with its query; no operation's comes near it, and the parser of URIs ends at 64 KiB.
const TARGET_LIMIT_BYTES: usize = 32 * 1024;

/// The longest name of a field that the crate `http` takes.
const NAME_LIMIT_BYTES: usize = 65_535;

/// Lines of a usual head: its map grows once.
const USUAL_LINES: usize = 16;

/// Where the head ends (index after the empty line), if it is complete. `searched` bytes were searched
/// before, so that a dripping head costs linear time.
pub(crate) fn find_end(buffer: &[u8], searched: usize) -> Option<usize> {
    let start = searched.saturating_sub(3);
    // A bare LF before the empty line, or as its end, would end the head for a lenient parser: it is handed over, too, to be
    // refused.
    memchr::memchr_iter(b'\n', buffer.get(start..)?).find_map(|at| {
        let end = start + at + 1;
        match buffer.get(end..)? {
            [b'\n', ..] => Some(end + 1),
            [b'\r', b'\n', ..] => Some(end + 2),
            _ => None,
        }
    })
}

/// Judges a complete head, `head` being everything up to and including the empty line.
pub fn inspect(head: &[u8], limits: HeadLimits) -> Result<Framing, Fault> {
    if head.len() > limits.bytes {
        return Err(Fault::HeadTooLarge);
    }
    let body = head.strip_suffix(b"\r\n\r\n").ok_or(Fault::HeaderLine)?;
    let mut lines = HeadLines { rest: Some(body) };
    request_line(lines.next().ok_or(Fault::RequestLine)??)?;
    let (mut hosts, mut lengths, mut encodings, mut count) = (0_usize, None, 0_usize, 0_usize);
    for line in lines {
        let line = line?;
        count += 1;
        if count > limits.lines {
            return Err(Fault::HeadTooLarge);
        }
        let (name, value) = header_line(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
            if !is_host(value) {
                return Err(Fault::Host);
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            // Even equal values are refused: RFC 9110 section 8.6 leaves the choice, we take the strict one.
            if lengths.replace(content_length(value)?).is_some() {
                return Err(Fault::Framing);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Framing);
            }
        }
    }
    if hosts != 1 {
        return Err(Fault::Host);
    }
    match (lengths, encodings) {
        (None, 0) | (Some(0), 0) => Ok(Framing::None),
        (Some(length), 0) => Ok(Framing::Length(length)),
        (None, 1) => Ok(Framing::Chunked),
        _ => Err(Fault::Framing),
    }
}

/// The parts of a judged head, which borrow its bytes. `None`: it was not judged.
pub fn parts(head: &Bytes) -> Option<request::Parts> {
    let mut parts = request::Request::new(()).into_parts().0;
    let body = head.strip_suffix(b"\r\n\r\n")?;
    let mut lines = HeadLines { rest: Some(body) };
    let (method, rest) = split_once(lines.next()?.ok()?, b' ')?;
    let (target, _) = split_once(rest, b' ')?;
    parts.method = Method::from_bytes(method).ok()?;
    parts.uri = Uri::from_maybe_shared(head.slice_ref(target)).ok()?;
    parts.headers.reserve(USUAL_LINES);
    for line in lines {
        let (name, value) = split_once(line.ok()?, b':')?;
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value.trim_ascii())).ok()?;
        parts.headers.append(name, value);
    }
    Some(parts)
}

/// The method and path of a raw head as far as they can be read, for the record of a refusal; empty if not.
/// What is not plainly the one or the other may be a credential out of place, and is left out.
pub(crate) fn glimpse(head: &[u8]) -> (&str, &str) {
    let line = head
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let mut words = line
        .split(|byte| *byte == b' ')
        .map(|word| std::str::from_utf8(word).unwrap_or_default());
    let method = words.next().unwrap_or_default();
    if method.is_empty()
        || method.len() > 16
        || !method
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    {
        return ("", "");
    }
    let target = words.next().unwrap_or_default();
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let is_plain =
        path.starts_with('/') || path == "*" || (path.contains("://") && !path.contains('@'));
    (method, if is_plain { path } else { "" })
}

/// The value of the first header called `name`, for choosing the dialect of a refusal.
pub(crate) fn glimpse_header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (found, value) = split_once(line, b':')?;
        found
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value.trim_ascii())
    })
}

/// Lines ended by CRLF; a bare CR or LF within is a fault.
struct HeadLines<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for HeadLines<'a> {
    type Item = Result<&'a [u8], Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        let line = match memchr::memchr2(b'\r', b'\n', rest) {
            None => {
                self.rest = None;
                return Some(Ok(rest));
            }
            Some(at) => at,
        };
        let (head, tail) = rest.split_at_checked(line)?;
        match tail.strip_prefix(b"\r\n") {
            Some(tail) => {
                self.rest = Some(tail);
                Some(Ok(head))
            }
            None => {
                self.rest = None;
                Some(Err(Fault::HeaderLine))
            }
        }
    }
}

/// `METHOD SP target SP HTTP/1.1`. HTTP/1.0 has other rules for where a body and a connection end:
/// a proxy that speaks it is told so.
fn request_line(line: &[u8]) -> Result<(), Fault> {
    let (method, rest) = split_once(line, b' ').ok_or(Fault::RequestLine)?;
    let (target, version) = split_once(rest, b' ').ok_or(Fault::RequestLine)?;
    match version {
        b"HTTP/1.1" => {}
        b"HTTP/1.0" => return Err(Fault::Version),
        _ => return Err(Fault::RequestLine),
    }
    if !super::is_known_method(method) {
        return Err(Fault::Method);
    }
    if target.first() != Some(&b'/') || !target.iter().all(|byte| is_target_byte(*byte)) {
        return Err(Fault::Target);
    }
    if target.len() > TARGET_LIMIT_BYTES {
        return Err(Fault::HeadTooLarge);
    }
    Ok(())
}

/// The bytes of RFC 3986's path and query in origin form; `#` and everything unprintable is out.
fn is_target_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'%' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\''
        | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'?')
}

fn header_line(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    // A line that begins with a blank is obs-fold (RFC 9112 section 5.2).
    let (name, value) = split_once(line, b':').ok_or(Fault::HeaderLine)?;
    if name.is_empty()
        || name.len() > NAME_LIMIT_BYTES
        || !name.iter().all(|byte| super::is_header_name_byte(*byte))
    {
        return Err(Fault::HeaderLine);
    }
    if !super::is_header_value(value) {
        return Err(Fault::HeaderLine);
    }
    Ok((name, value.trim_ascii()))
}

fn content_length(value: &[u8]) -> Result<u64, Fault> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Framing);
    }
    Ok(value
        .iter()
        .fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// A registered name or address with an optional port (RFC 3986 section 3.2); no user information, no
/// percent-encoding.
pub(super) fn is_host(value: &[u8]) -> bool {
    let Some(text) = std::str::from_utf8(value)
        .ok()
        .filter(|text| text.len() <= 255)
    else {
        return false;
    };
    let (is_name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address.parse::<std::net::Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let end = memchr::memchr(b':', value).unwrap_or(text.len());
            let (name, port) = text.split_at(end);
            (is_host_name(name.strip_suffix('.').unwrap_or(name)), port)
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse().is_ok_and(|port: u16| port > 0)
        }
        None => port.is_empty(),
    };
    is_name && is_port
}

/// Labels with dots between, none of which is empty or begins with a `-`.
fn is_host_name(name: &str) -> bool {
    let mut begins = true;
    for byte in name.bytes() {
        begins = match byte {
            b'.' if !begins => true,
            b'-' if !begins => false,
            b'_' => false,
            _ if byte.is_ascii_alphanumeric() => false,
            _ => return false,
        };
    }
    !begins
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = memchr::memchr(at, bytes)?;
    let (head, tail) = bytes.split_at_checked(index)?;
    Some((head, tail.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 4096,
        lines: 20,
    };

    /// Scenario: raw heads, good and bad. Guarantees: only unambiguous ones pass, with their framing.
    #[test]
    fn heads_are_judged_strictly() {
        let cases: &[(&str, Result<Framing, Fault>)] = &[
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(Framing::None)),
            (
                "POST /v1/traces HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\n",
                Ok(Framing::Length(5)),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 123456789012345678\r\n\r\n",
                Ok(Framing::Length(123_456_789_012_345_678)),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                Ok(Framing::None),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                Ok(Framing::Chunked),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
                Ok(Framing::Chunked),
            ),
            ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", Err(Fault::Version)),
            // hosts
            ("GET / HTTP/1.1\r\n\r\n", Err(Fault::Host)),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
                Err(Fault::Host),
            ),
            ("GET / HTTP/1.1\r\nHost: \r\n\r\n", Err(Fault::Host)),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", Err(Fault::Host)),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Err(Fault::Host)),
            // targets
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
            (
                "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
                Err(Fault::Target),
            ),
            (
                "GET evil:443 HTTP/1.1\r\nHost: a\r\n\r\n",
                Err(Fault::Target),
            ),
            (
                "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
                Err(Fault::RequestLine),
            ),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
            ("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
            ("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
            ("GET /é HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
            ("GET /\"<> HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
            (
                "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
                Err(Fault::RequestLine),
            ),
            (
                "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
                Err(Fault::RequestLine),
            ),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Err(Fault::RequestLine)),
            ("GET /\r\nHost: a\r\n\r\n", Err(Fault::RequestLine)),
            // methods
            ("get / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Method)),
            ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Method)),
            (
                "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
                Err(Fault::Method),
            ),
            ("PRI / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Method)),
            // header lines
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Err(Fault::HeaderLine)),
            (
                "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
                Err(Fault::HeaderLine),
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\n\tfolded: x\r\n\r\n",
                Err(Fault::HeaderLine),
            ),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Err(Fault::HeaderLine)),
            ("GET / HTTP/1.1\r\nHost: a\n\n", Err(Fault::HeaderLine)),
            (
                "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
                Err(Fault::HeaderLine),
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
                Err(Fault::HeaderLine),
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
                Err(Fault::HeaderLine),
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
                Err(Fault::HeaderLine),
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nlightstep_access_token: x\r\n\r\n",
                Err(Fault::HeaderLine),
            ),
            // framing
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1234567890123456789\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(Fault::Version),
            ),
        ];
        for (head, expected) in cases {
            assert_eq!(&inspect(head.as_bytes(), LIMITS), expected, "{head:?}");
        }
    }

    /// Scenario: a name at and above the longest one. Guarantees: what is judged to be good is taken apart.
    #[test]
    fn names_have_an_end() {
        let limits = HeadLimits {
            bytes: 1 << 20,
            lines: 20,
        };
        for (length, expected) in [
            (NAME_LIMIT_BYTES, Ok(Framing::None)),
            (NAME_LIMIT_BYTES + 1, Err(Fault::HeaderLine)),
        ] {
            let name = "n".repeat(length);
            let head = Bytes::from(format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: y\r\n\r\n"));
            assert_eq!(inspect(&head, limits), expected, "{length}");
            assert_eq!(parts(&head).is_some(), expected.is_ok(), "{length}");
        }
    }

    /// Scenario: judged heads. Guarantees: names, values and target come out as they stand in the bytes, in their order.
    #[test]
    fn judged_heads_are_taken_apart() {
        let head = Bytes::from_static(
            b"POST /a%20b?c=d HTTP/1.1\r\nHost: a:80\r\nX-One:1\r\nx-one: \t2\xff \r\nEmpty:\r\n\r\n",
        );
        assert_eq!(inspect(&head, LIMITS), Ok(Framing::None));
        let parts = parts(&head).unwrap();
        assert_eq!(
            (parts.method.as_str(), parts.uri.to_string()),
            ("POST", "/a%20b?c=d".to_owned())
        );
        assert_eq!(parts.version, http::Version::HTTP_11);
        let fields: Vec<_> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let expected: [(&str, &[u8]); 4] = [
            ("host", b"a:80"),
            ("x-one", b"1"),
            ("x-one", b"2\xff"),
            ("empty", b""),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for good in [
            "a",
            "a.b",
            "a.b.",
            "a:80",
            "gw_1:4318",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:65535",
            "x--y.z",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ".", "a:", "a:0", "a:65536", "a:x", "a:+1", "a:1:1", ":1", "::1", "[a]", "[::1",
            "[::1]1", "a..b", "-a", "a.-b", "a%41", "a b",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
        let (longest, longer) = ("a".repeat(255), "a".repeat(256));
        assert!(is_host(longest.as_bytes()) && !is_host(longer.as_bytes()));
    }

    #[test]
    fn a_glimpse_shows_no_credential() {
        for (head, expected) in [
            ("GET /a?token=x HTTP/1.1\r\n", ("GET", "/a")),
            ("GET /a#token=x HTTP/1.1\r\n", ("GET", "/a")),
            ("OPTIONS * HTTP/1.1\r\n", ("OPTIONS", "*")),
            ("GET http://a/b HTTP/1.1\r\n", ("GET", "http://a/b")),
            ("GET http://user:secret@a/b HTTP/1.1\r\n", ("GET", "")),
            ("Authorization: secret\r\n", ("", "")),
            ("Bearer secret\r\n", ("", "")),
            ("PUT secret\r\n", ("PUT", "")),
            ("ABCDEFGHIJKLMNO- /a\r\n", ("ABCDEFGHIJKLMNO-", "/a")),
            ("ABCDEFGHIJKLMNOPQ /a\r\n", ("", "")),
            ("ABCDEFGHIJKLMNOPQR /a\r\n", ("", "")),
            (" /a\r\n", ("", "")),
            ("", ("", "")),
        ] {
            assert_eq!(glimpse(head.as_bytes()), expected, "{head:?}");
        }
    }

    /// Guarantees: the first header of a name in any case, without the blanks around its value; never the request line.
    #[test]
    fn a_glimpse_finds_the_first_header_of_a_name() {
        let head = b"POST content-type: x HTTP/1.1\r\nno colon\r\nContent-Type:\t application/grpc \r\ncontent-type: b\r\n\r\n";
        assert_eq!(
            glimpse_header(head, "content-type"),
            Some(&b"application/grpc"[..])
        );
        assert_eq!(glimpse_header(head, "accept"), None);
        assert_eq!(glimpse_header(b"", "accept"), None);
    }

    /// Guarantees: a head at each bound passes, and one beyond it by one does not.
    #[test]
    fn a_head_has_bounds() {
        let too_large = Err(Fault::HeadTooLarge);
        let lines = |count: usize| {
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "X: y\r\n".repeat(count - 1)
            )
        };
        assert!(inspect(lines(LIMITS.lines).as_bytes(), LIMITS).is_ok());
        assert_eq!(
            inspect(lines(LIMITS.lines + 1).as_bytes(), LIMITS),
            too_large
        );
        assert_eq!(
            inspect(lines(LIMITS.lines + 2).as_bytes(), LIMITS),
            too_large
        );
        let long = |bytes: usize| {
            let head = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
            head.replace("X: ", &format!("X: {}", "y".repeat(bytes - head.len())))
        };
        assert!(inspect(long(LIMITS.bytes).as_bytes(), LIMITS).is_ok());
        assert_eq!(
            inspect(long(LIMITS.bytes + 1).as_bytes(), LIMITS),
            too_large
        );
        let wide = HeadLimits {
            bytes: 1 << 20,
            ..LIMITS
        };
        let to =
            |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "p".repeat(bytes - 1));
        assert!(inspect(to(TARGET_LIMIT_BYTES).as_bytes(), wide).is_ok());
        assert!(inspect(to(TARGET_LIMIT_BYTES + 1).as_bytes(), wide).is_err());
        assert_eq!(TARGET_LIMIT_BYTES, 32_768);
    }

    #[test]
    fn the_end_is_found_wherever_reads_break() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
        for searched in 0..=26 {
            assert_eq!(find_end(head, searched), Some(27), "{searched}");
        }
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nHost: a\r\n", 0), None);
        assert_eq!(find_end(b"GET / HTTP/1.1\nHost: a\n\n", 0), Some(24));
        assert_eq!(find_end(b"GET / HTTP/1.1\nHost: a\n\r\n", 0), Some(25));
    }

    proptest::proptest! {
        /// Scenario: arbitrary bytes. Guarantees: no panic, and whatever passes has one CRLF discipline.
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
            let _ = inspect(&bytes, LIMITS);
            let _ = glimpse(&bytes);
            let _ = glimpse_header(&bytes, "content-type");
            let _ = find_end(&bytes, 7);
        }
    }
}
