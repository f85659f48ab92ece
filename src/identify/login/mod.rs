//! People log in with a browser: OIDC authorization code with PKCE, and sealed sessions.
//!
//! What it does: begins and finishes logins at one issuer (OpenID Connect Core section 3.1, RFC 7636, RFC 9207), seals
//! what is proven into a cookie, and opens such cookies again. What it refuses to know: HTTP towards the browser, pages,
//! policy. Invariants: a session is sealed to cookie name, version and origin; a login's transaction works once; no
//! token outlives the call that fetched it.

mod flow;
mod id_token;
mod logout;
mod memory;
mod provider;
mod seal;
mod session;
mod settings;
mod transaction;
mod used;

#[cfg(test)]
pub(super) mod inside {
    //! For this room's tests, which forge what these parts must refuse.
    pub(in crate::identify) use super::memory::Memory;
    pub(in crate::identify) use super::provider::ProviderDocument;
    pub(in crate::identify) use super::seal::{Keyring, Purpose};
}

pub(crate) use seal::key_bytes as session_key_bytes;
pub(crate) use session::Session;
pub use settings::{CliConfiguration, CliSettings, LoginSettings};

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::claim_path::ClaimPath;
use super::facts::{CertificateFacts, Facts};
use super::fetch::RemoteFault;
use super::issuer::{Issuer, IssuerCause};
use super::revocation::Revocations;
use crate::accept::{ReturnPath, SessionCookie};
use crate::clock::UnixMillis;
use crate::limits::{FairQueue, FairQueueBounds};
use crate::reason::Reason;
use crate::secret::{Secret, UnreadableSecret};

pub(super) use memory::Memory;
use provider::Provider;
use seal::{COOKIE_LIMIT_BYTES, Keyring, SessionKeyFault};
use session::{Lifetimes, SealedSession};

use crate::accept::{LOGIN_COOKIE, SESSION_COOKIE};

/// What two gateways' clocks may differ by: each opens what the other sealed.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// What a session keeps; one that was sealed under another number says less than is asked of it.
const LAYOUT: u8 = 4;

/// What the provider bears of us: each code exchange takes one of these places for a second or longer, so that 32
/// are under way at most, and begin within a second. A login waits for its place; half of them are left to other
/// addresses.
const EXCHANGES: FairQueueBounds = FairQueueBounds {
    places: 32,
    places_per_address: 16,
    waiting: 2048,
    waiting_per_address: 512,
    patience: Duration::from_secs(45),
    held_at_least: Duration::from_secs(1),
};

// Only an exchange spends a login, so that no flood of logins pushes an honest one out of `Memory::spent`.
const _: () = assert!(
    EXCHANGES.places as i64 * (transaction::LIFETIME_SECONDS + CLOCK_SKEW_SECONDS + 1)
        < memory::SPENT_LIMIT_ENTRIES as i64 * EXCHANGES.held_at_least.as_secs() as i64
);

/// A whole `Set-Cookie` value; sensitive.
#[derive(Clone)]
pub struct SetCookie(pub Zeroizing<String>);

impl std::fmt::Debug for SetCookie {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SetCookie(…)")
    }
}

/// A login that began.
pub struct Begun {
    /// Where the browser goes now: the issuer's authorization endpoint.
    pub location: String,
    /// The transaction's cookie.
    pub cookie: SetCookie,
}

/// A login that ended well.
pub struct Finished {
    pub return_to: ReturnPath,
    pub session: SetCookie,
    /// For the record.
    pub issuer: String,
    pub subject: String,
    /// The claim that named the subject, where there are several.
    pub subject_claim: Option<Arc<str>>,
}

/// A login that did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub fault: Reason,
    /// The transaction's cookie is of no use any more. Otherwise the same login can still be finished.
    pub is_over: bool,
}

/// The login, at work.
pub struct Login {
    settings: LoginSettings,
    issuer: Arc<Issuer>,
    secret: Option<Secret>,
    keys: Keyring,
    /// Tells these settings from others, as far as sessions depend on them.
    stamp: String,
    provider: Arc<Provider>,
    memory: Arc<Memory>,
    revocations: Revocations,
    exchanges: FairQueue,
}

