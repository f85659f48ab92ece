//! The issuer of the comparison: one RSA key, its JWKS, and good and bad tokens in files.
//!
//! It refuses to know who verifies them. Invariant: the private key is made anew each time, signs what is
//! written here, and is not kept; the time is a parameter.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.compare.test";
const AUDIENCE: &str = "lightkeeper";
const GROUP: &str = "group-0500";

/// Writes `jwks.json`, `good.jwt` and the bad ones, valid for a day from `now` (Unix seconds).
pub fn write(directory: &Path, now: i64) {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
    let stranger = KeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
    let public = key.public_key();
    let jwks = json!({ "keys": [{
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k1",
        "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
        "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
    }] });
    put(directory, "jwks.json", &jwks.to_string());

    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "system:serviceaccount:checkout:collector",
        "iat": now, "nbf": now - 60, "exp": now + 86_400, "jti": "0123456789abcdef", "client_id": "collector",
        "groups": [GROUP, "staff"],
    });
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed
            .as_object_mut()
            .expect("an object")
            .insert(name.to_owned(), value);
        changed
    };
    let good = sign(
        &key,
        &json!({ "alg": "RS256", "kid": "k1", "typ": "at+jwt" }),
        &claims,
    );
    let header = json!({ "alg": "RS256", "kid": "k1", "typ": "at+jwt" });
    put(directory, "good.jwt", &good);
    put(
        directory,
        "wrong-claim.jwt",
        &sign(&key, &header, &with("groups", json!(["staff"]))),
    );
    put(
        directory,
        "bad-expired.jwt",
        &sign(&key, &header, &with("exp", json!(now - 3_600))),
    );
    put(
        directory,
        "bad-early.jwt",
        &sign(&key, &header, &with("nbf", json!(now + 3_600))),
    );
    put(
        directory,
        "bad-audience.jwt",
        &sign(&key, &header, &with("aud", json!("another"))),
    );
    put(
        directory,
        "bad-issuer.jwt",
        &sign(
            &key,
            &header,
            &with("iss", json!("https://evil.compare.test")),
        ),
    );
    put(directory, "bad-key.jwt", &sign(&stranger, &header, &claims));
    put(
        directory,
        "bad-alg.jwt",
        &sign(
            &key,
            &json!({ "alg": "none", "kid": "k1", "typ": "at+jwt" }),
            &claims,
        ),
    );
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let first = if signature.starts_with('A') { "B" } else { "A" };
    put(
        directory,
        "bad-signature.jwt",
        &format!("{signed}.{first}{}", signature.get(1..).expect("256 bytes")),
    );
}

fn sign(key: &KeyPair, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn put(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).expect("a writable directory");
}
