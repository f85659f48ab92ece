//! Waiting for the end that a person or a supervisor asks for.
//!
//! What it does: returns on SIGINT or SIGTERM. What it refuses to know: what ends then. Invariant: it returns once.

use tokio::signal::unix::{SignalKind, signal};

/// Returns on SIGINT or SIGTERM.
pub async fn until_signalled() -> Result<(), String> {
    let failed = |error| format!("signals cannot be handled: {error}");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
