//! The ID token's own checks (OpenID Connect Core section 3.1.3.7).
//!
//! What it does: takes an ID token through form, issuer, algorithm, signature, audience, times, nonce and hash. What it
//! refuses to know: how it came, and what becomes of it. Invariants: the signature is verified by the issuer's live keys
//! as any other token's; no claim leaves before all checks hold; an access token is never taken for an ID token.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::session::LoginMarks;
use crate::clock::UnixMillis;
use crate::identify::algorithm::Algorithm;
use crate::identify::claims::date;
use crate::identify::issuer::Issuer;
use crate::identify::token::Unproven;
use crate::reason::{Class, Reason};

/// An ID token with hundreds of groups fits.
const TOKEN_LIMIT_BYTES: usize = 64 * 1024;

/// What the token must agree with.
pub(crate) struct Expected<'a> {
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub access_token: &'a str,
}

/// The claims of a token that holds.
pub(crate) async fn judge(
    issuer: &Issuer,
    token: &str,
    expected: &Expected<'_>,
    now: UnixMillis,
) -> Result<Map<String, Value>, Reason> {
    if token.len() > TOKEN_LIMIT_BYTES {
        return Err(Reason::LoginIdTokenMalformed);
    }
    let token = Unproven::parse(token.as_bytes()).map_err(fault_of)?;
    let settings = issuer.settings();
    if token.claims.get("iss").and_then(Value::as_str) != Some(settings.issuer.as_str()) {
        return Err(Reason::LoginIdTokenIssuer);
    }
    // RFC 8725 section 3.11: neither `at+jwt` nor `logout+jwt` is an ID token.
    if !settings.algorithms.contains(&token.algorithm_name)
        || !["jwt", ""].contains(&token.media_type.as_str())
    {
        return Err(Reason::LoginIdTokenAlgorithm);
    }
    issuer.verify(&token, now).await.map_err(fault_of)?;
    let claims = token.claims;
    audience(&claims, expected.client_id, &settings.audiences)?;
    times(
        &claims,
        i64::try_from(settings.leeway.as_secs()).unwrap_or(0),
        now,
    )?;
    let nonce = claims
        .get("nonce")
        .and_then(Value::as_str)
        .unwrap_or_default();
    verify_slices_are_equal(nonce.as_bytes(), expected.nonce.as_bytes())
        .map_err(|_| Reason::LoginIdTokenNonce)?;
    hash(&claims, token.algorithm, expected.access_token)?;
    // Back-Channel Logout section 2.4: only logout tokens have `events`.
    let subject = claims
        .get("sub")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if subject.is_empty() || claims.contains_key("events") {
        return Err(Reason::LoginIdTokenClaims);
    }
    Ok(claims)
}

/// What of a token that holds a provider may name to end the session.
pub(crate) fn marks(claims: &Map<String, Value>) -> Result<LoginMarks, Reason> {
    let text = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(Reason::LoginIdTokenClaims),
    };
    let issued = date(claims, "iat").map_err(|_| Reason::LoginIdTokenClaims)?;
    Ok(LoginMarks {
        session: text("sid")?,
        account: text("sub")?,
        issued: issued.ok_or(Reason::LoginIdTokenClaims)?,
    })
}

fn fault_of(reason: Reason) -> Reason {
    match reason {
        Reason::TokenAlgorithm | Reason::TokenType => Reason::LoginIdTokenAlgorithm,
        Reason::TokenSignature | Reason::TokenKeyUnknown => Reason::LoginIdTokenSignature,
        other if other.class() == Some(Class::Unavailable) => Reason::LoginKeysUnavailable,
        _ => Reason::LoginIdTokenMalformed,
    }
}

/// `aud` names us, and besides us only audiences that are configured for this issuer; with several, `azp` says that it
/// was issued to us, as it must wherever it stands.
fn audience(
    claims: &Map<String, Value>,
    client_id: &str,
    trusted: &[String],
) -> Result<(), Reason> {
    let named: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .ok_or(Reason::LoginIdTokenAudience)?,
        _ => return Err(Reason::LoginIdTokenAudience),
    };
    let known = |name: &&str| *name == client_id || trusted.iter().any(|ours| ours == name);
    let party = match claims.get("azp") {
        None => named.len() == 1,
        Some(party) => party.as_str() == Some(client_id),
    };
    if named.contains(&client_id) && named.iter().all(known) && party {
        Ok(())
    } else {
        Err(Reason::LoginIdTokenAudience)
    }
}

/// `exp` and `iat` must be there (section 2); `nbf` counts if it is.
fn times(claims: &Map<String, Value>, leeway: i64, now: UnixMillis) -> Result<(), Reason> {
    let date = |name| date(claims, name).map_err(|_| Reason::LoginIdTokenClaims);
    let expires = date("exp")?.ok_or(Reason::LoginIdTokenClaims)?;
    let issued = date("iat")?.ok_or(Reason::LoginIdTokenClaims)?;
    let latest = now.seconds().saturating_add(leeway);
    let begins = date("nbf")?.unwrap_or(issued).max(issued);
    if now.seconds() >= expires.saturating_add(leeway) || begins > latest {
        return Err(Reason::LoginIdTokenTime);
    }
    Ok(())
}

/// `at_hash`: the left half of the access token's digest, by the hash of the token's own algorithm (section 3.1.3.6).
/// Without it the access token rests on the TLS connection that brought both.
fn hash(
    claims: &Map<String, Value>,
    algorithm: Algorithm,
    access_token: &str,
) -> Result<(), Reason> {
    let Some(given) = claims.get("at_hash") else {
        return Ok(());
    };
    let function = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => &digest::SHA256,
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => &digest::SHA384,
        // EdDSA with Ed25519 hashes by SHA-512 (RFC 8032 section 5.1).
        Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::Es512 | Algorithm::Ed25519 => {
            &digest::SHA512
        }
    };
    let sum = digest::digest(function, access_token.as_bytes());
    let half = sum
        .as_ref()
        .get(..sum.as_ref().len() / 2)
        .unwrap_or_default();
    let expected = URL_SAFE_NO_PAD.encode(half);
    let given = given.as_str().unwrap_or_default();
    verify_slices_are_equal(given.as_bytes(), expected.as_bytes())
        .map_err(|_| Reason::LoginIdTokenHash)
}
