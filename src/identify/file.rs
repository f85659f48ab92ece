//! Files that the configuration names, read whole.
//!
//! What it does: reads one file and says what is wrong with it. What it refuses to know: what is in it, and why it is read.
//! Invariant: a message names the path and the kind of fault, and nothing of the content.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::document::{self, ReadFault};

/// Why a file is not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnreadableFile {
    #[error("`{}` is larger than {limit_bytes} bytes", .path.display())]
    TooLarge { path: PathBuf, limit_bytes: u64 },
    #[error("`{}` is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("`{}` cannot be read: {kind}", .path.display())]
    Unreadable { path: PathBuf, kind: ErrorKind },
}

/// The bytes of the file.
pub(super) fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, UnreadableFile> {
    match document::read(path, limit_bytes) {
        Ok(mut content) => Ok(std::mem::take(&mut *content)),
        Err(ReadFault::TooLarge) => Err(UnreadableFile::TooLarge {
            path: path.to_owned(),
            limit_bytes,
        }),
        Err(ReadFault::NotAFile) => Err(UnreadableFile::NotAFile(path.to_owned())),
        Err(ReadFault::Unreadable(kind)) => Err(UnreadableFile::Unreadable {
            path: path.to_owned(),
            kind,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::forge::Folder;
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_refused() {
        let folder = Folder::new();
        let path = folder.write("some", "12345");
        assert_eq!(read(&path, 5), Ok(b"12345".to_vec()));
        assert_eq!(
            read(&path, 4).unwrap_err().to_string(),
            format!("`{}` is larger than 4 bytes", path.display())
        );
        let missing = folder.join("none");
        assert_eq!(
            read(&missing, 4).unwrap_err().to_string(),
            format!("`{}` cannot be read: entity not found", missing.display())
        );
    }
}
