//! People log in with a browser: OIDC authorization code with PKCE, and sealed sessions.
//!
//! What it does: begins and finishes logins at one issuer (OpenID Connect Core section 3.1, RFC 7636, RFC 9207), seals
//! what is proven into a cookie, and opens such cookies again. What it refuses to know: HTTP towards the browser, pages,
//! policy. Invariants: a session is sealed to cookie name, version and origin; a login's transaction works once.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::accept::{ReturnPath, SessionCookie};
use crate::clock::UnixMillis;
use crate::secret::SecretRef;

/// The names of our cookies (RFC 6265bis section 4.1.3.2: `__Host-` binds them to host and TLS).
pub const SESSION_COOKIE: &str = "__Host-lightkeeper-session";
pub const LOGIN_COOKIE: &str = "__Host-lightkeeper-login";

/// The checked `web.login` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSettings {
    /// The name of one of `issuers`.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Option<SecretRef>,
    pub scopes: Vec<String>,
    /// Whether groups are read from userinfo instead of the ID token.
    pub groups_from_userinfo: bool,
    /// Absolute lifetime of a session.
    pub lifetime: Duration,
    /// A session that was not used for so long ends.
    pub idle: Duration,
    /// Keys of 32 bytes (base64 or hexadecimal): the first seals, all open. From `vault.session_keys`.
    pub keys: Vec<SecretRef>,
    /// What the command line logs in with.
    pub cli: Option<CliSettings>,
}

/// The public client of the command line (`web.login.cli`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliSettings {
    pub client_id: String,
    pub scopes: Vec<String>,
    /// Asked for as `resource` (RFC 8707) and `audience`, so that the token is one for the gateway.
    pub audience: Option<String>,
}

/// What the command line must know to log in, public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliConfiguration {
    /// The issuer, as discovery wants it.
    pub issuer_url: String,
    pub client_id: String,
    pub scopes: Vec<String>,
    pub audience: Option<String>,
}

/// What is known of an opened session, beside its `Facts`.
#[derive(Clone, Debug)]
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
}

impl Session {
    /// Whether a form or header proves that this session's own page sent it. Constant time.
    pub fn is_csrf(&self, _given: &str) -> bool {
        false
    }
}

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
}

/// Why a login failed. Whatever it was, the transaction's cookie is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFault {
    /// No login is configured.
    NotOffered,
}

impl LoginFault {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            LoginFault::NotOffered => "login_not_offered",
        }
    }

    /// Ours or the provider's fault, worth another try later.
    pub fn is_outage(self) -> bool {
        false
    }
}

/// The login, at work.
pub struct Login;

impl Login {
    /// Begins a login. `origin`: scheme and authority that the browser uses; the redirect address is
    /// `{origin}/.lightkeeper/callback`.
    pub async fn begin(&self, _return_to: &ReturnPath, _origin: &str, _now: UnixMillis) -> Result<Begun, LoginFault> {
        Err(LoginFault::NotOffered)
    }

    /// Finishes a login. `answer`: the callback's query pairs, decoded, as they came; `transaction`: the login cookie.
    pub async fn finish(
        &self,
        _answer: &[(String, String)],
        _transaction: Option<&str>,
        _origin: &str,
        _now: UnixMillis,
    ) -> Result<Finished, LoginFault> {
        Err(LoginFault::NotOffered)
    }

    /// Ends a session here, and tells where the browser goes to end it at the provider (RP-Initiated Logout 1.0), if
    /// the provider offers that.
    pub async fn end(&self, _session: &SessionCookie, _now: UnixMillis) -> Option<String> {
        None
    }

    /// What the command line logs in with, if it may.
    pub fn configuration(&self) -> Option<CliConfiguration> {
        None
    }

    /// The `Set-Cookie` values that remove our cookies.
    pub fn cleared() -> [SetCookie; 2] {
        [SESSION_COOKIE, LOGIN_COOKIE].map(|name| {
            SetCookie(Zeroizing::new(format!("{name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")))
        })
    }
}
