//! What the vault holds at one time.
//!
//! What it does: puts what files, variables and the shelf have into the places from which it is lent. What it refuses to know:
//! who borrows, and when the shelf changes. Invariants: it never changes, the next one is built; what is the same in both
//! keeps its memory of refused tokens; a secret that is referred to twice is kept once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize};
use std::sync::{Arc, OnceLock};

use super::{
    ApiKeys, ExportSurroundings, HeldToken, Owner, ProjectTokens, Search, UnreadableCredential,
    VaultSettings,
};
use crate::apps::{BackendId, BackendNames};
use crate::profiles::Credential;
use crate::secret::{Secret, SecretRef};
use crate::stores::{CredentialRef, Shelf};

/// Secrets by where they are kept.
type Here = HashMap<SecretRef, Arc<Secret>>;

/// A credential that is kept, and whose it is.
type KeptCredential<'a> = (Owner, String, &'a Arc<Secret>);

pub(super) struct VaultContents {
    /// By project, then by the number of the backend.
    pub(super) projects: HashMap<String, Box<[HeldCredentials]>>,
    /// Of the organization, at the backend that is asked about it.
    pub(super) keys: Keys,
    pub(super) search: Arc<Search>,
    /// Of the shelf, when this was built.
    pub(super) generation: u64,
}

/// What is held of one project at one backend.
#[derive(Default)]
pub(super) struct HeldCredentials {
    pub(super) tokens: Option<Arc<ProjectTokens>>,
    pub(super) keys: Keys,
}

#[derive(Default)]
pub(super) struct Keys {
    read: Option<Arc<Secret>>,
    write: Option<Arc<Secret>>,
    admin: Option<Arc<Secret>>,
}

/// Reads what is kept in files and variables; and what cannot be read, with whose it is.
pub(super) fn read_here(
    settings: &VaultSettings,
    around: &ExportSurroundings<'_>,
) -> (Here, Vec<UnreadableCredential>) {
    let mut here = Here::new();
    let mut broken = Vec::new();
    let mut read = |what: String, reference: &CredentialRef| {
        let CredentialRef::Here(reference) = reference else {
            return;
        };
        if here.contains_key(reference) {
            return;
        }
        match reference.open() {
            Ok(secret) => drop(here.insert(reference.clone(), Arc::new(secret))),
            Err(cause) => broken.push(UnreadableCredential { what, cause }),
        }
    };
    let each_key = |whose: &str, keys: &ApiKeys, read: &mut dyn FnMut(String, &CredentialRef)| {
        for (kind, reference) in keys.each() {
            read(format!("{whose}, {kind} API key"), reference);
        }
    };
    each_key("organization", &settings.api_keys, &mut read);
    for (name, secrets) in &settings.projects {
        for (backend, called) in around.names.iter() {
            let Some(secrets) = secrets.get(&backend) else {
                continue;
            };
            let whose = if backend == around.names.default {
                format!("project `{name}`")
            } else {
                format!("project `{name}` at backend `{called}`")
            };
            for (reference, number) in secrets.access_token.iter().zip(1..) {
                read(format!("{whose}, access token {number}"), reference);
            }
            each_key(&whose, &secrets.api_key, &mut read);
        }
    }
    (here, broken)
}

