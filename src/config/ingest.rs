//! `ingest:`, checked.
//!
//! What it does: turns words into settings. What it refuses to know: how an export is rewritten.
//! Invariant: whatever lowers protection (`off`, `pass`, `accept`) must be written down.

use std::time::Duration;

use super::limits::{duration_between, hours, size_between};
use super::raw::{RawCommands, RawCompression, RawIngest, RawMirror};
use super::report::ConfigFindings;
use crate::transform::{Compression, IngestSettings, MirrorSettings};

pub(crate) fn ingest(report: &mut ConfigFindings<'_>, raw: &RawIngest) -> IngestSettings {
    let default = IngestSettings::default();
    IngestSettings {
        stamp: raw.stamp.map_or(default.stamp, |given| given.0),
        compression: match raw.compression.as_ref().map(|given| given.value) {
            None => default.compression,
            Some(RawCompression::Same) => Compression::Same,
            Some(RawCompression::Identity) => Compression::Identity,
            Some(RawCompression::Gzip) => Compression::Gzip,
            Some(RawCompression::Zstd) => Compression::Zstd,
        },
        pass_commands: raw
            .commands
            .map_or(default.pass_commands, |given| given == RawCommands::Pass),
        parallel_parts: raw.parallel.map_or(default.parallel_parts, usize::from),
        remember: duration_between(
            report,
            raw.remember.as_ref(),
            "ingest.remember",
            default.remember,
            Duration::ZERO..=hours(1),
        ),
        mirror: mirror(report, &raw.mirror),
    }
}

fn mirror(report: &mut ConfigFindings<'_>, raw: &RawMirror) -> MirrorSettings {
    let default = MirrorSettings::default();
    MirrorSettings {
        buffer_bytes: size_between(
            report,
            raw.buffer.as_ref(),
            "ingest.mirror.buffer",
            default.buffer_bytes,
            1 << 20..=1 << 30,
        ),
        parallel: raw.parallel.map_or(default.parallel, usize::from),
        patience: duration_between(
            report,
            raw.patience.as_ref(),
            "ingest.mirror.patience",
            default.patience,
            Duration::from_secs(1)..=Duration::from_secs(600),
        ),
    }
}
