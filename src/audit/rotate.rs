//! When the trail begins a new file.
//!
//! What it does: says when a file is large or old enough, and moves it to a name of its own: that of the trail with the number of
//! its first record. What it refuses to know: what is written. Invariants: no file is written over; the tree over the trail goes on.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RotationSettings;
use super::lines::TrailReader;
use super::record::moment;
use super::sequence::named_beside;
use super::sink::FilePlace;
use crate::clock::{Clock, UnixMillis};

/// Rotates one trail.
pub(super) struct Rotator {
    audit: PathBuf,
    settings: RotationSettings,
    clock: Clock,
    /// When the first record of the present file was written.
    born: Option<UnixMillis>,
    /// Not before: the last try failed.
    again: Option<UnixMillis>,
}

/// Between two tries, in milliseconds.
const RETRY_MILLIS: i64 = 60_000;

impl Rotator {
    pub(super) fn new(audit: &Path, settings: RotationSettings, clock: Clock) -> Self {
        Rotator {
            audit: audit.to_owned(),
            settings,
            clock,
            born: first_record(audit).map(|(_, born)| born),
            again: None,
        }
    }

    /// Whether the file has had its time. `place`: where its next line would stand.
    pub(super) fn is_due(&mut self, place: FilePlace) -> bool {
        if place.length == 0 {
            self.born = None;
            return false;
        }
        let now = self.clock.now();
        if self.again.is_some_and(|again| now < again) {
            return false;
        }
        let born = *self.born.get_or_insert(now);
        let age = u64::try_from(now.0.saturating_sub(born.0)).unwrap_or_default();
        let is_old = |most: Duration| Duration::from_millis(age) >= most;
        self.settings.bytes.is_some_and(|most| place.length >= most)
            || self.settings.interval.is_some_and(is_old)
    }

    /// Moves the file away. The new name.
    pub(super) fn move_away(&mut self) -> io::Result<PathBuf> {
        // Where the first line is no record, the time tells files apart.
        let first = first_record(&self.audit);
        let ending = match first {
            Some((seq, _)) => format!(".{seq:020}"),
            None => format!(".at-{}", self.clock.now().0),
        };
        let to = named_beside(&self.audit, &ending);
        if std::fs::symlink_metadata(&to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        std::fs::rename(&self.audit, &to)?;
        self.born = None;
        Ok(to)
    }

    /// It could not be rotated: there is some time to the next try.
    pub(super) fn wait(&mut self) {
        self.again = Some(UnixMillis(self.clock.now().0.saturating_add(RETRY_MILLIS)));
    }

    /// Puts a file back that was moved away.
    pub(super) fn put_back(&mut self, from: &Path) -> io::Result<()> {
        match std::fs::symlink_metadata(&self.audit) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(from, &self.audit),
        }
    }
}

/// Number and time of a file's first record.
fn first_record(path: &Path) -> Option<(u64, UnixMillis)> {
    #[derive(serde::Deserialize)]
    struct Head {
        time: String,
    }
    let found = std::fs::metadata(path).ok()?;
    let mut reader = found
        .is_file()
        .then(|| TrailReader::open_at(path, 0).ok())??;
    let line = reader.next_line().ok()??;
    let head: Head = serde_json::from_slice(line.text).ok()?;
    Some((line.seq()?, moment(&head.time)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    /// Scenario: a file grows and ages under each setting, and is moved away, also where its new name is taken. Guarantees: it is
    /// moved at its size or its age, an empty one never; the name tells its first record, and no file is written over.
    #[test]
    fn a_file_has_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("audit.jsonl");
        std::fs::write(
            &audit,
            "{\"seq\":41,\"time\":\"1970-01-01T00:00:10.000Z\"}\n",
        )
        .unwrap();
        let (clock, time) = Clock::manual(UnixMillis(20_000));
        let place = |length| FilePlace {
            device: 0,
            inode: 0,
            length,
        };
        let rotator = |bytes, interval| {
            Rotator::new(&audit, RotationSettings { bytes, interval }, clock.clone())
        };
        let mut sized = rotator(Some(100), None);
        assert!(!sized.is_due(place(99)) && sized.is_due(place(100)));
        let mut aged = rotator(None, Some(Duration::from_secs(60)));
        assert!(!aged.is_due(place(1)));
        time.store(69_999, Ordering::Relaxed);
        assert!(!aged.is_due(place(1)));
        time.store(70_000, Ordering::Relaxed);
        assert!(aged.is_due(place(1)) && !aged.is_due(place(0)));
        let moved = aged.move_away().unwrap();
        assert_eq!(
            moved,
            folder.path().join("audit.jsonl.00000000000000000041")
        );
        aged.put_back(&moved).unwrap();
        std::fs::write(&moved, "precious").unwrap();
        assert!(aged.move_away().is_err());
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "precious");
        assert!(aged.put_back(&moved).is_err() && audit.exists());
    }
}
