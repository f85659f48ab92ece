//! The second room: a `Caller`'s evidence becomes an `Identity`, or a rejection.
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
mod jwks;
mod keys;
mod kind;
mod login;
mod mtls;
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
pub use dpop::{Nonce, NonceKeyFault};
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

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::accept::{AssertionHeader, Caller, Carrier, ClientChain, Presented, ShownCertificate};
use crate::apps::AppPath;
use crate::clock::{Clock, UnixMillis};
use crate::reason::Reason;

use aws::{AwsIssuer, ProofSurroundings};
use cache::{Evidence, RememberedJudgement, TokenCache};
use client_token::ClientTokens;
use doubts::Doubt;
use dpop::{BoundToken, Possession, Thumbprint};
use facts::ShownLeaf;
use issuer::{Issuer, IssuerCause};
use login::Memory;
use mtls::Holder;
use revocation::Revocations;
use token::Unproven;
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

    /// What the caller's next proof of possession needs.
    pub(crate) fn nonce(&self) -> Option<&Nonce> {
        self.nonce.as_ref()
    }

    /// The browser's session, if that is how the caller was identified.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }
}

/// What a token says, and the key whose proof it needs besides.
type ProvenToken = (Arc<Facts>, Option<Thumbprint>);

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
    /// Reads the issuers' files and begins to fetch keys; never waits for an issuer. Reports all faults at
    /// once. `verifiers`: those of the listeners that ask for client certificates. `previous`: the same
    /// room under the configuration before: an issuer that did not change keeps its keys, its task and its
    /// verified tokens.
    pub fn new(
        settings: &[IssuerSettings],
        verifiers: Vec<Arc<ClientVerifier>>,
        surroundings: Surroundings,
        previous: Option<&Identifier>,
    ) -> Result<Identifier, Vec<IssuerFault>> {
        let mut issuers: Vec<Arc<Issuer>> = Vec::with_capacity(settings.len());
        let mut faults = Vec::new();
        for one in settings {
            let earlier = previous.and_then(|previous| previous.issuer(&one.name));
            match Issuer::open(one, &surroundings, earlier) {
                Err(fault) => faults.push(fault),
                Ok(issuer) => {
                    let twin = issuers.iter().find(|other| {
                        other.name == issuer.name || other.settings().issuer == one.issuer
                    });
                    if let Some(twin) = twin {
                        faults.push(IssuerFault {
                            issuer: one.name.clone(),
                            cause: IssuerCause::Twin(twin.name.clone()),
                        });
                    }
                    issuers.push(issuer);
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let tokens = previous.filter(|previous| !assigns_otherwise(&previous.issuers, &issuers));
        let tokens = tokens.map_or_else(TokenCache::new, |previous| previous.tokens.clone());
        let mut assertion_headers: Vec<AssertionHeader> = Vec::new();
        for header in settings.iter().filter_map(|issuer| issuer.header.as_ref()) {
            if !assertion_headers.contains(header) {
                assertion_headers.push(header.clone());
            }
        }
        let memory = previous.map_or_else(Arc::default, |previous| previous.memory.clone());
        // What providers told stays; what the file lists is listed anew.
        let revocations = previous.map_or_else(Revocations::default, |previous| {
            previous.revocations.listing(Arc::default())
        });
        Ok(Identifier {
            issuers,
            aws: Vec::new(),
            verifiers,
            tokens,
            client_tokens: ClientTokens::new(&[]),
            login: None,
            memory,
            revocations,
            transmitters: Vec::new(),
            webhooks: Webhooks::none(),
            possession: None,
            policy_claims: None,
            assertion_headers,
            surroundings,
        })
    }

    /// The same room, which knows what the policy looks at, by issuer: claims that are elsewhere, or not vouched for, are no
    /// fault where it does not.
    pub(crate) fn with_policy_claims(
        self,
        policy_claims: Vec<(String, PolicyClaims)>,
    ) -> Identifier {
        Identifier {
            policy_claims: Some(policy_claims),
            ..self
        }
    }

    /// The headers in which proxies state who calls.
    pub(crate) fn assertion_headers(&self) -> &[AssertionHeader] {
        &self.assertion_headers
    }

    /// The same room, which knows these client tokens and no others.
    pub(crate) fn with_client_tokens(self, settings: &[ClientTokenSettings]) -> Identifier {
        Identifier {
            client_tokens: ClientTokens::new(settings),
            ..self
        }
    }

    /// The same room, which knows the callers of these AWS accounts and no others; reads files and asks nothing. Reports all
    /// faults at once. `previous`: the room before; what did not change keeps what it remembers.
    pub fn with_aws(
        self,
        settings: &[AwsSettings],
        previous: Option<&Identifier>,
    ) -> Result<Identifier, Vec<IssuerFault>> {
        let mut aws = Vec::with_capacity(settings.len());
        let mut faults = Vec::new();
        for one in settings {
            let mut earlier = previous.iter().flat_map(|previous| &previous.aws);
            let earlier = earlier.find(|earlier| earlier.name() == one.name);
            match AwsIssuer::open(one, &self.surroundings, earlier) {
                Ok(issuer) => aws.push(issuer),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            Ok(Identifier { aws, ..self })
        } else {
            Err(faults)
        }
    }

    /// The same room, where people log in as `settings` say; reads the keys and secrets and never waits for the
    /// provider. Reports all faults at once. `previous`: the room before, whose knowledge of the provider is kept
    /// where it still holds.
    pub fn with_login(
        self,
        settings: Option<&LoginSettings>,
        previous: Option<&Identifier>,
    ) -> Result<Identifier, Vec<LoginFault>> {
        let previous = previous.and_then(|previous| previous.login.as_ref());
        let open = |settings| {
            let remembered = (self.memory.clone(), self.revocations.clone());
            Login::open(settings, &self.issuers, remembered, previous)
        };
        let login = settings.map(open).transpose()?;
        Ok(Identifier { login, ..self })
    }

    /// The same room, which judges proofs of possession as `settings` say. Reports all faults at once. `previous`: the room
    /// before, whose nonces stay good where no key is configured.
    pub fn with_possession(
        self,
        settings: &DpopSettings,
        previous: Option<&Identifier>,
    ) -> Result<Identifier, Vec<NonceKeyFault>> {
        let previous = previous.and_then(|previous| previous.possession.as_ref());
        let possession = Possession::open(settings, self.memory.clone(), previous)?;
        Ok(Identifier {
            possession: Some(possession),
            ..self
        })
    }

    /// The login, if one is configured.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The same room, which knows these webhook secrets and no others; or what is wrong with each that cannot be used.
    pub(crate) fn with_webhooks(
        self,
        settings: &[WebhookSettings],
    ) -> Result<Identifier, Vec<WebhookFault>> {
        Ok(Identifier {
            webhooks: Webhooks::read(settings)?,
            ..self
        })
    }

    /// Judges a caller at the alert inlet of `app`, where one of that app's secrets in `Authorization` is the only
    /// evidence. A browser's session is none: a cookie comes along with what some other page made it send.
    pub(crate) fn identify_webhook(
        &self,
        caller: Caller,
        app: &AppPath,
    ) -> Result<Identity, Rejection> {
        let judged = self.judge_webhook(&caller, app);
        self.tell(Some(Method::Webhook), &judged);
        judged
    }

    fn judge_webhook(&self, caller: &Caller, app: &AppPath) -> Result<Identity, Rejection> {
        let token = match (&caller.token, &caller.certificate) {
            (None, None) => return Err(Reason::NoCredential.into()),
            (Some(token), None) if token.carrier == Carrier::Authorization => token,
            (Some(_), None) | (_, Some(_)) => return Err(Reason::WebhookEvidence.into()),
        };
        if u32::try_from(token.bytes().len())
            .map_or(true, |length| length > self.surroundings.token_bytes)
        {
            return Err(Reason::TokenTooLarge.into());
        }
        Ok(Identity::mint(self.webhooks.judge(token.bytes(), app)?))
    }

    /// Judges a caller's evidence. Waits only if a token names a key that may be new (`FORCED_WAIT` at most), or if another
    /// party is asked (`ConsultationBounds::call_limit` at most).
    pub async fn identify(&self, caller: Caller) -> Result<Identity, Rejection> {
        let judged = self.judge_caller(&caller).await;
        let method = match &judged {
            Ok(identity) => Some(identity.facts.method),
            Err(_) => self.shown_method(&caller),
        };
        self.tell(method, &judged);
        judged
    }

    /// Tells how a caller was identified, or was not.
    fn tell(&self, method: Option<Method>, judged: &Result<Identity, Rejection>) {
        let outcome = match judged {
            Ok(_) => Identification::Accepted,
            Err(rejection) if rejection.kind == RejectionKind::Unavailable => {
                Identification::Unavailable
            }
            Err(_) => Identification::Refused,
        };
        let event = Event::Identified { method, outcome };
        self.surroundings.events.report(event);
    }

    /// As what a caller would have been identified by what it showed; `None`: it showed nothing.
    fn shown_method(&self, caller: &Caller) -> Option<Method> {
        if caller.session.is_some() {
            return Some(Method::Session);
        }
        let Some(token) = caller
            .token
            .as_ref()
            .filter(|token| is_ours_to_judge(token))
        else {
            return caller.certificate.as_ref().map(|_| Method::Mtls);
        };
        if token.assertion().is_some() {
            return Some(Method::Assertion);
        }
        if token.is_client_token() {
            return Some(Method::ClientToken);
        }
        if token.is_aws_proof() {
            return Some(Method::Aws);
        }
        if choice::opaque(&self.issuers, token).is_some() {
            return Some(Method::Introspection);
        }
        let is_bounded = u32::try_from(token.bytes().len())
            .is_ok_and(|length| length <= self.surroundings.token_bytes);
        let read = is_bounded
            .then(|| Unproven::parse(token.bytes()).ok())
            .flatten();
        let issuer = read.and_then(|read| choice::issuer_of(&self.issuers, &read.claims).cloned());
        let is_svid = issuer.is_some_and(|issuer| issuer.settings().trust_domain().is_some());
        Some(if is_svid {
            Method::JwtSvid
        } else {
            Method::Oidc
        })
    }

    async fn judge_caller(&self, caller: &Caller) -> Result<Identity, Rejection> {
        let now = self.surroundings.clock.now();
        let identity = self.prove(caller, now).await?;
        Ok(self.unless_revoked(identity, now)?)
    }

    /// The same, whether the proof was ended or not.
    async fn prove(&self, caller: &Caller, now: UnixMillis) -> Result<Identity, Rejection> {
        let by_proof = caller
            .token
            .as_ref()
            .is_some_and(|token| token.carrier == Carrier::Dpop);
        if caller.proof.is_some() && !by_proof {
            return Err(Reason::ProofScheme.into());
        }
        let holder = caller
            .certificate
            .as_ref()
            .map(|chain| self.holder(chain, now))
            .transpose()?;
        if let Some(cookie) = &caller.session {
            // `accept` refuses both together; should it ever not, neither is chosen.
            if caller.token.as_ref().is_some_and(is_ours_to_judge) {
                return Err(Reason::SessionInvalid.into());
            }
            let login = self.login.as_ref().ok_or(Reason::SessionInvalid)?;
            let (facts, session) = login.judge(
                cookie,
                holder.and_then(|holder| Some(holder.vouched?.0)),
                now,
            )?;
            self.settle(&facts)?;
            return Ok(Identity {
                facts: Arc::new(facts),
                session: Some(Box::new(session)),
                nonce: None,
            });
        }
        let Some(token) = caller
            .token
            .as_ref()
            .filter(|token| is_ours_to_judge(token))
        else {
            return match holder.and_then(|holder| holder.vouched) {
                Some((_, facts)) => Ok(Identity::mint(facts)),
                None => Err(Reason::NoCredential.into()),
            };
        };
        let bytes = token.bytes();
        if u32::try_from(bytes.len()).map_or(true, |length| length > self.surroundings.token_bytes)
        {
            return Err(Reason::TokenTooLarge.into());
        }
        let header = token.assertion();
        // Before anything else reads it: such a token is no issuer's, and is never remembered.
        if token.is_client_token() && header.is_none() {
            if by_proof {
                return Err(Reason::TokenUnbound.into());
            }
            let certificate = Holder::shown(holder.as_ref()).certificate;
            let facts = self.client_tokens.judge(bytes, certificate, now)?;
            self.surroundings.events.report(Event::ClientTokenUsed {
                name: facts.subject.clone(),
                at: now,
            });
            return Ok(Identity::mint(facts));
        }
        if token.is_aws_proof() && header.is_none() {
            if by_proof {
                return Err(Reason::TokenUnbound.into());
            }
            let around = ProofSurroundings {
                certificate: Holder::shown(holder.as_ref()).certificate,
                address: caller.address,
                now,
            };
            return Ok(Identity::mint(aws::judge(&self.aws, bytes, around).await?));
        }
        let leaf = Holder::shown(holder.as_ref());
        let evidence = Evidence::of(bytes, header, leaf.certificate.map(|it| &**it));
        let evidence = match (leaf.certificate, leaf.fingerprint) {
            (None, Some(fingerprint)) => evidence.beside(fingerprint),
            _ => evidence,
        };
        let asked = (&evidence, caller.address, now);
        let (facts, key) = match choice::opaque(&self.issuers, token) {
            Some(introspector) => introspector.introspected(bytes, leaf, asked).await?,
            None => {
                let (facts, key) = match self.remembered(&evidence, now) {
                    Some(known) => known,
                    None => self.judge(bytes, header, leaf, evidence, now).await?,
                };
                let facts = match self.issuer(&facts.issuer) {
                    Some(issuer) => issuer.confirmed(bytes, facts, asked).await?,
                    None => facts,
                };
                (facts, key)
            }
        };
        self.settle(&facts)?;
        let nonce = self.possesses(&facts, key.as_ref(), caller, bytes, now)?;
        Ok(Identity {
            nonce,
            ..Identity::mint(facts)
        })
    }

    /// Whether the caller holds the key that its token is bound to, and comes by the scheme for that. Asked each time, of a
    /// remembered token as well (RFC 9449 section 7.1): a bound token is no bearer token, and an unbound one proves nothing
    /// by a proof.
    fn possesses(
        &self,
        facts: &Facts,
        key: Option<&Thumbprint>,
        caller: &Caller,
        token: &[u8],
        now: UnixMillis,
    ) -> Result<Option<Nonce>, Rejection> {
        let issuer = self.issuer(&facts.issuer);
        let settings = issuer.map(|issuer| issuer.settings());
        let (key, proof) = match (key, &caller.proof) {
            (Some(key), Some(proof)) => (key, proof),
            (Some(_), None) => return Err(Reason::TokenBound.into()),
            (None, Some(_)) => return Err(Reason::TokenUnbound.into()),
            (None, None) if settings.is_some_and(|settings| settings.dpop_required) => {
                return Err(Reason::TokenUnbound.into());
            }
            (None, None) => return Ok(None),
        };
        let possession = self.possession.as_ref().ok_or(Reason::ProofAddress)?;
        let token = BoundToken {
            bytes: token,
            key,
            leeway: settings.map_or(Duration::ZERO, |settings| settings.leeway),
        };
        Ok(possession.judge(proof, &token, now)?)
    }

    /// Refuses facts that leave something open at which the policy in force looks. Asked each time, since a remembered token
    /// and a session outlive a policy.
    fn settle(&self, facts: &Facts) -> Result<(), Reason> {
        let mut known = self.policy_claims.iter().flatten();
        let policy = known
            .find(|(issuer, _)| **issuer == *facts.issuer)
            .map(|(_, claims)| claims);
        facts
            .doubts
            .settled_by(policy, &facts.claims)
            .map_err(|doubt| match (doubt, facts.method) {
                (Doubt::Elsewhere | Doubt::Unreadable, Method::Session) => {
                    Reason::SessionClaimsElsewhere
                }
                (Doubt::Elsewhere, _) => Reason::TokenClaimsElsewhere,
                (Doubt::EmailUnverified, _) => Reason::TokenEmailUnverified,
                (Doubt::Unreadable, _) => Reason::TokenClaims,
            })
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

    /// A chain from a listener that no longer asks for certificates identifies no caller.
    fn holder(&self, chain: &Arc<ClientChain>, now: UnixMillis) -> Result<Holder, Reason> {
        let verifier = self
            .verifiers
            .iter()
            .find(|verifier| *verifier.listener() == *chain.listener);
        verifier
            .ok_or(Reason::CertificateUntrusted)?
            .holder(chain, now)
    }

    /// What the record of a refused call says of the certificate that was shown.
    pub(crate) fn shown_certificate(&self, chain: &ClientChain) -> Option<ShownCertificate> {
        let verifier = self
            .verifiers
            .iter()
            .find(|verifier| *verifier.listener() == *chain.listener)?;
        Some(verifier.shown(chain, self.surroundings.clock.now()))
    }

    fn remembered(&self, evidence: &Evidence, now: UnixMillis) -> Option<ProvenToken> {
        let entry = self.tokens.find(evidence)?;
        let issuer = self.issuers.iter().find(|issuer| issuer.id == entry.issuer);
        let holds = now.seconds() < entry.refused_from
            && issuer.is_some_and(|issuer| issuer.stamp(now) == Some(entry.stamp));
        if !holds {
            self.tokens.forget(evidence);
            return None;
        }
        Some((entry.facts.clone(), entry.key))
    }

    /// The name of the issuer that would judge such claims, for `explain --claims`.
    pub(crate) fn issuer_for_explain(&self, claims: &Map<String, Value>) -> Option<&str> {
        choice::issuer_of(&self.issuers, claims).map(|issuer| &*issuer.name)
    }

    async fn judge(
        &self,
        bytes: &[u8],
        header: Option<&AssertionHeader>,
        leaf: ShownLeaf<'_>,
        evidence: Evidence,
        now: UnixMillis,
    ) -> Result<ProvenToken, Reason> {
        let token = Unproven::parse(bytes)?;
        let issuer = choice::judge_of(&self.issuers, &token.claims)?;
        if header.is_some_and(|header| !issuer.takes_in(header)) {
            return Err(Reason::TokenPlace);
        }
        let judged = issuer.judge(token, leaf, now).await?;
        let method = if header.is_some() {
            Method::Assertion
        } else {
            judged.facts.method
        };
        let facts = Arc::new(Facts {
            method,
            ..judged.facts
        });
        let entry = RememberedJudgement {
            facts: facts.clone(),
            key: judged.key,
            issuer: issuer.id,
            stamp: judged.stamp,
            refused_from: issuer.refused_from(facts.expires_unix_seconds),
            token_bytes: bytes.len(),
        };
        self.tokens.remember(evidence, entry);
        Ok((facts, judged.key))
    }
}

/// Whether a token may now be another issuer's: it is its trust domain's only where no issuer has its `iss`.
fn assigns_otherwise(before: &[Arc<Issuer>], now: &[Arc<Issuer>]) -> bool {
    let named = |issuers: &[Arc<Issuer>]| -> BTreeSet<String> {
        issuers
            .iter()
            .map(|issuer| issuer.settings().issuer.clone())
            .collect()
    };
    now.iter()
        .any(|issuer| issuer.settings().trust_domain().is_some())
        && named(before) != named(now)
}

/// Lightstep's own header often holds an opaque Lightstep token, which proves nothing to us and is
/// replaced on the way out. It is a credential of ours only if it could be a signed token, a client token or a signed call to AWS.
fn is_ours_to_judge(token: &Presented) -> bool {
    token.carrier != Carrier::AccessToken
        || token.is_client_token()
        || token.is_aws_proof()
        || token::is_shaped_like_one(token.bytes())
}