impl VaultContents {
    pub(super) fn new(
        settings: &VaultSettings,
        here: &Here,
        shelf: &Shelf,
        around: &ExportSurroundings<'_>,
        previous: Option<&VaultContents>,
    ) -> Self {
        // Before what it has: a change meanwhile is seen by the next look.
        let generation = shelf.generation();
        let had = |reference: &CredentialRef| -> Vec<Arc<Secret>> {
            match reference {
                CredentialRef::Here(reference) => {
                    here.get(reference).cloned().into_iter().collect()
                }
                CredentialRef::Stored(reference) => {
                    let versions = shelf.serving(reference).into_iter();
                    versions.map(|version| version.secret).collect()
                }
            }
        };
        let one = |reference: &Option<CredentialRef>| {
            let reference = reference.as_ref()?;
            had(reference).into_iter().next()
        };
        let keys_of = |keys: &ApiKeys| Keys {
            read: one(&keys.read),
            write: one(&keys.write),
            admin: one(&keys.admin),
        };
        let keys = keys_of(&settings.api_keys);
        let mut projects: HashMap<String, Box<[HeldCredentials]>> = HashMap::new();
        for (name, secrets) in &settings.projects {
            let earlier = previous.and_then(|previous| previous.projects.get(name));
            let held = around.profiles.iter().zip(around.names.iter());
            let held = held.map(|(profile, (backend, _))| {
                let Some(secrets) = secrets.get(&backend) else {
                    return HeldCredentials::default();
                };
                let mut list: Vec<Arc<Secret>> = Vec::new();
                for secret in secrets.access_token.iter().flat_map(had) {
                    let is_known = |known: &Arc<Secret>| known.expose() == secret.expose();
                    // What stands in several places is tried once; none at all may be wanted.
                    if secret.is_unwanted() || !list.iter().any(is_known) {
                        list.push(secret);
                    }
                }
                let earlier = earlier.and_then(|earlier| earlier.get(backend.place()));
                let earlier = earlier.and_then(|earlier| earlier.tokens.as_ref());
                let same = earlier.filter(|tokens| tokens.is_of(&list));
                let tokens = same.cloned().or_else(|| {
                    let list: Vec<Arc<HeldToken>> = list
                        .into_iter()
                        .map(|secret| Arc::new(HeldToken::new(secret, name, profile, around)))
                        .collect();
                    (!list.is_empty()).then(|| {
                        Arc::new(ProjectTokens {
                            list,
                            preferred: AtomicUsize::new(0),
                            retry_first_at: AtomicI64::new(i64::MIN),
                            successor: OnceLock::new(),
                        })
                    })
                });
                if let (Some(earlier), Some(tokens)) = (earlier, &tokens)
                    && !Arc::ptr_eq(earlier, tokens)
                {
                    earlier.successor.get_or_init(|| tokens.clone());
                }
                HeldCredentials {
                    tokens,
                    keys: keys_of(&secrets.api_key),
                }
            });
            projects.insert(name.clone(), held.collect());
        }
        let waiting = shelf.waiting();
        let of_waiting = waiting.iter().map(|(reference, version)| {
            let of = settings.token_of(reference);
            let owner = Owner {
                project: of.map(|(project, _)| Arc::from(project)),
                is_access_token: of.is_some_and(|(_, backend)| backend == around.names.queried),
                fingerprint: version.secret.fingerprint(),
            };
            (owner, &*version.secret)
        });
        let search = Search::new(
            kept(&keys, &projects, around.names)
                .iter()
                .map(|(owner, _, secret)| (owner.clone(), &***secret))
                .chain(of_waiting),
        );
        VaultContents {
            projects,
            keys,
            search: Arc::new(search),
            generation,
        }
    }
}

/// Every credential, with its place by name.
pub(super) fn kept<'a>(
    keys: &'a Keys,
    projects: &'a HashMap<String, Box<[HeldCredentials]>>,
    names: &BackendNames,
) -> Vec<KeptCredential<'a>> {
    let owner = |project: Option<&Arc<str>>, is_access_token, secret: &Secret| Owner {
        project: project.cloned(),
        is_access_token,
        fingerprint: secret.fingerprint(),
    };
    let mut all: Vec<KeptCredential<'a>> = Vec::new();
    for (kind, key) in keys.each() {
        all.push((
            owner(None, false, key),
            format!("organization/api_key/{kind}"),
            key,
        ));
    }
    let each = projects.iter().flat_map(|(name, held)| {
        let at_backends = names.iter().zip(held.iter());
        at_backends.map(move |((backend, called), held)| (name, backend, called, held))
    });
    for (name, backend, called, held) in each {
        let project = Arc::from(name.as_str());
        let at = (name.as_str(), backend);
        let around = whose(at, called, names);
        // Of other backends' tokens nothing is in the answers of the one that is asked, but by mistake.
        let is_access_token = backend == names.queried;
        for (kind, key) in held.keys.each() {
            all.push((
                owner(Some(&project), false, key),
                format!("{around}/api_key/{kind}"),
                key,
            ));
        }
        let tokens = held.tokens.iter().flat_map(|tokens| &tokens.list);
        let tokens = tokens.filter(|token| !token.secret.is_unwanted());
        for (index, token) in tokens.enumerate() {
            all.push((
                owner(Some(&project), is_access_token, &token.secret),
                place(at, called, names, index),
                &token.secret,
            ));
        }
    }
    all
}

/// A project's name, and the backend's where it is not the default one.
pub(super) fn whose(
    (project, backend): (&str, BackendId),
    called: &str,
    names: &BackendNames,
) -> String {
    if backend == names.default {
        project.to_owned()
    } else {
        format!("{project}/{called}")
    }
}

/// `checkout-prod/access_token/0`: what an access token is called.
pub(super) fn place(
    at: (&str, BackendId),
    called: &str,
    names: &BackendNames,
    index: usize,
) -> String {
    format!("{}/access_token/{index}", whose(at, called, names))
}

impl Keys {
    pub(super) fn of(&self, credential: Credential) -> Option<&Arc<Secret>> {
        match credential {
            Credential::AccessToken => None,
            Credential::Read => self.read.as_ref(),
            Credential::Write => self.write.as_ref(),
            Credential::Admin => self.admin.as_ref(),
        }
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &Arc<Secret>)> {
        let keys = [
            ("read", &self.read),
            ("write", &self.write),
            ("admin", &self.admin),
        ];
        keys.into_iter()
            .filter_map(|(kind, key)| Some((kind, key.as_ref()?)))
    }
}
