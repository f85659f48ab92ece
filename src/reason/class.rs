//! The classes of refusals: what a caller is answered.
//!
//! What it does: holds the one exhaustive table of classes, HTTP status, gRPC code and public words. What it refuses to
//! know: reasons, dialects, how answers are sent. Invariants: no wildcard arm; the public words depend on the class alone, so
//! that refusals of one class look alike from outside.

use http::StatusCode;

const OVER_RATE: &str = "over the permitted rate: try again later";
/// Seconds after which an unavailable gateway or backend is worth another try.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Why we answer instead of the backend: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// No credential at all.
    NotAuthenticated,
    /// A credential that fails verification.
    BadCredential,
    /// Verified, not permitted; also everything whose existence is not disclosed.
    Denied,
    /// The head, or a question in it.
    Malformed,
    /// The body.
    MalformedBody,
    /// Several apps are possible.
    AppUnclear,
    /// The backend refuses for good what was sent.
    RefusedUpstream,
    Unknown,
    /// The backend has no query API.
    NoQuery,
    /// The head or body did not come in time.
    TooSlow,
    BodyTooLarge,
    HeadTooLarge,
    Unsupported,
    /// A version of HTTP that is not spoken here.
    Version,
    /// Over a quota or rate; seconds until it is worth trying again.
    Throttled(u64),
    /// The same, told over HTTP in the status that every exporter tries again (`limits.quota_status`).
    ThrottledAsUnavailable(u64),
    /// We cannot decide now.
    Unavailable,
    /// The backend cannot be reached or answers nonsense.
    UpstreamBroken,
    /// The backend refuses our own credential.
    UpstreamRefusesUs,
    UpstreamTimeout,
}

/// The table: HTTP status, gRPC code (google.rpc.Code), public words.
fn row(class: Class) -> (StatusCode, u8, &'static str) {
    match class {
        Class::NotAuthenticated => (
            StatusCode::UNAUTHORIZED,
            16,
            "authentication is required: present a bearer token or a client certificate",
        ),
        Class::BadCredential => (
            StatusCode::UNAUTHORIZED,
            16,
            "the presented credential is not valid here",
        ),
        Class::Denied => (
            StatusCode::FORBIDDEN,
            7,
            "not permitted; an export names its app by `/apps/{app}/-/` in the URL or by the `lightkeeper-app` header",
        ),
        Class::Malformed => (
            StatusCode::BAD_REQUEST,
            3,
            "the head of the request is malformed or ambiguous: its path or query, a header, or more than one credential",
        ),
        Class::MalformedBody => (
            StatusCode::BAD_REQUEST,
            3,
            "the body cannot be read: it must be one whole message in the encoding that its head names",
        ),
        Class::AppUnclear => (
            StatusCode::BAD_REQUEST,
            3,
            "several apps are possible: an export names its app by `/apps/{app}/-/` in the URL or by the `lightkeeper-app` header",
        ),
        Class::RefusedUpstream => (
            StatusCode::BAD_REQUEST,
            3,
            "the backend refuses what was sent for good",
        ),
        Class::Unknown => (
            StatusCode::NOT_FOUND,
            12,
            "nothing is known by this path and method",
        ),
        Class::NoQuery => (
            StatusCode::NOT_FOUND,
            12,
            "the backend behind this gateway has no query API: it takes telemetry alone",
        ),
        Class::TooSlow => (
            StatusCode::REQUEST_TIMEOUT,
            4,
            "the request did not arrive in time",
        ),
        Class::BodyTooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            8,
            "the body is larger than this gateway accepts",
        ),
        Class::HeadTooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            8,
            "the header list is larger than this gateway accepts",
        ),
        Class::Unsupported => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            12,
            "the media type or content encoding is not supported",
        ),
        Class::Version => (
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            12,
            "HTTP/1.0 is not spoken here: use HTTP/1.1 or HTTP/2 (nginx: `proxy_http_version 1.1`; HAProxy's checks: `http-check send ver HTTP/1.1 hdr Host gateway`)",
        ),
        Class::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, 8, OVER_RATE),
        Class::ThrottledAsUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, 8, OVER_RATE),
        Class::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            14,
            "the gateway cannot decide now: try again later",
        ),
        Class::UpstreamBroken => (
            StatusCode::BAD_GATEWAY,
            14,
            "the backend cannot be reached: try again later",
        ),
        Class::UpstreamRefusesUs => (
            StatusCode::SERVICE_UNAVAILABLE,
            14,
            "the backend does not accept the gateway now: try again later",
        ),
        Class::UpstreamTimeout => (
            StatusCode::GATEWAY_TIMEOUT,
            4,
            "the backend did not answer in time",
        ),
    }
}

