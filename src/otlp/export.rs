//! An export that has been read without decoding it: where its resource groups lie, how many items each
//! holds, what the wanted resource attributes say, and how to write chosen groups anew with stamps.
//!
//! Each encoding has its own half (`protobuf.rs`, `json.rs`) with the same three functions: `read`, and of
//! the plan that it gives, `attribute` and `write`. What this file refuses to know: apps, policies,
//! identities; it is told which names are wanted and which attributes to put. Invariants: an export that
//! cannot be read gives nothing to write; what is written holds no attribute of the reserved namespace but
//! those of the stamp; bytes that need no change are slices of the body, never copies of large ranges.

use std::sync::Arc;

use bytes::Bytes;

use super::group::{Found, Group, Malformed, Reading};
use super::pieces::SLICE_FROM_BYTES;
use super::stamp::Stamp;
use super::wanted::Wanted;
use super::{Encoding, Signal, json, protobuf};

/// Ranges of a group that stay: before its resource's attributes, between them and the stamp, and behind it.
const RANGES_OF_A_GROUP: usize = 3;

/// Lengths, tags and brackets round a stamp, and the piece that a long range becomes.
const GROUP_OVERHEAD_BYTES: usize = 96;

#[derive(Debug)]
enum Half {
    Protobuf(protobuf::Plan),
    Json(json::Plan),
}

/// An `Export{Trace,Metrics,Logs}ServiceRequest` that has been read.
#[derive(Debug)]
pub struct Export {
    body: Bytes,
    groups: Vec<Group>,
    items: u64,
    forged: u64,
    most_attributes: usize,
    carries: bool,
    half: Half,
}

impl Export {
    /// Reads an export request of `signal` (OTLP specification, `opentelemetry.proto.collector.*.v1`).
    /// `body` is the decompressed message; `wanted` are the resource attribute names whose values may be
    /// asked later. Fails when the body is not such a message at a level that is looked at.
    pub fn read(
        signal: Signal,
        encoding: Encoding,
        body: Bytes,
        wanted: &Arc<Wanted>,
    ) -> Result<Export, Malformed> {
        match encoding {
            Encoding::Protobuf => protobuf::read(signal, &body, wanted)
                .map(|reading| Export::new(body, reading, Half::Protobuf)),
            Encoding::Json => json::read(signal, &body, wanted)
                .map(|reading| Export::new(body, reading, Half::Json)),
        }
    }

    fn new<P>(body: Bytes, reading: Reading<P>, half: fn(P) -> Half) -> Export {
        let items = reading.groups.iter().map(|group| group.items).sum();
        let Reading {
            groups,
            forged,
            most_attributes,
            carries,
            plan,
        } = reading;
        Export {
            body,
            groups,
            items,
            forged,
            most_attributes,
            carries,
            half: half(plan),
        }
    }

    /// Whether it carries nothing: no items, nothing that is not known, and no resource that says whose it is (OTLP
    /// specification, "OTLP/HTTP Response": such a request is answered with success).
    pub fn is_empty(&self) -> bool {
        !self.carries
    }

    /// The most attributes that the resource of one group has.
    pub(crate) fn most_attributes(&self) -> usize {
        self.most_attributes
    }

    /// The message that was read.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The resource groups, in the order of the body.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Spans, data points or log records in all groups.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// The length of the message that was read.
    pub fn bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// How many attributes with the prefix [`RESERVED`](super::RESERVED) there are, at resource, scope and record level.
    /// None of them is ever written.
    pub fn forged(&self) -> u64 {
        self.forged
    }

