//! The demonstration that stays, used as its own words say: the console in a browser, and the commands that it prints.

use http::Method;
use serde_json::Value;
use testkit::{Answer, SampleCaller, World};

use super::desk::{Desk, Program, visit};

/// Who sees which apps of the tree, and as what: `r` what can be read, `w` what can be written.
const TREE: &[(&str, &[(&str, &str)])] = &[
    (
        "ann",
        &[
            ("/", "--"),
            ("shop", "rw"),
            ("shop/checkout", "rw"),
            ("shop/payments", "rw"),
        ],
    ),
    (
        "lea",
        &[
            ("/", "--"),
            ("shop", "rw"),
            ("shop/checkout", "rw"),
            ("shop/payments", "rw"),
            ("shop/search", "--"),
        ],
    ),
    (
        "pat",
        &[("/", "--"), ("shop", "--"), ("shop/payments", "r-")],
    ),
    (
        "sam",
        &[
            ("/", "r-"),
            ("platform", "r-"),
            ("shop", "r-"),
            ("shop/checkout", "r-"),
            ("shop/payments", "r-"),
            ("shop/search", "--"),
        ],
    ),
    ("eve", &[("/", "--")]),
];

/// Who may see the decisions of which apps.
const AUDIT: &[(&str, &[&str])] = &[
    ("ann", &[]),
    ("pat", &[]),
    ("lea", &["shop"]),
    ("sam", &["/", "platform", "shop"]),
];

fn nodes(node: &Value, found: &mut Vec<(String, String, bool)>) {
    let can = |name: &str| node[name].as_bool().unwrap();
    let mark = format!(
        "{}{}",
        if can("can_read") { 'r' } else { '-' },
        if can("can_write") { 'w' } else { '-' }
    );
    let audit = node["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .any(|permission| permission == "gateway.audit.read");
    found.push((node["app"].as_str().unwrap().to_owned(), mark, audit));
    node["apps"]
        .as_array()
        .unwrap()
        .iter()
        .for_each(|child| nodes(child, found));
}

/// Scenario: every sample person asks for the whole tree. Guarantees: each sees exactly their part with its marks; decisions
/// are for those alone who were given them, at their part.
#[tokio::test(flavor = "multi_thread")]
async fn the_whole_tree_is_each_persons_own() {
    let world = World::start().await.unwrap();
    for (person, expected) in TREE {
        let caller = world.plain_caller().bearer(&world.issuer.token(person));
        let answer = caller.get("/apps?depth=all").await.unwrap();
        assert_eq!(answer.status, 200, "{person}: {}", answer.text());
        let mut found = Vec::new();
        nodes(&answer.json().unwrap(), &mut found);
        found.sort();
        let seen: Vec<(&str, &str)> = found
            .iter()
            .map(|(app, mark, _)| (app.as_str(), mark.as_str()))
            .collect();
        assert_eq!(seen, *expected, "{person}");
        for (_, apps) in AUDIT.iter().filter(|(name, _)| name == person) {
            let audit: Vec<&str> = found
                .iter()
                .filter(|(app, _, audit)| *audit && !app.contains("shop/"))
                .map(|(app, _, _)| app.as_str())
                .collect();
            assert_eq!(audit, *apps, "{person}");
        }
    }
}

/// A browser's way from the console's address to its first page.
async fn open_console(address: &str, person: &str) -> String {
    let origin = address.strip_suffix("/.lightkeeper/").unwrap();
    let mut caller = SampleCaller::new(origin);
    let mut path = "/.lightkeeper/".to_owned();
    for _ in 0..4 {
        let answer = caller.get(&path).await.unwrap();
        if answer.status == 200 {
            return answer.text();
        }
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
        caller = SampleCaller::new(origin);
        for pair in cookies(&answer) {
            caller = caller.header("cookie", &pair);
        }
        let next = answer.header("location").unwrap();
        path = match next.starts_with('/') {
            true => next,
            false => {
                let back = visit(&format!("{next}&user={person}"))
                    .await
                    .header("location")
                    .unwrap();
                back.strip_prefix(origin).unwrap().to_owned()
            }
        };
    }
    panic!("the login leads nowhere")
}

/// What is set and not taken back.
fn cookies(answer: &Answer) -> Vec<String> {
    let lines = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|line| line.to_str().unwrap());
    lines
        .filter(|line| !line.contains("Max-Age=0"))
        .map(|line| line.split(';').next().unwrap().to_owned())
        .collect()
}

