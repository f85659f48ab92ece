//! Files that people name, read whole.
//!
//! What it does: reads one file up to a bound. What it refuses to know: what is in it, and why it is read. Invariants: no more
//! than the bound and a byte is ever in memory, and it is wiped when dropped; what the gateway reads by itself, again and again,
//! is a file, because opening a pipe waits for its writer, and reading a device has no end; a fault repeats nothing of the
//! content.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::tree::TEXT_LIMIT_BYTES;

/// Why a file cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadFault {
    #[error("it is too large")]
    TooLarge,
    /// A folder, a pipe, a device.
    #[error("it is not a file")]
    NotAFile,
    #[error("{0}")]
    Unreadable(ErrorKind),
}

impl From<std::io::Error> for ReadFault {
    fn from(error: std::io::Error) -> Self {
        ReadFault::Unreadable(error.kind())
    }
}

/// The bytes of the file.
pub(crate) fn read(path: &Path, limit_bytes: u64) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(ReadFault::NotAFile);
    }
    if found.len() > limit_bytes {
        return Err(ReadFault::TooLarge);
    }
    read_any(path, limit_bytes)
}

/// The same of whatever a person names for one command: a shell gives what another command prints as a pipe.
pub(crate) fn read_any(path: &Path, limit_bytes: u64) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
    let mut content = Zeroizing::new(Vec::new());
    let file = File::open(path)?;
    file.take(limit_bytes.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > limit_bytes {
        Err(ReadFault::TooLarge)
    } else {
        Ok(content)
    }
}

/// The text of a file that `load` is to read.
pub(crate) fn text(path: &Path) -> Result<String, ReadFault> {
    let mut content = read(path, TEXT_LIMIT_BYTES as u64)?;
    String::from_utf8(std::mem::take(&mut *content))
        .map_err(|_| ReadFault::Unreadable(ErrorKind::InvalidData))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_is_read_whole_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap().as_slice(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err(), ReadFault::TooLarge);
        assert_eq!(
            read(&folder.path().join("none"), 4).unwrap_err(),
            ReadFault::Unreadable(ErrorKind::NotFound)
        );
        // It has no end.
        let zero = Path::new("/dev/zero");
        assert_eq!(read_any(zero, 1 << 16).unwrap_err(), ReadFault::TooLarge);
    }

    /// Scenario: what stands at a path is a folder, a device without end, a pipe that is never written to, or a link to one.
    /// Guarantees: each is refused, and nothing waits for it.
    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let made = Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        std::os::unix::fs::symlink(at("pipe"), at("link")).unwrap();
        std::fs::write(at("some"), "12345").unwrap();
        std::os::unix::fs::symlink(at("some"), at("link to a file")).unwrap();
        for path in [
            folder.path(),
            Path::new("/dev/zero"),
            &at("pipe"),
            &at("link"),
        ] {
            assert_eq!(
                read(path, 4),
                Err(ReadFault::NotAFile),
                "{}",
                path.display()
            );
            assert_eq!(text(path), Err(ReadFault::NotAFile), "{}", path.display());
        }
        assert_eq!(text(&at("link to a file")).unwrap(), "12345");
    }

    /// Guarantees: of a text without end, no more is read than one may have.
    #[test]
    fn a_large_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        let file = File::create(&path).unwrap();
        file.set_len(TEXT_LIMIT_BYTES as u64).unwrap();
        assert_eq!(text(&path).unwrap().len(), TEXT_LIMIT_BYTES);
        file.set_len(1 << 40).unwrap();
        assert_eq!(text(&path), Err(ReadFault::TooLarge));
    }
}
