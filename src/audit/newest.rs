//! The newest records of a trail, for people who look.
//!
//! What it does: reads a trail's files from their ends back, the newest file first, and gives what a filter takes of them. What it refuses
//! to know: what is looked for, who looks, and which thread it runs on. Invariants: no more bytes are read, and no more time is taken,
//! than the bounds say; what a line weighs is bounded (`LINE_LIMIT_BYTES`); a line that is being written is none yet.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use super::files::trail_files;
use super::lines::{LINE_LIMIT_BYTES, TrailReader, is_packed, open_plain};
use super::record::moment;
use crate::clock::UnixMillis;

/// What is read at once.
const BLOCK_BYTES: u64 = 256 << 10;
/// Lines between two looks at the time.
const LOOK_LINES: u64 = 64;
/// A record's time is when its call began: of two lines the later one may be of a call that began so much earlier, in milliseconds.
const DISORDER_MILLIS: i64 = 60 * 60 * 1000;

/// How much is looked at, at most.
pub(crate) struct SearchBounds<'a> {
    /// As they are once decompressed.
    pub bytes: u64,
    pub until: Instant,
    pub found: usize,
    /// Records before this time are not wanted.
    pub since: Option<UnixMillis>,
    /// Whether the person who asked has gone.
    pub is_cancelled: &'a AtomicBool,
}

/// What was found, and how far back it was looked for.
#[derive(Debug)]
pub(crate) struct NewestRecords<T> {
    /// The newest first, file by file.
    pub found: Vec<T>,
    /// The time of the oldest line that was looked at.
    pub back_to: Option<String>,
    pub bytes: u64,
    /// Whether all was looked at that could be wanted.
    pub is_whole: bool,
}

/// The walk back.
struct TrailSearch<'a, T, F> {
    bounds: &'a SearchBounds<'a>,
    take: F,
    lines: u64,
    told: NewestRecords<T>,
}

/// Looks through the trail in `audit` and the files that were rotated away. `take`: what it makes of a line that it wants.
pub(crate) fn newest<T>(
    audit: &Path,
    bounds: &SearchBounds<'_>,
    take: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<NewestRecords<T>> {
    let mut files: Vec<(Option<SystemTime>, PathBuf)> = trail_files(audit)?
        .into_iter()
        .map(|path| (modified(&path), path))
        .collect();
    // The trail's own file is the newest, whatever its clock says.
    files.sort_by(|(one, path), (other, other_path)| {
        (other_path == audit, other).cmp(&(path == audit, one))
    });
    let mut search = TrailSearch {
        bounds,
        take,
        lines: 0,
        told: NewestRecords {
            found: Vec::new(),
            back_to: None,
            bytes: 0,
            is_whole: false,
        },
    };
    for (_, path) in files {
        let goes_on = match is_packed(&path)? {
            true => search.packed(&path)?,
            false => search.plain(&path)?,
        };
        if !goes_on {
            return Ok(search.told);
        }
    }
    search.told.is_whole = true;
    Ok(search.told)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|found| found.modified())
        .ok()
}

