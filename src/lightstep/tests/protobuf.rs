//! The protobuf messages as their declarations have them, decoded by `prost`: the oracle.
//!
//! What it does: compares splicing with decode, edit, encode; tables of hostile messages. What it refuses to
//! know: how the splicing is done.

use std::collections::BTreeSet;

use proptest::prelude::*;
use prost::Message;

use super::super::findings::{CARRIERS, COMPONENT_NAME};
use super::{OURS, THEIRS, read, written};
use crate::lightstep::{Format, Service, Token};

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReportRequest {
    #[prost(message, optional, tag = "1")]
    reporter: Option<Reporter>,
    #[prost(message, optional, tag = "2")]
    auth: Option<Auth>,
    #[prost(message, repeated, tag = "3")]
    spans: Vec<Span>,
    #[prost(int64, tag = "5")]
    timestamp_offset_micros: i64,
}

#[derive(Clone, PartialEq, Message)]
struct IngestRequest {
    #[prost(string, tag = "1")]
    idempotency_key: String,
    #[prost(message, optional, tag = "2")]
    reporter: Option<Reporter>,
    #[prost(message, repeated, tag = "3")]
    points: Vec<Point>,
}

#[derive(Clone, PartialEq, Message)]
struct Point {
    #[prost(string, tag = "2")]
    metric_name: String,
    #[prost(message, repeated, tag = "5")]
    labels: Vec<KeyValue>,
    #[prost(double, tag = "7")]
    double_value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Auth {
    #[prost(string, tag = "1")]
    access_token: String,
}

#[derive(Clone, PartialEq, Message)]
struct Reporter {
    #[prost(uint64, tag = "1")]
    reporter_id: u64,
    #[prost(message, repeated, tag = "4")]
    tags: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(string, tag = "2")]
    operation_name: String,
    #[prost(uint64, tag = "5")]
    duration_micros: u64,
    #[prost(message, repeated, tag = "6")]
    tags: Vec<KeyValue>,
    #[prost(message, repeated, tag = "7")]
    logs: Vec<Log>,
}

#[derive(Clone, PartialEq, Message)]
struct Log {
    #[prost(int64, tag = "3")]
    other: i64,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(oneof = "Content", tags = "2, 3, 4")]
    value: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(string, tag = "2")]
    Text(String),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
}

fn tag(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(Content::Text(value.to_owned())),
    }
}

pub(super) fn sample() -> Vec<u8> {
    let span = |name: &str| Span {
        operation_name: name.to_owned(),
        duration_micros: 7,
        ..Span::default()
    };
    let log = Log {
        other: 1,
        fields: vec![tag("lightkeeper.app", "forged"), tag("event", "e")],
    };
    let request = ReportRequest {
        reporter: Some(Reporter {
            reporter_id: u64::MAX,
            tags: vec![
                tag(COMPONENT_NAME, "shop"),
                tag("lightkeeper.identity", "forged"),
                tag("owner", "forged"),
            ],
        }),
        auth: Some(Auth {
            access_token: THEIRS.to_owned(),
        }),
        spans: vec![
            Span {
                tags: vec![tag("a", "b")],
                ..span("one")
            },
            Span {
                tags: vec![tag("lightkeeper.x", "forged"), tag(CARRIERS[0], THEIRS)],
                logs: vec![log],
                ..span("two")
            },
        ],
        timestamp_offset_micros: -1,
    };
    request.encode_to_vec()
}

pub(super) fn metrics_sample() -> Vec<u8> {
    let point = |labels| Point {
        metric_name: "cpu".to_owned(),
        labels,
        double_value: 0.5,
    };
    let request = IngestRequest {
        idempotency_key: "k".to_owned(),
        reporter: Some(Reporter {
            reporter_id: 1,
            tags: vec![
                tag("lightkeeper.app", "forged"),
                tag(COMPONENT_NAME, "shop"),
                tag("owner", "forged"),
            ],
        }),
        points: vec![
            point(vec![]),
            point(vec![tag("lightkeeper.app", "forged"), tag("host", "h")]),
        ],
    };
    request.encode_to_vec()
}

fn stays(tag: &KeyValue, stamp: &[(&str, &str)]) -> bool {
    let goes = CARRIERS.contains(&tag.key.as_str()) || tag.key.starts_with("lightkeeper.");
    !goes && !stamp.iter().any(|(name, _)| *name == tag.key)
}

