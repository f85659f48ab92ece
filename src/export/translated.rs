//! The backend's answer in the caller's own form, where the backend was asked in another.
//!
//! What it does: writes a success, a refusal and a wish to be left alone as the caller's protocol and encoding have them (OTLP specification,
//! "OTLP/gRPC Response", "OTLP/HTTP Response"; `google.rpc.Code`). What it refuses to know: what an answer means for the export; that was judged
//! before, in the backend's own form. Invariants: what may be tried again in one form may be in the other, and what is final is final; of the
//! backend's words a bounded number are passed on, as `google.rpc.Status` has them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::format::WireFormat;
use super::send::Said;
use crate::accept::Protocol;
use crate::forward::{Answer, GrpcAnswer, grpc_code, retry_after, retry_after_told};
use crate::media_type::{self, MediaType};
use crate::otlp::{self, Encoding, PartialSuccess};
use crate::percent;

/// Of the backend's words.
const WORDS_LIMIT_BYTES: usize = 1024;
/// Where it said none.
const NO_WORDS: &str = "the backend refused the export";

/// The answer to a caller in `format`. `taken`: what a success says, if it is one.
pub(crate) fn translated(
    format: WireFormat,
    said: &Said,
    taken: Option<Option<&PartialSuccess>>,
) -> Said {
    match taken {
        Some(partial) => success(format, partial),
        None => refusal(format, &AnswerTold::of(said)),
    }
}

/// Whether an exporter comes again after this answer (OTLP specification, "Failures").
pub(crate) fn may_come_again(said: &Said) -> bool {
    match said {
        Said::Http(answer) => matches!(answer.status.as_u16(), 429 | 502..=504),
        Said::Grpc(answer) => match grpc_code(answer) {
            Some(1 | 4 | 10 | 11 | 14 | 15) => true,
            Some(8) => wait_of(answer.trailers.as_ref().unwrap_or(&answer.headers)).is_some(),
            _ => false,
        },
    }
}

fn success(format: WireFormat, partial: Option<&PartialSuccess>) -> Said {
    match format.protocol {
        Protocol::Http => {
            let body = otlp::write_answer(format.signal, format.encoding, partial);
            Said::Http(http(StatusCode::OK, format.encoding, body))
        }
        Protocol::Grpc => {
            let message = otlp::write_answer(format.signal, Encoding::Protobuf, partial);
            let status = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
            Said::Grpc(GrpcAnswer {
                status: StatusCode::OK,
                headers: grpc_head(),
                body: otlp::frame(false, vec![message.into()]).concat().into(),
                trailers: Some(status),
            })
        }
    }
}

const GRPC_STATUS: http::HeaderName = http::HeaderName::from_static("grpc-status");

fn http(status: StatusCode, encoding: Encoding, body: Vec<u8>) -> Answer {
    let kind = HeaderValue::from_static(encoding.media_type());
    Answer {
        status,
        headers: HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]),
        body: body.into(),
    }
}

fn grpc_head() -> HeaderMap {
    let kind = HeaderValue::from_static(media_type::GRPC);
    HeaderMap::from_iter([(header::CONTENT_TYPE, kind)])
}

/// What the backend said, in no form.
struct AnswerTold<'a> {
    status: StatusCode,
    code: u8,
    words: Cow<'a, str>,
    /// When it wants to be asked again.
    wait: Option<HeaderValue>,
    /// What of its head is passed on over HTTP.
    head: Option<&'a HeaderMap>,
}

impl<'a> AnswerTold<'a> {
    fn of(said: &'a Said) -> Self {
        match said {
            Said::Http(answer) => {
                let status = answer.status;
                let wait = match status.as_u16() {
                    429 => Some(HeaderValue::from(retry_after(&answer.headers))),
                    502..=504 => retry_after_told(&answer.headers),
                    // What is final stays so: over gRPC a time to come again says that it is not.
                    _ => None,
                };
                AnswerTold {
                    status,
                    code: code_of(status.as_u16()),
                    words: words_of(answer),
                    wait,
                    head: Some(&answer.headers),
                }
            }
            Said::Grpc(answer) => {
                let told = answer.trailers.as_ref().unwrap_or(&answer.headers);
                let wait = wait_of(told);
                let (status, code) = match (answer.status.as_u16(), grpc_code(answer)) {
                    (200, Some(code)) => (status_of(code, wait.is_some()), code.min(16) as u8),
                    // A proxy before the backend.
                    (status, _) => (answer.status, code_of(status)),
                };
                let words = told
                    .get("grpc-message")
                    .and_then(|words| words.to_str().ok())
                    .map_or(NO_WORDS.into(), |words| {
                        bounded(&percent::decode_lossy(words)).to_owned().into()
                    });
                AnswerTold {
                    status,
                    code,
                    words,
                    wait: wait.map(HeaderValue::from),
                    head: None,
                }
            }
        }
    }
}

