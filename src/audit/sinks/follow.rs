//! The trail's files as a queue.
//!
//! What it does: reads the lines behind a number, over rotations, and the checkpoints between them. What it refuses to know: where
//! they go. Invariants: lines come in the order of their numbers, each once; a line without an end is not given; what is read at
//! once is bounded; a number that stands in no file any more is told as a gap, if there are later ones.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::board::TrailProgress;
use super::entry::SinkEntry;
use super::queue::QueueBounds;
use crate::audit::files::{TrailFile, trail_files};
use crate::audit::lines::{TrailLine, TrailReader};
use crate::audit::sequence::Gap;
use crate::audit::sink::FilePlace;
use crate::transparency::{SignedNote, sealed_texts};

/// What is read of a file at once. A longer line is read whole, up to `LINE_LIMIT_BYTES`.
const CHUNK_BYTES: usize = 256 << 10;
/// A line that is longer is no record.
const LINE_LIMIT_BYTES: usize = 1 << 20;
/// Files that are passed over in one look.
const PARTS_LIMIT: usize = 10_000;

/// Where a reader is: what is kept for the next start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FollowerPlace {
    /// The number behind the last record that was given.
    pub next: u64,
    /// What the last checkpoint that was given states.
    pub sealed: u64,
    /// Where the checkpoints behind it begin, in bytes.
    pub notes: u64,
}

/// Reads one trail.
pub(super) struct TrailFollower {
    audit: PathBuf,
    checkpoints: Option<PathBuf>,
    place: FollowerPlace,
    part: Option<TrailPart>,
    gap: Option<Gap>,
    /// Whether it begins wherever the trail does.
    begins_anywhere: bool,
}

/// One file of the trail.
struct TrailPart {
    /// The number of its first record.
    first: u64,
    place: FilePlace,
    source: PartSource,
}

/// What is to become of a line, and of what is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookedAt {
    More,
    Enough,
    /// It is to be read again.
    TooEarly,
}

enum PartSource {
    Plain {
        file: File,
        offset: u64,
    },
    /// Compressed: nothing is appended to it.
    Packed(TrailReader),
}

impl TrailFollower {
    pub(super) fn new(audit: &Path, checkpoints: Option<&Path>, place: FollowerPlace) -> Self {
        TrailFollower {
            audit: audit.to_owned(),
            checkpoints: checkpoints.map(Path::to_owned),
            place,
            part: None,
            gap: None,
            begins_anywhere: false,
        }
    }

    /// The same, which misses nothing before the first record that there is.
    pub(super) fn starting_at_the_oldest(self) -> Self {
        TrailFollower {
            begins_anywhere: true,
            ..self
        }
    }

    /// Behind what was given.
    pub(super) fn place(&self) -> FollowerPlace {
        self.place
    }

    /// Numbers that were skipped since this was asked last, because no file has them.
    pub(super) fn take_gap(&mut self) -> Option<Gap> {
        self.gap.take()
    }

