//! An embedded OIDC issuer: discovery, JWKS, token, authorization and userinfo endpoints on loopback.
//!
//! What it does: behaves as an identity provider of the organization `acme` would (OpenID Connect Core
//! and Discovery 1.0, RFC 6749, RFC 7636, RFC 9068), mints whatever a test asks for, rotates its keys and
//! fails on request. What it refuses to know: the gateway, its policy, what a token will be used for.
//! Invariants: an authorization code is used once and only with its PKCE verifier; every store is
//! bounded; minting never checks anything, so that forged tokens can be made.

mod bound;
mod claims;
mod device;
mod flows;
mod keys;
mod logout;
mod people;
mod refresh;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::server::{
    Connection, Payload, Reply, Server, ServerTls, Service, lock, repeated, whole,
};
use super::urls::Form;
use device::Devices;
use flows::Flows;
use keys::KeySet;
pub(crate) use keys::random_text;
use lightkeeper::clock::Clock;
use refresh::Refreshes;

pub use claims::Claims;
pub use keys::Algorithm;
pub use people::{PRINCIPALS, Principal};

/// A form that a client may post.
const FORM_LIMIT_BYTES: usize = 64 << 10;
/// Generations of keys that are remembered after rotations.
const GENERATIONS: usize = 8;

/// How an issuer starts.
#[derive(Clone)]
pub struct IssuerOptions {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Its name, when another than `http(s)://{address}`.
    pub url: Option<String>,
    /// Absent: plain HTTP.
    pub tls: Option<ServerTls>,
    /// `aud` of access tokens when the client asks for none.
    pub audience: String,
    /// Takes no notice of `audience` and `resource`.
    pub ignores_resource: bool,
    /// The algorithms whose keys are published; the first signs what the endpoints issue.
    pub algorithms: Vec<Algorithm>,
    /// How long issued tokens live, in seconds.
    pub lifetime_seconds: i64,
    /// What tokens say of people's addresses.
    pub email_verified: bool,
    /// Tokens about people say that their groups are elsewhere (OpenID Connect Core section 5.6.2), as for many groups.
    pub groups_elsewhere: bool,
    /// The nonce that proofs of possession must have; none by default.
    pub proof_nonce: Option<String>,
    pub clock: Clock,
}

impl Default for IssuerOptions {
    fn default() -> Self {
        IssuerOptions {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            url: None,
            tls: None,
            audience: "lightkeeper".to_owned(),
            ignores_resource: false,
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
            lifetime_seconds: 3600,
            email_verified: true,
            groups_elsewhere: false,
            proof_nonce: None,
            clock: Clock::system(),
        }
    }
}

/// What every endpoint does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerFault {
    /// 503.
    Unavailable,
    /// Answers after this long.
    Slow(Duration),
    /// 200 and a page that is no JSON.
    Garbage,
    /// 200 and JSON white space of this many bytes, never a document.
    Huge(u64),
    /// Drops the connection.
    Close,
}

impl IssuerFault {
    /// What is answered instead; `None`: what would be answered anyway, only later.
    pub(crate) async fn answer(self, connection: &Connection) -> Option<Response<Payload>> {
        match self {
            IssuerFault::Slow(delay) => {
                tokio::time::sleep(delay).await;
                None
            }
            IssuerFault::Close => connection.sever().await,
            IssuerFault::Unavailable => Some(page(
                StatusCode::SERVICE_UNAVAILABLE,
                "down for maintenance",
            )),
            IssuerFault::Garbage => Some(page(
                StatusCode::OK,
                "<h1>Welcome to the captive portal</h1>",
            )),
            IssuerFault::Huge(bytes) => Some(spaces(bytes)),
        }
    }
}

/// A running issuer. Dropping it stops it.
pub struct Issuer {
    server: Server,
    state: Arc<State>,
}

