//! Why a backend gave no usable answer.
//!
//! What it does: names each cause once, with a stable reason code, counts what comes of an answer, and undoes gzip within
//! bounds.
//! What it refuses to know: the status that answers it (`respond` has the table). Invariant: a
//! decompressor never produces more than its limit.

use std::io::Read as _;

use bytes::Bytes;

use super::pool::DialFault;
use crate::egress::TunnelFault;
use crate::limits::{Reservation, Spent};
use crate::reason::Reason;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFault {
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
    pub const ALL: [SendFault; 13] = [
        SendFault::Unreachable,
        SendFault::Proxy(TunnelFault::Unreachable),
        SendFault::Proxy(TunnelFault::Refused(407)),
        SendFault::Proxy(TunnelFault::Broken),
        SendFault::Proxy(TunnelFault::TimedOut),
        SendFault::NotVerified,
        SendFault::TimedOut,
        SendFault::TooLarge,
        SendFault::Undecodable,
        SendFault::Defect,
        SendFault::Busy,
        SendFault::Memory(Spent::Total),
        SendFault::Memory(Spent::Share),
    ];

    pub fn reason(self) -> Reason {
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
pub struct Intake<'a> {
    pub limit_bytes: u64,
    /// Whether a 2xx, or gRPC's status, says enough by itself: its body, if that breaks off, is too large, or has no clear
    /// end because the head is broken, is taken for an empty one.
    /// So it is for exports, which would arrive twice if an answer that cannot be read were a failure.
    pub status_suffices: bool,
    pub reservation: &'a mut Reservation,
}

impl Intake<'_> {
    /// Takes memory for what has come of an answer since the last time.
    pub(super) fn count(&mut self, counted: &mut usize, come: usize) -> Result<(), SendFault> {
        self.reservation.grow(come.saturating_sub(*counted) as u64).map_err(SendFault::Memory)?;
        *counted = come;
        Ok(())
    }
}

/// Decompresses in steps, so that the budget is asked before each one.
pub fn gunzip(body: &[u8], limit_bytes: u64, reservation: &mut Reservation) -> Result<Bytes, SendFault> {
    const STEP_BYTES: u64 = 64 * 1024;
    let mut plain = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(body);
    loop {
        let count = decoder.by_ref().take(STEP_BYTES).read_to_end(&mut plain).map_err(|_| SendFault::Undecodable)?;
        if count == 0 {
            return Ok(plain.into());
        }
        if plain.len() as u64 > limit_bytes {
            return Err(SendFault::TooLarge);
        }
        reservation.grow(count as u64).map_err(SendFault::Memory)?;
    }
}
