//! The emulator's good side: every ingest path, every row of the query API, links, limits, captures.

use http::Method;
use lightkeeper::clock::{Clock, UnixMillis};
use lightkeeper::otlp::{Encoding, Signal};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;
use testkit::emulator::{PROJECTS, Role, rows};
use testkit::{
    CallFault, DevelopmentCertificates, Emulator, EmulatorOptions, Endpoints, Sample, SampleCaller,
};

const SOON: Duration = Duration::from_secs(10);

pub fn sender(emulator: &Emulator, project: &str) -> SampleCaller {
    SampleCaller::new(&emulator.url()).access_token(&Emulator::access_token(project))
}

pub fn reader(emulator: &Emulator, role: Role) -> SampleCaller {
    SampleCaller::new(&emulator.url()).bearer(Emulator::api_key(role))
}

/// Scenario: an export to every path that Lightstep documents, in both encodings, plain and gzip, over HTTP/1.1
/// and h2c. Guarantees: it is accepted, decoded, and counted for the token's project.
#[tokio::test]
async fn every_ingest_path_takes_an_export() {
    let emulator = Emulator::start().await.unwrap();
    let paths = [
        ("/v1/traces", Signal::Traces),
        ("/v1/metrics", Signal::Metrics),
        ("/v1/logs", Signal::Logs),
        ("/traces/otlp/v0.9", Signal::Traces),
        ("/traces/otlp/v0.6", Signal::Traces),
        ("/traces/otlp/v0.5", Signal::Traces),
        ("/metrics/otlp/v0.9", Signal::Metrics),
        ("/metrics/otlp/v0.6", Signal::Metrics),
        ("/metrics/otlp/v0.5", Signal::Metrics),
        ("/api/v2/otel/trace", Signal::Traces),
    ];
    for (path, signal) in paths {
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            for caller in [
                sender(&emulator, "checkout-prod"),
                sender(&emulator, "checkout-prod").gzip().http2(),
            ] {
                emulator.clear();
                let sample = Sample::of(signal, "checkout", 3)
                    .attribute("k8s.namespace.name", "shop")
                    .and("cart", 2);
                let answer = caller.export_to(path, &sample, encoding).await.unwrap();
                let (kind, body) = match encoding {
                    Encoding::Protobuf => ("application/x-protobuf", ""),
                    Encoding::Json => ("application/json", "{}"),
                };
                assert_eq!(
                    (answer.status, answer.text().as_str()),
                    (200, body),
                    "{path}"
                );
                assert_eq!(answer.header("content-type").unwrap(), kind);
                let exports = emulator.exports();
                assert_eq!(
                    (exports.len(), exports[0].items(), exports[0].services()),
                    (1, 5, vec!["checkout", "cart"])
                );
                assert_eq!(
                    (exports[0].project.as_str(), exports[0].signal),
                    ("checkout-prod", signal)
                );
                assert_eq!(
                    exports[0].resources[0].attribute("k8s.namespace.name"),
                    Some("shop")
                );
            }
        }
    }
}

/// Scenario: the three gRPC services, plain and gzip. Guarantees: status 0 stands in the trailers, the message
/// is framed.
#[tokio::test]
async fn every_grpc_service_takes_an_export() {
    let emulator = Emulator::start().await.unwrap();
    for signal in Signal::ALL {
        for caller in [
            sender(&emulator, "shop-prod"),
            sender(&emulator, "shop-prod").gzip(),
        ] {
            emulator.clear();
            let answer = caller
                .export_grpc(&Sample::of(signal, "frontend", 4))
                .await
                .unwrap();
            assert_eq!((answer.status, answer.grpc_status()), (200, Some(0)));
            assert!(
                answer.trailers.contains_key("grpc-status")
                    && !answer.headers.contains_key("grpc-status")
            );
            assert_eq!(answer.body, [0, 0, 0, 0, 0]);
            assert_eq!(
                (emulator.exports()[0].items(), emulator.exports()[0].signal),
                (4, signal)
            );
            assert_eq!(emulator.captured()[0].endpoints, Endpoints::IngestGrpc);
        }
    }
}

