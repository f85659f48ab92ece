//! Files that the configuration names, read whole.
//!
//! What it does: reads one file up to a bound. What it refuses to know: what is in it, and why it is read. Invariants: no more
//! than the bound is ever in memory; a message names the path and the kind of fault, and nothing of the content.

use std::io::Read as _;
use std::path::Path;

/// The bytes of the file. Errors are lower case, without a full stop.
pub(super) fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, String> {
    let refused = |error: std::io::Error| format!("`{}` cannot be read: {}", path.display(), error.kind());
    let mut content = Vec::new();
    std::fs::File::open(path).map_err(refused)?.take(limit_bytes + 1).read_to_end(&mut content).map_err(refused)?;
    if content.len() as u64 > limit_bytes {
        return Err(format!("`{}` is larger than {limit_bytes} bytes", path.display()));
    }
    Ok(content)
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
        assert_eq!(read(&path, 4), Err(format!("`{}` is larger than 4 bytes", path.display())));
        let missing = folder.0.join("none");
        assert_eq!(read(&missing, 4), Err(format!("`{}` cannot be read: entity not found", missing.display())));
    }
}
