//! Messages that are cut, read again by prost.
//!
//! What it does: compares what is in the pieces with what was in the whole, item by item. What it refuses to know: how the walk
//! goes.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as ProstSpan};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

/// An item with all that it stands in, as text that differs wherever they do.
type Flat = String;

fn flat_traces(body: &[u8]) -> Vec<Flat> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut found = Vec::new();
    for group in request.resource_spans {
        let around = format!("{:?} {}", group.resource, group.schema_url);
        if group.scope_spans.is_empty() {
            found.push(around.clone());
        }
        for scope in group.scope_spans {
            let around = format!("{around} {:?} {}", scope.scope, scope.schema_url);
            if scope.spans.is_empty() {
                found.push(around.clone());
            }
            found.extend(scope.spans.iter().map(|span| format!("{around} {span:?}")));
        }
    }
    found
}

fn flat_logs(body: &[u8]) -> Vec<Flat> {
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    let mut found = Vec::new();
    for group in request.resource_logs {
        let around = format!("{:?} {}", group.resource, group.schema_url);
        if group.scope_logs.is_empty() {
            found.push(around.clone());
        }
        for scope in group.scope_logs {
            let around = format!("{around} {:?} {}", scope.scope, scope.schema_url);
            if scope.log_records.is_empty() {
                found.push(around.clone());
            }
            found.extend(
                scope
                    .log_records
                    .iter()
                    .map(|log| format!("{around} {log:?}")),
            );
        }
    }
    found
}

fn flat_metrics(body: &[u8]) -> Vec<Flat> {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let mut found = Vec::new();
    for group in request.resource_metrics {
        let around = format!("{:?} {}", group.resource, group.schema_url);
        if group.scope_metrics.is_empty() {
            found.push(around.clone());
        }
        for scope in group.scope_metrics {
            let around = format!("{around} {:?} {}", scope.scope, scope.schema_url);
            if scope.metrics.is_empty() {
                found.push(around.clone());
            }
            for mut metric in scope.metrics {
                let points: Vec<String> = match &mut metric.data {
                    Some(Data::Gauge(gauge)) => shown(&mut gauge.data_points),
                    Some(Data::Sum(sum)) => shown(&mut sum.data_points),
                    Some(Data::Histogram(histogram)) => shown(&mut histogram.data_points),
                    _ => Vec::new(),
                };
                // What is left is the envelope.
                let around = format!("{around} {metric:?}");
                if points.is_empty() {
                    found.push(around.clone());
                }
                found.extend(points.iter().map(|point| format!("{around} {point}")));
            }
        }
    }
    found
}

fn shown<P: std::fmt::Debug>(points: &mut Vec<P>) -> Vec<String> {
    std::mem::take(points)
        .iter()
        .map(|point| format!("{point:?}"))
        .collect()
}

fn flat(signal: Signal, body: &[u8]) -> Vec<Flat> {
    match signal {
        Signal::Traces => flat_traces(body),
        Signal::Metrics => flat_metrics(body),
        Signal::Logs => flat_logs(body),
    }
}

fn written(cut: &Cut) -> Vec<Vec<u8>> {
    (0..cut.len())
        .map(|place| cut.write(place).concat())
        .collect()
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    let keys = vec("[a-z]{0,40}", 0..4);
    let resource = keys.prop_map(|keys| Resource {
        attributes: keys
            .into_iter()
            .map(|key| KeyValue {
                key,
                ..KeyValue::default()
            })
            .collect(),
        ..Resource::default()
    });
    proptest::option::of(resource)
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    let scope = "[a-z]{0,200}".prop_map(|name| InstrumentationScope {
        name,
        ..InstrumentationScope::default()
    });
    proptest::option::of(scope)
}

/// Names of very different lengths: one byte of length, two, and some that fit nowhere.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[a-z]{0,20}", 2 => "[a-z]{100,300}", 1 => "[a-z]{800,900}"]
}

