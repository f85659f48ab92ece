//! The checked configuration, built once from the raw one.
//!
//! What it does: calls each part's check, then the checks that join parts. What it refuses to know: the
//! rooms' work; it only fills their settings. Invariant: a `Checked` exists only if no error was found.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::client_tokens::{self, PlacedClientToken};
use super::expiry::Dated;
use super::raw::{
    RawAudit, RawConfig, RawListener, RawLog, RawLogFormat, RawLogLevel, RawOnFailure, RawService,
    RawUpstream,
};
use super::report::{ConfigFindings, Content};
use super::webhooks::{self, PlacedWebhook};
use super::{
    alerts, assertions, backend, client_ca, egress, ingest, issuers, limits, listeners, query,
    upstreams, vault, web,
};
use crate::accept::ListenerSettings;
use crate::apps::AppPath;
use crate::audit::{AuditSettings, OnFailure};
use crate::authorize::{CertificateAuthority, TrustDomainIssuer};
use crate::clock::UnixMillis;
use crate::document::{Diagnostic, name};
use crate::forward::UpstreamSettings;
use crate::identify::{ClientTokenSettings, IssuerSettings, LoginSettings, WebhookSettings};
use crate::limits::Limits;
use crate::profiles::Profile;
use crate::state::{AlertSettings, QuerySettings};
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
    /// What is known of the backend that all upstreams lead to.
    pub profile: Arc<Profile>,
    pub upstreams: Upstreams,
    pub ingest: IngestSettings,
    pub query: QuerySettings,
    pub vault: VaultSettings,
    /// How people log in with a browser.
    pub login: Option<LoginSettings>,
    pub alerts: AlertSettings,
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
}

/// The backend's endpoints. `ingest` is there if any listener serves it; likewise `query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstreams {
    pub ingest: Option<UpstreamSettings>,
    pub query: Option<UpstreamSettings>,
    /// Absent: where exports go.
    pub collector: Option<UpstreamSettings>,
    pub logs: Option<UpstreamSettings>,
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

    /// Compares the vault with the projects that the policy declares (each with the file, line and column
    /// that declares it): an error for each project whose exports would have no token, a warning for each
    /// project of the vault that no policy declares.
    pub fn check_projects<'a>(
        &self,
        declared: impl IntoIterator<Item = (&'a str, &'a Path, u64, u64)>,
    ) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut unused = self.project_places.clone();
        for (project, file, line, column) in declared {
            unused.remove(project);
            let tokens = self
                .vault
                .projects
                .get(project)
                .map_or(0, |secrets| secrets.access_token.len());
            if self.serves_ingest() && tokens == 0 {
                let message = format!(
                    "project {} has no access token, so that nothing can be sent to it",
                    name(project)
                );
                let hint = format!(
                    "add `vault.projects.{project}.access_token` to `{}`",
                    self.file.display()
                );
                found.push(Diagnostic::error(file, line, column, message).with_hint(hint));
            }
        }
        for (project, (line, column)) in unused {
            let message = format!(
                "project {} is not declared by any app of the policy",
                name(&project)
            );
            let hint = "its credentials are never used: declare it, or remove it here";
            found.push(Diagnostic::warning(&self.file, line, column, message).with_hint(hint));
        }
        found
    }
}

