//! What is kept beside the trail of where a sink is.
//!
//! What it does: reads and replaces one small file for each sink. What it refuses to know: what a sink does with it.
//! Invariant: what is kept is never beyond what was surely sent, so that a start sends again rather than leaves out.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::follow::FollowerPlace;
use crate::audit::kept::replace;
use crate::audit::sequence::named_beside;

/// Three numbers take less.
const LIMIT_BYTES: u64 = 1024;

/// The file of one sink.
#[derive(Debug)]
pub(super) struct KeptSinkPlace {
    path: PathBuf,
    kept: Option<FollowerPlace>,
}

impl KeptSinkPlace {
    /// `name`: the sink's.
    pub(super) fn beside(audit: &Path, name: &str) -> Self {
        KeptSinkPlace {
            path: named_beside(audit, &format!(".{name}.sink")),
            kept: None,
        }
    }

    /// What was kept; `None`: nothing yet.
    pub(super) fn read(&self) -> io::Result<Option<FollowerPlace>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(LIMIT_BYTES).read_to_string(&mut text)?;
        Ok(Some(serde_json::from_str(&text)?))
    }

    /// Keeps it, if it is another.
    pub(super) fn keep(&mut self, place: FollowerPlace) -> io::Result<()> {
        if self.kept != Some(place) {
            replace(&self.path, &serde_json::to_string(&place)?)?;
            self.kept = Some(place);
        }
        Ok(())
    }
}
