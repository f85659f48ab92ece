//! The third room: an `Identity` and a `Call` become a `Permit`, a `Reach` for an export that is read, or a `Denial`.
//!
//! What it does: reads the policy file, reports all its mistakes at once, and decides by it.
//! What it refuses to know: tokens, sockets, secrets, and the clock; the time is a parameter.
//! Invariants: what nothing allows is denied, and so is what cannot be evaluated; a deny beats every allow, and no
//! added deny ever grants; a query on a project is decided at the project's home; a permit has one mint.

mod assign;
mod aws_subjects;
mod binding;
mod check;
mod decide;
mod index;
mod permissions;
mod permit;
mod plant;
mod quotas;
mod raw;
mod reach;
mod spoken;
mod subject;
mod subjects;
mod verdict;
mod view;

pub use assign::{Assignment, By};
pub use binding::Effect;
pub use check::{AwsAccounts, PolicySurroundings};
pub(crate) use check::{CertificateAuthority, TrustDomainIssuer, policy_digest};
pub(crate) use permit::{Denial, Permit};
pub use raw::policy_schema;
pub(crate) use reach::Reach;
pub(crate) use spoken::SpokenFacts;
pub(crate) use verdict::Considered;
pub use verdict::{Target, Verdict};
pub(crate) use view::{NodeView, View};

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::accept::{Call, RequestKind};
use crate::apps::{AlsoTerm, BackendId, BackendNames, NodeId, Ownership, Tree};
use crate::clock::UnixMillis;
use crate::document::Spanned;
use crate::identify::{Facts, Identity, PolicyClaims, trust_domain_of};
use crate::otlp::Wanted;
use crate::profiles::{OWN_PERMISSIONS, Profile, Scope};
use crate::reason::Reason;

use self::binding::Binding;
use self::index::SubjectIndex;
use self::permissions::PermissionSet;
use self::quotas::Quotas;
use self::subject::{IssuerName, Subject};

/// Of a policy's SHA-256, what is its version.
const VERSION_DIGITS: usize = 16;

/// A checked policy file. Made by `Policy::load`; never changes.
#[derive(Debug)]
pub struct Policy {
    /// Of the file's bytes, in lower-case hexadecimal.
    sha256: Arc<str>,
    /// The file's text.
    source: Arc<str>,
    organization: String,
    profile: Arc<Profile>,
    tree: Tree,
    ownership: Ownership,
    /// The attributes that `ownership` asks for, for who reads exports.
    wanted: Arc<Wanted>,
    quotas: Quotas,
    bindings: Vec<Binding>,
    index: SubjectIndex,
    /// Where each binding stands, by name.
    places: ahash::HashMap<Arc<str>, u32>,
    projects: Vec<Spanned<String>>,
    backends: BackendNames,
    /// Where apps name backends: the node, and the backend with its place in the file.
    backend_places: Vec<(NodeId, Spanned<BackendId>)>,
    scopes: Scopes,
}

/// A project and a backend that holds data of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendUse {
    pub project: Arc<str>,
    pub backend: BackendId,
    /// Where the policy makes it so.
    pub line: u64,
    pub column: u64,
}

/// Which permissions can have an effect where.
#[derive(Debug, Default)]
struct Scopes {
    app: PermissionSet,
    project: PermissionSet,
    organization: PermissionSet,
    /// The gateway's own: anywhere.
    own: PermissionSet,
}

impl Policy {
    /// Decides on a call and mints the permit. Asks of our own pages are no operations and are denied here.
    pub fn authorize(
        &self,
        identity: &Identity,
        call: &Call,
        now: UnixMillis,
    ) -> Result<Permit, Denial> {
        self.judge(identity.facts(), call, now)
    }

