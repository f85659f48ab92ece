//! Whether a signature is an issuer's.
//!
//! What it does: finds the key that a token names and checks its signature; asks for newer keys where it is not there. What it
//! refuses to know: which tokens are taken, and what they say. Invariant: a key that may exist but cannot be looked up now is
//! "unavailable" and not "rejected".

use tokio::time::Instant;

use crate::clock::UnixMillis;
use crate::reason::Reason;

use super::jwks::{FORCED_WAIT, LiveKeys, RefreshOutcome};
use super::keys::FoundKey;
use super::token::Unproven;

/// The key set's stamp if the signature holds. Keys that are not there are asked for at most twice: a reading under way may have
/// begun too early.
pub(super) async fn verify(
    live: &LiveKeys,
    token: &Unproven<'_>,
    now: UnixMillis,
) -> Result<u64, Reason> {
    let deadline = Instant::now() + FORCED_WAIT;
    let key_id = token.key_id.as_deref();
    let mut asked = 0;
    loop {
        let missing = {
            let keys = live.current(now).ok_or(Reason::KeysUnavailable)?;
            let keys = keys.as_ref().ok_or(Reason::KeysUnavailable)?;
            match keys.find(key_id, token.algorithm) {
                FoundKey::Key(key) if key.verifies(token.signed, token.signature) => {
                    return Ok(keys.stamp);
                }
                // Keys without ids are replaced without a trace but this one.
                FoundKey::Key(_) if key_id.is_none() => Reason::TokenSignature,
                FoundKey::Key(_) => return Err(Reason::TokenSignature),
                FoundKey::OtherAlgorithm => return Err(Reason::TokenAlgorithm),
                FoundKey::Nothing => Reason::TokenKeyUnknown,
            }
        };
        asked += 1;
        let answer = if asked > 2 {
            RefreshOutcome::NotNow
        } else {
            live.ask(key_id, deadline).await
        };
        match answer {
            RefreshOutcome::Read => {}
            RefreshOutcome::TimedOut => return Err(Reason::KeysUnavailable),
            RefreshOutcome::NotNow if live.failing() => {
                return Err(Reason::KeysUnavailable);
            }
            RefreshOutcome::NotNow => return Err(missing),
        }
    }
}
