//! The head of a backend's answer over HTTP/1.1.
//!
//! What it does: parses status, headers and the body's framing, and finds what a head still says that is not as it must
//! be. What it refuses to know: connections, bodies. Invariant: framing that leaves the end of the body in doubt is refused
//! (RFC 9112 section 6.3).

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::forward::SendFault;

/// The most lines in a head.
const HEAD_LINES: usize = 100;

/// Where an answer's body ends.
pub(super) enum AnswerFraming {
    Length(u64),
    Chunked,
    UntilEnd,
}

/// An answer's head, and what it says of the connection.
pub(super) struct AnswerHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub framing: AnswerFraming,
    pub(crate) keeps_alive: bool,
    pub length: usize,
}

/// Parses a whole head; `None` while it is not whole.
pub(super) fn parse_head(bytes: &[u8]) -> Result<Option<AnswerHead>, SendFault> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut lines = [httparse::EMPTY_HEADER; HEAD_LINES];
    let mut parsed = httparse::Response::new(&mut lines);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(SendFault::Undecodable),
    };
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(SendFault::Undecodable)?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for line in parsed.headers.iter() {
        let name =
            HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| SendFault::Undecodable)?;
        headers.append(
            name,
            HeaderValue::from_bytes(line.value).map_err(|_| SendFault::Undecodable)?,
        );
    }
    let is = |name: HeaderName, word: &str| {
        headers.get_all(name).iter().any(|value| {
            value.to_str().is_ok_and(|text| {
                text.split(',')
                    .any(|part| part.trim().eq_ignore_ascii_case(word))
            })
        })
    };
    let framing = if status.is_informational() || matches!(status.as_u16(), 204 | 304) {
        AnswerFraming::Length(0)
    } else if headers.contains_key(http::header::TRANSFER_ENCODING) {
        // Both forms, or another coding, leave the end in doubt (RFC 9112 section 6.3).
        let mut codings = headers.get_all(http::header::TRANSFER_ENCODING).iter();
        let plain = codings
            .next()
            .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
            && codings.next().is_none()
            && !headers.contains_key(http::header::CONTENT_LENGTH);
        if !plain {
            return Err(SendFault::Undecodable);
        }
        AnswerFraming::Chunked
    } else {
        let mut lengths = headers.get_all(http::header::CONTENT_LENGTH).iter();
        match (lengths.next(), lengths.next()) {
            (None, _) => AnswerFraming::UntilEnd,
            (Some(length), None) => {
                AnswerFraming::Length(content_length(length).ok_or(SendFault::Undecodable)?)
            }
            (Some(_), Some(_)) => return Err(SendFault::Undecodable),
        }
    };
    let keeps_alive = parsed.version == Some(1) && !is(http::header::CONNECTION, "close");
    Ok(Some(AnswerHead {
        status,
        headers,
        framing,
        keeps_alive,
        length,
    }))
}

/// The status of a head that `parse_head` refuses, if its first line can be read as a success; `None`: that line is not
/// whole yet.
pub(super) fn success_line(bytes: &[u8]) -> Option<Option<StatusCode>> {
    const PROTOCOL: &[u8] = b"HTTP/";
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        let may_become = bytes
            .iter()
            .zip(PROTOCOL)
            .all(|(byte, expected)| byte == expected);
        return if may_become { None } else { Some(None) };
    };
    let mut words = bytes
        .get(..end)
        .unwrap_or_default()
        .trim_ascii_end()
        .split(|byte| *byte == b' ');
    let version = words
        .next()
        .and_then(|word| word.strip_prefix(PROTOCOL))
        .unwrap_or_default();
    let is_version = !version.is_empty()
        && version
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let status = words
        .next()
        .and_then(|word| StatusCode::from_bytes(word).ok());
    Some(status.filter(|status| is_version && status.is_success()))
}

/// Whether an empty line has come.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    [&b"\n\r\n"[..], b"\n\n"]
        .iter()
        .any(|end| memchr::memmem::find(bytes, end).is_some())
}

/// What a head that `parse_head` refuses says of the body's media type.
pub(super) fn content_types(bytes: &[u8]) -> HeaderMap {
    const LINES: usize = 8;
    let lines = bytes
        .split(|byte| *byte == b'\n')
        .skip(1)
        .map(<[u8]>::trim_ascii_end);
    let fields = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            let value = HeaderValue::from_bytes(value.get(1..)?.trim_ascii()).ok()?;
            name.eq_ignore_ascii_case(b"content-type")
                .then_some((http::header::CONTENT_TYPE, value))
        });
    let mut found = HeaderMap::new();
    for (name, value) in fields.take(LINES) {
        found.append(name, value);
    }
    found
}

/// Digits only (RFC 9110 section 8.6); the standard library's parser would take a sign.
fn content_length(value: &HeaderValue) -> Option<u64> {
    let text = value
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}
