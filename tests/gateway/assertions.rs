//! Callers that a proxy before the gateway names, by a token in a header that an issuer names. What it refuses to
//! know: which proxies there are; docs/providers.md has recipes, and `recipes` runs them.

use http::Method;
use lightkeeper::otlp::Encoding;
use serde_json::{Value, json};
use testkit::{
    Algorithm, Answer, Format, Issuer, Leaf, LegacySample, Sample, SampleCaller, World,
    webhook_secret,
};

use super::stage::{self, WorldPlan};

const IAP: &str = "x-goog-iap-jwt-assertion";
const ACCESS: &str = "cf-access-jwt-assertion";
const ALB: &str = "x-amzn-oidc-accesstoken";
const COLLECTOR: &str = "checkout-collector";

/// The demonstration's issuer names a header.
fn plan() -> WorldPlan {
    let named = format!("    audiences: [lightkeeper]\n    header: {IAP}\nupstreams:");
    let mut plan = stage::plan(&[("    audiences: [lightkeeper]\nupstreams:", &named)]);
    // Refusals are many here, and all from one address.
    plan.more.push_str("\nlimits: { penalty: off }\n");
    plan
}

/// Beside it, the issuer `ci` names another header.
fn with_ci(mut plan: WorldPlan, url: &str) -> WorldPlan {
    let ci = format!(
        "issuers:\n  - {{ name: ci, issuer: \"{url}\", audiences: [lightkeeper], header: {ACCESS} }}\n"
    );
    plan.config = plan.config.replacen("issuers:\n", &ci, 1);
    stage::bind(
        plan,
        r#"{ name: ci, subjects: [{ issuer: ci, subject: "ci:*" }], role: reporter, apps: [platform] }"#,
    )
}

async fn record(world: &World, answer: &Answer) -> Value {
    stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await
}

/// Status, of gRPC as the same over HTTP, and recorded reason.
async fn outcome(world: &World, answer: &Answer) -> (u16, String) {
    let status = match answer.grpc_status() {
        None => answer.status,
        Some(0) => 200,
        Some(3) => 400,
        Some(7) => 403,
        Some(16) => 401,
        Some(other) => panic!("{other}: {answer:?}"),
    };
    (
        status,
        record(world, answer).await["reason"]
            .as_str()
            .unwrap()
            .to_owned(),
    )
}

fn with(mut caller: SampleCaller, headers: &[(&str, &str)]) -> SampleCaller {
    for (name, value) in headers {
        caller = caller.header(name, value);
    }
    caller
}

/// Nothing that the backend saw has such a header, and neither it nor any record holds one of these tokens.
fn assert_stripped(world: &World, tokens: &[&str]) {
    let captured = world.emulator.captured();
    let records: String = world.records().iter().map(Value::to_string).collect();
    assert!(!captured.is_empty() && !records.is_empty());
    for token in tokens {
        let (_, signature) = token.rsplit_once('.').unwrap();
        assert!(!records.contains(signature), "a record holds a token");
        for request in &captured {
            assert!(
                !request.contains(signature.as_bytes()),
                "{} holds a token",
                request.path
            );
        }
    }
    for (request, header) in captured
        .iter()
        .flat_map(|request| [IAP, ACCESS, ALB].map(|header| (request, header)))
    {
        assert!(
            request.header(header).is_empty(),
            "{} has `{header}`",
            request.path
        );
    }
}

