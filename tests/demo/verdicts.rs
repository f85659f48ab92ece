//! `check` and `serve` on the same files: one verdict, one set of words.
//!
//! Each row breaks one thing of the README's first configuration, as an operator might.

use std::path::Path;
use std::time::Duration;

use super::first_configuration;
use super::program::{Ended, Program, run};
use crate::folder::Folder;

/// What is broken, and a piece of what must be said of it.
type Row = (&'static str, fn(&Folder), &'static str);

fn write(folder: &Folder, name: &str, text: &str) {
    std::fs::write(folder.at(name), text).unwrap();
}

fn copy(folder: &Folder, from: &str, to: &str) {
    std::fs::copy(folder.at(from), folder.at(to)).unwrap();
}

fn with_keys(folder: &Folder, keys: &str) {
    write(folder, "jwks.json", keys);
    folder.replace(
        "lightkeeper.yaml",
        "audiences: [lightkeeper]",
        "audiences: [lightkeeper]\n    jwks: { file: jwks.json }",
    );
}

fn with_other(folder: &Folder, name: &str) {
    let other = Folder::new();
    assert_eq!(run(&["certs", &other.at("certs")]).status, 0);
    std::fs::copy(
        other.at(&format!("certs/{name}")),
        folder.at(&format!("certs/{name}")),
    )
    .unwrap();
}

const RSA: &str = r#""kty":"RSA","e":"AQAB","n":"AQAB""#;

