//! Who looks at a page, as shown to themselves.
//!
//! What it does: makes a visitor of an identity. What it refuses to know: pages, permits. Invariant: no secret but the
//! proof that forms send along.

use crate::audit::timestamp;
use crate::identify::Identity;
use crate::view::Visitor;

/// Who looks, as shown to themselves.
pub(crate) fn visitor(identity: &Identity) -> Visitor {
    let facts = identity.facts();
    let session = identity.session();
    let claim = |name: &str| facts.claims.get(name).and_then(serde_json::Value::as_str);
    let name = session.map(|session| session.name.as_str());
    let name = name
        .or_else(|| claim("name"))
        .or_else(|| claim("email"))
        .unwrap_or(&facts.subject);
    let expires = session.map_or(facts.expires_unix_seconds, |session| session.ends);
    Visitor {
        name: name.to_owned(),
        issuer: facts.issuer.to_string(),
        subject: facts.subject.to_string(),
        method: facts.method.name(),
        groups: facts.groups.clone(),
        expires: (expires != i64::MAX).then(|| timestamp(expires.saturating_mul(1000))),
        csrf: session.map(|session| session.csrf.clone()),
    }
}
