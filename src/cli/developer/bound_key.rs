//! The key that a developer's tokens are bound to (DPoP, RFC 9449).
//!
//! What it does: makes a key, keeps it in a file of its own beside the tokens, and makes proofs with it. What it refuses to
//! know: which calls are proven, and where. Invariants: who reads the file of the tokens has no key; a key file that others
//! may read or write is refused; the key itself is never printed; every proof has an id and a time of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::clock::Clock;

const FILE_LIMIT_BYTES: u64 = 4096;
const ID_BYTES: usize = 18;

/// An ES256 key.
pub(crate) struct BoundKey {
    pair: EcdsaKeyPair,
    /// PKCS#8 in base64: what the file holds.
    kept: Zeroizing<String>,
}

/// What a proof is about.
pub(crate) struct Proven<'a> {
    pub method: &'a str,
    /// Without query and fragment.
    pub url: &'a str,
    /// `None`: at a token endpoint.
    pub token: Option<&'a str>,
    /// The last one that the server gave.
    pub nonce: Option<&'a str>,
}

impl BoundKey {
    /// A new one, kept nowhere yet.
    pub(crate) fn fresh() -> Result<Self, Failure> {
        let none = || Failure::new("the machine gives no random bytes for a key");
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let made = made.map_err(|_| none())?;
        let kept = Zeroizing::new(STANDARD.encode(made.as_ref()));
        BoundKey::read(kept).ok_or_else(none)
    }

    /// The one that a file keeps.
    pub(crate) fn kept(path: &Path) -> Result<Self, Failure> {
        let said = |what: &str| {
            Failure::new(format!("the key `{}` {what}", path.display())).advise("log in again")
        };
        let unreadable = |error: std::io::Error| said(&format!("cannot be read: {error}"));
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
            return Err(said("may be used by others"));
        }
        let mut text = Zeroizing::new(String::new());
        let read = file.take(FILE_LIMIT_BYTES).read_to_string(&mut text);
        read.map_err(unreadable)?;
        BoundKey::read(text).ok_or_else(|| said("is broken"))
    }

    fn read(kept: Zeroizing<String>) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(kept.trim()).ok()?);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes).ok()?;
        Some(BoundKey { pair, kept })
    }

    /// Writes it to a new file that no other user may read.
    pub(crate) fn keep(&self, path: &Path) -> Result<(), Failure> {
        let written = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| {
                file.write_all(self.kept.as_bytes())?;
                file.sync_all()
            });
        written.map_err(|error| {
            Failure::new(format!(
                "the key `{}` cannot be written: {error}",
                path.display()
            ))
        })
    }

    /// Takes a key file away; one that is gone already is no fault.
    pub(crate) fn forget(path: &Path) -> Result<(), Failure> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::new(format!(
                "the key `{}` cannot be deleted: {error}",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    fn coordinates(&self) -> (String, String) {
        // An uncompressed point: 0x04, x, y (SEC 1 section 2.3.3).
        let point = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
    }

    /// By what tokens name it (RFC 7638).
    pub(crate) fn thumbprint(&self) -> String {
        let (x, y) = self.coordinates();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
    }

    /// A proof for one call (RFC 9449 section 4.2).
    pub(crate) fn prove(&self, proven: &Proven<'_>, clock: &Clock) -> Result<HeaderValue, Failure> {
        let none = || Failure::new("a proof cannot be made");
        let mut id = [0; ID_BYTES];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| none())?;
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() });
        let mut claims = json!({
            "jti": URL_SAFE_NO_PAD.encode(id),
            "htm": proven.method,
            "htu": proven.url,
            "iat": clock.now().seconds(),
        });
        if let Some(members) = claims.as_object_mut() {
            if let Some(token) = proven.token {
                let ath = digest::digest(&digest::SHA256, token.as_bytes());
                members.insert("ath".to_owned(), URL_SAFE_NO_PAD.encode(ath).into());
            }
            if let Some(nonce) = proven.nonce {
                members.insert("nonce".to_owned(), nonce.into());
            }
        }
        let signed = [header, claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
            .join(".");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| none())?;
        let whole = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        HeaderValue::try_from(whole).map_err(|_| none())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::clock::UnixMillis;

    /// Scenario: a key is kept, read again, opened to others, broken, and deleted. Guarantees: the same key comes back; one
    /// that others can read, or that is none, is refused; no file is written over.
    #[test]
    fn a_key_is_kept_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = BoundKey::fresh().unwrap();
        key.keep(&path).unwrap();
        assert!(key.keep(&path).is_err(), "it is there already");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = BoundKey::kept(&path).unwrap();
        assert_eq!(again.thumbprint(), key.thumbprint());
        for (mode, fine) in [
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o622, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(BoundKey::kept(&path).is_ok(), fine, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "AAAA", "no base64!"] {
            fs::write(&path, text).unwrap();
            assert!(BoundKey::kept(&path).is_err(), "{text}");
        }
        BoundKey::forget(&path).unwrap();
        BoundKey::forget(&path).unwrap();
        assert!(BoundKey::kept(&path).is_err() && !path.exists());
    }

    /// Scenario: proofs for a token endpoint and for a call. Guarantees: each says what RFC 9449 section 4.2 asks for, and no
    /// two are alike.
    #[test]
    fn a_proof_says_what_it_is_for() {
        let (clock, _) = Clock::manual(UnixMillis(1_562_262_616_000));
        let key = BoundKey::fresh().unwrap();
        let claims = |proof: &HeaderValue| -> Value {
            let payload = proof.to_str().unwrap().split('.').nth(1).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
        };
        let mut proven = Proven {
            method: "POST",
            url: "https://idp.example/token",
            token: None,
            nonce: None,
        };
        let first = key.prove(&proven, &clock).unwrap();
        let second = key.prove(&proven, &clock).unwrap();
        assert_ne!(claims(&first)["jti"], claims(&second)["jti"]);
        assert_eq!(claims(&first)["iat"], 1_562_262_616);
        assert!(claims(&first).get("ath").is_none() && claims(&first).get("nonce").is_none());
        (proven.token, proven.nonce) = (
            Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
            Some("n"),
        );
        let bound = claims(&key.prove(&proven, &clock).unwrap());
        // RFC 9449 section 7.1 has the hash of this token.
        assert_eq!(bound["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
        assert_eq!(
            (&bound["nonce"], &bound["htm"]),
            (&json!("n"), &json!("POST"))
        );
    }
}
