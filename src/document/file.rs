//! Files that people name, read whole.
//!
//! What it does: reads one file up to a bound. What it refuses to know: what is in it, and why it is read. Invariants: no more
//! than the bound and a byte is ever in memory, and it is wiped when dropped; a fault repeats nothing of the content.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

/// Why a file cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFault {
    TooLarge,
    Unreadable(ErrorKind),
}

/// The bytes of the file.
pub(crate) fn read(path: &Path, limit_bytes: u64) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
    let unreadable = |error: std::io::Error| ReadFault::Unreadable(error.kind());
    let mut content = Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(limit_bytes.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    if content.len() as u64 > limit_bytes {
        Err(ReadFault::TooLarge)
    } else {
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
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
        assert!(read(folder.path(), 4).is_err());
        // It has no end.
        assert_eq!(
            read(Path::new("/dev/zero"), 1 << 16).unwrap_err(),
            ReadFault::TooLarge
        );
    }
}
