//! The house itself: a request's straight line through the rooms.
//!
//! What it does: furnishes the rooms, serves listeners, reloads and stops. What it refuses to know: the
//! rules of any room. Invariants: only here is the framework's session known; one house serves a call
//! from beginning to end.

mod admit;
mod alarms;
mod alert;
mod answer;
mod asking;
mod changes;
mod core;
mod cors;
mod csrf;
mod deliver;
mod dropped;
mod echoes;
mod event_rate;
mod examine;
pub mod explaining;
pub mod gather;
mod fairness;
mod health;
mod house;
mod inlet;
mod lanes;
mod large;
mod line;
mod naming;
mod own;
mod pace;
mod page;
mod parcel;
mod part_keys;
mod phases;
mod pulse;
mod reading;
mod recent;
mod reports;
mod restraint;
mod serve;
mod states;
mod success;
mod tally;
mod tree;
mod settings;
mod sharing;
mod view;
mod visit;
mod walk;
mod whole;

pub use self::core::{Core, Readiness};
pub use alarms::{Alarm, Alarms};
pub use alert::{AlertFieldSettings, AlertSettings, Told};
pub use examine::{examine, unbound};
pub use house::{DoorPlan, House, Plan};
pub use serve::{Gateway, Loader};
pub use settings::QuerySettings;
pub use view::*;
