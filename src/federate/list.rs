//! Lists: items after items, each with where it comes from.
//!
//! What it does: finds the items in a project's answer, and writes each with `app`, `project` and `link` before the
//! backend's own members. What it refuses to know: what an item is. Invariant: our members win; one of the backend's
//! that has such a name is kept under `original_{name}`.

use serde_json::Value;
use serde_json::value::RawValue;

use super::raw::{RawMembers, at, text_at};
use super::{MergeFault, Origin};

/// The items at a pointer in a whole answer. `null` stands for none: some backends write an empty list so.
pub(crate) fn items<'a>(body: &'a [u8], pointer: &str) -> Result<Vec<Item<'a>>, MergeFault> {
    let document: &RawValue = serde_json::from_slice(body).map_err(|_| MergeFault::Shape)?;
    let list = at(document, pointer).ok_or(MergeFault::Shape)?;
    let entries: Option<Vec<&RawValue>> =
        serde_json::from_str(list.get()).map_err(|_| MergeFault::Shape)?;
    let item = |entry: &'a RawValue| {
        let members = RawMembers::of(entry).ok_or(MergeFault::Shape)?;
        Ok(Item { entry, members })
    };
    entries.unwrap_or_default().into_iter().map(item).collect()
}

/// One item as the backend wrote it.
pub(crate) struct Item<'a> {
    entry: &'a RawValue,
    members: RawMembers<'a>,
}

impl Item<'_> {
    /// The text at a pointer within the item.
    pub(crate) fn text(&self, pointer: &str) -> Option<String> {
        text_at(self.entry, pointer)
    }

    /// The item with what we add: where it is from, its link (`null` without one), and `more`.
    pub(crate) fn write(
        &self,
        origin: &Origin,
        link: Option<&str>,
        more: &[(&str, Value)],
    ) -> String {
        let ours = [
            ("app", Value::from(origin.app.as_str())),
            ("project", Value::from(&*origin.project)),
            ("link", Value::from(link)),
        ];
        let mut text = String::with_capacity(self.entry.get().len() + 256);
        let mut put = |name: &str, value: &dyn std::fmt::Display| {
            let before = if text.is_empty() { '{' } else { ',' };
            text.push_str(&format!("{before}{}:{value}", Value::from(name)));
        };
        for (name, value) in ours.iter().chain(more) {
            put(name, value);
        }
        for (name, value) in &self.members.0 {
            if ours.iter().chain(more).any(|(known, _)| known == name) {
                put(&format!("original_{name}"), value);
            } else {
                put(name, value);
            }
        }
        text.push('}');
        text
    }
}