fn refusal(format: WireFormat, told: &AnswerTold<'_>) -> Said {
    let words = if told.words.is_empty() {
        NO_WORDS
    } else {
        &told.words
    };
    match format.protocol {
        Protocol::Http => {
            let body = otlp::status_body(format.encoding, told.code, words);
            let mut answer = http(told.status, format.encoding, body);
            if let Some(head) = told.head {
                let own = std::mem::replace(&mut answer.headers, head.clone());
                answer.headers.remove(header::CONTENT_ENCODING);
                for (name, value) in &own {
                    answer.headers.insert(name, value.clone());
                }
            }
            match &told.wait {
                Some(wait) => answer.headers.insert(header::RETRY_AFTER, wait.clone()),
                None => answer.headers.remove(header::RETRY_AFTER),
            };
            Said::Http(answer)
        }
        Protocol::Grpc => {
            let mut headers = grpc_head();
            headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(told.code)));
            let message = percent::encode_message(words).to_string();
            if let Ok(message) = HeaderValue::from_str(&message) {
                headers.insert("grpc-message", message);
            }
            let seconds = told
                .wait
                .as_ref()
                .and_then(|wait| wait.to_str().ok()?.parse().ok());
            if let Some(seconds) = seconds {
                let details = otlp::status_with_retry(told.code, words, seconds);
                if let Ok(details) = HeaderValue::from_str(&STANDARD_NO_PAD.encode(details)) {
                    headers.insert("grpc-status-details-bin", details);
                }
            }
            Said::Grpc(GrpcAnswer {
                status: StatusCode::OK,
                headers,
                body: Bytes::new(),
                trailers: None,
            })
        }
    }
}

/// The code that an exporter treats as it would this status (OTLP specification, "Failures"; `google.rpc.Code`).
fn code_of(status: u16) -> u8 {
    match status {
        400 => 3,
        401 => 16,
        403 => 7,
        404 | 405 | 415 | 501 => 12,
        // With or without a time to come again.
        413 | 429 => 8,
        502 | 503 => 14,
        504 => 4,
        402..=499 => 3,
        _ => 13,
    }
}

