//! Questions to a part of the tree: what each resource answers, who is told of which projects, and what becomes of
//! projects that fail. What it refuses to know: how one project is asked; the golden cases say that.
//!
//! `tree/{resource}.json` holds what Lea is told of the shop; `LIGHTKEEPER_BLESS=1` writes the files anew.

use std::collections::BTreeSet;

use http::Method;
use lightkeeper::profiles::{Profile, TreeShape};
use serde_json::{Value, json};
use testkit::emulator::PROJECTS;
use testkit::{Answer, Endpoints, Fault, World, golden, webhook_secret};

use super::stage::{self, PATIENCE};

/// What a query of time series says.
fn question() -> Value {
    json!({ "data": { "attributes": {
        "query": "spans count | rate | group_by [service], sum", "input-language": "uql", "output-period": 60,
        "oldest-time": "2026-01-01T00:00:00Z", "youngest-time": "2026-01-01T00:03:00Z",
    } } })
}

async fn ask(world: &World, who: &str, path: &str) -> Answer {
    world
        .plain_caller()
        .deadline(PATIENCE)
        .bearer(&world.issuer.token(who))
        .get(path)
        .await
        .unwrap()
}

async fn post(world: &World, who: &str, path: &str, body: &Value) -> Answer {
    world
        .plain_caller()
        .deadline(PATIENCE)
        .bearer(&world.issuer.token(who))
        .post(path, body)
        .await
        .unwrap()
}

fn texts(list: &Value, member: &str) -> Vec<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|entry| entry[member].as_str().unwrap().to_owned())
        .collect()
}

/// Numbers in links that say when.
fn steady(text: &str, world: &World) -> String {
    let text = text.replace(&world.plain_url(), "http://gateway");
    let mut pieces = text.split("_micros=");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        text + "_micros=…" + piece.trim_start_matches(|each: char| each.is_ascii_digit())
    })
}

