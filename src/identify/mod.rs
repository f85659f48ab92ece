//! The second room: a `Caller`'s evidence becomes an `Identity`, or a rejection. What a configuration says of it is opened in
//! `opening.rs`, and callers are judged in `judging.rs`; the room itself, and what is told of it, is here.
//!
//! What it does: judges the certificate, then the browser's session or the token (an issuer's, a client token or a signed call to AWS); each
//! answers not presented, verified or rejected, and a rejection ends the search: no caller falls through to weaker evidence.
//! When a certificate comes with one of the others, both must hold and the other decides who it is. What it refuses to know: policy, apps, projects.
//! Invariants: `Identity` has one mint (`Identity::mint`, private to this room); a missing key set is
//! "unavailable", never "rejected"; the cache never outlives its evidence; nothing of a token leaves
//! this room but the facts of one that was verified.

mod algorithm;
mod anchors;
mod authority;
mod aws;
mod bundle;
mod cache;
mod certificate;
mod choice;
mod claim_path;
mod claims;
mod client_proof;
mod client_token;
mod client_token_hash;
mod cluster;
mod consultations;
mod doubts;
mod dpop;
mod ending;
mod event;
mod facts;
mod fetch;
mod file;
mod introspection;
mod issuer;
mod json;
mod judging;
mod jwks;
mod keys;
mod kind;
mod login;
mod mtls;
mod opening;
mod proven;
mod pushed;
mod rejection;
mod revocation;
mod security_event;
mod settings;
mod signature;
mod spiffe_id;
mod svid;
mod token;
mod transmitter;
mod webhook;
mod workload;

#[cfg(test)]
mod forge;
#[cfg(test)]
mod tests;

pub use algorithm::ALGORITHMS;
pub(crate) use anchors::bundled_anchors;
pub(crate) use authority::AuthorityFault;
pub(crate) use authority::anchors as signing_certificates;
pub(crate) use aws::{
    ArnPattern, has_dual_stack, has_fips, has_global_endpoint, is_account, is_region_of,
    partitions, regional_host,
};
pub use aws::{AwsAttributeSource, AwsSettings, AwsWord, StsEndpoints};
pub(crate) use bundle::{BUNDLE_REFRESH, BUNDLE_STALE};
pub(crate) use certificate::own_trust_domain;
pub use claim_path::ClaimPath;
pub(crate) use client_proof::AssertionKey;
pub use client_token::NewClientToken;
pub use client_token_hash::ClientTokenHash;
pub use doubts::Doubts;
pub use dpop::{Nonce, NonceKeyFault, ReadProof, is_same_address};
pub(crate) use ending::ToldRevocations;
pub use event::Events;
pub(crate) use event::{Event, Identification};
pub use facts::{AwsFacts, CLIENT_TOKENS, CertificateFacts, Facts, Method, PrincipalKind};
pub(crate) use facts::{CLIENT_CERTIFICATES, WEBHOOKS};
pub(crate) use introspection::is_opaque_prefix;
pub(crate) use issuer::IssuerFault;
pub(crate) use json::object as strict_object;
pub(crate) use jwks::IssuerStatus;
pub use login::{CliConfiguration, CliSettings, LoginSettings, SetCookie};
pub(crate) use login::{Finished, Login, LoginFault, Session, session_key_bytes};
pub(crate) use mtls::{ClientTrust, ClientVerifier};
pub(crate) use proven::PROVEN_ATTRIBUTES;
pub use proven::{AttributeSource, ProvenAttribute};
pub(crate) use rejection::{Rejection, RejectionKind};
pub(crate) use revocation::Revocation;
pub use revocation::{RevocationList, RevocationSurroundings, revocations_schema};
pub use settings::{
    ClientProofSettings, ClientTokenSettings, ClusterSettings, DpopSettings, IntrospectionSettings,
    IssuerSettings, KeyAccess, KeySource, PolicyClaims, ProofReplay, TokenReviewing, TokensTaken,
    TransmitterSettings, WebhookSettings,
};
pub(crate) use spiffe_id::{is_trust_domain, trust_domain_of};
pub(crate) use svid::{JWT_SVID_ALGORITHMS, JWT_SVID_TYPES};
pub(crate) use transmitter::TransmitterFault;
pub(crate) use webhook::{WEBHOOK_SECRET_LEAST_BYTES, WEBHOOK_SECRETS, WebhookFault};

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::accept::{AssertionHeader, Caller, ClientChain, ShownCertificate};
use crate::clock::Clock;
use crate::reason::Reason;

use aws::AwsIssuer;
use cache::TokenCache;
use client_token::ClientTokens;
use dpop::Possession;
use issuer::Issuer;
use login::Memory;
use revocation::Revocations;
use transmitter::Transmitter;
use webhook::Webhooks;

/// Proof that a caller is who it says. Private field, no `Clone`, minted only in this room.
#[derive(Debug)]
pub struct Identity {
    facts: Arc<Facts>,
    session: Option<Box<Session>>,
    nonce: Option<Nonce>,
}

impl Identity {
    /// The one mint of identities.
    fn mint(facts: Arc<Facts>) -> Self {
        Identity {
            facts,
            session: None,
            nonce: None,
        }
    }

    /// What was proven.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The same, for whatever outlives the identity.
    pub(crate) fn shared_facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// What the caller's next proof of possession needs.
    pub(crate) fn nonce(&self) -> Option<&Nonce> {
        self.nonce.as_ref()
    }

    /// The browser's session, if that is how the caller was identified.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }
}

