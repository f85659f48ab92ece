//! What of a caller's head may go on, and how a deadline is said.
//!
//! What it does: hands over heads with everything that a caller could send. What it refuses to know: routes and
//! credentials, which the tests over sockets compare at the backend. Invariant: what a row does not name has not passed.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{basic, grpc_timeout, taken, taken_by_queries};
use crate::accept::Protocol;
use crate::profiles::Profile;

/// Each name that has a meaning on the way, and some that have none.
fn everything() -> HeaderMap {
    [
        ("accept", "application/vnd.api+json"),
        ("accept-encoding", "br"),
        ("authorization", "Bearer callers"),
        ("baggage", "a=b"),
        ("connection", "keep-alive"),
        ("content-encoding", "zstd"),
        ("content-length", "7"),
        ("content-type", "application/json; charset=utf-8"),
        ("cookie", "a=b"),
        ("grpc-accept-encoding", "zstd"),
        ("grpc-encoding", "gzip"),
        ("grpc-timeout", "1S"),
        ("host", "gateway"),
        ("lightkeeper-app", "shop"),
        ("lightstep-access-token", "callers"),
        ("te", "trailers"),
        ("traceparent", "00-1-1-00"),
        ("user-agent", "sdk"),
        ("x-amz-firehose-access-key", "callers"),
        ("x-amz-firehose-protocol-version", "1.0"),
        ("x-amz-firehose-request-id", "r"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-lightstep-org", "acme"),
        // Credentials and tenants of other backends, which clients that were pointed at us still send.
        ("api-key", "callers"),
        ("api-token", "callers"),
        ("dash0-dataset", "callers"),
        ("dd-api-key", "callers"),
        ("dd-application-key", "callers"),
        ("proxy-authorization", "Basic callers"),
        ("signoz-api-key", "callers"),
        ("signoz-ingestion-key", "callers"),
        ("uptrace-dsn", "callers"),
        ("x-axiom-dataset", "callers"),
        ("x-axiom-org-id", "callers"),
        ("x-honeycomb-dataset", "callers"),
        ("x-honeycomb-team", "callers"),
        ("x-scope-orgid", "callers"),
        ("x-sf-token", "callers"),
    ]
    .into_iter()
    .map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    })
    .collect()
}

fn lines(head: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> = head
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

/// Guarantees: by protocol, nothing else of a caller's head goes on; the content's type is what the body was read as.
#[test]
fn what_an_export_keeps_of_its_head() {
    for (protocol, expected) in [
        (
            Protocol::Http,
            &[
                "accept: application/vnd.api+json",
                "content-encoding: zstd",
                "content-type: application/x-protobuf",
                "x-amz-firehose-protocol-version: 1.0",
                "x-amz-firehose-request-id: r",
            ][..],
        ),
        (
            Protocol::Grpc,
            &[
                "content-length: 7",
                "content-type: application/x-protobuf",
                "grpc-encoding: gzip",
            ],
        ),
    ] {
        assert_eq!(
            lines(&taken(protocol, "application/x-protobuf", &everything())),
            expected,
            "{protocol:?}"
        );
        let bare = taken(protocol, "application/x-protobuf", &HeaderMap::new());
        assert_eq!(
            lines(&bare),
            ["content-type: application/x-protobuf"],
            "{protocol:?}"
        );
        // A type that no head can hold is left out.
        assert_eq!(
            lines(&taken(protocol, "a\nb: c", &HeaderMap::new())),
            [""; 0]
        );
    }
}

/// Guarantees: a query keeps what may change its answer, and the type of the body that it has; one that is unknown is JSON.
#[test]
fn what_a_query_keeps_of_its_head() {
    let with_type = |value: &'static str| {
        let mut head = everything();
        head.insert("content-type", HeaderValue::from_static(value));
        head
    };
    let (accept, tenant) = ("accept: application/vnd.api+json", "x-lightstep-org: acme");
    for (sent, has_body, expected) in [
        (
            "application/json; charset=utf-8",
            true,
            &[accept, "content-type: application/json", tenant][..],
        ),
        (
            "application/vnd.api+json",
            true,
            &[accept, "content-type: application/vnd.api+json", tenant],
        ),
        (
            "text/plain",
            true,
            &[accept, "content-type: application/json", tenant],
        ),
        ("application/json", false, &[accept, tenant]),
    ] {
        assert_eq!(
            lines(&taken_by_queries(
                &Profile::lightstep(),
                &with_type(sent),
                has_body
            )),
            expected,
            "{sent}"
        );
    }
    assert_eq!(
        lines(&taken_by_queries(
            &Profile::lightstep(),
            &HeaderMap::new(),
            true
        )),
        ["content-type: application/json"]
    );
}

/// Guarantees: a deadline of at most eight digits, and never none.
#[test]
fn a_deadline_has_eight_digits() {
    for (patience, expected) in [
        (Duration::ZERO, "1m"),
        (Duration::from_micros(999), "1m"),
        (Duration::from_millis(2), "2m"),
        (Duration::from_millis(99_999_999), "99999999m"),
        (Duration::from_millis(100_000_000), "100000S"),
        (Duration::MAX, "99999999S"),
    ] {
        assert_eq!(grpc_timeout(patience), expected, "{patience:?}");
    }
}

/// Guarantees: the token as the password of an empty user name (RFC 7617 section 2).
#[test]
fn a_token_as_a_password() {
    assert_eq!(basic(b"token"), "OnRva2Vu");
}
