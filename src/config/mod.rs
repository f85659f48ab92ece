//! `lightkeeper.yaml`: read, checked as a whole, and turned into the rooms' settings.
//!
//! What it does: raw mirrors the file, checked is built from it once, and every mistake is reported in one
//! go with its place and a hint. What it refuses to know: what the rooms do with their settings; no room
//! imports it. Invariants: secrets are references, and neither they nor what stands in their place is
//! ever repeated; relative paths are relative to the file that names them; nothing is unlimited.

mod address;
mod alerts;
mod assertions;
mod audit;
mod aws;
mod backend;
mod backends;
mod bundle;
mod checked;
mod claims;
mod client_ca;
mod client_tokens;
mod cluster;
mod contents;
mod dpop;
mod egress;
mod expiry;
mod exposure;
mod front;
mod ingest;
mod introspection;
mod issuer_parts;
mod issuers;
mod limits;
mod log_name;
mod own_certificate;
mod listeners;
mod query;
mod raw;
mod report;
mod sinks;
mod spiffe;
mod ssf;
mod upstreams;
mod vault;
mod ways_out;
mod web;
mod webhooks;

pub use checked::{Checked, LogFormat, LogSettings};
pub(crate) use client_tokens::parse_time;
pub(crate) use report::{FOREIGN_NAME_FORM, OWN_NAME_FORM, is_foreign_name, is_own_name};
pub(crate) use ways_out::{WayOut, upstream_way, ways_out};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::apps::BackendNames;
use crate::authorize::{AwsAccounts, CertificateAuthority, TrustDomainIssuer};
use crate::document::{self, Diagnostic};
use crate::egress::Environment;
use crate::profiles::Profile;

/// Reads and checks the file at `path` and everything that it names, except what the policy says. The
/// configuration is there unless an error is among the findings.
pub fn load(path: &Path) -> (Option<Checked>, Vec<Diagnostic>) {
    read(path, contents::check)
}

/// The same without a look at what it names, but for profiles: neither files nor variables.
pub(crate) fn load_alone(path: &Path) -> (Option<Checked>, Vec<Diagnostic>) {
    read(path, |_, _| Vec::new())
}

fn read(
    path: &Path,
    check_contents: fn(&Path, &[report::NamedFile]) -> Vec<Diagnostic>,
) -> (Option<Checked>, Vec<Diagnostic>) {
    let text = match document::text(path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("the configuration cannot be read: {error}");
            return (None, vec![Diagnostic::error(path, 0, 0, message)]);
        }
    };
    check(path, &text, Environment::process(), true, check_contents)
}

/// The same for a text that stands, or would stand, at `path`, without touching any file or the environment.
pub fn parse(path: &Path, text: &str) -> (Option<Checked>, Vec<Diagnostic>) {
    parse_in(path, text, Environment::empty())
}

/// The same in an environment that names these proxies.
pub(crate) fn parse_in(
    path: &Path,
    text: &str,
    environment: Environment,
) -> (Option<Checked>, Vec<Diagnostic>) {
    check(path, text, environment, false, |_, _| Vec::new())
}

/// What a policy is checked against, read with no eye for mistakes: so that a policy's own mistakes can be
/// told beside those of a configuration that is refused.
#[derive(Debug)]
pub(crate) struct Glance {
    pub organization: String,
    pub policy: PathBuf,
    pub issuers: Vec<String>,
    /// Those of JWT-SVIDs.
    pub trust_domains: Vec<TrustDomainIssuer>,
    /// Those that are accounts of AWS.
    pub aws: Vec<AwsAccounts>,
    /// Those of client certificates that have a name.
    pub authorities: Vec<CertificateAuthority>,
    /// Of alerts.
    pub destinations: Vec<String>,
    /// What clients may ask of the backends.
    pub profile: Arc<Profile>,
    pub backends: BackendNames,
}

