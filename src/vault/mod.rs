//! The fifth room: a permit and a route become a lease on one credential.
//!
//! What it does: keeps the backend's tokens and keys, current and overlapping, and lends one for one
//! request; finds any of them in what comes back (`search.rs`). What it refuses to know: who calls, and what is in the
//! body.
//! Invariants: no permit, no credential (`lend` takes both), but for an empty export with which a token that waits is tried;
//! `Lease` has one mint; a file is read again only when a new vault is built, and no store is asked here: what the shelf has
//! serves; a project's credential is lent only to a route of that project.

mod grams;
mod contents;
mod listing;
mod search;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use search::{Finds, Owner, Search};
pub use settings::{ApiKeys, BackendSecrets, ProjectSecrets, VaultSettings};

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};

use crate::apps::{BackendId, BackendNames};
use crate::authorize::Permit;
use crate::clock::{Clock, UnixMillis};
use crate::lock::Mutex;
use crate::otlp::Signal;
use crate::profiles::{Credential, ExportValues, Profile};
use crate::reason::Reason;
use crate::route::Route;
use crate::secret::{Secret, SecretRef, UnreadableSecret};
use crate::stores::{Kv2, OpenStoreFault, Shelf, StoredRef};
use contents::{VaultContents, kept};
pub(crate) use listing::CredentialRow;

/// How long a refused token stays behind the next before it is tried again, in milliseconds. A new or
/// reactivated token takes up to five minutes to reach all satellites.
const REFUSED_FOR_MS: i64 = 5 * 60 * 1000;

/// Every credential of the backend.
pub struct Vault {
    settings: VaultSettings,
    /// What files and variables held.
    here: HashMap<SecretRef, Arc<Secret>>,
    /// Made anew when the shelf has something else to serve.
    contents: ArcSwap<VaultContents>,
    /// Held while they are made, so that older ones never replace newer ones.
    refreshing: Mutex<()>,
    shelf: Arc<Shelf>,
    store: Option<Arc<Kv2>>,
    queried: BackendId,
    clock: Clock,
}

/// A project's access tokens and which of them is in use.
struct ProjectTokens {
    list: Vec<Arc<HeldToken>>,
    preferred: AtomicUsize,
    /// When the first token is tried again, Unix milliseconds.
    retry_first_at: AtomicI64,
    /// What took its place, for what was lent before.
    successor: OnceLock<Arc<ProjectTokens>>,
}

