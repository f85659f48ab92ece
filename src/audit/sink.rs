//! Where records go, and that they go there as whole lines.
//!
//! What it does: appends lines, and keeps one that a full disk took in part, to write its rest once there is room.
//! What it refuses to know: records, and what is to be done about a failure. Invariants: a line stands whole in one file;
//! one that was begun in a file that was rotated away is taken back there and begun anew in the next. What cannot be taken
//! back (in a pipe, or written by a process that was killed) is ended, so that it spoils no line but itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What bytes are appended to.
pub(super) trait Sink: Sized {
    /// Appends some of them, and says how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Its length, if it has one.
    fn length(&self) -> Option<u64>;
    /// Takes back what is beyond this length.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Whether the last line has an end; true where it cannot be known.
    fn is_ended(&self) -> bool;
    /// What the name leads to now, if that is another one.
    fn successor(&self) -> io::Result<Option<Self>>;
    /// Which file it is, and how long; `None` where it is none that stays.
    fn place(&self) -> Option<FilePlace>;
    /// Brings what was written to the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// An end of a file that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FilePlace {
    pub device: u64,
    pub inode: u64,
    /// In bytes.
    pub length: u64,
}

impl FilePlace {
    /// Of a file that stays; `None` for a pipe or a device.
    pub(super) fn of(file: &File) -> Option<Self> {
        let found = file.metadata().ok()?;
        found.is_file().then(|| Self::found(&found))
    }

