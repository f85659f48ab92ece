//! Scenario: paths and queries that mean one thing to us and another to a backend, aimed at a project or app
//! that the caller may not touch. Guarantees: none is served, none reaches the backend, over HTTP/1.1 and
//! HTTP/2 alike, and what the backend gets of a good one is rebuilt in one spelling.

use std::time::Duration;

use super::frames::{End, Line};
use super::ground::{self, Ground};
use super::wire;

/// What stands in the place of `{}`; `checkout-prod` is permitted, `platform-prod` is not.
const SEGMENTS: &[&str] = &[
    "platform-prod",
    "checkout-prod/../platform-prod",
    "checkout-prod/%2e%2e/platform-prod",
    "checkout-prod/%2E%2E/platform-prod",
    "checkout-prod/.%2e/platform-prod",
    "checkout-prod/%2e./platform-prod",
    "checkout-prod%2f..%2fplatform-prod",
    "checkout-prod%2F..%2Fplatform-prod",
    "checkout-prod%2f%2e%2e%2fplatform-prod",
    "checkout-prod%252f..%252fplatform-prod",
    "checkout-prod%252f%252e%252e%252fplatform-prod",
    "checkout-prod/%252e%252e/platform-prod",
    "checkout-prod/..%2fplatform-prod",
    "checkout-prod/..;/platform-prod",
    "checkout-prod/..%3b/platform-prod",
    "checkout-prod;/../platform-prod",
    "checkout-prod;x=platform-prod",
    "checkout-prod%3bplatform-prod",
    "checkout-prod\\..\\platform-prod",
    "checkout-prod%5c..%5cplatform-prod",
    "checkout-prod/..%5cplatform-prod",
    "checkout-prod/..\\platform-prod",
    "checkout-prod/%c0%ae%c0%ae/platform-prod",
    "checkout-prod/%e0%80%ae%e0%80%ae/platform-prod",
    "checkout-prod/%u002e%u002e/platform-prod",
    "checkout-prod/%uff0e%uff0e/platform-prod",
    "checkout-prod/%ef%bc%8e%ef%bc%8e/platform-prod",
    "checkout-prod/.../platform-prod",
    "checkout-prod/./../platform-prod",
    "checkout-prod//../platform-prod",
    "./platform-prod",
    "../projects/platform-prod",
    "%2e/checkout-prod",
    "/platform-prod",
    "/checkout-prod",
    "checkout-prod/",
    "checkout-prod%00platform-prod",
    "checkout-prod%00",
    "checkout-prod%0a",
    "checkout-prod%0d%0aX:%20y",
    "checkout-prod%20",
    "%20checkout-prod",
    "checkout-prod%09",
    "checkout-prod.",
    "checkout-prod%2e",
    "checkout-prod..",
    "checkout-prod%23",
    "checkout-prod%23/../platform-prod",
    "checkout-prod%3f",
    "checkout-prod%3fproject=platform-prod",
    "checkout-prod?/../platform-prod",
    "checkout-prod?project=platform-prod",
    "checkout-prod#/../platform-prod",
    "checkout-prod%",
    "checkout-prod%2",
    "checkout-prod%zz",
    "checkout-prod%%32%66",
    "checkout-prod%25",
    "CHECKOUT-PROD",
    "Checkout-prod",
    "checkout-prod,platform-prod",
    "checkout-prod%2cplatform-prod",
    "checkout-prod|platform-prod",
    "checkout-prod&platform-prod",
    "checkout-prod+platform-prod",
    "checkout-prod:platform-prod",
    "checkout-prod@platform-prod",
    "*",
    "%2a",
    "checkout-*",
    "~",
    "$platform-prod",
    "'platform-prod'",
    "\"platform-prod\"",
    "{platform-prod}",
    "<platform-prod>",
    "checkout-pr\u{f6}d",
    "checkout-pr%c3%b6d",
    "checkout-pr%f6d",
    "checkout%ad-prod",
    "checkout%e2%80%8b-prod",
    "checkout%e2%80%ae-prod",
    "ch\u{435}ckout-prod",
    "http://127.0.0.1:1/platform-prod",
    "%68%74%74%70%3a%2f%2fevil",
    "checkout-prod/streams/../../platform-prod",
    "checkout-prod/streams/%2e%2e/%2e%2e/platform-prod",
    "undefined",
    "null",
    "-",
    "_",
    "0",
];

/// Where they stand; the reader's token goes with a GET, the exporter's with a POST.
const TEMPLATES: &[(&str, &str)] = &[
    ("GET", "/public/v0.2/acme/projects/{}/streams"),
    ("GET", "/public/v0.2/acme/projects/{}"),
    ("GET", "/public/v0.2/{}/projects/platform-prod/streams"),
    ("GET", "/{}/public/v0.2/acme/projects/platform-prod/streams"),
    ("POST", "/apps/{}/-/v1/traces"),
    ("POST", "/apps/shop/{}/-/v1/traces"),
    ("POST", "/{}/v1/traces"),
];

