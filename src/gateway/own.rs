//! The gateway's own answers: who am I, and what of the tree is mine.
//!
//! What it does: shows identified callers what the gateway knows of them. What it refuses to know: how
//! pages are written to a connection. Invariant: no token, claim set or other caller's part is shown.

use serde_json::{Value, json};

use super::House;
use crate::accept::OwnAsk;
use crate::audit::timestamp;
use crate::clock::UnixMillis;
use crate::identify::Identity;

/// `null` for what does not expire by itself.
fn expires(unix_seconds: i64) -> Option<String> {
    (unix_seconds != i64::MAX).then(|| timestamp(unix_seconds.saturating_mul(1000)))
}

/// The page asked for; `None`: nothing that this caller may know of.
pub fn page(house: &House, identity: &Identity, ask: &OwnAsk, now: UnixMillis) -> Option<Value> {
    let facts = identity.facts();
    match ask {
        OwnAsk::Whoami => Some(json!({
            "organization": house.organization,
            "method": facts.method.name(),
            "issuer": &*facts.issuer,
            "subject": &*facts.subject,
            "groups": facts.groups,
            "certificate": facts.certificate.as_ref().map(|certificate| json!({
                "spiffe": certificate.spiffe,
                "dns": certificate.dns,
                "subject": certificate.subject,
                "fingerprint": certificate.fingerprint,
            })),
            "expires": expires(facts.expires_unix_seconds),
        })),
        OwnAsk::Apps(app) => {
            let view = house.policy.view(facts, app, now)?;
            Some(json!({
                "app": view.app.as_str(),
                "project": view.project.as_deref(),
                "permissions": view.permissions,
                "apps": view.apps.iter().map(|app| app.as_str()).collect::<Vec<_>>(),
            }))
        }
    }
}
