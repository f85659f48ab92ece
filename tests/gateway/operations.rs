//! What an operator relies on: the audit trail, the metrics page and the probes. What it refuses to know: what a
//! single call becomes; the golden cases say that.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use lightkeeper::otlp::Encoding;
use serde_json::Value;
use testkit::{Sample, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::stage::{self, eventually};

/// Scenario: calls of every outcome, many at once, over HTTP/1.1 and HTTP/2.
/// Guarantees: exactly one record for each, found by the request id of its answer, numbered without a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_record_for_each_call() {
    let world = std::sync::Arc::new(stage::start(stage::plan(&[])).await);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..60 {
        let world = world.clone();
        calls.spawn(async move {
            let token = world
                .issuer
                .token(["checkout-collector", "eve", "ann"][number % 3]);
            let caller = world.plain_caller().bearer(&token);
            let caller = if number % 2 == 0 {
                caller
            } else {
                caller.http2()
            };
            let answer = match number % 5 {
                0 => {
                    caller
                        .export(&Sample::traces("checkout", 1), Encoding::Protobuf)
                        .await
                }
                1 => caller.export_grpc(&Sample::traces("checkout", 1)).await,
                2 => caller.get("/public/v0.2/acme/projects").await,
                3 => caller.get("/nowhere").await,
                _ => {
                    caller
                        .get("/public/v0.2/acme/projects/shop-prod%2f..%2fpayments-prod/streams")
                        .await
                }
            };
            answer.unwrap().header("lightkeeper-request-id").unwrap()
        });
    }
    let answered: BTreeSet<String> = calls.join_all().await.into_iter().collect();
    assert_eq!(answered.len(), 60);
    let records = eventually("all records", || async {
        let records = world.records();
        (records
            .iter()
            .filter(|record| record["event"] == "call")
            .count()
            >= 60)
            .then_some(records)
    })
    .await;
    let recorded: Vec<&str> = records
        .iter()
        .filter(|record| record["event"] == "call")
        .map(|record| record["request_id"].as_str().unwrap())
        .collect();
    assert_eq!(recorded.len(), 60);
    assert_eq!(
        recorded
            .iter()
            .map(|id| (*id).to_owned())
            .collect::<BTreeSet<_>>(),
        answered
    );
    let numbers: Vec<u64> = records
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..records.len() as u64).collect::<Vec<_>>());
    stage::counts(
        &world,
        "lightkeeper_audit_records_written",
        records.len() as f64,
    )
    .await;
}

const AUDIT: &str = "audit: { file: audit.jsonl }";

/// Scenario: the disk is full, and the gateway is to refuse what it cannot record.
/// Guarantees: 503 / UNAVAILABLE in each dialect, nothing upstream, not ready; and no caller is told to drop data.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses() {
    let world = stage::start(stage::plan(&[(AUDIT, "audit: { file: /dev/full }")])).await;
    eventually("not ready", || async {
        (stage::admin(&world, "/readyz").await.0 == 503).then_some(())
    })
    .await;
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let sample = Sample::traces("checkout", 1);
    let answer = caller.export(&sample, Encoding::Json).await.unwrap();
    assert_eq!(
        (answer.status, answer.json().unwrap()["code"].clone()),
        (503, 14.into())
    );
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(
        caller.export_grpc(&sample).await.unwrap().grpc_status(),
        Some(14)
    );
    assert_eq!(
        caller
            .get("/public/v0.2/acme/projects")
            .await
            .unwrap()
            .status,
        503
    );
    assert_eq!(
        world
            .plain_caller()
            .get("/public/v0.2/acme/projects")
            .await
            .unwrap()
            .status,
        503
    );
    assert_eq!(world.emulator.heads(), 0);
    stage::counts(&world, "lightkeeper_audit_failing", 1.0).await;
    let refused = r#"lightkeeper_requests_total{app="none",decision="deny",operation="ingest.traces",reason="audit_unwritable"}"#;
    stage::counts(&world, refused, 2.0).await;
    let (_, page) = stage::admin(&world, "/readyz").await;
    assert!(page.contains(r#""audit":"failing""#), "{page}");
    assert_eq!(stage::admin(&world, "/livez").await.0, 200);
}

/// Scenario: the disk is full, and the gateway is to go on.
/// Guarantees: calls are served, it stays ready, and each lost record is counted.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_counted() {
    let world = stage::start(stage::plan(&[(
        AUDIT,
        "audit: { file: /dev/full, on_failure: continue }",
    )]))
    .await;
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    for _ in 0..5 {
        assert_eq!(
            caller
                .export(&Sample::traces("checkout", 1), Encoding::Protobuf)
                .await
                .unwrap()
                .status,
            200
        );
    }
    // Five calls and the start.
    eventually("lost records", || async {
        (stage::metric(&world, "lightkeeper_audit_records_lost").await as i64 == 6).then_some(())
    })
    .await;
    assert_eq!(stage::admin(&world, "/readyz").await.0, 200);
    stage::counts(&world, "lightkeeper_audit_failing", 1.0).await;
}

