//! The alert inlet, end to end: what a destination gets and when, who may tell of alerts, and what a message cannot do.
//! What it refuses to know: how alerts are shown.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use lightkeeper::apps::AppPath;
use lightkeeper::clock::Clock;
use serde_json::{Value, json};
use testkit::world::{ONCALL_SECRET, webhook_secret};
use testkit::{Answer, Leaf, Receiver, ReceiverFault, SampleCaller, World, WorldPlan};

use super::stage;

pub const SHOP: &str = "/apps/shop/-/alerts";
const CHECKOUT: &str = "/apps/shop/checkout/-/alerts";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A world with a second destination, `pager`, at the same receiver, and what each of these apps is to name.
pub fn plan(destinations: &[(&str, &str)]) -> WorldPlan {
    let mut plan = stage::plan(&[
        (
            "alerts:\n  destinations:\n",
            "alerts:\n  destinations:\n    pager: { url: \"{receiver}/pager\" }\n",
        ),
        (
            "    address: {plain}\n",
            "    address: {plain}\n    public_url: https://telemetry.acme.example\n",
        ),
    ]);
    for (app, names) in destinations {
        let alerts = format!("alerts: {{ destinations: [{names}] }}");
        let (old, new) = match *app {
            "shop" => ("alerts: { destinations: [oncall] }", alerts),
            "shop/checkout" => (
                "checkout: { project",
                format!("checkout: {{ {alerts}, project"),
            ),
            other => panic!("no place for {other}"),
        };
        assert!(plan.policy.contains(old));
        plan.policy = plan.policy.replacen(old, &new, 1);
    }
    plan
}

pub fn webhook(world: &World, app: &str) -> SampleCaller {
    world.plain_caller().bearer(&webhook_secret(app))
}

pub async fn post(caller: &SampleCaller, path: &str, body: &[u8]) -> Answer {
    caller
        .send(Method::POST, path, &JSON, body.to_vec())
        .await
        .unwrap()
}

/// The paths at which messages came, in order of name.
pub fn told(receiver: &Receiver) -> Vec<String> {
    let mut paths: Vec<String> = receiver
        .received()
        .into_iter()
        .map(|one| one.path)
        .collect();
    paths.sort();
    paths
}

async fn record(world: &World, answer: &Answer) -> Value {
    stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await
}

async fn reason(world: &World, answer: &Answer) -> (u16, String) {
    (
        answer.status,
        record(world, answer).await["reason"]
            .as_str()
            .unwrap()
            .to_owned(),
    )
}

