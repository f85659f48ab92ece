//! What it costs to know a caller: a token seen for the first time, one that is remembered, one with a proof of possession, a signed
//! call to AWS, and all other kinds of callers that show a token (`others`).
//!
//! What it does: signs tokens of an ordinary size (a dozen claims, ten groups) and times `identify` alone,
//! in one thread. What it refuses to know: sockets, policy. Invariant: "cold" never meets a token twice.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up should stop"
)]

#[path = "identify/others.rs"]
mod others;

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderValue;
use lightkeeper::accept::{Caller, Carrier, Presented, PresentedProof, ProofLines};
use lightkeeper::clock::{Clock, UnixMillis};
use lightkeeper::identify::{
    ALGORITHMS, AwsSettings, ClaimPath, DpopSettings, Events, Identifier, IssuerSettings,
    KeyAccess, KeySource, StsEndpoints, Surroundings, TokensTaken,
};
use serde_json::{Value, json};
use testkit::sigv4::PresignedCall;
use testkit::{AwsCaller, Sts};
use tokio::runtime::Runtime;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://acme.okta.example/oauth2/default";

/// Tokens that one fresh room judges before the next one takes over.
const BATCH: u64 = 256;

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn signer(algorithm: &str) -> (Sign, serde_json::Value) {
    match algorithm {
        "RS256" => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
            let (n, e) = (
                n.big_endian_without_leading_zero(),
                e.big_endian_without_leading_zero(),
            );
            let jwk = json!({"kty": "RSA", "kid": "key", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e)});
            let sign = move |message: &[u8]| {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .unwrap();
                signature
            };
            (Box::new(sign), jwk)
        }
        _ => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            let (x, y) = pair.public_key().as_ref().get(1..).unwrap().split_at(32);
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "key", "x": x, "y": y});
            (
                Box::new(move |message| {
                    pair.sign(&SystemRandom::new(), message)
                        .unwrap()
                        .as_ref()
                        .to_vec()
                }),
                jwk,
            )
        }
    }
}

fn token(sign: &Sign, algorithm: &str, number: u64) -> HeaderValue {
    bound_token(sign, algorithm, number, None)
}

fn bound_token(sign: &Sign, algorithm: &str, number: u64, key: Option<&str>) -> HeaderValue {
    let groups: Vec<_> = (0..10)
        .map(|group| format!("team-{group}-developers"))
        .collect();
    let claims = json!({
        "ver": 1, "jti": format!("AT.{number:032x}"), "iss": ISSUER, "aud": "lightkeeper", "iat": NOW - 60,
        "exp": NOW + 3600, "cid": "0oa1lightkeeper2client3", "uid": "00u1ada2lovelace3id", "scp": ["openid", "telemetry"],
        "auth_time": NOW - 120, "sub": "ada.lovelace@acme.example", "groups": groups
    });
    let mut claims = claims;
    if let Some(key) = key {
        let members = claims.as_object_mut().unwrap();
        members.insert("cnf".to_owned(), json!({ "jkt": key }));
    }
    signed(sign, algorithm, &claims)
}

/// A token of these claims.
fn signed(sign: &Sign, algorithm: &str, claims: &Value) -> HeaderValue {
    let header = json!({"alg": algorithm, "kid": "key", "typ": "JWT"}).to_string();
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("Bearer {signed}.{signature}").parse().unwrap()
}

fn caller(token: &HeaderValue) -> Caller {
    let token = Some(Presented::new(token.clone(), 7, Carrier::Authorization));
    Caller {
        token,
        certificate: None,
        session: None,
        proof: None,
        address: Ipv4Addr::LOCALHOST.into(),
    }
}

