//! The developer's command line as people use it: the real binary against the embedded issuer, the real gateway, and a stand-in
//! for gateways that answer badly. It knows nothing of the modules within.

mod asking;
pub mod connecting;
pub mod desk;
mod front;
mod logins;
mod renewal;
mod possession;
#[cfg(feature = "aws")]
mod roles;
mod staying;
