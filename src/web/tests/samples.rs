//! One organization's day, as views: each page as people will meet it.
//!
//! What it does: names one view for each golden file. What it refuses to know: how views are gathered.

use crate::reason::Reason;
use crate::view::*;

const NOW: &str = "2026-11-22T23:14:05Z";

pub(crate) fn frame() -> Frame {
    Frame {
        organization: "acme".into(),
        visitor: Some(Visitor {
            name: "Ada Lovelace".into(),
            issuer: "okta".into(),
            subject: "00u1a2b3c4d5".into(),
            method: "session",
            groups: vec!["checkout-devs".into(), "sre".into(), "everyone".into()],
            expires: Some("2026-11-23T07:02:11Z".into()),
            csrf: Some("k3vQ9sample".into()),
        }),
        request_id: "01khxq7v4me8sample".into(),
        can_log_in: true,
        time: NOW.into(),
    }
}

pub(crate) fn stranger() -> Frame {
    Frame {
        visitor: None,
        ..frame()
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn live(items: f64, errors: u64, ago: &str) -> Option<LiveView> {
    Some(LiveView {
        items_per_second: items,
        bytes_per_second: items * 412.0,
        errors_per_minute: errors,
        last_seen: Some("2026-11-22T23:14:02Z".into()),
        last_seen_ago: Some(ago.into()),
    })
}

fn row(
    app: &str,
    project: Option<&str>,
    may: &str,
    live: Option<LiveView>,
    firing: Option<u64>,
) -> TreeRow {
    let root = app == "/";
    TreeRow {
        app: app.into(),
        name: if root {
            "acme"
        } else {
            app.rsplit('/').next().unwrap()
        }
        .into(),
        depth: if root { 0 } else { app.split('/').count() },
        project: project.map(str::to_owned),
        owners: match app {
            "/" => strings(&["observability@acme.example"]),
            "shop" => strings(&["shop-leads@acme.example"]),
            "shop/payments" => strings(&[
                "pay-a@acme.example",
                "pay-b@acme.example",
                "pay-c@acme.example",
            ]),
            _ => Vec::new(),
        },
        can_write: may.contains('w'),
        can_read: may.contains('r'),
        can_audit: may.contains('a'),
        live,
        firing,
    }
}

pub(crate) fn tree() -> TreeView {
    TreeView {
        filter: None,
        rows: vec![
            row("/", None, "", live(48_213.4, 12, "1 s ago"), Some(3)),
            row(
                "platform",
                Some("platform-prod"),
                "r",
                live(18_420.0, 0, "1 s ago"),
                Some(0),
            ),
            row(
                "platform/ingress",
                None,
                "",
                live(12_306.2, 0, "1 s ago"),
                Some(0),
            ),
            row(
                "platform/ingress/edge",
                None,
                "",
                live(4_120.0, 0, "4 s ago"),
                Some(0),
            ),
            row(
                "shop",
                Some("shop-prod"),
                "ra",
                live(29_793.4, 12, "2 s ago"),
                Some(3),
            ),
            row(
                "shop/catalog",
                Some("catalog-prod"),
                "r",
                live(9_410.7, 0, "2 s ago"),
                Some(0),
            ),
            row(
                "shop/checkout",
                Some("checkout-prod"),
                "wra",
                live(1_204.5, 12, "3 s ago"),
                Some(2),
            ),
            row(
                "shop/checkout/carts",
                None,
                "w",
                live(310.0, 0, "3 s ago"),
                Some(0),
            ),
            row(
                "shop/payments",
                Some("payments-prod"),
                "r",
                live(612.0, 0, "2 s ago"),
                None,
            ),
            row("shop/payments/ledger", None, "", None, None),
            row(
                "shop/search",
                Some("search-prod"),
                "",
                live(0.0, 0, "2 h ago"),
                Some(1),
            ),
        ],
        alert_errors: strings(&["payments-prod: the backend did not answer within 2 s"]),
    }
}

pub(crate) fn filtered(fits: bool) -> TreeView {
    let mut rows = tree().rows;
    rows.retain(|row| fits && ["/", "shop", "shop/checkout"].contains(&row.app.as_str()));
    TreeView {
        filter: Some("checkout".into()),
        rows,
        alert_errors: Vec::new(),
    }
}

fn link(title: &str, url: &str) -> Link {
    Link {
        title: title.into(),
        url: url.into(),
    }
}

fn sender(subject: &str, issuer: &str, method: &'static str, ago: &str) -> SenderRow {
    SenderRow {
        subject: subject.into(),
        issuer: issuer.into(),
        method,
        last_seen_ago: ago.into(),
    }
}

fn service(name: &str, items: f64, senders: Vec<SenderRow>) -> ServiceRow {
    ServiceRow {
        name: name.into(),
        items_per_second: items,
        last_seen: Some("2026-11-22T23:14:02Z".into()),
        last_seen_ago: Some("3 s ago".into()),
        link: Some(format!(
            "https://app.lightstep.com/checkout-prod/service-directory/{name}/deployments"
        )),
        senders,
    }
}

fn leg(backend: &str, mode: &'static str, items: Option<(u64, u64)>) -> LegRow {
    let items = items.map(|(sent, accepted)| LegItems {
        sent,
        accepted,
        rejected: 2,
        refused: 0,
        dropped: sent - accepted - 2,
        accepted_by_own: sent,
    });
    LegRow {
        backend: backend.into(),
        mode,
        items,
    }
}

fn alert(name: &str, state: &str, since: Option<&str>) -> AlertRow {
    AlertRow {
        name: name.into(),
        app: "shop/checkout".into(),
        project: "checkout-prod".into(),
        state: state.into(),
        since: since.map(str::to_owned),
        links: vec![
            link("Alert", "https://app.lightstep.com/checkout-prod/alerts/a1"),
            link(
                "Traces",
                "https://app.lightstep.com/checkout-prod/explorer?at=a1",
            ),
        ],
    }
}

fn grant(permission: &str, bindings: &[&str]) -> GrantRow {
    GrantRow {
        permission: permission.into(),
        bindings: strings(bindings),
    }
}

fn snippet(title: &str, text: &str) -> Snippet {
    Snippet {
        title: title.into(),
        text: text.into(),
    }
}

pub(crate) fn app() -> AppView {
    AppView {
        app: "shop/checkout".into(),
        name: "checkout".into(),
        trail: vec![("/".into(), "acme".into()), ("shop".into(), "shop".into())],
        project: Some("checkout-prod".into()),
        project_home: None,
        backend: Some("lightstep".into()),
        legs: vec![
            leg("honeycomb", "require", Some((12_480, 12_478))),
            leg("newrelic", "mirror", Some((9_000, 8_000))),
        ],
        owners: strings(&["checkout@acme.example", "shop-leads@acme.example"]),
        apps: vec![
            ("shop/checkout/carts".into(), "carts".into()),
            ("shop/checkout/vouchers".into(), "vouchers".into()),
        ],
        live: live(1_204.5, 12, "3 s ago"),
        services: vec![
            service(
                "checkout",
                1_090.2,
                vec![
                    sender(
                        "spiffe://prod.acme.example/ns/checkout/sa/api",
                        "prod.acme.example",
                        "mtls",
                        "3 s ago",
                    ),
                    sender(
                        "system:serviceaccount:checkout:api",
                        "cluster-a",
                        "oidc",
                        "1 min ago",
                    ),
                ],
            ),
            service(
                "checkout-worker",
                114.3,
                vec![sender(
                    "ci-smoke",
                    "client tokens",
                    "client_token",
                    "20 s ago",
                )],
            ),
        ],
        grants: vec![
            grant("ingest.traces", &["checkout-devs"]),
            grant("query.dashboards.read", &["checkout-devs", "sre"]),
            grant("query.streams.read", &["sre"]),
            grant("gateway.audit.read", &["checkout-leads"]),
        ],
        snippets: vec![
            snippet(
                "OpenTelemetry SDK",
                "export OTEL_EXPORTER_OTLP_ENDPOINT=https://gateway.acme.example/apps/shop/checkout/-\nexport OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nexport OTEL_EXPORTER_OTLP_HEADERS=\"authorization=Bearer $(cat /var/run/secrets/lightkeeper/token)\"",
            ),
            snippet(
                "curl",
                "curl -H \"Authorization: Bearer $(lightkeeper token)\" \\\n  https://gateway.acme.example/apps/shop/checkout/-/alerts",
            ),
            snippet(
                "Terraform",
                "provider \"lightstep\" {\n  organization = \"acme\"\n}",
            ),
        ],
        links: vec![link(
            "Services in Lightstep",
            "https://app.lightstep.com/checkout-prod/service-directory",
        )],
        alerts: vec![
            alert(
                "Checkout latency p99",
                "firing",
                Some("2026-11-22T22:58:40Z"),
            ),
            alert("Checkout error ratio", "ok", None),
            alert("Carts throughput", "no_data", None),
        ],
        alert_errors: Vec::new(),
        is_unasked: false,
        can_audit: true,
    }
}

/// An app of which its visitor may see little.
pub(crate) fn bare_app() -> AppView {
    AppView {
        app: "shop/payments/ledger".into(),
        name: "ledger".into(),
        trail: vec![
            ("/".into(), "acme".into()),
            ("shop".into(), "shop".into()),
            ("shop/payments".into(), "payments".into()),
        ],
        project: Some("payments-prod".into()),
        project_home: Some("shop/payments".into()),
        backend: Some("lightstep".into()),
        legs: vec![leg("honeycomb", "mirror", None)],
        alert_errors: strings(&["payments-prod: not permitted"]),
        ..AppView::default()
    }
}

pub(crate) fn decision(allowed: bool) -> DecisionRow {
    DecisionRow {
        time: "2026-11-22T23:13:48.204Z".into(),
        request_id: "01khxq6w1tn3sample".into(),
        subject: "00u1a2b3c4d5".into(),
        issuer: "okta".into(),
        http_method: "POST".into(),
        path: "/public/v0.2/acme/projects/payments-prod/streams".into(),
        operation: "query.streams.write".into(),
        app: "shop/payments".into(),
        decision: if allowed { "allow" } else { "deny" }.into(),
        reason: match allowed {
            true => Reason::Ok,
            false => Reason::NotPermitted,
        },
        bindings: if allowed {
            strings(&["payments-editors"])
        } else {
            Vec::new()
        },
        status: Some(if allowed { 200 } else { 403 }),
    }
}

fn stage(room: &str, outcome: Reason, details: &[(&str, &str)]) -> Stage {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Stage {
        room: room.into(),
        outcome,
        details: details.iter().map(pair).collect(),
    }
}

pub(crate) fn explained(allowed: bool) -> ExplainView {
    let accept = stage(
        "accept",
        Reason::Ok,
        &[
            ("operation", "query.streams.write"),
            ("path", "/public/v0.2/acme/projects/payments-prod/streams"),
        ],
    );
    let identify = stage(
        "identify",
        Reason::Ok,
        &[
            ("method", "session"),
            ("issuer", "okta"),
            ("subject", "00u1a2b3c4d5"),
        ],
    );
    let mut stages = vec![accept, identify];
    stages.extend(match allowed {
        true => vec![
            stage(
                "authorize",
                Reason::Ok,
                &[("app", "shop/payments"), ("bindings", "payments-editors")],
            ),
            stage(
                "route",
                Reason::Ok,
                &[("project", "payments-prod"), ("upstream", "query")],
            ),
        ],
        false => {
            vec![stage(
                "authorize",
                Reason::NotPermitted,
                &[("app", "shop/payments"), ("missing", "query.streams.write")],
            )]
        }
    });
    let advice = "Ask an owner of shop/payments (pay-a@acme.example) to bind you, or one of your groups, to a role with query.streams.write.";
    ExplainView {
        request_id: "01khxq6w1tn3sample".into(),
        found: Some(decision(allowed)),
        story: Some(Story {
            allowed,
            stages,
            advice: (!allowed).then(|| advice.into()),
        }),
        ..ExplainView::default()
    }
}

pub(crate) fn mistaken() -> ExplainView {
    ExplainView {
        method: "GET".into(),
        path: "/v1//traces".into(),
        mistake: Some(
            "`/v1//traces` is no path that the gateway reads: it has an empty segment".into(),
        ),
        ..ExplainView::default()
    }
}

pub(crate) fn decisions() -> DecisionsView {
    let export = DecisionRow {
        subject: "spiffe://prod.acme.example/ns/checkout/sa/api".into(),
        issuer: "prod.acme.example".into(),
        path: "/v1/traces".into(),
        operation: "ingest.traces".into(),
        app: "shop/checkout".into(),
        request_id: "01khxq6vz9a1sample".into(),
        bindings: strings(&["checkout-pods"]),
        ..decision(true)
    };
    let unknown = DecisionRow {
        subject: "system:serviceaccount:search:indexer".into(),
        issuer: "cluster-a".into(),
        path: "/v1/logs".into(),
        operation: "ingest.logs".into(),
        app: String::new(),
        reason: Reason::AppAmbiguous,
        request_id: "01khxq6vx0b7sample".into(),
        status: Some(400),
        ..decision(false)
    };
    DecisionsView {
        remembered_since: Some("2026-11-22T09:14:31.202Z".into()),
        app: "shop".into(),
        trail: vec![("/".into(), "acme".into()), ("shop".into(), "shop".into())],
        rows: vec![decision(false), export, unknown, decision(true)],
        search: None,
    }
}

/// The same out of the audit trail, of which a part was looked at.
pub(crate) fn searched() -> DecisionsView {
    DecisionsView {
        remembered_since: None,
        search: Some(Box::new(SearchView {
            subject: "ann@acme.example".into(),
            decision: "deny".into(),
            since: "2026-11-01".into(),
            back_to: Some("2026-11-20T03:00:00.000Z".into()),
            bytes: 268_435_456,
            ..SearchView::default()
        })),
        ..decisions()
    }
}

pub(crate) fn unsearched() -> DecisionsView {
    DecisionsView {
        rows: Vec::new(),
        search: Some(Box::new(SearchView {
            since: "yesterday".into(),
            mistake: Some("`yesterday` is no time: write it as in `2026-11-30T08:00:00Z`".into()),
            ..SearchView::default()
        })),
        ..decisions()
    }
}

pub(crate) fn fault(status: u16, words: &str, advice: Option<&str>) -> FaultView {
    FaultView {
        status,
        words: words.into(),
        advice: advice.map(str::to_owned),
        return_to: Some("/.lightkeeper/apps/shop".into()),
    }
}

/// Every page, by the name of its golden file.
pub(crate) fn all() -> Vec<(&'static str, Frame, Page)> {
    let logs_in = Some("Try again in a minute. Who is logged in stays so.");
    let empty = DecisionsView {
        rows: Vec::new(),
        ..decisions()
    };
    vec![
        ("tree", frame(), Page::Tree(tree())),
        ("tree-filtered", frame(), Page::Tree(filtered(true))),
        ("tree-no-fit", frame(), Page::Tree(filtered(false))),
        ("tree-empty", frame(), Page::Tree(TreeView::default())),
        ("app", frame(), Page::App(Box::new(app()))),
        ("app-bare", frame(), Page::App(Box::new(bare_app()))),
        ("explain", frame(), Page::Explain(Box::default())),
        (
            "explain-mistake",
            frame(),
            Page::Explain(Box::new(mistaken())),
        ),
        (
            "explain-refused",
            frame(),
            Page::Explain(Box::new(explained(false))),
        ),
        (
            "explain-allowed",
            frame(),
            Page::Explain(Box::new(explained(true))),
        ),
        ("decisions", frame(), Page::Decisions(decisions())),
        ("decisions-empty", frame(), Page::Decisions(empty)),
        ("decisions-searched", frame(), Page::Decisions(searched())),
        ("decisions-mistake", frame(), Page::Decisions(unsearched())),
        ("signed-out", stranger(), Page::SignedOut),
        (
            "fault-401",
            stranger(),
            Page::Fault(fault(401, "no person is logged in", None)),
        ),
        (
            "fault-403",
            frame(),
            Page::Fault(fault(403, "not permitted", None)),
        ),
        (
            "fault-404",
            frame(),
            Page::Fault(fault(404, "no such page", None)),
        ),
        (
            "fault-503",
            stranger(),
            Page::Fault(fault(503, "the identity provider does not answer", logs_in)),
        ),
    ]
}