impl<T, F: FnMut(&[u8]) -> Option<T>> TrailSearch<'_, T, F> {
    /// Reads a plain file from its end. Whether there is more to look at.
    fn plain(&mut self, path: &Path) -> io::Result<bool> {
        let mut lines = BackwardLines::open(path)?;
        while let Some(line) = lines.next_line()? {
            if !self.may_go_on(line.len()) {
                return Ok(false);
            }
            if self.told.found.len() >= self.bounds.found {
                return Ok(false);
            }
            if let Some(taken) = (self.take)(line) {
                self.told.found.push(taken);
            }
            if let Some(time) = time_of(line) {
                let is_before = |since: UnixMillis| {
                    moment(time)
                        .is_some_and(|time| time.0 < since.0.saturating_sub(DISORDER_MILLIS))
                };
                let is_over = self.bounds.since.is_some_and(is_before);
                self.looked_back_to(time);
                if is_over {
                    self.told.is_whole = true;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Reads a compressed file from its begin, and keeps the last that it takes. Whether there is more to look at.
    fn packed(&mut self, path: &Path) -> io::Result<bool> {
        let room = self.bounds.found.saturating_sub(self.told.found.len());
        let mut last = VecDeque::new();
        let mut lines = TrailReader::open(path)?;
        let (mut is_all, mut first) = (room > 0, None);
        while is_all && let Some(line) = lines.next_line()? {
            if !self.may_go_on(line.text.len()) {
                is_all = false;
                break;
            }
            if first.is_none() {
                first = time_of(line.text).map(str::to_owned);
            }
            if let Some(taken) = (self.take)(line.text) {
                if last.len() == room {
                    last.pop_front();
                }
                last.push_back(taken);
            }
        }
        self.told.found.extend(last.into_iter().rev());
        // The end of what was not read to its end was not looked at.
        if let Some(first) = first.filter(|_| is_all) {
            self.looked_back_to(&first);
            let time = moment(&first);
            self.told.is_whole = self
                .bounds
                .since
                .zip(time)
                .is_some_and(|(since, time)| time.0 < since.0.saturating_sub(DISORDER_MILLIS));
        }
        Ok(is_all && !self.told.is_whole)
    }

    fn looked_back_to(&mut self, time: &str) {
        let back_to = self.told.back_to.get_or_insert_default();
        if back_to.is_empty() || *time < **back_to {
            time.clone_into(back_to);
        }
    }

    /// Whether one more line may be looked at.
    fn may_go_on(&mut self, length: usize) -> bool {
        self.told.bytes = self.told.bytes.saturating_add(length as u64 + 1);
        self.lines += 1;
        if self.told.bytes > self.bounds.bytes {
            return false;
        }
        !self.lines.is_multiple_of(LOOK_LINES)
            || (!self.bounds.is_cancelled.load(Ordering::Relaxed)
                && Instant::now() < self.bounds.until)
    }
}

/// The time of a record's line, as our own writer writes it: the second member.
fn time_of(line: &[u8]) -> Option<&str> {
    const MEMBER: &[u8] = b",\"time\":\"";
    let head = line.get(..line.len().min(64))?;
    let begin = memchr::memmem::find(head, MEMBER)? + MEMBER.len();
    let rest = head.get(begin..)?;
    let end = memchr::memchr(b'"', rest)?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

/// The lines of a plain file, the last first.
struct BackwardLines {
    file: File,
    /// Where the block begins in the file.
    at: u64,
    block: Vec<u8>,
    /// Of the block, what was not given yet.
    end: usize,
    /// What stands at the block's end is part of a line that is none: without an end, or too long.
    is_spoilt: bool,
}

impl BackwardLines {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = open_plain(path)?;
        let at = file.seek(SeekFrom::End(0))?;
        Ok(BackwardLines {
            file,
            at,
            block: Vec::new(),
            end: 0,
            // What is behind the last end of a line is being written.
            is_spoilt: true,
        })
    }

    /// The line before; `None` at the begin of the file.
    fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let rest = self.block.get(..self.end).unwrap_or_default();
            let found = memchr::memrchr(b'\n', rest);
            if found.is_none() && self.at > 0 {
                if self.end as u64 > LINE_LIMIT_BYTES {
                    self.is_spoilt = true;
                    self.end = 0;
                }
                self.read_before()?;
                continue;
            }
            let (begin, next_end) = match found {
                Some(place) => (place + 1, place),
                None => (0, 0),
            };
            let line = begin..self.end;
            let is_spoilt = std::mem::replace(&mut self.is_spoilt, false);
            if found.is_none() && (line.is_empty() || is_spoilt) {
                self.end = 0;
                return Ok(None);
            }
            self.end = next_end;
            if !is_spoilt {
                return Ok(self.block.get(line));
            }
        }
    }

    /// Puts what stands before the block before it.
    fn read_before(&mut self) -> io::Result<()> {
        let length = self.at.min(BLOCK_BYTES);
        self.at -= length;
        let mut block = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.seek(SeekFrom::Start(self.at))?;
        self.file.read_exact(&mut block)?;
        block.extend_from_slice(self.block.get(..self.end).unwrap_or_default());
        self.end = block.len();
        self.block = block;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn back(text: &[u8]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trail");
        std::fs::write(&path, text).unwrap();
        let mut lines = BackwardLines::open(&path).unwrap();
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            read.push(String::from_utf8_lossy(line).into_owned());
        }
        read
    }

    /// Scenario: files with short, long, empty and too long lines, and a last one without an end. Guarantees: read back they are the lines
    /// that stand there, but for what is no line.
    #[test]
    fn lines_are_read_from_the_end() {
        let none: [&str; 0] = [];
        assert_eq!(back(b""), none);
        assert_eq!(back(b"torn"), none);
        assert_eq!(back(b"one\n"), ["one"]);
        assert_eq!(back(b"one\ntwo\nto"), ["two", "one"]);
        // An empty line at the very begin is none.
        assert_eq!(back(b"\n\none\n"), ["one", ""]);
        let lines: Vec<String> = (0..20_000)
            .map(|number| format!("{number:>width$}", width = number % 97))
            .collect();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        assert!(text.len() as u64 > 3 * BLOCK_BYTES);
        let expected: Vec<String> = lines.iter().rev().cloned().collect();
        assert_eq!(back(text.as_bytes()), expected);
        let long = "x".repeat((LINE_LIMIT_BYTES * 2) as usize);
        let text = format!("first\n{long}\nlast\n{long}");
        assert_eq!(back(text.as_bytes()), ["last", "first"]);
    }

    fn record(number: u64) -> String {
        let time = super::super::timestamp(number as i64 * 60_000);
        format!("{{\"seq\":{number},\"time\":\"{time}\",\"event\":\"call\"}}\n")
    }

    /// Scenario: a trail of three files, the middle one compressed, is searched with each bound. Guarantees: the newest come first, over
    /// all files; each bound ends it, and it is said whether all was looked at, and how far back.
    #[test]
    fn the_newest_are_found_within_the_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("audit.jsonl");
        let text = |numbers: std::ops::Range<u64>| -> String { numbers.map(record).collect() };
        let put = |name: &str, bytes: &[u8], age: u64| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let then = UNIX + Duration::from_secs(1_000_000 - age);
            File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_modified(then)
                .unwrap();
        };
        const UNIX: SystemTime = SystemTime::UNIX_EPOCH;
        put("audit.jsonl.0", text(0..1000).as_bytes(), 30);
        let packed = zstd::stream::encode_all(text(1000..2000).as_bytes(), 1).unwrap();
        put("audit.jsonl.1.zst", &packed, 20);
        // Its own file comes first though its time is older.
        put(
            "audit.jsonl",
            (text(2000..3000) + "{\"seq\":3000,\"ti").as_bytes(),
            40,
        );
        let later = Instant::now() + Duration::from_secs(60);
        let (goes, gone) = (AtomicBool::new(false), AtomicBool::new(true));
        let bounds = |bytes, found| SearchBounds {
            bytes,
            until: later,
            found,
            since: None,
            is_cancelled: &goes,
        };
        let seq = |line: &[u8]| -> Option<u64> {
            let record: serde_json::Value = serde_json::from_slice(line).ok()?;
            record["seq"].as_u64().filter(|seq| seq.is_multiple_of(100))
        };
        let at = |number: u64| Some(super::super::timestamp(number as i64 * 60_000));
        let all = newest(&audit, &bounds(u64::MAX, 1000), seq).unwrap();
        let expected: Vec<u64> = (0..30).rev().map(|number| number * 100).collect();
        assert_eq!(
            (all.found, all.is_whole, all.back_to),
            (expected, true, at(0))
        );
        let few = newest(&audit, &bounds(u64::MAX, 12), seq).unwrap();
        let expected: Vec<u64> = (18..30).rev().map(|number| number * 100).collect();
        assert_eq!(
            (few.found, few.is_whole, few.back_to),
            (expected, false, at(1000))
        );
        let little = newest(&audit, &bounds(10_000, 1000), seq).unwrap();
        assert_eq!((little.found[0], little.is_whole), (2900, false));
        assert!(
            little.bytes <= 10_100 && little.back_to > at(2700),
            "{little:?}"
        );
        let late = SearchBounds {
            until: Instant::now(),
            ..bounds(u64::MAX, 1000)
        };
        let left = SearchBounds {
            is_cancelled: &gone,
            ..bounds(u64::MAX, 1000)
        };
        for ended in [
            newest(&audit, &late, seq).unwrap(),
            newest(&audit, &left, seq).unwrap(),
        ] {
            assert!(!ended.is_whole && ended.found.len() < 2, "{ended:?}");
        }
        let since = |number: u64| SearchBounds {
            since: Some(UnixMillis(number as i64 * 60_000)),
            ..bounds(u64::MAX, 1000)
        };
        for (from, oldest) in [(2500, 2439), (1500, 1000)] {
            let recent = newest(&audit, &since(from), seq).unwrap();
            assert_eq!(
                (recent.is_whole, recent.back_to),
                (true, at(oldest)),
                "{from}"
            );
        }
    }
}
