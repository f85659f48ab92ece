//! The answer to a query, as its caller gets it.
//!
//! What it does: chooses what of the backend's head is passed on, and writes the reply. What it refuses to know: how the
//! body was rewritten. Invariant: of a backend's head only a list is passed on, and no link in it leads past us.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::call::answer;
use crate::call::exchange::{BrokenOff, Exchange};
use crate::forward::retry_after_told;
use crate::memory::coalesce::Reply;
use crate::transform::{self, Boundary, Links};

/// What of a query answer's head is passed on, besides `Retry-After`.
const QUERY_TAKES: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// What of a query's answer head is passed on, and how many references were left out because they lead elsewhere.
pub(crate) fn query_headers(
    from: &HeaderMap,
    links: &Links,
    boundary: &Boundary<'_>,
) -> (HeaderMap, u64) {
    let mut headers = HeaderMap::with_capacity(8);
    for name in QUERY_TAKES {
        headers.extend(from.get(&name).map(|value| (name.clone(), value.clone())));
    }
    headers.extend(retry_after_told(from).map(|value| (header::RETRY_AFTER, value)));
    let mut foreign = 0;
    let mut referring = |name: HeaderName, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(name, value);
        }
    };
    let mut locations = from.get_all(header::LOCATION).iter();
    if let Some(value) = locations.next() {
        // Two of them leave it to the client which to follow.
        let text = value.to_str().ok().filter(|_| locations.next().is_none());
        match text.and_then(|text| transform::location(text, links, boundary)) {
            Some(text) => referring(header::LOCATION, text),
            None => foreign += 1,
        }
    }
    for value in from.get_all(header::LINK) {
        let (kept, dropped) = value
            .to_str()
            .map_or((None, 1), |text| transform::link(text, links, boundary));
        foreign += dropped;
        kept.into_iter()
            .for_each(|text| referring(header::LINK, text));
    }
    (headers, foreign)
}

/// Passes on a query's answer.
pub(crate) async fn query(exchange: &mut Exchange<'_>, reply: Reply) -> Result<(), BrokenOff> {
    exchange.state.status = Some(reply.status.as_u16());
    let mut headers: Vec<_> = reply
        .headers
        .into_iter()
        .filter_map(|(name, value)| Some((name?, value)))
        .collect();
    headers.push((
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    ));
    let outcome = answer::write(exchange, reply.status, headers, reply.body).await;
    drop(reply.held);
    outcome
}
