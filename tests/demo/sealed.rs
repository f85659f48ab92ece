//! A trail that is sealed by the program, killed, rotated and compressed, and verified by the program's own tools.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::first_configuration;
use super::program::{Program, run};
use crate::folder::Folder;

/// Kills within one test. A run by hand takes more (`LIGHTKEEPER_KILLS`).
const KILLS: u32 = 8;

fn furnish(audit: &str) -> Folder {
    let folder = Folder::new();
    first_configuration(folder.path());
    for port in ["4318", "8443", "9464"] {
        folder.replace(
            "lightkeeper.yaml",
            &format!("127.0.0.1:{port}"),
            "127.0.0.1:0",
        );
    }
    std::fs::write(folder.join("audit-key"), "7a".repeat(32)).unwrap();
    folder.replace(
        "lightkeeper.yaml",
        "vault:\n",
        "vault:\n  audit_keys: [{ file: audit-key }]\n",
    );
    folder.replace("lightkeeper.yaml", "audit: { file: audit.jsonl }", audit);
    folder
}

/// Starts, and gives the address of the plaintext listener.
fn start(folder: &Folder) -> (Program, SocketAddr) {
    let gateway = Program::start(&["serve", "--config", &folder.at("lightkeeper.yaml")]);
    let line =
        gateway.log_line(|line| line["message"] == "listening" && line["listener"] == "plain");
    gateway.any_log_line(|line| line["message"] == "admin listening");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    (gateway, address)
}

fn end(gateway: &Program) {
    gateway.signal("TERM");
    assert_eq!(gateway.status(Duration::from_secs(20)), 0);
}

/// Asks once without a credential: the request id of the answer, if there was one.
fn call(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let head = "GET /.lightkeeper/whoami HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // What was read before a reset is an answer, too.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 401"),
        "{answer}"
    );
    let (_, rest) = answer.split_once("lightkeeper-request-id: ")?;
    Some(rest.split_once("\r\n")?.0.to_owned())
}

fn key(folder: &Folder) -> String {
    let told = run(&["audit", "key", "--config", &folder.at("lightkeeper.yaml")]);
    assert_eq!(told.status, 0, "{}", told.err);
    told.out.trim().to_owned()
}

/// All files of the trail, the rotated ones too.
fn files(folder: &Folder) -> Vec<String> {
    let is_trail = |name: &str| {
        let rest = name.strip_prefix("audit.jsonl.");
        name == "audit.jsonl" || rest.is_some_and(|rest| rest.starts_with('0'))
    };
    std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| is_trail(name))
        .map(|name| folder.at(&name))
        .collect()
}

/// `audit` with these arguments, the key, the checkpoints, and all files.
fn audit(folder: &Folder, arguments: &[&str]) -> super::program::Ended {
    let (key, files) = (key(folder), files(folder));
    let mut all = vec!["audit"];
    all.extend(arguments);
    let checkpoints = folder.at("audit.jsonl.checkpoints");
    all.extend(["--key", &key, "--checkpoints", &checkpoints]);
    all.extend(files.iter().map(String::as_str));
    run(&all)
}

