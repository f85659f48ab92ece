//! What calls share: the snapshot they are judged by, and what outlives it.
//!
//! What it does: builds one immutable snapshot of all rooms from checked settings, tells what a reload changed, and holds
//! what is shared by all snapshots. What it refuses to know: requests, the framework. Invariant: a snapshot is complete or
//! does not exist.

mod backends;
pub(crate) mod changes;
pub(crate) mod credentials;
mod examine;
mod identify_events;
mod lacking;
pub(crate) mod mirrors;
mod revoked;
mod settings;
mod shared;
mod snapshot;
mod sources;
mod watched;
pub(crate) mod work;

pub use backends::BackendEndpoints;
pub(crate) use examine::examine;
pub use examine::{StartFault, Unbound};
pub(crate) use identify_events::IdentifyEvents;
pub(crate) use revoked::RevocationWay;
pub use settings::{AlertFieldSettings, AlertSettings, BackendSettings, QuerySettings, Upstreams};
pub use shared::{Readiness, Shared};
pub use snapshot::{Listener, Settings, Snapshot};
pub(crate) use sources::watch_sources;
pub(crate) use watched::WatchedFiles;
