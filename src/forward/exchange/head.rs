//! The head of a backend's answer over HTTP/1.1.
//!
//! What it does: parses status, headers and the body's framing. What it refuses to know: connections, bodies. Invariant:
//! framing that leaves the end of the body in doubt is refused (RFC 9112 section 6.3).

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
    pub keeps_alive: bool,
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
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(SendFault::Undecodable)?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| SendFault::Undecodable)?;
        headers.append(name, HeaderValue::from_bytes(line.value).map_err(|_| SendFault::Undecodable)?);
    }
    let is = |name: HeaderName, word: &str| {
        headers.get_all(name).iter().any(|value| {
            value.to_str().is_ok_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
        })
    };
    let framing = if status.is_informational() || matches!(status.as_u16(), 204 | 304) {
        AnswerFraming::Length(0)
    } else if headers.contains_key(http::header::TRANSFER_ENCODING) {
        // Both forms, or another coding, leave the end in doubt (RFC 9112 section 6.3).
        let mut codings = headers.get_all(http::header::TRANSFER_ENCODING).iter();
        let plain = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
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
            (Some(length), None) => AnswerFraming::Length(content_length(length).ok_or(SendFault::Undecodable)?),
            (Some(_), Some(_)) => return Err(SendFault::Undecodable),
        }
    };
    let keeps_alive = parsed.version == Some(1) && !is(http::header::CONNECTION, "close");
    Ok(Some(AnswerHead { status, headers, framing, keeps_alive, length }))
}

/// Digits only (RFC 9110 section 8.6); the standard library's parser would take a sign.
fn content_length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}