/// What is wrong with a login's settings or files.
#[derive(Debug, thiserror::Error)]
#[error("login")]
pub struct LoginFault(#[source] LoginCause);

#[derive(Debug, thiserror::Error)]
enum LoginCause {
    #[error("there is no issuer `{0}`")]
    NoIssuer(String),
    #[error(transparent)]
    SessionKey(#[from] SessionKeyFault),
    #[error("client secret")]
    ClientSecret(#[source] UnreadableSecret),
    #[error(transparent)]
    Issuer(#[from] IssuerCause),
    #[error(transparent)]
    Provider(#[from] RemoteFault),
}

impl Login {
    /// Reads keys and secret. What `previous` knows of the same provider is kept.
    pub(super) fn open(
        settings: &LoginSettings,
        issuers: &[Arc<Issuer>],
        (memory, revocations): (Arc<Memory>, Revocations),
        previous: Option<&Login>,
    ) -> Result<Login, Vec<LoginFault>> {
        let Some(issuer) = issuers
            .iter()
            .find(|issuer| *issuer.name == *settings.issuer)
            .cloned()
        else {
            let cause = LoginCause::NoIssuer(settings.issuer.to_string());
            return Err(vec![LoginFault(cause)]);
        };
        let mut faults: Vec<LoginCause> = Vec::new();
        let keys = Keyring::read(&settings.keys)
            .map_err(|found| faults.extend(found.into_iter().map(LoginCause::from)))
            .ok();
        let secret = settings.client_secret.as_ref();
        let secret = secret.and_then(|reference| {
            let read = reference.open();
            read.map_err(|fault| faults.push(LoginCause::ClientSecret(fault)))
                .ok()
        });
        // An issuer that is the same one has the same address and the same roots.
        let kept = previous
            .filter(|previous| previous.issuer.id == issuer.id)
            .map(|previous| previous.provider.clone());
        let provider = match kept {
            Some(provider) => Some(provider),
            None => {
                let of = issuer.settings();
                let made = issuer.roots().map_err(LoginCause::from);
                let made = made.and_then(|roots| Ok(Provider::new(&of.issuer, roots, &of.egress)?));
                made.map(Arc::new).map_err(|fault| faults.push(fault)).ok()
            }
        };
        match (keys, provider) {
            (Some(keys), Some(provider)) if faults.is_empty() => Ok(Login {
                stamp: stamp(settings, &issuer),
                settings: settings.clone(),
                issuer,
                secret,
                keys,
                provider,
                exchanges: memory.exchanges.clone(),
                memory,
                revocations,
            }),
            _ => Err(faults.into_iter().map(LoginFault).collect()),
        }
    }

    /// Judges a session's cookie. `certificate`: what came along and holds.
    pub(super) fn judge(
        &self,
        cookie: &SessionCookie,
        certificate: Option<Arc<CertificateFacts>>,
        now: UnixMillis,
    ) -> Result<(Facts, Session), Reason> {
        let kept = SealedSession::open(&self.keys, &cookie.value, &cookie.origin)
            .ok_or(Reason::SessionInvalid)?;
        kept.judge(&self.issuer.name, &self.stamp, self.lifetimes(), now)?;
        if self.memory.revoked.contains(&kept.id, kept.latest_end()) {
            return Err(Reason::SessionRevoked);
        }
        Ok(kept.into_parts(
            &self.keys,
            &cookie.origin,
            self.lifetimes(),
            certificate,
            now,
        ))
    }

    /// What the command line logs in with, if it may. `origin`: the gateway's own, which is the audience where it is one
    /// of the issuer's and no other is set (RFC 8707 section 2).
    pub fn configuration(&self, origin: &str) -> Option<CliConfiguration> {
        let cli = self.settings.cli.as_ref()?;
        let own = self
            .issuer
            .settings()
            .audiences
            .iter()
            .find(|audience| audience.trim_end_matches('/') == origin);
        Some(CliConfiguration {
            issuer_url: self.issuer.settings().issuer.clone(),
            client_id: cli.client_id.clone(),
            scopes: cli.scopes.clone(),
            audience: cli.audience.as_ref().or(own).cloned(),
        })
    }

    /// The `Set-Cookie` values that remove our cookies.
    pub(crate) fn cleared() -> [SetCookie; 2] {
        [SESSION_COOKIE, LOGIN_COOKIE]
            .map(|name| SetCookie(Zeroizing::new(format!("{name}=; {}", attributes(0)))))
    }

    /// How many logins are remembered as spent, and how many wait for their exchange.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.memory.spent.len(), self.exchanges.waiting())
    }

    fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            absolute: self.settings.lifetime,
            idle: self.settings.idle,
        }
    }
}

/// A person that logged in under other claims, another client or another issuer must log in again; also when the policy begins
/// to look at claims that the session does not keep.
fn stamp(settings: &LoginSettings, issuer: &Issuer) -> String {
    let at = issuer.settings();
    let fixed = [
        at.issuer.as_str(),
        &settings.client_id,
        at.groups_claim.as_str(),
    ];
    let subjects = at.subject_claims.iter().map(ClaimPath::as_str);
    let parts = fixed
        .into_iter()
        .chain(subjects)
        .chain(settings.policy_claims.claims.iter().map(ClaimPath::as_str));
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(&(at.subject_claims.len() as u64).to_be_bytes());
    hash.update(&[
        u8::from(settings.groups_from_userinfo),
        u8::from(at.accepts_unverified_email),
        LAYOUT,
    ]);
    URL_SAFE_NO_PAD.encode(hash.finish().as_ref().get(..9).unwrap_or_default())
}

/// A whole `Set-Cookie`, unless it is larger than browsers keep.
fn cookie(name: &str, value: &str, seconds: i64) -> Option<SetCookie> {
    let whole = Zeroizing::new(format!("{name}={value}; {}", attributes(seconds)));
    (whole.len() <= COOKIE_LIMIT_BYTES).then_some(SetCookie(whole))
}

/// `Lax`: the provider sends the browser back to us by a link (RFC 6265bis section 5.6.7.2).
fn attributes(seconds: i64) -> String {
    format!("Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax")
}

/// Base64url of so many random bytes. `None` if the machine gives none.
fn random_text<const BYTES: usize>() -> Option<String> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
}
