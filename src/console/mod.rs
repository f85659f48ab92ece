//! The gateway's own pages, login and API.
//!
//! What it does: gathers what one visitor may see as plain values, leads through the login, and keeps other pages from
//! acting with a session. What it refuses to know: HTML. Invariant: what is not the visitor's looks like what does not exist.

pub(crate) mod api;
pub(crate) mod csrf;
pub mod pages;
mod pushed;
pub(crate) mod site;
