//! What a caller gets of each operation's answer: a file for each row of the table in `operations/`, with what is asked,
//! what the backend says, and, below `---`, what comes out. What it refuses to know: how answers are fetched.
//!
//! In the backend's answers, words that begin with `leak-` are what this caller may not see, and words that begin with
//! `keep-` what nothing may be taken from.

use std::collections::BTreeSet;

use http::Method;
use lightkeeper::profiles::{Operation, Profile};
use testkit::{Endpoints, Fault, World, golden};

use super::stage;

const PARTING: &str = "---\n";
/// The caller may ask everything of every project, but for who has which role in one of them.
const BINDINGS: [&str; 2] = [
    "{ name: everything, subjects: [{ issuer: acme, subject: sam@acme.example }], apps: [/], permissions: [query.*.read, \
     query.*.write, query.access_tokens.read, query.access_tokens.write, query.destinations.read, query.projects.write, \
     query.roles.read, query.roles.write, query.users.write] }",
    "{ name: not-payments, effect: deny, subjects: [{ any: true }], apps: [shop/payments], permissions: \
     [query.projects.read, query.roles.read, query.roles.write] }",
];

/// `GET /projects/{project}/streams` → `get-projects-project-streams`.
fn file_name(operation: &Operation) -> String {
    let words = operation
        .template
        .split('/')
        .filter(|word| !word.is_empty());
    let words: Vec<&str> = words.map(|word| word.trim_matches(['{', '}'])).collect();
    format!(
        "{}-{}.case",
        operation.method.as_str().to_ascii_lowercase(),
        words.join("-")
    )
}

/// Scenario: every operation, each answered with more than its caller may see. Guarantees: what each file says; no row
/// without a file, and no file without a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_hold_what_the_caller_may_see() {
    let plan = BINDINGS.into_iter().fold(stage::plan(&[]), stage::bind);
    let world = stage::start(plan).await;
    let profile = Profile::lightstep();
    let rows = profile
        .operations()
        .iter()
        .filter(|operation| operation.template.starts_with('/'));
    let expected: BTreeSet<String> = rows.map(file_name).collect();
    let folder = stage::beside("operations");
    let there: BTreeSet<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, expected);
    assert!(expected.len() > 80, "{}", expected.len());
    let mut complaints = Vec::new();
    for name in &expected {
        let file = folder.join(name);
        let whole = std::fs::read_to_string(&file).unwrap();
        let head = whole.split(PARTING).next().unwrap().to_owned();
        let told = play(&world, &head).await;
        complaints.extend(judge(name, &head, &told));
        complaints.extend(golden::check(&file, &format!("{head}{PARTING}{told}")).err());
    }
    assert!(
        complaints.is_empty(),
        "{} complaints\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

/// What the words of the backend's answer demand, whatever the file expects.
fn judge(name: &str, head: &str, told: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if told.contains("leak-") {
        complaints.push(format!("{name}: leaks\n{told}"));
    }
    let letters = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let (_, upstream) = head.split_once("\nupstream ").unwrap();
    for word in upstream
        .split(|character| !letters(character))
        .filter(|word| word.starts_with("keep-"))
    {
        if !told.contains(word) {
            complaints.push(format!("{name}: loses `{word}`\n{told}"));
        }
    }
    complaints
}

/// The lines of a case: `ask METHOD PATH`, `body …`, `upstream STATUS TYPE`, and below it the backend's answer.
async fn play(world: &World, head: &str) -> String {
    let (lines, answer) = head.split_once("\nupstream ").unwrap();
    let (upstream, answer) = answer.split_once('\n').unwrap();
    let (status, content_type) = upstream.split_once(' ').unwrap();
    let content_type = if content_type == "text/plain" {
        "text/plain"
    } else {
        "application/json"
    };
    let one = |word: &str| lines.lines().find_map(|line| line.strip_prefix(word));
    let (method, path) = one("ask ").unwrap().split_once(' ').unwrap();
    let body = answer.trim_end().to_owned();
    world.emulator.heal();
    world.emulator.fail(
        Endpoints::Query,
        Fault::Say {
            status: status.parse().unwrap(),
            content_type,
            body,
        },
    );
    let caller = world.plain_caller().bearer(&world.issuer.token("sam"));
    let path = format!("/public/v0.2/acme{path}");
    let sent = one("body ").unwrap_or_default().as_bytes().to_vec();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let answer = caller
        .send(method, &path, &[("content-type", "application/json")], sent)
        .await
        .unwrap();
    let text = answer
        .text()
        .replace(&world.plain_url(), "http://gateway.test");
    format!(
        "{} {}\n{text}\n",
        answer.status,
        answer.header("content-type").unwrap_or_default()
    )
}

/// Scenario: the backend's answer to a question about one project refers to others in its head, by path and by host.
/// Guarantees: what leads inside is written with the gateway's own address, and nothing else comes back; it is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_head_refers_to_stays_inside() {
    let world = stage::start(stage::plan(&[])).await;
    let path = "/public/v0.2/acme/projects/shop-prod/streams";
    let ann = world.plain_caller().bearer(&world.issuer.token("ann"));
    let (ours, theirs) = (world.plain_url(), world.emulator.url());
    let inside = format!("{theirs}{path}/7?limit=1");
    let other = "/public/v0.2/acme/projects/payments-prod/streams/leak-1";
    for (location, link, expected_location, expected_link, dropped) in [
        (
            inside.clone(),
            format!("<{inside}>; rel=next, <{theirs}{other}>; rel=prev"),
            Some(format!("{ours}{path}/7?limit=1")),
            Some(format!("<{ours}{path}/7?limit=1>; rel=\"next\"")),
            1.0,
        ),
        (
            other.to_owned(),
            format!("<{other}>; rel=next; title=\"leak-2\""),
            None,
            None,
            2.0,
        ),
        (
            "https://leak.example/".to_owned(),
            "<https://leak.example/>; rel=next".to_owned(),
            None,
            None,
            2.0,
        ),
        (
            format!("{path}/../../payments-prod"),
            "leak-3".to_owned(),
            None,
            None,
            2.0,
        ),
    ] {
        let headers = vec![("location", location.clone()), ("link", link.clone())];
        world.emulator.fail(
            Endpoints::Query,
            Fault::SayWith {
                status: 201,
                headers,
                body: r#"{"data":{"id":"7"}}"#.to_owned(),
            },
        );
        let counted = stage::metric(&world, "lightkeeper_foreign_references_total").await;
        let answer = ann
            .post(path, &serde_json::json!({ "data": {} }))
            .await
            .unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("location"), expected_location, "{location}");
        assert_eq!(answer.header("link"), expected_link, "{link}");
        let counted = stage::metric(&world, "lightkeeper_foreign_references_total").await - counted;
        assert_eq!(counted, dropped, "{location} {link}");
    }
}
