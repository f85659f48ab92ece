//! Scenario: reports of old formats made to exhaust or to hide what must not pass, and strangers who make us read.
//! Guarantees: a final refusal in the format, soon, within the budget, with nothing upstream; strangers are read no
//! further than the limit, a few of one address at a time, and no other sender is refused for their failures.

use std::time::{Duration, Instant};

use http::Method;
use prost::Message as _;
use testkit::messages::ReportRequest;
use testkit::thrift::{Kind, Message, Thrift};
use testkit::{Emulator, Format, LegacySample, SampleCaller};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::exports::{SOON, caller, field, held_bytes, patient, recovers};
use super::ground::{self, Ground, eventually};
use super::wire;

async fn send(caller: &SampleCaller, format: Format, body: &[u8]) -> u32 {
    if format == Format::ReportsGrpc {
        return caller
            .grpc(format.path(), body)
            .await
            .unwrap()
            .grpc_status()
            .unwrap();
    }
    let kind = [("content-type", format.content_type())];
    u32::from(
        caller
            .send(Method::POST, format.path(), &kind, body.to_vec())
            .await
            .unwrap()
            .status,
    )
}

/// A `Report` call of these fields of its request, as bytes.
fn thrift(request: &[u8]) -> Vec<u8> {
    let fields = vec![(1, Thrift::Struct(vec![])), (2, Thrift::Struct(vec![]))];
    let call = Message {
        kind: Kind::Call,
        name: "Report".to_owned(),
        sequence: 0,
        fields,
    }
    .write();
    // The request's end and the arguments' are the last two bytes.
    [&call[..call.len() - 2], request, &[0, 0]].concat()
}

