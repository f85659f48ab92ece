//! What a session, or a browser with a proxy's assertion, must prove before it may change anything.
//!
//! What it does: tells a call that one of our own pages made from one that another site had the browser make. What it
//! refuses to know: who the session is, what is asked. Invariants: a cookie alone authorizes nothing but reading, and
//! that only for our own pages and for people who come by a link, never for what another site's page fetches; to change
//! anything both halves are needed, origin and token; they are judged on the head, before anything is read of a body,
//! but for the token in the form of a logout. An assertion comes along with what a browser sends as a cookie does, and
//! has no token of ours: of a browser the origin is demanded.

use http::{HeaderMap, HeaderName, Method, header};

use crate::accept::Call;
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::identify::{Identity, Method as Proof, Session};
use crate::reason::Reason;
use crate::respond::Refusal;

/// Where scripts and tools put the session's token.
pub(crate) const CSRF_HEADER: HeaderName = HeaderName::from_static("lightkeeper-csrf");
/// Fetch Metadata Request Headers section 2.4; only browsers write it, and no script can.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Sections 2.2 and 2.1.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// A session, or a browser with a proxy's assertion, that is to change something must show that a page of ours asks.
pub(crate) fn is_asked_by_us(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    call: &Call,
    identity: &Identity,
) -> Result<(), Refusal> {
    let origin = || context.arrival().connection.origin(&call.authority);
    if let Some(proven) = identity.session() {
        exchange.state.looks(identity);
        check(exchange.headers(), &call.method, &origin(), proven)
    } else if identity.facts().method == Proof::Assertion {
        check_assertion(exchange.headers(), &call.method, &origin())
    } else {
        Ok(())
    }
}

/// Refuses a session's call that changes something, unless it proves that a page of ours made it. `origin`: scheme and
/// authority by which browsers know us.
pub(crate) fn check(
    headers: &HeaderMap,
    method: &Method,
    origin: &str,
    session: &Session,
) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return reading(headers);
    }
    same_origin(headers, origin)?;
    match token(headers)? {
        Some(given) if session.is_csrf(given) => Ok(()),
        Some(_) | None => Err(missing()),
    }
}

/// What browsers say of where a call comes from, and other clients do not.
const OF_BROWSERS: [HeaderName; 5] = [
    header::ORIGIN,
    header::REFERER,
    SEC_FETCH_SITE,
    SEC_FETCH_MODE,
    SEC_FETCH_DEST,
];

/// The same for a caller by an assertion, which a proxy adds to all that a browser sends. Exporters and tools come through
/// the same proxy and say nothing of an origin; browsers name one with everything that is not a GET (Fetch section 3.2).
pub(crate) fn check_assertion(
    headers: &HeaderMap,
    method: &Method,
    origin: &str,
) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return reading(headers);
    }
    let is_browser = OF_BROWSERS.iter().any(|name| headers.contains_key(name));
    if is_browser {
        same_origin(headers, origin)
    } else {
        Ok(())
    }
}

/// Refuses what a page of another site, or of a sibling's, fetches or embeds: it could not read the answer, but learn from
/// its size and time. A person who follows a link opens a whole page.
fn reading(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_ours =
        one(headers, &SEC_FETCH_SITE)?.is_none_or(|site| matches!(site, "same-origin" | "none"));
    let opens = one(headers, &SEC_FETCH_MODE)?.is_none_or(|mode| mode == "navigate")
        && one(headers, &SEC_FETCH_DEST)?.is_none_or(|place| place == "document");
    if is_ours || opens {
        Ok(())
    } else {
        Err(foreign())
    }
}

/// Refuses what another site has made the browser send. A browser that does not say which site it was names the origin
/// with everything that is not a GET (Fetch section 3.2); one that says neither is none that we would trust a cookie to.
pub(crate) fn same_origin(headers: &HeaderMap, origin: &str) -> Result<(), Refusal> {
    let told = one(headers, &header::ORIGIN)?;
    let is_ours = told.is_some_and(|told| told.eq_ignore_ascii_case(origin));
    // Pages without referrer send `null`, even to their own origin.
    let is_others = told.is_some_and(|told| told != "null") && !is_ours;
    let proven = match one(headers, &SEC_FETCH_SITE)? {
        Some(site) => site == "same-origin" && !is_others,
        None => is_ours,
    };
    if proven { Ok(()) } else { Err(foreign()) }
}

