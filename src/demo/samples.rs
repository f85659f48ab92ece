//! Sample telemetry: small, real OTLP messages.
//!
//! What it does: builds an export of any signal for some services, in protobuf and in JSON. What it refuses
//! to know: where it goes. Invariant: both encodings of one sample say the same.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value, json};

use crate::otlp::{Encoding, Signal};

/// 2026-01-01T00:00:00Z, when all samples happened.
const AT_NANOS: u64 = 1_767_225_600_000_000_000;
const SCOPE: &str = "lightkeeper.sample";

/// An export in the making.
#[derive(Clone, Debug)]
pub struct Sample {
    signal: Signal,
    resources: Vec<(Vec<(String, String)>, usize)>,
}

impl Sample {
    /// An export of one service: so many spans, data points or log records.
    pub fn of(signal: Signal, service: &str, items: usize) -> Self {
        Sample { signal, resources: Vec::new() }.and(service, items)
    }

    /// Spans of one service.
    pub fn traces(service: &str, spans: usize) -> Self {
        Self::of(Signal::Traces, service, spans)
    }

    /// Another service in the same export.
    pub fn and(mut self, service: &str, items: usize) -> Self {
        self.resources.push((vec![("service.name".to_owned(), service.to_owned())], items));
        self
    }

    /// One more attribute of the resource named last.
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        if let Some((attributes, _)) = self.resources.last_mut() {
            attributes.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn signal(&self) -> Signal {
        self.signal
    }

    pub fn encode(&self, encoding: Encoding) -> Vec<u8> {
        match encoding {
            Encoding::Protobuf => self.protobuf(),
            Encoding::Json => self.json().to_string().into_bytes(),
        }
    }

    pub fn protobuf(&self) -> Vec<u8> {
        let resources = self.resources.iter();
        match self.signal {
            Signal::Traces => ExportTraceServiceRequest {
                resource_spans: resources
                    .map(|(attributes, items)| ResourceSpans {
                        resource: Some(resource(attributes)),
                        scope_spans: vec![ScopeSpans {
                            scope: Some(scope()),
                            spans: (0..*items).map(span).collect(),
                            ..ScopeSpans::default()
                        }],
                        ..ResourceSpans::default()
                    })
                    .collect(),
            }
            .encode_to_vec(),
            Signal::Metrics => ExportMetricsServiceRequest {
                resource_metrics: resources
                    .map(|(attributes, items)| ResourceMetrics {
                        resource: Some(resource(attributes)),
                        scope_metrics: vec![ScopeMetrics {
                            scope: Some(scope()),
                            metrics: vec![gauge(*items)],
                            ..ScopeMetrics::default()
                        }],
                        ..ResourceMetrics::default()
                    })
                    .collect(),
            }
            .encode_to_vec(),
            Signal::Logs => ExportLogsServiceRequest {
                resource_logs: resources
                    .map(|(attributes, items)| ResourceLogs {
                        resource: Some(resource(attributes)),
                        scope_logs: vec![ScopeLogs {
                            scope: Some(scope()),
                            log_records: (0..*items).map(record).collect(),
                            ..ScopeLogs::default()
                        }],
                        ..ResourceLogs::default()
                    })
                    .collect(),
            }
            .encode_to_vec(),
        }
    }

    /// The OTLP specification's JSON: ids in hexadecimal, 64-bit numbers as text, enums as numbers.
    pub fn json(&self) -> Value {
        let (groups, scopes, list) = match self.signal {
            Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
            Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
            Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
        };
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let resources = self.resources.iter().map(|(attributes, count)| {
            let pairs = attributes.iter().map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }));
            let items: Vec<Value> = match self.signal {
                Signal::Traces => (0..*count)
                    .map(|index| {
                        let span = span(index);
                        json!({
                            "traceId": hex(span.trace_id), "spanId": hex(span.span_id), "name": span.name, "kind": span.kind,
                            "startTimeUnixNano": span.start_time_unix_nano.to_string(),
                            "endTimeUnixNano": span.end_time_unix_nano.to_string(),
                        })
                    })
                    .collect(),
                Signal::Metrics => {
                    let points = (0..*count).map(|index| json!({ "timeUnixNano": time_of(index).to_string(), "asInt": "1" }));
                    vec![json!({ "name": "cart.items", "gauge": { "dataPoints": points.collect::<Vec<_>>() } })]
                }
                Signal::Logs => (0..*count)
                    .map(|index| {
                        let text = json!({ "stringValue": format!("order {index} placed") });
                        json!({ "timeUnixNano": time_of(index).to_string(), "severityNumber": 9, "body": text })
                    })
                    .collect(),
            };
            json!({
                "resource": { "attributes": pairs.collect::<Vec<_>>() },
                scopes: [{ "scope": { "name": SCOPE }, list: items }],
            })
        });
        json!({ groups: resources.collect::<Vec<_>>() })
    }
}

fn time_of(index: usize) -> u64 {
    AT_NANOS.saturating_add((index as u64).saturating_mul(1_000_000))
}

fn text(value: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) })
}

fn resource(attributes: &[(String, String)]) -> Resource {
    let pair =
        |(key, value): &(String, String)| KeyValue { key: key.clone(), value: text(value), ..KeyValue::default() };
    Resource { attributes: attributes.iter().map(pair).collect(), ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope { name: SCOPE.to_owned(), ..InstrumentationScope::default() }
}

fn span(index: usize) -> Span {
    // W3C trace context's own example, the span's number added.
    Span {
        trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes().to_vec(),
        span_id: 0x00f0_67aa_0ba9_02b7_u64.wrapping_add(index as u64).to_be_bytes().to_vec(),
        name: "POST /checkout".to_owned(),
        kind: 2,
        start_time_unix_nano: time_of(index),
        end_time_unix_nano: time_of(index).saturating_add(20_000_000),
        ..Span::default()
    }
}

fn gauge(points: usize) -> Metric {
    let point = |index| NumberDataPoint {
        time_unix_nano: time_of(index),
        value: Some(number_data_point::Value::AsInt(1)),
        ..NumberDataPoint::default()
    };
    let data_points = (0..points).map(point).collect();
    Metric {
        name: "cart.items".to_owned(),
        data: Some(metric::Data::Gauge(Gauge { data_points })),
        ..Metric::default()
    }
}

fn record(index: usize) -> LogRecord {
    LogRecord {
        time_unix_nano: time_of(index),
        severity_number: 9,
        body: text(&format!("order {index} placed")),
        ..LogRecord::default()
    }
}
