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

pub(super) fn furnish(audit: &str) -> Folder {
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
pub(super) fn start(folder: &Folder) -> (Program, SocketAddr) {
    let gateway = Program::start(&["serve", "--config", &folder.at("lightkeeper.yaml")]);
    let line =
        gateway.log_line(|line| line["message"] == "listening" && line["listener"] == "plain");
    gateway.any_log_line(|line| line["message"] == "admin listening");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    (gateway, address)
}

pub(super) fn end(gateway: &Program) {
    gateway.signal("TERM");
    assert_eq!(gateway.status(Duration::from_secs(20)), 0);
}

/// Asks once without a credential: the request id of the answer, if there was one.
pub(super) fn call(address: SocketAddr) -> Option<String> {
    let (status, id) = asked(address)?;
    assert_eq!(status, 401);
    Some(id)
}

/// The same, with the answer's status.
fn asked(address: SocketAddr) -> Option<(u16, String)> {
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
    let (_, rest) = answer.split_once("lightkeeper-request-id: ")?;
    let status = answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, rest.split_once("\r\n")?.0.to_owned()))
}

pub(super) fn key(folder: &Folder) -> String {
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
pub(super) fn audit(folder: &Folder, arguments: &[&str]) -> super::program::Ended {
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

/// Kills a gateway again and again while it answers. The request ids of all answers.
fn killed(folder: &Folder, mut after: impl FnMut(u32)) -> Vec<String> {
    let kills = std::env::var("LIGHTKEEPER_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut answered: Vec<String> = Vec::new();
    for kill in 0..kills {
        let (gateway, address) = start(folder);
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
        // Not always at the same place of a block, of a checkpoint, of a file.
        let some = 20 + kill * 37 % 101;
        let until = Instant::now() + Duration::from_secs(60);
        let before = records_of(folder).len();
        while records_of(folder).len() < before + some as usize {
            assert!(Instant::now() < until, "no records");
            std::thread::yield_now();
        }
        gateway.signal("KILL");
        for caller in callers {
            answered.extend(caller.join().unwrap());
        }
        drop(gateway);
        after(kill);
    }
    assert!(answered.len() > 4 * kills as usize, "{}", answered.len());
    answered
}

/// The whole lines of all files of the trail.
fn records_of(folder: &Folder) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for file in files(folder) {
        let text = std::fs::read(file).unwrap_or_default();
        let whole = text.split_inclusive(|byte| *byte == b'\n');
        lines.extend(
            whole
                .filter(|line| line.ends_with(b"\n"))
                .map(<[u8]>::to_vec),
        );
    }
    lines
}

/// Counts records against answers: each answer has its record, and no request has two of a kind.
fn hold_against(folder: &Folder, answered: &[String]) {
    let mut told = std::collections::HashMap::new();
    for line in records_of(folder) {
        let record: Value = serde_json::from_slice(&line).unwrap();
        let text = |key: &str| record[key].as_str().unwrap().to_owned();
        let event = text("event");
        if ["call", "answer_begun"].contains(&event.as_str()) {
            let events: &mut Vec<String> = told.entry(text("request_id")).or_default();
            assert!(!events.contains(&event), "twice: {record}");
            events.push(event);
        }
    }
    let lost: Vec<&String> = answered
        .iter()
        .filter(|id| !told.contains_key(*id))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {}: {lost:?}",
        lost.len(),
        answered.len()
    );
}

/// Scenario: a gateway with `every_record` is killed again and again while it answers; its trail is rotated by hand in between, and one
/// file is compressed. Guarantees: no call was answered without a record, and none has two; the trail is as it was sealed over all
/// its files.
#[test]
fn no_answered_call_is_without_its_record() {
    let folder = furnish(
        "audit: { file: audit.jsonl, instance: gw-1, durability: every_record, every: { records: 50, time: 100ms } }",
    );
    let rotated = folder.join("audit.jsonl.0");
    let answered = killed(&folder, |kill| {
        if kill == 2 {
            std::fs::rename(folder.join("audit.jsonl"), &rotated).unwrap();
        }
    });
    let (gateway, _) = start(&folder);
    end(&gateway);
    hold_against(&folder, &answered);
    if rotated.exists() {
        let plain = std::fs::read(&rotated).unwrap();
        let packed = zstd::stream::encode_all(&plain[..], 1).unwrap();
        std::fs::write(folder.join("audit.jsonl.0.zst"), packed).unwrap();
        std::fs::remove_file(&rotated).unwrap();
    }
    let verified = audit(&folder, &["verify"]);
    assert_eq!(verified.status, 0, "{}{}", verified.out, verified.err);
}

/// Scenario: the same gateway rotates its trail itself, each few dozen records, so that it is killed in and around rotations. Guarantees:
/// as above; there are many files, and no name was used twice.
#[test]
fn a_kill_within_a_rotation_loses_nothing() {
    let folder = furnish(
        "audit: { file: audit.jsonl, instance: gw-1, durability: every_record, every: { records: 20, time: 100ms }, rotate: { size: 64KiB } }",
    );
    let answered = killed(&folder, |_| {});
    let (gateway, _) = start(&folder);
    end(&gateway);
    assert!(files(&folder).len() > 2, "{:?}", files(&folder));
    hold_against(&folder, &answered);
    let config = folder.at("lightkeeper.yaml");
    let verified = run(&["audit", "verify", "--config", &config, "--output", "json"]);
    assert_eq!(verified.status, 0, "{}{}", verified.out, verified.err);
    let told = verified.json();
    assert_eq!(told["records"], records_of(&folder).len(), "{told}");
    assert_eq!(told["unsealed"], 0, "{told}");
}

/// Scenario: a trail was rotated several times by its size; one file is packed; a call of each file is proven and explained by the
/// configuration alone; then all that may go is pruned. Guarantees: calls are found in every file; without `--yes` nothing goes, with it
/// all files but the last; what is left verifies, is proven, and has grown from a checkpoint that is left, as before; what is gone is
/// not proven, and that is said.
#[test]
fn rotated_files_are_searched_and_pruned() {
    let folder = furnish(
        "audit: { file: audit.jsonl, name: trail, instance: gw-1, every: { records: 7, time: 100ms }, rotate: { size: 64KiB } }",
    );
    let (gateway, address) = start(&folder);
    let mut ids = Vec::new();
    let until = Instant::now() + Duration::from_secs(60);
    while files(&folder).len() < 4 {
        assert!(Instant::now() < until, "it is not rotated");
        ids.push(call(address).unwrap());
    }
    let last = call(address).unwrap();
    end(&gateway);
    let config = folder.at("lightkeeper.yaml");
    let mut rotated = files(&folder);
    rotated.retain(|file| !file.ends_with("audit.jsonl"));
    rotated.sort();
    let plain = std::fs::read(&rotated[1]).unwrap();
    let packed = format!("{}.zst", rotated[1]);
    std::fs::write(&packed, zstd::stream::encode_all(&plain[..], 1).unwrap()).unwrap();
    std::fs::remove_file(&rotated[1]).unwrap();
    let by_config = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--config", &config]);
        run(&all)
    };
    for id in [&ids[0], &ids[ids.len() / 2], &last] {
        let proven = by_config(&["audit", "prove", id]);
        assert_eq!(proven.status, 0, "{id}: {}", proven.err);
        assert!(
            proven.out.starts_with("c2sp.org/tlog-proof@v1\n"),
            "{}",
            proven.out
        );
        let explained = by_config(&["explain", "--record", id, "--output", "json"]);
        assert_eq!(explained.status, 3, "{id}: {}", explained.err);
        assert_eq!(explained.json()["stages"]["record"]["request_id"], **id);
    }
    let prune = |more: &[&str]| {
        let mut all = vec![
            "audit",
            "prune",
            "--before",
            "2199-01-01",
            "--output",
            "json",
        ];
        all.extend(more);
        by_config(&all)
    };
    let before = std::fs::read_dir(folder.path()).unwrap().count();
    let told = prune(&[]);
    assert_eq!(told.json()["is_done"], false, "{}", told.err);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before);
    let none = by_config(&[
        "audit",
        "prune",
        "--before",
        "2019-01-01",
        "--yes",
        "--output",
        "json",
    ]);
    assert_eq!(none.json()["files"], serde_json::json!([]), "{}", none.err);
    let done = prune(&["--yes"]).json();
    assert_eq!(
        done["files"].as_array().unwrap().len(),
        rotated.len(),
        "{done}"
    );
    assert_eq!(files(&folder), [folder.at("audit.jsonl")]);
    let minimum = done["minimum_index"].as_u64().unwrap();
    assert_eq!(records(&folder)[0]["seq"], minimum, "{done}");

    let verified = by_config(&["audit", "verify", "--output", "json"]);
    assert_eq!(verified.json()["ok"], true, "{}", verified.out);
    let proven = by_config(&["audit", "prove", &last, "--directory", &folder.at("")]);
    assert_eq!(proven.status, 0, "{}", proven.err);
    let (proof, line) = (
        folder.at(&format!("{last}.tlog-proof")),
        folder.at(&format!("{last}.json")),
    );
    let held = run(&[
        "audit",
        "verify",
        "--key",
        &key(&folder),
        "--proof",
        &proof,
        &line,
    ]);
    assert_eq!(held.status, 0, "{}", held.out);
    let checkpoints = std::fs::read_to_string(folder.join("audit.jsonl.checkpoints")).unwrap();
    let sizes = checkpoints
        .split("\n\n")
        .filter_map(|note| note.lines().rev().nth(1)?.parse().ok());
    let left: Vec<u64> = sizes.filter(|size: &u64| *size >= minimum).collect();
    for size in &left {
        let grown = by_config(&["audit", "consistency", "--from", &size.to_string()]);
        assert_eq!(grown.status, 0, "{size}: {}", grown.err);
    }
    assert!(!left.is_empty(), "{checkpoints}");
    let gone = by_config(&["audit", "prove", &ids[0]]);
    assert_eq!(gone.status, 1);
    assert!(
        gone.err.contains("no record has the request id"),
        "{}",
        gone.err
    );
    // The gateway goes on with the tree.
    let (gateway, address) = start(&folder);
    call(address).unwrap();
    end(&gateway);
    assert_eq!(by_config(&["audit", "verify"]).status, 0);
}

