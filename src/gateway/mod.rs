//! The listener's phases: the straight line of a call through the rooms.
//!
//! What it does: serves listeners, leads each call through the rooms, reloads and stops. What it refuses to know: the
//! rules of any room. Invariant: one snapshot serves a call from beginning to end.

mod admit;
mod one_call;
mod phases;
mod serve;

pub use serve::{Gateway, Loader};
