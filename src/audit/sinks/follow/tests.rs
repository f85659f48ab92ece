//! Trails that grow, are rotated, compressed, cut and thinned out while they are read. What it refuses to know: how they are sent.

use std::io::Write as _;

use super::*;
use crate::audit::seal::tests::TestTrail;

const SOME: QueueBounds = QueueBounds {
    records: 3,
    bytes: 1 << 20,
};

fn line(seq: u64) -> String {
    format!("{{\"seq\":{seq},\"time\":\"\"}}")
}

fn lines(seqs: std::ops::Range<u64>) -> String {
    seqs.map(|seq| line(seq) + "\n").collect()
}

/// One folder with a trail in it.
struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        Ground {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.folder.path().join(format!("audit.jsonl{ending}"))
    }

    fn write(&self, ending: &str, text: &str) {
        std::fs::write(self.path(ending), text).unwrap();
    }

    fn append(&self, text: &str) {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path(""));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn follower(&self, next: u64) -> TrailFollower {
        let place = FollowerPlace {
            next,
            ..FollowerPlace::default()
        };
        TrailFollower::new(&self.path(""), None, place)
    }
}

/// All that can be read now; the trail is written up to `next`.
fn all(follower: &mut TrailFollower, next: u64) -> Vec<u64> {
    let progress = TrailProgress { next, sealed: 0 };
    let mut seqs = Vec::new();
    loop {
        let read = follower.read(progress, SOME).unwrap();
        assert!(read.len() <= SOME.records);
        if read.is_empty() {
            return seqs;
        }
        for entry in read {
            let SinkEntry::Record { seq, line: found } = entry else {
                panic!("{entry:?}");
            };
            assert_eq!(found, line(seq).as_bytes());
            seqs.push(seq);
        }
    }
}

/// Scenario: a file that grows, with a line in part at its end for a while. Guarantees: each line once, in order, and only whole ones.
#[test]
fn a_file_that_grows_is_read_line_by_line() {
    let ground = Ground::new();
    let mut follower = ground.follower(0);
    assert_eq!(all(&mut follower, 0), [0; 0]);
    // Told of before there is a file.
    assert_eq!(all(&mut follower, 5), [0; 0]);
    ground.append(&lines(0..5));
    assert_eq!(all(&mut follower, 5), [0, 1, 2, 3, 4]);
    let (begin, end) = ("{\"seq\":5,\"ti", "me\":\"\"}\n");
    ground.append(begin);
    assert_eq!(all(&mut follower, 6), [0; 0]);
    ground.append(end);
    assert_eq!(all(&mut follower, 6), [5]);
    // Numbers that were never given, and lines that are no records.
    ground.append("\nno record\n");
    ground.append(&lines(20..22));
    assert_eq!(all(&mut follower, 22), [20, 21]);
    assert_eq!(follower.take_gap(), None);
    let mut late = ground.follower(4);
    assert_eq!(all(&mut late, 22), [4, 5, 20, 21]);
}

/// Scenario: rotations while the reader keeps up, is behind by several, and begins anew; a file that still grows after it was moved; one
/// that is compressed; files beside that are no part. Guarantees: each record once and in order.
#[test]
fn rotations_are_followed() {
    let ground = Ground::new();
    ground.append(&lines(0..4));
    let mut follower = ground.follower(0);
    assert_eq!(all(&mut follower, 4), [0, 1, 2, 3]);
    let move_to = |ending: &str| std::fs::rename(ground.path(""), ground.path(ending)).unwrap();
    move_to(".1");
    // The writer has the file that was moved until it is told to let go.
    let mut old = std::fs::OpenOptions::new()
        .append(true)
        .open(ground.path(".1"))
        .unwrap();
    old.write_all(lines(4..6).as_bytes()).unwrap();
    assert_eq!(all(&mut follower, 6), [4, 5]);
    ground.write("", "");
    assert_eq!(all(&mut follower, 6), [0; 0]);
    ground.append(&lines(6..8));
    move_to(".00000000000000000006");
    ground.append(&lines(8..10));
    ground.write(".seq", "00000000000000000010 taken\n");
    ground.write(".cut", &lines(3..4));
    ground.write(".otlp.sink", "{\"next\":3,\"sealed\":0,\"notes\":0}\n");
    std::fs::create_dir(ground.path(".policies")).unwrap();
    assert_eq!(all(&mut follower, 10), [6, 7, 8, 9]);
    // What was read is compressed; another reader begins in it.
    let packed = zstd::stream::encode_all(lines(0..6).as_bytes(), 1).unwrap();
    std::fs::write(ground.path(".1"), packed).unwrap();
    for (from, expected) in [
        (0, (0..10).collect::<Vec<_>>()),
        (3, (3..10).collect()),
        (7, (7..10).collect()),
        (10, vec![]),
    ] {
        let mut late = ground.follower(from);
        assert_eq!(all(&mut late, 10), expected, "{from}");
        assert_eq!(late.take_gap(), None, "{from}");
    }
}

