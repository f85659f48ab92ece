//! From a policy file to a `Policy`, or to all of its mistakes.
//!
//! What it does: has the tree planted, expands roles, and checks bindings against tree, profile and issuers; `check/effects.rs` says what can
//! never have an effect. What it refuses to know: where the text comes from. Invariants: a `Policy` exists only if
//! there is no error; every finding has a place; nothing stops the search for further ones but a broken structure.

mod effects;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::binding::{Binding, Effect, Places, UnknownServices};
use super::index::{IndexEntry, SubjectIndex};
use super::permissions::{Expansion, PERMISSION_LIMIT};
use super::plant::Planted;
use super::quotas::Quotas;
use super::raw::{RawBinding, RawEffect, RawPolicy, RawUnknownServices};
use super::{Policy, Scopes};
use crate::apps::{AppPath, BackendNames, NodeId, Ownership, Tree};
use crate::clock::{UnixMillis, Window};
use crate::document::{self, Diagnostic, Spanned, name, nearest};
use crate::otlp::Wanted;
use crate::profiles::Profile;

/// What a policy is checked against.
#[derive(Clone, Copy)]
pub struct PolicySurroundings<'a> {
    pub profile: &'a Arc<Profile>,
    /// Our organization at the backend.
    pub organization: &'a str,
    /// The names of the configured issuers of tokens, and of accounts of AWS. `mtls` is known besides.
    pub issuers: &'a [String],
    /// Those of them that issue JWT-SVIDs.
    pub trust_domains: &'a [TrustDomainIssuer],
    /// The authorities for client certificates that have names.
    pub authorities: &'a [CertificateAuthority],
    /// Those of them that are accounts of AWS.
    pub aws: &'a [AwsAccounts],
    /// The names of the configured destinations of alerts.
    pub destinations: &'a [String],
    /// The configured backends.
    pub backends: &'a BackendNames,
    /// For warnings about bindings that are over; nothing else depends on it.
    pub now: UnixMillis,
}

/// An authority for client certificates, as far as policies speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateAuthority {
    pub name: String,
    /// The SPIFFE trust domains that it may speak for.
    pub trust_domains: Vec<String>,
}

/// An issuer of JWT-SVIDs, as far as policies speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomainIssuer {
    pub name: String,
    /// The only one that it may speak for.
    pub trust_domain: String,
}

/// The callers of some AWS accounts, as far as policies speak of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsAccounts {
    /// Which policies call the issuer.
    pub name: String,
    pub partition: String,
    pub accounts: Vec<String>,
}

/// A role's or binding's permissions, expanded, each with its place.
type Permissions = Vec<(Spanned<String>, Expansion)>;

/// A check under way.
pub(super) struct Checker<'a> {
    file: &'a Path,
    pub around: PolicySurroundings<'a>,
    found: Vec<Diagnostic>,
}

/// The finding that was just added, to be given a hint.
pub(super) struct Finding<'a>(Option<&'a mut Diagnostic>);

impl Finding<'_> {
    pub(crate) fn hint(self, hint: impl Into<String>) {
        if let Some(found) = self.0 {
            found.hint = Some(hint.into());
        }
    }
}

impl Policy {
    /// Reads a policy. `text` stands in `file`, which is only named. There is a policy if no finding is an error;
    /// findings are in the file's order.
    pub fn load(
        file: &Path,
        text: &str,
        around: &PolicySurroundings<'_>,
    ) -> (Option<Policy>, Vec<Diagnostic>) {
        let raw: RawPolicy = match document::load(file, text) {
            Ok(raw) => raw,
            Err(found) => return (None, found),
        };
        let mut checker = Checker {
            file,
            around: *around,
            found: Vec::new(),
        };
        let policy = checker.policy(&raw, text);
        let mut found = checker.found;
        found.sort_by(|one, other| {
            (one.line, one.column, &one.message).cmp(&(other.line, other.column, &other.message))
        });
        found.dedup();
        (
            if found.iter().any(Diagnostic::is_error) {
                None
            } else {
                Some(policy)
            },
            found,
        )
    }
}

