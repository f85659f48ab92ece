//! Single exports with what must become of them: edits, disguises, broken ones.
//!
//! Each case is a line; it refuses to know how the result comes about.

use bytes::Bytes;

use super::super::{Attribute, GroupPlace, Holds, alike, request};
use super::{read_text, written};
use crate::otlp::group::{Group, MAX_GROUPS};
use crate::otlp::{Encoding, Export, Found, Signal, Stamp, Wanted};

#[test]
fn edits_keep_every_other_byte() {
    let stamp = Stamp::new(&[("lightkeeper.app", "s")]);
    let new = r#"{"key":"lightkeeper.app","value":{"stringValue":"s"}}"#;
    let forged = r#"{"key":"lightkeeper.x"}"#;
    let group = |inside: &str| format!("{{\"resourceSpans\": [ {{{inside}}} ] }}");
    for (before, behind) in [
        ("", format!("\"resource\":{{\"attributes\":[{new}]}}")),
        (" ", format!("\"resource\":{{\"attributes\":[{new}]}} ")),
        (
            " \"a\":1",
            format!("\"resource\":{{\"attributes\":[{new}]}}, \"a\":1"),
        ),
        (
            "\"resource\" : null ",
            format!("\"resource\" : {{\"attributes\":[{new}]}} "),
        ),
        (
            "\"resource\":{ }",
            format!("\"resource\":{{\"attributes\":[{new}] }}"),
        ),
        (
            "\"resource\":{\"b\":2}",
            format!("\"resource\":{{\"attributes\":[{new}],\"b\":2}}"),
        ),
        (
            "\"resource\":{\"attributes\":null}",
            format!("\"resource\":{{\"attributes\":[{new}]}}"),
        ),
        (
            "\"resource\":{\"attributes\":[ ]}",
            format!("\"resource\":{{\"attributes\":[{new} ]}}"),
        ),
        (
            "\"resource\":{\"attributes\":[ {} ]}",
            format!("\"resource\":{{\"attributes\":[ {{}},{new} ]}}"),
        ),
        (
            &format!("\"resource\":{{\"attributes\":[ {forged} , {{}} , {forged} ]}}"),
            format!("\"resource\":{{\"attributes\":[ {{}},{new} ]}}"),
        ),
        (
            &format!("\"resource\":{{\"attributes\":[ {forged} , {forged} ]}},\"z\":[]"),
            format!("\"resource\":{{\"attributes\":[ {new} ]}},\"z\":[]"),
        ),
        (
            &format!(
                "\"resource\":{{\"attributes\":[{{}} ,{forged}, {forged} ,{{\"key\":\"k\"}}, {forged}]}}"
            ),
            format!("\"resource\":{{\"attributes\":[{{}} ,{{\"key\":\"k\"}},{new}]}}"),
        ),
        (
            &format!(
                "\"scopeSpans\":[{{\"scope\":{{\"attributes\":[{forged}]}}}}],\"resource\":{{}}"
            ),
            format!(
                "\"scopeSpans\":[{{\"scope\":{{\"attributes\":[]}}}}],\"resource\":{{\"attributes\":[{new}]}}"
            ),
        ),
    ] {
        let export = read_text(Signal::Traces, &group(before)).unwrap();
        assert_eq!(written(&export, &[(0, &stamp)]), group(&behind), "{before}");
    }
}