    /// The next entries, as far as the trail is; none: there are none yet.
    pub(super) fn read(
        &mut self,
        progress: TrailProgress,
        most: QueueBounds,
    ) -> io::Result<Vec<SinkEntry>> {
        let mut found = Vec::new();
        let mut bytes = 0;
        // Files without anything new are passed over, each once.
        let mut looks = 0;
        while found.is_empty() && self.place.next < progress.next && looks < PARTS_LIMIT {
            looks += 1;
            let Some(part) = &mut self.part else {
                self.part = self.part_with(self.place.next)?;
                let Some(first) = self.part.as_ref().map(|part| part.first) else {
                    break;
                };
                self.skip_to(first);
                continue;
            };
            let from = self.place.next;
            let see = |line: TrailLine<'_>| {
                match line.seq() {
                    // Its checkpoint may not have been told of yet.
                    Some(seq) if seq >= progress.next => return LookedAt::TooEarly,
                    Some(seq) if seq >= from => {
                        bytes += line.text.len();
                        let line = Bytes::copy_from_slice(line.text);
                        found.push(SinkEntry::Record { seq, line });
                    }
                    _ => {}
                }
                match found.len() < most.records && bytes < most.bytes {
                    true => LookedAt::More,
                    false => LookedAt::Enough,
                }
            };
            let read = part.read(see);
            // What was read before a fault is not lost by it.
            let some = match read {
                Err(error) if found.is_empty() => return Err(error),
                read => read.unwrap_or(true),
            };
            if some || !found.is_empty() {
                if let Some(seq) = found.last().and_then(SinkEntry::seq) {
                    self.place.next = seq.saturating_add(1);
                }
                continue;
            }
            // Nothing is appended any more once a later file has lines: it was read to its end, if it still is at it.
            let (first, file) = (part.first, part.place);
            let Some(later) = self.part_behind(first, file)? else {
                break;
            };
            if let Some(part) = &self.part
                && part.is_at_end()?
            {
                self.skip_to(later.first);
                self.part = Some(later);
            }
        }
        self.with_checkpoints(found, progress)
    }

    fn skip_to(&mut self, first: u64) {
        if first > self.place.next && std::mem::take(&mut self.begins_anywhere) {
            self.place.next = first;
        } else if first > self.place.next {
            let gap = self.gap.get_or_insert(Gap {
                first: self.place.next,
                last: first,
            });
            gap.last = first.saturating_sub(1);
            self.place.next = first;
        }
    }

    /// The file in which this number stands, or would; else the first one behind it.
    fn part_with(&self, next: u64) -> io::Result<Option<TrailPart>> {
        let parts = self.parts()?;
        let within = parts.iter().rev().find(|(first, _)| *first <= next);
        match within.or(parts.first()) {
            Some((first, path)) => TrailPart::open(*first, path),
            None => Ok(None),
        }
    }

    /// The file that comes behind this one.
    fn part_behind(&self, first: u64, file: FilePlace) -> io::Result<Option<TrailPart>> {
        for (later, path) in self.parts()?.iter().filter(|(later, _)| *later > first) {
            if let Some(part) = TrailPart::open(*later, path)?
                && !part.place.is_of(file)
            {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// The trail's files that have a record, by the number of their first.
    fn parts(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut parts = Vec::new();
        for path in trail_files(&self.audit)? {
            // What is looked at by its name may be gone by now.
            if let Ok(found) = TrailFile::look(&path)
                && let Some(first) = found.first
            {
                parts.push((first, path));
            }
        }
        parts.sort();
        Ok(parts)
    }

    /// Puts checkpoints between records, each behind what it states.
    fn with_checkpoints(
        &mut self,
        records: Vec<SinkEntry>,
        progress: TrailProgress,
    ) -> io::Result<Vec<SinkEntry>> {
        let Some(path) = &self.checkpoints else {
            return Ok(records);
        };
        let next = self.place.next;
        if self.place.sealed >= progress.sealed.min(next) {
            return Ok(records);
        }
        let mut place = self.place;
        // Records do not wait for a file of checkpoints that cannot be read.
        let Ok(notes) = notes(path, &mut place, progress.sealed.min(next)) else {
            return Ok(records);
        };
        self.place = place;
        let mut all = Vec::with_capacity(records.len() + notes.len());
        let mut notes = notes.into_iter().peekable();
        for record in records {
            let seq = record.seq().unwrap_or_default();
            while let Some(note) = notes.next_if(|(size, _)| *size <= seq) {
                all.push(checkpoint(note));
            }
            all.push(record);
        }
        all.extend(notes.map(checkpoint));
        Ok(all)
    }
}

fn checkpoint((size, note): (u64, Bytes)) -> SinkEntry {
    SinkEntry::Checkpoint { size, note }
}

/// The notes behind a place that state at most `most` records.
fn notes(path: &Path, place: &mut FollowerPlace, most: u64) -> io::Result<Vec<(u64, Bytes)>> {
    let mut file = File::open(path)?;
    // Begun anew, or cut: those that were given are known by what they state.
    if file.metadata()?.len() < place.notes {
        place.notes = 0;
    }
    file.seek(SeekFrom::Start(place.notes))?;
    let mut text = Vec::new();
    file.take(CHUNK_BYTES as u64).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let mut found = Vec::new();
    for (_, note) in sealed_texts(&text) {
        let is_whole = note.ends_with('\n') && SignedNote::parse(note).is_ok();
        let size = note
            .lines()
            .nth(1)
            .and_then(|size| size.parse::<u64>().ok());
        let Some(size) = size.filter(|size| is_whole && *size <= most) else {
            break;
        };
        place.notes = place.notes.saturating_add(note.len() as u64);
        if size > place.sealed {
            place.sealed = size;
            found.push((size, Bytes::copy_from_slice(note.as_bytes())));
        }
    }
    Ok(found)
}

impl TrailPart {
    /// `None`: it is gone.
    fn open(first: u64, path: &Path) -> io::Result<Option<Self>> {
        let gone = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            _ => Err(error),
        };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return gone(error),
        };
        let Some(place) = FilePlace::of(&file) else {
            return Ok(None);
        };
        let mut begin = [0];
        let is_plain = file.read(&mut begin)? == 0 || begin == *b"{";
        let source = match is_plain {
            true => PartSource::Plain { file, offset: 0 },
            false => match TrailReader::open(path) {
                Ok(reader) => PartSource::Packed(reader),
                Err(error) => return gone(error),
            },
        };
        Ok(Some(TrailPart {
            first,
            place,
            source,
        }))
    }

    /// Whether nothing stands behind what was read.
    fn is_at_end(&self) -> io::Result<bool> {
        match &self.source {
            PartSource::Plain { file, offset } => Ok(file.metadata()?.len() <= *offset),
            PartSource::Packed(_) => Ok(true),
        }
    }

    /// Gives whole lines until `see` wants no more; whether there were any.
    fn read(&mut self, mut see: impl FnMut(TrailLine<'_>) -> LookedAt) -> io::Result<bool> {
        let (file, offset) = match &mut self.source {
            PartSource::Packed(reader) => {
                let mut some = false;
                while let Some(line) = reader.next_line()? {
                    some = true;
                    // Nothing is appended to it: what it has is written.
                    if see(line) != LookedAt::More {
                        break;
                    }
                }
                return Ok(some);
            }
            PartSource::Plain { file, offset } => (file, offset),
        };
        // Emptied in its place.
        if file.metadata()?.len() < *offset {
            *offset = 0;
        }
        let mut chunk = Vec::new();
        let mut most = CHUNK_BYTES;
        loop {
            file.seek(SeekFrom::Start(*offset))?;
            chunk.clear();
            file.by_ref().take(most as u64).read_to_end(&mut chunk)?;
            if memchr::memchr(b'\n', &chunk).is_some() || chunk.len() < most {
                break;
            }
            if most >= LINE_LIMIT_BYTES {
                // No record: its end is looked for further on.
                *offset += chunk.len() as u64;
                return Ok(true);
            }
            most = LINE_LIMIT_BYTES;
        }
        let mut some = false;
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            let Some(text) = line.strip_suffix(b"\n") else {
                break;
            };
            let looked_at = see(TrailLine {
                text,
                is_ended: true,
            });
            if looked_at == LookedAt::TooEarly {
                break;
            }
            some = true;
            *offset += line.len() as u64;
            if looked_at == LookedAt::Enough {
                break;
            }
        }
        Ok(some)
    }
}

#[cfg(test)]
mod tests;
