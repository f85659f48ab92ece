//! Every endpoint against every kind of evidence. `endpoints.txt` is the table, to be read by anybody; this
//! file makes the calls behind it. What it refuses to know: how evidence is judged.

use http::Method;
use lightkeeper::clock::Clock;
use lightkeeper::otlp::{Encoding, Signal};
use lightkeeper::profiles::{Credential, Profile};
use serde_json::json;
use testkit::emulator::{Role, rows};
use testkit::world::AWS_ACCOUNT;
use testkit::{
    Algorithm, Answer, AwsCaller, Emulator, Issuer, ProofKey, Sample, SampleCaller, TokenJudge,
    TokenWord, World, golden,
};

use super::{introspection, stage};
use crate::folder::Folder;

/// The columns: what a caller shows. The first ten prove nothing or nothing that is bound here.
const EVIDENCE: [&str; 15] = [
    "none",
    "forged",
    "expired",
    "ended",
    "stranger",
    "thief",
    "stolen",
    "revoked",
    "unasked",
    "unbound",
    "neighbour",
    "opaque",
    "role",
    "proven",
    "right",
];

/// One endpoint.
struct Endpoint {
    method: Method,
    /// As shown: with its placeholders.
    shown: String,
    /// As asked.
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    grpc: bool,
    /// Whether the caller who is right is the one who exports.
    sender: bool,
    /// Whether the gateway answers by itself.
    own: bool,
}

/// Scenario: each endpoint is asked with each kind of evidence.
/// Guarantees: the statuses of `endpoints.txt`; what is refused sends nothing upstream; what is let through sends
/// exactly one request, with exactly one credential.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_with_every_kind_of_evidence() {
    let (folder, judge) = (Folder::new(), judge().await);
    let asked = introspection::asked(&judge, &introspection::by_secret(&folder), "");
    let world = stage::start(
        stage::WorldPlan {
            policy: policy(),
            more: "revocations: { file: revocations.yaml }".to_owned(),
            files: vec![("revocations.yaml".to_owned(), REVOCATIONS.to_owned())],
            ..stage::plan(&[
                ("    address: {plain}\n", &named()),
                ("audiences: [lightkeeper]", &asked),
            ])
        }
        .with_aws(),
    )
    .await;
    world.sts.as_ref().unwrap().add(role());
    judge.say(OPAQUE, introspection::active(&world, "ci:neighbour"));
    let stranger = Issuer::start().await.unwrap();
    let key = ProofKey::generate().unwrap();
    let mut table = String::from(HEADING);
    table.push_str(&format!("{:<106}", ""));
    EVIDENCE
        .iter()
        .for_each(|evidence| table.push_str(&format!("{evidence:>10}")));
    table.push_str("  lent\n");
    let groups = [
        ("Exports", ingest()),
        ("Queries", queries()),
        ("The gateway's own pages", own()),
    ];
    for (group, endpoints) in groups {
        table.push_str(&format!("\n{group}\n"));
        for endpoint in endpoints {
            let mut line = format!("{:<106}", format!("{} {}", endpoint.method, endpoint.shown));
            let mut lent = String::new();
            for evidence in EVIDENCE {
                let before = world.emulator.heads();
                let caller = match evidence {
                    "stolen" | "proven" => shows_bound(&world, &key, evidence, &endpoint),
                    _ => shows(&world, &stranger, evidence, endpoint.sender),
                };
                let answer = ask(&caller, &endpoint).await;
                let sent = world.emulator.heads() - before;
                let place = format!("{} {} with {evidence}", endpoint.method, endpoint.path);
                let through = reached(&answer, &endpoint) && !endpoint.own;
                assert_eq!(sent, u64::from(through), "{place}: {answer:?}");
                let mut cell = shown(&answer, &endpoint);
                if through {
                    lent = credential(&world, &place).await;
                    if ["neighbour", "opaque"].contains(&evidence) {
                        stays_at_home(&endpoint, &answer, &lent);
                        cell.push('*');
                    }
                }
                line.push_str(&format!("{cell:>10}"));
            }
            table.push_str(format!("{line}  {lent}").trim_end());
            table.push('\n');
        }
    }
    golden::check(&stage::beside("endpoints.txt"), &table)
        .unwrap_or_else(|difference| panic!("{difference}"));
}

