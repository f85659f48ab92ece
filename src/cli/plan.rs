//! From files to settings: configuration, policy, and what joins them; and whether it could be served.
//!
//! What it does: loads both files, collects all findings, fills the gateway's settings, and has the gateway examine it.
//! What it refuses to know: how they are served. Invariants: settings exist only without errors; `check` and `serve` ask
//! `examine`, so that they say the same of every file.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::authorize::{Policy, PolicySurroundings};
use crate::causes::{chain, lines};
use crate::clock::{Clock, UnixMillis};
use crate::config::{self, Checked, Glance, LogSettings, WayOut};
use crate::document::{self, Diagnostic};
use crate::identify::{LoginSettings, RevocationList, RevocationSurroundings};
use crate::profiles::Profile;
use crate::state;
use crate::state::Settings;

/// What the files say, and everything that is wrong or odd about them.
pub struct Loaded {
    pub checked: Option<Checked>,
    pub policy: Option<Arc<Policy>>,
    pub profile: Arc<Profile>,
    /// What is revoked; nothing, where no file lists it.
    pub(crate) revocations: Arc<RevocationList>,
    pub findings: Vec<Diagnostic>,
    pub(crate) read_at: UnixMillis,
    /// What a policy is read by.
    pub(super) around: Option<Glance>,
}

/// What `check` and `serve` know of a configuration before anything listens.
pub(crate) struct Examined {
    /// Errors and warnings, in the order in which they are printed.
    pub findings: Vec<Diagnostic>,
    /// There exactly if no finding is an error.
    pub start: Option<Start>,
}

/// What a process needs to serve.
pub(crate) struct Start {
    pub plan: Settings,
    pub admin: SocketAddr,
    pub threads: usize,
    pub log: LogSettings,
    /// Where its own calls go.
    pub ways: Vec<WayOut>,
}

/// Everything that can be wrong with a start, found as the start would find it. Must not run within a runtime.
pub(crate) fn examine(path: &Path, clock: &Clock) -> Examined {
    let faults = |faults: Vec<String>| {
        faults
            .into_iter()
            .map(|fault| Diagnostic::error(path, 0, 0, fault))
    };
    let mut loaded = load(path, clock);
    let mut findings = std::mem::take(&mut loaded.findings);
    findings.extend(faults(
        super::prepare_cryptography()
            .err()
            .map(|fault| chain(&fault))
            .into_iter()
            .collect(),
    ));
    let settings = loaded
        .checked
        .as_ref()
        .map(|checked| (checked.admin, checked.threads, checked.log));
    let ways = loaded
        .checked
        .as_ref()
        .map(config::ways_out)
        .unwrap_or_default();
    let start = match (settings, findings.iter().any(Diagnostic::is_error)) {
        (Some((admin, threads, log)), false) => match loaded.plan() {
            Ok(plan) => {
                findings.extend(faults(lines(&state::examine(&plan, admin, clock))));
                Some(Start {
                    plan,
                    admin,
                    threads,
                    log,
                    ways,
                })
            }
            Err(_) => None,
        },
        _ => None,
    };
    let start = start.filter(|_| !findings.iter().any(Diagnostic::is_error));
    Examined { findings, start }
}

/// Reads configuration, policy, and all that they name.
pub fn load(path: &Path, clock: &Clock) -> Loaded {
    let read_at = clock.now();
    let mut loaded = join(path, clock, read_at, config::load(path), None);
    loaded.read_revocations();
    loaded.findings.extend(
        loaded
            .checked
            .iter()
            .flat_map(|checked| checked.check_dates(read_at)),
    );
    loaded
}

/// The same without the files and variables that the configuration names, but for the policy: on a machine that does not have
/// them.
pub(crate) fn load_alone(path: &Path, clock: &Clock) -> Loaded {
    let read_at = clock.now();
    join(path, clock, read_at, config::load_alone(path), None)
}

/// The same of texts of which the first, a configuration, would stand at `path`, and the second is its policy: no file is read.
pub(crate) fn load_texts(path: &Path, [config, policy]: &[String; 2], clock: &Clock) -> Loaded {
    join(
        path,
        clock,
        clock.now(),
        config::parse(path, config),
        Some(policy),
    )
}

