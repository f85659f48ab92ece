//! `audit prove`: that a record is in the trail, or that one checkpoint goes on from another.
//!
//! What it does: finds the record, and makes its proof for the first checkpoint that states it. What it refuses to know: other
//! records. Invariant: a proof that does not hold is not written.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::fault::AuditFault;
use super::sealed::{SealedHead, Seals};
use super::walk::{in_order, walk};
use super::{Output, SealedArguments, sealed};
use crate::audit::{RequestRecord, RequestSearch, TrailFile};
use crate::transparency::{
    LeafRange, TlogProof, TreeEdge, TreeHash, consistency_ranges, inclusion_ranges,
    verify_consistency, verify_inclusion,
};

#[derive(Debug, Args)]
pub struct ProveArguments {
    /// The record's `request_id`, which the caller had as `lightkeeper-request-id`.
    #[arg(value_name = "REQUEST_ID")]
    pub(crate) request_id: String,
    /// Where the line and the proof are written, as `ID.json` and `ID.tlog-proof`; default: standard output, the proof alone.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) directory: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sealed: SealedArguments,
}

#[derive(Debug, Args)]
pub struct GrowthArguments {
    /// The earlier checkpoint's size.
    #[arg(long, value_name = "SIZE")]
    pub(crate) from: u64,
    #[command(flatten)]
    pub(crate) sealed: SealedArguments,
}

/// The lines as leaves, up to `size`: gives each to the ranges, and the leaf at `index`, and the tree's edge.
fn leaves(
    (files, quiet): (&[TrailFile], bool),
    seals: &Seals,
    size: u64,
    ranges: &mut [LeafRange],
) -> Result<TreeEdge, AuditFault> {
    let mut edge = seals.begin.clone();
    if !ranges.iter_mut().all(|range| range.begin_with(&edge)) {
        return Err(AuditFault::Wrong(
            "files that were pruned held what this proof needs: tiles that were exported before have it",
        ));
    }
    walk(files, quiet, |_, line| {
        let Some(seq) = line.seq().filter(|seq| *seq >= edge.size()) else {
            return Ok(ControlFlow::Continue(()));
        };
        if seq >= size {
            return Ok(ControlFlow::Break(()));
        }
        let leaf = TreeHash::of_leaf(line.text);
        edge.fill_to(seq);
        edge.push(leaf);
        ranges.iter_mut().for_each(|range| range.see(seq, leaf));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(edge)
}

pub(super) fn prove(arguments: &ProveArguments) -> Result<ExitCode, AuditFault> {
    let seals = &sealed::read(&arguments.sealed)?;
    let files = &in_order(&arguments.sealed.trail)?;
    let id = &*arguments.request_id;
    let quiet = arguments.sealed.trail.quiet;
    let search = RequestSearch::new(id);
    let mut found = None;
    walk(files, quiet, |_, line| {
        let Some((record, seq)) = search.find(line.text).zip(line.seq()) else {
            return Ok(ControlFlow::Continue(()));
        };
        // The call's own record says more than that its answer had begun.
        if record == RequestRecord::Call || found.is_none() {
            found = Some((seq, line.text.to_vec()));
        }
        Ok(match record {
            RequestRecord::Call => ControlFlow::Break(()),
            RequestRecord::Event => ControlFlow::Continue(()),
        })
    })?;
    let (index, line) = found.ok_or_else(|| AuditFault::NoRecord(id.to_owned()))?;
    let head = seals.heads.iter().find(|head| head.size > index);
    let head = head.ok_or(AuditFault::Unsealed)?;
    let mut ranges = inclusion_ranges(index, head.size);
    let edge = leaves((files, quiet), seals, head.size, &mut ranges)?;
    let hashes: Vec<TreeHash> = ranges.into_iter().map(LeafRange::root).collect();
    let holds = verify_inclusion(
        (index, TreeHash::of_leaf(&line)),
        &hashes,
        (head.size, head.root),
    );
    if !holds || edge.size() != head.size {
        return Err(AuditFault::Mismatch);
    }
    let proof = TlogProof {
        index,
        hashes,
        note: seals.note(head).to_owned(),
    };
    write(arguments, id, &line, &proof)
}

fn write(
    arguments: &ProveArguments,
    id: &str,
    line: &[u8],
    proof: &TlogProof,
) -> Result<ExitCode, AuditFault> {
    if let Some(folder) = &arguments.directory {
        // An id of ours is hexadecimal; no other one leads out of the folder.
        let plain: String = id
            .chars()
            .filter(|sign| sign.is_ascii_alphanumeric() || *sign == '-')
            .collect();
        for (ending, content) in [
            ("json", [line, b"\n"].concat()),
            ("tlog-proof", proof.to_string().into_bytes()),
        ] {
            let path = folder.join(format!("{plain}.{ending}"));
            std::fs::write(&path, content).map_err(AuditFault::unwritten(&path))?;
            println!("{}", path.display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    let written = match arguments.sealed.output {
        Output::Text => write!(out, "{proof}"),
        Output::Json => writeln!(
            out,
            "{}",
            serde_json::json!({
                "index": proof.index,
                "line": String::from_utf8_lossy(line),
                "proof": proof.to_string(),
            })
        ),
    };
    written.map_err(AuditFault::Output)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn prove_growth(arguments: &GrowthArguments) -> Result<ExitCode, AuditFault> {
    let seals = &sealed::read(&arguments.sealed)?;
    let files = &in_order(&arguments.sealed.trail)?;
    let from = arguments.from;
    let of_size = |head: &&SealedHead| head.size == from;
    let earlier = seals.heads.iter().find(of_size);
    let earlier = earlier.ok_or(AuditFault::Wrong(
        "no checkpoint has the size that `--from` names",
    ))?;
    let Some(later) = seals.heads.last() else {
        return Err(AuditFault::Unsealed);
    };
    let mut ranges = consistency_ranges(from, later.size);
    let quiet = arguments.sealed.trail.quiet;
    let edge = leaves((files, quiet), seals, later.size, &mut ranges)?;
    let hashes: Vec<TreeHash> = ranges.into_iter().map(LeafRange::root).collect();
    let holds = verify_consistency((from, earlier.root), &hashes, (later.size, later.root));
    if !holds || edge.size() != later.size {
        return Err(AuditFault::Mismatch);
    }
    let hashes: Vec<String> = hashes.iter().map(ToString::to_string).collect();
    match arguments.sealed.output {
        Output::Json => println!(
            "{}",
            serde_json::json!({
                "from": seals.note(earlier),
                "to": seals.note(later),
                "hashes": hashes,
            })
        ),
        Output::Text => {
            println!("{} goes on from {from}, by", later.size);
            hashes.iter().for_each(|hash| println!("{hash}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
