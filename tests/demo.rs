//! The binary as its users have it: every command's exit status and what it prints.
//!
//! Each test runs the real program on real files. What is printed is compared in the parts that a user or a
//! script relies on.

#![expect(
    clippy::string_slice,
    reason = "a test that cannot be set up has failed"
)]

mod asked;
mod client_tokens;
mod explain;
mod hostile_trails;
mod certificates;
mod commands;
mod egress;
mod init;
mod past;
pub mod program;
mod sealed;
mod second_reader;
mod shape;
mod svids;
mod tools;
mod trail;
mod verdicts;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::folder::Folder;
use lightkeeper::otlp::Encoding;
use program::{Program, run};
use serde_json::Value;
use testkit::{Algorithm, Sample, SampleCaller, World};

fn repository() -> PathBuf {
    testkit::top().to_owned()
}

/// Writes the files of the README's first configuration, with their certificates and secrets.
fn first_configuration(folder: &Path) {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    for name in ["lightkeeper.yaml", "policy.yaml"] {
        let start = format!("cat > {name} <<'EOF'\n");
        let (_, rest) = readme
            .split_once(&start)
            .unwrap_or_else(|| panic!("the README does not write {name}"));
        let (text, _) = rest.split_once("\nEOF\n").unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    }
    std::fs::create_dir_all(folder.join("secrets")).unwrap();
    for (name, secret) in [
        ("checkout-prod", "my-first-token"),
        ("payments-prod", "my-second-token"),
        ("read-key", "my-read-key"),
    ] {
        std::fs::write(folder.join("secrets").join(name), secret).unwrap();
    }
    assert_eq!(
        run(&["certs", &folder.join("certs").display().to_string()]).status,
        0
    );
}

/// Scenario: a newcomer runs `lightkeeper demo`. Guarantees: the story goes as told, each reason code is
/// shown, and no credential is printed.
#[test]
fn the_demo_tells_the_main_job() {
    let told = run(&["demo"]);
    assert_eq!(told.status, 0, "{}\n{}", told.out, told.err);
    assert_eq!(told.err, "");
    for line in [
        "ALLOW ok, HTTP 200",
        "ALLOW ok, gRPC 0",
        "spiffe://prod.acme.example/ns/checkout/sa/collector (mtls, workloads)",
        "lightstep-access-token: [checkout-prod's token, SHA-256 ",
        "authorization: bearer [the organization's viewer API key, SHA-256 ",
        "she sees  checkout-prod, payments-prod, shop-prod",
        "she reads 2 stream(s)",
        "page      shows shop, shop/payments; not shop/checkout, platform",
        "backend   was asked of checkout-prod, payments-prod, shop-prod, at once",
        "missing   payments-prod (shop/payments): upstream_status",
        "DENY webhook_unknown, HTTP 401",
        "on-call   got `checkout latency`, firing, of shop/checkout; owners shop-leads@acme.example",
        "traces    https://app.lightstep.com/checkout-prod/explorer?start_micros=",
        "DENY no_credential, HTTP 401",
        "DENY token_expired, HTTP 401",
        "DENY token_signature, gRPC 16",
        "DENY not_permitted, HTTP 403",
        "DENY not_permitted, gRPC 7",
        "DENY project_unknown, HTTP 403",
        "DENY sensitive_not_named, HTTP 403",
        "DENY denied_by_binding, HTTP 403",
        "DENY path_unknown, HTTP 404",
        "DENY ambiguous_path, HTTP 400",
        "DENY conflicting_credentials, HTTP 400",
        "body_too_large, HTTP 413",
        "DENY certificate_revoked",
        "received POST /opentelemetry.proto.collector.trace.v1.TraceService/Export for payments-prod: payments (3), ledger-core (1)",
        "stamped   ledger-core: lightkeeper.app=shop/payments",
        "stamped   all with lightkeeper.identity=system:serviceaccount:observability:collector, ",
        "forged    gone from resource, scope, spans, events and links",
        "told      partial success: 3 rejected, \"not permitted to write as service `ingress`\"",
        "the report's own `access_token`: checkout-prod's as well",
        "told      accepted; the backend's command to stop for good was dropped",
        "DENY token_bound, HTTP 401",
        "DENY proof_key, HTTP 401",
        "DENY proof_replayed, HTTP 401",
        "arn:aws:iam::123456789012:role/checkout-lambda (aws, aws)",
        "DENY aws_refused, HTTP 401",
        "DENY aws_account_unknown, HTTP 403",
        "aws       asked 3 times for 4 calls",
        "received 16 requests: the calls that passed, and nothing else",
        "the line  `backend: next`, at the app shop in policy.yaml",
        "sealed by demo/gw-1",
        "as it was sealed: ",
        " is in demo/gw-1 at ",
        "wrong: copy.jsonl:",
        "lost      0",
        "doubled   0",
        "Everything went as told.",
    ] {
        assert!(
            told.out.contains(line),
            "`{line}` is not told:\n{}",
            told.out
        );
    }
    for secret in [
        "ingest-token-of-",
        "api-key-viewer",
        "webhook-secret-of-",
        "__Host-",
        "eyJ",
        "\x1b[",
    ] {
        assert!(
            !told.out.contains(secret),
            "`{secret}` is printed:\n{}",
            told.out
        );
    }
}

