//! Single values: what is taken in which spelling, what is refused and in which words, and the bounds. What it refuses to know: whole exports
//! (`oracle.rs`).

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::super::{TranscodeFault, transcode};
use super::{to_json, to_protobuf};
use crate::limits::Budget;
use crate::otlp::{Encoding, Signal};

/// A span of these members.
fn span(members: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{members}}}]}}]}}]}}"#)
}

fn value(value: &str) -> String {
    span(&format!(r#""attributes":[{{"key":"k","value":{value}}}]"#))
}

fn point(members: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"exponentialHistogram":{{"dataPoints":[{{{members}}}]}}}}]}}]}}]}}"#
    )
}

/// What the text says, in the form in which we write it.
fn plain(signal: Signal, text: &str) -> Result<(String, u64), String> {
    let (message, unknown) = to_protobuf(signal, text).map_err(|fault| fault.to_string())?;
    let (text, none) = to_json(signal, &message).unwrap();
    assert_eq!(none, 0);
    Ok((text, unknown))
}

/// Scenario: every spelling that readers of the JSON mapping take. Guarantees: each is the same value as in ours; what says
/// nothing is left out, what says something by its presence stays.
#[test]
fn every_spelling_is_the_same_value() {
    for (given, written) in [
        (span(""), span("")),
        (span(r#""kind":2"#), span(r#""kind":2"#)),
        (span(r#""kind":-3"#), span(r#""kind":-3"#)),
        (
            span(r#""kind":0,"name":"","traceId":"","status":null,"flags":"0""#),
            span(""),
        ),
        (span(r#" "kind" : 2.0 "#), span(r#""kind":2"#)),
        (
            span(r#""kind":"SPAN_KIND_CONSUMER","status":{"code":"STATUS_CODE_ERROR"}"#),
            span(r#""kind":5,"status":{"code":2}"#),
        ),
        (
            span(r#""startTimeUnixNano":1.7000000000000000e18"#),
            span(r#""startTimeUnixNano":"1700000000000000000""#),
        ),
        (
            span(r#""name":"\u0061\ud83d\ude00\/\"\ud800x""#),
            span("\"name\":\"a\u{1f600}/\\\"\u{fffd}x\""),
        ),
        (span(r#""\u006eame":"x""#), span(r#""name":"x""#)),
        (
            span(r#""start_time_unix_nano":1e3"#),
            span(r#""startTimeUnixNano":"1000""#),
        ),
        (
            span(r#""startTimeUnixNano":"18446744073709551615""#),
            span(r#""startTimeUnixNano":"18446744073709551615""#),
        ),
        (
            span(r#""startTimeUnixNano":18446744073709551615"#),
            span(r#""startTimeUnixNano":"18446744073709551615""#),
        ),
        (
            span(r#""traceId":"5B8EFFF798038103D269B633813FC60C""#),
            span(r#""traceId":"5b8efff798038103d269b633813fc60c""#),
        ),
        (span(r#""traceId":"\u0061b""#), span(r#""traceId":"ab""#)),
        (span(r#""status":{}"#), span(r#""status":{}"#)),
        (
            span(r#""events":[{},{}],"links":[]"#),
            span(r#""events":[{},{}]"#),
        ),
        (
            span(r#""attributes":[{"key":"k"},{"key":"l","value":{}}]"#),
            span(r#""attributes":[{"key":"k"},{"key":"l","value":{}}]"#),
        ),
        (
            value(r#"{"stringValue":""}"#),
            value(r#"{"stringValue":""}"#),
        ),
        (
            value(r#"{"boolValue":false}"#),
            value(r#"{"boolValue":false}"#),
        ),
        (value(r#"{"intValue":-5}"#), value(r#"{"intValue":"-5"}"#)),
        (
            value(r#"{"intValue":"-9223372036854775808"}"#),
            value(r#"{"intValue":"-9223372036854775808"}"#),
        ),
        (
            value(r#"{"doubleValue":"-Infinity"}"#),
            value(r#"{"doubleValue":"-Infinity"}"#),
        ),
        (
            value(r#"{"doubleValue":"NaN"}"#),
            value(r#"{"doubleValue":"NaN"}"#),
        ),
        (
            value(r#"{"doubleValue":"1.5"}"#),
            value(r#"{"doubleValue":1.5}"#),
        ),
        (
            value(r#"{"doubleValue":-0.0}"#),
            value(r#"{"doubleValue":-0.0}"#),
        ),
        (
            value(r#"{"bytesValue":"aGk="}"#),
            value(r#"{"bytesValue":"aGk="}"#),
        ),
        (
            value(r#"{"bytesValue":"aGk"}"#),
            value(r#"{"bytesValue":"aGk="}"#),
        ),
        (
            value(r#"{"bytesValue":"_-8"}"#),
            value(r#"{"bytesValue":"/+8="}"#),
        ),
        (value(r#"{"bytesValue":""}"#), value(r#"{"bytesValue":""}"#)),
        (value(r#"{"arrayValue":{}}"#), value(r#"{"arrayValue":{}}"#)),
        (
            value(r#"{"arrayValue":{"values":[{},{"intValue":1}]}}"#),
            value(r#"{"arrayValue":{"values":[{},{"intValue":"1"}]}}"#),
        ),
        (
            value(r#"{"kvlistValue":{"values":[{"key":"a","value":{"boolValue":true}}]}}"#),
            value(r#"{"kvlistValue":{"values":[{"key":"a","value":{"boolValue":true}}]}}"#),
        ),
        (
            value(r#"{"stringValue":null,"intValue":"1"}"#),
            value(r#"{"intValue":"1"}"#),
        ),
    ] {
        assert_eq!(plain(Signal::Traces, &given), Ok((written, 0)), "{given}");
    }
    for (given, written) in [
        (r#""sum":0,"min":0.0"#, r#""sum":0.0,"min":0.0"#),
        (
            r#""scale":-20,"zeroThreshold":0.25,"positive":{"offset":-1,"bucketCounts":["1",2,"0"]},"negative":{}"#,
            r#""scale":-20,"zeroThreshold":0.25,"positive":{"offset":-1,"bucketCounts":["1","2","0"]},"negative":{}"#,
        ),
        (r#""positive":{"bucketCounts":[]}"#, r#""positive":{}"#),
    ] {
        assert_eq!(
            plain(Signal::Metrics, &point(given)),
            Ok((point(written), 0)),
            "{given}"
        );
    }
    let gauge = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{}}]}]}]}"#;
    assert_eq!(plain(Signal::Metrics, gauge), Ok((gauge.to_owned(), 0)));
}

/// Scenario: values that their fields cannot hold, forms that readers differ on. Guarantees: each is refused, and the words name
/// the field.
#[test]
fn what_is_no_such_value_is_refused() {
    for (given, words) in [
        (
            span(r#""kind":"SPAN_KIND_OTHER""#),
            "`kind`: not a whole number of 64 bits",
        ),
        (
            span(r#""kind":2.5"#),
            "`kind`: not a whole number of 64 bits",
        ),
        (
            span(r#""kind":2147483648"#),
            "`kind`: a number that the field does not hold",
        ),
        (span(r#""kind":true"#), "`kind`: not a number"),
        (
            span(r#""flags":-1"#),
            "`flags`: a number that the field does not hold",
        ),
        (
            span(r#""startTimeUnixNano":-1"#),
            "`startTimeUnixNano`: a number that the field does not hold",
        ),
        (
            span(r#""startTimeUnixNano":18446744073709551616"#),
            "`startTimeUnixNano`: not a whole number of 64 bits",
        ),
        (
            span(r#""startTimeUnixNano":"""#),
            "`startTimeUnixNano`: not a whole number of 64 bits",
        ),
        (
            span(r#""startTimeUnixNano":{}"#),
            "`startTimeUnixNano`: not a number",
        ),
        (
            span(r#""traceId":"W47/95gDgQPSabYzgT/GDA==""#),
            "`traceId`: not pairs of hexadecimal digits",
        ),
        (
            span(r#""traceId":"abc""#),
            "`traceId`: not pairs of hexadecimal digits",
        ),
        (span(r#""traceId":5"#), "`traceId`: not a string"),
        (span(r#""name":5"#), "`name`: not a string"),
        (
            span(r#""Name":"x""#),
            "`spans`: a field name in another spelling",
        ),
        (
            span(r#""name":"x","name":"x""#),
            "`name`: a field is given twice",
        ),
        (
            span(r#""name":"x","kind":1,"name":null"#),
            "`name`: a field is given twice",
        ),
        (
            span(r#""trace_id":"","traceId":"""#),
            "`traceId`: a field is given twice",
        ),
        (span(r#""events":[null]"#), "`events`: not an object"),
        (
            span(r#""events":{}"#),
            "`events`: a repeated field that is not an array",
        ),
        (span(r#""status":[]"#), "`status`: not an object"),
        (
            value(r#"{"stringValue":"","intValue":"1"}"#),
            "`intValue`: two members of a oneof",
        ),
        (value(r#"{"boolValue":1}"#), "`boolValue`: not a value"),
        (value(r#"{"boolValue":"true"}"#), "`boolValue`: not a value"),
        (
            value(r#"{"doubleValue":1e400}"#),
            "`doubleValue`: not a number that a double holds",
        ),
        (
            value(r#"{"doubleValue":"nan"}"#),
            "`doubleValue`: not a number that a double holds",
        ),
        (
            value(r#"{"doubleValue":""}"#),
            "`doubleValue`: not a number that a double holds",
        ),
        (
            value(r#"{"intValue":"NaN"}"#),
            "`intValue`: not a whole number of 64 bits",
        ),
        (value(r#"{"bytesValue":"a"}"#), "`bytesValue`: not base64"),
        (
            value(r#"{"bytesValue":"aG=k"}"#),
            "`bytesValue`: not base64",
        ),
        (value("[]"), "`value`: not an object"),
        ("[]".to_owned(), "``: not an object"),
        ("{} {}".to_owned(), "``: something behind the end"),
        ("".to_owned(), "``: not an object"),
        (
            r#"{"resourceSpans":[{}"#.to_owned(),
            "`resourceSpans`: neither a comma nor the end",
        ),
    ] {
        let refused = to_protobuf(Signal::Traces, &given).map_err(|fault| fault.to_string());
        assert_eq!(refused.unwrap_err(), words, "{given}");
    }
    let field =
        |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let a_span = |members: &[u8]| field(1, &field(2, &field(2, members)));
    for (given, words) in [
        (
            a_span(&field(5, b"\xff")),
            "`name`: a text that is not UTF-8",
        ),
        (
            a_span(&[0x28, 1]),
            "`name`: a known field has another wire type",
        ),
        (
            a_span(&[0x32, 0]),
            "`kind`: a known field has another wire type",
        ),
        (
            a_span(&[0x38, 1]),
            "`startTimeUnixNano`: a known field has another wire type",
        ),
        (
            a_span(&[0x7d, 1, 2, 3, 4]),
            "`status`: a known field has another wire type",
        ),
        (a_span(&[0x28]), "`spans`: a varint ends beyond its message"),
        (vec![0x0a, 5], "``: a field ends beyond its message"),
    ] {
        let refused = to_json(Signal::Traces, &given).map_err(|fault| fault.to_string());
        assert_eq!(refused.unwrap_err(), words, "{given:x?}");
    }
}

/// Scenario: members and fields that no table has, at each level. Guarantees: each counts once, whatever is in it, and nothing
/// else is lost.
#[test]
fn what_no_table_has_is_counted() {
    for (given, written, unknown) in [
        (r#"{"newer":{"a":[1,{"b":2}]},"resourceSpans":[{"newer":1,"resource":{"newer":null}}]}"#.to_owned(), r#"{"resourceSpans":[{"resource":{}}]}"#.to_owned(), 3),
        (span(r#""name":"x","x":1,"y":{},"kind":2"#), span(r#""name":"x","kind":2"#), 2),
        (value(r#"{"stringValueStrindex":3}"#), value("{}"), 1),
        (r#"{"resourceSpans":[{"instrumentationLibrarySpans":[{"instrumentationLibrary":{"name":"l"},"spans":[{"name":"s"}]}]}]}"#.to_owned(),
         r#"{"resourceSpans":[{"instrumentationLibrarySpans":[{"instrumentationLibrary":{"name":"l"},"spans":[{"name":"s"}]}]}]}"#.to_owned(), 0),
    ] {
        assert_eq!(plain(Signal::Traces, &given), Ok((written, unknown)), "{given}");
    }
    let message = b"\x0a\x07\x0a\x00\x98\x06\x07\x20\x01\x9a\x06\x00";
    assert_eq!(
        to_json(Signal::Logs, message),
        Ok((r#"{"resourceLogs":[{"resource":{}}]}"#.to_owned(), 3))
    );
}

/// Scenario: maps in maps as deep as brackets may lie, and one deeper; on a thread with little room. Guarantees: both ways go as
/// deep and no deeper, and what is deeper is refused in words.
#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| {
        let (open, close) = (r#"{"arrayValue":{"values":["#, "]}}");
        value(&format!(
            "{}{{}}{}",
            open.repeat(levels),
            close.repeat(levels)
        ))
    };
    let walk = move || {
        let most = (0..200)
            .take_while(|levels| to_protobuf(Signal::Traces, &nested(*levels)).is_ok())
            .count()
            - 1;
        assert_eq!(most, 167);
        let (message, _) = to_protobuf(Signal::Traces, &nested(most)).unwrap();
        assert_eq!(to_json(Signal::Traces, &message), Ok((nested(most), 0)));
        let field = |number: u8, content: &[u8]| {
            let mut field = vec![number << 3 | 2];
            crate::otlp::push_varint(&mut field, content.len() as u64);
            [field, content.to_vec()].concat()
        };
        for levels in [most + 1, 2_000] {
            let value = (0..levels).fold(Vec::new(), |value, _| field(5, &field(1, &value)));
            let message = [1, 2, 2, 9, 2]
                .iter()
                .rev()
                .fold(value, |content, number| field(*number, &content));
            let fault = TranscodeFault::Malformed {
                field: "values",
                what: "nested too deep",
            };
            assert_eq!(to_json(Signal::Traces, &message), Err(fault));
        }
    };
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(walk)
        .unwrap()
        .join()
        .unwrap();
}

/// Scenario: an export that is too long in the other encoding, or for the budget. Guarantees: it is refused as that, and no more is taken
/// than was allowed.
#[test]
fn what_is_written_is_bounded() {
    let text = format!(
        r#"{{"resourceSpans":[{}]}}"#,
        vec![r#"{"schemaUrl":"0123456789"}"#; 10_000].join(",")
    );
    let (message, _) = to_protobuf(Signal::Traces, &text).unwrap();
    for (encoding, given, length) in [
        (Encoding::Json, text.as_bytes(), message.len()),
        (Encoding::Protobuf, &message[..], text.len()),
    ] {
        for (limit, memory, expected) in [
            (length as u64, u64::MAX, Ok(length)),
            (length as u64 - 1, u64::MAX, Err(true)),
            (600, u64::MAX, Err(true)),
            (u64::MAX, 10_000, Err(false)),
        ] {
            let budget = Budget::new(memory);
            let mut held = budget.gateway().open();
            let crossed = transcode(Signal::Traces, encoding, given, limit, &mut held);
            let crossed = crossed.map(|crossed| crossed.message.len());
            assert_eq!(
                crossed.map_err(|fault| fault == TranscodeFault::TooLarge),
                expected,
                "{encoding:?} {limit}"
            );
            assert!(budget.used_bytes() <= limit.saturating_add(4096).min(memory));
        }
    }
}

/// Scenario: lengths of every width, in each other. Guarantees: prost reads them, and each is as short as it can be.
#[test]
fn lengths_are_the_least() {
    for length in [
        0, 1, 100, 117, 118, 119, 120, 121, 122, 127, 128, 129, 16_300, 16_383, 16_384, 70_000,
    ] {
        for plain in [true, false] {
            let text = if plain {
                "x".repeat(length)
            } else {
                r"\u0078".repeat(length)
            };
            let text = value(&format!(r#"{{"stringValue":"{text}"}}"#));
            let (message, _) = to_protobuf(Signal::Traces, &text).unwrap();
            let read = ExportTraceServiceRequest::decode(&message[..]).unwrap();
            assert_eq!(read.encode_to_vec(), message, "{length}");
        }
    }
}

/// Scenario: attributes of the shapes that are read in one go, and the same with blanks and in another order, which the tables
/// read; near misses of these shapes. Guarantees: both ways give the same bytes, or the same words of what is wrong.
#[test]
fn an_attribute_is_the_same_by_either_way() {
    let field = |number: u8, content: &[u8]| {
        let mut field = vec![number << 3 | 2];
        crate::otlp::push_varint(&mut field, content.len() as u64);
        [field, content.to_vec()].concat()
    };
    let lengths = (0..2).chain(110..132).chain([16_370, 16_383, 16_384]);
    let mut keys: Vec<_> = lengths.map(|length| "k".repeat(length)).collect();
    keys.extend(["k\u{e9}y".to_owned(), r"k\ny".to_owned()]);
    for key in &keys {
        for value in [
            r#""stringValue":"""#,
            r#""stringValue":"v""#,
            r#""stringValue":"four""#,
            r#""stringValue":"\"7 byte""#,
            r#""stringValue":"more than sixteen bytes""#,
            r#""stringValue":"more than sixteen\tbytes""#,
            r#""stringValue":null"#,
            r#""stringValue":1"#,
            r#""stringValue":"a","intValue":1"#,
            r#""stringValue":"a","other":1"#,
            r#""intValue":0"#,
            r#""intValue":"0""#,
            r#""intValue":"007""#,
            r#""intValue":007"#,
            r#""intValue":200"#,
            r#""intValue":"-200""#,
            r#""intValue":"9223372036854775807""#,
            r#""intValue":"-9223372036854775808""#,
            r#""intValue":9223372036854775808"#,
            r#""intValue":2.0"#,
            r#""intValue":"""#,
            r#""intValue":"#,
            r#""boolValue":true"#,
        ] {
            let crossed = ["", " "].map(|blank| {
                let attribute = format!(r#"{{{blank}"key":"{key}","value":{{{value}}}}}"#);
                to_protobuf(
                    Signal::Traces,
                    &span(&format!(r#""attributes":[{attribute}]"#)),
                )
            });
            let [close, apart] = crossed;
            assert_eq!(close, apart, "{key} {value}");
            let Ok((message, _)) = close else {
                continue;
            };
            let read = ExportTraceServiceRequest::decode(&message[..]).unwrap();
            let attribute = &read.resource_spans[0].scope_spans[0].spans[0].attributes[0];
            let inner = attribute.value.clone().unwrap_or_default();
            // The value before the key.
            let turned = [
                field(2, &inner.encode_to_vec()),
                field(1, attribute.key.as_bytes()),
            ];
            let turned = [9, 2, 2, 1]
                .iter()
                .fold(turned.concat(), |content, number| field(*number, &content));
            let (text, turned) = (
                to_json(Signal::Traces, &message),
                to_json(Signal::Traces, &turned),
            );
            // Members stand in the order of the fields.
            let members = |text: Result<(String, u64), TranscodeFault>| {
                serde_json::from_str::<serde_json::Value>(&text.unwrap().0).unwrap()
            };
            assert_eq!(members(text), members(turned), "{key} {value}");
        }
    }
}

/// Scenario: a message in parts, members of a oneof after each other. Guarantees: as prost reads it; very many parts are refused.
#[test]
fn parts_of_a_message_are_one() {
    let field =
        |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let metric = |members: &[u8]| field(1, &field(2, &field(2, members)));
    let (gauge, sum) = (5, 7);
    let point = |time: u8| field(1, &[0x19, time, 0, 0, 0, 0, 0, 0, 0]);
    for (members, written) in [
        (
            [field(gauge, &point(1)), field(gauge, &point(2))].concat(),
            r#""gauge":{"dataPoints":[{"timeUnixNano":"1"},{"timeUnixNano":"2"}]}"#,
        ),
        (
            [
                field(gauge, &point(1)),
                field(sum, b""),
                field(gauge, &point(2)),
            ]
            .concat(),
            r#""gauge":{"dataPoints":[{"timeUnixNano":"2"}]}"#,
        ),
        (
            [
                field(gauge, &point(1)),
                field(sum, &[0x18, 1]),
                field(1, b"n"),
                field(sum, &[0x18, 0]),
            ]
            .concat(),
            r#""name":"n","sum":{}"#,
        ),
        (
            [field(1, b"a"), field(2, b"d"), field(1, b"b")].concat(),
            r#""name":"b","description":"d""#,
        ),
    ] {
        let expected = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{{written}}}]}}]}}]}}"#
        );
        assert_eq!(
            to_json(Signal::Metrics, &metric(&members)),
            Ok((expected, 0))
        );
    }
    let many = field(1, &field(1, b"").repeat(50));
    assert!(to_json(Signal::Metrics, &many).is_ok());
    let long = |number: u8, content: &[u8]| {
        let mut field = vec![number << 3 | 2];
        crate::otlp::push_varint(&mut field, content.len() as u64);
        [field, content.to_vec()].concat()
    };
    let fault = TranscodeFault::Malformed {
        field: "resource",
        what: "a message in very many parts",
    };
    assert_eq!(
        to_json(Signal::Metrics, &long(1, &field(1, b"").repeat(65))),
        Err(fault)
    );
}
