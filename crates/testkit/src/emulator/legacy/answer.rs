//! How Lightstep answers a legacy report, format by format.
//!
//! What it does: builds the good answers and the refusals of `docs/backends/lightstep.md` (answers of ingest). What it refuses
//! to know: why. Invariant: an answer is of the kind that the format's clients read, also when it refuses.

use http::{HeaderValue, Response, StatusCode, header};
use prost::Message as _;
use serde_json::{Value, json};

use super::super::faults::typed;
use super::super::ingest::{Dialect, grpc, grpc_code, refusal};
use crate::formats::Format;
use crate::messages::{Command, ReportResponse, Timestamp};
use crate::server::{Payload, whole};
use crate::thrift::{Kind, Message, Thrift};
use lightkeeper::clock::UnixMillis;

/// What an answer says besides yes or no.
pub(super) struct Reply {
    pub now: UnixMillis,
    /// Thrift's number of the call.
    pub sequence: i32,
    /// Firehose's name of the request.
    pub request_id: String,
    pub items: u64,
}

impl Default for Reply {
    fn default() -> Self {
        Reply {
            now: UnixMillis(0),
            sequence: 0,
            request_id: String::new(),
            items: 0,
        }
    }
}

impl Reply {
    fn micros(&self) -> i64 {
        self.now.0.saturating_mul(1000)
    }

    fn timestamp(&self) -> Option<Timestamp> {
        let nanos = i32::try_from(self.now.0.rem_euclid(1000) * 1_000_000).unwrap_or_default();
        Some(Timestamp {
            seconds: self.now.seconds(),
            nanos,
        })
    }

    /// `lightstep.collector.ReportResponse` with both times.
    fn response(&self, disable: bool, errors: &[&str]) -> ReportResponse {
        let command = Command {
            disable: true,
            dev_mode: false,
        };
        ReportResponse {
            commands: if disable { vec![command] } else { Vec::new() },
            receive_timestamp: self.timestamp(),
            transmit_timestamp: self.timestamp(),
            errors: errors.iter().map(|error| (*error).to_owned()).collect(),
            ..ReportResponse::default()
        }
    }

    /// The same as proto3 JSON writes it.
    fn response_json(&self, disable: bool, errors: &[&str]) -> Value {
        let time =
            time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.now.0) * 1_000_000)
                .ok();
        let time = time.and_then(|time| {
            time.format(&time::format_description::well_known::Rfc3339)
                .ok()
        });
        let commands = if disable {
            json!([{ "disable": true }])
        } else {
            json!([])
        };
        json!({ "commands": commands, "receiveTimestamp": time, "transmitTimestamp": time, "errors": errors })
    }

    /// Thrift's structs as plain JSON.
    fn thrift_json(&self, disable: bool, errors: &[&str]) -> Value {
        let commands = if disable {
            json!([{ "disable": true }])
        } else {
            Value::Null
        };
        let errors = if errors.is_empty() {
            Value::Null
        } else {
            json!(errors)
        };
        let timing = json!({ "receive_micros": self.micros(), "transmit_micros": self.micros() });
        json!({ "commands": commands, "timing": timing, "errors": errors })
    }

    /// `Report`'s result: field 0 is success.
    fn thrift_reply(&self, disable: bool) -> Vec<u8> {
        let timing = vec![
            (1, Thrift::I64(self.micros())),
            (2, Thrift::I64(self.micros())),
        ];
        let mut response = vec![(2, Thrift::Struct(timing))];
        if disable {
            response.insert(0, (1, Thrift::structs(vec![vec![(1, Thrift::Bool(true))]])));
        }
        self.thrift_message(Kind::Reply, vec![(0, Thrift::Struct(response))])
    }

    /// `TApplicationException`: 1 message, 2 type (6: internal error).
    fn thrift_exception(&self, message: &str) -> Vec<u8> {
        self.thrift_message(
            Kind::Exception,
            vec![(1, Thrift::text(message)), (2, Thrift::I32(6))],
        )
    }

    fn thrift_message(&self, kind: Kind, fields: Vec<(i16, Thrift)>) -> Vec<u8> {
        Message {
            kind,
            name: "Report".to_owned(),
            sequence: self.sequence,
            fields,
        }
        .write()
    }
}

/// A report was taken; `disable`: and its tracer is told to stop for good.
pub(super) fn accepted(format: Format, reply: &Reply, disable: bool) -> Response<Payload> {
    let body = match format {
        Format::ReportsGrpc => {
            return grpc(
                &reply.response(disable, &[]).encode_to_vec(),
                http::HeaderMap::new(),
            );
        }
        Format::Reports => reply.response(disable, &[]).encode_to_vec(),
        Format::ReportsJson => text(&reply.response_json(disable, &[])),
        Format::ThriftJson => text(&reply.thrift_json(disable, &[])),
        Format::ThriftBinary => reply.thrift_reply(disable),
        Format::Metrics | Format::Zipkin => Vec::new(),
        Format::Bulk => {
            let items: Vec<Value> = (0..reply.items)
                .map(|_| json!({ "create": { "status": 201 } }))
                .collect();
            text(&json!({ "took": 1, "errors": false, "items": items }))
        }
        Format::Firehose => {
            text(&json!({ "requestId": reply.request_id, "timestamp": reply.now.0 }))
        }
    };
    let mut response = typed(whole(body), format.content_type());
    if format == Format::Zipkin {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    response
}

/// A report was not taken.
pub(super) fn refused(
    format: Format,
    reply: &Reply,
    status: u16,
    message: &str,
    retry_after_seconds: Option<u64>,
) -> Response<Payload> {
    let body = match format {
        Format::ReportsGrpc => {
            let code = grpc_code(status, retry_after_seconds);
            return refusal(Dialect::Grpc, status, code, message, retry_after_seconds);
        }
        Format::Reports => reply.response(false, &[message]).encode_to_vec(),
        Format::ReportsJson => text(&reply.response_json(false, &[message])),
        Format::ThriftJson => text(&reply.thrift_json(false, &[message])),
        Format::ThriftBinary => reply.thrift_exception(message),
        Format::Metrics => Vec::new(),
        Format::Zipkin => message.as_bytes().to_vec(),
        Format::Bulk => {
            text(&json!({ "error": { "type": "exception", "reason": message }, "status": status }))
        }
        Format::Firehose => {
            let id = &reply.request_id;
            text(&json!({ "requestId": id, "timestamp": reply.now.0, "errorMessage": message }))
        }
    };
    let kind = if format == Format::Zipkin {
        "text/plain"
    } else {
        format.content_type()
    };
    let mut response = typed(whole(body), kind);
    // Thrift's clients were told of a bad token by 400 (`docs/backends/lightstep.md`, answers of ingest).
    let status = if format == Format::ThriftBinary && status == 401 {
        400
    } else {
        status
    };
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = retry_after_seconds {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn text(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}