fn join(
    path: &Path,
    clock: &Clock,
    read_at: UnixMillis,
    (mut checked, mut findings): (Option<Checked>, Vec<Diagnostic>),
    policy_text: Option<&str>,
) -> Loaded {
    let around = match &checked {
        Some(checked) => Some(Glance {
            organization: checked.organization.clone(),
            policy: checked.policy.clone(),
            issuers: checked.issuer_names(),
            trust_domains: checked.trust_domain_issuers(),
            authorities: checked.authorities(),
            aws: checked.aws_accounts(),
            destinations: checked
                .alerts
                .destinations
                .iter()
                .map(|one| one.name.clone())
                .collect(),
            profile: checked.profile.clone(),
            backends: checked.backend_names.clone(),
        }),
        None if policy_text.is_some() => None,
        None => config::glance(path),
    };
    let profile = around
        .as_ref()
        .map_or_else(Profile::standard, |around| around.profile.clone());
    let policy = around
        .as_ref()
        .and_then(|around| read_policy(around, policy_text, clock, &mut findings));
    if let (Some(checked), Some(policy)) = (&mut checked, &policy) {
        findings.extend(checked.infer_trust_domains(&policy.trust_domains()));
        let bindings: Vec<&str> = policy.binding_names().collect();
        findings.extend(checked.check_client_tokens(&bindings, read_at));
        findings.extend(checked.check_webhooks(policy.tree().nodes().map(|(_, node)| &node.path)));
        let uses = policy.backend_uses();
        findings.extend(checked.check_projects(&checked.policy, &uses));
        checked.leave_credentials_out(&uses);
        findings.extend(checked.check_also(&checked.policy, &policy.also_places()));
    }
    Loaded {
        checked,
        policy,
        profile,
        revocations: Arc::default(),
        findings,
        read_at,
        around,
    }
}

/// The policy of this text, or of the file that the configuration names.
pub(super) fn read_policy(
    around: &Glance,
    text: Option<&str>,
    clock: &Clock,
    findings: &mut Vec<Diagnostic>,
) -> Option<Arc<Policy>> {
    let file = &around.policy;
    let text = text.map_or_else(|| document::text(file), |text| Ok(text.to_owned()));
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            findings.push(Diagnostic::error(
                file,
                0,
                0,
                format!("the policy cannot be read: {error}"),
            ));
            return None;
        }
    };
    let surroundings = PolicySurroundings {
        profile: &around.profile,
        organization: &around.organization,
        issuers: &around.issuers,
        trust_domains: &around.trust_domains,
        authorities: &around.authorities,
        aws: &around.aws,
        destinations: &around.destinations,
        backends: &around.backends,
        now: clock.now(),
    };
    let (policy, found) = Policy::load(file, &text, &surroundings);
    findings.extend(found);
    policy.map(Arc::new)
}

impl Loaded {
    /// Reads the file of revocations, if the configuration names one and is sound.
    fn read_revocations(&mut self) {
        let Some(checked) = &self.checked else { return };
        let Some(file) = &checked.revocations else {
            return;
        };
        let text = match document::text(file) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the revocations cannot be read: {error}");
                self.findings.push(Diagnostic::error(file, 0, 0, message));
                return;
            }
        };
        let issuers: Vec<String> = checked
            .issuers
            .iter()
            .map(|issuer| issuer.name.clone())
            .collect();
        let others: Vec<String> = checked.aws.iter().map(|one| one.name.clone()).collect();
        let around = RevocationSurroundings {
            issuers: &issuers,
            authorities: &checked.authority_names(),
            others: &others,
            now: self.read_at,
        };
        let (list, found) = RevocationList::load(file, &text, &around);
        self.findings.extend(found);
        self.revocations = list.map(Arc::new).unwrap_or_default();
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(Diagnostic::is_error)
    }

    /// The plan, or the errors as lines.
    pub fn plan(self) -> Result<Settings, Vec<String>> {
        let errors: Vec<String> = self
            .findings
            .iter()
            .filter(|finding| finding.is_error())
            .map(ToString::to_string)
            .collect();
        match (self.checked, self.policy) {
            (Some(checked), Some(policy)) if errors.is_empty() => Ok(Settings {
                client_tokens: checked.client_tokens(),
                webhooks: checked.webhooks(),
                alerts: checked.alerts,
                revocations: self.revocations,
                transmitters: checked.transmitters,
                organization: checked.organization,
                listeners: checked.listeners,
                issuers: checked.issuers,
                dpop: checked.dpop,
                aws: checked.aws,
                login: checked.login.map(|login| {
                    let policy_claims = policy.claims_of(&login.issuer);
                    LoginSettings {
                        policy_claims,
                        ..login
                    }
                }),
                backends: checked.backends,
                backend_names: checked.backend_names,
                ingest_settings: checked.ingest,
                query_settings: checked.query,
                vault: checked.vault,
                policy,
                profile: self.profile,
                audit: checked.audit,
                limits: checked.limits,
                site: crate::web::site(),
                files: checked.files,
                read_at: self.read_at,
            }),
            _ => Err(errors),
        }
    }
}