/// Scenario: the backend tells of an alert of an app that names no destinations of its own. Guarantees: its ancestor's gets
/// the original as it came, with whose it is and where to look; its head is ours alone; the record says who told which destination;
/// the parent sees the state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_gets_the_original_and_what_we_know() {
    let world = stage::start(plan(&[])).await;
    let original =
        br#"{ "alert": {"id": 7, "name": "latency of pay", "state": "Critical"}, "big": 12345678901234567890.10 }"#;
    let caller = webhook(&world, "shop/checkout")
        .header("x-told-by", "the-backend")
        .header("lightkeeper-app", "shop");
    let answer = post(&caller, CHECKOUT, original).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, r#"{"status":"delivered"}"#)
    );
    let received = world.receiver.received();
    let [message] = received.as_slice() else {
        panic!("{received:?}")
    };
    let record = record(&world, &answer).await;
    let body = String::from_utf8(message.body.clone()).unwrap();
    let mut lines = message.json().unwrap();
    let time = lines["received"].take();
    let traces = lines["links"]["traces"].take();
    let explorer = "https://app.lightstep.com/checkout-prod/explorer?start_micros=";
    assert!(
        traces
            .as_str()
            .is_some_and(|link| link.starts_with(explorer)),
        "{traces}"
    );
    assert!(
        time.as_str().is_some_and(|time| time.ends_with('Z')),
        "{time}"
    );
    assert_eq!(
        body.replace(time.as_str().unwrap(), "TIME")
            .replace(traces.as_str().unwrap(), "TRACES")
            .replace(record["request_id"].as_str().unwrap(), "ID"),
        format!(
            concat!(
                r#"{{"organization":"acme","app":"shop/checkout","owners":["shop-leads@acme.example"],"#,
                r#""project":"checkout-prod","received":"TIME","request_id":"ID","alert":{},"#,
                r#""state":"firing","name":"latency of pay","#,
                r#""links":{{"console":"https://telemetry.acme.example/.lightkeeper/apps/shop/checkout","#,
                r#""services":"https://app.lightstep.com/checkout-prod/service-directory","#,
                r#""dashboards":"https://app.lightstep.com/checkout-prod/dashboards","#,
                r#""traces":"TRACES","alert":"https://app.lightstep.com/checkout-prod/alerts/7"}}}}"#
            ),
            std::str::from_utf8(original).unwrap()
        )
    );
    let names: Vec<&str> = message
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "host",
            "content-type",
            "accept",
            "user-agent",
            "authorization",
            "content-length"
        ]
    );
    assert_eq!(
        (message.method.as_str(), message.path.as_str()),
        ("POST", "/oncall")
    );
    assert_eq!(
        message.header("authorization"),
        Some(format!("Bearer {ONCALL_SECRET}").as_str())
    );
    assert_eq!(
        record["identity"],
        json!({"method": "webhook", "issuer": "webhooks", "subject": "shop/checkout"})
    );
    assert_eq!(
        record["parts"],
        json!([{"apps": ["shop/checkout"], "destination": "oncall", "items": {"accepted": 1, "rejected": 0}, "reason": "ok", "upstream_status": 200}])
    );
    for (member, expected) in [
        ("operation", "alerts.receive"),
        ("app", "shop/checkout"),
        ("project", "checkout-prod"),
        ("decision", "allow"),
        ("reason", "ok"),
    ] {
        assert_eq!(record[member], expected, "{member}");
    }
    let alarms = &world.gateway.shared().alert_states;
    let known = alarms.of(&AppPath::parse("shop").unwrap());
    let [alarm] = known.as_slice() else {
        panic!("{known:?}")
    };
    assert_eq!(
        (alarm.app.as_str(), alarm.id.as_str(), alarm.name.as_str()),
        ("shop/checkout", "7", "latency of pay")
    );
    world.gateway.reload().await.unwrap();
    assert_eq!(alarms.firing(&AppPath::root()), 1);
    assert_eq!(alarms.firing(&AppPath::parse("platform").unwrap()), 0);
    stage::counts(
        &world,
        r#"lightkeeper_alerts_total{app="shop/checkout",outcome="delivered"}"#,
        1.0,
    )
    .await;
    assert_eq!(world.emulator.heads(), 0);
}

/// Scenario: parent and child name destinations, one of them, or none. Guarantees: an app's own list counts, an empty one
/// too; without one it is the nearest ancestor's; where there is no destination, the state is known all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_keeps_control_of_where_its_own_go() {
    for (destinations, expected) in [
        (
            &[("shop", "oncall")][..],
            [
                ("shop", "delivered", &["/oncall"][..]),
                ("shop/checkout", "delivered", &["/oncall"]),
            ],
        ),
        (
            &[("shop", "oncall"), ("shop/checkout", "pager")],
            [
                ("shop", "delivered", &["/oncall"]),
                ("shop/checkout", "delivered", &["/pager"]),
            ],
        ),
        (
            &[("shop", "oncall, pager"), ("shop/checkout", "")],
            [
                ("shop", "delivered", &["/oncall", "/pager"]),
                ("shop/checkout", "kept", &[]),
            ],
        ),
        (
            &[("shop", "")],
            [("shop", "kept", &[]), ("shop/checkout", "kept", &[])],
        ),
    ] {
        let world = stage::start(plan(destinations)).await;
        for (app, status, paths) in expected {
            world.receiver.clear();
            let project = if app == "shop" {
                "shop-prod"
            } else {
                "checkout-prod"
            };
            let answer = world
                .emulator
                .fire_alert(project, "errors", "critical")
                .await
                .unwrap();
            assert_eq!(
                (answer.status, answer.json().unwrap()),
                (200, json!({ "status": status })),
                "{destinations:?}"
            );
            assert_eq!(told(&world.receiver), paths, "{destinations:?} {app}");
        }
        assert_eq!(
            world.gateway.shared().alert_states.firing(&AppPath::root()),
            2
        );
    }
}

