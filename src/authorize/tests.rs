//! From a call to a permit or a denial, and what a caller sees of the tree.
//!
//! What it does: feeds the room calls as `accept` makes them. What it refuses to know: how identities are proven; it
//! tests the judgement beneath `authorize`, because nothing but `identify` can mint one.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::accept::{Dialect, IngestAsk, OwnAsk, Protocol, QueryAsk};
use crate::apps::AppPath;
use crate::identify::Method;
use crate::otlp::{Encoding, Signal};
use crate::profiles::OperationId;

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
";

fn policy() -> Policy {
    let profile = Profile::lightstep();
    let issuers = ["okta".to_owned()];
    let around = Surroundings { profile: &profile, organization: "acme", issuers: &issuers, now: UnixMillis(0) };
    let (policy, found) = Policy::load(Path::new("policy.yaml"), POLICY, &around);
    policy.unwrap_or_else(|| panic!("{found:?}"))
}

fn member(group: &str) -> Facts {
    Facts {
        method: Method::Oidc,
        issuer: Arc::from("okta"),
        subject: Arc::from("ann"),
        groups: vec![group.to_owned()],
        claims: serde_json::Map::new(),
        certificate: None,
        expires_unix_seconds: 0,
    }
}

fn call(ask: Ask) -> Call {
    Call {
        method: http::Method::GET,
        path: "/".to_owned(),
        authority: "gw".to_owned(),
        dialect: Dialect::Otlp(Encoding::Json),
        ask,
    }
}

fn export(app: Option<&str>) -> Ask {
    let profile = Profile::lightstep();
    let (operation, signal, upstream_path) = profile.match_ingest("/v1/logs").unwrap();
    assert_eq!(signal, Signal::Logs);
    let app = app.map(|app| AppPath::parse(app).unwrap());
    Ask::Ingest(IngestAsk { operation, signal, protocol: Protocol::Http, upstream_path, app })
}

fn query(organization: &str, segments: &[&str]) -> Ask {
    let found = Profile::lightstep().match_query(&http::Method::GET, segments).unwrap();
    Ask::Query(QueryAsk {
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
        ("dev", export(Some("shop/checkout")), Ok("shop/checkout checkout-prod dev -")),
        ("dev", export(Some("shop")), Err(DenialReason::NotPermitted)),
        ("dev", export(Some("nowhere")), Err(DenialReason::AppUnknown)),
        ("ops", export(None), Err(DenialReason::AppAmbiguous)),
        ("ops", export(Some("shop/search")), Ok("shop/search shop-prod ops full")),
        ("ops", export(Some("empty")), Err(DenialReason::AppWithoutProject)),
        ("lone", export(None), Err(DenialReason::NoWritableApp)),
        ("none", export(None), Err(DenialReason::NoWritableApp)),
        ("dev", query("acme", &streams), Ok("shop/checkout checkout-prod dev -")),
        ("dev", query("Acme", &streams), Err(DenialReason::OrganizationUnknown)),
        ("dev", query("acme", &["projects", "shop-prod", "streams"]), Err(DenialReason::NotPermitted)),
        ("dev", query("acme", &["projects", "unheard", "streams"]), Err(DenialReason::ProjectUnknown)),
        ("dev", query("acme", &tokens), Ok("shop shop-prod tokens full")),
        ("ops", query("acme", &tokens), Err(DenialReason::SensitiveNotNamed)),
        ("ops", query("acme", &["projects", "platform-prod"]), Err(DenialReason::DeniedByBinding)),
        ("dev", query("acme", &projects), Ok("/ none dev - checkout-prod")),
        ("ops", query("acme", &projects), Ok("/ none ops - shop-prod checkout-prod")),
        ("none", query("acme", &projects), Err(DenialReason::NotPermitted)),
        ("ops", query("acme", &["test"]), Ok("/ none ops -")),
        ("dev", query("acme", &["test"]), Err(DenialReason::NotPermitted)),
        ("ops", Ask::Own(OwnAsk::Whoami), Err(DenialReason::OperationUnknown)),
        ("ops", Ask::Unknown, Err(DenialReason::OperationUnknown)),
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
        assert_eq!(plain.as_deref().map_err(|denial| denial.reason), expected, "{who} {:?}", call.ask);
        if let (Ok(permit), Ask::Ingest(IngestAsk { operation, .. }) | Ask::Query(QueryAsk { operation, .. })) =
            (&judged, &call.ask)
        {
            assert_eq!(permit.operation(), *operation);
        }
    }
}

#[test]
fn a_denial_names_the_bindings_that_denied() {
    let denial = policy().judge(&member("ops"), &call(query("acme", &["projects", "platform-prod"])), UnixMillis(0));
    assert_eq!(denial.unwrap_err().bindings, [Arc::from("closed")]);
}

#[test]
fn a_target_that_does_not_fit_its_operation_is_denied() {
    let policy = policy();
    let Ask::Query(mut ask) = query("acme", &["projects", "checkout-prod", "streams"]) else { panic!() };
    ask.project = None;
    let reason = |operation: OperationId, target: Target<'_>| {
        policy.decide(&member("ops"), operation, target, UnixMillis(0)).reason.map(DenialReason::code)
    };
    assert_eq!(reason(ask.operation, Target::Organization), Some("evaluation_error"));
    assert_eq!(reason(ask.operation, Target::App(None)), Some("evaluation_error"));
    assert_eq!(reason(OperationId(u16::MAX), Target::Organization), Some("operation_unknown"));
    let denial = policy.judge(&member("ops"), &call(Ask::Query(ask)), UnixMillis(0)).unwrap_err();
    assert_eq!(denial.reason, DenialReason::EvaluationError);
}

#[test]
fn reasons_have_distinct_stable_codes() {
    let codes: std::collections::BTreeSet<&str> = DenialReason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes.len(), DenialReason::ALL.len());
}

/// Scenario: callers walk the tree. Guarantees that a node with nothing for them looks like none.
#[test]
fn a_caller_sees_their_part_of_the_tree() {
    let policy = policy();
    let text = |who: &str, app: &str| {
        policy.view(&member(who), &AppPath::parse(app).unwrap(), UnixMillis(0)).map(|view| {
            let apps: Vec<&str> = view.apps.iter().map(AppPath::as_str).collect();
            let streams = view.permissions.iter().filter(|name| name.contains("streams")).count();
            format!("{:?} {} {streams} {apps:?}", view.project.as_deref(), view.permissions.first().map_or("", |it| it))
        })
    };
    for (who, app, expected) in [
        ("dev", "/", Some("None  0 [\"shop\"]")),
        ("dev", "shop", Some("Some(\"shop-prod\") query.access_tokens.read 0 [\"shop/checkout\"]")),
        ("dev", "shop/checkout", Some("Some(\"checkout-prod\") ingest.logs 1 []")),
        ("dev", "shop/search", None),
        ("dev", "platform", None),
        ("dev", "unheard", None),
        ("ops", "platform", Some("Some(\"platform-prod\") ingest.logs 0 []")),
        ("ops", "shop/search", Some("Some(\"shop-prod\") ingest.logs 0 []")),
        ("ops", "empty", None),
        ("none", "/", Some("None  0 []")),
    ] {
        assert_eq!(text(who, app).as_deref(), expected, "{who} {app}");
    }
}