struct State {
    options: IssuerOptions,
    url: String,
    /// The current generation first.
    keys: Mutex<Vec<Arc<KeySet>>>,
    /// How many of `keys` are published.
    published: AtomicU64,
    jwks: Mutex<Option<Value>>,
    discovery: Mutex<Option<Value>>,
    fault: Mutex<Option<IssuerFault>>,
    jwks_fetches: AtomicU64,
    discovery_fetches: AtomicU64,
    flows: Flows,
    refreshes: Refreshes,
    devices: Devices,
}

impl Issuer {
    /// Starts on a free loopback port with default options.
    pub async fn start() -> Result<Self, String> {
        Self::start_with(IssuerOptions::default()).await
    }

    pub async fn start_with(options: IssuerOptions) -> Result<Self, String> {
        let listener = TcpListener::bind(options.address).await.map_err(|error| {
            format!("the issuer cannot listen on `{}`: {error}", options.address)
        })?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let url = options
            .url
            .clone()
            .unwrap_or_else(|| format!("{scheme}://{address}"));
        let tls = options
            .tls
            .as_ref()
            .map(ServerTls::server_config)
            .transpose()
            .map_err(|error| error.to_string())?;
        let state = Arc::new(State {
            options,
            url,
            keys: Mutex::new(vec![Arc::new(KeySet::generate(1)?)]),
            published: AtomicU64::new(1),
            jwks: Mutex::default(),
            discovery: Mutex::default(),
            fault: Mutex::default(),
            jwks_fetches: AtomicU64::new(0),
            discovery_fetches: AtomicU64::new(0),
            flows: Flows::default(),
            refreshes: Refreshes::default(),
            devices: Devices::default(),
        });
        let server = Server::start(listener, tls, state.clone())
            .await
            .map_err(|error| error.to_string())?;
        Ok(Issuer { server, state })
    }

    /// The issuer identifier, which is also the base of its endpoints.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where its keys are.
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.state.url)
    }

    /// The key set that the endpoint answers, to be written to a file.
    pub fn jwks(&self) -> Value {
        self.state.jwks()
    }

    /// Claims that any verifier accepts, for this subject and the issuer's default audience.
    pub fn claims(&self, subject: &str) -> Claims {
        self.state.claims(subject)
    }

    /// The claims of one of `PRINCIPALS` (by name or subject); of a stranger: the subject alone.
    pub fn claims_of(&self, name: &str) -> Claims {
        match Principal::find(name) {
            Some(principal) => self.claims(principal.subject).merge(principal.claims()),
            None => self.claims(name),
        }
    }

    /// A good access token of one of `PRINCIPALS`, RS256 unless the options say otherwise.
    pub fn token(&self, name: &str) -> String {
        self.mint(self.claims_of(name), self.state.algorithm())
    }

    /// Signs these claims as they are, with the current key and the header `alg`, `typ` `JWT`, `kid`.
    pub fn mint(&self, claims: impl Into<Value>, algorithm: Algorithm) -> String {
        self.mint_with(json!({}), claims, algorithm)
    }

    /// The same with header members added, replaced, or (where null) taken away.
    pub fn mint_with(
        &self,
        header: Value,
        claims: impl Into<Value>,
        algorithm: Algorithm,
    ) -> String {
        self.state
            .mint(&self.state.current(), header, &claims.into(), algorithm)
    }

    /// Signs a header and a payload byte for byte (duplicate members, no JSON at all).
    pub fn mint_raw(&self, header: &str, payload: &str, algorithm: Algorithm) -> String {
        self.state.current().compact(header, payload, algorithm)
    }

    /// The PEM text that keys the HMAC of `Algorithm::Hs256`.
    pub fn rsa_public_pem(&self) -> String {
        self.state.current().rsa_public_pem()
    }

    /// The key id that `mint` names for an algorithm.
    pub fn kid(&self, algorithm: Algorithm) -> String {
        self.state.current().kid(algorithm)
    }

    /// Signs with new keys from now on. `keep_old` keeps the old ones published beside them.
    pub fn rotate(&self, keep_old: bool) -> Result<(), String> {
        let mut keys = lock(&self.state.keys);
        let generation = keys.first().map_or(0, |newest| newest.generation()) + 1;
        keys.insert(0, Arc::new(KeySet::generate(generation)?));
        keys.truncate(GENERATIONS);
        let published = if keep_old {
            self.state.published.load(Ordering::SeqCst) + 1
        } else {
            1
        };
        self.state
            .published
            .store(published.min(GENERATIONS as u64), Ordering::SeqCst);
        Ok(())
    }

    /// Answers this key set instead (hostile or broken ones); `None`: its own again.
    pub fn set_jwks(&self, jwks: Option<Value>) {
        *lock(&self.state.jwks) = jwks;
    }

    /// Answers this discovery document instead; `None`: its own again.
    pub fn set_discovery(&self, document: Option<Value>) {
        *lock(&self.state.discovery) = document;
    }

    /// The discovery document.
    pub fn discovery(&self) -> Value {
        self.state.discovery()
    }

    /// `true`: every endpoint answers 503.
    pub fn set_down(&self, down: bool) {
        self.fail(down.then_some(IssuerFault::Unavailable));
    }

    /// Lets every endpoint fail; `None`: well again.
    pub fn fail(&self, fault: Option<IssuerFault>) {
        *lock(&self.state.fault) = fault;
    }

    /// Connecting is refused from now on.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again on the same port.
    pub async fn restart(&self) -> Result<(), String> {
        self.server
            .restart()
            .await
            .map_err(|error| format!("the issuer cannot listen again: {error}"))
    }

    /// How often the keys were asked for, answered or not (not counted: connections refused).
    pub fn jwks_fetches(&self) -> u64 {
        self.state.jwks_fetches.load(Ordering::SeqCst)
    }

    /// How often a refresh token was presented, good or not.
    pub fn refreshes(&self) -> u64 {
        self.state.refresh_uses()
    }

    /// How often the discovery document was asked for.
    pub fn discovery_fetches(&self) -> u64 {
        self.state.discovery_fetches.load(Ordering::SeqCst)
    }
}

