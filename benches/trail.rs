//! What sealing a trail costs its writer, and a trail of any length to verify.
//!
//! What it does: lets a gateway write events as long as records of calls are, with and without a key, in turns, and counts the CPU time
//! of the thread that writes. `cargo bench --bench trail -- RECORDS ROUNDS [FOLDER]`; the last sealed trail, its checkpoints and key
//! are copied to FOLDER. What it refuses to know: callers, sockets. Invariant: no record is lost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that cannot be set up should stop"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightkeeper::gateway::Gateway;
use lightkeeper::reason::Reason;
use lightkeeper::telemetry::EventName;
use testkit::{World, WorldPlan};

/// Behind which a writer has seen all that came: less than its queue holds.
const BURST: u64 = 3000;
/// With it an event's line is as long as a call's record, about 700 bytes.
const DETAIL_BYTES: usize = 480;

/// Nanoseconds of a thread of this process by its name, and how long it ran.
fn cpu_nanos(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let mut found = tasks.filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    });
    let task = found.next().unwrap_or_else(|| panic!("no thread {name}"));
    let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn written(gateway: &Arc<Gateway>) -> u64 {
    let page = gateway.shared().metrics_page();
    let page = String::from_utf8_lossy(&page);
    let figure = |name: &str| {
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse::<f64>().unwrap()) as u64
    };
    assert_eq!(figure("lightkeeper_audit_records_lost"), 0);
    figure("lightkeeper_audit_records_written")
}

fn plan(is_sealed: bool) -> WorldPlan {
    let mut plan = WorldPlan::default();
    let audit = "audit: { file: audit.jsonl, name: bench, instance: gw-1, queue: 8192 }";
    plan.config = plan.config.replace("audit: { file: audit.jsonl }", audit);
    if is_sealed {
        let key = "vault:\n  audit_keys: [{ file: audit-key }]\n";
        plan.config = plan.config.replacen("vault:\n", key, 1);
        plan.files.push(("audit-key".to_owned(), "5d".repeat(32)));
    } else {
        plan.config = plan.config.replace("name: bench, instance: gw-1, ", "");
    }
    plan
}

/// Writes so many records: CPU nanoseconds of the writer for each, and records in a second.
fn round(is_sealed: bool, records: u64, keep: Option<&Path>) -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let world = runtime
        .block_on(World::start_with(plan(is_sealed)))
        .unwrap();
    let shared = world.gateway.shared().clone();
    let detail = "d".repeat(DETAIL_BYTES);
    let before = (cpu_nanos("audit"), written(&world.gateway));
    let begun = Instant::now();
    let mut sent = 0;
    while sent < records {
        let burst = BURST.min(records - sent);
        for _ in 0..burst {
            shared.event(
                EventName::MirrorDropped,
                Reason::NotSent,
                Some(detail.clone()),
            );
        }
        sent += burst;
        let until = Instant::now() + Duration::from_secs(60);
        while written(&world.gateway) < before.1 + sent {
            assert!(Instant::now() < until, "the writer stands");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let nanos = (cpu_nanos("audit") - before.0) as f64;
    runtime.block_on(world.gateway.stop());
    if let Some(folder) = keep {
        std::fs::create_dir_all(folder).unwrap();
        for name in ["audit.jsonl", "audit.jsonl.checkpoints", "audit-key"] {
            let from = world.folder().join(name);
            if std::fs::rename(&from, folder.join(name)).is_err() {
                std::fs::copy(&from, folder.join(name)).unwrap();
            }
        }
    }
    (nanos / records as f64, records as f64 / seconds)
}

fn main() {
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let number = |place: usize, default: u64| {
        given
            .get(place)
            .map_or(default, |word| word.parse().unwrap())
    };
    let (records, rounds) = (number(0, 100_000), number(1, 5));
    let keep = given.get(2).map(Path::new);
    let mut ratios = Vec::new();
    println!("CPU ns of the writer for each record: not sealed, sealed; records/s sealed");
    for turn in 0..rounds {
        let plain = match rounds {
            1 => (f64::NAN, 0.0),
            _ => round(false, records, None),
        };
        let sealed = round(true, records, keep.filter(|_| turn + 1 == rounds));
        println!("{:8.0} {:8.0} {:10.0}", plain.0, sealed.0, sealed.1);
        ratios.push(sealed.0 - plain.0);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN);
    println!("the seal, median: {median:.0} ns a record");
}