/// Scenario: a client declares a body over the limit and goes on sending after the refusal. Guarantees: it
/// reads the refusal whole, and no reset takes it away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_can_be_read_by_a_client_that_is_still_sending() {
    let world = World::start().await.unwrap();
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let headers = [("content-type", "application/x-protobuf")];
    for _ in 0..20 {
        let body = vec![0; (16 << 20) + 1];
        let answer = caller
            .send(http::Method::POST, "/v1/traces", &headers, body)
            .await
            .unwrap();
        assert_eq!(answer.status, 413);
    }
    assert_eq!(world.emulator.heads(), 0);
}

/// Scenario: the README's first configuration, then with mistakes in both files. Guarantees: 0 for a good
/// one, 1 and every mistake with its place for a bad one, in text and in JSON.
#[test]
fn check_finds_every_mistake() {
    let folder = Folder::new();
    first_configuration(folder.path());
    let config = folder.at("lightkeeper.yaml");
    let good = run(&["check", "--config", &config]);
    assert_eq!(good.status, 0, "{}", good.err);
    assert!(good.out.contains("is valid: policy "), "{}", good.out);
    let good = run(&["check", "--config", &config, "--output", "json"]);
    assert_eq!(
        (good.status, good.json()["ok"].clone()),
        (0, Value::Bool(true))
    );

    folder.replace(
        "lightkeeper.yaml",
        "audiences: [lightkeeper]",
        "audience: [lightkeeper]",
    );
    folder.replace(
        "lightkeeper.yaml",
        "organization: acme",
        "organisation: acme",
    );
    let bad = run(&["check", "--config", &config]);
    assert_eq!(bad.status, 1);
    for words in [
        "lightkeeper.yaml:1:1: error: ",
        "`organisation`",
        "did you mean `audiences`?",
        "is refused: 4 error(s)",
    ] {
        assert!(
            bad.err.contains(words),
            "`{words}` is missing:\n{}",
            bad.err
        );
    }
    folder.replace(
        "lightkeeper.yaml",
        "audience: [lightkeeper]",
        "audiences: [lightkeeper]",
    );
    folder.replace(
        "lightkeeper.yaml",
        "organisation: acme",
        "organization: acme",
    );
    folder.replace(
        "lightkeeper.yaml",
        "address: 127.0.0.1:4318",
        "address: everywhere",
    );
    folder.replace(
        "lightkeeper.yaml",
        "issuer: http://127.0.0.1:9400",
        "issuer: nowhere",
    );
    folder.replace("policy.yaml", "role: viewer", "role: viewr");
    let bad = run(&["check", "--config", &config]);
    assert_eq!(bad.status, 1);
    for words in [
        "`listeners[0].address` must be",
        "`issuers[0].issuer` must begin",
        "there is no role `viewr`",
    ] {
        assert!(
            bad.err.contains(words),
            "`{words}` is missing:\n{}",
            bad.err
        );
    }
    folder.replace(
        "lightkeeper.yaml",
        "address: everywhere",
        "address: 127.0.0.1:4318",
    );
    folder.replace(
        "lightkeeper.yaml",
        "issuer: nowhere",
        "issuer: http://127.0.0.1:9400",
    );
    folder.replace("policy.yaml", "role: viewr", "role: viewer");
    folder.replace("policy.yaml", "role: reporter", "role: reporteur");
    folder.replace(
        "policy.yaml",
        "apps: [shop/checkout]",
        "apps: [shop/chekout]",
    );
    let bad = run(&["check", "--config", &config, "--output", "json"]);
    assert_eq!(bad.status, 1);
    let findings = bad.json()["findings"].as_array().unwrap().clone();
    let errors: Vec<&Value> = findings
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .collect();
    assert!(errors.len() >= 2, "{findings:?}");
    for finding in errors {
        assert!(
            finding["line"].as_u64().unwrap() > 0
                && !finding["message"].as_str().unwrap().is_empty()
        );
    }
}

