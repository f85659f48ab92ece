//! What is counted of the sinks of the audit trail.
//!
//! What it does: shows how far each sink is behind, and what became of its records. What it refuses to know: how they are sent.
//! Invariant: labels are names of the configuration and words of ours.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::registry::Making;
use crate::lock::Mutex;

/// One sink's figures since the start.
pub(crate) struct SinkFigures<'a> {
    pub sink: &'a str,
    pub lag_records: u64,
    pub lag_seconds: u64,
    pub sent: u64,
    /// By reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// By fault.
    pub failures: Vec<(&'static str, u64)>,
}

/// The metrics of sinks.
pub(super) struct SinkMetrics {
    lag_records: IntGaugeVec,
    lag_seconds: IntGaugeVec,
    sent: IntCounterVec,
    dropped: IntCounterVec,
    failures: IntCounterVec,
    /// One page at a time brings the counters up to date.
    counting: Mutex<()>,
}

impl SinkMetrics {
    pub(super) fn new(make: &Making) -> Result<Self, prometheus::Error> {
        Ok(SinkMetrics {
            lag_records: make.labelled_gauge(
                "audit_sink_lag_records",
                "Records that are written and not sent to the sink.",
                "sink",
            )?,
            lag_seconds: make.labelled_gauge(
                "audit_sink_lag_seconds",
                "Age of the oldest record that waits for the sink; 0: none waits.",
                "sink",
            )?,
            sent: make.counter(
                "audit_sink_sent_total",
                "Records that the sink took.",
                &["sink"],
            )?,
            dropped: make.counter(
                "audit_sink_dropped_total",
                "Records that the sink never gets, by reason: queue_full, rejected, file_gone or ended.",
                &["sink", "reason"],
            )?,
            failures: make.counter(
                "audit_sink_failures_total",
                "Tries to send that failed, by fault.",
                &["sink", "fault"],
            )?,
            counting: Mutex::new(()),
        })
    }

    pub(super) fn show(&self, all: &[SinkFigures<'_>]) {
        let _one_at_a_time = self.counting.lock();
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let raise = |counter: prometheus::IntCounter, to: u64| {
            counter.inc_by(to.saturating_sub(counter.get()));
        };
        self.lag_records.reset();
        self.lag_seconds.reset();
        for one in all {
            let records = self.lag_records.with_label_values(&[one.sink]);
            records.set(gauge(one.lag_records));
            let seconds = self.lag_seconds.with_label_values(&[one.sink]);
            seconds.set(gauge(one.lag_seconds));
            raise(self.sent.with_label_values(&[one.sink]), one.sent);
            for (reason, count) in &one.dropped {
                let labels = [one.sink, *reason];
                raise(self.dropped.with_label_values(&labels), *count);
            }
            for (fault, count) in &one.failures {
                let labels = [one.sink, *fault];
                raise(self.failures.with_label_values(&labels), *count);
            }
        }
    }
}
