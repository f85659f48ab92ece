//! The ground that every table stands on: a world, its trail read as it grows, and the checks that hold after
//! any abuse.
//!
//! What it does: starts worlds with small limits, reads new records, proves that the gateway lives and that
//! nothing went upstream. What it refuses to know: what the abuse is. Invariant: waiting has a deadline.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{World, WorldPlan};

use super::wire;

/// A world with everything that the tables need of it.
pub struct Ground {
    pub world: World,
    /// May export as `shop/checkout`.
    pub exporter: String,
    /// May query the projects of `shop`.
    pub reader: String,
    seen: u64,
}

impl Ground {
    pub async fn new() -> Self {
        Self::with_limits("").await
    }

    /// `limits`: members of the configuration's `limits:`.
    pub async fn with_limits(limits: &str) -> Self {
        let more = if limits.is_empty() {
            String::new()
        } else {
            format!("limits: {{ {limits} }}")
        };
        Self::plan(WorldPlan {
            more,
            ..WorldPlan::default()
        })
        .await
    }

    pub async fn plan(plan: WorldPlan) -> Self {
        let world = World::start_with(plan).await.unwrap();
        let exporter = world.issuer.token("checkout-collector");
        let reader = world.issuer.token("ann");
        Ground {
            world,
            exporter,
            reader,
            seen: 0,
        }
    }

    pub fn plain(&self) -> SocketAddr {
        self.world.address("plain").unwrap()
    }

    /// Fills in what the tables leave open.
    pub fn fill(&self, text: &str) -> String {
        text.replace("{EXPORT}", "POST /v1/traces HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {T}\r\nContent-Type: application/x-protobuf\r\n")
            .replace("{GET}", "GET /.lightkeeper/whoami HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {A}\r\n")
            .replace("{H}", "Host: gw\r\nAuthorization: Bearer {A}\r\n")
            .replace("{T}", &self.exporter)
            .replace("{A}", &self.reader)
    }

    /// A good request that asks for the connection's end.
    pub fn good(&self) -> String {
        self.fill("{GET}Connection: close\r\n\r\n")
    }

    /// The records of calls that came since the last look, once there are `count`, or what there is at the
    /// deadline.
    pub async fn calls(&mut self, count: usize) -> Vec<Value> {
        self.records(count, "call").await
    }

    pub async fn records(&mut self, count: usize, event: &str) -> Vec<Value> {
        self.matching(count, |record| record["event"] == event)
            .await
    }

    /// The records of calls and of what was refused before there was one.
    pub async fn records_of_all(&mut self, count: usize) -> Vec<Value> {
        self.matching(count, |record| {
            record["event"] == "call" || record["decision"] == "deny"
        })
        .await
    }

    async fn matching(&mut self, count: usize, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let until = Instant::now() + Duration::from_secs(8);
        let mut found: Vec<Value> = Vec::new();
        let mut look = tokio::time::interval(Duration::from_millis(3));
        loop {
            look.tick().await;
            found.extend(self.fresh().into_iter().filter(&fits));
            if found.len() >= count || Instant::now() > until {
                return found;
            }
        }
    }

    fn fresh(&mut self) -> Vec<Value> {
        let mut file = std::fs::File::open(self.world.folder().join("audit.jsonl")).unwrap();
        file.seek(SeekFrom::Start(self.seen)).unwrap();
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
        self.seen += whole as u64;
        text[..whole]
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    /// The gateway answers a good request, and its own secrets stand in no record.
    pub async fn alive(&mut self) {
        let talk = wire::talk(self.plain(), self.good().as_bytes()).await;
        let replies = wire::replies(&talk.bytes, &[]).unwrap();
        assert_eq!(
            replies.iter().map(|reply| reply.status).collect::<Vec<_>>(),
            [200],
            "the gateway lives"
        );
        self.calls(1).await;
    }

    /// No request has reached the backend.
    pub fn nothing_upstream(&self, what: &str) {
        assert_eq!(
            self.world.emulator.heads(),
            0,
            "{what}: something went upstream"
        );
    }
}

/// Fails with all faults. They are printed because a panic's own words are kept out of sight in the product.
pub fn none(faults: &[String]) {
    for fault in faults {
        println!("{fault}");
    }
    assert!(faults.is_empty(), "{} faults", faults.len());
}

/// Waits for a condition.
pub async fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while !holds() {
        none(&if Instant::now() < until {
            Vec::new()
        } else {
            vec![format!("{what}: not within {limit:?}")]
        });
        look.tick().await;
    }
}
