//! Why somebody was not identified.
//!
//! What it does: names every reason once, with its stable code for the record and the metric, and says
//! whether it is the caller's fault or ours. What it refuses to know: status codes and wording towards
//! the caller (every rejection looks alike from outside). Invariant: no reason carries any part of the
//! evidence.

/// The answer instead of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub kind: RejectionKind,
    /// A stable code out of `Reason::ALL`.
    pub reason: &'static str,
}

/// Whose turn it is: the caller's to show something, something better, or to come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionKind {
    /// No evidence came. Answered 401 with a bare challenge (RFC 6750 section 3.1).
    NotPresented,
    /// Evidence came and does not hold. Answered 401.
    Rejected,
    /// We cannot judge the evidence now, through no fault of the caller. Answered 503.
    Unavailable,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $kind:ident;)+) => {
        /// Every reason for a rejection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)+ }

        impl Reason {
            /// All of them, for metrics that want every label at start and for the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)+ }
            }

            pub fn kind(self) -> RejectionKind {
                match self { $(Reason::$name => RejectionKind::$kind,)+ }
            }
        }
    };
}

reasons! {
    /// Neither a token nor a client certificate.
    NoCredential, "no_credential", NotPresented;
    /// Larger than `limits.token`.
    TokenTooLarge, "token_too_large", Rejected;
    /// Not a compact JWS with strict base64url and strict JSON (RFC 7515 section 3.1, RFC 8725 section 2.13).
    TokenMalformed, "token_malformed", Rejected;
    /// `crit` or `b64` in the header (RFC 7515 section 4.1.11, RFC 7797 section 6).
    TokenCritical, "token_critical", Rejected;
    /// `alg` is not on the issuer's list, or the key is for another algorithm (RFC 8725 section 3.1).
    TokenAlgorithm, "token_algorithm", Rejected;
    /// `typ` is not on the issuer's list, it is an ID token (or an access token) where the issuer's `tokens` takes none, or
    /// a logout token (RFC 8725 section 3.11).
    TokenType, "token_type", Rejected;
    /// `iss` names nobody that we know (RFC 8725 section 3.8).
    TokenIssuerUnknown, "token_issuer_unknown", Rejected;
    /// The issuer has no such key, as a fetch within the last half minute says.
    TokenKeyUnknown, "token_key_unknown", Rejected;
    TokenSignature, "token_signature", Rejected;
    /// `aud` does not name us (RFC 8725 section 3.9).
    TokenAudience, "token_audience", Rejected;
    TokenExpired, "token_expired", Rejected;
    /// `nbf` or `iat` lies in the future.
    TokenNotYetValid, "token_not_yet_valid", Rejected;
    /// `exp` lies further after `iat` (without `iat`: after now) than the issuer's `max_lifetime`. Issuers that date back have some minutes more.
    TokenLifetime, "token_lifetime", Rejected;
    /// A claim that the policy looks at is not in the token, which says that it is elsewhere (OpenID Connect Core section
    /// 5.6.2, Microsoft Entra's overage).
    TokenClaimsElsewhere, "token_claims_elsewhere", Rejected;
    /// The subject, or a claim that the policy looks at, is an e-mail address that the issuer does not call verified.
    TokenEmailUnverified, "token_email_unverified", Rejected;
    /// A claim that we need is missing, of the wrong type or out of bounds.
    TokenClaims, "token_claims", Rejected;
    /// `cnf` binds the token to something that was not proven on this connection (RFC 8705, RFC 9449).
    TokenBound, "token_bound", Rejected;
    /// It begins like a client token, and no line of the configuration has its digest.
    ClientTokenUnknown, "client_token_unknown", Rejected;
    /// A client token past its `until`.
    ClientTokenExpired, "client_token_expired", Rejected;
    /// A session cookie that we did not seal for this origin, under a key that is configured now, for the login that is
    /// configured now; or no login is configured.
    SessionInvalid, "session_invalid", Rejected;
    /// A session past its absolute end.
    SessionExpired, "session_expired", Rejected;
    /// A session that was not used for too long.
    SessionIdle, "session_idle", Rejected;
    /// The policy has begun to look at groups, and this login's groups were elsewhere.
    SessionClaimsElsewhere, "session_claims_elsewhere", Rejected;
    /// Somebody logged out of it.
    SessionRevoked, "session_revoked", Rejected;
    /// At an alert inlet, `Authorization` holds none of the app's secrets; or there is no such app, or it has none.
    WebhookUnknown, "webhook_unknown", Rejected;
    /// At an alert inlet, something else than a secret in `Authorization` was shown.
    WebhookEvidence, "webhook_evidence", Rejected;
    /// No usable keys, or none fresh enough to say that a key does not exist.
    KeysUnavailable, "keys_unavailable", Unavailable;
    /// No path to a trust anchor, a broken signature, a wrong purpose.
    CertificateUntrusted, "certificate_untrusted", Rejected;
    CertificateExpired, "certificate_expired", Rejected;
    CertificateNotYetValid, "certificate_not_yet_valid", Rejected;
    CertificateRevoked, "certificate_revoked", Rejected;
    CertificateMalformed, "certificate_malformed", Rejected;
    /// It has no name that we can use, or breaks the X.509-SVID rules while claiming to be one.
    CertificateName, "certificate_name", Rejected;
    /// Its authority is not configured for its SPIFFE trust domain, or for any of its DNS names (SPIFFE Trust Domain and
    /// Bundle section 4).
    CertificateOutOfScope, "certificate_out_of_scope", Rejected;
    /// The revocation lists are past their `nextUpdate` or do not cover its issuer: our duty to renew.
    RevocationUnavailable, "revocation_unavailable", Unavailable;
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Rejection { kind: reason.kind(), reason: reason.code() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_fit_a_label() {
        let mut seen = std::collections::HashSet::new();
        for reason in Reason::ALL {
            let code = reason.code();
            assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{code}");
            assert!(seen.insert(code), "{code} is used twice");
        }
    }
}
