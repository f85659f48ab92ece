//! A sample in JSON.
//!
//! What it does: writes the same items as the protobuf side, as the OTLP specification's "JSON Protobuf
//! Encoding" has them. What it refuses to know: what the items say. Invariant: ids are in hexadecimal, 64-bit
//! numbers text, enums numbers; what is empty is left out.

use base64::Engine as _;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Metric, NumberDataPoint, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Map, Value, json};

use super::{Part, SCHEMA_URL, SCOPE, Sample, items};
use lightkeeper::otlp::Signal;

pub(super) fn encode(sample: &Sample) -> Value {
    let (groups, scopes, list) = match sample.signal {
        Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
        Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
        Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
    };
    let object = |members: Vec<(&str, Value)>| whole(members, sample);
    let resources = sample.parts().map(|(part, first)| {
        let items: Vec<Value> = json_items(sample, part, first)
            .into_iter()
            .map(object)
            .collect();
        let mut scope = vec![("name", json!(SCOPE))];
        if sample.rich {
            scope.push(("version", json!("1.0.0")));
        }
        scope.push(("attributes", pairs(&items::pairs(&part.scope))));
        let mut scoped = vec![("scope", object(scope)), (list, items.into())];
        let resource = Map::from_iter([(
            "attributes".to_owned(),
            pairs(&items::pairs(&part.attributes)),
        )]);
        let mut resource = Value::Object(resource);
        unknown(&mut resource, sample);
        let schema_url = sample.rich.then(|| ("schemaUrl", json!(SCHEMA_URL)));
        scoped.extend(schema_url.clone());
        let mut group = vec![("resource", resource), (scopes, json!([object(scoped)]))];
        group.extend(schema_url);
        object(group)
    });
    let mut document = json!({ groups: resources.collect::<Vec<_>>() });
    unknown(&mut document, sample);
    document
}

fn json_items<'s>(sample: &'s Sample, part: &Part, first: usize) -> Vec<Vec<(&'s str, Value)>> {
    match sample.signal {
        Signal::Traces => items::spans(sample, part, first).iter().map(span).collect(),
        Signal::Metrics => items::metrics(sample, part).iter().map(metric).collect(),
        Signal::Logs => items::records(sample, part).iter().map(record).collect(),
    }
}

