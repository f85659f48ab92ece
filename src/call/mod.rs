//! One request, from its head to its record.
//!
//! What it does: carries what the steps found, reads bodies within bounds, writes answers, and leaves one record. What it
//! refuses to know: what kinds of request there are. Invariant: whatever way a call ends, it leaves exactly one record.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod context;
pub(crate) mod cors;
pub(crate) mod echoes;
pub(crate) mod exchange;
pub(crate) mod log;
pub(crate) mod pace;
pub(crate) mod outcome;
pub(crate) mod page;
pub(crate) mod record;
pub(crate) mod throttle;
pub(crate) mod visitor;
pub(crate) mod whole;
pub(crate) mod witness;
