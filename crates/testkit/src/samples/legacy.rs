//! Sample reports in the formats that are not OTLP, with access tokens wherever they may stand.
//!
//! What it does: writes a small report of one service as that format's clients do (`docs/backends/lightstep.md`, from paths
//! of ingest to report layouts), and the head that goes with it. What it refuses to know: where it goes, and which tokens are
//! good. Invariant: a token stands in the carriers that were named and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use serde_json::{Value, json};

use super::{Sample, span_id};
use crate::formats::{COMPONENT_NAME, Carrier, FIREHOSE_KEY, FIREHOSE_REQUEST, Format, TOKEN_TAGS};
use crate::messages::{
    self, Auth, IngestRequest, KeyValue, Log, MetricPoint, PointValue, ReportRequest, Reporter,
    SpanContext, Timestamp,
};
use crate::thrift::{Fields, Kind, Message, Thrift};
use lightkeeper::otlp::Signal;

/// 2026-01-01T00:00:00Z.
const AT_SECONDS: i64 = 1_767_225_600;
const AT_TEXT: &str = "2026-01-01T00:00:00Z";
const REPORTER_ID: u64 = 77;
const REQUEST_ID: &str = "ed4acda5-034f-9f42-bba1-f29aea6d7d8f";
const OPERATION: &str = "POST /checkout";
/// The number of Thrift's call.
const SEQUENCE: i32 = 3;

/// A report in the making.
#[derive(Clone, Debug)]
pub struct LegacySample {
    format: Format,
    service: String,
    items: usize,
    seed: u64,
    tokens: Vec<(Carrier, String)>,
    tags: Vec<(String, String)>,
    span_tags: Vec<(String, String)>,
    unknown: bool,
}

impl LegacySample {
    /// So many spans (points, log lines) of one service, and no token.
    pub fn of(format: Format, service: &str, items: usize) -> Self {
        LegacySample {
            format,
            service: service.to_owned(),
            items,
            seed: 0,
            tokens: Vec::new(),
            tags: Vec::new(),
            span_tags: Vec::new(),
            unknown: false,
        }
    }

    /// The token wherever this format's usual clients put it.
    pub fn token(self, token: &str) -> Self {
        let carriers = self.format.usual_carriers();
        carriers
            .iter()
            .fold(self, |sample, carrier| sample.carrying(*carrier, token))
    }

    /// A token in this place, also a second one.
    pub fn carrying(mut self, carrier: Carrier, token: &str) -> Self {
        self.tokens.push((carrier, token.to_owned()));
        self
    }