fn traces() -> impl Strategy<Value = Vec<u8>> {
    let span = text().prop_map(|name| ProstSpan {
        name,
        ..ProstSpan::default()
    });
    let scoped = (scope(), vec(span, 0..12), "[a-z]{0,4}");
    let scoped = scoped.prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    });
    let group = (resource(), vec(scoped, 0..4), "[a-z]{0,4}");
    let group = group.prop_map(|(resource, scope_spans, schema_url)| ResourceSpans {
        resource,
        scope_spans,
        schema_url,
    });
    vec(group, 0..4)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans }.encode_to_vec())
}

fn logs() -> impl Strategy<Value = Vec<u8>> {
    let log = text().prop_map(|severity_text| LogRecord {
        severity_text,
        ..LogRecord::default()
    });
    let scoped = (scope(), vec(log, 0..12), "[a-z]{0,4}");
    let scoped = scoped.prop_map(|(scope, log_records, schema_url)| ScopeLogs {
        scope,
        log_records,
        schema_url,
    });
    let group = (resource(), vec(scoped, 0..4), "[a-z]{0,4}");
    let group = group.prop_map(|(resource, scope_logs, schema_url)| ResourceLogs {
        resource,
        scope_logs,
        schema_url,
    });
    vec(group, 0..4)
        .prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs }.encode_to_vec())
}

fn metrics() -> impl Strategy<Value = Vec<u8>> {
    let number = (any::<u64>(), 0..9_u32).prop_map(|(time_unix_nano, flags)| NumberDataPoint {
        time_unix_nano,
        flags,
        ..NumberDataPoint::default()
    });
    let wide = (any::<u64>(), vec(any::<u64>(), 0..60));
    let wide = wide.prop_map(|(count, bucket_counts)| HistogramDataPoint {
        count,
        bucket_counts,
        ..HistogramDataPoint::default()
    });
    let data = prop_oneof![
        vec(number.clone(), 0..30).prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (vec(number, 0..30), any::<bool>()).prop_map(|(data_points, is_monotonic)| {
            Data::Sum(Sum {
                data_points,
                aggregation_temporality: 2,
                is_monotonic,
            })
        }),
        vec(wide, 0..8).prop_map(|data_points| {
            Data::Histogram(Histogram {
                data_points,
                aggregation_temporality: 1,
            })
        }),
    ];
    let metric = (text(), "[a-z]{0,9}", proptest::option::of(data));
    let metric = metric.prop_map(|(name, unit, data)| Metric {
        name,
        unit,
        data,
        ..Metric::default()
    });
    let scoped = (scope(), vec(metric, 0..5), "[a-z]{0,4}");
    let scoped = scoped.prop_map(|(scope, metrics, schema_url)| ScopeMetrics {
        scope,
        metrics,
        schema_url,
    });
    let group = (resource(), vec(scoped, 0..3), "[a-z]{0,4}");
    let group = group.prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics {
        resource,
        scope_metrics,
        schema_url,
    });
    vec(group, 0..3).prop_map(|resource_metrics| {
        ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
    })
}

fn any_export() -> impl Strategy<Value = (Signal, Vec<u8>)> {
    prop_oneof![
        traces().prop_map(|body| (Signal::Traces, body)),
        metrics().prop_map(|body| (Signal::Metrics, body)),
        logs().prop_map(|body| (Signal::Logs, body)),
    ]
}

