//! The embedded issuer, emulator, certificates and callers, tried on each other and on other people's
//! clients: what every further test relies on. What it refuses to know: the gateway.

mod emulator;
mod exports;
mod failures;
mod issuer;
mod legacy;
mod login;
