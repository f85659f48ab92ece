//! Answers, read by other readers of their formats.
//!
//! What it does: shows that a final refusal parses and a retryable one does not, and that no command passes. What
//! it refuses to know: how answers are written.

use prost::Message;
use serde_json::{Value, json};

use crate::clock::UnixMillis;
use crate::lightstep::{Format, Particulars, refusal, sanitize, success};

#[derive(Clone, PartialEq, Message)]
struct ReportResponse {
    #[prost(message, repeated, tag = "1")]
    commands: Vec<Command>,
    #[prost(message, optional, tag = "2")]
    receive_timestamp: Option<Timestamp>,
    #[prost(message, optional, tag = "3")]
    transmit_timestamp: Option<Timestamp>,
    #[prost(string, repeated, tag = "4")]
    errors: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Command {
    #[prost(bool, tag = "1")]
    disable: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

const NOW: Particulars<'static> = Particulars {
    now: Some(UnixMillis(1_700_000_000_123)),
    firehose_request: Some("id-1"),
};

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[test]
fn a_refusal_of_a_protobuf_report_parses_only_if_it_is_final() {
    let (content_type, body) = refusal(Format::Reports, false, 403, "no", &NOW);
    let answer = ReportResponse::decode(&body[..]).unwrap();
    let time = Timestamp {
        seconds: 1_700_000_000,
        nanos: 123_000_000,
    };
    assert_eq!(
        (content_type, answer.errors),
        ("application/octet-stream", vec!["no".to_owned()])
    );
    assert_eq!(
        (answer.receive_timestamp, answer.transmit_timestamp),
        (Some(time.clone()), Some(time))
    );
    let answer = ReportResponse::decode(
        &refusal(Format::Reports, false, 403, "no", &Particulars::default()).1[..],
    );
    assert_eq!(answer.unwrap().receive_timestamp, None);

    for format in [Format::Reports, Format::ReportsJson] {
        let (content_type, body) = refusal(format, true, 503, "later", &NOW);
        assert!(content_type.starts_with("text/plain"));
        assert!(
            ReportResponse::decode(&body[..]).is_err()
                && serde_json::from_slice::<Value>(&body).is_err()
        );
        // Whatever the words are: the first byte ends a group that did not begin.
        assert_eq!(body[0] & 7, 4);
    }
}

#[test]
fn successes_and_refusals_in_json() {
    let timing = json!({ "receive_micros": 1_700_000_000_123_000_i64, "transmit_micros": 1_700_000_000_123_000_i64 });
    let words = "over \"it\"";
    for (format, retryable, expected) in [
        (Format::ReportsJson, false, json!({ "errors": [words] })),
        (
            Format::ThriftJson,
            false,
            json!({ "commands": null, "timing": timing, "errors": [words] }),
        ),
        (
            Format::ThriftJson,
            true,
            json!({ "commands": null, "timing": timing, "errors": [words] }),
        ),
        (
            Format::Bulk,
            true,
            json!({ "took": 0, "errors": true, "items": [], "status": 429,
                    "error": { "type": "unavailable", "reason": words } }),
        ),
        (
            Format::Firehose,
            false,
            json!({ "requestId": "id-1", "timestamp": 1_700_000_000_123_i64, "errorMessage": words }),
        ),
    ] {
        let (content_type, body) = refusal(format, retryable, 429, words, &NOW);
        assert_eq!(
            (content_type, json(&body)),
            ("application/json", expected),
            "{format:?}"
        );
    }
    let time = "2023-11-14T22:13:20.123Z";
    for (format, expected) in [
        (
            Format::ReportsJson,
            json!({ "receiveTimestamp": time, "transmitTimestamp": time }),
        ),
        (
            Format::ThriftJson,
            json!({ "commands": null, "timing": timing, "errors": null }),
        ),
        (
            Format::Bulk,
            json!({ "took": 0, "errors": false, "items": [] }),
        ),
        (
            Format::Firehose,
            json!({ "requestId": "id-1", "timestamp": 1_700_000_000_123_i64 }),
        ),
    ] {
        assert_eq!(json(&success(format, &NOW).1), expected);
    }
    assert_eq!(
        json(&success(Format::ThriftJson, &Particulars::default()).1)["timing"],
        Value::Null
    );
}

/// Bytes as the public specification of the binary protocol has them.
#[test]
fn thrift_answers_are_replies_and_exceptions() {
    let (content_type, body) = refusal(
        Format::ThriftBinary,
        false,
        403,
        "no",
        &Particulars::default(),
    );
    assert_eq!(content_type, "application/x-thrift");
    let reply = b"\x80\x01\x00\x02\x00\x00\x00\x06Report\x00\x00\x00\x00\x0c\x00\x00\x0f\x00\x03\x0b\x00\x00\x00\x01\x00\x00\x00\x02no\x00\x00";
    assert_eq!(body, reply);
    let (_, body) = refusal(
        Format::ThriftBinary,
        true,
        503,
        "no",
        &Particulars::default(),
    );
    let exception =
        b"\x80\x01\x00\x03\x00\x00\x00\x06Report\x00\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x02no\x08\x00\x02\x00\x00\x00\x06\x00";
    assert_eq!(body, exception);
}

/// Scenario: the backend, or a host that answers for it, tells a tracer to stop. Guarantees: the tracer does not
/// hear it unless that is configured; all else passes; garbage does not.
#[test]
fn commands_do_not_pass() {
    let disable = ReportResponse {
        commands: vec![Command { disable: true }; 2],
        receive_timestamp: Some(Timestamp {
            seconds: 1,
            nanos: 2,
        }),
        errors: vec!["e".to_owned()],
        ..ReportResponse::default()
    };
    let quiet = ReportResponse {
        commands: Vec::new(),
        ..disable.clone()
    };
    let thrift = |inner: &[u8]| {
        [
            b"\x80\x01\x00\x02\x00\x00\x00\x06Report\x00\x00\x00\x00\x0c\x00\x00",
            inner,
            b"\x00\x00",
        ]
        .concat()
    };
    let commands = b"\x0f\x00\x01\x0c\x00\x00\x00\x01\x02\x00\x01\x01\x00";
    let timing = b"\x0c\x00\x02\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00";
    for (format, body, expected) in [
        (
            Format::Reports,
            disable.encode_to_vec(),
            Some(quiet.encode_to_vec()),
        ),
        (
            Format::Reports,
            b"\x0a\x02\x08\x01".to_vec(),
            Some(Vec::new()),
        ),
        (Format::Reports, Vec::new(), Some(Vec::new())),
        (Format::Reports, b"<html>".to_vec(), None),
        (Format::Reports, b"ok".to_vec(), None),
        (Format::Reports, b"\x08\x01".to_vec(), None),
        (
            Format::ThriftJson,
            br#"{"a":1.10,"co\u006dmands":[{"disable":true}],"Commands":[1]}"#.to_vec(),
            Some(br#"{"a":1.10,"co\u006dmands":null,"Commands":null}"#.to_vec()),
        ),
        (Format::ThriftJson, b"{}".to_vec(), Some(b"{}".to_vec())),
        (Format::ThriftJson, Vec::new(), None),
        (Format::ThriftJson, b"null".to_vec(), None),
        (Format::ThriftJson, b"{\"commands\":".to_vec(), None),
        (
            Format::ReportsJson,
            br#"{"commands":[{"disable":true}]}"#.to_vec(),
            Some(br#"{"commands":null}"#.to_vec()),
        ),
        (
            Format::ThriftBinary,
            thrift(&[&commands[..], timing].concat()),
            Some(thrift(timing)),
        ),
        (
            Format::ThriftBinary,
            thrift(&[&timing[..], commands].concat()),
            Some(thrift(timing)),
        ),
        (Format::ThriftBinary, thrift(b""), Some(thrift(b""))),
        (
            Format::ThriftBinary,
            [&thrift(b"")[..], b"\x00"].concat(),
            None,
        ),
        (Format::ThriftBinary, Vec::new(), None),
        (
            Format::Bulk,
            br#"{"errors":false}"#.to_vec(),
            Some(br#"{"errors":false}"#.to_vec()),
        ),
        (Format::Bulk, b"OK".to_vec(), None),
        (
            Format::Firehose,
            br#"{"requestId":"a"}"#.to_vec(),
            Some(br#"{"requestId":"a"}"#.to_vec()),
        ),
        (Format::Firehose, Vec::new(), None),
        (Format::Metrics, Vec::new(), Some(Vec::new())),
        (Format::Metrics, b"garbage".to_vec(), None),
        (
            Format::Zipkin,
            b"Accepted".to_vec(),
            Some(b"Accepted".to_vec()),
        ),
    ] {
        assert_eq!(
            sanitize(format, &body, false).ok(),
            expected,
            "{format:?} {body:?}"
        );
        if expected.is_some() {
            assert_eq!(sanitize(format, &body, true).unwrap(), body, "{format:?}");
        }
        for end in 0..expected.map_or(0, |_| body.len()) {
            let cut = sanitize(format, body.get(..end).unwrap(), false);
            assert!(
                cut.is_err()
                    || matches!(format, Format::Reports | Format::Metrics | Format::Zipkin),
                "{format:?} {end}"
            );
        }
    }
}
