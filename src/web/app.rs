//! One app's page.
//!
//! What it does: shows an app's facts, alerts, services and who sent them, what the visitor may do, settings to copy, and
//! the apps beneath. What it refuses to know: who the visitor is. Invariant: a link into another site says so.

use maud::{Markup, html};

use super::layout::{PageBody, SitePlace};
use super::pieces::{
    Escaped, ago, alert_errors, amount, app_url, badge, bytes, cell, code, count, decisions_url,
    head, method, moment, outward, trail,
};
use crate::view::{AlertRow, AppView, GrantRow, LegItems, LegRow, ServiceRow, Snippet};

pub(crate) fn page(view: &AppView) -> PageBody {
    let steps = view
        .trail
        .iter()
        .map(|(app, name)| (app.as_str(), name.as_str()));
    let main = html! {
        (trail(steps, &view.name))
        div.title {
            h1 { (Escaped(&view.name)) }
            p.lead { (code(&view.app)) }
        }
        (facts(view))
        div.columns {
            div.column {
                (alerts(view))
                (services(&view.services))
                (legs(&view.legs))
                (snippets(&view.snippets))
            }
            div.column.side {
                (grants(&view.grants))
                (beneath(&view.apps))
                (elsewhere(view))
            }
        }
    };
    PageBody {
        title: view.name.clone(),
        place: SitePlace::Apps,
        is_place: false,
        live: false,
        path: Some(app_url(&view.app)),
        main,
    }
}

fn facts(view: &AppView) -> Markup {
    html! {
        dl.facts.strip {
            div { dt { "Project" } dd {
                @match &view.project { Some(project) => (code(project)), None => "none" }
                @if let Some(home) = &view.project_home { " of " a href=(app_url(home)) { (Escaped(home)) } }
            } }
            @if let Some(backend) = &view.backend {
                div { dt { "Backend" } dd { (code(backend)) } }
            }
            @if let Some(live) = &view.live {
                div { dt { "Items" } dd.figure { (amount(live.items_per_second)) "/s" } }
                div { dt { "Bytes" } dd.figure { (bytes(live.bytes_per_second)) } }
                div { dt { "Errors" } dd.figure {
                    @if live.errors_per_minute > 0 { strong.bad-text { (count(live.errors_per_minute)) "/min" } }
                    @else { "0/min" }
                } }
                div { dt { "Last seen" } dd { (ago(live.last_seen.as_deref(), live.last_seen_ago.as_deref())) } }
            }
            div { dt { "Owners" } dd {
                @if view.owners.is_empty() { "none named" }
                @else { ul.plain { @for owner in &view.owners { li { (Escaped(owner)) } } } }
            } }
        }
    }
}

fn alerts(view: &AppView) -> Markup {
    html! {
        section aria-labelledby="alerts" {
            h2 #alerts { "Alerts" }
            (alert_errors(&view.alert_errors))
            @if view.is_unasked {
                p.none-yet { "The backend has no query API: what is known here is what its webhooks said." }
            }
            @if view.alerts.is_empty() { p.none-yet { "No alert is known here." } } @else {
                table role="table" aria-labelledby="alerts" {
                    (head(&[("State", ""), ("Alert", ""), ("App", ""), ("Since", ""), ("Look into", "")]))
                    tbody role="rowgroup" { @for alert in &view.alerts { (alert_line(alert)) } }
                }
            }
        }
    }
}

fn alert_line(alert: &AlertRow) -> Markup {
    let (tone, words) = match alert.state.as_str() {
        "firing" => ("bad", "firing"),
        "ok" => ("ok", "ok"),
        "no_data" => ("warn", "no data"),
        other => ("plain", other),
    };
    html! {
        tr role="row" {
            (cell("State", "firm", badge(tone, words)))
            th role="rowheader" scope="row" { (Escaped(&alert.name)) }
            (cell("App", "firm", html! {
                a href=(app_url(&alert.app)) { (Escaped(&alert.app)) }
                div.beside { (Escaped(&alert.project)) }
            }))
            (cell("Since", "firm", html! { @match &alert.since { Some(since) => (moment(since)), None => "unknown" } }))
            (cell("Look into", "", html! {
                @if alert.links.is_empty() { "no link" } @else {
                    ul.links { @for link in &alert.links { li { (outward(&link.title, &link.url)) } } }
                }
            }))
        }
    }
}

fn services(services: &[ServiceRow]) -> Markup {
    html! {
        section aria-labelledby="services" {
            h2 #services { "Services" }
            @if services.is_empty() { p.none-yet { "Nothing came lately." } } @else {
                table role="table" aria-labelledby="services" {
                    (head(&[("Service", ""), ("Items/s", "num"), ("Last seen", ""), ("Verified senders", "")]))
                    tbody role="rowgroup" { @for service in services { (service_line(service)) } }
                }
            }
        }
    }
}

