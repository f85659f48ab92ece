//! Sealing: what a browser keeps for us, so that it can neither read nor change it.
//!
//! What it does: AES-256-GCM with random nonces under the configured keys; the first seals, all open. What it
//! refuses to know: what is sealed. Invariants: a sealed text opens only under the cookie name and origin that it was
//! sealed for, in this version, and under a key that is configured now; there is one text for one sealing (canonical
//! base64url); an unknown key's id is refused before anything is decrypted.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use data_encoding::HEXLOWER_PERMISSIVE;
use zeroize::Zeroizing;

use crate::secret::{Secret, SecretRef, UnreadableSecret};

/// A session key, in bytes.
const KEY_BYTES: usize = 32;

/// The first bytes of a digest of the key.
const KEY_ID_BYTES: usize = 8;

/// The form of what is sealed; part of what is authenticated.
const VERSION: u8 = 1;

/// The longest sealed text that is looked at, and the longest whole `Set-Cookie` that is made, in bytes: what every
/// browser keeps (RFC 6265 section 6.1).
pub(crate) const COOKIE_LIMIT_BYTES: usize = 4096;

/// Keys, first the one that seals.
pub(crate) struct Keyring {
    keys: Vec<SealKey>,
}

struct SealKey {
    id: [u8; KEY_ID_BYTES],
    key: RandomizedNonceKey,
}

/// What a text is sealed for.
#[derive(Clone, Copy)]
pub(crate) struct Purpose<'a> {
    /// The cookie's name.
    pub name: &'a str,
    /// Scheme and authority that the browser uses.
    pub origin: &'a str,
}

impl Purpose<'_> {
    /// Neither a name nor an origin holds a zero byte, so that no two purposes have the same bytes.
    fn authenticated(&self) -> Vec<u8> {
        [
            &[VERSION],
            self.name.as_bytes(),
            &[0],
            self.origin.as_bytes(),
        ]
        .concat()
    }
}

/// What is wrong with a session key, without a word of what it holds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionKeyFault {
    #[error("session key {number}")]
    Unreadable {
        number: usize,
        #[source]
        cause: UnreadableSecret,
    },
    #[error("session key {number}: {reference} {fault}")]
    Unusable {
        number: usize,
        reference: SecretRef,
        fault: &'static str,
    },
    #[error("there is no session key")]
    None,
}

impl Keyring {
    /// Reads all keys, or says what is wrong with each.
    pub(crate) fn read(references: &[SecretRef]) -> Result<Self, Vec<SessionKeyFault>> {
        let mut keys: Vec<SealKey> = Vec::with_capacity(references.len());
        let mut faults = Vec::new();
        for (number, reference) in (1..).zip(references) {
            let secret = match reference.open() {
                Ok(secret) => secret,
                Err(cause) => {
                    faults.push(SessionKeyFault::Unreadable { number, cause });
                    continue;
                }
            };
            let key = SealKey::of(&secret).and_then(|key| {
                match keys.iter().any(|other| other.id == key.id) {
                    true => Err("holds the same key as another"),
                    false => Ok(key),
                }
            });
            match key {
                Ok(key) => keys.push(key),
                Err(fault) => faults.push(SessionKeyFault::Unusable {
                    number,
                    reference: reference.clone(),
                    fault,
                }),
            }
        }
        if references.is_empty() {
            faults.push(SessionKeyFault::None);
        }
        if faults.is_empty() {
            Ok(Keyring { keys })
        } else {
            Err(faults)
        }
    }

    /// Base64url of version, key id, nonce, ciphertext and tag. `None` if the machine gives no random bytes.
    pub(crate) fn seal(&self, purpose: Purpose<'_>, plain: &[u8]) -> Option<String> {
        let first = self.keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = first
            .key
            .seal_in_place_append_tag(Aad::from(purpose.authenticated()), &mut sealed)
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([&[VERSION][..], &first.id, nonce.as_ref(), &sealed].concat()))
    }

    /// What was sealed for the same purpose under one of the keys. `None` for everything else: the difference is
    /// told to no caller.
    pub(crate) fn open(&self, purpose: Purpose<'_>, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        if text.len() > COOKIE_LIMIT_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (id, rest) = rest.split_at_checked(KEY_ID_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.id == id)
            .filter(|_| *version == VERSION)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key
            .key
            .open_in_place(nonce, Aad::from(purpose.authenticated()), &mut buffer)
            .ok()?
            .len();
        buffer.truncate(length);
        Some(buffer)
    }
}

impl SealKey {
    fn of(secret: &Secret) -> Result<Self, &'static str> {
        let bytes = key_bytes(secret).ok_or("is no key of 32 bytes in base64 or hexadecimal")?;
        let sum = digest::digest(
            &digest::SHA256,
            &[b"lightkeeper session key\0", bytes.as_slice()].concat(),
        );
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(sum.as_ref().get(..KEY_ID_BYTES).unwrap_or_default());
        let key =
            RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| "cannot be used as a key")?;
        Ok(SealKey { id, key })
    }
}

/// The 32 bytes that a secret spells in hexadecimal, base64 or base64url, padded or not.
pub(crate) fn key_bytes(secret: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let text = secret.expose();
    let read = if text.len() == 2 * KEY_BYTES {
        HEXLOWER_PERMISSIVE.decode(text).ok()?
    } else {
        let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
        engines.iter().find_map(|engine| engine.decode(text).ok())?
    };
    let read = Zeroizing::new(read);
    (read.len() == KEY_BYTES).then_some(read)
}
