//! The messages of an export as tables: fields with their numbers, names and kinds.
//!
//! From opentelemetry-proto 1.9, with what OTLP before 0.15 called `instrumentation_library_*`. What belongs to string tables
//! (`key_strindex`, `string_value_strindex`) must not be given outside of profiles and is left out: a field like any other that
//! is not known. What it refuses to know: how either encoding is read and written. Invariants: no message has more than 32
//! fields, nor more than one oneof; the fields of a message stand in the order of their numbers.

use crate::otlp::Signal;

/// One message type.
pub(super) struct Message {
    pub fields: &'static [Field],
    /// The places of its oneof's members, a bit for each.
    pub members: u32,
}

/// One field.
pub(super) struct Field {
    pub number: u32,
    /// In JSON.
    pub name: &'static str,
    /// In the `.proto` file; readers of JSON take it as well.
    pub original: &'static str,
    /// A comma, the name in quotes, and a colon.
    pub written: &'static str,
    pub kind: FieldKind,
    pub label: Label,
}

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum FieldKind {
    Bool,
    /// A value's name by its number. In JSON whole numbers (OTLP specification, "JSON Protobuf Encoding"); names are read, too, since
    /// the JSON mapping of protobuf has them and receivers take them.
    Enum(&'static [&'static str]),
    UInt32,
    SInt32,
    Fixed32,
    /// These are texts in JSON.
    Int64,
    UInt64,
    Fixed64,
    SFixed64,
    Double,
    Text,
    /// Base64 in JSON.
    Bytes,
    /// Hexadecimal in JSON.
    Id,
    Message(&'static Message),
}

/// How often a field stands in its message, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Left out if it says what an absent one does.
    Plain,
    /// Its presence says something.
    Optional,
    /// The same, and it excludes the others with this label.
    OneOf,
    Repeated,
}

impl FieldKind {
    /// Whether it is an attribute. Fields of attributes have numbers below 16.
    #[inline]
    pub(crate) fn is_attribute(self) -> bool {
        matches!(self, FieldKind::Message(message) if std::ptr::eq(message, &KEY_VALUE))
    }

    /// The wire type of one value (protobuf.dev, "Encoding").
    pub(crate) fn wire_type(self) -> u32 {
        match self {
            FieldKind::Bool
            | FieldKind::Enum(_)
            | FieldKind::UInt32
            | FieldKind::SInt32
            | FieldKind::Int64
            | FieldKind::UInt64 => 0,
            FieldKind::Fixed64 | FieldKind::SFixed64 | FieldKind::Double => 1,
            FieldKind::Text | FieldKind::Bytes | FieldKind::Id | FieldKind::Message(_) => 2,
            FieldKind::Fixed32 => 5,
        }
    }

    /// Whether repeated values may stand in one field.
    pub(crate) fn is_packable(self) -> bool {
        self.wire_type() != 2
    }
}

/// An export request of this signal.
pub(super) fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Traces => &TRACES,
        Signal::Metrics => &METRICS,
        Signal::Logs => &LOGS,
    }
}

macro_rules! fields {
    ($($number:literal $name:literal $original:literal $label:ident $kind:expr;)*) => {
        Message {
            fields: &[$(Field {
                number: $number,
                name: $name,
                original: $original,
                written: concat!(",\"", $name, "\":"),
                kind: $kind,
                label: Label::$label,
            }),*],
            members: members(&[$(Label::$label),*]),
        }
    };
}

const fn members(mut labels: &[Label]) -> u32 {
    let (mut members, mut bit) = (0, 1);
    while let Some((label, rest)) = labels.split_first() {
        if matches!(label, Label::OneOf) {
            members |= bit;
        }
        bit <<= 1;
        labels = rest;
    }
    members
}

use FieldKind::{
    Bool, Bytes, Double, Fixed32, Fixed64, Id, Int64, SFixed64, SInt32, Text, UInt32, UInt64,
};

// Enumerations: the place is the number.

static SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
static STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
static TEMPORALITIES: [&str; 3] = [
    "AGGREGATION_TEMPORALITY_UNSPECIFIED",
    "AGGREGATION_TEMPORALITY_DELTA",
    "AGGREGATION_TEMPORALITY_CUMULATIVE",
];
static SEVERITY_NUMBERS: [&str; 25] = [
    "SEVERITY_NUMBER_UNSPECIFIED",
    "SEVERITY_NUMBER_TRACE",
    "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",
    "SEVERITY_NUMBER_TRACE4",
    "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",
    "SEVERITY_NUMBER_DEBUG3",
    "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",
    "SEVERITY_NUMBER_INFO2",
    "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",
    "SEVERITY_NUMBER_WARN",
    "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",
    "SEVERITY_NUMBER_WARN4",
    "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",
    "SEVERITY_NUMBER_ERROR3",
    "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",
    "SEVERITY_NUMBER_FATAL2",
    "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4",
];

// The collector's requests.

static TRACES: Message = fields! {
    1 "resourceSpans" "resource_spans" Repeated FieldKind::Message(&RESOURCE_SPANS);
};
static METRICS: Message = fields! {
    1 "resourceMetrics" "resource_metrics" Repeated FieldKind::Message(&RESOURCE_METRICS);
};
static LOGS: Message = fields! {
    1 "resourceLogs" "resource_logs" Repeated FieldKind::Message(&RESOURCE_LOGS);
};

// common/v1, resource/v1.

static ANY_VALUE: Message = fields! {
    1 "stringValue" "string_value" OneOf Text;
    2 "boolValue" "bool_value" OneOf Bool;
    3 "intValue" "int_value" OneOf Int64;
    4 "doubleValue" "double_value" OneOf Double;
    5 "arrayValue" "array_value" OneOf FieldKind::Message(&ARRAY_VALUE);
    6 "kvlistValue" "kvlist_value" OneOf FieldKind::Message(&KEY_VALUE_LIST);
    7 "bytesValue" "bytes_value" OneOf Bytes;
};
static ARRAY_VALUE: Message = fields! {
    1 "values" "values" Repeated FieldKind::Message(&ANY_VALUE);
};
static KEY_VALUE_LIST: Message = fields! {
    1 "values" "values" Repeated FieldKind::Message(&KEY_VALUE);
};
static KEY_VALUE: Message = fields! {
    1 "key" "key" Plain Text;
    2 "value" "value" Plain FieldKind::Message(&ANY_VALUE);
};
static SCOPE: Message = fields! {
    1 "name" "name" Plain Text;
    2 "version" "version" Plain Text;
    3 "attributes" "attributes" Repeated FieldKind::Message(&KEY_VALUE);
    4 "droppedAttributesCount" "dropped_attributes_count" Plain UInt32;
};
static ENTITY_REF: Message = fields! {
    1 "schemaUrl" "schema_url" Plain Text;
    2 "type" "type" Plain Text;
    3 "idKeys" "id_keys" Repeated Text;
    4 "descriptionKeys" "description_keys" Repeated Text;
};
static RESOURCE: Message = fields! {
    1 "attributes" "attributes" Repeated FieldKind::Message(&KEY_VALUE);
    2 "droppedAttributesCount" "dropped_attributes_count" Plain UInt32;
    3 "entityRefs" "entity_refs" Repeated FieldKind::Message(&ENTITY_REF);
};

// trace/v1.

