//! Whether a backend takes an export, and how it says so.
//!
//! What it does: holds a request against the rows of one backend, in the order in which servers do: path, credential, headers,
//! media type, compression, sizes, content. What it refuses to know: what is kept. Invariants: nothing is decompressed before the
//! credential is known; decompression stops at its bound.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request};

use super::items::item_names;
use super::table::Row;
use super::{BODY_LIMIT_BYTES, VendorFault};
use crate::coding::{Coding, Packed};
use crate::server::{Payload, whole, with_trailers};
use lightkeeper::otlp::{Encoding, Signal, status_body, status_with_retry};

const GRPC: &str = "application/grpc";

/// An export that is taken.
pub(super) struct Taken {
    pub row: &'static Row,
    pub items: Vec<String>,
}

/// HTTP status, and words.
pub(super) type Refused = (u16, &'static str);

/// `below`: a bound of unpacked bytes besides the row's.
pub(super) fn judge(
    rows: &[&'static Row],
    key: &str,
    below: Option<usize>,
    head: &request::Parts,
    body: &[u8],
) -> Result<Taken, Refused> {
    let grpc = is_grpc(&head.headers);
    let path = head.uri.path();
    let asked = |row: &&&Row| match grpc {
        true => row.grpc && row.signal.grpc_path() == path,
        false => row.path == Some(path),
    };
    let row: &'static Row = rows.iter().find(asked).ok_or((404, "no such path"))?;
    if head.method != Method::POST || head.uri.query().is_some() {
        return Err((405, "not a POST, or with a query"));
    }
    authenticate(row, key, &head.headers)?;
    let encoding = match grpc {
        true => Encoding::Protobuf,
        false => encoding(&head.headers)
            .filter(|encoding| row.reads(*encoding))
            .ok_or((415, "a media type that is not taken"))?,
    };
    let coding = coding(grpc, &head.headers)
        .filter(|coding| row.codings.contains(coding))
        .ok_or((415, "a compression that is not taken"))?;
    let (packed, coding) = match grpc {
        true => unframed(body, coding).ok_or((400, "a broken frame"))?,
        false => (body, coding),
    };
    if row.packed.is_some_and(|bound| packed.len() > bound) {
        return Err((413, "too large as sent"));
    }
    let bound = row.unpacked.into_iter().chain(below).min();
    let plain = coding.decompress(packed, bound.unwrap_or(BODY_LIMIT_BYTES));
    let plain = plain.map_err(|fault| match fault {
        Packed::TooLarge => (413, "too large when unpacked"),
        Packed::Broken => (400, "a broken compression"),
    })?;
    let items = item_names(row.signal, encoding, &plain).ok_or((400, "no export"))?;
    Ok(Taken { row, items })
}

fn authenticate(row: &Row, key: &str, headers: &HeaderMap) -> Result<(), Refused> {
    for wanted in &row.headers {
        let mut values = headers.get_all(wanted.name).iter();
        let refused = row.refused.filter(|_| wanted.is_credential());
        let missing = (refused.unwrap_or(wanted.missing), "a header is missing");
        let value = values.next().ok_or(missing)?;
        if values.next().is_some() {
            return Err((400, "a header stands twice"));
        }
        let as_wanted = match wanted.value(key) {
            None => !value.is_empty(),
            Some(wanted) => value.as_bytes() == wanted.as_bytes(),
        };
        if !as_wanted {
            return Err((missing.0, "a header's value is not taken"));
        }
    }
    Ok(())
}

fn media_type(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = String::from_utf8_lossy(kind.unwrap_or_default()).to_ascii_lowercase();
    let bare = kind.split(';').next().unwrap_or_default();
    bare.trim().to_owned()
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    kind == GRPC || kind.starts_with("application/grpc+")
}

/// The encoding of a body; `None`: its media type is none of OTLP's.
pub(super) fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    match media_type(headers).as_str() {
        "application/x-protobuf" => Some(Encoding::Protobuf),
        "application/json" => Some(Encoding::Json),
        kind if kind.starts_with(GRPC) => Some(Encoding::Protobuf),
        _ => None,
    }
}

/// The compression that a head names; `None`: one that is unknown.
pub(super) fn coding(grpc: bool, headers: &HeaderMap) -> Option<Coding> {
    let name = if grpc {
        "grpc-encoding"
    } else {
        "content-encoding"
    };
    let named = headers.get(name).map(HeaderValue::as_bytes);
    named.map_or(Some(Coding::Identity), Coding::named)
}

/// The one message of a gRPC body, and how it is compressed.
fn unframed(body: &[u8], coding: Coding) -> Option<(&[u8], Coding)> {
    let ([flag, length @ ..], message) = body.split_first_chunk::<5>()?;
    let is_whole = u32::from_be_bytes(*length) as usize == message.len();
    let coding = match flag {
        0 => Coding::Identity,
        1 => coding,
        _ => return None,
    };
    is_whole.then_some((message, coding))
}

/// Success, in the form in which the export came.
pub(super) fn success(
    head: &request::Parts,
    row: &Row,
    fault: Option<&VendorFault>,
) -> Response<Payload> {
    let partial = match fault {
        Some(VendorFault::Partial { rejected, message }) => Some((*rejected, *message)),
        _ => None,
    };
    let is_json = encoding(&head.headers) == Some(Encoding::Json);
    let mut message = match is_json {
        true => json_answer(row.signal, partial),
        false => protobuf_answer(partial),
    };
    if fault == Some(&VendorFault::Garbage) {
        message = b"\xff\xfe no answer".to_vec();
    }
    if !is_grpc(&head.headers) {
        let kind = if is_json {
            "application/json"
        } else {
            "application/x-protobuf"
        };
        return typed(row.taken, kind, whole(message));
    }
    let mut frame = vec![0];
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    typed(200, GRPC, with_trailers(frame, trailers))
}

fn json_answer(signal: Signal, partial: Option<(i64, &str)>) -> Vec<u8> {
    let rejected = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Logs => "rejectedLogRecords",
    };
    let document = partial.map_or_else(
        || serde_json::json!({}),
        |(count, message)| {
            let partial =
                serde_json::json!({ rejected: count.to_string(), "errorMessage": message });
            serde_json::json!({ "partialSuccess": partial })
        },
    );
    document.to_string().into_bytes()
}

