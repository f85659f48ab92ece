//! The files that a snapshot was read from, and whether they changed.
//!
//! What it does: looks at files, and asks for a reload when they changed. What it refuses to know: what they hold, what a reload
//! does. Invariants: a file that is written anew with the same content means nothing; a change during a reload is not
//! lost.

use std::path::PathBuf;
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
    /// What the last reload has surely read, whether it took it over or refused it; without what changed meanwhile.
    judged: Mutex<Digests>,
}

impl WatchedFiles {
    /// `read_at`: when they were begun to be read.
    pub(crate) fn new(files: Vec<PathBuf>, read_at: UnixMillis) -> Self {
        let known = changes::digests(&files);
        WatchedFiles {
            // What changed while the gateway started was perhaps read before its change.
            judged: Mutex::new(surely_read(&known, &Digests::new(), read_at)),
            known: Mutex::new(known),
            files: Mutex::new(files),
        }
    }

    /// What they held when the present snapshot was built.
    pub(crate) fn known(&self) -> Digests {
        self.known.lock().clone()
    }

    /// What they hold now. Reads them all.
    pub(crate) fn read(&self) -> Digests {
        let files = self.files.lock().clone();
        changes::digests(&files)
    }

    /// Another snapshot was built of these files, which held `before` before they were read, at `read_at`, and `after` since.
    pub(crate) fn taken_over(&self, before: &Digests, after: Digests, read_at: UnixMillis) {
        *self.files.lock() = after.keys().cloned().collect();
        *self.judged.lock() = surely_read(&after, before, read_at);
        *self.known.lock() = after;
    }

    /// A reload was refused of files that held this before they were read.
    pub(crate) fn refused(&self, before: Digests) {
        *self.judged.lock() = before;
    }

    /// Asks for a reload whenever a file holds something else than was read last; never ends by itself.
    ///
    /// Files are looked at rather than watched: a look costs a few system calls, sees replaced files and
    /// swapped symlinks (Kubernetes' `..data`) on every file system, and is not woken by other files in
    /// the same folder, the audit trail for one.
    pub(crate) async fn watch<F: Future<Output = ()>>(&self, reload: impl Fn() -> F) {
        let mut seen = self.marks().await;
        if self.is_unread().await {
            seen = self.catch_up(&reload).await;
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
            if self.is_unread().await {
                seen = self.catch_up(&reload).await;
            }
        }
    }

    /// Reloads until no file changed while it was read. Gives what the files looked like then.
    async fn catch_up<F: Future<Output = ()>>(&self, reload: &impl Fn() -> F) -> Vec<Option<Mark>> {
        for _ in 0..CATCH_UP_ROUNDS {
            reload().await;
            // Before their contents: what changes from here on differs at the next look.
            let marks = self.marks().await;
            if !self.is_unread().await {
                return marks;
            }
            tokio::time::sleep(SETTLE).await;
        }
        // Nothing looks like this: the next look goes on.
        Vec::new()
    }

    /// Whether a file holds something else than the last reload has surely read.
    async fn is_unread(&self) -> bool {
        let files = self.files.lock().clone();
        let content = tokio::task::spawn_blocking(move || changes::digests(&files)).await;
        // Without an answer the next look tells.
        content.is_ok_and(|content| content != *self.judged.lock())
    }

    async fn marks(&self) -> Vec<Option<Mark>> {
        let files = self.files.lock().clone();
        tokio::task::spawn_blocking(move || changes::marks(&files))
            .await
            .unwrap_or_default()
    }
}