    #[cfg(unix)]
    pub(super) fn found(found: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        FilePlace {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn found(found: &std::fs::Metadata) -> Self {
        FilePlace {
            device: 0,
            inode: 0,
            length: found.len(),
        }
    }

    /// Whether both are of one file.
    pub(super) fn is_of(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Lines that are to be appended.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    count: u64,
}

impl Batch {
    /// Adds one, and gives it back. `write`: appends it, without its end.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let begin = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        self.bytes.push(b'\n');
        self.count += 1;
        self.bytes.get(begin..end).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Gives them up, and says how many they were.
    pub(super) fn clear(&mut self) -> u64 {
        self.bytes.clear();
        std::mem::take(&mut self.count)
    }

    /// Takes out what was written, `done` bytes, and the line that was written in part: how many are whole, and that one.
    fn take(&mut self, done: usize) -> (u64, Option<Torn>) {
        let is_end = |byte: &u8| *byte == b'\n';
        let (written, rest) = self.bytes.split_at(done.min(self.bytes.len()));
        let whole = written.iter().filter(|byte| is_end(byte)).count() as u64;
        let begin = written.iter().rposition(is_end).map_or(0, |end| end + 1);
        let done = written.len() - begin;
        let end = match done {
            0 => begin,
            _ => rest
                .iter()
                .position(is_end)
                .map_or(self.bytes.len(), |end| written.len() + end + 1),
        };
        let mut out = self.bytes.drain(..end);
        let torn = (done > 0).then(|| Torn {
            line: out.by_ref().skip(begin).collect(),
            done,
        });
        drop(out);
        self.count = self.count.saturating_sub(whole + u64::from(torn.is_some()));
        (whole, torn)
    }
}

/// A line of which the sink took a part.
struct Torn {
    line: Vec<u8>,
    /// What of it stands in the sink.
    done: usize,
}

/// Appends whole lines.
pub(super) struct Lines<S> {
    sink: S,
    torn: Option<Torn>,
    /// How long the sink was with the part of a line.
    length: Option<u64>,
    /// Whether the next line would stand behind one without an end.
    is_unended: bool,
}

impl<S: Sink> Lines<S> {
    pub(super) fn new(sink: S) -> Self {
        let is_unended = !sink.is_ended();
        Lines {
            sink,
            torn: None,
            length: None,
            is_unended,
        }
    }

    /// Whether a line stands in the sink in part.
    pub(super) fn is_torn(&self) -> bool {
        self.torn.is_some()
    }

    /// Appends the lines, and takes out of the batch what the sink has, or has a part of. Says how many lines have become whole.
    pub(super) fn append(&mut self, batch: &mut Batch) -> (u64, io::Result<()>) {
        let finished = match self.finish() {
            Ok(finished) => finished,
            Err(error) => return (0, Err(error)),
        };
        let (done, result) = self.write(&batch.bytes);
        if result.is_ok() {
            return (finished + batch.clear(), result);
        }
        let (whole, torn) = batch.take(done);
        self.torn = torn;
        (finished + whole, result)
    }

    /// Writes the rest of the line that was torn: behind its begin where that still stands at the end, as a whole elsewhere.
    fn finish(&mut self) -> io::Result<u64> {
        if let Some(torn) = &mut self.torn
            && torn.done > 0
            && self.length != self.sink.length()
        {
            // The file was emptied in its place, or something else was written to it.
            torn.done = 0;
            self.is_unended = !self.sink.is_ended();
        }
        if self.is_unended {
            self.write(b"\n").1?;
            self.is_unended = false;
        }
        let Some(mut torn) = self.torn.take() else {
            return Ok(0);
        };
        let (done, result) = self.write(torn.line.get(torn.done..).unwrap_or_default());
        if let Err(error) = result {
            torn.done += done;
            self.torn = Some(torn);
            return Err(error);
        }
        Ok(1)
    }

    /// Appends all of it, or says how much of it and why no more.
    fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match self.sink.write(rest) {
                Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    done += written;
                    if done < bytes.len() {
                        self.length = self.sink.length();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    /// Goes on in the file that the name leads to now. The line that was torn begins anew there.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(next) = self.sink.successor()? {
            self.take_back();
            self.is_unended = !next.is_ended();
            self.sink = next;
        }
        Ok(())
    }

    /// Takes the begin of the line that was torn out of the sink, or ends it.
    fn take_back(&mut self) {
        let Some(torn) = &mut self.torn else { return };
        let done = std::mem::take(&mut torn.done);
        let length = self.sink.length();
        if done == 0 || length != self.length {
            return;
        }
        let begin = length.and_then(|length| length.checked_sub(done as u64));
        if begin.is_none_or(|begin| self.sink.cut(begin).is_err()) {
            let _ = self.write(b"\n");
        }
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.sink.sync()
    }

    /// Where the next line will stand; `None` where none can say, or a line stands in part.
    pub(super) fn place(&self) -> Option<FilePlace> {
        if self.is_torn() {
            return None;
        }
        self.sink.place()
    }

    /// Writes no more. Says how many lines are in no file, though they were taken.
    pub(super) fn close(&mut self) -> u64 {
        self.take_back();
        let _ = self.sink.sync();
        u64::from(self.torn.take().is_some())
    }
}

/// What records are appended to.
pub(super) enum TrailOutput {
    Stdout,
    File { path: PathBuf, file: File },
}

impl TrailOutput {
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        match path {
            None => Ok(TrailOutput::Stdout),
            Some(path) => Ok(TrailOutput::File {
                path: path.to_owned(),
                file: append(path)?,
            }),
        }
    }
}

impl Sink for TrailOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            TrailOutput::Stdout => io::stdout().write(bytes),
            TrailOutput::File { file, .. } => file.write(bytes),
        }
    }

    fn length(&self) -> Option<u64> {
        let TrailOutput::File { file, .. } = self else {
            return None;
        };
        let found = file.metadata().ok()?;
        found.is_file().then_some(found.len())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        match self {
            TrailOutput::Stdout => Err(io::ErrorKind::Unsupported.into()),
            TrailOutput::File { file, .. } => file.set_len(length),
        }
    }

    fn is_ended(&self) -> bool {
        let (TrailOutput::File { path, .. }, Some(1..)) = (self, self.length()) else {
            return true;
        };
        let mut last = [b'\n'];
        let read = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)
        });
        read.is_err() || last == [b'\n']
    }

    fn successor(&self) -> io::Result<Option<Self>> {
        let TrailOutput::File { path, file } = self else {
            return Ok(None);
        };
        let next = append(path)?;
        Ok((!is_same(file, &next)).then(|| TrailOutput::File {
            path: path.clone(),
            file: next,
        }))
    }

    fn place(&self) -> Option<FilePlace> {
        match self {
            TrailOutput::Stdout => None,
            TrailOutput::File { file, .. } => FilePlace::of(file),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self {
            TrailOutput::File { file, .. } if FilePlace::of(file).is_some() => file.sync_data(),
            _ => Ok(()),
        }
    }
}

#[cfg(unix)]
fn is_same(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let of = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    matches!((of(one), of(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(not(unix))]
fn is_same(_: &File, _: &File) -> bool {
    false
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}
