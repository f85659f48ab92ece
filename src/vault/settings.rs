//! The checked settings of this room. They hold references to secrets, never secrets.

use std::collections::BTreeMap;

use crate::apps::BackendId;
use crate::secret::SecretRef;

/// Where every credential of the backend is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaultSettings {
    pub projects: BTreeMap<String, ProjectSecrets>,
    /// Organization-wide API keys, of the backend that is asked about the organization.
    pub api_keys: ApiKeys,
}

/// One project's credentials, by backend.
pub type ProjectSecrets = BTreeMap<BackendId, BackendSecrets>;

/// One project's credentials at one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendSecrets {
    /// The first is current, the rest overlap during a rotation.
    pub access_token: Vec<SecretRef>,
    /// Overrides of the organization's keys for calls on this project.
    pub api_key: ApiKeys,
}

/// API keys by what the operation does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeys {
    pub read: Option<SecretRef>,
    pub write: Option<SecretRef>,
    /// For sensitive operations; falls back to nothing: an operator must name it.
    pub admin: Option<SecretRef>,
}
