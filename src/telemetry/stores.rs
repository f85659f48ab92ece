//! What is counted of the store of secrets.
//!
//! What it does: counts looks and probes by what became of them, and shows where secrets are in their life. What it refuses to
//! know: which secrets. Invariant: labels are words of ours.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::registry::Making;

/// The metrics of the store of secrets.
pub(super) struct StoreMetrics {
    looks: IntCounterVec,
    probes: IntCounterVec,
    credentials: IntGaugeVec,
    unconfirmed: IntGauge,
}

impl StoreMetrics {
    pub(super) fn new(make: &Making) -> Result<Self, prometheus::Error> {
        Ok(StoreMetrics {
            looks: make.counter(
                "store_looks_total",
                "Looks at secrets in the store, by outcome: ok, or why there was none.",
                &["outcome"],
            )?,
            probes: make.counter(
                "credential_probes_total",
                "Empty exports with which new access tokens were tried, by outcome: taken, refused or unknown.",
                &["outcome"],
            )?,
            credentials: make.labelled_gauge(
                "stored_credentials",
                "Secrets of the store by state: absent, current, pending, refused, unconfirmed or stale.",
                "state",
            )?,
            unconfirmed: make.gauge(
                "stored_credentials_unconfirmed_seconds",
                "Seconds since the store confirmed the secret that it confirmed longest ago.",
            )?,
        })
    }

    pub(super) fn look(&self, outcome: &str) {
        self.looks.with_label_values(&[outcome]).inc();
    }

    pub(super) fn probe(&self, outcome: &str) {
        self.probes.with_label_values(&[outcome]).inc();
    }

    pub(super) fn credentials(&self, states: &[(&'static str, i64)], unconfirmed_seconds: i64) {
        for (state, count) in states {
            self.credentials.with_label_values(&[state]).set(*count);
        }
        self.unconfirmed.set(unconfirmed_seconds);
    }
}
