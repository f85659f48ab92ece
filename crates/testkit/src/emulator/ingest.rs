//! The emulator's OTLP side: over HTTP (protobuf and JSON) and over gRPC.
//!
//! What it does: recognises the paths that Lightstep has, checks the access token, decodes the export and
//! answers as the OTLP specification says. What it refuses to know: queries.
//! Invariants: nothing is decoded before the token is known; decompression stops at its limit.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request,
};

use super::exports::Export;
use super::faults::{Fault, echo_document, echo_into, typed};
use super::{State, TOKEN_HEADER, otlp_json, otlp_protobuf};
use crate::coding::{Coding, Packed};
use crate::server::{Payload, lock, repeated, whole, with_trailers};
use lightkeeper::otlp::{Encoding, Signal, status_body, status_with_retry};

const GRPC: &str = "application/grpc";

/// How an export came and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Http(Encoding),
    Grpc,
}

/// The body's media type without parameters, lower case: its case means nothing (RFC 9110 section 8.3.1).
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    kind.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Whether a head belongs to gRPC at all.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    kind.starts_with(GRPC) && !kind.starts_with("application/grpc-web")
}

/// The signal of an OTLP/HTTP path (`docs/backends/lightstep.md`, paths of ingest): the standard ones, the versioned aliases,
/// the browsers' one.
pub(super) fn http_signal(path: &str) -> Option<Signal> {
    if path == "/api/v2/otel/trace" {
        return Some(Signal::Traces);
    }
    Signal::ALL.into_iter().find(|signal| {
        let alias = || {
            path.strip_prefix('/')?
                .strip_prefix(signal.name())?
                .strip_prefix("/otlp/v")?
                .split_once('.')
        };
        let number = |text: &str| {
            !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        path.strip_prefix("/v1/") == Some(signal.name())
            || alias().is_some_and(|(major, minor)| number(major) && number(minor))
    })
}

/// Why an export is refused: HTTP status, gRPC code (`docs/backends/lightstep.md`, answers of ingest), public words.
pub(super) type Refused = (u16, u8, &'static str);

impl State {
    /// Answers an export whose body is here.
    pub(super) fn ingest(
        &self,
        head: &request::Parts,
        body: &[u8],
        fault: Option<&Fault>,
    ) -> Response<Payload> {
        let dialect = dialect(&head.headers);
        let partial = match fault {
            Some(Fault::PartialSuccess { rejected, message }) => {
                Some((*rejected, message.as_str()))
            }
            _ => None,
        };
        match (self.accept(head, body, dialect), dialect, fault) {
            (Ok(_), Dialect::Grpc, Some(Fault::Trailers(pairs))) => {
                let named = |(name, value): &(&'static str, &'static str)| {
                    (
                        HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                };
                grpc(&partial_message(partial), pairs.iter().map(named).collect())
            }
            (Ok(signal), ..) => success(dialect, signal, partial),
            (Err((status, code, message)), ..) => refusal(dialect, status, code, message, None),
        }
    }

    fn accept(
        &self,
        head: &request::Parts,
        body: &[u8],
        dialect: Dialect,
    ) -> Result<Signal, Refused> {
        let path = head.uri.path();
        let signal = match dialect {
            Dialect::Grpc => Signal::ALL
                .into_iter()
                .find(|signal| signal.grpc_path() == path),
            Dialect::Http(_) => http_signal(path),
        };
        let signal = signal.ok_or((404, 12, "no such path or method"))?;
        if head.method != Method::POST
            || (dialect == Dialect::Grpc && head.version != Version::HTTP_2)
        {
            return Err((405, 13, "exports are posted"));
        }
        let project =
            self.project_of_token(&head.headers)
                .ok_or((401, 16, "invalid access token"))?;
        let ((message, coding), encoding) = match dialect {
            Dialect::Grpc => (self.unframe(&head.headers, body)?, Encoding::Protobuf),
            Dialect::Http(encoding) => {
                if !speaks(&head.headers) {
                    return Err((415, 12, "unsupported media type"));
                }
                (
                    self.decompress(&head.headers, header::CONTENT_ENCODING.as_str(), body)?,
                    encoding,
                )
            }
        };
        let resources = match encoding {
            Encoding::Protobuf => otlp_protobuf::decode(signal, &message),
            Encoding::Json => otlp_json::decode(signal, &message),
        };
        let resources = resources.ok_or((400, 3, "undecodable export"))?;
        let grpc = dialect == Dialect::Grpc;
        let export = Export {
            project,
            signal,
            resources,
            coding,
            grpc,
            message,
            legacy: None,
        };
        lock(&self.exports).keep(export, self.options.captures, self.options.captured_bytes);
        Ok(signal)
    }

    /// The project that the one presented access token opens now.
    pub(super) fn project_of_token(&self, headers: &HeaderMap) -> Option<String> {
        let (name, scheme) = match self.options.plain_otlp {
            true => ("authorization", "Bearer "),
            false => (TOKEN_HEADER, ""),
        };
        let mut presented = headers.get_all(name).iter();
        let value = presented.next()?.to_str().ok()?.strip_prefix(scheme)?;
        // Which of two Lightstep would take is not documented; a test must notice that there were two.
        if presented.next().is_some() {
            return None;
        }
        lock(&self.tokens).project(value, self.options.clock.now())
    }

    /// The one message in gRPC's frame, and how it was compressed.
    pub(super) fn unframe(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(Vec<u8>, Coding), Refused> {
        const BROKEN: Refused = (400, 13, "broken message frame");
        let Some((&compressed, rest)) = body.split_first() else {
            return Err(BROKEN);
        };
        let Some((length, message)) = rest.split_first_chunk::<4>() else {
            return Err(BROKEN);
        };
        if u32::from_be_bytes(*length) as usize != message.len() {
            return Err(BROKEN);
        }
        match compressed {
            0 => Ok((message.to_vec(), Coding::Identity)),
            1 => self.decompress(headers, "grpc-encoding", message),
            _ => Err(BROKEN),
        }
    }

    /// A body, and how it was compressed by the named header.
    pub(super) fn decompress(
        &self,
        headers: &HeaderMap,
        named: &str,
        body: &[u8],
    ) -> Result<(Vec<u8>, Coding), Refused> {
        let value = headers
            .get(named)
            .map_or(&b"identity"[..], HeaderValue::as_bytes);
        let coding = Coding::named(value).ok_or((415, 12, "unsupported content encoding"))?;
        match coding.decompress(body, self.options.decompressed_limit_bytes) {
            Ok(plain) => Ok((plain, coding)),
            Err(Packed::TooLarge) => Err((413, 8, "the decompressed export is too large")),
            Err(Packed::Broken) => Err((400, 3, "undecodable compression")),
        }
    }
}

/// The dialect in which a request of this head is answered.
pub(super) fn dialect(headers: &HeaderMap) -> Dialect {
    if is_grpc(headers) {
        return Dialect::Grpc;
    }
    let kind = media_type(headers);
    let json = kind.starts_with("application/json") || kind.starts_with("application/x-json");
    Dialect::Http(if json {
        Encoding::Json
    } else {
        Encoding::Protobuf
    })
}

fn speaks(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    [
        "application/x-protobuf",
        "application/protobuf",
        "application/json",
        "application/x-json",
    ]
    .contains(&kind.as_str())
}

impl Dialect {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Dialect::Http(Encoding::Protobuf) => "application/x-protobuf",
            Dialect::Http(Encoding::Json) => "application/json",
            Dialect::Grpc => GRPC,
        }
    }
}

fn success(dialect: Dialect, signal: Signal, partial: Option<(i64, &str)>) -> Response<Payload> {
    match dialect {
        Dialect::Http(Encoding::Json) => {
            let body = partial.map_or(serde_json::json!({}), |(rejected, message)| {
                let name = match signal {
                    Signal::Traces => "rejectedSpans",
                    Signal::Metrics => "rejectedDataPoints",
                    Signal::Logs => "rejectedLogRecords",
                };
                serde_json::json!({ "partialSuccess": { name: rejected.to_string(), "errorMessage": message } })
            });
            typed(whole(body.to_string()), dialect.content_type())
        }
        Dialect::Http(Encoding::Protobuf) => {
            typed(whole(partial_message(partial)), dialect.content_type())
        }
        Dialect::Grpc => grpc(&partial_message(partial), HeaderMap::new()),
    }
}

/// `Export*ServiceResponse`: field 1 `partial_success` with 1 `rejected_*` and 2 `error_message`; the
/// numbers are the same for all signals, so that one signal's type encodes all.
fn partial_message(partial: Option<(i64, &str)>) -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    let partial_success = partial.map(|(rejected_spans, message)| ExportTracePartialSuccess {
        rejected_spans,
        error_message: message.to_owned(),
    });
    prost::Message::encode_to_vec(&ExportTraceServiceResponse { partial_success })
}

pub(super) fn grpc(message: &[u8], extra: HeaderMap) -> Response<Payload> {
    let mut frame = vec![0];
    frame.extend_from_slice(
        &u32::try_from(message.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    frame.extend_from_slice(message);
    let mut trailers = extra;
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    typed(with_trailers(frame, trailers), GRPC)
}

/// A refusal in the dialect; gRPC's is "trailers-only" (the status stands in the head).
pub(super) fn refusal(
    dialect: Dialect,
    status: u16,
    code: u8,
    message: &str,
    retry_after_seconds: Option<u64>,
) -> Response<Payload> {
    match dialect {
        Dialect::Http(encoding) => {
            let mut response = typed(
                whole(status_body(encoding, code, message)),
                dialect.content_type(),
            );
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if let Some(seconds) = retry_after_seconds {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Dialect::Grpc => {
            let mut response = typed(whole(""), GRPC);
            let headers = response.headers_mut();
            headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
            if let Ok(message) =
                HeaderValue::from_str(&crate::urls::encode(message).replace("%20", " "))
            {
                headers.insert("grpc-message", message);
            }
            if let Some(seconds) = retry_after_seconds {
                use base64::Engine as _;
                let details = status_with_retry(code, message, seconds);
                let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(details);
                if let Ok(text) = HeaderValue::from_str(&text) {
                    headers.insert("grpc-status-details-bin", text);
                }
            }
            response
        }
    }
}

/// The gRPC code that goes with an HTTP status (`docs/backends/lightstep.md`, answers of ingest; the rest as
/// gRPC's own mapping).
pub(super) fn grpc_code(status: u16, retry_after_seconds: Option<u64>) -> u8 {
    match status {
        200 => 0,
        400 => 3,
        401 => 16,
        403 => 7,
        404 | 415 => 12,
        413 => 8,
        429 if retry_after_seconds.is_some() => 8,
        429 | 502 | 503 => 14,
        504 => 4,
        500 => 13,
        _ => 2,
    }
}

/// What a failure switch answers alike in every format; `None`: the usual answer.
pub(super) fn odd(
    kind: &'static str,
    received: &HeaderMap,
    fault: Option<&Fault>,
) -> Option<Response<Payload>> {
    match fault? {
        Fault::Echo => Some(echo(kind, received)),
        Fault::Garbage => Some(typed(whole(&b"\xff\xfe\xfd not a document"[..]), kind)),
        Fault::Huge(bytes) => Some(typed(repeated(b' ', *bytes), kind)),
        _ => None,
    }
}

fn echo(kind: &'static str, received: &HeaderMap) -> Response<Payload> {
    let document = echo_document(received).to_string();
    let mut response = if kind == GRPC {
        let mut trailers = HeaderMap::new();
        echo_into(&mut trailers, received);
        if let Ok(message) = HeaderValue::from_str(&crate::urls::encode(&document)) {
            trailers.insert("grpc-message", message);
        }
        // The document in field 15, which no response message has: decoders skip it.
        let mut message = vec![0x7a];
        prost::encoding::encode_varint(document.len() as u64, &mut message);
        message.extend_from_slice(document.as_bytes());
        grpc(&message, trailers)
    } else {
        typed(whole(document), kind)
    };
    echo_into(response.headers_mut(), received);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_path_is_known_and_no_other() {
        for (path, signal) in [
            ("/v1/traces", Some(Signal::Traces)),
            ("/v1/metrics", Some(Signal::Metrics)),
            ("/v1/logs", Some(Signal::Logs)),
            ("/traces/otlp/v0.9", Some(Signal::Traces)),
            ("/traces/otlp/v0.6", Some(Signal::Traces)),
            ("/traces/otlp/v0.5", Some(Signal::Traces)),
            ("/metrics/otlp/v0.9", Some(Signal::Metrics)),
            ("/metrics/otlp/v0.10", Some(Signal::Metrics)),
            ("/api/v2/otel/trace", Some(Signal::Traces)),
            ("/v1/traces/", None),
            ("/V1/traces", None),
            ("//v1/traces", None),
            ("/traces/otlp/v0", None),
            ("/traces/otlp/v0.", None),
            ("/traces/otlp/v0.9/x", None),
            ("/traces/otlp/v0.999", None),
            ("/", None),
        ] {
            assert_eq!(http_signal(path), signal, "{path}");
        }
    }
}
