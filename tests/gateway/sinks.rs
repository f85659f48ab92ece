//! Where the trail goes besides its file: receivers that are there, away, slow and wrong, over restarts and reloads. What it
//! refuses to know: how a message is written; the module's own tests know.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use lightkeeper::clock::Clock;
use lightkeeper::gateway::{Gateway, Loader};
use serde_json::Value;
use testkit::server::ServerTls;
use testkit::{
    Authority, LeafPlan, Receiver, ReceiverFault, SampleCaller, SyslogMood, SyslogReceiver, World,
};

use super::stage::{self, WorldPlan, eventually};

const TRAIL: &str = "audit: { file: audit.jsonl }";
const WHOAMI: &str = "/.lightkeeper/whoami";

/// A world whose trail goes to these sinks besides; `more`: further members of `audit`.
fn with(sinks: &str, more: &str) -> WorldPlan {
    let trail = format!("audit: {{ file: audit.jsonl{more}, sinks: [{sinks}] }}");
    stage::plan(&[(TRAIL, &trail)])
}

async fn otlp() -> Receiver {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Receiver::start(any).await.unwrap()
}

fn otlp_sink(receiver: &Receiver, more: &str) -> String {
    format!("{{ otlp: {{ url: \"{}\" }}{more} }}", receiver.url())
}

fn syslog_sink(receiver: &SyslogReceiver, more: &str) -> String {
    let address = receiver.address();
    format!("{{ syslog: {{ address: \"{address}\", transport: tcp }}{more} }}")
}

/// Bodies that the receiver took, in their order, with the event's name and `seq`.
fn taken(receiver: &Receiver) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for one in receiver.received_at("/v1/logs") {
        if one.status != 200 {
            continue;
        }
        found.extend(testkit::logs_of(&one.body).expect("an export of logs"));
    }
    found
}

/// The records' lines out of it.
fn lines_of(taken: &[(String, String)]) -> Vec<String> {
    let records = taken
        .iter()
        .filter(|(event, _)| !event.ends_with(".checkpoint"));
    records.map(|(_, body)| body.clone()).collect()
}

/// The records' lines out of messages.
fn lines_in(messages: &[String]) -> Vec<String> {
    let lines = messages.iter().map(|message| {
        let begin = message
            .find("] {")
            .expect("structured data before the line");
        message.split_at(begin + 2).1.to_owned()
    });
    lines.filter(|line| line.starts_with("{\"seq\":")).collect()
}

/// The trail's lines, of all its files.
fn trail(world: &World) -> Vec<String> {
    let mut parts: Vec<_> = std::fs::read_dir(world.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let ending = name.strip_prefix("audit.jsonl");
            ending.is_some_and(|ending| ending.bytes().all(|b| b == b'.' || b.is_ascii_digit()))
        })
        .collect();
    // The file itself comes last.
    parts.sort_by_key(|path| {
        (
            path.extension().is_some_and(|it| it == "jsonl"),
            path.clone(),
        )
    });
    let texts = parts
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap());
    let text: String = texts.collect();
    text.lines().map(str::to_owned).collect()
}

fn set(lines: &[String]) -> BTreeSet<&str> {
    lines.iter().map(String::as_str).collect()
}

/// So many refused calls, each of which has a record.
async fn calls(caller: &SampleCaller, count: usize) {
    for _ in 0..count {
        assert_eq!(caller.get(WHOAMI).await.unwrap().status, 401);
    }
}

/// Waits until what a receiver has is what the trail has, line by line.
async fn is_whole(world: &World, what: &str, has: impl Fn() -> Vec<String>) {
    eventually(what, || async {
        let (has, trail) = (has(), trail(world));
        (set(&has) == set(&trail) && !trail.is_empty()).then_some(())
    })
    .await;
}

