//! The issuer's grants: authorization code with PKCE and client credentials; and userinfo.
//!
//! What it does: what RFC 6749, RFC 7636 and OpenID Connect Core ask of the authorization and token
//! endpoints, with a login page on which one picks a name. What it refuses to know: passwords (this is a
//! demonstration), consent. Invariants: no redirect to an address that is not loopback; codes and refresh
//! tokens work once; PKCE's `plain` is refused.

use std::collections::VecDeque;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::bound::{self, ShownKey};
use super::people::{PRINCIPALS, Principal};
use super::refresh::{is_for_people, known_client};
use super::{State, device, document, page, random_text};
use crate::server::{Payload, lock, whole};
use crate::urls::{Form, encode};

/// The client that people log in through. Public (PKCE alone), or with `WEB_CLIENT_SECRET`.
pub const WEB_CLIENT: &str = "lightkeeper-web";
pub const WEB_CLIENT_SECRET: &str = "lightkeeper-web-secret";
/// How long an authorization code lives (RFC 6749 section 4.1.2 allows ten minutes at most).
const CODE_LIFETIME_SECONDS: i64 = 60;
/// Codes, refresh tokens and access tokens remembered; the oldest goes first.
const REMEMBERED: usize = 1000;

#[derive(Default)]
pub(super) struct Flows {
    codes: Mutex<VecDeque<(String, Grant)>>,
    /// Access tokens issued here and their owners, for userinfo.
    issued: Mutex<VecDeque<(String, Grant)>>,
}

/// What a person agreed to.
#[derive(Clone)]
pub(super) struct Grant {
    pub principal: &'static Principal,
    pub client: String,
    pub redirect_uri: String,
    pub challenge: String,
    pub nonce: Option<String>,
    pub scope: String,
    pub audience: Option<String>,
    pub at_seconds: i64,
    /// The login that this goes back to; refresh tokens of one login end together.
    pub family: String,
    /// The thumbprint of the key that its tokens are bound to.
    pub key: Option<String>,
}

fn remember(store: &Mutex<VecDeque<(String, Grant)>>, grant: Grant, name: String) -> String {
    let mut store = lock(store);
    store.truncate(REMEMBERED - 1);
    store.push_front((name.clone(), grant));
    name
}

pub(super) fn take(store: &Mutex<VecDeque<(String, Grant)>>, name: &str) -> Option<Grant> {
    let mut store = lock(store);
    let at = store.iter().position(|(known, _)| known == name)?;
    store.remove(at).map(|(_, grant)| grant)
}

impl State {
    /// The authorization endpoint. `login_hint` (or the form's `user`) names who logs in; without it
    /// a page asks.
    pub(super) fn authorize(&self, ask: &Form) -> Response<Payload> {
        let value = |name: &str| ask.value(name).unwrap_or_default();
        let redirect_uri = value("redirect_uri");
        // Errors about the client or the address are shown, never redirected (RFC 6749 section 4.1.2.1).
        if !is_for_people(value("client_id")) {
            return page(StatusCode::BAD_REQUEST, "unknown client");
        }
        if !is_loopback(redirect_uri) {
            return page(
                StatusCode::BAD_REQUEST,
                "the redirect address is not registered",
            );
        }
        let refuse = |error: &str| {
            self.redirect(redirect_uri, &[("error", error), ("state", value("state"))])
        };
        if value("response_type") != "code" {
            return refuse("unsupported_response_type");
        }
        if value("code_challenge_method") != "S256" || value("code_challenge").len() != 43 {
            return refuse("invalid_request");
        }
        let wanted = ask.value("user").or(ask.value("login_hint"));
        let principal = match wanted.map(Principal::find) {
            Some(Some(principal)) if principal.is_person() => principal,
            Some(_) => return refuse("access_denied"),
            None if value("prompt") == "none" => return refuse("login_required"),
            None => return login_page(ask),
        };
        let grant = Grant {
            principal,
            client: value("client_id").to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            challenge: value("code_challenge").to_owned(),
            nonce: ask.value("nonce").map(str::to_owned),
            scope: ask.value("scope").unwrap_or("openid").to_owned(),
            audience: ask
                .value("audience")
                .or(ask.value("resource"))
                .map(str::to_owned),
            at_seconds: self.now_seconds(),
            family: random_text(12),
            key: None,
        };
        let code = remember(&self.flows.codes, grant, random_text(24));
        self.redirect(redirect_uri, &[("code", &code), ("state", value("state"))])
    }

