//! How far a long walk is, on a terminal.
//!
//! What it does: prints a line over itself, a few times a second. What it refuses to know: what is walked over.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Between two lines of it.
const PAUSE: Duration = Duration::from_millis(200);

/// Tells of bytes read; silent where standard error is no terminal.
pub(super) struct WalkProgress {
    total: u64,
    done: u64,
    told: Option<Instant>,
}

impl WalkProgress {
    /// `total`: bytes of the files, as they are stored.
    pub(super) fn new(total: u64, quiet: bool) -> Self {
        let shows = !quiet && std::io::stderr().is_terminal();
        WalkProgress {
            total,
            done: 0,
            told: shows.then(Instant::now),
        }
    }

    /// So many bytes are done by now.
    pub(super) fn reach(&mut self, done: u64) {
        self.done = done;
        let now = Instant::now();
        let Some(told) = self.told.filter(|told| now.duration_since(*told) >= PAUSE) else {
            return;
        };
        let _ = told;
        self.told = Some(now);
        let mib = |bytes: u64| bytes >> 20;
        let percent = (u128::from(done) * 100)
            .checked_div(u128::from(self.total))
            .unwrap_or(100);
        let _ = write!(
            std::io::stderr(),
            "\r{percent:3} %  {} of {} MiB",
            mib(done),
            mib(self.total)
        );
    }
}

impl Drop for WalkProgress {
    fn drop(&mut self) {
        if self.told.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
