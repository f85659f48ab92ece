//! Where a client's token may stand, and which of several counts.
//!
//! What it does: finds the one token of a head, and adds the one of a legacy report's body. What it refuses
//! to know: whether a token holds. Invariants: two different tokens are refused, not chosen from; a token that stands
//! in an assertion's header besides is judged as an assertion, by the narrower rule; what only
//! fills the place of the backend's own token (`empty`, `developer`, an old access token) counts only where
//! there is nothing else, and `identify` then says that it proves nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::assertion;
use super::caller::only;
use super::{
    AWS_PROOF_PREFIX, AssertionHeader, CLIENT_TOKEN_PREFIX, Caller, Carrier, Fault, Presented,
};
use crate::lightstep::FIREHOSE_KEY;
use crate::profiles::{Profile, TokenPlace};

/// The one token of the head, wherever it stands.
pub(super) fn token(
    headers: &HeaderMap,
    profile: &Profile,
    assertions: &[AssertionHeader],
    place: TokenPlace,
    has_certificate: bool,
) -> Result<Option<Presented>, Fault> {
    let mut chosen = assertion::find(headers, assertions)?;
    let mut carried = Vec::with_capacity(2);
    if let Some(value) = only(headers, &AUTHORIZATION, is_same_credential)? {
        match basic_password(value).filter(|_| place == TokenPlace::Password) {
            Some(password) => carried.push(Presented::owned(password, Carrier::AccessToken)),
            None => choose(&mut chosen, authorization_token(value)?)?,
        }
    }
    if let Some(name) = &profile.access_token_header
        && let Some(value) = only(headers, name, PartialEq::eq)?
    {
        carried.push(Presented::new(value.clone(), 0, Carrier::AccessToken));
    }
    if place == TokenPlace::FirehoseKey
        && let Some(value) = only(headers, &FIREHOSE_KEY, PartialEq::eq)?
    {
        carried.push(Presented::new(value.clone(), 0, Carrier::AccessToken));
    }
    // Clients of the backend always send something there, often a placeholder. It is evidence if it has the
    // form of a JWT, of a client token or of a signed call to AWS, or if there is no other.
    let mut placeholder = None;
    for token in carried {
        if has_token_form(token.bytes()) {
            choose(&mut chosen, token)?;
        } else {
            placeholder = placeholder.or(Some(token).filter(|token| !token.bytes().is_empty()));
        }
    }
    Ok(chosen.or(placeholder.filter(|_| !has_certificate)))
}

/// The same token in two places is one.
fn choose(chosen: &mut Option<Presented>, token: Presented) -> Result<(), Fault> {
    match chosen {
        None => *chosen = Some(token),
        Some(other) if other.bytes() == token.bytes() => {}
        Some(_) => return Err(Fault::CredentialConflict),
    }
    Ok(())
}

/// The caller with the token of a legacy report's body, by the same rule as for a head: a JWT or client
/// token is evidence and must not differ from the head's; anything else counts if there is no other.
pub(crate) fn with_body_token(caller: Caller, token: &[u8]) -> Result<Caller, Fault> {
    caller.shown().agrees_or_is_silent(token)?;
    let counts = has_token_form(token) || (caller.token.is_none() && caller.certificate.is_none());
    let replaces = !caller.token.as_ref().is_some_and(is_strong);
    if token.is_empty() || !counts || !replaces {
        return Ok(caller);
    }
    let presented = Presented::owned(Zeroizing::new(token.to_vec()), Carrier::AccessToken);
    Ok(Caller {
        token: Some(presented),
        ..caller
    })
}

/// What a head showed, to be compared with a body that is read when the caller is known already.
#[derive(Clone, Copy)]
pub struct Shown {
    /// The SHA-256 of a token that counts.
    token: Option<[u8; 32]>,
    certificate: bool,
}

impl Caller {
    /// What is remembered of the evidence when it has been judged.
    pub fn shown(&self) -> Shown {
        let token = self
            .token
            .as_ref()
            .filter(|token| is_strong(token))
            .map(|token| digest(token.bytes()));
        Shown {
            token,
            certificate: self.certificate.is_some(),
        }
    }

    /// Whether the head proves nothing that a body's token could not replace.
    pub(super) fn has_evidence(&self) -> bool {
        self.certificate.is_some() || self.token.as_ref().is_some_and(is_strong)
    }
}

impl Shown {
    /// Fails if the body's token is evidence too, and not the one that the caller was identified by: neither
    /// another token nor one besides a certificate is chosen from afterwards.
    pub(crate) fn agrees_with(&self, body_token: &[u8]) -> Result<(), Fault> {
        if self.certificate && self.token.is_none() && has_token_form(body_token) {
            return Err(Fault::CredentialConflict);
        }
        self.agrees_or_is_silent(body_token)
    }

    fn agrees_or_is_silent(&self, body_token: &[u8]) -> Result<(), Fault> {
        match self.token {
            Some(shown) if has_token_form(body_token) && digest(body_token) != shown => {
                Err(Fault::CredentialConflict)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Everything in `Authorization` and in an assertion's header is meant for us.
fn is_strong(token: &Presented) -> bool {
    token.carrier != Carrier::AccessToken || has_token_form(token.bytes())
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

/// Whether two lines say the same: a scheme may be written in any case, with blanks behind it (RFC 9110 section 11.1 and
/// 11.4); what it introduces counts byte for byte.
fn is_same_credential(one: &HeaderValue, other: &HeaderValue) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    one == other
        || match (scheme_and_rest(one), scheme_and_rest(other)) {
            (Some((scheme, rest)), Some((other, others))) => {
                scheme.eq_ignore_ascii_case(other) && rest == others
            }
            _ => false,
        }
}

/// What stands before the first blank, and behind it.
fn scheme_and_rest(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (scheme, rest) = value.split_at_checked(value.iter().position(|byte| *byte == b' ')?)?;
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    Some((scheme, rest.get(blanks..)?))
}

/// `Bearer x` or `DPoP x` in any case, or a bare `x` as the query API's clients send it.
fn authorization_token(value: &HeaderValue) -> Result<Presented, Fault> {
    let bytes = value.as_bytes();
    if bytes.contains(&b',') {
        return Err(Fault::CredentialConflict);
    }
    let (start, carrier) = match scheme_and_rest(bytes) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer") => {
            (bytes.len() - rest.len(), Carrier::Authorization)
        }
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"dpop") => {
            (bytes.len() - rest.len(), Carrier::Dpop)
        }
        // Another scheme is evidence that we cannot verify; the whole value goes on and fails there.
        Some(_) | None => (0, Carrier::Authorization),
    };
    Ok(Presented::new(value.clone(), start, carrier))
}

/// The password of HTTP Basic (RFC 7617 section 2); the user's name means nothing.
fn basic_password(value: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, encoded) = value.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim_ascii()).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(Zeroizing::new(decoded.get(colon + 1..)?.to_vec()))
}

fn has_token_form(value: &[u8]) -> bool {
    value.starts_with(CLIENT_TOKEN_PREFIX.as_bytes())
        || value.starts_with(AWS_PROOF_PREFIX.as_bytes())
        || has_jwt_form(value)
}

fn has_jwt_form(value: &[u8]) -> bool {
    value.split(|byte| *byte == b'.').count() == 3
        && value
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && value
            .split(|byte| *byte == b'.')
            .all(|part| !part.is_empty())
}
