//! What every page has around it.
//!
//! What it does: wraps a page's body into a document: head, skip link, the bar with organization, places and visitor,
//! footer. What it refuses to know: what the page is about. Invariants: one `h1` (the page's), one `main`; scripts and
//! styles are files of ours.

use maud::{DOCTYPE, Markup, html};

use super::assets::File;
use super::pieces::{Escaped, code, method, moment};
use crate::percent;
use crate::view::{Frame, Visitor};

/// Where in the site a page stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SitePlace {
    Apps,
    Explain,
    Elsewhere,
}

/// A page's own part.
pub(crate) struct PageBody {
    pub title: String,
    pub place: SitePlace,
    /// Whether the page is its place's own one, not one beneath it.
    pub(crate) is_place: bool,
    /// Whether the page asks for parts of itself again.
    pub live: bool,
    /// Where a visitor who logs in on this page comes back to.
    pub path: Option<String>,
    pub main: Markup,
}

/// htmx evaluates nothing, asks no other host, writes no styles (the policy would refuse them) and keeps no page in the
/// browser's storage: pages hold what only their visitor may see.
const HTMX: &str = r#"{"allowEval":false,"allowScriptTags":false,"includeIndicatorStyles":false,"selfRequestsOnly":true,"historyCacheSize":0,"refreshOnHistoryMiss":true}"#;

pub(crate) fn document(frame: &Frame, body: &PageBody) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="robots" content="noindex, nofollow";
                title { (Escaped(&body.title)) " · " (Escaped(&frame.organization)) " · Lightkeeper" }
                link rel="icon" type="image/svg+xml" href=(File::Mark.url());
                link rel="stylesheet" href=(File::Style.url());
                @if body.live {
                    meta name="htmx-config" content=(HTMX);
                    script src=(File::Htmx.url()) defer {}
                }
                script src=(File::Script.url()) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (bar(frame, body))
                main #main tabindex="-1" { (body.main) }
                (footer(frame))
                p.vh #said role="status" {}
            }
        }
    }
}

fn bar(frame: &Frame, body: &PageBody) -> Markup {
    let current = |place: SitePlace| match (body.place == place, body.is_place) {
        (true, true) => Some("page"),
        (true, false) => Some("true"),
        (false, _) => None,
    };
    html! {
        header.bar {
            div.bar-in {
                a.brand href="/.lightkeeper/" {
                    img src=(File::Mark.url()) alt="" width="28" height="28";
                    span { span.product { "Lightkeeper" } span.organization { (Escaped(&frame.organization)) } }
                }
                @if frame.visitor.is_some() {
                    nav.places aria-label="Main" {
                        ul {
                            li { a href="/.lightkeeper/" aria-current=[current(SitePlace::Apps)] { "Apps" } }
                            li { a href="/.lightkeeper/explain" aria-current=[current(SitePlace::Explain)] { "Why was I refused?" } }
                        }
                    }
                }
                div.session {
                    @match &frame.visitor {
                        Some(visitor) => (who(visitor)),
                        None => @if frame.can_log_in && body.place != SitePlace::Elsewhere { a.button href=(log_in_url(body.path.as_deref())) { "Log in" } },
                    }
                }
            }
        }
    }
}

/// The login, and where it leads back to.
pub(crate) fn log_in_url(path: Option<&str>) -> String {
    match path {
        Some(path) => format!("/.lightkeeper/login?return_to={}", percent::encode(path)),
        None => "/.lightkeeper/login".to_owned(),
    }
}

fn who(visitor: &Visitor) -> Markup {
    html! {
        details.who {
            summary { span.vh { "You are " } span.who-name { (Escaped(&visitor.name)) } }
            div.who-card {
                dl.facts {
                    div { dt { "Proved by" } dd { (Escaped(method(visitor.method))) } }
                    div { dt { "Issuer" } dd { (code(&visitor.issuer)) } }
                    div { dt { "Subject" } dd { (code(&visitor.subject)) } }
                    div { dt { "Groups" } dd {
                        @if visitor.groups.is_empty() { "none" }
                        @else { ul.tags { @for group in &visitor.groups { li { (Escaped(group)) } } } }
                    } }
                    @if let Some(expires) = &visitor.expires { div { dt { "Until" } dd { (moment(expires)) } } }
                }
            }
        }
        @if let Some(csrf) = &visitor.csrf {
            form.log-out method="post" action="/.lightkeeper/logout" {
                input type="hidden" name="csrf" value=(csrf);
                button.quiet type="submit" { "Log out" }
            }
        }
    }
}

fn footer(frame: &Frame) -> Markup {
    html! {
        footer.foot {
            div.foot-in {
                @if !frame.request_id.is_empty() { span { "Request " (code(&frame.request_id)) } }
                @if !frame.time.is_empty() { span { (moment(&frame.time)) } }
            }
        }
    }
}
