//! What the tests of this folder share: waiting for a condition, worlds that differ from the demonstration's,
//! and expectations that are files. What it refuses to know: any scenario.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lightkeeper::otlp::Encoding;
use serde_json::Value;
pub use testkit::WorldPlan;
use testkit::emulator::PROJECTS;
use testkit::{Answer, Emulator, Sample, SampleCaller, World};

/// After this long, what was waited for does not come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until `look` finds something, and gives it; the only way to wait in these tests.
#[track_caller]
pub fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    look: impl Fn() -> F,
) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let looking = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                ticks.tick().await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        found.unwrap_or_else(|_| panic!("{place}: never came: {what}"))
    }
}

/// The demonstration's world with parts of its configuration replaced, each of which must be there.
pub fn plan(edits: &[(&str, &str)]) -> WorldPlan {
    let mut plan = WorldPlan::default();
    for (old, new) in edits {
        assert!(
            plan.config.contains(old),
            "the configuration has no `{old}`"
        );
        plan.config = plan.config.replace(old, new);
    }
    plan
}

/// The same, but exports pass untouched as they come.
pub fn streamed(mut plan: WorldPlan) -> WorldPlan {
    plan.more.push_str("\ningest: { stamp: off }\n");
    plan
}

/// Starts a world, and waits until its own issuer's keys are there.
pub async fn start(plan: WorldPlan) -> World {
    let world = World::start_with(plan)
        .await
        .unwrap_or_else(|error| panic!("the world does not start: {error}"));
    eventually("the issuer's keys", || async {
        let issuers = world.gateway.shared().readiness().issuers;
        issuers
            .iter()
            .any(|issuer| issuer.issuer == "acme" && issuer.has_keys)
            .then_some(())
    })
    .await;
    world
}

/// One more binding, as a YAML flow mapping.
pub fn bind(mut plan: WorldPlan, binding: &str) -> WorldPlan {
    plan.policy.push_str(&format!("  - {binding}\n"));
    plan
}

/// The records of calls and events, once there are `count`.
pub async fn records(world: &World, count: usize) -> Vec<Value> {
    eventually(&format!("{count} records"), || async {
        let records = world.records();
        (records.len() >= count).then_some(records)
    })
    .await
}

/// The record of the answer with this request id.
pub async fn record(world: &World, request_id: &str) -> Value {
    eventually(&format!("the record of {request_id}"), || async {
        world
            .records()
            .into_iter()
            .find(|record| record["request_id"] == request_id)
    })
    .await
}

/// The record of this answer.
pub async fn recorded(world: &World, answer: &Answer) -> Value {
    record(world, &answer.header("lightkeeper-request-id").unwrap()).await
}

/// A small export of one service over HTTP.
pub async fn export(caller: &SampleCaller, service: &str) -> Answer {
    caller
        .export(&Sample::traces(service, 1), Encoding::Protobuf)
        .await
        .unwrap()
}

/// The first event of this kind.
pub async fn event(world: &World, name: &str) -> Value {
    eventually(&format!("the event `{name}`"), || async {
        world
            .records()
            .into_iter()
            .find(|record| record["event"] == name)
    })
    .await
}

/// What the admin listener answers: status and body.
pub async fn admin(world: &World, path: &str) -> (u16, String) {
    let caller = SampleCaller::new(&format!("http://{}", world.admin));
    let answer = caller.get(path).await.unwrap();
    (answer.status, answer.text())
}

/// One figure of the metrics page, by its whole name with labels; 0 if it is not there.
pub async fn metric(world: &World, name: &str) -> f64 {
    let (_, page) = admin(world, "/metrics").await;
    let found = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or(0.0)
}

/// Waits until this figure is `count`: a call counts once it has ended, which may be after its answer has come.
pub async fn counts(world: &World, name: &str, count: f64) {
    eventually(&format!("{name} {count}"), || async {
        (metric(world, name).await == count).then_some(())
    })
    .await;
}

/// Replaces a file as careful tools do: written beside it, then moved over it.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// A file or folder beside these sources.
pub fn beside(name: &str) -> PathBuf {
    testkit::top().join("tests/gateway").join(name)
}

/// Every credential of the backend that a world holds.
pub fn backend_credentials() -> Vec<String> {
    use testkit::emulator::Role;
    let keys =
        [Role::Viewer, Role::Editor, Role::Admin].map(|role| Emulator::api_key(role).to_owned());
    PROJECTS
        .iter()
        .map(|project| Emulator::access_token(project))
        .chain(keys)
        .collect()
}

/// An export over HTTP/1.1, in a world that streams, whose body comes in two halves, with as much time between them
/// as a test wants.
pub struct Upload {
    stream: tokio::net::TcpStream,
    rest: Vec<u8>,
}

impl Upload {
    /// Sends the head and half of the body, and waits until the upstream has seen the head.
    pub async fn begin(world: &World, token: &str) -> Self {
        use tokio::io::AsyncWriteExt as _;
        let body = testkit::Sample::traces("checkout", 3).protobuf();
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/x-protobuf\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let before = world.emulator.heads();
        let mut stream = tokio::net::TcpStream::connect(world.address("plain").unwrap())
            .await
            .unwrap();
        let (first, rest) = body.split_at(body.len() / 2);
        stream
            .write_all(&[head.as_bytes(), first].concat())
            .await
            .unwrap();
        eventually("the upload's head upstream", || async {
            (world.emulator.heads() > before).then_some(())
        })
        .await;
        Upload {
            stream,
            rest: rest.to_vec(),
        }
    }

    /// Sends the rest and gives the answer as it came.
    pub async fn finish(mut self) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        self.stream.write_all(&self.rest).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}
