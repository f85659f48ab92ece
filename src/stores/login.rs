//! Logging in to Vault, and staying logged in.
//!
//! What it does: proves the gateway by a role, a service account, a signed call to AWS or a token that is there already, opens a
//! wrapped secret ID once, and renews what it got. What it refuses to know: which secrets are read. Invariants: a wrapping token is sent once; a
//! token is renewed after two thirds of its life, and a renewal that fails is a new login; one login is under way at a time.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::kv2::{StoreWire, of_status, parsed};
use super::{AwsLogin, StoreFault, StoreLogin};
use crate::aws::{AwsCall, HeaderSigner};
use crate::clock::UnixMillis;
use crate::secret::{Secret, SecretRef};

/// The call by which AWS says who signed it.
const IDENTITY_CALL: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// A login, and what came of it.
pub(super) struct LoginKeeper {
    how: StoreLogin,
    /// For logins by AWS.
    signer: Option<HeaderSigner>,
    state: tokio::sync::Mutex<LoginState>,
}

#[derive(Default)]
struct LoginState {
    session: Option<StoreSession>,
    unwrapped: Option<Unwrapped>,
}

struct StoreSession {
    token: Arc<Secret>,
    /// From then on it is renewed; `None`: it does not end.
    renew_at: Option<UnixMillis>,
    ends_at: Option<UnixMillis>,
    is_renewable: bool,
}

/// What a wrapping token gave.
struct Unwrapped {
    /// Of the wrapping token.
    fingerprint: String,
    /// `None`: it could not be opened.
    secret_id: Option<Secret>,
}

#[derive(Deserialize)]
struct LoginAnswer {
    auth: LoginAuth,
}

#[derive(Deserialize)]
struct LoginAuth {
    client_token: String,
    #[serde(default)]
    lease_duration: u32,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct UnwrapAnswer {
    data: UnwrapData,
}

#[derive(Deserialize)]
struct UnwrapData {
    secret_id: String,
}

impl LoginKeeper {
    pub(super) fn new(how: StoreLogin) -> Self {
        let signer = match &how {
            StoreLogin::Aws(login) => Some(HeaderSigner::new(login.signing.clone())),
            _ => None,
        };
        LoginKeeper {
            how,
            signer,
            state: tokio::sync::Mutex::default(),
        }
    }

    /// A token that should hold now.
    pub(super) async fn token(
        &self,
        wire: &StoreWire,
        now: UnixMillis,
    ) -> Result<Arc<Secret>, StoreFault> {
        if let StoreLogin::Token(reference) = &self.how {
            return Ok(Arc::new(reference.open()?));
        }
        let mut state = self.state.lock().await;
        if let Some(session) = &mut state.session {
            if session.renew_at.is_none_or(|at| now < at) {
                return Ok(session.token.clone());
            }
            let renewed = if session.is_renewable {
                renew(wire, &session.token, now).await
            } else {
                Err(StoreFault::LoginRefused)
            };
            match renewed {
                Ok(next) => {
                    let token = next.token.clone();
                    *session = next;
                    return Ok(token);
                }
                // The old one holds for a while yet.
                Err(fault)
                    if !matches!(fault, StoreFault::LoginRefused)
                        && session.ends_at.is_none_or(|at| now < at) =>
                {
                    return Ok(session.token.clone());
                }
                Err(_) => state.session = None,
            }
        }
        let session = self.log_in(wire, &mut state, now).await?;
        let token = session.token.clone();
        state.session = Some(session);
        Ok(token)
    }

    /// Forgets a token that was refused; false: another login gives no other one.
    pub(super) async fn forget(&self, token: &Arc<Secret>) -> bool {
        if matches!(self.how, StoreLogin::Token(_)) {
            return false;
        }
        let mut state = self.state.lock().await;
        if state
            .session
            .as_ref()
            .is_some_and(|session| Arc::ptr_eq(&session.token, token))
        {
            state.session = None;
        }
        true
    }