/// Another gateway of the same files, after the first one has ended.
async fn restart(world: &World) -> Arc<Gateway> {
    world.gateway.stop().await;
    let path = world.folder().join("lightkeeper.yaml");
    let clock = Clock::system();
    let loader: Loader = {
        let clock = clock.clone();
        Arc::new(move || lightkeeper::cli::load(&path, &clock).plan())
    };
    let plan = loader().unwrap();
    Gateway::start(plan, loader, clock)
        .await
        .unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// Scenario: a trail with checkpoints and sinks of both kinds, calls, a rotation, a stop. Guarantees: each receiver has exactly the trail's
/// lines, byte for byte and in order, and each checkpoint whole; counts of records and of what was sent agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_have_what_the_file_has() {
    let (collector, relay) = (otlp().await, SyslogReceiver::start(None).await.unwrap());
    let sinks = format!("{}, {}", otlp_sink(&collector, ""), syslog_sink(&relay, ""));
    let mut plan = with(
        &sinks,
        ", instance: gw-1, every: { records: 7, time: 200ms }",
    );
    plan.config = plan
        .config
        .replace("vault:\n", "vault:\n  audit_keys: [{ file: audit-key }]\n");
    plan.files = vec![("audit-key".to_owned(), "5d".repeat(32))];
    let world = stage::start(plan).await;
    calls(&world.plain_caller(), 20).await;
    std::fs::rename(
        world.folder().join("audit.jsonl"),
        world.folder().join("audit.jsonl.1"),
    )
    .unwrap();
    world.gateway.reload().await.unwrap();
    calls(&world.plain_caller(), 20).await;
    let named = |name: &str| format!("{name}{{sink=\"otlp\"}}");
    eventually("no lag", || async {
        let (_, page) = stage::admin(&world, "/readyz").await;
        let ready: Value = serde_json::from_str(&page).unwrap();
        let states = ready["audit_sinks"].as_array().unwrap();
        let is_ok = |one: &Value| one["state"] == "ok" && one["lag_records"] == 0;
        (states.len() == 2 && states.iter().all(is_ok)).then_some(())
    })
    .await;
    assert!(stage::metric(&world, &named("lightkeeper_audit_sink_sent_total")).await >= 40.0);
    world.gateway.stop().await;
    let trail = trail(&world);
    let (logs, messages) = (taken(&collector), relay.messages());
    assert_eq!(lines_of(&logs), trail);
    assert_eq!(lines_in(&messages), trail);
    assert_eq!(relay.malformed(), 0);
    let notes = std::fs::read_to_string(world.folder().join("audit.jsonl.checkpoints")).unwrap();
    let told = logs
        .iter()
        .filter(|(event, _)| event == "lightkeeper.audit.checkpoint");
    let told: String = told.map(|(_, note)| note.as_str()).collect();
    assert_eq!(told, notes);
    let relayed = messages.iter().filter_map(|message| {
        let line = message.split_once("] {\"event\":\"checkpoint\"")?.1;
        let line: Value =
            serde_json::from_str(&format!("{{\"event\":\"checkpoint\"{line}")).ok()?;
        Some(line["note"].as_str()?.to_owned())
    });
    assert_eq!(relayed.collect::<String>(), notes);
}

/// Scenario: of three sinks one is away, one takes connections and reads nothing, one is well; then both are mended. Guarantees: calls
/// and the sound sink notice nothing; loss and return are told once each, in the trail, by metrics and by `/readyz`, which stays
/// 200; in the end each has every record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_away_holds_up_none_and_catches_up() {
    let (dead, slow, sound) = (
        otlp().await,
        SyslogReceiver::start(None).await.unwrap(),
        SyslogReceiver::start(None).await.unwrap(),
    );
    dead.stop().await;
    slow.behave(SyslogMood::Idles);
    let sinks = [
        otlp_sink(&dead, ", name: dead"),
        syslog_sink(&slow, ", name: slow"),
        syslog_sink(&sound, ", name: sound"),
    ];
    let world = stage::start(with(&sinks.join(", "), "")).await;
    calls(&world.plain_caller(), 50).await;
    let lost = stage::event(&world, "audit_sink_lost").await;
    assert_eq!(
        (lost["reason"].as_str(), lost["detail"].as_str()),
        (Some("sink_silent"), Some("dead: unreachable"))
    );
    is_whole(&world, "the sound sink's records", || {
        lines_in(&sound.messages())
    })
    .await;
    let (status, ready) = stage::admin(&world, "/readyz").await;
    assert_eq!(status, 200);
    assert!(
        ready.contains("audit sink `dead`: it takes nothing"),
        "{ready}"
    );
    let lag = stage::metric(&world, "lightkeeper_audit_sink_lag_records{sink=\"dead\"}").await;
    assert!(lag >= 50.0, "{lag}");
    dead.restart().await.unwrap();
    slow.behave(SyslogMood::Reads);
    slow.restart().await.unwrap();
    let back = stage::event(&world, "audit_sink_returned").await;
    assert_eq!(back["detail"], "dead");
    is_whole(&world, "the records that waited", || {
        lines_of(&taken(&dead))
    })
    .await;
    calls(&world.plain_caller(), 5).await;
    is_whole(&world, "what the slow one never read", || {
        lines_in(&slow.messages())
    })
    .await;
    let sent = lines_of(&taken(&dead));
    assert_eq!(sent.len(), set(&sent).len(), "a record came twice");
    let records = world.records();
    let count = |name: &str| records.iter().filter(|one| one["event"] == name).count();
    assert_eq!((count("audit_sink_lost"), count("audit_sink_gap")), (1, 0));
}