#[test]
fn groups_are_joined_by_the_commas_they_had_or_new_ones() {
    let text = r#"{"resourceLogs":[ {"a":0} , {"a":1} ,{"a":2} ],"x":9}"#;
    let export = read_text(Signal::Logs, text).unwrap();
    let none = Stamp::default();
    for (chosen, expected) in [
        (vec![0, 1, 2], text),
        (
            vec![0, 1],
            r#"{"resourceLogs":[ {"a":0} , {"a":1} ],"x":9}"#,
        ),
        (vec![0, 2], r#"{"resourceLogs":[ {"a":0},{"a":2} ],"x":9}"#),
        (vec![2, 1], r#"{"resourceLogs":[ {"a":2},{"a":1} ],"x":9}"#),
        (vec![1, 7], r#"{"resourceLogs":[ {"a":1} ],"x":9}"#),
        (vec![], r#"{"resourceLogs":[  ],"x":9}"#),
    ] {
        let chosen: Vec<(usize, &Stamp)> = chosen.into_iter().map(|index| (index, &none)).collect();
        assert_eq!(written(&export, &chosen), expected);
    }
}

/// Names and keys in disguise: they mean what they mean to any reader.
#[test]
fn disguises_are_seen_through() {
    for text in [
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"lightkeeper.app"}]}]}]}]}"#,
        r#"{"resource_spans":[{"scope_spans":[{"spans":[{"attributes":[{"key":"lightkeeper.app"}]}]}]}]}"#,
        r#"{"resource\u0053pans":[{"scope\u005fspans":[{"\u0073pans":[{"attributes":[{"k\u0065y":"lightkeeper.app"}]}]}]}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"l\u0069ghtkeeper\u002eapp"}]}]}]}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"\u006C\u0069\u0067\u0068\u0074\u006Beeper."}]}]}]}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":{},"key":"lightkeeper.app"}]}]}]}]}"#,
        r#"{"resourceSpans":[{"instrumentationLibrarySpans":[{"spans":[{"attributes":[{"key":"lightkeeper.app"}]}]}]}]}"#,
    ] {
        let export = read_text(Signal::Traces, text).unwrap();
        assert_eq!(
            (export.groups().len(), export.items(), export.forged()),
            (1, 1, 1),
            "{text}"
        );
        let output = written(&export, &[(0, &Stamp::default())]);
        assert!(output.contains(r#""attributes":[]"#), "{output}");
    }
}

#[test]
fn broken_and_ambiguous_exports_are_malformed() {
    let deep = format!(
        "{{\"resourceSpans\":[{}{}]}}",
        "[".repeat(100),
        "]".repeat(100)
    );
    for (text, offset) in [
        ("", 0),
        ("null", 0),
        ("[]", 0),
        ("\"resourceSpans\"", 0),
        ("{}{}", 2),
        ("\u{feff}{}", 0),
        (r#"{"resourceSpans":{}}"#, 17),
        (r#"{"resourceSpans":[null]}"#, 18),
        (r#"{"resourceSpans":[{},]}"#, 21),
        (r#"{"resourceSpans":[[]]}"#, 18),
        (r#"{"resourceSpans":[{}],"resourceSpans":[]}"#, 22),
        (r#"{"resourceSpans":[{}],"resource_spans":[]}"#, 22),
        (r#"{"resourceSpans":null,"resource\u005fspans":[]}"#, 22),
        (r#"{"ResourceSpans":[{}]}"#, 1),
        (r#"{"RESOURCE_SPANS":[{}]}"#, 1),
        (r#"{"_resourceSpans":[{}]}"#, 1),
        (r#"{"reſourceSpans":[{}]}"#, 1),
        (r#"{"resourceSpans":[{}],"re\u017fourceSpans":[{}]}"#, 22),
        (r#"{"resourceSpans":[{"re\u017fource":{}}]}"#, 19),
        (r#"{"resourceSpans":[{"resource":{"attributeſ":[]}}]}"#, 31),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"\u212aey":"service.name"}]}}]}"#,
            46,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"a","Key":"service.name"}]}}]}"#,
            56,
        ),
        (r#"{"resourceSpans":[{"scope\u017fpans":[]}]}"#, 19),
        (r#"{"resourceSpans":[{"resource":[]}]}"#, 30),
        (r#"{"resourceSpans":[{"resource":{},"resource":{}}]}"#, 33),
        (r#"{"resourceSpans":[{"resource":{"attributes":{}}}]}"#, 44),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[],"attributes":[]}}]}"#,
            47,
        ),
        (r#"{"resourceSpans":[{"resource":{"attributes":[7]}}]}"#, 45),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[null]}}]}"#,
            45,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":7}]}}]}"#,
            52,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"a","key":"b"}]}}]}"#,
            56,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"a","Key":"b"}]}}]}"#,
            56,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"\ud800"}]}}]}"#,
            52,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"k\udc00ey":"a"}]}}]}"#,
            46,
        ),
        (r#"{"resource\ud800Spans":[{}]}"#, 1),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a\udfff"}]}]}]}]}"#,
            65,
        ),
        (r#"{"resourceSpans":[{"scopeSpans":{}}]}"#, 32),
        (r#"{"resourceSpans":[{"scopeSpans":[{"spans":{}}]}]}"#, 42),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{},7]}]}]}"#,
            46,
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[],"spans":[]}]}]}"#,
            45,
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"endTimeUnixNano":NaN}]}]}]}"#,
            62,
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"endTimeUnixNano":1e999}]}]}]"#,
            73,
        ),
        (deep.as_str(), 18),
    ] {
        assert_eq!(
            read_text(Signal::Traces, text)
                .map_err(|malformed| malformed.offset)
                .err(),
            Some(offset),
            "{text}"
        );
    }
    for text in [
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metric\u017f":[]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"\u017fum":{}}]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{},"sum":{}}]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[],"data_points":[]}}]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":[]}]}]}]}"#,
    ] {
        assert!(read_text(Signal::Metrics, text).is_err(), "{text}");
    }
}