    async fn log_in(
        &self,
        wire: &StoreWire,
        state: &mut LoginState,
        now: UnixMillis,
    ) -> Result<StoreSession, StoreFault> {
        let (mount, body) = match &self.how {
            StoreLogin::Token(_) => return Err(StoreFault::LoginRefused),
            StoreLogin::AppRole {
                mount,
                role_id,
                secret_id,
                wrapped,
            } => {
                let role_id = role_id.open()?;
                let given = secret_id.open()?;
                let opened = match wrapped {
                    true => Some(unwrapped(wire, state, &given).await?),
                    false => None,
                };
                let secret_id = opened.unwrap_or(&given);
                let body = json!({ "role_id": text(&role_id), "secret_id": text(secret_id) });
                (mount, body)
            }
            StoreLogin::Kubernetes { mount, role, token } => {
                let token = SecretRef::open(token)?;
                (mount, json!({ "role": role, "jwt": text(&token) }))
            }
            StoreLogin::Aws(login) => {
                let signer = self.signer.as_ref().ok_or(StoreFault::LoginRefused)?;
                (&login.mount, signed(login, signer, now).await?)
            }
        };
        let path = format!("/v1/auth/{mount}/login");
        let body = body.to_string().into_bytes();
        let answer = wire.ask(Method::POST, &path, None, Some(body)).await?;
        match answer.status().as_u16() {
            200 => session(answer.body(), now),
            400 | 401 | 403 => Err(StoreFault::LoginRefused),
            status => Err(of_status(status)),
        }
    }
}

/// A signed call, in the parts from which Vault makes it
/// (<https://developer.hashicorp.com/vault/api-docs/auth/aws#login>).
async fn signed(
    login: &AwsLogin,
    signer: &HeaderSigner,
    now: UnixMillis,
) -> Result<serde_json::Value, StoreFault> {
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    let mut given = vec![("content-type", form)];
    if let Some(server) = &login.server_id {
        given.push(("x-vault-aws-iam-server-id", server));
    }
    let call = AwsCall {
        service: "sts",
        host: &login.host,
        headers: &given,
        body: IDENTITY_CALL.as_bytes(),
    };
    let signature = signer.sign(&call, now).await?;
    let mut headers = serde_json::Map::new();
    for (name, value) in given {
        headers.insert(name.to_owned(), json!([value]));
    }
    for (name, value) in &signature {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers.insert(name.as_str().to_owned(), json!([value]));
    }
    let headers = Zeroizing::new(serde_json::Value::from(headers).to_string());
    Ok(json!({
        "role": login.role,
        "iam_http_request_method": "POST",
        "iam_request_url": STANDARD.encode(format!("https://{}/", login.host)),
        "iam_request_body": STANDARD.encode(IDENTITY_CALL),
        "iam_request_headers": STANDARD.encode(headers.as_bytes()),
    }))
}

/// Secrets are printable ASCII.
fn text(secret: &Secret) -> &str {
    std::str::from_utf8(secret.expose()).unwrap_or_default()
}

async fn renew(
    wire: &StoreWire,
    token: &Secret,
    now: UnixMillis,
) -> Result<StoreSession, StoreFault> {
    let path = "/v1/auth/token/renew-self";
    let body = Some(b"{}".to_vec());
    let answer = wire.ask(Method::POST, path, Some(token), body).await?;
    match answer.status().as_u16() {
        200 => session(answer.body(), now),
        400 | 403 => Err(StoreFault::LoginRefused),
        status => Err(of_status(status)),
    }
}

/// The secret ID behind a wrapping token. Each is tried once: a second try would say nothing else, and hide the alarm.
async fn unwrapped<'s>(
    wire: &StoreWire,
    state: &'s mut LoginState,
    wrapping: &Secret,
) -> Result<&'s Secret, StoreFault> {
    let fingerprint = wrapping.fingerprint();
    let is_known = state
        .unwrapped
        .as_ref()
        .is_some_and(|known| known.fingerprint == fingerprint);
    if !is_known {
        let path = "/v1/sys/wrapping/unwrap";
        let body = Some(b"{}".to_vec());
        let answer = wire.ask(Method::POST, path, Some(wrapping), body).await?;
        let secret_id = match answer.status().as_u16() {
            200 => {
                let UnwrapAnswer { data } = parsed(answer.body())?;
                let opened = Secret::of_text(data.secret_id.into_bytes());
                Some(opened.map_err(StoreFault::Unusable)?)
            }
            400 | 403 | 404 => None,
            status => return Err(of_status(status)),
        };
        state.unwrapped = Some(Unwrapped {
            fingerprint,
            secret_id,
        });
    }
    let known = state.unwrapped.as_ref();
    known
        .and_then(|known| known.secret_id.as_ref())
        .ok_or(StoreFault::Unwrap)
}

fn session(body: &Zeroizing<Vec<u8>>, now: UnixMillis) -> Result<StoreSession, StoreFault> {
    let LoginAnswer { auth } = parsed(body)?;
    let token = Secret::of_text(auth.client_token.into_bytes()).map_err(StoreFault::Unusable)?;
    let life = i64::from(auth.lease_duration) * 1000;
    let at = |after: i64| (life > 0).then_some(UnixMillis(now.0.saturating_add(after)));
    Ok(StoreSession {
        token: Arc::new(token),
        renew_at: at(life / 3 * 2),
        ends_at: at(life),
        is_renewable: auth.renewable,
    })
}
