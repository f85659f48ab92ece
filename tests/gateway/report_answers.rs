//! Reports that are not taken: who is refused and why, and that each client is told so in the one way that makes it
//! behave (a final refusal parses as the format's answer, one to be tried again does not). What it refuses to know: how
//! answers are written; the emulator's messages judge them.

use std::time::Duration;

use http::Method;
use prost::Message as _;
use testkit::thrift::{Kind, Message, all};
use testkit::{
    Answer, Carrier, Emulator, Endpoints, Fault, Format, Leaf, LegacySample, SampleCaller, World,
};

use super::reports::{code, good, of, places, plan, record_of, send};
use super::stage::{self, eventually};

/// Whether the format's client takes this for the last word on its report; says why not.
fn is_final(format: Format, answer: &Answer) -> Result<(), String> {
    let told = match format {
        Format::Reports => answer
            .report_response()
            .is_some_and(|response| !response.errors.is_empty()),
        Format::ReportsGrpc => {
            let again = [1, 4, 10, 11, 14, 15].contains(&code(answer));
            !again
                && !answer.headers.contains_key("grpc-status-details-bin")
                && answer.body.is_empty()
        }
        Format::ReportsJson | Format::ThriftJson => answer
            .json()
            .is_some_and(|answer| answer["errors"][0].is_string()),
        Format::ThriftBinary => thrift(answer).is_some_and(|message| {
            let result = all(&message.fields, 0)
                .next()
                .and_then(|result| result.as_fields());
            let errors = result.and_then(|result| all(result, 3).next()?.as_list());
            message.kind == Kind::Reply && errors.is_some_and(|errors| !errors.is_empty())
        }),
        Format::Metrics | Format::Zipkin => !answer.body.is_empty(),
        Format::Bulk => {
            let told = answer.json().unwrap_or_default();
            told["errors"] == true
                && told["error"]["type"] == "refused"
                && told["status"] == answer.status
        }
        Format::Firehose => answer.json().is_some_and(|answer| {
            answer["errorMessage"].is_string()
                && !answer["requestId"].as_str().unwrap_or_default().is_empty()
        }),
    };
    let hint = answer.header("retry-after");
    if told && hint.is_none() {
        Ok(())
    } else {
        Err(format!("no final refusal ({hint:?}): {}", answer.text()))
    }
}

/// Whether the format's client keeps its report and comes again.
fn is_temporary(format: Format, answer: &Answer) -> Result<(), String> {
    let kept = match format {
        // Python's tracer looks at no status: it keeps its spans if there is a body that is no report's answer.
        Format::Reports | Format::ReportsJson => {
            let body = &answer.body[..];
            !body.is_empty()
                && testkit::messages::ReportResponse::decode(body).is_err()
                && serde_json::from_slice::<serde_json::Value>(body).is_err()
        }
        Format::ReportsGrpc => {
            let with_hint = answer.headers.contains_key("grpc-status-details-bin");
            [4, 14].contains(&code(answer)) || (code(answer) == 8 && with_hint)
        }
        Format::ThriftBinary => {
            thrift(answer).is_some_and(|message| message.kind == Kind::Exception)
        }
        Format::Bulk => answer
            .json()
            .is_some_and(|answer| answer["error"]["type"] == "unavailable"),
        _ => !answer.body.is_empty(),
    };
    let hinted = answer.header("retry-after").is_some() || format == Format::ReportsGrpc;
    if kept && hinted {
        Ok(())
    } else {
        Err(format!("no temporary refusal: {}", answer.text()))
    }
}

fn thrift(answer: &Answer) -> Option<Message> {
    Message::read(&answer.body)
}

/// The demonstration's world in which many failures are forgiven, a token in it, and callers.
async fn patient() -> (World, String) {
    let (mut plan, token) = plan();
    plan.more = "limits: { penalty: off }".to_owned();
    (stage::start(plan).await, token)
}

