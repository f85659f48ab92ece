//! Trails, checkpoints and files that were made to harm who reads them.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;
use signed_note::{Note, StandardSigner};

use super::first_configuration;
use super::program::{Ended, run_bounded};
use super::sealed::{audit, call, end, furnish, key, start};
use crate::folder::Folder;

/// No tool takes more memory than this, in KiB of address space.
const MEMORY_KIB: u64 = 4 << 20;

fn bounded(arguments: &[&str]) -> Ended {
    let ended = run_bounded(MEMORY_KIB, arguments);
    // 101: a panic; 124: not ended in time; 134, 137: out of memory.
    assert!(
        [0, 1, 2, 3].contains(&ended.status),
        "{arguments:?}: {}\n{}",
        ended.status,
        ended.err
    );
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
    // Records as they stand, and as JSON, are for programs.
    let is_for_programs = arguments.contains(&"query") || arguments.contains(&"--ocsf");
    let out = if is_for_programs { "" } else { &ended.out };
    let shown = format!("{out}{}", ended.err);
    assert!(
        !shown.contains(['\u{1b}', '\u{7}', '\u{202e}']),
        "an order to the terminal: {shown:?}"
    );
    ended
}

fn packed(folder: &Folder, name: &str, piece: &[u8], times: usize) -> String {
    let file = std::fs::File::create(folder.join(name)).unwrap();
    let mut out = zstd::stream::write::Encoder::new(file, 1).unwrap();
    (0..times).for_each(|_| out.write_all(piece).unwrap());
    out.finish().unwrap();
    folder.at(name)
}

/// Scenario: each tool is given files that are no trail: bombs, endless lines, pipes, folders, links, a name with control characters,
/// numbers at the end of what can be counted, records full of orders to a terminal. Guarantees: each run ends soon, within bounded
/// memory, without a panic; nothing that a terminal obeys is printed; a pipe is not waited for.
#[test]
fn hostile_files_harm_no_reader() {
    let folder = Folder::new();
    let put = |name: &str, text: &[u8]| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.at(name)
    };
    let key = "x+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let pipe = folder.at("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    std::fs::create_dir(folder.join("folder")).unwrap();
    symlink("/dev/zero", folder.join("zero")).unwrap();
    symlink(folder.join("loop"), folder.join("loop")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..16).for_each(|_| gzip.write_all(&[b'a'; 1 << 20]).unwrap());
    let deep = format!("{{\"seq\":1,\"x\":{}}}\n", "[".repeat(200_000));
    let orders = r#"{"seq":0,"time":"\u001b[2J","request_id":"\u0007","event":"call","identity":{"subject":"\u001b]0;x\u0007\u202e"},"reason":"\u001b[31m","app":"\u001b"}"#;
    let files = [
        put("empty", b""),
        put("binary", &[0xff; 4096]),
        put("long", &vec![b'{'; 5 << 20]),
        put("deep", deep.as_bytes()),
        put("last", b"{\"seq\":18446744073709551615,\"time\":\"\"}\n{\"seq\":18446744073709551615,\"time\":\"\"}\n"),
        put("half", b"{\"seq\":9223372036854775808,\"time\":\"\"}\n"),
        put("orders", format!("{orders}\n").as_bytes()),
        put("gz", &gzip.finish().unwrap()),
        put("gz-cut", &[0x1f, 0x8b, 8, 0]),
        // A frame that asks for a window of 2 GiB.
        put("window", &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00]),
        packed(&folder, "bomb", &[0; 1 << 20], 32),
        packed(&folder, "lines", &[b'\n'; 1 << 20], 1),
        put("na\u{1b}[2J\nme", b"x\n"),
        pipe,
        folder.at("folder"),
        folder.at("zero"),
        folder.at("loop"),
        folder.at("absent"),
    ];
    let notes = put("notes", b"");
    for file in &files {
        for arguments in [
            &["verify", "--key", key, "--checkpoints", &notes][..],
            &["prove", "id", "--key", key, "--checkpoints", &notes],
            &[
                "consistency",
                "--from",
                "1",
                "--key",
                key,
                "--checkpoints",
                &notes,
            ],
            &["export", "--ocsf"],
            &["query", "--subject", "ann"],
            &["report"],
            &[
                "prune",
                "--before",
                "2199-01-01",
                "--key",
                key,
                "--checkpoints",
                &notes,
            ],
        ] {
            let mut all = vec!["audit"];
            all.extend(arguments);
            all.push(file);
            bounded(&all);
        }
        bounded(&[
            "audit",
            "verify",
            "--key",
            key,
            "--checkpoints",
            file,
            &files[0],
        ]);
        bounded(&["audit", "verify", "--key", key, "--proof", file, &files[0]]);
        bounded(&[
            "audit",
            "verify",
            "--key",
            file,
            "--checkpoints",
            &notes,
            &files[0],
        ]);
        bounded(&[
            "audit",
            "verify",
            "--key",
            key,
            "--checkpoints",
            &notes,
            "--pruned",
            file,
            &files[0],
        ]);
    }
}

