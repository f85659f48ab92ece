//! Clients of every form of OTLP before backends that take one form alone: what the backend gets, and what the client is told. What it
//! refuses to know: how one encoding becomes the other (the unit tests of `otlp::transcode` do).

use lightkeeper::otlp::{Encoding, Signal, read_answer};
use testkit::{Answer, Coding, Emulator, Endpoints, Fault, Sample, SampleCaller, World};

use super::stage::{self, WorldPlan};

const POLICY: &str = r#"
version: 1
apps:
  shop:
    project: shop-prod
    apps:
      checkout: { project: checkout-prod, services: [checkout] }
      payments: { project: payments-prod, services: [payments] }
bindings:
  - name: checkout-pods
    subjects: [{ issuer: acme, subject: "system:serviceaccount:checkout:*" }]
    permissions: [ingest.*]
    apps: [shop]
"#;

/// A form of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Grpc,
    Protobuf,
    Json,
}

const FORMS: [Form; 3] = [Form::Grpc, Form::Protobuf, Form::Json];

impl Form {
    fn media_type(self) -> &'static str {
        match self {
            Form::Grpc => "application/grpc",
            Form::Protobuf => "application/x-protobuf",
            Form::Json => "application/json",
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Form::Json => Encoding::Json,
            Form::Grpc | Form::Protobuf => Encoding::Protobuf,
        }
    }

    /// A profile that takes this form alone, whose rows are of its protocol alone.
    fn profile(self, compressions: &str) -> String {
        let signals = Signal::ALL;
        let (rows, accepts) = match self {
            Form::Grpc => {
                let row = |signal: Signal| {
                    format!(
                        "{{ path: {}, signal: {} }}",
                        signal.grpc_path(),
                        signal.name()
                    )
                };
                (
                    format!("grpc: [{}]", signals.map(row).join(", ")),
                    "protocols: [grpc], encodings: [protobuf]",
                )
            }
            _ => {
                let row =
                    |signal: Signal| format!("{{ path: /v1/{0}, signal: {0} }}", signal.name());
                let accepts = match self {
                    Form::Json => "protocols: [http], encodings: [json]",
                    _ => "protocols: [http], encodings: [protobuf]",
                };
                (format!("http: [{}]", signals.map(row).join(", ")), accepts)
            }
        };
        format!(
            "name: own\naddresses: {{ ingest: \"https://ingest.example\" }}\ningest:\n  headers: {{ authorization: \"Bearer {{token}}\" }}\n  accepts: {{ {accepts}, compressions: [{compressions}] }}\n  {rows}\nquery: off\n"
        )
    }
}

/// A world before a backend of this profile.
async fn world(profile: &str, streams: bool) -> World {
    let mut plan: WorldPlan = stage::plan(&[
        (
            "ingest: { profile: lightstep, url",
            "ingest: { profile: otlp, url",
        ),
        ("  query: { profile: lightstep, url: \"{query}\" }\n", ""),
    ]);
    plan.policy = POLICY.to_owned();
    plan.more.push_str("query: {}\n");
    plan.emulator.plain_otlp = true;
    if streams {
        plan = stage::streamed(plan);
    }
    let world = stage::start(plan).await;
    stage::replace(&world.folder().join("own.yaml"), profile);
    let path = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("profile: otlp", "profile: own");
    stage::replace(&path, format!("profiles: [own.yaml]\n{text}"));
    world.gateway.reload().await.unwrap();
    world
}

fn caller(world: &World) -> SampleCaller {
    let token = world.issuer.token("checkout-collector");
    let caller = world.plain_caller().bearer(&token);
    caller.header("lightkeeper-app", "shop/checkout")
}

async fn export(caller: SampleCaller, form: Form, sample: &Sample) -> Answer {
    let answer = match form {
        Form::Grpc => caller.export_grpc(sample).await,
        Form::Protobuf | Form::Json => caller.export(sample, form.encoding()).await,
    };
    answer.unwrap()
}

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// With so many rejected items.
    Taken(u64),
    /// HTTP status, gRPC code, when to come again.
    Refused(u16, u32, Option<u64>),
}

