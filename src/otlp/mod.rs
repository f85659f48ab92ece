//! The OpenTelemetry protocol's own words.
//!
//! What it does: names the signals, reads and rewrites exports without decoding them (`export.rs`), reads
//! and writes their answers and gRPC's frames, and encodes `google.rpc.Status`, the only body that an OTLP/HTTP refusal may have (OTLP specification,
//! "Failures"). What it refuses to know: who calls, any backend, which app an export belongs to.
//! Invariant: what is allocated here is bounded by a small multiple of what was given.

mod answer;
mod cut;
mod export;
mod frame;
mod group;
mod json;
mod names;
mod pieces;
mod protobuf;
mod span;
mod stamp;
mod transcode;
mod wanted;
mod wire;

pub use answer::{PartialSuccess, read_answer, write_answer};
pub use cut::{Cut, CutFault, Oversized, PieceBounds};
pub use export::Export;
pub use frame::{frame, unframe};
pub use group::{Found, RESERVED};
pub(crate) use group::{MAX_GROUPS, Malformed};
pub(crate) use names::folded;
pub(crate) use pieces::Pieces;
pub use stamp::Stamp;
pub use transcode::{TranscodeFault, Transcoded, transcode};
pub use wanted::Wanted;
pub(crate) use wire::{Cursor, text_field};

use crate::media_type;

/// One of OpenTelemetry's signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    pub const ALL: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

    /// The word used in paths, permissions and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
        }
    }

    /// The full path of the gRPC method that exports this signal.
    pub fn grpc_path(self) -> &'static str {
        match self {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }
}

/// How an OTLP/HTTP message is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// What an OTLP/HTTP body in this encoding is called (OTLP specification, "OTLP/HTTP Request").
    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Protobuf => media_type::PROTOBUF,
            Encoding::Json => media_type::JSON,
        }
    }
}

/// A `google.rpc.Status` (fields 1 `code`, 2 `message`) in the given encoding.
pub fn status_body(encoding: Encoding, code: u8, message: &str) -> Vec<u8> {
    match encoding {
        Encoding::Json => serde_json::json!({ "code": code, "message": message })
            .to_string()
            .into_bytes(),
        Encoding::Protobuf => {
            let mut body = Vec::with_capacity(message.len() + 8);
            if code != 0 {
                body.extend_from_slice(&[0x08, code & 0x7f]);
            }
            if !message.is_empty() {
                body.push(0x12);
                push_varint(&mut body, message.len() as u64);
                body.extend_from_slice(message.as_bytes());
            }
            body
        }
    }
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// A `google.rpc.Status` that carries one `google.rpc.RetryInfo` detail, as gRPC puts it into
/// `grpc-status-details-bin` to say that the call may be repeated after `delay_seconds`.
pub fn status_with_retry(code: u8, message: &str, delay_seconds: u64) -> Vec<u8> {
    let mut duration = Vec::new();
    if delay_seconds != 0 {
        duration.push(0x08);
        push_varint(&mut duration, delay_seconds);
    }
    let retry_info = length_delimited(0x0a, &duration);
    let mut any = length_delimited(0x0a, RETRY_INFO.as_bytes());
    any.extend(length_delimited(0x12, &retry_info));
    let mut status = status_body(Encoding::Protobuf, code, message);
    status.extend(length_delimited(0x1a, &any));
    status
}

/// When a `google.rpc.Status` wants the call to come again: the delay of its `RetryInfo`, rounded up to seconds, at most an hour. `None`: it has
/// none, or is no such message.
pub(crate) fn retry_seconds(status: &[u8]) -> Option<u64> {
    const LONGEST_SECONDS: u64 = 3600;
    let mut status = wire::Cursor::new(status);
    while let Some(field) = status.field().ok()? {
        if field.number != 3 {
            continue;
        }
        let any = field.bytes().ok()?;
        if text_field(any, 1).ok()? != Some(RETRY_INFO) {
            continue;
        }
        let (mut seconds, mut has_more) = (0, false);
        let mut fields = wire::Cursor::new(last_message(last_message(any, 2)?, 1)?);
        while let Some(field) = fields.field().ok()? {
            match field.number {
                1 => seconds = field.varint().ok()?,
                2 => has_more = field.varint().ok()? > 0,
                _ => {}
            }
        }
        return Some(
            seconds
                .saturating_add(u64::from(has_more))
                .min(LONGEST_SECONDS),
        );
    }
    None
}

/// The content of the last field of this number; of none an empty one.
fn last_message(message: &[u8], number: u32) -> Option<&[u8]> {
    let mut cursor = wire::Cursor::new(message);
    let mut last: &[u8] = &[];
    while let Some(field) = cursor.field().ok()? {
        if field.number == number {
            last = field.bytes().ok()?;
        }
    }
    Some(last)
}

fn length_delimited(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::with_capacity(bytes.len() + 6);
    field.push(tag);
    push_varint(&mut field, bytes.len() as u64);
    field.extend_from_slice(bytes);
    field
}

pub(crate) fn push_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Where a receiver takes logs over HTTP (OTLP specification, "OTLP/HTTP Request").
pub(crate) const LOGS_PATH: &str = "/v1/logs";

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    /// The same message as declared by google/rpc/status.proto, decoded by prost: the oracle.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }

    #[test]
    fn a_status_decodes_as_google_rpc_status() {
        let long = "x".repeat(300);
        for (code, message) in [(16, "no"), (0, ""), (3, long.as_str())] {
            let decoded =
                Status::decode(&status_body(Encoding::Protobuf, code, message)[..]).unwrap();
            assert_eq!(
                (decoded.code, decoded.message.as_str()),
                (i32::from(code), message)
            );
        }
    }

    #[test]
    fn retry_info_is_a_detail_of_the_status() {
        let decoded = Status::decode(&status_with_retry(8, "later", 5)[..]).unwrap();
        assert_eq!(
            decoded.details[0].type_url,
            "type.googleapis.com/google.rpc.RetryInfo"
        );
        assert_eq!(decoded.details[0].value, [0x0a, 2, 0x08, 5]);
    }

    #[test]
    fn the_delay_is_read_again_and_bounded() {
        for (delay, told) in [(0, 0), (5, 5), (3600, 3600), (3601, 3600), (u64::MAX, 3600)] {
            assert_eq!(
                retry_seconds(&status_with_retry(8, "later", delay)),
                Some(told)
            );
        }
        let with_nanos = |nanos: &[u8]| {
            let info = length_delimited(0x0a, &[&[0x08, 2], nanos].concat());
            let any = [
                length_delimited(0x0a, RETRY_INFO.as_bytes()),
                length_delimited(0x12, &info),
            ]
            .concat();
            length_delimited(0x1a, &any)
        };
        assert_eq!(retry_seconds(&with_nanos(&[0x10, 1])), Some(3));
        assert_eq!(retry_seconds(&with_nanos(&[])), Some(2));
        let other = length_delimited(
            0x1a,
            &length_delimited(0x0a, b"type.googleapis.com/google.rpc.DebugInfo"),
        );
        for status in [&b""[..], b"\x08\x08", b"\x1a", &other] {
            assert_eq!(retry_seconds(status), None, "{status:x?}");
        }
    }
}