/// The numbers of the fields are the same for all signals.
fn protobuf_answer(partial: Option<(i64, &str)>) -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    let partial_success = partial.map(|(rejected_spans, message)| ExportTracePartialSuccess {
        rejected_spans,
        error_message: message.to_owned(),
    });
    prost::Message::encode_to_vec(&ExportTraceServiceResponse { partial_success })
}

/// A refusal, in the form in which the export came.
pub(super) fn refusal(
    head: &request::Parts,
    status: u16,
    words: &'static str,
    retry_after: Option<&'static str>,
) -> Response<Payload> {
    let code = match status {
        400 => 3,
        401 => 16,
        403 => 7,
        404 | 405 | 415 => 12,
        413 => 8,
        429 if retry_after.is_some() => 8,
        429 | 502 | 503 => 14,
        504 => 4,
        _ => 13,
    };
    if !is_grpc(&head.headers) {
        let encoding = encoding(&head.headers).unwrap_or(Encoding::Json);
        let kind = match encoding {
            Encoding::Json => "application/json",
            Encoding::Protobuf => "application/x-protobuf",
        };
        let mut answer = typed(status, kind, whole(status_body(encoding, code, words)));
        if let Some(after) = retry_after {
            let after = HeaderValue::from_static(after);
            answer.headers_mut().insert(header::RETRY_AFTER, after);
        }
        return answer;
    }
    let mut answer = typed(200, GRPC, whole(""));
    let headers = answer.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    headers.insert("grpc-message", HeaderValue::from_static(words));
    if retry_after.is_some() {
        use base64::Engine as _;
        let details = status_with_retry(code, words, 1);
        let details = base64::engine::general_purpose::STANDARD_NO_PAD.encode(details);
        if let Ok(details) = HeaderValue::from_str(&details) {
            headers.insert("grpc-status-details-bin", details);
        }
    }
    answer
}

fn typed(status: u16, kind: &'static str, body: Payload) -> Response<Payload> {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