proptest! {
    /// Scenario: any export and any bounds. Guarantees: what is in the pieces, and what is told to be too large, is what was in
    /// the whole, in its order and once; each piece is within the bounds, and as long as it is said to be; two cuts are alike.
    #[test]
    fn pieces_hold_what_the_whole_did(
        (signal, body) in any_export(),
        bytes in 1_usize..3_000,
        items in prop_oneof![Just(u64::MAX), 1_u64..20],
    ) {
        let body = Bytes::from(body);
        let bounds = PieceBounds { bytes, items };
        let cut = match Cut::of(signal, &body, bounds) {
            Ok(cut) => cut,
            Err(fault) => {
                prop_assert_eq!(fault, CutFault::TooMany);
                return Ok(());
            }
        };
        let pieces = written(&cut);
        let mut found = Vec::new();
        for (place, piece) in pieces.iter().enumerate() {
            prop_assert!(piece.len() <= bytes, "{} > {}", piece.len(), bytes);
            prop_assert_eq!(piece.len(), cut.bytes(place));
            prop_assert!(cut.items(place) <= items);
            found.extend(flat(signal, piece));
        }
        let whole = flat(signal, &body);
        // In order, and once: what is missing is among the whole's, in between.
        let mut rest = found.iter().peekable();
        let missing = whole.iter().filter(|item| rest.next_if_eq(item).is_none()).count();
        prop_assert!(rest.peek().is_none(), "something is there twice, or in another order");
        let oversized = cut.oversized();
        prop_assert_eq!(missing > 0, oversized.first.is_some());
        prop_assert!(oversized.items as usize <= missing);
        let again = Cut::of(signal, &body, bounds).unwrap();
        prop_assert_eq!(written(&again), pieces);
    }

    /// Scenario: any export is cut in half, and again, until nothing can be. Guarantees: nothing is lost or doubled; each step
    /// makes pieces of fewer items; the end is reached.
    #[test]
    fn halves_hold_what_the_whole_did((signal, body) in any_export()) {
        let mut open = vec![Bytes::from(body.clone())];
        let mut found = Vec::new();
        while let Some(piece) = open.pop() {
            let cut = Cut::in_half(signal, &piece).unwrap();
            prop_assert!(cut.len() <= 2);
            prop_assert_eq!(cut.oversized(), &Oversized::default());
            match cut.len() {
                2 => {
                    for half in written(&cut).into_iter().rev() {
                        prop_assert!(flat(signal, &half).len() < flat(signal, &piece).len());
                        open.push(half.into());
                    }
                }
                _ => found.extend(flat(signal, &piece)),
            }
        }
        prop_assert_eq!(found, flat(signal, &body));
    }

    /// Scenario: any bytes. Guarantees: they are cut or refused.
    #[test]
    fn any_bytes_are_cut_or_refused(body in vec(any::<u8>(), 0..400), bytes in 1_usize..50) {
        let body = Bytes::from(body);
        for signal in Signal::ALL {
            let _ = Cut::of(signal, &body, PieceBounds { bytes, items: 3 });
            let _ = Cut::in_half(signal, &body);
        }
    }
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    crate::otlp::push_varint(&mut field, u64::from(number << 3 | 2));
    crate::otlp::push_varint(&mut field, content.len() as u64);
    [field, content.to_vec()].concat()
}

fn spans(names: &[&str]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|name| field(RECORD, &field(SPAN_NAME, name.as_bytes())))
        .collect()
}

/// Scenario: fields that are not known stand in the request, in a resource's group, in a scope and in a metric. Guarantees: each
/// piece has them all, in the message that they were in.
#[test]
fn what_is_not_known_is_in_every_piece() {
    let newer = field(900, b"newer");
    let scoped = [
        field(1, b""),
        newer.clone(),
        spans(&["one", "two", "three"]),
        field(3, b"u"),
    ];
    let group = [
        field(1, b""),
        field(2, &scoped.concat()),
        newer.clone(),
        field(3, b"v"),
    ];
    let body = Bytes::from([field(1, &group.concat()), newer.clone()].concat());
    let bounds = PieceBounds {
        bytes: 1000,
        items: 1,
    };
    let cut = Cut::of(Signal::Traces, &body, bounds).unwrap();
    for (piece, name) in written(&cut).into_iter().zip(["one", "two", "three"]) {
        let scoped = [field(1, b""), newer.clone(), field(3, b"u"), spans(&[name])];
        let group = [
            field(1, b""),
            newer.clone(),
            field(3, b"v"),
            field(2, &scoped.concat()),
        ];
        assert_eq!(piece, [newer.clone(), field(1, &group.concat())].concat());
    }
    assert_eq!(cut.len(), 3);
    let data = |points: usize| {
        field(
            5,
            &[field(9, b"odd"), field(DATA_POINT, b"").repeat(points)].concat(),
        )
    };
    let metric = |points| field(2, &[field(1, b"m"), data(points), newer.clone()].concat());
    let whole = Bytes::from(field(1, &field(2, &metric(3))));
    let cut = Cut::of(
        Signal::Metrics,
        &whole,
        PieceBounds {
            bytes: 1000,
            items: 2,
        },
    )
    .unwrap();
    let piece = |points| {
        let metric = field(2, &[field(1, b"m"), newer.clone(), data(points)].concat());
        field(1, &field(2, &metric))
    };
    assert_eq!(written(&cut), [piece(2), piece(1)]);
    // Readers take the last of two kinds of data, or join one kind: such a metric stays whole.
    let odd = [field(1, b"m"), data(2), data(2)].concat();
    let whole = Bytes::from(field(1, &field(2, &field(2, &odd))));
    let cut = Cut::of(
        Signal::Metrics,
        &whole,
        PieceBounds {
            bytes: 1000,
            items: 2,
        },
    )
    .unwrap();
    assert_eq!((cut.len(), cut.oversized().items), (0, 4));
}

