//! The alerts of an app's page: what the backend says now, and what it told us by itself.
//!
//! What it does: asks the projects beneath an app as `GET /apps/{path}/-/alerts` does, and adds alerts that only the inlet
//! knows of. What it refuses to know: how a project is asked, HTML. Invariants: each alert is one that the visitor may read;
//! a page waits for the backend so long and no longer, and shows what came; what did not come is named.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::{PageContext, Viewer};
use crate::accept::TreeRequest;
use crate::apps::AppPath;
use crate::audit::{Items, timestamp};
use crate::authorize::NodeView;
use crate::call::record::Asked;
use crate::federate::{self, Missing};
use crate::memory::alert_states::{AlertState, FIRING};
use crate::profiles::{Around, TreeResource};
use crate::query::fan_out::{Arrived, Asking, Gathered};
use crate::query::{alert_status, fan_out, subtree};
use crate::reason::Reason;
use crate::view::{AlertRow, AppView, Link};

/// How long a page waits for the backend.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most questions that a page asks: two of each project.
const QUESTIONS: usize = 64;
/// The most states that a page asks for one by one.
const STATES: usize = 100;
/// How many alerts are shown.
const ROWS: usize = 200;
/// What a visitor needs one of to be told of an app's alerts.
const READS: [&str; 2] = ["query.metric_alerts.read", "query.conditions.read"];

/// Whether alerts of this very app are the visitor's to read.
pub(crate) fn reads(row: &NodeView) -> bool {
    READS.iter().any(|permission| row.holds(permission))
}

/// Fills in the app's alerts.
pub(crate) async fn fill(
    visit: &PageContext<'_>,
    sight: &Viewer<'_>,
    app: &AppPath,
    view: &mut AppView,
) -> Asked {
    let mut asked = Asked::default();
    // The ids and names of each project's alerts that the backend listed.
    let mut listed: BTreeSet<(String, String)> = BTreeSet::new();
    if let Some(resource) = visit.snapshot.profile.tree_resource(&Method::GET, "alerts") {
        ask(visit, app, resource, view, &mut listed, &mut asked).await;
    }
    for alarm in visit.shared.alert_states.of(app) {
        if !sight.row(&alarm.app).is_some_and(reads) {
            continue;
        }
        let row = told(sight, &alarm);
        let known = |text: &str| listed.contains(&(row.project.clone(), text.to_owned()));
        if !known(&alarm.id) && !known(&alarm.name) {
            view.alerts.push(row);
        }
    }
    let key = |row: &AlertRow| (row.state != FIRING, row.app.clone(), row.name.clone());
    view.alerts.sort_by_cached_key(key);
    if let Some(more) = view.alerts.len().checked_sub(ROWS).filter(|more| *more > 0) {
        view.alerts.truncate(ROWS);
        view.alert_errors.push(format!(
            "{more} more alerts are not shown: open an app beneath"
        ));
    }
    asked
}

