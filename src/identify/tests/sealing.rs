//! Sealed texts, attacked.
//!
//! What it does: changes what was sealed in every way there is, and shows it where it does not belong. What it refuses
//! to know: what is sealed in earnest. Invariant: every row names the attack.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::super::forge::Folder;
use super::super::login::inside::{Keyring, Purpose};
use crate::causes::lines;
use crate::secret::SecretRef;

const HERE: Purpose<'_> = Purpose {
    name: "__Host-a",
    origin: "https://gateway.example",
};

fn ring(folder: &Folder, bytes: &[u8]) -> Keyring {
    let keys: Vec<_> = bytes
        .iter()
        .map(|byte| {
            SecretRef::File(folder.write(&format!("key-{byte}"), STANDARD.encode([*byte; 32])))
        })
        .collect();
    Keyring::read(&keys).unwrap()
}

fn opened(ring: &Keyring, purpose: Purpose<'_>, text: &str) -> Option<Vec<u8>> {
    ring.open(purpose, text).map(|plain| plain.to_vec())
}

#[test]
fn what_is_sealed_opens_in_its_place_only() {
    let folder = Folder::new();
    let ours = ring(&folder, &[1, 2]);
    let text = ours.seal(HERE, b"hello").unwrap();
    let other = ours.seal(HERE, b"hello").unwrap();
    assert_ne!(text, other, "nonces are random");
    let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
    let changed = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        URL_SAFE_NO_PAD.encode(bytes)
    };
    let purpose = |name, origin| Purpose { name, origin };
    for (what, ring, purpose, text, holds) in [
        ("as sealed", &ours, HERE, text.clone(), true),
        (
            "rotated: no longer first",
            &self::ring(&folder, &[3, 1]),
            HERE,
            text.clone(),
            true,
        ),
        (
            "another key",
            &self::ring(&folder, &[2]),
            HERE,
            text.clone(),
            false,
        ),
        (
            "another cookie's name",
            &ours,
            purpose("__Host-b", HERE.origin),
            text.clone(),
            false,
        ),
        (
            "another host",
            &ours,
            purpose(HERE.name, "https://gateway.example.evil"),
            text.clone(),
            false,
        ),
        (
            "another scheme",
            &ours,
            purpose(HERE.name, "http://gateway.example"),
            text.clone(),
            false,
        ),
        (
            "name and origin moved",
            &ours,
            purpose("__Host-ah", "ttps://gateway.example"),
            text.clone(),
            false,
        ),
        ("another version", &ours, HERE, changed(0), false),
        ("another key's id", &ours, HERE, changed(1), false),
        ("another nonce", &ours, HERE, changed(9), false),
        ("a flipped bit", &ours, HERE, changed(21), false),
        (
            "a flipped tag",
            &ours,
            HERE,
            changed(bytes.len() - 1),
            false,
        ),
        (
            "cut off",
            &ours,
            HERE,
            text.get(..text.len() - 4).unwrap().to_owned(),
            false,
        ),
        ("longer", &ours, HERE, format!("{text}AAAA"), false),
        ("padded", &ours, HERE, format!("{text}="), false),
        ("nothing", &ours, HERE, String::new(), false),
        (
            "no tag",
            &ours,
            HERE,
            URL_SAFE_NO_PAD.encode(&bytes[..21]),
            false,
        ),
        (
            "no nonce",
            &ours,
            HERE,
            URL_SAFE_NO_PAD.encode(&bytes[..12]),
            false,
        ),
        ("not base64", &ours, HERE, "%%%%".to_owned(), false),
        ("huge", &ours, HERE, "A".repeat(1 << 20), false),
    ] {
        assert_eq!(
            opened(ring, purpose, &text),
            holds.then(|| b"hello".to_vec()),
            "{what}"
        );
    }
}

#[test]
fn keys_are_told_by_their_length_and_never_repeated() {
    let folder = Folder::new();
    let write = |name: &str, text: &str| SecretRef::File(folder.write(name, text));
    let hexadecimal = "0f".repeat(32);
    for (what, text, taken) in [
        ("base64", STANDARD.encode([255; 32]), true),
        ("base64url", URL_SAFE_NO_PAD.encode([255; 32]), true),
        ("hexadecimal", hexadecimal.clone(), true),
        ("capitals", hexadecimal.to_uppercase(), true),
        ("31 bytes", STANDARD.encode([7; 31]), false),
        ("33 bytes", STANDARD.encode([7; 33]), false),
        (
            "48 bytes, which have 64 characters",
            STANDARD.encode([7; 48]),
            false,
        ),
        ("a password", "canary-password".to_owned(), false),
        ("empty", String::new(), false),
    ] {
        let read = Keyring::read(&[write("key", &text)]);
        assert_eq!(read.is_ok(), taken, "{what}");
        let said = lines(&read.err().unwrap_or_default()).join("\n");
        assert!(text.is_empty() || !said.contains(&text), "{what}: {said}");
    }
    let twice = Keyring::read(&[write("a", &hexadecimal), write("b", &hexadecimal)])
        .err()
        .unwrap();
    assert!(lines(&twice)[0].contains("the same key"), "{twice:?}");
    assert!(Keyring::read(&[]).is_err());
}

proptest! {
    #[test]
    fn no_change_of_a_sealed_text_opens(plain: Vec<u8>, at: prop::sample::Index, bit in 0..8u8, cut: prop::sample::Index) {
        let folder = Folder::new();
        let ring = ring(&folder, &[1]);
        let text = ring.seal(HERE, &plain).unwrap();
        prop_assert_eq!(opened(&ring, HERE, &text), Some(plain));
        let mut flipped = text.clone().into_bytes();
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        if let Ok(flipped) = String::from_utf8(flipped) {
            prop_assert_eq!(opened(&ring, HERE, &flipped), None);
        }
        let (head, tail) = text.split_at(cut.index(text.len()));
        prop_assert_eq!(opened(&ring, HERE, head), None);
        let swapped = format!("{tail}{head}");
        prop_assert!(swapped == text || opened(&ring, HERE, &swapped).is_none());
    }

    #[test]
    fn no_text_of_a_strangers_opens(text: String) {
        let folder = Folder::new();
        prop_assert_eq!(opened(&ring(&folder, &[1]), HERE, &text), None);
    }
}
