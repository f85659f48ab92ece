//! `lightkeeper explain --record`: a decision of the past, under the policy that made it.
//!
//! What it does: finds a call's record in the trail, takes the policy of its version from beside the trail, and decides again on what the
//! record holds of the caller. What it refuses to know: how records are sealed (`audit verify` says whether they still are). Invariants:
//! nothing but the record speaks of the caller; a policy counts only with the digest that its name says.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::plan::read_policy;
use super::{Explanation, Loaded};
use crate::accept::{Call, RequestKind};
use crate::apps::AppPath;
use crate::audit::lines::TrailReader;
use crate::audit::{
    KeptPolicyFault, RequestRecord, RequestSearch, kept_policy, moment, trail_files,
};
use crate::authorize::{Policy, Target};
use crate::clock::{Clock, UnixMillis};
use crate::document::{self, Diagnostic};
use crate::explain::{self, DescribedHeadFault, Judged};
use crate::identify::{
    AwsFacts, CertificateFacts, ClaimPath, Doubts, Facts, Method, PrincipalKind,
};
use crate::reason::Reason;

/// Why a record cannot be explained.
#[derive(Debug, thiserror::Error)]
pub(super) enum PastFault {
    #[error("`audit.file` of the configuration is no file: name the trail's files with --trail")]
    NoTrail,
    #[error("{}", document::path(.path))]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "no call has the request id `{0}` in the files that were read; name older ones with --trail"
    )]
    Unknown(String),
    #[error("the record is not one of this gateway's calls")]
    Form(#[source] serde_json::Error),
    #[error("the record has no time that can be read")]
    Time,
    #[error(transparent)]
    Policy(#[from] KeptPolicyFault),
    #[error("the configuration of today does not fit the policy of then: {0}")]
    Unfit(String),
    #[error("the record's head cannot be read")]
    Head(#[source] DescribedHeadFault),
}

/// So much of a record as is decided on.
#[derive(Debug, Deserialize)]
struct PastRecord {
    seq: u64,
    time: String,
    request_id: String,
    identity: Option<PastCaller>,
    http_method: Option<String>,
    path: Option<String>,
    app: Option<String>,
    decision: Option<String>,
    reason: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    bindings: Vec<String>,
    policy_version: String,
    status: Option<u16>,
    #[serde(default)]
    parts: Vec<PastPart>,
}

#[derive(Debug, Deserialize)]
struct PastPart {
    #[serde(default)]
    apps: Vec<String>,
    leg: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PastCaller {
    method: String,
    issuer: String,
    subject: String,
    certificate: Option<PastCertificate>,
    aws: Option<PastPrincipal>,
    #[serde(default)]
    facts: PastFacts,
}

#[derive(Debug, Deserialize)]
struct PastCertificate {
    ca: Option<String>,
    sha256: String,
}

#[derive(Debug, Deserialize)]
struct PastPrincipal {
    account: String,
    unique_id: String,
    session: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct PastFacts {
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    claims: Vec<PastClaim>,
    spiffe: Option<String>,
    #[serde(default)]
    dns: Vec<String>,
    x509_subject: Option<String>,
    #[serde(default)]
    cut: bool,
}

#[derive(Debug, Deserialize)]
struct PastClaim {
    claim: String,
    value: String,
}

/// Explains the call of this id. `trail`: the files to look into; none: the one of the configuration.
pub(super) fn walk(
    request_id: &str,
    trail: &[PathBuf],
    loaded: &Loaded,
    clock: &Clock,
) -> Result<Explanation, PastFault> {
    let checked = loaded.checked.as_ref();
    let own = checked.and_then(|checked| checked.audit.file.as_deref());
    let files: Vec<PathBuf> = match (trail, own) {
        ([], Some(own)) => trail_files(own).map_err(|cause| PastFault::File {
            path: own.to_owned(),
            cause,
        })?,
        (named, _) => named.to_vec(),
    };
    let (Some(checked), false) = (checked, files.is_empty()) else {
        return Err(PastFault::NoTrail);
    };
    let record = find(&files, request_id)?;
    let at = moment(&record.time).ok_or(PastFault::Time)?;
    let mut story = Explanation {
        stages: vec![("record", told(&record))],
        allowed: record.decision.as_deref() == Some(ALLOW),
    };
    let Some(caller) = &record.identity else {
        // What was not identified, no policy has seen.
        return Ok(story);
    };
    let first = files.first().map(PathBuf::as_path);
    let audit = own.or(first).unwrap_or(Path::new(""));
    let (policy, file) = policy_of(&record, audit, loaded, clock)?;
    let token = checked.client_tokens().into_iter();
    let token = token.filter(|_| caller.method == Method::ClientToken.name());
    let mut token = token.filter(|token| token.name == caller.subject);
    let binding = token.next().map(|token| token.binding);
    let facts = facts_of(caller, binding.as_deref());
    story
        .stages
        .push(("identify", explain::identified(&facts, false)));
    let kept = file.map_or_else(
        || "the one in force".to_owned(),
        |file| file.display().to_string(),
    );
    story.stages.push((
        "policy",
        json!({ "version": record.policy_version, "file": kept }),
    ));
    let Some(call) = call_of(&record, loaded)? else {
        return Ok(story);
    };
    let judged = judged(
        &record,
        &policy,
        loaded,
        (&facts, &call),
        at,
        &checked.organization,
    );
    let stages = judged
        .iter()
        .flat_map(|judged| judged.stages(&policy, &loaded.profile));
    story.stages.extend(stages);
    story
        .stages
        .push(("compare", compared(&record, caller, &judged)));
    Ok(story)
}

/// The record of the call with this id.
fn find(files: &[PathBuf], request_id: &str) -> Result<PastRecord, PastFault> {
    let search = RequestSearch::new(request_id);
    for path in files {
        let at = |cause| PastFault::File {
            path: path.clone(),
            cause,
        };
        let mut lines = TrailReader::open(path).map_err(at)?;
        while let Some(line) = lines.next_line().map_err(at)? {
            if search.find(line.text) == Some(RequestRecord::Call) {
                return serde_json::from_slice(line.text).map_err(PastFault::Form);
            }
        }
    }
    Err(PastFault::Unknown(request_id.to_owned()))
}

/// The policy of the record's version, and the file that it was kept in if it is not the one in force.
fn policy_of(
    record: &PastRecord,
    audit: &Path,
    loaded: &Loaded,
    clock: &Clock,
) -> Result<(Arc<Policy>, Option<PathBuf>), PastFault> {
    let version = &record.policy_version;
    if let Some(policy) = &loaded.policy
        && policy.version() == version
    {
        return Ok((policy.clone(), None));
    }
    let kept = kept_policy(audit, version)?;
    let mut findings = Vec::new();
    let policy = loaded
        .around
        .as_ref()
        .and_then(|around| read_policy(around, Some(&kept.text), clock, &mut findings));
    let errors = findings
        .iter()
        .filter(|finding| Diagnostic::is_error(finding));
    let errors: Vec<String> = errors.map(ToString::to_string).collect();
    match policy {
        Some(policy) if errors.is_empty() => Ok((policy, Some(kept.file))),
        _ => Err(PastFault::Unfit(errors.join("; "))),
    }
}

/// What the record knows of its caller; what it leaves out, no binding asked for.
fn facts_of(caller: &PastCaller, binding: Option<&str>) -> Facts {
    let method = Method::named(&caller.method).unwrap_or(Method::Webhook);
    let known = &caller.facts;
    let subject: Arc<str> = caller.subject.as_str().into();
    // The subject of a certificate is the first of these names that it has.
    let names_workload = matches!(method, Method::Mtls | Method::JwtSvid);
    let own_id = (names_workload && subject.starts_with(SPIFFE)).then(|| subject.to_string());
    let spiffe = known.spiffe.clone().or(own_id);
    let certificate = caller.certificate.as_ref().map(|shown| {
        let own_name = (method == Method::Mtls && spiffe.is_none()).then(|| subject.to_string());
        Arc::new(CertificateFacts {
            ca: shown.ca.as_deref().unwrap_or_default().into(),
            spiffe,
            dns: known.dns.iter().cloned().chain(own_name.clone()).collect(),
            subject: known.x509_subject.clone().or(own_name).unwrap_or_default(),
            fingerprint: shown.sha256.clone(),
            serial: String::new(),
            key: String::new(),
            not_before: 0,
            not_after: 0,
        })
    });
    let aws = caller.aws.as_ref().map(|aws| {
        Arc::new(AwsFacts {
            kind: kind_of(&subject),
            account: aws.account.as_str().into(),
            unique_id: aws.unique_id.as_str().into(),
            session: aws.session.as_deref().map(Into::into),
        })
    });
    Facts {
        method,
        issuer: caller.issuer.as_str().into(),
        subject,
        subject_claim: None,
        groups: known.groups.clone(),
        claims: claims_of(&known.claims),
        certificate,
        client_binding: binding.map(Into::into),
        aws,
        attributes: Vec::new(),
        doubts: Doubts::default(),
        expires_unix_seconds: i64::MAX,
    }
}

const SPIFFE: &str = "spiffe://";

/// Several texts of one claim were items of a list.
fn claims_of(told: &[PastClaim]) -> Map<String, Value> {
    let mut texts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in told {
        texts.entry(&one.claim).or_default().push(&one.value);
    }
    let mut claims = Map::new();
    for (path, texts) in texts {
        let value = match texts.as_slice() {
            [only] => Value::from(*only),
            several => several.into(),
        };
        if let Ok(path) = ClaimPath::parse(path) {
            path.put(&mut claims, value);
        }
    }
    claims
}

/// The kind of a canonical ARN.
fn kind_of(arn: &str) -> PrincipalKind {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    match resource.split('/').next() {
        Some("role") => PrincipalKind::Role,
        Some("user") => PrincipalKind::User,
        Some("federated-user") => PrincipalKind::FederatedUser,
        _ => PrincipalKind::Root,
    }
}

/// The call, as far as its record tells: without a query and a body. `None`: its head was none.
fn call_of(record: &PastRecord, loaded: &Loaded) -> Result<Option<Call>, PastFault> {
    let (Some(checked), Some(method), Some(path)) =
        (&loaded.checked, &record.http_method, &record.path)
    else {
        return Ok(None);
    };
    let parts = explain::head(method, path, &[], &loaded.profile).map_err(PastFault::Head)?;
    let read = explain::read(&parts, &loaded.profile, &[], &checked.limits);
    Ok(read.ok().map(|(_, call)| call))
}

/// The decisions again: of an export one for each app that it went to.
fn judged(
    record: &PastRecord,
    policy: &Policy,
    loaded: &Loaded,
    (facts, call): (&Facts, &Call),
    at: UnixMillis,
    organization: &str,
) -> Vec<Judged> {
    let operation = match &call.kind {
        RequestKind::Ingest(ask) => Some(ask.operation),
        RequestKind::Legacy(ask) => Some(ask.operation),
        _ => None,
    };
    // Copies for other backends have the permit of their app.
    let own_parts = record.parts.iter().filter(|part| part.leg.is_none());
    let mut apps: Vec<AppPath> = own_parts
        .flat_map(|part| &part.apps)
        .chain(record.app.iter().filter(|_| record.parts.is_empty()))
        .filter_map(|app| AppPath::parse(app))
        .collect();
    apps.sort();
    apps.dedup();
    match operation {
        Some(operation) if !apps.is_empty() => apps
            .iter()
            .map(|app| Judged::Decided {
                operation,
                verdict: policy.evaluate(facts, operation, Target::App(Some(app)), at),
            })
            .collect(),
        _ => vec![explain::judge(
            policy,
            &loaded.profile,
            organization,
            facts,
            call,
            None,
            at,
        )],
    }
}

/// Whether the record says what the policy says.
fn compared(record: &PastRecord, caller: &PastCaller, judged: &[Judged]) -> Value {
    let allowed = judged.iter().all(Judged::allowed);
    let mut bindings: Vec<String> = judged.iter().flat_map(Judged::bindings).collect();
    bindings.sort();
    bindings.dedup();
    let mut recorded = record.bindings.clone();
    recorded.sort();
    let is_allow = record.decision.as_deref() == Some(ALLOW);
    let denial = judged.iter().find_map(Judged::denial);
    let says_the_same = match is_allow {
        true => Some(allowed && (recorded == bindings || recorded.is_empty())),
        // It passed the policy; what came behind is not told by a head.
        false if allowed => None,
        false => Some(denial == Reason::find(&record.reason)),
    };
    let note = match says_the_same {
        Some(true) => "the policy of then decides as the record says",
        None => {
            "the policy allows the call by itself; the record's reason came of what it held (its resources, its size), or was not the policy's"
        }
        Some(false) if caller.facts.cut => {
            "the record does not hold all that the policy knew of the caller"
        }
        Some(false) => {
            "the policy of then decides otherwise on what the record holds: was the record, the policy or the configuration changed?"
        }
    };
    json!({ "policy": if allowed { ALLOW } else { "deny" }, "same": says_the_same, "note": note })
}

/// A record's `decision`.
const ALLOW: &str = "allow";

/// What the record says of itself.
fn told(record: &PastRecord) -> Value {
    let meaning = Reason::find(&record.reason).map(Reason::meaning);
    json!({
        "time": record.time,
        "seq": record.seq,
        "request_id": record.request_id,
        "method": record.http_method,
        "path": record.path,
        "app": record.app,
        "decision": record.decision,
        "reason": record.reason,
        "meaning": meaning,
        "detail": record.detail,
        "bindings": record.bindings,
        "status": record.status,
    })
}
