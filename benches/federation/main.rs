//! One question to fifty projects, beside the same fifty questions asked one by one.
//!
//! What it does: starts the demonstration's world with fifty projects more, asks their streams in five ways, with a backend
//! that answers at once and one that takes 20 ms, and prints medians; then asks with one project dead and one that never
//! answers. What it refuses to know: how the answers are gathered.
//! Invariants: nothing leaves loopback; rounds are bounded; an answer that is not whole and good ends the run; ways take
//! turns within each round.
//!
//! Gateway, emulator and client share this process: its CPU time is what all three took, and only `curl` counts apart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool of ours that fails loudly"
)]

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;
use testkit::emulator::Endpoints;
use testkit::{Fault, SampleCaller, World, WorldPlan};

const PROJECTS: usize = 50;
const CONNECTIONS: usize = 8;
const DELAY: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(1);
const DEAD: &str = "fleet-007";
const HELD: &str = "fleet-011";
/// The one question: the app above all fifty.
const QUESTION: &str = "/apps/fleet/-/streams";
/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What `/proc` counts CPU time in: the kernel tells it in hundredths of a second on every machine.
const TICK: Duration = Duration::from_millis(10);

/// A way to learn the streams of all fifty projects.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// One question; the gateway asks so many projects at once.
    Federated { parallel: usize },
    /// Fifty questions after one another on one kept connection.
    Sequential,
    /// The same over several kept connections.
    Parallel,
    /// Fifty processes after one another.
    Curl,
}

impl Way {
    const ALL: [Way; 5] = [
        Way::Federated { parallel: 8 },
        Way::Federated { parallel: 16 },
        Way::Sequential,
        Way::Parallel,
        Way::Curl,
    ];

    fn name(self) -> String {
        match self {
            Way::Federated { parallel } => format!("1 question, `parallel: {parallel}`"),
            Way::Sequential => "50 questions, 1 connection".to_owned(),
            Way::Parallel => format!("50 questions, {CONNECTIONS} connections"),
            Way::Curl => "50 times `curl`".to_owned(),
        }
    }
}

/// What one way took.
#[derive(Default)]
struct Taken {
    walls: Vec<Duration>,
    bytes: usize,
    /// Of this process, over all rounds.
    own: Duration,
    /// Of the processes that it started, over all rounds.
    children: Duration,
}

/// Backends of one size behind two gateways that differ in how many projects they ask at once.
struct Worlds {
    eight: World,
    sixteen: World,
}

impl Worlds {
    async fn start() -> Self {
        Worlds {
            eight: world(8).await,
            sixteen: world(16).await,
        }
    }

    /// Lets both backends take so long, or none.
    fn delay(&self, delay: Option<Duration>) {
        for world in [&self.eight, &self.sixteen] {
            match delay {
                Some(delay) => world.emulator.fail(Endpoints::Query, Fault::Slow(delay)),
                None => world.emulator.heal(),
            }
        }
    }

    /// Asks one way; the bytes of the answers' bodies.
    async fn ask(&self, way: Way) -> usize {
        match way {
            Way::Federated { parallel: 16 } => federated(&self.sixteen).await,
            Way::Federated { .. } => federated(&self.eight).await,
            Way::Sequential => over(&self.eight, 1).await,
            Way::Parallel => over(&self.eight, CONNECTIONS).await,
            Way::Curl => curl(&self.eight).await,
        }
    }
}

async fn world(parallel: usize) -> World {
    let rates = "general: 100000/s, timeseries: 100000/s";
    let deadline = DEADLINE.as_secs();
    let more =
        format!("query: {{ deadline: {deadline}s, parallel: {parallel}, rates: {{ {rates} }} }}");
    let mut plan = WorldPlan {
        more,
        ..WorldPlan::default()
    };
    plan.emulator.captures = 0;
    World::start_with(plan.with_fleet(PROJECTS))
        .await
        .expect("a world")
}

fn caller(world: &World) -> SampleCaller {
    world
        .plain_caller()
        .deadline(PATIENCE)
        .bearer(&world.issuer.token("sam"))
}

