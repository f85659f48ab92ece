//! Logging in and out: by a browser on this machine, by a code on another, and what goes wrong on the way.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use testkit::{Issuer, IssuerOptions, SampleCaller, World};

use super::desk::{Desk, post_form, sign_in, visit};
use super::front::Front;

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_login_is_kept_for_this_gateway_and_nobody_else() {
    let world = World::start().await.unwrap();
    let (desk, gateway) = (Desk::new(), world.plain_url());
    desk.log_in(&gateway, "ann").await;
    let mode = std::fs::metadata(desk.credentials())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = desk.kept();
    assert_eq!(
        (
            kept["default"].as_str(),
            kept["gateways"][&gateway]["who"].as_str()
        ),
        (Some(&*gateway), Some("ann@acme.example"))
    );
    let token = desk.run(&["token"]);
    assert_eq!(token.status, 0, "{token:?}");
    let caller = SampleCaller::new(&gateway).bearer(token.out.trim());
    assert_eq!(
        caller
            .get("/.lightkeeper/whoami")
            .await
            .unwrap()
            .json()
            .unwrap()["subject"],
        "ann@acme.example"
    );
    let me = desk.run(&["whoami", "--output", "json"]);
    assert_eq!(
        (
            me.json()["organization"].as_str(),
            me.json()["subject"].as_str()
        ),
        (Some("acme"), Some("ann@acme.example"))
    );

    let out = desk.run(&["logout"]);
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(desk.kept()["gateways"], json!({}));
    let refresh = kept["gateways"][&gateway]["refresh_token"]
        .as_str()
        .unwrap();
    let form =
        format!("grant_type=refresh_token&client_id=lightkeeper-cli&refresh_token={refresh}");
    let spent = post_form(world.issuer.url(), "/token", &form).await;
    assert_eq!(spent.status, 400, "the refresh token outlived the logout");
    let after = desk.run(&["token"]);
    assert_eq!(after.status, 1);
    assert!(
        after.err.contains("lightkeeper login --gateway"),
        "{after:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_of_an_unknown_authority_asks_for_ca_and_keeps_it() {
    let world = World::start().await.unwrap();
    let (desk, gateway) = (Desk::new(), world.url());
    let refused = desk.run(&["login", "--no-browser", "--gateway", &gateway]);
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("--ca FILE"), "{refused:?}");
    let ca = world.folder().join("certs/ca.pem").display().to_string();
    desk.log_in_with(&gateway, "sam", &["--ca", &ca]).await;
    let me = desk.run(&["whoami"]);
    assert_eq!(me.status, 0, "{me:?}");
    assert!(
        me.out.contains("sam@acme.example") && me.out.contains("sre"),
        "{me:?}"
    );
}

