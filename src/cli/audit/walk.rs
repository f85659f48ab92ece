//! A walk over all lines of a trail, in their order.
//!
//! What it does: puts files in the order of their first records and gives line after line. What it refuses to know: what a tool
//! looks for. Invariant: one line is held at a time.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::TrailArguments;
use super::fault::AuditFault;
use super::progress::WalkProgress;
use crate::audit::lines::{TrailLine, TrailReader};

/// Lines between two looks at the progress.
const LOOK_LINES: u64 = 4096;

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinePlace<'a> {
    pub file: &'a Path,
    /// From 1.
    pub line: u64,
    /// Whether its file is the trail's last.
    pub in_last_file: bool,
}

/// One file, as it was looked at.
#[derive(Debug)]
pub(super) struct TrailFile {
    pub path: PathBuf,
    /// As it is stored.
    pub bytes: u64,
    /// The number of its first line that is a record; `None`: it has none.
    pub first: Option<u64>,
}

/// The files, by their first records; those without any come last.
pub(super) fn in_order(arguments: &TrailArguments) -> Result<Vec<TrailFile>, AuditFault> {
    let mut files = Vec::with_capacity(arguments.files.len());
    for path in &arguments.files {
        let unread = || AuditFault::unread(path);
        let bytes = std::fs::metadata(path).map_err(unread())?.len();
        let mut reader = TrailReader::open(path).map_err(unread())?;
        let mut first = None;
        // A few, because the first may be a wrong one.
        for _ in 0..64 {
            match reader.next_line().map_err(unread())? {
                Some(line) if first.is_none() => first = line.seq(),
                _ => break,
            }
        }
        files.push(TrailFile {
            path: path.clone(),
            bytes,
            first,
        });
    }
    files.sort_by_key(|file| (file.first.is_none(), file.first));
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
        let (mut line_number, mut seen) = (0u64, 0u64);
        while let Some(line) = reader.next_line().map_err(unread())? {
            line_number += 1;
            seen += line.text.len() as u64 + 1;
            if line_number.is_multiple_of(LOOK_LINES) {
                progress.reach(before + seen.min(file.bytes));
            }
            let place = LinePlace {
                file: &file.path,
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
