//! Another's reader of transparency logs before a trail: Cloudflare's crates `signed_note` and `tlog_tiles`, which know nothing of ours.

use serde_json::Value;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    Checkpoint, Error, Hash, HashReader, check_record, check_tree, record_hash, stored_hashes,
    tree_hash,
};

use super::sealed::{audit, call, end, furnish, key, start};
use crate::folder::Folder;

/// The hashes of a tree in the order in which that reader stores them.
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, places: &[u64]) -> Result<Vec<Hash>, Error> {
        Ok(places
            .iter()
            .map(|place| self.0[usize::try_from(*place).unwrap()])
            .collect())
    }
}

/// The tree over the trail's lines; numbers without one are empty leaves.
fn tree(folder: &Folder) -> Stored {
    let mut stored = Stored(Vec::new());
    let mut next = 0;
    for line in std::fs::read_to_string(folder.join("audit.jsonl"))
        .unwrap()
        .lines()
    {
        let record: Value = serde_json::from_str(line).unwrap();
        let seq = record["seq"].as_u64().unwrap();
        while next <= seq {
            let leaf = if next == seq { line } else { "" };
            let hashes = stored_hashes(next, leaf.as_bytes(), &stored).unwrap();
            stored.0.extend(hashes);
            next += 1;
        }
    }
    stored
}

/// What a note of the log states, if its key signed it.
fn opened(note: &str, key: &str) -> Checkpoint {
    let note = Note::from_bytes(note.as_bytes()).unwrap();
    let verifier = StandardVerifier::new(key).unwrap();
    let known = VerifierList::new(vec![Box::new(verifier)]);
    assert_eq!(note.verify(&known).unwrap().0.len(), 1);
    Checkpoint::from_bytes(note.text()).unwrap()
}

/// Scenario: a gateway takes calls and ends. Guarantees: the other reader opens every checkpoint by the printed key, and comes to its root
/// over the lines; it takes the proof of each of some records and the growth between any two checkpoints, and none of another line.
#[test]
fn cloudflares_reader_verifies_a_trail() {
    let folder = furnish(
        "audit: { file: audit.jsonl, name: trail, instance: gw-1, every: { records: 5, time: 100ms } }",
    );
    let (gateway, address) = start(&folder);
    let ids: Vec<String> = (0..30).map(|_| call(address).unwrap()).collect();
    end(&gateway);
    let key = key(&folder);
    let stored = tree(&folder);
    let text = std::fs::read_to_string(folder.join("audit.jsonl.checkpoints")).unwrap();
    // A note ends with its signatures; the next begins with the log's name.
    let notes: Vec<String> = text
        .split("trail/gw-1\n")
        .skip(1)
        .map(|rest| format!("trail/gw-1\n{rest}"))
        .collect();
    assert!(notes.len() > 3, "{text}");
    let heads: Vec<Checkpoint> = notes.iter().map(|note| opened(note, &key)).collect();
    for head in &heads {
        assert_eq!(head.origin(), "trail/gw-1");
        assert_eq!(tree_hash(head.size(), &stored).unwrap(), *head.hash());
    }
    let parsed = |hash: &str| Hash::parse_hash(hash).unwrap();
    for id in ids.iter().step_by(5) {
        let proven = audit(&folder, &["prove", id, "--output", "json"]).json();
        let (line, proof) = (
            proven["line"].as_str().unwrap(),
            proven["proof"].as_str().unwrap(),
        );
        let (path, note) = proof.split_once("\n\n").unwrap();
        let path: Vec<Hash> = path.lines().skip(2).map(parsed).collect();
        let head = opened(note, &key);
        let index = proven["index"].as_u64().unwrap();
        let check = |line: &str| {
            check_record(
                &path,
                head.size(),
                *head.hash(),
                index,
                record_hash(line.as_bytes()),
            )
        };
        check(line).unwrap();
        assert!(check(&line.replace("401", "200")).is_err());
    }
    let last = heads.last().unwrap();
    for head in heads.iter().take(heads.len() - 1) {
        let from = head.size().to_string();
        let grown = audit(
            &folder,
            &["consistency", "--from", &from, "--output", "json"],
        )
        .json();
        let path = grown["hashes"].as_array().unwrap().iter();
        let path: Vec<Hash> = path.map(|hash| parsed(hash.as_str().unwrap())).collect();
        check_tree(&path, last.size(), *last.hash(), head.size(), *head.hash()).unwrap();
        let other = check_tree(&path, last.size(), *last.hash(), head.size(), *last.hash());
        assert!(other.is_err());
    }
}
