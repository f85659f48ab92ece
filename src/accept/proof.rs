//! A proof of possession in a head (RFC 9449 section 4.1), and what it has to be about.
//!
//! What it does: finds the `dpop` header, and notes what was asked of which address. What it refuses to know: whether the
//! proof holds. Invariants: the address is the operator's own name for the listener and the canonical path, never what the
//! client calls us; of two proofs none is chosen.

use http::{HeaderMap, HeaderName, Method};

use super::connection::Connection;
use super::{Carrier, Presented, PresentedProof, ProofLines};

/// The header of a proof.
pub(crate) const DPOP_HEADER: HeaderName = HeaderName::from_static("dpop");

/// The proof of a call; `None` where neither a proof came nor a token that needs one.
pub(super) fn presented(
    headers: &HeaderMap,
    token: Option<&Presented>,
    method: &Method,
    connection: &Connection,
    canonical: &str,
) -> Option<Box<PresentedProof>> {
    let is_needed = token.is_some_and(|token| token.carrier == Carrier::Dpop);
    let mut lines = headers.get_all(DPOP_HEADER).iter();
    let lines = match (lines.next(), lines.next()) {
        (None, _) if !is_needed => return None,
        (None, _) => ProofLines::None,
        (Some(line), None) => ProofLines::One(line.clone()),
        (Some(_), Some(_)) => ProofLines::Several,
    };
    let listener = connection.listener();
    let url = listener.public_url.as_ref();
    Some(Box::new(PresentedProof {
        lines,
        method: method.clone(),
        url: url.map(|url| format!("{}{canonical}", url.trim_end_matches('/'))),
    }))
}