/// Says no for this reason, for good, and sends nothing on.
async fn refused_for_good(
    world: &World,
    what: &str,
    format: Format,
    answer: &Answer,
    status: (u32, u32),
    why: &str,
) {
    assert_eq!(
        code(answer),
        of(format, status),
        "{what}: {}",
        answer.text()
    );
    is_final(format, answer).unwrap_or_else(|fault| panic!("{what}: {fault}"));
    let record = record_of(world, answer).await;
    assert_eq!(
        (&record["reason"], &record["decision"]),
        (&why.into(), &"deny".into()),
        "{what}"
    );
    assert_eq!(world.emulator.heads(), 0, "{what}");
}

/// Scenario: no token, or one that proves nothing, in every place of every format.
/// Guarantees: 401 in the words of the format, nothing upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_good_token_nothing_is_taken() {
    let (world, _) = patient().await;
    let stranger = lightkeeper::identify::NewClientToken::make().unwrap();
    let cases = [
        (stranger.expose(), "client_token_unknown"),
        ("developer", "no_credential"),
        ("empty", "no_credential"),
        ("", "no_credential"),
    ];
    for format in Format::ALL {
        let blank = LegacySample::of(format, "checkout", 1);
        let answer = world.plain_caller().report(&blank).await.unwrap();
        refused_for_good(
            &world,
            &format!("{format:?} none"),
            format,
            &answer,
            (401, 16),
            "no_credential",
        )
        .await;
        for place in places(format) {
            for (token, reason) in cases {
                let what = format!("{format:?} {place:?} `{token}`");
                let sample = blank.clone().carrying(place, token);
                let answer = world.plain_caller().report(&sample).await.unwrap();
                refused_for_good(&world, &what, format, &answer, (401, 16), reason).await;
            }
        }
    }
}

/// Scenario: tokens that differ between head, body and tags; a token beside a client certificate.
/// Guarantees: two that could both be evidence are refused, not chosen from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tokens_are_a_refusal() {
    let (world, fixed) = patient().await;
    let (one, other) = (
        world.issuer.token("checkout-collector"),
        world.issuer.token("shop-frontend"),
    );
    let certificate = Leaf::read(&world.folder().join("certs"), "collector").unwrap();
    let unknown = "lk_c2FtcGxlLXRva2VuLW9mLXRoZS1nb2xkZW4tY2FzZXM";
    for format in Format::ALL {
        let places = places(format);
        let inside = places
            .iter()
            .filter(|place| matches!(place, Carrier::Body | Carrier::Tag));
        for place in inside {
            let blank = LegacySample::of(format, "checkout", 1);
            for (head, body) in [
                (&one, &other),
                (&one, &fixed),
                (&fixed, &one),
                (&one, &unknown.to_owned()),
            ] {
                let what = format!("{format:?} {place:?}");
                let in_body = blank.clone().carrying(*place, body);
                for caller in [
                    world.plain_caller().bearer(head),
                    world.plain_caller().access_token(head),
                    world.caller().certificate(&certificate),
                ] {
                    let answer = caller.report(&in_body).await.unwrap();
                    refused_for_good(
                        &world,
                        &what,
                        format,
                        &answer,
                        (400, 3),
                        "conflicting_credentials",
                    )
                    .await;
                }
                let twice = blank
                    .clone()
                    .carrying(Carrier::Tag, head)
                    .carrying(Carrier::Tag, body);
                let answer = world.plain_caller().report(&twice).await.unwrap();
                refused_for_good(
                    &world,
                    &what,
                    format,
                    &answer,
                    (400, 3),
                    "conflicting_credentials",
                )
                .await;
            }
        }
        for caller in [
            world.plain_caller().bearer(&one).access_token(&other),
            world.plain_caller().access_token(&one).access_token(&other),
            world.plain_caller().bearer(&one).bearer(&other),
        ] {
            let answer = caller
                .report(&LegacySample::of(format, "checkout", 1))
                .await
                .unwrap();
            refused_for_good(
                &world,
                &format!("{format:?}"),
                format,
                &answer,
                (400, 3),
                "conflicting_credentials",
            )
            .await;
        }
    }
}

