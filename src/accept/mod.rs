//! The first room: transport and head become a `Caller` (unverified evidence) and a `Call` (parsed ask).
//!
//! What it does: owns the accept loop, the strict HTTP/1.1 head, and the one normalisation of path and
//! headers. What it refuses to know: identities, policy, projects' credentials.
//! Invariants: ambiguity is refused here, once, and never repaired; nothing later sees the client's own
//! path string; a `Caller` is moved into `identify` and cannot be used twice.

mod call;
mod caller;
mod settings;

pub use call::{Ask, Call, Dialect, IngestAsk, OwnAsk, Protocol, QueryAsk};
pub use caller::{Caller, Carrier, ClientChain, Presented};
pub use settings::{ClientCertificates, ListenerSettings, Serves, TlsSettings};