/// Scenario: exports that must be refused, over HTTP and gRPC, in a table.
/// Guarantees: the status of `docs/backends/lightstep.md` (answers of ingest), `google.rpc.Status` in the request's encoding.
#[tokio::test]
async fn bad_exports_are_refused_as_lightstep_would() {
    let emulator = Emulator::start().await.unwrap();
    let good = sender(&emulator, "shop-prod");
    let nobody = SampleCaller::new(&emulator.url());
    let pb = "application/x-protobuf";
    let body = Sample::traces("frontend", 1).protobuf();
    for (caller, method, path, kind, body, status) in [
        (
            nobody.clone(),
            Method::POST,
            "/v1/traces",
            pb,
            body.clone(),
            401,
        ),
        (
            nobody.clone().access_token("wrong"),
            Method::POST,
            "/v1/traces",
            pb,
            body.clone(),
            401,
        ),
        (
            good.clone().access_token("second"),
            Method::POST,
            "/v1/traces",
            pb,
            body.clone(),
            401,
        ),
        (
            good.clone(),
            Method::POST,
            "/v1/traces",
            pb,
            b"\xff\xff".to_vec(),
            400,
        ),
        (
            good.clone(),
            Method::POST,
            "/v1/traces",
            "application/json",
            b"{".to_vec(),
            400,
        ),
        (
            good.clone(),
            Method::POST,
            "/v1/traces",
            "text/plain",
            body.clone(),
            415,
        ),
        (
            good.clone().header("content-encoding", "br"),
            Method::POST,
            "/v1/traces",
            pb,
            body.clone(),
            415,
        ),
        (
            good.clone().header("content-encoding", "gzip"),
            Method::POST,
            "/v1/traces",
            pb,
            body.clone(),
            400,
        ),
        (good.clone(), Method::GET, "/v1/traces", pb, Vec::new(), 405),
        (
            good.clone(),
            Method::POST,
            "/v1/traces/",
            pb,
            body.clone(),
            404,
        ),
        (
            good.clone(),
            Method::POST,
            "/v1/traces",
            pb,
            vec![0; (16 << 20) + 1],
            413,
        ),
    ] {
        // A body that is too large may be cut off by the answer: both are right (RFC 9112 section 9.6).
        match caller
            .send(method, path, &[("content-type", kind)], body)
            .await
        {
            Ok(answer) => assert_eq!(answer.status, status, "{path} {kind}"),
            Err(fault) => assert_eq!(status, 413, "{fault}"),
        }
    }
    let answer = nobody
        .export(&Sample::traces("x", 1), Encoding::Json)
        .await
        .unwrap();
    assert_eq!(
        answer.json().unwrap(),
        json!({ "code": 16, "message": "invalid access token" })
    );
    for (caller, path, message, code) in [
        (nobody.clone(), Signal::Traces.grpc_path(), body.clone(), 16),
        (
            good.clone(),
            Signal::Traces.grpc_path(),
            b"\xff".to_vec(),
            3,
        ),
        (
            good.clone(),
            "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
            body.clone(),
            12,
        ),
        // A coding that is named but not used by the frame does no harm.
        (
            good.clone().header("grpc-encoding", "zstd"),
            Signal::Traces.grpc_path(),
            body.clone(),
            0,
        ),
    ] {
        let answer = caller.grpc(path, &message).await.unwrap();
        assert_eq!(
            (answer.status, answer.grpc_status()),
            (200, Some(code)),
            "{path}"
        );
    }
    assert_eq!(emulator.exports().len(), 1);
}

/// Scenario: a token is added, deactivated and reactivated while the clock is in our hand.
/// Guarantees: propagation takes its time, deactivation does not.
#[tokio::test]
async fn tokens_come_and_go() {
    let (clock, now) = Clock::manual(UnixMillis(1_000_000));
    let options = EmulatorOptions {
        propagation_seconds: 300,
        clock,
        ..EmulatorOptions::default()
    };
    let emulator = Emulator::start_with(options).await.unwrap();
    emulator.add_access_token("shop-prod", "fresh");
    let caller = SampleCaller::new(&emulator.url()).access_token("fresh");
    let sample = Sample::traces("frontend", 1);
    let expect = async |status| {
        assert_eq!(
            caller
                .export(&sample, Encoding::Protobuf)
                .await
                .unwrap()
                .status,
            status
        );
    };
    expect(401).await;
    now.fetch_add(300_000, Ordering::SeqCst);
    expect(200).await;
    emulator.set_access_token_active("fresh", false);
    expect(401).await;
    emulator.set_access_token_active("fresh", true);
    expect(401).await;
    now.fetch_add(300_000, Ordering::SeqCst);
    expect(200).await;
}