/// Scenario: a receiver is away while calls come, while the gateway stops, and while another gateway starts on the same files; one
/// hangs up in the middle of messages. Guarantees: both have every record of both processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_nothing() {
    let (dead, relay) = (otlp().await, SyslogReceiver::start(None).await.unwrap());
    let sinks = [otlp_sink(&dead, ""), syslog_sink(&relay, "")];
    let world = stage::start(with(&sinks.join(", "), "")).await;
    calls(&world.plain_caller(), 5).await;
    is_whole(&world, "the first records", || lines_of(&taken(&dead))).await;
    dead.stop().await;
    relay.behave(SyslogMood::HangsUp(700));
    relay.restart().await.unwrap();
    calls(&world.plain_caller(), 20).await;
    let second = restart(&world).await;
    dead.restart().await.unwrap();
    relay.behave(SyslogMood::Reads);
    relay.restart().await.unwrap();
    let mut addresses = second.addresses().iter();
    let (_, plain) = addresses.find(|(name, _)| name == "plain").unwrap();
    calls(&SampleCaller::new(&format!("http://{plain}")), 5).await;
    is_whole(&world, "all records by OTLP", || lines_of(&taken(&dead))).await;
    is_whole(&world, "all records by syslog", || {
        lines_in(&relay.messages())
    })
    .await;
    second.stop().await;
    let events: Vec<Value> = world.records();
    assert_eq!(
        events.iter().filter(|one| one["event"] == "start").count(),
        2
    );
    is_whole(&world, "the stop as well", || lines_of(&taken(&dead))).await;
}

/// Scenario: a receiver that must have every record is away, and more calls come than may wait; then it is back. Guarantees: calls are
/// refused with the reason's own code, `/readyz` says 503 and why; once it has caught up calls pass, and it has every record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_refused_for_a_sink_that_must_have_all() {
    let dead = otlp().await;
    dead.stop().await;
    let sink = otlp_sink(&dead, ", on_failure: refuse, queue: { records: 12 }");
    let world = stage::start(with(&sink, "")).await;
    let caller = world.plain_caller();
    let refused = eventually("a refusal", || async {
        let answer = caller.get(WHOAMI).await.unwrap();
        (answer.status == 503).then_some(answer)
    })
    .await;
    let id = refused.header("lightkeeper-request-id").unwrap().to_owned();
    assert_eq!(
        stage::record(&world, &id).await["reason"],
        "audit_sink_full"
    );
    let (status, ready) = stage::admin(&world, "/readyz").await;
    assert_eq!(status, 503, "{ready}");
    assert!(ready.contains("so that calls are refused"), "{ready}");
    dead.restart().await.unwrap();
    eventually("a call that passes", || async {
        (caller.get(WHOAMI).await.unwrap().status == 401).then_some(())
    })
    .await;
    is_whole(&world, "every record", || lines_of(&taken(&dead))).await;
    assert_eq!(stage::admin(&world, "/readyz").await.0, 200);
}

