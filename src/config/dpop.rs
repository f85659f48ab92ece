//! `dpop:`, checked.
//!
//! What it does: how proofs of possession are judged, and with which keys nonces are sealed. What it refuses to know: proofs,
//! the keys themselves. Invariants: without `dpop` proofs are judged as by its defaults, where a listener has a name; what
//! cannot hold together is an error.

use super::raw::{RawConfig, RawNonce, RawReplay};
use super::report::ConfigFindings;
use crate::identify::{DpopSettings, ProofReplay};
use crate::secret::SecretRef;

/// `keys`: the checked `vault.session_keys`.
pub(crate) fn dpop(
    report: &mut ConfigFindings<'_>,
    raw: &RawConfig,
    keys: Vec<SecretRef>,
) -> DpopSettings {
    let Some(given) = &raw.dpop else {
        return DpopSettings {
            keys,
            ..DpopSettings::default()
        };
    };
    let has_name = raw
        .listeners
        .iter()
        .any(|listener| listener.public_url.is_some());
    if !has_name {
        report.warning(
            given,
            "no proof can be held against an address, because no listener has a `public_url`",
            "add `public_url: https://…` to the listeners at which callers prove possession of a key",
        );
    }
    let replay = match given.value.replay {
        None | Some(RawReplay::Local) => ProofReplay::Local,
        Some(RawReplay::Pinned) => ProofReplay::Pinned,
    };
    let nonce = given.value.nonce.as_ref();
    let optional = nonce.filter(|nonce| nonce.value == RawNonce::Optional);
    if let (Some(at), ProofReplay::Pinned) = (optional, replay) {
        report.error_with_hint(
            at,
            "`dpop.nonce` cannot be `optional` where `dpop.replay` is `pinned`: the nonce says which replica gave it",
            "remove one of the two",
        );
    }
    DpopSettings {
        replay,
        nonce_optional: optional.is_some(),
        keys,
    }
}
