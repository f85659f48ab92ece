//! The room as its callers see it, attacked and in bad weather.
//!
//! What it does: forges evidence of every kind and lets issuers fail. What it refuses to know: how the
//! room is built inside. Invariant: every row names what is presented and the exact answer.

mod assertions;
mod authority;
mod bound;
mod bundles;
mod certificates;
mod chains;
mod claim_paths;
mod client_tokens;
mod clusters;
mod consultations;
mod desk;
mod doubts;
mod exchanges;
mod introspection;
mod issuer_settings;
mod login;
mod logouts;
mod names;
mod providers;
mod sealing;
mod security_events;
mod sessions;
mod svids;
mod rotation;
mod scopes;
mod tokens;
mod upkeep;
mod webhooks;
