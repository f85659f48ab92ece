//! Decoded exports: what telemetry arrived, in words fit for a story and for a comparison.
//!
//! What it does: says what an accepted export held at each level, whatever format it came in, and keeps the
//! latest ones. What it refuses to know: transports, encodings; no access token is kept here.
//! Invariants: what is kept is bounded in number and in bytes, the oldest go first; a span is counted each
//! time it is accepted.

use std::collections::{BTreeMap, VecDeque};

use crate::coding::Coding;
use crate::formats::{Carrier, Format};
use lightkeeper::otlp::Signal;

/// Span ids that are counted; beyond it, new ones are not.
const SPAN_IDS: usize = 1 << 20;

/// Names and values as they came, values as text.
pub type Attributes = Vec<(String, String)>;

/// One accepted export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The project whose token it came with.
    pub project: String,
    /// Of a legacy report: the nearest one.
    pub signal: Signal,
    pub resources: Vec<ExportedResource>,
    /// How it was compressed on the wire: the body over HTTP, the message over gRPC.
    pub coding: Coding,
    /// Whether it came over gRPC.
    pub grpc: bool,
    /// The message as it was before compression and framing; empty for a legacy report, which holds a token.
    pub message: Vec<u8>,
    /// Present: it was no OTLP.
    pub legacy: Option<Legacy>,
}

/// What an export that is no OTLP was instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    pub format: Format,
    /// Every place where a token stood, sorted, each once.
    pub carriers: Vec<Carrier>,
}

/// One resource of an export. Of a legacy report: the process that reports, or one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportedResource {
    pub service: Option<String>,
    pub attributes: Attributes,
    /// Spans, data points or log records.
    pub items: u64,
    pub schema_url: String,
    pub scopes: Vec<ExportedScope>,
}

/// One instrumentation scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportedScope {
    pub name: String,
    pub attributes: Attributes,
    pub schema_url: String,
    pub records: Vec<ExportedRecord>,
}

/// One span, data point or log record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportedRecord {
    /// The span's or the metric's.
    pub name: String,
    /// Of spans alone, as a big-endian number.
    pub span_id: Option<u64>,
    pub attributes: Attributes,
    /// Attributes further inside: of events, links and exemplars, and a metric's metadata.
    pub nested: Attributes,
}

/// Where an attribute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Resource,
    Scope,
    Record,
    /// Events, links, exemplars, metadata.
    Nested,
}

impl ExportedResource {
    /// An attribute's first value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of an attribute: one, unless it came more than once.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.attributes
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub fn records(&self) -> impl Iterator<Item = &ExportedRecord> {
        self.scopes.iter().flat_map(|scope| &scope.records)
    }
}

impl Export {
    /// The services named by the resources, in order.
    pub fn services(&self) -> Vec<&str> {
        self.resources
            .iter()
            .filter_map(|resource| resource.service.as_deref())
            .collect()
    }

    /// Spans, data points or log records in total.
    pub fn items(&self) -> u64 {
        self.resources.iter().map(|resource| resource.items).sum()
    }

    /// The ids of its spans, in order, as often as they occur.
    pub fn span_ids(&self) -> Vec<u64> {
        let records = self.resources.iter().flat_map(ExportedResource::records);
        records.filter_map(|record| record.span_id).collect()
    }

    /// Every attribute at every level, in order: where it stands, its name and its value.
    pub fn attributes(&self) -> Vec<(Level, &str, &str)> {
        let mut all = Vec::new();
        for resource in &self.resources {
            all.extend(at(Level::Resource, &resource.attributes));
            for scope in &resource.scopes {
                all.extend(at(Level::Scope, &scope.attributes));
                for record in &scope.records {
                    all.extend(at(Level::Record, &record.attributes));
                    all.extend(at(Level::Nested, &record.nested));
                }
            }
        }
        all
    }

    /// Where attributes whose name begins so stand, with the name: `lightkeeper.` for what only the gateway
    /// may write.
    pub fn named(&self, prefix: &str) -> Vec<(Level, &str)> {
        let all = self.attributes().into_iter();
        all.filter(|(_, name, _)| name.starts_with(prefix))
            .map(|(level, name, _)| (level, name))
            .collect()
    }
}

fn at(level: Level, attributes: &[(String, String)]) -> impl Iterator<Item = (Level, &str, &str)> {
    attributes
        .iter()
        .map(move |(name, value)| (level, name.as_str(), value.as_str()))
}

/// The latest exports, and how often each span was accepted.
#[derive(Default)]
pub(super) struct Exports {
    kept: VecDeque<Export>,
    bytes: usize,
    spans: BTreeMap<u64, u64>,
}

impl Exports {
    /// Keeps an export of a message of so many bytes, within both limits; with `entries` 0 nothing is kept or
    /// counted.
    pub fn keep(&mut self, export: Export, entries: usize, bytes: usize) {
        if entries == 0 {
            return;
        }
        for id in export.span_ids() {
            if self.spans.len() < SPAN_IDS || self.spans.contains_key(&id) {
                *self.spans.entry(id).or_default() += 1;
            }
        }
        self.bytes += cost(&export);
        self.kept.push_back(export);
        while self.kept.len() > entries || self.bytes > bytes {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= cost(&oldest);
        }
    }

    pub fn all(&self) -> Vec<Export> {
        self.kept.iter().cloned().collect()
    }

    pub fn spans(&self) -> BTreeMap<u64, u64> {
        self.spans.clone()
    }
}

/// About how much memory an export takes: text, and its places.
fn cost(export: &Export) -> usize {
    let texts = export
        .attributes()
        .iter()
        .map(|(_, name, value)| name.len() + value.len() + 48)
        .sum::<usize>();
    let records = export.resources.iter().flat_map(ExportedResource::records);
    texts + export.message.len() + records.map(|record| record.name.len() + 80).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(span: u64, bytes: usize) -> Export {
        let record = ExportedRecord {
            span_id: Some(span),
            ..ExportedRecord::default()
        };
        let scope = ExportedScope {
            records: vec![record],
            ..ExportedScope::default()
        };
        let resource = ExportedResource {
            items: 1,
            scopes: vec![scope],
            ..ExportedResource::default()
        };
        Export {
            project: "p".to_owned(),
            signal: Signal::Traces,
            resources: vec![resource],
            coding: Coding::Identity,
            grpc: false,
            message: vec![0; bytes],
            legacy: None,
        }
    }

    /// Exports in number and bytes, what is kept, what is counted.
    #[test]
    fn exports_are_bounded_and_spans_are_counted() {
        for (entries, bytes, kept) in [
            (0, 1 << 20, vec![]),
            (2, 1 << 20, vec![2, 1]),
            (9, 500, vec![1]),
            (9, 1 << 20, vec![1, 2, 1]),
        ] {
            let mut exports = Exports::default();
            for span in [1, 2, 1] {
                exports.keep(export(span, 200), entries, bytes);
            }
            let left: Vec<u64> = exports.all().iter().flat_map(Export::span_ids).collect();
            assert_eq!(left, kept, "{entries} {bytes}");
            let counted = if entries == 0 {
                vec![]
            } else {
                vec![(1, 2), (2, 1)]
            };
            assert_eq!(exports.spans().into_iter().collect::<Vec<_>>(), counted);
        }
    }
}
