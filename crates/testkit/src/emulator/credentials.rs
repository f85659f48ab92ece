//! The emulator's credentials: access tokens (ingest) and API keys (query).
//!
//! What it does: knows which token opens which project and which key may do what (`docs/backends/lightstep.md`,
//! credentials). What it refuses to know: who holds them; Lightstep does not know either.
//! Invariant: a token names one project, forever; a new or reactivated one works after the propagation time.

use lightkeeper::clock::UnixMillis;

/// What an API key's role allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and writes within projects.
    Editor,
    /// Everything: access tokens, projects, users, roles.
    Admin,
}

/// One ingest token. Kept in clear, as Lightstep keeps and shows it.
#[derive(Clone, Debug)]
pub(super) struct AccessToken {
    pub value: String,
    pub name: String,
    pub project: String,
    pub active: bool,
    pub works_from: UnixMillis,
}

#[derive(Default)]
pub(super) struct AccessTokens(pub Vec<AccessToken>);

impl AccessTokens {
    pub fn add(&mut self, project: &str, value: &str, name: &str, works_from: UnixMillis) {
        self.0.retain(|token| token.value != value);
        self.0.push(AccessToken {
            value: value.to_owned(),
            name: name.to_owned(),
            project: project.to_owned(),
            active: true,
            works_from,
        });
    }

    pub fn set_active(&mut self, value: &str, active: bool, works_from: UnixMillis) {
        for token in self.0.iter_mut().filter(|token| token.value == value) {
            token.active = active;
            token.works_from = works_from;
        }
    }

    /// The project that a token opens now.
    pub fn project(&self, value: &str, now: UnixMillis) -> Option<String> {
        let token = self.0.iter().find(|token| token.value == value)?;
        (token.active && token.works_from <= now).then(|| token.project.clone())
    }
}

/// One API key.
#[derive(Clone, Debug)]
pub(super) struct ApiKey {
    pub value: String,
    pub role: Role,
    /// `None`: the whole organization.
    pub project: Option<String>,
}

#[derive(Default)]
pub(super) struct ApiKeys(pub Vec<ApiKey>);

impl ApiKeys {
    /// The key in an `authorization` value: `Bearer x`, `bearer x` or a bare `x`
    /// (`docs/backends/lightstep.md`, query API).
    pub fn presented(&self, authorization: &str) -> Option<&ApiKey> {
        let value = match authorization.split_once(' ') {
            Some((scheme, value)) if scheme.eq_ignore_ascii_case("bearer") => value,
            Some(_) => return None,
            None => authorization,
        };
        self.0.iter().find(|key| key.value == value)
    }
}