/// An issuer whose keys are there.
fn issuer(keys: KeySource) -> IssuerSettings {
    IssuerSettings {
        name: "okta".to_owned(),
        issuer: ISSUER.to_owned(),
        audiences: vec!["lightkeeper".to_owned()],
        algorithms: ALGORITHMS.iter().map(|name| (*name).to_owned()).collect(),
        keys,
        ca: None,
        key_access: KeyAccess::default(),
        egress: Default::default(),
        subject_claims: vec![ClaimPath::parse("sub").unwrap()],
        groups_claim: ClaimPath::parse("groups").unwrap(),
        audience_claim: ClaimPath::parse("aud").unwrap(),
        types: vec!["jwt".to_owned()],
        header: None,
        tokens: TokensTaken::Access,
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

fn surroundings(runtime: &Runtime) -> Surroundings {
    let (clock, _) = Clock::manual(UnixMillis(NOW * 1000));
    Surroundings {
        clock,
        token_bytes: 16 << 10,
        events: Events::ignored(),
        runtime: runtime.handle().clone(),
    }
}

fn opened(settings: IssuerSettings, runtime: &Runtime) -> Identifier {
    Identifier::new(&[settings], Vec::new(), surroundings(runtime), None).unwrap()
}

/// A room that knows no issuer.
fn empty(runtime: &Runtime) -> Identifier {
    Identifier::new(&[], Vec::new(), surroundings(runtime), None).unwrap()
}

fn room(keys: PathBuf, runtime: &Runtime) -> Identifier {
    opened(issuer(KeySource::File(keys)), runtime)
}

/// Times tokens that a fresh room has not seen. The first, which may open a connection to a party that is asked, does not count.
fn cold(
    criterion: &mut Criterion,
    kind: &str,
    runtime: &Runtime,
    open: impl Fn() -> Identifier,
    tokens: &[HeaderValue],
) {
    criterion.bench_function(&format!("identify/{kind}/cold"), |bench| {
        bench.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            let mut left = rounds;
            while left > 0 {
                let identifier = open();
                let batch = usize::try_from(left.min(BATCH - 1)).unwrap();
                let first = caller(tokens.first().unwrap());
                runtime.block_on(identifier.identify(first)).unwrap();
                total += runtime.block_on(async {
                    let began = Instant::now();
                    for token in tokens.iter().skip(1).take(batch) {
                        black_box(identifier.identify(caller(token)).await.unwrap());
                    }
                    began.elapsed()
                });
                left -= batch as u64;
            }
            total
        });
    });
}

/// Times one token that is known.
fn cached(
    criterion: &mut Criterion,
    kind: &str,
    runtime: &Runtime,
    identifier: &Identifier,
    tokens: &[HeaderValue],
) {
    let known = tokens.first().unwrap();
    runtime
        .block_on(identifier.identify(caller(known)))
        .unwrap();
    criterion.bench_function(&format!("identify/{kind}/cached"), |bench| {
        bench.iter_custom(|rounds| {
            runtime.block_on(async {
                let began = Instant::now();
                for _ in 0..rounds {
                    black_box(identifier.identify(caller(known)).await.unwrap());
                }
                began.elapsed()
            })
        });
    });
}

fn identify(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for algorithm in ["RS256", "ES256"] {
        let (sign, jwk) = signer(algorithm);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        std::fs::write(&file, json!({ "keys": [jwk] }).to_string()).unwrap();
        let tokens: Vec<_> = (0..BATCH)
            .map(|number| token(&sign, algorithm, number))
            .collect();

        criterion.bench_function(&format!("identify/{algorithm}/cold"), |bench| {
            bench.iter_custom(|rounds| {
                let mut total = Duration::ZERO;
                let mut left = rounds;
                while left > 0 {
                    let identifier = room(file.clone(), &runtime);
                    let batch = usize::try_from(left.min(BATCH)).unwrap();
                    total += runtime.block_on(async {
                        let began = Instant::now();
                        for token in tokens.iter().take(batch) {
                            black_box(identifier.identify(caller(token)).await.unwrap());
                        }
                        began.elapsed()
                    });
                    left -= batch as u64;
                }
                total
            });
        });

        let identifier = room(file.clone(), &runtime);
        let known = token(&sign, algorithm, 0);
        runtime
            .block_on(identifier.identify(caller(&known)))
            .unwrap();
        criterion.bench_function(&format!("identify/{algorithm}/cached"), |bench| {
            bench.iter_custom(|rounds| {
                runtime.block_on(async {
                    let began = Instant::now();
                    for _ in 0..rounds {
                        black_box(identifier.identify(caller(&known)).await.unwrap());
                    }
                    began.elapsed()
                })
            });
        });
    }
}

/// Where the bench's listener is known.
const URL: &str = "https://gateway.example/v1/traces";

/// A caller's key with its proofs: as many as there are calls, because none passes twice.
struct Prover {
    sign: Sign,
    jwk: Value,
    token: HeaderValue,
    ath: String,
}

