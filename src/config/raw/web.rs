//! `web:`, as it is written.
//!
//! What it does: mirrors logins, sessions and the command-line client. What it refuses to know: how people log in.
//! Invariant: what is not written stays `None`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::RawSecret;
use crate::document::Spanned;
use crate::document::quantity::RawDuration;

/// The gateway's own pages.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Web")]
pub(crate) struct RawWeb {
    /// How people log in; without it they cannot. Needs `vault.session_keys`.
    pub login: Option<RawLogin>,
}

/// A login with a browser: OpenID Connect, authorization code with PKCE.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Login")]
pub(crate) struct RawLogin {
    /// One of `issuers`, by name.
    pub issuer: Spanned<String>,
    /// What the provider calls us. It must know the redirect address `https://…/.lightkeeper/callback`.
    pub client_id: Spanned<String>,
    /// Without it we are a public client, which PKCE alone protects.
    pub client_secret: Option<Spanned<RawSecret>>,
    /// What is asked for; default `[openid, profile, email]`. `openid` must be among them.
    #[schemars(length(min = 1, max = 32))]
    pub scopes: Option<Vec<Spanned<String>>>,
    /// Where groups stand; default `id_token`.
    pub groups: Option<RawGroups>,
    /// How long people stay.
    #[serde(default)]
    pub session: RawSession,
    /// What `lightkeeper login` logs in with; without it the command line cannot.
    pub cli: Option<RawCli>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "GroupsFrom")]
pub(crate) enum RawGroups {
    /// In the ID token.
    IdToken,
    /// In the answer of the userinfo endpoint.
    Userinfo,
}

/// A session's lifetimes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Session")]
pub(crate) struct RawSession {
    /// From login to the end, whatever happens; at most `168h`, default `8h`.
    pub lifetime: Option<Spanned<RawDuration>>,
    /// How long it may rest; at most `lifetime`, default `30m`.
    pub idle: Option<Spanned<RawDuration>>,
}

/// The public client of the command line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CommandLine")]
pub(crate) struct RawCli {
    /// What the provider calls it. It must allow redirects to `http://127.0.0.1` on any port (RFC 8252 section 7.3).
    pub client_id: Spanned<String>,
    /// Default `[openid, offline_access]`.
    #[schemars(length(min = 1, max = 32))]
    pub scopes: Option<Vec<Spanned<String>>>,
    /// What its tokens must be for: one of the issuer's `audiences`; asked for as `audience` and `resource`.
    pub audience: Option<Spanned<String>>,
}
