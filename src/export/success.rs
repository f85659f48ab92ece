//! When a backend has taken an export, and how its answer is written for the caller.
//!
//! What it does: takes for a success what the backend's profile does, by default any 2xx (over gRPC: with status 0), reads how many items it rejects where that can
//! be read, and writes the answer anew where an exporter might not take it for a success. What it refuses to know:
//! answers that are none; pages, which `deliver.rs` has kept back. Invariants: what the backend has taken is never sent
//! again for the form of its answer; what leaves here is 200 with an answer in the caller's own encoding.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::dropped;
use super::format::WireFormat;
use super::send::Said;
use crate::forward::{Answer, GrpcAnswer, grpc_code};
use crate::media_type::{self, MediaType};
use crate::otlp::{self, Encoding, PartialSuccess};
use crate::profiles::{AnswerMeaning, Answers};

/// What a success says; `None`: it is no success. The answer is made one that an exporter reads.
pub(crate) fn settle(
    manner: WireFormat,
    said: &mut Said,
    answers: &Answers,
) -> Option<Option<PartialSuccess>> {
    match said {
        Said::Http(answer) => {
            let meaning = answers.of_status(answer.status.as_u16());
            (meaning == AnswerMeaning::Success).then(|| http(manner, answer))
        }
        Said::Grpc(answer) => {
            let is_success = answer.status.is_success() && grpc_code(answer) == Some(0);
            is_success.then(|| grpc(manner, answer))
        }
    }
}

fn http(manner: WireFormat, answer: &mut Answer) -> Option<PartialSuccess> {
    let is_coded = answer.headers.contains_key(header::CONTENT_ENCODING);
    let encoding = encoding(&answer.headers, manner.encoding).filter(|_| !is_coded);
    let read =
        encoding.and_then(|encoding| otlp::read_answer(manner.signal, encoding, &answer.body).ok());
    let said = read.clone().flatten();
    let named = answer
        .headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let is_own = MediaType::glimpse(named).is(manner.encoding.media_type());
    let is_blank = answer.body.is_empty() && manner.encoding == Encoding::Json;
    if answer.status != StatusCode::OK || read.is_none() || !is_own || is_blank {
        answer.status = StatusCode::OK;
        answer.headers.remove(header::CONTENT_ENCODING);
        answer.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(manner.encoding.media_type()),
        );
        answer.body = otlp::write_answer(manner.signal, manner.encoding, said.as_ref()).into();
    }
    said
}

/// In what a body is read; what is called text is read as JSON at most, because words may look like protobuf.
fn encoding(headers: &HeaderMap, asked: Encoding) -> Option<Encoding> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Some(asked);
    };
    let kind = MediaType::glimpse(value.as_bytes());
    if kind.is_json_like() || kind.is_text() {
        return Some(Encoding::Json);
    }
    if kind.is(media_type::PROTOBUF) {
        Some(Encoding::Protobuf)
    } else {
        Some(asked)
    }
}

fn grpc(manner: WireFormat, answer: &mut GrpcAnswer) -> Option<PartialSuccess> {
    let read = unframed(&answer.body).and_then(|body| {
        // What is framed may still be nothing that we can read.
        otlp::read_answer(manner.signal, Encoding::Protobuf, &body).ok()
    });
    let mut said = read.clone().flatten();
    let dropped = dropped::items(&dropped::told(answer));
    let named = answer
        .headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let is_own = MediaType::glimpse(named).is_grpc();
    if answer.status != StatusCode::OK || read.is_none() || !is_own || answer.trailers.is_none() {
        answer.status = StatusCode::OK;
        let message = otlp::write_answer(manner.signal, Encoding::Protobuf, said.as_ref());
        answer.body = otlp::frame(false, vec![message.into()]).concat().into();
        // A success without a message is an error to gRPC's clients.
        answer
            .trailers
            .get_or_insert_with(|| answer.headers.clone());
        answer.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(media_type::GRPC),
        );
    }
    if dropped > 0 {
        let said = said.get_or_insert_default();
        said.rejected = said.rejected.max(dropped);
    }
    said
}

