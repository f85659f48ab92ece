//! What a session may change, and by which proof that a page of ours asks. What it refuses to know: how a login goes.

use super::*;

/// What a session must prove: headers (`{csrf}` and `{ours}` are filled in), and the reason if it does not pass.
const PROOFS: [(&[(&str, &str)], &str); 16] = [
    (
        &[
            ("lightkeeper-csrf", "{csrf}"),
            ("sec-fetch-site", "same-origin"),
        ],
        "ok",
    ),
    (
        &[
            ("lightkeeper-csrf", "{csrf}"),
            ("sec-fetch-site", "same-origin"),
            ("origin", "{ours}"),
        ],
        "ok",
    ),
    (
        &[
            ("lightkeeper-csrf", "{csrf}"),
            ("sec-fetch-site", "same-origin"),
            ("origin", "null"),
        ],
        "ok",
    ),
    (
        &[("lightkeeper-csrf", "{csrf}"), ("origin", "{ours}")],
        "ok",
    ),
    (&[("lightkeeper-csrf", "{csrf}")], "csrf_origin"),
    (
        &[("lightkeeper-csrf", "{csrf}"), ("origin", "null")],
        "csrf_origin",
    ),
    (
        &[
            ("lightkeeper-csrf", "{csrf}"),
            ("origin", "https://evil.example"),
        ],
        "csrf_origin",
    ),
    (
        &[("lightkeeper-csrf", "{csrf}"), ("sec-fetch-site", "none")],
        "csrf_origin",
    ),
    (
        &[
            ("lightkeeper-csrf", "{csrf}"),
            ("sec-fetch-site", "same-site"),
            ("origin", "{ours}"),
        ],
        "csrf_origin",
    ),
    (
        &[
            ("lightkeeper-csrf", "{csrf}"),
            ("sec-fetch-site", "cross-site"),
            ("origin", "{ours}"),
        ],
        "csrf_origin",
    ),
    (
        &[
            ("lightkeeper-csrf", "{csrf}"),
            ("sec-fetch-site", "same-origin"),
            ("origin", "https://evil.example"),
        ],
        "csrf_origin",
    ),
    (&[("sec-fetch-site", "same-origin")], "csrf_missing"),
    (
        &[("lightkeeper-csrf", ""), ("sec-fetch-site", "same-origin")],
        "csrf_missing",
    ),
    (
        &[
            ("lightkeeper-csrf", "{other}"),
            ("sec-fetch-site", "same-origin"),
        ],
        "csrf_missing",
    ),
    (
        &[
            ("lightkeeper-csrf", "{csrf}"),
            ("lightkeeper-csrf", "{csrf}"),
            ("sec-fetch-site", "same-origin"),
        ],
        "csrf_missing",
    ),
    (&[], "csrf_origin"),
];

/// Scenario: ann's browser is made to ask every kind of thing, by her own page and by others. Guarantees: reading needs
/// no proof; whatever changes something needs both halves, and without them nothing reaches the backend; no cookie ever
/// does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_changes_nothing_without_proof() {
    let world = stage::start(stage::plan(&[])).await;
    let (mut browser, mut other) = (Browser::new(&world), Browser::new(&world));
    assert_eq!(browser.log_in("ann", "").await, "/.lightkeeper/");
    other.log_in("ann", "").await;
    let (csrf, foreign) = (browser.csrf().await, other.csrf().await);
    assert_ne!(csrf, foreign, "a token is one session's");
    let project = "/public/v0.2/acme/projects/shop-prod";
    let asks = [
        (Method::GET, format!("{project}/streams")),
        (Method::POST, format!("{project}/streams")),
        (Method::PATCH, format!("{project}/streams/none")),
        (Method::PUT, format!("{project}/metric_dashboards/none")),
        (Method::DELETE, format!("{project}/streams/none")),
    ];
    for (method, path) in asks {
        for (proof, expected) in PROOFS {
            let fill = |value: &str| {
                value
                    .replace("{csrf}", &csrf)
                    .replace("{other}", &foreign)
                    .replace("{ours}", &world.url())
            };
            let mut headers: Vec<(&str, String)> = proof
                .iter()
                .map(|(name, value)| (*name, fill(value)))
                .collect();
            headers.push(("content-type", "application/json".to_owned()));
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let before = world.emulator.heads();
            let body = if method == Method::GET { "" } else { "{}" };
            let answer = browser.send(method.clone(), &path, &headers, body).await;
            let sent = world.emulator.heads() - before;
            let expected = if method == Method::GET {
                "ok"
            } else {
                expected
            };
            let place = format!("{method} {proof:?}: {}", answer.text());
            assert_eq!(reason(&world, &answer).await, expected, "{place}");
            assert_eq!(
                (answer.status == 403, sent),
                (expected != "ok", u64::from(expected == "ok")),
                "{place}"
            );
            assert_eq!(answer.header("vary").as_deref(), Some("cookie"), "{place}");
        }
    }
    for captured in world.emulator.captured() {
        assert!(
            captured.header("cookie").is_empty() && captured.header("lightkeeper-csrf").is_empty()
        );
        assert!(!captured.contains(browser.session().as_bytes()));
    }
}

