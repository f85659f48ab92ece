//! Where attributes lie in the messages of each signal, as tables of field numbers.
//!
//! From opentelemetry-proto 1.x, `opentelemetry/proto/{common,resource,trace,metrics,logs}/v1`. What it
//! refuses to know: how a message is walked. Invariant: the tables have no cycle, so a walk along them is
//! no deeper than they are.

use crate::otlp::Signal;

/// One message on the way to attributes: the fields of it that are or hold some.
#[derive(Debug)]
pub(super) struct Level(&'static [(u32, FieldStep)]);

/// What a field is to a walk that looks for attributes.
#[derive(Clone, Copy, Debug)]
pub(super) enum FieldStep {
    /// A `KeyValue` of a set of attributes.
    Attribute,
    /// A message that holds attributes further in.
    Into(&'static Level),
}

impl Level {
    pub(crate) fn step(&self, number: u32) -> Option<FieldStep> {
        self.0
            .iter()
            .find(|(own, _)| *own == number)
            .map(|(_, step)| *step)
    }
}

use FieldStep::{Attribute, Into};

/// `Export*ServiceRequest`: the resource groups.
pub(in crate::otlp) const GROUP: u32 = 1;
/// `ResourceSpans`, `ResourceMetrics`, `ResourceLogs`: the resource.
pub(in crate::otlp) const RESOURCE: u32 = 1;
/// Of the same: scopes with their items.
pub(in crate::otlp) const SCOPED: u32 = 2;
/// Of the same, before OTLP 0.15: `instrumentation_library_spans` and its like, laid out as scopes are.
pub(in crate::otlp) const LIBRARY_SCOPED: u32 = 1000;
/// Of the same, and of what holds their items: `schema_url`.
pub(in crate::otlp) const SCHEMA_URL: u32 = 3;
/// `ScopeSpans`, `ScopeMetrics`, `ScopeLogs`: the scope.
pub(in crate::otlp) const SCOPE_OF_RECORDS: u32 = 1;
/// `ScopeSpans`, `ScopeMetrics`, `ScopeLogs`: spans, metrics, log records.
pub(in crate::otlp) const RECORD: u32 = 2;
/// `Resource`: attributes.
pub(in crate::otlp) const RESOURCE_ATTRIBUTE: u32 = 1;
/// `Metric`: the members of the oneof `data` (gauge, sum, histogram, exponential histogram, summary).
pub(in crate::otlp) const METRIC_DATA: [u32; 5] = [5, 7, 9, 10, 11];
/// `Gauge` and the others: data points.
pub(in crate::otlp) const DATA_POINT: u32 = 1;

const SCOPE: FieldStep = Into(&Level(&[(3, Attribute)]));

const SCOPE_SPANS: Level = Level(&[(1, SCOPE), (RECORD, Into(&SPAN))]);
const SPAN: Level = Level(&[
    (9, Attribute),
    (11, Into(&Level(&[(3, Attribute)]))), // events
    (13, Into(&Level(&[(4, Attribute)]))), // links
]);

const SCOPE_LOGS: Level = Level(&[(1, SCOPE), (RECORD, Into(&Level(&[(6, Attribute)])))]);

const SCOPE_METRICS: Level = Level(&[(1, SCOPE), (RECORD, Into(&METRIC))]);
const METRIC: Level = Level(&[
    (5, Into(&Level(&[(DATA_POINT, Into(&NUMBER))]))),
    (7, Into(&Level(&[(DATA_POINT, Into(&NUMBER))]))),
    (
        9,
        Into(&Level(&[(
            DATA_POINT,
            Into(&Level(&[(9, Attribute), (8, EXEMPLAR)])),
        )])),
    ),
    (
        10,
        Into(&Level(&[(
            DATA_POINT,
            Into(&Level(&[(1, Attribute), (11, EXEMPLAR)])),
        )])),
    ),
    (
        11,
        Into(&Level(&[(DATA_POINT, Into(&Level(&[(7, Attribute)])))])),
    ),
    (12, Attribute), // metadata
]);
const NUMBER: Level = Level(&[(7, Attribute), (5, EXEMPLAR)]);
const EXEMPLAR: FieldStep = Into(&Level(&[(7, Attribute)]));

/// What lies below a `Scope*` message of the signal.
pub(super) fn scoped(signal: Signal) -> &'static Level {
    match signal {
        Signal::Traces => &SCOPE_SPANS,
        Signal::Metrics => &SCOPE_METRICS,
        Signal::Logs => &SCOPE_LOGS,
    }
}
