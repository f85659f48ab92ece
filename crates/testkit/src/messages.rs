//! Lightstep's own protobuf messages: reports of its tracers and metrics.
//!
//! What it does: declares them by hand from `docs/backends/lightstep.md` (report layouts), for prost. What it refuses
//! to know: who sends them, what the gateway makes of them. Invariant: `auth` and the token in it are declared repeated
//! though they are not (protobuf lets a reader do that), so that every copy in a message is seen, not the last.

use std::collections::HashMap;

/// `lightstep.collector.ReportRequest`: one report of a tracer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReportRequest {
    #[prost(message, optional, tag = "1")]
    pub reporter: Option<Reporter>,
    #[prost(message, repeated, tag = "2")]
    pub auth: Vec<Auth>,
    #[prost(message, repeated, tag = "3")]
    pub spans: Vec<Span>,
    #[prost(int64, tag = "5")]
    pub timestamp_offset_micros: i64,
    #[prost(message, optional, tag = "6")]
    pub internal_metrics: Option<InternalMetrics>,
}

/// The process that reports.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reporter {
    #[prost(uint64, tag = "1")]
    pub reporter_id: u64,
    #[prost(message, repeated, tag = "4")]
    pub tags: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Auth {
    #[prost(string, repeated, tag = "1")]
    pub access_token: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(oneof = "Value", tags = "2, 3, 4, 5, 6")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    #[prost(string, tag = "2")]
    Text(String),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(bool, tag = "5")]
    Bool(bool),
    #[prost(string, tag = "6")]
    Json(String),
}

impl KeyValue {
    pub fn text(key: &str, value: &str) -> Self {
        KeyValue {
            key: key.to_owned(),
            value: Some(Value::Text(value.to_owned())),
        }
    }

    /// The value as text.
    pub fn shown(&self) -> String {
        match &self.value {
            Some(Value::Text(text) | Value::Json(text)) => text.clone(),
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Double(number)) => number.to_string(),
            Some(Value::Bool(value)) => value.to_string(),
            None => String::new(),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Span {
    #[prost(message, optional, tag = "1")]
    pub span_context: Option<SpanContext>,
    #[prost(string, tag = "2")]
    pub operation_name: String,
    #[prost(message, repeated, tag = "3")]
    pub references: Vec<Reference>,
    #[prost(message, optional, tag = "4")]
    pub start_timestamp: Option<Timestamp>,
    #[prost(uint64, tag = "5")]
    pub duration_micros: u64,
    #[prost(message, repeated, tag = "6")]
    pub tags: Vec<KeyValue>,
    #[prost(message, repeated, tag = "7")]
    pub logs: Vec<Log>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SpanContext {
    #[prost(uint64, tag = "1")]
    pub trace_id: u64,
    #[prost(uint64, tag = "2")]
    pub span_id: u64,
    #[prost(map = "string, string", tag = "3")]
    pub baggage: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Reference {
    /// 0 `CHILD_OF`, 1 `FOLLOWS_FROM`.
    #[prost(int32, tag = "1")]
    pub relationship: i32,
    #[prost(message, optional, tag = "2")]
    pub span_context: Option<SpanContext>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Log {
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    #[prost(message, repeated, tag = "2")]
    pub fields: Vec<KeyValue>,
}

/// `google.protobuf.Timestamp`, and `google.protobuf.Duration`, which has the same fields.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct InternalMetrics {
    #[prost(message, optional, tag = "1")]
    pub start_timestamp: Option<Timestamp>,
    #[prost(uint64, tag = "2")]
    pub duration_micros: u64,
    #[prost(message, repeated, tag = "3")]
    pub logs: Vec<Log>,
    #[prost(message, repeated, tag = "4")]
    pub counts: Vec<MetricsSample>,
    #[prost(message, repeated, tag = "5")]
    pub gauges: Vec<MetricsSample>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricsSample {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(oneof = "SampleValue", tags = "2, 3")]
    pub value: Option<SampleValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum SampleValue {
    #[prost(int64, tag = "2")]
    Int(i64),
    #[prost(double, tag = "3")]
    Double(f64),
}

/// `lightstep.collector.ReportResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReportResponse {
    #[prost(message, repeated, tag = "1")]
    pub commands: Vec<Command>,
    #[prost(message, optional, tag = "2")]
    pub receive_timestamp: Option<Timestamp>,
    #[prost(message, optional, tag = "3")]
    pub transmit_timestamp: Option<Timestamp>,
    #[prost(string, repeated, tag = "4")]
    pub errors: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub warnings: Vec<String>,
    #[prost(string, repeated, tag = "6")]
    pub infos: Vec<String>,
}

/// What a tracer is told to do. `disable` switches it off for good.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Command {
    #[prost(bool, tag = "1")]
    pub disable: bool,
    #[prost(bool, tag = "2")]
    pub dev_mode: bool,
}

/// `lightstep.metrics.IngestRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IngestRequest {
    #[prost(string, tag = "1")]
    pub idempotency_key: String,
    #[prost(message, optional, tag = "2")]
    pub reporter: Option<Reporter>,
    #[prost(message, repeated, tag = "3")]
    pub points: Vec<MetricPoint>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricPoint {
    /// 0 invalid, 1 `COUNTER`, 2 `GAUGE`.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub metric_name: String,
    #[prost(message, optional, tag = "3")]
    pub start: Option<Timestamp>,
    #[prost(message, optional, tag = "4")]
    pub duration: Option<Timestamp>,
    #[prost(message, repeated, tag = "5")]
    pub labels: Vec<KeyValue>,
    #[prost(oneof = "PointValue", tags = "6, 7")]
    pub value: Option<PointValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PointValue {
    #[prost(uint64, tag = "6")]
    Uint(u64),
    #[prost(double, tag = "7")]
    Double(f64),
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// Bytes as `docs/backends/lightstep.md` (tokens, clients) write them.
    #[test]
    fn messages_have_the_documented_layout() {
        let auth = |token: &str| Auth {
            access_token: vec![token.to_owned()],
        };
        let request = ReportRequest {
            auth: vec![auth("ab")],
            ..ReportRequest::default()
        };
        assert_eq!(request.encode_to_vec(), b"\x12\x04\x0a\x02ab");
        let twice =
            ReportRequest::decode(&b"\x12\x04\x0a\x02ab\x12\x08\x0a\x02cd\x0a\x02ef"[..]).unwrap();
        assert_eq!(
            twice.auth,
            [
                auth("ab"),
                Auth {
                    access_token: vec!["cd".to_owned(), "ef".to_owned()]
                }
            ]
        );
        let disable = Command {
            disable: true,
            dev_mode: false,
        };
        let response = ReportResponse {
            commands: vec![disable],
            ..ReportResponse::default()
        };
        assert_eq!(response.encode_to_vec(), b"\x0a\x02\x08\x01");
        let tag = Reporter {
            reporter_id: 1,
            tags: vec![KeyValue::text("k", "v")],
        };
        assert_eq!(tag.encode_to_vec(), b"\x08\x01\x22\x06\x0a\x01k\x12\x01v");
    }
}
