//! The checked configuration, built once from the raw one.
//!
//! What it does: calls each part's check, then the checks that join parts. What it refuses to know: the
//! rooms' work; it only fills their settings. Invariant: a `Checked` exists only if no error was found.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backends::WrittenBackends;
use super::client_tokens::{self, PlacedClientToken};
use super::expiry::Dated;
use super::raw::{RawConfig, RawListener, RawLog, RawLogFormat, RawLogLevel, RawService};
use super::report::{ConfigFindings, Content};
use super::webhooks::{self, PlacedWebhook};
use super::{
    alerts, assertions, audit, aws, backend, client_ca, dpop, egress, ingest, issuers, limits,
    listeners, query, ssf, vault, web,
};
use crate::accept::ListenerSettings;
use crate::apps::{AppPath, BackendId, BackendNames};
use crate::audit::AuditSettings;
use crate::authorize::{AwsAccounts, BackendUse, CertificateAuthority, TrustDomainIssuer};
use crate::clock::UnixMillis;
use crate::document::{Diagnostic, Spanned, name};
use crate::identify::{
    AwsSettings, CLIENT_CERTIFICATES, ClientTokenSettings, DpopSettings, IssuerSettings,
    LoginSettings, TransmitterSettings, WebhookSettings,
};
use crate::limits::Limits;
use crate::profiles::Profile;
use crate::secret::SecretRef;
use crate::state::{AlertSettings, BackendSettings, QuerySettings};
use crate::stores::CredentialRef;
use crate::transform::IngestSettings;
use crate::vault::VaultSettings;

/// Everything that `lightkeeper.yaml` says, in the rooms' own types.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The configuration file itself.
    pub file: PathBuf,
    pub organization: String,
    /// At least one.
    pub listeners: Vec<ListenerSettings>,
    pub admin: SocketAddr,
    pub issuers: Vec<IssuerSettings>,
    pub aws: Vec<AwsSettings>,
    /// What clients may ask: what is known of the backends together.
    pub profile: Arc<Profile>,
    /// At least one.
    pub backends: Vec<BackendSettings>,
    pub backend_names: BackendNames,
    pub ingest: IngestSettings,
    pub query: QuerySettings,
    pub vault: VaultSettings,
    /// How people log in with a browser.
    pub dpop: DpopSettings,
    pub login: Option<LoginSettings>,
    pub alerts: AlertSettings,
    /// The file of revocations; not read here.
    pub revocations: Option<PathBuf>,
    /// Transmitters of security events.
    pub transmitters: Vec<TransmitterSettings>,
    /// The policy file; not read here.
    pub policy: PathBuf,
    pub audit: AuditSettings,
    pub limits: Limits,
    pub log: LogSettings,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Every file that changes what the configuration means, the configuration itself first; each once.
    /// What the policy delegates to is not among them.
    pub files: Vec<PathBuf>,
    dated: Vec<Dated>,
    client_tokens: Vec<PlacedClientToken>,
    webhooks: Vec<PlacedWebhook>,
    /// Where each listener's `client_ca` stands, by the listener's name.
    client_ca_places: BTreeMap<String, (u64, u64)>,
    /// Where `vault.projects` names each project.
    project_places: BTreeMap<String, (u64, u64)>,
    /// Where `backends` names each backend.
    backend_places: Vec<(u64, u64)>,
}

/// How the gateway's own log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    pub level: tracing::Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

impl Checked {
    /// Whether any listener takes exports or legacy reports.
    pub(crate) fn serves_ingest(&self) -> bool {
        self.listeners
            .iter()
            .any(|listener| listener.serves.ingest || listener.serves.legacy)
    }

    /// Names and digests are unique.
    pub fn client_tokens(&self) -> Vec<ClientTokenSettings> {
        self.client_tokens
            .iter()
            .map(|token| token.settings.clone())
            .collect()
    }

    /// Compares client tokens with the policy's bindings and the time: an error for each whose binding does
    /// not exist, a warning for each that is over.
    pub fn check_client_tokens(&self, bindings: &[&str], now: UnixMillis) -> Vec<Diagnostic> {
        self.client_tokens
            .iter()
            .flat_map(|token| token.check(&self.file, bindings, now))
            .collect()
    }

    /// Compares trust anchors and our own certificates with the time: a warning for each whose time is over, or soon.
    pub fn check_dates(&self, now: UnixMillis) -> Vec<Diagnostic> {
        self.dated
            .iter()
            .filter_map(|dated| dated.check(&self.file, now))
            .collect()
    }