    fn judge(&self, facts: &Facts, call: &Call, now: UnixMillis) -> Result<Permit, Denial> {
        let (operation, target) = match &call.kind {
            RequestKind::Ingest(ask) => (ask.operation, Some(Target::App(ask.app.as_ref()))),
            RequestKind::Legacy(ask) => (ask.operation, Some(Target::App(ask.app.as_ref()))),
            RequestKind::Query(ask) if ask.organization != self.organization => {
                return Err(Denial {
                    reason: Reason::OrganizationUnknown,
                    bindings: Vec::new(),
                });
            }
            RequestKind::Query(ask) => {
                let target = match self.profile.operation(ask.operation).scope {
                    Scope::App => None,
                    Scope::Project => ask.project.as_deref().map(Target::Project),
                    Scope::Organization => Some(Target::Organization),
                    Scope::Projects => Some(Target::Projects),
                };
                (ask.operation, target)
            }
            RequestKind::Own(_)
            | RequestKind::Site(_)
            | RequestKind::Tree(_)
            | RequestKind::Alert(_)
            | RequestKind::Unknown
            | RequestKind::Unacceptable(_) => {
                return Err(Denial {
                    reason: Reason::OperationUnknown,
                    bindings: Vec::new(),
                });
            }
        };
        let Some(target) = target else {
            return Err(Denial {
                reason: Reason::EvaluationError,
                bindings: Vec::new(),
            });
        };
        Permit::mint(operation, self.decide(facts, operation, target, now))
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the file's bytes.
    pub fn version(&self) -> &str {
        self.sha256.get(..VERSION_DIGITS).unwrap_or_default()
    }

    /// The SHA-256 of the file's bytes, in lower-case hexadecimal.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The file's text, as it was read.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The tree of apps.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The projects that the tree declares, with their places in the file.
    pub fn projects(&self) -> &[Spanned<String>] {
        &self.projects
    }

    /// The backends that apps may name.
    pub fn backends(&self) -> &BackendNames {
        &self.backends
    }

    /// The backend of an app's data at this time.
    pub fn backend_of(&self, node: NodeId, now: UnixMillis) -> BackendId {
        let named = self.tree.backend_of(node, now);
        named.unwrap_or(self.backends.default)
    }

    /// Which other backends get an app's data at this time; the app's own is none of them.
    pub fn also_of(&self, node: NodeId, now: UnixMillis) -> impl Iterator<Item = AlsoTerm> {
        self.also_beside(node, self.backend_of(node, now))
    }

    /// The same where the app's own backend is this one.
    pub(crate) fn also_beside(
        &self,
        node: NodeId,
        own: BackendId,
    ) -> impl Iterator<Item = AlsoTerm> {
        let legs = self.tree.node(node).map(|node| node.also.as_slice());
        let legs = legs.unwrap_or_default().iter().copied();
        legs.filter(move |leg| leg.backend != own)
    }

    /// Every project and backend that hold data of some app at some time, each pair once, with the place in the file that
    /// makes it so: where the backend is named, or else where the project is.
    pub fn backend_uses(&self) -> Vec<BackendUse> {
        let mut found: Vec<BackendUse> = Vec::new();
        let mut known: BTreeSet<(&str, BackendId)> = BTreeSet::new();
        for (id, node) in self.tree.nodes() {
            let Some(project) = self.tree.project_of(id) else {
                continue;
            };
            let own = node.backends.all(self.backends.default);
            for backend in own.chain(node.also.iter().map(|leg| leg.backend)) {
                if !known.insert((project, backend)) {
                    continue;
                }
                let place = self.place_of(id, backend).or_else(|| {
                    let declared = self.projects.iter().find(|one| *one.value == **project);
                    declared.map(|one| one.as_ref().map(drop))
                });
                found.push(BackendUse {
                    project: project.clone(),
                    backend,
                    line: place.as_ref().map_or(0, Spanned::line),
                    column: place.as_ref().map_or(0, Spanned::column),
                });
            }
        }
        found
    }

    /// Where apps name other backends that get their data too, one place for each of those apps.
    pub fn also_places(&self) -> Vec<Spanned<()>> {
        let mut known = BTreeSet::new();
        let is_also = |(node, place): &&(NodeId, Spanned<BackendId>)| {
            let node = self.tree.node(*node);
            node.is_some_and(|node| node.also.iter().any(|leg| leg.backend == place.value))
        };
        let places = self.backend_places.iter().filter(is_also);
        let first = places.filter(|(node, _)| known.insert(*node));
        first.map(|(_, place)| place.as_ref().map(drop)).collect()
    }

    /// Where the nearest app at or above a node names this backend.
    fn place_of(&self, node: NodeId, backend: BackendId) -> Option<Spanned<()>> {
        let above = |(named, place): &&(NodeId, Spanned<BackendId>)| {
            place.value == backend && self.tree.contains(*named, node)
        };
        let (_, place) = self.backend_places.iter().rfind(above)?;
        Some(place.as_ref().map(drop))
    }

    /// The names of all bindings, in the file's order.
    pub fn binding_names(&self) -> impl Iterator<Item = &str> {
        self.bindings.iter().map(|binding| &*binding.name)
    }

    /// The SPIFFE trust domains that bindings name, sorted, each once.
    pub fn trust_domains(&self) -> Vec<&str> {
        let subjects = self.bindings.iter().flat_map(|binding| &binding.subjects);
        let named = subjects.filter_map(|one| trust_domain_of(one.spiffe.as_ref()?.as_str()));
        named.collect::<BTreeSet<&str>>().into_iter().collect()
    }

    /// By what bindings tell the callers of an issuer of tokens apart: claims sorted, each once.
    pub fn claims_of(&self, issuer: &str) -> PolicyClaims {
        let is_theirs = |one: &&Subject| matches!(&one.issuer, Some(IssuerName::Oidc(named)) if **named == *issuer);
        let (mut groups, mut claims, mut denied) = (false, BTreeSet::new(), BTreeSet::new());
        for binding in &self.bindings {
            for subject in binding.subjects.iter().filter(is_theirs) {
                groups |= subject.group.is_some();
                let paths = || subject.claims.iter().map(|(path, _)| path.clone());
                claims.extend(paths());
                if binding.effect == Effect::Deny {
                    denied.extend(paths());
                }
            }
        }
        PolicyClaims {
            groups,
            claims: claims.into_iter().collect(),
            denied: denied.into_iter().collect(),
        }
    }
}

impl Scopes {
    fn of(profile: &Profile) -> Self {
        let mut scopes = Scopes::default();
        OWN_PERMISSIONS
            .iter()
            .filter_map(|name| profile.permission(name))
            .for_each(|id| scopes.own.insert(id));
        for operation in profile.operations() {
            match operation.scope {
                Scope::App => scopes.app.insert(operation.permission_id),
                Scope::Project | Scope::Projects => scopes.project.insert(operation.permission_id),
                Scope::Organization => scopes.organization.insert(operation.permission_id),
            }
        }
        scopes
    }

    /// The permissions that mean something at a node.
    fn at(&self, tree: &Tree, node: crate::apps::NodeId) -> PermissionSet {
        let mut set = self.own;
        if tree.project_of(node).is_some() {
            set = set.union(self.app);
        }
        if tree
            .node(node)
            .is_some_and(|node| node.declared_project().is_some())
        {
            set = set.union(self.project);
        }
        if node == crate::apps::NodeId::ROOT {
            set = set.union(self.organization);
        }
        set
    }
}

#[cfg(test)]
mod tests;
