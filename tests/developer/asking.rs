//! Questions: what the tree looks like to sample people, tables and JSON, and what every refusal says and returns.

use serde_json::json;
use testkit::{Issuer, World};

use super::desk::Desk;
use super::front::Front;

#[tokio::test(flavor = "multi_thread")]
async fn each_person_sees_their_part_of_the_tree() {
    let world = World::start().await.unwrap();
    let gateway = world.plain_url();
    for (person, marked, hidden) in [
        (
            "ann",
            vec!["rw    shop", "rw      checkout"],
            vec!["platform"],
        ),
        (
            "pat",
            vec!["r-      payments"],
            vec!["platform", "checkout"],
        ),
        (
            "sam",
            vec!["r-  /", "r-    platform", "r-      checkout"],
            vec![],
        ),
    ] {
        let desk = Desk::new();
        desk.log_in(&gateway, person).await;
        let shown = desk.run(&["apps"]);
        assert_eq!(shown.status, 0, "{shown:?}");
        assert!(
            marked
                .iter()
                .all(|line| shown.out.lines().any(|printed| printed.starts_with(line))),
            "{person}:\n{}",
            shown.out
        );
        assert!(
            !hidden.iter().any(|name| shown.out.contains(name)),
            "{person}:\n{}",
            shown.out
        );
        let part = desk.run(&["apps", "shop", "--output", "json"]);
        assert_eq!(
            (part.status, part.json()["app"].as_str()),
            (0, Some("shop")),
            "{part:?}"
        );
    }
    let desk = Desk::new();
    desk.log_in(&gateway, "pat").await;
    let denied = desk.run(&["apps", "platform"]);
    assert_eq!(denied.status, 3, "{denied:?}");
    assert!(
        denied.err.contains("request id") && denied.err.contains("`lightkeeper apps`"),
        "{denied:?}"
    );
}

/// Scenario: one answer of each kind. The exit status and the words follow it, and no hostile character is printed.
#[tokio::test(flavor = "multi_thread")]
async fn answers_decide_the_exit_status() {
    let items = json!([{ "id": "1", "name": "slow\u{1b}]0;x\u{7}", "app": "shop", "project": "shop-prod", "link": "https://ui/1" }]);
    let failed = json!([{ "app": "shop/pay\u{9b}2J", "project": "payments-prod", "reason": "upstream_timeout", "message": "no answer" }]);
    let answers = vec![
        (
            "/apps/shop/-/services",
            200,
            json!({ "items": items, "errors": [], "partial": false }),
        ),
        (
            "/apps/shop/-/alerts",
            200,
            json!({ "items": items, "errors": failed, "partial": true }),
        ),
        (
            "/apps/shop/-/streams",
            403,
            json!({ "errors": ["not \u{1b}[2Jpermitted"] }),
        ),
        (
            "/apps/shop/-/dashboards",
            401,
            json!({ "error": "unauthenticated", "message": "a credential is needed" }),
        ),
        ("/apps/shop/-/conditions", 500, json!("?")),
        ("/apps/shop/-/snapshots", 200, json!(null)),
        ("/apps/-/alerts", 200, json!({ "items": [] })),
        (
            "/apps/shop/-/query_timeseries",
            200,
            json!({ "series": [{ "group-labels": ["app=shop"], "points": [[1_700_000_000_000_i64, 2.5]] }], "errors": [], "partial": false }),
        ),
    ];
    let issuer = Issuer::start().await.unwrap();
    let front = Front::of(issuer.url(), answers).await;
    let desk = Desk::new();
    desk.log_in(&front.url(), "ann").await;
    for (arguments, status, out, err) in [
        (vec!["services", "shop"], 0, "shop-prod", ""),
        (
            vec!["services", "/shop/", "--output", "json"],
            0,
            "https://ui/1",
            "",
        ),
        (
            vec!["alerts", "shop"],
            4,
            "shop-prod",
            "missing: shop/pay2J (project payments-prod): upstream_timeout no answer",
        ),
        (vec!["alerts", "/"], 0, "APP", ""),
        (
            vec!["list", "streams", "shop"],
            3,
            "",
            "`lightkeeper apps` shows what is yours",
        ),
        (vec!["list", "dashboards", "shop"], 1, "", "log in again"),
        (
            vec!["list", "conditions", "shop"],
            1,
            "",
            "500: Internal Server Error (request id req-1)",
        ),
        (vec!["list", "snapshots", "shop"], 0, "", ""),
        (
            vec!["query", "shop", "spans count | rate"],
            0,
            "2023-11-14T22:13:20.000Z  2.5    app=shop",
            "",
        ),
        (vec!["list", "../x", "shop"], 2, "", "invalid value"),
        (vec!["alerts", "Shop"], 2, "", "write it as `shop/checkout`"),
    ] {
        let ended = desk.run(&arguments);
        assert_eq!(ended.status, status, "{arguments:?} {ended:?}");
        assert!(
            ended.out.contains(out) && ended.err.contains(err),
            "{arguments:?} {ended:?}"
        );
        let hostile = |text: &str| {
            text.chars()
                .any(|character| character.is_control() && character != '\n')
        };
        assert!(
            !hostile(&ended.out) && !hostile(&ended.err),
            "{arguments:?} {ended:?}"
        );
    }
    let asked = front
        .seen()
        .into_iter()
        .find(|seen| seen.target.ends_with("query_timeseries"))
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    let attributes = &body["data"]["attributes"];
    assert_eq!(
        (
            attributes["query"].as_str(),
            attributes["output-period"].as_str()
        ),
        (Some("spans count | rate"), Some("60s"))
    );
    assert_eq!(attributes["input-language"], "uql");
    drop(front);
    let gone = desk.run(&["whoami"]);
    assert!(
        gone.status == 1 && gone.err.contains("cannot be reached"),
        "{gone:?}"
    );
}

#[tokio::test]
async fn the_first_page_of_help_has_both_groups() {
    let help = Desk::new().run(&["--help"]);
    for part in [
        "For developers:",
        "For operators:",
        "  connect ",
        "  serve ",
        "Options:",
        "lightkeeper demo",
    ] {
        assert!(help.out.contains(part), "{part}:\n{}", help.out);
    }
}