    /// The authorities for client certificates that policies may name, each once.
    pub(crate) fn authorities(&self) -> Vec<CertificateAuthority> {
        let mut found: Vec<CertificateAuthority> = Vec::new();
        for authority in self
            .listeners
            .iter()
            .flat_map(client_ca::authorities)
            .filter(|authority| !authority.short)
        {
            if found.iter().all(|known| known.name != authority.name) {
                let (name, trust_domains) =
                    (authority.name.clone(), authority.trust_domains.clone());
                found.push(CertificateAuthority {
                    name,
                    trust_domains,
                });
            }
        }
        found
    }

    /// The names of all authorities for client certificates, as records have them, each once.
    pub(crate) fn authority_names(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for authority in self.listeners.iter().flat_map(client_ca::authorities) {
            let named = if authority.short {
                CLIENT_CERTIFICATES
            } else {
                &authority.name
            };
            if !found.iter().any(|known| known == named) {
                found.push(named.to_owned());
            }
        }
        found
    }

    /// The issuers of JWT-SVIDs.
    pub(crate) fn trust_domain_issuers(&self) -> Vec<TrustDomainIssuer> {
        let issuer = |issuer: &IssuerSettings| {
            let trust_domain = issuer.trust_domain()?.to_owned();
            Some(TrustDomainIssuer {
                name: issuer.name.clone(),
                trust_domain,
            })
        };
        self.issuers.iter().filter_map(issuer).collect()
    }

    /// The names that policies call issuers of tokens: OIDC, trust domains, and accounts of AWS.
    pub(crate) fn issuer_names(&self) -> Vec<String> {
        let issuers = self.issuers.iter().map(|issuer| &issuer.name);
        let aws = self.aws.iter().map(|one| &one.name);
        issuers.chain(aws).cloned().collect()
    }

    /// The accounts of AWS, as far as policies speak of them.
    pub(crate) fn aws_accounts(&self) -> Vec<AwsAccounts> {
        let accounts = |one: &AwsSettings| AwsAccounts {
            name: one.name.clone(),
            partition: one.partition.clone(),
            accounts: one.accounts.clone(),
        };
        self.aws.iter().map(accounts).collect()
    }

    /// Binds the authority of the short form of `client_ca` to what can be inferred, and warns of it. `named`: the trust
    /// domains that the policy names; one with an issuer of JWT-SVIDs is not the authority's by being named.
    pub fn infer_trust_domains(&mut self, named: &[&str]) -> Vec<Diagnostic> {
        let place = |listener: &str| {
            self.client_ca_places
                .get(listener)
                .copied()
                .unwrap_or_default()
        };
        let has_issuer = |domain: &str| {
            self.issuers
                .iter()
                .any(|issuer| issuer.trust_domain() == Some(domain))
        };
        let (spoken_for, left): (Vec<&str>, Vec<&str>) =
            named.iter().partition(|domain| has_issuer(domain));
        client_ca::infer(&mut self.listeners, &self.file, place, &left, &spoken_for)
    }

    /// Each app once.
    pub fn webhooks(&self) -> Vec<WebhookSettings> {
        self.webhooks
            .iter()
            .map(|webhook| webhook.settings.clone())
            .collect()
    }

