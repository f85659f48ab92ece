//! What callbacks cost the provider: nothing before they prove a login, and then one exchange in its turn.
//!
//! What it does: sends callbacks by the dozen, and counts what the provider is asked. What it refuses to know: what the
//! provider answers (`login` does). Invariant: waiting has a deadline.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::forge::Answer;
use super::desk::{Desk, pairs};
use crate::reason::Reason;

/// Scenario: callbacks without the cookie of a login, with another's, late, of another flow, or twice. Guarantees: the
/// provider is not asked, and nothing is remembered of them, so that no number of them makes an honest login count as
/// spent; the cookie goes only where its login is over.
#[tokio::test]
async fn what_is_no_login_costs_the_provider_nothing() {
    let desk = Desk::open().await;
    let (visit, other, late) = (
        desk.begin().await.unwrap(),
        desk.begin().await.unwrap(),
        desk.begin().await.unwrap(),
    );
    let good = desk.answer(&visit);
    let state = visit.asked["state"].as_str();
    let issuer = desk.issuer.issuer.as_str();
    let denied = pairs(&[
        ("error", "access_denied"),
        ("state", state),
        ("iss", issuer),
    ]);
    let elsewhere = pairs(&[
        ("code", "c"),
        ("state", state),
        ("iss", "https://evil.example"),
    ]);
    let twice = pairs(&[
        ("code", "c"),
        ("code", "d"),
        ("state", state),
        ("iss", issuer),
    ]);
    let before = desk.provider.discoveries.load(Ordering::SeqCst);
    for (answer, transaction, expected, is_over) in [
        (&good, None, "login_transaction_missing", true),
        (&good, Some("AAAA"), "login_transaction_invalid", true),
        (
            &good,
            Some(other.transaction.as_str()),
            "login_state_mismatch",
            false,
        ),
        (
            &twice,
            Some(visit.transaction.as_str()),
            "login_callback_malformed",
            false,
        ),
        (
            &denied,
            Some(visit.transaction.as_str()),
            "login_access_denied",
            true,
        ),
        (
            &elsewhere,
            Some(visit.transaction.as_str()),
            "login_issuer_mismatch",
            true,
        ),
    ] {
        let unfinished = desk
            .finish_from(Ipv4Addr::LOCALHOST, answer, transaction)
            .await
            .unwrap_err();
        assert_eq!(
            (unfinished.fault.code(), unfinished.is_over),
            (expected, is_over)
        );
    }
    let exchanges = || desk.provider.exchanges.asked.load(Ordering::SeqCst);
    assert_eq!(
        (exchanges(), desk.identifier.login().unwrap().held()),
        (0, (0, 0))
    );
    desk.grant(&visit, json!({}));
    assert!(desk.finish(&good, Some(&visit.transaction)).await.is_ok());
    let replayed = desk
        .finish_from(Ipv4Addr::LOCALHOST, &good, Some(&visit.transaction))
        .await
        .unwrap_err();
    assert_eq!(
        (replayed.fault.code(), replayed.is_over),
        ("login_transaction_spent", true)
    );
    assert_eq!(
        (exchanges(), desk.identifier.login().unwrap().held()),
        (1, (1, 0)),
        "one exchange for one login"
    );
    desk.later(600);
    assert_eq!(
        desk.finish(&desk.answer(&late), Some(&late.transaction))
            .await,
        Err("login_transaction_expired")
    );
    assert_eq!(
        (
            exchanges(),
            desk.provider.discoveries.load(Ordering::SeqCst)
        ),
        (1, before)
    );
}

/// Scenario: one address sends more codes than may be exchanged at once, while the provider is slow; then another address
/// sends some, then the provider is well. Guarantees: so many exchanges are under way and no more, of one address half of
/// them; all others wait, and none is refused; an honest login among them comes to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_wait_for_each_other_and_for_no_address_alone() {
    let desk = Arc::new(Desk::open().await);
    let code_refused = Answer {
        status: 400,
        ..Answer::json(json!({"error": "invalid_grant"}))
    };
    desk.provider.page("/token", code_refused);
    desk.provider.exchanges.stalled.send_replace(true);
    let mut finishing = tokio::task::JoinSet::new();
    for (number, address) in [(24, [192, 0, 2, 1]), (20, [192, 0, 2, 2])] {
        for _ in 0..number {
            let visit = desk.begin().await.unwrap();
            let desk = desk.clone();
            finishing.spawn(async move {
                let answer = desk.answer(&visit);
                desk.finish_from(address.into(), &answer, Some(&visit.transaction))
                    .await
                    .map_err(|end| end.fault)
            });
        }
        let exchanges = desk.provider.exchanges.clone();
        let login = desk.identifier.login().unwrap();
        let under_way = if address[3] == 1 { (16, 8) } else { (32, 12) };
        let until = Instant::now() + Duration::from_secs(20);
        while (exchanges.asked.load(Ordering::SeqCst), login.held().1) != under_way {
            assert!(
                Instant::now() < until,
                "{:?} {:?}",
                exchanges.asked,
                login.held()
            );
            tokio::task::yield_now().await;
        }
    }
    desk.provider.exchanges.stalled.send_replace(false);
    while let Some(ended) = finishing.join_next().await {
        assert_eq!(
            ended.unwrap(),
            Err(Reason::LoginCodeRefused),
            "all are heard"
        );
    }
    let exchanges = &desk.provider.exchanges;
    let counts = (
        exchanges.asked.load(Ordering::SeqCst),
        exchanges.most_under_way.load(Ordering::SeqCst),
    );
    assert!(counts.0 == 44 && counts.1 <= 32, "{counts:?}");
    assert!(desk.login(json!({})).await.is_ok());
}
