//! `--stay`: the world on fixed ports, and settings to paste.
//!
//! What it does: chooses ports, lets settings be printed, keeps a little going on, and tells every other call in a line.
//! What it refuses to know: who will paste. Invariants: tokens outlive any patience, and the process that issued them;
//! what is kept of what goes on is bounded.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::ink::Ink;
use super::narrator::text;
use super::settings;
use crate::signal::until_signalled;
use lightkeeper::otlp::Encoding;
use testkit::emulator::EmulatorOptions;
use testkit::issuer::IssuerOptions;
use testkit::{Sample, SampleCaller, World, WorldPlan};

/// Tokens of a world that stays live this long: as long as the gateway takes them by default (`issuers[].max_lifetime`).
const TOKEN_LIFETIME_SECONDS: i64 = 24 * 3600;
const FOLLOW: Duration = Duration::from_millis(200);
/// One export each second.
const TICKS_PER_SAMPLE: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(5);
/// Exports that the emulator keeps at most.
const KEPT_SAMPLES: usize = 200;

/// Who exports where and as what. The last may not.
const SAMPLES: [(&str, &str, &str); 6] = [
    ("checkout-collector", "/v1/traces", "checkout"),
    ("payments-collector", "/v1/traces", "payments"),
    ("shop-frontend", "/v1/traces", "frontend"),
    ("cluster-collector", "/v1/traces", "ledger-core"),
    ("cluster-collector", "/v1/traces", "search"),
    (
        "payments-collector",
        "/apps/shop/checkout/-/v1/traces",
        "checkout",
    ),
];

/// A world, and what must be said about its ports.
pub struct Plan {
    pub world: WorldPlan,
    pub remarks: Vec<String>,
}

impl Plan {
    /// Free ports, for a story that ends.
    pub fn passing() -> Self {
        Plan {
            world: WorldPlan::default(),
            remarks: Vec::new(),
        }
    }
}

/// The usual ports, or free ones where something else listens.
pub fn plan() -> Plan {
    let mut remarks = Vec::new();
    let mut port = |port: u16, what: &str| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        match TcpListener::bind(address) {
            Ok(_) => address,
            Err(error) => {
                remarks.push(format!(
                    "{address} for {what} cannot be had ({error}): a free port was taken instead"
                ));
                SocketAddr::from(([127, 0, 0, 1], 0))
            }
        }
    };
    let world = WorldPlan {
        plain: port(4318, "the plaintext listener"),
        tls: port(8443, "the TLS listener"),
        admin: port(9464, "metrics and probes"),
        issuer: IssuerOptions {
            address: port(9400, "the issuer"),
            lifetime_seconds: TOKEN_LIFETIME_SECONDS,
            ..IssuerOptions::default()
        },
        receiver: port(9402, "those who are told of alerts"),
        emulator: EmulatorOptions {
            address: port(9401, "the backend"),
            ..EmulatorOptions::default()
        },
        ..WorldPlan::default()
    };
    Plan { world, remarks }
}

/// Prints the settings and keeps going until SIGINT or SIGTERM.
pub async fn stay(world: &World, ink: Ink, remarks: &[String]) -> Result<(), String> {
    let traces = world.folder().join("traces.json");
    std::fs::write(&traces, Sample::traces("checkout", 3).json().to_string())
        .map_err(|error| format!("`{}` cannot be written: {error}", traces.display()))?;
    println!("\n{}", ink.bold("Still running"));
    for remark in remarks {
        println!("{} {remark}", ink.refused("note:"));
    }
    println!("{}", settings::console(world, ink));
    println!("{}", ink.bold("Paste any of this into another terminal"));
    println!(
        "{}",
        settings::settings(world, &traces.display().to_string())
    );
    println!(
        "{}",
        ink.bold("Every call from here on, but for the sample exports, one each second (Ctrl-C ends it all)")
    );
    tokio::select! {
        stopped = until_signalled() => stopped,
        failed = follow(world, ink) => failed,
    }
}

/// Sends samples, so that there are rates to look at, and tells each other new record in one line.
async fn follow(world: &World, ink: Ink) -> Result<(), String> {
    let mut trail = Trail::at_its_end(&world.folder().join("audit.jsonl"))?;
    let mut samples = Samples::new(world);
    let mut ticks = tokio::time::interval(FOLLOW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for tick in 0_u64.. {
        ticks.tick().await;
        if tick.is_multiple_of(TICKS_PER_SAMPLE) {
            samples.send(world).await;
        }
        for record in trail.news() {
            if !samples.is_own(&record) {
                println!("{}", line(&record, ink));
            }
        }
    }
    Ok(())
}

/// The audit trail from a place on.
struct Trail {
    file: BufReader<File>,
    /// The beginning of a line that is still being written.
    rest: String,
}

impl Trail {
    fn at_its_end(path: &Path) -> Result<Self, String> {
        let failed =
            |error: std::io::Error| format!("`{}` cannot be read: {error}", path.display());
        let mut file = File::open(path).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Trail {
            file: BufReader::new(file),
            rest: String::new(),
        })
    }

    /// The records that came since.
    fn news(&mut self) -> Vec<Value> {
        let mut records = Vec::new();
        while self
            .file
            .read_line(&mut self.rest)
            .is_ok_and(|read| read > 0)
            && self.rest.ends_with('\n')
        {
            records.extend(serde_json::from_str(&self.rest).ok());
            self.rest.clear();
        }
        records
    }
}

/// Workloads that export a little, each in its turn; now and then one tries what it may not.
struct Samples {
    callers: Vec<(SampleCaller, &'static str, &'static str)>,
    sent: usize,
    /// Answered, and not seen in the trail yet.
    own: HashSet<String>,
}

impl Samples {
    fn new(world: &World) -> Self {
        let of = |(workload, path, service)| {
            (
                world
                    .plain_caller()
                    .deadline(PATIENCE)
                    .bearer(&world.issuer.token(workload)),
                path,
                service,
            )
        };
        let callers = SAMPLES.into_iter().map(of).collect();
        Samples {
            callers,
            sent: 0,
            own: HashSet::new(),
        }
    }

    async fn send(&mut self, world: &World) {
        let Some((caller, path, service)) = self.callers.get(self.sent % SAMPLES.len()) else {
            return;
        };
        self.sent += 1;
        let sample = Sample::traces(service, 1 + self.sent % 5)
            .attribute("sample", "true")
            .seed(self.sent as u64 + 1000);
        // What does not go through is told by its record, if there is one.
        if let Ok(answer) = caller.export_to(path, &sample, Encoding::Protobuf).await {
            self.own.extend(answer.header("lightkeeper-request-id"));
        }
        // What the emulator has seen is not looked at any more.
        if self.sent.is_multiple_of(KEPT_SAMPLES) {
            world.emulator.clear();
        }
    }

    fn is_own(&mut self, record: &Value) -> bool {
        self.own.remove(text(record, "request_id"))
    }
}

fn line(record: &Value, ink: Ink) -> String {
    let decision = match text(record, "decision") {
        "allow" => ink.good("ALLOW"),
        "deny" => ink.refused("DENY"),
        _ => text(record, "event").to_owned(),
    };
    let who = record
        .get("identity")
        .map_or("(not identified)", |who| text(who, "subject"));
    let what = [
        text(record, "http_method"),
        text(record, "path"),
        text(record, "project"),
    ];
    let what: Vec<&str> = what.into_iter().filter(|word| !word.is_empty()).collect();
    format!(
        "{decision} {} {who} {}",
        text(record, "reason"),
        what.join(" ")
    )
}
