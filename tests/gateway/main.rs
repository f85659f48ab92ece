//! The real gateway over real sockets and TLS, between the embedded issuer and emulator: what a call becomes,
//! who is let through, and what an operator can rely on. What it refuses to know: the rooms' insides; their
//! own tests are beside them.
//!
//! `LIGHTKEEPER_BLESS=1 cargo test --test gateway` writes the expectations anew; read the difference before it
//! is committed.

#[cfg(test)]
mod assertions;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod client_tokens;
#[cfg(test)]
mod console;
#[cfg(test)]
mod console_use;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod echoes;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod health;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod inlet;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod legacy;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod media;
#[cfg(test)]
mod naming;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod rates;
#[cfg(test)]
mod recipes;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod restraint;
#[cfg(test)]
mod report_answers;
#[cfg(test)]
mod remembered;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod responses;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod site;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod successes;
#[cfg(test)]
mod svids;
#[cfg(test)]
mod tree;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod vault;
