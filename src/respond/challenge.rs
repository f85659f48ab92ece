//! What a caller is told to show next: `WWW-Authenticate` (RFC 6750 section 3, RFC 9449 sections 7.1 and 9, RFC 9728 section
//! 5.1).
//!
//! What it does: writes the challenges of a refusal. What it refuses to know: dialects, how answers are sent. Invariants:
//! who shows no proof of possession is told the same whatever was wrong; who shows one hears whether token or proof is at
//! fault, because clients must know, and only after the token was found to hold; nothing of what was shown is repeated.

use crate::accept::METADATA_PATH;
use crate::identify;
use crate::reason::{Class, Reason};

/// How the caller came.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChallengeTerms<'a> {
    /// The listener's own name; without it proofs of possession are not taken.
    pub public_url: Option<&'a str>,
    /// Whether the caller came with a proof, or by the scheme for one.
    pub by_proof: bool,
}

/// The challenges of a refusal, each a line.
pub(super) fn lines(class: Class, reason: Reason, terms: ChallengeTerms<'_>) -> Vec<String> {
    let Some(error) = class.challenge() else {
        return Vec::new();
    };
    let is_unproven = matches!(class, Class::NotAuthenticated | Class::BadCredential);
    let metadata = terms
        .public_url
        .filter(|_| is_unproven)
        .map_or_else(String::new, |url| {
            format!(r#", resource_metadata="{url}{METADATA_PATH}""#)
        });
    let algorithms = identify::ALGORITHMS.join(" ");
    match terms.public_url {
        Some(_) if terms.by_proof => {
            let error = proof_error(class, reason);
            vec![format!(
                r#"DPoP error="{error}", algs="{algorithms}"{metadata}"#
            )]
        }
        Some(_) if is_unproven => vec![
            format!("{error}{metadata}"),
            format!(r#"DPoP algs="{algorithms}""#),
        ],
        _ => vec![error.to_owned()],
    }
}

/// RFC 9449 section 7.1 and RFC 6750 section 3.1.
fn proof_error(class: Class, reason: Reason) -> &'static str {
    match reason {
        Reason::ProofNonce => "use_dpop_nonce",
        Reason::ProofMissing
        | Reason::ProofScheme
        | Reason::ProofMalformed
        | Reason::ProofKey
        | Reason::ProofSignature
        | Reason::ProofRequest
        | Reason::ProofToken
        | Reason::ProofTime
        | Reason::ProofReplayed => "invalid_dpop_proof",
        _ if class == Class::Denied => "insufficient_scope",
        _ => "invalid_token",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHMS: &str = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519";

    /// Scenario: refusals of callers that came by several schemes. Guarantees: a listener without a name challenges as it
    /// always did; one with a name says where its metadata are and which proofs it takes; the errors are those of RFC 9449.
    #[test]
    fn challenges_fit_how_the_caller_came() {
        let (plain, url) = (None, Some("https://gateway.example"));
        let metadata =
            r#", resource_metadata="https://gateway.example/.well-known/oauth-protected-resource""#;
        let dpop =
            |error: &str, rest: &str| format!(r#"DPoP error="{error}", algs="{ALGORITHMS}"{rest}"#);
        let bearer = |rest: &str| format!(r#"Bearer realm="lightkeeper"{rest}"#);
        let offer = format!(r#"DPoP algs="{ALGORITHMS}""#);
        let invalid = r#", error="invalid_token""#;
        for (reason, public_url, by_proof, expected) in [
            (Reason::NoCredential, plain, false, vec![bearer("")]),
            (Reason::TokenBound, plain, false, vec![bearer(invalid)]),
            (Reason::ProofAddress, plain, true, vec![bearer(invalid)]),
            (
                Reason::NoCredential,
                url,
                false,
                vec![bearer(metadata), offer.clone()],
            ),
            (
                Reason::TokenBound,
                url,
                false,
                vec![bearer(&format!("{invalid}{metadata}")), offer],
            ),
            (
                Reason::NotPermitted,
                url,
                false,
                vec![bearer(r#", error="insufficient_scope""#)],
            ),
            (
                Reason::TokenExpired,
                url,
                true,
                vec![dpop("invalid_token", metadata)],
            ),
            (
                Reason::TokenUnbound,
                url,
                true,
                vec![dpop("invalid_token", metadata)],
            ),
            (
                Reason::ProofNonce,
                url,
                true,
                vec![dpop("use_dpop_nonce", metadata)],
            ),
            (
                Reason::ProofReplayed,
                url,
                true,
                vec![dpop("invalid_dpop_proof", metadata)],
            ),
            (
                Reason::ProofScheme,
                url,
                true,
                vec![dpop("invalid_dpop_proof", metadata)],
            ),
            (
                Reason::NotPermitted,
                url,
                true,
                vec![dpop("insufficient_scope", "")],
            ),
            (Reason::PathUnknown, url, true, vec![]),
            (Reason::ProofNonceUnsealed, url, true, vec![]),
        ] {
            let terms = ChallengeTerms {
                public_url,
                by_proof,
            };
            let class = reason.class().unwrap();
            assert_eq!(
                lines(class, reason, terms),
                expected,
                "{reason:?} {by_proof}"
            );
        }
    }
}
