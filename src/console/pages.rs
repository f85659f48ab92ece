//! What a page shows, gathered for one visitor.
//!
//! What it does: asks policy, live and recent calls for what the visitor may see, and lays it out as plain values. What it
//! refuses to know: HTML, sockets. Invariants: nothing is in a page that its visitor may not see, and a part of the tree
//! that is not the visitor's looks like one that does not exist, in every page and every word.

mod alerts;
mod app;
mod calls;
mod snippets;
mod story;
mod trail;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::accept::PageRequest;
use crate::apps::{AppPath, BackendId};
use crate::audit::timestamp;
use crate::authorize::NodeView;
use crate::clock::UnixMillis;
use crate::identify::{Facts, Identity};
use crate::limits::Account;
use crate::profiles::{AUDIT_READ, UiPage, UiSpot};
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::{Shared, Snapshot};
use crate::view::{Link, LiveView, Page};

use crate::call::record::Asked;
use crate::memory::live::Minute;

/// How far back links to traces look.
const LOOK_BACK_MS: i64 = 60 * 60 * 1000;

/// Who looks, and at what gateway.
pub struct PageContext<'a> {
    pub shared: &'a Arc<Shared>,
    pub snapshot: &'a Arc<Snapshot>,
    /// The caller that the answers of the backend are held for.
    pub account: &'a Account,
    pub identity: &'a Identity,
    pub now: UnixMillis,
    /// Scheme and authority by which the visitor knows us.
    pub ours: &'a str,
}

/// The content of a page, and what the backend was asked for it. An app that is not the visitor's is refused like one
/// that does not exist.
pub async fn page(visit: &PageContext<'_>, ask: &PageRequest) -> Result<(Page, Asked), Refusal> {
    let sight = Viewer::of(visit);
    let page = match ask {
        PageRequest::Tree { filter } => Page::Tree(tree::tree(&sight, filter.as_deref())),
        PageRequest::App(app) => {
            let mut view = Box::new(app::app(&sight, app)?);
            // Large and slow beside all else here.
            let asked = Box::pin(alerts::fill(visit, &sight, app, &mut view)).await;
            return Ok((Page::App(view), asked));
        }
        PageRequest::Explain(ask) => Page::Explain(Box::new(calls::explain(&sight, ask))),
        PageRequest::Decisions(app) => Page::Decisions(calls::decisions(&sight, app)?),
        PageRequest::Trail(ask) => {
            let searched = Box::pin(trail::search(&sight, ask)).await?;
            Page::Decisions(searched)
        }
    };
    Ok((page, Asked::default()))
}

/// Into the backend's own pages: of an app's project, or of one of its services.
fn links(snapshot: &Snapshot, project: &str, service: Option<&str>, now: UnixMillis) -> Vec<Link> {
    let window = Some((now.0.saturating_sub(LOOK_BACK_MS), now.0));
    let spot = UiSpot {
        project,
        name: service,
        window,
        ..UiSpot::default()
    };
    let pages: &[(UiPage, &str)] = match service {
        Some(_) => &[(UiPage::Service, "Service")],
        None => &[
            (UiPage::Services, "Services"),
            (UiPage::Dashboards, "Dashboards"),
            (UiPage::Alerts, "Alerts"),
            (UiPage::Explorer, "Traces of the last hour"),
        ],
    };
    let link = |(page, title): &(UiPage, &str)| {
        Some(Link {
            title: (*title).to_owned(),
            url: snapshot.ui.link(*page, &spot)?,
        })
    };
    pages.iter().filter_map(link).collect()
}

/// All that one visitor may see, found once.
struct Viewer<'a> {
    shared: &'a Shared,
    snapshot: &'a Snapshot,
    facts: &'a Facts,
    now: UnixMillis,
    ours: &'a str,
    /// Depth first, the root first.
    rows: Vec<NodeView>,
    /// How many alerts fire at each app of which any is known.
    alerts: BTreeMap<AppPath, u64>,
}

impl<'a> Viewer<'a> {
    fn of(visit: &PageContext<'a>) -> Self {
        Self::at(
            visit.shared,
            visit.snapshot,
            visit.identity.facts(),
            visit.now,
            visit.ours,
        )
    }

    fn at(
        shared: &'a Shared,
        snapshot: &'a Snapshot,
        facts: &'a Facts,
        now: UnixMillis,
        ours: &'a str,
    ) -> Self {
        let rows = snapshot.policy.overview(facts, now);
        Viewer {
            shared,
            snapshot,
            facts,
            now,
            ours,
            rows,
            alerts: shared.alert_states.counts(),
        }
    }

    fn row(&self, app: &AppPath) -> Option<&NodeView> {
        self.rows.iter().find(|row| row.app == *app)
    }