/// Scenario: others knock at the local port before the browser comes back. None of them ends or changes the login.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_local_port_change_nothing() {
    let issuer = Issuer::start().await.unwrap();
    let front = Front::of(issuer.url(), Vec::new()).await;
    let desk = Desk::new();
    let program = desk.start(&["login", "--no-browser", "--gateway", &front.url()]);
    let back = sign_in(&program, "ann").await;
    let base = back.split("/callback").next().unwrap();
    let target = back.get(base.len()..).unwrap();
    let code = target
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    for (path, host, status) in [
        (target.to_owned(), Some("evil.example"), 421),
        (target.replace("/callback", "/"), None, 404),
        (format!("/callback?code={code}&state=forged"), None, 400),
        (format!("/callback?code={code}"), None, 400),
        (format!("{target}&state=again"), None, 400),
    ] {
        let host = host.map_or_else(
            || base.trim_start_matches("http://").to_owned(),
            str::to_owned,
        );
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = SampleCaller::new(base).raw(head.as_bytes()).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path} {host}: {answer}"
        );
        assert!(!answer.contains(code), "{answer}");
    }
    let page = visit(&back).await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("default-src 'none'")
    );
    assert!(!page.text().contains(code));
    let ended = program.end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(
        ended.out.is_empty(),
        "a login prints on standard error alone: {ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_another_issuer_and_refusals_end_the_login() {
    let issuer = Issuer::start().await.unwrap();
    let front = Front::of(issuer.url(), Vec::new()).await;
    for (change, message) in [
        (("iss=http", "iss=https"), "another issuer"),
        (("&iss=", "&other="), "does not name its issuer"),
        (("code=", "error="), "refused"),
        (("code=", "code=x"), "invalid_grant"),
    ] {
        let desk = Desk::new();
        let program = desk.start(&["login", "--no-browser", "--gateway", &front.url()]);
        let back = sign_in(&program, "ann").await;
        assert!(back.contains(change.0), "{back}");
        visit(&back.replacen(change.0, change.1, 1)).await;
        let ended = program.end();
        assert_eq!(ended.status, 3, "{change:?} {ended:?}");
        assert!(ended.err.contains(message), "{change:?} {ended:?}");
        assert!(
            !desk.credentials().exists(),
            "{change:?}: something was kept"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_approved_or_refused_elsewhere() {
    let world = World::start().await.unwrap();
    let gateway = world.plain_url();
    for (answer, status, message) in [
        ("user=ann", 0, "logged in at"),
        ("refuse=yes", 3, "access_denied"),
    ] {
        let desk = Desk::new();
        let program = desk.start(&["login", "--device", "--gateway", &gateway]);
        let is_code = |line: &str| {
            let code = line.trim();
            code.len() == 9
                && code
                    .split('-')
                    .all(|half| half.len() == 4 && half.bytes().all(|b| b.is_ascii_uppercase()))
        };
        let code = program.err.wait(is_code).trim().to_owned();
        let page = visit(
            program
                .err
                .wait(|line| line.trim().ends_with("/device"))
                .trim(),
        )
        .await;
        assert_eq!(page.status, 200);
        let wrong = post_form(
            world.issuer.url(),
            "/device",
            "user_code=AAAA-AAAA&user=eve",
        )
        .await;
        assert_eq!(wrong.status, 400);
        let form = format!("user_code={code}&{answer}");
        assert_eq!(
            post_form(world.issuer.url(), "/device", &form).await.status,
            200
        );
        assert_eq!(
            post_form(world.issuer.url(), "/device", &form).await.status,
            400,
            "a code is answered once"
        );
        let ended = program.end();
        assert_eq!(ended.status, status, "{ended:?}");
        assert!(ended.err.contains(message), "{ended:?}");
        assert_eq!(desk.run(&["whoami"]).status, i32::from(status != 0));
    }
}

/// Scenario: a developer of a real gateway is led to log in at a hostile one, which copies what the real one tells, in
/// one way or another. Guarantees: it gets no token that the real one takes, unless the developer says yes; each
/// refusal names both, nothing is kept, and the login page is not even asked for where it can be known before.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_gateway_gets_no_token_that_another_takes() {
    let world = World::start().await.unwrap();
    let (desk, real) = (Desk::new(), world.plain_url());
    desk.log_in(&real, "ann").await;
    let kept = desk.kept();
    let copy = SampleCaller::new(&real)
        .get("/.lightkeeper/configuration")
        .await
        .unwrap()
        .json()
        .unwrap();
    let with = |resource: &str, audience: Value| {
        let mut copy = copy.clone();
        copy["resource"] = resource.into();
        copy["login"]["audience"] = audience;
        copy
    };
    let asked = copy["login"]["audience"].clone();
    for (what, told, message) in [
        (
            "a whole copy",
            copy.clone(),
            "gives the configuration of another gateway",
        ),
        (
            "no address",
            with("", asked.clone()),
            "gives the configuration of another gateway",
        ),
        (
            "a name like its own",
            with("{own}.evil.example", asked.clone()),
            "gives the configuration of another gateway",
        ),
        (
            "the same audience",
            with("{own}", asked),
            "could use it there as you",
        ),
        (
            "the real one's address",
            with("{own}", real.clone().into()),
            "asks for a token that is for",
        ),
    ] {
        let hostile = Front::start(told.clone(), Vec::new()).await;
        let ended = desk.run(&["login", "--no-browser", "--gateway", &hostile.url()]);
        assert_eq!(ended.status, 3, "{what}: {ended:?}");
        assert!(
            ended.err.contains(message) && ended.err.contains(&hostile.url()),
            "{what}: {ended:?}"
        );
        let names = told.to_string().contains(&real) || message.contains("as you");
        assert_eq!(
            ended.err.contains(&real),
            names,
            "{what} should say which gateway is meant: {ended:?}"
        );
        assert!(!ended.err.contains("/authorize?"), "{what}: {ended:?}");
        assert_eq!(desk.kept(), kept, "{what}");
    }
    // A token for the hostile one's own address opens that one, and not the real one.
    let hostile = Front::start(with("{own}", "{own}".into()), Vec::new()).await;
    desk.log_in(&hostile.url(), "ann").await;
    let token = desk.run(&["token", "--gateway", &hostile.url()]);
    let stolen = SampleCaller::new(&real)
        .bearer(token.out.trim())
        .get("/.lightkeeper/whoami")
        .await
        .unwrap();
    assert_eq!(stolen.status, 401, "{}", stolen.text());
    // Who says yes is asked no second time at the same gateway.
    let other = Front::start(with("{own}", copy["login"]["audience"].clone()), Vec::new()).await;
    desk.log_in_with(&other.url(), "ann", &["--yes"]).await;
    desk.log_in(&other.url(), "ann").await;
}

/// Scenario: the same at a terminal: the developer is asked, and answers. Guarantees: only a plain yes goes on; with anything
/// else, and at the end of input, no login page is asked for and nothing is kept; the question names both gateways.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_another_takes_is_asked_about() {
    let world = World::start().await.unwrap();
    let (desk, real) = (Desk::new(), world.plain_url());
    desk.log_in(&real, "ann").await;
    let kept = desk.kept();
    let mut copy = SampleCaller::new(&real)
        .get("/.lightkeeper/configuration")
        .await
        .unwrap()
        .json()
        .unwrap();
    copy["resource"] = "{own}".into();
    for (typed, goes_on) in [
        ("n\n", false),
        ("\n", false),
        ("yes!\n", false),
        ("Yes\n", false),
        ("\x04", false),
        ("y\n", true),
        ("yes\n", true),
    ] {
        let other = Front::start(copy.clone(), Vec::new()).await;
        let arguments = ["login", "--no-browser", "--gateway", &other.url()];
        let (program, _terminal) = desk.start_at_terminal(&arguments, typed);
        if goes_on {
            let back = sign_in(&program, "ann").await;
            assert_eq!(visit(&back).await.status, 200);
        }
        let ended = program.end();
        assert_eq!(
            ended.status,
            if goes_on { 0 } else { 3 },
            "{typed:?}: {ended:?}"
        );
        assert!(ended.err.contains("Go on? [y/N]"), "{typed:?}: {ended:?}");
        assert!(
            ended.err.contains(&real) && ended.err.contains(&other.url()),
            "{typed:?}: {ended:?}"
        );
        if goes_on {
            assert!(desk.kept()["gateways"][other.url()].is_object());
            assert_eq!(desk.run(&["logout", "--gateway", &other.url()]).status, 0);
        } else {
            assert!(
                ended.err.contains("not logged in at") && !ended.err.contains("/authorize?"),
                "{typed:?}: {ended:?}"
            );
            assert_eq!(desk.kept(), kept, "{typed:?}");
        }
    }
}

/// Scenario: the issuer takes no notice of what a token is asked for. Guarantees: a token for somewhere else is not kept,
/// is withdrawn where its issuer can, and the words say what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_issuer_made_for_elsewhere_is_not_kept() {
    let options = IssuerOptions {
        ignores_resource: true,
        ..IssuerOptions::default()
    };
    let issuer = Issuer::start_with(options).await.unwrap();
    let login = |audience: &str| json!({ "organization": "acme", "login": { "issuer": issuer.url(), "client_id": "lightkeeper-cli", "scopes": ["openid", "offline_access"], "audience": audience } });
    let real = Front::start(login("lightkeeper"), Vec::new()).await;
    let desk = Desk::new();
    desk.log_in(&real.url(), "ann").await;
    let kept = desk.kept();
    for (audience, message) in [
        ("{own}", "gave a token for `lightkeeper`"),
        ("evil", "could use it there as you"),
    ] {
        let hostile = Front::start(login(audience), Vec::new()).await;
        let program = desk.start(&["login", "--no-browser", "--gateway", &hostile.url()]);
        program
            .err
            .wait(|line| line.starts_with(&format!("Logging in for {} (acme)", hostile.url())));
        visit(&sign_in(&program, "ann").await).await;
        let ended = program.end();
        assert!(
            ended.status == 3 && ended.err.contains(message),
            "{audience}: {ended:?}"
        );
        assert_eq!(desk.kept(), kept, "{audience}");
    }
}

