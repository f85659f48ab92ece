//! The issuer's refresh tokens: renewed with each use, withdrawn when one is used twice, revoked on request.
//!
//! What it does: rotation with detection of reuse (RFC 9700 section 4.14.2) and the revocation endpoint (RFC 7009). What it
//! refuses to know: how a login began. Invariants: a refresh token works once; using a spent one ends every token of its login;
//! only the client that a token was issued to can use or revoke it; both stores are bounded.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, Response, StatusCode};
use serde_json::json;

use super::flows::{Grant, Issued, WEB_CLIENT, client_of, take, web_client};
use super::{State, document};
use crate::server::{Payload, lock};
use crate::urls::Form;

/// The command line's client: public, so PKCE or the device flow alone protects it.
pub const CLI_CLIENT: &str = "lightkeeper-cli";
/// Spent tokens remembered; the oldest is forgotten first.
const REMEMBERED: usize = 1000;

#[derive(Default)]
pub(super) struct Refreshes {
    pub live: Mutex<VecDeque<(String, Grant)>>,
    spent: Mutex<VecDeque<(String, String)>>,
    uses: AtomicU64,
}

impl State {
    pub(super) fn refresh(
        &self,
        client: &str,
        secret: Option<&str>,
        form: &Form,
        key: Option<String>,
    ) -> Issued {
        known_client(client, secret)?;
        let invalid = (StatusCode::BAD_REQUEST, "invalid_grant");
        self.refreshes.uses.fetch_add(1, Ordering::SeqCst);
        let token = form.value("refresh_token").unwrap_or_default();
        let Some(grant) = take(&self.refreshes.live, token) else {
            let spent = lock(&self.refreshes.spent)
                .iter()
                .find(|(known, _)| known == token)
                .cloned();
            if let Some((_, family)) = spent {
                self.end(&family);
            }
            return Err(invalid);
        };
        let mut spent = lock(&self.refreshes.spent);
        spent.truncate(REMEMBERED - 1);
        spent.push_front((token.to_owned(), grant.family.clone()));
        drop(spent);
        // RFC 9449 section 5: those of a public client are bound as well.
        if grant.client != client || grant.key != key {
            self.end(&grant.family);
            return Err(invalid);
        }
        Ok(self.issue(&grant, true))
    }

    /// Ends all refresh tokens of one login.
    fn end(&self, family: &str) {
        lock(&self.refreshes.live).retain(|(_, grant)| grant.family != family);
    }

    /// The revocation endpoint. An unknown token is revoked already (RFC 7009 section 2.2).
    pub(super) fn revoke(&self, headers: &HeaderMap, form: &Form) -> Response<Payload> {
        let client = client_of(headers, form);
        let client =
            client.filter(|(client, secret)| known_client(client, secret.as_deref()).is_ok());
        let Some((client, _)) = client else {
            return document(
                StatusCode::UNAUTHORIZED,
                &json!({ "error": "invalid_client" }),
            );
        };
        let token = form.value("token").unwrap_or_default();
        let live = lock(&self.refreshes.live);
        let family = live
            .iter()
            .find(|(known, grant)| known == token && grant.client == client);
        let family = family.map(|(_, grant)| grant.family.clone());
        drop(live);
        if let Some(family) = family {
            self.end(&family);
        }
        document(StatusCode::OK, &json!({}))
    }

    /// How often a refresh token was presented.
    pub(super) fn refresh_uses(&self) -> u64 {
        self.refreshes.uses.load(Ordering::SeqCst)
    }
}

/// The command line has no secret; the web client may show one.
pub(super) fn known_client(
    client: &str,
    secret: Option<&str>,
) -> Result<(), (StatusCode, &'static str)> {
    match (client, secret) {
        (CLI_CLIENT, None) => Ok(()),
        _ => web_client(client, secret),
    }
}

/// For what only the command line may do.
pub(super) fn is_own_client(client: &str) -> Result<(), (StatusCode, &'static str)> {
    (client == CLI_CLIENT)
        .then_some(())
        .ok_or((StatusCode::UNAUTHORIZED, "invalid_client"))
}

/// Whether people may log in through it in a browser.
pub(super) fn is_for_people(client: &str) -> bool {
    [WEB_CLIENT, CLI_CLIENT].contains(&client)
}
