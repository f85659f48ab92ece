//! The numbers of records, over rotations, restarts and crashes.
//!
//! What it does: gives out `seq`, and keeps beside the audit file how far it may have gone. What it refuses to know:
//! records. Invariants: no number is given twice, and none below one that was given: one process at a time has the file
//! beside, by a lock that ends with it; numbers are taken from blocks, and a block is on the disk before the first of it is
//! given; the file beside is no symbolic link, so that a link that was put in its place leads no write elsewhere; a process that did not end cleanly leaves the rest of its
//! block unused, and the next one tells of the gap. Where records go to standard output, a pipe or a device there is nothing to
//! keep, so that numbers begin at 0 with each start.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Numbers that are taken with one write to the disk.
const BLOCK: u64 = 16_384;
/// What is read of the file beside: it holds one line.
const STATE_LIMIT_BYTES: u64 = 256;
/// What is looked at for the last record of an audit file.
const TAIL_BYTES: u64 = 64 * 1024;
/// Between two looks at a lock that another process holds.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The numbers from `first` to `last` have no record, or one that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub first: u64,
    pub last: u64,
}

/// Gives out numbers.
#[derive(Debug)]
pub(crate) struct Sequence {
    /// `None`: nothing is kept.
    state: Option<File>,
    next: u64,
    /// The first number that is not taken on the disk.
    end: u64,
}

/// Why the file beside cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be used", .path.display())]
pub struct SequenceFault {
    path: PathBuf,
    #[source]
    cause: SequenceCause,
}

#[derive(Debug, thiserror::Error)]
enum SequenceCause {
    #[error(transparent)]
    System(#[from] io::Error),
    /// What the system says of it speaks of levels.
    #[error("it is a symbolic link: put the file itself there, or take the link away")]
    Link,
    #[error(
        "another process writes this audit file: end it, or give each an `audit.file` of its own"
    )]
    Held,
    #[error(
        "it must hold a number above that of every record, and `ended`, as in `00000000000000000042 ended`"
    )]
    Malformed,
}

/// The file beside an audit file.
pub(crate) fn beside(audit: &Path) -> PathBuf {
    named_beside(audit, ".seq")
}

/// The file whose name goes on with `ending`.
pub(super) fn named_beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// What the file beside says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastNumber {
    /// Each number below may have been given.
    below: u64,
    /// Each number below was given.
    clean: bool,
}

impl Sequence {
    /// Goes on where the records of `audit` ended. `patience`: how long the end of
    /// another process that has the file is waited for: one that drains still writes records.
    pub(crate) fn open(
        audit: Option<&Path>,
        patience: Duration,
    ) -> Result<(Self, Option<Gap>), SequenceFault> {
        let Some(audit) = audit.filter(|audit| keeps(audit)) else {
            return Ok((
                Sequence {
                    state: None,
                    next: 0,
                    end: u64::MAX,
                },
                None,
            ));
        };
        let path = beside(audit);
        let open = || -> Result<_, SequenceCause> {
            let mut state = options().create(true).open(&path).map_err(refusal)?;
            lock(&state, &path, patience)?;
            let kept = read(&mut state)?;
            Ok((state, kept))
        };
        let (state, kept) = open().map_err(|cause| SequenceFault {
            path: path.clone(),
            cause,
        })?;
        let (next, gap) = go_on(kept, last_seq(audit));
        Ok((
            Sequence {
                state: Some(state),
                next,
                end: next,
            },
            gap,
        ))
    }

    /// Whether `open` would go well, without a trace.
    pub(crate) fn probe(audit: &Path) -> Result<(), SequenceFault> {
        let path = beside(audit);
        let probed = match options().open(&path) {
            Ok(mut state) => read(&mut state).map(drop),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(refusal(error)),
        };
        probed.map_err(|cause| SequenceFault { path, cause })
    }

