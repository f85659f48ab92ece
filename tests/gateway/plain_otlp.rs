//! Backends that take OTLP and no more, by the built-in profile and by one of a file. What it refuses to know: how templates are
//! read (the unit tests of `profiles::template` do).

use lightkeeper::otlp::Encoding;
use testkit::vendors::VendorEmulator;
use testkit::{Emulator, Sample, SampleCaller, World};

use super::stage::{self, WorldPlan};

const POLICY: &str = r#"
version: 1
apps:
  shop:
    project: shop-prod
    apps:
      checkout: { project: checkout-prod, services: [checkout] }
bindings:
  - name: checkout-pods
    subjects: [{ issuer: acme, subject: "system:serviceaccount:checkout:*" }]
    permissions: [ingest.*]
    apps: [shop/checkout]
"#;

/// A world before a plain backend of this profile.
fn plan(profile: &str) -> WorldPlan {
    let upstream = format!("ingest: {{ profile: {profile}, url");
    let mut plan = stage::plan(&[
        ("ingest: { profile: lightstep, url", upstream.as_str()),
        ("  query: { profile: lightstep, url: \"{query}\" }\n", ""),
    ]);
    plan.policy = POLICY.to_owned();
    plan.more.push_str("query: {}\n");
    plan.emulator.plain_otlp = true;
    plan
}

fn caller(world: &World) -> SampleCaller {
    let token = world.issuer.token("checkout-collector");
    world.plain_caller().bearer(&token)
}

fn sample() -> Sample {
    Sample::traces("checkout", 2)
}

/// Scenario: a workload exports over HTTP in both encodings and over gRPC, with headers of its own.
/// Guarantees: the backend gets the export, one credential where it wants it, and nothing of the caller's; in both lanes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_backend_gets_one_header_and_nothing_of_the_callers() {
    for plan in [plan("otlp"), stage::streamed(plan("otlp"))] {
        let world = stage::start(plan).await;
        let token = world.issuer.token("checkout-collector");
        let caller = || caller(&world).header("x-api-key", "theirs-5d1c");
        let answers = [
            caller().export(&sample(), Encoding::Protobuf).await,
            caller().export(&sample(), Encoding::Json).await,
            caller().export_grpc(&sample()).await,
        ];
        for answer in answers {
            let answer = answer.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.grpc_status().is_none_or(|code| code == 0));
        }
        let seen = world.emulator.captured();
        let paths: Vec<&str> = seen.iter().map(|one| one.path.as_str()).collect();
        let service = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        assert_eq!(paths, ["/v1/traces", "/v1/traces", service]);
        let bearer = format!("Bearer {}", Emulator::access_token("checkout-prod"));
        for one in &seen {
            assert_eq!(one.header("authorization"), [bearer.as_str()]);
            for (name, value) in &one.headers {
                let known = ["authorization", "user-agent", "host", "te", "content-type"];
                let framing = ["content-length", "transfer-encoding", "accept-encoding"];
                let is_known = known.contains(&name.as_str())
                    || framing.contains(&name.as_str())
                    || name.starts_with("grpc-");
                assert!(is_known, "{name}");
                let value = String::from_utf8_lossy(value);
                assert!(
                    !value.contains(&token) && !value.contains("theirs"),
                    "{name}"
                );
            }
        }
        assert_eq!(world.emulator.exports().len(), 3);
    }
}

/// Scenario: a caller asks the query API, and a part of the tree. Guarantees: they are told that there is none, in words, and
/// the record says so; the backend is not asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_told_that_there_is_no_query_api() {
    let world = stage::start(plan("otlp")).await;
    for path in [
        "/public/v0.2/acme/projects",
        "/public/v0.2/acme/projects/checkout-prod/streams",
        "/apps/shop/-/services",
        "/apps/shop/checkout/-/alerts",
    ] {
        let answer = caller(&world).get(path).await.unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            answer.text().contains("no query API"),
            "{path}: {}",
            answer.text()
        );
        let id = answer.header("lightkeeper-request-id").unwrap();
        assert_eq!(stage::record(&world, &id).await["reason"], "no_query_api");
    }
    let unknown = caller(&world).get("/nothing").await.unwrap();
    assert!(unknown.status == 404 && !unknown.text().contains("query API"));
    let stranger = world.plain_caller().get("/public/v0.2/acme/projects").await;
    assert_eq!(stranger.unwrap().status, 401);
    assert!(world.emulator.captured().is_empty());
}

const OWN: &str = r#"
name: own
addresses: { ingest: "https://ingest.example" }
ingest:
  base: "/insert/{project}"
  headers: { authorization: "Basic {b64:{project}:{token}}", x-tenant: "{app}" }
  accepts: { protocols: [http], encodings: [protobuf], compressions: [gzip] }
  signals:
    traces: { path: "/own/{signal}", headers: { x-tenant: "of-{app}", compute_stats: "true" } }
  http:
    - { path: /v1/traces, signal: traces }
    - { path: /v1/logs, signal: logs }
  grpc:
    - { path: /opentelemetry.proto.collector.trace.v1.TraceService/Export, signal: traces }