    /// 303, with the issuer beside the answer (RFC 9207).
    fn redirect(&self, to: &str, pairs: &[(&str, &str)]) -> Response<Payload> {
        let mut location = to.to_owned();
        let mut separator = if to.contains('?') { '&' } else { '?' };
        for (name, value) in pairs
            .iter()
            .chain(&[("iss", self.url.as_str())])
            .filter(|(_, value)| !value.is_empty())
        {
            location.push(separator);
            location.push_str(&format!("{name}={}", encode(value)));
            separator = '&';
        }
        let mut response = Response::new(whole(""));
        match HeaderValue::from_str(&location) {
            Ok(location) => {
                *response.status_mut() = StatusCode::SEE_OTHER;
                response.headers_mut().insert(header::LOCATION, location);
            }
            Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        response
    }

    /// The token endpoint.
    pub(super) fn token(&self, headers: &HeaderMap, form: &Form) -> Response<Payload> {
        let Some((client, secret)) = client_of(headers, form) else {
            return refused(StatusCode::UNAUTHORIZED, "invalid_client");
        };
        let url = format!("{}/token", self.url);
        let nonce = self.options.proof_nonce.as_deref();
        let key = match bound::shown(headers, &url, nonce, self.now_seconds()) {
            Ok(ShownKey::None) => None,
            Ok(ShownKey::Bound(key)) => Some(key),
            Err(error) => {
                let mut response = refused(StatusCode::BAD_REQUEST, error);
                if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::from_str(nonce).ok()) {
                    response.headers_mut().insert("dpop-nonce", nonce);
                }
                return response;
            }
        };
        let secret = secret.as_deref();
        let answer = match form.value("grant_type") {
            Some("client_credentials") => self.client_credentials(&client, secret, form, key),
            Some("authorization_code") => self.code(&client, secret, form, key),
            Some("refresh_token") => self.refresh(&client, secret, form, key),
            Some(device::GRANT_TYPE) => self.device_token(&client, form, key),
            Some(_) => Err((StatusCode::BAD_REQUEST, "unsupported_grant_type")),
            None => Err((StatusCode::BAD_REQUEST, "invalid_request")),
        };
        match answer {
            Ok(tokens) => document(StatusCode::OK, &tokens),
            Err((status, error)) => refused(status, error),
        }
    }

    fn client_credentials(
        &self,
        client: &str,
        secret: Option<&str>,
        form: &Form,
        key: Option<String>,
    ) -> Issued {
        let principal = PRINCIPALS
            .iter()
            .find(|principal| principal.name == client && !principal.is_person());
        let known = principal.filter(|principal| principal.secret == secret);
        let principal = known.ok_or((StatusCode::UNAUTHORIZED, "invalid_client"))?;
        let grant = Grant {
            principal,
            client: client.to_owned(),
            redirect_uri: String::new(),
            challenge: String::new(),
            nonce: None,
            scope: form.value("scope").unwrap_or_default().to_owned(),
            audience: form
                .value("audience")
                .or(form.value("resource"))
                .map(str::to_owned),
            at_seconds: self.now_seconds(),
            family: random_text(12),
            key,
        };
        Ok(self.issue(&grant, false))
    }

    fn code(&self, client: &str, secret: Option<&str>, form: &Form, key: Option<String>) -> Issued {
        known_client(client, secret)?;
        let invalid = (StatusCode::BAD_REQUEST, "invalid_grant");
        // Taken before it is checked: a code that was tried wrongly is spent.
        let grant =
            take(&self.flows.codes, form.value("code").unwrap_or_default()).ok_or(invalid)?;
        let verifier = form.value("code_verifier").unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
        let proven = (43..=128).contains(&verifier.len())
            && URL_SAFE_NO_PAD.encode(digest) == grant.challenge;
        let fresh = self.now_seconds() - grant.at_seconds <= CODE_LIFETIME_SECONDS;
        if !proven
            || !fresh
            || grant.client != client
            || form.value("redirect_uri") != Some(&grant.redirect_uri)
        {
            return Err(invalid);
        }
        Ok(self.issue(&Grant { key, ..grant }, true))
    }

    pub(super) fn issue(&self, grant: &Grant, login: bool) -> Value {
        let algorithm = self.algorithm();
        let keys = self.current();
        let mut claims = self.claims_about(grant.principal);
        claims = claims
            .set("client_id", grant.client.as_str())
            .set("scope", grant.scope.as_str());
        if let Some(audience) = grant
            .audience
            .as_ref()
            .filter(|_| !self.options.ignores_resource)
        {
            claims = claims.audience(audience);
        }
        if let Some(key) = &grant.key {
            claims = claims.set("cnf", json!({ "jkt": key }));
        }
        let kind = if grant.key.is_some() {
            "DPoP"
        } else {
            "Bearer"
        };
        // RFC 9068 section 2.1: the type keeps an access token from passing for an ID token.
        let access = self.mint(&keys, json!({ "typ": "at+jwt" }), &claims.into(), algorithm);
        remember(&self.flows.issued, grant.clone(), access.clone());
        let mut answer = json!({ "access_token": access, "token_type": kind, "expires_in": self.options.lifetime_seconds });
        let Some(members) = answer.as_object_mut() else {
            return answer;
        };
        if !grant.scope.is_empty() {
            members.insert("scope".into(), grant.scope.clone().into());
        }
        if login && grant.scope.split(' ').any(|scope| scope == "openid") {
            let mut claims = self.claims_about(grant.principal);
            claims = claims
                .audience(&grant.client)
                .set("azp", grant.client.as_str())
                .set("auth_time", grant.at_seconds);
            if let Some(nonce) = &grant.nonce {
                claims = claims.set("nonce", nonce.as_str());
            }
            members.insert(
                "id_token".into(),
                self.mint(&keys, json!({}), &claims.into(), algorithm)
                    .into(),
            );
        }
        if login
            && grant
                .scope
                .split(' ')
                .any(|scope| scope == "offline_access")
        {
            let token = remember(&self.refreshes.live, grant.clone(), random_text(24));
            members.insert("refresh_token".into(), token.into());
        }
        answer
    }

