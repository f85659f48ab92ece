//! What is counted where telemetry goes to two backends.
//!
//! What it does: counts the items of both legs side by side, and shows what waits. What it refuses to know: which app wants it.
//! Invariants: labels are names of the configuration and words of ours; both legs of a pair are counted over the same items.

use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::{IntCounterVec, IntGaugeVec};

use super::registry::Making;

/// The metrics of legs.
pub(super) struct LegMetrics {
    items: IntCounterVec,
    queued_bytes: IntGaugeVec,
    oldest: IntGaugeVec,
}

/// One leg of a pair, in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LegLabels<'a> {
    pub backend: &'a str,
    /// The other backend of the pair.
    pub against: &'a str,
    /// `primary`, `require` or `mirror`.
    pub leg: &'static str,
    pub project: &'a str,
    pub signal: &'static str,
}

impl LegMetrics {
    pub(super) fn new(make: &Making) -> Result<Self, prometheus::Error> {
        let items = make.counter(
            "leg_items_total",
            "Items of apps that go to two backends, by backend, the one it is compared with, leg (primary, require or mirror), project, signal and result.",
            &["backend", "against", "leg", "project", "signal", "result"],
        )?;
        let queued_bytes = make.labelled_gauge(
            "mirror_queued_bytes",
            "Bytes of copies that wait for a backend to which apps are mirrored (ingest.mirror.buffer).",
            "backend",
        )?;
        let oldest = make.labelled_gauge(
            "mirror_oldest_seconds",
            "How long the oldest of these copies has waited.",
            "backend",
        )?;
        Ok(LegMetrics {
            items,
            queued_bytes,
            oldest,
        })
    }

    /// `results`: how many items came to what.
    pub(super) fn count(&self, leg: &LegLabels<'_>, results: &[(&'static str, u64)]) {
        let LegLabels {
            backend,
            against,
            leg,
            project,
            signal,
        } = *leg;
        for (result, count) in results.iter().filter(|(_, count)| *count > 0) {
            self.items
                .with_label_values(&[backend, against, leg, project, signal, result])
                .inc_by(*count);
        }
    }

    /// How many items had this result on one leg of a pair so far, of all signals.
    pub(super) fn of(&self, leg: &LegLabels<'_>, result: &str) -> u64 {
        let wanted = [
            ("backend", leg.backend),
            ("against", leg.against),
            ("leg", leg.leg),
            ("project", leg.project),
            ("result", result),
        ];
        let families = self.items.collect();
        let all = families.iter().flat_map(|family| family.get_metric());
        let own = all.filter(|one| {
            let labels = one.get_label();
            wanted.iter().all(|(name, value)| {
                let mut found = labels.iter().filter(|label| label.name() == *name);
                found.any(|label| label.value() == *value)
            })
        });
        // A counter of whole numbers: it is far from where a float loses one.
        own.map(|one| one.get_counter().get_value() as u64).sum()
    }

    /// What waits now, of each backend that anything ever waited for.
    pub(super) fn waits<'a>(&self, queues: impl Iterator<Item = (&'a str, u64, Duration)>) {
        self.queued_bytes.reset();
        self.oldest.reset();
        for (backend, bytes, oldest) in queues {
            let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            let label = &[backend];
            self.queued_bytes.with_label_values(label).set(gauge(bytes));
            self.oldest
                .with_label_values(label)
                .set(gauge(oldest.as_secs()));
        }
    }
}
