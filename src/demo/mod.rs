//! The embedded world of the demo and of the tests: an OIDC issuer, a Lightstep emulator, development
//! certificates and sample callers, all on loopback.
//!
//! What it does: declares those parts. What it refuses to know: the gateway's rooms; each part stands
//! in for software that somebody else would run, so it leans on cupboards (`otlp`, `clock`) alone; only
//! `world` puts a gateway between them, and `story` tells what happens then.
//! Invariant: nothing here is reachable from `lightkeeper serve`.

pub mod answers;
pub mod calls;
pub mod certificates;
pub mod coding;
mod command;
pub mod emulator;
pub mod formats;
pub mod issuer;
pub mod messages;
pub mod receiver;
pub mod samples;
pub mod server;
mod story;
pub mod thrift;
mod urls;
pub mod world;

pub use answers::{Answer, Partial};
pub use calls::{CallFault, SampleCaller};
pub use certificates::{Authority, DevelopmentCertificates, Leaf, LeafPlan, write_certificates};
pub use coding::Coding;
pub use command::run;
pub use emulator::{Captured, Emulator, EmulatorOptions, Endpoints, Fault, run_emulator};
pub use formats::{Carrier, Format};
pub use issuer::{Algorithm, Claims, Issuer, IssuerOptions, run_issuer};
pub use receiver::{Received, Receiver, ReceiverFault};
pub use samples::{LegacySample, Sample};
pub use world::{World, WorldPlan, webhook_secret};