/// Scenario: an assertion on every lane, exports rewritten and passed on as they come, over HTTP and gRPC, a legacy report, queries,
/// a question to the tree, our own answers; and the same headers beside a client's own token where no issuer names them. Guarantees:
/// each is served as the subject of the assertion, the record tells how, and nothing of it goes upstream or into a record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_serves_on_every_lane_and_stays_here() {
    for streamed in [false, true] {
        let world = stage::start(if streamed {
            stage::streamed(plan())
        } else {
            plan()
        })
        .await;
        let (collector, ann) = (world.issuer.token(COLLECTOR), world.issuer.token("ann"));
        let sender = world.plain_caller().header(IAP, &collector);
        let reader = world.plain_caller().header(IAP, &ann);
        let sample = Sample::traces("checkout", 1);
        let report = LegacySample::of(Format::Reports, "checkout", 1);
        let answers = [
            (
                "export",
                COLLECTOR,
                sender.export(&sample, Encoding::Protobuf).await,
            ),
            (
                "export in JSON",
                COLLECTOR,
                sender.clone().http2().export(&sample, Encoding::Json).await,
            ),
            ("gRPC", COLLECTOR, sender.export_grpc(&sample).await),
            ("report", COLLECTOR, sender.report(&report).await),
            (
                "query",
                "ann",
                reader
                    .get("/public/v0.2/acme/projects/checkout-prod/streams")
                    .await,
            ),
            ("tree", "ann", reader.get("/apps/shop/-/services").await),
            ("apps", "ann", reader.get("/apps").await),
            ("whoami", "ann", reader.get("/.lightkeeper/whoami").await),
        ];
        for (what, who, answer) in answers {
            let answer = answer.unwrap();
            assert!(
                answer.status == 200 && answer.grpc_status().is_none_or(|status| status == 0),
                "{what}: {answer:?}"
            );
            let identity = record(&world, &answer).await["identity"].clone();
            let subject = Value::from(world.issuer.claims_of(who))["sub"].clone();
            assert_eq!(
                (&identity["method"], &identity["issuer"]),
                (&json!("assertion"), &json!("acme")),
                "{what}"
            );
            assert_eq!(identity["subject"], subject, "{what}");
            if what == "whoami" {
                assert_eq!(answer.json().unwrap()["method"], "assertion");
            }
        }
        let own = world
            .plain_caller()
            .bearer(&collector)
            .header(ACCESS, &ann)
            .header(ALB, &ann);
        let answer = own.export(&sample, Encoding::Protobuf).await.unwrap();
        assert_eq!(
            (
                answer.status,
                &record(&world, &answer).await["identity"]["method"]
            ),
            (200, &json!("oidc"))
        );
        assert_stripped(&world, &[&collector, &ann]);
    }
}

/// Scenario: assertions alone, beside other evidence, repeated, of another issuer, and evidence of other kinds in their place, over
/// HTTP/1.1, HTTP/2 and as gRPC metadata. Guarantees: one that its issuer's rules prove counts, in the header that its issuer names;
/// of two credentials none is chosen; no record and no request upstream holds any of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_chosen_beside_an_assertion() {
    let ci = Issuer::start().await.unwrap();
    let world = stage::start(with_ci(plan(), ci.url())).await;
    let mint = |claims| world.issuer.mint(claims, Algorithm::Rs256);
    let good = world.issuer.token(COLLECTOR);
    let other = world.issuer.token("cluster-collector");
    let build = ci.mint(ci.claims("ci:build"), Algorithm::Rs256);
    let expired = mint(
        world
            .issuer
            .claims_of(COLLECTOR)
            .issued_in(-90_000)
            .expires_in(-86_400),
    );
    let elsewhere = mint(world.issuer.claims_of(COLLECTOR).audience("elsewhere"));
    let forged = ci.mint(
        ci.claims_of(COLLECTOR).issuer(world.issuer.url()),
        Algorithm::Rs256,
    );
    let unsigned = world
        .issuer
        .mint(world.issuer.claims_of(COLLECTOR), Algorithm::Unsigned);
    let (scheme, second, secret) = (
        format!("Bearer {good}"),
        format!("Bearer {other}"),
        webhook_secret("shop"),
    );
    let (list, twice) = (format!("{good},{other}"), format!("{good}, {good}"));
    let cookie = ("cookie", "__Host-lightkeeper-session=x");
    /// What stands in the head, and the status and reason that answer it.
    type Row<'r> = (&'r [(&'r str, &'r str)], u16, &'r str);
    let table: &[Row<'_>] = &[
        (&[(IAP, &good)], 200, "ok"),
        (&[(ACCESS, &build)], 200, "ok"),
        (&[(IAP, &good), (IAP, &good)], 200, "ok"),
        (&[(IAP, &good), ("authorization", &scheme)], 200, "ok"),
        (
            &[(IAP, &good), ("lightstep-access-token", "developer")],
            200,
            "ok",
        ),
        (
            &[(IAP, &good), ("lightstep-access-token", &good)],
            200,
            "ok",
        ),
        (&[("authorization", &scheme), (ALB, &other)], 200, "ok"),
        (
            &[(IAP, &good), ("authorization", &second)],
            400,
            "conflicting_credentials",
        ),
        (
            &[(IAP, &good), ("authorization", "Basic YTpi")],
            400,
            "conflicting_credentials",
        ),
        (
            &[(IAP, &good), ("lightstep-access-token", &other)],
            400,
            "conflicting_credentials",
        ),
        (
            &[(IAP, &good), ("lightstep-access-token", "lk_x")],
            400,
            "conflicting_credentials",
        ),
        (
            &[(IAP, &good), (IAP, &other)],
            400,
            "conflicting_credentials",
        ),
        (&[(IAP, &good), (IAP, "")], 400, "conflicting_credentials"),
        (&[(IAP, &list)], 400, "conflicting_credentials"),
        (&[(IAP, &twice)], 400, "conflicting_credentials"),
        (
            &[(IAP, &good), (ACCESS, &build)],
            400,
            "conflicting_credentials",
        ),
        (
            &[(IAP, &good), (ACCESS, &good)],
            400,
            "conflicting_credentials",
        ),
        (
            &[(IAP, ""), ("authorization", &scheme)],
            400,
            "conflicting_credentials",
        ),
        (
            &[("x_goog_iap_jwt_assertion", &good)],
            400,
            "malformed_header",
        ),
        (
            &[
                ("authorization", &scheme),
                ("x-goog-iap_jwt_assertion", &other),
            ],
            400,
            "malformed_header",
        ),
        (
            &[
                ("authorization", &scheme),
                ("cf_access_jwt_assertion", &build),
            ],
            400,
            "malformed_header",
        ),
        (&[(IAP, &good), cookie], 400, "cookie_conflict"),
        (
            &[("authorization", &scheme), cookie],
            400,
            "conflicting_credentials",
        ),
        (&[(ALB, &good)], 401, "no_credential"),
        (&[(IAP, &build)], 401, "token_place"),
        (&[(ACCESS, &good)], 401, "token_place"),
        (
            &[(ACCESS, &good), ("authorization", &scheme)],
            401,
            "token_place",
        ),
        (&[(IAP, &expired)], 401, "token_expired"),
        (&[(IAP, &elsewhere)], 401, "token_audience"),
        (&[(IAP, &forged)], 401, "token_signature"),
        (&[(IAP, &unsigned)], 401, "token_algorithm"),
        (&[(IAP, &scheme)], 401, "token_malformed"),
        (&[(IAP, "")], 401, "token_malformed"),
        (&[(IAP, "lk_x")], 401, "token_malformed"),
        (&[(IAP, &secret)], 401, "token_malformed"),
    ];
    let sample = Sample::traces("some-service", 1);
    for (headers, status, reason) in table {
        let caller = with(world.plain_caller(), headers);
        for answer in [
            caller.export(&sample, Encoding::Protobuf).await.unwrap(),
            caller
                .clone()
                .http2()
                .export(&sample, Encoding::Protobuf)
                .await
                .unwrap(),
            caller.export_grpc(&sample).await.unwrap(),
        ] {
            assert_eq!(
                outcome(&world, &answer).await,
                (*status, (*reason).to_owned()),
                "{headers:?}"
            );
            let clears = answer.headers.get_all("set-cookie").iter().count() == 2;
            assert_eq!(clears, *reason == "cookie_conflict", "{headers:?}");
        }
    }
    let named = world
        .plain_caller()
        .header(IAP, &good)
        .header("connection", IAP);
    let answer = named.export(&sample, Encoding::Protobuf).await.unwrap();
    assert_eq!(
        outcome(&world, &answer).await,
        (400, "conflicting_headers".to_owned())
    );
    let inlet = world.plain_caller().header(IAP, &secret);
    let answer = inlet.post("/apps/shop/-/alerts", &json!({})).await.unwrap();
    assert_eq!(
        outcome(&world, &answer).await,
        (401, "webhook_evidence".to_owned())
    );
    assert_stripped(
        &world,
        &[&good, &other, &build, &expired, &elsewhere, &forged],
    );
}

