//! Questions to the backend.
//!
//! What it does: asks one project, or every project of a part of the tree, within the caller's share of the backend's
//! rate, and rewrites what it says. What it refuses to know: who may ask what. Invariant: nothing of an answer leaves here
//! before it was rewritten by its operation's rule.

pub(crate) mod alert_status;
pub(crate) mod fan_out;
mod fair_share;
mod naming;
mod proxy;
mod reply;
pub(crate) mod single;
pub(crate) mod subtree;
