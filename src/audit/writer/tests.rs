//! A disk that is full in the middle of a line, in all the ways that it is helped. What it refuses to know: what a record says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use super::*;
use crate::audit::seal::NewestCheckpoint;
use crate::audit::seal::tests::TestTrail;
use crate::audit::sink::{FilePlace, TrailOutput};
use crate::clock::Clock;
use crate::transparency::{TreeEdge, TreeHash};

/// What happens at the next write, which then fails but for `Takes`.
#[derive(Clone, Copy)]
enum Step {
    /// So many bytes find room.
    Takes(usize),
    Full,
    /// The file is rotated away.
    Moves,
    /// The file is emptied in its place.
    Empties,
    /// The file is replaced by what another process left.
    Replaces(&'static str),
}
use Step::*;

/// A file on a disk that takes what its script says, and everything once the script has ended.
struct Disk {
    output: TrailOutput,
    script: Rc<RefCell<VecDeque<Step>>>,
    path: std::path::PathBuf,
    cuts: bool,
}

impl Sink for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let step = self.script.borrow_mut().pop_front();
        let moved = self.path.with_extension("old");
        match step {
            None => return self.output.write(bytes),
            Some(Takes(most)) => return self.output.write(&bytes[..most.min(bytes.len())]),
            Some(Full) => {}
            Some(Moves) => fs::rename(&self.path, moved)?,
            Some(Empties) => fs::write(&self.path, "")?,
            Some(Replaces(left)) => {
                fs::rename(&self.path, moved)?;
                fs::write(&self.path, left)?;
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    fn length(&self) -> Option<u64> {
        self.output.length()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        match self.cuts {
            true => self.output.cut(length),
            false => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn is_ended(&self) -> bool {
        self.output.is_ended()
    }

    fn successor(&self) -> io::Result<Option<Self>> {
        Ok(self.output.successor()?.map(|output| Disk {
            output,
            script: self.script.clone(),
            path: self.path.clone(),
            cuts: self.cuts,
        }))
    }

    fn place(&self) -> Option<FilePlace> {
        self.output.place()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.output.sync()
    }
}

struct Row {
    name: &'static str,
    on_failure: OnFailure,
    cuts: bool,
    /// What an earlier process left in the file.
    before: &'static str,
    /// `|` parts the batches, and `R` is a rotation that is told of.
    lines: &'static str,
    script: &'static [Step],
    /// What stands in the file, and in the one that was rotated away.
    file: &'static str,
    old: &'static str,
    lost: u64,
}

const REFUSE: Row = Row {
    name: "",
    on_failure: OnFailure::Refuse,
    cuts: true,
    before: "",
    lines: "aaaa bbbb | cccc",
    script: &[],
    file: "aaaa\nbbbb\ncccc\n",
    old: "",
    lost: 0,
};
const CONTINUE: Row = Row {
    on_failure: OnFailure::Continue,
    ..REFUSE
};

const ROWS: &[Row] = &[
    Row {
        name: "room for all",
        ..REFUSE
    },
    Row {
        name: "room again, in place",
        script: &[Takes(7), Full, Full],
        ..REFUSE
    },
    Row {
        name: "room for a byte at a time",
        script: &[
            Takes(1),
            Full,
            Takes(1),
            Full,
            Takes(2),
            Full,
            Takes(1),
            Full,
            Takes(1),
        ],
        ..REFUSE
    },
    Row {
        name: "nothing of the line was written",
        script: &[Takes(5), Full, Moves],
        file: "bbbb\ncccc\n",
        old: "aaaa\n",
        ..REFUSE
    },
    Row {
        name: "rotated in the middle of a line",
        script: &[Takes(7), Moves],
        file: "bbbb\ncccc\n",
        old: "aaaa\n",
        ..REFUSE
    },
    Row {
        name: "rotated twice in the middle of a line, the second time of the first file",
        script: &[Takes(2), Full, Takes(1), Moves, Takes(3), Full],
        file: "aaaa\nbbbb\ncccc\n",
        old: "",
        ..REFUSE
    },
    Row {
        name: "only the line's end is missing",
        script: &[Takes(9), Moves],
        file: "bbbb\ncccc\n",
        old: "aaaa\n",
        ..REFUSE
    },
    Row {
        name: "what was written cannot be taken back",
        cuts: false,
        script: &[Takes(7), Moves],
        file: "bbbb\ncccc\n",
        old: "aaaa\nbb\n",
        ..REFUSE
    },
    Row {
        name: "emptied in place in the middle of a line",
        script: &[Takes(7), Empties],
        file: "bbbb\ncccc\n",
        ..REFUSE
    },
    Row {
        name: "the next file has a line without an end",
        script: &[Takes(7), Replaces("zz")],
        file: "zz\nbbbb\ncccc\n",
        old: "aaaa\n",
        ..REFUSE
    },
    Row {
        name: "a process was killed in the middle of a line",
        before: "yyyy\nzz",
        file: "yyyy\nzz\naaaa\nbbbb\ncccc\n",
        ..REFUSE
    },
    Row {
        name: "as before, and there is no room for its end",
        before: "yyyy\nzz",
        script: &[Full, Full],
        file: "yyyy\nzz\naaaa\nbbbb\ncccc\n",
        ..REFUSE
    },
    Row {
        name: "a batch is lost, but for what was written and begun",
        lines: "aaaa bbbb cccc dddd | eeee",
        script: &[Takes(7), Full],
        file: "aaaa\nbbbb\neeee\n",
        lost: 2,
        ..CONTINUE
    },
    Row {
        name: "batches are lost while the begun line waits",
        lines: "aaaa bbbb | cccc dddd | eeee | ffff",
        script: &[Takes(7), Full, Full, Takes(1), Full],
        file: "aaaa\nbbbb\nffff\n",
        lost: 3,
        ..CONTINUE
    },
    Row {
        name: "nothing of the batch was written",
        script: &[Full],
        file: "cccc\n",
        lost: 2,
        ..CONTINUE
    },
    Row {
        name: "a rotation is told of while a line is begun",
        lines: "aaaa bbbb | R | cccc",
        script: &[Takes(7), Full, Full],
        file: "bbbb\ncccc\n",
        old: "aaaa\n",
        ..CONTINUE
    },
    Row {
        name: "rotated in the middle of a line, and others are lost",
        lines: "aaaa bbbb cccc | dddd",
        script: &[Takes(7), Moves],
        file: "bbbb\ndddd\n",
        old: "aaaa\n",
        lost: 1,
        ..CONTINUE
    },
    Row {
        name: "the end comes while a line is begun",
        lines: "aaaa bbbb cccc",
        script: &[Takes(7), Full],
        file: "aaaa\n",
        lost: 2,
        ..CONTINUE
    },
    Row {
        name: "the end comes while a line is begun that cannot be taken back",
        cuts: false,
        lines: "aaaa bbbb cccc",
        script: &[Takes(7), Full],
        file: "aaaa\nbb\n",
        lost: 2,
        ..CONTINUE
    },
];

/// Scenario: a disk that takes lines in part, then is full, then has room, while the file is rotated away, emptied, or left
/// by a process that was killed. Guarantees: each line stands whole in one file, or is counted as lost; a rotation splits
/// none; what a begun line leaves is taken back, or ended so that readers can skip it.
#[test]
fn a_full_disk_tears_no_line() {
    for row in ROWS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, row.before).unwrap();
        let disk = Disk {
            output: TrailOutput::open(Some(&path)).unwrap(),
            script: Rc::new(RefCell::new(row.script.iter().copied().collect())),
            path: path.clone(),
            cuts: row.cuts,
        };
        let health = Arc::new(Health::default());
        let (sequence, _) = Sequence::open(None, Duration::ZERO).unwrap();
        let mut writer = RecordWriter {
            retry: Duration::ZERO,
            ..RecordWriter::new(Lines::new(disk), health.clone(), row.on_failure, sequence)
        };
        let mut given = 0;
        let mut batch = Batch::default();
        for lines in row.lines.split(" | ") {
            if lines == "R" {
                fs::rename(&path, path.with_extension("old")).unwrap();
                writer.reopen(&mut batch);
                continue;
            }
            for line in lines.split(' ') {
                batch.add(|bytes| bytes.extend_from_slice(line.as_bytes()));
                given += 1;
            }
            writer.write(&mut batch);
            assert!(batch.is_empty(), "{}", row.name);
        }
        writer.close();
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let name = row.name;
        assert_eq!(read(&path), row.file, "{name}");
        assert_eq!(read(&path.with_extension("old")), row.old, "{name}");
        assert_eq!(health.lost_records(), row.lost, "{name}");
        assert_eq!(health.written_records(), given - row.lost, "{name}");
    }
}

/// Scenario: the same disks, under a trail that is sealed. Guarantees: the tree is over exactly the records that stand whole in a
/// file, by their numbers, whatever was lost or written anew between.
#[test]
fn the_tree_is_over_what_a_full_disk_took() {
    // What was emptied in its place was sealed before.
    let is_kept = |row: &&Row| !row.script.iter().any(|step| matches!(step, Empties));
    for row in ROWS.iter().filter(is_kept) {
        let trail = TestTrail::new(1000);
        let path = trail.path("audit.jsonl");
        let disk = Disk {
            output: TrailOutput::open(Some(&path)).unwrap(),
            script: Rc::new(RefCell::new(row.script.iter().copied().collect())),
            path: path.clone(),
            cuts: row.cuts,
        };
        let seal = trail.settings.seal.as_ref().unwrap();
        let (sealer, _) =
            Sealer::open(seal, &path, Clock::system(), NewestCheckpoint::default()).unwrap();
        let health = Arc::new(Health::default());
        let (sequence, _) = Sequence::open(None, Duration::ZERO).unwrap();
        let mut writer = RecordWriter {
            retry: Duration::ZERO,
            ..RecordWriter::new(Lines::new(disk), health, row.on_failure, sequence)
                .sealed_by(Some(sealer))
        };
        let mut batch = Batch::default();
        for lines in row.lines.split(" | ") {
            if lines == "R" {
                fs::rename(&path, path.with_extension("old")).unwrap();
                writer.reopen(&mut batch);
                continue;
            }
            for _ in lines.split(' ') {
                let seq = writer.number().unwrap();
                let record = Record {
                    seq,
                    ..Record::default()
                };
                writer.add(&record, &mut batch);
            }
            writer.write(&mut batch);
        }
        writer.close();
        let mut leaves: Vec<(u64, TreeHash)> = Vec::new();
        for file in [path.with_extension("old"), path] {
            for line in fs::read_to_string(file).unwrap_or_default().lines() {
                if let Ok(record) = serde_json::from_str::<serde_json::Value>(line) {
                    let seq = record["seq"].as_u64().unwrap();
                    leaves.push((seq, TreeHash::of_leaf(line.as_bytes())));
                }
            }
        }
        leaves.sort_by_key(|(seq, _)| *seq);
        let mut expected = TreeEdge::default();
        for (seq, leaf) in leaves {
            expected.fill_to(seq);
            expected.push(leaf);
        }
        let edge = writer.sealer.as_ref().unwrap().edge();
        assert_eq!(
            (edge.size(), edge.root()),
            (expected.size(), expected.root()),
            "{}",
            row.name
        );
    }
}
