//! Proofs that no longer count, though their signatures and dates still do.
//!
//! What it does: holds what the operator's file lists and what providers told, and says of a caller that was proven whether
//! its proof was ended. What it refuses to know: how a proof is verified, and who may end one. Invariants: a revocation
//! says up to when proofs are ended, or names one that never comes back, so that taking it twice changes nothing; where
//! nothing is revoked, a call costs two loads; what cannot be told of a proof (when it was issued) ends it.

mod heard;
mod list;
mod raw;
mod table;

#[cfg(test)]
mod tests;

pub(crate) use heard::{HeardRevocations, RevocationSender};
pub(super) use list::serial_text;
pub use list::{RevocationList, RevocationSurroundings};
pub use raw::revocations_schema;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use table::MarkedProof;

use super::claims::date;
use super::facts::{CertificateFacts, Facts, Method};
use crate::clock::UnixMillis;
use crate::reason::Reason;

/// The longest value of a revocation: a subject, an id of a token or session.
pub(super) const VALUE_LIMIT_BYTES: usize = 1024;

/// By what a revocation tells proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RevocationKind {
    /// The token with this `jti`.
    Token,
    /// The subject, as records and policies have it: tokens, sessions and certificates.
    Subject,
    /// `sub`, whatever claim names the subject here.
    Account,
    /// The same, of proofs that name no session.
    AccountWithoutSession,
    /// The claim `email`.
    Email,
    /// The provider's session: `sid`.
    Session,
    /// `sub` and `sid` together: the value is `in_session`'s.
    AccountInSession,
    /// `email` and `sid` together.
    EmailInSession,
    /// The certificate with this serial number of its authority.
    Serial,
    /// Every certificate with this public key.
    Key,
}

impl RevocationKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            RevocationKind::Token => "jti",
            RevocationKind::Subject => "subject",
            RevocationKind::Account => "sub",
            RevocationKind::AccountWithoutSession => "sub_without_sid",
            RevocationKind::Email => "email",
            RevocationKind::Session => "sid",
            RevocationKind::AccountInSession => "sub_in_sid",
            RevocationKind::EmailInSession => "email_in_sid",
            RevocationKind::Serial => "serial",
            RevocationKind::Key => "spki",
        }
    }
}

/// A fact: these proofs have ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Revocation {
    pub(crate) kind: RevocationKind,
    /// The issuer's or authority's name in our configuration; empty of a key.
    pub(crate) issuer: Arc<str>,
    pub(crate) value: Arc<str>,
    /// Proofs that were issued before this second have ended; `None`: whenever they were issued.
    pub(crate) issued_before: Option<i64>,
    /// Unix seconds: it may be forgotten then, because no proof that it ends is good any more.
    pub(crate) until: i64,
}

/// What a proof says of itself that a revocation may name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProofMarks<'a> {
    pub issuer: &'a str,
    pub subject: &'a str,
    pub token: Option<&'a str>,
    pub account: Option<&'a str>,
    pub email: Option<&'a str>,
    pub session: Option<&'a str>,
    /// Unix seconds.
    pub issued: Option<i64>,
}

impl<'a> ProofMarks<'a> {
    /// Those of a token. `None` of a certificate, which `Revocations` knows by its own marks.
    pub(super) fn of(facts: &'a Facts) -> Option<Self> {
        if facts.method == Method::Mtls {
            return None;
        }
        let text = |name: &str| facts.claims.get(name).and_then(Value::as_str);
        Some(ProofMarks {
            issuer: &facts.issuer,
            subject: &facts.subject,
            token: text("jti"),
            account: text("sub"),
            email: text("email"),
            session: text("sid"),
            issued: date(&facts.claims, "iat").ok().flatten(),
        })
    }
}

/// Everything that is revoked under one configuration.
#[derive(Clone, Default)]
pub(super) struct Revocations {
    /// The operator's: another configuration has another.
    listed: Arc<RevocationList>,
    /// What providers told, shared by successive configurations.
    pub heard: Arc<HeardRevocations>,
}

impl Revocations {
    /// The same, with what a file lists instead of what was listed.
    pub(super) fn listing(&self, listed: Arc<RevocationList>) -> Self {
        Revocations {
            listed,
            heard: self.heard.clone(),
        }
    }

    pub(super) fn listed(&self) -> &RevocationList {
        &self.listed
    }

    /// Whether nothing at all is revoked, as nearly always.
    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.heard.is_empty()
    }

    /// Refuses a proof that was ended. `certificate`: what decided, or came along and must hold as well.
    pub(super) fn judge(
        &self,
        proof: Option<&ProofMarks<'_>>,
        certificate: Option<&CertificateFacts>,
        now: UnixMillis,
    ) -> Result<(), Reason> {
        if self.is_empty() {
            return Ok(());
        }
        let now = now.seconds();
        let is_ended = proof.is_some_and(|proof| self.ends(proof, now))
            || certificate.is_some_and(|certificate| self.ends_certificate(certificate, now));
        if is_ended {
            Err(Reason::ProofRevoked)
        } else {
            Ok(())
        }
    }

    /// Refuses the key of a certificate that no authority vouches for, if it was revoked.
    pub(super) fn judge_key(&self, key: &str, now: UnixMillis) -> Result<(), Reason> {
        let marks = [(RevocationKind::Key, Some(key))];
        let proof = MarkedProof {
            issuer: "",
            marks: &marks,
            issued: None,
        };
        if !self.is_empty() && self.cover(&proof, now.seconds()) {
            return Err(Reason::ProofRevoked);
        }
        Ok(())
    }

    fn ends(&self, proof: &ProofMarks<'_>, now: i64) -> bool {
        let email = proof.email.map(lower);
        let without_session = proof.account.filter(|_| proof.session.is_none());
        let in_session = |user: Option<&str>| Some(in_session(user?, proof.session?));
        let (account_in_session, email_in_session) =
            (in_session(proof.account), in_session(email.as_deref()));
        let marks = [
            (RevocationKind::Token, proof.token),
            (RevocationKind::Subject, Some(proof.subject)),
            (RevocationKind::Account, proof.account),
            (RevocationKind::AccountWithoutSession, without_session),
            (RevocationKind::Email, email.as_deref()),
            (RevocationKind::Session, proof.session),
            (
                RevocationKind::AccountInSession,
                account_in_session.as_deref(),
            ),
            (RevocationKind::EmailInSession, email_in_session.as_deref()),
        ];
        let proof = MarkedProof {
            issuer: proof.issuer,
            marks: &marks,
            issued: proof.issued,
        };
        self.cover(&proof, now)
    }

    fn ends_certificate(&self, certificate: &CertificateFacts, now: i64) -> bool {
        let of_authority = [
            (RevocationKind::Serial, Some(certificate.serial.as_str())),
            (RevocationKind::Subject, Some(certificate.holder())),
        ];
        let key = [(RevocationKind::Key, Some(certificate.key.as_str()))];
        let certified = |issuer, marks| MarkedProof {
            issuer,
            marks,
            issued: Some(certificate.not_before),
        };
        self.cover(&certified(&certificate.ca, &of_authority), now)
            || self.cover(&certified("", &key), now)
    }

    fn cover(&self, proof: &MarkedProof<'_>, now: i64) -> bool {
        self.listed.table().covers(proof, now) || self.heard.covers(proof, now)
    }
}

/// A user and a session as one value, of which no other pair has the same.
pub(super) fn in_session(user: &str, session: &str) -> Arc<str> {
    Arc::from(format!("{}:{user}{session}", user.len()))
}

/// Addresses are compared without case: a provider may write one in another case than the token does.
pub(super) fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}