/// Scenario: pages of other sites, and of siblings of ours, embed or fetch what ann may read; she also follows links.
/// Guarantees: what they fetch by her cookie is refused before it costs anything; links open; nothing that a cookie got is
/// kept on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_sites_read_nothing_by_a_cookie() {
    let world = stage::start(stage::plan(&[])).await;
    let mut browser = Browser::new(&world);
    browser.log_in("ann", "").await;
    let paths = [
        "/.lightkeeper/",
        "/.lightkeeper/apps/shop",
        "/.lightkeeper/explain?path=/v1/traces",
        "/.lightkeeper/whoami",
        "/apps/shop",
        "/apps/shop/-/streams",
        "/public/v0.2/acme/projects/shop-prod/streams",
    ];
    for path in paths {
        for (site, mode, place, passes) in [
            ("cross-site", "no-cors", "image", false),
            ("cross-site", "navigate", "iframe", false),
            ("same-site", "no-cors", "script", false),
            ("cross-site", "navigate", "document", true),
            ("same-origin", "cors", "empty", true),
            ("none", "navigate", "document", true),
        ] {
            let before = world.emulator.heads();
            let headers = [
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", place),
            ];
            let answer = browser.send(Method::GET, path, &headers, "").await;
            let expected = if passes {
                (200, "ok")
            } else {
                (403, "csrf_origin")
            };
            assert_eq!(
                (answer.status, reason(&world, &answer).await.as_str()),
                expected,
                "{path} {site} {mode} {place}"
            );
            let told = (answer.header("cache-control"), answer.header("vary"));
            assert_eq!(
                (told.0.as_deref(), told.1.as_deref()),
                (Some("no-store"), Some("cookie")),
                "{path}"
            );
            assert!(passes || world.emulator.heads() == before, "{path}");
        }
    }
}

/// Scenario: a browser with a session is led to where workloads call, or shows a token besides. Guarantees: a cookie is no
/// evidence there; a cookie and a token together are refused everywhere; nothing reaches the backend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_is_evidence_for_people_only() {
    let world = stage::start(stage::plan(&[])).await;
    let mut browser = Browser::new(&world);
    browser.log_in("ann", "").await;
    let csrf = browser.csrf().await;
    let bearer = format!("Bearer {}", world.issuer.token("ann"));
    let proof = [
        SAME_ORIGIN,
        ("lightkeeper-csrf", csrf.as_str()),
        ("content-type", "application/json"),
    ];
    let before = world.emulator.heads();
    for path in [
        "/v1/traces",
        "/apps/shop/-/v1/traces",
        "/traces/otlp/v0.9",
        "/api/v2/reports",
        "/_bulk",
        "/api/v2/spans",
    ] {
        // Zipkin's spans are read before anybody is asked for a token, which may stand in them.
        let body = if path == "/api/v2/spans" { "[]" } else { "{}" };
        let answer = browser.send(Method::POST, path, &proof, body).await;
        assert_eq!(
            (answer.status, reason(&world, &answer).await.as_str()),
            (401, "no_credential"),
            "{path}"
        );
    }
    let paths = [
        "/.lightkeeper/",
        "/.lightkeeper/whoami",
        "/.lightkeeper/login",
        "/apps",
        "/public/v0.2/acme/projects",
        "/v1/traces",
    ];
    for path in paths {
        for shown in [
            ("authorization", bearer.as_str()),
            (
                "lightstep-access-token",
                bearer.trim_start_matches("Bearer "),
            ),
        ] {
            let method = if path == "/v1/traces" {
                Method::POST
            } else {
                Method::GET
            };
            let answer = browser
                .send(
                    method,
                    path,
                    &[shown, ("content-type", "application/json")],
                    "",
                )
                .await;
            let found = (answer.status, reason(&world, &answer).await);
            assert_eq!(
                found,
                (400, "conflicting_credentials".to_owned()),
                "{path} {}",
                shown.0
            );
        }
    }
    assert_eq!(world.emulator.heads(), before);
}
