//! `audit export`: a trail in another form.
//!
//! What it does: gives lines to one of the forms. What it refuses to know: the forms. Invariant: tiles are of exactly the tree that
//! the last checkpoint states.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::fault::AuditFault;
use super::tiles::Tiles;
use super::verify::Verifier;
use super::walk::{in_order, walk};
use super::{Output, SealedArguments, TrailArguments, ocsf, sealed};

/// Numbers without a record, over a whole trail: a thousand kills leave so many, and each is an entry of tiles.
const EMPTY_LIMIT: u64 = 1 << 24;

#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Write tiles (C2SP tlog-tiles) to this folder: hash tiles, bundles of entries, the last checkpoint.
    #[arg(long, value_name = "FOLDER", required_unless_present = "ocsf")]
    pub(crate) tiles: Option<PathBuf>,
    /// Print each record as an OCSF 1.8 event, one JSON line each.
    #[arg(long, conflicts_with = "tiles")]
    pub(crate) ocsf: bool,
    #[command(flatten)]
    pub(crate) trail: TrailArguments,
    /// As of `audit verify`.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoints: Option<PathBuf>,
    /// As of `audit verify`.
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

pub(super) fn export(arguments: &ExportArguments) -> Result<ExitCode, AuditFault> {
    match &arguments.tiles {
        Some(folder) => export_tiles(arguments, folder),
        None => export_ocsf(&arguments.trail),
    }
}

fn export_tiles(
    arguments: &ExportArguments,
    folder: &std::path::Path,
) -> Result<ExitCode, AuditFault> {
    let given = SealedArguments {
        trail: TrailArguments {
            files: arguments.trail.files.clone(),
            config: arguments.trail.config.clone(),
            quiet: arguments.trail.quiet,
        },
        checkpoints: arguments.checkpoints.clone(),
        keys: arguments.keys.clone(),
        pruned: None,
        output: Output::Text,
    };
    if given.keys.is_empty() && given.trail.config.is_none() {
        return Err(AuditFault::Wrong("tiles need `--key`, or `--config`"));
    }
    let seals = sealed::read(&given)?;
    let head = seals.heads.last().ok_or(AuditFault::Unsealed)?;
    if seals.begin.size() > 0 {
        return Err(AuditFault::Wrong(
            "tiles need the whole trail: export them before files are pruned",
        ));
    }
    let files = in_order(&arguments.trail)?;
    let mut tiles = Tiles::new(folder);
    let mut verifier = Verifier::new(&seals);
    let mut empty = 0u64;
    walk(&files, arguments.trail.quiet, |place, line| {
        let wrong = verifier.see(place, line).is_break();
        let Some(seq) = line.seq().filter(|seq| *seq < head.size && !wrong) else {
            return Ok(ControlFlow::Break(()));
        };
        empty = empty.saturating_add(seq - tiles.size().min(seq));
        if empty > EMPTY_LIMIT {
            return Err(AuditFault::Wrong(
                "more numbers have no record than any gateway leaves out: no tiles are written of them",
            ));
        }
        while tiles.size() < seq {
            tiles.add(b"")?;
        }
        tiles.add(line.text)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let verified = verifier.finish();
    if verified.wrong.is_some() || tiles.size() != head.size {
        return Err(AuditFault::Mismatch);
    }
    tiles.finish(seals.note(head))?;
    println!("{} entries to {}", head.size, folder.display());
    Ok(ExitCode::SUCCESS)
}

fn export_ocsf(trail: &TrailArguments) -> Result<ExitCode, AuditFault> {
    let files = in_order(trail)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut odd = 0u64;
    walk(&files, trail.quiet, |_, line| {
        match serde_json::from_slice(line.text) {
            Ok(record) => {
                let event = ocsf::event(&record);
                writeln!(out, "{event}").map_err(AuditFault::Output)?;
            }
            Err(_) => odd += 1,
        }
        Ok(ControlFlow::<()>::Continue(()))
    })?;
    out.flush().map_err(AuditFault::Output)?;
    if odd > 0 {
        eprintln!("{odd} lines are no records and were left out");
    }
    Ok(ExitCode::SUCCESS)
}
