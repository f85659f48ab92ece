//! A session: what a login proved, kept by the browser.
//!
//! What it does: seals who a person is into the session cookie, opens it again, and renews it while it is used. What it
//! refuses to know: tokens; none is kept, so that none can be lost. Invariants: a session is bound to the origin and to
//! the login settings that it began under; it ends at its absolute end, after its idle time, and when it is revoked,
//! whichever comes first; renewing changes nothing but the time of its last use.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::seal::{Keyring, Purpose};
use super::{CLOCK_SKEW_SECONDS, SESSION_COOKIE, SetCookie, cookie, random_text};
use crate::clock::UnixMillis;
use crate::identify::claim_path::ClaimPath;
use crate::identify::doubts::Doubts;
use crate::identify::facts::{CertificateFacts, Facts, Method};
use crate::identify::revocation::ProofMarks;
use crate::reason::Reason;

/// A session is renewed by the first use after this long.
const RENEWED_AFTER_SECONDS: i64 = 60;

/// The claims that are kept beside the policy's: by which people know the person. Nothing that could be taken for a token.
const KEPT_CLAIMS: [&str; 3] = ["name", "email", "preferred_username"];

/// A kept claim that is longer is dropped: it is for show only, and the cookie is small.
const KEPT_CLAIM_LIMIT_BYTES: usize = 256;

/// What is known of an opened session, beside its `Facts`.
#[derive(Clone)]
pub struct Session {
    /// Random, for records and revocation; not the cookie.
    pub id: String,
    /// Bound to the session; compared in constant time by `Session::is_csrf`.
    pub csrf: String,
    /// Name, e-mail address or subject.
    pub name: String,
    /// Unix seconds: the absolute end.
    pub ends: i64,
    /// A cookie to set, so that the session does not idle out; `None`: the present one is fresh enough.
    pub renewed: Option<SetCookie>,
    origin: LoginMarks,
}

/// What the ID token said of itself by which the provider may end the session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LoginMarks {
    /// `sid`: the session at the provider.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// `sub`, where another claim names the subject.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `iat`, Unix seconds: by the provider's clock, as what it says of the session's end.
    #[serde(rename = "t")]
    pub issued: i64,
}

impl LoginMarks {
    /// The marks of what is known by these facts.
    pub(crate) fn of<'a>(&'a self, facts: &'a Facts) -> ProofMarks<'a> {
        ProofMarks {
            issuer: &facts.issuer,
            subject: &facts.subject,
            token: None,
            account: self.account.as_deref().or(Some(&facts.subject)),
            email: facts.claims.get("email").and_then(Value::as_str),
            session: self.session.as_deref(),
            issued: Some(self.issued),
        }
    }
}

impl Session {
    /// What a revocation may name of it.
    pub(in crate::identify) fn marks<'a>(&'a self, facts: &'a Facts) -> ProofMarks<'a> {
        self.origin.of(facts)
    }

    /// Whether a form or header proves that this session's own page sent it. Constant time.
    pub(crate) fn is_csrf(&self, given: &str) -> bool {
        verify_slices_are_equal(self.csrf.as_bytes(), given.as_bytes()).is_ok()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Session");
        shown
            .field("id", &self.id)
            .field("ends", &self.ends)
            .field("renewed", &self.renewed)
            .finish_non_exhaustive()
    }
}

/// How long sessions last.
#[derive(Clone, Copy)]
pub(crate) struct Lifetimes {
    pub absolute: Duration,
    pub idle: Duration,
}

impl Lifetimes {
    fn seconds(duration: Duration) -> i64 {
        i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
    }
}

/// What is sealed. Names are short because a cookie is small.
#[derive(Serialize, Deserialize)]
pub(crate) struct SealedSession {
    /// The issuer's name in our configuration.
    #[serde(rename = "i")]
    issuer: String,
    /// Of the login settings.
    #[serde(rename = "f")]
    stamp: String,
    #[serde(rename = "s")]
    subject: String,
    #[serde(rename = "g")]
    groups: Vec<String>,
    /// Whether the groups could not be told.
    #[serde(rename = "o")]
    groups_open: bool,
    /// The claim that named the subject, where there are several.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    subject_claim: Option<String>,
    #[serde(rename = "c")]
    claims: Map<String, Value>,
    #[serde(rename = "d")]
    pub id: String,
    #[serde(rename = "x")]
    csrf: String,
    /// Unix seconds, as are the next two.
    #[serde(rename = "b")]
    begun: i64,
    #[serde(rename = "u")]
    used: i64,
    /// The absolute end as it was when the session began; shorter lifetimes count at once.
    #[serde(rename = "e")]
    ends: i64,
    #[serde(flatten)]
    origin: LoginMarks,
}

