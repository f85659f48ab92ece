//! Why a backend gave no usable answer.
//!
//! What it does: names each cause once and whose fault it is, with a stable reason code, counts what comes of an answer, and undoes gzip within
//! bounds.
//! What it refuses to know: the status that answers it (`respond` has the table). Invariant: a
//! decompressor never produces more than its limit.

use http::{HeaderMap, HeaderValue, header};
use std::io::Read as _;

use bytes::Bytes;

use super::pool::DialFault;
use crate::accept::Fault;
use crate::egress::TunnelFault;
use crate::limits::{Reservation, Spent};
use crate::reason::Reason;

/// Whose fault it is that there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExchangeFault {
    /// The body that the caller sends.
    Caller(Fault),
    /// The caller went away while the answer was awaited.
    CallerGone,
    /// The backend, the way to it, or ourselves.
    Backend(SendFault),
}

impl From<SendFault> for ExchangeFault {
    fn from(fault: SendFault) -> Self {
        ExchangeFault::Backend(fault)
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendFault {
    /// No connection, or it broke.
    Unreachable,
    /// The proxy before the backend gave no tunnel to it; nothing was sent.
    Proxy(TunnelFault),
    /// The backend's certificate does not hold.
    NotVerified,
    /// Nothing within the upstream's timeouts.
    TimedOut,
    /// An answer over its limit.
    TooLarge,
    /// Not HTTP as it must be, an encoding that we did not offer, or broken gzip.
    Undecodable,
    /// The head could not be built.
    Defect,
    /// As many calls are under way as may be at once, and none has ended in time. Nothing was sent.
    Busy,
    /// There is no room for the answer.
    Memory(Spent),
}

impl SendFault {
    pub(crate) fn reason(self) -> Reason {
        match self {
            SendFault::Unreachable => Reason::UpstreamUnreachable,
            SendFault::Proxy(TunnelFault::Unreachable) => Reason::UpstreamProxyUnreachable,
            SendFault::Proxy(TunnelFault::Refused(_)) => Reason::UpstreamProxyRefused,
            SendFault::Proxy(TunnelFault::Broken) => Reason::UpstreamProxyBroken,
            SendFault::Proxy(TunnelFault::TimedOut) => Reason::UpstreamProxyTimeout,
            SendFault::NotVerified => Reason::UpstreamNotVerified,
            SendFault::TimedOut => Reason::UpstreamTimeout,
            SendFault::TooLarge => Reason::UpstreamAnswerTooLarge,
            SendFault::Undecodable => Reason::UpstreamAnswerUndecodable,
            SendFault::Defect => Reason::InternalDefect,
            SendFault::Busy => Reason::UpstreamUnavailable,
            SendFault::Memory(spent) => spent.reason(),
        }
    }
}

impl From<DialFault> for SendFault {
    fn from(fault: DialFault) -> Self {
        match fault {
            DialFault::Unreachable => SendFault::Unreachable,
            DialFault::Proxy(fault) => SendFault::Proxy(fault),
            DialFault::TimedOut => SendFault::TimedOut,
            DialFault::NotVerified => SendFault::NotVerified,
        }
    }
}

/// How much of an answer is taken.
pub(crate) struct Intake<'a> {
    pub(crate) limit_bytes: u64,
    /// Whether a 2xx, or gRPC's status, says enough by itself: its body, if that breaks off, is too large, or has no clear
    /// end because the head is broken, is taken for an empty one.
    /// So it is for exports, which would arrive twice if an answer that cannot be read were a failure.
    pub(crate) status_suffices: bool,
    pub reservation: &'a mut Reservation,
}

impl Intake<'_> {
    /// Takes memory for what has come of an answer since the last time.
    pub(super) fn count(&mut self, counted: &mut usize, come: usize) -> Result<(), SendFault> {
        self.reservation
            .grow(come.saturating_sub(*counted) as u64)
            .map_err(SendFault::Memory)?;
        *counted = come;
        Ok(())
    }
}

/// Decompresses in steps, so that the budget is asked before each one.
pub(crate) fn gunzip(
    body: &[u8],
    limit_bytes: u64,
    reservation: &mut Reservation,
) -> Result<Bytes, SendFault> {
    const STEP_BYTES: u64 = 64 * 1024;
    let mut plain = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(body);
    loop {
        let count = decoder
            .by_ref()
            .take(STEP_BYTES)
            .read_to_end(&mut plain)
            .map_err(|_| SendFault::Undecodable)?;
        if count == 0 {
            return Ok(plain.into());
        }
        if plain.len() as u64 > limit_bytes {
            return Err(SendFault::TooLarge);
        }
        reservation.grow(count as u64).map_err(SendFault::Memory)?;
    }
}

/// Redirects would lead past us, and beyond 599 a status has no meaning (RFC 9110 section 15).
pub(crate) fn is_usable(status: u16) -> bool {
    matches!(status, 200..=299 | 400..=599)
}

/// How long the backend wants to be left alone, in seconds, and within a bound: no client is sent away for a year. A date
/// or nothing counts as a few (RFC 9110 section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> u64 {
    const USUAL_SECONDS: u64 = 5;
    const LONGEST_SECONDS: u64 = 3600;
    let value = headers
        .get(header::RETRY_AFTER)
        .map(|value| value.as_bytes().trim_ascii())
        .unwrap_or_default();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return USUAL_SECONDS;
    }
    // Digits that are no number here are too many.
    let seconds = str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok());
    seconds.unwrap_or(LONGEST_SECONDS).min(LONGEST_SECONDS)
}

/// The same as it is passed on with the backend's own answer: only where the backend says something of it.
pub(crate) fn retry_after_told(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .contains_key(header::RETRY_AFTER)
        .then(|| HeaderValue::from(retry_after(headers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: whatever a backend says of when to come again. Guarantees: a client is told a number of seconds, within
    /// bounds, or nothing where nothing was said.
    #[test]
    fn what_is_told_of_waiting_is_a_bounded_number() {
        let cases: [(&[u8], u64); 16] = [
            (b"0", 0),
            (b"7", 7),
            (b" 7 ", 7),
            (b"3600", 3600),
            (b"3601", 3600),
            (b"99999999999", 3600),
            (b"99999999999999999999999999", 3600),
            (b"-1", 5),
            (b"+7", 5),
            (b"1.5", 5),
            (b"7, 8", 5),
            (b"", 5),
            (b"soon", 5),
            (b"<script>", 5),
            (b"\xff\xe9", 5),
            (b"Fri, 31 Dec 9999 23:59:59 GMT", 5),
        ];
        for (value, expected) in cases {
            let value = HeaderValue::from_bytes(value).unwrap();
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value)]);
            assert_eq!(retry_after(&headers), expected, "{headers:?}");
            assert_eq!(
                retry_after_told(&headers).unwrap(),
                expected.to_string().as_str(),
                "{headers:?}"
            );
        }
        assert_eq!(
            (
                retry_after(&HeaderMap::new()),
                retry_after_told(&HeaderMap::new())
            ),
            (5, None)
        );
    }
}
