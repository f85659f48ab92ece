//! `client_tokens:`, as they are written.
//!
//! What it does: mirrors one token: its holder, its digest, its binding and its end. What it refuses to know: the token,
//! which is nowhere. Invariant: every value keeps its place in the file.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::Spanned;

/// One client token. The token itself is nowhere: only its holder has it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientToken", extend("x-hint" = "paste the line that `lightkeeper token issue` prints"))]
pub(crate) struct RawClientToken {
    /// Who holds it, in records and metrics; policy subjects may name it under `issuer: client_tokens`.
    pub name: Spanned<String>,
    /// `sha256:` and 64 hexadecimal digits: the digest of the whole token.
    pub hash: Spanned<String>,
    /// The policy's binding that speaks of its holder, whatever the binding's subjects say.
    pub binding: Spanned<String>,
    /// RFC 3339; it counts until just before then. Default: until this line is removed.
    pub until: Option<Spanned<String>>,
}