/// Scenario: an editor is given the schemas. Guarantees: they are JSON, and every shipped file has their shape.
#[test]
fn shipped_files_have_the_shape_of_the_schemas() {
    for (schema, folders) in [
        (
            "config",
            &["deploy/examples", "deploy/kubernetes/config"][..],
        ),
        ("policy", &["policies", "deploy/kubernetes/config"][..]),
    ] {
        let printed = run(&["schema", schema]);
        assert_eq!(printed.status, 0);
        let printed = printed.json();
        assert!(printed["properties"].as_object().unwrap().len() > 2);
        let mut seen = 0;
        for folder in folders {
            for entry in std::fs::read_dir(repository().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let is_policy = !folder.starts_with("deploy") || path.ends_with("policy.yaml");
                if path.extension().is_none_or(|ending| ending != "yaml")
                    || is_policy != (schema == "policy")
                {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let document: Value = serde_saphyr::from_str(&text).unwrap();
                let wrong = shape::differences(&document, &printed, &printed, "");
                assert!(wrong.is_empty(), "{}: {wrong:?}", path.display());
                seen += 1;
            }
        }
        assert!(seen >= 3, "only {seen} files for {schema}");
        let strange = serde_json::json!({ "no_such_key": 1 });
        assert!(!shape::differences(&strange, &printed, &printed, "").is_empty());
    }
}

/// Scenario: the embedded issuer and emulator are told to listen where others can reach them. Guarantees: they refuse, with the
/// arguments' exit status and the way out; with it, and on loopback, they do not.
#[test]
fn the_embedded_parts_stay_on_this_machine() {
    for part in ["issuer", "emulator"] {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9400"] {
            let ended = program::run(&[part, "--listen", address]);
            assert_eq!(ended.status, 2, "{part} {address}: {}", ended.err);
            assert!(ended.err.contains("--i-know-what-i-do"), "{}", ended.err);
        }
    }
    for (address, i_know_what_i_do, allowed) in [
        ("127.0.0.1:0", false, true),
        ("[::1]:0", false, true),
        ("0.0.0.0:0", false, false),
        ("0.0.0.0:0", true, true),
    ] {
        let listen = ::demo::ListenArguments {
            listen: address.parse().unwrap(),
            i_know_what_i_do,
        };
        assert_eq!(listen.address().is_ok(), allowed, "{address}");
    }
}

/// Scenario: certificates are written, written again, and replaced. Guarantees: nothing is lost unasked.
#[test]
fn certs_are_written_once() {
    let folder = Folder::new();
    let certs = folder.at("certs");
    let written = run(&["certs", &certs]);
    assert_eq!(written.status, 0, "{}", written.err);
    for line in written.out.lines() {
        assert!(Path::new(line).is_file(), "{line}");
    }
    assert!(written.out.contains("ca.pem") && written.out.contains("collector.key"));
    let before = std::fs::read(folder.at("certs/ca.pem")).unwrap();
    let again = run(&["certs", &certs]);
    assert_eq!(again.status, 1);
    assert!(
        again.err.contains("exists already") && again.err.contains("--force"),
        "{}",
        again.err
    );
    assert_eq!(std::fs::read(folder.at("certs/ca.pem")).unwrap(), before);
    assert_eq!(run(&["certs", &certs, "--force"]).status, 0);
    assert_ne!(std::fs::read(folder.at("certs/ca.pem")).unwrap(), before);
}

/// Scenario: a configuration with several mistakes is served. Guarantees: no start, all of them told.
#[test]
fn serve_refuses_a_bad_configuration() {
    let folder = Folder::new();
    first_configuration(folder.path());
    folder.replace(
        "lightkeeper.yaml",
        "organization: acme",
        "organisation: acme",
    );
    folder.replace("lightkeeper.yaml", "name: plain", "nam: plain");
    let refused = run(&["serve", "--config", &folder.at("lightkeeper.yaml")]);
    assert_eq!(refused.status, 1);
    for words in ["`organisation`", "`nam`", "not started"] {
        assert!(
            refused.err.contains(words),
            "`{words}` is missing:\n{}",
            refused.err
        );
    }
    folder.replace(
        "lightkeeper.yaml",
        "organisation: acme",
        "organization: acme",
    );
    folder.replace("lightkeeper.yaml", "nam: plain", "name: plain");
    folder.replace(
        "lightkeeper.yaml",
        "file: secrets/checkout-prod",
        "file: secrets/absent",
    );
    folder.replace(
        "lightkeeper.yaml",
        "file: secrets/read-key",
        "file: secrets/none",
    );
    let refused = run(&["serve", "--config", &folder.at("lightkeeper.yaml")]);
    assert_eq!(refused.status, 1);
    for words in [
        "`vault.projects.checkout-prod.access_token[0]`",
        "`vault.api_keys.read`",
        "not started",
    ] {
        assert!(
            refused.err.contains(words),
            "`{words}` is missing:\n{}",
            refused.err
        );
    }
}

