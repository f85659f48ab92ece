//! Callers that keep failing are answered without being heard.
//!
//! What it does: counts failures by key and says how long a caller must wait before the next attempt is looked at.
//! What it refuses to know: what a key stands for, and what a failure is. Invariants: a caller that succeeds is never made to
//! wait; no wait is longer than `WAIT_LIMIT_SECONDS`; at most `CALLERS_LIMIT_ENTRIES` are remembered, the latest ones.

use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::generations::Generations;
use crate::clock::UnixMillis;
use crate::lock::{Mutex, MutexGuard};

/// So many failures within `WINDOW_MILLIS` pass without consequence, if nothing succeeds in between.
pub(crate) const FAILURES_FREE: u32 = 64;
/// The sliding time in which failures are counted.
pub(crate) const WINDOW_MILLIS: i64 = 60_000;
/// The longest wait. An exporter's own back-off is of that order, too.
pub(crate) const WAIT_LIMIT_SECONDS: u64 = 60;
/// After this time without an attempt, everything is forgotten.
pub(crate) const QUIET_MILLIS: i64 = 600_000;
/// How many callers are remembered; the least recent go first.
pub(crate) const CALLERS_LIMIT_ENTRIES: usize = 65_536;

/// Who it is, as `Penalties::key` made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallerKey(u64);

/// The failures of all callers.
#[derive(Debug)]
pub struct Penalties {
    hasher: ahash::RandomState,
    callers: Mutex<Callers>,
    /// How many there are, so that nothing is locked while no caller fails.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Callers(Generations<CallerKey, FailureCount>);

#[derive(Clone, Copy, Debug)]
struct FailureCount {
    /// Failures in the window that began then, and in the one before.
    failures: u32,
    failures_before: u32,
    window: UnixMillis,
    /// The present wait; 0: none yet.
    wait_seconds: u64,
    until: UnixMillis,
    /// One attempt was let through since the last wait, and its outcome is not known.
    trying: bool,
    seen: UnixMillis,
}

impl Penalties {
    pub(crate) fn new() -> Self {
        Penalties {
            hasher: ahash::RandomState::new(),
            callers: Mutex::new(Callers(Generations::within(CALLERS_LIMIT_ENTRIES))),
            count: AtomicUsize::new(0),
        }
    }

    /// A key for an identity, an address, or whatever else tells callers apart. Keys of different processes differ.
    pub fn key(&self, whom: impl Hash) -> CallerKey {
        CallerKey(self.hasher.hash_one(whom))
    }

    /// How many seconds this caller must still wait; `None`: go on. After each wait one attempt is let through, and the
    /// others wait on until its outcome is told.
    pub(crate) fn standing(&self, key: CallerKey, now: UnixMillis) -> Option<u64> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut callers = self.callers();
        let caller = callers.find(key, now)?;
        caller.seen = now;
        if caller.wait_seconds == 0 {
            return None;
        }
        let left = caller.until.0.saturating_sub(now.0);
        if left > 0 {
            let left = u64::try_from(left).unwrap_or(0).div_ceil(1000);
            if left > caller.wait_seconds {
                // The clock was set back.
                caller.wait(now);
            }
            return Some(left.min(caller.wait_seconds));
        }
        caller.trying = true;
        caller.wait(now);
        None
    }

    /// An attempt of this caller failed.
    pub(crate) fn failed(&self, key: CallerKey, now: UnixMillis) {
        let mut callers = self.callers();
        if callers.find(key, now).is_none() {
            callers.0.insert(key, FailureCount::new(now));
        }
        if let Some(caller) = callers.find(key, now) {
            caller.fail(now);
        }
        self.count.store(callers.len(), Ordering::Relaxed);
    }

    /// An attempt of this caller succeeded: everything is forgiven.
    pub(crate) fn succeeded(&self, key: CallerKey) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut callers = self.callers();
        callers.0.remove(key);
        self.count.store(callers.len(), Ordering::Relaxed);
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        // The maps are sound after every statement, so a panic elsewhere in a holder's thread spoils nothing.
        self.callers.lock()
    }
}

