//! HashiCorp Vault, in small: the secrets engine KV (version 2), logins, and tokens that end.
//!
//! What it does: answers the endpoints that a reader of secrets asks, as Vault's API documentation has them, with versions,
//! leases and wrapped secret IDs, and fails on request. What it refuses to know: the gateway. Invariants: a token that it did
//! not give, or that has ended, reads nothing; a wrapping token opens once; what it keeps of calls is bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::double::{Double, Mood, body_of, json_answer, listener, path_of};
use super::server::{Connection, Reply, Server, Service, lock};
use super::sigv4::HeaderSigned;
use super::sts::AwsCaller;

/// What an AppRole is proven by.
pub const ROLE_ID: &str = "role-id-of-the-gateway";
pub const SECRET_ID: &str = "secret-id-of-the-gateway";
/// The service account's token that Kubernetes vouches for, and its role.
pub const ACCOUNT_TOKEN: &str = "token.of-the-service.account";
pub const ACCOUNT_ROLE: &str = "lightkeeper";
/// What signed calls to AWS must name, and the role that they prove.
pub const SERVER_ID: &str = "vault.example";
pub const AWS_ROLE: &str = "lightkeeper-aws";

/// One call as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreCall {
    /// Path and query.
    pub path: String,
    pub namespace: Option<String>,
    pub status: u16,
}

/// A running store. Dropping it stops it.
pub struct SecretStoreServer {
    server: Server,
    state: Arc<State>,
}

/// One version of a secret; `None`: it was deleted.
type Fields = Option<BTreeMap<String, String>>;

struct Lease {
    ends_at: i64,
    is_revoked: bool,
}

struct State {
    /// Unix seconds.
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    mount: String,
    secrets: Mutex<BTreeMap<String, Vec<Fields>>>,
    /// Tokens that were given.
    leases: Mutex<BTreeMap<String, Lease>>,
    /// Wrapping tokens, and whether they were opened.
    wrapped: Mutex<BTreeMap<String, bool>>,
    /// Seconds; 0: for ever.
    lease_seconds: Mutex<i64>,
    forbidden: Mutex<Vec<String>>,
    /// Who may log in by a signed call to AWS.
    callers: Mutex<Vec<AwsCaller>>,
    double: Double<StoreCall>,
}

