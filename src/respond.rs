//! The ninth room: any refusal becomes an answer in the caller's dialect.
//!
//! What it does: turns what went wrong into a refusal, and writes the bodies. What it refuses to know: statuses and public
//! words, which are the reason's class's; connections and how answers are sent.
//! Invariant: the precise reason goes to log, metric and record only.

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::accept::{Dialect, Fault};
use crate::authorize::{Denial, DenialReason};
use crate::egress::TunnelFault;
use crate::forward::{ExchangeFault, SendFault};
use crate::identify::{Rejection, RejectionKind};
use crate::lightstep::{self, Particulars};
use crate::limits::{Share, Spent};
use crate::otlp::{self, Encoding};
pub use crate::reason::Class;
use crate::transform::{AnswerFault, Coding, CodingFault};
use crate::vault::VaultFault;

/// The header that ties an answer to its record.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("lightkeeper-request-id");

/// One refusal: a class for the caller, a reason for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub class: Class,
    /// Stable code.
    pub reason: &'static str,
    /// For the log only; never a secret.
    pub detail: Option<String>,
    /// The caller's share of a rate, for the `X-RateLimit-*` headers.
    pub share: Option<Share>,
}

impl Refusal {
    pub fn new(class: Class, reason: &'static str) -> Self {
        Refusal { class, reason, detail: None, share: None }
    }

    /// The caller has used up its share of the backend's rate.
    pub fn over_rate(share: Share) -> Self {
        let class = Class::Throttled(share.reset_seconds);
        Refusal { share: Some(share), ..Refusal::new(class, "query_rate_exceeded") }
    }

    pub fn because(self, detail: impl Into<String>) -> Self {
        Refusal { detail: Some(detail.into()), ..self }
    }
}

/// An answer, ready to be written: HTTP status, or a gRPC status in trailers-only form.
#[derive(Debug)]
pub struct Rendered {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Vec<u8>,
}

/// Writes a refusal in the caller's dialect. `particulars` are what answers of legacy formats repeat.
pub fn render(refusal: &Refusal, dialect: Dialect, request_id: &str, particulars: &Particulars<'_>) -> Rendered {
    let class = refusal.class;
    let (status, code, words) = (class.status(), class.grpc_code(), class.words());
    let mut headers = Vec::with_capacity(8);
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.push((name, value));
        }
    };
    put(REQUEST_ID, request_id);
    let (status, body) = match dialect {
        Dialect::Grpc => {
            put(header::CONTENT_TYPE, "application/grpc");
            put(HeaderName::from_static("grpc-status"), &code.to_string());
            put(HeaderName::from_static("grpc-message"), &percent_encode(words));
            if class == Class::Unsupported {
                // gRPC, "Compression": the client may choose another.
                put(HeaderName::from_static("grpc-accept-encoding"), &Coding::ALL.map(Coding::name).join(","));
            }
            if let Class::Throttled(seconds) | Class::ThrottledAsUnavailable(seconds) = class {
                let details = otlp::status_with_retry(code, words, seconds.max(1));
                use base64::Engine as _;
                put(
                    HeaderName::from_static("grpc-status-details-bin"),
                    &base64::engine::general_purpose::STANDARD_NO_PAD.encode(details),
                );
            }
            (StatusCode::OK, Vec::new())
        }
        Dialect::Otlp(encoding) => {
            put(
                header::CONTENT_TYPE,
                match encoding {
                    Encoding::Protobuf => "application/x-protobuf",
                    Encoding::Json => "application/json",
                },
            );
            (status, otlp::status_body(encoding, code, words))
        }
        Dialect::Legacy(format) => {
            let (content_type, body) =
                lightstep::refusal(format, class.is_retryable(), status.as_u16(), words, particulars);
            put(header::CONTENT_TYPE, content_type);
            (status, body)
        }
        Dialect::Query => {
            put(header::CONTENT_TYPE, "application/json");
            (status, serde_json::json!({ "errors": [words] }).to_string().into_bytes())
        }
        Dialect::Own | Dialect::Page => {
            put(header::CONTENT_TYPE, "application/json");
            (status, serde_json::json!({ "error": words, "request_id": request_id }).to_string().into_bytes())
        }
    };
    if dialect != Dialect::Grpc {
        put(HeaderName::from_static("x-content-type-options"), "nosniff");
        if let Some(challenge) = class.challenge() {
            put(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = class.retry_after_seconds() {
            put(header::RETRY_AFTER, &seconds.to_string());
        }
        if let Some(share) = refusal.share {
            put(HeaderName::from_static("x-ratelimit-limit"), &share.limit.to_string());
            put(HeaderName::from_static("x-ratelimit-remaining"), &share.remaining.to_string());
            put(HeaderName::from_static("x-ratelimit-reset"), &share.reset_seconds.to_string());
        }
    }
    Rendered { status, headers, body }
}

/// gRPC over HTTP/2, "Responses": `Percent-Encoded` of `grpc-message`.
fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let class = match fault {
            Fault::RequestLine
            | Fault::Method
            | Fault::Target
            | Fault::Path
            | Fault::Query
            | Fault::HeaderLine
            | Fault::HeaderConflict
            | Fault::Host
            | Fault::Framing
            | Fault::Expectation
            | Fault::Upgrade
            | Fault::CredentialConflict
            | Fault::CookieConflict
            | Fault::TokenInUrl
            | Fault::GrpcTimeout
            | Fault::AppHeader => Class::Malformed,
            Fault::Chunk | Fault::BodyTruncated | Fault::GrpcFrame => Class::MalformedBody,
            Fault::Version => Class::Version,
            Fault::HeadTooLarge => Class::HeadTooLarge,
            Fault::HeadTimeout | Fault::BodyTimeout => Class::TooSlow,
            Fault::MediaType | Fault::ContentEncoding => Class::Unsupported,
            Fault::BodyTooLarge => Class::BodyTooLarge,
        };
        Refusal::new(class, fault.reason())
    }
}

