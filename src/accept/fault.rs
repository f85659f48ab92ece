//! What can be wrong with a head or a body's framing.
//!
//! What it does: names each mistake once, with a stable reason code. What it refuses to know: the status
//! that answers it (`respond` has the table). Invariant: a code never changes its meaning.

use crate::reason::Reason;

/// A mistake of the caller's in the head, the framing or the pace of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request line is not `METHOD SP origin-form SP HTTP/1.x` (RFC 9112 section 3).
    RequestLine,
    /// HTTP/1.0, as proxies speak it by default.
    Version,
    /// A method that no operation has, `CONNECT` and `TRACE` among them.
    Method,
    /// The target is not in origin form, or holds bytes that a path may not have.
    Target,
    /// An empty, dot, doubly encoded or otherwise ambiguous path segment.
    Path,
    /// A query that the operation does not know, or that carries a credential (RFC 6750 section 5.3).
    Query,
    /// A header line that RFC 9112 section 5 does not allow, or a name with `_`.
    HeaderLine,
    /// A header that must stand alone stands twice, or `Connection` nominates one of ours.
    HeaderConflict,
    /// `Host` is missing, doubled, malformed or at odds with the target.
    Host,
    /// `Content-Length` and `Transfer-Encoding` that leave the body's end in doubt.
    Framing,
    /// A chunk that RFC 9112 section 7.1 does not allow.
    Chunk,
    /// `Expect` with anything but `100-continue`.
    Expectation,
    /// `Upgrade` or what belongs to it over HTTP/2, which has none.
    Upgrade,
    /// Two different credentials of one kind, or one in a place where none may stand.
    CredentialConflict,
    /// One of our cookies stands twice, has a form or size that we never gave it, or is a session's beside an assertion.
    CookieConflict,
    /// A route whose clients put their token into the URL, where it ends up in logs (RFC 6750 section 5.3).
    TokenInUrl,
    /// More header lines or bytes than `limits.headers` and `limits.header` allow.
    HeadTooLarge,
    /// The head was not complete within `limits.header_timeout`.
    HeadTimeout,
    /// A media type that the operation does not take.
    MediaType,
    /// A content encoding that is not one token.
    ContentEncoding,
    /// `grpc-timeout` is no duration (gRPC over HTTP/2, "Timeout").
    GrpcTimeout,
    /// The `lightkeeper-app` header is not a canonical app path.
    AppHeader,
    /// The body is larger than `limits.body`.
    BodyTooLarge,
    /// The body did not come whole within `limits.body_timeout`, or slower than `limits.body_rate`.
    BodyTimeout,
    /// The body ended before its announced length.
    BodyTruncated,
    /// A gRPC message prefix that disagrees with the body (compressed flag, length).
    GrpcFrame,
}

impl Fault {
    /// The stable code of logs, metrics and records.
    pub fn reason(self) -> Reason {
        match self {
            Fault::RequestLine => Reason::MalformedRequestLine,
            Fault::Version => Reason::HttpVersionUnsupported,
            Fault::Method => Reason::MethodUnknown,
            Fault::Target => Reason::MalformedTarget,
            Fault::Path => Reason::AmbiguousPath,
            Fault::Query => Reason::MalformedQuery,
            Fault::HeaderLine => Reason::MalformedHeader,
            Fault::HeaderConflict => Reason::ConflictingHeaders,
            Fault::Host => Reason::MalformedHost,
            Fault::Framing => Reason::AmbiguousFraming,
            Fault::Chunk => Reason::MalformedChunk,
            Fault::Expectation => Reason::ExpectationUnknown,
            Fault::Upgrade => Reason::UpgradeRefused,
            Fault::CredentialConflict => Reason::ConflictingCredentials,
            Fault::CookieConflict => Reason::CookieConflict,
            Fault::TokenInUrl => Reason::TokenInUrl,
            Fault::HeadTooLarge => Reason::HeadTooLarge,
            Fault::HeadTimeout => Reason::HeadTimeout,
            Fault::MediaType => Reason::MediaTypeUnsupported,
            Fault::ContentEncoding => Reason::ContentEncodingUnsupported,
            Fault::GrpcTimeout => Reason::MalformedGrpcTimeout,
            Fault::AppHeader => Reason::MalformedAppHeader,
            Fault::BodyTooLarge => Reason::BodyTooLarge,
            Fault::BodyTimeout => Reason::BodyTimeout,
            Fault::BodyTruncated => Reason::BodyTruncated,
            Fault::GrpcFrame => Reason::MalformedGrpcFrame,
        }
    }
}
