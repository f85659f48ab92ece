//! Logout tokens: how a provider ends sessions and tokens behind the browser's back.
//!
//! What it does: takes a logout token through the checks of OpenID Connect Back-Channel Logout 1.0 section 2.6, and says what
//! it ends. What it refuses to know: how it came, whether it came before, and what becomes of it. Invariants: the signature
//! is verified by the issuer's live keys as any other token's; an ID token is never taken for a logout token; a session at
//! the provider ends as a whole, a subject only up to the token's own time.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Login;
use crate::clock::UnixMillis;
use crate::identify::claims::date;
use crate::identify::issuer::Issuer;
use crate::identify::pushed::{PushedId, text};
use crate::identify::revocation::{Revocation, RevocationKind};
use crate::identify::token::Unproven;
use crate::reason::Reason;

/// A logout token has a dozen claims.
const TOKEN_LIMIT_BYTES: usize = 16 * 1024;

/// The only event of a logout token (section 2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Section 2.4 asks for `logout+jwt`, which older providers do not write.
const TYPES: [&str; 3] = ["logout+jwt", "jwt", ""];

/// A logout token that holds.
pub(in crate::identify) struct LoggedOut {
    pub id: PushedId,
    pub revocations: Vec<Revocation>,
}

impl Login {
    /// Judges a logout token.
    pub(in crate::identify) async fn logged_out(
        &self,
        token: &[u8],
        now: UnixMillis,
    ) -> Result<LoggedOut, Reason> {
        if token.len() > TOKEN_LIMIT_BYTES {
            return Err(Reason::TokenTooLarge);
        }
        let token = Unproven::parse(token)?;
        let settings = self.issuer.settings();
        if token.claims.get("iss").and_then(Value::as_str) != Some(settings.issuer.as_str()) {
            return Err(Reason::TokenIssuerUnknown);
        }
        if !settings.algorithms.contains(&token.algorithm_name) {
            return Err(Reason::TokenAlgorithm);
        }
        if !TYPES.contains(&token.media_type.as_str()) {
            return Err(Reason::TokenType);
        }
        self.issuer.verify(&token, now).await?;
        let claims = token.claims;
        // What has a nonce is an ID token.
        if claims.contains_key("nonce") || !is_logout(&claims) {
            return Err(Reason::TokenType);
        }
        if !names(&claims, &self.settings.client_id)? {
            return Err(Reason::TokenAudience);
        }
        let leeway = i64::try_from(settings.leeway.as_secs()).unwrap_or(0);
        let issued = date(&claims, "iat")?.ok_or(Reason::TokenClaims)?;
        let expires = date(&claims, "exp")?.ok_or(Reason::TokenClaims)?;
        if now.seconds() >= expires.saturating_add(leeway) {
            return Err(Reason::TokenExpired);
        }
        if issued > now.seconds().saturating_add(leeway) {
            return Err(Reason::TokenNotYetValid);
        }
        let id = text(&claims, "jti")?.ok_or(Reason::TokenClaims)?;
        Ok(LoggedOut {
            revocations: self.ended(&claims, issued, now)?,
            id: PushedId {
                sender: self.issuer.name.clone(),
                id: id.to_owned(),
            },
        })
    }

    /// Whether people log in at this issuer.
    pub(in crate::identify) fn is_at(&self, issuer: &Issuer) -> bool {
        self.issuer.name == issuer.name
    }

    /// Unix seconds by which every token of the issuer and every session that there is now has expired.
    pub(in crate::identify) fn outlived(&self, now: UnixMillis) -> i64 {
        let lifetime = i64::try_from(self.settings.lifetime.as_secs()).unwrap_or(i64::MAX);
        let sessions = now.seconds().saturating_add(lifetime);
        self.issuer.outlived(now).max(sessions)
    }

    /// What the claims end.
    fn ended(
        &self,
        claims: &Map<String, Value>,
        issued: i64,
        now: UnixMillis,
    ) -> Result<Vec<Revocation>, Reason> {
        let until = self.outlived(now);
        let revocation = |kind, value: &str, issued_before| Revocation {
            kind,
            issuer: self.issuer.name.clone(),
            value: Arc::from(value),
            issued_before,
            until,
        };
        // What was issued in the second of the logout was issued before it.
        let before = Some(issued.saturating_add(1));
        let ended = match (text(claims, "sid")?, text(claims, "sub")?) {
            (None, None) => return Err(Reason::TokenClaims),
            (None, Some(subject)) => vec![revocation(RevocationKind::Account, subject, before)],
            (Some(session), None) => vec![revocation(RevocationKind::Session, session, None)],
            // Other sessions of the subject go on; what names no session may be of the one that ended.
            (Some(session), Some(subject)) => vec![
                revocation(RevocationKind::Session, session, None),
                revocation(RevocationKind::AccountWithoutSession, subject, before),
            ],
        };
        Ok(ended)
    }
}

/// `events` has that member, no other, and in it nothing.
fn is_logout(claims: &Map<String, Value>) -> bool {
    let events = claims.get("events").and_then(Value::as_object);
    events.is_some_and(|events| {
        let event = events.get(LOGOUT_EVENT).and_then(Value::as_object);
        events.len() == 1 && event.is_some_and(Map::is_empty)
    })
}

/// Whether `aud` names the client alone, as a string or in a list.
fn names(claims: &Map<String, Value>, client_id: &str) -> Result<bool, Reason> {
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(one == client_id),
        Some(Value::Array(several)) if several.iter().all(Value::is_string) => {
            Ok(several.len() == 1 && several.iter().any(|named| named == client_id))
        }
        _ => Err(Reason::TokenClaims),
    }
}