/// Runs an issuer until the future is dropped; `started` is called once it listens.
pub async fn run_issuer(
    options: IssuerOptions,
    started: impl FnOnce(&Issuer),
) -> Result<(), String> {
    let issuer = Issuer::start_with(options).await?;
    started(&issuer);
    std::future::pending().await
}

impl State {
    fn current(&self) -> Arc<KeySet> {
        // INVARIANT: the list is never empty: it starts with one and rotation only adds before truncating.
        #[expect(clippy::indexing_slicing, reason = "never empty, see above")]
        lock(&self.keys)[0].clone()
    }

    fn algorithm(&self) -> Algorithm {
        self.options
            .algorithms
            .first()
            .copied()
            .unwrap_or(Algorithm::Rs256)
    }

    fn now_seconds(&self) -> i64 {
        self.options.clock.now().seconds()
    }

    fn claims(&self, subject: &str) -> Claims {
        Claims::start(
            &self.url,
            subject,
            &self.options.audience,
            self.now_seconds(),
            random_text(12),
        )
        .expires_in(self.options.lifetime_seconds)
    }

    /// The claims of an issued token about a person.
    fn claims_about(&self, principal: &Principal) -> Claims {
        let mut claims = self.claims(principal.subject).merge(principal.claims());
        if self.options.groups_elsewhere {
            claims = claims
                .without("groups")
                .set("_claim_names", json!({ "groups": "src1" }))
                .set(
                    "_claim_sources",
                    json!({ "src1": { "endpoint": format!("{}/groups", self.url) } }),
                );
        }
        if principal.email.is_some() {
            claims.set("email_verified", self.options.email_verified)
        } else {
            claims
        }
    }

    fn mint(&self, keys: &KeySet, changes: Value, claims: &Value, algorithm: Algorithm) -> String {
        let mut header =
            json!({ "alg": algorithm.name(), "typ": "JWT", "kid": keys.kid(algorithm) });
        if let (Some(members), Value::Object(changes)) = (header.as_object_mut(), changes) {
            for (name, value) in changes {
                match value {
                    Value::Null => members.remove(&name),
                    value => members.insert(name, value),
                };
            }
        }
        keys.compact(&header.to_string(), &claims.to_string(), algorithm)
    }