/// An object of the members that are not empty.
fn object(members: Vec<(&str, Value)>) -> Value {
    let full = |value: &Value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        _ => true,
    };
    let full = members.into_iter().filter(|(_, value)| full(value));
    Value::Object(full.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn whole(members: Vec<(&str, Value)>, sample: &Sample) -> Value {
    let mut object = object(members);
    unknown(&mut object, sample);
    object
}

/// A member that no version of OTLP has.
fn unknown(object: &mut Value, sample: &Sample) {
    if let Some(members) = object.as_object_mut().filter(|_| sample.unknown) {
        members.insert(
            "aFutureMember".to_owned(),
            json!({ "kept": [1.5e300, null, true, "as it is", { "attributes": [] }] }),
        );
    }
}

fn span(span: &Span) -> Vec<(&'static str, Value)> {
    let events = span.events.iter().map(|event| {
        object(vec![
            ("timeUnixNano", long(event.time_unix_nano)),
            ("name", json!(event.name)),
            ("attributes", pairs(&event.attributes)),
        ])
    });
    let links = span.links.iter().map(|link| {
        object(vec![
            ("traceId", hex(&link.trace_id)),
            ("spanId", hex(&link.span_id)),
            ("attributes", pairs(&link.attributes)),
        ])
    });
    let status = span
        .status
        .as_ref()
        .map(|status| json!({ "message": status.message, "code": status.code }));
    vec![
        ("traceId", hex(&span.trace_id)),
        ("spanId", hex(&span.span_id)),
        ("traceState", json!(span.trace_state)),
        ("parentSpanId", hex(&span.parent_span_id)),
        ("flags", json!(span.flags)),
        ("name", json!(span.name)),
        ("kind", json!(span.kind)),
        ("startTimeUnixNano", long(span.start_time_unix_nano)),
        ("endTimeUnixNano", long(span.end_time_unix_nano)),
        ("attributes", pairs(&span.attributes)),
        ("events", events.collect()),
        ("links", links.collect()),
        ("status", status.unwrap_or_default()),
    ]
}

fn record(record: &LogRecord) -> Vec<(&'static str, Value)> {
    vec![
        ("timeUnixNano", long(record.time_unix_nano)),
        ("observedTimeUnixNano", long(record.observed_time_unix_nano)),
        ("severityNumber", json!(record.severity_number)),
        ("severityText", json!(record.severity_text)),
        ("body", any(record.body.as_ref())),
        ("attributes", pairs(&record.attributes)),
        ("traceId", hex(&record.trace_id)),
        ("spanId", hex(&record.span_id)),
    ]
}

fn metric(metric: &Metric) -> Vec<(&'static str, Value)> {
    let (kind, data) = match &metric.data {
        Some(metric::Data::Gauge(data)) => (
            "gauge",
            json!({ "dataPoints": data.data_points.iter().map(number).collect::<Vec<_>>() }),
        ),
        Some(metric::Data::Sum(data)) => {
            let points: Vec<Value> = data.data_points.iter().map(number).collect();
            (
                "sum",
                json!({ "dataPoints": points, "aggregationTemporality": 2, "isMonotonic": true }),
            )
        }
        Some(metric::Data::Histogram(data)) => {
            let points = data.data_points.iter().map(|it| {
                object(vec![
                    ("timeUnixNano", long(it.time_unix_nano)),
                    ("count", long(it.count)),
                    ("sum", json!(it.sum)),
                    (
                        "bucketCounts",
                        it.bucket_counts.iter().copied().map(long).collect(),
                    ),
                    ("explicitBounds", json!(it.explicit_bounds)),
                    ("attributes", pairs(&it.attributes)),
                    ("exemplars", it.exemplars.iter().map(exemplar).collect()),
                ])
            });
            (
                "histogram",
                json!({ "dataPoints": points.collect::<Vec<_>>(), "aggregationTemporality": 1 }),
            )
        }
        Some(metric::Data::ExponentialHistogram(data)) => {
            let points = data.data_points.iter().map(|it| {
                let buckets = it.positive.as_ref().map(|buckets| {
                    let counts: Vec<Value> =
                        buckets.bucket_counts.iter().copied().map(long).collect();
                    json!({ "offset": buckets.offset, "bucketCounts": counts })
                });
                object(vec![
                    ("timeUnixNano", long(it.time_unix_nano)),
                    ("count", long(it.count)),
                    ("scale", json!(it.scale)),
                    ("positive", buckets.unwrap_or_default()),
                    ("attributes", pairs(&it.attributes)),
                    ("exemplars", it.exemplars.iter().map(exemplar).collect()),
                ])
            });
            (
                "exponentialHistogram",
                json!({ "dataPoints": points.collect::<Vec<_>>(), "aggregationTemporality": 1 }),
            )
        }
        Some(metric::Data::Summary(data)) => {
            let points = data.data_points.iter().map(|it| {
                let quantiles = it
                    .quantile_values
                    .iter()
                    .map(|at| json!({ "quantile": at.quantile, "value": at.value }));
                object(vec![
                    ("timeUnixNano", long(it.time_unix_nano)),
                    ("count", long(it.count)),
                    ("sum", json!(it.sum)),
                    ("quantileValues", quantiles.collect()),
                    ("attributes", pairs(&it.attributes)),
                ])
            });
            (
                "summary",
                json!({ "dataPoints": points.collect::<Vec<_>>() }),
            )
        }
        None => ("gauge", Value::Null),
    };
    vec![("name", json!(metric.name)), (kind, data)]
}

fn number(point: &NumberDataPoint) -> Value {
    let value = match point.value {
        Some(number_data_point::Value::AsInt(value)) => json!(value.to_string()),
        Some(number_data_point::Value::AsDouble(_)) | None => Value::Null,
    };
    object(vec![
        ("timeUnixNano", long(point.time_unix_nano)),
        ("asInt", value),
        ("attributes", pairs(&point.attributes)),
        ("exemplars", point.exemplars.iter().map(exemplar).collect()),
    ])
}

fn exemplar(exemplar: &Exemplar) -> Value {
    let value = match exemplar.value {
        Some(exemplar::Value::AsDouble(value)) => json!(value),
        Some(exemplar::Value::AsInt(_)) | None => Value::Null,
    };
    object(vec![
        ("filteredAttributes", pairs(&exemplar.filtered_attributes)),
        ("timeUnixNano", long(exemplar.time_unix_nano)),
        ("asDouble", value),
        ("traceId", hex(&exemplar.trace_id)),
        ("spanId", hex(&exemplar.span_id)),
    ])
}

fn long(value: u64) -> Value {
    if value == 0 {
        Value::Null
    } else {
        value.to_string().into()
    }
}

fn hex(bytes: &[u8]) -> Value {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}

fn pairs(attributes: &[KeyValue]) -> Value {
    attributes
        .iter()
        .map(|pair| json!({ "key": pair.key, "value": any(pair.value.as_ref()) }))
        .collect()
}

fn any(value: Option<&AnyValue>) -> Value {
    use any_value::Value as Any;
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(value)) => json!({ "boolValue": value }),
        Some(Any::IntValue(value)) => json!({ "intValue": value.to_string() }),
        Some(Any::DoubleValue(value)) => json!({ "doubleValue": value }),
        Some(Any::BytesValue(bytes)) => {
            json!({ "bytesValue": base64::engine::general_purpose::STANDARD.encode(bytes) })
        }
        Some(Any::ArrayValue(list)) => {
            json!({ "arrayValue": { "values": list.values.iter().map(|value| any(Some(value))).collect::<Vec<_>>() } })
        }
        Some(Any::KvlistValue(list)) => json!({ "kvlistValue": { "values": pairs(&list.values) } }),
        _ => json!({}),
    }
}