impl Class {
    /// The status that an HTTP caller gets, also written into records of gRPC calls.
    pub fn status(self) -> StatusCode {
        row(self).0
    }

    /// What the caller is told.
    pub fn words(self) -> &'static str {
        row(self).2
    }

    /// The code that a gRPC caller gets.
    pub fn grpc_code(self) -> u8 {
        row(self).1
    }

    /// Whether the caller has to change something; otherwise it is ours or the backend's.
    pub(crate) fn is_callers(self) -> bool {
        match self {
            Class::NotAuthenticated
            | Class::BadCredential
            | Class::Denied
            | Class::Malformed
            | Class::MalformedBody
            | Class::AppUnclear
            | Class::RefusedUpstream
            | Class::Unknown
            | Class::NoQuery
            | Class::TooSlow
            | Class::BodyTooLarge
            | Class::HeadTooLarge
            | Class::Unsupported
            | Class::Version
            | Class::Throttled(_)
            | Class::ThrottledAsUnavailable(_) => true,
            Class::Unavailable
            | Class::UpstreamBroken
            | Class::UpstreamRefusesUs
            | Class::UpstreamTimeout => false,
        }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_retryable(self) -> bool {
        self.retry_after_seconds().is_some()
    }

    pub fn retry_after_seconds(self) -> Option<u64> {
        match self {
            Class::Throttled(seconds) | Class::ThrottledAsUnavailable(seconds) => {
                Some(seconds.max(1))
            }
            Class::Unavailable
            | Class::UpstreamBroken
            | Class::UpstreamRefusesUs
            | Class::UpstreamTimeout => Some(RETRY_AFTER_SECONDS),
            Class::NotAuthenticated
            | Class::BadCredential
            | Class::Denied
            | Class::Malformed
            | Class::MalformedBody
            | Class::AppUnclear
            | Class::RefusedUpstream
            | Class::Unknown
            | Class::NoQuery
            | Class::TooSlow
            | Class::BodyTooLarge
            | Class::HeadTooLarge
            | Class::Unsupported
            | Class::Version => None,
        }
    }

    /// RFC 6750 section 3: a bare challenge without a credential, the error with one.
    pub fn challenge(self) -> Option<&'static str> {
        match self {
            Class::NotAuthenticated => Some(r#"Bearer realm="lightkeeper""#),
            Class::BadCredential => Some(r#"Bearer realm="lightkeeper", error="invalid_token""#),
            Class::Denied => Some(r#"Bearer realm="lightkeeper", error="insufficient_scope""#),
            Class::Malformed
            | Class::MalformedBody
            | Class::AppUnclear
            | Class::RefusedUpstream
            | Class::Unknown
            | Class::NoQuery
            | Class::TooSlow
            | Class::BodyTooLarge
            | Class::HeadTooLarge
            | Class::Unsupported
            | Class::Version
            | Class::Throttled(_)
            | Class::ThrottledAsUnavailable(_)
            | Class::Unavailable
            | Class::UpstreamBroken
            | Class::UpstreamRefusesUs
            | Class::UpstreamTimeout => None,
        }
    }
}
