//! Trails of the real writer, changed in every way. What it refuses to know: how a trail is written.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::super::TrailArguments;
use super::super::sealed::{WrongHead, heads};
use super::*;
use crate::audit::seal::tests::TestTrail;
use crate::audit::verifiers;
use crate::transparency::NoteVerifier;

/// A trail with five parts, and what it is verified with.
struct Sealed {
    trail: TestTrail,
    keys: Vec<NoteVerifier>,
    text: String,
    checkpoints: String,
}

fn sealed(parts: u64, tail: u64) -> Sealed {
    let mut trail = TestTrail::new(3);
    let opened = trail.open().unwrap();
    let count = |trail: &TestTrail| trail.checkpoints().matches("\n\n").count() as u64;
    for part in 1..=parts {
        trail.calls(&opened, 4);
        let patience = Instant::now() + Duration::from_secs(30);
        while count(&trail) < part {
            assert!(Instant::now() < patience, "no checkpoint");
            std::thread::yield_now();
        }
    }
    opened.close(Duration::from_secs(30));
    let checkpoints = trail.checkpoints();
    if tail > 0 {
        trail.run(tail);
        // Its end left no checkpoint.
        fs::write(trail.path("audit.jsonl.checkpoints"), &checkpoints).unwrap();
    }
    let keys = verifiers(trail.settings.seal.as_ref().unwrap()).unwrap();
    let text = fs::read_to_string(trail.path("audit.jsonl")).unwrap();
    Sealed {
        trail,
        keys,
        text,
        checkpoints,
    }
}

impl Sealed {
    /// Verifies the trail with this text in its file.
    fn verify(&self, text: &[u8]) -> VerifiedTrail {
        let file = self.trail.path("audit.jsonl");
        fs::write(&file, text).unwrap();
        let seals = Seals {
            path: PathBuf::new(),
            text: self.checkpoints.clone(),
            heads: heads(&self.checkpoints, &self.keys).unwrap(),
            begin: TreeEdge::default(),
        };
        let files = in_order(&TrailArguments {
            config: None,
            files: vec![file],
            quiet: true,
        })
        .unwrap();
        let mut verifier = Verifier::new(&seals);
        walk(&files, true, |place, line| Ok(verifier.see(place, line))).unwrap();
        verifier.finish()
    }

    /// The number of the one line that is named.
    fn named(&self, text: &[u8]) -> Option<u64> {
        let wrong = self.verify(text).wrong?;
        assert_eq!(wrong.first, wrong.last, "{wrong:?}");
        Some(wrong.first.line)
    }

    fn lines(&self) -> Vec<&str> {
        self.text.lines().collect()
    }
}

fn joined(lines: &[&str]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.as_bytes(), b"\n"].concat())
        .collect()
}

/// Scenario: a trail as it was written, with and without records behind the last checkpoint. Guarantees: it is found as it was
/// sealed, with exactly its counts.
#[test]
fn a_trail_as_it_was_written_is_found_so() {
    for (tail, unsealed) in [(0, 0), (2, 3)] {
        let sealed = sealed(3, tail);
        let verified = sealed.verify(sealed.text.as_bytes());
        assert_eq!(verified.wrong, None);
        assert_eq!(verified.lines as usize, sealed.lines().len());
        assert_eq!((verified.checkpoints, verified.unsealed), (3, unsealed));
        assert_eq!((verified.missing, verified.is_torn), (0, false));
    }
}

/// Scenario: every byte of a trail in turn, changed in its lowest bit, to a line's end, to a quotation mark, and taken away.
/// Guarantees: each is found, and the line is named, those of checkpoints among them.
#[test]
fn every_changed_byte_is_found_and_placed() {
    let sealed = sealed(3, 0);
    let text = sealed.text.as_bytes();
    let mut line = 1;
    for at in 0..text.len() {
        for change in [Some(text[at] ^ 1), Some(b'\n'), Some(b'"'), None] {
            let mut changed = text.to_vec();
            match change {
                Some(byte) if byte == text[at] => continue,
                Some(byte) => changed[at] = byte,
                None => drop(changed.remove(at)),
            }
            let expected = Some(line);
            assert_eq!(
                sealed.named(&changed),
                expected,
                "byte {at} as {change:?}: {}",
                String::from_utf8_lossy(&changed)
            );
        }
        line += u64::from(text[at] == b'\n');
    }
}