/// Scenario: one of two destinations fails, in several ways. Guarantees: the backend is told to come again, and then only
/// the one that does not have the message gets it; a redirect is not followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_sends_only_what_is_missing() {
    let world = stage::start(plan(&[("shop", "oncall, pager")])).await;
    let caller = webhook(&world, "shop");
    let elsewhere = format!("{}/elsewhere", world.receiver.url());
    let status = |status, location| ReceiverFault::Status { status, location };
    for (number, fault) in [
        status(500, None),
        status(302, Some(elsewhere.clone())),
        status(307, Some(elsewhere)),
        status(404, None),
    ]
    .into_iter()
    .enumerate()
    {
        world.receiver.clear();
        world.receiver.fail("/pager", fault.clone());
        let body = format!(r#"{{"name":"a{number}"}}"#);
        let answer = post(&caller, SHOP, body.as_bytes()).await;
        assert_eq!(
            reason(&world, &answer).await,
            (502, "destination_failed".to_owned()),
            "{fault:?}"
        );
        assert!(answer.header("retry-after").is_some());
        let parts = record(&world, &answer).await["parts"].clone();
        assert_eq!(
            (&parts[0]["reason"], &parts[1]["reason"]),
            (&json!("ok"), &json!("destination_refused"))
        );
        assert_eq!(told(&world.receiver), ["/oncall", "/pager"], "{fault:?}");
        world.receiver.heal();
        let answer = post(&caller, SHOP, body.as_bytes()).await;
        assert_eq!(answer.json().unwrap(), json!({"status": "delivered"}));
        let parts = record(&world, &answer).await["parts"].clone();
        assert_eq!(
            (&parts[0]["reason"], &parts[1]["reason"]),
            (&json!("remembered"), &json!("ok"))
        );
        assert_eq!(
            told(&world.receiver),
            ["/oncall", "/pager", "/pager"],
            "{fault:?}"
        );
        assert_eq!(
            post(&caller, SHOP, body.as_bytes()).await.json().unwrap(),
            json!({"status": "repeated"})
        );
        assert_eq!(world.receiver.received().len(), 3);
    }
    world.receiver.clear();
    world.receiver.stop().await;
    let answer = post(&caller, SHOP, br#"{"name":"down"}"#).await;
    assert_eq!(
        reason(&world, &answer).await,
        (502, "destination_failed".to_owned())
    );
    assert_eq!(
        record(&world, &answer).await["parts"][0]["reason"],
        "upstream_unreachable"
    );
    world.receiver.restart().await.unwrap();
    assert_eq!(post(&caller, SHOP, br#"{"name":"down"}"#).await.status, 200);
    assert_eq!(told(&world.receiver), ["/oncall", "/pager"]);
}

/// Scenario: the same message comes again: at once, while the first is still being passed on, for another app, and after
/// the window; and messages that say an old or a future time. Guarantees: each is passed on once within the window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_passed_on_once() {
    // 2026-11-22T12:00:00Z
    const NOON: i64 = 1_795_348_800_000;
    let (clock, hand) = Clock::manual(lightkeeper::clock::UnixMillis(NOON));
    let world = World::start_with(WorldPlan { clock, ..plan(&[]) })
        .await
        .unwrap();
    let caller = webhook(&world, "shop");
    let body = br#"{"name":"errors"}"#;
    let said = |answer: Answer| answer.json().unwrap()["status"].as_str().map(str::to_owned);
    assert_eq!(
        said(post(&caller, SHOP, body).await).as_deref(),
        Some("delivered")
    );
    assert_eq!(
        said(post(&caller, SHOP, body).await).as_deref(),
        Some("repeated")
    );
    let other = webhook(&world, "shop/checkout");
    assert_eq!(
        said(post(&other, CHECKOUT, body).await).as_deref(),
        Some("delivered")
    );
    hand.store(NOON + 599_999, Ordering::SeqCst);
    assert_eq!(
        said(post(&caller, SHOP, body).await).as_deref(),
        Some("repeated")
    );
    hand.store(NOON + 600_000, Ordering::SeqCst);
    assert_eq!(
        said(post(&caller, SHOP, body).await).as_deref(),
        Some("delivered")
    );
    // What says its time is known for as long as that time would let it in.
    for (name, ahead, known_until) in [
        ("now", 0, 600_000),
        ("ahead", 300_000, 900_000),
        ("late", -1, 599_999),
    ] {
        hand.store(NOON, Ordering::SeqCst);
        let body = json!({ "name": name, "time": NOON + ahead }).to_string();
        assert_eq!(
            said(post(&caller, SHOP, body.as_bytes()).await).as_deref(),
            Some("delivered"),
            "{name}"
        );
        hand.store(NOON + known_until, Ordering::SeqCst);
        assert_eq!(
            said(post(&caller, SHOP, body.as_bytes()).await).as_deref(),
            Some("repeated"),
            "{name}"
        );
        hand.store(NOON + known_until + 1, Ordering::SeqCst);
        assert_eq!(
            reason(&world, &post(&caller, SHOP, body.as_bytes()).await)
                .await
                .1,
            "alert_stale",
            "{name}"
        );
    }
    hand.store(NOON, Ordering::SeqCst);
    for (time, expected) in [
        ("2026-11-22T11:50:00Z", 200),
        ("2026-11-22T11:49:59Z", 400),
        ("2026-11-22T12:10:01Z", 400),
        ("2025-11-22T12:00:00Z", 400),
        ("yesterday", 200),
    ] {
        let answer = post(
            &caller,
            SHOP,
            json!({ "time": time }).to_string().as_bytes(),
        )
        .await;
        assert_eq!(answer.status, expected, "{time}");
        if expected == 400 {
            assert_eq!(reason(&world, &answer).await.1, "alert_stale");
        }
    }
    world.receiver.clear();
    world
        .receiver
        .fail("/oncall", ReceiverFault::Slow(Duration::from_millis(400)));
    let first = {
        let caller = caller.clone();
        tokio::spawn(async move { post(&caller, SHOP, b"{}").await })
    };
    stage::eventually("the first message", || async {
        (!world.receiver.received().is_empty()).then_some(())
    })
    .await;
    let second = post(&caller, SHOP, b"{}").await;
    assert_eq!(
        reason(&world, &second).await,
        (503, "alert_underway".to_owned())
    );
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(world.receiver.received().len(), 1);
}

/// Scenario: secrets are rotated. Guarantees: old and new count side by side, and what is withdrawn counts no more from
/// the reload on, on open connections too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_rotated_without_a_gap() {
    let world = stage::start(plan(&[])).await;
    let (old, new) = (
        webhook_secret("shop"),
        "the-next-secret-of-shop-c0ffee".to_owned(),
    );
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(world.folder().join("secrets/webhook-next"), &new).unwrap();
    let mut open = world.plain_caller().connect().await.unwrap();
    for (secrets, counting) in [
        ("[{ file: secrets/webhook-shop }]", [true, false]),
        (
            "[{ file: secrets/webhook-next }, { file: secrets/webhook-shop }]",
            [true, true],
        ),
        ("[{ file: secrets/webhook-next }]", [false, true]),
    ] {
        stage::replace(
            &config,
            text.replace("[{ file: secrets/webhook-shop }]", secrets),
        );
        world.gateway.reload().await.unwrap();
        for (secret, counts) in [&old, &new].into_iter().zip(counting) {
            let bearer = format!("Bearer {secret}");
            let headers = [("authorization", bearer.as_str()), JSON[0]];
            let answer = open
                .send(Method::POST, SHOP, &headers, b"{}".to_vec())
                .await
                .unwrap();
            assert_eq!(answer.status, if counts { 200 } else { 401 }, "{secrets}");
            if !counts {
                // An unread body ends the connection.
                open = world.plain_caller().connect().await.unwrap();
            }
        }
    }
}

/// Scenario: an app without a secret, an app that does not exist, a wrong secret, and every other kind of evidence.
/// Guarantees: all are refused, and none of the answers tells which it was; nothing is read or passed on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_apps_own_secret_counts_and_refusals_look_alike() {
    let world = stage::start(plan(&[])).await;
    let (plain, secret) = (world.plain_caller(), webhook_secret("shop"));
    let token = world.issuer.token("ann");
    let cases: Vec<(&str, SampleCaller, &str, &str)> = vec![
        (
            "wrong secret",
            plain.clone().bearer("not-the-secret-of-shop"),
            SHOP,
            "webhook_unknown",
        ),
        (
            "no secret",
            plain.clone().bearer(&secret),
            "/apps/platform/-/alerts",
            "webhook_unknown",
        ),
        (
            "no app",
            plain.clone().bearer(&secret),
            "/apps/nowhere/-/alerts",
            "webhook_unknown",
        ),
        (
            "the parent's",
            plain.clone().bearer(&secret),
            CHECKOUT,
            "webhook_unknown",
        ),
        (
            "the child's",
            plain.clone().bearer(&webhook_secret("shop/checkout")),
            SHOP,
            "webhook_unknown",
        ),
        (
            "the root",
            plain.clone().bearer(&secret),
            "/apps/-/alerts",
            "webhook_unknown",
        ),
        (
            "longer",
            plain.clone().bearer(&format!("{secret}x")),
            SHOP,
            "webhook_unknown",
        ),
        (
            "a developer's token",
            plain.clone().bearer(&token),
            SHOP,
            "webhook_unknown",
        ),
        (
            "another scheme",
            plain
                .clone()
                .header("authorization", &format!("Basic {secret}")),
            SHOP,
            "webhook_unknown",
        ),
        (
            "another header",
            plain.clone().access_token(&secret),
            SHOP,
            "webhook_evidence",
        ),
        (
            "a token in it",
            plain.clone().access_token(&token),
            SHOP,
            "webhook_evidence",
        ),
    ];
    let mut looks = Vec::new();
    for (what, caller, path, expected) in cases {
        let answer = post(&caller, path, br#"{"name":"a"}"#).await;
        assert_eq!(
            reason(&world, &answer).await,
            (401, expected.to_owned()),
            "{what}"
        );
        let id = answer.header("lightkeeper-request-id").unwrap();
        let mut headers: Vec<String> = answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        headers.retain(|line| !line.starts_with("date:"));
        looks.push((
            what,
            format!("{headers:?} {}", answer.text()).replace(&id, "ID"),
        ));
    }
    for (what, look) in &looks {
        assert_eq!(look, &looks[0].1, "{what}");
    }
    let cookie = plain.header("cookie", "__Host-lightkeeper-session=abc");
    let none = post(&cookie, SHOP, b"{}").await;
    assert_eq!(
        reason(&world, &none).await,
        (401, "no_credential".to_owned())
    );
    assert_eq!(told(&world.receiver), [""; 0]);
    assert!(
        world
            .gateway
            .shared()
            .alert_states
            .of(&AppPath::root())
            .is_empty()
    );
}

/// Scenario: a client certificate, alone and beside the secret. Guarantees: it is no evidence at the inlet, and two kinds
/// together are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_tells_of_no_alert() {
    let world = stage::start(plan(&[])).await;
    let leaf = Leaf::read(&world.folder().join("certs"), "client").unwrap();
    let caller = world.caller().certificate(&leaf);
    for caller in [caller.clone(), caller.bearer(&webhook_secret("shop"))] {
        let answer = post(&caller, SHOP, b"{}").await;
        assert_eq!(
            reason(&world, &answer).await,
            (401, "webhook_evidence".to_owned())
        );
    }
    assert_eq!(
        post(&world.caller().bearer(&webhook_secret("shop")), SHOP, b"{}")
            .await
            .status,
        200
    );
    assert_eq!(told(&world.receiver), ["/oncall"]);
}

