//! `audit key`: the keys that verify a gateway's checkpoints.
//!
//! What it does: derives them from the configuration's secrets. What it refuses to know: trails. Invariant: no secret is printed.

use std::path::Path;
use std::process::ExitCode;

use super::configured;
use super::fault::AuditFault;
use crate::audit::verifiers;

/// Prints one `name+id+key` a line, the one that signs now first.
pub(super) fn print(config: &Path) -> Result<ExitCode, AuditFault> {
    let seal = configured(config)?.seal.ok_or(AuditFault::Unsigned)?;
    for key in verifiers(&seal).map_err(AuditFault::Signers)? {
        println!("{key}");
    }
    Ok(ExitCode::SUCCESS)
}