/// A token, and what goes out with it.
struct HeldToken {
    secret: Arc<Secret>,
    /// In the order of `Signal::ALL`; none for what no head can carry.
    exports: [Option<ExportHead>; 3],
    /// How often it was lent.
    uses: AtomicU64,
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

/// Why there is no vault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenVaultFault {
    #[error(transparent)]
    Credential(#[from] UnreadableCredential),
    #[error(transparent)]
    Store(#[from] OpenStoreFault),
}

/// An empty export with a token that waits to be tried: where it goes, and what it carries.
pub(crate) struct Trial {
    pub(crate) backend: BackendId,
    signal: Signal,
    head: ExportHead,
}

impl Trial {
    /// Where OTLP has this signal, if the profile says nothing else.
    pub(crate) fn path(&self) -> &'static str {
        match self.signal {
            Signal::Traces => "/v1/traces",
            Signal::Metrics => "/v1/metrics",
            Signal::Logs => "/v1/logs",
        }
    }

    pub(crate) fn head(&self) -> &ExportHead {
        &self.head
    }
}

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
    /// Reads every secret that is kept here, or reports all that cannot be read. What a store has comes later; what was had of
    /// it by `previous` stays.
    pub(crate) fn open(
        settings: &VaultSettings,
        around: &ExportSurroundings<'_>,
        clock: Clock,
        previous: Option<&Vault>,
    ) -> Result<Self, Vec<OpenVaultFault>> {
        let (here, broken) = contents::read_here(settings, around);
        let mut faults: Vec<OpenVaultFault> = broken.into_iter().map(Into::into).collect();
        let known = previous.and_then(|vault| vault.store.as_ref());
        let store = settings.store.as_ref().and_then(|wanted| {
            // Logged in as it is.
            if let Some(known) = known.filter(|known| known.settings() == wanted) {
                return Some(known.clone());
            }
            let opened = Kv2::open(wanted).map_err(|fault| faults.push(fault.into()));
            opened.ok().map(Arc::new)
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        // Another store's secrets have the same names, and are not the same.
        let is_same_store = store
            .as_ref()
            .zip(known)
            .is_some_and(|(store, known)| Arc::ptr_eq(store, known));
        let shelf = previous
            .filter(|_| is_same_store)
            .map_or_else(Arc::default, |vault| vault.shelf.clone());
        shelf.retain(&settings.stored());
        let contents = VaultContents::new(settings, &here, &shelf, around, None);
        Ok(Vault {
            settings: settings.clone(),
            here,
            contents: ArcSwap::from_pointee(contents),
            refreshing: Mutex::default(),
            shelf,
            store,
            queried: around.names.queried,
            clock,
        })
    }

    /// Takes over what the shelf has to serve, if that is something else than before.
    pub(crate) fn refresh(&self, around: &ExportSurroundings<'_>) -> bool {
        let _alone = self.refreshing.lock();
        let before = self.contents.load_full();
        if before.generation == self.shelf.generation() {
            return false;
        }
        let next = VaultContents::new(
            &self.settings,
            &self.here,
            &self.shelf,
            around,
            Some(&before),
        );
        self.contents.store(Arc::new(next));
        true
    }

    /// Whether the shelf has something else to serve than what is lent.
    pub(crate) fn is_behind(&self) -> bool {
        self.contents.load().generation != self.shelf.generation()
    }

    /// What was had of the store.
    pub(crate) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    pub(crate) fn store(&self) -> Option<&Arc<Kv2>> {
        self.store.as_ref()
    }

    /// What a token that waits is tried with; `None`: it is no access token, or its backend takes none in a head.
    pub(crate) fn trial(
        &self,
        reference: &StoredRef,
        secret: &Arc<Secret>,
        around: &ExportSurroundings<'_>,
    ) -> Option<Trial> {
        let (project, backend) = self.settings.token_of(reference)?;
        trial_of(secret, (project, backend), around)
    }

    /// What each access token that is lent is tried with, with its place by name and its digest.
    pub(crate) fn trials(
        &self,
        around: &ExportSurroundings<'_>,
    ) -> Vec<(String, String, Option<Trial>)> {
        let contents = self.contents.load();
        let mut found = Vec::new();
        for (project, held) in &contents.projects {
            for ((backend, called), held) in around.names.iter().zip(held.iter()) {
                let tokens = held.tokens.iter().flat_map(|tokens| &tokens.list);
                let tokens = tokens.filter(|token| !token.secret.is_unwanted());
                for (index, token) in tokens.enumerate() {
                    let at = (project.as_str(), backend);
                    found.push((
                        contents::place(at, called, around.names, index),
                        token.secret.fingerprint(),
                        trial_of(&token.secret, at, around),
                    ));
                }
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    /// All of them, to be found in an answer.
    pub(crate) fn search(&self) -> Arc<Search> {
        self.contents.load().search.clone()
    }

    /// Lends the credential that the permitted route needs.
    pub(crate) fn lend(&self, permit: &Permit, route: &Route) -> Result<Lease, VaultFault> {
        if permit.project() != route.project() || permit.backend() != route.backend() {
            return Err(VaultFault::Mismatch);
        }
        let contents = self.contents.load();
        let held = route
            .project()
            .and_then(|project| contents.projects.get(project)?.get(route.backend().place()));
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
        let of_all = (route.backend() == self.queried).then_some(&contents.keys);
        let secret = own
            .or_else(|| of_all?.of(route.credential()))
            .ok_or(VaultFault::NoCredential)?;
        Ok(Lease::mint(secret.clone(), None, None))
    }

    /// Fingerprints of every credential, to tell in the record what a reload changed.
    pub(crate) fn fingerprints(&self, names: &BackendNames) -> Vec<(String, String)> {
        let contents = self.contents.load();
        let kept = kept(&contents.keys, &contents.projects, names).into_iter();
        let mut all: Vec<_> = kept
            .map(|(owner, place, _)| (place, owner.fingerprint))
            .collect();
        all.sort();
        all
    }
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
        token.uses.fetch_add(1, Ordering::Relaxed);
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
    /// on that next one, unless the list has been gone through. Where other tokens came into use since it was lent, the
    /// lease is on one of them.
    pub fn refused(self, now: UnixMillis) -> Option<Lease> {
        let (tokens, place) = self.tokens?;
        let newest = tokens.newest();
        let same = newest.list.iter().position(|token| {
            let secret = &token.secret;
            secret.expose() == self.secret.expose()
        });
        let (tokens, place) = match same {
            _ if Arc::ptr_eq(&newest, &tokens) => (tokens, place),
            Some(place) => (newest, place),
            None => return Self::mint_token(&newest, newest.current(now)),
        };
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

fn trial_of(
    secret: &Arc<Secret>,
    (project, backend): (&str, BackendId),
    around: &ExportSurroundings<'_>,
) -> Option<Trial> {
    let profile = around.profiles.get(backend.place())?;
    let token = HeldToken::new(secret.clone(), project, profile, around);
    let mut signals = Signal::ALL.into_iter().zip(token.exports);
    let (signal, head) = signals.find_map(|(signal, head)| Some((signal, head?)))?;
    Some(Trial {
        backend,
        signal,
        head,
    })
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
        HeldToken {
            secret,
            exports,
            uses: AtomicU64::new(0),
        }
    }
}

impl ProjectTokens {
    /// Whether these are its tokens, in their order.
    fn is_of(&self, secrets: &[Arc<Secret>]) -> bool {
        let own = self.list.iter().map(|token| &token.secret);
        self.list.len() == secrets.len()
            && own
                .zip(secrets)
                .all(|(own, secret)| Arc::ptr_eq(own, secret))
    }

    /// What it was replaced by in the end, or itself.
    fn newest(self: &Arc<Self>) -> Arc<Self> {
        let mut newest = self;
        while let Some(next) = newest.successor.get() {
            newest = next;
        }
        newest.clone()
    }

    fn current(&self, now: UnixMillis) -> usize {
        let preferred = self.preferred.load(Ordering::Relaxed);
        if preferred != 0 && now.0 >= self.retry_first_at.load(Ordering::Relaxed) {
            self.preferred.store(0, Ordering::Relaxed);
            return 0;
        }
        preferred
    }
}
