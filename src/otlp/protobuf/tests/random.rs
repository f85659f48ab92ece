//! Random exports of every signal, with reserved attributes, duplicates and empty things at all levels.
//!
//! What it refuses to know: the code under test. Invariant: the exports are what prost can encode; what it
//! cannot is done to their bytes by `mangle.rs`.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, metric::Data,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::request::Request;

pub(crate) const NAMES: &[&str] = &[
    "service.name",
    "k8s.namespace.name",
    "lightkeeper.app",
    "lightkeeper.",
    "lightkeeper",
    "lightkeepers.x",
    "x.lightkeeper.y",
    "owner",
    "",
    "ключ",
];

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        6 => prop::sample::select(vec!["", "shop", "checkout", "lightkeeper.app", "ä"]).prop_map(|text| Some(Value::StringValue(text.to_owned()))),
        1 => Just(None),
        1 => any::<i64>().prop_map(|number| Some(Value::IntValue(number))),
        1 => any::<bool>().prop_map(|flag| Some(Value::BoolValue(flag))),
        1 => vec(any::<u8>(), 0..5).prop_map(|bytes| Some(Value::BytesValue(bytes))),
    ];
    let leaf = leaf.prop_map(|value| AnyValue { value });
    leaf.prop_recursive(2, 6, 3, |inner| {
        let pairs = vec((name(), option::of(inner.clone())), 0..3).prop_map(pairs);
        prop_oneof![
            vec(inner, 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            pairs.prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES)
}

fn pairs(pairs: Vec<(&str, Option<AnyValue>)>) -> Vec<KeyValue> {
    let pair = |(name, value): (&str, _)| KeyValue {
        key: name.to_owned(),
        value,
        ..KeyValue::default()
    };
    pairs.into_iter().map(pair).collect()
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    // Long sets cross the lengths at which a varint takes one byte more.
    let long = vec((name(), option::of(any_value())), 0..3).prop_map(|some| vec![some; 9].concat());
    prop_oneof![
        6 => vec((name(), option::weighted(0.9, any_value())), 0..5).prop_map(pairs),
        1 => long.prop_map(pairs),
    ]
}

pub(crate) fn resource() -> impl Strategy<Value = Resource> {
    (attributes(), 0..2u32, 0..2usize).prop_map(|(attributes, dropped, entities)| {
        let entity = EntityRef {
            r#type: "lightkeeper.".to_owned(),
            ..EntityRef::default()
        };
        Resource {
            attributes,
            dropped_attributes_count: dropped,
            entity_refs: vec![entity; entities],
        }
    })
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    option::of(("[a-z]{0,9}", attributes())).prop_map(|scope| {
        scope.map(|(name, attributes)| InstrumentationScope {
            name,
            attributes,
            ..<_>::default()
        })
    })
}

fn span() -> impl Strategy<Value = Span> {
    (
        ".{0,9}",
        attributes(),
        vec(attributes(), 0..2),
        vec(attributes(), 0..2),
    )
        .prop_map(|(name, attributes, events, links)| Span {
            trace_id: vec![7; 16],
            span_id: vec![9; 8],
            name,
            start_time_unix_nano: 1,
            attributes,
            events: events
                .into_iter()
                .map(|attributes| span::Event {
                    attributes,
                    ..<_>::default()
                })
                .collect(),
            links: links
                .into_iter()
                .map(|attributes| span::Link {
                    attributes,
                    ..<_>::default()
                })
                .collect(),
            ..Span::default()
        })
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    (attributes(), option::of(any_value())).prop_map(|(attributes, body)| LogRecord {
        attributes,
        body,
        severity_number: 9,
        ..LogRecord::default()
    })
}

fn exemplars() -> impl Strategy<Value = Vec<Exemplar>> {
    let exemplar = |filtered_attributes| Exemplar {
        filtered_attributes,
        ..Exemplar::default()
    };
    vec(attributes().prop_map(exemplar), 0..2)
}

fn data() -> impl Strategy<Value = Data> {
    let point = (attributes(), exemplars());
    (0..5, vec(point, 0..3)).prop_map(|(kind, points)| {
        let points = points.into_iter();
        let number = |(attributes, exemplars)| NumberDataPoint {
            attributes,
            exemplars,
            ..<_>::default()
        };
        match kind {
            0 => Data::Gauge(Gauge {
                data_points: points.map(number).collect(),
            }),
            1 => Data::Sum(Sum {
                data_points: points.map(number).collect(),
                ..Sum::default()
            }),
            2 => {
                let point = |(attributes, exemplars)| HistogramDataPoint {
                    attributes,
                    exemplars,
                    ..<_>::default()
                };
                Data::Histogram(Histogram {
                    data_points: points.map(point).collect(),
                    ..<_>::default()
                })
            }
            3 => {
                let point = |(attributes, exemplars)| ExponentialHistogramDataPoint {
                    attributes,
                    exemplars,
                    ..<_>::default()
                };
                let data_points = points.map(point).collect();
                Data::ExponentialHistogram(ExponentialHistogram {
                    data_points,
                    ..<_>::default()
                })
            }
            _ => {
                let point = |(attributes, _)| SummaryDataPoint {
                    attributes,
                    ..<_>::default()
                };
                Data::Summary(Summary {
                    data_points: points.map(point).collect(),
                })
            }
        }
    })
}

fn metric() -> impl Strategy<Value = Metric> {
    ("[a-z]{0,5}", attributes(), option::of(data())).prop_map(|(name, metadata, data)| Metric {
        name,
        metadata,
        data,
        ..Metric::default()
    })
}

fn traces() -> impl Strategy<Value = Request> {
    let scoped = (scope(), vec(span(), 0..3)).prop_map(|(scope, spans)| ScopeSpans {
        scope,
        spans,
        ..<_>::default()
    });
    let group = (
        option::weighted(0.8, resource()),
        vec(scoped, 0..3),
        "[a-z]{0,3}",
    );
    let group = group.prop_map(|(resource, scope_spans, schema_url)| ResourceSpans {
        resource,
        scope_spans,
        schema_url,
    });
    vec(group, 0..4)
        .prop_map(|resource_spans| Request::Traces(ExportTraceServiceRequest { resource_spans }))
}

fn metrics() -> impl Strategy<Value = Request> {
    let scoped = (scope(), vec(metric(), 0..3));
    let scoped = scoped.prop_map(|(scope, metrics)| ScopeMetrics {
        scope,
        metrics,
        ..<_>::default()
    });
    let group = (
        option::weighted(0.8, resource()),
        vec(scoped, 0..3),
        "[a-z]{0,3}",
    );
    let group = group.prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics {
        resource,
        scope_metrics,
        schema_url,
    });
    vec(group, 0..4).prop_map(|resource_metrics| {
        Request::Metrics(ExportMetricsServiceRequest { resource_metrics })
    })
}

fn logs() -> impl Strategy<Value = Request> {
    let scoped = (scope(), vec(log_record(), 0..3));
    let scoped = scoped.prop_map(|(scope, log_records)| ScopeLogs {
        scope,
        log_records,
        ..<_>::default()
    });
    let group = (
        option::weighted(0.8, resource()),
        vec(scoped, 0..3),
        "[a-z]{0,3}",
    );
    let group = group.prop_map(|(resource, scope_logs, schema_url)| ResourceLogs {
        resource,
        scope_logs,
        schema_url,
    });
    vec(group, 0..4)
        .prop_map(|resource_logs| Request::Logs(ExportLogsServiceRequest { resource_logs }))
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![traces(), metrics(), logs()]
}