/// Decode, edit, encode: what the splice must be equal to.
fn edited(mut request: ReportRequest, stamp: &[(&str, &str)]) -> ReportRequest {
    if let Some(reporter) = &mut request.reporter {
        reporter.tags.retain(|tag| stays(tag, stamp));
    }
    if !stamp.is_empty() {
        let reporter = request.reporter.get_or_insert_default();
        reporter
            .tags
            .extend(stamp.iter().map(|(name, value)| tag(name, value)));
    }
    for span in &mut request.spans {
        span.tags.retain(|tag| stays(tag, &[]));
        for log in &mut span.logs {
            log.fields.retain(|tag| stays(tag, &[]));
        }
    }
    request.auth = Some(Auth {
        access_token: String::from_utf8(OURS.to_vec()).unwrap(),
    });
    request
}

fn content() -> impl Strategy<Value = Option<Content>> {
    prop_oneof![
        4 => prop_oneof![Just("one"), Just("two"), Just(""), Just("é")].prop_map(|text| Some(Content::Text(text.into()))),
        1 => any::<i64>().prop_map(|number| Some(Content::Int(number))),
        1 => Just(None),
    ]
}

fn tags() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![
        Just(COMPONENT_NAME),
        Just(CARRIERS[0]),
        Just(CARRIERS[1]),
        Just("lightkeeper.app"),
        Just("owner"),
        Just("access_token_"),
        Just("")
    ];
    let tag = (key, content()).prop_map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value,
    });
    proptest::collection::vec(tag, 0..4)
}

fn request() -> impl Strategy<Value = ReportRequest> {
    let log = (any::<i64>(), tags()).prop_map(|(other, fields)| Log { other, fields });
    let logs = proptest::collection::vec(log, 0..3);
    let span =
        (0..9_u64, tags(), logs, 0..200_usize).prop_map(|(duration_micros, tags, logs, length)| {
            Span {
                operation_name: "x".repeat(length * length / 8),
                duration_micros,
                tags,
                logs,
            }
        });
    let reporter =
        (any::<u64>(), tags()).prop_map(|(reporter_id, tags)| Reporter { reporter_id, tags });
    let auth = prop_oneof![Just(""), Just("one"), Just("two")];
    (
        proptest::option::of(reporter),
        proptest::option::of(auth.prop_map(|token| Auth {
            access_token: token.to_owned(),
        })),
        proptest::collection::vec(span, 0..4),
        any::<i64>(),
    )
        .prop_map(|(reporter, auth, spans, offset)| ReportRequest {
            reporter,
            auth,
            spans,
            timestamp_offset_micros: offset,
        })
}

