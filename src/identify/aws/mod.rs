//! AWS roles and users: a caller shows a signed call to AWS, and AWS says who signed it.
//!
//! What it does: takes such a token apart, judges what can be judged without a call, has AWS asked within a budget, and makes
//! facts of the answer. What it refuses to know: policy, and how calls are remembered and held in bounds (`consultations`).
//! Invariants: AWS is asked what this room writes, at a host that the configuration names, for the audience that the
//! configuration names; a caller of another account or partition is refused as who may do nothing here; an outage of AWS's is
//! never a refusal; of the token nothing is kept but its digest.

mod answer;
mod arn;
mod endpoints;
mod proof;

#[cfg(test)]
mod tests;

pub(crate) use arn::{ArnPattern, is_account};
pub use endpoints::StsEndpoints;
pub(crate) use endpoints::{
    StsHost, has_dual_stack, has_fips, has_global_endpoint, is_region_of, partitions, regional_host,
};

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, StatusCode, header};

use super::Surroundings;
use super::cache::Evidence;
use super::consultations::{ConsultationBounds, Consultations, Judgement, Opinion, ProofBearer};
use super::doubts::Doubts;
use super::event::shown;
use super::facts::{AwsFacts, CertificateFacts, Facts, Method};
use super::issuer::{IssuerCause, IssuerFault, proxies, trusted};
use super::proven::ProvenAttribute;
use crate::clock::UnixMillis;
use crate::egress::{Egress, OutboundBounds, OutboundClient};
use crate::reason::Reason;

use answer::StsAnswer;
use arn::{Principal, StsWords};
use endpoints::hosts;
use proof::AwsProof;

/// The header with what a proof was made for: signed along, so that one for another cluster or gateway is none for us.
const AUDIENCE: HeaderName = HeaderName::from_static("x-k8s-aws-id");
/// By how much a caller's clock may be ahead: STS takes no more.
const AHEAD_LIMIT_SECONDS: i64 = 300;

/// The callers of some AWS accounts. Checked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSettings {
    /// Our own name for them, which policies call the issuer.
    pub name: String,
    /// What proofs must be signed for; it has a `:`, which no name of a cluster has.
    pub audience: String,
    /// Of twelve digits; at least one.
    pub accounts: Vec<String>,
    pub partition: String,
    /// At least one.
    pub regions: Vec<String>,
    pub endpoints: StsEndpoints,
    /// How old a proof may be; at most 15 minutes, as STS has it.
    pub max_age: Duration,
    /// For how long AWS's word counts.
    pub cache: Duration,
    /// Where connections go instead of the endpoint: a host and a port.
    pub connect: Option<(String, u16)>,
    /// PEM file with the roots to trust; `None`: the system's.
    pub ca: Option<PathBuf>,
    pub egress: Egress,
    pub calls_per_second: u32,
    pub concurrent_calls: u32,
    /// The attributes of resources that AWS's word proves; at most `PROVEN_ATTRIBUTES`, each once.
    pub attributes: Vec<AwsAttributeSource>,
}

/// An attribute, and the word of AWS's that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsAttributeSource {
    pub name: Arc<str>,
    pub word: AwsWord,
}

/// What AWS tells of a caller beside its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsWord {
    Account,
    UniqueId,
    /// The session's name, which is chosen by those who may assume the role.
    Session,
}

impl AwsWord {
    pub(crate) const ALL: [AwsWord; 3] = [AwsWord::Session, AwsWord::Account, AwsWord::UniqueId];

    pub(crate) fn name(self) -> &'static str {
        match self {
            AwsWord::Account => "account",
            AwsWord::UniqueId => "unique_id",
            AwsWord::Session => "session",
        }
    }

    pub(crate) fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.name() == text)
    }

    fn of<'a>(self, principal: &Principal<'a>) -> Option<&'a str> {
        match self {
            AwsWord::Account => Some(principal.account),
            AwsWord::UniqueId => Some(principal.unique_id),
            AwsWord::Session => principal.session,
        }
    }
}

impl AwsSettings {
    /// All hosts that proofs may be made for.
    pub(crate) fn hosts(&self) -> Vec<StsHost> {
        hosts(&self.partition, &self.regions, self.endpoints)
    }
}

/// The callers of some accounts, and AWS to ask about them.
pub(super) struct AwsIssuer {
    /// Unlike any other's in this process, earlier configurations included.
    id: u64,
    name: Arc<str>,
    settings: AwsSettings,
    hosts: Vec<StsHost>,
    audience: HeaderValue,
    client: OutboundClient,
    /// What the file at `ca` held, and a digest of what proxies are shown.
    opened: (Option<Vec<u8>>, [u8; 32]),
    proven: Consultations,
}

/// What a token that is like a proof is judged together with.
pub(super) struct ProofSurroundings<'a> {
    pub certificate: Option<&'a Arc<CertificateFacts>>,
    /// Where it comes from.
    pub address: IpAddr,
    pub now: UnixMillis,
}

