//! What a verified claim set says, or why it says nothing to us.
//!
//! What it does: checks audience, times and binding (RFC 8725 sections 3.8 to 3.12, RFC 9068
//! section 4, RFC 8705 section 3.1) and takes subject and groups out. What it refuses to know: keys,
//! signatures, kinds of tokens. Invariants: a claim of the wrong type is invalid and never "absent"; every count and
//! length that policy will see is bounded; the caller has compared `iss` and verified the signature.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use serde_json::{Map, Value};

use crate::clock::UnixMillis;
use crate::reason::Reason;

use super::claim_path::{ClaimPath, FoundClaim};
use super::doubts::{Doubts, EMAIL, vouches_for_email};
use super::dpop::Thumbprint;
use super::facts::{CertificateFacts, Facts, Method, ShownLeaf};
use super::proven;
use super::settings::IssuerSettings;
use super::svid;

/// RFC 7519 section 4.1.3.
const AUDIENCE: &str = "aud";

/// A subject or a group's name.
const NAME_LIMIT_BYTES: usize = 1024;

/// Groups of one token. Providers cut their lists far below it.
const GROUPS_LIMIT: usize = 1000;

/// Some issuers date their tokens back, so that no clock that is slow finds them too young. Microsoft Entra does so by five
/// minutes: its tokens of one hour have 65 minutes between `iat` and `exp`, those of managed identities a day and five minutes.
pub(super) const BACKDATED_SECONDS: i64 = 300;

/// The last second of the year 9999: beyond it a NumericDate is a mistake in units.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// All checks of a claim set whose signature holds; then the facts, and the key whose proof the token needs besides.
pub(super) fn facts(
    settings: &IssuerSettings,
    issuer: &Arc<str>,
    claims: Map<String, Value>,
    leaf: ShownLeaf<'_>,
    now: UnixMillis,
) -> Result<(Facts, Option<Thumbprint>), Reason> {
    audience(settings, &claims)?;
    let leeway = i64::try_from(settings.leeway.as_secs()).unwrap_or(0);
    let expires = date(&claims, "exp")?.ok_or(Reason::TokenClaims)?;
    if now.seconds() >= expires.saturating_add(leeway) {
        return Err(Reason::TokenExpired);
    }
    let (from, issued) = (date(&claims, "nbf")?, date(&claims, "iat")?);
    if [from, issued]
        .into_iter()
        .flatten()
        .any(|from| from > now.seconds().saturating_add(leeway))
    {
        return Err(Reason::TokenNotYetValid);
    }
    // Who does not say when it was issued gets no longer life by that.
    let issued = issued.map_or(now.seconds(), |issued| {
        issued.saturating_add(BACKDATED_SECONDS)
    });
    let lifetime = expires.saturating_sub(issued);
    if lifetime > i64::try_from(settings.max_lifetime.as_secs()).unwrap_or(i64::MAX) {
        return Err(Reason::TokenLifetime);
    }
    let key = binding(&claims, leaf.fingerprint)?;
    let facts = extract(settings, issuer, claims, leaf.certificate, expires)?;
    Ok((facts, key))
}

/// The facts that unproven claims would give: for `explain`, which shows what policy would say. Dates and
/// audience are not looked at.
pub(super) fn unproven_facts(
    settings: &IssuerSettings,
    issuer: &Arc<str>,
    claims: Map<String, Value>,
) -> Result<Facts, Reason> {
    let expires = date(&claims, "exp")?.unwrap_or(i64::MAX);
    extract(settings, issuer, claims, None, expires)
}

/// Takes subject and groups out of claims that were judged before.
pub(super) fn extract(
    settings: &IssuerSettings,
    issuer: &Arc<str>,
    claims: Map<String, Value>,
    certificate: Option<&Arc<CertificateFacts>>,
    expires_unix_seconds: i64,
) -> Result<Facts, Reason> {
    if let Some(trust_domain) = settings.trust_domain() {
        return svid::facts(
            settings,
            trust_domain,
            issuer,
            claims,
            certificate,
            expires_unix_seconds,
        );
    }
    let doubts = Doubts::of(settings, &claims)?;
    let (named_by, subject) = subject(settings, &claims, &doubts)?;
    let names_email = named_by.is(EMAIL) || settings.groups_claim.is(EMAIL);
    if names_email && claims.contains_key(EMAIL) && !vouches_for_email(settings, &claims) {
        return Err(Reason::TokenEmailUnverified);
    }
    let groups = match settings.groups_claim.find(&claims) {
        // What cannot be told is among the doubts.
        FoundClaim::Nothing | FoundClaim::WrongType => Vec::new(),
        FoundClaim::Value(Value::String(group)) if is_name(group) => vec![group.clone()],
        // Too many is an error and not a cut: a group that fell off could be the one that is denied.
        FoundClaim::Value(Value::Array(groups)) if groups.len() <= GROUPS_LIMIT => groups
            .iter()
            .map(|group| {
                group
                    .as_str()
                    .filter(|group| is_name(group))
                    .map(str::to_owned)
            })
            .collect::<Option<_>>()
            .ok_or(Reason::TokenClaims)?,
        FoundClaim::Value(_) => return Err(Reason::TokenClaims),
    };
    let subject_claim = (settings.subject_claims.len() > 1).then(|| named_by.text().clone());
    Ok(Facts {
        method: Method::Oidc,
        issuer: issuer.clone(),
        subject,
        subject_claim,
        groups,
        attributes: proven::attributes(&settings.attributes, &claims),
        claims,
        certificate: certificate.cloned(),
        client_binding: None,
        aws: None,
        doubts,
        expires_unix_seconds,
    })
}

