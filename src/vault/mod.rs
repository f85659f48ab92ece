//! The fifth room: a permit and a route become a lease on one credential.
//!
//! What it does: keeps the backend's tokens and keys, current and overlapping, and lends one for one
//! request; finds any of them in what comes back (`search.rs`). What it refuses to know: who calls, and what is in the
//! body.
//! Invariants: no permit, no credential (`lend` takes both); `Lease` has one mint; a secret is read again
//! only when a new vault is built; a project's credential is lent only to a route of that project.

mod grams;
mod search;
mod settings;

pub(crate) use search::{Finds, Owner, Search};
pub use settings::{ApiKeys, BackendSecrets, ProjectSecrets, VaultSettings};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use http::{HeaderName, HeaderValue};

use crate::apps::{BackendId, BackendNames};
use crate::authorize::Permit;
use crate::clock::{Clock, UnixMillis};
use crate::otlp::Signal;
use crate::profiles::{Credential, ExportValues, Profile};
use crate::reason::Reason;
use crate::route::Route;
use crate::secret::{Secret, SecretRef, UnreadableSecret};

/// How long a refused token stays behind the next before it is tried again, in milliseconds. A new or
/// reactivated token takes up to five minutes to reach all satellites.
const REFUSED_FOR_MS: i64 = 5 * 60 * 1000;

/// Every credential of the backend.
pub struct Vault {
    /// By project, then by the number of the backend.
    projects: HashMap<String, Box<[Held]>>,
    /// Of the organization, at the backend that is asked about it.
    keys: Keys,
    queried: BackendId,
    search: Search,
    clock: Clock,
}

/// What is held of one project at one backend.
#[derive(Default)]
struct Held {
    tokens: Option<Arc<ProjectTokens>>,
    keys: Keys,
}

#[derive(Default)]
struct Keys {
    read: Option<Arc<Secret>>,
    write: Option<Arc<Secret>>,
    admin: Option<Arc<Secret>>,
}

/// A project's access tokens and which of them is in use.
struct ProjectTokens {
    list: Vec<Arc<HeldToken>>,
    preferred: AtomicUsize,
    /// When the first token is tried again, Unix milliseconds.
    retry_first_at: AtomicI64,
}

/// A token, and what goes out with it.
struct HeldToken {
    secret: Arc<Secret>,
    /// In the order of `Signal::ALL`; none for what no head can carry.
    exports: [Option<ExportHead>; 3],
}

/// What an export carries to the backend besides its body, made once.
pub(crate) struct ExportHead {
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Before the path over HTTP.
    pub base: String,
    /// Instead of the client's path.
    pub path: Option<String>,
}

/// Where the vault's projects are, for what their exports carry.
pub(crate) struct ExportSurroundings<'a> {
    /// By the number of the backend.
    pub profiles: &'a [&'a Profile],
    pub names: &'a BackendNames,
    /// The app that declares a project.
    pub home: &'a dyn Fn(&str) -> Option<String>,
}

/// A credential that could not be read, for `check` and the log; never the secret.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct UnreadableCredential {
    /// `project checkout-prod, access token 1`
    pub what: String,
    #[source]
    pub cause: UnreadableSecret,
}

/// A credential that is kept, and whose it is.
type KeptCredential<'a> = (Owner, String, &'a Arc<Secret>);

/// A credential lent for one request. Private fields, no `Clone`, minted only in this room.
pub struct Lease {
    secret: Arc<Secret>,
    token: Option<Arc<HeldToken>>,
    /// For access tokens: the list and the place in it, to move on when the backend refuses.
    tokens: Option<(Arc<ProjectTokens>, usize)>,
}

/// Why nothing can be lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VaultFault {
    /// The project has no token, or no key of the operation's kind is configured.
    NoCredential,
    /// The permit and the route speak of different projects: a defect of ours, refused.
    Mismatch,
}

impl VaultFault {
    pub(crate) fn reason(self) -> Reason {
        match self {
            VaultFault::NoCredential => Reason::CredentialMissing,
            VaultFault::Mismatch => Reason::CredentialMismatch,
        }
    }
}