    /// Gives the spans ids that no sample with another seed (below 2^40) has.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// One more tag of the process that reports; Zipkin, Bulk and Firehose have no place for it.
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more tag of each span, label of each point, member of each log line; Firehose has no place for it.
    pub fn span_tag(mut self, name: &str, value: &str) -> Self {
        self.span_tags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With fields (members) that no version of the format has; Bulk takes any.
    pub fn unknown_fields(mut self) -> Self {
        self.unknown = true;
        self
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn items(&self) -> usize {
        self.items
    }

    /// The ids of its spans, in order; none for formats without spans.
    pub fn span_ids(&self) -> Vec<u64> {
        match self.format {
            Format::Metrics | Format::Bulk | Format::Firehose => Vec::new(),
            _ => (0..self.items)
                .map(|number| span_id(self.seed, number))
                .collect(),
        }
    }

    /// The head's lines: media type and tokens.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", self.format.content_type().to_owned())];
        for (carrier, token) in &self.tokens {
            match carrier {
                Carrier::Header => headers.push(("lightstep-access-token", token.clone())),
                Carrier::Basic => {
                    headers.push((
                        "authorization",
                        format!("Basic {}", STANDARD.encode(format!(":{token}"))),
                    ));
                }
                Carrier::FirehoseKey => headers.push((FIREHOSE_KEY, token.clone())),
                Carrier::Body | Carrier::Tag => {}
            }
        }
        if self.format == Format::Firehose {
            headers.push((FIREHOSE_REQUEST, REQUEST_ID.to_owned()));
        }
        headers
    }

    /// The body; over gRPC the message.
    pub fn body(&self) -> Vec<u8> {
        match self.format {
            Format::Reports | Format::ReportsGrpc => {
                self.with_unknown(self.report().encode_to_vec())
            }
            Format::ReportsJson => self.document(report_json(&self.report())),
            Format::ThriftJson => self.document(self.thrift_json()),
            Format::ThriftBinary => self.thrift_binary(),
            Format::Metrics => self.with_unknown(self.metrics().encode_to_vec()),
            Format::Zipkin => self.zipkin(),
            Format::Bulk => self.bulk(),
            Format::Firehose => self.firehose(),
        }
    }

    fn carried(&self, wanted: Carrier) -> impl Iterator<Item = &str> {
        self.tokens
            .iter()
            .filter(move |(carrier, _)| *carrier == wanted)
            .map(|(_, token)| token.as_str())
    }

    /// The reporter's tags: the service's name, and what tracers usually add.
    fn reporter_tags(&self) -> Vec<(&str, &str)> {
        let usual = [
            (COMPONENT_NAME, self.service.as_str()),
            ("lightstep.hostname", "pod-7"),
            ("lightstep.guid", "4d"),
            ("lightstep.tracer_platform", "sample"),
            ("lightstep.tracer_version", "1.0.0"),
        ];
        usual.into_iter().chain(borrowed(&self.tags)).collect()
    }

    fn tags_of_span(&self) -> Vec<(&str, &str)> {
        let tokens = TOKEN_TAGS.into_iter().zip(self.carried(Carrier::Tag));
        [("http.method", "POST")]
            .into_iter()
            .chain(borrowed(&self.span_tags))
            .chain(tokens)
            .collect()
    }

    fn report(&self) -> ReportRequest {
        let spans = self.span_ids().into_iter().map(|span_id| messages::Span {
            span_context: Some(SpanContext {
                trace_id: 9,
                span_id,
                ..SpanContext::default()
            }),
            operation_name: OPERATION.to_owned(),
            start_timestamp: at(),
            duration_micros: 20_000,
            tags: key_values(self.tags_of_span()),
            logs: vec![Log {
                timestamp: at(),
                fields: vec![KeyValue::text("event", "retry")],
            }],
            ..messages::Span::default()
        });
        let auth = self.carried(Carrier::Body).map(|token| Auth {
            access_token: vec![token.to_owned()],
        });
        ReportRequest {
            reporter: Some(self.reporter()),
            auth: auth.collect(),
            spans: spans.collect(),
            timestamp_offset_micros: -5,
            internal_metrics: None,
        }
    }

    fn reporter(&self) -> Reporter {
        Reporter {
            reporter_id: REPORTER_ID,
            tags: key_values(self.reporter_tags()),
        }
    }

    fn metrics(&self) -> IngestRequest {
        let point = |index| MetricPoint {
            kind: 2,
            metric_name: "cpu.sys".to_owned(),
            start: at(),
            duration: Some(Timestamp {
                seconds: 30,
                nanos: 0,
            }),
            labels: key_values(self.tags_of_span()),
            value: Some(PointValue::Double(index as f64)),
        };
        IngestRequest {
            idempotency_key: format!("key-{}", self.seed),
            reporter: Some(self.reporter()),
            points: (0..self.items).map(point).collect(),
        }
    }

    fn thrift_json(&self) -> Value {
        let pairs = |tags: Vec<(&str, &str)>| -> Vec<Value> {
            tags.into_iter()
                .map(|(name, value)| json!({ "Key": name, "Value": value }))
                .collect()
        };
        let micros = AT_SECONDS * 1_000_000;
        let span = |id: u64| {
            json!({
                "span_guid": format!("{id:x}"), "trace_guid": "9", "runtime_guid": "4d", "span_name": OPERATION,
                "join_ids": [], "oldest_micros": micros, "youngest_micros": micros + 20_000,
                "attributes": pairs(self.tags_of_span()), "error_flag": false,
                "log_records": [{ "timestamp_micros": micros, "fields": pairs(vec![("event", "retry")]) }],
            })
        };
        let mut document = json!({
            "runtime": {
                "guid": "4d", "start_micros": micros, "group_name": self.service, "attrs": pairs(self.reporter_tags()),
            },
            "span_records": self.span_ids().into_iter().map(span).collect::<Vec<_>>(),
            "oldest_micros": micros, "youngest_micros": micros + 20_000, "timestamp_offset_micros": 0,
            "internal_metrics": { "counts": [{ "Name": "spans.dropped", "Value": 0 }] },
        });
        if let (Some(token), Some(members)) =
            (self.carried(Carrier::Body).next(), document.as_object_mut())
        {
            members.insert("auth".to_owned(), json!({ "access_token": token }));
        }
        document
    }

    /// Field numbers as in `docs/backends/lightstep.md` (report layouts).
    fn thrift_binary(&self) -> Vec<u8> {
        let pairs = |tags: Vec<(&str, &str)>| {
            let pair = |(name, value)| vec![(1, Thrift::text(name)), (2, Thrift::text(value))];
            Thrift::structs(tags.into_iter().map(pair).collect())
        };
        let micros = AT_SECONDS * 1_000_000;
        let span = |id: u64| -> Fields {
            let log = vec![
                (1, Thrift::I64(micros)),
                (13, pairs(vec![("event", "retry")])),
            ];
            vec![
                (1, Thrift::text(&format!("{id:x}"))),
                (2, Thrift::text("4d")),
                (3, Thrift::text(OPERATION)),
                (5, Thrift::I64(micros)),
                (6, Thrift::I64(micros + 20_000)),
                (8, pairs(self.tags_of_span())),
                (9, Thrift::Bool(false)),
                (10, Thrift::structs(vec![log])),
                (11, Thrift::text("9")),
            ]
        };
        let runtime = vec![
            (1, Thrift::text("4d")),
            (2, Thrift::I64(micros)),
            (3, Thrift::text(&self.service)),
            (4, pairs(self.reporter_tags())),
        ];
        let mut request = vec![
            (1, Thrift::Struct(runtime)),
            (
                3,
                Thrift::structs(self.span_ids().into_iter().map(span).collect()),
            ),
            (5, Thrift::I64(-5)),
        ];
        if self.unknown {
            let inner = Thrift::Map(
                11,
                12,
                vec![(
                    Thrift::text("kept"),
                    Thrift::Struct(vec![(7, Thrift::Double(0.5))]),
                )],
            );
            request.push((99, inner));
        }
        let auth = self
            .carried(Carrier::Body)
            .map(|token| (1, Thrift::Struct(vec![(1, Thrift::text(token))])));
        let fields = auth.chain([(2, Thrift::Struct(request))]).collect();
        Message {
            kind: Kind::Call,
            name: "Report".to_owned(),
            sequence: SEQUENCE,
            fields,
        }
        .write()
    }

    fn zipkin(&self) -> Vec<u8> {
        let span = |id: u64| {
            let tags: serde_json::Map<String, Value> = self
                .tags_of_span()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
            let mut span = json!({
                "traceId": "0000000000000009", "id": format!("{id:016x}"), "name": "post /checkout", "kind": "SERVER",
                "timestamp": AT_SECONDS * 1_000_000, "duration": 20_000,
                "localEndpoint": { "serviceName": self.service, "ipv4": "10.0.0.7" }, "tags": tags,
            });
            if let Some(members) = span.as_object_mut().filter(|_| self.unknown) {
                members.insert("aFutureMember".to_owned(), json!({ "kept": [1, null] }));
            }
            span
        };
        Value::from_iter(self.span_ids().into_iter().map(span))
            .to_string()
            .into_bytes()
    }

    fn bulk(&self) -> Vec<u8> {
        let mut lines = String::new();
        for index in 0..self.items {
            let mut line = json!({
                "@timestamp": AT_TEXT, "service": self.service, "message": format!("order {index} placed"), "severity": 9,
            });
            for (name, value) in borrowed(&self.span_tags) {
                if let Some(members) = line.as_object_mut() {
                    members.insert(name.to_owned(), value.into());
                }
            }
            lines.push_str(&format!(
                "{}\n{line}\n",
                json!({ "create": { "_index": "logs" } })
            ));
        }
        lines.into_bytes()
    }

    fn firehose(&self) -> Vec<u8> {
        let metrics = Sample::of(Signal::Metrics, &self.service, self.items).protobuf();
        let mut data = Vec::new();
        prost::encoding::encode_varint(metrics.len() as u64, &mut data);
        data.extend(metrics);
        let records = json!([{ "data": STANDARD.encode(data) }]);
        self.document(
            json!({ "requestId": REQUEST_ID, "timestamp": AT_SECONDS * 1000, "records": records }),
        )
    }

    fn document(&self, mut document: Value) -> Vec<u8> {
        if let Some(members) = document.as_object_mut().filter(|_| self.unknown) {
            members.insert(
                "aFutureMember".to_owned(),
                json!({ "kept": [1.5e300, null, "as it is"] }),
            );
        }
        document.to_string().into_bytes()
    }

    /// Field 2000 with a length behind the last one.
    fn with_unknown(&self, mut message: Vec<u8>) -> Vec<u8> {
        if self.unknown {
            message.extend_from_slice(b"\x82\x7d\x0dkept as it is");
        }
        message
    }
}

fn at() -> Option<Timestamp> {
    Some(Timestamp {
        seconds: AT_SECONDS,
        nanos: 0,
    })
}

fn borrowed(tags: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    tags.iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

fn key_values(tags: Vec<(&str, &str)>) -> Vec<KeyValue> {
    tags.into_iter()
        .map(|(name, value)| KeyValue::text(name, value))
        .collect()
}

/// The message as proto3 JSON: names in lower camel case, 64-bit numbers as text.
fn report_json(report: &ReportRequest) -> Value {
    let pairs = |tags: &[KeyValue]| -> Vec<Value> {
        tags.iter()
            .map(|tag| json!({ "key": tag.key, "stringValue": tag.shown() }))
            .collect()
    };
    let spans = report.spans.iter().map(|span| {
        let context = span.span_context.clone().unwrap_or_default();
        let logs = span.logs.iter().map(|log| json!({ "timestamp": AT_TEXT, "fields": pairs(&log.fields) }));
        json!({
            "spanContext": { "traceId": context.trace_id.to_string(), "spanId": context.span_id.to_string() },
            "operationName": span.operation_name, "startTimestamp": AT_TEXT,
            "durationMicros": span.duration_micros.to_string(), "tags": pairs(&span.tags),
            "logs": logs.collect::<Vec<_>>(),
        })
    });
    let tags = report
        .reporter
        .as_ref()
        .map(|reporter| pairs(&reporter.tags));
    let mut document = json!({
        "reporter": { "reporterId": REPORTER_ID.to_string(), "tags": tags },
        "spans": spans.collect::<Vec<_>>(),
        "timestampOffsetMicros": report.timestamp_offset_micros.to_string(),
    });
    let token = report
        .auth
        .first()
        .and_then(|auth| auth.access_token.first());
    if let (Some(token), Some(members)) = (token, document.as_object_mut()) {
        members.insert("auth".to_owned(), json!({ "accessToken": token }));
    }
    document
}
