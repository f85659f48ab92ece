//! Scenario: exports made by chance, in which the gateway's own attributes are forged at every level, behind unknown
//! fields, in second copies, under two names, with escapes. Guarantees: whatever is let through, no reader of it finds a
//! stamp but the one of the verified sender.

use std::collections::BTreeSet;

use http::Method;
use lightkeeper::otlp::Signal;
use serde_json::Value;
use testkit::emulator::Level;

use super::exports::{SOON, field, patient, recovers};

/// Numbers by chance, the same in every run (Steele and others, "SplitMix").
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len() as u64) as usize]
    }

    /// As many as rolled, below `most`.
    fn some<T>(&mut self, most: u64, mut make: impl FnMut(&mut Dice) -> T) -> Vec<T> {
        (0..self.roll(most)).map(|_| make(self)).collect()
    }
}

const RESERVED: [&str; 5] = [
    "lightkeeper.identity",
    "lightkeeper.app",
    "lightkeeper.identity.issuer",
    "lightkeeper.",
    "lightkeeper.x",
];
const HARMLESS: [&str; 5] = [
    "a",
    "",
    "lightkeeper",
    "Lightkeeper.identity",
    "xlightkeeper.identity",
];

/// A field that no version has, with a forged attribute in it, of any wire type.
fn unknown(dice: &mut Dice) -> Vec<u8> {
    let inside = field(
        9,
        &[
            field(1, b"lightkeeper.identity"),
            field(2, &field(1, b"hidden")),
        ]
        .concat(),
    );
    match dice.roll(5) {
        0 => field(900, &inside),
        // Field 900 as a varint, of 8 bytes, of 4, as a group.
        1 => b"\xa0\x38\xff\xff\xff\xff\x0f".to_vec(),
        2 => b"\xa1\x38lightkee".to_vec(),
        3 => b"\xa5\x38ligh".to_vec(),
        _ => [&b"\xa3\x38"[..], &inside, b"\xa4\x38"].concat(),
    }
}

/// Fields in any order, unknown ones between them.
fn message(dice: &mut Dice, fields: Vec<Vec<u8>>) -> Vec<u8> {
    let mut fields = fields;
    let unknown = dice.some(3, unknown);
    for field in unknown {
        let at = dice.roll(fields.len() as u64 + 1) as usize;
        fields.insert(at, field);
    }
    fields.concat()
}

/// A `KeyValue` as this field: its name reserved, harmless, or both, of which readers may take either.
fn pair(dice: &mut Dice, number: u32) -> Vec<u8> {
    let reserved = field(1, dice.pick(&RESERVED).as_bytes());
    let harmless = field(1, dice.pick(&HARMLESS).as_bytes());
    let value = field(2, &field(1, b"forged"));
    let fields = match dice.roll(7) {
        0 => vec![harmless, field(2, &field(1, b"honest"))],
        1 => vec![reserved, harmless, value],
        2 => vec![harmless, reserved, value],
        3 => vec![harmless, value, reserved],
        4 => vec![value, reserved],
        5 => vec![reserved],
        _ => vec![reserved, value],
    };
    let content = message(dice, fields);
    field(number, &content)
}

/// A message with attributes, and these fields.
fn attributed(dice: &mut Dice, attributes: u32, others: Vec<Vec<u8>>) -> Vec<u8> {
    let pairs = dice.some(4, |dice| pair(dice, attributes));
    message(dice, others.into_iter().chain(pairs).collect())
}

/// Nested messages as this field, with their attributes.
fn nested(dice: &mut Dice, number: u32, attributes: u32) -> Vec<Vec<u8>> {
    dice.some(3, |dice| {
        field(number, &attributed(dice, attributes, Vec::new()))
    })
}

/// A span, a metric, a log record (field numbers of opentelemetry-proto 1.x).
fn record(dice: &mut Dice, signal: Signal) -> Vec<u8> {
    match signal {
        Signal::Traces => {
            let inner = [nested(dice, 11, 3), nested(dice, 13, 4)].concat();
            attributed(dice, 9, inner)
        }
        Signal::Logs => attributed(dice, 6, Vec::new()),
        Signal::Metrics => {
            let kinds = [(5, 7, 5), (7, 7, 5), (9, 9, 8), (10, 1, 11), (11, 7, 0)];
            let data = dice.some(3, |dice| {
                let (kind, attributes, exemplars) = kinds[dice.roll(5) as usize];
                let points = dice.some(3, |dice| {
                    let inner = if exemplars > 0 {
                        nested(dice, exemplars, 7)
                    } else {
                        Vec::new()
                    };
                    field(1, &attributed(dice, attributes, inner))
                });
                field(kind, &message(dice, points))
            });
            attributed(dice, 12, data)
        }
    }
}

