//! AWS's Security Token Service, in small: it says who signed a presigned call.
//!
//! What it does: checks the signatures of `GetCallerIdentity` with keys that it was told, over TLS under the names that AWS's
//! hosts have, and fails on request. What it refuses to know: the gateway, and its rules: it takes what AWS would take. Invariants:
//! a caller is told only for a signature that holds over host and audience as they came; what it keeps of calls is bounded.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http::Request;
use hyper::body::Incoming;
use serde_json::json;
use tempfile::TempDir;

use super::certificates::{Authority, LeafPlan, San};
use super::double::{Double, Mood, headers_of, json_answer, listener, path_of};
use super::server::{Connection, Reply, Server, ServerTls, Service, lock};
use super::sigv4::{AwsKeys, Signed, amz_date};
use lightkeeper::clock::Clock;

/// For how long a signature holds, whatever it says itself.
const LIFE_SECONDS: i64 = 900;

/// Who has some keys, in STS's words.
#[derive(Clone, Debug)]
pub struct AwsCaller {
    pub keys: AwsKeys,
    pub account: String,
    pub arn: String,
    pub user_id: String,
}

impl AwsCaller {
    /// A session of a role, with keys that are made of the names.
    pub fn role(account: &str, role: &str, session: &str) -> Self {
        let unique = unique_id("AROA", account, role);
        AwsCaller {
            keys: AwsKeys {
                access_key: unique_id("ASIA", account, &format!("{role}{session}")),
                secret_key: format!("secret/of+{role}/{session}"),
                session_token: Some(format!("IQoJb3JpZ2lu//{role}+{session}==").replace('-', "")),
            },
            account: account.to_owned(),
            arn: format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"),
            user_id: format!("{unique}:{session}"),
        }
    }

    /// A user with lasting keys.
    pub fn user(account: &str, name: &str) -> Self {
        AwsCaller {
            keys: AwsKeys {
                access_key: unique_id("AKIA", account, name),
                secret_key: format!("secret/of+{name}"),
                session_token: None,
            },
            account: account.to_owned(),
            arn: format!("arn:aws:iam::{account}:user/{name}"),
            user_id: unique_id("AIDA", account, name),
        }
    }
}

/// An ID as AWS has them: a kind, and letters and digits.
fn unique_id(kind: &str, account: &str, name: &str) -> String {
    let letters: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    format!("{kind}{account}{letters}")
}

/// One call as it came.
#[derive(Clone, Debug)]
pub struct StsCall {
    /// Path and query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub status: u16,
}

/// A running STS. Dropping it stops it.
pub struct Sts {
    server: Server,
    state: Arc<State>,
    folder: TempDir,
}

struct State {
    /// Unix seconds.
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    callers: Mutex<Vec<AwsCaller>>,
    double: Double<StsCall>,
}