/// Scenario: every resource of the table is asked of the shop. Guarantees: what its file says: each item with its app,
/// project and link, in the tree's order, links of the backend pointed at us, secrets only for callers whose binding names them; and
/// one record with a part for each question.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_resource_answers_what_its_file_says() {
    let world = stage::start(stage::plan(&[])).await;
    world.emulator.set_links_base("https://api.lightstep.com");
    let mut complaints = Vec::new();
    for resource in Profile::lightstep().tree() {
        let path = format!("/apps/shop/-/{}", resource.name);
        let answer = match resource.shape {
            TreeShape::Series => post(&world, "lea", &path, &question()).await,
            TreeShape::List | TreeShape::Alerts => ask(&world, "lea", &path).await,
        };
        let mut record =
            stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
        let kept = [
            "app",
            "bindings",
            "decision",
            "operation",
            "parts",
            "project",
            "reason",
            "status",
            "upstream_status",
        ];
        record
            .as_object_mut()
            .unwrap()
            .retain(|name, _| kept.contains(&name.as_str()));
        let told =
            json!({ "status": answer.status, "answer": answer.json().unwrap(), "record": record });
        let told = steady(&format!("{told:#}\n"), &world);
        let file = stage::beside("tree").join(format!("{}.json", resource.name));
        complaints.extend(golden::check(&file, &told).err());
        for secret in stage::backend_credentials() {
            assert!(!answer.text().contains(&secret), "{}", resource.name);
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Who asks what of which app, and the projects that they are told of; none: 403.
const TOLD: &[(&str, &str, &str, &[&str])] = &[
    (
        "sam",
        "/apps/-",
        "streams",
        &[
            "shop-prod",
            "checkout-prod",
            "payments-prod",
            "platform-prod",
        ],
    ),
    ("sam", "/apps/platform/-", "services", &["platform-prod"]),
    ("sam", "/apps/-", "destinations", &[]),
    (
        "ann",
        "/apps/-",
        "streams",
        &["shop-prod", "checkout-prod", "payments-prod"],
    ),
    (
        "ann",
        "/apps/shop/-",
        "alerts",
        &["shop-prod", "checkout-prod", "payments-prod"],
    ),
    (
        "ann",
        "/apps/shop/checkout/-",
        "services",
        &["checkout-prod"],
    ),
    ("ann", "/apps/shop/search/-", "dashboards", &["shop-prod"]),
    ("ann", "/apps/shop/-", "destinations", &[]),
    ("ann", "/apps/platform/-", "streams", &[]),
    ("ann", "/apps/nowhere/-", "streams", &[]),
    (
        "lea",
        "/apps/-",
        "destinations",
        &["shop-prod", "checkout-prod", "payments-prod"],
    ),
    ("pat", "/apps/-", "metric_dashboards", &["payments-prod"]),
    ("pat", "/apps/shop/-", "conditions", &["payments-prod"]),
    ("pat", "/apps/shop/checkout/-", "streams", &[]),
    ("pat", "/apps/shop/search/-", "streams", &[]),
    ("terraform", "/apps/-", "snooze_rules", &["checkout-prod"]),
    ("eve", "/apps/-", "streams", &[]),
    (
        "checkout-collector",
        "/apps/shop/checkout/-",
        "streams",
        &[],
    ),
];

/// Scenario: people and workloads ask parts of the tree. Guarantees: exactly the projects whose homes they may query are
/// asked and told of; nothing in an answer names another; who may ask none is refused as for a path that leads nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_told_of_their_own_projects_only() {
    let world = stage::start(stage::plan(&[])).await;
    let mut refused = BTreeSet::new();
    for (who, app, resource, projects) in TOLD {
        world.emulator.clear();
        let what = format!("{who} {app}/{resource}");
        let answer = ask(&world, who, &format!("{app}/{resource}")).await;
        let asked: BTreeSet<String> = world
            .emulator
            .captured()
            .into_iter()
            .map(|captured| captured.project.unwrap())
            .collect();
        assert_eq!(
            asked,
            projects
                .iter()
                .map(|project| (*project).to_owned())
                .collect(),
            "{what}"
        );
        if projects.is_empty() {
            assert_eq!(answer.status, 403, "{what}: {}", answer.text());
            let id = answer.header("lightkeeper-request-id").unwrap();
            refused.insert(answer.text().replace(&id, "…"));
            assert_eq!(
                stage::record(&world, &id).await["decision"],
                "deny",
                "{what}"
            );
            continue;
        }
        let document = answer.json().unwrap();
        assert_eq!(
            (answer.status, &document["partial"]),
            (200, &json!(false)),
            "{what}: {document}"
        );
        assert_eq!(document["projects"], json!(projects), "{what}");
        let told = texts(&document["items"], "project");
        assert_eq!(
            told.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            projects.iter().copied().collect(),
            "{what}"
        );
        for foreign in PROJECTS
            .iter()
            .filter(|project| !projects.contains(project))
        {
            assert!(!answer.text().contains(foreign), "{what} names {foreign}");
        }
    }
    assert_eq!(refused.len(), 1, "refusals differ: {refused:?}");
}

/// Scenario: one of three projects fails, in each way. Guarantees: 200 with what the others said; the failure is named with
/// its reason and, if the backend spoke, its status; nothing of a broken answer is passed on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_fails_is_named() {
    let world = stage::start(stage::plan(&[(
        "audit: {",
        "limits: { response: 64KiB }\naudit: {",
    )]))
    .await;
    let retry = Some(7);
    for (fault, reason, status) in [
        (Fault::CloseBeforeHead, "upstream_unreachable", None),
        (Fault::CloseAfterHead, "upstream_unreachable", None),
        (
            Fault::Status {
                status: 429,
                retry_after_seconds: retry,
            },
            "upstream_status",
            Some(429),
        ),
        (Fault::status(500), "upstream_status", Some(500)),
        (Fault::status(404), "upstream_status", Some(404)),
        (
            Fault::status(401),
            "credential_refused_by_upstream",
            Some(401),
        ),
        (Fault::Garbage, "upstream_answer_unknown_shape", Some(200)),
        (
            Fault::PlainStatus { status: 200 },
            "upstream_answer_unknown_shape",
            Some(200),
        ),
        (Fault::Huge(1 << 20), "upstream_answer_too_large", None),
    ] {
        world.emulator.fail_queries("checkout-prod", fault.clone());
        let answer = ask(&world, "ann", "/apps/shop/-/streams").await;
        let document = answer.json().unwrap();
        assert_eq!(
            (answer.status, &document["partial"]),
            (200, &json!(true)),
            "{fault:?}: {document}"
        );
        assert_eq!(
            document["projects"],
            json!(["shop-prod", "checkout-prod", "payments-prod"]),
            "{fault:?}"
        );
        assert_eq!(
            texts(&document["items"], "project"),
            ["shop-prod", "shop-prod", "payments-prod", "payments-prod"]
        );
        let errors = document["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{fault:?}: {document}");
        assert_eq!(
            (&errors[0]["app"], &errors[0]["project"]),
            (&json!("shop/checkout"), &json!("checkout-prod"))
        );
        assert_eq!(
            (&errors[0]["reason"], &errors[0]["status"]),
            (&json!(reason), &json!(status)),
            "{fault:?}"
        );
        assert!(
            !errors[0]["message"].as_str().unwrap().is_empty(),
            "{fault:?}"
        );
        let record = stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
        let reasons = texts(&record["parts"], "reason");
        assert_eq!(reasons, ["ok", reason, "ok"], "{fault:?}: {record}");
        assert_eq!(
            (&record["decision"], &record["reason"]),
            (&json!("allow"), &json!("ok")),
            "{fault:?}"
        );
    }
    world.emulator.heal();
    assert_eq!(
        ask(&world, "ann", "/apps/shop/-/streams")
            .await
            .json()
            .unwrap()["partial"],
        false
    );
}