fn path(number: usize) -> String {
    format!("/public/v0.2/acme/projects/fleet-{number:03}/streams")
}

/// The projects whose items an answer holds.
fn told(document: &Value) -> BTreeSet<&str> {
    let items = document
        .get("items")
        .and_then(Value::as_array)
        .expect("items");
    items
        .iter()
        .filter_map(|item| item.get("project")?.as_str())
        .collect()
}

async fn federated(world: &World) -> usize {
    let answer = caller(world).get(QUESTION).await.expect("an answer");
    let document = answer.json().expect("a document");
    assert_eq!(
        (answer.status, document.get("partial")),
        (200, Some(&Value::Bool(false))),
        "{document}"
    );
    assert_eq!(told(&document).len(), PROJECTS, "{document}");
    answer.body.len()
}

/// Fifty questions over so many connections, each of which takes the next one when it is free.
async fn over(world: &World, connections: usize) -> usize {
    let next = Arc::new(AtomicUsize::new(0));
    let lines: Vec<_> = (0..connections)
        .map(|_| {
            let (caller, next) = (caller(world), next.clone());
            tokio::spawn(async move {
                let mut line = caller.connect().await.expect("a connection");
                let mut bytes = 0;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= PROJECTS {
                        return bytes;
                    }
                    let accept = [("accept", "application/json")];
                    let answer = line
                        .send(Method::GET, &path(number), &accept, Vec::new())
                        .await
                        .expect("an answer");
                    let streams = answer
                        .json()
                        .and_then(|document| Some(document.get("data")?.as_array()?.len()));
                    assert!(
                        answer.status == 200 && streams.is_some_and(|count| count > 0),
                        "{}",
                        answer.text()
                    );
                    bytes += answer.body.len();
                }
            })
        })
        .collect();
    let mut bytes = 0;
    for line in lines {
        bytes += line.await.expect("a connection's answers");
    }
    bytes
}

/// Fifty processes. The token is in a file, so that no list of processes shows it.
async fn curl(world: &World) -> usize {
    let header = world.folder().join("curl-header");
    std::fs::write(
        &header,
        format!("authorization: Bearer {}\n", world.issuer.token("sam")),
    )
    .expect("a file");
    let (header, base) = (format!("@{}", header.display()), world.plain_url());
    let asking = tokio::task::spawn_blocking(move || {
        (0..PROJECTS).fold(0, |bytes, number| {
            let url = format!("{base}{}", path(number));
            let arguments = [
                "--silent",
                "--fail",
                "--noproxy",
                "*",
                "--max-time",
                "30",
                "--header",
                &header,
                &url,
            ];
            let output = Command::new("curl")
                .args(arguments)
                .stdin(Stdio::null())
                .output()
                .expect("curl starts");
            assert!(
                output.status.success() && !output.stdout.is_empty(),
                "curl: {}",
                output.status
            );
            bytes + output.stdout.len()
        })
    });
    asking.await.expect("curl's answers")
}

/// CPU time of this process and of those that it waited for (proc(5), fields 14 to 17); `None` where there is no `/proc`.
fn spent() -> Option<(Duration, Duration)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields
        .split_whitespace()
        .skip(11)
        .map_while(|field| field.parse::<u32>().ok());
    let mut both = || Some(TICK * (ticks.next()? + ticks.next()?));
    Some((both()?, both()?))
}

