//! Trails that were begun, ended, killed and moved about, as the real writer leaves them. What it refuses to know: the network.

use std::path::Path;

use super::*;
use crate::audit::{AuditSettings, Durability, OnFailure, RotationSettings, Trail, TrailFault};
use crate::clock::UnixMillis;
use crate::secret::SecretRef;

/// A trail in a folder of its own.
pub(crate) struct TestTrail {
    pub folder: tempfile::TempDir,
    pub settings: AuditSettings,
    calls: u64,
}

pub(crate) const NAME: &str = "acme/gw-1";

impl TestTrail {
    /// `records`: between two checkpoints.
    pub(crate) fn new(records: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        let mut trail = TestTrail {
            settings: AuditSettings {
                file: Some(file.clone()),
                on_failure: OnFailure::Refuse,
                queue_records: 64,
                queue_bytes: 1 << 20,
                seal: Some(SealSettings {
                    origin: NAME.to_owned(),
                    keys: Vec::new(),
                    checkpoints: folder.path().join("audit.jsonl.checkpoints"),
                    records,
                    interval: Duration::from_secs(3600),
                }),
                durability: Durability::Interval,
                rotation: None,
                sinks: Vec::new(),
            },
            folder,
            calls: 0,
        };
        trail.keys(&["key-1"]);
        trail
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs with these from now on; a key's seed is its name.
    pub(crate) fn keys(&mut self, names: &[&str]) {
        let refs = names.iter().map(|name| {
            let path = self.folder.path().join(name);
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
            std::fs::write(&path, data_encoding::HEXLOWER.encode(digest.as_ref())).unwrap();
            SecretRef::File(path)
        });
        let refs = refs.collect();
        self.seal().keys = refs;
    }

    pub(crate) fn seal(&mut self) -> &mut SealSettings {
        self.settings.seal.as_mut().unwrap()
    }

    pub(crate) fn open(&self) -> Result<Trail, TrailFault> {
        let (clock, _) = Clock::manual(UnixMillis(1_800_000_000_000));
        Trail::open(&self.settings, clock)
    }

    /// Records so many calls, and waits until they are written.
    pub(crate) fn calls(&mut self, trail: &Trail, count: u64) {
        let until = trail.health().written_records() + count;
        for _ in 0..count {
            self.calls += 1;
            trail.note(Record {
                time: timestamp(1_800_000_000_000 + self.calls as i64),
                request_id: format!("call-{}", self.calls),
                reason: Reason::Ok,
                ..Record::default()
            });
        }
        let patience = Instant::now() + Duration::from_secs(30);
        while trail.health().written_records() < until {
            assert!(Instant::now() < patience, "records are not written");
            std::thread::yield_now();
        }
    }

    /// Opens, records and ends.
    pub(crate) fn run(&mut self, count: u64) {
        let trail = self.open().unwrap();
        self.calls(&trail, count);
        trail.close(Duration::from_secs(30));
    }

    pub(crate) fn checkpoints(&self) -> String {
        std::fs::read_to_string(self.path("audit.jsonl.checkpoints")).unwrap_or_default()
    }

    /// What the checkpoints state, each opened with the present keys.
    fn heads(&self) -> Vec<(Checkpoint, usize)> {
        let keys = verifiers(self.settings.seal.as_ref().unwrap()).unwrap();
        sealed_texts(&self.checkpoints())
            .map(|(_, note)| {
                Checkpoint::open(note, &keys)
                    .map(|(head, by)| (head, by.len()))
                    .unwrap()
            })
            .collect()
    }

    /// The root over the lines of these files, by their numbers.
    fn root(&self, files: &[&str]) -> (u64, TreeHash) {
        let mut edge = TreeEdge::default();
        for file in files {
            for line in std::fs::read_to_string(self.path(file)).unwrap().lines() {
                let seq = serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"]
                    .as_u64()
                    .unwrap();
                edge.fill_to(seq);
                edge.push(TreeHash::of_leaf(line.as_bytes()));
            }
        }
        (edge.size(), edge.root())
    }

    fn last_is_of(&self, files: &[&str]) {
        let (last, _) = self.heads().pop().unwrap();
        assert_eq!((last.size, last.root), self.root(files));
    }
}

fn foreign(opened: Result<Trail, TrailFault>) -> Option<ForeignCause> {
    match opened {
        Err(TrailFault::Seal(SealFault::Foreign { why, .. })) => Some(why),
        _ => None,
    }
}

/// Scenario: three lives of a process, all of which end well. Guarantees: each leaves a checkpoint of all lines, sizes grow, and
/// the newest one is there for who asks.
#[test]
fn a_trail_is_sealed_over_restarts() {
    let mut trail = TestTrail::new(5);
    for count in [3, 9, 0, 1] {
        trail.run(count);
        trail.last_is_of(&["audit.jsonl"]);
    }
    let sizes: Vec<u64> = trail.heads().iter().map(|(head, _)| head.size).collect();
    assert!(sizes.is_sorted_by(|one, next| one < next), "{sizes:?}");
    let opened = trail.open().unwrap();
    let newest = opened.checkpoint().unwrap();
    assert!(trail.checkpoints().ends_with(&*newest));
    opened.close(Duration::from_secs(30));
}

/// Scenario: a process is killed with lines behind the last checkpoint, the last of them in part; the file stays, or is moved away
/// before the next start. Guarantees: the tree has the whole lines, the part is cut off and kept beside, and what follows goes on.
#[test]
fn the_edge_is_taken_up_after_a_kill() {
    for is_moved in [false, true] {
        let mut trail = TestTrail::new(1000);
        trail.run(4);
        let file = trail.path("audit.jsonl");
        let tail = "{\"seq\":5,\"time\":\"a\"}\n{\"seq\":6,\"time\":\"b\"}\n{\"seq\":7,\"ti";
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(&file)
            .unwrap()
            .write_all(tail.as_bytes())
            .unwrap();
        std::fs::write(
            trail.path("audit.jsonl.seq"),
            "00000000000000016384 taken\n",
        )
        .unwrap();
        let mut files = vec!["audit.jsonl"];
        if is_moved {
            std::fs::rename(&file, trail.path("audit.jsonl.1")).unwrap();
            files.insert(0, "audit.jsonl.1");
        }
        let opened = trail.open().unwrap();
        assert_eq!(opened.cut_bytes(), 12);
        trail.calls(&opened, 2);
        opened.close(Duration::from_secs(30));
        trail.last_is_of(&files);
        let whole = std::fs::read_to_string(trail.path(files[0])).unwrap();
        assert!(whole.starts_with(&before) && whole.contains("\"seq\":6,"));
        assert_eq!(
            std::fs::read_to_string(trail.path("audit.jsonl.cut")).unwrap(),
            "{\"seq\":7,\"ti\n"
        );
    }
}

/// Scenario: what stands beside the trail is lost, old, or another's. Guarantees: the tree comes out of the lines where they are
/// all there; no smaller tree and no other one is ever signed, and the fault says what to do.
#[test]
fn no_smaller_and_no_other_tree_is_signed() {
    let mut trail = TestTrail::new(1000);
    trail.run(4);
    let tree = trail.path("audit.jsonl.tree");
    let old = std::fs::read(&tree).unwrap();
    trail.run(4);
    let (file, sealed) = (trail.path("audit.jsonl"), trail.checkpoints());
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&tree, old).unwrap();
    trail.run(1);
    trail.last_is_of(&["audit.jsonl"]);
    std::fs::remove_file(&tree).unwrap();
    trail.run(1);
    trail.last_is_of(&["audit.jsonl"]);

