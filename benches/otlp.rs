//! What it costs to read an export, to stamp it and to split it, beside decoding it and beside copying it.
//!
//! `cargo bench --bench otlp`. Spans are of about 400 bytes, in resources of ten services. "stamp" gives
//! pieces of which the large ones are slices of the body; "stamp, joined" copies them into one buffer. The
//! peers: prost decoding, editing and encoding the same export, and a copy of its bytes. Of the way between the encodings the
//! peer is prost's structures with serde's JSON.
//! Correctness tests never assert these times.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up should stop"
)]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lightkeeper::limits::Budget;
use lightkeeper::otlp::{
    Cut, Encoding, Export, PieceBounds, RESERVED, Signal, Stamp, Wanted, transcode,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message as _;

const SERVICES: usize = 10;

const STAMP: &[(&str, &str)] = &[
    ("lightkeeper.app", "shop/checkout"),
    (
        "lightkeeper.identity",
        "spiffe://prod.acme.example/ns/checkout/sa/collector",
    ),
    ("lightkeeper.identity.issuer", "prod.acme.example"),
    ("lightkeeper.identity.method", "spiffe"),
    ("owner", "shop-leads@acme.example"),
];

fn pair(name: &str, value: Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(name: &str, value: &str) -> KeyValue {
    pair(name, Value::StringValue(value.to_owned()))
}

fn a_span(number: usize) -> Span {
    let start = 1_767_225_600_000_000_000 + number as u64 * 1_000_003;
    Span {
        trace_id: (number as u128 * 0x9e37_79b9_7f4a_7c15_f39c)
            .to_be_bytes()
            .to_vec(),
        span_id: (number as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_be_bytes()
            .to_vec(),
        parent_span_id: vec![7; 8],
        name: "POST /v1/carts/{cart}/items".to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 12_345_678,
        attributes: vec![
            text("http.request.method", "POST"),
            text("url.path", &format!("/v1/carts/{number:08}/items")),
            text("http.route", "/v1/carts/{cart}/items"),
            pair("http.response.status_code", Value::IntValue(200)),
            text("server.address", "checkout.shop.svc.cluster.local"),
            pair("server.port", Value::IntValue(8080)),
            text("client.address", "10.12.34.56"),
        ],
        events: vec![span::Event {
            time_unix_nano: start + 5,
            name: "cart locked".to_owned(),
            ..<_>::default()
        }],
        status: Some(Status::default()),
        ..Span::default()
    }
}

fn export(spans: usize) -> ExportTraceServiceRequest {
    let services = SERVICES.min(spans);
    let group = |service: usize| {
        let name = format!("service-{service}");
        let resource = Resource {
            attributes: vec![
                text("service.name", &name),
                text("service.namespace", "shop"),
                text("service.version", "4.17.2"),
                text(
                    "service.instance.id",
                    "5f0c2e52-6f0c-4c63-9d2f-3f2f0f4f9b51",
                ),
                text("telemetry.sdk.name", "opentelemetry"),
                text("telemetry.sdk.language", "java"),
                text("telemetry.sdk.version", "1.55.0"),
                text("k8s.namespace.name", "checkout"),
                text("k8s.pod.name", &format!("{name}-7d9c5b6f4-x2x7k")),
                text("host.name", "ip-10-12-34-56.eu-west-1.compute.internal"),
            ],
            ..Resource::default()
        };
        let scope = InstrumentationScope {
            name: "io.opentelemetry.tomcat-10.0".to_owned(),
            ..<_>::default()
        };
        let spans = (service..spans).step_by(services).map(a_span).collect();
        let scope_spans = vec![ScopeSpans {
            scope: Some(scope),
            spans,
            ..<_>::default()
        }];
        ResourceSpans {
            resource: Some(resource),
            scope_spans,
            ..<_>::default()
        }
    };
    ExportTraceServiceRequest {
        resource_spans: (0..services).map(group).collect(),
    }
}

/// What a gateway that decodes would do.
fn decode_edit_encode(body: &[u8]) -> Vec<u8> {
    let genuine = |pair: &KeyValue| !pair.key.starts_with(RESERVED);
    let mut request = ExportTraceServiceRequest::decode(body).unwrap();
    for group in &mut request.resource_spans {
        let resource = group.resource.get_or_insert_default();
        resource
            .attributes
            .retain(|pair| genuine(pair) && STAMP.iter().all(|(name, _)| *name != pair.key));
        resource
            .attributes
            .extend(STAMP.iter().map(|(name, value)| text(name, value)));
        for scoped in &mut group.scope_spans {
            scoped
                .scope
                .iter_mut()
                .for_each(|scope| scope.attributes.retain(genuine));
            for span in &mut scoped.spans {
                span.attributes.retain(genuine);
                span.events
                    .iter_mut()
                    .for_each(|event| event.attributes.retain(genuine));
                span.links
                    .iter_mut()
                    .for_each(|link| link.attributes.retain(genuine));
            }
        }
    }
    request.encode_to_vec()
}

fn exports(criterion: &mut Criterion) {
    let wanted = Wanted::new(["service.name", "k8s.namespace.name"]);
    let read = |body: &Bytes| {
        Export::read(Signal::Traces, Encoding::Protobuf, body.clone(), &wanted).unwrap()
    };
    let stamp = Stamp::new(STAMP);
    // 1,420 spans are about 512 KiB.
    for spans in [1, 100, 1_000, 1_420, 10_000] {
        let body = Bytes::from(export(spans).encode_to_vec());
        let all: Vec<_> = (0..read(&body).groups().len())
            .map(|group| (group, &stamp))
            .collect();
        let part = |number: usize| {
            all.iter()
                .copied()
                .filter(|(group, _)| group % 3 == number)
                .collect::<Vec<_>>()
        };
        let parts = [part(0), part(1), part(2)];
        assert_eq!(read(&body).write(&all).concat(), decode_edit_encode(&body));

        let mut group = criterion.benchmark_group(format!("{spans} spans, {} bytes", body.len()));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group
            .sample_size(30)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2));
        group.bench_function("copy", |bencher| {
            bencher.iter(|| black_box(&body[..]).to_vec())
        });
        group.bench_function("read", |bencher| bencher.iter(|| read(black_box(&body))));
        group.bench_function("stamp", |bencher| {
            bencher.iter(|| read(black_box(&body)).write(&all))
        });
        group.bench_function("stamp, joined", |bencher| {
            bencher.iter(|| read(black_box(&body)).write(&all).concat());
        });
        group.bench_function("split in 3", |bencher| {
            bencher.iter(|| {
                let export = read(black_box(&body));
                parts.each_ref().map(|part| export.write(part))
            });
        });
        group.bench_function("prost", |bencher| {
            bencher.iter(|| decode_edit_encode(black_box(&body)))
        });
        group.finish();
    }
}

/// JSON to protobuf and back, beside serde's and prost's structures.
fn transcoding(criterion: &mut Criterion) {
    let budget = Budget::new(u64::MAX);
    let cross = |encoding, message: &[u8]| {
        let mut held = budget.gateway().open();
        transcode(Signal::Traces, encoding, message, 1 << 30, &mut held)
            .unwrap()
            .message
    };
    for spans in [100, 5_000] {
        let export = export(spans);
        let protobuf = export.encode_to_vec();
        let json = serde_json::to_vec(&export).unwrap();
        let read = ExportTraceServiceRequest::decode(cross(Encoding::Json, &json));
        assert_eq!(read.unwrap(), export);
        for (name, encoding, message) in [
            ("JSON to protobuf", Encoding::Json, &json),
            ("protobuf to JSON", Encoding::Protobuf, &protobuf),
        ] {
            let title = format!("{name}, {spans} spans, {} bytes", message.len());
            let mut group = criterion.benchmark_group(title);
            group.throughput(Throughput::Bytes(message.len() as u64));
            group
                .sample_size(30)
                .warm_up_time(Duration::from_millis(500))
                .measurement_time(Duration::from_secs(2));
            group.bench_function("ours", |bencher| {
                bencher.iter(|| cross(encoding, black_box(message)))
            });
            group.bench_function("prost and serde", |bencher| match encoding {
                Encoding::Json => bencher.iter(|| {
                    let read: ExportTraceServiceRequest =
                        serde_json::from_slice(black_box(message)).unwrap();
                    read.encode_to_vec()
                }),
                Encoding::Protobuf => bencher.iter(|| {
                    let read = ExportTraceServiceRequest::decode(&black_box(message)[..]).unwrap();
                    serde_json::to_vec(&read).unwrap()
                }),
            });
            group.finish();
        }
    }
}

/// What decoding would cost: the same spans in requests of so many.
fn decode_cut_encode(body: &[u8], spans: usize) -> Vec<Vec<u8>> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut pieces = Vec::new();
    for group in request.resource_spans {
        for scoped in group.scope_spans {
            for spans in scoped.spans.chunks(spans) {
                let scope_spans = vec![ScopeSpans {
                    spans: spans.to_vec(),
                    scope: scoped.scope.clone(),
                    schema_url: scoped.schema_url.clone(),
                }];
                let piece = ExportTraceServiceRequest {
                    resource_spans: vec![ResourceSpans {
                        resource: group.resource.clone(),
                        scope_spans,
                        schema_url: group.schema_url.clone(),
                    }],
                };
                pieces.push(piece.encode_to_vec());
            }
        }
    }
    pieces
}

/// An export of some 4 MiB in pieces of 1 MB.
fn cuts(criterion: &mut Criterion) {
    let body = Bytes::from(export(11_700).encode_to_vec());
    let bounds = PieceBounds {
        bytes: 1_000_000,
        items: u64::MAX,
    };
    let cut = || Cut::of(Signal::Traces, black_box(&body), bounds).unwrap();
    let pieces = cut().len();
    let mut group = criterion.benchmark_group(format!("{} bytes in {pieces} pieces", body.len()));
    group.throughput(Throughput::Bytes(body.len() as u64));
    group
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    group.bench_function("cut", |bencher| bencher.iter(cut));
    group.bench_function("cut, written", |bencher| {
        bencher.iter(|| {
            let cut = cut();
            (0..cut.len())
                .map(|place| cut.write(place))
                .collect::<Vec<_>>()
        });
    });
    group.bench_function("in half", |bencher| {
        bencher.iter(|| Cut::in_half(Signal::Traces, black_box(&body)).unwrap());
    });
    group.bench_function("prost", |bencher| {
        bencher.iter(|| decode_cut_encode(black_box(&body), 11_700 / SERVICES));
    });
    group.finish();
}

criterion_group!(benches, exports, transcoding, cuts);
criterion_main!(benches);