/// Scenario: the value of a wanted attribute stands under a name that only some readers take for its own. Guarantees:
/// it is never taken for a text that they might not read.
#[test]
fn a_value_in_another_spelling_is_ambiguous() {
    for pair in [
        r#""VALUE":{"stringValue":"b"}"#,
        r#""value":{"\u017ftringValue":"b"}"#,
        r#""value":{"string_Value":"b"}"#,
        r#""value":{"stringValue":"a","ſtringValue":"b"}"#,
        r#""value":{"StringValue":"b"}"#,
    ] {
        let text = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name",{pair}}}]}}}}]}}"#
        );
        let said = read_text(Signal::Traces, &text)
            .map(|export| export.attribute(0, "service.name") == Found::Ambiguous);
        assert!(said.unwrap_or(true), "{text}");
    }
}

/// The original name of a field is another spelling of its own, so that the one stands for both.
#[test]
fn original_names_are_alike() {
    fn all(shape: super::super::ObjectShape) {
        for field in shape {
            assert!(
                alike(field.name, field.original),
                "{} {}",
                field.name,
                field.original
            );
            let like = shape
                .iter()
                .filter(|other| alike(field.name, other.name))
                .count();
            assert_eq!(like, 1, "{}", field.name);
            match field.holds {
                Holds::Groups(shape)
                | Holds::Items(shape)
                | Holds::Objects(shape)
                | Holds::Holders(shape)
                | Holds::OneOf(shape) => all(shape),
                Holds::Resource | Holds::Attributes | Holds::Scope | Holds::Value => {}
            }
        }
    }
    for signal in Signal::ALL {
        all(request(signal));
    }
}

#[test]
fn what_no_reader_minds_is_read() {
    for (text, groups, items) in [
        ("{}", 0, 0),
        (" \n{ }\t", 0, 0),
        (r#"{"resourceSpans":null}"#, 0, 0),
        (r#"{"resourceSpans":[]}"#, 0, 0),
        (r#"{"resourceLogs":[{},{}],"partial":1,"partial":2}"#, 0, 0),
        (r#"{"resourceSpans":[{}]}"#, 1, 0),
        (
            r#"{"resourceSpans":[{"scopeSpans":null,"resource":null}]}"#,
            1,
            0,
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":null},{"spans":[{},{}]}]}]}"#,
            1,
            2,
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1e999,"x":[[[]]]}]}]}]}"#,
            1,
            1,
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}],"instrumentationLibrarySpans":[{"spans":[{}]}]}]}"#,
            1,
            2,
        ),
    ] {
        let export = read_text(Signal::Traces, text).unwrap();
        assert_eq!(
            (export.groups().len(), export.items(), export.forged()),
            (groups, items, 0),
            "{text}"
        );
        let all: Vec<(usize, Stamp)> = (0..groups).map(|index| (index, Stamp::default())).collect();
        let all: Vec<(usize, &Stamp)> = all.iter().map(|(index, stamp)| (*index, stamp)).collect();
        assert_eq!(written(&export, &all), text);
    }
}