    fn jwks(&self) -> Value {
        if let Some(jwks) = lock(&self.jwks).clone() {
            return jwks;
        }
        let published = usize::try_from(self.published.load(Ordering::SeqCst)).unwrap_or(1);
        let keys = lock(&self.keys).clone();
        let sets = keys.iter().take(published);
        let jwks = sets.flat_map(|set| {
            self.options
                .algorithms
                .iter()
                .filter_map(|algorithm| set.jwk(*algorithm))
        });
        json!({ "keys": jwks.collect::<Vec<_>>() })
    }

    fn discovery(&self) -> Value {
        if let Some(document) = lock(&self.discovery).clone() {
            return document;
        }
        let at = |path: &str| format!("{}{path}", self.url);
        let mut document = json!({
            "issuer": self.url,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "userinfo_endpoint": at("/userinfo"),
            "end_session_endpoint": at("/logout"),
            "jwks_uri": at("/jwks"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token", device::GRANT_TYPE],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported":
                self.options.algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>(),
            "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "dpop_signing_alg_values_supported": ["ES256"],
            "authorization_response_iss_parameter_supported": true,
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "email", "name", "groups", "nonce", "auth_time"],
        });
        if let (Some(members), Value::Object(further)) =
            (document.as_object_mut(), device::discovery(&self.url))
        {
            members.extend(further);
        }
        document
    }

    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Response<Payload> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        match path.as_str() {
            "/jwks" => self.jwks_fetches.fetch_add(1, Ordering::SeqCst),
            "/.well-known/openid-configuration" => {
                self.discovery_fetches.fetch_add(1, Ordering::SeqCst)
            }
            _ => 0,
        };
        let fault = *lock(&self.fault);
        if let Some(fault) = fault
            && let Some(answer) = fault.answer(&connection).await
        {
            return answer;
        }
        let Ok(form) = Limited::new(body, FORM_LIMIT_BYTES).collect().await else {
            return page(StatusCode::PAYLOAD_TOO_LARGE, "the form is too large");
        };
        let form = Form::parse(&String::from_utf8_lossy(&form.to_bytes()));
        let query = Form::parse(head.uri.query().unwrap_or_default());
        match (&head.method, path.as_str()) {
            (&Method::GET, "/.well-known/openid-configuration") => {
                document(StatusCode::OK, &self.discovery())
            }
            (&Method::GET, "/jwks") => document(StatusCode::OK, &self.jwks()),
            (&Method::GET, "/authorize") => self.authorize(&query),
            (&Method::POST, "/authorize") => self.authorize(&form),
            (&Method::POST, "/token") => self.token(&head.headers, &form),
            (&Method::POST, "/revoke") => self.revoke(&head.headers, &form),
            (&Method::POST, "/device_authorization") => self.device_authorization(&form),
            (&Method::GET, "/device") => self.device_page(&query),
            (&Method::POST, "/device") => self.device_answer(&form),
            (&Method::GET | &Method::POST, "/userinfo") => self.userinfo(&head.headers),
            (&Method::GET, "/logout") => self.logout(&query),
            (&Method::POST, "/logout") => self.logout(&form),
            _ => page(StatusCode::NOT_FOUND, "there is no such page"),
        }
    }
}

impl Service for State {
    fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Connection) -> Reply {
        Box::pin(self.serve(request, connection))
    }
}

fn document(status: StatusCode, value: &Value) -> Response<Payload> {
    respond(status, "application/json", value.to_string())
}

fn page(status: StatusCode, html: &str) -> Response<Payload> {
    respond(
        status,
        "text/html; charset=utf-8",
        format!("<!doctype html><title>acme sign-in</title>{html}"),
    )
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Payload> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    headers.insert(
        header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-store"),
    );
    response
}

fn spaces(bytes: u64) -> Response<Payload> {
    let mut response = Response::new(repeated(b' ', bytes));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}