/// Whole targets.
const TARGETS: &[(&str, &str)] = &[
    ("POST", "/v1/traces/"),
    ("POST", "//v1/traces"),
    ("POST", "/v1//traces"),
    ("POST", "/./v1/traces"),
    ("POST", "/x/../v1/traces"),
    ("POST", "/v1/traces/."),
    ("POST", "/v1/traces/.."),
    ("POST", "/v1%2ftraces"),
    ("POST", "/v1/traces%20"),
    ("POST", "/v1/traces%00"),
    ("POST", "/v1/traces."),
    ("POST", "/v1/traces;x"),
    ("POST", "/v1/traces?"),
    ("POST", "/v1/traces?x=1"),
    ("POST", "/v1/traces?project=platform-prod"),
    ("POST", "/v1/traces?lightstep-access-token=x"),
    ("POST", "/V1/traces"),
    ("POST", "/v1/Traces"),
    ("POST", "/v2/traces"),
    ("POST", "/v1/traces/v1/metrics"),
    ("POST", "/v1/profiles"),
    ("POST", "/traces/otlp/v0."),
    ("POST", "/traces/otlp/v0.x"),
    ("POST", "/traces/otlp/v0.999"),
    ("POST", "/traces/otlp/v0.09"),
    ("POST", "/traces/otlp/v0.-1"),
    ("POST", "/traces/otlp/v1.9"),
    ("POST", "/traces/otlp/v0.9/x"),
    ("POST", "/api/v2/otel/trace/"),
    (
        "POST",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    ),
    ("POST", "/apps/shop/checkout/-/-/v1/traces"),
    ("POST", "/apps/shop/checkout/-/apps/platform/-/v1/traces"),
    (
        "POST",
        "/apps/platform/-/v1/traces/../../../shop/checkout/-/v1/traces",
    ),
    ("POST", "/apps/shop/checkout/-"),
    ("POST", "/apps/shop/checkout/-/"),
    ("POST", "/apps/shop/checkout/v1/traces"),
    (
        "POST",
        "/apps/shop/checkout/%2d/../../../platform/-/v1/traces",
    ),
    ("POST", "/apps//-/v1/traces"),
    ("POST", "/Apps/shop/checkout/-/v1/traces"),
    (
        "GET",
        "/apps/shop/checkout/-/public/v0.2/acme/projects/platform-prod/streams",
    ),
    ("GET", "/apps/shop/checkout/-/v1/traces"),
    ("GET", "/public/v0.2/acme"),
    ("GET", "/public/v0.2/acme/"),
    ("GET", "/public/v0.2"),
    ("GET", "/public"),
    ("GET", "/public/v0.1/acme/projects"),
    ("GET", "/public/v0.2//projects"),
    ("GET", "/public//v0.2/acme/projects"),
    ("GET", "/Public/v0.2/acme/projects"),
    ("GET", "/public/V0.2/acme/projects"),
    ("GET", "/public/v0.2/acme/Projects"),
    ("GET", "/public/v0.2/acme/projects/checkout-prod/Streams"),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/%73%74reams/../access_tokens",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/access%5Ftokens",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams?project=platform-prod",
    ),
    ("GET", "/public/v0.2/acme/projects/checkout-prod/streams?x"),
    ("GET", "/public/v0.2/acme/projects/checkout-prod/streams?"),
    ("GET", "/public/v0.2/acme/projects/checkout-prod/streams?&"),
    ("GET", "/public/v0.2/acme/projects/checkout-prod/streams??"),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/1/timeseries?oldest-time=1&oldest-time=2",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/1/timeseries?Oldest-Time=1",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/1/timeseries?oldest-time=1;youngest-time=2",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/1/timeseries?oldest-time=%0d%0aX:y",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/1/timeseries?oldest-time=%00",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/1/timeseries?oldest-time=%",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/1/timeseries?oldest%2Dtime%00=1",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/../../platform-prod/streams",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/..%2f..%2fplatform-prod%2fstreams",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/%2e%2e",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/1%2f..%2f..%2faccess_tokens",
    ),
    (
        "GET",
        "/public/v0.2/acme/projects/checkout-prod/streams/1;..;access_tokens",
    ),
    ("GET", "/public/v0.2/acme/role-bindings/../projects"),
    ("GET", "/.lightkeeper//"),
    ("GET", "/%2elightkeeper/"),
    ("GET", "/.lightkeeper/./apps"),
    ("GET", "/.lightkeeper/apps/"),
    ("GET", "/.Lightkeeper/apps"),
    ("GET", "/.lightkeeper/broken"),
    ("GET", "/.lightkeeper/whoami?x=1"),
    ("GET", "/.lightkeeper/whoami/"),
    ("GET", "/.lightkeeper/%77hoami/."),
    ("GET", "/metrics"),
    ("GET", "/readyz"),
    ("GET", "/debug/pprof"),
    ("GET", "/server-status"),
    ("GET", "/.env"),
    ("GET", "/.git/config"),
    ("GET", "/"),
    ("GET", "/%"),
    ("GET", "/?"),
];

