//! Backends that say in their own words that they have an export, and others that answer in their place: what the exporter
//! and the record are told, in every lane. What it refuses to know: how words are read (the unit tests of `export::success` do).

use lightkeeper::otlp::Encoding;
use testkit::{
    Answer, Emulator, Endpoints, Fault, Format, LegacySample, Sample, SampleCaller, World,
};

use super::exports::{frontend, record_of};
use super::stage;

const WAYS: [Encoding; 2] = [Encoding::Protobuf, Encoding::Json];

fn say(status: u16, content_type: &'static str, body: &str) -> Fault {
    Fault::Say {
        status,
        content_type,
        body: body.to_owned(),
    }
}

/// What a backend may say, and how many of a part's items it rejects by that.
fn words() -> Vec<(Fault, u64)> {
    let some = r#"{"partialSuccess":{"rejectedSpans":"1"}}"#;
    vec![
        (say(200, "text/plain", "OK"), 0),
        (say(200, "application/json", "\"OK\""), 0),
        (say(200, "application/json", r#"{"ok":true}"#), 0),
        (say(200, "application/json", ""), 0),
        (say(200, "application/x-protobuf", "OK"), 0),
        (say(200, "application/json", some), 1),
        (say(202, "application/json", some), 1),
        (say(202, "text/plain", "queued"), 0),
        (say(204, "text/plain", ""), 0),
        (say(299, "application/octet-stream", "?"), 0),
        (Fault::Garbage, 0),
        (Fault::Huge(5 << 20), 0),
        (Fault::CloseAfterHead, 0),
        (
            Fault::SayWith {
                status: 200,
                headers: vec![("content-encoding", "br".to_owned())],
                body: "x".to_owned(),
            },
            0,
        ),
    ]
}

/// 200, and an answer that an exporter of this encoding reads: its rejected items.
fn read(answer: &Answer, encoding: Encoding) -> Result<u64, String> {
    let kind = answer.header("content-type").unwrap_or_default();
    if answer.status != 200
        || kind != encoding.media_type()
        || answer.header("content-encoding").is_some()
    {
        return Err(format!("{} {kind}", answer.status));
    }
    if encoding == Encoding::Json && answer.body.is_empty() {
        return Err("empty, which is no JSON".to_owned());
    }
    let said =
        lightkeeper::otlp::read_answer(lightkeeper::otlp::Signal::Traces, encoding, &answer.body);
    Ok(said
        .map_err(|fault| fault.to_string())?
        .map_or(0, |said| said.rejected))
}

/// Scenario: exports of one project and of two, and such as pass untouched, to backends that say success in words of
/// their own. Guarantees: the exporter is told 200 in its own encoding, so that it does not send again; all items count as
/// accepted but those that a readable answer rejects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_success_of_the_backend_is_one() {
    let read_lane = stage::start(stage::plan(&[])).await;
    let untouched = stage::start(stage::streamed(stage::plan(&[]))).await;
    let mut faults = Vec::new();
    for (words, rejected) in words() {
        for encoding in WAYS {
            for parts in [1, 2] {
                let sample = Sample::traces("checkout", 3);
                let sample = if parts == 1 {
                    sample
                } else {
                    sample.and("payments", 2)
                };
                read_lane.emulator.fail(Endpoints::All, words.clone());
                let answer = frontend(&read_lane)
                    .export(&sample, encoding)
                    .await
                    .unwrap();
                let record = record_of(&read_lane, &answer).await;
                let all = if parts == 1 { 3 } else { 5 };
                let items = serde_json::json!({ "accepted": all - parts * rejected, "rejected": parts * rejected });
                let found = read(&answer, encoding);
                if found != Ok(parts * rejected)
                    || record["items"] != items
                    || record["reason"] != "ok"
                {
                    faults.push(format!(
                        "{words:?} {encoding:?} {parts}: {found:?} {record}"
                    ));
                }
            }
            untouched.emulator.fail(Endpoints::All, words.clone());
            let caller = untouched
                .plain_caller()
                .bearer(&untouched.issuer.token("checkout-collector"));
            let answer = caller
                .export(&Sample::traces("checkout", 3), encoding)
                .await
                .unwrap();
            let record = record_of(&untouched, &answer).await;
            let found = read(&answer, encoding);
            let counted = record["items"]["rejected"].as_u64().unwrap_or(0);
            if found != Ok(rejected) || counted != rejected || record["reason"] != "ok" {
                faults.push(format!(
                    "{words:?} {encoding:?} untouched: {found:?} {record}"
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Scenario: the same words to reports of every older format. Guarantees: the client is told a success in its own format.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_success_to_a_report_is_one() {
    let world = stage::start(stage::plan(&[])).await;
    let mut faults = Vec::new();
    for format in Format::ALL {
        let mut answered = Vec::new();
        for (words, _) in words() {
            world.emulator.fail(Endpoints::All, words.clone());
            let caller = world
                .plain_caller()
                .bearer(&world.issuer.token("checkout-collector"));
            let answer = caller
                .report(&LegacySample::of(format, "checkout", 2))
                .await
                .unwrap();
            // Over gRPC no status has come.
            if format == Format::ReportsGrpc {
                continue;
            }
            let record = record_of(&world, &answer).await;
            let is_whole = (200..300).contains(&answer.status) && answer.status != 204;
            if !is_whole || record["items"]["accepted"] != 2 {
                faults.push(format!(
                    "{format:?} {words:?}: {} {} {record}",
                    answer.status,
                    answer.text()
                ));
            }
            answered.push(answer.text());
        }
        // What says nothing of the format's own is answered alike.
        let is_plain = |format| matches!(format, Format::Metrics | Format::Zipkin);
        if !is_plain(format)
            && answered
                .iter()
                .any(|text| text.contains("OK") || text.contains("queued"))
        {
            faults.push(format!("{format:?}: {answered:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Scenario: a backend that says success of a large export of which it has read nothing. Guarantees: the exporter is told to
/// come again, and nothing counts as accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_before_all_was_sent_is_none() {
    let world = stage::start(stage::plan(&[])).await;
    world
        .emulator
        .fail(Endpoints::All, Fault::EarlyStatus { status: 200 });
    // More than buffers and windows between us and the backend hold.
    let large = Sample::traces("checkout", 50_000);
    let answers = [
        frontend(&world).export(&large, Encoding::Json).await,
        frontend(&world).export_grpc(&large).await,
    ];
    for answer in answers {
        let answer = answer.unwrap();
        let record = record_of(&world, &answer).await;
        let found = answer
            .grpc_status()
            .map_or(answer.status, |code| u16::try_from(code).unwrap());
        assert!(matches!(found, 502 | 14), "{found} {record}");
        assert_eq!(
            (&record["items"]["accepted"], &record["decision"]),
            (&0.into(), &"allow".into()),
            "{record}"
        );
    }
}

/// Sends one export in each way; the statuses that come.
async fn statuses(caller: &SampleCaller) -> Vec<(u16, Option<u32>)> {
    let sample = Sample::traces("checkout", 3);
    let mut found = Vec::new();
    for encoding in WAYS {
        found.push((caller.export(&sample, encoding).await.unwrap().status, None));
    }
    let answer = caller.export_grpc(&sample).await.unwrap();
    found.push((answer.status, answer.grpc_status()));
    found
}

/// Scenario: a page with a success in the backend's place, as portals and login proxies send them. Guarantees: the
/// exporter is told to come again, and operators are told: record, event and metric; nothing of the page comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_no_success() {
    for plan in [stage::plan(&[]), stage::streamed(stage::plan(&[]))] {
        let world: World = stage::start(plan).await;
        let caller = world
            .plain_caller()
            .bearer(&world.issuer.token("checkout-collector"));
        let token = Emulator::access_token("checkout-prod");
        world.emulator.fail(
            Endpoints::All,
            say(200, "Text/HTML; charset=utf-8", &format!("<p>{token}</p>")),
        );
        assert_eq!(
            statuses(&caller).await,
            [(502, None), (502, None), (200, Some(14))]
        );
        let event = stage::event(&world, "upstream_page").await;
        assert_eq!(
            (&event["reason"], event["detail"].is_string()),
            (&"upstream_page".into(), true),
            "{event}"
        );
        let calls = |records: &[serde_json::Value]| {
            let calls = records.iter().filter(|record| record["event"] == "call");
            calls
                .map(|record| (record["reason"].clone(), record["upstream_status"].clone()))
                .collect::<Vec<_>>()
        };
        let records = stage::eventually("three calls", || async {
            let records = world.records();
            (calls(&records).len() == 3).then_some(records)
        })
        .await;
        let events = records
            .iter()
            .filter(|record| record["event"] == "upstream_page")
            .count();
        assert_eq!(
            events, 1,
            "one cause raises one event a minute: {records:?}"
        );
        assert!(
            calls(&records)
                .iter()
                .all(|call| *call == ("upstream_page".into(), 200.into())),
            "{records:?}"
        );
        assert!(!serde_json::to_string(&records).unwrap().contains("<p>"));
        stage::counts(
            &world,
            r#"lightkeeper_upstream_pages_total{upstream="ingest"}"#,
            3.0,
        )
        .await;
        world.emulator.heal();
        assert_eq!(
            statuses(&caller).await,
            [(200, None), (200, None), (200, Some(0))]
        );
    }
}

/// Scenario: what is between us and the backend answers instead of it, with pages and in other words, in both lanes.
/// Guarantees: the exporter is told to come again; what the backend itself says of an export passes as ever, and so does
/// what means the same from every sender.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_speak_of_the_export_is_not_final() {
    let (html, json) = ("text/html", "application/json");
    let (page, unusable) = ("upstream_page", "upstream_answer_unusable");
    // Status and media type; what the exporter is told over HTTP, and over gRPC; the record's reason over HTTP.
    let mut cases = Vec::new();
    cases.extend(
        [
            200, 302, 400, 404, 405, 407, 408, 421, 500, 501, 505, 511, 520, 599,
        ]
        .map(|s| (s, html, 502, 14, page)),
    );
    cases.extend(
        [404, 405, 407, 408, 421, 425, 511].map(|status| (status, json, 502, 14, unusable)),
    );
    cases.extend(
        [400, 406, 410, 415, 422, 500, 501, 507].map(|status| (status, json, status, 14, "ok")),
    );
    cases.extend([413, 502, 503].map(|status| (status, html, status, 14, "ok")));
    cases.extend([(429, html, 429, 8, "ok"), (504, html, 504, 4, "ok")]);
    let sample = Sample::traces("checkout", 3);
    let mut faults = Vec::new();
    for plan in [stage::plan(&[]), stage::streamed(stage::plan(&[]))] {
        let world: World = stage::start(plan).await;
        let caller = world
            .plain_caller()
            .bearer(&world.issuer.token("checkout-collector"));
        for (status, kind, http, grpc, reason) in &cases {
            world
                .emulator
                .fail(Endpoints::All, say(*status, kind, "{}"));
            let answer = caller.export(&sample, Encoding::Json).await.unwrap();
            let record = record_of(&world, &answer).await;
            let over_grpc = caller.export_grpc(&sample).await.unwrap().grpc_status();
            let is_accepted = record["items"]["accepted"].as_u64().unwrap_or(0) > 0;
            if (answer.status, &record["reason"], over_grpc)
                != (*http, &(*reason).into(), Some(*grpc))
                || is_accepted
            {
                faults.push(format!(
                    "{status} {kind}: {} {over_grpc:?} {record}",
                    answer.status
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Scenario: a backend that sends exporters and readers away for ages, or says when in no number. Guarantees: in every lane
/// they are told a number of seconds within bounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_is_sent_away_for_ages() {
    let read_lane = stage::start(stage::plan(&[])).await;
    let untouched = stage::start(stage::streamed(stage::plan(&[]))).await;
    let sample = Sample::traces("checkout", 1);
    for (told, expected) in [
        ("7", "7"),
        ("99999999999", "3600"),
        ("<script>", "5"),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "5"),
    ] {
        for status in [429, 503] {
            for world in [&read_lane, &untouched] {
                let headers = vec![("retry-after", told.to_owned())];
                world.emulator.fail(
                    Endpoints::All,
                    Fault::SayWith {
                        status,
                        headers,
                        body: "{}".to_owned(),
                    },
                );
                let caller = world
                    .plain_caller()
                    .bearer(&world.issuer.token("checkout-collector"));
                let ann = world.plain_caller().bearer(&world.issuer.token("ann"));
                for answer in [
                    caller.export(&sample, Encoding::Protobuf).await.unwrap(),
                    ann.get("/public/v0.2/acme/projects").await.unwrap(),
                ] {
                    let found = (answer.status, answer.header("retry-after"));
                    assert_eq!(
                        found,
                        (status, Some(expected.to_owned())),
                        "{told}: {}",
                        answer.text()
                    );
                }
            }
        }
    }
}