fn export(dice: &mut Dice, signal: Signal) -> Vec<u8> {
    let groups = dice.some(3, |dice| {
        let name = field(
            1,
            &[field(1, b"service.name"), field(2, &field(1, b"checkout"))].concat(),
        );
        let mut fields = vec![field(1, &attributed(dice, 1, vec![name]))];
        fields.extend(dice.some(2, |dice| field(1, &attributed(dice, 1, Vec::new()))));
        fields.extend(dice.some(3, |dice| {
            let scopes = dice.some(3, |dice| field(1, &attributed(dice, 3, Vec::new())));
            let records = dice.some(4, |dice| field(2, &record(dice, signal)));
            field(2, &message(dice, [scopes, records].concat()))
        }));
        field(1, &message(dice, fields))
    });
    message(dice, groups)
}

/// A string with some of its letters escaped.
fn escaped(dice: &mut Dice, text: &str) -> String {
    let letters = text.chars().map(|letter| match dice.roll(8) {
        0 => format!("\\u{:04x}", u32::from(letter)),
        1 => format!("\\u{:04X}", u32::from(letter)),
        _ => letter.to_string(),
    });
    format!("\"{}\"", letters.collect::<String>())
}

/// Members in any order, with blanks, and unknown ones that hold what looks like an attribute.
fn object(dice: &mut Dice, members: Vec<(&str, String)>) -> String {
    let mut texts: Vec<String> = Vec::new();
    for (name, value) in members {
        let member = format!(
            "{}{}:{value}",
            dice.pick(&["", " ", "\n"]),
            escaped(dice, name)
        );
        texts.insert(dice.roll(texts.len() as u64 + 1) as usize, member);
    }
    if dice.roll(4) == 0 {
        texts.push(
            r#""x":[{"key":"lightkeeper.identity","value":{"stringValue":"hidden"}}]"#.to_owned(),
        );
    }
    format!("{{{}}}", texts.join(","))
}

fn pairs(dice: &mut Dice, first: Option<String>) -> String {
    let more = dice.some(4, |dice| {
        let key = if dice.roll(4) == 0 {
            dice.pick(&HARMLESS)
        } else {
            dice.pick(&RESERVED)
        };
        let key = escaped(dice, key);
        let name = dice.pick(&["stringValue", "string_value"]);
        let value = object(dice, vec![(name, "\"forged\"".to_owned())]);
        object(dice, vec![("key", key), ("value", value)])
    });
    format!(
        "[{}]",
        first
            .into_iter()
            .chain(more)
            .collect::<Vec<_>>()
            .join(dice.pick(&[",", " ,\n"]))
    )
}

fn json_record(dice: &mut Dice, signal: Signal) -> String {
    let with_attributes = |dice: &mut Dice, name: &'static str| {
        let attributes = pairs(dice, None);
        object(dice, vec![(name, attributes)])
    };
    let attributes = pairs(dice, None);
    match signal {
        Signal::Logs => object(dice, vec![("attributes", attributes)]),
        Signal::Traces => {
            let (event, link) = (
                with_attributes(dice, "attributes"),
                with_attributes(dice, "attributes"),
            );
            let members = vec![
                ("attributes", attributes),
                ("events", format!("[{event}]")),
                ("links", format!("[{link}]")),
            ];
            object(dice, members)
        }
        Signal::Metrics => {
            let kind = dice.pick(&[
                "gauge",
                "sum",
                "histogram",
                "exponentialHistogram",
                "exponential_histogram",
                "summary",
            ]);
            let points = dice.pick(&["dataPoints", "data_points"]);
            let name = dice.pick(&["filteredAttributes", "filtered_attributes"]);
            let exemplar = with_attributes(dice, name);
            let inner = pairs(dice, None);
            let mut point = vec![("attributes", inner)];
            if kind != "summary" {
                point.push(("exemplars", format!("[{exemplar}]")));
            }
            let point = object(dice, point);
            let data = object(dice, vec![(points, format!("[{point}]"))]);
            object(dice, vec![("metadata", attributes), (kind, data)])
        }
    }
}

fn json_export(dice: &mut Dice, signal: Signal) -> String {
    let (groups, scopes, records) = match signal {
        Signal::Traces => (
            ["resourceSpans", "resource_spans"],
            ["scopeSpans", "scope_spans"],
            ["spans", "spans"],
        ),
        Signal::Metrics => (
            ["resourceMetrics", "resource_metrics"],
            ["scopeMetrics", "scope_metrics"],
            ["metrics", "metrics"],
        ),
        Signal::Logs => (
            ["resourceLogs", "resource_logs"],
            ["scopeLogs", "scope_logs"],
            ["logRecords", "log_records"],
        ),
    };
    let made = dice.some(3, |dice| {
        let service = r#"{"key":"service.name","value":{"stringValue":"checkout"}}"#.to_owned();
        let attributes = pairs(dice, Some(service));
        let resource = object(dice, vec![("attributes", attributes)]);
        let parts = dice.some(3, |dice| {
            let attributes = pairs(dice, None);
            let scope = object(dice, vec![("attributes", attributes)]);
            let items = dice.some(3, |dice| json_record(dice, signal)).join(",");
            let name = dice.pick(&records);
            object(dice, vec![("scope", scope), (name, format!("[{items}]"))])
        });
        let name = dice.pick(&scopes);
        object(
            dice,
            vec![
                ("resource", resource),
                (name, format!("[{}]", parts.join(","))),
            ],
        )
    });
    let name = dice.pick(&groups);
    object(dice, vec![(name, format!("[{}]", made.join(",")))])
}