/// Scenario: a proxy connects with its own certificate and adds an assertion. Guarantees: the assertion says who calls, the
/// record has both, and a certificate makes no bad assertion good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxys_certificate_stands_beside_its_assertion() {
    let world = stage::start(plan()).await;
    let leaf = Leaf::read(&world.folder().join("certs"), "collector").unwrap();
    let proxy = world.caller().certificate(&leaf);
    let alone = proxy.get("/.lightkeeper/whoami").await.unwrap();
    assert_eq!(alone.json().unwrap()["method"], "mtls");
    let answer = proxy
        .clone()
        .header(IAP, &world.issuer.token("ann"))
        .get("/.lightkeeper/whoami")
        .await
        .unwrap();
    let identity = record(&world, &answer).await["identity"].clone();
    assert_eq!(
        (&identity["method"], &identity["subject"]),
        (&json!("assertion"), &json!("ann@acme.example"))
    );
    assert!(identity["certificate"]["sha256"].is_string(), "{identity}");
    let expired = world.issuer.mint(
        world.issuer.claims_of("ann").expires_in(-3600),
        Algorithm::Rs256,
    );
    let answer = proxy
        .header(IAP, &expired)
        .get("/.lightkeeper/whoami")
        .await
        .unwrap();
    assert_eq!(
        outcome(&world, &answer).await,
        (401, "token_expired".to_owned())
    );
}