/// Scenario: the oldest files, or one between, are taken away before they were read; a file is emptied in its place. Guarantees:
/// what is there is read, and what is not is told by its numbers.
#[test]
fn files_that_are_gone_are_told() {
    let ground = Ground::new();
    ground.write(".00000000000000000010", &lines(10..12));
    ground.write(".00000000000000000020", &lines(20..22));
    ground.append(&lines(22..24));
    let mut follower = ground.follower(3);
    assert_eq!(all(&mut follower, 24), [10, 11, 20, 21, 22, 23]);
    assert_eq!(follower.take_gap(), Some(Gap { first: 3, last: 19 }));
    assert_eq!(follower.take_gap(), None);
    let mut anywhere = ground.follower(0).starting_at_the_oldest();
    assert_eq!(all(&mut anywhere, 12), [10, 11]);
    assert_eq!(anywhere.take_gap(), None);
    assert_eq!(all(&mut anywhere, 22), [20, 21]);
    assert_eq!(
        anywhere.take_gap(),
        Some(Gap {
            first: 12,
            last: 19
        })
    );
    ground.write("", &lines(24..25));
    assert_eq!(all(&mut follower, 25), [24]);
    std::fs::remove_file(ground.path("")).unwrap();
    assert_eq!(all(&mut follower, 26), [0; 0]);
    ground.append(&lines(25..26));
    assert_eq!(all(&mut follower, 26), [25]);
}

/// Scenario: lines longer than what is read at once, and one that is longer than any record. Guarantees: the former are whole, the
/// latter is passed over, and what is read is bounded.
#[test]
fn long_lines_are_whole_or_passed_over() {
    let ground = Ground::new();
    let long =
        |seq: u64, length: usize| format!("{{\"seq\":{seq},\"x\":\"{}\"}}\n", "x".repeat(length));
    ground.append(&long(0, CHUNK_BYTES + 10));
    ground.append(&long(1, 3 * LINE_LIMIT_BYTES));
    ground.append(&long(2, 10));
    let mut follower = ground.follower(0);
    let progress = TrailProgress { next: 3, sealed: 0 };
    let mut read = Vec::new();
    for _ in 0..20 {
        let found = follower.read(progress, SOME).unwrap();
        read.extend(
            found
                .iter()
                .map(|entry| (entry.seq().unwrap(), entry.length())),
        );
    }
    assert_eq!(read, [(0, CHUNK_BYTES + 10 + 16), (2, 26)]);
}

/// Scenario: a trail that the real writer seals every three records, read from its begin, from a place in it, and after a
/// rotation. Guarantees: each checkpoint comes once, behind the last record that it states and before the next.
#[test]
fn checkpoints_come_between_records() {
    let mut trail = TestTrail::new(3);
    trail.run(5);
    trail.run(4);
    trail.run(3);
    let notes: Vec<_> = sealed_texts(&trail.checkpoints())
        .map(|(_, note)| note.to_owned())
        .collect();
    assert!(notes.len() > 2, "{notes:?}");
    let text = std::fs::read_to_string(trail.path("audit.jsonl")).unwrap();
    let count = text.lines().count() as u64;
    let path = trail.path("audit.jsonl.checkpoints");
    let read = |place, progress: TrailProgress| {
        let mut follower = TrailFollower::new(&trail.path("audit.jsonl"), Some(&path), place);
        let mut found = Vec::new();
        loop {
            let read = follower.read(progress, SOME).unwrap();
            if read.is_empty() {
                return (found, follower.place());
            }
            found.extend(read);
        }
    };
    let whole = TrailProgress {
        next: count,
        sealed: count,
    };
    let (found, end) = read(FollowerPlace::default(), whole);
    let mut next = 0;
    let mut seen = Vec::new();
    for entry in &found {
        match entry {
            SinkEntry::Record { seq, .. } => next = seq + 1,
            SinkEntry::Checkpoint { size, note } => {
                assert_eq!(*size, next);
                seen.push(String::from_utf8(note.to_vec()).unwrap());
            }
        }
    }
    assert_eq!((seen, next), (notes.clone(), count));
    // Wherever it stops, the rest is what comes.
    for middle in 0..=count {
        let progress = TrailProgress {
            next: middle,
            sealed: middle,
        };
        let (first, place) = read(FollowerPlace::default(), progress);
        let (rest, again) = read(place, whole);
        assert_eq!([first, rest].concat(), found, "{middle}");
        assert_eq!(again, end);
    }
}