fn records(folder: &Folder) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("audit.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Scenario: a gateway takes calls and ends; its trail is verified, a call is proven to a reader without the trail, the growth since an
/// earlier checkpoint is proven, tiles are written, and then one byte is changed. Guarantees: each tool says so with its exit status, and
/// the changed line is named.
#[test]
fn a_trail_is_verified_and_proven() {
    let folder = furnish(
        "audit: { file: audit.jsonl, name: trail, instance: gw-1, every: { records: 5, time: 100ms } }",
    );
    let (gateway, address) = start(&folder);
    let ids: Vec<String> = (0..20).map(|_| call(address).unwrap()).collect();
    end(&gateway);
    let calls = records(&folder);
    let of = |id: &str| {
        calls
            .iter()
            .filter(|record| record["request_id"] == *id)
            .count()
    };
    assert!(ids.iter().all(|id| of(id) == 1), "one record for each call");

    let verified = audit(&folder, &["verify", "--output", "json"]);
    let told = verified.json();
    assert_eq!(
        (verified.status, &told["ok"]),
        (0, &Value::Bool(true)),
        "{told}"
    );
    assert_eq!(told["unsealed"], 0, "{told}");
    assert_eq!(told["records"], calls.len(), "{told}");

    let id = &ids[7];
    let proven = audit(&folder, &["prove", id, "--directory", &folder.at("")]);
    assert_eq!(proven.status, 0, "{}", proven.err);
    let proof = folder.at(&format!("{id}.tlog-proof"));
    let line = folder.at(&format!("{id}.json"));
    let key = key(&folder);
    let check = || run(&["audit", "verify", "--key", &key, "--proof", &proof, &line]);
    assert_eq!(check().status, 0, "{}", check().out);
    folder.replace(&format!("{id}.json"), "\"status\":401", "\"status\":200");
    assert_eq!(check().status, 1, "{}", check().out);

    let checkpoints = std::fs::read_to_string(folder.join("audit.jsonl.checkpoints")).unwrap();
    let first = checkpoints.lines().nth(1).unwrap();
    let grown = audit(&folder, &["consistency", "--from", first]);
    assert_eq!(grown.status, 0, "{}", grown.err);
    let tiles = audit(&folder, &["export", "--tiles", &folder.at("tiles")]);
    assert_eq!(tiles.status, 0, "{}", tiles.err);
    assert!(
        checkpoints.ends_with(&std::fs::read_to_string(folder.join("tiles/checkpoint")).unwrap())
    );

    let place = calls
        .iter()
        .position(|record| record["request_id"] == *id)
        .unwrap();
    folder.replace(
        "audit.jsonl",
        &format!("\"{id}\""),
        &format!("\"{}\"", "0".repeat(id.len())),
    );
    let wrong = audit(&folder, &["verify", "--output", "json"]);
    let told = wrong.json();
    assert_eq!(wrong.status, 1, "{told}");
    assert_eq!(told["wrong"]["first_line"], place as u64 + 1, "{told}");
    assert_eq!(told["wrong"]["last_line"], place as u64 + 1, "{told}");
}

/// Scenario: a gateway with `every_record` is killed again and again while it answers; its trail is rotated by hand in between, and one
/// file is compressed. Guarantees: no call was answered without a record; the trail is as it was sealed over all its files.
#[test]
fn no_answered_call_is_without_its_record() {
    let kills = std::env::var("LIGHTKEEPER_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let folder = furnish(
        "audit: { file: audit.jsonl, instance: gw-1, durability: every_record, every: { records: 50, time: 100ms } }",
    );
    let mut answered: Vec<String> = Vec::new();
    for kill in 0..kills {
        let (gateway, address) = start(&folder);
        let callers: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut ids = Vec::new();
                    while let Some(id) = call(address) {
                        ids.push(id);
                    }
                    ids
                })
            })
            .collect();
        let some = 20 + u64::from(kill) * 3;
        let until = Instant::now() + Duration::from_secs(60);
        let lines = || {
            std::fs::read(folder.join("audit.jsonl"))
                .map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
        };
        let before = lines();
        while (lines() as u64) < before as u64 + some {
            assert!(Instant::now() < until, "no records");
            std::thread::yield_now();
        }
        gateway.signal("KILL");
        for caller in callers {
            answered.extend(caller.join().unwrap());
        }
        drop(gateway);
        if kill == 2 {
            std::fs::rename(folder.join("audit.jsonl"), folder.join("audit.jsonl.0")).unwrap();
        }
    }
    let (gateway, _) = start(&folder);
    end(&gateway);
    let mut told = std::collections::HashSet::new();
    for file in files(&folder) {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            told.insert(record["request_id"].as_str().unwrap().to_owned());
        }
    }
    let lost: Vec<&String> = answered.iter().filter(|id| !told.contains(*id)).collect();
    assert!(answered.len() > 4 * kills as usize, "{}", answered.len());
    assert!(
        lost.is_empty(),
        "{} of {}: {lost:?}",
        lost.len(),
        answered.len()
    );

    if folder.join("audit.jsonl.0").exists() {
        let plain = std::fs::read(folder.join("audit.jsonl.0")).unwrap();
        let packed = zstd::stream::encode_all(&plain[..], 1).unwrap();
        std::fs::write(folder.join("audit.jsonl.0.zst"), packed).unwrap();
        std::fs::remove_file(folder.join("audit.jsonl.0")).unwrap();
    }
    let verified = audit(&folder, &["verify"]);
    assert_eq!(verified.status, 0, "{}{}", verified.out, verified.err);
}