fn all() -> impl Iterator<Item = (&'static str, String)> {
    let filled = TEMPLATES.iter().flat_map(|(method, template)| {
        SEGMENTS
            .iter()
            .map(move |segment| (*method, template.replace("{}", segment)))
    });
    filled.chain(
        TARGETS
            .iter()
            .map(|(method, target)| (*method, (*target).to_owned())),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_opens_another_project() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    let mut sent = 0;
    for (method, target) in all() {
        let token = if method == "POST" { "{T}" } else { "{A}" };
        let (kind, body) = if method == "POST" {
            (
                "Content-Type: application/x-protobuf\r\nContent-Length: 6\r\n",
                "\n\x04\x12\x02\x12\0",
            )
        } else {
            ("", "")
        };
        let text = ground.fill(&format!(
            "{method} {{target}} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n{kind}Connection: close\r\n\r\n{body}"
        ));
        let talk = wire::talk(ground.plain(), text.replace("{target}", &target).as_bytes()).await;
        let replies = wire::replies(&talk.bytes, &[]).unwrap_or_default();
        if replies.len() != 1 || !matches!(replies[0].status, 400 | 403 | 404 | 415) || !talk.closed
        {
            faults.push(format!("{method} {target}: {replies:?}"));
        }
        let records = ground.calls(1).await;
        if records.len() != 1
            || records[0]["decision"] != "deny"
            || records[0]["status"] != replies[0].status
        {
            faults.push(format!("{method} {target}: {records:?}"));
        }
        sent += 1;
    }
    ground.nothing_upstream("paths");
    ground.alive().await;
    println!("{sent} targets");
    ground::none(&faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_opens_another_project_over_http2() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    // The framework ends a connection after 32 malformed requests; each gets its own.
    for (method, target) in all() {
        // A fragment is cut by the framework's parser before anybody can see it.
        if target.contains('#') {
            continue;
        }
        let token = if method == "POST" {
            &ground.exporter
        } else {
            &ground.reader
        };
        let bearer = format!("Bearer {token}");
        let mut fields = vec![
            (":method", method),
            (":scheme", "http"),
            (":authority", "gw"),
            (":path", target.as_str()),
            ("authorization", bearer.as_str()),
        ];
        if method == "POST" {
            fields.push(("content-type", "application/x-protobuf"));
        }
        let mut line = Line::open(ground.plain()).await;
        line.request(
            1,
            &fields,
            (method == "POST").then_some(b"\n\x04\x12\x02\x12\0".as_slice()),
        )
        .await;
        let end = line.end_of(1, Duration::from_secs(5)).await;
        if !matches!(end, End::Status(400 | 403 | 404 | 415) | End::Reset(1)) {
            faults.push(format!("{method} {target}: {end}"));
        }
        let records = ground.records_of_all(1).await;
        if records.is_empty() || records[0]["decision"] != "deny" {
            faults.push(format!("{method} {target}: {records:?}"));
        }
    }
    ground.nothing_upstream("paths over HTTP/2");
    ground.alive().await;
    ground::none(&faults);
}

/// Two spellings of a permitted path: the backend sees one, ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_sees_one_spelling() {
    let mut ground = Ground::new().await;
    for (target, expected) in [
        (
            "/public/v0.2/acme/projects/%63heckout-prod/streams",
            "/public/v0.2/acme/projects/checkout-prod/streams",
        ),
        (
            "/%70ublic/v0%2e2/acme/projects/checkout%2dprod/streams",
            "/public/v0.2/acme/projects/checkout-prod/streams",
        ),
        (
            "/public/v0.2/acme/projects/checkout-prod/streams/a&b=c/timeseries?oldest-time=a%26project=x",
            "/public/v0.2/acme/projects/checkout-prod/streams/a%26b%3Dc/timeseries?oldest-time=a%26project%3Dx",
        ),
    ] {
        ground.world.emulator.clear();
        let text = ground.fill(&format!(
            "GET {target} HTTP/1.1\r\n{{H}}Connection: close\r\n\r\n"
        ));
        wire::talk(ground.plain(), text.as_bytes()).await;
        ground.calls(1).await;
        let seen: Vec<String> = ground
            .world
            .emulator
            .captured()
            .into_iter()
            .map(|captured| captured.path)
            .collect();
        ground::none(&if seen == [expected] {
            vec![]
        } else {
            vec![format!("{target}: {seen:?}")]
        });
    }
    ground.alive().await;
}
