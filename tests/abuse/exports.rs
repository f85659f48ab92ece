//! Scenario: exports made to exhaust, to confuse or to lie, over HTTP in both encodings and over gRPC. Guarantees: each
//! is refused with the status of the table, or becomes what any reader finds in it; nothing refused goes upstream; time
//! and memory have bounds; others are served meanwhile.

use std::time::{Duration, Instant};

use http::Method;
use lightkeeper::otlp::{Encoding, Signal};
use serde_json::json;
use testkit::{Answer, Coding, Sample, SampleCaller, WorldPlan};

use super::ground::{self, Ground, eventually};

/// Generous for a slow machine, and far below what anything quadratic would take.
pub const SOON: Duration = Duration::from_secs(30);

/// In what an export comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Http,
    Json,
    Grpc,
}

impl Via {
    /// Sends a message as it is, in its coding.
    pub async fn send(self, caller: &SampleCaller, message: &[u8], coding: Coding) -> Answer {
        let kind = match self {
            Via::Grpc => {
                return caller
                    .clone()
                    .compressing(coding)
                    .grpc(Signal::Traces.grpc_path(), message)
                    .await
                    .unwrap();
            }
            Via::Http => "application/x-protobuf",
            Via::Json => "application/json",
        };
        let body = coding.compress(message).unwrap();
        let headers = [("content-type", kind), ("content-encoding", coding.name())];
        caller
            .send(Method::POST, "/v1/traces", &headers, body)
            .await
            .unwrap()
    }

    pub fn status(self, answer: &Answer) -> u32 {
        if self == Via::Grpc {
            answer.grpc_status().unwrap()
        } else {
            u32::from(answer.status)
        }
    }

    pub fn of(self, (http, grpc): (u32, u32)) -> u32 {
        if self == Via::Grpc { grpc } else { http }
    }
}

