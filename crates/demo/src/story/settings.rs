//! What `--stay` prints to be pasted: the console's address and who may log in; what a terminal, an SDK and a Collector need.
//!
//! What it does: writes it from a running world. What it refuses to know: who pastes it. Invariant: what is printed works as
//! it stands.

use super::ink::Ink;
use testkit::World;
use testkit::issuer::PRINCIPALS;

/// What each sample person finds, in words.
const PEOPLE: [(&str, &str); 5] = [
    (
        "ann",
        "a developer of the shop: sees the shop and its parts, and may change things there",
    ),
    (
        "pat",
        "a developer of payments: sees the way to shop/payments, and may only read",
    ),
    (
        "sam",
        "an SRE: sees everything and everybody's decisions, and may only read",
    ),
    (
        "lea",
        "leads the shop: as ann, and sees its decisions, access tokens and destinations",
    ),
    ("eve", "named by no binding: logs in, and finds nothing"),
];

/// Where a browser begins, and as which person.
pub fn console(world: &World, ink: Ink) -> String {
    // Browsers keep `Secure` cookies of a plaintext page if it is on this very machine.
    let port = world.address("plain").map_or(0, |address| address.port());
    let mut page = format!(
        "\n   console   {}\n",
        ink.bold(&format!("http://localhost:{port}/.lightkeeper/"))
    );
    page.push_str(&format!(
        "             or {}/.lightkeeper/: a browser warns of its certificate, which is the demonstration's own\n   log in as\n",
        world.url()
    ));
    for person in PRINCIPALS.iter().filter(|principal| principal.is_person()) {
        let told = PEOPLE
            .iter()
            .find(|(name, _)| *name == person.name)
            .map_or("", |(_, told)| told);
        page.push_str(&format!("             {:<4} {told}\n", person.name));
    }
    page.push_str(
        "   going on  a few sample spans each second (some refused), and an alert of shop/checkout that is firing\n",
    );
    page
}

/// Everything that can be pasted.
pub fn settings(world: &World, traces: &str) -> String {
    let (issuer, plain, folder) = (
        world.issuer.url(),
        world.plain_url(),
        world.folder().display(),
    );
    let (tls, admin, emulator) = (world.url(), world.admin, world.emulator.url());
    let receiver = world.receiver.url();
    let program = std::env::current_exe().map_or_else(
        |_| "lightkeeper".to_owned(),
        |path| path.display().to_string(),
    );
    format!(
        r#"
# As a person: open the page that it prints, pick who you are; --device is for machines without a browser.
{program} login --gateway {tls} --ca {folder}/certs/ca.pem
{program} apps
{program} alerts shop
{program} services shop
{program} query shop 'spans count | rate | group_by [], sum' --since 5m

# A port that adds your login, for tools that know a base URL only (Terraform: LIGHTSTEP_API_URL). Then, in another terminal:
{program} connect --listen 127.0.0.1:9411 --key-file {folder}/connect-key
curl -s http://127.0.0.1:9411/public/v0.2/acme/projects -H "authorization: Bearer $(cat {folder}/connect-key)"

# The backend tells of an alert: those on call ({receiver}/oncall) are told, and the console shows it.
curl -i {plain}/apps/shop/checkout/-/alerts -H "authorization: Bearer $(cat {folder}/secrets/webhook-shop-checkout)" -H 'content-type: application/json' -d '{{"alert":{{"id":"metric_alert-23","name":"checkout latency","state":"critical"}},"project":"checkout-prod"}}'
curl -i {plain}/apps/shop/checkout/-/alerts -H "authorization: Bearer $(cat {folder}/secrets/webhook-shop-checkout)" -H 'content-type: application/json' -d '{{"alert":{{"id":"metric_alert-23","name":"checkout latency","state":"ok"}},"project":"checkout-prod"}}'

# A workload's token, and an export with it. Then the same without, and for another team's app.
TOKEN=$(curl -s {issuer}/token -u checkout-collector:checkout-collector-secret -d grant_type=client_credentials | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -i {plain}/v1/traces -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' --data-binary @{traces}
curl -i {plain}/v1/traces -H 'content-type: application/json' --data-binary @{traces}
curl -i {plain}/apps/shop/payments/-/v1/traces -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' --data-binary @{traces}

# A query by a pipeline that may read and write checkout-prod; then another project.
QUERY_TOKEN=$(curl -s {issuer}/token -u terraform:terraform-secret -d grant_type=client_credentials | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -s --cacert {folder}/certs/ca.pem {tls}/public/v0.2/acme/projects/checkout-prod/streams -H "authorization: Bearer $QUERY_TOKEN"
curl -i --cacert {folder}/certs/ca.pem {tls}/public/v0.2/acme/projects/platform-prod/streams -H "authorization: Bearer $QUERY_TOKEN"

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
