//! Why a store gives no secret.
//!
//! What it does: names each cause, and tells those of the whole store from those of one secret. What it refuses to know: what
//! is done about it. Invariant: no fault repeats what a store said.

use crate::aws::AwsFault;
use crate::causes::chain;
use crate::egress::{ClientFault, OutboundFault};
use crate::pem::PemFault;
use crate::secret::{SecretFault, UnreadableSecret};

/// Why a store gave no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFault {
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    #[error("the store does not answer in time")]
    TimedOut,
    /// 503.
    #[error("the store is sealed or under maintenance")]
    Sealed,
    /// 429, 472 and 473: a standby node, or too many questions.
    #[error("the store's node is on standby, or asked too often")]
    Standby,
    /// 412: what it should know has not reached it yet.
    #[error("the store's node is behind the others")]
    Behind,
    /// 403 with a token that was made a moment ago.
    #[error("the store does not let the gateway read this secret")]
    Denied,
    #[error("the store has no such secret")]
    Missing,
    /// 404, with what is left of the version.
    #[error("the secret's version was deleted")]
    Deleted,
    #[error("the secret has no such field with a text")]
    NoField,
    #[error("the secret {0}")]
    Unusable(SecretFault),
    #[error("the login cannot be tried: {0}")]
    OwnProof(#[from] UnreadableSecret),
    /// What proves the gateway, a signed call to AWS, cannot be made.
    #[error("the call that proves the gateway to AWS cannot be signed: {}", chain(.0))]
    Unsigned(#[from] AwsFault),
    /// 400 or 403 to a login.
    #[error("the store refuses the gateway's login")]
    LoginRefused,
    /// An alarm: another may have opened it.
    #[error(
        "the wrapped secret ID cannot be opened: another may have opened it before, or it has expired"
    )]
    Unwrap,
    #[error("the store answers with status {0}")]
    Status(u16),
    #[error("the store's answer is not what its API promises")]
    Answer,
}

impl StoreFault {
    /// A stable code, for metrics and records.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            StoreFault::Unreachable(_) => "unreachable",
            StoreFault::TimedOut => "timed_out",
            StoreFault::Sealed => "sealed",
            StoreFault::Standby => "standby",
            StoreFault::Behind => "behind",
            StoreFault::Denied => "denied",
            StoreFault::Missing => "missing",
            StoreFault::Deleted => "deleted",
            StoreFault::NoField => "no_field",
            StoreFault::Unusable(_) => "unusable",
            StoreFault::OwnProof(_) | StoreFault::Unsigned(_) => "own_proof",
            StoreFault::LoginRefused => "login_refused",
            StoreFault::Unwrap => "unwrap",
            StoreFault::Status(_) => "status",
            StoreFault::Answer => "answer",
        }
    }

    /// Whether other secrets would meet the same.
    pub(crate) fn is_of_the_store(&self) -> bool {
        !matches!(
            self,
            StoreFault::Denied
                | StoreFault::Missing
                | StoreFault::Deleted
                | StoreFault::NoField
                | StoreFault::Unusable(_)
                | StoreFault::Answer
        )
    }
}

impl From<OutboundFault> for StoreFault {
    fn from(fault: OutboundFault) -> Self {
        match fault {
            OutboundFault::TimedOut(_) => StoreFault::TimedOut,
            OutboundFault::TooLarge(_) => StoreFault::Answer,
            other => StoreFault::Unreachable(chain(&other)),
        }
    }
}

/// Why a store cannot even be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenStoreFault {
    #[error("`vault.store.ca`")]
    Roots(#[from] PemFault),
    #[error("`vault.store`")]
    Client(#[from] ClientFault),
}
