//! How the gateway proves to an authorization server that it may ask: a secret (RFC 6749 section 2.3.1), a signed assertion
//! (RFC 7523 section 2.2) or the certificate of the connection (RFC 8705 section 2).
//!
//! What it does: puts the proof into a request's head or form. What it refuses to know: what is asked. Invariants:
//! a secret is read anew for each request and stands in no message; an assertion lives for a minute and is used once; keys
//! of a kind that cannot sign are refused when they are read.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use data_encoding::HEXLOWER;
use http::HeaderValue;
use rustls_pki_types::PrivateKeyDer;
use serde_json::json;
use zeroize::Zeroizing;

use crate::clock::UnixMillis;
use crate::pem;
use crate::percent;
use crate::secret::SecretRef;

/// How long an assertion counts.
const ASSERTION_SECONDS: i64 = 60;

/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What we prove ourselves by.
pub(super) enum ClientProof {
    Secret(SecretRef),
    Assertion(AssertionKey),
    /// Of the connection: nothing more is said than who we are.
    Certificate,
}

/// Why the gateway cannot prove itself now.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnprovenClient {
    #[error(transparent)]
    Secret(#[from] crate::secret::UnreadableSecret),
    #[error("the secret fits no header")]
    Header,
    #[error("the assertion cannot be signed")]
    Signature,
}

/// Why a key is none that can sign.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AssertionKeyFault {
    #[error("holds no PEM private key")]
    NotPem,
    #[error("holds a key that is neither RSA, P-256, P-384 nor Ed25519")]
    Kind,
    #[error("holds a key with which nothing is signed by `{0}`")]
    Algorithm(String),
}

enum SigningPair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// The key that signs assertions.
pub(crate) struct AssertionKey {
    pair: SigningPair,
    algorithm: &'static str,
    key_id: Option<String>,
}

impl ClientProof {
    /// Adds the proof to a form; a value for `authorization`, if it stands there.
    pub(super) fn add_to(
        &self,
        form: &mut Zeroizing<String>,
        (client_id, audience): (&str, &str),
        now: UnixMillis,
    ) -> Result<Option<HeaderValue>, UnprovenClient> {
        match self {
            ClientProof::Secret(reference) => {
                let secret = reference.open()?;
                let text = String::from_utf8_lossy(secret.expose());
                let pair = Zeroizing::new(format!(
                    "{}:{}",
                    percent::encode(client_id),
                    percent::encode(&text)
                ));
                let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
                let mut value =
                    HeaderValue::from_str(&basic).map_err(|_| UnprovenClient::Header)?;
                value.set_sensitive(true);
                return Ok(Some(value));
            }
            ClientProof::Assertion(key) => {
                let assertion = key.assertion(client_id, audience, now)?;
                form.push_str("&client_assertion_type=");
                form.push_str(&percent::encode(ASSERTION_TYPE).to_string());
                form.push_str("&client_assertion=");
                form.push_str(&assertion);
            }
            ClientProof::Certificate => {}
        }
        form.push_str("&client_id=");
        form.push_str(&percent::encode(client_id).to_string());
        Ok(None)
    }
}

impl AssertionKey {
    /// Reads a PEM key. `wanted`: the JOSE algorithm, where the kind of key leaves a choice.
    pub(crate) fn read(
        text: &[u8],
        wanted: Option<&str>,
        key_id: Option<String>,
    ) -> Result<Self, AssertionKeyFault> {
        let key = pem::private_key(text).map_err(|_| AssertionKeyFault::NotPem)?;
        let (pair, algorithms) = pair(&key).ok_or(AssertionKeyFault::Kind)?;
        let algorithm = match wanted {
            None => algorithms.first(),
            Some(wanted) => algorithms.iter().find(|(name, _)| *name == wanted),
        };
        let (algorithm, encoding) = algorithm
            .ok_or_else(|| AssertionKeyFault::Algorithm(wanted.unwrap_or_default().to_owned()))?;
        let pair = match (pair, encoding) {
            (SigningPair::Rsa(pair, _), Some(encoding)) => SigningPair::Rsa(pair, *encoding),
            (pair, _) => pair,
        };
        Ok(AssertionKey {
            pair,
            algorithm,
            key_id,
        })
    }

    fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        now: UnixMillis,
    ) -> Result<Zeroizing<String>, UnprovenClient> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| UnprovenClient::Signature)?;
        let mut header = json!({"alg": self.algorithm, "typ": "JWT"});
        if let (Some(members), Some(key_id)) = (header.as_object_mut(), &self.key_id) {
            members.insert("kid".to_owned(), key_id.as_str().into());
        }
        let claims = json!({
            "iss": client_id, "sub": client_id, "aud": audience, "jti": HEXLOWER.encode(&id),
            "iat": now.seconds(), "exp": now.seconds() + ASSERTION_SECONDS,
        });
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self
            .pair
            .sign(signed.as_bytes())
            .ok_or(UnprovenClient::Signature)?;
        Ok(Zeroizing::new(format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(signature)
        )))
    }
}

impl SigningPair {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            SigningPair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(*encoding, &random, message, &mut signature);
                signed.ok().map(|()| signature)
            }
            SigningPair::Ec(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            SigningPair::Ed(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// Names of algorithms, the usual one first, with the padding that RSA has for each.
type PairAlgorithms = &'static [(&'static str, Option<&'static dyn RsaEncoding>)];

/// The key of whatever kind it is, and the algorithms that it can sign with.
fn pair(key: &PrivateKeyDer<'_>) -> Option<(SigningPair, PairAlgorithms)> {
    const RSA: PairAlgorithms = &[
        ("RS256", Some(&RSA_PKCS1_SHA256)),
        ("PS256", Some(&RSA_PSS_SHA256)),
    ];
    let der = key.secret_der();
    let is_pkcs8 = matches!(key, PrivateKeyDer::Pkcs8(_));
    let rsa = if is_pkcs8 {
        RsaKeyPair::from_pkcs8(der)
    } else {
        RsaKeyPair::from_der(der)
    };
    if let Ok(pair) = rsa {
        return Some((SigningPair::Rsa(pair, &RSA_PKCS1_SHA256), RSA));
    }
    let ec = |algorithm: &'static EcdsaSigningAlgorithm| {
        if is_pkcs8 {
            EcdsaKeyPair::from_pkcs8(algorithm, der)
        } else {
            EcdsaKeyPair::from_private_key_der(algorithm, der)
        }
    };
    if let Ok(pair) = ec(&ECDSA_P256_SHA256_FIXED_SIGNING) {
        return Some((SigningPair::Ec(pair), &[("ES256", None)]));
    }
    if let Ok(pair) = ec(&ECDSA_P384_SHA384_FIXED_SIGNING) {
        return Some((SigningPair::Ec(pair), &[("ES384", None)]));
    }
    let ed = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    Some((SigningPair::Ed(ed), &[("EdDSA", None), ("Ed25519", None)]))
}