/// Scenario: the system lets the gateway's files grow no further while callers call, then it does again. Guarantees: while no record
/// can be written calls are refused, and none that was answered otherwise is without its record; afterwards calls pass, and the trail
/// is as it was sealed, from its beginning on.
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let folder = furnish(
        "audit: { file: audit.jsonl, instance: gw-1, every: { records: 20, time: 100ms } }",
    );
    let config = folder.at("lightkeeper.yaml");
    // The soft limit alone, and its signal ignored, so that a write fails as on a full disk.
    let gateway =
        Program::start_within("-S -f 256 && trap '' XFSZ", &["serve", "--config", &config]);
    let line =
        gateway.log_line(|line| line["message"] == "listening" && line["listener"] == "plain");
    gateway.any_log_line(|line| line["message"] == "admin listening");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    let mut answered = Vec::new();
    let (mut refused, mut passed) = (0, 0);
    let until = Instant::now() + Duration::from_secs(60);
    while refused < 20 {
        assert!(Instant::now() < until, "it is never full");
        match asked(address) {
            Some((401, id)) => answered.push(id),
            Some((503, _)) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    let full = records_of(&folder).len();
    gateway.allow_growth();
    while passed < 20 {
        assert!(Instant::now() < until, "it is never well again");
        if let Some((401, id)) = asked(address) {
            answered.push(id);
            passed += 1;
        }
    }
    end(&gateway);
    assert!(records_of(&folder).len() > full + 20);
    hold_against(&folder, &answered);
    let verified = run(&["audit", "verify", "--config", &config, "--output", "json"]);
    assert_eq!(verified.status, 0, "{}{}", verified.out, verified.err);
    assert_eq!(verified.json()["unsealed"], 0, "{}", verified.out);
}