/// Scenario: a webhook's secret is tried everywhere else, and afterwards everything that was written is searched.
/// Guarantees: it opens nothing but its inlet, and neither it nor the destination's is anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_worth_nothing_elsewhere_and_is_written_nowhere() {
    let world = stage::start(plan(&[("shop", "oncall, pager")])).await;
    let secret = webhook_secret("shop");
    let caller = webhook(&world, "shop");
    for (method, path) in [
        (Method::GET, "/.lightkeeper/whoami"),
        (Method::GET, "/apps"),
        (Method::GET, "/apps/shop"),
        (Method::GET, SHOP),
        (Method::PUT, SHOP),
        (Method::DELETE, SHOP),
        (Method::POST, "/apps/shop/-/alert"),
        (Method::POST, "/apps/shop/-/alerts/x"),
        (Method::POST, "/apps/shop/-/v1/traces"),
        (Method::POST, "/v1/traces"),
        (Method::GET, "/public/v0.2/acme/projects"),
        (
            Method::POST,
            "/public/v0.2/acme/projects/shop-prod/destinations",
        ),
    ] {
        for caller in [caller.clone(), world.plain_caller().access_token(&secret)] {
            let answer = caller
                .send(method.clone(), path, &JSON, b"{}".to_vec())
                .await
                .unwrap();
            assert_eq!(answer.status, 401, "{method} {path}");
        }
    }
    assert_eq!(world.emulator.heads(), 0);
    world.receiver.fail(
        "/pager",
        ReceiverFault::Status {
            status: 500,
            location: None,
        },
    );
    let said = post(&caller, SHOP, br#"{"name":"a"}"#).await;
    assert_eq!(said.status, 502);
    let record = record(&world, &said).await;
    assert!(record["detail"].as_str().unwrap().contains("pager"));
    let (_, metrics) = stage::admin(&world, "/metrics").await;
    let trail = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    let bodies: String = world
        .receiver
        .received()
        .iter()
        .map(|one| String::from_utf8_lossy(&one.body).into_owned())
        .collect();
    for secret in [secret.as_str(), ONCALL_SECRET] {
        for (place, text) in [
            ("metrics", &metrics),
            ("trail", &trail),
            ("messages", &bodies),
            ("answer", &said.text()),
        ] {
            assert!(!text.contains(secret), "{place}");
        }
    }
    let pager = &world.receiver.received_at("/pager")[0];
    assert!(
        pager
            .headers
            .iter()
            .all(|(_, value)| !value.contains(ONCALL_SECRET) && !value.contains(&secret))
    );
}