/// Glances at the file at `path`; `None` if it does not even name a policy.
pub(crate) fn glance(path: &Path) -> Option<Glance> {
    #[derive(serde::Deserialize)]
    struct LenientIssuer {
        name: String,
        #[serde(default)]
        spiffe: serde_json::Value,
    }
    #[derive(serde::Deserialize)]
    struct LenientAws {
        name: String,
        #[serde(default)]
        partition: Option<String>,
        #[serde(default)]
        accounts: Vec<String>,
    }
    #[derive(serde::Deserialize)]
    struct LenientListener {
        #[serde(default)]
        tls: LenientTls,
    }
    #[derive(Default, serde::Deserialize)]
    struct LenientTls {
        #[serde(default)]
        client_ca: serde_json::Value,
    }
    #[derive(serde::Deserialize)]
    struct Lenient {
        #[serde(default)]
        organization: String,
        policy: PathBuf,
        #[serde(default)]
        listeners: Vec<LenientListener>,
        #[serde(default)]
        issuers: Vec<LenientIssuer>,
        #[serde(default)]
        aws: Vec<LenientAws>,
        #[serde(default)]
        alerts: LenientAlerts,
        #[serde(default)]
        upstreams: serde_json::Value,
        #[serde(default)]
        backends: serde_json::Value,
        #[serde(default)]
        default_backend: String,
        #[serde(default)]
        profiles: serde_json::Value,
    }
    #[derive(Default, serde::Deserialize)]
    struct LenientAlerts {
        #[serde(default)]
        destinations: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
    }
    let trust_domain = |issuer: &LenientIssuer| {
        let trust_domain = issuer.spiffe.get("trust_domain")?.as_str()?.to_owned();
        Some(TrustDomainIssuer {
            name: issuer.name.clone(),
            trust_domain,
        })
    };
    let lenient: Lenient = serde_saphyr::from_str(&document::text(path).ok()?).ok()?;
    let mut authorities: Vec<CertificateAuthority> = Vec::new();
    for listener in lenient.listeners {
        for authority in listener.tls.client_ca.as_array().into_iter().flatten() {
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            let Some(name) = authority.get("name").and_then(text) else {
                continue;
            };
            let domains = authority
                .get("trust_domains")
                .and_then(serde_json::Value::as_array);
            let trust_domains = domains.into_iter().flatten().filter_map(text).collect();
            if authorities.iter().all(|known| known.name != name) {
                authorities.push(CertificateAuthority {
                    name,
                    trust_domains,
                });
            }
        }
    }
    let doors = lenient.upstreams.as_object().into_iter().flatten();
    let several = lenient.backends.as_object();
    let mut backends = match several.filter(|several| !several.is_empty()) {
        Some(several) => BackendNames::new(several.keys().map(|name| Arc::from(name.as_str()))),
        None => BackendNames::default(),
    };
    backends.default = backends.find(&lenient.default_backend).unwrap_or_default();
    let named = several
        .into_iter()
        .flatten()
        .chain(doors)
        .filter_map(|(_, one)| one.get("profile")?.as_str());
    let files = lenient.profiles.as_array().into_iter().flatten();
    let known: Vec<Arc<Profile>> = files
        .filter_map(|file| backend::read(&path.parent()?.join(file.as_str()?)).ok())
        .collect();
    Some(Glance {
        profile: backend::glimpsed_front(named, &known),
        backends,
        organization: lenient.organization,
        policy: path.parent().unwrap_or(Path::new("")).join(lenient.policy),
        trust_domains: lenient.issuers.iter().filter_map(trust_domain).collect(),
        issuers: lenient
            .issuers
            .into_iter()
            .map(|issuer| issuer.name)
            .chain(lenient.aws.iter().map(|one| one.name.clone()))
            .collect(),
        aws: lenient
            .aws
            .into_iter()
            .map(|one| AwsAccounts {
                name: one.name,
                partition: one.partition.unwrap_or_else(|| "aws".to_owned()),
                accounts: one.accounts,
            })
            .collect(),
        authorities,
        destinations: lenient.alerts.destinations.into_keys().collect(),
    })
}

/// The JSON schema (2020-12) of `lightkeeper.yaml`, for editors.
pub fn config_schema() -> serde_json::Value {
    document::schema_of::<raw::RawConfig>()
}

fn check(
    path: &Path,
    text: &str,
    environment: Environment,
    reads_profiles: bool,
    check_contents: fn(&Path, &[report::NamedFile]) -> Vec<Diagnostic>,
) -> (Option<Checked>, Vec<Diagnostic>) {
    let raw = match document::load::<raw::RawConfig>(path, text) {
        Ok(raw) => raw,
        Err(found) => return (None, found),
    };
    let mut report = report::ConfigFindings::new(path, environment);
    report.reads_profiles = reads_profiles;
    let checked = checked::build(&mut report, &raw);
    let mut found = report.found;
    found.extend(check_contents(path, &report.named));
    // Those of other files follow, in the order in which the files are named.
    found.sort_by_key(|one| match one.file == path {
        true => (false, one.line, one.column),
        false => (true, 0, 0),
    });
    let refused = found.iter().any(Diagnostic::is_error);
    (checked.filter(|_| !refused), found)
}
