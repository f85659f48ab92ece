//! What callers see of the tree. What it refuses to know: calls.

use super::*;

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
