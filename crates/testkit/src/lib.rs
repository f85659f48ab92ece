//! What tests and the demonstration share: an OIDC issuer, a Lightstep emulator, one of other vendors' backends, a receiver of webhooks, a store of secrets, development
//! certificates, sample callers and exports, and a whole world of them around a gateway, all on loopback; and the
//! comparison of texts with committed files.
//!
//! What it does: declares those parts. What it refuses to know: the gateway's rooms; each part stands in for software that
//! another party would run, so it leans on cupboards (`otlp`, `clock`) alone; only `world` puts a gateway between them.
//! Invariant: the product's library and its image hold nothing of this.

pub mod answers;
pub mod asked;
pub mod calls;
pub mod certificates;
pub mod coding;
pub mod double;
pub mod emulator;
pub mod formats;
pub mod golden;
pub mod issuer;
pub mod logs;
pub mod messages;
pub mod proof;
pub mod receiver;
pub mod samples;
pub mod secret_store;
pub mod server;
pub mod sigv4;
pub mod sts;
pub mod syslog_receiver;
pub mod thrift;
pub mod urls;
pub mod vendors;
pub mod witness;
pub mod workload_api;
pub mod world;

pub use answers::{Answer, Partial};
pub use asked::{Question, TokenJudge, TokenWord};
pub use calls::{CallFault, SampleCaller};
pub use certificates::{Authority, DevelopmentCertificates, Leaf, LeafPlan, write_certificates};
pub use coding::Coding;
pub use double::Mood;
pub use emulator::{Captured, Emulator, EmulatorOptions, Endpoints, Fault, run_emulator};
pub use formats::{Carrier, Format};
pub use issuer::{Algorithm, Claims, Issuer, IssuerFault, IssuerOptions, run_issuer};
pub use logs::logs_of;
pub use proof::ProofKey;
pub use receiver::{Received, Receiver, ReceiverFault};
pub use samples::{LegacySample, Sample};
pub use secret_store::SecretStoreServer;
pub use sts::{AwsCaller, Sts};
pub use syslog_receiver::{SyslogMood, SyslogReceiver};
pub use vendors::{VendorEmulator, VendorFault};
pub use witness::SampleWitness;
pub use world::{World, WorldPlan, webhook_secret};

/// The top of the repository, where documents, examples and tests stand.
pub fn top() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
