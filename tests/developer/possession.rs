//! `login --dpop`: tokens that are bound to a key of this machine, and every command that uses them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use http::Method;
use testkit::{IssuerOptions, Sample, SampleCaller, World, WorldPlan};

use super::desk::{Desk, Program};

/// Stands in the configuration until the listener's port is known.
const UNKNOWN: &str = "http://127.0.0.1:1";

/// A world whose plaintext listener knows its own name, and an issuer that demands a nonce or none.
async fn world(nonce: Option<&str>, lifetime_seconds: i64) -> World {
    let mut plan = WorldPlan {
        issuer: IssuerOptions {
            proof_nonce: nonce.map(str::to_owned),
            lifetime_seconds,
            ..IssuerOptions::default()
        },
        ..WorldPlan::default()
    };
    let named = format!("    address: {{plain}}\n    public_url: {UNKNOWN}\n");
    plan.config = plan.config.replace("    address: {plain}\n", &named);
    let world = World::start_with(plan).await.unwrap();
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(UNKNOWN));
    std::fs::write(&config, text.replace(UNKNOWN, &world.plain_url())).unwrap();
    world.gateway.reload().await.unwrap();
    world
}

/// The key files beside the tokens.
fn keys(desk: &Desk) -> Vec<PathBuf> {
    let folder = desk.credentials().parent().unwrap().to_owned();
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "key"))
        .collect()
}

/// Scenario: a person logs in with `--dpop` at issuers with and without a nonce, asks, renews, and logs out. Guarantees: every
/// command works; tokens and key lie in files of their own that no other user may read; the tokens alone are worthless, also
/// to the issuer; logging out takes the key away.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_bound_to_this_machine() {
    for nonce in [None, Some("issuer-nonce-1")] {
        let world = world(nonce, 3600).await;
        let (desk, gateway) = (Desk::new(), world.plain_url());
        desk.log_in_with(&gateway, "ann", &["--dpop"]).await;
        let kept = desk.kept()["gateways"][&gateway].clone();
        let [file] = <[PathBuf; 1]>::try_from(keys(&desk)).unwrap();
        for file in [&desk.credentials(), &file] {
            let mode = std::fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
        let secret = std::fs::read_to_string(&file).unwrap();
        assert!(!desk.kept().to_string().contains(secret.trim()));

        let me = desk.run(&["whoami", "--output", "json"]);
        assert_eq!(me.json()["subject"], "ann@acme.example", "{me:?}");
        let list = desk.run(&["services", "shop", "--output", "json"]);
        assert_eq!(list.status, 0, "{list:?}");

        // A thief of the file of tokens: by both schemes, and at the issuer.
        let stolen = kept["access_token"].as_str().unwrap();
        for scheme in ["Bearer", "DPoP"] {
            let thief =
                SampleCaller::new(&gateway).header("authorization", &format!("{scheme} {stolen}"));
            assert_eq!(
                thief.get("/.lightkeeper/whoami").await.unwrap().status,
                401,
                "{scheme}"
            );
        }
        let refresh = kept["refresh_token"].as_str().unwrap();
        let form =
            format!("grant_type=refresh_token&client_id=lightkeeper-cli&refresh_token={refresh}");
        let thief = Desk::new();
        std::fs::create_dir_all(thief.credentials().parent().unwrap()).unwrap();
        std::fs::copy(desk.credentials(), thief.credentials()).unwrap();
        let refused = thief.run(&["whoami"]);
        assert!(
            refused.status == 1 && refused.err.contains("key"),
            "{refused:?}"
        );

        // The owner renews, with the same key.
        desk.change(&gateway, |login| login["expires"] = 0.into());
        let me = desk.run(&["whoami"]);
        assert_eq!(me.status, 0, "{me:?}");
        let renewed = desk.kept()["gateways"][&gateway].clone();
        assert_ne!(renewed["access_token"], kept["access_token"]);
        assert_eq!((&renewed["key"], keys(&desk).len()), (&kept["key"], 1));
        let spent = super::desk::post_form(world.issuer.url(), "/token", &form).await;
        assert_eq!(spent.status, 400, "the refresh token without the key");

        // Another login brings another key, and the old one goes.
        desk.log_in_with(&gateway, "ann", &["--dpop"]).await;
        let again = desk.kept()["gateways"][&gateway].clone();
        assert_ne!(again["key"], kept["key"]);
        assert_eq!((file.exists(), keys(&desk).len()), (false, 1));
        let out = desk.run(&["logout"]);
        assert_eq!((out.status, keys(&desk).len()), (0, 0), "{out:?}");
    }
}

