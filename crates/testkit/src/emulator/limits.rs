//! The emulator's rate limits (`docs/backends/lightstep.md`, query API), per organization and class, with the headers that
//! tell of them.
//!
//! What it does: counts queries by class in fixed windows. What it refuses to know: who asks. Invariant: one counter for
//! each class that has a limit.

use http::{HeaderMap, HeaderValue, Method, request};

use super::State;
use crate::server::lock;
use lightkeeper::clock::UnixMillis;

/// Where a class stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    limit: u64,
    remaining: u64,
    reset_seconds: u64,
    pub is_over: bool,
}

impl Standing {
    /// Without a limit, something must stand in the headers all the same.
    pub const UNLIMITED: Standing = Standing {
        limit: 10_000,
        remaining: 9_999,
        reset_seconds: 1,
        is_over: false,
    };

    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert("x-ratelimit-limit", HeaderValue::from(self.limit));
        headers.insert("x-ratelimit-remaining", HeaderValue::from(self.remaining));
        headers.insert("x-ratelimit-reset", HeaderValue::from(self.reset_seconds));
        if self.is_over {
            headers.insert(
                http::header::RETRY_AFTER,
                HeaderValue::from(self.reset_seconds),
            );
        }
    }
}

/// The class of a question, by its path.
fn class(head: &request::Parts) -> &'static str {
    let path = head.uri.path();
    if path.ends_with("/query_timeseries") {
        "timeseries"
    } else if path.ends_with("/timeseries") {
        "spans"
    } else if path.ends_with("/snapshots") && head.method == Method::POST {
        "snapshots"
    } else {
        "general"
    }
}

impl State {
    /// Counts a question.
    pub(super) fn count(&self, head: &request::Parts) -> Standing {
        let class = class(head);
        let Some((limit, seconds)) = self.options.rates.get(class).copied() else {
            return Standing::UNLIMITED;
        };
        let now = self.options.clock.now();
        let window = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
        let mut windows = lock(&self.windows);
        let (used, began) = windows.entry(class).or_insert((0, now));
        if now.0.saturating_sub(began.0) >= window {
            (*used, *began) = (0, now);
        }
        *used += 1;
        let left = began.0.saturating_add(window).saturating_sub(now.0);
        let ends = UnixMillis(left.max(1));
        Standing {
            limit,
            remaining: limit.saturating_sub(*used),
            reset_seconds: u64::try_from(ends.0).unwrap_or(1).div_ceil(1000),
            is_over: *used > limit,
        }
    }
}
