//! The terminated lane's one call to the backend.
//!
//! What it does: sends a whole request with our own client and reads the whole answer, both bounded.
//! What it refuses to know: what the answer means. Invariants: no answer larger than the limit is held;
//! redirects are not followed; a decompressor never produces more than the limit.

use std::io::Read as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};

use super::{Backend, HeadDefect, head};
use crate::limits::Reservation;
use crate::profiles::Profile;
use crate::route::Route;
use crate::vault::Lease;

/// A whole answer, decompressed.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFault {
    /// No connection, or it broke.
    Unreachable,
    /// Nothing within the upstream's timeouts.
    TimedOut,
    /// More than `limits.response`.
    TooLarge,
    /// An encoding that we did not offer, or broken gzip.
    Undecodable,
    /// The head could not be built.
    Defect,
    /// `limits.buffered_total` is used up.
    BudgetSpent,
}

impl SendFault {
    pub fn reason(self) -> &'static str {
        match self {
            SendFault::Unreachable => "upstream_unreachable",
            SendFault::TimedOut => "upstream_timeout",
            SendFault::TooLarge => "upstream_answer_too_large",
            SendFault::Undecodable => "upstream_answer_undecodable",
            SendFault::Defect => "internal_defect",
            SendFault::BudgetSpent => "memory_budget_spent",
        }
    }
}

impl From<HeadDefect> for SendFault {
    fn from(_: HeadDefect) -> Self {
        SendFault::Defect
    }
}

/// What is sent.
pub struct Sending<'a> {
    pub method: &'a Method,
    pub route: &'a Route,
    pub lease: &'a Lease,
    pub profile: &'a Profile,
    pub organization: &'a str,
    pub incoming: &'a HeaderMap,
    pub body: Bytes,
    pub response_limit_bytes: u64,
    /// Grown by what is held of the answer.
    pub reservation: &'a mut Reservation,
}

/// Sends one request and reads its answer.
pub async fn send(backend: &Backend, sending: Sending<'_>) -> Result<Answer, SendFault> {
    let Sending { method, route, lease, profile, organization, incoming, body, response_limit_bytes, reservation } =
        sending;
    let request = head::terminated(method, route, lease, backend, profile, organization, incoming)?
        .body(Full::new(body))
        .map_err(|_| SendFault::Defect)?;
    let total = backend.settings.connect_timeout + backend.settings.read_timeout;
    let response = match tokio::time::timeout(total, backend.client.request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => return Err(SendFault::Unreachable),
        Err(_) => return Err(SendFault::TimedOut),
    };
    let (parts, incoming) = response.into_parts();
    let limit = usize::try_from(response_limit_bytes).unwrap_or(usize::MAX);
    let body = read_whole(incoming, limit, backend.settings.read_timeout, reservation).await?;
    let body = match parts.headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => body,
        Some(b"gzip") => gunzip(&body, limit, reservation)?,
        Some(_) => return Err(SendFault::Undecodable),
    };
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

async fn read_whole(
    mut incoming: hyper::body::Incoming,
    limit: usize,
    read_timeout: Duration,
    reservation: &mut Reservation,
) -> Result<Bytes, SendFault> {
    // One deadline for the whole answer: a dripping backend is a silent one.
    let deadline = tokio::time::Instant::now() + read_timeout;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout_at(deadline, incoming.frame()).await {
            Err(_) => return Err(SendFault::TimedOut),
            Ok(Some(Err(_))) => return Err(SendFault::Unreachable),
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len() > limit {
            return Err(SendFault::TooLarge);
        }
        reservation.grow(data.len() as u64).map_err(|_| SendFault::BudgetSpent)?;
        // Most answers are one frame, which is handed on without a copy.
        match &first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    match (first, rest.is_empty()) {
        (None, _) => Ok(Bytes::new()),
        (Some(first), true) => Ok(first),
        (Some(first), false) => {
            let mut whole = BytesMut::with_capacity(first.len() + rest.len());
            whole.extend_from_slice(&first);
            whole.extend_from_slice(&rest);
            Ok(whole.freeze())
        }
    }
}

/// Decompresses in steps, so that the budget is asked before each one.
fn gunzip(body: &[u8], limit: usize, reservation: &mut Reservation) -> Result<Bytes, SendFault> {
    const STEP_BYTES: u64 = 64 * 1024;
    let mut plain = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(body);
    loop {
        let count = decoder.by_ref().take(STEP_BYTES).read_to_end(&mut plain).map_err(|_| SendFault::Undecodable)?;
        if count == 0 {
            return Ok(plain.into());
        }
        if plain.len() > limit {
            return Err(SendFault::TooLarge);
        }
        reservation.grow(count as u64).map_err(|_| SendFault::BudgetSpent)?;
    }
}
