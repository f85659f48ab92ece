//! The first page: the tree of apps, as its visitor may see it.
//!
//! What it does: shows one row for each app, with what it sends and what the visitor may do, and a filter. What it refuses
//! to know: who the visitor is. Invariants: the page is whole without scripts; what refreshes by itself can be
//! paused (WCAG 2.2.2).

use maud::{Markup, html};

use super::layout::{PageBody, SitePlace};
use super::pieces::{
    Escaped, ago, alert_errors, amount, app_url, badge, cell, code, count, decisions_url, head,
    moment, nothing,
};
use crate::view::{Frame, LiveView, TreeRow, TreeView};

/// Deeper apps are not indented further: they would leave no room for their names.
const DEEPEST_INDENT: usize = 12;

/// Owners that a row names; an app's page names all.
const OWNERS_SHOWN: usize = 2;

const COLUMNS: &[(&str, &str)] = &[
    ("App", ""),
    ("Project", ""),
    ("You may", ""),
    ("Items/s", "num"),
    ("Errors/min", "num"),
    ("Last seen", ""),
    ("Owners", ""),
    ("Alerts", ""),
];

pub(crate) fn page(frame: &Frame, view: &TreeView) -> PageBody {
    let main = html! {
        div.title {
            h1 { "Apps" }
            p.lead { "What " (Escaped(&frame.organization)) " sends, and what you may do with it." }
        }
        (toolbar(view))
        (alert_errors(&view.alert_errors))
        (region(frame, view))
    };
    PageBody {
        title: "Apps".to_owned(),
        place: SitePlace::Apps,
        is_place: true,
        live: true,
        path: Some("/.lightkeeper/".to_owned()),
        main,
    }
}

/// One form for both: what is typed filters, and a `refresh` (our script's, every few seconds) asks for the same again.
/// The address is replaced, not added to: the way back should not lead through half a word.
fn toolbar(view: &TreeView) -> Markup {
    html! {
        div.toolbar {
            form.filter role="search" method="get" action="/.lightkeeper/" data-live
                hx-get="/.lightkeeper/" hx-target="#tree" hx-select="#tree" hx-swap="outerHTML" hx-replace-url="true"
                hx-sync="this:replace" hx-trigger="submit, input changed delay:250ms from:#filter, refresh" {
                label for="filter" { "Filter" }
                input #filter type="search" name="filter" value=(view.filter.as_deref().unwrap_or_default())
                    maxlength="256" placeholder="App, project or owner" autocomplete="off" spellcheck="false" autocapitalize="none";
                button type="submit" { "Apply" }
                @if view.filter.is_some() { a.clear href="/.lightkeeper/" { "Clear" } }
            }
            div.live {
                p #count role="status" { (told(view)) }
                span #live-state {}
                button.quiet #pause type="button" hidden { "Pause" }
            }
        }
    }
}

/// The root is the organization, not an app.
fn told(view: &TreeView) -> String {
    match view.rows.iter().filter(|row| row.app != "/").count() {
        1 => "1 app".to_owned(),
        apps => format!("{apps} apps"),
    }
}

/// What is replaced when the page refreshes. `hx-disable`: nothing in it may ask for anything, because its text comes from others.
fn region(frame: &Frame, view: &TreeView) -> Markup {
    html! {
        section #tree data-count=(told(view)) aria-label="Tree of apps" hx-disable {
            @if view.rows.is_empty() { (empty(view)) } @else {
                table.tree role="table" {
                    caption.vh { "Apps, each beneath the app that it belongs to" }
                    (head(COLUMNS))
                    tbody role="rowgroup" { @for row in &view.rows { (line(row)) } }
                }
                p.note {
                    "Rates and errors are those of the last minute, with everything beneath. As of " (moment(&frame.time)) "."
                }
            }
        }
    }
}

fn empty(view: &TreeView) -> Markup {
    html! {
        div.empty {
            @match &view.filter {
                Some(filter) => {
                    p { strong { "No app fits “" (Escaped(filter)) "”." } }
                    p { a href="/.lightkeeper/" { "Show all that you may see" } }
                }
                None => {
                    p { strong { "There is nothing here that you may see yet." } }
                    p { "An app’s owners, or the keepers of the policy, can bind you or one of your groups to it." }
                }
            }
        }
    }
}

fn line(row: &TreeRow) -> Markup {
    let depth = row.depth.min(DEEPEST_INDENT);
    html! {
        tr role="row" {
            th role="rowheader" scope="row" class={ "branch d" (depth) } {
                a id={ "app-" (app_url(&row.app)) } href=(app_url(&row.app)) { (Escaped(&row.name)) }
                @if row.depth > 0 { span.vh { ", level " (row.depth) ", " (Escaped(&row.app)) } }
            }
            (cell("Project", "project", html! {
                @match &row.project { Some(project) => (code(project)), None => (nothing("none of its own")) }
            }))
            (cell("You may", "may", may(row)))
            (live(row.live.as_ref()))
            (cell("Owners", "owners", owners(&row.owners)))
            (cell("Alerts", "alerts", firing(row.firing)))
        }
    }
}

fn may(row: &TreeRow) -> Markup {
    html! {
        @if row.can_write { (badge("can", "write")) " " }
        @if row.can_read { (badge("can", "read")) " " }
        @if row.can_audit {
            a.small href=(decisions_url(&row.app)) { "decisions" span.vh { " of " (Escaped(&row.app)) } }
        }
        @if !row.can_write && !row.can_read && !row.can_audit { (nothing("nothing here itself")) }
    }
}

fn live(live: Option<&LiveView>) -> Markup {
    html! {
        @match live {
            Some(live) => {
                (cell("Items/s", "num", amount(live.items_per_second)))
                (cell("Errors/min", "num", html! {
                    @if live.errors_per_minute > 0 { strong.bad-text { (count(live.errors_per_minute)) } } @else { "0" }
                }))
                (cell("Last seen", "seen", ago(live.last_seen.as_deref(), live.last_seen_ago.as_deref())))
            }
            None => {
                (cell("Items/s", "num", nothing("unknown")))
                (cell("Errors/min", "num", nothing("unknown")))
                (cell("Last seen", "seen", nothing("unknown")))
            }
        }
    }
}

fn owners(owners: &[String]) -> Markup {
    html! {
        @if owners.is_empty() { (nothing("none named")) }
        @for (index, owner) in owners.iter().take(OWNERS_SHOWN).enumerate() {
            @if index > 0 { ", " }
            (Escaped(owner))
        }
        @if owners.len() > OWNERS_SHOWN { " and " (owners.len() - OWNERS_SHOWN) " more" }
    }
}

fn firing(firing: Option<u64>) -> Markup {
    match firing {
        None => nothing("unknown"),
        Some(0) => html! { span.calm { "none" } },
        Some(alerts) => badge("bad", &format!("{} firing", count(alerts))),
    }
}
