//! The `lightkeeper` binary: hands the command line to the library.
//!
//! What it does: parses arguments and joins the commands with those of the demonstration, if it is built in. What it refuses
//! to know: everything else. Invariant: it holds no logic.

use std::process::ExitCode;

use clap::Parser as _;
use lightkeeper::cli::{self, Arguments};

/// Returns memory of bursts to the system and allocates without contention between workers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "demo")]
fn main() -> ExitCode {
    cli::run(Arguments::<demo::Command>::parse()).unwrap_or_else(demo::run)
}

#[cfg(not(feature = "demo"))]
fn main() -> ExitCode {
    cli::run(Arguments::<cli::NoMore>::parse()).unwrap_or_else(|more| match more {})
}