impl Sts {
    /// Starts on a loopback port, as the hosts of these regions. `now`: Unix seconds.
    pub async fn start(
        regions: &[&str],
        now: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let authority = Authority::new("AWS, in small", &Clock::system())?;
        let names = regions
            .iter()
            .map(|region| San::Dns(format!("sts.{region}.amazonaws.com")))
            .chain([San::Dns("sts.amazonaws.com".to_owned())])
            .collect();
        let leaf = authority.issue(&LeafPlan {
            names,
            ..LeafPlan::server()
        })?;
        let tls = ServerTls {
            certificates: leaf.certificate,
            key: leaf.key,
            client_ca: None,
        };
        let failed = |error: std::io::Error| format!("STS cannot start: {error}");
        let folder = tempfile::Builder::new()
            .prefix("lightkeeper-sts-")
            .tempdir()
            .map_err(failed)?;
        std::fs::write(folder.path().join("ca.pem"), authority.certificate()).map_err(failed)?;
        let listener = listener().await.map_err(failed)?;
        let state = Arc::new(State {
            now: Box::new(now),
            callers: Mutex::default(),
            double: Double::default(),
        });
        let config = tls.server_config().map_err(failed)?;
        let server = Server::start(listener, Some(config), state.clone())
            .await
            .map_err(failed)?;
        Ok(Sts {
            server,
            state,
            folder,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// PEM: who vouches for its certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The folder that it keeps things in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Knows one caller more, and gives it back.
    pub fn add(&self, caller: AwsCaller) -> AwsCaller {
        lock(&self.state.callers).push(caller.clone());
        caller
    }

    /// Fails from now on, or no longer.
    pub fn fail(&self, mood: Option<Mood>) {
        self.state.double.fail(mood);
    }

    /// What came, oldest first.
    pub fn calls(&self) -> Vec<StsCall> {
        self.state.double.calls()
    }

    /// Keeps nothing of what came.
    pub fn forget(&self) {
        self.state.double.forget();
    }

    /// Connecting is refused from now on.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again on the same port.
    pub async fn restart(&self) -> Result<(), String> {
        let failed = |error| format!("STS cannot listen again: {error}");
        self.server.restart().await.map_err(failed)
    }
}

impl Service for State {
    fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Connection) -> Reply {
        Box::pin(async move {
            let judge = || self.judge(&request);
            let (status, body) = self.double.answer(&connection, judge).await;
            self.double.keep(StsCall {
                path: path_of(request.uri()),
                headers: headers_of(request.headers()),
                status,
            });
            json_answer(status, body)
        })
    }
}

impl State {
    /// Status and body.
    fn judge(&self, request: &Request<Incoming>) -> (u16, String) {
        match self.caller(request) {
            Ok(caller) => {
                let result = json!({
                    "Account": caller.account,
                    "Arn": caller.arn,
                    "UserId": caller.user_id,
                });
                let answer = json!({ "GetCallerIdentityResponse": {
                    "GetCallerIdentityResult": result,
                    "ResponseMetadata": { "RequestId": "01234567-89ab-cdef-0123-456789abcdef" },
                }});
                (200, answer.to_string())
            }
            Err((status, code)) => {
                let error = json!({ "Code": code, "Message": "no", "Type": "Sender" });
                let answer = json!({ "Error": error, "RequestId": "01234567" });
                (status, answer.to_string())
            }
        }
    }

    /// Who signed; or status and code.
    fn caller(&self, request: &Request<Incoming>) -> Result<AwsCaller, (u16, &'static str)> {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        if request.method() != http::Method::GET || uri.path() != "/" {
            return Err((400, "InvalidAction"));
        }
        let value = |name: &str| -> Result<String, (u16, &'static str)> {
            let mut found = query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .filter(|(known, _)| *known == name);
            match (found.next(), found.next()) {
                (Some((_, value)), None) => Ok(decode(value)),
                _ => Err((400, "IncompleteSignature")),
            }
        };
        if value("Action")? != "GetCallerIdentity" || value("Version")? != "2011-06-15" {
            return Err((400, "InvalidAction"));
        }
        let credential = value("X-Amz-Credential")?;
        let (access_key, scope) = credential.split_once('/').unwrap_or_default();
        let callers = lock(&self.callers);
        let caller = callers
            .iter()
            .find(|caller| caller.keys.access_key == access_key)
            .ok_or((403, "InvalidClientTokenId"))?;
        let token = value("X-Amz-Security-Token").ok();
        if token != caller.keys.session_token {
            return Err((403, "InvalidClientTokenId"));
        }
        let date = value("X-Amz-Date")?;
        let now = (self.now)();
        if date < amz_date(now - LIFE_SECONDS) || date > amz_date(now + 300) {
            return Err((403, "SignatureDoesNotMatch"));
        }
        let signed_headers = value("X-Amz-SignedHeaders")?;
        let header_of = |name: &str| {
            let value = request.headers().get(name);
            let value = value.and_then(|value| value.to_str().ok());
            value
                .or(uri.host().filter(|_| name == "host"))
                .unwrap_or_default()
                .to_owned()
        };
        let headers: Vec<(String, String)> = signed_headers
            .split(';')
            .map(|name| (name.to_owned(), header_of(name)))
            .collect();
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut pairs: Vec<&str> = query
            .split('&')
            .filter(|pair| !pair.starts_with("X-Amz-Signature="))
            .collect();
        pairs.sort_unstable();
        let signed = Signed {
            method: "GET",
            body: b"",
            query: &pairs.join("&"),
            headers: &headers,
            date: &date,
            scope,
        };
        if signed.signature(&caller.keys.secret_key) == value("X-Amz-Signature")? {
            Ok(caller.clone())
        } else {
            Err((403, "SignatureDoesNotMatch"))
        }
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits: Vec<u8> = rest.by_ref().take(2).collect();
        let digits = String::from_utf8_lossy(&digits).into_owned();
        bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