impl From<&Rejection> for Refusal {
    fn from(rejection: &Rejection) -> Self {
        let class = match rejection.kind {
            RejectionKind::NotPresented => Class::NotAuthenticated,
            RejectionKind::Rejected => Class::BadCredential,
            RejectionKind::Unavailable => Class::Unavailable,
        };
        Refusal::new(class, rejection.reason)
    }
}

impl From<&Denial> for Refusal {
    fn from(denial: &Denial) -> Self {
        let class = match denial.reason {
            DenialReason::AppAmbiguous | DenialReason::ServiceAmbiguous => Class::AppUnclear,
            DenialReason::NotPermitted
            | DenialReason::DeniedByBinding
            | DenialReason::OutsideTimeWindow
            | DenialReason::SensitiveNotNamed
            | DenialReason::AppUnknown
            | DenialReason::AppWithoutProject
            | DenialReason::NoWritableApp
            | DenialReason::ServiceForeign
            | DenialReason::ServiceUnknown
            | DenialReason::ProjectUnknown
            | DenialReason::OrganizationUnknown
            | DenialReason::OperationUnknown
            | DenialReason::EvaluationError => Class::Denied,
        };
        Refusal::new(class, denial.reason.code())
    }
}

impl From<VaultFault> for Refusal {
    fn from(fault: VaultFault) -> Self {
        let class = match fault {
            VaultFault::NoCredential | VaultFault::Mismatch => Class::Unavailable,
        };
        Refusal::new(class, fault.reason())
    }
}

impl From<Spent> for Refusal {
    fn from(spent: Spent) -> Self {
        let class = match spent {
            Spent::Total => Class::Unavailable,
            // What the caller has under way must end first.
            Spent::Share => Class::Throttled(1),
        };
        Refusal::new(class, spent.reason())
    }
}

impl From<SendFault> for Refusal {
    fn from(fault: SendFault) -> Self {
        let class = match fault {
            SendFault::Proxy(TunnelFault::TimedOut) => Class::UpstreamTimeout,
            SendFault::Proxy(fault) => {
                return Refusal::new(Class::UpstreamBroken, SendFault::Proxy(fault).reason())
                    .because(fault.to_string());
            }
            SendFault::Unreachable | SendFault::NotVerified | SendFault::TooLarge | SendFault::Undecodable => {
                Class::UpstreamBroken
            }
            SendFault::TimedOut => Class::UpstreamTimeout,
            SendFault::Defect => Class::Unavailable,
            SendFault::Memory(spent) => return spent.into(),
        };
        Refusal::new(class, fault.reason())
    }
}

impl From<ExchangeFault> for Refusal {
    fn from(fault: ExchangeFault) -> Self {
        match fault {
            ExchangeFault::Caller(fault) => fault.into(),
            ExchangeFault::CallerGone => Refusal::new(Class::Malformed, "client_closed"),
            ExchangeFault::Backend(fault) => fault.into(),
        }
    }
}

impl From<CodingFault> for Refusal {
    fn from(fault: CodingFault) -> Self {
        let class = match fault {
            CodingFault::TooLarge | CodingFault::Bomb => Class::BodyTooLarge,
            CodingFault::Undecodable => Class::MalformedBody,
            CodingFault::Memory(spent) => return spent.into(),
        };
        Refusal::new(class, fault.reason())
    }
}

impl From<AnswerFault> for Refusal {
    fn from(fault: AnswerFault) -> Self {
        let class = match fault {
            AnswerFault::Shape => Class::UpstreamBroken,
        };
        Refusal::new(class, fault.reason())
    }
}

#[cfg(test)]
mod tests;