    let stands = trail.checkpoints();
    std::fs::remove_file(&tree).unwrap();
    std::fs::write(&file, whole.split_at(whole.len() / 2).0).unwrap();
    assert!(matches!(
        foreign(trail.open()),
        Some(ForeignCause::Smaller { .. })
    ));
    let now = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, whole.replace("call-2", "call-x")).unwrap();
    std::fs::write(trail.path("audit.jsonl.checkpoints"), &sealed).unwrap();
    assert!(matches!(
        foreign(trail.open()),
        Some(ForeignCause::Forked(_))
    ));
    std::fs::write(&file, now).unwrap();
    trail.seal().origin = "acme/gw-2".to_owned();
    assert_eq!(
        foreign(trail.open()),
        Some(ForeignCause::Origin(NAME.to_owned()))
    );
    assert!(stands.starts_with(&trail.checkpoints()));
}

/// Scenario: a checkpoint is written in part. Guarantees: it is taken away, and the next one stands whole behind the last whole one.
#[test]
fn a_checkpoint_in_part_is_taken_away() {
    let mut trail = TestTrail::new(1000);
    trail.run(2);
    let path = trail.path("audit.jsonl.checkpoints");
    let whole = trail.checkpoints();
    for part in [1, 12, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, [whole.as_str(), whole.split_at(part).0].concat()).unwrap();
        trail.run(1);
        assert!(trail.checkpoints().starts_with(&whole));
        assert!(trail.heads().len() >= 2, "{part}");
        trail.last_is_of(&["audit.jsonl"]);
        std::fs::write(&path, &whole).unwrap();
    }
}