impl AwsIssuer {
    /// Reads the file of roots. `previous`, of the same name, is returned itself if nothing changed: with what it remembers.
    pub(super) fn open(
        settings: &AwsSettings,
        surroundings: &Surroundings,
        previous: Option<&Arc<AwsIssuer>>,
    ) -> Result<Arc<AwsIssuer>, IssuerFault> {
        Self::open_any(settings, surroundings, previous).map_err(|cause| IssuerFault {
            issuer: settings.name.clone(),
            cause,
        })
    }

    fn open_any(
        settings: &AwsSettings,
        surroundings: &Surroundings,
        previous: Option<&Arc<AwsIssuer>>,
    ) -> Result<Arc<AwsIssuer>, IssuerCause> {
        // Issuers of tokens count up from 1.
        static IDS: AtomicU64 = AtomicU64::new(1 << 32);
        let (authorities, roots) = trusted(settings.ca.as_deref())?;
        let opened = (authorities, proxies(&settings.egress)?);
        let unchanged =
            previous.filter(|previous| previous.settings == *settings && previous.opened == opened);
        if let Some(unchanged) = unchanged {
            return Ok(unchanged.clone());
        }
        let (roots, egress, bounds) = (Arc::new(roots), &settings.egress, OutboundBounds::JUDGE);
        let client = match &settings.connect {
            Some((host, port)) => OutboundClient::at_place(roots, egress, bounds, (host, *port))?,
            None => OutboundClient::new(roots, egress, bounds)?,
        };
        let bounds = ConsultationBounds {
            calls_per_second: settings.calls_per_second,
            concurrent_calls: settings.concurrent_calls,
            call_limit: OutboundBounds::JUDGE.whole,
            accepted_limit: settings.cache,
            refused_limit: REFUSED_LIMIT,
        };
        Ok(Arc::new(AwsIssuer {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            name: Arc::from(settings.name.as_str()),
            hosts: settings.hosts(),
            audience: HeaderValue::from_str(&settings.audience)
                .map_err(|_| IssuerCause::NoAudience)?,
            client,
            opened,
            proven: Consultations::new(
                bounds,
                surroundings.clock.clone(),
                surroundings.runtime.clone(),
            ),
            settings: settings.clone(),
        }))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    fn host(&self, host: &str) -> Option<&StsHost> {
        self.hosts.iter().find(|known| known.host == host)
    }

    /// Until when a proof counts that is made for one of our hosts, in Unix seconds.
    fn end_of(&self, proof: &AwsProof, host: &StsHost, now: UnixMillis) -> Result<i64, Reason> {
        if proof.region != host.region {
            return Err(Reason::AwsProofMalformed);
        }
        if proof.signed_unix_seconds > now.seconds().saturating_add(AHEAD_LIMIT_SECONDS) {
            return Err(Reason::TokenNotYetValid);
        }
        let max_age = i64::try_from(self.settings.max_age.as_secs()).unwrap_or(0);
        let end = proof.signed_unix_seconds.saturating_add(max_age);
        if now.seconds() >= end {
            return Err(Reason::TokenExpired);
        }
        Ok(end)
    }

    /// The call, written by us. `None`: it cannot be written.
    fn request(&self, proof: &AwsProof, host: &StsHost) -> Option<Request<Vec<u8>>> {
        Request::get(proof.url(&host.host).as_str())
            .header(AUDIENCE, self.audience.clone())
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .ok()
    }

    async fn ask(
        &self,
        request: Option<Request<Vec<u8>>>,
        certificate: Option<Arc<CertificateFacts>>,
        expires_unix_seconds: i64,
    ) -> Opinion {
        match request {
            Some(request) => {
                self.ask_with(&self.client, request, certificate, expires_unix_seconds)
                    .await
            }
            None => Opinion::Refused(Reason::AwsProofMalformed),
        }
    }

    async fn ask_with(
        &self,
        client: &OutboundClient,
        request: Request<Vec<u8>>,
        certificate: Option<Arc<CertificateFacts>>,
        expires_unix_seconds: i64,
    ) -> Opinion {
        match client.ask(request).await {
            Ok(answer) => {
                let (status, body) = (answer.status(), answer.body());
                self.read(status, body, certificate, expires_unix_seconds)
            }
            Err(fault) => {
                tracing::warn!(issuer = %self.name, %fault, "AWS cannot be asked who signed");
                Opinion::Unavailable(Reason::AwsUnavailable)
            }
        }
    }

    /// What an answer comes to.
    fn read(
        &self,
        status: StatusCode,
        body: &[u8],
        certificate: Option<Arc<CertificateFacts>>,
        expires_unix_seconds: i64,
    ) -> Opinion {
        match answer::read(status, body) {
            StsAnswer::Refused => Opinion::Refused(Reason::AwsRefused),
            StsAnswer::Unreadable => {
                tracing::warn!(issuer = %self.name, status = status.as_u16(), "AWS did not say who signed");
                Opinion::Unavailable(Reason::AwsUnavailable)
            }
            StsAnswer::Caller {
                account,
                arn,
                user_id,
            } => match StsWords::read(&arn, &account, &user_id) {
                StsWords::Senseless => {
                    tracing::warn!(issuer = %self.name, "AWS's answer names no caller that makes sense");
                    Opinion::Unavailable(Reason::AwsUnavailable)
                }
                StsWords::Unnamed { partition, account } => {
                    Opinion::Refused(match self.is_ours(partition, account) {
                        true => Reason::AwsCallerUnnamed,
                        false => Reason::AwsAccountUnknown,
                    })
                }
                StsWords::Named(principal) => {
                    self.opinion(&principal, certificate, expires_unix_seconds)
                }
            },
        }
    }

    fn is_ours(&self, partition: &str, account: &str) -> bool {
        let mut accounts = self.settings.accounts.iter();
        partition == self.settings.partition && accounts.any(|known| known == account)
    }

    fn opinion(
        &self,
        principal: &Principal<'_>,
        certificate: Option<Arc<CertificateFacts>>,
        expires_unix_seconds: i64,
    ) -> Opinion {
        if !self.is_ours(principal.partition, principal.account) {
            return Opinion::Refused(Reason::AwsAccountUnknown);
        }
        let sources = self.settings.attributes.iter();
        let attributes = sources.map(|source| ProvenAttribute {
            name: source.name.clone(),
            value: source.word.of(principal).map(Into::into),
        });
        Opinion::Holds(Arc::new(Facts {
            method: Method::Aws,
            issuer: self.name.clone(),
            subject: Arc::from(principal.canonical.as_str()),
            subject_claim: None,
            groups: Vec::new(),
            claims: serde_json::Map::new(),
            certificate,
            attributes: attributes.collect(),
            client_binding: None,
            aws: Some(Arc::new(AwsFacts {
                kind: principal.kind,
                account: principal.account.into(),
                unique_id: principal.unique_id.into(),
                session: principal.session.map(Into::into),
            })),
            doubts: Doubts::default(),
            expires_unix_seconds,
        }))
    }
}

/// For how long a proof that AWS refused is not asked about again.
const REFUSED_LIMIT: Duration = Duration::from_secs(10);

/// A proof for one of our hosts, not too old: what can be known without a call.
struct CheckedProof<'a> {
    issuer: &'a Arc<AwsIssuer>,
    host: &'a StsHost,
    proof: AwsProof,
    end_unix_seconds: i64,
}

