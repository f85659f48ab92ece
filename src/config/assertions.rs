//! `issuers[].header`, checked: where a proxy before the gateway states who calls.
//!
//! What it does: the header's name, and a look at whether a listener knows of a proxy. What it refuses to know: tokens, and
//! which names mean something else, which `accept` says. Invariant: a name is repeated only if it is one.

use super::raw::RawIssuer;
use super::report::ConfigFindings;
use crate::accept::{AssertionHeader, AssertionHeaderFault, CertificateDemand, ListenerSettings};
use crate::document::{Spanned, name};

/// The header that an issuer names.
pub(crate) fn header(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
) -> Option<AssertionHeader> {
    let fault = match AssertionHeader::parse(&at.value) {
        Ok(header) => return Some(header),
        Err(fault) => fault,
    };
    let given = name(&at.value);
    let (message, hint) = match fault {
        AssertionHeaderFault::Form => (
            format!("`{subject}` is no name of a header for tokens"),
            "write it like `x-goog-iap-jwt-assertion`: letters, digits and `-`, at most 128, not ending in `-bin`",
        ),
        AssertionHeaderFault::Taken => (
            format!("`{subject}` must not be {given}, which means something else"),
            "clients' own tokens are read from `Authorization` without it; name the header that the proxy alone writes, \
             such as `x-goog-iap-jwt-assertion` or `cf-access-jwt-assertion`",
        ),
        AssertionHeaderFault::Unsigned => (
            format!(
                "`{subject}` must not be {given}: what stands there is not signed, so that anybody could write it"
            ),
            "name the header that holds the proxy's signed token: `x-goog-iap-jwt-assertion`, `cf-access-jwt-assertion`, \
             `x-amzn-oidc-accesstoken`",
        ),
        AssertionHeaderFault::NoAudience => (
            format!("`{subject}` must not be {given}: what stands there names no audience"),
            "name `x-amzn-oidc-accesstoken`, and as the issuer the provider whose token the load balancer passes on there",
        ),
    };
    report.error_with_hint(at, message, hint);
    None
}

/// Warns where no listener knows of the proxy that writes such a header.
pub(crate) fn check_proxies(
    report: &mut ConfigFindings<'_>,
    raw: &[RawIssuer],
    listeners: &[ListenerSettings],
) {
    let knows_a_proxy = |listener: &ListenerSettings| {
        let clients = listener.tls.as_ref().and_then(|tls| tls.clients.as_ref());
        listener.front.forwarded.is_some()
            || listener.front.proxy_protocol != Default::default()
            || clients.is_some_and(|clients| clients.demand == CertificateDemand::Required)
    };
    if listeners.is_empty() || listeners.iter().any(knows_a_proxy) {
        return;
    }
    for (index, issuer) in raw.iter().enumerate() {
        if let Some(header) = &issuer.header {
            let message = format!(
                "`issuers[{index}].header` is written by a proxy, and no listener knows of one"
            );
            let hint = "name its networks in the listener's `forwarded` (or `proxy_protocol`), so that records, limits and \
                        penalties count clients and not the proxy; or demand its certificate, `client_certificate: required`";
            report.warning(header, message, hint);
        }
    }
}
