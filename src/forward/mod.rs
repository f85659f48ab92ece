//! The seventh room: a route, a lease and a payload become the request that goes upstream.
//!
//! What it does: builds the outgoing head from a list, keeps the connections to the backend, sends, and
//! remembers which parts of an export have arrived. What it refuses to know: who calls, and why they may.
//! Invariants: the incoming head is never passed on with things taken away; pooled connections are
//! shared only under the same verification settings.

mod exchange;
mod grpc;
mod head;
mod pool;
mod send;
mod settings;
mod supply;
mod upstream;
mod webhook;

pub(crate) use exchange::{Answer, Repeat, exchange};
pub(crate) use grpc::{GrpcAnswer, exchange_grpc, grpc_code};
pub(crate) use head::{empty_export, grpc, http1, taken, taken_by_queries};
pub(crate) use send::{
    ExchangeFault, Intake, SendFault, gunzip, is_usable, retry_after, retry_after_told,
};
pub use settings::{ClientIdentity, UpstreamSettings};
pub(crate) use supply::{Pieces, Replayable, Supply, Whole};
pub(crate) use upstream::{Backend, BackendFault};
pub(crate) use webhook::{DestinationFault, PostAddress, Webhook};
pub use webhook::{DestinationHeader, DestinationSettings, DestinationUrl};