/// All that is cheap. The one of `issuers` judges for whose host the proof is made.
fn examine<'a>(
    issuers: &'a [Arc<AwsIssuer>],
    token: &[u8],
    now: UnixMillis,
) -> Result<CheckedProof<'a>, Reason> {
    if issuers.is_empty() {
        return Err(Reason::TokenIssuerUnknown);
    }
    let proof = AwsProof::parse(token).ok_or(Reason::AwsProofMalformed)?;
    let found = issuers
        .iter()
        .find_map(|issuer| Some((issuer, issuer.host(&proof.host)?)));
    let (issuer, host) = found.ok_or(Reason::AwsHostUnknown)?;
    Ok(CheckedProof {
        end_unix_seconds: issuer.end_of(&proof, host, now)?,
        issuer,
        host,
        proof,
    })
}

/// Judges a token that has a proof's form: by what is remembered of it, or else by asking.
pub(super) async fn judge(
    issuers: &[Arc<AwsIssuer>],
    token: &[u8],
    around: ProofSurroundings<'_>,
) -> Judgement {
    let ProofSurroundings {
        certificate,
        address,
        now,
    } = around;
    let evidence = Evidence::of(token, None, certificate.map(|held| &**held));
    let known = issuers
        .iter()
        .find_map(|issuer| issuer.proven.remembered(&evidence, now));
    if let Some(judgement) = known {
        return judgement;
    }
    let CheckedProof {
        issuer,
        host,
        proof,
        end_unix_seconds,
    } = examine(issuers, token, now)?;
    let ask = || {
        let request = issuer.request(&proof, host);
        let (issuer, certificate) = (issuer.clone(), certificate.cloned());
        async move { issuer.ask(request, certificate, end_unix_seconds).await }
    };
    let credential = proof.credential();
    let bearer = ProofBearer {
        address,
        credential: Some(&credential),
    };
    issuer.proven.judge(&evidence, bearer, now, ask).await
}

/// What a token that has a proof's form says of itself, for `explain`: nothing that signs, and nothing that is proven.
pub(super) fn glance(
    issuers: &[Arc<AwsIssuer>],
    token: &[u8],
) -> Vec<(&'static str, serde_json::Value)> {
    let mut said = vec![("form", "a signed call to AWS".into())];
    let Some(proof) = AwsProof::parse(token) else {
        return said;
    };
    said.push(("host", shown(&proof.host).into()));
    said.push(("region", shown(&proof.region).into()));
    said.push(("signed_unix_seconds", proof.signed_unix_seconds.into()));
    let issuer = issuers
        .iter()
        .find(|issuer| issuer.host(&proof.host).is_some());
    if let Some(issuer) = issuer {
        said.push(("issuer", issuer.name().into()));
        said.push(("audience_wanted", issuer.settings.audience.as_str().into()));
    }
    said
}