fn texts<'t>(tags: impl IntoIterator<Item = &'t KeyValue>, names: &[&str]) -> Vec<&'t str> {
    let found = tags
        .into_iter()
        .filter(|tag| names.contains(&tag.key.as_str()));
    found
        .filter_map(|tag| {
            if let Some(Content::Text(text)) = &tag.value {
                Some(text.as_str())
            } else {
                None
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Scenario: any report, sent as several messages one after the other, which protobuf merges. Guarantees:
    /// the splice decodes to what decode, edit and encode give; tokens and services are those of all fields.
    #[test]
    fn splicing_is_decode_edit_encode(parts in proptest::collection::vec(request(), 1..4), stamped in any::<bool>()) {
        let body: Vec<u8> = parts.iter().flat_map(|part| part.encode_to_vec()).collect();
        let stamp: &[(&str, &str)] = if stamped { &[("lightkeeper.app", "a"), ("owner", "team")] } else { &[] };
        let merged = ReportRequest::decode(&body[..]).unwrap();
        let report = read(Format::Reports, &body).unwrap();
        prop_assert_eq!(report.items(), merged.spans.len() as u64);
        let out = written(&report, stamp);
        prop_assert_eq!(ReportRequest::decode(&out[..]).unwrap(), edited(merged.clone(), stamp));

        let reporter = merged.reporter.unwrap_or_default();
        let inner = merged.spans.iter().flat_map(|span| span.tags.iter().chain(span.logs.iter().flat_map(|log| &log.fields)));
        let mut tokens: BTreeSet<&str> = texts(reporter.tags.iter().chain(inner.clone()), &CARRIERS).into_iter().collect();
        tokens.extend(parts.iter().filter_map(|part| part.auth.as_ref()).map(|auth| auth.access_token.as_str()));
        tokens.remove("");
        let expected = match tokens.len() {
            0 => Token::None,
            1 => Token::One(tokens.first().unwrap().as_bytes()),
            _ => Token::Conflict,
        };
        prop_assert!(report.token() == expected);

        let everywhere: Vec<&KeyValue> = reporter.tags.iter().chain(inner).collect();
        let own: BTreeSet<&str> = texts(&reporter.tags, &[COMPONENT_NAME]).into_iter().collect();
        let all = texts(everywhere.iter().copied(), &[COMPONENT_NAME]);
        let naming = everywhere.iter().filter(|tag| tag.key == COMPONENT_NAME).count();
        let different: BTreeSet<&str> = all.iter().copied().filter(|name| !name.is_empty()).collect();
        let found: BTreeSet<&str> = match report.service() {
            Service::Absent | Service::Ambiguous => BTreeSet::new(),
            Service::Name(name) => [name].into(),
            Service::Several(names) => names.iter().map(String::as_str).collect(),
        };
        let is_ambiguous = all.len() < naming || own.len() > 1;
        prop_assert_eq!(report.service() == Service::Ambiguous, is_ambiguous);
        prop_assert_eq!(found, if is_ambiguous { BTreeSet::new() } else { different });
    }
}

/// Scenario: messages that only a hand makes. Guarantees: unknown fields, groups and odd encodings survive byte
/// for byte; several carriers become one; what readers could take differently is malformed.
#[test]
fn hand_made_messages() {
    let ours = |rest: &[u8]| {
        let auth = [&[0x12, 20, 0x0a, 18][..], OURS].concat();
        [&auth[..], rest].concat()
    };
    /// What goes in, and what comes out or is wrong with it.
    type Row<'a> = (&'a str, &'a [u8], Result<Vec<u8>, &'a str>);
    let cases: &[Row<'_>] = &[
        ("nothing", &[], Ok(ours(&[]))),
        (
            "two of auth",
            &[0x12, 3, 0x0a, 1, b'a', 0x28, 1, 0x12, 3, 0x0a, 1, b'a'],
            Ok(ours(&[0x28, 1])),
        ),
        (
            "auth with an unknown field",
            &[0x12, 2, 0x18, 1],
            Ok(ours(&[])),
        ),
        (
            "an unknown group and a fixed number",
            &[0x12, 0, 0x53, 0x08, 1, 0x54, 0x65, 1, 2, 3, 4],
            { Ok(ours(&[0x53, 0x08, 1, 0x54, 0x65, 1, 2, 3, 4])) },
        ),
        (
            "an overlong length that is kept",
            &[0x12, 0, 0x1a, 0x82, 0x00, 0x10, 1],
            Ok(ours(&[0x1a, 0x82, 0x00, 0x10, 1])),
        ),
        (
            "two reporters with something between",
            &[0x0a, 2, 0x08, 1, 0x12, 0, 0x0a, 2, 0x08, 2],
            Ok([&[0x0a, 4, 0x08, 1, 0x08, 2][..], &ours(&[])].concat()),
        ),
        ("auth as a number", &[0x10, 1], Err("another wire type")),
        ("auth as a group", &[0x13, 0x14], Err("another wire type")),
        (
            "a token as a number",
            &[0x12, 2, 0x08, 1],
            Err("another wire type"),
        ),
        (
            "a reporter as a fixed number",
            &[0x0d, 0, 0, 0, 0],
            Err("another wire type"),
        ),
        ("a span as a number", &[0x18, 1], Err("another wire type")),
        (
            "a tag as a number",
            &[0x1a, 2, 0x30, 1],
            Err("another wire type"),
        ),
        (
            "a tag's key as a number",
            &[0x1a, 4, 0x32, 2, 0x08, 1],
            Err("another wire type"),
        ),
        (
            "a length past the message in it",
            &[0x1a, 3, 0x32, 4, 0x0a],
            Err("past the end"),
        ),
        ("field 0", &[0x02, 0], Err("out of range")),
    ];
    for (name, body, expected) in cases {
        let got = read(Format::Reports, body).map(|report| written(&report, &[]));
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(&got, expected, "{name}"),
            (Err(malformed), Err(what)) => {
                assert!(malformed.what.contains(what), "{name}: {malformed}")
            }
            (got, _) => panic!("{name}: {got:?}"),
        }
    }
}