/// Scenario: a gateway's metadata (RFC 9728) are all that the command line has. Guarantees: they are enough for a login;
/// those of another resource, of a login elsewhere than at its authorization servers, of an issuer in the clear, too large,
/// moved, or no such document at all are refused, each in words, without a login page and without asking elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_are_enough_and_are_about_their_gateway() {
    let issuer = Issuer::start().await.unwrap();
    let metadata = |change: &dyn Fn(&mut Value)| {
        let mut document = json!({
            "resource": "{own}",
            "authorization_servers": [issuer.url()],
            "lightkeeper": {
                "organization": "acme",
                "login": { "issuer": issuer.url(), "client_id": "lightkeeper-cli", "scopes": ["openid", "offline_access"], "audience": "{own}" },
            },
        });
        change(&mut document);
        document.to_string()
    };
    let good = metadata(&|_| {});
    let named = Front::described(200, good.clone()).await;
    let desk = Desk::new();
    desk.log_in(&named.url(), "ann").await;
    let kept = desk.kept();
    assert_eq!(kept["gateways"][named.url()]["organization"], "acme");

    let to = |issuer: &str| {
        metadata(&|document| {
            document["authorization_servers"] = json!([issuer]);
            document["lightkeeper"]["login"]["issuer"] = issuer.into();
        })
    };
    let huge = metadata(&|document| document["more"] = "x".repeat(256 << 10).into());
    let own = "\"resource\":\"{own}\"";
    let rows = [
        (
            "another's",
            200,
            good.replace(own, &format!("\"resource\":\"{}\"", named.url())),
            3,
            "of another gateway",
        ),
        (
            "a longer name",
            200,
            good.replace(own, "\"resource\":\"{own}.evil.example\""),
            3,
            "of another gateway",
        ),
        (
            "a place within",
            200,
            good.replace(own, "\"resource\":\"{own}/apps\""),
            3,
            "of another gateway",
        ),
        (
            "two at once",
            200,
            good.replace(own, &format!("{own},{own}")),
            1,
            "something else than its metadata",
        ),
        (
            "none",
            200,
            metadata(&|document| drop(document.as_object_mut().unwrap().remove("resource"))),
            1,
            "something else than its metadata",
        ),
        (
            "another's server",
            200,
            metadata(&|document| {
                document["authorization_servers"] = json!(["https://idp.example"])
            }),
            3,
            "none of its authorization servers",
        ),
        (
            "no server",
            200,
            metadata(&|document| document["authorization_servers"] = json!([])),
            3,
            "none of its authorization servers",
        ),
        (
            "in the clear",
            200,
            to("http://idp.example"),
            1,
            "must be an `https` URL",
        ),
        (
            "no web address",
            200,
            to("ftp://127.0.0.1"),
            1,
            "must be an `https` URL",
        ),
        (
            "no client",
            200,
            metadata(&|document| document["lightkeeper"] = Value::Null),
            1,
            "does not say how the command line logs in",
        ),
        (
            "no login",
            200,
            metadata(&|document| document["lightkeeper"]["login"] = Value::Null),
            1,
            "offers no login",
        ),
        (
            "another's audience",
            200,
            metadata(&|document| {
                document["lightkeeper"]["login"]["audience"] = "https://gateway.example".into()
            }),
            3,
            "asks for a token that is for",
        ),
        (
            "no JSON",
            200,
            "\u{1b}[2J".to_owned(),
            1,
            "something else than its metadata",
        ),
        (
            "a list",
            200,
            "[]".to_owned(),
            1,
            "something else than its metadata",
        ),
        ("too large", 200, huge, 1, "answers more than 256 KiB"),
        (
            "moved",
            302,
            good.clone(),
            1,
            "answers 302 instead of its metadata",
        ),
        (
            "broken",
            500,
            good.clone(),
            1,
            "answers 500 instead of its metadata",
        ),
    ];
    for (what, status, told, expected, message) in rows {
        let hostile = Front::described(status, told).await;
        let ended = desk.run(&["login", "--no-browser", "--gateway", &hostile.url()]);
        assert_eq!(ended.status, expected, "{what}: {ended:?}");
        assert!(
            ended.err.contains(message) && !ended.err.contains('\u{1b}'),
            "{what}: {ended:?}"
        );
        assert!(!ended.err.contains("/authorize?"), "{what}: {ended:?}");
        assert_eq!(hostile.seen().len(), 0, "{what}");
        assert_eq!(desk.kept(), kept, "{what}");
    }
}

