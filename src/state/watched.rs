//! The files that a snapshot was read from, and whether they changed.
//!
//! What it does: looks at files, and asks for a reload when they changed. What it refuses to know: what they hold, what a reload
//! does. Invariants: a file that is written anew with the same content means nothing; a change during a reload is not
//! lost.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::changes::{self, Digests, Mark};
use crate::clock::UnixMillis;
use crate::lock::Mutex;

/// Changes that come together are taken together.
const SETTLE: Duration = Duration::from_millis(200);
/// Between two looks at the files.
const LOOK: Duration = Duration::from_millis(500);
/// Reloads at once while files change; then the next look goes on.
const CATCH_UP_ROUNDS: usize = 8;

/// The files of the present snapshot.
pub(crate) struct WatchedFiles {
    files: Mutex<Vec<PathBuf>>,
    /// What they held when the present snapshot was built.
    known: Mutex<Digests>,
    /// When they were read, Unix milliseconds.
    read_at: AtomicI64,
}

impl WatchedFiles {
    pub(crate) fn new(files: Vec<PathBuf>, read_at: UnixMillis) -> Self {
        WatchedFiles {
            known: Mutex::new(changes::digests(&files)),
            files: Mutex::new(files),
            read_at: AtomicI64::new(read_at.0),
        }
    }

    /// What they held when the present snapshot was built.
    pub(crate) fn known(&self) -> Digests {
        self.known.lock().clone()
    }

    /// Another snapshot was built of these files.
    pub(crate) fn taken_over(&self, files: Vec<PathBuf>, known: Digests, read_at: UnixMillis) {
        *self.files.lock() = files;
        self.read_at.store(read_at.0, Ordering::Relaxed);
        *self.known.lock() = known;
    }

    /// Asks for a reload whenever a file changed; never ends by itself.
    ///
    /// Files are looked at rather than watched: a look costs a few system calls, sees replaced files and
    /// swapped symlinks (Kubernetes' `..data`) on every file system, and is not woken by other files in
    /// the same folder, the audit trail for one.
    pub(crate) async fn watch<F: Future<Output = ()>>(&self, reload: impl Fn() -> F) {
        let mut seen = self.marks().await;
        let content = self.content().await;
        let mut known = self.known();
        // What changed while the gateway started was perhaps read before its change.
        let read_at = self.read_at.load(Ordering::Relaxed);
        if content != known || seen.iter().flatten().any(|mark| mark.is_after(read_at)) {
            (seen, known) = self.catch_up(content, &reload).await;
        }
        loop {
            tokio::time::sleep(LOOK).await;
            let marks = self.marks().await;
            if marks == seen {
                continue;
            }
            // Files that are changed together are taken together.
            tokio::time::sleep(SETTLE).await;
            seen = self.marks().await;
            let content = self.content().await;
            if content != known {
                (seen, known) = self.catch_up(content, &reload).await;
            }
        }
    }

    /// Reloads until no file changed while it was read: a reload may have read a file before its change, and what looks at
    /// it afterwards sees nothing new. Gives what the files looked like and held then. `before`: what they held before.
    async fn catch_up<F: Future<Output = ()>>(
        &self,
        mut before: Digests,
        reload: &impl Fn() -> F,
    ) -> (Vec<Option<Mark>>, Digests) {
        for _ in 0..CATCH_UP_ROUNDS {
            reload().await;
            // Before their contents: what changes from here on differs at the next look.
            let (marks, files) = (self.marks().await, self.files.lock().clone());
            let after = self.content().await;
            let read_at = self.read_at.load(Ordering::Relaxed);
            let stood_still = files
                .iter()
                .zip(&marks)
                .all(|(file, mark)| match before.get(file) {
                    Some(digest) => after.get(file) == Some(digest),
                    // This reload brought it.
                    None => mark.is_none_or(|mark| !mark.is_after(read_at)),
                });
            if stood_still {
                return (marks, after);
            }
            before = after;
            tokio::time::sleep(SETTLE).await;
        }
        // Nothing looks like this: the next look goes on.
        (Vec::new(), before)
    }

    async fn marks(&self) -> Vec<Option<Mark>> {
        let files = self.files.lock().clone();
        tokio::task::spawn_blocking(move || changes::marks(&files))
            .await
            .unwrap_or_default()
    }

    /// Digests of all watched files.
    async fn content(&self) -> Digests {
        let files = self.files.lock().clone();
        tokio::task::spawn_blocking(move || changes::digests(&files))
            .await
            .unwrap_or_default()
    }
}