/// Asks in all ways so many rounds, `curl` so many of them.
async fn compare(worlds: &Worlds, title: &str, rounds: usize, curls: usize) {
    let mut all: Vec<(Way, Taken)> = Way::ALL
        .into_iter()
        .map(|way| (way, Taken::default()))
        .collect();
    for round in 0..=rounds {
        for (way, taken) in &mut all {
            if *way == Way::Curl && (curls == 0 || round > curls) {
                continue;
            }
            let (before, began) = (spent().unwrap_or_default(), Instant::now());
            let bytes = worlds.ask(*way).await;
            let (wall, after) = (began.elapsed(), spent().unwrap_or_default());
            // The first round opens connections and fills caches.
            if round > 0 {
                taken.walls.push(wall);
                taken.bytes = bytes;
                taken.own += after.0 - before.0;
                taken.children += after.1 - before.1;
            }
        }
    }
    println!("\n{title}; {rounds} rounds, `curl` {curls}\n");
    println!(
        "| way | wall, median | of one question | fastest to slowest | bytes | CPU here | CPU of `curl` |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut base = None;
    for (way, mut taken) in all.into_iter().filter(|(_, taken)| !taken.walls.is_empty()) {
        taken.walls.sort();
        let count = u32::try_from(taken.walls.len()).expect("few rounds");
        let median = median(&taken.walls);
        let base = *base.get_or_insert(median);
        println!(
            "| {} | {} | {:.2} | {} to {} | {} | {} | {} |",
            way.name(),
            told_in_ms(median),
            median.as_secs_f64() / base.as_secs_f64(),
            taken
                .walls
                .first()
                .copied()
                .map_or_else(String::new, told_in_ms),
            taken
                .walls
                .last()
                .copied()
                .map_or_else(String::new, told_in_ms),
            taken.bytes,
            told_in_ms(taken.own / count),
            if way == Way::Curl {
                told_in_ms(taken.children / count)
            } else {
                "–".to_owned()
            },
        );
    }
}

fn median(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn told_in_ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// One project that drops its connections, and one that does not answer.
async fn broken(worlds: &Worlds, rounds: usize) {
    println!(
        "\n`{DEAD}` dead, `{HELD}` held, deadline {}; {rounds} rounds\n",
        told_in_ms(DEADLINE)
    );
    println!(
        "| `parallel` | wall, median | fastest to slowest | past the deadline, slowest | projects told | errors[] |"
    );
    println!("|---|---|---|---|---|---|");
    for (parallel, world) in [(8, &worlds.eight), (16, &worlds.sixteen)] {
        world.emulator.fail_queries(DEAD, Fault::CloseBeforeHead);
        world.emulator.fail_queries(HELD, Fault::Held);
        let mut walls = Vec::new();
        let mut said = BTreeSet::new();
        for _ in 0..rounds {
            let began = Instant::now();
            let answer = caller(world).get(QUESTION).await.expect("an answer");
            walls.push(began.elapsed());
            let document = answer.json().expect("a document");
            let errors = document
                .get("errors")
                .and_then(Value::as_array)
                .expect("errors");
            let text = |error: &Value, name: &str| {
                error
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or("?")
                    .to_owned()
            };
            let errors: Vec<String> = errors
                .iter()
                .map(|error| format!("{} {}", text(error, "project"), text(error, "reason")))
                .collect();
            said.insert((answer.status, told(&document).len(), errors.join(", ")));
        }
        world.emulator.heal();
        walls.sort();
        let (fastest, slowest) = (
            walls.first().copied().unwrap_or_default(),
            walls.last().copied().unwrap_or_default(),
        );
        for (status, projects, errors) in said {
            let over = told_in_ms(slowest.saturating_sub(DEADLINE));
            let wall = told_in_ms(median(&walls));
            let (fastest, slowest) = (told_in_ms(fastest), told_in_ms(slowest));
            println!(
                "| {parallel} | {wall} | {fastest} to {slowest} | {over} | {projects} ({status}) | {errors} |"
            );
        }
    }
}

fn main() {
    // `cargo bench` says so; whatever else starts all targets does not want a minute of this.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("federation: run `cargo bench --bench federation`");
        return;
    }
    let has_curl = Command::new("curl")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|s| s.success());
    if !has_curl {
        println!("there is no `curl`: its rows are missing");
    }
    let curls = |count| if has_curl { count } else { 0 };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let worlds = Worlds::start().await;
        compare(&worlds, "The backend answers at once", 40, curls(5)).await;
        worlds.delay(Some(DELAY));
        compare(&worlds, "The backend takes 20 ms", 7, curls(3)).await;
        worlds.delay(None);
        broken(&worlds, 5).await;
    });
}
