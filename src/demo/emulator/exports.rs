//! Decoded exports: what telemetry arrived, in words fit for a story.
//!
//! What it does: decodes the OTLP messages of the three signals, protobuf and JSON, into resources and
//! counts. What it refuses to know: tokens, transports. Invariant: an undecodable body yields `None`,
//! never part of an export.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::Value;

use crate::otlp::{Encoding, Signal};

/// One accepted export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The project whose token it came with.
    pub project: String,
    pub signal: Signal,
    pub resources: Vec<ExportedResource>,
}

/// One resource of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedResource {
    /// As they came, values as text.
    pub attributes: Vec<(String, String)>,
    /// Spans, data points or log records.
    pub items: u64,
}

impl ExportedResource {
    /// An attribute's first value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Export {
    /// The services named by the resources, in order.
    pub fn services(&self) -> Vec<&str> {
        self.resources.iter().filter_map(|resource| resource.attribute("service.name")).collect()
    }

    /// Spans, data points or log records in total.
    pub fn items(&self) -> u64 {
        self.resources.iter().map(|resource| resource.items).sum()
    }
}

pub(super) fn decode(signal: Signal, encoding: Encoding, body: &[u8]) -> Option<Vec<ExportedResource>> {
    match encoding {
        Encoding::Json => decode_json(signal, &serde_json::from_slice(body).ok()?),
        Encoding::Protobuf => match signal {
            Signal::Traces => {
                let request = ExportTraceServiceRequest::decode(body).ok()?;
                let items = request.resource_spans.into_iter().map(|group| {
                    (group.resource, group.scope_spans.iter().map(|scope| scope.spans.len()).sum::<usize>())
                });
                Some(items.map(exported).collect())
            }
            Signal::Metrics => {
                let request = ExportMetricsServiceRequest::decode(body).ok()?;
                let items = request.resource_metrics.into_iter().map(|group| {
                    let metrics = group.scope_metrics.iter().flat_map(|scope| &scope.metrics);
                    (group.resource, metrics.map(points).sum::<usize>())
                });
                Some(items.map(exported).collect())
            }
            Signal::Logs => {
                let request = ExportLogsServiceRequest::decode(body).ok()?;
                let items = request.resource_logs.into_iter().map(|group| {
                    (group.resource, group.scope_logs.iter().map(|scope| scope.log_records.len()).sum::<usize>())
                });
                Some(items.map(exported).collect())
            }
        },
    }
}

fn exported((resource, items): (Option<Resource>, usize)) -> ExportedResource {
    let attributes = resource.map(|resource| resource.attributes).unwrap_or_default();
    ExportedResource {
        attributes: attributes.into_iter().map(|pair| (pair.key, text(pair.value))).collect(),
        items: items as u64,
    }
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::BoolValue(value)) => value.to_string(),
        Some(any_value::Value::IntValue(value)) => value.to_string(),
        Some(any_value::Value::DoubleValue(value)) => value.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(metric::Data::Gauge(data)) => data.data_points.len(),
        Some(metric::Data::Sum(data)) => data.data_points.len(),
        Some(metric::Data::Histogram(data)) => data.data_points.len(),
        Some(metric::Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(metric::Data::Summary(data)) => data.data_points.len(),
        None => 0,
    }
}

/// The JSON names of a signal's nested lists (OTLP specification, "JSON Protobuf Encoding").
fn decode_json(signal: Signal, document: &Value) -> Option<Vec<ExportedResource>> {
    let (groups, scopes, items) = match signal {
        Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
        Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
        Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
    };
    let list = |value: &Value, name: &str| -> Option<Vec<Value>> {
        match value.as_object()?.get(name) {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::Array(values)) => Some(values.clone()),
            Some(_) => None,
        }
    };
    let mut resources = Vec::new();
    for group in list(document, groups)? {
        let mut count = 0;
        for scope in list(&group, scopes)? {
            for item in list(&scope, items)? {
                count += if signal == Signal::Metrics { json_points(&item)? } else { 1 };
            }
        }
        let mut attributes = Vec::new();
        for pair in group.get("resource").map_or(Some(Vec::new()), |resource| list(resource, "attributes"))? {
            let value = pair.get("value").and_then(Value::as_object).and_then(|value| value.values().next());
            let value = value.map_or_else(String::new, |value| value.as_str().map_or(value.to_string(), str::to_owned));
            attributes.push((pair.get("key")?.as_str()?.to_owned(), value));
        }
        resources.push(ExportedResource { attributes, items: count });
    }
    Some(resources)
}

fn json_points(metric: &Value) -> Option<u64> {
    let data =
        ["gauge", "sum", "histogram", "exponentialHistogram", "summary"].iter().filter_map(|kind| metric.get(kind));
    let points = data.filter_map(|data| data.get("dataPoints")).map(|points| points.as_array().map(Vec::len));
    points.sum::<Option<usize>>().map(|count| count as u64)
}