/// Scenario: scripts ask for the headers of one call. Guarantees: what `token --proof` prints is good for that call, once, and
/// for no other; an address elsewhere gets nothing; the bare token comes with a word of warning; a login without a key prints
/// the bearer's header.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_gets_the_headers_of_one_call() {
    let world = world(None, 3600).await;
    let (desk, gateway) = (Desk::new(), world.plain_url());
    desk.log_in_with(&gateway, "ann", &["--dpop"]).await;
    let page = "/.lightkeeper/whoami";
    let printed = desk.run(&["token", "--proof", "GET", &format!("{gateway}{page}")]);
    assert_eq!(printed.status, 0, "{printed:?}");
    let mut caller = SampleCaller::new(&gateway);
    let mut names = Vec::new();
    for line in printed.out.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        names.push(name.to_owned());
        caller = caller.header(&name.to_lowercase(), value);
    }
    assert_eq!(names, ["Authorization", "DPoP"]);
    for (path, status) in [("/apps", 401), (page, 200), (page, 401)] {
        assert_eq!(caller.get(path).await.unwrap().status, status, "{path}");
    }
    for elsewhere in [
        "https://evil.example/",
        &format!("{gateway}.evil.example/"),
        &format!("{gateway}0/"),
    ] {
        let refused = desk.run(&["token", "--proof", "GET", elsewhere]);
        assert!(
            refused.status == 3 && refused.out.is_empty(),
            "{elsewhere}: {refused:?}"
        );
    }
    let bare = desk.run(&["token"]);
    assert!(bare.status == 0 && bare.err.contains("--proof"), "{bare:?}");
    assert_eq!(bare.out.trim().split('.').count(), 3);

    let other = Desk::new();
    other.log_in(&gateway, "ann").await;
    let printed = other.run(&["token", "--proof", "GET", &format!("{gateway}{page}")]);
    assert!(
        printed.out.starts_with("Authorization: Bearer ey") && printed.out.lines().count() == 1,
        "{printed:?}"
    );
}

fn connect(desk: &Desk) -> (Program, SampleCaller) {
    let program = desk.start(&["connect", "--listen", "127.0.0.1:0"]);
    let line = program.out.wait(|line| line.starts_with("Listening on "));
    let base = line.split_whitespace().nth(2).unwrap().to_owned();
    let line = program.out.wait(|line| line.contains("LIGHTSTEP_API_KEY="));
    let key = line.split_once("LIGHTSTEP_API_KEY=").unwrap().1.to_owned();
    (program, SampleCaller::new(&base).bearer(&key))
}

/// Scenario: tools that know a base URL and a key work through `connect` of a bound login: they read, export with bodies of
/// known and unknown length, and bring a proof of their own; meanwhile the gateway restarts its nonces. Guarantees: each call
/// goes through with a proof of its own, whatever the tool sent.
#[tokio::test(flavor = "multi_thread")]
async fn tools_work_through_a_bound_login() {
    let world = world(None, 3600).await;
    let (desk, gateway) = (Desk::new(), world.plain_url());
    desk.log_in_with(&gateway, "ann", &["--dpop"]).await;
    let (program, tool) = connect(&desk);
    let body = Sample::traces("frontend", 2).protobuf();
    let kind = [("content-type", "application/x-protobuf")];
    for (what, caller) in [("known", tool.clone()), ("chunked", tool.clone().chunked())] {
        for _ in 0..2 {
            let answer = caller.get("/apps/shop?depth=all").await.unwrap();
            assert_eq!(answer.status, 200, "{what} {}", answer.text());
            let sent = caller
                .send(Method::POST, "/v1/traces", &kind, body.clone())
                .await
                .unwrap();
            // Ann reads and does not export: identified all the same.
            assert_eq!(sent.status, 403, "{what} {}", sent.text());
        }
    }
    let own = tool.clone().header("dpop", "e30.e30.e30");
    assert_eq!(own.get("/.lightkeeper/whoami").await.unwrap().status, 200);
    // Nonces that were given are of no use any more, each time: the session keys change.
    let key = world.folder().join("secrets/session-key");
    let keys = [
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=",
    ];
    let held = 4 << 20;
    for (round, (what, caller, length, expected)) in [
        ("nothing", tool.clone(), 0, 200),
        ("a known length", tool.clone(), 1000, 403),
        ("chunks", tool.clone().chunked(), 1000, 403),
        ("as much as is held", tool.clone(), held, 403),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(&key, keys[round % 2]).unwrap();
        world.gateway.reload().await.unwrap();
        let answer = match length {
            0 => caller.get("/.lightkeeper/whoami").await,
            _ => {
                let body = vec![b'x'; length];
                caller.send(Method::POST, "/v1/traces", &kind, body).await
            }
        };
        let answer = answer.unwrap();
        assert_eq!(answer.status, expected, "{what}: {}", answer.text());
    }
    program.interrupt();
    assert_eq!(program.end().status, 0);
}

/// Scenario: the issuer, or what it gives, does not fit `--dpop`. Guarantees: told in words, and nothing is kept.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_binds_nothing_is_told() {
    let world = world(None, 3600).await;
    let (desk, gateway) = (Desk::new(), world.plain_url());
    let mut document = world.issuer.discovery();
    document
        .as_object_mut()
        .unwrap()
        .remove("dpop_signing_alg_values_supported");
    world.issuer.set_discovery(Some(document));
    let refused = desk.run(&["login", "--no-browser", "--dpop", "--gateway", &gateway]);
    assert!(
        refused.status == 1 && refused.err.contains("without --dpop"),
        "{refused:?}"
    );
    assert!(desk.kept().is_null() || desk.kept()["gateways"].as_object().unwrap().is_empty());
}
