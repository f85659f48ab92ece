//! Proofs of possession, attacked.
//!
//! What it does: makes proofs with one thing wrong, and shows good ones where they do not belong. What it refuses to know:
//! HTTP. Invariants: every row names what is wrong and the exact answer; what the rows change is known to hold unchanged.

mod nonces;
mod rows;
mod standard;
mod uses;

use std::sync::Arc;

use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};

use super::super::forge::{self, Answer, Folder, NOW, P256, RSA, TestKey, World, base64url};
use super::super::settings::{DpopSettings, KeySource, ProofReplay};
use super::super::{Identifier, Identity, IssuerSettings, Rejection};
use super::key::Thumbprint;
use super::{Possession, token_hash};
use crate::accept::{Caller, Carrier, ClientChain, Presented, PresentedProof, ProofLines};
use crate::clock::UnixMillis;
use crate::reason::Reason;

const URL: &str = "https://gateway.example/v1/traces";

fn now() -> UnixMillis {
    UnixMillis(NOW * 1000)
}

fn members(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The members with these changes; `null` takes one away.
fn changed(mut members: Map<String, Value>, changes: &Value) -> Map<String, Value> {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    members
}

fn thumbprint(key: &TestKey) -> Thumbprint {
    Thumbprint::of(&members(key.jwk())).unwrap()
}

/// What makes proofs: a key, and the algorithm that it signs by.
struct Prover {
    key: &'static TestKey,
    algorithm: &'static str,
}

impl Prover {
    fn usual() -> Self {
        Prover {
            key: &P256,
            algorithm: "ES256",
        }
    }

    /// A proof for `POST` of `URL` with this token, but for these changes to header and claims.
    fn proof(&self, token: &str, header: &Value, claims: &Value) -> String {
        let usual = json!({"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.key.jwk()});
        let header = changed(members(usual), header);
        let usual = json!({"jti": "one", "htm": "POST", "htu": URL, "iat": NOW, "ath": token_hash(token.as_bytes())});
        let claims = changed(members(usual), claims);
        let texts = [header, claims].map(|members| Value::Object(members).to_string());
        let [header, claims] = texts;
        self.key.token_of_texts(self.algorithm, &header, &claims)
    }
}

/// A call that comes with these `dpop` lines.
fn presented(lines: &[&str], method: &Method, url: Option<&str>) -> PresentedProof {
    let line = |line: &str| HeaderValue::from_str(line).unwrap();
    PresentedProof {
        lines: match lines {
            [] => ProofLines::None,
            [one] => ProofLines::One(line(one)),
            _ => ProofLines::Several,
        },
        method: method.clone(),
        url: url.map(str::to_owned),
    }
}

fn without_nonce() -> DpopSettings {
    DpopSettings {
        nonce_optional: true,
        ..DpopSettings::default()
    }
}

/// The whole room, with an issuer whose tokens are signed by `RSA`.
struct Room {
    world: World,
    identifier: Identifier,
    settings: IssuerSettings,
    _folder: Folder,
}

impl Room {
    fn new(dpop: &DpopSettings, of_issuer: impl FnOnce(&mut IssuerSettings)) -> Self {
        let (world, folder) = (World::new(), Folder::new());
        let keys = Answer::keys(json!([RSA.jwk_with(json!({"kid": "k"}))])).body;
        let mut settings = forge::issuer(KeySource::File(folder.write("keys.json", keys)));
        of_issuer(&mut settings);
        let identifier = world.identifier(std::slice::from_ref(&settings), None);
        let identifier = identifier.with_possession(dpop, None).unwrap();
        Room {
            world,
            identifier,
            settings,
            _folder: folder,
        }
    }

    /// A token that is bound as `cnf` says; `null`: not bound.
    fn token(&self, cnf: &Value) -> String {
        RSA.token("RS256", "k", json!({ "cnf": cnf }))
    }

    async fn shows(
        &self,
        carrier: Carrier,
        token: &str,
        proof: Option<PresentedProof>,
    ) -> Result<Identity, Rejection> {
        self.shows_with(carrier, token, proof, None).await
    }

    async fn shows_with(
        &self,
        carrier: Carrier,
        token: &str,
        proof: Option<PresentedProof>,
        certificate: Option<Arc<ClientChain>>,
    ) -> Result<Identity, Rejection> {
        let value = HeaderValue::from_str(token).unwrap();
        let caller = Caller {
            token: Some(Presented::new(value, 0, carrier)),
            proof: proof.map(Box::new),
            ..forge::caller(None, certificate)
        };
        self.identifier.identify(caller).await
    }
}

fn bound(key: &TestKey) -> Value {
    json!({ "jkt": thumbprint(key).text() })
}

/// The code of a refusal; `None`: it is identified.
fn code(said: &Result<Identity, Rejection>) -> Option<&'static str> {
    said.as_ref().err().map(|rejection| rejection.reason.code())
}
