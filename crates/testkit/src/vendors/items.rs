//! What tells the items of an export apart, in both encodings.
//!
//! What it does: gives each span, data point and log record a name by which sets of them can be compared. What it refuses to
//! know: the product's own readers. Invariants: an item of a sample has the same name in both encodings; a message that cannot be
//! decoded has no items.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::Value;

use lightkeeper::otlp::{Encoding, Signal};

/// The names of all items, in order: of a span its id, of a data point `service/metric@time`, of a log record
/// `service/time/body`.
pub fn item_names(signal: Signal, encoding: Encoding, message: &[u8]) -> Option<Vec<String>> {
    match encoding {
        Encoding::Json => json(signal, &serde_json::from_slice(message).ok()?),
        Encoding::Protobuf => protobuf(signal, message),
    }
}

fn protobuf(signal: Signal, message: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    match signal {
        Signal::Traces => {
            let message = ExportTraceServiceRequest::decode(message).ok()?;
            let scopes = message
                .resource_spans
                .into_iter()
                .flat_map(|one| one.scope_spans);
            names.extend(
                scopes
                    .flat_map(|one| one.spans)
                    .map(|span| span_name(&span.span_id)),
            );
        }
        Signal::Metrics => {
            for group in ExportMetricsServiceRequest::decode(message)
                .ok()?
                .resource_metrics
            {
                let service = service(group.resource);
                let metrics = group.scope_metrics.into_iter().flat_map(|one| one.metrics);
                for metric in metrics {
                    let times = times(&metric).into_iter();
                    names.extend(times.map(|at| format!("{service}/{}@{at}", metric.name)));
                }
            }
        }
        Signal::Logs => {
            for group in ExportLogsServiceRequest::decode(message)
                .ok()?
                .resource_logs
            {
                let service = service(group.resource);
                let records = group.scope_logs.into_iter().flat_map(|one| one.log_records);
                names.extend(records.map(|record| {
                    format!("{service}/{}/{}", record.time_unix_nano, text(record.body))
                }));
            }
        }
    }
    Some(names)
}

fn span_name(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn service(resource: Option<Resource>) -> String {
    let attributes = resource.unwrap_or_default().attributes.into_iter();
    let mut named = attributes.filter(|pair| pair.key == "service.name");
    named
        .next()
        .map_or_else(String::new, |pair| text(pair.value))
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        _ => String::new(),
    }
}

fn times(metric: &Metric) -> Vec<u64> {
    match &metric.data {
        None => Vec::new(),
        Some(metric::Data::Gauge(data)) => data
            .data_points
            .iter()
            .map(|it| it.time_unix_nano)
            .collect(),
        Some(metric::Data::Sum(data)) => data
            .data_points
            .iter()
            .map(|it| it.time_unix_nano)
            .collect(),
        Some(metric::Data::Histogram(data)) => data
            .data_points
            .iter()
            .map(|it| it.time_unix_nano)
            .collect(),
        Some(metric::Data::ExponentialHistogram(data)) => data
            .data_points
            .iter()
            .map(|it| it.time_unix_nano)
            .collect(),
        Some(metric::Data::Summary(data)) => data
            .data_points
            .iter()
            .map(|it| it.time_unix_nano)
            .collect(),
    }
}

/// The kinds of a metric's data.
const KINDS: [&str; 5] = [
    "gauge",
    "sum",
    "histogram",
    "exponentialHistogram",
    "summary",
];

fn json(signal: Signal, document: &Value) -> Option<Vec<String>> {
    document.as_object()?;
    let (groups, scopes, items) = match signal {
        Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
        Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
        Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
    };
    let mut names = Vec::new();
    for group in list(document, groups) {
        let attributes = group
            .pointer("/resource/attributes")
            .and_then(Value::as_array);
        let mut attributes = attributes.into_iter().flatten();
        let named = attributes.find(|pair| word(pair.get("key")) == "service.name");
        let service = named.map_or("", |pair| word(pair.pointer("/value/stringValue")));
        let items = list(group, scopes)
            .iter()
            .flat_map(|scope| list(scope, items));
        for item in items {
            match signal {
                Signal::Traces => names.push(word(item.get("spanId")).to_lowercase()),
                Signal::Logs => names.push(format!(
                    "{service}/{}/{}",
                    nanos(item.get("timeUnixNano")),
                    word(item.pointer("/body/stringValue"))
                )),
                Signal::Metrics => {
                    let data = KINDS.iter().filter_map(|kind| item.get(kind));
                    let points = data.flat_map(|data| list(data, "dataPoints"));
                    names.extend(points.map(|point| {
                        let at = nanos(point.get("timeUnixNano"));
                        format!("{service}/{}@{at}", word(item.get("name")))
                    }));
                }
            }
        }
    }
    Some(names)
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    let found = of.get(name).and_then(Value::as_array);
    found.map_or(&[], Vec::as_slice)
}

fn word(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// 64-bit numbers may be text or numbers.
fn nanos(value: Option<&Value>) -> u64 {
    let read = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    value.and_then(read).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::samples::Sample;

    #[test]
    fn items_have_the_same_names_in_both_encodings() {
        for signal in Signal::ALL {
            for sample in [
                Sample::empty(signal),
                Sample::of(signal, "checkout", 7).and("cart", 3),
                Sample::of(signal, "checkout", 12).rich(),
            ] {
                let [first, second] = [Encoding::Protobuf, Encoding::Json].map(|encoding| {
                    item_names(signal, encoding, &sample.encode(encoding)).unwrap()
                });
                assert_eq!(first, second);
                assert_eq!(first.len(), sample.items());
                let apart: BTreeSet<&String> = first.iter().collect();
                assert_eq!(apart.len(), sample.items(), "{first:?}");
            }
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                assert_eq!(item_names(signal, encoding, b"\xff[]"), None);
            }
        }
    }
}
