//! A folder of a test's own, removed with it. It knows no scenario.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        // As a folder with secrets is to be.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        Folder(
            tempfile::Builder::new()
                .prefix("lightkeeper-test-")
                .permissions(private)
                .tempdir()
                .unwrap(),
        )
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path of something in it, as text.
    pub fn at(&self, name: &str) -> String {
        self.join(name).display().to_string()
    }

    /// Changes a text that must be there.
    pub fn replace(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.join(name)).unwrap();
        assert!(text.contains(from), "`{from}` is not in {name}:\n{text}");
        // Renamed into place: a watcher must not read half of it.
        std::fs::write(self.join("next"), text.replace(from, to)).unwrap();
        std::fs::rename(self.join("next"), self.join(name)).unwrap();
    }
}
