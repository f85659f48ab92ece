//! `lightkeeper whoami` and `lightkeeper apps`: who one is, and which part of the tree is one's own.
//!
//! What it does: prints what the gateway says of the caller, the tree indented and with marks. What it refuses to know: policy.
//! Invariants: a tree from the network is printed to a bounded depth and number of nodes; names are cleaned before they are
//! printed.

use http::Method;
use serde_json::Value;

use super::ask::{app_url, ask};
use super::failure::Failure;
use super::session::ToolSession;
use super::text::{cell, json as safe_json, table, width};
use crate::apps::AppPath;
use crate::cli::Output;

/// Nodes that are printed.
const NODES: usize = 10_000;
const DEPTH: usize = 64;

/// `GET /.lightkeeper/whoami`.
pub(crate) async fn whoami(session: &ToolSession, output: Output) -> Result<(), Failure> {
    let me = ask(session, Method::GET, "/.lightkeeper/whoami", &[], None).await?;
    match output {
        Output::Json => println!("{}", safe_json(&me)),
        Output::Text => {
            println!("gateway       {}", session.gateway);
            for name in [
                "organization",
                "subject",
                "issuer",
                "method",
                "groups",
                "expires",
            ] {
                let value = cell(me.get(name));
                if !value.is_empty() {
                    println!("{name:<13} {value}");
                }
            }
        }
    }
    Ok(())
}

/// The tree at and beneath `app`, as the caller may see it.
pub(crate) async fn apps(
    session: &ToolSession,
    app: &AppPath,
    output: Output,
) -> Result<(), Failure> {
    let tree = ask(
        session,
        Method::GET,
        &app_url(app),
        &[("depth", "all")],
        None,
    )
    .await?;
    match output {
        Output::Json => println!("{}", safe_json(&tree)),
        Output::Text => {
            let mut rows = Vec::new();
            lay_out(&tree, 0, &mut rows);
            print!(
                "{}",
                table(&["", "app", "project", "owners"], &rows, width())
            );
            if rows
                .iter()
                .all(|row| row.first().is_some_and(|mark| mark == "--"))
            {
                eprintln!(
                    "nothing of it is yours to read or write: `lightkeeper whoami` shows what the gateway knows you by"
                );
            }
        }
    }
    Ok(())
}

fn children(node: &Value) -> &[Value] {
    node.get("apps")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// `r`, `w`, both or neither: whether the node's project can be queried, and something of the node's written.
fn mark(node: &Value) -> String {
    let can = |name: &str| node.get(name).and_then(Value::as_bool).unwrap_or_default();
    let letter = |can: bool, letter: char| if can { letter } else { '-' };
    [letter(can("can_read"), 'r'), letter(can("can_write"), 'w')]
        .iter()
        .collect()
}

fn lay_out(node: &Value, depth: usize, rows: &mut Vec<Vec<String>>) {
    if depth > DEPTH || rows.len() >= NODES {
        return;
    }
    let path = cell(node.get("app"));
    // Below the first one, the last segment says enough.
    let name = if depth == 0 {
        path.as_str()
    } else {
        path.rsplit('/').next().unwrap_or_default()
    };
    let app = format!("{}{name}", "  ".repeat(depth));
    rows.push(vec![
        mark(node),
        app,
        cell(node.get("project")),
        cell(node.get("owners")),
    ]);
    for child in children(node) {
        lay_out(child, depth + 1, rows);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_is_indented_and_marked() {
        let tree = json!({ "app": "/", "can_read": false, "can_write": false, "apps": [
            { "app": "shop", "project": "shop-prod", "owners": ["leads", "\u{1b}[2Jx"], "can_read": true, "can_write": true, "apps": [
                { "app": "shop/checkout", "can_read": true, "can_write": "yes", "apps": [] },
                { "app": "shop/search", "permissions": [7] },
            ] },
            { "app": "platform", "can_read": true, "can_write": false },
        ] });
        let mut rows = Vec::new();
        lay_out(&tree, 0, &mut rows);
        let printed = table(&["", "app", "project", "owners"], &rows, None);
        let expected = "    APP           PROJECT    OWNERS\n\
                        --  /\n\
                        rw    shop        shop-prod  leads, [2Jx\n\
                        r-      checkout\n\
                        --      search\n\
                        r-    platform\n";
        assert_eq!(printed, expected);
    }

    #[test]
    fn a_tree_without_end_is_cut() {
        let mut tree = json!({ "app": "a" });
        for _ in 0..100 {
            tree = json!({ "app": "a", "apps": [tree] });
        }
        let mut rows = Vec::new();
        lay_out(&tree, 0, &mut rows);
        assert_eq!(rows.len(), DEPTH + 1);
    }
}
