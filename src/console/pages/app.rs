//! One app's page.
//!
//! What it does: tells what the visitor may do at an app and why, what it sends, and how to begin. What it refuses to know:
//! other apps' details. Invariant: who sends is shown only to those who may read or audit there.

use super::{Viewer, ago, links, per_second, snippets};
use crate::apps::{AlsoTerm, AppPath};
use crate::audit::timestamp;
use crate::authorize::NodeView;
use crate::memory::live::ServiceStats;
use crate::respond::Refusal;
use crate::telemetry::LegLabels;
use crate::view::{AppView, GrantRow, LegItems, LegRow, SenderRow, ServiceRow};

/// The app, as far as it is the visitor's.
pub(crate) fn app(sight: &Viewer<'_>, app: &AppPath) -> Result<AppView, Refusal> {
    let row = sight.must_see(app)?;
    let place = sight
        .rows
        .iter()
        .position(|other| other.app == *app)
        .unwrap_or_default();
    let mut trail = sight.trail(app);
    trail.pop();
    let beneath = sight
        .rows
        .iter()
        .skip(place + 1)
        .take_while(|below| below.depth > row.depth);
    let home = row.project.as_deref().and_then(|project| {
        let tree = sight.snapshot.policy.tree();
        tree.node(tree.home(project)?).map(|home| home.path.clone())
    });
    let project = row.project.as_deref();
    Ok(AppView {
        app: app.to_string(),
        name: sight.name(app),
        trail,
        project: project.map(str::to_owned),
        project_home: home.filter(|home| home != app).map(|home| home.to_string()),
        backend: sight.backend(app).filter(|_| project.is_some()),
        legs: project.map_or_else(Vec::new, |project| legs(sight, row, project)),
        owners: row.owners.clone(),
        apps: beneath
            .filter(|below| below.depth == row.depth + 1)
            .map(|below| sight.step(&below.app))
            .collect(),
        live: sight.live(place),
        services: services(sight, row),
        grants: row
            .grants
            .iter()
            .map(|grant| GrantRow {
                permission: grant.permission.clone(),
                bindings: grant.bindings.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        snippets: snippets::snippets(sight, row),
        links: project
            .filter(|_| reads(row) && sight.has_pages(app))
            .map(|project| links(sight.snapshot, project, None, sight.now))
            .unwrap_or_default(),
        alerts: Vec::new(),
        alert_errors: Vec::new(),
        is_unasked: project.is_some()
            && !(sight.snapshot.profile.has_query() && sight.has_pages(app)),
        can_audit: sight.may_audit(app),
    })
}

fn reads(row: &NodeView) -> bool {
    row.holds("query.*.read")
}

/// The other backends of an app's data. The figures are of the whole project: they are for those who may read or audit at its home.
fn legs(sight: &Viewer<'_>, row: &NodeView, project: &str) -> Vec<LegRow> {
    let (policy, metrics) = (&sight.snapshot.policy, &sight.shared.metrics);
    let Some(node) = policy.tree().find(&row.app) else {
        return Vec::new();
    };
    let may_know =
        policy.tree().home(project) == Some(node) && (reads(row) || sight.may_audit(&row.app));
    let (names, own) = (policy.backends(), policy.backend_of(node, sight.now));
    let shown = |also: AlsoTerm| {
        let (backend, own) = (names.name(also.backend), names.name(own));
        let of = |backend, against, leg, result| {
            let labels = LegLabels {
                backend,
                against,
                leg,
                project,
                signal: "",
            };
            metrics.leg_items(&labels, result)
        };
        let mode = also.mode.name();
        let other = |result| of(backend, own, mode, result);
        LegRow {
            backend: backend.to_owned(),
            mode,
            items: may_know.then(|| LegItems {
                sent: other("sent"),
                accepted: other("accepted"),
                rejected: other("rejected"),
                refused: other("refused"),
                dropped: other("dropped"),
                accepted_by_own: of(own, backend, "primary", "accepted"),
            }),
        }
    };
    policy.also_of(node, sight.now).map(shown).collect()
}

fn services(sight: &Viewer<'_>, row: &NodeView) -> Vec<ServiceRow> {
    if row.grants.is_empty() {
        return Vec::new();
    }
    let may_know_senders = reads(row) || sight.may_audit(&row.app);
    let link = |name: &str| {
        let is_shown = reads(row) && sight.has_pages(&row.app);
        let project = row.project.as_deref().filter(|_| is_shown)?;
        links(sight.snapshot, project, Some(name), sight.now)
            .into_iter()
            .next()
            .map(|link| link.url)
    };
    let shown = |service: ServiceStats| ServiceRow {
        items_per_second: per_second(service.items),
        last_seen: Some(timestamp(service.last_seen.0)),
        last_seen_ago: Some(ago(service.last_seen, sight.now)),
        link: link(&service.name),
        senders: service
            .senders
            .iter()
            .filter(|_| may_know_senders)
            .map(|sender| SenderRow {
                subject: sender.subject.to_string(),
                issuer: sender.issuer.to_string(),
                method: sender.method,
                last_seen_ago: ago(sender.last_seen, sight.now),
            })
            .collect(),
        name: service.name,
    };
    sight
        .shared
        .live
        .services(&row.app, sight.now)
        .into_iter()
        .map(shown)
        .collect()
}