/// Scenario: an answer that is JSON, but not the list that it should be; no project is left.
/// Guarantees: an unknown shape is not passed, and where all fail the caller is told by the status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_fail_the_status_says_so() {
    let world = stage::start(stage::plan(&[])).await;
    let all = |fault: &Fault| {
        PROJECTS
            .iter()
            .for_each(|project| world.emulator.fail_queries(project, fault.clone()))
    };
    for (fault, status, reason) in [
        (Fault::Reset, 502, "upstream_unreachable"),
        (Fault::Garbage, 502, "upstream_answer_unknown_shape"),
        (Fault::status(403), 503, "credential_refused_by_upstream"),
        (Fault::status(503), 502, "upstream_status"),
    ] {
        all(&fault);
        let answer = ask(&world, "ann", "/apps/shop/-/services").await;
        assert_eq!(answer.status, status, "{fault:?}: {}", answer.text());
        let record = stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
        assert_eq!(record["reason"], reason, "{record}");
        assert_eq!(texts(&record["parts"], "reason"), [reason; 3]);
    }
    world.emulator.fail_queries("shop-prod", Fault::Reset);
    let answer = ask(&world, "ann", "/apps/shop/-/services").await;
    let record = stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
    assert_eq!(
        (answer.status, &record["reason"]),
        (502, &json!("projects_failed")),
        "{record}"
    );
    world.emulator.heal();
    // What is wrong with the question itself is told in the backend's words.
    let mut wrong = question();
    wrong["data"]["attributes"]["youngest-time"] = json!("never");
    let answer = post(&world, "ann", "/apps/shop/-/query_timeseries", &wrong).await;
    let document = answer.json().unwrap();
    assert_eq!(
        (answer.status, document["errors"].as_array().unwrap().len()),
        (400, 3),
        "{document}"
    );
    assert_eq!(document["errors"][0]["message"], "a time is missing");
    assert_eq!(document["data"]["attributes"]["series"], json!([]));
}

