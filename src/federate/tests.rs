//! Tables of merges, and what the fan-out promises. What they refuse to know: how one project is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::gather::Lapse;
use super::*;
use crate::limits::{Budget, Spent};

fn origin(app: &str, project: &str) -> Origin {
    Origin {
        app: AppPath::parse(app).unwrap(),
        project: project.into(),
    }
}

fn pile(limit_bytes: u64) -> Pile {
    Pile::new(limit_bytes, Budget::new(1 << 20).gateway().open())
}

/// Scenario: targets that answer in the reverse order, one that fails within ourselves, one that never answers, with few
/// at once. Guarantees: their own order; never more at once; what is missing is told; what never ends is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_stand_in_the_order_of_the_targets() {
    let (running, most, ended) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(()),
    );
    let ask = |target: usize| {
        let (running, most, ended) = (running.clone(), most.clone(), ended.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in target..9 {
                tokio::task::yield_now().await;
            }
            let _alive = ended;
            match target {
                3 => std::future::pending::<()>().await,
                4 => std::panic::resume_unwind(Box::new("lost")),
                _ => {}
            }
            running.fetch_sub(1, Ordering::SeqCst);
            target
        }
    };
    let deadline = Instant::now() + Duration::from_millis(300);
    let answers = gather((0..9).collect(), 3, deadline, ask).await;
    let expected: Vec<Result<usize, Lapse>> = (0..9)
        .map(|target| match target {
            3 => Err(Lapse::Late),
            4 => Err(Lapse::Lost),
            _ => Ok(target),
        })
        .collect();
    assert_eq!(answers, expected);
    // The one that failed never counted down, and leaves room for two.
    assert!((2..=4).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    // What never ends was aborted with the set; an abort takes effect when its task is next looked at.
    while Arc::strong_count(&ended) > 1 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn items_are_told_apart_and_keep_what_the_backend_says() {
    let here = origin("shop/checkout", "checkout-prod");
    let shape = Err(MergeFault::Shape);
    type Case<'a> = (&'a str, &'a str, Result<Vec<&'a str>, MergeFault>);
    let cases: &[Case<'_>] = &[
        (
            r#"{"data":[{"id":"s-1","n":1.50,"attributes":{"name":"é"}}]}"#,
            "/data",
            Ok(vec![
                r#"{"app":"shop/checkout","project":"checkout-prod","link":"L","id":"s-1","n":1.50,"attributes":{"name":"é"}}"#,
            ]),
        ),
        (
            r#"{"data":{"items":[{"app":"x","link":{"a":1}}]}}"#,
            "/data/items",
            Ok(vec![
                r#"{"app":"shop/checkout","project":"checkout-prod","link":"L","original_app":"x","original_link":{"a":1}}"#,
            ]),
        ),
        (r#"{"data":[]}"#, "/data", Ok(vec![])),
        (r#"{"data":null}"#, "/data", Ok(vec![])),
        (r#"{"data":{}}"#, "/data", shape.clone()),
        (r#"{"data":[1]}"#, "/data", shape.clone()),
        (r#"{"data":[{"a":1,"a":2}]}"#, "/data", shape.clone()),
        (r#"{"data":[],"data":[]}"#, "/data", shape.clone()),
        (r#"{"items":[]}"#, "/data", shape.clone()),
        (r#"[]"#, "/data", shape.clone()),
        ("", "/data", shape),
    ];
    for (body, pointer, expected) in cases {
        let found = items(body.as_bytes(), pointer).map(|items| {
            items
                .iter()
                .map(|item| item.write(&here, Some("L"), &[]))
                .collect::<Vec<_>>()
        });
        let expected = expected
            .clone()
            .map(|items| items.into_iter().map(str::to_owned).collect());
        assert_eq!(found, expected, "{body}");
    }
    let body = br#"{"data":[{"id":7,"attributes":{"name":"n","on":true,"o":{}}}]}"#;
    let found = items(body, "/data").unwrap();
    for (pointer, text) in [
        ("/id", Some("7")),
        ("/attributes/name", Some("n")),
        ("/attributes/on", Some("true")),
        ("/attributes/o", None),
        ("/attributes/none", None),
    ] {
        assert_eq!(found[0].text(pointer).as_deref(), text, "{pointer}");
    }
}

/// One project's answer, or its fault, and what two of them become.
fn joined(one: &str, other: &str) -> Result<Value, MergeFault> {
    let read = |app: &str, body: &'static str| {
        Series::read(origin(app, app), body.as_bytes(), "/data/attributes")
    };
    let (one, other): (&'static str, &'static str) =
        (one.to_owned().leak(), other.to_owned().leak());
    let answers = [read("a", one)?, read("b", other)?];
    let joined = Series::join(&answers, pile(1 << 16), pile(1 << 16));
    assert_eq!(joined.unfit, []);
    Ok(serde_json::from_str::<Value>(&joined.text).unwrap()["attributes"].take())
}

#[test]
fn series_are_joined_by_label() {
    let answer = |attributes: Value| json!({ "data": { "attributes": attributes } }).to_string();
    let table: [(&str, Value, Value, Value); 5] = [
        (
            "labels of ours come first, theirs of that name are kept",
            json!({ "series": [{ "group-labels": ["app=x", "service=s"], "points": [[1, 2.5]] }] }),
            json!({ "series": [{ "points": [] }] }),
            json!({ "series": [
                { "group-labels": ["app=a", "project=a", "original_app=x", "service=s"], "points": [[1, 2.5]] },
                { "group-labels": ["app=b", "project=b"], "points": [] },
            ] }),
        ),
        (
            "what all agree on stands once",
            json!({ "output-period": 60, "series": [{ "points": [] }] }),
            json!({ "output-period": 60, "series": [] }),
            json!({ "output-period": 60, "series": [{ "group-labels": ["app=a", "project=a"], "points": [] }] }),
        ),
        (
            "what they do not agree on stands at each series",
            json!({ "output-period": 60, "series": [{ "points": [] }] }),
            json!({ "output-period": 30, "series": [{ "points": [] }] }),
            json!({ "series": [
                { "group-labels": ["app=a", "project=a"], "points": [], "output-period": 60 },
                { "group-labels": ["app=b", "project=b"], "points": [], "output-period": 30 },
            ] }),
        ),
        (
            "log entries say where they are from",
            json!({ "logs": [[1, { "project": "p", "body": "x" }]] }),
            json!({ "series": null }),
            json!({ "series": [], "logs": [[1, { "app": "a", "project": "a", "original_project": "p", "body": "x" }]] }),
        ),
        (
            "nothing is nothing",
            json!({ "series": [] }),
            json!({ "series": [] }),
            json!({ "series": [] }),
        ),
    ];
    for (what, one, other, expected) in table {
        assert_eq!(joined(&answer(one), &answer(other)), Ok(expected), "{what}");
    }
    let good = answer(json!({ "series": [] }));
    for bad in [
        json!({}),
        json!({ "series": {} }),
        json!({ "series": [1] }),
        json!({ "series": [{ "group-labels": "app=x" }] }),
        json!({ "series": [{ "group-labels": [1] }] }),
        json!({ "logs": [[1]] }),
        json!({ "logs": [[1, 2]] }),
    ] {
        assert_eq!(
            joined(&good, &answer(bad.clone())),
            Err(MergeFault::Shape),
            "{bad}"
        );
    }
}

#[test]
fn what_does_not_fit_is_told_and_adds_nothing() {
    let budget = Budget::new(40);
    let mut pile = Pile::new(15, budget.gateway().open());
    assert_eq!(pile.add(&["{\"a\":1}".to_owned()]), Ok(()));
    assert_eq!(
        pile.add(&["{\"a\":12}".to_owned()]),
        Err(MergeFault::TooLarge)
    );
    let mut other = Pile::new(100, budget.gateway().open());
    assert_eq!(
        other.add(&["0123456789012".to_owned()]),
        Err(MergeFault::Memory(Spent::Total))
    );
    assert_eq!(pile.add(&["{}".to_owned(), "{}".to_owned()]), Ok(()));
    assert_eq!((pile.count, pile.is_empty()), (3, false));
    let (text, held) = pile.finish();
    assert_eq!(
        (text.as_str(), budget.used_bytes()),
        (r#"{"a":1},{},{}"#, 28)
    );
    drop(held);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_merged_answer_names_what_is_missing() {
    let missing = [Missing {
        origin: origin("shop", "shop-prod"),
        resource: None,
        item: Some("c-1".to_owned()),
        reason: Reason::UpstreamStatus,
        status: Some(429),
        message: "too \"many\"".to_owned(),
    }];
    let app = AppPath::root();
    let merged = |missing| Merged {
        app: &app,
        resource: "streams",
        projects: vec!["shop-prod"],
        missing,
        content: ("items", "[{\"id\":1}]".to_owned()),
    };
    let expected = json!({
        "app": "/", "resource": "streams", "projects": ["shop-prod"], "partial": true, "items": [{ "id": 1 }],
        "errors": [{ "app": "shop", "project": "shop-prod", "item": "c-1", "reason": "upstream_status", "status": 429,
            "message": "too \"many\"" }],
    });
    assert_eq!(
        serde_json::from_str::<Value>(&merged(&missing).write()).unwrap(),
        expected
    );
    assert!(
        merged(&[])
            .write()
            .contains(r#""partial":false,"errors":[],"#)
    );
}
