//! What the gateway lives by and may lose: keys of issuers, bundles of trust domains, certificates of its own, sinks of its trail.
//!
//! What it does: looks at each source again and again, and leaves a record when one gives nothing new and when it gives again. What
//! it refuses to know: how a source is read, and for how long its last answer counts. Invariants: a source raises a loss once a
//! minute at most, and a return only after a loss that was told; one that the configuration no longer has is forgotten.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use crate::audit::SinkGap;
use crate::clock::UnixMillis;
use crate::reason::Reason;
use crate::telemetry::EventName;
use crate::workload_api;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Between two losses of one source that are told.
const QUIET_MILLIS: i64 = 60_000;

/// Each source of the present snapshot by what it gives, and why it gives nothing new.
type SourceFaults = BTreeMap<String, Option<&'static str>>;

/// Sources of which a loss was told: when, and whether their return was not.
#[derive(Default)]
struct ToldSources(BTreeMap<String, (UnixMillis, bool)>);

#[derive(Debug, PartialEq, Eq)]
enum SourceChange {
    Lost(String, &'static str),
    Returned(String),
}

impl ToldSources {
    /// What is to be told at `now`.
    fn changes(&mut self, found: SourceFaults, now: UnixMillis) -> Vec<SourceChange> {
        self.0.retain(|source, _| found.contains_key(source));
        let mut changes = Vec::new();
        for (source, fault) in found {
            let told = self.0.get(&source).copied();
            match (fault, told) {
                (Some(_), Some((_, true))) | (None, None | Some((_, false))) => {}
                (None, Some((at, true))) => {
                    self.0.insert(source.clone(), (at, false));
                    changes.push(SourceChange::Returned(source));
                }
                (Some(fault), told) => {
                    let since = told.map(|(at, _)| now.0.saturating_sub(at.0));
                    // A clock that was set back starts anew.
                    if !since.is_some_and(|since| (0..QUIET_MILLIS).contains(&since)) {
                        self.0.insert(source.clone(), (now, true));
                        changes.push(SourceChange::Lost(source, fault));
                    }
                }
            }
        }
        changes
    }
}

/// Looks until the gateway stops, or is gone.
pub(crate) async fn watch_sources(shared: Weak<Shared>) {
    let mut told = ToldSources::default();
    let mut told_sinks = ToldSources::default();
    let mut told_gaps = BTreeMap::<String, UnixMillis>::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if shared.draining.load(Ordering::Relaxed) {
            return;
        }
        for change in told.changes(faults(&shared), shared.clock.now()) {
            tell(&shared, change);
        }
        let now = shared.clock.now();
        let rows = shared.trail.sinks().rows(now).into_iter();
        let sinks = rows.map(|row| (row.name, row.fault)).collect();
        for change in told_sinks.changes(sinks, now) {
            tell_sink(&shared, change);
        }
        // The record of a gap may be left out as well: one a minute, that it does not feed itself.
        let is_due = |sink: &str| {
            let since = told_gaps.get(sink).map(|at| now.0.saturating_sub(at.0));
            !since.is_some_and(|since| (0..QUIET_MILLIS).contains(&since))
        };
        for (sink, gap) in shared.trail.sinks().take_gaps(is_due) {
            tell_gap(&shared, &sink, gap);
            told_gaps.insert(sink, now);
        }
    }
}

fn faults(shared: &Shared) -> SourceFaults {
    let snapshot = shared.snapshot.load();
    let identifier = &snapshot.identifier;
    let keys = identifier.readiness().into_iter();
    let keys = keys.chain(identifier.transmitters()).map(|issuer| {
        let fault = issuer.last_fault.map(|fault| fault.code());
        (format!("keys of `{}`", issuer.issuer), fault)
    });
    let own = snapshot.own_svids().into_keys().map(|socket| {
        let fault = workload_api::own_fault(&socket, shared.clock.now());
        let source = format!("certificate of ours from `{}`", socket.display());
        (source, fault)
    });
    keys.chain(own).collect()
}

fn tell(shared: &Shared, change: SourceChange) {
    match change {
        SourceChange::Lost(source, fault) => {
            tracing::error!(source, fault, "a source gives nothing new");
            let detail = format!("{source}: {fault}");
            shared.event(EventName::SourceLost, Reason::SourceSilent, Some(detail));
        }
        SourceChange::Returned(source) => {
            tracing::info!(source, "a source gives again");
            shared.event(
                EventName::SourceReturned,
                Reason::SourceAnswers,
                Some(source),
            );
        }
    }
}

fn tell_sink(shared: &Shared, change: SourceChange) {
    match change {
        SourceChange::Lost(sink, fault) => {
            let detail = format!("{sink}: {fault}");
            let (event, reason) = (EventName::AuditSinkLost, Reason::SinkSilent);
            shared.event(event, reason, Some(detail));
        }
        SourceChange::Returned(sink) => {
            tracing::info!(sink, "a sink of the audit trail takes records again");
            let (event, reason) = (EventName::AuditSinkReturned, Reason::SinkAnswers);
            shared.event(event, reason, Some(sink));
        }
    }
}

fn tell_gap(shared: &Shared, sink: &str, gap: SinkGap) {
    let SinkGap {
        first,
        last,
        records,
        why,
    } = gap;
    let detail = format!("{sink}: {records} records from {first} to {last} ({why})");
    tracing::error!(detail, "a sink of the audit trail lacks records");
    let (event, reason) = (EventName::AuditSinkGap, Reason::SinkLacks);
    shared.event(event, reason, Some(detail));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a source fails, fails otherwise, answers, fails within the minute and after it, and goes with the configuration.
    /// Guarantees: each loss and return is told once; a source that comes and goes raises a loss a minute, and what was not told
    /// lost is not told to be back.
    #[test]
    fn losses_and_returns_are_told_once_and_seldom() {
        let mut told = ToldSources::default();
        let lost = |why| Some(SourceChange::Lost("mesh".to_owned(), why));
        let returned = || Some(SourceChange::Returned("mesh".to_owned()));
        let rows = [
            ("good from the start", 0, Some(None), None),
            (
                "lost",
                1_000,
                Some(Some("unreachable")),
                lost("unreachable"),
            ),
            ("still", 1_500, Some(Some("unreachable")), None),
            ("otherwise", 2_000, Some(Some("timed_out")), None),
            ("back", 3_000, Some(None), returned()),
            ("still back", 3_500, Some(None), None),
            ("lost within the minute", 4_000, Some(Some("status")), None),
            ("back, untold", 5_000, Some(None), None),
            ("lost again", 6_000, Some(Some("status")), None),
            (
                "a minute later",
                61_000,
                Some(Some("status")),
                lost("status"),
            ),
            ("back at last", 62_000, Some(None), returned()),
            ("not configured", 63_000, None, None),
            ("new", 64_000, Some(Some("status")), lost("status")),
            ("gone while lost", 65_000, None, None),
            ("good", 66_000, Some(None), None),
            (
                "by another clock",
                130_000,
                Some(Some("status")),
                lost("status"),
            ),
            ("back by it", 130_500, Some(None), returned()),
            ("set back", 10, Some(Some("status")), lost("status")),
        ];
        for (what, at, fault, expected) in rows {
            let found = fault.map(|fault| ("mesh".to_owned(), fault));
            let changes = told.changes(found.into_iter().collect(), UnixMillis(at));
            assert_eq!(changes, Vec::from_iter(expected), "{what}");
        }
    }
}
