//! Scenario: exporters and clients in browsers, on pages of other origins. Guarantees: where a listener lists an origin, its
//! pages may ask what the listener serves, and read every answer; other origins learn nothing and lose nothing; the gateway's
//! own pages are never shared, and no cookie is ever meant.

use http::Method;
use testkit::emulator::{Endpoints, Fault};
use testkit::{Answer, Sample, World};

use super::stage;

const SHOP: &str = "https://shop.acme.example";
const LOCAL: &str = "http://localhost:3000";

async fn world(serves: &str) -> World {
    let cors = format!("    cors: {{ origins: [\"{SHOP}\", \"{LOCAL}\"], max_age: 10m }}");
    let plain = format!("    address: {{plain}}\n    serves: {serves}\n{cors}");
    stage::start(stage::plan(&[("    address: {plain}", &plain)])).await
}

/// What an answer says to browsers, by name.
fn told(answer: &Answer) -> Vec<String> {
    let mut told: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("access-control-") || name.as_str() == "vary")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    told.sort();
    told
}

const ALL: &str = "[ingest, query, web, legacy]";
const VARY: &str = "vary: origin, access-control-request-method, access-control-request-headers";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflights_are_answered_for_listed_origins_and_served_paths() {
    let wanted = "authorization,content-type, X-Evil,Cookie,TraceParent,DPoP";
    let allowed = |origin: &str, method: &str| {
        vec![
            "access-control-allow-headers: authorization, content-type, dpop, traceparent"
                .to_owned(),
            format!("access-control-allow-methods: {method}"),
            format!("access-control-allow-origin: {origin}"),
            "access-control-max-age: 600".to_owned(),
            VARY.to_owned(),
        ]
    };
    for (serves, rows) in [
        (
            ALL,
            &[
                (SHOP, "POST", "/v1/traces", true),
                (SHOP, "POST", "/apps/shop/checkout/-/v1/logs", true),
                (SHOP, "POST", "/api/v2/reports", true),
                (
                    LOCAL,
                    "GET",
                    "/public/v0.2/acme/projects/shop-prod/streams",
                    true,
                ),
                (LOCAL, "GET", "/apps/shop/-/services", true),
                // Not served, or not to pages.
                (SHOP, "GET", "/v1/traces", false),
                (SHOP, "DELETE", "/v1/traces", false),
                (SHOP, "TRACE", "/v1/traces", false),
                (SHOP, "POST", "/v1/trace", false),
                (SHOP, "POST", "/v1//traces", false),
                (SHOP, "POST", "/apps/shop/-/alerts", false),
                (
                    SHOP,
                    "POST",
                    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                    false,
                ),
                (SHOP, "GET", "/apps", false),
                (SHOP, "po st", "/v1/traces", false),
                // Not listed, letter by letter.
                ("https://SHOP.acme.example", "POST", "/v1/traces", false),
                ("https://shop.acme.example:443", "POST", "/v1/traces", false),
                ("https://shop.acme.example/", "POST", "/v1/traces", false),
                ("http://shop.acme.example", "POST", "/v1/traces", false),
                (
                    "https://shop.acme.example.evil.example",
                    "POST",
                    "/v1/traces",
                    false,
                ),
                ("https://evil.example", "POST", "/v1/traces", false),
                ("null", "POST", "/v1/traces", false),
                ("*", "POST", "/v1/traces", false),
                ("", "POST", "/v1/traces", false),
            ][..],
        ),
        (
            "[ingest]",
            &[
                (SHOP, "POST", "/v1/traces", true),
                (SHOP, "POST", "/api/v2/reports", false),
                (
                    SHOP,
                    "GET",
                    "/public/v0.2/acme/projects/shop-prod/streams",
                    false,
                ),
                (SHOP, "GET", "/apps/shop/-/services", false),
            ][..],
        ),
    ] {
        let world = world(serves).await;
        for (origin, method, path, is_allowed) in rows {
            for caller in [world.plain_caller(), world.plain_caller().http2()] {
                let headers = [
                    ("origin", *origin),
                    ("access-control-request-method", *method),
                    ("access-control-request-headers", wanted),
                ];
                let answer = caller
                    .send(Method::OPTIONS, path, &headers, Vec::new())
                    .await
                    .unwrap();
                let expected = if *is_allowed {
                    allowed(origin, method)
                } else {
                    vec![VARY.to_owned()]
                };
                assert_eq!(
                    (answer.status, told(&answer)),
                    (204, expected),
                    "{serves} {origin} {method} {path}"
                );
            }
        }
        let twice = world
            .plain_caller()
            .header("origin", SHOP)
            .header("origin", SHOP);
        let method = [("access-control-request-method", "POST")];
        let answer = twice
            .send(Method::OPTIONS, "/v1/traces", &method, Vec::new())
            .await
            .unwrap();
        assert_eq!(
            (answer.status, told(&answer)),
            (204, vec![VARY.to_owned()]),
            "two origins are none"
        );
        let calls = world
            .records()
            .into_iter()
            .filter(|record| record["event"] == "call")
            .count();
        assert_eq!(
            (calls, world.emulator.heads()),
            (0, 0),
            "no record, and nothing upstream"
        );
        let (yes, no) = rows.iter().fold((0.0, 1.0), |(yes, no), row| {
            if row.3 {
                (yes + 2.0, no)
            } else {
                (yes, no + 2.0)
            }
        });
        for (answer, count) in [("allowed", yes), ("refused", no)] {
            let name =
                format!("lightkeeper_preflights_total{{answer=\"{answer}\",listener=\"plain\"}}");
            stage::counts(&world, &name, count).await;
        }
    }
}

