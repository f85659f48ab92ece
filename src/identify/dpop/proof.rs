//! The strict reading of a proof (RFC 9449 sections 4.2 and 4.3).
//!
//! What it does: takes the JWS apart, reads the key and the claims, checks signature and time. What it refuses to know: the
//! token, the call, nonces, what was used before. Invariants: every member is of its type or the proof is refused; the only
//! key is the one of its own header, public, for the one asymmetric algorithm that the header names.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::clock::UnixMillis;
use crate::reason::Reason;

use super::super::algorithm::Algorithm;
use super::super::claims::date;
use super::super::json;
use super::super::keys::LoneKey;
use super::PROOF_LIFETIME_SECONDS;
use super::key::{self, Thumbprint};

/// The only `typ`, byte for byte.
const MEDIA_TYPE: &str = "dpop+jwt";

/// The longest `jti`, in bytes. Those of libraries have below 50.
const ID_LIMIT_BYTES: usize = 256;

/// Where else a header could lead to a key, or change what was signed.
const FORBIDDEN: [&str; 7] = ["b64", "crit", "enc", "jku", "x5c", "x5u", "zip"];

/// A proof whose form is right, and whose signature has not been checked yet.
pub(super) struct Proof<'a> {
    signed: &'a str,
    signature: &'a str,
    key: LoneKey,
    pub thumbprint: Thumbprint,
    id: String,
    /// `htm`.
    pub method: String,
    /// `htu`.
    pub address: String,
    issued: i64,
    /// `exp` and `nbf`, which no standard asks for.
    expires: Option<i64>,
    begins: Option<i64>,
    /// `ath`.
    pub token_hash: Option<String>,
    pub nonce: Option<String>,
}

impl<'a> Proof<'a> {
    /// Reads `bytes`, which the caller has bounded.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let read = Proof::read(bytes).ok_or(Reason::ProofMalformed)?;
        read.ok_or(Reason::ProofKey)
    }

    /// `None`: malformed. `Some(None)`: the key is none that counts.
    fn read(bytes: &'a [u8]) -> Option<Option<Self>> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        if !bytes.iter().all(is_plain) {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if payload.contains('.') || decoded(signature)?.is_empty() {
            return None;
        }
        let header = json::object(&decoded(header)?)?;
        if FORBIDDEN.iter().any(|name| header.contains_key(*name))
            || header.get("typ")? != MEDIA_TYPE
        {
            return None;
        }
        let algorithm = Algorithm::parse(header.get("alg")?.as_str()?)?;
        let jwk = header.get("jwk")?.as_object()?;
        let claims = json::object(&decoded(payload)?)?;
        let id = text_of(&claims, "jti")??.into_owned();
        if id.is_empty() || id.len() > ID_LIMIT_BYTES {
            return None;
        }
        let optional = |name| date(&claims, name).ok();
        let method = text_of(&claims, "htm")??.into_owned();
        let address = text_of(&claims, "htu")??.into_owned();
        let issued = optional("iat")??;
        let (expires, begins) = (optional("exp")?, optional("nbf")?);
        let token_hash = text_of(&claims, "ath")?.map(Cow::into_owned);
        let nonce = text_of(&claims, "nonce")?.map(Cow::into_owned);
        let key = key::public(jwk, algorithm);
        Some(key.map(|(key, thumbprint)| Proof {
            signed,
            signature,
            key,
            thumbprint,
            id,
            method,
            address,
            issued,
            expires,
            begins,
            token_hash,
            nonce,
        }))
    }

    /// Whether the header's key signed it.
    pub(super) fn holds(&self) -> bool {
        self.key.verifies(self.signed, self.signature)
    }

    /// Until which second, that one excluded, it could be taken; refuses one that cannot be taken now.
    pub(super) fn judge_time(&self, leeway: Duration, now: UnixMillis) -> Result<i64, Reason> {
        let leeway = i64::try_from(leeway.as_secs()).unwrap_or(0);
        let now = now.seconds();
        let stale = self
            .issued
            .saturating_add(PROOF_LIFETIME_SECONDS)
            .saturating_add(leeway);
        let until = stale.saturating_add(1);
        let until = self
            .expires
            .map_or(until, |expires| until.min(expires.saturating_add(leeway)));
        let latest = now.saturating_add(leeway);
        let is_early = self.issued > latest || self.begins.is_some_and(|begins| begins > latest);
        if is_early || now >= until {
            return Err(Reason::ProofTime);
        }
        Ok(until)
    }

    /// What no other proof of the same key has.
    pub(super) fn once(&self) -> String {
        format!("{} {}", self.thumbprint.text(), self.id)
    }
}

/// A member that must be a string if it is there. `None`: it is none.
fn text_of<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<Option<Cow<'c, str>>> {
    match claims.get(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(Cow::Borrowed(text))),
        Some(_) => None,
    }
}

/// Base64url in its one spelling (RFC 7515 section 2).
fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