/// What the evidence `ended` is.
const REVOCATIONS: &str =
    "version: 1\nrevocations:\n  - { issuer: acme, jti: ended, until: 2126-01-01T00:00:00Z }\n";

const HEADING: &str = "\
What every endpoint answers, by what the caller shows. HTTP status; for gRPC the gRPC status (0 OK, 7 PERMISSION_DENIED,
12 UNIMPLEMENTED, 16 UNAUTHENTICATED). Everything but 200, 202, 204 and 0 is refused by the gateway: the backend saw nothing.

none       no credential                     unasked    an opaque token, while its issuer gives no answer that can be read
forged     a good token, signature changed   unbound    a good token of somebody whom no binding names
expired    a token of yesterday              neighbour  a good token of another team, which may do everything in its own project
ended      a good token that was revoked     opaque     the same, with a token about which its issuer is asked
stranger   an issuer that we do not know     role       a call to AWS, signed by a role that may export
thief      a call to AWS, signed wrongly     proven     a token that is bound to a key, with its proof, of one who may export
stolen     a token that is bound to a key    right      a good token of whoever may do it
revoked    an opaque token that is no more   lent       the credential of ours that went to the backend for \"right\"

* An export that names no app went to the neighbour's own project; the list of projects held the neighbour's own.

";

/// The tree of the demonstration; all permissions in full, here and next door.
fn policy() -> String {
    let (tree, _) = testkit::world::POLICY.split_once("bindings:").unwrap();
    let all = Profile::lightstep().permissions().join(", ");
    format!(
        "{tree}bindings:\n\
         \x20 - {{ name: steward, subjects: [{{ issuer: acme, subject: \"ci:steward\" }}], permissions: [{all}], apps: [/] }}\n\
         \x20 - {{ name: sender, subjects: [{{ issuer: acme, subject: \"ci:sender\" }}], role: reporter, apps: [shop/checkout] }}\n\
         \x20 - {{ name: neighbour, subjects: [{{ issuer: acme, subject: \"ci:neighbour\" }}], permissions: [{all}], apps: [platform] }}\n"
    )
}

