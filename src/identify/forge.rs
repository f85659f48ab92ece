//! Tokens, keys and issuers for this room's tests.
//!
//! What it does: signs whatever it is told, valid or not, and serves key sets on loopback while counting
//! who asks. What it refuses to know: what the room should say to it. Invariant: compiled for tests only.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::accept::{Caller, Carrier, ClientChain, Presented};
use crate::clock::{Clock, UnixMillis};

use super::{ClaimPath, Event, Events, Identifier, IssuerSettings, KeySource, Surroundings};

/// The tests' present, Unix seconds.
pub(super) const NOW: i64 = 1_800_000_000;

pub(super) const ISSUER: &str = "https://idp.example/";

pub(super) enum TestKey {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

pub(super) static RSA: LazyLock<TestKey> = LazyLock::new(rsa);
pub(super) static OTHER_RSA: LazyLock<TestKey> = LazyLock::new(rsa);
pub(super) static P256: LazyLock<TestKey> =
    LazyLock::new(|| ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"));
pub(super) static P384: LazyLock<TestKey> =
    LazyLock::new(|| ec(&sig::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"));
pub(super) static P521: LazyLock<TestKey> =
    LazyLock::new(|| ec(&sig::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"));
pub(super) static ED: LazyLock<TestKey> =
    LazyLock::new(|| TestKey::Ed(Ed25519KeyPair::generate().unwrap()));

/// One more key for ES256.
pub(super) fn another_p256() -> TestKey {
    ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
}

fn rsa() -> TestKey {
    TestKey::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

fn ec(algorithm: &'static sig::EcdsaSigningAlgorithm, curve: &'static str) -> TestKey {
    TestKey::Ec(EcdsaKeyPair::generate(algorithm).unwrap(), curve)
}

pub(super) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl TestKey {
    /// The public JWK without `kid` and `alg`.
    pub(super) fn jwk(&self) -> Value {
        match self {
            TestKey::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({"kty": "RSA", "n": base64url(n.big_endian_without_leading_zero()),
                       "e": base64url(e.big_endian_without_leading_zero())})
            }
            TestKey::Ec(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            TestKey::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())})
            }
        }
    }

    /// The JWK with more members or others.
    pub(super) fn jwk_with(&self, members: Value) -> Value {
        let mut jwk = self.jwk();
        jwk.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        jwk
    }

    /// Signs as `algorithm` says; anything unknown gets the family's usual one.
    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            TestKey::Rsa(pair) => {
                let padding: &'static dyn sig::RsaEncoding = match algorithm {
                    "RS384" => &sig::RSA_PKCS1_SHA384,
                    "RS512" => &sig::RSA_PKCS1_SHA512,
                    "PS256" => &sig::RSA_PSS_SHA256,
                    "PS384" => &sig::RSA_PSS_SHA384,
                    "PS512" => &sig::RSA_PSS_SHA512,
                    _ => &sig::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            TestKey::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            TestKey::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of this header and these claims, each with changes (`null` takes a member away).
    pub(super) fn token_of_changed(
        &self,
        algorithm: &str,
        mut whole: [Value; 2],
        changes: [Value; 2],
    ) -> String {
        for (members, changes) in whole.iter_mut().zip(changes) {
            let members = members.as_object_mut().unwrap();
            for (name, value) in changes.as_object().unwrap() {
                match value {
                    Value::Null => drop(members.remove(name)),
                    value => drop(members.insert(name.clone(), value.clone())),
                }
            }
        }
        let [header, claims] = whole.map(|members| members.to_string());
        self.token_of_texts(algorithm, &header, &claims)
    }

    /// A token over these texts, whatever they are.
    pub(super) fn token_of_texts(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", base64url(signature))
    }

    /// A token with this `kid` and these changes to the usual claims (`null` takes a claim away).
    pub(super) fn token(&self, algorithm: &str, key_id: &str, changes: Value) -> String {
        let header = json!({"alg": algorithm, "kid": key_id, "typ": "JWT"});
        self.token_of_texts(algorithm, &header.to_string(), &claims(changes).to_string())
    }
}

/// The usual claims with these changes.
pub(super) fn claims(changes: Value) -> Value {
    let mut claims = json!({"iss": ISSUER, "aud": "lightkeeper", "sub": "ada", "groups": ["sre", "dev"],
                            "iat": NOW - 10, "exp": NOW + 300});
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// A folder that goes away with its owner.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

pub(super) fn issuer(keys: KeySource) -> IssuerSettings {
    IssuerSettings {
        name: "idp".to_owned(),
        issuer: ISSUER.to_owned(),
        audiences: vec!["lightkeeper".to_owned(), "gateway".to_owned()],
        algorithms: super::ALGORITHMS
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        keys,
        ca: None,
        key_access: super::KeyAccess::default(),
        egress: Default::default(),
        subject_claims: vec![ClaimPath::name("sub")],
        groups_claim: ClaimPath::name("groups"),
        audience_claim: ClaimPath::name("aud"),
        types: ["at+jwt", "jwt", ""].map(str::to_owned).to_vec(),
        header: None,
        tokens: super::TokensTaken::Access,
        dpop_required: false,
        login_clients: Vec::new(),
        accepts_unverified_email: false,
        leeway: Duration::from_secs(30),
        max_lifetime: Duration::from_secs(24 * 3600),
        stale_keys: Duration::from_secs(24 * 3600),
        refresh: Duration::from_secs(3600),
        introspection: None,
        cluster: None,
        attributes: Vec::new(),
    }
}

/// Surroundings with a clock to move and events to read.
pub(super) struct World {
    pub surroundings: Surroundings,
    pub time: Arc<AtomicI64>,
    pub events: Arc<Mutex<Vec<Event>>>,
}

impl World {
    pub(super) fn new() -> Self {
        let (clock, time) = Clock::manual(UnixMillis(NOW * 1000));
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = events.clone();
        let events_to = Events::to(move |event| heard.lock().unwrap().push(event));
        let runtime = tokio::runtime::Handle::current();
        World {
            surroundings: Surroundings {
                clock,
                token_bytes: 16 << 10,
                events: events_to,
                runtime,
            },
            time,
            events,
        }
    }

    pub(super) fn identifier(
        &self,
        settings: &[IssuerSettings],
        previous: Option<&Identifier>,
    ) -> Identifier {
        Identifier::new(settings, Vec::new(), self.surroundings.clone(), previous).unwrap()
    }

    pub(super) fn move_to(&self, second: i64) {
        self.time.store(second * 1000, Ordering::Relaxed);
    }

    /// How many events there are of which `which` holds.
    pub(super) fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| which(event))
            .count()
    }
}

pub(super) fn caller(token: Option<&str>, certificate: Option<Arc<ClientChain>>) -> Caller {
    let presented = |token: &str| {
        let value = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).unwrap();
        Presented::new(value, 7, Carrier::Authorization)
    };
    Caller {
        token: token.map(presented),
        certificate,
        session: None,
        proof: None,
        address: std::net::Ipv4Addr::LOCALHOST.into(),
    }
}

/// What the room says to a token: its subject, or the reason against it.
pub(super) async fn verdict(identifier: &Identifier, token: &str) -> Result<String, &'static str> {
    let identity = identifier.identify(caller(Some(token), None)).await;
    identity
        .map(|identity| identity.facts().subject.to_string())
        .map_err(|rejection| rejection.reason.code())
}

/// An answer of the loopback issuer.
#[derive(Clone)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    pub(super) fn json(body: impl ToString) -> Self {
        Answer {
            status: 200,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string(),
        }
    }

    pub(super) fn keys(keys: Value) -> Self {
        Answer::json(json!({ "keys": keys }))
    }
}

