//! `lightkeeper audit …`: what auditors do with a trail, and with what signs it.
//!
//! What it does: takes arguments to the tools, and says what they found. What it refuses to know: a running gateway.
//! Invariants: a trail is read once, line by line, whatever its size; nothing of it is changed, but by `prune --yes`.

mod export;
mod fault;
mod keys;
mod ocsf;
mod progress;
mod prove;
mod prune;
mod query;
mod report;
mod sealed;
mod tiles;
mod verify;
mod walk;
mod witnessed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::fault::AuditFault;
use super::plan::load;
use super::{ConfigArgument, Output};
use crate::audit::AuditSettings;
use crate::causes::chain;
use crate::clock::Clock;
use crate::telemetry::text;

/// The files of a trail.
#[derive(Debug, Args)]
pub(crate) struct TrailArguments {
    /// All files of the trail, rotated ones too, in any order; plain, or compressed with gzip or zstd. Default: those that
    /// the configuration names, rotated ones too.
    #[arg(required_unless_present = "config", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The gateway's configuration: it names the trail, its checkpoints, and the keys that sign them.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// No progress on standard error.
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// What seals a trail.
#[derive(Debug, Args)]
pub(crate) struct SealedArguments {
    #[command(flatten)]
    pub(crate) trail: TrailArguments,
    /// Its signed checkpoints; default: the file that is named last in the alphabet of the numbered ones, without its number, and
    /// `.checkpoints`.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoints: Option<PathBuf>,
    /// A key that signs them, `name+id+key`, or a file with such lines; may be given more than once. Default: those of the
    /// configuration, whose secrets are read.
    #[arg(long = "key", required_unless_present = "config", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// What `prune` left of files that are gone; default: the checkpoints' file and `.pruned`, if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) pruned: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// What is done with a trail.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Hold a trail against its checkpoints: name the first line that is not as it was sealed, and tell how many are unsealed.
    #[command(
        after_help = "Exit status: 0 as it was sealed, 1 not, or not to be read, 2 wrong arguments."
    )]
    Verify(#[command(flatten)] verify::VerifyArguments),
    /// Prove to an auditor who has a key and no trail that a record is in it.
    Prove(#[command(flatten)] prove::ProveArguments),
    /// Prove that the newest checkpoint goes on from an earlier one: that nothing before it was changed.
    Consistency(#[command(flatten)] prove::GrowthArguments),
    /// Write a trail in another form: tiles for monitors, or OCSF events.
    Export(#[command(flatten)] export::ExportArguments),
    /// Print the records that match.
    Query(#[command(flatten)] query::TrailQueryArguments),
    /// Count records by what was decided, why, which caller and where.
    Report(#[command(flatten)] report::TrailReportArguments),
    /// Take rotated files away whose records are old, and keep what later proofs need.
    Prune(#[command(flatten)] prune::PruneArguments),
    /// Print the keys that verify a gateway's checkpoints.
    Key(#[command(flatten)] ConfigArgument),
}

pub(crate) fn audit(command: &AuditCommand) -> ExitCode {
    let done = match command {
        AuditCommand::Verify(arguments) => verify::verify(arguments),
        AuditCommand::Prove(arguments) => prove::prove(arguments),
        AuditCommand::Consistency(arguments) => prove::prove_growth(arguments),
        AuditCommand::Export(arguments) => export::export(arguments),
        AuditCommand::Query(arguments) => query::query(arguments),
        AuditCommand::Report(arguments) => report::report(arguments),
        AuditCommand::Prune(arguments) => prune::prune(arguments),
        AuditCommand::Key(argument) => keys::print(&argument.config),
    };
    done.unwrap_or_else(|fault| {
        // A reader that has enough has closed the pipe.
        if fault.is_broken_pipe() {
            return ExitCode::SUCCESS;
        }
        eprintln!("lightkeeper audit: {}", chain(&fault));
        ExitCode::FAILURE
    })
}

/// What a configuration says of its trail.
fn configured(config: &Path) -> Result<AuditSettings, AuditFault> {
    let loaded = load(config, &Clock::system());
    let checked = loaded.checked.ok_or(AuditFault::Refused)?;
    Ok(checked.audit)
}

/// The longest path of a system, in bytes.
const PATH_LIMIT_BYTES: usize = 4096;

/// A path for a person: whole, on one line, and nothing that a terminal takes for an order.
fn shown(path: &Path) -> String {
    text::line(&path.to_string_lossy(), PATH_LIMIT_BYTES).into_owned()
}
