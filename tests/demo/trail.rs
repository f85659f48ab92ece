//! The numbers of records over the lives of several processes, from the trail that they leave.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::first_configuration;
use super::program::Program;
use crate::folder::Folder;

fn records(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn numbers(records: &[Value]) -> Vec<u64> {
    records
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect()
}

fn names(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["event"].as_str().unwrap())
        .collect()
}

fn start(folder: &Folder) -> Program {
    let gateway = Program::start(&["serve", "--config", &folder.at("lightkeeper.yaml")]);
    gateway.any_log_line(|line| line["message"] == "admin listening");
    gateway
}

fn end(gateway: Program) {
    gateway.signal("TERM");
    assert_eq!(gateway.status(Duration::from_secs(20)), 0);
}

/// Scenario: a gateway is stopped, its file rotated away, started, rotated while it runs, killed, and started twice more.
/// Guarantees: over all files no number comes twice or falls; what ends cleanly leaves no gap; what was killed leaves one,
/// which an event tells, once; the numbers of the gap are those that have no record.
#[test]
fn numbers_go_on_over_rotation_restart_and_crash() {
    let folder = Folder::new();
    first_configuration(folder.path());
    for port in ["4318", "8443", "9464"] {
        folder.replace(
            "lightkeeper.yaml",
            &format!("127.0.0.1:{port}"),
            "127.0.0.1:0",
        );
    }
    let file = folder.path().join("audit.jsonl");
    let rotate = |number: u32| {
        let to = folder.path().join(format!("audit.{number}.jsonl"));
        std::fs::rename(&file, &to).unwrap();
        to
    };
    let mut kept = Vec::new();
    end(start(&folder));
    kept.push(rotate(1));
    let gateway = start(&folder);
    kept.push(rotate(2));
    gateway.signal("HUP");
    gateway.any_log_line(|line| line["message"] == "configuration taken over");
    end(gateway);
    let first: Vec<Value> = kept
        .iter()
        .chain([&file])
        .flat_map(|file| records(file))
        .collect();
    assert_eq!(
        numbers(&first),
        (0..first.len() as u64).collect::<Vec<_>>(),
        "{first:?}"
    );
    assert_eq!(names(&first), ["start", "stop", "start", "reload", "stop"]);

    let killed = start(&folder);
    killed.any_log_line(|line| line["message"] == "admin listening");
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while names(&records(&file)).last() != Some(&"start") {
        assert!(std::time::Instant::now() < until, "no record of the start");
        std::thread::yield_now();
    }
    killed.signal("KILL");
    drop(killed);
    kept.push(rotate(3));
    end(start(&folder));
    kept.push(rotate(4));
    end(start(&folder));
    let all: Vec<Value> = kept
        .iter()
        .chain([&file])
        .flat_map(|file| records(file))
        .collect();
    assert!(
        numbers(&all).is_sorted_by(|one, next| one < next),
        "{:?}",
        numbers(&all)
    );
    assert_eq!(
        names(&all),
        [
            "start", "stop", "start", "reload", "stop", "start", "seq_gap", "start", "stop",
            "start", "stop"
        ]
    );
    let gap = &all[6];
    assert_eq!(gap["reason"], "unclean_stop");
    let (last, next) = (
        all[5]["seq"].as_u64().unwrap(),
        gap["seq"].as_u64().unwrap(),
    );
    let told = gap["detail"].as_str().unwrap();
    // The last record was rotated away: the gap begins with the block.
    assert!(
        told.contains(&format!("to {}:", next - 1)) && next > last,
        "{told}"
    );
    assert_eq!(numbers(&all[6..]), (next..next + 5).collect::<Vec<_>>());
}

/// Scenario: a gateway is started with the customary soft limit of file descriptors, and a hard one below and above what its
/// connections may take. Guarantees: it raises the soft limit to the hard one, and warns where that is too low.
#[test]
fn file_descriptors_are_as_many_as_there_may_be() {
    for (hard, warns) in [("1500", true), ("14000", false)] {
        let folder = Folder::new();
        first_configuration(folder.path());
        for port in ["4318", "8443", "9464"] {
            folder.replace(
                "lightkeeper.yaml",
                &format!("127.0.0.1:{port}"),
                "127.0.0.1:0",
            );
        }
        let limits = format!("-Sn 1024 && ulimit -Hn {hard}");
        let config = folder.at("lightkeeper.yaml");
        let gateway = Program::start_within(&limits, &["serve", "--config", &config]);
        gateway.any_log_line(|line| line["message"] == "admin listening");
        assert_eq!(
            gateway.limit("Max open files"),
            (hard.to_owned(), hard.to_owned())
        );
        let warned = gateway
            .log()
            .contains("fewer file descriptors than connections may take");
        assert_eq!(warned, warns, "{hard}: {}", gateway.log());
        end(gateway);
    }
}