    /// Compares webhook secrets with the policy's apps: an error for each of an app that does not exist.
    pub fn check_webhooks<'a>(
        &self,
        apps: impl IntoIterator<Item = &'a AppPath>,
    ) -> Vec<Diagnostic> {
        let apps: Vec<&AppPath> = apps.into_iter().collect();
        self.webhooks
            .iter()
            .filter_map(|webhook| webhook.check(&self.file, &apps))
            .collect()
    }

    /// Backends that want no credential get none, whatever the vault has.
    pub(crate) fn leave_credentials_out(&mut self, uses: &[BackendUse]) {
        for one in uses {
            let kind = self.backends.get(one.backend.place());
            if kind.is_some_and(|kind| !kind.profile.wants_credential) {
                let project = one.project.to_string();
                let held = self.vault.projects.entry(project).or_default();
                held.entry(one.backend).or_default().access_token =
                    vec![CredentialRef::Here(SecretRef::Unwanted)];
            }
        }
    }

    /// Where a project's tokens for a backend are named.
    fn token_key(&self, project: &str, backend: BackendId) -> String {
        if backend == self.backend_names.default {
            return format!("vault.projects.{project}.access_token");
        }
        let there = self.backend_names.name(backend);
        format!("vault.projects.{project}.backends.{there}.access_token")
    }

    /// An error for each place in the policy that wants data in two backends, where exports pass unread.
    pub(crate) fn check_also(&self, policy: &Path, places: &[Spanned<()>]) -> Vec<Diagnostic> {
        let untouched = places.iter().filter(|_| !self.ingest.stamp);
        let message = "`also` cannot be kept: with `ingest.stamp: off` exports pass unread";
        untouched
            .map(|place| {
                Diagnostic::error(policy, place.line(), place.column(), message)
                    .with_hint("leave `also` out, or have exports read (`stamp: on`)")
            })
            .collect()
    }

    /// Compares the vault with what the policy in this file uses: an error for each project and backend to which nothing could
    /// be sent for want of a token, a warning for each project of the vault that no policy declares, and for each backend that
    /// no app's data goes to.
    pub fn check_projects(&self, policy: &Path, uses: &[BackendUse]) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut unused = self.project_places.clone();
        for one in uses {
            let project = &*one.project;
            unused.remove(project);
            let held = self.vault.projects.get(project);
            let tokens = held
                .and_then(|held| held.get(&one.backend))
                .map_or(0, |secrets| secrets.access_token.len());
            let kind = self.backends.get(one.backend.place());
            let wants_token = kind.is_none_or(|kind| kind.profile.wants_credential);
            if !self.serves_ingest() || !wants_token || tokens > 0 {
                continue;
            }
            let (of_whom, key) = (name(project), self.token_key(project, one.backend));
            let message = if one.backend == self.backend_names.default {
                format!("project {of_whom} has no access token, so that nothing can be sent to it")
            } else {
                let there = name(self.backend_names.name(one.backend));
                format!(
                    "project {of_whom} has no access token for backend {there}, so that nothing can be sent to it there"
                )
            };
            let hint = format!("add `{key}` to `{}`", self.file.display());
            found.push(Diagnostic::error(policy, one.line, one.column, message).with_hint(hint));
        }
        for (project, (line, column)) in unused {
            let message = format!(
                "project {} is not declared by any app of the policy",
                name(&project)
            );
            let hint = "its credentials are never used: declare it, or remove it here";
            found.push(Diagnostic::warning(&self.file, line, column, message).with_hint(hint));
        }
        let places = self.backend_names.iter().zip(&self.backend_places);
        for ((backend, called), (line, column)) in places {
            let is_used = backend == self.backend_names.default
                || backend == self.backend_names.queried
                || uses.iter().any(|one| one.backend == backend);
            if !is_used {
                let message = format!("no app's data goes to backend {}", name(called));
                let hint = "name it by `backend` or `also` at an app of the policy, or remove it";
                found
                    .push(Diagnostic::warning(&self.file, *line, *column, message).with_hint(hint));
            }
        }
        found
    }
}