/// Scenario: every line in turn is taken away, written twice, swapped with the next, put in from another place, and is the first of
/// those that are cut off. Guarantees: each is found, and the first line is named that is not where it was.
#[test]
fn every_moved_line_is_found_and_placed() {
    let sealed = sealed(3, 0);
    let lines = sealed.lines();
    for at in 0..lines.len() {
        let number = at as u64 + 1;
        let mut removed = lines.clone();
        removed.remove(at);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at]);
        let mut inserted = lines.clone();
        inserted.insert(at, "{\"seq\":7,\"event\":\"call\"}");
        let cut = &lines[..at];
        let table = [
            ("removed", joined(&removed), number),
            ("doubled", joined(&doubled), number + 1),
            ("inserted", joined(&inserted), number),
            ("cut", joined(cut), number),
        ];
        for (what, text, expected) in table {
            assert_eq!(sealed.named(&text), Some(expected), "{what} {number}");
        }
        if at + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            assert_eq!(
                sealed.named(&joined(&swapped)),
                Some(number),
                "swapped {number}"
            );
        }
    }
    for length in 0..sealed.text.len() {
        let text = &sealed.text.as_bytes()[..length];
        let whole = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(sealed.named(text), Some(whole + 1), "cut at byte {length}");
    }
}

/// Scenario: lines behind the last checkpoint are cut off, or changed. Guarantees: no checkpoint speaks for them, and that is said: the
/// count tells how many are unsealed, and a line in part is told of.
#[test]
fn what_is_unsealed_is_told() {
    let sealed = sealed(2, 2);
    let lines = sealed.lines();
    for unsealed in 0..3 {
        let verified = sealed.verify(&joined(&lines[..lines.len() - 3 + unsealed]));
        assert_eq!((verified.wrong, verified.unsealed), (None, unsealed as u64));
    }
    let torn = &sealed.text.as_bytes()[..sealed.text.len() - 4];
    let verified = sealed.verify(torn);
    assert_eq!(
        (verified.wrong, verified.unsealed, verified.is_torn),
        (None, 2, true)
    );
}

/// Scenario: checkpoints are changed, taken away, moved, signed by another key, and forked by the key's own holder. Guarantees: no trail
/// is found as it was sealed by checkpoints that are not of its log; two faces of one size are told.
#[test]
fn wrong_checkpoints_are_found() {
    let sealed = sealed(3, 0);
    let notes: Vec<&str> = crate::transparency::sealed_texts(&sealed.checkpoints)
        .map(|(_, note)| note)
        .collect();
    let is_good = |text: &str| heads(text, &sealed.keys).map(|heads| heads.len());
    assert_eq!(is_good(&sealed.checkpoints), Ok(3));
    for at in 0..sealed.checkpoints.len() {
        let mut changed = sealed.checkpoints.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else {
            continue;
        };
        assert!(is_good(&changed).is_err(), "{at}: {changed}");
    }
    let line = |note: usize| {
        1 + notes[..note]
            .iter()
            .map(|note| note.matches('\n').count() as u64)
            .sum::<u64>()
    };
    let swapped = [notes[1], notes[0], notes[2]].concat();
    assert!(matches!(is_good(&swapped), Err((at, WrongHead::Smaller { .. })) if at == line(1)));
    assert_eq!(is_good(&[notes[0], notes[2]].concat()), Ok(2));

    let mut forked = TestTrail::new(3);
    forked.calls(&{ forked.open().unwrap() }, 0);
    let first = sealed.lines()[0].replace("call-1", "call-9");
    fs::write(
        forked.path("audit.jsonl"),
        joined(&[
            &first,
            sealed.lines()[1],
            sealed.lines()[2],
            sealed.lines()[3],
        ]),
    )
    .unwrap();
    let _ = fs::remove_file(forked.path("audit.jsonl.tree"));
    let _ = fs::remove_file(forked.path("audit.jsonl.checkpoints"));
    let opened = forked.open().unwrap();
    opened.close(Duration::from_secs(30));
    let fork = forked.checkpoints();
    let both = [notes[0], &fork].concat();
    assert_eq!(is_good(&both), Err((line(1), WrongHead::Forked(5))));

    let mut other = TestTrail::new(3);
    other.keys(&["key-2"]);
    let keys = verifiers(other.settings.seal.as_ref().unwrap()).unwrap();
    assert!(heads(&sealed.checkpoints, &keys).is_err_and(|(line, _)| line == 1));
}