/// A path for a row: the shop's project and one of its objects in place of the stars.
fn filled(template: &str, ids: &[(String, String)]) -> String {
    let path = template.replacen("/projects/*", "/projects/shop-prod", 1);
    let collection = match path.split('/').nth(3) {
        Some("dashboard") => "dashboards",
        other => other.unwrap_or_default(),
    };
    let id = ids
        .iter()
        .find(|(known, _)| known == collection)
        .map_or("none", |(_, id)| id.as_str());
    path.replacen('*', id, 1)
}

/// Scenario: every row of the query table, with the key that it needs and with the next lower one.
/// Guarantees: each row answers; levels are kept; nothing answers without a key or for another organization.
#[tokio::test]
async fn every_query_row_answers() {
    let queries = [
        (
            "/streams/*/timeseries",
            "?oldest-time=2026-01-01T00:00:00Z&youngest-time=2026-01-01T01:00:00Z&resolution-ms=60000&percentile=50",
        ),
        ("/stored-traces", "?span-id=00f067aa0ba902b7"),
        ("/role-binding", "?role-name=Organization%20Admin&project="),
        ("/directory/services", "?limit=1&offset=1"),
    ];
    let range = json!({ "query": "spans count", "input-language": "tql", "oldest-time": "2026-01-01T00:00:00Z",
        "youngest-time": "2026-01-01T01:00:00Z", "output-period": 60 });
    let bodies = [
        ("/projects", json!({ "data": { "name": "new-prod" } })),
        (
            "/telemetry/query_timeseries",
            json!({ "data": { "attributes": range } }),
        ),
        (
            "/query_translation",
            json!({ "data": { "queries": [{ "query-name": "a" }] } }),
        ),
        (
            "/role-binding",
            json!({ "data": { "role-name": "Project Viewer", "project-name": "shop-prod", "users": ["ann@acme.example"] } }),
        ),
        (
            "/saml-group-mappings",
            json!({ "data": { "attributes": { "mappings": [] } } }),
        ),
        ("/users", json!({ "userName": "new@acme.example" })),
        ("/Users", json!({ "userName": "newer@acme.example" })),
    ];
    for (method, template, role) in rows() {
        // A fresh one for each row, since some rows delete what others read.
        let emulator = Emulator::start().await.unwrap();
        let admin = reader(&emulator, Role::Admin);
        let mut ids = Vec::new();
        for (_, path, _) in rows()
            .into_iter()
            .filter(|(verb, path, _)| *verb == Method::GET && path.split('/').count() == 4)
        {
            let list = admin
                .get(&format!(
                    "/public/v0.2/acme{}",
                    path.replace('*', "shop-prod")
                ))
                .await
                .unwrap();
            let id = list
                .json()
                .and_then(|list| list["data"][0]["id"].as_str().map(str::to_owned));
            ids.extend(id.map(|id| (path.rsplit('/').next().unwrap().to_owned(), id)));
        }
        if template.contains("inferred_service_rules/*") {
            let rule = json!({ "data": { "type": "inferred_service_rule", "attributes": { "name": "n" } } });
            let made = admin
                .post(
                    "/public/v0.2/acme/projects/shop-prod/inferred_service_rules",
                    &rule,
                )
                .await
                .unwrap();
            let id = made.json().unwrap()["data"]["id"]
                .as_str()
                .unwrap()
                .to_owned();
            ids.push(("inferred_service_rules".to_owned(), id));
        }
        let ending =
            |(known, _): &&(&str, &str)| template.ends_with(known) && method == Method::GET;
        let query = queries.iter().find(ending).map_or("", |(_, query)| query);
        let path = format!("/public/v0.2/acme{}{query}", filled(template, &ids));
        // A stream's query cannot be patched.
        let default = match method {
            Method::PATCH => json!({ "data": { "attributes": { "name": "n" } } }),
            _ => {
                json!({ "data": { "attributes": { "name": "n", "query": "q" }, "title": "t", "scope": {} } })
            }
        };
        let own = bodies.iter().find(|(known, _)| template.ends_with(known));
        let body = own.map_or(default, |(_, body)| body.clone());
        let call = async |caller: SampleCaller, path: &str| {
            let body = if method == Method::GET {
                Value::Null
            } else {
                body.clone()
            };
            match body {
                Value::Null => caller
                    .send(method.clone(), path, &[], Vec::new())
                    .await
                    .unwrap(),
                body => caller.send_json(method.clone(), path, &body).await.unwrap(),
            }
        };
        let lower = match role {
            Role::Viewer => None,
            Role::Editor => Some(Role::Viewer),
            Role::Admin => Some(Role::Editor),
        };
        if let Some(lower) = lower {
            assert_eq!(
                call(reader(&emulator, lower), &path).await.status,
                403,
                "{method} {path}"
            );
        }
        assert_eq!(
            call(SampleCaller::new(&emulator.url()), &path).await.status,
            401,
            "{method} {path}"
        );
        let foreign = path.replacen("acme", "other", 1);
        assert_eq!(
            call(reader(&emulator, Role::Admin), &foreign).await.status,
            401,
            "{method} {path}"
        );
        let answer = call(reader(&emulator, role), &path).await;
        let expected = match (&method, template) {
            (&Method::DELETE, _) => 204,
            (_, "/projects/*/snapshots/*/service-diagram") => 202,
            _ => 200,
        };
        assert_eq!(
            answer.status,
            expected,
            "{method} {path}: {}",
            answer.text()
        );
        assert_eq!(answer.header("x-ratelimit-limit").unwrap(), "10000");
        if template == "/test" {
            assert_eq!(answer.text(), "OK!");
        } else if expected == 200 {
            assert!(answer.json().unwrap().is_object(), "{method} {path}");
        }
        if expected == 202 {
            assert_eq!(call(reader(&emulator, role), &path).await.status, 200);
        }
    }
}

