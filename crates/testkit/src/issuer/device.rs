//! The issuer's device flow (RFC 8628), for the command line on machines without a browser.
//!
//! What it does: hands out device and user codes, shows a page on which one picks a sample person, and answers the polls. What it
//! refuses to know: passwords (this is a demonstration). Invariants: a device code gives tokens once and to its own client only;
//! codes end after `LIFETIME_SECONDS`; who polls too fast is told to slow down; the store is bounded.

use std::collections::VecDeque;
use std::sync::Mutex;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::flows::{Grant, Issued, escape, people_buttons};
use super::people::Principal;
use super::refresh::{CLI_CLIENT, is_own_client};
use super::{State, document, page, random_text};
use crate::server::{Payload, lock};
use crate::urls::Form;

pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const LIFETIME_SECONDS: i64 = 600;
/// Short, so that a demonstration does not wait.
const INTERVAL_SECONDS: i64 = 1;
const REMEMBERED: usize = 100;
/// RFC 8628 section 6.1: no vowels, nothing that is read as something else.
const LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";

#[derive(Default)]
pub(super) struct Devices {
    pending: Mutex<VecDeque<Pending>>,
}

/// One device that waits.
struct Pending {
    device_code: String,
    user_code: String,
    client: String,
    scope: String,
    audience: Option<String>,
    from_seconds: i64,
    polled_millis: Option<i64>,
    answer: Option<Answer>,
}

#[derive(Clone, Copy)]
enum Answer {
    Approved(&'static Principal),
    Refused,
}

impl State {
    /// The device authorization endpoint (RFC 8628 section 3.1).
    pub(super) fn device_authorization(&self, form: &Form) -> Response<Payload> {
        let client = form.value("client_id").unwrap_or_default();
        if client != CLI_CLIENT {
            return document(
                StatusCode::UNAUTHORIZED,
                &json!({ "error": "invalid_client" }),
            );
        }
        let (device_code, user_code) = (random_text(24), user_code());
        let pending = Pending {
            device_code: device_code.clone(),
            user_code: user_code.clone(),
            client: client.to_owned(),
            scope: form.value("scope").unwrap_or("openid").to_owned(),
            audience: form
                .value("audience")
                .or(form.value("resource"))
                .map(str::to_owned),
            from_seconds: self.now_seconds(),
            polled_millis: None,
            answer: None,
        };
        let mut all = lock(&self.devices.pending);
        all.truncate(REMEMBERED - 1);
        all.push_front(pending);
        document(
            StatusCode::OK,
            &json!({
                "device_code": device_code,
                "user_code": user_code,
                "verification_uri": format!("{}/device", self.url),
                "verification_uri_complete": format!("{}/device?user_code={user_code}", self.url),
                "expires_in": LIFETIME_SECONDS,
                "interval": INTERVAL_SECONDS,
            }),
        )
    }

    /// The page of the person: asks for the code, then who it is.
    pub(super) fn device_page(&self, ask: &Form) -> Response<Payload> {
        let code = escape(ask.value("user_code").unwrap_or_default());
        let buttons = people_buttons();
        page(
            StatusCode::OK,
            &format!(
                "<h1>Log in a device</h1><form method=post action=\"/device\"><p><label>The device's code \
                 <input name=user_code value=\"{code}\"></label></p>{buttons}\
                 <p><button name=refuse value=yes>Refuse</button></p></form>"
            ),
        )
    }

    /// The person's answer.
    pub(super) fn device_answer(&self, form: &Form) -> Response<Payload> {
        let given = form
            .value("user_code")
            .unwrap_or_default()
            .trim()
            .to_ascii_uppercase();
        let person = form
            .value("user")
            .and_then(Principal::find)
            .filter(|principal| principal.is_person());
        let answer = match (form.value("refuse"), person) {
            (Some(_), _) => Answer::Refused,
            (None, Some(person)) => Answer::Approved(person),
            (None, None) => return page(StatusCode::BAD_REQUEST, "no person was picked"),
        };
        let now = self.now_seconds();
        let mut all = lock(&self.devices.pending);
        let waiting = all
            .iter_mut()
            .find(|pending| pending.user_code == given && pending.answer.is_none());
        match waiting.filter(|pending| now - pending.from_seconds <= LIFETIME_SECONDS) {
            Some(pending) => {
                pending.answer = Some(answer);
                page(StatusCode::OK, "Done: the device goes on by itself.")
            }
            None => page(StatusCode::BAD_REQUEST, "no device waits for this code"),
        }
    }

    /// A poll at the token endpoint (RFC 8628 section 3.4).
    pub(super) fn device_token(&self, client: &str, form: &Form, key: Option<String>) -> Issued {
        is_own_client(client)?;
        let refused = |error: &'static str| (StatusCode::BAD_REQUEST, error);
        let code = form.value("device_code").unwrap_or_default();
        let now_millis = self.options.clock.now().0;
        let mut all = lock(&self.devices.pending);
        let found = all
            .iter()
            .position(|pending| pending.device_code == code && pending.client == client);
        let at = found.ok_or(refused("invalid_grant"))?;
        let pending = all.get_mut(at).ok_or(refused("invalid_grant"))?;
        if now_millis.div_euclid(1000) - pending.from_seconds > LIFETIME_SECONDS {
            return Err(refused("expired_token"));
        }
        let last = pending.polled_millis.replace(now_millis);
        // A little early is on time: clocks and networks are not exact.
        if last.is_some_and(|last| now_millis - last < INTERVAL_SECONDS * 900) {
            return Err(refused("slow_down"));
        }
        let principal = match pending.answer {
            None => return Err(refused("authorization_pending")),
            Some(Answer::Refused) => return Err(refused("access_denied")),
            Some(Answer::Approved(principal)) => principal,
        };
        let pending = all.remove(at).ok_or(refused("invalid_grant"))?;
        drop(all);
        let grant = Grant {
            principal,
            client: pending.client,
            redirect_uri: String::new(),
            challenge: String::new(),
            nonce: None,
            scope: pending.scope,
            audience: pending.audience,
            at_seconds: self.now_seconds(),
            family: random_text(12),
            key,
        };
        Ok(self.issue(&grant, true))
    }
}

/// `WDJB-MJHT`
fn user_code() -> String {
    let letters: String = random_text(8)
        .bytes()
        .filter_map(|byte| LETTERS.get(usize::from(byte) % LETTERS.len()))
        .map(|letter| char::from(*letter))
        .take(8)
        .collect();
    let (first, last) = letters.split_at_checked(4).unwrap_or_default();
    format!("{first}-{last}")
}

/// What discovery says beside the rest.
pub(super) fn discovery(url: &str) -> Value {
    json!({
        "device_authorization_endpoint": format!("{url}/device_authorization"),
        "revocation_endpoint": format!("{url}/revoke"),
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
    })
}
