//! Thrift binary calls against a reader and writer of whole values: the oracle.
//!
//! What it does: compares splicing with decode, edit, encode; tables of hostile calls. What it refuses to know:
//! how the splicing is done.

use proptest::prelude::*;

use super::super::findings::{CARRIERS, COMPONENT_NAME};
use super::{OURS, THEIRS, read, written};
use crate::lightstep::{Format, Service, Token};

/// A value of the Thrift binary protocol, as the public specification has it.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    I64(i64),
    Text(String),
    Struct(Vec<(i16, Value)>),
    List(Vec<Value>),
}

impl Value {
    fn code(&self) -> u8 {
        match self {
            Value::I64(_) => 10,
            Value::Text(_) => 11,
            Value::Struct(_) => 12,
            Value::List(_) => 15,
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let length = |length: usize| i32::try_from(length).unwrap().to_be_bytes();
        match self {
            Value::I64(number) => into.extend(number.to_be_bytes()),
            Value::Text(text) => {
                into.extend(length(text.len()));
                into.extend(text.as_bytes());
            }
            Value::Struct(fields) => {
                for (id, value) in fields {
                    into.push(value.code());
                    into.extend(id.to_be_bytes());
                    value.encode(into);
                }
                into.push(0);
            }
            Value::List(values) => {
                // As some writers do, no type is said of an empty list.
                into.push(values.first().map_or(0, Value::code));
                into.extend(length(values.len()));
                values.iter().for_each(|value| value.encode(into));
            }
        }
    }

    fn decode(code: u8, body: &mut &[u8]) -> Value {
        let mut take = |length: usize| {
            let (head, rest) = body.split_at(length);
            *body = rest;
            head.to_vec()
        };
        match code {
            10 => Value::I64(i64::from_be_bytes(take(8).try_into().unwrap())),
            11 => {
                let length = i32::from_be_bytes(take(4).try_into().unwrap());
                Value::Text(String::from_utf8(take(usize::try_from(length).unwrap())).unwrap())
            }
            12 => {
                let mut fields = Vec::new();
                loop {
                    let (code, rest) = body.split_first().unwrap();
                    *body = rest;
                    if *code == 0 {
                        return Value::Struct(fields);
                    }
                    let (id, rest) = body.split_at(2);
                    *body = rest;
                    fields.push((
                        i16::from_be_bytes(id.try_into().unwrap()),
                        Value::decode(*code, body),
                    ));
                }
            }
            15 => {
                let head = take(5);
                let count = i32::from_be_bytes(head[1..].try_into().unwrap());
                Value::List((0..count).map(|_| Value::decode(head[0], body)).collect())
            }
            code => panic!("{code}"),
        }
    }

    fn fields(&mut self) -> &mut Vec<(i16, Value)> {
        match self {
            Value::Struct(fields) => fields,
            other => panic!("{other:?}"),
        }
    }

    fn field(&mut self, id: i16) -> Option<&mut Value> {
        self.fields()
            .iter_mut()
            .find(|(known, _)| *known == id)
            .map(|(_, value)| value)
    }

    fn list(&mut self) -> &mut Vec<Value> {
        match self {
            Value::List(values) => values,
            other => panic!("{other:?}"),
        }
    }
}

const HEAD: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x06Report\x00\x00\x00\x07";

fn call(arguments: &Value) -> Vec<u8> {
    let mut body = HEAD.to_vec();
    arguments.encode(&mut body);
    body
}

fn arguments(body: &[u8]) -> Value {
    let mut rest = body.strip_prefix(HEAD).unwrap();
    let value = Value::decode(12, &mut rest);
    assert_eq!(rest, b"");
    value
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn tag(key: &str, value: &str) -> Value {
    Value::Struct(vec![(1, text(key)), (2, text(value))])
}

pub(super) fn sample() -> Vec<u8> {
    let log = Value::Struct(vec![
        (1, Value::I64(1)),
        (
            13,
            Value::List(vec![tag("lightkeeper.y", "forged"), tag("event", "e")]),
        ),
    ]);
    let spans = vec![
        Value::Struct(vec![
            (1, text("f00")),
            (8, Value::List(vec![tag("a", "b")])),
            (10, Value::List(vec![])),
        ]),
        Value::Struct(vec![
            (
                8,
                Value::List(vec![
                    tag("lightkeeper.x", "forged"),
                    tag(CARRIERS[0], THEIRS),
                ]),
            ),
            (10, Value::List(vec![log])),
        ]),
    ];
    let attributes = vec![tag("lightkeeper.app", "forged"), tag("owner", "forged")];
    let runtime = Value::Struct(vec![
        (1, text("guid")),
        (2, Value::I64(1)),
        (3, text("shop")),
        (4, Value::List(attributes)),
    ]);
    let request = Value::Struct(vec![
        (1, runtime),
        (3, Value::List(spans)),
        (5, Value::I64(-1)),
    ]);
    let auth = Value::Struct(vec![(1, text(THEIRS))]);
    call(&Value::Struct(vec![(1, auth), (2, request)]))
}

fn stays(tag: &mut Value, stamp: &[(&str, &str)]) -> bool {
    let Some(Value::Text(key)) = tag.field(1) else {
        return true;
    };
    let goes = CARRIERS.contains(&key.as_str()) || key.starts_with("lightkeeper.");
    !goes && !stamp.iter().any(|(name, _)| name == key)
}

fn retain(owner: &mut Value, id: i16, stamp: &[(&str, &str)]) {
    if let Some(tags) = owner.field(id) {
        tags.list().retain_mut(|tag| stays(tag, stamp));
    }
}

/// Decode, edit: what the splice must be equal to.
fn edited(mut arguments: Value, stamp: &[(&str, &str)]) -> Value {
    let ours = (1, text(std::str::from_utf8(OURS).unwrap()));
    match arguments.field(1) {
        Some(auth) => {
            auth.fields().retain(|(id, _)| *id != 1);
            auth.fields().insert(0, ours);
        }
        None => arguments.fields().insert(0, (1, Value::Struct(vec![ours]))),
    }
    let request = arguments.field(2).unwrap();
    if !stamp.is_empty() && request.field(1).is_none() {
        request.fields().insert(0, (1, Value::Struct(vec![])));
    }
    if let Some(runtime) = request.field(1) {
        retain(runtime, 4, stamp);
        if !stamp.is_empty() && runtime.field(4).is_none() {
            runtime.fields().insert(0, (4, Value::List(vec![])));
        }
        if let Some(tags) = runtime.field(4) {
            tags.list()
                .extend(stamp.iter().map(|(name, value)| tag(name, value)));
        }
    }
    for span in request
        .field(3)
        .into_iter()
        .flat_map(|spans| spans.list().iter_mut())
    {
        retain(span, 8, &[]);
        for log in span
            .field(10)
            .into_iter()
            .flat_map(|logs| logs.list().iter_mut())
        {
            retain(log, 13, &[]);
        }
    }
    for log in request
        .field(4)
        .into_iter()
        .flat_map(|logs| logs.list().iter_mut())
    {
        retain(log, 13, &[]);
    }
    arguments
}

fn tags() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just(CARRIERS[0]),
        Just(CARRIERS[1]),
        Just("lightkeeper.a"),
        Just("owner"),
        Just("x")
    ];
    let value = prop_oneof![Just("one"), Just("two"), Just("")];
    proptest::collection::vec((key, value), 0..4).prop_map(|tags| {
        Value::List(
            tags.into_iter()
                .map(|(key, value)| tag(key, value))
                .collect(),
        )
    })
}

