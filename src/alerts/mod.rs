//! Messages about alerts, from the backend's webhooks to an app's own destinations.
//!
//! What it does: receives, enriches and passes them on. What it refuses to know: how a destination is reached.
//! Invariant: nothing in a message decides where it goes.

pub(crate) mod inlet;
mod message;