/// Writes line ends into a pipe until it takes no more: who writes next, waits.
#[cfg(target_os = "linux")]
fn fill(pipe: &std::io::PipeWriter) {
    use std::io::Write as _;
    use std::os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _};
    // O_NONBLOCK, of this opening alone (proc(5), fd).
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let mut opened = std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(0o4000)
        .open(path)
        .unwrap();
    for size in [4096, 1] {
        while opened.write(&[b'\n'; 4096][..size]).is_ok() {}
    }
}

/// Scenario: the disk hangs (a full pipe that is not read), a caller's name is full of marks of direction, and strangers ask for
/// long paths. Guarantees: what waits stays within `audit.queue_bytes`, far below `queue` records of such a length; then 429
/// for their address, while another has its place; once the disk goes on, so does the gateway; each record is short, what is hidden in it is escaped, and what is cut is marked.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_disk_holds_no_memory_of_others() {
    use std::io::BufRead as _;
    use std::os::fd::AsRawFd as _;
    let (reader, writer) = std::io::pipe().unwrap();
    fill(&writer);
    let audit = format!(
        "audit: {{ file: /proc/self/fd/{}, queue_bytes: 256KiB }}",
        writer.as_raw_fd()
    );
    let world = stage::start(stage::plan(&[(AUDIT, &audit)])).await;
    let caller = world.plain_caller();
    let hidden = world
        .issuer
        .claims("ann\u{202e}\u{200b}\u{2069}@acme.example");
    let hidden = caller.bearer(&world.issuer.mint(hidden, testkit::issuer::Algorithm::Rs256));
    assert_eq!(
        hidden.get("/.lightkeeper/whoami").await.unwrap().status,
        200
    );
    let caller = world.plain_caller();
    let path = format!("/v1{}", format!("/{}", "a".repeat(500)).repeat(62));
    // A record may reach the queue after its call's answer, and may give room back as it does: one refusal is not the end yet.
    let mut in_a_row = 0;
    let mut sent = 0;
    while in_a_row < 50 {
        let status = caller.get(&path).await.unwrap().status;
        let queued = stage::metric(&world, "lightkeeper_audit_queued_bytes").await;
        assert!(
            queued <= f64::from(256 << 10),
            "{queued} bytes wait after {sent} calls"
        );
        in_a_row = if status == 429 { in_a_row + 1 } else { 0 };
        sent += 1;
        assert!(sent < 2000, "refusals take no more than the share");
    }
    assert!(sent > 60, "{sent}");
    let elsewhere = |number: u8| {
        let (gateway, path) = (world.address("plain").unwrap(), path.clone());
        async move {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 1, number], 0).into()).unwrap();
            let mut stream = socket.connect(gateway).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).await.unwrap();
            String::from_utf8_lossy(&status).into_owned()
        }
    };
    assert!(!["HTTP/1.1 429", "HTTP/1.1 503"].contains(&elsewhere(0).await.as_str()));
    // Many addresses together take what is left.
    let mut is_full = false;
    for number in 0..250 {
        is_full = is_full || elsewhere(number).await == "HTTP/1.1 503";
    }
    assert!(is_full);
    assert!(
        stage::admin(&world, "/readyz")
            .await
            .1
            .contains(r#""audit":"failing""#)
    );
    // The disk goes on.
    drop(writer);
    let reading = std::thread::spawn(move || {
        let lines = std::io::BufReader::new(reader)
            .lines()
            .map_while(Result::ok);
        lines
            .take_while(|line| !line.contains(r#""event":"stop""#))
            .collect::<Vec<String>>()
    });
    let is_refused = |status| status == 503 || status == 429;
    eventually("calls again", || async {
        (!is_refused(caller.get(&path).await.unwrap().status)).then_some(())
    })
    .await;
    world.gateway.stop().await;
    let lines = reading.join().unwrap();
    let calls: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains(r#""event":"call""#))
        .collect();
    assert!(calls.len() > 10);
    for (number, line) in calls.into_iter().enumerate() {
        assert!(
            line.len() < 2500 && !line.contains(['\u{202e}', '\u{200b}', '\u{2069}']),
            "{line}"
        );
        let record: Value = serde_json::from_str(line).unwrap();
        if number == 0 {
            assert_eq!(
                record["identity"]["subject"],
                r"ann\u{202e}\u{200b}\u{2069}@acme.example"
            );
        } else {
            assert!(
                record["path"].as_str().unwrap().ends_with(" bytes]"),
                "{line}"
            );
        }
    }
}

/// Scenario: the audit file is moved away, as log rotation does, and the configuration is read again.
/// Guarantees: records go on in a new file, their numbers too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_file_is_rotated() {
    let world = stage::start(stage::plan(&[])).await;
    let file = world.folder().join("audit.jsonl");
    let caller = world.plain_caller();
    caller.get("/nowhere").await.unwrap();
    let before = stage::records(&world, 2).await;
    std::fs::rename(&file, world.folder().join("audit.1.jsonl")).unwrap();
    world.gateway.reload().await.unwrap();
    caller.get("/nowhere").await.unwrap();
    let after = eventually("the call in the new file", || async {
        world
            .records()
            .into_iter()
            .find(|record| record["event"] == "call")
    })
    .await;
    let last = before.last().unwrap()["seq"].as_u64().unwrap();
    assert!(
        (last + 1..=last + 2).contains(&after["seq"].as_u64().unwrap()),
        "{after}"
    );
}

/// The labels of each series on the metrics page.
fn series(page: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let lines = page.lines().filter(|line| line.starts_with("lightkeeper_"));
    lines
        .map(|line| {
            let (name, labels) = line
                .split_once('{')
                .unwrap_or((line.split(' ').next().unwrap(), "}"));
            let labels = labels.split_once('}').unwrap().0;
            let pairs = labels
                .split("\",")
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (label, value) = pair.split_once("=\"").unwrap();
                    (label.to_owned(), value.trim_end_matches('"').to_owned())
                });
            (name.to_owned(), pairs.collect())
        })
        .collect()
}