/// Scenario: records wait in memory alone, more than there is room for, and the receiver comes back. Guarantees: it has those that found
/// room; the others are counted, and told with the first and last number; what was sent and what was not are the trail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_in_memory_tells_what_it_had_no_room_for() {
    let dead = otlp().await;
    dead.stop().await;
    let sink = otlp_sink(&dead, ", resume: memory, queue: { records: 10 }");
    let world = stage::start(with(&sink, "")).await;
    calls(&world.plain_caller(), 30).await;
    eventually("records without room", || async {
        let name = "lightkeeper_audit_sink_dropped_total{reason=\"queue_full\",sink=\"otlp\"}";
        (stage::metric(&world, name).await >= 15.0).then_some(())
    })
    .await;
    dead.restart().await.unwrap();
    let gap = stage::event(&world, "audit_sink_gap").await;
    let detail = gap["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with("(queue_full)"), "{detail}");
    let numbers: Vec<u64> = detail
        .split(|sign: char| !sign.is_ascii_digit())
        .filter_map(|text| text.parse().ok())
        .collect();
    let [count, first, last] = numbers[..] else {
        panic!("{detail}");
    };
    eventually("the gap's own record at the receiver", || async {
        let sent = lines_of(&taken(&dead));
        sent.iter()
            .any(|line| line.contains("audit_sink_gap"))
            .then_some(())
    })
    .await;
    let sent: BTreeSet<u64> = lines_of(&taken(&dead))
        .iter()
        .map(|line| seq(line))
        .collect();
    let all: BTreeSet<u64> = trail(&world).iter().map(|line| seq(line)).collect();
    let missing: Vec<u64> = all.difference(&sent).copied().collect();
    assert_eq!(
        (missing.len() as u64, missing.first(), missing.last()),
        (count, Some(&first), Some(&last))
    );
}

fn seq(line: &str) -> u64 {
    let record: Value = serde_json::from_str(line).unwrap();
    record["seq"].as_u64().unwrap()
}

/// Scenario: a receiver answers in every way that it should not, one after the other. Guarantees: none of them loses a record but the
/// refusal of records themselves, which are counted; no pause is endless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_all_kinds_lose_nothing() {
    let receiver = otlp().await;
    let world = stage::start(with(&otlp_sink(&receiver, ""), "")).await;
    let failures = |fault: &str| {
        format!("lightkeeper_audit_sink_failures_total{{fault=\"{fault}\",sink=\"otlp\"}}")
    };
    for (status, fault) in [
        (401, "denied"),
        (404, "status"),
        (429, "busy"),
        (302, "status"),
        (500, "status"),
    ] {
        let location = (status == 302).then(|| "http://192.0.2.1/".to_owned());
        receiver.fail("/v1/logs", ReceiverFault::Status { status, location });
        let before = stage::metric(&world, &failures(fault)).await;
        calls(&world.plain_caller(), 2).await;
        eventually("a failure", || async {
            (stage::metric(&world, &failures(fault)).await > before).then_some(())
        })
        .await;
        receiver.heal();
        is_whole(&world, "all records", || lines_of(&taken(&receiver))).await;
    }
    receiver.fail(
        "/v1/logs",
        ReceiverFault::Status {
            status: 400,
            location: None,
        },
    );
    calls(&world.plain_caller(), 3).await;
    let dropped = "lightkeeper_audit_sink_dropped_total{reason=\"rejected\",sink=\"otlp\"}";
    eventually("records that are refused", || async {
        (stage::metric(&world, dropped).await >= 3.0).then_some(())
    })
    .await;
    receiver.heal();
    calls(&world.plain_caller(), 1).await;
    let gap = stage::event(&world, "audit_sink_gap").await;
    assert_eq!(gap["reason"], "sink_lacks");
    let last = trail(&world).pop().unwrap();
    eventually("what comes behind", || async {
        lines_of(&taken(&receiver)).contains(&last).then_some(())
    })
    .await;
}

