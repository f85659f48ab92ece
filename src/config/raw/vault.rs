//! `vault:`, as it is written: references to the backend's credentials, never the credentials.
//!
//! What it does: mirrors projects, keys of the organization, session keys and secrets of webhooks. What it refuses to
//! know: which are needed. Invariant: each is a reference.

use schemars::JsonSchema;
use serde::Deserialize;

use super::egress::RawProxy;
use super::forms::{RawSecret, RawSwitch};
use crate::document::quantity::RawDuration;
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
    /// HashiCorp Vault, or what speaks as it does, for references of the form `{ vault: … }`.
    pub(crate) store: Option<Spanned<RawStore>>,
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

/// HashiCorp Vault: where credentials of the backend are asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Store")]
pub(crate) struct RawStore {
    /// `https://vault.example:8200`; `http` only on loopback.
    pub(crate) url: Spanned<String>,
    /// Vault's namespace.
    pub(crate) namespace: Option<Spanned<String>>,
    /// Where the secrets engine (KV, version 2) is mounted; default `secret`.
    pub(crate) mount: Option<Spanned<String>>,
    /// How the gateway proves itself: exactly one of them.
    pub(crate) login: Spanned<RawStoreLogin>,
    /// PEM file with the authorities to trust; default: the system's.
    pub(crate) ca: Option<Spanned<String>>,
    /// The proxy to the store alone; default: as `egress` has it.
    pub(crate) proxy: Option<Spanned<RawProxy>>,
    /// Between two looks at a secret, from `5s` to `1h`; default `1m`.
    pub(crate) every: Option<Spanned<RawDuration>>,
    /// For how long a secret serves that the store does not confirm, from `1m` to `30d`; default `24h`.
    pub(crate) stale: Option<Spanned<RawDuration>>,
    /// Whether a new access token is tried with an empty export before it counts; default `on`.
    pub(crate) probe: Option<RawSwitch>,
}

/// How the gateway proves itself to the store.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "StoreLogin")]
pub(crate) enum RawStoreLogin {
    /// A role with a secret ID.
    Approle(RawAppRole),
    /// The service account under which the gateway runs.
    Kubernetes(RawKubernetesLogin),
    /// The gateway's role in AWS; needs the feature `aws`.
    Aws(RawAwsLogin),
    /// A token that another keeps alive, such as Vault Agent.
    Token(Spanned<RawSecret>),
}

/// A role with a secret ID.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AppRoleLogin")]
pub(crate) struct RawAppRole {
    /// The role's ID.
    pub(crate) role_id: Spanned<RawSecret>,
    /// What proves the role.
    pub(crate) secret_id: Spanned<RawSecret>,
    /// Whether `secret_id` is a token that opens the secret ID, once; default `off`.
    pub(crate) wrapped: Option<RawSwitch>,
    /// Where the method is mounted; default `approle`.
    pub(crate) mount: Option<Spanned<String>>,
}

/// The service account under which the gateway runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KubernetesLogin")]
pub(crate) struct RawKubernetesLogin {
    /// The role in Vault.
    pub(crate) role: Spanned<String>,
    /// The account's token; default: the file that Kubernetes mounts.
    pub(crate) token: Option<Spanned<RawSecret>>,
    /// Where the method is mounted; default `kubernetes`.
    pub(crate) mount: Option<Spanned<String>>,
}

/// The gateway's role in AWS, which a signed call of `GetCallerIdentity` proves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AwsLogin")]
pub(crate) struct RawAwsLogin {
    /// The role in Vault.
    pub(crate) role: Spanned<String>,
    /// What Vault's `iam_server_id_header_value` says; the call counts for no other Vault then.
    pub(crate) server_id: Option<Spanned<String>>,
    /// Whose STS is asked; default: the global one.
    pub(crate) region: Option<Spanned<String>>,
    /// Keys of AWS; default: AWS's own search (environment, profile, web identity, container, instance).
    pub(crate) keys: Option<RawAwsKeys>,
    /// Where the method is mounted; default `aws`.
    pub(crate) mount: Option<Spanned<String>>,
}

/// Keys of AWS that are kept here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AwsKeys")]
pub(crate) struct RawAwsKeys {
    /// The access key's ID.
    pub(crate) access_key: Spanned<RawSecret>,
    /// What signs.
    pub(crate) secret_key: Spanned<RawSecret>,
    /// The session's token, of keys of a role.
    pub(crate) session: Option<Spanned<RawSecret>>,
}
