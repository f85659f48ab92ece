//! The checked settings of this room. They hold references to secrets, never secrets.

use std::collections::BTreeMap;

use crate::apps::BackendId;
use crate::stores::{CredentialRef, StoreSettings, StoredRef};

/// Where every credential of the backend is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaultSettings {
    pub projects: BTreeMap<String, ProjectSecrets>,
    /// Organization-wide API keys, of the backend that is asked about the organization.
    pub api_keys: ApiKeys,
    /// Where those are asked for that are kept in a store.
    pub store: Option<StoreSettings>,
}

/// One project's credentials, by backend.
pub type ProjectSecrets = BTreeMap<BackendId, BackendSecrets>;

/// One project's credentials at one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendSecrets {
    /// The first is current, the rest overlap during a rotation.
    pub access_token: Vec<CredentialRef>,
    /// Overrides of the organization's keys for calls on this project.
    pub api_key: ApiKeys,
}

/// API keys by what the operation does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeys {
    pub read: Option<CredentialRef>,
    pub write: Option<CredentialRef>,
    /// For sensitive operations; falls back to nothing: an operator must name it.
    pub admin: Option<CredentialRef>,
}

impl VaultSettings {
    /// Every secret that is kept in the store, each once.
    pub(crate) fn stored(&self) -> Vec<StoredRef> {
        let projects = self.projects.values().flat_map(BTreeMap::values);
        let of_projects = projects.flat_map(|secrets| {
            let tokens = secrets.access_token.iter();
            tokens.chain(secrets.api_key.all())
        });
        let mut found: Vec<StoredRef> = of_projects
            .chain(self.api_keys.all())
            .filter_map(|reference| match reference {
                CredentialRef::Stored(stored) => Some(stored.clone()),
                CredentialRef::Here(_) => None,
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// The project and backend whose access token this is; `None`: it is none.
    pub(crate) fn token_of(&self, reference: &StoredRef) -> Option<(&str, BackendId)> {
        let is_meant = |one: &CredentialRef| matches!(one, CredentialRef::Stored(stored) if stored == reference);
        self.projects.iter().find_map(|(project, at_backends)| {
            let mut at_backends = at_backends.iter();
            let found = at_backends.find(|(_, secrets)| secrets.access_token.iter().any(is_meant));
            found.map(|(backend, _)| (project.as_str(), *backend))
        })
    }
}

impl ApiKeys {
    /// With what each is called.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, &CredentialRef)> {
        let keys = [
            ("read", &self.read),
            ("write", &self.write),
            ("admin", &self.admin),
        ];
        keys.into_iter()
            .filter_map(|(kind, key)| Some((kind, key.as_ref()?)))
    }

    fn all(&self) -> impl Iterator<Item = &CredentialRef> {
        [&self.read, &self.write, &self.admin].into_iter().flatten()
    }
}