    /// Leaves out what is below this number, if anything is left of it.
    pub(crate) fn begin_at(&mut self, number: u64) {
        if number > self.next {
            self.next = number;
            // Nothing of the block above it may be taken.
            self.end = self.end.min(number);
        }
    }

    /// The number that would be given next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The next number. An error means that none may be given now.
    pub(crate) fn take(&mut self) -> io::Result<u64> {
        if self.next >= self.end {
            let end = self.next.saturating_add(BLOCK);
            self.keep(LastNumber {
                below: end,
                clean: false,
            })?;
            self.end = end;
        }
        let number = self.next;
        self.next = self.next.saturating_add(1);
        Ok(number)
    }

    /// Gives the rest of the block back. Best effort: without it the next start tells of a gap.
    pub(crate) fn close(&mut self) {
        if self
            .keep(LastNumber {
                below: self.next,
                clean: true,
            })
            .is_ok()
        {
            self.end = self.next;
        }
    }

    fn keep(&mut self, kept: LastNumber) -> io::Result<()> {
        let Some(state) = &mut self.state else {
            return Ok(());
        };
        // One length for every number: the line is written over the one before, and never cut.
        let word = if kept.clean { "ended" } else { "taken" };
        state.seek(SeekFrom::Start(0))?;
        state.write_all(format!("{:020} {word}\n", kept.below).as_bytes())?;
        state.sync_data()
    }
}

/// How the file beside is opened.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o640).custom_flags(libc::O_NOFOLLOW);
    }
    options
}

/// Why it cannot be opened.
fn refusal(error: io::Error) -> SequenceCause {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::ELOOP) {
        return SequenceCause::Link;
    }
    error.into()
}

/// Takes the lock, within `patience`. It is the process's until the file is closed, whatever way it ends (flock(2)).
fn lock(state: &File, path: &Path, patience: Duration) -> Result<(), SequenceCause> {
    let until = Instant::now() + patience;
    let mut is_told = false;
    loop {
        match state.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                if !is_told {
                    tracing::warn!(file = %path.display(), "another process writes the audit file: its end is waited for");
                }
                is_told = true;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(SequenceCause::Held),
            // Some network file systems have no locks; a trail is worth more there than its lock.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, file = %path.display(), "no lock: see to it that no other process writes the audit file");
                return Ok(());
            }
        }
    }
}

/// Whether numbers can go on after a restart: only in a file that stays.
fn keeps(audit: &Path) -> bool {
    std::fs::metadata(audit).map_or(true, |found| found.is_file())
}

