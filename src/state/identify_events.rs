//! What the room `identify` tells, as counts and lines of the log.
//!
//! What it does: counts and logs each event. What it refuses to know: how evidence is judged. Invariant: what is counted with
//! each call is looked up by its labels once.

use std::sync::{Arc, OnceLock};

use prometheus::IntCounter;

use crate::identify::{Event, Identification, Method};
use crate::telemetry::{EventName, Metrics};

/// The one listener of the room's events.
pub(crate) struct IdentifyEvents {
    metrics: Arc<Metrics>,
    /// By method, the last of which is none, and by outcome; made when first wanted, so that a method that nothing uses has no
    /// series.
    identifications: [[OnceLock<IntCounter>; OUTCOMES]; METHODS],
}

const METHODS: usize = Method::ALL.len() + 1;
const OUTCOMES: usize = Identification::ALL.len();

impl IdentifyEvents {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        IdentifyEvents {
            metrics,
            identifications: Default::default(),
        }
    }

    /// Tells what happened.
    pub(crate) fn tell(&self, event: &Event) {
        let metrics = &self.metrics;
        match event {
            Event::KeysRefreshed {
                issuer,
                keys,
                changed,
            } => {
                metrics.keys_refreshed(issuer, true);
                if *changed {
                    tracing::info!(%issuer, keys, "key set replaced");
                }
            }
            Event::KeysRefreshFailed {
                issuer,
                fault,
                detail,
            } => {
                metrics.keys_refreshed(issuer, false);
                tracing::warn!(%issuer, fault = fault.code(), detail, "key set could not be refreshed");
            }
            Event::KeyWanted { issuer, key_id } => {
                metrics.event(EventName::KeyWanted);
                tracing::info!(%issuer, key_id, "unknown key: key set is read ahead of time");
            }
            Event::KeysMoved { issuer, from, to } => {
                metrics.event(EventName::KeysMoved);
                tracing::warn!(%issuer, from, to, "discovery names another host for the keys");
            }
            Event::ConsultationFailed {
                issuer,
                reason,
                detail,
            } => {
                metrics.event(EventName::ConsultationFailed);
                tracing::warn!(%issuer, reason = reason.code(), detail, "a token could not be asked about");
            }
            Event::ReviewSkipped { issuer } => {
                metrics.event(EventName::ReviewSkipped);
                tracing::debug!(%issuer, "a token counts by its signature alone");
            }
            Event::RevocationsRefused { sender } => {
                metrics.event(EventName::RevocationsRefused);
                tracing::warn!(%sender, "no room for what it says has ended; it is told to come again");
            }
            Event::ClientTokenUsed { name, at } => metrics.client_token_used(name, at.seconds()),
            Event::Identified { method, outcome } => {
                self.identified(*method, *outcome);
            }
            // The accept loop tells of the same handshake, with the address, and counts it.
            Event::ClientCertificateRefused { .. } => {}
        }
    }

    fn identified(&self, method: Option<Method>, outcome: Identification) {
        let row = method.map_or(METHODS - 1, |method| method as usize);
        let row = self.identifications.get(row);
        let Some(known) = row.and_then(|row| row.get(outcome as usize)) else {
            return;
        };
        let counter = || {
            let method = method.map_or("none", Method::name);
            self.metrics.identifications(method, outcome.name())
        };
        known.get_or_init(counter).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: every pair of method and outcome is told, some more often. Guarantees: each is counted under its own labels,
    /// and what was never told has no series.
    #[test]
    fn each_pair_has_its_own_count() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let events = IdentifyEvents::new(metrics.clone());
        let series = || {
            let text = String::from_utf8(metrics.render()).unwrap();
            let ours = text
                .lines()
                .filter(|line| line.starts_with("lightkeeper_identifications_total{"));
            ours.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(series(), Vec::<String>::new());
        let methods = Method::ALL.map(Some).into_iter().chain([None]);
        let mut expected = Vec::new();
        for (place, method) in methods.enumerate() {
            for (column, outcome) in Identification::ALL.into_iter().enumerate() {
                let times = place * OUTCOMES + column + 1;
                for _ in 0..times {
                    events.tell(&Event::Identified { method, outcome });
                }
                let (method, outcome) = (method.map_or("none", Method::name), outcome.name());
                expected.push(format!(
                    r#"lightkeeper_identifications_total{{method="{method}",outcome="{outcome}"}} {times}"#
                ));
            }
        }
        let (mut told, mut wanted) = (series(), expected);
        told.sort();
        wanted.sort();
        assert_eq!(told, wanted);
    }
}
