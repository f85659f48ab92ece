//! The real gateway over real sockets, between the embedded issuer and emulator.

#[cfg(test)]
mod first;