impl Callers {
    fn len(&self) -> usize {
        self.0.len()
    }

    /// The caller, unless quiet for so long that it is forgotten.
    fn find(&mut self, key: CallerKey, now: UnixMillis) -> Option<&mut FailureCount> {
        let is_quiet =
            |caller: &mut FailureCount| now.0.saturating_sub(caller.seen.0) >= QUIET_MILLIS;
        if self.0.find(key).is_some_and(is_quiet) {
            self.0.remove(key);
        }
        self.0.find(key)
    }
}

impl FailureCount {
    fn new(now: UnixMillis) -> Self {
        FailureCount {
            failures: 0,
            failures_before: 0,
            window: now,
            wait_seconds: 0,
            until: now,
            trying: false,
            seen: now,
        }
    }

    fn fail(&mut self, now: UnixMillis) {
        self.seen = now;
        if self.wait_seconds > 0 {
            // Failures of attempts that began before the wait did not ignore it.
            if self.trying || self.until <= now {
                self.trying = false;
                self.wait_seconds = (self.wait_seconds * 2).min(WAIT_LIMIT_SECONDS);
                self.wait(now);
            }
            return;
        }
        let passed = now.0.saturating_sub(self.window.0);
        if !(0..WINDOW_MILLIS).contains(&passed) {
            let next = (WINDOW_MILLIS..2 * WINDOW_MILLIS).contains(&passed);
            self.failures_before = if next { self.failures } else { 0 };
            self.failures = 0;
            self.window = if next {
                UnixMillis(self.window.0.saturating_add(WINDOW_MILLIS))
            } else {
                now
            };
        }
        self.failures = self.failures.saturating_add(1);
        // The window before counts by the part of it that lies within the last minute.
        let left = WINDOW_MILLIS - now.0.saturating_sub(self.window.0);
        let before = i64::from(self.failures_before) * left / WINDOW_MILLIS;
        if i64::from(self.failures) + before > i64::from(FAILURES_FREE) {
            self.wait_seconds = 1;
            self.wait(now);
        }
    }

    fn wait(&mut self, now: UnixMillis) {
        let millis = i64::try_from(self.wait_seconds).unwrap_or(0) * 1000;
        self.until = UnixMillis(now.0.saturating_add(millis));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens, and at which second.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// So many failures.
        Fail(u32),
        Succeed,
        /// The caller comes, and is told to wait so long.
        Told(u64),
        /// The caller comes, and is heard.
        Heard,
    }
    use Step::{Fail, Heard, Succeed, Told};

    fn play(story: &str, steps: &[(i64, Step)]) {
        let penalties = Penalties::new();
        let key = penalties.key("somebody");
        for (place, (seconds, step)) in steps.iter().enumerate() {
            let now = UnixMillis(1_780_272_000_000 + seconds * 1000);
            match step {
                Fail(times) => (0..*times).for_each(|_| penalties.failed(key, now)),
                Succeed => penalties.succeeded(key),
                Told(wait) => assert_eq!(
                    penalties.standing(key, now),
                    Some(*wait),
                    "{story}, step {place}"
                ),
                Heard => assert_eq!(penalties.standing(key, now), None, "{story}, step {place}"),
            }
        }
    }

