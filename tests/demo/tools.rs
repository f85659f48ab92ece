//! The trail's tools, and the list of credentials, as they are typed: what is printed of a trail that a gateway left.

use serde_json::{Value, json};
use testkit::{Sample, SampleCaller, World};

use super::program::{Ended, run};
use crate::gateway::stage;
use lightkeeper::otlp::Encoding;

/// A world whose trail is sealed each few records.
async fn sealed(audit: &str) -> World {
    let edits = [
        ("vault:\n", "vault:\n  audit_keys: [{ file: audit-key }]\n"),
        ("audit: { file: audit.jsonl }", audit),
    ];
    let mut plan = stage::plan(&edits);
    plan.files = vec![("audit-key".to_owned(), "5d".repeat(32))];
    stage::start(plan).await
}

/// The command's arguments and the configuration.
fn told(world: &World, arguments: &[&str]) -> Ended {
    let config = world
        .folder()
        .join("lightkeeper.yaml")
        .display()
        .to_string();
    let mut all = arguments.to_vec();
    all.extend(["--config", &config]);
    run(&all)
}

/// Calls of people and workloads, allowed and denied; their request ids.
async fn calls(world: &World) -> Vec<String> {
    let caller = |name: &str| world.plain_caller().bearer(&world.issuer.token(name));
    let streams = |project: &str| format!("/public/v0.2/acme/projects/{project}/streams");
    let both = Sample::traces("checkout", 3).and("payments", 2);
    let collector = caller("cluster-collector");
    let answers = [
        caller("pat").get(&streams("payments-prod")).await.unwrap(),
        caller("pat").get(&streams("checkout-prod")).await.unwrap(),
        caller("lea").get(&streams("checkout-prod")).await.unwrap(),
        collector.export(&both, Encoding::Protobuf).await.unwrap(),
        world
            .plain_caller()
            .get(&streams("shop-prod"))
            .await
            .unwrap(),
    ];
    let ids: Vec<String> = answers
        .iter()
        .map(|answer| answer.header("lightkeeper-request-id").unwrap())
        .collect();
    for id in &ids {
        stage::record(world, id).await;
    }
    ids
}