/// How a client of this form reads its answer: of the status or code that its own protocol does not have, what pairs with it.
fn told(form: Form, signal: Signal, answer: &Answer) -> Told {
    let kind = answer.header("content-type").unwrap_or_default();
    assert_eq!(kind, form.media_type(), "{}", answer.text());
    if form == Form::Grpc {
        assert_eq!(answer.status, 200);
        let code = answer.grpc_status().unwrap();
        if code == 0 {
            let said = read_answer(signal, Encoding::Protobuf, &answer.message().unwrap()).unwrap();
            return Told::Taken(said.map_or(0, |said| said.rejected));
        }
        assert!(!answer.grpc_message().unwrap_or_default().is_empty());
        let details = answer.headers.get("grpc-status-details-bin");
        let wait = details.map(|details| {
            let status = base64::Engine::decode(
                &base64::engine::general_purpose::STANDARD_NO_PAD,
                details.as_bytes(),
            )
            .unwrap();
            // `RetryInfo { Duration { seconds } }`, less than 128, is the end of it.
            u64::from(*status.last().unwrap())
        });
        return Told::Refused(status_of(code, wait.is_some()), code, wait);
    }
    if answer.status == 200 {
        let said = read_answer(signal, form.encoding(), &answer.body).unwrap();
        return Told::Taken(said.map_or(0, |said| said.rejected));
    }
    let (code, words) = match form.encoding() {
        Encoding::Json => {
            let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            (
                status["code"].as_u64().unwrap() as u32,
                status["message"].as_str().unwrap().to_owned(),
            )
        }
        Encoding::Protobuf => {
            assert_eq!(answer.body[0], 8);
            (
                u32::from(answer.body[1]),
                String::from_utf8_lossy(&answer.body[4..]).into_owned(),
            )
        }
    };
    assert!(!words.is_empty());
    let wait = answer
        .header("retry-after")
        .map(|wait| wait.parse().unwrap());
    Told::Refused(answer.status, code, wait)
}

/// The status that goes with a code where HTTP has none.
fn status_of(code: u32, has_wait: bool) -> u16 {
    match (code, has_wait) {
        (3, _) => 400,
        (8, true) => 429,
        (8, false) => 413,
        (13, _) => 500,
        (14, _) => 503,
        (4, _) => 504,
        other => panic!("{other:?}"),
    }
}

/// Scenario: exports of every signal by clients of every form to backends that take one form alone, in both lanes. Guarantees: each arrives once, in the
/// backend's form, with all that is in it; the client is answered in its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_form_in_the_backends_form_out() {
    for (taken, streams) in FORMS
        .into_iter()
        .flat_map(|form| [(form, false), (form, true)])
    {
        let world = world(&taken.profile("gzip, identity"), streams).await;
        for (form, signal) in FORMS
            .into_iter()
            .flat_map(|form| Signal::ALL.map(|signal| (form, signal)))
        {
            let what = format!("{form:?} {signal:?} to {taken:?}, streams: {streams}");
            let sample = Sample::of(signal, "checkout", 3).rich();
            world.emulator.clear();
            let answer = export(caller(&world), form, &sample).await;
            assert_eq!(told(form, signal, &answer), Told::Taken(0), "{what}");
            let (seen, exports) = (world.emulator.captured(), world.emulator.exports());
            let [one] = seen.as_slice() else {
                panic!("{what}: {}", seen.len())
            };
            let path = match taken {
                Form::Grpc => signal.grpc_path().to_owned(),
                _ => format!("/v1/{}", signal.name()),
            };
            assert_eq!(one.path, path, "{what}");
            assert_eq!(one.header("content-type"), [taken.media_type()], "{what}");
            let bearer = format!("Bearer {}", Emulator::access_token("checkout-prod"));
            assert_eq!(one.header("authorization"), [bearer], "{what}");
            let [one] = exports.as_slice() else {
                panic!("{what}: {}", exports.len())
            };
            assert_eq!(
                (one.grpc, one.signal, one.items()),
                (taken == Form::Grpc, signal, 3),
                "{what}"
            );
            assert_eq!(one.span_ids(), sample.span_ids(), "{what}");
            let stamp = one.resources[0].attribute("lightkeeper.app");
            assert_eq!(stamp, (!streams).then_some("shop/checkout"), "{what}");
            // What arrives is the same in every form.
            world.emulator.clear();
            drop(export(caller(&world), taken, &sample).await);
            let own = world.emulator.exports();
            assert_eq!(own[0].resources, one.resources, "{what}");
        }
    }
}