/// Bodies in each format that lie about lengths, nest without end, or say one thing a million times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_reports_are_answered_soon() {
    let mut ground = patient("").await;
    let many = 1_000_000;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let struct_bomb = thrift(&[12, 0, 9].repeat(many));
    let list_of =
        |kind: u8, count: u32| thrift(&[&[15, 0, 3, kind][..], &count.to_be_bytes()].concat());
    let lines = |document: &str, times: usize| {
        format!("{{\"create\":{{}}}}\n{document}\n")
            .repeat(times)
            .into_bytes()
    };
    let good = [200, 202, 0];
    let bad = [400, 3];
    let cases: Vec<(&str, Format, Vec<u8>, &[u32])> = vec![
        ("group bomb", Format::Reports, [0x4b].repeat(many), &bad),
        ("group bomb", Format::ReportsGrpc, [0x4b].repeat(many), &bad),
        ("group bomb", Format::Metrics, [0x4b].repeat(many), &bad),
        (
            "empty spans",
            Format::Reports,
            b"\x1a\0".repeat(many),
            &good,
        ),
        (
            "empty points",
            Format::Metrics,
            b"\x1a\0".repeat(many),
            &good,
        ),
        (
            "empty reporters",
            Format::Reports,
            b"\x0a\0".repeat(many),
            &good,
        ),
        (
            "empty auths",
            Format::Reports,
            b"\x12\0".repeat(many),
            &good,
        ),
        (
            "empty tags",
            Format::Reports,
            field(1, &b"\x22\0".repeat(many)),
            &good,
        ),
        (
            "length past the end",
            Format::Reports,
            b"\x1a\xff\xff\xff\xff\x07".to_vec(),
            &bad,
        ),
        (
            "deep",
            Format::ReportsJson,
            format!(r#"{{"x":{deep}}}"#).into_bytes(),
            &[200, 400],
        ),
        (
            "deep spans",
            Format::ReportsJson,
            format!(r#"{{"spans":{deep}}}"#).into_bytes(),
            &bad,
        ),
        (
            "empty spans",
            Format::ReportsJson,
            format!(r#"{{"spans":[{{}}{}]}}"#, ",{}".repeat(many)).into_bytes(),
            &good,
        ),
        (
            "deep runtime",
            Format::ThriftJson,
            format!(r#"{{"runtime":{deep}}}"#).into_bytes(),
            &bad,
        ),
        (
            "two runtimes",
            Format::ThriftJson,
            br#"{"runtime":{},"Runtime":{}}"#.to_vec(),
            &bad,
        ),
        ("struct bomb", Format::ThriftBinary, struct_bomb, &bad),
        (
            "list of two billion",
            Format::ThriftBinary,
            list_of(12, 0x7fff_ffff),
            &bad,
        ),
        (
            "list of minus one",
            Format::ThriftBinary,
            list_of(12, 0xffff_ffff),
            &bad,
        ),
        (
            "list of nothings",
            Format::ThriftBinary,
            list_of(1, 0x7fff_ffff),
            &bad,
        ),
        (
            "a reply",
            Format::ThriftBinary,
            b"\x80\x01\0\x02\0\0\0\x06Report\0\0\0\0\0".to_vec(),
            &bad,
        ),
        (
            "spans of nothing",
            Format::Zipkin,
            format!("[{{}}{}]", ",{}".repeat(many)).into_bytes(),
            &bad,
        ),
        ("deep", Format::Zipkin, deep.clone().into_bytes(), &bad),
        ("no lines", Format::Bulk, Vec::new(), &[200, 400]),
        ("newlines", Format::Bulk, b"\n".repeat(many), &bad),
        (
            "deep lines",
            Format::Bulk,
            lines(&format!(r#"{{"a":{deep}}}"#), 1),
            &[200, 400],
        ),
        (
            "deleting",
            Format::Bulk,
            b"{\"delete\":{\"_id\":\"1\"}}\n".to_vec(),
            &bad,
        ),
        (
            "deep records",
            Format::Firehose,
            format!(r#"{{"requestId":"a","records":{deep}}}"#).into_bytes(),
            &bad,
        ),
        (
            "empty records",
            Format::Firehose,
            format!(
                r#"{{"requestId":"a","records":[{{}}{}]}}"#,
                ",{}".repeat(many)
            )
            .into_bytes(),
            &[200, 400],
        ),
    ];
    let mut faults = Vec::new();
    for (name, format, body, statuses) in cases {
        let began = Instant::now();
        let status = send(&caller(&ground), format, &body).await;
        let took = began.elapsed();
        if !statuses.contains(&status) || took > SOON / 2 {
            faults.push(format!("{format:?} {name}: {status} after {took:?}"));
        }
        if statuses == bad && ground.world.emulator.heads() > 0 {
            faults.push(format!("{format:?} {name}: something went upstream"));
        }
        ground.world.emulator.clear();
    }
    ground::none(&faults);
    recovers(&mut ground).await;
}

/// Small items that each get a stamp, and a token. Guarantees: what they become is asked of the budget before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_report_becomes_is_within_the_budget() {
    let limits = "body: 8MiB, decompressed_body: 8MiB, response: 8MiB, buffered_total: 32MiB";
    let mut ground = patient(limits).await;
    let spans = format!(
        r#"[{0}{1}]"#,
        r#"{"id":"1","traceId":"1"}"#,
        r#",{"id":"1","traceId":"1"}"#.repeat(200_000)
    );
    let lines = b"{\"create\":{}}\n{}\n".repeat(300_000);
    use base64::Engine as _;
    let groups = [&[0x80, 0x80, 0x10][..], &b"\x0a\0".repeat(1 << 17)].concat();
    let data = base64::engine::general_purpose::STANDARD.encode(groups);
    let metrics = format!(r#"{{"requestId":"a","records":[{{"data":"{data}"}}]}}"#);
    for (format, body) in [
        (Format::Zipkin, spans.as_bytes()),
        (Format::Bulk, &lines[..]),
        (Format::Firehose, metrics.as_bytes()),
    ] {
        assert_eq!(
            send(&caller(&ground), format, body).await,
            429,
            "{format:?}"
        );
        let record = ground.calls(1).await.remove(0);
        assert_eq!(
            record["reason"], "memory_share_spent",
            "{format:?}: {record}"
        );
        ground.nothing_upstream("too large once stamped");
        eventually("all memory given back", SOON, || held_bytes(&ground) == 0).await;
    }
    recovers(&mut ground).await;
}

/// Tokens and stamps where only some readers look: second copies, names in other cases, escapes, two names for one tag.
/// Guarantees: none of it arrives, or the report is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_hides_in_a_report() {
    let mut ground = patient("").await;
    let hidden = "lk_hidden-token-that-must-not-pass";
    let auth = |token: &str| field(2, &field(1, token.as_bytes()));
    let pair =
        |key: &str, value: &str| [field(1, key.as_bytes()), field(2, value.as_bytes())].concat();
    let two_names = |one: &str, other: &str| {
        [
            field(1, one.as_bytes()),
            field(1, other.as_bytes()),
            field(2, b"forged"),
        ]
        .concat()
    };
    let span = |tag: &[u8]| field(3, &field(6, tag));
    let zipkin = |tags: &str| format!(r#"[{{"id":"1","traceId":"1","tags":{tags}}}]"#).into_bytes();
    let line = |members: &str| format!("{{\"index\":{{}}}}\n{{{members}}}\n").into_bytes();
    let cases: Vec<(&str, Format, Vec<u8>)> = vec![
        ("two auths", Format::Reports, [auth("empty"), auth(hidden)].concat()),
        ("two tokens", Format::Reports, field(2, &[field(1, b"empty"), field(1, hidden.as_bytes())].concat())),
        ("two names", Format::Reports, span(&two_names("lightstep.component_name", "lightkeeper.identity"))),
        ("two names", Format::Reports, span(&two_names("lightkeeper.identity", "lightstep.component_name"))),
        ("a hidden carrier", Format::Reports, span(&[field(1, b"a"), pair("access_token", hidden)].concat())),
        ("in a log", Format::Reports, field(3, &field(7, &field(2, &pair("lightkeeper.app", "forged"))))),
        ("in a second reporter", Format::Reports, [field(1, b""), field(1, &field(4, &pair("lightkeeper.app", "forged")))].concat()),
        ("labels", Format::Metrics, field(3, &field(5, &pair("access_token", hidden)))),
        ("another case", Format::ReportsJson, format!(r#"{{"Auth":{{"Access_Token":"{hidden}"}}}}"#).into_bytes()),
        ("an escape", Format::ReportsJson, format!(r#"{{"\u0061uth":{{"access\u0054oken":"{hidden}"}}}}"#).into_bytes()),
        ("a long s", Format::ReportsJson, format!(r#"{{"auth":{{"acce\u017f\u017fToken":"{hidden}"}}}}"#).into_bytes()),
        (
            "an escaped tag",
            Format::ReportsJson,
            br#"{"reporter":{"tags":[{"key":"lightkeeper\u002eidentity","stringValue":"forged"}]}}"#.to_vec(),
        ),
        (
            "a tag of a span's log",
            Format::ThriftJson,
            br#"{"span_records":[{"span_guid":"1","log_records":[{"fields":[{"Key":"lightkeeper.app","Value":"forged"}]}]}]}"#.to_vec(),
        ),
        ("a token in v0", Format::ThriftJson, format!(r#"{{"AUTH":{{"access_token":"{hidden}"}}}}"#).into_bytes()),
        ("an escaped tag", Format::Zipkin, zipkin(r#"{"\u006cightkeeper.identity":"forged"}"#)),
        ("two carriers", Format::Zipkin, zipkin(&format!(r#"{{"access_token":"empty","lightstep.access_token":"{hidden}"}}"#))),
        ("a member", Format::Bulk, line(r#""lightkeeper.identity":"forged""#)),
        ("an escaped member", Format::Bulk, line(r#""lightkeeper\u002eidentity":"forged""#)),
        ("a nested member", Format::Bulk, line(r#""lightkeeper":{"identity":"forged"}"#)),
        ("a list of members", Format::Bulk, line(r#""lightkeeper":[{"identity":"forged"}]"#)),
    ];
    for (name, format, body) in cases {
        ground.world.emulator.clear();
        let status = send(&caller(&ground), format, &body).await;
        let record = ground.calls(1).await.remove(0);
        let what = format!("{format:?} {name}: {status} {}", record["reason"]);
        let captured = ground.world.emulator.captured();
        for needle in [&b"forged"[..], hidden.as_bytes(), b"empty"] {
            assert!(
                captured.iter().all(|captured| !captured.contains(needle)),
                "{what}"
            );
        }
        let refused = ["conflicting_credentials", "body_malformed"]
            .contains(&record["reason"].as_str().unwrap());
        assert!(refused != (record["reason"] == "ok"), "{what}");
        assert_eq!(refused, captured.is_empty(), "{what}");
    }
    recovers(&mut ground).await;
}

/// The head of a report whose sender is not known.
fn stranger(format: Format, more: &str) -> String {
    format!(
        "POST {} HTTP/1.1\r\nHost: gw\r\nContent-Type: {}\r\nConnection: close\r\n{more}\r\n",
        format.path(),
        format.content_type()
    )
}

async fn bytes_in(ground: &mut Ground) -> (u64, String) {
    let record = ground.calls(1).await.remove(0);
    (
        record["bytes_in"].as_u64().unwrap(),
        record["reason"].as_str().unwrap().to_owned(),
    )
}

/// Strangers whose token can stand in the body alone, who announce much, or send without end. Guarantees: read no
/// further than the limit; a caller whose head shows bad evidence, or that the body could not identify, is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_read_no_further_than_the_limit() {
    let mut ground = patient("body: 64KiB, body_timeout: 2s").await;
    let by_body = [
        Format::Reports,
        Format::ReportsJson,
        Format::ThriftJson,
        Format::ThriftBinary,
        Format::Zipkin,
    ];
    for format in by_body {
        // Announced as too long: the head alone.
        let head = stranger(format, "Content-Length: 65537\r\nExpect: 100-continue\r\n");
        let talk = wire::talk(ground.plain(), head.as_bytes()).await;
        assert!(
            talk.bytes.starts_with(b"HTTP/1.1 413 "),
            "{format:?}: {talk:?}"
        );
        assert_eq!(
            bytes_in(&mut ground).await,
            (0, "body_too_large".to_owned()),
            "{format:?}"
        );
        // Not announced: up to the limit, and a piece.
        let mut stream = TcpStream::connect(ground.plain()).await.unwrap();
        stream
            .write_all(stranger(format, "Transfer-Encoding: chunked\r\n").as_bytes())
            .await
            .unwrap();
        let chunk = [&b"2000\r\n"[..], &b" ".repeat(0x2000), b"\r\n"].concat();
        let mut most = 0;
        for _ in 0..1000 {
            most = most.max(held_bytes(&ground));
            if stream.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let (bytes, reason) = bytes_in(&mut ground).await;
        assert_eq!(reason, "body_too_large", "{format:?}");
        assert!(
            bytes <= 128 << 10 && most <= 64 << 10,
            "{format:?}: {bytes} read, {most} held"
        );
        // As long as may be: asked for, read, and refused for what it lacks.
        let body = LegacySample::of(Format::ReportsJson, "checkout", 1).body();
        let framed = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
        let head = stranger(format, &framed);
        assert!(
            wire::first_bytes(ground.plain(), head.as_bytes(), 12)
                .await
                .starts_with("HTTP/1.1 100"),
            "{format:?}"
        );
        ground.calls(1).await;
    }
    // Not identified by its head: 401 and no word to go on.
    let length = "Content-Length: 5000\r\nExpect: 100-continue\r\n";
    for format in Format::ALL
        .into_iter()
        .filter(|format| *format != Format::ReportsGrpc)
    {
        for evidence in [
            "Authorization: Bearer nonsense\r\n",
            "Lightstep-Access-Token: lk_unknown\r\n",
        ] {
            let head = stranger(format, &format!("{evidence}{length}"));
            assert!(
                wire::first_bytes(ground.plain(), head.as_bytes(), 12)
                    .await
                    .starts_with("HTTP/1.1 401"),
                "{format:?}"
            );
            assert_eq!(bytes_in(&mut ground).await.0, 0, "{format:?}");
        }
        if !by_body.contains(&format) {
            let head = stranger(format, length);
            assert!(
                wire::first_bytes(ground.plain(), head.as_bytes(), 12)
                    .await
                    .starts_with("HTTP/1.1 401"),
                "{format:?}"
            );
            assert_eq!(
                bytes_in(&mut ground).await,
                (0, "no_credential".to_owned()),
                "{format:?}"
            );
        }
    }
    recovers(&mut ground).await;
}

/// A stranger who stops in the middle of its body, and one who goes. Guarantees: told in time, nothing upstream, nothing
/// held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_report_goes_nowhere() {
    let mut ground = patient("body: 64KiB, body_timeout: 600ms").await;
    let body = ReportRequest::default().encode_to_vec();
    for format in [
        Format::Reports,
        Format::ThriftBinary,
        Format::Zipkin,
        Format::Bulk,
    ] {
        let evidence = if format == Format::Bulk {
            format!("Authorization: Bearer {}\r\n", ground.exporter)
        } else {
            String::new()
        };
        for framing in ["Content-Length: 5000\r\n", "Transfer-Encoding: chunked\r\n"] {
            let chunk = if framing.starts_with('T') {
                "1388\r\n"
            } else {
                ""
            };
            let head = stranger(format, &format!("{evidence}{framing}"));
            let begun = [head.as_bytes(), chunk.as_bytes(), &body, b"half"].concat();
            let mut waits = TcpStream::connect(ground.plain()).await.unwrap();
            waits.write_all(&begun).await.unwrap();
            let mut answer = Vec::new();
            let told =
                tokio::time::timeout(Duration::from_secs(10), waits.read_to_end(&mut answer)).await;
            assert!(
                told.is_ok() && answer.starts_with(b"HTTP/1.1 408 "),
                "{format:?} {framing}"
            );
            assert_eq!(
                bytes_in(&mut ground).await.1,
                "body_timeout",
                "{format:?} {framing}"
            );
            let mut goes = TcpStream::connect(ground.plain()).await.unwrap();
            goes.write_all(&begun).await.unwrap();
            drop(goes);
            assert_ne!(bytes_in(&mut ground).await.1, "ok", "{format:?} {framing}");
        }
    }
    ground.nothing_upstream("half a report");
    recovers(&mut ground).await;
}

/// Strangers of one address who fail again and again, and senders behind the same address whose token stands in their
/// reports' bodies. Guarantees: the strangers are refused for what they are each time; the others are taken, each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_behind_an_address_are_not_refused_for_its_failures() {
    let mut ground = Ground::new().await;
    let caller = || ground.world.plain_caller();
    let mut strangers = Vec::new();
    for number in 0..100 {
        let sample = LegacySample::of(Format::Zipkin, "checkout", 1).token("nobodys-token");
        strangers.push(caller().report(&sample).await.unwrap().status);
        if number >= 64 && number % 9 == 0 {
            for format in [
                Format::Reports,
                Format::ReportsJson,
                Format::ThriftJson,
                Format::Zipkin,
            ] {
                let sample = LegacySample::of(format, "checkout", 1).token(&ground.exporter);
                let answer = caller().report(&sample).await.unwrap();
                assert!(
                    [200, 202].contains(&answer.status),
                    "{format:?} after {number}: {}",
                    answer.text()
                );
            }
        }
    }
    assert!(
        strangers.iter().all(|status| *status == 401),
        "{strangers:?}"
    );
    assert_eq!(
        ground.world.emulator.captured().len(),
        4 * 4,
        "after 72, 81, 90 and 99"
    );
    ground.calls(strangers.len() + 4 * 4).await;
    let known = ground.world.plain_caller().access_token(&ground.exporter);
    for format in [Format::Reports, Format::Zipkin, Format::Bulk] {
        let answer = known
            .report(&LegacySample::of(format, "checkout", 1))
            .await
            .unwrap();
        assert!(
            [200, 202].contains(&answer.status),
            "{format:?}: {}",
            answer.text()
        );
    }
    assert!(ground.world.emulator.captured().iter().all(|captured| {
        captured.project.as_deref() == Some("checkout-prod")
            && !captured.contains(ground.exporter.as_bytes())
            && captured.header("lightstep-access-token")
                == [Emulator::access_token("checkout-prod")]
    }));
}
