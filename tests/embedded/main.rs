//! The embedded issuer, emulator, certificates and callers, tried on each other and on other people's
//! clients: what every further test relies on. What it refuses to know: the gateway.

#[cfg(test)]
mod emulator;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod issuer;
#[cfg(test)]
mod legacy;
#[cfg(test)]
mod login;
