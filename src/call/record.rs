//! What a call leaves in the trail, as it is collected.
//!
//! What it does: gathers what the steps found into parts of one record. What it refuses to know: the framework.

use std::sync::Arc;

use super::context::Walk;
use crate::apps::AppPath;
use crate::audit::{Items, PartRecord};
use crate::authorize::Permit;
use crate::reason::Reason;
use crate::transform::{Part, Split};

/// What was asked of the backend for a page, for its record.
#[derive(Debug, Default)]
pub struct Asked {
    pub parts: Vec<PartRecord>,
    pub bindings: Vec<Arc<str>>,
}

impl Asked {
    /// One part for each project that is asked, and the bindings that allow it, each once.
    pub fn add<'a>(&mut self, permits: impl Iterator<Item = &'a Permit>) {
        for permit in permits {
            for binding in permit.bindings() {
                if !self.bindings.contains(binding) {
                    self.bindings.push(binding.clone());
                }
            }
            self.parts.push(PartRecord {
                destination: None,
                apps: vec![permit.app().as_str().into()],
                project: permit.project().map(Into::into),
                items: Items { accepted: 0, rejected: 0 },
                reason: Reason::NotSent,
                upstream_status: None,
            });
        }
    }
}

impl Walk {
    /// An export that was taken apart: its app is the one above all apps in it, its project the only one.
    pub fn note_split(&mut self, split: &Split) {
        let permits = || split.parts.iter().flat_map(Part::permits);
        let mut apps = permits().map(|permit| permit.app().clone());
        if let Some(first) = apps.next() {
            self.permitted = true;
            self.upstream = Some(crate::route::Upstream::Ingest.name());
            self.app = Some(apps.fold(first, |above, app| above.shared(&app)).to_string());
        }
        if let [only] = split.parts.as_slice() {
            self.project = only.project().map(str::to_owned);
        }
        for binding in permits().flat_map(Permit::bindings) {
            if !self.bindings.contains(binding) {
                self.bindings.push(binding.clone());
            }
        }
        if split.parts.len() > 1 {
            self.parts = split
                .parts
                .iter()
                .map(|part| PartRecord {
                    apps: part.permits().map(|permit| permit.app().as_str().into()).collect(),
                    project: part.project().map(Into::into),
                    destination: None,
                    items: Items { accepted: 0, rejected: 0 },
                    reason: Reason::NotSent,
                    upstream_status: None,
                })
                .collect();
        }
        self.note_items(0, split.rejected.items);
    }

    /// A question to a part of the tree, and the permits for its projects.
    pub fn note_tree<'a>(&mut self, app: &AppPath, permits: impl Iterator<Item = &'a Permit>) {
        self.permitted = true;
        self.upstream = Some(crate::route::Upstream::Query.name());
        self.app = Some(app.to_string());
        let mut asked = Asked { parts: std::mem::take(&mut self.parts), bindings: std::mem::take(&mut self.bindings) };
        asked.add(permits);
        (self.parts, self.bindings) = (asked.parts, asked.bindings);
        if let [only] = self.parts.as_slice() {
            self.project = only.project.as_deref().map(str::to_owned);
        }
    }

    /// What became of the part with this place in the split.
    pub fn note_part(&mut self, place: usize, items: Items, reason: Reason, upstream_status: Option<u16>) {
        self.upstream_status = upstream_status.or(self.upstream_status);
        if let Some(part) = self.parts.get_mut(place) {
            (part.items, part.reason, part.upstream_status) = (items, reason, upstream_status);
        }
    }

    /// A page for which the backend was asked.
    pub fn note_asked(&mut self, asked: Asked) {
        if !asked.parts.is_empty() {
            self.upstream = Some(crate::route::Upstream::Query.name());
            (self.parts, self.bindings) = (asked.parts, asked.bindings);
        }
    }

    /// A webhook's message about an alert of this app: its secret is the grant.
    pub fn note_alert(&mut self, app: &AppPath, project: Option<&str>) {
        self.app = Some(app.to_string());
        self.project = project.map(str::to_owned);
        self.permitted = true;
    }

    /// Where the message goes.
    pub fn note_destinations(&mut self, names: &[String]) {
        let part = |name: &String| PartRecord {
            apps: self.app.iter().map(|app| app.as_str().into()).collect(),
            project: None,
            destination: Some(name.as_str().into()),
            items: Items { accepted: 0, rejected: 0 },
            reason: Reason::NotSent,
            upstream_status: None,
        };
        self.parts = names.iter().map(part).collect();
    }

    /// What became of the message at the destination with this place in the list.
    pub fn note_destination(&mut self, place: usize, took: bool, reason: Reason, status: Option<u16>) {
        if let Some(part) = self.parts.get_mut(place) {
            part.items.accepted = u64::from(took);
            (part.reason, part.upstream_status) = (reason, status);
        }
    }
}