static RESOURCE_SPANS: Message = fields! {
    1 "resource" "resource" Plain FieldKind::Message(&RESOURCE);
    2 "scopeSpans" "scope_spans" Repeated FieldKind::Message(&SCOPE_SPANS);
    3 "schemaUrl" "schema_url" Plain Text;
    1000 "instrumentationLibrarySpans" "instrumentation_library_spans" Repeated FieldKind::Message(&LIBRARY_SPANS);
};
static SCOPE_SPANS: Message = fields! {
    1 "scope" "scope" Plain FieldKind::Message(&SCOPE);
    2 "spans" "spans" Repeated FieldKind::Message(&SPAN);
    3 "schemaUrl" "schema_url" Plain Text;
};
static LIBRARY_SPANS: Message = fields! {
    1 "instrumentationLibrary" "instrumentation_library" Plain FieldKind::Message(&SCOPE);
    2 "spans" "spans" Repeated FieldKind::Message(&SPAN);
    3 "schemaUrl" "schema_url" Plain Text;
};
static SPAN: Message = fields! {
    1 "traceId" "trace_id" Plain Id;
    2 "spanId" "span_id" Plain Id;
    3 "traceState" "trace_state" Plain Text;
    4 "parentSpanId" "parent_span_id" Plain Id;
    5 "name" "name" Plain Text;
    6 "kind" "kind" Plain FieldKind::Enum(&SPAN_KINDS);
    7 "startTimeUnixNano" "start_time_unix_nano" Plain Fixed64;
    8 "endTimeUnixNano" "end_time_unix_nano" Plain Fixed64;
    9 "attributes" "attributes" Repeated FieldKind::Message(&KEY_VALUE);
    10 "droppedAttributesCount" "dropped_attributes_count" Plain UInt32;
    11 "events" "events" Repeated FieldKind::Message(&EVENT);
    12 "droppedEventsCount" "dropped_events_count" Plain UInt32;
    13 "links" "links" Repeated FieldKind::Message(&LINK);
    14 "droppedLinksCount" "dropped_links_count" Plain UInt32;
    15 "status" "status" Plain FieldKind::Message(&STATUS);
    16 "flags" "flags" Plain Fixed32;
};
static EVENT: Message = fields! {
    1 "timeUnixNano" "time_unix_nano" Plain Fixed64;
    2 "name" "name" Plain Text;
    3 "attributes" "attributes" Repeated FieldKind::Message(&KEY_VALUE);
    4 "droppedAttributesCount" "dropped_attributes_count" Plain UInt32;
};
static LINK: Message = fields! {
    1 "traceId" "trace_id" Plain Id;
    2 "spanId" "span_id" Plain Id;
    3 "traceState" "trace_state" Plain Text;
    4 "attributes" "attributes" Repeated FieldKind::Message(&KEY_VALUE);
    5 "droppedAttributesCount" "dropped_attributes_count" Plain UInt32;
    6 "flags" "flags" Plain Fixed32;
};
static STATUS: Message = fields! {
    2 "message" "message" Plain Text;
    3 "code" "code" Plain FieldKind::Enum(&STATUS_CODES);
};

// logs/v1.

static RESOURCE_LOGS: Message = fields! {
    1 "resource" "resource" Plain FieldKind::Message(&RESOURCE);
    2 "scopeLogs" "scope_logs" Repeated FieldKind::Message(&SCOPE_LOGS);
    3 "schemaUrl" "schema_url" Plain Text;
    1000 "instrumentationLibraryLogs" "instrumentation_library_logs" Repeated FieldKind::Message(&LIBRARY_LOGS);
};
static SCOPE_LOGS: Message = fields! {
    1 "scope" "scope" Plain FieldKind::Message(&SCOPE);
    2 "logRecords" "log_records" Repeated FieldKind::Message(&LOG_RECORD);
    3 "schemaUrl" "schema_url" Plain Text;
};
static LIBRARY_LOGS: Message = fields! {
    1 "instrumentationLibrary" "instrumentation_library" Plain FieldKind::Message(&SCOPE);
    2 "logRecords" "log_records" Repeated FieldKind::Message(&LOG_RECORD);
    3 "schemaUrl" "schema_url" Plain Text;
};
static LOG_RECORD: Message = fields! {
    1 "timeUnixNano" "time_unix_nano" Plain Fixed64;
    2 "severityNumber" "severity_number" Plain FieldKind::Enum(&SEVERITY_NUMBERS);
    3 "severityText" "severity_text" Plain Text;
    5 "body" "body" Plain FieldKind::Message(&ANY_VALUE);
    6 "attributes" "attributes" Repeated FieldKind::Message(&KEY_VALUE);
    7 "droppedAttributesCount" "dropped_attributes_count" Plain UInt32;
    8 "flags" "flags" Plain Fixed32;
    9 "traceId" "trace_id" Plain Id;
    10 "spanId" "span_id" Plain Id;
    11 "observedTimeUnixNano" "observed_time_unix_nano" Plain Fixed64;
    12 "eventName" "event_name" Plain Text;
};

