//! `limits:` and the durations of other parts, checked.
//!
//! What it does: reads sizes and durations and holds them between bounds. What it refuses to
//! know: how a limit is enforced. Invariant: nothing is unlimited, and only what may be zero is.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::raw::{RawConfig, RawLimits, RawService};
use super::report::ConfigFindings;
use crate::document::Spanned;
use crate::document::quantity::{
    self, DURATION_FORM, RawDuration, RawSize, SIZE_FORM, show_duration, show_size,
};
use crate::limits::{Limits, QuotaStatus, alone_bytes, alone_unproven_bytes};

const TIB: u64 = 1 << 40;

pub(crate) fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

pub(crate) fn limits(report: &mut ConfigFindings<'_>, raw: &RawLimits) -> Limits {
    let default = Limits::default();
    let mut size = |given: &Option<Spanned<RawSize>>, key: &str, default: u64, most: u64| {
        size_between(
            report,
            given.as_ref(),
            &format!("limits.{key}"),
            default,
            1..=most,
        )
    };
    let body_bytes = size(&raw.body, "body", default.body_bytes, TIB);
    let decompressed_body_bytes = size(
        &raw.decompressed_body,
        "decompressed_body",
        default.decompressed_body_bytes,
        TIB,
    );
    let header_bytes = size(&raw.header, "header", default.header_bytes.into(), 16 << 20);
    let token_bytes = size(&raw.token, "token", default.token_bytes.into(), 1 << 20);
    let buffered_total_bytes = size(
        &raw.buffered_total,
        "buffered_total",
        default.buffered_total_bytes,
        TIB,
    );
    let response_bytes = size(&raw.response, "response", default.response_bytes, TIB);
    let body_rate_bytes_per_second = size(
        &raw.body_rate,
        "body_rate",
        default.body_rate_bytes_per_second,
        1 << 30,
    );

    let per_address = raw.connections_per_address.as_ref();
    let mut wait = |given: &Option<Spanned<RawDuration>>, key: &str, default: Duration, range| {
        duration_between(
            report,
            given.as_ref(),
            &format!("limits.{key}"),
            default,
            range,
        )
    };
    let least = Duration::from_millis(1);
    let checked = Limits {
        body_bytes,
        decompressed_body_bytes,
        header_bytes: u32::try_from(header_bytes).unwrap_or(default.header_bytes),
        header_count: raw.headers.unwrap_or(default.header_count),
        token_bytes: u32::try_from(token_bytes).unwrap_or(default.token_bytes),
        buffered_total_bytes,
        attributes_per_resource: raw.attributes.unwrap_or(default.attributes_per_resource),
        response_bytes,
        connections: raw.connections.unwrap_or(default.connections),
        connections_per_address: per_address
            .map_or(default.connections_per_address, |given| given.value),
        streams: raw.streams.unwrap_or(default.streams),
        handshake_timeout: wait(
            &raw.handshake_timeout,
            "handshake_timeout",
            default.handshake_timeout,
            least..=hours(1),
        ),
        header_timeout: wait(
            &raw.header_timeout,
            "header_timeout",
            default.header_timeout,
            least..=hours(1),
        ),
        idle_timeout: wait(
            &raw.idle_timeout,
            "idle_timeout",
            default.idle_timeout,
            least..=hours(24),
        ),
        body_timeout: wait(
            &raw.body_timeout,
            "body_timeout",
            default.body_timeout,
            least..=hours(24),
        ),
        body_rate_bytes_per_second,
        body_grace: wait(
            &raw.body_grace,
            "body_grace",
            default.body_grace,
            least..=hours(1),
        ),
        connection_age: wait(
            &raw.connection_age,
            "connection_age",
            default.connection_age,
            least..=hours(168),
        ),
        drain_timeout: wait(
            &raw.drain_timeout,
            "drain_timeout",
            default.drain_timeout,
            Duration::ZERO..=hours(1),
        ),
        drain_delay: wait(
            &raw.drain_delay,
            "drain_delay",
            default.drain_delay,
            Duration::ZERO..=hours(1),
        ),
        quota_status: quota_status(report, raw.quota_status.as_ref()),
        penalty: raw.penalty.map_or(default.penalty, |given| given.0),
    };
    relations(report, raw, &checked);
    checked
}

fn quota_status(report: &mut ConfigFindings<'_>, given: Option<&Spanned<u32>>) -> QuotaStatus {
    let default = Limits::default().quota_status;
    let Some(given) = given else { return default };
    match given.value {
        429 => QuotaStatus::TooManyRequests,
        503 => QuotaStatus::ServiceUnavailable,
        _ => {
            let hint = "exporters try again after either; some old ones only after 503";
            report.error_with_hint(given, "`limits.quota_status` must be 429 or 503", hint);
            default
        }
    }
}

