//! What happened here that others may want to log, count or record.
//!
//! What it does: names the events of this room and hands them to one listener.
//! What it refuses to know: logs, metrics, the audit trail. Invariants: an event holds no token and no
//! part of one but an escaped, shortened key id; reporting never waits.

use std::sync::Arc;

use crate::clock::UnixMillis;
use crate::reason::Reason;
use crate::telemetry::text::line;

use super::facts::Method;
use super::fetch::FetchFault;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The issuer's keys were read. `changed`: the usable keys differ from those before.
    KeysRefreshed {
        issuer: Arc<str>,
        keys: usize,
        changed: bool,
    },
    /// They could not be read; the last good ones stay in use for `stale_keys`. `detail` is for the log.
    KeysRefreshFailed {
        issuer: Arc<str>,
        fault: FetchFault,
        detail: String,
    },
    /// A token named a key that we do not have, so the keys are read ahead of time. `key_id` is escaped
    /// and at most 128 bytes. At most two of these a minute and issuer.
    KeyWanted { issuer: Arc<str>, key_id: String },
    /// Discovery now names another host for the keys: worth a look (RFC 9700 section 4.4).
    KeysMoved {
        issuer: Arc<str>,
        from: String,
        to: String,
    },
    /// Who judges tokens of this issuer could not be asked, or gave no answer that can be read. `detail` is for the log.
    ConsultationFailed {
        issuer: Arc<str>,
        reason: Reason,
        detail: String,
    },
    /// A token counts by its signature alone, because its cluster's API server is away (`review: prefer`).
    ReviewSkipped { issuer: Arc<str> },
    /// What a provider told to have ended was not taken, because its share of the memory is full.
    RevocationsRefused { sender: Arc<str> },
    /// A client token was shown and holds. `name` is the configuration's.
    ClientTokenUsed { name: Arc<str>, at: UnixMillis },
    /// A caller showed evidence, or nothing (`method` is `None`), and it was judged.
    Identified {
        method: Option<Method>,
        outcome: Identification,
    },
    /// A TLS handshake's client certificate was refused; no request will come of it. A `Reason` code.
    ClientCertificateRefused { listener: Arc<str>, reason: Reason },
}

/// What became of a caller's evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identification {
    Accepted,
    Refused,
    /// It could not be judged, through no fault of the caller's.
    Unavailable,
}

impl Identification {
    /// In the order of their declaration.
    pub(crate) const ALL: [Identification; 3] = [
        Identification::Accepted,
        Identification::Refused,
        Identification::Unavailable,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Identification::Accepted => "accepted",
            Identification::Refused => "refused",
            Identification::Unavailable => "unavailable",
        }
    }
}

/// Where events go.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Calls `listener` on whatever thread the event happens; it must not block.
    pub fn to(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Events(Arc::new(listener))
    }

    /// Events go nowhere: for `check`, `explain` and benches.
    pub fn ignored() -> Self {
        Events::to(|_| ())
    }

    pub(super) fn report(&self, event: Event) {
        (self.0)(event);
    }
}

/// A stranger's text made fit for one line of a log.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_LIMIT_BYTES: usize = 128;
    line(text, SHOWN_LIMIT_BYTES).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_stays_on_its_line() {
        for (text, expected) in [
            ("key-1", "key-1"),
            ("a\nb\x1b[1m", "a\\u{a}b\\u{1b}[1m"),
            ("\u{202e}", "\\u{202e}"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert!(shown(&"x".repeat(5000)).len() <= 128);
    }
}