async fn ask(
    visit: &PageContext<'_>,
    app: &AppPath,
    resource: &TreeResource,
    view: &mut AppView,
    listed: &mut BTreeSet<(String, String)>,
    asked: &mut Asked,
) {
    let question = TreeRequest {
        app: app.clone(),
        resource: resource.name.clone(),
        query: Vec::new(),
    };
    let Ok(mut targets) = fan_out::targets(
        visit.snapshot,
        visit.identity,
        &question,
        resource,
        visit.now,
    ) else {
        return;
    };
    if let Some(more) = targets
        .len()
        .checked_sub(QUESTIONS)
        .filter(|more| *more > 0)
    {
        view.alert_errors.push(format!(
            "{more} more questions were not asked: open an app beneath"
        ));
        targets.truncate(QUESTIONS);
    }
    let names = visit.snapshot.policy.backends();
    asked.add(names, targets.iter().map(|target| &target.permit));
    let asking = Asking::reading(
        (visit.shared, visit.snapshot),
        visit.account,
        visit.identity.facts(),
        visit.ours,
        visit.now,
    );
    let asking = Arc::new(asking.within(PATIENCE, STATES));
    let gathered = fan_out::ask_all(&asking, targets).await;
    let states = alert_status::ask(&asking, visit.identity, resource, &gathered).await;
    let Gathered { arrived, failed } = gathered;
    let mut missing: Vec<Missing> = failed
        .iter()
        .map(|(_, origin, _, failed)| failed.missing(origin, None, None))
        .collect();
    for (place, _, _, failed) in &failed {
        note(asked, *place, 0, failed.reason, failed.status);
    }
    for one in &arrived {
        match rows(&asking, resource, one, &states, listed) {
            Ok(rows) => {
                note(
                    asked,
                    one.place,
                    rows.len() as u64,
                    Reason::Ok,
                    one.reply.upstream_status(),
                );
                view.alerts.extend(rows);
            }
            Err(fault) => {
                note(
                    asked,
                    one.place,
                    0,
                    fault.reason(),
                    one.reply.upstream_status(),
                );
                missing.push(fan_out::Failed::from(fault).missing(&one.origin, None, None));
            }
        }
    }
    missing.extend(states.missing.iter().map(|(_, missing)| missing.clone()));
    asked.parts.extend(states.into_parts());
    for missing in &missing {
        let line = format!(
            "`{}`: {} (`{}`)",
            missing.origin.project, missing.message, missing.reason
        );
        if !view.alert_errors.contains(&line) {
            view.alert_errors.push(line);
        }
    }
}

fn note(asked: &mut Asked, place: usize, count: u64, reason: Reason, status: Option<u16>) {
    if let Some(part) = asked.parts.get_mut(place) {
        part.items = Items {
            accepted: count,
            rejected: 0,
        };
        (part.reason, part.upstream_status) = (reason, status);
    }
}

/// One project's alerts of one kind.
fn rows(
    asking: &Asking,
    resource: &TreeResource,
    one: &Arrived,
    states: &alert_status::States,
    listed: &mut BTreeSet<(String, String)>,
) -> Result<Vec<AlertRow>, federate::MergeFault> {
    let Some(source) = resource.sources.get(one.source) else {
        return Ok(Vec::new());
    };
    let project = one.origin.project.to_string();
    let items = federate::items(&one.reply.body, &source.items)?;
    let row = |item: &federate::Item<'_>| {
        let (id, name) = (item.text(&source.id), item.text(&source.name));
        listed.extend(
            [&id, &name]
                .into_iter()
                .flatten()
                .map(|text| (project.clone(), text.clone())),
        );
        let known = alert_status::known(asking, one, source, item, id.as_deref(), states);
        let page = subtree::link(asking, &one.origin, source, id.as_deref(), name.as_deref());
        AlertRow {
            name: name.or(id).unwrap_or_else(|| "unnamed".to_owned()),
            app: one.origin.app.to_string(),
            project: project.clone(),
            state: known.state,
            since: known.since,
            links: links(page, known.around),
        }
    };
    Ok(items.iter().map(row).collect())
}

/// An alert that we were told of.
fn told(sight: &Viewer<'_>, alarm: &AlertState) -> AlertRow {
    let tree = sight.snapshot.policy.tree();
    let project = tree.find(&alarm.app).and_then(|node| tree.project_of(node));
    let around = project
        .map(|project| Around::of(&sight.snapshot.ui, project, Some(alarm.since.0), sight.now));
    AlertRow {
        name: alarm.name.clone(),
        app: alarm.app.to_string(),
        project: project
            .map(|project| project.to_string())
            .unwrap_or_default(),
        state: alarm.state.clone(),
        since: Some(timestamp(alarm.since.0)),
        links: around.map(|around| links(None, around)).unwrap_or_default(),
    }
}

fn links(alert: Option<String>, around: Around) -> Vec<Link> {
    let Around {
        services,
        dashboards,
        traces,
    } = around;
    let titled = [
        ("Alert", alert),
        ("Services", services),
        ("Dashboards", dashboards),
        ("Traces", traces),
    ];
    titled
        .into_iter()
        .filter_map(|(title, url)| {
            Some(Link {
                title: title.to_owned(),
                url: url?,
            })
        })
        .collect()
}
