//! Tokens that end: renewed once however many ask, withdrawn when the provider says so, and never read from a file of others.

use testkit::issuer::IssuerFault;
use testkit::{Issuer, IssuerOptions};

use super::desk::{Desk, post_form};
use super::front::Front;

#[tokio::test(flavor = "multi_thread")]
async fn commands_side_by_side_spend_one_refresh_token() {
    let issuer = Issuer::start().await.unwrap();
    let front = Front::of(issuer.url(), Vec::new()).await;
    let desk = Desk::new();
    desk.log_in(&front.url(), "ann").await;
    let first = desk.run(&["token"]).out;
    assert_eq!(
        (issuer.refreshes(), desk.run(&["token"]).out),
        (0, first.clone()),
        "a good token is kept"
    );

    desk.change(&front.url(), |login| login["expires"] = 0.into());
    let running: Vec<_> = (0..4).map(|_| desk.start(&["token"])).collect();
    let ended: Vec<_> = running.into_iter().map(|program| program.end()).collect();
    assert!(
        ended
            .iter()
            .all(|ended| ended.status == 0 && ended.out.lines().count() == 1),
        "{ended:?}"
    );
    let tokens: std::collections::BTreeSet<&str> =
        ended.iter().map(|ended| ended.out.trim()).collect();
    assert_eq!(tokens.len(), 1, "all print the same new token");
    assert!(!tokens.contains(first.trim()));
    assert_eq!(issuer.refreshes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_refresh_token_ends_the_login_in_words() {
    let issuer = Issuer::start().await.unwrap();
    let front = Front::of(issuer.url(), Vec::new()).await;
    let desk = Desk::new();
    desk.log_in(&front.url(), "ann").await;
    let refresh = desk.kept()["gateways"][front.url()]["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let form =
        format!("grant_type=refresh_token&client_id=lightkeeper-cli&refresh_token={refresh}");
    assert_eq!(post_form(issuer.url(), "/token", &form).await.status, 200);
    desk.change(&front.url(), |login| login["expires"] = 0.into());
    let ended = desk.run(&["token"]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended.out.is_empty()
            && ended
                .err
                .contains(&format!("lightkeeper login --gateway {}", front.url())),
        "{ended:?}"
    );
    assert!(!ended.err.contains(&refresh));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_issuer_leaves_tokens_their_last_minute() {
    let options = IssuerOptions {
        lifetime_seconds: 50,
        ..IssuerOptions::default()
    };
    let issuer = Issuer::start_with(options).await.unwrap();
    let front = Front::of(issuer.url(), Vec::new()).await;
    let desk = Desk::new();
    desk.log_in(&front.url(), "ann").await;
    issuer.fail(Some(IssuerFault::Unavailable));
    let living = desk.run(&["token"]);
    assert_eq!(living.status, 0, "{living:?}");
    desk.change(&front.url(), |login| login["expires"] = 0.into());
    let over = desk.run(&["token"]);
    assert_eq!((over.status, over.out.as_str()), (1, ""), "{over:?}");
    issuer.fail(None);
    let well = desk.run(&["token"]);
    assert_eq!(well.status, 0, "an outage spends nothing: {well:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_others_are_not_read_and_gateways_are_chosen() {
    use std::os::unix::fs::PermissionsExt as _;
    let issuer = Issuer::start().await.unwrap();
    let (one, two) = (
        Front::of(issuer.url(), Vec::new()).await,
        Front::of(issuer.url(), Vec::new()).await,
    );
    let desk = Desk::new();
    desk.log_in(&one.url(), "ann").await;
    desk.log_in_with(&two.url(), "sam", &["--yes"]).await;
    let kept = desk.kept();
    let token = |gateway: &str| {
        kept["gateways"][gateway]["access_token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (one, two) = (one.url(), two.url());
    for (arguments, variables, gateway) in [
        (vec!["token"], vec![], &two),
        (vec!["token", "--gateway", &one], vec![], &one),
        (
            vec!["token"],
            vec![("LIGHTKEEPER_GATEWAY", one.as_str())],
            &one,
        ),
        (
            vec!["token", "--gateway", &two],
            vec![("LIGHTKEEPER_GATEWAY", one.as_str())],
            &two,
        ),
    ] {
        let ended = desk.run_with(&arguments, &variables);
        assert_eq!(
            ended.out.trim(),
            token(gateway),
            "{arguments:?} {variables:?} {ended:?}"
        );
    }
    let elsewhere = desk.run_with(
        &["token"],
        &[("LIGHTKEEPER_CREDENTIALS", "/nonexistent/credentials.json")],
    );
    assert_eq!(elsewhere.status, 1, "{elsewhere:?}");
    std::fs::set_permissions(desk.credentials(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = desk.run(&["token"]);
    assert_eq!((open.status, open.out.as_str()), (1, ""), "{open:?}");
    assert!(open.err.contains("chmod 600"), "{open:?}");
    let issued = desk.run(&["token", "issue", "--name", "printer", "--binding", "b"]);
    assert_eq!(issued.status, 0, "`token issue` needs no login: {issued:?}");
}
