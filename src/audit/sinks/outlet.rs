//! Where a sink's entries go.
//!
//! What it does: opens one of the three kinds and sends batches. What it refuses to know: where entries come from, and what becomes of
//! those that are not taken. Invariant: a batch that was not taken may be sent again as it is.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::entry::SinkEntry;
use super::fault::{OutletFault, SinkFault, TakenBatch};
use super::otlp::OtlpOutlet;
use super::settings::{SinkKind, SinkSettings, SyslogSinkSettings};
use super::syslog::{SyslogForm, SyslogOutlet};
use super::witness::WitnessOutlet;
use crate::clock::Clock;
use crate::egress::StreamConnector;
use crate::pem;

/// For a connection to a receiver of syslog, with its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One place to send to.
pub(super) enum SinkOutlet {
    Stdout,
    Otlp(Box<OtlpOutlet>),
    Syslog(Box<SyslogOutlet>),
}

impl SinkOutlet {
    /// Reads the files that the settings name. Connects to nothing yet.
    pub(super) fn open(settings: &SinkSettings, clock: &Clock) -> Result<Self, OutletFault> {
        match &settings.kind {
            SinkKind::Stdout => Ok(SinkOutlet::Stdout),
            SinkKind::Otlp(otlp) => Ok(SinkOutlet::Otlp(Box::new(OtlpOutlet::open(
                otlp,
                settings,
                clock.clone(),
            )?))),
            // `WitnessRunner` asks it.
            SinkKind::Witness(witness) => Err(WitnessOutlet::open(witness)
                .err()
                .unwrap_or(OutletFault::Form)),
            SinkKind::Syslog(syslog) => {
                let form = SyslogForm::new(syslog, &settings.instance);
                let connector = syslog_connector(syslog)?;
                Ok(SinkOutlet::Syslog(Box::new(SyslogOutlet::new(
                    connector, form,
                ))))
            }
        }
    }

    /// Sends all of it, or says why not. What was sent of a batch that failed may be sent again.
    pub(super) async fn send(&mut self, batch: &[SinkEntry]) -> Result<TakenBatch, SinkFault> {
        match self {
            SinkOutlet::Stdout => {
                let mut lines = Vec::new();
                for entry in batch {
                    lines.extend_from_slice(&entry.line());
                    lines.push(b'\n');
                }
                let mut out = io::stdout().lock();
                let written = out.write_all(&lines).and_then(|()| out.flush());
                written.map_err(SinkFault::Stdout)?;
                Ok(TakenBatch::default())
            }
            SinkOutlet::Otlp(otlp) => otlp.send(batch).await,
            SinkOutlet::Syslog(syslog) => {
                syslog.send(batch).await?;
                Ok(TakenBatch::default())
            }
        }
    }

    /// The same with keys and certificates as they are now; `None`: it is to be opened anew.
    pub(super) async fn renewed(self, settings: &SinkSettings) -> Option<Self> {
        match (self, &settings.kind) {
            (SinkOutlet::Syslog(mut outlet), SinkKind::Syslog(syslog)) => {
                // What cannot be read now was refused with the reload; what was read before goes on.
                if let Ok(connector) = syslog_connector(syslog) {
                    outlet.renew(connector).await;
                }
                Some(SinkOutlet::Syslog(outlet))
            }
            _ => None,
        }
    }

    /// Ends it; whether everything that was sent has surely arrived.
    pub(super) async fn finish(self) -> bool {
        match self {
            SinkOutlet::Stdout | SinkOutlet::Otlp(_) => true,
            SinkOutlet::Syslog(syslog) => syslog.finish().await,
        }
    }
}

fn syslog_connector(settings: &SyslogSinkSettings) -> Result<StreamConnector, OutletFault> {
    let tls = match &settings.tls {
        None => None,
        Some(given) => {
            let builder = pem::client_tls(pem::roots(given.ca.as_deref())?)?;
            let config = match &given.certificate {
                Some((certificate, key)) => builder
                    .with_client_auth_cert(pem::chain(certificate)?, pem::private_key_of(key)?)?,
                None => builder.with_no_client_auth(),
            };
            let name = ServerName::try_from(given.server_name.clone());
            Some((Arc::new(config), name.map_err(|_| OutletFault::Form)?))
        }
    };
    let place = (settings.host.as_str(), settings.port);
    Ok(StreamConnector::new(
        place,
        tls,
        &settings.egress,
        CONNECT_TIMEOUT,
    )?)
}
