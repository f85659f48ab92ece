//! What all pages have: their frame, their headers, and how a refusal looks to a person.
//!
//! What it does: dresses contents as answers for browsers. What it refuses to know: contents, sessions' secrets.
//! Invariants: nothing of a page is kept by anybody on the way; no page tells another origin anything (no CORS headers,
//! no referrer); what a refusal says depends on its class, and on what the visitor was doing, never on who knows what.

use http::{HeaderName, HeaderValue, header};

use super::exchange::Exchange;
use crate::audit::timestamp;
use crate::reason::Class;
use crate::respond::{Refusal, Rendered};
use crate::view::{FaultView, Frame, Page};

/// A year, as the preload lists want it at least (RFC 6797 section 6.1.1).
const STRICT_TRANSPORT: &str = "max-age=31536000";

/// Whether browsers keep and send our cookies to this origin, and none on the way can read them: TLS, or this machine
/// itself (Secure Contexts section 3.1). `origin`: scheme and authority.
pub(crate) fn is_private(origin: &str) -> bool {
    origin.starts_with("https://") || is_loopback(origin)
}

fn is_loopback(origin: &str) -> bool {
    let authority = origin
        .split_once("://")
        .map_or("", |(_, authority)| authority);
    let host = match authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((inner, _)) => inner,
        None => authority.split(':').next().unwrap_or_default(),
    };
    ["localhost", "127.0.0.1", "::1"]
        .iter()
        .any(|local| host.eq_ignore_ascii_case(local))
}

/// Whether people can log in where this call came in.
pub(crate) fn can_log_in(exchange: &Exchange<'_>) -> bool {
    exchange.snapshot().identifier.login().is_some()
        && exchange.state.origin.as_deref().is_some_and(is_private)
}

/// What every page has, for this call.
pub(crate) fn frame(exchange: &Exchange<'_>) -> Frame {
    Frame {
        organization: exchange.snapshot().organization.clone(),
        visitor: exchange.state.visitor.clone(),
        request_id: exchange.state.request_id.clone(),
        can_log_in: can_log_in(exchange),
        time: timestamp(exchange.now().0),
    }
}

/// The headers of every answer to a browser.
pub(crate) fn headers(exchange: &Exchange<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(16);
    let site = exchange.snapshot().site.headers().iter();
    headers.extend(site.map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    }));
    let mut put = |name: HeaderName, value: HeaderValue| {
        if !headers.iter().any(|(known, _)| *known == name) {
            headers.push((name, value));
        }
    };
    put(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    put(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    // Not for loopback: it would bind everything else that this machine serves.
    if exchange
        .state
        .origin
        .as_deref()
        .is_some_and(|origin| origin.starts_with("https://") && !is_loopback(origin))
    {
        put(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static(STRICT_TRANSPORT),
        );
    }
    headers
}

/// Turns a refusal that is ready to be sent into a page.
pub(crate) fn dress(exchange: &Exchange<'_>, refusal: &Refusal, rendered: &mut Rendered) {
    let view = FaultView {
        status: rendered.status.as_u16(),
        words: words(refusal.class).to_owned(),
        advice: exchange
            .state
            .advice
            .or_else(|| advice(exchange, refusal.class))
            .map(str::to_owned),
        return_to: exchange
            .state
            .return_to
            .as_ref()
            .map(|path| path.as_str().to_owned()),
    };
    let html = exchange
        .snapshot()
        .site
        .page(&frame(exchange), &Page::Fault(view));
    let ours = headers(exchange);
    rendered.headers.retain(|(name, _)| {
        *name != header::CONTENT_TYPE && !ours.iter().any(|(known, _)| known == name)
    });
    rendered.headers.extend(ours);
    rendered.headers.push((
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    ));
    rendered.body = html.into_bytes();
}

/// The table of refusals, in words for people.
fn words(class: Class) -> &'static str {
    match class {
        Class::NotAuthenticated => "You are not logged in.",
        Class::BadCredential => "What you logged in with is not valid here, or not any more.",
        Class::Denied => "This is not permitted, or it does not exist.",
        Class::Malformed | Class::MalformedBody | Class::AppUnclear => {
            "The request cannot be understood."
        }
        Class::RefusedUpstream => "The backend refuses the request.",
        Class::Unknown => "There is nothing here.",
        Class::NoQuery => "The backend behind this gateway has no query API.",
        Class::TooSlow => "The request did not arrive in time.",
        Class::BodyTooLarge | Class::HeadTooLarge => {
            "The request is larger than this gateway accepts."
        }
        Class::Unsupported | Class::Version => {
            "The request has a form that this page does not take."
        }
        Class::Throttled(_) | Class::ThrottledAsUnavailable(_) => {
            "That was too much at once. Try again in a moment."
        }
        Class::Unavailable => "The gateway cannot decide now. Try again in a moment.",
        Class::UpstreamBroken | Class::UpstreamRefusesUs | Class::UpstreamTimeout => {
            "The backend does not answer as it should. Try again in a moment."
        }
    }
}

/// What to do about it.
fn advice(exchange: &Exchange<'_>, class: Class) -> Option<&'static str> {
    match class {
        Class::NotAuthenticated | Class::BadCredential if can_log_in(exchange) => {
            Some("Log in and open the page again.")
        }
        Class::NotAuthenticated | Class::BadCredential => Some(
            "No login with a browser is offered here; a bearer token or a client certificate is needed.",
        ),
        Class::Denied => Some("Ask an owner of the app, and give them the request's id."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_for_origins_that_nobody_can_listen_to() {
        for (origin, expected) in [
            ("https://gateway.acme.example", true),
            ("https://localhost:8443", true),
            ("http://localhost", true),
            ("http://LocalHost:8080", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://gateway.acme.example", false),
            ("http://localhost.evil.example", false),
            ("http://127.0.0.1.evil.example:80", false),
            ("http://evil.example:127.0.0.1", false),
            ("http://[::2]", false),
            ("http://", false),
            ("", false),
        ] {
            assert_eq!(is_private(origin), expected, "{origin}");
        }
    }
}
