//! A builder of token claims.
//!
//! What it does: starts from claims that any verifier accepts and changes them one by one, so that a
//! test names only what is wrong with its token. What it refuses to know: keys.
//! Invariant: times are NumericDate seconds (RFC 7519 section 2) of the issuer's clock.

use serde_json::{Map, Value};

/// Claims in the making. `Issuer::claims` starts one.
#[derive(Clone, Debug)]
pub struct Claims {
    members: Map<String, Value>,
    now_seconds: i64,
}

impl Claims {
    /// `iss`, `sub`, `aud`, `iat`, `exp` (an hour) and a `jti`.
    pub(super) fn start(
        issuer: &str,
        subject: &str,
        audience: &str,
        now_seconds: i64,
        id: String,
    ) -> Self {
        let claims = Claims {
            members: Map::new(),
            now_seconds,
        };
        claims
            .set("iss", issuer)
            .set("sub", subject)
            .set("aud", audience)
            .set("iat", now_seconds)
            .set("exp", now_seconds + 3600)
            .set("jti", id)
    }

    /// Sets or replaces one claim.
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Sets every member of an object.
    pub fn merge(mut self, members: Value) -> Self {
        if let Value::Object(members) = members {
            self.members.extend(members);
        }
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.members.remove(name);
        self
    }

    pub fn issuer(self, issuer: &str) -> Self {
        self.set("iss", issuer)
    }

    pub fn subject(self, subject: &str) -> Self {
        self.set("sub", subject)
    }

    pub fn audience(self, audience: &str) -> Self {
        self.set("aud", audience)
    }

    pub fn audiences(self, audiences: &[&str]) -> Self {
        self.set(
            "aud",
            audiences
                .iter()
                .map(|audience| Value::from(*audience))
                .collect::<Vec<_>>(),
        )
    }

    pub fn groups(self, groups: &[&str]) -> Self {
        self.set(
            "groups",
            groups
                .iter()
                .map(|group| Value::from(*group))
                .collect::<Vec<_>>(),
        )
    }

    /// `exp`, in seconds from now; negative: already expired.
    pub fn expires_in(self, seconds: i64) -> Self {
        let at = self.now_seconds + seconds;
        self.set("exp", at)
    }

    /// `nbf`, in seconds from now.
    pub fn not_before_in(self, seconds: i64) -> Self {
        let at = self.now_seconds + seconds;
        self.set("nbf", at)
    }

    /// `iat`, in seconds from now.
    pub fn issued_in(self, seconds: i64) -> Self {
        let at = self.now_seconds + seconds;
        self.set("iat", at)
    }
}

impl From<Claims> for Value {
    fn from(claims: Claims) -> Value {
        Value::Object(claims.members)
    }
}