/// A limit that was written down but that another limit never lets be reached is a misunderstanding. A
/// default that another limit undercuts is none.
fn relations(report: &mut ConfigFindings<'_>, raw: &RawLimits, checked: &Limits) {
    let total = checked.buffered_total_bytes;
    for (given, key, bytes, roof_key, roof) in [
        (
            &raw.body,
            "body",
            checked.body_bytes,
            "decompressed_body",
            checked.decompressed_body_bytes,
        ),
        (
            &raw.body,
            "body",
            checked.body_bytes,
            "buffered_total",
            total,
        ),
        (
            &raw.decompressed_body,
            "decompressed_body",
            checked.decompressed_body_bytes,
            "buffered_total",
            total,
        ),
        (
            &raw.response,
            "response",
            checked.response_bytes,
            "buffered_total",
            total,
        ),
        (
            &raw.token,
            "token",
            checked.token_bytes.into(),
            "header",
            checked.header_bytes.into(),
        ),
    ] {
        if let Some(given) = given
            && bytes > roof
        {
            let message = format!(
                "`limits.{key}` is above `limits.{roof_key}`, which is {}",
                show_size(roof)
            );
            report.error_with_hint(
                given,
                message,
                format!("lower the one, or raise `limits.{roof_key}`"),
            );
        }
    }
    if let Some(given) = &raw.connections_per_address
        && checked.connections_per_address > checked.connections
    {
        let message = format!(
            "`limits.connections_per_address` is above `limits.connections`, which is `{}`",
            checked.connections
        );
        report.error_with_hint(
            given,
            message,
            "lower the one, or raise `limits.connections`",
        );
    }
}

/// A body that is within its limits, but never within the share of the memory that its sender may hold, is refused
/// whenever it is tried again.
/// `queue_bytes`: what the audit queue takes of the total.
pub(crate) fn shares(
    report: &mut ConfigFindings<'_>,
    raw: &RawConfig,
    checked: &Limits,
    queue_bytes: u64,
    serves: impl Fn(RawService) -> bool,
) {
    let needed = checked
        .body_bytes
        .saturating_add(checked.decompressed_body_bytes);
    let total = checked.buffered_total_bytes.saturating_sub(queue_bytes);
    let legacy = serves(RawService::Legacy);
    let (what, share, factor) =
        if (serves(RawService::Ingest) || legacy) && alone_bytes(total) < needed {
            ("one caller may hold", alone_bytes(total), 2)
        } else if legacy && alone_unproven_bytes(total) < needed {
            (
                "a report that names its sender in its body alone may take",
                alone_unproven_bytes(total),
                8,
            )
        } else {
            return;
        };
    let message = format!(
        "{what} {} of `limits.buffered_total`, but a body and what it decompresses to may take {}",
        show_size(share),
        show_size(needed)
    );
    // The queue grows with the total, up to a bound.
    let enough = needed
        .saturating_mul(factor)
        .saturating_add(queue_bytes.max(16 << 20));
    let mut hint = format!(
        "raise it to {}, or lower `limits.decompressed_body`",
        show_size(enough)
    );
    if factor == 8 {
        hint.push_str(", or leave `legacy` out of `serves`");
    }
    let limits = &raw.limits;
    match [
        &limits.buffered_total,
        &limits.decompressed_body,
        &limits.body,
    ]
    .into_iter()
    .flatten()
    .next()
    {
        Some(given) => report.warning(given, message, hint),
        None => raw
            .listeners
            .first()
            .into_iter()
            .for_each(|first| report.warning(&first.name, &message, &hint)),
    }
}

/// The size given, or the default; out of bounds is reported.
pub(crate) fn size_between(
    report: &mut ConfigFindings<'_>,
    given: Option<&Spanned<RawSize>>,
    subject: &str,
    default: u64,
    range: RangeInclusive<u64>,
) -> u64 {
    let Some(given) = given else { return default };
    match quantity::size(&given.value.0) {
        Some(bytes) if range.contains(&bytes) => return bytes,
        Some(_) => {
            let message = format!(
                "`{subject}` must be from {} to {}",
                show_size(*range.start()),
                show_size(*range.end())
            );
            report.error(given, message);
        }
        None => report.error_with_hint(given, format!("`{subject}` is not a size"), SIZE_FORM),
    }
    default
}

/// The duration given, or the default; out of bounds is reported.
pub(crate) fn duration_between(
    report: &mut ConfigFindings<'_>,
    given: Option<&Spanned<RawDuration>>,
    subject: &str,
    default: Duration,
    range: RangeInclusive<Duration>,
) -> Duration {
    let Some(given) = given else { return default };
    match quantity::duration(&given.value.0) {
        Some(duration) if range.contains(&duration) => return duration,
        Some(_) => {
            let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
            report.error(given, format!("`{subject}` must be from {least} to {most}"));
        }
        None => report.error_with_hint(
            given,
            format!("`{subject}` is not a duration"),
            DURATION_FORM,
        ),
    }
    default
}
