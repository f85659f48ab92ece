//! The real gateway over real sockets and TLS, between the embedded issuer and emulator: what a call becomes,
//! who is let through, and what an operator can rely on. What it refuses to know: the rooms' insides; their
//! own tests are beside them.
//!
//! `LIGHTKEEPER_BLESS=1 cargo test --test integration gateway::` writes the expectations anew; read the difference
//! before it is committed.

mod assertions;
mod aws;
mod backends;
mod certificates;
mod claims;
mod clients;
mod client_tokens;
mod clusters;
mod console;
mod console_search;
mod console_use;
mod cors;
mod cuts;
mod dual;
mod echoes;
mod egress;
mod endpoints;
mod ends;
mod exports;
mod forms;
mod golden;
mod health;
mod identity;
mod inlet;
mod introspection;
mod leaks;
mod legacy;
mod logins;
mod media;
mod naming;
mod operations;
mod own_svids;
mod plain_otlp;
mod possession;
mod proven;
mod proxies;
mod rates;
mod recipes;
mod reload;
mod restraint;
mod revocations;
mod report_answers;
mod remembered;
mod reports;
mod responses;
mod sharing;
mod sinks;
mod site;
pub mod stage;
mod stored;
mod successes;
mod svids;
mod tree;
mod upstream;
mod vault;
mod vendors;
mod witnesses;
