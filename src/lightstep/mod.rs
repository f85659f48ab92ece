//! Lightstep's own report formats, from before OpenTelemetry.
//!
//! What it does: reads tokens, service names and counts out of legacy reports (`report.rs`), writes them
//! anew with a token of ours, and knows what answer makes each client behave (`answers.rs`).
//! What it refuses to know: who calls, what they may, where a report goes. Invariants: no byte of a token
//! that came in goes out; ours goes into a body only where the format needs it there; what is allocated is
//! bounded by a small multiple of what was given and asked for.

mod answers;
mod crouton;
mod fields;
mod findings;
mod firehose;
mod json;
mod lines;
mod protobuf;
mod report;
mod tagged;
mod thrift;
mod zipkin;

pub(crate) use answers::{Particulars, refusal, sanitize, success};
pub(crate) use findings::Service;
pub use findings::Token;
pub use firehose::{FIREHOSE_KEY, FIREHOSE_REQUEST, FIREHOSE_VERSION};
pub use report::Report;

/// The wire form of a legacy report. A gRPC `lightstep.collector.CollectorService/Report` carries a
/// `Reports` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `lightstep.collector.ReportRequest`, protobuf.
    Reports,
    /// The same message as proto3 JSON.
    ReportsJson,
    /// The Thrift structs of the first API as plain JSON.
    ThriftJson,
    /// A Thrift strict binary `Report` call.
    ThriftBinary,
    /// `lightstep.metrics.IngestRequest`, protobuf.
    Metrics,
    /// Zipkin v2 JSON.
    Zipkin,
    /// Elasticsearch's `_bulk`: lines of JSON.
    Bulk,
    /// An Amazon Data Firehose HTTP endpoint request, JSON.
    Firehose,
}

impl Format {
    pub const ALL: [Format; 8] = [
        Format::Reports,
        Format::ReportsJson,
        Format::ThriftJson,
        Format::ThriftBinary,
        Format::Metrics,
        Format::Zipkin,
        Format::Bulk,
        Format::Firehose,
    ];

    /// The word used in profiles and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Format::Reports => "reports",
            Format::ReportsJson => "reports_json",
            Format::ThriftJson => "thrift_json",
            Format::ThriftBinary => "thrift_binary",
            Format::Metrics => "metrics",
            Format::Zipkin => "zipkin",
            Format::Bulk => "bulk",
            Format::Firehose => "firehose",
        }
    }

    /// How much memory reading takes besides a body of this length.
    pub(crate) fn working_bytes(self, body_bytes: u64) -> u64 {
        match self {
            // Its records are decoded.
            Format::Firehose => body_bytes,
            Format::Reports
            | Format::ReportsJson
            | Format::ThriftJson
            | Format::ThriftBinary
            | Format::Metrics
            | Format::Zipkin
            | Format::Bulk => 0,
        }
    }

    /// Whether a client may put its token into the body.
    pub(crate) fn may_carry_token(self) -> bool {
        match self {
            Format::Reports
            | Format::ReportsJson
            | Format::ThriftJson
            | Format::ThriftBinary
            | Format::Zipkin => true,
            Format::Metrics | Format::Bulk | Format::Firehose => false,
        }
    }
}

#[cfg(test)]
mod tests;
