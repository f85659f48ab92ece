//! The time of day as a parameter.
//!
//! What it does: hands out Unix time, so that no room reads the clock by itself and a test can set it; gives a wait its limit.
//! What it refuses to know: time zones, who asks.
//! Invariant: this file is the only one that calls `SystemTime::now` (held by `clippy.toml`).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::time::error::Elapsed;

/// Milliseconds since the Unix epoch (may be negative for a broken clock; comparisons stay sound).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Whole seconds, rounded down, as RFC 7519 NumericDate counts them.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// What `doing` comes to within `limit`. What can be done at once is, without a look at the clock: the time begins when
/// something is waited for. `doing` is pinned by its owner: each place that a future is moved to would be room for one.
pub(crate) async fn within<F: Future>(
    limit: Duration,
    mut doing: Pin<&mut F>,
) -> Result<F::Output, Elapsed> {
    match poll_fn(|cx| Poll::Ready(doing.as_mut().poll(cx))).await {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => tokio::time::timeout(limit, doing).await,
    }
}

/// A time from `from` on, and until just before `until`; what has neither is always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    pub from: Option<UnixMillis>,
    pub until: Option<UnixMillis>,
}

impl Window {
    pub(crate) fn contains(&self, now: UnixMillis) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }
}

/// Where the time comes from: the machine, or a test's hand.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Clock(None)
    }

    /// A clock that stands still until the returned cell (milliseconds) is moved.
    pub fn manual(start: UnixMillis) -> (Self, Arc<AtomicI64>) {
        let cell = Arc::new(AtomicI64::new(start.0));
        (Clock(Some(cell.clone())), cell)
    }

    /// Now, in milliseconds since the Unix epoch.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Some(cell) => UnixMillis(cell.load(Ordering::Relaxed)),
            None => UnixMillis(
                match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
                    Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
                    Err(before) => {
                        i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms)
                    }
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_includes_its_beginning_and_not_its_end() {
        let window = Window {
            from: Some(UnixMillis(10)),
            until: Some(UnixMillis(20)),
        };
        for (now, expected) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(window.contains(UnixMillis(now)), expected, "{now}");
        }
        assert!(Window::default().contains(UnixMillis(i64::MIN)));
    }
}
