//! Security Event Tokens: what a transmitter says of its subjects.
//!
//! What it does: takes a token through the checks of RFC 8417 section 2 and of the Shared Signals Framework 1.0 section 4, and
//! says what its events end (Continuous Access Evaluation Profile 1.0 section 3). What it refuses to know: how it came,
//! whether it came before, and what becomes of it. Invariants: the signature is verified by the transmitter's live keys; a
//! subject counts for the issuers that the transmitter speaks for, and for no other; what an event ends is bounded by our
//! own present, whatever time it names, and is remembered until the last proof of that time has expired; a token is refused
//! from when nothing is left that it could end; an event that is not known ends nothing.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::claims::date;
use super::issuer::Issuer;
use super::login::Login;
use super::pushed::{PushedId, text};
use super::revocation::{Revocation, RevocationKind, in_session, lower};
use super::token::Unproven;
use super::transmitter::Transmitter;
use crate::clock::UnixMillis;
use crate::reason::Reason;

/// RFC 8417 section 2.3.
const TYPE: &str = "secevent+jwt";

/// Events of one token; the framework wants one.
const EVENTS_LIMIT: usize = 16;

/// What an event says, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecurityEvent {
    SessionRevoked,
    CredentialChange,
    TokenClaimsChange,
    /// The transmitter tries whether we listen.
    Verification,
    Unknown,
}

impl SecurityEvent {
    fn of(uri: &str) -> Self {
        match uri {
            "https://schemas.openid.net/secevent/caep/event-type/session-revoked" => {
                SecurityEvent::SessionRevoked
            }
            "https://schemas.openid.net/secevent/caep/event-type/credential-change" => {
                SecurityEvent::CredentialChange
            }
            "https://schemas.openid.net/secevent/caep/event-type/token-claims-change" => {
                SecurityEvent::TokenClaimsChange
            }
            "https://schemas.openid.net/secevent/ssf/event-type/verification" => {
                SecurityEvent::Verification
            }
            _ => SecurityEvent::Unknown,
        }
    }

    /// For a metric's label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SecurityEvent::SessionRevoked => "session-revoked",
            SecurityEvent::CredentialChange => "credential-change",
            SecurityEvent::TokenClaimsChange => "token-claims-change",
            SecurityEvent::Verification => "verification",
            SecurityEvent::Unknown => "unknown",
        }
    }

    fn ends_proofs(self) -> bool {
        match self {
            SecurityEvent::SessionRevoked
            | SecurityEvent::CredentialChange
            | SecurityEvent::TokenClaimsChange => true,
            SecurityEvent::Verification | SecurityEvent::Unknown => false,
        }
    }
}

/// A token that holds.
pub(super) struct ToldEvents {
    pub id: PushedId,

    pub events: Vec<SecurityEvent>,
    pub revocations: Vec<Revocation>,
}

/// Judges a token that is to be of this transmitter.
pub(super) async fn judge(
    transmitter: &Transmitter,
    login: Option<&Login>,
    token: Unproven<'_>,
    now: UnixMillis,
) -> Result<ToldEvents, Reason> {
    let settings = transmitter.source.settings();
    if !settings.algorithms.contains(&token.algorithm_name) {
        return Err(Reason::TokenAlgorithm);
    }
    if token.media_type != TYPE {
        return Err(Reason::TokenType);
    }
    transmitter.source.verify(&token, now).await?;
    let claims = token.claims;
    // The framework, sections 4.1.6 and 4.1.7: with either it could be taken for another kind of token.
    if claims.contains_key("sub") || claims.contains_key("exp") {
        return Err(Reason::TokenType);
    }
    if !names_us(&claims, &settings.audiences)? {
        return Err(Reason::TokenAudience);
    }
    let leeway = i64::try_from(settings.leeway.as_secs()).unwrap_or(0);
    let latest = now.seconds().saturating_add(leeway);
    let issued = date(&claims, "iat")?.ok_or(Reason::TokenClaims)?;
    if issued > latest {
        return Err(Reason::TokenNotYetValid);
    }
    let lasting = |issuer: &Arc<Issuer>| outlived(issuer, login, now);
    let lasts = transmitter.issuers.iter().map(lasting).max();
    let age = now.seconds().saturating_sub(issued);
    if lasts.is_none_or(|lasts| lasts.saturating_sub(now.seconds()) <= age) {
        return Err(Reason::SecurityEventOld);
    }
    let id = PushedId {
        sender: transmitter.source.name.clone(),
        id: text(&claims, "jti")?.ok_or(Reason::TokenClaims)?.to_owned(),
    };
    let events = match claims.get("events") {
        Some(Value::Object(events)) if (1..=EVENTS_LIMIT).contains(&events.len()) => events,
        _ => return Err(Reason::TokenClaims),
    };
    let mut told = ToldEvents {
        id,
        events: Vec::new(),
        revocations: Vec::new(),
    };
    for (uri, event) in events {
        let Value::Object(event) = event else {
            return Err(Reason::TokenClaims);
        };
        let kind = SecurityEvent::of(uri);
        told.events.push(kind);
        if kind.ends_proofs() {
            let at = date(event, "event_timestamp")?.unwrap_or(issued);
            let subject = claims.get("sub_id").and_then(Value::as_object);
            let subject = EventSubject::read(subject.ok_or(Reason::TokenClaims)?)?;
            // What was issued in the second of the event was issued before it.
            let before = at.min(latest).saturating_add(1);
            told.revocations
                .extend(subject.ended((&transmitter.issuers, login), before, now)?);
        }
    }
    Ok(told)
}