impl SealedSession {
    /// A new session of a person who was just proven, with the claims that the policy looks at. `None` if the machine gives no random bytes.
    pub(crate) fn begin(
        (facts, origin): (&Facts, LoginMarks),
        policy_claims: &[ClaimPath],
        stamp: &str,
        lifetimes: Lifetimes,
        now: UnixMillis,
    ) -> Option<Self> {
        let held = |name: &str| Some((name.to_owned(), facts.claims.get(name)?.clone()));
        let fits = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| text.len() <= KEPT_CLAIM_LIMIT_BYTES)
        };
        let shown = KEPT_CLAIMS
            .iter()
            .filter_map(|name| held(name))
            .filter(|(_, value)| fits(value));
        let mut claims: Map<String, Value> = shown.collect();
        // Never cut: one that fell off could be the one that is denied.
        policy_claims
            .iter()
            .for_each(|path| path.copy(&facts.claims, &mut claims));
        let begun = now.seconds();
        Some(SealedSession {
            issuer: facts.issuer.to_string(),
            stamp: stamp.to_owned(),
            subject: facts.subject.to_string(),
            groups: facts.groups.clone(),
            groups_open: facts.doubts.groups_open(),
            subject_claim: facts.subject_claim.as_deref().map(str::to_owned),
            claims,
            id: random_text::<16>()?,
            csrf: random_text::<32>()?,
            begun,
            used: begun,
            ends: begun.saturating_add(Lifetimes::seconds(lifetimes.absolute)),
            origin,
        })
    }

    /// Opens a cookie's value. Whether it still counts is `judge`'s to say.
    pub(crate) fn open(keys: &Keyring, value: &str, origin: &str) -> Option<Self> {
        let plain = keys.open(
            Purpose {
                name: SESSION_COOKIE,
                origin,
            },
            value,
        )?;
        serde_json::from_slice(&plain).ok()
    }

    /// The whole cookie; `SessionTooLarge` if no browser would keep it.
    pub(crate) fn seal(
        &self,
        keys: &Keyring,
        origin: &str,
        lifetimes: Lifetimes,
    ) -> Result<SetCookie, Reason> {
        let plain = Zeroizing::new(serde_json::to_vec(self).map_err(|_| Reason::LoginUnsealed)?);
        let sealed = keys
            .seal(
                Purpose {
                    name: SESSION_COOKIE,
                    origin,
                },
                &plain,
            )
            .ok_or(Reason::LoginUnsealed)?;
        let left = self
            .ends(lifetimes)
            .saturating_sub(self.used)
            .clamp(0, Lifetimes::seconds(lifetimes.idle));
        cookie(SESSION_COOKIE, &sealed, left).ok_or(Reason::LoginSessionTooLarge)
    }

    /// Unix seconds: the absolute end.
    pub(crate) fn ends(&self, lifetimes: Lifetimes) -> i64 {
        self.ends.min(
            self.begun
                .saturating_add(Lifetimes::seconds(lifetimes.absolute)),
        )
    }

    /// Unix seconds: when it ends at the latest, under whatever settings.
    pub(crate) fn latest_end(&self) -> i64 {
        self.ends
    }

    /// Whether it counts at `now` under the present settings; revocation is asked elsewhere.
    pub(crate) fn judge(
        &self,
        issuer: &str,
        stamp: &str,
        lifetimes: Lifetimes,
        now: UnixMillis,
    ) -> Result<(), Reason> {
        let now = now.seconds();
        let soon = now.saturating_add(CLOCK_SKEW_SECONDS);
        if self.issuer != issuer || self.stamp != stamp || self.begun > soon || self.used > soon {
            return Err(Reason::SessionInvalid);
        }
        if now >= self.ends(lifetimes) {
            return Err(Reason::SessionExpired);
        }
        if now >= self.used.saturating_add(Lifetimes::seconds(lifetimes.idle)) {
            return Err(Reason::SessionIdle);
        }
        Ok(())
    }

    /// Facts and session of a cookie that counts.
    pub(crate) fn into_parts(
        mut self,
        keys: &Keyring,
        origin: &str,
        lifetimes: Lifetimes,
        certificate: Option<Arc<CertificateFacts>>,
        now: UnixMillis,
    ) -> (Facts, Session) {
        let ends = self.ends(lifetimes);
        let mut renewed = None;
        if now.seconds().saturating_sub(self.used) > RENEWED_AFTER_SECONDS {
            self.used = now.seconds();
            // The present cookie holds for a while, should sealing fail.
            renewed = self.seal(keys, origin, lifetimes).ok();
        }
        let text = |name: &str| {
            self.claims
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let name = text("name")
            .or(text("email"))
            .unwrap_or(&self.subject)
            .to_owned();
        let facts = Facts {
            method: Method::Session,
            issuer: Arc::from(self.issuer),
            subject: Arc::from(self.subject),
            subject_claim: self.subject_claim.map(Arc::from),
            groups: self.groups,
            claims: self.claims,
            certificate,
            attributes: Vec::new(),
            client_binding: None,
            aws: None,
            doubts: Doubts::of_session(self.groups_open),
            expires_unix_seconds: ends,
        };
        (
            facts,
            Session {
                id: self.id,
                csrf: self.csrf,
                name,
                ends,
                renewed,
                origin: self.origin,
            },
        )
    }
}
