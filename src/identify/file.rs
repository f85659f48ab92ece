//! Files that the configuration names, read whole.
//!
//! What it does: reads one file and says what is wrong with it. What it refuses to know: what is in it, and why it is read.
//! Invariant: a message names the path and the kind of fault, and nothing of the content.

use std::path::Path;

use crate::document::{self, ReadFault};

/// The bytes of the file. Errors are lower case, without a full stop.
pub(super) fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, String> {
    match document::read(path, limit_bytes) {
        Ok(mut content) => Ok(std::mem::take(&mut *content)),
        Err(ReadFault::TooLarge) => Err(format!(
            "`{}` is larger than {limit_bytes} bytes",
            path.display()
        )),
        Err(ReadFault::Unreadable(kind)) => {
            Err(format!("`{}` cannot be read: {kind}", path.display()))
        }
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
            read(&path, 4),
            Err(format!("`{}` is larger than 4 bytes", path.display()))
        );
        let missing = folder.join("none");
        assert_eq!(
            read(&missing, 4),
            Err(format!(
                "`{}` cannot be read: entity not found",
                missing.display()
            ))
        );
    }
}
