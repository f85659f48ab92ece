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
        // More lines than a map can hold are as many as no listener allows.
        parts.headers.try_append(name, value).ok()?;
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
mod tests;
