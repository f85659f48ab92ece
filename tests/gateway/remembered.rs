//! What is remembered of exports and alerts that are to come again: whose it is, of which export, and where it went. What it refuses to know: how a
//! retry is answered (`exports`), and how the memory is bounded (the unit tests of `forward` do).

use lightkeeper::otlp::Encoding;
use testkit::{Coding, Emulator, Fault, ReceiverFault, Sample};

use super::exports::{by_project, frontend};
use super::inlet::{self, SHOP};
use super::stage;

/// Scenario: another caller sends the same bytes while a part of the first one's export is remembered.
/// Guarantees: what is remembered is the caller's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_remembered_for_its_sender_alone() {
    let world = stage::start(stage::bind(
        stage::plan(&[]),
        "{ name: more, subjects: [{ issuer: acme, subject: \"ci:terraform\" }], role: reporter, apps: [shop] }",
    ))
    .await;
    let sample = Sample::traces("checkout", 1).and("payments", 1);
    world
        .emulator
        .fail_project("payments-prod", Fault::PlainStatus { status: 503 });
    let other = world
        .plain_caller()
        .bearer(&world.issuer.token("terraform"));
    for caller in [frontend(&world), other] {
        assert_eq!(
            caller
                .export(&sample, Encoding::Protobuf)
                .await
                .unwrap()
                .status,
            503
        );
    }
    assert_eq!(world.emulator.exports().len(), 2);
}

/// Scenario: an export of two projects is to come again; instead, the same sender sends other exports of which one part
/// is the same to the byte: alone, with another one, as another signal, and after its app has moved to another project.
/// Guarantees: a part is known only as a part of the export that it came with; nothing that was not taken is swallowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_a_different_export_is_not_taken_for_a_retry() {
    let world = stage::start(stage::plan(&[])).await;
    let caller = frontend(&world);
    let whole = Sample::traces("checkout", 3).and("payments", 2);
    let count = |project: &str| {
        by_project(&world.emulator.exports())
            .get(project)
            .map_or(0, |services| services.iter().map(|(_, n)| n).sum::<u64>())
    };
    world
        .emulator
        .fail_project("payments-prod", Fault::PlainStatus { status: 503 });
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        world.emulator.clear();
        assert_eq!(caller.export(&whole, encoding).await.unwrap().status, 503);
        assert_eq!(count("checkout-prod"), 3);
        // The part alone, as an export of its own.
        let alone = Sample::traces("checkout", 3);
        assert_eq!(
            caller.export(&alone, encoding).await.unwrap().status,
            200,
            "{encoding:?}"
        );
        assert_eq!(count("checkout-prod"), 6, "{encoding:?}: swallowed");
        // The part beside others.
        let other = Sample::traces("checkout", 3).and("payments", 1);
        assert_eq!(
            caller.export(&other, encoding).await.unwrap().status,
            503,
            "{encoding:?}"
        );
        assert_eq!(count("checkout-prod"), 9, "{encoding:?}: swallowed");
        // The export itself is still known, in another coding as well.
        for coding in Coding::ALL {
            assert_eq!(
                caller
                    .clone()
                    .compressing(coding)
                    .export(&whole, encoding)
                    .await
                    .unwrap()
                    .status,
                503
            );
            assert_eq!(
                count("checkout-prod"),
                9,
                "{encoding:?} {coding:?}: sent twice"
            );
        }
    }
    // Resources without items are the same bytes in every signal.
    let resource = |service: &str| {
        let field = |number: u8, content: &[u8]| {
            [&[number << 3 | 2, content.len() as u8], content].concat()
        };
        let value = field(2, &field(1, service.as_bytes()));
        field(
            1,
            &field(1, &field(1, &[field(1, b"service.name"), value].concat())),
        )
    };
    let body = [resource("checkout"), resource("payments")].concat();
    for (number, path) in ["/v1/traces", "/v1/metrics", "/v1/logs"]
        .into_iter()
        .enumerate()
    {
        if number == 0 {
            world.emulator.clear();
        }
        for _ in 0..2 {
            let kind = [("content-type", "application/x-protobuf")];
            let answer = caller
                .send(http::Method::POST, path, &kind, body.clone())
                .await
                .unwrap();
            assert_eq!(answer.status, 503, "{path}");
        }
        let taken = world
            .emulator
            .exports()
            .iter()
            .filter(|export| export.project == "checkout-prod")
            .count();
        assert_eq!(taken, number + 1, "{path}: once for each signal");
    }
    // The app moves to another project, where nothing of it has arrived.
    let policy = world.folder().join("policy.yaml");
    let before = std::fs::read_to_string(&policy).unwrap();
    let old = "checkout: { project: checkout-prod, services";
    assert!(before.contains(old));
    stage::replace(&policy, before.replace(old, "checkout: { services"));
    world.gateway.reload().await.unwrap();
    world.emulator.clear();
    assert_eq!(
        caller
            .export(&whole, Encoding::Protobuf)
            .await
            .unwrap()
            .status,
        503
    );
    assert_eq!(count("shop-prod"), 3, "remembered of another project");
}