/// Scenario: strangers try what they can to make the page grow: paths, methods, subjects, apps, organizations, tokens.
/// Guarantees: the label names are a closed set, no value is a caller's, and the second flood adds no series.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_page_is_bounded() {
    let world = stage::start(stage::plan(&[])).await;
    let flood = async |round: usize| {
        for number in 0..12 {
            let word = format!("intruder{round}x{number}");
            let token = world
                .issuer
                .mint(world.issuer.claims(&word), testkit::Algorithm::Rs256);
            let caller = world.plain_caller().bearer(&token);
            caller.get(&format!("/{word}")).await.unwrap();
            caller.get(&format!("/apps/{word}")).await.unwrap();
            caller
                .get(&format!("/public/v0.2/{word}/projects"))
                .await
                .unwrap();
            caller
                .get(&format!("/public/v0.2/acme/projects/{word}/streams"))
                .await
                .unwrap();
            let sample = Sample::traces(&word, 1);
            caller
                .export_to(
                    &format!("/apps/{word}/-/v1/traces"),
                    &sample,
                    Encoding::Json,
                )
                .await
                .unwrap();
            caller
                .send(
                    Method::from_bytes(word.as_bytes()).unwrap(),
                    "/v1/traces",
                    &[],
                    Vec::new(),
                )
                .await
                .unwrap();
            world
                .plain_caller()
                .bearer(&word)
                .get("/public/v0.2/acme/projects")
                .await
                .unwrap();
            world
                .plain_caller()
                .bearer(&world.issuer.token("sam"))
                .get("/public/v0.2/acme/projects")
                .await
                .unwrap();
        }
        stage::admin(&world, "/metrics").await.1
    };
    let first = flood(0).await;
    let second = flood(1).await;
    let known = [
        "operation",
        "app",
        "decision",
        "reason",
        "upstream",
        "status",
        "direction",
        "listener",
        "result",
        "issuer",
        "project",
        "event",
        "how",
        "class",
        "by",
        "le",
        "method",
        "outcome",
        "source",
        "version",
        "os",
        "arch",
    ];
    let apps: BTreeSet<&str> = [
        "none",
        "/",
        "shop",
        "shop/checkout",
        "shop/payments",
        "shop/search",
        "platform",
    ]
    .into();
    for (name, labels) in series(&second) {
        for (label, value) in &labels {
            assert!(known.contains(&label.as_str()), "{name}: {label}");
            for callers in [
                "intruder",
                "acme.example",
                "127.0.0.1",
                "/public",
                "serviceaccount",
                "ci:",
            ] {
                assert!(!value.contains(callers), "{name}: {label}=\"{value}\"");
            }
            assert!(
                label != "app" || apps.contains(value.as_str()),
                "{name}: app=\"{value}\""
            );
        }
    }
    let names = |page: &str| {
        series(page)
            .into_iter()
            .map(|(name, labels)| format!("{name}{labels:?}"))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&first), names(&second));
    assert!(names(&second).len() > 30);
    eventually("calls to be over", || async {
        (stage::metric(&world, "lightkeeper_requests_in_flight").await as i64 == 0).then_some(())
    })
    .await;
    stage::counts(&world, "lightkeeper_panics_total", 0.0).await;
}