/// `None`: nothing was kept yet.
fn read(state: &mut File) -> Result<Option<LastNumber>, SequenceCause> {
    let mut text = String::new();
    state.take(STATE_LIMIT_BYTES).read_to_string(&mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    let kept = text
        .strip_suffix('\n')
        .and_then(|line| line.split_once(' '))
        .and_then(|(number, word)| {
            let clean = match word {
                "ended" => true,
                "taken" => false,
                _ => return None,
            };
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            Some(LastNumber {
                below: number.parse().ok().filter(|_| digits)?,
                clean,
            })
        });
    kept.map(Some).ok_or(SequenceCause::Malformed)
}

/// Where numbers go on, and what is left out. `last`: of the last record in the audit file, which may be another one than the
/// last that was written, because files are rotated away and put back.
fn go_on(kept: Option<LastNumber>, last: Option<u64>) -> (u64, Option<Gap>) {
    let after = last.map_or(0, |last| last.saturating_add(1));
    match kept {
        // Written before numbers were kept, or the file beside was taken away.
        None => (after, None),
        Some(LastNumber { below, clean: true }) => (below.max(after), None),
        Some(LastNumber {
            below,
            clean: false,
        }) => {
            let next = below.max(after);
            // Within the block that was taken, the last record tells where the gap begins, if it is there.
            let first = if after.saturating_add(BLOCK) > below {
                after
            } else {
                below.saturating_sub(BLOCK)
            };
            let last = next.checked_sub(1).filter(|last| *last >= first);
            (next, last.map(|last| Gap { first, last }))
        }
    }
}

/// The `seq` of the file's last whole line.
fn last_seq(path: &Path) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(TAIL_BYTES)))
        .ok()?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail).ok()?;
    tail.split(|byte| *byte == b'\n').rev().find_map(|line| {
        serde_json::from_slice::<serde_json::Value>(line)
            .ok()?
            .get("seq")?
            .as_u64()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::chain;

    /// Scenario: what was kept, against what the audit file's last record says. Guarantees: the next number is above both; what
    /// a crash leaves out is told, and nothing else is.
    #[test]
    fn numbers_never_go_back() {
        let kept = |below, clean| Some(LastNumber { below, clean });
        let gap = |first, last| Some(Gap { first, last });
        for (state, last, expected) in [
            (None, None, (0, None)),
            (None, Some(41), (42, None)),
            (kept(42, true), Some(41), (42, None)),
            // Rotated away, and put back from a copy; written on by an earlier version.
            (kept(42, true), None, (42, None)),
            (kept(42, true), Some(7), (42, None)),
            (kept(42, true), Some(99), (100, None)),
            // Not ended: the rest of the block is left out, whatever the file says.
            (kept(BLOCK, false), Some(41), (BLOCK, gap(42, BLOCK - 1))),
            (kept(BLOCK, false), None, (BLOCK, gap(0, BLOCK - 1))),
            (
                kept(3 * BLOCK, false),
                None,
                (3 * BLOCK, gap(2 * BLOCK, 3 * BLOCK - 1)),
            ),
            (
                kept(3 * BLOCK, false),
                Some(7),
                (3 * BLOCK, gap(2 * BLOCK, 3 * BLOCK - 1)),
            ),
            (kept(BLOCK, false), Some(BLOCK - 1), (BLOCK, None)),
            (kept(BLOCK, false), Some(BLOCK + 9), (BLOCK + 10, None)),
            (kept(u64::MAX, true), Some(u64::MAX), (u64::MAX, None)),
        ] {
            assert_eq!(go_on(state, last), expected, "{state:?} {last:?}");
        }
    }

    /// Scenario: starts that end well, and some that do not, while the audit file is written, rotated away or absent.
    /// Guarantees: over all of them no number comes twice or falls; only a crash leaves a gap, and it is told.
    #[test]
    fn numbers_go_on_over_restarts_and_crashes() {
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("audit.jsonl");
        let mut given: Vec<u64> = Vec::new();
        let mut told: std::collections::BTreeSet<u64> = std::collections::BTreeSet::new();
        for (round, (count, rotates, ends)) in [
            (3, false, true),
            (5, true, true),
            (4, true, false),
            (2, false, true),
            (BLOCK + 2, false, false),
            (1, true, true),
        ]
        .into_iter()
        .enumerate()
        {
            let (mut sequence, gap) = Sequence::open(Some(&audit), Duration::ZERO).unwrap();
            told.extend(gap.into_iter().flat_map(|gap| gap.first..=gap.last));
            for _ in 0..count {
                given.push(sequence.take().unwrap());
            }
            std::fs::write(&audit, format!("{{\"seq\":{}}}\n", given.last().unwrap())).unwrap();
            if rotates {
                std::fs::rename(&audit, folder.path().join(format!("audit.{round}.jsonl")))
                    .unwrap();
            }
            if ends {
                sequence.close();
            }
        }
        assert!(given.is_sorted_by(|one, next| one < next), "{given:?}");
        let missing: Vec<u64> = (0..*given.last().unwrap())
            .filter(|number| given.binary_search(number).is_err())
            .collect();
        assert!(
            missing.len() as u64 > BLOCK && missing.iter().all(|number| told.contains(number)),
            "{}",
            missing.len()
        );
    }

    /// Scenario: the file beside holds what no process wrote; a folder takes none; records go to a device. Guarantees: no start
    /// guesses, and the probe says the same; where nothing can be kept, numbers begin at 0.
    #[test]
    fn what_cannot_be_understood_is_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("audit.jsonl");
        for strange in [
            "x",
            "42",
            "42 ended",
            "-1 ended\n",
            "+1 ended\n",
            "42 begun\n",
            " ended\n",
            "99999999999999999999 ended\n",
            "\0\0\0\0",
        ] {
            std::fs::write(beside(&audit), strange).unwrap();
            let opened = chain(&Sequence::open(Some(&audit), Duration::ZERO).unwrap_err());
            assert!(
                opened.contains("audit.jsonl.seq") && opened.contains("must hold"),
                "{strange:?}: {opened}"
            );
            assert_eq!(chain(&Sequence::probe(&audit).unwrap_err()), opened);
        }
        std::fs::write(beside(&audit), "42 ended\n").unwrap();
        assert_eq!(
            Sequence::open(Some(&audit), Duration::ZERO)
                .unwrap()
                .0
                .take()
                .unwrap(),
            42
        );
        assert!(
            Sequence::probe(&audit).is_ok()
                && Sequence::probe(&folder.path().join("other")).is_ok()
        );
        assert!(!beside(&folder.path().join("other")).exists());
        for nowhere in [None, Some(Path::new("/dev/null"))] {
            assert_eq!(
                Sequence::open(nowhere, Duration::ZERO)
                    .unwrap()
                    .0
                    .take()
                    .unwrap(),
                0
            );
        }
    }

    /// Scenario: two processes on one audit file, of which the first ends while the second waits, or does not; beside them
    /// `check`. Guarantees: the second has no number before the first has ended, and goes on above; it says what to
    /// write instead; `check` is not in the way, and none in its.
    #[test]
    fn one_process_at_a_time_gives_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("audit.jsonl");
        let (mut first, _) = Sequence::open(Some(&audit), Duration::ZERO).unwrap();
        assert_eq!(first.take().unwrap(), 0);
        let refused = chain(&Sequence::open(Some(&audit), Duration::ZERO).unwrap_err());
        assert!(
            refused.contains("audit.jsonl.seq") && refused.contains("`audit.file` of its own"),
            "{refused}"
        );
        assert!(Sequence::probe(&audit).is_ok());
        let waits = {
            let audit = audit.clone();
            std::thread::spawn(move || {
                Sequence::open(Some(&audit), Duration::from_secs(60)).unwrap()
            })
        };
        let drained: Vec<u64> = (0..3).map(|_| first.take().unwrap()).collect();
        first.close();
        drop(first);
        let (mut second, gap) = waits.join().unwrap();
        assert_eq!(
            (drained, second.take().unwrap(), gap),
            (vec![1, 2, 3], 4, None)
        );
        drop(second);
        assert!(
            Sequence::open(Some(&audit), Duration::ZERO).is_ok(),
            "a lock ends with its process"
        );
    }

    /// Scenario: a symbolic link stands where the file beside is to be: to a file of numbers, to another file, to none.
    /// Guarantees: it is refused by name, at the start and by `check`; what it leads to is neither written nor made.
    #[cfg(unix)]
    #[test]
    fn no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("audit.jsonl");
        for (name, content) in [
            ("numbers", Some("42 ended\n")),
            ("other", Some("precious")),
            ("none", None),
        ] {
            let target = folder.path().join(name);
            content
                .into_iter()
                .for_each(|content| std::fs::write(&target, content).unwrap());
            std::os::unix::fs::symlink(&target, beside(&audit)).unwrap();
            for refused in [
                Sequence::open(Some(&audit), Duration::ZERO).map(drop),
                Sequence::probe(&audit),
            ] {
                assert!(
                    refused
                        .as_ref()
                        .is_err_and(|error| chain(error).contains("is a symbolic link")),
                    "{name}: {refused:?}"
                );
            }
            assert_eq!(
                std::fs::read_to_string(&target).ok().as_deref(),
                content,
                "{name}"
            );
            std::fs::remove_file(beside(&audit)).unwrap();
        }
    }
}