/// Unix seconds by which every proof of this issuer that there is now has expired: its tokens, and sessions that began with one.
fn outlived(issuer: &Issuer, login: Option<&Login>, now: UnixMillis) -> i64 {
    let of_login = login.filter(|login| login.is_at(issuer));
    of_login.map_or_else(|| issuer.outlived(now), |login| login.outlived(now))
}

/// A string, or a list of strings (RFC 7519 section 4.1.3).
fn names_us(claims: &Map<String, Value>, ours: &[String]) -> Result<bool, Reason> {
    let known = |named: &Value| ours.iter().any(|ours| named == ours);
    match claims.get("aud") {
        Some(one @ Value::String(_)) => Ok(known(one)),
        Some(Value::Array(several)) if several.iter().all(Value::is_string) => {
            Ok(several.iter().any(known))
        }
        _ => Err(Reason::TokenClaims),
    }
}

/// Whose proofs have ended: a user's, those of a session, or those of a user in a session.
struct EventSubject<'c> {
    user: Option<UserSubject<'c>>,
    /// The provider's name for the session, `sid`.
    session: Option<&'c str>,
}

/// A user (RFC 9493 section 3.2).
enum UserSubject<'c> {
    Account {
        issuer: &'c str,
        subject: &'c str,
    },
    Email(&'c str),
    /// What the transmitter and we agreed on: the issuer's `sub`.
    Opaque(&'c str),
}

impl<'c> UserSubject<'c> {
    fn read(members: &'c Map<String, Value>) -> Result<Self, Reason> {
        let needed = |name| text(members, name)?.ok_or(Reason::TokenClaims);
        match needed("format")? {
            "iss_sub" => Ok(UserSubject::Account {
                issuer: needed("iss")?,
                subject: needed("sub")?,
            }),
            "email" => Ok(UserSubject::Email(needed("email")?)),
            "opaque" => Ok(UserSubject::Opaque(needed("id")?)),
            _ => Err(Reason::RevocationSubject),
        }
    }
}

impl<'c> EventSubject<'c> {
    /// Reads a subject, a complex one included (the framework, section 3.2), which means what all its members mean at once:
    /// a member that no proof of ours can be held against is refused, since without it too much would end.
    fn read(members: &'c Map<String, Value>) -> Result<Self, Reason> {
        if text(members, "format")? != Some("complex") {
            return Ok(EventSubject {
                user: Some(UserSubject::read(members)?),
                session: None,
            });
        }
        let mut read = EventSubject {
            user: None,
            session: None,
        };
        for (name, member) in members.iter().filter(|(name, _)| *name != "format") {
            let member = member.as_object().ok_or(Reason::TokenClaims)?;
            match name.as_str() {
                "user" => read.user = Some(UserSubject::read(member)?),
                "session" => match UserSubject::read(member)? {
                    UserSubject::Opaque(id) => read.session = Some(id),
                    _ => return Err(Reason::RevocationSubject),
                },
                _ => return Err(Reason::RevocationSubject),
            }
        }
        match (&read.user, read.session) {
            (None, None) => Err(Reason::TokenClaims),
            _ => Ok(read),
        }
    }

    /// By what proofs are told that are meant.
    fn mark(&self) -> Option<(RevocationKind, Arc<str>)> {
        let user = self.user.as_ref().map(|user| match user {
            UserSubject::Account { subject, .. } | UserSubject::Opaque(subject) => {
                (RevocationKind::Account, Cow::Borrowed(*subject))
            }
            UserSubject::Email(address) => (RevocationKind::Email, lower(address)),
        });
        let (kind, value) = match (user, self.session) {
            (Some((kind, user)), None) => (kind, Arc::from(&*user)),
            (None, session) => (RevocationKind::Session, Arc::from(session?)),
            (Some((RevocationKind::Email, user)), Some(session)) => {
                (RevocationKind::EmailInSession, in_session(&user, session))
            }
            (Some((_, user)), Some(session)) => {
                (RevocationKind::AccountInSession, in_session(&user, session))
            }
        };
        Some((kind, value))
    }

    /// One revocation for each issuer that is meant.
    fn ended(
        &self,
        (spoken_for, login): (&[Arc<Issuer>], Option<&Login>),
        before: i64,
        now: UnixMillis,
    ) -> Result<Vec<Revocation>, Reason> {
        let is_meant = |issuer: &&Arc<Issuer>| match self.user {
            Some(UserSubject::Account { issuer: named, .. }) => issuer.is_called(named),
            Some(UserSubject::Email(_) | UserSubject::Opaque(_)) | None => true,
        };
        let (kind, value) = self.mark().ok_or(Reason::TokenClaims)?;
        let ended: Vec<Revocation> = spoken_for
            .iter()
            .filter(is_meant)
            .map(|issuer| Revocation {
                kind,
                issuer: issuer.name.clone(),
                value: Arc::clone(&value),
                issued_before: Some(before),
                until: outlived(issuer, login, now),
            })
            .collect();
        if ended.is_empty() {
            Err(Reason::RevocationForeign)
        } else {
            Ok(ended)
        }
    }
}
