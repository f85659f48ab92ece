//! The demonstration: the main job as a story, and its parts alone, for who wants to try the gateway.
//!
//! What it does: the commands `certs`, `demo`, `emulator` and `issuer`. What it refuses to know: how a call is decided.
//! Invariant: a binary without this crate serves all the same.

mod command;
mod signal;
mod story;

pub use command::{Command, ListenArguments, run};
