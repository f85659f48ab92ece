//! The decisions of an app and what is beneath.
//!
//! What it does: shows calls, the newest first, each with its reason and a link to its explanation, and the form that looks for them in
//! the audit trail. What it refuses to know: who may see them. Invariants: an outcome is a word, not only a colour; the form holds what
//! was typed.

use maud::{Markup, html};

use super::layout::{PageBody, SitePlace};
use super::pieces::{
    Escaped, amount, app_url, badge, cell, code, decisions_url, explain_url, head, memory, moment,
    trail, words,
};
use crate::reason::Reason;
use crate::view::{DecisionRow, DecisionsView, SearchView};

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
    let heading = match view.search {
        Some(_) => "Decisions in the audit trail",
        None => "Recent decisions",
    };
    let main = html! {
        (trail(steps, "Decisions"))
        div.title {
            h1 { (heading) }
            p.lead { "Calls to " a href=(app_url(&view.app)) { (Escaped(name)) } " and what is beneath, the newest first." }
            @match &view.search {
                Some(search) => { (outcome(search)) p { a href=(decisions_url(&view.app)) { "Recent decisions" } } },
                None => { (memory(view.remembered_since.as_deref())) },
            }
        }
        (form(&view.app, view.search.as_deref()))
        @if view.rows.is_empty() {
            div.empty { p { strong {
                @if view.search.is_some() { "No such decision was found." } @else { "Nothing was decided here lately." }
            } } }
        } @else {
            table.decisions role="table" {
                caption.vh { (heading) ", the newest first" }
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

/// How far back was looked, and what to do where that is not all.
fn outcome(search: &SearchView) -> Markup {
    html! {
        @if search.mistake.is_none() {
            p.hint {
                "Looked at " (amount(search.bytes as f64)) "B of this gateway's trail"
                @if let Some(back_to) = &search.back_to { ", back to " (moment(back_to)) }
                @if search.is_whole { ". That is all that could fit." }
                @else { ". What is older was not looked at: narrow the search, or use " code { "lightkeeper audit query" } "." }
            }
        }
    }
}

/// What is looked for. Without scripts: a form that asks for this page.
fn form(app: &str, search: Option<&SearchView>) -> Markup {
    let none = SearchView::default();
    let given = search.unwrap_or(&none);
    let wrong = given.mistake.as_deref();
    let field = |name: &str, label: &str, value: &str, limit: u32, example: &str| {
        html! {
            div.field.grow {
                label for=(name) { (label) }
                input id=(name) name=(name) value=(value) maxlength=(limit) placeholder=(example) autocomplete="off"
                    spellcheck="false" autocapitalize="none" aria-describedby=[wrong.map(|_| "mistake")];
            }
        }
    };
    html! {
        form.panel method="get" action=(decisions_url(app)) aria-labelledby="search" {
            h2 #search { "Search the audit trail" }
            div.row {
                (field("subject", "Who", &given.subject, 2048, "ann@acme.example"))
                (field("operation", "Operation", &given.operation, 128, "query.streams.read"))
                div.field {
                    label for="decision" { "Outcome" }
                    select #decision name="decision" {
                        @for (value, word) in [("", "any"), ("allow", "allowed"), ("deny", "refused")] {
                            option value=(value) selected[value == given.decision] { (word) }
                        }
                    }
                }
            }
            div.row {
                (field("since", "Since (UTC)", &given.since, 64, "2026-11-30"))
                (field("until", "Until (UTC)", &given.until, 64, "2026-11-30T08:00:00Z"))
                (field("reason", "Reason", &given.reason, 64, Reason::NotPermitted.code()))
            }
            div.row {
                (field("issuer", "Issuer", &given.issuer, 512, ""))
                (field("request_id", "Request id", &given.request_id, 64, ""))
                (field("status", "Status", &given.status, 8, "403"))
            }
            @if let Some(wrong) = wrong { p #mistake .callout.bad role="alert" { span.told { (words(wrong)) } } }
            button.primary type="submit" { "Search" }
        }
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
