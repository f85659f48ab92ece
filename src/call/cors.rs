//! What browsers want to know before a page of another origin may ask, and may read the answer (Fetch, "CORS protocol").
//!
//! What it does: answers preflights, and adds to answers the one header that lets a listed origin read them. What it refuses
//! to know: who asks; the call itself is judged like any other. Invariants: an origin counts only if it stands in the list
//! letter by letter; never `*`, and never `access-control-allow-credentials`: a page elsewhere brings a token, and no cookie of
//! the gateway's is meant for it; the gateway's own pages are never shared; a preflight tells nothing of apps or permissions.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::accept::{self, Connection, CorsSettings};
use crate::state::Snapshot;

/// Headers that exporters and clients in browsers send besides the backend's own token; what else is asked for is left out, and the browser refuses.
const HEADERS: [&str; 9] = [
    "accept",
    "authorization",
    "baggage",
    "content-encoding",
    "content-type",
    "dpop",
    "lightkeeper-app",
    "traceparent",
    "tracestate",
];

/// What a page may read of an answer, besides the few that every page may.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("dpop-nonce, lightkeeper-request-id, retry-after, www-authenticate");

/// All that a preflight's answer depends on.
const PREFLIGHT_VARY: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

/// The only value of a header.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The request's origin, if it is listed.
fn listed<'a>(headers: &'a HeaderMap, settings: &CorsSettings) -> Option<&'a HeaderValue> {
    let origin = only(headers, header::ORIGIN)?;
    settings
        .origins
        .iter()
        .any(|listed| listed.as_bytes() == origin.as_bytes())
        .then_some(origin)
}

/// What the answer to this request carries for browsers.
pub(crate) fn headers(request: &Parts, connection: &Connection) -> Vec<(HeaderName, HeaderValue)> {
    let listener = connection.listener();
    let Some(settings) = listener
        .front
        .cors
        .as_ref()
        .filter(|_| !is_ours(request.uri.path()))
    else {
        return Vec::new();
    };
    let mut headers = vec![(header::VARY, HeaderValue::from_static("origin"))];
    if let Some(origin) = listed(&request.headers, settings) {
        headers.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
        headers.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED));
    }
    headers
}

/// The gateway's own pages; a path that is spelled otherwise is refused or no page.
fn is_ours(path: &str) -> bool {
    path.starts_with("/.lightkeeper")
}

/// Whether a request is a preflight at a listener that answers some.
pub(crate) fn is_preflight(request: &Parts, connection: &Connection) -> bool {
    connection.listener().front.cors.is_some()
        && request.method == Method::OPTIONS
        && request.headers.contains_key(header::ORIGIN)
        && request
            .headers
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && !is_ours(request.uri.path())
}

/// The answer to a preflight, and whether it allows what was asked.
pub(crate) fn preflight(
    request: &Parts,
    snapshot: &Snapshot,
    connection: &Connection,
) -> (Vec<(HeaderName, HeaderValue)>, bool) {
    let mut headers = vec![(header::VARY, PREFLIGHT_VARY)];
    let allowed = allowed(request, snapshot, connection);
    let is_allowed = allowed.is_some();
    headers.extend(allowed.into_iter().flatten());
    (headers, is_allowed)
}

/// What a page may do here; `None`: nothing.
fn allowed(
    request: &Parts,
    snapshot: &Snapshot,
    connection: &Connection,
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let listener = connection.listener();
    let settings = listener.front.cors.as_ref()?;
    let origin = listed(&request.headers, settings)?;
    let method = only(&request.headers, header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let asked = Method::from_bytes(method.as_bytes()).ok()?;
    if !accept::is_for_pages(
        request,
        &asked,
        connection,
        &snapshot.profile,
        &snapshot.limits,
    ) {
        return None;
    }
    let mut headers = vec![
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
        (header::ACCESS_CONTROL_ALLOW_METHODS, method.clone()),
        (
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from(settings.max_age.as_secs()),
        ),
    ];
    let lines = request
        .headers
        .get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let wanted: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .collect();
    let is_wanted = |name: &&str| {
        wanted
            .iter()
            .any(|wanted| wanted.trim().eq_ignore_ascii_case(name))
    };
    let token = snapshot.profile.access_token_header.as_ref();
    let mut names: Vec<&str> = HEADERS
        .into_iter()
        .chain(token.map(HeaderName::as_str))
        .filter(is_wanted)
        .collect();
    names.sort_unstable();
    if !names.is_empty() {
        headers.push((
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_str(&names.join(", ")).ok()?,
        ));
    }
    Some(headers)
}
