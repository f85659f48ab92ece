//! JWT-SVIDs: tokens by which the workloads of a SPIFFE trust domain show their IDs.
//!
//! What it does: says which kinds of tokens these are, and takes the workload out of the claims of one. What it refuses to
//! know: keys, signatures, audiences, times, and `iss`, which JWT-SVIDs need not have. Invariant: a subject is the SPIFFE
//! ID of a workload of the issuer's own trust domain, or there is none.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::doubts::Doubts;
use super::facts::{CertificateFacts, Facts, Method};
use super::proven;
use super::settings::{IssuerSettings, KeySource};
use super::spiffe_id::{is_spiffe_id, trust_domain_of};
use crate::reason::Reason;

/// JWT-SVID section 2.1: the RSA and ECDSA ones of RFC 7518.
pub(crate) const JWT_SVID_ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512",
];

/// JWT-SVID section 2.3: `JWT`, `JOSE` or none.
pub(crate) const JWT_SVID_TYPES: [&str; 3] = ["jwt", "jose", ""];

impl IssuerSettings {
    /// The trust domain, if this is an issuer of JWT-SVIDs.
    pub fn trust_domain(&self) -> Option<&str> {
        match &self.keys {
            KeySource::Bundle { trust_domain, .. } => Some(trust_domain),
            KeySource::Discovery | KeySource::Url(_) | KeySource::File(_) | KeySource::Nowhere => {
                None
            }
        }
    }
}

/// The facts of a JWT-SVID's claims (JWT-SVID section 3.1). Groups are no part of one; other claims are kept.
pub(super) fn facts(
    settings: &IssuerSettings,
    trust_domain: &str,
    issuer: &Arc<str>,
    claims: Map<String, Value>,
    certificate: Option<&Arc<CertificateFacts>>,
    expires_unix_seconds: i64,
) -> Result<Facts, Reason> {
    let subject = match claims.get("sub") {
        Some(Value::String(id))
            if is_spiffe_id(id) && trust_domain_of(id) == Some(trust_domain) =>
        {
            Arc::from(id.as_str())
        }
        _ => return Err(Reason::TokenClaims),
    };
    Ok(Facts {
        method: Method::JwtSvid,
        issuer: issuer.clone(),
        subject,
        subject_claim: None,
        groups: Vec::new(),
        doubts: Doubts::of(settings, &claims)?,
        attributes: proven::attributes(&settings.attributes, &claims),
        claims,
        certificate: certificate.cloned(),
        client_binding: None,
        aws: None,
        expires_unix_seconds,
    })
}
