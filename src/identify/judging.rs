//! A caller's evidence becomes an `Identity`, or a rejection.
//!
//! What it does: takes the evidence in its order, asks who can judge it, and holds what was proven against the policy in force,
//! the key that a token is bound to, and what was revoked. What it refuses to know: how each kind of evidence is judged, and
//! configurations. Invariants: a rejection ends the search; what was remembered of a token is held to everything that may have
//! changed since; each judgement is told once.

use std::sync::Arc;
use std::time::Duration;

use crate::accept::{AssertionHeader, Caller, Carrier, ClientChain, Presented};
use crate::apps::AppPath;
use crate::clock::UnixMillis;
use crate::reason::Reason;

use super::aws::{self, ProofSurroundings};
use super::cache::{Evidence, RememberedJudgement};
use super::doubts::Doubt;
use super::dpop::{BoundToken, Nonce, Thumbprint};
use super::event::{Event, Identification};
use super::facts::{Facts, Method, ShownLeaf};
use super::introspection::ProvenToken;
use super::mtls::Holder;
use super::rejection::{Rejection, RejectionKind};
use super::token::{self, Unproven};
use super::{Identifier, Identity, choice};

impl Identifier {
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
        // A key that was lost proves nothing of a token that is bound to it, and stands beside no other proof.
        if let Some(key) = holder.as_ref().and_then(|holder| holder.lone_key.as_ref()) {
            self.revocations.judge_key(key, now)?;
        }
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
            issuer: &facts.issuer,
            subject: &facts.subject,
        };
        Ok(possession.judge(proof, &token, now)?)
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

    /// Refuses facts that leave something open at which the policy in force looks. Asked each time, since a remembered token
    /// and a session outlive a policy.
    pub(super) fn settle(&self, facts: &Facts) -> Result<(), Reason> {
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
}

/// Lightstep's own header often holds an opaque Lightstep token, which proves nothing to us and is
/// replaced on the way out. It is a credential of ours only if it could be a signed token, a client token or a signed call to AWS.
fn is_ours_to_judge(token: &Presented) -> bool {
    token.carrier != Carrier::AccessToken
        || token.is_client_token()
        || token.is_aws_proof()
        || token::is_shaped_like_one(token.bytes())
}