/// The values of everything that looks like an attribute of ours, outside unknown members.
fn ours_in(document: &Value, found: &mut Vec<String>) {
    match document {
        Value::Array(elements) => elements.iter().for_each(|element| ours_in(element, found)),
        Value::Object(members) => {
            let reserved = |key: &Value| {
                key.as_str()
                    .is_some_and(|key| key.starts_with("lightkeeper."))
            };
            if members.get("key").is_some_and(reserved) {
                found.push(members.get("value").unwrap_or_default().to_string());
            }
            members
                .iter()
                .filter(|(name, _)| *name != "x")
                .for_each(|(_, value)| ours_in(value, found));
        }
        _ => {}
    }
}

/// What the gateway says of this world's exporter.
fn stamp() -> BTreeSet<(&'static str, &'static str)> {
    BTreeSet::from([
        ("lightkeeper.app", "shop/checkout"),
        (
            "lightkeeper.identity",
            "system:serviceaccount:checkout:collector",
        ),
        ("lightkeeper.identity.issuer", "acme"),
        ("lightkeeper.identity.method", "oidc"),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_of_protobuf_finds_a_forged_stamp() {
    let mut ground = patient("").await;
    let caller = ground
        .world
        .plain_caller()
        .bearer(&ground.exporter)
        .deadline(SOON);
    let mut line = caller.connect().await.unwrap();
    let (mut groups, mut removed) = (0, 0);
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let signal = Signal::ALL[dice.roll(3) as usize];
        let body = export(&mut dice, signal);
        ground.world.emulator.clear();
        let path = format!("/v1/{}", signal.name());
        let kind = [("content-type", "application/x-protobuf")];
        let answer = line
            .send(Method::POST, &path, &kind, body.clone())
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "seed {seed}: {}", answer.text());
        // An export that carries nothing is answered by the gateway (`gateway exports`).
        let Some(export) = ground.world.emulator.exports().pop() else {
            continue;
        };
        for (level, name, value) in export.attributes() {
            let is_ours = level == Level::Resource && stamp().contains(&(name, value));
            assert!(
                !name.starts_with("lightkeeper.") || is_ours,
                "seed {seed}: {level:?} {name} {value}"
            );
        }
        for resource in &export.resources {
            let ours = resource
                .attributes
                .iter()
                .filter(|(name, _)| name.starts_with("lightkeeper."));
            assert_eq!(ours.count(), 4, "seed {seed}");
        }
        // Nor a reader who takes the first of two names.
        let captured = ground.world.emulator.captured().remove(0);
        assert!(
            !captured.contains(b"forged"),
            "seed {seed}: a name that counts to some reader"
        );
        groups += export.resources.len();
        removed += memchr::memmem::find_iter(&body, b"forged").count();
    }
    assert!(
        groups > 300 && removed > 2000,
        "{groups} resources, {removed} forged attributes: chance made too little"
    );
    recovers(&mut ground).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_of_json_finds_a_forged_stamp() {
    let mut ground = patient("").await;
    let caller = ground
        .world
        .plain_caller()
        .bearer(&ground.exporter)
        .deadline(SOON);
    let mut line = caller.connect().await.unwrap();
    let (mut stamped, mut removed) = (0, 0);
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let signal = Signal::ALL[dice.roll(3) as usize];
        let body = json_export(&mut dice, signal);
        ground.world.emulator.clear();
        let path = format!("/v1/{}", signal.name());
        let kind = [("content-type", "application/json")];
        let answer = line
            .send(Method::POST, &path, &kind, body.clone().into_bytes())
            .await
            .unwrap();
        assert_eq!(
            answer.status,
            200,
            "seed {seed}: {} of {body}",
            answer.text()
        );
        // An export that carries nothing is answered by the gateway (`gateway exports`).
        let Some(captured) = ground.world.emulator.captured().pop() else {
            continue;
        };
        let document: Value = serde_json::from_slice(&captured.body).unwrap();
        let mut found = Vec::new();
        ours_in(&document, &mut found);
        let known = |value: &String| {
            stamp()
                .iter()
                .any(|(_, ours)| value.contains(&format!("\"{ours}\"")))
        };
        assert!(found.iter().all(known), "seed {seed}: {found:?} of {body}");
        for export in ground.world.emulator.exports() {
            for (level, name, value) in export.attributes() {
                let is_ours = level == Level::Resource && stamp().contains(&(name, value));
                assert!(
                    !name.starts_with("lightkeeper.") || is_ours,
                    "seed {seed}: {level:?} {name} {value}"
                );
            }
        }
        assert_eq!(found.len() % 4, 0, "seed {seed}: {found:?}");
        stamped += found.len() / 4;
        removed += body.matches("forged").count();
    }
    assert!(
        stamped > 300 && removed > 2000,
        "{stamped} stamps, {removed} forged attributes: chance made too little"
    );
    recovers(&mut ground).await;
}
