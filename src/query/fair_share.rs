//! Whether one more question may be asked of the backend now.
//!
//! What it does: finds the rate of a question's class at its backend, takes it from the caller's share, and tells the budget what the
//! backend says. What it refuses to know: how shares are made. Invariants: who is refused here is told when to come
//! again, and the backend hears nothing of it; who asks for the first time waits for a turn instead, within `TURN_LIMIT`.

use std::sync::Arc;

use http::HeaderMap;
use tokio::time::Instant;

use crate::accept::{Call, RequestKind};
use crate::apps::BackendId;
use crate::forward::Answer;
use crate::identify::Facts;
use crate::limits::{Rate, TURN_LIMIT, Told};
use crate::profiles::OperationId;
use crate::respond::Refusal;
use crate::state::{Shared, Snapshot};

/// What a question is paid from.
#[derive(Clone)]
pub(crate) struct RateBudget {
    /// As the profile and metrics call it.
    class: Arc<str>,
    /// The class at one backend: each has limits of its own.
    name: Arc<str>,
}

/// The budget of a question to this backend.
pub(crate) fn budget(
    snapshot: &Snapshot,
    call: &Call,
    operation: OperationId,
    backend: BackendId,
) -> RateBudget {
    let query = match &call.kind {
        RequestKind::Query(ask) => ask.query.as_slice(),
        _ => &[],
    };
    let operation = snapshot.profile.operation(operation);
    let class = operation.rate.class(query).clone();
    let name = match snapshot.policy.backends().told(backend) {
        // No class and no backend has a line's end in its name.
        Some(backend) => format!("{class}\n{backend}").into(),
        None => class.clone(),
    };
    RateBudget { class, name }
}

/// Takes one question from the share of who asks.
pub(crate) fn admit(
    shared: &Shared,
    snapshot: &Snapshot,
    budget: &RateBudget,
    who: &Facts,
) -> Result<(), Refusal> {
    let RateBudget { class, name } = budget;
    // A class without a rate cannot be loaded.
    let Some(rate) = rate(snapshot, class) else {
        return Ok(());
    };
    let taken = shared.rates.take(name, rate, &key(who), shared.clock.now());
    taken
        .map(drop)
        .map_err(|share| Refusal::over_rate(share).because(format!("rate class {class}")))
}

/// Tries what `admit` is a part of; once more when it is the turn of who asks for the first time.
pub(crate) async fn in_turn<T>(
    shared: &Shared,
    budget: &RateBudget,
    who: &Facts,
    attempt: impl Fn() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut outcome = attempt();
    if is_over(&outcome) && has_turn(shared, &budget.name, &key(who)).await {
        outcome = attempt();
    }
    if is_over(&outcome) {
        shared.metrics.query_throttled(&budget.class, "gateway");
    }
    outcome
}

fn is_over<T>(outcome: &Result<T, Refusal>) -> bool {
    outcome
        .as_ref()
        .is_err_and(|refusal| refusal.share.is_some())
}

/// Waits until it is the turn of `key`, and tells whether it is.
async fn has_turn(shared: &Shared, name: &str, key: &str) -> bool {
    let until = Instant::now() + TURN_LIMIT;
    let mut is_first = true;
    // Others who come make each share smaller: it is looked at again.
    while let Some(turn) = shared.rates.turn(name, key, shared.clock.now(), is_first) {
        if turn.is_zero() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep_until(until.min(Instant::now() + turn)).await;
        is_first = false;
    }
    false
}

/// Who asks, as the rates know it. The length keeps two pairs of names apart.
fn key(who: &Facts) -> String {
    format!("{}:{}{}", who.issuer.len(), who.issuer, who.subject)
}

fn rate(snapshot: &Snapshot, class: &str) -> Option<Rate> {
    let own = snapshot.query_settings.rates.iter();
    own.chain(snapshot.profile.rates())
        .find(|(name, _)| **name == *class)
        .map(|(_, rate)| *rate)
}

/// Takes over what the backend says of its limits.
pub(crate) fn learn(shared: &Shared, budget: &RateBudget, answer: &Answer) {
    let RateBudget { class, name } = budget;
    let number = |name: &str| number(&answer.headers, name);
    let (limit, remaining, reset) = (
        number("x-ratelimit-limit"),
        number("x-ratelimit-remaining"),
        number("x-ratelimit-reset"),
    );
    let now = shared.clock.now();
    if answer.status.as_u16() == 429 {
        shared.metrics.query_throttled(class, "backend");
        // One that does not say that this limit is used up may speak of another, and must not silence the class.
        if remaining == Some(0)
            && let Some(seconds) = reset.or(number("retry-after"))
        {
            shared.rates.emptied(name, seconds, now);
        }
    } else if let (Some(remaining), Some(reset_seconds)) = (remaining, reset) {
        shared.rates.corrected(
            name,
            Told {
                limit,
                remaining,
                reset_seconds,
            },
            now,
        );
    }
}

/// A plain number; a date in `Retry-After` is as good as nothing.
fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}
