//! What is told of the bindings that a decision considered.
//!
//! What it does: asks a policy whose bindings each lack one thing. What it refuses to know: who is shown a trace.
//! Invariant: a row is the whole trace, so that a binding too many changes it as one that is missing does.

use std::sync::Arc;

use super::{export, load, member, query};
use crate::accept::RequestKind;
use crate::apps::AppPath;
use crate::authorize::Target;
use crate::clock::UnixMillis;
use crate::identify::{Facts, Method};

const POLICY: &str = "
version: 1
apps:
  shop: { project: shop-prod }
  platform: { project: platform-prod }
bindings:
  - { name: other, subjects: [{ issuer: okta, group: other }], permissions: [ingest.*], apps: [/] }
  - { name: own, subjects: [{ issuer: okta, group: other }, { issuer: okta, group: dev }], permissions: [ingest.*], apps: [shop] }
  - { name: far, subjects: [{ issuer: okta, group: dev }], permissions: [ingest.logs], apps: [platform] }
  - { name: over, subjects: [{ issuer: okta, group: dev }], permissions: [ingest.logs], apps: [shop], until: 1970-01-01T00:00:00Z }
  - { name: wild, subjects: [{ issuer: okta, group: dev }], permissions: [\"query.*.*\"], apps: [shop] }
  - { name: fence, effect: deny, subjects: [{ any: true }], permissions: [ingest.metrics], apps: [/] }
";

/// Scenario: decisions for a person and for a client token. Guarantees: each binding that speaks of the caller is told, in the
/// policy's order, with the subject that matched first, counted from 1, or 0 where it is the one that the token was issued
/// for; and with what it has of permission, place and time.
#[test]
fn a_trace_has_every_binding_that_speaks_of_the_caller() {
    let policy = load(POLICY);
    let token = Facts {
        method: Method::ClientToken,
        attributes: Vec::new(),
        client_binding: Some(Arc::from("own")),
        ..member("none")
    };
    let (RequestKind::Ingest(logs), RequestKind::Query(tokens)) = (
        export(None),
        query("acme", &["projects", "shop-prod", "access_tokens"]),
    ) else {
        panic!()
    };
    let (shop, at_project) = (
        AppPath::parse("shop").unwrap(),
        Target::Project("shop-prod"),
    );
    let (at_app, anywhere) = (Target::App(Some(&shop)), Target::App(None));
    for (who, operation, target, expected) in [
        (
            &member("dev"),
            logs.operation,
            at_app,
            &[
                "own 2 permission place time",
                "far 1 permission time",
                "over 1 permission place",
                "wild 1 place time",
                "fence 1 place time",
            ][..],
        ),
        (
            &member("dev"),
            tokens.operation,
            at_project,
            &[
                "own 2 place time",
                "far 1 time",
                "over 1 place",
                "wild 1 withheld place time",
                "fence 1 place time",
            ],
        ),
        (
            &member("other"),
            logs.operation,
            at_app,
            &[
                "other 1 permission place time",
                "own 1 permission place time",
                "fence 1 place time",
            ],
        ),
        // Where no app is decided on, none is too far.
        (
            &member("none"),
            logs.operation,
            anywhere,
            &["fence 1 place time"],
        ),
        (
            &token,
            logs.operation,
            anywhere,
            &["own 0 permission place time", "fence 1 place time"],
        ),
        (
            &token,
            tokens.operation,
            at_project,
            &["own 0 place time", "fence 1 place time"],
        ),
    ] {
        let verdict = policy.evaluate(who, operation, target, UnixMillis(0));
        let told = verdict.trace.iter().map(|each| {
            let has = [
                (each.permission, " permission"),
                (each.withheld, " withheld"),
                (each.place, " place"),
                (each.in_force, " time"),
            ];
            let has: String = has
                .into_iter()
                .filter_map(|(has, word)| has.then_some(word))
                .collect();
            format!("{} {}{has}", each.binding, each.subject)
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            expected,
            "{:?} {operation:?} {target:?}",
            who.groups
        );
        assert!(
            policy
                .decide(who, operation, target, UnixMillis(0))
                .trace
                .is_empty()
        );
    }
}
