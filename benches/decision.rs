//! What one decision costs: a policy of 1,000 apps and 1,000 bindings, and the operation match before it.
//!
//! `cargo bench --bench decision`

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that cannot be set up should stop"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use lightkeeper::apps::AppPath;
use lightkeeper::authorize::{Policy, PolicySurroundings, Target};
use lightkeeper::clock::UnixMillis;
use lightkeeper::identify::{CertificateFacts, Doubts, Facts, Method};
use lightkeeper::profiles::Profile;

/// 100 teams of 10 apps each, every app with a project of its own, and ten bindings for each team.
fn policy_text() -> String {
    let mut text = "version: 1\napps:\n".to_owned();
    for team in 0..100 {
        let _ = write!(
            text,
            "  team{team}:\n    project: team{team}-prod\n    apps:\n"
        );
        for app in 1..10 {
            let _ = writeln!(
                text,
                "      app{app}: {{ project: team{team}-app{app}-prod }}"
            );
        }
    }
    text.push_str("bindings:\n");
    let mut bind = |name: String, effect: &str, subject: String, permissions: &str, app: String| {
        let _ = writeln!(
            text,
            "  - {{ name: {name}, effect: {effect}, subjects: [{{ {subject} }}], permissions: [{permissions}], apps: [{app}] }}"
        );
    };
    for team in 0..100 {
        let whole = || format!("team{team}");
        for app in 1..4 {
            bind(
                format!("pods-{team}-{app}"),
                "allow",
                format!("spiffe: \"spiffe://prod.acme.example/ns/team{team}-app{app}/sa/*\""),
                "ingest.*",
                format!("team{team}/app{app}"),
            );
            bind(
                format!("accounts-{team}-{app}"),
                "allow",
                format!(
                    "issuer: cluster-a, subject: \"system:serviceaccount:team{team}-app{app}:*\""
                ),
                "ingest.*",
                format!("team{team}/app{app}"),
            );
        }
        bind(
            format!("viewers-{team}"),
            "allow",
            format!("issuer: okta, group: team{team}"),
            "query.*.read",
            whole(),
        );
        bind(
            format!("editors-{team}"),
            "allow",
            format!("issuer: okta, group: team{team}-leads"),
            "query.*.read, query.*.write",
            whole(),
        );
        bind(
            format!("robot-{team}"),
            "allow",
            format!("issuer: github, subject: \"repo:acme/team{team}:ref:refs/heads/main\""),
            "query.*.write",
            whole(),
        );
        if team == 0 {
            bind(
                "frozen".to_owned(),
                "deny",
                "any: true".to_owned(),
                "query.dashboards.write",
                "team7".to_owned(),
            );
        } else {
            bind(
                format!("costs-{team}"),
                "allow",
                format!("issuer: okta, claims: {{ cost_center: cc-{team} }}"),
                "query.telemetry.read",
                whole(),
            );
        }
    }
    text
}

fn token(issuer: &str, subject: &str, groups: usize) -> Facts {
    let mut claims = serde_json::Map::new();
    for claim in ["iss", "sub", "aud", "cost_center", "email", "azp", "jti"] {
        claims.insert(claim.to_owned(), "cc-55".into());
    }
    Facts {
        method: Method::Oidc,
        issuer: Arc::from(issuer),
        subject: Arc::from(subject),
        subject_claim: None,
        groups: (0..groups)
            .map(|each| {
                if each == 0 {
                    "team42".to_owned()
                } else {
                    format!("list-{each}")
                }
            })
            .collect(),
        claims,
        certificate: None,
        attributes: Vec::new(),
        client_binding: None,
        aws: None,
        doubts: Doubts::default(),
        expires_unix_seconds: 0,
    }
}

fn certificate(spiffe: &str) -> Facts {
    Facts {
        method: Method::Mtls,
        issuer: Arc::from("mtls"),
        subject: Arc::from(spiffe),
        subject_claim: None,
        groups: Vec::new(),
        claims: serde_json::Map::new(),
        certificate: Some(Arc::new(CertificateFacts {
            ca: Arc::from("mtls"),
            spiffe: Some(spiffe.to_owned()),
            dns: Vec::new(),
            subject: String::new(),
            fingerprint: String::new(),
            serial: String::new(),
            key: String::new(),
            not_before: 0,
            not_after: 0,
        })),
        attributes: Vec::new(),
        client_binding: None,
        aws: None,
        doubts: Doubts::default(),
        expires_unix_seconds: 0,
    }
}

