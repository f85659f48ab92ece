//! Where an export goes that names no app, and what is told of projects.
//!
//! What it does: asks a policy with every rule for unknown services. What it refuses to know: heads and bodies. Invariant: a
//! row says the app or the reason, so that a rule that is not looked at changes a row.

use std::sync::Arc;

use super::{call, export, load, member, node, policy, query, reach};
use crate::accept::RequestKind;
use crate::apps::Mark;
use crate::clock::UnixMillis;
use crate::reason::Reason;

const POLICY: &str = "
version: 1
apps:
  shop:
    project: shop-prod
    apps:
      checkout: { project: checkout-prod, services: [checkout] }
      search: { project: search-prod }
bindings:
  - { name: default, subjects: [{ issuer: okta, group: default }], permissions: [ingest.*], apps: [shop], unknown_services: default_app, default_app: shop/search }
  - { name: reject, subjects: [{ issuer: okta, group: reject }], permissions: [ingest.*], apps: [shop/checkout], unknown_services: reject }
  - { name: one, subjects: [{ issuer: okta, group: same }], permissions: [ingest.*], apps: [shop/checkout] }
  - { name: again, subjects: [{ issuer: okta, group: same }], permissions: [ingest.logs], apps: [shop/checkout] }
  - { name: closed, subjects: [{ issuer: okta, group: closed }], permissions: [ingest.*], apps: [shop], unknown_services: default_app, default_app: shop/search }
  - { name: fence, effect: deny, subjects: [{ issuer: okta, group: closed }], permissions: [ingest.*], apps: [shop/search] }
";

/// Scenario: an export whose service no app claims, and one that is not read. Guarantees: the first goes where a
/// binding's rule for unknown services says; the second has no service that could be unknown; two bindings that lead to
/// one app agree.
#[test]
fn an_export_without_an_app_goes_where_a_binding_says() {
    let policy = load(POLICY);
    let search = Ok("shop/search");
    let checkout = Ok("shop/checkout");
    for (who, read, streamed) in [
        ("default", search, search),
        ("reject", Err(Reason::ServiceUnknown), checkout),
        ("same", checkout, checkout),
        (
            "closed",
            Err(Reason::NoWritableApp),
            Err(Reason::NoWritableApp),
        ),
    ] {
        let mark = |name: &str| match name {
            "service.name" => Mark::Text("unheard".into()),
            _ => Mark::Absent,
        };
        let assigned = reach(&policy, who, None).and_then(|reach| policy.assign(&reach, &mark));
        let expected = read.map(|app| node(&policy, app));
        assert_eq!(assigned.map_err(|denial| denial.reason), expected, "{who}");
        let judged = policy.judge(&member(who), &call(export(None)), UnixMillis(0));
        let told = judged
            .as_ref()
            .map(|permit| permit.app().as_str())
            .map_err(|denial| denial.reason);
        assert_eq!(told, streamed, "{who}");
    }
}

/// Scenario: an operation of projects, and one on all of them. Guarantees: what is held where, and that a denial of the list
/// names the bindings that deny.
#[test]
fn what_is_held_of_projects_is_told() {
    let policy = policy();
    let RequestKind::Query(streams) = query("acme", &["projects", "checkout-prod", "streams"])
    else {
        panic!()
    };
    let now = UnixMillis(0);
    for (who, held) in [
        ("dev", &["checkout-prod"][..]),
        ("ops", &["shop-prod", "checkout-prod"]),
        ("none", &[]),
    ] {
        let projects = policy.projects_held(&member(who), streams.operation, now);
        assert_eq!(
            projects.iter().map(|name| &**name).collect::<Vec<_>>(),
            held,
            "{who}"
        );
        for project in ["shop-prod", "checkout-prod", "platform-prod", "unheard"] {
            let is_held = policy.holds_at(&member(who), streams.operation, project, now);
            assert_eq!(is_held, held.contains(&project), "{who} {project}");
        }
    }
    let denial = policy
        .judge(&member("shut"), &call(query("acme", &["projects"])), now)
        .unwrap_err();
    assert_eq!(
        (denial.reason, denial.bindings),
        (Reason::DeniedByBinding, vec![Arc::from("shutter")])
    );
}
