//! Who a binding speaks of.
//!
//! What it does: compares one written subject with what is known of a caller; all that it names must hold.
//! What it refuses to know: how facts were proven, and what the binding gives. Invariants: a subject without an issuer
//! speaks of certificates, by `spiffe` alone of JWT-SVIDs, and by `aws` of callers of AWS, and never matches a caller that another token decided; what
//! is missing does not match.

use std::sync::Arc;

use serde_json::Value;

use crate::apps::Glob;
use crate::identify::{AwsFacts, CertificateFacts, ClaimPath, Facts, Method};

/// What `issuer:` may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IssuerName {
    /// The literal `mtls`: a client certificate decided, of whichever authority.
    Mtls,
    /// One of the configured authorities: a client certificate decided that it vouches for.
    Authority(Arc<str>),
    /// The literal `client_tokens`: a token of our own making decided.
    ClientTokens,
    /// One of the configured issuers of tokens: OIDC, of a SPIFFE trust domain, or accounts of AWS.
    Oidc(Arc<str>),
}

/// What a claim must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClaimValue {
    /// This.
    Is(String),
    /// Something like this; segments parted by `/`.
    Like(Glob),
}

/// One entry of `subjects:`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// `any: true`, alone.
    pub any: bool,
    pub issuer: Option<IssuerName>,
    /// Segments parted by `/`.
    pub subject: Option<Glob>,
    pub group: Option<String>,
    /// A claim that is such a string, or a list that holds one.
    pub claims: Vec<(ClaimPath, ClaimValue)>,
    pub spiffe: Option<Glob>,
    /// Labels parted by `.`, lower case: host names have no case (RFC 4343).
    pub dns: Option<Glob>,
    pub x509_subject: Option<String>,
    /// A canonical ARN; segments parted by `/`.
    pub aws: Option<Glob>,
    pub unique_id: Option<String>,
    pub session: Option<Glob>,
}

impl Subject {
    /// Whether everything that is named here holds of the caller.
    pub(crate) fn matches(&self, facts: &Facts) -> bool {
        if self.any {
            return true;
        }
        let issued = match (&self.issuer, facts.method) {
            (
                Some(IssuerName::Oidc(issuer)),
                Method::Oidc
                | Method::Assertion
                | Method::Introspection
                | Method::Session
                | Method::JwtSvid
                | Method::Aws,
            ) => **issuer == *facts.issuer,
            (Some(IssuerName::Authority(authority)), Method::Mtls) => **authority == *facts.issuer,
            (Some(IssuerName::Mtls) | None, Method::Mtls) => true,
            (Some(IssuerName::ClientTokens), Method::ClientToken) => true,
            // A SPIFFE ID names the same workload in a JWT-SVID as in a certificate.
            (None, Method::JwtSvid) => {
                self.spiffe.is_some() && self.dns.is_none() && self.x509_subject.is_none()
            }
            (None, Method::Aws) => self.aws.is_some(),
            (Some(IssuerName::Oidc(_)), Method::Mtls | Method::ClientToken)
            | (
                Some(IssuerName::Mtls | IssuerName::Authority(_)) | None,
                Method::Oidc
                | Method::Assertion
                | Method::Introspection
                | Method::Session
                | Method::ClientToken,
            )
            | (
                Some(IssuerName::Mtls | IssuerName::Authority(_) | IssuerName::ClientTokens),
                Method::JwtSvid | Method::Aws,
            )
            | (
                Some(IssuerName::ClientTokens),
                Method::Oidc
                | Method::Assertion
                | Method::Introspection
                | Method::Session
                | Method::Mtls,
            )
            | (_, Method::Webhook) => false,
        };
        issued
            && self
                .subject
                .as_ref()
                .is_none_or(|glob| glob.matches(&facts.subject))
            && self
                .group
                .as_ref()
                .is_none_or(|group| facts.groups.contains(group))
            && self
                .claims
                .iter()
                .all(|(path, value)| value.is_held(path.get(&facts.claims)))
            && self
                .spiffe
                .as_ref()
                .is_none_or(|glob| facts.spiffe_id().is_some_and(|id| glob.matches(id)))
            && (!self.asks_for_aws()
                || facts
                    .aws
                    .as_ref()
                    .is_some_and(|aws| self.matches_aws(aws, &facts.subject)))
            && (!self.asks_for_certificate()
                || facts
                    .certificate
                    .as_ref()
                    .is_some_and(|certificate| self.matches_certificate(certificate)))
    }

    /// Whether this names one caller of AWS letter by letter.
    pub(crate) fn names_in_full(&self) -> bool {
        let is_literal = |glob: &Option<Glob>| glob.as_ref().is_some_and(Glob::is_literal);
        is_literal(&self.aws) || is_literal(&self.subject)
    }

    /// Whether it asks for more of a caller than issuer and subject.
    pub(crate) fn says_more(&self) -> bool {
        self.group.is_some()
            || !self.claims.is_empty()
            || self.spiffe.is_some()
            || self.asks_for_certificate()
    }

    fn asks_for_aws(&self) -> bool {
        self.aws.is_some() || self.unique_id.is_some() || self.session.is_some()
    }

    fn matches_aws(&self, aws: &AwsFacts, subject: &str) -> bool {
        let session = aws.session.as_deref();
        self.aws.as_ref().is_none_or(|glob| glob.matches(subject))
            && self
                .unique_id
                .as_ref()
                .is_none_or(|id| **id == *aws.unique_id)
            && self
                .session
                .as_ref()
                .is_none_or(|glob| session.is_some_and(|session| glob.matches(session)))
    }

    fn asks_for_certificate(&self) -> bool {
        self.dns.is_some() || self.x509_subject.is_some()
    }

    fn matches_certificate(&self, certificate: &CertificateFacts) -> bool {
        self.dns
            .as_ref()
            .is_none_or(|glob| certificate.dns.iter().any(|name| matches_host(glob, name)))
            && self
                .x509_subject
                .as_ref()
                .is_none_or(|subject| *subject == certificate.subject)
    }
}

impl ClaimValue {
    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            ClaimValue::Is(value) => value == text,
            ClaimValue::Like(glob) => glob.matches(text),
        }
    }

    fn is_held(&self, claim: Option<&Value>) -> bool {
        match claim {
            Some(Value::String(held)) => self.fits(held),
            Some(Value::Array(held)) => held
                .iter()
                .filter_map(Value::as_str)
                .any(|each| self.fits(each)),
            _ => false,
        }
    }
}

pub(super) fn matches_host(glob: &Glob, name: &str) -> bool {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        glob.matches(&name.to_ascii_lowercase())
    } else {
        glob.matches(name)
    }
}
