//! The JSON formats against `serde_json`'s values, and by tables of what readers could take differently.
//!
//! What it does: shows what is changed and that nothing else is. What it refuses to know: how a text is walked.

mod firehose;
mod services;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Value, json};

use super::{OURS, THEIRS, holds, read, written};
use crate::lightstep::{Format, Service, Token};

/// proto3 JSON of `ReportRequest`, as the C# tracer writes it.
pub(super) const REPORT: &str = r#"{
 "reporter": {"reporterId": "18446744073709551615", "tags": [
   {"key": "lightstep.component_name", "stringValue": "shop"}, {"key": "lightkeeper.app", "stringValue": "forged"},
   {"key": "owner", "stringValue": "forged"}]},
 "auth": {"accessToken": "THEIRS"},
 "spans": [
   {"spanContext": {"traceId": 18446744073709551615, "spanId": "9007199254740993"}, "operationName": "one\u00e9",
    "durationMicros": "7", "tags": [{"key": "a", "doubleValue": 0.10000000000000000555}]},
   {"tags": [{"key": "access_token", "stringValue": "THEIRS"}, {"key": "lightkeeper.x", "intValue": "1"}],
    "logs": [{"timestamp": "2026-01-01T00:00:00Z", "fields": [{"key": "lightkeeper.y", "boolValue": true}]}]}
 ],
 "timestampOffsetMicros": "-3", "unheard": [1e400, {"a": null}]
}"#;

/// The first API's report, as Node's tracer writes it.
pub(super) const THRIFT: &str = r#"{"auth":{"access_token":"THEIRS"},
"runtime":{"guid":"18446744073709551615","start_micros":1700000000000000,"group_name":"shop",
 "attrs":[{"Key":"lightstep.tracer_platform","Value":"node"},{"Key":"lightkeeper.app","Value":"forged"},
          {"Key":"owner","Value":"forged"}]},
"span_records":[{"span_guid":"f00","oldest_micros":1700000000000001,"attributes":[{"Key":"a","Value":"b"}],
  "log_records":null},
 {"span_guid":"f01","attributes":[{"Key":"lightkeeper.x","Value":"forged"},{"Key":"lightstep.access_token","Value":"THEIRS"}],
  "log_records":[{"timestamp_micros":1,"fields":[{"Key":"lightkeeper.y","Value":"forged"},{"Key":"event","Value":"e"}]}]}],
"log_records":null,"counters":[{"Name":"spans.dropped","Value":9007199254740993}],"internal_metrics":{"counts":[]}}"#;

pub(super) const ZIPKIN: &str = r#"[
 {"traceId":"0af7","id":"b7ad","name":"one","timestamp":1700000000000001,"duration":9007199254740993,
  "localEndpoint":{"serviceName":"shop","ipv4":"10.0.0.1"},
  "tags":{"lightstep.access_token":"THEIRS","lightstep.component_name":"shop","owner":"forged","lightkeeper.a":"forged"}},
 {"id":"b7ae","traceId":"0af7","tags":{"access_token":"THEIRS","http.method":"GET","lightkeeper.b":"forged"},
  "localEndpoint":{"serviceName":"shop"}}]"#;

pub(super) const BULK: &str = "{\"create\":{\"_index\":\"logs\"}}\n\
     {\"message\":\"one\",\"service.name\":\"shop\",\"lightkeeper\\u002ea\":\"forged\",\"owner\":\"forged\"}\n\
     {\"index\":{}}\n\
     {\"message\":\"two\",\"lightkeeper\":{\"identity\":\"forged\"},\"service\":{\"name\":\"shop\",\"version\":1}}\n";

/// A request of two records: two exports, each after its length, and none.
pub(super) fn firehose() -> String {
    let data = STANDARD.encode([metrics("shop", 1), metrics("shop", 1)].concat());
    format!(
        r#"{{"requestId":"ed4acda5-034f-9f42-bba1-f29aea6d7d8f","timestamp":1578090901599,"records":[{{"data":"{data}"}},{{"data":""}}]}}"#
    )
}

