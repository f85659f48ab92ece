//! Signed notes (C2SP `signed-note` 1.0), with Ed25519.
//!
//! What it does: signs a text under a name, and opens what was signed. What it refuses to know: what the text says.
//! Invariants: a signature counts only from a key that was given, under its own name and id; a known key's wrong signature spoils
//! the note; what is read is bounded.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::prelude::{BASE64_STANDARD, Engine as _};

/// Of one note, in bytes.
const NOTE_LIMIT_BYTES: usize = 64 << 10;
const SIGNATURES_LIMIT: usize = 32;
/// The kind of an Ed25519 key, of which ids and encoded keys begin.
const KIND_ED25519: u8 = 0x01;
/// What a line of a signature begins with.
const DASH: &str = "\u{2014} ";

/// Why a note, or a key for notes, is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoteFault {
    #[error("a name of keys must be there, without spaces and `+`")]
    Name,
    #[error("a signing key must be 32 bytes")]
    Seed,
    #[error("a verifier key must be `name+id+key`, as `audit key` prints it")]
    Verifier,
    #[error("a witness's key must be `name+id+key`, of a key for cosignatures (kind 4)")]
    Witness,
    #[error("the note is malformed")]
    Malformed,
    #[error("the signature of key `{0:08x}` is wrong")]
    Wrong(u32),
    #[error("the note is signed by none of the given keys")]
    Unsigned,
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(|sign: char| sign.is_whitespace() || sign.is_control() || sign == '+')
}

/// The first 4 bytes of SHA-256 of the name, a line feed, and the key with its kind before it.
pub(super) fn key_id(name: &str, kind: u8, key: &[u8]) -> u32 {
    let hash = digest(&SHA256, &[name.as_bytes(), &[b'\n', kind], key].concat());
    hash.as_ref()
        .first_chunk()
        .map_or(0, |first| u32::from_be_bytes(*first))
}

/// Whether a key of 32 bytes signed it.
pub(super) fn verify_ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, key);
    key.verify(message, signature).is_ok()
}

/// A key that signs.
pub(crate) struct NoteSigner {
    verifier: NoteVerifier,
    pair: Ed25519KeyPair,
}

impl NoteSigner {
    /// `seed`: 32 bytes.
    pub(crate) fn new(name: &str, seed: &[u8]) -> Result<Self, NoteFault> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteFault::Seed)?;
        let verifier = NoteVerifier::of(name, pair.public_key().as_ref())?;
        Ok(NoteSigner { verifier, pair })
    }

    pub(crate) fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// The line of its signature of a text, with its end.
    fn line(&self, text: &str) -> String {
        let id = self.verifier.id.to_be_bytes();
        let signature = [&id, self.pair.sign(text.as_bytes()).as_ref()].concat();
        format!(
            "{DASH}{} {}\n",
            self.verifier.name,
            BASE64_STANDARD.encode(signature)
        )
    }
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoteVerifier {
    name: String,
    id: u32,
    key: Vec<u8>,
}

impl NoteVerifier {
    fn of(name: &str, key: &[u8]) -> Result<Self, NoteFault> {
        if !is_name(name) {
            return Err(NoteFault::Name);
        }
        Ok(NoteVerifier {
            name: name.to_owned(),
            id: key_id(name, KIND_ED25519, key),
            key: key.to_owned(),
        })
    }

    /// From `name+id+key`, the form of Go's `sumdb/note`.
    pub(crate) fn parse(text: &str) -> Result<Self, NoteFault> {
        let parts = || {
            let (name, rest) = text.trim_end().split_once('+')?;
            let (id, key) = rest.split_once('+')?;
            let key = BASE64_STANDARD.decode(key).ok()?;
            let (kind, key) = key.split_first()?;
            let id = u32::from_str_radix(id, 16).ok().filter(|_| id.len() == 8)?;
            (*kind == KIND_ED25519 && key.len() == 32)
                .then(|| NoteVerifier::of(name, key).ok())?
                .filter(|made| made.id == id)
        };
        parts().ok_or(NoteFault::Verifier)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Display for NoteVerifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = BASE64_STANDARD.encode([&[KIND_ED25519], &*self.key].concat());
        write!(formatter, "{}+{:08x}+{key}", self.name, self.id)
    }
}

/// A note as it is written, not yet trusted.
#[derive(Debug)]
pub(crate) struct SignedNote<'a> {
    text: &'a str,
    /// Names, ids and signatures.
    signatures: Vec<(&'a str, u32, Vec<u8>)>,
}

impl<'a> SignedNote<'a> {
    /// Takes it apart: the text, an empty line, and lines of signatures.
    pub(crate) fn parse(note: &'a str) -> Result<Self, NoteFault> {
        let parts = || {
            let is_plain = |sign: char| sign == '\n' || !sign.is_control();
            if note.len() > NOTE_LIMIT_BYTES || !note.chars().all(is_plain) {
                return None;
            }
            let split = note.rfind("\n\n")?;
            let (text, rest) = note.split_at_checked(split + 1)?;
            let lines = rest.strip_prefix('\n')?.strip_suffix('\n')?;
            let signatures = lines
                .split('\n')
                .map(|line| {
                    let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
                    let signature = BASE64_STANDARD.decode(signature).ok()?;
                    let (id, signature) = signature.split_first_chunk()?;
                    is_name(name).then(|| (name, u32::from_be_bytes(*id), signature.to_vec()))
                })
                .collect::<Option<Vec<_>>>()?;
            (signatures.len() <= SIGNATURES_LIMIT).then_some(SignedNote { text, signatures })
        };
        parts().ok_or(NoteFault::Malformed)
    }