/// What the room needs from outside.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Clock,
    /// `limits.token`.
    pub token_bytes: u32,
    pub events: Events,
    /// Where keys are fetched; it must live as long as the gateway, with IO and timers enabled.
    pub runtime: tokio::runtime::Handle,
}

/// The room itself, for one configuration.
pub struct Identifier {
    issuers: Vec<Arc<Issuer>>,
    aws: Vec<Arc<AwsIssuer>>,
    verifiers: Vec<Arc<ClientVerifier>>,
    tokens: TokenCache,
    client_tokens: ClientTokens,
    login: Option<Login>,
    /// What must not be used again, whether a login is configured or not.
    memory: Arc<Memory>,
    revocations: Revocations,
    transmitters: Vec<Transmitter>,
    webhooks: Webhooks,
    /// Without it no proof of possession holds.
    possession: Option<Possession>,
    /// Of each issuer, what the policy in force looks at; `None`: perhaps everything.
    policy_claims: Option<Vec<(String, PolicyClaims)>>,
    /// Each once.
    assertion_headers: Vec<AssertionHeader>,
    surroundings: Surroundings,
}

impl Identifier {
    /// The headers in which proxies state who calls.
    pub(crate) fn assertion_headers(&self) -> &[AssertionHeader] {
        &self.assertion_headers
    }

    /// The login, if one is configured.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Each issuer's keys, and the bundles of authorities that are read again and again, for readiness and metrics.
    pub fn readiness(&self) -> Vec<IssuerStatus> {
        let now = self.surroundings.clock.now();
        let issuers = self.issuers.iter().map(|issuer| issuer.status(now));
        let mut all: Vec<IssuerStatus> = issuers.collect();
        for bundle in self.verifiers.iter().flat_map(|one| one.bundles(now)) {
            // Several listeners may have one authority.
            if all.iter().all(|known| known.issuer != bundle.issuer) {
                all.push(bundle);
            }
        }
        all
    }

    /// Whether some listener can judge client certificates now.
    pub(crate) fn takes_certificates(&self) -> bool {
        let now = self.surroundings.clock.now();
        self.verifiers.iter().any(|verifier| verifier.is_able(now))
    }

    /// Each issuer's name, and what differs once its settings or files do.
    pub fn issuers(&self) -> std::collections::BTreeMap<String, u64> {
        let issuers = self.issuers.iter();
        let issuers = issuers.map(|issuer| (issuer.name.to_string(), issuer.id));
        let aws = self.aws.iter();
        let aws = aws.map(|issuer| (issuer.name().to_owned(), issuer.id()));
        issuers.chain(aws).collect()
    }

    /// What a caller's token says of itself, for `explain`: nothing that is a secret, and nothing that is proven.
    pub(crate) fn glance_for_explain(&self, caller: &Caller) -> Vec<(&'static str, Value)> {
        match &caller.token {
            Some(token) if token.is_aws_proof() => aws::glance(&self.aws, token.bytes()),
            Some(token) if token.is_client_token() => vec![("form", "a client token".into())],
            Some(token) => token::glance(token.bytes(), |claims| {
                choice::issuer_of(&self.issuers, claims).map(|issuer| &*issuer.name)
            }),
            None => Vec::new(),
        }
    }

    /// The issuers that are authorization servers (RFC 8414 section 2), by their identifiers.
    pub(crate) fn authorization_servers(&self) -> Vec<&str> {
        let is_server =
            |issuer: &&str| issuer.starts_with("https://") || issuer.starts_with("http://");
        let identifiers = self
            .issuers
            .iter()
            .map(|issuer| issuer.settings().issuer.as_str());
        identifiers.filter(is_server).collect()
    }

    /// Whether no issuer's token counts that is bound to no key.
    pub(crate) fn wants_bound_tokens(&self) -> bool {
        let mut issuers = self.issuers.iter();
        !self.issuers.is_empty() && issuers.all(|issuer| issuer.settings().dpop_required)
    }

    /// What the room was given from outside.
    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Waits until every issuer's first reading has ended, well or not, at most `limit`. For commands that
    /// judge one token and end, and for tests.
    pub async fn settled(&self, limit: Duration) {
        let all = async {
            for issuer in &self.issuers {
                issuer.settled().await;
            }
            for verifier in &self.verifiers {
                verifier.settled().await;
            }
        };
        // The readiness probe tells what came of it.
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// The facts that a claim set from the issuer called `name` would give, for `explain --claims`. No
    /// signature, audience or date is looked at, and no `Identity` can come of it.
    pub(crate) fn identify_claims_for_explain(
        &self,
        name: &str,
        claims: Map<String, Value>,
    ) -> Result<Facts, Rejection> {
        let issuer = self.issuer(name).ok_or(Reason::TokenIssuerUnknown)?;
        let facts = issuer.unproven_facts(claims)?;
        self.settle(&facts)?;
        Ok(facts)
    }

    fn issuer(&self, name: &str) -> Option<&Arc<Issuer>> {
        self.issuers.iter().find(|issuer| &*issuer.name == name)
    }

    /// What the record of a refused call says of the certificate that was shown.
    pub(crate) fn shown_certificate(&self, chain: &ClientChain) -> Option<ShownCertificate> {
        let verifier = self
            .verifiers
            .iter()
            .find(|verifier| *verifier.listener() == *chain.listener)?;
        Some(verifier.shown(chain, self.surroundings.clock.now()))
    }

    /// The name of the issuer that would judge such claims, for `explain --claims`.
    pub(crate) fn issuer_for_explain(&self, claims: &Map<String, Value>) -> Option<&str> {
        choice::issuer_of(&self.issuers, claims).map(|issuer| &*issuer.name)
    }
}