/// Scenario: gateways and issuers that cannot be logged in at. Each says why, in words.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_logged_in_at_is_told() {
    let issuer = Issuer::start().await.unwrap();
    let login = |issuer: &str| json!({ "organization": "acme", "login": { "issuer": issuer, "client_id": "c", "scopes": [], "audience": null } });
    let mismatch = format!("{}/", issuer.url());
    for (configuration, message) in [
        (
            json!({ "organization": "acme", "login": null }),
            "offers no login",
        ),
        (json!({}), "is it a Lightkeeper gateway"),
        (json!("\u{1b}[2J"), "is it a Lightkeeper gateway"),
        (login("http://idp.example"), "must be an `https` URL"),
        (login("ftp://127.0.0.1"), "must be an `https` URL"),
        (login("no url"), "is not a URL"),
        (login(&mismatch), "cannot be discovered"),
        (login("http://127.0.0.1:1"), "cannot be reached"),
    ] {
        let front = Front::start(configuration.clone(), Vec::new()).await;
        let desk = Desk::new();
        let ended = desk.run(&["login", "--no-browser", "--gateway", &front.url()]);
        assert_eq!(ended.status, 1, "{configuration} {ended:?}");
        assert!(
            ended.err.contains(message) && !ended.err.contains('\u{1b}'),
            "{configuration} {ended:?}"
        );
    }
    for (gateway, status) in [
        ("http://127.0.0.1:1", 1),
        ("http://gateway.example", 2),
        ("gateway.example", 2),
    ] {
        let ended = Desk::new().run(&["login", "--no-browser", "--gateway", gateway]);
        assert_eq!(ended.status, status, "{gateway} {ended:?}");
    }
    let nowhere = Desk::new().run(&["login"]);
    assert!(
        nowhere.status == 1 && nowhere.err.contains("no gateway is chosen"),
        "{nowhere:?}"
    );
}