impl Vault {
    /// Reads every secret, or reports all that cannot be read.
    pub(crate) fn open(
        settings: &VaultSettings,
        around: &ExportSurroundings<'_>,
        clock: Clock,
    ) -> Result<Self, Vec<UnreadableCredential>> {
        let mut broken = Vec::new();
        let mut read = |what: String, reference: &SecretRef| match reference.open() {
            Ok(secret) => Some(Arc::new(secret)),
            Err(cause) => {
                broken.push(UnreadableCredential { what, cause });
                None
            }
        };
        let keys = open_keys("organization", &settings.api_keys, &mut read);
        let mut projects: HashMap<String, Box<[Held]>> = HashMap::new();
        for (name, secrets) in &settings.projects {
            let held = around.profiles.iter().zip(around.names.iter());
            let held = held.map(|(profile, (backend, called))| {
                let Some(secrets) = secrets.get(&backend) else {
                    return Held::default();
                };
                let whose = if backend == around.names.default {
                    format!("project `{name}`")
                } else {
                    format!("project `{name}` at backend `{called}`")
                };
                let tokens = secrets.access_token.iter().zip(1..);
                let list: Vec<Arc<HeldToken>> = tokens
                    .filter_map(|(reference, number)| {
                        read(format!("{whose}, access token {number}"), reference)
                    })
                    .map(|secret| Arc::new(HeldToken::new(secret, name, profile, around)))
                    .collect();
                let tokens = (!list.is_empty()).then(|| {
                    Arc::new(ProjectTokens {
                        list,
                        preferred: AtomicUsize::new(0),
                        retry_first_at: AtomicI64::new(i64::MIN),
                    })
                });
                let keys = open_keys(&whose, &secrets.api_key, &mut read);
                Held { tokens, keys }
            });
            projects.insert(name.clone(), held.collect());
        }
        if !broken.is_empty() {
            return Err(broken);
        }
        let search = Search::new(
            kept(&keys, &projects, around.names)
                .iter()
                .map(|(owner, _, secret)| (owner.clone(), &***secret)),
        );
        Ok(Vault {
            projects,
            keys,
            queried: around.names.queried,
            search,
            clock,
        })
    }

    /// All of them, to be found in an answer.
    pub(crate) fn search(&self) -> &Search {
        &self.search
    }

    /// Lends the credential that the permitted route needs.
    pub(crate) fn lend(&self, permit: &Permit, route: &Route) -> Result<Lease, VaultFault> {
        if permit.project() != route.project() || permit.backend() != route.backend() {
            return Err(VaultFault::Mismatch);
        }
        let held = route
            .project()
            .and_then(|project| self.projects.get(project)?.get(route.backend().place()));
        if route.credential() == Credential::AccessToken {
            let tokens = held
                .and_then(|held| held.tokens.as_ref())
                .ok_or(VaultFault::NoCredential)?;
            let lease = Lease::mint_token(tokens, tokens.current(self.clock.now()));
            // A report carries its credential within.
            return lease
                .filter(|lease| route.legacy().is_none() || !lease.secret.is_unwanted())
                .ok_or(VaultFault::NoCredential);
        }
        let own = held.and_then(|held| held.keys.of(route.credential()));
        // Another backend's keys would be told to this one.
        let of_all = (route.backend() == self.queried).then_some(&self.keys);
        let secret = own
            .or_else(|| of_all?.of(route.credential()))
            .ok_or(VaultFault::NoCredential)?;
        Ok(Lease::mint(secret.clone(), None, None))
    }

    /// Fingerprints of every credential, to tell in the record what a reload changed.
    pub(crate) fn fingerprints(&self, names: &BackendNames) -> Vec<(String, String)> {
        let kept = kept(&self.keys, &self.projects, names).into_iter();
        let mut all: Vec<_> = kept
            .map(|(owner, place, _)| (place, owner.fingerprint))
            .collect();
        all.sort();
        all
    }
}

/// Every credential, with its place by name.
fn kept<'a>(
    keys: &'a Keys,
    projects: &'a HashMap<String, Box<[Held]>>,
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
        let place = if backend == names.default {
            name.clone()
        } else {
            format!("{name}/{called}")
        };
        // Of other backends' tokens nothing is in the answers of the one that is asked, but by mistake.
        let is_access_token = backend == names.queried;
        for (kind, key) in held.keys.each() {
            all.push((
                owner(Some(&project), false, key),
                format!("{place}/api_key/{kind}"),
                key,
            ));
        }
        let tokens = held.tokens.iter().flat_map(|tokens| &tokens.list);
        let tokens = tokens.filter(|token| !token.secret.is_unwanted());
        for (index, token) in tokens.enumerate() {
            all.push((
                owner(Some(&project), is_access_token, &token.secret),
                format!("{place}/access_token/{index}"),
                &token.secret,
            ));
        }
    }
    all
}

