//! The checked settings of the login. `config` builds them; nothing here parses files.

use std::time::Duration;

use crate::identify::settings::PolicyClaims;
use crate::secret::SecretRef;

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
    /// By what the policy tells the issuer's people apart: a session keeps it, so that bindings that name it, denials above
    /// all, hold for it too.
    pub policy_claims: PolicyClaims,
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