/// Scenario: clients that must send something where a token stands, beside real evidence elsewhere.
/// Guarantees: what only fills the place neither counts nor arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn placeholders_do_not_count_beside_evidence() {
    let (world, fixed) = patient().await;
    let certificate = Leaf::read(&world.folder().join("certs"), "collector").unwrap();
    for format in Format::ALL {
        for place in places(format) {
            for filler in ["empty", "developer", "an-old-access-token-5f1d"] {
                let blank = LegacySample::of(format, "checkout", 1).carrying(place, filler);
                // Of two tokens in one body, none counts more.
                let inside = |place: Carrier| matches!(place, Carrier::Body | Carrier::Tag);
                let elsewhere = places(format).into_iter().filter(|other| *other != place);
                let elsewhere = elsewhere.filter(|other| !inside(place) || !inside(*other));
                let beside: Vec<LegacySample> = elsewhere
                    .map(|other| blank.clone().carrying(other, &fixed))
                    .collect();
                let mut calls: Vec<(SampleCaller, LegacySample)> = beside
                    .into_iter()
                    .map(|sample| (world.plain_caller(), sample))
                    .collect();
                calls.push((world.caller().certificate(&certificate), blank.clone()));
                if place != Carrier::Basic {
                    calls.push((world.plain_caller().bearer(&fixed), blank));
                }
                for (caller, sample) in calls {
                    world.emulator.clear();
                    let what = format!("{format:?} {place:?} {filler} {:?}", sample.headers());
                    let answer = caller.report(&sample).await.unwrap();
                    assert_eq!(code(&answer), good(format), "{what}: {}", answer.text());
                    let captured = world.emulator.captured().remove(0);
                    assert!(
                        !captured.contains(filler.as_bytes())
                            && !captured.contains(fixed.as_bytes()),
                        "{what}"
                    );
                }
            }
        }
    }
}

/// Scenario: a service that the caller may not write as, one in two minds, an app that the caller does not reach.
/// Guarantees: refused for good, for all callers alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_services_are_refused() {
    let (world, token) = patient().await;
    for format in Format::ALL {
        for service in ["payments", "ledger-eu", "frontend", "dns"] {
            let answer = world
                .plain_caller()
                .report(&LegacySample::of(format, service, 2).token(&token))
                .await
                .unwrap();
            refused_for_good(
                &world,
                &format!("{format:?} {service}"),
                format,
                &answer,
                (403, 7),
                "service_foreign",
            )
            .await;
        }
        for (app, reason) in [
            ("shop/payments", "not_permitted"),
            ("nowhere", "app_unknown"),
            ("platform", "not_permitted"),
        ] {
            let what = format!("{format:?} {app}");
            let path = format!("/apps/{app}/-{}", format.path());
            let sample = LegacySample::of(format, "checkout", 2).token(&token);
            let answer = send(&world.plain_caller(), &path, &sample).await;
            refused_for_good(&world, &what, format, &answer, (403, 7), reason).await;
        }
    }
}

/// Scenario: bodies that are cut, or are no report, from callers known by their head and by nothing.
/// Guarantees: 400 that ends it, the place in the body told to the operator alone, nothing upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_refused_for_good() {
    let (world, token) = patient().await;
    for format in Format::ALL {
        let whole = LegacySample::of(format, "checkout", 3).token(&token).body();
        let cut = whole[..whole.len() - 3].to_vec();
        let half = whole[..whole.len() / 2].to_vec();
        let kind = [
            ("content-type", format.content_type()),
            ("x-amz-firehose-request-id", "one"),
        ];
        let known = world.plain_caller().bearer(&token);
        let strangers = places(format).contains(&Carrier::Body) || format == Format::Zipkin;
        let callers = if strangers {
            vec![known, world.plain_caller()]
        } else {
            vec![known]
        };
        for (name, body) in [
            ("cut", cut),
            ("half", half),
            ("noise", b"\xff\xfe{[\x00\x80".to_vec()),
        ] {
            for caller in &callers {
                let answer = if format == Format::ReportsGrpc {
                    caller.grpc(format.path(), &body).await.unwrap()
                } else {
                    caller
                        .send(Method::POST, format.path(), &kind, body.clone())
                        .await
                        .unwrap()
                };
                let what = format!("{format:?} {name}");
                refused_for_good(&world, &what, format, &answer, (400, 3), "body_malformed").await;
                assert!(!answer.text().contains("at byte"), "{what}");
                assert!(
                    record_of(&world, &answer).await["detail"]
                        .as_str()
                        .unwrap()
                        .contains("at byte"),
                    "{what}"
                );
            }
        }
    }
    eventually("the budget is given back", || async {
        (stage::metric(&world, "lightkeeper_buffered_bytes").await < 1.0).then_some(())
    })
    .await;
}

