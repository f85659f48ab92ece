//! The report formats that Lightstep took before OpenTelemetry, and others' that it takes.
//!
//! What it does: names them with their paths and media types, and the places where an access token may stand
//! (`docs/backends/lightstep.md`, paths of ingest). What it refuses to know: the gateway's own table of them.
//! Invariant: path and media type tell the formats apart.

/// A format that is not OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// `lightstep.collector.ReportRequest` over HTTP.
    Reports,
    /// The same as proto3 JSON.
    ReportsJson,
    /// The same over gRPC.
    ReportsGrpc,
    /// Thrift's structs as plain JSON.
    ThriftJson,
    /// A strict binary Thrift call.
    ThriftBinary,
    /// `lightstep.metrics.IngestRequest`.
    Metrics,
    /// Zipkin's JSON, version 2.
    Zipkin,
    /// Elasticsearch's bulk lines.
    Bulk,
    /// A CloudWatch metric stream, delivered by AWS Firehose.
    Firehose,
}

/// Where an access token may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carrier {
    /// `lightstep-access-token`, also as gRPC metadata.
    Header,
    /// The message's own `auth`.
    Body,
    /// `lightstep.access_token` or `access_token`, of a span or of the reporter.
    Tag,
    /// The password of `authorization: Basic`, whatever the user.
    Basic,
    /// `x-amz-firehose-access-key`.
    FirehoseKey,
}

/// Names of tags that carry a token.
pub const TOKEN_TAGS: [&str; 2] = ["lightstep.access_token", "access_token"];
/// The tag that names the service.
pub const COMPONENT_NAME: &str = "lightstep.component_name";
/// AWS Firehose's headers.
pub const FIREHOSE_KEY: &str = "x-amz-firehose-access-key";
pub const FIREHOSE_REQUEST: &str = "x-amz-firehose-request-id";

impl Format {
    pub const ALL: [Format; 9] = [
        Format::Reports,
        Format::ReportsJson,
        Format::ReportsGrpc,
        Format::ThriftJson,
        Format::ThriftBinary,
        Format::Metrics,
        Format::Zipkin,
        Format::Bulk,
        Format::Firehose,
    ];

    pub fn path(self) -> &'static str {
        match self {
            Format::Reports | Format::ReportsJson => "/api/v2/reports",
            Format::ReportsGrpc => "/lightstep.collector.CollectorService/Report",
            Format::ThriftJson => "/api/v0/reports",
            Format::ThriftBinary => "/_rpc/v1/reports/binary",
            Format::Metrics => "/metrics",
            Format::Zipkin => "/api/v2/spans",
            Format::Bulk => "/_bulk",
            Format::Firehose => "/cwstream",
        }
    }

    /// Of the request, and of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Reports | Format::Metrics => "application/octet-stream",
            Format::ReportsGrpc => "application/grpc",
            Format::ThriftBinary => "application/x-thrift",
            Format::ReportsJson
            | Format::ThriftJson
            | Format::Zipkin
            | Format::Bulk
            | Format::Firehose => "application/json",
        }
    }

    /// The format of a path; where one path has two, the media type decides, and protobuf is the default.
    pub fn of(path: &str, content_type: &str) -> Option<Format> {
        let json = content_type.starts_with("application/json");
        let grpc = content_type.starts_with("application/grpc");
        let fits = |format: &Format| match format {
            Format::Reports => !json,
            Format::ReportsJson => json,
            Format::ReportsGrpc => grpc,
            _ => true,
        };
        Format::ALL
            .into_iter()
            .find(|format| format.path() == path && fits(format))
    }

    /// Where this format's usual clients put the token.
    pub fn usual_carriers(self) -> &'static [Carrier] {
        match self {
            Format::Reports | Format::ReportsJson | Format::ReportsGrpc | Format::ThriftBinary => {
                &[Carrier::Header, Carrier::Body]
            }
            Format::ThriftJson | Format::Metrics => &[Carrier::Header],
            Format::Zipkin => &[Carrier::Tag],
            Format::Bulk => &[Carrier::Basic],
            Format::Firehose => &[Carrier::FirehoseKey],
        }
    }

    /// Every place where a token may stand in this format.
    pub fn carriers(self) -> &'static [Carrier] {
        match self {
            Format::Reports | Format::ReportsJson | Format::ReportsGrpc | Format::ThriftBinary => {
                &[Carrier::Header, Carrier::Body, Carrier::Tag]
            }
            Format::ThriftJson | Format::Metrics | Format::Zipkin => {
                &[Carrier::Header, Carrier::Tag]
            }
            Format::Bulk => &[Carrier::Header, Carrier::Basic],
            Format::Firehose => &[Carrier::Header, Carrier::FirehoseKey],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_media_type_tell_the_formats_apart() {
        for format in Format::ALL {
            assert_eq!(
                Format::of(format.path(), format.content_type()),
                Some(format)
            );
            assert!(
                format
                    .usual_carriers()
                    .iter()
                    .all(|carrier| format.carriers().contains(carrier))
            );
        }
        for (path, content_type, format) in [
            ("/api/v2/reports", "", Some(Format::Reports)),
            (
                "/api/v2/reports",
                "application/json; charset=utf-8",
                Some(Format::ReportsJson),
            ),
            ("/api/v2/reports/", "", None),
            (
                "/lightstep.collector.CollectorService/Report",
                "application/json",
                None,
            ),
            ("/v1/traces", "application/json", None),
        ] {
            assert_eq!(Format::of(path, content_type), format, "{path}");
        }
    }
}
