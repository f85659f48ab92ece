//! Telemetry on its way to the backend.
//!
//! What it does: rewrites an export and takes it apart, or passes it on as it comes; the same for legacy reports; sends
//! the parts and makes one answer of theirs. What it refuses to know: who may write where. Invariant: nothing is
//! acknowledged that the backend has not taken.

mod cut;
mod dropped;
mod format;
mod joined;
mod legs;
mod mirror;
mod outgoing;
mod part;
mod part_keys;
mod reply;
pub(crate) mod report;
pub(crate) mod rewritten;
mod send;
pub(crate) mod streamed;
mod success;
mod tally;
mod target;
mod translated;