/// Scenario: messages and heads that are broken or mean harm, all with the right secret. Guarantees: each is refused with
/// its reason or passed on as it is; none chooses where anything goes, writes a header, or gets into a link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_cannot_do_harm() {
    let world = stage::start(plan(&[])).await;
    let caller = webhook(&world, "shop");
    let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let lists = format!("{{\"a\":{}{}}}", "[".repeat(60_000), "]".repeat(60_000));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(256 << 10));
    let json = "application/json";
    for (what, path, content_type, body, status, expected) in [
        ("empty", SHOP, json, "", 400, "alert_malformed"),
        ("text", SHOP, json, "firing", 400, "alert_malformed"),
        ("a list", SHOP, json, "[]", 400, "alert_malformed"),
        ("two", SHOP, json, "{}{}", 400, "alert_malformed"),
        (
            "twice the same",
            SHOP,
            json,
            r#"{"name":"a","name":"b"}"#,
            400,
            "alert_malformed",
        ),
        (
            "hidden twice",
            SHOP,
            json,
            r#"{"name":"a","n\u0061me":"b"}"#,
            400,
            "alert_malformed",
        ),
        (
            "deep",
            SHOP,
            json,
            deep(17).as_str(),
            400,
            "alert_malformed",
        ),
        (
            "deep lists",
            SHOP,
            json,
            lists.as_str(),
            400,
            "alert_malformed",
        ),
        ("large", SHOP, json, large.as_str(), 413, "body_too_large"),
        (
            "a form",
            SHOP,
            "application/x-www-form-urlencoded",
            "{}",
            415,
            "media_type_unsupported",
        ),
        ("no type", SHOP, "", "{}", 415, "media_type_unsupported"),
        (
            "protobuf",
            SHOP,
            "application/x-protobuf",
            "{}",
            415,
            "media_type_unsupported",
        ),
        (
            "query",
            "/apps/shop/-/alerts?a=b",
            json,
            "{}",
            400,
            "malformed_query",
        ),
        (
            "secret in the URL",
            "/apps/shop/-/alerts?token=x",
            json,
            "{}",
            400,
            "conflicting_credentials",
        ),
        (
            "parent path",
            "/apps/shop/../shop/-/alerts",
            json,
            "{}",
            400,
            "ambiguous_path",
        ),
        (
            "encoded slash",
            "/apps/shop%2Fcheckout/-/alerts",
            json,
            "{}",
            400,
            "ambiguous_path",
        ),
        (
            "no app's name",
            "/apps/Shop/-/alerts",
            json,
            "{}",
            401,
            "token_malformed",
        ),
    ] {
        let answer = caller
            .send(
                Method::POST,
                path,
                &[("content-type", content_type)],
                body.as_bytes().to_vec(),
            )
            .await
            .unwrap();
        assert_eq!(
            reason(&world, &answer).await,
            (status, expected.to_owned()),
            "{what}"
        );
        assert_eq!(
            answer.header("content-type").as_deref(),
            Some("application/json"),
            "{what}"
        );
    }
    let packed = caller
        .send(
            Method::POST,
            SHOP,
            &[JSON[0], ("content-encoding", "gzip")],
            b"x".to_vec(),
        )
        .await
        .unwrap();
    assert_eq!(
        reason(&world, &packed).await,
        (415, "content_encoding_unsupported".to_owned())
    );
    let raw = format!("{{\"a\":\"{}\"}}", "\u{fffd}");
    let mut broken = raw.into_bytes();
    broken[6] = 0xff;
    assert_eq!(
        reason(&world, &post(&caller, SHOP, &broken).await).await.1,
        "alert_malformed"
    );
    assert_eq!(told(&world.receiver), [""; 0]);
}

