//! Sample telemetry: small, real messages.
//!
//! What it does: builds an export of any signal for some services, in protobuf and in JSON, plain or with all
//! that OTLP allows; and reports in the legacy formats (`legacy`). What it refuses to know: where it goes.
//! Invariants: both encodings of one sample say the same; spans of samples with different seeds have different
//! ids.

mod items;
mod json;
pub mod legacy;
mod protobuf;

use serde_json::Value;

use lightkeeper::otlp::{Encoding, Signal};

pub use items::span_id;
pub use legacy::LegacySample;

/// The attributes that only the gateway may write, as a forger would write them.
pub const FORGED: [(&str, &str); 4] = [
    ("lightkeeper.app", "platform"),
    (
        "lightkeeper.identity",
        "spiffe://prod.acme.example/ns/platform/sa/admin",
    ),
    ("lightkeeper.identity.issuer", "forger"),
    ("lightkeeper.identity.method", "forged"),
];

const SCOPE: &str = "lightkeeper.sample";
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// An export in the making.
#[derive(Clone, Debug)]
pub struct Sample {
    signal: Signal,
    seed: u64,
    rich: bool,
    unknown: bool,
    resources: Vec<Part>,
}

/// One resource, its one scope and its items.
#[derive(Clone, Debug, Default)]
struct Part {
    attributes: Vec<(String, String)>,
    scope: Vec<(String, String)>,
    item: Vec<(String, String)>,
    nested: Vec<(String, String)>,
    items: usize,
}

impl Sample {
    /// An export of one service: so many spans, data points or log records.
    pub fn of(signal: Signal, service: &str, items: usize) -> Self {
        Self::empty(signal).and(service, items)
    }

    /// An export of nothing yet.
    pub fn empty(signal: Signal) -> Self {
        Sample {
            signal,
            seed: 0,
            rich: false,
            unknown: false,
            resources: Vec::new(),
        }
    }

    /// Spans of one service.
    pub fn traces(service: &str, spans: usize) -> Self {
        Self::of(Signal::Traces, service, spans)
    }

    /// Another service in the same export.
    pub fn and(self, service: &str, items: usize) -> Self {
        self.anonymous(items).attribute("service.name", service)
    }

    /// Another resource that does not say which service it is.
    pub fn anonymous(mut self, items: usize) -> Self {
        self.resources.push(Part {
            items,
            ..Part::default()
        });
        self
    }

    /// One more attribute of the resource named last.
    pub fn attribute(self, name: &str, value: &str) -> Self {
        self.with(|part| &mut part.attributes, name, value)
    }

    /// One more attribute of its scope.
    pub fn scope_attribute(self, name: &str, value: &str) -> Self {
        self.with(|part| &mut part.scope, name, value)
    }

    /// One more attribute of each of its spans, data points or log records.
    pub fn item_attribute(self, name: &str, value: &str) -> Self {
        self.with(|part| &mut part.item, name, value)
    }

    /// One more attribute of each event and link (traces), each exemplar (metrics; a summary has none). Log
    /// records have nothing that could carry it.
    pub fn nested_attribute(self, name: &str, value: &str) -> Self {
        self.with(|part| &mut part.nested, name, value)
    }

    /// Forges everything of `FORGED` at every level of the resource named last.
    pub fn forged(self) -> Self {
        FORGED.into_iter().fold(self, |sample, (name, value)| {
            let sample = sample.attribute(name, value).scope_attribute(name, value);
            sample
                .item_attribute(name, value)
                .nested_attribute(name, value)
        })
    }

    fn with(
        mut self,
        which: impl Fn(&mut Part) -> &mut Vec<(String, String)>,
        name: &str,
        value: &str,
    ) -> Self {
        if let Some(part) = self.resources.last_mut() {
            which(part).push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Gives the spans ids that no sample with another seed (below 2^40) has.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// With what OTLP allows besides the least: schema URLs, attributes of every type, events and links, all
    /// five kinds of metrics, exemplars.
    pub fn rich(mut self) -> Self {
        self.rich = true;
        self
    }

    /// With fields (members) at every level that no version of OTLP has.
    pub fn unknown_fields(mut self) -> Self {
        self.unknown = true;
        self
    }

    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// Spans, data points or log records in total.
    pub fn items(&self) -> usize {
        self.resources.iter().map(|part| part.items).sum()
    }

    /// The ids of its spans, in order; none for other signals.
    pub fn span_ids(&self) -> Vec<u64> {
        match self.signal {
            Signal::Traces => (0..self.items())
                .map(|number| span_id(self.seed, number))
                .collect(),
            Signal::Metrics | Signal::Logs => Vec::new(),
        }
    }

    pub fn encode(&self, encoding: Encoding) -> Vec<u8> {
        match encoding {
            Encoding::Protobuf => self.protobuf(),
            Encoding::Json => self.json().to_string().into_bytes(),
        }
    }

    pub fn protobuf(&self) -> Vec<u8> {
        protobuf::encode(self)
    }

    /// The OTLP specification's JSON: ids in hexadecimal, 64-bit numbers as text, enums as numbers.
    pub fn json(&self) -> Value {
        json::encode(self)
    }

    /// The resources, each with the number of its first item in the whole sample.
    fn parts(&self) -> impl Iterator<Item = (&Part, usize)> {
        let mut next = 0;
        self.resources.iter().map(move |part| {
            let first = next;
            next += part.items;
            (part, first)
        })
    }
}
