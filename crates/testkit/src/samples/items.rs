//! The items of a sample: spans, metrics and log records, as both encodings take them.
//!
//! What it does: builds them from a sample's settings. What it refuses to know: encodings.
//! Invariant: a part has as many spans, data points or log records as it says.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, Sum, Summary, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, metric, number_data_point,
    summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span};

use super::{Part, Sample};

/// 2026-01-01T00:00:00Z, when all samples happened.
const AT_NANOS: u64 = 1_767_225_600_000_000_000;
/// W3C trace context's own example.
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

/// The id of a sample's span, by the sample's seed and the span's number in it (below 2^24).
pub fn span_id(seed: u64, number: usize) -> u64 {
    SPAN.wrapping_add(seed << 24).wrapping_add(number as u64)
}

pub(super) fn trace_id(seed: u64) -> u128 {
    TRACE.wrapping_add(u128::from(seed))
}

fn time_of(index: usize) -> u64 {
    AT_NANOS.saturating_add((index as u64).saturating_mul(1_000_000))
}

pub(super) fn text(value: &str) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(any_value::Value::StringValue(value.to_owned())),
    })
}

pub(super) fn pairs(attributes: &[(String, String)]) -> Vec<KeyValue> {
    attributes
        .iter()
        .map(|(key, value)| pair(key, text(value)))
        .collect()
}

fn pair(key: &str, value: Option<AnyValue>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value,
        ..KeyValue::default()
    }
}

/// One attribute of each type that a value may have.
fn every_type() -> Vec<KeyValue> {
    use any_value::Value;
    let any = |value| Some(AnyValue { value: Some(value) });
    let element = |value| AnyValue { value: Some(value) };
    let list = ArrayValue {
        values: vec![
            element(Value::IntValue(1)),
            element(Value::StringValue("two".to_owned())),
        ],
    };
    let inner = KeyValueList {
        values: vec![pair("inner", text("value"))],
    };
    vec![
        pair("sample.text", text("grüße \"quoted\"")),
        pair("sample.int", any(Value::IntValue(-200))),
        pair("sample.double", any(Value::DoubleValue(0.5))),
        pair("sample.bool", any(Value::BoolValue(true))),
        pair("sample.bytes", any(Value::BytesValue(vec![0, 255, 7]))),
        pair("sample.list", any(Value::ArrayValue(list))),
        pair("sample.map", any(Value::KvlistValue(inner))),
        pair("sample.empty", None),
    ]
}

/// The spans of a part whose first one has this number in the sample.
pub(super) fn spans(sample: &Sample, part: &Part, first: usize) -> Vec<Span> {
    (0..part.items)
        .map(|index| {
            let mut attributes = pairs(&part.item);
            let mut span = Span {
                trace_id: trace_id(sample.seed).to_be_bytes().to_vec(),
                span_id: span_id(sample.seed, first + index).to_be_bytes().to_vec(),
                name: "POST /checkout".to_owned(),
                kind: 2,
                start_time_unix_nano: time_of(index),
                end_time_unix_nano: time_of(index).saturating_add(20_000_000),
                ..Span::default()
            };
            if sample.rich {
                attributes.extend(every_type());
                span.trace_state = "vendor=1".to_owned();
                span.parent_span_id = SPAN.to_be_bytes().to_vec();
                span.flags = 0x101;
                span.status = Some(Status {
                    message: "declined".to_owned(),
                    code: 2,
                });
            }
            if sample.rich || !part.nested.is_empty() {
                span.events = vec![span::Event {
                    time_unix_nano: time_of(index),
                    name: "retry".to_owned(),
                    attributes: pairs(&part.nested),
                    dropped_attributes_count: 0,
                }];
                span.links = vec![span::Link {
                    trace_id: TRACE.to_be_bytes().to_vec(),
                    span_id: SPAN.to_be_bytes().to_vec(),
                    attributes: pairs(&part.nested),
                    ..span::Link::default()
                }];
            }
            span.attributes = attributes;
            span
        })
        .collect()
}

