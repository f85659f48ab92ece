//! A walk over all lines of a trail, in their order.
//!
//! What it does: puts files in the order of their first records and gives line after line. What it refuses to know: what a tool
//! looks for. Invariant: one line is held at a time.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::AuditFault;
use super::progress::WalkProgress;
use super::{TrailArguments, configured};
use crate::audit::lines::{TrailLine, TrailReader};
use crate::audit::{TrailFile, put_in_order, trail_files};

/// Lines between two looks at the progress.
const LOOK_LINES: u64 = 4096;

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinePlace<'a> {
    pub file: &'a Arc<Path>,
    /// From 1.
    pub line: u64,
    /// Whether its file is the trail's last.
    pub in_last_file: bool,
}

/// The files that are given, or those that the configuration names, by their first records; those without any come last.
pub(super) fn in_order(arguments: &TrailArguments) -> Result<Vec<TrailFile>, AuditFault> {
    let named = match (&arguments.config, arguments.files.as_slice()) {
        (Some(config), []) => {
            let audit = configured(config)?.file.ok_or(AuditFault::NoTrail)?;
            let found = trail_files(&audit).map_err(AuditFault::unread(&audit))?;
            match found.as_slice() {
                [] => return Err(AuditFault::NoTrail),
                _ => found,
            }
        }
        (_, given) => given.to_vec(),
    };
    let look = |path: &PathBuf| TrailFile::look(path).map_err(AuditFault::unread(path));
    let mut files = named.iter().map(look).collect::<Result<Vec<_>, _>>()?;
    put_in_order(&mut files);
    let twice = files.windows(2).find_map(|pair| match pair {
        [one, next] if one.first.is_some() && one.first == next.first => {
            Some(AuditFault::Twice(one.path.clone(), next.path.clone()))
        }
        _ => None,
    });
    twice.map_or(Ok(files), Err)
}

/// Gives each line, until there are no more or `see` breaks off. What it broke off with.
pub(super) fn walk<T>(
    files: &[TrailFile],
    quiet: bool,
    mut see: impl FnMut(LinePlace<'_>, TrailLine<'_>) -> Result<ControlFlow<T>, AuditFault>,
) -> Result<Option<T>, AuditFault> {
    let total = files.iter().map(|file| file.bytes).sum();
    let mut progress = WalkProgress::new(total, quiet);
    let mut before = 0;
    for (number, file) in files.iter().enumerate() {
        let unread = || AuditFault::unread(&file.path);
        let mut reader = TrailReader::open(&file.path).map_err(unread())?;
        let path: Arc<Path> = file.path.as_path().into();
        let (mut line_number, mut seen) = (0u64, 0u64);
        while let Some(line) = reader.next_line().map_err(unread())? {
            line_number += 1;
            seen += line.text.len() as u64 + 1;
            if line_number.is_multiple_of(LOOK_LINES) {
                progress.reach(before + seen.min(file.bytes));
            }
            let place = LinePlace {
                file: &path,
                line: line_number,
                in_last_file: number + 1 == files.len(),
            };
            if let ControlFlow::Break(found) = see(place, line)? {
                return Ok(Some(found));
            }
        }
        before += file.bytes;
        progress.reach(before);
    }
    Ok(None)
}