/// Scenario: calls of several callers are looked for by each condition that the command takes, and by several. Guarantees: exactly
/// the records of which all holds are printed, as they stand in the file; a condition that cannot be read is told; the report counts
/// what the query finds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_found_and_counted() {
    let world = sealed("audit: { file: audit.jsonl }").await;
    let ids = calls(&world).await;
    let payments = "/public/v0.2/acme/projects/payments-prod/streams";
    let query = |conditions: &[&str]| {
        let mut all = vec!["audit", "query"];
        all.extend(conditions);
        told(&world, &all)
    };
    let of = |numbers: &[usize]| numbers.iter().map(|number| ids[*number].clone()).collect();
    let rows: [(&[&str], Vec<String>); 14] = [
        (&["--request-id", &ids[2]], of(&[2])),
        (&["--event", "call"], of(&[0, 1, 2, 3, 4])),
        (&["--subject", "pat@acme.example"], of(&[0, 1])),
        (
            &["--subject", "pat@acme.example", "--decision", "deny"],
            of(&[1]),
        ),
        (&["--issuer", "acme"], of(&[0, 1, 2, 3])),
        (&["--app", "shop/payments"], of(&[0, 3])),
        (&["--app", "shop", "--decision", "allow"], of(&[0, 2, 3])),
        (&["--project", "payments-prod"], of(&[0])),
        (&["--operation", "ingest.traces"], of(&[3])),
        (&["--reason", "not_permitted"], of(&[1])),
        (&["--status", "401"], of(&[4])),
        (
            &["--client-address", "127.0.0.1", "--limit", "2"],
            of(&[0, 1]),
        ),
        (&["--until", "2020-01-01"], of(&[])),
        (
            &["--since", "2020-01-01T00:00:00Z", "--event", "reload"],
            of(&[]),
        ),
    ];
    let lines = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    for (conditions, expected) in rows {
        let found = query(conditions);
        assert_eq!(found.status, 0, "{conditions:?}: {}", found.err);
        let told: Vec<String> = found
            .out
            .lines()
            .map(|line| {
                assert!(lines.contains(line), "{line}");
                let record: Value = serde_json::from_str(line).unwrap();
                record["request_id"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(told, expected, "{conditions:?}");
    }
    let wrong = query(&["--since", "yesterday"]);
    assert_eq!(wrong.status, 1);
    assert!(
        wrong.err.contains("`yesterday` is no time"),
        "{}",
        wrong.err
    );

    let report = told(
        &world,
        &["audit", "report", "--event", "call", "--output", "json"],
    );
    let report = report.json();
    assert_eq!(report["records"], 5, "{report:#}");
    assert_eq!(
        report["items"],
        json!({ "accepted": 5, "rejected": 0 }),
        "{report:#}"
    );
    let top = |list: &str| report["lists"][list]["top"].clone();
    let counted = |name: &str, records: u64| json!({ "name": name, "records": records });
    assert_eq!(
        top("decisions"),
        json!([counted("allow", 3), counted("deny", 2)])
    );
    assert_eq!(top("subjects")[0], counted("pat@acme.example", 2));
    assert_eq!(report["lists"]["subjects"]["names"], 3, "{report:#}");
    let text = told(
        &world,
        &["audit", "report", "--reason", "not_permitted", "--top", "1"],
    );
    for line in [
        "1 records, from ",
        "0 items accepted, 0 rejected",
        "pat@acme.example",
    ] {
        assert!(text.out.contains(line), "`{line}`:\n{}", text.out);
    }
    assert!(!text.out.contains(payments), "{}", text.out);
}

/// Scenario: a running gateway is asked for its checkpoint over HTTP, then a call comes, and it is asked again. Guarantees: the
/// note verifies with the printed key, and states the call's record soon after; each time of asking is a record, that has who and what;
/// more than ten in a second are refused, and the next says how many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_checkpoint_is_shown_and_that_is_recorded() {
    let world = sealed("audit: { file: audit.jsonl, name: trail, instance: gw-1, every: { records: 5, time: 100ms } }").await;
    let note = || async {
        let (status, note) = stage::admin(&world, "/audit/checkpoint").await;
        (status == 200).then_some(note)
    };
    let size = |note: &str| note.lines().nth(1).unwrap().parse::<u64>().unwrap();
    let first = stage::eventually("a checkpoint", note).await;
    let ids = calls(&world).await;
    let record = stage::record(&world, &ids[4]).await;
    let seq = record["seq"].as_u64().unwrap();
    let newest = stage::eventually("a checkpoint of the call", || async {
        note().await.filter(|note| size(note) > seq)
    })
    .await;
    assert!(size(&newest) > size(&first));
    // As an auditor has it: the line, the checkpoint from the network, the printed key.
    let kept = world.folder().join("from-admin");
    std::fs::write(&kept, &newest).unwrap();
    let key = told(&world, &["audit", "key"]).out.trim().to_owned();
    let kept = kept.display().to_string();
    let trail = world.folder().join("audit.jsonl").display().to_string();
    let verified = run(&[
        "audit",
        "verify",
        "--key",
        &key,
        "--checkpoints",
        &kept,
        "--output",
        "json",
        &trail,
    ]);
    let verified = verified.json();
    assert_eq!(
        (&verified["ok"], &verified["checkpoints"]),
        (&json!(true), &json!(1)),
        "{verified:#}"
    );
    assert_eq!(verified["sealed_size"], size(&newest), "{verified:#}");

    let read = stage::event(&world, "admin_read").await;
    for (field, expected) in [
        ("listener", "admin"),
        ("http_method", "GET"),
        ("path", "/audit/checkpoint"),
        ("operation", "gateway.audit.read"),
        ("decision", "allow"),
        ("reason", "admin_shown"),
    ] {
        assert_eq!(read[field], expected, "{read:#}");
    }
    assert!(
        read["client_address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:"),
        "{read:#}"
    );
    let caller = SampleCaller::new(&format!("http://{}", world.admin));
    let busy = stage::eventually("a refusal", || async {
        let answer = caller.get("/credentials").await.unwrap();
        (answer.status == 429).then(|| answer.header("retry-after"))
    })
    .await;
    assert_eq!(busy.as_deref(), Some("1"));
    for probe in ["/metrics", "/livez", "/readyz"] {
        assert_ne!(stage::admin(&world, probe).await.0, 429, "{probe}");
    }
    stage::eventually("what was refused is told", || async {
        caller.get("/credentials").await.unwrap();
        let told = |record: &Value| {
            record["operation"] == "gateway.credentials.read"
                && record["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.contains("more were refused"))
        };
        world.records().iter().any(told).then_some(())
    })
    .await;
}

/// Scenario: a gateway's credentials are listed by the command, in text and JSON, and once it has ended. Guarantees: all are named
/// with their digests, and no value of any is printed; a gateway that is not there is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_listed_without_a_value() {
    let world = stage::start(stage::plan(&[])).await;
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let own = format!("admin: {{ address: \"{}\" }}", world.admin);
    let text = text.replace("admin: { address: \"127.0.0.1:0\" }", &own);
    assert!(text.contains(&own));
    std::fs::write(&config, text).unwrap();
    for output in ["text", "json"] {
        let list = || told(&world, &["credentials", "list", "--output", output]);
        let listed = tokio::task::block_in_place(list);
        assert_eq!(listed.status, 0, "{}", listed.err);
        for name in [
            "checkout-prod/access_token/0",
            "payments-prod/access_token/0",
            "api_key",
        ] {
            assert!(listed.out.contains(name), "{name}:\n{}", listed.out);
        }
        for secret in stage::backend_credentials() {
            assert!(
                !listed.out.contains(&secret),
                "a value is printed:\n{}",
                listed.out
            );
        }
    }
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace(&world.admin.to_string(), &gone.to_string()),
    )
    .unwrap();
    let unreachable = told(&world, &["credentials", "list"]);
    assert_eq!(unreachable.status, 1);
    assert!(
        unreachable.err.contains("cannot be reached"),
        "{}",
        unreachable.err
    );
}