    /// The text, if one of these keys signed it, and none of them otherwise than it is; with the keys that did.
    pub(crate) fn open<'k>(
        &self,
        keys: &'k [NoteVerifier],
    ) -> Result<(&'a str, Vec<&'k NoteVerifier>), NoteFault> {
        let mut good = Vec::new();
        for (name, id, signature) in &self.signatures {
            let known = keys.iter().find(|key| key.name == *name && key.id == *id);
            let Some(key) = known else { continue };
            if !verify_ed25519(&key.key, self.text.as_bytes(), signature) {
                return Err(NoteFault::Wrong(*id));
            }
            good.push(key);
        }
        if good.is_empty() {
            return Err(NoteFault::Unsigned);
        }
        Ok((self.text, good))
    }

    /// Names, ids and signatures, in their order.
    pub(super) fn signatures(&self) -> impl Iterator<Item = (&'a str, u32, &[u8])> {
        let each = self.signatures.iter();
        each.map(|(name, id, signature)| (*name, *id, signature.as_slice()))
    }

    /// The text, whether it is signed or not.
    pub(crate) fn unproven_text(&self) -> &'a str {
        self.text
    }

    /// Whether a line names this key; the signature is not looked at.
    pub(crate) fn names(&self, key: &NoteVerifier) -> bool {
        self.signatures
            .iter()
            .any(|(name, id, _)| *name == key.name && *id == key.id)
    }
}

/// Signs a text, which ends with a line feed, by each of the keys.
pub(super) fn sign<'k>(text: &str, keys: impl IntoIterator<Item = &'k NoteSigner>) -> String {
    let mut note = format!("{text}\n");
    keys.into_iter()
        .for_each(|key| note.push_str(&key.line(text)));
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Go's package `note`: its key, text and note.
    const GO_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    /// Scenario: the note that Go's library shows in its documentation. Guarantees: it opens under its key, and prints as it was.
    #[test]
    fn a_note_of_go_opens() {
        let key = NoteVerifier::parse(GO_VERIFIER).unwrap();
        assert_eq!(
            (key.name(), key.to_string().as_str()),
            ("PeterNeumann", GO_VERIFIER)
        );
        let keys = [key];
        let note = SignedNote::parse(GO_NOTE).unwrap();
        let (text, signed) = note.open(&keys).unwrap();
        assert_eq!(
            text,
            GO_NOTE.split_once("\n\n").unwrap().0.to_owned() + "\n"
        );
        assert_eq!(signed.len(), 1);
    }

    /// Scenario: a note signed by two keys, read by either, by both, by none; every byte of it changed in turn. Guarantees: it opens
    /// as it was for who knows a key, and never with another text.
    #[test]
    fn only_what_was_signed_opens() {
        let seeds = [[1; 32], [2; 32], [3; 32]];
        let signers: Vec<_> = seeds
            .iter()
            .map(|seed| NoteSigner::new("acme/gw-1", seed).unwrap())
            .collect();
        let keys: Vec<_> = signers.iter().map(|one| one.verifier().clone()).collect();
        let text = "acme/gw-1\n7\nroot\n";
        let signed = sign(text, &signers[..2]);
        for (given, opens) in [
            (&keys[..1], 1),
            (&keys[1..2], 1),
            (&keys[..], 2),
            (&keys[2..], 0),
        ] {
            let opened = SignedNote::parse(&signed)
                .unwrap()
                .open(given)
                .map(|(text, by)| (text, by.len()));
            let expected = if opens > 0 {
                Ok((text, opens))
            } else {
                Err(NoteFault::Unsigned)
            };
            assert_eq!(opened, expected);
        }
        for at in 0..signed.len() {
            let mut bytes = signed.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let opened = SignedNote::parse(&changed)
                .and_then(|note| note.open(&keys[..1]).map(|(text, _)| text.to_owned()));
            assert!(
                opened.is_err() || opened == Ok(text.to_owned()),
                "{at}: {changed}"
            );
        }
    }

    #[test]
    fn what_is_no_key_or_note_is_refused() {
        for seed in [&[] as &[u8], &[1; 31], &[1; 33]] {
            assert_eq!(NoteSigner::new("a", seed).err(), Some(NoteFault::Seed));
        }
        for name in ["", "a b", "a+b", "a\nb"] {
            assert_eq!(
                NoteSigner::new(name, &[1; 32]).err(),
                Some(NoteFault::Name),
                "{name}"
            );
        }
        for verifier in [
            "",
            "a",
            "a+b",
            "a+00000000+AA==",
            &GO_VERIFIER.replace("c74f", "c74e"),
        ] {
            assert_eq!(
                NoteVerifier::parse(verifier),
                Err(NoteFault::Verifier),
                "{verifier}"
            );
        }
        let long = GO_NOTE.replacen("If", &"x".repeat(NOTE_LIMIT_BYTES), 1);
        for note in [
            "",
            "\n\n",
            "text\n\n",
            "text\n\nline\n",
            "text\n\n\u{2014} a\n",
            "a\r\n\n\u{2014} a AAAAAAA=\n",
            &long,
        ] {
            assert_eq!(
                SignedNote::parse(note).err(),
                Some(NoteFault::Malformed),
                "{note}"
            );
        }
    }
}
