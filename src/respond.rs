//! The ninth room: any refusal becomes an answer in the caller's dialect.
//!
//! What it does: turns what went wrong into a refusal, and writes the bodies. What it refuses to know: statuses and public
//! words, which are the reason's class's; connections and how answers are sent.
//! Invariant: the precise reason goes to log, metric and record only.

mod challenge;

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::accept::{Dialect, Fault};
use crate::authorize::Denial;
use crate::egress::TunnelFault;
use crate::forward::{ExchangeFault, SendFault};
use crate::identify::{Nonce, Rejection};
use crate::lightstep::{self, Particulars};
use crate::limits::{Share, Spent};
use crate::media_type;
use crate::otlp;
use crate::percent;
use crate::reason::{Blame, Class, Reason};
use crate::transform::{AnswerFault, Coding, CodingFault};
use crate::vault::VaultFault;

pub use challenge::ChallengeTerms;

/// The header that ties an answer to its record.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("lightkeeper-request-id");

/// One refusal: a class for the caller, a reason for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub class: Class,
    pub reason: Reason,
    /// For the log only; never a secret.
    pub detail: Option<String>,
    /// The caller's share of a rate, for the `X-RateLimit-*` headers.
    pub share: Option<Share>,
    /// What the caller's next proof of possession needs, for the header `dpop-nonce`.
    pub nonce: Option<Box<HeaderValue>>,
}

impl Refusal {
    /// Of the reason's class. One that no call is answered with is told to come again.
    pub fn new(reason: Reason) -> Self {
        Refusal::classed(reason, reason.class().unwrap_or(Class::Unavailable))
    }

    /// Of another class than the reason's, where the case says it more exactly.
    pub(crate) fn classed(reason: Reason, class: Class) -> Self {
        Refusal {
            class,
            reason,
            detail: None,
            share: None,
            nonce: None,
        }
    }

    /// Worth another try after so many seconds.
    pub fn wait(reason: Reason, seconds: u64) -> Self {
        Refusal::classed(reason, Class::Throttled(seconds))
    }

    /// The caller has used up its share of the backend's rate.
    pub(crate) fn over_rate(share: Share) -> Self {
        Refusal {
            share: Some(share),
            ..Refusal::wait(Reason::QueryRateExceeded, share.reset_seconds)
        }
    }

    /// Whether it is for something of the caller's. That the caller's connection went away is not.
    pub(crate) fn is_denial(&self) -> bool {
        self.class.is_callers() && self.reason.blame() != Blame::Connection
    }

    pub fn because(self, detail: impl Into<String>) -> Self {
        Refusal {
            detail: Some(detail.into()),
            ..self
        }
    }
}

/// An answer, ready to be written: HTTP status, or a gRPC status in trailers-only form.
#[derive(Debug)]
pub struct Rendered {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Vec<u8>,
}

/// Writes a refusal in the caller's dialect. `particulars` are what answers of legacy formats repeat, `terms` how the caller
/// came.
pub fn render(
    refusal: &Refusal,
    dialect: Dialect,
    request_id: &str,
    particulars: &Particulars<'_>,
    terms: ChallengeTerms<'_>,
) -> Rendered {
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
            put(header::CONTENT_TYPE, media_type::GRPC);
            put(HeaderName::from_static("grpc-status"), &code.to_string());
            put(
                HeaderName::from_static("grpc-message"),
                &percent::encode_message(words).to_string(),
            );
            if class == Class::Unsupported {
                // gRPC, "Compression": the client may choose another.
                put(
                    HeaderName::from_static("grpc-accept-encoding"),
                    &Coding::ALL.map(Coding::name).join(","),
                );
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
            put(header::CONTENT_TYPE, encoding.media_type());
            (status, otlp::status_body(encoding, code, words))
        }
        Dialect::Legacy(format) => {
            let (content_type, body) = lightstep::refusal(
                format,
                class.is_retryable(),
                status.as_u16(),
                words,
                particulars,
            );
            put(header::CONTENT_TYPE, content_type);
            (status, body)
        }
        Dialect::Query => {
            put(header::CONTENT_TYPE, media_type::JSON);
            (
                status,
                serde_json::json!({ "errors": [words] })
                    .to_string()
                    .into_bytes(),
            )
        }
        Dialect::Own | Dialect::Page => {
            put(header::CONTENT_TYPE, media_type::JSON);
            (
                status,
                serde_json::json!({ "error": words, "request_id": request_id })
                    .to_string()
                    .into_bytes(),
            )
        }
    };
    // No standard says how gRPC challenges; who shows proofs must hear what is wrong with them.
    if dialect != Dialect::Grpc || terms.by_proof {
        for line in challenge::lines(class, refusal.reason, terms) {
            put(header::WWW_AUTHENTICATE, &line);
        }
    }
    if dialect != Dialect::Grpc {
        put(HeaderName::from_static("x-content-type-options"), "nosniff");
        if let Some(seconds) = class.retry_after_seconds() {
            put(header::RETRY_AFTER, &seconds.to_string());
        }
        if let Some(share) = refusal.share {
            put(
                HeaderName::from_static("x-ratelimit-limit"),
                &share.limit.to_string(),
            );
            put(
                HeaderName::from_static("x-ratelimit-remaining"),
                &share.remaining.to_string(),
            );
            put(
                HeaderName::from_static("x-ratelimit-reset"),
                &share.reset_seconds.to_string(),
            );
        }
    }
    Rendered {
        status,
        headers,
        body,
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal::new(reason)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        fault.reason().into()
    }
}

impl From<&Rejection> for Refusal {
    fn from(rejection: &Rejection) -> Self {
        Refusal {
            nonce: rejection
                .nonce
                .as_ref()
                .and_then(Nonce::header)
                .map(Box::new),
            ..Refusal::new(rejection.reason)
        }
    }
}

impl From<&Denial> for Refusal {
    fn from(denial: &Denial) -> Self {
        denial.reason.into()
    }
}

impl From<VaultFault> for Refusal {
    fn from(fault: VaultFault) -> Self {
        fault.reason().into()
    }
}

impl From<Spent> for Refusal {
    fn from(spent: Spent) -> Self {
        spent.reason().into()
    }
}

impl From<SendFault> for Refusal {
    fn from(fault: SendFault) -> Self {
        let refusal = Refusal::new(fault.reason());
        match fault {
            SendFault::Proxy(proxy) if proxy != TunnelFault::TimedOut => {
                refusal.because(proxy.to_string())
            }
            _ => refusal,
        }
    }
}

impl From<ExchangeFault> for Refusal {
    fn from(fault: ExchangeFault) -> Self {
        match fault {
            ExchangeFault::Caller(fault) => fault.into(),
            ExchangeFault::CallerGone => Refusal::new(Reason::ClientClosed),
            ExchangeFault::Backend(fault) => fault.into(),
        }
    }
}

impl From<CodingFault> for Refusal {
    fn from(fault: CodingFault) -> Self {
        fault.reason().into()
    }
}

impl From<AnswerFault> for Refusal {
    fn from(fault: AnswerFault) -> Self {
        fault.reason().into()
    }
}

#[cfg(test)]
mod tests;