/// Scenario: sound messages whose names and members mean harm. Guarantees: they are passed on where the policy says, in a
/// head and with links that know nothing of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_get_into_no_head_and_no_link() {
    let world = stage::start(plan(&[])).await;
    let caller = webhook(&world, "shop").header("x-forwarded-host", "evil.example");
    let evil = "x\r\nset-cookie: a=b\r\n\r\n<script>../../%2e%2e\u{202e}";
    for body in [
        json!({ "name": evil, "id": evil, "state": evil, "app": "platform", "project": "platform-prod" }),
        json!({ "url": "http://169.254.169.254/", "destinations": ["pager"], "links": { "console": "http://evil/" } }),
        json!({ "organization": "evil", "owners": ["evil@example"], "request_id": "1", "name": ["a"], "state": {} }),
    ] {
        world.receiver.clear();
        let answer = post(&caller, SHOP, body.to_string().as_bytes()).await;
        assert_eq!(
            answer.json(),
            Some(json!({"status": "delivered"})),
            "{body}"
        );
        let received = world.receiver.received();
        let [message] = received.as_slice() else {
            panic!("{received:?}")
        };
        assert_eq!(
            (message.path.as_str(), message.headers.len()),
            ("/oncall", 6)
        );
        let whole = message.json().unwrap();
        assert_eq!(whole["alert"], body);
        assert_eq!(
            (
                &whole["organization"],
                &whole["app"],
                &whole["project"],
                &whole["links"]["console"]
            ),
            (
                &json!("acme"),
                &json!("shop"),
                &json!("shop-prod"),
                &json!("https://telemetry.acme.example/.lightkeeper/apps/shop")
            )
        );
        for link in whole["links"]
            .as_object()
            .unwrap()
            .values()
            .map(|link| link.as_str().unwrap())
        {
            let ours = [
                "https://telemetry.acme.example/.lightkeeper/",
                "https://app.lightstep.com/shop-prod/",
            ];
            assert!(ours.iter().any(|ours| link.starts_with(ours)), "{link}");
            assert!(
                link.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?=&%".contains(&byte)),
                "{link}"
            );
        }
        assert!(
            !whole["name"].to_string().contains("\\r")
                && !whole["state"].to_string().contains("\\n")
        );
    }
    let tls = world.caller().bearer(&webhook_secret("shop"));
    assert_eq!(
        post(&tls, SHOP, br#"{"name":"no public name"}"#)
            .await
            .status,
        200
    );
    let last = world.receiver.received().pop().unwrap().json().unwrap();
    assert!(
        last["links"]["console"].is_null(),
        "the caller's word for us is no link"
    );
}