/// Any choice of these fields, in any order, each at most once.
fn fields(all: Vec<(i16, BoxedStrategy<Value>)>) -> impl Strategy<Value = Value> {
    let fields: Vec<_> = all
        .into_iter()
        .map(|(id, value)| {
            proptest::option::weighted(0.7, value)
                .prop_map(move |value| value.map(|value| (id, value)))
        })
        .collect();
    fields
        .prop_map(|fields| fields.into_iter().flatten().collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(Value::Struct)
}

fn list(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    proptest::collection::vec(value, 0..3).prop_map(Value::List)
}

fn any_arguments() -> impl Strategy<Value = Value> {
    let number = || any::<i64>().prop_map(Value::I64).boxed();
    let word = || {
        prop_oneof![Just("one"), Just("two"), Just("")]
            .prop_map(text)
            .boxed()
    };
    let log = move || fields(vec![(1, number()), (13, tags().boxed()), (99, word())]);
    let span = fields(vec![
        (1, word()),
        (8, tags().boxed()),
        (10, list(log()).boxed()),
        (5, number()),
    ]);
    let runtime = fields(vec![
        (1, word()),
        (2, number()),
        (3, word()),
        (4, tags().boxed()),
    ]);
    let request = fields(vec![
        (1, runtime.boxed()),
        (3, list(span).boxed()),
        (4, list(log()).boxed()),
        (5, number()),
    ]);
    let auth = fields(vec![(1, word()), (2, number())]);
    (proptest::option::of(auth), request, any::<bool>()).prop_map(|(auth, request, first)| {
        let mut fields: Vec<_> = auth.into_iter().map(|auth| (1, auth)).collect();
        fields.insert(if first { 0 } else { fields.len() }, (2, request));
        Value::Struct(fields)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Scenario: any call, with fields missing and in any order. Guarantees: the splice decodes to what decode,
    /// edit and encode give.
    #[test]
    fn splicing_is_decode_edit_encode(given in any_arguments(), stamped in any::<bool>()) {
        let stamp: &[(&str, &str)] = if stamped { &[("lightkeeper.app", "a"), ("owner", "team")] } else { &[] };
        let report = read(Format::ThriftBinary, &call(&given)).unwrap();
        prop_assert_eq!(arguments(&written(&report, stamp)), edited(given, stamp));
    }
}

/// Scenario: calls that only a hand makes. Guarantees: what two readers could take differently, and what
/// promises more than it holds, is malformed.
#[test]
fn hand_made_calls() {
    let request = || (2, Value::Struct(vec![]));
    let auth = |fields| (1, Value::Struct(fields));
    let with = |runtime: Vec<(i16, Value)>| {
        call(&Value::Struct(vec![(
            2,
            Value::Struct(vec![(1, Value::Struct(runtime))]),
        )]))
    };
    let plain = call(&Value::Struct(vec![request()]));
    let list_of = |code: u8, count: i32| {
        let mut body = HEAD.to_vec();
        body.extend([12, 0, 2, 15, 0, 3, code]);
        body.extend(count.to_be_bytes());
        body.extend([0, 0]);
        body
    };
    for (name, body, what) in [
        ("a plain call", plain.clone(), ""),
        (
            "not strict",
            b"\x00\x00\x00\x06Report\x01\x00\x00\x00\x00\x00".to_vec(),
            "strict",
        ),
        (
            "a reply",
            [b"\x80\x01\x00\x02", plain.get(4..).unwrap()].concat(),
            "not a call",
        ),
        (
            "a one-way call",
            [b"\x80\x01\x00\x04", plain.get(4..).unwrap()].concat(),
            "not a call",
        ),
        (
            "another name",
            b"\x80\x01\x00\x01\x00\x00\x00\x06report\x00\x00\x00\x00\x00".to_vec(),
            "not `Report`",
        ),
        ("no request", call(&Value::Struct(vec![])), "no request"),
        (
            "two requests",
            call(&Value::Struct(vec![request(), request()])),
            "stands twice",
        ),
        (
            "two of auth",
            call(&Value::Struct(vec![auth(vec![]), auth(vec![]), request()])),
            "stands twice",
        ),
        (
            "two tokens",
            call(&Value::Struct(vec![
                auth(vec![(1, text("a")), (1, text("a"))]),
                request(),
            ])),
            "stands twice",
        ),
        (
            "a token as a number",
            call(&Value::Struct(vec![
                auth(vec![(1, Value::I64(1))]),
                request(),
            ])),
            "another type",
        ),
        (
            "two names",
            with(vec![(3, text("a")), (3, text("b"))]),
            "stands twice",
        ),
        (
            "a name as a number",
            with(vec![(3, Value::I64(1))]),
            "another type",
        ),
        (
            "attributes as a text",
            with(vec![(4, text("a"))]),
            "another type",
        ),
        (
            "attributes of texts",
            with(vec![(4, Value::List(vec![text("a")]))]),
            "no structs",
        ),
        (
            "a tag with two keys",
            with(vec![(
                4,
                Value::List(vec![Value::Struct(vec![(1, text("a")), (1, text("b"))])]),
            )]),
            "twice",
        ),
        (
            "something behind",
            [&plain[..], b"\x00"].concat(),
            "follows",
        ),
        (
            "an endless list of nothing",
            list_of(0, i32::MAX),
            "past the end",
        ),
        (
            "an endless list of structs",
            list_of(12, i32::MAX),
            "past the end",
        ),
        (
            "a list of less than nothing",
            list_of(12, -1),
            "past the end",
        ),
        ("an empty list of no type", list_of(0, 0), ""),
        ("two structs that end at once", list_of(12, 2), "ends early"),
    ] {
        match read(Format::ThriftBinary, &body) {
            Ok(report) => {
                assert_eq!(what, "", "{name}");
                assert_eq!(
                    (report.items(), report.service()),
                    (0, Service::Absent),
                    "{name}"
                );
                assert!(
                    read(Format::ThriftBinary, &written(&report, &[("a", "b")]))
                        .unwrap()
                        .token()
                        == Token::One(OURS)
                );
            }
            Err(malformed) => assert!(
                !what.is_empty() && malformed.what.contains(what),
                "{name}: {malformed}"
            ),
        }
    }
}

/// What the Thrift library of Python wrote of the legacy tracer's own structs (PyPI `lightstep` 4.4.8).
#[test]
fn a_call_as_the_python_tracer_writes_it() {
    let hex = "80010001000000065265706f7274000000000c00010b000100000003746f6b000c00020c00010b000100000001670a0002000000\
        00000000010b00030000000473686f700f00040c000000010b0001000000016b0b0002000000017600000f00030c000000010b000100\
        000001610f00080c000000000f000a0c000000010a0001000000000000000100000a000500000000000000050000";
    let body: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2).unwrap(), 16).unwrap())
        .collect();
    let report = read(Format::ThriftBinary, &body).unwrap();
    assert!(report.token() == Token::One(b"tok"));
    assert_eq!(
        (report.service(), report.items()),
        (Service::Name("shop"), 1)
    );
    let out = written(&report, &[]);
    let ours = [b"\x0b\x00\x01\x00\x00\x00\x12", OURS].concat();
    let theirs = b"\x0b\x00\x01\x00\x00\x00\x03tok";
    let at = memchr::memmem::find(&body, theirs).unwrap();
    assert_eq!(
        out,
        [
            body.get(..at).unwrap(),
            &ours,
            body.get(at + theirs.len()..).unwrap()
        ]
        .concat()
    );
}

