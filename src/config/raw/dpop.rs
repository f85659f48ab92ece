//! `dpop:`, as it is written.
//!
//! What it does: mirrors how proofs of possession are judged. What it refuses to know: which keys seal nonces. Invariant:
//! what is not written stays `None`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::Spanned;

/// How callers prove that they hold the key of a token that is bound to one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Dpop")]
pub(crate) struct RawDpop {
    /// Where a proof cannot be used twice; default `local`.
    pub replay: Option<RawReplay>,
    /// Whether proofs need a nonce of the gateway's; default `required`.
    pub nonce: Option<Spanned<RawNonce>>,
}

/// Where a proof cannot be used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ProofReplay")]
pub(crate) enum RawReplay {
    /// In one process: each remembers what it has seen. Another replica may be shown the same proof within a minute.
    Local,
    /// Anywhere: a nonce is good at the replica that gave it, and another one answers with its own.
    Pinned,
}

/// Whether proofs need a nonce of the gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ProofNonce")]
pub(crate) enum RawNonce {
    /// A proof without a nonce that is good now is answered with one.
    Required,
    /// A proof may come without any.
    Optional,
}
