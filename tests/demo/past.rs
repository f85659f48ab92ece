//! `lightkeeper explain --record`: decisions of the past. What it refuses to know: how a call is judged.

use super::*;
use crate::gateway::stage;
use serde_json::json;

/// The record of an answer, once it is written.
async fn recorded(world: &World, answer: &testkit::Answer) -> Value {
    let id = answer.header("lightkeeper-request-id").unwrap();
    stage::record(world, &id).await
}

/// Scenario: people and workloads ask, and are allowed and denied by groups, subjects and deny bindings; then the policy is changed,
/// taken over, and the calls are explained by their records. Guarantees: each is explained by the policy that decided, which stands beside
/// the trail, and that policy decides again as the record says; a call after the change is explained by the new one. No policy that
/// was changed, and no record that is not there, is explained.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_past_decision_is_explained_by_its_own_policy() {
    let world = World::start().await.unwrap();
    let folder = world.folder().to_owned();
    let config = folder.join("lightkeeper.yaml").display().to_string();
    let streams = |project: &str| format!("/public/v0.2/acme/projects/{project}/streams");
    let caller = |name: &str| world.plain_caller().bearer(&world.issuer.token(name));
    let dashboards = "/public/v0.2/acme/projects/payments-prod/dashboards";
    let mut told = Vec::new();
    for (who, path, body, decision, facts) in [
        (
            "pat",
            streams("payments-prod"),
            None,
            "allow",
            json!({ "groups": ["payments-developers"] }),
        ),
        (
            "pat",
            streams("checkout-prod"),
            None,
            "deny",
            json!({ "groups": ["payments-developers"] }),
        ),
        (
            "lea",
            streams("checkout-prod"),
            None,
            "allow",
            json!({ "groups": ["shop-developers"] }),
        ),
        ("eve", streams("checkout-prod"), None, "deny", Value::Null),
        (
            "ann",
            dashboards.to_owned(),
            Some(json!({})),
            "deny",
            Value::Null,
        ),
        (
            "terraform",
            streams("checkout-prod"),
            None,
            "allow",
            Value::Null,
        ),
    ] {
        let answer = match &body {
            None => caller(who).get(&path).await.unwrap(),
            Some(body) => caller(who).post(&path, body).await.unwrap(),
        };
        let record = recorded(&world, &answer).await;
        assert_eq!(record["decision"], decision, "{who} {path}: {record:#}");
        assert_eq!(
            record["identity"]["facts"], facts,
            "{who} {path}: {record:#}"
        );
        told.push(record);
    }
    let both = Sample::traces("checkout", 3).and("payments", 2);
    let collector = caller("cluster-collector");
    let answer = collector.export(&both, Encoding::Protobuf).await.unwrap();
    told.push(recorded(&world, &answer).await);
    let leaf = testkit::Leaf::read(&folder.join("certs"), "collector").unwrap();
    let mine = world.caller().certificate(&leaf);
    let answer = mine
        .export(&Sample::traces("checkout", 1), Encoding::Json)
        .await
        .unwrap();
    told.push(recorded(&world, &answer).await);
    // A service that is another's: the head alone was allowed.
    let workload = world.caller().certificate(&leaf);
    let answer = workload
        .export(&Sample::traces("ingress", 1), Encoding::Json)
        .await
        .unwrap();
    told.push(recorded(&world, &answer).await);
    let answer = world
        .plain_caller()
        .bearer("no.token.here")
        .get("/v1/traces")
        .await
        .unwrap();
    told.push(recorded(&world, &answer).await);

    let policy = folder.join("policy.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    let line = "subjects: [{ issuer: acme, group: payments-developers }]";
    assert!(text.contains(line));
    let next = folder.join("next");
    std::fs::write(
        &next,
        text.replace(line, "subjects: [{ issuer: acme, group: sre }]"),
    )
    .unwrap();
    std::fs::rename(&next, &policy).unwrap();
    world.gateway.reload().await.unwrap();
    let answer = caller("pat").get(&streams("payments-prod")).await.unwrap();
    let after = recorded(&world, &answer).await;
    assert_eq!(after["decision"], "deny", "{after:#}");
    assert_ne!(after["policy_version"], told[0]["policy_version"]);

    let explain = |id: &str| {
        run(&[
            "explain", "--config", &config, "--record", id, "--output", "json",
        ])
    };
    for record in told.iter().chain([&after]) {
        let printed = explain(record["request_id"].as_str().unwrap());
        let what = format!("{record:#}\n{}{}", printed.out, printed.err);
        let is_allowed = record["decision"] == "allow";
        assert_eq!(printed.status, if is_allowed { 0 } else { 3 }, "{what}");
        let stages = &printed.json()["stages"];
        assert_eq!(stages["record"]["reason"], record["reason"], "{what}");
        if record["identity"].is_null() {
            assert_eq!(stages["authorize"], Value::Null, "{what}");
            continue;
        }
        let is_of_its_resource = record["path"] == "/v1/traces" && !is_allowed;
        let same = if is_of_its_resource {
            Value::Null
        } else {
            json!(true)
        };
        assert_eq!(stages["compare"]["same"], same, "{what}");
        assert_eq!(
            stages["policy"]["version"], record["policy_version"],
            "{what}"
        );
        let file = stages["policy"]["file"].as_str().unwrap();
        let is_old = record["policy_version"] != after["policy_version"];
        assert_eq!(file.contains("audit.jsonl.policies"), is_old, "{what}");
    }
    let text = run(&[
        "explain",
        "--config",
        &config,
        "--record",
        told[0]["request_id"].as_str().unwrap(),
    ]);
    assert!(
        text.out.contains("decides as the record says"),
        "{}",
        text.out
    );
    assert!(text.out.ends_with("allow\n"), "{}", text.out);

    // The reload says which policy it took over, whole.
    let reload = world
        .records()
        .into_iter()
        .find(|record| record["event"] == "reload")
        .unwrap();
    let said = reload["detail"].as_str().unwrap();
    assert!(said.contains("policy sha256:"), "{said}");

    let unknown = explain("00000000000000000000000000000000");
    assert_eq!(unknown.status, 2, "{}", unknown.err);
    assert!(
        unknown.err.contains("no call has the request id"),
        "{}",
        unknown.err
    );
    let kept = std::fs::read_dir(folder.join("audit.jsonl.policies")).unwrap();
    let first = told[0]["policy_version"].as_str().unwrap();
    let mut files = kept.map(|entry| entry.unwrap().path());
    let old = files
        .find(|file| file.to_string_lossy().contains(first))
        .unwrap();
    std::fs::write(&old, "version: 1\napps: {}\n").unwrap();
    let changed = explain(told[0]["request_id"].as_str().unwrap());
    assert_eq!(changed.status, 2, "{}", changed.out);
    assert!(changed.err.contains("was changed"), "{}", changed.err);
}