fn decision(criterion: &mut Criterion) {
    let profile = Profile::lightstep();
    let issuers = ["okta", "cluster-a", "github"].map(str::to_owned);
    let now = UnixMillis(0);
    let around = PolicySurroundings {
        profile: &profile,
        organization: "acme",
        issuers: &issuers,
        trust_domains: &[],
        authorities: &[],
        backends: &lightkeeper::apps::BackendNames::default(),
        aws: &[],
        destinations: &[],
        now,
    };
    let (policy, found) = Policy::load(Path::new("bench.yaml"), &policy_text(), &around);
    let policy = policy.unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(
        (
            policy.tree().nodes().count(),
            policy.binding_names().count()
        ),
        (1_001, 1_000)
    );

    let traces = profile.match_ingest("/v1/traces").unwrap().0;
    let streams = profile
        .match_query(&http::Method::GET, &["projects", "p", "streams"])
        .unwrap()
        .operation;
    let projects = profile
        .match_query(&http::Method::GET, &["projects"])
        .unwrap()
        .operation;
    let app = AppPath::parse("team42/app2").unwrap();
    let pod = certificate("spiffe://prod.acme.example/ns/team42-app2/sa/api");
    let account = token("cluster-a", "system:serviceaccount:team42-app2:api", 0);
    let person = token("okta", "ann@acme.example", 1);
    let joiner = token("okta", "bo@acme.example", 200);
    let stranger = token("okta", "mallory@acme.example", 0);
    let mut group = criterion.benchmark_group("decision");
    for (name, facts, operation, target, allowed) in [
        (
            "export, certificate, app named",
            &pod,
            traces,
            Target::App(Some(&app)),
            true,
        ),
        (
            "export, certificate, only app",
            &pod,
            traces,
            Target::App(None),
            true,
        ),
        (
            "export, service account, only app",
            &account,
            traces,
            Target::App(None),
            true,
        ),
        (
            "query, one group",
            &person,
            streams,
            Target::Project("team42-app2-prod"),
            true,
        ),
        (
            "query, 200 groups",
            &joiner,
            streams,
            Target::Project("team42-app2-prod"),
            true,
        ),
        (
            "query, denied",
            &stranger,
            streams,
            Target::Project("team42-app2-prod"),
            false,
        ),
        (
            "query, unknown project",
            &person,
            streams,
            Target::Project("unheard"),
            false,
        ),
        (
            "list of projects",
            &person,
            projects,
            Target::Projects,
            true,
        ),
    ] {
        assert_eq!(
            policy.decide(facts, operation, target, now).allowed,
            allowed,
            "{name}"
        );
        group.bench_function(name, |bench| {
            bench.iter(|| {
                policy.decide(
                    black_box(facts),
                    black_box(operation),
                    black_box(target),
                    now,
                )
            });
        });
    }
    group.finish();
}

fn operation_match(criterion: &mut Criterion) {
    let profile = Profile::lightstep();
    let mut group = criterion.benchmark_group("operation match");
    let deep = [
        "projects",
        "checkout-prod",
        "streams",
        "d8f3a1",
        "timeseries",
    ];
    let unknown = ["projects", "checkout-prod", "unheard", "1"];
    group.bench_function("query, five segments", |bench| {
        bench.iter(|| profile.match_query(black_box(&http::Method::GET), black_box(&deep)));
    });
    group.bench_function("query, unknown", |bench| {
        bench.iter(|| profile.match_query(black_box(&http::Method::GET), black_box(&unknown)));
    });
    group.bench_function("export", |bench| {
        bench.iter(|| profile.match_ingest(black_box("/v1/traces")))
    });
    group.bench_function("export, gRPC", |bench| {
        bench.iter(|| {
            profile.match_grpc(black_box(
                "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            ))
        });
    });
    group.finish();
}

criterion_group!(benches, decision, operation_match);
criterion_main!(benches);