/// Scenario: what real clients rely on, read from the answers. Guarantees: the shapes of
/// `docs/backends/lightstep.md` (answers of the query API).
#[tokio::test]
async fn answers_have_lightsteps_shapes() {
    let emulator = Emulator::start().await.unwrap();
    let viewer = reader(&emulator, Role::Viewer);
    let at = |path: &str| format!("/public/v0.2/acme{path}");
    let read = async |path: &str| viewer.get(&at(path)).await.unwrap().json().unwrap();

    let projects = read("/projects").await;
    let mut names: Vec<_> = projects["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["id"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    let mut all = PROJECTS;
    all.sort_unstable();
    assert_eq!(names, all);

    // Absolute links, on our own address or on the real one's.
    let own = format!("{}/public/v0.2/acme/projects/shop-prod", emulator.url());
    assert_eq!(
        read("/projects/shop-prod").await["data"]["links"]["self"],
        json!(own)
    );
    emulator.set_links_base("https://api.lightstep.com");
    let stream = &read("/projects/shop-prod/streams").await["data"][0];
    let id = stream["id"].as_str().unwrap();
    let link =
        format!("https://api.lightstep.com/public/v0.2/acme/projects/shop-prod/streams/{id}");
    assert_eq!(stream["links"]["self"], json!(link));
    let project = &stream["relationships"]["project"]["links"]["related"];
    assert_eq!(
        *project,
        json!("https://api.lightstep.com/public/v0.2/acme/projects/shop-prod")
    );

    // Secrets in answers: ingest tokens and webhook headers.
    let admin = reader(&emulator, Role::Admin);
    let tokens = admin
        .get(&at("/projects/shop-prod/access_tokens"))
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(
        tokens["data"][0]["id"],
        json!(Emulator::access_token("shop-prod"))
    );
    let hooks = read("/projects/shop-prod/destinations").await;
    let secret = &hooks["data"][0]["attributes"]["custom_headers"]["Authorization"];
    assert_eq!(*secret, json!("Bearer webhook-secret-of-shop-prod"));

    // A token made through the API opens its project.
    let made = json!({ "data": { "attributes": { "name": "ci" } } });
    let made = admin
        .post(&at("/projects/shop-prod/access_tokens"), &made)
        .await
        .unwrap()
        .json()
        .unwrap();
    let caller =
        SampleCaller::new(&emulator.url()).access_token(made["data"]["id"].as_str().unwrap());
    assert_eq!(
        caller
            .export(&Sample::traces("cart", 1), Encoding::Protobuf)
            .await
            .unwrap()
            .status,
        200
    );

    // Creating a stream twice gives the same one; its query cannot be changed; 404 is an error list.
    let editor = reader(&emulator, Role::Editor);
    let body = json!({ "data": { "type": "stream", "attributes": { "name": "n", "query": "service IN (\"x\")" } } });
    let streams = at("/projects/shop-prod/streams");
    let first = editor.post(&streams, &body).await.unwrap().json().unwrap()["data"]["id"].clone();
    assert_eq!(
        editor.post(&streams, &body).await.unwrap().json().unwrap()["data"]["id"],
        first
    );
    let one = format!("{streams}/{}", first.as_str().unwrap());
    let rename = json!({ "data": { "attributes": { "name": "m" } } });
    let renamed = editor
        .send_json(Method::PATCH, &one, &rename)
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(
        renamed["data"]["attributes"],
        json!({ "name": "m", "query": "service IN (\"x\")" })
    );
    let change = json!({ "data": { "attributes": { "query": "other" } } });
    assert_eq!(
        editor
            .send_json(Method::PATCH, &one, &change)
            .await
            .unwrap()
            .status,
        400
    );
    let missing = viewer.get(&at("/projects/nowhere/streams")).await.unwrap();
    assert_eq!(
        (missing.status, missing.json().unwrap()),
        (404, json!({ "errors": ["project not found"] }))
    );

    // gzip and the JSON:API name, when asked for; the three spellings of the key; two keys are none.
    let packed = viewer
        .clone()
        .header("accept-encoding", "gzip")
        .get(&at("/projects"))
        .await
        .unwrap();
    assert_eq!(packed.header("content-encoding").unwrap(), "gzip");
    assert!(packed.json().unwrap()["data"].is_array());
    let terraform = [("accept", "application/vnd.api+json")];
    let answer = viewer
        .send(Method::GET, &at("/projects"), &terraform, Vec::new())
        .await
        .unwrap();
    assert_eq!(
        answer.header("content-type").unwrap(),
        "application/vnd.api+json"
    );
    let key = Emulator::api_key(Role::Viewer);
    for (value, status) in [
        (format!("bearer {key}"), 200),
        (key.to_owned(), 200),
        (format!("Basic {key}"), 401),
    ] {
        let caller = SampleCaller::new(&emulator.url()).header("authorization", &value);
        assert_eq!(
            caller.get(&at("/projects")).await.unwrap().status,
            status,
            "{value}"
        );
    }
    assert_eq!(
        viewer
            .clone()
            .bearer(key)
            .get(&at("/projects"))
            .await
            .unwrap()
            .status,
        401
    );
    emulator.add_api_key("one-project", Role::Viewer, Some("shop-prod"));
    for (path, status) in [
        ("/projects/shop-prod", 200),
        ("/projects/checkout-prod", 403),
        ("/projects", 403),
    ] {
        let caller = SampleCaller::new(&emulator.url()).bearer("one-project");
        assert_eq!(
            caller.get(&at(path)).await.unwrap().status,
            status,
            "{path}"
        );
    }
}

/// Scenario: an odd request over HTTP/1.1 and one over h2c. Guarantees: what is captured is what was sent.
#[tokio::test]
async fn captures_hold_what_was_sent() {
    let emulator = Emulator::start().await.unwrap();
    let caller = sender(&emulator, "shop-prod")
        .header("x-odd", "a")
        .header("x-odd", "b");
    let raw = format!(
        "POST /v1/traces?a=%2e%2E&b HTTP/1.1\r\nHost: h\r\nX-ODD: one\r\nlightstep-access-token: {}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx-last: t\r\n\r\n",
        Emulator::access_token("shop-prod"),
    );
    let answer = caller.raw(raw.as_bytes()).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 415"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(emulator.wire(), raw.as_bytes());
    let sample = Sample::traces("frontend", 2);
    caller
        .clone()
        .http2()
        .export(&sample, Encoding::Protobuf)
        .await
        .unwrap();
    let seen = emulator.wait_for(2, SOON).await;
    assert_eq!(
        (seen[0].path.as_str(), &seen[0].body[..]),
        ("/v1/traces?a=%2e%2E&b", &b"abc"[..])
    );
    assert_eq!(seen[0].trailers, [("x-last".to_owned(), b"t".to_vec())]);
    assert_eq!(
        (seen[0].authority.as_deref(), seen[0].header("x-odd")),
        (Some("h"), vec!["one".to_owned()])
    );
    assert_eq!(
        (seen[1].version, seen[1].header("x-odd")),
        (http::Version::HTTP_2, vec!["a".into(), "b".into()])
    );
    assert_eq!(
        (&seen[1].body, seen[1].complete),
        (&sample.protobuf(), true)
    );
    assert!(
        seen.iter()
            .all(|request| request.project.as_deref() == Some("shop-prod"))
    );
    assert_ne!(seen[0].connection, seen[1].connection);
    assert!(seen[0].contains(b"one") && !seen[0].contains(b"two"));
    assert_eq!((emulator.heads(), emulator.connections()), (2, 2));
    emulator.clear();
    assert_eq!(
        (
            emulator.heads(),
            emulator.captured().len(),
            emulator.wire().len()
        ),
        (0, 0, 0)
    );
}

/// Scenario: a client goes away in the middle of its body. Guarantees: its request is captured, as incomplete.
#[tokio::test]
async fn a_request_that_breaks_off_is_captured() {
    let emulator = Emulator::start().await.unwrap();
    let caller = SampleCaller::new(&emulator.url()).deadline(Duration::from_millis(300));
    let head = b"POST /v1/traces HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc";
    assert_eq!(caller.raw(head).await.unwrap(), b"");
    let seen = emulator.wait_for(1, SOON).await;
    assert_eq!(
        (seen.len(), seen[0].complete, &seen[0].body[..]),
        (1, false, &b"abc"[..])
    );
}

/// Scenario: more requests than are kept. Guarantees: the newest stay, the bound holds.
#[tokio::test]
async fn captures_are_bounded() {
    let options = EmulatorOptions {
        captures: 3,
        captured_bytes: 250,
        ..EmulatorOptions::default()
    };
    let emulator = Emulator::start_with(options).await.unwrap();
    let caller = SampleCaller::new(&emulator.url());
    for (length, expected) in [
        (100, vec![100]),
        (100, vec![100, 100]),
        (120, vec![100, 120]),
        (1, vec![100, 120, 1]),
        (2, vec![120, 1, 2]),
    ] {
        caller
            .send(Method::POST, "/x", &[], vec![0; length])
            .await
            .unwrap();
        let kept: Vec<usize> = emulator
            .captured()
            .iter()
            .map(|request| request.body.len())
            .collect();
        assert_eq!(kept, expected);
    }
}

/// Scenario: TLS with h2 by ALPN, and mutual TLS with a good, a foreign and no client certificate.
/// Guarantees: both protocols, both endpoints; the certificate is in the capture; strangers do not connect.
#[tokio::test]
async fn tls_and_client_certificates() {
    let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
    let ca = certificates.authority.certificate();
    for mutual in [false, true] {
        let options = EmulatorOptions {
            tls: Some(certificates.server_tls(mutual)),
            ..EmulatorOptions::default()
        };
        let emulator = Emulator::start_with(options).await.unwrap();
        let plain = sender(&emulator, "shop-prod").trusting(&ca);
        let shown = plain.clone().certificate(&certificates.collector);
        let foreign = plain.clone().certificate(&certificates.untrusted_client);
        let sample = Sample::traces("frontend", 1);
        assert_eq!(
            shown.export(&sample, Encoding::Json).await.unwrap().status,
            200
        );
        assert_eq!(
            shown.export_grpc(&sample).await.unwrap().grpc_status(),
            Some(0)
        );
        let leaf = emulator.captured()[0].client_certificate.is_some();
        assert_eq!(leaf, mutual);
        for stranger in [&plain, &foreign] {
            let answer = stranger.export(&sample, Encoding::Json).await;
            assert_eq!(answer.is_ok(), !mutual, "{answer:?}");
        }
        let unknown = sender(&emulator, "shop-prod")
            .trusting(&certificates.untrusted_authority.certificate());
        assert!(matches!(
            unknown.export(&sample, Encoding::Json).await,
            Err(CallFault::Connect(_))
        ));
    }
}
