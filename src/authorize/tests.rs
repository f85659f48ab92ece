//! From a call to a permit or a denial, and what a caller sees of the tree.
//!
//! What it does: feeds the room calls as `accept` makes them. What it refuses to know: how identities are proven; it
//! tests the judgement beneath `authorize`, because nothing but `identify` can mint one.

mod certificates;
mod fallbacks;
mod traces;

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::accept::{Dialect, IngestRequest, OwnRequest, Protocol, QueryRequest};
use crate::apps::AppPath;
use crate::identify::{Doubts, Method};
use crate::otlp::{Encoding, Signal};
use crate::profiles::OperationId;
use crate::reason::Reason;

const POLICY: &str = "
version: 1
apps:
  shop:
    project: shop-prod
    apps: { checkout: { project: checkout-prod }, search: {} }
  platform: { project: platform-prod }
  empty: {}
bindings:
  - { name: dev, subjects: [{ issuer: okta, group: dev }], permissions: [ingest.*, query.*.read], apps: [shop/checkout] }
  - { name: tokens, subjects: [{ issuer: okta, group: dev }], permissions: [query.access_tokens.read], apps: [shop] }
  - { name: ops, subjects: [{ issuer: okta, group: ops }], permissions: [\"query.*.*\", ingest.logs], apps: [/] }
  - { name: closed, effect: deny, subjects: [{ issuer: okta, group: ops }], permissions: [query.*.*], apps: [platform] }
  - { name: lone, subjects: [{ issuer: okta, group: lone }], permissions: [ingest.logs], apps: [empty] }
  - { name: auditors, subjects: [{ issuer: okta, group: audit }], permissions: [gateway.audit.read], apps: [shop, empty] }
  - { name: sealed, effect: deny, subjects: [{ issuer: okta, group: audit }], permissions: [gateway.*.read], apps: [shop/search] }
  - { name: over, subjects: [{ issuer: okta, group: audit }], permissions: [ingest.*], apps: [platform], until: 1970-01-01T00:00:00Z }
  - { name: stopped, subjects: [{ issuer: okta, group: stopped }], permissions: [ingest.*], apps: [platform] }
  - { name: halt, effect: deny, subjects: [{ issuer: okta, group: stopped }], permissions: [ingest.*], apps: [platform] }
  - { name: ended, effect: deny, subjects: [{ issuer: okta, group: dev }, { issuer: okta, group: none }], permissions: [ingest.*], apps: [shop/checkout], until: 1970-01-01T00:00:00Z }
  - { name: shut, subjects: [{ issuer: okta, group: shut }], permissions: [query.*.read], apps: [platform] }
  - { name: shutter, effect: deny, subjects: [{ issuer: okta, group: shut }], permissions: [query.*.*], apps: [platform] }
";

/// A policy of `acme`, whose people are `okta`'s.
fn load(text: &str) -> Policy {
    let profile = Profile::lightstep();
    let issuers = ["okta".to_owned()];
    let around = PolicySurroundings {
        profile: &profile,
        organization: "acme",
        issuers: &issuers,
        trust_domains: &[],
        authorities: &[],
        destinations: &[],
        now: UnixMillis(0),
    };
    let (policy, found) = Policy::load(Path::new("policy.yaml"), text, &around);
    policy.unwrap_or_else(|| panic!("{found:?}"))
}

fn policy() -> Policy {
    load(POLICY)
}

fn member(group: &str) -> Facts {
    Facts {
        method: Method::Oidc,
        issuer: Arc::from("okta"),
        subject: Arc::from("ann"),
        subject_claim: None,
        groups: vec![group.to_owned()],
        claims: serde_json::Map::new(),
        certificate: None,
        client_binding: None,
        doubts: Doubts::default(),
        expires_unix_seconds: 0,
    }
}

fn call(kind: RequestKind) -> Call {
    Call {
        method: http::Method::GET,
        path: "/".to_owned(),
        authority: "gw".to_owned(),
        dialect: Dialect::Otlp(Encoding::Json),
        kind,
    }
}

fn export(app: Option<&str>) -> RequestKind {
    let profile = Profile::lightstep();
    let (operation, signal, upstream_path) = profile.match_ingest("/v1/logs").unwrap();
    assert_eq!(signal, Signal::Logs);
    let app = app.map(|app| AppPath::parse(app).unwrap());
    RequestKind::Ingest(IngestRequest {
        operation,
        signal,
        protocol: Protocol::Http,
        encoding: Encoding::Json,
        patience: None,
        upstream_path,
        app,
    })
}

fn query(organization: &str, segments: &[&str]) -> RequestKind {
    let found = Profile::lightstep()
        .match_query(&http::Method::GET, segments)
        .unwrap();
    RequestKind::Query(QueryRequest {
        operation: found.operation,
        organization: organization.to_owned(),
        project: found.project,
        parameters: found.parameters,
        query: Vec::new(),
    })
}

/// Scenario: calls as `accept` makes them. Guarantees the permit's contents, or the reason of the denial.
#[test]
fn a_call_becomes_a_permit_or_a_denial_with_its_reason() {
    let policy = policy();
    let projects = ["projects"];
    let streams = ["projects", "checkout-prod", "streams"];
    let tokens = ["projects", "shop-prod", "access_tokens"];
    for (who, ask, expected) in [
        ("dev", export(None), Ok("shop/checkout checkout-prod dev -")),
        (
            "dev",
            export(Some("shop/checkout")),
            Ok("shop/checkout checkout-prod dev -"),
        ),
        ("dev", export(Some("shop")), Err(Reason::NotPermitted)),
        ("dev", export(Some("nowhere")), Err(Reason::AppUnknown)),
        ("ops", export(None), Err(Reason::AppAmbiguous)),
        (
            "ops",
            export(Some("shop/search")),
            Ok("shop/search shop-prod ops full"),
        ),
        ("ops", export(Some("empty")), Err(Reason::AppWithoutProject)),
        ("dev", export(Some("empty")), Err(Reason::NotPermitted)),
        ("lone", export(None), Err(Reason::NoWritableApp)),
        ("none", export(None), Err(Reason::NoWritableApp)),
        (
            "audit",
            export(Some("platform")),
            Err(Reason::OutsideTimeWindow),
        ),
        // A deny that has ended neither denies nor is the reason.
        (
            "none",
            export(Some("shop/checkout")),
            Err(Reason::NotPermitted),
        ),
        (
            "dev",
            query("acme", &streams),
            Ok("shop/checkout checkout-prod dev -"),
        ),
        (
            "dev",
            query("Acme", &streams),
            Err(Reason::OrganizationUnknown),
        ),
        (
            "dev",
            query("acme", &["projects", "shop-prod", "streams"]),
            Err(Reason::NotPermitted),
        ),
        (
            "dev",
            query("acme", &["projects", "unheard", "streams"]),
            Err(Reason::ProjectUnknown),
        ),
        (
            "dev",
            query("acme", &tokens),
            Ok("shop shop-prod tokens full"),
        ),
        (
            "ops",
            query("acme", &tokens),
            Err(Reason::SensitiveNotNamed),
        ),
        (
            "ops",
            query("acme", &["projects", "platform-prod"]),
            Err(Reason::DeniedByBinding),
        ),
        (
            "dev",
            query("acme", &projects),
            Ok("/ none dev - checkout-prod"),
        ),
        (
            "ops",
            query("acme", &projects),
            Ok("/ none ops - shop-prod checkout-prod"),
        ),
        ("none", query("acme", &projects), Err(Reason::NotPermitted)),
        ("ops", query("acme", &["test"]), Ok("/ none ops -")),
        ("dev", query("acme", &["test"]), Err(Reason::NotPermitted)),
        (
            "ops",
            RequestKind::Own(OwnRequest::Whoami),
            Err(Reason::OperationUnknown),
        ),
        ("ops", RequestKind::Unknown, Err(Reason::OperationUnknown)),
    ] {
        let call = call(ask);
        let judged = policy.judge(&member(who), &call, UnixMillis(0));
        let plain = judged.as_ref().map(|permit| {
            let mut words = vec![permit.app().as_str(), permit.project().unwrap_or("none")];
            words.extend(permit.bindings().iter().map(|name| &**name));
            words.push(if permit.named_in_full() { "full" } else { "-" });
            words.extend(permit.visible_projects().iter().map(|name| &**name));
            words.join(" ")
        });
        assert_eq!(
            plain.as_deref().map_err(|denial| denial.reason),
            expected,
            "{who} {:?}",
            call.kind
        );
        if let (
            Ok(permit),
            RequestKind::Ingest(IngestRequest { operation, .. })
            | RequestKind::Query(QueryRequest { operation, .. }),
        ) = (&judged, &call.kind)
        {
            assert_eq!(permit.operation(), *operation);
        }
    }
}

#[test]
fn a_denial_names_the_bindings_that_denied() {
    let denial = policy().judge(
        &member("ops"),
        &call(query("acme", &["projects", "platform-prod"])),
        UnixMillis(0),
    );
    assert_eq!(denial.unwrap_err().bindings, [Arc::from("closed")]);
    let nowhere = policy()
        .judge(&member("stopped"), &call(export(None)), UnixMillis(0))
        .unwrap_err();
    assert_eq!(
        (nowhere.reason, nowhere.bindings),
        (Reason::NoWritableApp, vec![Arc::from("halt")])
    );
}

#[test]
fn a_target_that_does_not_fit_its_operation_is_denied() {
    let policy = policy();
    let RequestKind::Query(mut ask) = query("acme", &["projects", "checkout-prod", "streams"])
    else {
        panic!()
    };
    ask.project = None;
    let reason = |operation: OperationId, target: Target<'_>| {
        policy
            .decide(&member("ops"), operation, target, UnixMillis(0))
            .reason
            .map(Reason::code)
    };
    assert_eq!(
        reason(ask.operation, Target::Organization),
        Some("evaluation_error")
    );
    assert_eq!(
        reason(ask.operation, Target::App(None)),
        Some("evaluation_error")
    );
    assert_eq!(
        reason(OperationId(u16::MAX), Target::Organization),
        Some("operation_unknown")
    );
    let denial = policy
        .judge(
            &member("ops"),
            &call(RequestKind::Query(ask)),
            UnixMillis(0),
        )
        .unwrap_err();
    assert_eq!(denial.reason, Reason::EvaluationError);
}

/// Scenario: callers walk the tree. Guarantees that a node with nothing for them looks like none.
#[test]
fn a_caller_sees_their_part_of_the_tree() {
    let policy = policy();
    let text = |who: &str, app: &str| {
        policy
            .view(&member(who), &AppPath::parse(app).unwrap(), UnixMillis(0))
            .map(|view| {
                let apps: Vec<&str> = view.apps.iter().map(AppPath::as_str).collect();
                let streams = view
                    .permissions
                    .iter()
                    .filter(|name| name.contains("streams"))
                    .count();
                format!(
                    "{:?} {} {streams} {apps:?}",
                    view.project.as_deref(),
                    view.permissions.first().map_or("", |it| it)
                )
            })
    };
    for (who, app, expected) in [
        ("dev", "/", Some("None  0 [\"shop\"]")),
        (
            "dev",
            "shop",
            Some("Some(\"shop-prod\") query.access_tokens.read 0 [\"shop/checkout\"]"),
        ),
        (
            "dev",
            "shop/checkout",
            Some("Some(\"checkout-prod\") ingest.logs 1 []"),
        ),
        ("dev", "shop/search", None),
        ("dev", "platform", None),
        ("dev", "unheard", None),
        (
            "ops",
            "platform",
            Some("Some(\"platform-prod\") ingest.logs 0 []"),
        ),
        (
            "ops",
            "shop/search",
            Some("Some(\"shop-prod\") ingest.logs 0 []"),
        ),
        ("ops", "empty", None),
        ("none", "/", Some("None  0 []")),
    ] {
        assert_eq!(text(who, app).as_deref(), expected, "{who} {app}");
    }
}

/// Scenario: the gateway's own permission. Guarantees that it means something at every app, and obeys denies.
#[test]
fn the_gateways_own_permission_is_held_at_any_app() {
    let policy = policy();
    for (who, permission, app, expected) in [
        ("audit", "gateway.audit.read", "shop", true),
        ("audit", "gateway.audit.read", "shop/checkout", true),
        ("audit", "gateway.audit.read", "shop/search", false),
        ("audit", "gateway.audit.read", "empty", true),
        ("audit", "gateway.audit.read", "/", false),
        ("audit", "gateway.audit.read", "platform", false),
        ("audit", "gateway.audit.read", "unheard", false),
        ("audit", "gateway.audit.write", "shop", false),
        ("audit", "ingest.logs", "platform", false),
        ("ops", "gateway.audit.read", "shop", false),
        ("dev", "ingest.logs", "shop/checkout", true),
        ("dev", "ingest.logs", "shop", false),
        ("dev", "query.streams.read", "shop/checkout", true),
    ] {
        let held = policy.may(
            &member(who),
            permission,
            &AppPath::parse(app).unwrap(),
            UnixMillis(0),
        );
        assert_eq!(held, expected, "{who} {permission} {app}");
    }
}

/// Scenario: the whole view, and node by node. Guarantees that both show the same nodes with the same contents, and that a
/// node which only leads to others shows nothing but its name.
#[test]
fn the_whole_view_is_the_sum_of_its_nodes() {
    let policy = policy();
    for who in ["dev", "ops", "lone", "audit", "none"] {
        let facts = member(who);
        let rows = policy.overview(&facts, UnixMillis(0));
        let mut expected = Vec::new();
        for (_, node) in policy.tree().nodes() {
            let view = policy.view(&facts, &node.path, UnixMillis(0));
            expected.extend(view.map(|view| (view.app, view.project, view.permissions)));
        }
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                let permissions = row
                    .grants
                    .iter()
                    .map(|grant| grant.permission.clone())
                    .collect::<Vec<_>>();
                (row.app.clone(), row.project.clone(), permissions)
            })
            .collect();
        assert_eq!(shown, expected, "{who}");
        for row in &rows {
            assert!(
                row.grants.iter().all(|grant| !grant.bindings.is_empty()),
                "{who} {}",
                row.app
            );
            assert!(
                !row.grants.is_empty() || (row.owners.is_empty() && !row.is_home),
                "{who} {}",
                row.app
            );
        }
    }
    let rows = policy.overview(&member("dev"), UnixMillis(0));
    let told = |app: &str, permission: &str| {
        let row = rows.iter().find(|row| row.app.as_str() == app)?;
        let grant = row
            .grants
            .iter()
            .find(|grant| grant.permission == permission)?;
        Some(
            grant
                .bindings
                .iter()
                .map(|name| &**name)
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    assert_eq!(told("shop/checkout", "ingest.logs").as_deref(), Some("dev"));
    assert_eq!(
        told("shop/checkout", "query.access_tokens.read").as_deref(),
        Some("tokens")
    );
    assert_eq!(told("shop", "ingest.logs"), None);
    assert!(
        rows.iter()
            .any(|row| row.app.as_str() == "shop/checkout" && row.is_home && row.depth == 2)
    );
    assert!(
        rows.iter().any(|row| row.holds("query.*.read"))
            && !rows.iter().any(|row| row.holds("query.*.write"))
    );
}

const EXPORTS: &str = "
version: 1
apps:
  shop:
    project: shop-prod
    services: [shop]
    quota: { items_per_second: 100 }
    apps:
      checkout: { project: checkout-prod, services: [checkout], quota: { bytes_per_second: 1KiB } }
      search: {}
  platform: { project: platform-prod, services: [kubelet] }
  empty: {}
bindings:
  - { name: pod, subjects: [{ issuer: okta, group: pod }], permissions: [ingest.*], apps: [shop/checkout], quota: { items_per_second: 5 } }
  - { name: all, subjects: [{ issuer: okta, group: all }], permissions: [ingest.*], apps: [/], quota: { items_per_second: 9 } }
  - { name: part, subjects: [{ issuer: okta, group: all }], permissions: [ingest.logs], apps: [shop/checkout], quota: { items_per_second: 7 } }
  - { name: fence, effect: deny, subjects: [{ issuer: okta, group: all }], permissions: [ingest.*], apps: [platform] }
  - { name: two, subjects: [{ issuer: okta, group: two }], permissions: [ingest.*], apps: [shop/checkout, shop/search] }
  - { name: far, subjects: [{ issuer: okta, group: far }], permissions: [ingest.*], apps: [shop/checkout, platform] }
";

fn exports() -> Policy {
    load(EXPORTS)
}

fn reach(policy: &Policy, who: &str, app: Option<&str>) -> Result<Reach, Denial> {
    let RequestKind::Ingest(ask) = export(app) else {
        panic!()
    };
    policy.reached(&member(who), ask.operation, ask.app.as_ref(), UnixMillis(0))
}

fn node(policy: &Policy, app: &str) -> crate::apps::NodeId {
    policy.tree().find(&AppPath::parse(app).unwrap()).unwrap()
}

/// Scenario: heads, and a service under each. Guarantees the app, and that its permit holds what `authorize` would.
#[test]
fn a_reach_leads_to_the_permit_of_the_assigned_app() {
    let policy = exports();
    for (who, app, service, expected) in [
        (
            "pod",
            None,
            "checkout",
            Ok("shop/checkout checkout-prod pod"),
        ),
        (
            "pod",
            None,
            "unheard",
            Ok("shop/checkout checkout-prod pod"),
        ),
        ("pod", None, "shop", Err("service_foreign")),
        ("all", None, "shop", Ok("shop shop-prod all")),
        (
            "all",
            None,
            "checkout",
            Ok("shop/checkout checkout-prod all part"),
        ),
        (
            "all",
            Some("shop/search"),
            "checkout",
            Ok("shop/search shop-prod all"),
        ),
        ("all", None, "kubelet", Err("service_foreign fence")),
        ("all", None, "unheard", Err("app_ambiguous")),
        (
            "all",
            Some("platform"),
            "checkout",
            Err("denied_by_binding fence"),
        ),
        ("all", Some("empty"), "checkout", Err("app_without_project")),
        ("none", None, "checkout", Err("no_writable_app")),
        ("none", Some("unheard"), "checkout", Err("app_unknown")),
    ] {
        let permitted = reach(&policy, who, app).and_then(|reach| {
            let mark = |name: &str| match name {
                "service.name" => crate::apps::Mark::Text(service.into()),
                _ => crate::apps::Mark::Absent,
            };
            let node = policy.assign(&reach, &mark)?;
            let explained = policy.explain_assignment(
                &member(who),
                reach.operation(),
                app.and_then(AppPath::parse).as_ref(),
                &mark,
                UnixMillis(0),
            );
            let permit = policy.permit(&reach, node)?;
            assert_eq!(explained.verdict.app.as_ref(), Some(permit.app()));
            assert_eq!(explained.verdict.bindings, permit.bindings());
            Ok(permit)
        });
        let words = |first: &str, bindings: &[Arc<str>]| {
            std::iter::once(first)
                .chain(bindings.iter().map(|name| &**name))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let told = match &permitted {
            Ok(permit) => Ok(words(
                &format!("{} {}", permit.app(), permit.project().unwrap()),
                permit.bindings(),
            )),
            Err(denial) => Err(words(denial.reason.code(), &denial.bindings)),
        };
        assert_eq!(
            told.as_deref().map_err(String::as_str),
            expected,
            "{who} {app:?} {service}"
        );
    }
}

/// Scenario: a permit is asked for every app of every reach. Guarantees that it is given where `decide` allows, nowhere else.
#[test]
fn a_reach_permits_exactly_what_is_decided() {
    let policy = exports();
    let RequestKind::Ingest(ask) = export(None) else {
        panic!()
    };
    for who in ["pod", "all", "two", "far"] {
        let reach = reach(&policy, who, None).unwrap();
        for (id, app) in policy.tree().nodes() {
            let decided = policy.decide(
                &member(who),
                ask.operation,
                Target::App(Some(&app.path)),
                UnixMillis(0),
            );
            let permit = policy.permit(&reach, id);
            assert_eq!(
                permit.as_ref().err().map(|denial| denial.reason),
                decided.reason,
                "{who} {}",
                app.path
            );
            assert_eq!(
                permit
                    .ok()
                    .map(|permit| permit.project().map(str::to_owned)),
                decided
                    .allowed
                    .then_some(decided.project.as_deref().map(str::to_owned))
            );
        }
    }
}

/// Scenario: the policy is taken over anew between head and body. Guarantees that the old reach is worth nothing.
#[test]
fn a_reach_counts_for_the_policy_that_made_it() {
    let (before, after) = (exports(), exports());
    let reach = reach(&before, "pod", None).unwrap();
    let checkout = node(&after, "shop/checkout");
    assert_eq!(
        before.permit(&reach, checkout).unwrap().app().as_str(),
        "shop/checkout"
    );
    let reason = Some(Reason::EvaluationError);
    assert_eq!(
        after
            .permit(&reach, checkout)
            .err()
            .map(|denial| denial.reason),
        reason
    );
    assert_eq!(
        after
            .assign(&reach, &|_| crate::apps::Mark::Absent)
            .err()
            .map(|denial| denial.reason),
        reason
    );
}

/// Scenario: heads of several callers. Guarantees that only quotas which every part is held to are foreseen.
#[test]
fn quotas_are_foreseen_where_they_cannot_be_avoided() {
    let policy = exports();
    for (who, app, expected) in [
        (
            "pod",
            None,
            &["app:shop/checkout", "app:shop", "binding:pod"][..],
        ),
        (
            "pod",
            Some("shop/checkout"),
            &["app:shop/checkout", "app:shop", "binding:pod"],
        ),
        ("two", None, &["app:shop"]),
        ("far", None, &[]),
        ("all", None, &["binding:all"]),
        (
            "all",
            Some("shop/checkout"),
            &[
                "app:shop/checkout",
                "app:shop",
                "binding:all",
                "binding:part",
            ],
        ),
        ("all", Some("shop"), &["app:shop", "binding:all"]),
    ] {
        let reach = reach(&policy, who, app).unwrap();
        let keys: Vec<_> = policy
            .quotas_in_any_case(&reach)
            .into_iter()
            .map(|(key, _)| key.to_string())
            .collect();
        assert_eq!(keys, expected, "{who} {app:?}");
    }
}
