//! Which issuer a token is taken to.
//!
//! What it does: finds the one issuer that judges a signed token, or is asked about an opaque one. What it refuses to know: what
//! the token is worth. Invariant: a token is one issuer's or none's; no other is tried after it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::introspection::{self, Introspector};
use super::issuer::Issuer;
use super::token;
use crate::accept::{Carrier, Presented};
use crate::reason::Reason;

/// The one issuer that is to judge a token: the one that `iss` names; without `iss`, or where no configured issuer has
/// it, the SPIFFE trust domain of `sub` (JWT-SVID section 3 asks for no `iss`).
pub(super) fn issuer_of<'i>(
    issuers: &'i [Arc<Issuer>],
    claims: &Map<String, Value>,
) -> Option<&'i Arc<Issuer>> {
    let named = match claims.get("iss") {
        None => None,
        Some(Value::String(named)) => Some(named.as_str()),
        Some(_) => return None,
    };
    let called = named.and_then(|named| issuers.iter().find(|issuer| issuer.is_called(named)));
    called.or_else(|| {
        let subject = claims.get("sub")?.as_str()?;
        issuers.iter().find(|issuer| issuer.is_domain_of(subject))
    })
}

/// The same, or why there is none. While nothing could be read of a cluster, it may be a token of that.
pub(super) fn judge_of<'i>(
    issuers: &'i [Arc<Issuer>],
    claims: &Map<String, Value>,
) -> Result<&'i Arc<Issuer>, Reason> {
    issuer_of(issuers, claims).ok_or_else(|| {
        if issuers.iter().any(|issuer| issuer.is_nameless()) {
            Reason::KeysUnavailable
        } else {
            Reason::TokenIssuerUnknown
        }
    })
}

/// Who is asked about a token which is no JWT, if it is any issuer's: the one whose prefix it has, else the one that has none.
/// Only `Authorization` is for us alone; what stands in the backend's own place is often a token of the backend's, which no
/// issuer may see.
pub(super) fn opaque<'i>(
    issuers: &'i [Arc<Issuer>],
    token: &Presented,
) -> Option<&'i Arc<Introspector>> {
    let bytes = token.bytes();
    // First what costs nothing: most gateways have no such issuer, and each token is looked at from end to end.
    if !issuers.iter().any(|issuer| issuer.asks_about_opaque())
        || !matches!(token.carrier, Carrier::Authorization | Carrier::Dpop)
        || !introspection::is_bearer_token(bytes)
        || token::is_jws(bytes)
    {
        return None;
    }
    let mut all = issuers.iter();
    all.find_map(|issuer| issuer.opaque_by_prefix(bytes))
        .or_else(|| {
            issuers
                .iter()
                .find_map(|issuer| issuer.opaque_without_prefix())
        })
}
