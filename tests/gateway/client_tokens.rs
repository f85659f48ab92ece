//! Client tokens, end to end: what ends them, and what an operator sees of them. What it refuses to know: how they
//! are carried and what becomes of their exports; the golden cases say that.

use std::sync::atomic::Ordering;

use http::Method;
use lightkeeper::audit::timestamp;
use lightkeeper::clock::Clock;
use lightkeeper::identify::NewClientToken;
use testkit::calls::Line;
use testkit::{Answer, Sample, World, WorldPlan};

use super::stage;

/// A line of `client_tokens:` for this token.
fn line(name: &str, token: &NewClientToken, binding: &str, until: &str) -> String {
    let until = if until.is_empty() {
        String::new()
    } else {
        format!(", until: {until}")
    };
    format!(
        "  - {{ name: {name}, hash: \"{}\", binding: {binding}{until} }}\n",
        token.hash
    )
}

fn plan(lines: &[String]) -> WorldPlan {
    stage::plan(&[(
        "policy: policy.yaml\n",
        &format!("client_tokens:\n{}policy: policy.yaml\n", lines.concat()),
    )])
}

/// One export on an open connection.
async fn again(line: &mut Line) -> Answer {
    let body = Sample::traces("some-service", 1).protobuf();
    line.send(
        Method::POST,
        "/v1/traces",
        &[("content-type", "application/x-protobuf")],
        body,
    )
    .await
    .unwrap()
}

/// Status and recorded reason.
async fn outcome(world: &World, answer: &Answer) -> (u16, String) {
    let record = stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await;
    (answer.status, record["reason"].as_str().unwrap().to_owned())
}

fn told(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// Scenario: a token's line is deleted while its holder has connections open, HTTP/1.1 and HTTP/2.
/// Guarantees: from the reload on, the next request on them is refused; the holder of another token goes on; nothing
/// that the gateway wrote holds a token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_line_reaches_open_connections() {
    let (leaver, stayer) = (
        NewClientToken::make().unwrap(),
        NewClientToken::make().unwrap(),
    );
    let lines = [
        line("leaver", &leaver, "checkout-pods", ""),
        line("stayer", &stayer, "checkout-pods", ""),
    ];
    let world = stage::start(plan(&lines)).await;
    let mut open = Vec::new();
    for (token, leaves) in [(&leaver, true), (&stayer, false)] {
        let caller = world.plain_caller().access_token(token.expose());
        for caller in [caller.clone(), caller.http2()] {
            let mut line = caller.connect().await.unwrap();
            assert_eq!(again(&mut line).await.status, 200);
            open.push((line, leaves));
        }
    }
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(&lines[0]));
    stage::replace(&config, text.replace(&lines[0], ""));
    world.gateway.reload().await.unwrap();
    for (mut line, leaves) in open {
        let answer = again(&mut line).await;
        let expected = if leaves {
            told(401, "client_token_unknown")
        } else {
            told(200, "ok")
        };
        assert_eq!(outcome(&world, &answer).await, expected);
    }
    let projects: Vec<_> = world
        .emulator
        .exports()
        .iter()
        .map(|export| export.project.clone())
        .collect();
    assert_eq!(projects, ["checkout-prod"; 6]);
    let (_, metrics) = stage::admin(&world, "/metrics").await;
    let written = format!(
        "{}{metrics}",
        std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap()
    );
    for token in [&leaver, &stayer] {
        assert!(!written.contains(token.expose()) && !written.contains(&token.hash.to_string()));
        assert!(
            world
                .emulator
                .captured()
                .iter()
                .all(|captured| !captured.contains(token.expose().as_bytes()))
        );
    }
}

/// Scenario: time passes, by the test's hand, over a token's `until`; afterwards the gateway reads its files anew.
/// Guarantees: it is refused from that very second on, on open connections; uses are counted and their last time
/// shown, refusals are not uses; a line that is over is no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_ends_a_client_token() {
    let start = Clock::system().now();
    let (clock, hand) = Clock::manual(start);
    let token = NewClientToken::make().unwrap();
    let until = start.seconds() + 600;
    let lines = [line(
        "guest",
        &token,
        "checkout-pods",
        &timestamp(until * 1000),
    )];
    let world = stage::start(WorldPlan {
        clock,
        ..plan(&lines)
    })
    .await;
    let caller = world.plain_caller().bearer(token.expose());
    let mut open = caller.connect().await.unwrap();
    assert_eq!(
        outcome(&world, &again(&mut open).await).await,
        told(200, "ok")
    );
    hand.store(until * 1000 - 1, Ordering::SeqCst);
    assert_eq!(
        outcome(&world, &again(&mut open).await).await,
        told(200, "ok")
    );
    hand.store(until * 1000, Ordering::SeqCst);
    assert_eq!(
        outcome(&world, &again(&mut open).await).await,
        told(401, "client_token_expired")
    );
    stage::counts(
        &world,
        r#"lightkeeper_client_token_uses_total{name="guest"}"#,
        2.0,
    )
    .await;
    stage::counts(
        &world,
        r#"lightkeeper_client_token_last_used_seconds{name="guest"}"#,
        (until - 1) as f64,
    )
    .await;
    world.gateway.reload().await.unwrap();
    let mut open = caller.connect().await.unwrap();
    assert_eq!(
        outcome(&world, &again(&mut open).await).await,
        told(401, "client_token_expired")
    );
}

/// Scenario: the binding of a token is taken out of the policy, and out of the configuration as well.
/// Guarantees: a policy without it is refused as a whole, and the token goes on; with the line gone it is taken over, though nothing is left of the list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_that_a_token_needs_cannot_vanish() {
    let token = NewClientToken::make().unwrap();
    let lines = [line("php", &token, "checkout-pods", "")];
    let world = stage::start(plan(&lines)).await;
    let caller = world.plain_caller().access_token(token.expose());
    let mut open = caller.connect().await.unwrap();
    let policy = world.folder().join("policy.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    stage::replace(
        &policy,
        text.replace("name: checkout-pods", "name: checkout-workloads"),
    );
    let errors = world.gateway.reload().await.unwrap_err().join("\n");
    assert!(
        errors.contains("the policy has no binding `checkout-pods`"),
        "{errors}"
    );
    assert_eq!(
        outcome(&world, &again(&mut open).await).await,
        told(200, "ok")
    );
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    stage::replace(&config, text.replace(&lines[0], ""));
    world.gateway.reload().await.unwrap();
    assert_eq!(
        outcome(&world, &again(&mut open).await).await,
        told(401, "client_token_unknown")
    );
}