/// The status that an exporter treats as it would this code.
fn status_of(code: u16, has_wait: bool) -> StatusCode {
    match code {
        3 | 9 => StatusCode::BAD_REQUEST,
        5 => StatusCode::UNPROCESSABLE_ENTITY,
        6 => StatusCode::CONFLICT,
        7 => StatusCode::FORBIDDEN,
        8 if has_wait => StatusCode::TOO_MANY_REQUESTS,
        8 => StatusCode::PAYLOAD_TOO_LARGE,
        12 => StatusCode::NOT_IMPLEMENTED,
        16 => StatusCode::UNAUTHORIZED,
        4 => StatusCode::GATEWAY_TIMEOUT,
        1 | 10 | 11 | 14 | 15 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The words of an HTTP refusal: of a `Status` its message, of anything else that is text all of it.
fn words_of(answer: &Answer) -> Cow<'_, str> {
    let named = answer
        .headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let kind = MediaType::glimpse(named);
    if kind.is(media_type::PROTOBUF) {
        let message = otlp::text_field(&answer.body, 2).ok().flatten();
        return message.map_or(NO_WORDS.into(), |message| bounded(message).into());
    }
    if !kind.is_json_like() && !kind.is_text() {
        return NO_WORDS.into();
    }
    let parsed = serde_json::from_slice::<StatusWords>(&answer.body);
    if let Some(message) = parsed.ok().and_then(|status| status.message) {
        return bounded(&message).to_owned().into();
    }
    let words = std::str::from_utf8(&answer.body).unwrap_or(NO_WORDS);
    bounded(words.trim()).into()
}

#[derive(serde::Deserialize)]
struct StatusWords {
    message: Option<String>,
}

/// So much of it as is passed on.
fn bounded(words: &str) -> &str {
    let end = words.floor_char_boundary(WORDS_LIMIT_BYTES);
    words.get(..end).unwrap_or_default()
}

/// When a gRPC answer wants the call to come again, in seconds, if it says so (`google.rpc.RetryInfo`).
pub(super) fn wait_of(told: &HeaderMap) -> Option<u64> {
    let details = told.get("grpc-status-details-bin")?.as_bytes();
    let details = details
        .strip_suffix(b"==")
        .or(details.strip_suffix(b"="))
        .unwrap_or(details);
    let status = STANDARD_NO_PAD.decode(details).ok()?;
    otlp::retry_seconds(&status)
}

#[cfg(test)]
mod tests {
    use super::super::format::PartFormat;
    use super::super::success;
    use super::*;
    use crate::otlp::Signal;
    use crate::profiles::Answers;
    use crate::transform::Coding;

    const FORMS: [(Protocol, Encoding); 3] = [
        (Protocol::Grpc, Encoding::Protobuf),
        (Protocol::Http, Encoding::Protobuf),
        (Protocol::Http, Encoding::Json),
    ];

    fn format((protocol, encoding): (Protocol, Encoding)) -> WireFormat {
        WireFormat {
            signal: Signal::Logs,
            encoding,
            protocol,
            deadline: None,
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        pairs.iter().map(pair).collect()
    }

    fn http_refusal(status: u16, encoding: Encoding, extra: &[(&'static str, &str)]) -> Said {
        let mut head = headers(extra);
        head.insert(
            "content-type",
            HeaderValue::from_static(encoding.media_type()),
        );
        Said::Http(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: head,
            body: otlp::status_body(encoding, 3, "the \"words\"").into(),
        })
    }

    fn grpc_refusal(code: u8, wait: Option<u64>) -> Said {
        let code_text = code.to_string();
        let mut head = headers(&[
            ("content-type", "application/grpc"),
            ("grpc-status", &code_text),
            ("grpc-message", "the \"words\""),
        ]);
        if let Some(wait) = wait {
            let details = STANDARD_NO_PAD.encode(otlp::status_with_retry(code, "later", wait));
            head.insert(
                "grpc-status-details-bin",
                HeaderValue::from_str(&details).unwrap(),
            );
        }
        Said::Grpc(GrpcAnswer {
            status: StatusCode::OK,
            headers: head,
            body: Bytes::new(),
            trailers: None,
        })
    }

    /// Status, code, words and wait as a client of this form reads them; of the status or code that it does not see, zero.
    fn read(form: (Protocol, Encoding), said: &Said) -> (u16, u8, String, Option<u64>) {
        match (form, said) {
            ((Protocol::Http, encoding), Said::Http(answer)) => {
                assert_eq!(answer.headers["content-type"], encoding.media_type());
                assert!(!answer.headers.contains_key("content-encoding"));
                let (code, words) = match encoding {
                    Encoding::Json => {
                        let status: serde_json::Value =
                            serde_json::from_slice(&answer.body).unwrap();
                        let words = status["message"].as_str().unwrap().to_owned();
                        (status["code"].as_u64().unwrap() as u8, words)
                    }
                    Encoding::Protobuf => {
                        let words = otlp::text_field(&answer.body, 2).unwrap().unwrap();
                        (answer.body[1], words.to_owned())
                    }
                };
                let wait = answer.headers.get("retry-after");
                let wait = wait.map(|wait| wait.to_str().unwrap().parse().unwrap());
                (answer.status.as_u16(), code, words, wait)
            }
            ((Protocol::Grpc, _), Said::Grpc(answer)) => {
                assert_eq!(answer.status, StatusCode::OK);
                assert_eq!(answer.headers["content-type"], "application/grpc");
                let words = answer.headers["grpc-message"].to_str().unwrap();
                let code = grpc_code(answer).unwrap() as u8;
                let words = percent::decode_lossy(words);
                (0, code, words, wait_of(&answer.headers))
            }
            _ => panic!("the wrong protocol"),
        }
    }

    /// Scenario: every refusal of a backend, for a client of each form. Guarantees: status and code are a pair that exporters treat alike; words and
    /// waits arrive.
    #[test]
    fn refusals_pair() {
        let words = "the \"words\"".to_owned();
        for (status, extra, code, wait) in [
            (400, &[][..], 3, None),
            (400, &[("retry-after", "7")], 3, None),
            (413, &[], 8, None),
            (413, &[("retry-after", "7")], 8, None),
            (415, &[], 12, None),
            (422, &[], 3, None),
            (429, &[("retry-after", "7")], 8, Some(7)),
            (429, &[], 8, Some(5)),
            (500, &[], 13, None),
            (501, &[], 12, None),
            (502, &[], 14, None),
            (503, &[("retry-after", "9999")], 14, Some(3600)),
            (503, &[], 14, None),
            (504, &[], 4, None),
            (599, &[], 13, None),
        ] {
            for encoding in [Encoding::Json, Encoding::Protobuf] {
                let said = http_refusal(status, encoding, extra);
                for form in FORMS {
                    let found = read(form, &translated(format(form), &said, None));
                    let status = if form.0 == Protocol::Http { status } else { 0 };
                    assert_eq!(found, (status, code, words.clone(), wait), "{form:?}");
                }
            }
        }
        for (code, wait, status) in [
            (1, None, 503),
            (2, None, 500),
            (3, None, 400),
            (4, None, 504),
            (5, None, 422),
            (6, None, 409),
            (8, None, 413),
            (8, Some(7), 429),
            (9, None, 400),
            (10, None, 503),
            (11, None, 503),
            (12, None, 501),
            (13, None, 500),
            (14, None, 503),
            (14, Some(3), 503),
            (15, None, 503),
        ] {
            let said = grpc_refusal(code, wait);
            for form in &FORMS[1..] {
                let found = read(*form, &translated(format(*form), &said, None));
                assert_eq!(found, (status, code, words.clone(), wait), "{form:?}");
            }
        }
    }

    /// Scenario: refusals in words of the backend's own, of any length and kind. Guarantees: what is text arrives, bounded; there always are words.
    #[test]
    fn words_are_bounded() {
        let long = "é".repeat(WORDS_LIMIT_BYTES);
        for (kind, body, words) in [
            ("application/json", r#"{"message":"why"}"#, "why"),
            (
                "application/json",
                r#"{"error":"why"}"#,
                r#"{"error":"why"}"#,
            ),
            ("application/problem+json", r#"{"message":"why"}"#, "why"),
            ("text/plain; charset=utf-8", " why \n", "why"),
            ("text/plain", "", NO_WORDS),
            (
                "text/plain",
                long.as_str(),
                long.get(..WORDS_LIMIT_BYTES).unwrap(),
            ),
            ("application/x-protobuf", "\u{12}\u{3}why", "why"),
            ("application/x-protobuf", "why", NO_WORDS),
            ("application/octet-stream", "why", NO_WORDS),
            ("", "why", NO_WORDS),
        ] {
            let said = Said::Http(Answer {
                status: StatusCode::BAD_REQUEST,
                headers: headers(&[("content-type", kind)]),
                body: Bytes::copy_from_slice(body.as_bytes()),
            });
            for form in FORMS {
                let (_, _, found, _) = read(form, &translated(format(form), &said, None));
                assert_eq!(found, words, "{kind} {body} {form:?}");
            }
        }
    }

    /// Scenario: successes, whole and partial, in every pairing of a client's form and a backend's. Guarantees: each client reads what the backend said.
    #[test]
    fn successes_pair() {
        let answers = Answers::default();
        for partial in [
            None,
            Some(PartialSuccess {
                rejected: 3,
                message: "three were odd".to_owned(),
            }),
        ] {
            for (backends, callers) in FORMS
                .into_iter()
                .flat_map(|one| FORMS.map(|other| (one, other)))
            {
                let leaving = PartFormat {
                    protocol: backends.0,
                    encoding: backends.1,
                    coding: Coding::Identity,
                    is_recoded: false,
                };
                let mut said = success(format(backends), partial.as_ref());
                let found =
                    success::settle(format(callers).leaving(leaving), &mut said, &answers).unwrap();
                assert_eq!(found, partial);
                let mut told = translated(format(callers), &said, Some(found.as_ref()));
                let again = success::settle(format(callers), &mut told, &answers).unwrap();
                assert_eq!(again, partial, "{backends:?} {callers:?}");
            }
        }
    }
}