/// Scenario: one app's webhook tells more than may be told. Guarantees: it is told to wait and how long, and no other app
/// is; after that time it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_may_tell_so_much_and_no_more() {
    const NOON: i64 = 1_795_348_800_000;
    let (clock, hand) = Clock::manual(lightkeeper::clock::UnixMillis(NOON));
    let world = World::start_with(WorldPlan {
        clock,
        ..plan(&[("shop", "")])
    })
    .await
    .unwrap();
    let mut line = webhook(&world, "shop").connect().await.unwrap();
    for number in 0..60 {
        let body = json!({ "name": number }).to_string().into_bytes();
        assert_eq!(
            line.send(Method::POST, SHOP, &JSON, body)
                .await
                .unwrap()
                .status,
            200,
            "{number}"
        );
    }
    let caller = webhook(&world, "shop");
    let answer = post(&caller, SHOP, b"{}").await;
    assert_eq!(
        reason(&world, &answer).await,
        (429, "alert_rate".to_owned())
    );
    assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
    assert_eq!(
        post(&webhook(&world, "shop/checkout"), CHECKOUT, b"{}")
            .await
            .status,
        200
    );
    hand.store(NOON + 1_001, Ordering::SeqCst);
    assert_eq!(post(&caller, SHOP, b"{}").await.status, 200);
}