/// Scenario: heads that no report has: other media types, codings, methods, query strings, too large a body.
/// Guarantees: each is refused for its own reason, in the words of its format.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_heads_are_refused() {
    let (mut plan, token) = plan();
    plan.more = "limits: { penalty: off, body: 64KiB, decompressed_body: 128KiB }".to_owned();
    let world = stage::start(plan).await;
    for format in Format::ALL
        .into_iter()
        .filter(|format| *format != Format::ReportsGrpc)
    {
        let caller = world
            .plain_caller()
            .bearer(&token)
            .header("x-amz-firehose-request-id", "one");
        let kind = ("content-type", format.content_type());
        let body = LegacySample::of(format, "checkout", 1).body();
        let zeros = testkit::Coding::Gzip.compress(&vec![0; 1 << 20]).unwrap();
        type Case<'a> = (
            &'a str,
            Vec<(&'a str, &'a str)>,
            &'a str,
            Vec<u8>,
            u32,
            &'a str,
        );
        let cases: Vec<Case<'_>> = vec![
            (
                "brotli",
                vec![kind, ("content-encoding", "br")],
                "",
                body.clone(),
                415,
                "content_encoding_unsupported",
            ),
            (
                "a list",
                vec![kind, ("content-encoding", "gzip, gzip")],
                "",
                body.clone(),
                415,
                "content_encoding_unsupported",
            ),
            (
                "not gzip",
                vec![kind, ("content-encoding", "gzip")],
                "",
                body.clone(),
                400,
                "body_undecodable",
            ),
            (
                "bomb",
                vec![kind, ("content-encoding", "gzip")],
                "",
                zeros,
                413,
                "body_too_large",
            ),
            (
                "large",
                vec![kind],
                "",
                vec![b' '; (64 << 10) + 1],
                413,
                "body_too_large",
            ),
            (
                "query",
                vec![kind],
                "?x=1",
                body.clone(),
                400,
                "malformed_query",
            ),
            (
                "token in the query",
                vec![kind],
                "?access_token=x",
                body.clone(),
                400,
                "conflicting_credentials",
            ),
        ];
        for (name, headers, query, body, status, reason) in cases {
            let path = format!("{}{query}", format.path());
            let answer = caller
                .send(Method::POST, &path, &headers, body)
                .await
                .unwrap();
            let what = format!("{format:?} {name}");
            refused_for_good(&world, &what, format, &answer, (status, 0), reason).await;
        }
        let html = [("content-type", "text/html")];
        let answer = caller
            .send(Method::POST, format.path(), &html, body)
            .await
            .unwrap();
        // The path alone says in whose language to answer.
        let told = if format == Format::ReportsJson {
            Format::Reports
        } else {
            format
        };
        refused_for_good(
            &world,
            &format!("{format:?} HTML"),
            told,
            &answer,
            (415, 0),
            "media_type_unsupported",
        )
        .await;
        let answer = caller
            .send(Method::GET, format.path(), &[kind], Vec::new())
            .await
            .unwrap();
        refused_for_good(
            &world,
            &format!("{format:?} GET"),
            format,
            &answer,
            (404, 0),
            "path_unknown",
        )
        .await;
    }
    let grpc = world.plain_caller().bearer(&token);
    let message = LegacySample::of(Format::ReportsGrpc, "checkout", 1).body();
    let brotli = grpc
        .clone()
        .header("grpc-encoding", "br")
        .grpc(Format::ReportsGrpc.path(), &message)
        .await
        .unwrap();
    let why = "content_encoding_unsupported";
    refused_for_good(
        &world,
        "brotli",
        Format::ReportsGrpc,
        &brotli,
        (415, 12),
        why,
    )
    .await;
    let large = grpc
        .grpc(Format::ReportsGrpc.path(), &vec![b' '; 64 << 10])
        .await
        .unwrap();
    refused_for_good(
        &world,
        "large",
        Format::ReportsGrpc,
        &large,
        (413, 8),
        "body_too_large",
    )
    .await;
}

