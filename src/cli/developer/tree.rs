//! `lightkeeper whoami` and `lightkeeper apps`: who one is, and which part of the tree is one's own.
//!
//! What it does: prints what the gateway says of the caller, the tree indented and with marks. What it refuses to know: policy.
//! Invariants: a tree from the network is walked to a bounded depth and number of nodes; names are cleaned before they are
//! printed.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::ask::{app_url, ask, refused, send};
use super::failure::Failure;
use super::session::Session;
use super::text::{cell, json as safe_json, table, width};
use crate::apps::AppPath;
use crate::cli::Output;

/// Nodes that are asked for one by one, or printed.
const NODES: usize = 10_000;
const DEPTH: usize = 64;

/// `GET /.lightkeeper/whoami`.
pub async fn whoami(session: &Session, output: Output) -> Result<(), Failure> {
    let me = ask(session, Method::GET, "/.lightkeeper/whoami", &[], None).await?;
    match output {
        Output::Json => println!("{}", safe_json(&me)),
        Output::Text => {
            println!("gateway       {}", session.gateway);
            for name in ["organization", "subject", "issuer", "method", "groups", "expires"] {
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
pub async fn apps(session: &Session, app: &AppPath, output: Output) -> Result<(), Failure> {
    let tree = whole(session, app).await?;
    match output {
        Output::Json => println!("{}", safe_json(&tree)),
        Output::Text => {
            let mut rows = Vec::new();
            lay_out(&tree, 0, &mut rows);
            print!("{}", table(&["", "app", "project", "owners"], &rows, width()));
        }
    }
    Ok(())
}

/// One answer with the whole tree, or, of a gateway that does not give one, an answer for each node.
async fn whole(session: &Session, app: &AppPath) -> Result<Value, Failure> {
    let answer = send(session, Method::GET, &app_url(app), &[("depth", "all")], None).await?;
    let deep: Option<Value> = match answer.status() {
        StatusCode::OK => serde_json::from_slice(answer.body()).ok(),
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => None,
        _ => return Err(refused(session, &answer)),
    };
    match deep {
        Some(tree) if children(&tree).iter().all(Value::is_object) => Ok(tree),
        _ => walk(session, app).await,
    }
}

/// Asks for each node and puts children into their parents.
async fn walk(session: &Session, app: &AppPath) -> Result<Value, Failure> {
    // In the order in which they are asked for: parents stand before their children.
    let mut nodes: Vec<(Option<usize>, Value)> = Vec::new();
    let mut open: Vec<(Option<usize>, AppPath)> = vec![(None, app.clone())];
    while let Some((parent, app)) = open.pop() {
        let mut node = ask(session, Method::GET, &app_url(&app), &[], None).await?;
        let place = nodes.len();
        let named = children(&node).iter().filter_map(|child| AppPath::parse(child.as_str()?));
        open.extend(named.filter(|child| app.contains(child) && *child != app).map(|child| (Some(place), child)));
        if nodes.len() + open.len() >= NODES {
            return Err(Failure::new(format!("there are more than {NODES} apps")).advise("name a smaller part"));
        }
        if let Some(members) = node.as_object_mut() {
            members.insert("apps".to_owned(), json!([]));
        }
        nodes.push((parent, node));
    }
    while let Some((parent, node)) = nodes.pop() {
        let above = parent.and_then(|parent| nodes.get_mut(parent));
        match above.and_then(|(_, above)| above.get_mut("apps")).and_then(Value::as_array_mut) {
            // The last comes first.
            Some(apps) => apps.insert(0, node),
            None => return Ok(node),
        }
    }
    Ok(Value::Null)
}

fn children(node: &Value) -> &[Value] {
    node.get("apps").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `r`, `w`, both or neither: whether something of the node's can be read or written.
fn mark(node: &Value) -> String {
    let permissions = node.get("permissions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let can = |name: &str, ending: &str| match node.get(name).and_then(Value::as_bool) {
        Some(can) => can,
        None => permissions
            .iter()
            .filter_map(Value::as_str)
            .any(|held| held.starts_with("query.") && held.ends_with(ending)),
    };
    let letter = |can: bool, letter: char| if can { letter } else { '-' };
    [letter(can("can_read", ".read"), 'r'), letter(can("can_write", ".write"), 'w')].iter().collect()
}

fn lay_out(node: &Value, depth: usize, rows: &mut Vec<Vec<String>>) {
    if depth > DEPTH || rows.len() >= NODES {
        return;
    }
    let path = cell(node.get("app"));
    // Below the first one, the last segment says enough.
    let name = if depth == 0 { path.as_str() } else { path.rsplit('/').next().unwrap_or_default() };
    let app = format!("{}{name}", "  ".repeat(depth));
    rows.push(vec![mark(node), app, cell(node.get("project")), cell(node.get("owners"))]);
    for child in children(node) {
        lay_out(child, depth + 1, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_indented_and_marked() {
        let tree = json!({ "app": "/", "can_read": false, "can_write": false, "apps": [
            { "app": "shop", "project": "shop-prod", "owners": ["leads", "\u{1b}[2Jx"], "can_read": true, "can_write": true, "apps": [
                { "app": "shop/checkout", "permissions": ["query.streams.read", "ingest.traces"], "apps": [] },
                { "app": "shop/search", "permissions": ["ingest.traces"] },
            ] },
            { "app": "platform", "can_read": true, "can_write": false },
        ] });
        let mut rows = Vec::new();
        lay_out(&tree, 0, &mut rows);
        let printed = table(&["", "app", "project", "owners"], &rows, None);
        let expected = "    APP         PROJECT    OWNERS\n\
                        --  /\n\
                        rw    shop      shop-prod  leads, [2Jx\n\
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
