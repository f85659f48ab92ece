//! The file of revocations as it is written.
//!
//! What it does: mirrors the file, key by key; its JSON schema is published. What it refuses to know: which keys go together;
//! `list` does. Invariant: unknown keys are errors.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::{self, Spanned};

/// The JSON schema (2020-12) of files of revocations, for editors.
pub fn revocations_schema() -> serde_json::Value {
    document::schema_of::<RawRevocations>()
}

/// Proofs that no longer count, though their signatures and dates still do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Revocations", title = "Lightkeeper revocations")]
pub(super) struct RawRevocations {
    /// The version of this format: 1.
    pub version: Spanned<u32>,
    /// How many entries there are: a file with fewer or more was cut or put together wrongly, and is not taken. Default: not
    /// compared.
    pub entries: Option<Spanned<u32>>,
    /// At most 20,000.
    pub revocations: Vec<Spanned<RawRevocation>>,
}

/// One revocation: `issuer` and one of `jti`, `subject`, `sid` and `serial`, or `spki` alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    rename = "Revocation",
    extend("x-hint" = "write `{ issuer: okta, subject: ann@acme.example, issued_before: 2026-11-30T08:00:00Z, until: 2026-12-01T08:00:00Z }`")
)]
pub(super) struct RawRevocation {
    /// The name of one of the configuration's issuers, or of an authority of client certificates.
    pub issuer: Option<Spanned<String>>,
    /// The token with this id.
    pub jti: Option<Spanned<String>>,
    /// Everything that the issuer said of this subject before `issued_before`: tokens, sessions, certificates.
    pub subject: Option<Spanned<String>>,
    /// RFC 3339, with `subject`: what was issued from then on counts.
    pub issued_before: Option<Spanned<String>>,
    /// The session at the provider, and all that was issued in it.
    pub sid: Option<Spanned<String>>,
    /// The certificate with this serial number, in hexadecimal, with or without colons.
    pub serial: Option<Spanned<String>>,
    /// Every certificate with this public key: `sha256:` and the digest of its SubjectPublicKeyInfo in hexadecimal.
    pub spki: Option<Spanned<String>>,
    /// RFC 3339: when the proof would have ended by itself, and the line may go.
    pub until: Spanned<String>,
}
