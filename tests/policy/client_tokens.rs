//! What holders of client tokens may do beside their own binding. What it refuses to know: who knows which token.

use std::sync::Arc;

use super::{NOW, decide, facts, load_sound};
use lightkeeper::reason::Reason;

/// Scenario: bindings of everybody beside a client token's own. Guarantees that they give it nothing, in a decision, in the
/// list of projects, in its view of the tree and in the trace, and that what they deny is denied to it.
#[test]
fn a_client_token_is_worth_its_own_binding() {
    let policy = load_sound(
        "version: 1\napps:\n  a: { project: pa }\n  d: { project: pd }\nbindings:\n  - { name: own, subjects: [{ issuer: okta, \
         group: dev }], permissions: [ingest.*, query.*.read], apps: [a] }\n  - { name: all, subjects: [{ any: true }], \
         permissions: [ingest.*, query.*.read], apps: [/] }\n  - { name: none, effect: deny, subjects: [{ any: true }], \
         permissions: [ingest.logs], apps: [a] }\n",
    );
    let token = facts("token subject=ci binding=own");
    let person = facts("oidc issuer=okta subject=x");
    for (permission, place, to_person, to_token) in [
        ("ingest.traces", "app a", None, None),
        ("ingest.traces", "app d", None, Some(Reason::NotPermitted)),
        (
            "ingest.logs",
            "app a",
            Some(Reason::DeniedByBinding),
            Some(Reason::DeniedByBinding),
        ),
        ("query.streams.read", "project pa", None, None),
        (
            "query.streams.read",
            "project pd",
            None,
            Some(Reason::NotPermitted),
        ),
        (
            "query.test.read",
            "organization",
            None,
            Some(Reason::NotPermitted),
        ),
    ] {
        for (who, expected) in [(&person, to_person), (&token, to_token)] {
            let verdict = decide(&policy, who, permission, place, NOW);
            assert_eq!(
                verdict.reason, expected,
                "{} {permission} {place}",
                who.subject
            );
        }
    }
    let named = |names: &[Arc<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let only = decide(&policy, &token, "ingest.traces", "any app", NOW);
    assert_eq!(
        (only.app.unwrap().as_str(), named(&only.bindings)),
        ("a", vec!["own".to_owned()])
    );
    let projects = decide(&policy, &token, "query.projects.read", "projects", NOW);
    assert_eq!(named(&projects.visible_projects), ["pa"]);
    let considered: Vec<_> = projects
        .trace
        .iter()
        .map(|each| (&*each.binding, each.subject))
        .collect();
    assert_eq!(considered, [("own", 0), ("none", 1)]);
    let seen = policy.overview(&token, NOW);
    assert_eq!(
        seen.iter()
            .map(|node| node.app.as_str())
            .collect::<Vec<_>>(),
        ["/", "a"]
    );
}