/// Scenario: a stop cuts an alert of which one destination has taken its message and the other one has not answered.
/// Guarantees: the record says to which destinations it went, and what became of it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_is_cut_off_says_where_it_went() {
    let mut plan = plan(&[("shop", "oncall, pager")]);
    plan.more = "limits: { drain_timeout: 2s }".to_owned();
    let world = stage::start(plan).await;
    world
        .receiver
        .fail("/pager", ReceiverFault::Slow(stage::PATIENCE));
    let caller = webhook(&world, "shop");
    let cut =
        tokio::spawn(async move { caller.send(Method::POST, SHOP, &JSON, b"{}".to_vec()).await });
    stage::eventually("both messages", || async {
        (world.receiver.received().len() == 2).then_some(())
    })
    .await;
    tokio::time::timeout(stage::PATIENCE / 2, world.gateway.stop())
        .await
        .unwrap();
    assert!(cut.await.unwrap().is_err());
    let records = world.records();
    let call = records
        .iter()
        .find(|record| record["event"] == "call")
        .unwrap();
    let parts: Vec<_> = call["parts"].as_array().unwrap().iter().collect();
    let told = |name: &str| {
        parts
            .iter()
            .find(|part| part["destination"] == name)
            .map(|part| part["reason"].clone())
    };
    assert_eq!(
        (told("oncall"), told("pager")),
        (Some("ok".into()), Some("not_sent".into())),
        "{call}"
    );
    assert_eq!(
        (&call["decision"], &call["reason"]),
        (&"allow".into(), &"cut_off".into()),
        "{call}"
    );
}
