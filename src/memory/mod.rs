//! What is remembered between requests.
//!
//! What it does: keeps what one request leaves for another, each kind within a bound of its own. What it refuses to know:
//! requests, snapshots, the framework. Invariants: everything is bounded and this process's alone; it survives reloads; no
//! export's content and no caller's credential is in it.

pub(crate) mod alert_states;
pub(crate) mod coalesce;
pub(crate) mod delivered;
pub(crate) mod event_rate;
pub(crate) mod learned_bounds;
pub(crate) mod live;
pub(crate) mod passing;
pub(crate) mod recent;
pub(crate) mod searches;
pub(crate) mod watches;

pub(crate) use delivered::{ExportDigest, Likeness, PartKey, PartScope, Remembered, Sender};