/// Scenario: items that fit into no message. Guarantees: they are counted, the first is told by kind, name and length, and those
/// round it go.
#[test]
fn what_is_too_large_alone_is_told() {
    let long = format!("GET \u{1b}[31m{}", "x".repeat(300));
    let names = ["a", long.as_str(), "b", long.as_str()];
    let body = Bytes::from(field(1, &field(2, &spans(&names))));
    let bounds = PieceBounds {
        bytes: 100,
        items: u64::MAX,
    };
    let cut = Cut::of(Signal::Traces, &body, bounds).unwrap();
    assert_eq!(cut.oversized().items, 2);
    let shown: String = long
        .replace('\u{1b}', " ")
        .chars()
        .take(NAME_CHARS)
        .collect();
    let told = format!("span `{shown}` is too large: 321 bytes alone");
    assert_eq!(cut.oversized().first.as_deref(), Some(told.as_str()));
    let expected = field(1, &field(2, &spans(&["a"])));
    let other = field(1, &field(2, &spans(&["b"])));
    assert_eq!(written(&cut), [expected, other]);
}

/// Scenario: an envelope so long that hardly an item fits beside it, ten thousand times. Guarantees: it is refused before the
/// pieces are far longer than the whole.
#[test]
fn an_export_does_not_grow_without_bound() {
    let scoped = [field(1, &vec![b'x'; 50_000]), spans(&["a"; 10_000])].concat();
    let body = Bytes::from(field(1, &field(2, &scoped)));
    let bounds = PieceBounds {
        bytes: 50_030,
        items: u64::MAX,
    };
    assert_eq!(
        Cut::of(Signal::Traces, &body, bounds).unwrap_err(),
        CutFault::TooMany
    );
    let mut mixed = Vec::new();
    for _ in 0..100_000 {
        mixed.extend([0xf8, 0x01, 0]);
        mixed.extend(field(RECORD, b""));
    }
    let body = Bytes::from(field(1, &field(2, &mixed)));
    let bounds = PieceBounds {
        bytes: 350_000,
        items: u64::MAX,
    };
    assert_eq!(
        Cut::of(Signal::Traces, &body, bounds).unwrap_err(),
        CutFault::TooMany
    );
}

/// Scenario: long ranges of a large export. Guarantees: they are slices of it.
#[test]
fn long_ranges_are_not_copied() {
    let name = "x".repeat(100);
    let body = Bytes::from(field(1, &field(2, &spans(&vec![name.as_str(); 1_000]))));
    let bounds = PieceBounds {
        bytes: 30_000,
        items: u64::MAX,
    };
    let cut = Cut::of(Signal::Traces, &body, bounds).unwrap();
    assert_eq!(cut.len(), 4);
    let of_body = |piece: &Bytes| body.as_ptr_range().contains(&piece.as_ptr());
    for place in 0..cut.len() {
        let pieces = cut.write(place);
        assert!(pieces.iter().any(of_body) && pieces.len() == 2);
    }
    assert!(cut.working_bytes() < 2_000);
}