fn legs(legs: &[LegRow]) -> Markup {
    let columns: &[(&str, &str)] = &[
        ("Backend", ""),
        ("Mode", ""),
        ("Sent", "num"),
        ("Accepted", "num"),
        ("Rejected", "num"),
        ("Refused", "num"),
        ("Dropped", "num"),
        ("By its own", "num"),
    ];
    let is_counted = legs.iter().any(|leg| leg.items.is_some());
    let columns = if is_counted {
        columns
    } else {
        columns.get(..2).unwrap_or_default()
    };
    html! {
        @if !legs.is_empty() {
            section aria-labelledby="legs" {
                h2 #legs { "Also sent to" }
                @if is_counted {
                    p.none-yet { "Items of the whole project since this gateway started; the last column: what the app's own backend accepted of the same." }
                }
                table role="table" aria-labelledby="legs" {
                    (head(columns))
                    tbody role="rowgroup" { @for leg in legs { (leg_line(leg)) } }
                }
            }
        }
    }
}

fn leg_line(leg: &LegRow) -> Markup {
    let figures = |items: &LegItems| {
        [
            ("Sent", items.sent),
            ("Accepted", items.accepted),
            ("Rejected", items.rejected),
            ("Refused", items.refused),
            ("Dropped", items.dropped),
            ("By its own", items.accepted_by_own),
        ]
    };
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { (code(&leg.backend)) }
            (cell("Mode", "", leg.mode))
            @for (label, figure) in leg.items.iter().flat_map(figures) {
                (cell(label, "num", count(figure)))
            }
        }
    }
}

fn service_line(service: &ServiceRow) -> Markup {
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                @match &service.link { Some(url) => (outward(&service.name, url)), None => (Escaped(&service.name)) }
            }
            (cell("Items/s", "num", amount(service.items_per_second)))
            (cell("Last seen", "", ago(service.last_seen.as_deref(), service.last_seen_ago.as_deref())))
            (cell("Verified senders", "senders", html! {
                @if service.senders.is_empty() { "none" } @else {
                    ul.plain {
                        @for sender in &service.senders {
                            li {
                                (code(&sender.subject))
                                div.beside {
                                    (Escaped(method(sender.method))) " from " (Escaped(&sender.issuer)) ", " (Escaped(&sender.last_seen_ago))
                                }
                            }
                        }
                    }
                }
            }))
        }
    }
}

fn grants(grants: &[GrantRow]) -> Markup {
    html! {
        section aria-labelledby="grants" {
            h2 #grants { "What you may do" }
            @if grants.is_empty() { p.none-yet { "Nothing, here itself." } } @else {
                dl.grants {
                    @for grant in grants {
                        div {
                            dt { (code(&grant.permission)) }
                            dd {
                                "by "
                                @for (index, binding) in grant.bindings.iter().enumerate() {
                                    @if index > 0 { ", " }
                                    (Escaped(binding))
                                }
                                @if grant.bindings.is_empty() { "no binding that is known" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Only the first is open: what is looked for is found by its title.
fn snippets(snippets: &[Snippet]) -> Markup {
    html! {
        @if !snippets.is_empty() {
            section aria-labelledby="settings" {
                h2 #settings { "Settings to copy" }
                @for (index, snippet) in snippets.iter().enumerate() {
                    details.snippet open[index == 0] {
                        summary { (Escaped(&snippet.title)) }
                        div.snippet-in {
                            button.quiet.copy type="button" data-copy={ "snippet-" (index) } aria-label={ "Copy: " (Escaped(&snippet.title)) } hidden { "Copy" }
                            pre id={ "snippet-" (index) } tabindex="0" role="group" aria-label=(Escaped(&snippet.title)) { (Escaped(&snippet.text)) }
                        }
                    }
                }
            }
        }
    }
}

fn beneath(apps: &[(String, String)]) -> Markup {
    html! {
        @if !apps.is_empty() {
            section aria-labelledby="beneath" {
                h2 #beneath { "Apps beneath" }
                ul.list { @for (app, name) in apps { li { a href=(app_url(app)) { (Escaped(name)) } } } }
            }
        }
    }
}

fn elsewhere(view: &AppView) -> Markup {
    html! {
        @if view.can_audit || !view.links.is_empty() {
            section aria-labelledby="more" {
                h2 #more { "Look further" }
                ul.list {
                    @if view.can_audit { li { a href=(decisions_url(&view.app)) { "Recent decisions" } } }
                    @for link in &view.links { li { (outward(&link.title, &link.url)) } }
                }
            }
        }
    }
}
