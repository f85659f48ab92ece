//! Where groups, items and attributes lie in the messages of each signal, as tables of member names.
//!
//! From opentelemetry-proto 1.x in its JSON mapping (OTLP specification, "JSON Protobuf Encoding"): a field
//! has its lowerCamelCase name, and readers take its original name as well. What it refuses to know: how a
//! text is walked. Invariant: the tables have no cycle, so a walk along them is no deeper than they are.

use crate::otlp::Signal;

/// The members of an object that matter; at most 32.
pub(in crate::otlp) type ObjectShape = &'static [Field];

/// One member.
#[derive(Debug)]
pub(in crate::otlp) struct Field {
    pub name: &'static str,
    /// The name in the `.proto` file.
    pub original: &'static str,
    pub holds: Holds,
}

/// What a member holds; `null` is as good as nothing.
#[derive(Debug)]
pub(in crate::otlp) enum Holds {
    /// An array of resource groups.
    Groups(ObjectShape),
    /// The resource of a group.
    Resource,
    /// An array of `KeyValue`.
    Attributes,
    /// An array of items: spans, data points, log records.
    Items(ObjectShape),
    /// An array of objects.
    Objects(ObjectShape),
    /// An array of objects that hold items, in members that are known or not.
    Holders(ObjectShape),
    /// An object with attributes and no items.
    Scope,
    /// An object that excludes its like (a member of a oneof).
    OneOf(ObjectShape),
    /// A value that is looked at on its own terms.
    Value,
}

use Holds::{Attributes, Groups, Holders, Items, Objects, OneOf, Resource, Scope, Value};

const fn field(name: &'static str, original: &'static str, holds: Holds) -> Field {
    Field {
        name,
        original,
        holds,
    }
}

/// Objects of which nothing but their attributes matters: scopes, events, links, log records.
pub(super) const WITH_ATTRIBUTES: ObjectShape = &[field("attributes", "attributes", Attributes)];
/// `KeyValue`.
pub(super) const PAIR: ObjectShape = &[
    field("key", "key", Value),
    field("value", "value", Value),
    field("keyStrindex", "key_strindex", Value),
];
/// `AnyValue`: the one member that is text.
pub(super) const ANY_VALUE: ObjectShape = &[field("stringValue", "string_value", Value)];

/// `Export{Trace,Metrics,Logs}ServiceResponse`.
pub(in crate::otlp) const ANSWER: ObjectShape =
    &[field("partialSuccess", "partial_success", Value)];

/// `Export{Trace,Metrics,Logs}PartialSuccess`: the count, then the words.
pub(in crate::otlp) fn partial_success(signal: Signal) -> ObjectShape {
    const MESSAGE: Field = field("errorMessage", "error_message", Value);
    const SPANS: ObjectShape = &[field("rejectedSpans", "rejected_spans", Value), MESSAGE];
    const POINTS: ObjectShape = &[
        field("rejectedDataPoints", "rejected_data_points", Value),
        MESSAGE,
    ];
    const RECORDS: ObjectShape = &[
        field("rejectedLogRecords", "rejected_log_records", Value),
        MESSAGE,
    ];
    match signal {
        Signal::Traces => SPANS,
        Signal::Metrics => POINTS,
        Signal::Logs => RECORDS,
    }
}

/// An export request of this signal.
pub(super) fn request(signal: Signal) -> ObjectShape {
    match signal {
        Signal::Traces => TRACES,
        Signal::Metrics => METRICS,
        Signal::Logs => LOGS,
    }
}

const TRACES: ObjectShape = &[field(
    "resourceSpans",
    "resource_spans",
    Groups(RESOURCE_SPANS),
)];
const METRICS: ObjectShape = &[field(
    "resourceMetrics",
    "resource_metrics",
    Groups(RESOURCE_METRICS),
)];
const LOGS: ObjectShape = &[field(
    "resourceLogs",
    "resource_logs",
    Groups(RESOURCE_LOGS),
)];

const SCHEMA_URL: Field = field("schemaUrl", "schema_url", Value);

// The `instrumentationLibrary…` members were the scopes before OTLP 0.15, laid out alike.

const RESOURCE_SPANS: ObjectShape = &[
    field("resource", "resource", Resource),
    field("scopeSpans", "scope_spans", Objects(SCOPE_SPANS)),
    field(
        "instrumentationLibrarySpans",
        "instrumentation_library_spans",
        Objects(SCOPE_SPANS),
    ),
    SCHEMA_URL,
];
const SCOPE_SPANS: ObjectShape = &[
    field("scope", "scope", Scope),
    field("instrumentationLibrary", "instrumentation_library", Scope),
    field("spans", "spans", Items(SPAN)),
    SCHEMA_URL,
];
const SPAN: ObjectShape = &[
    field("attributes", "attributes", Attributes),
    field("events", "events", Objects(WITH_ATTRIBUTES)),
    field("links", "links", Objects(WITH_ATTRIBUTES)),
];

const RESOURCE_LOGS: ObjectShape = &[
    field("resource", "resource", Resource),
    field("scopeLogs", "scope_logs", Objects(SCOPE_LOGS)),
    field(
        "instrumentationLibraryLogs",
        "instrumentation_library_logs",
        Objects(SCOPE_LOGS),
    ),
    SCHEMA_URL,
];
const SCOPE_LOGS: ObjectShape = &[
    field("scope", "scope", Scope),
    field("instrumentationLibrary", "instrumentation_library", Scope),
    field("logRecords", "log_records", Items(WITH_ATTRIBUTES)),
    SCHEMA_URL,
];

const RESOURCE_METRICS: ObjectShape = &[
    field("resource", "resource", Resource),
    field("scopeMetrics", "scope_metrics", Objects(SCOPE_METRICS)),
    field(
        "instrumentationLibraryMetrics",
        "instrumentation_library_metrics",
        Objects(SCOPE_METRICS),
    ),
    SCHEMA_URL,
];
const SCOPE_METRICS: ObjectShape = &[
    field("scope", "scope", Scope),
    field("instrumentationLibrary", "instrumentation_library", Scope),
    field("metrics", "metrics", Holders(METRIC)),
    SCHEMA_URL,
];
const METRIC: ObjectShape = &[
    field("metadata", "metadata", Attributes),
    field("gauge", "gauge", OneOf(POINTS)),
    field("sum", "sum", OneOf(POINTS)),
    field("histogram", "histogram", OneOf(POINTS)),
    field(
        "exponentialHistogram",
        "exponential_histogram",
        OneOf(POINTS),
    ),
    field("summary", "summary", OneOf(POINTS)),
];
const POINTS: ObjectShape = &[field("dataPoints", "data_points", Items(POINT))];
const POINT: ObjectShape = &[
    field("attributes", "attributes", Attributes),
    field("exemplars", "exemplars", Objects(EXEMPLAR)),
];
const EXEMPLAR: ObjectShape = &[field(
    "filteredAttributes",
    "filtered_attributes",
    Attributes,
)];