impl Prover {
    fn new(of_issuer: &Sign, algorithm: &str) -> Self {
        let (sign, jwk) = signer("ES256");
        let member = |name: &str| jwk.get(name).unwrap().as_str().unwrap().to_owned();
        let canonical = format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
            member("x"),
            member("y")
        );
        let digest = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, bytes));
        let token = bound_token(of_issuer, algorithm, 0, Some(&digest(canonical.as_bytes())));
        let ath = digest(token.as_bytes().get(7..).unwrap());
        Prover {
            jwk: json!({ "kty": "EC", "crv": "P-256", "x": member("x"), "y": member("y") }),
            sign,
            token,
            ath,
        }
    }

    fn proof(&self, number: u64) -> HeaderValue {
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk });
        let claims = json!({ "jti": format!("{number:032x}"), "htm": "POST", "htu": URL, "iat": NOW, "ath": self.ath });
        let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let signature = URL_SAFE_NO_PAD.encode((self.sign)(signed.as_bytes()));
        format!("{signed}.{signature}").parse().unwrap()
    }

    fn caller(&self, proof: &HeaderValue) -> Caller {
        Caller {
            token: Some(Presented::new(self.token.clone(), 7, Carrier::Dpop)),
            proof: Some(Box::new(PresentedProof {
                lines: ProofLines::One(proof.clone()),
                method: http::Method::POST,
                url: Some(URL.to_owned()),
            })),
            ..caller(&self.token)
        }
    }
}

/// A call with a proof of possession beside a bearer token's: `cold` verifies the token as well, `cached` remembers it.
fn possession(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (sign, jwk) = signer("ES256");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, json!({ "keys": [jwk] }).to_string()).unwrap();
    let prover = Prover::new(&sign, "ES256");
    let proofs: Vec<_> = (0..BATCH).map(|number| prover.proof(number)).collect();
    let settings = DpopSettings {
        nonce_optional: true,
        ..DpopSettings::default()
    };
    let open = || {
        room(file.clone(), &runtime)
            .with_possession(&settings, None)
            .unwrap()
    };
    criterion.bench_function("identify/dpop/cold", |bench| {
        bench.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for round in 0..rounds {
                let identifier = open();
                let at = usize::try_from(round % BATCH).unwrap();
                let caller = prover.caller(proofs.get(at).unwrap());
                let began = Instant::now();
                black_box(runtime.block_on(identifier.identify(caller)).unwrap());
                total += began.elapsed();
            }
            total
        });
    });
    criterion.bench_function("identify/dpop/cached", |bench| {
        bench.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            let mut left = rounds;
            while left > 0 {
                // Another room, so that the same proofs pass again; its first call remembers the token.
                let identifier = open();
                let batch = usize::try_from(left.min(BATCH - 1)).unwrap();
                let first = prover.caller(proofs.first().unwrap());
                runtime.block_on(identifier.identify(first)).unwrap();
                total += runtime.block_on(async {
                    let began = Instant::now();
                    for proof in proofs.iter().skip(1).take(batch) {
                        black_box(identifier.identify(prover.caller(proof)).await.unwrap());
                    }
                    began.elapsed()
                });
                left -= batch as u64;
            }
            total
        });
    });
}

/// A role's signed call to AWS: `cold` is taken apart, written anew and asked about at a server on loopback, over TLS on a
/// connection that stands; `cached` is remembered.
fn role(criterion: &mut Criterion) {
    let runtime = others::runtime();
    let sts = runtime
        .block_on(Sts::start(&["eu-west-1"], || NOW))
        .unwrap();
    let caller_of_aws = sts.add(AwsCaller::role("123456789012", "checkout-lambda", "i-0abc"));
    let audience = "lightkeeper:gateway.acme.example";
    let tokens: Vec<HeaderValue> = (0..i64::try_from(BATCH).unwrap())
        .map(|number| PresignedCall::new("eu-west-1", audience, NOW - number))
        .map(|call| {
            format!("Bearer {}", call.token(&caller_of_aws.keys))
                .parse()
                .unwrap()
        })
        .collect();
    let settings = AwsSettings {
        name: "aws".to_owned(),
        audience: audience.to_owned(),
        accounts: vec!["123456789012".to_owned()],
        partition: "aws".to_owned(),
        regions: vec!["eu-west-1".to_owned()],
        endpoints: StsEndpoints::default(),
        max_age: Duration::from_secs(900),
        cache: Duration::from_secs(300),
        connect: Some(("127.0.0.1".to_owned(), sts.address().port())),
        ca: Some(sts.ca()),
        egress: Default::default(),
        calls_per_second: 10_000,
        concurrent_calls: 16,
        attributes: Vec::new(),
    };
    let open = || {
        empty(&runtime)
            .with_aws(std::slice::from_ref(&settings), None)
            .unwrap()
    };
    cold(criterion, "aws", &runtime, open, &tokens);
    cached(criterion, "aws", &runtime, &open(), &tokens);
}

criterion_group!(
    benches,
    identify,
    possession,
    role,
    others::introspection,
    others::review,
    others::svid,
    others::client_token
);
criterion_main!(benches);