impl Lease {
    /// The one mint of leases.
    fn mint(
        secret: Arc<Secret>,
        token: Option<Arc<HeldToken>>,
        tokens: Option<(Arc<ProjectTokens>, usize)>,
    ) -> Self {
        Lease {
            secret,
            token,
            tokens,
        }
    }

    fn mint_token(tokens: &Arc<ProjectTokens>, place: usize) -> Option<Self> {
        let token = tokens.list.get(place)?.clone();
        let secret = token.secret.clone();
        Some(Self::mint(
            secret,
            Some(token),
            Some((tokens.clone(), place)),
        ))
    }

    /// The credential as a header value that is never logged nor indexed (RFC 7541 section 7.1.3).
    /// `None` only for bytes that no header can carry, which `Secret` does not hold.
    pub(crate) fn header_value(&self, scheme: Option<&str>) -> Option<HeaderValue> {
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(self.secret.expose().len() + 8));
        if let Some(scheme) = scheme {
            bytes.extend_from_slice(scheme.as_bytes());
            bytes.push(b' ');
        }
        bytes.extend_from_slice(self.secret.expose());
        let mut value = HeaderValue::from_bytes(&bytes).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Of an access token: what this signal's exports carry.
    pub(crate) fn export(&self, signal: Signal) -> Option<&ExportHead> {
        let [traces, metrics, logs] = &self.token.as_ref()?.exports;
        match signal {
            Signal::Traces => traces,
            Signal::Metrics => metrics,
            Signal::Logs => logs,
        }
        .as_ref()
    }

    /// The same credential for another request of the same permit and route: a part may go in pieces.
    pub(crate) fn another(&self) -> Option<Lease> {
        match &self.tokens {
            Some((tokens, _)) => Self::mint_token(tokens, tokens.preferred.load(Ordering::Relaxed)),
            None => Some(Self::mint(self.secret.clone(), self.token.clone(), None)),
        }
    }

    /// The credential itself, for formats that carry it in the body.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// First digits of the secret's digest, for records.
    pub fn fingerprint(&self) -> String {
        self.secret.fingerprint()
    }

    /// The backend refused this token: later calls begin with the next one for a while. Gives the lease
    /// on that next one, unless the list has been gone through.
    pub fn refused(self, now: UnixMillis) -> Option<Lease> {
        let (tokens, place) = self.tokens?;
        let next = (place + 1) % tokens.list.len().max(1);
        if next == place {
            return None;
        }
        tokens.preferred.store(next, Ordering::Relaxed);
        tokens
            .retry_first_at
            .store(now.0.saturating_add(REFUSED_FOR_MS), Ordering::Relaxed);
        Self::mint_token(&tokens, next)
    }
}

impl HeldToken {
    fn new(
        secret: Arc<Secret>,
        project: &str,
        profile: &Profile,
        around: &ExportSurroundings<'_>,
    ) -> Self {
        let app = (around.home)(project).unwrap_or_default();
        let exports = Signal::ALL.map(|signal| {
            let values = ExportValues {
                token: secret.expose(),
                project,
                app: &app,
                signal,
            };
            let form = profile.exports(signal);
            let (base, path) = form.target(&values);
            Some(ExportHead {
                headers: form.headers(&values)?,
                base,
                path,
            })
        });
        HeldToken { secret, exports }
    }
}

impl ProjectTokens {
    fn current(&self, now: UnixMillis) -> usize {
        let preferred = self.preferred.load(Ordering::Relaxed);
        if preferred != 0 && now.0 >= self.retry_first_at.load(Ordering::Relaxed) {
            self.preferred.store(0, Ordering::Relaxed);
            return 0;
        }
        preferred
    }
}

fn open_keys(
    what: &str,
    settings: &ApiKeys,
    read: &mut impl FnMut(String, &SecretRef) -> Option<Arc<Secret>>,
) -> Keys {
    let mut open = |kind: &str, reference: &Option<SecretRef>| {
        reference
            .as_ref()
            .and_then(|reference| read(format!("{what}, {kind} API key"), reference))
    };
    Keys {
        read: open("read", &settings.read),
        write: open("write", &settings.write),
        admin: open("admin", &settings.admin),
    }
}

impl Keys {
    fn of(&self, credential: Credential) -> Option<&Arc<Secret>> {
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