/// A field with a length.
pub fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 12);
    prost::encoding::encode_varint(u64::from(number) << 3 | 2, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// A `KeyValue` with a value of these bytes, in field 1 of a resource.
fn attribute(key: &str, any_value: &[u8]) -> Vec<u8> {
    field(1, &[field(1, key.as_bytes()), field(2, any_value)].concat())
}

fn text(value: &str) -> Vec<u8> {
    field(1, value.as_bytes())
}

/// A whole export: one group of these resources and one span.
fn export(resources: &[Vec<u8>]) -> Vec<u8> {
    let resources: Vec<u8> = resources
        .iter()
        .flat_map(|resource| field(1, resource))
        .collect();
    let span = field(
        2,
        &field(2, &[field(1, &[7; 16]), field(2, &[7; 8])].concat()),
    );
    field(1, &[resources, span].concat())
}

/// So many groups of one empty span each, as short as can be.
fn hollow_groups(count: usize) -> Vec<u8> {
    field(1, &field(2, &field(2, b""))).repeat(count)
}

/// The same in JSON, the resource's attributes as text.
fn json_export(attributes: &str) -> Vec<u8> {
    let spans = r#"[{"spans":[{"traceId":"07070707070707070707070707070707","spanId":"0707070707070707"}]}]"#;
    format!(r#"{{"resourceSpans":[{{"resource":{{"attributes":[{attributes}]}},"scopeSpans":{spans}}}]}}"#).into_bytes()
}

fn named(value: &str) -> String {
    format!(r#"{{"key":"service.name","value":{value}}}"#)
}

pub async fn patient(limits: &str) -> Ground {
    Ground::plan(WorldPlan {
        more: format!("limits: {{ penalty: off, {limits} }}"),
        ..WorldPlan::default()
    })
    .await
}

pub fn caller(ground: &Ground) -> SampleCaller {
    ground
        .world
        .plain_caller()
        .bearer(&ground.exporter)
        .deadline(SOON)
}

pub fn held_bytes(ground: &Ground) -> u64 {
    ground.world.gateway.shared().budget.used_bytes()
}

/// A good export arrives, and nothing of what was before is held.
pub async fn recovers(ground: &mut Ground) {
    ground.world.emulator.clear();
    let good = caller(ground)
        .export(&Sample::traces("checkout", 1), Encoding::Protobuf)
        .await
        .unwrap();
    assert_eq!(
        (good.status, ground.world.emulator.exports().len()),
        (200, 1),
        "{}",
        good.text()
    );
    let core = ground.world.gateway.shared().clone();
    eventually("all memory given back", SOON, || {
        core.budget.used_bytes() == 0
    })
    .await;
    ground.alive().await;
}

/// Resources that say in two minds, or in a form that readers read differently, whose they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_readers_could_take_differently_are_refused() {
    let mut ground = patient("").await;
    let own = || attribute("service.name", &text("checkout"));
    let foreign = || attribute("service.name", &text("payments"));
    let two_keys = |one: &str, other: &str| {
        field(
            1,
            &[
                field(1, one.as_bytes()),
                field(1, other.as_bytes()),
                field(2, &text("payments")),
            ]
            .concat(),
        )
    };
    let unclear = (400, 3, "service_ambiguous");
    let foreign_only = (403, 7, "service_foreign");
    let malformed = (400, 3, "body_malformed");
    type Case<'a> = (&'a str, Vec<u8>, (u32, u32, &'a str));
    let cases: Vec<Case<'_>> = vec![
        ("two resources", export(&[own(), foreign()]), unclear),
        (
            "two resources, foreign first",
            export(&[foreign(), own()]),
            unclear,
        ),
        (
            "two attributes",
            export(&[[own(), foreign()].concat()]),
            unclear,
        ),
        (
            "foreign in a second resource",
            export(&[Vec::new(), foreign()]),
            foreign_only,
        ),
        (
            "two keys",
            export(&[two_keys("a", "service.name")]),
            unclear,
        ),
        (
            "two keys, hidden",
            export(&[two_keys("service.name", "a")]),
            unclear,
        ),
        (
            "two values",
            export(&[field(
                1,
                &[
                    field(1, b"service.name"),
                    field(2, &text("checkout")),
                    field(2, &text("payments")),
                ]
                .concat(),
            )]),
            unclear,
        ),
        (
            "two members",
            export(&[attribute(
                "service.name",
                &[text("checkout"), text("payments")].concat(),
            )]),
            unclear,
        ),
        (
            "bytes",
            export(&[attribute("service.name", &field(7, b"payments"))]),
            unclear,
        ),
        (
            "a number",
            export(&[attribute("service.name", &[0x18, 7])]),
            unclear,
        ),
        (
            "a bool",
            export(&[attribute("service.name", &[0x10, 1])]),
            unclear,
        ),
        (
            "an array",
            export(&[attribute(
                "service.name",
                &field(5, &field(1, &text("payments"))),
            )]),
            unclear,
        ),
        (
            "nothing",
            export(&[attribute("service.name", b"")]),
            unclear,
        ),
        (
            "no value",
            export(&[field(1, &field(1, b"service.name"))]),
            unclear,
        ),
        (
            "not UTF-8",
            export(&[attribute("service.name", &field(1, b"payments\xff"))]),
            unclear,
        ),
        (
            "overlong length",
            export(&[[&[0x0a, 0x9d, 0x80, 0x00][..], &foreign()[2..]].concat()]),
            malformed,
        ),
        (
            "a value that is no message",
            export(&[field(
                1,
                &[&field(1, b"service.name")[..], &[0x10, 1]].concat(),
            )]),
            malformed,
        ),
        (
            "a key that is no text",
            export(&[field(1, &[0x08, 1])]),
            malformed,
        ),
        (
            "a group in a group's place",
            [&[0x0b][..], &field(1, &foreign()), &[0x0c]].concat(),
            malformed,
        ),
        (
            "a fixed number in its place",
            b"\x0d\0\0\0\0".to_vec(),
            malformed,
        ),
        ("an unknown wire type", b"\x0f".to_vec(), malformed),
        ("field number 0", b"\x02\x00".to_vec(), malformed),
        (
            "a length past the end",
            b"\x0a\xff\xff\xff\xff\x07".to_vec(),
            malformed,
        ),
        (
            "a varint of eleven bytes",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
            malformed,
        ),
    ];
    for (name, message, (http, grpc, reason)) in &cases {
        for via in [Via::Http, Via::Grpc] {
            check(&mut ground, name, via, message, (*http, *grpc), reason).await;
        }
    }
    recovers(&mut ground).await;
}

/// The same in JSON, where names have two spellings, letters can be escaped, and members can stand twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_json_that_readers_could_take_differently_are_refused() {
    let mut ground = patient("").await;
    let second = |first: &str, second: &str| format!("{first},{second}");
    let (own, foreign) = (
        named(r#"{"stringValue":"checkout"}"#),
        named(r#"{"stringValue":"payments"}"#),
    );
    let group =
        |resource: &str| format!(r#"{{"resource":{{"attributes":[{resource}]}},"scopeSpans":[]}}"#);
    let cases: Vec<(&str, Vec<u8>, (u32, &str))> = vec![
        ("two attributes", json_export(&second(&own, &foreign)), (400, "service_ambiguous")),
        ("a number", json_export(&named(r#"{"intValue":"7"}"#)), (400, "service_ambiguous")),
        ("an array", json_export(&named(r#"{"arrayValue":{"values":[]}}"#)), (400, "service_ambiguous")),
        ("bytes", json_export(&named(r#"{"bytesValue":"cGF5bWVudHM="}"#)), (400, "service_ambiguous")),
        ("null", json_export(&named("null")), (400, "service_ambiguous")),
        (
            "two members",
            json_export(&named(r#"{"stringValue":"checkout","intValue":"1"}"#)),
            (400, "service_ambiguous"),
        ),
        ("an escaped key", json_export(&foreign.replace("service.name", r"\u0073ervice\u002ename")), (403, "service_foreign")),
        ("an escaped value", json_export(&named(r#"{"stringValue":"\u0070ayments"}"#)), (403, "service_foreign")),
        ("original names", json_export(&foreign.replace("stringValue", "string_value")), (403, "service_foreign")),
        (
            "an original name above",
            format!(r#"{{"resource_spans":[{}]}}"#, group(&foreign)).into_bytes(),
            (403, "service_foreign"),
        ),
        (
            "both names",
            format!(r#"{{"resourceSpans":[{}],"resource_spans":[{}]}}"#, group(&own), group(&foreign)).into_bytes(),
            (400, "body_malformed"),
        ),
        (
            "an escaped name beside",
            format!(r#"{{"resourceSpans":[{}],"resource\u0053pans":[{}]}}"#, group(&own), group(&foreign)).into_bytes(),
            (400, "body_malformed"),
        ),
        (
            "another case",
            format!(r#"{{"resourcespans":[{}]}}"#, group(&foreign)).into_bytes(),
            (400, "body_malformed"),
        ),
        // Go's `encoding/json` folds these letters, and takes the names for the real ones.
        (
            "a long s",
            format!(r#"{{"resourceſpans":[{}],"resourceSpans":[{}]}}"#, group(&foreign), group(&own)).into_bytes(),
            (400, "body_malformed"),
        ),
        (
            "an escaped long s",
            format!(r#"{{"resourceSpans":[{{"re\u017fource":{{"attributes":[{foreign}]}},"scopeSpans":[]}}]}}"#).into_bytes(),
            (400, "body_malformed"),
        ),
        ("a Kelvin sign", json_export(&foreign.replace(r#""key""#, "\"\u{212a}ey\"")), (400, "body_malformed")),
        (
            "an escaped Kelvin sign",
            json_export(&format!("{own},{}", foreign.replace(r#""key""#, r#""\u212aey""#))),
            (400, "body_malformed"),
        ),
        (
            "a forged stamp under a Kelvin sign",
            json_export(&format!(
                r#"{own},{{"key":"a","\u212aey":"lightkeeper.identity","value":{{"stringValue":"somebody"}}}}"#
            )),
            (400, "body_malformed"),
        ),
        (
            "a value under a long s",
            json_export(&named(r#"{"stringValue":"checkout","\u017ftringValue":"payments"}"#)),
            (400, "service_ambiguous"),
        ),
        (
            "two resources",
            format!(
                r#"{{"resourceSpans":[{{"resource":{{"attributes":[{own}]}},"resource":{{"attributes":[{foreign}]}}}}]}}"#
            )
            .into_bytes(),
            (400, "body_malformed"),
        ),
        ("two keys", json_export(r#"{"key":"a","key":"service.name","value":{"stringValue":"payments"}}"#), (400, "body_malformed")),
        ("a byte order mark", [b"\xef\xbb\xbf", &json_export(&own)[..]].concat(), (400, "body_malformed")),
        ("a comment", [b"/**/", &json_export(&own)[..]].concat(), (400, "body_malformed")),
        ("two documents", json_export(&own).repeat(2), (400, "body_malformed")),
        ("NaN", json_export(&named("NaN")), (400, "body_malformed")),
        ("half a surrogate", json_export(&named(r#"{"stringValue":"\ud800"}"#)), (400, "service_ambiguous")),
        ("half a surrogate beside", json_export(&named(r#"{"stringValue":"checkout\ud83d"}"#)), (400, "service_ambiguous")),
        (
            "half a surrogate in a member's name",
            json_export(&format!(r#"{own},{{"key":"a","v\udc00alue":{{"stringValue":"payments"}}}}"#)),
            (400, "body_malformed"),
        ),
        (
            "half a surrogate in a key",
            json_export(&format!(r#"{own},{{"key":"lightkeeper.\ud800app","value":{{"stringValue":"a"}}}}"#)),
            (400, "body_malformed"),
        ),
        ("UTF-16", b"\xff\xfe{\0}\0".to_vec(), (400, "body_malformed")),
    ];
    for (name, message, (status, reason)) in &cases {
        check(&mut ground, name, Via::Json, message, (*status, 0), reason).await;
    }
    recovers(&mut ground).await;
}

/// Refused for this reason, with nothing upstream.
async fn check(
    ground: &mut Ground,
    name: &str,
    via: Via,
    message: &[u8],
    status: (u32, u32),
    reason: &str,
) {
    let answer = via.send(&caller(ground), message, Coding::Identity).await;
    let record = ground.calls(1).await.remove(0);
    let found = (
        via.status(&answer),
        record["reason"].as_str().unwrap_or_default().to_owned(),
    );
    ground::none(&if found == (via.of(status), reason.to_owned()) {
        Vec::new()
    } else {
        vec![format!("{name} {via:?}: {found:?}, {record}")]
    });
    ground.nothing_upstream(name);
}

/// Nesting, numbers of things and sizes of things that no honest exporter makes. Guarantees: an answer soon, whatever it
/// is; a caller beside is served all the while; what was held is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_exhaust_are_answered_soon() {
    let mut ground = patient("").await;
    let many = 1_000_000;
    let nested_arrays = (0..20_000).fold(text("x"), |value, _| field(5, &field(1, &value)));
    let deep_json = format!(
        "{}{}",
        r#"{"arrayValue":{"values":["#.repeat(100_000),
        "]}}".repeat(100_000)
    );
    let own = named(r#"{"stringValue":"checkout"}"#);
    let cases: Vec<(&str, Via, Vec<u8>, &[u32])> = vec![
        ("group bomb", Via::Http, [0x4b].repeat(many), &[400]),
        (
            "group bomb, closed",
            Via::Http,
            [[0x4b].repeat(many), [0x4c].repeat(many)].concat(),
            &[400],
        ),
        (
            "nested arrays",
            Via::Http,
            export(&[attribute("a", &nested_arrays)]),
            &[400],
        ),
        (
            "nested name",
            Via::Grpc,
            export(&[attribute("service.name", &nested_arrays)]),
            &[3],
        ),
        ("empty groups", Via::Http, b"\x0a\0".repeat(many), &[400]),
        ("empty groups", Via::Grpc, b"\x0a\0".repeat(many), &[3]),
        (
            "empty groups",
            Via::Json,
            format!(r#"{{"resourceSpans":[{{}}{}]}}"#, ",{}".repeat(many)).into_bytes(),
            &[400],
        ),
        ("many groups", Via::Http, hollow_groups(20_000), &[200]),
        (
            "empty attributes",
            Via::Http,
            export(&[b"\x0a\0".repeat(many)]),
            &[413],
        ),
        (
            "empty attributes",
            Via::Json,
            json_export(&format!("{own}{}", ",{}".repeat(1_100_000))),
            &[400],
        ),
        (
            "many attributes",
            Via::Json,
            json_export(&format!("{own}{}", r#",{"key":"a"}"#.repeat(100_000))),
            &[413],
        ),
        (
            "attributes up to the limit",
            Via::Json,
            json_export(&format!("{own}{}", r#",{"key":"a"}"#.repeat(19_999))),
            &[200],
        ),
        (
            "one attribute more",
            Via::Json,
            json_export(&format!("{own}{}", r#",{"key":"a"}"#.repeat(20_000))),
            &[413],
        ),
        (
            "one attribute more",
            Via::Grpc,
            export(&[b"\x0a\0".repeat(20_001)]),
            &[8],
        ),
        (
            "half in each of two resources",
            Via::Http,
            export(&[b"\x0a\0".repeat(10_001), b"\x0a\0".repeat(10_000)]),
            &[413],
        ),
        (
            "empty resources",
            Via::Http,
            export(&vec![Vec::new(); 300_000]),
            &[200],
        ),
        (
            "unknown fields",
            Via::Http,
            [export(&[]), b"\x48\x01".repeat(many)].concat(),
            &[200],
        ),
        ("brackets", Via::Json, b"[".repeat(many), &[400]),
        (
            "deep values",
            Via::Json,
            json_export(&format!(r#"{{"key":"a","value":{deep_json}}}"#)),
            &[400],
        ),
        (
            "deep unknown",
            Via::Json,
            format!(r#"{{"x":{}{}}}"#, "[".repeat(500_000), "]".repeat(500_000)).into_bytes(),
            &[400],
        ),
        (
            "spaces",
            Via::Json,
            [b" ".repeat(8 << 20), b"{}".to_vec()].concat(),
            &[200],
        ),
        (
            "a long name",
            Via::Http,
            export(&[attribute("service.name", &text(&"x".repeat(1 << 20)))]),
            &[200],
        ),
        (
            "a long foreign name",
            Via::Grpc,
            export(&[attribute(
                "service.name",
                &text(&format!("ledger-{}", "x".repeat(1 << 20))),
            )]),
            &[7],
        ),
        (
            "a long key",
            Via::Http,
            export(&[attribute(&"x".repeat(8 << 20), &text("x"))]),
            &[200],
        ),
    ];
    let mut faults = Vec::new();
    for (name, via, message, statuses) in cases {
        let began = Instant::now();
        let hostile = caller(&ground);
        let exporting = tokio::spawn(async move {
            (
                via.send(&hostile, &message, Coding::Identity).await,
                began.elapsed(),
            )
        });
        let others = ground
            .world
            .plain_caller()
            .bearer(&ground.reader)
            .deadline(SOON);
        let mut waits = Vec::new();
        loop {
            let asked = Instant::now();
            let answer = others.get("/.lightkeeper/whoami").await;
            waits.push(asked.elapsed());
            if !matches!(&answer, Ok(answer) if answer.status == 200) {
                faults.push(format!("{name} {via:?}: others get {answer:?}"));
            }
            if exporting.is_finished() {
                break;
            }
        }
        let (answer, took) = exporting.await.unwrap();
        if !statuses.contains(&via.status(&answer)) {
            faults.push(format!(
                "{name} {via:?}: {} after {took:?}",
                via.status(&answer)
            ));
        }
        let longest = waits.iter().max().copied().unwrap_or_default();
        if took > SOON / 2 || longest > SOON / 2 {
            faults.push(format!(
                "{name} {via:?}: took {took:?}, others waited {longest:?}"
            ));
        }
    }
    ground::none(&faults);
    recovers(&mut ground).await;
}

/// Small bodies that become large: by stamps, by places to remember. Guarantees: what they become is bounded as a body
/// is, and asked of the budget; beyond the one 413, beyond the caller's share of the other 429, and all is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_body_becomes_is_within_the_budget() {
    // A stamp is about 220 bytes in protobuf and 340 in JSON, with what surrounds it; a place is about 50.
    for (total, protobuf, json, status, reason) in [
        ("64MiB", 1 << 17, 1 << 17, (413, 8), "body_too_large"),
        ("8MiB", 36_000, 23_000, (429, 8), "memory_share_spent"),
        ("64MiB", 36_000, 23_000, (200, 0), "ok"),
    ] {
        let limits =
            format!("body: 8MiB, decompressed_body: 8MiB, response: 8MiB, buffered_total: {total}");
        let mut ground = patient(&limits).await;
        let protobuf = hollow_groups(protobuf);
        let json = vec![r#"{"scopeSpans":[{"spans":[{}]}]}"#; json].join(",");
        let json = format!(r#"{{"resourceSpans":[{json}]}}"#).into_bytes();
        for (via, message) in [
            (Via::Http, &protobuf),
            (Via::Grpc, &protobuf),
            (Via::Json, &json),
        ] {
            for coding in [Coding::Identity, Coding::Gzip] {
                ground.world.emulator.clear();
                let answer = via.send(&caller(&ground), message, coding).await;
                let record = ground.calls(1).await.remove(0);
                let found = (via.status(&answer), record["reason"].as_str().unwrap());
                assert_eq!(
                    found,
                    (via.of(status), reason),
                    "{total} {via:?} {coding:?}: {record}"
                );
                if reason != "ok" {
                    ground.nothing_upstream("too large once stamped");
                }
                eventually("all memory given back", SOON, || held_bytes(&ground) == 0).await;
            }
        }
        recovers(&mut ground).await;
    }
}

/// Names with control characters, quotes and marks of direction, in what the caller is told of them. Guarantees: the
/// answer is well-formed in every encoding, short, and has no control character.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_do_not_break_the_answer() {
    let mut ground = patient("").await;
    let names = [
        "ledger-\r\nX-Injected: 1",
        "ledger-\0\u{1}\u{7f}\u{85}",
        "ledger-\"\\`%0a%",
        "ledger-\u{202e}\u{2066}é\u{10ffff}",
        &format!("ledger-{}", "\u{1f600}".repeat(100_000)),
        &format!("ledger-{}", "\"".repeat(100_000)),
    ];
    let sample = names
        .iter()
        .fold(Sample::traces("checkout", 1), |sample, name| {
            sample.and(name, 2)
        });
    let sample = (0..500).fold(sample, |sample, number| {
        sample.and(&format!("ledger-{number}"), 1)
    });
    for via in [Via::Http, Via::Json, Via::Grpc] {
        let encoding = if via == Via::Json {
            Encoding::Json
        } else {
            Encoding::Protobuf
        };
        let answer = via
            .send(&caller(&ground), &sample.encode(encoding), Coding::Identity)
            .await;
        assert_eq!(via.status(&answer), via.of((200, 0)), "{via:?}");
        let partial = answer.partial_success().unwrap().unwrap();
        assert_eq!(partial.rejected, 12 + 500, "{via:?}");
        let message = partial.message;
        assert!(
            message.contains("`ledger-") && message.len() < 4096,
            "{via:?}: {} bytes",
            message.len()
        );
        assert!(
            !message.chars().any(char::is_control),
            "{via:?}: {message:?}"
        );
        assert!(
            answer
                .headers
                .iter()
                .all(|(name, _)| name.as_str() != "x-injected"),
            "{via:?}"
        );
        for name in names {
            ground.world.emulator.clear();
            let alone = Sample::traces(name, 1).encode(encoding);
            let answer = via.send(&caller(&ground), &alone, Coding::Identity).await;
            assert_eq!(via.status(&answer), via.of((403, 7)), "{via:?} {name:?}");
            assert!(
                !answer.text().contains("ledger")
                    && answer
                        .grpc_message()
                        .is_none_or(|words| !words.contains("ledger"))
            );
            ground.nothing_upstream(name);
        }
    }
    let written = std::fs::read_to_string(ground.world.folder().join("audit.jsonl")).unwrap();
    assert!(
        written
            .lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
    recovers(&mut ground).await;
}

/// The words of the answer to an export of JSON in which nothing is known. Guarantees: unknown members are none of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_members_pass() {
    let mut ground = patient("").await;
    let mut document = Sample::traces("checkout", 1).json();
    document["lightkeeper.identity"] = json!("not an attribute");
    document["resourceSpans"][0]["lightkeeper.app"] = json!({ "key": "lightkeeper.app" });
    let answer = Via::Json
        .send(
            &caller(&ground),
            document.to_string().as_bytes(),
            Coding::Identity,
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let captured = ground.world.emulator.captured().remove(0);
    assert!(captured.contains(b"not an attribute"));
    recovers(&mut ground).await;
}
