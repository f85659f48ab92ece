//! The gateway's own answers: who am I, and what of the tree is mine.
//!
//! What it does: shows identified callers what the gateway knows of them. What it refuses to know: how
//! pages are written to a connection. Invariant: no token, claim set or other caller's part is shown.

use serde_json::{Value, json};

use crate::accept::OwnRequest;
use crate::apps::AppPath;
use crate::audit::timestamp;
use crate::authorize::View;
use crate::clock::UnixMillis;
use crate::identify::{Facts, Identity};
use crate::state::Snapshot;

/// `null` for what does not expire by itself.
fn expires(unix_seconds: i64) -> Option<String> {
    (unix_seconds != i64::MAX).then(|| timestamp(unix_seconds.saturating_mul(1000)))
}

/// The page asked for; `None`: nothing that this caller may know of.
pub(crate) fn page(
    snapshot: &Snapshot,
    identity: &Identity,
    ask: &OwnRequest,
    now: UnixMillis,
) -> Option<Value> {
    let facts = identity.facts();
    match ask {
        OwnRequest::Whoami => Some(json!({
            "organization": snapshot.organization,
            "method": facts.method.name(),
            "issuer": &*facts.issuer,
            "subject": &*facts.subject,
            "groups": facts.groups,
            "certificate": facts.certificate.as_ref().map(|certificate| json!({
                "ca": &*certificate.ca,
                "spiffe": certificate.spiffe,
                "dns": certificate.dns,
                "subject": certificate.subject,
                "sha256": certificate.fingerprint,
                "fingerprint": certificate.fingerprint,
            })),
            "expires": expires(facts.expires_unix_seconds),
        })),
        OwnRequest::Apps(app) => {
            let view = snapshot.policy.view(facts, app, now)?;
            Some(json!({
                "app": view.app.as_str(),
                "project": view.project.as_deref(),
                "permissions": view.permissions,
                "apps": view.apps.iter().map(|app| app.as_str()).collect::<Vec<_>>(),
                "children": view.apps.iter().filter_map(|app| {
                    Some(marks(snapshot, &snapshot.policy.view(facts, app, now)?))
                }).collect::<Vec<_>>(),
            }))
        }
        OwnRequest::Subtree(app) => nested(snapshot, facts, app, now),
    }
}

/// One node with everything beneath that the caller may know of. As deep as an app's path can be.
fn nested(snapshot: &Snapshot, facts: &Facts, app: &AppPath, now: UnixMillis) -> Option<Value> {
    let view = snapshot.policy.view(facts, app, now)?;
    let mut node = marks(snapshot, &view);
    let beneath = view
        .apps
        .iter()
        .filter_map(|app| nested(snapshot, facts, app, now))
        .collect();
    if let Some(members) = node.as_object_mut() {
        members.insert("permissions".to_owned(), json!(view.permissions));
        members.insert("apps".to_owned(), Value::Array(beneath));
    }
    Some(node)
}

/// What a list says of a node: whose it is, and whether the caller may query its project or write anything to it.
fn marks(snapshot: &Snapshot, view: &View) -> Value {
    let tree = snapshot.policy.tree();
    let owners = tree
        .find(&view.app)
        .and_then(|node| tree.node(node))
        .map(|node| node.owners.as_slice());
    let is = |start: &str, end: &str| {
        view.permissions
            .iter()
            .any(|permission| permission.starts_with(start) && permission.ends_with(end))
    };
    json!({
        "app": view.app.as_str(),
        "name": view.app.as_str().rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/"),
        "project": view.project.as_deref(),
        "owners": owners.unwrap_or_default(),
        "can_read": is("query.", ".read"),
        "can_write": is("ingest.", "") || is("query.", ".write"),
    })
}