fn ingest() -> Vec<Endpoint> {
    let http = [
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
    let mut endpoints = Vec::new();
    for prefix in ["", "/apps/shop/checkout/-"] {
        for (path, signal) in http {
            let body = Sample::of(signal, "some-service", 1).encode(Encoding::Json);
            let headers = vec![("content-type", "application/json")];
            endpoints.push(Endpoint::new(
                Method::POST,
                format!("{prefix}{path}"),
                headers,
                body,
                true,
            ));
        }
        for signal in Signal::ALL {
            let message = Sample::of(signal, "some-service", 1).protobuf();
            let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            body.extend_from_slice(&message);
            let headers = vec![("content-type", "application/grpc"), ("te", "trailers")];
            let path = format!("{prefix}{}", signal.grpc_path());
            endpoints.push(Endpoint {
                grpc: true,
                ..Endpoint::new(Method::POST, path, headers, body, true)
            });
        }
    }
    endpoints
}

/// Every row of the profile, on objects of the emulator's sample. Deletions take other projects' objects, so that
/// the rows do not disturb each other.
fn queries() -> Vec<Endpoint> {
    let profile = Profile::lightstep();
    let operations = profile
        .operations()
        .iter()
        .filter(|operation| operation.template.starts_with('/'));
    operations
        .map(|operation| {
            let (template, method) = (operation.template.as_str(), operation.method.clone());
            let (project, first) = match (&method, template) {
                (&Method::DELETE, "/projects/{project}") => ("platform-prod", 43),
                (&Method::DELETE, "/projects/{project}/dashboard/{id}") => ("payments-prod", 29),
                (&Method::DELETE, _) => ("checkout-prod", 15),
                _ => ("shop-prod", 1),
            };
            let collection = template.split('/').nth(3).unwrap_or_default();
            let mut path = template.replace("{project}", project);
            if let Some((kind, place)) = OBJECTS
                .iter()
                .find_map(|(known, kind, place)| (*known == collection).then_some((kind, place)))
            {
                path = path.replace("{id}", &format!("{kind}-{}", first + place));
            }
            assert!(!path.contains('{'), "no object for {template}");
            let query = QUERIES
                .iter()
                .find(|(end, _)| method == Method::GET && template.ends_with(end));
            path.push_str(query.map_or("", |(_, query)| query));
            let body = match method {
                Method::GET | Method::DELETE => Vec::new(),
                _ => body_for(template, &method).to_string().into_bytes(),
            };
            let headers = if body.is_empty() {
                Vec::new()
            } else {
                vec![("content-type", "application/json")]
            };
            let mut endpoint = Endpoint::new(
                method,
                format!("/public/v0.2/acme{path}"),
                headers,
                body,
                false,
            );
            endpoint.shown = format!("/public/v0.2/acme{template}");
            endpoint
        })
        .collect()
}

/// The place of each collection's first object among those of a project, as the emulator counts them.
const OBJECTS: [(&str, &str, u64); 13] = [
    ("streams", "stream", 0),
    ("conditions", "condition", 2),
    ("destinations", "destination", 3),
    ("alerting_rules", "alerting_rule", 5),
    ("dashboards", "dashboard", 6),
    ("dashboard", "dashboard", 6),
    ("metric_dashboards", "metric_dashboard", 7),
    ("metric_alerts", "metric_alert", 8),
    ("snooze_rules", "snooze_rule", 9),
    ("event_queries", "event_query", 10),
    ("inferred_service_rules", "inferred_service_rule", 11),
    ("snapshots", "snapshot", 12),
    ("wf_links", "workflow_link", 13),
];

const QUERIES: [(&str, &str); 4] = [
    (
        "/streams/{id}/timeseries",
        "?oldest-time=2026-01-01T00:00:00Z&youngest-time=2026-01-01T01:00:00Z&resolution-ms=60000&percentile=50",
    ),
    ("/stored-traces", "?span-id=00f067aa0ba902b7"),
    ("/role-binding", "?role-name=Organization%20Admin&project="),
    ("/directory/services", "?limit=1&offset=1"),
];

fn body_for(template: &str, method: &Method) -> serde_json::Value {
    let range = json!({ "query": "spans count", "input-language": "tql", "oldest-time": "2026-01-01T00:00:00Z",
        "youngest-time": "2026-01-01T01:00:00Z", "output-period": 60 });
    match template {
        "/projects" => json!({ "data": { "name": "new-prod" } }),
        "/role-binding" => {
            json!({ "data": { "role-name": "Viewer", "project-name": "shop-prod", "users": [] } })
        }
        "/saml-group-mappings" => json!({ "data": { "attributes": { "mappings": [] } } }),
        "/users" => json!({ "userName": "new@acme.example" }),
        "/Users" => json!({ "userName": "newer@acme.example" }),
        _ if template.ends_with("/query_timeseries") => json!({ "data": { "attributes": range } }),
        _ if template.ends_with("/query_translation") => {
            json!({ "data": { "queries": [{ "query-name": "a" }] } })
        }
        // A stream's query cannot be patched.
        _ if *method == Method::PATCH => json!({ "data": { "attributes": { "name": "n" } } }),
        _ => {
            json!({ "data": { "attributes": { "name": "n", "query": "q" }, "title": "t", "scope": {} } })
        }
    }
}

fn own() -> Vec<Endpoint> {
    let pages = [
        "/.lightkeeper/whoami",
        "/apps",
        "/apps/shop/checkout",
        "/apps/nowhere",
        "/nowhere",
    ];
    let page = |path: &str| {
        let page = Endpoint::new(Method::GET, path.to_owned(), Vec::new(), Vec::new(), false);
        Endpoint { own: true, ..page }
    };
    let pushed = [
        (
            "/.lightkeeper/backchannel-logout",
            "application/x-www-form-urlencoded",
            "logout_token=a.b.c",
        ),
        (
            "/.lightkeeper/ssf/events",
            "application/secevent+jwt",
            "a.b.c",
        ),
    ]
    .map(|(path, kind, body)| {
        let headers = vec![("content-type", kind)];
        let pushed = Endpoint::new(Method::POST, path.to_owned(), headers, body.into(), false);
        Endpoint {
            own: true,
            ..pushed
        }
    });
    pages.map(page).into_iter().chain(pushed).collect()
}

impl Endpoint {
    fn new(
        method: Method,
        path: String,
        headers: Vec<(&'static str, &'static str)>,
        body: Vec<u8>,
        sender: bool,
    ) -> Self {
        Endpoint {
            method,
            shown: path.clone(),
            path,
            headers,
            body,
            grpc: false,
            sender,
            own: false,
        }
    }
}

/// Which may export to its app, and nothing else.
fn role() -> AwsCaller {
    AwsCaller::role(AWS_ACCOUNT, "checkout-lambda", "i-0abc")
}

/// A token of the neighbour's, and one about which nothing can be read.
const OPAQUE: &str = "opaque-of-neighbour";
const UNREADABLE: &str = "opaque-of-nobody";

async fn judge() -> TokenJudge {
    let inactive = TokenWord::json(&json!({ "active": false }));
    let judge = TokenJudge::start(None, inactive).await.unwrap();
    judge.say(UNREADABLE, TokenWord::json(&json!({ "active": "perhaps" })));
    judge
}

fn shows(world: &World, stranger: &Issuer, evidence: &str, sender: bool) -> SampleCaller {
    let right = if sender { "ci:sender" } else { "ci:steward" };
    let mint = |claims| world.issuer.mint(claims, Algorithm::Rs256);
    let token = match evidence {
        "none" => return world.plain_caller(),
        "forged" => {
            let token = mint(world.issuer.claims(right));
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let flipped = if signature.starts_with('A') { "B" } else { "A" };
            format!("{signed}.{flipped}{}", signature.get(1..).unwrap())
        }
        "expired" => mint(
            world
                .issuer
                .claims(right)
                .issued_in(-90_000)
                .expires_in(-86_400),
        ),
        "ended" => mint(world.issuer.claims(right).set("jti", "ended")),
        "stranger" => stranger.mint(stranger.claims(right), Algorithm::Rs256),
        "thief" => {
            let mut thief = role();
            thief.keys.secret_key.push('x');
            world.aws_token(&thief, &Clock::system())
        }
        "role" => world.aws_token(&role(), &Clock::system()),
        "revoked" => "revoked".to_owned(),
        "unasked" => UNREADABLE.to_owned(),
        "opaque" => OPAQUE.to_owned(),
        "unbound" => mint(world.issuer.claims("ci:nobody")),
        "neighbour" => mint(world.issuer.claims("ci:neighbour")),
        _ => mint(world.issuer.claims(right)),
    };
    world.plain_caller().bearer(&token)
}

/// What callers know the gateway by; proofs need no nonce here.
const PUBLIC: &str = "https://gateway.example";

fn named() -> String {
    format!("    address: {{plain}}\n    public_url: {PUBLIC}\ndpop: {{ nonce: optional }}\n")
}

/// A token that is bound to a key: as a bearer token, of the caller that is right; and with a proof for this very call, of one who may
/// export to its app, and nothing else.
fn shows_bound(world: &World, key: &ProofKey, evidence: &str, endpoint: &Endpoint) -> SampleCaller {
    let is_proven = evidence == "proven";
    let subject = match is_proven || endpoint.sender {
        true => "ci:sender",
        false => "ci:steward",
    };
    let claims = world.issuer.claims(subject);
    let claims = claims.set("cnf", json!({ "jkt": key.thumbprint() }));
    let token = world.issuer.mint(claims, Algorithm::Rs256);
    if !is_proven {
        return world.plain_caller().bearer(&token);
    }
    let path = endpoint.path.split('?').next().unwrap_or_default();
    let (method, url) = (endpoint.method.as_str(), format!("{PUBLIC}{path}"));
    let proof = key.proof(method, &url, &token, json!({}));
    world
        .plain_caller()
        .header("authorization", &format!("DPoP {token}"))
        .header("dpop", &proof)
}

async fn ask(caller: &SampleCaller, endpoint: &Endpoint) -> Answer {
    let caller = if endpoint.grpc {
        caller.clone().http2()
    } else {
        caller.clone()
    };
    caller
        .send(
            endpoint.method.clone(),
            &endpoint.path,
            &endpoint.headers,
            endpoint.body.clone(),
        )
        .await
        .unwrap()
}

/// What a neighbour may do where no app is named: what is its own.
fn stays_at_home(endpoint: &Endpoint, answer: &Answer, lent: &str) {
    if endpoint.sender {
        assert_eq!(lent, "token of platform-prod", "{}", endpoint.path);
        return;
    }
    assert_eq!(endpoint.shown, "/public/v0.2/acme/projects");
    let list = answer.json().unwrap();
    let names: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|project| project["id"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["platform-prod"]);
}

fn reached(answer: &Answer, endpoint: &Endpoint) -> bool {
    if endpoint.grpc {
        answer.grpc_status() == Some(0)
    } else {
        (200..300).contains(&answer.status)
    }
}

fn shown(answer: &Answer, endpoint: &Endpoint) -> String {
    match answer.grpc_status() {
        Some(status) if endpoint.grpc => status.to_string(),
        _ => answer.status.to_string(),
    }
}

/// The one credential of the last request upstream, by what it is.
async fn credential(world: &World, place: &str) -> String {
    let heads = usize::try_from(world.emulator.heads()).unwrap();
    let captured = world
        .emulator
        .wait_for(heads, stage::PATIENCE)
        .await
        .pop()
        .unwrap();
    let values: Vec<_> = ["authorization", "lightstep-access-token"]
        .iter()
        .flat_map(|name| captured.header(name))
        .collect();
    let [value] = values.as_slice() else {
        panic!("{place}: {} credentials went out", values.len())
    };
    for (role, shown) in [
        (Role::Viewer, "read key"),
        (Role::Editor, "write key"),
        (Role::Admin, "admin key"),
    ] {
        if *value == format!("bearer {}", Emulator::api_key(role)) {
            return shown.to_owned();
        }
    }
    let project = captured
        .project
        .unwrap_or_else(|| panic!("{place}: `{value}` opens nothing"));
    assert_eq!(*value, Emulator::access_token(&project), "{place}");
    format!("token of {project}")
}

/// Scenario: the emulator's own table beside the profile's.
/// Guarantees: two readings of Lightstep's documentation come to the same rows and the same kinds of keys.
#[test]
fn the_profile_and_the_emulator_know_the_same_rows() {
    let star = |template: &str| {
        let segments = template.split('/').map(|segment| {
            if segment.starts_with('{') {
                "*"
            } else {
                segment
            }
        });
        segments.collect::<Vec<_>>().join("/")
    };
    let profile = Profile::lightstep();
    let operations = profile
        .operations()
        .iter()
        .filter(|operation| operation.template.starts_with('/'));
    let mut ours: Vec<_> = operations
        .map(|operation| {
            let key = match operation.credential {
                Credential::Read => "read",
                Credential::Write => "write",
                Credential::Admin => "admin",
                Credential::AccessToken => "token",
            };
            format!("{} {} {key}", operation.method, star(&operation.template))
        })
        .collect();
    let key = |role| match role {
        Role::Viewer => "read",
        Role::Editor => "write",
        Role::Admin => "admin",
    };
    let mut theirs: Vec<_> = rows()
        .into_iter()
        .map(|(method, path, role)| format!("{method} {path} {}", key(role)))
        .collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
    assert!(ours.len() > 80, "{} rows", ours.len());
}