/// The one message of a unary answer; no encoding was offered.
fn unframed(body: &Bytes) -> Option<Bytes> {
    match otlp::unframe(body) {
        Ok((false, message)) => Some(message),
        _ => None,
    }
}

/// Adds what one backend said to what others did, within a bound.
pub(super) fn add_words(to: &mut String, words: &str) {
    const MESSAGE_BYTES: usize = 4096;
    if words.is_empty() || to.len() + words.len() > MESSAGE_BYTES {
        return;
    }
    if !to.is_empty() {
        to.push_str("; ");
    }
    to.push_str(words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::Protocol;
    use crate::otlp::Signal;

    fn manner(protocol: Protocol, encoding: Encoding) -> WireFormat {
        WireFormat {
            signal: Signal::Traces,
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

    /// Scenario: every way in which a backend says over HTTP that it has an export. Guarantees: each is a success, and
    /// becomes 200 with an answer that the caller's exporter reads; items count as rejected only where an answer of OTLP
    /// says so.
    #[test]
    fn any_success_over_http_is_one() {
        const SOME: &str = r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#;
        let protobuf = String::from_utf8(vec![0x0a, 6, 8, 3, 0x12, 2, b'n', b'o']).unwrap();
        let (json, proto) = ("application/json", "application/x-protobuf");
        for (status, kind, coding, body, rejected) in [
            (200, json, "", "{}", 0),
            (200, json, "", SOME, 3),
            (200, proto, "", protobuf.as_str(), 3),
            (202, json, "", SOME, 3),
            (204, "", "", "", 0),
            (299, "", "", "", 0),
            (200, "", "", "", 0),
            (200, json, "", "", 0),
            (200, json, "", "OK", 0),
            (200, json, "", "\"OK\"", 0),
            (200, json, "", r#"{"ok":true}"#, 0),
            (
                200,
                json,
                "",
                r#"{"partialSuccess":{"rejectedSpans":-3}}"#,
                0,
            ),
            (
                200,
                json,
                "",
                r#"{"partialSuccess":{"rejectedSpans":"3""#,
                0,
            ),
            (200, json, "br", SOME, 0),
            (200, proto, "", "OK", 0),
            (200, proto, "gzip", protobuf.as_str(), 0),
            (200, "text/plain", "", "OK", 0),
            (200, "text/plain", "", SOME, 3),
            // As protobuf it would be a rejection of three.
            (200, "text/plain", "", "\n\u{2}\u{8}\u{3}", 0),
            (200, "application/octet-stream", "", "\u{0}\u{1}\u{2}", 0),
            (200, "nonsense", "", "\u{fffd}", 0),
        ] {
            for asked in [Encoding::Json, Encoding::Protobuf] {
                let what = format!("{status} {kind} {coding} {body:?} {asked:?}");
                let pairs = [("content-type", kind), ("content-encoding", coding)];
                let given: Vec<_> = pairs
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .collect();
                let mut said = Said::Http(Answer {
                    status: StatusCode::from_u16(status).unwrap(),
                    headers: headers(&given),
                    body: Bytes::copy_from_slice(body.as_bytes()),
                });
                let found = settle(
                    manner(Protocol::Http, asked),
                    &mut said,
                    &Answers::default(),
                )
                .unwrap();
                assert_eq!(found.map_or(0, |said| said.rejected), rejected, "{what}");
                let Said::Http(answer) = said else { panic!() };
                assert_eq!(
                    (answer.status, answer.headers.get("content-encoding")),
                    (StatusCode::OK, None),
                    "{what}"
                );
                assert_eq!(answer.headers["content-type"], asked.media_type(), "{what}");
                assert!(
                    asked == Encoding::Protobuf || !answer.body.is_empty(),
                    "{what}"
                );
                let read = otlp::read_answer(Signal::Traces, asked, &answer.body).unwrap();
                assert_eq!(read.map_or(0, |said| said.rejected), rejected, "{what}");
            }
        }
        for status in [100, 301, 302, 304, 400, 429, 500, 503, 600] {
            let (status, headers) = (StatusCode::from_u16(status).unwrap(), HeaderMap::new());
            let mut said = Said::Http(Answer {
                status,
                headers,
                body: Bytes::from_static(b"{}"),
            });
            assert_eq!(
                settle(
                    manner(Protocol::Http, Encoding::Json),
                    &mut said,
                    &Answers::default()
                ),
                None,
                "{status}"
            );
        }
    }

    /// Scenario: the same over gRPC, where the status stands in trailers, or in the head alone. Guarantees: status 0 is a
    /// success with one message that can be read, whatever came; nothing without it is one.
    #[test]
    fn any_success_over_grpc_is_one() {
        let framed =
            |message: &[u8]| otlp::frame(false, vec![Bytes::copy_from_slice(message)]).concat();
        let compressed = otlp::frame(true, vec![Bytes::from_static(b"x")]).concat();
        let two = [framed(b""), framed(b"")].concat();
        let dropped = [("grpc-status", "0"), ("otlp-points-dropped", "5")];
        type Row<'a> = (
            u16,
            &'a str,
            Vec<u8>,
            &'a [(&'static str, &'a str)],
            Option<u64>,
        );
        let rows: &[Row<'_>] = &[
            (
                200,
                "application/grpc",
                framed(b""),
                &[("grpc-status", "0")],
                Some(0),
            ),
            (
                200,
                "application/grpc",
                framed(b"\x0a\x02\x08\x03"),
                &[("grpc-status", "0")],
                Some(3),
            ),
            (
                200,
                "application/grpc",
                framed(b"\x0a\x02\x08\x03"),
                &dropped,
                Some(5),
            ),
            (200, "application/grpc", framed(b"OK"), &dropped, Some(5)),
            (
                200,
                "application/grpc",
                Vec::new(),
                &[("grpc-status", "0")],
                Some(0),
            ),
            (
                200,
                "application/grpc",
                compressed,
                &[("grpc-status", "0")],
                Some(0),
            ),
            (
                200,
                "application/grpc",
                two,
                &[("grpc-status", "0")],
                Some(0),
            ),
            (
                202,
                "text/plain",
                b"OK".to_vec(),
                &[("grpc-status", "0")],
                Some(0),
            ),
            (200, "application/grpc", framed(b""), &[], None),
            (
                200,
                "application/grpc",
                framed(b""),
                &[("grpc-status", "14")],
                None,
            ),
            (
                503,
                "application/grpc",
                framed(b""),
                &[("grpc-status", "0")],
                None,
            ),
        ];
        for (status, kind, body, told, expected) in rows {
            for trailers_only in [false, true] {
                let what = format!("{status} {kind} {body:?} {told:?} {trailers_only}");
                let mut head = headers(&[("content-type", kind)]);
                let trailers = if trailers_only {
                    head.extend(headers(told));
                    None
                } else {
                    Some(headers(told))
                };
                let status = StatusCode::from_u16(*status).unwrap();
                let body = Bytes::copy_from_slice(body);
                let mut said = Said::Grpc(GrpcAnswer {
                    status,
                    headers: head,
                    body,
                    trailers,
                });
                let found = settle(
                    manner(Protocol::Grpc, Encoding::Protobuf),
                    &mut said,
                    &Answers::default(),
                );
                assert_eq!(
                    found.map(|said| said.map_or(0, |said| said.rejected)),
                    *expected,
                    "{what}"
                );
                let Said::Grpc(answer) = said else { panic!() };
                if expected.is_some() {
                    assert_eq!(
                        (answer.status, grpc_code(&answer)),
                        (StatusCode::OK, Some(0)),
                        "{what}"
                    );
                    assert!(answer.trailers.is_some(), "{what}");
                    let message = unframed(&answer.body).unwrap();
                    assert!(
                        otlp::read_answer(Signal::Traces, Encoding::Protobuf, &message).is_ok(),
                        "{what}"
                    );
                }
            }
        }
    }
}
