//! Headers in which a proxy before the gateway states who calls, by a token that it signs.
//!
//! What it does: says which headers may be named for that, and finds the assertion of a head. What it refuses to know: whether
//! it holds, and which issuers take it there. Invariants: a header that means anything else, to HTTP, to the backend or to the
//! gateway, is never one; of two assertions none is chosen.

use http::{HeaderMap, HeaderName};

use super::caller::only;
use super::{Carrier, Fault, Presented};

/// A header that holds an assertion: the bare token, without a scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AssertionHeader(HeaderName);

/// Why a header cannot be named for assertions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssertionHeaderFault {
    /// It is no field name (RFC 9110 section 5.1), has `_`, which proxies confuse with `-`, or ends in `-bin`, which gRPC
    /// decodes (gRPC over HTTP/2, "Custom-Metadata").
    Form,
    /// It means something else.
    Taken,
    /// Proxies write it, and do not sign what they write.
    Unsigned,
    /// AWS's load balancers write it: signed, but for no audience.
    NoAudience,
}

const NAME_LIMIT_BYTES: usize = 128;

/// Fields that HTTP, proxies, tracing, the backend or the gateway itself read.
const TAKEN: [&str; 42] = [
    "accept",
    "authentication-info",
    "authorization",
    "baggage",
    "cache-control",
    "connection",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "early-data",
    "expect",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "www-authenticate",
    "x-forwarded",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
];

/// The same by what they begin with.
const TAKEN_BEGINNINGS: [&str; 11] = [
    "accept-",
    "access-control-",
    "content-",
    "grpc-",
    "if-",
    "lightkeeper-",
    "lightstep-",
    "proxy-",
    "sec-",
    "x-amz-firehose-",
    "x-lightstep-",
];

const UNSIGNED: [&str; 12] = [
    "cf-access-authenticated-user-email",
    "remote-user",
    "x-amzn-oidc-identity",
    "x-auth-request-email",
    "x-auth-request-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-user",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "x-remote-user",
];

impl AssertionHeader {
    /// Reads a header's name, in any case.
    pub fn parse(text: &str) -> Result<Self, AssertionHeaderFault> {
        let is_odd = text.len() > NAME_LIMIT_BYTES || text.contains('_');
        let name = HeaderName::from_bytes(text.as_bytes())
            .ok()
            .filter(|_| !is_odd);
        let name = name.ok_or(AssertionHeaderFault::Form)?;
        match name.as_str() {
            text if text.ends_with("-bin") => Err(AssertionHeaderFault::Form),
            text if TAKEN.contains(&text)
                || TAKEN_BEGINNINGS
                    .iter()
                    .any(|beginning| text.starts_with(beginning)) =>
            {
                Err(AssertionHeaderFault::Taken)
            }
            text if UNSIGNED.contains(&text) => Err(AssertionHeaderFault::Unsigned),
            "x-amzn-oidc-data" => Err(AssertionHeaderFault::NoAudience),
            _ => Ok(AssertionHeader(name)),
        }
    }

    /// In lower case.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The one assertion of a head. Different ones in one header or in two are refused, and so is a list.
pub(super) fn find(
    headers: &HeaderMap,
    names: &[AssertionHeader],
) -> Result<Option<Presented>, Fault> {
    let mut found = None;
    for header in names {
        let Some(value) = only(headers, &header.0, PartialEq::eq)? else {
            continue;
        };
        if found.is_some() || value.as_bytes().contains(&b',') {
            return Err(Fault::CredentialConflict);
        }
        found = Some(Presented::new(
            value.clone(),
            0,
            Carrier::Assertion(header.clone()),
        ));
    }
    Ok(found)
}

/// Whether a backend or proxy that takes `_` for `-` would read this name as one of an assertion.
pub(super) fn is_spelling_of(name: &str, names: &[AssertionHeader]) -> bool {
    names
        .iter()
        .any(|header| header.as_str() == name.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::AssertionHeaderFault::{Form, NoAudience, Taken, Unsigned};
    use super::*;

    /// Scenario: names that an operator may write. Guarantees: those of proxies' signed tokens are taken in any case; what
    /// means something else, is not signed or can be spelled in two ways is not.
    #[test]
    fn only_headers_that_mean_nothing_else_hold_assertions() {
        for (text, expected) in [
            ("x-goog-iap-jwt-assertion", Ok("x-goog-iap-jwt-assertion")),
            ("Cf-Access-Jwt-Assertion", Ok("cf-access-jwt-assertion")),
            ("X-Amzn-Oidc-Accesstoken", Ok("x-amzn-oidc-accesstoken")),
            ("x-forwarded-access-token", Ok("x-forwarded-access-token")),
            ("X-Pomerium-Jwt-Assertion", Ok("x-pomerium-jwt-assertion")),
            ("", Err(Form)),
            ("x y", Err(Form)),
            (":authority", Err(Form)),
            ("x-assertion:", Err(Form)),
            ("x-assertion\r\nx", Err(Form)),
            ("x-é", Err(Form)),
            ("x_goog_iap_jwt_assertion", Err(Form)),
            ("x-assertion-bin", Err(Form)),
            ("X-Assertion-Bin", Err(Form)),
            ("Authorization", Err(Taken)),
            ("proxy-authorization", Err(Taken)),
            ("Cookie", Err(Taken)),
            ("set-cookie", Err(Taken)),
            ("HOST", Err(Taken)),
            ("content-type", Err(Taken)),
            ("Content-Length", Err(Taken)),
            ("content-anything", Err(Taken)),
            ("transfer-encoding", Err(Taken)),
            ("connection", Err(Taken)),
            ("proxy-connection", Err(Taken)),
            ("te", Err(Taken)),
            ("upgrade", Err(Taken)),
            ("forwarded", Err(Taken)),
            ("X-Forwarded-For", Err(Taken)),
            ("origin", Err(Taken)),
            ("sec-fetch-site", Err(Taken)),
            ("lightkeeper-app", Err(Taken)),
            ("lightkeeper-csrf", Err(Taken)),
            ("lightkeeper-assertion", Err(Taken)),
            ("lightstep-access-token", Err(Taken)),
            ("x-lightstep-org", Err(Taken)),
            ("x-amz-firehose-access-key", Err(Taken)),
            ("grpc-timeout", Err(Taken)),
            ("accept", Err(Taken)),
            ("traceparent", Err(Taken)),
            ("x-goog-authenticated-user-email", Err(Unsigned)),
            ("x-amzn-oidc-identity", Err(Unsigned)),
            ("Cf-Access-Authenticated-User-Email", Err(Unsigned)),
            ("x-amzn-oidc-data", Err(NoAudience)),
        ] {
            let parsed = AssertionHeader::parse(text);
            assert_eq!(
                parsed
                    .as_ref()
                    .map(AssertionHeader::as_str)
                    .map_err(|fault| *fault),
                expected,
                "{text:?}"
            );
        }
        assert_eq!(AssertionHeader::parse(&"x".repeat(129)), Err(Form));
    }
}