    /// What the resource of the group with this index says under `name`, which must be one of the wanted:
    /// any other name, and a group that does not exist, is `Absent`.
    pub fn attribute(&self, group: usize, name: &str) -> Found<'_> {
        match &self.half {
            Half::Protobuf(plan) => plan.attribute(&self.body, group, name),
            Half::Json(plan) => plan.attribute(&self.body, group, name),
        }
    }

    /// How much memory the places take that were remembered, besides the body.
    pub(crate) fn working_bytes(&self) -> u64 {
        let plan = match &self.half {
            Half::Protobuf(plan) => plan.working_bytes(),
            Half::Json(plan) => plan.working_bytes(),
        };
        (plan + self.groups.capacity() * size_of::<Group>()) as u64
    }

    /// How much memory `write` takes at most for so many groups, if no stamp is larger than `stamp_bytes`: new bytes,
    /// and copies of the short ranges between them. The long ones are slices of the body.
    pub fn written_bytes_at_most(&self, groups: usize, stamp_bytes: usize) -> u64 {
        let ranges = groups
            .saturating_mul(RANGES_OF_A_GROUP)
            .saturating_add(2 * self.forged as usize);
        let copied = ranges.saturating_mul(SLICE_FROM_BYTES).min(self.body.len());
        let new = groups.saturating_mul(stamp_bytes.saturating_add(GROUP_OVERHEAD_BYTES));
        // What grows by doubling may be half empty.
        copied.saturating_add(new).saturating_mul(2) as u64
    }

    /// The message with the chosen groups only (index, and what to put on its resource), in the order given,
    /// without reserved attributes, and with all that is not a group kept. All groups with empty stamps and
    /// nothing forged give the bytes that were read, where no group has several resources. Indexes of no group are passed over.
    ///
    /// The message is the pieces in order: large ranges that do not change are slices of the body.
    pub fn write(&self, chosen: &[(usize, &Stamp)]) -> Vec<Bytes> {
        match &self.half {
            Half::Protobuf(plan) => plan.write(&self.body, chosen),
            Half::Json(plan) => plan.write(&self.body, chosen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wanted::work;
    use super::*;

    fn read(encoding: Encoding, body: &[u8], wanted: &Arc<Wanted>) -> Export {
        Export::read(
            Signal::Traces,
            encoding,
            Bytes::copy_from_slice(body),
            wanted,
        )
        .unwrap()
    }

    /// Scenario: every spelling of an export in which nothing is, and the least that is something. Guarantees: the one is
    /// told from the other in both encodings; what only a newer reader knows is something.
    #[test]
    fn an_export_that_carries_nothing_is_empty() {
        let none = Wanted::new([]);
        for (signal, text, is_empty) in [
            (Signal::Traces, "{}", true),
            (Signal::Traces, r#"{"resourceSpans":[]}"#, true),
            (Signal::Traces, r#"{"resource_spans":null}"#, true),
            (Signal::Traces, r#"{"resourceSpans":[{},{}]}"#, true),
            (
                Signal::Traces,
                r#"{"resourceSpans":[{"resource":{},"scopeSpans":[],"schemaUrl":"u"}]}"#,
                true,
            ),
            (
                Signal::Traces,
                r#"{"resourceSpans":[{"resource":{"attributes":[]},"scopeSpans":[{"spans":[]}]}]}"#,
                true,
            ),
            (
                Signal::Traces,
                r#"{"resourceSpans":[{"resource":null,"scopeSpans":[{"scope":{"name":"lightkeeper.a"},"spans":null}]}]}"#,
                true,
            ),
            (
                Signal::Metrics,
                r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[]}]}]}"#,
                true,
            ),
            (
                Signal::Logs,
                r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[],"schema_url":""}]}]}"#,
                true,
            ),
            (
                Signal::Traces,
                r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}"#,
                false,
            ),
            (
                Signal::Traces,
                r#"{"resourceSpans":[{},{"resource":{"attributes":[{"key":"a"}]}}]}"#,
                false,
            ),
            (Signal::Traces, r#"{"resourceSpans":[{"newer":[]}]}"#, false),
            (
                Signal::Traces,
                r#"{"resourceSpans":[{"scopeSpans":[{"newer":[]}]}]}"#,
                false,
            ),
            (Signal::Traces, r#"{"newer":[]}"#, false),
            (
                Signal::Metrics,
                r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{}]}]}]}"#,
                false,
            ),
            (
                Signal::Metrics,
                r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"newer":{}}]}]}]}"#,
                false,
            ),
            (
                Signal::Logs,
                r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#,
                false,
            ),
        ] {
            let export = Export::read(
                signal,
                Encoding::Json,
                Bytes::from_static(text.as_bytes()),
                &none,
            )
            .unwrap();
            assert_eq!(export.is_empty(), is_empty, "{text}");
        }
        let field = |number: u8, content: &[u8]| {
            [&[number << 3 | 2, content.len() as u8], content].concat()
        };
        for (body, is_empty) in [
            (vec![], true),
            (field(1, b""), true),
            (
                field(
                    1,
                    &[field(1, b""), field(2, b""), field(3, b"url")].concat(),
                ),
                true,
            ),
            (
                field(
                    1,
                    &field(
                        2,
                        &[field(1, &field(1, b"scope")), field(3, b"url")].concat(),
                    ),
                ),
                true,
            ),
            (field(1, &field(1, &[0x10, 7])), true),
            (field(1, &field(2, &field(2, b""))), false),
            (field(1, &field(1, &field(1, b""))), false),
            (field(1, &field(4, b"")), false),
            (field(1, &field(2, &field(4, b""))), false),
            (field(2, b""), false),
        ] {
            for signal in Signal::ALL {
                let export =
                    Export::read(signal, Encoding::Protobuf, body.clone().into(), &none).unwrap();
                assert_eq!(export.is_empty(), is_empty, "{signal:?} {body:x?}");
            }
        }
    }

    /// Scenario: resources of different sizes, one of which comes in two fields. Guarantees: the largest is known.
    #[test]
    fn the_largest_resource_is_known() {
        let none = Wanted::new([]);
        let pairs = |count: usize| vec![r#"{"key":"a"}"#; count].join(",");
        let group = |count: usize| format!(r#"{{"resource":{{"attributes":[{}]}}}}"#, pairs(count));
        let text = format!(
            r#"{{"resourceSpans":[{},{},{}]}}"#,
            group(2),
            group(5),
            group(0)
        );
        assert_eq!(
            read(Encoding::Json, text.as_bytes(), &none).most_attributes(),
            5
        );
        let field = |content: &[u8]| [&[0x0a, content.len() as u8], content].concat();
        let resource = |count: usize| field(&field(b"").repeat(count));
        let body = [
            field(&resource(2)),
            field(&[resource(3), resource(2)].concat()),
            field(&resource(4)),
        ]
        .concat();
        assert_eq!(read(Encoding::Protobuf, &body, &none).most_attributes(), 5);
    }

    /// Scenario: very many attributes whose names must be unescaped, with as many names wanted as policies have that
    /// watch much; all of them are asked for, again and again, and the export is written. Guarantees: the work grows with
    /// the attributes **and** the names, not with the product of both: each key is unescaped once and looked up once.
    #[test]
    fn reading_does_not_cost_attributes_times_names() {
        const ATTRIBUTES: u64 = 3_000;
        const NAMES: u64 = 200;
        let names: Vec<String> = (0..NAMES)
            .map(|number| format!("label-{number:04}"))
            .collect();
        let wanted = Wanted::new(names.iter().map(String::as_str));
        let stamp = Stamp::new(&[("lightkeeper.app", "shop"), ("label-0001", "ours")]);
        let key = |number: u64| format!("label-{number:04}");
        let pair = |number| {
            let key = key(number).replace('l', r"\u006c");
            format!(r#"{{"key":"{key}","value":{{"stringValue":"\u0061{number}"}}}}"#)
        };
        let pairs: Vec<String> = (0..ATTRIBUTES).map(pair).collect();
        let json = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{}]}}}}]}}"#,
            pairs.join(",")
        );
        let field = |number: u8, content: &[u8]| {
            let mut field = vec![number << 3 | 2];
            crate::otlp::push_varint(&mut field, content.len() as u64);
            [field, content.to_vec()].concat()
        };
        let pair = |number: u64| {
            let value = field(2, &field(1, format!("a{number}").as_bytes()));
            field(1, &[field(1, key(number).as_bytes()), value].concat())
        };
        let protobuf = field(
            1,
            &field(1, &(0..ATTRIBUTES).flat_map(pair).collect::<Vec<u8>>()),
        );
        for (encoding, body, escapes) in [
            (Encoding::Json, json.into_bytes(), 1),
            (Encoding::Protobuf, protobuf, 0),
        ] {
            work::done();
            let export = read(encoding, &body, &wanted);
            let [look_ups, unescapes] = work::done();
            assert!(look_ups <= ATTRIBUTES, "{encoding:?}: {look_ups}");
            // A key each, and the values of those that are wanted.
            assert!(
                unescapes <= escapes * (ATTRIBUTES + NAMES),
                "{encoding:?}: {unescapes}"
            );
            for _ in 0..3 {
                for (number, name) in names.iter().enumerate() {
                    assert_eq!(
                        export.attribute(0, name),
                        Found::Text(format!("a{number}").into()),
                        "{encoding:?}"
                    );
                }
            }
            assert_eq!(work::done(), [3 * NAMES, 0], "{encoding:?}");
            let written = export.write(&[(0, &stamp)]).concat();
            assert_eq!(work::done(), [0, 0], "{encoding:?}");
            let again = read(encoding, &written, &wanted);
            assert_eq!(again.attribute(0, "label-0001"), Found::Text("ours".into()));
            assert_eq!(again.most_attributes() as u64, ATTRIBUTES + 1);
        }
    }
}