/// Scenario: a key is followed by another. Guarantees: the first checkpoint of the new key is signed by both, later ones by it alone.
#[test]
fn a_new_key_begins_beside_the_old_one() {
    let mut trail = TestTrail::new(1000);
    trail.run(1);
    trail.keys(&["key-2", "key-1"]);
    trail.run(1);
    trail.run(1);
    let signed: Vec<usize> = trail.heads().iter().map(|(_, by)| *by).collect();
    assert_eq!(signed, [1, 2, 1]);
}

/// Scenario: a trail of an earlier version, which begins at some number, has a gap, and a line that is none. Guarantees: its records
/// are in the tree by their numbers.
#[test]
fn an_older_trail_is_taken_over() {
    let mut trail = TestTrail::new(1000);
    let file = trail.path("audit.jsonl");
    std::fs::write(&file, "{\"seq\":40,\"a\":1}\n{\"se\n{\"seq\":43,\"a\":1}\n").unwrap();
    trail.run(1);
    let (last, _) = trail.heads().pop().unwrap();
    let mut edge = TreeEdge::default();
    for line in std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .filter(|line| *line != "{\"se")
    {
        let seq = serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"]
            .as_u64()
            .unwrap();
        edge.fill_to(seq);
        edge.push(TreeHash::of_leaf(line.as_bytes()));
    }
    assert_eq!((last.size, last.root), (edge.size(), edge.root()));
    assert_eq!(last.size, 46);
}

/// Scenario: files are rotated by size, and by hand with a reload. Guarantees: the tree goes on, with a checkpoint at each end.
#[test]
fn the_tree_goes_on_over_rotations() {
    let mut trail = TestTrail::new(1000);
    trail.settings.rotation = Some(RotationSettings {
        bytes: Some(700),
        interval: None,
    });
    let opened = trail.open().unwrap();
    for _ in 0..6 {
        trail.calls(&opened, 3);
    }
    opened.close(Duration::from_secs(30));
    let mut files: Vec<String> = std::fs::read_dir(trail.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            name.strip_prefix("audit.jsonl.")
                .is_some_and(|rest| rest.parse::<u64>().is_ok())
        })
        .collect();
    files.sort();
    assert!(files.len() > 1, "{files:?}");
    files.push("audit.jsonl".to_owned());
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    trail.last_is_of(&files);
    // The last file may have been begun with the last record.
    assert!(trail.heads().len() + 1 >= files.len());
}

/// Scenario: keys that are none, and trails that no file keeps. Guarantees: neither starts, and the probe says the same.
#[test]
fn what_cannot_be_sealed_does_not_start() {
    let mut trail = TestTrail::new(1000);
    std::fs::write(trail.path("key-1"), "short").unwrap();
    for opened in [trail.open().map(drop), Trail::probe(&trail.settings)] {
        assert!(matches!(
            opened,
            Err(TrailFault::Seal(SealFault::Unreadable { number: 1, .. }))
        ));
    }
    trail.keys(&["key-1"]);
    for file in [None, Some(Path::new("/dev/null").to_owned())] {
        trail.settings.file = file;
        assert!(matches!(
            trail.open(),
            Err(TrailFault::Seal(SealFault::NoFile))
        ));
    }
}
