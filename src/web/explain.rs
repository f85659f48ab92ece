//! Why was I refused?
//!
//! What it does: shows two forms (an earlier call, or one that is made up) and a call's way through the rooms. What it
//! refuses to know: how a call is decided. Invariants: forms hold what was typed; a mistake stands at its field and is told.

use maud::{Markup, html};

use super::layout::{PageBody, SitePlace};
use super::pieces::{Escaped, app_url, badge, code, memory, moment, words};
use crate::reason::Reason;
use crate::view::{DecisionRow, ExplainView, Stage, Story};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

pub(crate) fn page(view: &ExplainView) -> PageBody {
    let main = html! {
        div.title {
            h1 { "Why was I refused?" }
            p.lead { "Ask about a call of yours, or try one without sending it." }
        }
        div.halves { (by_request(view)) (by_call(view)) }
        @if let Some(found) = &view.found { (call(found)) }
        @if let Some(story) = &view.story { (tale(story)) }
    };
    PageBody {
        title: "Why was I refused?".to_owned(),
        place: SitePlace::Explain,
        is_place: true,
        live: false,
        path: Some("/.lightkeeper/explain".to_owned()),
        main,
    }
}

fn mistake(text: Option<&str>) -> Markup {
    html! { @if let Some(text) = text { p #mistake .callout.bad role="alert" { span.told { (words(text)) } } } }
}

fn by_request(view: &ExplainView) -> Markup {
    let wrong = view
        .mistake
        .as_deref()
        .filter(|_| !view.request_id.is_empty());
    html! {
        form.panel method="get" action="/.lightkeeper/explain" aria-labelledby="by-request" {
            h2 #by-request { "A call that was made" }
            div.field {
                label for="request_id" { "Request id" }
                input #request_id name="request_id" value=(view.request_id) required maxlength="64" autocomplete="off"
                    spellcheck="false" autocapitalize="none" aria-invalid=[wrong.map(|_| "true")]
                    aria-describedby=(if wrong.is_some() { "request-hint mistake" } else { "request-hint" });
                p.hint #request-hint { "Every answer carries one, in the header " code { "lightkeeper-request-id" } "." }
                (memory(view.remembered_since.as_deref()))
            }
            (mistake(wrong))
            button.primary type="submit" { "Look it up" }
        }
    }
}

fn by_call(view: &ExplainView) -> Markup {
    let wrong = view
        .mistake
        .as_deref()
        .filter(|_| view.request_id.is_empty());
    let method = if view.method.is_empty() {
        "GET"
    } else {
        view.method.as_str()
    };
    html! {
        form.panel method="get" action="/.lightkeeper/explain" aria-labelledby="by-call" {
            h2 #by-call { "A call to try" }
            div.row {
                div.field {
                    label for="method" { "Method" }
                    select #method name="method" {
                        @for known in METHODS { option value=(known) selected[known == method] { (known) } }
                        @if !METHODS.contains(&method) { option value=(method) selected { (Escaped(method)) } }
                    }
                }
                div.field.grow {
                    label for="path" { "Path" }
                    input #path name="path" value=(view.path) required maxlength="2048" placeholder="/v1/traces"
                        autocomplete="off" spellcheck="false" autocapitalize="none"
                        aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| "mistake")];
                }
            }
            div.row {
                div.field.grow {
                    label for="app" { "App " span.optional { "of an export, optional" } }
                    input #app name="app" value=(view.app) maxlength="512" placeholder="shop/checkout"
                        autocomplete="off" spellcheck="false" autocapitalize="none";
                }
                div.field.grow {
                    label for="service" { "Service " span.optional { "of an export, optional" } }
                    input #service name="service" value=(view.service) maxlength="256" placeholder="checkout"
                        autocomplete="off" spellcheck="false" autocapitalize="none";
                }
            }
            (mistake(wrong))
            button.primary type="submit" { "Explain" }
        }
    }
}

fn call(found: &DecisionRow) -> Markup {
    let allowed = found.decision == "allow";
    html! {
        section.result aria-labelledby="found" {
            h2 #found { "The call " (badge(if allowed { "ok" } else { "bad" }, if allowed { "allowed" } else { "refused" })) }
            p.meaning { (words(&found.reason.explanation())) }
            dl.facts.strip {
                div { dt { "Reason" } dd { (code(found.reason.code())) } }
                @if let Some(status) = found.status { div { dt { "Status" } dd.figure { (status) } } }
                div { dt { "Call" } dd { code { (Escaped(&found.http_method)) " " (Escaped(&found.path)) } } }
                div { dt { "Operation" } dd { (code(&found.operation)) } }
                @if !found.app.is_empty() { div { dt { "App" } dd { a href=(app_url(&found.app)) { (Escaped(&found.app)) } } } }
                div { dt { "Made by" } dd { (code(&found.subject)) div.beside { (Escaped(&found.issuer)) } } }
                div { dt { "Bindings" } dd {
                    @if found.bindings.is_empty() { "none" }
                    @else { ul.tags { @for binding in &found.bindings { li { (Escaped(binding)) } } } }
                } }
                div { dt { "Time" } dd { (moment(&found.time)) } }
            }
        }
    }
}

fn tale(story: &Story) -> Markup {
    html! {
        section.result aria-labelledby="story" {
            h2 #story {
                "The way through the gateway "
                (badge(if story.allowed { "ok" } else { "bad" }, if story.allowed { "would be allowed" } else { "would be refused" }))
            }
            @if let Some(advice) = &story.advice { div.callout { p { strong { "What to do. " } (words(advice)) } } }
            ol.story { @for stage in &story.stages { (step(stage)) } }
        }
    }
}

fn step(stage: &Stage) -> Markup {
    let passed = stage.outcome == Reason::Ok;
    html! {
        li class=(if passed { "passed" } else { "stopped" }) {
            h3 {
                (Escaped(purpose(&stage.room)))
                span.room { (code(&stage.room)) }
                " " (badge(if passed { "ok" } else { "bad" }, stage.outcome.code()))
            }
            @if !stage.details.is_empty() {
                dl.facts {
                    @for (name, value) in &stage.details { div { dt { (Escaped(name)) } dd { (code(value)) } } }
                }
            }
        }
    }
}

/// What a room does, to those who do not know the snapshot.
fn purpose(room: &str) -> &str {
    match room {
        "accept" => "The call is read",
        "identify" => "The caller is verified",
        "authorize" => "The policy is asked",
        "route" => "The project is chosen",
        "vault" => "A credential is lent",
        "transform" => "The content is checked and stamped",
        "forward" => "The call goes to the backend",
        "federate" => "Several projects are asked",
        "limits" => "The quota is held",
        "respond" => "The answer is written",
        "audit" => "The record is kept",
        other => other,
    }
}
