//! `audit:` and `vault.audit_keys`, checked.
//!
//! What it does: says where the trail goes, how it is sealed, and what happens when it cannot. What it refuses to know: records.
//! Invariant: without keys nothing is sealed, and what has no use without them is an error.

use std::time::Duration;

use super::limits::{duration_between, hours, size_between};
use super::log_name::log_name;
use super::raw::{RawAudit, RawConfig, RawDurability, RawOnFailure};
use super::report::{ConfigFindings, Content};
use super::sinks::sinks;
use super::vault;
use crate::audit::{AuditSettings, Durability, OnFailure, RotationSettings, SealSettings};
use crate::egress::Egress;
use crate::limits::Limits;

/// The most keys: the current one, and the one before.
const KEY_LIMIT: usize = 2;
/// Records between two checkpoints: as many as one record can repeat two bytes of.
const RECORDS: u32 = 1000;

pub(crate) fn audit(
    report: &mut ConfigFindings<'_>,
    whole: &RawConfig,
    limits: &Limits,
    egress: &Egress,
) -> Option<AuditSettings> {
    let raw = &whole.audit;
    let file = raw
        .file
        .as_ref()
        .map(|given| report.path(given, "audit.file", Content::Created));
    // Bodies keep the most of the memory, whatever waits for the disk; a few calls find room in any case.
    let default = (limits.buffered_total_bytes / 16).clamp(64 << 10, 16 << 20);
    let most = (limits.buffered_total_bytes / 2).max(default);
    let given = raw.queue_bytes.as_ref();
    let queue_bytes = size_between(report, given, "audit.queue_bytes", default, 64 << 10..=most);
    let seal = seal(report, whole);
    let rotation = rotation(report, raw);
    let sinks = sinks(report, whole, egress);
    Some(AuditSettings {
        file: match file {
            Some(path) => Some(path?),
            None => None,
        },
        on_failure: match raw.on_failure {
            Some(RawOnFailure::Continue) => OnFailure::Continue,
            // Nothing passes unrecorded unless the operator decided so.
            Some(RawOnFailure::Refuse) | None => OnFailure::Refuse,
        },
        // A few seconds of a busy gateway, a few MiB of records.
        queue_records: raw
            .queue
            .and_then(|records| usize::try_from(records).ok())
            .unwrap_or(4096),
        queue_bytes,
        seal,
        durability: match raw.durability {
            Some(RawDurability::EveryRecord) => Durability::EveryRecord,
            // A call does not wait for a disk unless the operator decided so.
            Some(RawDurability::Interval) | None => Durability::Interval,
        },
        rotation,
        sinks,
    })
}

/// `None`: nothing is sealed, or an error was reported.
fn seal(report: &mut ConfigFindings<'_>, whole: &RawConfig) -> Option<SealSettings> {
    let (raw, keys) = (&whole.audit, &whole.vault.audit_keys);
    let Some(first) = keys.first() else {
        let hint = "make one with `openssl rand -base64 32`, and add `vault: { audit_keys: [{ file: … }] }`";
        let texts = [
            (&raw.name, "name"),
            (&raw.instance, "instance"),
            (&raw.checkpoints, "checkpoints"),
        ];
        for (given, what) in texts {
            // Sinks tell whose records they are.
            let is_told = what != "checkpoints" && !raw.sinks.is_empty();
            if let Some(given) = given
                && !is_told
            {
                let message =
                    format!("`audit.{what}` needs `vault.audit_keys`, which sign checkpoints");
                report.error_with_hint(given, message, hint);
            }
        }
        if let Some(given) = &raw.every {
            let message = "`audit.every` needs `vault.audit_keys`, which sign checkpoints";
            report.error_with_hint(given, message, hint);
        }
        return None;
    };
    if let Some(surplus) = keys.get(KEY_LIMIT) {
        report.error(
            surplus,
            format!(
                "at most {KEY_LIMIT} audit keys may overlap: the one that signs, and the one before"
            ),
        );
    }
    let keys = keys.iter().enumerate().filter_map(|(index, key)| {
        let subject = format!("vault.audit_keys[{index}]");
        vault::reference(report, key, &subject, Content::SessionKey)
    });
    let keys = keys.collect();
    let Some(file) = &raw.file else {
        let hint = "add `audit: { file: audit.jsonl }`";
        report.error_with_hint(
            first,
            "`vault.audit_keys` need an `audit.file`: a trail on standard output has no checkpoints",
            hint,
        );
        return None;
    };
    let checkpoints = match &raw.checkpoints {
        Some(given) => report.path(given, "audit.checkpoints", Content::Created)?,
        None => {
            let mut path = report
                .resolve(file, &file.value, "audit.file")?
                .into_os_string();
            path.push(".checkpoints");
            path.into()
        }
    };
    let (name, instance) = log_name(report, whole)?;
    let every = raw.every.as_ref().map(|given| &given.value);
    Some(SealSettings {
        origin: format!("{name}/{instance}"),
        keys,
        checkpoints,
        records: every
            .and_then(|every| every.records)
            .unwrap_or(RECORDS)
            .clamp(1, RECORDS) as usize,
        interval: duration_between(
            report,
            every.and_then(|every| every.time.as_ref()),
            "audit.every.time",
            // What a thief of the disk could change without a trace, at most.
            Duration::from_secs(10),
            Duration::from_millis(100)..=hours(1),
        ),
    })
}

fn rotation(report: &mut ConfigFindings<'_>, raw: &RawAudit) -> Option<RotationSettings> {
    let given = raw.rotate.as_ref()?;
    if raw.file.is_none() {
        let hint = "add `audit: { file: audit.jsonl }`";
        report.error_with_hint(given, "`audit.rotate` needs an `audit.file`", hint);
    }
    let (size, time) = (given.value.size.as_ref(), given.value.time.as_ref());
    if size.is_none() && time.is_none() {
        report.error(given, "`audit.rotate` needs `size`, `time` or both");
    }
    let bytes = size.map(|size| {
        size_between(
            report,
            Some(size),
            "audit.rotate.size",
            1 << 30,
            1 << 16..=1 << 40,
        )
    });
    let least = Duration::from_secs(60);
    let interval = time.map(|time| {
        duration_between(
            report,
            Some(time),
            "audit.rotate.time",
            hours(24),
            least..=hours(24 * 366),
        )
    });
    Some(RotationSettings { bytes, interval })
}
