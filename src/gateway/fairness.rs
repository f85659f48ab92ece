//! Whether one more question may be asked of the backend now.
//!
//! What it does: finds the rate of a question's class, takes it from the caller's share, and tells the budget what the
//! backend says. What it refuses to know: how shares are made. Invariant: whoever is refused here is told when to come
//! again, and the backend hears nothing of it.

use http::HeaderMap;

use super::{Core, House};
use crate::accept::{Ask, Call};
use crate::forward::Answer;
use crate::identify::Facts;
use crate::limits::{Rate, Told};
use crate::profiles::OperationId;
use crate::respond::Refusal;

/// The class of a question.
pub fn class(house: &House, call: &Call, operation: OperationId) -> std::sync::Arc<str> {
    let query = match &call.ask {
        Ask::Query(ask) => ask.query.as_slice(),
        _ => &[],
    };
    house.profile.operation(operation).rate.class(query).clone()
}

/// Takes one question from the share of whoever asks.
pub fn admit(core: &Core, house: &House, class: &str, who: &Facts) -> Result<(), Refusal> {
    // A class without a rate cannot be loaded.
    let Some(rate) = rate(house, class) else { return Ok(()) };
    // The length keeps two pairs of names apart.
    let key = format!("{}:{}{}", who.issuer.len(), who.issuer, who.subject);
    core.rates.take(class, rate, &key, core.clock.now()).map(drop).map_err(|share| {
        core.metrics.query_throttled(class, "gateway");
        Refusal::over_rate(share).because(format!("rate class {class}"))
    })
}

fn rate(house: &House, class: &str) -> Option<Rate> {
    let own = house.query_settings.rates.iter();
    own.chain(house.profile.rates()).find(|(name, _)| **name == *class).map(|(_, rate)| *rate)
}

/// Takes over what the backend says of its limits.
pub fn learn(core: &Core, class: &str, answer: &Answer) {
    let number = |name: &str| number(&answer.headers, name);
    let (limit, remaining, reset) =
        (number("x-ratelimit-limit"), number("x-ratelimit-remaining"), number("x-ratelimit-reset"));
    let now = core.clock.now();
    if answer.status.as_u16() == 429 {
        core.metrics.query_throttled(class, "backend");
        // One that does not say that this limit is used up may speak of another, and must not silence the class.
        if remaining == Some(0)
            && let Some(seconds) = reset.or(number("retry-after"))
        {
            core.rates.emptied(class, seconds, now);
        }
    } else if let (Some(remaining), Some(reset_seconds)) = (remaining, reset) {
        core.rates.corrected(class, Told { limit, remaining, reset_seconds }, now);
    }
}

/// A plain number; a date in `Retry-After` is as good as nothing.
fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
