//! The alert inlet, end to end: what a destination gets and when, who may tell of alerts, and what a message cannot do.
//! What it refuses to know: how alerts are shown.

mod hostile;
mod secrets;

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
