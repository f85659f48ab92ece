//! `revocations:` and `ssf:`, as they are written.
//!
//! What it does: mirrors where proofs are listed that no longer count, and who else may end some. What it refuses to know:
//! what stands in the list. Invariants: a secret is a reference; every value keeps its place in the file.

use schemars::JsonSchema;
use serde::Deserialize;

use super::egress::RawProxy;
use super::forms::RawSecret;
use super::issuers::RawKeys;
use crate::document::Spanned;

/// Proofs that no longer count, though their signatures and dates still do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RevocationFile", extend("x-hint" = "write `{ file: revocations.yaml }`"))]
pub(crate) struct RawRevocationFile {
    /// The file that lists them; `lightkeeper schema revocations` prints its schema. It is watched.
    pub file: Spanned<String>,
}

/// A transmitter of security events (OpenID Shared Signals Framework 1.0), which may end proofs of our issuers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Transmitter")]
pub(crate) struct RawTransmitter {
    /// Our own name for it, in records and metrics; no issuer's.
    pub name: Spanned<String>,
    /// The `iss` of its tokens, compared byte for byte.
    pub issuer: Spanned<String>,
    /// Where its keys are found: its `jwks_uri`, or a file.
    pub jwks: Spanned<RawKeys>,
    /// The audience of its tokens: what this stream calls us.
    pub audience: Spanned<String>,
    /// The names of the `issuers` whose subjects it speaks for.
    #[schemars(length(min = 1), extend("x-hint" = "name those of `issuers` whose tokens and sessions it may end, such as `[okta]`"))]
    pub issuers: Vec<Spanned<String>>,
    /// The bearer token that its pushes show; default: none, the signature alone counts.
    pub token: Option<Spanned<RawSecret>>,
    /// PEM file: the roots to trust when its keys are fetched; default: the system's.
    pub ca: Option<Spanned<String>>,
    /// The proxy to this transmitter alone; default: as `egress` has it.
    pub proxy: Option<Spanned<RawProxy>>,
}