#[test]
fn the_runtime_and_its_tag_name_one_service() {
    for (name, component, expected) in [
        ("a", None, Service::Name("a")),
        ("a", Some("a"), Service::Name("a")),
        ("", Some("b"), Service::Ambiguous),
        ("b", Some(""), Service::Ambiguous),
        ("", Some(""), Service::Absent),
        ("", None, Service::Absent),
        ("a", Some("b"), Service::Ambiguous),
    ] {
        let tags = component
            .map(|component| tag(COMPONENT_NAME, component))
            .into_iter()
            .collect();
        let runtime = Value::Struct(vec![(3, text(name)), (4, Value::List(tags))]);
        let body = call(&Value::Struct(vec![(2, Value::Struct(vec![(1, runtime)]))]));
        assert_eq!(
            read(Format::ThriftBinary, &body).unwrap().service(),
            expected,
            "{name} {component:?}"
        );
    }
    // A tag of a span names a service, too: it must be one that the sender may write as.
    for (component, expected) in [("a", vec!["a"]), ("", vec!["a"]), ("b", vec!["a", "b"])] {
        let runtime = Value::Struct(vec![(3, text("a"))]);
        let span = Value::Struct(vec![(8, Value::List(vec![tag(COMPONENT_NAME, component)]))]);
        let request = Value::Struct(vec![(1, runtime), (3, Value::List(vec![span]))]);
        let report = read(
            Format::ThriftBinary,
            &call(&Value::Struct(vec![(2, request)])),
        )
        .unwrap();
        let names: Vec<String> = match report.service() {
            Service::Name(name) => vec![name.to_owned()],
            Service::Several(names) => names.to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(names, expected, "{component:?}");
    }
}
