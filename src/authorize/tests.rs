//! From a call to a permit or a denial, and what a caller sees of the tree.
//!
//! What it does: feeds the room calls as `accept` makes them. What it refuses to know: how identities are proven; it
//! tests the judgement beneath `authorize`, because nothing but `identify` can mint one.

mod aws;
mod reaches;
mod spoken;
mod views;
mod certificates;
mod fallbacks;
mod traces;

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::accept::{Dialect, IngestRequest, OwnRequest, Protocol, QueryRequest};
use crate::apps::AppPath;
use crate::identify::Method;
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
        aws: &[],
        destinations: &[],
        backends: &crate::apps::BackendNames::default(),
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
        groups: vec![group.to_owned()],
        ..Facts::bare(Method::Oidc, "okta", "ann", 0)
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

fn reach(policy: &Policy, who: &str, app: Option<&str>) -> Result<Reach, Denial> {
    let RequestKind::Ingest(ask) = export(app) else {
        panic!()
    };
    policy.reached(&member(who), ask.operation, ask.app.as_ref(), UnixMillis(0))
}

fn node(policy: &Policy, app: &str) -> crate::apps::NodeId {
    policy.tree().find(&AppPath::parse(app).unwrap()).unwrap()
}
