//! Logins that prove too little: where they end, and what people are told. What it refuses to know: tokens' insides.

use testkit::IssuerOptions;

use super::site::{Browser, SESSION, location, reason};
use super::stage;

/// Scenario: people are named by their address, which the provider does not call verified. Guarantees: the login ends on a page
/// that says why, with its reason in the record, and no session begins; where the operator accepts such addresses, it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_nobody_verified_logs_nobody_in() {
    for (setting, status, expected) in [
        ("refuse", 403, "login_email_unverified"),
        ("accept", 303, "ok"),
    ] {
        let named = format!(
            "audiences: [lightkeeper]\n    claims: {{ subject: email }}\n    email_unverified: {setting}"
        );
        let mut plan = stage::plan(&[("audiences: [lightkeeper]", &named)]);
        plan.issuer = IssuerOptions {
            email_verified: false,
            ..IssuerOptions::default()
        };
        let world = stage::start(plan).await;
        let mut browser = Browser::new(&world);
        let login = browser.get("/.lightkeeper/login").await;
        let callback = browser.at_provider(&location(&login), "ann").await;
        let answer = browser.get(&callback).await;
        assert_eq!(
            (answer.status, reason(&world, &answer).await.as_str()),
            (status, expected),
            "{setting}"
        );
        assert_eq!(browser.jar.contains_key(SESSION), status == 303);
        if status == 403 {
            assert!(
                answer
                    .text()
                    .contains("address is not verified at the identity provider"),
                "{}",
                answer.text()
            );
        }
    }
}

/// Scenario: a person is in so many groups that the provider's tokens say where to ask instead. The policy looks at groups.
/// Guarantees: the login ends on a page that says why and that an operator must act, with its reason in the record and the
/// metric; no session begins, and no page of the console is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_are_elsewhere_log_nobody_in() {
    for (elsewhere, status, expected) in [(true, 403, "login_claims_elsewhere"), (false, 303, "ok")]
    {
        let mut plan = stage::plan(&[]);
        plan.issuer = IssuerOptions {
            groups_elsewhere: elsewhere,
            ..IssuerOptions::default()
        };
        let world = stage::start(plan).await;
        let mut browser = Browser::new(&world);
        let login = browser.get("/.lightkeeper/login").await;
        let callback = browser.at_provider(&location(&login), "ann").await;
        let answer = browser.get(&callback).await;
        assert_eq!(
            (answer.status, reason(&world, &answer).await.as_str()),
            (status, expected)
        );
        assert_eq!(browser.jar.contains_key(SESSION), !elsewhere);
        let outcome = format!("lightkeeper_logins_total{{outcome=\"{expected}\"}}");
        stage::counts(&world, &outcome, 1.0).await;
        if elsewhere {
            let page = answer.text();
            assert!(
                page.contains("does not say which groups you are in")
                    && page.contains("an operator must"),
                "{page}"
            );
            assert_eq!(
                answer.header("content-type").as_deref(),
                Some("text/html; charset=utf-8")
            );
            let after = browser.get("/.lightkeeper/").await;
            assert!(!after.text().contains("shop/checkout"), "{}", after.text());
        }
    }
}