/// Fit for policy, record and log line.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_LIMIT_BYTES && !text.chars().any(char::is_control)
}

/// The subject, and the claim that names it: the first that is there. A token that has one which is empty, of another type or
/// elsewhere is refused, and not called by the next: that may be the name of its client, or of another person.
fn subject<'s>(
    settings: &'s IssuerSettings,
    claims: &Map<String, Value>,
    doubts: &Doubts,
) -> Result<(&'s ClaimPath, Arc<str>), Reason> {
    for path in &settings.subject_claims {
        match path.find(claims) {
            FoundClaim::Value(Value::String(subject)) if is_name(subject) => {
                return Ok((path, Arc::from(subject.as_str())));
            }
            FoundClaim::Value(_) | FoundClaim::WrongType => return Err(Reason::TokenClaims),
            FoundClaim::Nothing if doubts.is_elsewhere(path) => {
                return Err(Reason::TokenClaimsElsewhere);
            }
            FoundClaim::Nothing => {}
        }
    }
    Err(Reason::TokenClaims)
}

/// The claim that is configured must name us. If that is another than `aud`, and the token has `aud` as well, both must: who is
/// not named in `aud` must refuse the token (RFC 7519 section 4.1.3).
fn audience(settings: &IssuerSettings, claims: &Map<String, Value>) -> Result<(), Reason> {
    let configured = &settings.audience_claim;
    let named = match configured.find(claims) {
        FoundClaim::Value(value) => names_us(value, &settings.audiences)?,
        FoundClaim::Nothing => false,
        FoundClaim::WrongType => return Err(Reason::TokenClaims),
    };
    let besides = claims.get(AUDIENCE).filter(|_| !configured.is(AUDIENCE));
    if named && besides.map_or(Ok(true), |value| names_us(value, &settings.audiences))? {
        Ok(())
    } else {
        Err(Reason::TokenAudience)
    }
}

/// A string, or an array of strings (RFC 7519 section 4.1.3).
fn names_us(value: &Value, audiences: &[String]) -> Result<bool, Reason> {
    let known = |value: &Value| {
        value
            .as_str()
            .is_some_and(|named| audiences.iter().any(|ours| ours == named))
    };
    match value {
        single @ Value::String(_) => Ok(known(single)),
        Value::Array(several) if several.iter().all(Value::is_string) => {
            Ok(several.iter().any(known))
        }
        _ => Err(Reason::TokenClaims),
    }
}

/// A NumericDate, rounded down (RFC 7519 section 2).
pub(super) fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, Reason> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match number.as_f64() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "bounded in the arm's guard"
            )]
            Some(seconds) if (0.0..=LAST_SECOND).contains(&seconds) => {
                Ok(Some(seconds.floor() as i64))
            }
            _ => Err(Reason::TokenClaims),
        },
        Some(_) => Err(Reason::TokenClaims),
    }
}

/// `cnf` (RFC 7800): a token that is bound needs proof of what it is bound to: the connection's client certificate (RFC
/// 8705 section 3.1), a key (RFC 9449 section 6.1), or both. The key is the caller's to judge. A registered binding of another
/// kind is one that we cannot check; beside one that we can, what is no binding is left alone (RFC 7800 section 3.1: Keycloak
/// says there what kind of key `jkt` is of).
pub(super) fn binding(
    claims: &Map<String, Value>,
    fingerprint: Option<&str>,
) -> Result<Option<Thumbprint>, Reason> {
    let confirmation = match claims.get("cnf") {
        None => return Ok(None),
        Some(Value::Object(confirmation)) => confirmation,
        Some(_) => return Err(Reason::TokenClaims),
    };
    if OTHER_BINDINGS
        .iter()
        .any(|other| confirmation.contains_key(*other))
    {
        return Err(Reason::TokenBound);
    }
    let text = |member| match confirmation.get(member) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(Reason::TokenBound),
    };
    let (certificate, key) = (text("x5t#S256")?, text("jkt")?);
    if certificate.is_some_and(|text| !is_of_leaf(text, fingerprint))
        || (certificate, key) == (None, None)
    {
        return Err(Reason::TokenBound);
    }
    key.map(|text| Thumbprint::parse(text).ok_or(Reason::TokenBound))
        .transpose()
}

/// Members of `cnf` that bind a token to what we cannot check: RFC 7800's, those of its registry besides ours, and a JWS header's
/// names for certificates.
const OTHER_BINDINGS: [&str; 7] = ["jwk", "jwe", "kid", "jku", "osc", "x5t", "x5c"];

/// Whether a thumbprint is that of the certificate that came along.
fn is_of_leaf(thumbprint: &str, fingerprint: Option<&str>) -> bool {
    let bound_to = URL_SAFE_NO_PAD.decode(thumbprint).ok();
    bound_to.is_some_and(|bound_to| fingerprint == Some(&*HEXLOWER.encode(&bound_to)))
}
