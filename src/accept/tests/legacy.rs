//! Which legacy report a head asks to send. What it refuses to know: whose it is.

use super::*;

/// Scenario: each legacy client's request line and content type. Guarantees: the format, permission's signal and
/// path of its row; everything else is unknown or unacceptable, and refused in the client's own language.
#[test]
fn legacy_asks_are_told_apart_by_path_and_type() {
    let binary = "application/octet-stream";
    let json = "application/json";
    /// Request line, content type, and the format and signal or the reason.
    type Row = (
        &'static str,
        &'static str,
        Result<(Format, &'static str), &'static str>,
    );
    let cases: &[Row] = &[
        (
            "POST /api/v2/reports",
            binary,
            Ok((Format::Reports, "traces")),
        ),
        (
            "POST /api/v2/reports",
            "Application/Octet-Stream; x=1",
            Ok((Format::Reports, "traces")),
        ),
        (
            "POST /api/v2/reports",
            "application/x-protobuf",
            Ok((Format::Reports, "traces")),
        ),
        (
            "POST /api/v2/reports",
            "application/json; charset=utf-8",
            Ok((Format::ReportsJson, "traces")),
        ),
        (
            "POST /api/v0/reports",
            json,
            Ok((Format::ThriftJson, "traces")),
        ),
        (
            "POST /_rpc/v1/reports/binary",
            "application/x-thrift",
            Ok((Format::ThriftBinary, "traces")),
        ),
        ("POST /metrics", binary, Ok((Format::Metrics, "metrics"))),
        ("POST /api/v2/spans", json, Ok((Format::Zipkin, "traces"))),
        ("POST /_bulk", json, Ok((Format::Bulk, "logs"))),
        (
            "POST /_bulk",
            "application/x-ndjson",
            Ok((Format::Bulk, "logs")),
        ),
        ("POST /cwstream", json, Ok((Format::Firehose, "metrics"))),
        (
            "POST /lightstep.collector.CollectorService/Report",
            "application/grpc+proto",
            Ok((Format::Reports, "traces")),
        ),
        (
            "POST /api/v2/reports",
            "text/plain",
            Err("media_type_unsupported"),
        ),
        ("POST /api/v2/reports", "", Err("media_type_unsupported")),
        (
            "POST /api/v2/reports",
            "application/grpc",
            Err("media_type_unsupported"),
        ),
        ("POST /api/v2/spans", binary, Err("media_type_unsupported")),
        (
            "POST /lightstep.collector.CollectorService/Report",
            binary,
            Err("media_type_unsupported"),
        ),
        ("GET /api/v2/reports", binary, Err("unknown")),
        ("PUT /_bulk", json, Err("unknown")),
        ("POST /api/v2/Reports", binary, Err("unknown")),
        ("POST /api/v1/spans", json, Err("unknown")),
        ("POST /api/v2/reports/x", binary, Err("unknown")),
        (
            "POST /lightstep.metrics.MetricsService/Report",
            "application/grpc",
            Err("unknown"),
        ),
        ("POST /api/v2/reports?x=1", binary, Err("malformed_query")),
        (
            "POST /api/v2/reports?access_token=x",
            binary,
            Err("conflicting_credentials"),
        ),
        (
            "GET /_rpc/v1/reports/uri_encoded?auth=%7B%22access_token%22%3A%22x%22%7D&report=%C3%A9",
            "",
            { Err("token_in_url") },
        ),
        (
            "GET /_rpc/v1/reports/uri_encoded?access_token=x",
            "",
            Err("token_in_url"),
        ),
        ("GET /_rpc/v1/reports/uri_encoded", "", Err("token_in_url")),
        (
            "POST /_rpc/v1/reports/uri_encoded",
            json,
            Err("token_in_url"),
        ),
    ];
    for (line, content_type, expected) in cases {
        for app in ["", "/apps/shop/checkout/-"] {
            let (method, path) = line.split_once(' ').unwrap();
            let headers = match *content_type {
                "" => Vec::new(),
                given => vec![format!("content-type: {given}")],
            };
            let got = head(&format!("{method} {app}{path}"), &headers, false);
            match (got, expected) {
                (
                    Ok((
                        _,
                        Call {
                            kind: RequestKind::Legacy(ask),
                            dialect,
                            ..
                        },
                    )),
                    Ok((format, signal)),
                ) => {
                    assert_eq!(
                        (ask.format, ask.signal.name()),
                        (*format, *signal),
                        "{line}"
                    );
                    assert_eq!(ask.upstream_path, path, "{line}");
                    assert_eq!(ask.app.is_some(), !app.is_empty(), "{line}");
                    let grpc = ask.protocol == Protocol::Grpc;
                    assert_eq!(
                        dialect,
                        if grpc {
                            Dialect::Grpc
                        } else {
                            Dialect::Legacy(*format)
                        },
                        "{line}"
                    );
                }
                (Ok((_, call)), Err(expected)) => match call.kind {
                    RequestKind::Unknown => assert_eq!(*expected, "unknown", "{line}"),
                    RequestKind::Unacceptable(fault) => {
                        assert_eq!(fault.reason().code(), *expected, "{line}")
                    }
                    other => panic!("{line}: {other:?}"),
                },
                (Err(refused), Err(expected)) => {
                    assert_eq!(refused.fault.reason().code(), *expected, "{line}")
                }
                (got, _) => panic!("{line}: {:?}", got.err()),
            }
        }
    }
    let encodings = [("gzip", true), ("", true), ("gzip, zstd", false)];
    for (encoding, taken) in encodings {
        let headers = [
            format!("content-type: {json}"),
            format!("content-encoding: {encoding}"),
        ];
        let (_, call) = head("POST /api/v0/reports", &headers, false).unwrap();
        assert_eq!(
            matches!(call.kind, RequestKind::Legacy(_)),
            taken,
            "{encoding}"
        );
    }
    let ids = [
        ("ed4acda5-034f", Some("ed4acda5-034f".to_owned())),
        ("", Some(String::new())),
    ];
    for (id, expected) in ids {
        let headers = http::HeaderMap::from_iter([(
            http::HeaderName::from_static("x-amz-firehose-request-id"),
            http::HeaderValue::from_static(id),
        )]);
        assert_eq!(super::super::firehose_request(&headers), expected);
    }
}