/// Scenario: the calls themselves, good and refused, from listed origins, others and none; and a backend that has CORS headers
/// of its own. Guarantees: a listed origin's pages read every answer, refusals too; nothing else changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_can_be_read_by_listed_origins_alone() {
    let world = world(ALL).await;
    let exporter = world.issuer.token("checkout-collector");
    let reader = world.issuer.token("ann");
    let body = Sample::traces("checkout", 1).protobuf();
    let shared = |origin: &str| {
        vec![
            format!("access-control-allow-origin: {origin}"),
            "access-control-expose-headers: dpop-nonce, lightkeeper-request-id, retry-after, www-authenticate".to_owned(),
            "vary: origin".to_owned(),
        ]
    };
    let streams = "/public/v0.2/acme/projects/shop-prod/streams";
    for (origin, expected) in [
        (Some(SHOP), shared(SHOP)),
        (Some(LOCAL), shared(LOCAL)),
        (
            Some("https://evil.example"),
            vec!["vary: origin".to_owned()],
        ),
        (Some("null"), vec!["vary: origin".to_owned()]),
        (None, vec!["vary: origin".to_owned()]),
    ] {
        let headers: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        let export = [&headers[..], &[("content-type", "application/x-protobuf")]].concat();
        let caller = world.plain_caller();
        for (what, token, path, status) in [
            ("an export", Some(&exporter), "/v1/traces", 200),
            ("without a credential", None, "/v1/traces", 401),
            ("not permitted", Some(&reader), "/v1/traces", 403),
            ("malformed", Some(&exporter), "/v1/traces?x=1", 400),
            ("unknown", Some(&exporter), "/v2/traces", 404),
        ] {
            let caller = token
                .iter()
                .fold(caller.clone(), |caller, token| caller.bearer(token));
            for caller in [caller.clone(), caller.http2()] {
                let answer = caller
                    .send(Method::POST, path, &export, body.clone())
                    .await
                    .unwrap();
                assert_eq!(
                    (answer.status, told(&answer)),
                    (status, expected.clone()),
                    "{origin:?} {what}"
                );
            }
        }
        let theirs = [
            "allow-origin",
            "allow-credentials",
            "expose-headers",
            "allow-methods",
        ];
        let theirs = theirs.map(|name| (&*format!("access-control-{name}").leak(), "*".to_owned()));
        let theirs = [
            &theirs[..],
            &[("content-type", "application/json".to_owned())],
        ]
        .concat();
        let says = Fault::SayWith {
            status: 200,
            headers: theirs,
            body: r#"{"data":[]}"#.to_owned(),
        };
        world.emulator.fail(Endpoints::All, says);
        let answer = caller
            .clone()
            .bearer(&reader)
            .send(Method::GET, streams, &headers, Vec::new())
            .await
            .unwrap();
        assert_eq!(told(&answer), expected, "{origin:?}: a query");
        let answer = caller
            .clone()
            .bearer(&exporter)
            .send(Method::POST, "/v1/traces", &export, body.clone())
            .await
            .unwrap();
        assert_eq!(
            told(&answer),
            expected,
            "{origin:?}: an export, and the backend's own headers"
        );
        world.emulator.heal();
        // The gateway's own pages are the gateway's alone.
        for path in [
            "/.lightkeeper/whoami",
            "/.lightkeeper/",
            "/.lightkeeper/login",
        ] {
            let answer = caller
                .send(Method::GET, path, &headers, Vec::new())
                .await
                .unwrap();
            let told = told(&answer);
            assert!(
                told.iter().all(|line| line == "vary: cookie"),
                "{origin:?} {path}: {told:?}"
            );
        }
        let ask = [&headers[..], &[("access-control-request-method", "GET")]].concat();
        let answer = caller
            .send(Method::OPTIONS, "/.lightkeeper/whoami", &ask, Vec::new())
            .await
            .unwrap();
        assert!(
            answer.status >= 400 && told(&answer).is_empty(),
            "{origin:?}: {:?}",
            told(&answer)
        );
    }
}

/// Scenario: a listener that lists no origin, and requests that are no preflights. Guarantees: they are what they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_nothing_is_shared() {
    let world = world(ALL).await;
    let trusting = world.caller();
    let preflight = [("origin", SHOP), ("access-control-request-method", "POST")];
    let answer = trusting
        .send(Method::OPTIONS, "/v1/traces", &preflight, Vec::new())
        .await
        .unwrap();
    assert_eq!(
        (answer.status, told(&answer)),
        (401, Vec::new()),
        "another listener"
    );
    for headers in [&preflight[..1], &preflight[1..]] {
        let answer = world
            .plain_caller()
            .send(Method::OPTIONS, "/v1/traces", headers, Vec::new())
            .await
            .unwrap();
        assert_eq!(answer.status, 401, "{headers:?}: no preflight");
    }
}