/// An issuer on loopback that answers `/keys` and the discovery path as it is told.
pub(super) struct Loopback {
    pub address: SocketAddr,
    pub keys: Arc<Mutex<Answer>>,
    pub discovery: Arc<Mutex<Answer>>,
    /// Requests for `/keys`.
    pub fetches: Arc<AtomicUsize>,
    pub elsewhere: Arc<AtomicUsize>,
    /// Requests for the discovery document.
    pub(crate) discoveries: Arc<AtomicUsize>,
    /// What other paths answer, whatever is sent to them.
    pub pages: Arc<Mutex<HashMap<String, Answer>>>,
    pub exchanges: Arc<Exchanges>,
    pub shown: Arc<Mutex<Vec<Shown>>>,
}

/// The path of a request, and its `authorization`.
type Shown = (String, Option<String>);

/// The token endpoint's part of it.
#[derive(Default)]
pub(super) struct Exchanges {
    /// While true, nothing is answered.
    pub(crate) stalled: tokio::sync::watch::Sender<bool>,
    pub asked: AtomicUsize,
    under_way: AtomicUsize,
    pub(crate) most_under_way: AtomicUsize,
}

impl Exchanges {
    async fn wait(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        self.stalled
            .subscribe()
            .wait_for(|stalled| !stalled)
            .await
            .unwrap();
        self.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Loopback {
    pub(super) async fn start(keys: Value) -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let missing = Answer {
            status: 404,
            headers: Vec::new(),
            body: String::new(),
        };
        let loopback = Loopback {
            address,
            keys: Arc::new(Mutex::new(Answer::keys(keys))),
            discovery: Arc::new(Mutex::new(missing.clone())),
            fetches: Arc::default(),
            elsewhere: Arc::default(),
            discoveries: Arc::default(),
            pages: Arc::default(),
            exchanges: Arc::default(),
            shown: Arc::default(),
        };
        let shown = loopback.shown.clone();
        let exchanges = loopback.exchanges.clone();
        let (discoveries, pages) = (loopback.discoveries.clone(), loopback.pages.clone());
        let (keys, discovery) = (loopback.keys.clone(), loopback.discovery.clone());
        let (fetches, elsewhere) = (loopback.fetches.clone(), loopback.elsewhere.clone());
        let respond = move |path: &str| match path {
            "/keys" => {
                fetches.fetch_add(1, Ordering::SeqCst);
                keys.lock().unwrap().clone()
            }
            "/.well-known/openid-configuration" => {
                discoveries.fetch_add(1, Ordering::SeqCst);
                discovery.lock().unwrap().clone()
            }
            path => pages.lock().unwrap().get(path).cloned().unwrap_or_else(|| {
                elsewhere.fetch_add(1, Ordering::SeqCst);
                missing.clone()
            }),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (respond, exchanges, shown) =
                    (respond.clone(), exchanges.clone(), shown.clone());
                let service = hyper::service::service_fn(
                    move |request: http::Request<hyper::body::Incoming>| {
                        let (respond, exchanges) = (respond.clone(), exchanges.clone());
                        let token = request.headers().get(http::header::AUTHORIZATION);
                        let token = token.map(|value| value.to_str().unwrap().to_owned());
                        shown
                            .lock()
                            .unwrap()
                            .push((request.uri().path().to_owned(), token));
                        async move {
                            if request.uri().path() == "/token" {
                                exchanges.wait().await;
                            }
                            let answer = respond(request.uri().path());
                            let mut response = Response::builder().status(answer.status);
                            for (name, value) in answer.headers {
                                response = response.header(name, value);
                            }
                            response.body(Full::new(Bytes::from(answer.body)))
                        }
                    },
                );
                let stream = hyper_util::rt::TokioIo::new(stream);
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(stream, service),
                );
            }
        });
        loopback
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn fetched(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    pub(super) fn page(&self, path: &str, answer: Answer) {
        self.pages.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub(super) fn answer_with(&self, answer: Answer) {
        *self.keys.lock().unwrap() = answer;
    }
}