/// Scenario: syslog over TLS: to a certificate for another name, to one of another authority, and to the right one with a
/// certificate of ours. Guarantees: nothing is sent to a receiver that is not known; a reload to the right settings sends everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_to_the_right_receiver_alone() {
    let clock = Clock::system();
    let (authority, other) = (
        Authority::new("logs", &clock).unwrap(),
        Authority::new("other", &clock).unwrap(),
    );
    let leaf = authority.issue(&LeafPlan::server()).unwrap();
    let own = authority
        .issue(&LeafPlan::client("gateway", Vec::new()))
        .unwrap();
    let tls = ServerTls {
        certificates: leaf.certificate.clone(),
        key: leaf.key.clone(),
        client_ca: Some(authority.certificate()),
    };
    let relay = SyslogReceiver::start(Some(&tls)).await.unwrap();
    let port = relay.address().port();
    let sink = |ca: &str, name: &str| {
        format!(
            "{{ syslog: {{ address: \"127.0.0.1:{port}\", server_name: {name}, ca: {ca}, \
             client: {{ certificate: own.pem, key: own.key }} }} }}"
        )
    };
    let mut plan = with(&sink("logs.pem", "elsewhere.example"), "");
    plan.files = vec![
        ("logs.pem".to_owned(), authority.certificate()),
        ("other.pem".to_owned(), other.certificate()),
        ("own.pem".to_owned(), own.certificate.clone()),
        ("own.key".to_owned(), own.key.clone()),
    ];
    let world = stage::start(plan).await;
    calls(&world.plain_caller(), 3).await;
    let failed = "lightkeeper_audit_sink_failures_total{fault=\"untrusted\",sink=\"syslog\"}";
    let config = world.folder().join("lightkeeper.yaml");
    let set_sink = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains(from), "{from}");
        stage::replace(&config, text.replace(from, to));
    };
    eventually("a name that is not the receiver's", || async {
        (stage::metric(&world, failed).await > 0.0).then_some(())
    })
    .await;
    set_sink(
        &sink("logs.pem", "elsewhere.example"),
        &sink("other.pem", "localhost"),
    );
    world.gateway.reload().await.unwrap();
    let before = stage::metric(&world, failed).await;
    eventually("an authority that is not trusted", || async {
        (stage::metric(&world, failed).await > before).then_some(())
    })
    .await;
    assert_eq!(relay.messages(), [""; 0]);
    set_sink(
        &sink("other.pem", "localhost"),
        &sink("logs.pem", "localhost"),
    );
    world.gateway.reload().await.unwrap();
    is_whole(&world, "all records over TLS", || {
        lines_in(&relay.messages())
    })
    .await;
}

/// Scenario: reloads add a sink, take one away, and name one whose authority's file is none. Guarantees: what was added gets what comes;
/// what was taken away gets nothing more, and, named again, what it missed; the wrong one changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_over_other_sinks() {
    let (one, two) = (otlp().await, otlp().await);
    let [first, second] = [
        otlp_sink(&one, ", name: one"),
        otlp_sink(&two, ", name: two"),
    ];
    let world = stage::start(with(&first, "")).await;
    let config = world.folder().join("lightkeeper.yaml");
    let set_sinks = async |from: &str, to: &str| {
        let text = std::fs::read_to_string(&config).unwrap();
        let (from, to) = (format!("sinks: [{from}]"), format!("sinks: [{to}]"));
        assert!(text.contains(&from), "{from}");
        stage::replace(&config, text.replace(&from, &to));
        world.gateway.reload().await
    };
    calls(&world.plain_caller(), 3).await;
    is_whole(&world, "the first sink's records", || {
        lines_of(&taken(&one))
    })
    .await;
    set_sinks(&first, &second).await.unwrap();
    calls(&world.plain_caller(), 3).await;
    let last = trail(&world).pop().unwrap();
    eventually("what comes at the second sink", || async {
        lines_of(&taken(&two)).contains(&last).then_some(())
    })
    .await;
    assert!(!lines_of(&taken(&one)).contains(&last));
    let wrong = format!("{{ otlp: {{ url: \"{}\", ca: policy.yaml }} }}", one.url());
    let refused = set_sinks(&second, &wrong).await.unwrap_err().join("\n");
    assert!(refused.contains("audit.sinks[0].otlp.ca"), "{refused}");
    calls(&world.plain_caller(), 1).await;
    let last = trail(&world).pop().unwrap();
    eventually("records after a reload that failed", || async {
        lines_of(&taken(&two)).contains(&last).then_some(())
    })
    .await;
    set_sinks(&wrong, &format!("{first}, {second}"))
        .await
        .unwrap();
    is_whole(&world, "what the first sink missed", || {
        lines_of(&taken(&one))
    })
    .await;
}