/// Scenario: the README's first configuration is served between the embedded issuer and emulator, called,
/// reloaded with SIGHUP (good and bad), and ended with SIGTERM. Guarantees: calls are answered throughout,
/// the last good configuration stays, the end is exit status 0, and all of it is in the trail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_reloads_and_ends_on_signals() {
    let folder = Folder::new();
    first_configuration(folder.path());
    let issuer = Program::start(&["issuer"]);
    let captures = folder.at("received.jsonl");
    let emulator = Program::start(&[
        "emulator",
        "--captures",
        &captures,
        "--access-token",
        "checkout-prod=my-first-token",
    ]);
    let (issuer_url, emulator_url) = (
        issuer.first_line("issuer "),
        emulator.first_line("emulator "),
    );
    folder.replace("lightkeeper.yaml", "http://127.0.0.1:9400", &issuer_url);
    folder.replace("lightkeeper.yaml", "http://127.0.0.1:9401", &emulator_url);
    for port in ["4318", "8443", "9464"] {
        folder.replace(
            "lightkeeper.yaml",
            &format!("127.0.0.1:{port}"),
            "127.0.0.1:0",
        );
    }
    let gateway = Program::start(&["serve", "--config", &folder.at("lightkeeper.yaml")]);
    let listening = gateway.log_line(|line| line["listener"] == "plain");
    let url = format!("http://{}", listening["address"].as_str().unwrap());
    let token = issuer_token(&issuer_url).await;
    let export = || async {
        let caller = SampleCaller::new(&url).bearer(&token);
        caller
            .export(&Sample::traces("checkout", 1), Encoding::Protobuf)
            .await
            .unwrap()
            .status
    };
    gateway.any_log_line(|line| line["message"] == "key set replaced");
    assert_eq!(export().await, 200);
    assert_eq!(
        SampleCaller::new(&url)
            .export(&Sample::traces("checkout", 1), Encoding::Json)
            .await
            .unwrap()
            .status,
        401
    );
    let received: Value = serde_json::from_str(
        std::fs::read_to_string(&captures)
            .unwrap()
            .lines()
            .next()
            .unwrap(),
    )
    .unwrap();
    assert_eq!(
        received["headers"]["lightstep-access-token"],
        "my-first-token"
    );
    assert_eq!(
        (received["method"].clone(), received["project"].clone()),
        ("POST".into(), "checkout-prod".into())
    );
    assert!(received["headers"].get("authorization").is_none() && received["path"] == "/v1/traces");
    assert!(!received["body_base64"].as_str().unwrap().is_empty());

    folder.replace("policy.yaml", "ingest.*", "ingest.metrics");
    gateway.signal("HUP");
    gateway.log_line(|line| line["message"] == "configuration taken over");
    assert_eq!(export().await, 403);
    folder.replace("policy.yaml", "ingest.metrics", "ingest.nonsense");
    gateway.signal("HUP");
    gateway.log_line(|line| {
        line["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("reload failed"))
    });
    assert_eq!(export().await, 403);
    folder.replace("policy.yaml", "ingest.nonsense", "ingest.traces");
    gateway.signal("HUP");
    gateway.log_line(|line| line["message"] == "configuration taken over");
    assert_eq!(export().await, 200);

    gateway.signal("TERM");
    assert_eq!(gateway.status(Duration::from_secs(20)), 0);
    let trail = std::fs::read_to_string(folder.at("audit.jsonl")).unwrap();
    for event in ["start", "call", "reload", "reload_failed", "stop"] {
        assert!(
            trail.contains(&format!("\"event\":\"{event}\"")),
            "no `{event}` in the trail:\n{trail}"
        );
    }
    assert!(!trail.contains("my-first-token") && !trail.contains(&token));
    for part in [issuer, emulator] {
        part.signal("INT");
        assert_eq!(part.status(Duration::from_secs(20)), 0);
    }
}

async fn issuer_token(issuer: &str) -> String {
    let form = b"grant_type=client_credentials&client_id=checkout-collector&client_secret=checkout-collector-secret";
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let answer = SampleCaller::new(issuer)
        .send(http::Method::POST, "/token", &kind, form.to_vec())
        .await
        .unwrap();
    answer.json().unwrap()["access_token"]
        .as_str()
        .unwrap()
        .to_owned()
}