query: off
"#;

/// Scenario: a profile of a file has paths, headers and forms of its own. Guarantees: what goes out is what it says; a form or
/// a compression that the backend does not take is replaced by one that it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_says_what_goes_out() {
    let mut first = plan("otlp");
    first.emulator.plain_otlp = true;
    let world = stage::start(first).await;
    stage::replace(&world.folder().join("own.yaml"), OWN);
    let path = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("profile: otlp", "profile: own");
    stage::replace(&path, format!("profiles: [own.yaml]\n{text}"));
    world.gateway.reload().await.unwrap();

    drop(
        caller(&world)
            .export(&sample(), Encoding::Json)
            .await
            .unwrap(),
    );
    drop(caller(&world).export_grpc(&sample()).await.unwrap());
    let zstd = caller(&world).compressing(testkit::Coding::Zstd);
    drop(zstd.export(&sample(), Encoding::Protobuf).await.unwrap());
    let logs = Sample::of(lightkeeper::otlp::Signal::Logs, "checkout", 1);
    drop(
        caller(&world)
            .export(&logs, Encoding::Protobuf)
            .await
            .unwrap(),
    );
    let token = Emulator::access_token("checkout-prod");
    let pair = format!("checkout-prod:{token}");
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair);
    let seen = world.emulator.captured();
    let told: Vec<_> = seen
        .iter()
        .map(|one| {
            let first = |name: &str| one.header(name).join(",");
            assert_eq!(first("authorization"), format!("Basic {basic}"));
            assert_eq!(first("content-encoding"), "gzip");
            assert_eq!(first("content-type"), "application/x-protobuf");
            (one.path.clone(), first("x-tenant"), first("compute_stats"))
        })
        .collect();
    let row = |path: &str, tenant: &str, stats: &str| {
        (path.to_owned(), tenant.to_owned(), stats.to_owned())
    };
    let traces = || {
        row(
            "/insert/checkout-prod/own/traces",
            "of-shop/checkout",
            "true",
        )
    };
    let logs = row("/insert/checkout-prod/v1/logs", "shop/checkout", "");
    assert_eq!(told, [traces(), traces(), traces(), logs]);
}

const OPEN: &str = r#"
name: open
addresses: { ingest: "https://open.example" }
ingest:
  credential: none
  headers: { x-app: "{app}" }
  http: [{ path: /v1/traces, signal: traces }]
  grpc: [{ path: /opentelemetry.proto.collector.trace.v1.TraceService/Export, signal: traces }]
query: off
"#;

/// Scenario: a backend wants no credential, and takes gRPC at an address of its own; one project has a token, another has none.
/// Guarantees: exports of both arrive where they should, and nothing of the vault or the caller goes with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_wants_no_credential_gets_none() {
    let http = VendorEmulator::start("jaeger", "none").await.unwrap();
    let grpc = VendorEmulator::start("jaeger", "none").await.unwrap();
    let world = stage::start(plan("otlp")).await;
    stage::replace(&world.folder().join("open.yaml"), OPEN);
    let path = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let ingest = text
        .lines()
        .find(|line| line.contains("profile: otlp"))
        .unwrap();
    let open = format!(
        "  ingest: {{ profile: open, url: \"{}\" }}\n  grpc: {{ url: \"{}\" }}",
        http.url(),
        grpc.url()
    );
    let token = "    checkout-prod: { access_token: [{ file: secrets/checkout-prod }] }\n";
    for text in [
        text.replace(ingest, &open),
        text.replace(ingest, &open).replace(token, ""),
    ] {
        stage::replace(&path, format!("profiles: [open.yaml]\n{text}"));
        world.gateway.reload().await.unwrap();
        http.clear();
        grpc.clear();
        let answer = caller(&world).export(&sample(), Encoding::Protobuf).await;
        assert_eq!(answer.unwrap().status, 200);
        let answer = caller(&world).export_grpc(&sample()).await.unwrap();
        assert_eq!(answer.grpc_status(), Some(0));
        for (backend, is_grpc) in [(&http, false), (&grpc, true)] {
            let seen = backend.intakes();
            let [one] = seen.as_slice() else {
                panic!("{is_grpc}: {}", seen.len())
            };
            assert!(one.is_taken() && one.grpc == is_grpc);
            assert_eq!(one.header("x-app"), ["shop/checkout"]);
            let token = Emulator::access_token("checkout-prod");
            let values = one.headers.values();
            assert!(values.into_iter().all(|value| value != token.as_str()));
            assert_eq!(one.header("authorization"), Vec::<String>::new());
        }
    }
}
