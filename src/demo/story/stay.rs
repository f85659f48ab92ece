//! `--stay`: the world on fixed ports, and settings to paste.
//!
//! What it does: chooses ports, prints what a terminal, an SDK and a Collector need, and then tells every
//! further call in a line. What it refuses to know: who will paste. Invariants: what is printed works as it
//! stands; tokens outlive any patience, and the process that issued them.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::Value;

use super::ink::Ink;
use super::narrator::text;
use crate::demo::command::until_signalled;
use crate::demo::emulator::EmulatorOptions;
use crate::demo::issuer::IssuerOptions;
use crate::demo::{Sample, World, WorldPlan};

/// Tokens of a world that stays live this long.
const TOKEN_LIFETIME_SECONDS: i64 = 30 * 24 * 3600;
const FOLLOW: Duration = Duration::from_millis(200);

/// A world, and what must be said about its ports.
pub struct Plan {
    pub world: WorldPlan,
    pub remarks: Vec<String>,
}

impl Plan {
    /// Free ports, for a story that ends.
    pub fn passing() -> Self {
        Plan { world: WorldPlan::default(), remarks: Vec::new() }
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
                remarks.push(format!("{address} for {what} cannot be had ({error}): a free port was taken instead"));
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
        emulator: EmulatorOptions { address: port(9401, "the backend"), ..EmulatorOptions::default() },
        ..WorldPlan::default()
    };
    Plan { world, remarks }
}

/// Prints the settings and keeps going until SIGINT or SIGTERM.
pub async fn stay(world: &World, ink: Ink, remarks: &[String]) -> Result<(), String> {
    let traces = world.folder().join("traces.json");
    std::fs::write(&traces, Sample::traces("checkout", 3).json().to_string())
        .map_err(|error| format!("`{}` cannot be written: {error}", traces.display()))?;
    println!("\n{}", ink.bold("Still running: paste any of this into another terminal"));
    for remark in remarks {
        println!("{} {remark}", ink.refused("note:"));
    }
    println!("{}", settings(world, &traces.display().to_string()));
    println!("{}", ink.bold("Every call from here on (Ctrl-C ends it)"));
    tokio::select! {
        stopped = until_signalled() => stopped,
        () = follow(world, ink) => Ok(()),
    }
}

/// Tells each new record in one line.
async fn follow(world: &World, ink: Ink) {
    let mut told = world.records().len();
    loop {
        tokio::time::sleep(FOLLOW).await;
        let records = world.records();
        for record in records.iter().skip(told) {
            println!("{}", line(record, ink));
        }
        told = records.len().max(told);
    }
}

fn line(record: &Value, ink: Ink) -> String {
    let decision = match text(record, "decision") {
        "allow" => ink.good("ALLOW"),
        "deny" => ink.refused("DENY"),
        _ => text(record, "event").to_owned(),
    };
    let who = record.get("identity").map_or("nobody", |who| text(who, "subject"));
    let what = [text(record, "http_method"), text(record, "path"), text(record, "project")];
    let what: Vec<&str> = what.into_iter().filter(|word| !word.is_empty()).collect();
    format!("{decision} {} {who} {}", text(record, "reason"), what.join(" "))
}

/// Everything that can be pasted.
fn settings(world: &World, traces: &str) -> String {
    let (issuer, plain, folder) = (world.issuer.url(), world.plain_url(), world.folder().display());
    let (tls, admin, emulator) = (world.url(), world.admin, world.emulator.url());
    let program = std::env::current_exe().map_or_else(|_| "lightkeeper".to_owned(), |path| path.display().to_string());
    format!(
        r#"
# A workload's token, and an export with it. Then the same without, and for another team's app.
TOKEN=$(curl -s {issuer}/token -u checkout-collector:checkout-collector-secret -d grant_type=client_credentials | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -i {plain}/v1/traces -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' --data-binary @{traces}
curl -i {plain}/v1/traces -H 'content-type: application/json' --data-binary @{traces}
curl -i {plain}/apps/shop/payments/-/v1/traces -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' --data-binary @{traces}

# A query by a pipeline that may read and write checkout-prod; then another project.
QUERY_TOKEN=$(curl -s {issuer}/token -u terraform:terraform-secret -d grant_type=client_credentials | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -s --cacert {folder}/certs/ca.pem {tls}/public/v0.2/acme/projects/checkout-prod/streams -H "authorization: Bearer $QUERY_TOKEN"
curl -i --cacert {folder}/certs/ca.pem {tls}/public/v0.2/acme/projects/platform-prod/streams -H "authorization: Bearer $QUERY_TOKEN"

# As a person: pick who you are on the login page. Then ask a part of the tree, and open a port for tools that know a base URL only.
{program} login --gateway {tls} --ca {folder}/certs/ca.pem
{program} apps && {program} alerts shop
{program} connect

# Who am I, and which apps are mine?
curl -s {plain}/.lightkeeper/whoami -H "authorization: Bearer $TOKEN"
curl -s {plain}/apps/shop/checkout -H "authorization: Bearer $TOKEN"

# No token at all: the client certificate is the identity.
curl -i --cacert {folder}/certs/ca.pem --cert {folder}/certs/collector.pem --key {folder}/certs/collector.key {tls}/v1/traces -H 'content-type: application/json' --data-binary @{traces}

# An OpenTelemetry SDK, in the terminal that has TOKEN.
export OTEL_EXPORTER_OTLP_ENDPOINT={plain}
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20$TOKEN"
export OTEL_SERVICE_NAME=checkout

# An OpenTelemetry Collector that fetches its own tokens.
extensions:
  oauth2client:
    client_id: checkout-collector
    client_secret: checkout-collector-secret
    token_url: {issuer}/token
exporters:
  otlphttp/lightkeeper:
    endpoint: {plain}
    auth: {{ authenticator: oauth2client }}
  otlp/lightkeeper:                        # or over gRPC, with a certificate instead of a token
    endpoint: {tls_authority}
    tls:
      ca_file: {folder}/certs/ca.pem
      cert_file: {folder}/certs/collector.pem
      key_file: {folder}/certs/collector.key

# Why is it so? Each stage's result (exit status 0: allow, 3: deny).
{program} explain --config {folder}/lightkeeper.yaml --claims '{{"iss":"{issuer}","sub":"ann@acme.example","groups":["shop-developers"]}}' GET /public/v0.2/acme/projects/payments-prod/streams
{program} explain --config {folder}/lightkeeper.yaml --certificate {folder}/certs/collector.pem --header 'lightkeeper-app: shop/payments' POST /v1/traces

# Change the policy while it runs: {folder}/policy.yaml is taken over within a second of being written.
# Metrics and probes: http://{admin}/metrics, /readyz. The backend's own door: {emulator}
# The audit trail: {folder}/audit.jsonl
"#,
        tls_authority = tls.trim_start_matches("https://"),
    )
}