// metrics/v1.

static RESOURCE_METRICS: Message = fields! {
    1 "resource" "resource" Plain FieldKind::Message(&RESOURCE);
    2 "scopeMetrics" "scope_metrics" Repeated FieldKind::Message(&SCOPE_METRICS);
    3 "schemaUrl" "schema_url" Plain Text;
    1000 "instrumentationLibraryMetrics" "instrumentation_library_metrics" Repeated FieldKind::Message(&LIBRARY_METRICS);
};
static SCOPE_METRICS: Message = fields! {
    1 "scope" "scope" Plain FieldKind::Message(&SCOPE);
    2 "metrics" "metrics" Repeated FieldKind::Message(&METRIC);
    3 "schemaUrl" "schema_url" Plain Text;
};
static LIBRARY_METRICS: Message = fields! {
    1 "instrumentationLibrary" "instrumentation_library" Plain FieldKind::Message(&SCOPE);
    2 "metrics" "metrics" Repeated FieldKind::Message(&METRIC);
    3 "schemaUrl" "schema_url" Plain Text;
};
static METRIC: Message = fields! {
    1 "name" "name" Plain Text;
    2 "description" "description" Plain Text;
    3 "unit" "unit" Plain Text;
    5 "gauge" "gauge" OneOf FieldKind::Message(&GAUGE);
    7 "sum" "sum" OneOf FieldKind::Message(&SUM);
    9 "histogram" "histogram" OneOf FieldKind::Message(&HISTOGRAM);
    10 "exponentialHistogram" "exponential_histogram" OneOf FieldKind::Message(&EXPONENTIAL_HISTOGRAM);
    11 "summary" "summary" OneOf FieldKind::Message(&SUMMARY);
    12 "metadata" "metadata" Repeated FieldKind::Message(&KEY_VALUE);
};
static GAUGE: Message = fields! {
    1 "dataPoints" "data_points" Repeated FieldKind::Message(&NUMBER_POINT);
};
static SUM: Message = fields! {
    1 "dataPoints" "data_points" Repeated FieldKind::Message(&NUMBER_POINT);
    2 "aggregationTemporality" "aggregation_temporality" Plain FieldKind::Enum(&TEMPORALITIES);
    3 "isMonotonic" "is_monotonic" Plain Bool;
};
static HISTOGRAM: Message = fields! {
    1 "dataPoints" "data_points" Repeated FieldKind::Message(&HISTOGRAM_POINT);
    2 "aggregationTemporality" "aggregation_temporality" Plain FieldKind::Enum(&TEMPORALITIES);
};
static EXPONENTIAL_HISTOGRAM: Message = fields! {
    1 "dataPoints" "data_points" Repeated FieldKind::Message(&EXPONENTIAL_POINT);
    2 "aggregationTemporality" "aggregation_temporality" Plain FieldKind::Enum(&TEMPORALITIES);
};
static SUMMARY: Message = fields! {
    1 "dataPoints" "data_points" Repeated FieldKind::Message(&SUMMARY_POINT);
};
static NUMBER_POINT: Message = fields! {
    2 "startTimeUnixNano" "start_time_unix_nano" Plain Fixed64;
    3 "timeUnixNano" "time_unix_nano" Plain Fixed64;
    4 "asDouble" "as_double" OneOf Double;
    5 "exemplars" "exemplars" Repeated FieldKind::Message(&EXEMPLAR);
    6 "asInt" "as_int" OneOf SFixed64;
    7 "attributes" "attributes" Repeated FieldKind::Message(&KEY_VALUE);
    8 "flags" "flags" Plain UInt32;
};
static HISTOGRAM_POINT: Message = fields! {
    2 "startTimeUnixNano" "start_time_unix_nano" Plain Fixed64;
    3 "timeUnixNano" "time_unix_nano" Plain Fixed64;
    4 "count" "count" Plain Fixed64;
    5 "sum" "sum" Optional Double;
    6 "bucketCounts" "bucket_counts" Repeated Fixed64;
    7 "explicitBounds" "explicit_bounds" Repeated Double;
    8 "exemplars" "exemplars" Repeated FieldKind::Message(&EXEMPLAR);
    9 "attributes" "attributes" Repeated FieldKind::Message(&KEY_VALUE);
    10 "flags" "flags" Plain UInt32;
    11 "min" "min" Optional Double;
    12 "max" "max" Optional Double;
};
static EXPONENTIAL_POINT: Message = fields! {
    1 "attributes" "attributes" Repeated FieldKind::Message(&KEY_VALUE);
    2 "startTimeUnixNano" "start_time_unix_nano" Plain Fixed64;
    3 "timeUnixNano" "time_unix_nano" Plain Fixed64;
    4 "count" "count" Plain Fixed64;
    5 "sum" "sum" Optional Double;
    6 "scale" "scale" Plain SInt32;
    7 "zeroCount" "zero_count" Plain Fixed64;
    8 "positive" "positive" Plain FieldKind::Message(&BUCKETS);
    9 "negative" "negative" Plain FieldKind::Message(&BUCKETS);
    10 "flags" "flags" Plain UInt32;
    11 "exemplars" "exemplars" Repeated FieldKind::Message(&EXEMPLAR);
    12 "min" "min" Optional Double;
    13 "max" "max" Optional Double;
    14 "zeroThreshold" "zero_threshold" Plain Double;
};
static BUCKETS: Message = fields! {
    1 "offset" "offset" Plain SInt32;
    2 "bucketCounts" "bucket_counts" Repeated UInt64;
};
static SUMMARY_POINT: Message = fields! {
    2 "startTimeUnixNano" "start_time_unix_nano" Plain Fixed64;
    3 "timeUnixNano" "time_unix_nano" Plain Fixed64;
    4 "count" "count" Plain Fixed64;
    5 "sum" "sum" Plain Double;
    6 "quantileValues" "quantile_values" Repeated FieldKind::Message(&QUANTILE);
    7 "attributes" "attributes" Repeated FieldKind::Message(&KEY_VALUE);
    8 "flags" "flags" Plain UInt32;
};
static QUANTILE: Message = fields! {
    1 "quantile" "quantile" Plain Double;
    2 "value" "value" Plain Double;
};
static EXEMPLAR: Message = fields! {
    2 "timeUnixNano" "time_unix_nano" Plain Fixed64;
    3 "asDouble" "as_double" OneOf Double;
    4 "spanId" "span_id" Plain Id;
    5 "traceId" "trace_id" Plain Id;
    6 "asInt" "as_int" OneOf SFixed64;
    7 "filteredAttributes" "filtered_attributes" Repeated FieldKind::Message(&KEY_VALUE);
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: all tables that an export leads to. Guarantees: the tag of a field of attributes fits one byte, as the way in
    /// one go writes it, and that way's own tags are those of the tables.
    #[test]
    fn attributes_are_what_the_short_way_takes_them_for() {
        let (mut open, mut seen, mut count) = (vec![&TRACES, &METRICS, &LOGS], Vec::new(), 0);
        while let Some(message) = open.pop() {
            seen.push(std::ptr::from_ref(message));
            for field in message.fields {
                if field.kind.is_attribute() {
                    count += 1;
                    assert!(field.number < 16 && field.label == Label::Repeated);
                }
                if let FieldKind::Message(inner) = field.kind
                    && !seen.contains(&std::ptr::from_ref(inner))
                {
                    open.push(inner);
                }
            }
        }
        assert!(count > 8);
        let named = |message: &'static Message, number: u32| {
            let mut fields = message.fields.iter();
            let field = fields.find(|field| field.number == number).unwrap();
            (field.name, field.kind.wire_type())
        };
        assert_eq!(named(&KEY_VALUE, 1), ("key", 2));
        assert_eq!(named(&KEY_VALUE, 2), ("value", 2));
        assert_eq!(named(&ANY_VALUE, 1), ("stringValue", 2));
        assert_eq!(named(&ANY_VALUE, 3), ("intValue", 0));
    }
}