impl SecretStoreServer {
    /// Starts on a loopback port, in plain text, with the engine at `secret`. `now`: Unix seconds.
    pub async fn start(now: impl Fn() -> i64 + Send + Sync + 'static) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the store cannot start: {error}");
        let listener = listener().await.map_err(failed)?;
        let state = Arc::new(State {
            now: Box::new(now),
            mount: "secret".to_owned(),
            secrets: Mutex::default(),
            leases: Mutex::default(),
            wrapped: Mutex::default(),
            lease_seconds: Mutex::new(3600),
            forbidden: Mutex::default(),
            callers: Mutex::default(),
            double: Double::default(),
        });
        let server = Server::start(listener, None, state.clone());
        Ok(SecretStoreServer {
            server: server.await.map_err(failed)?,
            state,
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Writes a secret's next version, and gives its number.
    pub fn put(&self, path: &str, fields: &[(&str, &str)]) -> u64 {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut secrets = lock(&self.state.secrets);
        let versions = secrets.entry(path.to_owned()).or_default();
        versions.push(Some(fields.collect()));
        versions.len() as u64
    }

    /// Deletes a version; what is left of it says so.
    pub fn delete(&self, path: &str, version: u64) {
        let mut secrets = lock(&self.state.secrets);
        let place = usize::try_from(version).unwrap_or_default().wrapping_sub(1);
        if let Some(version) = secrets.get_mut(path).and_then(|all| all.get_mut(place)) {
            *version = None;
        }
    }

    /// A token that opens the secret ID once.
    pub fn wrap(&self, token: &str) {
        lock(&self.state.wrapped).insert(token.to_owned(), false);
    }

    /// For how long tokens hold that are given from now on, in seconds.
    pub fn lease(&self, seconds: i64) {
        *lock(&self.state.lease_seconds) = seconds;
    }

    /// Ends every token that was given.
    pub fn revoke_all(&self) {
        lock(&self.state.leases)
            .values_mut()
            .for_each(|lease| lease.is_revoked = true);
    }

    /// Lets no token read a path.
    pub fn forbid(&self, path: &str) {
        lock(&self.state.forbidden).push(path.to_owned());
    }

    /// Fails from now on, or no longer.
    pub fn fail(&self, mood: Option<Mood>) {
        self.state.double.fail(mood);
    }

    /// Lets one caller of AWS more log in.
    pub fn know(&self, caller: &AwsCaller) {
        lock(&self.state.callers).push(caller.clone());
    }

    /// What came, oldest first.
    pub fn calls(&self) -> Vec<StoreCall> {
        self.state.double.calls()
    }

    /// Connecting is refused from now on.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again on the same port.
    pub async fn restart(&self) -> Result<(), String> {
        let failed = |error| format!("the store cannot listen again: {error}");
        self.server.restart().await.map_err(failed)
    }
}

impl Service for State {
    fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Connection) -> Reply {
        Box::pin(async move {
            let (head, body) = body_of(request).await;
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let text = |name: &str| {
                let value = head.headers.get(name)?;
                Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let path = path_of(&head.uri);
            let judge = || {
                let token = text("x-vault-token");
                let (status, body) = self.judge(&head.method, &path, token, &body);
                (status, body.to_string())
            };
            let (status, told) = self.double.answer(&connection, judge).await;
            self.double.keep(StoreCall {
                path,
                namespace: text("x-vault-namespace"),
                status,
            });
            json_answer(status, told)
        })
    }
}

fn errors(status: u16, words: &str) -> (u16, Value) {
    (status, json!({ "errors": [words] }))
}

impl State {
    fn judge(
        &self,
        method: &Method,
        path: &str,
        token: Option<String>,
        body: &Value,
    ) -> (u16, Value) {
        let said = |key: &str| body.get(key).and_then(Value::as_str);
        match (method.as_str(), path) {
            ("POST", "/v1/auth/approle/login") => {
                if (said("role_id"), said("secret_id")) == (Some(ROLE_ID), Some(SECRET_ID)) {
                    (200, self.give())
                } else {
                    errors(400, "invalid role or secret ID")
                }
            }
            ("POST", "/v1/auth/kubernetes/login") => {
                if (said("role"), said("jwt")) == (Some(ACCOUNT_ROLE), Some(ACCOUNT_TOKEN)) {
                    (200, self.give())
                } else {
                    errors(403, "permission denied")
                }
            }
            ("POST", "/v1/auth/aws/login") => match self.is_proven(body) {
                Some(()) => (200, self.give()),
                None => errors(400, "error making upstream request"),
            },
            ("POST", "/v1/sys/wrapping/unwrap") => self.unwrap(token.as_deref()),
            ("POST", "/v1/auth/token/renew-self") => self.renew(token.as_deref()),
            ("GET", path) => self.read(path, token.as_deref()),
            _ => errors(405, "unsupported operation"),
        }
    }

    /// Whether a signed call of `GetCallerIdentity` is by one who may log in, and names this server.
    fn is_proven(&self, body: &Value) -> Option<()> {
        let said = |key: &str| body.get(key).and_then(Value::as_str);
        let decoded = |key: &str| STANDARD.decode(said(key)?).ok();
        let url = String::from_utf8(decoded("iam_request_url")?).ok()?;
        let host = url.strip_prefix("https://")?.strip_suffix('/')?;
        let given: BTreeMap<String, Vec<String>> =
            serde_json::from_slice(&decoded("iam_request_headers")?).ok()?;
        let given = given.into_iter();
        let mut headers: Vec<(String, String)> = given
            .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
            .map(|(name, values)| (name.to_lowercase(), values.join(",")))
            .collect();
        headers.push(("host".to_owned(), host.to_owned()));
        let call = decoded("iam_request_body")?;
        let signed = HeaderSigned {
            method: said("iam_http_request_method")?,
            headers: &headers,
            body: &call,
            service: "sts",
        };
        let names_this = signed.header("x-vault-aws-iam-server-id") == Some(SERVER_ID)
            && signed.signed_names().contains(&"x-vault-aws-iam-server-id");
        let is_call = call == b"Action=GetCallerIdentity&Version=2011-06-15"
            && host.starts_with("sts.")
            && said("iam_http_request_method") == Some("POST")
            && said("role") == Some(AWS_ROLE);
        let callers = lock(&self.callers);
        let keys = |access_key: &str| {
            let mut keys = callers.iter().map(|caller| &caller.keys);
            keys.find(|keys| keys.access_key == access_key).cloned()
        };
        let signer = signed.signer(keys, (self.now)());
        (names_this && is_call && signer.is_ok()).then_some(())
    }

    fn give(&self) -> Value {
        let seconds = *lock(&self.lease_seconds);
        let mut leases = lock(&self.leases);
        let token = format!("hvs.token-{}", leases.len() + 1);
        leases.insert(
            token.clone(),
            Lease {
                ends_at: self.ends_at(seconds),
                is_revoked: false,
            },
        );
        json!({ "auth": { "client_token": token, "lease_duration": seconds, "renewable": true } })
    }

    fn ends_at(&self, seconds: i64) -> i64 {
        match seconds {
            0 => i64::MAX,
            seconds => (self.now)() + seconds,
        }
    }

    fn holds(&self, token: Option<&str>) -> bool {
        let leases = lock(&self.leases);
        let lease = token.and_then(|token| leases.get(token));
        lease.is_some_and(|lease| !lease.is_revoked && (self.now)() < lease.ends_at)
    }

    fn renew(&self, token: Option<&str>) -> (u16, Value) {
        if !self.holds(token) {
            return errors(403, "permission denied");
        }
        let seconds = *lock(&self.lease_seconds);
        let mut leases = lock(&self.leases);
        let token = token.unwrap_or_default();
        if let Some(lease) = leases.get_mut(token) {
            lease.ends_at = self.ends_at(seconds);
        }
        let auth = json!({ "client_token": token, "lease_duration": seconds, "renewable": true });
        (200, json!({ "auth": auth }))
    }

    fn unwrap(&self, token: Option<&str>) -> (u16, Value) {
        let mut wrapped = lock(&self.wrapped);
        match token.and_then(|token| wrapped.get_mut(token)) {
            Some(is_opened) if !*is_opened => {
                *is_opened = true;
                (200, json!({ "data": { "secret_id": SECRET_ID } }))
            }
            _ => errors(400, "wrapping token is not valid or does not exist"),
        }
    }

    fn read(&self, path: &str, token: Option<&str>) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let begin = format!("/v1/{}/data/", self.mount);
        let forbidden = lock(&self.forbidden);
        let Some(path) = path.strip_prefix(&begin) else {
            return (404, json!({ "errors": [] }));
        };
        if !self.holds(token) || forbidden.iter().any(|one| one == path) {
            return errors(403, "permission denied");
        }
        let secrets = lock(&self.secrets);
        let Some(versions) = secrets.get(path) else {
            return (404, json!({ "errors": [] }));
        };
        let asked: Option<usize> = query.strip_prefix("version=").and_then(|n| n.parse().ok());
        let number = asked.unwrap_or(versions.len());
        let metadata = |deleted: &str| json!({ "version": number, "created_time": "2026-01-01T00:00:00Z", "deletion_time": deleted, "destroyed": false });
        match versions.get(number.wrapping_sub(1)) {
            None => (404, json!({ "errors": [] })),
            Some(None) => {
                let metadata = metadata("2026-01-02T00:00:00Z");
                (
                    404,
                    json!({ "data": { "data": null, "metadata": metadata } }),
                )
            }
            Some(Some(fields)) => (
                200,
                json!({ "data": { "data": fields, "metadata": metadata("") } }),
            ),
        }
    }
}
