//! What a witness signs of a checkpoint (C2SP `tlog-cosignature`, `cosignature/v1` of Ed25519).
//!
//! What it does: reads a witness's key, and verifies its lines beneath a note's text. What it refuses to know: which witness is to be
//! trusted. Invariants: a line counts only under the name and id of the key that was given; its time is a part of what it signs.

use super::note::{NoteFault, SignedNote, is_name, key_id, verify_ed25519};
use base64::prelude::{BASE64_STANDARD, Engine as _};

/// The kind of a key for cosignatures.
const KIND_COSIGNATURE: u8 = 0x04;

/// A witness's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: u32,
    key: Vec<u8>,
}

/// That a witness saw a tree's head, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cosignature {
    /// Unix seconds; 0 says nothing.
    pub time: u64,
}

impl WitnessKey {
    /// From `name+id+key`, with a key of 32 bytes behind its kind, 4.
    pub(crate) fn parse(text: &str) -> Result<Self, NoteFault> {
        let parts = || {
            let (name, rest) = text.trim_end().split_once('+')?;
            let (id, key) = rest.split_once('+')?;
            let key = BASE64_STANDARD.decode(key).ok()?;
            let (kind, key) = key.split_first()?;
            let id = u32::from_str_radix(id, 16).ok().filter(|_| id.len() == 8)?;
            let is_key = *kind == KIND_COSIGNATURE && key.len() == 32 && is_name(name);
            (is_key && key_id(name, KIND_COSIGNATURE, key) == id).then(|| WitnessKey {
                name: name.to_owned(),
                id,
                key: key.to_owned(),
            })
        };
        parts().ok_or(NoteFault::Witness)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What this witness says of a note; `None`: nothing. A line of its that is wrong is a fault.
    pub(crate) fn open(&self, note: &str) -> Result<Option<Cosignature>, NoteFault> {
        let note = SignedNote::parse(note)?;
        let mut lines = note.signatures();
        let own = lines.find(|(name, id, _)| *name == self.name && *id == self.id);
        let Some((_, _, signature)) = own else {
            return Ok(None);
        };
        let time = self.verify(note.unproven_text(), signature)?;
        Ok(Some(Cosignature { time }))
    }

    /// The time of a signature: 8 bytes, then 64 of Ed25519.
    fn verify(&self, text: &str, signature: &[u8]) -> Result<u64, NoteFault> {
        let wrong = NoteFault::Wrong(self.id);
        let (time, signature) = signature.split_first_chunk().ok_or(wrong)?;
        let time = u64::from_be_bytes(*time);
        let signed = format!("cosignature/v1\ntime {time}\n{text}");
        match verify_ed25519(&self.key, signed.as_bytes(), signature) {
            true => Ok(time),
            false => Err(wrong),
        }
    }
}

impl std::fmt::Display for WitnessKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = BASE64_STANDARD.encode([&[KIND_COSIGNATURE], &*self.key].concat());
        write!(formatter, "{}+{:08x}+{key}", self.name, self.id)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::transparency::{Checkpoint, NoteSigner, TreeHash};

    /// A witness's key, and its line beneath a text.
    fn witness(name: &str, seed: u8, text: &str, time: u64) -> (String, String) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref();
        let id = key_id(name, KIND_COSIGNATURE, public);
        let key = BASE64_STANDARD.encode([&[KIND_COSIGNATURE], public].concat());
        let signed = format!("cosignature/v1\ntime {time}\n{text}");
        let signature = pair.sign(signed.as_bytes());
        let blob = [
            &id.to_be_bytes()[..],
            &time.to_be_bytes(),
            signature.as_ref(),
        ]
        .concat();
        let line = format!("\u{2014} {name} {}\n", BASE64_STANDARD.encode(blob));
        (format!("{name}+{id:08x}+{key}"), line)
    }

    /// Scenario: a checkpoint with a witness's line, without one, with another witness's, and with every byte changed in turn.
    /// Guarantees: the line counts for the text, time and key that it was made for, and for nothing else.
    #[test]
    fn a_line_counts_for_what_it_was_made_for() {
        let signer = NoteSigner::new("acme/gw-1", &[1; 32]).unwrap();
        let checkpoint = Checkpoint {
            origin: "acme/gw-1".to_owned(),
            size: 7,
            root: TreeHash::of_nothing(),
        };
        let note = checkpoint.sign([&signer]);
        let text = format!("{}\n", note.split_once("\n\n").unwrap().0);
        let (key, line) = witness("witness.example/w1", 9, &text, 1_800_000_000);
        let (_, other) = witness("witness.example/w1", 8, &text, 1_800_000_000);
        let key = WitnessKey::parse(&key).unwrap();
        let seen = Some(Cosignature {
            time: 1_800_000_000,
        });
        assert_eq!(key.open(&format!("{note}{line}")), Ok(seen));
        assert_eq!(key.open(&note), Ok(None));
        assert_eq!(key.open(&format!("{note}{other}")), Ok(None));
        let whole = format!("{note}{line}");
        for at in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let is_ours = (text.len() + 1..note.len()).contains(&at);
            assert!(key.open(&changed) != Ok(seen) || is_ours, "{at}: {changed}");
        }
    }

    #[test]
    fn what_is_no_key_of_a_witness_is_refused() {
        let (key, _) = witness("w", 9, "", 0);
        assert_eq!(
            WitnessKey::parse(&key).map(|it| it.to_string()),
            Ok(key.clone())
        );
        let log = NoteSigner::new("w", &[9; 32])
            .unwrap()
            .verifier()
            .to_string();
        let renamed = key.replacen('w', "v", 1);
        for wrong in ["", "w", "w+00000000+BA==", log.as_str(), renamed.as_str()] {
            assert_eq!(WitnessKey::parse(wrong), Err(NoteFault::Witness), "{wrong}");
        }
    }
}
