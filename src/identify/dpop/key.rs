//! The key of a proof, and its thumbprint (RFC 7638).
//!
//! What it does: takes the public key out of a proof's own header, and names it. What it refuses to know: what the key
//! signed, and which tokens are bound to it. Invariants: a key proves nothing by itself, and counts only for a token that is
//! bound to its thumbprint; no private member, no certificate and no address of a key is ever taken; a thumbprint is over
//! the members that RFC 7638 section 3.2 names, in their one spelling.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::super::algorithm::Algorithm;
use super::super::keys::LoneKey;

/// The SHA-256 thumbprint of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identify) struct Thumbprint([u8; 32]);

/// Members that a public key does not have (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1), and places and chains that nothing is
/// fetched from or built of (RFC 7517 sections 4.6 to 4.9).
const FORBIDDEN: [&str; 12] = [
    "d", "dp", "dq", "jku", "k", "oth", "p", "q", "qi", "x5c", "x5t", "x5u",
];

impl Thumbprint {
    /// Reads `jkt` (RFC 9449 section 6.1).
    pub(in crate::identify) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Thumbprint)
    }

    /// In base64url.
    pub(in crate::identify) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Which of so many shares the key is in.
    pub(super) fn share(&self, shares: usize) -> usize {
        let [first, ..] = self.0;
        usize::from(first).checked_rem(shares).unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Over the members that the kind of key requires.
    pub(super) fn of(jwk: &Map<String, Value>) -> Option<Self> {
        let member = |name: &str| {
            let text = jwk.get(name)?.as_str()?;
            // Nothing that would have to be escaped; the key's own reading refuses every other spelling of its numbers.
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (!text.is_empty() && text.bytes().all(is_plain)).then_some(text)
        };
        let canonical = match member("kty")? {
            "EC" => format!(
                r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                member("crv")?,
                member("x")?,
                member("y")?
            ),
            "OKP" => format!(
                r#"{{"crv":"{}","kty":"OKP","x":"{}"}}"#,
                member("crv")?,
                member("x")?
            ),
            "RSA" => format!(
                r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
                member("e")?,
                member("n")?
            ),
            _ => return None,
        };
        let sum = digest::digest(&digest::SHA256, canonical.as_bytes());
        sum.as_ref().try_into().ok().map(Thumbprint)
    }
}

/// The key of a proof's header, if it is a sound public one for this algorithm, and its thumbprint.
pub(super) fn public(
    jwk: &Map<String, Value>,
    algorithm: Algorithm,
) -> Option<(LoneKey, Thumbprint)> {
    let is_forbidden = |name: &String| FORBIDDEN.contains(&name.as_str()) || name.starts_with("x5");
    if jwk.keys().any(is_forbidden) {
        return None;
    }
    Some((LoneKey::read(jwk, algorithm)?, Thumbprint::of(jwk)?))
}