/// Scenario: the backend tells every project's question to wait, each for another time, one for none. Guarantees: the
/// caller gets the document with 429 and the longest of them, within the bound of single queries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_are_to_wait_the_longest_counts() {
    for (waits, told) in [
        ([Some(4), Some(9), None], Some("9")),
        ([Some(4), Some(999_999), None], Some("3600")),
        ([None, None, None], None),
    ] {
        let world = stage::start(stage::plan(&[])).await;
        for (project, retry_after_seconds) in ["shop-prod", "checkout-prod", "payments-prod"]
            .into_iter()
            .zip(waits)
        {
            let fault = Fault::Status {
                status: 429,
                retry_after_seconds,
            };
            world.emulator.fail_queries(project, fault);
        }
        let answer = ask(&world, "ann", "/apps/shop/-/streams").await;
        let document = answer.json().unwrap();
        assert_eq!(
            (answer.status, document["errors"].as_array().unwrap().len()),
            (429, 3),
            "{document}"
        );
        assert_eq!(answer.header("retry-after").as_deref(), told, "{waits:?}");
    }
}

/// Scenario: the lists of alerts are answered, and the states of conditions are not. Guarantees: the record says of each
/// project what became of the questions for its states.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_that_could_not_be_asked_for_are_recorded() {
    let world = stage::start(stage::plan(&[])).await;
    world.emulator.fail(Endpoints::States, Fault::status(500));
    let answer = ask(&world, "pat", "/apps/shop/payments/-/alerts").await;
    let document = answer.json().unwrap();
    assert_eq!(
        (answer.status, document["errors"][0]["reason"].as_str()),
        (200, Some("upstream_status")),
        "{document}"
    );
    let record = stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
    assert_eq!(
        texts(&record["parts"], "reason"),
        ["ok", "ok", "upstream_status"],
        "{record}"
    );
    let states = &record["parts"][2];
    assert_eq!(
        (
            &states["apps"],
            &states["project"],
            &states["items"],
            &states["upstream_status"]
        ),
        (
            &json!(["shop/payments"]),
            &json!("payments-prod"),
            &json!({ "accepted": 0, "rejected": 1 }),
            &json!(500)
        ),
        "{record}"
    );
}