/// Scenario: more connections than the admin listener has places, silent or with half a head; a scraper that has asked and
/// keeps its connection. Guarantees: every probe is answered; the scraper, which asked last, keeps its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_keep_probes_out() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world: World = stage::start(stage::plan(&[])).await;
    let mut idle = Vec::new();
    for number in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(world.admin).await.unwrap();
        if number % 2 == 0 {
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nHost: ")
                .await
                .unwrap();
        }
        idle.push(stream);
    }
    let mut scraper = tokio::net::TcpStream::connect(world.admin).await.unwrap();
    for probe in 0..40 {
        let mut read = [0_u8; 12];
        if probe % 4 == 0 {
            scraper
                .write_all(b"HEAD /livez HTTP/1.1\r\nHost: admin\r\n\r\n")
                .await
                .unwrap();
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n\r\n") {
                let count = scraper.read(&mut read).await.unwrap();
                assert!(count > 0, "the scraper lost its place before probe {probe}");
                text.extend_from_slice(&read[..count]);
            }
            assert!(text.starts_with(b"HTTP/1.1 200"), "probe {probe}");
        }
        let mut stream = tokio::net::TcpStream::connect(world.admin).await.unwrap();
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"HTTP/1.1 200", "probe {probe}");
        // Probes that keep their connections are idle ones, too.
        idle.push(stream);
    }
}

/// Scenario: an operator's probes, and what else may be asked at the admin listener.
/// Guarantees: status by status; nothing can be changed there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes() {
    let world: World = stage::start(stage::plan(&[])).await;
    let caller = testkit::SampleCaller::new(&format!("http://{}", world.admin));
    for (method, path, status) in [
        (Method::GET, "/startupz", 200),
        (Method::GET, "/livez", 200),
        (Method::GET, "/readyz", 200),
        (Method::HEAD, "/readyz", 200),
        (Method::GET, "/metrics", 200),
        (Method::GET, "/", 404),
        (Method::GET, "/debug/pprof", 404),
        (Method::POST, "/readyz", 405),
        (Method::DELETE, "/metrics", 405),
    ] {
        let answer = caller
            .send(method.clone(), path, &[], Vec::new())
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
    let ready: Value = serde_json::from_str(&stage::admin(&world, "/readyz").await.1).unwrap();
    assert_eq!(
        (
            &ready["ready"],
            &ready["audit"],
            &ready["issuers"][0]["has_keys"]
        ),
        (&true.into(), &"ok".into(), &true.into())
    );
    // The callers' listeners know none of these.
    assert_eq!(
        world.plain_caller().get("/metrics").await.unwrap().status,
        401
    );
}
