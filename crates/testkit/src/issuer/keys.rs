//! The issuer's keys and the signing of tokens.
//!
//! What it does: makes key sets, shows them as JWKS (RFC 7517), signs anything with any of them, and
//! forges (no signature, HMAC with a public key). What it refuses to know: claims.
//! Invariant: key ids are `{algorithm}-{generation}`, so that two issuers use the same ids for
//! different keys and a test can name a key before it exists.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding,
};
use aws_lc_rs::{encoding::AsDer as _, hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// How a token is signed (RFC 7518 section 3.1, RFC 8037), or forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
    /// Forged: HMAC-SHA256 keyed with the PEM text of the RSA public key (RFC 8725 section 2.1).
    Hs256,
    /// Forged: `alg` is `none`, the signature empty.
    Unsigned,
}

impl Algorithm {
    /// Those with which an honest issuer signs.
    pub const HONEST: [Algorithm; 10] = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::EdDsa,
    ];

    /// The `alg` value.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Es512 => "ES512",
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Hs256 => "HS256",
            Algorithm::Unsigned => "none",
        }
    }
}

/// One generation of keys: one RSA key (used under six algorithms), three curves, Ed25519.
pub struct KeySet {
    generation: u32,
    rsa: rsa::KeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    p521: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl KeySet {
    pub fn generate(generation: u32) -> Result<Self, String> {
        let failed = |_| "the keys cannot be generated".to_owned();
        Ok(KeySet {
            generation,
            rsa: rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map_err(failed)?,
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?,
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(failed)?,
            p521: EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).map_err(failed)?,
            ed25519: Ed25519KeyPair::generate().map_err(failed)?,
        })
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The id of the key for an algorithm, such as `rs256-1`.
    pub fn kid(&self, algorithm: Algorithm) -> String {
        format!(
            "{}-{}",
            algorithm.name().to_ascii_lowercase(),
            self.generation
        )
    }

    /// The public JWK for an algorithm; nothing for the forged ones.
    pub fn jwk(&self, algorithm: Algorithm) -> Option<Value> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // An uncompressed point: 0x04, x, y (SEC 1 section 2.3.3).
        let curve = |name: &str, key: &EcdsaKeyPair| {
            let point = key.public_key().as_ref().get(1..).unwrap_or_default();
            let (x, y) = point.split_at(point.len() / 2);
            json!({ "kty": "EC", "crv": name, "x": encode(x), "y": encode(y) })
        };
        let mut jwk = match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => {
                let key = self.rsa.public_key();
                json!({
                    "kty": "RSA",
                    "n": encode(key.modulus().big_endian_without_leading_zero()),
                    "e": encode(key.exponent().big_endian_without_leading_zero()),
                })
            }
            Algorithm::Es256 => curve("P-256", &self.p256),
            Algorithm::Es384 => curve("P-384", &self.p384),
            Algorithm::Es512 => curve("P-521", &self.p521),
            Algorithm::EdDsa => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(self.ed25519.public_key().as_ref()) })
            }
            Algorithm::Hs256 | Algorithm::Unsigned => return None,
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".into(), self.kid(algorithm).into());
            members.insert("alg".into(), algorithm.name().into());
            members.insert("use".into(), "sig".into());
        }
        Some(jwk)
    }

    /// The RSA public key as a PEM text: what a key-confusion forger uses as an HMAC secret.
    pub fn rsa_public_pem(&self) -> String {
        let der = self
            .rsa
            .public_key()
            .as_der()
            .map(|der| der.as_ref().to_vec())
            .unwrap_or_default();
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in STANDARD.encode(der).as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        pem
    }

    /// The compact JWS (RFC 7515 section 7.1) of a header and a payload, both taken as they are. Should
    /// signing fail (it never does with keys made here), the signature is empty and is accepted nowhere.
    pub fn compact(&self, header: &str, payload: &str, algorithm: Algorithm) -> String {
        let mut token = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let signature = self.sign(token.as_bytes(), algorithm);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    fn sign(&self, message: &[u8], algorithm: Algorithm) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |padding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa
                .sign(padding, &random, message, &mut signature)
                .map(|()| signature)
                .unwrap_or_default()
        };
        let ecdsa = |key: &EcdsaKeyPair| {
            key.sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .unwrap_or_default()
        };
        match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::Ps384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::Ps512 => rsa(&signature::RSA_PSS_SHA512),
            Algorithm::Es256 => ecdsa(&self.p256),
            Algorithm::Es384 => ecdsa(&self.p384),
            Algorithm::Es512 => ecdsa(&self.p521),
            Algorithm::EdDsa => self.ed25519.sign(message).as_ref().to_vec(),
            Algorithm::Hs256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.rsa_public_pem().as_bytes());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Algorithm::Unsigned => Vec::new(),
        }
    }
}

/// `length` random bytes as base64url without padding.
pub fn random_text(length: usize) -> String {
    let mut bytes = vec![0; length];
    // A machine without randomness could not have made the keys either.
    let _ = aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
