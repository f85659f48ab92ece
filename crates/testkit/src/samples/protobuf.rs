//! A sample in protobuf.
//!
//! What it does: puts the items, encoded by prost, into their groups by hand, so that fields that no version
//! has can be added at every level. What it refuses to know: what the items say.
//! Invariant: without such fields the bytes are those that prost writes for the whole message.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use prost::encoding::encode_varint;

use super::{Part, SCHEMA_URL, SCOPE, Sample, items};
use lightkeeper::otlp::Signal;

/// Field numbers are the same in all three signals: the groups are field 1 of the message; a group has its
/// resource in 1, its scopes in 2 and its schema URL in 3; a scope's part has the scope in 1, its items in 2
/// and its schema URL in 3.
pub(super) fn encode(sample: &Sample) -> Vec<u8> {
    let mut message = Vec::new();
    for (part, first) in sample.parts() {
        let mut scope = Vec::new();
        field(&mut scope, 1, &whole(&scope_of(sample, part), sample));
        for item in encoded_items(sample, part, first) {
            field(&mut scope, 2, &item);
        }
        schema_url(&mut scope, sample);
        unknown(&mut scope, sample);
        let mut group = Vec::new();
        let resource = Resource {
            attributes: items::pairs(&part.attributes),
            ..Resource::default()
        };
        field(&mut group, 1, &whole(&resource, sample));
        field(&mut group, 2, &scope);
        schema_url(&mut group, sample);
        unknown(&mut group, sample);
        field(&mut message, 1, &group);
    }
    unknown(&mut message, sample);
    message
}

fn scope_of(sample: &Sample, part: &Part) -> InstrumentationScope {
    let mut scope = InstrumentationScope {
        name: SCOPE.to_owned(),
        ..InstrumentationScope::default()
    };
    if sample.rich {
        scope.version = "1.0.0".to_owned();
    }
    scope.attributes = items::pairs(&part.scope);
    scope
}

fn encoded_items(sample: &Sample, part: &Part, first: usize) -> Vec<Vec<u8>> {
    match sample.signal {
        Signal::Traces => items::spans(sample, part, first)
            .iter()
            .map(|item| whole(item, sample))
            .collect(),
        Signal::Metrics => items::metrics(sample, part)
            .iter()
            .map(|item| whole(item, sample))
            .collect(),
        Signal::Logs => items::records(sample, part)
            .iter()
            .map(|item| whole(item, sample))
            .collect(),
    }
}

fn whole(message: &impl Message, sample: &Sample) -> Vec<u8> {
    let mut bytes = message.encode_to_vec();
    unknown(&mut bytes, sample);
    bytes
}

fn schema_url(into: &mut Vec<u8>, sample: &Sample) {
    if sample.rich {
        field(into, 3, SCHEMA_URL.as_bytes());
    }
}

/// A field with a length.
fn field(into: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    encode_varint(number << 3 | 2, into);
    encode_varint(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}

/// One field of each wire type: 2000 with a length, 2001 a varint, 2002 of 8 bytes, 2003 of 4. (1000 was once
/// OTLP's, for the scopes of a resource.)
fn unknown(into: &mut Vec<u8>, sample: &Sample) {
    if !sample.unknown {
        return;
    }
    field(into, 2000, b"kept as it is");
    encode_varint(2001 << 3, into);
    encode_varint(u64::MAX, into);
    encode_varint(2002 << 3 | 1, into);
    into.extend_from_slice(b"8 bytes.");
    encode_varint(2003 << 3 | 5, into);
    into.extend_from_slice(b"four");
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

    use super::*;

    fn again(signal: Signal, bytes: &[u8]) -> Vec<u8> {
        match signal {
            Signal::Traces => ExportTraceServiceRequest::decode(bytes)
                .unwrap()
                .encode_to_vec(),
            Signal::Metrics => ExportMetricsServiceRequest::decode(bytes)
                .unwrap()
                .encode_to_vec(),
            Signal::Logs => ExportLogsServiceRequest::decode(bytes)
                .unwrap()
                .encode_to_vec(),
        }
    }

    #[test]
    fn the_bytes_are_prosts_own() {
        for signal in Signal::ALL {
            let small = Sample::of(signal, "checkout", 3)
                .and("cart", 1)
                .anonymous(0);
            for sample in [
                Sample::empty(signal),
                small.clone(),
                small.clone().forged(),
                small.rich().forged(),
            ] {
                let bytes = sample.protobuf();
                assert_eq!(again(signal, &bytes), bytes);
                let odd = sample.clone().unknown_fields().protobuf();
                assert_eq!(
                    again(signal, &odd),
                    bytes,
                    "unknown fields change nothing else"
                );
                assert!(odd.len() >= bytes.len() + 40);
            }
        }
    }
}