    /// The userinfo endpoint: the claims of the owner of an access token that was issued here.
    pub(super) fn userinfo(&self, headers: &HeaderMap) -> Response<Payload> {
        let presented = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = presented
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        let issued = lock(&self.flows.issued);
        match issued.iter().find(|(known, _)| known == token) {
            Some((_, grant)) => document(StatusCode::OK, &grant.principal.claims()),
            None => refused(StatusCode::UNAUTHORIZED, "invalid_token"),
        }
    }
}

pub(super) type Issued = Result<Value, (StatusCode, &'static str)>;

pub(super) fn web_client(
    client: &str,
    secret: Option<&str>,
) -> Result<(), (StatusCode, &'static str)> {
    let known = client == WEB_CLIENT && secret.is_none_or(|secret| secret == WEB_CLIENT_SECRET);
    known
        .then_some(())
        .ok_or((StatusCode::UNAUTHORIZED, "invalid_client"))
}

/// The client and its secret, from HTTP Basic (both form-encoded, RFC 6749 section 2.3.1) or the form.
pub(super) fn client_of(headers: &HeaderMap, form: &Form) -> Option<(String, Option<String>)> {
    let Some(presented) = headers.get(header::AUTHORIZATION) else {
        return Some((
            form.value("client_id")?.to_owned(),
            form.value("client_secret").map(str::to_owned),
        ));
    };
    let encoded = presented.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (client, secret) = pair.split_once(':')?;
    let part = |text: &str| crate::urls::decode(&text.replace('+', " "));
    Some((part(client), Some(part(secret))))
}

fn refused(status: StatusCode, error: &str) -> Response<Payload> {
    let mut response = document(status, &json!({ "error": error }));
    if status == StatusCode::UNAUTHORIZED {
        let challenge =
            HeaderValue::from_static("Basic realm=\"acme\", Bearer error=\"invalid_token\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Whether an address is on this machine, any port and path (RFC 8252 section 7.3).
pub(super) fn is_loopback(uri: &str) -> bool {
    let Ok(uri) = uri.parse::<http::Uri>() else {
        return false;
    };
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    scheme && plain && matches!(uri.host(), Some("127.0.0.1" | "[::1]" | "localhost"))
}

fn login_page(ask: &Form) -> Response<Payload> {
    let hidden = ask.pairs().iter().filter(|(name, _)| name != "user");
    let fields: String = hidden
        .map(|(name, value)| {
            format!(
                "<input type=hidden name=\"{}\" value=\"{}\">",
                escape(name),
                escape(value)
            )
        })
        .collect();
    let buttons = people_buttons();
    page(
        StatusCode::OK,
        &format!(
            "<h1>Sign in to acme</h1><p>A demonstration: pick who you are.</p>\
             <form method=post action=\"/authorize\">{fields}{buttons}</form>"
        ),
    )
}

/// One button for each sample person.
pub(super) fn people_buttons() -> String {
    let people = PRINCIPALS.iter().filter(|principal| principal.is_person());
    let button = |person: &Principal| {
        let groups = if person.groups.is_empty() {
            "no group".to_owned()
        } else {
            person.groups.join(", ")
        };
        format!(
            "<p><button name=user value=\"{0}\">{0}</button> {groups}</p>",
            person.name
        )
    };
    people.map(button).collect()
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_redirected_to() {
        for (uri, allowed) in [
            ("http://127.0.0.1:8080/callback", true),
            ("https://localhost/x?y=z", true),
            ("http://[::1]:1/", true),
            ("http://evil.example/", false),
            ("http://127.0.0.1@evil.example/", false),
            ("http://localhost.evil.example/", false),
            ("javascript:alert(1)", false),
            ("/relative", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(uri), allowed, "{uri}");
        }
    }

    #[test]
    fn a_login_page_cannot_be_written_into() {
        assert_eq!(
            escape("\"><script>'&"),
            "&quot;&gt;&lt;script&gt;&#39;&amp;"
        );
    }
}
