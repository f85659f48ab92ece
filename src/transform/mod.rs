//! The sixth room: what is done to a payload before it is handed on.
//!
//! What it does: points an answer's links at the gateway, narrows lists to what the permit shows, redacts
//! secrets, and masks a credential that a backend echoes. What it refuses to know: who calls, sockets.
//! Invariants: an answer whose shape is unknown is refused, not passed; bytes that do not change are kept
//! as they are.

mod answer;
mod canary;
mod links;

pub use answer::{AnswerFault, Rewriting, rewrite};
pub use canary::{Canary, holds};
pub use links::Links;
