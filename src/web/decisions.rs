//! The recent decisions of an app and what is beneath.
//!
//! What it does: shows calls, the newest first, each with its reason and a link to its explanation. What it refuses to know:
//! who may see them. Invariant: an outcome is a word, not only a colour.

use maud::{Markup, html};

use super::layout::{PageBody, SitePlace};
use super::pieces::{
    Escaped, app_url, badge, cell, code, decisions_url, explain_url, head, memory, moment, trail,
    words,
};
use crate::view::{DecisionRow, DecisionsView};

const COLUMNS: &[(&str, &str)] = &[
    ("Outcome", ""),
    ("Time", ""),
    ("Who", ""),
    ("Call", ""),
    ("App", ""),
    ("Bindings", ""),
    ("Request", ""),
];

pub(crate) fn page(view: &DecisionsView) -> PageBody {
    let name = view
        .trail
        .last()
        .map_or(view.app.as_str(), |(_, name)| name.as_str());
    let steps = view
        .trail
        .iter()
        .map(|(app, name)| (app.as_str(), name.as_str()));
    let main = html! {
        (trail(steps, "Decisions"))
        div.title {
            h1 { "Recent decisions" }
            p.lead { "Calls to " a href=(app_url(&view.app)) { (Escaped(name)) } " and what is beneath, the newest first." }
            (memory(view.remembered_since.as_deref()))
        }
        @if view.rows.is_empty() {
            div.empty { p { strong { "Nothing was decided here lately." } } }
        } @else {
            table.decisions role="table" {
                caption.vh { "Recent decisions, the newest first" }
                (head(COLUMNS))
                tbody role="rowgroup" { @for row in &view.rows { (line(row)) } }
            }
        }
    };
    PageBody {
        title: format!("Decisions of {name}"),
        place: SitePlace::Apps,
        is_place: false,
        live: false,
        path: Some(decisions_url(&view.app)),
        main,
    }
}

fn line(row: &DecisionRow) -> Markup {
    let allowed = row.decision == "allow";
    html! {
        tr role="row" {
            (cell("Outcome", "outcome", html! {
                (badge(if allowed { "ok" } else { "bad" }, if allowed { "allowed" } else { "refused" }))
                @if let Some(status) = row.status { span.status { (status) } }
                @if !allowed { div { (code(row.reason.code())) } }
                @if !allowed { div.beside { (words(&row.reason.explanation())) } }
            }))
            (cell("Time", "when", moment(&row.time)))
            (cell("Who", "who-cell", html! { (code(&row.subject)) div.beside { (Escaped(&row.issuer)) } }))
            (cell("Call", "call", html! {
                code { (Escaped(&row.http_method)) " " (Escaped(&row.path)) }
                div.beside { (Escaped(&row.operation)) }
            }))
            (cell("App", "place", html! {
                @if row.app.is_empty() { "none" } @else { a href=(app_url(&row.app)) { (Escaped(&row.app)) } }
            }))
            (cell("Bindings", "", html! {
                @if row.bindings.is_empty() { "none" }
                @else { ul.tags { @for binding in &row.bindings { li { (Escaped(binding)) } } } }
            }))
            (cell("Request", "", html! {
                a href=(explain_url(&row.request_id)) { "Explain" span.vh { " " (Escaped(&row.request_id)) } }
            }))
        }
    }
}