/// Checks everything but the contents of other files. `None` if an error was found; either way the
/// findings and the named files stand in `report`.
pub(crate) fn build(report: &mut ConfigFindings<'_>, raw: &RawConfig) -> Option<Checked> {
    let organization = report.foreign_name(&raw.organization, "organization");
    let egress = egress::egress(report, &raw.egress);
    let (mut listeners, admin) = listeners::listeners(report, &raw.listeners, &raw.admin, &egress);
    client_ca::across(report, raw, &listeners);
    let issuers = issuers::issuers(report, &raw.issuers, raw.web.login.as_ref(), &egress);
    let aws = aws::accounts(report, &raw.aws, &raw.issuers, &egress);
    assertions::check_proxies(report, &raw.issuers, &listeners);
    let client_tokens =
        client_tokens::client_tokens(report, raw.client_tokens.as_deref().unwrap_or_default());
    let backends = WrittenBackends::read(report, raw);
    let settings = backends.checked(report, &egress);
    backends.without_query(report, raw);
    if !backends.front.has_query() {
        for listener in &mut listeners {
            listener.serves.query = false;
        }
    }
    let ingest = ingest::ingest(report, &raw.ingest);
    if !ingest.stamp {
        issuers::without_stamp(report, &raw.issuers, &raw.aws);
    }
    let of_known = settings.iter().zip(&backends.list);
    for (one, _) in of_known.filter(|(_, written)| written.is_known) {
        backend::compression(
            report,
            raw.ingest.compression.as_ref(),
            &ingest,
            &one.profile,
        );
    }
    let query = query::query(report, &raw.query, &backends);
    let vault = vault::vault(report, &raw.vault, &backends.names, &egress);
    let session_keys = web::session_keys(report, &raw.vault.session_keys);
    let dpop = dpop::dpop(report, raw, session_keys.clone());
    let login = web::login(report, raw, session_keys);
    let webhooks = webhooks::webhooks(report, &raw.vault.webhooks);
    let alerts = alerts::alerts(report, &raw.alerts, &egress);
    let revocations = raw.revocations.as_ref();
    let revocations = revocations
        .map(|given| report.path(&given.file, "revocations.file", Content::RevokedProofs));
    let transmitters = ssf::transmitters(report, raw, &egress);
    let policy = report.path(&raw.policy, "policy", Content::Policy);
    let limits = limits::limits(report, &raw.limits);
    let audit = audit::audit(report, raw, &limits, &egress);
    let queue_bytes = audit.as_ref().map_or(0, |audit| audit.queue_bytes);
    limits::shares(report, raw, &limits, queue_bytes, |service| {
        serves(raw, service)
    });
    backends.needed(report, raw);
    joined(report, raw);
    if report.found.iter().any(Diagnostic::is_error) {
        return None;
    }
    Some(Checked {
        file: report.file().to_owned(),
        organization: organization?,
        listeners,
        admin,
        issuers,
        aws,
        profile: backends.front,
        backends: settings,
        backend_names: backends.names,
        ingest,
        query,
        vault,
        dpop,
        login,
        alerts,
        revocations: match revocations {
            Some(path) => Some(path?),
            None => None,
        },
        transmitters,
        policy: policy?,
        audit: audit?,
        limits,
        log: log(&raw.log),
        threads: threads(raw.threads),
        files: watched(report),
        dated: report.named.iter().filter_map(Dated::of).collect(),
        client_tokens,
        webhooks,
        client_ca_places: client_ca_places(raw),
        backend_places: backends
            .list
            .iter()
            .map(|one| one.at.map_or((0, 0), |at| (at.line(), at.column())))
            .collect(),
        project_places: raw
            .vault
            .projects
            .0
            .iter()
            .map(|(key, _)| (key.value.clone(), (key.line(), key.column())))
            .collect(),
    })
}

fn client_ca_places(raw: &RawConfig) -> BTreeMap<String, (u64, u64)> {
    let place = |listener: &super::raw::RawListener| {
        let given = listener.tls.as_ref()?.client_ca.as_ref()?;
        Some((listener.name.value.clone(), (given.line(), given.column())))
    };
    raw.listeners.iter().filter_map(place).collect()
}

/// Whether any listener serves this.
fn serves(raw: &RawConfig, service: RawService) -> bool {
    let given = |listener: &RawListener| {
        listener
            .serves
            .as_ref()
            .is_none_or(|given| given.iter().any(|given| given.value == service))
    };
    raw.listeners.iter().any(given)
}

/// Checks that join parts of the file.
fn joined(report: &mut ConfigFindings<'_>, raw: &RawConfig) {
    let by_certificate = |listener: &RawListener| {
        listener
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_ca.is_some())
    };
    if let Some(first) = raw.listeners.first()
        && raw.issuers.is_empty()
        && raw.aws.is_empty()
        && raw.client_tokens.as_ref().is_none_or(Vec::is_empty)
        && !raw.listeners.iter().any(by_certificate)
    {
        report.warning(
            &first.name,
            "no caller can be identified, so that every call is refused",
            "add `issuers:`, `client_tokens:`, or `client_ca` to a listener's `tls:`",
        );
    }
}

fn log(raw: &RawLog) -> LogSettings {
    LogSettings {
        // What reads a gateway's log is nearly always a collector.
        format: match raw.format {
            Some(RawLogFormat::Text) => LogFormat::Text,
            Some(RawLogFormat::Json) | None => LogFormat::Json,
        },
        level: match raw.level {
            Some(RawLogLevel::Error) => tracing::Level::ERROR,
            Some(RawLogLevel::Warn) => tracing::Level::WARN,
            Some(RawLogLevel::Info) | None => tracing::Level::INFO,
            Some(RawLogLevel::Debug) => tracing::Level::DEBUG,
            Some(RawLogLevel::Trace) => tracing::Level::TRACE,
        },
    }
}

/// One for each core: the work is encryption and copying, which never waits.
fn threads(given: Option<u32>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
    given
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or_else(cores)
}

/// The configuration and all files that it names, except those that the gateway writes itself.
fn watched(report: &ConfigFindings<'_>) -> Vec<PathBuf> {
    let mut files = vec![report.file().to_owned()];
    for named in &report.named {
        let has_file =
            !matches!(named.content, Content::Created) && !named.path.as_os_str().is_empty();
        if has_file && !files.contains(&named.path) {
            files.push(named.path.clone());
        }
    }
    files
}
