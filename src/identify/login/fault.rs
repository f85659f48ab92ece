//! Why a login failed.
//!
//! What it does: names every reason once, with its stable code for the record, and says whether another try may
//! help. What it refuses to know: status codes and wording towards the browser. Invariant: no reason carries any
//! text of the provider's or the browser's.

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $outage:literal;)+) => {
        /// Why a login failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LoginFault { $($(#[$doc])* $name,)+ }

        impl LoginFault {
            /// All of them, for the documentation.
            pub const ALL: &'static [LoginFault] = &[$(LoginFault::$name,)+];

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self { $(LoginFault::$name => $code,)+ }
            }

            /// Ours or the provider's fault, worth another try later.
            pub fn is_outage(self) -> bool {
                match self { $(LoginFault::$name => $outage,)+ }
            }
        }
    };
}

faults! {
    /// No login is configured.
    NotOffered, "login_not_offered", false;
    /// The browser's scheme and authority cannot be an origin.
    Origin, "login_origin", false;
    /// Too many logins wait to be finished, or this one waited too long.
    Busy, "login_busy", true;
    /// Discovery, token endpoint or userinfo cannot be reached, or answers with a fault of its own.
    ProviderUnreachable, "login_provider_unreachable", true;
    /// The discovery document is not the issuer's, names no usable endpoint, or lists PKCE methods without S256
    /// (RFC 9700 section 2.1.1).
    ProviderMetadata, "login_provider_metadata", true;
    /// What the token endpoint or userinfo answers is not what OpenID Connect Core promises.
    ProviderAnswer, "login_provider_answer", true;
    /// The provider does not take our client id or secret (RFC 6749 section 5.2).
    ClientRefused, "login_client_refused", true;
    /// The user or the provider said no: `access_denied` (RFC 6749 section 4.1.2.1).
    AccessDenied, "login_access_denied", false;
    /// Any other `error` in the provider's answer.
    ProviderRefused, "login_provider_refused", false;
    /// The callback came without the cookie of a login that began in this browser.
    TransactionMissing, "login_transaction_missing", false;
    /// The cookie was not sealed by us, for this origin and for the present login settings.
    TransactionInvalid, "login_transaction_invalid", false;
    /// The login took longer than ten minutes.
    TransactionExpired, "login_transaction_expired", false;
    /// Its code was exchanged before, well or not.
    TransactionSpent, "login_transaction_spent", false;
    /// The callback has a pair twice, none of the needed ones, one that belongs to another flow, or is too large.
    CallbackMalformed, "login_callback_malformed", false;
    /// `state` is not the transaction's (RFC 6749 section 10.12).
    StateMismatch, "login_state_mismatch", false;
    /// `iss` is missing though promised, or another issuer's (RFC 9207 section 2.4).
    IssuerMismatch, "login_issuer_mismatch", false;
    /// The token endpoint does not take the code: expired, used, or not for this verifier.
    CodeRefused, "login_code_refused", false;
    /// There is no ID token, or it is no canonical JWS.
    IdTokenMalformed, "login_id_token_malformed", false;
    /// Its `alg` or `typ` is not one that the issuer may use for ID tokens.
    IdTokenAlgorithm, "login_id_token_algorithm", false;
    /// No key of the issuer's verifies it.
    IdTokenSignature, "login_id_token_signature", false;
    /// `iss` is not the issuer's.
    IdTokenIssuer, "login_id_token_issuer", false;
    /// `aud` or `azp` do not name our client alone.
    IdTokenAudience, "login_id_token_audience", false;
    /// `exp`, `iat` or `nbf` do not hold now.
    IdTokenTime, "login_id_token_time", false;
    /// `nonce` is not the transaction's.
    IdTokenNonce, "login_id_token_nonce", false;
    /// `at_hash` is not the access token's.
    IdTokenHash, "login_id_token_hash", false;
    /// A claim that we need is missing, of the wrong type or out of bounds.
    IdTokenClaims, "login_id_token_claims", false;
    /// The policy looks at groups or a claim of which the provider says that it is elsewhere (Core section 5.6.2).
    ClaimsElsewhere, "login_claims_elsewhere", false;
    /// The subject, or a claim that the policy looks at, is an e-mail address that the provider does not call verified.
    EmailUnverified, "login_email_unverified", false;
    /// The issuer's keys cannot be had now.
    KeysUnavailable, "login_keys_unavailable", true;
    /// Userinfo is about another subject than the ID token (OpenID Connect Core section 5.3.2).
    UserinfoSubject, "login_userinfo_subject", false;
    /// The session does not fit into a cookie: too many groups.
    SessionTooLarge, "login_session_too_large", false;
    /// Sealing failed: the machine gives no random bytes.
    Unsealed, "login_unsealed", true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_say_what_they_belong_to() {
        let mut seen = std::collections::HashSet::new();
        for fault in LoginFault::ALL {
            let code = fault.code();
            assert!(code.starts_with("login_"), "{code}");
            assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{code}");
            assert!(seen.insert(code), "{code} is used twice");
        }
    }
}
