//! A login under way: what must come back, kept by the browser that began it.
//!
//! What it does: seals state, nonce and PKCE verifier into the login cookie, and opens it again. What it refuses to
//! know: the provider. Invariants: bound to the origin and to the login settings that it began under; it ends ten
//! minutes after it began.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seal::{Keyring, Purpose};
use super::{CLOCK_SKEW_SECONDS, LOGIN_COOKIE, SetCookie, cookie};
use crate::accept::ReturnPath;
use crate::clock::UnixMillis;
use crate::reason::Reason;

/// How long a person may take at the provider, in seconds.
pub(crate) const LIFETIME_SECONDS: i64 = 600;

/// What is sealed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Transaction {
    pub state: String,
    pub nonce: String,
    /// PKCE's verifier (RFC 7636 section 4.1).
    pub verifier: String,
    pub return_to: String,
    /// Of the login settings, so that a change of them in between ends it.
    pub stamp: String,
    /// Unix seconds.
    pub begun: i64,
}

impl Transaction {
    pub(crate) fn seal(&self, keys: &Keyring, origin: &str) -> Result<SetCookie, Reason> {
        let plain = Zeroizing::new(serde_json::to_vec(self).map_err(|_| Reason::LoginUnsealed)?);
        let sealed = keys
            .seal(
                Purpose {
                    name: LOGIN_COOKIE,
                    origin,
                },
                &plain,
            )
            .ok_or(Reason::LoginUnsealed)?;
        cookie(LOGIN_COOKIE, &sealed, LIFETIME_SECONDS).ok_or(Reason::LoginOrigin)
    }

    /// Opens what came back; whether it was spent is asked elsewhere.
    pub(crate) fn open(
        keys: &Keyring,
        value: Option<&str>,
        origin: &str,
        stamp: &str,
        now: UnixMillis,
    ) -> Result<Self, Reason> {
        let value = value.ok_or(Reason::LoginTransactionMissing)?;
        let opened = keys.open(
            Purpose {
                name: LOGIN_COOKIE,
                origin,
            },
            value,
        );
        let plain = opened.ok_or(Reason::LoginTransactionInvalid)?;
        let transaction: Transaction =
            serde_json::from_slice(&plain).map_err(|_| Reason::LoginTransactionInvalid)?;
        if transaction.stamp != stamp {
            return Err(Reason::LoginTransactionInvalid);
        }
        if now.seconds() >= transaction.ends()
            || now.seconds() < transaction.begun.saturating_sub(CLOCK_SKEW_SECONDS)
        {
            return Err(Reason::LoginTransactionExpired);
        }
        Ok(transaction)
    }

    /// Unix seconds.
    pub(crate) fn ends(&self) -> i64 {
        self.begun.saturating_add(LIFETIME_SECONDS)
    }

    /// Parsed again: settings may have become stricter.
    pub(crate) fn return_path(&self) -> ReturnPath {
        ReturnPath::parse(&self.return_to).unwrap_or_else(ReturnPath::home)
    }
}
