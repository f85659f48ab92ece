//! From an export's head to its reach, and to the permit of each app. What it refuses to know: bodies; an app is named by what a
//! resource would say.

use super::*;

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