const ROWS: &[Row] = &[
    (
        "a key set for another use",
        |folder| {
            with_keys(
                folder,
                &format!(r#"{{"keys":[{{{RSA},"kid":"a","use":"jwt-svid"}}]}}"#),
            )
        },
        "issuer `trial`",
    ),
    (
        "a key set of short keys",
        |folder| {
            with_keys(
                folder,
                &format!(r#"{{"keys":[{{{RSA},"kid":"a","use":"sig"}}]}}"#),
            )
        },
        "issuer `trial`",
    ),
    (
        "a key set without keys",
        |folder| with_keys(folder, r#"{"keys":[]}"#),
        "holds no keys",
    ),
    (
        "a key set that is none",
        |folder| with_keys(folder, "[]"),
        "is not a JSON Web Key Set",
    ),
    (
        "a policy that is none",
        |folder| write(folder, "policy.yaml", "version: 1\nbindings: 7\n"),
        "policy.yaml:2",
    ),
    (
        "a profile with a mistake",
        |folder| {
            write(folder, "own.yaml", "name: own\nnonsense: 1\n");
            let path = folder.at("lightkeeper.yaml");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, format!("profiles: [own.yaml]\n{text}")).unwrap();
        },
        "own.yaml:2:1: error: unknown key `nonsense`",
    ),
    (
        "a policy that is not there",
        |folder| std::fs::remove_file(folder.at("policy.yaml")).unwrap(),
        "does not exist",
    ),
    (
        "a key of another certificate",
        |folder| with_other(folder, "server.key"),
        "does not belong to the certificate",
    ),
    (
        "a certificate that is none",
        |folder| write(folder, "certs/server.pem", "none"),
        "holds no PEM certificate",
    ),
    (
        "a certificate of broken bytes",
        |folder| {
            write(
                folder,
                "certs/server.pem",
                "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            );
        },
        "certificate",
    ),
    (
        "an authority that is a leaf",
        |folder| copy(folder, "certs/collector.pem", "certs/ca.pem"),
        "is no authority",
    ),
    (
        "an authority that is none",
        |folder| write(folder, "certs/ca.pem", ""),
        "holds no PEM certificate",
    ),
    (
        "revocation lists that are none",
        |folder| {
            folder.replace(
                "lightkeeper.yaml",
                "trust_domains: [prod.acme.example]",
                "trust_domains: [prod.acme.example], crl: certs/ca.pem",
            );
        },
        "revocation list",
    ),
    (
        "revocation lists of broken bytes",
        |folder| {
            write(
                folder,
                "certs/clients.crl",
                "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
            );
            folder.replace(
                "lightkeeper.yaml",
                "trust_domains: [prod.acme.example]",
                "trust_domains: [prod.acme.example], crl: certs/clients.crl",
            );
        },
        "revocation list",
    ),
    (
        "an upstream's roots that are none",
        |folder| {
            write(
                folder,
                "roots.pem",
                "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            );
            folder.replace(
                "lightkeeper.yaml",
                "ingest: { url: \"http://127.0.0.1:9401\" }",
                "ingest: { url: \"https://127.0.0.1:9401\", ca: roots.pem }",
            );
        },
        "upstreams.ingest.ca",
    ),
    (
        "a secret that is not there",
        |folder| std::fs::remove_file(folder.at("secrets/read-key")).unwrap(),
        "vault.api_keys.read",
    ),
    (
        "a secret of two lines",
        |folder| write(folder, "secrets/read-key", "a\nb"),
        "vault.api_keys.read",
    ),
    (
        "an address of another machine",
        |folder| {
            folder.replace(
                "lightkeeper.yaml",
                "plain\n    address: 127.0.0.1:0",
                "plain\n    address: 192.0.2.1:4318",
            )
        },
        "cannot bind 192.0.2.1:4318",
    ),
    (
        "an admin address of another machine",
        |folder| folder.replace("lightkeeper.yaml", "\"127.0.0.1:0\"", "\"192.0.2.1:9464\""),
        "admin cannot bind",
    ),
    (
        "two listeners with one port",
        |folder| {
            folder.replace(
                "lightkeeper.yaml",
                "address: 127.0.0.1:0\n    tls:",
                "address: \"[::]:4318\"\n    tls:",
            );
            folder.replace(
                "lightkeeper.yaml",
                "address: 127.0.0.1:0",
                "address: 127.0.0.1:4318",
            );
        },
        "already has this address",
    ),
    (
        "an audit file that is a folder",
        |folder| std::fs::create_dir(folder.at("audit.jsonl")).unwrap(),
        "names a folder",
    ),
    (
        "an audit file in no folder",
        |folder| {
            folder.replace(
                "lightkeeper.yaml",
                "file: audit.jsonl",
                "file: none/audit.jsonl",
            )
        },
        "folder that does not exist",
    ),
    (
        "an audit file where none can be",
        |folder| {
            folder.replace(
                "lightkeeper.yaml",
                "file: audit.jsonl",
                "file: /proc/audit.jsonl",
            )
        },
        "audit file cannot be opened",
    ),
    (
        "numbers that are none",
        |folder| write(folder, "audit.jsonl.seq", "forty-two"),
        "audit.jsonl.seq",
    ),
    (
        "numbers that are a folder",
        |folder| std::fs::create_dir(folder.at("audit.jsonl.seq")).unwrap(),
        "audit.jsonl.seq",
    ),
];

/// The last line is each command's own.
fn findings(ended: &Ended) -> Vec<&str> {
    let mut lines: Vec<&str> = ended.err.lines().collect();
    lines.pop();
    lines
}

fn furnished() -> Folder {
    let folder = Folder::new();
    first_configuration(folder.path());
    for port in ["4318", "8443", "9464"] {
        folder.replace(
            "lightkeeper.yaml",
            &format!("127.0.0.1:{port}"),
            "127.0.0.1:0",
        );
    }
    folder
}

/// A word that stands twice side by side, as in "issuer issuer `idp`".
fn doubled(text: &str) -> Option<&str> {
    let words: Vec<&str> = text
        .split(|letter: char| letter.is_whitespace() || letter == ':')
        .collect();
    let is_word =
        |word: &str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    words
        .windows(2)
        .find(|pair| pair[0] == pair[1] && is_word(pair[0]))
        .map(|pair| pair[0])
}

/// Scenario: files that are broken in one way each. Guarantees: `check` and `serve` end with 1 and say the same lines, and no word twice; `check`
/// leaves nothing behind.
#[test]
fn check_and_serve_say_the_same() {
    let mut wrong = Vec::new();
    for (what, breaks, said) in ROWS {
        let folder = furnished();
        breaks(&folder);
        let config = folder.at("lightkeeper.yaml");
        let before = listing(folder.path());
        let checked = run(&["check", "--config", &config]);
        if listing(folder.path()) != before {
            wrong.push(format!("{what}: check has changed the folder"));
        }
        let served = run(&["serve", "--config", &config]);
        if (checked.status, served.status) != (1, 1) {
            wrong.push(format!(
                "{what}: check {}, serve {}",
                checked.status, served.status
            ));
        }
        if findings(&checked) != findings(&served) {
            wrong.push(format!(
                "{what}: check says\n{}\nserve says\n{}",
                checked.err, served.err
            ));
        }
        if !checked.err.contains(said) || doubled(&checked.err).is_some() {
            wrong.push(format!(
                "{what}: `{said}`, {:?}: {}",
                doubled(&checked.err),
                checked.err
            ));
        }
        let json = run(&["check", "--config", &config, "--output", "json"]);
        if json.status != 1 || json.json()["findings"].as_array().unwrap().is_empty() {
            wrong.push(format!("{what}: {}", json.out));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().display().to_string())
        .collect();
    names.sort_unstable();
    names
}

/// Scenario: nothing is broken; then the gateway runs, and its files are checked beside it. Guarantees: both say yes, and `check`
/// neither needs the addresses nor disturbs the trail.
#[test]
fn what_is_served_is_valid() {
    let folder = furnished();
    let config = folder.at("lightkeeper.yaml");
    let checked = run(&["check", "--config", &config]);
    assert_eq!(
        (checked.status, checked.err.as_str()),
        (0, ""),
        "{}",
        checked.out
    );
    let gateway = Program::start(&["serve", "--config", &config]);
    let listening = gateway.log_line(|line| line["listener"] == "plain");
    let address = listening["address"].as_str().unwrap().to_owned();
    folder.replace(
        "lightkeeper.yaml",
        "plain\n    address: 127.0.0.1:0",
        &format!("plain\n    address: {address}"),
    );
    let checked = run(&["check", "--config", &config]);
    assert_eq!(
        (checked.status, checked.err.as_str()),
        (0, ""),
        "{}",
        checked.out
    );
    gateway.signal("TERM");
    assert_eq!(gateway.status(Duration::from_secs(20)), 0);
}