/// Scenario: a browser behind the proxy is led by other sites, by a sibling's and by our own pages; and tools call through the same
/// proxy. Guarantees: what another site makes the browser send changes nothing and reads nothing, on every lane; our own
/// pages, links that people follow, and callers that are no browsers are served. With a token of its own a page is judged as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_assertion_needs_a_page_of_ours() {
    let world = stage::start(plan()).await;
    let ours = world.plain_url();
    let ours = ours.as_str();
    let evil = "https://evil.example";
    let posts: &[(&[(&str, &str)], bool)] = &[
        (&[], true),
        (&[("origin", ours)], true),
        (&[("sec-fetch-site", "same-origin"), ("origin", ours)], true),
        (&[("sec-fetch-site", "same-origin")], true),
        (&[("origin", evil)], false),
        (&[("origin", "null")], false),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "cross-site"), ("origin", ours)], false),
        (&[("sec-fetch-site", "same-site"), ("origin", ours)], false),
        (&[("sec-fetch-site", "none")], false),
        (&[("sec-fetch-mode", "no-cors")], false),
        (&[("referer", "https://evil.example/page")], false),
        (&[("origin", ours), ("origin", evil)], false),
    ];
    let gets: &[(&[(&str, &str)], bool)] = &[
        (&[], true),
        (
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "cors"),
                ("sec-fetch-dest", "empty"),
            ],
            true,
        ),
        (
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            true,
        ),
        (
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", "image"),
            ],
            false,
        ),
        (
            &[
                ("sec-fetch-site", "same-site"),
                ("sec-fetch-mode", "cors"),
                ("sec-fetch-dest", "empty"),
            ],
            false,
        ),
        (
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ],
            false,
        ),
    ];
    let (collector, ann, editor) = (
        world.issuer.token(COLLECTOR),
        world.issuer.token("ann"),
        world.issuer.token("terraform"),
    );
    let sample = Sample::traces("checkout", 1);
    let json_headers = [
        ("accept", "application/json"),
        ("content-type", "application/json"),
    ];
    let created = json!({ "data": { "attributes": { "name": "n", "query": "q" } } }).to_string();
    for (headers, is_served) in posts {
        let send = async |token: &str, place: &str| {
            let caller = with(world.plain_caller().header(place, token), headers);
            let streams = "/public/v0.2/acme/projects/checkout-prod/streams";
            let query = caller
                .send(
                    Method::POST,
                    streams,
                    &json_headers,
                    created.clone().into_bytes(),
                )
                .await
                .unwrap();
            let export = caller.export(&sample, Encoding::Json).await.unwrap();
            (
                outcome(&world, &query).await.1,
                outcome(&world, &export).await.1,
            )
        };
        let (query, _) = send(&editor, IAP).await;
        let (_, export) = send(&collector, IAP).await;
        for reason in [query, export] {
            assert_eq!(reason == "csrf_origin", !is_served, "{headers:?}: {reason}");
            assert!(!is_served || reason == "ok", "{headers:?}: {reason}");
        }
        assert_eq!(
            send(&format!("Bearer {editor}"), "authorization").await.0,
            "ok",
            "{headers:?}"
        );
    }
    for (headers, is_served) in gets {
        for path in [
            "/public/v0.2/acme/projects",
            "/apps",
            "/.lightkeeper/",
            "/.lightkeeper/whoami",
            "/apps/shop/-/services",
        ] {
            let answer = with(world.plain_caller().header(IAP, &ann), headers)
                .get(path)
                .await
                .unwrap();
            let (status, reason) = outcome(&world, &answer).await;
            let expected = if *is_served {
                (200, false)
            } else {
                (403, true)
            };
            assert_eq!(
                (status, reason == "csrf_origin"),
                expected,
                "{path} {headers:?}: {reason}"
            );
        }
    }
}

/// Scenario: a browser behind the proxy opens the login and the pages, with an assertion that holds and one that does not.
/// Guarantees: it is not logged in a second time, and one that is refused is not led to a login that would not mend it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_with_an_assertion_needs_no_login() {
    let world = stage::start(plan()).await;
    let browser = world.caller().header(IAP, &world.issuer.token("ann"));
    let answer = browser
        .get("/.lightkeeper/login?return_to=/.lightkeeper/apps/shop")
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.header("location").as_deref()),
        (303, Some("/.lightkeeper/apps/shop"))
    );
    assert!(!answer.headers.contains_key("set-cookie"));
    let page = browser.get("/.lightkeeper/apps/shop").await.unwrap();
    assert_eq!(page.status, 200);
    assert!(page.text().contains("ann@acme.example"));
    let expired = world.issuer.mint(
        world.issuer.claims_of("ann").expires_in(-3600),
        Algorithm::Rs256,
    );
    let answer = world
        .caller()
        .header(IAP, &expired)
        .get("/.lightkeeper/apps/shop")
        .await
        .unwrap();
    assert_eq!(
        outcome(&world, &answer).await,
        (401, "token_expired".to_owned())
    );
}
