//! Lightkeeper: an identity-aware gateway for telemetry.
//!
//! A request goes through the rooms in the order in which they are listed here; nouns (cupboards)
//! stand before verbs (rooms), and a module imports only modules above it in that order.
//! `tests/tidy.rs` holds the order; `ARCHITECTURE.md` tells the way of a request.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

// Cupboards: nouns that know no room.
pub mod reason;
pub(crate) mod media_type;
pub(crate) mod lock;
pub(crate) mod percent;
pub mod causes;
pub(crate) mod pem;
pub mod document;
pub mod secret;
pub(crate) mod transparency;
pub mod egress;
pub mod clock;
pub mod aws;
pub mod limits;
pub mod telemetry;
pub mod apps;
pub mod otlp;
pub mod lightstep;
pub mod profiles;
pub mod view;
pub(crate) mod web;
pub(crate) mod workload_api;
pub mod stores;

// Rooms: verbs, in the order of a request.
pub mod accept;
pub mod identify;
pub mod authorize;
pub(crate) mod route;
pub mod vault;
pub mod transform;
pub mod forward;
pub(crate) mod federate;
pub mod respond;
pub mod audit;

// What is remembered, what calls share, and one call.
pub(crate) mod memory;
pub mod state;
pub(crate) mod call;

// What a request can be.
pub(crate) mod export;
pub(crate) mod query;
pub(crate) mod alerts;
pub mod explain;
pub(crate) mod health;
pub mod console;

// What the process shows outside.
pub mod gateway;
pub mod admin;
pub mod config;
pub mod cli;