/// An export of one resource with a forged attribute and so many points, after its length.
fn metrics(service: &str, points: usize) -> Vec<u8> {
    let pair = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    };
    let attributes = vec![
        pair("service.name", service),
        pair("lightkeeper.x", "forged"),
        pair("owner", "forged"),
    ];
    let resource = Resource {
        attributes,
        ..Resource::default()
    };
    let gauge = Gauge {
        data_points: vec![NumberDataPoint::default(); points],
    };
    let metric = Metric {
        name: "cpu".to_owned(),
        data: Some(metric::Data::Gauge(gauge)),
        ..Metric::default()
    };
    let scope = ScopeMetrics {
        metrics: vec![metric],
        ..ScopeMetrics::default()
    };
    let group = ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![scope],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![group],
    }
    .encode_length_delimited_to_vec()
}

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).unwrap()
}

fn ours() -> &'static str {
    std::str::from_utf8(OURS).unwrap()
}

/// Scenario: a report with ids above 2^53 and a number of seventeen digits. Guarantees: they come out as they
/// went in, and the rest is what an editor of values would have made.
#[test]
fn a_proto_report_is_edited_and_its_numbers_are_not_parsed() {
    let body = REPORT.replace("THEIRS", THEIRS).replace("1e400", "1e300");
    let out = text(written(
        &read(Format::ReportsJson, body.as_bytes()).unwrap(),
        &[("owner", "team é")],
    ));
    for exact in [
        "18446744073709551615,",
        "\"9007199254740993\"",
        "0.10000000000000000555",
        "\"one\\u00e9\"",
    ] {
        assert!(out.contains(exact), "{exact}: {out}");
    }
    let mut expected = value(body.as_bytes());
    expected["reporter"]["tags"] = json!([
        { "key": "lightstep.component_name", "stringValue": "shop" },
        { "key": "owner", "stringValue": "team é" },
    ]);
    expected["auth"] = json!({ "accessToken": ours() });
    expected["spans"][1]["tags"] = json!([]);
    expected["spans"][1]["logs"][0]["fields"] = json!([]);
    assert_eq!(value(out.as_bytes()), expected);
}

#[test]
fn a_thrift_report_is_edited_and_its_numbers_are_not_parsed() {
    let body = THRIFT.replace("THEIRS", THEIRS);
    let out = text(written(
        &read(Format::ThriftJson, body.as_bytes()).unwrap(),
        &[("owner", "team é")],
    ));
    let mut expected = value(body.as_bytes());
    // The head alone carries the token of this format.
    expected.as_object_mut().unwrap().remove("auth");
    expected["runtime"]["attrs"] = json!([{ "Key": "lightstep.tracer_platform", "Value": "node" }, { "Key": "owner", "Value": "team é" }]);
    expected["span_records"][0]["log_records"] = json!([]);
    expected["span_records"][1]["attributes"] = json!([]);
    expected["span_records"][1]["log_records"][0]["fields"] =
        json!([{ "Key": "event", "Value": "e" }]);
    expected["log_records"] = json!([]);
    assert_eq!(value(out.as_bytes()), expected);
    assert!(out.contains("9007199254740993"), "{out}");
}