pub(super) fn records(sample: &Sample, part: &Part) -> Vec<LogRecord> {
    (0..part.items)
        .map(|index| {
            let mut record = LogRecord {
                time_unix_nano: time_of(index),
                severity_number: 9,
                body: text(&format!("order {index} placed")),
                attributes: pairs(&part.item),
                ..LogRecord::default()
            };
            if sample.rich {
                record.attributes.extend(every_type());
                record.observed_time_unix_nano = time_of(index);
                record.severity_text = "INFO".to_owned();
                record.trace_id = trace_id(sample.seed).to_be_bytes().to_vec();
                record.span_id = SPAN.to_be_bytes().to_vec();
            }
            record
        })
        .collect()
}

/// One gauge; of a rich sample, the points are dealt out to the five kinds in turn.
pub(super) fn metrics(sample: &Sample, part: &Part) -> Vec<Metric> {
    let kinds = if sample.rich { 5 } else { 1 };
    (0..kinds)
        .map(|kind| {
            let indices = (0..part.items).filter(move |index| index % kinds == kind);
            Metric {
                name: name(kind).to_owned(),
                data: Some(data(kind, indices, sample, part)),
                ..Metric::default()
            }
        })
        .collect()
}

fn name(kind: usize) -> &'static str {
    [
        "cart.items",
        "orders",
        "order.duration",
        "order.size",
        "order.price",
    ]
    .get(kind)
    .copied()
    .unwrap_or_default()
}

fn data(
    kind: usize,
    indices: impl Iterator<Item = usize>,
    sample: &Sample,
    part: &Part,
) -> metric::Data {
    let attributes = || {
        let mut attributes = pairs(&part.item);
        if sample.rich {
            attributes.extend(every_type());
        }
        attributes
    };
    let exemplars = |index| {
        let exemplar = Exemplar {
            filtered_attributes: pairs(&part.nested),
            time_unix_nano: time_of(index),
            trace_id: trace_id(sample.seed).to_be_bytes().to_vec(),
            span_id: SPAN.to_be_bytes().to_vec(),
            value: Some(exemplar::Value::AsDouble(0.25)),
        };
        if sample.rich || !part.nested.is_empty() {
            vec![exemplar]
        } else {
            Vec::new()
        }
    };
    let number = |index| NumberDataPoint {
        time_unix_nano: time_of(index),
        attributes: attributes(),
        exemplars: exemplars(index),
        value: Some(number_data_point::Value::AsInt(1)),
        ..NumberDataPoint::default()
    };
    match kind {
        0 => metric::Data::Gauge(Gauge {
            data_points: indices.map(number).collect(),
        }),
        1 => metric::Data::Sum(Sum {
            data_points: indices.map(number).collect(),
            aggregation_temporality: 2,
            is_monotonic: true,
        }),
        2 => metric::Data::Histogram(Histogram {
            data_points: indices
                .map(|index| HistogramDataPoint {
                    time_unix_nano: time_of(index),
                    count: 3,
                    sum: Some(4.5),
                    bucket_counts: vec![1, 2],
                    explicit_bounds: vec![2.5],
                    attributes: attributes(),
                    exemplars: exemplars(index),
                    ..HistogramDataPoint::default()
                })
                .collect(),
            aggregation_temporality: 1,
        }),
        3 => metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points: indices
                .map(|index| ExponentialHistogramDataPoint {
                    time_unix_nano: time_of(index),
                    count: 3,
                    scale: -1,
                    positive: Some(Buckets {
                        offset: -2,
                        bucket_counts: vec![1, 2],
                    }),
                    attributes: attributes(),
                    exemplars: exemplars(index),
                    ..ExponentialHistogramDataPoint::default()
                })
                .collect(),
            aggregation_temporality: 1,
        }),
        _ => metric::Data::Summary(Summary {
            data_points: indices
                .map(|index| SummaryDataPoint {
                    time_unix_nano: time_of(index),
                    count: 3,
                    sum: 4.5,
                    quantile_values: vec![ValueAtQuantile {
                        quantile: 0.5,
                        value: 1.5,
                    }],
                    attributes: attributes(),
                    ..SummaryDataPoint::default()
                })
                .collect(),
        }),
    }
}
