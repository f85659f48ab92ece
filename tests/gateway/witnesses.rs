//! Witnesses that countersign checkpoints: there, away, forgetful and ahead. What it refuses to know: how a proof is made.

use serde_json::Value;
use testkit::{SampleWitness, World};

use super::stage::{self, WorldPlan, eventually};

const TRAIL: &str = "audit: { file: audit.jsonl }";
const WHOAMI: &str = "/.lightkeeper/whoami";

/// A world whose trail is sealed every few records.
async fn sealed(witnesses: &str) -> World {
    let trail = format!(
        "audit: {{ file: audit.jsonl, instance: gw-1, every: {{ records: 5, time: 200ms }}, witnesses: [{witnesses}] }}"
    );
    let mut plan: WorldPlan = stage::plan(&[(TRAIL, &trail)]);
    plan.config = plan
        .config
        .replace("vault:\n", "vault:\n  audit_keys: [{ file: audit-key }]\n");
    plan.files = vec![("audit-key".to_owned(), "5d".repeat(32))];
    stage::start(plan).await
}

fn entry(witness: &SampleWitness, name: &str) -> String {
    format!(
        "{{ name: {name}, url: \"{}\", key: \"{}\" }}",
        witness.url(),
        witness.key()
    )
}

async fn calls(world: &World, count: usize) {
    for _ in 0..count {
        assert_eq!(world.plain_caller().get(WHOAMI).await.unwrap().status, 401);
    }
}

/// Waits until the witness has seen so many records, and more than it had.
async fn has_seen(witness: &SampleWitness, least: u64) -> u64 {
    eventually(&format!("a witness that saw {least} records"), || async {
        Some(witness.size()).filter(|size| *size >= least)
    })
    .await
}

/// Scenario: two witnesses, of which one is away, forgets everything, and at last claims to have seen more than there is. Guarantees: each
/// gets proofs that hold, whatever it remembers; the checkpoint that is shown has both lines; the other notices nothing; what
/// cannot be is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_are_countersigned() {
    let (one, two) = (
        SampleWitness::start("witness.example/one", [1; 32])
            .await
            .unwrap(),
        SampleWitness::start("witness.example/two", [2; 32])
            .await
            .unwrap(),
    );
    let entries = [entry(&one, "one"), entry(&two, "two")];
    for witness in [&one, &two] {
        witness.watch("acme/gw-1", [0x5d; 32]).unwrap();
    }
    let world = sealed(&entries.join(", ")).await;
    calls(&world, 12).await;
    let first = has_seen(&one, 12).await;
    has_seen(&two, 12).await;
    eventually("a checkpoint with both lines", || async {
        let (_, note) = stage::admin(&world, "/audit/checkpoint").await;
        let has = |name: &str| note.contains(&format!("\u{2014} witness.example/{name} "));
        (has("one") && has("two")).then_some(())
    })
    .await;
    two.stop().await;
    calls(&world, 12).await;
    has_seen(&one, first + 12).await;
    let lost = stage::event(&world, "audit_sink_lost").await;
    assert_eq!(lost["detail"], "two: unreachable");
    two.restart().await.unwrap();
    has_seen(&two, first + 12).await;
    one.forget();
    calls(&world, 6).await;
    let seen = has_seen(&one, first + 18).await;
    assert!(one.answers().contains(&409), "{:?}", one.answers());
    one.claim(seen + 1_000_000);
    calls(&world, 6).await;
    let failed = "lightkeeper_audit_sink_failures_total{fault=\"ahead\",sink=\"one\"}";
    eventually("a witness that is ahead", || async {
        (stage::metric(&world, failed).await > 0.0).then_some(())
    })
    .await;
    let (status, ready) = stage::admin(&world, "/readyz").await;
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(
        (status, &ready["audit_sinks"][0]["last_error"]),
        (200, &"ahead".into())
    );
    assert!(
        two.answers()
            .iter()
            .all(|status| [200, 404].contains(status)),
        "{:?}",
        two.answers()
    );
    world.gateway.stop().await;
    let cosigned = std::fs::read_to_string(world.folder().join("audit.jsonl.checkpoints.cosigned"));
    assert!(cosigned.unwrap().matches("witness.example/").count() >= 4);
    let audit = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lightkeeper"));
        let ended = command.arg("audit").args(arguments).output().unwrap();
        (
            ended.status.success(),
            String::from_utf8(ended.stdout).unwrap(),
        )
    };
    let file = |name: &str| world.folder().join(name).display().to_string();
    let (_, key) = audit(&["key", "--config", &file("lightkeeper.yaml")]);
    let trail = file("audit.jsonl");
    let verify = |witnesses: &[&str]| {
        let mut arguments = vec!["verify", "--quiet", "--key", key.trim()];
        witnesses
            .iter()
            .for_each(|key| arguments.extend(["--witness", *key]));
        arguments.push(&trail);
        audit(&arguments)
    };
    let stranger = SampleWitness::start("witness.example/three", [3; 32])
        .await
        .unwrap();
    let keys = [one.key(), two.key(), stranger.key()];
    let (is_good, told) = verify(&[&keys[0], &keys[1]]);
    assert!(
        is_good && told.contains("`witness.example/two` saw the first"),
        "{told}"
    );
    let (is_good, told) = verify(&[&keys[0], &keys[2]]);
    assert!(
        !is_good && told.contains("`witness.example/three` countersigned no checkpoint"),
        "{told}"
    );
    // Its own checkpoints are set back: a witness knows more.
    let checkpoints = file("audit.jsonl.checkpoints");
    let notes = std::fs::read_to_string(&checkpoints).unwrap();
    let second = notes.match_indices("acme/gw-1\n").nth(1).unwrap().0;
    std::fs::write(&checkpoints, notes.split_at(second).0).unwrap();
    let (is_good, told) = verify(&[&keys[1]]);
    assert!(
        !is_good && told.contains("which the trail's checkpoints do not state"),
        "{told}"
    );
    assert!(verify(&[]).0);
}