/// Scenario: a tag says its name or value twice. Guarantees: a name that any reader could take for a carrier or
/// a reserved one goes; a token or service in doubt is refused.
#[test]
fn a_tag_in_doubt_is_not_chosen_from() {
    let field =
        |number: u8, text: &str| [&[number << 3 | 2, text.len() as u8], text.as_bytes()].concat();
    let key = |text: &str| field(1, text);
    let value = |text: &str| field(2, text);
    let body = |parts: &[Vec<u8>]| {
        let tag = parts.concat();
        let tags = [&[0x22, tag.len() as u8], &tag[..]].concat();
        [&[0x0a, tags.len() as u8], &tags[..]].concat()
    };
    let carrier = CARRIERS[0];
    for (parts, service, token, forged) in [
        (
            vec![key(COMPONENT_NAME), value("a")],
            Some(Service::Name("a")),
            Some("none"),
            0,
        ),
        (
            vec![key(COMPONENT_NAME), value("a"), value("b")],
            Some(Service::Ambiguous),
            Some("none"),
            0,
        ),
        (
            vec![key(COMPONENT_NAME), key("x"), value("a")],
            Some(Service::Ambiguous),
            Some("none"),
            0,
        ),
        (
            vec![key("x"), key(COMPONENT_NAME), value("a")],
            Some(Service::Ambiguous),
            Some("none"),
            0,
        ),
        (
            vec![key(COMPONENT_NAME)],
            Some(Service::Ambiguous),
            Some("none"),
            0,
        ),
        (
            vec![key(COMPONENT_NAME), vec![0x18, 1]],
            Some(Service::Ambiguous),
            Some("none"),
            0,
        ),
        (vec![value("a")], Some(Service::Absent), Some("none"), 0),
        (
            vec![key("lightkeeper.x"), key("y")],
            Some(Service::Absent),
            Some("none"),
            1,
        ),
        (
            vec![key(carrier), value("t")],
            Some(Service::Absent),
            Some("t"),
            0,
        ),
        (vec![key(carrier)], Some(Service::Absent), Some("none"), 0),
        (vec![key(carrier), value("t"), value("t")], None, None, 0),
        (vec![key(carrier), key("x"), value("t")], None, None, 0),
        (
            vec![key(COMPONENT_NAME), vec![0x12, 1, 0xff]],
            None,
            None,
            0,
        ),
    ] {
        let body = body(&parts);
        let Ok(report) = read(Format::Reports, &body) else {
            assert_eq!((service, token), (None, None), "{parts:?}");
            continue;
        };
        let expected = match token.unwrap() {
            "none" => Token::None,
            token => Token::One(token.as_bytes()),
        };
        assert!(report.token() == expected, "{parts:?}");
        assert_eq!(
            (Some(report.service()), report.forged()),
            (service, forged),
            "{parts:?}"
        );
        let again = ReportRequest::decode(&written(&report, &[])[..]).unwrap();
        let goes = forged > 0 || report.token() != Token::None || parts[0] == key(carrier);
        assert_eq!(again.reporter.unwrap().tags.is_empty(), goes, "{parts:?}");
    }
}

/// Scenario: a large report of which nothing changes but its token. Guarantees: it is not copied.
#[test]
fn what_does_not_change_is_not_copied() {
    let span = Span {
        operation_name: "x".repeat(1000),
        tags: vec![tag("a", "b")],
        ..Span::default()
    };
    let request = ReportRequest {
        reporter: Some(Reporter {
            reporter_id: 1,
            tags: vec![tag(COMPONENT_NAME, "shop")],
        }),
        auth: Some(Auth {
            access_token: THEIRS.to_owned(),
        }),
        spans: vec![span; 100],
        timestamp_offset_micros: 0,
    };
    let body = bytes::Bytes::from(request.encode_to_vec());
    let range = body.as_ptr_range();
    let report = crate::lightstep::Report::read(Format::Reports, body).unwrap();
    let pieces = report.write(OURS, &[("lightkeeper.app", "shop")]).unwrap();
    let shared: usize = pieces
        .iter()
        .filter(|piece| range.contains(&piece.as_ptr()))
        .map(|piece| piece.len())
        .sum();
    assert_eq!(pieces.len(), 3, "the reporter, the token, the spans");
    assert!(shared > 100_000, "{shared}");
}

/// Scenario: a tag of a span, a point or a log with two names, in both orders. Guarantees: whichever of them a reader
/// takes, no reserved tag and no token goes out: the tag is left out, or the report refused.
#[test]
fn of_two_names_the_worse_counts() {
    let field = |number: u8, content: &[u8]| {
        [&[number << 3 | 2, content.len() as u8][..], content].concat()
    };
    for worse in ["lightkeeper.identity", CARRIERS[0], CARRIERS[1]] {
        for milder in ["a", COMPONENT_NAME, "lightkeeper.x"] {
            for names in [[worse, milder], [milder, worse]] {
                let pair = [
                    field(1, names[0].as_bytes()),
                    field(1, names[1].as_bytes()),
                    field(2, b"forged"),
                ]
                .concat();
                let span = [field(6, &pair), field(7, &field(2, &pair))].concat();
                for (format, body) in [
                    (Format::Reports, field(3, &span)),
                    (Format::Metrics, field(3, &field(5, &pair))),
                ] {
                    let report = read(format, &body);
                    assert_eq!(
                        report.is_ok(),
                        !CARRIERS.contains(&worse),
                        "{format:?} {names:?}"
                    );
                    let out = report
                        .map(|report| written(&report, &[]))
                        .unwrap_or_default();
                    assert!(
                        !super::holds(&out, worse) && !super::holds(&out, "forged"),
                        "{format:?} {names:?}"
                    );
                }
            }
        }
    }
}