/// Scenario: every kind of answer of a backend that takes one form alone, to clients of every form. Guarantees: each client is told the same, in its own
/// form: what is final, what may come again and when, and what is none of its fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_back_in_the_clients_form() {
    let status = |status, retry_after_seconds| Fault::Status {
        status,
        retry_after_seconds,
    };
    let partial = Fault::PartialSuccess {
        rejected: 1,
        message: "one was odd".to_owned(),
    };
    for (taken, streams) in FORMS
        .into_iter()
        .flat_map(|form| [(form, false), (form, true)])
    {
        let world = world(&taken.profile("gzip, identity"), streams).await;
        for (fault, expected) in [
            (partial.clone(), Told::Taken(1)),
            (status(400, None), Told::Refused(400, 3, None)),
            (status(413, None), Told::Refused(413, 8, None)),
            (status(429, Some(7)), Told::Refused(429, 8, Some(7))),
            (status(500, None), Told::Refused(500, 13, None)),
            (status(503, None), Told::Refused(503, 14, None)),
            (status(504, None), Told::Refused(504, 4, None)),
            // Our own credential is refused.
            (status(401, None), Told::Refused(503, 14, None)),
        ] {
            for form in FORMS {
                let what = format!("{fault:?}: {form:?} to {taken:?}, streams: {streams}");
                world.emulator.heal();
                world.emulator.fail(Endpoints::All, fault.clone());
                let sample = Sample::traces("checkout", 3);
                let answer = export(caller(&world), form, &sample).await;
                let mut found = told(form, Signal::Traces, &answer);
                if let (Told::Refused(503, _, wait), Told::Refused(503, ..)) =
                    (&mut found, &expected)
                {
                    // Where the words are ours, they say when; gRPC's backends may say nothing.
                    *wait = None;
                }
                assert_eq!(found, expected, "{what}: {}", answer.text());
                let id = answer.header("lightkeeper-request-id").unwrap();
                let record = stage::record(&world, &id).await;
                let is_ours = fault == status(401, None);
                let reason = is_ours.then_some("credential_refused_by_upstream");
                assert!(
                    reason.is_none_or(|reason| record["reason"] == reason),
                    "{what}: {record}"
                );
            }
        }
    }
}

/// Scenario: a backend over HTTP, or what stands before it, answers what speaks of the way or of the form that the gateway chose, to clients of
/// every form, in both lanes. Guarantees: none of them is told that its export is at fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_speaks_of_the_way_is_no_last_word() {
    for (taken, streams) in [Form::Protobuf, Form::Json]
        .into_iter()
        .flat_map(|form| [(form, false), (form, true)])
    {
        let world = world(&taken.profile("gzip, identity"), streams).await;
        for (status, form) in [404, 406, 415, 421, 431, 520]
            .into_iter()
            .flat_map(|status| FORMS.map(|form| (status, form)))
        {
            // In its own form it is the client's.
            let is_of_the_form = matches!(status, 406 | 415);
            if is_of_the_form && form == taken {
                continue;
            }
            world.emulator.heal();
            let fault = Fault::Status {
                status,
                retry_after_seconds: None,
            };
            world.emulator.fail(Endpoints::All, fault);
            let answer = export(caller(&world), form, &Sample::traces("checkout", 3)).await;
            let what = format!("{status}: {form:?} to {taken:?}, streams: {streams}");
            match form {
                Form::Grpc => assert_eq!(answer.grpc_status(), Some(14), "{what}"),
                _ => assert_eq!(answer.status, 502, "{what}"),
            }
            let id = answer.header("lightkeeper-request-id").unwrap();
            let record = stage::record(&world, &id).await;
            let expected = match is_of_the_form {
                true => "upstream_form_refused",
                false => "upstream_answer_unusable",
            };
            assert_eq!(record["reason"], expected, "{what}");
        }
    }
}

/// Scenario: a backend refuses the compression of exports in its own encoding, of which some came so and others were compressed anew
/// because its profile does not take how they came; in both lanes. Guarantees: only who chose the compression is told that it is
/// not taken; what was compressed here comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compression_that_we_chose_is_not_the_callers() {
    for (streams, form) in [false, true]
        .into_iter()
        .flat_map(|streams| [Form::Protobuf, Form::Json].map(|form| (streams, form)))
    {
        let world = world(&form.profile("gzip"), streams).await;
        for (status, coding, is_ours) in [
            (415, Coding::Gzip, false),
            (415, Coding::Zstd, true),
            (406, Coding::Zstd, true),
        ] {
            world.emulator.heal();
            world.emulator.clear();
            world.emulator.fail(Endpoints::All, Fault::status(status));
            let caller = caller(&world).compressing(coding);
            let answer = export(caller, form, &Sample::traces("checkout", 3)).await;
            let what = format!("{status} {coding:?} {form:?}, streams: {streams}");
            let sent = world.emulator.captured();
            assert_eq!(sent[0].header("content-encoding"), ["gzip"], "{what}");
            assert_eq!(answer.status, if is_ours { 502 } else { status }, "{what}");
            let id = answer.header("lightkeeper-request-id").unwrap();
            let record = stage::record(&world, &id).await;
            let is_told = record["reason"] == "upstream_form_refused";
            assert_eq!(is_told, is_ours, "{what}: {record}");
        }
    }
}