/// Checks everything but the contents of other files. `None` if an error was found; either way the
/// findings and the named files stand in `report`.
pub(crate) fn build(report: &mut ConfigFindings<'_>, raw: &RawConfig) -> Option<Checked> {
    let organization = report.foreign_name(&raw.organization, "organization");
    let (mut listeners, admin) = listeners::listeners(report, &raw.listeners, &raw.admin);
    client_ca::across(report, raw, &listeners);
    let egress = egress::egress(report, &raw.egress);
    let issuers = issuers::issuers(report, &raw.issuers, raw.web.login.as_ref(), &egress);
    assertions::check_proxies(report, &raw.issuers, &listeners);
    let client_tokens =
        client_tokens::client_tokens(report, raw.client_tokens.as_deref().unwrap_or_default());
    let profile = backend::profile(report, &raw.profiles, &raw.upstreams);
    let mut door = |raw: &Option<RawUpstream>, which: &str, read_seconds: u64| {
        upstreams::upstream(
            report,
            which,
            raw.as_ref()?,
            Duration::from_secs(read_seconds),
            &egress,
            &profile,
        )
    };
    let upstreams = Upstreams {
        ingest: door(&raw.upstreams.ingest, "ingest", 30),
        // Queries may take long: Terraform's client waits 60 s.
        query: door(&raw.upstreams.query, "query", 60),
        collector: door(&raw.upstreams.collector, "collector", 30),
        logs: door(&raw.upstreams.logs, "logs", 30),
    };
    if !profile.has_query() {
        backend::without_query(report, raw, &profile);
        for listener in &mut listeners {
            listener.serves.query = false;
        }
    }
    let ingest = ingest::ingest(report, &raw.ingest);
    backend::compression(report, raw.ingest.compression.as_ref(), &ingest, &profile);
    let query = query::query(report, &raw.query, &raw.upstreams, &profile);
    let vault = vault::vault(report, &raw.vault);
    let login = web::login(report, raw);
    let webhooks = webhooks::webhooks(report, &raw.vault.webhooks);
    let alerts = alerts::alerts(report, &raw.alerts, &egress);
    let policy = report.path(&raw.policy, "policy", Content::Policy);
    let limits = limits::limits(report, &raw.limits);
    let audit = audit(report, &raw.audit, &limits);
    let queue_bytes = audit.as_ref().map_or(0, |audit| audit.queue_bytes);
    limits::shares(report, raw, &limits, queue_bytes, |service| {
        serves(raw, service)
    });
    joined(report, raw, &profile);
    if report.found.iter().any(Diagnostic::is_error) {
        return None;
    }
    Some(Checked {
        file: report.file().to_owned(),
        organization: organization?,
        listeners,
        admin,
        issuers,
        profile,
        upstreams,
        ingest,
        query,
        vault,
        login,
        alerts,
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
fn joined(report: &mut ConfigFindings<'_>, raw: &RawConfig, profile: &Profile) {
    let (ingest, query) = (&profile.addresses.ingest, &profile.addresses.query);
    let upstreams = &raw.upstreams;
    let reports = upstreams.collector.is_some() && upstreams.logs.is_some();
    let doors = [
        (
            RawService::Ingest,
            "ingest",
            "ingest",
            upstreams.ingest.is_some(),
            ingest,
        ),
        (
            RawService::Legacy,
            "legacy",
            "ingest",
            upstreams.ingest.is_some() || reports,
            ingest,
        ),
        (
            RawService::Query,
            "query",
            "query",
            upstreams.query.is_some(),
            query,
        ),
    ];
    for (service, word, door, present, url) in doors {
        let needed = service != RawService::Query || profile.has_query();
        for listener in raw.listeners.iter().filter(|_| needed && !present) {
            let hint = format!(
                "add `upstreams: {{ {door}: {{ url: {url} }} }}`, or leave `{word}` out of `serves`"
            );
            let message = format!(
                "listener {} serves `{word}`, but there is no `upstreams.{door}`",
                name(&listener.name.value)
            );
            match &listener.serves {
                // Said of `ingest` already.
                None if service == RawService::Legacy => {}
                None => report.error_with_hint(&listener.name, message, hint),
                Some(given) => {
                    if let Some(at) = given.iter().find(|given| given.value == service) {
                        report.error_with_hint(at, message, hint);
                    }
                }
            }
        }
    }
    let by_certificate = |listener: &RawListener| {
        listener
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_ca.is_some())
    };
    if let Some(first) = raw.listeners.first()
        && raw.issuers.is_empty()
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

fn audit(
    report: &mut ConfigFindings<'_>,
    raw: &RawAudit,
    limits: &Limits,
) -> Option<AuditSettings> {
    let file = raw
        .file
        .as_ref()
        .map(|given| report.path(given, "audit.file", Content::Created));
    // Bodies keep the most of the memory, whatever waits for the disk; a few calls find room in any case.
    let default = (limits.buffered_total_bytes / 16).clamp(64 << 10, 16 << 20);
    let most = (limits.buffered_total_bytes / 2).max(default);
    let given = raw.queue_bytes.as_ref();
    let queue_bytes =
        limits::size_between(report, given, "audit.queue_bytes", default, 64 << 10..=most);
    Some(AuditSettings {
        file: match file {
            Some(path) => Some(path?),
            None => None,
        },
        on_failure: match raw.on_failure {
            Some(RawOnFailure::Continue) => OnFailure::Continue,
            // Nothing passes unrecorded unless the operator decided so.
            Some(RawOnFailure::Refuse) | None => OnFailure::Refuse,
        },
        // A few seconds of a busy gateway, a few MiB of records.
        queue_records: raw
            .queue
            .and_then(|records| usize::try_from(records).ok())
            .unwrap_or(4096),
        queue_bytes,
    })
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
