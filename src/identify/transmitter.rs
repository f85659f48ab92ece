//! Transmitters of security events (OpenID Shared Signals Framework 1.0), and whose subjects each speaks for.
//!
//! What it does: opens the keys and secret of each transmitter, and keeps what did not change. What it refuses to know: what
//! an event says. Invariants: a transmitter's tokens identify no caller; it speaks for the issuers that the configuration
//! names for it, and for no other.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::Surroundings;
use super::issuer::{Issuer, IssuerFault};
use super::settings::TransmitterSettings;
use crate::reason::Reason;
use crate::secret::{Secret, UnreadableSecret};

/// One transmitter at work.
pub(super) struct Transmitter {
    /// Its keys, kept like an issuer's.
    pub source: Arc<Issuer>,
    /// The issuers whose subjects it speaks for.
    pub issuers: Vec<Arc<Issuer>>,
    token: Option<Secret>,
}

/// What is wrong with a transmitter's settings or files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransmitterFault {
    #[error("ssf: {0}")]
    Source(#[source] IssuerFault),
    #[error("ssf `{name}`: token")]
    Token {
        name: String,
        #[source]
        cause: UnreadableSecret,
    },
    #[error("ssf `{name}`: there is no issuer `{issuer}`")]
    NoIssuer { name: String, issuer: String },
}

impl Transmitter {
    /// Reads the files and begins to fetch keys. `previous`: the transmitters before, whose keys are kept where they still
    /// hold.
    pub(super) fn open(
        settings: &TransmitterSettings,
        surroundings: &Surroundings,
        issuers: &[Arc<Issuer>],
        previous: &[Transmitter],
    ) -> Result<Transmitter, TransmitterFault> {
        let name = &settings.source.name;
        let earlier = previous
            .iter()
            .map(|transmitter| &transmitter.source)
            .find(|source| *source.name == **name);
        let source = Issuer::open(&settings.source, surroundings, earlier);
        let spoken_for = settings.issuers.iter().map(|wanted| {
            let found = issuers.iter().find(|issuer| *issuer.name == **wanted);
            found.cloned().ok_or_else(|| TransmitterFault::NoIssuer {
                name: name.clone(),
                issuer: wanted.clone(),
            })
        });
        let token = settings.token.as_ref().map(|reference| reference.open());
        Ok(Transmitter {
            source: source.map_err(TransmitterFault::Source)?,
            issuers: spoken_for.collect::<Result<_, _>>()?,
            token: token.transpose().map_err(|cause| TransmitterFault::Token {
                name: name.clone(),
                cause,
            })?,
        })
    }

    /// Whether a push shows what was agreed with the transmitter, if anything was. Constant time.
    pub(super) fn admits(&self, shown: Option<&[u8]>) -> Result<(), Reason> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        verify_slices_are_equal(token.expose(), shown.unwrap_or_default())
            .map_err(|_| Reason::PushUnproven)
    }
}