/// Scenario: an export of two projects of which one is refused, in another form than the backend's. Guarantees: the answer is one, in the
/// client's form, and counts exactly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_answered_as_one() {
    for taken in FORMS {
        let world = world(&taken.profile("identity, gzip"), false).await;
        for form in FORMS {
            let fault = Fault::Status {
                status: 400,
                retry_after_seconds: None,
            };
            world.emulator.fail_project("payments-prod", fault);
            let sample = Sample::traces("checkout", 3).and("payments", 2);
            let token = world.issuer.token("checkout-collector");
            let answer = export(world.plain_caller().bearer(&token), form, &sample).await;
            assert_eq!(
                told(form, Signal::Traces, &answer),
                Told::Taken(2),
                "{form:?} to {taken:?}"
            );
        }
    }
}

/// Scenario: an export of two projects of which one has what no protobuf can hold; that of the other has members that no table has.
/// Guarantees: the record says which project's part was refused and why, and what could not be carried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_says_why_a_part_was_not_sent() {
    let world = world(&Form::Protobuf.profile("identity"), false).await;
    let of = |service: &str, span: serde_json::Value| {
        serde_json::json!({
            "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
            "scopeSpans": [{ "spans": [span] }],
        })
    };
    let good = serde_json::json!({ "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "odd": 1 });
    let wrong = serde_json::json!({ "traceId": "no" });
    let token = world.issuer.token("checkout-collector");
    let caller = || world.plain_caller().bearer(&token);
    let both = serde_json::json!({ "resourceSpans": [of("checkout", good), of("payments", wrong.clone())] });
    let answer = caller().post("/v1/traces", &both).await.unwrap();
    assert_eq!(told(Form::Json, Signal::Traces, &answer), Told::Taken(1));
    let detail_of = async |answer: &Answer| {
        let id = answer.header("lightkeeper-request-id").unwrap();
        let record = stage::record(&world, &id).await;
        record["detail"].as_str().unwrap_or_default().to_owned()
    };
    let detail = detail_of(&answer).await;
    assert!(
        detail.contains("project payments-prod: ") && detail.contains("traceId"),
        "{detail}"
    );
    assert!(detail.contains("1 unknown fields"), "{detail}");
    let none = serde_json::json!({ "resourceSpans": [of("checkout", wrong.clone()), of("payments", wrong)] });
    let answer = caller().post("/v1/traces", &none).await.unwrap();
    assert_eq!(answer.status, 400);
    let detail = detail_of(&answer).await;
    for project in ["checkout-prod", "payments-prod"] {
        let words = format!("project {project}: ");
        assert_eq!(detail.matches(&words).count(), 1, "{detail}");
    }
}

/// Scenario: members that no table has, values that no protobuf can hold, a large export, other compressions. Guarantees: what cannot be carried is
/// counted and told; what is wrong is refused as the client's; the rest arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_carried_is_told() {
    for streams in [false, true] {
        let world = world(&Form::Protobuf.profile("gzip"), streams).await;
        let lost = || stage::metric(&world, "lightkeeper_unknown_fields_dropped_total");
        let sample = Sample::traces("checkout", 2).unknown_fields();
        let answer = export(caller(&world), Form::Json, &sample).await;
        assert_eq!(told(Form::Json, Signal::Traces, &answer), Told::Taken(0));
        let id = answer.header("lightkeeper-request-id").unwrap();
        let record = stage::record(&world, &id).await;
        let detail = record["detail"].as_str().unwrap_or_default().to_owned();
        let count: f64 = detail.split(' ').next().unwrap().parse().unwrap();
        assert!(count > 0.0 && lost().await == count, "{detail}");
        assert_eq!(world.emulator.exports().len(), 1);
        assert_eq!(
            world.emulator.captured()[0].header("content-encoding"),
            ["gzip"]
        );

        let wrong = serde_json::json!({ "resourceSpans": [{
            "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "checkout" } }] },
            "scopeSpans": [{ "spans": [{ "traceId": "no" }] }],
        }] });
        let answer = caller(&world).post("/v1/traces", &wrong).await.unwrap();
        assert_eq!(
            told(Form::Json, Signal::Traces, &answer),
            Told::Refused(400, 3, None)
        );
        let id = answer.header("lightkeeper-request-id").unwrap();
        let record = stage::record(&world, &id).await;
        assert_eq!(record["reason"], "body_malformed");
        assert!(
            record["detail"].as_str().unwrap().contains("traceId"),
            "{record}"
        );
        assert_eq!(world.emulator.exports().len(), 1);

        world.emulator.clear();
        let large = Sample::traces("checkout", 6_000);
        let zstd = caller(&world).compressing(Coding::Zstd);
        let answer = export(zstd, Form::Json, &large).await;
        assert_eq!(told(Form::Json, Signal::Traces, &answer), Told::Taken(0));
        let seen = world.emulator.exports();
        assert_eq!(seen[0].span_ids(), large.span_ids());
    }
}