/// Signs a text with the key that the trail of `furnish` is signed with.
fn signed(text: &str, key: &str) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let (name, id) = (
        key.split('+').next().unwrap(),
        key.split('+').nth(1).unwrap(),
    );
    let seed = [&[1u8][..], &[0x7a; 32]].concat();
    let secret = format!("PRIVATE+KEY+{name}+{id}+{}", BASE64_STANDARD.encode(seed));
    let signer = StandardSigner::new(&secret).unwrap();
    let mut note = Note::new(text.as_bytes(), &[]).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    String::from_utf8(note.to_bytes()).unwrap()
}

/// Scenario: checkpoints of another log, of a size at the end of what can be counted, of a smaller tree, of another root for one size, and
/// without a signature of the key stand behind those of a trail; the folder of policies holds other files; the trail holds a record
/// with a number far away. Guarantees: `verify` says what is wrong with each; a proof and tiles are not made of them; a past decision is
/// explained by no policy that was put there.
#[test]
fn forged_checkpoints_and_policies_count_for_nothing() {
    let folder = furnish(
        "audit: { file: audit.jsonl, name: trail, instance: gw-1, every: { records: 2, time: 100ms } }",
    );
    let (gateway, address) = start(&folder);
    let ids: Vec<String> = (0..12).map(|_| call(address).unwrap()).collect();
    let id = &ids[3];
    end(&gateway);
    let key = key(&folder);
    let checkpoints = folder.join("audit.jsonl.checkpoints");
    let honest = std::fs::read_to_string(&checkpoints).unwrap();
    let root = "A".repeat(43) + "=";
    let (first, last) = (
        honest.lines().nth(1).unwrap(),
        honest.rsplit("\n\n").nth(1).unwrap(),
    );
    let size = last.lines().rev().nth(1).unwrap();
    for (text, why) in [
        (format!("another/gw-1\n{size}\n{root}\n"), "another log"),
        (
            format!("trail/gw-1\n9223372036854775807\n{root}\n"),
            "states more records",
        ),
        (format!("trail/gw-1\n18446744073709551615\n{root}\n"), ""),
        (format!("trail/gw-1\n18446744073709551616\n{root}\n"), ""),
        (format!("trail/gw-1\n{first}\n{root}\n"), "set back"),
        (format!("trail/gw-1\n{size}\n{root}\n"), "two faces"),
    ] {
        std::fs::write(&checkpoints, honest.clone() + &signed(&text, &key)).unwrap();
        let told = audit(&folder, &["verify", "--output", "json"]);
        assert_eq!(told.status, 1, "{text}: {}", told.out);
        let said = told.json()["wrong"]["why"].as_str().unwrap().to_owned();
        let is_foreign = why == "another log";
        assert!(is_foreign || said.contains(why), "{text}: {said}");
    }
    // Enough for any number, by the key's own owner: no tiles without an end.
    let far = honest.clone() + &signed(&format!("trail/gw-1\n9223372036854775807\n{root}\n"), &key);
    std::fs::write(&checkpoints, &far).unwrap();
    let trail = std::fs::read_to_string(folder.join("audit.jsonl")).unwrap();
    let beyond = "{\"seq\":9223372036854775800,\"time\":\"\"}\n";
    std::fs::write(folder.join("audit.jsonl"), trail.clone() + beyond).unwrap();
    let tiles = audit(&folder, &["export", "--tiles", &folder.at("tiles")]);
    assert_eq!(tiles.status, 1, "{}", tiles.out);
    std::fs::write(folder.join("audit.jsonl"), &trail).unwrap();
    let unsigned = format!("trail/gw-1\n{size}\n{root}\n\n— trail/gw-1 AAAAAAAA\n");
    std::fs::write(&checkpoints, honest.clone() + &unsigned).unwrap();
    assert_eq!(audit(&folder, &["verify"]).status, 1);
    std::fs::write(&checkpoints, &honest).unwrap();
    assert_eq!(audit(&folder, &["verify"]).status, 0);

    // The record claims another policy, which lies where policies are kept, under a name that its bytes do not have.
    let record: Value = trail
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|record: &Value| record["request_id"] == **id)
        .unwrap();
    let mut forged = record.clone();
    forged["policy_version"] = "0123456789abcdef".into();
    forged["identity"] =
        serde_json::json!({ "method": "oidc", "issuer": "okta", "subject": "eve" });
    forged["detail"] = "\u{1b}[2J".into();
    let line = serde_json::to_string(&forged).unwrap();
    std::fs::write(folder.join("forged.jsonl"), line + "\n").unwrap();
    let policies = folder.join("audit.jsonl.policies");
    let name = format!("0123456789abcdef{}.yaml", "0".repeat(48));
    let config = folder.at("lightkeeper.yaml");
    let explain = || {
        bounded(&[
            "explain",
            "--config",
            &config,
            "--record",
            id,
            "--trail",
            &folder.at("forged.jsonl"),
        ])
    };
    let put: [&dyn Fn(&Path); 4] = [
        &|file| std::fs::write(file, "version: 1\napps: {}\n").unwrap(),
        &|file| symlink("/dev/zero", file).unwrap(),
        &|file| {
            assert!(
                std::process::Command::new("mkfifo")
                    .arg(file)
                    .status()
                    .unwrap()
                    .success()
            )
        },
        &|file| std::fs::create_dir(file).unwrap(),
    ];
    for put in put {
        put(&policies.join(&name));
        let told = explain();
        assert_eq!(told.status, 2, "{}{}", told.out, told.err);
        assert!(told.err.contains("was changed"), "{}", told.err);
        let path = policies.join(&name);
        std::fs::remove_file(&path)
            .or_else(|_| std::fs::remove_dir(&path))
            .unwrap();
    }
    let missing = explain();
    assert!(
        missing.err.contains("no policy of version"),
        "{}",
        missing.err
    );
}

/// Scenario: the trail that the configuration names is a pipe, or its folder holds pipes, links and folders with the names of rotated
/// files. Guarantees: what searches by the configuration ends, and finds what is a file.
#[test]
fn what_lies_beside_the_trail_is_not_followed() {
    let folder = Folder::new();
    first_configuration(folder.path());
    let config = folder.at("lightkeeper.yaml");
    let make = |name: &str| {
        let path = folder.join(name);
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
    };
    make("audit.jsonl");
    make("audit.jsonl.1");
    symlink("/dev/zero", folder.join("audit.jsonl.2")).unwrap();
    std::fs::create_dir(folder.join("audit.jsonl.3")).unwrap();
    let search = || bounded(&["explain", "--config", &config, "--record", "0a"]);
    let told = search();
    assert_eq!(told.status, 2, "{}", told.err);
    assert_eq!(bounded(&["audit", "report", "--config", &config]).status, 1);
    std::fs::write(
        folder.join("audit.jsonl.4"),
        "{\"seq\":7,\"event\":\"start\"}\n",
    )
    .unwrap();
    let report = bounded(&["audit", "report", "--config", &config, "--output", "json"]);
    assert_eq!(report.json()["records"], 1, "{}", report.err);
}
