//! Keys of callers, and the proofs of possession that they make (RFC 9449).
//!
//! What it does: makes an ES256 key, names it, and signs proofs with whatever changes a test wants. What it refuses to know:
//! the gateway's own reading of proofs. Invariant: two proofs of one key have different ids, unless a test says otherwise.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::issuer::random_text;
use lightkeeper::clock::Clock;

/// A caller's key.
pub struct ProofKey {
    pair: EcdsaKeyPair,
    clock: Clock,
}

impl ProofKey {
    /// A new key whose proofs are dated by the system's clock.
    pub fn generate() -> Result<Self, String> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Ok(ProofKey {
            pair: pair.map_err(|_| "a key cannot be generated")?,
            clock: Clock::system(),
        })
    }

    /// The public key.
    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
    }

    /// Its thumbprint (RFC 7638), by which a token is bound to it: `cnf: { jkt: … }`.
    pub fn thumbprint(&self) -> String {
        // A map in the order of its names, as the standard wants it.
        let jwk: std::collections::BTreeMap<String, Value> =
            serde_json::from_value(self.jwk()).unwrap_or_default();
        let text = serde_json::to_string(&jwk).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
    }

    /// A proof for one call with a token. `changes`: claims to add, replace or (`null`) leave out, `nonce` for instance.
    pub fn proof(&self, method: &str, url: &str, token: &str, changes: Value) -> String {
        let ath = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token.as_bytes()));
        let claims = json!({
            "jti": random_text(24), "htm": method, "htu": url, "iat": self.clock.now().0 / 1000, "ath": ath,
        });
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() });
        self.signed(header, claims, changes)
    }

    fn signed(&self, header: Value, claims: Value, changes: Value) -> String {
        let members = |value: Value| match value {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let mut claims = members(claims);
        for (name, value) in members(changes) {
            match value {
                Value::Null => drop(claims.remove(&name)),
                value => drop(claims.insert(name, value)),
            }
        }
        let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
        let signed = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(Value::Object(claims).to_string())
        );
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_or_else(
            |_| String::new(),
            |signature| URL_SAFE_NO_PAD.encode(signature),
        );
        format!("{signed}.{signature}")
    }
}