/// Scenario: browsers' last words, with token and report in the URL. Guarantees: refused with its own reason, whatever
/// else is right, and the token stands in no record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_the_url_is_refused() {
    let (world, token) = patient().await;
    let query = format!("auth=%7B%22access_token%22%3A%22{token}%22%7D&report=%7B%7D");
    for prefix in ["", "/apps/shop/checkout/-"] {
        for (method, body) in [(Method::GET, Vec::new()), (Method::POST, b"{}".to_vec())] {
            let path = format!("{prefix}/_rpc/v1/reports/uri_encoded?{query}");
            let caller = world.plain_caller().bearer(&token);
            let answer = caller
                .send(method, &path, &[("content-type", "application/json")], body)
                .await
                .unwrap();
            assert_eq!(answer.status, 400);
            let record = record_of(&world, &answer).await;
            assert_eq!(record["reason"], "token_in_url", "{record}");
            assert!(!answer.contains(token.as_bytes()) && !record.to_string().contains(&token));
        }
    }
    assert_eq!(world.emulator.heads(), 0);
}

/// Scenario: everything that a backend can do besides taking a report. Guarantees: what is ours or the backend's to
/// mend makes the client come again; what the backend refuses for good ends it; our token comes back in no form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backends_troubles_are_told_so_that_nothing_is_lost() {
    let (world, token) = patient().await;
    let later = |status| Fault::Status {
        status,
        retry_after_seconds: Some(7),
    };
    let say = |status| Fault::Say {
        status,
        content_type: "text/plain",
        body: "no".to_owned(),
    };
    let cases = [
        (
            Fault::status(401),
            (503, 14),
            "credential_refused_by_upstream",
        ),
        (
            Fault::status(403),
            (503, 14),
            "credential_refused_by_upstream",
        ),
        (later(429), (429, 8), "upstream_throttled"),
        (
            Fault::PlainStatus { status: 429 },
            (429, 8),
            "upstream_throttled",
        ),
        (Fault::status(500), (503, 13), "upstream_unavailable"),
        (Fault::status(502), (503, 14), "upstream_unavailable"),
        (Fault::status(503), (503, 14), "upstream_unavailable"),
        (
            Fault::PlainStatus { status: 503 },
            (503, 14),
            "upstream_unavailable",
        ),
        (Fault::status(504), (504, 4), "upstream_timeout"),
        (
            Fault::PlainStatus { status: 302 },
            (502, 14),
            "upstream_page",
        ),
        (
            Fault::Say {
                status: 200,
                content_type: "text/html",
                body: String::new(),
            },
            (502, 14),
            "upstream_page",
        ),
        (Fault::CloseBeforeHead, (502, 14), "upstream_unreachable"),
        (Fault::Reset, (502, 14), "upstream_unreachable"),
        (Fault::status(400), (400, 3), "upstream_refused"),
        // Our own way of asking is wrong, which is not the client's fault.
        (Fault::status(404), (503, 12), "upstream_unavailable"),
        (
            Fault::PlainStatus { status: 400 },
            (502, 14),
            "upstream_page",
        ),
        (say(404), (503, 14), "upstream_unavailable"),
        (say(407), (503, 14), "upstream_unavailable"),
        (say(421), (503, 14), "upstream_unavailable"),
        (say(425), (503, 14), "upstream_unavailable"),
        (Fault::status(413), (413, 8), "upstream_refused"),
    ];
    for format in Format::ALL {
        let sample = LegacySample::of(format, "checkout", 2).token(&token);
        for (fault, status, reason) in &cases {
            let what = format!("{format:?} {fault:?}");
            // Its clients are told of a bad token by 400, which is judged by its words: elsewhere.
            let odd = format == Format::ThriftBinary && *fault == Fault::status(401);
            // What a proxy's page means to gRPC is the golden cases' business.
            let page = format == Format::ReportsGrpc && matches!(fault, Fault::PlainStatus { .. });
            // gRPC's own words for it pass: UNIMPLEMENTED is final.
            let unknown = format == Format::ReportsGrpc && *fault == Fault::status(404);
            if odd || page || unknown {
                continue;
            }
            world.emulator.fail(Endpoints::All, fault.clone());
            let answer = world.plain_caller().report(&sample).await.unwrap();
            assert_eq!(
                code(&answer),
                of(format, *status),
                "{what}: {}",
                answer.text()
            );
            let ends = *reason == "upstream_refused"
                || (format == Format::ReportsGrpc && *fault == Fault::status(500));
            let told = if ends {
                is_final(format, &answer)
            } else {
                is_temporary(format, &answer)
            };
            told.unwrap_or_else(|fault| panic!("{what}: {fault}"));
            let record = record_of(&world, &answer).await;
            // A gRPC status of the backend's own is passed on.
            if format != Format::ReportsGrpc {
                assert_eq!(record["reason"], *reason, "{what}: {record}");
                let hint = if *fault == later(429) {
                    Some("7")
                } else {
                    None
                };
                let found = answer.header("retry-after");
                assert!(
                    hint.is_none_or(|hint| found.as_deref() == Some(hint)),
                    "{what}: {found:?}"
                );
            }
            assert_eq!(record["decision"], "allow", "{what}: {record}");
            assert_ne!(record["items"]["accepted"], 2, "{what}: {record}");
        }
        world.emulator.fail(Endpoints::All, Fault::Echo);
        let answer = world.plain_caller().report(&sample).await.unwrap();
        let ours = Emulator::access_token("checkout-prod");
        use base64::Engine as _;
        let hidden = base64::engine::general_purpose::STANDARD.encode(format!(":{ours}"));
        for form in [ours.as_bytes(), hidden.as_bytes()] {
            assert!(
                !answer.contains(form),
                "{format:?}: our token came back: {}",
                answer.text()
            );
        }
        world.emulator.heal();
    }
    world.emulator.stop().await;
    for format in Format::ALL {
        let sample = LegacySample::of(format, "checkout", 2).token(&token);
        let answer = world.plain_caller().report(&sample).await.unwrap();
        assert_eq!(code(&answer), of(format, (502, 14)), "{format:?} down");
        is_temporary(format, &answer).unwrap_or_else(|fault| panic!("{format:?} down: {fault}"));
    }
    world.emulator.restart().await.unwrap();
    let sample = LegacySample::of(Format::Reports, "checkout", 2).token(&token);
    assert_eq!(
        world.plain_caller().report(&sample).await.unwrap().status,
        200
    );
}

/// Scenario: a silent backend. Guarantees: the client is told in time, and comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_backend_is_told_in_time() {
    let (mut plan, token) = plan();
    let old = "ingest: { profile: lightstep, url: \"{ingest}\" }";
    assert!(plan.config.contains(old));
    plan.config = plan.config.replace(
        old,
        "ingest: { profile: lightstep, url: \"{ingest}\", timeouts: { read: 500ms } }",
    );
    let world = stage::start(plan).await;
    world
        .emulator
        .fail(Endpoints::All, Fault::Slow(Duration::from_secs(60)));
    for format in Format::ALL {
        let sample = LegacySample::of(format, "checkout", 2).token(&token);
        let answer = world.plain_caller().report(&sample).await.unwrap();
        assert_eq!(
            code(&answer),
            of(format, (504, 4)),
            "{format:?}: {}",
            answer.text()
        );
        is_temporary(format, &answer).unwrap_or_else(|fault| panic!("{format:?}: {fault}"));
        assert_eq!(
            record_of(&world, &answer).await["reason"],
            "upstream_timeout",
            "{format:?}"
        );
    }
}