/// Scenario: fifty projects, one dead, one that does not answer until the test lets it, after the caller's answer came.
/// Guarantees: the deadline is kept, both are named with their reasons, all others are there, in the tree's order; once
/// the two are well, nothing is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dead_and_one_slow_of_fifty_projects() {
    let plan = stage::plan(&[(
        "audit: {",
        "query: { deadline: 5s, parallel: 16, rates: { general: 10000/s, timeseries: 10000/s } }\naudit: {",
    )])
    .with_fleet(50);
    let world = stage::start(plan).await;
    world
        .emulator
        .fail_queries("fleet-007", Fault::CloseBeforeHead);
    world.emulator.fail_queries("fleet-011", Fault::Held);
    let all: Vec<String> = (0..50).map(|number| format!("fleet-{number:03}")).collect();
    let well: Vec<String> = all
        .iter()
        .filter(|name| !["fleet-007", "fleet-011"].contains(&name.as_str()))
        .cloned()
        .collect();
    for caller in [world.plain_caller(), world.plain_caller().http2()] {
        let caller = caller.deadline(PATIENCE).bearer(&world.issuer.token("sam"));
        let answer = caller.get("/apps/fleet/-/services").await.unwrap();
        let document = answer.json().unwrap();
        assert_eq!(
            (answer.status, &document["partial"]),
            (200, &json!(true)),
            "{document}"
        );
        assert_eq!(document["projects"], json!(all));
        assert_eq!(texts(&document["items"], "project"), well);
        let errors = document["errors"].as_array().unwrap();
        let reasons: Vec<(&str, &str, &str)> = errors
            .iter()
            .map(|error| {
                (
                    error["app"].as_str().unwrap(),
                    error["project"].as_str().unwrap(),
                    error["reason"].as_str().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("fleet/007", "fleet-007", "upstream_unreachable"),
            ("fleet/011", "fleet-011", "query_deadline"),
        ];
        assert_eq!(reasons, expected);
    }
    world.emulator.heal_queries("fleet-011");
    world.emulator.heal_queries("fleet-007");
    let document = ask(&world, "sam", "/apps/fleet/-/services")
        .await
        .json()
        .unwrap();
    assert_eq!(
        (texts(&document["items"], "project"), &document["partial"]),
        (all, &json!(false))
    );
}

/// Scenario: series of several projects. Guarantees: each says where it is from; what all agree on stands once; one
/// project's failure leaves the others' series.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_say_where_they_are_from() {
    let world = stage::start(stage::plan(&[])).await;
    world.emulator.fail_queries("shop-prod", Fault::Garbage);
    let answer = post(&world, "ann", "/apps/shop/-/query_timeseries", &question()).await;
    let document = answer.json().unwrap();
    assert_eq!(
        (answer.status, &document["partial"]),
        (200, &json!(true)),
        "{document}"
    );
    let series = document["data"]["attributes"]["series"].as_array().unwrap();
    let labels: BTreeSet<(&str, &str)> = series
        .iter()
        .map(|series| {
            (
                series["group-labels"][0].as_str().unwrap(),
                series["group-labels"][1].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("app=shop/checkout", "project=checkout-prod"),
        ("app=shop/payments", "project=payments-prod"),
    ]
    .into();
    assert_eq!(labels, expected, "{document}");
    assert_eq!(document["errors"][0]["project"], "shop-prod");
    // Each project was sent the question as it came.
    let bodies: BTreeSet<Vec<u8>> = world
        .emulator
        .captured()
        .into_iter()
        .map(|captured| captured.body.to_vec())
        .collect();
    assert_eq!(bodies, [question().to_string().into_bytes()].into());
}

/// Scenario: a condition whose state cannot be had. Guarantees: it is listed as unknown, and the error names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_without_a_state_is_told() {
    let world = stage::start(stage::plan(&[])).await;
    let document = ask(&world, "pat", "/apps/shop/payments/-/alerts")
        .await
        .json()
        .unwrap();
    let kinds: Vec<(String, String)> = texts(&document["items"], "type")
        .into_iter()
        .zip(texts(&document["items"], "state"))
        .collect();
    let pair = |kind: &str, state: &str| (kind.to_owned(), state.to_owned());
    assert_eq!(
        kinds,
        [pair("metric_alert", "unknown"), pair("condition", "ok")],
        "{document}"
    );
    assert_eq!(document["projects"], json!(["payments-prod"]));
    for link in ["services", "dashboards", "traces"] {
        let link = document["items"][1]["links"][link].as_str().unwrap();
        assert!(
            link.starts_with("https://app.lightstep.com/payments-prod/"),
            "{link}"
        );
    }
    // The backend answers, and has no state of it: that is no gap.
    let condition = json!({ "data": { "type": "condition", "attributes": { "name": "new", "expression": "err > 5%" } } });
    let editor = world
        .plain_caller()
        .bearer(&world.issuer.token("terraform"));
    let made = editor
        .post(
            "/public/v0.2/acme/projects/checkout-prod/conditions",
            &condition,
        )
        .await
        .unwrap();
    assert!((200..300).contains(&made.status), "{}", made.text());
    let id = made.json().unwrap()["data"]["id"].clone();
    let document = ask(&world, "ann", "/apps/shop/checkout/-/alerts")
        .await
        .json()
        .unwrap();
    let new = document["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["id"] == id)
        .unwrap();
    assert_eq!(
        (&new["state"], &document["partial"], &document["errors"]),
        (&json!("unknown"), &json!(false), &json!([]))
    );
    let path = format!(
        "/public/v0.2/acme/projects/checkout-prod/conditions/{}",
        id.as_str().unwrap()
    );
    editor
        .send(http::Method::DELETE, &path, &[], Vec::new())
        .await
        .unwrap();
    // What the backend tells of its own accord fills the gap.
    let inlet = world
        .plain_caller()
        .bearer(&webhook_secret("shop/checkout"));
    let alert = json!({ "alert": { "id": "metric_alert-23", "name": "checkout latency", "state": "Critical" } });
    assert_eq!(
        inlet
            .post("/apps/shop/checkout/-/alerts", &alert)
            .await
            .unwrap()
            .status,
        200
    );
    let document = ask(&world, "ann", "/apps/shop/checkout/-/alerts")
        .await
        .json()
        .unwrap();
    assert_eq!(
        texts(&document["items"], "state"),
        ["firing", "ok"],
        "{document}"
    );
    assert!(document["items"][0]["since"].is_string(), "{document}");
    // An app with a project of its own says nothing of its parent's alerts, whatever id it names.
    let of_shop = |document: &Value| {
        let items = document["items"].as_array().unwrap();
        items
            .iter()
            .find(|item| item["project"] == "shop-prod" && item["type"] == "metric_alert")
            .unwrap()
            .clone()
    };
    let before = of_shop(
        &ask(&world, "ann", "/apps/shop/-/alerts")
            .await
            .json()
            .unwrap(),
    );
    let alert =
        json!({ "alert": { "id": before["id"], "name": "all is lost", "state": "Critical" } });
    assert_eq!(
        inlet
            .post("/apps/shop/checkout/-/alerts", &alert)
            .await
            .unwrap()
            .status,
        200
    );
    let after = of_shop(
        &ask(&world, "ann", "/apps/shop/-/alerts")
            .await
            .json()
            .unwrap(),
    );
    assert_eq!(
        (&before["state"], &after["state"]),
        (&json!("unknown"), &json!("unknown")),
        "{after}"
    );
    let deny = "{ name: no-conditions, effect: deny, subjects: [{ any: true }], \
                permissions: [query.conditions.read], apps: [shop/payments] }";
    let world = stage::start(stage::bind(stage::plan(&[]), deny)).await;
    let document = ask(&world, "pat", "/apps/shop/payments/-/alerts")
        .await
        .json()
        .unwrap();
    assert_eq!(
        (texts(&document["items"], "type"), &document["partial"]),
        (vec!["metric_alert".to_owned()], &json!(false))
    );
}

/// Scenario: questions that nothing answers. Guarantees: their status; nothing goes upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_question_is_refused() {
    const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
    let plan = stage::plan(&[(
        "audit: {",
        "limits: { body: 4KiB, decompressed_body: 4KiB }\naudit: {",
    )]);
    let world = stage::start(plan).await;
    let token = world.issuer.token("ann");
    let caller = world.plain_caller().bearer(&token);
    for (method, path, body, status) in [
        ("GET", "/apps/shop/-/streams?limit=1", "", 400),
        ("GET", "/apps/shop/-/services?limit=1&limit=2", "", 400),
        ("GET", "/apps/shop/-/alerts?state=ok", "", 400),
        ("GET", "/apps/shop/-/streams?project=checkout-prod", "", 400),
        ("GET", "/apps/shop/-/secrets", "", 404),
        ("GET", "/apps/shop/-/access_tokens", "", 404),
        ("GET", "/apps/shop/-/streams/stream-1", "", 404),
        ("GET", "/apps/shop/-/query_timeseries", "", 404),
        ("GET", "/apps/shop/-", "", 404),
        ("GET", "/apps/Shop/-/streams", "", 404),
        ("POST", "/apps/shop/-/streams", "{}", 404),
        ("DELETE", "/apps/shop/-/streams", "", 404),
        ("HEAD", "/apps/shop/-/streams", "", 404),
        ("GET", "/apps/shop/-/-/streams", "", 404),
        ("POST", "/apps/shop/-/query_timeseries", "{\"data\":", 400),
        ("POST", "/apps/shop/-/query_timeseries", "", 400),
        ("GET", "/apps/shop?depth=2", "", 404),
    ] {
        let answer = caller
            .send(
                Method::from_bytes(method.as_bytes()).unwrap(),
                path,
                &JSON,
                body.into(),
            )
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    let huge = vec![b' '; 8 << 10];
    for caller in [caller.clone(), caller.clone().chunked()] {
        let answer = caller
            .send(
                Method::POST,
                "/apps/shop/-/query_timeseries",
                &JSON,
                huge.clone(),
            )
            .await
            .unwrap();
        assert_eq!(answer.status, 413, "{}", answer.text());
    }
    assert_eq!(
        world
            .plain_caller()
            .get("/apps/shop/-/streams")
            .await
            .unwrap()
            .status,
        401
    );
    assert_eq!(world.emulator.heads(), 0);
    // The backend's own keys pass.
    let document = ask(&world, "ann", "/apps/shop/-/services?limit=1&offset=1")
        .await
        .json()
        .unwrap();
    assert_eq!(
        texts(&document["items"], "id"),
        ["cart", "checkout-worker", "ledger-core"]
    );
}

/// Scenario: a listener that serves exports only; links that are off, or point elsewhere. Guarantees: no question is
/// answered there; `link` is null, or begins as it was set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_say_where_and_with_which_links() {
    let query = r#"query: { profile: lightstep, url: "{query}""#;
    for (set, expected) in [
        ("off", None),
        (
            "https://ui.example/x/",
            Some("https://ui.example/x/payments-prod/"),
        ),
    ] {
        let plan = stage::plan(&[
            (query, &format!("{query}, ui: \"{set}\"")),
            (
                "    address: {plain}",
                "    address: {plain}\n  - { name: exports, address: \"127.0.0.1:0\", serves: [ingest] }",
            ),
        ]);
        let world = stage::start(plan).await;
        let document = ask(&world, "pat", "/apps/-/streams").await.json().unwrap();
        let link = document["items"][0]["link"].as_str();
        assert_eq!(link.is_some(), expected.is_some(), "{document}");
        assert!(
            link.unwrap_or_default()
                .starts_with(expected.unwrap_or_default()),
            "{document}"
        );
        let exports = format!("http://{}", world.address("exports").unwrap());
        let caller = testkit::SampleCaller::new(&exports).bearer(&world.issuer.token("pat"));
        assert_eq!(caller.get("/apps/-/streams").await.unwrap().status, 404);
    }
}

/// Scenario: the tree itself, as the people see it. Guarantees: only what is theirs, nested, with owners and what they may
/// read and write there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tree_is_told_with_what_may_be_done() {
    fn told(node: &Value, into: &mut Vec<(String, bool, bool)>) {
        let is = |name: &str| node[name].as_bool().unwrap();
        into.push((
            node["app"].as_str().unwrap().to_owned(),
            is("can_read"),
            is("can_write"),
        ));
        node["apps"]
            .as_array()
            .unwrap()
            .iter()
            .for_each(|below| told(below, into));
    }
    let world = stage::start(stage::plan(&[])).await;
    type Row<'a> = (&'a str, bool, bool);
    let table: &[(&str, &[Row<'_>])] = &[
        (
            "ann",
            &[
                ("/", false, false),
                ("shop", true, true),
                ("shop/checkout", true, true),
                ("shop/payments", true, true),
            ],
        ),
        (
            "pat",
            &[
                ("/", false, false),
                ("shop", false, false),
                ("shop/payments", true, false),
            ],
        ),
        ("eve", &[("/", false, false)]),
        (
            "checkout-collector",
            &[
                ("/", false, false),
                ("shop", false, false),
                ("shop/checkout", false, true),
            ],
        ),
    ];
    for (who, expected) in table {
        let answer = ask(&world, who, "/apps?depth=all").await;
        let mut nodes = Vec::new();
        told(&answer.json().unwrap(), &mut nodes);
        let nodes: Vec<Row<'_>> = nodes
            .iter()
            .map(|(app, read, write)| (app.as_str(), *read, *write))
            .collect();
        assert_eq!(nodes, *expected, "{who}");
    }
    let shallow = ask(&world, "ann", "/apps").await.json().unwrap();
    let shop = json!({ "app": "shop", "name": "shop", "project": "shop-prod", "owners": ["shop-leads@acme.example"],
        "can_read": true, "can_write": true });
    assert_eq!(
        (&shallow["apps"], &shallow["children"]),
        (&json!(["shop"]), &json!([shop]))
    );
    assert_eq!(
        ask(&world, "ann", "/apps/platform?depth=all").await.status,
        403
    );
}
