//! Tokens that are bound to a key: what the token endpoint asks of proofs (RFC 9449 section 5).
//!
//! What it does: verifies an ES256 proof and names its key. What it refuses to know: grants, resources. Invariant: a proof that
//! does not hold gives no token.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use serde_json::Value;

/// How far a proof's time may be from ours, in seconds.
const WINDOW_SECONDS: i64 = 60;

/// What a token request shows.
pub(super) enum ShownKey {
    None,
    /// The thumbprint of the key that was proven.
    Bound(String),
}

/// What is wrong with a proof, by the error of RFC 9449.
pub(super) type ProofError = &'static str;

/// The key of a request for `url`. `nonce`: the only one that counts, if any is demanded.
pub(super) fn shown(
    headers: &HeaderMap,
    url: &str,
    nonce: Option<&str>,
    now_seconds: i64,
) -> Result<ShownKey, ProofError> {
    let invalid = "invalid_dpop_proof";
    let mut lines = headers.get_all("dpop").iter();
    let line = match (lines.next(), lines.next()) {
        (None, _) => return Ok(ShownKey::None),
        (Some(line), None) => line.to_str().map_err(|_| invalid)?,
        _ => return Err(invalid),
    };
    let (thumbprint, claims) = verified(line).ok_or(invalid)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let age = now_seconds
        - claims
            .get("iat")
            .and_then(Value::as_i64)
            .unwrap_or_default();
    let is_good = text("htm") == Some("POST")
        && text("htu") == Some(url)
        && text("jti").is_some_and(|id| id.len() >= 16)
        && (-WINDOW_SECONDS..=WINDOW_SECONDS).contains(&age);
    if !is_good {
        return Err(invalid);
    }
    if nonce.is_some() && text("nonce") != nonce {
        return Err("use_dpop_nonce");
    }
    Ok(ShownKey::Bound(thumbprint))
}

/// The thumbprint of the key that a proof is signed by, and its claims.
fn verified(line: &str) -> Option<(String, Value)> {
    let (signed, signature) = line.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let header: Value = serde_json::from_slice(&decoded(header)?).ok()?;
    let claims: Value = serde_json::from_slice(&decoded(payload)?).ok()?;
    let jwk = header.get("jwk")?;
    let is_form = header.get("typ")? == "dpop+jwt"
        && header.get("alg")? == "ES256"
        && jwk.get("crv")? == "P-256"
        && jwk.get("d").is_none();
    let (x, y) = (jwk.get("x")?.as_str()?, jwk.get("y")?.as_str()?);
    let point = [vec![4], decoded(x)?, decoded(y)?].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    let holds = key.verify(signed.as_bytes(), &decoded(signature)?).is_ok();
    if !is_form || !holds {
        return None;
    }
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let sum = digest::digest(&digest::SHA256, canonical.as_bytes());
    Some((URL_SAFE_NO_PAD.encode(sum), claims))
}