/// Scenario: values with half of a surrogate pair, and values 64 levels deep, wherever values stand. Guarantees: they are
/// read and written byte for byte, beside what is cut out; where such a text is compared, it is ambiguous.
#[test]
fn values_pass_whatever_they_hold() {
    let map = |depth: usize| {
        let open = r#"{"kvlistValue":{"values":[{"key":"k\ud83d","value":"#.repeat(depth);
        format!(r#"{open}{{"stringValue":"x"}}{}"#, "}]}}".repeat(depth))
    };
    let array = |depth: usize| {
        format!(
            r#"{}{{"intValue":"1"}}{}"#,
            r#"{"arrayValue":{"values":["#.repeat(depth),
            "]}}".repeat(depth)
        )
    };
    let values = [
        r#"{"stringValue":"thanks! \ud83d"}"#.to_owned(),
        map(64),
        map(110),
        array(64),
        array(150),
    ];
    for value in &values {
        let attribute = format!(r#"{{"key":"a","value":{value}}}"#);
        let span = format!(
            r#"{{"name":"\udc00","attributes":[{attribute},{{"key":"lightkeeper.x"}}],"events":[{{"attributes":[{attribute}]}}]}}"#
        );
        let text = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{attribute}]}},"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#
        );
        let export = read_text(Signal::Traces, &text).unwrap();
        assert_eq!((export.items(), export.forged()), (1, 1), "{text}");
        let expected = text.replace(r#",{"key":"lightkeeper.x"}"#, "");
        assert_eq!(written(&export, &[(0, &Stamp::default())]), expected);
        let exemplar = format!(r#"{{"filteredAttributes":[{attribute}]}}"#);
        let text = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"sum":{{"dataPoints":[{{"exemplars":[{exemplar}]}}]}}}}]}}]}}]}}"#
        );
        assert_eq!(
            written(
                &read_text(Signal::Metrics, &text).unwrap(),
                &[(0, &Stamp::default())]
            ),
            text
        );
        let text = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{value}}}]}}]}}]}}"#
        );
        assert_eq!(
            written(
                &read_text(Signal::Logs, &text).unwrap(),
                &[(0, &Stamp::default())]
            ),
            text
        );
    }
    let named = |value: &str| {
        format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{value}}}]}}}}]}}"#
        )
    };
    let export = |value: &str| read_text(Signal::Traces, &named(value)).unwrap();
    assert_eq!(
        export(&values[0]).attribute(0, "service.name"),
        Found::Ambiguous
    );
    assert_eq!(
        export(r#"{"stringValue":"a","\ud83d":1}"#).attribute(0, "service.name"),
        Found::Ambiguous
    );
    assert_eq!(
        export(&values[1]).attribute(0, "service.name"),
        Found::Other
    );
    let deeper = read_text(Signal::Traces, &named(&map(130))).err().unwrap();
    assert_eq!(deeper.what, "nested too deep");
}

/// What is below the items is looked at only where reserved names may be, and a stamp elsewhere does not
/// change that: what one gateway has accepted, the next one does not refuse.
#[test]
fn a_stamp_makes_nobody_look_closer() {
    let stamp = Stamp::new(&[("lightkeeper.app", "s")]);
    for (item, reserved) in [
        (r#"{"attributEs":[{"key":"RESERVEDx"}]}"#, "malformed"),
        (r#"{"attributeſ":[{"key":"RESERVEDx"}]}"#, "malformed"),
        (r#"{"attributes":[{"Key":"RESERVEDx"}]}"#, "malformed"),
        (r#"{"attributes":7,"name":"RESERVEDx"}"#, "malformed"),
        (
            r#"{"events":[],"events":[{"name":"RESERVEDx"}]}"#,
            "malformed",
        ),
        (r#"{"name":"RESERVEDx","attributes":[]}"#, "kept"),
    ] {
        let group = |item: &str| {
            format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{item}]}}]}}]}}"#)
        };
        let export = read_text(Signal::Traces, &group(&item.replace("RESERVED", ""))).unwrap();
        let again = read_text(Signal::Traces, &written(&export, &[(0, &stamp)])).unwrap();
        assert_eq!((again.items(), again.forged()), (1, 1), "{item}");
        for prefix in ["lightkeeper.", r"\u006cightkeeper."] {
            let judged = read_text(Signal::Traces, &group(&item.replace("RESERVED", prefix)));
            assert_eq!(judged.is_ok(), reserved == "kept", "{item}");
        }
    }
}

#[test]
fn long_untouched_ranges_are_slices_of_the_body() {
    let span = format!(r#"{{"name":"{}"}}"#, "x".repeat(100_000));
    let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let body = Bytes::from(text);
    let export = Export::read(
        Signal::Traces,
        Encoding::Json,
        body.clone(),
        &Wanted::new([]),
    )
    .unwrap();
    let stamp = Stamp::new(&[("lightkeeper.app", "shop")]);
    let pieces = export.write(&[(0, &stamp)]);
    let within = body.as_ptr() as usize..body.as_ptr() as usize + body.len();
    let copied: usize = pieces
        .iter()
        .filter(|p| !within.contains(&(p.as_ptr() as usize)))
        .map(Bytes::len)
        .sum();
    assert!(copied < 1_000, "{copied} bytes were copied");
}

#[test]
fn a_group_is_remembered_in_few_bytes() {
    assert!(size_of::<GroupPlace>() + size_of::<Group>() <= 40);
    assert!(size_of::<Attribute>() <= 20);
    let many = format!(r#"{{"resourceSpans":[{}{{}}]}}"#, "{},".repeat(MAX_GROUPS));
    let malformed = read_text(Signal::Traces, &many).err().unwrap();
    assert_eq!(malformed.offset, many.len() - 4);
}
