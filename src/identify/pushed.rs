//! What messages have in common by which providers end proofs: logout tokens and security events.
//!
//! What it does: reads their texts within bounds, and tells messages apart. What it refuses to know: what a message says.
//! Invariant: a text that names something is not empty, bounded and without control characters.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::revocation::VALUE_LIMIT_BYTES;
use crate::reason::Reason;

/// By what a message is told from others: its sender's name in our configuration, and its `jti`.
pub(super) struct PushedId {
    pub sender: Arc<str>,
    pub id: String,
}

impl PushedId {
    /// One text for both; a name of our own has no blanks.
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.sender, self.id)
    }
}

/// A member that must be a text if it is there.
pub(super) fn text<'c>(
    members: &'c Map<String, Value>,
    name: &str,
) -> Result<Option<&'c str>, Reason> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if is_value(text) => Ok(Some(text)),
        Some(_) => Err(Reason::TokenClaims),
    }
}

fn is_value(text: &str) -> bool {
    (1..=VALUE_LIMIT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}
