//! Why a caller was not identified.
//!
//! What it does: says of a reason whether it is the caller's fault or ours. What it refuses to know: status codes and
//! wording towards the caller (every rejection looks alike from outside). Invariant: no rejection carries any part of the
//! evidence.

use super::dpop::{Nonce, RefusedProof};
use crate::reason::{Class, Reason};

/// The answer instead of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub kind: RejectionKind,
    pub reason: Reason,
    /// What the caller's next proof of possession needs, if that is all that is missing.
    pub nonce: Option<Nonce>,
}

/// Whose turn it is: the caller's to show something, something better, or to come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionKind {
    /// No evidence came. Answered 401 with a bare challenge (RFC 6750 section 3.1).
    NotPresented,
    /// Evidence came and does not hold. Answered 401.
    Rejected,
    /// We cannot judge the evidence now, through no fault of the caller. Answered 503.
    Unavailable,
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        let kind = match reason.class() {
            Some(Class::NotAuthenticated) => RejectionKind::NotPresented,
            Some(Class::Unavailable) => RejectionKind::Unavailable,
            _ => RejectionKind::Rejected,
        };
        Rejection {
            kind,
            reason,
            nonce: None,
        }
    }
}

impl From<RefusedProof> for Rejection {
    fn from(refused: RefusedProof) -> Self {
        Rejection {
            nonce: refused.nonce,
            ..Rejection::from(refused.reason)
        }
    }
}