/// The token in its header, if there is one.
pub(crate) fn token(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    one(headers, &CSRF_HEADER).map_err(|_| missing())
}

/// Neither header nor form holds the session's token.
pub(crate) fn missing() -> Refusal {
    Refusal::new(Reason::CsrfMissing)
}

fn foreign() -> Refusal {
    Refusal::new(Reason::CsrfOrigin)
}

/// The one line of this name.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => line.to_str().map(Some).map_err(|_| foreign()),
        (Some(_), Some(_)) => Err(foreign()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: reads by a cookie that browsers send for pages of ours, for links, and for other sites' pages. Guarantees:
    /// what another site embeds or fetches is refused; people come in by any link.
    #[test]
    fn other_sites_fetch_nothing() {
        for (site, mode, place, expected) in [
            ("", "", "", true),
            ("same-origin", "cors", "empty", true),
            ("same-origin", "no-cors", "image", true),
            ("none", "navigate", "document", true),
            ("cross-site", "navigate", "document", true),
            ("same-site", "navigate", "document", true),
            ("cross-site", "navigate", "iframe", false),
            ("cross-site", "navigate", "object", false),
            ("cross-site", "no-cors", "image", false),
            ("cross-site", "no-cors", "script", false),
            ("same-site", "no-cors", "image", false),
            ("same-site", "cors", "empty", false),
            ("cross-site", "websocket", "empty", false),
            ("Same-Origin", "cors", "empty", false),
            ("", "no-cors", "image", true),
        ] {
            let mut headers = HeaderMap::new();
            let lines = [
                (SEC_FETCH_SITE, site),
                (SEC_FETCH_MODE, mode),
                (SEC_FETCH_DEST, place),
            ];
            for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
                headers.append(name, value.parse().unwrap());
            }
            assert_eq!(reading(&headers).is_ok(), expected, "{site} {mode} {place}");
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(
                    check_assertion(&headers, &method, "").is_ok(),
                    expected,
                    "{site} {mode} {place}"
                );
            }
        }
    }

    /// Scenario: what browsers say of where a call came from, and what others pretend. Guarantees: only our own origin
    /// passes; silence, `null` alone, other ports and schemes, and two voices do not.
    #[test]
    fn only_our_own_pages_count() {
        let ours = "https://gateway.acme.example";
        let rows: &[(&[(&str, &str)], bool)] = &[
            (&[("sec-fetch-site", "same-origin")], true),
            (
                &[("sec-fetch-site", "same-origin"), ("origin", "null")],
                true,
            ),
            (&[("sec-fetch-site", "same-origin"), ("origin", ours)], true),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://evil.example"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "same-site"), ("origin", ours)], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", ours)], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "none"), ("origin", ours)], false),
            (&[("sec-fetch-site", "Same-Origin")], false),
            (&[("sec-fetch-site", "")], false),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-site", "same-origin"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "same-origin, cross-site")], false),
            (&[("origin", ours)], true),
            (&[("origin", "HTTPS://Gateway.acme.example")], true),
            (&[("origin", "https://gateway.acme.example:8443")], false),
            (&[("origin", "http://gateway.acme.example")], false),
            (
                &[("origin", "https://gateway.acme.example.evil.example")],
                false,
            ),
            (
                &[(
                    "origin",
                    "https://evil.example/https://gateway.acme.example",
                )],
                false,
            ),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", ours), ("origin", ours)], false),
            (
                &[(
                    "origin",
                    "https://gateway.acme.example https://evil.example",
                )],
                false,
            ),
            (&[("referer", "https://gateway.acme.example/")], false),
            (&[], false),
        ];
        for (lines, expected) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in *lines {
                headers.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            assert_eq!(same_origin(&headers, ours).is_ok(), *expected, "{lines:?}");
            // By an assertion the same, but for a client that is no browser.
            for method in [
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
                Method::OPTIONS,
            ] {
                let is_taken = check_assertion(&headers, &method, ours).is_ok();
                assert_eq!(
                    is_taken,
                    *expected || lines.is_empty(),
                    "{method} {lines:?}"
                );
            }
        }
    }
}