impl Checker<'_> {
    pub(crate) fn error<T>(&mut self, at: &Spanned<T>, message: impl Into<String>) -> Finding<'_> {
        self.found.push(Diagnostic::error(
            self.file,
            at.line(),
            at.column(),
            message,
        ));
        Finding(self.found.last_mut())
    }

    pub(crate) fn warning<T>(
        &mut self,
        at: &Spanned<T>,
        message: impl Into<String>,
    ) -> Finding<'_> {
        self.found.push(Diagnostic::warning(
            self.file,
            at.line(),
            at.column(),
            message,
        ));
        Finding(self.found.last_mut())
    }

    /// How many errors there are so far.
    pub(crate) fn errors(&self) -> usize {
        self.found.iter().filter(|found| found.is_error()).count()
    }

    fn policy(&mut self, raw: &RawPolicy, text: &str) -> Policy {
        if raw.version.value != 1 {
            self.error(&raw.version, "this version of the format is unknown")
                .hint("write `version: 1`");
        }
        let profile = self.around.profile;
        if profile.permissions().len() > PERMISSION_LIMIT {
            self.error(
                &raw.version,
                format!("the profile has more than {PERMISSION_LIMIT} permissions"),
            );
        }
        let mut planted = Planted::default();
        self.apps(&raw.apps, &mut planted);
        let tree = planted.tree();
        self.rivals(&tree, &planted);
        let scopes = Scopes::of(profile);
        let roles: BTreeMap<&str, Permissions> = raw
            .roles
            .0
            .iter()
            .map(|(role, list)| (role.value.as_str(), self.permissions(list)))
            .collect();
        let mut bindings = Vec::new();
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        for binding in &raw.bindings {
            if binding.name.value.is_empty() {
                self.error(&binding.name, "a binding needs a name");
            } else if let Some(line) = seen.insert(&binding.name.value, binding.name.line()) {
                self.error(
                    &binding.name,
                    format!("there is a binding {} already", name(&binding.name.value)),
                )
                .hint(format!(
                    "it is on line {line}; records tell bindings apart by their names"
                ));
            }
            bindings.push(self.binding(binding, &roles, &tree, &scopes));
        }
        self.unreached(&tree, &bindings, &planted.places, &scopes);
        let entries = bindings.iter().zip(0..).flat_map(|(binding, place)| {
            binding.subjects.iter().map(move |subject| IndexEntry {
                binding: place,
                subject: subject.clone(),
            })
        });
        let index = SubjectIndex::build(entries.collect());
        let ownership = Ownership::of(&tree);
        let wanted = Wanted::new(ownership.watched().iter().map(|name| &**name));
        Policy {
            backends: self.around.backends.clone(),
            sha256: policy_digest(text).into(),
            source: text.into(),
            organization: self.around.organization.to_owned(),
            profile: profile.clone(),
            ownership,
            wanted,
            quotas: Quotas::of(&tree, &bindings),
            tree,
            places: bindings
                .iter()
                .zip(0..)
                .map(|(binding, place)| (binding.name.clone(), place))
                .collect(),
            bindings,
            index,
            backend_places: planted.backend_places,
            projects: planted.projects,
            scopes,
        }
    }

    /// Expands a list of permissions; what stands for nothing is reported and left out.
    fn permissions(&mut self, list: &[Spanned<String>]) -> Permissions {
        let profile = self.around.profile;
        list.iter()
            .filter_map(|pattern| {
                if let Some(expansion) = Expansion::of(&pattern.value, profile) {
                    return Some((pattern.clone(), expansion));
                }
                let wide = ["ingest.*", "query.*.read", "query.*.write"];
                let known = profile.permissions().iter().map(String::as_str).chain(wide);
                let hint = match nearest(&pattern.value, known) {
                    Some(word) => format!("did you mean {}?", name(word)),
                    None => {
                        "permissions are `ingest.<signal>` and `query.<resource>.read` or `.write`; `*` stands for \
                             one word"
                            .to_owned()
                    }
                };
                self.error(pattern, format!("{} is no permission", name(&pattern.value))).hint(hint);
                None
            })
            .collect()
    }

    fn binding(
        &mut self,
        raw: &RawBinding,
        roles: &BTreeMap<&str, Permissions>,
        tree: &Tree,
        scopes: &Scopes,
    ) -> Binding {
        let effect = match raw.effect {
            RawEffect::Allow => Effect::Allow,
            RawEffect::Deny => Effect::Deny,
        };
        let given = self.given(raw, roles);
        let whole = given
            .iter()
            .fold(Expansion::default(), |whole, (_, expansion)| {
                whole.union(*expansion)
            });
        if effect == Effect::Allow {
            self.withheld(&given);
        }
        let subjects = raw
            .subjects
            .iter()
            .filter_map(|subject| self.subject(subject))
            .collect();
        let nodes: Vec<(&Spanned<String>, NodeId)> = raw
            .apps
            .iter()
            .filter_map(|app| Some((app, self.app(app, tree)?)))
            .collect();
        let binding = Binding {
            name: Arc::from(raw.name.value.as_str()),
            effect,
            subjects,
            permissions: if effect == Effect::Deny {
                whole.plain.union(whole.withheld)
            } else {
                whole.plain
            },
            full: whole.full,
            withheld: if effect == Effect::Deny {
                Default::default()
            } else {
                whole.withheld.without(whole.plain)
            },
            places: Places::new(nodes.iter().map(|(_, node)| tree.interval(*node)).collect()),
            window: self.window(raw),
            unknown_services: UnknownServices::OnlyApp,
            quota: raw.quota.as_ref().and_then(|quota| self.quota(quota)),
        };
        let binding = Binding {
            unknown_services: self.unknown_services(raw, &binding, tree),
            ..binding
        };
        self.without_exports(raw, &binding, scopes);
        if !binding.permissions.is_empty() {
            self.idle(&binding, &nodes, tree, scopes);
        }
        binding
    }

    /// The permissions of a binding: its own, or its role's.
    fn given(&mut self, raw: &RawBinding, roles: &BTreeMap<&str, Permissions>) -> Permissions {
        match (&raw.role, &raw.permissions) {
            (Some(role), None) => match roles.get(role.value.as_str()) {
                Some(permissions) => permissions.clone(),
                None => {
                    let finding =
                        self.error(role, format!("there is no role {}", name(&role.value)));
                    match nearest(&role.value, roles.keys().copied()) {
                        Some(word) => finding.hint(format!("did you mean {}?", name(word))),
                        None => {
                            finding.hint("declare it under `roles:`, or list `permissions:` here")
                        }
                    }
                    Permissions::new()
                }
            },
            (None, Some(list)) => self.permissions(list),
            (Some(role), Some(_)) => {
                self.error(role, "a binding has either a `role` or `permissions`")
                    .hint("leave one of them out");
                Permissions::new()
            }
            (None, None) => {
                self.error(
                    &raw.name,
                    format!("binding {} gives nothing", name(&raw.name.value)),
                )
                .hint("add a `role`, or a list of `permissions`");
                Permissions::new()
            }
        }
    }

    /// An allow's pattern that matches nothing but sensitive permissions grants nothing, which cannot be meant.
    fn withheld(&mut self, given: &Permissions) {
        let profile = self.around.profile;
        for (pattern, expansion) in given
            .iter()
            .filter(|(_, expansion)| expansion.plain.is_empty())
        {
            let full: Vec<&str> = profile
                .permissions()
                .iter()
                .zip(0..)
                .filter(|(_, id)| {
                    expansion
                        .withheld
                        .contains(crate::profiles::PermissionId(*id))
                })
                .map(|(permission, _)| permission.as_str())
                .collect();
            self.error(
                pattern,
                format!(
                    "{} grants nothing: sensitive permissions are named in full",
                    name(&pattern.value)
                ),
            )
            .hint(format!("write {}", document::names(full)));
        }
    }

    fn app(&mut self, app: &Spanned<String>, tree: &Tree) -> Option<NodeId> {
        if let Some(node) = AppPath::parse(&app.value).and_then(|path| tree.find(&path)) {
            return Some(node);
        }
        let known = || tree.nodes().map(|(_, node)| node.path.as_str());
        let trimmed = app.value.trim_matches('/');
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let meant = known()
            .find(|path| *path == trimmed)
            .or_else(|| nearest(&app.value, known()))
            .or_else(|| known().find(|path| last(path) == last(trimmed)));
        let finding = self.error(app, format!("there is no app {}", name(&app.value)));
        match meant {
            Some(path) => finding.hint(format!("did you mean {}?", name(path))),
            None => finding.hint(
                "apps are named by their path from the top, `shop/checkout`; `/` is the root",
            ),
        }
        None
    }

    fn window(&mut self, raw: &RawBinding) -> Window {
        let written = (raw.from.as_ref(), raw.until.as_ref());
        let what = format!("binding {}", name(&raw.name.value));
        self.between(written, "this binding can never match", &what)
    }

    /// A time with a beginning and an end. `never` and `what` are how it is told if it has none, or is over.
    pub(crate) fn between(
        &mut self,
        (from, until): (Option<&Spanned<String>>, Option<&Spanned<String>>),
        never: &str,
        what: &str,
    ) -> Window {
        let begin = from.and_then(|text| self.time(text));
        let end = until.and_then(|text| self.time(text));
        if let (Some(text), Some(end)) = (until, end) {
            if begin.is_some_and(|begin| begin >= end) {
                self.error(text, format!("{never}: `until` is not after `from`"));
            } else if end <= self.around.now {
                self.warning(text, format!("{what} is over: it matches nothing any more"))
                    .hint("remove it, or move `until`");
            }
        }
        Window {
            from: begin,
            until: end,
        }
    }

    fn time(&mut self, text: &Spanned<String>) -> Option<UnixMillis> {
        let parsed = OffsetDateTime::parse(&text.value, &Rfc3339).ok();
        let millis =
            parsed.and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok());
        if millis.is_none() {
            self.error(text, "this is no RFC 3339 time")
                .hint("write it as `2027-01-01T00:00:00Z`");
        }
        millis.map(UnixMillis)
    }

    /// What becomes of a service that no app owns.
    fn unknown_services(
        &mut self,
        raw: &RawBinding,
        binding: &Binding,
        tree: &Tree,
    ) -> UnknownServices {
        let rejects = matches!(&raw.unknown_services, Some(given) if given.value == RawUnknownServices::Reject);
        let Some(written) = &raw.default_app else {
            return if rejects {
                UnknownServices::Reject
            } else {
                UnknownServices::OnlyApp
            };
        };
        if rejects {
            self.error(
                written,
                "with `unknown_services: reject` there is no `default_app`",
            )
            .hint("leave out the one");
        }
        match self.app(written, tree) {
            None => UnknownServices::Reject,
            Some(node) => {
                if !binding.places.contains(node) {
                    self.error(
                        written,
                        format!(
                            "the default app {} is none of this binding's",
                            name(&written.value)
                        ),
                    )
                    .hint("name one of its `apps`, or one beneath");
                } else if tree.project_of(node).is_none() {
                    self.error(
                        written,
                        format!(
                            "the default app {} has no project to write to",
                            name(&written.value)
                        ),
                    )
                    .hint("give it, or one above it, a `project`");
                }
                UnknownServices::App(node)
            }
        }
    }
}

/// The SHA-256 of a policy's bytes, 64 lower-case hexadecimal digits; a version is its first 16.
pub(crate) fn policy_digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    HEXLOWER.encode(digest.as_ref())
}