/// The rest of the first printed line that holds `start`.
fn after(program: &Program, start: &str) -> String {
    let line = program.out.wait(|line| line.contains(start));
    line.split_once(start).unwrap().1.trim().to_owned()
}

/// Scenario: `demo --stay`, then what it prints, as it prints it. Guarantees: its console opens and shows each person's part,
/// with samples that flow; login and questions work; the alert that came in is firing; the webhook's line is answered; an interrupt ends
/// all, and nothing stays behind.
#[tokio::test(flavor = "multi_thread")]
async fn what_stays_can_be_used_as_it_says() {
    let desk = Desk::new();
    let demo = desk.start(&["demo", "--stay"]);
    let console = after(&demo, "console   ");
    demo.out
        .wait(|line| line.contains("Every call from here on"));
    for (person, seen, hidden) in [
        (
            "ann",
            &["shop", "shop/checkout", "shop/payments"][..],
            &["platform"][..],
        ),
        ("pat", &["shop/payments"], &["shop/checkout", "platform"]),
        ("sam", &["shop", "shop/checkout", "platform"], &[]),
        ("eve", &[], &["shop", "shop/payments", "platform"]),
    ] {
        let page = open_console(&console, person).await;
        let shows = |app: &&str| page.contains(&format!("\"/.lightkeeper/apps/{app}\""));
        assert!(
            seen.iter().all(shows) && !hidden.iter().any(shows),
            "{person}: {page}"
        );
    }

    let login = after(&demo, " login --gateway ");
    let (gateway, ca) = login.split_once(" --ca ").unwrap();
    desk.log_in_with(gateway, "ann", &["--ca", ca]).await;
    let alerts = desk.run(&["alerts", "shop"]);
    assert_eq!(alerts.status, 0, "{alerts:?}");
    let firing = |out: &str| {
        out.lines()
            .any(|line| line.contains("checkout latency") && line.contains("firing"))
    };
    assert!(firing(&alerts.out), "{alerts:?}");
    for (command, shown) in [
        ("apps", "checkout-prod"),
        ("services shop", "ledger-core"),
        ("alerts", "checkout latency"),
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let ended = desk.run(&arguments);
        assert!(
            ended.status == 0 && ended.out.contains(shown),
            "{command}: {ended:?}"
        );
    }

    // The same alert is over.
    let line = demo.out.wait(|line| line.contains("\"state\":\"ok\""));
    let words: Vec<&str> = line.split_whitespace().collect();
    let (base, path) = words[2].split_once("/apps/").unwrap();
    let secret = line
        .split_once("$(cat ")
        .unwrap()
        .1
        .split_once(')')
        .unwrap()
        .0;
    let message = line.rsplit_once("-d '").unwrap().1.trim_end_matches('\'');
    let caller = SampleCaller::new(base).bearer(&std::fs::read_to_string(secret).unwrap());
    let kind = [("content-type", "application/json")];
    let told = caller
        .send(
            Method::POST,
            &format!("/apps/{path}"),
            &kind,
            message.as_bytes().to_vec(),
        )
        .await
        .unwrap();
    assert_eq!(told.status, 200, "{}", told.text());
    let alerts = desk.run(&["alerts", "shop"]);
    assert!(alerts.status == 0 && !firing(&alerts.out), "{alerts:?}");

    let folder = std::path::Path::new(ca)
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    assert!(folder.is_dir());
    demo.interrupt();
    let ended = demo.end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(!folder.exists(), "{} stays behind", folder.display());
}