    /// The node, or the refusal that hides whether there is one.
    fn must_see(&self, app: &AppPath) -> Result<&NodeView, Refusal> {
        self.row(app)
            .ok_or_else(|| Refusal::new(Reason::AppUnknown))
    }

    /// The backend of an app's data now.
    fn backend_of(&self, app: &AppPath) -> Option<BackendId> {
        let policy = &self.snapshot.policy;
        let node = policy.tree().find(app)?;
        Some(policy.backend_of(node, self.now))
    }

    /// Its name, where there are several.
    fn backend(&self, app: &AppPath) -> Option<String> {
        let told = self
            .snapshot
            .policy
            .backends()
            .told(self.backend_of(app)?)?;
        Some(told.to_string())
    }

    /// Whether the backend's own pages show the app's data.
    fn has_pages(&self, app: &AppPath) -> bool {
        let names = self.snapshot.policy.backends();
        !names.are_several()
            || self
                .backend_of(app)
                .is_some_and(|backend| self.snapshot.is_asked(backend))
    }

    /// Whether the visitor may do anything at this very app: to know of it as a step towards another is less.
    fn holds_at(&self, app: &AppPath) -> bool {
        self.row(app).is_some_and(|row| !row.grants.is_empty())
    }

    fn may_audit(&self, app: &AppPath) -> bool {
        self.row(app).is_some_and(|row| row.holds(AUDIT_READ))
    }

    fn name(&self, app: &AppPath) -> String {
        match app.name() {
            "" => self.snapshot.organization.clone(),
            name => name.to_owned(),
        }
    }

    /// Path and name, for links within the site.
    fn step(&self, app: &AppPath) -> (String, String) {
        (app.to_string(), self.name(app))
    }

    /// From the root to the app itself.
    fn trail(&self, app: &AppPath) -> Vec<(String, String)> {
        let mut steps: Vec<AppPath> =
            std::iter::successors(Some(app.clone()), AppPath::parent).collect();
        steps.reverse();
        steps.iter().map(|step| self.step(step)).collect()
    }

    /// Alerts that fire now at the node in this place and beneath, as far as they are the visitor's to read and anybody told
    /// us; `None`: unknown.
    fn firing(&self, place: usize) -> Option<u64> {
        let row = self.rows.get(place)?;
        let beneath = self
            .rows
            .iter()
            .skip(place + 1)
            .take_while(|below| below.depth > row.depth);
        let seen = std::iter::once(row)
            .chain(beneath)
            .filter(|row| alerts::reads(row));
        seen.filter_map(|row| self.alerts.get(&row.app))
            .copied()
            .reduce(|sum, more| sum + more)
    }

    /// The last minute of the node in this place and of all beneath it, as far as the visitor may do something there.
    fn live(&self, place: usize) -> Option<LiveView> {
        let row = self.rows.get(place).filter(|row| !row.grants.is_empty())?;
        let beneath = self
            .rows
            .iter()
            .skip(place + 1)
            .take_while(|below| below.depth > row.depth);
        let seen = std::iter::once(row)
            .chain(beneath)
            .filter(|row| !row.grants.is_empty());
        let mut minutes = seen.filter_map(|row| self.shared.live.minute(&row.app, self.now));
        let mut sum = minutes.next()?;
        minutes.for_each(|minute| sum.add(minute));
        Some(shown(&sum, self.now))
    }
}

fn shown(minute: &Minute, now: UnixMillis) -> LiveView {
    LiveView {
        items_per_second: per_second(minute.items),
        bytes_per_second: per_second(minute.bytes),
        errors_per_minute: minute.errors,
        last_seen: minute.last_seen.map(|at| timestamp(at.0)),
        last_seen_ago: minute.last_seen.map(|at| ago(at, now)),
    }
}

/// Over the last minute.
fn per_second(count: u64) -> f64 {
    count as f64 / 60.0
}

/// `now`, `12 s ago`, `3 min ago`, `5 h ago`, `2 d ago`.
fn ago(at: UnixMillis, now: UnixMillis) -> String {
    match now.seconds().saturating_sub(at.seconds()) {
        ..=0 => "now".to_owned(),
        seconds @ 1..=119 => format!("{seconds} s ago"),
        seconds @ 120..=7199 => format!("{} min ago", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_do() {
        for (seconds, told) in [
            (-5, "now"),
            (0, "now"),
            (1, "1 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7199, "119 min ago"),
            (7200, "2 h ago"),
            (172_800, "2 d ago"),
        ] {
            assert_eq!(ago(UnixMillis(0), UnixMillis(seconds * 1000)), told);
        }
    }
}
