//! The lines of a file of the trail, as they stand.
//!
//! What it does: reads a file line by line, plain or compressed with gzip or zstd, and finds a record's number. What it refuses to
//! know: what a record means, and how files are named. Invariants: one line is held at a time, and no longer one than
//! `LINE_LIMIT_BYTES`; what is longer, or has no number, is given as it is, because a reader must say so.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

/// The longest line that is held whole, in bytes: a record has a few KiB, and many parts.
pub(super) const LINE_LIMIT_BYTES: u64 = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// What a zstd frame may ask to be kept, as a power of two: 128 MiB, the command line's own bound.
const WINDOW_LOG: u32 = 27;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrailLine<'a> {
    /// Without its end.
    pub text: &'a [u8],
    /// Whether it has one.
    pub is_ended: bool,
}

impl TrailLine<'_> {
    /// The record's number, if it is a record's line.
    pub(crate) fn seq(&self) -> Option<u64> {
        let rest = self.text.strip_prefix(b"{\"seq\":")?;
        let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = rest.split_at_checked(end)?;
        let is_form = (digits.first() != Some(&b'0') || digits.len() == 1)
            && rest.first() == Some(&b',')
            && rest.last() == Some(&b'}');
        std::str::from_utf8(digits)
            .ok()?
            .parse()
            .ok()
            .filter(|_| is_form && self.is_ended)
    }
}

/// A file of the trail that is read, line by line.
pub(crate) struct TrailReader {
    input: Box<dyn BufRead>,
    line: Vec<u8>,
}

impl TrailReader {
    /// Opens it; what it is compressed with is told by how it begins.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = open_plain(path)?;
        let begin = head(&mut file)?;
        let input: Box<dyn BufRead> = match begin {
            [0x1f, 0x8b, ..] => {
                let plain = flate2::read::MultiGzDecoder::new(file);
                Box::new(BufReader::with_capacity(BUFFER_BYTES, plain))
            }
            [0x28, 0xb5, 0x2f, 0xfd] => {
                let mut plain = zstd::stream::read::Decoder::new(file)?;
                plain.window_log_max(WINDOW_LOG)?;
                Box::new(BufReader::with_capacity(BUFFER_BYTES, plain))
            }
            _ => Box::new(BufReader::with_capacity(BUFFER_BYTES, file)),
        };
        Ok(Self::of(input))
    }

    /// Opens a plain file from a place on.
    pub(crate) fn open_at(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = open_plain(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self::of(Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            file,
        ))))
    }

    fn of(input: Box<dyn BufRead>) -> Self {
        TrailReader {
            input,
            line: Vec::new(),
        }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<TrailLine<'_>>> {
        self.line.clear();
        let mut limited = (&mut self.input).take(LINE_LIMIT_BYTES);
        limited.read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Ok(None);
        }
        let text = self.line.strip_suffix(b"\n");
        Ok(Some(TrailLine {
            text: text.unwrap_or(&self.line),
            is_ended: text.is_some(),
        }))
    }
}

/// The first bytes of a file, by which its form is told; it is read from its begin again.
fn head(file: &mut File) -> io::Result<[u8; 4]> {
    let mut begin = [0; 4];
    let mut length = 0;
    while let Some(rest) = begin.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => length += read,
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(begin)
}

/// Whether a file is compressed.
pub(super) fn is_packed(path: &Path) -> io::Result<bool> {
    let begin = head(&mut open_plain(path)?)?;
    Ok(matches!(begin, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]))
}

/// Opens a file, and nothing else: opening a pipe would wait for its writer, and a device has no end.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    let why = "it is a folder, a pipe or a device, and no file";
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_records_number_is_read_in_one_form() {
        for (text, expected) in [
            ("{\"seq\":0,\"time\":\"\"}", Some(0)),
            ("{\"seq\":41,\"time\":\"\"}", Some(41)),
            ("{\"seq\":18446744073709551615,\"a\":1}", Some(u64::MAX)),
            ("{\"seq\":18446744073709551616,\"a\":1}", None),
            ("{\"seq\":041,\"time\":\"\"}", None),
            ("{\"seq\":-1,\"time\":\"\"}", None),
            ("{\"seq\":,\"time\":\"\"}", None),
            ("{ \"seq\":4,\"time\":\"\"}", None),
            ("{\"seq\":4", None),
            ("{\"seq\":4,\"ti", None),
            ("", None),
        ] {
            let line = |is_ended| TrailLine {
                text: text.as_bytes(),
                is_ended,
            };
            assert_eq!(line(true).seq(), expected, "{text}");
            assert_eq!(line(false).seq(), None, "{text}");
        }
    }

    /// Scenario: one text, plain, compressed by gzip in two members, and by zstd; a line that is too long; none at all. Guarantees:
    /// the same lines, and none beyond the bound.
    #[test]
    fn a_file_is_read_whatever_it_is_compressed_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trail");
        let gzip = |text: &str| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(text.as_bytes()).unwrap();
            out.finish().unwrap()
        };
        let forms = [
            b"one\ntwo\nth".to_vec(),
            [gzip("one\n"), gzip("two\nth")].concat(),
            zstd::stream::encode_all(&b"one\ntwo\nth"[..], 1).unwrap(),
        ];
        for form in forms {
            std::fs::write(&path, form).unwrap();
            let mut reader = TrailReader::open(&path).unwrap();
            let mut read = Vec::new();
            while let Some(line) = reader.next_line().unwrap() {
                read.push((
                    String::from_utf8(line.text.to_vec()).unwrap(),
                    line.is_ended,
                ));
            }
            let expected = [("one", true), ("two", true), ("th", false)];
            assert_eq!(read, expected.map(|(text, ended)| (text.to_owned(), ended)));
        }
        std::fs::write(&path, vec![b'x'; (LINE_LIMIT_BYTES * 2 + 3) as usize]).unwrap();
        let mut reader = TrailReader::open(&path).unwrap();
        for expected in [LINE_LIMIT_BYTES, LINE_LIMIT_BYTES, 3] {
            let line = reader.next_line().unwrap().unwrap();
            assert_eq!((line.text.len() as u64, line.is_ended), (expected, false));
        }
        assert_eq!(reader.next_line().unwrap(), None);
        std::fs::write(&path, "").unwrap();
        assert_eq!(TrailReader::open(&path).unwrap().next_line().unwrap(), None);
    }
}