    #[test]
    fn whoever_keeps_failing_waits_longer_and_longer() {
        play("nothing happened", &[(0, Heard), (0, Succeed), (0, Heard)]);
        play("few failures", &[(0, Fail(64)), (0, Heard), (59, Heard)]);
        play("one more", &[(0, Fail(65)), (0, Told(1)), (1, Heard)]);
        play(
            "failures of attempts under way do not count",
            &[(0, Fail(200)), (0, Told(1)), (1, Heard)],
        );
        play(
            "each attempt doubles the wait, up to a minute",
            &[
                (0, Fail(65)),
                (0, Told(1)),
                (1, Heard),
                (1, Fail(1)),
                (1, Told(2)),
                (2, Told(1)),
                (3, Heard),
                (3, Fail(1)),
                (3, Told(4)),
                (7, Heard),
                (7, Fail(1)),
                (7, Told(8)),
                (15, Heard),
                (15, Fail(1)),
                (31, Heard),
                (31, Fail(1)),
                (31, Told(32)),
                (63, Heard),
                (63, Fail(1)),
                (63, Told(60)),
                (123, Heard),
                (123, Fail(1)),
                (123, Told(60)),
            ],
        );
    }

    #[test]
    fn after_a_wait_one_attempt_is_heard() {
        play(
            "the others wait for its outcome",
            &[
                (0, Fail(65)),
                (1, Heard),
                (1, Told(1)),
                (1, Fail(1)),
                (1, Told(2)),
                (1, Fail(5)),
                (1, Told(2)),
            ],
        );
        play(
            "an outcome that never comes",
            &[
                (0, Fail(65)),
                (1, Heard),
                (1, Told(1)),
                (2, Heard),
                (2, Told(1)),
            ],
        );
        play(
            "it succeeds",
            &[
                (0, Fail(65)),
                (1, Heard),
                (1, Succeed),
                (1, Heard),
                (1, Fail(64)),
                (1, Heard),
            ],
        );
    }

    #[test]
    fn failures_are_counted_over_a_sliding_minute() {
        play(
            "a success in between",
            &[(0, Fail(64)), (1, Succeed), (1, Fail(64)), (1, Heard)],
        );
        play(
            "spread over two minutes",
            &[(0, Fail(40)), (119, Fail(40)), (119, Heard)],
        );
        play(
            "across the turn of a minute",
            &[(0, Fail(1)), (58, Fail(40)), (62, Fail(40)), (62, Told(1))],
        );
        play(
            "an hour apart",
            &[(0, Fail(64)), (3600, Fail(64)), (3600, Heard)],
        );
    }

    #[test]
    fn quiet_is_forgiven() {
        play(
            "ten minutes",
            &[(0, Fail(65)), (600, Heard), (600, Fail(64)), (600, Heard)],
        );
        play(
            "not quite",
            &[(0, Fail(65)), (599, Heard), (599, Fail(1)), (599, Told(2))],
        );
        play(
            "who keeps asking is not quiet",
            &[
                (0, Fail(65)),
                (0, Told(1)),
                (300, Heard),
                (700, Heard),
                (700, Told(1)),
            ],
        );
        play(
            "a clock that is set back",
            &[(0, Fail(65)), (-86_400, Told(1)), (-86_399, Heard)],
        );
    }

    #[test]
    fn one_does_not_wait_for_another() {
        let penalties = Penalties::new();
        let now = UnixMillis(0);
        let (one, other) = (penalties.key(("address", 1)), penalties.key(("address", 2)));
        (0..65).for_each(|_| penalties.failed(one, now));
        assert_eq!(
            (penalties.standing(one, now), penalties.standing(other, now)),
            (Some(1), None)
        );
        assert_ne!(one, other);
    }

    #[test]
    fn the_least_recent_are_forgotten_first() {
        let penalties = Penalties::new();
        let now = UnixMillis(0);
        let keys: Vec<CallerKey> = (0..CALLERS_LIMIT_ENTRIES + 1)
            .map(|number| penalties.key(number))
            .collect();
        let fail = |key: CallerKey| (0..65).for_each(|_| penalties.failed(key, now));
        fail(keys[0]);
        fail(keys[1]);
        for key in &keys[2..] {
            penalties.failed(*key, now);
            penalties.standing(keys[0], now);
        }
        assert!(penalties.callers().len() <= CALLERS_LIMIT_ENTRIES);
        assert_eq!(
            (
                penalties.standing(keys[0], now),
                penalties.standing(keys[1], now)
            ),
            (Some(1), None)
        );
    }
}