/// Scenario: an export of two projects is to come again; before it does, a reload leads to another backend.
/// Guarantees: the new backend gets all of it, and once; what the first one has taken is not held to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_backend_took_is_sent_to_another_in_its_place() {
    let world = stage::start(stage::plan(&[])).await;
    let moved_to = Emulator::start().await.unwrap();
    let caller = frontend(&world);
    let whole = Sample::traces("checkout", 3).and("payments", 2);
    world
        .emulator
        .fail_project("payments-prod", Fault::PlainStatus { status: 503 });
    assert_eq!(
        caller
            .export(&whole, Encoding::Protobuf)
            .await
            .unwrap()
            .status,
        503
    );
    assert_eq!(
        by_project(&world.emulator.exports())
            .keys()
            .collect::<Vec<_>>(),
        ["checkout-prod"]
    );
    let config = world.folder().join("lightkeeper.yaml");
    let before = std::fs::read_to_string(&config).unwrap();
    stage::replace(
        &config,
        before.replace(&world.emulator.url(), &moved_to.url()),
    );
    world.gateway.reload().await.unwrap();
    assert_eq!(
        caller
            .export(&whole, Encoding::Protobuf)
            .await
            .unwrap()
            .status,
        200
    );
    let there = by_project(&moved_to.exports());
    assert_eq!(
        there.keys().collect::<Vec<_>>(),
        ["checkout-prod", "payments-prod"],
        "swallowed"
    );
    assert!(moved_to.span_ids().values().all(|times| *times == 1));
}

/// Scenario: one of two destinations fails; before the message comes again, the one that took it has moved to another URL.
/// Guarantees: it is told at its new place, because nothing has arrived there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_has_moved_is_told_again() {
    let world = stage::start(inlet::plan(&[("shop", "oncall, pager")])).await;
    let caller = inlet::webhook(&world, "shop");
    let body = br#"{"name":"moves"}"#;
    world.receiver.fail(
        "/pager",
        ReceiverFault::Status {
            status: 500,
            location: None,
        },
    );
    assert_eq!(inlet::post(&caller, SHOP, body).await.status, 502);
    world.receiver.heal();
    let config = world.folder().join("lightkeeper.yaml");
    let before = std::fs::read_to_string(&config).unwrap();
    let old = format!("{}/oncall", world.receiver.url());
    assert!(before.contains(&old));
    stage::replace(&config, before.replace(&old, &format!("{old}-moved")));
    world.gateway.reload().await.unwrap();
    assert_eq!(
        inlet::post(&caller, SHOP, body).await.json().unwrap(),
        serde_json::json!({"status": "delivered"})
    );
    assert_eq!(
        inlet::told(&world.receiver),
        ["/oncall", "/oncall-moved", "/pager", "/pager"]
    );
}
