//! What can be wrong with a head or a body's framing.
//!
//! What it does: names each mistake once, with a stable reason code. What it refuses to know: the status
//! that answers it (`respond` has the table). Invariant: a code never changes its meaning.

use crate::reason::Reason;

macro_rules! faults {
    ($($(#[$doc:meta])+ $name:ident => $reason:ident,)+) => {
        /// A mistake of the caller's in the head, the framing or the pace of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault { $($(#[$doc])+ $name,)+ }

        impl Fault {
            /// The stable code of logs, metrics and records.
            pub fn reason(self) -> Reason {
                match self { $(Fault::$name => Reason::$reason,)+ }
            }
        }
    };
}

faults! {
    /// The request line is not `METHOD SP origin-form SP HTTP/1.x` (RFC 9112 section 3).
    RequestLine => MalformedRequestLine,
    /// HTTP/1.0, as proxies speak it by default.
    Version => HttpVersionUnsupported,
    /// A method that no operation has, `CONNECT` and `TRACE` among them.
    Method => MethodUnknown,
    /// The target is not in origin form, or holds bytes that a path may not have.
    Target => MalformedTarget,
    /// An empty, dot, doubly encoded or otherwise ambiguous path segment.
    Path => AmbiguousPath,
    /// A query that the operation does not know, or that carries a credential (RFC 6750 section 5.3).
    Query => MalformedQuery,
    /// A header line that RFC 9112 section 5 does not allow, or a name with `_`.
    HeaderLine => MalformedHeader,
    /// A header that must stand alone stands twice, or `Connection` nominates one of ours.
    HeaderConflict => ConflictingHeaders,
    /// `Host` is missing, doubled, malformed or at odds with the target.
    Host => MalformedHost,
    /// `Content-Length` and `Transfer-Encoding` that leave the body's end in doubt.
    Framing => AmbiguousFraming,
    /// A chunk that RFC 9112 section 7.1 does not allow.
    Chunk => MalformedChunk,
    /// `Expect` with anything but `100-continue`.
    Expectation => ExpectationUnknown,
    /// `Upgrade` or what belongs to it over HTTP/2, which has none.
    Upgrade => UpgradeRefused,
    /// Two different credentials of one kind, or one in a place where none may stand.
    CredentialConflict => ConflictingCredentials,
    /// One of our cookies stands twice, has a form or size that we never gave it, or is a session's beside an assertion.
    CookieConflict => CookieConflict,
    /// A route whose clients put their token into the URL, where it ends up in logs (RFC 6750 section 5.3).
    TokenInUrl => TokenInUrl,
    /// More header lines or bytes than `limits.headers` and `limits.header` allow.
    HeadTooLarge => HeadTooLarge,
    /// The head was not complete within `limits.header_timeout`.
    HeadTimeout => HeadTimeout,
    /// The connection ended within the head.
    HeadTruncated => HeadTruncated,
    /// A media type that the operation does not take.
    MediaType => MediaTypeUnsupported,
    /// A question to a backend that has no query API.
    NoQuery => NoQueryApi,
    /// A content encoding that is not one token.
    ContentEncoding => ContentEncodingUnsupported,
    /// `grpc-timeout` is no duration (gRPC over HTTP/2, "Timeout").
    GrpcTimeout => MalformedGrpcTimeout,
    /// The `lightkeeper-app` header is not a canonical app path.
    AppHeader => MalformedAppHeader,
    /// The body is larger than `limits.body`.
    BodyTooLarge => BodyTooLarge,
    /// The body did not come whole within `limits.body_timeout`, or slower than `limits.body_rate`.
    BodyTimeout => BodyTimeout,
    /// The body ended before its announced length.
    BodyTruncated => BodyTruncated,
    /// A gRPC message prefix that disagrees with the body (compressed flag, length).
    GrpcFrame => MalformedGrpcFrame,
}