/// Of what files hold, what they held when they were read at `read_at`, having held `before` before.
fn surely_read(after: &Digests, before: &Digests, read_at: UnixMillis) -> Digests {
    let is_sure = |file: &PathBuf, digest| match before.get(file) {
        Some(before) => before == digest,
        // It was not watched before.
        None => {
            let mark = changes::marks(std::slice::from_ref(file)).pop().flatten();
            mark.is_none_or(|mark| !mark.is_after(read_at.0))
        }
    };
    let sure = after.iter().filter(|(file, digest)| is_sure(file, *digest));
    sure.map(|(file, digest)| (file.clone(), *digest)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Longer than any look at a file takes.
    const SOON: Duration = Duration::from_secs(20);
    /// Nothing is younger.
    const READ_AT: UnixMillis = UnixMillis(i64::MAX);

    /// Scenario: a file is changed and taken over by a reload that was asked for, or refused by it, and changed back before
    /// it is looked at.
    /// Guarantees: what stands in the file is taken over; a file that holds what it held when it was looked at last may not
    /// be what the snapshot was built of.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_changed_back_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        let replace = |text: &str| {
            let next = folder.path().join("next");
            std::fs::write(&next, text).unwrap();
            std::fs::rename(&next, &file).unwrap();
        };
        replace("deny");
        let watched = Arc::new(WatchedFiles::new(vec![file.clone()], READ_AT));
        let take_over = {
            let watched = watched.clone();
            move || watched.taken_over(&watched.read(), watched.read(), READ_AT)
        };
        let (reloads, mut reloaded) = tokio::sync::watch::channel(0);
        let watching = {
            let (watched, take_over) = (watched.clone(), take_over.clone());
            tokio::spawn(async move {
                let reload = || async {
                    take_over();
                    reloads.send_modify(|count| *count += 1);
                };
                watched.watch(reload).await;
            })
        };
        // The clock stands, and moves on when all wait: many looks.
        let early = reloaded.wait_for(|count| *count > 0);
        let early = tokio::time::timeout(10 * LOOK, early).await.is_ok();
        assert!(!early, "nothing changed");
        replace("allow");
        take_over();
        replace("deny");
        let second = reloaded.wait_for(|count| *count > 0);
        let second = tokio::time::timeout(SOON, second).await.is_ok();
        assert!(second, "the file was not taken over");
        assert_eq!(watched.known(), watched.read());
        // The same where the reload between was refused.
        let before = *reloaded.borrow();
        replace("nonsense");
        watched.refused(watched.read());
        replace("deny");
        let third = reloaded.wait_for(|count| *count > before);
        let third = tokio::time::timeout(SOON, third).await.is_ok();
        assert!(third, "the file was not read again");
        watching.abort();
    }

    /// Scenario: what stands at a watched path is a pipe for a while, then a file of a terabyte, then a file again.
    /// Guarantees: no look waits for a writer or reads without end, so that the file is taken over once it is there.
    #[tokio::test(start_paused = true)]
    async fn what_is_no_file_does_not_end_the_watch() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("revocations.yaml");
        std::fs::write(&file, "first").unwrap();
        let watched = Arc::new(WatchedFiles::new(vec![file.clone()], READ_AT));
        let (reloads, mut reloaded) = tokio::sync::watch::channel(0);
        let watching = {
            let watched = watched.clone();
            tokio::spawn(async move {
                let reload = || async {
                    watched.refused(watched.read());
                    reloads.send_modify(|count| *count += 1);
                };
                watched.watch(reload).await;
            })
        };
        let next = folder.path().join("next");
        let mut is_seen = async |within: Duration| {
            let before = *reloaded.borrow();
            std::fs::rename(&next, &file).unwrap();
            let seen = reloaded.wait_for(|count| *count > before);
            tokio::time::timeout(within, seen).await.is_ok()
        };
        let made = std::process::Command::new("mkfifo").arg(&next).status();
        assert!(made.unwrap().success());
        assert!(is_seen(SOON).await, "a pipe is no file any more");
        let large = std::fs::File::create(&next).unwrap();
        large.set_len(1 << 40).unwrap();
        let seen = is_seen(10 * LOOK).await;
        assert!(!seen, "what is too large is none that is read, either");
        std::fs::write(&next, "second").unwrap();
        assert!(is_seen(SOON).await, "a file is there again");
        watching.abort();
    }
}