#[test]
fn every_span_of_zipkin_gets_the_token_and_the_stamp() {
    let body = ZIPKIN.replace("THEIRS", THEIRS);
    let out = text(written(
        &read(Format::Zipkin, body.as_bytes()).unwrap(),
        &[("owner", "team é")],
    ));
    let mut expected = value(body.as_bytes());
    expected[0]["tags"] = json!({ "lightstep.component_name": "shop", "lightstep.access_token": ours(), "owner": "team é" });
    expected[1]["tags"] =
        json!({ "http.method": "GET", "lightstep.access_token": ours(), "owner": "team é" });
    assert_eq!(value(out.as_bytes()), expected);
    let bare = text(written(
        &read(Format::Zipkin, br#"[{"traceId":"1","id":"2"}]"#).unwrap(),
        &[],
    ));
    assert_eq!(
        value(bare.as_bytes()),
        json!([{ "traceId": "1", "id": "2", "tags": { "lightstep.access_token": ours() } }])
    );
    assert_eq!(
        written(&read(Format::Zipkin, b" [ ] ").unwrap(), &[("owner", "x")]),
        b"[]"
    );
}

#[test]
fn what_is_missing_is_added_where_it_belongs() {
    let stamp: &[(&str, &str)] = &[("owner", "x")];
    for (format, body, stamp, expected) in [
        (
            Format::ReportsJson,
            "{}",
            &[][..],
            json!({ "auth": { "accessToken": ours() } }),
        ),
        (
            Format::ReportsJson,
            r#"{"auth":null,"reporter":{"reporterId":"1"},"spans":null}"#,
            stamp,
            json!({
                "auth": { "accessToken": ours() }, "spans": [],
                "reporter": { "reporterId": "1", "tags": [{ "key": "owner", "stringValue": "x" }] },
            }),
        ),
        (
            Format::ThriftJson,
            "{}",
            stamp,
            json!({ "runtime": { "attrs": [{ "Key": "owner", "Value": "x" }] } }),
        ),
        (
            Format::ThriftJson,
            r#"{"runtime":null}"#,
            &[][..],
            json!({ "runtime": {} }),
        ),
    ] {
        let report = read(format, body.as_bytes()).unwrap();
        assert_eq!(value(&written(&report, stamp)), expected, "{body}");
    }
}

/// Scenario: names in other spellings and with escapes. Guarantees: whatever some reader takes for a carrier is
/// one; two of a name are malformed.
#[test]
fn other_spellings_are_carriers_too() {
    for body in [
        r#"{"auth":{"access_token":"THEIRS"}}"#,
        r#"{"a\u0075th":{"\u0061ccessToken":"THEIRS"}}"#,
        r#"{"Auth":{"AccessToken":"THEIRS","unheard":1}}"#,
        r#"{"reporter":{"Tags":[{"Key":"access_token","string_value":"THEIRS"}]}}"#,
        r#"{"SPANS":[{"tags":[{"key":"lightstep.acce\u0073s_token","stringValue":"THEIRS"}]}]}"#,
        r#"{"spans":[{"logs":[{"fields":[{"key":"access_token","stringValue":"THEIRS"}]}]}]}"#,
    ] {
        let body = body.replace("THEIRS", THEIRS);
        let report = read(Format::ReportsJson, body.as_bytes()).unwrap();
        assert!(report.token() == Token::One(THEIRS.as_bytes()), "{body}");
        assert!(!holds(&written(&report, &[]), THEIRS), "{body}");
    }
    for (format, body) in [
        (Format::ReportsJson, r#"{"auth":{},"auth":{}}"#),
        (Format::ReportsJson, r#"{"auth":{},"Auth":{}}"#),
        (
            Format::ReportsJson,
            r#"{"auth":{"accessToken":"a","access_token":"a"}}"#,
        ),
        (Format::ReportsJson, r#"{"auth":{"accessToken":1}}"#),
        (Format::ReportsJson, r#"{"auth":[]}"#),
        (Format::ReportsJson, r#"{"reporter":{"tags":[],"tags":[]}}"#),
        (Format::ReportsJson, r#"{"reporter":{"tags":{}}}"#),
        (Format::ReportsJson, r#"{"reporter":{"tags":[1]}}"#),
        (
            Format::ReportsJson,
            r#"{"reporter":{"tags":[{"key":"a","Key":"b"}]}}"#,
        ),
        (
            Format::ReportsJson,
            r#"{"reporter":{"tags":[{"key":"a","stringValue":"b","intValue":"1"}]}}"#,
        ),
        (Format::ReportsJson, r#"{"spans":[],"spans":[]}"#),
        (Format::ReportsJson, r#"{"spans":[{"tags":[],"tags":[]}]}"#),
        (Format::ReportsJson, r#"{"spans":[{"logs":[],"Logs":[]}]}"#),
        (Format::ReportsJson, r#"{"reporter":{}} {}"#),
        (Format::ReportsJson, "[]"),
        (
            Format::ThriftJson,
            r#"{"runtime":{"group_name":"a","groupName":"b"}}"#,
        ),
        (Format::ThriftJson, r#"{"runtime":{},"Runtime":{}}"#),
        (Format::ThriftJson, r#"{"log_records":[],"log_records":[]}"#),
        (Format::Zipkin, r#"[{"traceId":"1"}]"#),
        (Format::Zipkin, r#"[{"id":"1"}]"#),
        (Format::Zipkin, r#"[null]"#),
        (
            Format::Zipkin,
            r#"[{"traceId":"1","id":"1","tags":{},"tags":{}}]"#,
        ),
        (
            Format::Zipkin,
            r#"[{"traceId":"1","id":"1","localEndpoint":{"serviceName":"a","servicename":"b"}}]"#,
        ),
        (Format::Zipkin, "{}"),
        (Format::Bulk, "{\"create\":{}}\n"),
        (Format::Bulk, "{\"create\":{}}\n\n{}\n"),
        (Format::Bulk, "{\"create\":{},\"index\":{}}\n{}\n"),
        (Format::Bulk, "{\"delete\":{}}\n{}\n"),
        (Format::Bulk, "{\"update\":{}}\n{}\n"),
        (Format::Bulk, "{}\n{}\n"),
        (Format::Bulk, "{\"create\":{}}\nnull\n"),
        (Format::Bulk, "{\"create\":{}}\n{}\n\n"),
        (Format::Bulk, "{\"create\":{}} {}\n{}\n"),
        (Format::Firehose, r#"{"requestId":"a"}"#),
        (Format::Firehose, r#"{"records":[]}"#),
        (Format::Firehose, r#"{"requestId":1,"records":[]}"#),
        (
            Format::Firehose,
            r#"{"requestId":"a","requestId":"b","records":[]}"#,
        ),
        (Format::Firehose, r#"{"requestId":"a","records":[1]}"#),
        (
            Format::Firehose,
            r#"{"requestId":"a","records":[],"Records":[]}"#,
        ),
        (
            Format::Firehose,
            r#"{"requestId":"a","record\u017f":[{"data":"aGVsbG8="}]}"#,
        ),
        (
            Format::Firehose,
            r#"{"requestId":"a","request_id":"b","records":[]}"#,
        ),
        (
            Format::Firehose,
            r#"{"requestId":"a","records":[{"Data":"aGVsbG8="}]}"#,
        ),
        (
            Format::Firehose,
            r#"{"requestId":"a","records":[{"data":"","DATA":""}]}"#,
        ),
    ] {
        assert!(read(format, body.as_bytes()).is_err(), "{body}");
    }
}

/// Scenario: nesting far beyond what any stack bears, in every place that is looked at and in one that is not.
/// Guarantees: an answer, and no more.
#[test]
fn deep_nesting_is_read_or_refused() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for (body, good) in [
        (format!(r#"{{"unheard":{deep}}}"#), true),
        (format!(r#"{{"spans":{deep}}}"#), false),
        (format!(r#"{{"spans":[{{"tags":{deep}}}]}}"#), false),
        (format!(r#"{{"auth":{deep}}}"#), false),
        (format!(r#"{{"auth":{{"accessToken":{deep}}}}}"#), false),
        (deep.clone(), false),
    ] {
        assert_eq!(read(Format::ReportsJson, body.as_bytes()).is_ok(), good);
    }
}
