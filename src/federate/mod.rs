//! The eighth room: one question to several projects becomes one answer.
//!
//! What it does: asks many projects side by side, within bounds and a deadline, and merges what they say. What it
//! refuses to know: how one project is asked, who asks. Invariants: a project that failed is named, never left out
//! silently; every item says where it comes from.
