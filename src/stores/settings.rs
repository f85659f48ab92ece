//! The checked settings of the store.
//!
//! What it does: says where secrets are asked for, and by what the gateway proves itself. What it refuses to know: the secrets;
//! it holds references.

use std::path::PathBuf;
use std::time::Duration;

use crate::aws::AwsSigning;
use crate::egress::Egress;
use crate::secret::SecretRef;

/// HashiCorp Vault, and a secrets engine in it (KV, version 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Without a path that ends in `/`.
    pub url: String,
    pub namespace: Option<String>,
    /// Of the secrets engine.
    pub mount: String,
    pub login: StoreLogin,
    /// PEM file with the roots to trust; `None`: the system's.
    pub ca: Option<PathBuf>,
    pub egress: Egress,
    /// Between two looks at a secret; from `5s` to `1h`.
    pub every: Duration,
    /// For how long a secret serves that the store does not confirm; from `1m` to `30d`.
    pub stale: Duration,
    /// Whether a new access token is tried with an empty export before it counts.
    pub probe: bool,
}

/// How the gateway proves itself to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLogin {
    AppRole {
        mount: String,
        role_id: SecretRef,
        secret_id: SecretRef,
        /// Whether what stands in the secret ID's place is a token that opens it, once.
        wrapped: bool,
    },
    Kubernetes {
        mount: String,
        role: String,
        /// The token of the gateway's service account.
        token: SecretRef,
    },
    /// A call to AWS that the gateway signs and Vault makes.
    Aws(AwsLogin),
    /// A token that another keeps alive, such as Vault Agent.
    Token(SecretRef),
}

/// A signed call of `GetCallerIdentity` by which Vault learns the gateway's role in AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsLogin {
    pub mount: String,
    /// In Vault.
    pub role: String,
    /// What the call must name, so that it opens no other Vault.
    pub server_id: Option<String>,
    /// Of AWS's Security Token Service.
    pub host: String,
    pub signing: AwsSigning,
}
