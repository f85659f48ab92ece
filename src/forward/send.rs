//! Why a backend gave no usable answer.
//!
//! What it does: names each cause once, with a stable reason code, and undoes gzip within bounds.
//! What it refuses to know: the status that answers it (`respond` has the table). Invariant: a
//! decompressor never produces more than its limit.

use std::io::Read as _;

use bytes::Bytes;

use crate::limits::Reservation;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFault {
    /// No connection, or it broke.
    Unreachable,
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
    /// `limits.buffered_total` is used up.
    BudgetSpent,
}

impl SendFault {
    pub const ALL: [SendFault; 7] = [
        SendFault::Unreachable,
        SendFault::NotVerified,
        SendFault::TimedOut,
        SendFault::TooLarge,
        SendFault::Undecodable,
        SendFault::Defect,
        SendFault::BudgetSpent,
    ];

    pub fn reason(self) -> &'static str {
        match self {
            SendFault::Unreachable => "upstream_unreachable",
            SendFault::NotVerified => "upstream_not_verified",
            SendFault::TimedOut => "upstream_timeout",
            SendFault::TooLarge => "upstream_answer_too_large",
            SendFault::Undecodable => "upstream_answer_undecodable",
            SendFault::Defect => "internal_defect",
            SendFault::BudgetSpent => "memory_budget_spent",
        }
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
        reservation.grow(count as u64).map_err(|_| SendFault::BudgetSpent)?;
    }
}
