//! The `lightkeeper` binary: hands the command line to the library.
//!
//! What it does: parses arguments and joins the commands with the embedded parts. What it refuses to
//! know: everything else. Invariant: it holds no logic.

use std::process::ExitCode;

use clap::Parser as _;

/// Returns memory of bursts to the system and allocates without contention between workers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match lightkeeper::cli::run(lightkeeper::cli::Arguments::parse()) {
        Ok(code) => code,
        Err(command) => lightkeeper::demo::run(*command),
    }
}
