//! `audit prune`: rotated files are taken away.
//!
//! What it does: says which files hold nothing but old records, keeps the tree's edge over them, and removes them.
//! What it refuses to know: why records may go. Invariants: the last file stays; a file goes only if a checkpoint states all of it
//! and the trail is as it was sealed up to there; the edge is on the disk before the first file goes; without `--yes` nothing does.

use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::fault::AuditFault;
use super::sealed::{pruned_beside, write_pruned};
use super::verify::Verifier;
use super::walk::{in_order, walk};
use super::{Output, SealedArguments, sealed, shown};
use crate::audit::{given_moment, moment};
use crate::transparency::{TreeEdge, TreeHash};

#[derive(Debug, Args)]
pub struct PruneArguments {
    /// Files go whose records are all older, RFC 3339, or a day in UTC.
    #[arg(long, value_name = "TIME")]
    pub(crate) before: String,
    /// Do it; else it is only said.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) sealed: SealedArguments,
}

/// The end of a file.
struct FileEnd {
    /// The tree's edge behind it.
    edge: TreeEdge,
    is_old: bool,
}

pub(super) fn prune(arguments: &PruneArguments) -> Result<ExitCode, AuditFault> {
    #[derive(serde::Deserialize)]
    struct Timed {
        time: String,
    }
    let before = given_moment(&arguments.before)?;
    let seals = sealed::read(&arguments.sealed)?;
    let files = in_order(&arguments.sealed.trail)?;
    let mut ends: Vec<FileEnd> = Vec::new();
    let mut verifier = Verifier::new(&seals);
    let mut edge = seals.begin.clone();
    let mut at = None;
    walk(&files, arguments.sealed.trail.quiet, |place, line| {
        if at.as_ref() != Some(place.file) {
            at = Some(place.file.clone());
            ends.push(FileEnd {
                edge: edge.clone(),
                is_old: true,
            });
        }
        if verifier.see(place, line).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(seq) = line.seq() {
            edge.fill_to(seq);
            edge.push(TreeHash::of_leaf(line.text));
        }
        let timed: Option<Timed> = serde_json::from_slice(line.text).ok();
        let is_old =
            timed.is_some_and(|timed| moment(&timed.time).is_some_and(|time| time < before));
        if let Some(end) = ends.last_mut() {
            end.edge.clone_from(&edge);
            end.is_old &= is_old;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let verified = verifier.finish();
    if verified.wrong.is_some() {
        return Err(AuditFault::Mismatch);
    }
    let last = ends.len().saturating_sub(1);
    let goes = |(number, end): &(usize, &FileEnd)| {
        *number < last && end.is_old && end.edge.size() <= verified.sealed
    };
    let count = ends.iter().enumerate().take_while(goes).count();
    let gone: Vec<&std::path::Path> = files.iter().take(count).map(|file| &*file.path).collect();
    let kept = count.checked_sub(1).and_then(|last| ends.get(last));
    let beside = match &arguments.sealed.pruned {
        Some(path) => path.clone(),
        None => pruned_beside(&seals.path),
    };
    if let Some(kept) = kept.filter(|_| arguments.yes) {
        write_pruned(&beside, &kept.edge)?;
        for path in &gone {
            std::fs::remove_file(path).map_err(AuditFault::unwritten(path))?;
        }
    }
    let minimum = kept.map_or(seals.begin.size(), |kept| kept.edge.size());
    match arguments.sealed.output {
        Output::Json => {
            let gone: Vec<String> = gone.iter().map(|path| path.display().to_string()).collect();
            println!(
                "{}",
                json!({ "files": gone, "is_done": arguments.yes, "minimum_index": minimum })
            );
        }
        Output::Text => {
            let done = if arguments.yes {
                "removed"
            } else {
                "would be removed"
            };
            gone.iter()
                .for_each(|path| println!("{} {done}", shown(path)));
            println!(
                "{} files {done}; the trail begins with record {minimum}",
                gone.len()
            );
            if !arguments.yes && count > 0 {
                println!("nothing was changed: `--yes` does it");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
