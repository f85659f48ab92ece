//! The eighth room: one question to several projects becomes one answer.
//!
//! What it does: asks many projects side by side, within bounds and a deadline, and merges what they say. What it
//! refuses to know: how one project is asked, who asks. Invariants: a project that failed is named, never left out
//! silently; every item says where it comes from; the order is that of the projects asked, whichever answers first; a
//! merged answer is bounded and counts in the memory budget.

mod gather;
mod list;
mod origins;
mod raw;
mod series;

pub(crate) use gather::gather;
pub(crate) use list::{Item, items};
pub(crate) use origins::origins;
pub(crate) use raw::text_at;
pub(crate) use series::Series;

use std::sync::Arc;

use serde_json::Value;

use crate::apps::AppPath;
use crate::limits::{Reservation, Spent};
use crate::reason::Reason;

/// Where an answer comes from: a project and the app that is its home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub app: AppPath,
    pub project: Arc<str>,
}

/// A project whose part is missing, or a part of it.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    pub origin: Origin,
    /// What was asked of it, where a question asks several things; and of which item.
    pub resource: Option<String>,
    pub item: Option<String>,
    /// Stable code.
    pub reason: Reason,
    /// What the backend answered, if it did.
    pub status: Option<u16>,
    /// For people: the backend's own words, or ours.
    pub message: String,
}

/// Why an answer, or a part of it, is not merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MergeFault {
    /// Not the document that the operation should answer with.
    Shape,
    /// The backend said no.
    Status,
    /// More states would have to be asked for one by one than are.
    TooMany,
    /// The merged answer would be larger than an answer may be.
    TooLarge,
    /// There is no room for it.
    Memory(Spent),
}

impl MergeFault {
    pub(crate) fn reason(self) -> Reason {
        match self {
            MergeFault::Shape => Reason::UpstreamAnswerUnknownShape,
            MergeFault::Status => Reason::UpstreamStatus,
            MergeFault::TooMany => Reason::StatesLimit,
            MergeFault::TooLarge => Reason::UpstreamAnswerTooLarge,
            MergeFault::Memory(spent) => spent.reason(),
        }
    }
}

/// A JSON array that grows within a limit and the budget.
pub(crate) struct Pile {
    text: String,
    count: usize,
    limit_bytes: u64,
    held: Reservation,
}

impl Pile {
    /// An empty array.
    pub(crate) fn new(limit_bytes: u64, held: Reservation) -> Self {
        Pile {
            text: String::new(),
            count: 0,
            limit_bytes,
            held,
        }
    }

    /// Adds one project's entries, all or none.
    pub(crate) fn add(&mut self, entries: &[String]) -> Result<(), MergeFault> {
        let more: u64 = entries.iter().map(|entry| entry.len() as u64 + 1).sum();
        if more.saturating_add(self.text.len() as u64) > self.limit_bytes {
            return Err(MergeFault::TooLarge);
        }
        // Once here, and once more in the whole answer.
        self.held
            .grow(more.saturating_mul(2))
            .map_err(MergeFault::Memory)?;
        for entry in entries {
            if self.count > 0 {
                self.text.push(',');
            }
            self.text.push_str(entry);
            self.count += 1;
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The array's inside, and what holds its place in the budget.
    pub(crate) fn finish(self) -> (String, Reservation) {
        (self.text, self.held)
    }
}

/// The answer to a question to a part of the tree.
pub(crate) struct Merged<'a> {
    /// What was asked of.
    pub app: &'a AppPath,
    pub resource: &'a str,
    /// The projects asked, in the tree's order.
    pub projects: Vec<&'a str>,
    pub missing: &'a [Missing],
    /// The member that holds what came: its name and its JSON text.
    pub content: (&'a str, String),
}

impl Merged<'_> {
    /// The whole document: what failed stands before what came, so that it is not overlooked.
    pub(crate) fn write(&self) -> String {
        let errors: Vec<Value> = self.missing.iter().map(Missing::document).collect();
        let (name, content) = &self.content;
        let mut text = String::with_capacity(content.len() + 512);
        let head = [
            ("app", Value::from(self.app.as_str())),
            ("resource", Value::from(self.resource)),
            ("projects", Value::from(self.projects.clone())),
            ("partial", Value::from(!errors.is_empty())),
            ("errors", Value::from(errors)),
        ];
        text.push('{');
        for (name, value) in head {
            text.push_str(&format!("\"{name}\":{value},"));
        }
        text.push_str(&format!("\"{name}\":"));
        text.push_str(content);
        text.push('}');
        text
    }
}

impl Missing {
    fn document(&self) -> Value {
        let mut members = serde_json::Map::new();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        put("app", self.origin.app.as_str().into());
        put("project", (*self.origin.project).into());
        put("reason", self.reason.code().into());
        put("message", self.message.as_str().into());
        if let Some(resource) = &self.resource {
            put("resource", resource.as_str().into());
        }
        if let Some(item) = &self.item {
            put("item", item.as_str().into());
        }
        if let Some(status) = self.status {
            put("status", status.into());
        }
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests;
