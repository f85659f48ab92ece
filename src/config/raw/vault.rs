//! `vault:`, as it is written: references to the backend's credentials, never the credentials.
//!
//! What it does: mirrors projects, keys of the organization, session keys and secrets of webhooks. What it refuses to
//! know: which are needed. Invariant: each is a reference.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::RawSecret;
use crate::document::{Entries, Spanned};

/// References to the backend's credentials; never the credentials.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Vault")]
pub(crate) struct RawVault {
    /// By the project's name at the backend.
    #[serde(default)]
    pub projects: Entries<RawProject>,
    /// The organization's API keys, by what an operation does.
    #[serde(default)]
    pub api_keys: RawApiKeys,
    /// What seals the sessions of `web.login`: 32 bytes each, in base64 or hexadecimal; the first seals, all open.
    #[serde(default)]
    #[schemars(extend("x-hint" = "write a list of references: `[{ file: path }]` or `[{ env: NAME }]`; a literal secret is refused"))]
    pub(crate) session_keys: Vec<Spanned<RawSecret>>,
    /// What signs checkpoints of the audit trail: 32 bytes each, in base64 or hexadecimal; the first signs, and the second as well
    /// the first time that the first does.
    #[serde(default)]
    #[schemars(extend("x-hint" = "write a list of references: `[{ file: path }]` or `[{ env: NAME }]`; a literal secret is refused"))]
    pub(crate) audit_keys: Vec<Spanned<RawSecret>>,
    /// By the app's path: the secrets that the backend's webhooks present at that app's alert inlet.
    #[serde(default)]
    pub webhooks: Entries<Vec<Spanned<RawSecret>>>,
}

/// One project's credentials.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Project")]
pub(crate) struct RawProject {
    /// Ingest tokens: the first is current, the rest overlap during a rotation.
    #[serde(default)]
    #[schemars(extend("x-hint" = "write a list of references: `[{ file: path }]` or `[{ env: NAME }]`; a literal secret is refused"))]
    pub access_token: Vec<Spanned<RawSecret>>,
    /// API keys for calls on this project, instead of the organization's.
    #[serde(default)]
    pub api_key: RawApiKeys,
    /// By the name of one of `backends`: this project's credentials there. What stands beside is for `default_backend`.
    #[serde(default)]
    pub backends: Entries<RawBackendSecrets>,
}

/// One project's credentials at one backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BackendCredentials")]
pub(crate) struct RawBackendSecrets {
    /// Ingest tokens: the first is current, the rest overlap during a rotation.
    #[serde(default)]
    #[schemars(extend("x-hint" = "write a list of references: `[{ file: path }]` or `[{ env: NAME }]`; a literal secret is refused"))]
    pub access_token: Vec<Spanned<RawSecret>>,
    /// API keys for calls on this project.
    #[serde(default)]
    pub api_key: RawApiKeys,
}

/// API keys by what an operation does.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApiKeys")]
pub(crate) struct RawApiKeys {
    /// For operations that only read.
    pub read: Option<Spanned<RawSecret>>,
    /// For operations that change something.
    pub write: Option<Spanned<RawSecret>>,
    /// For sensitive operations; without it they are refused.
    pub admin: Option<Spanned<RawSecret>>,
}
